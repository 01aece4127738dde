//! Simulation: chance writes logs; three machines and a naive model must agree after each entry, and
//! what clients see must keep the rules of house §14.
//!
//! There are two worlds: plain telephones against a model of everything, and enhanced presence against
//! rules. `LAMPLIGHT_SEEDS=n` runs n seeds of each instead of the usual number, `LAMPLIGHT_SEED=x` only that
//! one of the first, `LAMPLIGHT_ENHANCED_SEED=x` of the second. A failure prints its seed. A third world has
//! plain telephones in three shards between which slots move: `LAMPLIGHT_MOVE_SEED=x`.

mod asked;
mod author;
mod chance;
mod enhanced;
mod mistakes;
mod model;
mod moves;
#[path = "../resolution/naive.rs"]
mod naive;
mod replicas;
mod rules;
mod world;

use mistakes::Mistake;
use world::Judges;

/// Seeds in a usual run.
const SEEDS: u64 = 2_000;

/// Seeds of enhanced presence in a usual run.
const ENHANCED_SEEDS: u64 = 400;

/// Seeds of slots that move in a usual run.
const MOVE_SEEDS: u64 = 600;

/// Seeds within which each planted mistake must be found.
const SEEDS_TO_FIND_A_MISTAKE: u64 = 100;

/// A number given by the environment.
fn asked_for(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

/// A world: its name, and one run in it.
type World = (
    &'static str,
    fn(u64, Option<Mistake>, Judges) -> Result<(), String>,
);

/// Plain telephones, against a model of everything.
const PLAIN: World = ("LAMPLIGHT_SEED", world::run);

/// Enhanced presence, against rules.
const ENHANCED: World = ("LAMPLIGHT_ENHANCED_SEED", enhanced::run);

/// Runs seeds of a world, and reports the first that fails by its name.
fn run_seeds((name, run): World, usual: u64) {
    let seeds = match asked_for(name) {
        Some(seed) => seed..=seed,
        None => 1..=asked_for("LAMPLIGHT_SEEDS").unwrap_or(usual),
    };
    let halves: Vec<Vec<u64>> = [0, 1]
        .map(|half| seeds.clone().filter(|seed| seed % 2 == half).collect())
        .into();
    std::thread::scope(|scope| {
        for half in &halves {
            scope.spawn(move || {
                for seed in half {
                    let found = std::panic::catch_unwind(|| run(*seed, None, Judges::All));
                    match found {
                        Ok(Ok(())) => {}
                        Ok(Err(wrong)) => panic!("{name}={seed}: {wrong}"),
                        Err(_) => panic!("{name}={seed}: a machine panicked, see above"),
                    }
                }
            });
        }
    });
}

#[test]
fn replicas_and_model_agree() {
    run_seeds(PLAIN, SEEDS);
}

//= MS-PRES 1.3.1.3.10
//= type=test
//# whatever happens, each watcher knows what there is for it, and no more
//= MS-PRES 3.2.5.3
//= type=test
// proves: PRES-1.3.1.3.2-01 PRES-1.3.1.3.10-01 PRES-3.2.5.3-02 PRES-3.2.5.3-09 PRES-3.2.5.3-11 PRES-3.2.5.3-12
// proves: PRES-3.2.5.3-13 PRES-3.5.5.4-01
#[test]
fn enhanced_replicas_agree_and_keep_the_rules() {
    run_seeds(ENHANCED, ENHANCED_SEEDS);
}

// House D15: moving slots is nothing that a client could notice.
#[test]
fn slots_move_between_shards_and_nobody_notices() {
    let seeds = match asked_for("LAMPLIGHT_MOVE_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=asked_for("LAMPLIGHT_SEEDS").unwrap_or(MOVE_SEEDS),
    };
    let mut moved = 0;
    for seed in seeds {
        moved += moves::run(seed, None)
            .unwrap_or_else(|wrong| panic!("LAMPLIGHT_MOVE_SEED={seed}: {wrong}"));
    }
    println!("{moved} slots moved");
}

#[test]
fn slips_of_who_moves_slots_are_found() {
    for slip in moves::Slip::ALL {
        let found = (1..=SEEDS_TO_FIND_A_MISTAKE)
            .find_map(|seed| Some((seed, moves::run(seed, Some(slip)).err()?)));
        let (seed, wrong) = found.unwrap_or_else(|| panic!("{slip:?} was not found"));
        println!(
            "{slip:?}: seed {seed}, {}",
            wrong.lines().next().unwrap_or_default()
        );
    }
}

/// The first seed by which the judges of a world find a mistake, and what they say.
fn find((_, run): World, mistake: Mistake, judges: Judges) -> (u64, String) {
    let found = (1..=SEEDS_TO_FIND_A_MISTAKE)
        .find_map(|seed| Some((seed, run(seed, Some(mistake), judges).err()?)));
    found.unwrap_or_else(|| {
        panic!("{mistake:?} was not found by {judges:?} in {SEEDS_TO_FIND_A_MISTAKE} seeds")
    })
}

#[test]
fn planted_mistakes_are_found() {
    for mistake in Mistake::ALL {
        let (seed, wrong) = find(PLAIN, mistake, Judges::All);
        println!(
            "{mistake:?}: seed {seed}, {}",
            wrong.lines().next().unwrap_or_default()
        );
    }
}

#[test]
fn what_clients_would_notice_is_found_without_the_model() {
    for mistake in Mistake::ALL
        .into_iter()
        .filter(|mistake| mistake.is_noticed_by_clients())
    {
        let (seed, wrong) = find(PLAIN, mistake, Judges::RulesAlone);
        println!(
            "{mistake:?}: seed {seed}, {}",
            wrong.lines().next().unwrap_or_default()
        );
    }
}

#[test]
fn planted_mistakes_in_enhanced_presence_are_found() {
    for mistake in Mistake::ENHANCED {
        let judges = if mistake.is_noticed_by_clients() {
            Judges::RulesAlone
        } else {
            Judges::All
        };
        let (seed, wrong) = find(ENHANCED, mistake, judges);
        println!(
            "{mistake:?}: seed {seed}, {}",
            wrong.lines().next().unwrap_or_default()
        );
    }
}
