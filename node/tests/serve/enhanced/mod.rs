//! MS-PRES on the wire: each file the clauses of one part of the specification.

mod client;
mod contact_store;
mod contacts;
mod publication;
mod tree;
mod vectors_ucs;
