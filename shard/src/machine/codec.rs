//! The log's format, versioned, by hand.
//!
//! ```text
//! entry    := version:u8 at:u64 act:u8 ...
//!   1 term start   node:u64 life:u64 salt:u32
//!   2 requests     count:u16 request*
//!   3 attest       slot:u16 slot_digest:u64 history_digest:u64
//! request  := length:u32 command:u8 key:u128 ticket:u64 ...
//!   1 register     aor call_id:u64 cseq:u32 (0 nothing | 1 all | 2 count:u32 binding*)
//!   2 publish      presentity package:u8 flags:u8 expires:u32 [tag] [content]
//!   3 subscribe    presentity watcher package:u8 format:u8 dialog:u128 tag_slot:u16 tag_chance:u64
//!                  cseq:u32 expires:u32 route target
//!   4 resubscribe  slot:u16 dialog:u128 cseq:u32 expires:u32 target
//!   5 end dialog   slot:u16 dialog:u128 reason:u8
//!   6 to 31, 55: enhanced presence and documents, see `codec_enhanced.rs`
//!  32 move slot    slot:u16 move:u64 step:u8 [part:u16 parts:u16 sum:u32 bytes]
//! binding  := length:u32 binding:u64 contact instance q:u16 path expires:u32 target
//! tag      := salt:u32 index:u64 position:u16
//! ```
//!
//! Appended since the first release: to a register its optional profile, to a binding its optional
//! endpoint, to a publish its bearing, to a subscribe and a resubscribe their optional extras. Behind those
//! stand fields by number (`number:u8 length:u32 ...`), each only where there is anything: 60 is what is asked to
//! save traffic. Numbers that are not known are skipped.
//!
//! Numbers are little-endian; text and opaque bytes stand behind their length in 32 bits. House D19:
//! numbers of acts, commands and flags are never used again for something else; a later release
//! appends fields, and whatever stands behind the fields that we know, within an act, request or
//! binding, is skipped. `shard/tests/fixtures/codec/` holds an entry of each kind, to be read for ever.

use bytes::{BufMut, BytesMut};

use crate::machine::codec_enhanced;
use crate::machine::command::{
    Act, Binding, Bindings, Command, Entry, Extras, Leader, Publish, Register, Request,
    Resubscribe, Subscribe, Ticket,
};
use crate::machine::cursor::{Cursor, Unreadable, put_slice};
use crate::machine::moves::Step;
use crate::machine::outcome::RequestKey;
use crate::machine::values;
use crate::presence::bearing::Bearing;
use crate::presence::publication::{EntityTag, TagPolicy};
use crate::slot::Slot;
use crate::subscription::dialog::{DialogKey, EndReason, Format, LocalTag, Package};
use crate::subscription::savers::Asked;
use crate::time::Timestamp;

/// The version that this release writes, and the newest that it reads.
const VERSION: u8 = 1;

/// Bytes of the smallest request: what bounds the memory that a count may ask for.
const REQUEST_BYTES_MIN: usize = 4 + 1 + 16 + 8;

/// Bytes of the smallest binding.
const BINDING_BYTES_MIN: usize = 4 + 8 + 4 + 4 + 2 + 4 + 4 + 4;

mod act {
    pub(super) const TERM_START: u8 = 1;
    pub(super) const REQUESTS: u8 = 2;
    pub(super) const ATTEST: u8 = 3;
}

mod command {
    pub(super) const REGISTER: u8 = 1;
    pub(super) const PUBLISH: u8 = 2;
    pub(super) const SUBSCRIBE: u8 = 3;
    pub(super) const RESUBSCRIBE: u8 = 4;
    pub(super) const END_DIALOG: u8 = 5;
    pub(super) const MOVE_SLOT: u8 = 48;
}

