//! MS-PRES on the wire: each file the clauses of one part of the specification.

mod client;
mod lifetimes;
mod publication;
mod publication_errors;
mod publication_vectors;
mod schemas;
mod tree;
mod vectors;
