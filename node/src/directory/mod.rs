//! The users of this deployment: who they are, what is known of them, and how they are found.
//!
//! A directory is read whole, from a file or from an LDAP server, into a [`Snapshot`] in memory.
//! Whoever asks is answered from the snapshot at once: a SIP worker never waits for a disk or a server,
//! and a server that is lost is not missed until it has something new to say. [`keeper`] reads anew.

mod file;
mod index;
pub mod keeper;
mod ldap;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use shard::category::contact_card::Card;
use shard::category::user_properties::{Line, LineType, Properties};
use shard::document::search::{Fault, Row, Search};
use shard::presence::enhanced::Profile;
use transport::sip::uri::{Scheme, Uri};

use crate::config;
use crate::config::directory::Source;
use index::Index;

pub use ldap::proves;

/// Users of one deployment. A million in memory, with their indices, are some 2 GB.
const USERS_MAX: usize = 1_000_000;

/// Letters of one value: those of a form's field. What is longer is cut.
const VALUE_MAX: usize = 256;

/// Milliseconds of each second that all searches together may take: a quarter of one core, so that
/// nobody who searches for everything again and again keeps others from their presence.
const SEARCH_MS: u64 = 250;

/// Who is a user of this deployment, and what is known of them.
pub trait Users: fmt::Debug + Send + Sync {
    /// Whether somebody of this canonical address, in a domain of ours, is.
    fn knows(&self, address: &str) -> bool;
    /// Who has this telephone number; separators do not count.
    fn by_number(&self, number: &str) -> ByNumber;
    /// The name that a user of this canonical address signs in by, if it is known.
    fn login(&self, address: &str) -> Option<String>;
    /// What is known of a user, whose From has this display name.
    fn profile(&self, address: &str, display_name: &str) -> Profile;
    /// Who is found.
    ///
    /// # Errors
    /// Why the search has no answer.
    fn search(&self, search: &Search<'_>, limit: usize) -> Result<Found, Fault>;
}

/// Who has a telephone number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByNumber {
    /// The user of this canonical address.
    User(String),
    /// Nobody, or more than one.
    Nobody,
    /// There is no directory, and a number is an address of its own.
    Unasked,
}

/// What is known of somebody whose credentials were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A user of the directory, by the name it signs in by.
    User(String),
    /// A controller of mobile clients, which speaks for all of them.
    Controller,
    /// The credentials are wrong.
    Wrong,
    /// The directory cannot be asked.
    Unknown,
}

impl Proof {
    /// Whether who was proven may speak for an address: where the directory says by which name its user signs
    /// in, that is the name.
    #[must_use]
    pub fn may_speak(&self, address: &str, users: &dyn Users) -> bool {
        match self {
            Proof::Controller => true,
            Proof::User(user) => users
                .login(address)
                .is_none_or(|login| login.eq_ignore_ascii_case(user)),
            Proof::Wrong | Proof::Unknown => false,
        }
    }
}

/// Every address of our domains is a user, and known by the name it gives.
#[derive(Clone, Copy, Debug)]
pub struct Everybody;

impl Users for Everybody {
    fn knows(&self, _address: &str) -> bool {
        true
    }

    fn by_number(&self, _number: &str) -> ByNumber {
        ByNumber::Unasked
    }

    fn login(&self, _address: &str) -> Option<String> {
        None
    }

    /// Contradiction C-64: the display name last seen in From, else the user part.
    fn profile(&self, address: &str, display_name: &str) -> Profile {
        let name = if display_name.is_empty() {
            user_part(address)
        } else {
            display_name
        };
        let mut profile = Profile::default();
        profile.card.display_name = name.into();
        profile
    }

    /// There is nothing to search, and there never will be: not a matter of trying again.
    fn search(&self, _search: &Search<'_>, _limit: usize) -> Result<Found, Fault> {
        Err(Fault::Unknown)
    }
}

fn user_part(address: &str) -> &str {
    address.split('@').next().unwrap_or(address)
}

