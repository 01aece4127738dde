//! From the wire to the log: who asks, what it means, where it belongs, whether there is room.

pub mod admission;
pub mod blustar_login;
pub mod chance;
pub mod clerk;
pub mod courier;
pub mod digest;
pub mod door;
pub mod encoding;
pub mod endpoint;
pub mod errand;
pub mod feeds;
pub mod identity;
pub mod ntlm;
pub mod overtaken;
pub mod peers;
pub mod route;
pub mod signing;
pub mod subscriber;
pub mod unheard;
pub mod users;
pub mod waiting;
