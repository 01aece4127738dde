//! `[[profile]]` and `[blustar]` of node.toml: which peers are spoken to in which way.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Listener, Subnet};

/// A way of speaking presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// As the RFCs have it.
    #[default]
    Rfc,
    /// Microsoft's PIDF.
    Ms,
    /// Gateways, which publish on behalf of users.
    Audiocodes,
    /// Mitel BluStar.
    Blustar,
    /// ComSIPL: documents about `pres:` URIs.
    Comsipl,
}

impl Dialect {
    /// Its name in node.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Rfc => "rfc",
            Dialect::Ms => "ms",
            Dialect::Audiocodes => "audiocodes",
            Dialect::Blustar => "blustar",
            Dialect::Comsipl => "comsipl",
        }
    }
}

/// One section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileSection {
    name: String,
    dialect: Dialect,
    #[serde(default)]
    listeners: Vec<String>,
    #[serde(default)]
    peers: Vec<String>,
    #[serde(default)]
    user_agents: Vec<String>,
    publishes_for_others: Option<bool>,
    stable_tags: Option<bool>,
    publication_max: Option<u32>,
    subscription_max: Option<u32>,
}

/// Peers that are spoken to alike: those for whom each list that is given holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileSettings {
    /// What the operator calls it.
    pub name: String,
    /// How they are spoken to.
    pub dialect: Dialect,
    /// Came in by one of these; any where there is none.
    pub listeners: Vec<Listener>,
    /// Came from one of these; any where there is none.
    pub peers: Vec<Subnet>,
    /// Names one of these in its User-Agent; any where there is none.
    pub user_agents: Vec<String>,
    /// May publish for every user, and is not asked who it is.
    pub publishes_for_others: bool,
    /// Entity-tags stay as they are, or change with each PUBLISH; as the dialect has it where nothing is said.
    pub stable_tags: Option<bool>,
    /// Seconds of the longest publication, where it is shorter than everybody's.
    pub publication_max_s: Option<u32>,
    /// Seconds of the longest subscription, where it is shorter than everybody's.
    pub subscription_max_s: Option<u32>,
}

/// The sections, checked.
///
/// # Errors
/// One line that says which is wrong, and what was expected.
pub(super) fn check(
    sections: Vec<ProfileSection>,
    listen: &[Listener],
) -> Result<Vec<ProfileSettings>, String> {
    let mut profiles: Vec<ProfileSettings> = Vec::new();
    for section in sections {
        let name = section.name;
        let wrong = |why: String| Err(format!("profile {name:?}: {why}"));
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
            return wrong("its name; expected up to 64 letters, digits, dots, dashes".to_owned());
        }
        if profiles.iter().any(|known| known.name == name) {
            return wrong("it stands twice".to_owned());
        }
        let listeners: Result<Vec<Listener>, String> =
            section.listeners.iter().map(|text| text.parse()).collect();
        let listeners = match listeners {
            Ok(listeners) => listeners,
            Err(why) => return wrong(why),
        };
        if let Some(missing) = listeners.iter().find(|one| !listen.contains(one)) {
            return wrong(format!("{missing} is no listener of this node"));
        }
        let peers: Result<Vec<Subnet>, String> =
            section.peers.iter().map(|text| text.parse()).collect();
        let peers = match peers {
            Ok(peers) => peers,
            Err(why) => return wrong(why),
        };
        let user_agents = section.user_agents;
        if user_agents.iter().any(String::is_empty) {
            return wrong("an empty text in user_agents is part of every one".to_owned());
        }
        if listeners.is_empty() && peers.is_empty() && user_agents.is_empty() {
            return wrong("whom it is for; give listeners, peers or user_agents".to_owned());
        }
        let publishes_for_others = section.publishes_for_others.unwrap_or(false);
        // Everybody can write a User-Agent.
        if publishes_for_others && peers.is_empty() {
            return wrong(
                "publishes_for_others needs peers, the addresses of those who may".to_owned(),
            );
        }
        if [section.publication_max, section.subscription_max].contains(&Some(0)) {
            return wrong("a maximum of 0 seconds; expected a second at least".to_owned());
        }
        profiles.push(ProfileSettings {
            name,
            dialect: section.dialect,
            listeners,
            peers,
            user_agents,
            publishes_for_others,
            stable_tags: section.stable_tags,
            publication_max_s: section.publication_max,
            subscription_max_s: section.subscription_max,
        });
    }
    Ok(profiles)
}

/// Who of BluStar's clients has to sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlustarAuth {
    /// Nobody in BluStar's way; what `[auth]` says holds.
    #[default]
    Off,
    /// Those that know how, by their User-Agent; others are served as they are.
    Optional,
    /// All of them.
    Required,
}

/// `[blustar]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BlustarSection {
    namespace: String,
    authentication: BlustarAuth,
    authenticating_since: String,
    bind_as: String,
    mobile_controllers: Option<PathBuf>,
}

/// What the operator decided about BluStar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blustar {
    /// The spelling of the aa: namespace that clients are shown.
    pub namespace: String,
    /// Who has to sign in.
    pub authentication: BlustarAuth,
    /// The first version of the client that knows how to sign in, its numbers.
    pub authenticating_since: Vec<u32>,
    /// The name to bind as, with `{domain}` and `{user}`.
    pub bind_as: String,
    /// The accounts of mobile controllers, a users file.
    pub mobile_controllers: Option<PathBuf>,
}

impl Default for BlustarSection {
    fn default() -> BlustarSection {
        BlustarSection {
            namespace: shard::document::blustar::NAMESPACE.to_owned(),
            authentication: BlustarAuth::Off,
            authenticating_since: "3.0.1".to_owned(),
            bind_as: "{domain}\\{user}".to_owned(),
            mobile_controllers: None,
        }
    }
}

impl BlustarSection {
    /// The section, checked; `ldap` whether there is a directory to ask.
    pub(super) fn check(self, ldap: bool) -> Result<Blustar, String> {
        let known = shard::document::blustar::NAMESPACES;
        if !known.contains(&self.namespace.as_str()) {
            return Err(format!(
                "blustar.namespace = {:?}; expected one of {}",
                self.namespace,
                known.join(", ")
            ));
        }
        let since = version(&self.authenticating_since).ok_or_else(|| {
            format!(
                "blustar.authenticating_since = {:?}; expected a version such as 3.0.1",
                self.authenticating_since
            )
        })?;
        if !self.bind_as.contains("{user}") {
            return Err(format!(
                "blustar.bind_as = {:?}; expected a name with {{user}} in it",
                self.bind_as
            ));
        }
        let asks = self.authentication != BlustarAuth::Off;
        if asks && !ldap {
            return Err(
                "blustar.authentication asks the directory, and [directory] names no LDAP server"
                    .to_owned(),
            );
        }
        Ok(Blustar {
            namespace: self.namespace,
            authentication: self.authentication,
            authenticating_since: since,
            bind_as: self.bind_as,
            mobile_controllers: self.mobile_controllers,
        })
    }
}

/// The numbers of a version: `3.0.1.0`.
#[must_use]
pub fn version(text: &str) -> Option<Vec<u32>> {
    let numbers = text.trim().split('.').map(|number| number.parse().ok());
    numbers.collect::<Option<Vec<u32>>>()
}
