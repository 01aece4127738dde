//! Moves slots between shards as the pool map says (house D15), on the node that leads the shard they leave.
//!
//! ```text
//! question := 0xffffffff:u32 shard:u16 an encoded request (nothing: a look) slot:u16
//! answer   := standing:u8 move:u64; nothing from a node that does not lead the shard
//! ```
//!
//! For each slot: the old shard freezes it, what it holds goes to the new one in parts, the map says that it
//! has moved, the new shard opens it, the old one drops it. The map alone decides: until it says so the slot
//! can stay, from then on it has moved. Each step does nothing when it was done, and nothing here is kept but
//! times: whoever leads next reads the map and how the slot stands in both machines, and goes on.
//!
//! Whatever is left of moves that have ended is put in order by the leader of either shard by itself: a frozen
//! slot is dropped or served again, an arriving one opened or forgotten. A map that is too old to know a move
//! is no reason for anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use shard::machine::Machine;
use shard::machine::codec::encode_request;
use shard::machine::command::{Command, Request};
use shard::machine::moves::{Arriving, Standing, Step, sum_of};
use shard::machine::outcome::RequestKey;
use shard::runner::Job;
use shard::slot::Slot;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::egress::outbox::NOBODY;
use crate::hosting::{Hosted, Hosting};
use crate::observe::metrics::Metrics;
use crate::observe::report::FreezeReport;
use crate::peer::NodeNumber;
use crate::peer::call::{Answer, Answering, Calls};
use crate::pool::PoolGroup;
use crate::pool::map::{Change, Move, PoolMap};
use crate::raft::group::ShardGroup;
use crate::raft::network::Served;
use crate::raft::proposer::Batch;

/// In the place of a group's number: a question to the mover.
const MOVES: u32 = u32::MAX;

/// Bytes of a part: half of what an entry may hold, so that requests of others have room beside it.
const PART_BYTES: usize = 128 << 10;

/// Parts on their way at a time.
const PARTS_AT_ONCE: usize = 4;

/// How often the loop looks when nothing wakes it.
const LOOK: Duration = Duration::from_millis(100);

/// How soon a machine is looked at again that has not applied yet what was proposed.
const GLANCE: Duration = Duration::from_millis(1);

/// How long a shard's log is waited for: an election is longer, and then it is another node's turn.
const STEP_PATIENCE: Duration = Duration::from_millis(300);

/// How long a slot is frozen at most before its move is given up for now: well within the five seconds for
/// which a request waits at its ingress.
const FREEZE_MAX: Duration = Duration::from_millis(1_000);

/// How soon a move that was given up is tried again; doubled each time.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Freezes remembered for the operator.
const FREEZES_MAX: usize = 1_024;

/// How a slot stands, and by which move; the move is 0 for one that never moved.
type Stands = (u64, Option<Standing>);

/// How long slots were frozen, as far as this node moved them.
#[derive(Debug, Default)]
pub struct Freezes(Mutex<(u64, VecDeque<Duration>)>);

impl Freezes {
    fn note(&self, took: Duration) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.0 += 1;
        if noted.1.len() >= FREEZES_MAX {
            noted.1.pop_front();
        }
        noted.1.push_back(took);
    }

    /// As an operator reads it.
    pub fn report(&self) -> FreezeReport {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<f64> = noted.1.iter().map(|t| t.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        FreezeReport {
            moved: noted.0,
            median_ms: sorted.get(sorted.len() / 2).copied(),
            worst_ms: sorted.last().copied(),
        }
    }
}

