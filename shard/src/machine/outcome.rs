//! What the requester is told.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::category::Category;
use crate::presence::container::Conflict;
use crate::presence::endpoint::Endpoint;
use crate::presence::publication::EntityTag;
use crate::subscription::dialog::{DialogKey, LocalTag};
use crate::time::Timestamp;

pub use crate::presence::refusal::Refusal;

/// Recognises a repeated request: From tag, Call-ID and CSeq (RFC 3261 §8.2.2.2; not the branch,
/// which a proxy changes when it tries the next node). House D9. The address in From is part of it,
/// because real clients draw the others from a generator that they seed with the second: two that are
/// started together choose alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub u128);

impl RequestKey {
    /// The key of the request with these identifiers.
    #[must_use]
    pub fn of(from: &str, from_tag: &str, call_id: &str, cseq: u32, method: &str) -> RequestKey {
        let length = from.len() + from_tag.len() + call_id.len() + method.len();
        let mut text = Vec::with_capacity(length + 7);
        text.extend_from_slice(from.as_bytes());
        text.push(0);
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
        /// Whether a binding of the request was there before.
        refreshed: bool,
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
    /// 204 to SUBSCRIBE in a dialog: what the watcher knows is what there is, and no notification follows.
    Unchanged {
        /// To tag.
        local_tag: LocalTag,
        /// Expires.
        expires_s: u32,
    },
    /// 200 to SUBSCRIBE, with the first notification in it.
    Piggybacked {
        /// To tag.
        local_tag: LocalTag,
        /// Expires.
        expires_s: u32,
        /// Which dialog: a repeat is shown what there is then.
        dialog: DialogKey,
    },
    /// 200 to SERVICE with a publish document: the instances of these categories are shown.
    InstancesPublished(Arc<[Category]>),
    /// 409: what was named is not what there is.
    Conflict(Arc<[Conflict]>),
    /// 200 to SERVICE that changed the delegates, which are shown.
    DelegatesSet,
    /// 200 to SERVICE that changed contacts; the number of the group that was added.
    ContactsChanged(Option<u8>),
    /// 200 to anything else.
    Done,
    /// A document was kept, or removed.
    DocumentSet {
        /// The version that lives, or the last one that did.
        tag: EntityTag,
        /// Whether there was none before.
        created: bool,
    },
    /// A dialog was ended on our own wish; nobody waits.
    Ended,
    /// Nothing was done: the slot is on its way to another shard. To be asked again there in a moment,
    /// under the same key; it is not remembered.
    Moving,
    /// Nothing was changed.
    Refused(Refusal),
}
