//! tmp
pub mod raft;
