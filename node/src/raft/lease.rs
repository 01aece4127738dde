//! How long a leader may answer questions by itself: a lease that its followers' answers renew.
//!
//! A follower that takes a message of its leader votes for nobody else for [`Lease::PROMISE_MS`] from then on
//! (openraft's leader lease, which a restarted follower keeps as well, because its vote is on disk). So from the
//! moment a message was **sent** that a quorum took, nobody else can lead for that long, and what the leader
//! knows is the newest. The leader believes it for three quarters of that time only.
//!
//! The clock is CLOCK_BOOTTIME: it goes on while the process is stopped and while the machine sleeps. What is
//! assumed of clocks is that those of two nodes run alike within a quarter, and that a virtual machine that is
//! paused as a whole finds its clock moved on when it goes on; nothing is assumed of the time of day.
//!
//! Two things end a lease before its time: a vote that this node itself gives to somebody else, and asking a
//! follower to take over, which breaks its promise on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};

use super::types::NodeNumber;

/// The lease of one group's leader. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Lease(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Until when it holds, in milliseconds of the boot clock; 0 when it does not.
    until_ms: AtomicU64,
    book: Mutex<Book>,
}

/// What the lease is reckoned from.
#[derive(Debug, Default)]
struct Book {
    me: NodeNumber,
    /// The term that this node leads; 0 when it leads none.
    term: u64,
    /// A vote was given to somebody else in this term or before: no lease of a term up to it holds.
    given_away: u64,
    /// The sets of voters, of each of which a majority is needed.
    voters: Vec<BTreeSet<NodeNumber>>,
    /// When the newest message was sent that each follower took in this term.
    taken_ms: BTreeMap<NodeNumber, u64>,
    /// Those whose promise does not count, or counts from then on only: they were told to take over, and may
    /// still do so.
    released: BTreeMap<NodeNumber, u64>,
}

/// Milliseconds of a clock that neither stops nor is set.
#[must_use]
pub fn boot_ms() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live value that is written whole.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    assert_eq!(told, 0, "Linux has had this clock since 2.6.39");
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

impl Lease {
    /// How long a follower keeps to its leader: openraft's, which is the longest election
    /// timeout ([`Tuning`](super::group::Tuning)).
    pub const PROMISE_MS: u64 = 600;

    /// How long the leader relies on it.
    pub const RELIED_MS: u64 = Lease::PROMISE_MS * 3 / 4;

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it holds now.
    #[must_use]
    pub fn holds(&self) -> bool {
        boot_ms() < self.0.until_ms.load(Acquire)
    }

    /// This node leads in `term`, with these voters; what was taken in earlier terms counts no more.
    pub fn lead(&self, me: NodeNumber, term: u64, voters: &[BTreeSet<NodeNumber>]) {
        let mut book = self.book();
        if book.term != term {
            book.taken_ms.clear();
            book.released.clear();
        }
        (book.me, book.term) = (me, term);
        if book.voters != voters {
            book.voters = voters.to_vec();
        }
        self.reckon(&book);
    }

    /// This node leads no more.
    pub fn end(&self) {
        let mut book = self.book();
        book.term = 0;
        self.reckon(&book);
    }

    /// This node votes for somebody else: called before that one is told.
    pub fn give_away(&self, term: u64) {
        let mut book = self.book();
        book.given_away = book.given_away.max(term);
        self.reckon(&book);
    }

    /// A follower took a message of `term` that was sent then.
    pub fn taken(&self, term: u64, by: NodeNumber, sent_ms: u64) {
        let mut book = self.book();
        if book.term != term {
            return;
        }
        if book.released.get(&by).is_some_and(|from| sent_ms <= *from) {
            return;
        }
        let newest = book.taken_ms.entry(by).or_default();
        *newest = sent_ms.max(*newest);
        self.reckon(&book);
    }

    /// A follower is about to be told to take over: its promise counts no more.
    pub fn release(&self, follower: NodeNumber) {
        let mut book = self.book();
        book.taken_ms.remove(&follower);
        book.released.insert(follower, u64::MAX);
        self.reckon(&book);
    }

    /// The follower has done what it was told, or was never told: what is sent to it from now on counts again.
    /// Where nobody knows whether it was told, this must not be called.
    pub fn bind_again(&self, follower: NodeNumber) {
        self.book().released.insert(follower, boot_ms());
    }

    /// Whether a majority has kept to this leader within that time.
    #[must_use]
    pub fn held_within(&self, ms: u64) -> bool {
        let until_ms = self.0.until_ms.load(Acquire);
        until_ms.saturating_add(ms) > boot_ms().saturating_add(Lease::RELIED_MS)
    }

