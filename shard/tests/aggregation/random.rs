//! Chance publishes; after each step what stands computed is what a naive reading of the text expects, and
//! nothing is published that was not changed.

#[path = "../simulation/chance.rs"]
mod chance;

use std::collections::BTreeMap;

use chance::Chance;

use super::model::{self, Activity, Capability, Expected, Fact, Life, Model, State, What};
use super::reading::{self, Held, Key};
use super::shape;
use super::stage::{Item, REMOVED, Stage, at, endpoint};

/// Seeds in a usual run.
const SEEDS: u64 = 1_500;
/// Steps of each.
const STEPS: u64 = 10;

const ENDPOINTS: [u8; 3] = [0x11, 0xa2, 0xf3];
/// Both ends of each class, and what clients publish.
const AVAILABILITIES: [u32; 22] = [
    0, 2_999, 3_000, 3_500, 4_499, 4_500, 5_000, 5_999, 6_000, 6_500, 6_900, 7_499, 7_500, 8_999,
    9_000, 9_500, 11_999, 12_000, 15_500, 17_999, 18_000, 20_000,
];
const KINDS: [&str; 5] = [
    "userState",
    "machineState",
    "calendarState",
    "phoneState",
    "presentingState",
];

fn activity(chance: &mut Chance) -> Activity {
    let bound = |chance: &mut Chance| chance.percent(70).then(|| *chance.one(&AVAILABILITIES));
    Activity {
        token: chance.one::<&str>(&["", "on-the-phone", "in-a-meeting", "off-work"]),
        custom: chance.one::<&str>(&["", "", "Interviewing"]),
        min: bound(chance),
        max: bound(chance),
    }
}

fn state(chance: &mut Chance, now: u64) -> State {
    let kind = match chance.percent(50) {
        true => "machineState",
        false => *chance.one(&KINDS),
    };
    let meets = kind == "calendarState" && chance.percent(60);
    let place = chance.percent(60);
    let text = |chance: &mut Chance, there: bool, texts: [&'static str; 3]| match there {
        true => *chance.one(&texts),
        false => "",
    };
    let count = *chance.one(&[0, 0, 1, 1, 2]);
    State {
        kind,
        manual: kind == "userState" && chance.percent(70),
        // Before the publication, or a little after it.
        start: chance
            .percent(40)
            .then(|| now - chance.below(3_600) * 1_000 + chance.below(60_000)),
        availability: *chance.one(&AVAILABILITIES),
        activities: (0..count).map(|_| activity(chance)).collect(),
        place: [
            text(chance, place, ["", "Work", "Home"]),
            text(chance, place, ["", "480", "-60"]),
            text(chance, place, ["", "Pacific", "Central European"]),
            text(chance, place, ["", "PST", "CET"]),
            text(chance, place, ["computer", "mobile", "toaster"]),
        ],
        subject: text(chance, meets, ["", "Budget", "Lunch"]),
        room: text(chance, meets, ["", "Room 1", "Room 2"]),
    }
}

fn capability(chance: &mut Chance) -> Capability {
    Capability {
        uri: chance.one::<&str>(&["sip:bob@contoso.com", "tel:+1123", "bob@exchange"]),
        name: chance.one::<&str>(&["text", "voice", "calendar", "ucs"]),
        render: chance.percent(50),
        capture: chance.percent(50),
        publish: chance.percent(40),
        version: chance.percent(50).then(|| chance.below(3) as u32),
    }
}

fn life(chance: &mut Chance, own: u8, now: u64, mostly_own: bool) -> Life {
    match chance.below(20) {
        0..=1 => Life::Static,
        2..=3 => Life::User,
        4..=5 => Life::Until(now + (1 + chance.below(900)) * 1_000),
        _ if mostly_own => Life::Endpoint(own),
        6..=9 => Life::Static,
        _ => Life::Endpoint(own),
    }
}

fn attributes(life: Life, now: u64) -> String {
    match life {
        Life::Static => "expireType=\"static\"".to_owned(),
        Life::User => "expireType=\"user\"".to_owned(),
        Life::Endpoint(_) => "expireType=\"endpoint\"".to_owned(),
        Life::Until(end) => format!("expireType=\"time\" expires=\"{}\"", (end - now) / 1_000),
    }
}

/// Container, category, instance.
type Place = (u16, &'static str, u32);

/// A batch in the making: what the model is told is what the document will say.
struct Batch<'m> {
    model: &'m mut Model,
    now: u64,
    items: BTreeMap<Place, Item>,
}

impl Batch<'_> {
    fn put(&mut self, place: Place, life: String, content: String) {
        let (container, category, instance) = place;
        let item = Item {
            category,
            container,
            instance,
            life,
            content,
        };
        self.items.insert(place, item);
    }

    fn set(&mut self, place: Place, life: Life, what: What) {
        let content = match &what {
            What::State(state) => state.xml(),
            What::Device(endpoint, capabilities) => model::device(*endpoint, capabilities),
            What::Calendar(mark) => model::calendar(*mark),
        };
        self.put(place, attributes(life, self.now), content);
        let at = self.now;
        self.model.facts.insert(place, Fact { at, life, what });
    }

    fn remove(&mut self, place: Place) {
        self.model.facts.remove(&place);
        self.put(place, REMOVED.to_owned(), String::new());
    }
}