/// Steps of a slot's move.
mod step {
    pub(super) const FREEZE: u8 = 1;
    pub(super) const THAW: u8 = 2;
    pub(super) const DROP: u8 = 3;
    pub(super) const IMPORT: u8 = 4;
    pub(super) const OPEN: u8 = 5;
    pub(super) const ABANDON: u8 = 6;
}

mod bindings {
    pub(super) const NOTHING: u8 = 0;
    pub(super) const REMOVE_ALL: u8 = 1;
    pub(super) const EACH: u8 = 2;
}

/// Flags of a PUBLISH.
mod publish {
    pub(super) const HAS_TAG: u8 = 1;
    pub(super) const HAS_CONTENT: u8 = 2;
    pub(super) const KEEPS_TAG: u8 = 4;
    pub(super) const REPLACES: u8 = 8;
}

/// Why an entry cannot be read: a newer release wrote it, or it is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log entry cannot be decoded at byte {at}: {what} was expected")]
pub struct CodecError {
    /// Where.
    pub at: usize,
    /// What was expected there.
    pub what: &'static str,
}

impl From<Unreadable> for CodecError {
    fn from(Unreadable { at, what }: Unreadable) -> CodecError {
        CodecError { at, what }
    }
}

/// Appends one request, as the body of an entry holds it. The ingress encodes; the proposer joins.
pub fn encode_request(request: &Request<'_>, out: &mut BytesMut) {
    // Room for all of it at once, so that the puts below do not grow it step by step.
    out.reserve(match &request.command {
        Command::Register(_) => 512,
        Command::Publish(publish) => {
            64 + publish.presentity.len() + publish.content.map_or(0, <[u8]>::len)
        }
        Command::Subscribe(subscribe) => {
            let addresses = subscribe.presentity.len() + subscribe.watcher.len();
            96 + addresses + subscribe.route.len() + subscribe.target.len()
        }
        Command::Resubscribe(resubscribe) => 64 + resubscribe.target.len(),
        Command::EndDialog { .. } => 64,
        Command::MoveSlot {
            step: Step::Import { bytes, .. },
            ..
        } => 64 + bytes.len(),
        Command::MoveSlot { .. } => 64,
        Command::SetDocument(request) => 1_024 + 2 * request.content.map_or(0, <[u8]>::len),
        _ => 1_024,
    });
    behind_length(out, |out| {
        out.put_u8(number_of(&request.command));
        out.put_u128_le(request.key.0);
        out.put_u64_le(request.ticket.0);
        put_command(&request.command, out);
    });
}

/// Appends a command alone, for a parcel: its number and what it says.
pub(super) fn encode_command(command: &Command<'_>, out: &mut BytesMut) {
    out.put_u8(number_of(command));
    put_command(command, out);
}

/// Appends the request that brings a parcel's command into a log.
pub fn encode_parcel(command: &[u8], key: RequestKey, ticket: Ticket, out: &mut BytesMut) {
    let Some((number, says)) = command.split_first() else {
        return;
    };
    behind_length(out, |out| {
        out.put_u8(*number);
        out.put_u128_le(key.0);
        out.put_u64_le(ticket.0);
        out.put_slice(says);
    });
}

fn number_of(command: &Command<'_>) -> u8 {
    match command {
        Command::Register(_) => command::REGISTER,
        Command::Publish(_) => command::PUBLISH,
        Command::Subscribe(_) => command::SUBSCRIBE,
        Command::Resubscribe(_) => command::RESUBSCRIBE,
        Command::EndDialog { .. } => command::END_DIALOG,
        Command::MoveSlot { .. } => command::MOVE_SLOT,
        enhanced => codec_enhanced::number_of(enhanced),
    }
}

