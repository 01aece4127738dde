//! RFC 4235, calls: what publications of them come to, who is told of it, and what of it is presence.

use shard::category::state::Kind;
use shard::category::{Category, Computed};
use shard::document::{dialog_info, finish, pidf};
use shard::machine::command::{Command, Publish, Subscribe};
use shard::machine::outcome::{Outcome, Refusal};
use shard::presence::instance::Body;
use shard::presence::limits::WATCHERS_MAX;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, EndReason, Format, LocalTag, Package};
use shard::subscription::view::View;

use crate::pool::{
    ALICE, BOB, Pool, active, publish, refused, resubscribe, subscribe, tag_of, terminated,
};

const LAMP: DialogKey = DialogKey(9);

/// What a dialect makes of a document with these calls: name and state.
fn calls(scope: &str, each: &[(&str, &str)]) -> Vec<u8> {
    let dialogs: String = each
        .iter()
        .map(|(name, state)| {
            format!(
                "<dialog id=\"{name}\" call-id=\"{name}\" local-tag=\"l\" remote-tag=\"r\" direction=\"recipient\">\
                 <state>{state}</state></dialog>"
            )
        })
        .collect();
    let document = format!(
        "<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" state=\"{scope}\" \
         entity=\"sip:{ALICE}\">{dialogs}</dialog-info>"
    );
    dialog_info::parse(document.as_bytes()).expect("a document")
}

fn say(if_match: Option<EntityTag>, content: Option<&[u8]>, expires_s: u32) -> Command<'_> {
    Command::Publish(Publish {
        presentity: ALICE,
        package: Package::Dialog,
        if_match,
        content,
        expires_s,
        tag_policy: TagPolicy::Renew,
        bearing: Default::default(),
    })
}

fn watch(dialog: u128, expires_s: u32) -> Command<'static> {
    Command::Subscribe(Subscribe {
        savers: None,
        presentity: ALICE,
        watcher: BOB,
        package: Package::Dialog,
        format: Format::DialogLamp,
        dialog: DialogKey(dialog),
        local_tag: LocalTag::new(Slot::of(ALICE), 77),
        cseq: 1,
        expires_s,
        route: b"route",
        target: b"target",
        extras: None,
    })
}

/// The states in a view of calls.
fn states(view: &View) -> Vec<String> {
    let mut out = Vec::new();
    dialog_info::compose(view, dialog_info::Detail::Full, &mut out);
    let text = String::from_utf8(finish(&out, 0)).expect("text");
    let each = text.split("<state>").skip(1);
    each.filter_map(|rest| Some(rest.split('<').next()?.to_owned()))
        .collect()
}

fn seen(pool: &Pool) -> Vec<String> {
    states(&pool.machine.fetch(ALICE, Package::Dialog))
}

fn presence(pool: &Pool) -> String {
    let mut out = Vec::new();
    pidf::compose(&pool.machine.fetch(ALICE, Package::Presence), &mut out);
    String::from_utf8(out).expect("text")
}

