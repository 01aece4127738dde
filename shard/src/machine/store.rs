//! What the machine keeps: presentities with their watchers, and dialogs, slot by slot.
//!
//! A slot's table is shared with the snapshots taken of it, and so is each presentity and each dialog
//! in it; whoever changes something copies what is shared first (house D13). Presentities stand in a
//! vector ordered by the hash of their address: 16 bytes each, and a search that compares numbers.
//! Dialogs stand in an ordered map, because a single presentity may have 100,000 of them.
//!
//! Each dialog's key is in the list of its presentity's watchers and the other way round. Deadlines
//! and counts are derived here and follow every change.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::apply::Counts;
use crate::machine::expiry::Deadlines;
use crate::presence::package::Package;
use crate::presence::presentity::Presentity;
use crate::slot::{self, Aor, SLOTS, Slot};
use crate::subscription::dialog::{Dialog, DialogKey};
use crate::time::Timestamp;

/// What is not queued to end.
const NEVER: Timestamp = Timestamp(u64::MAX);

/// A presentity and who watches it.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) presentity: Presentity,
    /// In ascending order.
    watchers: Vec<DialogKey>,
    /// For when the first end of a publication or endpoint is queued.
    queued_for: Timestamp,
}

impl Watched {
    fn new(presentity: Presentity) -> Watched {
        Watched {
            presentity,
            watchers: Vec::new(),
            queued_for: NEVER,
        }
    }

    /// Its dialogs, in ascending order.
    pub(super) fn watchers(&self) -> &[DialogKey] {
        &self.watchers
    }

    fn is_empty(&self) -> bool {
        self.watchers.is_empty() && self.presentity.is_empty()
    }
}

/// A dialog and for when its end is queued.
#[derive(Clone, Debug)]
struct Held {
    dialog: Dialog,
    queued_for: Timestamp,
}

/// One slot's state.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotTable {
    /// By hash of the address, then by address.
    presentities: Vec<(u64, Arc<Watched>)>,
    dialogs: BTreeMap<DialogKey, Arc<Held>>,
}

impl SlotTable {
    /// The place of an address, or where it would stand.
    fn find(&self, hash: u64, address: &str) -> Result<usize, usize> {
        self.presentities.binary_search_by(|(other, watched)| {
            let texts = || watched.presentity.aor.as_str().cmp(address);
            other.cmp(&hash).then_with(texts)
        })
    }

    fn insert(&mut self, at: usize, hash: u64, watched: Watched) {
        // By eighths: at a million addresses, doubling would leave 8 MB unused.
        if self.presentities.len() == self.presentities.capacity() {
            self.presentities
                .reserve_exact(self.presentities.len() / 8 + 4);
        }
        self.presentities.insert(at, (hash, Arc::new(watched)));
    }

    /// Nothing is kept here.
    pub(super) fn is_empty(&self) -> bool {
        self.presentities.is_empty()
    }

    /// Each presentity, by hash of its address, then by address.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Watched> {
        self.presentities.iter().map(|(_, watched)| &**watched)
    }

    /// A dialog of this slot.
    pub(super) fn dialog(&self, key: DialogKey) -> Option<&Dialog> {
        self.dialogs.get(&key).map(|held| &held.dialog)
    }

    /// Each dialog, by key.
    fn dialogs(&self) -> impl Iterator<Item = (DialogKey, &Dialog)> {
        self.dialogs.iter().map(|(key, held)| (*key, &held.dialog))
    }
}

/// A dialog in the queue of deadlines: 18 bytes, where the plain types would take 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct QueuedDialog {
    slot: [u8; 2],
    key: [u8; 16],
}

impl QueuedDialog {
    fn new(slot: Slot, key: DialogKey) -> QueuedDialog {
        QueuedDialog {
            slot: slot.number().to_be_bytes(),
            key: key.0.to_be_bytes(),
        }
    }

    fn slot_number(self) -> usize {
        usize::from(u16::from_be_bytes(self.slot))
    }

    fn key(self) -> DialogKey {
        DialogKey(u128::from_be_bytes(self.key))
    }
}

/// Something whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A publication or an endpoint of this address.
    Presentity(Aor),
    /// A dialog.
    Dialog(Slot, DialogKey),
}

/// All slots, with their deadlines and counts.
#[derive(Debug)]
pub(super) struct Store {
    slots: Box<[Arc<SlotTable>]>,
    presentity_ends: Deadlines<Aor>,
    dialog_ends: Deadlines<QueuedDialog>,
    counts: Counts,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            slots: (0..SLOTS).map(|_| Arc::default()).collect(),
            presentity_ends: Deadlines::default(),
            dialog_ends: Deadlines::default(),
            counts: Counts::default(),
        }
    }
}

