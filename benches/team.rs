//! A machine with a team of enhanced publishers: each signed in with one endpoint, with a state in containers
//! 2 and 3, a device, and a note.

use std::sync::Arc;

use bytes::BytesMut;
use shard::category::Category;
use shard::document::{batch_subscribe, publish};
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_entry};
use shard::machine::command::{
    Act, Binding, Bindings, Command, Extras, Leader, PublishInstances, Register, Request,
    Resubscribe, Subscribe, Ticket,
};
use shard::machine::effect::Effect;
use shard::machine::outcome::{Outcome, RequestKey};
use shard::presence::container::{Network, Watcher};
use shard::presence::endpoint_id::EndpointId;
use shard::presence::enhanced::Profile;
use shard::presence::package::Package;
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, DialogKey, Format, LocalTag};
use shard::subscription::view::View;
use shard::subscription::watch::{Action, Resource, Scope, Wish};
use shard::time::Timestamp;

const ENDPOINT: EndpointId = EndpointId([7; 16]);

/// What watchers ask for: the categories of a client's contact list.
const CATEGORIES: [&str; 5] = ["calendarData", "contactCard", "note", "services", "state"];

/// The machine.
pub struct Team {
    machine: Machine,
    index: u64,
    /// The version of the states that [`Team::publish`] publishes.
    version: u32,
    dialogs: u32,
    /// A batch document for all of the team.
    batch: String,
}

fn address(number: u32) -> String {
    format!("p{number:07}@bench.test")
}

fn publication(category: &str, container: u16, version: u32, life: &str, data: &str) -> String {
    format!(
        "<publication categoryName=\"{category}\" instance=\"805306368\" container=\"{container}\" version=\"{version}\" \
         expireType=\"{life}\">{data}</publication>"
    )
}

fn document(address: &str, publications: &str) -> String {
    format!(
        "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\"><publications uri=\"sip:{address}\">\
         {publications}</publications></publish>"
    )
}

/// States into three containers: the two that are aggregated, and the one of everybody. They differ from one
/// version to the next, so that everything is computed, and published, anew.
fn states(version: u32) -> String {
    let availability = 6_500 + 10 * (version % 2);
    let state = format!(
        "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:type=\"phoneState\" manual=\"false\"><availability>{availability}</availability>\
         <activity token=\"on-the-phone\" minAvailability=\"6500\" maxAvailability=\"8999\"/></state>"
    );
    [2, 3, 0]
        .map(|container| publication("state", container, version, "static", &state))
        .concat()
}

impl Team {
    /// A team of so many.
    #[must_use]
    pub fn new(members: u32) -> Team {
        let mut team = Team {
            machine: Machine::default(),
            index: 0,
            version: 0,
            dialogs: 0,
            batch: String::new(),
        };
        let leader = Leader { node: 1, life: 1 };
        team.apply(&Act::TermStart { leader, salt: 7 });
        for number in 0..members {
            team.sign_in(&address(number));
        }
        let resources: String = (0..members)
            .map(|number| format!("<resource uri=\"sip:{}\"/>", address(number)))
            .collect();
        let categories = CATEGORIES
            .map(|name| format!("<category name=\"{name}\"/>"))
            .concat();
        team.batch = format!(
            "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" uri=\"sip:watcher@bench.test\" name=\"\">\
             <action name=\"subscribe\" id=\"1\"><adhocList>{resources}</adhocList>\
             <categoryList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\">{categories}</categoryList></action></batchSub>"
        );
        team
    }

