//! Who is found by what: for each attribute the values in order, and who has them.
//!
//! A filter comes to a range of values, since it says how a value begins; a range comes to a set of users,
//! one bit each; filters are combined by AND. So a search costs a nanosecond or two for each user that a
//! filter names, however many values they have among them.

use std::collections::{BTreeMap, HashMap};

use shard::document::search::{Filter, Search};

use super::User;

/// Values of one attribute, in order, and one behind the other the users of each: those of a range of
/// values stand together.
#[derive(Default)]
struct Values {
    /// Each with where its users begin.
    values: Vec<(Box<str>, u32)>,
    users: Vec<u32>,
}

impl Values {
    fn of(values: BTreeMap<Box<str>, Vec<u32>>) -> Values {
        let mut flat = Values::default();
        for (value, having) in values {
            let begin = u32::try_from(flat.users.len()).unwrap_or(u32::MAX);
            flat.values.push((value, begin));
            flat.users.extend(having);
        }
        flat
    }

    /// Who has a value that begins so.
    fn beginning(&self, begin: &str) -> &[u32] {
        let place = |at: usize| {
            let begin = self.values.get(at).map(|(_, begin)| *begin as usize);
            begin.unwrap_or(self.users.len())
        };
        let first = self.values.partition_point(|(value, _)| **value < *begin);
        let range = &self.values[first..];
        let last = first + range.partition_point(|(value, _)| value.starts_with(begin));
        &self.users[place(first)..place(last)]
    }
}

/// What can be searched by, lower case: the attribute and its other names.
const NAMES: [(&str, &[&str]); 22] = [
    ("displayname", &["cn", "name"]),
    ("givenname", &["firstname"]),
    ("sn", &["surname", "lastname"]),
    ("mail", &["email"]),
    ("proxyaddresses", &["aliases"]),
    ("msrtcsip-primaryuseraddress", &["uri", "sip", "address"]),
    ("samaccountname", &["uid", "mailnickname"]),
    ("title", &[]),
    ("company", &["o"]),
    ("department", &["ou"]),
    ("physicaldeliveryofficename", &["office"]),
    ("telephonenumber", &["phone"]),
    ("mobile", &[]),
    ("homephone", &[]),
    ("othertelephone", &[]),
    ("facsimiletelephonenumber", &["fax"]),
    ("streetaddress", &["street"]),
    ("l", &["city"]),
    ("st", &["state"]),
    ("c", &["country", "countrycode", "co"]),
    ("postalcode", &[]),
    ("anr", &[]),
];

/// Everything that is searched.
#[derive(Default)]
pub(super) struct Index {
    users: usize,
    /// Everybody who may be found.
    listed: Set,
    attributes: HashMap<Box<str>, Values>,
}

impl Index {
    /// Of these users, by their place in the list.
    pub(super) fn of(users: &[User]) -> Index {
        let mut listed = Set::empty(users.len());
        let mut attributes: HashMap<Box<str>, BTreeMap<Box<str>, Vec<u32>>> = HashMap::new();
        for (number, user) in (0_u32..).zip(users) {
            if user.hidden {
                continue;
            }
            listed.insert(number);
            values_of(user, |attribute, value| {
                let value = fold(value);
                if value.is_empty() {
                    return;
                }
                if !attributes.contains_key(attribute) {
                    attributes.insert(attribute.into(), BTreeMap::new());
                }
                let values = attributes.get_mut(attribute).expect("just made");
                let having = values.entry(value.into()).or_default();
                if having.last() != Some(&number) {
                    having.push(number);
                }
            });
        }
        let attributes = attributes
            .into_iter()
            .map(|(name, values)| (name, Values::of(values)))
            .collect();
        Index {
            users: users.len(),
            listed,
            attributes,
        }
    }

    /// The first so many users for whom every filter holds.
    //= MS-PRES 3.1.5.2
    //# all filters are combined by a logical AND
    pub(super) fn search(&self, search: &Search<'_>, limit: usize) -> Vec<u32> {
        let mut found = self.listed.clone();
        for filter in &search.filters {
            found.keep(&self.matches(filter));
        }
        found.iter().take(limit).collect()
    }

    /// An attribute that nobody has matches nobody, as a directory has it.
    fn matches(&self, filter: &Filter<'_>) -> Set {
        let mut found = Set::empty(self.users);
        let named = fold(&filter.attribute);
        let attribute = NAMES
            .iter()
            .find(|(_, others)| others.contains(&named.as_str()))
            .map_or(named.as_str(), |(name, _)| name);
        let Some(values) = self.attributes.get(attribute) else {
            return found;
        };
        // Some write the asterisk of an LDAP filter behind it.
        let begin = fold(filter.value.trim_end_matches('*'));
        let begin = begin.strip_prefix("sip:").unwrap_or(&begin);
        for number in values.beginning(begin) {
            found.insert(*number);
        }
        found
    }
}

/// Values compare without regard to case, and to blanks around them.
fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Tells every value of a user with the attribute it is found by.
fn values_of(user: &User, mut tell: impl FnMut(&str, &str)) {
    let account = super::user_part(&user.address);
    for (attribute, value) in [
        ("displayname", user.display_name.as_str()),
        ("givenname", &user.given_name),
        ("sn", &user.surname),
        ("mail", &user.mail),
        ("msrtcsip-primaryuseraddress", &user.address),
        ("samaccountname", account),
        ("title", &user.title),
        ("company", &user.company),
        ("department", &user.department),
        ("physicaldeliveryofficename", &user.office),
        ("telephonenumber", &user.phones.work),
        ("mobile", &user.phones.mobile),
        ("homephone", &user.phones.home),
        ("othertelephone", &user.phones.other),
        ("facsimiletelephonenumber", &user.fax),
        ("streetaddress", &user.street),
        ("l", &user.city),
        ("st", &user.state),
        ("c", &user.country_code),
        ("postalcode", &user.postal_code),
    ] {
        tell(attribute, value);
    }
    for alias in &user.aliases {
        let bare = alias
            .split_once(':')
            .map_or(alias.as_str(), |(_, bare)| bare);
        tell("proxyaddresses", bare);
    }
    // One with several values has each in a line: the groups of a user.
    for (attribute, values) in &user.attributes {
        let attribute = attribute.to_lowercase();
        values.lines().for_each(|value| tell(&attribute, value));
    }
    // Ambiguous name resolution (MS-PRES 1.3.2): whatever a person is called by.
    for name in [
        user.display_name.as_str(),
        &user.given_name,
        &user.surname,
        account,
        &user.mail,
        &user.office,
    ] {
        tell("anr", name);
    }
    for word in user.display_name.split_whitespace().skip(1) {
        tell("anr", word);
    }
}

/// A set of users, a bit each.
#[derive(Clone, Default)]
struct Set(Vec<u64>);

impl Set {
    fn empty(users: usize) -> Set {
        Set(vec![0; users.div_ceil(64)])
    }

    fn insert(&mut self, number: u32) {
        self.0[number as usize / 64] |= 1 << (number % 64);
    }

    fn keep(&mut self, other: &Set) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own &= other;
        }
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.0).flat_map(|(word, bits)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                if bits == 0 {
                    return None;
                }
                let lowest = bits.trailing_zeros();
                bits &= bits - 1;
                Some(word * 64 + lowest)
            })
        })
    }
}
