//! What a shard has to say to others, until they have it (house D7).
//!
//! A parcel is a command for the log of another shard. It is made by `apply`, kept with the slot that it is
//! about, and handed to the leader's courier as an effect; each new leader is handed all that are left. The
//! courier proposes it there, again and again under one key, and when every shard that it is for has logged
//! it, the log here is told (`Command::Delivered`) and the parcel is gone. So it survives crashes on both
//! sides, arrives at least once, and every command that travels like this does nothing when it comes again.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use xxhash_rust::xxh3::xxh3_128;

use crate::machine::codec;
use crate::machine::command::Command;
use crate::machine::cursor::{Cursor, Unreadable, put_slice};
use crate::machine::outcome::RequestKey;
use crate::slot::Slot;
use crate::subscription::dialog::DialogKey;

/// Parcels of one shard that may wait. They wait for milliseconds unless a shard of the pool is down; of
/// some 300 bytes each they are 20 MB then. What does not fit is not sent: an endpoint's dialogs elsewhere
/// end by their time, and a relay is mended when its watch is renewed.
pub(super) const PARCELS_MAX: usize = 65_536;

/// Whom a parcel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Every shard; also the one that sends it, because of a slot that is frozen there nothing could be done.
    Every,
    /// The shard that holds this slot when it is sent.
    Slot(Slot),
}

/// One command for other shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// For whom.
    pub to: Destination,
    /// What it is about: of two that are about the same only the newer is kept. 0 for nothing.
    about: u128,
    /// The command, encoded.
    command: Arc<[u8]>,
}

/// What a parcel is about when there may be one of it only.
pub(super) fn about(what: &str, dialog: DialogKey, presentity: &str) -> u128 {
    let mut text = Vec::with_capacity(what.len() + presentity.len() + 18);
    text.extend_from_slice(what.as_bytes());
    text.push(0);
    text.extend_from_slice(&dialog.0.to_le_bytes());
    text.extend_from_slice(presentity.as_bytes());
    xxh3_128(&text)
}

impl Parcel {
    pub(super) fn new(to: Destination, about: u128, command: &Command<'_>) -> Parcel {
        let mut encoded = BytesMut::new();
        codec::encode_command(command, &mut encoded);
        Parcel {
            to,
            about,
            command: (&encoded[..]).into(),
        }
    }

    /// The command, as [`codec::encode_parcel`] takes it.
    #[must_use]
    pub fn command(&self) -> &Arc<[u8]> {
        &self.command
    }

    /// Whether a newer one takes the place of this.
    pub(super) fn yields_to(&self, newer: &Parcel) -> bool {
        newer.about != 0 && (self.about, self.to) == (newer.about, newer.to)
    }
}

/// The key that a parcel is proposed under, wherever and how often it is.
#[must_use]
pub fn key_of(slot: Slot, number: u64) -> RequestKey {
    let mut text = *b"parcel\0\0\0\0\0\0\0\0\0\0";
    text[6..8].copy_from_slice(&slot.number().to_le_bytes());
    text[8..].copy_from_slice(&number.to_le_bytes());
    RequestKey(xxh3_128(&text))
}

/// Appends a parcel, as a snapshot holds it.
pub(super) fn put(number: u64, parcel: &Parcel, out: &mut Vec<u8>) {
    out.put_u64_le(number);
    match parcel.to {
        Destination::Every => out.put_u16_le(u16::MAX),
        Destination::Slot(slot) => out.put_u16_le(slot.number()),
    }
    out.put_u128_le(parcel.about);
    put_slice(&parcel.command, out);
}

/// Reads a parcel.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<(u64, Parcel), Unreadable> {
    let number = cursor.u64()?;
    let to = match cursor.u16()? {
        u16::MAX => Destination::Every,
        slot => match Slot::new(slot) {
            Some(slot) => Destination::Slot(slot),
            None => return cursor.wrong("a slot's number"),
        },
    };
    let (about, command) = (cursor.u128()?, cursor.slice()?.into());
    Ok((number, Parcel { to, about, command }))
}
