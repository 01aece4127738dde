//! Who is to be notified when the entry is done.
//!
//! While an entry is applied, only names are collected. At its end each dialog concerned takes one
//! CSeq and gets one notification with the newest state, however many requests of the entry changed
//! it. As the entry's replies come first, a SUBSCRIBE is answered before it is notified, and what a
//! watcher is told last is what there is.
//!
//! Watchers who see the same share a view: those of a document by the container they resolve to, those
//! of categories by their categories and containers, a user's own endpoints by what they asked for.

use std::sync::Arc;

use crate::category::Category;
use crate::machine::digest::History;
use crate::machine::effect::{Effect, Notice, SubscriptionState};
use crate::machine::relays::Lead;
use crate::machine::store::Store;
use crate::machine::table::Watched;
use crate::presence::contacts::Delta;
use crate::presence::container::{Network, Watcher};
use crate::presence::endpoint::Endpoint;
use crate::presence::enhanced::Changes;
use crate::presence::limits::REPLY_MEMORY_MS;
use crate::presence::rules::{Handling, Sight};
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{Delivery, Dialog, DialogKey, EndReason, Format, Package};
use crate::subscription::savers::Cause;
use crate::subscription::view::{View, WatcherEvent, WatcherLine, WatcherStatus};
use crate::subscription::watch::{Scope, Watch};
use crate::time::Timestamp;

/// Whom a presentity is shown to.
#[derive(Debug)]
enum Whom {
    /// Every watcher of its document.
    Everyone,
    /// Whoever can see what changed.
    Changed(Box<Changes>),
    /// One who asked, about the presentity that its dialog lives with.
    One(DialogKey),
    /// One about the presentity that its dialog lives with, for another reason.
    Once(DialogKey, Cause),
    /// One who was shown its contacts up to this number, in an answer.
    Shown(DialogKey, u32),
    /// One who asked, about one of the many that its dialog watches.
    Member(Slot, DialogKey),
    /// One whose dialog lives here, about these categories of one who lives in another shard.
    Relayed(Slot, DialogKey, Vec<Category>),
    /// Nobody: a watcher came or went, which its presentity may want to know.
    Watcher(Box<WatcherLine>),
    /// One whose dialog is gone: its final notice.
    Gone(Box<Gone>),
    /// An endpoint that the server signed out.
    SignedOut(Box<Notice>),
}

/// A dialog that is gone.
#[derive(Debug)]
struct Gone {
    notice: Notice,
    package: Package,
    watcher: Aor,
    network: Network,
}

/// What an entry has made due.
#[derive(Debug, Default)]
pub(super) struct Notices {
    due: Vec<(Aor, Whom)>,
}

impl Notices {
    /// The presentity's document changed for all its watchers.
    pub(super) fn everyone(&mut self, presentity: &Aor) {
        self.due.push((presentity.clone(), Whom::Everyone));
    }

    /// This of the presentity changed.
    pub(super) fn changed(&mut self, presentity: &Aor, changes: Changes) {
        if !changes.is_empty() {
            let whom = Whom::Changed(Box::new(changes));
            self.due.push((presentity.clone(), whom));
        }
    }

    /// One dialog asked for the state.
    pub(super) fn one(&mut self, presentity: &Aor, key: DialogKey) {
        self.due.push((presentity.clone(), Whom::One(key)));
    }

    /// One dialog is told the state for this reason.
    pub(super) fn once(&mut self, presentity: &Aor, key: DialogKey, cause: Cause) {
        self.due.push((presentity.clone(), Whom::Once(key, cause)));
    }

    /// One dialog is told again what it was told in the last 32 s before `before` (house D8).
    pub(super) fn again(&mut self, key: DialogKey, dialog: &Dialog, before: Timestamp) {
        let recent = |at: Timestamp| at.0.saturating_add(REPLY_MEMORY_MS) >= before.0;
        // What is said to other shards waits until they have it, and needs no repetition.
        if !recent(dialog.notified_at) || dialog.delivery == Delivery::Relay {
            return;
        }
        match dialog.watch.as_deref().and_then(Watch::batch) {
            None if dialog.savers.is_some() => self.once(&dialog.presentity, key, Cause::Again),
            None => self.one(&dialog.presentity, key),
            Some(batch) => {
                for (address, member) in &batch.members {
                    if recent(member.notified_at) {
                        self.member(address, dialog.slot(), key);
                    }
                }
            }
        }
    }

