//! Conformance: a test per clause, on the machine as a whole. Commands pass through the log's codec,
//! as they do in a pool.

mod lists;
mod moves;
mod ms_pres_entries;
mod ms_pres_subscribers;
mod pool;
mod relays;
mod rfc3261_10;
mod rfc3680;
mod rfc3842;
mod rfc3857;
mod rfc3903;
mod rfc4235;
mod rfc4660;
mod rfc5025;
mod rfc5839;
mod rfc6446;
mod rfc6665;
mod savers;
mod sources;
