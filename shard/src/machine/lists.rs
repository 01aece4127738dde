//! Dialogs that watch the documents of many (RFC 4662, RFC 5367, BluStar 4.2), and the clients of a user that
//! such dialogs tell of.
//!
//! A list dialog lives with one address: that of who watches, or the first of a BluStar client's list. Its
//! members are indexed as those of batches are, so a change of a member finds it; a member whose state is in
//! another shard is not indexed here.

use std::sync::Arc;

use crate::category::Category;
use crate::machine::apply::Machine;
use crate::machine::command::{Command, RelayWatch, Relayed, Sink};
use crate::machine::crossing;
use crate::machine::notices::{Classes, Group, Telling, notice};
use crate::machine::outcome::{Outcome, Refusal};
use crate::machine::parcel::{Destination, Parcel, about};
use crate::machine::store::Store;
use crate::machine::table::Watched;
use crate::presence::container::Watcher;
use crate::presence::enhanced::Changes;
use crate::presence::limits::{BATCH_RESOURCES_MAX, WATCHERS_MAX};
use crate::presence::package::Package;
use crate::presence::publication::EntityTag;
use crate::presence::rules::{Handling, Sight};
use crate::presence::subscriber::Subscriber;
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{Dialog, DialogKey, EndReason, Extras, Format};
use crate::subscription::relay::{RENEWED_S, SLACK_S};
use crate::subscription::view::{Seen, View};
use crate::subscription::watch::{ClientId, Entry, ListMember, Origin, Watch};
use crate::time::Timestamp;