//= RFC 4235 3.9
//= type=test
#[test]
fn lamps_are_told_of_calls_and_watchers_of_presence_of_what_it_means() {
    let mut pool = Pool::start();
    pool.ask(watch(9, 600));
    assert_eq!(pool.notices(), [(LAMP, 1, active(600))]);
    pool.ask(subscribe(1, 1, 600));
    let ringing = calls("full", &[("c", "early")]);
    let tag = tag_of(&pool.ask(say(None, Some(&ringing), 600)));
    // The line rings, which watchers in the words of BluStar see.
    let both = [(DialogKey(1), 2, active(600)), (LAMP, 2, active(600))];
    let mut told = pool.notices();
    told.sort_by_key(|(key, ..)| *key);
    assert_eq!(told, both);
    // A second one rings as well: no news for presence.
    let more = calls("partial", &[("d", "early")]);
    let tag = tag_of(&pool.ask(say(Some(tag), Some(&more), 600)));
    assert_eq!(pool.notices(), [(LAMP, 3, active(600))]);
    assert_eq!(seen(&pool), ["early", "early"]);
    assert!(!presence(&pool).contains("on-the-phone"));
    let answered = calls("partial", &[("d", "confirmed")]);
    let tag = tag_of(&pool.ask(say(Some(tag), Some(&answered), 600)));
    assert_eq!(pool.notices().len(), 2);
    assert!(presence(&pool).contains("<rpid:on-the-phone/>"));
    // What changes nothing, and a refresh, are told to nobody.
    let tag = tag_of(&pool.ask(say(Some(tag), Some(&answered), 600)));
    assert_eq!(pool.notices(), []);
    let tag = tag_of(&pool.ask(say(Some(tag), None, 600)));
    assert_eq!(pool.notices(), []);
    // Presence that is published is no news for lamps.
    pool.ask(publish(None, Some("a"), 600));
    assert_eq!(pool.notices(), [(DialogKey(1), 4, active(600))]);
    // A new leader tells all again, and every number is new.
    pool.lead(2);
    let mut told = pool.notices();
    told.sort_by_key(|(key, ..)| *key);
    assert_eq!(
        told,
        [(DialogKey(1), 5, active(600)), (LAMP, 5, active(600))]
    );
    // It ends with its time.
    assert_ne!(tag, EntityTag::FOREIGN);
    pool.wait_s(599);
    assert_eq!(seen(&pool), ["early", "confirmed"]);
    pool.wait_s(1);
    assert!(seen(&pool).is_empty() && !presence(&pool).contains("on-the-phone"));
}

//= RFC 4235 3.7.1
//= type=test
#[test]
fn what_ended_does_not_ring_again_by_a_late_word() {
    let mut pool = Pool::start();
    let (early, over) = (
        calls("full", &[("c", "early")]),
        calls("full", &[("c", "terminated")]),
    );
    let tag = tag_of(&pool.ask(say(None, Some(&early), 600)));
    pool.ask(say(Some(tag), Some(&over), 10));
    pool.ask(say(None, Some(&early), 60));
    assert!(seen(&pool).is_empty(), "while its publication lives");
    // It ends after ten seconds, and is kept in mind for another 22.
    pool.wait_s(20);
    pool.ask(say(None, Some(&early), 60));
    assert!(seen(&pool).is_empty(), "and after that");
    let other = calls("full", &[("other", "early")]);
    pool.ask(say(None, Some(&other), 600));
    assert_eq!(seen(&pool), ["early"], "another call is another call");
    // A publisher that was lost and comes back is believed.
    pool.wait_s(700);
    assert!(
        pool.machine.report(ALICE).is_none(),
        "nothing is left of it"
    );
    pool.ask(say(None, Some(&early), 60));
    assert_eq!(seen(&pool), ["early"]);
}

