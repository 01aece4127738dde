//! Three shards between which slots move, against one that has everything: whatever is asked and whenever a
//! slot moves, restarts or stays after all, what is kept and what is told comes to the same.
//!
//! Each shard is three replicas of a log, which are restored from snapshots in the middle of moves as well.
//! Requests go to the shard that has the slot; those that meet a slot on its way wait and come again under
//! their key, as those do whose answer is lost.

use std::collections::{BTreeMap, BTreeSet};

use shard::machine::command::{Act, Command, Leader, Request, Ticket};
use shard::machine::effect::{Effect, SubscriptionState};
use shard::machine::moves::{Arriving, Standing, Step, sum_of};
use shard::machine::outcome::{Outcome, RequestKey};
use shard::presence::publication::EntityTag;
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, Package};
use shard::time::Timestamp;

use crate::asked::{Asked, What};
use crate::author::{ADDRESSES, Author};
use crate::model::{Model, Said, Shown};
use crate::replicas::Replicas;
use crate::world::shown;

/// Shards.
const SHARDS: usize = 3;

/// Steps of a run.
const STEPS: u64 = 150;

/// For how long a request may be repeated: the memory of a slot that moved reaches further than others.
const REPEAT_MS: u64 = 30_000;

/// What a driver of moves could get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// What met a slot on its way, or whose answer was lost, comes again as another request.
    AnotherKey,
    /// The old shard serves the slot again although it has moved.
    BothServe,
    /// The slot is served before it is opened where it goes, and what was packed later is not what was there.
    OldParcel,
    /// What came is never opened, and the old shard drops it.
    NeverOpened,
}

impl Slip {
    pub const ALL: [Slip; 4] = [
        Slip::AnotherKey,
        Slip::BothServe,
        Slip::OldParcel,
        Slip::NeverOpened,
    ];
}

/// A slot on its way.
struct Moving {
    slot: Slot,
    number: u64,
    from: usize,
    to: usize,
    parcel: Option<Vec<u8>>,
    /// Whether the pool map has said that it moved.
    made: bool,
}

/// One run.
struct World {
    author: Author,
    slip: Option<Slip>,
    model: Model,
    model_index: u64,
    shards: Vec<Replicas>,
    indices: Vec<u64>,
    owners: BTreeMap<Slot, usize>,
    moving: Option<Moving>,
    next_move: u64,
    /// The tag that each of the model's is in the shards.
    tags: BTreeMap<EntityTag, EntityTag>,
    given: BTreeMap<(&'static str, EntityTag), EntityTag>,
    /// The last CSeq of each dialog; `None` once it has ended.
    cseqs: BTreeMap<DialogKey, Option<u32>>,
    told: BTreeMap<DialogKey, Vec<Shown>>,
    answered: BTreeMap<RequestKey, (u64, Outcome)>,
    waiting: Vec<Asked>,
    steps: u64,
}

type Checked<T = ()> = Result<T, String>;

/// Runs the world of `seed`; with a `slip`, one that is to be found. Gives how many slots moved.
pub fn run(seed: u64, slip: Option<Slip>) -> Checked<u64> {
    let slots: BTreeSet<Slot> = ADDRESSES.iter().map(|address| Slot::of(address)).collect();
    let mut world = World {
        author: Author::new(seed ^ 0x5107_5107),
        slip,
        model: Model::default(),
        model_index: 0,
        shards: (0..SHARDS).map(|_| Replicas::new(None)).collect(),
        indices: vec![0; SHARDS],
        owners: (0..)
            .zip(slots)
            .map(|(n, slot)| (slot, n % SHARDS))
            .collect(),
        moving: None,
        next_move: 0,
        tags: BTreeMap::new(),
        given: BTreeMap::new(),
        cseqs: BTreeMap::new(),
        told: BTreeMap::new(),
        answered: BTreeMap::new(),
        waiting: Vec::new(),
        steps: 0,
    };
    let mut moved = 0;
    world.begin()?;
    for _ in 0..STEPS {
        world.steps += 1;
        moved += world
            .step()
            .map_err(|wrong| format!("in step {}: {wrong}", world.steps))?;
    }
    while world.moving.is_some() {
        moved += u64::from(world.drive()?);
    }
    world.retry()?;
    world.compare()?;
    Ok(moved)
}

impl World {
    fn at(&self) -> Timestamp {
        Timestamp(self.author.clock_ms)
    }

