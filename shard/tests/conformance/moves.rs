//! A slot moves from one shard to another (house D15): nothing is lost, nothing is done twice, nothing goes
//! back, whatever step is repeated.

use std::collections::BTreeMap;

use shard::category::Category;
use shard::machine::Machine;
use shard::machine::command::{Act, Bindings, Command, Extras, Resubscribe, Subscribe};
use shard::machine::crossing::{Answer, Question};
use shard::machine::moves::{Arriving, PARTS_MAX, Standing, Step, sum_of};
use shard::machine::outcome::{Outcome, Refusal};
use shard::presence::container::Network;
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, DialogKey, EndReason, Format, LocalTag, Package};
use shard::subscription::watch::{Action, Entry, Origin, Resource, Wish};

use crate::pool::{
    ALICE, BOB, Pool, active, bind, bound, publish, refused, register, resubscribe, subscribe,
    tag_of, terminated,
};

const MOVE: u64 = 7;

fn slot() -> Slot {
    Slot::of(ALICE)
}

fn step(pool: &mut Pool, number: u64, step: Step<'_>) {
    let command = Command::MoveSlot {
        slot: slot(),
        number,
        step,
    };
    assert_eq!(pool.ask(command), Outcome::Done);
}

fn standing(pool: &Pool) -> Option<(u64, Standing)> {
    let mut standings = pool.machine.standings();
    standings
        .find(|(of, ..)| *of == slot())
        .map(|(_, number, standing)| (number, standing))
}

/// The parcel in parts, as a mover cuts it.
fn parts(parcel: &[u8], count: usize) -> Vec<Step<'_>> {
    let size = parcel.len().div_ceil(count);
    let cut: Vec<&[u8]> = parcel.chunks(size).collect();
    let parts = cut.len() as u16;
    (0..)
        .zip(cut)
        .map(|(part, bytes)| Step::Import {
            part,
            parts,
            sum: sum_of(parcel),
            bytes,
        })
        .collect()
}

fn parcel(from: &Pool, number: u64) -> Vec<u8> {
    let export = from.machine.export(slot(), number);
    export.expect("it is frozen for this move").pack()
}

/// Moves Alice's slot, in three parts.
fn carry(from: &mut Pool, to: &mut Pool, number: u64) {
    step(from, number, Step::Freeze);
    for part in parts(&parcel(from, number), 3) {
        step(to, number, part);
    }
    step(to, number, Step::Open);
    step(from, number, Step::Drop);
}

/// What the audit sees of Alice's slot, but for its mark: of a machine to which nothing else has happened.
fn content(pool: &Pool) -> Vec<u8> {
    let mut other = Machine::restore(&mut &snapshot(&pool.machine)[..]).expect("it is sound");
    let number = standing(pool).map_or(1, |(number, _)| number + 1);
    let command = Command::MoveSlot {
        slot: slot(),
        number,
        step: Step::Freeze,
    };
    let request = shard::machine::command::Request {
        key: shard::machine::outcome::RequestKey(1),
        ticket: shard::machine::command::Ticket(0),
        command,
    };
    let entry = shard::machine::command::Entry {
        at: other.now(),
        act: Act::Requests(vec![request]),
    };
    other.apply(other.applied() + 1, &entry, &mut Vec::new());
    let packed = other.export(slot(), number).expect("it is frozen").pack();
    // Behind version, slot, move, time and salts: the section.
    let salts = u32::from_le_bytes(packed[20..24].try_into().expect("4 bytes")) as usize;
    let at = 24 + 4 * salts;
    let length = u32::from_le_bytes(packed[at..at + 4].try_into().expect("4 bytes")) as usize;
    packed[at + 4..at + 4 + length].to_vec()
}

fn snapshot(machine: &Machine) -> Vec<u8> {
    let mut bytes = Vec::new();
    let snapshot = machine.snapshot();
    snapshot.write(&mut bytes).expect("memory takes all");
    bytes
}

