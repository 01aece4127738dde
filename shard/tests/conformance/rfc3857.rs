//! Watcher information on the machine: a presentity is told who watches it.

use shard::machine::command::{Command, Resubscribe, Subscribe};
use shard::presence::documents::Keeper;
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, EndReason, Format, LocalTag, Package};
use shard::subscription::view::Seen;

use crate::pool::{ALICE, BOB, Pool, subscribe};
use crate::rfc5025::{ALL, BOB_ONLY, CAROL, put, ruleset};

fn observe(dialog: u128) -> Command<'static> {
    Command::Subscribe(Subscribe {
        savers: None,
        presentity: ALICE,
        watcher: ALICE,
        package: Package::Winfo,
        format: Format::Watcherinfo,
        dialog: DialogKey(dialog),
        local_tag: LocalTag::new(Slot::of(ALICE), 78),
        cseq: 1,
        expires_s: 600,
        route: b"route",
        target: b"target",
        extras: None,
    })
}

fn by(watcher: &'static str, dialog: u128) -> Command<'static> {
    match subscribe(dialog, 1, 600) {
        Command::Subscribe(of) => Command::Subscribe(Subscribe { watcher, ..of }),
        other => other,
    }
}

/// What observers of the last entry were told: its number, and each watcher.
fn told(pool: &Pool) -> Vec<String> {
    let mut all = Vec::new();
    for (view, notices) in &pool.told {
        let Seen::Watchers { full, watchers } = &view.seen else {
            continue;
        };
        let each: Vec<String> = watchers
            .iter()
            .map(|line| {
                let who = line.address.as_str().split('@').next().unwrap_or_default();
                format!("{who} {:?} {:?}", line.status, line.event)
            })
            .collect();
        let full = if *full { "all" } else { "some" };
        for notice in notices {
            all.push(format!("{} {full}: {}", notice.cseq, each.join(", ")));
        }
    }
    all
}

//= RFC 3857 4.7
//= type=test
//= RFC 3857 4.7.1
//= type=test
#[test]
fn who_comes_and_goes_is_told_and_all_at_first() {
    let mut pool = Pool::start();
    pool.ask(by(BOB, 1));
    pool.ask(observe(9));
    assert_eq!(told(&pool), ["1 all: bob Active Subscribe"]);
    pool.ask(by(CAROL, 2));
    assert_eq!(told(&pool), ["2 some: carol Active Subscribe"]);
    let rules = ruleset(&[("bob", BOB_ONLY, "confirm", ""), ("all", "", "block", "")]);
    pool.ask(put("index", Keeper::User, Some(&rules)));
    let mut both = told(&pool);
    both.sort_unstable();
    assert_eq!(
        both,
        ["3 some: bob Pending Subscribe, carol Terminated Rejected"]
    );
    let rules = ruleset(&[("all", "", "allow", ALL)]);
    pool.ask(put("index", Keeper::User, Some(&rules)));
    assert_eq!(told(&pool), ["4 some: bob Active Approved"]);
    pool.ask(Command::EndDialog {
        slot: Slot::of(ALICE),
        dialog: DialogKey(1),
        reason: EndReason::Timeout,
    });
    assert_eq!(told(&pool), ["5 some: bob Terminated Timeout"]);
    pool.ask(Command::Resubscribe(Resubscribe {
        savers: None,
        slot: Slot::of(ALICE),
        dialog: DialogKey(9),
        cseq: 2,
        expires_s: 600,
        target: b"target",
        extras: None,
    }));
    assert_eq!(told(&pool), ["6 all: "], "a refresh shows all there are");
}

/// Its own subscription is none of presence, and the version goes on where another replica left it.
#[test]
fn versions_go_on_after_a_snapshot() {
    let mut pool = Pool::start();
    pool.ask(observe(9));
    assert_eq!(told(&pool), ["1 all: "]);
    let mut bytes = Vec::new();
    pool.machine.snapshot().write(&mut bytes).expect("written");
    pool.machine = shard::machine::Machine::restore(&mut &bytes[..]).expect("read");
    pool.ask(by(BOB, 1));
    assert_eq!(told(&pool), ["2 some: bob Active Subscribe"]);
}
