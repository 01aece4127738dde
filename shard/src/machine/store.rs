//! What the machine keeps, slot by slot, and what is derived from it: deadlines and counts.
//!
//! Every change of a table goes through here, so that three things always hold: each dialog's key is
//! in the list of its presentity's watchers and the other way round; an address is kept as long as
//! anything is kept for it, and no longer; whatever ends is queued for that time or earlier.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::apply::Counts;
use crate::machine::command::{Command, Sink};
use crate::machine::expiry::Deadlines;
use crate::machine::parcel::{self, Destination, PARCELS_MAX, Parcel};
use crate::machine::table::{Held, NEVER, SlotTable, Watched};
use crate::presence::package::Package;
use crate::presence::presentity::Presentity;
use crate::slot::{self, Aor, SLOTS, Slot};
use crate::subscription::dialog::{Dialog, DialogKey, EndpointId};
use crate::time::Timestamp;

/// A dialog in the queue of deadlines: 18 bytes, where the plain types would take 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct QueuedDialog {
    slot: [u8; 2],
    key: [u8; 16],
}

impl QueuedDialog {
    fn new(slot: Slot, key: DialogKey) -> QueuedDialog {
        let (slot, key) = (slot.number().to_be_bytes(), key.0.to_be_bytes());
        QueuedDialog { slot, key }
    }

    fn slot(self) -> Slot {
        Slot::new(u16::from_be_bytes(self.slot)).expect("it was made of a slot")
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

/// Who watches an address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watching {
    /// Dialogs of its own.
    dialogs: bool,
    /// Batched dialogs.
    batches: bool,
}

impl Watching {
    /// Whether dialogs of its own do.
    pub(super) fn any(self) -> bool {
        self.dialogs
    }

    /// Whether no batched dialog does.
    pub(super) fn are_plain(self) -> bool {
        !self.batches
    }
}

/// All slots, with their deadlines and counts.
#[derive(Debug)]
pub(super) struct Store {
    slots: Slots,
    presentity_ends: Deadlines<Aor>,
    dialog_ends: Deadlines<QueuedDialog>,
    counts: Counts,
    /// Dialogs of endpoints, where their watcher is not the address that they live with; derived.
    of_endpoints: BTreeMap<(Aor, EndpointId), Vec<(Slot, DialogKey)>>,
    /// Who is told who watches it, and in how many dialogs; derived.
    observed: BTreeMap<Aor, u32>,
    /// Parcels made by the entry in progress; empty between entries.
    posted: Vec<(Slot, u64)>,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            slots: Slots((0..SLOTS).map(|_| Arc::default()).collect()),
            presentity_ends: Deadlines::default(),
            dialog_ends: Deadlines::default(),
            counts: Counts::default(),
            of_endpoints: BTreeMap::new(),
            observed: BTreeMap::new(),
            posted: Vec::new(),
        }
    }
}

/// A table for each slot.
#[derive(Debug)]
struct Slots(Box<[Arc<SlotTable>]>);

impl Slots {
    fn of(&self, slot: Slot) -> &SlotTable {
        &self.0[usize::from(slot.number())]
    }

    /// The table, to be changed.
    fn own(&mut self, slot: Slot) -> &mut SlotTable {
        Arc::make_mut(&mut self.0[usize::from(slot.number())])
    }

    /// What is kept for an address.
    fn find(&self, address: &str) -> Option<&Watched> {
        let hash = slot::hash(address);
        let table = self.of(Slot::of_hash(hash));
        table.find(hash, address).ok().map(|place| table.at(place))
    }

    /// What is kept for an address, to be changed.
    fn find_own(&mut self, address: &str) -> Option<&mut Watched> {
        let hash = slot::hash(address);
        let table = self.own(Slot::of_hash(hash));
        let place = table.find(hash, address).ok()?;
        Some(table.at_mut(place))
    }

    /// A dialog, to be changed.
    fn dialog_own(&mut self, slot: Slot, key: DialogKey) -> Option<&mut Held> {
        self.own(slot).dialogs.get_mut(&key).map(Arc::make_mut)
    }
}

impl Store {
    /// One slot's table.
    pub(super) fn table(&self, slot: Slot) -> &SlotTable {
        self.slots.of(slot)
    }

