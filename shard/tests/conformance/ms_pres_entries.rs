//! What meets within one entry: a change and who asks, a new leader and an end, a snapshot and what was forgotten.
//! The simulation found each of these.

use shard::category::{Category, Meaning};
use shard::machine::Machine;
use shard::machine::command::{Act, Command, Entry, Extras, Leader, PublishInstances, Subscribe};
use shard::machine::effect::Effect;
use shard::presence::contacts::ContactChange;
use shard::presence::container::Network;
use shard::presence::instance::{Deed, Publication, Wished};
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, DialogKey, Format, LocalTag, Package};
use shard::subscription::view::Seen;
use shard::subscription::watch::{Action, Resource, Scope, Wish};

use crate::pool::{ALICE, BOB, Pool, publish};

const NEW_LEADER: Act<'static> = Act::TermStart {
    leader: Leader { node: 2, life: 1 },
    salt: 1,
};

/// SUBSCRIBE of somebody, in a dialog that lives with itself; the first notification rides in the answer.
fn subscribe<'a>(own: &'a str, package: Package, format: Format, wish: Wish<'a>) -> Command<'a> {
    Command::Subscribe(Subscribe {
        presentity: own,
        watcher: own,
        package,
        format,
        dialog: DialogKey(7),
        local_tag: LocalTag::new(Slot::of(own), 7),
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
            wish,
        })),
        savers: None,
    })
}

/// An address whose last publication ended, and which only a batch watches, is shown alike by a machine that
/// remembers and by one that was restored.
#[test]
fn a_restored_machine_remembers_no_more_and_no_less() {
    let mut pool = Pool::start();
    let resource = Resource {
        address: ALICE,
        context: None,
    };
    let action = Action {
        subscribe: true,
        resources: vec![resource],
        categories: vec![Category::State],
    };
    let wish = Wish::Categories(vec![action]);
    pool.ask(subscribe(
        BOB,
        Package::Categories,
        Format::Categories,
        wish,
    ));
    pool.ask(publish(None, Some("here"), 60));
    pool.wait_s(61);
    assert_eq!(pool.told.len(), 1, "bob is told of the end");
    let mut bytes = Vec::new();
    pool.machine.snapshot().write(&mut bytes).expect("written");
    let mut restored = Machine::restore(&mut &bytes[..]).expect("restored");
    let entry = Entry {
        at: pool.machine.now(),
        act: NEW_LEADER,
    };
    for machine in [&mut pool.machine, &mut restored] {
        let mut effects = Vec::new();
        machine.apply(100, &entry, &mut effects);
        assert_eq!(effects.len(), 1, "bob is told again");
    }
    assert_eq!(pool.machine.attest(0), restored.attest(0));
}

/// Who subscribes behind a change of the same entry is shown the list with it, and not told the step.
#[test]
fn a_step_is_not_told_to_who_was_shown_it() {
    let mut pool = Pool::start();
    let change = Command::ChangeContacts {
        presentity: ALICE,
        delta_num: 1,
        change: ContactChange::AddGroup {
            name: "friends".into(),
            external_uri: "".into(),
        },
        contacts_max: 10,
        endpoint: None,
    };
    let watch = subscribe(
        ALICE,
        Package::RoamingContacts,
        Format::RoamingContacts,
        Wish::Contacts(false),
    );
    pool.ask_all(&[change, watch]);
    let shown = pool.shown_in_answer.take().expect("the list");
    assert!(matches!(&shown.views[0].seen, Seen::Contacts { list, .. } if list.delta_num == 2));
    assert!(pool.told.is_empty(), "{:?}", pool.told);
}

//= MS-PRES 1.3.1.5
//= type=test
//# what is gone is told to be gone, also when a new leader tells everything again
#[test]
fn a_new_leader_tells_what_ended_with_its_first_entry() {
    let mut pool = Pool::start();
    pool.ask(subscribe(
        ALICE,
        Package::RoamingSelf,
        Format::RoamingSelf,
        Wish::Own(Scope::CATEGORIES),
    ));
    let note = Publication {
        category: Category::Note,
        container: 300,
        number: 0,
        version: 0,
        deed: Deed::Set {
            life: Wished::Seconds(10),
            xml: b"<a/>",
            meaning: Meaning::Opaque,
        },
    };
    pool.ask(Command::PublishInstances(PublishInstances {
        presentity: ALICE,
        endpoint: None,
        category_bytes_max: 10_000,
        publications: vec![note],
    }));
    let entry = Entry {
        at: pool.machine.now().plus_s(10),
        act: NEW_LEADER,
    };
    let mut effects = Vec::new();
    pool.machine.apply(100, &entry, &mut effects);
    let [Effect::Notify { view, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    let Seen::Own(own) = &view.seen else {
        panic!("{view:?}");
    };
    assert_eq!(own.cleared, [(Category::Note, 300)]);
}
