//! One machine and one publisher: signs endpoints in and out, publishes documents, shows what is held.

use std::collections::BTreeMap;

use bytes::BytesMut;
use shard::document::{batch_subscribe, categories, publish, roaming_self};
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_entry};
use shard::machine::command::{
    Act, Binding, Bindings, Command, Leader, PublishInstances, Register, Request, Ticket,
};
use shard::machine::effect::Effect;
use shard::machine::outcome::{Outcome, RequestKey};
use shard::presence::container::{Network, Watcher};
use shard::presence::endpoint_id::EndpointId;
use shard::presence::enhanced::Profile;
use shard::subscription::dialog::Format;
use shard::subscription::watch::{Action, Resource, Scope, Wish};
use shard::time::Timestamp;

use super::reading::{self, Held, Key};

/// The publisher.
pub const BOB: &str = "bob@contoso.com";

/// One publication, by the attributes of its document. Its version is the current one.
#[derive(Clone, Debug)]
pub struct Item {
    pub category: &'static str,
    pub container: u16,
    pub instance: u32,
    /// `expireType` and `expires`, as attributes; `expireType="static" expires="0"` removes.
    pub life: String,
    pub content: String,
}

/// The attributes of a removal.
pub const REMOVED: &str = "expireType=\"static\" expires=\"0\"";

/// A machine, its log position and its clock.
pub struct Stage {
    pub machine: Machine,
    index: u64,
    requests: u64,
}

impl Stage {
    /// A machine whose first term started at this time.
    pub fn start(at_ms: u64) -> Stage {
        let mut stage = Stage {
            machine: Machine::default(),
            index: 0,
            requests: 0,
        };
        stage.enter(
            at_ms,
            &Act::TermStart {
                leader: Leader { node: 1, life: 1 },
                salt: 0xabc,
            },
        );
        stage
    }

    fn enter(&mut self, at_ms: u64, act: &Act<'_>) -> Vec<Outcome> {
        let mut bytes = BytesMut::new();
        encode_entry(Timestamp(at_ms), act, &mut bytes);
        let entry = decode_entry(&bytes).expect("what was encoded is decoded");
        self.index += 1;
        let mut effects = Vec::new();
        self.machine.apply(self.index, &entry, &mut effects);
        let replies = effects.into_iter().filter_map(|effect| match effect {
            Effect::Reply { outcome, .. } => Some(outcome),
            Effect::Notify { .. } | Effect::Send { .. } => None,
        });
        replies.collect()
    }

    /// Lets time pass: an entry at each deadline, as a node proposes them, and one at the end.
    pub fn wait_until(&mut self, at_ms: u64) {
        while let Some(Timestamp(next)) = self.machine.next_deadline()
            && next <= at_ms
        {
            self.enter(next, &Act::Requests(Vec::new()));
        }
        self.enter(at_ms, &Act::Requests(Vec::new()));
    }

    /// One request.
    pub fn ask(&mut self, at_ms: u64, command: Command<'_>) -> Outcome {
        self.wait_until(at_ms);
        self.requests += 1;
        let act = Act::Requests(vec![Request {
            key: RequestKey(u128::from(self.requests) << 64 | u128::from(self.requests)),
            ticket: Ticket(self.requests),
            command,
        }]);
        let mut outcomes = self.enter(at_ms, &act);
        outcomes.pop().expect("each request is answered")
    }

    fn register(&mut self, at_ms: u64, endpoint: EndpointId, expires_s: u32) {
        let binding = u64::from_le_bytes(endpoint.0[..8].try_into().expect("eight bytes"));
        let outcome = self.ask(
            at_ms,
            Command::Register(Register {
                aor: BOB,
                call_id: binding,
                cseq: self.requests as u32 + 1,
                bindings: Bindings::Each(vec![Binding {
                    binding,
                    contact: "sip:bob@192.0.2.1",
                    instance: "urn:uuid:1",
                    q: 500,
                    path: "",
                    expires_s,
                    target: b"flow",
                    endpoint_id: Some(endpoint),
                }]),
                profile: Some(Profile::default()),
            }),
        );
        assert!(matches!(outcome, Outcome::Registered { .. }), "{outcome:?}");
    }

    pub fn sign_in(&mut self, at_ms: u64, endpoint: EndpointId) {
        self.register(at_ms, endpoint, 1_000_000);
    }

