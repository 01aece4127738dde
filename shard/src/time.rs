//! Instants and lengths of time, as numbers that an entry carries. Arithmetic only: there is no clock
//! here.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The instant `seconds` after this one; the end of time when that does not fit.
    #[must_use]
    pub fn plus_s(self, seconds: u32) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::from(seconds) * 1_000))
    }

    /// The whole second this instant falls into, counted from 1970.
    #[must_use]
    pub fn second(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole seconds from `now` until this instant, rounded up; 0 when it is past.
    ///
    /// Rounded up so that something alive never shows zero seconds left.
    #[must_use]
    pub fn seconds_after(self, now: Timestamp) -> u32 {
        let left_ms = self.0.saturating_sub(now.0);
        u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
    }
}

/// RFC 3339 in UTC, to the millisecond.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(ms) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => f.write_str("9999-12-31T23:59:59.999Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_never_shows_zero_seconds() {
        for (name, at, now, left) in [
            ("whole", 5_000, 2_000, 3),
            ("a fraction left", 5_001, 5_000, 1),
            ("due", 5_000, 5_000, 0),
            ("past", 5_000, 9_000, 0),
        ] {
            assert_eq!(Timestamp(at).seconds_after(Timestamp(now)), left, "{name}");
        }
    }

    #[test]
    fn text_is_rfc_3339() {
        assert_eq!(
            Timestamp(1_702_831_504_000).to_string(),
            "2023-12-17T16:45:04.000Z"
        );
        assert_eq!(Timestamp(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
