//! Rules for what enhanced clients are shown, whatever the machine thinks:
//!
//! - who was told last what there is: each client's memory of its dialog is the current view;
//! - nobody is shown an instance of a container that it does not belong to, and each category is that of the
//!   container which the six rules name, over memberships counted here from the accepted requests;
//! - versions never go back, sequence numbers grow, a repeat gets the first answer;
//! - nothing outlives its end.

use std::collections::{BTreeMap, BTreeSet};

use shard::category::{Category, Computed};
use shard::document::{legacy, pidf};
use shard::machine::Machine;
use shard::machine::effect::{Effect, SubscriptionState};
use shard::machine::outcome::{Outcome, RequestKey};
use shard::presence::container::{Member, MemberChange, Network, Watcher};
use shard::presence::enhanced::Enhanced;
use shard::presence::instance::{Body, Instance, Lifetime};
use shard::presence::subscriber::Subscriber;
use shard::slot::Aor;
use shard::subscription::dialog::{Dialog, DialogKey, Format, Package};
use shard::subscription::view::{Own, Seen, View};
use shard::subscription::watch::{Action, Resource, Scope, Watch, Wish};
use shard::time::Timestamp;

use super::asked::{Asked, Extra, Wanted, What};
use crate::author::ADDRESSES;
use crate::naive::{self, Entry};
use crate::rules::Answers;

type Wrong = Result<(), String>;

#[derive(Default)]
pub struct Rules {
    /// The greatest clock of any entry.
    now_ms: u64,
    answers: Answers,
    /// What each client remembers.
    dialogs: BTreeMap<DialogKey, Heard>,
    /// The membership lists, counted from the requests that were accepted.
    lists: BTreeMap<String, Vec<Entry>>,
    /// How often each container was changed.
    versions: BTreeMap<(String, u16), u32>,
    /// Changes of members and of scopes that were made: a repeat makes none.
    made: BTreeSet<RequestKey>,
    /// Versions of the entry before.
    standing: BTreeMap<&'static str, Standing>,
}

/// What the client of a dialog remembers.
struct Heard {
    watcher: &'static str,
    network: Network,
    format: Format,
    cseq: u32,
    ended: bool,
    document: Option<Vec<u8>>,
    categories: BTreeMap<(Aor, Category), Vec<String>>,
    own: OwnHeard,
    contacts: Option<u32>,
}

/// What an own endpoint remembers of its user's data.
#[derive(Default)]
struct OwnHeard {
    categories: BTreeMap<Category, Vec<String>>,
    containers: BTreeMap<u16, (u32, Vec<Member>)>,
    subscribers: String,
    delegates: String,
}

/// Versions of one user's data.
#[derive(Default)]
struct Standing {
    delegates: u32,
    contacts: u32,
    instances: BTreeMap<(Category, u16, u32), u32>,
}

fn network_name(network: Network) -> &'static str {
    match network {
        Network::SameEnterprise => "sameEnterprise",
        Network::Federated => "federated",
        Network::PublicCloud => "publicCloud",
    }
}

fn line(container: u16, member: &Member) -> Entry {
    let (kind, value) = member.parts();
    Entry {
        container,
        kind: kind.to_owned(),
        value: value.unwrap_or_default().to_owned(),
    }
}

/// A subscriber list as far as it is told: whether an entry lasts is our own knowledge.
fn told_of<'s>(list: impl Iterator<Item = &'s Subscriber>) -> String {
    let told = list.map(|subscriber| Subscriber {
        lasting: false,
        ..subscriber.clone()
    });
    format!("{:?}", told.collect::<Vec<_>>())
}

/// An instance as a client tells it from another.
fn shown(instance: &Instance) -> String {
    let mut body = Vec::new();
    instance.body.write(&mut body);
    format!(
        "{}/{} v{} of {:?} {:?}: {}",
        instance.container,
        instance.number,
        instance.version,
        instance.published_at,
        instance.lifetime,
        String::from_utf8_lossy(&body)
    )
}

fn document(view: &View, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::MsPidf => legacy::compose_ms_pidf(view, None, &mut out),
        Format::Msrtc => legacy::compose_msrtc(view, &mut out),
        _ => pidf::compose(view, &mut out),
    }
    // The simulation's publications are not in stored form: what they hold is compared as it is.
    if let Seen::Publications(contents) = &view.seen {
        for content in contents {
            out.extend_from_slice(&content.stored);
        }
    }
    out
}

