//! RFC 3261 §10, registration.

use shard::machine::command::Bindings::{Each, Nothing, RemoveAll};
use shard::machine::outcome::Refusal;
use shard::presence::limits::ENDPOINTS_MAX;

use crate::pool::{ALICE, Pool, bind, bound, publish, refused, register};

//= RFC 3261 10.3
//= type=test
#[test]
fn a_registration_is_answered_with_all_bindings() {
    let mut pool = Pool::start();
    assert_eq!(bound(&pool.ask(register(7, 1, Nothing))), []);
    assert_eq!(
        bound(&pool.ask(register(7, 2, Each(vec![bind(5, 3_600)])))),
        [(5, 3_600)]
    );
    pool.wait_s(10);
    let second = register(8, 1, Each(vec![bind(3, 60)]));
    assert_eq!(bound(&pool.ask(second)), [(3, 60), (5, 3_590)], "by number");
    assert_eq!(
        bound(&pool.ask(register(9, 1, Nothing))),
        [(3, 60), (5, 3_590)]
    );

    let report = pool.machine.report(ALICE).expect("she is registered");
    let endpoint = &report.endpoints[0];
    assert_eq!(
        (&*endpoint.contact, endpoint.q),
        ("sip:alice@192.0.2.1", 500)
    );
    assert_eq!(
        (&*endpoint.instance, &*endpoint.target),
        ("urn:uuid:1", b"flow".as_slice())
    );
    //= RFC 3327 5.3
    //= type=test
    assert_eq!(&*endpoint.path, "<sip:edge.example.com;lr>");
}

//= RFC 3261 10.3
//= type=test
#[test]
fn a_binding_ends_when_it_is_not_refreshed() {
    let mut pool = Pool::start();
    pool.ask(register(7, 1, Each(vec![bind(5, 60), bind(3, 120)])));
    pool.wait_s(59);
    assert_eq!(
        bound(&pool.ask(register(7, 2, Each(vec![bind(3, 120)])))),
        [(3, 120), (5, 1)]
    );
    pool.wait_s(1);
    assert_eq!(bound(&pool.ask(register(7, 3, Nothing))), [(3, 119)]);
    pool.wait_s(119);
    assert_eq!(bound(&pool.ask(register(7, 4, Nothing))), []);
    assert_eq!(
        pool.machine.counts().presentities,
        0,
        "nothing is left behind"
    );
}

//= RFC 3261 10.3
//= type=test
#[test]
fn a_registration_out_of_order_is_refused_as_a_whole() {
    let mut pool = Pool::start();
    pool.ask(register(7, 10, Each(vec![bind(5, 60)])));
    for (name, request) in [
        ("same number", register(7, 10, Each(vec![bind(5, 90)]))),
        ("lower", register(7, 9, Each(vec![bind(5, 0)]))),
        (
            "with a good one before",
            register(7, 10, Each(vec![bind(4, 90), bind(5, 90)])),
        ),
        ("all", register(7, 10, RemoveAll)),
    ] {
        assert_eq!(pool.ask(request), refused(Refusal::OutOfOrder), "{name}");
        assert_eq!(
            bound(&pool.ask(register(1, 1, Nothing))),
            [(5, 60)],
            "{name}"
        );
    }
    let other_call = register(8, 1, Each(vec![bind(5, 90)]));
    assert_eq!(bound(&pool.ask(other_call)), [(5, 90)]);
}

//= RFC 3261 10.2.2
//= type=test
#[test]
fn bindings_are_removed_one_by_one_or_all() {
    let mut pool = Pool::start();
    pool.ask(register(
        7,
        1,
        Each(vec![bind(5, 60), bind(3, 60), bind(4, 60)]),
    ));
    assert_eq!(
        bound(&pool.ask(register(7, 2, Each(vec![bind(3, 0)])))),
        [(4, 60), (5, 60)]
    );
    assert_eq!(bound(&pool.ask(register(7, 3, RemoveAll))), []);
    assert_eq!(pool.machine.counts().presentities, 0);
}

//= RFC 3261 10.3
//= type=test
#[test]
fn an_address_has_a_bounded_number_of_endpoints() {
    let mut pool = Pool::start();
    let most = (0..ENDPOINTS_MAX as u64).map(|n| bind(n, 60)).collect();
    assert_eq!(
        bound(&pool.ask(register(7, 1, Each(most)))).len(),
        ENDPOINTS_MAX
    );
    let one_more = register(7, 2, Each(vec![bind(1_000, 60)]));
    assert_eq!(pool.ask(one_more), refused(Refusal::TooManyEndpoints));
    let replaced = register(7, 3, Each(vec![bind(1, 0), bind(1_000, 60)]));
    assert_eq!(bound(&pool.ask(replaced)).len(), ENDPOINTS_MAX);
}

/// COM-11: one place for both.
#[test]
fn registrations_and_publications_live_side_by_side() {
    let mut pool = Pool::start();
    pool.ask(register(7, 1, Each(vec![bind(5, 60)])));
    pool.ask(publish(None, Some("a"), 600));
    pool.wait_s(60);
    assert_eq!(
        pool.seen(),
        ["a"],
        "this publication is not bound to the endpoint"
    );
    let counts = pool.machine.counts();
    assert_eq!(
        (counts.presentities, counts.endpoints, counts.publications),
        (1, 0, 1)
    );
}
