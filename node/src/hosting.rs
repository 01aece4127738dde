//! The shards that this node holds: begun and ended as the pool map says, their members and leaders kept
//! as it wants them. One loop on the Raft runtime; each step may be done again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use shard::runner::Stopped;

use crate::egress::outbox::{Failures, Outbox, Workers};
use crate::egress::render::RenderSettings;
use crate::egress::traffic::Traffic;
use crate::ingress::route::{Replica, RouteTable, Routes};
use crate::observe::metrics::Metrics;
use crate::peer::NodeNumber;
use crate::peer::mesh::Mesh;
use crate::pool::map::{Change, PoolMap, Record, Standing};
use crate::pool::{self, PoolGroup, placement};
use crate::raft::damage::Damage;
use crate::raft::group::{Core, GroupOptions, ShardGroup, StartError};
use crate::raft::log::Log;
use crate::raft::network::{self, Release};
use crate::raft::snapshot::SnapshotFiles;
use crate::raft::types::GroupId;

/// How often the loop looks, when nothing wakes it.
const STEP: Duration = Duration::from_millis(250);

/// How long a replica that is no longer wanted stays: until its leader has surely let it go.
const LINGER: Duration = Duration::from_secs(20);

/// Changes of placement at a time: each is of another shard, and the next ones wait until the map shows them.
const PLACE_AT_ONCE: usize = 16;

/// How long what was proposed may take to come back, before a hand-over is left for later.
const REST: Duration = Duration::from_millis(500);
/// Between two questions whether a group does without a replica that was set aside.
const RELEASE_EVERY: Duration = Duration::from_secs(1);

/// Between two attempts to hand one group over.
const HAND_OVER_EVERY: Duration = Duration::from_secs(5);

/// The groups that run here, by shard.
#[derive(Clone, Default)]
pub struct Hosted(Arc<RwLock<BTreeMap<u16, Arc<ShardGroup>>>>);

impl Hosted {
    /// All of them, in order.
    pub fn all(&self) -> Vec<(u16, Arc<ShardGroup>)> {
        let groups = self.0.read().unwrap_or_else(PoisonError::into_inner);
        groups
            .iter()
            .map(|(shard, group)| (*shard, Arc::clone(group)))
            .collect()
    }

    /// One of them.
    pub fn get(&self, shard: u16) -> Option<Arc<ShardGroup>> {
        let groups = self.0.read().unwrap_or_else(PoisonError::into_inner);
        groups.get(&shard).cloned()
    }

    fn insert(&self, shard: u16, group: Arc<ShardGroup>) {
        let mut groups = self.0.write().unwrap_or_else(PoisonError::into_inner);
        groups.insert(shard, group);
    }

    fn remove(&self, shard: u16) -> Option<Arc<ShardGroup>> {
        let mut groups = self.0.write().unwrap_or_else(PoisonError::into_inner);
        groups.remove(&shard)
    }
}

/// What a shard's group is begun with, and what the loop keeps.
pub struct Hosting {
    /// This node.
    pub node: NodeNumber,
    /// How its groups are begun.
    pub options: GroupOptions,
    /// Their log.
    pub log: Log,
    /// The pool map.
    pub pool: Arc<PoolGroup>,
    /// The groups that run.
    pub hosted: Hosted,
    /// The workers of this node.
    pub workers: Workers,
    /// The way to other nodes.
    pub traffic: Traffic,
    /// What an operator sees.
    pub metrics: Arc<Metrics>,
    /// Users with more than one address.
    pub rendering: RenderSettings,
    /// The links, of all classes.
    pub meshes: Vec<Mesh>,
    /// Requests in flight for one shard.
    pub in_flight: usize,
    /// The data folder.
    pub data: PathBuf,
    /// What this node says of itself, once its listeners are open.
    pub record: RwLock<Option<Record>>,
    /// The replicas that were set aside.
    pub damage: Arc<Damage>,
}

/// Lets replicas that were set aside begin anew, once their groups have let them go.
pub(crate) struct Healer {
    pub(crate) options: GroupOptions,
    pub(crate) log: Log,
    pub(crate) damage: Arc<Damage>,
}