impl Heard {
    fn asks(&self) -> naive::Watcher<'static> {
        naive::Watcher {
            address: self.watcher,
            network: network_name(self.network),
        }
    }

    fn watching(&self) -> Watcher<'static> {
        Watcher {
            address: self.watcher,
            network: self.network,
        }
    }

    /// Takes in what a notification or an answer shows.
    fn hear(&mut self, view: &View, lists: &BTreeMap<String, Vec<Entry>>) -> Wrong {
        match &view.seen {
            Seen::Publications(_) | Seen::Permitted { .. } | Seen::Legacy(_) => {
                self.document = Some(document(view, self.format));
            }
            Seen::Categories(categories) => {
                let list = lists.get(view.presentity.as_str());
                let list = list.map_or(&[][..], Vec::as_slice);
                for (category, instances) in categories {
                    for instance in instances {
                        let belongs = list.iter().any(|entry| {
                            entry.container == instance.container
                                && naive::is_member(entry, self.asks())
                        });
                        if instance.container != 0 && !belongs {
                            return Err(format!(
                                "{} is shown {category} of {} in container {}, of which it is no member",
                                self.watcher, view.presentity, instance.container
                            ));
                        }
                    }
                    let place = (view.presentity.clone(), category.clone());
                    let instances = instances.iter().map(|instance| shown(instance)).collect();
                    self.categories.insert(place, instances);
                }
            }
            Seen::Own(own) => self.own.hear(own),
            Seen::Contacts { list, .. } => self.contacts = Some(list.delta_num),
            Seen::ContactStep { delta, .. } => {
                if self.contacts != Some(delta.from) {
                    return Err(format!(
                        "a step from {} to {} for who knows {:?}",
                        delta.from, delta.to, self.contacts
                    ));
                }
                self.contacts = Some(delta.to);
            }
            Seen::Nothing
            | Seen::Unknown
            | Seen::Rendered(_)
            | Seen::List { .. }
            | Seen::Waiting(_)
            | Seen::Registrations { .. }
            | Seen::Watchers { .. } => {}
        }
        Ok(())
    }

    fn count(&mut self, cseq: u32) -> Wrong {
        if self.ended || cseq <= self.cseq {
            return Err(format!("CSeq {cseq} after {} ({})", self.cseq, self.ended));
        }
        self.cseq = cseq;
        Ok(())
    }
}

impl OwnHeard {
    /// A client forgets what it knows of a category that it is told of, and believes what it is told.
    fn hear(&mut self, own: &Own) {
        if let Some(instances) = &own.categories {
            for (category, _) in &own.cleared {
                self.categories.remove(category);
            }
            for instance in instances {
                self.categories.remove(&instance.category);
            }
            for instance in instances {
                let all = self.categories.entry(instance.category.clone());
                all.or_default().push(shown(instance));
            }
        }
        for (id, version, members) in own.containers.iter().flatten() {
            self.containers.insert(*id, (*version, members.clone()));
        }
        if let Some(subscribers) = &own.subscribers {
            self.subscribers = told_of(subscribers.iter());
        }
        if let Some(delegates) = &own.delegates {
            self.delegates = format!("{delegates:?}");
        }
    }
}

impl Rules {
    /// An entry carries this time.
    pub fn time(&mut self, clock_ms: u64) {
        self.now_ms = self.now_ms.max(clock_ms);
    }

    /// Checks one entry: what was asked and what was said.
    pub fn check(&mut self, asked: &[Asked], effects: &[Effect]) -> Wrong {
        let mut answered = 0;
        for effect in effects {
            match effect {
                Effect::Reply {
                    ticket,
                    outcome,
                    shown,
                } => {
                    let request = asked.get(answered).ok_or("more replies than requests")?;
                    answered += 1;
                    if request.ticket != *ticket {
                        return Err(format!("{ticket:?} in the place of {:?}", request.ticket));
                    }
                    self.answers.check(request.key, outcome, self.now_ms)?;
                    self.answer(request, outcome)?;
                    if let Outcome::Piggybacked { dialog, .. } = outcome
                        && let Some(shown) = shown
                    {
                        let heard = self.dialogs.get_mut(dialog);
                        let heard = heard.ok_or("an answer in a dialog that nobody opened")?;
                        heard.count(shown.cseq)?;
                        for view in &shown.views {
                            heard.hear(view, &self.lists)?;
                        }
                    }
                }
                Effect::Notify { view, notices } => {
                    for notice in notices {
                        let heard = self.dialogs.get_mut(&notice.dialog);
                        let heard = heard.ok_or("a notification that nobody asked for")?;
                        heard.count(notice.cseq)?;
                        heard.hear(view, &self.lists)?;
                        heard.ended = matches!(notice.state, SubscriptionState::Terminated(_));
                    }
                }
                Effect::Send { .. } => {}
            }
        }
        if answered != asked.len() {
            return Err(format!("{} requests, {answered} replies", asked.len()));
        }
        Ok(())
    }

