//! MS-PRES on the wire: each file the clauses of one part of the specification.

mod blocked;
mod client;
mod containers;
mod delegates;
mod publication;
mod subscribers;
mod tree;
mod vectors_own;