/// A user as the directory has it. Texts that are not known are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// The canonical address, without its scheme.
    pub address: String,
    /// How the person is called; the user part of the address if the directory does not say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// First name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub given_name: String,
    /// Last name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub surname: String,
    /// Mail address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mail: String,
    /// Other addresses to be found by; they are no users of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Telephone numbers that the user is found by: `200`, `+1 555 0100`. Those at the desk and of its lines
    /// where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tel: Vec<String>,
    /// The name that the user signs in by.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub login: String,
    /// What the person is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Company.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub company: String,
    /// Department.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub department: String,
    /// Where the desk is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub office: String,
    /// Fax number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fax: String,
    /// Street.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub street: String,
    /// City.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub city: String,
    /// State or province.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Country, two letters of ISO 3166.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub country_code: String,
    /// Postal code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub postal_code: String,
    /// Home page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub home_page: String,
    /// Not a user at present.
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// A user whom no search finds.
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// Telephone numbers.
    #[serde(skip_serializing_if = "Phones::is_empty")]
    pub phones: Phones,
    /// Telephone lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<UserLine>,
    /// More that a search may name: attribute and value.
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    pub attributes: HashMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Telephone numbers of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phones {
    /// At the desk.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub work: String,
    /// In the pocket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mobile: String,
    /// At home.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub home: String,
    /// Elsewhere.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub other: String,
}

impl Phones {
    fn is_empty(&self) -> bool {
        *self == Phones::default()
    }

    /// The number to show where there is room for one.
    fn first(&self) -> &str {
        [&self.work, &self.mobile, &self.other, &self.home]
            .into_iter()
            .find(|number| !number.is_empty())
            .map_or("", String::as_str)
    }
}

/// A telephone line of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserLine {
    /// A tel URI.
    pub uri: String,
    /// How it is controlled.
    #[serde(rename = "type", default)]
    pub kind: UserLineType,
    /// The SIP URI of what controls it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
}

/// How a line is controlled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in MS-PRES 2.2.2.7.4")]
pub enum UserLineType {
    #[default]
    Uc,
    UcPrivate,
    Rcc,
    Dual,
}

impl User {
    /// Brings what a person wrote into the form that is kept.
    ///
    /// # Errors
    /// One line that says what is wrong with it, and what was expected.
    fn settle(&mut self, domains: &[String]) -> Result<(), String> {
        self.address = canonical(&self.address, domains)?;
        for text in self.texts_mut() {
            if text.chars().count() > VALUE_MAX {
                *text = text.chars().take(VALUE_MAX).collect();
            }
        }
        if self.display_name.is_empty() {
            user_part(&self.address).clone_into(&mut self.display_name);
        }
        let (first, last) = match self.display_name.split_once(", ") {
            Some((last, first)) => (first, last),
            None => (
                self.display_name.split(' ').next().unwrap_or_default(),
                self.display_name.rsplit(' ').next().unwrap_or_default(),
            ),
        };
        // A search is by givenName, as the example of MS-PRES 4.1; few files say more than the whole name.
        if self.given_name.is_empty() && self.surname.is_empty() {
            (self.given_name, self.surname) = (first.to_owned(), last.to_owned());
        }
        //= MS-PRES 2.2.2.7.4
        //# countryCode is of two letters
        let code = &self.country_code;
        if !code.is_empty() && (code.len() != 2 || !code.bytes().all(|b| b.is_ascii_alphabetic())) {
            return Err(format!(
                "country_code = {code:?}; expected two letters of ISO 3166, such as \"DE\""
            ));
        }
        self.country_code.make_ascii_uppercase();
        for line in &self.lines {
            line.check()?;
        }
        Ok(())
    }

    fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        [
            &mut self.display_name,
            &mut self.given_name,
            &mut self.surname,
            &mut self.mail,
            &mut self.title,
            &mut self.company,
            &mut self.department,
            &mut self.office,
            &mut self.fax,
            &mut self.street,
            &mut self.city,
            &mut self.state,
            &mut self.postal_code,
            &mut self.home_page,
            &mut self.phones.work,
            &mut self.phones.mobile,
            &mut self.phones.home,
            &mut self.phones.other,
        ]
        .into_iter()
        .chain(&mut self.aliases)
        .chain(self.attributes.values_mut())
    }

    /// What the server publishes of this user.
    //= MS-PRES 3.2.6.2
    //# contactCard and userProperties may be taken from the directory
    fn profile(&self) -> Profile {
        Profile {
            card: Card {
                display_name: self.display_name.as_str().into(),
                email: self.mail.as_str().into(),
            },
            phone: self.phones.first().into(),
            properties: Properties {
                lines: self.lines.iter().map(UserLine::line).collect(),
                fax: self.fax.as_str().into(),
                street: self.street.as_str().into(),
                city: self.city.as_str().into(),
                state: self.state.as_str().into(),
                country_code: self.country_code.as_str().into(),
                postal_code: self.postal_code.as_str().into(),
                home_page: self.home_page.as_str().into(),
            },
        }
    }

    /// The numbers that this user is found by, without separators.
    //= BLUSTAR 2.1
    //# an entry tel:200 is looked for as 200 in the column of telephone numbers
    fn numbers(&self) -> Vec<String> {
        let lines = || self.lines.iter().map(|line| line.uri.as_str());
        let mut numbers: Vec<String> = match &self.tel[..] {
            [] => std::iter::once(self.phones.work.as_str())
                .chain(lines())
                .map(number_of)
                .collect(),
            own => own.iter().map(|number| number_of(number)).collect(),
        };
        numbers.retain(|number| !number.is_empty());
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// As an answer to a search shows this user.
    fn row(&self) -> Row<'_> {
        Row {
            address: &self.address,
            display_name: &self.display_name,
            title: &self.title,
            office: &self.office,
            phone: self.phones.first(),
            company: &self.company,
            city: &self.city,
            state: &self.state,
            country: &self.country_code,
            email: &self.mail,
        }
    }
}

/// A telephone number without its scheme, its parameters and its separators.
fn number_of(text: &str) -> String {
    let text = text.trim();
    let number = text.strip_prefix("tel:").unwrap_or(text);
    let number = number.split(';').next().unwrap_or_default();
    let separator = |c: &char| !(c.is_whitespace() || "-.()/".contains(*c));
    number
        .chars()
        .filter(separator)
        .flat_map(char::to_lowercase)
        .collect()
}

impl UserLine {
    //= MS-PRES 2.2.2.7.4
    //# a line is a tel URI; its server is a SIP URI, which Rcc and UcPrivate must have and Uc has not
    fn check(&self) -> Result<(), String> {
        let uri = &self.uri;
        let tel = Uri::parse(uri).is_ok_and(|uri| uri.scheme == Scheme::Tel);
        if !tel {
            return Err(format!(
                "line uri = {uri:?}; expected a tel URI, such as \"tel:+11234567890;ext=67890\""
            ));
        }
        let server = &self.server;
        if server.is_empty() {
            return match self.kind {
                UserLineType::Rcc | UserLineType::UcPrivate => Err(format!(
                    "the line {uri:?} needs server = \"sip:…\", what controls it"
                )),
                UserLineType::Uc | UserLineType::Dual => Ok(()),
            };
        }
        if self.kind == UserLineType::Uc {
            return Err(format!(
                "the line {uri:?} of type uc has no server; take it away, or write type = \"rcc\" or \"dual\""
            ));
        }
        match Uri::parse(server).map(|uri| uri.scheme) {
            Ok(Scheme::Sip | Scheme::Sips) => Ok(()),
            _ => Err(format!(
                "line server = {server:?}; expected a SIP URI, such as \"sip:pbx@gateway.example.com\""
            )),
        }
    }

    fn line(&self) -> Line {
        Line {
            uri: self.uri.as_str().into(),
            line_type: match self.kind {
                UserLineType::Uc => LineType::Uc,
                UserLineType::UcPrivate => LineType::UcPrivate,
                UserLineType::Rcc => LineType::Rcc,
                UserLineType::Dual => LineType::Dual,
            },
            server: self.server.as_str().into(),
        }
    }
}

