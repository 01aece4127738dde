//! RFC 3903, the life of a publication. Requirements of the gateway documents are named where a test
//! proves the machine's part of them.

use shard::machine::command::{Command, Publish};
use shard::machine::outcome::Refusal;
use shard::presence::limits::{CONTENT_BYTES_MAX, PUBLICATIONS_MAX};
use shard::presence::publication::TagPolicy;

use crate::pool::{Pool, active, publish, refused, subscribe, tag_of};
use shard::subscription::dialog::DialogKey;

//= RFC 3903 4.3
//= type=test
//= RFC 3903 4.5
//= type=test
/// ADC-03, ADC-04, ADC-05, ADC-06: create, refresh, remove; what was there before is there again.
#[test]
fn a_gateway_puts_its_state_on_top_and_takes_it_away_again() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("available"), 3_600));

    let created = tag_of(&pool.ask(publish(None, Some("on-the-phone"), 600)));
    assert_eq!(pool.seen(), ["available", "on-the-phone"]);
    let refreshed = tag_of(&pool.ask(publish(Some(created), None, 600)));
    assert_ne!(refreshed, created);
    assert_eq!(pool.seen(), ["available", "on-the-phone"]);
    let removed = tag_of(&pool.ask(publish(Some(refreshed), None, 0)));
    assert!(removed != refreshed && removed != created);
    assert_eq!(pool.seen(), ["available"]);
}

//= RFC 3903 4.3
//= type=test
/// ADC-06, the other way: the call's end was never published.
#[test]
fn what_is_not_refreshed_ends() {
    let mut pool = Pool::start();
    pool.ask(publish(None, Some("available"), 3_600));
    let tag = tag_of(&pool.ask(publish(None, Some("on-the-phone"), 600)));
    pool.wait_ms(599_999);
    assert_eq!(pool.seen(), ["available", "on-the-phone"]);
    pool.wait_ms(1);
    assert_eq!(pool.seen(), ["available"]);
    assert_eq!(
        pool.ask(publish(Some(tag), None, 600)),
        refused(Refusal::NoMatch)
    );
}

//= RFC 3903 6
//= type=test
/// Step 4 of the processing: the entity-tag decides, and a refused request changes nothing.
#[test]
fn only_the_newest_tag_matches() {
    let mut pool = Pool::start();
    let first = tag_of(&pool.ask(publish(None, Some("a"), 600)));
    let second = tag_of(&pool.ask(publish(Some(first), Some("b"), 600)));
    for (name, request, expected) in [
        (
            "the one before",
            publish(Some(first), Some("x"), 600),
            vec!["b"],
        ),
        (
            "the one before, refresh",
            publish(Some(first), None, 600),
            vec!["b"],
        ),
        (
            "the one before, remove",
            publish(Some(first), None, 0),
            vec!["b"],
        ),
        ("no tag and no content", publish(None, None, 600), vec!["b"]),
    ] {
        assert_eq!(pool.ask(request), refused(Refusal::NoMatch), "{name}");
        assert_eq!(pool.seen(), expected, "{name}");
    }
    assert_ne!(tag_of(&pool.ask(publish(Some(second), None, 600))), second);
}

//= RFC 3903 6
//= type=test
#[test]
fn a_publication_for_no_time_is_answered_and_not_kept() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 600));
    let tag = tag_of(&pool.ask(publish(None, Some("a"), 0)));
    assert!(pool.seen().is_empty() && pool.told.is_empty());
    assert_eq!(
        pool.ask(publish(Some(tag), None, 600)),
        refused(Refusal::NoMatch)
    );
}

//= RFC 3903 4.1
//= type=test
#[test]
fn no_tag_is_ever_used_twice() {
    let mut pool = Pool::start();
    let mut tags = Vec::new();
    let create = || publish(None, Some("a"), 600);
    for outcome in pool.ask_all(&[create(), create(), create()]) {
        tags.push(tag_of(&outcome));
    }
    for round in 0..5 {
        let again = tag_of(&pool.ask(publish(Some(tags[round]), None, 600)));
        tags.push(again);
    }
    pool.wait_s(700);
    tags.push(tag_of(&pool.ask(create())));
    let all = tags.len();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), all);
}