    /// What an answer means to who keeps count.
    fn answer(&mut self, request: &Asked, outcome: &Outcome) -> Wrong {
        match (&request.what, outcome) {
            (
                What::Subscribe {
                    watcher,
                    format,
                    dialog,
                    extra,
                    ..
                },
                Outcome::Subscribed { .. } | Outcome::Piggybacked { .. },
            ) => {
                let key = match outcome {
                    Outcome::Piggybacked { dialog, .. } => dialog,
                    _ => dialog,
                };
                let network = extra
                    .as_ref()
                    .map_or(Network::SameEnterprise, |e| e.network);
                self.dialogs.entry(*key).or_insert(Heard {
                    watcher,
                    network,
                    format: *format,
                    cseq: 0,
                    ended: false,
                    document: None,
                    categories: BTreeMap::new(),
                    own: OwnHeard::default(),
                    contacts: None,
                });
            }
            (
                What::Resubscribe {
                    dialog,
                    extra:
                        Some(Extra {
                            wanted: Wanted::Own(_),
                            ..
                        }),
                    ..
                },
                Outcome::Subscribed { .. } | Outcome::Piggybacked { .. },
            ) if self.made.insert(request.key) => {
                // It is shown everything of its scope, and forgets what it is not shown.
                if let Some(heard) = self.dialogs.get_mut(dialog) {
                    heard.own = OwnHeard::default();
                }
            }
            (
                What::SetMembers {
                    presentity,
                    changes,
                    ..
                },
                Outcome::Done,
            ) if self.made.insert(request.key) => {
                let list = self.lists.entry((*presentity).to_owned()).or_default();
                for change in changes {
                    let version = self.versions.entry(((*presentity).to_owned(), change.id));
                    let version = version.or_default();
                    if *version != change.version {
                        return Err(format!(
                            "version {} was taken for {version}",
                            change.version
                        ));
                    }
                    *version += 1;
                    for member in &change.members {
                        let (MemberChange::Add(of) | MemberChange::Remove(of)) = member;
                        let line = line(change.id, of);
                        list.retain(|known| *known != line);
                        if matches!(member, MemberChange::Add(_)) {
                            list.push(line);
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Everybody knows what there is, and what there is keeps the rules.
    pub fn check_kept(&mut self, asked: &[Asked], machine: &Machine) -> Wrong {
        let now = Timestamp(self.now_ms);
        if machine
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            return Err(format!("{:?} is due at {now:?}", machine.next_deadline()));
        }
        for address in ADDRESSES {
            let Some(report) = machine.report(address) else {
                continue;
            };
            let enhanced = report.enhanced.as_deref();
            if let Some(enhanced) = enhanced {
                let registered: Vec<_> = report
                    .endpoints
                    .iter()
                    .filter_map(|e| e.endpoint_id)
                    .collect();
                let over = |instance: &Instance| match instance.lifetime {
                    Lifetime::Until(end) => end <= now,
                    Lifetime::Endpoint(of) => !registered.contains(&of),
                    Lifetime::Static | Lifetime::User => false,
                };
                if let Some(instance) = enhanced.instances.iter().find(|instance| over(instance)) {
                    return Err(format!(
                        "{} of {address} has outlived its end",
                        shown(instance)
                    ));
                }
                self.memberships(address, enhanced)?;
                self.versions(address, enhanced, asked)?;
            }
            for (key, dialog) in &report.watchers {
                let heard = self.dialogs.get(key).ok_or("a dialog that nobody opened")?;
                if heard.ended || heard.cseq != dialog.local_cseq {
                    return Err(format!(
                        "{key} is at {}, its client at {}",
                        dialog.local_cseq, heard.cseq
                    ));
                }
                self.knows(heard, dialog, machine)
                    .map_err(|wrong| format!("{key} of {}: {wrong}", heard.watcher))?;
            }
        }
        Ok(())
    }

    /// The machine's memberships are those that were accepted.
    fn memberships(&self, address: &str, enhanced: &Enhanced) -> Wrong {
        let mut held: Vec<Entry> = Vec::new();
        for container in enhanced.containers.iter() {
            held.extend(
                container
                    .members
                    .iter()
                    .map(|member| line(container.id, member)),
            );
            let counted = self.versions.get(&(address.to_owned(), container.id));
            if counted != Some(&container.version) {
                return Err(format!(
                    "container {container:?} of {address}, counted {counted:?}"
                ));
            }
        }
        let mut counted = self.lists.get(address).cloned().unwrap_or_default();
        held.sort();
        counted.sort();
        if held != counted {
            return Err(format!(
                "members of {address}: {held:?}\ncounted: {counted:?}"
            ));
        }
        Ok(())
    }

    /// No version is lower than before.
    fn versions(&mut self, address: &'static str, enhanced: &Enhanced, asked: &[Asked]) -> Wrong {
        let removed = |place: &(Category, u16, u32)| {
            let items = asked.iter().filter_map(|asked| match &asked.what {
                What::PublishInstances {
                    presentity, items, ..
                } if *presentity == address => Some(items),
                _ => None,
            });
            items.flatten().any(|item| {
                item.set.is_none()
                    && (&item.category, item.container, item.number) == (&place.0, place.1, place.2)
            })
        };
        let before = self.standing.entry(address).or_default();
        // What lives for ever and was written by a client is never made anew without being asked for.
        let lasting = enhanced.instances.iter().filter(|instance| {
            instance.lifetime == Lifetime::Static && matches!(instance.body, Body::Published { .. })
        });
        let lasting = lasting.map(|instance| {
            let place = (
                instance.category.clone(),
                instance.container,
                instance.number,
            );
            (place, instance.version)
        });
        let standing = Standing {
            delegates: enhanced.delegates.version,
            contacts: enhanced.contacts.share().delta_num,
            instances: lasting.collect(),
        };
        for (place, version) in &standing.instances {
            let older = before
                .instances
                .get(place)
                .is_some_and(|known| version < known);
            if older && !removed(place) {
                return Err(format!("{place:?} of {address} went back to {version}"));
            }
        }
        if standing.delegates < before.delegates || standing.contacts < before.contacts {
            return Err(format!("delegates or contacts of {address} went back"));
        }
        *before = standing;
        Ok(())
    }

    /// What the client of a dialog remembers is what it would be shown now.
    fn knows(&self, heard: &Heard, dialog: &Dialog, machine: &Machine) -> Wrong {
        let home = dialog.presentity.as_str();
        let differ = |what: &str, heard: &dyn std::fmt::Debug, there: &dyn std::fmt::Debug| {
            let (heard, there) = (format!("{heard:#?}"), format!("{there:#?}"));
            let only = |these: &str, others: &str| {
                let those: BTreeSet<&str> = others.lines().collect();
                let only = these.lines().filter(|line| !those.contains(line));
                only.collect::<Vec<_>>().join("\n")
            };
            Err(format!(
                "{what} of {home}: was told\n{}\nbut there is\n{}",
                only(&heard, &there),
                only(&there, &heard)
            ))
        };
        match dialog.watch.as_deref() {
            None => {
                let look = machine.look(home, heard.watching(), heard.format, &Wish::Document);
                let view = &look.views[0];
                let there = document(view, heard.format);
                if heard.document.as_ref() != Some(&there) {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return differ(
                        "the document",
                        &heard.document.as_deref().map(text),
                        &text(&there),
                    );
                }
                self.document_is_of_the_container(heard, home, view, machine)
            }
            Some(Watch::List(_)) => Ok(()),
            Some(Watch::Batch(batch)) => {
                for (address, member) in &batch.members {
                    for (category, _) in &member.categories {
                        let there = self.category(heard, address, category, machine);
                        let told = heard.categories.get(&(address.clone(), category.clone()));
                        if told != Some(&there) {
                            return differ(
                                &format!("{category} of {address} for {:?}", heard.network),
                                &told,
                                &there,
                            );
                        }
                    }
                }
                Ok(())
            }
            Some(Watch::Own { scope, .. }) => {
                let report = machine.report(home).unwrap_or_default();
                let enhanced = report.enhanced.unwrap_or_default();
                let mut there: BTreeMap<Category, Vec<String>> = BTreeMap::new();
                for instance in enhanced.instances.iter() {
                    there
                        .entry(instance.category.clone())
                        .or_default()
                        .push(shown(instance));
                }
                if scope.holds(Scope::CATEGORIES) && heard.own.categories != there {
                    return differ("own categories", &heard.own.categories, &there);
                }
                for container in enhanced.containers.iter() {
                    let told = heard.own.containers.get(&container.id);
                    let there = (container.version, container.members.clone());
                    if scope.holds(Scope::CONTAINERS) && told != Some(&there) {
                        return differ("own container", &told, container);
                    }
                }
                let there = told_of(enhanced.subscribers.iter());
                if scope.holds(Scope::SUBSCRIBERS) && heard.own.subscribers != there {
                    return differ("own subscribers", &heard.own.subscribers, &there);
                }
                let there = format!("{:?}", enhanced.delegates);
                if scope.holds(Scope::DELEGATES) && heard.own.delegates != there {
                    return differ("own delegates", &heard.own.delegates, &there);
                }
                Ok(())
            }
            Some(Watch::Contacts { .. }) => {
                let report = machine.report(home).unwrap_or_default();
                let there = report
                    .enhanced
                    .unwrap_or_default()
                    .contacts
                    .share()
                    .delta_num;
                if heard.contacts != Some(there) {
                    return differ("contacts", &heard.contacts, &there);
                }
                Ok(())
            }
        }
    }

    /// The container that the six rules name.
    fn resolve(
        &self,
        heard: &Heard,
        address: &str,
        category: &Category,
        enhanced: &Enhanced,
    ) -> Option<u16> {
        let of = enhanced
            .instances
            .iter()
            .filter(|instance| instance.category == *category);
        let publishing: Vec<u16> = of.map(|instance| instance.container).collect();
        let list = self.lists.get(address).map_or(&[][..], Vec::as_slice);
        naive::resolve(list, heard.asks(), &publishing)
    }

    /// A category as a watcher sees it.
    fn category(
        &self,
        heard: &Heard,
        address: &Aor,
        category: &Category,
        machine: &Machine,
    ) -> Vec<String> {
        let report = machine.report(address.as_str()).unwrap_or_default();
        let enhanced = report.enhanced.filter(|enhanced| enhanced.is_claimed());
        let Some(enhanced) = enhanced else {
            // A telephone's state, which the machine composes.
            let resource = Resource {
                address: address.as_str(),
                context: None,
            };
            let action = Action {
                subscribe: true,
                resources: vec![resource],
                categories: vec![category.clone()],
            };
            let wish = Wish::Categories(vec![action]);
            let look = machine.look(heard.watcher, heard.watching(), Format::Categories, &wish);
            let Seen::Categories(categories) = &look.views[0].seen else {
                return Vec::new();
            };
            return categories
                .iter()
                .flat_map(|(_, all)| all)
                .map(|one| shown(one))
                .collect();
        };
        let container = self.resolve(heard, address.as_str(), category, &enhanced);
        let seen = enhanced.instances.iter().filter(|instance| {
            instance.category == *category && Some(instance.container) == container
        });
        seen.map(|instance| shown(instance)).collect()
    }

    /// A document shows legacyInterop of the container that the six rules name.
    fn document_is_of_the_container(
        &self,
        heard: &Heard,
        home: &str,
        view: &View,
        machine: &Machine,
    ) -> Wrong {
        let report = machine.report(home).unwrap_or_default();
        let Some(enhanced) = report.enhanced.filter(|enhanced| enhanced.is_claimed()) else {
            return Ok(());
        };
        let container = self.resolve(heard, home, &Category::LegacyInterop, &enhanced);
        let of = enhanced.instances.iter().filter(|instance| {
            instance.category == Category::LegacyInterop && Some(instance.container) == container
        });
        let mut computed = of.filter_map(|instance| match &instance.body {
            Body::Computed(Computed::LegacyInterop(interop)) => Some(interop.clone()),
            _ => None,
        });
        let expected = computed.next_back();
        let seen = match &view.seen {
            Seen::Legacy(legacy) => legacy.interop.clone(),
            _ => None,
        };
        if seen != expected || view.package != Package::Presence {
            return Err(format!(
                "{seen:?} of {home} is shown where container {container:?} has {expected:?}"
            ));
        }
        Ok(())
    }
}
