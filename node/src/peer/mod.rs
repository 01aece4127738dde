//! The other nodes of the pool: who they prove to be, and frames to and from them.
//!
//! Two nodes are linked by one connection in each direction and class: `raft` carries consensus on the
//! Raft runtime, `traffic` carries requests, answers and notifications on a thread of its own, so that a
//! flood of SIP cannot delay a heartbeat into an election (house §6). A link sends; what comes back
//! comes over the other node's own link. Whoever needs an answer counts its questions itself.

pub mod call;
pub mod credentials;
pub mod link;
pub mod mesh;

/// A node's number in the pool; never used again for another node. 0 is nobody, or one that joins.
pub type NodeNumber = u64;