    /// All tables in the order of their slots, as pointers.
    pub(super) fn share(&self) -> Vec<Arc<SlotTable>> {
        self.slots.0.to_vec()
    }

    /// How much is kept.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// What is kept for an address.
    pub(super) fn watched(&self, address: &str) -> Option<&Watched> {
        self.slots.find(address)
    }

    /// What is kept for an address, to be looked at while its dialogs change.
    pub(super) fn share_watched(&self, address: &str) -> Option<Arc<Watched>> {
        let hash = slot::hash(address);
        let table = self.slots.of(Slot::of_hash(hash));
        table
            .find(hash, address)
            .ok()
            .map(|place| table.share(place))
    }

    /// A dialog of a slot.
    pub(super) fn dialog(&self, slot: Slot, key: DialogKey) -> Option<&Dialog> {
        self.table(slot).dialog(key)
    }

    /// Each dialog, slot by slot, by key.
    pub(super) fn dialogs(&self) -> impl Iterator<Item = (DialogKey, &Dialog)> {
        let each = self.slots.0.iter().flat_map(|table| &table.dialogs);
        each.map(|(key, held)| (*key, &held.dialog))
    }

    /// Lets `change` change the presentity of an address, and tells it who watches. The presentity is
    /// made first if there is none, and forgotten afterwards if nothing is left.
    pub(super) fn change<R>(
        &mut self,
        address: &str,
        change: impl FnOnce(&mut Presentity, Watching) -> R,
    ) -> R {
        let hash = slot::hash(address);
        let slot = Slot::of_hash(hash);
        let table = self.slots.own(slot);
        let place = match table.find(hash, address) {
            Ok(place) => place,
            Err(place) => {
                let mut presentity = Presentity::new(Aor::from_canonical(address));
                let result = change(&mut presentity, Watching::default());
                if !presentity.is_empty() {
                    self.counts.presentities += 1;
                    add(&mut self.counts, &presentity);
                    let mut watched = Watched::new(presentity);
                    queue(&mut self.presentity_ends, &mut watched);
                    table.insert(place, hash, watched);
                }
                return result;
            }
        };
        let watched = table.at_mut(place);
        let before = watched.queued_for;
        subtract(&mut self.counts, &watched.presentity);
        let watching = Watching {
            dialogs: !watched.watchers().is_empty(),
            batches: !watched.batches().is_empty(),
        };
        let result = change(&mut watched.presentity, watching);
        add(&mut self.counts, &watched.presentity);
        queue(&mut self.presentity_ends, watched);
        let moved = watched.queued_for != before && before != NEVER;
        let superseded = moved.then(|| watched.presentity.aor.clone());
        watched.forget_traces();
        if watched.is_empty() {
            self.forget_presentity(slot, place);
        }
        if let Some(aor) = superseded {
            self.forget_presentity_end(before, aor);
        }
        result
    }

    fn forget_presentity(&mut self, slot: Slot, place: usize) {
        let watched = self.slots.own(slot).remove(place);
        self.counts.presentities -= 1;
        if watched.queued_for != NEVER {
            self.forget_presentity_end(watched.queued_for, watched.presentity.aor.clone());
        }
    }

    fn forget_presentity_end(&mut self, queued_for: Timestamp, aor: Aor) {
        let slots = &self.slots;
        self.presentity_ends.forget(queued_for, aor, |aor| {
            slots.find(aor.as_str()).map(|watched| watched.queued_for)
        });
    }

