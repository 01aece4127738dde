//! The pool: nodes, shards, slots, and where they are. The map is the state of a Raft group of its own.

pub mod map;

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::observe::report::GroupStatus;
use crate::raft::group::{Core, GroupOptions, StartError, newest_snapshot};
use crate::raft::log::Log;
use crate::raft::machine::Body;
use crate::raft::snapshot::{Frozen, named};
use crate::raft::types::{Applied, GroupId, Payload};
use map::{Change, PoolMap};

/// The group that holds the pool map.
pub struct PoolGroup {
    /// openraft.
    pub core: Core,
    map: watch::Receiver<Arc<PoolMap>>,
    applied: Arc<AtomicU64>,
}

/// The map as openraft's state machine has it.
struct MapBody {
    map: watch::Sender<Arc<PoolMap>>,
    applied: Arc<AtomicU64>,
}

impl Body for MapBody {
    async fn apply(&mut self, index: u64, payload: Bytes) -> Applied {
        let mut map = PoolMap::clone(&self.map.borrow());
        // Going on without a change that others made would make this replica a different one.
        let change =
            Change::decode(&payload).unwrap_or_else(|error| panic!("pool entry {index}: {error}"));
        map.apply(&change);
        self.map.send_replace(Arc::new(map));
        self.applied.store(index, Relaxed);
        Applied::default()
    }

    async fn freeze(&mut self) -> Frozen {
        let map = Arc::clone(&self.map.borrow());
        Box::new(move |writer| writer.write_all(&map.encode()))
    }

    async fn install(&mut self, body: File) -> io::Result<()> {
        self.map.send_replace(Arc::new(read_map(body)?));
        Ok(())
    }
}

fn read_map(mut body: File) -> io::Result<PoolMap> {
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)?;
    PoolMap::decode(&bytes).map_err(io::Error::other)
}

impl PoolGroup {
    /// Starts the group of the pool map.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: &GroupOptions, log: &Log) -> Result<PoolGroup, StartError> {
        let group = GroupId::POOL;
        let (files, newest) = newest_snapshot(&options.snapshots, group)?;
        let (map, meta) = match newest {
            None => (PoolMap::default(), None),
            Some((meta, path, file)) => {
                let map = read_map(file).map_err(|error| StartError::Snapshot {
                    group,
                    why: named(&path, &error),
                })?;
                (map, Some(meta))
            }
        };
        let (send, receive) = watch::channel(Arc::new(map));
        let applied = Arc::new(AtomicU64::new(0));
        let body = MapBody {
            map: send,
            applied: Arc::clone(&applied),
        };
        let core = Core::start(options, log, body, files, meta.as_ref()).await?;
        core.bootstrap().await?;
        Ok(PoolGroup {
            core,
            map: receive,
            applied,
        })
    }

    /// The map as it is now.
    #[must_use]
    pub fn map(&self) -> Arc<PoolMap> {
        Arc::clone(&self.map.borrow())
    }

    /// Makes the pool if there is none yet: `shards` shards, the slots spread evenly. Waits until the
    /// map is there.
    ///
    /// # Errors
    /// [`StartError::Raft`] when no leader is found in time.
    pub async fn create(&self, shards: u16) -> Result<Arc<PoolMap>, StartError> {
        let failed = |why: String| StartError::Raft {
            group: GroupId::POOL,
            why,
        };
        let mut map = self.map.clone();
        for _ in 0..300 {
            if map.borrow().is_made() {
                return Ok(self.map());
            }
            let change = Change::Create { shards }.encode();
            // Creating twice is creating once, so an answer that got lost does no harm.
            let written = self.core.raft.client_write(Payload(change)).await;
            if written.is_err() {
                let _ = tokio::time::timeout(Duration::from_millis(50), map.changed()).await;
            }
        }
        Err(failed("no leader for the pool map".to_owned()))
    }

    /// As an operator sees it.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        let mut status = self.core.status(self.applied.load(Relaxed));
        status.caught_up = status.leader.is_some() && self.map.borrow().is_made();
        status
    }
}