/// A batch of new facts and removals, told to the model.
fn batch(chance: &mut Chance, model: &mut Model, own: u8, now: u64) -> Vec<Item> {
    let mut batch = Batch {
        model,
        now,
        items: BTreeMap::new(),
    };
    for _ in 0..=chance.below(4) {
        match chance.below(10) {
            0..=5 => {
                let number = 10 + chance.below(6) as u32;
                let life = life(chance, own, now, true);
                let what = state(chance, now);
                // What is published to container 2 is often published to container 3 as well.
                for container in [&[2, 3][..], &[2], &[3]][chance.below(3) as usize] {
                    let place = (*container, "state", number);
                    batch.set(place, life, What::State(what.clone()));
                }
            }
            6..=7 => {
                let of = *chance.one(&ENDPOINTS);
                let all = (0..chance.below(5)).map(|_| capability(chance)).collect();
                let number = 100 + chance.below(4) as u32;
                let life = life(chance, own, now, true);
                batch.set((2, "device", number), life, What::Device(of, all));
            }
            8 => {
                let (container, number) = *chance.one(&[(1, 0), (1, 5), (200, 0)]);
                let mark = chance.percent(70).then(|| chance.below(3) as u32);
                let life = life(chance, own, now, false);
                let place = (container, "calendarData", number);
                batch.set(place, life, What::Calendar(mark));
            }
            _ => {
                let known: Vec<Place> = batch.model.facts.keys().copied().collect();
                if let Some(place) = chance.any(&known) {
                    batch.remove(*place);
                }
            }
        }
    }
    batch.items.into_values().collect()
}

/// What the server computed, of what is held; the server's own publications for the blocked are not computed.
fn computed(held: &BTreeMap<Key, Held>) -> BTreeMap<Key, Held> {
    let ours = |(container, category, number): &Key| {
        let names = ["legacyInterop", "services", "dndState", "workingHours"];
        let aggregate = category == "state" && [0, 1, 0x1000_0000].contains(number);
        *container < 32_000 && (names.contains(&&**category) || aggregate)
    };
    let ours = held.iter().filter(|(key, _)| ours(key));
    ours.map(|(key, held)| (key.clone(), held.clone()))
        .collect()
}

fn compare(computed: &BTreeMap<Key, Held>, expected: &Expected) -> Result<(), String> {
    for (key, (life, content)) in expected {
        match computed.get(key) {
            None => return Err(format!("{key:?} is missing, expected {life}:\n{content}")),
            Some(held) if held.life == *life && held.content == *content => {}
            Some(held) => {
                return Err(format!(
                    "{key:?} is {}:\n{}\nexpected {life}:\n{content}",
                    held.life, held.content
                ));
            }
        }
    }
    match computed.keys().find(|key| !expected.contains_key(*key)) {
        Some(key) => Err(format!("{key:?} should not be there:\n{:?}", computed[key])),
        None => Ok(()),
    }
}

/// A version grows by one when the instance changed, and stays when it did not.
fn check_versions(
    before: &BTreeMap<Key, Held>,
    after: &BTreeMap<Key, Held>,
    steps: u32,
) -> Result<(), String> {
    for (key, new) in after {
        let Some(old) = before.get(key) else { continue };
        let same = (&old.life, &old.content) == (&new.life, &new.content);
        let grown = new.version.wrapping_sub(old.version);
        // What was gone between two moments of one step comes back at version 1.
        let fits = if same && steps == 1 {
            grown == 0
        } else {
            grown <= steps || new.version == 1
        };
        if !fits {
            return Err(format!(
                "{key:?}: version {} after {} {}",
                new.version,
                old.version,
                if same {
                    "without a change"
                } else {
                    "by a change"
                }
            ));
        }
    }
    Ok(())
}

fn run(seed: u64) -> Result<(), String> {
    let mut chance = Chance::new(seed);
    let mut now = at(2, 0, 0);
    let mut stage = Stage::start(now);
    let mut model = Model::default();
    stage.sign_in(now, endpoint(ENDPOINTS[0]));
    model.signed_in.push(ENDPOINTS[0]);
    model.expected(now);
    let mut before = computed(&stage.held());
    for step in 0..STEPS {
        let then = now + chance.below(600_000);
        // Each end that is due on the way is a moment of its own.
        let mut moments = 1;
        while let Some(end) = model.next_end()
            && end <= then
        {
            model.pass(end);
            model.expected(end);
            moments += 1;
        }
        now = then;
        match chance.below(12) {
            0 => {
                let who = *chance.one(&ENDPOINTS);
                stage.sign_in(now, endpoint(who));
                if !model.signed_in.contains(&who) {
                    model.signed_in.push(who);
                }
            }
            1 | 2 => {
                if let Some(who) = chance.any(&model.signed_in.clone()) {
                    stage.sign_out(now, endpoint(*who));
                    model.sign_out(*who);
                }
            }
            _ => match chance.any(&model.signed_in.clone()) {
                Some(own) => {
                    let items = batch(&mut chance, &mut model, *own, now);
                    if !items.is_empty() {
                        stage.publish(now, endpoint(*own), &items);
                    }
                }
                None => stage.wait_until(now),
            },
        }
        stage.wait_until(now);
        let expected = model.expected(now);
        let own = stage.own();
        shape::check(&own).map_err(|wrong| format!("step {step}: {wrong}"))?;
        let after = computed(&reading::held(&own));
        compare(&after, &expected).map_err(|wrong| format!("step {step}: {wrong}"))?;
        check_versions(&before, &after, moments)
            .map_err(|wrong| format!("step {step}: {wrong}"))?;
        before = after;
    }
    run_again(&mut stage, &model, now, &before)
}

