//! Enhanced presence in the simulation: chance writes logs of what MS-PRES clients ask for, three replicas must
//! say and hold the same after each entry, and what clients are shown must keep the rules.
//!
//! There is no second machine here as there is for plain telephones. Two small models stand in its place:
//! memberships and container resolution, written from the text (`tests/resolution/naive.rs`), and each client's
//! memory of what it was told, which must be what there is.

mod asked;
mod author;
mod rules;

use shard::machine::command::{Act, Leader};
use shard::machine::effect::Effect;
use shard::slot::Slot;
use shard::time::Timestamp;

use crate::mistakes::Mistake;
use crate::replicas::Replicas;
use crate::world::Judges;
use author::Author;
use rules::Rules;

/// Entries in a log.
const ENTRIES: u64 = 100;

/// Runs the log of `seed`; with a `mistake`, one that the `judges` should find.
pub fn run(seed: u64, mistake: Option<Mistake>, judges: Judges) -> Result<(), String> {
    let mut world = World {
        author: Author::new(seed),
        index: 0,
        replicas: Replicas::new(mistake),
        judges,
        rules: Rules::default(),
    };
    for _ in 0..ENTRIES {
        world
            .step()
            .map_err(|wrong| format!("at entry {}: {wrong}", world.index))?;
    }
    Ok(())
}

struct World {
    author: Author,
    index: u64,
    replicas: Replicas,
    judges: Judges,
    rules: Rules,
}

impl World {
    fn step(&mut self) -> Result<(), String> {
        self.author.tick(self.replicas.first());
        self.index += 1 + u64::from(self.author.chance.percent(10));
        let (asked, effects) = match self.author.chance.below(100) {
            0..3 => {
                let leader = Leader {
                    node: self.author.chance.below(3),
                    life: self.author.chance.bits(),
                };
                let salt = self.author.chance.bits() as u32;
                (Vec::new(), self.enter(&Act::TermStart { leader, salt })?)
            }
            3..8 => {
                let slot = Slot::of(self.author.address());
                let index = u64::from(slot.number()) * 4_096;
                let attested = self.replicas.first().attest(index);
                (Vec::new(), self.enter(&attested)?)
            }
            _ => {
                let asked = self.author.requests(self.replicas.first(), self.index);
                let requests = asked.iter().map(asked::Asked::request).collect();
                let effects = self.enter(&Act::Requests(requests))?;
                (asked, effects)
            }
        };
        self.rules.check(&asked, &effects)?;
        self.rules.check_kept(&asked, self.replicas.first())?;
        self.author.note(asked);
        self.replicas.restart(&mut self.author.chance, self.index)?;
        match self.judges {
            Judges::All => self.replicas.agree(),
            Judges::RulesAlone => Ok(()),
        }
    }

    /// Appends an entry; gives what the first replica said, and the others must have said as well.
    fn enter(&mut self, act: &Act<'_>) -> Result<Vec<Effect>, String> {
        let at = Timestamp(self.author.clock_ms);
        self.rules.time(self.author.clock_ms);
        let [first, second, third] = self.replicas.enter(self.index, at, act, |_| {})?;
        if self.judges == Judges::All {
            // Views and outcomes to the last byte, as a reader of a failure wants to see them.
            let expected = format!("{first:?}");
            for (number, other) in [(1, second), (2, third)] {
                let said = format!("{other:?}");
                if said != expected {
                    return Err(format!(
                        "replica {number} said {said}\nthe first {expected}"
                    ));
                }
            }
        }
        Ok(first)
    }
}