    fn begin(&mut self) -> Checked {
        let leader = Leader { node: 1, life: 1 };
        for shard in 0..SHARDS {
            // All the same, so that equal tags would come of it, were nothing done about it.
            let act = Act::TermStart { leader, salt: 99 };
            self.enter(shard, &act)?;
        }
        self.teach(&Act::TermStart { leader, salt: 98 }).map(|_| ())
    }

    /// Lets the model apply an entry.
    fn teach(&mut self, act: &Act<'_>) -> Checked<Said> {
        self.model_index += 1;
        let entry = shard::machine::command::Entry {
            at: self.at(),
            act: act.clone(),
        };
        Ok(self.model.apply(self.model_index, &entry))
    }

    /// Appends to a shard's log; gives its answers.
    fn enter(&mut self, shard: usize, act: &Act<'_>) -> Checked<Vec<Outcome>> {
        self.indices[shard] += 1 + self.author.chance.below(2);
        let index = self.indices[shard];
        let at = self.at();
        let each = self.shards[shard].enter(index, at, act, |_| {})?;
        let texts = each.each_ref().map(|effects| format!("{effects:?}"));
        if texts[1] != texts[0] || texts[2] != texts[0] {
            return Err(format!("replicas of shard {shard} differ: {texts:#?}"));
        }
        let [first, ..] = each;
        let mut outcomes = Vec::new();
        for effect in first {
            match effect {
                Effect::Reply { outcome, .. } => outcomes.push(outcome),
                // Nobody here watches from another shard.
                Effect::Send { .. } => {}
                Effect::Notify { view, notices } => {
                    for notice in notices {
                        let key = notice.dialog;
                        let last = self.cseqs.insert(key, Some(notice.cseq));
                        let fresh = match last {
                            None => true,
                            Some(None) => false,
                            Some(Some(last)) => notice.cseq > last,
                        };
                        if !fresh {
                            let cseq = notice.cseq;
                            return Err(format!("{key}: CSeq {cseq} after {last:?}"));
                        }
                        self.told.insert(key, shown(&view));
                        if let SubscriptionState::Terminated(_) = notice.state {
                            self.cseqs.insert(key, None);
                            self.told.remove(&key);
                        }
                    }
                }
            }
        }
        self.shards[shard].restart(&mut self.author.chance, index)?;
        self.shards[shard].agree()?;
        Ok(outcomes)
    }

    fn step(&mut self) -> Checked<u64> {
        self.author.tick(&self.model);
        // Time passes everywhere alike.
        let pass = Act::Requests(Vec::new());
        for shard in 0..SHARDS {
            self.enter(shard, &pass)?;
        }
        self.teach(&pass)?;
        let mut moved = 0;
        if self.moving.is_none() && self.author.chance.percent(30) {
            self.order();
        }
        while self.moving.is_some() && self.author.chance.percent(60) {
            moved += u64::from(self.drive()?);
        }
        if self.author.chance.percent(5) {
            let shard = self.author.chance.below(SHARDS as u64) as usize;
            let slot = u64::from(Slot::of(self.author.address()).number());
            let attested = self.shards[shard].first().attest(slot * 4_096);
            self.enter(shard, &attested)?;
        }
        if self.author.chance.percent(5) {
            let leader = Leader { node: 2, life: 2 };
            let shard = self.author.chance.below(SHARDS as u64) as usize;
            self.enter(shard, &Act::TermStart { leader, salt: 5 })?;
        }
        self.retry()?;
        for asked in self.author.requests(&self.model, self.model_index + 1) {
            self.ask(asked)?;
        }
        if self.moving.is_none() {
            self.compare()?;
        }
        Ok(moved)
    }