impl Store {
    /// One slot's table.
    pub(super) fn table(&self, slot: Slot) -> &SlotTable {
        &self.slots[usize::from(slot.number())]
    }

    /// All tables in the order of their slots, as pointers.
    pub(super) fn share(&self) -> Vec<Arc<SlotTable>> {
        self.slots.to_vec()
    }

    /// How much is kept.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// What is kept for an address.
    pub(super) fn watched(&self, address: &str) -> Option<&Watched> {
        let hash = slot::hash(address);
        let table = self.table(Slot::of_hash(hash));
        table
            .find(hash, address)
            .ok()
            .map(|at| &*table.presentities[at].1)
    }

    /// A dialog of a slot.
    pub(super) fn dialog(&self, slot: Slot, key: DialogKey) -> Option<&Dialog> {
        self.table(slot).dialog(key)
    }

    /// Lets `change` change what is kept for an address, which is made first if there is nothing, and
    /// forgotten afterwards if nothing is left.
    pub(super) fn change<R>(
        &mut self,
        address: &str,
        change: impl FnOnce(&mut Presentity, &[DialogKey]) -> R,
    ) -> R {
        let hash = slot::hash(address);
        let slot = usize::from(Slot::of_hash(hash).number());
        let table = Arc::make_mut(&mut self.slots[slot]);
        let at = match table.find(hash, address) {
            Ok(at) => at,
            Err(at) => {
                let mut presentity = Presentity::new(Aor::from_canonical(address));
                let result = change(&mut presentity, &[]);
                if !presentity.is_empty() {
                    self.counts.presentities += 1;
                    add(&mut self.counts, &presentity);
                    let mut watched = Watched::new(presentity);
                    queue(&mut self.presentity_ends, &mut watched);
                    table.insert(at, hash, watched);
                }
                return result;
            }
        };
        let watched = Arc::make_mut(&mut table.presentities[at].1);
        subtract(&mut self.counts, &watched.presentity);
        let result = change(&mut watched.presentity, &watched.watchers);
        add(&mut self.counts, &watched.presentity);

        let queued_for = watched.queued_for;
        queue(&mut self.presentity_ends, watched);
        let moved = watched.queued_for != queued_for;
        let aor = (moved && queued_for != NEVER).then(|| watched.presentity.aor.clone());
        if watched.is_empty() {
            self.forget_presentity(slot, at);
        }
        if let Some(aor) = aor {
            self.forget_presentity_end(queued_for, aor);
        }
        result
    }

    fn forget_presentity(&mut self, slot: usize, at: usize) {
        let table = Arc::make_mut(&mut self.slots[slot]);
        let (_, watched) = table.presentities.remove(at);
        self.counts.presentities -= 1;
        if watched.queued_for != NEVER {
            self.forget_presentity_end(watched.queued_for, watched.presentity.aor.clone());
        }
    }

    fn forget_presentity_end(&mut self, queued_for: Timestamp, aor: Aor) {
        let slots = &self.slots;
        self.presentity_ends.forget(queued_for, aor, |aor| {
            let hash = slot::hash(aor.as_str());
            let table = &slots[usize::from(Slot::of_hash(hash).number())];
            let at = table.find(hash, aor.as_str()).ok()?;
            Some(table.presentities[at].1.queued_for)
        });
    }

    /// Keeps a new dialog. Its presentity's slot has no dialog of that name.
    pub(super) fn insert_dialog(&mut self, key: DialogKey, dialog: Dialog) {
        let address = dialog.presentity.clone();
        let hash = slot::hash(address.as_str());
        let slot = Slot::of_hash(hash);
        let table = Arc::make_mut(&mut self.slots[usize::from(slot.number())]);
        let at = table.find(hash, address.as_str()).unwrap_or_else(|at| {
            self.counts.presentities += 1;
            table.insert(at, hash, Watched::new(Presentity::new(address)));
            at
        });
        let watched = Arc::make_mut(&mut table.presentities[at].1);
        // One text for the presentity and all its dialogs.
        let dialog = Dialog {
            presentity: watched.presentity.aor.clone(),
            ..dialog
        };
        let queued_for = dialog.expires_at;
        if let Err(place) = watched.watchers.binary_search(&key) {
            if watched.watchers.len() == watched.watchers.capacity() {
                watched
                    .watchers
                    .reserve_exact(watched.watchers.len() / 4 + 1);
            }
            watched.watchers.insert(place, key);
        }
        let before = table
            .dialogs
            .insert(key, Arc::new(Held { dialog, queued_for }));
        assert!(before.is_none(), "the caller has looked for dialog {key}");
        self.dialog_ends
            .push(queued_for, QueuedDialog::new(slot, key));
        self.counts.dialogs += 1;
    }