/// The canonical address of what a directory says: `sip:bob@contoso.com`, `bob@contoso.com`, or `bob`
/// of the first domain.
///
/// # Errors
/// One line that says what was expected.
fn canonical(text: &str, domains: &[String]) -> Result<String, String> {
    let text = text.trim();
    let expected = || {
        format!(
            "address = {text:?}; expected an address of this deployment, such as \"bob@{}\"",
            domains[0]
        )
    };
    let mut out = String::new();
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("sip:") || lower.starts_with("sips:") {
        let uri = Uri::parse(text).map_err(|_| expected())?;
        shard::slot::write_sip(&uri.user_unescaped(), uri.host, &mut out);
    } else {
        let (user, host) = text.rsplit_once('@').unwrap_or((text, &domains[0]));
        shard::slot::write_sip(user, host, &mut out);
    }
    let (user, host) = out.rsplit_once('@').ok_or_else(expected)?;
    let legal = |c: char| !c.is_control() && !c.is_whitespace();
    if user.is_empty() || !user.chars().all(legal) || !domains.iter().any(|domain| domain == host) {
        return Err(expected());
    }
    Ok(out)
}

/// The whole directory at one moment.
pub struct Snapshot {
    /// Enabled users, by name.
    users: Vec<User>,
    by_address: HashMap<Box<str>, u32>,
    /// Telephone numbers; `None` for one that several users have.
    by_number: HashMap<Box<str>, Option<u32>>,
    index: Index,
    disabled: usize,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} users)", self.users.len())
    }
}

impl Snapshot {
    /// Of users that were [`User::settle`]d, no two of one address.
    fn of(mut users: Vec<User>) -> Snapshot {
        let all = users.len();
        users.retain(|user| !user.disabled);
        users.sort_by_cached_key(|user| (user.display_name.to_lowercase(), user.address.clone()));
        let by_address = (0..)
            .zip(&users)
            .map(|(number, user)| (user.address.as_str().into(), number))
            .collect();
        let mut by_number: HashMap<Box<str>, Option<u32>> = HashMap::new();
        for (place, user) in (0..).zip(&users) {
            for number in user.numbers() {
                by_number
                    .entry(number.into())
                    .and_modify(|held| *held = None)
                    .or_insert(Some(place));
            }
        }
        Snapshot {
            by_number,
            index: Index::of(&users),
            by_address,
            disabled: all - users.len(),
            users,
        }
    }

    fn user(&self, address: &str) -> Option<&User> {
        let number = self.by_address.get(address)?;
        self.users.get(*number as usize)
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Everybody's address.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.users.iter().map(|user| user.address.as_str())
    }

    /// What the server publishes of a user.
    #[must_use]
    pub fn profile(&self, address: &str) -> Option<Profile> {
        self.user(address).map(User::profile)
    }
}

/// Who was found.
#[derive(Debug)]
pub struct Found {
    snapshot: Arc<Snapshot>,
    numbers: Vec<u32>,
    /// Whether there are more than these.
    pub more_available: bool,
}

impl Found {
    /// The rows of the answer, by name.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.numbers
            .iter()
            .map(|number| self.snapshot.users[*number as usize].row())
    }
}

/// What the directory has done so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Readings that succeeded.
    pub refreshes: AtomicU64,
    /// Readings that failed.
    pub failures: AtomicU64,
    /// When it was last read, in seconds since 1970.
    pub refreshed_at_s: AtomicU64,
    /// Searches answered.
    pub searches: AtomicU64,
    /// What they took.
    pub search_us: AtomicU64,
    /// Searches refused because too many were asked for.
    pub searches_refused: AtomicU64,
    /// Profiles published anew.
    pub published: AtomicU64,
}

/// The directory of this deployment, as it was last read.
pub struct Directory {
    current: RwLock<Arc<Snapshot>>,
    /// What it has done so far.
    pub counters: Counters,
    budget: Mutex<Budget>,
    started: Instant,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Directory").field(&self.current()).finish()
    }
}

impl Directory {
    fn new(first: Snapshot) -> Directory {
        Directory {
            current: RwLock::new(Arc::new(first)),
            counters: Counters::default(),
            budget: Mutex::new(Budget::default()),
            started: Instant::now(),
        }
    }

