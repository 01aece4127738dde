//! One run: chance writes a log, three replicas and the model apply it, and everything is compared
//! after each entry.
//!
//! The first replica counts from the start. The second is restored from a snapshot every now and
//! then. The third is restored from a snapshot that was taken earlier and written only afterwards,
//! while the machine it was taken of went on changing, and then catches up from the log.

use bytes::BytesMut;
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_entry};
use shard::machine::command::{Act, Leader};
use shard::machine::effect::Effect;
use shard::machine::snapshot::Snapshot;
use shard::slot::{SLOTS, Slot};
use shard::subscription::dialog::Package;
use shard::subscription::view::{Seen, View};
use shard::time::Timestamp;

use crate::asked::Asked;
use crate::author::{ADDRESSES, Author};
use crate::mistakes::{Erring, Mistake};
use crate::model::{Model, Notified, Said, Shown, Told};
use crate::rules::Rules;

/// Entries in a log.
const ENTRIES: u64 = 120;

/// A log entry as it is stored.
type Stored = (u64, Vec<u8>);

/// A snapshot that is still to be written, with what it must hold.
struct Pending {
    snapshot: Snapshot,
    index: u64,
    digests: Vec<Act<'static>>,
}

/// One run in progress.
pub struct World {
    author: Author,
    index: u64,
    log: Vec<Stored>,
    replicas: [Erring; 3],
    mistake: Option<Mistake>,
    judges: Judges,
    pending: Option<Pending>,
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
    let erring = |shared: bool| mistake.filter(|mistake| shared || !mistake.is_shared());
    let alike = |shared| Erring::new(Machine::default(), erring(shared));
    let shared = mistake.is_some_and(Mistake::is_shared);
    let sound = || Erring::new(Machine::default(), None);
    let mut world = World {
        author: Author::new(seed),
        index: 0,
        log: Vec::new(),
        replicas: if shared {
            [alike(true), alike(true), alike(true)]
        } else {
            [sound(), alike(false), sound()]
        },
        mistake,
        judges,
        pending: None,
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
                let attested = self.replicas[0]
                    .machine
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
        self.restart()?;
        self.compare_state()
    }

    /// Appends an entry and lets everybody apply it; gives what the first replica said.
    fn enter(&mut self, act: &Act<'_>) -> Result<Said, String> {
        let mut bytes = BytesMut::new();
        encode_entry(Timestamp(self.author.clock_ms), act, &mut bytes);
        let entry = decode_entry(&bytes).map_err(|error| error.to_string())?;
        if entry.act != *act {
            return Err(format!("{act:?} was read back as {:?}", entry.act));
        }
        let expected = self.model.apply(self.index, &entry);
        let mut first = Said::default();
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            let mut effects = Vec::new();
            replica.apply(self.index, &entry, &mut effects);
            let theirs = said(&effects)?;
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
        self.log.push((self.index, bytes.to_vec()));
        Ok(first)
    }

    /// Restores the second replica, or begins or ends the restoring of the third.
    fn restart(&mut self) -> Result<(), String> {
        if self.author.chance.percent(10) {
            let mut bytes = Vec::new();
            let machine = &self.replicas[1].machine;
            machine
                .snapshot()
                .write(&mut bytes)
                .map_err(|error| error.to_string())?;
            let restored = Machine::restore(&mut &bytes[..]).map_err(|error| error.to_string())?;
            self.replicas[1] = Erring::new(restored, self.replicas[1].mistake);
        }
        if self.pending.is_none() && self.author.chance.percent(20) {
            let machine = &self.replicas[2].machine;
            let digests = digests(machine);
            self.pending = Some(Pending {
                snapshot: machine.snapshot(),
                index: self.index,
                digests,
            });
        }
        if self.author.chance.percent(10)
            && let Some(Pending {
                snapshot,
                index,
                digests: expected,
            }) = self.pending.take()
        {
            let mut bytes = Vec::new();
            snapshot
                .write(&mut bytes)
                .map_err(|error| error.to_string())?;
            let restored = Machine::restore(&mut &bytes[..]).map_err(|error| error.to_string())?;
            if digests(&restored) != expected {
                return Err(format!(
                    "the snapshot of entry {index} holds something else"
                ));
            }
            let mut replica = Erring::new(restored, self.replicas[2].mistake);
            let lost = self.mistake == Some(Mistake::OldSnapshot) && self.index > index;
            let missing = self
                .log
                .iter()
                .filter(|(at, _)| *at > index)
                .skip(usize::from(lost));
            for (at, bytes) in missing {
                let entry = decode_entry(bytes).map_err(|error| error.to_string())?;
                // The attested entry itself would stop a replica that has lost one.
                if !lost || !matches!(entry.act, Act::Attest { .. }) {
                    replica.apply(*at, &entry, &mut Vec::new());
                }
            }
            self.replicas[2] = replica;
        }
        Ok(())
    }

    fn compare_state(&mut self) -> Result<(), String> {
        let first = &self.replicas[0].machine;
        self.rules.check_kept(first)?;
        if self.judges == Judges::RulesAlone {
            return Ok(());
        }
        let expected = digests(first);
        for (number, replica) in self.replicas.iter().enumerate() {
            let machine = &replica.machine;
            if digests(machine) != expected || machine.counts() != first.counts() {
                return Err(format!("replica {number} has drifted away"));
            }
            self.compare_with_model(machine)?;
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

/// The digests of every slot that can hold something, and of the history.
fn digests(machine: &Machine) -> Vec<Act<'static>> {
    ADDRESSES
        .iter()
        .map(|address| machine.attest(u64::from(Slot::of(address).number()) * 4_096))
        .inspect(|act| assert!(matches!(act, Act::Attest { slot, .. } if slot.number() < SLOTS)))
        .collect()
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
        }
    }
    Ok(said)
}
