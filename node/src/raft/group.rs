//! One Raft group on this node: its log, its machine, its proposer, and what an operator sees of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use openraft::storage::RaftLogStorage as _;
use openraft::{BasicNode, ChangeMembers, Config, LogId, ServerState, SnapshotPolicy};
use shard::machine::Machine;
use shard::machine::command::Leader;
use shard::runner::{Runner, Sink};

use super::election::{self, Pulse};
use super::lease::Lease;
use super::log::Log;
use super::machine::{Body, ShardBody, StateMachine};
use super::network::{self, Answers, Peers, Served};
use super::progress::{Progress, SILENT_MS};
use super::proposer::{Failed, Proposer};
use super::snapshot::{self, Meta, SnapshotFiles, named};
use super::threads::Workforce;
use super::types::{GroupId, NodeNumber, TypeConfig};
use crate::observe::report::{GroupStatus, ReplicaStatus};
use crate::peer::call::{CallError, Calls};

/// openraft, with our types.
pub type Raft = openraft::Raft<TypeConfig>;

/// A snapshot travels in chunks of this many bytes, each acknowledged before the next: what a slow
/// follower makes us hold is one chunk.
const SNAPSHOT_CHUNK_BYTES: u64 = 512 << 10;

/// How long a chunk may take, in milliseconds.
const SNAPSHOT_CHUNK_MS: u64 = 10_000;

/// Entries that a new replica may lack when it begins to vote.
const CAUGHT_UP_WITHIN: u64 = 256;

/// How long a change of the members may take before it is tried again.
const MEMBERS_PATIENCE: Duration = Duration::from_secs(5);

/// How long each half of a hand-over may take: until the other has all, and until it leads.
const HAND_OVER: Duration = Duration::from_millis(500);

/// How a group is run.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Between two heartbeats of a leader, in milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest wait for a heartbeat before an election.
    pub election_min_ms: u64,
    /// Longest wait.
    pub election_max_ms: u64,
    /// Bytes of entries after which a snapshot is taken.
    pub snapshot_bytes: u64,
    /// Entries before the last snapshot that are kept, for followers that are a little behind.
    pub kept_entries: u64,
    /// Entries beyond those that are given up at a time, at least.
    pub purge_batch: u64,
}

/// House D17: a dozen or two groups, a second to fail over. A leader is missed when it is not heard for the
/// longest election time, which is openraft's lease: nobody votes before ([`Lease::PROMISE_MS`]).
impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            heartbeat_ms: 200,
            election_min_ms: 400,
            election_max_ms: Lease::PROMISE_MS,
            snapshot_bytes: 64 << 20,
            kept_entries: 1_000,
            purge_batch: 256,
        }
    }
}

/// Which group, where.
#[derive(Clone)]
pub struct GroupOptions {
    /// The group.
    pub group: GroupId,
    /// This node.
    pub node: NodeNumber,
    /// This life of it.
    pub life: u64,
    /// The folder of snapshots.
    pub snapshots: PathBuf,
    /// How it is run.
    pub tuning: Tuning,
    /// The way to its other replicas.
    pub calls: Calls,
    /// Where others find it.
    pub served: Served,
    /// Who runs its machine.
    pub workforce: Arc<dyn Workforce>,
}

/// Why a group cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A snapshot cannot be used.
    #[error(
        "the snapshot of group {group} cannot be used: {why}. A node of a pool whose others have a majority begins anew by itself; a node alone does not start: \
         restore the data folder from a backup, or remove it and begin with nothing"
    )]
    Snapshot {
        /// Which group.
        group: GroupId,
        /// What is wrong with which file.
        why: io::Error,
    },
    /// openraft refuses.
    #[error("group {group} cannot start: {why}")]
    Raft {
        /// Which group.
        group: GroupId,
        /// What it says.
        why: String,
    },
}

/// openraft and what every group has around it.
pub struct Core {
    /// openraft.
    pub raft: Raft,
    group: GroupId,
    node: NodeNumber,
    since_snapshot: Arc<AtomicU64>,
    handed: Arc<AtomicU64>,
    pulse: Arc<Pulse>,
    tuning: Tuning,
    calls: Calls,
    served: Served,
    lease: Lease,
    progress: Progress,
}

