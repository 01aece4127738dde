//! What one class of watchers may see of one presentity.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::category::legacy_interop::LegacyInterop;
use crate::category::mwi::Waiting;
use crate::category::{Category, Computed};
use crate::presence::aggregate;
use crate::presence::contacts::{Custody, Delta, List};
use crate::presence::container::{Containers, WELL_KNOWN};
use crate::presence::delegate::Delegates;
use crate::presence::endpoint::{Endpoint, Unbinding};
use crate::presence::enhanced::{BLOCKED, Changes, Enhanced, Profile};
use crate::presence::instance::{Body, Instance, Lifetime, Place};
use crate::presence::presentity::Presentity;
use crate::presence::publication::Content;
use crate::presence::rules::{ACTIVITIES, ALL_ATTRIBUTES, Handling, Permissions, Sight};
use crate::presence::subscriber::Subscribers;
use crate::slot::Aor;
use crate::subscription::dialog::{DialogKey, Package};
use crate::subscription::watch::Scope;
use crate::time::Timestamp;

/// What one class of watchers may see of one presentity, at one revision. Cheap to make: it points to
/// what the store holds, and is composed into a document only when somebody needs the text.
#[derive(Clone, Debug)]
pub struct View {
    /// Whose state it is.
    pub presentity: Aor,
    /// Of which package.
    pub package: Package,
    /// Grows with each visible change of the presentity: the log index of the entry that made it, 0
    /// when there is nothing to see. Equal revisions compose to equal documents, but for registrations, which it
    /// does not count.
    pub revision: u64,
    /// Entry time at which it was taken.
    pub taken_at: Timestamp,
    /// What is seen.
    pub seen: Seen,
}

/// What is seen.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The live publications, oldest first: a composed document.
    Publications(SmallVec<[Arc<Content>; 2]>),
    /// The same, but only what the presentity's rules permit.
    Permitted {
        /// The live publications, oldest first.
        contents: SmallVec<[Arc<Content>; 2]>,
        /// What of them is shown.
        permissions: Arc<Permissions>,
    },
    /// Who watches.
    Watchers {
        /// Whether these are all there are.
        full: bool,
        /// Each, in order.
        watchers: Vec<WatcherLine>,
    },
    /// What enhanced presence looks like to watchers of standard formats.
    Legacy(Box<Legacy>),
    /// Categories with the instances that the watcher sees; none where it sees nothing.
    Categories(Vec<(Category, SmallVec<[Arc<Instance>; 2]>)>),
    /// One's own data.
    Own(Box<Own>),
    /// One's own contacts.
    Contacts {
        /// All of them.
        list: Arc<List>,
        /// Whether who sees them knows of a mail server's store.
        ucs: bool,
    },
    /// A change of one's own contacts.
    ContactStep {
        /// What changed.
        delta: Box<Delta>,
        /// Who keeps the list.
        custody: Custody,
        /// Whether who sees it knows of a mail server's store.
        ucs: bool,
    },
    /// Waiting voice mail, as far as somebody told of it.
    Waiting(Option<Waiting>),
    /// Where somebody is registered.
    Registrations {
        /// The bindings that there are.
        bound: Arc<[Endpoint]>,
        /// Those that have just gone, and how.
        unbound: Vec<(Endpoint, Unbinding)>,
    },
    /// Nothing: the end of a dialog.
    Nothing,
    /// Somebody whom the directory does not know.
    Unknown,
    /// A document that was composed elsewhere.
    Rendered(Arc<[u8]>),
    /// Members of a list, each by the URI that the watcher knows it by.
    List {
        /// Whether these are all there are.
        full: bool,
        /// What is seen of each.
        members: Vec<(Box<str>, Arc<View>)>,
    },
}

