//! Overload is designed (house D12): a permit per request in flight, and how old they get.
//!
//! What is refused here was never logged: 503 with a Retry-After that spreads the clients' return.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::dialect::Grace;

/// The age of requests at their answer at which new state is refused: T1, beyond which UDP clients repeat
/// themselves and make it worse.
const AGE_NEW_MS: u64 = 500;

/// The age at which refreshes are refused too.
const AGE_REFRESH_MS: u64 = 1_500;

/// A shard that has answered nobody for this long is not slow: it has no leader, or nothing to do.
const GAP_MS: u64 = 250;

/// The Retry-After when nobody leads: an election takes about one second.
pub const LEADERLESS_S: u32 = 2;

/// Permits of one shard, shared by the workers.
#[derive(Debug)]
pub struct Permits {
    taken: AtomicUsize,
    most: usize,
}

impl Permits {
    /// `most` requests may be in flight.
    #[must_use]
    pub fn new(most: usize) -> Permits {
        Permits {
            taken: AtomicUsize::new(0),
            most,
        }
    }

    /// Takes a permit, if there is room for a request of this grace. New state may fill three
    /// quarters, refreshes seven eighths, endings everything: what relieves us is let in last.
    pub fn take(&self, grace: Grace, age_ms: u64) -> bool {
        let (room, patient) = match grace {
            Grace::New => (self.most - self.most / 4, age_ms <= AGE_NEW_MS),
            Grace::Refresh => (self.most - self.most / 8, age_ms <= AGE_REFRESH_MS),
            Grace::End => (self.most, true),
        };
        if !patient {
            return false;
        }
        // The counter may run over by one request per worker for a moment; the bound is not exact to
        // the last permit, and nothing depends on that.
        if self.taken.fetch_add(1, Ordering::Relaxed) < room {
            return true;
        }
        self.give_back();
        false
    }

    /// Gives a permit back.
    pub fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// How long the requests of one worker take in one shard: the age of the one it answered last.
///
/// The age of what waits would not do. While a shard has no leader everything waits, and that is not too
/// much work: it is over in a second, and then all of it is done in milliseconds. So time without answers
/// does not count, here or in any other shard; how much may wait meanwhile is for [`Permits`] to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    answered_ms: u64,
    flowing_since_ms: u64,
    age_ms: u64,
}

impl Pace {
    /// A request that came at `since_ms` is answered.
    pub fn answered(&mut self, since_ms: u64, now_ms: u64) {
        if now_ms.saturating_sub(self.answered_ms) > GAP_MS {
            self.flowing_since_ms = now_ms;
        }
        self.answered_ms = now_ms;
        self.age_ms = now_ms.saturating_sub(since_ms.max(self.flowing_since_ms));
    }

    /// How old the next ones will be when they are answered, as far as can be told.
    #[must_use]
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        if now_ms.saturating_sub(self.answered_ms) > GAP_MS {
            0
        } else {
            self.age_ms
        }
    }
}

/// Seconds until an overloaded client may come back: 5 to 15, by chance, so that they do not all come
/// at once.
#[must_use]
pub fn retry_after_s(chance: u64) -> u32 {
    5 + (chance % 11) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_something_is_refused_last() {
        let permits = Permits::new(8);
        assert_eq!((0..10).filter(|_| permits.take(Grace::New, 0)).count(), 6);
        assert_eq!(
            (0..10).filter(|_| permits.take(Grace::Refresh, 0)).count(),
            1
        );
        assert_eq!((0..10).filter(|_| permits.take(Grace::End, 0)).count(), 1);
        permits.give_back();
        assert_eq!(permits.taken(), 7);
        assert!(!permits.take(Grace::New, 0));
        assert!(permits.take(Grace::End, 0));
    }

    #[test]
    fn a_shard_without_a_leader_is_not_taken_for_a_slow_one() {
        let mut pace = Pace::default();
        // Slow: every answer 700 ms after its request, one each 10 ms.
        for now in (10_000..12_000).step_by(10) {
            pace.answered(now - 700, now);
        }
        assert_eq!(pace.age_ms(12_000), 700);
        // No answer for a second, as in an election: nobody is refused meanwhile.
        assert_eq!(pace.age_ms(12_400), 0);
        // Then all that waited is answered at once, however old it is.
        for since in (12_000..13_000).step_by(10) {
            pace.answered(since, 13_005);
        }
        assert_eq!(pace.age_ms(13_005), 0);
        // Who is slow from then on is found out again.
        for now in (13_010..14_000).step_by(10) {
            pace.answered(now - 600, now);
        }
        assert_eq!(pace.age_ms(14_000), 600);
    }

    #[test]
    fn an_old_queue_takes_nothing_new() {
        let permits = Permits::new(100);
        for (name, grace, oldest_ms, taken) in [
            ("young", Grace::New, 500, true),
            ("old", Grace::New, 501, false),
            ("old, but a refresh", Grace::Refresh, 1_500, true),
            ("older", Grace::Refresh, 1_501, false),
            ("an end, always", Grace::End, 60_000, true),
        ] {
            assert_eq!(permits.take(grace, oldest_ms), taken, "{name}");
        }
    }

    #[test]
    fn clients_come_back_at_different_times() {
        let seconds: std::collections::BTreeSet<u32> = (0..100).map(retry_after_s).collect();
        assert_eq!(
            seconds.into_iter().collect::<Vec<_>>(),
            (5..=15).collect::<Vec<_>>()
        );
    }
}