    /// Lets `change` change a dialog; `None` when there is none of that name.
    pub(super) fn change_dialog<R>(
        &mut self,
        slot: Slot,
        key: DialogKey,
        change: impl FnOnce(&mut Dialog) -> R,
    ) -> Option<R> {
        let table = Arc::make_mut(&mut self.slots[usize::from(slot.number())]);
        let held = Arc::make_mut(table.dialogs.get_mut(&key)?);
        let result = change(&mut held.dialog);
        if held.dialog.expires_at < held.queued_for {
            let queued_for = std::mem::replace(&mut held.queued_for, held.dialog.expires_at);
            self.dialog_ends
                .push(held.dialog.expires_at, QueuedDialog::new(slot, key));
            if queued_for != NEVER {
                self.forget_dialog_end(queued_for, slot, key);
            }
        }
        Some(result)
    }

    /// Forgets a dialog and gives it back; its presentity too, if nothing else is kept for it.
    pub(super) fn remove_dialog(&mut self, slot: Slot, key: DialogKey) -> Option<Dialog> {
        let number = usize::from(slot.number());
        let table = Arc::make_mut(&mut self.slots[number]);
        let held = table.dialogs.remove(&key)?;
        let address = held.dialog.presentity.as_str();
        let at = table
            .find(slot::hash(address), address)
            .expect("a presentity is kept as long as somebody watches it");
        let watched = Arc::make_mut(&mut table.presentities[at].1);
        let place = watched
            .watchers
            .binary_search(&key)
            .expect("a dialog is one of the watchers");
        watched.watchers.remove(place);
        // By quarters, as it grew.
        if watched.watchers.len() < watched.watchers.capacity() / 2 {
            watched.watchers.shrink_to(watched.watchers.len() * 5 / 4);
        }
        let empty = watched.is_empty();
        self.counts.dialogs -= 1;
        if empty {
            self.forget_presentity(number, at);
        }
        if held.queued_for != NEVER {
            self.forget_dialog_end(held.queued_for, slot, key);
        }
        Some(Arc::try_unwrap(held).map_or_else(|shared| shared.dialog.clone(), |held| held.dialog))
    }

    fn forget_dialog_end(&mut self, queued_for: Timestamp, slot: Slot, key: DialogKey) {
        let slots = &self.slots;
        self.dialog_ends
            .forget(queued_for, QueuedDialog::new(slot, key), |queued| {
                let held = slots[queued.slot_number()].dialogs.get(&queued.key())?;
                Some(held.queued_for)
            });
    }

    /// Lets `visit` change every dialog that watches an address in a package, in the order of their
    /// keys. It must leave the dialog's end where it is.
    pub(super) fn for_each_watcher(
        &mut self,
        address: &str,
        package: Package,
        mut visit: impl FnMut(DialogKey, &mut Dialog),
    ) {
        let hash = slot::hash(address);
        let table = Arc::make_mut(&mut self.slots[usize::from(Slot::of_hash(hash).number())]);
        let Ok(at) = table.find(hash, address) else {
            return;
        };
        for key in &table.presentities[at].1.watchers {
            let held = table
                .dialogs
                .get_mut(key)
                .expect("a watcher is one of the dialogs");
            if held.dialog.package == package {
                visit(*key, &mut Arc::make_mut(held).dialog);
            }
        }
    }

    /// Takes over what a snapshot holds of one address, in the order in which [`SlotTable::iter`] and
    /// the keys of its dialogs give it; `false` when no machine holds that.
    pub(super) fn restore(
        &mut self,
        slot: Slot,
        presentity: Presentity,
        dialogs: Vec<(DialogKey, Dialog)>,
    ) -> bool {
        let hash = slot::hash(presentity.aor.as_str());
        let table = Arc::make_mut(&mut self.slots[usize::from(slot.number())]);
        let place = table.find(hash, presentity.aor.as_str());
        let last = place == Err(table.presentities.len());
        let known = |(key, _): &(DialogKey, Dialog)| table.dialogs.contains_key(key);
        let ordered = dialogs.is_sorted_by(|(a, _), (b, _)| a < b) && !dialogs.iter().any(known);
        let kept = !presentity.is_empty() || !dialogs.is_empty();
        if Slot::of_hash(hash) != slot || !last || !ordered || !kept {
            return false;
        }
        self.counts.presentities += 1;
        add(&mut self.counts, &presentity);
        let mut watched = Watched::new(presentity);
        queue(&mut self.presentity_ends, &mut watched);
        table.insert(table.presentities.len(), hash, watched);
        for (key, dialog) in dialogs {
            self.insert_dialog(key, dialog);
        }
        true
    }

