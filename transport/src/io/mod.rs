//! Sockets: the only part with tokio.

pub mod worker;
