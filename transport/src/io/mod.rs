//! Sockets: the only part with tokio.

pub mod driven;
mod frames;
mod mailbox;
mod socket;
mod sources;
mod stream;
pub mod tls;
mod udp;
mod upgrade;
pub mod websocket;
mod wire;
pub mod worker;

pub use mailbox::{MAIL_MAX, Mailbox};
pub use wire::{Context, Wire};
