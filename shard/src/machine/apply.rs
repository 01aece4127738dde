//! `Machine::apply`: time first, then each request, then who is told.
//!
//! All replies of an entry come before its notifications, and a presentity that changed several times
//! within an entry is shown once, as it is at the end: a watcher gets the newest state, its 200 before
//! its first NOTIFY, and one sequence number per entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{Act, Audit, Command, Entry, Request};
use super::effect::{Effect, Notice, SubscriptionState};
use super::expiry::{Deadlines, Mortal};
use super::outcome::{Outcome, Refusal};
use super::replies::Replies;
use super::slots::{Presentity, Slots};
use crate::presence::endpoint::{Endpoint, Register};
use crate::presence::limits::{REPLY_MEMORY_MS, WATCHERS_MAX};
use crate::presence::publication::{EntityTag, Publication, Publish};
use crate::slot::{Aor, SLOTS, Slot};
use crate::subscription::dialog::{Dialog, DialogKey, EndReason, Package, Resubscribe, Subscribe};
use crate::subscription::view::View;
use crate::time::Timestamp;

/// Entries between two audits (house D16).
const AUDIT_EVERY: u64 = 4_096;

/// The state of one shard. A plain struct: drivable by a thread, a test, a bench and a simulator.
#[derive(Debug, Default)]
pub struct Machine {
    pub(super) now: Timestamp,
    /// Part of every entity-tag; drawn when the shard's first term started.
    pub(super) salt: Option<u32>,
    pub(super) slots: Slots,
    pub(super) replies: Replies,
    /// Digest of all replies and notices so far.
    pub(super) history: u64,
    /// The last audit, to compare with what the log attests.
    pub(super) audit: Option<Audit>,
    /// Derived from the slots.
    pub(super) deadlines: Deadlines,
    pub(super) counts: Counts,
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

/// Who is to be told of one presentity at the end of an entry.
#[derive(Debug, Default)]
struct Telling {
    /// Everybody who watches.
    all: bool,
    /// These dialogs in any case.
    some: Vec<DialogKey>,
    /// These dialogs have ended and are told so.
    ended: Vec<(DialogKey, Dialog, EndReason)>,
}

/// Who is to be told, in the order of the addresses.
type Told = BTreeMap<Aor, Telling>;

impl Machine {
    /// Applies the entry at log position `index`: time first, then its requests in order. Effects are
    /// appended; whether they are performed is the runner's decision.
    ///
    /// # Panics
    /// When the entry attests a digest that this replica does not have (house D16): a wrong replica
    /// that stops costs one replica, one that continues costs the pool.
    pub fn apply(&mut self, index: u64, entry: &Entry<'_>, effects: &mut Vec<Effect>) {
        let first = effects.len();
        let before = self.now;
        self.now = self.now.max(entry.at);
        let mut told = Told::new();
        self.expire_until(self.now, index, &mut told);
        assert!(
            self.deadlines.next().is_none_or(|deadline| deadline > self.now),
            "everything due has ended before the requests"
        );
        self.replies.forget(self.now);

        match &entry.act {
            Act::TermStart { salt, .. } => {
                self.salt.get_or_insert(*salt);
                self.tell_again(before, &mut told);
            }
            Act::Requests(requests) => {
                for (position, request) in requests.iter().enumerate() {
                    let fresh = EntityTag { salt: self.salt.unwrap_or_default(), index, position: position as u16 };
                    let outcome = match self.replies.find(request.key) {
                        Some(remembered) => remembered.clone(),
                        None => self.decide(request, fresh, &mut told),
                    };
                    effects.push(Effect::Reply { ticket: request.ticket, outcome });
                }
            }
            Act::Attest(attested) => self.compare(attested),
        }
        self.tell(told, effects);
        self.digest(index, &effects[first..]);
    }

    fn decide(&mut self, request: &Request<'_>, fresh: EntityTag, told: &mut Told) -> Outcome {
        let outcome = match &request.command {
            Command::Register(register) => self.register(register),
            Command::Publish(publish) => self.publish(publish, fresh, told),
            Command::Subscribe(subscribe) => self.subscribe(subscribe, told),
            Command::Resubscribe(resubscribe) => self.resubscribe(resubscribe, told),
            Command::EndDialog { slot, dialog, reason } => self.end_dialog(*slot, *dialog, *reason, told),
        };
        let outcome = outcome.unwrap_or_else(Outcome::Refused);
        self.replies.remember(request.key, outcome.clone(), self.now);
        outcome
    }

