//! Everything of enhanced presence that is kept for one publisher, and how its parts move together.

use std::sync::Arc;

use crate::category::contact_card::Card;
use crate::category::legacy_interop::LegacyInterop;
use crate::category::state::{Kind, OFFLINE, State};
use crate::category::user_properties::Properties;
use crate::category::{Category, Computed};
use crate::presence::aggregate::{self, Input};
use crate::presence::contacts::{Contacts, Delta};
use crate::presence::container::{Containers, Watcher};
use crate::presence::delegate::Delegates;
use crate::presence::endpoint::{Endpoint, Unbinding};
use crate::presence::endpoint_id::EndpointId;
use crate::presence::instance::{Body, Instance, Instances, Lifetime, Place};
use crate::presence::publication::Publications;
use crate::presence::subscriber::Subscribers;
use crate::time::Timestamp;

/// The container whose members are kept out.
pub const BLOCKED: u16 = 32_000;

/// What the directory says of a user, for the server's own publications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Name and mail address.
    pub card: Card,
    /// The first telephone number; empty when none is known.
    pub phone: Box<str>,
    /// The rest.
    pub properties: Properties,
}

/// Enhanced presence of one publisher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enhanced {
    /// What its own client or the directory said; none as long as it was only watched. Containers rule
    /// what is seen of it from then on.
    pub profile: Option<Profile>,
    /// Category instances.
    pub instances: Instances,
    /// Memberships.
    pub containers: Containers,
    /// Who began to watch.
    pub subscribers: Subscribers,
    /// Who may act for it.
    pub delegates: Delegates,
    /// Its contacts.
    pub contacts: Contacts,
}

/// What changed, for those who are to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Categories in containers.
    pub touched: Vec<Place>,
    /// Memberships of containers.
    pub containers: Vec<u16>,
    /// The subscriber list.
    pub subscribers: bool,
    /// The delegates.
    pub delegates: bool,
    /// Steps of the contact list, in order.
    pub contacts: Vec<Delta>,
    /// The contact list is to be told whole: its steps are too many, or somebody has lost them.
    pub contacts_whole: bool,
    /// Standard publications.
    pub standard: bool,
    /// Its own client was there for the first time: containers rule what is seen from here on.
    pub claimed: bool,
    /// Calls, as dialog publications tell of them.
    pub dialogs: bool,
    /// Where it is registered.
    pub registered: bool,
    /// Bindings that are gone.
    pub unbound: Vec<(Endpoint, Unbinding)>,
    /// Presence rules: whoever watches may be seen, and see, otherwise.
    pub rules: bool,
}

impl Changes {
    /// Nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// Takes over what another change of the same entry did.
    pub fn merge(&mut self, other: Changes) {
        self.touched.extend(other.touched);
        self.containers.extend(other.containers);
        self.subscribers |= other.subscribers;
        self.delegates |= other.delegates;
        self.contacts.extend(other.contacts);
        self.contacts_whole |= other.contacts_whole;
        self.standard |= other.standard;
        self.claimed |= other.claimed;
        self.dialogs |= other.dialogs;
        self.registered |= other.registered;
        self.unbound.extend(other.unbound);
        self.rules |= other.rules;
    }

    /// Takes out what changed where it is registered, which is of interest to few.
    #[must_use]
    pub fn take_bindings(&mut self) -> Changes {
        Changes {
            registered: std::mem::take(&mut self.registered),
            unbound: std::mem::take(&mut self.unbound),
            ..Changes::default()
        }
    }

    /// Orders what was collected and takes out what stands twice.
    pub fn settle(&mut self) {
        self.touched.sort_unstable();
        self.touched.dedup();
        self.containers.sort_unstable();
        self.containers.dedup();
    }
}

