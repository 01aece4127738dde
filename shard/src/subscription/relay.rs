//! What a dialog watches in another shard, and what it is told from there (house D7).
//!
//! The dialog stands in its watcher's shard, the **sink**; what it watches stands in the shard of the
//! presentity, the **source**. There a watch of its own is kept for it, which decides what the watcher may
//! see and says so by number; nothing that this watcher may not see leaves the source. What the watch says
//! is a view, of whatever format: a relay carries (dialog, presentity, generation, revision, view) and knows
//! no document.

use std::sync::Arc;

use crate::category::Category;
use crate::presence::container::Network;
use crate::slot::Slot;
use crate::subscription::dialog::{DialogKey, Format};

/// How much longer than the dialog its watch at the source lives: what is on its way when the dialog is
/// refreshed at the last moment must not find it gone. In seconds.
pub const SLACK_S: u32 = 60;

/// A watch is not renewed at half of its life when less than this is left of it, in seconds: its end, or
/// the dialog's refresh, comes soon enough.
pub const RENEWED_S: u32 = 60;

/// Where a dialog lives that watches in other shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sink {
    /// The slot that it lives in.
    pub slot: Slot,
    /// Which.
    pub dialog: DialogKey,
}

/// What the source is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct RelayWatch<'a> {
    /// Whom to watch.
    pub presentity: &'a str,
    /// Who is told.
    pub sink: Sink,
    /// Grows with each time that the sink asks; what was said to an earlier one counts no more.
    pub generation: u64,
    /// Who watches: what it may see is decided by this.
    pub watcher: &'a str,
    /// From where.
    pub network: Network,
    /// The watcher's name, for the subscriber list; empty when there was none.
    pub display_name: &'a str,
    /// What to tell the presentity about the watcher; `None` to tell nothing.
    pub context: Option<&'a [u8]>,
    /// Which document; the view is the same for all of one package.
    pub format: Format,
    /// Which categories, where the document is about categories.
    pub categories: Vec<Category>,
    /// How long the watch lives unless it is renewed.
    pub expires_s: u32,
    /// Watchers that one presentity may have: the operator's limit.
    pub watchers_max: u32,
}

/// What a source says to a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Relayed<'a> {
    /// Who is told.
    pub sink: Sink,
    /// Of whom.
    pub presentity: &'a str,
    /// As it was asked.
    pub generation: u64,
    /// Grows by each saying of one generation.
    pub revision: u32,
    /// All that the watcher sees from now on, encoded ([`crate::machine::crossing`]); `None` where it is
    /// not watched, because too many watch.
    pub view: Option<&'a [u8]>,
}

/// What a dialog knows of one that it watches in another shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// With which number it last asked.
    pub generation: u64,
    /// The last number it was told, 0 for none.
    pub revision: u32,
    /// What it was told, encoded. What a dialog shows again, its own log must hold.
    pub view: Option<Arc<[u8]>>,
}

impl Standing {
    /// Takes what it is told, if it is new: a relayed change counts once, however often it comes.
    pub fn take(&mut self, told: &Relayed<'_>) -> bool {
        let new = told.generation == self.generation && told.revision > self.revision;
        if new {
            self.revision = told.revision;
            self.view = told.view.map(Arc::from);
        }
        new
    }

    /// Asks once more: what was said before is shown on, until there is an answer.
    pub fn ask_again(&mut self, generation: u64) {
        self.generation = generation.max(self.generation + 1);
        self.revision = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_or_twice_is_not_taken() {
        let sink = Sink {
            slot: Slot::of("bob@example.com"),
            dialog: DialogKey(1),
        };
        let told = |generation, revision, view: &'static [u8]| Relayed {
            sink,
            presentity: "alice@example.com",
            generation,
            revision,
            view: Some(view),
        };
        let mut standing = Standing::default();
        standing.ask_again(100);
        for (name, generation, revision, taken) in [
            ("first", 100, 1, true),
            ("again", 100, 1, false),
            ("with a gap", 100, 4, true),
            ("overtaken", 100, 3, false),
            ("of an earlier time", 99, 9, false),
        ] {
            let view: &'static [u8] = if taken { b"new" } else { b"old" };
            assert_eq!(
                standing.take(&told(generation, revision, view)),
                taken,
                "{name}"
            );
            if taken {
                assert_eq!(standing.view.as_deref(), Some(view), "{name}");
            }
        }
        // Within the same millisecond, and with a clock that went back.
        for again in [100, 7] {
            let before = standing.generation;
            standing.ask_again(again);
            assert!(standing.generation > before);
            assert!(!standing.take(&told(before, 9, b"old")));
            assert!(standing.take(&told(standing.generation, 1, b"new")));
        }
    }
}
