//! Which shard a request belongs to, and how to reach it: here, or on the node that leads it.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, PoisonError, RwLock};

use shard::runner::Runner;
use shard::slot::Slot;

use super::admission::Permits;
use crate::contact_store;
use crate::peer::NodeNumber;
use crate::pool::map::PoolMap;
use crate::raft::proposer::Proposer;

/// A replica of a shard on this node.
#[derive(Clone)]
pub struct Replica {
    /// Its log.
    pub proposer: Proposer,
    /// Its machine, for questions.
    pub runner: Runner,
}

/// How this node reaches one shard.
#[derive(Clone)]
pub struct Reach {
    /// Room for requests in flight.
    pub permits: Arc<Permits>,
    /// The replica here, if there is one.
    pub replica: Option<Replica>,
    /// The nodes that are to hold it.
    holders: Vec<NodeNumber>,
    /// Who led it when somebody last said so; 0 for nobody.
    hint: Arc<AtomicU64>,
}

/// Where a shard's leader is.
pub enum Leader<'r> {
    /// Here.
    Here(&'r Replica),
    /// On that node, as far as is known.
    There(NodeNumber),
    /// Nobody knows.
    Nowhere,
}

/// Every shard of the pool, as this node reaches it. Immutable; replaced whole when the map changes.
pub struct Routes {
    me: NodeNumber,
    map: Arc<PoolMap>,
    shards: Vec<Reach>,
}

impl Routes {
    /// The routes of `map`, with the replicas that are here; permits and hints of `before` stay.
    #[must_use]
    pub fn new(
        me: NodeNumber,
        map: Arc<PoolMap>,
        before: Option<&Routes>,
        in_flight: usize,
        replica: impl Fn(u16) -> Option<Replica>,
    ) -> Routes {
        let shards = map
            .shards()
            .map(|(number, entry)| {
                let known = before.and_then(|before| before.shards.get(usize::from(number)));
                Reach {
                    permits: known.map_or_else(
                        || Arc::new(Permits::new(in_flight)),
                        |known| Arc::clone(&known.permits),
                    ),
                    replica: replica(number),
                    holders: entry.replicas.clone(),
                    hint: known.map_or_else(Arc::default, |known| Arc::clone(&known.hint)),
                }
            })
            .collect();
        Routes { me, map, shards }
    }

    /// The number of the shard that holds `slot`.
    #[must_use]
    pub fn shard_of(&self, slot: Slot) -> usize {
        usize::from(self.map.shard_of(slot))
    }

    /// Which shard holds what.
    #[must_use]
    pub fn map(&self) -> &PoolMap {
        &self.map
    }

    /// The way to a shard.
    #[must_use]
    pub fn reach(&self, shard: usize) -> &Reach {
        &self.shards[shard]
    }

    /// Where a shard's leader is.
    #[must_use]
    pub fn leader(&self, shard: usize) -> Leader<'_> {
        let reach = &self.shards[shard];
        if let Some(replica) = &reach.replica
            && replica.proposer.is_leading()
        {
            return Leader::Here(replica);
        }
        if let Some(leader) = self.told_leader(shard)
            && leader != self.me
        {
            return Leader::There(leader);
        }
        match reach.hint.load(Relaxed) {
            0 => Leader::Nowhere,
            hint if hint == self.me => Leader::Nowhere,
            hint => Leader::There(hint),
        }
    }

    /// Who leads a shard, as the replica here was told; `None` when nobody told it, or when it was let go
    /// and only lingers: then it is told nothing any more, and what it knows is old.
    #[must_use]
    pub fn told_leader(&self, shard: usize) -> Option<NodeNumber> {
        let reach = self.shards.get(shard)?;
        let replica = reach.replica.as_ref()?;
        let leader = replica.proposer.leader();
        (leader != 0 && reach.holders.contains(&self.me)).then_some(leader)
    }

    /// Somebody says who leads a shard. Who has a replica that is to stay knows better; who has none, and is
    /// told nothing, asks the next holder.
    pub fn hear(&self, shard: usize, leader: Option<NodeNumber>) {
        let reach = &self.shards[shard];
        if let Some(leader) = leader {
            reach.hint.store(leader, Relaxed);
            return;
        }
        let others: Vec<NodeNumber> = reach
            .holders
            .iter()
            .copied()
            .filter(|node| *node != self.me)
            .collect();
        let before = reach.hint.load(Relaxed);
        let next = others
            .iter()
            .position(|node| *node == before)
            .map_or(0, |place| place + 1);
        if let Some(next) = others.get(next % others.len().max(1)) {
            reach.hint.store(*next, Relaxed);
        }
    }

    /// How many shards there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.len()
    }
}

/// The routes as they are now, for all workers.
pub struct RouteTable {
    current: RwLock<Arc<Routes>>,
    version: AtomicU64,
}

impl RouteTable {
    /// With these.
    #[must_use]
    pub fn new(routes: Routes) -> RouteTable {
        RouteTable {
            current: RwLock::new(Arc::new(routes)),
            version: AtomicU64::new(1),
        }
    }

    /// Counts the replacements; whoever keeps a copy looks here before each use.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// A copy.
    #[must_use]
    pub fn current(&self) -> Arc<Routes> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in their place, unless they are of an older map.
    pub fn replace(&self, routes: Routes) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if routes.map.epoch < current.map.epoch {
            return;
        }
        *current = Arc::new(routes);
        drop(current);
        self.version.fetch_add(1, Release);
    }
}

/// What the mover of contacts does, it does where a shard is led.
impl contact_store::Reach for RouteTable {
    fn count(&self) -> usize {
        self.current().count()
    }

    fn shard_of(&self, slot: Slot) -> usize {
        self.current().shard_of(slot)
    }

    fn led_here(&self, shard: usize) -> Option<(Proposer, Runner)> {
        let routes = self.current();
        if shard >= routes.count() {
            return None;
        }
        match routes.leader(shard) {
            Leader::Here(replica) => Some((replica.proposer.clone(), replica.runner.clone())),
            Leader::There(_) | Leader::Nowhere => None,
        }
    }
}
