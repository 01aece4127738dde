//! Publications by name, on the machine as a whole: what a source says replaces what it said, and nothing
//! that anybody else did.

use bytes::BytesMut;
use shard::category::{Category, Meaning};
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_entry};
use shard::machine::command::{Act, Command, Entry, PublishSource, Request, Ticket};
use shard::machine::outcome::{Outcome, Refusal, RequestKey};
use shard::presence::bearing::{Bearing, Device, Doing};
use shard::presence::instance::{Body, Deed, Publication, Wished};
use shard::presence::publication::EntityTag;
use shard::presence::source::Condition;
use shard::time::Timestamp;

use crate::pool::{ALICE, Pool, publish, refused, subscribe, tag_of};
use shard::presence::enhanced::Profile;

fn source<'a>(name: &'a str, condition: Condition, content: Option<&'a str>) -> Command<'a> {
    Command::PublishSource(PublishSource {
        presentity: ALICE,
        source: name,
        condition,
        content: content.map(str::as_bytes),
        expires_s: 600,
        bearing: Default::default(),
        instances: Vec::new(),
        category_bytes_max: 10_000,
    })
}

fn note(text: &'static [u8], seconds: u32) -> Publication<'static> {
    Publication {
        category: Category::Note,
        container: 300,
        number: 7,
        version: 0,
        deed: Deed::Set {
            life: Wished::Seconds(seconds),
            xml: text,
            meaning: Meaning::Opaque,
        },
    }
}

fn with(instances: Vec<Publication<'static>>) -> Command<'static> {
    Command::PublishSource(PublishSource {
        presentity: ALICE,
        source: "pbx",
        condition: Condition::Any,
        content: None,
        expires_s: 600,
        bearing: Default::default(),
        instances,
        category_bytes_max: 40,
    })
}

/// The notes of Alice in container 300: number, version, text.
fn notes(pool: &Pool) -> Vec<(u32, u32, String)> {
    let report = pool.machine.report(ALICE).expect("something is kept");
    let enhanced = report.enhanced.expect("enhanced");
    let held = enhanced.instances.at(&Category::Note, 300).iter();
    held.map(|held| {
        let text = match &held.body {
            Body::Published { xml, .. } => String::from_utf8_lossy(xml).into_owned(),
            Body::Computed(_) => "computed".to_owned(),
        };
        (held.number, held.version, text)
    })
    .collect()
}

//= RFC 3903 4.2
//= type=test
//= RFC 3903 4.4
//= type=test
#[test]
fn a_source_has_one_publication_whoever_speaks_for_it() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("phone"), 3_600));
    pool.ask(subscribe(1, 1, 3_600));
    pool.ask(source("pbx", Condition::Any, Some("busy")));
    assert_eq!(pool.shown(), ["phone", "busy"]);
    let second = tag_of(&pool.ask(source("pbx", Condition::Any, Some("talking"))));
    assert_eq!(pool.shown(), ["phone", "talking"]);
    // The same again: it lives on under a new tag, and nobody is told.
    let third = tag_of(&pool.ask(source("pbx", Condition::Any, Some("talking"))));
    assert!(third != second && pool.told.is_empty());
    pool.ask(source("calendar", Condition::Any, Some("meeting")));
    assert_eq!(pool.seen(), ["phone", "talking", "meeting"]);
    pool.ask(source("pbx", Condition::Any, None));
    assert_eq!(pool.shown(), ["phone", "meeting"]);
    // Nothing is nothing again.
    assert!(matches!(
        pool.ask(source("pbx", Condition::Any, None)),
        Outcome::Published { .. }
    ));
    assert!(pool.told.is_empty());
    pool.wait_s(600);
    assert_eq!(pool.seen(), ["phone"], "and it ends like any other");
}

//= RFC 3903 6
//= type=test
#[test]
fn a_condition_that_does_not_hold_changes_nothing() {
    let wrong = EntityTag {
        salt: 1,
        index: 2,
        position: 3,
    };
    for (name, there, condition, holds) in [
        ("the tag", true, None, true),
        ("another tag", true, Some(Condition::Tag(wrong)), false),
        (
            "a tag of nothing",
            false,
            Some(Condition::Tag(wrong)),
            false,
        ),
        ("it lives", true, Some(Condition::Lives), true),
        ("it does not", false, Some(Condition::Lives), false),
        ("it is absent", false, Some(Condition::Absent), true),
        ("it is not", true, Some(Condition::Absent), false),
    ] {
        let mut pool = Pool::start();
        pool.ask(source("other", Condition::Any, Some("o")));
        let tag = there.then(|| tag_of(&pool.ask(source("pbx", Condition::Any, Some("a")))));
        let condition = condition.or(tag.map(Condition::Tag)).expect("a condition");
        let before = pool.seen();
        let outcome = pool.ask(source("pbx", condition, Some("b")));
        if holds {
            assert!(matches!(outcome, Outcome::Published { .. }), "{name}");
            assert_eq!(pool.seen(), ["o", "b"], "{name}");
        } else {
            assert_eq!(outcome, refused(Refusal::NoMatch), "{name}");
            assert_eq!(pool.seen(), before, "{name}");
        }
    }
}

