//! The log's and the snapshot's format, versioned, by hand.
//!
//! Numbers are little-endian and of fixed size; texts carry their length before them. An entry begins
//! with its version; each request of a batch carries its length, so that fields a later release adds at
//! a request's end are passed over. Tags are never used again for another meaning (house D19).

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::command::{
    Act, Audit, Binding, Bindings, Command, Entry, Leader, Publish, Register, Request, Resubscribe, Subscribe, Ticket,
};
use super::outcome::{Outcome, Refusal, RequestKey};
use super::slots::{Presentity, SlotTable};
use crate::presence::endpoint::Endpoint;
use crate::presence::publication::{Content, EntityTag, Publication, TagPolicy};
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{Dialog, DialogKey, EndReason, Format, LocalTag, Package};
use crate::time::Timestamp;

/// The version of entries we write, and the newest we read.
pub const VERSION: u8 = 1;

/// Why bytes cannot be read: a newer release wrote them, or they are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decoded at byte {at}: expected {what}")]
pub struct CodecError {
    /// Where.
    pub at: usize,
    /// What was expected there.
    pub what: &'static str,
}

/// Takes values off the front of borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    fn error(&self, what: &'static str) -> CodecError {
        CodecError { at: self.at, what }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CodecError> {
        let error = self.error(what);
        let (array, rest) = self.bytes.split_first_chunk::<N>().ok_or(error)?;
        self.bytes = rest;
        self.at += N;
        Ok(*array)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, CodecError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, CodecError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, CodecError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, CodecError> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn u128(&mut self, what: &'static str) -> Result<u128, CodecError> {
        self.array(what).map(u128::from_le_bytes)
    }

    /// Bytes behind their length.
    pub(super) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], CodecError> {
        let length = self.u32(what)? as usize;
        let error = self.error(what);
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or(error)?;
        self.bytes = rest;
        self.at += length;
        Ok(bytes)
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, CodecError> {
        let error = self.error(what);
        std::str::from_utf8(self.bytes(what)?).map_err(|_| error)
    }

    fn time(&mut self, what: &'static str) -> Result<Timestamp, CodecError> {
        self.u64(what).map(Timestamp)
    }

    fn slot(&mut self) -> Result<Slot, CodecError> {
        let error = self.error("a slot");
        Slot::new(self.u16("a slot")?).ok_or(error)
    }

    fn package(&mut self) -> Result<Package, CodecError> {
        let error = self.error("an event package");
        Package::from_number(self.u8("an event package")?).ok_or(error)
    }

    fn format(&mut self) -> Result<Format, CodecError> {
        let error = self.error("a document format");
        Format::from_number(self.u8("a document format")?).ok_or(error)
    }

    fn tag(&mut self) -> Result<EntityTag, CodecError> {
        Ok(EntityTag { salt: self.u32("an entity-tag")?, index: self.u64("an entity-tag")?, position: self.u16("an entity-tag")? })
    }

    fn local_tag(&mut self) -> Result<LocalTag, CodecError> {
        Ok(LocalTag::new(self.slot()?, self.u64("a local tag")?))
    }

    fn end(&self, what: &'static str) -> Result<(), CodecError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.error(what)) }
    }
}

fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("no part of a message is 4 GiB"));
    out.put_slice(bytes);
}

fn put_tag(tag: EntityTag, out: &mut BytesMut) {
    out.put_u32_le(tag.salt);
    out.put_u64_le(tag.index);
    out.put_u16_le(tag.position);
}

fn put_local_tag(tag: LocalTag, out: &mut BytesMut) {
    out.put_u16_le(tag.slot().number());
    out.put_u64_le(tag.chance());
}

