//! MS-PRES on the wire: each file the clauses of one part of the specification.

mod categories;
mod client;
mod publication;
mod tree;
