//! One run: chance writes a log, three replicas and the model apply it, and everything is compared
//! after each entry.

use shard::machine::Machine;
use shard::machine::command::{Act, Leader};
use shard::machine::effect::Effect;
use shard::slot::Slot;
use shard::subscription::dialog::Package;
use shard::subscription::view::{Seen, View};
use shard::time::Timestamp;

use crate::asked::Asked;
use crate::author::{ADDRESSES, Author};
use crate::mistakes::Mistake;
use crate::model::{Model, Notified, Said, Shown, Told};
use crate::replicas::Replicas;
use crate::rules::Rules;

/// Entries in a log.
const ENTRIES: u64 = 120;

/// One run in progress.
pub struct World {
    author: Author,
    index: u64,
    replicas: Replicas,
    judges: Judges,
    model: Model,
    rules: Rules,
}

/// Who looks for mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judges {
    /// The model, the other replicas and the rules.
    All,
    /// The rules for what clients see.
    RulesAlone,
}

/// Runs the log of `seed`; with a `mistake`, one that the `judges` should find.
pub fn run(seed: u64, mistake: Option<Mistake>, judges: Judges) -> Result<(), String> {
    let mut world = World {
        author: Author::new(seed),
        index: 0,
        replicas: Replicas::new(mistake),
        judges,
        model: Model::default(),
        rules: Rules::default(),
    };
    for _ in 0..ENTRIES {
        world
            .step()
            .map_err(|wrong| format!("at entry {}: {wrong}", world.index))?;
    }
    Ok(())
}

impl World {
    fn step(&mut self) -> Result<(), String> {
        self.author.tick(&self.model);
        // Other things stand in a Raft log too.
        self.index += 1 + u64::from(self.author.chance.percent(10));
        match self.author.chance.below(100) {
            0..5 => {
                let leader = Leader {
                    node: self.author.chance.below(3),
                    life: self.author.chance.bits(),
                };
                let salt = self.author.chance.bits() as u32;
                self.enter(&Act::TermStart { leader, salt })?;
            }
            5..10 => {
                let slot = Slot::of(self.author.address());
                let attested = self
                    .replicas
                    .first()
                    .attest(u64::from(slot.number()) * 4_096);
                self.enter(&attested)?;
            }
            _ => {
                let asked = self.author.requests(&self.model, self.index);
                let requests = asked.iter().map(Asked::request).collect();
                let said = self.enter(&Act::Requests(requests))?;
                self.rules.check(&asked, &said)?;
                self.author.note(asked, &said);
            }
        }
        self.replicas.restart(&mut self.author.chance, self.index)?;
        self.compare_state()
    }

    /// Appends an entry and lets everybody apply it; gives what the first replica said.
    fn enter(&mut self, act: &Act<'_>) -> Result<Said, String> {
        let mut expected = Said::default();
        let at = Timestamp(self.author.clock_ms);
        let model = &mut self.model;
        let effects = self.replicas.enter(self.index, at, act, |entry| {
            expected = model.apply(self.index, entry);
        })?;
        let mut first = Said::default();
        for (number, effects) in effects.iter().enumerate() {
            let theirs = said(effects)?;
            if self.judges == Judges::All && theirs != expected {
                return Err(format!(
                    "replica {number} said {theirs:#?}\nthe model {expected:#?}"
                ));
            }
            if number == 0 {
                first = theirs;
            }
        }
        self.rules.time(self.author.clock_ms);
        if !matches!(act, Act::Requests(_)) {
            self.rules.check(&[], &first)?;
        }
        Ok(first)
    }

    fn compare_state(&mut self) -> Result<(), String> {
        self.rules.check_kept(self.replicas.first())?;
        if self.judges == Judges::RulesAlone {
            return Ok(());
        }
        self.replicas.agree()?;
        for replica in &self.replicas.each {
            self.compare_with_model(&replica.machine)?;
        }
        Ok(())
    }

