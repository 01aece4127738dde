//! RFC 6665, the life of a subscription.

use shard::machine::Machine;
use shard::machine::outcome::Refusal;
use shard::presence::limits::WATCHERS_MAX;
use shard::subscription::dialog::{DialogKey, EndReason, Package};

use crate::pool::{
    ALICE, Pool, active, alice, end, publish, refused, resubscribe, subscribe, subscribed,
    terminated,
};

const DIALOG: DialogKey = DialogKey(1);

//= RFC 6665 4.2.1.2
//= type=test
/// BLOG-01: what is published is told to all who subscribed.
#[test]
fn a_subscription_is_answered_and_notified_at_once_and_at_each_change() {
    let mut pool = Pool::start();
    assert_eq!(pool.ask(subscribe(1, 1, 600)), subscribed(600));
    assert_eq!(pool.notices(), [(DIALOG, 1, active(600))]);
    assert!(pool.shown().is_empty());
    assert_eq!(pool.ask(subscribe(2, 1, 300)), subscribed(300));
    assert_eq!(
        pool.notices(),
        [(DialogKey(2), 1, active(300))],
        "the other one knows already"
    );

    pool.ask(publish(None, Some("a"), 600));
    assert_eq!(
        pool.notices(),
        [(DIALOG, 2, active(600)), (DialogKey(2), 2, active(300))]
    );
    assert_eq!(pool.shown(), ["a"]);
}

//= RFC 6665 4.2.1.2
//= type=test
#[test]
fn the_first_notification_cannot_miss_a_change() {
    let mut pool = Pool::start();
    pool.ask_all(&[
        publish(None, Some("before"), 600),
        subscribe(1, 1, 600),
        publish(None, Some("after"), 600),
    ]);
    assert_eq!(pool.notices(), [(DIALOG, 1, active(600))]);
    assert_eq!(pool.shown(), ["before", "after"]);
}

//= RFC 6665 4.1.3
//= type=test
/// COM-06: the time that is left, not the time that was granted.
#[test]
fn a_notification_tells_the_time_left() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 600));
    for (name, wait_ms, left) in [
        ("after a second", 1_000, 599),
        ("rounded up", 500, 599),
        ("at the end", 598_499, 1),
    ] {
        pool.wait_ms(wait_ms);
        pool.ask(publish(None, Some("a"), 3_600));
        let told = pool.notices();
        assert!(
            matches!(told[..], [(DIALOG, _, state)] if state == active(left)),
            "{name}: {told:?}"
        );
    }
}

//= RFC 6665 4.1.2.2
//= type=test
#[test]
fn a_refresh_prolongs_and_is_notified() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 60));
    pool.ask(subscribe(2, 1, 600));
    pool.wait_s(50);
    assert_eq!(pool.ask(resubscribe(1, 2, 60)), subscribed(60));
    assert_eq!(
        pool.notices(),
        [(DIALOG, 2, active(60))],
        "the refreshing one alone"
    );
    assert_eq!(&*pool.told[0].1[0].target, b"elsewhere");
    assert_eq!(&*pool.told[0].1[0].route, b"route");
    pool.wait_s(59);
    assert!(pool.told.is_empty());
    pool.wait_s(1);
    assert_eq!(
        pool.notices(),
        [(DIALOG, 3, terminated(EndReason::Timeout))]
    );
    assert_eq!(
        pool.ask(resubscribe(1, 3, 60)),
        refused(Refusal::UnknownDialog)
    );
}

//= RFC 6665 4.1.2.3
//= type=test
//= RFC 6665 4.2.1.4
//= type=test
#[test]
fn an_unsubscription_is_answered_and_notified_once_more() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("a"), 600));
    pool.ask(subscribe(1, 1, 600));
    assert_eq!(pool.ask(resubscribe(1, 2, 0)), subscribed(0));
    assert_eq!(
        pool.notices(),
        [(DIALOG, 2, terminated(EndReason::Timeout))]
    );
    assert_eq!(pool.shown(), ["a"]);
    pool.ask(publish(None, Some("b"), 600));
    assert!(pool.told.is_empty());
}

//= RFC 6665 4.2.1.4
//= type=test
#[test]
fn a_subscription_that_is_not_refreshed_ends_with_a_final_notification() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 60));
    pool.ask(publish(None, Some("a"), 60));
    pool.wait_s(60);
    assert_eq!(
        pool.notices(),
        [(DIALOG, 3, terminated(EndReason::Timeout))]
    );
    assert!(
        pool.shown().is_empty(),
        "the newest state: the publication ended too"
    );
    assert_eq!(pool.machine.counts().presentities, 0);
    assert!(pool.machine.report(ALICE).is_none());
}

//= RFC 3261 12.2.2
//= type=test
#[test]
fn requests_inside_a_dialog_keep_their_order() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 10, 600));
    for (name, request, expected) in [
        (
            "same number",
            resubscribe(1, 10, 60),
            refused(Refusal::OutOfOrder),
        ),
        ("lower", resubscribe(1, 9, 0), refused(Refusal::OutOfOrder)),
        (
            "opened again",
            subscribe(1, 10, 60),
            refused(Refusal::OutOfOrder),
        ),
        (
            "unknown",
            resubscribe(7, 11, 60),
            refused(Refusal::UnknownDialog),
        ),
        ("higher", resubscribe(1, 12, 60), subscribed(60)),
        ("opened again, later", subscribe(1, 13, 90), subscribed(90)),
    ] {
        let changes = matches!(
            expected,
            shard::machine::outcome::Outcome::Subscribed { .. }
        );
        assert_eq!(pool.ask(request), expected, "{name}");
        assert_eq!(!pool.told.is_empty(), changes, "{name}");
        assert_eq!(pool.machine.counts().dialogs, 1, "{name}");
    }
}