/// Writes something behind its length.
fn put_sized(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32_le(0);
    write(out);
    let length = u32::try_from(out.len() - at - 4).expect("no request is 4 GiB");
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

mod act {
    pub(super) const TERM_START: u8 = 1;
    pub(super) const REQUESTS: u8 = 2;
    pub(super) const ATTEST: u8 = 3;
}

mod command_tag {
    pub(super) const REGISTER: u8 = 1;
    pub(super) const PUBLISH: u8 = 2;
    pub(super) const SUBSCRIBE: u8 = 3;
    pub(super) const RESUBSCRIBE: u8 = 4;
    pub(super) const END_DIALOG: u8 = 5;
}

/// Appends one request, as the body of an entry holds it. The ingress encodes; the proposer joins.
pub fn encode_request(request: &Request<'_>, out: &mut BytesMut) {
    put_sized(out, |out| {
        out.put_u128_le(request.key.0);
        out.put_u64_le(request.ticket.0);
        match &request.command {
            Command::Register(register) => encode_register(register, out),
            Command::Publish(publish) => encode_publish(publish, out),
            Command::Subscribe(subscribe) => encode_subscribe(subscribe, out),
            Command::Resubscribe(resubscribe) => {
                out.put_u8(command_tag::RESUBSCRIBE);
                out.put_u16_le(resubscribe.slot.number());
                out.put_u128_le(resubscribe.dialog.0);
                out.put_u32_le(resubscribe.cseq);
                out.put_u32_le(resubscribe.expires_s);
                put_bytes(resubscribe.target, out);
            }
            Command::EndDialog { slot, dialog, reason } => {
                out.put_u8(command_tag::END_DIALOG);
                out.put_u16_le(slot.number());
                out.put_u128_le(dialog.0);
                out.put_u8(*reason as u8);
            }
        }
    });
}

fn encode_register(register: &Register<'_>, out: &mut BytesMut) {
    out.put_u8(command_tag::REGISTER);
    put_bytes(register.aor.as_bytes(), out);
    out.put_u64_le(register.call_id);
    out.put_u32_le(register.cseq);
    match &register.bindings {
        Bindings::Nothing => out.put_u8(0),
        Bindings::RemoveAll => out.put_u8(1),
        Bindings::Each(bindings) => {
            out.put_u8(2);
            out.put_u16_le(u16::try_from(bindings.len()).expect("a message has at most 65,535 bytes"));
            for binding in bindings {
                out.put_u64_le(binding.binding);
                put_bytes(binding.contact.as_bytes(), out);
                put_bytes(binding.instance.as_bytes(), out);
                out.put_u16_le(binding.q);
                put_bytes(binding.path.as_bytes(), out);
                out.put_u32_le(binding.expires_s);
                put_bytes(binding.target, out);
            }
        }
    }
}

fn encode_publish(publish: &Publish<'_>, out: &mut BytesMut) {
    out.put_u8(command_tag::PUBLISH);
    put_bytes(publish.presentity.as_bytes(), out);
    out.put_u8(publish.package as u8);
    let keep = publish.tag_policy == TagPolicy::Keep;
    out.put_u8(u8::from(publish.if_match.is_some()) | u8::from(publish.content.is_some()) << 1 | u8::from(keep) << 2);
    out.put_u32_le(publish.expires_s);
    if let Some(tag) = publish.if_match {
        put_tag(tag, out);
    }
    if let Some(content) = publish.content {
        put_bytes(content, out);
    }
}

fn encode_subscribe(subscribe: &Subscribe<'_>, out: &mut BytesMut) {
    out.put_u8(command_tag::SUBSCRIBE);
    put_bytes(subscribe.presentity.as_bytes(), out);
    put_bytes(subscribe.watcher.as_bytes(), out);
    out.put_u8(subscribe.package as u8);
    out.put_u8(subscribe.format as u8);
    out.put_u128_le(subscribe.dialog.0);
    put_local_tag(subscribe.local_tag, out);
    out.put_u32_le(subscribe.cseq);
    out.put_u32_le(subscribe.expires_s);
    put_bytes(subscribe.route, out);
    put_bytes(subscribe.target, out);
}

/// Appends a whole entry whose requests were encoded before: `count` of them in `requests`.
pub fn encode_batch<'r>(at: Timestamp, count: u16, requests: impl IntoIterator<Item = &'r [u8]>, out: &mut BytesMut) {
    out.put_u8(VERSION);
    out.put_u64_le(at.0);
    out.put_u8(act::REQUESTS);
    out.put_u16_le(count);
    for encoded in requests {
        out.put_slice(encoded);
    }
}

/// Appends a whole entry with any act.
pub fn encode_entry(at: Timestamp, what: &Act<'_>, out: &mut BytesMut) {
    match what {
        Act::Requests(requests) => {
            encode_batch(at, u16::try_from(requests.len()).expect("at most 512 requests"), [], out);
            for request in requests {
                encode_request(request, out);
            }
        }
        Act::TermStart { leader, salt } => {
            out.put_u8(VERSION);
            out.put_u64_le(at.0);
            out.put_u8(act::TERM_START);
            out.put_u64_le(leader.node);
            out.put_u64_le(leader.life);
            out.put_u32_le(*salt);
        }
        Act::Attest(audit) => {
            out.put_u8(VERSION);
            out.put_u64_le(at.0);
            out.put_u8(act::ATTEST);
            put_audit(audit, out);
        }
    }
}

