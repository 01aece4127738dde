//! What the requester is told.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::presence::endpoint::Endpoint;
use crate::presence::publication::EntityTag;
use crate::subscription::dialog::LocalTag;
use crate::time::Timestamp;

pub use crate::presence::refusal::Refusal;

/// Recognises a repeated request: From tag, Call-ID and CSeq (RFC 3261 §8.2.2.2; not the branch,
/// which a proxy changes when it tries the next node). House D9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub u128);

impl RequestKey {
    /// The key of the request with these identifiers.
    #[must_use]
    pub fn of(from_tag: &str, call_id: &str, cseq: u32, method: &str) -> RequestKey {
        let mut text = Vec::with_capacity(from_tag.len() + call_id.len() + method.len() + 6);
        text.extend_from_slice(from_tag.as_bytes());
        text.push(0);
        text.extend_from_slice(call_id.as_bytes());
        text.push(0);
        text.extend_from_slice(&cseq.to_be_bytes());
        text.extend_from_slice(method.as_bytes());
        RequestKey(xxh3_128(&text))
    }
}

/// What the requester is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200 to REGISTER: all current bindings, by ascending [`Endpoint::binding`], and the machine's
    /// time.
    Registered {
        /// The bindings.
        endpoints: Arc<[Endpoint]>,
        /// Entry time, for the remaining seconds.
        at: Timestamp,
    },
    /// 200 to PUBLISH.
    Published {
        /// SIP-ETag.
        tag: EntityTag,
        /// Expires.
        expires_s: u32,
    },
    /// 200 to SUBSCRIBE; the notification is an effect of its own.
    Subscribed {
        /// To tag.
        local_tag: LocalTag,
        /// Expires.
        expires_s: u32,
    },
    /// A dialog was ended on our own wish; nobody waits.
    Ended,
    /// Nothing was changed.
    Refused(Refusal),
}