/// Proposes a step to a shard that is led here, and waits until its machine shows what came of it: until
/// `done` says so of how the slot stands. `None` when it is not led here, or does not come to it in time.
async fn take_step(
    group: &ShardGroup,
    slot: Slot,
    encoded: Option<Bytes>,
    done: impl Fn(&Machine) -> bool + Clone + Send + 'static,
) -> Option<Stands> {
    if !group.proposer.is_leading() {
        return None;
    }
    if let Some(requests) = encoded {
        let tickets = vec![NOBODY];
        group.proposer.submit(Batch { requests, tickets }).ok()?;
    }
    let begin = Instant::now();
    loop {
        let done = done.clone();
        let look = read(group, move |machine| (stands(machine, slot), done(machine)));
        match look.await {
            Some((stands, true)) => return Some(stands),
            Some(_) | None if begin.elapsed() > STEP_PATIENCE => return None,
            Some(_) | None => tokio::time::sleep(GLANCE).await,
        }
        if !group.proposer.is_leading() {
            return None;
        }
    }
}

/// Looks at a machine.
async fn read<T: Send + 'static>(
    group: &ShardGroup,
    look: impl FnOnce(&Machine) -> T + Send + 'static,
) -> Option<T> {
    let (give, take) = oneshot::channel();
    let job = Job::Read(Box::new(move |machine| drop(give.send(look(machine)))));
    group.runner.submit(job).ok()?;
    take.await.ok()
}

fn stands(machine: &Machine, slot: Slot) -> Stands {
    let mut standings = machine.standings();
    let found = standings.find(|(of, ..)| *of == slot);
    found.map_or((0, None), |(_, number, standing)| (number, Some(standing)))
}

/// A step as the log takes it.
fn encoded(slot: Slot, number: u64, step: Step<'_>) -> Bytes {
    let request = Request {
        // A step is recognised by its move, and not remembered by its key.
        key: RequestKey(0),
        ticket: NOBODY,
        command: Command::MoveSlot { slot, number, step },
    };
    let mut out = BytesMut::new();
    encode_request(&request, &mut out);
    out.freeze()
}

/// When a step has been taken, or has nothing to do.
fn taken(
    slot: Slot,
    number: u64,
    step: Step<'_>,
) -> impl Fn(&Machine) -> bool + Clone + Send + use<> {
    let part = match step {
        Step::Import { part, sum, .. } => Some((part, sum)),
        _ => None,
    };
    let wanted = match step {
        Step::Freeze => Some(Standing::Frozen),
        Step::Thaw | Step::Open => Some(Standing::Here),
        Step::Drop | Step::Abandon => Some(Standing::Gone),
        Step::Import { .. } => None,
    };
    move |machine| {
        let (known, standing) = stands(machine, slot);
        let over = known > number;
        match part {
            Some((part, sum)) => {
                over || known == number
                    && (!matches!(standing, Some(Standing::Arriving(_)))
                        || machine.has_part(slot, number, sum, part))
            }
            None => over || known == number && standing == wanted,
        }
    }
}

fn put_stands((number, standing): Stands) -> Bytes {
    let byte = match standing {
        None => 0,
        Some(Standing::Frozen) => 1,
        Some(Standing::Arriving(Arriving::Missing)) => 2,
        Some(Standing::Arriving(Arriving::Whole)) => 3,
        Some(Standing::Arriving(Arriving::Illegible)) => 4,
        Some(Standing::Here) => 5,
        Some(Standing::Gone) => 6,
    };
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(byte);
    out.put_u64_le(number);
    out.freeze()
}

fn read_stands(mut bytes: Bytes) -> Option<Stands> {
    let standing = match bytes.try_get_u8().ok()? {
        0 => None,
        1 => Some(Standing::Frozen),
        2 => Some(Standing::Arriving(Arriving::Missing)),
        3 => Some(Standing::Arriving(Arriving::Whole)),
        4 => Some(Standing::Arriving(Arriving::Illegible)),
        5 => Some(Standing::Here),
        6 => Some(Standing::Gone),
        _ => return None,
    };
    Some((bytes.try_get_u64_le().ok()?, standing))
}

/// Answers questions of other nodes: those about moves here, the others where they belong.
pub struct Desk {
    /// Where other questions belong.
    pub served: Served,
    /// The shards that run here.
    pub hosted: Hosted,
}