fn put_command(command: &Command<'_>, out: &mut BytesMut) {
    match command {
        Command::Register(register) => encode_register(register, out),
        Command::Publish(publish) => encode_publish(publish, out),
        Command::Subscribe(subscribe) => encode_subscribe(subscribe, out),
        Command::Resubscribe(resubscribe) => {
            out.put_u16_le(resubscribe.slot.number());
            out.put_u128_le(resubscribe.dialog.0);
            out.put_u32_le(resubscribe.cseq);
            out.put_u32_le(resubscribe.expires_s);
            put_slice(resubscribe.target, out);
            values::put_option(
                resubscribe.extras.as_deref(),
                out,
                codec_enhanced::put_extras,
            );
            put_savers(resubscribe.savers.as_deref(), out);
        }
        Command::EndDialog {
            slot,
            dialog,
            reason,
        } => {
            out.put_u16_le(slot.number());
            out.put_u128_le(dialog.0);
            out.put_u8(*reason as u8);
        }
        Command::MoveSlot { slot, number, step } => {
            out.put_u16_le(slot.number());
            out.put_u64_le(*number);
            put_step(*step, out);
        }
        enhanced => codec_enhanced::put(enhanced, out),
    }
}

fn put_step(step: Step<'_>, out: &mut BytesMut) {
    match step {
        Step::Freeze => out.put_u8(step::FREEZE),
        Step::Thaw => out.put_u8(step::THAW),
        Step::Drop => out.put_u8(step::DROP),
        Step::Import {
            part,
            parts,
            sum,
            bytes,
        } => {
            out.put_u8(step::IMPORT);
            out.put_u16_le(part);
            out.put_u16_le(parts);
            out.put_u32_le(sum);
            put_slice(bytes, out);
        }
        Step::Open => out.put_u8(step::OPEN),
        Step::Abandon => out.put_u8(step::ABANDON),
    }
}

fn step<'a>(cursor: &mut Cursor<'a>) -> Result<Step<'a>, Unreadable> {
    Ok(match cursor.u8()? {
        step::FREEZE => Step::Freeze,
        step::THAW => Step::Thaw,
        step::DROP => Step::Drop,
        step::IMPORT => Step::Import {
            part: cursor.u16()?,
            parts: cursor.u16()?,
            sum: cursor.u32()?,
            bytes: cursor.slice()?,
        },
        step::OPEN => Step::Open,
        step::ABANDON => Step::Abandon,
        _ => return cursor.wrong("a step's number before here"),
    })
}

fn encode_register(register: &Register<'_>, out: &mut BytesMut) {
    put_slice(register.aor.as_bytes(), out);
    out.put_u64_le(register.call_id);
    out.put_u32_le(register.cseq);
    match &register.bindings {
        Bindings::Nothing => out.put_u8(bindings::NOTHING),
        Bindings::RemoveAll => out.put_u8(bindings::REMOVE_ALL),
        Bindings::Each(each) => {
            out.put_u8(bindings::EACH);
            out.put_u32_le(each.len() as u32);
            for binding in each {
                behind_length(out, |out| {
                    out.put_u64_le(binding.binding);
                    put_slice(binding.contact.as_bytes(), out);
                    put_slice(binding.instance.as_bytes(), out);
                    out.put_u16_le(binding.q);
                    put_slice(binding.path.as_bytes(), out);
                    out.put_u32_le(binding.expires_s);
                    put_slice(binding.target, out);
                    values::put_endpoint(binding.endpoint_id, out);
                });
            }
        }
    }
    values::put_option(register.profile.as_ref(), out, values::put_profile);
}

fn encode_publish(publish: &Publish<'_>, out: &mut BytesMut) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    put_slice(publish.presentity.as_bytes(), out);
    out.put_u8(publish.package as u8);
    out.put_u8(
        flag(publish.if_match.is_some(), publish::HAS_TAG)
            | flag(publish.content.is_some(), publish::HAS_CONTENT)
            | flag(publish.tag_policy == TagPolicy::Keep, publish::KEEPS_TAG)
            | flag(publish.tag_policy == TagPolicy::Replace, publish::REPLACES),
    );
    out.put_u32_le(publish.expires_s);
    if let Some(tag) = publish.if_match {
        out.put_u32_le(tag.salt);
        out.put_u64_le(tag.index);
        out.put_u16_le(tag.position);
    }
    if let Some(content) = publish.content {
        put_slice(content, out);
    }
    out.put_slice(&publish.bearing.numbers());
}

