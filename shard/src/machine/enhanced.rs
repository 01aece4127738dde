//! The commands of enhanced presence (MS-PRES 3.2 to 3.10), on the machine.
//!
//! A command changes its presentity through [`Presentity::change`], which runs the computing functions;
//! what changed is collected, and told when the entry is done. What rides in a response is looked up when
//! the response is given, so that a repeated request is shown what there is then.

use std::sync::Arc;

use crate::category::{Category, Computed};
use crate::machine::apply::Machine;
use crate::machine::command::{
    Command, Elsewhere, Extras, PublishInstances, Resubscribe, Subscribe,
};
use crate::machine::effect::Shown;
use crate::machine::outcome::{Outcome, Refusal};
use crate::presence::contacts::{Custody, Done};
use crate::presence::container::{Rejected, Watcher};
use crate::presence::enhanced::{Changes, Enhanced, Profile};
use crate::presence::instance::{Deed, Lifetime, Wished};
use crate::presence::limits::{CONTEXT_BYTES_MAX, SUBSCRIBERS_MAX, WATCHERS_MAX};
use crate::presence::rules::Sight;
use crate::presence::subscriber::Subscriber;
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{
    Away, Dialog, DialogKey, EndReason, EndpointId, Format, Package,
};
use crate::subscription::savers::Condition;
use crate::subscription::view::{Seen, View};
use crate::subscription::watch::{Action, BatchMember, Scope, Watch, Wish};
use crate::time::Timestamp;

/// The container of what is for oneself.
const SELF: u16 = 1;

/// Steps of a mirrored list told one by one. More are told as the list: a client reads one document sooner
/// than a dozen.
const STEPS_TOLD_MAX: usize = 8;

impl Machine {
    /// Lets `change` change the enhanced presence of an address, and tells of it.
    fn change_enhanced<R>(
        &mut self,
        address: &str,
        change: impl FnOnce(&mut Enhanced, &mut Changes, Timestamp) -> Result<R, Rejected>,
    ) -> Result<R, Rejected> {
        let (now, index, notices) = (self.now, self.applied, &mut self.notices);
        self.store.change(address, |presentity, _| {
            let mut changes = Changes::default();
            let done = presentity.change(now, index, &mut changes, |enhanced, changes| {
                change(enhanced, changes, now)
            });
            notices.changed(&presentity.aor, changes);
            done
        })
    }

    pub(super) fn publish_instances(
        &mut self,
        request: &PublishInstances<'_>,
    ) -> Result<Outcome, Refusal> {
        let bound = request.publications.iter().any(|publication| {
            matches!(
                publication.deed,
                Deed::Set {
                    life: Wished::Endpoint,
                    ..
                }
            )
        });
        //= MS-PRES 3.2.5.4
        //# an endpoint-bound publication needs a registered endpoint
        if bound && !self.is_registered(request.presentity, request.endpoint) {
            return Err(Refusal::EndpointNotRegistered);
        }
        self.claim(request.presentity);
        let (now, index, notices) = (self.now, self.applied, &mut self.notices);
        let done = self.store.change(request.presentity, |presentity, _| {
            let mut changes = Changes::default();
            presentity.change(now, index, &mut changes, |enhanced, changes| {
                let touched = &mut changes.touched;
                enhanced.instances.publish(request, now, touched)
            })?;
            //= MS-PRES 3.2.5.1.2
            //# told is what the request modified, also through the computing functions
            let touched = changes.touched.iter().map(|(category, _)| category.clone());
            // A client forgets what it knew of a category that it named and does not find (C-67).
            let named = request.publications.iter().map(|p| p.category.clone());
            let mut categories: Vec<Category> = touched.chain(named).collect();
            categories.sort_unstable();
            categories.dedup();
            notices.changed(&presentity.aor, changes);
            Ok(Outcome::InstancesPublished(categories.into()))
        });
        done.or_else(told)
    }

    /// A user who publishes is one whose containers rule, registered or not (contradiction C-64).
    fn claim(&mut self, address: &str) {
        let (now, index, notices) = (self.now, self.applied, &mut self.notices);
        let claimed = self.store.watched(address);
        if claimed.is_some_and(|watched| watched.presentity.claimed().is_some()) {
            return;
        }
        let mut profile = Profile::default();
        let name = address.split('@').next().unwrap_or(address);
        profile.card.display_name = name.into();
        self.store.change(address, |presentity, _| {
            let mut changes = Changes::default();
            presentity.claim(profile, now, &mut changes);
            presentity.advance(index);
            notices.changed(&presentity.aor, changes);
        });
    }

