//! MS-PRES on the wire: each file the clauses of one part of the specification.

mod client;
mod msrtc;
mod pidf;
mod publication;
mod registration;
mod tree;
mod vectors_legacy;
mod viewer;
