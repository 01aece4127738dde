//! Simulation of the whole pool: machines, groups, routing, links, egress and telephones in one process, under
//! virtual time and the chance of a seed, with faults; what clients were promised is looked after all the time.
//!
//! What runs is the product: openraft with our log, machines, proposers and networks, the loop that keeps what a
//! node hosts, the pool map, the SIP workers with their transactions. Simulated are the clock and the chance of
//! the system ([`fate`]), links and datagrams ([`network`]), the telephones ([`phones`]), and who gets a turn when
//! ([`world`]).
//!
//! `LAMPLIGHT_SEEDS=n` runs n seeds instead of the usual number, from `LAMPLIGHT_FIRST_SEED` on, and
//! `LAMPLIGHT_SEED=x` only that one, with its trace. Each seed runs in a process of its own, so that it is the
//! same run every time.

#[path = "../../../shard/tests/simulation/chance.rs"]
mod chance;
mod circles;
mod fate;
mod host;
mod judge;
mod mistakes;
mod network;
mod phones;
mod roamers;
mod trace;
mod world;

use std::cell::RefCell;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mistakes::Mistake;
use world::World;

/// Seeds in a usual run.
const SEEDS: u64 = 200;

/// Seeds within which each planted mistake must be found.
const SEEDS_TO_FIND_A_MISTAKE: u64 = 150;

/// Seeds that are run twice, to see that they are the same run.
const SEEDS_TO_RUN_TWICE: [u64; 8] = [1, 61, 171, 250, 426, 683, 768, 976];

/// What tells a process which run is its own.
const RUN: &str = "LAMPLIGHT_SIMULATED_RUN";

/// Steps taken so far: who watches sees by them whether a run goes on.
pub static STEPS: AtomicU64 = AtomicU64::new(0);

/// How long a run may take for one step, in seconds of the real clock.
const STUCK_S: u64 = 30;

/// Ends a run that does not go on.
fn watch() {
    std::thread::spawn(|| {
        loop {
            let before = STEPS.load(Relaxed);
            std::thread::sleep(Duration::from_secs(STUCK_S));
            if STEPS.load(Relaxed) == before {
                println!("RUN failed it is stuck");
                std::process::exit(1);
            }
        }
    });
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What a task panicked with, if one did.
pub fn panicked() -> Option<String> {
    PANIC.with_borrow_mut(Option::take)
}

/// A number given by the environment.
fn asked_for(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

/// Not a test: one run, in the process that another test starts for it.
#[test]
fn one_run() {
    let Ok(run) = std::env::var(RUN) else { return };
    let mut words = run.split(' ');
    let seed = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a seed");
    let mistake = words.next().and_then(Mistake::of);
    let loud = words.any(|word| word == "loud");
    if std::env::var("LAMPLIGHT_LOG").is_ok() {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_writer(std::io::stderr)
            .without_time()
            .init();
    }
    let root = tempfile::Builder::new()
        .prefix("lamplight-simulated-")
        .tempdir_in(if std::path::Path::new("/dev/shm").is_dir() {
            "/dev/shm"
        } else {
            "/tmp"
        })
        .expect("a data folder");
    std::panic::set_hook(Box::new(|info| {
        let text = format!("{info}");
        PANIC.with_borrow_mut(|panic| *panic = panic.take().or(Some(text)));
    }));
    watch();
    fate::arm(seed);
    let mut world = World::new(seed, mistake, root.path(), loud);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let ended = ended.unwrap_or_else(|_| Err(panicked().unwrap_or_default()));
    let (text, code) = match ended {
        Ok(ended) => (
            format!(
                "RUN ok {:016x} {} {:?}",
                ended.trace, ended.virtual_ms, ended.counts
            ),
            0,
        ),
        Err(wrong) => {
            if !loud {
                world.trace.end().for_each(|line| println!("{line}"));
            }
            (format!("RUN failed {wrong}"), 1)
        }
    };
    println!("{text}");
    // Threads and runtimes need not be ended in order.
    let _ = std::fs::remove_dir_all(root.path());
    std::process::exit(code);
}

/// What a run said.
struct Said {
    passed: bool,
    /// Everything that it printed.
    all: String,
    /// Its last word.
    verdict: String,
}

/// Runs a seed in a process of its own.
fn run(seed: u64, mistake: Option<Mistake>, loud: bool) -> Said {
    let name = mistake.map_or_else(|| "-".to_owned(), |mistake| format!("{mistake:?}"));
    let output = Command::new(std::env::current_exe().expect("this test has a file"))
        .args(["one_run", "--exact", "--nocapture", "--test-threads", "1"])
        .env(
            RUN,
            format!("{seed} {name}{}", if loud { " loud" } else { "" }),
        )
        .stdin(Stdio::null())
        .output()
        .expect("this test can be started");
    let all = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let verdict = all
        .lines()
        .rev()
        .find_map(|line| line.split_once("RUN "))
        .map_or("died", |(_, verdict)| verdict)
        .to_owned();
    Said {
        passed: output.status.success() && verdict.starts_with("ok"),
        verdict,
        all,
    }
}

/// Lets two processes at a time run these.
fn in_pairs(first: u64, count: u64, each: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    each(seed);
                }
            });
        }
    });
}

#[test]
fn a_pool_keeps_its_promises() {
    if let Some(seed) = asked_for("LAMPLIGHT_SEED") {
        let said = run(seed, None, true);
        println!("{}", said.all);
        assert!(said.passed, "seed {seed}: {}", said.verdict);
        return;
    }
    let count = asked_for("LAMPLIGHT_SEEDS").unwrap_or(SEEDS);
    let first = asked_for("LAMPLIGHT_FIRST_SEED").unwrap_or(1);
    let failed = Mutex::new(Vec::new());
    in_pairs(first, count, |seed| {
        let said = run(seed, None, false);
        if !said.passed {
            println!("seed {seed}: {}", said.verdict);
            let mut failed = failed.lock().expect("nobody panics with it");
            failed.push((seed, said));
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    if let Some((seed, said)) = failed.first() {
        panic!(
            "{}\n{} of {count} seeds failed; again: LAMPLIGHT_SEED={seed} cargo test -p node --test simulation \
             a_pool_keeps_its_promises -- --nocapture",
            said.all,
            failed.len()
        );
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in SEEDS_TO_RUN_TWICE {
        let (one, other) = (run(seed, None, false), run(seed, None, false));
        assert_eq!(one.verdict, other.verdict, "seed {seed}");
    }
}

#[test]
fn planted_mistakes_are_found() {
    let wanted = std::env::var("LAMPLIGHT_MISTAKE").ok();
    let planted: Vec<Mistake> = match &wanted {
        Some(name) => Mistake::of(name).into_iter().collect(),
        None => Mistake::ALL.to_vec(),
    };
    assert!(!planted.is_empty(), "no mistake is called {wanted:?}");
    let unfound = Mutex::new(Vec::new());
    in_pairs(0, planted.len() as u64, |place| {
        let mistake = planted[place as usize];
        let found = (1..=SEEDS_TO_FIND_A_MISTAKE).find_map(|seed| {
            let said = run(seed, Some(mistake), false);
            (!said.passed).then_some((seed, said.verdict))
        });
        match found {
            Some((seed, verdict)) => println!("{mistake:?}: seed {seed}, {verdict}"),
            None => unfound.lock().expect("nobody panics with it").push(mistake),
        }
    });
    let unfound = unfound.into_inner().expect("nobody panics with it");
    assert!(
        unfound.is_empty(),
        "{unfound:?} were not found in {SEEDS_TO_FIND_A_MISTAKE} seeds"
    );
}