    fn is_registered(&self, address: &str, endpoint: Option<EndpointId>) -> bool {
        let watched = self.store.watched(address);
        endpoint.is_some_and(|endpoint| {
            watched.is_some_and(|watched| watched.presentity.endpoints.holds(endpoint))
        })
    }

    /// The commands that change one part and show nothing, or little.
    pub(super) fn change_part(&mut self, command: &Command<'_>) -> Result<Outcome, Refusal> {
        let done = match command {
            Command::SetMembers {
                presentity,
                changes: asked,
                members_max,
            } => {
                self.claim(presentity);
                self.change_enhanced(presentity, |enhanced, changes, _| {
                    enhanced
                        .containers
                        .set_members(asked, *members_max as usize)?;
                    changes
                        .containers
                        .extend(asked.iter().map(|change| change.id));
                    Ok(Outcome::Done)
                })
            }
            Command::Acknowledge {
                presentity,
                subscriber,
                acknowledged,
            } => self.change_enhanced(presentity, |enhanced, changes, _| {
                enhanced
                    .subscribers
                    .acknowledge(subscriber, *acknowledged)?;
                changes.subscribers = true;
                Ok(Outcome::Done)
            }),
            Command::SetDelegate {
                presentity,
                version,
                act,
                delegate,
                delegates_max,
            } => self.change_enhanced(presentity, |enhanced, changes, _| {
                let max = *delegates_max as usize;
                enhanced
                    .delegates
                    .set(*version, *act, delegate.clone(), max)?;
                changes.delegates = true;
                Ok(Outcome::DelegatesSet)
            }),
            Command::ChangeContacts {
                presentity,
                delta_num,
                change,
                contacts_max,
                endpoint,
            } => {
                let done = self.change_enhanced(presentity, |enhanced, changes, _| {
                    let max = *contacts_max as usize;
                    let delta = enhanced.contacts.change(*delta_num, change, max)?;
                    let group = match &delta.done {
                        Done::AddedGroup(group) => Some(group.id),
                        _ => None,
                    };
                    changes.contacts.push(delta);
                    Ok(Outcome::ContactsChanged(group))
                });
                //= MS-SIP 3.7.1
                //# who does not know the current list is told all of it
                if let Err(Rejected::Refused(Refusal::StaleContacts)) = done {
                    self.tell_contacts(presentity, *endpoint);
                }
                done
            }
            Command::ContactsArrived {
                presentity,
                delta_num,
            } => {
                let done = self.change_enhanced(presentity, |enhanced, _, _| {
                    enhanced.contacts.arrive(*delta_num)?;
                    Ok(Outcome::Done)
                });
                if done.is_ok() {
                    self.end_contact_dialogs(presentity);
                }
                done
            }
            Command::MirrorContacts {
                presentity,
                delta_num,
                changes: differences,
                home,
                contacts_max,
            } => self.change_enhanced(presentity, |enhanced, changes, _| {
                let max = *contacts_max as usize;
                let contacts = &mut enhanced.contacts;
                changes.contacts = contacts.mirror(*delta_num, differences, *home, max)?;
                changes.contacts_whole = changes.contacts.len() > STEPS_TOLD_MAX;
                Ok(Outcome::Done)
            }),
            Command::HandContactsOver {
                presentity,
                from,
                to,
            } => self.change_enhanced(presentity, |enhanced, _, _| {
                enhanced.contacts.hand_over(*from, *to)?;
                Ok(Outcome::Done)
            }),
            Command::SetProfile {
                presentity,
                profile,
            } => {
                let (now, index, notices) = (self.now, self.applied, &mut self.notices);
                self.store.change(presentity, |presentity, _| {
                    let mut changes = Changes::default();
                    presentity.claim(profile.clone(), now, &mut changes);
                    presentity.advance(index);
                    notices.changed(&presentity.aor, changes);
                    Ok(Outcome::Done)
                })
            }
            Command::EndEndpoint {
                presentity,
                endpoint,
                target,
            } => {
                let (now, index, notices) = (self.now, self.applied, &mut self.notices);
                let (ended, bindings) = self.store.change(presentity, |presentity, _| {
                    let mut changes = Changes::default();
                    let ended = presentity.lose(*endpoint, target, now, &mut changes);
                    let bindings = changes.take_bindings();
                    if !changes.is_empty() {
                        presentity.advance(index);
                        notices.changed(&presentity.aor, changes);
                    }
                    (ended, bindings)
                });
                self.tell_bindings(presentity, bindings);
                self.endpoints_ended(presentity, &ended);
                Ok(Outcome::Ended)
            }
            Command::EndpointGone {
                watcher,
                endpoint,
                at,
            } => {
                self.endpoint_gone(watcher, *endpoint, *at);
                Ok(Outcome::Ended)
            }
            Command::RelayWatch(watch) => Ok(self.relay_watch(watch)),
            Command::RelayEnd {
                presentity,
                sink,
                generation,
            } => {
                self.relay_end(presentity, *sink, *generation);
                Ok(Outcome::Ended)
            }
            Command::Relayed(relayed) => Ok(self.relayed(relayed)),
            Command::Delivered { parcels } => {
                for (slot, number) in parcels {
                    self.store.delivered(*slot, *number);
                }
                Ok(Outcome::Ended)
            }
            Command::Introduce {
                presentity,
                watcher,
                network,
                display_name,
                context,
            } => {
                let subscriber = Subscriber {
                    address: Aor::from_canonical(watcher),
                    display_name: (*display_name).into(),
                    network: *network,
                    acknowledged: false,
                    lasting: false,
                    context: (*context).into(),
                };
                self.introduce(presentity, subscriber)
                    .map(|()| Outcome::Ended)
            }
            Command::SetWaiting {
                presentity,
                waiting,
            } => {
                self.claim(presentity);
                self.change_enhanced(presentity, |enhanced, changes, now| {
                    let place = (Category::Mwi, SELF);
                    let (mwi, touched) = (Computed::Mwi(*waiting), &mut changes.touched);
                    enhanced
                        .instances
                        .compute(place, 0, Lifetime::Static, mwi, now, touched);
                    Ok(Outcome::Done)
                })
            }
            _ => unreachable!("the caller has matched the command"),
        };
        done.or_else(told)
    }