impl Enhanced {
    /// Whether its own client was ever here.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.profile.is_some()
    }

    /// Nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Enhanced::default()
    }

    /// The server's own publications.
    //= MS-PRES 3.2.2
    //= type=exception
    // excepts: PRES-3.2.2-02 the server's own instances are published at sign-in and whenever what they say becomes known, not by a period: a period could find nothing else
    //= MS-PRES 3.2.6.2
    //# contactCard, legacyInterop of the blocked, and userProperties; nothing that is there already
    pub fn publish_profile(&mut self, profile: Profile, now: Timestamp, changes: &mut Changes) {
        let first = !self.is_claimed();
        changes.claimed |= first;
        let touched = &mut changes.touched;
        let mut put = |category, container, computed| {
            let place = (category, container);
            self.instances
                .compute(place, 0, Lifetime::Static, computed, now, touched);
        };
        for container in [0, 100, 200, 300, 400, BLOCKED] {
            let card = Computed::ContactCard(profile.card.clone());
            put(Category::ContactCard, container, card);
        }
        let offline = LegacyInterop {
            availability: OFFLINE,
            token: "".into(),
        };
        put(
            Category::LegacyInterop,
            BLOCKED,
            Computed::LegacyInterop(offline),
        );
        let properties = Computed::UserProperties(Box::new(profile.properties.clone()));
        put(Category::UserProperties, 1, properties);
        // What the product's clients publish for the blocked on first sign-in, so that a client that does
        // not can block somebody as well: without a state of its own, container 32000 would not be
        // considered, and the blocked would see that of another container.
        if first {
            let offline = State::new(Kind::Aggregate, OFFLINE);
            put(Category::State, BLOCKED, Computed::State(Box::new(offline)));
            put(
                Category::Services,
                BLOCKED,
                Computed::Services(Default::default()),
            );
            put(Category::Note, BLOCKED, Computed::Empty);
            put(Category::CalendarData, BLOCKED, Computed::Empty);
        }
        self.profile = Some(profile);
    }

    /// Runs the computing functions where something they depend on changed.
    pub fn compute(&mut self, standard: &Publications, now: Timestamp, changes: &mut Changes) {
        let concerned = changes.standard || changes.touched.iter().any(aggregate::depends_on);
        if !self.is_claimed() || !concerned {
            return;
        }
        self.compute_all(standard, now, changes);
    }

    /// Runs the computing functions.
    pub fn compute_all(&mut self, standard: &Publications, now: Timestamp, changes: &mut Changes) {
        let input = Input {
            instances: &self.instances,
            standard,
            now,
        };
        for output in aggregate::outputs(input) {
            let (place, number, touched) = (output.place, output.number, &mut changes.touched);
            match output.instance {
                Some((lifetime, computed)) => {
                    self.instances
                        .compute(place, number, lifetime, computed, now, touched);
                }
                None => self.instances.uncompute(place, number, touched),
            }
        }
    }

    /// An endpoint is not registered any more; `last` when no other is either.
    //= MS-PRES 3.2.5.5
    //# what is bound to the endpoint ends with it
    //= MS-PRES 3.2.5.5.1
    //# with the last endpoint also what is bound to the user
    pub fn end_endpoint(&mut self, endpoint: EndpointId, last: bool, changes: &mut Changes) {
        self.instances.end(
            |instance| match instance.lifetime {
                Lifetime::Endpoint(of) => of == endpoint,
                // What was computed is computed anew in the same step (contradiction C-51), and from what
                // it was: who appeared offline before signing out has been so since then.
                Lifetime::User => last && matches!(instance.body, Body::Published { .. }),
                Lifetime::Static | Lifetime::Until(_) => false,
            },
            &mut changes.touched,
        );
    }

    /// Ends the time-bound instances that are due.
    //= MS-PRES 3.2.6.1
    //# a time-bound instance whose time is past is deleted
    pub fn expire(&mut self, now: Timestamp, changes: &mut Changes) {
        self.instances.end(
            |instance| matches!(instance.lifetime, Lifetime::Until(at) if at <= now),
            &mut changes.touched,
        );
    }

    /// The container whose instances of a category a watcher sees.
    #[must_use]
    pub fn resolve(&self, watcher: Watcher<'_>, category: &Category) -> Option<u16> {
        self.containers
            .resolve(watcher, self.instances.containers_of(category))
    }

    /// What a watcher sees of a category: nothing, if it resolves to nothing.
    #[must_use]
    pub fn seen(&self, category: &Category, container: Option<u16>) -> &[Arc<Instance>] {
        container.map_or(&[], |container| self.instances.at(category, container))
    }
}
