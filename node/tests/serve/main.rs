//! The real binary, real sockets, a real disk: what a phone and an operator see, and what survives.

mod admin;
mod bodies;
mod directory;
mod durability;
mod enhanced;
mod phone;
mod presence;
mod server;
mod sip;
