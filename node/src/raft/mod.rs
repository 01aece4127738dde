//! The replicated log: openraft around our own write-ahead log and the shard's machine.
//!
//! Every contact with openraft is in this folder and in `pool`, so that its next release is one
//! folder's work (house D17).

pub mod election;
pub mod group;
pub mod log;
pub mod machine;
pub mod network;
pub mod proposer;
pub mod snapshot;
pub mod threads;
pub mod types;