/// One who watches (RFC 3858).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatcherLine {
    /// Its dialog, which names it in all notifications.
    pub dialog: DialogKey,
    /// Who it is.
    pub address: Aor,
    /// How its subscription stands.
    pub status: WatcherStatus,
    /// What made it so.
    pub event: WatcherEvent,
    /// Seconds left.
    pub expires_s: u32,
}

/// How a watcher's subscription stands (RFC 3857 §4.7.1). The numbers cross between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WatcherStatus {
    /// It waits for the presentity's word.
    Pending = 1,
    /// It is told.
    Active = 2,
    /// It is over.
    Terminated = 3,
}

impl WatcherStatus {
    /// The status with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<WatcherStatus> {
        [
            WatcherStatus::Pending,
            WatcherStatus::Active,
            WatcherStatus::Terminated,
        ]
        .into_iter()
        .find(|status| *status as u8 == number)
    }
}

/// What made a watcher's subscription so (RFC 3857 §4.7.1). The numbers cross between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WatcherEvent {
    /// It subscribed.
    Subscribe = 1,
    /// The presentity's rules let it in.
    Approved = 2,
    /// The server ended it; it may come back.
    Deactivated = 3,
    /// The presentity's rules keep it out.
    Rejected = 4,
    /// It was not refreshed, or it asked for the end.
    Timeout = 5,
    /// There is nothing to watch any more.
    Noresource = 6,
}

impl WatcherEvent {
    /// The event with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<WatcherEvent> {
        [
            WatcherEvent::Subscribe,
            WatcherEvent::Approved,
            WatcherEvent::Deactivated,
            WatcherEvent::Rejected,
            WatcherEvent::Timeout,
            WatcherEvent::Noresource,
        ]
        .into_iter()
        .find(|event| *event as u8 == number)
    }
}

/// Enhanced presence in the terms of standard formats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legacy {
    /// Availability and activity; `None` for who sees nothing.
    pub interop: Option<LegacyInterop>,
    /// Who it is; nothing for who sees nothing.
    pub profile: Profile,
}

/// One's own data, as far as a notification has it.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Instances, by category, container and number.
    pub categories: Option<Vec<Arc<Instance>>>,
    /// Categories of containers that hold nothing any more.
    pub cleared: Vec<Place>,
    /// Memberships, by descending number.
    pub containers: Option<Vec<(u16, u32, Vec<crate::presence::container::Member>)>>,
    /// The subscriber list.
    pub subscribers: Option<Subscribers>,
    /// The delegates.
    pub delegates: Option<Delegates>,
}

impl View {
    fn new(presentity: &Presentity, package: Package, now: Timestamp, seen: Seen) -> View {
        View {
            presentity: presentity.aor.clone(),
            package,
            revision: presentity.revision,
            taken_at: now,
            seen,
        }
    }

    /// The composed document of `presentity` at `now`.
    #[must_use]
    pub fn of(presentity: &Presentity, package: Package, now: Timestamp) -> View {
        let shown = presentity
            .publications
            .iter()
            .filter(|(of, _)| match package {
                Package::Presence => of.bears_on_presence(),
                _ => *of == package,
            });
        let contents = shown.map(|(_, publication)| Arc::clone(&publication.content));
        let seen = match package {
            Package::MessageSummary => Seen::Waiting(waiting(presentity)),
            Package::Reg => Seen::Registrations {
                bound: presentity.endpoints.share(),
                unbound: Vec::new(),
            },
            _ => Seen::Publications(contents.collect()),
        };
        View::new(presentity, package, now, seen)
    }

    /// The same with what of it has just gone.
    #[must_use]
    pub fn with_unbound(mut self, gone: &[(Endpoint, Unbinding)]) -> View {
        if let Seen::Registrations { bound, unbound } = &mut self.seen {
            // What has gone and come in one entry is there.
            let back = |binding: u64| bound.iter().any(|endpoint| endpoint.binding == binding);
            let gone = gone.iter().filter(|(endpoint, _)| !back(endpoint.binding));
            unbound.extend(gone.cloned());
        }
        self
    }

