//! What a watcher and we agree on to save traffic: conditions (RFC 5839), pace (RFC 6446), filters (RFC
//! 4660), patches (RFC 5263) and compression.
//!
//! All of it stands in one box, which a dialog without any of it does not have. When a notification may go
//! is decided here and in the log; how it looks is the business of who sends it, who is told the terms.

use std::sync::Arc;

use crate::subscription::filter::Filter;
use crate::time::Timestamp;

/// The end of time.
const NEVER: Timestamp = Timestamp(u64::MAX);

/// The longest time that a watcher may ask us to be silent for, in seconds: a day.
pub const SILENCE_MAX_S: u32 = 86_400;

/// The shortest time after which a watcher may ask to be told again what it knows, in seconds: a hundred
/// thousand such watchers are ten thousand notifications a second.
pub const REPEAT_MIN_S: u32 = 10;

/// What holds for each notification of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Seconds between two notifications at least; 0 for any.
    pub min_interval_s: u32,
    /// Seconds between two notifications at most; 0 for any.
    pub max_interval_s: u32,
    /// Whether the watcher reads patches.
    pub partial: bool,
    /// Whether it reads compressed bodies.
    pub gzip: bool,
    /// What it wants to see, and when.
    pub filter: Option<Filter>,
}

impl Terms {
    /// The same within our bounds.
    //= RFC 6446 4.2
    //# a notifier may adjust the interval, and tells the one that holds
    #[must_use]
    pub fn bounded(mut self) -> Terms {
        self.min_interval_s = self.min_interval_s.min(SILENCE_MAX_S);
        let triggered = self.filter.as_ref().is_some_and(Filter::has_triggers);
        if triggered {
            // Who decides whether a trigger fires is not who knows when something was told last.
            self.max_interval_s = 0;
        }
        if self.max_interval_s > 0 {
            let least = REPEAT_MIN_S.max(self.min_interval_s);
            self.max_interval_s = self.max_interval_s.clamp(least, SILENCE_MAX_S);
        }
        self
    }

    /// Distinguishes what is seen under these terms from what is seen under others.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.filter.as_ref().map_or(0, Filter::digest)
    }
}

/// The condition of a SUBSCRIBE: nothing is to be told if it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Whatever there is to tell (`*`).
    Any,
    /// What there is has this tag.
    Is(u64),
}

/// What a SUBSCRIBE says of its filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: the one that holds goes on.
    #[default]
    Same,
    /// There is to be none.
    Nothing,
    /// This one.
    This(Filter),
}

/// What a SUBSCRIBE says of traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// When not to tell anything.
    pub condition: Option<Condition>,
    /// Seconds between two notifications at least; 0 for any.
    pub min_interval_s: u32,
    /// Seconds between two notifications at most; 0 for any.
    pub max_interval_s: u32,
    /// Whether patches are read; `None` goes on as before.
    pub partial: Option<bool>,
    /// Whether compressed bodies are read; `None` goes on as before.
    pub gzip: Option<bool>,
    /// The filter.
    pub filter: Wanted,
}

impl Asked {
    /// The terms of a subscription that had these.
    //= RFC 6446 4.1
    //# a SUBSCRIBE without an interval ends what was agreed of it
    //= RFC 4660 3.3
    //# a refresh without a filter leaves the one that holds
    #[must_use]
    pub fn terms(&self, before: Option<&Terms>) -> Terms {
        let old = || before.and_then(|terms| terms.filter.clone());
        Terms {
            min_interval_s: self.min_interval_s,
            max_interval_s: self.max_interval_s,
            partial: (self.partial).unwrap_or(before.is_some_and(|terms| terms.partial)),
            gzip: (self.gzip).unwrap_or(before.is_some_and(|terms| terms.gzip)),
            filter: match &self.filter {
                Wanted::Same => old(),
                Wanted::Nothing => None,
                Wanted::This(filter) => Some(filter.clone()),
            },
        }
        .bounded()
    }
}

/// Why a dialog is told now. The numbers are those between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// It asked, or it ends.
    Asked = 0,
    /// It asked, under a condition that was true: it is told no more than that it is subscribed.
    Suppressed = 1,
    /// Its time has come.
    Due = 2,
    /// What it sees changed.
    Changed = 3,
    /// It may not have heard it the first time.
    Again = 4,
}

impl Cause {
    /// The cause with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Cause> {
        use Cause::{Again, Asked, Changed, Due, Suppressed};
        [Asked, Suppressed, Due, Changed, Again]
            .into_iter()
            .find(|cause| *cause as u8 == number)
    }
}

/// What a dialog with any of it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Savers {
    /// What was agreed.
    pub terms: Arc<Terms>,
    /// Whether there is something that was not told yet.
    pub waits: bool,
    /// When something was told last.
    pub told_at: Timestamp,
}

