//! Deadlines of one worker.
//!
//! Every deadline of a transaction lies one of a handful of constant intervals ahead, so each interval
//! is a queue that is in order by itself: setting costs a push, expiring a pop. Nothing is cancelled;
//! whoever is no longer there when its time comes is passed over by the owner.

use std::collections::VecDeque;

use super::{Millis, T1_MS, T2_MS, TIMEOUT_MS};

/// The intervals there are.
const INTERVALS: [u64; 5] = [T1_MS, 2 * T1_MS, 4 * T1_MS, T2_MS, TIMEOUT_MS];

/// Deadlines of things named by `T`.
#[derive(Debug)]
pub struct Timers<T> {
    queues: [VecDeque<(Millis, T)>; INTERVALS.len()],
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers {
            queues: std::array::from_fn(|_| VecDeque::new()),
        }
    }
}

impl<T> Timers<T> {
    /// Sets a deadline one interval after `now`.
    ///
    /// # Panics
    /// For an interval that is not one of RFC 3261's: a mistake of ours.
    pub fn set(&mut self, now: Millis, interval_ms: u64, what: T) {
        let place = INTERVALS
            .iter()
            .position(|known| *known == interval_ms)
            .expect("an interval of the table");
        self.queues[place].push_back((Millis(now.0 + interval_ms), what));
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Millis> {
        self.queues
            .iter()
            .filter_map(|queue| queue.front())
            .map(|(due, _)| *due)
            .min()
    }

    /// Takes one thing that is due; `None` when nothing is.
    pub fn take_due(&mut self, now: Millis) -> Option<T> {
        let due = self
            .queues
            .iter_mut()
            .find(|queue| queue.front().is_some_and(|(due, _)| *due <= now))?;
        due.pop_front().map(|(_, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_and_nothing_else() {
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(Millis(0), TIMEOUT_MS, "late");
        timers.set(Millis(100), T1_MS, "first");
        timers.set(Millis(200), T1_MS, "second");
        assert_eq!(timers.next(), Some(Millis(600)));
        assert_eq!(timers.take_due(Millis(599)), None);
        assert_eq!(timers.take_due(Millis(700)), Some("first"));
        assert_eq!(timers.take_due(Millis(700)), Some("second"));
        assert_eq!(timers.take_due(Millis(700)), None);
        assert_eq!(timers.take_due(Millis(32_000)), Some("late"));
    }
}
