//! The pool: nodes, shards, slots, and where they are. The map is the state of a Raft group of its own.

pub mod balance;
pub mod join;
pub mod map;
pub mod placement;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::observe::report::GroupStatus;
use crate::peer::NodeNumber;
use crate::peer::call::Calls;
use crate::raft::group::{Core, GroupOptions, StartError, newest_snapshot};
use crate::raft::log::Log;
use crate::raft::machine::Body;
use crate::raft::network::{self, Written};
use crate::raft::snapshot::{Frozen, named};
use crate::raft::types::{Applied, GroupId, Payload};
use map::{Change, PoolMap, Standing};

/// The group that holds the pool map.
pub struct PoolGroup {
    /// openraft.
    pub core: Core,
    map: watch::Receiver<Arc<PoolMap>>,
    applied: Arc<AtomicU64>,
    /// Why this replica cannot follow the map any more.
    stopped: Arc<Mutex<Option<String>>>,
    calls: Calls,
}

/// The node that a pool begins with.
pub const FOUNDER: NodeNumber = 1;

/// How long a node that joins waits for the map.
const MAP_PATIENCE: Duration = Duration::from_secs(30);

/// The map as openraft's state machine has it.
struct MapBody {
    map: watch::Sender<Arc<PoolMap>>,
    applied: Arc<AtomicU64>,
    stopped: Arc<Mutex<Option<String>>>,
}

impl Body for MapBody {
    async fn apply(&mut self, index: u64, payload: Bytes) -> io::Result<Applied> {
        let mut map = PoolMap::clone(&self.map.borrow());
        // Going on without a change that others made would make this replica a different one.
        let change = Change::decode(&payload).map_err(|error| {
            let why = format!(
                "change {index} of the pool map is {error}; this node stops following the map until it runs \
                 the release of the others"
            );
            tracing::error!("{why}");
            *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
            io::Error::other(why)
        })?;
        map.apply(&change);
        self.map.send_replace(Arc::new(map));
        self.applied.store(index, Relaxed);
        Ok(Applied::default())
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

/// The map in the body of a snapshot.
///
/// # Errors
/// What the system says, or that it is damaged.
pub fn read_map(mut body: File) -> io::Result<PoolMap> {
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)?;
    PoolMap::decode(&bytes).map_err(io::Error::other)
}

/// The map as this node last knew it, kept beside the log: after all nodes were stopped, where the others
/// are must be known before a majority can say it. It may be old; the others say what is new.
pub mod memory {
    use std::io::{self, Write as _};
    use std::path::Path;

    use super::map::PoolMap;

    const NAME: &str = "pool-map";

    /// Reads it; `None` where there is none that this release can read.
    #[must_use]
    pub fn recall(data: &Path) -> Option<PoolMap> {
        let bytes = std::fs::read(data.join(NAME)).ok()?;
        PoolMap::decode(&bytes).ok()
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(data: &Path, map: &PoolMap) -> io::Result<()> {
        let part = data.join("pool-map.part");
        let mut file = std::fs::File::create(&part)?;
        file.write_all(&map.encode())?;
        file.sync_all()?;
        std::fs::rename(&part, data.join(NAME))
    }
}

/// A change of the map that was not made in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool map has no leader now; try again")]
pub struct NotMade;

/// How long a change of the map is tried.
const CHANGE_PATIENCE: Duration = Duration::from_secs(10);

/// Voters of the pool map; all other nodes listen.
const VOTERS: usize = 5;

impl PoolGroup {
    /// Starts the group of the pool map; who founds the pool begins it.
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
        let stopped = Arc::<Mutex<Option<String>>>::default();
        let body = MapBody {
            map: send,
            applied: Arc::clone(&applied),
            stopped: Arc::clone(&stopped),
        };
        let core = Core::start(options, log, body, files, meta.as_ref()).await?;
        core.bootstrap(&[FOUNDER]).await?;
        Ok(PoolGroup {
            core,
            map: receive,
            applied,
            stopped,
            calls: options.calls.clone(),
        })
    }

    /// The map as it is now.
    #[must_use]
    pub fn map(&self) -> Arc<PoolMap> {
        Arc::clone(&self.map.borrow())
    }

    /// The map, for whoever waits for its changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<PoolMap>> {
        self.map.clone()
    }

