//! Traffic savers under chance: whatever happens in which order, nobody is told too soon, nobody stays behind,
//! and nobody is left without a word who does not know the state.

use std::collections::BTreeMap;

use shard::machine::command::{Command, Resubscribe, Subscribe};
use shard::machine::effect::SubscriptionState;
use shard::machine::outcome::Outcome;
use shard::machine::tag;
use shard::subscription::dialog::Package;
use shard::subscription::savers::{Asked, Cause, Condition};

use crate::pool::{ALICE, Pool, publish, resubscribe, subscribe};

/// Runs, and steps of each.
const RUNS: u64 = 150;
const STEPS: u64 = 250;

struct Chance(u64);

impl Chance {
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

/// What a watcher knows.
#[derive(Default)]
struct Watcher {
    cseq: u32,
    min_s: u64,
    max_s: u64,
    /// When it was told last, whatever it was, and what the state was then.
    told_ms: u64,
    /// When it sent the last SUBSCRIBE that wants to hear something: its answer is a word, too.
    asked_ms: u64,
    tag: Option<u64>,
    ends_ms: u64,
}

struct Run {
    pool: Pool,
    watchers: BTreeMap<u128, Watcher>,
    seed: u64,
}

impl Run {
    fn now(&self) -> u64 {
        self.pool.machine.now().0
    }

    fn current(&self) -> Option<u64> {
        tag::digest(&self.pool.machine.fetch(ALICE, Package::Presence))
    }

    /// Looks at what the last entry told; `asked` is who sent a SUBSCRIBE in it.
    fn look(&mut self, asked: Option<u128>) {
        let (now, seed) = (self.now(), self.seed);
        for (view, notices) in &self.pool.told {
            for notice in notices {
                let key = notice.dialog.0;
                let Some(watcher) = self.watchers.get_mut(&key) else {
                    panic!("seed {seed}: {key} is told after its end");
                };
                if let SubscriptionState::Terminated(_) = notice.state {
                    self.watchers.remove(&key);
                    continue;
                }
                let early = now < watcher.told_ms + watcher.min_s * 1_000;
                assert!(
                    !early || asked == Some(key),
                    "seed {seed}: {key} is told too soon"
                );
                watcher.told_ms = now;
                if notice.cause != Cause::Suppressed {
                    watcher.tag = tag::digest(view);
                }
            }
        }
        let current = self.current();
        for (key, watcher) in &self.watchers {
            let told = watcher.told_ms.max(watcher.asked_ms);
            let paused = now < told + watcher.min_s * 1_000;
            assert!(
                paused || watcher.tag == current,
                "seed {seed}: {key} stays behind"
            );
            let silent = watcher.max_s > 0 && now >= told + watcher.max_s * 1_000;
            assert!(!silent, "seed {seed}: {key} waits for a word");
            assert!(now < watcher.ends_ms, "seed {seed}: {key} lives too long");
        }
    }

    fn subscribe(&mut self, key: u128, chance: &mut Chance) {
        let known = self.watchers.get(&key);
        let condition = match chance.below(4) {
            0 => known.and_then(|watcher| watcher.tag).map(Condition::Is),
            1 => Some(Condition::Is(chance.below(9))),
            _ => None,
        };
        let min = [0, 0, 3, 20][chance.below(4) as usize];
        let max = [0, 0, 15, 40][chance.below(4) as usize];
        let asked = Asked {
            condition,
            min_interval_s: min,
            max_interval_s: max,
            ..Asked::default()
        };
        let savers = (chance.below(5) > 0).then(|| Box::new(asked.clone()));
        let terms = savers
            .as_ref()
            .map_or_else(Default::default, |asked| asked.terms(None));
        let expires = [30, 100, 300][chance.below(3) as usize];
        let cseq = known.map_or(1, |watcher| watcher.cseq + 1);
        let command = match (
            known.is_some(),
            subscribe(key, cseq, expires),
            resubscribe(key, cseq, expires),
        ) {
            (false, Command::Subscribe(first), _) => {
                Command::Subscribe(Subscribe { savers, ..first })
            }
            (_, _, Command::Resubscribe(again)) => {
                Command::Resubscribe(Resubscribe { savers, ..again })
            }
            _ => unreachable!("the two words make these"),
        };
        let (now, current) = (self.now(), self.current());
        let known = self.watchers.entry(key).or_default();
        known.cseq = cseq;
        match (terms.min_interval_s, terms.max_interval_s) {
            (0, 0) => known.asked_ms = 0,
            (_, 0) => {}
            _ => known.asked_ms = now,
        }
        known.min_s = u64::from(terms.min_interval_s);
        known.max_s = u64::from(terms.max_interval_s);
        known.ends_ms = now + u64::from(expires) * 1_000;
        let outcome = self.pool.ask(command);
        if matches!(outcome, Outcome::Unchanged { .. }) {
            assert_eq!(condition, current.map(Condition::Is), "seed {}", self.seed);
            assert!(self.pool.told.is_empty());
        } else {
            assert!(self.pool.notices().iter().any(|(told, ..)| told.0 == key));
        }
        self.look(Some(key));
    }

    /// Lets time pass as a leader does: with an entry whenever something is due.
    fn wait(&mut self, ms: u64) {
        let until = self.now() + ms;
        while let Some(due) = self
            .pool
            .machine
            .next_deadline()
            .filter(|due| due.0 <= until)
        {
            self.pool.wait_ms(due.0 - self.now());
            self.look(None);
        }
        self.pool.wait_ms(until - self.now());
        self.look(None);
    }
}

//= RFC 6446 4.2
//= type=test
//= RFC 6446 5.2
//= type=test
//= RFC 5839 6.3
//= type=test
#[test]
fn whatever_happens_nobody_is_told_too_soon_or_too_late() {
    for seed in 1..=RUNS {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut run = Run {
            pool: Pool::start(),
            watchers: BTreeMap::new(),
            seed,
        };
        let mut unsaid = 0;
        for _ in 0..STEPS {
            match chance.below(10) {
                0..=2 => {
                    let content = ["a", "b", "c"][chance.below(3) as usize];
                    let lives = [20, 200][chance.below(2) as usize];
                    let outcome = run.pool.ask(publish(None, Some(content), lives));
                    unsaid += u32::from(matches!(outcome, Outcome::Refused(_)));
                    run.look(None);
                }
                3..=5 => {
                    let key = u128::from(1 + chance.below(4));
                    run.subscribe(key, &mut chance);
                }
                6 => {
                    run.pool.restore();
                    run.pool.lead(1 + chance.below(3));
                    // What a new leader tells again is told at once only to who has no pace.
                    run.look(None);
                }
                _ => {
                    let ms = chance.below(12_000);
                    run.wait(ms);
                }
            }
        }
        assert!(unsaid < 200, "most is published");
    }
}
