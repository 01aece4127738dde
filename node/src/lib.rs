//! The Lamplight server: wires transport and shard together.
//!
//! # The order of the modules
//!
//! `config`, `observe` ← `raft`, `pool` ← `dialect` ← `egress` ← `contact_store` ← `ingress` ← this file; a module
//! imports only from its left (`node/tests/tidy.rs` holds it).
//!
//! # What runs
//!
//! | thread | count | blocks on |
//! | --- | --- | --- |
//! | `sip-N` | cores / 2 | its sockets and its mail |
//! | `raft` | 1 | openraft's tasks, the proposers, the admin listener |
//! | `log` | 1 | fsync |
//! | `shard-sNN` | one per hosted shard | its queue |
//! | `contacts`, `contacts-N` | 1 and 4, where a mail server keeps contacts | HTTP |

pub mod config;
pub mod contact_store;
pub mod dialect;
pub mod egress;
pub mod ingress;
pub mod observe;
pub mod pool;
pub mod raft;

mod identity_file;
mod inspect;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use transport::flow::Transport;
use transport::io::tls::{Certificates, TlsError};
use transport::io::worker::{Listen, Worker};

use config::Config;
use contact_store::ContactStore;
use egress::outbox::{Mail, Outbox, Workers};
use identity_file::IdentityFile;
use ingress::admission::Permits;
use ingress::endpoint::{Endpoint, Shared};
use ingress::identity::Identity;
use ingress::route::{Routes, ShardLink};
use observe::metrics::{Metrics, Sample};
use pool::PoolGroup;
use raft::group::{GroupOptions, ShardGroup, Tuning};
use raft::log::{Log, LogOptions};
use raft::types::GroupId;

/// How long a stopping node waits for what was begun.
const DRAIN: Duration = Duration::from_secs(3);

/// How long a starting node waits until every shard has a leader and has caught up.
const START: Duration = Duration::from_secs(60);

/// Why a node could not start. One line each, which says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used: {why}", path.display())]
    Data {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Another process has the data folder.
    #[error("the data folder {} is in use by another lamplight; stop it, or give --data another folder", .0.display())]
    InUse(PathBuf),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] raft::log::LogError),
    /// A Raft group cannot start.
    #[error(transparent)]
    Group(#[from] raft::group::StartError),
    /// A listener cannot be opened.
    #[error(
        "cannot listen on {what}: {why}; is another server there, or is the address not of this machine?"
    )]
    Listen {
        /// Which one.
        what: String,
        /// What the system said.
        why: io::Error,
    },
    /// The certificate of a TLS listener cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The users file cannot be read.
    #[error("{0}")]
    Users(String),
    /// The contact store cannot be used.
    #[error("contact_store: {0}")]
    ContactStore(String),
    /// A thread or runtime cannot be made.
    #[error("the system refuses a thread: {0}")]
    Thread(#[source] io::Error),
    /// No leader in time.
    #[error("a minute has passed and not every shard has a leader: {0}")]
    NotReady(String),
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Finish what was begun, write snapshots, close flows.
    Graceful,
    /// At once; the log has everything.
    Now,
}

/// A running node.
pub struct Node {
    config: Config,
    identity: IdentityFile,
    raft: RaftRuntime,
    pool: Arc<PoolGroup>,
    shards: Vec<Arc<ShardGroup>>,
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    mailboxes: Workers,
    admin: SocketAddr,
    log: Log,
    tls: Option<Certificates>,
}