    /// Tells an endpoint all of its user's contacts, in its dialog, if it has one.
    fn tell_contacts(&mut self, address: &str, endpoint: Option<EndpointId>) {
        let (Some(watched), Some(endpoint)) = (self.store.watched(address), endpoint) else {
            return;
        };
        let (slot, aor) = (Slot::of(address), &watched.presentity.aor);
        for key in watched.watchers() {
            let dialog = self.store.dialog(slot, *key);
            if dialog.is_some_and(|dialog| {
                dialog.package == Package::RoamingContacts && dialog.endpoint() == Some(endpoint)
            }) {
                self.notices.one(aor, *key);
            }
        }
    }

    /// The list of an address has moved: who watches it here is told where, for the last time.
    //= MS-PRES 4.14.2
    //# whoever is connected is told that the list has migrated, and its subscription ends
    fn end_contact_dialogs(&mut self, address: &str) {
        let Some(watched) = self.store.watched(address) else {
            return;
        };
        let slot = Slot::of(address);
        let keys = watched.watchers().iter().copied().filter(|key| {
            let dialog = self.store.dialog(slot, *key);
            dialog.is_some_and(|dialog| dialog.package == Package::RoamingContacts)
        });
        for key in keys.collect::<Vec<_>>() {
            self.end_dialog(slot, key, EndReason::Migrated);
        }
    }

    /// Whether a client that knows the way to the mail server is sent there.
    //= MS-PRES 3.10.4
    //# after the move a client that says ms-ucs gets no list here
    fn check_contacts(&self, home: &str, wish: &Wish<'_>) -> Result<(), Refusal> {
        let custody = self
            .store
            .watched(home)
            .map_or(Custody::Here, |watched| watched.presentity.custody());
        match wish {
            Wish::Contacts(true) if custody.is_elsewhere() => Err(Refusal::ContactsMigrated),
            _ => Ok(()),
        }
    }

    /// Endpoints are gone from an address: their dialogs end without a word, for nobody is there.
    pub(super) fn end_dialogs_of(&mut self, address: &str, endpoints: &[EndpointId]) {
        let Some(watched) = self.store.watched(address) else {
            return;
        };
        let slot = Slot::of(address);
        let keys = watched.watchers().iter().copied().filter(|key| {
            let endpoint = self.store.dialog(slot, *key).and_then(Dialog::endpoint);
            endpoint.is_some_and(|endpoint| endpoints.contains(&endpoint))
        });
        for key in keys.collect::<Vec<_>>() {
            self.end_dialog(slot, key, EndReason::Deregistered);
        }
    }

