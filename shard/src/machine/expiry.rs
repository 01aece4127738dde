//! The expiry order of everything that ends.
//!
//! Deadlines are kept in one ordered set of (time, key), so that all replicas end things in the same
//! order, whatever snapshot they began from. There is no timer here: `apply` says how late it is.

use std::collections::BTreeSet;

use crate::slot::{Aor, Slot};
use crate::subscription::dialog::DialogKey;
use crate::time::Timestamp;

/// Something that ends. The order of the variants is the order at equal times: what a watcher is shown
/// last before its subscription ends is the newest state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mortal {
    /// A publication, by its number.
    Publication(Aor, u32),
    /// A registered endpoint, by its binding.
    Endpoint(Aor, u64),
    /// A dialog.
    Dialog(Slot, DialogKey),
}

/// What ends when.
#[derive(Debug, Default)]
pub struct Deadlines {
    order: BTreeSet<(Timestamp, Mortal)>,
}

impl Deadlines {
    /// Something will end then.
    pub fn set(&mut self, at: Timestamp, what: Mortal) {
        self.order.insert((at, what));
    }

    /// It will not, after all.
    pub fn clear(&mut self, at: Timestamp, what: Mortal) {
        self.order.remove(&(at, what));
    }

    /// When the next thing ends.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the next thing that has ended by `now`.
    pub fn take_due(&mut self, now: Timestamp) -> Option<Mortal> {
        if self.next()? > now {
            return None;
        }
        self.order.pop_first().map(|(_, what)| what)
    }
}
