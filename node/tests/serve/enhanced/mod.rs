//! MS-PRES on the wire: each file the clauses of one part of the specification.

pub mod client;
mod publication;
pub mod search;
pub mod tree;