    /// Keeps a new dialog. Its presentity's slot has no dialog of that name.
    pub(super) fn insert_dialog(&mut self, key: DialogKey, dialog: Dialog) {
        let hash = slot::hash(dialog.presentity.as_str());
        let slot = Slot::of_hash(hash);
        let table = self.slots.own(slot);
        let place = table
            .find(hash, dialog.presentity.as_str())
            .unwrap_or_else(|place| {
                self.counts.presentities += 1;
                let presentity = Presentity::new(dialog.presentity.clone());
                table.insert(place, hash, Watched::new(presentity));
                place
            });
        let watched = table.at_mut(place);
        watched.add_watcher(key);
        // One text for the presentity and all its dialogs.
        let dialog = Dialog {
            presentity: watched.presentity.aor.clone(),
            ..dialog
        };
        let queued_for = dialog.due_at();
        observe(&mut self.observed, &dialog);
        if let Some(owner) = owner_of(&dialog) {
            self.of_endpoints
                .entry(owner)
                .or_default()
                .push((slot, key));
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
        let held = self.slots.dialog_own(slot, key)?;
        let result = change(&mut held.dialog);
        let (before, ends) = (held.queued_for, held.dialog.due_at());
        if ends < before {
            held.queued_for = ends;
            self.dialog_ends.push(ends, QueuedDialog::new(slot, key));
            self.forget_dialog_end(before, slot, key);
        }
        Some(result)
    }

    /// A dialog begins to watch an address as one of many. Its own list of them is the caller's business.
    pub(super) fn join_batch(&mut self, address: &Aor, dialog: (Slot, DialogKey)) {
        let hash = slot::hash(address.as_str());
        let table = self.slots.own(Slot::of_hash(hash));
        let place = table.find(hash, address.as_str()).unwrap_or_else(|place| {
            self.counts.presentities += 1;
            table.insert(place, hash, Watched::new(Presentity::new(address.clone())));
            place
        });
        table.at_mut(place).add_batch(dialog);
    }

    /// The contrary.
    pub(super) fn leave_batch(&mut self, address: &Aor, dialog: (Slot, DialogKey)) {
        let hash = slot::hash(address.as_str());
        let slot = Slot::of_hash(hash);
        let table = self.slots.own(slot);
        let Ok(place) = table.find(hash, address.as_str()) else {
            return;
        };
        let watched = table.at_mut(place);
        watched.remove_batch(dialog);
        if watched.is_empty() {
            self.forget_presentity(slot, place);
        }
    }

    /// Derives again what a snapshot does not hold: who watches whom as one of many.
    pub(super) fn index(&mut self) {
        let mut joins = Vec::new();
        for table in &self.slots.0 {
            for (key, held) in &table.dialogs {
                if let Some(watch) = held.dialog.watch.as_deref() {
                    let slot = held.dialog.slot();
                    joins.extend(watch.members().map(|aor| (aor.clone(), (slot, *key))));
                }
            }
        }
        for (aor, dialog) in joins {
            self.join_batch(&aor, dialog);
        }
    }

    /// Forgets a dialog and gives it back; its presentity too, if nothing else is kept for it. Whom it
    /// watches in other shards hears of it.
    pub(super) fn remove_dialog(&mut self, slot: Slot, key: DialogKey) -> Option<Dialog> {
        let dialog = self.take_dialog(slot, key)?;
        if let Some(watch) = dialog.watch.as_deref() {
            for address in watch.members() {
                self.leave_batch(address, (slot, key));
            }
            for (address, generation) in watch.relayed() {
                let sink = Sink { slot, dialog: key };
                self.end_relay(address, sink, generation);
            }
        }
        Some(dialog)
    }

    /// A dialog watches an address of another shard no more.
    pub(super) fn end_relay(&mut self, address: &Aor, sink: Sink, generation: u64) {
        let command = Command::RelayEnd {
            presentity: address.as_str(),
            sink,
            generation,
        };
        let about = parcel::about("watch", sink.dialog, address.as_str());
        let to = Destination::Slot(address.slot());
        self.post(sink.slot, Parcel::new(to, about, &command));
    }

    /// Whether somebody is told who watches an address.
    pub(super) fn is_observed(&self, address: &Aor) -> bool {
        self.observed.contains_key(address)
    }

    fn observe_no_more(&mut self, dialog: &Dialog) {
        if dialog.package == Package::Winfo
            && let Some(count) = self.observed.get_mut(&dialog.presentity)
        {
            *count -= 1;
            if *count == 0 {
                self.observed.remove(&dialog.presentity);
            }
        }
    }

    /// Dialogs of an endpoint that live with another address than its user's.
    pub(super) fn dialogs_of(&self, watcher: &Aor, endpoint: EndpointId) -> Vec<(Slot, DialogKey)> {
        let owner = (watcher.clone(), endpoint);
        self.of_endpoints.get(&owner).cloned().unwrap_or_default()
    }

    /// Keeps a parcel until it is delivered, with the slot that it is about.
    pub(super) fn post(&mut self, slot: Slot, parcel: Parcel) {
        let counts = &mut self.counts;
        let table = self.slots.own(slot);
        let yields =
            |(number, old): (&u64, &Arc<Parcel>)| old.yields_to(&parcel).then_some(*number);
        if let Some(number) = table.parcels.iter().find_map(yields) {
            table.parcels.remove(&number);
            counts.parcels -= 1;
        }
        if counts.parcels >= PARCELS_MAX as u64 {
            counts.parcels_lost += 1;
            return;
        }
        table.parcels_made += 1;
        let number = table.parcels_made;
        table.parcels.insert(number, Arc::new(parcel));
        counts.parcels += 1;
        self.posted.push((slot, number));
    }

    /// A parcel has arrived wherever it was to.
    pub(super) fn delivered(&mut self, slot: Slot, number: u64) {
        if self.slots.of(slot).parcels.contains_key(&number) {
            self.slots.own(slot).parcels.remove(&number);
            self.counts.parcels -= 1;
        }
    }

    /// The parcels that the entry in progress has made, as far as they are still there.
    pub(super) fn take_posted(&mut self) -> Vec<(Slot, u64)> {
        let mut posted = std::mem::take(&mut self.posted);
        posted.retain(|(slot, number)| self.parcel(*slot, *number).is_some());
        posted
    }

    /// All parcels, slot by slot, the oldest first.
    pub(super) fn parcels(&self) -> Vec<(Slot, u64)> {
        let mut all = Vec::new();
        for (number, table) in (0..).zip(&self.slots.0) {
            let slot = Slot::new(number).expect("there are as many tables as slots");
            all.extend(table.parcels.keys().map(|number| (slot, *number)));
        }
        all
    }

    /// One of them.
    pub(super) fn parcel(&self, slot: Slot, number: u64) -> Option<&Arc<Parcel>> {
        self.slots.of(slot).parcels.get(&number)
    }

    /// Takes over the parcels that a snapshot holds of one slot; `false` when no machine holds that.
    pub(super) fn restore_parcels(
        &mut self,
        slot: Slot,
        made: u64,
        parcels: Vec<(u64, Parcel)>,
    ) -> bool {
        let ordered = parcels.is_sorted_by(|(a, _), (b, _)| a < b);
        let counted = parcels.last().is_none_or(|(newest, _)| *newest <= made);
        if made == 0 {
            return parcels.is_empty();
        }
        let table = self.slots.own(slot);
        table.parcels_made = made;
        self.counts.parcels += parcels.len() as u64;
        let parcels = parcels.into_iter();
        table.parcels = parcels.map(|(number, p)| (number, Arc::new(p))).collect();
        ordered && counted
    }

    fn forget_owner(&mut self, dialog: &Dialog, slot: Slot, key: DialogKey) {
        self.observe_no_more(dialog);
        let Some(owner) = owner_of(dialog) else {
            return;
        };
        let left = self.of_endpoints.get_mut(&owner).is_some_and(|dialogs| {
            dialogs.retain(|dialog| *dialog != (slot, key));
            !dialogs.is_empty()
        });
        if !left {
            self.of_endpoints.remove(&owner);
        }
    }

    fn take_dialog(&mut self, slot: Slot, key: DialogKey) -> Option<Dialog> {
        let table = self.slots.own(slot);
        let held = table.dialogs.remove(&key)?;
        let address = held.dialog.presentity.as_str();
        let place = table
            .find(slot::hash(address), address)
            .expect("a presentity is kept as long as somebody watches it");
        let watched = table.at_mut(place);
        watched.remove_watcher(key);
        watched.forget_traces();
        let empty = watched.is_empty();
        self.forget_owner(&held.dialog, slot, key);
        self.counts.dialogs -= 1;
        if empty {
            self.forget_presentity(slot, place);
        }
        self.forget_dialog_end(held.queued_for, slot, key);
        Some(Arc::unwrap_or_clone(held).dialog)
    }

    fn forget_dialog_end(&mut self, queued_for: Timestamp, slot: Slot, key: DialogKey) {
        if queued_for == NEVER {
            return;
        }
        let slots = &self.slots;
        self.dialog_ends
            .forget(queued_for, QueuedDialog::new(slot, key), |queued| {
                let held = slots.of(queued.slot()).dialogs.get(&queued.key())?;
                Some(held.queued_for)
            });
    }

    /// Lets `visit` change every dialog that watches an address in a package, by ascending key. It
    /// leaves the dialog's end where it is.
    pub(super) fn for_each_watcher(
        &mut self,
        address: &str,
        package: Package,
        visit: impl FnMut(DialogKey, &mut Dialog),
    ) {
        let hash = slot::hash(address);
        let table = self.slots.own(Slot::of_hash(hash));
        if let Ok(place) = table.find(hash, address) {
            table.for_each_watcher(place, package, visit);
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
        let table = self.slots.own(slot);
        let last = table.find(hash, presentity.aor.as_str()) == Err(table.len());
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
        table.insert(table.len(), hash, watched);
        for (key, dialog) in dialogs {
            self.insert_dialog(key, dialog);
        }
        true
    }

    /// Takes a slot's table out: nothing of it is found, counted or ended any more. No dialog that stays
    /// watches anybody in it, and none in it anybody who stays.
    pub(super) fn set_aside(&mut self, slot: Slot) -> Arc<SlotTable> {
        let table = std::mem::take(&mut self.slots.0[usize::from(slot.number())]);
        for watched in table.iter() {
            self.counts.presentities -= 1;
            subtract(&mut self.counts, &watched.presentity);
            if watched.queued_for != NEVER {
                self.forget_presentity_end(watched.queued_for, watched.presentity.aor.clone());
            }
        }
        for (key, held) in &table.dialogs {
            self.counts.dialogs -= 1;
            self.forget_dialog_end(held.queued_for, slot, *key);
            self.forget_owner(&held.dialog, slot, *key);
        }
        self.counts.parcels -= table.parcels.len() as u64;
        table
    }

    /// Puts a table in that was set aside, here or in another machine, where there is none.
    pub(super) fn put_in(&mut self, slot: Slot, table: Arc<SlotTable>) {
        for watched in table.iter() {
            self.counts.presentities += 1;
            add(&mut self.counts, &watched.presentity);
            if watched.queued_for != NEVER {
                let aor = watched.presentity.aor.clone();
                self.presentity_ends.push(watched.queued_for, aor);
            }
        }
        // Whoever was handed them elsewhere may have died with them.
        self.posted
            .extend(table.parcels.keys().map(|number| (slot, *number)));
        self.counts.parcels += table.parcels.len() as u64;
        for (key, held) in &table.dialogs {
            observe(&mut self.observed, &held.dialog);
            if let Some(owner) = owner_of(&held.dialog) {
                let dialogs = self.of_endpoints.entry(owner).or_default();
                dialogs.push((slot, *key));
            }
            self.counts.dialogs += 1;
            if held.queued_for != NEVER {
                self.dialog_ends
                    .push(held.queued_for, QueuedDialog::new(slot, *key));
            }
        }
        let place = &mut self.slots.0[usize::from(slot.number())];
        assert!(place.is_bare(), "a slot comes to where it is not");
        *place = table;
    }

    /// The slots of all whom the batched dialogs of a slot watch, but through relays.
    pub(super) fn batch_members(&self, slot: Slot) -> impl Iterator<Item = Slot> + '_ {
        let held = self.table(slot).dialogs.values();
        let watches = held.filter_map(|held| held.dialog.watch.as_deref());
        watches.flat_map(|watch| watch.members().map(Aor::slot))
    }

    /// Nothing ends before this instant; see [`Deadlines::first`].
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let presentities = self.presentity_ends.first();
        presentities
            .into_iter()
            .chain(self.dialog_ends.first())
            .min()
    }

