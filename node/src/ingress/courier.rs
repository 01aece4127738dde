//! Brings what one shard has to say into the logs of others (house D7).
//!
//! The machine of a shard keeps a parcel until its log says that it has arrived; whoever leads the shard is
//! handed it, again at each beginning of a term. Here it is proposed to every shard that it is for, under
//! the same key each time, until each has answered; then the log of its own shard is told. Nothing that
//! counts is kept here: a node that dies takes only its patience along.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shard::machine::command::Ticket;
use shard::machine::parcel::{Destination, Parcel};
use shard::slot::Slot;
use transport::transaction::Millis;

/// How soon a parcel is proposed again.
const AGAIN_MS: u64 = 500;

/// How long that becomes while a shard is away: twice as long each time, up to this.
const AGAIN_MAX_MS: u64 = 8_000;

/// The same while all have it, and slots are on their way: a pool that gets new shards moves slots for minutes.
const AGAIN_MOVING_MAX_MS: u64 = 32_000;

/// A parcel by the slot that keeps it and its number there.
pub type ParcelKey = (Slot, u64);

/// A parcel on its way.
#[derive(Debug)]
struct Round {
    parcel: Arc<Parcel>,
    /// Who has it not answered, by shard.
    open: BTreeMap<usize, Ticket>,
    /// For which state of the routes these shards were chosen.
    routes: u64,
    /// Whether a shard said that a slot was on its way.
    met_a_move: bool,
    /// When it is proposed next, and how long after that.
    next: Millis,
    pause_ms: u64,
}

/// One proposal.
#[derive(Debug)]
pub struct Errand {
    /// To which shard.
    pub shard: usize,
    /// Who is answered.
    pub ticket: Ticket,
    /// Which parcel.
    pub key: ParcelKey,
    /// What.
    pub parcel: Arc<Parcel>,
}

/// Where shards are, as far as a courier needs to know.
pub struct Ways<'w> {
    /// Which state of the routes this is.
    pub version: u64,
    /// How many shards there are.
    pub count: usize,
    /// Whether a slot is on its way.
    pub moving: bool,
    /// Which of them holds a slot.
    pub shard_of: &'w dyn Fn(Slot) -> usize,
    /// Whether this node leads a shard.
    pub leads: &'w dyn Fn(usize) -> bool,
}

/// The parcels of one worker.
#[derive(Debug, Default)]
pub struct Courier {
    rounds: BTreeMap<ParcelKey, Round>,
    by_ticket: BTreeMap<Ticket, (ParcelKey, usize)>,
    queue: BTreeSet<(Millis, ParcelKey)>,
    arrived: Vec<ParcelKey>,
}

impl Courier {
    /// Takes a parcel, unless it is on its way already; what is to be proposed now.
    ///
    /// What every other shard is to hear, the shard that keeps it hears as well, if it is not alone: of a slot
    /// that was frozen there when the parcel was made it could not do what the parcel says.
    pub fn take(
        &mut self,
        key: ParcelKey,
        parcel: Arc<Parcel>,
        ways: &Ways<'_>,
        now: Millis,
        ticket: &mut dyn FnMut() -> Ticket,
    ) -> Vec<Errand> {
        if self.rounds.contains_key(&key) {
            return Vec::new();
        }
        let next = Millis(now.0 + AGAIN_MS);
        let round = Round {
            open: targets(&parcel, ways)
                .map(|shard| (shard, ticket()))
                .collect(),
            parcel,
            routes: ways.version,
            met_a_move: false,
            next,
            pause_ms: AGAIN_MS,
        };
        if round.open.is_empty() {
            self.arrived.push(key);
            return Vec::new();
        }
        let errands = errands(key, &round);
        for (shard, ticket) in &round.open {
            self.by_ticket.insert(*ticket, (key, *shard));
        }
        self.queue.insert((next, key));
        self.rounds.insert(key, round);
        errands
    }

    /// The shard that a ticket of this courier was proposed to; `None` for other tickets.
    #[must_use]
    pub fn shard_of(&self, ticket: Ticket) -> Option<usize> {
        self.by_ticket.get(&ticket).map(|(_, shard)| *shard)
    }