    /// SUBSCRIBE outside a dialog, by an enhanced client or for a document of an enhanced publisher.
    pub(super) fn open_enhanced(
        &mut self,
        subscribe: &Subscribe<'_>,
        extras: &Extras<'_>,
    ) -> Result<Outcome, Refusal> {
        let (home, key, now) = (subscribe.presentity, subscribe.dialog, self.now);
        //= MS-PRES 3.4.5.3
        //# the endpoint that subscribes must be registered
        if extras.registered && !self.is_registered(subscribe.watcher, extras.endpoint) {
            return Err(Refusal::EndpointNotRegistered);
        }
        let mut dialog = Dialog::open(subscribe, Aor::from_canonical(home), now);
        self.admit(&mut dialog)?;
        let (slot, local_tag) = (dialog.slot(), dialog.local_tag);
        check_size(extras)?;
        self.check_contacts(home, &extras.wish)?;
        let mut expires_s = subscribe.expires_s;
        if watches_nobody(extras) {
            expires_s = 0;
            for resource in &extras.abroad.resources {
                self.introduce_abroad(slot, &dialog.watcher, resource, extras);
            }
        } else {
            self.supersede(home, &dialog);
            self.store.insert_dialog(key, dialog);
            self.begins(slot, key);
            self.follow(slot, key, extras);
            self.follow_abroad(slot, key, extras);
            if self.is_empty_batch(slot, key) {
                self.store.remove_dialog(slot, key);
                expires_s = 0;
            } else {
                let condition = subscribe
                    .savers
                    .as_deref()
                    .and_then(|asked| asked.condition);
                self.tell_or_show(slot, key, extras, condition);
            }
        }
        Ok(if extras.piggyback {
            Outcome::Piggybacked {
                local_tag,
                expires_s,
                dialog: key,
            }
        } else {
            Outcome::Subscribed {
                local_tag,
                expires_s,
            }
        })
    }

    /// Whether a new dialog is a batch that nobody of those it asked for is in.
    //= MS-PRES 3.4.5.1.3.1
    //# where every resource is rejected no dialog is kept, and the answer says that it is over
    fn is_empty_batch(&self, slot: Slot, key: DialogKey) -> bool {
        let dialog = self.store.dialog(slot, key);
        let batch = dialog.and_then(|dialog| dialog.watch.as_deref()?.batch());
        batch.is_some_and(|batch| batch.members.is_empty())
    }

    /// SUBSCRIBE inside a dialog, by an enhanced client.
    pub(super) fn refresh_enhanced(
        &mut self,
        request: &Resubscribe<'_>,
        extras: &Extras<'_>,
    ) -> Result<Outcome, Refusal> {
        let (slot, key, now) = (request.slot, request.dialog, self.now);
        let dialog = self.store.dialog(slot, key).ok_or(Refusal::UnknownDialog)?;
        let ends = request.expires_s == 0;
        //= RFC 6665 4.4.1
        //# a request for another package is not one of this subscription
        let fits = matches!(
            (&extras.wish, dialog.watch.as_deref()),
            (Wish::Same, _)
                | (Wish::Own(_), Some(Watch::Own { .. }))
                | (Wish::Contacts(_), Some(Watch::Contacts { .. }))
                | (Wish::Categories(_), Some(Watch::Batch(_)))
                | (Wish::List { .. }, Some(Watch::List(_)))
                | (Wish::Document, None)
        );
        if !fits {
            return Err(Refusal::UnknownDialog);
        }
        let home = dialog.presentity.clone();
        let registered = self.is_registered(dialog.watcher.as_str(), extras.endpoint);
        if extras.registered && !ends && !registered {
            return Err(Refusal::EndpointNotRegistered);
        }
        check_size(extras)?;
        if !ends {
            self.check_contacts(home.as_str(), &extras.wish)?;
        }
        let refreshed = self.store.change_dialog(slot, key, |dialog| {
            dialog.refresh(request, now)?;
            //= MS-PRES 3.3.5.1
            //# a later SUBSCRIBE in the dialog replaces its scope
            if let (Wish::Own(wanted), Some(Watch::Own { scope, .. })) =
                (&extras.wish, dialog.watch.as_deref_mut())
            {
                *scope = *wanted;
            }
            Ok(dialog.local_tag)
        });
        let local_tag = refreshed.ok_or(Refusal::UnknownDialog)??;
        if ends {
            // An enhanced client ends its dialog without being told that it did (MS-PRES 4.4.4).
            if let Some(dialog) = self.store.remove_dialog(slot, key) {
                self.ends(key, &dialog, EndReason::Timeout);
            }
            return Ok(Outcome::Subscribed {
                local_tag,
                expires_s: 0,
            });
        }
        self.follow(slot, key, extras);
        self.follow_abroad(slot, key, extras);
        self.tell_or_show(slot, key, extras, None);
        let expires_s = request.expires_s;
        Ok(if extras.piggyback {
            Outcome::Piggybacked {
                local_tag,
                expires_s,
                dialog: key,
            }
        } else {
            Outcome::Subscribed {
                local_tag,
                expires_s,
            }
        })
    }

