//! RaftNetwork over the links between nodes: one mesh carries the messages of all groups.
//!
//! ```text
//! question := group:u32 what:u8, the request of openraft in postcard (4: a payload; 5: nothing)
//! answer   := the result of openraft in postcard; nothing from a node that does not have the group
//! ```
//!
//! A `write` is a payload for the group's leader, whichever node it came to. `take over` tells a replica
//! to stand for election now: its leader is going to step down for it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use openraft::error::{
    ClientWriteError, InstallSnapshotError, NetworkError, PayloadTooLarge, RPCError, RaftError,
    RemoteError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, EntryPayload, LogId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::election::{self, Pulse};
use super::group::Raft;
use super::types::{GroupId, NodeNumber, Payload, TypeConfig};
use crate::peer::call::{Answer, Answering, CallError, Calls};

const APPEND: u8 = 1;
const SNAPSHOT: u8 = 2;
const VOTE: u8 = 3;
const WRITE: u8 = 4;
const TAKE_OVER: u8 = 5;
const WOULD_VOTE: u8 = 6;

/// Bytes of entries in one message. A follower that is far behind gets them in steps, so that a
/// heartbeat never waits long behind them.
const APPEND_BYTES_MAX: usize = 4 << 20;

/// How soon a node that could not be reached is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long a chunk of a snapshot may take; installing the last one reads the whole machine.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(60);

/// How long another node may take to write.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);

/// The groups of this node, for questions of others.
#[derive(Clone, Default)]
pub struct Served(Arc<RwLock<HashMap<GroupId, (Raft, Arc<Pulse>)>>>);

impl Served {
    /// Answers for a group from now on.
    pub fn add(&self, group: GroupId, raft: Raft, pulse: Arc<Pulse>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(group, (raft, pulse));
    }

    /// Answers for a group no longer.
    pub fn remove(&self, group: GroupId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&group);
    }

    fn get(&self, group: GroupId) -> Option<(Raft, Arc<Pulse>)> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&group)
            .cloned()
    }
}

/// One answer, or nothing where it cannot be written.
fn written(result: &impl Serialize) -> Bytes {
    postcard::to_stdvec(result).map_or_else(
        |error| {
            tracing::error!(%error, "an answer to a peer cannot be written");
            Bytes::new()
        },
        Bytes::from,
    )
}

impl Answer for Served {
    fn answer(&self, _from: NodeNumber, mut question: Bytes) -> Answering {
        let served = self.clone();
        Box::pin(async move {
            if question.len() < 5 {
                return Bytes::new();
            }
            let group = GroupId(question.get_u32_le());
            let what = question.get_u8();
            let Some((raft, pulse)) = served.get(group) else {
                return Bytes::new();
            };
            let illegible = |error: postcard::Error| {
                tracing::error!(%group, %error, "a peer's message cannot be read");
                Bytes::new()
            };
            match what {
                APPEND => match postcard::from_bytes(&question) {
                    Ok(rpc) => {
                        let result = raft.append_entries(rpc).await;
                        // Whoever is refused is no leader any more.
                        if !matches!(result, Err(_) | Ok(AppendEntriesResponse::HigherVote(_))) {
                            pulse.heard();
                        }
                        written(&result)
                    }
                    Err(error) => illegible(error),
                },
                SNAPSHOT => match postcard::from_bytes(&question) {
                    Ok(rpc) => {
                        let result = raft.install_snapshot(rpc).await;
                        if result.is_ok() {
                            pulse.heard();
                        }
                        written(&result)
                    }
                    Err(error) => illegible(error),
                },
                VOTE => match postcard::from_bytes(&question) {
                    Ok(rpc) => {
                        let result = raft.vote(rpc).await;
                        if result.as_ref().is_ok_and(|answer| answer.vote_granted) {
                            pulse.heard();
                        }
                        written(&result)
                    }
                    Err(error) => illegible(error),
                },
                WRITE => written(&write(&raft, Payload(question)).await),
                WOULD_VOTE => match postcard::from_bytes(&question) {
                    Ok(theirs) => written(&election::answer(&raft, &pulse, theirs)),
                    Err(error) => illegible(error),
                },
                TAKE_OVER => written(&raft.trigger().elect().await),
                _ => Bytes::new(),
            }
        })
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Written {
    /// It is committed and applied by the leader.
    Done,
    /// Not here; the leader is this one, if anybody knows.
    Elsewhere(Option<NodeNumber>),
    /// Nobody knows.
    Unknown,
}

/// Writes to a group whose replica is on this node.
pub async fn write(raft: &Raft, payload: Payload) -> Written {
    match raft.client_write(payload).await {
        Ok(_) => {
            // The others hear now that it is committed, not with the next heartbeat.
            let _ = raft.trigger().heartbeat().await;
            Written::Done
        }
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
            Written::Elsewhere(to.leader_id)
        }
        Err(_) => Written::Unknown,
    }
}

/// Asks another node to write to a group.
pub async fn write_at(calls: &Calls, node: NodeNumber, group: GroupId, payload: &[u8]) -> Written {
    let answer = calls
        .ask(node, WRITE_PATIENCE, |frame| {
            frame.put_u32_le(group.0);
            frame.put_u8(WRITE);
            frame.put_slice(payload);
        })
        .await;
    match answer {
        Ok(answer) if answer.is_empty() => Written::Elsewhere(None),
        Ok(answer) => postcard::from_bytes(&answer).unwrap_or(Written::Unknown),
        Err(CallError::NoLink(_)) => Written::Elsewhere(None),
        Err(_) => Written::Unknown,
    }
}

/// Tells a replica on another node to stand for election.
///
/// # Errors
/// [`CallError`].
pub async fn take_over_at(
    calls: &Calls,
    node: NodeNumber,
    group: GroupId,
) -> Result<(), CallError> {
    let answer = calls
        .ask(node, WRITE_PATIENCE, |frame| {
            frame.put_u32_le(group.0);
            frame.put_u8(TAKE_OVER);
        })
        .await;
    answer.map(drop)
}

/// Asks a replica on another node whether it would vote for this one, whose log ends at `last`. No
/// answer is a no.
pub async fn would_vote_at(
    calls: &Calls,
    node: NodeNumber,
    group: GroupId,
    last: Option<LogId<NodeNumber>>,
) -> bool {
    let Ok(encoded) = postcard::to_stdvec(&last) else {
        return false;
    };
    let answer = calls
        .ask(node, election::PATIENCE, |frame| {
            frame.put_u32_le(group.0);
            frame.put_u8(WOULD_VOTE);
            frame.put_slice(&encoded);
        })
        .await;
    answer.is_ok_and(|answer| postcard::from_bytes(&answer).unwrap_or(false))
}

/// Makes a group's way to its peers.
#[derive(Clone)]
pub struct Peers {
    calls: Calls,
    group: GroupId,
}

impl Peers {
    /// The peers of `group`.
    #[must_use]
    pub fn of(calls: Calls, group: GroupId) -> Peers {
        Peers { calls, group }
    }
}

/// A group's way to one peer.
pub struct ToPeer {
    peers: Peers,
    target: NodeNumber,
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = ToPeer;

