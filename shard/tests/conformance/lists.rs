//! Dialogs about lists, and the clients of a user that such dialogs tell of (BluStar 2.2, 2.3, 4.2).

use shard::machine::command::{Command, Extras, Publish, Resubscribe, Subscribe};
use shard::machine::outcome::Outcome;
use shard::presence::bearing::Bearing;
use shard::presence::container::Network;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::{Aor, Slot};
use shard::subscription::dialog::{Delivery, DialogKey, EndReason, Format, LocalTag, Package};
use shard::subscription::view::{Seen, View};
use shard::subscription::watch::{ClientId, Entry, Origin, Wish};

use crate::pool::{ALICE, BOB, Pool, publish, refused, tag_of, terminated};
use shard::machine::outcome::Refusal;

fn entries(all: &[(&'static str, Origin)]) -> Vec<Entry<'static>> {
    let entry = |(address, origin): &(&'static str, Origin)| Entry {
        uri: address,
        address,
        origin: *origin,
    };
    all.iter().map(entry).collect()
}

fn extras(client: Option<u64>, all: &[(&'static str, Origin)]) -> Box<Extras<'static>> {
    Box::new(Extras {
        network: Network::SameEnterprise,
        delivery: Delivery::Notify,
        piggyback: false,
        endpoint: None,
        registered: false,
        display_name: "",
        wish: Wish::List {
            client: client.map(ClientId),
            entries: entries(all),
        },
        watchers_max: 100,
        abroad: Default::default(),
    })
}

/// A list that lives with Alice.
fn list(
    dialog: u128,
    format: Format,
    client: Option<u64>,
    all: &[(&'static str, Origin)],
) -> Command<'static> {
    Command::Subscribe(Subscribe {
        presentity: ALICE,
        watcher: ALICE,
        package: Package::List,
        format,
        dialog: DialogKey(dialog),
        local_tag: LocalTag::new(Slot::of(ALICE), 77),
        cseq: 1,
        expires_s: 300,
        route: b"route",
        target: b"target",
        extras: Some(extras(client, all)),
        savers: None,
    })
}

fn again(
    dialog: u128,
    cseq: u32,
    expires_s: u32,
    all: Option<&[(&'static str, Origin)]>,
) -> Command<'static> {
    Command::Resubscribe(Resubscribe {
        slot: Slot::of(ALICE),
        dialog: DialogKey(dialog),
        cseq,
        expires_s,
        target: b"target",
        extras: all.map(|all| extras(None, all)),
        savers: None,
    })
}

/// BluStar's publication for Alice.
fn share(if_match: Option<EntityTag>, content: &'static str) -> Command<'static> {
    match publish(if_match, Some(content), 3_600) {
        Command::Publish(publish) => Command::Publish(Publish {
            tag_policy: TagPolicy::Keep,
            bearing: Bearing {
                shared: true,
                ..Bearing::default()
            },
            ..publish
        }),
        other => other,
    }
}

fn sign_off(if_match: Option<EntityTag>, client: u64) -> Command<'static> {
    Command::SignOff {
        presentity: ALICE,
        if_match,
        client: ClientId(client),
    }
}

/// Whom the last entry told of, and what: `closed` for nothing, `unknown`, or a list of such.
fn told(pool: &Pool) -> Vec<String> {
    fn text(view: &View) -> String {
        match &view.seen {
            Seen::Publications(contents) => {
                format!("{}:{}", view.presentity.as_str(), contents.len())
            }
            Seen::Unknown => format!("{}:unknown", view.presentity.as_str()),
            Seen::Nothing => "end".to_owned(),
            Seen::List { full, members } => {
                let members: Vec<String> = members.iter().map(|(_, view)| text(view)).collect();
                format!(
                    "{}[{}]",
                    if *full { "all" } else { "some" },
                    members.join(" ")
                )
            }
            other => format!("{other:?}"),
        }
    }
    pool.told.iter().map(|(view, _)| text(view)).collect()
}

const HERE: Origin = Origin::Here;
const NOWHERE: Origin = Origin::Nowhere;

//= BLUSTAR 4.2
//= type=test
//= RFC 4662 5.2
//= type=test
#[test]
fn a_list_is_told_whole_then_by_changes_and_whole_at_each_refresh() {
    let all = [(ALICE, HERE), (BOB, HERE), ("stranger@x", NOWHERE)];
    for (format, whole, change) in [
        (
            Format::Blustar,
            vec![
                "alice@example.com:0",
                "bob@example.com:0",
                "stranger@x:unknown",
            ],
            "alice@example.com:1",
        ),
        (
            Format::Rlmi,
            vec!["all[alice@example.com:0 bob@example.com:0 stranger@x:unknown]"],
            "some[alice@example.com:1]",
        ),
    ] {
        let mut pool = Pool::start();
        pool.ask(list(1, format, None, &all));
        assert_eq!(told(&pool), whole, "{format:?}");
        let numbers: Vec<u32> = pool.notices().iter().map(|(_, cseq, _)| *cseq).collect();
        assert_eq!(numbers, (1..=whole.len() as u32).collect::<Vec<u32>>());
        let tag = tag_of(&pool.ask(publish(None, Some("a"), 600)));
        assert_eq!(told(&pool), [change], "{format:?}");
        pool.ask(publish(Some(tag), None, 0));
        pool.ask(again(1, 2, 300, None));
        assert_eq!(told(&pool), whole, "{format:?}, refreshed");
        // Another list takes its place; who is not in it any more is not told of.
        pool.ask(again(1, 3, 300, Some(&all[1..])));
        assert_eq!(
            told(&pool).join(" ").matches("alice").count(),
            0,
            "{format:?}"
        );
        pool.ask(publish(None, Some("a"), 600));
        assert!(told(&pool).is_empty(), "{format:?}");
        pool.ask(again(1, 4, 0, None));
        assert_eq!(
            pool.notices().last().map(|n| n.2),
            Some(terminated(EndReason::Timeout))
        );
        assert_eq!(pool.machine.counts().dialogs, 0);
    }
}

//= BLUSTAR 2.2
//= type=test
//= BLUSTAR 2.3
//= type=test
// proves: BLU-2.2-04 BLU-2.3-02
#[test]
fn a_user_is_signed_out_with_its_last_client_however_that_ends() {
    let own = [(ALICE, HERE)];
    #[allow(clippy::type_complexity)] // a table of cases
    let ways: [(&str, &dyn Fn(&mut Pool, EntityTag)); 5] = [
        ("unsubscribe", &|pool, _| {
            drop(pool.ask(again(2, 2, 0, None)))
        }),
        ("expiry", &|pool, _| pool.wait_s(301)),
        ("unreachable", &|pool, _| {
            let end = Command::EndDialog {
                slot: Slot::of(ALICE),
                dialog: DialogKey(2),
                reason: EndReason::Unreachable,
            };
            pool.ask(end);
        }),
        ("connection", &|pool, _| {
            for target in [b"other!".as_slice(), b"target"] {
                let lost = Command::LoseDialog {
                    slot: Slot::of(ALICE),
                    dialog: DialogKey(2),
                    target,
                };
                pool.ask(lost);
            }
        }),
        ("PUBLISH", &|pool, tag| {
            drop(pool.ask(sign_off(Some(tag), 22)))
        }),
    ];
    for (name, ends) in ways {
        let mut pool = Pool::start();
        pool.ask(list(1, Format::Blustar, Some(11), &own));
        pool.ask(list(2, Format::Blustar, Some(22), &own));
        // Somebody else's dialog about Alice is no client of hers.
        pool.ask(list(3, Format::Blustar, None, &own));
        pool.ask(publish(None, Some("desk phone"), 3_600));
        let tag = tag_of(&pool.ask(share(None, "shared")));
        assert_eq!(pool.seen(), ["desk phone", "shared"]);
        assert_eq!(tag_of(&pool.ask(share(None, "of a second client"))), tag);
        assert_eq!(
            pool.seen(),
            ["desk phone", "shared"],
            "{name}: it is told the tag"
        );

        let gone = tag_of(&pool.ask(sign_off(Some(tag), 11)));
        assert_eq!(gone, tag);
        assert!(
            pool.told.is_empty(),
            "{name}: the other client is there, and this one is told nothing"
        );
        assert_eq!(pool.seen(), ["desk phone", "shared"], "{name}");
        ends(&mut pool, tag);
        assert_eq!(
            pool.seen(),
            ["desk phone"],
            "{name}: what the telephone said stays"
        );
    }
}

//= BLUSTAR 2.4
//= type=test
#[test]
fn a_sign_off_names_what_there_is() {
    let mut pool = Pool::start();
    assert_eq!(
        pool.ask(sign_off(None, 1)),
        refused(Refusal::NoMatch),
        "nothing at all"
    );
    let tag = tag_of(&pool.ask(share(None, "shared")));
    assert_eq!(
        tag_of(&pool.ask(sign_off(Some(EntityTag::FOREIGN), 1))),
        tag
    );
    assert_eq!(
        pool.seen(),
        ["shared"],
        "a tag of another life changes nothing"
    );
    let Outcome::Published { expires_s, .. } = pool.ask(sign_off(Some(tag), 1)) else {
        panic!("it is answered");
    };
    assert_eq!(expires_s, 0);
    assert!(pool.seen().is_empty());
}

/// What a replica restores from a snapshot tells the same.
#[test]
fn a_list_outlives_its_machine() {
    let all = [(ALICE, HERE), ("stranger@x", NOWHERE)];
    let mut pool = Pool::start();
    pool.ask(list(1, Format::Rlmi, Some(9), &all));
    pool.ask(share(None, "shared"));
    let mut bytes = Vec::new();
    pool.machine.snapshot().write(&mut bytes).expect("written");
    pool.machine = shard::machine::Machine::restore(&mut bytes.as_slice()).expect("restored");
    pool.ask(publish(None, Some("a"), 600));
    assert_eq!(told(&pool), ["some[alice@example.com:2]"]);
    pool.wait_s(301);
    assert_eq!(
        pool.seen(),
        ["a"],
        "its client's end is known to the one that was restored"
    );
    let _ = Aor::from_canonical(ALICE);
}
