//! Requests of the node itself: the end of a dialog whose watcher is gone, of an endpoint whose connection
//! was lost, a contact list that is to be moved, the word that parcels have arrived. Nobody waits for their
//! outcome, but they are to be done: each is sent again, under its key, until the log has it or its time is up.
//!
//! They are remembered here only, because nothing is lost for ever with this node: a dialog and an endpoint
//! end with their time, a list is moved at its client's next sign-in, a parcel is handed out again. What no
//! time would mend is a parcel of a shard ([`super::courier`]).

use std::collections::VecDeque;

use bytes::Bytes;
use shard::machine::command::Ticket;
use transport::transaction::Millis;

use crate::egress::outbox::{ERRAND, tickets_of};
use crate::peer::NodeNumber;

/// How long an errand is tried: as long as a shard is away while somebody starts its nodes again.
const BUDGET_MS: u64 = 600_000;

/// How soon it is tried again.
const AGAIN_MS: u64 = 500;

/// How long that becomes: twice as long each time, up to this.
const AGAIN_MAX_MS: u64 = 8_000;

/// Errands at a time, each a few hundred bytes: who cannot be reached for long loses the oldest.
const ERRANDS_MAX: usize = 65_536;

/// One of them.
#[derive(Debug)]
struct Errand {
    ticket: Ticket,
    shard: usize,
    encoded: Bytes,
    since: Millis,
    next: Millis,
    pause_ms: u64,
}

/// The errands of one worker, oldest first.
#[derive(Debug)]
pub struct Errands {
    begin: u64,
    next: u64,
    open: VecDeque<Errand>,
}

impl Errands {
    /// None yet; tickets are counted from `first`.
    #[must_use]
    pub fn new(node: NodeNumber, worker: u8, first: u64) -> Errands {
        Errands {
            begin: tickets_of(node, worker) | ERRAND,
            next: first & (ERRAND - 1),
            open: VecDeque::new(),
        }
    }

    /// Whether a ticket is that of an errand.
    #[must_use]
    pub fn is_one(ticket: Ticket) -> bool {
        ticket.0 & ERRAND != 0
    }

    /// The ticket of the next one.
    pub fn ticket(&mut self) -> Ticket {
        self.next = (self.next + 1) & (ERRAND - 1);
        Ticket(self.begin | self.next)
    }

    /// Remembers one that is on its way; returns when to look at it.
    pub fn begin(&mut self, ticket: Ticket, shard: usize, encoded: Bytes, now: Millis) -> Millis {
        if self.open.len() >= ERRANDS_MAX {
            self.open.pop_front();
        }
        let next = Millis(now.0 + AGAIN_MS);
        self.open.push_back(Errand {
            ticket,
            shard,
            encoded,
            since: now,
            next,
            pause_ms: AGAIN_MS,
        });
        next
    }

    /// The shard that one was proposed to.
    #[must_use]
    pub fn shard_of(&self, ticket: Ticket) -> Option<usize> {
        let open = &self.open;
        let place = open.binary_search_by_key(&ticket.0, |errand| errand.ticket.0);
        place.ok().map(|place| open[place].shard)
    }

    /// One is done.
    pub fn done(&mut self, ticket: Ticket) {
        let place = self
            .open
            .binary_search_by_key(&ticket.0, |errand| errand.ticket.0);
        if let Ok(place) = place {
            self.open.remove(place);
        }
    }

    /// Those to be sent again now, and when to look next.
    pub fn due(&mut self, now: Millis) -> (Vec<(usize, Ticket, Bytes)>, Option<Millis>) {
        self.open
            .retain(|errand| now.0 < errand.since.0 + BUDGET_MS);
        let mut due = Vec::new();
        for errand in &mut self.open {
            if errand.next <= now {
                errand.pause_ms = (errand.pause_ms * 2).min(AGAIN_MAX_MS);
                errand.next = Millis(now.0 + errand.pause_ms);
                due.push((errand.shard, errand.ticket, errand.encoded.clone()));
            }
        }
        let next = self.open.iter().map(|errand| errand.next).min();
        (due, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_is_repeated_until_it_is_done_or_too_old() {
        let mut errands = Errands::new(3, 1, 7);
        let (one, other) = (errands.ticket(), errands.ticket());
        assert!(Errands::is_one(one) && one != other);
        errands.begin(one, 0, Bytes::from_static(b"a"), Millis(0));
        errands.begin(other, 1, Bytes::from_static(b"b"), Millis(100));
        assert_eq!(errands.due(Millis(499)), (vec![], Some(Millis(500))));
        let (due, next) = errands.due(Millis(500));
        assert_eq!(due, [(0, one, Bytes::from_static(b"a"))]);
        assert_eq!(next, Some(Millis(600)));
        errands.done(one);
        errands.done(one);
        let (due, _) = errands.due(Millis(2_000));
        assert_eq!(due, [(1, other, Bytes::from_static(b"b"))]);
        assert_eq!(errands.due(Millis(2_999)), (vec![], Some(Millis(3_000))));
        assert_eq!(errands.shard_of(other), Some(1));
        assert_eq!(errands.due(Millis(600_100)), (vec![], None));
        assert_eq!(errands.shard_of(other), None);
    }
}