impl Core {
    /// Starts openraft around a body that was restored from `meta`'s snapshot.
    ///
    /// # Errors
    /// [`StartError::Raft`]; [`StartError::Snapshot`] when the log does not go on where the snapshot ends:
    /// openraft would take what is missing for nothing.
    pub async fn start<B: Body>(
        options: &GroupOptions,
        log: &Log,
        body: B,
        files: SnapshotFiles,
        meta: Option<&Meta>,
    ) -> Result<Core, StartError> {
        let (group, node, tuning) = (options.group, options.node, options.tuning.clone());
        let failed = |why: &dyn std::fmt::Display| StartError::Raft {
            group,
            why: why.to_string(),
        };
        let config = Config {
            cluster_name: group.to_string(),
            heartbeat_interval: tuning.heartbeat_ms,
            election_timeout_min: tuning.election_min_ms,
            election_timeout_max: tuning.election_max_ms,
            // Who stands for election, and when, is decided in `election`.
            enable_elect: false,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: tuning.kept_entries,
            purge_batch_size: tuning.purge_batch,
            max_payload_entries: 1_024,
            snapshot_max_chunk_size: SNAPSHOT_CHUNK_BYTES,
            install_snapshot_timeout: SNAPSHOT_CHUNK_MS,
            ..Config::default()
        };
        let config = config.validate().map_err(|error| failed(&error))?;
        let state = log.group(group).get_log_state().await;
        let purged = state.map_err(|error| failed(&error))?.last_purged_log_id;
        let covered = meta.and_then(|meta| meta.last_log_id);
        if purged > covered {
            let index = |of: Option<LogId<NodeNumber>>| of.map_or(0, |log_id| log_id.index);
            let why = format!(
                "the log begins after entry {}, and the newest snapshot ends with entry {}: a snapshot is missing",
                index(purged),
                index(covered)
            );
            return Err(StartError::Snapshot {
                group,
                why: io::Error::new(io::ErrorKind::InvalidData, why),
            });
        }
        let machine = StateMachine::new(body, files, meta);
        let since_snapshot = Arc::clone(&machine.since_snapshot);
        let handed = Arc::clone(&machine.handed);
        let (lease, progress) = (Lease::default(), Progress::default());
        let peers = Peers::of(options.calls.clone(), group, lease.clone());
        let entries = log.group(group).begun_by(node);
        let raft = Raft::new(node, Arc::new(config), peers, entries, machine)
            .await
            .map_err(|error| failed(&error))?;
        let pulse = Arc::new(Pulse::new(Duration::from_millis(tuning.election_max_ms)));
        let answers = Answers {
            raft: raft.clone(),
            lease: lease.clone(),
            progress: progress.clone(),
            pulse: Arc::clone(&pulse),
        };
        options.served.add(group, answers);
        let (calls, watched) = (options.calls.clone(), Arc::clone(&pulse));
        tokio::spawn(election::run(raft.clone(), watched, calls, group, node));
        Ok(Core {
            raft,
            group,
            node,
            since_snapshot,
            handed,
            pulse,
            tuning,
            calls: options.calls.clone(),
            served: options.served.clone(),
            lease,
            progress,
        })
    }

