//! Who writes logs of enhanced clients: chance, with some knowledge of what is worth asking for.

use shard::category::mwi::Waiting;
use shard::category::{Category, Meaning};
use shard::machine::Machine;
use shard::machine::command::Ticket;
use shard::machine::outcome::RequestKey;
use shard::presence::bearing::Bearing;
use shard::presence::contacts::{Contact, ContactChange, Custody, Group};
use shard::presence::container::{ContainerChange, Member, MemberChange, Network};
use shard::presence::delegate::{Delegate, DelegateAct};
use shard::presence::endpoint_id::EndpointId;
use shard::presence::enhanced::{Enhanced, Profile};
use shard::presence::instance::Wished;
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, Dialog, DialogKey, EndReason, Format, Package};
use shard::subscription::watch::{Scope, Watch};
use shard::xml::Document;

use super::asked::{Act, Asked, Extra, Item, Wanted, What, target_of};
use crate::author::ADDRESSES;
use crate::chance::Chance;

const BEGIN_MS: u64 = 1_700_000_000_000;
const LIVES_S: [u32; 7] = [1, 5, 30, 60, 600, 3_600, 86_400];
/// Where there is something to see, and where there is to be a choice.
const CONTAINERS: [u16; 10] = [0, 1, 2, 3, 7, 100, 200, 300, 400, 32_000];
const NETWORKS: [Network; 3] = [
    Network::SameEnterprise,
    Network::Federated,
    Network::PublicCloud,
];
/// What of others is watched: what is computed, what is only kept, what nobody may see.
const WATCHED: [Category; 6] = [
    Category::State,
    Category::Note,
    Category::ContactCard,
    Category::Services,
    Category::CalendarData,
    Category::Device,
];
const KINDS: usize = 17;

/// What a run is made of, as for plain telephones.
struct Habits {
    weights: [u64; KINDS],
    addresses: u64,
    lives_s: Vec<u32>,
    /// Which containers are used: few, so that watchers and publications meet.
    containers: Vec<u16>,
    repeats: u64,
    crowd: u64,
    stride_ms: u64,
}

impl Habits {
    fn draw(chance: &mut Chance) -> Habits {
        let mut weights = [0; KINDS].map(|_: u64| *chance.one(&[0, 1, 2, 4, 8]));
        // Without these there is little to see.
        weights[2] += 4;
        weights[3] += 2;
        weights[12] += 4;
        let some = |chance: &mut Chance| chance.percent(60);
        let mut lives_s: Vec<u32> = LIVES_S.into_iter().filter(|_| some(chance)).collect();
        lives_s.push(60);
        let mut containers: Vec<u16> = CONTAINERS.into_iter().filter(|_| some(chance)).collect();
        containers.push(300);
        Habits {
            weights,
            addresses: 1 + chance.below(ADDRESSES.len() as u64),
            lives_s,
            containers,
            repeats: *chance.one(&[0, 10, 30]),
            crowd: *chance.one(&[2, 5, 12]),
            stride_ms: *chance.one(&[1, 40, 2_500, 40_000]),
        }
    }
}

/// The author of one log.
pub struct Author {
    pub chance: Chance,
    /// The leader's clock.
    pub clock_ms: u64,
    habits: Habits,
    asked: Vec<Asked>,
}

impl Author {
    /// The author of the log of `seed`.
    pub fn new(seed: u64) -> Author {
        let mut chance = Chance::new(seed ^ 0x005e_ed0f_e4a4_ced0);
        Author {
            habits: Habits::draw(&mut chance),
            chance,
            clock_ms: BEGIN_MS,
            asked: Vec::new(),
        }
    }

    /// Moves the leader's clock: mostly a little, at times far, back, or to the edge of an end.
    pub fn tick(&mut self, machine: &Machine) {
        let end = machine.next_deadline().map(|deadline| deadline.0);
        self.clock_ms = match self.chance.below(20) {
            0 => self.clock_ms.saturating_sub(self.chance.below(100_000)),
            1 => self.clock_ms + self.chance.below(7_200_000),
            2 | 3 => end.unwrap_or(self.clock_ms),
            4 => end.map_or(self.clock_ms, |end| end - 1),
            5 => self.clock_ms + 32_000,
            _ => self.clock_ms + self.chance.below(self.habits.stride_ms),
        };
    }