    fn register(&mut self, register: &Register<'_>) -> Result<Outcome, Refusal> {
        let table = self.slots.table_mut(Slot::of(register.aor));
        let presentity = table.presentity_mut(register.aor);
        let before: Vec<(Timestamp, u64)> = deadlines_of(&presentity.endpoints);
        let done = presentity.register(register, self.now);
        let after = deadlines_of(&presentity.endpoints);
        let endpoints: Arc<[Endpoint]> = presentity.endpoints.as_slice().into();
        let aor = table.own_aor(register.aor).expect("it was looked at above").clone();
        table.tidy(register.aor);
        done?;
        self.counts.endpoints = self.counts.endpoints + after.len() as u64 - before.len() as u64;
        for (at, binding) in before {
            self.deadlines.clear(at, Mortal::Endpoint(aor.clone(), binding));
        }
        for (at, binding) in after {
            self.deadlines.set(at, Mortal::Endpoint(aor.clone(), binding));
        }
        Ok(Outcome::Registered { endpoints, at: self.now })
    }

    fn publish(&mut self, publish: &Publish<'_>, fresh: EntityTag, told: &mut Told) -> Result<Outcome, Refusal> {
        let table = self.slots.table_mut(Slot::of(publish.presentity));
        let presentity = table.presentity_mut(publish.presentity);
        let done = presentity.publish(publish, fresh, self.now);
        if done.is_ok_and(|done| done.visible) {
            presentity.revision = fresh.index;
        }
        let watched = !presentity.watchers.is_empty();
        let aor = table.own_aor(publish.presentity).expect("it was looked at above").clone();
        table.tidy(publish.presentity);
        let done = done?;
        if let Some((at, number)) = done.ends {
            self.deadlines.clear(at, Mortal::Publication(aor.clone(), number));
            self.counts.publications -= 1;
        }
        if let Some((at, number)) = done.begins {
            self.deadlines.set(at, Mortal::Publication(aor.clone(), number));
            self.counts.publications += 1;
        }
        if done.visible && watched {
            told.entry(aor).or_default().all = true;
        }
        Ok(Outcome::Published { tag: done.tag, expires_s: publish.expires_s })
    }

    //= RFC 6665 4.2.1
    //# an accepted SUBSCRIBE makes a dialog, and its state is told at once
    fn subscribe(&mut self, subscribe: &Subscribe<'_>, told: &mut Told) -> Result<Outcome, Refusal> {
        let slot = Slot::of(subscribe.presentity);
        let table = self.slots.table_mut(slot);
        if table.dialogs.contains_key(&subscribe.dialog) {
            return Err(Refusal::OutOfOrder);
        }
        let presentity = table.presentity_mut(subscribe.presentity);
        if presentity.watchers.len() >= WATCHERS_MAX {
            return Err(Refusal::TooManyWatchers);
        }
        presentity.watchers.insert(subscribe.dialog);
        let aor = table.own_aor(subscribe.presentity).expect("it was made above").clone();
        let expires_at = self.now.plus_s(subscribe.expires_s);
        let dialog = Dialog {
            presentity: aor.clone(),
            watcher: Aor::from_canonical(subscribe.watcher),
            package: subscribe.package,
            format: subscribe.format,
            local_tag: subscribe.local_tag,
            local_cseq: 0,
            remote_cseq: subscribe.cseq,
            expires_at,
            notified_at: self.now,
            route: subscribe.route.into(),
            target: subscribe.target.into(),
        };
        table.dialogs.insert(subscribe.dialog, dialog);
        self.deadlines.set(expires_at, Mortal::Dialog(slot, subscribe.dialog));
        self.counts.dialogs += 1;
        told.entry(aor).or_default().some.push(subscribe.dialog);
        Ok(Outcome::Subscribed { local_tag: subscribe.local_tag, expires_s: subscribe.expires_s })
    }

    //= RFC 6665 4.2.1.2
    //# a refresh is answered with the current state; Expires 0 ends the subscription with a last NOTIFY
    fn resubscribe(&mut self, resubscribe: &Resubscribe<'_>, told: &mut Told) -> Result<Outcome, Refusal> {
        let Resubscribe { slot, dialog: key, cseq, expires_s, target } = *resubscribe;
        if !self.slots.table(slot).dialogs.contains_key(&key) {
            return Err(Refusal::UnknownDialog);
        }
        let dialog = self.slots.table_mut(slot).dialogs.get_mut(&key).expect("it is there");
        //= RFC 3261 12.2.2
        //# a request with a lower CSeq than the one before is out of order
        if cseq <= dialog.remote_cseq {
            return Err(Refusal::OutOfOrder);
        }
        dialog.remote_cseq = cseq;
        //= RFC 3261 12.2.2
        //# a refresh replaces the remote target
        if *dialog.target != *target {
            dialog.target = target.into();
        }
        let local_tag = dialog.local_tag;
        if expires_s == 0 {
            self.remove_dialog(slot, key, Some(EndReason::Timeout), told);
        } else {
            let before = dialog.expires_at;
            dialog.expires_at = self.now.plus_s(expires_s);
            let (after, aor) = (dialog.expires_at, dialog.presentity.clone());
            self.deadlines.clear(before, Mortal::Dialog(slot, key));
            self.deadlines.set(after, Mortal::Dialog(slot, key));
            told.entry(aor).or_default().some.push(key);
        }
        Ok(Outcome::Subscribed { local_tag, expires_s })
    }

