//! The whole state in one stream: a header with a version, then a checksummed section per slot.
//!
//! ```text
//! "LAMPLGHT" version:u16
//! section := kind:u8 length:u32 crc32c:u32 body
//!   1 machine   now, last index, salt, history digest     once, first
//!   2 slot      one slot that is not empty                ascending
//!   3 replies   one chunk of remembered outcomes          oldest first
//!   9 end       how many sections stand before it         once, last
//! ```
//!
//! Taking a snapshot copies pointers; what the machine changes afterwards it copies first. Writing it
//! needs the memory of one section.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read as _};
use std::sync::Arc;

use bytes::BufMut;

use crate::machine::apply::Machine;
use crate::machine::cursor::{Cursor, Unreadable};
use crate::machine::digest::History;
use crate::machine::replies::{Chunk, Replies};
use crate::machine::section;
use crate::machine::store::{SlotTable, Store};
use crate::slot::Slot;
use crate::time::Timestamp;

const MAGIC: &[u8; 8] = b"LAMPLGHT";

/// The version that this release writes, and the newest that it reads.
const VERSION: u16 = 1;

/// Kinds of sections. The numbers are never used again for something else.
mod kind {
    pub(super) const MACHINE: u8 = 1;
    pub(super) const SLOT: u8 = 2;
    pub(super) const REPLIES: u8 = 3;
    pub(super) const END: u8 = 9;
}

/// What a machine knows besides its store and its memory of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Entry time.
    pub(super) now: Timestamp,
    /// Log index of the last applied entry.
    pub(super) applied: u64,
    /// The salt of entity-tags, once the first term has started.
    pub(super) salt: Option<u32>,
    /// The history digest.
    pub(super) history: u64,
}

/// A moment of a machine, ready to be written by any thread.
pub struct Snapshot {
    standing: Standing,
    slots: Vec<Arc<SlotTable>>,
    replies: VecDeque<Arc<Chunk>>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(super) fn new(
        standing: Standing,
        slots: Vec<Arc<SlotTable>>,
        replies: VecDeque<Arc<Chunk>>,
    ) -> Snapshot {
        Snapshot {
            standing,
            slots,
            replies,
        }
    }

    /// Log index of the last entry that it contains.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.standing.applied
    }

    /// Writes the whole state.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn write(&self, writer: &mut dyn io::Write) -> io::Result<()> {
        writer.write_all(MAGIC)?;
        writer.write_all(&VERSION.to_le_bytes())?;
        let mut sections = Sections {
            writer,
            body: Vec::new(),
            count: 0,
        };

        let Standing {
            now,
            applied,
            salt,
            history,
        } = self.standing;
        sections.body.put_u64_le(now.0);
        sections.body.put_u64_le(applied);
        sections.body.put_u8(u8::from(salt.is_some()));
        sections.body.put_u32_le(salt.unwrap_or_default());
        sections.body.put_u64_le(history);
        sections.finish(kind::MACHINE)?;

        for (number, table) in (0..)
            .zip(&self.slots)
            .filter(|(_, table)| !table.is_empty())
        {
            let slot = Slot::new(number).expect("there are as many tables as slots");
            section::encode_slot(slot, table, &mut sections.body);
            sections.finish(kind::SLOT)?;
        }
        for chunk in &self.replies {
            section::encode_chunk(chunk, &mut sections.body);
            sections.finish(kind::REPLIES)?;
        }
        let count = sections.count;
        sections.body.put_u32_le(count);
        sections.finish(kind::END)
    }
}

struct Sections<'w> {
    writer: &'w mut dyn io::Write,
    body: Vec<u8>,
    count: u32,
}

impl Sections<'_> {
    /// Writes the body as a section and leaves it empty for the next one.
    fn finish(&mut self, kind: u8) -> io::Result<()> {
        let length = u32::try_from(self.body.len())
            .map_err(|_| io::Error::other("a section of a snapshot is larger than 4 GB"))?;
        let mut head = [0; 9];
        head[0] = kind;
        head[1..5].copy_from_slice(&length.to_le_bytes());
        head[5..].copy_from_slice(&checksum(kind, &self.body).to_le_bytes());
        self.writer.write_all(&head)?;
        self.writer.write_all(&self.body)?;
        self.body.clear();
        self.count += 1;
        Ok(())
    }
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), body)
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The stream ended or failed.
    #[error("the snapshot cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A checksum or a length does not hold.
    #[error("the snapshot is damaged in section {section}")]
    Damaged {
        /// Which section, from 0.
        section: u32,
    },
    /// Written by a newer release.
    #[error("the snapshot has version {found}; this release reads up to {known}")]
    Version {
        /// The version it says.
        found: u16,
        /// The newest we know.
        known: u16,
    },
}