    /// A shard has logged a parcel; `ways` are those of now. `false` for tickets of others.
    ///
    /// What all shards are to hear has arrived only when no slot was on its way meanwhile: one that left a shard
    /// before that was asked may have come to one that had answered. Then all are asked once more when it is due.
    pub fn answered(&mut self, ticket: Ticket, ways: &Ways<'_>, now: Millis) -> bool {
        let Some((key, shard)) = self.by_ticket.remove(&ticket) else {
            return false;
        };
        if let Some(round) = self.rounds.get_mut(&key) {
            round.open.remove(&shard);
            if round.open.is_empty() {
                if round.has_arrived(ways) {
                    self.queue.remove(&(round.next, key));
                    self.rounds.remove(&key);
                    self.arrived.push(key);
                } else {
                    let again = round.next.0.min(now.0 + round.pause_ms);
                    self.put_off(key, Millis(again));
                }
            }
        }
        true
    }

    fn put_off(&mut self, key: ParcelKey, again: Millis) {
        if let Some(round) = self.rounds.get_mut(&key) {
            self.queue.remove(&(round.next, key));
            round.next = again;
            self.queue.insert((again, key));
        }
    }

    /// A slot is on its way in a shard that was asked: it is asked again soon, and all of them after it.
    pub fn met_a_move(&mut self, ticket: Ticket, again: Millis) {
        let key = self.by_ticket.get(&ticket).map(|(key, _)| *key);
        if let Some(round) = key.and_then(|key| self.rounds.get_mut(&key)) {
            round.met_a_move = true;
        }
        self.refused(ticket, again);
    }

    /// A shard did not take a proposal, and who leads it may be known now: it is proposed again soon.
    pub fn refused(&mut self, ticket: Ticket, again: Millis) {
        let Some((key, _)) = self.by_ticket.get(&ticket) else {
            return;
        };
        let key = *key;
        if self
            .rounds
            .get(&key)
            .is_some_and(|round| again < round.next)
        {
            self.put_off(key, again);
        }
    }

    /// Parcels that all have: their own logs are to be told.
    pub fn take_arrived(&mut self) -> Vec<ParcelKey> {
        std::mem::take(&mut self.arrived)
    }

    /// When to look next.
    #[must_use]
    pub fn next(&self) -> Option<Millis> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Those to be proposed again now. Who does not lead a shard any more forgets its parcels: the new
    /// leader has them. After a change of the map all are asked again, because a slot may have moved from
    /// one that was not asked yet to one that was.
    pub fn due(
        &mut self,
        ways: &Ways<'_>,
        now: Millis,
        ticket: &mut dyn FnMut() -> Ticket,
    ) -> Vec<Errand> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.queue.first().copied()
            && at <= now
        {
            self.queue.pop_first();
            let Some(mut round) = self.rounds.remove(&key) else {
                continue;
            };
            let leads = (ways.leads)((ways.shard_of)(key.0));
            let (all_have_it, moved) = (round.open.is_empty(), round.routes != ways.version);
            // The map will change: until then another question would be one too many.
            let waits = all_have_it && ways.moving && !moved;
            let anew = !waits && (all_have_it || moved);
            if anew || !leads {
                for ticket in round.open.values() {
                    self.by_ticket.remove(ticket);
                }
            }
            if !leads {
                continue;
            }
            if anew {
                (round.routes, round.met_a_move) = (ways.version, false);
                round.open = targets(&round.parcel, ways)
                    .map(|shard| (shard, ticket()))
                    .collect();
                for (shard, ticket) in &round.open {
                    self.by_ticket.insert(*ticket, (key, *shard));
                }
            }
            let longest_ms = if all_have_it {
                AGAIN_MOVING_MAX_MS
            } else {
                AGAIN_MAX_MS
            };
            round.pause_ms = if waits {
                AGAIN_MS
            } else {
                (round.pause_ms * 2).min(longest_ms)
            };
            round.next = Millis(now.0 + round.pause_ms);
            due.extend(errands(key, &round));
            self.queue.insert((round.next, key));
            self.rounds.insert(key, round);
        }
        due
    }
}