    pub fn sign_out(&mut self, at_ms: u64, endpoint: EndpointId) {
        self.register(at_ms, endpoint, 0);
    }

    /// Publishes a batch from an endpoint; it must be done.
    pub fn publish(&mut self, at_ms: u64, endpoint: EndpointId, items: &[Item]) {
        let outcome = self.try_publish(at_ms, endpoint, items);
        assert!(
            matches!(outcome, Ok(Outcome::InstancesPublished(_))),
            "{outcome:?}: {items:?}"
        );
    }

    /// Publishes a batch from an endpoint; an error when the document is refused.
    pub fn try_publish(
        &mut self,
        at_ms: u64,
        endpoint: EndpointId,
        items: &[Item],
    ) -> Result<Outcome, String> {
        self.wait_until(at_ms);
        let held = self.held();
        let publications: String = items
            .iter()
            .map(|item| {
                let key = (item.container, item.category.to_owned(), item.instance);
                let version = held.get(&key).map_or(0, |held| held.version);
                format!(
                    "<publication categoryName=\"{}\" container=\"{}\" instance=\"{}\" version=\"{version}\" {}>{}</publication>",
                    item.category, item.container, item.instance, item.life, item.content
                )
            })
            .collect();
        let document = format!(
            "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\">\
             <publications uri=\"sip:{BOB}\">{publications}</publications></publish>"
        );
        let mut buffer = Vec::new();
        let parsed =
            publish::parse(document.as_bytes(), &mut buffer).map_err(|error| error.to_string())?;
        Ok(self.ask(
            at_ms,
            Command::PublishInstances(PublishInstances {
                presentity: BOB,
                endpoint: Some(endpoint),
                category_bytes_max: 1 << 20,
                publications: parsed.publications(&buffer),
            }),
        ))
    }

    /// One's own data, as XML.
    pub fn own(&self) -> String {
        let watcher = Watcher {
            address: BOB,
            network: Network::SameEnterprise,
        };
        let wish = Wish::Own(Scope::CATEGORIES);
        let shown = self.machine.look(BOB, watcher, Format::RoamingSelf, &wish);
        let mut out = Vec::new();
        for view in &shown.views {
            roaming_self::compose(view, &mut out);
        }
        String::from_utf8(out).expect("a document is UTF-8")
    }

    /// What a watcher is shown of some categories, as XML.
    pub fn seen_by(&self, watcher: &str, of: &[&str]) -> String {
        let watcher = Watcher {
            address: watcher,
            network: Network::SameEnterprise,
        };
        let names: String = of
            .iter()
            .map(|name| format!("<category name=\"{name}\"/>"))
            .collect();
        let document = format!(
            "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" uri=\"sip:a@b\" name=\"\">\
             <action name=\"subscribe\" id=\"1\"><adhocList><resource uri=\"sip:{BOB}\"/></adhocList>\
             <categoryList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\">{names}</categoryList>\
             </action></batchSub>"
        );
        let asked = batch_subscribe::parse(document.as_bytes(), &mut Vec::new());
        let actions = asked.expect("a batch").into_iter().map(|asked| Action {
            subscribe: asked.subscribe,
            resources: vec![Resource {
                address: BOB,
                context: None,
            }],
            categories: asked.categories,
        });
        let wish = Wish::Categories(actions.collect());
        let shown = self
            .machine
            .look("alice@contoso.com", watcher, Format::Categories, &wish);
        let mut out = Vec::new();
        for view in &shown.views {
            categories::compose(view, &mut out);
        }
        String::from_utf8(out).expect("a document is UTF-8")
    }

    /// All instances.
    pub fn held(&self) -> BTreeMap<Key, Held> {
        reading::held(&self.own())
    }

    /// The content of one instance; nothing when there is none.
    pub fn content(&self, container: u16, category: &str, instance: u32) -> Option<String> {
        let held = self.held();
        let found = held.get(&(container, category.to_owned(), instance));
        found.map(|held| held.content.clone())
    }
}

/// An endpoint that is easily told from others.
pub fn endpoint(number: u8) -> EndpointId {
    EndpointId([number; 16])
}

/// Milliseconds of a time of the day on which every case plays, 2008-01-11.
pub fn at(hour: u64, minute: u64, second_ms: u64) -> u64 {
    1_200_009_600_000 + (hour * 60 + minute) * 60_000 + second_ms
}
