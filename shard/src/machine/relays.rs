//! What crosses shards, on the machine: the ends of endpoints, and relays (house D7).
//!
//! Both ends of a relay are here, because every shard is both. At the source a relay is a dialog without
//! messages: it lives with its presentity, ends with its time, and what it is told becomes a parcel. At the
//! sink it is a standing of a member of a batch. All of it is state of slots, and travels with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _};

use crate::category::Category;
use crate::machine::apply::Machine;
use crate::machine::command::{Command, Elsewhere, Extras, RelayWatch, Relayed, Sink};
use crate::machine::crossing;
use crate::machine::outcome::Outcome;
use crate::machine::parcel::{Destination, Parcel, about};
use crate::presence::limits::WATCHERS_MAX;
use crate::presence::subscriber::Subscriber;
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{
    Away, Delivery, Dialog, DialogKey, EndReason, EndpointId, Format, LocalTag, Package,
};
use crate::subscription::relay::{RENEWED_S, SLACK_S};
use crate::subscription::view::{Seen, View};
use crate::subscription::watch::{Batch, BatchMember, Watch};
use crate::time::Timestamp;

/// Where a relay leads to: the route of its dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) sink: Sink,
    pub(super) generation: u64,
}

impl Lead {
    fn encode(self) -> Arc<[u8]> {
        let mut out = Vec::with_capacity(26);
        out.put_u16_le(self.sink.slot.number());
        out.put_u128_le(self.sink.dialog.0);
        out.put_u64_le(self.generation);
        out.into()
    }

    /// Where the dialog of a relay leads to; `None` for what is none.
    pub(super) fn of(dialog: &Dialog) -> Option<Lead> {
        let mut route = &*dialog.route;
        if dialog.delivery != Delivery::Relay {
            return None;
        }
        Some(Lead {
            sink: Sink {
                slot: Slot::new(route.try_get_u16_le().ok()?)?,
                dialog: DialogKey(route.try_get_u128_le().ok()?),
            },
            generation: route.try_get_u64_le().ok()?,
        })
    }

    /// What a view, or none, becomes on its way to the sink.
    pub(super) fn parcel(self, presentity: &Aor, revision: u32, view: Option<&View>) -> Parcel {
        let encoded = view.map(|view| {
            let mut out = Vec::new();
            crossing::encode_view(view, &mut out);
            out
        });
        let command = Command::Relayed(Relayed {
            sink: self.sink,
            presentity: presentity.as_str(),
            generation: self.generation,
            revision,
            view: encoded.as_deref(),
        });
        // Each says everything, so an older one that still waits need not be said.
        let about = about("relayed", self.sink.dialog, presentity.as_str());
        Parcel::new(Destination::Slot(self.sink.slot), about, &command)
    }
}

/// The dialog that a relay is at its source.
fn key_of(sink: Sink, presentity: &str) -> DialogKey {
    DialogKey(about("relay", sink.dialog, presentity))
}

impl Machine {
    /// Endpoints of a user are not registered any more: their dialogs end without a word, for nobody is
    /// there, and those that live in other shards do so there.
    //= MS-SIPREGE 3.2.2.5
    //# what belongs to an endpoint ends with it
    pub(super) fn endpoints_ended(&mut self, address: &str, endpoints: &[EndpointId]) {
        if endpoints.is_empty() {
            return;
        }
        self.end_dialogs_of(address, endpoints);
        let watcher = Aor::from_canonical(address);
        for endpoint in endpoints {
            for (slot, key) in self.store.dialogs_of(&watcher, *endpoint) {
                self.end_dialog(slot, key, EndReason::Deregistered);
            }
            let command = Command::EndpointGone {
                watcher: address,
                endpoint: *endpoint,
                at: self.now,
            };
            let key = DialogKey(u128::from_le_bytes(endpoint.0));
            let parcel = Parcel::new(Destination::Every, about("gone", key, address), &command);
            self.store.post(watcher.slot(), parcel);
        }
    }

