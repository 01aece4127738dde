//! Notifications that come late from a node that led: the new leader's are newer, and may be faster.
//!
//! Each node that leads sends over a link of its own, so at a change of leader two notifications of one
//! dialog may cross. The worker that has the watcher's flow sends none that is older than what it sent:
//! a watcher would refuse it (RFC 3261 12.2.2), and what it says is said by the newer one.

use std::collections::HashMap;

use shard::subscription::dialog::DialogKey;
use transport::transaction::Millis;

/// How long a number is remembered: a node that does not lead any more tells nothing after its lease.
const MEMORY_MS: u64 = 10_000;

/// The last number of each dialog that was told lately.
#[derive(Debug, Default)]
pub struct Overtaken {
    last: HashMap<DialogKey, (u32, Millis)>,
    pruned: Millis,
}

impl Overtaken {
    /// Whether a notification is older than one that was sent; if not, it is the newest from now on.
    pub fn is(&mut self, dialog: DialogKey, cseq: u32, now: Millis) -> bool {
        if now.0 >= self.pruned.0 + MEMORY_MS {
            self.pruned = now;
            self.last.retain(|_, (_, at)| now.0 < at.0 + MEMORY_MS);
        }
        let (last, at) = self.last.entry(dialog).or_insert((0, now));
        if cseq <= *last {
            return true;
        }
        (*last, *at) = (cseq, now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_overtaken_is_not_sent() {
        let mut overtaken = Overtaken::default();
        let (one, other) = (DialogKey(1), DialogKey(2));
        for (dialog, cseq, at, late) in [
            (one, 4, 0, false),
            (one, 6, 1, false),
            (one, 5, 2, true),
            (one, 6, 3, true),
            (other, 1, 3, false),
            (one, 7, 4, false),
            (one, 7, 5_000, true),
            // Long after, nothing is remembered, and nothing late is to be feared.
            (one, 3, 20_005, false),
        ] {
            assert_eq!(
                overtaken.is(dialog, cseq, Millis(at)),
                late,
                "{cseq} at {at}"
            );
        }
    }
}
