//! Digests by which replicas check each other (house D16).
//!
//! The history digest is a chain over everything the machine ever answered and notified; the slot
//! digest covers the section that a snapshot would hold of a slot. Two replicas that differ in what
//! they said differ in the first at once; what they keep and have not said yet, the second finds when
//! the audit comes round to its slot.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::machine::effect::{Notice, SubscriptionState};
use crate::machine::moves::Moves;
use crate::machine::outcome::Outcome;
use crate::machine::parcel::Parcel;
use crate::machine::section;
use crate::machine::table::SlotTable;
use crate::slot::{SLOTS, Slot};
use crate::subscription::view::View;
use crate::time::Timestamp;

/// Entries after which the audit moves on to the next slot: all slots in four million entries.
const ENTRIES_PER_SLOT: u64 = 4_096;

/// The slot that is audited at a log position.
pub(super) fn audited(index: u64) -> Slot {
    let number = (index / ENTRIES_PER_SLOT) % u64::from(SLOTS);
    Slot::new(number as u16).expect("a remainder is below its divisor")
}

/// The digest of one slot's state.
pub(super) fn of_slot(slot: Slot, table: &SlotTable, moves: &Moves) -> u64 {
    let mut bytes = Vec::new();
    let aside = moves.aside(slot).map(|table| &**table);
    section::encode_slot(slot, aside.unwrap_or(table), &mut bytes);
    moves.encode_mark(slot, &mut bytes);
    xxh3_64(&bytes)
}

/// The chain over all outcomes and effects.
#[derive(Debug, Default)]
pub(super) struct History {
    digest: u64,
    /// What the entry in progress has said so far.
    said: Vec<u8>,
}

impl History {
    /// The chain that a snapshot holds.
    pub(super) fn from_digest(digest: u64) -> History {
        History {
            digest,
            said: Vec::new(),
        }
    }

    /// The chain's digest after the last entry.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// Somebody is answered.
    pub(super) fn reply(&mut self, outcome: &Outcome) {
        section::encode_outcome(outcome, &mut self.said);
    }

    /// Somebody is notified.
    pub(super) fn notify(&mut self, view: &View, notices: &[Notice]) {
        self.said.reserve(8 + notices.len() * 25);
        self.said.extend_from_slice(&view.revision.to_le_bytes());
        for notice in notices {
            let (tag, number) = match notice.state {
                SubscriptionState::Active { expires_s } => (0, expires_s),
                SubscriptionState::Terminated(reason) => (1, reason as u32),
                SubscriptionState::Pending { expires_s } => (7, expires_s),
            };
            // In one piece: a hundred thousand watchers make a hundred thousand of these.
            let mut line = [0; 25];
            line[..16].copy_from_slice(&notice.dialog.0.to_le_bytes());
            line[16..20].copy_from_slice(&notice.cseq.to_le_bytes());
            line[20] = tag;
            line[21..].copy_from_slice(&number.to_le_bytes());
            self.said.extend_from_slice(&line);
        }
    }

    /// Other shards are told.
    pub(super) fn send(&mut self, slot: Slot, number: u64, parcel: &Parcel) {
        self.said.extend_from_slice(&slot.number().to_le_bytes());
        self.said.extend_from_slice(&number.to_le_bytes());
        self.said.extend_from_slice(parcel.command());
    }

    /// The entry at `index` is done.
    pub(super) fn close(&mut self, index: u64, now: Timestamp) {
        self.said.extend_from_slice(&index.to_le_bytes());
        self.said.extend_from_slice(&now.0.to_le_bytes());
        self.digest = xxh3_64_with_seed(&self.said, self.digest);
        self.said.clear();
        // A single huge fan-out leaves no buffer behind.
        self.said.shrink_to(64 * 1024);
    }
}
