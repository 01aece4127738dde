//! One slot's state: presentities with their watchers, and dialogs.
//!
//! A table is shared with the snapshots taken of it, and so is each presentity and each dialog in it;
//! whoever changes something copies what is shared first (house D13). Presentities stand in a vector
//! ordered by the hash of their address: 16 bytes each, and a search that compares numbers. Dialogs
//! stand in an ordered map, because a single presentity may have 100,000 of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::parcel::Parcel;
use crate::presence::presentity::Presentity;
use crate::slot::Slot;
use crate::subscription::dialog::{Dialog, DialogKey, Package};
use crate::time::Timestamp;

/// For when something is queued that is not queued to end.
pub(super) const NEVER: Timestamp = Timestamp(u64::MAX);

/// A presentity and who watches it.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) presentity: Presentity,
    /// In ascending order.
    watchers: Vec<DialogKey>,
    /// Batched dialogs that watch it, wherever they live, in ascending order; derived from the dialogs.
    /// Boxed, because few presentities have any.
    #[expect(
        clippy::box_collection,
        reason = "eight bytes in each of a million presentities, not 24"
    )]
    batches: Option<Box<Vec<(Slot, DialogKey)>>>,
    /// For when the first end of a publication or endpoint is queued; derived.
    pub(super) queued_for: Timestamp,
}

impl Watched {
    pub(super) fn new(presentity: Presentity) -> Watched {
        Watched {
            presentity,
            watchers: Vec::new(),
            batches: None,
            queued_for: NEVER,
        }
    }

    /// Its dialogs, in ascending order.
    pub(super) fn watchers(&self) -> &[DialogKey] {
        &self.watchers
    }

    /// Adds a dialog that is not there.
    pub(super) fn add_watcher(&mut self, key: DialogKey) {
        // By quarters: most presentities have few watchers, and the first growth would be to four.
        if self.watchers.len() == self.watchers.capacity() {
            self.watchers.reserve_exact(self.watchers.len() / 4 + 1);
        }
        match self.watchers.binary_search(&key) {
            Ok(_) => unreachable!("dialog {key} watches already"),
            Err(place) => self.watchers.insert(place, key),
        }
    }

    /// Takes out a dialog that is there.
    pub(super) fn remove_watcher(&mut self, key: DialogKey) {
        let place = self.watchers.binary_search(&key);
        self.watchers
            .remove(place.expect("a dialog is one of the watchers"));
        if self.watchers.len() < self.watchers.capacity() / 2 {
            self.watchers.shrink_to(self.watchers.len() * 5 / 4);
        }
    }

    /// Batched dialogs that watch it, in ascending order.
    pub(super) fn batches(&self) -> &[(Slot, DialogKey)] {
        self.batches.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Adds a batched dialog, unless it is there.
    pub(super) fn add_batch(&mut self, dialog: (Slot, DialogKey)) {
        let batches = self.batches.get_or_insert_default();
        if let Err(place) = batches.binary_search(&dialog) {
            batches.insert(place, dialog);
        }
    }

    /// Takes a batched dialog out, if it is there.
    pub(super) fn remove_batch(&mut self, dialog: (Slot, DialogKey)) {
        if let Some(batches) = &mut self.batches {
            if let Ok(place) = batches.binary_search(&dialog) {
                batches.remove(place);
            }
            if batches.is_empty() {
                self.batches = None;
            }
        }
    }

    /// Nothing is kept for it.
    pub(super) fn is_empty(&self) -> bool {
        self.is_derived() && self.batches.is_none()
    }

    /// Where nothing is kept, nothing is left of what was: a snapshot holds none of it, and a replica that
    /// was restored must show the same.
    pub(super) fn forget_traces(&mut self) {
        if self.is_derived() {
            self.presentity = Presentity::new(self.presentity.aor.clone());
        }
    }

    /// Nothing is kept for it but that batched dialogs watch it, which they know themselves.
    pub(super) fn is_derived(&self) -> bool {
        self.watchers.is_empty() && self.presentity.is_empty()
    }
}

/// A dialog, and for when its end is queued; the latter is derived.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) dialog: Dialog,
    pub(super) queued_for: Timestamp,
}

/// One slot's state.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotTable {
    /// By hash of the address, then by address.
    presentities: Vec<(u64, Arc<Watched>)>,
    pub(super) dialogs: BTreeMap<DialogKey, Arc<Held>>,
    /// What waits to be told to other shards, by number.
    pub(super) parcels: BTreeMap<u64, Arc<Parcel>>,
    /// How many parcels there ever were: it travels with the slot, so no number comes twice.
    pub(super) parcels_made: u64,
}

impl SlotTable {
    /// Nothing is kept in it that a snapshot would hold.
    pub(super) fn is_bare(&self) -> bool {
        self.presentities.is_empty() && self.parcels_made == 0
    }