    /// The same, told by the user's own shard. Who has come back since lives on.
    pub(super) fn endpoint_gone(&mut self, watcher: &str, endpoint: EndpointId, at: Timestamp) {
        let watcher = Aor::from_canonical(watcher);
        for (slot, key) in self.store.dialogs_of(&watcher, endpoint) {
            let older = |dialog: &Dialog| dialog.since() < at;
            if self.store.dialog(slot, key).is_some_and(older) {
                self.end_dialog(slot, key, EndReason::Deregistered);
            }
        }
    }

    /// A dialog of another shard begins to watch somebody of this one, or goes on.
    pub(super) fn relay_watch(&mut self, watch: &RelayWatch<'_>) -> Outcome {
        let package = match watch.format {
            Format::Categories => Package::Categories,
            Format::Pidf
            | Format::MsPidf
            | Format::Msrtc
            | Format::Pres
            | Format::Blustar
            | Format::Rlmi
            | Format::RlmiDeflated => Package::Presence,
            // One's own data crosses nowhere.
            Format::RoamingSelf
            | Format::RoamingContacts
            | Format::Registration
            | Format::DialogInfo
            | Format::DialogLamp
            | Format::MessageSummary
            | Format::RegInfo
            | Format::Watcherinfo => {
                return Outcome::Ended;
            }
        };
        let address = Aor::from_canonical(watch.presentity);
        let (now, slot, key) = (
            self.now,
            address.slot(),
            key_of(watch.sink, watch.presentity),
        );
        let lead = Lead {
            sink: watch.sink,
            generation: watch.generation,
        };
        let known = self.store.dialog(slot, key).map(Lead::of);
        if known
            .flatten()
            .is_some_and(|known| known.generation > watch.generation)
        {
            return Outcome::Ended;
        }
        let mut categories: Vec<(Category, Option<u16>)> = watch
            .categories
            .iter()
            .map(|category| (category.clone(), None))
            .collect();
        categories.sort_unstable();
        categories.dedup();
        let watched = (package == Package::Categories).then(|| {
            let member = BatchMember {
                categories,
                notified_at: now,
                relay: None,
            };
            Box::new(Watch::Batch(Batch {
                members: BTreeMap::from([(address.clone(), member)]),
                ..Batch::default()
            }))
        });
        let new = known.is_none();
        if new {
            let max = WATCHERS_MAX.min(watch.watchers_max as usize);
            let here = self.store.watched(watch.presentity);
            let watchers = here.map_or(0, |here| match package {
                Package::Categories => here.batches().len(),
                _ => here.watchers().len(),
            });
            //= MS-PRES 3.4.5.1.3.1
            //# a resource with too many watchers is rejected, the others are served
            if watchers >= max {
                self.store.post(slot, lead.parcel(&address, 1, None));
                return Outcome::Ended;
            }
            let mut dialog = Dialog {
                presentity: address.clone(),
                watcher: Aor::from_canonical(watch.watcher),
                package,
                format: watch.format,
                local_tag: LocalTag::new(slot, key.0 as u64),
                local_cseq: 0,
                remote_cseq: 0,
                expires_at: now.plus_s(watch.expires_s),
                notified_at: now,
                route: lead.encode(),
                target: Arc::from(&[][..]),
                network: watch.network,
                delivery: Delivery::Relay,
                resolved: None,
                admitted: None,
                savers: None,
                watch: watched,
                since: [0; 6],
            };
            dialog.set_since(now);
            // Who is kept out is kept on, and shown nobody: its list goes on, and the rules may change.
            let _ = self.admit(&mut dialog);
            self.store.insert_dialog(key, dialog);
            if package == Package::Categories {
                self.store.join_batch(&address, (slot, key));
                self.watches(slot, key, &address);
            } else {
                self.begins(slot, key);
            }
        } else {
            self.store.change_dialog(slot, key, |dialog| {
                dialog.route = lead.encode();
                dialog.local_cseq = 0;
                dialog.expires_at = now.plus_s(watch.expires_s);
                dialog.network = watch.network;
                dialog.watch = watched;
            });
        }
        if package == Package::Presence {
            self.enlist(slot, key, watch.display_name);
            self.notices.one(&address, key);
            return Outcome::Ended;
        }
        //= MS-PRES 3.4.5.1.3
        //# a context element adds the watcher to the resource's subscriber list
        if let Some(context) = watch.context {
            let subscriber = Subscriber {
                address: Aor::from_canonical(watch.watcher),
                display_name: watch.display_name.into(),
                network: watch.network,
                acknowledged: false,
                lasting: false,
                context: context.into(),
            };
            //= MS-PRES 3.6.5.1
            //# who does not fit into the subscriber list is told 413
            if self.introduce(watch.presentity, subscriber).is_err() && new {
                self.store.remove_dialog(slot, key);
                self.store.post(slot, lead.parcel(&address, 1, None));
                return Outcome::Ended;
            }
        }
        self.notices.member(&address, slot, key);
        Outcome::Ended
    }