#[test]
fn instances_are_kept_where_containers_rule_and_told_when_they_change() {
    let mut pool = Pool::start();
    pool.ask(with(vec![note(b"<plain/>", 600)]));
    let enhanced = pool
        .machine
        .report(ALICE)
        .and_then(|report| report.enhanced);
    assert!(enhanced.is_none(), "a telephone's user stays one");

    pool.ask(Command::SetProfile {
        presentity: ALICE,
        profile: Profile::default(),
    });
    pool.ask(with(vec![note(b"<a/>", 600)]));
    assert_eq!(notes(&pool), [(7, 1, "<a/>".to_owned())]);
    pool.wait_s(300);
    pool.ask(with(vec![note(b"<a/>", 600)]));
    assert_eq!(notes(&pool), [(7, 1, "<a/>".to_owned())], "no new version");
    pool.wait_s(400);
    assert_eq!(notes(&pool).len(), 1, "but a longer life");
    pool.ask(with(vec![note(b"<b/>", 600)]));
    assert_eq!(notes(&pool), [(7, 2, "<b/>".to_owned())]);

    // Over the limit nothing is done, neither here nor to the document.
    let long = b"<long>0123456789012345678901234567890123456789</long>";
    assert_eq!(
        pool.ask(with(vec![note(long, 600)])),
        refused(Refusal::CategoryTooLarge)
    );
    assert_eq!(notes(&pool), [(7, 2, "<b/>".to_owned())]);
    let removal = Publication {
        deed: Deed::Remove,
        ..note(b"", 0)
    };
    pool.ask(with(vec![removal]));
    assert!(notes(&pool).is_empty());
    pool.ask(with(vec![note(b"<c/>", 60)]));
    pool.wait_s(60);
    assert!(notes(&pool).is_empty(), "what is bound to a time ends");
}

#[test]
fn a_snapshot_keeps_the_names_of_sources() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("phone"), 3_600));
    let tag = tag_of(&pool.ask(source("pbx", Condition::Any, Some("busy"))));
    let mut bytes = Vec::new();
    pool.machine
        .snapshot()
        .write(&mut bytes)
        .expect("memory takes it");
    pool.machine = Machine::restore(&mut bytes.as_slice()).expect("what was written is read");
    pool.ask(source("pbx", Condition::Tag(tag), Some("free")));
    assert_eq!(pool.seen(), ["phone", "free"]);
}

/// House D19: pools have such entries in their logs, so its bytes are never changed.
#[test]
fn an_entry_of_a_source_is_read_for_ever() {
    let command = Command::PublishSource(PublishSource {
        presentity: "a@x",
        source: "pbx",
        condition: Condition::Tag(EntityTag {
            salt: 1,
            index: 2,
            position: 3,
        }),
        content: Some(b"\x01c"),
        expires_s: 600,
        bearing: Bearing {
            device: Device::Online,
            doing: Doing::Meeting,
            ..Bearing::default()
        },
        instances: Vec::new(),
        category_bytes_max: 10,
    });
    let act = Act::Requests(vec![Request {
        key: RequestKey(5),
        ticket: Ticket(6),
        command,
    }]);
    let at = Timestamp(9);
    let mut written = BytesMut::new();
    encode_entry(at, &act, &mut written);
    let mut golden: Vec<u8> = vec![1, 9, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0];
    golden.extend([75, 0, 0, 0, 40]);
    golden.extend(5_u128.to_le_bytes());
    golden.extend(6_u64.to_le_bytes());
    golden.extend(b"\x03\0\0\0a@x\x03\0\0\0pbx\x01\x01\0\0\0\x02\0\0\0\0\0\0\0\x03\0");
    golden.extend(b"\x01\x02\0\0\0\x01c\x58\x02\0\0\x01\x03\x0a\0\0\0\0\0\0\0");
    assert_eq!(written, golden);
    assert_eq!(decode_entry(&golden), Ok(Entry { at, act }));
}
