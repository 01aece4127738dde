//! RaftNetwork over the links between nodes: one mesh carries the messages of all groups.
//!
//! ```text
//! question := group:u32 what:u8, the request of openraft in postcard (4: a payload; 5: nothing)
//! answer   := the result of openraft in postcard; nothing from a node that does not have the group
//! ```
//!
//! A `write` is a payload for the group's leader, whichever node it came to. `take over` tells a replica
//! to stand for election now: its leader is going to step down for it. `release` is of a node that lost what it
//! had of the group and must not vote: it asks whether the group does without it. The answer is in `Release`.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

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
use super::lease::{Lease, boot_ms};
use super::progress::Progress;
use super::types::{GroupId, NodeNumber, Payload, TypeConfig};
use crate::peer::call::{Answer, Answering, CallError, Calls};

const APPEND: u8 = 1;
const SNAPSHOT: u8 = 2;
const VOTE: u8 = 3;
const WRITE: u8 = 4;
const TAKE_OVER: u8 = 5;
const RELEASE: u8 = 6;
const WOULD_VOTE: u8 = 7;

/// Bytes of entries in one message. A follower that is far behind gets them in steps, so that a
/// heartbeat never waits long behind them.
const APPEND_BYTES_MAX: usize = 4 << 20;

/// How soon a node that could not be reached is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long a chunk of a snapshot may take; installing the last one reads the whole machine.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(60);

/// How long another node may take to write.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a node counts as one that wants to be released, after it last asked. It asks every second; once it
/// begins anew it asks no more, and is taken in again.
const ASKED: Duration = Duration::from_secs(4);

/// What answers for one group.
#[derive(Clone)]
pub struct Answers {
    /// openraft.
    pub raft: Raft,
    /// The lease that a vote for somebody else ends.
    pub lease: Lease,
    /// What is heard of the leader.
    pub progress: Progress,
    /// When a leader was heard last, for those who would stand for election.
    pub pulse: Arc<Pulse>,
}

/// The groups of this node, for questions of others.
#[derive(Clone, Default)]
pub struct Served {
    groups: Arc<RwLock<HashMap<GroupId, Answers>>>,
    /// Who asked to be released, and when.
    asked: Arc<Mutex<HashMap<(GroupId, NodeNumber), Instant>>>,
}

/// What a group's replica answers to a node that lost its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Release {
    /// The group does without the node, and a quorum has just said so: it may begin anew, with nothing.
    Out,
    /// Not yet; it is being seen to.
    NotYet,
    /// Not for me to say; the leader is this one, if anybody knows.
    Elsewhere(Option<NodeNumber>),
}

impl Served {
    /// Answers for a group from now on.
    pub fn add(&self, group: GroupId, answers: Answers) {
        self.groups
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(group, answers);
    }

