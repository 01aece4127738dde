//! MS-PRES on the wire: each file the clauses of one part of the specification.

pub mod client;

pub mod search;
pub mod tree;

mod batch;
mod blocked;
mod category_errors;
mod category_limits;
mod category_subscription;
mod containers;
mod delegates;
mod delivery;
mod lifetimes;
mod msrtc;
mod pidf;
mod publication;
mod publication_errors;
mod publication_vectors;
mod registration;
mod schema;
mod schemas;
mod self_errors;
mod self_subscription;
mod signed_out;
mod subscribers;
mod vectors;
mod vectors_legacy;
mod vectors_own;
mod vectors_subscription;
mod viewer;
