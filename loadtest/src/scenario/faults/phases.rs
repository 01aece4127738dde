//! How long things took, phase by phase. A phase begins with a mark that whoever makes the faults gives:
//! its name, its moment, and the shards that are hit. A request belongs to the phase it was sent in.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Times of one kind.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Times {
        Times(Histogram::new(3).expect("three digits are allowed"))
    }

    fn add(&mut self, us: u64) {
        let _ = self.0.record(us);
    }

    fn show(&self) -> Value {
        let ms = |us: u64| us as f64 / 1_000.0;
        json!({
            "count": self.0.len(),
            "p50_ms": ms(self.0.value_at_quantile(0.5)),
            "p99_ms": ms(self.0.value_at_quantile(0.99)),
            "worst_ms": ms(self.0.max()),
        })
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// From the first sending of a publication to its 200.
    Publish,
    /// From there to each watcher.
    Notify,
    /// From the first sending of a fetch to its document.
    Fetch,
}

/// The first publication that succeeded in a shard after a mark.
struct First {
    answered_us: u64,
    user: usize,
    state: u64,
    /// Who has not been told of it.
    left: BTreeSet<usize>,
    told_us: Option<u64>,
}

struct Phase {
    name: String,
    from_us: u64,
    shards: Vec<u16>,
    times: [Times; 3],
    firsts: BTreeMap<u16, First>,
}

/// All of them.
pub struct Phases {
    phases: Vec<Phase>,
}

impl Phases {
    /// Begins with the phase `name`.
    pub fn begin(name: &str, from_us: u64) -> Phases {
        let mut phases = Phases { phases: Vec::new() };
        phases.mark(name, from_us, Vec::new());
        phases
    }

    /// The next phase begins; these shards are looked at.
    pub fn mark(&mut self, name: &str, from_us: u64, shards: Vec<u16>) {
        self.phases.push(Phase {
            name: name.to_owned(),
            from_us,
            shards,
            times: [Times::new(), Times::new(), Times::new()],
            firsts: BTreeMap::new(),
        });
    }

    pub fn add(&mut self, kind: Kind, begin_us: u64, now_us: u64) {
        let phase = self
            .phases
            .iter_mut()
            .rev()
            .find(|phase| phase.from_us <= begin_us);
        if let Some(phase) = phase {
            phase.times[kind as usize].add(now_us.saturating_sub(begin_us));
        }
    }

    /// A publication, sent at `begin_us`, succeeded; `left` are its watchers who do not know of it yet.
    pub fn published(
        &mut self,
        shard: u16,
        (begin_us, now_us): (u64, u64),
        (user, state): (usize, u64),
        left: impl Fn() -> BTreeSet<usize>,
    ) {
        for phase in &mut self.phases {
            if phase.from_us <= begin_us
                && phase.shards.contains(&shard)
                && !phase.firsts.contains_key(&shard)
            {
                let left = left();
                let first = First {
                    answered_us: now_us,
                    user,
                    state,
                    told_us: left.is_empty().then_some(now_us),
                    left,
                };
                phase.firsts.insert(shard, first);
            }
        }
    }

    /// A watcher of a user was told of a state.
    pub fn told(&mut self, watcher: usize, user: usize, state: u64, now_us: u64) {
        for first in self
            .phases
            .iter_mut()
            .flat_map(|phase| phase.firsts.values_mut())
        {
            if first.user == user
                && state >= first.state
                && first.left.remove(&watcher)
                && first.left.is_empty()
            {
                first.told_us = Some(now_us);
            }
        }
    }

    /// As the report shows them, in milliseconds since `zero_us` or since their mark.
    pub fn show(&self, zero_us: u64) -> Value {
        let since = |at_us: u64, from_us: u64| at_us.saturating_sub(from_us) as f64 / 1_000.0;
        let phases = self.phases.iter().map(|phase| {
            let shards: Vec<Value> = phase
                .shards
                .iter()
                .map(|shard| {
                    let first = phase.firsts.get(shard);
                    json!({
                        "shard": shard,
                        "first_publish_ms": first.map(|first| since(first.answered_us, phase.from_us)),
                        "told_ms": first.and_then(|first| first.told_us).map(|at| since(at, phase.from_us)),
                    })
                })
                .collect();
            json!({
                "name": phase.name,
                "at_ms": since(phase.from_us, zero_us),
                "publish": phase.times[Kind::Publish as usize].show(),
                "notify": phase.times[Kind::Notify as usize].show(),
                "fetch": phase.times[Kind::Fetch as usize].show(),
                "shards": shards,
            })
        });
        Value::Array(phases.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_publication_of_a_shard_after_a_mark_is_the_first_that_was_sent_after_it() {
        let mut phases = Phases::begin("calm", 0);
        phases.mark("fault", 1_000, vec![3]);
        let nobody = BTreeSet::new;
        let two = || BTreeSet::from([7, 8]);
        phases.published(3, (900, 1_100), (1, 5), two);
        phases.published(2, (1_050, 1_200), (2, 5), two);
        phases.published(3, (1_100, 3_000), (1, 6), two);
        phases.published(3, (1_200, 3_500), (4, 6), nobody);
        phases.told(7, 1, 6, 4_000);
        phases.told(8, 1, 5, 4_500);
        assert_eq!(phases.show(0)[1]["shards"][0]["told_ms"], Value::Null);
        phases.told(8, 1, 7, 6_000);
        phases.add(Kind::Publish, 500, 1_500);
        let shown = phases.show(0);
        assert_eq!(shown[1]["shards"][0]["first_publish_ms"], 2.0);
        assert_eq!(shown[1]["shards"][0]["told_ms"], 5.0);
        assert_eq!(shown[0]["publish"]["count"], 1);
        assert_eq!(shown[1]["publish"]["count"], 0);
    }
}