impl Healer {
    /// Whether the group has let this node go, and everything it had of it here is put away and forgotten: then
    /// it may begin anew. `others` are those who may know.
    pub(crate) async fn heal(&self, group: GroupId, others: &[NodeNumber]) -> bool {
        if !self.is_released(group, others).await {
            return false;
        }
        match self.clear(group).await {
            Ok(()) => {
                tracing::info!(%group, "the replica begins anew, with nothing");
                true
            }
            Err(error) => {
                tracing::error!(%group, %error, "the replica stays set aside");
                false
            }
        }
    }

    async fn is_released(&self, group: GroupId, others: &[NodeNumber]) -> bool {
        let mut leader = None;
        for node in others {
            match network::release_at(&self.options.calls, *node, group).await {
                Ok(Release::Out) => return true,
                Ok(Release::NotYet) => return false,
                Ok(Release::Elsewhere(known)) => leader = leader.or(known),
                Err(_) => {}
            }
        }
        // Somebody who was not asked may lead: a node that the map here does not know yet.
        let leader = leader.filter(|node| !others.contains(node) && *node != self.options.node);
        match leader {
            None => false,
            Some(node) => {
                let answer = network::release_at(&self.options.calls, node, group).await;
                answer == Ok(Release::Out)
            }
        }
    }

    async fn clear(&self, group: GroupId) -> std::io::Result<()> {
        for path in SnapshotFiles::open(&self.options.snapshots, group)?.list()? {
            self.damage.put_away(&path)?;
        }
        self.log.group(group).forget().await?;
        self.damage.healed(group)
    }
}

/// What the loop remembers between steps.
#[derive(Default)]
pub struct Memory {
    unwanted_since: HashMap<u16, Instant>,
    handed_over: HashMap<u16, Instant>,
    /// When the group of the map was last handed over.
    pool_handed_over: Option<Instant>,
    routed: Option<(u64, Vec<u16>)>,
    kept: u64,
    silent_since: HashMap<NodeNumber, Instant>,
    asked: HashMap<GroupId, Instant>,
}

impl Hosting {
    /// Begins what the map says that this node holds.
    ///
    /// # Errors
    /// [`StartError`] of the first that does not begin.
    pub async fn begin(&self, map: &PoolMap) -> Result<(), StartError> {
        for (shard, entry) in map.shards() {
            if !entry.replicas.contains(&self.node) || self.hosted.get(shard).is_some() {
                continue;
            }
            let group = GroupId(u32::from(shard) + 1);
            if self.damage.why(group).is_some() {
                continue;
            }
            let options = GroupOptions {
                group,
                ..self.options.clone()
            };
            let outbox = Outbox::new(
                self.workers.clone(),
                self.traffic.clone(),
                Arc::clone(&self.metrics),
                self.rendering.clone(),
            );
            let failures = Failures {
                workers: self.workers.clone(),
                traffic: self.traffic.clone(),
            };
            let begun = ShardGroup::start(&options, &self.log, outbox, Arc::new(failures)).await;
            let group = match begun {
                Err(StartError::Snapshot { group, why })
                    if why.kind() == std::io::ErrorKind::InvalidData
                        && entry.replicas.len() > 1 =>
                {
                    self.set_aside(group, &why.to_string());
                    continue;
                }
                begun => begun?,
            };
            // Founders that were replaced since begin nothing: the group lives elsewhere.
            if entry.founders == entry.replicas || map.nodes().count() == 1 {
                group.core.bootstrap(&entry.founders).await?;
            }
            self.hosted.insert(shard, Arc::new(group));
        }
        Ok(())
    }

    fn set_aside(&self, group: GroupId, why: &str) {
        if let Err(error) = self.damage.set_aside([group], why) {
            tracing::error!(%group, %error, "that a replica is set aside cannot be written down");
        }
    }