impl Answer for Desk {
    fn answer(&self, from: NodeNumber, question: Bytes) -> Answering {
        let mut rest = question.clone();
        if rest.try_get_u32_le() != Ok(MOVES) {
            return self.served.answer(from, question);
        }
        let hosted = self.hosted.clone();
        Box::pin(async move {
            match answer(&hosted, rest).await {
                Some(stands) => put_stands(stands),
                None => Bytes::new(),
            }
        })
    }
}

/// Takes a step that another node asks for. Only steps of moves come in by this way.
async fn answer(hosted: &Hosted, mut question: Bytes) -> Option<Stands> {
    let shard = question.try_get_u16_le().ok()?;
    let slot = Slot::new(question.try_get_u16_le().ok()?)?;
    let group = hosted.get(shard)?;
    if question.is_empty() {
        return take_step(&group, slot, None, |_| true).await;
    }
    let (number, part) = {
        let Command::MoveSlot {
            slot: of,
            number,
            step,
        } = shard::machine::codec::command_of(&question)?
        else {
            return None;
        };
        if of != slot {
            return None;
        }
        (number, step_without_bytes(step))
    };
    take_step(&group, slot, Some(question), taken(slot, number, part)).await
}

/// The step, as far as it is needed to see that it was taken.
fn step_without_bytes(step: Step<'_>) -> Step<'static> {
    match step {
        Step::Import {
            part, parts, sum, ..
        } => Step::Import {
            part,
            parts,
            sum,
            bytes: &[],
        },
        Step::Freeze => Step::Freeze,
        Step::Thaw => Step::Thaw,
        Step::Drop => Step::Drop,
        Step::Open => Step::Open,
        Step::Abandon => Step::Abandon,
    }
}

/// What is not tried for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// To move this slot.
    Slot(u16),
    /// To move anything to this shard.
    To(u16),
}

/// A move that was given up for now.
#[derive(Clone, Copy, Debug)]
struct Later {
    not_before: Instant,
    pause: Duration,
    tries: u32,
}

/// How often a move waits for its shards to be led by those that are to lead: they hand over in a moment, and
/// a slot would be frozen meanwhile. Who is to lead may be gone.
const TRIES_FOR_LEADERS: u32 = 4;

/// Why a slot has not moved.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error("shard {0} is not led by the one who is to lead it")]
    Absent(u16),
    #[error("shard {0} does not answer")]
    Silent(u16),
    #[error("it took too long")]
    Slow,
    #[error("the other shard cannot read what is sent")]
    Illegible,
    #[error("the pool map does not say that it has moved")]
    Map,
    #[error("another node leads the shard, or another move has come")]
    NotOurs,
}

/// The mover of one node.
#[derive(Clone)]
pub struct Mover {
    node: NodeNumber,
    pool: Arc<PoolGroup>,
    hosted: Hosted,
    calls: Calls,
    metrics: Arc<Metrics>,
    freezes: Arc<Freezes>,
    /// Moves that were given up for now.
    later: Arc<Mutex<BTreeMap<What, Later>>>,
}

impl Mover {
    /// The mover of the node that hosts this.
    #[must_use]
    pub fn new(hosting: &Hosting, freezes: Arc<Freezes>) -> Mover {
        Mover {
            node: hosting.node,
            pool: Arc::clone(&hosting.pool),
            hosted: hosting.hosted.clone(),
            calls: hosting.options.calls.clone(),
            metrics: Arc::clone(&hosting.metrics),
            freezes,
            later: Arc::default(),
        }
    }