    /// An endpoint has one dialog for a thing: the older one ends.
    //= MS-PRES 3.3.5.1
    //# a new dialog of the same endpoint is accepted, and the old one is terminated with a NOTIFY
    fn supersede(&mut self, home: &str, new: &Dialog) {
        let (slot, Some(endpoint)) = (new.slot(), new.endpoint()) else {
            return;
        };
        let Some(watched) = self.store.watched(home) else {
            return;
        };
        let same = watched.watchers().iter().copied().filter(|key| {
            self.store
                .dialog(slot, *key)
                .is_some_and(|old| old.package == new.package && old.endpoint() == Some(endpoint))
        });
        for key in same.collect::<Vec<_>>() {
            self.end_dialog(slot, key, EndReason::Superseded);
        }
    }

    /// Does what a SUBSCRIBE asks besides living: joins and leaves resources, enters subscriber lists.
    fn follow(&mut self, slot: Slot, key: DialogKey, extras: &Extras<'_>) {
        let Some(dialog) = self.store.dialog(slot, key) else {
            return;
        };
        let watcher = dialog.watcher.clone();
        match &extras.wish {
            Wish::Categories(actions) => {
                for action in actions {
                    self.follow_action(slot, key, action, &watcher, extras);
                }
            }
            Wish::List { entries, .. } => {
                self.follow_list(slot, key, entries, extras);
                self.enlist_members(slot, key, extras.display_name);
            }
            Wish::Document => self.enlist(slot, key, extras.display_name),
            Wish::Own(_) | Wish::Contacts(_) | Wish::Same => {}
        }
    }

    /// A watcher of a document enters the subscriber list of an enhanced publisher.
    //= MS-PRES 3.7.5.3
    //# a watcher of an older format enters the subscriber list and stays in it
    pub(super) fn enlist(&mut self, slot: Slot, key: DialogKey, display_name: &str) {
        let Some(dialog) = self.store.dialog(slot, key) else {
            return;
        };
        let address = dialog.presentity.clone();
        let watched = self.store.watched(address.as_str());
        let claimed = watched.and_then(|watched| watched.presentity.claimed());
        let Some(enhanced) = claimed.filter(|_| dialog.package == Package::Presence) else {
            return;
        };
        if enhanced.subscribers.keeps(&dialog.watcher) {
            return;
        }
        let subscriber = Subscriber {
            address: dialog.watcher.clone(),
            display_name: display_name.into(),
            network: dialog.network,
            acknowledged: false,
            lasting: true,
            context: Box::default(),
        };
        // The subscription stands; a full list is nobody's fault here.
        let _ = self.introduce(address.as_str(), subscriber);
    }

    fn follow_action(
        &mut self,
        slot: Slot,
        key: DialogKey,
        action: &Action<'_>,
        watcher: &Aor,
        extras: &Extras<'_>,
    ) {
        let watchers_max = WATCHERS_MAX.min(extras.watchers_max as usize);
        for resource in &action.resources {
            let address = Aor::from_canonical(resource.address);
            let watchers = self.store.watched(resource.address);
            let watchers = watchers.map_or(0, |watched| watched.batches().len());
            let (mut gone, mut new) = (false, false);
            let joined = self.store.change_dialog(slot, key, |dialog| {
                let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
                if !action.subscribe {
                    gone = batch.unwatch(&address, &action.categories);
                    return None;
                }
                //= MS-PRES 3.4.5.1.3.1
                //# a resource with too many watchers is rejected, the others are served
                new = !batch.members.contains_key(&address);
                let full = new && watchers >= watchers_max;
                let watched = !full && batch.watch(&address, &action.categories).is_ok();
                watched.then_some(())
            });
            if gone {
                self.watches_no_more(slot, key, &address, EndReason::Timeout);
                self.store.leave_batch(&address, (slot, key));
            }
            if joined.flatten().is_some() {
                self.store.join_batch(&address, (slot, key));
                if new {
                    self.watches(slot, key, &address);
                }
                //= MS-PRES 3.4.5.1.3
                //# a context element adds the watcher to the resource's subscriber list
                if let Some(context) = resource.context {
                    let subscriber = introduced(watcher, extras, context);
                    let full = self.introduce(address.as_str(), subscriber).is_err();
                    //= MS-PRES 3.6.5.1
                    //# who does not fit into the subscriber list is told 413
                    if full && new {
                        self.store.change_dialog(slot, key, |dialog| {
                            let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
                            batch.members.remove(&address)
                        });
                        self.store.leave_batch(&address, (slot, key));
                    }
                }
            }
        }
    }