    /// Ends replicas that have gone wrong: one that is not what its leader attests, or whose entries are damaged,
    /// begins anew; one that cannot read an entry stays as it is until another release runs here.
    async fn end_wrong(&self, map: &PoolMap) {
        for (shard, group) in self.hosted.all() {
            let id = GroupId(u32::from(shard) + 1);
            let why = match group.runner.stopped() {
                Some(why @ Stopped::Diverged { .. }) => Some(why.to_string()),
                Some(Stopped::Unreadable { .. }) => None,
                None => self.log.damaged(id),
            };
            let Some(why) = why else { continue };
            if map
                .shard(shard)
                .is_none_or(|entry| entry.replicas.len() < 2)
            {
                // There is nobody to begin anew from: it stands still, and says so.
                continue;
            }
            if self.damage.set_aside([id], &why).is_err() {
                continue;
            }
            self.hosted.remove(shard);
            group.core.stop(false).await;
        }
    }

    /// Lets replicas begin anew whose groups have let them go.
    async fn heal(&self, map: &PoolMap, memory: &mut Memory) {
        let begin = Instant::now();
        for (group, _) in self.damage.all() {
            // The loop has more to do; the next round goes on.
            if begin.elapsed() > STEP {
                return;
            }
            let asked = memory.asked.get(&group);
            if asked.is_some_and(|at| at.elapsed() < RELEASE_EVERY) {
                continue;
            }
            memory.asked.insert(group, Instant::now());
            let shard = group
                .0
                .checked_sub(1)
                .and_then(|shard| u16::try_from(shard).ok());
            let Some(entry) = shard.and_then(|shard| map.shard(shard)) else {
                continue;
            };
            let others = entry.replicas.iter().copied();
            let others: Vec<NodeNumber> = others.filter(|node| *node != self.node).collect();
            let healer = Healer {
                options: self.options.clone(),
                log: self.log.clone(),
                damage: Arc::clone(&self.damage),
            };
            healer.heal(group, &others).await;
        }
    }

    /// The ways to all shards, as they are now.
    pub fn routes(&self, map: Arc<PoolMap>, before: Option<&Routes>) -> Routes {
        Routes::new(self.node, map, before, self.in_flight, |shard| {
            self.hosted.get(shard).map(|group| Replica {
                proposer: group.proposer.clone(),
                runner: group.runner.clone(),
            })
        })
    }

    /// Follows the map for as long as the node runs.
    pub async fn follow(self: Arc<Self>, table: Arc<RouteTable>) {
        let mut map = self.pool.watch();
        let mut memory = Memory::default();
        loop {
            let looked = tokio::time::timeout(STEP, map.changed()).await;
            if let Ok(Err(_)) = looked {
                // The group of the map has ended, and tells nothing any more.
                tokio::time::sleep(STEP).await;
            }
            let now = Arc::clone(&map.borrow_and_update());
            if now.is_made() {
                self.step(&now, &table, &mut memory).await;
            }
        }
    }

    /// Keeps the ways to all shards as the map has them, apart from the loop: a request that met a slot on its
    /// way waits for nothing else.
    pub async fn lead_the_way(self: Arc<Self>, table: Arc<RouteTable>) {
        let mut map = self.pool.watch();
        while map.changed().await.is_ok() {
            let now = Arc::clone(&map.borrow_and_update());
            if now.is_made() {
                let before = table.current();
                table.replace(self.routes(now, Some(&before)));
            }
        }
    }

    async fn step(&self, map: &Arc<PoolMap>, table: &RouteTable, memory: &mut Memory) {
        for mesh in &self.meshes {
            mesh.link_to(&map.peers());
        }
        if memory.kept != map.epoch {
            match pool::memory::keep(&self.data, map) {
                Ok(()) => memory.kept = map.epoch,
                Err(error) => {
                    // What is not written down may not be begun: it is what a node that loses its log goes by.
                    tracing::error!(%error, "the pool map cannot be kept");
                    return;
                }
            }
        }
        self.end_wrong(map).await;
        self.heal(map, memory).await;
        if let Err(error) = self.begin(map).await {
            tracing::error!(%error, "a replica does not begin; it is tried again");
        }
        self.end_unwanted(map, memory).await;
        let hosted: Vec<u16> = self.hosted.all().iter().map(|(shard, _)| *shard).collect();
        let routed = Some((map.epoch, hosted));
        if memory.routed != routed {
            memory.routed = routed;
            let before = table.current();
            table.replace(self.routes(Arc::clone(map), Some(&before)));
        }
        self.describe(map).await;
        self.keep_members(map, memory).await;
        self.place(map).await;
        self.farewell(map, memory).await;
    }