/// Replaces the machine by what a snapshot of it becomes: the audit must see the same.
fn restart(pool: &mut Pool) {
    let restored = Machine::restore(&mut &snapshot(&pool.machine)[..]).expect("it is sound");
    let audit = u64::from(slot().number()) * 4_096;
    assert_eq!(restored.attest(audit), pool.machine.attest(audit));
    assert_eq!(restored.counts(), pool.machine.counts());
    assert!(restored.standings().eq(pool.machine.standings()));
    pool.machine = restored;
}

/// Alice with all there is of plain telephones.
fn furnished() -> Pool {
    let mut pool = Pool::start();
    pool.ask(register(1, 1, Bindings::Each(vec![bind(5, 3_600)])));
    pool.ask(publish(None, Some("<here/>"), 600));
    pool.ask(subscribe(1, 1, 1_200));
    pool.ask(subscribe(2, 1, 2_400));
    pool.ask(publish(None, Some("<there/>"), 90));
    // Nothing of it is so young that it would be told again.
    pool.wait_s(40);
    pool
}

#[test]
fn what_arrives_is_what_left() {
    let mut from = furnished();
    let before = content(&from);
    let mut to = Pool::start_other();
    to.wait_s(40);
    carry(&mut from, &mut to, MOVE);
    assert_eq!(content(&to), before);
    assert_eq!(from.machine.counts().presentities, 0);
    assert_eq!(from.machine.counts().dialogs, 0);
    let counts = to.machine.counts();
    assert_eq!((counts.publications, counts.dialogs), (2, 2));
    assert_eq!((counts.presentities, counts.endpoints), (1, 1));
    assert_eq!(to.seen(), ["<here/>", "<there/>"]);
    // It ends there what would have ended here.
    to.wait_s(50);
    assert_eq!(to.shown(), ["<here/>"]);
    assert_eq!(
        bound(&to.ask(register(1, 2, Bindings::Nothing))),
        [(5, 3_600 - 90)]
    );
}

#[test]
fn every_step_may_come_again() {
    for restarts in [false, true] {
        let mut from = furnished();
        let before = content(&from);
        let mut to = Pool::start_other();
        let twice = |pool: &mut Pool, what: Step<'_>| {
            step(pool, MOVE, what);
            let after = standing(pool);
            if restarts {
                restart(pool);
            }
            step(pool, MOVE, what);
            assert_eq!(standing(pool), after, "{what:?}");
        };
        twice(&mut from, Step::Freeze);
        let packed = parcel(&from, MOVE);
        // In any order.
        for part in parts(&packed, 4).into_iter().rev() {
            assert_ne!(
                standing(&to),
                Some((MOVE, Standing::Arriving(Arriving::Whole)))
            );
            // Opening too early opens nothing.
            step(&mut to, MOVE, Step::Open);
            twice(&mut to, part);
        }
        assert_eq!(
            standing(&to),
            Some((MOVE, Standing::Arriving(Arriving::Whole)))
        );
        twice(&mut to, Step::Open);
        assert_eq!(standing(&to), Some((MOVE, Standing::Here)));
        let told: usize = to.told.iter().map(|(_, notices)| notices.len()).sum();
        assert_eq!(told, 0, "the second opening tells nobody");
        twice(&mut from, Step::Drop);
        assert_eq!(standing(&from), Some((MOVE, Standing::Gone)));
        // Late steps of the same move, from a driver that was asleep.
        for part in parts(&packed, 4) {
            twice(&mut to, part);
            twice(&mut from, part);
        }
        for late in [Step::Freeze, Step::Thaw, Step::Abandon, Step::Open] {
            twice(&mut from, late);
            assert_eq!(standing(&from), Some((MOVE, Standing::Gone)), "{late:?}");
        }
        for late in [Step::Freeze, Step::Thaw, Step::Drop, Step::Abandon] {
            twice(&mut to, late);
            assert_eq!(standing(&to), Some((MOVE, Standing::Here)), "{late:?}");
        }
        assert_eq!(content(&to), before);
        assert_eq!(from.machine.counts().presentities, 0);
    }
}