    async fn new_client(&mut self, target: NodeNumber, _node: &BasicNode) -> ToPeer {
        ToPeer {
            peers: self.clone(),
            target,
        }
    }
}

type Failed<E = openraft::error::Infallible> =
    RPCError<NodeNumber, BasicNode, RaftError<NodeNumber, E>>;

/// The other node does not have the group, or says what this one cannot read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("node {0} does not answer for the group")]
struct Unanswered(NodeNumber);

impl ToPeer {
    fn ask<Q, A, E>(
        &self,
        what: u8,
        question: &Q,
        patience: Duration,
    ) -> impl Future<Output = Result<A, Failed<E>>> + Send + use<Q, A, E>
    where
        Q: Serialize,
        A: DeserializeOwned + Send,
        E: std::error::Error + DeserializeOwned + Send,
    {
        let (calls, group, target) = (self.peers.calls.clone(), self.peers.group, self.target);
        let encoded = postcard::to_stdvec(question);
        async move {
            let encoded = encoded.map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
            let answer = calls
                .ask(target, patience, |frame| {
                    frame.reserve(5 + encoded.len());
                    frame.put_u32_le(group.0);
                    frame.put_u8(what);
                    frame.put_slice(&encoded);
                })
                .await
                .map_err(|error| match error {
                    CallError::NoLink(_) | CallError::Broken(_) => {
                        RPCError::Unreachable(Unreachable::new(&error))
                    }
                    CallError::Late(_) => RPCError::Network(NetworkError::new(&error)),
                })?;
            if answer.is_empty() {
                return Err(RPCError::Unreachable(Unreachable::new(&Unanswered(target))));
            }
            let answer: Result<A, RaftError<NodeNumber, E>> = postcard::from_bytes(&answer)
                .map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
            answer.map_err(|error| RPCError::RemoteError(RemoteError::new(target, error)))
        }
    }
}

/// Bytes of an entry's payload, roughly.
fn weight(entry: &openraft::Entry<TypeConfig>) -> usize {
    match &entry.payload {
        EntryPayload::Normal(payload) => payload.0.len() + 32,
        EntryPayload::Blank => 32,
        EntryPayload::Membership(_) => 1_024,
    }
}

impl RaftNetwork<TypeConfig> for ToPeer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeNumber>, Failed> {
        let mut bytes = 0;
        let fit = rpc
            .entries
            .iter()
            .take_while(|entry| {
                bytes += weight(entry);
                bytes <= APPEND_BYTES_MAX
            })
            .count();
        if fit > 0 && fit < rpc.entries.len() {
            let hint = PayloadTooLarge::new_entries_hint(fit as u64);
            return Err(RPCError::PayloadTooLarge(hint));
        }
        self.ask(APPEND, &rpc, option.hard_ttl()).await
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<NodeNumber>, Failed<InstallSnapshotError>> {
        self.ask(SNAPSHOT, &rpc, SNAPSHOT_PATIENCE).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<NodeNumber>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeNumber>, Failed> {
        self.ask(VOTE, &rpc, option.hard_ttl()).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(AGAIN))
    }
}
