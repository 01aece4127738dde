//! Wire documents: parse into what commands carry, compose from views.

pub mod pidf;
mod rpid;
pub mod search;
mod stored;
