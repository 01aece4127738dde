//! Requests of enhanced clients that own what they say, so that they can be repeated later.

use shard::category::Category;
use shard::category::Meaning;
use shard::category::mwi::Waiting;
use shard::machine::command::{
    Binding, Bindings, Command, Extras, Publish, PublishInstances, Register, Request, Resubscribe,
    Subscribe, Ticket,
};
use shard::machine::outcome::RequestKey;
use shard::presence::bearing::Bearing;
use shard::presence::contacts::{ContactChange, Custody};
use shard::presence::container::{ContainerChange, Network};
use shard::presence::delegate::{Delegate, DelegateAct};
use shard::presence::endpoint_id::EndpointId;
use shard::presence::enhanced::Profile;
use shard::presence::instance::{Deed, Publication, Wished};
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, DialogKey, EndReason, Format, LocalTag, Package};
use shard::subscription::watch::{Action, Resource, Scope, Wish};

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub key: RequestKey,
    pub ticket: Ticket,
    pub what: What,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum What {
    Register {
        aor: &'static str,
        call_id: u64,
        cseq: u32,
        /// Endpoints, each with its seconds; `None` removes all.
        bindings: Option<Vec<(EndpointId, u32)>>,
        profile: Option<Profile>,
    },
    Publish {
        presentity: &'static str,
        if_match: Option<EntityTag>,
        content: Vec<u8>,
        expires_s: u32,
        bearing: Bearing,
    },
    PublishInstances {
        presentity: &'static str,
        endpoint: Option<EndpointId>,
        bytes_max: u32,
        items: Vec<Item>,
    },
    SetMembers {
        presentity: &'static str,
        changes: Vec<ContainerChange>,
        members_max: u32,
    },
    Acknowledge {
        presentity: &'static str,
        subscriber: &'static str,
    },
    SetDelegate {
        presentity: &'static str,
        version: u32,
        act: DelegateAct,
        delegate: Delegate,
    },
    ChangeContacts {
        presentity: &'static str,
        delta_num: u32,
        change: ContactChange,
    },
    HandContactsOver {
        presentity: &'static str,
        from: Custody,
        to: Custody,
    },
    EndEndpoint {
        presentity: &'static str,
        endpoint: EndpointId,
        target: Vec<u8>,
    },
    Introduce {
        presentity: &'static str,
        watcher: &'static str,
        network: Network,
        context: Vec<u8>,
    },
    SetProfile {
        presentity: &'static str,
        profile: Profile,
    },
    SetWaiting {
        presentity: &'static str,
        waiting: Waiting,
    },
    Subscribe {
        home: &'static str,
        watcher: &'static str,
        package: Package,
        format: Format,
        dialog: DialogKey,
        chance: u64,
        expires_s: u32,
        extra: Option<Extra>,
    },
    Resubscribe {
        slot: Slot,
        dialog: DialogKey,
        cseq: u32,
        expires_s: u32,
        extra: Option<Extra>,
    },
    EndDialog {
        slot: Slot,
        dialog: DialogKey,
        reason: EndReason,
    },
}

/// One publication.
#[derive(Clone, Debug)]
pub struct Item {
    pub category: Category,
    pub container: u16,
    pub number: u32,
    pub version: u32,
    /// For how long, the XML and what it means; `None` removes.
    pub set: Option<(Wished, Vec<u8>, Meaning)>,
}

/// What a SUBSCRIBE of an enhanced client says besides.
#[derive(Clone, Debug)]
pub struct Extra {
    pub network: Network,
    pub delivery: Delivery,
    pub piggyback: bool,
    pub endpoint: Option<EndpointId>,
    pub registered: bool,
    pub wanted: Wanted,
}

/// What it wants.
#[derive(Clone, Debug)]
pub enum Wanted {
    Document,
    Own(Scope),
    Contacts,
    Categories(Vec<Act>),
    Same,
}

/// One action of a batch.
#[derive(Clone, Debug)]
pub struct Act {
    pub subscribe: bool,
    /// Each with its context.
    pub resources: Vec<(&'static str, Option<Vec<u8>>)>,
    pub categories: Vec<Category>,
}

impl Asked {
    /// The request as the machine takes it.
    pub fn request(&self) -> Request<'_> {
        Request {
            key: self.key,
            ticket: self.ticket,
            command: self.what.command(),
        }
    }
}