fn encode_subscribe(subscribe: &Subscribe<'_>, out: &mut BytesMut) {
    put_slice(subscribe.presentity.as_bytes(), out);
    put_slice(subscribe.watcher.as_bytes(), out);
    out.put_u8(subscribe.package as u8);
    out.put_u8(subscribe.format as u8);
    out.put_u128_le(subscribe.dialog.0);
    out.put_u16_le(subscribe.local_tag.slot().number());
    out.put_u64_le(subscribe.local_tag.chance());
    out.put_u32_le(subscribe.cseq);
    out.put_u32_le(subscribe.expires_s);
    put_slice(subscribe.route, out);
    put_slice(subscribe.target, out);
    values::put_option(subscribe.extras.as_deref(), out, codec_enhanced::put_extras);
    put_savers(subscribe.savers.as_deref(), out);
}

/// Numbers of fields that stand at the end, where there is anything in them.
mod field {
    pub(super) const SAVERS: u8 = 60;
}

/// What is asked to save traffic, where there is anything.
fn put_savers(asked: Option<&Asked>, out: &mut BytesMut) {
    if let Some(asked) = asked {
        out.put_u8(field::SAVERS);
        behind_length(out, |out| values::put_asked(asked, out));
    }
}

fn savers(cursor: &mut Cursor<'_>) -> Result<Option<Box<Asked>>, Unreadable> {
    while cursor.left() > 0 {
        let number = cursor.u8()?;
        let Ok(mut field) = cursor.part() else {
            // Nothing with a number: of a release that writes otherwise.
            return Ok(None);
        };
        if number == field::SAVERS {
            return Ok(Some(Box::new(values::asked(&mut field)?)));
        }
    }
    Ok(None)
}

/// Appends what `write` writes, behind its length.
fn behind_length(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32_le(0);
    write(out);
    let length = u32::try_from(out.len() - start - 4).expect("a request is far smaller than 4 GB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Appends a whole entry whose requests were encoded before: `count` of them in `requests`.
pub fn encode_batch(at: Timestamp, count: u16, requests: &[&[u8]], out: &mut BytesMut) {
    out.reserve(12 + requests.iter().map(|bytes| bytes.len()).sum::<usize>());
    encode_head(at, act::REQUESTS, out);
    out.put_u16_le(count);
    for bytes in requests {
        out.put_slice(bytes);
    }
}

/// Appends a whole entry with any act.
///
/// # Panics
/// When an entry has more than 65,535 requests; [`crate::presence::limits::ENTRY_REQUESTS_MAX`] is
/// far below.
pub fn encode_entry(at: Timestamp, act: &Act<'_>, out: &mut BytesMut) {
    match act {
        Act::TermStart { leader, salt } => {
            encode_head(at, act::TERM_START, out);
            out.put_u64_le(leader.node);
            out.put_u64_le(leader.life);
            out.put_u32_le(*salt);
        }
        Act::Requests(requests) => {
            encode_head(at, act::REQUESTS, out);
            out.put_u16_le(u16::try_from(requests.len()).expect("an entry has few requests"));
            for request in requests {
                encode_request(request, out);
            }
        }
        Act::Attest {
            slot,
            slot_digest,
            history_digest,
        } => {
            encode_head(at, act::ATTEST, out);
            out.put_u16_le(slot.number());
            out.put_u64_le(*slot_digest);
            out.put_u64_le(*history_digest);
        }
    }
}

fn encode_head(at: Timestamp, act: u8, out: &mut BytesMut) {
    out.put_u8(VERSION);
    out.put_u64_le(at.0);
    out.put_u8(act);
}

/// Reads an entry; borrowed parts are slices of `bytes`.
///
/// # Errors
/// [`CodecError`] for anything that [`encode_entry`] of this or an older release did not write.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry<'_>, CodecError> {
    Ok(entry(&mut Cursor::new(bytes))?)
}

fn entry<'a>(cursor: &mut Cursor<'a>) -> Result<Entry<'a>, Unreadable> {
    if cursor.u8()? != VERSION {
        return cursor.wrong("version 1 before here");
    }
    let at = Timestamp(cursor.u64()?);
    let act = match cursor.u8()? {
        act::TERM_START => {
            let leader = Leader {
                node: cursor.u64()?,
                life: cursor.u64()?,
            };
            Act::TermStart {
                leader,
                salt: cursor.u32()?,
            }
        }
        act::REQUESTS => {
            let count = usize::from(cursor.u16()?);
            if count > cursor.left() / REQUEST_BYTES_MIN {
                return cursor.wrong("fewer requests");
            }
            let mut requests = Vec::with_capacity(count);
            for _ in 0..count {
                requests.push(request(cursor)?);
            }
            cursor.end()?;
            Act::Requests(requests)
        }
        act::ATTEST => Act::Attest {
            slot: slot(cursor)?,
            slot_digest: cursor.u64()?,
            history_digest: cursor.u64()?,
        },
        _ => return cursor.wrong("an act's number before here"),
    };
    Ok(Entry { at, act })
}

