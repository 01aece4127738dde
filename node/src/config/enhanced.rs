//! `[enhanced]` of node.toml: what the operator decides about enhanced presence (MS-PRES).
//!
//! Bounds are part of the types, so the reader of the file refuses a value with its line. What the values
//! mean stands at [`crate::dialect::enhanced::Settings`], which they become.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// A number with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<const MIN: u32, const MAX: u32>(pub u32);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(from)?;
        match u32::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Number(number)),
            _ => Err(D::Error::custom(format!(
                "{number} is out of bounds; expected {MIN} to {MAX}"
            ))),
        }
    }
}

/// The section, each key with its default: the limits of the product whose clients these are, where it is
/// known to have any.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enhanced {
    /// The user part of the pool's own GRUUs.
    #[serde(deserialize_with = "pool")]
    pub pool: String,
    /// Whether categories that nobody registered may be published.
    pub unregistered_categories: bool,
    /// Categories registered beside those of the specification.
    #[serde(deserialize_with = "categories")]
    pub registered_categories: Vec<String>,
    /// Bytes of one publication; a message has at most 64 KiB.
    pub publication_bytes: Number<1_024, 65_536>,
    /// Bytes of a category over all its instances. 4 MiB is what a stream may owe to a slow reader.
    pub category_bytes: Number<1_024, 4_194_304>,
    /// Members over all containers of a user.
    pub members: Number<0, 100_000>,
    /// Delegates of a user.
    pub delegates: Number<0, 1_000>,
    /// Contacts of a user.
    pub contacts: Number<0, 10_000>,
    /// Resources in a batch; the machine holds no more than 2,000.
    pub resources: Number<1, 2_000>,
    /// Domains of public providers.
    #[serde(deserialize_with = "domains")]
    pub public_domains: Vec<String>,
    /// Whether an endpoint must register before it subscribes.
    pub must_register: bool,
}

impl Default for Enhanced {
    fn default() -> Enhanced {
        Enhanced {
            pool: "lamplight".to_owned(),
            unregistered_categories: false,
            registered_categories: Vec::new(),
            publication_bytes: Number(32 * 1_024),
            category_bytes: Number(256 * 1_024),
            members: Number(2_000),
            delegates: Number(25),
            contacts: Number(1_000),
            resources: Number(1_000),
            public_domains: Vec::new(),
            must_register: true,
        }
    }
}

fn pool<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    // What needs no escape in the user part of a URI and in a header.
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
        return Err(D::Error::custom(format!(
            "{name:?} is no name of a pool; expected 1 to 64 letters, digits, '-', '.' or '_'"
        )));
    }
    Ok(name)
}

fn categories<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let max = shard::category::NAME_BYTES_MAX;
    for name in &names {
        let legal = |c: char| !c.is_control() && !c.is_whitespace();
        if name.is_empty() || name.len() > max || !name.chars().all(legal) {
            return Err(D::Error::custom(format!(
                "{name:?} is no name of a category; expected 1 to {max} bytes without blanks"
            )));
        }
    }
    Ok(names)
}

/// Lower case, as hosts are compared.
fn domains<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let mut names = Vec::<String>::deserialize(from)?;
    for name in &mut names {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(legal) {
            return Err(D::Error::custom(format!(
                "{name:?} is no domain; expected a name such as example.com"
            )));
        }
        name.make_ascii_lowercase();
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_bounds_and_a_mistake_its_line() {
        for (text, expected) in [
            ("\nunheard = 1", "line 2"),
            ("\nunheard = 1", "expected one of `pool`"),
            ("pool = 'a b'", "is no name of a pool; expected 1 to 64"),
            ("\n\npool = ''", "line 3"),
            ("unregistered_categories = 1", "expected a boolean"),
            (
                "registered_categories = ['a b']",
                "is no name of a category",
            ),
            ("registered_categories = ['']", "expected 1 to 128 bytes"),
            ("\npublication_bytes = 1023", "line 2"),
            (
                "publication_bytes = 65537",
                "65537 is out of bounds; expected 1024 to 65536",
            ),
            ("category_bytes = 4194305", "expected 1024 to 4194304"),
            ("members = -1", "-1 is out of bounds; expected 0 to 100000"),
            ("delegates = 1001", "expected 0 to 1000"),
            ("contacts = 10001", "expected 0 to 10000"),
            ("resources = 0", "expected 1 to 2000"),
            ("resources = 99999999999", "expected 1 to 2000"),
            ("public_domains = ['a b']", "is no domain"),
            ("must_register = 'yes'", "expected a boolean"),
        ] {
            let error = toml::from_str::<Enhanced>(text)
                .expect_err(text)
                .to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let read: Enhanced = toml::from_str(
            "pool = 'p1'\nregistered_categories = ['a']\npublication_bytes = 1024\npublic_domains = ['Msn.Example']",
        )
        .expect("sound");
        assert_eq!(
            read,
            Enhanced {
                pool: "p1".to_owned(),
                registered_categories: vec!["a".to_owned()],
                publication_bytes: Number(1_024),
                public_domains: vec!["msn.example".to_owned()],
                ..Enhanced::default()
            }
        );
    }
}
