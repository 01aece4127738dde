//! Slots on their way between shards (house D15): what is frozen here, what is arriving, what was here.
//!
//! ```text
//! parcel := version:u16 slot:u16 move:u64 now:u64 salts:u32* section:slice replies:(key:u128 outcome)*
//! mark   := slot:u16 move:u64 salts:u32* [salt:u32] stage:u8 [parcel in parts]
//!   stage 1 frozen | 2 arriving sum:u32 parts:u16 (part:u16 bytes)* | 3 here | 4 gone
//! ```
//!
//! Each slot that ever moved has a mark with the number of its last move, which the pool map gave and gives
//! once. A step of an earlier move finds a higher number and does nothing; a step that was done does nothing
//! again. So whoever drives a move may repeat any step, from any node, after any crash.
//!
//! A frozen slot's table is set aside: nothing of it ends, is told or is asked until it is dropped, or put
//! back. Whether it has moved is decided by the pool map alone, so neither side ever asks the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BufMut;

use crate::machine::cursor::{Cursor, Unreadable, put_slice};
use crate::machine::outcome::{Outcome, RequestKey};
use crate::machine::replies::Chunk;
use crate::machine::section;
use crate::machine::store::Store;
use crate::machine::table::SlotTable;
use crate::machine::values::{list, option, put_list, put_option};
use crate::slot::Slot;
use crate::subscription::watch::Watch;
use crate::time::Timestamp;

/// Parts of one parcel: at 192 KiB each they are 1.5 GB, the watchers of 25 presentities with as many as
/// there may be.
pub const PARTS_MAX: u16 = 8_192;

/// One step of a slot's move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The shard that has the slot stops serving it.
    Freeze,
    /// It serves the slot again: the move was given up.
    Thaw,
    /// It forgets the slot, which has moved.
    Drop,
    /// The shard that gets the slot keeps a part of what the other had.
    Import {
        /// Which part, from 0.
        part: u16,
        /// Of how many.
        parts: u16,
        /// CRC-32C of all parts together: another attempt may have packed something else.
        sum: u32,
        /// The part.
        bytes: &'a [u8],
    },
    /// It serves the slot from here on.
    Open,
    /// It forgets what arrived: the move was given up.
    Abandon,
}

/// How a slot stands in its shard, for who drives its move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits to leave.
    Frozen,
    /// Parts of it are here.
    Arriving(Arriving),
    /// It came, and is served; or it was to go, and stayed.
    Here,
    /// It left.
    Gone,
}

/// How far an arriving slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arriving {
    /// Parts are missing.
    Missing,
    /// Everything is here, and was read.
    Whole,
    /// Everything is here, and cannot be read by this release, or was damaged.
    Illegible,
}

/// What is known of a slot that ever moved.
#[derive(Debug)]
struct Mark {
    /// The number of the slot's last move.
    number: u64,
    /// Salts of entity-tags that were given in the slot before it came here.
    salts: Vec<u32>,
    /// The salt of tags that are given in it here, where the shard's own is among those.
    salt: Option<u32>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The table is in the store until the entry is done that froze it.
    Frozen(Option<Arc<SlotTable>>),
    Arriving(Parcel),
    Here,
    Gone,
}

/// Parts that came.
#[derive(Debug)]
struct Parcel {
    sum: u32,
    parts: u16,
    came: BTreeMap<u16, Arc<[u8]>>,
    /// What they say, once they are all here; derived.
    content: Option<Result<Content, Unreadable>>,
}

/// What a parcel holds.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) table: Arc<SlotTable>,
    pub(super) replies: Vec<(RequestKey, Outcome)>,
    /// The other shard's time.
    pub(super) now: Timestamp,
    pub(super) salts: Vec<u32>,
}

/// A slot, ready to be packed by any thread.
pub struct Export {
    slot: Slot,
    number: u64,
    now: Timestamp,
    salts: Vec<u32>,
    table: Arc<SlotTable>,
    replies: Vec<Arc<Chunk>>,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export")
            .field("slot", &self.slot)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Export {
    /// The parcel, to be cut into parts.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u16_le(section::version_of([&*self.table].into_iter()));
        out.put_u16_le(self.slot.number());
        out.put_u64_le(self.number);
        out.put_u64_le(self.now.0);
        put_list(self.salts.iter(), &mut out, |salt, out| {
            out.put_u32_le(*salt)
        });
        let mut table = Vec::new();
        section::encode_slot(self.slot, &self.table, &mut table);
        put_slice(&table, &mut out);
        let remembered = || self.replies.iter().flat_map(|chunk| chunk.of(self.slot));
        out.put_u32_le(remembered().count() as u32);
        for (key, outcome) in remembered() {
            out.put_u128_le(key.0);
            section::encode_outcome(outcome, &mut out);
        }
        out
    }
}