    /// What is to be seen of an address of which nothing is kept.
    #[must_use]
    pub fn of_nothing(presentity: Aor, package: Package, now: Timestamp) -> View {
        let seen = match package {
            Package::MessageSummary => Seen::Waiting(None),
            Package::Reg => Seen::Registrations {
                bound: Arc::new([]),
                unbound: Vec::new(),
            },
            _ => Seen::Publications(SmallVec::new()),
        };
        View {
            presentity,
            package,
            revision: 0,
            taken_at: now,
            seen,
        }
    }

    /// Somebody whom the directory does not know.
    #[must_use]
    pub fn unknown(presentity: Aor, now: Timestamp) -> View {
        View {
            seen: Seen::Unknown,
            ..View::of_nothing(presentity, Package::Presence, now)
        }
    }

    /// Members of the list of `home`.
    #[must_use]
    pub fn list(
        home: Aor,
        revision: u64,
        full: bool,
        members: Vec<(Box<str>, Arc<View>)>,
        now: Timestamp,
    ) -> View {
        View {
            revision,
            seen: Seen::List { full, members },
            ..View::of_nothing(home, Package::List, now)
        }
    }

    /// The end of a dialog about `presentity`.
    #[must_use]
    pub fn of_an_end(presentity: Aor, package: Package, now: Timestamp) -> View {
        View {
            seen: Seen::Nothing,
            ..View::of_nothing(presentity, package, now)
        }
    }

    /// The document that a watcher sees: what containers and rules leave of it.
    #[must_use]
    pub fn document(presentity: &Presentity, sight: &Sight, now: Timestamp) -> View {
        let package = Package::Presence;
        match sight.admitted.handling {
            Handling::Allow => {}
            //= RFC 5025 3.2.1
            //# whom a rule blocks politely sees what an address shows of which nothing is known
            Handling::PoliteBlock | Handling::Block => {
                return View::of_nothing(presentity.aor.clone(), package, now);
            }
            //= RFC 3856 6.7
            //# who waits for the presentity's word is shown nothing
            Handling::Confirm => return View::of_an_end(presentity.aor.clone(), package, now),
        }
        let mut view = match presentity.claimed() {
            Some(_) => View::legacy(presentity, sight.container, now),
            None => View::of(presentity, package, now),
        };
        if let Some(permissions) = &sight.admitted.permissions {
            view.permit(permissions);
        }
        view
    }

    /// Leaves of the view what is permitted.
    //= RFC 5025 3.3
    //# without a permission nothing is shown
    fn permit(&mut self, permissions: &Arc<Permissions>) {
        match &mut self.seen {
            Seen::Publications(contents) => {
                self.seen = Seen::Permitted {
                    contents: std::mem::take(contents),
                    permissions: Arc::clone(permissions),
                };
            }
            Seen::Legacy(legacy) => {
                let does = permissions.persons.any() && permissions.has(ACTIVITIES);
                if !permissions.services.any() {
                    self.seen = Seen::Publications(SmallVec::new());
                    return;
                }
                if let Some(interop) = legacy.interop.as_mut().filter(|_| !does) {
                    interop.hide_activity();
                }
                if !permissions.has(ALL_ATTRIBUTES) {
                    legacy.profile = Profile::default();
                }
            }
            _ => {}
        }
    }

    /// Who watches: all, or those of whom there is something new.
    #[must_use]
    pub fn watchers(
        presentity: Aor,
        revision: u64,
        full: bool,
        watchers: Vec<WatcherLine>,
        now: Timestamp,
    ) -> View {
        View {
            revision,
            seen: Seen::Watchers { full, watchers },
            ..View::of_nothing(presentity, Package::Winfo, now)
        }
    }

