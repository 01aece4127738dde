//! What is left of a group on a node whose pool has lost its majority, and making that the whole group.
//!
//! Done on the data of a node that does not run (`recover.rs`). The log gets one entry more, of a term that
//! nobody has seen: from now on this node is the only member. What stands before it, committed or not, is what
//! the group holds then.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use bytes::Bytes;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::{
    BasicNode, CommittedLeaderId, Entry, EntryPayload, LogId, Membership, RaftLogReader as _,
    StoredMembership, Vote,
};

use super::log::{GroupLog, Log};
use super::snapshot::{Frozen, Meta, SnapshotFiles};
use super::types::{GroupId, NodeNumber, Payload, TypeConfig};

/// What is left of a group.
pub struct Remains {
    log: GroupLog,
    files: SnapshotFiles,
    vote_term: u64,
    last: Option<LogId<NodeNumber>>,
    snapshot: Option<(Meta, std::fs::File)>,
}

/// Writes a snapshot from which a group begins: it stands at `position`, and `me` is the only member.
///
/// # Errors
/// What the system says.
pub fn begin_at(
    snapshots: &Path,
    group: GroupId,
    me: NodeNumber,
    position: u64,
    frozen: Frozen,
) -> io::Result<()> {
    let at = LogId::new(CommittedLeaderId::new(1, me), position);
    let nodes = BTreeMap::from([(me, BasicNode::default())]);
    let members = Membership::new(vec![BTreeSet::from([me])], nodes);
    let meta = Meta {
        last_log_id: Some(at),
        last_membership: StoredMembership::new(Some(at), members),
        snapshot_id: at.to_string(),
    };
    let files = SnapshotFiles::open(snapshots, group)?;
    files.write(&meta, frozen).map(drop)
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl Remains {
    /// Looks at what a node has of a group.
    ///
    /// # Errors
    /// What the system says, or what is damaged.
    pub async fn of(log: &Log, snapshots: &Path, group: GroupId) -> io::Result<Remains> {
        let mut log = log.group(group);
        let files = SnapshotFiles::open(snapshots, group)?;
        let snapshot = files.newest()?.map(|(meta, _, file)| (meta, file));
        let state = log.get_log_state().await.map_err(other)?;
        let vote = log.read_vote().await.map_err(other)?;
        let covered = snapshot.as_ref().and_then(|(meta, _)| meta.last_log_id);
        Ok(Remains {
            log,
            files,
            vote_term: vote.map_or(0, |vote| vote.leader_id.term),
            last: state.last_log_id.max(covered),
            snapshot,
        })
    }

    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// The term and the index of the last entry.
    #[must_use]
    pub fn last(&self) -> (u64, u64) {
        self.last
            .map_or((0, 0), |log_id| (log_id.leader_id.term, log_id.index))
    }

    /// The body of the newest snapshot, and the payloads behind it, in order.
    ///
    /// # Errors
    /// What is damaged.
    pub async fn contents(&mut self) -> io::Result<(Option<std::fs::File>, Vec<Bytes>)> {
        let covered = self
            .snapshot
            .as_ref()
            .and_then(|(meta, _)| meta.last_log_id);
        let from = covered.map_or(0, |log_id| log_id.index + 1);
        let entries = self.log.try_get_log_entries(from..).await.map_err(other)?;
        let payloads = entries.into_iter().filter_map(|entry| match entry.payload {
            EntryPayload::Normal(Payload(bytes)) => Some(bytes),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        });
        let body = match &self.snapshot {
            Some((_, file)) => Some(file.try_clone()?),
            None => None,
        };
        Ok((body, payloads.collect()))
    }

    /// Makes `me` the only member, and appends these payloads; may be done again.
    ///
    /// # Errors
    /// What the log says.
    pub async fn take_over(mut self, me: NodeNumber, payloads: Vec<Bytes>) -> io::Result<()> {
        let state = self.log.get_log_state().await.map_err(other)?;
        if let Some(last) = self.last.filter(|last| state.last_log_id < Some(*last)) {
            // The log behind the snapshot is older than it: there may be no hole.
            self.log.purge(last).await.map_err(other)?;
        }
        let term = self.vote_term.max(self.last().0) + 1;
        self.log
            .save_vote(&Vote::new(term, me))
            .await
            .map_err(other)?;
        let nodes = BTreeMap::from([(me, BasicNode::default())]);
        let alone = Membership::new(vec![BTreeSet::from([me])], nodes);
        let first = self.last.map_or(0, |last| last.index + 1);
        let contents = std::iter::once(EntryPayload::Membership(alone)).chain(
            payloads
                .into_iter()
                .map(|bytes| EntryPayload::Normal(Payload(bytes))),
        );
        let leader = CommittedLeaderId::new(term, me);
        let entries: Vec<Entry<TypeConfig>> = (first..)
            .zip(contents)
            .map(|(index, payload)| Entry {
                log_id: LogId::new(leader, index),
                payload,
            })
            .collect();
        self.log.blocking_append(entries).await.map_err(other)
    }

    /// Forgets everything, so that the group begins empty: what is here cannot be used.
    ///
    /// # Errors
    /// What the system says.
    pub async fn forget(&mut self, put_away: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        for path in self.files.list()? {
            put_away(&path)?;
        }
        self.log.forget().await?;
        (self.last, self.snapshot, self.vote_term) = (None, None, 0);
        Ok(())
    }
}
