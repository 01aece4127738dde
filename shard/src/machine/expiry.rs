//! When everything ends: a wheel of seconds, and an exact order for the second that has come.
//!
//! Most lives are prolonged long before they end, so a prolonged life costs nothing here: its entry
//! stays in the second it was queued for, and when that second opens the store says how late the true
//! deadline is and queues it anew. What is truly due within an opened second stands in an ordered set
//! by (deadline, item), which is the order in which every replica ends things, whether it counted
//! from the start or was restored from a snapshot.
//!
//! An entry whose item is gone is stale. A second compacts itself when most of it is stale, so that
//! what comes and goes quickly leaves nothing behind.
//!
//! Sketch: an insertion appends to a vector; a refresh compares two numbers; an ordered set of a
//! million items instead would cost two searches of some 300 ns for each refresh.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Timestamp;

/// Stale entries that a second may hold before it is worth compacting: 8 entries of 18 bytes.
const STALE_MAX: usize = 8;

/// Deadlines of items of one kind. The caller keeps beside each item for when it is queued.
#[derive(Debug)]
pub(super) struct Deadlines<T> {
    /// Seconds below this one are open: their items stand in `near`.
    closed_from: u64,
    near: BTreeSet<(Timestamp, T)>,
    far: BTreeMap<u64, Bucket<T>>,
}

#[derive(Debug)]
struct Bucket<T> {
    items: Vec<T>,
    /// No item is queued for an earlier instant.
    earliest: Timestamp,
    /// How many of the items are gone or queued elsewhere.
    stale: usize,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Deadlines<T> {
        Deadlines {
            closed_from: 0,
            near: BTreeSet::new(),
            far: BTreeMap::new(),
        }
    }
}

impl<T: Ord> Deadlines<T> {
    /// No item ends before this instant. It may be earlier than the first true deadline, when a life
    /// was prolonged or ended; what is done then ends nothing.
    pub(super) fn first(&self) -> Option<Timestamp> {
        let near = self.near.first().map(|(at, _)| *at);
        let far = self
            .far
            .first_key_value()
            .map(|(_, bucket)| bucket.earliest);
        near.into_iter().chain(far).min()
    }

    /// Queues `item` for `at`.
    pub(super) fn push(&mut self, at: Timestamp, item: T) {
        if at.second() < self.closed_from {
            self.near.insert((at, item));
            return;
        }
        let bucket = self.far.entry(at.second()).or_insert_with(|| Bucket {
            items: Vec::new(),
            earliest: at,
            stale: 0,
        });
        bucket.earliest = bucket.earliest.min(at);
        // By quarters: doubling would leave a third of a million entries unused.
        if bucket.items.len() == bucket.items.capacity() {
            bucket.items.reserve_exact(bucket.items.len() / 4 + 4);
        }
        bucket.items.push(item);
    }

    /// Takes back `item`, which was queued for `at`. `queued_for` tells for when an item is queued
    /// now, if it still is.
    pub(super) fn forget(
        &mut self,
        at: Timestamp,
        item: T,
        queued_for: impl Fn(&T) -> Option<Timestamp>,
    ) {
        let second = at.second();
        if second < self.closed_from {
            self.near.remove(&(at, item));
            return;
        }
        let Some(bucket) = self.far.get_mut(&second) else {
            return;
        };
        bucket.stale += 1;
        if bucket.stale > STALE_MAX && bucket.stale * 2 > bucket.items.len() {
            // One that came, went and came again stands here twice.
            bucket.items.sort_unstable();
            bucket.items.dedup();
            bucket
                .items
                .retain(|item| queued_for(item).is_some_and(|at| at.second() == second));
            bucket.items.shrink_to(bucket.items.len() * 5 / 4);
            bucket.stale = 0;
        }
        if bucket.stale >= bucket.items.len() {
            self.far.remove(&second);
        }
    }

    /// Opens the next second that `now` has reached: gives what was queued for it. The caller queues
    /// again, for its true deadline, each item that is still queued for that second.
    pub(super) fn open(&mut self, now: Timestamp) -> Option<(u64, Vec<T>)> {
        self.closed_from = self.closed_from.max(now.second() + 1);
        let first = self.far.first_entry()?;
        if *first.key() >= self.closed_from {
            return None;
        }
        let (second, bucket) = first.remove_entry();
        Some((second, bucket.items))
    }