    /// Each dialog, slot by slot, by key.
    pub(super) fn dialogs(&self) -> impl Iterator<Item = (DialogKey, &Dialog)> {
        self.slots.iter().flat_map(|table| table.dialogs())
    }

    /// Nothing ends before this instant; see [`Deadlines::first`].
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.presentity_ends
            .first()
            .into_iter()
            .chain(self.dialog_ends.first())
            .min()
    }

    /// Gets everything that `now` has reached ready for [`Store::due`].
    pub(super) fn open(&mut self, now: Timestamp) {
        while let Some((second, aors)) = self.presentity_ends.open(now) {
            for aor in aors {
                let hash = slot::hash(aor.as_str());
                let table = &mut self.slots[usize::from(Slot::of_hash(hash).number())];
                let Ok(at) = table.find(hash, aor.as_str()) else {
                    continue;
                };
                let (queued_for, truly) = {
                    let watched = &table.presentities[at].1;
                    (
                        watched.queued_for,
                        watched.presentity.next_deadline().unwrap_or(NEVER),
                    )
                };
                if queued_for == NEVER || queued_for.second() != second {
                    continue;
                }
                if truly != queued_for {
                    let table = Arc::make_mut(table);
                    Arc::make_mut(&mut table.presentities[at].1).queued_for = truly;
                }
                if truly != NEVER {
                    self.presentity_ends.push(truly, aor);
                }
            }
        }
        while let Some((second, dialogs)) = self.dialog_ends.open(now) {
            for queued in dialogs {
                let table = &mut self.slots[queued.slot_number()];
                let Some(held) = table.dialogs.get(&queued.key()) else {
                    continue;
                };
                if held.queued_for.second() != second {
                    continue;
                }
                let truly = held.dialog.expires_at;
                if truly != held.queued_for {
                    let held = Arc::make_mut(table).dialogs.get_mut(&queued.key());
                    Arc::make_mut(held.expect("it was just found")).queued_for = truly;
                }
                self.dialog_ends.push(truly, queued);
            }
        }
    }

    /// Takes the first that is due at `now`, and when it was due: by deadline, presentities before
    /// dialogs, by address or by slot and key. Nothing may be due about what is taken any more; the
    /// caller looks.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let dialog_first = match (self.presentity_ends.peek(), self.dialog_ends.peek()) {
            (Some(presentity), Some(dialog)) => dialog < presentity,
            (presentity, _) => presentity.is_none(),
        };
        if dialog_first {
            let (at, queued) = self.dialog_ends.due(now)?;
            let (slot, key) = (Slot::new(queued.slot_number() as u16)?, queued.key());
            if let Some(held) = Arc::make_mut(&mut self.slots[queued.slot_number()])
                .dialogs
                .get_mut(&key)
            {
                let held = Arc::make_mut(held);
                held.queued_for = NEVER;
            }
            Some((at, Due::Dialog(slot, key)))
        } else {
            let (at, aor) = self.presentity_ends.due(now)?;
            let hash = slot::hash(aor.as_str());
            let table = Arc::make_mut(&mut self.slots[usize::from(Slot::of_hash(hash).number())]);
            if let Ok(place) = table.find(hash, aor.as_str()) {
                Arc::make_mut(&mut table.presentities[place].1).queued_for = NEVER;
            }
            Some((at, Due::Presentity(aor)))
        }
    }
}

/// Queues a presentity's next end, if it comes before the one that is queued.
fn queue(ends: &mut Deadlines<Aor>, watched: &mut Watched) {
    let Some(deadline) = watched.presentity.next_deadline() else {
        return;
    };
    if deadline < watched.queued_for {
        watched.queued_for = deadline;
        ends.push(deadline, watched.presentity.aor.clone());
    }
}

fn add(counts: &mut Counts, presentity: &Presentity) {
    counts.publications += presentity.publications.len() as u64;
    counts.endpoints += presentity.endpoints.len() as u64;
}

fn subtract(counts: &mut Counts, presentity: &Presentity) {
    counts.publications -= presentity.publications.len() as u64;
    counts.endpoints -= presentity.endpoints.len() as u64;
}