    /// The requests of the entry at log position `index`.
    pub fn requests(&mut self, machine: &Machine, index: u64) -> Vec<Asked> {
        let count = self.chance.below(self.habits.crowd + 1);
        (0..count).map(|_| self.request(machine, index)).collect()
    }

    /// Remembers what can be repeated.
    pub fn note(&mut self, asked: Vec<Asked>) {
        self.asked.extend(asked);
    }

    /// One of the addresses in use.
    pub fn address(&mut self) -> &'static str {
        ADDRESSES[self.chance.below(self.habits.addresses) as usize]
    }

    fn request(&mut self, machine: &Machine, index: u64) -> Asked {
        let ticket = Ticket(self.chance.bits());
        if self.chance.percent(self.habits.repeats)
            && let Some(before) = self.chance.any(&self.asked)
        {
            let mut again = Asked {
                ticket,
                ..before.clone()
            };
            // The ingress of a repeat draws a tag of its own.
            if let What::Subscribe { dialog, chance, .. } = &mut again.what {
                *dialog = new_dialog(&mut self.chance);
                *chance = self.chance.bits();
            }
            return again;
        }
        let key = RequestKey(u128::from(self.chance.bits()) << 64 | u128::from(self.chance.bits()));
        let mut draw = self.chance.below(self.habits.weights.iter().sum());
        let kind = self.habits.weights.iter().position(|weight| {
            let drawn = draw < *weight;
            draw = draw.saturating_sub(*weight);
            drawn
        });
        let presentity = self.address();
        let report = machine.report(presentity).unwrap_or_default();
        let held = report.enhanced.unwrap_or_default();
        let what = match kind.expect("some weight was drawn") {
            0 => self.register(presentity, index),
            1 => self.publish(presentity, &report.publications),
            2 => self.publish_instances(presentity, &held),
            3 => self.set_members(presentity, &held),
            4 => What::Acknowledge {
                presentity,
                subscriber: self.address(),
            },
            5 => self.set_delegate(presentity, &held),
            6 => self.change_contacts(presentity, &held),
            7 => self.end_endpoint(presentity),
            8 => What::Introduce {
                presentity,
                watcher: self.address(),
                network: *self.chance.one(&NETWORKS),
                context: self.context(),
            },
            9 => What::SetProfile {
                presentity,
                profile: self.profile(),
            },
            10 => What::SetWaiting {
                presentity,
                waiting: Waiting {
                    waiting: self.chance.percent(50),
                    unread: Some(self.chance.below(3) as u32),
                    read: None,
                },
            },
            11 => What::HandContactsOver {
                presentity,
                from: self.custody(),
                to: self.custody(),
            },
            12 => self.subscribe(presentity),
            13 => self.subscribe_own(presentity),
            14 => self.subscribe_document(presentity),
            15 => self.resubscribe(machine),
            _ => self.end_dialog(machine),
        };
        Asked { key, ticket, what }
    }

    fn endpoint(&mut self) -> EndpointId {
        EndpointId([self.chance.below(3) as u8; 16])
    }

    fn profile(&mut self) -> Profile {
        let mut profile = Profile::default();
        profile.card.display_name = (*self.chance.one(&["Ann", "Bob", "Carol"])).into();
        profile
    }

    fn custody(&mut self) -> Custody {
        *self.chance.one(&[
            Custody::Here,
            Custody::Here,
            Custody::Migrating,
            Custody::Elsewhere,
        ])
    }

    fn context(&mut self) -> Vec<u8> {
        (*self
            .chance
            .one(&[&b""[..], b"<why/>", b"<because>of that</because>"]))
        .to_vec()
    }

    fn lives_s(&mut self) -> u32 {
        *self.chance.one(&self.habits.lives_s)
    }

    fn register(&mut self, aor: &'static str, index: u64) -> What {
        let count = 1 + self.chance.below(2);
        let each = (0..count).map(|_| {
            let gone = self.chance.percent(25);
            let lives = self.lives_s();
            (self.endpoint(), if gone { 0 } else { lives })
        });
        let mut bindings: Vec<(EndpointId, u32)> = each.collect();
        bindings.dedup_by_key(|(endpoint, _)| *endpoint);
        let all = self.chance.percent(10);
        let profile = self.profile();
        What::Register {
            aor,
            call_id: self.chance.below(2),
            cseq: index as u32,
            bindings: (!all).then_some(bindings),
            profile: self.chance.percent(70).then_some(profile),
        }
    }

    fn publish(
        &mut self,
        presentity: &'static str,
        held: &[(Package, shard::presence::publication::Publication)],
    ) -> What {
        let known = self
            .chance
            .any(held)
            .map(|(_, publication)| publication.tag);
        let removes = known.is_some() && self.chance.percent(30);
        let lives = self.lives_s();
        let bearing = Bearing::from_numbers(self.chance.below(4) as u8, self.chance.below(5) as u8);
        What::Publish {
            presentity,
            if_match: known,
            content: vec![self.chance.bits() as u8; 3],
            expires_s: if removes { 0 } else { lives },
            bearing: bearing.expect("numbers in use"),
        }
    }

    fn publish_instances(&mut self, presentity: &'static str, held: &Enhanced) -> What {
        let count = 1 + self.chance.below(3);
        let mut items: Vec<Item> = Vec::new();
        for _ in 0..count {
            let category = self.chance.one(&WATCHED).clone();
            let container = *self.chance.one(&self.habits.containers);
            let number = self.chance.below(3) as u32;
            let known = held.instances.get(&category, container, number);
            let current = known.map_or(0, |instance| instance.version);
            let wrong = u32::from(self.chance.percent(6));
            let lives = self.lives_s();
            let life = *self.chance.one(&[
                Wished::Static,
                Wished::Static,
                Wished::Endpoint,
                Wished::User,
                Wished::Seconds(lives),
            ]);
            let set = (!self.chance.percent(20)).then(|| {
                let xml = self.content(&category);
                let meaning = match Document::parse(&xml) {
                    Ok(document) => Meaning::read(&category, document.root()).unwrap_or_default(),
                    Err(_) => Meaning::Opaque,
                };
                (life, xml, meaning)
            });
            let same = |item: &Item| {
                (&item.category, item.container, item.number) == (&category, container, number)
            };
            if !items.iter().any(same) {
                items.push(Item {
                    category,
                    container,
                    number,
                    version: current + wrong,
                    set,
                });
            }
        }
        What::PublishInstances {
            presentity,
            endpoint: Some(self.endpoint()),
            bytes_max: *self.chance.one(&[400, 100_000]),
            items,
        }
    }

    fn content(&mut self, category: &Category) -> Vec<u8> {
        let availability = *self
            .chance
            .one(&[3_500, 5_000, 6_500, 9_500, 12_500, 15_500, 18_500]);
        let text = match category {
            Category::State => {
                let kind =
                    *self
                        .chance
                        .one(&["machineState", "userState", "phoneState", "calendarState"]);
                format!(
                    "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
                     xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\" manual=\"{}\">\
                     <availability>{availability}</availability></state>",
                    kind == "userState"
                )
            }
            _ if self.chance.percent(10) => String::new(),
            _ => format!(
                "<said xmlns=\"urn:said\">{}</said>",
                self.chance.below(1_000)
            ),
        };
        text.into_bytes()
    }

    fn member(&mut self) -> Member {
        match self.chance.below(8) {
            0..3 => Member::User(self.address().into()),
            3 => Member::Domain((*self.chance.one(&["example.com", "example.org"])).into()),
            4 => Member::SameEnterprise,
            5 => Member::Federated,
            6 => Member::PublicCloud,
            _ => Member::Everyone,
        }
    }

    fn set_members(&mut self, presentity: &'static str, held: &Enhanced) -> What {
        let mut changes: Vec<ContainerChange> = Vec::new();
        for _ in 0..1 + self.chance.below(2) {
            let id = *self.chance.one(&self.habits.containers);
            if id == 0 || changes.iter().any(|change| change.id == id) {
                continue;
            }
            let current = held
                .containers
                .get(id)
                .map_or(0, |container| container.version);
            let wrong = u32::from(self.chance.percent(6));
            let members = (0..self.chance.below(4)).map(|_| {
                let member = self.member();
                if self.chance.percent(65) {
                    MemberChange::Add(member)
                } else {
                    MemberChange::Remove(member)
                }
            });
            changes.push(ContainerChange {
                id,
                members: members.collect(),
                version: current + wrong,
            });
        }
        What::SetMembers {
            presentity,
            changes,
            members_max: *self.chance.one(&[6, 1_000, 1_000]),
        }
    }

    fn set_delegate(&mut self, presentity: &'static str, held: &Enhanced) -> What {
        let wrong = u32::from(self.chance.percent(10));
        What::SetDelegate {
            presentity,
            version: held.delegates.version + wrong,
            act: *self
                .chance
                .one(&[DelegateAct::Set, DelegateAct::Set, DelegateAct::Remove]),
            delegate: Delegate {
                address: self.address().into(),
                publish: self.chance.percent(50),
                redelegate: self.chance.percent(50),
            },
        }
    }

    fn change_contacts(&mut self, presentity: &'static str, held: &Enhanced) -> What {
        let names = ["friends", "family", "work"];
        let group = 1 + self.chance.below(4) as u8;
        let name: Box<str> = (*self.chance.one(&names)).into();
        let uri: Box<str> = self.address().into();
        let change = match self.chance.below(6) {
            0 | 1 => ContactChange::SetContact(Contact {
                uri,
                name,
                groups: [group].into(),
                subscribed: true,
                external_uri: "".into(),
                extension: "".into(),
            }),
            2 => ContactChange::DeleteContact(uri),
            3 => ContactChange::AddGroup {
                name,
                external_uri: "".into(),
            },
            4 => ContactChange::ModifyGroup(Group {
                id: group,
                name,
                external_uri: "".into(),
            }),
            _ => ContactChange::DeleteGroup(group),
        };
        let wrong = u32::from(self.chance.percent(10));
        What::ChangeContacts {
            presentity,
            delta_num: held.contacts.share().delta_num + wrong,
            change,
        }
    }

    fn end_endpoint(&mut self, presentity: &'static str) -> What {
        let endpoint = self.endpoint();
        let target = if self.chance.percent(80) {
            target_of(endpoint).to_vec()
        } else {
            b"as it was before".to_vec()
        };
        What::EndEndpoint {
            presentity,
            endpoint,
            target,
        }
    }

    fn extra(&mut self, wanted: Wanted) -> Extra {
        let endpoint = self.endpoint();
        Extra {
            network: *self.chance.one(&NETWORKS),
            delivery: *self.chance.one(&[Delivery::Notify, Delivery::Benotify]),
            piggyback: self.chance.percent(60),
            endpoint: self.chance.percent(70).then_some(endpoint),
            registered: self.chance.percent(10),
            wanted,
        }
    }

    fn actions(&mut self) -> Vec<Act> {
        (0..1 + self.chance.below(2))
            .map(|_| {
                let mut resources: Vec<(&'static str, Option<Vec<u8>>)> = Vec::new();
                for _ in 0..1 + self.chance.below(3) {
                    let address = self.address();
                    let context = self.context();
                    if !resources.iter().any(|(known, _)| *known == address) {
                        resources.push((address, self.chance.percent(40).then_some(context)));
                    }
                }
                let categories = WATCHED.into_iter().filter(|_| self.chance.percent(50));
                Act {
                    subscribe: true,
                    categories: categories.collect(),
                    resources,
                }
            })
            .collect()
    }

    fn subscribe(&mut self, watcher: &'static str) -> What {
        let acts = self.actions();
        // With the watcher, or with the first whom it watches.
        let first = acts.first().and_then(|act| act.resources.first());
        let first = first.map_or(watcher, |(address, _)| *address);
        let home = if self.chance.percent(50) {
            watcher
        } else {
            first
        };
        let extra = self.extra(Wanted::Categories(acts));
        self.open(
            home,
            watcher,
            Package::Categories,
            Format::Categories,
            Some(extra),
        )
    }

    fn subscribe_own(&mut self, home: &'static str) -> What {
        if self.chance.percent(25) {
            let extra = self.extra(Wanted::Contacts);
            return self.open(
                home,
                home,
                Package::RoamingContacts,
                Format::RoamingContacts,
                Some(extra),
            );
        }
        let scope = Scope(1 + self.chance.below(15) as u8);
        let extra = self.extra(Wanted::Own(scope));
        self.open(
            home,
            home,
            Package::RoamingSelf,
            Format::RoamingSelf,
            Some(extra),
        )
    }

    fn subscribe_document(&mut self, home: &'static str) -> What {
        let watcher = self.address();
        let format = *self
            .chance
            .one(&[Format::Pidf, Format::MsPidf, Format::Msrtc]);
        let extra = self.extra(Wanted::Document);
        let extra = self.chance.percent(70).then_some(extra);
        self.open(home, watcher, Package::Presence, format, extra)
    }

    fn open(
        &mut self,
        home: &'static str,
        watcher: &'static str,
        package: Package,
        format: Format,
        extra: Option<Extra>,
    ) -> What {
        What::Subscribe {
            home,
            watcher,
            package,
            format,
            dialog: new_dialog(&mut self.chance),
            chance: self.chance.bits(),
            expires_s: self.lives_s(),
            extra,
        }
    }

    /// A dialog that lives.
    fn living(&mut self, machine: &Machine) -> Option<(DialogKey, Dialog)> {
        let watchers = |address| machine.report(address).unwrap_or_default().watchers;
        let all: Vec<(DialogKey, Dialog)> = ADDRESSES.into_iter().flat_map(watchers).collect();
        self.chance.any(&all).cloned()
    }

    fn resubscribe(&mut self, machine: &Machine) -> What {
        let Some((key, dialog)) = self.living(machine) else {
            return self.end_dialog(machine);
        };
        let ends = self.chance.percent(15);
        let lives = self.lives_s();
        let wanted = match dialog.watch.as_deref() {
            None => Wanted::Document,
            Some(Watch::Own { scope, .. }) if self.chance.percent(50) => Wanted::Own(*scope),
            Some(Watch::Own { .. }) => Wanted::Own(Scope(1 + self.chance.below(15) as u8)),
            Some(Watch::Contacts { .. }) => Wanted::Contacts,
            // Nobody opens one here: `conformance/lists.rs` has them.
            Some(Watch::List(_)) => Wanted::Same,
            Some(Watch::Batch(_)) if self.chance.percent(40) => Wanted::Same,
            Some(Watch::Batch(_)) => {
                let mut acts = self.actions();
                for act in &mut acts {
                    act.subscribe = self.chance.percent(60);
                }
                Wanted::Categories(acts)
            }
        };
        let plain = dialog.watch.is_none() && self.chance.percent(50);
        let mut extra = self.extra(wanted);
        extra.network = dialog.network;
        What::Resubscribe {
            slot: dialog.slot(),
            dialog: key,
            cseq: dialog.remote_cseq + self.chance.below(4) as u32,
            expires_s: if ends { 0 } else { lives },
            extra: (!plain).then_some(extra),
        }
    }

    fn end_dialog(&mut self, machine: &Machine) -> What {
        let living = self.living(machine);
        let (slot, dialog) = living
            .map_or((Slot::of(ADDRESSES[0]), DialogKey(1)), |(key, dialog)| {
                (dialog.slot(), key)
            });
        What::EndDialog {
            slot,
            dialog,
            reason: *self.chance.one(&[
                EndReason::Unreachable,
                EndReason::Rejected,
                EndReason::Noresource,
            ]),
        }
    }
}

fn new_dialog(chance: &mut Chance) -> DialogKey {
    DialogKey(u128::from(chance.bits()) << 64 | u128::from(chance.bits()))
}
