//! RFC 3261 §17, non-INVITE transactions (and the one answer an INVITE gets here): inputs and a time
//! in, values out.

pub mod client;
pub mod key;
pub mod server;
pub mod timer;

/// Milliseconds of a worker's own monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// Round-trip estimate (RFC 3261 §17.1.1.1).
pub const T1_MS: u64 = 500;
/// Longest retransmission interval of a non-INVITE request.
pub const T2_MS: u64 = 4_000;
/// When a client transaction gives up, and how long a server one remembers over UDP.
pub const TIMEOUT_MS: u64 = 64 * T1_MS;
