//! Which shard a request belongs to, and how to reach it.

use std::sync::Arc;

use shard::runner::Runner;
use shard::slot::Slot;

use super::admission::Permits;
use crate::pool::map::PoolMap;
use crate::raft::proposer::Proposer;

/// How to reach one shard.
#[derive(Clone)]
pub struct ShardLink {
    /// Its log.
    pub proposer: Proposer,
    /// Its machine, for questions.
    pub runner: Runner,
    /// Room for requests in flight.
    pub permits: Arc<Permits>,
}

/// Every shard of the pool, as this node reaches it. Immutable; replaced whole when the map changes.
pub struct Routes {
    map: Arc<PoolMap>,
    shards: Vec<ShardLink>,
}

impl Routes {
    /// The links, in the order of the shards' numbers.
    ///
    /// # Panics
    /// When the map has another number of shards.
    #[must_use]
    pub fn new(map: Arc<PoolMap>, shards: Vec<ShardLink>) -> Routes {
        assert_eq!(
            map.shard_count(),
            shards.len(),
            "a link for each shard of the map"
        );
        Routes { map, shards }
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

    /// The link to a shard.
    #[must_use]
    pub fn link(&self, shard: usize) -> &ShardLink {
        &self.shards[shard]
    }

    /// How many shards there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.len()
    }
}
