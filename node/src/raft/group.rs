//! One Raft group on this node: its log, its machine, its proposer, and what an operator sees of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use openraft::{BasicNode, Config, ServerState, SnapshotPolicy};
use shard::machine::Machine;
use shard::machine::command::Leader;
use shard::runner::{Runner, Sink};

use super::log::Log;
use super::machine::{Body, ShardBody, StateMachine};
use super::network::NoPeers;
use super::proposer::{Failed, Proposer};
use super::snapshot::{self, Meta, SnapshotFiles, named};
use super::types::{GroupId, NodeNumber, TypeConfig};
use crate::observe::report::GroupStatus;

/// openraft, with our types.
pub type Raft = openraft::Raft<TypeConfig>;

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
}

/// House D17: a dozen or two groups, a second to fail over.
impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            heartbeat_ms: 100,
            election_min_ms: 500,
            election_max_ms: 1_000,
            snapshot_bytes: 64 << 20,
        }
    }
}

/// Which group, where.
#[derive(Clone, Debug)]
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
}

/// Why a group cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A snapshot cannot be used.
    #[error(
        "the snapshot of group {group} cannot be used: {why}; restore the data folder from a backup"
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
    tuning: Tuning,
}

impl Core {
    /// Starts openraft around a body that was restored from `meta`'s snapshot.
    ///
    /// # Errors
    /// [`StartError::Raft`].
    pub async fn start<B: Body>(
        options: &GroupOptions,
        log: &Log,
        body: B,
        files: SnapshotFiles,
        meta: Option<&Meta>,
    ) -> Result<Core, StartError> {
        let GroupOptions {
            group,
            node,
            tuning,
            ..
        } = options.clone();
        let failed = |why: &dyn std::fmt::Display| StartError::Raft {
            group,
            why: why.to_string(),
        };
        let config = Config {
            cluster_name: group.to_string(),
            heartbeat_interval: tuning.heartbeat_ms,
            election_timeout_min: tuning.election_min_ms,
            election_timeout_max: tuning.election_max_ms,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 1_000,
            purge_batch_size: 256,
            max_payload_entries: 1_024,
            ..Config::default()
        };
        let config = config.validate().map_err(|error| failed(&error))?;
        let machine = StateMachine::new(body, files, meta);
        let since_snapshot = Arc::clone(&machine.since_snapshot);
        let raft = Raft::new(node, Arc::new(config), NoPeers, log.group(group), machine)
            .await
            .map_err(|error| failed(&error))?;
        Ok(Core {
            raft,
            group,
            node,
            since_snapshot,
            tuning,
        })
    }

    /// Makes a group of one out of a group that was never any; nothing for one that has a log.
    ///
    /// # Errors
    /// [`StartError::Raft`].
    pub async fn bootstrap(&self) -> Result<(), StartError> {
        let known = self.raft.is_initialized().await;
        if known.map_err(|error| StartError::Raft {
            group: self.group,
            why: error.to_string(),
        })? {
            return Ok(());
        }
        let members = BTreeMap::from([(self.node, BasicNode::default())]);
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(StartError::Raft {
                group: self.group,
                why: error.to_string(),
            }),
        }
    }

    /// As an operator sees it; `applied` is the machine's own word.
    #[must_use]
    pub fn status(&self, applied: u64) -> GroupStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let committed = metrics.last_applied.map_or(0, |log_id| log_id.index);
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
            caught_up: metrics.current_leader.is_some()
                && applied >= committed
                && metrics.running_state.is_ok(),
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
        let _ = self.raft.shutdown().await;
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
        let runner = Runner::spawn(&format!("shard-{group}"), machine, me, sink);
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
            options.tuning.election_min_ms,
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
        // Blank and membership entries never reach the machine, so its index may stay behind; a leader
        // has caught up when its own first entry is applied.
        let gauges = self.runner.gauges();
        let mut status = self.core.status(gauges.applied.load(Acquire));
        if status.role == "leader" {
            status.caught_up = self.proposer.is_leading();
        }
        status
    }
}