    /// How long ago, in milliseconds, the newest message was sent that a follower took in this term.
    #[must_use]
    pub fn heard_ms(&self, follower: NodeNumber) -> Option<u64> {
        let sent_ms = *self.book().taken_ms.get(&follower)?;
        Some(boot_ms().saturating_sub(sent_ms))
    }

    fn reckon(&self, book: &Book) {
        self.0.until_ms.store(book.until_ms(), Release);
    }
}

impl Book {
    fn until_ms(&self) -> u64 {
        if self.term == 0 || self.term <= self.given_away || self.voters.is_empty() {
            return 0;
        }
        let of_set = |set: &BTreeSet<NodeNumber>| {
            let mut since: Vec<u64> = set.iter().map(|node| self.since(*node)).collect();
            // The newest moment since which a majority has kept to this leader.
            since.sort_unstable_by(|one, other| other.cmp(one));
            since.get(set.len() / 2).copied().unwrap_or(0)
        };
        match self.voters.iter().map(of_set).min() {
            None | Some(0) => 0,
            Some(since_ms) => since_ms.saturating_add(Lease::RELIED_MS),
        }
    }

    /// Since when a voter is known to keep to this leader; itself for ever, nobody else can make it vote.
    fn since(&self, node: NodeNumber) -> u64 {
        if node == self.me {
            u64::MAX
        } else {
            self.taken_ms.get(&node).copied().unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nodes: &[NodeNumber]) -> BTreeSet<NodeNumber> {
        nodes.iter().copied().collect()
    }

    fn three() -> Lease {
        let lease = Lease::default();
        lease.lead(1, 5, &[of(&[1, 2, 3])]);
        lease
    }

    #[test]
    fn a_lease_is_as_old_as_the_message_that_a_quorum_took() {
        let lease = three();
        assert!(!lease.holds(), "nobody has answered yet");
        let now = boot_ms();
        lease.taken(4, 2, now);
        assert!(!lease.holds(), "an answer of an earlier term");
        lease.taken(5, 2, now - Lease::RELIED_MS - 1);
        assert!(!lease.holds(), "what was taken was sent too long ago");
        lease.taken(5, 2, now + 60_000);
        assert!(lease.holds());
        lease.taken(5, 2, now - 5_000);
        assert!(lease.holds(), "a late answer makes nothing older");
        lease.end();
        assert!(!lease.holds());
    }

    #[test]
    fn a_lease_ends_before_another_one_can_lead() {
        let soon = boot_ms() + 60_000;
        let given = three();
        given.taken(5, 2, soon);
        given.give_away(6);
        assert!(!given.holds(), "this node voted for somebody else");
        given.taken(5, 3, soon);
        assert!(!given.holds(), "and answers that come later change nothing");
        given.lead(1, 7, &[of(&[1, 2, 3])]);
        assert!(!given.holds(), "nor do answers of the term before");
        given.taken(7, 3, soon);
        assert!(given.holds());

        let handing = three();
        handing.taken(5, 2, soon);
        handing.release(2);
        assert!(!handing.holds(), "2 may stand for election now");
        handing.taken(5, 2, soon);
        assert!(!handing.holds());
        handing.taken(5, 3, soon);
        assert!(handing.holds(), "3 keeps to its leader, and 2 needs it");
        handing.release(3);
        handing.bind_again(2);
        assert!(!handing.holds(), "what 2 took before counts no more");
        handing.taken(5, 2, boot_ms() - 10);
        assert!(
            !handing.holds(),
            "nor what was sent before it was bound again"
        );
        handing.taken(5, 2, soon);
        assert!(handing.holds());
        assert!(handing.held_within(1));
    }

    #[test]
    fn a_majority_of_each_set_is_needed() {
        let soon = boot_ms() + 60_000;
        for (name, voters, by, holds) in [
            ("alone", vec![of(&[1])], &[][..], true),
            ("two, none", vec![of(&[1, 2])], &[], false),
            ("two", vec![of(&[1, 2])], &[2], true),
            ("five, one", vec![of(&[1, 2, 3, 4, 5])], &[2], false),
            ("five, two", vec![of(&[1, 2, 3, 4, 5])], &[2, 5], true),
            (
                "joint, old only",
                vec![of(&[1, 2, 3]), of(&[1, 4, 5])],
                &[2],
                false,
            ),
            ("joint", vec![of(&[1, 2, 3]), of(&[1, 4, 5])], &[2, 4], true),
            ("led from outside", vec![of(&[2, 3, 4])], &[2], false),
            ("nobody votes", vec![], &[2], false),
        ] {
            let lease = Lease::default();
            lease.lead(1, 1, &voters);
            for node in by {
                lease.taken(1, *node, soon);
            }
            assert_eq!(lease.holds(), holds, "{name}");
        }
    }
}