    /// Makes the pool if there is none yet: `shards` shards, the slots spread evenly; a node that joins
    /// waits for the map of the others. Waits until the map is there.
    ///
    /// # Errors
    /// [`StartError::Raft`] when there is no map in time.
    pub async fn create(&self, founds: bool, shards: u16) -> Result<Arc<PoolMap>, StartError> {
        // A founder whose pool has grown since cannot make it anew: it listens to the others.
        let (voters, _) = self.core.members();
        let made = if founds && voters.len() <= 1 {
            self.make(&Change::Create { shards }, PoolMap::is_made)
                .await
        } else {
            self.await_map(MAP_PATIENCE, PoolMap::is_made).await
        };
        made.map_err(|error| StartError::Raft {
            group: GroupId::POOL,
            why: error.to_string(),
        })
    }

    async fn await_map(
        &self,
        patience: Duration,
        done: impl Fn(&PoolMap) -> bool,
    ) -> Result<Arc<PoolMap>, NotMade> {
        let mut map = self.map.clone();
        let found = tokio::time::timeout(patience, map.wait_for(|map| done(map))).await;
        match found {
            Ok(Ok(map)) => Ok(Arc::clone(&map)),
            _ => Err(NotMade),
        }
    }

    /// Makes a change, on whichever node the leader is, and waits until the map here shows it. Changes
    /// may be made twice, so an answer that got lost does no harm.
    ///
    /// # Errors
    /// [`NotMade`] when `done` did not come about in time.
    pub async fn make(
        &self,
        change: &Change,
        done: impl Fn(&PoolMap) -> bool,
    ) -> Result<Arc<PoolMap>, NotMade> {
        let encoded = change.encode();
        let begin = tokio::time::Instant::now();
        let mut elsewhere = None;
        while begin.elapsed() < CHANGE_PATIENCE {
            if done(&self.map.borrow()) {
                return Ok(self.map());
            }
            let written = match elsewhere.take() {
                None => network::write(&self.core.raft, Payload(encoded.clone())).await,
                Some(node) => network::write_at(&self.calls, node, GroupId::POOL, &encoded).await,
            };
            let wait = match written {
                Written::Done => Duration::from_millis(500),
                Written::Elsewhere(Some(leader)) => {
                    elsewhere = Some(leader);
                    continue;
                }
                Written::Elsewhere(None) | Written::Unknown => Duration::from_millis(100),
            };
            if let Ok(map) = self.await_map(wait, &done).await {
                return Ok(map);
            }
        }
        Err(NotMade)
    }

    /// Who is to vote about the map, and who only to know it.
    #[must_use]
    pub fn wanted(map: &PoolMap) -> (BTreeSet<NodeNumber>, BTreeSet<NodeNumber>) {
        let here: Vec<NodeNumber> = map
            .nodes()
            .filter(|(_, entry)| entry.standing < Standing::Gone)
            .map(|(number, _)| number)
            .collect();
        let (stay, leave): (Vec<NodeNumber>, Vec<NodeNumber>) = here
            .into_iter()
            .partition(|node| map.hosts().contains(node));
        // An even number of voters survives no more losses than one less.
        let voters = match stay.len() {
            0..=2 => stay.len(),
            count => (count - (count + 1) % 2).min(VOTERS),
        };
        let (voters, listeners) = stay.split_at(voters);
        (
            voters.iter().copied().collect(),
            listeners.iter().chain(&leave).copied().collect(),
        )
    }

    /// As an operator sees it.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        let mut status = self.core.status(self.applied.load(Relaxed));
        status.caught_up &= self.map.borrow().is_made();
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        status.stopped = stopped.clone().or(status.stopped);
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> (MapBody, watch::Receiver<Arc<PoolMap>>) {
        let (map, watched) = watch::channel(Arc::default());
        let body = MapBody {
            map,
            applied: Arc::default(),
            stopped: Arc::default(),
        };
        (body, watched)
    }

    #[tokio::test]
    async fn a_change_of_a_later_release_stops_the_replica_and_is_not_skipped() {
        let (mut body, watched) = body();
        let create = Change::Create { shards: 2 }.encode();
        body.apply(1, create.clone()).await.expect("applied");
        let before = Arc::clone(&watched.borrow());
        for (name, unknown) in [
            ("a version", [9, 1, 2, 0].to_vec()),
            ("a kind", [create[0], 99].to_vec()),
        ] {
            let error = body
                .apply(2, unknown.into())
                .await
                .expect_err(name)
                .to_string();
            assert!(
                error.contains("change 2") && error.contains("release"),
                "{name}: {error}"
            );
            let stopped = body.stopped.lock().expect("whole").clone();
            assert_eq!(stopped.as_deref(), Some(&*error), "an operator is told");
            assert_eq!(*watched.borrow(), before, "nothing is applied by halves");
            assert_eq!(body.applied.load(Relaxed), 1);
        }
    }
}
