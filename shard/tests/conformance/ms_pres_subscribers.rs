//! The limits of a subscriber list (MS-PRES 3.6.5.1, 3.6.5.3): of entries, and of what their contexts say.

use shard::category::Category;
use shard::machine::command::{Command, Extras, Subscribe};
use shard::machine::effect::Shown;
use shard::machine::outcome::Outcome;
use shard::presence::container::Network;
use shard::presence::limits::{CONTEXT_BYTES_MAX, SUBSCRIBERS_MAX};
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, DialogKey, Format, LocalTag, Package};
use shard::subscription::watch::{Action, Resource, Wish};

use crate::pool::{ALICE, Pool};

/// SUBSCRIBE to Alice's state by somebody, with what it says about why; gives what rides in the answer.
fn watch(pool: &mut Pool, number: u128, context: Option<&[u8]>) -> Box<Shown> {
    let watcher = format!("watcher{number}@example.org");
    let resource = Resource {
        address: ALICE,
        context,
    };
    let action = Action {
        subscribe: true,
        resources: vec![resource],
        categories: vec![Category::State],
    };
    let outcome = pool.ask(Command::Subscribe(Subscribe {
        presentity: ALICE,
        watcher: &watcher,
        package: Package::Categories,
        format: Format::Categories,
        dialog: DialogKey(number),
        local_tag: LocalTag::new(Slot::of(ALICE), 7),
        cseq: 1,
        expires_s: 600,
        route: b"route",
        target: b"target",
        extras: Some(Box::new(Extras {
            abroad: Default::default(),
            watchers_max: 100_000,
            network: Network::SameEnterprise,
            delivery: Delivery::Benotify,
            piggyback: true,
            endpoint: None,
            registered: false,
            display_name: "",
            wish: Wish::Categories(vec![action]),
        })),
        savers: None,
    }));
    assert!(
        matches!(outcome, Outcome::Piggybacked { .. }),
        "{outcome:?}"
    );
    pool.shown_in_answer
        .take()
        .expect("something rides in the answer")
}

/// How many are listed, and how many dialogs watch.
fn counted(pool: &Pool) -> (usize, usize) {
    let report = pool.machine.report(ALICE).expect("alice is watched");
    let listed = report
        .enhanced
        .map_or(0, |enhanced| enhanced.subscribers.iter().len());
    (listed, report.batches.len())
}

//= MS-PRES 3.6.5.1
//= type=test
//# the list is limited; who does not fit is told 413 in the place of a subscription
//= MS-PRES 3.6.5.3
//= type=test
// proves: PRES-3.6.5.1-06 PRES-3.6.5.3-05
#[test]
fn who_does_not_fit_into_the_list_is_not_subscribed() {
    let mut pool = Pool::start();
    for number in 0..SUBSCRIBERS_MAX {
        let shown = watch(&mut pool, number as u128 + 1, Some(b""));
        assert!(shown.over_quota.is_empty() && shown.views.len() == 1);
    }
    assert_eq!(counted(&pool), (SUBSCRIBERS_MAX, SUBSCRIBERS_MAX));
    let shown = watch(&mut pool, 5_000, Some(b""));
    // Told as quotaExceeded with 413, as any resource with too many watchers.
    assert_eq!(shown.over_quota.len(), 1);
    assert!(shown.views.is_empty());
    assert_eq!(counted(&pool), (SUBSCRIBERS_MAX, SUBSCRIBERS_MAX));
    // Who asks for no entry, and who has one, is not in the way.
    assert_eq!(watch(&mut pool, 5_001, None).views.len(), 1);
    assert_eq!(watch(&mut pool, 5_002, None).views.len(), 1);
    assert_eq!(counted(&pool), (SUBSCRIBERS_MAX, SUBSCRIBERS_MAX + 2));
}

//= MS-PRES 3.6.5.3
//= type=test
//# the contexts of a list are limited all together
// proves: PRES-3.6.5.1-08 PRES-3.6.5.3-04
#[test]
fn a_context_that_does_not_fit_is_told_as_well() {
    let mut pool = Pool::start();
    let context = vec![b'x'; 4_096];
    let fitting = CONTEXT_BYTES_MAX / context.len();
    for number in 0..fitting {
        assert!(
            watch(&mut pool, number as u128 + 1, Some(&context))
                .over_quota
                .is_empty()
        );
    }
    assert_eq!(watch(&mut pool, 5_000, Some(&context)).over_quota.len(), 1);
    assert_eq!(watch(&mut pool, 5_001, Some(b"")).over_quota.len(), 0);
    assert_eq!(counted(&pool), (fitting + 1, fitting + 1));
}