    /// Ends replicas that the map wants elsewhere, once their leader has let them go.
    async fn end_unwanted(&self, map: &PoolMap, memory: &mut Memory) {
        for (shard, group) in self.hosted.all() {
            let wanted = map
                .shard(shard)
                .is_some_and(|entry| entry.replicas.contains(&self.node));
            if wanted || group.core.leads() {
                memory.unwanted_since.remove(&shard);
                continue;
            }
            let since = *memory
                .unwanted_since
                .entry(shard)
                .or_insert_with(Instant::now);
            if since.elapsed() > LINGER {
                memory.unwanted_since.remove(&shard);
                tracing::info!(shard, "this replica is wanted no longer");
                if let Some(group) = self.hosted.remove(shard) {
                    group.core.retire().await;
                }
            }
        }
    }

    /// Says where this node is to be found, when that is not what the map says.
    async fn describe(&self, map: &PoolMap) {
        let record = self
            .record
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(record) = record else { return };
        let known = |map: &PoolMap| {
            map.node(self.node)
                .is_none_or(|entry| entry.record == record)
        };
        if !known(map) {
            let change = Change::Describe {
                node: self.node,
                record: record.clone(),
            };
            let _ = self.pool.make(&change, known).await;
        }
    }

    /// The same for the group of the map. Who is to vote no longer hands over first: openraft lets a leader that
    /// does not vote lead on, and when it is gone from the map nobody answers it any more, while all go on hearing
    /// it and elect nobody else.
    async fn keep_pool_members(&self, map: &PoolMap, memory: &mut Memory) {
        let core = &self.pool.core;
        let (mut voters, mut listeners) = PoolGroup::wanted(map);
        if core.leads() && !voters.contains(&self.node) {
            let (voting, _) = core.members();
            let heir = voters.iter().copied().find(|node| {
                voting.contains(node) && self.traffic.reaches(*node) && core.is_current(*node)
            });
            if let Some(heir) = heir {
                let tried = memory
                    .pool_handed_over
                    .is_some_and(|at| at.elapsed() < HAND_OVER_EVERY);
                if !tried && core.until_free().is_zero() {
                    memory.pool_handed_over = Some(Instant::now());
                    let done = core.hand_over(heir).await;
                    tracing::info!(to = heir, done, "the pool map was handed over");
                }
                return;
            }
            // Nobody can take it yet: the others come to vote first.
            listeners.remove(&self.node);
            voters.insert(self.node);
        }
        core.reconcile(&voters, &listeners).await;
    }

    /// Brings the members of the groups that this node leads to what the map wants, and hands those over
    /// that another one is to lead.
    async fn keep_members(&self, map: &PoolMap, memory: &mut Memory) {
        self.keep_pool_members(map, memory).await;
        for (shard, group) in self.hosted.all() {
            let Some(entry) = map.shard(shard) else {
                continue;
            };
            if !group.core.leads() {
                continue;
            }
            let wanted: BTreeSet<NodeNumber> = entry.replicas.iter().copied().collect();
            let tried = memory
                .handed_over
                .get(&shard)
                .is_some_and(|at| at.elapsed() < HAND_OVER_EVERY);
            // Who is to go hands over first: a leader that takes itself out leaves the others to find out. To
            // one who votes already, because with one voter more the vote of this node would not be enough.
            let goes = !wanted.contains(&self.node);
            let (voters, _) = group.core.members();
            let heir = entry.replicas.iter().copied().find(|node| {
                voters.contains(node) && self.traffic.reaches(*node) && group.core.is_current(*node)
            });
            if goes && let Some(heir) = heir {
                if !tried && group.core.until_free().is_zero() {
                    memory.handed_over.insert(shard, Instant::now());
                    hand_over(shard, &group, heir).await;
                }
                continue;
            }
            let keeps = if goes {
                wanted.iter().chain([&self.node]).copied().collect()
            } else {
                wanted.clone()
            };
            let settled = group.core.reconcile(&keeps, &BTreeSet::new()).await;
            let Some(&preferred) = entry.replicas.first() else {
                continue;
            };
            if settled
                && preferred != self.node
                && !tried
                && self.traffic.reaches(preferred)
                && group.core.is_current(preferred)
                && group.core.until_free().is_zero()
            {
                memory.handed_over.insert(shard, Instant::now());
                hand_over(shard, &group, preferred).await;
            }
        }
    }