#[test]
fn a_frozen_slot_says_nothing_and_ends_nothing() {
    let mut pool = furnished();
    let outcome = pool.ask(publish(None, Some("<new/>"), 600));
    let tag = tag_of(&outcome);
    step(&mut pool, MOVE, Step::Freeze);
    for command in [
        publish(Some(tag), None, 0),
        publish(None, Some("<newer/>"), 60),
        subscribe(3, 1, 60),
        resubscribe(1, 2, 0),
        register(1, 9, Bindings::RemoveAll),
    ] {
        assert_eq!(pool.ask(command), Outcome::Moving);
        assert!(pool.told.is_empty());
    }
    let question = Question::View {
        presentity: ALICE,
        package: Package::Presence,
    };
    assert!(matches!(pool.machine.look_up(&question), Answer::Moving));
    // Everything would end within this time.
    pool.wait_s(10_000);
    assert!(pool.told.is_empty(), "{:?}", pool.told);
    assert_eq!(pool.machine.next_deadline(), None);
    pool.lead(2);
    assert!(
        pool.told.is_empty(),
        "a new leader tells nothing of it either"
    );
    restart(&mut pool);
    // It has left: it ends where it is.
    let packed = parcel(&pool, MOVE);
    let mut to = Pool::start_other();
    for part in parts(&packed, 1) {
        step(&mut to, MOVE, part);
    }
    step(&mut to, MOVE, Step::Open);
    let mut ended: Vec<_> = to.notices();
    ended.sort_by_key(|(dialog, ..)| *dialog);
    let timeout = terminated(EndReason::Timeout);
    let ends: Vec<_> = ended
        .iter()
        .map(|(dialog, _, state)| (dialog.0, *state))
        .collect();
    assert_eq!(ends, [(1, timeout), (2, timeout)]);
    assert_eq!(to.machine.counts().presentities, 0);
}

/// What a request changed that stands in the entry before the slot is frozen is told, and leaves with it.
#[test]
fn who_comes_before_the_freeze_in_its_entry_is_served() {
    let mut pool = furnished();
    let freeze = Command::MoveSlot {
        slot: slot(),
        number: MOVE,
        step: Step::Freeze,
    };
    let early = publish(None, Some("<early/>"), 600);
    let late = publish(None, Some("<late/>"), 600);
    let thaw = Command::MoveSlot {
        slot: slot(),
        number: MOVE,
        step: Step::Thaw,
    };
    let outcomes = pool.ask_all(&[early, freeze, late, thaw]);
    assert!(matches!(outcomes[0], Outcome::Published { .. }));
    assert_eq!(outcomes[2], Outcome::Moving);
    assert_eq!(pool.shown(), ["<here/>", "<there/>", "<early/>"]);
    assert_eq!(pool.notices().len(), 2);
    assert_eq!(standing(&pool), Some((MOVE, Standing::Frozen)));
    let mut to = Pool::start_other();
    for part in parts(&parcel(&pool, MOVE), 2) {
        step(&mut to, MOVE, part);
    }
    step(&mut to, MOVE, Step::Open);
    assert_eq!(to.seen(), ["<here/>", "<there/>", "<early/>"]);
}

//= RFC 3261 12.2.1.1
//= type=test
//# a dialog's numbers go on where they were, and what the old leader may not have sent is told again
#[test]
fn dialogs_keep_their_numbers_and_what_is_young_is_told_again() {
    let mut from = furnished();
    let mut last: BTreeMap<DialogKey, u32> = BTreeMap::new();
    from.ask(publish(None, Some("<young/>"), 600));
    for (dialog, cseq, _) in from.notices() {
        last.insert(dialog, cseq);
    }
    from.ask(subscribe(9, 1, 600));
    last.insert(DialogKey(9), 1);
    let mut to = Pool::start_other();
    to.wait_s(40);
    step(&mut from, MOVE, Step::Freeze);
    for part in parts(&parcel(&from, MOVE), 3) {
        step(&mut to, MOVE, part);
    }
    step(&mut to, MOVE, Step::Open);
    let again = to.notices();
    assert_eq!(again.len(), 3, "{again:?}");
    for (dialog, cseq, state) in again {
        assert_eq!(cseq, last[&dialog] + 1, "{dialog}");
        assert_ne!(state, terminated(EndReason::Timeout));
    }
    assert!(to.shown().contains(&"<young/>".to_owned()));
    // The watcher's own numbers count on as well.
    assert_eq!(to.ask(resubscribe(9, 1, 60)), refused(Refusal::OutOfOrder));
    assert!(matches!(
        to.ask(resubscribe(9, 2, 60)),
        Outcome::Subscribed { .. }
    ));
    assert_eq!(to.notices(), [(DialogKey(9), 3, active(60))]);
    // Revisions do not go back, although this log is another one.
    let view = to.machine.fetch(ALICE, Package::Presence);
    to.ask(publish(None, Some("<newest/>"), 600));
    let newer = to.machine.fetch(ALICE, Package::Presence);
    assert!(newer.revision > view.revision);
}

