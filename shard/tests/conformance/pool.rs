//! One machine with a clock and short words for commands, so that a test reads like its clause.

use std::sync::Arc;

use bytes::BytesMut;
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_batch, encode_entry, encode_parcel};
use shard::machine::command::{
    Act, Binding, Bindings, Command, Leader, Publish, Register, Request, Resubscribe, Subscribe,
    Ticket,
};
use shard::machine::effect::{Effect, Notice, Shown, SubscriptionState};
use shard::machine::outcome::{Outcome, Refusal, RequestKey};
use shard::machine::parcel::{Parcel, key_of};
use shard::presence::endpoint::Endpoint;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::{Aor, Slot};
use shard::subscription::dialog::{DialogKey, EndReason, Format, LocalTag, Package};
use shard::subscription::view::{Seen, View};
use shard::time::Timestamp;

pub const ALICE: &str = "alice@example.com";
pub const BOB: &str = "bob@example.com";

/// When every test begins.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// A machine, its log position and its clock.
pub struct Pool {
    pub machine: Machine,
    index: u64,
    clock_ms: u64,
    requests: u64,
    /// Notifications of the last entry.
    pub told: Vec<(Arc<View>, Vec<Notice>)>,
    /// What the last entry has for other shards.
    pub sent: Vec<(Slot, u64, Arc<Parcel>)>,
    /// What rides in the last answer of the last entry.
    pub shown_in_answer: Option<Box<Shown>>,
}

impl Pool {
    /// A pool whose first term has started.
    pub fn start() -> Pool {
        let machine = Machine::default();
        let mut pool = Pool {
            machine,
            index: 0,
            clock_ms: BEGIN_MS,
            requests: 0,
            told: Vec::new(),
            sent: Vec::new(),
            shown_in_answer: None,
        };
        pool.lead(1);
        pool
    }

    /// Another pool's shard: its requests are others.
    pub fn start_other() -> Pool {
        let mut pool = Pool::start_beside();
        // Its log is shorter or longer than that of the first.
        pool.index += 1_000;
        pool
    }

    /// One whose log is as long.
    pub fn start_beside() -> Pool {
        let mut pool = Pool::start();
        pool.requests = 1 << 32;
        pool
    }

    /// The request with this number of another pool, as it comes here.
    pub fn ask_again(&mut self, number: u64, command: Command<'_>) -> Outcome {
        let mine = std::mem::replace(&mut self.requests, number - 1);
        let outcome = self.ask(command);
        self.requests = mine;
        outcome
    }

    /// Another replica goes on, which begins from a snapshot.
    pub fn restore(&mut self) {
        let mut bytes = Vec::new();
        self.machine.snapshot().write(&mut bytes).expect("written");
        self.machine = Machine::restore(&mut &bytes[..]).expect("read");
    }

    /// Where the log ends.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Lets node `node` begin to lead.
    pub fn lead(&mut self, node: u64) {
        self.enter(&Act::TermStart {
            leader: Leader { node, life: 1 },
            salt: 0xabc,
        });
    }

    /// Lets time pass, with an empty entry at its end.
    pub fn wait_ms(&mut self, ms: u64) {
        self.clock_ms += ms;
        self.ask_all(&[]);
    }

    pub fn wait_s(&mut self, s: u64) {
        self.wait_ms(s * 1_000);
    }

    fn enter(&mut self, act: &Act<'_>) -> Vec<Outcome> {
        let mut bytes = BytesMut::new();
        encode_entry(Timestamp(self.clock_ms), act, &mut bytes);
        self.enter_bytes(&bytes)
    }

    /// Logs a parcel of another shard, as a courier brings it.
    pub fn receive(&mut self, slot: Slot, number: u64, parcel: &Parcel) -> Outcome {
        let (mut request, mut entry) = (BytesMut::new(), BytesMut::new());
        self.requests += 1;
        // Far from the tickets and keys of clients. Not under the key of the parcel: what comes again long
        // after must do no harm either.
        let key = RequestKey(key_of(slot, number).0 ^ u128::from(self.requests) << 100);
        encode_parcel(parcel.command(), key, Ticket(u64::MAX), &mut request);
        encode_batch(Timestamp(self.clock_ms), 1, &[&request], &mut entry);
        self.enter_bytes(&entry).pop().expect("it is answered")
    }

