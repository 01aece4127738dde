//! The whole state in one stream: a header with a version, then a checksummed section per slot.
//!
//! ```text
//! "LAMPLGHT" version:u16
//! section := kind:u8 length:u32 crc32c:u32 body
//!   1 machine   now, last index, salt, history digest     once, first
//!   2 slot      one slot that is not empty                ascending
//!   3 replies   one chunk of remembered outcomes          oldest first
//!   8 move      how one slot stands that ever moved       ascending
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
use crate::machine::moves::Moves;
use crate::machine::replies::{Chunk, Replies};
use crate::machine::section;
use crate::machine::store::Store;
use crate::machine::table::SlotTable;
use crate::slot::Slot;
use crate::time::Timestamp;

const MAGIC: &[u8; 8] = b"LAMPLGHT";

/// The newest version that this release reads; see [`section::version_of`] for what it writes.
pub(super) const VERSION: u16 = section::NEWEST;

/// Kinds of sections. The numbers are never used again for something else.
mod kind {
    pub(super) const MACHINE: u8 = 1;
    pub(super) const SLOT: u8 = 2;
    pub(super) const REPLIES: u8 = 3;
    // 4 to 7 are left for what a shard holds besides.
    pub(super) const MOVE: u8 = 8;
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
    /// Marks of slots that ever moved, encoded: there are few, or they are small.
    marks: Vec<Vec<u8>>,
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
        mut slots: Vec<Arc<SlotTable>>,
        replies: VecDeque<Arc<Chunk>>,
        moves: &Moves,
    ) -> Snapshot {
        // A frozen slot is written like any other; its mark sets it aside again.
        let (marks, aside) = moves.share();
        for (slot, table) in aside {
            slots[usize::from(slot.number())] = table;
        }
        Snapshot {
            standing,
            slots,
            replies,
            marks,
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
        let version = section::version_of(self.slots.iter().map(|table| &**table));
        writer.write_all(&version.to_le_bytes())?;
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

        for (number, table) in (0..).zip(&self.slots).filter(|(_, table)| !table.is_bare()) {
            let slot = Slot::new(number).expect("there are as many tables as slots");
            section::encode_slot(slot, table, &mut sections.body);
            sections.finish(kind::SLOT)?;
        }
        for chunk in &self.replies {
            section::encode_chunk(chunk, &mut sections.body);
            sections.finish(kind::REPLIES)?;
        }
        for mark in &self.marks {
            sections.body.put_slice(mark);
            sections.finish(kind::MOVE)?;
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
    moves: Moves,
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
    if !(1..=VERSION).contains(&found) {
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
            (Some(restored), kind::SLOT) => restored.slot(&mut cursor, found).map_err(damaged)?,
            (Some(restored), kind::REPLIES) => {
                restored.replies(&mut cursor, found).map_err(damaged)?;
            }
            (Some(restored), kind::MOVE) => restored.moves.restore(&mut cursor).map_err(damaged)?,
            (Some(_), kind::END) if cursor.u32() == Ok(number) && cursor.left() == 0 => break,
            _ => return Err(SnapshotError::Damaged { section: number }),
        }
    }
    let Some(Restored {
        standing,
        mut store,
        replies,
        mut moves,
        ..
    }) = restored
    else {
        return Err(SnapshotError::Damaged { section: 0 });
    };
    store.index();
    moves.part(&mut store);
    Ok(Machine::from_parts(standing, store, replies, moves))
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
        let salt = match (cursor.u8()?, cursor.u32()?) {
            (0, 0) => None,
            (1, salt) => Some(salt),
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
            moves: Moves::default(),
        })
    }

    fn slot(&mut self, cursor: &mut Cursor<'_>, version: u16) -> Result<(), Unreadable> {
        let slot = section::decode_slot(cursor, version, &mut self.store)?;
        if self
            .last_slot
            .replace(slot)
            .is_some_and(|last| last >= slot)
        {
            return cursor.wrong("slots in order");
        }
        Ok(())
    }

    fn replies(&mut self, cursor: &mut Cursor<'_>, version: u16) -> Result<(), Unreadable> {
        let chunk = section::decode_chunk(cursor, version)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::{
        Act, Binding, Bindings, Command, Entry, Publish, Register, Request, Subscribe, Ticket,
    };
    use crate::machine::outcome::RequestKey;
    use crate::presence::publication::TagPolicy;
    use crate::subscription::dialog::{DialogKey, Format, LocalTag, Package};

    const AT: Timestamp = Timestamp(1_700_000_000_000);

    fn commands(presentity: &'static str) -> [Command<'static>; 3] {
        let binding = Binding {
            binding: 5,
            contact: "sip:alice@192.0.2.1",
            instance: "",
            q: 1_000,
            path: "",
            expires_s: 60,
            target: b"flow",
            endpoint_id: None,
        };
        let bindings = Bindings::Each(vec![binding]);
        [
            Command::Register(Register {
                aor: presentity,
                call_id: 7,
                cseq: 1,
                bindings,
                profile: None,
            }),
            Command::Publish(Publish {
                presentity,
                package: Package::Presence,
                if_match: None,
                content: Some(b"content"),
                expires_s: 90,
                tag_policy: TagPolicy::Renew,
                bearing: Default::default(),
            }),
            Command::Subscribe(Subscribe {
                presentity,
                watcher: "bob@example.com",
                package: Package::Presence,
                format: Format::Pidf,
                dialog: DialogKey(u128::from(crate::slot::hash(presentity))),
                local_tag: LocalTag::new(Slot::of(presentity), 7),
                cseq: 1,
                expires_s: 120,
                route: b"route",
                target: b"target",
                extras: None,
                savers: None,
            }),
        ]
    }

    fn machine() -> Machine {
        let mut machine = Machine::default();
        for (index, presentity) in (1..).zip(["alice@example.com", "bob@example.com"]) {
            let requests = (0..).zip(commands(presentity)).map(|(place, command)| {
                let key = RequestKey(u128::from(index * 8 + place));
                Request {
                    key,
                    ticket: Ticket(0),
                    command,
                }
            });
            let act = Act::Requests(requests.collect());
            machine.apply(index, &Entry { at: AT, act }, &mut Vec::new());
        }
        machine
    }

    fn written(machine: &Machine) -> Vec<u8> {
        let mut bytes = Vec::new();
        machine
            .snapshot()
            .write(&mut bytes)
            .expect("memory takes all");
        bytes
    }

    /// Where each section of a sound snapshot begins, behind its head, and ends.
    fn sections(bytes: &[u8]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut at = 10;
        while at < bytes.len() {
            let length = u32::from_le_bytes(bytes[at + 1..at + 5].try_into().expect("4 bytes"));
            found.push((at + 9, at + 9 + length as usize));
            at += 9 + length as usize;
        }
        found
    }

    #[test]
    fn a_snapshot_does_not_change_with_its_machine() {
        let mut machine = machine();
        let (before, snapshot) = (written(&machine), machine.snapshot());
        let later = Entry {
            at: AT.plus_s(3_600),
            act: Act::Requests(Vec::new()),
        };
        machine.apply(9, &later, &mut Vec::new());
        assert_eq!(machine.counts(), crate::machine::apply::Counts::default());
        let mut bytes = Vec::new();
        snapshot.write(&mut bytes).expect("memory takes all");
        assert_eq!(bytes, before);
        assert_eq!(snapshot.applied(), 2);
    }

    #[test]
    fn a_damaged_snapshot_is_refused() {
        let bytes = written(&machine());
        for length in 0..bytes.len() {
            assert!(
                read(&mut &bytes[..length]).is_err(),
                "cut to {length} bytes"
            );
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x41;
            assert!(read(&mut &damaged[..]).is_err(), "byte {at}");
        }
        let mut newer = bytes.clone();
        newer[8] = 5;
        let refused = read(&mut &newer[..]);
        assert!(matches!(
            refused,
            Err(SnapshotError::Version { found: 5, known: 4 })
        ));
        let mut endless = bytes[..10].to_vec();
        endless.extend_from_slice(&[kind::MACHINE, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3]);
        assert!(matches!(read(&mut &endless[..]), Err(SnapshotError::Io(_))));
    }

    /// A wrong writer rather than a wrong disk: the checksums hold.
    #[test]
    fn nonsense_with_good_checksums_does_no_harm() {
        let bytes = written(&machine());
        for (begin, end) in sections(&bytes) {
            for at in begin..end {
                for flip in [0x01, 0x10, 0x80, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= flip;
                    let sum = checksum(damaged[begin - 9], &damaged[begin..end]);
                    damaged[begin - 4..begin].copy_from_slice(&sum.to_le_bytes());
                    let Ok(mut machine) = read(&mut &damaged[..]) else {
                        continue;
                    };
                    assert!(
                        written(&machine) == damaged,
                        "byte {at} is read as it is written"
                    );
                    let requests =
                        commands("alice@example.com")
                            .into_iter()
                            .map(|command| Request {
                                key: RequestKey(1 << 90),
                                ticket: Ticket(0),
                                command,
                            });
                    let act = Act::Requests(requests.collect());
                    let index = machine.applied().saturating_add(1);
                    if index > machine.applied() {
                        machine.apply(index, &Entry { at: AT, act }, &mut Vec::new());
                        let act = Act::Requests(Vec::new());
                        let at = Timestamp(u64::MAX - 1);
                        if index < u64::MAX {
                            machine.apply(index + 1, &Entry { at, act }, &mut Vec::new());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn sections_stand_once_and_in_order() {
        let bytes = written(&machine());
        let parts: Vec<&[u8]> = sections(&bytes)
            .into_iter()
            .map(|(begin, end)| &bytes[begin - 9..end])
            .collect();
        let [standing, bob, alice, replies, end] = parts[..] else {
            panic!("{} sections", parts.len());
        };
        for (name, order) in [
            (
                "slots in the wrong order",
                vec![standing, alice, bob, replies, end],
            ),
            ("a slot twice", vec![standing, bob, bob, replies, end]),
            ("a slot missing", vec![standing, bob, replies, end]),
            ("no head", vec![bob, alice, replies, end]),
            (
                "two heads",
                vec![standing, standing, bob, alice, replies, end],
            ),
            (
                "outcomes twice",
                vec![standing, bob, alice, replies, replies, end],
            ),
            ("no end", vec![standing, bob, alice, replies]),
        ] {
            let mut shuffled = bytes[..10].to_vec();
            order
                .into_iter()
                .for_each(|part| shuffled.extend_from_slice(part));
            assert!(read(&mut &shuffled[..]).is_err(), "{name}");
        }
        let mut more = bytes.clone();
        more.extend_from_slice(b"whatever the file goes on with");
        assert_eq!(
            written(&read(&mut &more[..]).expect("it ends at its end")),
            bytes
        );
    }
}