    /// One dialog was shown its contacts in an answer: of this entry's steps those up to this number are
    /// not told to it.
    pub(super) fn shown(&mut self, presentity: &Aor, key: DialogKey, delta_num: u32) {
        self.due
            .push((presentity.clone(), Whom::Shown(key, delta_num)));
    }

    /// One dialog asked for the state of one of those that it watches.
    pub(super) fn member(&mut self, presentity: &Aor, slot: Slot, key: DialogKey) {
        self.due.push((presentity.clone(), Whom::Member(slot, key)));
    }

    /// One dialog sees these categories of somebody in another shard differently.
    pub(super) fn relayed(
        &mut self,
        presentity: &Aor,
        slot: Slot,
        key: DialogKey,
        changed: Vec<Category>,
    ) {
        let whom = Whom::Relayed(slot, key, changed);
        self.due.push((presentity.clone(), whom));
    }

    /// A watcher of the presentity came, went, or stands otherwise.
    pub(super) fn watcher(&mut self, presentity: &Aor, line: WatcherLine) {
        let whom = Whom::Watcher(Box::new(line));
        self.due.push((presentity.clone(), whom));
    }

    /// An endpoint made room for another one.
    //= MS-SIPREGE 3.2
    //# an endpoint that the server ends is told in the dialog of its registration
    pub(super) fn signed_out(&mut self, presentity: &Aor, endpoint: &Endpoint) {
        let target: Arc<[u8]> = endpoint.target.as_ref().into();
        let notice = Notice {
            dialog: DialogKey(u128::from(endpoint.binding)),
            slot: presentity.slot(),
            delivery: Delivery::Notify,
            cseq: 1,
            format: Format::Registration,
            state: SubscriptionState::Terminated(EndReason::Deactivated),
            route: Arc::clone(&target),
            target,
            terms: None,
            cause: Cause::Asked,
        };
        if endpoint.endpoint_id.is_some() {
            let whom = Whom::SignedOut(Box::new(notice));
            self.due.push((presentity.clone(), whom));
        }
    }

    /// A dialog has ended and was taken out of the store.
    //= RFC 6665 4.2.2
    //# a subscription that ends is told so by a final NOTIFY with the reason
    pub(super) fn gone(
        &mut self,
        key: DialogKey,
        mut dialog: Dialog,
        reason: EndReason,
        now: Timestamp,
    ) {
        dialog.take_cseq(now);
        let notice = Notice::of(key, &dialog, SubscriptionState::Terminated(reason));
        let Dialog {
            presentity,
            package,
            watcher,
            network,
            ..
        } = dialog;
        let gone = Gone {
            notice,
            package,
            watcher,
            network,
        };
        self.due.push((presentity, Whom::Gone(Box::new(gone))));
    }

    /// Turns what is due into effects, presentity by presentity in the order of their addresses.
    pub(super) fn tell(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        history: &mut History,
        effects: &mut Vec<Effect>,
    ) {
        // Stable, so that final notices keep the order in which the dialogs ended.
        self.due.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut due = self.due.drain(..).peekable();
        while let Some((presentity, whom)) = due.next() {
            let mut group = Group::default();
            group.add(whom);
            while let Some((_, whom)) = due.next_if(|(other, _)| *other == presentity) {
                group.add(whom);
            }
            let watched = store.share_watched(presentity.as_str());
            group.settle(watched.as_deref());
            let mut telling = Telling {
                presentity: &presentity,
                watched: watched.as_deref(),
                store,
                now,
                history,
                effects,
                worn_out: Vec::new(),
            };
            telling.signed_out(&mut group);
            telling.ends(&mut group);
            telling.packages(&mut group);
            telling.documents(&mut group);
            telling.own(&group);
            telling.contacts(&group);
            telling.batches(&group);
            telling.lists(&group);
            telling.relayed(&group);
            telling.watchers(&group);
            let worn_out = telling.worn_out;
            drop(watched);
            for (slot, key) in worn_out {
                store.remove_dialog(slot, key);
            }
        }
    }
}

/// All that is due about one presentity.
#[derive(Default)]
pub(super) struct Group {
    pub(super) everyone: bool,
    /// What standard publications show changed, or rules no more what is seen.
    pub(super) standard: bool,
    pub(super) changes: Changes,
    pub(super) some: Vec<DialogKey>,
    once: Vec<(DialogKey, Cause)>,
    members: Vec<(Slot, DialogKey)>,
    pub(super) relayed: Vec<(Slot, DialogKey, Vec<Category>)>,
    shown: Vec<(DialogKey, u32)>,
    gone: Vec<Gone>,
    signed_out: Vec<Notice>,
    /// Watchers of whom there is something new.
    pub(super) lines: Vec<WatcherLine>,
}