impl Savers {
    /// What a SUBSCRIBE that asks for this leaves of what there was; nothing where nothing is agreed. Intervals
    /// count from `from` on, or from what was told later.
    #[must_use]
    pub fn agreed(
        before: Option<Box<Savers>>,
        asked: Option<&Asked>,
        from: Timestamp,
    ) -> Option<Box<Savers>> {
        let nothing = Asked::default();
        let asked = asked.unwrap_or(&nothing);
        let terms = asked.terms(before.as_deref().map(|savers| &*savers.terms));
        if terms == Terms::default() {
            return None;
        }
        let mut savers = before.unwrap_or_else(|| {
            Box::new(Savers {
                terms: Arc::default(),
                waits: false,
                told_at: from,
            })
        });
        // Whoever asks is told now, or knows it: nothing waits.
        (savers.waits, savers.told_at) = (false, savers.told_at.max(from));
        if *savers.terms != terms {
            savers.terms = Arc::new(terms);
        }
        Some(savers)
    }

    /// When something is to be told next, if nothing happens until then.
    #[must_use]
    pub fn due_at(&self) -> Timestamp {
        match (self.waits, self.terms.max_interval_s) {
            (true, _) => self.told_at.plus_s(self.terms.min_interval_s),
            (false, 0) => NEVER,
            (false, max) => self.told_at.plus_s(max),
        }
    }

    /// Whether that time has come. Then nothing is due again before it was told.
    //= RFC 6446 5.2
    //# when nothing was told for so long, the state is told whether it changed or not
    pub fn falls_due(&mut self, now: Timestamp) -> bool {
        let due = self.due_at() <= now;
        if due {
            (self.waits, self.told_at) = (false, now);
        }
        due
    }

    /// Whether it is told now; else what waits is told when its time has come, as it is then.
    //= RFC 6446 4.2
    //# no two notifications within the interval, but what a SUBSCRIBE asks for is told at once
    pub fn lets_pass(&mut self, cause: Cause, now: Timestamp) -> bool {
        let pause = self.told_at.plus_s(self.terms.min_interval_s) > now;
        if pause && matches!(cause, Cause::Changed | Cause::Again) {
            self.waits = true;
            return false;
        }
        (self.waits, self.told_at) = (false, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Timestamp {
        Timestamp(s * 1_000)
    }

    fn paced(min: u32, max: u32) -> Box<Savers> {
        let asked = Asked {
            min_interval_s: min,
            max_interval_s: max,
            ..Asked::default()
        };
        Savers::agreed(None, Some(&asked), at(0)).expect("something is agreed")
    }

    //= RFC 6446 4.2
    //= type=test
    #[test]
    fn a_pace_lets_pass_what_is_asked_and_what_is_late_enough() {
        for (name, cause, now, passes) in [
            ("asked at once", Cause::Asked, 1, true),
            ("asked for nothing", Cause::Suppressed, 1, true),
            ("its time", Cause::Due, 10, true),
            ("a change too soon", Cause::Changed, 9, false),
            ("a repetition too soon", Cause::Again, 9, false),
            ("a change in time", Cause::Changed, 10, true),
        ] {
            let mut savers = paced(10, 0);
            assert_eq!(savers.lets_pass(cause, at(now)), passes, "{name}");
            assert_eq!(savers.waits, !passes, "{name}");
            let due = if passes { NEVER } else { at(10) };
            assert_eq!(savers.due_at(), due, "{name}");
        }
    }

    //= RFC 6446 5.2
    //= type=test
    #[test]
    fn what_was_silent_for_too_long_falls_due_once() {
        let mut savers = paced(0, 30);
        assert!(!savers.falls_due(at(29)));
        assert!(savers.falls_due(at(30)));
        assert!(!savers.falls_due(at(30)));
        assert_eq!(savers.due_at(), at(60));
    }

    //= RFC 6446 4.2
    //= type=test
    #[test]
    fn intervals_are_bounded() {
        for (min, max, granted) in [
            (5, 0, (5, 0)),
            (0, 1, (0, REPEAT_MIN_S)),
            (60, 20, (60, 60)),
            (u32::MAX, u32::MAX, (SILENCE_MAX_S, SILENCE_MAX_S)),
        ] {
            let terms = &paced(min, max).terms;
            assert_eq!((terms.min_interval_s, terms.max_interval_s), granted);
        }
    }

    //= RFC 6446 4.1
    //= type=test
    //= RFC 4660 3.3
    //= type=test
    #[test]
    fn a_refresh_ends_the_pace_and_leaves_the_filter() {
        let first = Asked {
            min_interval_s: 5,
            gzip: Some(true),
            filter: Wanted::This(Filter::default()),
            ..Asked::default()
        };
        let before = Savers::agreed(None, Some(&first), at(0));
        let after = Savers::agreed(before.clone(), None, at(1)).expect("the filter stays");
        assert_eq!(after.terms.min_interval_s, 0);
        assert!(after.terms.gzip && after.terms.filter.is_some());
        let removed = Asked {
            gzip: Some(false),
            filter: Wanted::Nothing,
            ..Asked::default()
        };
        assert_eq!(Savers::agreed(before, Some(&removed), at(1)), None);
    }
}
