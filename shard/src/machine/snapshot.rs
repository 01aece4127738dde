//! The whole state in one stream: a header with a version, then a checksummed section per slot (the
//! same section that a slot move ships, house D13), the remembered outcomes, and an end mark.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::apply::{Counts, Machine};
use super::codec::{self, CodecError, Reader};
use super::command::Audit;
use super::expiry::{Deadlines, Mortal};
use super::outcome::RequestKey;
use super::replies::{Bucket, Replies};
use super::slots::Slots;
use crate::slot::Slot;
use crate::time::Timestamp;

const MAGIC: [u8; 6] = *b"lamps\n";

/// The version we write, and the newest we read.
const VERSION: u16 = 1;

mod section {
    pub(super) const HEAD: u8 = 1;
    pub(super) const SLOT: u8 = 2;
    pub(super) const REPLIES: u8 = 3;
    pub(super) const END: u8 = 4;
}

/// A moment of a machine, ready to be written by any thread: pointers, and a few numbers.
#[derive(Debug)]
pub struct Snapshot {
    now: Timestamp,
    salt: Option<u32>,
    history: u64,
    audit: Option<Audit>,
    slots: Slots,
    replies: Vec<Bucket>,
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The stream ended or failed.
    #[error("the snapshot cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is not a snapshot of a shard")]
    Foreign,
    /// A checksum does not hold.
    #[error("section {section} of the snapshot is damaged")]
    Damaged {
        /// Which section, from 0.
        section: u32,
    },
    /// A section holds what we cannot read.
    #[error("section {section} of the snapshot {error}")]
    Illegible {
        /// Which section, from 0.
        section: u32,
        /// Where in it.
        error: CodecError,
    },
    /// Written by a newer release.
    #[error("the snapshot has version {found}; this release reads up to {VERSION}")]
    Version {
        /// The version it says.
        found: u16,
    },
}

impl Machine {
    /// A copy of pointers, to be written out by another thread (house D13).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            now: self.now,
            salt: self.salt,
            history: self.history,
            audit: self.audit,
            slots: self.slots.clone(),
            replies: self.replies.buckets(),
        }
    }

    /// The machine that a snapshot was taken of.
    ///
    /// # Errors
    /// [`SnapshotError`] when a section is damaged, unknown or missing.
    pub fn restore(reader: &mut dyn Read) -> Result<Machine, SnapshotError> {
        let mut start = [0; 8];
        reader.read_exact(&mut start)?;
        if start[..6] != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let version = u16::from_le_bytes([start[6], start[7]]);
        if version != VERSION {
            return Err(SnapshotError::Version { found: version });
        }
        let mut machine = Machine::default();
        let mut buckets = Vec::new();
        for number in 0.. {
            let (kind, bytes) = read_section(reader, number)?;
            let illegible = |error| SnapshotError::Illegible { section: number, error };
            let read = &mut Reader::new(&bytes);
            match kind {
                section::HEAD => machine.read_head(read).map_err(illegible)?,
                section::SLOT => machine.read_slot(read).map_err(illegible)?,
                section::REPLIES => buckets.push(read_bucket(read).map_err(illegible)?),
                section::END => break,
                _ => return Err(SnapshotError::Damaged { section: number }),
            }
        }
        machine.replies = Replies::from_buckets(buckets);
        machine.derive();
        Ok(machine)
    }

    fn read_head(&mut self, reader: &mut Reader<'_>) -> Result<(), CodecError> {
        self.now = Timestamp(reader.u64("a time")?);
        self.salt = match reader.u8("whether there is a salt")? {
            0 => None,
            _ => Some(reader.u32("a salt")?),
        };
        self.history = reader.u64("a digest")?;
        self.audit = match reader.u8("whether there is an audit")? {
            0 => None,
            _ => Some(codec::audit(reader)?),
        };
        Ok(())
    }

    fn read_slot(&mut self, reader: &mut Reader<'_>) -> Result<(), CodecError> {
        let number = reader.u16("a slot")?;
        let slot = Slot::new(number).ok_or(CodecError { at: 0, what: "a slot" })?;
        self.slots.set(slot, codec::decode_slot(reader)?);
        Ok(())
    }

    /// Everything that follows from the slots.
    fn derive(&mut self) {
        let mut deadlines = Deadlines::default();
        let mut counts = Counts::default();
        for (slot, table) in self.slots.used() {
            for (aor, presentity) in &table.presentities {
                for (_, publication) in &presentity.publications {
                    deadlines.set(publication.expires_at, Mortal::Publication(aor.clone(), publication.content.number));
                }
                for endpoint in &presentity.endpoints {
                    deadlines.set(endpoint.expires_at, Mortal::Endpoint(aor.clone(), endpoint.binding));
                }
                counts.publications += presentity.publications.len() as u64;
                counts.endpoints += presentity.endpoints.len() as u64;
            }
            for (key, dialog) in &table.dialogs {
                deadlines.set(dialog.expires_at, Mortal::Dialog(slot, *key));
            }
            counts.dialogs += table.dialogs.len() as u64;
        }
        self.deadlines = deadlines;
        self.counts = counts;
    }
}

