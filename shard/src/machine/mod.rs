//! The machine: log entries in, effects out.

pub mod apply;
pub mod codec;
pub mod command;
mod cursor;
mod digest;
pub mod effect;
mod expiry;
mod notices;
pub mod outcome;
mod replies;
mod section;
pub mod snapshot;
mod store;
mod table;

pub use apply::Machine;
