//! What the operator decided and the dialects apply: domains and intervals.

use std::collections::BTreeMap;
use std::sync::Arc;

use shard::document::legacy::Linked;
use std::net::IpAddr;

use transport::sip::uri::{Scheme, Uri};

use super::Answer;
use super::answer::Row;
use super::enhanced::Settings;
use super::kept_lists::KeptLists;
use super::profile::Profiles;
use super::refusal;
use crate::config::DialogDetail;
use crate::config::PidfPublish;
use crate::config::Subnet;

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

    /// The same, with nothing longer than this.
    #[must_use]
    pub fn up_to(self, max_s: Option<u32>) -> Interval {
        let max_s = max_s.map_or(self.max_s, |max_s| max_s.min(self.max_s));
        Interval {
            min_s: self.min_s.min(max_s),
            max_s,
            default_s: self.default_s.min(max_s),
        }
    }

    /// What one gets who asks for nothing: the default, up to a quarter more or less by chance, so that
    /// the clients that came back after a fail-over do not all refresh at one time.
    #[must_use]
    pub fn spread(&self, chance: u64) -> u32 {
        let width = self.default_s / 4;
        let step = u32::try_from(chance % (2 * u64::from(width) + 1)).unwrap_or_default();
        (self.default_s - width + step).clamp(self.min_s, self.max_s)
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
    /// Who is believed when it says from which network a request came (contradiction C-63).
    pub trusted_edges: Vec<Subnet>,
    /// Enhanced presence.
    pub enhanced: Settings,
    /// What becomes of a PUBLISH with a PIDF document.
    pub pidf_publish: PidfPublish,
    /// Bytes above which the body of a NOTIFY is compressed, for watchers who read that.
    pub gzip_above: usize,
    /// Users with more than one identity.
    pub identities: Arc<Identities>,
    /// Who is spoken to in which way.
    pub profiles: Profiles,
    /// The spelling of BluStar's namespace that clients are shown.
    pub blustar_namespace: Arc<str>,
    /// How much of a call others are told.
    pub dialog_detail: DialogDetail,
    /// Who may watch everybody's registration, beside themselves: canonical addresses.
    pub registration_watchers: Vec<String>,
    /// Lists that the server keeps.
    pub lists: Arc<KeptLists>,
}

/// The identities of those who have many, by canonical address.
pub type Identities = BTreeMap<String, Arc<Linked>>;

impl Policy {
    /// Whether `host` is a domain of ours.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        self.domains
            .iter()
            .any(|domain| domain.eq_ignore_ascii_case(host))
    }

    /// Whether a user of this name may speak for an address: the part before the @ in any domain of ours,
    /// or the whole address.
    #[must_use]
    pub fn is_own(&self, address: &Uri<'_>, user: &str) -> bool {
        let name = address.user_unescaped();
        if address.scheme == Scheme::Tel {
            return name.eq_ignore_ascii_case(user);
        }
        let whole = |(of, domain): (&str, &str)| {
            of.eq_ignore_ascii_case(&name) && domain.eq_ignore_ascii_case(address.host)
        };
        let same = name.eq_ignore_ascii_case(user) || user.rsplit_once('@').is_some_and(whole);
        same && self.serves(address.host)
    }

    /// Whether a peer is an edge of ours.
    #[must_use]
    pub fn is_edge(&self, peer: IpAddr) -> bool {
        self.trusted_edges.iter().any(|subnet| subnet.holds(peer))
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
            trusted_edges: Vec::new(),
            enhanced: Settings::default(),
            pidf_publish: PidfPublish::Accept,
            gzip_above: 1_200,
            identities: Arc::default(),
            profiles: Profiles::default(),
            blustar_namespace: shard::document::blustar::NAMESPACE.into(),
            dialog_detail: DialogDetail::default(),
            registration_watchers: Vec::new(),
            lists: Arc::default(),
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

    //= MS-PRES 2.2.2.3.2
    //= type=test
    //# the granted interval differs from dialog to dialog, within the operator's bounds
    #[test]
    fn who_asks_for_nothing_gets_an_interval_of_its_own() {
        let interval = Interval {
            min_s: 60,
            max_s: 4_000,
            default_s: 3_600,
        };
        for (chance, granted) in [
            (0, 2_700),
            (900, 3_600),
            (1_300, 4_000),
            (1_800, 4_000),
            (1_801, 2_700),
        ] {
            assert_eq!(interval.spread(chance), granted, "{chance}");
        }
        let fixed = Interval {
            min_s: 0,
            max_s: 9,
            default_s: 3,
        };
        assert_eq!(fixed.spread(u64::MAX), 3);
    }

    #[test]
    fn a_name_speaks_for_its_own_address_only() {
        let policy = Policy {
            domains: vec!["example.com".to_owned(), "example.net".to_owned()],
            ..Policy::default()
        };
        for (address, user, own) in [
            ("sip:alice@example.com", "alice", true),
            ("sip:Alice@EXAMPLE.net", "aLICE", true),
            ("sips:alice@example.com:5061;x=y", "alice", true),
            ("sip:al%69ce@example.com", "alice", true),
            ("sip:alice@example.com", "alice@example.com", true),
            ("sip:alice@example.net", "alice@example.com", false),
            ("sip:alice@elsewhere.example", "alice", false),
            (
                "sip:alice@elsewhere.example",
                "alice@elsewhere.example",
                false,
            ),
            ("sip:bob@example.com", "alice", false),
            ("sip:example.com", "alice", false),
            ("tel:+15550100", "+15550100", true),
            ("tel:+15550100", "alice", false),
        ] {
            let address = Uri::parse(address).expect(address);
            assert_eq!(policy.is_own(&address, user), own, "{user} for {address:?}");
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