//= RFC 6665 4.2.2
//= type=test
#[test]
fn a_dialog_that_cannot_be_notified_ends() {
    for (reason, told) in [
        (EndReason::Unreachable, vec![]),
        (
            EndReason::Deactivated,
            vec![(DIALOG, 2, terminated(EndReason::Deactivated))],
        ),
        (
            EndReason::Rejected,
            vec![(DIALOG, 2, terminated(EndReason::Rejected))],
        ),
    ] {
        let mut pool = Pool::start();
        pool.ask(subscribe(1, 1, 600));
        assert_eq!(
            pool.ask(end(1, reason)),
            shard::machine::outcome::Outcome::Ended,
            "{reason:?}"
        );
        assert_eq!(pool.notices(), told, "{reason:?}");
        assert_eq!(pool.machine.counts().dialogs, 0, "{reason:?}");
        assert_eq!(
            pool.ask(end(1, reason)),
            refused(Refusal::UnknownDialog),
            "{reason:?}"
        );
    }
}

//= RFC 6665 4.4.3
//= type=test
#[test]
fn a_subscription_for_no_time_is_a_fetch() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("a"), 600));
    assert_eq!(pool.ask(subscribe(1, 1, 0)), subscribed(0));
    assert_eq!(
        pool.notices(),
        [(DIALOG, 1, terminated(EndReason::Timeout))]
    );
    assert_eq!(pool.shown(), ["a"]);
    assert_eq!(pool.machine.counts().dialogs, 0);
    assert_eq!(pool.seen(), ["a"], "and so is a query, without an entry");
    assert_eq!(
        pool.machine
            .fetch("nobody@example.com", Package::Presence)
            .revision,
        0
    );
}

#[test]
fn a_presentity_has_a_bounded_number_of_watchers() {
    let mut pool = Pool::start();
    for first in (0..WATCHERS_MAX as u128).step_by(500) {
        let subscribes: Vec<_> = (first..first + 500)
            .map(|dialog| subscribe(dialog, 1, 600))
            .collect();
        assert!(
            pool.ask_all(&subscribes)
                .iter()
                .all(|outcome| *outcome == subscribed(600))
        );
    }
    let one_more = WATCHERS_MAX as u128;
    assert_eq!(
        pool.ask(subscribe(one_more, 1, 600)),
        refused(Refusal::TooManyWatchers)
    );
    pool.ask(publish(None, Some("a"), 600));
    assert_eq!(pool.notices().len(), WATCHERS_MAX);
    pool.ask(end(7, EndReason::Unreachable));
    assert_eq!(pool.ask(subscribe(one_more, 1, 600)), subscribed(600));
    pool.wait_s(600);
    assert_eq!(
        pool.notices().len(),
        WATCHERS_MAX,
        "all are told that it is over"
    );
    assert_eq!(pool.machine.counts().dialogs, 0);
}

//= RFC 3261 12.2.1.1
//= type=test
/// House D8: what the old leader may not have sent is sent again with the next number.
#[test]
fn a_new_leader_tells_again_what_was_told_in_the_last_32_seconds() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 600));
    pool.wait_s(20);
    pool.ask(subscribe(2, 1, 600));
    for (name, wait_s, told) in [
        (
            "both",
            12,
            vec![(DIALOG, 2, active(568)), (DialogKey(2), 2, active(588))],
        ),
        (
            "both again",
            32,
            vec![(DIALOG, 3, active(536)), (DialogKey(2), 3, active(556))],
        ),
        ("none", 33, vec![]),
    ] {
        pool.wait_s(wait_s);
        pool.lead(2);
        assert_eq!(pool.notices(), told, "{name}");
    }
}

/// COM-05, COM-11: dialogs, registrations and publications outlive the process.
#[test]
fn everything_goes_on_after_a_restart() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("a"), 600));
    let answered = pool.ask(subscribe(1, 5, 600));
    let before = pool.machine.report(ALICE).expect("she is watched");

    let mut stored = Vec::new();
    pool.machine
        .snapshot()
        .write(&mut stored)
        .expect("memory takes all");
    pool.machine = Machine::restore(&mut &stored[..]).expect("what was written is read");

    let after = pool.machine.report(ALICE).expect("she is watched");
    assert_eq!(
        (before.publications, before.watchers),
        (after.publications, after.watchers)
    );
    assert_eq!(
        pool.repeat(subscribe(1, 5, 600)),
        answered,
        "the outcome is remembered too"
    );
    pool.ask(publish(None, Some("b"), 600));
    assert_eq!(
        pool.notices(),
        [(DIALOG, 2, active(600))],
        "the next number"
    );
    assert_eq!(&*pool.told[0].1[0].route, b"route");
    assert_eq!(pool.shown(), ["a", "b"]);
    assert_eq!(pool.told[0].0.presentity, alice());
    assert_eq!(
        pool.ask(resubscribe(1, 5, 600)),
        refused(Refusal::OutOfOrder)
    );
}
