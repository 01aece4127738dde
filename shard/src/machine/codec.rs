//! The log's format, versioned, by hand.

use bytes::BytesMut;

use crate::machine::command::{Act, Entry, Request};
use crate::time::Timestamp;

/// Why an entry cannot be read: a newer release wrote it, or it is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log entry cannot be decoded at byte {at}: {what}")]
pub struct CodecError {
    /// Where.
    pub at: usize,
    /// What was expected there.
    pub what: &'static str,
}

/// Appends one request, as the body of an entry holds it. The ingress encodes; the proposer joins.
pub fn encode_request(request: &Request<'_>, out: &mut BytesMut) {
    let _ = (request, out);
    todo!()
}

/// Appends a whole entry whose requests were encoded before: `count` of them in `requests`.
pub fn encode_batch(at: Timestamp, count: u16, requests: &[&[u8]], out: &mut BytesMut) {
    let _ = (at, count, requests, out);
    todo!()
}

/// Appends a whole entry with any act.
pub fn encode_entry(at: Timestamp, act: &Act<'_>, out: &mut BytesMut) {
    let _ = (at, act, out);
    todo!()
}

/// Reads an entry; borrowed parts are slices of `bytes`.
///
/// # Errors
/// [`CodecError`] for anything that [`encode_entry`] of this or an older release did not write.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry<'_>, CodecError> {
    let _ = bytes;
    todo!()
}
