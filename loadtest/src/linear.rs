//! Whether what the clients of one register saw can be told as one story: the checker of Wing and Gong,
//! as Lowe made it quick.
//!
//! A presentity is a register: a publication writes it, a fetch reads it, and each takes effect at one
//! moment between its request and its answer. The search tries the operations that may come next, one
//! after the other, and remembers what it has tried. A write whose answer never came may take effect at
//! any later time, or never; a read without an answer says nothing and is left out by the caller.

use std::collections::HashSet;

/// What an operation did to the register, or saw there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It holds this from then on.
    Write(u64),
    /// It held this; 0 before the first write.
    Read(u64),
}

/// One operation. Times are of one clock, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub deed: Deed,
    /// When it was asked for.
    pub begin_us: u64,
    /// When it was answered; `None` when nobody knows whether it took effect.
    pub end_us: Option<u64>,
}

/// What is left to try from one point of the story.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Point {
    /// All operations before this one have been told.
    front: usize,
    /// And of the others these, in order.
    beyond: Vec<usize>,
    /// What the register holds.
    value: u64,
}

impl Point {
    fn told(&self, operation: usize) -> bool {
        operation < self.front || self.beyond.binary_search(&operation).is_ok()
    }

    /// The point after `operation`, at which the register holds `value`.
    fn after(&self, operation: usize, value: u64) -> Point {
        let mut next = self.clone();
        next.value = value;
        if let Err(place) = next.beyond.binary_search(&operation) {
            next.beyond.insert(place, operation);
        }
        let whole = (next.front..)
            .zip(&next.beyond)
            .take_while(|(expected, told)| expected == *told)
            .count();
        next.beyond.drain(..whole);
        next.front += whole;
        next
    }
}

/// Whether the operations on one register can be told as one story. `Err` says at which operation every
/// attempt ends.
pub fn check(history: &[Operation]) -> Result<(), String> {
    let mut operations = history.to_vec();
    operations.sort_by_key(|operation| operation.begin_us);
    let mut stack = vec![Point {
        front: 0,
        beyond: Vec::new(),
        value: 0,
    }];
    let mut tried: HashSet<Point> = stack.iter().cloned().collect();
    let mut furthest = 0;
    while let Some(point) = stack.pop() {
        furthest = furthest.max(point.front);
        // Who comes next began before everybody else who was answered had ended.
        let mut horizon = u64::MAX;
        let mut open = false;
        let mut next = Vec::new();
        for (number, operation) in operations.iter().enumerate().skip(point.front) {
            if operation.begin_us > horizon {
                break;
            }
            if point.told(number) {
                continue;
            }
            if let Some(end_us) = operation.end_us {
                open = true;
                horizon = horizon.min(end_us);
            }
            next.push(number);
        }
        // Only writes are left of which nobody knows.
        if !open {
            return Ok(());
        }
        for number in next {
            let operation = operations[number];
            if operation.begin_us > horizon {
                continue;
            }
            let value = match operation.deed {
                Deed::Write(value) => value,
                Deed::Read(value) if value == point.value => value,
                Deed::Read(_) => continue,
            };
            let after = point.after(number, value);
            if tried.insert(after.clone()) {
                stack.push(after);
            }
        }
    }
    let stuck = operations.get(furthest);
    Err(format!(
        "no order explains {stuck:?}, operation {furthest} of {}",
        operations.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::Deed::{Read, Write};
    use super::*;

    fn history(rows: &[(Deed, u64, Option<u64>)]) -> Vec<Operation> {
        rows.iter()
            .map(|&(deed, begin_us, end_us)| Operation {
                deed,
                begin_us,
                end_us,
            })
            .collect()
    }

    #[test]
    fn what_can_be_told_as_one_story_is_told_from_what_cannot() {
        #[allow(clippy::type_complexity)] // a table of cases
        let rows: &[(&str, bool, &[(Deed, u64, Option<u64>)])] = &[
            ("nothing", true, &[]),
            ("a read before any write", true, &[(Read(0), 1, Some(2))]),
            (
                "one after the other",
                true,
                &[
                    (Write(1), 1, Some(2)),
                    (Read(1), 3, Some(4)),
                    (Write(2), 5, Some(6)),
                    (Read(2), 7, Some(8)),
                ],
            ),
            (
                "a stale read",
                false,
                &[
                    (Write(1), 1, Some(2)),
                    (Write(2), 3, Some(4)),
                    (Read(1), 5, Some(6)),
                ],
            ),
            (
                "an acknowledged write that is lost",
                false,
                &[(Write(1), 1, Some(2)), (Read(0), 3, Some(4))],
            ),
            (
                "a read beside a write sees either",
                true,
                &[(Write(1), 1, Some(9)), (Read(0), 2, Some(3))],
            ),
            (
                "but not the new and then the old",
                false,
                &[
                    (Write(1), 1, Some(9)),
                    (Read(1), 2, Some(3)),
                    (Read(0), 4, Some(5)),
                ],
            ),
            (
                "what nobody wrote",
                false,
                &[(Write(1), 1, Some(2)), (Read(7), 3, Some(4))],
            ),
            (
                "an unknown write that shows late",
                true,
                &[
                    (Write(1), 1, Some(2)),
                    (Write(2), 3, None),
                    (Read(1), 4, Some(5)),
                    (Read(2), 6, Some(7)),
                ],
            ),
            (
                "an unknown write that never shows",
                true,
                &[
                    (Write(1), 1, Some(2)),
                    (Write(2), 3, None),
                    (Read(1), 4, Some(5)),
                ],
            ),
            (
                "an unknown write that shows and is gone again",
                false,
                &[
                    (Write(1), 1, Some(2)),
                    (Write(2), 3, None),
                    (Read(2), 4, Some(5)),
                    (Read(1), 6, Some(7)),
                ],
            ),
            (
                "an unknown write that shows before it was asked for",
                false,
                &[(Read(2), 1, Some(2)), (Write(2), 3, None)],
            ),
            (
                "three that overlap, in one order only",
                true,
                &[
                    (Write(1), 1, Some(10)),
                    (Write(2), 2, Some(11)),
                    (Write(3), 3, Some(12)),
                    (Read(2), 13, Some(14)),
                    (Read(2), 15, Some(16)),
                ],
            ),
            (
                "two readers who disagree on the order of two writes",
                false,
                &[
                    (Write(1), 1, Some(20)),
                    (Write(2), 1, Some(20)),
                    (Read(1), 2, Some(3)),
                    (Read(2), 4, Some(5)),
                    (Read(1), 6, Some(7)),
                ],
            ),
        ];
        for (name, expected, operations) in rows {
            let said = check(&history(operations));
            assert_eq!(said.is_ok(), *expected, "{name}: {said:?}");
        }
    }

    /// A thousand writes with readers beside each of them take no time; the same with one read planted
    /// that is two writes behind is found.
    #[test]
    fn a_long_history_is_checked_and_one_stale_read_in_it_is_found() {
        let mut rows = Vec::new();
        for write in 1..=1_000 {
            let at = write * 100;
            rows.push((Write(write), at, Some(at + 50)));
            rows.push((Read(write - 1), at - 20, Some(at + 20)));
            rows.push((Read(write), at + 10, Some(at + 70)));
            // Some are never heard of again.
            if write % 100 == 0 {
                rows.push((Write(1_000_000 + write), at, None));
            }
        }
        assert_eq!(check(&history(&rows)), Ok(()));
        rows.push((Read(498), 50_080, Some(50_090)));
        assert!(check(&history(&rows)).is_err());
    }
}