    /// The place of an address with this hash, or else where it would stand.
    ///
    /// Hashes are spread evenly, so the place is guessed first and the search spreads from there: of
    /// a thousand addresses the guess is some sixteen places off, which is two or three cache lines
    /// side by side, where halving the whole table would fetch five from all over it.
    pub(super) fn find(&self, hash: u64, address: &str) -> Result<usize, usize> {
        let all = &self.presentities[..];
        let guess = ((u128::from(hash) * all.len() as u128) >> 64) as usize;
        let (mut from, mut to, mut step) = (guess, guess, 8);
        while from > 0 && all[from - 1].0 >= hash {
            from = from.saturating_sub(step);
            step *= 2;
        }
        while to < all.len() && all[to].0 <= hash {
            to = all.len().min(to + step);
            step *= 2;
        }
        let near = all[from..to].binary_search_by(|(other, watched)| {
            let by_text = || watched.presentity.aor.as_str().cmp(address);
            other.cmp(&hash).then_with(by_text)
        });
        near.map(|place| place + from).map_err(|place| place + from)
    }

    /// What stands at a place that was found.
    pub(super) fn at(&self, place: usize) -> &Watched {
        &self.presentities[place].1
    }

    /// The same, to be kept while the table changes elsewhere.
    pub(super) fn share(&self, place: usize) -> Arc<Watched> {
        Arc::clone(&self.presentities[place].1)
    }

    /// The same, to be changed.
    pub(super) fn at_mut(&mut self, place: usize) -> &mut Watched {
        Arc::make_mut(&mut self.presentities[place].1)
    }

    /// Keeps a presentity where its address was not found.
    pub(super) fn insert(&mut self, place: usize, hash: u64, watched: Watched) {
        // By eighths: at a million addresses, doubling would leave 8 MB unused.
        if self.presentities.len() == self.presentities.capacity() {
            self.presentities
                .reserve_exact(self.presentities.len() / 8 + 4);
        }
        self.presentities.insert(place, (hash, Arc::new(watched)));
    }

    /// Forgets what stands at a place that was found.
    pub(super) fn remove(&mut self, place: usize) -> Arc<Watched> {
        self.presentities.remove(place).1
    }

    /// How many addresses are kept.
    pub(super) fn len(&self) -> usize {
        self.presentities.len()
    }

    /// Each presentity, by hash of its address, then by address.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Watched> {
        self.presentities.iter().map(|(_, watched)| &**watched)
    }

    /// A dialog of this slot.
    pub(super) fn dialog(&self, key: DialogKey) -> Option<&Dialog> {
        self.dialogs.get(&key).map(|held| &held.dialog)
    }

    /// Lets `visit` change each dialog of a package that watches what stands at `place`, by ascending key.
    pub(super) fn for_each_watcher(
        &mut self,
        place: usize,
        package: Package,
        mut visit: impl FnMut(DialogKey, &mut Dialog),
    ) {
        for key in &self.presentities[place].1.watchers {
            let held = self.dialogs.get_mut(key);
            let held = held.expect("a watcher is one of the dialogs");
            // What is not visited is not copied either.
            if held.dialog.package == package {
                visit(*key, &mut Arc::make_mut(held).dialog);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Aor;

    /// The search is right wherever the guess falls, however uneven the hashes are.
    #[test]
    fn an_address_is_found_where_it_stands() {
        let even: Vec<u64> = (0..500).map(|n| n * (u64::MAX / 500)).collect();
        let low: Vec<u64> = (0..500).collect();
        let high: Vec<u64> = (0..500).map(|n| u64::MAX - n).rev().collect();
        let same = vec![7 << 40; 500];
        for (name, hashes) in [
            ("even", even),
            ("low", low),
            ("high", high),
            ("same", same),
            ("one", vec![1 << 63]),
            ("none", vec![]),
        ] {
            let mut table = SlotTable::default();
            let addresses: Vec<String> = (0..hashes.len()).map(|n| format!("{n:03}")).collect();
            for (place, (hash, address)) in hashes.iter().zip(&addresses).enumerate() {
                let aor = Aor::from_canonical(address);
                table.insert(place, *hash, Watched::new(Presentity::new(aor)));
            }
            for (place, (hash, address)) in hashes.iter().zip(&addresses).enumerate() {
                assert_eq!(table.find(*hash, address), Ok(place), "{name}");
                assert_eq!(
                    table.find(*hash, &format!("{address}+")),
                    Err(place + 1),
                    "{name}"
                );
            }
            for hash in [0, 1, 7 << 40, 1 << 63, u64::MAX] {
                let expected = hashes.partition_point(|other| *other < hash);
                assert_eq!(table.find(hash, ""), Err(expected), "{name} {hash}");
            }
        }
    }
}
