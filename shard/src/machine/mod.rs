//! The machine: log entries in, effects out.

pub mod apply;
pub mod codec;
mod codec_enhanced;
pub mod command;
pub mod crossing;
mod cursor;
mod digest;
pub mod effect;
mod enhanced;
mod expiry;
mod lists;
pub mod moves;
mod notices;
pub mod outcome;
pub mod parcel;
pub mod policy;
mod policy_values;
mod relays;
mod replies;
mod section;
pub mod snapshot;
mod store;
mod table;
pub mod tag;
mod values;

pub use apply::Machine;
