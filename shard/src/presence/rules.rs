//! Presence rules (RFC 5025 over RFC 4745): who may watch, and what of the document it sees.
//!
//! A rules document is read at the edge into a [`Rules`]. Whoever asks what a watcher sees asks
//! [`crate::presence::presentity::Presentity::sight`], which puts rules before containers.

use std::sync::Arc;

use crate::presence::container::Watcher;
use crate::time::Timestamp;

/// Rules of one document: more than any client writes.
pub const RULES_MAX: usize = 256;

/// What is done with a subscription. The order of the variants is the rule, the numbers are the log's, for
/// ever.
//= RFC 5025 3.2.1
//# block before confirm before polite-block before allow; the greatest one wins
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Handling {
    /// It is refused.
    Block = 0,
    /// It waits for the presentity's word.
    Confirm = 10,
    /// It is taken, and shown somebody who is never there.
    PoliteBlock = 20,
    /// It is taken.
    #[default]
    Allow = 30,
}

impl Handling {
    /// All of them.
    pub const ALL: [Handling; 4] = [
        Handling::Block,
        Handling::Confirm,
        Handling::PoliteBlock,
        Handling::Allow,
    ];

    /// The handling with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Handling> {
        Handling::ALL
            .into_iter()
            .find(|known| *known as u8 == number)
    }

    /// As a rules document has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Handling::Block => "block",
            Handling::Confirm => "confirm",
            Handling::PoliteBlock => "polite-block",
            Handling::Allow => "allow",
        }
    }
}

/// Who a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// One address, canonical.
    One(Box<str>),
    /// Everybody, or everybody of a domain, but these.
    Many {
        /// Lower case; `None` for every domain.
        domain: Option<Box<str>>,
        /// Who is left out.
        except: Vec<Except>,
    },
}

/// Who is left out of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Except {
    /// One address, canonical.
    User(Box<str>),
    /// Everybody of a domain, lower case.
    Domain(Box<str>),
}

fn domain_of(address: &str) -> Option<&str> {
    address.rsplit_once('@').map(|(_, domain)| domain)
}

impl Identity {
    //= RFC 4745 7.1
    //# one is one identity; many are all, or all of a domain, but those excepted
    fn is(&self, address: &str) -> bool {
        match self {
            Identity::One(one) => **one == *address,
            Identity::Many { domain, except } => {
                let own = domain_of(address);
                let of_domain = domain.as_deref().is_none_or(|domain| own == Some(domain));
                let left_out = except.iter().any(|except| match except {
                    Except::User(user) => **user == *address,
                    Except::Domain(domain) => own == Some(domain),
                });
                of_domain && !left_out
            }
        }
    }
}

/// A time in which a rule holds: from the first to before the second.
pub type Span = (Timestamp, Timestamp);

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name in the document.
    pub id: Box<str>,
    /// Whom it is about; `None` for everybody.
    pub identity: Option<Vec<Identity>>,
    /// When it holds; `None` for always.
    pub validity: Option<Vec<Span>>,
    /// Whether it has a condition that is not understood here: it never holds then.
    pub foreign: bool,
    /// What is done; `None` where it says nothing.
    pub handling: Option<Handling>,
    /// What is shown.
    pub permissions: Permissions,
}

impl Rule {
    /// Whether it is about this watcher at this time; otherwise why not, in words.
    ///
    /// # Errors
    /// The condition that does not hold.
    //= RFC 4745 7
    //# a rule applies when all its conditions hold; one that is not understood does not hold
    pub fn holds(&self, watcher: &str, at: Timestamp) -> Result<(), &'static str> {
        if self.foreign {
            return Err("it has a condition that is not known here");
        }
        let identity = self.identity.as_ref();
        if identity.is_some_and(|some| !some.iter().any(|identity| identity.is(watcher))) {
            return Err("its identity is not the watcher's");
        }
        let holds = |(from, until): &Span| *from <= at && at < *until;
        if self
            .validity
            .as_ref()
            .is_some_and(|spans| !spans.iter().any(holds))
        {
            return Err("it is not valid at this time");
        }
        Ok(())
    }
}

/// Which of several tuples, persons or devices are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that one of these chooses.
    Some(Vec<Selector>),
    /// All.
    All,
}

impl Default for Which {
    fn default() -> Which {
        Which::Some(Vec::new())
    }
}

impl Which {
    /// Both.
    fn join(&mut self, other: &Which) {
        match (&mut *self, other) {
            (Which::All, _) => {}
            (_, Which::All) => *self = Which::All,
            (Which::Some(own), Which::Some(more)) => {
                own.extend(more.iter().cloned());
                own.sort_unstable();
                own.dedup();
            }
        }
    }