    /// What a watcher of a standard format sees in a container.
    //= MS-PRES 3.7.5.1
    //# generated from legacyInterop of the container that the watcher resolves to
    #[must_use]
    pub fn legacy(presentity: &Presentity, container: Option<u16>, now: Timestamp) -> View {
        let seen = presentity
            .claimed()
            .map_or_else(Legacy::default, |enhanced| {
                let instances = enhanced.seen(&Category::LegacyInterop, container);
                let computed = instances
                    .iter()
                    .rev()
                    .find_map(|instance| match &instance.body {
                        Body::Computed(Computed::LegacyInterop(interop)) => Some(interop.clone()),
                        _ => None,
                    });
                let profile = enhanced.profile.clone().filter(|_| computed.is_some());
                Legacy {
                    interop: computed,
                    profile: profile.unwrap_or_default(),
                }
            });
        //= MS-PRES 1.3.1.3.4
        //# who sees nothing cannot tell it from somebody who published nothing
        let seen = match seen.interop {
            Some(_) => Seen::Legacy(Box::new(seen)),
            None => Seen::Publications(SmallVec::new()),
        };
        View::new(presentity, Package::Presence, now, seen)
    }

    /// What a watcher of categories sees, each in the container that it resolves to.
    #[must_use]
    pub fn categories(
        presentity: &Presentity,
        resolved: &[(Category, Option<u16>)],
        now: Timestamp,
    ) -> View {
        let each = resolved.iter().map(|(category, container)| {
            let seen = match presentity.claimed() {
                Some(enhanced) => enhanced
                    .seen(category, *container)
                    .iter()
                    .cloned()
                    .collect(),
                None if *container == Some(BLOCKED) => SmallVec::new(),
                None => standard(presentity, category, now).into_iter().collect(),
            };
            (category.clone(), seen)
        });
        View::new(
            presentity,
            Package::Categories,
            now,
            Seen::Categories(each.collect()),
        )
    }

    /// One's own data: all of `scope`, or what of it changed.
    #[must_use]
    pub fn own(
        presentity: &Presentity,
        scope: Scope,
        changes: Option<&Changes>,
        now: Timestamp,
    ) -> View {
        let empty = Enhanced::default();
        let enhanced = presentity.enhanced.as_deref().unwrap_or(&empty);
        let mut own = Own::default();
        if scope.holds(Scope::CATEGORIES) {
            own_categories(enhanced, changes, &mut own);
        }
        if scope.holds(Scope::CONTAINERS) {
            own.containers = Some(own_containers(enhanced, changes));
        }
        if scope.holds(Scope::SUBSCRIBERS) {
            own.subscribers = Some(enhanced.subscribers.clone());
        }
        if scope.holds(Scope::DELEGATES) {
            own.delegates = Some(enhanced.delegates.clone());
        }
        View::new(
            presentity,
            Package::RoamingSelf,
            now,
            Seen::Own(Box::new(own)),
        )
    }

    /// The same, with what is not there any more: who is shown all in the entry in which something went
    /// may remember it.
    #[must_use]
    pub fn with_cleared(mut self, presentity: &Presentity, changes: &Changes) -> View {
        if let (Seen::Own(own), Some(enhanced)) = (&mut self.seen, &presentity.enhanced)
            && own.categories.is_some()
        {
            own.cleared = cleared(enhanced, changes);
        }
        self
    }

    /// One's own contacts.
    #[must_use]
    pub fn contacts(presentity: &Presentity, ucs: bool, now: Timestamp) -> View {
        let list = presentity
            .enhanced
            .as_deref()
            .map(|enhanced| enhanced.contacts.share());
        let list = list.unwrap_or_else(|| Enhanced::default().contacts.share());
        let seen = Seen::Contacts { list, ucs };
        View::new(presentity, Package::RoamingContacts, now, seen)
    }