    fn compare_with_model(&self, machine: &Machine) -> Result<(), String> {
        let model = &self.model;
        let differ = |what: &str, ours: &dyn std::fmt::Debug, models: &dyn std::fmt::Debug| {
            Err(format!("{what}: {ours:#?}\nthe model: {models:#?}"))
        };
        if machine.now().0 != model.now_ms {
            return differ("now", &machine.now().0, &model.now_ms);
        }
        let counts = machine.counts();
        let counted = (counts.presentities as usize, counts.replies as usize);
        if counted != (model.addresses(), model.remembered()) {
            return differ("counts", &counted, &(model.addresses(), model.remembered()));
        }
        let (next, truly) = (machine.next_deadline(), model.first_end_ms());
        if truly.is_some_and(|truly| next.is_none_or(|next| next.0 > truly)) {
            return differ("the next deadline", &next, &truly);
        }
        for address in ADDRESSES {
            let view = machine.fetch(address, Package::Presence);
            let (ours, models) = (
                (view.revision, shown(&view)),
                (model.revision(address), model.shown(address)),
            );
            if ours != models {
                return differ("view", &ours, &models);
            }
            let report = machine.report(address).unwrap_or_default();
            let tags: Vec<_> = report
                .publications
                .iter()
                .map(|(_, p)| (p.tag, p.expires_at.0))
                .collect();
            let publications = model
                .publications
                .iter()
                .filter(|p| p.presentity == address);
            let models: Vec<_> = publications.map(|p| (p.tag, p.ends_ms)).collect();
            if tags != models {
                return differ("publications", &tags, &models);
            }
            let endpoints = model.endpoints.iter().filter(|(aor, _)| aor == address);
            let models: Vec<_> = endpoints.map(|(_, endpoint)| endpoint.clone()).collect();
            if report.endpoints != models {
                return differ("endpoints", &report.endpoints, &models);
            }
            let mut dialogs: Vec<_> = model
                .dialogs
                .iter()
                .filter(|d| d.presentity == address)
                .collect();
            dialogs.sort_by_key(|dialog| dialog.key);
            let same = dialogs.len() == report.watchers.len()
                && dialogs
                    .iter()
                    .zip(&report.watchers)
                    .all(|(models, (key, ours))| {
                        models.key == *key
                            && models.watcher == ours.watcher.as_str()
                            && models.local_tag == ours.local_tag
                            && (models.local_cseq, models.remote_cseq)
                                == (ours.local_cseq, ours.remote_cseq)
                            && (models.ends_ms, models.notified_ms)
                                == (ours.expires_at.0, ours.notified_at.0)
                            && (&models.route[..], &models.target[..])
                                == (&*ours.route, &*ours.target)
                    });
            if !same {
                return differ("watchers", &report.watchers, &dialogs);
            }
        }
        Ok(())
    }
}

/// What a view shows, as the model says it.
pub fn shown(view: &View) -> Vec<Shown> {
    let Seen::Publications(contents) = &view.seen else {
        return Vec::new();
    };
    let shown = contents.iter();
    shown
        .map(|c| (c.number, c.published_at.0, c.stored.to_vec()))
        .collect()
}

/// What effects say, as the model says it.
fn said(effects: &[Effect]) -> Result<Said, String> {
    let mut said = Said::default();
    for effect in effects {
        match effect {
            Effect::Reply {
                ticket, outcome, ..
            } => {
                if !said.notified.is_empty() {
                    return Err("a reply stands behind a notification".to_owned());
                }
                said.replies.push((*ticket, outcome.clone()));
            }
            Effect::Notify { view, notices } => said.notified.push(Notified {
                presentity: view.presentity.as_str().to_owned(),
                revision: view.revision,
                shown: shown(view),
                told: notices
                    .iter()
                    .map(|notice| Told {
                        dialog: notice.dialog,
                        cseq: notice.cseq,
                        state: notice.state,
                        route: notice.route.to_vec(),
                        target: notice.target.to_vec(),
                    })
                    .collect(),
            }),
            // There is one shard; what it would tell others, replicas compare by their digests.
            Effect::Send { .. } => {}
        }
    }
    Ok(said)
}
