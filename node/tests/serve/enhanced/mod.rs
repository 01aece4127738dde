//! MS-PRES on the wire: each file the clauses of one part of the specification.

mod batch;
mod category_errors;
mod category_limits;
mod category_subscription;
mod client;
mod delivery;
mod publication;
mod schema;
mod self_errors;
mod self_subscription;
mod signed_out;
mod tree;
mod vectors_subscription;