    /// Begins a group that was never any, with its founders; nothing for one that has a log. Each of the
    /// founders may do so: they all begin the same group.
    ///
    /// # Errors
    /// [`StartError::Raft`].
    pub async fn bootstrap(&self, founders: &[NodeNumber]) -> Result<(), StartError> {
        if !founders.contains(&self.node) {
            return Ok(());
        }
        let known = self.raft.is_initialized().await;
        if known.map_err(|error| StartError::Raft {
            group: self.group,
            why: error.to_string(),
        })? {
            return Ok(());
        }
        let members: BTreeMap<NodeNumber, BasicNode> = founders
            .iter()
            .map(|node| (*node, BasicNode::default()))
            .collect();
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(StartError::Raft {
                group: self.group,
                why: error.to_string(),
            }),
        }
    }

    /// Whether this node leads the group.
    #[must_use]
    pub fn leads(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.state == ServerState::Leader && metrics.running_state.is_ok()
    }

    /// Tells the lease what this node leads. The proposer does so at once; the group of the pool map has none,
    /// and its leader answers no questions by its lease.
    fn note_leading(&self) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        if metrics.state == ServerState::Leader {
            let voters = metrics.membership_config.membership().get_joint_config();
            self.lease.lead(self.node, metrics.current_term, voters);
        }
    }

    /// Who votes, and who only listens, as this replica knows.
    #[must_use]
    pub fn members(&self) -> (BTreeSet<NodeNumber>, BTreeSet<NodeNumber>) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        (
            membership.voter_ids().collect(),
            membership.learner_ids().collect(),
        )
    }

    /// Where the leader is with a replica: entries it has, of those there are.
    fn matched(&self, node: NodeNumber) -> Option<(u64, u64)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let matched = metrics.replication.as_ref()?.get(&node)?;
        let last = metrics.last_log_index.unwrap_or(0);
        Some((matched.map_or(0, |log_id| log_id.index), last))
    }

    /// Whether a replica has nearly all there is.
    #[must_use]
    pub fn is_current(&self, node: NodeNumber) -> bool {
        self.matched(node)
            .is_some_and(|(has, last)| has + CAUGHT_UP_WITHIN >= last)
    }

    /// Ends a replica that will not come back: what it has is in its last snapshot, and the log keeps
    /// nothing for it.
    pub async fn retire(&self) {
        let applied = self.raft.metrics().borrow().last_applied;
        if let Some(applied) = applied {
            self.snapshot(true).await;
            let wait = self.raft.wait(Some(Duration::from_secs(30)));
            let _ = wait
                .metrics(
                    |metrics| metrics.snapshot >= Some(applied),
                    "the last snapshot",
                )
                .await;
            let _ = self.raft.trigger().purge_log(applied.index).await;
        }
        self.stop(false).await;
    }

    /// One step towards these voters and these listeners, if this node leads; `true` when there is
    /// nothing left to do. May be called again and again, also by the leader after this one: a new
    /// replica listens until it has nearly all there is, and only then votes.
    pub async fn reconcile(
        &self,
        voters: &BTreeSet<NodeNumber>,
        listeners: &BTreeSet<NodeNumber>,
    ) -> bool {
        if !self.leads() {
            return false;
        }
        self.note_leading();
        // Who lost its replica is let go first, and taken in again once it begins anew.
        let leaving = self.served.leaving(self.group);
        let stays = |nodes: &BTreeSet<NodeNumber>| -> BTreeSet<NodeNumber> {
            let of = nodes.iter().filter(|node| !leaving.contains(node));
            of.copied().collect()
        };
        let (voters, listeners) = &(stays(voters), stays(listeners));
        if voters.is_empty() {
            return false;
        }
        let (voting, listening) = self.members();
        let joint = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow();
            metrics
                .membership_config
                .membership()
                .get_joint_config()
                .len()
                > 1
        };
        if !joint && voting == *voters && listening == *listeners {
            return true;
        }
        let known = |node: &NodeNumber| voting.contains(node) || listening.contains(node);
        for node in voters.union(listeners).filter(|node| !known(node)) {
            tracing::info!(group = %self.group, node, "a new replica begins to listen");
            let added = self.raft.add_learner(*node, BasicNode::default(), false);
            if !finished(added).await {
                return false;
            }
        }
        let behind = voters
            .iter()
            .filter(|node| !voting.contains(node) && **node != self.node)
            .any(|node| {
                self.matched(*node)
                    .is_none_or(|(has, last)| has + CAUGHT_UP_WITHIN < last || has == 0)
            });
        if behind {
            return false;
        }
        if joint || voting != *voters {
            tracing::info!(group = %self.group, ?voters, "the voters change");
            // Those who voted and are to listen stay; the others are let go.
            let changed = self.raft.change_membership(voters.clone(), true);
            if !finished(changed).await {
                return false;
            }
        }
        let (_, listening) = self.members();
        let surplus: BTreeSet<NodeNumber> = listening
            .into_iter()
            .filter(|node| !listeners.contains(node) && !voters.contains(node))
            .collect();
        if !surplus.is_empty() {
            tracing::info!(group = %self.group, ?surplus, "replicas are let go");
            let removed = ChangeMembers::RemoveNodes(surplus);
            return finished(self.raft.change_membership(removed, false)).await;
        }
        true
    }

    /// How long until leadership can be handed over: this node's own vote is bound for a while after it
    /// was elected.
    #[must_use]
    pub fn until_free(&self) -> Duration {
        self.pulse.until_free()
    }

    /// Hands leadership over to a replica that has all there is; nothing may be proposed meanwhile.
    ///
    /// openraft 0.9 has no call for it, and its followers vote for nobody while they have heard the
    /// leader within the lease. The leader itself has no such scruple: its own vote was last touched
    /// when it was elected. So a candidate that has every entry gets two votes of three at once, its
    /// own and the old leader's, which steps down by giving it. `false` when it did not come about; then
    /// whoever is elected next leads.
    pub async fn hand_over(&self, to: NodeNumber) -> bool {
        let mut metrics = self.raft.metrics();
        let whole = async {
            while self.leads() {
                if self.matched(to).is_some_and(|(has, last)| has == last) {
                    return true;
                }
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
            false
        };
        if !tokio::time::timeout(HAND_OVER, whole)
            .await
            .unwrap_or(false)
        {
            return false;
        }
        // Told to stand for election it no longer keeps to this leader, so the lease does without it.
        self.lease.release(to);
        match network::take_over_at(&self.calls, to, self.group).await {
            Ok(()) => self.lease.bind_again(to),
            Err(error) => {
                tracing::warn!(group = %self.group, to, %error, "leadership stays");
                if matches!(error, CallError::NoLink(_)) {
                    self.lease.bind_again(to);
                }
                return false;
            }
        }
        // To have given the vote away is not enough: who stops now may take it along, unsent.
        let follows = async {
            while metrics.borrow_and_update().current_leader != Some(to) {
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(HAND_OVER, follows)
            .await
            .unwrap_or(false)
    }

    /// As an operator sees it; `applied` is the machine's own word.
    #[must_use]
    pub fn status(&self, applied: u64) -> GroupStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leads = metrics.state == ServerState::Leader;
        let reached = metrics.last_applied.map(|log_id| log_id.index);
        let behind = self
            .progress
            .behind(reached, self.handed.load(Relaxed).saturating_sub(applied));
        let last = metrics.last_log_index.unwrap_or(0);
        let replicas = metrics.replication.as_ref().map(|replicas| {
            let status = |(node, matched): (&NodeNumber, &Option<openraft::LogId<NodeNumber>>)| {
                let matched = matched.map_or(0, |log_id| log_id.index);
                ReplicaStatus {
                    node: *node,
                    matched,
                    lag_entries: last.saturating_sub(matched),
                    heard_ms: self.lease.heard_ms(*node),
                }
            };
            replicas.iter().map(status).collect()
        });
        GroupStatus {
            group: self.group.to_string(),
            role: match metrics.state {
                ServerState::Leader => "leader",
                ServerState::Follower => "follower",
                ServerState::Candidate => "candidate",
                ServerState::Learner => "learner",
                ServerState::Shutdown => "stopped",
            },
            leader: metrics.current_leader,
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied,
            snapshot: metrics.snapshot.map_or(0, |log_id| log_id.index),
            caught_up: metrics.running_state.is_ok()
                && if leads {
                    // Who is heard by nobody leads in name only.
                    self.lease.held_within(SILENT_MS)
                } else {
                    behind.caught_up
                },
            lag_entries: if leads { 0 } else { behind.entries },
            behind_ms: if leads { 0 } else { behind.since_ms },
            heard_ms: if leads { Some(0) } else { behind.heard_ms },
            voters: metrics.membership_config.membership().voter_ids().collect(),
            replicas_seen: replicas.unwrap_or_default(),
            stopped: metrics
                .running_state
                .as_ref()
                .err()
                .map(ToString::to_string),
        }
    }

    /// Takes a snapshot if enough was applied since the last one, or in any case.
    pub async fn snapshot(&self, in_any_case: bool) {
        if in_any_case || self.since_snapshot.load(Relaxed) >= self.tuning.snapshot_bytes {
            let _ = self.raft.trigger().snapshot().await;
        }
    }

    /// Stops the group; with `last_snapshot` the next start has nothing to replay.
    pub async fn stop(&self, last_snapshot: bool) {
        if last_snapshot {
            let before = self.raft.metrics().borrow().snapshot;
            let applied = self.raft.metrics().borrow().last_applied;
            if before != applied {
                self.snapshot(true).await;
                let wait = self.raft.wait(Some(Duration::from_secs(30)));
                let _ = wait
                    .metrics(|metrics| metrics.snapshot >= applied, "the last snapshot")
                    .await;
            }
        }
        self.served.remove(self.group);
        let _ = self.raft.shutdown().await;
    }
}

/// Waits for a change of the members, but not for ever: a majority may be away.
async fn finished<T, E: std::fmt::Display>(change: impl Future<Output = Result<T, E>>) -> bool {
    match tokio::time::timeout(MEMBERS_PATIENCE, change).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::info!(%error, "the members do not change yet");
            false
        }
        Err(_) => false,
    }
}

