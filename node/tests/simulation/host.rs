//! A machine of the pool: its disk, its clocks, and the lives of the node that runs on it.
//!
//! A life is the product's own parts, wired as `node::Node::start` wires them, on a tokio runtime of its own
//! whose time is virtual. The threads of a node are turns here, which the world gives when it likes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use node::dialect::Policy;
use node::dialect::enhanced::Settings;
use node::dialect::policy::Interval;
use node::directory::Everybody;
use node::egress::outbox::Workers;
use node::egress::render::RenderSettings;
use node::egress::traffic::Traffic;
use node::hosting::{Hosted, Hosting};
use node::ingress::door::Door;
use node::ingress::endpoint::{Endpoint, Shared};
use node::ingress::identity::Identity;
use node::ingress::peers::Peers;
use node::ingress::route::RouteTable;
use node::mover::{Desk, Mover};
use node::observe::metrics::Metrics;
use node::peer::NodeNumber;
use node::peer::call::Calls;
use node::peer::credentials::{Credentials, Proof, Secret};
use node::peer::link::{Class, Hello};
use node::peer::mesh::{Admit as _, Mesh};
use node::pool::join::Doorkeeper;
use node::pool::map::{Change, PoolMap, Record};
use node::pool::{FOUNDER, PoolGroup, memory};
use node::raft::damage::Damage;
use node::raft::group::{GroupOptions, ShardGroup, Tuning};
use node::raft::log::{Log, LogOptions};
use node::raft::network::Served;
use node::raft::threads::{Work, Workforce};
use node::raft::types::GroupId;
use tokio::runtime::Runtime;
use transport::io::driven::Driven;

use crate::fate::{self, Gate};
use crate::mistakes::{AtDoor, AtGroups, Mistake};
use crate::network::{Life, Network, Way};

/// Bytes of a log segment: small, so that logs come to their second one.
const SEGMENT_BYTES: u64 = 128 << 10;

/// The work of one life, in the order in which it was begun.
#[derive(Clone, Default)]
#[allow(clippy::type_complexity)] // who works, by name
struct Crew(Arc<Mutex<Vec<(String, Box<dyn Work>)>>>);

impl Workforce for Crew {
    fn employ(&self, name: String, work: Box<dyn Work>) -> std::io::Result<()> {
        let mut works = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        works.push((name, work));
        Ok(())
    }
}

/// What a life has once it has begun.
#[derive(Clone)]
pub struct Parts {
    pub pool: Arc<PoolGroup>,
    pub hosting: Arc<Hosting>,
    pub shared: Arc<Shared>,
}

/// What a beginning life has so far.
#[derive(Default)]
struct Begun {
    pool: Option<Arc<PoolGroup>>,
    parts: Option<Parts>,
    failed: Option<String>,
}

/// One life of a node.
pub struct Running {
    runtime: Runtime,
    gate: Arc<Gate>,
    crew: Crew,
    consensus: Mesh,
    traffic: Mesh,
    begun: Arc<Mutex<Begun>>,
    parts: Option<Parts>,
    driven: Option<Driven<Endpoint>>,
    log: Log,
    /// Milliseconds since the begin of the world up to which this life has lived.
    lived_ms: u64,
}

/// How a disk is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// Nothing is synced before this time.
    pub stuck_until_ms: u64,
}

/// A machine.
pub struct Host {
    pub number: NodeNumber,
    pub address: SocketAddr,
    data: PathBuf,
    lives: Life,
    pub running: Option<Running>,
    pub disk: Disk,
    /// What its wall clock is ahead, in milliseconds.
    pub ahead_ms: i64,
    pub paused_until_ms: Option<u64>,
    /// The map that the pool gave it when it joined.
    joined: Option<PoolMap>,
    mistake: Option<Mistake>,
    admissions: VecDeque<(u128, Arc<Mutex<Option<Bytes>>>)>,
}

/// The key under which a node asks to join.
pub fn key_of(node: NodeNumber) -> u128 {
    u128::from(node) * 1_000 + 7
}

