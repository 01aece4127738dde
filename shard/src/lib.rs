//! Presence as a deterministic machine.
//!
//! A shard is a set of slots and one Raft group around one [`machine::Machine`]. The machine takes
//! log entries and gives back effects; the same entries give the same state and the same effects on
//! every replica. Rules, documents and store live here; SIP text, sockets, Raft, clocks and chance do
//! not.
//!
//! # The order of the modules
//!
//! `time`, `slot`, `xml` ← `category` ← `presence` ← `subscription` ← `document`, `machine` ←
//! `runner`; a module imports only from its left (`node/tests/tidy.rs` holds it).
//!
//! # Invariants worth naming
//!
//! - **Time and chance enter in a log entry only.** Nothing here asks a clock or a generator.
//! - **No result depends on the order of a hashed map.** Tables are ordered.
//! - **A refused request changes nothing**, and says why in a [`machine::outcome::Refusal`].
//! - **Everything that can grow has a bound** in [`presence::limits`].

pub mod category;
pub mod document;
pub mod machine;
pub mod presence;
pub mod runner;
pub mod slot;
pub mod subscription;
pub mod time;
pub mod xml;
