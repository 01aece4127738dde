//! The Lamplight server: wires transport and shard together.
//!
//! # The order of the modules
//!
//! `config`, `observe` ← `raft`, `pool` ← `dialect` ← `egress` ← `ingress` ← this file; a module
//! imports only from its left (`node/tests/tidy.rs` holds it).

pub mod config;
pub mod observe;
pub mod pool;
pub mod raft;
