//! The real binary, real sockets, a real disk: what a phone and an operator see, and what survives.

mod admin;
mod authentication;
mod bodies;
mod calendar;
mod certificates;
mod desk;
mod directory;
mod durability;
mod enhanced;
mod feeds;
mod moves;
mod phone;
mod pool;
mod presence;
mod recovery;
mod server;
mod sip;
mod websocket;

/// The office client in `authentication` is the one of the server's own tests, and looks for it here.
use node::ingress;
