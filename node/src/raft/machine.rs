//! RaftStateMachine over what a group keeps: a shard's runner, or the pool map.

use std::fs::File;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, BasicNode, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot,
    SnapshotMeta, StorageError, StorageIOError, StoredMembership,
};
use shard::machine::Machine;
use shard::runner::{Job, Runner};
use tokio::sync::oneshot;

use super::snapshot::{self, Frozen, Meta, SnapshotFiles};
use super::types::{Applied, NodeNumber, Payload, TypeConfig};

/// How long a full queue is given to drain before it is looked at again.
const FULL_QUEUE: Duration = Duration::from_micros(200);

/// What a group keeps.
pub trait Body: Send + Sync + 'static {
    /// Applies a committed payload.
    ///
    /// # Errors
    /// Why this replica cannot go on: the entry cannot be read, or the machine has stopped. The group stops.
    fn apply(
        &mut self,
        index: u64,
        payload: Bytes,
    ) -> impl Future<Output = io::Result<Applied>> + Send;
    /// What will write the state as it is after everything applied so far.
    fn freeze(&mut self) -> impl Future<Output = Frozen> + Send;
    /// Replaces the state by a snapshot's.
    fn install(&mut self, body: File) -> impl Future<Output = io::Result<()>> + Send;
}

/// A shard's machine, behind its thread. Applying is handing over, in order: nobody waits for the
/// thread, and what the machine has to say leaves it as effects.
pub struct ShardBody(pub Runner);

impl ShardBody {
    async fn submit(&self, mut job: Job) -> io::Result<()> {
        while let Err(full) = self.0.submit(job) {
            if let Some(why) = self.0.stopped() {
                return Err(io::Error::other(why.to_string()));
            }
            job = full;
            tokio::time::sleep(FULL_QUEUE).await;
        }
        Ok(())
    }
}

impl Body for ShardBody {
    async fn apply(&mut self, index: u64, payload: Bytes) -> io::Result<Applied> {
        self.submit(Job::Apply {
            index,
            entry: payload,
        })
        .await?;
        Ok(Applied::default())
    }

    async fn freeze(&mut self) -> Frozen {
        let (give, take) = oneshot::channel();
        let look = Job::Read(Box::new(move |machine| {
            drop(give.send(machine.snapshot()));
        }));
        if let Err(stopped) = self.submit(look).await {
            return Box::new(move |_| Err(stopped));
        }
        let frozen = take.await;
        Box::new(move |writer| match frozen {
            Ok(snapshot) => snapshot.write(writer),
            Err(_) => Err(io::Error::other("the shard's thread has ended")),
        })
    }

    async fn install(&mut self, body: File) -> io::Result<()> {
        let restored =
            tokio::task::spawn_blocking(move || Machine::restore(&mut snapshot::body(body))).await;
        let machine = restored
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        self.submit(Job::Install(Box::new(machine))).await
    }
}

/// openraft's state machine around a body.
pub struct StateMachine<B: Body> {
    body: B,
    files: SnapshotFiles,
    last_applied: Option<LogId<NodeNumber>>,
    membership: StoredMembership<NodeNumber, BasicNode>,
    /// Bytes applied since the last snapshot.
    pub(super) since_snapshot: Arc<AtomicU64>,
    /// Index of the last payload handed to the body.
    pub(super) handed: Arc<AtomicU64>,
}

impl<B: Body> StateMachine<B> {
    /// The state machine of a group whose body was restored from the snapshot that `meta` describes.
    #[must_use]
    pub fn new(body: B, files: SnapshotFiles, meta: Option<&Meta>) -> StateMachine<B> {
        StateMachine {
            body,
            files,
            last_applied: meta.and_then(|meta| meta.last_log_id),
            membership: meta
                .map(|meta| meta.last_membership.clone())
                .unwrap_or_default(),
            since_snapshot: Arc::default(),
            handed: Arc::default(),
        }
    }
}

/// Writes one snapshot.
pub struct Builder {
    files: SnapshotFiles,
    meta: Meta,
    frozen: Option<Frozen>,
}

type Result<T> = std::result::Result<T, StorageError<NodeNumber>>;

fn failed(error: &io::Error) -> StorageError<NodeNumber> {
    StorageIOError::write_snapshot(None, AnyError::new(error)).into()
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>> {
        let (files, meta) = (self.files.clone(), self.meta.clone());
        let frozen = self
            .frozen
            .take()
            .expect("openraft builds once per builder");
        let written = tokio::task::spawn_blocking(move || files.write(&meta, frozen)).await;
        let file = written.map_err(io::Error::other).and_then(|written| written).map_err(|error| {
            tracing::error!(%error, "a snapshot could not be written; the log grows until one can");
            failed(&error)
        })?;
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: Box::new(tokio::fs::File::from_std(file)),
        })
    }
}

impl<B: Body> RaftStateMachine<TypeConfig> for StateMachine<B> {
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> Result<(
        Option<LogId<NodeNumber>>,
        StoredMembership<NodeNumber, BasicNode>,
    )> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>>
    where
        I: IntoIterator<Item = openraft::Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        for entry in entries {
            self.last_applied = Some(entry.log_id);
            answers.push(match entry.payload {
                EntryPayload::Blank => Applied::default(),
                EntryPayload::Normal(Payload(payload)) => {
                    self.since_snapshot.fetch_add(payload.len() as u64, Relaxed);
                    self.handed.store(entry.log_id.index, Relaxed);
                    let applied = self.body.apply(entry.log_id.index, payload).await;
                    applied.map_err(|error| {
                        StorageIOError::apply(entry.log_id, AnyError::new(&error))
                    })?
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Applied::default()
                }
            });
        }
        Ok(answers)
    }

    /// Freezes here, in the order of applying; writing may take as long as it takes.
    async fn get_snapshot_builder(&mut self) -> Builder {
        self.since_snapshot.store(0, Relaxed);
        let snapshot_id = self
            .last_applied
            .map_or_else(|| "empty".to_owned(), |log_id| log_id.to_string());
        let meta = SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
            snapshot_id,
        };
        Builder {
            files: self.files.clone(),
            meta,
            frozen: Some(self.body.freeze().await),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<tokio::fs::File>> {
        let file = self.files.receive().map_err(|error| failed(&error))?;
        Ok(Box::new(tokio::fs::File::from_std(file)))
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<tokio::fs::File>,
    ) -> Result<()> {
        let mut file = snapshot.into_std().await;
        let install = async {
            snapshot::read_head(&mut file)?;
            self.body.install(file).await?;
            self.files.keep_received(meta)
        };
        install.await.map_err(|error| failed(&error))?;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>> {
        let newest = self.files.newest().map_err(|error| failed(&error))?;
        Ok(newest.map(|(meta, _, file)| Snapshot {
            meta,
            snapshot: Box::new(tokio::fs::File::from_std(file)),
        }))
    }
}
