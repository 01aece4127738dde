//! What a log entry says. Everything borrowed is a slice of the entry's bytes; what stays is copied
//! once, where it is stored.

use crate::machine::outcome::RequestKey;
use crate::presence::publication::{EntityTag, TagPolicy};
use crate::slot::Slot;
use crate::subscription::dialog::{DialogKey, EndReason, Format, LocalTag, Package};
use crate::time::Timestamp;

/// Who performs effects from here on: one life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The node's number in the pool.
    pub node: u64,
    /// Drawn anew each time the process starts, so that a restarted leader replays in silence.
    pub life: u64,
}

/// Where a reply is awaited: the ingress's own numbers, opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One log entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// The leader's clock when it proposed. The machine's time is the greatest seen.
    pub at: Timestamp,
    /// What happens at that time.
    pub act: Act<'a>,
}

/// What an entry does besides letting time pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Act<'a> {
    /// A leader's first entry: from here on it performs the effects (house D8).
    TermStart {
        /// Who leads.
        leader: Leader,
        /// Becomes the salt of entity-tags if the machine has none yet.
        salt: u32,
    },
    /// A batch of requests in order; empty to let time pass.
    Requests(Vec<Request<'a>>),
    /// The leader's digest of one slot and of everything the machine ever answered (house D16).
    Attest {
        /// The audited slot.
        slot: Slot,
        /// Digest of that slot's state before this entry.
        slot_digest: u64,
        /// Digest of all outcomes and effects before this entry.
        history_digest: u64,
    },
}

/// One request of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// Recognises a repeat (house D9).
    pub key: RequestKey,
    /// Who waits for the outcome.
    pub ticket: Ticket,
    /// What is asked.
    pub command: Command<'a>,
}

/// What a client asks of a shard. Addresses are canonical ([`crate::slot::Aor::as_str`]), intervals
/// are granted ones: the ingress has applied the dialect's minimum and maximum.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// REGISTER (RFC 3261 §10).
    Register(Register<'a>),
    /// PUBLISH (RFC 3903).
    Publish(Publish<'a>),
    /// SUBSCRIBE outside a dialog, with a lifetime (RFC 6665).
    Subscribe(Subscribe<'a>),
    /// SUBSCRIBE inside a dialog: refresh, or end with `expires_s` 0.
    Resubscribe(Resubscribe<'a>),
    /// A NOTIFY was refused or not answered.
    EndDialog {
        /// Where the dialog lives.
        slot: Slot,
        /// Which dialog.
        dialog: DialogKey,
        /// Why it ends.
        reason: EndReason,
    },
}

/// REGISTER: bind contacts to an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Register<'a> {
    /// Whose contacts.
    pub aor: &'a str,
    /// Hash of the Call-ID.
    pub call_id: u64,
    /// CSeq number.
    pub cseq: u32,
    /// What to change; [`Binding::Nothing`] asks for the list.
    pub bindings: Bindings<'a>,
}

/// What a REGISTER does to the list of endpoints.
#[derive(Clone, Debug, PartialEq)]
pub enum Bindings<'a> {
    /// No Contact: a query.
    Nothing,
    /// `Contact: *` with Expires 0.
    RemoveAll,
    /// Each contact is added, refreshed, or removed (`expires_s` 0); all or none.
    Each(Vec<Binding<'a>>),
}

/// One Contact of a REGISTER; fields as in [`crate::presence::endpoint::Endpoint`].
#[derive(Clone, Debug, PartialEq)]
pub struct Binding<'a> {
    /// Hash of what makes bindings equal.
    pub binding: u64,
    /// The contact's URI.
    pub contact: &'a str,
    /// `+sip.instance`, or empty.
    pub instance: &'a str,
    /// Preference in thousandths.
    pub q: u16,
    /// Path, or empty.
    pub path: &'a str,
    /// Granted lifetime; 0 removes.
    pub expires_s: u32,
    /// Where to send.
    pub target: &'a [u8],
}

/// PUBLISH: create, refresh, modify or remove soft state.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    /// Whose state.
    pub presentity: &'a str,
    /// Of which package.
    pub package: Package,
    /// SIP-If-Match; `None` creates.
    pub if_match: Option<EntityTag>,
    /// The new content in stored form; `None` leaves it as it is.
    pub content: Option<&'a [u8]>,
    /// Granted lifetime; 0 removes.
    pub expires_s: u32,
    /// What a refresh does to the tag.
    pub tag_policy: TagPolicy,
}

/// SUBSCRIBE outside a dialog.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// What is watched.
    pub presentity: &'a str,
    /// Who watches.
    pub watcher: &'a str,
    /// Of which package.
    pub package: Package,
    /// The document asked for.
    pub format: Format,
    /// Names the dialog; made of Call-ID, `local_tag` and the watcher's tag.
    pub dialog: DialogKey,
    /// Our tag, drawn at the ingress; its slot is the presentity's.
    pub local_tag: LocalTag,
    /// CSeq number.
    pub cseq: u32,
    /// Granted lifetime, not 0 (a fetch is a query, house §5).
    pub expires_s: u32,
    /// Opaque, fixed for the dialog's life.
    pub route: &'a [u8],
    /// Opaque, replaced by each refresh.
    pub target: &'a [u8],
}

/// SUBSCRIBE inside a dialog.
#[derive(Clone, Debug, PartialEq)]
pub struct Resubscribe<'a> {
    /// Where the dialog lives (from our tag).
    pub slot: Slot,
    /// Which dialog.
    pub dialog: DialogKey,
    /// CSeq number.
    pub cseq: u32,
    /// Granted lifetime; 0 ends.
    pub expires_s: u32,
    /// Remote target and flow from here on.
    pub target: &'a [u8],
}
