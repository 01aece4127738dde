//! `[standard]` of node.toml: the standard formats beside enhanced presence.

use serde::Deserialize;

/// What becomes of a PUBLISH with a PIDF document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PidfPublish {
    /// It is a publication, as RFC 3903 has it.
    #[default]
    Accept,
    /// It is not answered, as MS-PRES has it.
    Ignore,
}

/// Bodies above this are compressed for who reads that: what fits a datagram needs it least.
const GZIP_ABOVE: u32 = 1_200;

/// The section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Standard {
    /// What becomes of a PUBLISH with a PIDF document.
    pub pidf_publish: PidfPublish,
    /// Bytes above which the body of a NOTIFY is compressed, for watchers who read that.
    pub gzip_above: u32,
    /// Users with more than one identity.
    pub linked: Vec<LinkedUser>,
}

impl Default for Standard {
    fn default() -> Standard {
        Standard {
            pidf_publish: PidfPublish::default(),
            gzip_above: GZIP_ABOVE,
            linked: Vec::new(),
        }
    }
}

/// One who is known elsewhere by other addresses, and whom servers of other deployments are told so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkedUser {
    /// The address here: `bob@example.com`.
    pub user: String,
    /// The identity to be invited by; empty when there is none.
    #[serde(default)]
    pub primary: String,
    /// The other identities.
    #[serde(default)]
    pub secondary: Vec<String>,
    /// What a client finds the photo by; empty when there is none.
    #[serde(default)]
    pub cid: String,
}

impl Standard {
    /// What is wrong with the section.
    pub(super) fn fault(&self) -> Option<String> {
        let mut seen: Vec<&str> = Vec::new();
        for linked in &self.linked {
            let user = linked.user.as_str();
            if !user.contains('@') || user.contains(char::is_whitespace) {
                return Some(format!(
                    "standard.linked: {user:?} is no address; expected one such as bob@example.com"
                ));
            }
            if seen.contains(&user) {
                return Some(format!("standard.linked: {user:?} is named twice"));
            }
            if linked.primary.is_empty() != linked.secondary.is_empty() {
                return Some(format!(
                    "standard.linked: {user:?} needs both primary and secondary, or neither"
                ));
            }
            seen.push(user);
        }
        None
    }
}