    fn apply(&mut self, act: &Act<'_>) -> Option<Outcome> {
        let mut bytes = BytesMut::new();
        encode_entry(Timestamp(1_000_000_000 + self.index), act, &mut bytes);
        let entry = decode_entry(&bytes).expect("our own entry");
        self.index += 1;
        let mut effects = Vec::new();
        self.machine.apply(self.index, &entry, &mut effects);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Reply { outcome, .. } => Some(outcome),
            Effect::Notify { .. } | Effect::Send { .. } => None,
        })
    }

    fn request(&mut self, command: Command<'_>) -> Outcome {
        let key = RequestKey(u128::from(self.index) << 64);
        let ticket = Ticket(1);
        let request = Request {
            key,
            ticket,
            command,
        };
        self.apply(&Act::Requests(vec![request]))
            .expect("an answer")
    }

    fn sign_in(&mut self, address: &str) {
        let outcome = self.request(Command::Register(Register {
            aor: address,
            call_id: 1,
            cseq: 1,
            bindings: Bindings::Each(vec![Binding {
                binding: 1,
                contact: "sip:p@192.0.2.1",
                instance: "urn:uuid:1",
                q: 500,
                path: "",
                expires_s: 1_000_000,
                target: b"flow",
                endpoint_id: Some(ENDPOINT),
            }]),
            profile: Some(Profile::default()),
        }));
        assert!(matches!(outcome, Outcome::Registered { .. }), "{outcome:?}");
        let here = "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xsi:type=\"machineState\" manual=\"false\"><availability>3500</availability></state>";
        let device = format!(
            "<device xmlns=\"http://schemas.microsoft.com/2006/09/sip/device\" endpointId=\"{ENDPOINT}\"><capabilities uri=\"sip:{address}\">\
             <text capture=\"true\" render=\"true\" publish=\"false\"/><voice capture=\"true\" render=\"true\" publish=\"false\"/>\
             <video capture=\"true\" render=\"true\" publish=\"false\"/></capabilities></device>"
        );
        let note = "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body type=\"personal\" uri=\"\">Working until five</body></note>";
        let all = [
            publication("state", 1, 0, "endpoint", here),
            publication("device", 2, 0, "endpoint", &device),
            publication("note", 0, 0, "static", note),
        ];
        // The states of the endpoint stand beside those of `publish`, with numbers of their own.
        let machine = [2, 3].map(|container| {
            publication("state", container, 0, "endpoint", here).replace("805306368", "838860800")
        });
        let all = document(address, &(all.concat() + &machine.concat()));
        self.publish_document(address, &all);
    }

    /// Reads a publish document and does what it asks, as the node does.
    fn publish_document(&mut self, address: &str, document: &str) {
        let mut buffer = Vec::new();
        let parsed = publish::parse(document.as_bytes(), &mut buffer).expect("a document");
        let outcome = self.request(Command::PublishInstances(PublishInstances {
            presentity: address,
            endpoint: Some(ENDPOINT),
            category_bytes_max: 1 << 18,
            publications: parsed.publications(&buffer),
        }));
        assert!(
            matches!(outcome, Outcome::InstancesPublished(_)),
            "{outcome:?}"
        );
    }

    /// Publishes states of the next version for the first of the team.
    pub fn publish(&mut self) {
        let address = address(0);
        let document = document(&address, &states(self.version));
        self.publish_document(&address, &document);
        self.version += 1;
    }

    fn look(&self, home: &str, watcher: &str, format: Format, wish: &Wish<'_>) -> Arc<View> {
        let watcher = Watcher {
            address: watcher,
            network: Network::SameEnterprise,
        };
        let shown = self.machine.look(home, watcher, format, wish);
        Arc::clone(shown.views.first().expect("a view"))
    }

    /// What the first of the team is shown of its own categories.
    #[must_use]
    pub fn own(&self) -> Arc<View> {
        let home = address(0);
        self.look(
            &home,
            &home,
            Format::RoamingSelf,
            &Wish::Own(Scope::CATEGORIES),
        )
    }

    /// What a watcher is shown of the first of the team.
    #[must_use]
    pub fn seen(&self) -> Arc<View> {
        let address = address(0);
        let wish = Wish::Categories(vec![Action {
            subscribe: true,
            resources: vec![Resource {
                address: &address,
                context: None,
            }],
            categories: CATEGORIES.map(Category::named).to_vec(),
        }]);
        self.look("w@bench.test", "w@bench.test", Format::Categories, &wish)
    }

    /// Reads the batch, opens its dialog and shows everybody in the answer.
    pub fn subscribe(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let mut buffer = Vec::new();
        let asked = batch_subscribe::parse(batch.as_bytes(), &mut buffer).expect("a batch");
        let actions = asked.iter().map(|asked| Action {
            subscribe: asked.subscribe,
            resources: asked
                .resources
                .iter()
                .map(|resource| Resource {
                    address: resource.address.as_deref().expect("an address"),
                    context: None,
                })
                .collect(),
            categories: asked.categories.clone(),
        });
        self.dialogs += 1;
        let slot = Slot::of("w@bench.test");
        let outcome = self.request(Command::Subscribe(Subscribe {
            presentity: "w@bench.test",
            watcher: "w@bench.test",
            package: Package::Presence,
            format: Format::Categories,
            dialog: DialogKey(u128::from(self.dialogs)),
            local_tag: LocalTag::new(slot, u64::from(self.dialogs)),
            cseq: 1,
            expires_s: 3_600,
            route: &[1; 160],
            target: &[1; 80],
            extras: Some(Box::new(Extras {
                abroad: Default::default(),
                watchers_max: 100_000,
                network: Network::SameEnterprise,
                delivery: Delivery::Benotify,
                piggyback: true,
                endpoint: None,
                registered: false,
                display_name: "",
                wish: Wish::Categories(actions.collect()),
            })),
            savers: None,
        }));
        assert!(
            matches!(outcome, Outcome::Piggybacked { .. }),
            "{outcome:?}"
        );
        self.batch = batch;
    }

    /// Ends the dialog of the last [`Team::subscribe`].
    pub fn unsubscribe(&mut self) {
        let slot = Slot::of("w@bench.test");
        let outcome = self.request(Command::Resubscribe(Resubscribe {
            slot,
            dialog: DialogKey(u128::from(self.dialogs)),
            cseq: 2,
            expires_s: 0,
            target: &[1; 80],
            extras: Some(Box::new(Extras {
                abroad: Default::default(),
                watchers_max: 100_000,
                network: Network::SameEnterprise,
                delivery: Delivery::Benotify,
                piggyback: true,
                endpoint: None,
                registered: false,
                display_name: "",
                wish: Wish::Same,
            })),
            savers: None,
        }));
        assert!(matches!(outcome, Outcome::Subscribed { .. }), "{outcome:?}");
    }
}