    /// Whether any may be shown at all.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Which::default()
    }
}

/// What chooses a tuple, a person or a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// A service by its contact.
    Uri(Box<str>),
    /// A service by the scheme of its contact, lower case.
    Scheme(Box<str>),
    /// By its id in the document.
    Occurrence(Box<str>),
    /// By its class.
    Class(Box<str>),
    /// A device by its deviceID.
    DeviceId(Box<str>),
}

/// How much is told of when somebody last touched something. The order of the variants is the rule.
//= RFC 5025 3.3.2.14
//# false before bare before thresholds before full
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum UserInput {
    /// Nothing.
    #[default]
    Nothing = 0,
    /// Active or idle.
    Bare = 10,
    /// And after which time that is said.
    Thresholds = 20,
    /// And since when.
    Full = 30,
}

impl UserInput {
    /// All of them, with their names in documents.
    pub const ALL: [(UserInput, &'static str); 4] = [
        (UserInput::Nothing, "false"),
        (UserInput::Bare, "bare"),
        (UserInput::Thresholds, "thresholds"),
        (UserInput::Full, "full"),
    ];

    /// The one with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<UserInput> {
        let mut all = UserInput::ALL.iter().map(|(input, _)| *input);
        all.find(|known| *known as u8 == number)
    }
}

/// The bit of activities.
pub const ACTIVITIES: u32 = 1;

/// Attributes that rules name, each a bit. The names are those of the elements behind `provide-`; the
/// numbers are the log's, for ever.
pub const ATTRIBUTES: [(&str, u32); 13] = [
    ("activities", ACTIVITIES),
    ("class", 2),
    ("deviceID", 4),
    ("mood", 8),
    ("place-is", 16),
    ("place-type", 32),
    ("privacy", 64),
    ("relationship", 128),
    ("sphere", 256),
    ("status-icon", 512),
    ("time-offset", 1_024),
    ("note", 2_048),
    ("all-attributes", ALL_ATTRIBUTES),
];

/// The bit that stands for every attribute, known or not.
pub const ALL_ATTRIBUTES: u32 = 4_096;

/// What of a document is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Tuples.
    pub services: Which,
    /// Persons.
    pub persons: Which,
    /// Devices.
    pub devices: Which,
    /// Bits of [`ATTRIBUTES`].
    pub attributes: u32,
    /// How much of user-input.
    pub user_input: UserInput,
    /// Other elements: namespace and name, in order.
    pub unknown: Vec<(Box<str>, Box<str>)>,
}

impl Permissions {
    /// Everything.
    #[must_use]
    pub fn everything() -> Permissions {
        Permissions {
            services: Which::All,
            persons: Which::All,
            devices: Which::All,
            attributes: ALL_ATTRIBUTES,
            ..Permissions::default()
        }
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        let all = [&self.services, &self.persons, &self.devices];
        all.into_iter().all(|which| *which == Which::All) && self.has(ALL_ATTRIBUTES)
    }

    /// Whether an attribute of [`ATTRIBUTES`] is shown.
    #[must_use]
    pub fn has(&self, attribute: u32) -> bool {
        self.attributes & (attribute | ALL_ATTRIBUTES) != 0
    }

    /// What both show.
    //= RFC 4745 10.2
    //# permissions of all matching rules are added: what one grants, none takes away
    pub fn join(&mut self, other: &Permissions) {
        self.services.join(&other.services);
        self.persons.join(&other.persons);
        self.devices.join(&other.devices);
        self.attributes |= other.attributes;
        self.user_input = self.user_input.max(other.user_input);
        self.unknown.extend(other.unknown.iter().cloned());
        self.unknown.sort_unstable();
        self.unknown.dedup();
    }
}

/// Whether a watcher is let in, and to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// What is done with its subscription.
    pub handling: Handling,
    /// What it sees of the document; `None` for all.
    pub permissions: Option<Arc<Permissions>>,
}

/// What a watcher sees of a presentity, decided by rules and containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The container that it sees, where containers have a say.
    pub container: Option<u16>,
    /// What the rules say.
    pub admitted: Admitted,
}

/// The rules of one document, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