impl Round {
    /// Whether the shards that have answered are all whom it concerns.
    fn has_arrived(&self, ways: &Ways<'_>) -> bool {
        let still = match self.parcel.to {
            Destination::Every => !ways.moving && !self.met_a_move,
            Destination::Slot(_) => true,
        };
        still && self.routes == ways.version
    }
}

fn targets(parcel: &Parcel, ways: &Ways<'_>) -> std::ops::Range<usize> {
    match parcel.to {
        // There is no other, and no slot that could move.
        Destination::Every if ways.count == 1 => 0..0,
        Destination::Every => 0..ways.count,
        Destination::Slot(slot) => {
            let shard = (ways.shard_of)(slot);
            shard..shard + 1
        }
    }
}

fn errands(key: ParcelKey, round: &Round) -> Vec<Errand> {
    let each = round.open.iter().map(|(shard, ticket)| Errand {
        shard: *shard,
        ticket: *ticket,
        key,
        parcel: Arc::clone(&round.parcel),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shard::machine::Machine;
    use shard::machine::command::{Act, Binding, Bindings, Command, Entry, Register, Request};
    use shard::machine::effect::Effect;
    use shard::machine::outcome::RequestKey;
    use shard::presence::endpoint_id::EndpointId;
    use shard::time::Timestamp;

    /// The parcel of an endpoint that has ended.
    fn parcel() -> (ParcelKey, Arc<Parcel>) {
        let (mut machine, mut effects) = (Machine::default(), Vec::new());
        for (index, expires_s) in [(1, 60), (2, 0)] {
            let binding = Binding {
                binding: 1,
                contact: "sip:alice@192.0.2.4",
                instance: "",
                q: 1_000,
                path: "",
                expires_s,
                target: b"flow",
                endpoint_id: Some(EndpointId([7; 16])),
            };
            let command = Command::Register(Register {
                aor: "alice@example.com",
                call_id: 1,
                cseq: index as u32,
                bindings: Bindings::Each(vec![binding]),
                profile: None,
            });
            let (key, ticket) = (RequestKey(u128::from(index)), Ticket(index));
            let request = Request {
                key,
                ticket,
                command,
            };
            let entry = Entry {
                at: Timestamp(1_000_000),
                act: Act::Requests(vec![request]),
            };
            machine.apply(index, &entry, &mut effects);
        }
        let sent = effects.into_iter().find_map(|effect| match effect {
            Effect::Send {
                slot,
                number,
                parcel,
            } => Some(((slot, number), parcel)),
            Effect::Reply { .. } | Effect::Notify { .. } => None,
        });
        sent.expect("its end is told to other shards")
    }

    /// Four shards; the first keeps the parcel.
    fn ways(version: u64, count: usize, leads: &'static dyn Fn(usize) -> bool) -> Ways<'static> {
        Ways {
            version,
            count,
            moving: false,
            shard_of: &|_| 0,
            leads,
        }
    }

    const LEADS: &dyn Fn(usize) -> bool = &|_| true;
    const FOLLOWS: &dyn Fn(usize) -> bool = &|_| false;

    fn shards(errands: &[Errand]) -> Vec<usize> {
        errands.iter().map(|errand| errand.shard).collect()
    }

    #[test]
    fn a_parcel_is_brought_to_every_shard_until_all_have_it() {
        let (key, parcel) = parcel();
        let mut last = 0;
        let mut ticket = || {
            last += 1;
            Ticket(last)
        };
        let mut courier = Courier::default();
        let four = ways(1, 4, LEADS);
        let first = courier.take(key, Arc::clone(&parcel), &four, Millis(0), &mut ticket);
        assert_eq!(shards(&first), [0, 1, 2, 3]);
        let again = courier.take(key, Arc::clone(&parcel), &four, Millis(0), &mut ticket);
        assert!(again.is_empty(), "it is on its way");
        for done in [0, 2] {
            assert!(courier.answered(first[done].ticket, &four, Millis(100)));
            assert!(!courier.answered(first[done].ticket, &four, Millis(100)));
        }
        assert_eq!(courier.next(), Some(Millis(500)));
        assert!(courier.due(&four, Millis(499), &mut ticket).is_empty());
        let second = courier.due(&four, Millis(500), &mut ticket);
        assert_eq!(shards(&second), [1, 3]);
        assert_eq!(second[0].ticket, first[1].ticket, "under the same ticket");
        assert_eq!(courier.next(), Some(Millis(1_500)), "and then more slowly");
        courier.refused(first[1].ticket, Millis(550));
        assert_eq!(courier.next(), Some(Millis(550)), "unless somebody says no");
        // A slot may have moved: everybody is asked again.
        let five = ways(2, 5, LEADS);
        let third = courier.due(&five, Millis(600), &mut ticket);
        assert_eq!(shards(&third), [0, 1, 2, 3, 4]);
        let old = courier.answered(first[1].ticket, &five, Millis(600));
        assert!(!old, "of an earlier round");
        for errand in &third {
            assert!(courier.take_arrived().is_empty());
            assert!(courier.answered(errand.ticket, &five, Millis(700)));
        }
        assert_eq!(courier.take_arrived(), [key]);
        assert_eq!(courier.next(), None);
    }

    #[test]
    fn who_does_not_lead_any_more_forgets() {
        let (key, parcel) = parcel();
        let mut courier = Courier::default();
        let mut ticket = || Ticket(1);
        let two = ways(1, 2, LEADS);
        let first = courier.take(key, Arc::clone(&parcel), &two, Millis(0), &mut ticket);
        assert_eq!(shards(&first), [0, 1]);
        assert!(
            courier
                .due(&ways(1, 2, FOLLOWS), Millis(500), &mut ticket)
                .is_empty()
        );
        assert_eq!(courier.next(), None);
        assert!(!courier.answered(first[0].ticket, &two, Millis(600)));
        // Leading again, it is handed the parcel again.
        let again = courier.take(key, Arc::clone(&parcel), &two, Millis(900), &mut ticket);
        assert_eq!(shards(&again), [0, 1]);
        // Alone, there is nobody to tell.
        let mut alone = Courier::default();
        let none = alone.take(key, parcel, &ways(1, 1, LEADS), Millis(0), &mut ticket);
        assert!(none.is_empty());
        assert_eq!(alone.take_arrived(), [key]);
    }

    /// A dialog of the endpoint may be in the slot that moves, from a shard that was asked late to one that
    /// was asked early.
    #[test]
    fn all_are_asked_once_more_when_a_slot_was_on_its_way_meanwhile() {
        let (key, parcel) = parcel();
        let mut last = 0;
        let mut ticket = || {
            last += 1;
            Ticket(last)
        };
        let mut courier = Courier::default();
        let moving = |version| Ways {
            moving: true,
            ..ways(version, 2, LEADS)
        };
        let first = courier.take(key, parcel, &moving(1), Millis(0), &mut ticket);
        for errand in &first {
            assert!(courier.answered(errand.ticket, &moving(1), Millis(10)));
        }
        assert!(courier.take_arrived().is_empty(), "something moves");
        assert_eq!(courier.next(), Some(Millis(500)));
        let still = courier.due(&moving(1), Millis(500), &mut ticket);
        assert!(still.is_empty(), "it moves on");
        // It has moved.
        let there = ways(2, 2, LEADS);
        let second = courier.due(&there, Millis(1_000), &mut ticket);
        assert_eq!(shards(&second), [0, 1]);
        assert!(second.iter().all(|errand| errand.ticket.0 > 2));
        // This map knows of no move, but one of the shards does.
        courier.met_a_move(second[0].ticket, Millis(1_010));
        let asked = courier.due(&there, Millis(1_010), &mut ticket);
        assert_eq!(shards(&asked), [0, 1], "under the same tickets");
        for errand in &second {
            assert!(courier.answered(errand.ticket, &there, Millis(1_050)));
        }
        assert!(courier.take_arrived().is_empty(), "one met a move");
        let again = courier.next().expect("all are asked once more");
        let third = courier.due(&there, again, &mut ticket);
        assert_eq!(shards(&third), [0, 1]);
        for errand in &third {
            assert!(courier.answered(errand.ticket, &there, again));
        }
        assert_eq!(courier.take_arrived(), [key]);
        assert_eq!(courier.next(), None);
    }
}
