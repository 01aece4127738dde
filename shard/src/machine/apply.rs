//! `Machine::apply`: time first, then each request, then whoever is to be notified.
//!
//! The effects of an entry are its replies in the order of its requests, then the notifications of
//! the presentities that the entry changed or was asked about, one for each, in the order of their
//! addresses. So a SUBSCRIBE is answered before it is notified, and several changes of one presentity
//! in one entry are told once, as what they come to.

use std::fmt;
use std::sync::Arc;

use crate::machine::command::{
    Act, Command, Entry, PublishSource, Register, Request, Resubscribe, Subscribe,
};
use crate::machine::digest::{self, History};
use crate::machine::effect::Effect;
use crate::machine::moves::{self, Export, Moves, Standing as Moved, Step};
use crate::machine::notices::Notices;
use crate::machine::outcome::{Outcome, Refusal};
use crate::machine::replies::Replies;
use crate::machine::snapshot::{self, Snapshot, SnapshotError, Standing};
use crate::machine::store::{Due, Store};
use crate::presence::contacts::{Contacts, Custody, List};
use crate::presence::endpoint::Endpoint;
use crate::presence::enhanced::{Changes, Enhanced, Profile};
use crate::presence::limits::WATCHERS_MAX;
use crate::presence::publication::{EntityTag, Publication, Publish};
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{Delivery, Dialog, DialogKey, EndReason, Package};
use crate::subscription::view::View;
use crate::subscription::watch::{Origin, Wish};
use crate::time::Timestamp;

/// The state of one shard. A plain struct: drivable by a thread, a test, a bench and a simulator.
#[derive(Default)]
pub struct Machine {
    pub(super) now: Timestamp,
    pub(super) applied: u64,
    salt: Option<u32>,
    history: History,
    pub(super) store: Store,
    replies: Replies,
    moves: Moves,
    /// Empty between entries.
    pub(super) notices: Notices,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("now", &self.now)
            .field("applied", &self.applied)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
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
    /// Batched dialogs that watch it as one of many.
    pub batches: Vec<(DialogKey, Dialog)>,
    /// Its enhanced presence.
    pub enhanced: Option<Box<Enhanced>>,
}

/// A contact list, for who moves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Whose.
    pub address: Aor,
    /// Who keeps it.
    pub custody: Custody,
    /// Whether a client is shown it now.
    pub shown: bool,
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
    /// What other shards have yet to be told.
    pub parcels: u64,
    /// What they will not be told, because too much waited: since this replica began.
    pub parcels_lost: u64,
}

/// Two replicas of one shard that are not alike: one of them has gone wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The slot that was compared.
    pub slot: Slot,
    /// The leader's digests, of the slot and of everything that was said so far.
    pub attested: (u64, u64),
    /// This replica's.
    pub here: (u64, u64),
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (attested, here) = (self.attested, self.here);
        write!(
            f,
            "the leader's digests of slot {} and of the history are {:016x} and {:016x}, this replica's are \
             {:016x} and {:016x}; one of them has gone wrong",
            self.slot.number(),
            attested.0,
            attested.1,
            here.0,
            here.1
        )
    }
}

impl Machine {
    /// Applies the entry at log position `index`: time first, then its requests in order. Effects are
    /// appended; whether they are performed is the runner's decision.
    ///
    /// # Panics
    /// When the entry attests a digest that this replica does not have (house D16): a wrong replica
    /// that stops costs one replica, one that continues costs the pool. When `index` is not higher
    /// than the one before.
    pub fn apply(&mut self, index: u64, entry: &Entry<'_>, effects: &mut Vec<Effect>) {
        assert!(
            index > self.applied,
            "entry {index} after entry {}",
            self.applied
        );
        if let Act::Attest {
            slot,
            slot_digest,
            history_digest,
        } = entry.act
        {
            let difference = self.compare(slot, slot_digest, history_digest);
            assert!(
                difference.is_none(),
                "entry {index}: {}",
                difference.map_or_else(String::new, |difference| difference.to_string())
            );
        }
        let before = self.now;
        self.applied = index;
        self.now = before.max(entry.at);
        self.expire();
        assert!(
            self.next_deadline()
                .is_none_or(|deadline| deadline > self.now)
        );
        self.replies.forget_until(self.now);

        match &entry.act {
            Act::TermStart { leader: _, salt } => {
                self.salt.get_or_insert(*salt);
                self.notify_again(before);
            }
            Act::Requests(requests) => {
                for (position, request) in requests.iter().enumerate() {
                    let outcome = self.answer(position, request);
                    self.history.reply(&outcome);
                    let shown = self.shown(&request.command, &outcome);
                    effects.push(Effect::Reply {
                        ticket: request.ticket,
                        outcome,
                        shown,
                    });
                }
            }
            Act::Attest { .. } => {}
        }
        self.notices
            .tell(&mut self.store, self.now, &mut self.history, effects);
        self.send(matches!(entry.act, Act::TermStart { .. }), effects);
        // What the entry changed before it froze a slot is told first.
        self.moves.part(&mut self.store);
        self.history.close(index, self.now);
    }