/// The command of an encoded request; `None` for what is none.
#[must_use]
pub fn command_of(request: &[u8]) -> Option<Command<'_>> {
    Some(self::request(&mut Cursor::new(request)).ok()?.command)
}

/// The slot that an encoded request is about ([`Command::home`]): whoever has sent it may ask where that is
/// now. `None` for what is no request.
#[must_use]
pub fn home_of(request: &[u8]) -> Option<Slot> {
    command_of(request)?.home()
}

fn request<'a>(cursor: &mut Cursor<'a>) -> Result<Request<'a>, Unreadable> {
    let cursor = &mut cursor.part()?;
    let number = cursor.u8()?;
    let key = RequestKey(cursor.u128()?);
    let ticket = Ticket(cursor.u64()?);
    let command = match number {
        command::REGISTER => Command::Register(register(cursor)?),
        command::PUBLISH => Command::Publish(publication(cursor)?),
        command::SUBSCRIBE => Command::Subscribe(subscription(cursor)?),
        command::RESUBSCRIBE => Command::Resubscribe(Resubscribe {
            slot: slot(cursor)?,
            dialog: DialogKey(cursor.u128()?),
            cseq: cursor.u32()?,
            expires_s: cursor.u32()?,
            target: cursor.slice()?,
            extras: appended(cursor, extras)?.flatten(),
            savers: savers(cursor)?,
        }),
        command::END_DIALOG => Command::EndDialog {
            slot: slot(cursor)?,
            dialog: DialogKey(cursor.u128()?),
            reason: match EndReason::from_number(cursor.u8()?) {
                Some(reason) => reason,
                None => return cursor.wrong("a reason's number before here"),
            },
        },
        command::MOVE_SLOT => Command::MoveSlot {
            slot: slot(cursor)?,
            number: cursor.u64()?,
            step: step(cursor)?,
        },
        _ => codec_enhanced::read(number, cursor)?,
    };
    Ok(Request {
        key,
        ticket,
        command,
    })
}

pub(super) fn slot(cursor: &mut Cursor<'_>) -> Result<Slot, Unreadable> {
    match Slot::new(cursor.u16()?) {
        Some(slot) => Ok(slot),
        None => cursor.wrong("a slot's number before here"),
    }
}

fn package(cursor: &mut Cursor<'_>) -> Result<Package, Unreadable> {
    match Package::from_number(cursor.u8()?) {
        Some(package) => Ok(package),
        None => cursor.wrong("a package's number before here"),
    }
}