    /// The operator wants a slot elsewhere.
    fn order(&mut self) {
        let slot = Slot::of(self.author.address());
        let from = self.owners[&slot];
        let to = (from + 1 + self.author.chance.below(SHARDS as u64 - 1) as usize) % SHARDS;
        self.next_move += 1;
        self.moving = Some(Moving {
            slot,
            number: self.next_move,
            from,
            to,
            parcel: None,
            made: false,
        });
    }

    fn order_step(&mut self, shard: usize, slot: Slot, number: u64, step: Step<'_>) -> Checked {
        // Whoever drives may have died and begun again: every step may come twice.
        for _ in 0..1 + self.author.chance.below(2) {
            let command = Command::MoveSlot { slot, number, step };
            let key = RequestKey(u128::from(self.author.chance.bits()));
            let request = Request {
                key,
                ticket: Ticket(0),
                command,
            };
            self.enter(shard, &Act::Requests(vec![request]))?;
        }
        Ok(())
    }

    fn standing(&self, shard: usize, slot: Slot) -> Option<(u64, Standing)> {
        let mut standings = self.shards[shard].first().standings();
        let found = standings.find(|(of, ..)| *of == slot);
        found.map(|(_, number, standing)| (number, standing))
    }

    /// Does whatever is to be done next, as a driver sees it that has just begun; tells whether the slot has
    /// moved, and is done with.
    fn drive(&mut self) -> Checked<bool> {
        let Some(moving) = self.moving.take() else {
            return Ok(false);
        };
        let Moving {
            slot,
            number,
            from,
            to,
            ..
        } = moving;
        let mut moving = moving;
        let here = self.standing(from, slot);
        let there = self.standing(to, slot);
        let whole = Some((number, Standing::Arriving(Arriving::Whole)));
        if moving.made {
            if there != Some((number, Standing::Here)) && self.slip != Some(Slip::NeverOpened) {
                self.order_step(to, slot, number, Step::Open)?;
            } else if self.slip == Some(Slip::BothServe) {
                self.order_step(from, slot, number, Step::Thaw)?;
                self.owners.insert(slot, from);
                return Ok(true);
            } else {
                self.order_step(from, slot, number, Step::Drop)?;
                return Ok(true);
            }
        } else if self.author.chance.percent(4) {
            // Given up, wherever it was.
            self.order_step(from, slot, number, Step::Thaw)?;
            self.order_step(to, slot, number, Step::Abandon)?;
            return Ok(false);
        } else if self.slip == Some(Slip::OldParcel) && here == Some((number, Standing::Here)) {
            moving.made = self.author.chance.percent(30);
            if moving.made {
                self.owners.insert(slot, to);
            }
        } else if here != Some((number, Standing::Frozen)) {
            self.order_step(from, slot, number, Step::Freeze)?;
        } else if there != whole {
            let export = self.shards[from].first().export(slot, number);
            let packed = export.ok_or("a frozen slot cannot be packed")?.pack();
            let old = self.slip == Some(Slip::OldParcel);
            let parcel = if old {
                moving.parcel.get_or_insert(packed).clone()
            } else {
                packed
            };
            let size = 1 + self.author.chance.below(parcel.len() as u64) as usize;
            let size = size.max(parcel.len() / 8 + 1);
            let cut: Vec<&[u8]> = parcel.chunks(size).collect();
            // One part at a time, in any order, until it is whole.
            let part = self.author.chance.below(cut.len() as u64) as usize;
            let all = self.author.chance.percent(50);
            let (parts, sum) = (cut.len() as u16, sum_of(&parcel));
            for (number_of, bytes) in (0..).zip(&cut) {
                if all || usize::from(number_of) == part {
                    let import = Step::Import {
                        part: number_of,
                        parts,
                        sum,
                        bytes,
                    };
                    self.order_step(to, slot, number, import)?;
                }
            }
            if old && all {
                // It goes on being served meanwhile, and what is packed is not what there is.
                self.order_step(from, slot, number, Step::Thaw)?;
            }
        } else {
            moving.made = true;
            self.owners.insert(slot, to);
        }
        self.moving = Some(moving);
        Ok(false)
    }