    /// Hands over what other shards are to be told: what this entry has made, or all that is left.
    fn send(&mut self, all: bool, effects: &mut Vec<Effect>) {
        let mut parcels = self.store.take_posted();
        if all {
            parcels = self.store.parcels();
        }
        for (slot, number) in parcels {
            if let Some(parcel) = self.store.parcel(slot, number) {
                let parcel = Arc::clone(parcel);
                self.history.send(slot, number, &parcel);
                effects.push(Effect::Send {
                    slot,
                    number,
                    parcel,
                });
            }
        }
    }

    /// How this replica differs from what an entry attests: what is attested must be true here. Asked
    /// before the entry is applied; nothing for an entry that attests nothing.
    #[must_use]
    pub fn differs(&self, entry: &Entry<'_>) -> Option<Difference> {
        match entry.act {
            Act::Attest {
                slot,
                slot_digest,
                history_digest,
            } => self.compare(slot, slot_digest, history_digest),
            Act::TermStart { .. } | Act::Requests(_) => None,
        }
    }

    fn compare(&self, slot: Slot, slot_digest: u64, history_digest: u64) -> Option<Difference> {
        let difference = Difference {
            slot,
            attested: (slot_digest, history_digest),
            here: (
                digest::of_slot(slot, self.store.table(slot), &self.moves),
                self.history.digest(),
            ),
        };
        (difference.attested != difference.here).then_some(difference)
    }

    /// Ends everything that is due, in the order of (deadline, key).
    //= RFC 6665 4.2.1.4
    //# a subscription that is not refreshed in time is removed, and its watcher told
    fn expire(&mut self) {
        let (now, index) = (self.now, self.applied);
        self.store.open(now);
        while let Some((at, due)) = self.store.due(now) {
            match due {
                Due::Presentity(aor) => {
                    let notices = &mut self.notices;
                    let ended = self.store.change(aor.as_str(), |presentity, _| {
                        let mut changes = Changes::default();
                        let ended = presentity.expire(at, index, &mut changes);
                        notices.changed(&aor, changes);
                        ended
                    });
                    self.endpoints_ended(aor.as_str(), &ended);
                }
                Due::Dialog(slot, key) => {
                    match self.store.dialog(slot, key).map(|d| d.expires_at <= at) {
                        Some(true) => {
                            self.end_dialog(slot, key, EndReason::Timeout);
                        }
                        Some(false) => self.renew_relays(slot, key),
                        None => {}
                    }
                }
            }
        }
    }

    /// What a new leader does for those whom the old one may not have reached any more: every dialog
    /// notified in the last 32 s before `before` is notified again (house D8).
    fn notify_again(&mut self, before: Timestamp) {
        for (key, dialog) in self.store.dialogs() {
            self.notices.again(key, dialog, before);
        }
    }

    /// The same for the dialogs of a slot that has come from another shard.
    fn tell_slot_again(&mut self, slot: Slot) {
        for (key, held) in &self.store.table(slot).dialogs {
            self.notices.again(*key, &held.dialog, self.now);
        }
    }

    /// The outcome of a request: the remembered one if it is a repeat.
    fn answer(&mut self, position: usize, request: &Request<'_>) -> Outcome {
        let home = request.command.home();
        // What was answered before has gone with the slot, and so has what would ride in the answer.
        if home.is_some_and(|home| self.moves.is_away(home)) {
            return Outcome::Moving;
        }
        if let Some(outcome) = self.replies.find(request.key) {
            return outcome.clone();
        }
        if self.asks_away(&request.command) {
            return Outcome::Moving;
        }
        let position = u16::try_from(position).expect("the codec counts requests in 16 bits");
        let outcome = self
            .perform(position, &request.command)
            .unwrap_or_else(Outcome::Refused);
        if let Some(home) = home {
            self.replies
                .remember(self.now, request.key, home, outcome.clone());
        }
        outcome
    }