/// The CRC-32C that [`Step::Import`] names.
#[must_use]
pub fn sum_of(parcel: &[u8]) -> u32 {
    crc32c::crc32c(parcel)
}

impl Parcel {
    fn new(sum: u32, parts: u16) -> Parcel {
        Parcel {
            sum,
            parts,
            came: BTreeMap::new(),
            content: None,
        }
    }

    fn add(&mut self, slot: Slot, number: u64, part: u16, bytes: Arc<[u8]>) {
        self.came.entry(part).or_insert(bytes);
        if self.came.len() == usize::from(self.parts) && self.content.is_none() {
            let whole: Vec<u8> = self
                .came
                .values()
                .flat_map(|part| part.iter())
                .copied()
                .collect();
            let damaged = Unreadable {
                at: 0,
                what: "what was packed",
            };
            let content = if sum_of(&whole) == self.sum {
                unpack(slot, number, &whole)
            } else {
                Err(damaged)
            };
            self.content = Some(content);
        }
    }

    fn standing(&self) -> Arriving {
        match &self.content {
            None => Arriving::Missing,
            Some(Ok(_)) => Arriving::Whole,
            Some(Err(_)) => Arriving::Illegible,
        }
    }
}

fn unpack(slot: Slot, number: u64, bytes: &[u8]) -> Result<Content, Unreadable> {
    let cursor = &mut Cursor::new(bytes);
    let version = cursor.u16()?;
    if !(1..=section::NEWEST).contains(&version) {
        return cursor.wrong("a version that this release knows");
    }
    if cursor.u16()? != slot.number() || cursor.u64()? != number {
        return cursor.wrong("this slot and move");
    }
    let now = Timestamp(cursor.u64()?);
    let salts = list(cursor, 4, Cursor::u32)?;
    let mut store = Store::default();
    let section = &mut Cursor::new(cursor.slice()?);
    if section::decode_slot(section, version, &mut store)? != slot {
        return cursor.wrong("the section of this slot");
    }
    let strays = store.batch_members(slot).any(|slots| slots != slot);
    if strays {
        return cursor.wrong("dialogs that watch this slot only");
    }
    store.index();
    let replies = list(cursor, 17, |cursor| {
        let key = RequestKey(cursor.u128()?);
        Ok((key, section::decode_outcome(cursor, version)?))
    })?;
    cursor.end()?;
    Ok(Content {
        table: store.set_aside(slot),
        replies,
        now,
        salts,
    })
}

/// Which slots ever moved.
#[derive(Debug, Default)]
pub(super) struct Moves {
    marks: BTreeMap<Slot, Mark>,
    /// Frozen by the entry in progress: their tables are set aside when it is done. Empty between entries.
    parting: Vec<Slot>,
}

impl Moves {
    /// Whether no slot ever moved.
    pub(super) fn is_unknown(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether requests about a slot are to wait, or to go elsewhere.
    pub(super) fn is_away(&self, slot: Slot) -> bool {
        let mark = self.marks.get(&slot);
        mark.is_some_and(|mark| !matches!(mark.stage, Stage::Here))
    }

    /// Whether a slot is on its way, here or to here: who is asked about a whole shard does not know it all.
    pub(super) fn is_incomplete(&self) -> bool {
        let mut marks = self.marks.values();
        marks.any(|mark| matches!(mark.stage, Stage::Frozen(_) | Stage::Arriving(_)))
    }

    /// The table of a frozen slot.
    pub(super) fn aside(&self, slot: Slot) -> Option<&Arc<SlotTable>> {
        match &self.marks.get(&slot)?.stage {
            Stage::Frozen(table) => table.as_ref(),
            Stage::Arriving(_) | Stage::Here | Stage::Gone => None,
        }
    }

    /// How each slot that ever moved stands, and by which move.
    pub(super) fn standings(&self) -> impl Iterator<Item = (Slot, u64, Standing)> + '_ {
        self.marks.iter().map(|(slot, mark)| {
            let standing = match &mark.stage {
                Stage::Frozen(_) => Standing::Frozen,
                Stage::Arriving(parcel) => Standing::Arriving(parcel.standing()),
                Stage::Here => Standing::Here,
                Stage::Gone => Standing::Gone,
            };
            (*slot, mark.number, standing)
        })
    }