impl What {
    fn command(&self) -> Command<'_> {
        match self {
            What::Register {
                aor,
                call_id,
                cseq,
                bindings,
                profile,
            } => Command::Register(Register {
                aor,
                call_id: *call_id,
                cseq: *cseq,
                bindings: match bindings {
                    None => Bindings::RemoveAll,
                    Some(each) => Bindings::Each(each.iter().map(binding).collect()),
                },
                profile: profile.clone(),
            }),
            What::Publish {
                presentity,
                if_match,
                content,
                expires_s,
                bearing,
            } => Command::Publish(Publish {
                presentity,
                package: Package::Presence,
                if_match: *if_match,
                content: Some(content),
                expires_s: *expires_s,
                tag_policy: TagPolicy::Keep,
                bearing: *bearing,
            }),
            What::PublishInstances {
                presentity,
                endpoint,
                bytes_max,
                items,
            } => Command::PublishInstances(PublishInstances {
                presentity,
                endpoint: *endpoint,
                category_bytes_max: *bytes_max,
                publications: items.iter().map(Item::publication).collect(),
            }),
            What::SetMembers {
                presentity,
                changes,
                members_max,
            } => Command::SetMembers {
                presentity,
                changes: changes.clone(),
                members_max: *members_max,
            },
            What::Acknowledge {
                presentity,
                subscriber,
            } => Command::Acknowledge {
                presentity,
                subscriber,
                acknowledged: true,
            },
            What::SetDelegate {
                presentity,
                version,
                act,
                delegate,
            } => Command::SetDelegate {
                presentity,
                version: *version,
                act: *act,
                delegate: delegate.clone(),
                delegates_max: 3,
            },
            What::ChangeContacts {
                presentity,
                delta_num,
                change,
            } => Command::ChangeContacts {
                presentity,
                delta_num: *delta_num,
                change: change.clone(),
                contacts_max: 4,
                endpoint: None,
            },
            What::HandContactsOver {
                presentity,
                from,
                to,
            } => Command::HandContactsOver {
                presentity,
                from: *from,
                to: *to,
            },
            What::EndEndpoint {
                presentity,
                endpoint,
                target,
            } => Command::EndEndpoint {
                presentity,
                endpoint: *endpoint,
                target,
            },
            What::Introduce {
                presentity,
                watcher,
                network,
                context,
            } => Command::Introduce {
                presentity,
                watcher,
                network: *network,
                display_name: "from elsewhere",
                context,
            },
            What::SetProfile {
                presentity,
                profile,
            } => Command::SetProfile {
                presentity,
                profile: profile.clone(),
            },
            What::SetWaiting {
                presentity,
                waiting,
            } => Command::SetWaiting {
                presentity,
                waiting: *waiting,
            },
            What::Subscribe {
                home,
                watcher,
                package,
                format,
                dialog,
                chance,
                expires_s,
                extra,
            } => Command::Subscribe(Subscribe {
                presentity: home,
                watcher,
                package: *package,
                format: *format,
                dialog: *dialog,
                local_tag: LocalTag::new(Slot::of(home), *chance),
                cseq: 1,
                expires_s: *expires_s,
                route: b"route",
                target: b"target",
                extras: extra.as_ref().map(|extra| Box::new(extra.extras())),
                savers: None,
            }),
            What::Resubscribe {
                slot,
                dialog,
                cseq,
                expires_s,
                extra,
            } => Command::Resubscribe(Resubscribe {
                slot: *slot,
                dialog: *dialog,
                cseq: *cseq,
                expires_s: *expires_s,
                target: b"other target",
                extras: extra.as_ref().map(|extra| Box::new(extra.extras())),
                savers: None,
            }),
            What::EndDialog {
                slot,
                dialog,
                reason,
            } => Command::EndDialog {
                slot: *slot,
                dialog: *dialog,
                reason: *reason,
            },
        }
    }
}

/// Where an endpoint is reached.
pub fn target_of(endpoint: EndpointId) -> &'static [u8] {
    [&b"first"[..], b"second", b"third"][usize::from(endpoint.0[0]) % 3]
}

fn binding((endpoint, expires_s): &(EndpointId, u32)) -> Binding<'_> {
    Binding {
        binding: u64::from(endpoint.0[0]),
        contact: "sip:endpoint@192.0.2.1",
        instance: "",
        q: 1_000,
        path: "",
        expires_s: *expires_s,
        target: target_of(*endpoint),
        endpoint_id: Some(*endpoint),
    }
}

impl Item {
    fn publication(&self) -> Publication<'_> {
        Publication {
            category: self.category.clone(),
            container: self.container,
            number: self.number,
            version: self.version,
            deed: match &self.set {
                None => Deed::Remove,
                Some((life, xml, meaning)) => Deed::Set {
                    life: *life,
                    xml,
                    meaning: meaning.clone(),
                },
            },
        }
    }
}

impl Extra {
    fn extras(&self) -> Extras<'_> {
        Extras {
            abroad: Default::default(),
            network: self.network,
            delivery: self.delivery,
            piggyback: self.piggyback,
            endpoint: self.endpoint,
            registered: self.registered,
            display_name: "Somebody",
            watchers_max: 100,
            wish: match &self.wanted {
                Wanted::Document => Wish::Document,
                Wanted::Own(scope) => Wish::Own(*scope),
                Wanted::Contacts => Wish::Contacts(false),
                Wanted::Categories(acts) => {
                    Wish::Categories(acts.iter().map(Act::action).collect())
                }
                Wanted::Same => Wish::Same,
            },
        }
    }
}

impl Act {
    fn action(&self) -> Action<'_> {
        Action {
            subscribe: self.subscribe,
            resources: self
                .resources
                .iter()
                .map(|(address, context)| Resource {
                    address,
                    context: context.as_deref(),
                })
                .collect(),
            categories: self.categories.clone(),
        }
    }
}