    fn enter_bytes(&mut self, bytes: &[u8]) -> Vec<Outcome> {
        let entry = decode_entry(bytes).expect("what was encoded is decoded");
        self.index += 1;
        let mut effects = Vec::new();
        self.machine.apply(self.index, &entry, &mut effects);
        self.told.clear();
        self.sent.clear();
        let mut outcomes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply { outcome, shown, .. } => {
                    assert!(
                        self.told.is_empty(),
                        "an answer comes before the notifications"
                    );
                    outcomes.push(outcome);
                    self.shown_in_answer = shown;
                }
                Effect::Notify { view, notices } => self.told.push((view, notices)),
                Effect::Send {
                    slot,
                    number,
                    parcel,
                } => self.sent.push((slot, number, parcel)),
            }
        }
        outcomes
    }

    /// Several new requests in one entry.
    pub fn ask_all(&mut self, commands: &[Command<'_>]) -> Vec<Outcome> {
        let requests = commands.iter().map(|command| {
            self.requests += 1;
            let key = RequestKey(u128::from(self.requests) << 64 | u128::from(self.requests));
            Request {
                key,
                ticket: Ticket(self.requests),
                command: command.clone(),
            }
        });
        let act = Act::Requests(requests.collect());
        self.enter(&act)
    }

    /// One new request.
    pub fn ask(&mut self, command: Command<'_>) -> Outcome {
        self.ask_all(&[command])
            .pop()
            .expect("each request is answered")
    }

    /// The last request once more, as a client repeats it.
    pub fn repeat(&mut self, command: Command<'_>) -> Outcome {
        self.requests -= 1;
        self.ask(command)
    }

    /// The notices of the last entry.
    pub fn notices(&self) -> Vec<(DialogKey, u32, SubscriptionState)> {
        let notices = self.told.iter().flat_map(|(_, notices)| notices);
        notices
            .map(|notice| (notice.dialog, notice.cseq, notice.state))
            .collect()
    }

    /// What a fetch of Alice's presence shows.
    pub fn seen(&self) -> Vec<String> {
        contents(&self.machine.fetch(ALICE, Package::Presence))
    }

    /// What the only notification of the last entry showed.
    pub fn shown(&self) -> Vec<String> {
        let [(view, _)] = &self.told[..] else {
            panic!("{} notifications", self.told.len());
        };
        contents(view)
    }
}

/// The contents of a view, as they were published.
pub fn contents(view: &View) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Seen::Publications(contents) = &view.seen else {
        return Vec::new();
    };
    contents
        .iter()
        .map(|content| text(&content.stored))
        .collect()
}

/// PUBLISH for Alice.
pub fn publish<'a>(
    if_match: Option<EntityTag>,
    content: Option<&'a str>,
    expires_s: u32,
) -> Command<'a> {
    Command::Publish(Publish {
        presentity: ALICE,
        package: Package::Presence,
        if_match,
        content: content.map(str::as_bytes),
        expires_s,
        tag_policy: TagPolicy::Renew,
        bearing: Default::default(),
    })
}

/// The tag that a PUBLISH was answered with.
pub fn tag_of(outcome: &Outcome) -> EntityTag {
    match outcome {
        Outcome::Published { tag, .. } => *tag,
        other => panic!("not published: {other:?}"),
    }
}

/// SUBSCRIBE to Alice, opening the dialog with this number.
pub fn subscribe(dialog: u128, cseq: u32, expires_s: u32) -> Command<'static> {
    Command::Subscribe(Subscribe {
        presentity: ALICE,
        watcher: BOB,
        package: Package::Presence,
        format: Format::Pidf,
        dialog: DialogKey(dialog),
        local_tag: LocalTag::new(Slot::of(ALICE), 77),
        cseq,
        expires_s,
        route: b"route",
        target: b"target",
        extras: None,
        savers: None,
    })
}

/// SUBSCRIBE inside that dialog.
pub fn resubscribe(dialog: u128, cseq: u32, expires_s: u32) -> Command<'static> {
    let dialog = DialogKey(dialog);
    let slot = Slot::of(ALICE);
    Command::Resubscribe(Resubscribe {
        slot,
        dialog,
        cseq,
        expires_s,
        target: b"elsewhere",
        extras: None,
        savers: None,
    })
}

/// A NOTIFY inside that dialog failed.
pub fn end(dialog: u128, reason: EndReason) -> Command<'static> {
    Command::EndDialog {
        slot: Slot::of(ALICE),
        dialog: DialogKey(dialog),
        reason,
    }
}

/// The outcome of a granted SUBSCRIBE.
pub fn subscribed(expires_s: u32) -> Outcome {
    Outcome::Subscribed {
        local_tag: LocalTag::new(Slot::of(ALICE), 77),
        expires_s,
    }
}

/// REGISTER for Alice.
pub fn register(call_id: u64, cseq: u32, bindings: Bindings<'static>) -> Command<'static> {
    Command::Register(Register {
        aor: ALICE,
        call_id,
        cseq,
        bindings,
        profile: None,
    })
}

/// Binds the contact with this number.
pub fn bind(binding: u64, expires_s: u32) -> Binding<'static> {
    Binding {
        binding,
        contact: "sip:alice@192.0.2.1",
        instance: "urn:uuid:1",
        q: 500,
        path: "<sip:edge.example.com;lr>",
        expires_s,
        target: b"flow",
        endpoint_id: None,
    }
}

/// The bindings that a REGISTER was answered with: number and seconds left.
pub fn bound(outcome: &Outcome) -> Vec<(u64, u32)> {
    match outcome {
        Outcome::Registered { endpoints, at, .. } => {
            let left = |e: &Endpoint| (e.binding, e.expires_at.seconds_after(*at));
            endpoints.iter().map(left).collect()
        }
        other => panic!("not registered: {other:?}"),
    }
}

pub fn active(expires_s: u32) -> SubscriptionState {
    SubscriptionState::Active { expires_s }
}

pub fn terminated(reason: EndReason) -> SubscriptionState {
    SubscriptionState::Terminated(reason)
}

pub fn refused(refusal: Refusal) -> Outcome {
    Outcome::Refused(refusal)
}

/// The address of everything here.
pub fn alice() -> Aor {
    Aor::from_canonical(ALICE)
}