    /// Adds a watcher to a publisher's subscriber list.
    pub(super) fn introduce(
        &mut self,
        address: &str,
        subscriber: Subscriber,
    ) -> Result<(), Rejected> {
        if subscriber.address.as_str() == address {
            return Ok(());
        }
        self.change_enhanced(address, |enhanced, changes, _| {
            let list = &mut enhanced.subscribers;
            changes.subscribers = list.add(subscriber, SUBSCRIBERS_MAX, CONTEXT_BYTES_MAX)?;
            Ok(())
        })
    }

    /// Without piggybacking, the state is told when the entry is done.
    fn tell_or_show(
        &mut self,
        slot: Slot,
        key: DialogKey,
        extras: &Extras<'_>,
        condition: Option<Condition>,
    ) {
        if extras.piggyback {
            return;
        }
        let Some(dialog) = self.store.dialog(slot, key) else {
            return;
        };
        match dialog.watch.as_deref().and_then(Watch::batch) {
            None => self.tell_opened(slot, key, condition),
            Some(batch) => {
                let members = asked_of(extras, batch.members.keys());
                for address in members {
                    if batch.members.contains_key(&address) {
                        self.notices.member(&address, slot, key);
                    }
                }
            }
        }
    }

    /// What rides in the response to `command`, which had this outcome, now or when it came before.
    pub(super) fn shown(&mut self, command: &Command<'_>, outcome: &Outcome) -> Option<Box<Shown>> {
        let now = self.now;
        let own = |machine: &Machine, address: &str, scope: Scope, changes: Option<&Changes>| {
            let watched = machine.store.watched(address)?;
            Some(Arc::new(View::own(
                &watched.presentity,
                scope,
                changes,
                now,
            )))
        };
        match (outcome, command) {
            (Outcome::InstancesPublished(categories), Command::PublishInstances(request)) => {
                let touched = |category: &Category| {
                    let of = |place: &(Category, u16)| place.0 == *category;
                    let named = request
                        .publications
                        .iter()
                        .map(|p| (p.category.clone(), p.container));
                    let mut places: Vec<(Category, u16)> = named.filter(of).collect();
                    if places.is_empty() {
                        // Computed: shown where it stands, and nowhere as cleared.
                        let watched = self.store.watched(request.presentity);
                        let enhanced = watched.and_then(|w| w.presentity.enhanced.as_deref());
                        let first = enhanced.and_then(|e| e.instances.of(category).first());
                        places.extend(first.map(|held| (category.clone(), held.container)));
                    }
                    places
                };
                let changes = Changes {
                    touched: categories.iter().flat_map(touched).collect(),
                    ..Changes::default()
                };
                let view = own(self, request.presentity, Scope::CATEGORIES, Some(&changes));
                view.map(|view| Shown {
                    views: vec![view],
                    ..Shown::default()
                })
            }
            (Outcome::DelegatesSet, Command::SetDelegate { presentity, .. }) => {
                let view = own(self, presentity, Scope::DELEGATES, None);
                view.map(|view| Shown {
                    views: vec![view],
                    ..Shown::default()
                })
            }
            (Outcome::Conflict(conflicts), Command::PublishInstances(request)) => {
                let watched = self.store.watched(request.presentity);
                let enhanced = watched.and_then(|w| w.presentity.enhanced.as_deref());
                let current = conflicts.iter().map(|conflict| {
                    let publication = request.publications.get(conflict.index as usize - 1)?;
                    let (category, container) = (&publication.category, publication.container);
                    enhanced?
                        .instances
                        .get(category, container, publication.number)
                        .cloned()
                });
                Some(Shown {
                    current: current.collect(),
                    ..Shown::default()
                })
            }
            // Nobody could be watched, and no dialog was kept.
            (Outcome::Piggybacked { expires_s: 0, .. }, Command::Subscribe(request)) => {
                let extras = request.extras.as_deref()?;
                Some(Shown {
                    cseq: 1,
                    over_quota: asked_of(extras, std::iter::empty()),
                    ..Shown::default()
                })
            }
            (
                Outcome::Piggybacked {
                    local_tag, dialog, ..
                },
                Command::Subscribe(request),
            ) => {
                let extras = request.extras.as_deref()?;
                self.piggyback(local_tag.slot(), *dialog, extras)
            }
            (
                Outcome::Piggybacked {
                    local_tag, dialog, ..
                },
                Command::Resubscribe(request),
            ) => {
                let extras = request.extras.as_deref()?;
                self.piggyback(local_tag.slot(), *dialog, extras)
            }
            _ => None,
        }
        .map(Box::new)
    }

