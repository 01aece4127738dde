//! PoolMap: nodes, shards, slots, epoch; its own Raft group.
