//! The pool: nodes, shards, slots, and where they are.

pub mod map;
