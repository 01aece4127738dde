//! Subscriptions that nobody seems to be behind any more: what they were last told reached nobody.
//!
//! A closed stream does not end a subscription, because its watcher may come back and refresh it. So it lives on
//! until it expires, and an operator wants to know how many are such.

use std::collections::HashMap;

use shard::subscription::dialog::DialogKey;
use transport::transaction::Millis;

/// How long one is remembered. Its own end forgets it sooner, unless the watcher moved to another worker.
const MEMORY_MS: u64 = 3_600_000;

/// How often those are looked for that are remembered too long.
const PRUNE_MS: u64 = 60_000;

/// Subscriptions remembered by a worker: 32 bytes each, 4 MiB in all with the table's slack. Beyond, none is added.
const MAX: usize = 65_536;

/// The subscriptions of one worker whose last notification reached nobody.
#[derive(Debug, Default)]
pub struct Unheard {
    missed: HashMap<DialogKey, Millis>,
    pruned: Millis,
}

impl Unheard {
    /// A notification reached nobody.
    pub fn missed(&mut self, dialog: DialogKey, now: Millis) {
        self.prune(now);
        if self.missed.len() < MAX || self.missed.contains_key(&dialog) {
            self.missed.insert(dialog, now);
        }
    }

    /// One was answered, or the subscription is over.
    pub fn settled(&mut self, dialog: DialogKey, now: Millis) {
        self.prune(now);
        self.missed.remove(&dialog);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.missed.len()
    }

    fn prune(&mut self, now: Millis) {
        if now.0 >= self.pruned.0 + PRUNE_MS {
            self.pruned = now;
            self.missed.retain(|_, at| now.0 < at.0 + MEMORY_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_again_is_alive_and_an_hour_forgets() {
        let mut unheard = Unheard::default();
        let (one, other) = (DialogKey(1), DialogKey(2));
        unheard.missed(one, Millis(0));
        unheard.missed(one, Millis(10));
        unheard.missed(other, Millis(1_000_000));
        assert_eq!(unheard.count(), 2);
        unheard.settled(one, Millis(1_000_001));
        assert_eq!(unheard.count(), 1);
        unheard.settled(DialogKey(3), Millis(1_000_000 + MEMORY_MS));
        assert_eq!(unheard.count(), 0);
    }

    #[test]
    fn a_storm_of_the_dead_costs_what_it_may_cost() {
        let mut unheard = Unheard::default();
        for number in 0..2 * MAX as u128 {
            unheard.missed(DialogKey(number), Millis(1));
        }
        assert_eq!(unheard.count(), MAX);
    }
}
