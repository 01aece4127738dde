//! Which peers were spoken to by which profile: said once in the log, and kept for an operator to see.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::dialect::profile::Profile;

/// Peers remembered: a screen of them. Others are in the log.
const PEERS_MAX: usize = 256;

/// Letters of a User-Agent that are kept.
const AGENT_MAX: usize = 80;

/// A peer, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// The profile it is spoken to by.
    pub profile: String,
    /// Its address.
    pub address: IpAddr,
    /// What it calls itself.
    pub user_agent: String,
}

/// Those that have spoken so far.
#[derive(Debug, Default)]
pub struct Peers(Mutex<BTreeSet<Peer>>);

impl Peers {
    /// Somebody speaks whom its worker has not heard before.
    pub fn hear(&self, profile: &Profile, address: IpAddr, user_agent: &str) {
        let peer = Peer {
            profile: profile.name.clone(),
            address,
            user_agent: user_agent.chars().take(AGENT_MAX).collect(),
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&peer) {
            return;
        }
        tracing::info!(
            %address,
            user_agent = peer.user_agent,
            profile = profile.name,
            dialect = profile.dialect.as_str(),
            habits = profile.habits().join("; "),
            "a peer is spoken to by its profile"
        );
        if known.len() < PEERS_MAX {
            known.insert(peer);
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Peer> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().cloned().collect()
    }
}
