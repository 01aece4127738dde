//! The machine: log entries in, effects out.

pub mod apply;
pub mod codec;
pub mod command;
mod digest;
pub mod effect;
mod expiry;
pub mod outcome;
mod replies;
mod slots;
pub mod snapshot;

pub use apply::Machine;
pub use slots::Presentity;