    fn later(&self) -> MutexGuard<'_, BTreeMap<What, Later>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what there is to do, for as long as the node runs.
    pub async fn follow(self) {
        let mut map = self.pool.watch();
        let mut carrying: BTreeMap<u16, tokio::task::JoinHandle<()>> = BTreeMap::new();
        loop {
            let looked = tokio::time::timeout(LOOK, map.changed()).await;
            if let Ok(Err(_)) = looked {
                // The group of the map has ended, and tells nothing any more.
                tokio::time::sleep(LOOK).await;
            }
            let now = Arc::clone(&map.borrow_and_update());
            // Where nothing ever moved there is nothing to look after.
            if now.moves_begun() == 0 {
                continue;
            }
            self.later().retain(|what, _| match what {
                What::Slot(slot) => now.moving(*slot).is_some(),
                What::To(shard) => now.moves().any(|(_, moving)| moving.to == *shard),
            });
            for (shard, group) in self.hosted.all() {
                if !group.proposer.is_leading() {
                    continue;
                }
                self.tidy(&now, shard, &group).await;
                let busy = carrying
                    .get(&shard)
                    .is_some_and(|carrier| !carrier.is_finished());
                if !busy && self.next(&now, shard).is_some() {
                    let mover = self.clone();
                    let carrier = tokio::spawn(async move { mover.carry_all(shard, &group).await });
                    carrying.insert(shard, carrier);
                }
            }
        }
    }

    /// Puts in order what moves that have ended left in a shard.
    async fn tidy(&self, map: &PoolMap, shard: u16, group: &ShardGroup) {
        let standings = read(group, |machine| machine.standings().collect::<Vec<_>>()).await;
        for (slot, number, standing) in standings.unwrap_or_default() {
            let goes_on = map
                .moving(slot.number())
                .is_some_and(|moving| moving.number == number);
            if goes_on || map.moves_begun() < number {
                continue;
            }
            let ours = map.shard_of(slot) == shard;
            let step = match (standing, ours) {
                (Standing::Frozen, true) => Step::Thaw,
                (Standing::Frozen, false) => Step::Drop,
                (Standing::Arriving(_), true) => Step::Open,
                (Standing::Arriving(_), false) => Step::Abandon,
                (Standing::Here | Standing::Gone, _) => continue,
            };
            let requests = encoded(slot, number, step);
            let tickets = vec![NOBODY];
            if group.proposer.submit(Batch { requests, tickets }).is_err() {
                return;
            }
        }
    }

    /// The next slot that leaves a shard.
    fn next(&self, map: &PoolMap, shard: u16) -> Option<(Slot, Move)> {
        let later = self.later();
        let now = Instant::now();
        map.moves().find_map(|(number, moving)| {
            let slot = Slot::new(number)?;
            let waits = |what| later.get(&what).is_some_and(|later| later.not_before > now);
            let waits = waits(What::Slot(number)) || waits(What::To(moving.to));
            (map.shard_of(slot) == shard && !waits).then_some((slot, moving))
        })
    }

    /// Moves what is to leave a shard, one slot after the other: so each is frozen as shortly as can be.
    async fn carry_all(&self, shard: u16, group: &ShardGroup) {
        while group.proposer.is_leading() {
            let map = self.pool.map();
            let Some((slot, moving)) = self.next(&map, shard) else {
                return;
            };
            match self.carry(&map, shard, group, slot, moving).await {
                Ok(()) => {}
                Err(why) => self.put_off(group, slot, moving, &why).await,
            }
        }
    }

