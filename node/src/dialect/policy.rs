//! What the operator decided and the dialects apply: domains and intervals.

use super::Answer;
use super::answer::Row;
use super::enhanced::Settings;
use super::refusal;

/// The intervals of one kind of soft state, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Shorter ones are refused with 423.
    pub min_s: u32,
    /// Longer ones are shortened.
    pub max_s: u32,
    /// Taken when the client names none.
    pub default_s: u32,
}

impl Interval {
    /// The lifetime granted to who asks for `asked` seconds; 0 ends and is always granted.
    ///
    /// # Errors
    /// 423 with Min-Expires.
    //= RFC 3903 6
    //# an interval below the minimum may get 423; a longer one is shortened, never lengthened
    pub fn grant(&self, asked: Option<u32>) -> Result<u32, Answer> {
        match asked {
            None => Ok(self.default_s),
            Some(0) => Ok(0),
            Some(seconds) if seconds < self.min_s => {
                Err(Answer::of(refusal::TOO_BRIEF).with("Min-Expires", self.min_s.to_string()))
            }
            Some(seconds) => Ok(seconds.min(self.max_s)),
        }
    }

    /// The same for SUBSCRIBE, where 423 is not allowed for an hour or more.
    ///
    /// # Errors
    /// 423 with Min-Expires.
    //= RFC 6665 4.2.1.1
    //# 423 only when the interval is both shorter than an hour and below the minimum
    pub fn grant_subscription(&self, asked: Option<u32>) -> Result<u32, Answer> {
        const HOUR_S: u32 = 3_600;
        match asked {
            Some(seconds) if seconds >= HOUR_S => Ok(seconds.min(self.max_s)),
            _ => self.grant(asked),
        }
    }
}

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Our domains, lower case.
    pub domains: Vec<String>,
    /// What an address of another domain gets: 404 or 403.
    pub foreign: Row,
    /// Rows of one answer to a search of the directory.
    pub results_max: usize,
    /// Publications.
    pub publication: Interval,
    /// Subscriptions.
    pub subscription: Interval,
    /// Registrations.
    pub registration: Interval,
    /// Enhanced presence.
    pub enhanced: Settings,
}

impl Policy {
    /// Whether `host` is a domain of ours.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        self.domains
            .iter()
            .any(|domain| domain.eq_ignore_ascii_case(host))
    }
}

/// The defaults: one domain, an hour as RFC 3856 has it, and a minute as the shortest.
impl Default for Policy {
    fn default() -> Policy {
        let interval = Interval {
            min_s: 60,
            max_s: 86_400,
            default_s: 3_600,
        };
        Policy {
            domains: vec!["localhost".to_owned()],
            foreign: refusal::FOREIGN_NOT_FOUND,
            results_max: 100,
            publication: interval,
            subscription: interval,
            registration: interval,
            enhanced: Settings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use transport::sip::StatusCode;

    use super::*;

    //= RFC 3903 6
    //= type=test
    #[test]
    fn an_interval_is_shortened_never_lengthened() {
        let interval = Interval {
            min_s: 60,
            max_s: 600,
            default_s: 300,
        };
        let brief = |answer: Answer| {
            assert_eq!(answer.row.status, StatusCode::INTERVAL_TOO_BRIEF);
            answer.header("Min-Expires").map(str::to_owned)
        };
        for (name, asked, granted) in [
            ("none", None, Ok(300)),
            ("the end", Some(0), Ok(0)),
            ("too brief", Some(59), Err(Some("60".to_owned()))),
            ("the least", Some(60), Ok(60)),
            ("between", Some(599), Ok(599)),
            ("the most", Some(600), Ok(600)),
            ("more", Some(u32::MAX), Ok(600)),
        ] {
            assert_eq!(interval.grant(asked).map_err(brief), granted, "{name}");
        }
    }

    //= RFC 6665 4.2.1.1
    //= type=test
    #[test]
    fn an_hour_of_subscription_is_never_too_brief() {
        let strict = Interval {
            min_s: 7_200,
            max_s: 86_400,
            default_s: 7_200,
        };
        assert!(strict.grant_subscription(Some(3_599)).is_err());
        assert_eq!(strict.grant_subscription(Some(3_600)).ok(), Some(3_600));
    }
}