    /// A dialog of another shard watches somebody of this one no more.
    pub(super) fn relay_end(&mut self, presentity: &str, sink: Sink, generation: u64) {
        let (slot, key) = (Slot::of(presentity), key_of(sink, presentity));
        let lead = self.store.dialog(slot, key).and_then(Lead::of);
        if lead.is_some_and(|lead| lead.generation <= generation)
            && let Some(dialog) = self.store.remove_dialog(slot, key)
        {
            self.ends(key, &dialog, EndReason::Timeout);
        }
    }

    /// A dialog of this shard is told of somebody in another one. A source that nobody listens to any more
    /// hears that.
    pub(super) fn relayed(&mut self, told: &Relayed<'_>) -> Outcome {
        let address = Aor::from_canonical(told.presentity);
        let Sink { slot, dialog: key } = told.sink;
        let dialog = self.store.dialog(slot, key);
        if dialog.is_some_and(|dialog| dialog.package == Package::List) {
            return self.list_relayed(told, &address);
        }
        let mut refused = false;
        let changed = self.store.change_dialog(slot, key, |dialog| {
            let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
            let relay = batch.members.get_mut(&address)?.relay.as_deref_mut()?;
            let before = relay.view.as_deref().and_then(crossing::decode_view);
            if !relay.take(told) {
                return Some(Vec::new());
            }
            refused = relay.view.is_none();
            let after = relay.view.as_deref().and_then(crossing::decode_view);
            Some(after.map_or_else(Vec::new, |after| differing(before.as_ref(), &after)))
        });
        match changed.flatten() {
            None => self.store.end_relay(&address, told.sink, told.generation),
            Some(_) if refused => {
                self.store.change_dialog(slot, key, |dialog| {
                    let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
                    batch.members.remove(&address)
                });
            }
            Some(changed) if changed.is_empty() => {}
            Some(changed) => self.notices.relayed(&address, slot, key, changed),
        }
        Outcome::Ended
    }

    /// Does what a SUBSCRIBE asks of other shards, and asks again for all that its dialog has there.
    pub(super) fn follow_abroad(&mut self, slot: Slot, key: DialogKey, extras: &Extras<'_>) {
        let Some(dialog) = self.store.dialog(slot, key) else {
            return;
        };
        let watcher = dialog.watcher.clone();
        let mut contexts = BTreeMap::new();
        for resource in &extras.abroad.resources {
            let address = Aor::from_canonical(resource.address);
            match &resource.deed {
                Away::Hinted => self.introduce_abroad(slot, &watcher, resource, extras),
                Away::Watch(categories) => {
                    let joined = self.store.change_dialog(slot, key, |dialog| {
                        let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
                        batch.watch(&address, categories).ok()?;
                        let member = batch.members.get_mut(&address)?;
                        member.relay.get_or_insert_default();
                        Some(())
                    });
                    if let (Some(()), Some(context)) = (joined.flatten(), resource.context) {
                        contexts.insert(address, context);
                    }
                }
                Away::Unwatch(categories) => {
                    let gone = self.store.change_dialog(slot, key, |dialog| {
                        let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
                        let relay = batch.members.get(&address)?.relay.as_deref()?;
                        let generation = relay.generation;
                        batch.unwatch(&address, categories).then_some(generation)
                    });
                    if let Some(generation) = gone.flatten() {
                        let sink = Sink { slot, dialog: key };
                        self.store.end_relay(&address, sink, generation);
                    }
                }
            }
        }
        self.ask_relays(
            slot,
            key,
            &contexts,
            extras.display_name,
            extras.watchers_max,
        );
    }