    /// Those that met a slot on its way come again.
    fn retry(&mut self) -> Checked {
        for asked in std::mem::take(&mut self.waiting) {
            self.ask(asked)?;
        }
        Ok(())
    }

    fn ask(&mut self, asked: Asked) -> Checked {
        let now_ms = self.model.now_ms;
        let known = self.answered.get(&asked.key);
        if known.is_some_and(|(at, _)| now_ms > at + REPEAT_MS) {
            return Ok(());
        }
        let slot = match &asked.what {
            What::Register { aor, .. } => Slot::of(aor),
            What::Publish { presentity, .. } | What::Subscribe { presentity, .. } => {
                Slot::of(presentity)
            }
            What::Resubscribe { slot, .. } | What::EndDialog { slot, .. } => *slot,
        };
        let mut there = asked.clone();
        if let What::Publish {
            presentity,
            if_match,
            ..
        } = &mut there.what
        {
            *if_match = if_match.map(|tag| self.tag_there(presentity, tag));
        }
        // An ingress that does not know yet where the slot has gone asks who had it.
        let stale = self.author.chance.below(SHARDS as u64) as usize;
        if stale != self.owners[&slot] && self.standing(stale, slot).is_some() {
            let outcomes = self.enter(stale, &Act::Requests(vec![there.request()]))?;
            if outcomes != [Outcome::Moving] && self.slip != Some(Slip::BothServe) {
                return Err(format!("who has not the slot answered {outcomes:?}"));
            }
        }
        let again = self.author.chance.percent(15);
        let owner = self.owners[&slot];
        let outcomes = self.enter(owner, &Act::Requests(vec![there.request()]))?;
        let [outcome] = <[_; 1]>::try_from(outcomes).map_err(|all| format!("{all:?}"))?;
        if outcome == Outcome::Moving {
            let opens_again = matches!(&asked.what, What::Subscribe { dialog, .. } if self.cseqs.contains_key(dialog));
            if !opens_again {
                self.waiting.push(asked);
            }
            return Ok(());
        }
        let said = self.teach(&Act::Requests(vec![asked.request()]))?;
        let [(_, models)] = &said.replies[..] else {
            return Err(format!("{said:?}"));
        };
        self.compare_outcomes(&asked, &outcome, models)?;
        self.answered
            .entry(asked.key)
            .or_insert((now_ms, models.clone()));
        if again {
            // The answer is lost on its way: the same request comes again, later, wherever the slot is then.
            let mut repeat = asked.clone();
            if self.slip == Some(Slip::AnotherKey) {
                repeat.key = RequestKey(!repeat.key.0);
            }
            let mut there = repeat.clone();
            if let What::Publish {
                presentity,
                if_match,
                ..
            } = &mut there.what
            {
                *if_match = if_match.map(|tag| self.tag_there(presentity, tag));
            }
            if self.moving.is_some() && self.author.chance.percent(50) {
                self.drive()?;
            }
            let owner = self.owners[&slot];
            let outcomes = self.enter(owner, &Act::Requests(vec![there.request()]))?;
            if outcomes != [Outcome::Moving] && outcomes != [outcome.clone()] {
                return Err(format!(
                    "{asked:?} was answered {outcome:?}, then {outcomes:?}"
                ));
            }
        }
        self.author.note(vec![asked], &said);
        Ok(())
    }