    /// Moves one slot.
    async fn carry(
        &self,
        map: &PoolMap,
        from: u16,
        group: &ShardGroup,
        slot: Slot,
        moving: Move,
    ) -> Result<(), Stuck> {
        let Move { to, number } = moving;
        // Before anybody has to wait: is there somebody at the other end?
        let there = self.ask(map, to, slot, None).await;
        let (leader, _) = there.ok_or(Stuck::Absent(to))?;
        for (shard, leader) in [(from, self.node), (to, leader)] {
            let wanted = map.shard(shard).and_then(|entry| entry.replicas.first());
            let tried = self
                .later()
                .get(&What::To(to))
                .map_or(0, |later| later.tries);
            if wanted != Some(&leader) && tried < TRIES_FOR_LEADERS {
                return Err(Stuck::Absent(shard));
            }
        }
        let begin = Instant::now();
        let step = |step| (encoded(slot, number, step), taken(slot, number, step));
        let (freeze, frozen) = step(Step::Freeze);
        let stands = take_step(group, slot, Some(freeze), frozen).await;
        match stands.ok_or(Stuck::Silent(from))? {
            (of, Some(Standing::Frozen)) if of == number => {}
            _ => return Err(Stuck::NotOurs),
        }
        let export = read(group, move |machine| machine.export(slot, number)).await;
        let export = export.flatten().ok_or(Stuck::NotOurs)?;
        let parcel = tokio::task::spawn_blocking(move || export.pack()).await;
        let parcel = Bytes::from(parcel.map_err(|_| Stuck::NotOurs)?);
        self.send(map, to, slot, number, &parcel, begin).await?;
        let made = Change::EndMove {
            slot: slot.number(),
            number,
            made: true,
        };
        let ended = move |map: &PoolMap| {
            let moving = map.moving(slot.number());
            moving.is_none_or(|moving| moving.number != number)
        };
        let map = self.pool.make(&made, ended).await.map_err(|_| Stuck::Map)?;
        if map.shard_of(slot) != to {
            return Err(Stuck::NotOurs);
        }
        // Its leader opens it by itself when it reads the map; this is sooner.
        let (open, _) = step(Step::Open);
        let open = self.ask(&map, to, slot, Some(open)).await;
        let took = begin.elapsed();
        if open.is_some() {
            self.freezes.note(took);
            self.metrics.slot_freeze_ms(took.as_millis() as u64);
        }
        let bytes = parcel.len();
        tracing::info!(
            slot = slot.number(),
            from,
            to,
            bytes,
            ?took,
            "a slot has moved"
        );
        Ok(())
    }

    /// Sends all parts, some at a time, and waits until the other shard has all and can read it.
    async fn send(
        &self,
        map: &PoolMap,
        to: u16,
        slot: Slot,
        number: u64,
        parcel: &Bytes,
        begin: Instant,
    ) -> Result<(), Stuck> {
        let sum = sum_of(parcel);
        let cut: Vec<Bytes> = parcel
            .chunks(PART_BYTES)
            .map(|part| parcel.slice_ref(part))
            .collect();
        let parts = u16::try_from(cut.len()).map_err(|_| Stuck::Illegible)?;
        let mut missing: BTreeSet<u16> = (0..parts).collect();
        let mut sending: JoinSet<(u16, Option<Stands>)> = JoinSet::new();
        let map = Arc::new(map.clone());
        loop {
            while sending.len() < PARTS_AT_ONCE
                && let Some(part) = missing.pop_first()
            {
                let (mover, map) = (self.clone(), Arc::clone(&map));
                let bytes = cut[usize::from(part)].clone();
                sending.spawn(async move {
                    let import = Step::Import {
                        part,
                        parts,
                        sum,
                        bytes: &bytes,
                    };
                    let request = encoded(slot, number, import);
                    let told = mover.ask(&map, to, slot, Some(request)).await;
                    (part, told.map(|(_, stands)| stands))
                });
            }
            if begin.elapsed() > FREEZE_MAX {
                return Err(Stuck::Slow);
            }
            match sending.join_next().await {
                Some(Ok((_, Some((of, Some(standing)))))) if of == number => match standing {
                    Standing::Arriving(Arriving::Missing) => {}
                    Standing::Arriving(Arriving::Whole) | Standing::Here => return Ok(()),
                    Standing::Arriving(Arriving::Illegible) => return Err(Stuck::Illegible),
                    Standing::Frozen | Standing::Gone => return Err(Stuck::NotOurs),
                },
                Some(Ok((part, None))) => {
                    missing.insert(part);
                    tokio::time::sleep(GLANCE * 20).await;
                }
                Some(_) => return Err(Stuck::NotOurs),
                // Every part was taken, and some were another attempt's: all once more.
                None => missing = (0..parts).collect(),
            }
        }
    }