pub(super) fn put_audit(audit: &Audit, out: &mut BytesMut) {
    out.put_u64_le(audit.index);
    out.put_u64_le(audit.slot_digest);
    out.put_u64_le(audit.history_digest);
}

pub(super) fn audit(reader: &mut Reader<'_>) -> Result<Audit, CodecError> {
    Ok(Audit {
        index: reader.u64("an audit")?,
        slot_digest: reader.u64("an audit")?,
        history_digest: reader.u64("an audit")?,
    })
}

/// Reads an entry; borrowed parts are slices of `bytes`.
///
/// # Errors
/// [`CodecError`] for anything that [`encode_entry`] of this or an older release did not write.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry<'_>, CodecError> {
    let mut reader = Reader::new(bytes);
    if reader.u8("a version")? != VERSION {
        return Err(CodecError { at: 0, what: "an entry version that this release knows" });
    }
    let at = reader.time("a time")?;
    let act = match reader.u8("an act")? {
        act::TERM_START => Act::TermStart {
            leader: Leader { node: reader.u64("a leader")?, life: reader.u64("a leader")? },
            salt: reader.u32("a salt")?,
        },
        act::REQUESTS => {
            let count = reader.u16("a count of requests")?;
            // The count is what the bytes say; what they hold decides how much is made room for.
            let mut requests = Vec::with_capacity(usize::from(count).min(reader.bytes.len() / 29));
            for _ in 0..count {
                let base = reader.at + 4;
                let request = reader.bytes("a request")?;
                requests.push(decode_request(request).map_err(|error| CodecError { at: base + error.at, ..error })?);
            }
            Act::Requests(requests)
        }
        act::ATTEST => Act::Attest(audit(&mut reader)?),
        _ => return Err(CodecError { at: reader.at - 1, what: "an act that this release knows" }),
    };
    reader.end("the end of the entry")?;
    Ok(Entry { at, act })
}

fn decode_request(bytes: &[u8]) -> Result<Request<'_>, CodecError> {
    let reader = &mut Reader::new(bytes);
    let key = RequestKey(reader.u128("a request key")?);
    let ticket = Ticket(reader.u64("a ticket")?);
    let command = match reader.u8("a command")? {
        command_tag::REGISTER => Command::Register(Register {
            aor: reader.text("an address")?,
            call_id: reader.u64("a Call-ID")?,
            cseq: reader.u32("a CSeq")?,
            bindings: decode_bindings(reader)?,
        }),
        command_tag::PUBLISH => Command::Publish(decode_publish(reader)?),
        command_tag::SUBSCRIBE => Command::Subscribe(Subscribe {
            presentity: reader.text("a presentity")?,
            watcher: reader.text("a watcher")?,
            package: reader.package()?,
            format: reader.format()?,
            dialog: DialogKey(reader.u128("a dialog")?),
            local_tag: reader.local_tag()?,
            cseq: reader.u32("a CSeq")?,
            expires_s: reader.u32("an interval")?,
            route: reader.bytes("a route")?,
            target: reader.bytes("a target")?,
        }),
        command_tag::RESUBSCRIBE => Command::Resubscribe(Resubscribe {
            slot: reader.slot()?,
            dialog: DialogKey(reader.u128("a dialog")?),
            cseq: reader.u32("a CSeq")?,
            expires_s: reader.u32("an interval")?,
            target: reader.bytes("a target")?,
        }),
        command_tag::END_DIALOG => {
            let slot = reader.slot()?;
            let dialog = DialogKey(reader.u128("a dialog")?);
            let error = reader.error("a reason");
            let reason = EndReason::from_number(reader.u8("a reason")?).ok_or(error)?;
            Command::EndDialog { slot, dialog, reason }
        }
        _ => return Err(CodecError { at: reader.at - 1, what: "a command that this release knows" }),
    };
    Ok(Request { key, ticket, command })
}

fn decode_bindings<'a>(reader: &mut Reader<'a>) -> Result<Bindings<'a>, CodecError> {
    Ok(match reader.u8("bindings")? {
        0 => Bindings::Nothing,
        1 => Bindings::RemoveAll,
        2 => {
            let count = reader.u16("a count of bindings")?;
            let mut bindings = Vec::with_capacity(usize::from(count).min(reader.bytes.len() / 30));
            for _ in 0..count {
                bindings.push(Binding {
                    binding: reader.u64("a binding")?,
                    contact: reader.text("a contact")?,
                    instance: reader.text("an instance")?,
                    q: reader.u16("a preference")?,
                    path: reader.text("a path")?,
                    expires_s: reader.u32("an interval")?,
                    target: reader.bytes("a target")?,
                });
            }
            Bindings::Each(bindings)
        }
        _ => return Err(CodecError { at: reader.at - 1, what: "bindings that this release knows" }),
    })
}