    /// Gets everything that `now` has reached ready for [`Store::due`]: what was queued for a second
    /// that opens is queued for its true deadline.
    pub(super) fn open(&mut self, now: Timestamp) {
        while let Some((second, aors)) = self.presentity_ends.open(now) {
            for aor in aors {
                let Some(watched) = self.slots.find(aor.as_str()) else {
                    continue;
                };
                let queued_for = watched.queued_for;
                if queued_for == NEVER || queued_for.second() != second {
                    continue;
                }
                let truly = watched.presentity.next_deadline().unwrap_or(NEVER);
                if truly != queued_for
                    && let Some(watched) = self.slots.find_own(aor.as_str())
                {
                    watched.queued_for = truly;
                }
                if truly != NEVER {
                    self.presentity_ends.push(truly, aor);
                }
            }
        }
        while let Some((second, dialogs)) = self.dialog_ends.open(now) {
            for queued in dialogs {
                let (slot, key) = (queued.slot(), queued.key());
                let Some(held) = self.slots.of(slot).dialogs.get(&key) else {
                    continue;
                };
                let (queued_for, truly) = (held.queued_for, held.dialog.due_at());
                if queued_for == NEVER || queued_for.second() != second {
                    continue;
                }
                if truly != queued_for
                    && let Some(held) = self.slots.dialog_own(slot, key)
                {
                    held.queued_for = truly;
                }
                self.dialog_ends.push(truly, queued);
            }
        }
    }