/// Lets the computing functions run once more over the same: an instance that they depend on and that says
/// nothing comes and goes. Nothing that was computed changes.
fn run_again(
    stage: &mut Stage,
    model: &Model,
    now: u64,
    before: &BTreeMap<Key, Held>,
) -> Result<(), String> {
    let Some(own) = model.signed_in.first() else {
        return Ok(());
    };
    let later = now + 1;
    if model.next_end().is_some_and(|end| end <= later) {
        return Ok(());
    }
    for life in ["expireType=\"static\"", REMOVED] {
        let silent = |category, container, content: String| Item {
            category,
            container,
            instance: 999,
            life: life.to_owned(),
            content,
        };
        let aggregate = "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"aggregateState\"><availability>9999</availability></state>";
        let items = [
            silent("device", 2, model::device(1, &[])),
            silent("state", 2, aggregate.to_owned()),
            silent("state", 3, aggregate.to_owned()),
            silent("calendarData", 1, model::calendar(Some(1))),
        ];
        stage.publish(later, endpoint(*own), &items);
        let after = computed(&stage.held());
        if after != *before {
            return Err(format!(
                "computed again, without a change:\n{before:#?}\n{after:#?}"
            ));
        }
    }
    Ok(())
}

fn asked_for(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

//= MS-PRES 3.8
//= type=test
//# after any publication, removal or expiry, what is computed is what the functions give; else nothing changes
// proves: PRES-3.8-01 PRES-3.8.5.1.1-01 PRES-3.8.5.1.1-02 PRES-3.8.5.1.1-04 PRES-3.8.5.1.2.1-01
// proves: PRES-3.8.5.1.2.1-02 PRES-3.8.5.1.2.1-03 PRES-3.8.5.1.2.1-04 PRES-3.8.5.1.2.2-01
// proves: PRES-3.8.5.1.2.2-02 PRES-3.8.5.1.2.2-03 PRES-3.8.5.1.2.2-04 PRES-3.8.5.1.2.3-01
// proves: PRES-3.8.5.1.2.3-02 PRES-3.8.5.1.2.3-03 PRES-3.8.5.1.2.3-04 PRES-3.8.5.1.2.4-01
// proves: PRES-3.8.5.1.2.5-01 PRES-3.8.5.1.2.5-02 PRES-3.8.5.1.2.6-01 PRES-3.8.5.1.2.6-02
// proves: PRES-3.8.5.1.2.7-01 PRES-3.8.5.1.2.7-02 PRES-3.8.5.1.2.7-03 PRES-3.8.5.1.2.7-04
// proves: PRES-3.8.5.1.2.7-05 PRES-3.8.5.1.2.7-06 PRES-3.8.5.1.2.7-07 PRES-3.8.5.1.2.7-08
// proves: PRES-3.8.5.2.1-01 PRES-3.8.5.2.1-02 PRES-3.8.5.2.1-03 PRES-3.8.5.2.1-04 PRES-3.8.5.2.1-05
// proves: PRES-3.8.5.2.2-01 PRES-3.8.5.2.2-02 PRES-3.8.5.2.2-03 PRES-3.8.5.2.2-04 PRES-3.8.5.2.2-05
// proves: PRES-3.8.5.2.2-06 PRES-3.8.5.2.2-07 PRES-3.8.5.3-01 PRES-3.8.5.3-02 PRES-3.8.5.3-03
// proves: PRES-3.8.5.3-04 PRES-3.8.5.4-01 PRES-3.8.5.4-02 PRES-3.8.5.4-03 PRES-3.8.5.4-04
// proves: PRES-3.8.5.4-05 PRES-3.8.5.4-06 PRES-3.8.5.4-07 PRES-2.2.2.7.10-01 PRES-2.2.2.7.9-01
// proves: PRES-2.2.2.7.1-01 PRES-2.2.2.7.3-02 PRES-2.2.2.7.6-02 PRES-2.2.2.7.9-03 PRES-2.2.2.7.10-04
#[test]
fn what_is_computed_is_what_the_text_says() {
    let seeds = match asked_for("LAMPLIGHT_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=asked_for("LAMPLIGHT_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok(Ok(())) => {}
            Ok(Err(wrong)) => panic!("LAMPLIGHT_SEED={seed}: {wrong}"),
            Err(_) => panic!("LAMPLIGHT_SEED={seed}: something panicked, see above"),
        }
    }
}
