//! The store: one table per slot, copied on write while a snapshot holds it.
//!
//! A snapshot clones 1,024 pointers (house D13). Whoever changes a slot while one holds it copies that
//! slot's table of pointers, and the one presentity it touches; everything else stays shared.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::presence::presentity;
use crate::slot::{Aor, SLOTS, Slot};
use crate::subscription::dialog::{Dialog, DialogKey};

/// A presentity whose watchers are dialogs.
pub type Presentity = presentity::Presentity<DialogKey>;

/// What lives in one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotTable {
    /// By address.
    pub presentities: BTreeMap<Aor, Arc<Presentity>>,
    /// By key. A dialog lives in the slot of what it watches.
    pub dialogs: BTreeMap<DialogKey, Dialog>,
}

/// All slots. Those of other shards are empty and cost a pointer.
#[derive(Clone, Debug)]
pub struct Slots {
    tables: Vec<Arc<SlotTable>>,
}

impl Default for Slots {
    fn default() -> Slots {
        Slots { tables: vec![Arc::default(); usize::from(SLOTS)] }
    }
}

impl Slots {
    /// A slot's table.
    #[must_use]
    pub fn table(&self, slot: Slot) -> &SlotTable {
        &self.tables[usize::from(slot.number())]
    }

    /// A slot's table, to change.
    pub fn table_mut(&mut self, slot: Slot) -> &mut SlotTable {
        Arc::make_mut(&mut self.tables[usize::from(slot.number())])
    }

    /// Puts a whole table in its place, when a snapshot is read.
    pub fn set(&mut self, slot: Slot, table: SlotTable) {
        self.tables[usize::from(slot.number())] = Arc::new(table);
    }

    /// Every slot that holds something, in order.
    pub fn used(&self) -> impl Iterator<Item = (Slot, &SlotTable)> {
        let all = self.tables.iter().enumerate();
        all.filter(|(_, table)| !table.presentities.is_empty() || !table.dialogs.is_empty())
            .filter_map(|(number, table)| Some((Slot::new(number as u16)?, &**table)))
    }

    /// What is kept for an address.
    #[must_use]
    pub fn presentity(&self, aor: &str) -> Option<&Presentity> {
        self.table(Slot::of(aor)).presentities.get(aor).map(|presentity| &**presentity)
    }
}

impl SlotTable {
    /// What is kept for an address, to change; made if there is nothing yet.
    pub fn presentity_mut(&mut self, aor: &str) -> &mut Presentity {
        if !self.presentities.contains_key(aor) {
            self.presentities.insert(Aor::from_canonical(aor), Arc::default());
        }
        Arc::make_mut(self.presentities.get_mut(aor).expect("it was made a line above"))
    }

    /// The stored address, so that it is held once.
    #[must_use]
    pub fn own_aor(&self, aor: &str) -> Option<&Aor> {
        self.presentities.get_key_value(aor).map(|(own, _)| own)
    }

    /// Forgets an address for which nothing is kept.
    pub fn tidy(&mut self, aor: &str) {
        if self.presentities.get(aor).is_some_and(|presentity| presentity.is_empty()) {
            self.presentities.remove(aor);
        }
    }
}