    fn end_dialog(&mut self, slot: Slot, key: DialogKey, reason: EndReason, told: &mut Told) -> Result<Outcome, Refusal> {
        if !self.slots.table(slot).dialogs.contains_key(&key) {
            return Err(Refusal::UnknownDialog);
        }
        // Who cannot be reached is not told.
        let tell = (reason != EndReason::Unreachable).then_some(reason);
        self.remove_dialog(slot, key, tell, told);
        Ok(Outcome::Ended)
    }

    /// Takes a dialog out of the store; with a reason it is told so, in its last NOTIFY.
    fn remove_dialog(&mut self, slot: Slot, key: DialogKey, tell: Option<EndReason>, told: &mut Told) {
        let table = self.slots.table_mut(slot);
        let Some(dialog) = table.dialogs.remove(&key) else { return };
        table.presentity_mut(dialog.presentity.as_str()).watchers.remove(&key);
        table.tidy(dialog.presentity.as_str());
        self.deadlines.clear(dialog.expires_at, Mortal::Dialog(slot, key));
        self.counts.dialogs -= 1;
        if let Some(reason) = tell {
            told.entry(dialog.presentity.clone()).or_default().ended.push((key, dialog, reason));
        }
    }

    /// Ends everything whose time has come, in the order of (deadline, key).
    fn expire_until(&mut self, now: Timestamp, index: u64, told: &mut Told) {
        while let Some(mortal) = self.deadlines.take_due(now) {
            match mortal {
                Mortal::Publication(aor, number) => {
                    let table = self.slots.table_mut(aor.slot());
                    let presentity = table.presentity_mut(aor.as_str());
                    let ended = presentity.expire_publication(number, now);
                    assert!(ended, "a deadline of a publication is a publication's");
                    presentity.revision = index;
                    let watched = !presentity.watchers.is_empty();
                    table.tidy(aor.as_str());
                    self.counts.publications -= 1;
                    if watched {
                        told.entry(aor).or_default().all = true;
                    }
                }
                Mortal::Endpoint(aor, binding) => {
                    let table = self.slots.table_mut(aor.slot());
                    let ended = table.presentity_mut(aor.as_str()).expire_endpoint(binding, now);
                    assert!(ended, "a deadline of an endpoint is an endpoint's");
                    table.tidy(aor.as_str());
                    self.counts.endpoints -= 1;
                }
                //= RFC 6665 4.2.2
                //# a subscription that was not refreshed ends with terminated;reason=timeout
                Mortal::Dialog(slot, key) => self.remove_dialog(slot, key, Some(EndReason::Timeout), told),
            }
        }
    }

    /// A new leader does not know what the old one still sent: whoever was notified within 64·T1 before
    /// is notified again, with the next CSeq (house D8).
    fn tell_again(&self, before: Timestamp, told: &mut Told) {
        for (_, table) in self.slots.used() {
            for (key, dialog) in &table.dialogs {
                if dialog.notified_at.0 + REPLY_MEMORY_MS >= before.0 {
                    told.entry(dialog.presentity.clone()).or_default().some.push(*key);
                }
            }
        }
    }

