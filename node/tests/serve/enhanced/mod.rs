//! MS-PRES on the wire: each file the clauses of one part of the specification.

mod client;
mod contacts;
mod contact_store;
mod vectors_ucs;
mod publication;
mod tree;
