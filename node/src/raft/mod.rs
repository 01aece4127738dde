//! The replicated log: openraft around our own write-ahead log and the shard's machine.
//!
//! Every contact with openraft is in this folder and in `pool`, so that its next release is one
//! folder's work (house D17).

pub mod log;
pub mod types;