    /// Somebody of another shard is to know that it is watched.
    //= MS-PRES 3.4.5.1.3
    //# a context element adds the watcher to the resource's subscriber list
    pub(super) fn introduce_abroad(
        &mut self,
        slot: Slot,
        watcher: &Aor,
        resource: &Elsewhere<'_>,
        extras: &Extras<'_>,
    ) {
        let Some(context) = resource.context else {
            return;
        };
        let command = Command::Introduce {
            presentity: resource.address,
            watcher: watcher.as_str(),
            network: extras.network,
            display_name: extras.display_name,
            context,
        };
        let to = Destination::Slot(Slot::of(resource.address));
        self.store.post(slot, Parcel::new(to, 0, &command));
    }

    /// Half of the life of a dialog's watches in other shards is over: they are renewed, and mended if
    /// anything was lost.
    pub(super) fn renew_relays(&mut self, slot: Slot, key: DialogKey) {
        let watchers_max = WATCHERS_MAX as u32;
        self.ask_relays(slot, key, &BTreeMap::new(), "", watchers_max);
        self.ask_for_members(slot, key, "", watchers_max);
    }

    fn ask_relays(
        &mut self,
        slot: Slot,
        key: DialogKey,
        contexts: &BTreeMap<Aor, &[u8]>,
        display_name: &str,
        watchers_max: u32,
    ) {
        let now = self.now;
        let mut asked = Vec::new();
        let dialog = self.store.change_dialog(slot, key, |dialog| {
            let left_s = dialog.expires_at.seconds_after(now);
            let batch = dialog.watch.as_deref_mut().and_then(Watch::batch_mut)?;
            for (address, member) in &mut batch.members {
                if let Some(relay) = &mut member.relay {
                    relay.ask_again(now.0);
                    let categories: Vec<Category> =
                        member.categories.iter().map(|(c, _)| c.clone()).collect();
                    asked.push((address.clone(), relay.generation, categories));
                }
            }
            batch.renew_at = if asked.is_empty() || left_s < RENEWED_S {
                Timestamp(u64::MAX)
            } else {
                now.plus_s(left_s / 2)
            };
            Some((dialog.watcher.clone(), dialog.network, left_s))
        });
        let Some((watcher, network, left_s)) = dialog.flatten() else {
            return;
        };
        for (address, generation, categories) in asked {
            let command = Command::RelayWatch(RelayWatch {
                presentity: address.as_str(),
                sink: Sink { slot, dialog: key },
                generation,
                watcher: watcher.as_str(),
                network,
                display_name,
                context: contexts.get(&address).copied(),
                format: Format::Categories,
                categories,
                expires_s: left_s.saturating_add(SLACK_S),
                watchers_max,
            });
            let about = about("watch", key, address.as_str());
            let to = Destination::Slot(address.slot());
            self.store.post(slot, Parcel::new(to, about, &command));
        }
    }
}

impl BatchMember {
    /// What is known of a member of another shard, of these categories or of all: as much as it is still
    /// watched for. `None` where nothing is known, or to be told.
    pub(super) fn relayed(
        &mut self,
        address: &Aor,
        of: Option<&[Category]>,
        now: Timestamp,
    ) -> Option<View> {
        let relay = self.relay.as_deref()?;
        let mut view = relay.view.as_deref().and_then(crossing::decode_view)?;
        let watched = |category: &Category| {
            let asked = of.is_none_or(|of| of.contains(category));
            asked && self.categories.iter().any(|(known, _)| known == category)
        };
        let Seen::Categories(seen) = &mut view.seen else {
            return None;
        };
        seen.retain(|(category, _)| watched(category));
        if seen.is_empty() {
            return None;
        }
        view.presentity = address.clone();
        self.notified_at = now;
        Some(view)
    }
}

/// What of a member's categories is seen differently from before: all of it, the first time.
fn differing(before: Option<&View>, after: &View) -> Vec<Category> {
    let Seen::Categories(after) = &after.seen else {
        return Vec::new();
    };
    let before = match before.map(|view| &view.seen) {
        Some(Seen::Categories(before)) => &before[..],
        _ => &[],
    };
    let new = after.iter().filter(|seen| !before.contains(seen));
    new.map(|(category, _)| category.clone()).collect()
}