/// To a shard whose log is far shorter, revisions go on from what they were.
#[test]
fn revisions_do_not_go_back_in_a_shorter_log() {
    let mut from = Pool::start_other();
    from.ask(publish(None, Some("<one/>"), 600));
    let revision = from.machine.fetch(ALICE, Package::Presence).revision;
    let mut to = Pool::start();
    carry(&mut from, &mut to, MOVE);
    assert!(to.index() < revision);
    let mut last = revision;
    for content in ["<two/>", "<three/>"] {
        to.ask(publish(None, Some(content), 600));
        let now = to.machine.fetch(ALICE, Package::Presence).revision;
        assert!(now > last, "{now} after {last}");
        last = now;
    }
}

/// House D9 holds across a move: one effect exactly.
#[test]
fn a_repeated_request_is_answered_with_its_first_outcome_after_the_move() {
    let mut from = Pool::start();
    let first = from.ask(publish(None, Some("<once/>"), 600));
    let mut to = Pool::start_other();
    step(&mut from, MOVE, Step::Freeze);
    let repeat = publish(None, Some("<once/>"), 600);
    let mut late = Pool::start_other();
    for part in parts(&parcel(&from, MOVE), 2) {
        step(&mut to, MOVE, part);
        step(&mut late, MOVE, part);
    }
    step(&mut to, MOVE, Step::Open);
    // The repeat met the frozen slot, and comes here now. It was the first request of all.
    assert_eq!(from.ask_again(1, repeat.clone()), Outcome::Moving);
    let again = to.ask_again(1, repeat);
    assert_eq!(again, first);
    assert_eq!(to.seen(), ["<once/>"]);
    // What arrives may not be asked before it is open.
    assert_eq!(late.ask(publish(None, Some("<x/>"), 60)), Outcome::Moving);
}

//= RFC 3903 4.1
//= type=test
//# a tag of the old shard lives on; one of the new is never one that was there
#[test]
fn entity_tags_of_both_shards_differ_although_their_salts_were_equal() {
    let mut from = Pool::start();
    let mut given = vec![tag_of(&from.ask(publish(None, Some("<a/>"), 600)))];
    let mut to = Pool::start_beside();
    // The same log positions, the same salt: the same tags, were nothing done about it.
    carry(&mut from, &mut to, MOVE);
    let modified = to.ask(publish(Some(given[0]), Some("<b/>"), 600));
    given.push(tag_of(&modified));
    for _ in 0..20 {
        let tag = tag_of(&to.ask(publish(None, Some("<c/>"), 600)));
        assert!(!given.contains(&tag), "{tag}");
        assert_ne!(tag.salt, given[0].salt);
        given.push(tag);
    }
    assert_eq!(
        to.ask(publish(Some(given[0]), None, 600)),
        refused(Refusal::NoMatch)
    );
    // And back: the salts of its whole way are known.
    carry(&mut to, &mut from, MOVE + 1);
    let tag = tag_of(&from.ask(publish(given.last().copied(), None, 600)));
    assert!(!given.contains(&tag));
    carry(&mut from, &mut to, MOVE + 2);
    assert_eq!(to.machine.counts().publications, 21);
}