fn decode_publish<'a>(reader: &mut Reader<'a>) -> Result<Publish<'a>, CodecError> {
    let presentity = reader.text("a presentity")?;
    let package = reader.package()?;
    let flags = reader.u8("flags")?;
    let expires_s = reader.u32("an interval")?;
    let if_match = if flags & 1 == 0 { None } else { Some(reader.tag()?) };
    let content = if flags & 2 == 0 { None } else { Some(reader.bytes("a content")?) };
    let tag_policy = if flags & 4 == 0 { TagPolicy::Renew } else { TagPolicy::Keep };
    Ok(Publish { presentity, package, if_match, content, expires_s, tag_policy })
}

mod outcome_tag {
    pub(super) const REGISTERED: u8 = 1;
    pub(super) const PUBLISHED: u8 = 2;
    pub(super) const SUBSCRIBED: u8 = 3;
    pub(super) const ENDED: u8 = 4;
    pub(super) const REFUSED: u8 = 5;
}

/// Every refusal with its number, for ever.
const REFUSALS: [(u8, Refusal); 7] = [
    (1, Refusal::NoMatch),
    (2, Refusal::UnknownDialog),
    (3, Refusal::OutOfOrder),
    (4, Refusal::TooManyPublications),
    (5, Refusal::TooManyEndpoints),
    (6, Refusal::TooManyWatchers),
    (7, Refusal::ContentTooLarge),
];

pub(super) fn encode_outcome(outcome: &Outcome, out: &mut BytesMut) {
    match outcome {
        Outcome::Registered { endpoints, at } => {
            out.put_u8(outcome_tag::REGISTERED);
            out.put_u64_le(at.0);
            out.put_u16_le(endpoints.len() as u16);
            for endpoint in endpoints.iter() {
                encode_endpoint(endpoint, out);
            }
        }
        Outcome::Published { tag, expires_s } => {
            out.put_u8(outcome_tag::PUBLISHED);
            put_tag(*tag, out);
            out.put_u32_le(*expires_s);
        }
        Outcome::Subscribed { local_tag, expires_s } => {
            out.put_u8(outcome_tag::SUBSCRIBED);
            put_local_tag(*local_tag, out);
            out.put_u32_le(*expires_s);
        }
        Outcome::Ended => out.put_u8(outcome_tag::ENDED),
        Outcome::Refused(refusal) => {
            out.put_u8(outcome_tag::REFUSED);
            let number = REFUSALS.iter().find(|(_, known)| known == refusal).map(|(number, _)| *number);
            out.put_u8(number.expect("every refusal is in the table: a test counts them"));
        }
    }
}

pub(super) fn decode_outcome(reader: &mut Reader<'_>) -> Result<Outcome, CodecError> {
    Ok(match reader.u8("an outcome")? {
        outcome_tag::REGISTERED => {
            let at = reader.time("a time")?;
            let count = reader.u16("a count of endpoints")?;
            let endpoints: Result<Arc<[Endpoint]>, _> = (0..count).map(|_| decode_endpoint(reader)).collect();
            Outcome::Registered { endpoints: endpoints?, at }
        }
        outcome_tag::PUBLISHED => Outcome::Published { tag: reader.tag()?, expires_s: reader.u32("an interval")? },
        outcome_tag::SUBSCRIBED => {
            Outcome::Subscribed { local_tag: reader.local_tag()?, expires_s: reader.u32("an interval")? }
        }
        outcome_tag::ENDED => Outcome::Ended,
        outcome_tag::REFUSED => {
            let error = reader.error("a refusal");
            let number = reader.u8("a refusal")?;
            Outcome::Refused(REFUSALS.iter().find(|(known, _)| *known == number).ok_or(error)?.1)
        }
        _ => return Err(CodecError { at: reader.at - 1, what: "an outcome that this release knows" }),
    })
}

fn encode_endpoint(endpoint: &Endpoint, out: &mut BytesMut) {
    out.put_u64_le(endpoint.binding);
    put_bytes(endpoint.contact.as_bytes(), out);
    put_bytes(endpoint.instance.as_bytes(), out);
    out.put_u16_le(endpoint.q);
    put_bytes(endpoint.path.as_bytes(), out);
    out.put_u64_le(endpoint.call_id);
    out.put_u32_le(endpoint.cseq);
    out.put_u64_le(endpoint.expires_at.0);
    put_bytes(&endpoint.target, out);
}

