//! Where this server is the subscriber: what it asks of other servers for its users.
//!
//! Everything here runs beside the leader of a shard: the node that leads a user's shard holds the subscriptions
//! that the user needs, and who leads next holds its own. What comes in is published under the name of its source,
//! so that the next leader replaces what the one before it said, and nothing is said twice.
//!
//! A subscription is a machine without a clock (`subscription.rs`); [`lines`] keeps many of them, for the telephone
//! lines of switchboards.

mod challenge;
mod dialog_info;
mod line;
pub mod lines;
mod numbers;
mod subscription;
