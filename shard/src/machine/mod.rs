//! The machine: log entries in, effects out.

pub mod apply;
pub mod codec;
pub mod command;
pub mod effect;
pub mod outcome;
pub mod snapshot;

pub use apply::Machine;
