//! One run: chance writes a log, three replicas and the model apply it, and everything is compared
//! after each entry.
//!
//! The first replica counts from the start. The second is restored from a snapshot every now and
//! then. The third is restored from a snapshot that was taken earlier and written only afterwards,
//! while the machine it was taken of went on changing, and then catches up from the log.

use bytes::BytesMut;
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_entry};
use shard::machine::command::{Act, Leader, Ticket};
use shard::machine::effect::Effect;
use shard::machine::outcome::{Outcome, RequestKey};
use shard::machine::snapshot::Snapshot;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::{SLOTS, Slot};
use shard::subscription::dialog::{DialogKey, EndReason, Package};
use shard::subscription::view::View;
use shard::time::Timestamp;

use crate::asked::{Asked, Bound, What};
use crate::chance::Chance;
use crate::mistakes::{Erring, Mistake};
use crate::model::{Model, Notified, Said, Shown, Told};
use crate::rules::Rules;

/// Few, so that requests meet.
pub const ADDRESSES: [&str; 5] = [
    "alice@example.com",
    "bob@example.com",
    "tel:+15551234",
    "carol@example.org",
    "dave@example.org",
];

const ENTRIES: u64 = 120;
const BEGIN_MS: u64 = 1_700_000_000_000;
const LIVES_S: [u32; 10] = [0, 1, 2, 5, 30, 60, 600, 3_600, 86_400, u32::MAX];

/// What a run is made of: each seed stresses something else, because a mixture of everything hides
/// what only a crowd of one kind shows.
struct Habits {
    /// How often each kind of request is made, relative to the others.
    weights: [u64; 5],
    /// How many of [`ADDRESSES`] are used.
    addresses: u64,
    /// Of which lifetimes is chosen.
    lives_s: Vec<u32>,
    /// Percentage of requests that are repeats.
    repeats: u64,
    /// Requests in an entry at most.
    crowd: u64,
    /// How far the clock goes in an ordinary step, in milliseconds.
    stride_ms: u64,
}

