//! openraft's type configuration: the only file that names its generics.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// What Lamplight gives openraft to work with.
    pub TypeConfig:
        D = Payload,
        R = Applied,
        NodeId = NodeNumber,
        Node = openraft::BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = tokio::fs::File,
        AsyncRuntime = openraft::TokioRuntime,
);

pub use crate::peer::NodeNumber;

/// One Raft group of the pool. 0 is the pool map's own; shard `n` is `n + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The pool map's group.
    pub const POOL: GroupId = GroupId(0);
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("pool"),
            n => write!(f, "s{:02}", n - 1),
        }
    }
}

/// The application's bytes in a log entry: [`shard::machine::codec`] for shards, [`crate::pool::map`]
/// for the pool.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry gives the proposer. Empty for shards, whose outcomes travel as effects; the
/// pool map answers here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied(pub Bytes);