    /// Gives a move up for now: the slot is served where it was, and moves under another number later.
    async fn put_off(&self, group: &ShardGroup, slot: Slot, moving: Move, why: &Stuck) {
        let number = moving.number;
        let what = match why {
            Stuck::Absent(_) => What::To(moving.to),
            _ => What::Slot(slot.number()),
        };
        let pause = {
            let mut later = self.later();
            let before = later.get(&what);
            let tries = before.map_or(0, |later| later.tries) + 1;
            let pause = before.map_or(AGAIN.0, |later| (later.pause * 2).min(AGAIN.1));
            let not_before = Instant::now() + pause;
            let now = Later {
                not_before,
                pause,
                tries,
            };
            later.insert(what, now);
            pause
        };
        if let Stuck::Absent(shard) = why {
            // Nobody was made to wait.
            tracing::info!(
                to = moving.to,
                shard,
                ?pause,
                "slots wait until the shards are led"
            );
            return;
        }
        tracing::warn!(
            slot = slot.number(),
            to = moving.to,
            %why,
            ?pause,
            "a slot does not move now; it is tried again"
        );
        let again = Change::MoveAgain {
            slot: slot.number(),
            number,
        };
        let shown = move |map: &PoolMap| {
            let moving = map.moving(slot.number());
            moving.is_none_or(|moving| moving.number != number)
        };
        // Served again only when the map has said so: the move could have been made after all.
        if let Ok(map) = self.pool.make(&again, shown).await
            && map.moves_begun() >= number
        {
            let stays = map.moving(slot.number()).is_some_and(|m| m.number > number);
            let step = if stays { Step::Thaw } else { return };
            let requests = encoded(slot, number, step);
            let tickets = vec![NOBODY];
            let _ = group.proposer.submit(Batch { requests, tickets });
        }
    }

    /// Asks the leader of a shard to take a step, or how the slot stands.
    async fn ask(
        &self,
        map: &PoolMap,
        shard: u16,
        slot: Slot,
        request: Option<Bytes>,
    ) -> Option<(NodeNumber, Stands)> {
        let mut question = BytesMut::new();
        question.put_u16_le(shard);
        question.put_u16_le(slot.number());
        question.extend_from_slice(&request.unwrap_or_default());
        let question = question.freeze();
        let mut nodes: VecDeque<NodeNumber> = VecDeque::new();
        if let Some(group) = self.hosted.get(shard) {
            if group.proposer.is_leading() {
                let stands = answer(&self.hosted, question).await?;
                return Some((self.node, stands));
            }
            nodes.extend(Some(group.proposer.leader()).filter(|leader| *leader != 0));
        }
        // Who holds no replica asks one after the other; the first is the one that is to lead.
        let holders = map.shard(shard)?.replicas.iter().copied();
        nodes.extend(holders);
        let mut asked = BTreeSet::new();
        for node in nodes {
            if !asked.insert(node) || node == self.node {
                continue;
            }
            let answer = self.calls.ask(node, STEP_PATIENCE, |frame| {
                frame.put_u32_le(MOVES);
                frame.put_slice(&question);
            });
            if let Ok(answer) = answer.await
                && let Some(stands) = read_stands(answer)
            {
                return Some((node, stands));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_crosses_as_it_is() {
        for stands in [
            (0, None),
            (1, Some(Standing::Frozen)),
            (2, Some(Standing::Arriving(Arriving::Missing))),
            (3, Some(Standing::Arriving(Arriving::Whole))),
            (4, Some(Standing::Arriving(Arriving::Illegible))),
            (u64::MAX, Some(Standing::Here)),
            (6, Some(Standing::Gone)),
        ] {
            let bytes = put_stands(stands);
            assert_eq!(read_stands(bytes.clone()), Some(stands));
            for cut in 0..bytes.len() {
                assert_eq!(read_stands(bytes.slice(..cut)), None);
            }
        }
        assert_eq!(read_stands(Bytes::from_static(&[7; 9])), None);
    }

    #[test]
    fn what_was_frozen_is_summed_up() {
        let freezes = Freezes::default();
        assert_eq!(freezes.report().median_ms, None);
        for ms in [5, 1, 9, 3, 7] {
            freezes.note(Duration::from_millis(ms));
        }
        let report = freezes.report();
        assert_eq!(
            (report.moved, report.median_ms, report.worst_ms),
            (5, Some(5.0), Some(9.0))
        );
    }
}