/// The thread that openraft, the proposers and the admin listener run on.
struct RaftRuntime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl RaftRuntime {
    fn start() -> io::Result<RaftRuntime> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("raft".to_owned())
            .spawn(move || {
                runtime.block_on(async { drop(stopped.await) });
                // Whoever still runs a blocking task (a snapshot being written) is not waited for.
                runtime.shutdown_background();
            })?;
        Ok(RaftRuntime {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs a task on the raft thread and waits for it.
    fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        let (give, take) = std::sync::mpsc::sync_channel(1);
        self.handle
            .spawn(async move { drop(give.send(task.await)) });
        take.recv()
            .expect("the raft thread lives as long as the node")
    }
}

impl Drop for RaftRuntime {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Node {
    /// Starts a node, in this order: data folder, log, pool map, shards, workers, admin listener; then
    /// waits until every shard has a leader and has caught up.
    ///
    /// # Errors
    /// [`StartError`]; everything begun is ended again.
    pub fn start(config: Config) -> Result<Node, StartError> {
        tracing::info!(?config, "effective settings");
        let identity = IdentityFile::open(&config.data)?;
        let who = match (config.auth, &config.users) {
            (config::AuthMode::Digest, Some(users)) => {
                Identity::digest(&config.realm, users).map_err(StartError::Users)?
            }
            _ => Identity::open(),
        };
        let tls = match &config.tls {
            Some((certificate, key)) => Some(Certificates::load(certificate, key)?),
            None => None,
        };
        let log_options = LogOptions {
            segment_bytes: config.log_segment_bytes,
            ..LogOptions::default()
        };
        let (log, recovery) = Log::open(&config.data.join("log"), log_options)?;
        tracing::info!(?recovery, "the log is open");

        let raft = RaftRuntime::start().map_err(StartError::Thread)?;
        let options = GroupOptions {
            group: GroupId::POOL,
            node: identity.node,
            life: identity.life,
            snapshots: config.data.join("snapshots"),
            tuning: Tuning {
                snapshot_bytes: config.snapshot_bytes,
                ..Tuning::default()
            },
        };
        let pool = {
            let (options, log) = (options.clone(), log.clone());
            raft.run(async move { PoolGroup::start(&options, &log).await })?
        };
        let pool = Arc::new(pool);
        let map = {
            let (pool, shards) = (Arc::clone(&pool), config.shards);
            raft.run(async move { pool.create(shards).await })?
        };
        if map.shard_count() != usize::from(config.shards) {
            tracing::warn!(
                pool = map.shard_count(),
                asked = config.shards,
                "the pool keeps the number of shards it was made with"
            );
        }

        let metrics = Arc::new(Metrics::default());
        let mailboxes = Workers::new();
        let mut shards = Vec::new();
        for number in 0..map.shard_count() {
            let options = GroupOptions {
                group: GroupId(number as u32 + 1),
                ..options.clone()
            };
            let outbox = Outbox::new(
                mailboxes.clone(),
                Arc::clone(&metrics),
                config.contact_store.is_some(),
            );
            let (log, failed) = (log.clone(), Arc::new(mailboxes.clone()));
            let group =
                raft.run(async move { ShardGroup::start(&options, &log, outbox, failed).await })?;
            shards.push(Arc::new(group));
        }
        let links = shards.iter().map(|group| ShardLink {
            proposer: group.proposer.clone(),
            runner: group.runner.clone(),
            permits: Arc::new(Permits::new(config.in_flight)),
        });
        let policy = config.policy();
        let contact_store = match &config.contact_store {
            None => None,
            Some(settings) => {
                let links = shards.iter();
                let links = links.map(|group| (group.proposer.clone(), group.runner.clone()));
                let reach = contact_store::Shards::new(Arc::clone(&map), links.collect());
                let store = ContactStore::start(settings, reach, policy.enhanced.contacts)
                    .map_err(StartError::ContactStore)?;
                store.observe(&metrics);
                Some(store)
            }
        };
        let shared = Arc::new(Shared {
            contact_store,
            policy,
            identity: who,
            users: Arc::new(dialect::Everybody),
            routes: Routes::new(map, links.collect()),
            workers: mailboxes.clone(),
            metrics: Arc::clone(&metrics),
        });
        let workers = start_workers(&config, &shared, &mailboxes, tls.as_ref())?;
        let listen: Vec<String> = workers[0].addresses().iter().map(describe).collect();

        observe_sources(&metrics, &workers, &shards, &log);
        let inspector = Arc::new(inspect::Inspector {
            node: identity.node,
            domains: config.domains.clone(),
            listen: listen.clone(),
            pool: Arc::clone(&pool),
            shards: shards.clone(),
            shared: Arc::clone(&shared),
            log: log.clone(),
        });
        let wanted = config.admin;
        let admin = raft
            .run({
                let inspector = Arc::clone(&inspector);
                async move { observe::admin::serve(wanted, inspector).await }
            })
            .map_err(|why| StartError::Listen {
                what: format!("admin {wanted}"),
                why,
            })?;

        for group in &shards {
            let group = Arc::clone(group);
            raft.run(async move { group.core.bootstrap().await })?;
        }
        let node = Node {
            config,
            identity,
            raft,
            pool,
            shards,
            shared,
            workers,
            mailboxes,
            admin,
            log,
            tls,
        };
        node.wait_until_ready(&inspector)?;
        node.keep_house();
        Ok(node)
    }

