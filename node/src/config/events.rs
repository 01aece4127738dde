//! `[dialog]` and `[reg]` of node.toml: how much of calls is told, and who may watch registrations.

use serde::Deserialize;

/// How much of a call those are told who are not its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DialogDetail {
    /// That there is one, how far it is, who called whom, on which line.
    #[default]
    Lamp,
    /// Everything that was published: with whom, and what it takes to pick it up.
    Full,
}

/// `[dialog]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DialogSection {
    /// How much of a call others are told.
    pub detail: DialogDetail,
}

/// `[reg]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegSection {
    /// Who may watch everybody's registration: addresses.
    pub watchers: Vec<String>,
}

impl RegSection {
    /// What is wrong with the section.
    pub(super) fn fault(&self) -> Option<String> {
        let bad = self.watchers.iter().find(|address| {
            let (user, host) = address.split_once('@').unwrap_or_default();
            user.is_empty() || host.is_empty() || address.contains([' ', ':', '<'])
        })?;
        Some(format!(
            "reg.watchers: {bad:?} is no address; expected one such as console@example.com"
        ))
    }
}
