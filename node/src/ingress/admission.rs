//! Overload is designed (house D12): a permit per request in flight, and the age of the oldest one.
//!
//! What is refused here was never logged: 503 with a Retry-After that spreads the clients' return.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::dialect::Grace;

/// The age of the oldest waiting request at which new state is refused: T1, beyond which UDP clients
/// repeat themselves and make it worse.
const AGE_NEW_MS: u64 = 500;

/// The age at which refreshes are refused too.
const AGE_REFRESH_MS: u64 = 1_500;

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
    pub fn take(&self, grace: Grace, oldest_ms: u64) -> bool {
        let (room, patient) = match grace {
            Grace::New => (self.most - self.most / 4, oldest_ms <= AGE_NEW_MS),
            Grace::Refresh => (self.most - self.most / 8, oldest_ms <= AGE_REFRESH_MS),
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