    /// A change of one's own contacts.
    #[must_use]
    pub fn contact_step(presentity: &Presentity, delta: &Delta, ucs: bool, now: Timestamp) -> View {
        let seen = Seen::ContactStep {
            delta: Box::new(delta.clone()),
            custody: presentity.custody(),
            ucs,
        };
        View::new(presentity, Package::RoamingContacts, now, seen)
    }
}

/// What is known of somebody's voice mail: what the mail system said.
fn waiting(presentity: &Presentity) -> Option<Waiting> {
    let instances = &presentity.enhanced.as_deref()?.instances;
    let told = |instance: &Arc<Instance>| match &instance.body {
        Body::Computed(Computed::Mwi(waiting)) => Some(*waiting),
        _ => None,
    };
    instances.at(&Category::Mwi, OWN).iter().find_map(told)
}

/// The container of what is one's own.
const OWN: u16 = 1;

/// What enhanced watchers see of somebody who has a plain telephone only.
fn standard(presentity: &Presentity, category: &Category, now: Timestamp) -> Option<Arc<Instance>> {
    if *category != Category::State {
        return None;
    }
    let shown = presentity
        .publications
        .iter()
        .filter(|(package, held)| package.bears_on_presence() && !held.content.is_silent());
    let newest = shown.map(|(_, held)| held.content.published_at).max()?;
    let state = aggregate::from_standard(&presentity.publications, now);
    Some(Arc::new(Instance {
        category: Category::State,
        container: 0,
        number: 1,
        version: 1,
        published_at: newest,
        lifetime: Lifetime::User,
        body: Body::Computed(Computed::State(Box::new(state))),
    }))
}

/// All instances, or all of the categories that changed: a client forgets what it knows of a category that
/// it is told of, and believes what it is told (contradiction C-67).
//= MS-PRES 3.2.5.2
//# the complete set of instances of each category entry that was modified
fn own_categories(enhanced: &Enhanced, changes: Option<&Changes>, own: &mut Own) {
    let Some(changes) = changes else {
        own.categories = Some(enhanced.instances.iter().cloned().collect());
        return;
    };
    let mut categories: Vec<&Category> = changes
        .touched
        .iter()
        .map(|(category, _)| category)
        .collect();
    categories.sort_unstable();
    categories.dedup();
    let instances = categories
        .iter()
        .flat_map(|category| enhanced.instances.of(category));
    own.categories = Some(instances.cloned().collect());
    own.cleared = cleared(enhanced, changes);
}

/// Where the last instance is gone.
//= MS-PRES 1.3.1.5
//# when the last instance of a category in a container is deleted, an empty one is told
fn cleared(enhanced: &Enhanced, changes: &Changes) -> Vec<Place> {
    let cleared = changes
        .touched
        .iter()
        .filter(|(category, container)| enhanced.instances.at(category, *container).is_empty());
    let mut cleared: Vec<Place> = cleared.cloned().collect();
    cleared.sort_unstable();
    cleared.dedup();
    cleared
}

/// The memberships of all containers there are, or of those that changed.
fn own_containers(
    enhanced: &Enhanced,
    changes: Option<&Changes>,
) -> Vec<(u16, u32, Vec<crate::presence::container::Member>)> {
    let containers: &Containers = &enhanced.containers;
    let mut ids: Vec<u16> = match changes {
        Some(changes) => changes.containers.clone(),
        None => {
            let published = enhanced.instances.iter().map(|instance| instance.container);
            let kept = containers.iter().map(|container| container.id);
            WELL_KNOWN
                .into_iter()
                .chain(published)
                .chain(kept)
                .collect()
        }
    };
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids.dedup();
    let each = ids.into_iter().map(|id| {
        let container = containers.get(id);
        let version = container.map_or(0, |container| container.version);
        let mut members = container.map_or_else(Vec::new, |container| container.members.clone());
        // Contradiction C-28: the default container is shown with everyone in it.
        if id == 0 {
            members.push(crate::presence::container::Member::Everyone);
        }
        (id, version, members)
    });
    each.collect()
}