fn decode_endpoint(reader: &mut Reader<'_>) -> Result<Endpoint, CodecError> {
    Ok(Endpoint {
        binding: reader.u64("a binding")?,
        contact: reader.text("a contact")?.into(),
        instance: reader.text("an instance")?.into(),
        q: reader.u16("a preference")?,
        path: reader.text("a path")?.into(),
        call_id: reader.u64("a Call-ID")?,
        cseq: reader.u32("a CSeq")?,
        expires_at: reader.time("a deadline")?,
        target: reader.bytes("a target")?.into(),
    })
}

/// A slot's state: its presentities, then its dialogs. Who watches whom follows from the dialogs.
pub(super) fn encode_slot(table: &SlotTable, out: &mut BytesMut) {
    out.put_u32_le(table.presentities.len() as u32);
    for (aor, presentity) in &table.presentities {
        put_bytes(aor.as_str().as_bytes(), out);
        out.put_u64_le(presentity.revision);
        out.put_u32_le(presentity.next_number);
        out.put_u16_le(presentity.publications.len() as u16);
        for (package, publication) in &presentity.publications {
            out.put_u8(*package as u8);
            put_tag(publication.tag, out);
            out.put_u64_le(publication.expires_at.0);
            out.put_u64_le(publication.content.published_at.0);
            out.put_u32_le(publication.content.number);
            put_bytes(&publication.content.stored, out);
        }
        out.put_u16_le(presentity.endpoints.len() as u16);
        for endpoint in &presentity.endpoints {
            encode_endpoint(endpoint, out);
        }
    }
    out.put_u32_le(table.dialogs.len() as u32);
    for (key, dialog) in &table.dialogs {
        out.put_u128_le(key.0);
        put_bytes(dialog.presentity.as_str().as_bytes(), out);
        put_bytes(dialog.watcher.as_str().as_bytes(), out);
        out.put_u8(dialog.package as u8);
        out.put_u8(dialog.format as u8);
        put_local_tag(dialog.local_tag, out);
        out.put_u32_le(dialog.local_cseq);
        out.put_u32_le(dialog.remote_cseq);
        out.put_u64_le(dialog.expires_at.0);
        out.put_u64_le(dialog.notified_at.0);
        put_bytes(&dialog.route, out);
        put_bytes(&dialog.target, out);
    }
}

pub(super) fn decode_slot(reader: &mut Reader<'_>) -> Result<SlotTable, CodecError> {
    let mut table = SlotTable::default();
    for _ in 0..reader.u32("a count of presentities")? {
        let aor = Aor::from_canonical(reader.text("an address")?);
        let mut presentity =
            Presentity { revision: reader.u64("a revision")?, next_number: reader.u32("a number")?, ..Presentity::default() };
        let publications = reader.u16("a count of publications")?;
        presentity.publications.reserve_exact(usize::from(publications).min(reader.bytes.len() / 39));
        for _ in 0..publications {
            let package = reader.package()?;
            let tag = reader.tag()?;
            let expires_at = reader.time("a deadline")?;
            let published_at = reader.time("a time")?;
            let number = reader.u32("a number")?;
            let stored = reader.bytes("a content")?.into();
            let content = Arc::new(Content { stored, published_at, number });
            presentity.publications.push((package, Publication { tag, expires_at, content }));
        }
        for _ in 0..reader.u16("a count of endpoints")? {
            presentity.endpoints.push(decode_endpoint(reader)?);
        }
        presentity.endpoints.shrink_to_fit();
        table.presentities.insert(aor, Arc::new(presentity));
    }
    for _ in 0..reader.u32("a count of dialogs")? {
        let key = DialogKey(reader.u128("a dialog")?);
        let presentity = reader.text("a presentity")?;
        let error = reader.error("a presentity of this slot");
        let own = table.own_aor(presentity).ok_or(error)?.clone();
        let dialog = Dialog {
            presentity: own,
            watcher: Aor::from_canonical(reader.text("a watcher")?),
            package: reader.package()?,
            format: reader.format()?,
            local_tag: reader.local_tag()?,
            local_cseq: reader.u32("a CSeq")?,
            remote_cseq: reader.u32("a CSeq")?,
            expires_at: reader.time("a deadline")?,
            notified_at: reader.time("a time")?,
            route: reader.bytes("a route")?.into(),
            target: reader.bytes("a target")?.into(),
        };
        table.presentity_mut(presentity).watchers.insert(key);
        table.dialogs.insert(key, dialog);
    }
    reader.end("the end of the slot")?;
    Ok(table)
}
