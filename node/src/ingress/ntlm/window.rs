//! Which of the client's counts were used: the highest, and those shortly before it.
//!
//! Requests of one client may overtake each other, so a count below the highest is not a repeat yet.

/// How far behind the highest a count may come.
const WIDTH: u32 = 256;

/// The counts in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    highest: u32,
    /// A bit for each of the last counts, found by the count's remainder.
    used: [u64; WIDTH as usize / 64],
}

impl Window {
    /// Nothing used.
    pub(super) fn new() -> Window {
        Window {
            highest: 0,
            used: [0; WIDTH as usize / 64],
        }
    }

    /// Uses a count; whether it could be used: counts begin at 1, and each is good for one message.
    //= MS-SIP 3.1.5.1
    //# a count seen before, or too old to know, is a repeat
    pub(super) fn take(&mut self, count: u32) -> bool {
        if count == 0 || self.highest.saturating_sub(count) >= WIDTH {
            return false;
        }
        if count > self.highest {
            let passed = (count - self.highest).min(WIDTH);
            for newer in 0..passed {
                let (word, bit) = place(count - newer);
                self.used[word] &= !bit;
            }
            self.highest = count;
        }
        let (word, bit) = place(count);
        let free = self.used[word] & bit == 0;
        self.used[word] |= bit;
        free
    }
}

fn place(count: u32) -> (usize, u64) {
    let at = count % WIDTH;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    //= MS-SIP 3.1.5.1
    //= type=test
    #[test]
    fn a_count_is_good_once_and_for_a_while() {
        let mut window = Window::new();
        for (count, expected) in [
            (0, false),
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (2, false),
            (257, true),
            (1, false),
            (4, true),
            (600, true),
            (345, true),
            (344, false),
            (345, false),
            (u32::MAX, true),
            (u32::MAX, false),
            (u32::MAX - 255, true),
            (u32::MAX - 256, false),
            (600, false),
        ] {
            assert_eq!(window.take(count), expected, "{count}");
        }
    }

    proptest! {
        #[test]
        fn it_answers_as_a_set_of_all_counts_would(counts in prop::collection::vec(0_u32..2_000, 0..600)) {
            let mut window = Window::new();
            let (mut highest, mut used) = (0, HashSet::new());
            for count in counts {
                let good = count > 0 && highest < count.saturating_add(WIDTH) && used.insert(count);
                highest = highest.max(count);
                prop_assert_eq!(window.take(count), good);
            }
        }
    }
}