    fn wait_until_ready(&self, inspector: &inspect::Inspector) -> Result<(), StartError> {
        use observe::report::Inspect as _;
        let until = Instant::now() + START;
        loop {
            let readiness = inspector.readiness();
            if readiness.ready {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(StartError::NotReady(readiness.waiting_for.join(", ")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every second: snapshots for the groups that have grown, or that hold old segments of the log.
    fn keep_house(&self) {
        /// Segments in use beyond which the holder of the oldest is told to take a snapshot.
        const SEGMENTS: usize = 4;
        let (shards, pool, log) = (
            self.shards.clone(),
            Arc::clone(&self.pool),
            self.log.clone(),
        );
        self.raft.handle.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let pinning = log.clone();
                let holders = tokio::task::spawn_blocking(move || pinning.pinned_by(SEGMENTS))
                    .await
                    .unwrap_or_default();
                pool.core.snapshot(holders.contains(&GroupId::POOL)).await;
                for (number, group) in shards.iter().enumerate() {
                    group
                        .core
                        .snapshot(holders.contains(&GroupId(number as u32 + 1)))
                        .await;
                }
            }
        });
    }

    /// What to print once it answers, and what to try next.
    #[must_use]
    pub fn welcome(&self) -> String {
        let listen: Vec<String> = self.workers[0].addresses().iter().map(describe).collect();
        let domain = &self.config.domains[0];
        format!(
            "lamplight ready: node {}, {} shards, sip {}, admin http://{}, domains {}, auth {:?}, data {}\n\
             try next: curl http://{}/pool\n\
             or point a phone at it: user alice, domain {domain}; then curl http://{}/presentity/sip:alice@{domain}",
            self.identity.node,
            self.shards.len(),
            listen.join(" "),
            self.admin,
            self.config.domains.join(" "),
            self.config.auth,
            self.config.data.display(),
            self.admin,
            self.admin,
        )
    }

    /// The SIP addresses bound.
    #[must_use]
    pub fn addresses(&self) -> Vec<Listen> {
        self.workers[0].addresses().to_vec()
    }

    /// The admin address bound.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Reads again what can change while the node runs: certificates, and logins of the contact store. What is bad stays as it was.
    pub fn reload(&self) {
        if let Some(store) = &self.shared.contact_store {
            store.reload();
        }
        let Some(tls) = &self.tls else {
            tracing::info!("nothing is read again: there is no certificate");
            return;
        };
        match tls.reload() {
            Ok(()) => tracing::info!("new connections are shown the certificate as it is now"),
            Err(error) => tracing::error!(%error, "the certificate stays as it was"),
        }
    }

    /// Stops the node.
    pub fn stop(self, how: Stop) {
        let Node {
            raft,
            pool,
            shards,
            shared,
            workers,
            mailboxes,
            log,
            ..
        } = self;
        if let Some(store) = &shared.contact_store {
            store.stop();
        }
        if how == Stop::Graceful {
            for worker in 0..workers.len() {
                mailboxes.deliver(worker, Mail::Drain);
            }
            let begun = || {
                (0..shards.len())
                    .map(|shard| shared.routes.link(shard).permits.taken())
                    .sum::<usize>()
            };
            let until = Instant::now() + DRAIN;
            while Instant::now() < until && begun() > 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        for worker in workers {
            worker.stop(if how == Stop::Graceful {
                DRAIN
            } else {
                Duration::ZERO
            });
        }
        let last_snapshot = how == Stop::Graceful;
        raft.run(async move {
            for group in &shards {
                group.core.stop(last_snapshot).await;
            }
            pool.core.stop(last_snapshot).await;
        });
        log.flush();
        tracing::info!("stopped");
    }
}

impl Config {
    /// What the dialects apply.
    fn policy(&self) -> dialect::Policy {
        use dialect::policy::Interval;
        let interval = |of: config::Interval| Interval {
            min_s: of.min,
            max_s: of.max,
            default_s: of.default,
        };
        dialect::Policy {
            domains: self.domains.clone(),
            foreign: match self.foreign {
                config::Foreign::NotFound => dialect::refusal::FOREIGN_NOT_FOUND,
                config::Foreign::Forbidden => dialect::refusal::FOREIGN_FORBIDDEN,
            },
            publication: interval(self.publication),
            subscription: interval(self.subscription),
            registration: interval(self.registration),
            enhanced: match self.contact_store {
                Some(_) => dialect::enhanced::Settings::default().with_contact_store(),
                None => dialect::enhanced::Settings::default(),
            },
        }
    }
}

/// Half the cores speak SIP (house §6); the others log, apply and replicate.
fn worker_count() -> u8 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u8::try_from(cores.div_ceil(2)).unwrap_or(u8::MAX)
}

fn start_workers(
    config: &Config,
    shared: &Arc<Shared>,
    mailboxes: &Workers,
    tls: Option<&Certificates>,
) -> Result<Vec<Worker>, StartError> {
    let tls = tls.cloned();
    let mut listen: Vec<Listen> = config
        .listen
        .iter()
        .map(|listener| Listen {
            transport: match listener.protocol {
                config::Protocol::Udp => Transport::Udp,
                config::Protocol::Tcp => Transport::Tcp,
                config::Protocol::Tls => Transport::Tls,
            },
            address: listener.address,
        })
        .collect();
    // SO_REUSEPORT lets our workers share a port, and would let another server share it as well.
    for wanted in &listen {
        let refused = |why| StartError::Listen {
            what: describe(wanted),
            why,
        };
        match wanted.transport {
            Transport::Udp => drop(std::net::UdpSocket::bind(wanted.address).map_err(refused)?),
            Transport::Tcp | Transport::Tls => {
                drop(std::net::TcpListener::bind(wanted.address).map_err(refused)?)
            }
        }
    }
    let mut workers = Vec::new();
    let mut posts = Vec::new();
    for number in 0..worker_count() {
        let user = Arc::clone(shared);
        let (worker, mailbox) = Worker::start(number, &listen, tls.clone(), move |_| {
            Endpoint::new(user, number)
        })
        .map_err(|(wanted, why)| StartError::Listen {
            what: describe(&wanted),
            why,
        })?;
        // The others join the ports that the system chose for the first.
        listen = worker.addresses().to_vec();
        workers.push(worker);
        posts.push(mailbox);
    }
    mailboxes.set(posts);
    Ok(workers)
}

fn describe(listen: &Listen) -> String {
    format!(
        "{}:{}",
        listen.transport.as_str().to_lowercase(),
        listen.address
    )
}

/// What a scrape asks of those who count for themselves.
fn observe_sources(
    metrics: &Arc<Metrics>,
    workers: &[Worker],
    shards: &[Arc<ShardGroup>],
    log: &Log,
) {
    for (number, worker) in workers.iter().enumerate() {
        let counters = worker.counters();
        metrics.add_source(Box::new(move |samples| {
            for (name, help, value) in counters.list() {
                let grows = !matches!(
                    name,
                    "streams" | "server_transactions" | "client_transactions"
                );
                samples.push(Sample {
                    name,
                    help,
                    label: Some(("worker", number.to_string())),
                    value,
                    grows,
                });
            }
        }));
    }
    let log = log.clone();
    metrics.add_source(Box::new(move |samples| {
        for (name, help, value) in log.stats().list() {
            let name = match name {
                "records" => "log_records",
                "bytes" => "log_bytes",
                "batches" => "log_batches",
                "sync_microseconds" => "log_sync_microseconds",
                "reads_from_disk" => "log_reads_from_disk",
                other => other,
            };
            samples.push(Sample {
                name,
                help,
                label: None,
                value,
                grows: true,
            });
        }
        let stalled = u64::from(log.stalled().is_some());
        let help = "Whether the log waits for room on the disk.";
        samples.push(Sample {
            name: "log_stalled",
            help,
            label: None,
            value: stalled,
            grows: false,
        });
    }));
    let shards = shards.to_vec();
    metrics.add_source(Box::new(move |samples| {
        for (number, counts) in inspect::counts(&shards) {
            for (name, help, value) in [
                (
                    "presentities",
                    "Addresses with any state.",
                    counts.presentities,
                ),
                ("publications", "Live publications.", counts.publications),
                ("endpoints", "Registered endpoints.", counts.endpoints),
                ("dialogs", "Live subscription dialogs.", counts.dialogs),
                (
                    "replies",
                    "Outcomes remembered for repeats.",
                    counts.replies,
                ),
            ] {
                samples.push(Sample {
                    name,
                    help,
                    label: Some(("shard", number.to_string())),
                    value,
                    grows: false,
                });
            }
            let counters = shards[number].proposer.counters();
            for (name, help, value) in [
                (
                    "entries_proposed",
                    "Log entries proposed.",
                    &counters.entries,
                ),
                ("requests_proposed", "Requests in them.", &counters.requests),
                (
                    "terms_led",
                    "Times this node became leader.",
                    &counters.terms,
                ),
            ] {
                let label = Some(("shard", number.to_string()));
                samples.push(Sample {
                    name,
                    help,
                    label,
                    value: value.load(Relaxed),
                    grows: true,
                });
            }
        }
    }));
}
