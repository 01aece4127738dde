//! Registered endpoints of an address (RFC 3261 §10): which contacts reach it, until when.
//!
//! Registration is the machine's state, because publications and dialogs can be bound to an endpoint
//! and end with it.

use crate::time::Timestamp;

/// One binding of an address of record to a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Hash of what makes bindings equal: the instance where there is one, else the contact's URI.
    pub binding: u64,
    /// The contact's URI as registered.
    pub contact: Box<str>,
    /// `+sip.instance`, without quotes; empty when there is none.
    pub instance: Box<str>,
    /// Preference in thousandths (q = 1 is 1,000).
    pub q: u16,
    /// Path header values (RFC 3327), comma separated; empty when there are none.
    pub path: Box<str>,
    /// Hash of the registering Call-ID.
    pub call_id: u64,
    /// The registering CSeq; within one Call-ID it must grow.
    pub cseq: u32,
    /// When the binding ends.
    pub expires_at: Timestamp,
    /// Where to send: transport's business, opaque here.
    pub target: Box<[u8]>,
}
