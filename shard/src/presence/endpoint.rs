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

impl Endpoint {
    /// The endpoint that one Contact of a REGISTER makes.
    #[must_use]
    pub fn bind(binding: &Binding<'_>, register: &Register<'_>, now: Timestamp) -> Endpoint {
        Endpoint {
            binding: binding.binding,
            contact: binding.contact.into(),
            instance: binding.instance.into(),
            q: binding.q,
            path: binding.path.into(),
            call_id: register.call_id,
            cseq: register.cseq,
            expires_at: now.plus_s(binding.expires_s),
            target: binding.target.into(),
        }
    }
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
    /// What to change; [`Bindings::Nothing`] asks for the list.
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

/// One Contact of a REGISTER; fields as in [`Endpoint`].
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
