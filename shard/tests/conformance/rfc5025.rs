//! Presence rules on the machine: who is let in, what it is shown, and what a change of rules does.

use shard::category::Category;
use shard::document::rules;
use shard::machine::Machine;
use shard::machine::command::{Command, Extras, SetDocument, Subscribe};
use shard::machine::crossing::{Answer, Question};
use shard::machine::effect::SubscriptionState;
use shard::machine::outcome::{Outcome, Refusal};
use shard::presence::container::{Network, Watcher};
use shard::presence::documents::{Application, Expected, Keeper};
use shard::presence::rules::Handling;
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, DialogKey, EndReason, Format, LocalTag, Package};
use shard::subscription::view::{Seen, View};
use shard::subscription::watch::{Action, Resource, Wish};

use crate::pool::{ALICE, BOB, Pool, publish, refused, subscribe};

pub const CAROL: &str = "carol@example.com";

/// A rules document of Alice: rules by id, each with its conditions, its handling, and what it shows.
pub fn ruleset(rules: &[(&str, &str, &str, &str)]) -> String {
    let each = rules.iter().map(|(id, conditions, handling, shows)| {
        format!(
            "<rule id=\"{id}\"><conditions>{conditions}</conditions><actions><pr:sub-handling>{handling}</pr:sub-handling>\
             </actions><transformations>{shows}</transformations></rule>"
        )
    });
    format!(
        "<ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\" xmlns:pr=\"urn:ietf:params:xml:ns:pres-rules\">{}</ruleset>",
        each.collect::<String>()
    )
}

pub const BOB_ONLY: &str = "<identity><one id=\"sip:bob@example.com\"/></identity>";
pub const ALL: &str = "<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/>\
    </pr:provide-persons><pr:provide-devices><pr:all-devices/></pr:provide-devices><pr:provide-all-attributes/>";

pub fn put<'a>(name: &'a str, keeper: Keeper, text: Option<&'a str>) -> Command<'a> {
    Command::SetDocument(SetDocument {
        presentity: ALICE,
        application: Application::Rules,
        name,
        keeper,
        expected: Expected::Anything,
        content: text.map(str::as_bytes),
        rules: text
            .map(|text| rules::parse(text.as_bytes()).expect("rules"))
            .unwrap_or_default(),
    })
}

fn rule(pool: &mut Pool, text: &str) {
    let done = pool.ask(put("index", Keeper::User, Some(text)));
    assert!(matches!(done, Outcome::DocumentSet { .. }), "{done:?}");
}

fn by(watcher: &'static str, dialog: u128) -> Command<'static> {
    match subscribe(dialog, 1, 600) {
        Command::Subscribe(of) => Command::Subscribe(Subscribe { watcher, ..of }),
        other => other,
    }
}

/// What each dialog of the last entry was told: its state, and how much was shown.
fn told(pool: &Pool) -> Vec<(u128, &'static str, &'static str)> {
    let mut all = Vec::new();
    for (view, notices) in &pool.told {
        for notice in notices {
            let state = match notice.state {
                SubscriptionState::Active { .. } => "active",
                SubscriptionState::Pending { .. } => "pending",
                SubscriptionState::Terminated(EndReason::Rejected) => "rejected",
                SubscriptionState::Terminated(_) => "ended",
            };
            all.push((notice.dialog.0, state, shown(view)));
        }
    }
    all.sort_unstable();
    all
}

fn shown(view: &View) -> &'static str {
    match &view.seen {
        Seen::Publications(contents) if contents.is_empty() => "closed",
        Seen::Publications(_) => "all",
        Seen::Permitted { .. } => "some",
        Seen::Nothing => "nothing",
        _ => "something else",
    }
}

