//! `Machine::apply`: time first, then each request.

use std::sync::Arc;

use crate::machine::command::Entry;
use crate::machine::effect::Effect;
use crate::machine::snapshot::{Snapshot, SnapshotError};
use crate::presence::endpoint::Endpoint;
use crate::presence::publication::Publication;
use crate::subscription::dialog::{Dialog, DialogKey, Package};
use crate::subscription::view::View;
use crate::time::Timestamp;

/// The state of one shard. A plain struct: drivable by a thread, a test, a bench and a simulator.
#[derive(Debug, Default)]
pub struct Machine {
    now: Timestamp,
}

/// What is kept for one address, for an operator to read.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Live publications with their package, oldest first.
    pub publications: Vec<(Package, Publication)>,
    /// Registered endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Its watchers' dialogs.
    pub watchers: Vec<(DialogKey, Dialog)>,
}

/// How much the machine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Addresses with any state.
    pub presentities: u64,
    /// Registered endpoints.
    pub endpoints: u64,
    /// Live publications.
    pub publications: u64,
    /// Live dialogs.
    pub dialogs: u64,
    /// Remembered outcomes.
    pub replies: u64,
}

impl Machine {
    /// Applies the entry at log position `index`: time first, then its requests in order. Effects are
    /// appended; whether they are performed is the runner's decision.
    ///
    /// # Panics
    /// When the entry attests a digest that this replica does not have (house D16): a wrong replica
    /// that stops costs one replica, one that continues costs the pool.
    pub fn apply(&mut self, index: u64, entry: &Entry<'_>, effects: &mut Vec<Effect>) {
        let _ = (index, entry, effects);
        todo!()
    }

    /// Entry time: the greatest that an entry carried.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When something expires next; the proposer then proposes an entry, an empty one if need be.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        todo!()
    }

    /// What a watcher would see now: a fetch (RFC 6665 §4.4.3), answered without a log entry.
    #[must_use]
    pub fn fetch(&self, presentity: &str, package: Package) -> Arc<View> {
        let _ = (presentity, package);
        todo!()
    }

    /// What is kept for one address; `None` when nothing is.
    #[must_use]
    pub fn report(&self, aor: &str) -> Option<Report> {
        let _ = aor;
        todo!()
    }

    /// How much it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        todo!()
    }

    /// The entry's digests (house D16) for the leader to attest: see [`super::command::Act::Attest`].
    #[must_use]
    pub fn attest(&self, index: u64) -> super::command::Act<'static> {
        let _ = index;
        todo!()
    }

    /// A copy of pointers, to be written out by another thread (house D13).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }

    /// The machine that a snapshot was taken of.
    ///
    /// # Errors
    /// [`SnapshotError`] when a section is damaged, unknown or missing.
    pub fn restore(reader: &mut dyn std::io::Read) -> Result<Machine, SnapshotError> {
        let _ = reader;
        todo!()
    }
}
