//! State in bytes: one slot, one outcome, one chunk of remembered outcomes.
//!
//! A snapshot's sections and the digests of the audit are made of these. Equal state gives equal
//! bytes: everything stands in the tables' order, and what is derived (deadlines, counts, the lists
//! of watchers) is left out. Fields are never reordered; the snapshot's version says which there are.

use std::sync::Arc;

use bytes::BufMut;

use crate::machine::cursor::{Cursor, Unreadable, put_slice};
use crate::machine::outcome::{Outcome, Refusal, RequestKey};
use crate::machine::replies::Chunk;
use crate::machine::store::Store;
use crate::machine::table::SlotTable;
use crate::presence::endpoint::{Endpoint, Endpoints};
use crate::presence::presentity::Presentity;
use crate::presence::publication::{Content, EntityTag, Publication, Publications};
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{Dialog, DialogKey, Format, LocalTag, Package};
use crate::time::Timestamp;

// What each thing takes at least, all its texts being empty: a count of more than fits is damage.
const PRESENTITY_BYTES_MIN: usize = 4 + 8 + 4 + 4 + 4 + 4;
const PUBLICATION_BYTES_MIN: usize = 1 + 14 + 8 + 4 + 8 + 4;
const ENDPOINT_BYTES_MIN: usize = 8 + 4 + 4 + 2 + 4 + 8 + 4 + 8 + 4;
const DIALOG_BYTES_MIN: usize = 16 + 4 + 1 + 1 + 8 + 4 + 4 + 8 + 8 + 4 + 4;
const OUTCOME_BYTES_MIN: usize = 16 + 1;

/// Appends a slot's state.
pub(super) fn encode_slot(slot: Slot, table: &SlotTable, out: &mut Vec<u8>) {
    out.put_u16_le(slot.number());
    out.put_u32_le(table.len() as u32);
    for watched in table.iter() {
        let presentity = &watched.presentity;
        put_slice(presentity.aor.as_str().as_bytes(), out);
        out.put_u64_le(presentity.revision);
        out.put_u32_le(presentity.publications.next_number());
        out.put_u32_le(presentity.publications.len() as u32);
        for (package, publication) in presentity.publications.iter() {
            out.put_u8(*package as u8);
            encode_tag(publication.tag, out);
            out.put_u64_le(publication.expires_at.0);
            out.put_u32_le(publication.content.number);
            out.put_u64_le(publication.content.published_at.0);
            put_slice(&publication.content.stored, out);
        }
        encode_endpoints(presentity.endpoints.iter().as_slice(), out);
        out.put_u32_le(watched.watchers().len() as u32);
        for key in watched.watchers() {
            let dialog = table.dialog(*key).expect("a watcher is one of the dialogs");
            out.put_u128_le(key.0);
            encode_dialog(dialog, out);
        }
    }
}

/// Reads a slot's state into an empty slot of `store`.
pub(super) fn decode_slot(cursor: &mut Cursor<'_>, store: &mut Store) -> Result<Slot, Unreadable> {
    let Some(slot) = Slot::new(cursor.u16()?) else {
        return cursor.wrong("a slot's number");
    };
    let presentities = cursor.count(PRESENTITY_BYTES_MIN)?;
    for _ in 0..presentities {
        let aor = Aor::from_canonical(cursor.text()?);
        let revision = cursor.u64()?;
        let next_number = cursor.u32()?;
        let mut publications: Vec<(Package, Publication)> = Vec::new();
        for _ in 0..cursor.count(PUBLICATION_BYTES_MIN)? {
            publications.push(decode_publication(cursor)?);
        }
        let publications = Publications::from_parts(publications, next_number);
        let endpoints = Endpoints::from_ordered(decode_endpoints(cursor)?);
        let mut dialogs = Vec::new();
        for _ in 0..cursor.count(DIALOG_BYTES_MIN)? {
            let key = DialogKey(cursor.u128()?);
            dialogs.push((key, decode_dialog(cursor, slot, &aor)?));
        }
        let presentity = Presentity {
            aor,
            revision,
            publications,
            endpoints,
        };
        if !store.restore(slot, presentity, dialogs) {
            return cursor.wrong("addresses and dialogs of this slot, in order");
        }
    }
    cursor.end()?;
    Ok(slot)
}

fn encode_tag(tag: EntityTag, out: &mut Vec<u8>) {
    out.put_u32_le(tag.salt);
    out.put_u64_le(tag.index);
    out.put_u16_le(tag.position);
}

fn decode_tag(cursor: &mut Cursor<'_>) -> Result<EntityTag, Unreadable> {
    Ok(EntityTag {
        salt: cursor.u32()?,
        index: cursor.u64()?,
        position: cursor.u16()?,
    })
}

fn decode_package(cursor: &mut Cursor<'_>) -> Result<Package, Unreadable> {
    match Package::from_number(cursor.u8()?) {
        Some(package) => Ok(package),
        None => cursor.wrong("a package's number"),
    }
}

fn decode_publication(cursor: &mut Cursor<'_>) -> Result<(Package, Publication), Unreadable> {
    let package = decode_package(cursor)?;
    let tag = decode_tag(cursor)?;
    let expires_at = Timestamp(cursor.u64()?);
    let number = cursor.u32()?;
    let published_at = Timestamp(cursor.u64()?);
    let content = Arc::new(Content {
        stored: cursor.slice()?.into(),
        published_at,
        number,
    });
    Ok((
        package,
        Publication {
            tag,
            expires_at,
            content,
        },
    ))
}

