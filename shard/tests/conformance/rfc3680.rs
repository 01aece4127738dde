//! RFC 3680, registrations: told to who watches them when a binding comes, goes or moves.

use shard::machine::command::{Bindings, Command, Subscribe};
use shard::presence::endpoint::Unbinding;
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, Format, LocalTag, Package};
use shard::subscription::view::Seen;

use crate::pool::{ALICE, BOB, Pool, bind, register, subscribe};

/// Bindings that there are, and those that have gone, in the only notification of the last entry.
fn shown(pool: &Pool) -> (Vec<u64>, Vec<(u64, Unbinding)>) {
    let [(view, notices)] = &pool.told[..] else {
        panic!("{} notifications", pool.told.len());
    };
    assert_eq!((notices.len(), view.package), (1, Package::Reg));
    let Seen::Registrations { bound, unbound } = &view.seen else {
        panic!("of another kind");
    };
    let bound = bound.iter().map(|endpoint| endpoint.binding);
    let unbound = unbound
        .iter()
        .map(|(endpoint, how)| (endpoint.binding, *how));
    (bound.collect(), unbound.collect())
}

//= RFC 3680 4.6
//= type=test
//= RFC 3680 4.7
//= type=test
#[test]
fn a_binding_is_told_when_it_comes_and_when_it_goes() {
    let mut pool = Pool::start();
    let each = |bindings| register(1, 0, Bindings::Each(bindings));
    let numbered = |cseq, command| match command {
        Command::Register(register) => {
            Command::Register(shard::machine::command::Register { cseq, ..register })
        }
        other => other,
    };
    // Nobody watches, or only presence: nobody is told.
    pool.ask(numbered(1, each(vec![bind(1, 60)])));
    assert_eq!(pool.notices(), []);
    pool.ask(subscribe(2, 1, 600));
    pool.ask(Command::Subscribe(Subscribe {
        savers: None,
        presentity: ALICE,
        watcher: BOB,
        package: Package::Reg,
        format: Format::RegInfo,
        dialog: DialogKey(1),
        local_tag: LocalTag::new(Slot::of(ALICE), 77),
        cseq: 1,
        expires_s: 600,
        route: b"route",
        target: b"target",
        extras: None,
    }));
    assert_eq!(shown(&pool), (vec![1], vec![]));
    pool.ask(numbered(2, each(vec![bind(2, 600)])));
    assert_eq!(shown(&pool), (vec![1, 2], vec![]));
    pool.ask(numbered(3, each(vec![bind(2, 600)])));
    assert_eq!(pool.notices(), [], "a refresh is no news");
    pool.wait_s(60);
    assert_eq!(shown(&pool), (vec![2], vec![(1, Unbinding::Expired)]));
    pool.ask(numbered(4, each(vec![bind(2, 0)])));
    assert_eq!(shown(&pool), (vec![], vec![(2, Unbinding::Unregistered)]));
    pool.ask(numbered(5, each(vec![bind(3, 60), bind(4, 60)])));
    assert_eq!(shown(&pool), (vec![3, 4], vec![]));
    pool.ask(register(1, 6, Bindings::RemoveAll));
    let gone = |number| (number, Unbinding::Unregistered);
    assert_eq!(shown(&pool), (vec![], vec![gone(3), gone(4)]));
}
