//! Simulation: chance writes logs; three machines and a naive model must agree after each entry, and
//! what clients see must keep the rules of house §14.
//!
//! `LAMPLIGHT_SEEDS=n` runs n seeds instead of 2,000, `LAMPLIGHT_SEED=x` only that one. A failure
//! prints its seed.

mod asked;
mod author;
mod chance;
mod mistakes;
mod model;
mod rules;
mod world;

use mistakes::Mistake;
use world::Judges;

/// Seeds in a usual run.
const SEEDS: u64 = 2_000;

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

#[test]
fn replicas_and_model_agree() {
    let seeds = match asked_for("LAMPLIGHT_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=asked_for("LAMPLIGHT_SEEDS").unwrap_or(SEEDS),
    };
    let halves: Vec<Vec<u64>> = [0, 1]
        .map(|half| seeds.clone().filter(|seed| seed % 2 == half).collect())
        .into();
    std::thread::scope(|scope| {
        for half in &halves {
            scope.spawn(move || {
                for seed in half {
                    let found = std::panic::catch_unwind(|| world::run(*seed, None, Judges::All));
                    match found {
                        Ok(Ok(())) => {}
                        Ok(Err(wrong)) => panic!("LAMPLIGHT_SEED={seed}: {wrong}"),
                        Err(_) => panic!("LAMPLIGHT_SEED={seed}: a machine panicked, see above"),
                    }
                }
            });
        }
    });
}

/// The first seed by which the judges find a mistake, and what they say.
fn find(mistake: Mistake, judges: Judges) -> (u64, String) {
    let found = (1..=SEEDS_TO_FIND_A_MISTAKE)
        .find_map(|seed| Some((seed, world::run(seed, Some(mistake), judges).err()?)));
    found.unwrap_or_else(|| {
        panic!("{mistake:?} was not found by {judges:?} in {SEEDS_TO_FIND_A_MISTAKE} seeds")
    })
}

#[test]
fn planted_mistakes_are_found() {
    for mistake in Mistake::ALL {
        let (seed, wrong) = find(mistake, Judges::All);
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
        let (seed, wrong) = find(mistake, Judges::RulesAlone);
        println!(
            "{mistake:?}: seed {seed}, {}",
            wrong.lines().next().unwrap_or_default()
        );
    }
}