    /// As it was last read.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, next: Snapshot) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name, help, value and whether it only grows, for a scrape.
    #[must_use]
    pub fn samples(&self) -> [(&'static str, &'static str, u64, bool); 9] {
        let (of, counters) = (self.current(), &self.counters);
        let read = |value: &AtomicU64| value.load(Relaxed);
        [
            ("directory_users", "Users.", of.len() as u64, false),
            (
                "directory_disabled",
                "Disabled users.",
                of.disabled as u64,
                false,
            ),
            (
                "directory_refreshed_at_seconds",
                "When the directory was last read, since 1970.",
                read(&counters.refreshed_at_s),
                false,
            ),
            (
                "directory_refreshes",
                "Readings that succeeded.",
                read(&counters.refreshes),
                true,
            ),
            (
                "directory_refresh_failures",
                "Readings that failed; what was read before stays in force.",
                read(&counters.failures),
                true,
            ),
            (
                "directory_searches",
                "Searches answered.",
                read(&counters.searches),
                true,
            ),
            (
                "directory_search_microseconds",
                "What searches took.",
                read(&counters.search_us),
                true,
            ),
            (
                "directory_searches_refused",
                "Searches refused because there were too many.",
                read(&counters.searches_refused),
                true,
            ),
            (
                "directory_profiles_published",
                "Profiles published anew because the directory changed.",
                read(&counters.published),
                true,
            ),
        ]
    }
}

impl Directory {
    /// The users as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Users for Directory {
    /// A telephone number is of no domain, and asked of nobody.
    fn knows(&self, address: &str) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        address.starts_with("tel:") || current.user(address).is_some()
    }

    fn by_number(&self, number: &str) -> ByNumber {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let place = current.by_number.get(number_of(number).as_str());
        let user = place.and_then(|place| current.users.get((*place)? as usize));
        user.map_or(ByNumber::Nobody, |user| {
            ByNumber::User(user.address.clone())
        })
    }

    fn login(&self, address: &str) -> Option<String> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let login = &current.user(address)?.login;
        (!login.is_empty()).then(|| login.clone())
    }

    fn profile(&self, address: &str, display_name: &str) -> Profile {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        match current.user(address) {
            Some(user) => user.profile(),
            None => Everybody.profile(address, display_name),
        }
    }

    //= MS-PRES 3.1.5.2
    //# all filters must hold; moreAvailable when more are found than answered
    fn search(&self, search: &Search<'_>, limit: usize) -> Result<Found, Fault> {
        let begin = Instant::now();
        let second = begin.duration_since(self.started).as_secs();
        if !self.budget().admits(second) {
            self.counters.searches_refused.fetch_add(1, Relaxed);
            return Err(Fault::Busy);
        }
        let snapshot = self.current();
        let mut numbers = snapshot.index.search(search, limit.saturating_add(1));
        let more_available = numbers.len() > limit;
        numbers.truncate(limit);
        let spent_us = begin.elapsed().as_micros() as u64;
        self.budget().spend(second, spent_us);
        self.counters.searches.fetch_add(1, Relaxed);
        self.counters.search_us.fetch_add(spent_us, Relaxed);
        Ok(Found {
            snapshot,
            numbers,
            more_available,
        })
    }
}

/// What searches have taken of the present second.
#[derive(Debug, Default)]
struct Budget {
    second: u64,
    spent_us: u64,
}

impl Budget {
    fn admits(&mut self, second: u64) -> bool {
        if second != self.second {
            // What was spent too much is paid for in the seconds that follow.
            let passed = second.saturating_sub(self.second);
            let paid = passed.saturating_mul(SEARCH_MS * 1_000);
            *self = Budget {
                second,
                spent_us: self.spent_us.saturating_sub(paid),
            };
        }
        self.spent_us < SEARCH_MS * 1_000
    }

    fn spend(&mut self, second: u64, us: u64) {
        self.second = self.second.max(second);
        self.spent_us = self.spent_us.saturating_add(us);
    }
}