    /// Turns who is to be told into notices, each with the next CSeq of its dialog.
    //= RFC 3261 12.2.1.1
    //# the CSeq of each request within a dialog is higher than the one before
    fn tell(&mut self, told: Told, effects: &mut Vec<Effect>) {
        let now = self.now;
        for (aor, telling) in told {
            let slot = aor.slot();
            let view = Arc::new(self.view(&aor, Package::Presence));
            let mut notices = Vec::new();
            for (key, mut dialog, reason) in telling.ended {
                dialog.local_cseq += 1;
                notices.push(Notice::of(key, &dialog, SubscriptionState::Terminated(reason)));
            }
            let mut keys = telling.some;
            if telling.all
                && let Some(presentity) = self.slots.presentity(aor.as_str())
            {
                keys.extend(presentity.watchers.iter().copied());
            }
            keys.sort_unstable();
            keys.dedup();
            if !keys.is_empty() {
                notices.reserve_exact(keys.len());
                let table = self.slots.table_mut(slot);
                for key in keys {
                    // Subscribed and ended within one entry: its end is told above.
                    let Some(dialog) = table.dialogs.get_mut(&key) else { continue };
                    dialog.local_cseq += 1;
                    dialog.notified_at = now;
                    let expires_s = dialog.expires_at.seconds_after(now);
                    notices.push(Notice::of(key, dialog, SubscriptionState::Active { expires_s }));
                }
            }
            if !notices.is_empty() {
                effects.push(Effect::Notify { view, notices });
            }
        }
    }

    fn view(&self, aor: &Aor, package: Package) -> View {
        let presentity = self.slots.presentity(aor.as_str());
        let publications = presentity.map_or(&[][..], |presentity| &presentity.publications);
        View {
            presentity: aor.clone(),
            package,
            revision: presentity.map_or(0, |presentity| presentity.revision),
            taken_at: self.now,
            contents: publications
                .iter()
                .filter(|(of, _)| *of == package)
                .map(|(_, publication)| Arc::clone(&publication.content))
                .collect(),
        }
    }

    /// Carries the digests on: every entry's effects into the history, and every 4,096th entry an audit.
    fn digest(&mut self, index: u64, effects: &[Effect]) {
        self.history = super::digest::of_effects(self.history, effects);
        let due = self.audit.map_or(0, |audit| audit.index) + AUDIT_EVERY;
        if index >= due {
            // The slots take turns, so that each is looked at once in 1,024 audits.
            let slot = Slot::new(((index / AUDIT_EVERY) % u64::from(SLOTS)) as u16).expect("below the limit");
            let slot_digest = super::digest::of_slot(self.slots.table(slot));
            self.audit = Some(Audit { index, slot_digest, history_digest: self.history });
        }
    }

    fn compare(&self, attested: &Audit) {
        let Some(mine) = self.audit.filter(|mine| mine.index == attested.index) else { return };
        assert!(
            mine == *attested,
            "this replica has gone astray: after entry {} it has {mine:?}, the pool has {attested:?}; \
             remove its data folder and let it join again",
            mine.index
        );
    }

    /// Entry time: the greatest that an entry carried.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When something expires next; the proposer then proposes an entry, an empty one if need be.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    /// The last audit, for the leader to attest.
    #[must_use]
    pub fn audit(&self) -> Option<Audit> {
        self.audit
    }

    /// Digest of everything ever answered and notified: equal on all replicas after equal entries.
    #[must_use]
    pub fn history_digest(&self) -> u64 {
        self.history
    }

    /// Digest of one slot's state.
    #[must_use]
    pub fn slot_digest(&self, slot: Slot) -> u64 {
        super::digest::of_slot(self.slots.table(slot))
    }

    /// What a watcher would see now: a fetch (RFC 6665 §4.4.3), answered without a log entry.
    #[must_use]
    pub fn fetch(&self, presentity: &str, package: Package) -> Arc<View> {
        Arc::new(self.view(&Aor::from_canonical(presentity), package))
    }

    /// Whether a publication with this tag lives.
    #[must_use]
    pub fn holds(&self, presentity: &str, package: Package, tag: EntityTag) -> bool {
        let presentity = self.slots.presentity(presentity);
        presentity.is_some_and(|presentity| {
            presentity.publications.iter().any(|(of, publication)| *of == package && publication.tag == tag)
        })
    }

    /// What is kept for one address; `None` when nothing is.
    #[must_use]
    pub fn report(&self, aor: &str) -> Option<Report> {
        let table = self.slots.table(Slot::of(aor));
        let presentity: &Presentity = table.presentities.get(aor)?;
        let watchers = presentity.watchers.iter();
        Some(Report {
            publications: presentity.publications.clone(),
            endpoints: presentity.endpoints.clone(),
            watchers: watchers.filter_map(|key| Some((*key, table.dialogs.get(key)?.clone()))).collect(),
        })
    }

    /// How much it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let presentities = self.slots.used().map(|(_, table)| table.presentities.len() as u64).sum();
        Counts { presentities, replies: self.replies.len() as u64, ..self.counts }
    }
}

fn deadlines_of(endpoints: &[Endpoint]) -> Vec<(Timestamp, u64)> {
    endpoints.iter().map(|endpoint| (endpoint.expires_at, endpoint.binding)).collect()
}

