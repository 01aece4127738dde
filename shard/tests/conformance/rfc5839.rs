//! RFC 5839, conditional notification, on the machine.

use shard::machine::command::{Command, Resubscribe, Subscribe};
use shard::machine::outcome::{Outcome, Refusal};
use shard::machine::tag;
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, EndReason, Format, LocalTag};
use shard::subscription::savers::{Asked, Cause, Condition};

use crate::pool::{
    ALICE, Pool, active, publish, refused, resubscribe, subscribe, subscribed, tag_of, terminated,
};

const DIALOG: DialogKey = DialogKey(1);

fn under(condition: Condition) -> Option<Box<Asked>> {
    Some(Box::new(Asked {
        condition: Some(condition),
        ..Asked::default()
    }))
}

fn subscribe_unless(condition: Condition) -> Command<'static> {
    match subscribe(1, 1, 600) {
        Command::Subscribe(subscribe) => Command::Subscribe(Subscribe {
            savers: under(condition),
            ..subscribe
        }),
        other => other,
    }
}

fn refresh_unless(cseq: u32, expires_s: u32, condition: Condition) -> Command<'static> {
    match resubscribe(1, cseq, expires_s) {
        Command::Resubscribe(request) => Command::Resubscribe(Resubscribe {
            savers: under(condition),
            ..request
        }),
        other => other,
    }
}

fn unchanged(expires_s: u32) -> Outcome {
    Outcome::Unchanged {
        local_tag: LocalTag::new(Slot::of(ALICE), 77),
        expires_s,
    }
}

impl Pool {
    /// The tag that the only notification of the last entry bears.
    fn tag(&self) -> u64 {
        let [(view, _)] = &self.told[..] else {
            panic!("{} notifications", self.told.len());
        };
        tag::digest(view).expect("a document has a tag")
    }

    fn cause(&self) -> Cause {
        self.told[0].1[0].cause
    }
}

//= RFC 5839 6.3
//= type=test
//= RFC 5839 6.2
//= type=test
#[test]
fn a_refresh_is_told_only_what_is_not_known() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 600));
    let nothing = pool.tag();
    let first = pool.ask(publish(None, Some("a"), 3_600));
    let one = pool.tag();
    assert_ne!(one, nothing);

    pool.wait_s(10);
    let outcome = pool.ask(refresh_unless(2, 60, Condition::Is(one)));
    assert_eq!((outcome, pool.notices()), (unchanged(60), vec![]));
    // It lives on: for as long as it asked.
    assert_eq!(
        pool.repeat(refresh_unless(2, 60, Condition::Is(one))),
        unchanged(60)
    );
    pool.wait_s(50);
    assert_eq!(pool.notices(), [], "not yet");

    let outcome = pool.ask(refresh_unless(3, 60, Condition::Is(nothing)));
    assert_eq!(outcome, subscribed(60), "an older version is no reason");
    assert_eq!(pool.notices(), [(DIALOG, 3, active(60))]);
    assert_eq!(pool.tag(), one);

    pool.ask(publish(Some(tag_of(&first)), Some("b"), 3_600));
    assert_ne!(pool.tag(), one);
    assert_eq!(pool.cause(), Cause::Changed);
    // What is said again is known again.
    let outcome = pool.ask(refresh_unless(3, 60, Condition::Any));
    assert_eq!(outcome, refused(Refusal::OutOfOrder));
    pool.ask(refresh_unless(4, 60, Condition::Any));
    pool.wait_s(61);
    assert_eq!(
        pool.notices(),
        [(DIALOG, 5, terminated(EndReason::Timeout))]
    );
}

//= RFC 5839 6.2
//= type=test
#[test]
fn a_first_notification_makes_the_dialog_and_leaves_out_what_is_known() {
    for (name, condition, cause) in [
        ("this", None, Cause::Suppressed),
        ("another", Some(Condition::Is(1)), Cause::Asked),
        ("any", Some(Condition::Any), Cause::Suppressed),
    ] {
        let mut pool = Pool::start();
        pool.ask(publish(None, Some("a"), 3_600));
        let view = pool
            .machine
            .fetch(ALICE, shard::subscription::dialog::Package::Presence);
        let is = Condition::Is(tag::digest(&view).expect("a tag"));
        assert_eq!(
            pool.ask(subscribe_unless(condition.unwrap_or(is))),
            subscribed(600),
            "{name}"
        );
        assert_eq!(pool.notices(), [(DIALOG, 1, active(600))], "{name}");
        assert_eq!(pool.cause(), cause, "{name}");
    }
}

//= RFC 5839 6.2
//= type=test
#[test]
fn what_changes_in_the_same_entry_is_told() {
    let mut pool = Pool::start();
    let all = [
        subscribe_unless(Condition::Any),
        publish(None, Some("a"), 600),
    ];
    pool.ask_all(&all);
    assert_eq!(pool.notices(), [(DIALOG, 1, active(600))]);
    assert_eq!(
        (pool.cause(), pool.shown()),
        (Cause::Asked, vec!["a".to_owned()])
    );
}

//= RFC 5839 6.3
//= type=test
#[test]
fn an_end_under_a_true_condition_is_silent() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 600));
    assert_eq!(pool.ask(refresh_unless(2, 0, Condition::Any)), unchanged(0));
    assert_eq!(pool.notices(), []);
    assert_eq!(pool.machine.counts().dialogs, 0);
    assert_eq!(
        pool.ask(refresh_unless(3, 0, Condition::Any)),
        refused(Refusal::UnknownDialog)
    );
}

//= RFC 5839 6.1
//= type=test
#[test]
fn a_tag_is_of_what_is_shown_in_its_format() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 600));
    let before = pool.tag();
    let tag = pool.ask(publish(None, Some("a"), 600));
    let shown = pool.tag();
    // Refreshed, it is the same; gone, it is what it was before anything was there.
    pool.ask(publish(Some(tag_of(&tag)), None, 5));
    pool.wait_s(6);
    assert_eq!(pool.tag(), before);
    // The same again, by a publication of another number, is another document.
    pool.ask(publish(None, Some("a"), 600));
    assert_ne!(pool.tag(), before);
    let dressed = |format, terms| tag::dressed(shown, format, terms);
    assert_eq!(dressed(Format::Pidf, 0), shown);
    assert_ne!(dressed(Format::Pres, 0), shown);
    assert_ne!(dressed(Format::Pidf, 1), shown);
}

/// Another node, which was restored from a snapshot, knows the same tags.
//= RFC 5839 6.1
//= type=test
#[test]
fn a_later_leader_knows_the_tag() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("a"), 600));
    pool.ask(subscribe(1, 1, 600));
    let tag = pool.tag();
    pool.restore();
    pool.lead(2);
    assert_eq!(
        pool.ask(refresh_unless(2, 60, Condition::Is(tag))),
        unchanged(60)
    );
}
