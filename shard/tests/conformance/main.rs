//! Conformance: a test per clause, on the machine as a whole. Commands pass through the log's codec,
//! as they do in a pool.

mod lists;
mod moves;
mod ms_pres_entries;
mod ms_pres_subscribers;
mod pool;
mod relays;
mod rfc3261_10;
mod rfc3903;
mod rfc6665;
mod sources;