    /// Takes the first item that is due at `now`, in the order of (deadline, item). Everything that
    /// `now` has reached was opened before.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<(Timestamp, T)> {
        if self.near.first()?.0 > now {
            return None;
        }
        self.near.pop_first()
    }

    /// When the item was or will be due that [`Deadlines::due`] would take next.
    pub(super) fn first_open(&self) -> Option<Timestamp> {
        self.near.first().map(|(at, _)| *at)
    }

    /// Entries held, stale ones included.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.near.len()
            + self
                .far
                .values()
                .map(|bucket| bucket.items.len())
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms)
    }

    /// Opens what `now` has reached, all of it still queued for what `queued` says, and takes what is
    /// due.
    fn expire(deadlines: &mut Deadlines<u32>, now: Timestamp, queued: &[u64]) -> Vec<(u64, u32)> {
        while let Some((second, items)) = deadlines.open(now) {
            for item in items {
                let ms = queued[item as usize];
                if at(ms).second() == second {
                    deadlines.push(at(ms), item);
                }
            }
        }
        std::iter::from_fn(|| deadlines.due(now))
            .map(|(at, item)| (at.0, item))
            .collect()
    }

    #[test]
    fn things_end_in_the_order_of_their_deadlines() {
        let queued = [5_500, 5_001, 7_000, 5_001, 90_000, 4_999];
        let mut deadlines = Deadlines::default();
        for (item, ms) in queued.iter().enumerate() {
            deadlines.push(at(*ms), item as u32);
        }
        for (now, first, expected) in [
            (4_998, Some(4_999), vec![]),
            (5_000, Some(5_001), vec![(4_999, 5)]),
            (5_001, Some(5_500), vec![(5_001, 1), (5_001, 3)]),
            (60_000, Some(90_000), vec![(5_500, 0), (7_000, 2)]),
            (90_000, None, vec![(90_000, 4)]),
        ] {
            assert_eq!(expire(&mut deadlines, at(now), &queued), expected, "{now}");
            assert_eq!(deadlines.first(), first.map(Timestamp), "{now}");
        }
    }

    #[test]
    fn an_opened_second_takes_more_items() {
        let mut deadlines = Deadlines::default();
        assert_eq!(expire(&mut deadlines, at(5_100), &[]), []);
        deadlines.push(at(5_300), 0);
        deadlines.push(at(5_200), 1);
        assert_eq!(deadlines.first(), Some(at(5_200)));
        assert_eq!(
            expire(&mut deadlines, at(5_400), &[]),
            [(5_200, 1), (5_300, 0)]
        );
    }

    #[test]
    fn what_was_taken_back_does_not_end() {
        let mut deadlines = Deadlines::default();
        expire(&mut deadlines, at(1_000), &[]);
        for (name, ms) in [("in an open second", 1_500), ("in a closed second", 9_000)] {
            deadlines.push(at(ms), 0);
            deadlines.forget(at(ms), 0, |_| None);
            assert_eq!((deadlines.len(), deadlines.first()), (0, None), "{name}");
        }
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing_behind() {
        let mut deadlines = Deadlines::default();
        let lives = |item: &u32| (*item < 10).then_some(at(9_000));
        for item in 0..10 {
            deadlines.push(at(9_000), item);
        }
        for item in 10..10_000 {
            deadlines.push(at(9_000), item);
            deadlines.forget(at(9_000), item, lives);
            // One that lives and was queued twice.
            deadlines.push(at(9_000), 3);
            deadlines.forget(at(9_000), 3, lives);
        }
        assert!(deadlines.len() <= 40, "{} entries", deadlines.len());
        let due: Vec<u32> = expire(&mut deadlines, at(9_000), &[9_000; 10_000])
            .into_iter()
            .map(|(_, i)| i)
            .collect();
        assert!((0..10).all(|item| due.contains(&item)));
    }
}