//= RFC 4235 4.1.2
//= type=test
#[test]
fn a_part_of_nothing_is_what_it_says() {
    let mut pool = Pool::start();
    let part = calls("partial", &[("c", "confirmed")]);
    let tag = tag_of(&pool.ask(say(None, Some(&part), 600)));
    assert_eq!(seen(&pool), ["confirmed"]);
    // Too much is refused whole.
    let names: Vec<String> = (0..64).map(|number| format!("n{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "early")).collect();
    let many = calls("partial", &many);
    let outcome = pool.ask(say(Some(tag), Some(&many), 600));
    assert_eq!(outcome, refused(Refusal::ContentTooLarge));
    assert_eq!(seen(&pool), ["confirmed"]);
    assert!(matches!(
        pool.ask(say(Some(tag), None, 0)),
        Outcome::Published { expires_s: 0, .. }
    ));
    assert!(seen(&pool).is_empty());
    // What was never a document does no harm.
    assert_eq!(
        pool.ask(say(None, Some(b"nonsense"), 600)),
        refused(Refusal::ContentTooLarge)
    );
}

//= RFC 4235 3.9
//= type=test
#[test]
fn a_subscription_to_calls_lives_like_any_other() {
    let mut pool = Pool::start();
    pool.ask(watch(9, 600));
    pool.ask(resubscribe(9, 2, 300));
    assert_eq!(pool.notices(), [(LAMP, 2, active(300))]);
    pool.ask(resubscribe(9, 3, 0));
    assert_eq!(pool.notices(), [(LAMP, 3, terminated(EndReason::Timeout))]);
    pool.ask(watch(10, 60));
    pool.wait_s(60);
    assert_eq!(
        pool.notices(),
        [(DialogKey(10), 2, terminated(EndReason::Timeout))]
    );
    assert_eq!(pool.machine.counts().dialogs, 0);
    // They are counted with the others.
    let some = usize::min(WATCHERS_MAX, 3);
    for number in 0..some {
        pool.ask(watch(100 + number as u128, 600));
    }
    assert_eq!(pool.machine.counts().dialogs, some as u64);
}

/// Office clients see a telephone's state, as they do of a gateway's publication, while the call lasts.
//= MS-PRES 3.8.5.1.2.2
//= type=test
#[test]
fn a_call_is_a_telephones_state_for_enhanced_watchers() {
    let mut pool = Pool::start();
    pool.ask(Command::SetProfile {
        presentity: ALICE,
        profile: Default::default(),
    });
    let whole = |pool: &Pool| {
        let report = pool.machine.report(ALICE).expect("kept");
        let instances = report.enhanced.expect("claimed").instances;
        let states = instances.at(&Category::State, 2).iter();
        let mut states = states.filter_map(|instance| match &instance.body {
            Body::Computed(Computed::State(state)) if state.kind == Kind::Aggregate => {
                let token = state
                    .activities
                    .first()
                    .map(|activity| activity.token.to_string());
                Some((state.availability, token))
            }
            _ => None,
        });
        states.next()
    };
    let offline = whole(&pool);
    let ringing = calls("full", &[("c", "early")]);
    let tag = tag_of(&pool.ask(say(None, Some(&ringing), 600)));
    assert_eq!(whole(&pool), offline, "a line that rings is no state");
    let busy = calls("full", &[("c", "confirmed")]);
    let tag = tag_of(&pool.ask(say(Some(tag), Some(&busy), 600)));
    let on_the_phone = Some("on-the-phone".to_owned());
    assert_eq!(whole(&pool), Some((6_500, on_the_phone)));
    pool.ask(say(Some(tag), None, 0));
    let (availability, token) = whole(&pool).expect("a state");
    assert_eq!(token, None);
    assert!(availability >= 18_000, "{availability}");
}

/// Chance that is the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Three publishers tell of four calls what comes to their mind, lose their tags, withdraw and are late; now and
/// then the machine is another one. Whatever they do, a watcher sees each call once, never going back while it is
/// shown, and not at all for 32 s after somebody said that it is over.
//= RFC 4235 3.7.1
//= type=test
#[test]
fn whatever_publishers_say_a_call_goes_on_and_ends_once() {
    const NAMES: [&str; 4] = ["one", "two", "three", "four"];
    const STATES: [&str; 5] = ["trying", "proceeding", "early", "confirmed", "terminated"];
    let (mut shown_at_all, mut ended, mut late) = (0, 0, 0);
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let mut pool = Pool::start();
        let mut tags: [Option<EntityTag>; 3] = [None; 3];
        // Which calls a publisher has said are alive, until when a call is over, whether it ever ended.
        let mut alive = [[false; 4]; 3];
        let mut over_until_ms = [0_u64; 4];
        let mut shown_before: [Option<usize>; 4] = [None; 4];
        for step in 0..80 {
            let what = format!("seed {seed}, step {step}");
            let who = chance.below(3) as usize;
            let lives_s = [10, 60, 600][chance.below(3) as usize];
            let now_ms = pool.machine.now().0;
            let mut told = [None; 4];
            match chance.below(12) {
                0 => pool.wait_ms(chance.below(40_000)),
                1 | 2 => pool.wait_ms(chance.below(3_000)),
                3 => {
                    if let Some(tag) = tags[who].take() {
                        pool.ask(say(Some(tag), None, 0));
                        alive[who] = [false; 4];
                    }
                }
                4 => {
                    if let Some(tag) = tags[who]
                        && let Outcome::Published { tag, .. } =
                            pool.ask(say(Some(tag), None, lives_s))
                    {
                        tags[who] = Some(tag);
                    }
                }
                5 => {
                    // The machine is another one.
                    let mut bytes = Vec::new();
                    pool.machine
                        .snapshot()
                        .write(&mut bytes)
                        .expect("memory takes all");
                    let restored =
                        shard::machine::Machine::restore(&mut &bytes[..]).expect("sound");
                    let audit = u64::from(Slot::of(ALICE).number()) * 4_096;
                    assert_eq!(restored.attest(audit), pool.machine.attest(audit), "{what}");
                    pool.machine = restored;
                }
                kind => {
                    let scope = if kind % 2 == 0 { "full" } else { "partial" };
                    for call in &mut told {
                        *call = (chance.below(2) == 0).then(|| chance.below(5) as usize);
                    }
                    let each: Vec<(&str, &str)> = told
                        .iter()
                        .zip(NAMES)
                        .filter_map(|(state, name)| Some((name, STATES[(*state)?])))
                        .collect();
                    let content = calls(scope, &each);
                    let outcome = match tags[who] {
                        Some(tag) => pool.ask(say(Some(tag), Some(&content), lives_s)),
                        None => refused(Refusal::NoMatch),
                    };
                    let outcome = match outcome {
                        Outcome::Published { .. } => outcome,
                        // It has ended, or never was: a new one.
                        _ => {
                            alive[who] = [false; 4];
                            pool.ask(say(None, Some(&content), lives_s))
                        }
                    };
                    tags[who] = Some(tag_of(&outcome));
                    for call in 0..4 {
                        let is_over = now_ms < over_until_ms[call];
                        let left_out = scope == "full" && told[call].is_none() && alive[who][call];
                        // Who says again that it is over says nothing new.
                        let known = shown_before[call].is_some() || over_until_ms[call] == 0;
                        if told[call] == Some(4) || left_out {
                            if known {
                                over_until_ms[call] = now_ms + 32_000;
                                ended += 1;
                            }
                            alive.iter_mut().for_each(|alive| alive[call] = false);
                        } else if told[call].is_some() {
                            late += usize::from(is_over);
                        }
                    }
                }
            }
            let now_ms = pool.machine.now().0;
            let view = pool.machine.fetch(ALICE, Package::Dialog);
            let mut out = Vec::new();
            dialog_info::compose(&view, dialog_info::Detail::Full, &mut out);
            let document = String::from_utf8(finish(&out, 0)).expect("text");
            for (call, name) in NAMES.into_iter().enumerate() {
                let named = format!("call-id=\"{name}\"");
                let mut entries = document.split(&named).skip(1);
                let state = entries.next().map(|rest| {
                    let state = rest
                        .split("<state>")
                        .nth(1)
                        .and_then(|rest| rest.split('<').next());
                    STATES
                        .iter()
                        .position(|known| Some(*known) == state)
                        .expect("a state")
                });
                assert_eq!(entries.next(), None, "{what}: {name} twice in {document}");
                let over = now_ms < over_until_ms[call];
                assert!(
                    !over || state.is_none(),
                    "{what}: {name} is over: {document}"
                );
                if let (Some(before), Some(now)) = (shown_before[call], state) {
                    assert!(now >= before, "{what}: {name} went back to {}", STATES[now]);
                }
                if told[call].is_some_and(|state| state < 4) && over_until_ms[call] == 0 {
                    assert!(state >= told[call], "{what}: {name} was told: {document}");
                    shown_at_all += 1;
                }
                if told[call].is_some_and(|state| state < 4) {
                    alive[who][call] = state.is_some();
                }
                shown_before[call] = state;
            }
        }
    }
    assert!(
        shown_at_all > 300 && ended > 300 && late > 300,
        "{shown_at_all} {ended} {late}"
    );
}