fn register<'a>(cursor: &mut Cursor<'a>) -> Result<Register<'a>, Unreadable> {
    Ok(Register {
        aor: cursor.text()?,
        call_id: cursor.u64()?,
        cseq: cursor.u32()?,
        bindings: match cursor.u8()? {
            bindings::NOTHING => Bindings::Nothing,
            bindings::REMOVE_ALL => Bindings::RemoveAll,
            bindings::EACH => {
                let count = cursor.count(BINDING_BYTES_MIN)?;
                let mut each = Vec::with_capacity(count);
                for _ in 0..count {
                    each.push(binding(&mut cursor.part()?)?);
                }
                Bindings::Each(each)
            }
            _ => return cursor.wrong("what to do with the bindings"),
        },
        profile: appended(cursor, |cursor| values::option(cursor, values::profile))?.flatten(),
    })
}

fn extras<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Box<Extras<'a>>>, Unreadable> {
    let extras = values::option(cursor, codec_enhanced::extras)?;
    Ok(extras.map(Box::new))
}

/// What was appended since the first release, if it is there.
fn appended<'a, T>(
    cursor: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Unreadable>,
) -> Result<Option<T>, Unreadable> {
    (cursor.left() > 0).then(|| read(cursor)).transpose()
}

fn binding<'a>(cursor: &mut Cursor<'a>) -> Result<Binding<'a>, Unreadable> {
    Ok(Binding {
        binding: cursor.u64()?,
        contact: cursor.text()?,
        instance: cursor.text()?,
        q: cursor.u16()?,
        path: cursor.text()?,
        expires_s: cursor.u32()?,
        target: cursor.slice()?,
        endpoint_id: appended(cursor, values::endpoint)?.flatten(),
    })
}

fn publication<'a>(cursor: &mut Cursor<'a>) -> Result<Publish<'a>, Unreadable> {
    let presentity = cursor.text()?;
    let package = package(cursor)?;
    let flags = cursor.u8()?;
    if flags > publish::HAS_TAG | publish::HAS_CONTENT | publish::KEEPS_TAG | publish::REPLACES {
        return cursor.wrong("known flags before here");
    }
    let is = |flag: u8| flags & flag != 0;
    let expires_s = cursor.u32()?;
    let if_match = if is(publish::HAS_TAG) {
        Some(EntityTag {
            salt: cursor.u32()?,
            index: cursor.u64()?,
            position: cursor.u16()?,
        })
    } else {
        None
    };
    let content = if is(publish::HAS_CONTENT) {
        Some(cursor.slice()?)
    } else {
        None
    };
    let bearing = appended(cursor, |cursor| {
        match Bearing::from_numbers(cursor.u8()?, cursor.u8()?) {
            Some(bearing) => Ok(bearing),
            None => cursor.wrong("a bearing's numbers before here"),
        }
    })?;
    let tag_policy = if is(publish::KEEPS_TAG) {
        TagPolicy::Keep
    } else if is(publish::REPLACES) {
        TagPolicy::Replace
    } else {
        TagPolicy::Renew
    };
    Ok(Publish {
        presentity,
        package,
        if_match,
        content,
        expires_s,
        tag_policy,
        bearing: bearing.unwrap_or_default(),
    })
}

fn subscription<'a>(cursor: &mut Cursor<'a>) -> Result<Subscribe<'a>, Unreadable> {
    Ok(Subscribe {
        presentity: cursor.text()?,
        watcher: cursor.text()?,
        package: package(cursor)?,
        format: match Format::from_number(cursor.u8()?) {
            Some(format) => format,
            None => return cursor.wrong("a format's number before here"),
        },
        dialog: DialogKey(cursor.u128()?),
        local_tag: LocalTag::new(slot(cursor)?, cursor.u64()?),
        cseq: cursor.u32()?,
        expires_s: cursor.u32()?,
        route: cursor.slice()?,
        target: cursor.slice()?,
        extras: appended(cursor, extras)?.flatten(),
        savers: savers(cursor)?,
    })
}