    /// The notification that rides in the 200 of a SUBSCRIBE, and takes a CSeq.
    //= MS-SIP 3.4
    //# the first notification in the 200 has the CSeq that a NOTIFY would have had
    fn piggyback(&mut self, slot: Slot, key: DialogKey, extras: &Extras<'_>) -> Option<Shown> {
        let now = self.now;
        let dialog = self.store.dialog(slot, key)?;
        let (home, watcher) = (dialog.presentity.clone(), dialog.watcher.clone());
        let network = dialog.network;
        let mut shown = Shown::default();
        match dialog.watch.as_deref() {
            Some(Watch::Own { scope, .. }) => {
                let watched = self.store.watched(home.as_str())?;
                let view = View::own(&watched.presentity, *scope, None, now);
                shown.views.push(Arc::new(view));
            }
            Some(Watch::Contacts { ucs, .. }) => {
                let watched = self.store.watched(home.as_str())?;
                let view = View::contacts(&watched.presentity, *ucs, now);
                if let Seen::Contacts { list, .. } = &view.seen {
                    self.notices.shown(&home, key, list.delta_num);
                }
                shown.views.push(Arc::new(view));
            }
            None => {
                let watcher = Watcher {
                    address: watcher.as_str(),
                    network,
                };
                let (view, sight) = self.document(home.as_str(), watcher);
                shown.views.push(Arc::new(view));
                self.store.change_dialog(slot, key, |dialog| {
                    dialog.resolved = sight.container;
                    dialog.admit(sight.admitted);
                });
            }
            // A list is told in notifications of its own.
            Some(Watch::List(_)) => {}
            Some(Watch::Batch(batch)) => {
                for address in asked_of(extras, batch.members.keys()) {
                    if let Some(known) = self.piggyback_relay(slot, key, &address) {
                        shown.views.extend(known);
                        continue;
                    }
                    let watched = self.store.share_watched(address.as_str());
                    let Some(watched) = watched else {
                        shown.over_quota.push(address);
                        continue;
                    };
                    let watcher = Watcher {
                        address: watcher.as_str(),
                        network,
                    };
                    let presentity = &watched.presentity;
                    let affected = self.store.change_dialog(slot, key, |dialog| {
                        let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
                        let member = batch.members.get_mut(&address)?;
                        member.notified_at = now;
                        Some(member.affected(presentity, watcher, None))
                    });
                    match affected.flatten() {
                        Some(resolved) => {
                            let view = View::categories(&watched.presentity, &resolved, now);
                            shown.views.push(Arc::new(view));
                        }
                        None => shown.over_quota.push(address),
                    }
                }
            }
        }
        shown.cseq = self.store.change_dialog(slot, key, |dialog| {
            dialog.take_cseq(now);
            dialog.local_cseq
        })?;
        Some(shown)
    }

    /// What is known of a member of another shard: nothing at first, it is told later. `None` where the
    /// address is no such member.
    fn piggyback_relay(
        &mut self,
        slot: Slot,
        key: DialogKey,
        address: &Aor,
    ) -> Option<Option<Arc<View>>> {
        let now = self.now;
        self.store.change_dialog(slot, key, |dialog| {
            let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
            let member = batch.members.get_mut(address)?;
            let seen = member.relayed(address, None, now);
            member.relay.is_some().then(|| seen.map(Arc::new))
        })?
    }

    /// A presentity's document as this watcher sees it, and why.
    pub(super) fn document(&self, address: &str, watcher: Watcher<'_>) -> (View, Sight) {
        let Some(watched) = self.store.watched(address) else {
            let nothing =
                View::of_nothing(Aor::from_canonical(address), Package::Presence, self.now);
            return (nothing, Sight::default());
        };
        let sight = watched.presentity.sight(watcher, &Category::LegacyInterop);
        (View::document(&watched.presentity, &sight, self.now), sight)
    }