    /// Whether a request needs to know of a slot that is on its way, beside its own.
    fn asks_away(&self, command: &Command<'_>) -> bool {
        let moves = &self.moves;
        if moves.is_unknown() {
            return false;
        }
        let (extras, watcher) = match command {
            // A dialog that is on its way would outlive its endpoint.
            Command::EndpointGone { .. } => return moves.is_incomplete(),
            Command::Subscribe(subscribe) => (subscribe.extras.as_deref(), Some(subscribe.watcher)),
            Command::Resubscribe(request) => {
                let dialog = self.store.dialog(request.slot, request.dialog);
                let watcher = dialog.map(|dialog| dialog.watcher.as_str());
                (request.extras.as_deref(), watcher)
            }
            _ => (None, None),
        };
        extras.is_some_and(|extras| {
            let registered =
                extras.registered && watcher.is_some_and(|w| moves.is_away(Slot::of(w)));
            registered || self.watches_away(&extras.wish)
        })
    }

    /// Whether a wish names somebody in a slot that is on its way.
    fn watches_away(&self, wish: &Wish<'_>) -> bool {
        let is_away = |address: &str| self.moves.is_away(Slot::of(address));
        match wish {
            Wish::Categories(actions) => {
                let mut resources = actions.iter().flat_map(|action| &action.resources);
                resources.any(|resource| is_away(resource.address))
            }
            // Who is said to be elsewhere is asked there.
            Wish::List { entries, .. } => entries
                .iter()
                .any(|entry| entry.origin == Origin::Here && is_away(entry.address)),
            Wish::Document | Wish::Own(_) | Wish::Contacts(_) | Wish::Same => false,
        }
    }

    /// Whether a question is about a slot that is on its way: another shard may know better.
    pub(super) fn looks_away(&self, home: &str, wish: Option<&Wish<'_>>) -> bool {
        !self.moves.is_unknown()
            && (self.moves.is_away(Slot::of(home))
                || wish.is_some_and(|wish| self.watches_away(wish)))
    }

    /// A step of a slot's move, done once however often it is asked for.
    fn move_slot(&mut self, slot: Slot, number: u64, step: Step<'_>) {
        match step {
            Step::Freeze => {
                if self.moves.freeze(slot, number) {
                    self.end_cut_batches(slot);
                }
            }
            Step::Thaw => {
                if let Some(table) = self.moves.thaw(slot, number) {
                    self.store.put_in(slot, table);
                    // What would have ended meanwhile ends now.
                    self.expire();
                }
            }
            Step::Drop => self.moves.drop_slot(slot, number),
            Step::Import {
                part,
                parts,
                sum,
                bytes,
            } => {
                let empty = self.store.table(slot).is_bare();
                self.moves
                    .import(slot, number, (part, parts, sum), bytes, empty);
            }
            Step::Open => self.open_slot(slot, number),
            Step::Abandon => self.moves.abandon(slot, number),
        }
    }

    /// A dialog never spans two shards (house D6): batches that the cut would tear end, wherever they live.
    //= RFC 6665 4.1.3
    //# deactivated: the watcher may subscribe anew at once
    fn end_cut_batches(&mut self, slot: Slot) {
        let batches = self.store.table(slot).iter();
        let watching = batches.flat_map(|watched| watched.batches().iter().copied());
        let living = self.store.table(slot).dialogs.keys();
        let mut concerned: Vec<(Slot, DialogKey)> =
            watching.chain(living.map(|key| (slot, *key))).collect();
        concerned.sort_unstable();
        concerned.dedup();
        for (home, key) in concerned {
            let dialog = self.store.dialog(home, key);
            if dialog.is_some_and(|dialog| moves::is_cut(home, dialog.watch.as_deref(), slot)) {
                self.end_dialog(home, key, EndReason::Deactivated);
            }
        }
    }

    /// The slot is served here from now on.
    fn open_slot(&mut self, slot: Slot, number: u64) {
        let Some(content) = self.moves.open(slot, number, self.salt) else {
            return;
        };
        // Time does not go back for those who come.
        self.now = self.now.max(content.now);
        for (key, outcome) in content.replies {
            if self.replies.find(key).is_none() {
                self.replies.remember(self.now, key, slot, outcome);
            }
        }
        self.store.put_in(slot, content.table);
        self.expire();
        // The other shard's leader may have died before it told what it had decided to tell.
        self.tell_slot_again(slot);
    }