/// Where others find a node.
pub fn record_of(node: NodeNumber) -> Record {
    Record {
        peer: format!("node-{node}:7000"),
        admin: format!("node-{node}:8000"),
        sip: vec![format!("udp:10.0.0.{node}:5060")],
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the operator of this pool decided: short lifetimes are allowed.
fn policy() -> Policy {
    let interval = Interval {
        min_s: 5,
        max_s: 600,
        default_s: 60,
    };
    Policy {
        domains: vec!["example.com".to_owned()],
        publication: interval,
        subscription: interval,
        registration: interval,
        enhanced: Settings {
            must_register: false,
            ..Settings::default()
        },
        ..Policy::default()
    }
}

/// What a pool of this world begins with.
#[derive(Clone, Copy, Debug)]
pub struct Founding {
    pub shards: u16,
    pub kept_entries: u64,
}

impl Host {
    pub fn new(number: NodeNumber, root: &Path, mistake: Option<Mistake>) -> Host {
        let data = root.join(format!("node-{number}"));
        std::fs::create_dir_all(&data).expect("room for a data folder");
        Host {
            number,
            address: format!("10.0.0.{number}:5060").parse().expect("an address"),
            data,
            lives: 0,
            running: None,
            disk: Disk::default(),
            ahead_ms: 0,
            paused_until_ms: None,
            joined: None,
            mistake,
            admissions: VecDeque::new(),
        }
    }

    /// Sets the clocks that this machine's node reads.
    fn wind(&self) {
        fate::clocks(self.ahead_ms, 0);
    }

    fn log_dir(&self) -> PathBuf {
        self.data.join(format!("log-{}", self.lives))
    }

    /// The pool has given it a number and its map.
    pub fn admitted(&mut self, map: PoolMap) {
        self.joined = Some(map);
    }

    /// Whether it was ever asked to run.
    pub fn is_known(&self) -> bool {
        self.number == FOUNDER || self.joined.is_some()
    }

    /// Begins a life.
    ///
    /// # Errors
    /// When what the disk holds cannot be used.
    pub fn start(
        &mut self,
        now_ms: u64,
        founding: Founding,
        network: &Network,
    ) -> Result<(), String> {
        assert!(self.running.is_none(), "a node lives once at a time");
        self.wind();
        let before = self.log_dir();
        self.lives += 1;
        // Threads of an earlier life may still hold the folder of that life.
        if before.exists() {
            std::fs::rename(&before, self.log_dir()).map_err(|error| error.to_string())?;
        }
        let (number, lives) = (self.number, self.lives);
        let life = match self.mistake {
            Some(Mistake::SameLife) => 1,
            _ => lives,
        };
        let crew = Crew::default();
        let options = LogOptions {
            segment_bytes: SEGMENT_BYTES,
            on_failure: |why| panic!("the log failed: {why}"),
            ..LogOptions::default()
        };
        let (log, _) =
            Log::open_with(&self.log_dir(), options, &crew).map_err(|error| error.to_string())?;
        let gate = Arc::<Gate>::default();
        gate.pass();
        let [enters, parks, goes_on] = [(); 3].map(|()| Arc::clone(&gate));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .thread_keep_alive(Duration::from_secs(86_400))
            .on_thread_start(move || Gate::enter(&enters))
            .on_thread_stop(Gate::exit)
            .on_thread_park(move || parks.leave())
            .on_thread_unpark(move || goes_on.pass())
            .global_queue_interval(u32::MAX)
            .build()
            .map_err(|error| error.to_string())?;
        let secret = Secret::draw().map_err(|error| error.to_string())?;
        let credentials = Credentials::of(&secret, number).map_err(|error| error.to_string())?;
        let mesh = |class| {
            let hello = Hello {
                class,
                node: number,
                life,
                pool: "simulated".to_owned(),
                lineage: 1,
            };
            let way = Way {
                network: network.clone(),
                node: number,
                life: lives,
            };
            let handle = runtime.handle().clone();
            Mesh::over(Some(Arc::new(way)), handle, hello, credentials.clone())
        };
        let (consensus, traffic_mesh) = (mesh(Class::Raft), mesh(Class::Traffic));
        let calls = Calls::over(consensus.clone(), runtime.handle().clone());
        let served = Served::default();
        let groups = AtGroups::new(number, life, Arc::new(served.clone()), self.mistake);
        calls.answer_with(Arc::new(groups));
        let options = GroupOptions {
            group: GroupId::POOL,
            node: number,
            life,
            snapshots: self.data.join("snapshots"),
            tuning: Tuning {
                kept_entries: founding.kept_entries,
                purge_batch: 1,
                ..Tuning::default()
            },
            calls,
            served,
            workforce: Arc::new(crew.clone()),
        };
        let begun = Arc::<Mutex<Begun>>::default();
        let wiring = Wiring {
            number,
            founding,
            options,
            log: log.clone(),
            data: self.data.clone(),
            joined: self.joined.clone(),
            consensus: consensus.clone(),
            traffic: traffic_mesh.clone(),
            begun: Arc::clone(&begun),
            mistake: self.mistake,
        };
        runtime.spawn(async move {
            let begun = Arc::clone(&wiring.begun);
            if let Err(why) = wiring.begin().await {
                lock(&begun).failed = Some(why);
            }
        });
        network.lock().lives.insert(number, lives);
        self.running = Some(Running {
            runtime,
            gate,
            crew,
            consensus,
            traffic: traffic_mesh,
            begun,
            parts: None,
            driven: None,
            log,
            lived_ms: now_ms,
        });
        Ok(())
    }

    /// The end of a life, at once. With `torn`, the last write stands on the disk in part.
    pub fn crash(&mut self, network: &Network, torn: bool, cut: u64) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.wind();
        {
            let mut net = network.lock();
            net.lives.remove(&self.number);
            net.paused.remove(&self.number);
            net.gone(self.number);
        }
        self.paused_until_ms = None;
        let Running {
            runtime,
            gate,
            crew,
            driven,
            parts,
            log,
            consensus,
            traffic,
            begun,
            ..
        } = running;
        // What was being written to files is written: it is one behind the other.
        let _ = runtime.block_on(runtime.spawn_blocking(|| ()));
        gate.leave();
        drop(runtime);
        if torn {
            self.tear(&crew, cut);
        }
        lock(&crew.0).clear();
        drop((driven, parts, log, consensus, traffic, begun));
        if self.mistake == Some(Mistake::DiskForgets) {
            let kept = self.data.join("log-before");
            if kept.exists() {
                let _ = std::fs::remove_dir_all(self.log_dir());
                std::fs::rename(kept, self.log_dir()).expect("a folder is renamed");
            }
        }
    }

    /// The disk loses the snapshots of shards. (When that of the pool map is lost, a node waits to be let go before it
    /// begins; there is nothing of that here.)
    pub fn lose_snapshots(&self) {
        let files = std::fs::read_dir(self.data.join("snapshots"));
        for file in files.into_iter().flatten().flatten() {
            if file.file_name().to_string_lossy().starts_with('s') {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }

    /// Lets the writer write what it was asked last, and takes a part of that away: nobody was told of it.
    fn tear(&self, crew: &Crew, cut: u64) {
        let before = newest_segment(&self.log_dir());
        let mut works = lock(&crew.0);
        let Some((_, writer)) = works.iter_mut().find(|(name, _)| name == "log") else {
            return;
        };
        if !writer.turn() {
            return;
        }
        let after = newest_segment(&self.log_dir());
        let (Some((path, old)), Some((same, mut new))) = (before, after) else {
            return;
        };
        if path != same || old.len() != new.len() {
            return;
        }
        let changed: Vec<usize> = (0..new.len()).filter(|at| old[*at] != new[*at]).collect();
        let (Some(first), Some(last)) = (changed.first(), changed.last()) else {
            return;
        };
        let keep = first + (cut as usize) % (last - first + 1);
        new[keep..=*last].fill(0);
        std::fs::write(same, new).expect("a segment is written");
    }

    /// Remembers what the disk holds now; a disk that forgets comes back with it.
    pub fn remember_disk(&self) {
        let kept = self.data.join("log-before");
        let _ = std::fs::remove_dir_all(&kept);
        std::fs::create_dir_all(&kept).expect("a folder");
        for file in std::fs::read_dir(self.log_dir()).expect("a log").flatten() {
            let _ = std::fs::copy(file.path(), kept.join(file.file_name()));
        }
    }

    /// Frames arrive over the links of a class.
    pub fn frame(&self, class: Class, from: NodeNumber, frame: Bytes) {
        self.wind();
        if let Some(running) = &self.running {
            match class {
                Class::Raft => running.consensus.arrived(from, frame),
                _ => running.traffic.arrived(from, frame),
            }
        }
    }

    /// A datagram arrives.
    pub fn datagram(&self, from: SocketAddr, bytes: Bytes) {
        self.wind();
        if let Some(driven) = self
            .running
            .as_ref()
            .and_then(|running| running.driven.as_ref())
        {
            driven.arrive(from, bytes);
        }
    }

    /// Lets the runtime live up to a time.
    ///
    /// # Errors
    /// Why the life could not begin.
    pub fn live(&mut self, now_ms: u64) -> Result<(), String> {
        // What is noted here as the time of a quorum is asked elsewhere, by another clock.
        let long = self.mistake == Some(Mistake::LongLease);
        fate::clocks(self.ahead_ms, if long { 4_000 } else { 0 });
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let span = Duration::from_millis(now_ms.saturating_sub(running.lived_ms));
        running.lived_ms = now_ms;
        // Who stood still finds all its timers due at once.
        let stride = Duration::from_millis(20);
        running.runtime.block_on(async {
            if span > stride {
                tokio::time::advance(span).await;
            } else {
                tokio::time::sleep(span).await;
            }
        });
        if running.parts.is_none() {
            let mut begun = lock(&running.begun);
            if let Some(why) = begun.failed.take() {
                return Err(why);
            }
            if let Some(parts) = begun.parts.take() {
                let begin = match self.mistake {
                    Some(Mistake::TicketsBeginAnew) => -(now_ms as i64),
                    _ => self.ahead_ms,
                };
                fate::clocks(begin, 0);
                let endpoint = Endpoint::new(Arc::clone(&parts.shared), 0);
                let driven = Driven::new(0, self.address, endpoint);
                parts.shared.workers.set(vec![driven.mailbox()]);
                running.driven = Some(driven);
                running.parts = Some(parts);
            }
        }
        Ok(())
    }

    /// Gives a turn to the writer of the log.
    pub fn write(&self, now_ms: u64) {
        if now_ms >= self.disk.stuck_until_ms {
            self.work(|name| name == "log");
        }
    }

    /// Gives a turn to each shard that `chosen` names.
    pub fn apply(&self, mut chosen: impl FnMut(&str) -> bool) {
        // A shard's effects need somebody to perform them.
        if self.parts().is_some() {
            self.work(|name| name != "log" && chosen(name));
        }
    }

    fn work(&self, mut chosen: impl FnMut(&str) -> bool) {
        self.wind();
        let Some(running) = &self.running else { return };
        for (name, work) in lock(&running.crew.0).iter_mut() {
            if chosen(name) {
                work.turn();
            }
        }
    }

    /// Lets the worker read its mail and do what is due; gives what it sends.
    pub fn serve(&self) -> Vec<(SocketAddr, Bytes)> {
        self.wind();
        let Some(driven) = self
            .running
            .as_ref()
            .and_then(|running| running.driven.as_ref())
        else {
            return Vec::new();
        };
        while driven.read_mail() {}
        driven.expire();
        driven.take()
    }

    /// What the life has, once it has begun.
    pub fn parts(&self) -> Option<&Parts> {
        self.running.as_ref()?.parts.as_ref()
    }

    /// The groups of shards that run here.
    pub fn groups(&self) -> Vec<(u16, Arc<ShardGroup>)> {
        self.parts()
            .map(|parts| parts.hosting.hosted.all())
            .unwrap_or_default()
    }

    /// Whether its node runs and does not stand still.
    pub fn is_up(&self) -> bool {
        self.running.is_some() && self.paused_until_ms.is_none()
    }

    /// Runs a task in the life, if there is one that has begun.
    pub fn task<F>(&self, make: impl FnOnce(Parts) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.wind();
        if let Some(running) = &self.running
            && let Some(parts) = running.parts.clone()
        {
            running.runtime.spawn(make(parts));
        }
    }

    /// Asks, on this node, that another one be admitted; the answer is fetched by [`Host::admissions`].
    pub fn admit(&mut self, node: NodeNumber) {
        let answer = Arc::<Mutex<Option<Bytes>>>::default();
        let told = Arc::clone(&answer);
        let question = Change::Admit {
            key: key_of(node),
            record: record_of(node),
        }
        .encode();
        self.task(|parts| async move {
            let doorkeeper = Doorkeeper {
                pool: parts.pool.into(),
                ..Doorkeeper::default()
            };
            let map = doorkeeper.admit(question, Proof::default()).await;
            *lock(&told) = Some(map);
        });
        self.admissions.push_back((key_of(node), answer));
    }

    /// Who was admitted since this was asked last, with the map as it was told.
    pub fn admissions(&mut self) -> Vec<(NodeNumber, PoolMap)> {
        let mut admitted = Vec::new();
        self.admissions.retain(|(key, answer)| {
            let Some(map) = lock(answer).take() else {
                return true;
            };
            if let Ok(map) = PoolMap::decode(&map)
                && let Some(number) = map.admitted(*key)
            {
                admitted.push((number, map));
            }
            false
        });
        admitted
    }
}

fn newest_segment(dir: &Path) -> Option<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    let path = paths.pop()?;
    let bytes = std::fs::read(&path).ok()?;
    Some((path, bytes))
}

/// What a life is made of.
struct Wiring {
    number: NodeNumber,
    founding: Founding,
    options: GroupOptions,
    log: Log,
    data: PathBuf,
    joined: Option<PoolMap>,
    consensus: Mesh,
    traffic: Mesh,
    begun: Arc<Mutex<Begun>>,
    mistake: Option<Mistake>,
}

impl Wiring {
    /// As `node::Node::start` does it.
    async fn begin(self) -> Result<(), String> {
        let said = |error: node::raft::group::StartError| error.to_string();
        let pool = PoolGroup::start(&self.options, &self.log)
            .await
            .map_err(said)?;
        let pool = Arc::new(pool);
        lock(&self.begun).pool = Some(Arc::clone(&pool));
        let meshes = vec![self.consensus.clone(), self.traffic.clone()];
        let recalled = memory::recall(&self.data).or(self.joined);
        if let Some(map) = &recalled {
            for mesh in &meshes {
                mesh.link_to(&map.peers());
            }
        }
        let map = match recalled.filter(PoolMap::is_made) {
            Some(map) => Arc::new(map),
            None => pool
                .create(self.number == FOUNDER, self.founding.shards)
                .await
                .map_err(said)?,
        };
        let (policy, metrics) = (policy(), Arc::new(Metrics::default()));
        let (workers, traffic) = (
            Workers::new(),
            Traffic::new(self.number, self.traffic.clone()),
        );
        let (calls, served) = (self.options.calls.clone(), self.options.served.clone());
        let (node, life) = (self.options.node, self.options.life);
        let damage = Damage::open(&self.data).map_err(|error| error.to_string())?;
        let hosting = Arc::new(Hosting {
            node: self.number,
            options: self.options,
            log: self.log,
            pool: Arc::clone(&pool),
            hosted: Hosted::default(),
            workers: workers.clone(),
            traffic: traffic.clone(),
            metrics: Arc::clone(&metrics),
            rendering: RenderSettings::of(&policy),
            meshes,
            in_flight: 4_096,
            data: self.data,
            record: RwLock::new(Some(record_of(self.number))),
            damage: Arc::new(damage),
        });
        let hosted = hosting.hosted.clone();
        let desk = Desk { served, hosted };
        let groups = AtGroups::new(node, life, Arc::new(desk), self.mistake);
        calls.answer_with(Arc::new(groups));
        hosting.begin(&map).await.map_err(said)?;
        let routes = Arc::new(RouteTable::new(hosting.routes(Arc::clone(&map), None)));
        let door = Door {
            routes: Arc::clone(&routes),
            workers: workers.clone(),
            traffic: traffic.clone(),
        };
        self.traffic
            .receive_with(Arc::new(AtDoor::new(door, self.mistake)));
        tokio::spawn(Arc::clone(&hosting).follow(Arc::clone(&routes)));
        tokio::spawn(Arc::clone(&hosting).lead_the_way(Arc::clone(&routes)));
        tokio::spawn(Mover::new(&hosting, Arc::default()).follow());
        let known = match self.mistake {
            // The routes that the worker looks at are never replaced.
            Some(Mistake::StaleRoutes) => Arc::new(RouteTable::new(hosting.routes(map, None))),
            _ => routes,
        };
        let shared = Arc::new(Shared {
            subscriber: std::sync::OnceLock::new(),
            policy,
            identity: Identity::open(),
            users: Arc::new(Everybody),
            blustar_login: None,
            peers: Peers::default(),
            routes: known,
            traffic,
            workers,
            contact_store: None,
            metrics,
        });
        lock(&self.begun).parts = Some(Parts {
            pool,
            hosting,
            shared,
        });
        Ok(())
    }
}