/// Why a directory cannot be read: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error("the directory file {} cannot be read: {why}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A file is not as it should be.
    #[error("the directory file {}: {why}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// A file beside the directory, the password's or the authorities', cannot be used.
    #[error("directory.{key} = {:?} cannot be used: {why}", path.display())]
    Beside {
        /// Which key names it.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The server cannot be reached.
    #[error(
        "the LDAP server {url} cannot be reached: {why}; does it run, and is directory.url right?"
    )]
    Unreachable {
        /// Which server.
        url: String,
        /// What the system said.
        why: String,
    },
    /// The server does not believe that we are who we say.
    #[error(
        "the LDAP server {url} refuses {dn:?}: {why}; look at directory.bind_dn and directory.bind_password_file"
    )]
    Refused {
        /// Which server.
        url: String,
        /// Who we said we are.
        dn: String,
        /// What it said.
        why: String,
    },
    /// The search for users failed.
    #[error("the LDAP server {url} does not list users below {base:?}: {why}")]
    Search {
        /// Which server.
        url: String,
        /// Where.
        base: String,
        /// What it said.
        why: String,
    },
    /// There is nobody, which no deployment means.
    #[error("{0} holds no user of the domains of this node")]
    Nobody(String),
    /// There are more than we can keep.
    #[error("{0} holds more than {USERS_MAX} users")]
    TooMany(String),
}

/// Where users are read from.
trait Backend: Send {
    /// Everybody, settled, no address twice.
    fn read(&mut self) -> Result<Vec<User>, ReadError>;
}

/// The copy of what a server said, for a start without it.
fn copy(data: &Path) -> PathBuf {
    data.join("directory.toml")
}

/// What [`open`] gives.
pub struct Opened {
    /// The directory, read.
    pub directory: Arc<Directory>,
    backend: Box<dyn Backend>,
    /// Whether the backend is read again on its own, not only when it is told that it changed.
    polled: bool,
    copy: Option<PathBuf>,
}

/// Reads the directory for the first time; `None` when every address is a user.
///
/// # Errors
/// Why it cannot be read; a server that cannot be read is forgiven when there is a copy in the data folder.
//= MS-PRES 3.1.3
//# connectivity to the directory is set up when the server starts
pub fn open(
    settings: &config::directory::Directory,
    domains: &[String],
    data: &Path,
) -> Result<Option<Opened>, ReadError> {
    let Some(source) = &settings.source else {
        return Ok(None);
    };
    let (mut backend, copy): (Box<dyn Backend>, _) = match source {
        Source::File(path) => (
            Box::new(file::File {
                path: path.clone(),
                domains: domains.to_vec(),
            }),
            None,
        ),
        Source::Ldap(ldap) => (
            Box::new(ldap::Server {
                settings: (**ldap).clone(),
                domains: domains.to_vec(),
            }),
            Some(copy(data)),
        ),
    };
    let mut fresh = true;
    let users = match (backend.read(), &copy) {
        (Ok(users), _) => users,
        (Err(error), Some(path)) if path.exists() => {
            fresh = false;
            tracing::error!(%error, copy = %path.display(), "starting with the copy of the directory");
            file::read(path, domains)?
        }
        (Err(error), _) => return Err(error),
    };
    if fresh && let Some(path) = &copy {
        file::keep(path, &users);
    }
    let directory = Directory::new(Snapshot::of(users));
    if fresh {
        directory.counters.refreshes.fetch_add(1, Relaxed);
        directory
            .counters
            .refreshed_at_s
            .store(keeper::now_s(), Relaxed);
    } else {
        directory.counters.failures.fetch_add(1, Relaxed);
    }
    tracing::info!(users = directory.current().len(), "the directory is read");
    Ok(Some(Opened {
        directory: Arc::new(directory),
        backend,
        polled: copy.is_some(),
        copy,
    }))
}

/// Whether a directory could be read, as far as that can be said without asking a server.
///
/// # Errors
/// Why not.
pub fn check(settings: &config::directory::Directory, domains: &[String]) -> Result<(), ReadError> {
    match &settings.source {
        None => Ok(()),
        Some(Source::File(path)) => file::read(path, domains).map(drop),
        Some(Source::Ldap(ldap)) => ldap::check(ldap),
    }
}

#[cfg(test)]
mod tests;