    /// Begins to freeze a slot; tells whether it was not frozen before.
    pub(super) fn freeze(&mut self, slot: Slot, number: u64) -> bool {
        let (salts, salt) = match self.marks.get(&slot) {
            None => (Vec::new(), None),
            Some(mark) if matches!(mark.stage, Stage::Here) && mark.number < number => {
                (mark.salts.clone(), mark.salt)
            }
            Some(_) => return false,
        };
        let stage = Stage::Frozen(None);
        self.marks.insert(
            slot,
            Mark {
                number,
                salts,
                salt,
                stage,
            },
        );
        self.parting.push(slot);
        true
    }

    /// Sets the tables aside of slots that the entry froze, which is done now.
    pub(super) fn part(&mut self, store: &mut Store) {
        for slot in self.parting.drain(..) {
            let mark = self.marks.get_mut(&slot);
            if let Some(Mark {
                stage: Stage::Frozen(table),
                ..
            }) = mark
            {
                *table = Some(store.set_aside(slot));
            }
        }
    }

    /// The table of a slot that is frozen by this move and stays after all.
    pub(super) fn thaw(&mut self, slot: Slot, number: u64) -> Option<Arc<SlotTable>> {
        let mark = self.of_move(slot, number)?;
        let Stage::Frozen(table) = &mut mark.stage else {
            return None;
        };
        // Without its table it was frozen within this very entry; the next attempt finds it.
        let table = table.take()?;
        mark.stage = Stage::Here;
        Some(table)
    }

    /// Forgets a slot that is frozen by this move.
    pub(super) fn drop_slot(&mut self, slot: Slot, number: u64) {
        if let Some(mark) = self.of_move(slot, number)
            && matches!(mark.stage, Stage::Frozen(Some(_)))
        {
            mark.stage = Stage::Gone;
            (mark.salts, mark.salt) = (Vec::new(), None);
        }
    }

    /// Keeps a part of an arriving slot; `empty` when the store holds nothing of it.
    pub(super) fn import(
        &mut self,
        slot: Slot,
        number: u64,
        (part, parts, sum): (u16, u16, u32),
        bytes: &[u8],
        empty: bool,
    ) {
        if part >= parts || parts > PARTS_MAX || !empty {
            return;
        }
        let begins = match self.marks.get(&slot) {
            None => true,
            Some(mark) => match &mark.stage {
                // It has left by an earlier move, and was not forgotten yet: the map says that it comes back.
                Stage::Frozen(Some(_)) | Stage::Gone => mark.number < number,
                Stage::Frozen(None) | Stage::Here => return,
                Stage::Arriving(parcel) => {
                    let same = (parcel.sum, parcel.parts) == (sum, parts);
                    mark.number < number || mark.number == number && !same
                }
            },
        };
        if begins {
            let mark = Mark {
                number,
                salts: Vec::new(),
                salt: None,
                stage: Stage::Arriving(Parcel::new(sum, parts)),
            };
            self.marks.insert(slot, mark);
        }
        if let Some(mark) = self.of_move(slot, number)
            && let Stage::Arriving(parcel) = &mut mark.stage
        {
            parcel.add(slot, number, part, bytes.into());
        }
    }

    /// Whether a part has arrived.
    pub(super) fn has_part(&self, slot: Slot, number: u64, sum: u32, part: u16) -> bool {
        let mark = self.marks.get(&slot).filter(|mark| mark.number == number);
        mark.is_some_and(|mark| match &mark.stage {
            Stage::Arriving(parcel) => parcel.sum == sum && parcel.came.contains_key(&part),
            Stage::Frozen(_) | Stage::Here | Stage::Gone => false,
        })
    }

    /// What arrived by this move, once it is whole; the slot is here from then on. `own` is the shard's salt.
    //= RFC 3903 4.1
    //# an entity-tag is unique among all versions of all publications of a resource
    pub(super) fn open(&mut self, slot: Slot, number: u64, own: Option<u32>) -> Option<Content> {
        let mark = self.of_move(slot, number)?;
        let Stage::Arriving(parcel) = &mut mark.stage else {
            return None;
        };
        let content = match parcel.content.take() {
            Some(Ok(content)) => content,
            other => {
                parcel.content = other;
                return None;
            }
        };
        mark.salts.clone_from(&content.salts);
        let mut salt = own.unwrap_or_default();
        while mark.salts.contains(&salt) {
            salt = salt.wrapping_add(1);
        }
        mark.salt = (own != Some(salt)).then_some(salt);
        mark.stage = Stage::Here;
        Some(content)
    }

    /// Forgets what arrived by this move.
    pub(super) fn abandon(&mut self, slot: Slot, number: u64) {
        if let Some(mark) = self.of_move(slot, number)
            && matches!(mark.stage, Stage::Arriving(_))
        {
            mark.stage = Stage::Gone;
        }
    }

