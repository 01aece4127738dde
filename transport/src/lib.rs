//! SIP on the wire: bytes into messages, transactions, dialog addressing, sockets.
//!
//! # The order of the modules
//!
//! `sip` ← `transaction`, `dialog`, `flow` ← `io`. Only `io` knows sockets and tokio; everything else
//! takes bytes and a time and gives back values.
//!
//! # Invariants worth naming
//!
//! - **One worker, one thread.** A [`io::worker::Worker`] owns its sockets, transactions and flows;
//!   nothing in it is shared, nothing is locked. A flow belongs to one worker for life.
//! - **Nothing is copied while reading.** A message keeps the buffer it came in; headers are ranges.
//! - **Whatever a peer sends, this crate answers or counts.** It never panics and never grows without
//!   a bound.

pub mod dialog;
pub mod flow;
pub mod io;
pub mod sip;
pub mod transaction;