#[test]
fn a_move_that_is_given_up_leaves_everything_where_it_was() {
    let mut from = furnished();
    let before = content(&from);
    let mut to = Pool::start_other();
    step(&mut from, MOVE, Step::Freeze);
    let packed = parcel(&from, MOVE);
    for part in parts(&packed, 2) {
        step(&mut to, MOVE, part);
    }
    step(&mut from, MOVE, Step::Thaw);
    assert!(from.told.is_empty());
    step(&mut to, MOVE, Step::Abandon);
    assert_eq!(content(&from), before);
    assert_eq!(standing(&from), Some((MOVE, Standing::Here)));
    assert_eq!(standing(&to), Some((MOVE, Standing::Gone)));
    assert_eq!(to.machine.counts().presentities, 0);
    step(&mut to, MOVE, Step::Open);
    assert_eq!(to.machine.counts().presentities, 0);
    // What fell due meanwhile ends when it thaws; what is asked then is done.
    step(&mut from, MOVE + 1, Step::Freeze);
    from.wait_s(60);
    step(&mut from, MOVE + 1, Step::Thaw);
    assert_eq!(from.shown(), ["<here/>"]);
    assert_eq!(from.notices().len(), 2);
    // Another attempt packs something else; what the first one left is not mixed with it.
    step(&mut from, MOVE + 2, Step::Freeze);
    let (old, new) = (parts(&packed, 2), parcel(&from, MOVE + 2));
    step(&mut to, MOVE + 2, old[0]);
    for part in parts(&new, 2) {
        step(&mut to, MOVE + 2, part);
    }
    assert_eq!(
        standing(&to),
        Some((MOVE + 2, Standing::Arriving(Arriving::Whole)))
    );
    step(&mut to, MOVE + 2, Step::Open);
    step(&mut from, MOVE + 2, Step::Drop);
    assert_eq!(to.seen(), ["<here/>"]);
}

#[test]
fn a_parcel_that_makes_no_sense_is_never_opened() {
    let mut from = furnished();
    step(&mut from, MOVE, Step::Freeze);
    let packed = parcel(&from, MOVE);
    let refused = |damaged: &[u8], sum: u32, name: &str| {
        let mut to = Pool::start_other();
        let step_of = Step::Import {
            part: 0,
            parts: 1,
            sum,
            bytes: damaged,
        };
        step(&mut to, MOVE, step_of);
        let now = standing(&to);
        assert_eq!(
            now,
            Some((MOVE, Standing::Arriving(Arriving::Illegible))),
            "{name}"
        );
        step(&mut to, MOVE, Step::Open);
        assert_eq!(standing(&to), now, "{name}");
        restart(&mut to);
        // The next attempt is not in its way.
        for part in parts(&packed, 3) {
            step(&mut to, MOVE, part);
        }
        step(&mut to, MOVE, Step::Open);
        assert_eq!(to.machine.counts().dialogs, 2, "{name}");
    };
    let mut other = packed.clone();
    *other.last_mut().expect("it has bytes") ^= 1;
    refused(&other, sum_of(&packed), "another sum");
    let mut newer = packed.clone();
    newer[0] = 99;
    refused(&newer, sum_of(&newer), "of a newer release");
    for length in [0, 1, 30, packed.len() - 1] {
        let cut = &packed[..length];
        refused(cut, sum_of(cut), "cut short");
    }
    // A part that is none, and more parts than there may be, are not kept.
    for (part, parts) in [(1, 1), (0, 0), (3, PARTS_MAX + 1)] {
        let mut to = Pool::start_other();
        let step_of = Step::Import {
            part,
            parts,
            sum: 0,
            bytes: b"x",
        };
        step(&mut to, MOVE, step_of);
        assert_eq!(standing(&to), None);
    }
    // Nothing comes where the slot is, and lives.
    let mut owner = furnished();
    for part in parts(&packed, 1) {
        step(&mut owner, MOVE, part);
    }
    assert_eq!(standing(&owner), None);
    assert_eq!(owner.machine.counts().dialogs, 2);
}