//= RFC 5025 3.2.1
//= type=test
#[test]
fn each_handling_does_what_it_says() {
    for (handling, first, change) in [
        ("block", None, vec![]),
        ("confirm", Some(("pending", "nothing")), vec![]),
        ("polite-block", Some(("active", "closed")), vec![]),
        ("allow", Some(("active", "all")), vec![(1, "active", "all")]),
    ] {
        let mut pool = Pool::start();
        pool.ask(publish(None, Some("here"), 600));
        rule(&mut pool, &ruleset(&[("a", BOB_ONLY, handling, ALL)]));
        let outcome = pool.ask(by(BOB, 1));
        match first {
            None => assert_eq!(outcome, refused(Refusal::NotAllowed), "{handling}"),
            Some((state, seen)) => {
                assert!(matches!(outcome, Outcome::Subscribed { .. }), "{handling}");
                assert_eq!(told(&pool), [(1, state, seen)], "{handling}");
            }
        }
        // Who is not let in cannot tell a change from none.
        pool.ask(publish(None, Some("there"), 600));
        assert_eq!(told(&pool), change, "{handling}");
        let fetch = Question::Sight {
            presentity: ALICE,
            watcher: BOB,
            network: Network::SameEnterprise,
        };
        let seen = match pool.machine.look_up(&fetch) {
            Answer::View(view) => Some(shown(&view)),
            Answer::KeptOut => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(seen, first.map(|(_, seen)| seen), "{handling}: a fetch");
    }
}

//= RFC 5025 3.2.1
//= type=test
#[test]
fn a_change_of_rules_is_told_at_once() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("here"), 600));
    pool.ask(by(BOB, 1));
    assert_eq!(
        told(&pool),
        [(1, "active", "all")],
        "no rules let everybody in"
    );
    for (handling, shows, expected) in [
        ("allow", ALL, None),
        ("confirm", "", Some(("pending", "nothing"))),
        (
            "allow",
            "<pr:provide-services><pr:all-services/></pr:provide-services>",
            Some(("active", "some")),
        ),
        ("polite-block", "", Some(("active", "closed"))),
        ("polite-block", ALL, None),
        ("allow", ALL, Some(("active", "all"))),
        ("block", "", Some(("rejected", "closed"))),
    ] {
        rule(&mut pool, &ruleset(&[("a", BOB_ONLY, handling, shows)]));
        let expected: Vec<_> = expected
            .map(|(state, seen)| (1, state, seen))
            .into_iter()
            .collect();
        assert_eq!(told(&pool), expected, "{handling} {shows}");
    }
    assert_eq!(pool.machine.counts().dialogs, 0);
    // Without rules it is as it was.
    pool.ask(put("index", Keeper::User, None));
    pool.ask(by(BOB, 2));
    assert_eq!(told(&pool), [(2, "active", "all")]);
}

//= RFC 5025 4
//= type=test
#[test]
fn one_always_sees_oneself_and_rules_of_all_documents_add_up() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("here"), 600));
    rule(&mut pool, &ruleset(&[]));
    pool.ask(by(ALICE, 1));
    assert_eq!(told(&pool), [(1, "active", "all")]);
    assert_eq!(pool.ask(by(CAROL, 2)), refused(Refusal::NotAllowed));
    let theirs = ruleset(&[("all", "", "allow", ALL)]);
    pool.ask(put("operator", Keeper::File, Some(&theirs)));
    pool.ask(by(CAROL, 3));
    assert_eq!(told(&pool), [(3, "active", "all")]);
    let own = put("operator", Keeper::User, None);
    assert_eq!(pool.ask(own), refused(Refusal::DocumentKept));
}

//= RFC 4745 7.3
//= type=test
#[test]
fn a_validity_begins_and_ends_by_itself() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("here"), 86_400));
    // Every test begins at 2023-11-14T22:13:20Z.
    let span =
        "<validity><from>2023-11-14T22:15:00Z</from><until>2023-11-14T22:16:00Z</until></validity>";
    let text = ruleset(&[
        ("now and then", span, "allow", ALL),
        ("always", "", "confirm", ""),
    ]);
    rule(&mut pool, &text);
    pool.ask(by(BOB, 1));
    assert_eq!(told(&pool), [(1, "pending", "nothing")]);
    pool.wait_s(99);
    assert_eq!(told(&pool), []);
    pool.wait_s(1);
    assert_eq!(told(&pool), [(1, "active", "all")]);
    pool.wait_s(59);
    assert_eq!(told(&pool), []);
    pool.wait_s(1);
    assert_eq!(told(&pool), [(1, "pending", "nothing")]);
}

