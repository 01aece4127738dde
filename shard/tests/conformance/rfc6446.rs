//! RFC 6446, rate control, on the machine.

use shard::machine::command::{Command, Resubscribe, Subscribe};
use shard::subscription::dialog::{DialogKey, EndReason};
use shard::subscription::savers::{Asked, Cause};

use crate::pool::{Pool, active, publish, resubscribe, subscribe, tag_of, terminated};

const DIALOG: DialogKey = DialogKey(1);

fn pace(min_interval_s: u32, max_interval_s: u32) -> Option<Box<Asked>> {
    Some(Box::new(Asked {
        min_interval_s,
        max_interval_s,
        ..Asked::default()
    }))
}

fn paced(min: u32, max: u32) -> Command<'static> {
    match subscribe(1, 1, 600) {
        Command::Subscribe(subscribe) => Command::Subscribe(Subscribe {
            savers: pace(min, max),
            ..subscribe
        }),
        other => other,
    }
}

fn refresh(cseq: u32, min: u32, max: u32) -> Command<'static> {
    match resubscribe(1, cseq, 600) {
        Command::Resubscribe(request) => Command::Resubscribe(Resubscribe {
            savers: pace(min, max),
            ..request
        }),
        other => other,
    }
}

//= RFC 6446 4.2
//= type=test
#[test]
fn what_comes_too_soon_is_told_in_time_as_it_is_then() {
    let mut pool = Pool::start();
    pool.ask(paced(10, 0));
    assert_eq!(pool.notices(), [(DIALOG, 1, active(600))]);
    pool.ask(subscribe(2, 1, 600));
    let mut tag = None;
    for (second, content) in [(1, "a"), (2, "b"), (3, "c")] {
        pool.wait_s(1);
        tag = Some(tag_of(&pool.ask(publish(tag, Some(content), 3_600))));
        let told: Vec<DialogKey> = pool.notices().iter().map(|(key, ..)| *key).collect();
        assert_eq!(told, [DialogKey(2)], "{second}: the other one has no pace");
    }
    pool.wait_ms(6_999);
    assert_eq!(pool.notices(), []);
    assert_eq!(
        pool.machine
            .next_deadline()
            .map(|at| at.0 - pool.machine.now().0),
        Some(1)
    );
    pool.wait_ms(1);
    assert_eq!(pool.notices(), [(DIALOG, 2, active(590))]);
    assert_eq!(pool.shown(), ["c"], "the newest alone");
    assert_eq!(pool.told[0].1[0].cause, Cause::Due);
    // Nothing waits any more.
    pool.wait_s(60);
    assert_eq!(pool.notices(), []);
    // Long after the last one, a change is told at once.
    pool.ask(publish(tag, Some("d"), 3_600));
    assert_eq!(pool.notices().len(), 2);
}

//= RFC 6446 4.2
//= type=test
#[test]
fn what_is_asked_for_and_the_end_do_not_wait() {
    let mut pool = Pool::start();
    pool.ask(paced(100, 0));
    pool.wait_s(1);
    pool.ask(publish(None, Some("a"), 3_600));
    assert_eq!(pool.notices(), []);
    pool.ask(refresh(2, 100, 0));
    assert_eq!(pool.notices(), [(DIALOG, 2, active(600))]);
    pool.wait_s(99);
    assert_eq!(pool.notices(), [], "the refresh told what waited");
    let terms = pool
        .told
        .first()
        .map(|(_, notices)| notices[0].terms.clone());
    assert_eq!(terms, None);
    pool.wait_s(1);
    pool.ask(publish(None, Some("b"), 3_600));
    let notice = pool.told[0].1[0].clone();
    assert_eq!(notice.terms.expect("agreed").min_interval_s, 100);
    pool.ask(resubscribe(1, 3, 0));
    assert_eq!(
        pool.notices(),
        [(DIALOG, 4, terminated(EndReason::Timeout))]
    );
}

//= RFC 6446 4.1
//= type=test
#[test]
fn a_refresh_without_a_pace_ends_it() {
    let mut pool = Pool::start();
    pool.ask(paced(100, 0));
    pool.ask(resubscribe(1, 2, 600));
    pool.ask(publish(None, Some("a"), 3_600));
    assert_eq!(pool.notices(), [(DIALOG, 3, active(600))]);
    assert!(pool.told[0].1[0].terms.is_none());
}

//= RFC 6446 5.2
//= type=test
#[test]
fn a_watcher_who_wants_to_hear_something_hears_it() {
    let mut pool = Pool::start();
    pool.ask(paced(0, 30));
    for (second, cseq) in [(30, 2), (60, 3)] {
        pool.wait_ms(29_999);
        assert_eq!(pool.notices(), [], "{second}");
        pool.wait_ms(1);
        assert_eq!(pool.notices(), [(DIALOG, cseq, active(600 - second))]);
    }
    pool.wait_s(20);
    pool.ask(publish(None, Some("a"), 3_600));
    assert_eq!(pool.notices(), [(DIALOG, 4, active(520))]);
    pool.wait_s(29);
    assert_eq!(pool.notices(), [], "counted from what was told last");
    pool.wait_s(1);
    assert_eq!(pool.notices(), [(DIALOG, 5, active(490))]);
    // The end is the end, however often it is said.
    pool.wait_s(600);
    assert_eq!(
        pool.notices(),
        [(DIALOG, 6, terminated(EndReason::Timeout))]
    );
}

//= RFC 6446 4.2
//= type=test
#[test]
fn a_pace_survives_its_leader() {
    let mut pool = Pool::start();
    pool.ask(paced(50, 0));
    pool.wait_s(10);
    pool.ask(publish(None, Some("a"), 3_600));
    pool.restore();
    pool.lead(2);
    assert_eq!(
        pool.notices(),
        [],
        "what would be told again is told in its time"
    );
    pool.wait_ms(39_999);
    assert_eq!(pool.notices(), []);
    pool.wait_ms(1);
    assert_eq!(pool.notices(), [(DIALOG, 2, active(550))]);
    assert_eq!(pool.shown(), ["a"]);
    pool.wait_s(500);
    assert_eq!(pool.notices(), []);
}
