//! What crosses shards (house D7): relays of one shard's presence into another's dialogs, and the ends of
//! endpoints. Two machines, and a courier that loses, doubles and delays.

use std::sync::Arc;

use shard::category::{Category, Meaning};
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_batch, encode_parcel};
use shard::machine::command::{
    Abroad, Act, Binding, Bindings, Command, Elsewhere, Extras, PublishInstances, Register,
    RelayWatch, Resubscribe, Sink, Subscribe, Ticket,
};
use shard::machine::crossing::decode_view;
use shard::machine::effect::SubscriptionState;
use shard::machine::outcome::{Outcome, RequestKey};
use shard::machine::parcel::{Destination, Parcel};
use shard::presence::container::{ContainerChange, Member, MemberChange, Network};
use shard::presence::endpoint_id::EndpointId;
use shard::presence::enhanced::Profile;
use shard::presence::instance::{Body, Deed, Publication, Wished};
use shard::slot::Slot;
use shard::subscription::dialog::{
    Away, Delivery, DialogKey, EndReason, Format, LocalTag, Package,
};
use shard::subscription::view::Seen;
use shard::subscription::watch::Wish;
use shard::time::Timestamp;

use crate::pool::{ALICE, BOB, Pool, publish};

const NOTE: Category = Category::Note;
const STATE: Category = Category::State;
const DIALOG: DialogKey = DialogKey(77);
const ENDPOINT: EndpointId = EndpointId([7; 16]);

/// A parcel in somebody's hands.
type Sent = (Slot, u64, Arc<Parcel>);

/// A SUBSCRIBE's or a refresh's extras: Alice is watched in another shard.
fn extras(abroad: Abroad<'static>, wish: Wish<'static>) -> Option<Box<Extras<'static>>> {
    Some(Box::new(Extras {
        network: Network::SameEnterprise,
        delivery: Delivery::Benotify,
        piggyback: true,
        endpoint: Some(ENDPOINT),
        registered: false,
        display_name: "Bob",
        wish,
        watchers_max: 100_000,
        abroad,
    }))
}

fn away(deed: Away) -> Abroad<'static> {
    let context = matches!(deed, Away::Watch(_)).then_some(&b"<why/>"[..]);
    Abroad {
        registered_at: None,
        resources: vec![Elsewhere {
            address: ALICE,
            context,
            deed,
        }],
    }
}

/// Bob's batch, which lives in his shard, with Alice, who lives in another one.
fn batch(expires_s: u32) -> Command<'static> {
    Command::Subscribe(Subscribe {
        presentity: BOB,
        watcher: BOB,
        package: Package::Categories,
        format: Format::Categories,
        dialog: DIALOG,
        local_tag: LocalTag::new(Slot::of(BOB), 7),
        cseq: 1,
        expires_s,
        route: b"route",
        target: b"target",
        extras: extras(
            away(Away::Watch(vec![NOTE, STATE])),
            Wish::Categories(Vec::new()),
        ),
        savers: None,
    })
}