    /// What a tag of the model is in the shards, for this address. One that the model gave to somebody else,
    /// or to nobody, is unknown there too: the shards begin with one salt here, so two of them may have
    /// given two addresses tags that look the same.
    fn tag_there(&self, presentity: &'static str, tag: EntityTag) -> EntityTag {
        let unknown = EntityTag {
            salt: !tag.salt,
            ..tag
        };
        let there = self.tags.get(&tag).copied();
        there
            .filter(|there| self.given.get(&(presentity, *there)) == Some(&tag))
            .unwrap_or(unknown)
    }

    fn compare_outcomes(&mut self, asked: &Asked, ours: &Outcome, models: &Outcome) -> Checked {
        let same = match (ours, models) {
            (
                Outcome::Published { tag, expires_s },
                Outcome::Published {
                    tag: of_model,
                    expires_s: models_s,
                },
            ) => {
                let known = *self.tags.entry(*of_model).or_insert(*tag);
                let What::Publish { presentity, .. } = asked.what else {
                    return Err(format!("{asked:?} was answered {ours:?}"));
                };
                // A tag that is new to the model is new here.
                let given = *self.given.entry((presentity, *tag)).or_insert(*of_model);
                known == *tag && expires_s == models_s && given == *of_model
            }
            _ => ours == models,
        };
        same.then_some(())
            .ok_or_else(|| format!("{asked:?} was answered {ours:?}, by the model {models:?}"))
    }

    /// No slot is on its way: everything is as if none had ever been.
    fn compare(&self) -> Checked {
        let model = &self.model;
        for address in ADDRESSES {
            let machine = self.shards[self.owners[&Slot::of(address)]].first();
            let differ = |what: &str, ours: &dyn std::fmt::Debug, models: &dyn std::fmt::Debug| {
                Err(format!(
                    "{address}: {what}: {ours:#?}\nthe model: {models:#?}"
                ))
            };
            if machine.now().0 != model.now_ms {
                return differ("now", &machine.now().0, &model.now_ms);
            }
            let view = shown(&machine.fetch(address, Package::Presence));
            if view != model.shown(address) {
                return differ("view", &view, &model.shown(address));
            }
            let report = machine.report(address).unwrap_or_default();
            let ours: Vec<_> = report
                .publications
                .iter()
                .map(|(_, p)| (p.tag, p.expires_at.0))
                .collect();
            let of_model = model
                .publications
                .iter()
                .filter(|p| p.presentity == address);
            let models: Vec<_> = of_model
                .map(|p| (self.tags.get(&p.tag).copied().unwrap_or(p.tag), p.ends_ms))
                .collect();
            if ours != models {
                return differ("publications", &ours, &models);
            }
            let endpoints = model.endpoints.iter().filter(|(aor, _)| aor == address);
            let models: Vec<_> = endpoints.map(|(_, endpoint)| endpoint.clone()).collect();
            if report.endpoints != models {
                return differ("endpoints", &report.endpoints, &models);
            }
            let ours: BTreeMap<_, _> = report
                .watchers
                .iter()
                .map(|(key, dialog)| {
                    let Some(last) = self.cseqs.get(key).copied().flatten() else {
                        return (*key, (0, 0, Vec::new(), false));
                    };
                    let right = last == dialog.local_cseq
                        && self.told.get(key).is_some_and(|told| *told == view);
                    let of = (
                        dialog.remote_cseq,
                        dialog.expires_at.0,
                        dialog.target.to_vec(),
                        right,
                    );
                    (*key, of)
                })
                .collect();
            let dialogs = model.dialogs.iter().filter(|d| d.presentity == address);
            let models: BTreeMap<_, _> = dialogs
                .map(|d| (d.key, (d.remote_cseq, d.ends_ms, d.target.clone(), true)))
                .collect();
            if ours != models {
                return differ("watchers", &ours, &models);
            }
        }
        Ok(())
    }
}