/// A shard's group.
pub struct ShardGroup {
    /// openraft.
    pub core: Core,
    /// Its machine's thread.
    pub runner: Runner,
    /// The way in.
    pub proposer: Proposer,
}

/// A snapshot that was found: what it is of, where it stands, and its file at the beginning of the body.
type Found = (Meta, PathBuf, std::fs::File);

/// The newest snapshot of a group: what it is of, and its body.
///
/// # Errors
/// [`StartError::Snapshot`].
pub fn newest_snapshot(
    dir: &Path,
    group: GroupId,
) -> Result<(SnapshotFiles, Option<Found>), StartError> {
    let failed = |why| StartError::Snapshot { group, why };
    let files = SnapshotFiles::open(dir, group).map_err(failed)?;
    let newest = files.newest().map_err(failed)?;
    Ok((files, newest))
}

impl ShardGroup {
    /// Starts the group: its machine from the newest snapshot, its thread, openraft, the proposer.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        options: &GroupOptions,
        log: &Log,
        sink: impl Sink,
        failed: Arc<dyn Failed>,
    ) -> Result<ShardGroup, StartError> {
        let group = options.group;
        let (files, newest) = newest_snapshot(&options.snapshots, group)?;
        let (machine, meta) = match newest {
            None => (Machine::default(), None),
            Some((meta, path, file)) => {
                let restored = tokio::task::spawn_blocking(move || {
                    Machine::restore(&mut snapshot::body(file))
                })
                .await;
                let machine = restored
                    .map_err(io::Error::other)
                    .and_then(|restored| restored.map_err(|error| named(&path, &error)))
                    .map_err(|why| StartError::Snapshot { group, why })?;
                (machine, Some(meta))
            }
        };
        let me = Leader {
            node: options.node,
            life: options.life,
        };
        let (runner, desk) = Runner::prepare(machine, me, sink);
        let employed = options
            .workforce
            .employ(format!("shard-{group}"), Box::new(desk));
        employed.map_err(|error| StartError::Raft {
            group,
            why: error.to_string(),
        })?;
        if let Some(index) = meta
            .as_ref()
            .and_then(|meta| meta.last_log_id)
            .map(|log_id| log_id.index)
        {
            runner.gauges().applied.store(index, Relaxed);
        }
        let core = Core::start(
            options,
            log,
            ShardBody(runner.clone()),
            files,
            meta.as_ref(),
        )
        .await?;
        let proposer = Proposer::start(
            core.raft.clone(),
            me,
            runner.clone(),
            core.lease.clone(),
            failed,
        );
        Ok(ShardGroup {
            core,
            runner,
            proposer,
        })
    }

    /// As an operator sees it.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        // A leader has caught up when its own first entry is applied.
        let gauges = self.runner.gauges();
        let mut status = self.core.status(gauges.applied.load(Acquire));
        if status.role == "leader" {
            status.caught_up &= self.proposer.is_leading();
        }
        if let Some(why) = self.runner.stopped() {
            status.stopped = Some(why.to_string());
            status.caught_up = false;
        }
        status
    }
}