    /// Takes the first that is due at `now`, and when it was due: by deadline, presentities before
    /// dialogs, by address or by slot and key. It is not queued any more: the caller changes it, which
    /// queues it again if it still lives.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let dialog_first = match (
            self.presentity_ends.first_open(),
            self.dialog_ends.first_open(),
        ) {
            (Some(presentity), Some(dialog)) => dialog < presentity,
            (presentity, _) => presentity.is_none(),
        };
        if dialog_first {
            let (at, queued) = self.dialog_ends.due(now)?;
            let (slot, key) = (queued.slot(), queued.key());
            if let Some(held) = self.slots.dialog_own(slot, key) {
                held.queued_for = NEVER;
            }
            Some((at, Due::Dialog(slot, key)))
        } else {
            let (at, aor) = self.presentity_ends.due(now)?;
            if let Some(watched) = self.slots.find_own(aor.as_str()) {
                watched.queued_for = NEVER;
            }
            Some((at, Due::Presentity(aor)))
        }
    }
}

/// Notes who wants to know who watches it.
fn observe(observed: &mut BTreeMap<Aor, u32>, dialog: &Dialog) {
    if dialog.package == Package::Winfo {
        *observed.entry(dialog.presentity.clone()).or_default() += 1;
    }
}

/// The endpoint that a dialog belongs to, where it is not found with its user's address.
fn owner_of(dialog: &Dialog) -> Option<(Aor, EndpointId)> {
    let elsewhere = dialog.watcher != dialog.presentity;
    let endpoint = dialog.endpoint().filter(|_| elsewhere)?;
    Some((dialog.watcher.clone(), endpoint))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::publication::{EntityTag, Publish, TagPolicy};
    use crate::subscription::dialog::{Format, LocalTag, Subscribe};

    const BEGIN: Timestamp = Timestamp(1_000_000);

    fn publish(store: &mut Store, address: &str, index: u64, expires_s: u32, now: Timestamp) {
        let publish = Publish {
            presentity: address,
            package: Package::Presence,
            if_match: index.checked_sub(1).map(|index| EntityTag {
                salt: 0,
                index,
                position: 0,
            }),
            content: Some(b"content"),
            expires_s,
            tag_policy: TagPolicy::Renew,
            bearing: Default::default(),
        };
        let fresh = EntityTag {
            salt: 0,
            index,
            position: 0,
        };
        let done = store.change(address, |presentity, _| {
            presentity.publish(&publish, fresh, now, &mut Default::default())
        });
        assert!(done.is_ok(), "{done:?}");
    }

    fn dialog(address: &str, expires_s: u32, now: Timestamp) -> Dialog {
        let request = Subscribe {
            presentity: address,
            watcher: "bob@example.com",
            package: Package::Presence,
            format: Format::Pidf,
            dialog: DialogKey(1),
            local_tag: LocalTag::new(Slot::of(address), 7),
            cseq: 1,
            expires_s,
            route: b"route",
            target: b"target",
            extras: None,
            savers: None,
        };
        Dialog::open(&request, Aor::from_canonical(address), now)
    }

    /// Everything that is due at `now`, and when it was.
    fn due(store: &mut Store, now: Timestamp) -> Vec<(u64, Due)> {
        store.open(now);
        std::iter::from_fn(|| store.due(now))
            .map(|(at, due)| (at.0 - BEGIN.0, due))
            .collect()
    }

    #[test]
    fn a_prolonged_life_ends_late_and_a_shortened_one_early() {
        let alice = Aor::sip("alice", "example.com");
        let address = alice.as_str();
        let key = DialogKey(9);
        for (name, lives_s, expected_ms) in [
            ("once", vec![60], 60_000),
            ("longer", vec![60, 90], 90_000),
            ("shorter", vec![60, 30], 30_000),
            ("shorter, then longer", vec![60, 30, 90], 90_000),
            ("longer, then shorter", vec![60, 90, 61], 61_000),
        ] {
            let mut store = Store::default();
            for (index, expires_s) in (0..).zip(&lives_s) {
                publish(&mut store, address, index, *expires_s, BEGIN);
            }
            store.insert_dialog(key, dialog(address, lives_s[0], BEGIN));
            for expires_s in &lives_s[1..] {
                let until = BEGIN.plus_s(*expires_s);
                store.change_dialog(alice.slot(), key, |dialog| dialog.expires_at = until);
            }
            let expected = Timestamp(BEGIN.0 + expected_ms);
            assert!(
                store.next_deadline().is_some_and(|first| first <= expected),
                "{name}"
            );
            assert_eq!(due(&mut store, Timestamp(expected.0 - 1)), [], "{name}");
            assert_eq!(
                due(&mut store, expected),
                [
                    (expected_ms, Due::Presentity(alice.clone())),
                    (expected_ms, Due::Dialog(alice.slot(), key))
                ],
                "{name}"
            );
        }
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing_behind() {
        let mut store = Store::default();
        for round in 0..20_000u64 {
            let now = Timestamp(BEGIN.0 + round);
            let address = format!("p{}@example.com", round % 7);
            publish(&mut store, &address, 0, 3_600, now);
            publish(&mut store, &address, 1, 0, now);
            let key = DialogKey(u128::from(round));
            store.insert_dialog(key, dialog(&address, 3_600, now));
            assert!(store.remove_dialog(Slot::of(&address), key).is_some());
        }
        assert_eq!(store.counts(), Counts::default());
        assert!(
            store
                .slots
                .0
                .iter()
                .all(|table| table.len() == 0 && table.dialogs.is_empty())
        );
        assert_eq!(store.next_deadline(), None);
    }

    #[test]
    fn many_presentities_share_a_slot() {
        let mut store = Store::default();
        let addresses: Vec<String> = (0..200_000)
            .map(|number| format!("p{number}@example.com"))
            .filter(|address| Slot::of(address).number() == 5)
            .collect();
        assert!(addresses.len() > 100);
        for address in &addresses {
            publish(&mut store, address, 0, 60, BEGIN);
        }
        for (address, other) in addresses.iter().zip(addresses.iter().rev()) {
            let found = store
                .watched(address)
                .map(|watched| watched.presentity.aor.as_str());
            assert_eq!(found, Some(address.as_str()));
            let key = DialogKey(u128::from(slot::hash(address)));
            store.insert_dialog(key, dialog(other, 60, BEGIN));
        }
        assert_eq!(store.counts().dialogs as usize, addresses.len());
        let shared = store.share();
        for address in &addresses {
            publish(&mut store, address, 1, 0, BEGIN);
        }
        assert_eq!(store.counts().publications, 0);
        assert_eq!(shared[5].len(), addresses.len());
        assert!(
            shared[5]
                .iter()
                .all(|watched| watched.presentity.publications.len() == 1)
        );
    }

    #[test]
    fn a_snapshot_cannot_hold_what_a_machine_does_not() {
        let alice = Aor::sip("alice", "example.com");
        let (slot, other) = (alice.slot(), Aor::sip("bob", "example.com").slot());
        let two = || {
            vec![
                (DialogKey(1), dialog(alice.as_str(), 60, BEGIN)),
                (DialogKey(2), dialog(alice.as_str(), 60, BEGIN)),
            ]
        };
        let nobody = || Presentity::new(alice.clone());
        for (name, slot, dialogs, good) in [
            ("two watchers", slot, two(), true),
            ("another slot", other, two(), false),
            ("nothing at all", slot, vec![], false),
            (
                "out of order",
                slot,
                two().into_iter().rev().collect(),
                false,
            ),
            (
                "one twice",
                slot,
                vec![two().remove(0), two().remove(0)],
                false,
            ),
        ] {
            let mut store = Store::default();
            assert_eq!(store.restore(slot, nobody(), dialogs), good, "{name}");
            if good {
                assert!(!store.restore(slot, nobody(), two()), "{name}, again");
            }
        }
    }
}