impl Group {
    fn add(&mut self, whom: Whom) {
        match whom {
            Whom::Everyone => self.everyone = true,
            Whom::Changed(changes) => self.changes.merge(*changes),
            Whom::One(key) => self.some.push(key),
            Whom::Once(key, cause) => self.once.push((key, cause)),
            Whom::Shown(key, delta_num) => self.shown.push((key, delta_num)),
            Whom::Member(slot, key) => self.members.push((slot, key)),
            Whom::Relayed(slot, key, changed) => self.relayed.push((slot, key, changed)),
            Whom::Watcher(line) => self.lines.push(*line),
            Whom::Gone(gone) => self.gone.push(*gone),
            Whom::SignedOut(notice) => self.signed_out.push(*notice),
        }
    }

    fn settle(&mut self, watched: Option<&Watched>) {
        self.changes.settle();
        // From the first sign-in on containers rule: who saw a telephone's state may see another one now.
        // Who saw nothing and sees nothing still is not told, or the sign-in itself would show.
        let telephone = watched.is_some_and(|watched| {
            let mut publications = watched.presentity.publications.iter();
            publications.any(|(of, held)| of.bears_on_presence() && !held.content.is_silent())
        });
        self.standard = self.everyone || self.changes.standard || self.changes.claimed && telephone;
        self.everyone |= self.changes.standard || self.changes.claimed || self.changes.rules;
        self.some.sort_unstable();
        self.some.dedup();
        let some = &self.some;
        self.once
            .retain(|(key, _)| some.binary_search(key).is_err());
        // Of several reasons of one dialog the best counts: whose time has come does not wait again.
        self.once
            .sort_by_key(|(key, cause)| (*key, *cause != Cause::Due, *cause == Cause::Again));
        self.once.dedup_by_key(|(key, _)| *key);
        self.members.sort_unstable();
        self.members.dedup();
    }

    /// Whether a dialog was shown its contacts with this step done.
    fn knows(&self, key: DialogKey, delta: &Delta) -> bool {
        let mut shown = self.shown.iter();
        shown.any(|(known, delta_num)| *known == key && delta.to <= *delta_num)
    }

    /// Why a dialog is told of its document, where something changed or not.
    fn cause(&self, key: DialogKey, changed: bool) -> Cause {
        if self.asked(key) {
            return Cause::Asked;
        }
        match self.reason(key) {
            // What changed after the question is not what the condition was about.
            Some(Cause::Suppressed) if changed => Cause::Asked,
            Some(cause) => cause,
            None => Cause::Changed,
        }
    }

    /// For which other reason a dialog is told, if for one.
    fn reason(&self, key: DialogKey) -> Option<Cause> {
        let place = self.once.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.once[place].1)
    }

    /// Whether a dialog asked.
    fn asked(&self, key: DialogKey) -> bool {
        self.some.binary_search(&key).is_ok()
    }
}

/// Who sees the same, and the notices they get.
pub(super) struct Classes<K>(pub(super) Vec<(K, Vec<Notice>)>);

impl<K: PartialEq> Classes<K> {
    pub(super) fn new() -> Classes<K> {
        Classes(Vec::new())
    }

    pub(super) fn add(&mut self, class: K, notice: Notice) {
        match self.0.iter_mut().find(|(known, _)| *known == class) {
            Some((_, notices)) => notices.push(notice),
            None => self.0.push((class, vec![notice])),
        }
    }
}

/// One presentity's watchers being told.
pub(super) struct Telling<'t> {
    pub(super) presentity: &'t Aor,
    pub(super) watched: Option<&'t Watched>,
    pub(super) store: &'t mut Store,
    pub(super) now: Timestamp,
    history: &'t mut History,
    effects: &'t mut Vec<Effect>,
    pub(super) worn_out: Vec<(Slot, DialogKey)>,
}