/// Bytes of all kinds, as a wrong driver would write them: no panic.
#[test]
fn damage_anywhere_in_a_parcel_does_no_harm() {
    let mut from = furnished();
    step(&mut from, MOVE, Step::Freeze);
    let packed = parcel(&from, MOVE);
    for at in 0..packed.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = packed.clone();
            damaged[at] ^= flip;
            let mut to = Pool::start_other();
            let whole = Step::Import {
                part: 0,
                parts: 1,
                sum: sum_of(&damaged),
                bytes: &damaged,
            };
            step(&mut to, MOVE, whole);
            step(&mut to, MOVE, Step::Open);
            to.wait_s(5_000);
        }
    }
}

/// Watches categories in a dialog that lives with `home`.
fn batch(home: &'static str, number: u128, resources: &[&'static str]) -> Command<'static> {
    let resources = resources.iter().map(|address| Resource {
        address,
        context: None,
    });
    let action = Action {
        subscribe: true,
        resources: resources.collect(),
        categories: vec![Category::State],
    };
    Command::Subscribe(Subscribe {
        presentity: home,
        watcher: BOB,
        package: Package::Categories,
        format: Format::Categories,
        dialog: DialogKey(number),
        local_tag: LocalTag::new(Slot::of(home), 7),
        cseq: 1,
        expires_s: 600,
        route: b"route",
        target: b"target",
        extras: Some(Box::new(Extras {
            watchers_max: 100_000,
            network: Network::SameEnterprise,
            delivery: Delivery::Benotify,
            piggyback: false,
            endpoint: None,
            registered: false,
            display_name: "",
            abroad: Default::default(),
            wish: Wish::Categories(vec![action]),
        })),
        savers: None,
    })
}

//= RFC 6665 4.1.3
//= type=test
//# a batch that the move would tear is told deactivated, and may come back at once
#[test]
fn batches_that_the_move_would_tear_end_and_the_others_move() {
    assert_ne!(Slot::of(BOB), slot());
    let mut from = Pool::start();
    let torn_there = from.ask(batch(BOB, 1, &[ALICE, BOB]));
    assert!(matches!(torn_there, Outcome::Subscribed { .. }));
    from.ask(batch(ALICE, 2, &[ALICE, BOB]));
    from.ask(batch(ALICE, 3, &[ALICE]));
    from.ask(batch(BOB, 4, &[BOB]));
    from.wait_s(40);
    step(&mut from, MOVE, Step::Freeze);
    let mut ended: Vec<_> = from.notices();
    ended.sort_by_key(|(dialog, ..)| *dialog);
    let states: Vec<_> = ended
        .iter()
        .map(|(dialog, _, state)| (dialog.0, *state))
        .collect();
    let deactivated = terminated(EndReason::Deactivated);
    assert_eq!(states, [(1, deactivated), (2, deactivated)]);
    // Whoever names somebody in the frozen slot waits; the others are served.
    assert_eq!(from.ask(batch(BOB, 5, &[ALICE, BOB])), Outcome::Moving);
    let question = Question::Look {
        home: BOB,
        watcher: BOB,
        network: Network::SameEnterprise,
        format: Format::Categories,
        wish: Wish::Categories(vec![Action {
            subscribe: true,
            resources: vec![Resource {
                address: ALICE,
                context: None,
            }],
            categories: vec![Category::State],
        }]),
    };
    assert!(matches!(from.machine.look_up(&question), Answer::Moving));
    assert!(matches!(
        from.ask(batch(BOB, 6, &[BOB])),
        Outcome::Subscribed { .. }
    ));
    restart(&mut from);
    let mut to = Pool::start_other();
    for part in parts(&parcel(&from, MOVE), 2) {
        step(&mut to, MOVE, part);
    }
    step(&mut to, MOVE, Step::Open);
    step(&mut from, MOVE, Step::Drop);
    let batches = |pool: &Pool, of: &str| {
        let report = pool.machine.report(of);
        let batches = report.map(|report| report.batches).unwrap_or_default();
        batches.iter().map(|(key, _)| key.0).collect::<Vec<_>>()
    };
    assert_eq!(batches(&to, ALICE), [3], "found again through its dialog");
    assert_eq!(batches(&from, BOB), [4, 6]);
    assert_eq!(batches(&from, ALICE), [0; 0]);
    // And it is told on: an introduction to Alice is done where she is.
    to.ask(publish(None, Some("<state/>"), 600));
    assert_eq!(to.notices().len(), 1);
    restart(&mut to);
    // Whoever asks the old shard for her is sent on.
    assert_eq!(from.ask(batch(BOB, 7, &[ALICE])), Outcome::Moving);
    assert_eq!(
        from.ask(Command::Introduce {
            presentity: ALICE,
            watcher: BOB,
            network: Network::SameEnterprise,
            display_name: "",
            context: b"",
        }),
        Outcome::Moving
    );
}