impl Machine {
    /// Makes a list dialog watch these and nobody else.
    //= RFC 5367 4
    //# a later list in the dialog replaces the one before
    pub(super) fn follow_list(
        &mut self,
        slot: Slot,
        key: DialogKey,
        entries: &[Entry<'_>],
        extras: &Extras<'_>,
    ) {
        let watchers_max = WATCHERS_MAX.min(extras.watchers_max as usize);
        let joined = |dialog: &Dialog| {
            let watch = dialog.watch.as_deref();
            let members = watch.into_iter().flat_map(Watch::members);
            members.cloned().collect::<Vec<Aor>>()
        };
        let before = self.store.dialog(slot, key).map(joined).unwrap_or_default();
        let abroad = |dialog: &Dialog| {
            let watch = dialog.watch.as_deref().into_iter();
            let relayed = watch.flat_map(Watch::relayed);
            relayed
                .map(|(address, generation)| (address.clone(), generation))
                .collect::<Vec<(Aor, u64)>>()
        };
        let asked = self.store.dialog(slot, key).map(abroad).unwrap_or_default();
        let mut origins: Vec<(Aor, Origin, &str)> = Vec::new();
        for entry in entries {
            let address = Aor::from_canonical(entry.address);
            let watched = self.store.watched(entry.address);
            let full = watched.is_some_and(|watched| watched.batches().len() >= watchers_max);
            // Who has too many watchers is not to be had, like one who is nowhere.
            let origin = if full && !before.contains(&address) {
                Origin::Nowhere
            } else {
                entry.origin
            };
            origins.push((address, origin, entry.uri));
        }
        self.store.change_dialog(slot, key, |dialog| {
            let Some(list) = dialog.watch.as_deref_mut().and_then(Watch::list_mut) else {
                return;
            };
            let mut old = std::mem::take(&mut list.members);
            for (place, (address, origin, uri)) in (0..).zip(origins) {
                let known = old.remove(&address);
                let seen = known.as_ref().and_then(|member| member.seen);
                let relay = known.and_then(|member| member.relay);
                let elsewhere = origin == Origin::Elsewhere;
                list.members.entry(address).or_insert(ListMember {
                    uri: uri.into(),
                    origin,
                    place,
                    seen,
                    relay: elsewhere.then(|| relay.unwrap_or_default()),
                });
            }
        });
        let still = self.store.dialog(slot, key).map(abroad).unwrap_or_default();
        for (address, generation) in asked {
            if !still.iter().any(|(known, _)| *known == address) {
                let sink = Sink { slot, dialog: key };
                self.store.end_relay(&address, sink, generation);
            }
        }
        self.ask_for_members(slot, key, extras.display_name, extras.watchers_max);
        let now = self.store.dialog(slot, key).map(joined).unwrap_or_default();
        for address in before.iter().filter(|address| !now.contains(address)) {
            self.watches_no_more(slot, key, address, EndReason::Timeout);
            self.store.leave_batch(address, (slot, key));
        }
        for address in &now {
            self.store.join_batch(address, (slot, key));
            if !before.contains(address) {
                self.watches(slot, key, address);
            }
        }
    }

    /// Asks the shards of a list's other members for what its watcher may see of them.
    //= RFC 4662 4.3
    //# the notifier of the list learns of each resource where that is
    pub(super) fn ask_for_members(
        &mut self,
        slot: Slot,
        key: DialogKey,
        display_name: &str,
        watchers_max: u32,
    ) {
        let now = self.now;
        let dialog = self.store.change_dialog(slot, key, |dialog| {
            let left_s = dialog.expires_at.seconds_after(now);
            let list = dialog.watch.as_deref_mut().and_then(Watch::list_mut)?;
            let mut asked = Vec::new();
            for (address, member) in &mut list.members {
                if let Some(relay) = &mut member.relay {
                    relay.ask_again(now.0);
                    asked.push((address.clone(), relay.generation));
                }
            }
            list.renew_at = if asked.is_empty() || left_s < RENEWED_S {
                Timestamp(u64::MAX)
            } else {
                now.plus_s(left_s / 2)
            };
            Some((dialog.watcher.clone(), dialog.network, left_s, asked))
        });
        let Some((watcher, network, left_s, asked)) = dialog.flatten() else {
            return;
        };
        for (address, generation) in asked {
            let command = Command::RelayWatch(RelayWatch {
                presentity: address.as_str(),
                sink: Sink { slot, dialog: key },
                generation,
                watcher: watcher.as_str(),
                network,
                display_name,
                context: None,
                // What is seen is the same for all documents.
                format: Format::Pidf,
                categories: Vec::new(),
                expires_s: left_s.saturating_add(SLACK_S),
                watchers_max,
            });
            let about = about("watch", key, address.as_str());
            let to = Destination::Slot(address.slot());
            self.store.post(slot, Parcel::new(to, about, &command));
        }
    }

    /// A list of this shard is told of a member in another one.
    pub(super) fn list_relayed(&mut self, told: &Relayed<'_>, address: &Aor) -> Outcome {
        let Sink { slot, dialog: key } = told.sink;
        let taken = self.store.change_dialog(slot, key, |dialog| {
            let list = dialog.watch.as_deref_mut().and_then(Watch::list_mut)?;
            let member = list.members.get_mut(address)?;
            let relay = member.relay.as_deref_mut()?;
            let revision = |view: &Option<Arc<[u8]>>| {
                let view = view.as_deref().and_then(crossing::decode_view);
                view.map(|view| view.revision)
            };
            // What was asked anew, and is the same, is not told again.
            let before = revision(&relay.view);
            let new = relay.take(told) && (before.is_none() || revision(&relay.view) != before);
            if relay.view.is_none() && relay.revision > 0 {
                // Too many watch it.
                member.origin = Origin::Nowhere;
                member.relay = None;
            }
            Some(new)
        });
        match taken.flatten() {
            None => self.store.end_relay(address, told.sink, told.generation),
            Some(true) => self.notices.relayed(address, slot, key, Vec::new()),
            Some(false) => {}
        }
        Outcome::Ended
    }

    /// The watcher of a list enters the subscriber lists of the enhanced publishers in it.
    //= MS-PRES 3.7.5.3
    //# a watcher of an older format enters the subscriber list and stays in it
    pub(super) fn enlist_members(&mut self, slot: Slot, key: DialogKey, display_name: &str) {
        let Some(dialog) = self.store.dialog(slot, key) else {
            return;
        };
        let (watcher, network) = (dialog.watcher.clone(), dialog.network);
        let list = dialog.watch.as_deref().and_then(Watch::list);
        let claimed = |address: &&Aor| {
            let watched = self.store.watched(address.as_str());
            let claimed = watched.and_then(|watched| watched.presentity.claimed());
            claimed.is_some_and(|enhanced| !enhanced.subscribers.keeps(&watcher))
        };
        let joined = list.into_iter().flat_map(|list| list.joined());
        let publishers: Vec<Aor> = joined.filter(claimed).cloned().collect();
        for address in publishers {
            let subscriber = Subscriber {
                address: watcher.clone(),
                display_name: display_name.into(),
                network,
                acknowledged: false,
                lasting: true,
                context: Box::default(),
            };
            // The subscription stands; a full list is nobody's fault here.
            let _ = self.introduce(address.as_str(), subscriber);
        }
    }

    //= MS-PRES 3.4.5.1.3
    //# a list over the limits is rejected, as a batch is
    pub(super) fn check_list(entries: &[Entry<'_>]) -> Result<(), Refusal> {
        if entries.len() > BATCH_RESOURCES_MAX {
            return Err(Refusal::TooManySubscriptions);
        }
        Ok(())
    }

    /// PUBLISH with a lifetime of zero by a BluStar client: its dialogs are released, and if no other client
    /// of the user is there, what they shared is removed.
    //= BLUSTAR 2.2
    //# the subscriptions of the client are released, and with the last client the user is signed out
    pub(super) fn sign_off(
        &mut self,
        address: &str,
        if_match: Option<EntityTag>,
        client: ClientId,
        fresh: EntityTag,
    ) -> Result<Outcome, Refusal> {
        let shared = self
            .store
            .watched(address)
            .and_then(|watched| watched.presentity.publications.shared_tag(self.now));
        let slot = Slot::of(address);
        let theirs = self.clients_of(address);
        let own = theirs.iter().filter(|(_, known)| *known == client);
        let others = theirs.iter().any(|(_, known)| *known != client);
        let (released, keys): (usize, Vec<DialogKey>) =
            (own.clone().count(), own.map(|(key, _)| *key).collect());
        let names_it = shared.is_some_and(|(tag, _)| Some(tag) == if_match);
        for key in keys {
            self.end_dialog(slot, key, EndReason::Deregistered);
        }
        // Contradiction C-03: whoever names another tag than the one that lives changes nothing by that.
        if names_it && !others {
            self.sign_out(address);
        }
        match shared {
            None if released == 0 => Err(Refusal::NoMatch),
            shared => Ok(Outcome::Published {
                tag: shared.map_or(fresh, |(tag, _)| tag),
                expires_s: 0,
            }),
        }
    }

    /// The dialogs by which clients of a user are known, in the order of their keys.
    fn clients_of(&self, address: &str) -> Vec<(DialogKey, ClientId)> {
        let slot = Slot::of(address);
        let watched = self.store.watched(address);
        let keys = watched.into_iter().flat_map(|watched| watched.watchers());
        let client = |key: &DialogKey| Some((*key, self.store.dialog(slot, *key)?.client()?));
        keys.filter_map(client).collect()
    }

    /// A dialog has ended: with the last client of its user, the user is signed out.
    //= BLUSTAR 2.3
    //# a client that is gone without a word is as good as one that said so
    pub(super) fn client_gone(&mut self, ended: &Dialog) {
        let address = ended.presentity.as_str();
        if ended.client().is_some() && self.clients_of(address).is_empty() {
            self.sign_out(address);
        }
    }

    /// Ends what BluStar clients of a user shared, and tells everybody.
    fn sign_out(&mut self, address: &str) {
        if self.store.watched(address).is_none() {
            return;
        }
        let (now, index, notices) = (self.now, self.applied, &mut self.notices);
        self.store.change(address, |presentity, _| {
            let mut changes = Changes::default();
            presentity.sign_out(now, index, &mut changes);
            notices.changed(&presentity.aor, changes);
        });
    }

    /// The connection of a list's watcher is lost, and it has not come back over another one.
    pub(super) fn lose_dialog(&mut self, slot: Slot, key: DialogKey, target: &[u8]) {
        let lost = self
            .store
            .dialog(slot, key)
            .is_some_and(|dialog| *dialog.target == *target);
        if lost {
            self.end_dialog(slot, key, EndReason::Unreachable);
        }
    }

    /// The commands of this file.
    pub(super) fn change_list(
        &mut self,
        command: &Command<'_>,
        fresh: EntityTag,
    ) -> Option<Result<Outcome, Refusal>> {
        match command {
            Command::SignOff {
                presentity,
                if_match,
                client,
            } => Some(self.sign_off(presentity, *if_match, *client, fresh)),
            Command::LoseDialog {
                slot,
                dialog,
                target,
            } => {
                self.lose_dialog(*slot, *dialog, target);
                Some(Ok(Outcome::Ended))
            }
            _ => None,
        }
    }
}

/// What the watcher of a list sees of a member of this shard.
fn sight(watched: Option<&Watched>, dialog: &Dialog) -> Sight {
    let legacy = Category::LegacyInterop;
    watched
        .map(|watched| watched.presentity.sight(dialog.watching(), &legacy))
        .unwrap_or_default()
}

/// What a watcher sees of one member of its list.
fn shown(
    store: &Store,
    dialog: &Dialog,
    address: &Aor,
    member: &ListMember,
    now: Timestamp,
) -> View {
    let nobody = || View::of_nothing(address.clone(), Package::Presence, now);
    match (member.origin, store.watched(address.as_str())) {
        (Origin::Nowhere, _) => View::unknown(address.clone(), now),
        (Origin::Elsewhere, _) => {
            let relay = member
                .relay
                .as_deref()
                .and_then(|relay| relay.view.as_deref());
            // Nothing is shown of whom nothing is known yet.
            relay
                .and_then(crossing::decode_view)
                .unwrap_or_else(|| View::of_an_end(address.clone(), Package::Presence, now))
        }
        (Origin::Here, None) => nobody(),
        (Origin::Here, Some(watched)) => {
            View::document(&watched.presentity, &sight(Some(watched), dialog), now)
        }
    }
}

impl Telling<'_> {
    /// Those who watch it as a member of their list, and those who asked for the whole of theirs.
    pub(super) fn lists(&mut self, group: &Group) {
        self.whole_lists(group);
        self.members(group);
        self.members_abroad(group);
    }

    /// A member in another shard is seen differently by these.
    fn members_abroad(&mut self, group: &Group) {
        let (now, aor) = (self.now, self.presentity);
        for (slot, key, _) in &group.relayed {
            let Some(dialog) = self.store.dialog(*slot, *key) else {
                continue;
            };
            let list = dialog.watch.as_deref().and_then(Watch::list);
            let Some(member) = list.and_then(|list| list.members.get(aor)) else {
                continue;
            };
            let view = shown(self.store, dialog, aor, member, now);
            let uri = dialog.format.is_rlmi().then(|| member.uri.clone());
            let worn_out = &mut self.worn_out;
            let told = self
                .store
                .change_dialog(*slot, *key, |dialog| notice(*key, dialog, now, worn_out));
            let view = match uri {
                None => view,
                Some(uri) => View::list(
                    aor.clone(),
                    view.revision,
                    false,
                    vec![(uri, Arc::new(view))],
                    now,
                ),
            };
            self.say(view, told.into_iter().collect());
        }
    }

    /// Everything, for who subscribed or refreshed: in one body, or in one NOTIFY for each member.
    //= RFC 4662 5.2
    //# the first notification and each after a refresh show all resources
    //= BLUSTAR 2.9
    //# a client that refreshes is shown all whom it watches once more
    fn whole_lists(&mut self, group: &Group) {
        for key in &group.some {
            let slot = self.presentity.slot();
            let Some(dialog) = self.store.dialog(slot, *key) else {
                continue;
            };
            let Some(list) = dialog.watch.as_deref().and_then(Watch::list) else {
                continue;
            };
            let mut members: Vec<(u32, &Aor, &ListMember)> = list
                .members
                .iter()
                .map(|(address, member)| (member.place, address, member))
                .collect();
            members.sort_by_key(|(place, ..)| *place);
            let now = self.now;
            let shown: Vec<(Box<str>, View, Option<u16>)> = members
                .into_iter()
                .map(|(_, address, member)| {
                    let watched = self.store.watched(address.as_str());
                    let view = shown(self.store, dialog, address, member, now);
                    (member.uri.clone(), view, sight(watched, dialog).container)
                })
                .collect();
            let format = dialog.format;
            let mut shown = shown;
            if !format.is_rlmi() {
                // A NOTIFY of its own would have nothing to show.
                shown.retain(|(_, view, _)| !matches!(view.seen, Seen::Nothing));
            }
            let mut notices = Vec::new();
            let (store, worn_out) = (&mut *self.store, &mut self.worn_out);
            store.change_dialog(slot, *key, |dialog| {
                if let Some(list) = dialog.watch.as_deref_mut().and_then(Watch::list_mut) {
                    for (_, view, container) in &shown {
                        if let Some(member) = list.members.get_mut(&view.presentity) {
                            member.seen = *container;
                        }
                    }
                }
                let count = if format.is_rlmi() { 1 } else { shown.len() };
                for _ in 0..count {
                    notices.push(notice(*key, dialog, now, worn_out));
                }
            });
            if format.is_rlmi() {
                let revision = shown.iter().map(|(_, view, _)| view.revision).max();
                let members = shown
                    .into_iter()
                    .map(|(uri, view, _)| (uri, Arc::new(view)))
                    .collect();
                let home = self.presentity.clone();
                let view = View::list(home, revision.unwrap_or(0), true, members, now);
                self.say(view, notices);
            } else {
                for ((_, view, _), notice) in shown.into_iter().zip(notices) {
                    self.say(view, vec![notice]);
                }
            }
        }
    }

    /// A change of the presentity, for all lists that it is in and that can see it.
    fn members(&mut self, group: &Group) {
        let Some(watched) = self.watched else { return };
        let legacy = Category::LegacyInterop;
        let concerns = |of: &Category| *of == legacy || *of == Category::ContactCard;
        let visible = !group.changes.containers.is_empty()
            || group.changes.touched.iter().any(|(of, _)| concerns(of));
        if watched.batches().is_empty() || !(group.everyone || visible) {
            return;
        }
        let claimed = watched.presentity.claimed();
        let (changes, now, aor) = (&group.changes, self.now, self.presentity);
        let mut classes = Classes::new();
        let worn_out = &mut self.worn_out;
        for (slot, key) in watched.batches() {
            self.store.change_dialog(*slot, *key, |dialog| {
                let address = dialog.watcher.clone();
                let watcher = Watcher {
                    address: address.as_str(),
                    network: dialog.network,
                };
                let sight = watched.presentity.sight(watcher, &legacy);
                let container = sight.container;
                let list = dialog.watch.as_deref_mut().and_then(Watch::list_mut);
                let Some(member) = list.and_then(|list| list.members.get_mut(aor)) else {
                    return;
                };
                let changed = |(of, at): &(Category, u16)| concerns(of) && Some(*at) == container;
                let lets_in = sight.admitted.handling == Handling::Allow;
                let told = changes.rules
                    || lets_in && group.standard && (claimed.is_none() || changes.claimed)
                    || claimed.is_some()
                        && (member.seen != container || changes.touched.iter().any(changed));
                member.seen = container;
                if told {
                    let uri = dialog.format.is_rlmi().then(|| member.uri.clone());
                    classes.add((sight, uri), notice(*key, dialog, now, worn_out));
                }
            });
        }
        for ((sight, uri), notices) in classes.0 {
            let view = View::document(&watched.presentity, &sight, now);
            let view = match uri {
                None => view,
                //= RFC 4662 5.2
                //# a change shows the resources that changed, and says that these are not all
                Some(uri) => {
                    let revision = view.revision;
                    let members = vec![(uri, Arc::new(view))];
                    View::list(aor.clone(), revision, false, members, now)
                }
            };
            self.say(view, notices);
        }
    }
}