    /// Answers for a group no longer.
    pub fn remove(&self, group: GroupId) {
        self.groups
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&group);
    }

    fn get(&self, group: GroupId) -> Option<Answers> {
        self.groups
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&group)
            .cloned()
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<(GroupId, NodeNumber), Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who wants to be released by a group: its leader takes them out first, and in again later.
    #[must_use]
    pub fn leaving(&self, group: GroupId) -> Vec<NodeNumber> {
        let mut asked = self.asked();
        asked.retain(|_, at| at.elapsed() < ASKED);
        let of_group = asked.keys().filter(|(of, _)| *of == group);
        of_group.map(|(_, node)| *node).collect()
    }

    /// Answers a node that lost its replica. `Out` must be true at a moment after the question, so that a
    /// leader that was replaced meanwhile cannot say it: hence the round to a quorum in between.
    async fn release(&self, group: GroupId, raft: &Raft, from: NodeNumber) -> Release {
        let metrics = raft.metrics();
        {
            let metrics = metrics.borrow();
            if metrics.state != openraft::ServerState::Leader {
                return Release::Elsewhere(metrics.current_leader);
            }
        }
        self.asked().insert((group, from), Instant::now());
        if raft.ensure_linearizable().await.is_err() {
            return Release::NotYet;
        }
        let metrics = metrics.borrow();
        let members = &metrics.membership_config;
        let knows = members.membership().get_node(&from).is_some()
            || members.voter_ids().any(|voter| voter == from);
        let settled = members.membership().get_joint_config().len() == 1
            && members.log_id().map(|log_id| log_id.index)
                <= metrics.last_applied.map(|log_id| log_id.index);
        if knows || !settled {
            Release::NotYet
        } else {
            Release::Out
        }
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
    fn answer(&self, from: NodeNumber, mut question: Bytes) -> Answering {
        let served = self.clone();
        Box::pin(async move {
            if question.len() < 5 {
                return Bytes::new();
            }
            let group = GroupId(question.get_u32_le());
            let what = question.get_u8();
            let Some(Answers {
                raft,
                lease,
                progress,
                pulse,
            }) = served.get(group)
            else {
                return Bytes::new();
            };
            let illegible = |error: postcard::Error| {
                tracing::error!(%group, %error, "a peer's message cannot be read");
                Bytes::new()
            };
            match what {
                APPEND => match postcard::from_bytes::<AppendEntriesRequest<TypeConfig>>(&question)
                {
                    Ok(rpc) => {
                        let commit = rpc.leader_commit.map(|log_id| log_id.index);
                        let taken = raft.append_entries(rpc).await;
                        if taken.is_ok() {
                            let applied = raft.metrics().borrow().last_applied;
                            progress.heard(commit, applied.map(|log_id| log_id.index));
                        }
                        // Whoever is refused is no leader any more.
                        if !matches!(taken, Err(_) | Ok(AppendEntriesResponse::HigherVote(_))) {
                            pulse.heard();
                        }
                        written(&taken)
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
                VOTE => match postcard::from_bytes::<VoteRequest<NodeNumber>>(&question) {
                    Ok(rpc) => {
                        let term = rpc.vote.leader_id.term;
                        let vote = raft.vote(rpc).await;
                        // Before the candidate hears of it, this node has stopped to answer as a leader.
                        if vote.as_ref().is_ok_and(|vote| vote.vote_granted) {
                            lease.give_away(term);
                            pulse.heard();
                        }
                        written(&vote)
                    }
                    Err(error) => illegible(error),
                },
                WRITE => written(&write(&raft, Payload(question)).await),
                WOULD_VOTE => match postcard::from_bytes(&question) {
                    Ok(theirs) => written(&election::answer(&raft, &pulse, theirs)),
                    Err(error) => illegible(error),
                },
                TAKE_OVER => written(&raft.trigger().elect().await),
                RELEASE => written(&served.release(group, &raft, from).await),
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

/// Asks a node whether a group does without this one.
///
/// # Errors
/// [`CallError`].
pub async fn release_at(
    calls: &Calls,
    node: NodeNumber,
    group: GroupId,
) -> Result<Release, CallError> {
    let answer = calls
        .ask(node, WRITE_PATIENCE, |frame| {
            frame.put_u32_le(group.0);
            frame.put_u8(RELEASE);
        })
        .await?;
    // Who does not have the group says nothing.
    Ok(postcard::from_bytes(&answer).unwrap_or(Release::Elsewhere(None)))
}

/// Makes a group's way to its peers.
#[derive(Clone)]
pub struct Peers {
    calls: Calls,
    group: GroupId,
    lease: Lease,
}

impl Peers {
    /// The peers of `group`.
    #[must_use]
    pub fn of(calls: Calls, group: GroupId, lease: Lease) -> Peers {
        Peers {
            calls,
            group,
            lease,
        }
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
        let (term, sent_ms, begin) = (rpc.vote.leader_id.term, boot_ms(), Instant::now());
        let heartbeat = rpc.entries.is_empty();
        let answer = self.ask(APPEND, &rpc, option.hard_ttl()).await;
        if let Ok(AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_)) =
            answer
        {
            self.peers.lease.taken(term, self.target, sent_ms);
            if heartbeat {
                self.peers.calls.took(self.target, begin.elapsed());
            }
        }
        answer
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Debug;

    use openraft::{
        CommittedLeaderId, Entry, LogId, Membership, SnapshotMeta, StoredMembership, Vote,
    };

    use super::*;

    /// openraft's types have no equality, but all of them can be shown.
    fn holds<T: Serialize + DeserializeOwned + Debug>(name: &str, value: &T) {
        let kept = crate::fixture::held(&format!("v2-{name}"), &written(value));
        let read: T = postcard::from_bytes(&kept).expect(name);
        assert_eq!(format!("{read:?}"), format!("{value:?}"), "{name}");
    }

    #[test]
    fn what_groups_say_to_each_other_is_read_for_ever() {
        let vote = Vote::new_committed(7, 2);
        let log_id = |index| LogId::new(CommittedLeaderId::new(7, 2), index);
        let nodes: BTreeMap<NodeNumber, BasicNode> =
            (1..=3).map(|node| (node, BasicNode::default())).collect();
        let members = Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])],
            nodes,
        );
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Payload(Bytes::from_static(b"an entry"))),
            EntryPayload::Membership(members.clone()),
        ];
        let entries = (41..).zip(payloads).map(|(index, payload)| Entry {
            log_id: log_id(index),
            payload,
        });
        let append = AppendEntriesRequest::<TypeConfig> {
            vote,
            prev_log_id: Some(log_id(40)),
            entries: entries.collect(),
            leader_commit: Some(log_id(39)),
        };
        holds("append", &append);
        type Taken<T, E = openraft::error::Infallible> = Result<T, RaftError<NodeNumber, E>>;
        type Append = AppendEntriesResponse<NodeNumber>;
        holds("append-success", &Taken::<Append>::Ok(Append::Success));
        holds(
            "append-partial",
            &Taken::<Append>::Ok(Append::PartialSuccess(Some(log_id(42)))),
        );
        holds("append-conflict", &Taken::<Append>::Ok(Append::Conflict));
        holds(
            "append-higher-vote",
            &Taken::<Append>::Ok(Append::HigherVote(Vote::new(8, 3))),
        );
        holds("vote", &VoteRequest::new(Vote::new(8, 3), Some(log_id(42))));
        let granted = VoteResponse::new(Vote::new(8, 3), Some(log_id(42)), true);
        holds(
            "vote-granted",
            &Taken::<VoteResponse<NodeNumber>>::Ok(granted),
        );
        let chunk = InstallSnapshotRequest::<TypeConfig> {
            vote,
            meta: SnapshotMeta {
                last_log_id: Some(log_id(40)),
                last_membership: StoredMembership::new(Some(log_id(12)), members),
                snapshot_id: "7-2-40".to_owned(),
            },
            offset: 512,
            data: b"a chunk".to_vec(),
            done: true,
        };
        holds("snapshot-chunk", &chunk);
        let taken: Taken<_, InstallSnapshotError> = Ok(InstallSnapshotResponse { vote });
        holds("snapshot-taken", &taken);
        for (name, said) in [
            ("written-done", Written::Done),
            ("written-elsewhere", Written::Elsewhere(Some(3))),
            ("written-unknown", Written::Unknown),
        ] {
            holds(name, &said);
        }
        for (name, said) in [
            ("release-out", Release::Out),
            ("release-not-yet", Release::NotYet),
            ("release-elsewhere", Release::Elsewhere(Some(3))),
        ] {
            holds(name, &said);
        }
    }
}