//= MS-PRES 1.3.1.3.4
//= type=test
#[test]
fn enhanced_watchers_whom_rules_keep_out_see_what_the_blocked_see() {
    let watch = |watcher: &'static str, dialog: u128| {
        let wish = Wish::Categories(vec![Action {
            subscribe: true,
            resources: vec![Resource {
                address: ALICE,
                context: None,
            }],
            categories: vec![Category::State],
        }]);
        Command::Subscribe(Subscribe {
            savers: None,
            presentity: ALICE,
            watcher,
            package: Package::Categories,
            format: Format::Categories,
            dialog: DialogKey(dialog),
            local_tag: LocalTag::new(Slot::of(ALICE), 7),
            cseq: 1,
            expires_s: 600,
            route: b"route",
            target: b"target",
            extras: Some(Box::new(Extras {
                network: Network::SameEnterprise,
                delivery: Delivery::Notify,
                piggyback: false,
                endpoint: None,
                registered: false,
                display_name: "",
                wish,
                watchers_max: 100,
                abroad: Default::default(),
            })),
        })
    };
    let seen = |pool: &Pool| -> Vec<usize> {
        let views = pool.told.iter().map(|(view, _)| &view.seen);
        let counts = views.map(|seen| match seen {
            Seen::Categories(each) => each.iter().map(|(_, instances)| instances.len()).sum(),
            other => panic!("{other:?}"),
        });
        counts.collect()
    };
    // A plain telephone, whose state enhanced watchers see as one that was aggregated.
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("here"), 600));
    pool.ask(watch(BOB, 1));
    assert_eq!(seen(&pool), [1]);
    rule(&mut pool, &ruleset(&[("a", BOB_ONLY, "block", "")]));
    assert_eq!(seen(&pool), [0], "told that nothing is there any more");
    pool.ask(publish(None, Some("there"), 600));
    assert!(pool.told.is_empty(), "and of no change");
    let watcher = Watcher {
        address: BOB,
        network: Network::SameEnterprise,
    };
    let told = pool.machine.explain(ALICE, watcher);
    assert_eq!(told.sight.container, Some(32_000));
    assert_eq!(told.sight.admitted.handling, Handling::Block);
    pool.ask(put("index", Keeper::User, None));
    assert_eq!(seen(&pool), [1]);
}

/// Rules, and what they said to watchers, are state like any other.
#[test]
fn rules_survive_a_snapshot() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("here"), 600));
    let span =
        "<validity><from>2023-11-14T22:15:00Z</from><until>2033-11-14T22:16:00Z</until></validity>";
    let some = "<pr:provide-services><pr:service-uri-scheme>sip</pr:service-uri-scheme></pr:provide-services><pr:provide-mood>true</pr:provide-mood>";
    rule(
        &mut pool,
        &ruleset(&[
            ("later", span, "allow", ALL),
            ("bob", BOB_ONLY, "allow", some),
        ]),
    );
    pool.ask(by(BOB, 1));
    assert_eq!(told(&pool), [(1, "active", "some")]);
    let mut bytes = Vec::new();
    pool.machine.snapshot().write(&mut bytes).expect("written");
    assert_eq!(bytes[8], 4, "what has rules says so by its version");
    let restored = Machine::restore(&mut &bytes[..]).expect("read");
    assert_eq!(restored.next_deadline(), pool.machine.next_deadline());
    let audit = u64::from(Slot::of(ALICE).number()) * 4_096;
    assert_eq!(restored.attest(audit), pool.machine.attest(audit));
    let mut again = Vec::new();
    restored.snapshot().write(&mut again).expect("written");
    assert_eq!(again, bytes);
    // The restored one knows what its watchers were told: nothing is told again.
    pool.machine = restored;
    rule(
        &mut pool,
        &ruleset(&[
            ("later", span, "allow", ALL),
            ("bob", BOB_ONLY, "allow", some),
        ]),
    );
    assert_eq!(told(&pool), []);
    pool.wait_s(100);
    assert_eq!(told(&pool), [(1, "active", "all")]);
}
