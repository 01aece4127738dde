//! What the benches share: the messages and states that they measure, alike in all of them.

pub mod team;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use shard::document::pidf;
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_entry};
use shard::machine::command::{Act, Command, Leader, Publish, Request, Subscribe, Ticket};
use shard::machine::effect::Effect;
use shard::machine::outcome::{Outcome, RequestKey};
use shard::presence::bearing::Bearing;
use shard::presence::package::Package;
use shard::presence::publication::{Content, EntityTag, TagPolicy};
use shard::slot::{Aor, Slot};
use shard::subscription::dialog::{DialogKey, Format, LocalTag};
use shard::subscription::view::{Seen, View};
use shard::time::Timestamp;

/// A document of 490 bytes, as the side-by-side benchmark publishes it.
pub const DOCUMENT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
    xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
    entity=\"sip:p0000001@bench.test\"><tuple id=\"t1\"><status><basic>open</basic></status>\
    <contact priority=\"0.8\">sip:p0000001@bench.test</contact><note>seq=0000000001</note></tuple>\
    <dm:person id=\"p1\"><rpid:activities><rpid:away/></rpid:activities><dm:note>Working until 5pm today</dm:note></dm:person></presence>";

/// A PUBLISH of some 900 bytes.
#[must_use]
pub fn publish_message() -> Bytes {
    Bytes::from(format!(
        "PUBLISH sip:p0000001@bench.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:40000;rport;branch=z9hG4bKx00000001000001\r\n\
         Max-Forwards: 70\r\nFrom: <sip:p0000001@bench.test>;tag=tp0000001\r\nTo: <sip:p0000001@bench.test>\r\n\
         Call-ID: p0000001-00000001\r\nCSeq: 7 PUBLISH\r\nContact: <sip:p0000001@127.0.0.1:40000>\r\nEvent: presence\r\n\
         Expires: 3600\r\nSIP-If-Match: 0a0b0c0d-1f-0\r\nContent-Type: application/pidf+xml\r\nContent-Length: {}\r\n\r\n{DOCUMENT}",
        DOCUMENT.len()
    ))
}

/// A view of one publication.
#[must_use]
pub fn view() -> View {
    let stored = pidf::parse(DOCUMENT.as_bytes())
        .expect("a presence document")
        .into();
    View {
        presentity: Aor::sip("p0000001", "bench.test"),
        package: Package::Presence,
        revision: 1,
        taken_at: Timestamp(1),
        seen: Seen::Publications(
            std::iter::once(Arc::new(Content {
                stored,
                published_at: Timestamp(1),
                number: 0,
                bearing: Bearing::default(),
            }))
            .collect(),
        ),
    }
}

/// A machine with one presentity that has published and has so many watchers.
pub struct Stage {
    /// The machine.
    pub machine: Machine,
    /// The content that is published.
    pub stored: Vec<u8>,
    tag: EntityTag,
    index: u64,
    effects: Vec<Effect>,
}

const PRESENTITY: &str = "p0000001@bench.test";

impl Stage {
    /// Sets it up.
    #[must_use]
    pub fn new(watchers: u64) -> Stage {
        let mut stage = Stage {
            machine: Machine::default(),
            stored: pidf::parse(DOCUMENT.as_bytes()).expect("a presence document"),
            tag: EntityTag {
                salt: 0,
                index: 0,
                position: 0,
            },
            index: 0,
            effects: Vec::new(),
        };
        stage.apply(&Act::TermStart {
            leader: Leader { node: 1, life: 1 },
            salt: 7,
        });
        for watcher in 0..watchers {
            let slot = Slot::of(PRESENTITY);
            let command = Command::Subscribe(Subscribe {
                presentity: PRESENTITY,
                watcher: "w0000001@bench.test",
                package: Package::Presence,
                format: Format::Pidf,
                dialog: DialogKey(u128::from(watcher) + 1),
                local_tag: LocalTag::new(slot, watcher),
                cseq: 1,
                expires_s: 3_600,
                route: &[1; 160],
                target: &[1; 80],
                extras: None,
                savers: None,
            });
            stage.request(u128::from(watcher) + 1_000_000, command);
        }
        stage.publish();
        stage
    }

    fn apply(&mut self, act: &Act<'_>) {
        let mut bytes = BytesMut::new();
        encode_entry(Timestamp(1_000_000 + self.index), act, &mut bytes);
        let entry = decode_entry(&bytes).expect("our own entry");
        self.index += 1;
        self.effects.clear();
        self.machine.apply(self.index, &entry, &mut self.effects);
    }

    fn request(&mut self, key: u128, command: Command<'_>) {
        self.apply(&Act::Requests(vec![Request {
            key: RequestKey(key),
            ticket: Ticket(1),
            command,
        }]));
    }

    /// Publishes anew: modifies what was published before. Returns how many were notified.
    pub fn publish(&mut self) -> usize {
        let stored = std::mem::take(&mut self.stored);
        let command = Command::Publish(Publish {
            presentity: PRESENTITY,
            package: Package::Presence,
            if_match: (self.tag.index > 0).then_some(self.tag),
            content: Some(&stored),
            expires_s: 3_600,
            tag_policy: TagPolicy::Renew,
            bearing: Default::default(),
        });
        self.request(u128::from(self.index) << 64, command);
        self.stored = stored;
        let mut notified = 0;
        for effect in &self.effects {
            match effect {
                Effect::Reply {
                    outcome: Outcome::Published { tag, .. },
                    ..
                } => self.tag = *tag,
                Effect::Reply { outcome, .. } => panic!("not published: {outcome:?}"),
                Effect::Notify { notices, .. } => notified += notices.len(),
                Effect::Send { .. } => {}
            }
        }
        notified
    }
}