fn again(cseq: u32, expires_s: u32, abroad: Abroad<'static>) -> Command<'static> {
    let wish = if abroad.resources.is_empty() {
        Wish::Same
    } else {
        Wish::Categories(Vec::new())
    };
    Command::Resubscribe(Resubscribe {
        slot: Slot::of(BOB),
        dialog: DIALOG,
        cseq,
        expires_s,
        target: b"target",
        extras: extras(abroad, wish),
        savers: None,
    })
}

/// Alice's note in a container, which begins at version 0.
fn note(container: u16, version: u32, xml: &'static [u8]) -> Command<'static> {
    Command::PublishInstances(PublishInstances {
        presentity: ALICE,
        endpoint: None,
        category_bytes_max: 100_000,
        publications: vec![Publication {
            category: NOTE,
            container,
            number: 0,
            version,
            deed: Deed::Set {
                life: Wished::Static,
                xml,
                meaning: Meaning::Opaque,
            },
        }],
    })
}

fn member(container: u16, version: u32) -> Command<'static> {
    Command::SetMembers {
        presentity: ALICE,
        changes: vec![ContainerChange {
            id: container,
            version,
            members: vec![MemberChange::Add(Member::User(BOB.into()))],
        }],
        members_max: 100,
    }
}

/// The sink's shard, with Bob and his dialog; the source's, with Alice.
struct Shards {
    sink: Pool,
    source: Pool,
}

/// What one shard has just said to the other.
fn sent(pool: &mut Pool) -> Vec<Sent> {
    std::mem::take(&mut pool.sent)
}

fn only(pool: &mut Pool) -> Sent {
    let mut sent = sent(pool);
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

fn receive(pool: &mut Pool, (slot, number, parcel): &Sent) {
    assert_eq!(pool.receive(*slot, *number, parcel), Outcome::Ended);
}

/// The one who sent is told that it arrived.
fn delivered(pool: &mut Pool, (slot, number, _): &Sent) {
    let parcels = vec![(*slot, *number)];
    assert_eq!(pool.ask(Command::Delivered { parcels }), Outcome::Ended);
}

impl Shards {
    /// Bob watches; nothing was said to him yet.
    fn watching(expires_s: u32) -> Shards {
        let (mut sink, mut source) = (Pool::start(), Pool::start());
        source.ask(note(0, 0, b"<for-all/>"));
        let outcome = sink.ask(batch(expires_s));
        assert!(matches!(outcome, Outcome::Piggybacked { expires_s: s, .. } if s == expires_s));
        let shown = sink.shown_in_answer.take().expect("an answer");
        assert!(shown.views.is_empty() && shown.over_quota.is_empty());
        let watch = only(&mut sink);
        assert_eq!(watch.2.to, Destination::Slot(Slot::of(ALICE)));
        receive(&mut source, &watch);
        delivered(&mut sink, &watch);
        Shards { sink, source }
    }

    /// The same, and he was told once.
    fn told(expires_s: u32) -> Shards {
        let mut shards = Shards::watching(expires_s);
        assert_eq!(
            shards.cross(),
            [("note", "<for-all/>".to_owned()), ("state", String::new())]
        );
        shards
    }

    /// What the source said last reaches the sink; what Bob is told then.
    fn cross(&mut self) -> Vec<(&'static str, String)> {
        let relayed = only(&mut self.source);
        receive(&mut self.sink, &relayed);
        let told = heard(&self.sink);
        delivered(&mut self.source, &relayed);
        told
    }

    fn watches(&self) -> usize {
        self.source
            .machine
            .report(ALICE)
            .map_or(0, |report| report.watchers.len())
    }
}

/// What Bob was told by the last entry: categories, with the note's text.
fn heard(sink: &Pool) -> Vec<(&'static str, String)> {
    let mut heard = Vec::new();
    for (view, notices) in &sink.told {
        assert_eq!((view.presentity.as_str(), notices.len()), (ALICE, 1));
        assert_eq!(notices[0].dialog, DIALOG);
        let Seen::Categories(seen) = &view.seen else {
            panic!("{view:?}");
        };
        for (category, instances) in seen {
            let text = instances.iter().map(|instance| match &instance.body {
                Body::Published { xml, .. } => String::from_utf8_lossy(xml).into_owned(),
                Body::Computed(_) => String::new(),
            });
            let name = if *category == NOTE { "note" } else { "state" };
            heard.push((name, text.collect()));
        }
    }
    heard
}

/// Restored from its snapshot, a machine is what it was.
fn check_snapshot(pool: &Pool) {
    let mut bytes = Vec::new();
    pool.machine.snapshot().write(&mut bytes).expect("written");
    let restored = Machine::restore(&mut &bytes[..]).expect("restored");
    assert_eq!(restored.counts(), pool.machine.counts());
    for address in [ALICE, BOB] {
        let audit = u64::from(Slot::of(address).number()) * 4_096;
        assert_eq!(restored.attest(audit), pool.machine.attest(audit));
    }
}

/// What a watcher is told of somebody in another shard: everything at first, then what changed; once.
#[test]
fn a_change_is_relayed_and_told_once() {
    let mut shards = Shards::told(600);
    let report = shards.source.machine.report(ALICE).expect("alice");
    let subscribers = report.enhanced.expect("claimed").subscribers;
    assert_eq!(
        subscribers.iter().len(),
        1,
        "and Bob was introduced with his watch"
    );

    shards.source.ask(note(0, 1, b"<again/>"));
    let relayed = only(&mut shards.source);
    receive(&mut shards.sink, &relayed);
    assert_eq!(heard(&shards.sink), [("note", "<again/>".to_owned())]);
    receive(&mut shards.sink, &relayed);
    assert_eq!(heard(&shards.sink), [], "twice");

    // Overtaken: only the last of what waits is kept, and what was handed out before comes late.
    shards.source.ask(note(0, 2, b"<older/>"));
    let older = only(&mut shards.source);
    shards.source.ask(note(0, 3, b"<newer/>"));
    let newer = only(&mut shards.source);
    assert_eq!(shards.source.machine.counts().parcels, 1);
    receive(&mut shards.sink, &newer);
    assert_eq!(heard(&shards.sink), [("note", "<newer/>".to_owned())]);
    receive(&mut shards.sink, &older);
    assert_eq!(heard(&shards.sink), []);

    // A new leader of either has what it needs: the one what was not delivered, the other what it told.
    check_snapshot(&shards.source);
    check_snapshot(&shards.sink);
    shards.source.lead(2);
    assert_eq!(only(&mut shards.source).1, newer.1);
    delivered(&mut shards.source, &newer);
    shards.source.lead(3);
    assert_eq!(sent(&mut shards.source).len(), 0);
    shards.sink.lead(2);
    assert_eq!(
        heard(&shards.sink),
        [("note", "<newer/>".to_owned()), ("state", String::new())]
    );
}

//= MS-PRES 1.3.1.3.4
//= type=test
//# who may see something is decided where it is published: what a watcher may not see does not leave
#[test]
fn what_a_watcher_may_not_see_does_not_cross() {
    let mut shards = Shards::told(600);
    shards.source.ask(note(300, 0, b"<secret/>"));
    assert_eq!(
        sent(&mut shards.source).len(),
        0,
        "nothing that Bob sees has changed"
    );
    shards.source.ask(member(300, 0));
    let relayed = only(&mut shards.source);
    receive(&mut shards.sink, &relayed);
    assert_eq!(heard(&shards.sink)[0], ("note", "<secret/>".to_owned()));
    delivered(&mut shards.source, &relayed);
    // Blocked: everything, also what all see, is gone.
    shards.source.ask(member(32_000, 0));
    let relayed = only(&mut shards.source);
    let crossed = String::from_utf8_lossy(relayed.2.command()).into_owned();
    assert!(
        !crossed.contains("secret") && !crossed.contains("for-all"),
        "{crossed}"
    );
    receive(&mut shards.sink, &relayed);
    assert_eq!(heard(&shards.sink)[0], ("note", String::new()));
    shards.source.ask(note(300, 1, b"<more-secret/>"));
    assert_eq!(sent(&mut shards.source).len(), 0);
}

/// Either side ends, and the other one cleans up; also when the word about it comes late or not at all.
#[test]
fn what_nobody_listens_to_ends() {
    for (name, end) in [
        ("unsubscribed", again(2, 0, Abroad::default())),
        (
            "its one member dropped",
            again(2, 600, away(Away::Unwatch(vec![NOTE, STATE]))),
        ),
        (
            "refused",
            Command::EndDialog {
                slot: Slot::of(BOB),
                dialog: DIALOG,
                reason: EndReason::Unreachable,
            },
        ),
    ] {
        let mut shards = Shards::told(600);
        shards.sink.ask(end);
        let ended = only(&mut shards.sink);
        assert_eq!(shards.watches(), 1);
        // What the source says meanwhile finds nobody, and it hears of that too.
        shards.source.ask(note(0, 1, b"<again/>"));
        let late = only(&mut shards.source);
        receive(&mut shards.sink, &late);
        assert_eq!(heard(&shards.sink), [], "{name}");
        let (first, second) = (ended, only(&mut shards.sink));
        for word in [&first, &second] {
            receive(&mut shards.source, word);
            assert_eq!(shards.watches(), 0, "{name}");
        }
    }
    // Nobody says anything: the watch ends with its time, a little after the dialog's.
    let mut shards = Shards::told(600);
    for (wait_s, watches) in [(600, 1), (59, 1), (2, 0)] {
        shards.source.wait_s(wait_s);
        assert_eq!(shards.watches(), watches, "after {wait_s} s more");
    }
    assert_eq!(sent(&mut shards.source).len(), 0);
    // And some of its categories.
    let mut shards = Shards::told(600);
    shards
        .sink
        .ask(again(2, 600, away(Away::Unwatch(vec![NOTE]))));
    let narrowed = only(&mut shards.sink);
    receive(&mut shards.source, &narrowed);
    assert_eq!(shards.cross(), [], "nothing new to see");
    shards.source.ask(note(0, 1, b"<again/>"));
    assert_eq!(sent(&mut shards.source).len(), 0);
}

/// At half of its life a watch is renewed, and mended if anything was lost.
#[test]
fn a_watch_is_renewed_at_half_of_its_life() {
    let mut shards = Shards::told(600);
    shards.sink.wait_s(299);
    assert_eq!(sent(&mut shards.sink).len(), 0);
    // The source has lost everything, and begins anew with another note.
    shards.source = Pool::start();
    shards.source.ask(note(0, 0, b"<mended/>"));
    shards.sink.wait_s(2);
    let renewed = only(&mut shards.sink);
    receive(&mut shards.source, &renewed);
    delivered(&mut shards.sink, &renewed);
    assert_eq!(shards.cross(), [("note", "<mended/>".to_owned())]);
    // The dialog still ends when it should, and says so.
    shards.sink.wait_s(150);
    assert_eq!(sent(&mut shards.sink).len(), 1, "half of what was left");
    shards.sink.wait_s(150);
    assert_eq!(shards.sink.machine.counts().dialogs, 0);
    let ended = SubscriptionState::Terminated(EndReason::Timeout);
    assert_eq!(
        shards.sink.notices().last().map(|notice| notice.2),
        Some(ended)
    );
}

/// A refresh shows what is known at once, and asks for what was lost.
#[test]
fn a_refresh_shows_what_is_known() {
    let mut shards = Shards::told(600);
    shards.sink.ask(again(2, 900, Abroad::default()));
    let shown = shards.sink.shown_in_answer.take().expect("an answer");
    assert_eq!(shown.views.len(), 1);
    assert!(matches!(&shown.views[0].seen, Seen::Categories(seen) if seen.len() == 2));
    let asked = only(&mut shards.sink);
    receive(&mut shards.source, &asked);
    assert_eq!(shards.cross(), [], "it is as it was");
    shards.source.wait_s(900);
    assert_eq!(shards.watches(), 1, "and lives as long as the dialog");
}

//= MS-PRES 3.4.5.1.3.1
//= type=test
//# a resource with too many watchers is not watched, across shards as within one
#[test]
fn the_limit_of_watchers_is_kept_where_they_are_counted() {
    let mut shards = Shards::told(600);
    for (number, watchers_max, watches) in [(1, 1, 1), (2, 2, 2)] {
        let watch = RelayWatch {
            presentity: ALICE,
            sink: Sink {
                slot: Slot::of(BOB),
                dialog: DialogKey(number),
            },
            generation: 9,
            watcher: "carol@example.com",
            network: Network::SameEnterprise,
            display_name: "",
            context: None,
            format: Format::Categories,
            categories: vec![NOTE],
            expires_s: 60,
            watchers_max,
        };
        shards.source.ask(Command::RelayWatch(watch));
        assert_eq!(sent(&mut shards.source).len(), 1, "it is answered");
        assert_eq!(shards.watches(), watches);
    }
    // Who hears that forgets the member: its watch is not renewed.
    let mut shards = Shards::watching(600);
    sent(&mut shards.source);
    let mut refusing = Pool::start();
    shards.sink.wait_s(301);
    let (slot, number, asked) = only(&mut shards.sink);
    let mut request = bytes::BytesMut::new();
    encode_parcel(asked.command(), RequestKey(1), Ticket(1), &mut request);
    let mut entry = bytes::BytesMut::new();
    encode_batch(Timestamp(1), 1, &[&request], &mut entry);
    let read = decode_entry(&entry).expect("a request");
    let Act::Requests(requests) = read.act else {
        panic!("requests");
    };
    let Command::RelayWatch(mut watch) = requests[0].command.clone() else {
        panic!("{requests:?}");
    };
    watch.watchers_max = 0;
    refusing.ask(Command::RelayWatch(watch));
    let refused = only(&mut refusing);
    receive(&mut shards.sink, &refused);
    delivered(&mut shards.sink, &(slot, number, asked));
    shards.sink.wait_s(200);
    assert_eq!(sent(&mut shards.sink).len(), 0);
}

/// A list of documents uses the same relays: a view is whatever its format makes of it.
#[test]
fn documents_are_relayed_as_categories_are() {
    let mut source = Pool::start();
    source.ask(publish(None, Some("<here/>"), 600));
    let watch = |format| {
        Command::RelayWatch(RelayWatch {
            presentity: ALICE,
            sink: Sink {
                slot: Slot::of(BOB),
                dialog: DIALOG,
            },
            generation: 9,
            watcher: BOB,
            network: Network::SameEnterprise,
            display_name: "",
            context: None,
            format,
            categories: Vec::new(),
            expires_s: 600,
            watchers_max: 10,
        })
    };
    for own in [
        Format::RoamingSelf,
        Format::RoamingContacts,
        Format::Registration,
    ] {
        source.ask(watch(own));
        assert_eq!(
            source.machine.counts().dialogs,
            0,
            "nobody's own data crosses"
        );
    }
    source.ask(watch(Format::Pidf));
    for (revision, text) in [(1, "<here/>"), (2, "<gone/>")] {
        let (.., parcel) = only(&mut source);
        let mut request = bytes::BytesMut::new();
        encode_parcel(parcel.command(), RequestKey(1), Ticket(1), &mut request);
        let mut entry = bytes::BytesMut::new();
        encode_batch(Timestamp(1), 1, &[&request], &mut entry);
        let Act::Requests(requests) = decode_entry(&entry).expect("a request").act else {
            panic!("requests");
        };
        let Command::Relayed(relayed) = &requests[0].command else {
            panic!("{requests:?}");
        };
        assert_eq!((relayed.generation, relayed.revision), (9, revision));
        let view = decode_view(relayed.view.expect("a view")).expect("a view");
        let texts = crate::pool::contents(&view);
        assert_eq!(texts.last().map(String::as_str), Some(text));
        source.ask(publish(None, Some("<gone/>"), 600));
    }
}

fn register(expires_s: u32, cseq: u32) -> Command<'static> {
    Command::Register(Register {
        aor: BOB,
        call_id: 5,
        cseq,
        bindings: Bindings::Each(vec![Binding {
            binding: 1,
            contact: "sip:bob@192.0.2.4",
            instance: "",
            q: 1_000,
            path: "",
            expires_s,
            target: b"flow",
            endpoint_id: Some(ENDPOINT),
        }]),
        profile: Some(Profile::default()),
    })
}

/// Bob's subscription to Alice, in her shard; with when he registered, if that is known.
fn single(dialog: u128, registered_at: Option<Timestamp>) -> Command<'static> {
    let abroad = Abroad {
        registered_at,
        resources: Vec::new(),
    };
    let action = shard::subscription::watch::Action {
        subscribe: true,
        resources: vec![shard::subscription::watch::Resource {
            address: ALICE,
            context: None,
        }],
        categories: vec![NOTE],
    };
    Command::Subscribe(Subscribe {
        presentity: ALICE,
        watcher: BOB,
        package: Package::Categories,
        format: Format::Categories,
        dialog: DialogKey(dialog),
        local_tag: LocalTag::new(Slot::of(ALICE), dialog as u64),
        cseq: 1,
        expires_s: 3_600,
        route: b"route",
        target: b"target",
        extras: extras(abroad, Wish::Categories(vec![action])),
        savers: None,
    })
}