    /// How each slot stands that ever moved, with the number of its last move.
    pub fn standings(&self) -> impl Iterator<Item = (Slot, u64, Moved)> + '_ {
        self.moves.standings()
    }

    /// Whether a part of the parcel with this sum has arrived.
    #[must_use]
    pub fn has_part(&self, slot: Slot, number: u64, sum: u32, part: u16) -> bool {
        self.moves.has_part(slot, number, sum, part)
    }

    /// A slot that is frozen for this move, to be packed by any thread; `None` when it is not.
    #[must_use]
    pub fn export(&self, slot: Slot, number: u64) -> Option<Export> {
        let replies = self.replies.share().into();
        self.moves
            .export(slot, number, self.now, self.salt, replies)
    }

    fn perform(&mut self, position: u16, command: &Command<'_>) -> Result<Outcome, Refusal> {
        match command {
            Command::Register(register) => self.register(register),
            Command::Publish(publish) => self.publish(position, publish),
            Command::Subscribe(subscribe) => self.subscribe(subscribe),
            Command::Resubscribe(resubscribe) => self.resubscribe(resubscribe),
            Command::EndDialog {
                slot,
                dialog,
                reason,
            } => {
                self.end_dialog(*slot, *dialog, *reason)
                    .ok_or(Refusal::UnknownDialog)?;
                Ok(Outcome::Ended)
            }
            Command::PublishInstances(publish) => self.publish_instances(publish),
            Command::MoveSlot { slot, number, step } => {
                self.move_slot(*slot, *number, *step);
                Ok(Outcome::Done)
            }
            Command::PublishSource(publish) => self.publish_source(position, publish),
            part => {
                let fresh = self.fresh_tag(part.home(), position);
                match self.change_list(part, fresh) {
                    Some(done) => done,
                    None => self.change_part(part),
                }
            }
        }
    }

    fn register(&mut self, register: &Register<'_>) -> Result<Outcome, Refusal> {
        let (at, index, notices) = (self.now, self.applied, &mut self.notices);
        let (outcome, ended) = self.store.change(register.aor, |presentity, _| {
            let mut changes = Changes::default();
            let registered = presentity.register(register, at, &mut changes)?;
            if !changes.is_empty() {
                presentity.advance(index);
                notices.changed(&presentity.aor, changes);
            }
            //= RFC 3261 10.3
            //# the answer lists all current bindings
            let outcome = Outcome::Registered {
                endpoints: presentity.endpoints.share(),
                at,
                refreshed: registered.refreshed,
            };
            for endpoint in registered.evicted {
                notices.signed_out(&presentity.aor, &endpoint);
            }
            Ok((outcome, registered.ended))
        })?;
        self.endpoints_ended(register.aor, &ended);
        Ok(outcome)
    }

    fn publish(&mut self, position: u16, publish: &Publish<'_>) -> Result<Outcome, Refusal> {
        let now = self.now;
        let fresh = self.fresh_tag(Some(Slot::of(publish.presentity)), position);
        let notices = &mut self.notices;
        self.store
            .change(publish.presentity, |presentity, watchers| {
                let mut changes = Changes::default();
                let published = presentity.publish(publish, fresh, now, &mut changes)?;
                if published.visible && watchers.are_plain() && presentity.enhanced.is_none() {
                    // The way of plain telephones, which are told in every case.
                    if watchers.any() {
                        notices.everyone(&presentity.aor);
                    }
                } else {
                    notices.changed(&presentity.aor, changes);
                }
                Ok(Outcome::Published {
                    tag: published.tag,
                    expires_s: published.expires_s,
                })
            })
    }

    /// The tag of what a request of this entry makes.
    fn fresh_tag(&self, home: Option<Slot>, position: u16) -> EntityTag {
        let of_slot = home.and_then(|slot| self.moves.salt_for(slot));
        EntityTag {
            salt: of_slot.or(self.salt).unwrap_or_default(),
            index: self.applied,
            position,
        }
    }

    fn publish_source(
        &mut self,
        position: u16,
        publish: &PublishSource<'_>,
    ) -> Result<Outcome, Refusal> {
        let now = self.now;
        let fresh = self.fresh_tag(Some(Slot::of(publish.presentity)), position);
        let notices = &mut self.notices;
        self.store.change(publish.presentity, |presentity, _| {
            let mut changes = Changes::default();
            let published = presentity.publish_source(publish, fresh, now, &mut changes)?;
            if !changes.is_empty() {
                notices.changed(&presentity.aor, changes);
            }
            Ok(Outcome::Published {
                tag: published.tag,
                expires_s: published.expires_s,
            })
        })
    }

    fn subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<Outcome, Refusal> {
        let Subscribe {
            presentity,
            dialog: key,
            cseq,
            expires_s,
            target,
            ..
        } = *subscribe;
        let slot = Slot::of(presentity);
        if self.store.dialog(slot, key).is_some() {
            // The same SUBSCRIBE again, after its outcome was forgotten: it is inside the dialog now.
            return self.resubscribe(&Resubscribe {
                slot,
                dialog: key,
                cseq,
                expires_s,
                target,
                extras: subscribe.extras.clone(),
            });
        }
        // What is not a document of the presentity is its own, or has a limit for each resource.
        if subscribe.package == Package::Presence {
            let watchers = self
                .store
                .watched(presentity)
                .map_or(0, |watched| watched.watchers().len());
            let max = subscribe
                .extras
                .as_ref()
                .map_or(WATCHERS_MAX, |extras| extras.watchers_max as usize);
            if watchers >= WATCHERS_MAX.min(max) {
                return Err(Refusal::TooManyWatchers);
            }
        }
        if let Some(extras) = &subscribe.extras {
            return self.open_enhanced(subscribe, extras);
        }
        let aor = Aor::from_canonical(presentity);
        let dialog = Dialog::open(subscribe, aor, self.now);
        let local_tag = dialog.local_tag;
        //= RFC 6665 4.2.1.2
        //# a new subscription is notified of the state at once
        if expires_s == 0 {
            self.notices.gone(key, dialog, EndReason::Timeout, self.now);
        } else {
            self.notices.one(&dialog.presentity, key);
            self.store.insert_dialog(key, dialog);
            self.enlist(slot, key, "");
        }
        Ok(Outcome::Subscribed {
            local_tag,
            expires_s,
        })
    }

    fn resubscribe(&mut self, request: &Resubscribe<'_>) -> Result<Outcome, Refusal> {
        if let Some(extras) = &request.extras {
            return self.refresh_enhanced(request, extras);
        }
        let (now, notices) = (self.now, &mut self.notices);
        let Resubscribe {
            slot,
            dialog: key,
            expires_s,
            ..
        } = *request;
        let refreshed = self.store.change_dialog(slot, key, |dialog| {
            dialog.refresh(request, now)?;
            if expires_s > 0 {
                notices.one(&dialog.presentity, key);
            }
            Ok(dialog.local_tag)
        });
        //= RFC 3261 12.2.2
        //# a request inside a dialog that does not exist fails
        let local_tag = refreshed.ok_or(Refusal::UnknownDialog)??;
        let theirs = |dialog: &Dialog| !matches!(dialog.package, Package::Presence | Package::List);
        if expires_s == 0 && self.store.dialog(slot, key).is_some_and(theirs) {
            // An enhanced client ends its dialog without being told that it did (MS-PRES 4.4.4).
            self.store.remove_dialog(slot, key);
        } else if expires_s == 0 {
            self.end_dialog(slot, key, EndReason::Timeout);
        } else {
            // It may have begun before its publisher's own client was there.
            self.enlist(slot, key, "");
            self.enlist_members(slot, key, "");
            self.renew_relays(slot, key);
        }
        Ok(Outcome::Subscribed {
            local_tag,
            expires_s,
        })
    }

    /// Ends a dialog, with a final notice unless nobody can be reached; `None` when it is unknown.
    pub(super) fn end_dialog(
        &mut self,
        slot: Slot,
        key: DialogKey,
        reason: EndReason,
    ) -> Option<()> {
        let dialog = self.store.remove_dialog(slot, key)?;
        self.client_gone(&dialog);
        // Whoever asked for a relay knows when it ends.
        if reason.is_told() && dialog.delivery != Delivery::Relay {
            self.notices.gone(key, dialog, reason, self.now);
        }
        Some(())
    }

    /// Entry time: the greatest that an entry carried.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Log index of the last applied entry, 0 before the first.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// When something may expire next; the proposer then proposes an entry, an empty one if need be.
    /// Always after [`Machine::now`], never later than the first true deadline; it can be earlier
    /// after a refresh, and the entry then ends nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.store.next_deadline()
    }

    /// What a watcher would see now: a fetch (RFC 6665 §4.4.3), answered without a log entry.
    #[must_use]
    pub fn fetch(&self, presentity: &str, package: Package) -> Arc<View> {
        Arc::new(match self.store.watched(presentity) {
            Some(watched) => View::of(&watched.presentity, package, self.now),
            None => View::of_nothing(Aor::from_canonical(presentity), package, self.now),
        })
    }

    /// Whether a publication with this tag lives.
    #[must_use]
    pub fn holds(&self, presentity: &str, package: Package, tag: EntityTag) -> bool {
        let publications = self
            .report(presentity)
            .map(|report| report.publications)
            .unwrap_or_default();
        publications
            .iter()
            .any(|(of, publication)| *of == package && publication.tag == tag)
    }

    /// What is kept for one address; `None` when nothing is.
    #[must_use]
    pub fn report(&self, aor: &str) -> Option<Report> {
        let watched = self.store.watched(aor)?;
        let slot = Slot::of(aor);
        let dialog = |key: &DialogKey| Some((*key, self.store.dialog(slot, *key)?.clone()));
        Some(Report {
            publications: watched.presentity.publications.iter().cloned().collect(),
            endpoints: watched.presentity.endpoints.iter().cloned().collect(),
            watchers: watched.watchers().iter().filter_map(dialog).collect(),
            batches: watched
                .batches()
                .iter()
                .filter_map(|(slot, key)| Some((*key, self.store.dialog(*slot, *key)?.clone())))
                .collect(),
            enhanced: watched.presentity.enhanced.clone(),
        })
    }

    /// What the directory said of a user; `None` for somebody whose client never was here.
    #[must_use]
    pub fn profile(&self, aor: &str) -> Option<&Profile> {
        let watched = self.store.watched(aor)?;
        watched.presentity.enhanced.as_ref()?.profile.as_ref()
    }

    /// The contact list of an address; a new one where nothing is kept.
    #[must_use]
    pub fn contacts(&self, address: &str) -> Arc<List> {
        let watched = self.store.watched(address);
        let enhanced = watched.and_then(|watched| watched.presentity.enhanced.as_deref());
        match enhanced {
            Some(enhanced) => enhanced.contacts.share(),
            None => Contacts::default().share(),
        }
    }

    /// The contact lists that a slot has, for who moves them.
    #[must_use]
    pub fn lists(&self, slot: Slot) -> Vec<Keeping> {
        let table = self.store.table(slot);
        let kept = table.iter().filter_map(|watched| {
            let list = watched.presentity.enhanced.as_deref()?.contacts.kept()?;
            let mut dialogs = watched.watchers().iter();
            let shown = |key: &DialogKey| {
                let dialog = table.dialog(*key);
                dialog.is_some_and(|dialog| dialog.package == Package::RoamingContacts)
            };
            Some(Keeping {
                address: watched.presentity.aor.clone(),
                custody: list.custody,
                shown: dialogs.any(shown),
            })
        });
        kept.collect()
    }

    /// How much it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            replies: self.replies.len() as u64,
            ..self.store.counts()
        }
    }

    /// What the leader attests (house D16) in an entry at log position `index`: the digest of the
    /// slot whose turn it is, and that of the history. They are of the state now, so no other entry
    /// may come between.
    #[must_use]
    pub fn attest(&self, index: u64) -> Act<'static> {
        let slot = digest::audited(index);
        Act::Attest {
            slot,
            slot_digest: digest::of_slot(slot, self.store.table(slot), &self.moves),
            history_digest: self.history.digest(),
        }
    }

    /// A copy of pointers, to be written out by another thread (house D13).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let standing = Standing {
            now: self.now,
            applied: self.applied,
            salt: self.salt,
            history: self.history.digest(),
        };
        let (slots, replies) = (self.store.share(), self.replies.share());
        Snapshot::new(standing, slots, replies, &self.moves)
    }

    /// The machine that a snapshot was taken of.
    ///
    /// # Errors
    /// [`SnapshotError`] when a section is damaged, unknown or missing.
    pub fn restore(reader: &mut dyn std::io::Read) -> Result<Machine, SnapshotError> {
        snapshot::read(reader)
    }

    pub(super) fn from_parts(
        standing: Standing,
        store: Store,
        replies: Replies,
        moves: Moves,
    ) -> Machine {
        Machine {
            now: standing.now,
            applied: standing.applied,
            salt: standing.salt,
            history: standing.history(),
            store,
            replies,
            moves,
            notices: Notices::default(),
        }
    }
}
