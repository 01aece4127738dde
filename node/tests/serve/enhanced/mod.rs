//! MS-PRES on the wire: each file the clauses of one part of the specification.

mod client;
mod lifetimes;
mod msrtc;
mod pidf;
mod publication;
mod publication_errors;
mod publication_vectors;
mod registration;
mod schemas;
mod tree;
mod vectors;
mod vectors_legacy;
mod viewer;
