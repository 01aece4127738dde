//! Who writes the logs: chance, with some knowledge of what is worth asking for.

use shard::machine::command::Ticket;
use shard::machine::outcome::{Outcome, RequestKey};
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, EndReason};

use crate::asked::{Asked, Bound, What};
use crate::chance::Chance;
use crate::model::{Model, Said};

/// Few, so that requests meet.
pub const ADDRESSES: [&str; 5] = [
    "alice@example.com",
    "bob@example.com",
    "tel:+15551234",
    "carol@example.org",
    "dave@example.org",
];

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

/// The author of one log.
pub struct Author {
    pub chance: Chance,
    /// The leader's clock.
    pub clock_ms: u64,
    habits: Habits,
    /// Everything that was asked.
    asked: Vec<Asked>,
    /// Tags that were given, some of them still good.
    tags: Vec<(&'static str, EntityTag)>,
    /// Dialogs that were opened, some of them still open.
    dialogs: Vec<(&'static str, DialogKey)>,
}

impl Author {
    /// The author of the log of `seed`.
    pub fn new(seed: u64) -> Author {
        let mut chance = Chance::new(seed);
        Author {
            habits: Habits::draw(&mut chance),
            chance,
            clock_ms: BEGIN_MS,
            asked: Vec::new(),
            tags: Vec::new(),
            dialogs: Vec::new(),
        }
    }

    /// Moves the leader's clock: mostly a little, at times far, back, or to the edge of an end.
    pub fn tick(&mut self, model: &Model) {
        self.clock_ms = match self.chance.below(20) {
            0 => self.clock_ms.saturating_sub(self.chance.below(100_000)),
            1 => self.clock_ms + self.chance.below(7_200_000),
            2 => self.clock_ms + self.chance.below(90_000_000),
            3 | 4 => model.first_end_ms().unwrap_or(self.clock_ms),
            5 => model.first_end_ms().map_or(self.clock_ms, |end| end - 1),
            6 => self.clock_ms,
            7 => self.clock_ms + 30_000 + self.chance.below(5_000),
            // Exactly 64·T1, which decides about repeats and about notifying again.
            8 => self.clock_ms + 32_000,
            _ => self.clock_ms + self.chance.below(self.habits.stride_ms),
        };
    }

    /// The requests of the entry at log position `index`.
    pub fn requests(&mut self, model: &Model, index: u64) -> Vec<Asked> {
        let count = self.chance.below(self.habits.crowd);
        (0..count)
            .map(|place| self.request(model, index, place))
            .collect()
    }

    /// Remembers what can be referred to later.
    pub fn note(&mut self, asked: Vec<Asked>, said: &Said) {
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
        self.asked.extend(asked);
    }

    /// A request for this place of the entry.
    fn request(&mut self, model: &Model, index: u64, place: u64) -> Asked {
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
            Some(1) => self.subscribe(model, place == 0),
            Some(2) => self.resubscribe(model),
            Some(3) => self.end_dialog(model),
            _ => self.register(index),
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

    /// One of the addresses in use.
    pub fn address(&mut self) -> &'static str {
        ADDRESSES[self.chance.below(self.habits.addresses) as usize]
    }

    fn subscribe(&mut self, model: &Model, first: bool) -> What {
        let mut presentity = self.address();
        let mut dialog = new_dialog(&mut self.chance);
        // A key that is in use already. Since tags are never drawn twice, only one that still lives
        // when the request is applied.
        if self.chance.percent(8)
            && let Some(living) = self.chance.any(&model.dialogs)
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
    fn known_dialog(&mut self, model: &Model) -> (Slot, DialogKey) {
        if self.chance.percent(80)
            && let Some(living) = self.chance.any(&model.dialogs)
        {
            return (Slot::of(&living.presentity), living.key);
        }
        match self.chance.any(&self.dialogs) {
            Some((presentity, key)) => (Slot::of(presentity), *key),
            None => (Slot::of(ADDRESSES[0]), DialogKey(1)),
        }
    }

    fn resubscribe(&mut self, model: &Model) -> What {
        let (slot, dialog) = self.known_dialog(model);
        let now = model.dialogs.iter().find(|known| known.key == dialog);
        let next = now.map_or(0, |known| known.remote_cseq).saturating_add(3);
        What::Resubscribe {
            slot,
            dialog,
            cseq: next.saturating_sub(self.chance.below(5) as u32),
            expires_s: *self.chance.one(&self.habits.lives_s),
            target: bytes(&mut self.chance),
        }
    }

    fn end_dialog(&mut self, model: &Model) -> What {
        let (slot, dialog) = self.known_dialog(model);
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

    fn register(&mut self, index: u64) -> What {
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
            cseq: index as u32 / 8 + self.chance.below(4) as u32,
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