/// Documents of many, in a dialog that lives with Bob.
fn list(number: u128, all: &[(&'static str, Origin)]) -> Command<'static> {
    let entries = all.iter().map(|(address, origin)| Entry {
        uri: address,
        address,
        origin: *origin,
    });
    let wish = Wish::List {
        client: None,
        entries: entries.collect(),
    };
    match batch(BOB, number, &[]) {
        Command::Subscribe(subscribe) => Command::Subscribe(Subscribe {
            package: Package::List,
            format: Format::Rlmi,
            extras: subscribe.extras.map(|extras| {
                Box::new(Extras {
                    delivery: Delivery::Notify,
                    wish,
                    ..*extras
                })
            }),
            ..subscribe
        }),
        other => other,
    }
}

/// The same, asked again in the dialog.
fn list_again(number: u128, cseq: u32, all: &[(&'static str, Origin)]) -> Command<'static> {
    match list(number, all) {
        Command::Subscribe(subscribe) => Command::Resubscribe(Resubscribe {
            savers: None,
            slot: Slot::of(BOB),
            dialog: subscribe.dialog,
            cseq,
            expires_s: subscribe.expires_s,
            target: subscribe.target,
            extras: subscribe.extras,
        }),
        other => other,
    }
}

//= RFC 4662 4.1
//= type=test
//# a list names somebody whose slot is on its way: nothing is made of the slot here, and the request waits
#[test]
fn a_list_waits_for_the_slots_of_its_members() {
    let both = [(ALICE, Origin::Here), (BOB, Origin::Here)];
    let apart = [(ALICE, Origin::Elsewhere), (BOB, Origin::Here)];
    let mut from = furnished();
    from.ask(list(1, &[(BOB, Origin::Here)]));
    step(&mut from, MOVE, Step::Freeze);
    let before = parcel(&from, MOVE);
    assert_eq!(from.ask(list(2, &both)), Outcome::Moving);
    assert_eq!(from.ask(list_again(1, 2, &both)), Outcome::Moving);
    assert!(from.told.is_empty());
    restart(&mut from);
    // It stays after all: what was set aside finds its place bare, and who asks again is served.
    step(&mut from, MOVE, Step::Thaw);
    let served = |outcome| assert!(matches!(outcome, Outcome::Subscribed { .. }), "{outcome:?}");
    served(from.ask(list(2, &both)));
    served(from.ask(list_again(1, 2, &both)));
    assert_eq!(from.notices().len(), 1);
    // What arrives is not disturbed either.
    let mut to = Pool::start_other();
    for (number, part) in (4..).zip(parts(&before, 2)) {
        step(&mut to, MOVE, part);
        assert_eq!(to.ask(list(3, &both)), Outcome::Moving);
        // Who is asked elsewhere is nobody's concern here.
        served(to.ask(list(number, &apart)));
    }
    step(&mut to, MOVE, Step::Open);
    served(to.ask(list(3, &both)));
    assert_eq!(to.machine.counts().publications, 2);
    // And who went away is asked where he is.
    step(&mut from, MOVE + 1, Step::Freeze);
    step(&mut from, MOVE + 1, Step::Drop);
    assert_eq!(from.ask(list(9, &both)), Outcome::Moving);
    // The freeze ended the lists that it cut, and nothing came of the last.
    assert_eq!(from.machine.counts().presentities, 0);
    assert_eq!(from.machine.counts().dialogs, 0);
}