fn encode_endpoints(endpoints: &[Endpoint], out: &mut Vec<u8>) {
    out.put_u32_le(endpoints.len() as u32);
    for endpoint in endpoints {
        out.put_u64_le(endpoint.binding);
        put_slice(endpoint.contact.as_bytes(), out);
        put_slice(endpoint.instance.as_bytes(), out);
        out.put_u16_le(endpoint.q);
        put_slice(endpoint.path.as_bytes(), out);
        out.put_u64_le(endpoint.call_id);
        out.put_u32_le(endpoint.cseq);
        out.put_u64_le(endpoint.expires_at.0);
        put_slice(&endpoint.target, out);
    }
}

fn decode_endpoints(cursor: &mut Cursor<'_>) -> Result<Vec<Endpoint>, Unreadable> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for _ in 0..cursor.count(ENDPOINT_BYTES_MIN)? {
        endpoints.push(Endpoint {
            binding: cursor.u64()?,
            contact: cursor.text()?.into(),
            instance: cursor.text()?.into(),
            q: cursor.u16()?,
            path: cursor.text()?.into(),
            call_id: cursor.u64()?,
            cseq: cursor.u32()?,
            expires_at: Timestamp(cursor.u64()?),
            target: cursor.slice()?.into(),
        });
    }
    if !endpoints.is_sorted_by(|a, b| a.binding < b.binding) {
        return cursor.wrong("endpoints in order");
    }
    Ok(endpoints)
}

fn encode_dialog(dialog: &Dialog, out: &mut Vec<u8>) {
    put_slice(dialog.watcher.as_str().as_bytes(), out);
    out.put_u8(dialog.package as u8);
    out.put_u8(dialog.format as u8);
    out.put_u64_le(dialog.local_tag.chance());
    out.put_u32_le(dialog.local_cseq);
    out.put_u32_le(dialog.remote_cseq);
    out.put_u64_le(dialog.expires_at.0);
    out.put_u64_le(dialog.notified_at.0);
    put_slice(&dialog.route, out);
    put_slice(&dialog.target, out);
}

fn decode_dialog(
    cursor: &mut Cursor<'_>,
    slot: Slot,
    presentity: &Aor,
) -> Result<Dialog, Unreadable> {
    let watcher = Aor::from_canonical(cursor.text()?);
    let package = decode_package(cursor)?;
    let Some(format) = Format::from_number(cursor.u8()?) else {
        return cursor.wrong("a format's number");
    };
    Ok(Dialog {
        presentity: presentity.clone(),
        watcher,
        package,
        format,
        local_tag: LocalTag::new(slot, cursor.u64()?),
        local_cseq: cursor.u32()?,
        remote_cseq: cursor.u32()?,
        expires_at: Timestamp(cursor.u64()?),
        notified_at: Timestamp(cursor.u64()?),
        route: cursor.slice()?.into(),
        target: cursor.slice()?.into(),
    })
}

/// Appends an outcome.
pub(super) fn encode_outcome(outcome: &Outcome, out: &mut Vec<u8>) {
    match outcome {
        Outcome::Registered { endpoints, at } => {
            out.put_u8(1);
            out.put_u64_le(at.0);
            encode_endpoints(endpoints, out);
        }
        Outcome::Published { tag, expires_s } => {
            out.put_u8(2);
            encode_tag(*tag, out);
            out.put_u32_le(*expires_s);
        }
        Outcome::Subscribed {
            local_tag,
            expires_s,
        } => {
            out.put_u8(3);
            out.put_u16_le(local_tag.slot().number());
            out.put_u64_le(local_tag.chance());
            out.put_u32_le(*expires_s);
        }
        Outcome::Ended => out.put_u8(4),
        Outcome::Refused(refusal) => {
            out.put_u8(5);
            out.put_u8(*refusal as u8);
        }
    }
}

fn decode_outcome(cursor: &mut Cursor<'_>) -> Result<Outcome, Unreadable> {
    Ok(match cursor.u8()? {
        1 => {
            let at = Timestamp(cursor.u64()?);
            Outcome::Registered {
                endpoints: decode_endpoints(cursor)?.into(),
                at,
            }
        }
        2 => Outcome::Published {
            tag: decode_tag(cursor)?,
            expires_s: cursor.u32()?,
        },
        3 => {
            let Some(slot) = Slot::new(cursor.u16()?) else {
                return cursor.wrong("a slot's number");
            };
            let local_tag = LocalTag::new(slot, cursor.u64()?);
            Outcome::Subscribed {
                local_tag,
                expires_s: cursor.u32()?,
            }
        }
        4 => Outcome::Ended,
        5 => match Refusal::from_number(cursor.u8()?) {
            Some(refusal) => Outcome::Refused(refusal),
            None => return cursor.wrong("a refusal's number"),
        },
        _ => return cursor.wrong("an outcome's number"),
    })
}

/// Appends a chunk of remembered outcomes.
pub(super) fn encode_chunk(chunk: &Chunk, out: &mut Vec<u8>) {
    out.put_u64_le(chunk.second);
    out.put_u32_le(chunk.given.len() as u32);
    for (key, outcome) in &chunk.given {
        out.put_u128_le(key.0);
        encode_outcome(outcome, out);
    }
}

/// Reads a chunk of remembered outcomes.
pub(super) fn decode_chunk(cursor: &mut Cursor<'_>) -> Result<Chunk, Unreadable> {
    let second = cursor.u64()?;
    let count = cursor.count(OUTCOME_BYTES_MIN)?;
    let mut given = Vec::with_capacity(count);
    for _ in 0..count {
        let key = RequestKey(cursor.u128()?);
        given.push((key, decode_outcome(cursor)?));
    }
    cursor.end()?;
    Ok(Chunk { second, given })
}
