//! From the wire to the log: who asks, what it means, where it belongs, whether there is room.

pub mod admission;
pub mod chance;
pub mod door;
pub mod endpoint;
pub mod errand;
pub mod identity;
pub mod route;
pub mod waiting;