    /// The salt of tags that are given for an address, where it is not the shard's own.
    pub(super) fn salt_for(&self, slot: Slot) -> Option<u32> {
        self.marks.get(&slot)?.salt
    }

    fn of_move(&mut self, slot: Slot, number: u64) -> Option<&mut Mark> {
        self.marks
            .get_mut(&slot)
            .filter(|mark| mark.number == number)
    }

    /// A slot that is frozen by this move, to be packed. `salt` is this shard's.
    pub(super) fn export(
        &self,
        slot: Slot,
        number: u64,
        now: Timestamp,
        salt: Option<u32>,
        replies: Vec<Arc<Chunk>>,
    ) -> Option<Export> {
        let mark = self.marks.get(&slot).filter(|mark| mark.number == number)?;
        let Stage::Frozen(Some(table)) = &mark.stage else {
            return None;
        };
        let mut salts = mark.salts.clone();
        salts.extend(mark.salt.or(salt).filter(|salt| !mark.salts.contains(salt)));
        Some(Export {
            slot,
            number,
            now,
            salts,
            table: Arc::clone(table),
            replies,
        })
    }

    /// The mark of a slot in bytes, for the digest of the slot; nothing where there is none.
    pub(super) fn encode_mark(&self, slot: Slot, out: &mut Vec<u8>) {
        let Some(mark) = self.marks.get(&slot) else {
            return;
        };
        out.put_u16_le(slot.number());
        out.put_u64_le(mark.number);
        put_list(mark.salts.iter(), out, |salt, out| out.put_u32_le(*salt));
        put_option(mark.salt, out, |salt, out| out.put_u32_le(salt));
        match &mark.stage {
            Stage::Frozen(_) => out.put_u8(1),
            Stage::Arriving(parcel) => {
                out.put_u8(2);
                out.put_u32_le(parcel.sum);
                out.put_u16_le(parcel.parts);
                put_list(parcel.came.iter(), out, |(part, bytes), out| {
                    out.put_u16_le(*part);
                    put_slice(bytes, out);
                });
            }
            Stage::Here => out.put_u8(3),
            Stage::Gone => out.put_u8(4),
        }
    }

    /// All marks in bytes, and the tables that were set aside, for a snapshot.
    #[allow(clippy::type_complexity)] // two things that belong to one moment
    pub(super) fn share(&self) -> (Vec<Vec<u8>>, Vec<(Slot, Arc<SlotTable>)>) {
        let encode = |slot: &Slot| {
            let mut out = Vec::new();
            self.encode_mark(*slot, &mut out);
            out
        };
        let aside = |slot: &Slot| Some((*slot, Arc::clone(self.aside(*slot)?)));
        let slots = self.marks.keys();
        (
            slots.clone().map(encode).collect(),
            slots.filter_map(aside).collect(),
        )
    }

    /// Takes over a mark of a snapshot, higher than those before.
    pub(super) fn restore(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Unreadable> {
        let Some(slot) = Slot::new(cursor.u16()?) else {
            return cursor.wrong("a slot's number");
        };
        let number = cursor.u64()?;
        let salts = list(cursor, 4, Cursor::u32)?;
        let salt = option(cursor, Cursor::u32)?;
        let stage = match cursor.u8()? {
            1 => {
                self.parting.push(slot);
                Stage::Frozen(None)
            }
            2 => {
                let mut parcel = Parcel::new(cursor.u32()?, cursor.u16()?);
                let came = list(cursor, 6, |cursor| Ok((cursor.u16()?, cursor.slice()?)))?;
                for (part, bytes) in came {
                    if part >= parcel.parts || parcel.parts > PARTS_MAX {
                        return cursor.wrong("a part of the parcel");
                    }
                    parcel.add(slot, number, part, bytes.into());
                }
                Stage::Arriving(parcel)
            }
            3 => Stage::Here,
            4 => Stage::Gone,
            _ => return cursor.wrong("a stage's number"),
        };
        cursor.end()?;
        let last = self.marks.last_key_value();
        if last.is_some_and(|(last, _)| *last >= slot) {
            return cursor.wrong("marks in order");
        }
        self.marks.insert(
            slot,
            Mark {
                number,
                salts,
                salt,
                stage,
            },
        );
        Ok(())
    }
}

/// Whether a batch or a list that lives in one slot watches somebody on the other side of the cut that takes `slot` away.
pub(super) fn is_cut(home: Slot, watch: Option<&Watch>, slot: Slot) -> bool {
    // Who is relayed may live anywhere.
    watch.is_some_and(|watch| {
        let mut members = watch.members();
        members.any(|member| (member.slot() == slot) != (home == slot))
    })
}