/// The notice that a living dialog gets now.
pub(super) fn notice(
    key: DialogKey,
    dialog: &mut Dialog,
    now: Timestamp,
    worn_out: &mut Vec<(Slot, DialogKey)>,
) -> Notice {
    dialog.take_cseq(now);
    let state = if dialog.is_worn_out() {
        worn_out.push((dialog.slot(), key));
        //= RFC 6665 4.1.3
        //# deactivated: the watcher may subscribe anew at once
        SubscriptionState::Terminated(EndReason::Deactivated)
    } else {
        let expires_s = dialog.expires_at.seconds_after(now);
        match dialog.admitted().handling {
            //= RFC 5025 3.2.1
            //# whom a rule blocks is ended as rejected
            Handling::Block => {
                worn_out.push((dialog.slot(), key));
                SubscriptionState::Terminated(EndReason::Rejected)
            }
            //= RFC 5025 3.2.1
            //# confirm leaves the subscription pending
            Handling::Confirm => SubscriptionState::Pending { expires_s },
            //= RFC 5025 3.2.1
            //# who is blocked politely is told that its subscription is active
            Handling::PoliteBlock | Handling::Allow => SubscriptionState::Active { expires_s },
        }
    };
    Notice::of(key, dialog, state)
}

/// How a watcher of a document stands.
pub(super) fn watcher_line(
    key: DialogKey,
    dialog: &Dialog,
    event: WatcherEvent,
    now: Timestamp,
) -> WatcherLine {
    let (status, event) = match dialog.admitted().handling {
        Handling::Confirm => (WatcherStatus::Pending, WatcherEvent::Subscribe),
        Handling::Block => (WatcherStatus::Terminated, WatcherEvent::Rejected),
        Handling::PoliteBlock | Handling::Allow => (WatcherStatus::Active, event),
    };
    WatcherLine {
        dialog: key,
        address: dialog.watcher.clone(),
        status,
        event,
        expires_s: dialog.expires_at.seconds_after(now),
    }
}

/// Everybody whose dialog watches the presentity's document, alone or as one of many: some of them where
/// there are more than anybody reads.
pub(super) fn watcher_lines(store: &Store, watched: &Watched, now: Timestamp) -> Vec<WatcherLine> {
    let slot = watched.presentity.aor.slot();
    let own = watched.watchers().iter().map(|key| (slot, *key));
    let many = watched.batches().iter().copied();
    let each = own.chain(many).filter_map(|(slot, key)| {
        let dialog = store.dialog(slot, key)?;
        let counts = matches!(
            dialog.package,
            Package::Presence | Package::List | Package::Categories
        );
        // A list dialog lives with an address that it need not watch.
        let watches = dialog.package == Package::Presence
            || dialog.watch.as_deref().is_some_and(|watch| {
                watch
                    .members()
                    .any(|member| *member == watched.presentity.aor)
            });
        let line = || watcher_line(key, dialog, WatcherEvent::Subscribe, now);
        (counts && watches).then(line)
    });
    let mut lines: Vec<WatcherLine> = each.take(WATCHERS_SHOWN_MAX).collect();
    lines.sort_by_key(|line| line.dialog);
    lines.dedup_by_key(|line| line.dialog);
    lines
}

/// Watchers in one document: 1,000 of 150 bytes are more than a person reads.
const WATCHERS_SHOWN_MAX: usize = 1_000;

/// Whether a client said that it knows of a mail server's store: then it is told the mode.
fn knows_ucs(dialog: &Dialog) -> bool {
    matches!(
        dialog.watch.as_deref(),
        Some(Watch::Contacts { ucs: true, .. })
    )
}