/// What rules of all documents of a user say of a watcher.
//= RFC 5025 3.2.1
//# where no rule says what to do, the subscription is blocked
#[must_use]
pub fn decide<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    watcher: Watcher<'_>,
    at: Timestamp,
) -> Admitted {
    let mut handling = Handling::Block;
    let mut permissions = Permissions::default();
    for rule in rules.filter(|rule| rule.holds(watcher.address, at).is_ok()) {
        handling = handling.max(rule.handling.unwrap_or(Handling::Block));
        permissions.join(&rule.permissions);
    }
    let limited = handling == Handling::Allow && !permissions.is_everything();
    Admitted {
        handling,
        permissions: limited.then(|| Arc::new(permissions)),
    }
}

/// When a rule next begins or ceases to hold, after `at`; the end of time for never.
#[must_use]
pub fn next_change<'r>(rules: impl Iterator<Item = &'r Rule>, at: Timestamp) -> Timestamp {
    let spans = rules.filter_map(|rule| rule.validity.as_ref()).flatten();
    let edges = spans.flat_map(|(from, until)| [*from, *until]);
    let next = edges.filter(|edge| *edge > at).min();
    next.unwrap_or(Timestamp(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::container::Network;

    fn watcher(address: &str) -> Watcher<'_> {
        Watcher {
            address,
            network: Network::SameEnterprise,
        }
    }

    fn rule(identity: Option<Vec<Identity>>, handling: Handling) -> Rule {
        Rule {
            identity,
            handling: Some(handling),
            permissions: Permissions::everything(),
            ..Rule::default()
        }
    }

    //= RFC 4745 7.1
    //= type=test
    #[test]
    fn an_identity_is_one_or_many_but_some() {
        let many = |domain: Option<&str>, except: Vec<Except>| Identity::Many {
            domain: domain.map(Into::into),
            except,
        };
        for (name, identity, bob, carol) in [
            ("one", Identity::One("bob@example.com".into()), true, false),
            ("all", many(None, vec![]), true, true),
            ("a domain", many(Some("example.com"), vec![]), true, false),
            (
                "all but one",
                many(None, vec![Except::User("bob@example.com".into())]),
                false,
                true,
            ),
            (
                "all but a domain",
                many(None, vec![Except::Domain("example.net".into())]),
                true,
                false,
            ),
        ] {
            assert_eq!(identity.is("bob@example.com"), bob, "{name}");
            assert_eq!(identity.is("carol@example.net"), carol, "{name}");
        }
    }

    //= RFC 5025 3.2.1
    //= type=test
    #[test]
    fn the_greatest_handling_wins_and_none_is_block() {
        let bob = || Some(vec![Identity::One("bob@example.com".into())]);
        for (name, rules, expected) in [
            ("nothing", vec![], Handling::Block),
            (
                "somebody else",
                vec![rule(Some(vec![]), Handling::Allow)],
                Handling::Block,
            ),
            (
                "both",
                vec![rule(None, Handling::Confirm), rule(bob(), Handling::Allow)],
                Handling::Allow,
            ),
            (
                "politely",
                vec![
                    rule(bob(), Handling::PoliteBlock),
                    rule(None, Handling::Confirm),
                ],
                Handling::PoliteBlock,
            ),
        ] {
            let decided = decide(rules.iter(), watcher("bob@example.com"), Timestamp(0));
            assert_eq!(decided.handling, expected, "{name}");
        }
    }

    //= RFC 4745 10.2
    //= type=test
    #[test]
    fn permissions_add_up() {
        let shows = |attributes: u32, services: Which| Permissions {
            attributes,
            services,
            ..Permissions::default()
        };
        let class = Which::Some(vec![Selector::Class("work".into())]);
        let mut joined = shows(1, class.clone());
        joined.join(&shows(8, Which::default()));
        assert!(joined.has(1) && joined.has(8) && !joined.has(2));
        assert_eq!(joined.services, class);
        joined.join(&shows(0, Which::All));
        assert_eq!(joined.services, Which::All);
        assert!(!joined.is_everything());
        joined.join(&Permissions::everything());
        assert!(joined.is_everything());
    }

    //= RFC 4745 7.3
    //= type=test
    #[test]
    fn a_rule_holds_in_its_time() {
        let span = vec![
            (Timestamp(10), Timestamp(20)),
            (Timestamp(30), Timestamp(40)),
        ];
        let timed = Rule {
            validity: Some(span),
            ..Rule::default()
        };
        for (at, holds, next) in [
            (9, false, 10),
            (10, true, 20),
            (19, true, 20),
            (20, false, 30),
            (40, false, u64::MAX),
        ] {
            let at = Timestamp(at);
            assert_eq!(timed.holds("bob@example.com", at).is_ok(), holds, "{at:?}");
            assert_eq!(next_change([&timed].into_iter(), at), Timestamp(next));
        }
    }
}