    /// What a poll is shown: answered without a log entry (house §5).
    //= MS-PRES 3.4.5.1.2
    //# a poll sees what a subscription would see, and leaves nothing behind
    #[must_use]
    pub fn look(
        &self,
        home: &str,
        watcher: Watcher<'_>,
        _format: Format,
        wish: &Wish<'_>,
    ) -> Shown {
        let now = self.now;
        let mut shown = Shown {
            cseq: 1,
            ..Shown::default()
        };
        let nobody = crate::presence::presentity::Presentity::new(Aor::from_canonical(home));
        let presentity = self
            .store
            .watched(home)
            .map_or(&nobody, |watched| &watched.presentity);
        match wish {
            Wish::Document | Wish::Same | Wish::List { .. } => {
                shown.views.push(Arc::new(self.document(home, watcher).0));
            }
            Wish::Own(scope) => {
                shown
                    .views
                    .push(Arc::new(View::own(presentity, *scope, None, now)));
            }
            Wish::Contacts(ucs) => {
                let view = View::contacts(presentity, *ucs, now);
                shown.views.push(Arc::new(view));
            }
            Wish::Categories(actions) => {
                for action in actions.iter().filter(|action| action.subscribe) {
                    for resource in &action.resources {
                        shown
                            .views
                            .push(self.poll(resource.address, watcher, &action.categories));
                    }
                }
            }
        }
        shown
    }

    fn poll(&self, address: &str, watcher: Watcher<'_>, categories: &[Category]) -> Arc<View> {
        let nobody = crate::presence::presentity::Presentity::new(Aor::from_canonical(address));
        let presentity = self
            .store
            .watched(address)
            .map_or(&nobody, |watched| &watched.presentity);
        let categories = categories
            .iter()
            .map(|category| (category.clone(), None))
            .collect();
        let mut member = BatchMember {
            categories,
            notified_at: self.now,
            relay: None,
        };
        member.categories.sort_unstable();
        let resolved = member.affected(presentity, watcher, None);
        Arc::new(View::categories(presentity, &resolved, self.now))
    }
}

/// The entry of a watcher in a subscriber list.
fn introduced(watcher: &Aor, extras: &Extras<'_>, context: &[u8]) -> Subscriber {
    Subscriber {
        address: watcher.clone(),
        display_name: extras.display_name.into(),
        network: extras.network,
        acknowledged: false,
        lasting: false,
        context: context.into(),
    }
}

/// What a rejected change is told.
fn told(rejected: Rejected) -> Result<Outcome, Refusal> {
    match rejected {
        Rejected::Conflicts(conflicts) => Ok(Outcome::Conflict(conflicts.into())),
        Rejected::Refused(refusal) => Err(refusal),
    }
}

//= MS-PRES 3.4.5.1.3
//# a batch over the limits is rejected
fn check_size(extras: &Extras<'_>) -> Result<(), Refusal> {
    use crate::presence::limits::{BATCH_CATEGORIES_MAX, BATCH_RESOURCES_MAX};
    if let Wish::List { entries, .. } = &extras.wish {
        return Machine::check_list(entries);
    }
    let Wish::Categories(actions) = &extras.wish else {
        return Ok(());
    };
    let here: usize = actions.iter().map(|action| action.resources.len()).sum();
    let watched = |resource: &&Elsewhere<'_>| resource.deed != Away::Hinted;
    let resources = here + extras.abroad.resources.iter().filter(watched).count();
    let wide = actions
        .iter()
        .any(|action| action.categories.len() > BATCH_CATEGORIES_MAX);
    if resources > BATCH_RESOURCES_MAX || wide {
        return Err(Refusal::TooManySubscriptions);
    }
    Ok(())
}

/// Whether a batch asks for nobody: all are served elsewhere, or it only stops watching.
fn watches_nobody(extras: &Extras<'_>) -> bool {
    let Wish::Categories(actions) = &extras.wish else {
        return false;
    };
    let relayed = |resource: &Elsewhere<'_>| matches!(resource.deed, Away::Watch(_));
    !extras.abroad.resources.iter().any(relayed)
        && !actions
            .iter()
            .any(|action| action.subscribe && !action.resources.is_empty())
}

/// The resources that a request wants to see: those it names, or all there are.
fn asked_of<'m>(extras: &Extras<'_>, members: impl Iterator<Item = &'m Aor>) -> Vec<Aor> {
    match &extras.wish {
        Wish::Categories(actions) => {
            let mut asked: Vec<Aor> = Vec::new();
            for action in actions.iter().filter(|action| action.subscribe) {
                for resource in &action.resources {
                    if !asked.iter().any(|known| known.as_str() == resource.address) {
                        asked.push(Aor::from_canonical(resource.address));
                    }
                }
            }
            for resource in &extras.abroad.resources {
                if matches!(resource.deed, Away::Watch(_)) {
                    asked.push(Aor::from_canonical(resource.address));
                }
            }
            asked
        }
        _ => members.cloned().collect(),
    }
}