impl Habits {
    fn draw(chance: &mut Chance) -> Habits {
        let mut weights = [0; 5].map(|_: u64| *chance.one(&[0, 1, 2, 4, 8]));
        if weights.iter().sum::<u64>() == 0 {
            weights = [1; 5];
        }
        let mut lives_s: Vec<u32> = LIVES_S.into_iter().filter(|_| chance.percent(60)).collect();
        if lives_s.is_empty() {
            lives_s.push(60);
        }
        Habits {
            weights,
            addresses: 1 + chance.below(ADDRESSES.len() as u64),
            lives_s,
            repeats: *chance.one(&[0, 10, 30]),
            crowd: *chance.one(&[2, 6, 20]),
            stride_ms: *chance.one(&[1, 40, 2_500, 40_000]),
        }
    }
}

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
    chance: Chance,
    habits: Habits,
    clock_ms: u64,
    index: u64,
    log: Vec<Stored>,
    replicas: [Erring; 3],
    mistake: Option<Mistake>,
    judges: Judges,
    pending: Option<Pending>,
    model: Model,
    rules: Rules,
    asked: Vec<Asked>,
    /// Tags that were given, some of them still good.
    tags: Vec<(&'static str, EntityTag)>,
    /// Dialogs that were opened, some of them still open.
    dialogs: Vec<(&'static str, DialogKey)>,
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
    let mut chance = Chance::new(seed);
    let mut world = World {
        habits: Habits::draw(&mut chance),
        chance,
        clock_ms: BEGIN_MS,
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
        asked: Vec::new(),
        tags: Vec::new(),
        dialogs: Vec::new(),
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
        self.tick();
        // Other things stand in a Raft log too.
        self.index += 1 + u64::from(self.chance.percent(10));
        match self.chance.below(100) {
            0..5 => {
                let leader = Leader {
                    node: self.chance.below(3),
                    life: self.chance.bits(),
                };
                let salt = self.chance.bits() as u32;
                self.enter(&Act::TermStart { leader, salt })?;
            }
            5..10 => {
                let slot = Slot::of(self.address());
                let attested = self.replicas[0]
                    .machine
                    .attest(u64::from(slot.number()) * 4_096);
                self.enter(&attested)?;
            }
            _ => {
                let asked: Vec<Asked> = (0..self.chance.below(self.habits.crowd))
                    .map(|place| self.request(place))
                    .collect();
                let requests = asked.iter().map(Asked::request).collect();
                let said = self.enter(&Act::Requests(requests))?;
                self.note(&asked, &said);
                self.rules.check(&asked, &said)?;
                self.asked.extend(asked);
            }
        }
        self.restart()?;
        self.compare_state()
    }

    /// Moves the leader's clock: mostly a little, at times far, back, or to the edge of an end.
    fn tick(&mut self) {
        self.clock_ms = match self.chance.below(20) {
            0 => self.clock_ms.saturating_sub(self.chance.below(100_000)),
            1 => self.clock_ms + self.chance.below(7_200_000),
            2 => self.clock_ms + self.chance.below(90_000_000),
            3 | 4 => self.model.first_end_ms().unwrap_or(self.clock_ms),
            5 => self
                .model
                .first_end_ms()
                .map_or(self.clock_ms, |end| end - 1),
            6 => self.clock_ms,
            7 | 8 => self.clock_ms + 30_000 + self.chance.below(5_000),
            _ => self.clock_ms + self.chance.below(self.habits.stride_ms),
        };
    }

    /// Appends an entry and lets everybody apply it; gives what the first replica said.
    fn enter(&mut self, act: &Act<'_>) -> Result<Said, String> {
        let mut bytes = BytesMut::new();
        encode_entry(Timestamp(self.clock_ms), act, &mut bytes);
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
        self.rules.time(self.clock_ms);
        if !matches!(act, Act::Requests(_)) {
            self.rules.check(&[], &first)?;
        }
        self.log.push((self.index, bytes.to_vec()));
        Ok(first)
    }

    /// Restores the second replica, or begins or ends the restoring of the third.
    fn restart(&mut self) -> Result<(), String> {
        if self.chance.percent(10) {
            let mut bytes = Vec::new();
            let machine = &self.replicas[1].machine;
            machine
                .snapshot()
                .write(&mut bytes)
                .map_err(|error| error.to_string())?;
            let restored = Machine::restore(&mut &bytes[..]).map_err(|error| error.to_string())?;
            self.replicas[1] = Erring::new(restored, self.replicas[1].mistake);
        }
        if self.pending.is_none() && self.chance.percent(20) {
            let machine = &self.replicas[2].machine;
            let digests = digests(machine);
            self.pending = Some(Pending {
                snapshot: machine.snapshot(),
                index: self.index,
                digests,
            });
        }
        if self.chance.percent(10)
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

    /// Remembers what can be referred to later.
    fn note(&mut self, asked: &[Asked], said: &Said) {
        for (request, (_, outcome)) in asked.iter().zip(&said.replies) {
            match (&request.what, outcome) {
                (What::Publish { presentity, .. }, Outcome::Published { tag, .. }) => {
                    self.tags.push((presentity, *tag));
                }
                (
                    What::Subscribe {
                        presentity, dialog, ..
                    },
                    Outcome::Subscribed { .. },
                ) => {
                    self.dialogs.push((presentity, *dialog));
                }
                _ => {}
            }
        }
    }

    /// A request for this place of the entry.
    fn request(&mut self, place: u64) -> Asked {
        let ticket = Ticket(self.chance.bits());
        if self.chance.percent(self.habits.repeats)
            && let Some(before) = self.chance.any(&self.asked)
        {
            let mut again = Asked {
                ticket,
                ..before.clone()
            };
            // The ingress of a repeat draws a tag of its own.
            if let What::Subscribe { dialog, chance, .. } = &mut again.what {
                *dialog = new_dialog(&mut self.chance);
                *chance = self.chance.bits();
            }
            return again;
        }
        let key = RequestKey(u128::from(self.chance.bits()) << 64 | u128::from(self.chance.bits()));
        let mut draw = self.chance.below(self.habits.weights.iter().sum());
        let kind = self.habits.weights.iter().position(|weight| {
            let drawn = draw < *weight;
            draw = draw.saturating_sub(*weight);
            drawn
        });
        let what = match kind {
            Some(0) => self.publish(),
            Some(1) => self.subscribe(place == 0),
            Some(2) => self.resubscribe(),
            Some(3) => self.end_dialog(),
            _ => self.register(),
        };
        Asked { key, ticket, what }
    }

    fn publish(&mut self) -> What {
        let mut presentity = self.address();
        let recent = self.tags.len().saturating_sub(12);
        let known = self.chance.any(&self.tags[recent..]).copied();
        let if_match = match (self.chance.below(10), known) {
            (0..3, _) | (_, None) => None,
            (3, _) => Some(EntityTag {
                salt: 7,
                index: self.chance.below(100),
                position: 0,
            }),
            (4, Some((_, tag))) => Some(tag),
            (_, Some((of, tag))) => {
                presentity = of;
                Some(tag)
            }
        };
        let length = match self.chance.below(400) {
            0 => 65_536,
            1 => 65_537,
            _ => self.chance.below(40) as usize,
        };
        let byte = self.chance.bits() as u8;
        let content = (if_match.is_none() || self.chance.percent(50)).then(|| vec![byte; length]);
        What::Publish {
            presentity,
            if_match,
            content: content.filter(|_| !self.chance.percent(3)),
            expires_s: *self.chance.one(&self.habits.lives_s),
            tag_policy: if self.chance.percent(20) {
                TagPolicy::Keep
            } else {
                TagPolicy::Renew
            },
        }
    }

    fn address(&mut self) -> &'static str {
        ADDRESSES[self.chance.below(self.habits.addresses) as usize]
    }

    fn subscribe(&mut self, first: bool) -> What {
        let mut presentity = self.address();
        let mut dialog = new_dialog(&mut self.chance);
        // A key that is in use already. Since tags are never drawn twice, only one that still lives
        // when the request is applied.
        if self.chance.percent(8)
            && let Some(living) = self.chance.any(&self.model.dialogs)
            && first
            && living.ends_ms > self.clock_ms
        {
            dialog = living.key;
            presentity = ADDRESSES
                .into_iter()
                .find(|address| *address == living.presentity)
                .unwrap_or(presentity);
        }
        What::Subscribe {
            presentity,
            watcher: self.address(),
            dialog,
            chance: self.chance.bits(),
            cseq: self.chance.below(20) as u32,
            expires_s: *self.chance.one(&self.habits.lives_s),
            route: bytes(&mut self.chance),
            target: bytes(&mut self.chance),
        }
    }

    /// A dialog to refer to: mostly one that lives.
    fn known_dialog(&mut self) -> (Slot, DialogKey) {
        if self.chance.percent(80)
            && let Some(living) = self.chance.any(&self.model.dialogs)
        {
            return (Slot::of(&living.presentity), living.key);
        }
        match self.chance.any(&self.dialogs) {
            Some((presentity, key)) => (Slot::of(presentity), *key),
            None => (Slot::of(ADDRESSES[0]), DialogKey(1)),
        }
    }

    fn resubscribe(&mut self) -> What {
        let (slot, dialog) = self.known_dialog();
        let now = self.model.dialogs.iter().find(|known| known.key == dialog);
        let next = now.map_or(0, |known| known.remote_cseq).saturating_add(3);
        What::Resubscribe {
            slot,
            dialog,
            cseq: next.saturating_sub(self.chance.below(5) as u32),
            expires_s: *self.chance.one(&self.habits.lives_s),
            target: bytes(&mut self.chance),
        }
    }

    fn end_dialog(&mut self) -> What {
        let (slot, dialog) = self.known_dialog();
        let reasons = [
            EndReason::Unreachable,
            EndReason::Unreachable,
            EndReason::Deactivated,
            EndReason::Rejected,
            EndReason::Noresource,
            EndReason::Timeout,
        ];
        What::EndDialog {
            slot,
            dialog,
            reason: *self.chance.one(&reasons),
        }
    }

    fn register(&mut self) -> What {
        let count = match self.chance.below(60) {
            0 => 33,
            1..12 => 0,
            _ => 1 + self.chance.below(3),
        };
        let bindings = (0..count).map(|number| {
            let binding = if count > 8 {
                number
            } else {
                self.chance.below(5)
            };
            let expires_s = *self.chance.one(&self.habits.lives_s);
            let target = bytes(&mut self.chance);
            Bound {
                binding,
                contact: format!("sip:{binding}@192.0.2.1"),
                expires_s,
                target,
            }
        });
        let bindings: Vec<Bound> = bindings.collect();
        let removes_all = self.chance.percent(8);
        What::Register {
            aor: self.address(),
            call_id: self.chance.below(3),
            cseq: self.index as u32 / 8 + self.chance.below(4) as u32,
            bindings: if removes_all { None } else { Some(bindings) },
        }
    }
}

fn new_dialog(chance: &mut Chance) -> DialogKey {
    DialogKey(u128::from(chance.bits()) << 64 | u128::from(chance.bits()))
}

fn bytes(chance: &mut Chance) -> Vec<u8> {
    let length = chance.below(12) as usize;
    vec![chance.bits() as u8; length]
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
    let shown = view.contents.iter();
    shown
        .map(|c| (c.number, c.published_at.0, c.stored.to_vec()))
        .collect()
}

/// What effects say, as the model says it.
fn said(effects: &[Effect]) -> Result<Said, String> {
    let mut said = Said::default();
    for effect in effects {
        match effect {
            Effect::Reply { ticket, outcome } => {
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