    /// Who leaves is gone once its groups have let it go, that of the map as well; it says so itself. Of a node that
    /// is dead the leader of the pool map says it, after a while.
    async fn farewell(&self, map: &PoolMap, memory: &mut Memory) {
        let leading = self.pool.core.leads();
        for (node, _) in map.nodes() {
            if !placement::is_free(map, node) {
                memory.silent_since.remove(&node);
                continue;
            }
            let gone = if node == self.node {
                let votes = |core: &Core| core.leads() || core.members().0.contains(&node);
                let hosted = self.hosted.all();
                !votes(&self.pool.core) && !hosted.iter().any(|(_, group)| votes(&group.core))
            } else if leading && !self.traffic.reaches(node) {
                let since = memory.silent_since.entry(node).or_insert_with(Instant::now);
                since.elapsed() > LINGER
            } else {
                memory.silent_since.remove(&node);
                false
            };
            if gone {
                let standing = Standing::Gone;
                let shown = |map: &PoolMap| {
                    map.node(node)
                        .is_none_or(|entry| entry.standing == standing)
                };
                let change = Change::Stand { node, standing };
                let _ = self.pool.make(&change, shown).await;
            }
        }
    }

    /// The leader of the pool map places replicas.
    async fn place(&self, map: &PoolMap) {
        if !self.pool.core.leads() {
            return;
        }
        let mut planned = map.clone();
        let mut touched = BTreeSet::new();
        while touched.len() < PLACE_AT_ONCE
            && let Some(change) = placement::next(&planned)
        {
            // A shard that loses a replica settles before it may lose another one.
            if let Change::Place { shard, .. } = &change
                && !touched.insert(*shard)
            {
                break;
            }
            let epoch = planned.epoch;
            planned.apply(&change);
            if planned.epoch == epoch {
                break;
            }
            tracing::info!(?change, "placing");
            let wanted = planned.epoch;
            if self
                .pool
                .make(&change, |map| map.epoch >= wanted)
                .await
                .is_err()
            {
                break;
            }
            if !matches!(change, Change::Place { .. }) {
                break;
            }
        }
    }

    /// Hands over whatever this node leads, as far as there is somebody to lead it: before it stops.
    pub async fn hand_over_all(&self) {
        for (shard, group) in self.hosted.all() {
            if !group.core.leads() {
                continue;
            }
            let (voters, _) = group.core.members();
            let heir = voters
                .into_iter()
                .filter(|node| *node != self.node && self.traffic.reaches(*node))
                .find(|node| group.core.is_current(*node));
            if let Some(heir) = heir {
                tokio::time::sleep(group.core.until_free()).await;
                hand_over(shard, &group, heir).await;
            }
        }
    }
}

/// Hands one shard over; requests wait at their ingress meanwhile.
async fn hand_over(shard: u16, group: &ShardGroup, to: NodeNumber) {
    let begin = Instant::now();
    group.proposer.hand_over(true);
    // An heir that lacks the last entry, which is still on its way into the log, would not be elected.
    while !group.proposer.is_at_rest() && begin.elapsed() < REST {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let done = group.proposer.is_at_rest() && group.core.hand_over(to).await;
    group.proposer.hand_over(false);
    let took_ms = begin.elapsed().as_millis() as u64;
    tracing::info!(shard, to, done, took_ms, "leadership was handed over");
}