impl Telling<'_> {
    pub(super) fn say(&mut self, view: View, notices: Vec<Notice>) {
        if !notices.is_empty() {
            self.history.notify(&view, &notices);
            self.effects.push(Effect::Notify {
                view: Arc::new(view),
                notices,
            });
        }
    }

    /// Endpoints that were signed out; what they are told is the same for all.
    fn signed_out(&mut self, group: &mut Group) {
        let notices = std::mem::take(&mut group.signed_out);
        let view = View::of_an_end(self.presentity.clone(), Package::RoamingSelf, self.now);
        self.say(view, notices);
    }

    /// The ends of dialogs that are about no document: nothing is shown with them.
    fn ends(&mut self, group: &mut Group) {
        for package in [
            Package::Categories,
            Package::RoamingSelf,
            Package::RoamingContacts,
            Package::List,
            Package::Winfo,
        ] {
            let migrated = SubscriptionState::Terminated(EndReason::Migrated);
            let moved = group.gone.extract_if(.., |gone| {
                gone.package == package && gone.notice.state == migrated
            });
            let notices: Vec<Notice> = moved.map(|gone| gone.notice).collect();
            //= MS-PRES 4.14.2
            //# the end of a contact subscription shows the list once more
            if let Some(watched) = self.watched {
                self.say(View::contacts(&watched.presentity, true, self.now), notices);
            }
            let ended = group.gone.extract_if(.., |gone| gone.package == package);
            let notices: Vec<Notice> = ended.map(|gone| gone.notice).collect();
            let view = View::of_an_end(self.presentity.clone(), package, self.now);
            self.say(view, notices);
        }
    }

    /// Watchers of what is not presence: everybody who watches is told what there is, whole.
    //= RFC 4235 3.9
    //# whoever watches dialogs is told when one changes
    //= RFC 3842 3.6
    //# whoever watches messages is told when what waits changes
    //= RFC 3680 4.6
    //# whoever watches a registration is told when a binding comes, goes or moves
    fn packages(&mut self, group: &mut Group) {
        let mail = |(category, _): &(Category, u16)| *category == Category::Mwi;
        let changes = &group.changes;
        for (package, changed) in [
            (Package::Dialog, changes.dialogs),
            (Package::MessageSummary, changes.touched.iter().any(mail)),
            (Package::Reg, changes.registered),
        ] {
            let ended = group.gone.extract_if(.., |gone| gone.package == package);
            let mut notices: Vec<Notice> = ended.map(|gone| gone.notice).collect();
            let (now, worn_out) = (self.now, &mut self.worn_out);
            let (slot, address) = (self.presentity.slot(), self.presentity.as_str());
            if changed {
                self.store
                    .for_each_watcher(address, package, |key, dialog| {
                        notices.push(notice(key, dialog, now, worn_out));
                    });
            } else {
                for key in &group.some {
                    self.store.change_dialog(slot, *key, |dialog| {
                        if dialog.package == package {
                            notices.push(notice(*key, dialog, now, worn_out));
                        }
                    });
                }
            }
            if !notices.is_empty() {
                let view = match self.watched {
                    Some(watched) => View::of(&watched.presentity, package, now),
                    None => View::of_nothing(self.presentity.clone(), package, now),
                };
                self.say(view.with_unbound(&group.changes.unbound), notices);
            }
        }
    }

    /// Watchers of the presentity's document: the final notices, then one for each living dialog.
    fn documents(&mut self, group: &mut Group) {
        let mut classes = Classes::new();
        let claimed = self
            .watched
            .and_then(|watched| watched.presentity.claimed());
        let legacy = Category::LegacyInterop;
        for gone in group.gone.drain(..) {
            let address = gone.watcher.as_str();
            let watcher = Watcher {
                address,
                network: gone.network,
            };
            classes.add(self.sight(watcher), gone.notice);
        }
        let presentity = self.watched.map(|watched| &watched.presentity);
        let (changes, now) = (&group.changes, self.now);
        let visible = !changes.containers.is_empty()
            || changes
                .touched
                .iter()
                .any(|(of, _)| *of == legacy || *of == Category::ContactCard);
        let (worn_out, mut relays) = (&mut self.worn_out, Vec::new());
        let mut lines = Vec::new();
        let (changed_now, mut paced) = (group.everyone || visible, Vec::new());
        let mut tell = |key: DialogKey, dialog: &mut Dialog| {
            let sight = match presentity {
                None => Sight::default(),
                Some(presentity) => presentity.sight(dialog.watching(), &legacy),
            };
            let container = sight.container;
            //= MS-PRES 3.7.5.4
            //# told when legacyInterop of the container it resolves to changes
            let changed = |(of, at): &(Category, u16)| {
                (*of == legacy || *of == Category::ContactCard) && Some(*at) == container
            };
            //= RFC 5025 3.2.1
            //# what is shown to whom is not let in never changes, so it is not told of changes
            let lets_in = sight.admitted.handling == Handling::Allow;
            let told = group.asked(key)
                || group.reason(key).is_some()
                || *dialog.admitted() != sight.admitted
                || lets_in && group.standard && (claimed.is_none() || changes.claimed)
                || lets_in
                    && claimed.is_some()
                    && (dialog.resolved != container || changes.touched.iter().any(changed));
            dialog.resolved = container;
            // Whether somebody is let in does not wait for its pace.
            let readmitted = *dialog.admitted() != sight.admitted;
            if readmitted {
                let before = dialog.admitted().handling;
                dialog.admit(sight.admitted.clone());
                if before != sight.admitted.handling {
                    lines.push(watcher_line(key, dialog, WatcherEvent::Approved, now));
                }
            }
            if told && let Some(lead) = Lead::of(dialog) {
                dialog.take_cseq(now);
                relays.push((lead, dialog.local_cseq, sight));
            } else if told {
                let cause = match readmitted {
                    true => Cause::Asked,
                    false => group.cause(key, changed_now),
                };
                if let Some(savers) = dialog.savers.as_deref_mut() {
                    paced.push(key);
                    if !savers.lets_pass(cause, now) {
                        return;
                    }
                }
                let mut notice = notice(key, dialog, now, worn_out);
                notice.cause = cause;
                classes.add(sight, notice);
            }
        };
        if group.everyone || visible {
            let address = self.presentity.as_str();
            self.store
                .for_each_watcher(address, Package::Presence, tell);
        } else {
            for key in group
                .some
                .iter()
                .chain(group.once.iter().map(|(key, _)| key))
            {
                // One that ended in the same entry has had its final notice.
                self.store
                    .change_dialog(self.presentity.slot(), *key, |dialog| {
                        if dialog.package == Package::Presence {
                            tell(*key, dialog);
                        }
                    });
            }
        }
        // When they are due next has changed.
        for key in paced {
            let slot = self.presentity.slot();
            self.store.change_dialog(slot, key, |_| ());
        }
        for (lead, revision, sight) in relays {
            let view = self.document(&sight);
            self.relay(lead, revision, &view);
        }
        for (sight, notices) in classes.0 {
            let view = self.document(&sight);
            self.say(view, notices);
        }
        group.lines.extend(lines);
    }

    /// What a watcher sees of the document.
    fn sight(&self, watcher: Watcher<'_>) -> Sight {
        let legacy = Category::LegacyInterop;
        self.watched
            .map(|watched| watched.presentity.sight(watcher, &legacy))
            .unwrap_or_default()
    }

    /// The document, as it is seen.
    fn document(&self, sight: &Sight) -> View {
        match self.watched {
            Some(watched) => View::document(&watched.presentity, sight, self.now),
            None => View::of_nothing(self.presentity.clone(), Package::Presence, self.now),
        }
    }

    /// The presentity is told who watches it.
    //= RFC 3857 4.7
    //# the first notification shows all watchers, later ones those that changed
    fn watchers(&mut self, group: &Group) {
        let Some(watched) = self.watched else { return };
        if !self.store.is_observed(self.presentity) {
            return;
        }
        let mut classes: Classes<bool> = Classes::new();
        let (now, worn_out) = (self.now, &mut self.worn_out);
        let address = self.presentity.as_str();
        self.store
            .for_each_watcher(address, Package::Winfo, |key, dialog| {
                let whole = group.asked(key);
                if whole || !group.lines.is_empty() {
                    classes.add(whole, notice(key, dialog, now, worn_out));
                }
            });
        for (whole, notices) in classes.0 {
            let lines = if whole {
                let ended = group.lines.iter();
                let ended = ended.filter(|line| line.status == WatcherStatus::Terminated);
                let mut lines = watcher_lines(self.store, watched, now);
                lines.extend(ended.cloned());
                lines
            } else {
                group.lines.clone()
            };
            let view = View::watchers(
                self.presentity.clone(),
                watched.presentity.revision,
                whole,
                lines,
                now,
            );
            self.say(view, notices);
        }
    }

    /// A dialog of another shard is told.
    fn relay(&mut self, lead: Lead, revision: u32, view: &View) {
        let parcel = lead.parcel(self.presentity, revision, Some(view));
        self.store.post(self.presentity.slot(), parcel);
    }

    /// Dialogs of this shard that watch somebody of another one.
    fn relayed(&mut self, group: &Group) {
        let changed = group.relayed.iter();
        let asked = |slot: &Slot, key: &DialogKey| group.members.contains(&(*slot, *key));
        let changed = changed
            .filter(|(slot, key, _)| !asked(slot, key))
            .map(|(slot, key, changed)| (*slot, *key, Some(&changed[..])));
        let whole = group.members.iter().map(|(slot, key)| (*slot, *key, None));
        for (slot, key, changed) in whole.chain(changed) {
            let (now, aor, worn_out) = (self.now, self.presentity, &mut self.worn_out);
            let told = self.store.change_dialog(slot, key, |dialog| {
                let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
                let view = batch.members.get_mut(aor)?.relayed(aor, changed, now)?;
                Some((view, notice(key, dialog, now, worn_out)))
            });
            if let Some((view, notice)) = told.flatten() {
                self.say(view, vec![notice]);
            }
        }
    }

    /// The user's own endpoints.
    //= MS-PRES 3.3.5.2
    //# each self subscription whose scope holds something that changed is told, that of the one who
    //# changed it too
    fn own(&mut self, group: &Group) {
        let Some(watched) = self.watched else { return };
        if group.changes.is_empty() && group.some.is_empty() {
            return;
        }
        // The parts that are told, and whether they are told whole.
        let mut classes: Classes<(Scope, bool)> = Classes::new();
        let (now, worn_out) = (self.now, &mut self.worn_out);
        let address = self.presentity.as_str();
        self.store
            .for_each_watcher(address, Package::RoamingSelf, |key, dialog| {
                let Some(Watch::Own { scope, .. }) = dialog.watch.as_deref() else {
                    return;
                };
                let whole = group.asked(key);
                let told = if whole {
                    *scope
                } else {
                    scope.changed(&group.changes)
                };
                if told != Scope::default() {
                    classes.add((told, whole), notice(key, dialog, now, worn_out));
                }
            });
        for ((scope, whole), notices) in classes.0 {
            let presentity = &watched.presentity;
            let view = if whole {
                View::own(presentity, scope, None, now).with_cleared(presentity, &group.changes)
            } else {
                View::own(presentity, scope, Some(&group.changes), now)
            };
            self.say(view, notices);
        }
    }

    /// The user's own contacts: each change is a notification of its own (MS-SIP 9.1).
    fn contacts(&mut self, group: &Group) {
        let Some(watched) = self.watched else { return };
        let whole = group.changes.contacts_whole;
        if group.changes.contacts.is_empty() && group.some.is_empty() && !whole {
            return;
        }
        let (now, address) = (self.now, self.presentity.as_str());
        let steps = if whole { &[] } else { &*group.changes.contacts };
        for delta in steps {
            let mut classes = Classes::new();
            let worn_out = &mut self.worn_out;
            self.store
                .for_each_watcher(address, Package::RoamingContacts, |key, dialog| {
                    if !group.asked(key) && !group.knows(key, delta) {
                        classes.add(knows_ucs(dialog), notice(key, dialog, now, worn_out));
                    }
                });
            for (ucs, notices) in classes.0 {
                let view = View::contact_step(&watched.presentity, delta, ucs, now);
                self.say(view, notices);
            }
        }
        let mut classes = Classes::new();
        let worn_out = &mut self.worn_out;
        self.store
            .for_each_watcher(address, Package::RoamingContacts, |key, dialog| {
                // Who was shown them all in an answer of this entry has them.
                let newest = group.changes.contacts.last();
                let knows = newest.is_some_and(|delta| group.knows(key, delta));
                if whole && !knows || group.asked(key) {
                    classes.add(knows_ucs(dialog), notice(key, dialog, now, worn_out));
                }
            });
        for (ucs, notices) in classes.0 {
            self.say(View::contacts(&watched.presentity, ucs, now), notices);
        }
    }

    /// Those who watch it as one of many.
    //= MS-PRES 3.2.5.3
    //# one notification for all categories that a dialog is affected in
    fn batches(&mut self, group: &Group) {
        let Some(watched) = self.watched else { return };
        let everybody = !group.changes.is_empty() || group.everyone;
        if watched.batches().is_empty() || !everybody && group.members.is_empty() {
            return;
        }
        let mut changes = group.changes.clone();
        changes.standard = group.standard;
        let mut classes = Classes::new();
        let (now, aor) = (self.now, self.presentity);
        let (worn_out, mut relays) = (&mut self.worn_out, Vec::new());
        let concerned = if everybody {
            watched.batches()
        } else {
            &group.members
        };
        for (slot, key) in concerned {
            self.store.change_dialog(*slot, *key, |dialog| {
                let address = dialog.watcher.clone();
                let watcher = Watcher {
                    address: address.as_str(),
                    network: dialog.network,
                };
                let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut);
                let Some(member) = batch.and_then(|batch| batch.members.get_mut(aor)) else {
                    return;
                };
                let presentity = &watched.presentity;
                let asked = group.members.binary_search(&(*slot, *key)).is_ok();
                if member.relay.is_some() {
                    return;
                }
                let affected = member.affected(presentity, watcher, (!asked).then_some(&changes));
                if affected.is_empty() {
                    return;
                }
                member.notified_at = now;
                let all = member.categories.clone();
                if let Some(lead) = Lead::of(dialog) {
                    // Each says everything, so that the newest is enough.
                    dialog.take_cseq(now);
                    relays.push((lead, dialog.local_cseq, all));
                } else {
                    classes.add(affected, notice(*key, dialog, now, worn_out));
                }
            });
        }
        for (lead, revision, resolved) in relays {
            let view = View::categories(&watched.presentity, &resolved, now);
            self.relay(lead, revision, &view);
        }
        for (resolved, notices) in classes.0 {
            self.say(
                View::categories(&watched.presentity, &resolved, now),
                notices,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::dialog::{CSEQ_MAX, LocalTag, Subscribe};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn dialog(local_cseq: u32) -> Dialog {
        let presentity = Aor::sip("alice", "example.com");
        let request = Subscribe {
            presentity: presentity.as_str(),
            watcher: "bob@example.com",
            package: Package::Presence,
            format: Format::Pidf,
            dialog: DialogKey(1),
            local_tag: LocalTag::new(presentity.slot(), 7),
            cseq: 1,
            expires_s: 600,
            route: b"route",
            target: b"target",
            extras: None,
            savers: None,
        };
        Dialog {
            local_cseq,
            ..Dialog::open(&request, presentity.clone(), NOW)
        }
    }

    fn told(store: &mut Store, notices: &mut Notices) -> Vec<(DialogKey, u32, SubscriptionState)> {
        let mut effects = Vec::new();
        notices.tell(store, NOW, &mut History::default(), &mut effects);
        let each = effects.into_iter().flat_map(|effect| match effect {
            Effect::Notify { notices, .. } => notices,
            Effect::Reply { .. } | Effect::Send { .. } => panic!("nobody asked"),
        });
        each.map(|notice| (notice.dialog, notice.cseq, notice.state))
            .collect()
    }

    #[test]
    fn a_dialog_is_told_once_whatever_happened() {
        let active = SubscriptionState::Active { expires_s: 600 };
        let gone = SubscriptionState::Terminated(EndReason::Timeout);
        let alice = dialog(0).presentity;
        let (one, two) = (DialogKey(1), DialogKey(2));
        type Happens<'a> = &'a dyn Fn(&mut Store, &mut Notices);
        let everyone: Happens<'_> = &|_, notices| notices.everyone(&alice);
        let asks: Happens<'_> = &|_, notices| notices.one(&alice, one);
        let ends: Happens<'_> = &|store, notices| {
            if let Some(dialog) = store.remove_dialog(alice.slot(), one) {
                notices.gone(one, dialog, EndReason::Timeout, NOW);
            }
        };
        for (name, happens, expected) in [
            ("nothing", vec![], vec![]),
            (
                "a change",
                vec![everyone],
                vec![(one, 8, active), (two, 8, active)],
            ),
            (
                "two changes",
                vec![everyone, everyone],
                vec![(one, 8, active), (two, 8, active)],
            ),
            ("a question", vec![asks, asks], vec![(one, 8, active)]),
            (
                "both",
                vec![asks, everyone],
                vec![(one, 8, active), (two, 8, active)],
            ),
            ("an end", vec![asks, ends], vec![(one, 8, gone)]),
            (
                "an end and a change",
                vec![everyone, ends],
                vec![(one, 8, gone), (two, 8, active)],
            ),
        ] {
            let (mut store, mut notices) = (Store::default(), Notices::default());
            store.insert_dialog(one, dialog(7));
            store.insert_dialog(two, dialog(7));
            happens
                .into_iter()
                .for_each(|happen| happen(&mut store, &mut notices));
            assert_eq!(told(&mut store, &mut notices), expected, "{name}");
            assert_eq!(told(&mut store, &mut notices), [], "{name}, and no more");
        }
    }

    //= RFC 3261 8.1.1.5
    //= type=test
    #[test]
    fn a_dialog_without_further_numbers_is_ended() {
        let (mut store, mut notices) = (Store::default(), Notices::default());
        store.insert_dialog(DialogKey(1), dialog(CSEQ_MAX - 1));
        store.insert_dialog(DialogKey(2), dialog(CSEQ_MAX - 2));
        notices.everyone(&dialog(0).presentity);
        let ended = SubscriptionState::Terminated(EndReason::Deactivated);
        let active = SubscriptionState::Active { expires_s: 600 };
        assert_eq!(
            told(&mut store, &mut notices),
            [
                (DialogKey(1), CSEQ_MAX, ended),
                (DialogKey(2), CSEQ_MAX - 1, active)
            ]
        );
        assert_eq!(store.counts().dialogs, 1);
    }
}