/// What a snapshot holds, read back.
#[derive(Debug)]
struct Restored {
    standing: Standing,
    store: Store,
    last_slot: Option<Slot>,
    replies: Replies,
}

/// Reads a snapshot up to its end section; what stands behind it is left alone.
pub(super) fn read(reader: &mut dyn io::Read) -> Result<Machine, SnapshotError> {
    let mut magic = [0; 10];
    reader.read_exact(&mut magic)?;
    let (magic, version) = magic.split_at(8);
    if magic != MAGIC {
        return Err(SnapshotError::Damaged { section: 0 });
    }
    let found = u16::from_le_bytes([version[0], version[1]]);
    if found != VERSION {
        return Err(SnapshotError::Version {
            found,
            known: VERSION,
        });
    }

    let mut body = Vec::new();
    let mut restored = None;
    for number in 0.. {
        let kind = read_section(reader, number, &mut body)?;
        let mut cursor = Cursor::new(&body);
        let damaged = |_: Unreadable| SnapshotError::Damaged { section: number };
        match (&mut restored, kind) {
            (None, kind::MACHINE) => {
                restored = Some(Restored::begin(&mut cursor).map_err(damaged)?)
            }
            (Some(restored), kind::SLOT) => restored.slot(&mut cursor).map_err(damaged)?,
            (Some(restored), kind::REPLIES) => restored.replies(&mut cursor).map_err(damaged)?,
            (Some(_), kind::END) if cursor.u32() == Ok(number) && cursor.left() == 0 => break,
            _ => return Err(SnapshotError::Damaged { section: number }),
        }
    }
    let Some(Restored {
        standing,
        store,
        replies,
        ..
    }) = restored
    else {
        return Err(SnapshotError::Damaged { section: 0 });
    };
    Ok(Machine::from_parts(standing, store, replies))
}

/// Reads one section into `body`, checked; gives its kind.
fn read_section(
    reader: &mut dyn io::Read,
    number: u32,
    body: &mut Vec<u8>,
) -> Result<u8, SnapshotError> {
    let mut head = [0; 9];
    reader.read_exact(&mut head)?;
    let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    body.clear();
    // Grows with what is there, not with what the length says.
    io::Read::take(&mut *reader, u64::from(length)).read_to_end(body)?;
    if body.len() < length as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    if checksum(kind, body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(SnapshotError::Damaged { section: number });
    }
    Ok(kind)
}

impl Restored {
    fn begin(cursor: &mut Cursor<'_>) -> Result<Restored, Unreadable> {
        let now = Timestamp(cursor.u64()?);
        let applied = cursor.u64()?;
        let has_salt = cursor.u8()?;
        let salt = cursor.u32()?;
        let salt = match has_salt {
            0 => None,
            1 => Some(salt),
            _ => return cursor.wrong("a salt or none"),
        };
        let history = cursor.u64()?;
        cursor.end()?;
        Ok(Restored {
            standing: Standing {
                now,
                applied,
                salt,
                history,
            },
            store: Store::default(),
            last_slot: None,
            replies: Replies::default(),
        })
    }

    fn slot(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Unreadable> {
        let slot = section::decode_slot(cursor, &mut self.store)?;
        if self
            .last_slot
            .replace(slot)
            .is_some_and(|last| last >= slot)
        {
            return cursor.wrong("slots in order");
        }
        Ok(())
    }

    fn replies(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Unreadable> {
        let chunk = section::decode_chunk(cursor)?;
        if chunk.second > self.standing.now.second() || !self.replies.restore(chunk) {
            return cursor.wrong("outcomes in order");
        }
        Ok(())
    }
}

impl Standing {
    /// The chain of digests, to be continued.
    pub(super) fn history(&self) -> History {
        History::from_digest(self.history)
    }
}