//= MS-SIPREGE 3.2.2.5
//= type=test
//# what ends an endpoint ends its dialogs in other shards: a word, or its time; not those of who came back
#[test]
fn the_end_of_an_endpoint_reaches_its_dialogs_everywhere() {
    for (name, registers_s, end) in [
        ("signs out", 600, Some(register(0, 2))),
        ("expires", 60, None),
        (
            "loses its connection",
            600,
            Some(Command::EndEndpoint {
                presentity: BOB,
                endpoint: ENDPOINT,
                target: b"flow",
            }),
        ),
    ] {
        let mut home = Pool::start();
        let mut others = [Pool::start(), Pool::start()];
        home.ask(register(registers_s, 1));
        let first = home.machine.now();
        // In his own shard, though not with his address, and in others; known when, and not known.
        home.ask(single(1, Some(first)));
        others[0].ask(single(2, Some(first)));
        others[1].ask(single(2, None));
        for pool in others.iter_mut().chain([&mut home]) {
            pool.wait_s(61);
        }
        if let Some(end) = end {
            home.ask(end);
        }
        assert_eq!(home.machine.counts().dialogs, 0, "{name}: at home at once");
        assert_eq!(home.machine.counts().parcels, 1, "{name}");
        check_snapshot(&home);
        home.lead(2);
        let gone = only(&mut home);
        assert_eq!(gone.2.to, Destination::Every, "{name}");
        home.wait_ms(1);
        home.ask(register(600, 3));
        let second = home.machine.now();
        for (other, registered_at) in others.iter_mut().zip([Some(second), None]) {
            let mut late = gone.clone();
            receive(other, &late);
            assert_eq!(other.machine.counts().dialogs, 0, "{name}");
            assert!(other.told.is_empty(), "nobody is there to be told");
            // He has come back, and the word of his end comes again: what he has opened since is his.
            other.ask(single(4, registered_at));
            for _ in 0..2 {
                late.1 += 1;
                receive(other, &late);
                assert_eq!(other.machine.counts().dialogs, 1, "{name}");
                check_snapshot(other);
            }
        }
        delivered(&mut home, &gone);
        assert_eq!(home.machine.counts().parcels, 0);
    }
}

/// Whoever is told where to ask is made known all the same, by the entry that told it.
#[test]
fn an_introduction_is_part_of_the_subscription() {
    let (mut sink, mut source) = (Pool::start(), Pool::start());
    source.ask(note(0, 0, b"<for-all/>"));
    let mut abroad = away(Away::Hinted);
    abroad.resources[0].context = Some(b"<why/>");
    let Command::Subscribe(mut subscribe) = batch(600) else {
        unreachable!("it is a SUBSCRIBE");
    };
    subscribe.extras = extras(abroad, Wish::Categories(Vec::new()));
    // Nobody is watched here, so no dialog is kept, and it is made known all the same.
    sink.ask(Command::Subscribe(subscribe));
    assert_eq!(sink.machine.counts().dialogs, 0);
    let introduction = only(&mut sink);
    for _ in 0..2 {
        receive(&mut source, &introduction);
        let report = source.machine.report(ALICE).expect("alice");
        let subscribers = report.enhanced.expect("claimed").subscribers;
        assert_eq!(subscribers.iter().len(), 1);
    }
}