impl Snapshot {
    /// Writes the whole state, a section at a time.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn write(&self, writer: &mut dyn Write) -> io::Result<()> {
        writer.write_all(&MAGIC)?;
        writer.write_all(&VERSION.to_le_bytes())?;
        let mut body = BytesMut::new();
        body.put_u64_le(self.now.0);
        body.put_u8(u8::from(self.salt.is_some()));
        if let Some(salt) = self.salt {
            body.put_u32_le(salt);
        }
        body.put_u64_le(self.history);
        body.put_u8(u8::from(self.audit.is_some()));
        if let Some(audit) = &self.audit {
            codec::put_audit(audit, &mut body);
        }
        write_section(writer, section::HEAD, &body)?;
        for (slot, table) in self.slots.used() {
            body.clear();
            body.put_u16_le(slot.number());
            codec::encode_slot(table, &mut body);
            write_section(writer, section::SLOT, &body)?;
        }
        for bucket in &self.replies {
            body.clear();
            body.put_u64_le(bucket.second);
            body.put_u32_le(bucket.outcomes.len() as u32);
            for (key, outcome) in bucket.outcomes.iter() {
                body.put_u128_le(key.0);
                codec::encode_outcome(outcome, &mut body);
            }
            write_section(writer, section::REPLIES, &body)?;
        }
        write_section(writer, section::END, &[])
    }
}

fn read_bucket(reader: &mut Reader<'_>) -> Result<Bucket, CodecError> {
    let second = reader.u64("a second")?;
    let count = reader.u32("a count of outcomes")?;
    let mut outcomes = Vec::new();
    for _ in 0..count {
        let low = reader.u64("a request key")?;
        let high = reader.u64("a request key")?;
        let key = RequestKey(u128::from(low) | u128::from(high) << 64);
        outcomes.push((key, codec::decode_outcome(reader)?));
    }
    Ok(Bucket { second, outcomes: Arc::new(outcomes) })
}

/// Kind, length, checksum of kind and body, body.
fn write_section(writer: &mut dyn Write, kind: u8, body: &[u8]) -> io::Result<()> {
    let mut head = [0; 9];
    head[0] = kind;
    let length = u32::try_from(body.len()).map_err(|_| io::Error::other("a slot of more than 4 GiB"))?;
    head[1..5].copy_from_slice(&length.to_le_bytes());
    head[5..].copy_from_slice(&checksum(kind, body).to_le_bytes());
    writer.write_all(&head)?;
    writer.write_all(body)
}

fn read_section(reader: &mut dyn Read, number: u32) -> Result<(u8, Vec<u8>), SnapshotError> {
    let mut head = [0; 9];
    reader.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    let sum = u32::from_le_bytes([head[5], head[6], head[7], head[8]]);
    // A damaged length must not make us reserve 4 GiB: what is there is read, no more.
    let mut body = Vec::new();
    let read = reader.take(u64::from(length)).read_to_end(&mut body)?;
    if read != length as usize || checksum(head[0], &body) != sum {
        return Err(SnapshotError::Damaged { section: number });
    }
    Ok((head[0], body))
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), body)
}
