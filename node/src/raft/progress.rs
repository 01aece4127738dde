//! How far this replica is behind its leader, as far as the leader has said.
//!
//! A replica that has just started knows nothing of what was committed meanwhile; so it has caught up only
//! once it was told how far the others are and has come that far. Under load there is always an entry on its
//! way: who has caught up once is behind again only when one goal was not reached for a while.

use std::sync::{Arc, Mutex, PoisonError};

use super::lease::boot_ms;

/// How long one goal may take before the replica counts as behind again.
const LATE_MS: u64 = 5_000;

/// How long a leader may be silent before nobody knows whether this replica has everything. An election takes
/// less.
pub const SILENT_MS: u64 = 3_000;

/// Entries that may wait for the machine's thread: a few batches.
const QUEUED_MAX: u64 = 1_024;

/// What a replica has heard of its leader. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    /// The newest entry that the leader said is committed; nothing before it said so in this life.
    commit: Option<u64>,
    /// When it was last heard.
    at_ms: u64,
    /// The entry to be reached, and since when.
    goal: u64,
    goal_ms: u64,
    /// Whether a goal was reached in this life.
    met: bool,
}

/// How far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Whether this replica follows its leader closely.
    pub caught_up: bool,
    /// Entries that are committed and not applied.
    pub entries: u64,
    /// How long it has been behind its goal, in milliseconds.
    pub since_ms: u64,
    /// How long ago the leader was heard.
    pub heard_ms: Option<u64>,
}

impl Progress {
    fn book(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leader was heard, and said how far it has committed; `applied` is how far this replica is.
    pub fn heard(&self, commit: Option<u64>, applied: Option<u64>) {
        self.book().heard(boot_ms(), commit, applied);
    }

    /// How far behind this replica is, which has applied so much, of which so many entries are still in the
    /// queue of its machine.
    #[must_use]
    pub fn behind(&self, applied: Option<u64>, queued: u64) -> Behind {
        self.book().behind(boot_ms(), applied, queued)
    }
}

impl Heard {
    fn heard(&mut self, now_ms: u64, commit: Option<u64>, applied: Option<u64>) {
        if self.commit.is_none() {
            (self.goal, self.goal_ms) = (commit.unwrap_or(0), now_ms);
        }
        self.at_ms = now_ms;
        self.commit = Some(commit.unwrap_or(0).max(self.commit.unwrap_or(0)));
        self.look(now_ms, applied);
    }

    /// Sets the next goal when one is reached.
    fn look(&mut self, now_ms: u64, applied: Option<u64>) {
        let Some(commit) = self.commit else { return };
        if applied.unwrap_or(0) >= self.goal {
            (self.goal, self.goal_ms) = (commit, now_ms);
        }
    }

    fn behind(&mut self, now_ms: u64, applied: Option<u64>, queued: u64) -> Behind {
        let applied = applied.unwrap_or(0);
        let reached = self.commit.is_some() && applied >= self.goal;
        self.met |= reached && queued == 0;
        let entries = self.commit.unwrap_or(0).saturating_sub(applied) + queued;
        let since_ms = if reached {
            0
        } else {
            now_ms.saturating_sub(self.goal_ms)
        };
        self.look(now_ms, Some(applied));
        let heard_ms = self.commit.map(|_| now_ms.saturating_sub(self.at_ms));
        let hears = heard_ms.is_some_and(|heard_ms| heard_ms < SILENT_MS);
        Behind {
            caught_up: self.met && hears && since_ms < LATE_MS && queued < QUEUED_MAX,
            entries,
            since_ms,
            heard_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_told_nothing_has_not_caught_up() {
        let mut heard = Heard::default();
        assert!(!heard.behind(10, Some(100), 0).caught_up);
        heard.heard(20, Some(5_000), Some(100));
        let behind = heard.behind(30, Some(100), 0);
        assert_eq!(
            (behind.caught_up, behind.entries, behind.since_ms),
            (false, 4_900, 10)
        );
        assert!(
            !heard.behind(40, Some(5_000), 7).caught_up,
            "the machine has not come so far"
        );
        assert!(heard.behind(50, Some(5_000), 0).caught_up);
    }

    #[test]
    fn who_follows_is_not_behind_for_an_entry_on_its_way() {
        let mut heard = Heard::default();
        heard.heard(0, Some(10), Some(10));
        assert!(heard.behind(0, Some(10), 0).caught_up);
        for step in 1..100 {
            let now_ms = step * 100;
            heard.heard(now_ms, Some(10 + step * 50), Some(step * 50));
            assert!(
                heard.behind(now_ms, Some(step * 50), 3).caught_up,
                "step {step}"
            );
        }
        // It stands still while the leader goes on.
        heard.heard(10_000, Some(9_000), Some(4_950));
        assert!(heard.behind(12_000, Some(4_950), 0).caught_up);
        for step in 0..30 {
            heard.heard(12_000 + step * 200, Some(10_000), Some(4_950));
        }
        assert!(!heard.behind(18_000, Some(4_950), 0).caught_up);
        assert!(
            heard.behind(18_100, Some(10_000), 0).caught_up,
            "and goes on"
        );
    }

    #[test]
    fn a_silent_leader_leaves_everybody_in_doubt() {
        let mut heard = Heard::default();
        heard.heard(0, None, None);
        assert!(
            heard.behind(0, None, 0).caught_up,
            "nothing is committed yet"
        );
        assert!(heard.behind(2_999, None, 0).caught_up);
        assert!(!heard.behind(3_000, None, 0).caught_up);
    }
}