//= RFC 3903 4.3
//= type=exception
//= reason=BluStar's tag lives as long as the publication (contradiction C-75); the dialect asks for it (house D11)
#[test]
fn a_dialect_may_have_its_tag_kept() {
    let mut pool = Pool::start();
    let keep = |if_match, content| match publish(if_match, content, 600) {
        Command::Publish(publish) => Command::Publish(Publish {
            tag_policy: TagPolicy::Keep,
            ..publish
        }),
        other => other,
    };
    let tag = tag_of(&pool.ask(keep(None, Some("a"))));
    assert_eq!(tag_of(&pool.ask(keep(Some(tag), None))), tag);
    assert_eq!(tag_of(&pool.ask(keep(Some(tag), Some("b")))), tag);
}

//= RFC 3903 4.2
//= type=test
/// BLOG-05: several sources publish for one presentity; each changes its own.
#[test]
fn publications_of_one_presentity_stand_side_by_side() {
    let mut pool = Pool::start();
    let desk = tag_of(&pool.ask(publish(None, Some("desk phone"), 600)));
    let mobile = tag_of(&pool.ask(publish(None, Some("mobile"), 600)));
    pool.ask(publish(None, Some("calendar"), 600));
    pool.ask(publish(Some(mobile), Some("mobile, moving"), 600));
    assert_eq!(pool.seen(), ["desk phone", "mobile, moving", "calendar"]);
    pool.ask(publish(Some(desk), None, 0));
    assert_eq!(pool.seen(), ["mobile, moving", "calendar"]);
}

//= RFC 3903 6
//= type=test
/// BLOG-05: three publications, one NOTIFY. A watcher is told of what can be seen, once.
#[test]
fn a_visible_change_is_told_and_a_refresh_is_not() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 600));
    let dialog = DialogKey(1);
    pool.ask_all(&[
        publish(None, Some("desk phone"), 60),
        publish(None, Some("mobile"), 60),
        publish(None, Some("calendar"), 60),
    ]);
    assert_eq!(pool.notices(), [(dialog, 2, active(600))]);
    assert_eq!(pool.shown(), ["desk phone", "mobile", "calendar"]);

    let tag = tag_of(&pool.ask(publish(None, Some("home"), 60)));
    assert_eq!(pool.notices(), [(dialog, 3, active(600))]);
    let revision = pool.told[0].0.revision;
    let tag = tag_of(&pool.ask(publish(Some(tag), None, 90)));
    assert!(pool.told.is_empty(), "a refresh shows nothing new");
    pool.ask(publish(Some(tag), Some("home"), 90));
    assert_eq!(pool.notices(), [(dialog, 4, active(600))]);
    assert!(pool.told[0].0.revision > revision);

    pool.wait_s(60);
    assert_eq!(
        pool.notices(),
        [(dialog, 5, active(540))],
        "three end together"
    );
    assert_eq!(pool.shown(), ["home"]);
    pool.wait_s(30);
    assert_eq!(pool.notices(), [(dialog, 6, active(510))]);
    assert!(pool.shown().is_empty());
}

/// House D9.
#[test]
fn a_repeated_request_is_answered_from_memory() {
    let mut pool = Pool::start();
    pool.ask(subscribe(1, 1, 600));
    let first = pool.ask(publish(None, Some("a"), 600));
    pool.wait_s(31);
    assert_eq!(pool.repeat(publish(None, Some("a"), 600)), first);
    assert!(pool.told.is_empty());
    assert_eq!(pool.seen(), ["a"]);
    pool.wait_s(2);
    assert_ne!(
        pool.repeat(publish(None, Some("a"), 600)),
        first,
        "64·T1 are over"
    );
    assert_eq!(pool.seen(), ["a", "a"]);
}

//= RFC 3903 14.2
//= type=test
#[test]
fn a_presentity_is_bounded() {
    let mut pool = Pool::start();
    let big = "x".repeat(CONTENT_BYTES_MAX + 1);
    let tag = tag_of(&pool.ask(publish(None, Some(&big[1..]), 600)));
    for if_match in [None, Some(tag)] {
        let too_large = publish(if_match, Some(&big), 600);
        assert_eq!(pool.ask(too_large), refused(Refusal::ContentTooLarge));
    }
    for _ in 1..PUBLICATIONS_MAX {
        tag_of(&pool.ask(publish(None, Some("a"), 600)));
    }
    assert_eq!(
        pool.ask(publish(None, Some("a"), 600)),
        refused(Refusal::TooManyPublications)
    );
    tag_of(&pool.ask(publish(Some(tag), Some("b"), 600)));
}
