//! The Lamplight server: wires transport and shard together.
//!
//! # The order of the modules
//!
//! `config`, `observe` ← `peer`, `directory` ← `raft`, `pool` ← `dialect` ← `egress` ← `contact_store` ← `ingress` ← `connector` ← this file; a module
//! imports only from its left (`node/tests/tidy.rs` holds it).
//!
//! # What runs
//!
//! | thread | count | blocks on |
//! | --- | --- | --- |
//! | `sip-N` | cores / 2 | its sockets and its mail |
//! | `raft` | 1 | openraft's tasks, the proposers, the admin listener |
//! | `peers` | 1 | requests, answers and notifications from and to other nodes |
//! | `log` | 1 | fsync |
//! | `shard-sNN` | one per hosted shard | its queue |
//! | `directory` | 1, where there is one | the directory file or the LDAP server |
//! | `contacts`, `contacts-N` | 1 and 4, where a mail server keeps contacts | HTTP |
//! | `calendar`, `calendar-N` | 1 and 4, where calendars are read | HTTP |

pub mod accounts;
pub mod config;
pub mod connector;
pub mod contact_store;
pub mod dev_pool;
pub mod dialect;
pub mod directory;
pub mod egress;
pub mod ingress;
pub mod observe;
pub mod operator;
pub mod peer;
pub mod pool;
pub mod raft;

#[cfg(test)]
mod fixture;
pub mod hosting;
mod identity_file;
mod inspect;
pub mod mover;
mod profiles;
mod recover;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use transport::flow::Transport;
use transport::io::tls::{Certificates, TlsError};
use transport::io::worker::{Listen, Worker};

use config::Config;
use connector::calendar::Calendars;
use contact_store::ContactStore;
use directory::keeper::Keeper;
use directory::{Directory, Everybody, Users};
use egress::outbox::{Mail, Workers};
use egress::render::RenderSettings;
use egress::traffic::Traffic;
use hosting::{Hosted, Hosting};
use identity_file::IdentityFile;
use ingress::blustar_login::BlustarLogin;
use ingress::clerk::Clerk;
use ingress::door::Door;
use ingress::endpoint::{Endpoint, Shared};
use ingress::feeds::Feeds;
use ingress::identity::Identity;
use ingress::peers::Peers;
use ingress::route::RouteTable;
use observe::guard::Guard;
use observe::metrics::{Metrics, Sample};
use peer::NodeNumber;
use peer::call::Calls;
use peer::credentials::{Credentials, CredentialsError, Names, Secret};
use peer::link::{Class, Hello};
use peer::mesh::{self, Mesh};
use pool::join::{Doorkeeper, JoinError, Joined};
use pool::map::{PoolMap, Record};
use pool::{FOUNDER, PoolGroup};
use raft::damage::Damage;
use raft::group::{GroupOptions, Tuning};
use raft::log::{Log, LogError, LogOptions, Recovery};
use raft::network::Served;
use raft::threads::Threads;
use raft::types::GroupId;

/// How long a stopping node waits for what was begun.
const DRAIN: Duration = Duration::from_secs(3);

/// How long a starting node waits until every shard has a leader and has caught up.
const START: Duration = Duration::from_secs(60);

/// How often a node that waits for the others says so.
const TELL_EVERY: Duration = Duration::from_secs(10);

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
    /// The pool's secret cannot be used.
    #[error(transparent)]
    Secret(#[from] CredentialsError),
    /// The pool does not take this node in.
    #[error("this node could not join the pool: {0}")]
    Join(#[from] JoinError),
    /// The directory cannot be read.
    #[error(transparent)]
    Directory(#[from] directory::ReadError),
    /// The contact store cannot be used.
    #[error("contact_store: {0}")]
    ContactStore(String),
    /// The tokens of operators are not readable.
    #[error("the tokens of operators: {0}")]
    AdminTokens(String),
    /// The publish API cannot be used.
    #[error("publish: {0}")]
    Publish(String),
    /// Calendars cannot be read.
    #[error("calendar: {0}")]
    Calendar(String),
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
    number: NodeNumber,
    _identity: IdentityFile,
    raft: OwnRuntime,
    peers: OwnRuntime,
    pool: Arc<PoolGroup>,
    hosting: Arc<Hosting>,
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    mailboxes: Workers,
    admin: SocketAddr,
    log: Log,
    tls: Option<Certificates>,
    /// Who reads the directory again, where there is one.
    keeper: Option<Keeper>,
    /// What the node proves itself to others with.
    proves: Proves,
    /// Whether the node is being stopped.
    stopping: Arc<AtomicBool>,
    feeds: Arc<Feeds>,
    /// Who reads calendars, where there are any.
    calendars: Option<Calendars>,
}

/// A thread with a runtime: `raft` for openraft, the proposers and the admin listener, `peers` for the
/// traffic with other nodes.
struct OwnRuntime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl OwnRuntime {
    fn start(name: &str) -> io::Result<OwnRuntime> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(async { drop(stopped.await) });
                // Whoever still runs a blocking task (a snapshot being written) is not waited for.
                runtime.shutdown_background();
            })?;
        Ok(OwnRuntime {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs a task on the thread and waits for it.
    fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        let (give, take) = std::sync::mpsc::sync_channel(1);
        self.handle
            .spawn(async move { drop(give.send(task.await)) });
        take.recv().expect("the thread lives as long as the node")
    }
}

impl Drop for OwnRuntime {
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
        let mut identity = IdentityFile::open(&config.data)?;
        let who = match (&config.auth, &config.users) {
            (config::Auth::Schemes(schemes), Some(users)) => {
                Identity::of(schemes, &config.realm, users, &config.server_name)
                    .map_err(StartError::Users)?
            }
            _ => Identity::open(),
        };
        warn_of_plain_ntlm(&config);
        let tls = match &config.tls {
            Some((certificate, key)) => Some(Certificates::load(certificate, key)?),
            None => None,
        };
        let opened = directory::open(&config.directory, &config.domains, &config.data)?;
        let users: Arc<dyn Users> = match &opened {
            Some(opened) => Arc::<Directory>::clone(&opened.directory),
            None => Arc::new(Everybody),
        };
        let log_options = LogOptions {
            segment_bytes: config.log_segment_bytes,
            ..LogOptions::default()
        };
        let damage = Damage::open(&config.data).map_err(in_data(&config.data))?;
        let damage = Arc::new(damage);
        let (log, recovery) = open_log(&config.data, log_options, identity.node, &damage)?;
        tracing::info!(?recovery, "the log is open");

        let raft = OwnRuntime::start("raft").map_err(StartError::Thread)?;
        let peers = OwnRuntime::start("peers").map_err(StartError::Thread)?;
        let metrics = Arc::new(Metrics::default());
        let founds = config.pool.seeds.is_empty();
        let (peer_listener, peer_address) = open_peer_listener(&config, &raft)?;
        let proves = Proves::of(&config, &peer_address, founds)?;
        let record = Record {
            peer: peer_address,
            ..Record::default()
        };
        let known = match (identity.node, founds) {
            (Some(node), _) => (node, None),
            (None, true) => {
                identity.number(FOUNDER, drawn_lineage()?)?;
                (FOUNDER, None)
            }
            (None, false) => {
                let credentials = proves.credentials(0)?;
                let Joined { node, map, lineage } =
                    join(&config, &identity, &record, credentials, &raft)?;
                identity.number(node, lineage)?;
                tracing::info!(node, "admitted to the pool");
                (node, Some(map))
            }
        };
        let (node, joined) = known;
        let credentials = proves.credentials(node)?;
        let by_host = credentials.names() == Names::Host;
        let hello = |class| Hello {
            class,
            node,
            life: identity.life,
            pool: config.pool.name.clone(),
            lineage: identity.lineage,
        };
        let consensus = Mesh::new(raft.handle.clone(), hello(Class::Raft), credentials.clone());
        let traffic_mesh = Mesh::new(peers.handle.clone(), hello(Class::Traffic), credentials);
        let meshes = vec![consensus.clone(), traffic_mesh.clone()];
        let calls = Calls::over(consensus, raft.handle.clone());
        let served = Served::default();
        calls.answer_with(Arc::new(served.clone()));
        let steps = (calls.clone(), served.clone());
        let traffic = Traffic::new(node, traffic_mesh.clone());

        let options = GroupOptions {
            group: GroupId::POOL,
            node,
            life: identity.life,
            snapshots: config.data.join("snapshots"),
            tuning: Tuning {
                snapshot_bytes: config.snapshot_bytes,
                ..Tuning::default()
            },
            calls,
            served,
            workforce: Arc::new(Threads),
        };
        let recalled = joined.or_else(|| pool::memory::recall(&config.data));
        if let Some(map) = &recalled {
            // Written down before anything of it is begun: who lost its log must know what it may have held.
            pool::memory::keep(&config.data, map).map_err(in_data(&config.data))?;
            for mesh in &meshes {
                mesh.link_to(&map.peers());
            }
        }
        let doorkeeper = Arc::new(Doorkeeper {
            by_host,
            ..Doorkeeper::default()
        });
        if let Some(listener) = peer_listener {
            let admits = Arc::clone(&doorkeeper);
            raft.handle
                .spawn(mesh::listen(listener, meshes.clone(), admits));
        }
        let pool = begin_pool_group(&options, &log, &damage, recalled.as_ref(), &raft)?;
        let pool = Arc::new(pool);
        let _ = doorkeeper.pool.set(Arc::clone(&pool));
        let map = match recalled.filter(PoolMap::is_made) {
            Some(map) => Arc::new(map),
            None => {
                let (pool, shards) = (Arc::clone(&pool), config.shards);
                raft.run(async move { pool.create(founds, shards).await })?
            }
        };
        if founds && map.shard_count() != usize::from(config.shards) {
            tracing::warn!(
                pool = map.shard_count(),
                asked = config.shards,
                "the pool keeps the number of shards it has"
            );
        }

        let mailboxes = Workers::new();
        let policy = config.policy();
        let hosting = Arc::new(Hosting {
            node,
            options,
            log: log.clone(),
            pool: Arc::clone(&pool),
            hosted: Hosted::default(),
            workers: mailboxes.clone(),
            traffic: traffic.clone(),
            metrics: Arc::clone(&metrics),
            rendering: RenderSettings::of(&policy),
            meshes,
            in_flight: config.in_flight,
            data: config.data.clone(),
            record: RwLock::default(),
            damage: Arc::clone(&damage),
        });
        let freezes = Arc::new(mover::Freezes::default());
        let (calls, served) = steps;
        let hosted = hosting.hosted.clone();
        calls.answer_with(Arc::new(mover::Desk { served, hosted }));
        {
            let (hosting, map) = (Arc::clone(&hosting), Arc::clone(&map));
            raft.run(async move { hosting.begin(&map).await })?;
        }
        let routes = Arc::new(RouteTable::new(hosting.routes(map, None)));
        traffic_mesh.receive_with(Arc::new(Door {
            routes: Arc::clone(&routes),
            workers: mailboxes.clone(),
            traffic: traffic.clone(),
        }));
        let clerk = Arc::new(Clerk::new(Arc::clone(&routes), traffic.clone()));
        mailboxes.set_clerk(Arc::<Clerk>::clone(&clerk));
        let contact_store = match &config.contact_store {
            None => None,
            Some(settings) => {
                let reach = Arc::clone(&routes);
                let shards = contact_store::Shards::new(reach);
                let store = ContactStore::start(settings, shards, policy.enhanced.contacts)
                    .map_err(StartError::ContactStore)?;
                store.observe(&metrics);
                Some(store)
            }
        };
        let ldap = match &config.directory.source {
            Some(config::directory::Source::Ldap(ldap)) => Some(&**ldap),
            _ => None,
        };
        let blustar_login = BlustarLogin::start(&config.blustar, ldap, &config.realm, &mailboxes)
            .map_err(StartError::Users)?;
        let shared = Arc::new(Shared {
            blustar_login,
            peers: Peers::default(),
            contact_store,
            policy,
            identity: who,
            users,
            routes: Arc::clone(&routes),
            traffic,
            workers: mailboxes.clone(),
            metrics: Arc::clone(&metrics),
        });
        let feeds = Feeds::new(&config.publish, Arc::clone(&shared), Arc::clone(&clerk));
        let feeds = Arc::new(feeds.map_err(StartError::Publish)?);
        let workers = start_workers(&config, &shared, &mailboxes, tls.as_ref())?;
        let listen: Vec<String> = workers[0].addresses().iter().map(describe).collect();

        observe_sources(&metrics, &workers, &hosting.hosted, &log);
        if let Some(opened) = &opened {
            observe_directory(&metrics, &opened.directory);
        }
        observe_replicas(&metrics, &hosting);
        let stopping = Arc::<AtomicBool>::default();
        let inspector = Arc::new(inspect::Inspector {
            node,
            domains: config.domains.clone(),
            listen: listen.clone(),
            pool: Arc::clone(&pool),
            hosted: hosting.hosted.clone(),
            freezes: Arc::clone(&freezes),
            shared: Arc::clone(&shared),
            log: log.clone(),
            damage,
            calls: hosting.options.calls.clone(),
            stopping: Arc::clone(&stopping),
            data: config.data.clone(),
            feeds: Arc::clone(&feeds),
        });
        let wanted = config.admin;
        let guard = Guard::of(wanted, config.admin_tokens.as_deref(), &config.data)
            .map_err(StartError::AdminTokens)?;
        let admin = raft
            .run({
                let inspector = Arc::clone(&inspector);
                async move { observe::admin::serve(wanted, guard, inspector).await }
            })
            .map_err(|why| StartError::Listen {
                what: format!("admin {wanted}"),
                why,
            })?;

        *hosting
            .record
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Record {
            admin: admin.to_string(),
            sip: listen,
            ..record
        });
        raft.handle
            .spawn(Arc::clone(&hosting).follow(Arc::clone(&routes)));
        raft.handle
            .spawn(Arc::clone(&hosting).lead_the_way(Arc::clone(&routes)));
        raft.handle
            .spawn(mover::Mover::new(&hosting, freezes).follow());
        let mut node = Node {
            config,
            number: node,
            _identity: identity,
            raft,
            peers,
            pool,
            hosting,
            shared,
            workers,
            mailboxes,
            admin,
            log,
            tls,
            keeper: None,
            proves,
            stopping,
            feeds,
            calendars: None,
        };
        node.wait_until_ready(&inspector)?;
        node.keep_house();
        if let Some(settings) = &node.config.calendar {
            let directory = opened.as_ref().map(|opened| Arc::clone(&opened.directory));
            let policy = node.shared.policy.clone();
            let calendars = Calendars::start(settings, directory, routes, clerk, policy);
            let calendars = calendars.map_err(StartError::Calendar)?;
            calendars.observe(&node.shared.metrics);
            node.calendars = Some(calendars);
        }
        if let Some(opened) = opened {
            let refresh = node.config.directory.refresh;
            let mut profiles = profiles::Profiles::new(Arc::clone(&node.shared));
            let publish = move |directory: &_| profiles.publish(directory);
            let keeper = Keeper::start(opened, refresh, publish).map_err(StartError::Thread)?;
            node.keeper = Some(keeper);
        }
        Ok(node)
    }

    /// Waits until every shard has a leader and has caught up: for ever where there are other nodes, which
    /// may be started after this one.
    fn wait_until_ready(&self, inspector: &inspect::Inspector) -> Result<(), StartError> {
        let (begin, mut told) = (Instant::now(), Instant::now());
        loop {
            let waiting_for = inspector.waits_for();
            if waiting_for.is_empty() {
                return Ok(());
            }
            let alone = self.pool.map().nodes().count() <= 1;
            if alone && begin.elapsed() > START {
                return Err(StartError::NotReady(waiting_for.join(", ")));
            }
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                tracing::warn!(
                    waiting_for = waiting_for.join(", "),
                    "not ready yet; are the other nodes running?"
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every second: snapshots for the groups that have grown, or that hold old segments of the log.
    fn keep_house(&self) {
        /// Segments in use beyond which the holder of the oldest is told to take a snapshot.
        const SEGMENTS: usize = 4;
        let (hosted, pool, log) = (
            self.hosting.hosted.clone(),
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
                for (number, group) in hosted.all() {
                    let holds = holders.contains(&GroupId(u32::from(number) + 1));
                    group.core.snapshot(holds).await;
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
            "lamplight ready: node {}, {} shards, sip {}, admin http://{}, domains {}, auth {}, data {}\n\
             try next: curl http://{}/pool\n\
             or point a phone at it: user alice, domain {domain}; then curl http://{}/presentity/sip:alice@{domain}",
            self.number,
            self.pool.map().shard_count(),
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

    /// Reads again what can change while the node runs: certificates, users, the directory, and the logins
    /// of the contact store. What is bad stays as it was.
    pub fn reload(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.read_again();
        }
        if let Some(store) = &self.shared.contact_store {
            store.reload();
        }
        if let Proves::Certificate(..) = &self.proves {
            match self.proves.credentials(self.number) {
                Ok(credentials) => {
                    for mesh in &self.hosting.meshes {
                        mesh.renew(&credentials);
                    }
                    tracing::info!(
                        "new links to other nodes are made with the certificate as it is now"
                    );
                }
                Err(error) => {
                    tracing::error!(%error, "the certificate for other nodes stays as it was")
                }
            }
        }
        if let Some(calendars) = &self.calendars {
            calendars.reload();
        }
        self.feeds.reload();
        match self.tls.as_ref().map(Certificates::reload) {
            None => {}
            Some(Ok(())) => {
                tracing::info!("new connections are shown the certificate as it is now");
            }
            Some(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
        }
        if let Err(error) = self.shared.identity.reload() {
            tracing::error!(%error, "the users stay as they were");
        }
        if self.tls.is_none() && self.shared.identity.is_open() && self.keeper.is_none() {
            tracing::info!(
                "nothing is read again: there is neither a certificate, nor a users file, nor a directory"
            );
        }
    }

    /// Stops the node.
    pub fn stop(self, how: Stop) {
        let Node {
            raft,
            peers,
            pool,
            hosting,
            shared,
            workers,
            mailboxes,
            log,
            stopping,
            calendars,
            ..
        } = self;
        stopping.store(true, Release);
        if let Some(calendars) = calendars {
            calendars.stop();
        }
        if let Some(store) = &shared.contact_store {
            store.stop();
        }
        if how == Stop::Graceful {
            let hosting = Arc::clone(&hosting);
            raft.run(async move { hosting.hand_over_all().await });
            for worker in 0..workers.len() {
                mailboxes.deliver(worker, Mail::Drain);
            }
            let begun = || {
                let routes = shared.routes.current();
                (0..routes.count())
                    .map(|shard| routes.reach(shard).permits.taken())
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
            for (_, group) in hosting.hosted.all() {
                group.core.stop(last_snapshot).await;
            }
            pool.core.stop(last_snapshot).await;
        });
        drop(peers);
        log.flush();
        tracing::info!("stopped");
    }
}

/// Opens the peer listener, if the pool is to be more than this node; and says where others find it.
fn open_peer_listener(
    config: &Config,
    raft: &OwnRuntime,
) -> Result<(Option<TcpListener>, String), StartError> {
    let Some(wanted) = config.pool.listen else {
        return Ok((None, String::new()));
    };
    let opened = raft.run(async move {
        let listener = TcpListener::bind(wanted).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    });
    let (listener, bound) = opened.map_err(|why: io::Error| StartError::Listen {
        what: format!("peers {wanted}"),
        why,
    })?;
    let advertised = config.pool.advertise.clone();
    Ok((
        Some(listener),
        advertised.unwrap_or_else(|| bound.to_string()),
    ))
}

/// What a node proves itself to the others with.
enum Proves {
    /// The pool's secret.
    Secret(Secret),
    /// Certificates of the operator's own, and where the others find this node.
    Certificate(config::OwnCertificate, String),
}

impl Proves {
    fn of(config: &Config, advertised: &str, founds: bool) -> Result<Proves, StartError> {
        if let Some(files) = &config.pool.own {
            let advertised = advertised.to_owned();
            return Ok(Proves::Certificate(files.clone(), advertised));
        }
        let secret = config.pool.secret.clone();
        let file = secret.unwrap_or_else(|| config.data.join("pool-secret"));
        Ok(Proves::Secret(Secret::of_file(&file, founds)?))
    }

    /// As node `number`; 0 before it has one.
    fn credentials(&self, number: NodeNumber) -> Result<Credentials, CredentialsError> {
        match self {
            Proves::Secret(secret) => Credentials::of(secret, number),
            Proves::Certificate(files, advertised) => Credentials::of_files(files, advertised),
        }
    }
}

fn in_data(data: &Path) -> impl Fn(io::Error) -> StartError + '_ {
    |why| StartError::Data {
        path: data.to_owned(),
        why,
    }
}

/// Tells this founding of the pool from every other.
fn drawn_lineage() -> Result<u64, StartError> {
    let mut chance = [0; 8];
    getrandom::fill(&mut chance)
        .map_err(|error| StartError::Thread(io::Error::other(error.to_string())))?;
    // 0 is of those who do not know theirs.
    Ok(u64::from_le_bytes(chance).max(1))
}

/// Opens the log. One that is damaged is put away, with the snapshots, if there are others who have what it
/// held: then every replica that was here is set aside (`raft::damage`). A node alone does not start with it.
fn open_log(
    data: &Path,
    options: LogOptions,
    node: Option<NodeNumber>,
    damage: &Damage,
) -> Result<(Log, Recovery), StartError> {
    let (log, snapshots) = (data.join("log"), data.join("snapshots"));
    let error = match Log::open(&log, options) {
        Err(error @ (LogError::Corrupt { .. } | LogError::Gap { .. })) => error,
        opened => return Ok(opened?),
    };
    let map = pool::memory::recall(data);
    let with_others = |map: &PoolMap| map.hosts().iter().any(|other| Some(*other) != node);
    let Some(map) = map.filter(|map| node.is_some() && with_others(map)) else {
        return Err(error.into());
    };
    let shards = map.shards().map(|(shard, _)| GroupId(u32::from(shard) + 1));
    let groups = std::iter::once(GroupId::POOL).chain(shards);
    damage
        .set_aside(groups, &error.to_string())
        .map_err(in_data(data))?;
    for folder in [&log, &snapshots] {
        damage.put_away(folder).map_err(in_data(data))?;
    }
    Ok(Log::open(&log, options)?)
}

/// Starts the group of the pool map; one that was set aside, once its group has let it go.
fn begin_pool_group(
    options: &GroupOptions,
    log: &Log,
    damage: &Arc<Damage>,
    map: Option<&PoolMap>,
    raft: &OwnRuntime,
) -> Result<PoolGroup, StartError> {
    let begin = |options: &GroupOptions| {
        let (options, log) = (options.clone(), log.clone());
        raft.run(async move { PoolGroup::start(&options, &log).await })
    };
    let others: Vec<NodeNumber> = map.map_or_else(Vec::new, |map| {
        let hosts = map.hosts().into_iter();
        hosts.filter(|other| *other != options.node).collect()
    });
    if damage.why(GroupId::POOL).is_none() {
        match begin(options) {
            Err(raft::group::StartError::Snapshot { group, why })
                if why.kind() == io::ErrorKind::InvalidData && !others.is_empty() =>
            {
                let set_aside = damage.set_aside([group], &why.to_string());
                set_aside.map_err(in_data(&options.snapshots))?;
            }
            begun => return Ok(begun?),
        }
    }
    let (heal, told) = (
        hosting::Healer {
            options: options.clone(),
            log: log.clone(),
            damage: Arc::clone(damage),
        },
        others,
    );
    raft.run(async move {
        let mut asked = 0_u32;
        while !heal.heal(GroupId::POOL, &told).await {
            if asked.is_multiple_of(10) {
                tracing::warn!(
                    "the pool map here was damaged and is set aside; waiting for the other nodes to go on without it. \
                     They need a majority of their own for that"
                );
            }
            asked += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    Ok(begin(options)?)
}

/// Asks to be admitted.
fn join(
    config: &Config,
    identity: &IdentityFile,
    record: &Record,
    credentials: Credentials,
    raft: &OwnRuntime,
) -> Result<Joined, StartError> {
    let (seeds, name) = (config.pool.seeds.clone(), config.pool.name.clone());
    let (key, life, record) = (identity.key, identity.life, record.clone());
    let joined =
        raft.run(
            async move { pool::join::join(&seeds, &name, life, key, &record, &credentials).await },
        );
    Ok(joined?)
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
            results_max: self.directory.max_results,
            publication: interval(self.publication),
            subscription: interval(self.subscription),
            registration: interval(self.registration),
            trusted_edges: self.trusted_edges.clone(),
            enhanced: self.enhanced_settings(),
            pidf_publish: self.standard.pidf_publish,
            identities: Arc::new(self.standard.linked.iter().map(identities).collect()),
            profiles: dialect::profile::Profiles::of(&self.profiles),
            blustar_namespace: self.blustar.namespace.as_str().into(),
        }
    }

    /// What the operator decided about enhanced presence.
    fn enhanced_settings(&self) -> dialect::enhanced::Settings {
        let of = &self.enhanced;
        let size = |number: u32| usize::try_from(number).expect("32 bits fit");
        let settings = dialect::enhanced::Settings {
            pool: of.pool.clone(),
            hints: self.pool.hints,
            unregistered: of.unregistered_categories,
            registered: of.registered_categories.clone(),
            publication_bytes: size(of.publication_bytes.0),
            category_bytes: of.category_bytes.0,
            members: of.members.0,
            delegates: of.delegates.0,
            contacts: of.contacts.0,
            resources: size(of.resources.0),
            public_domains: of.public_domains.clone(),
            must_register: of.must_register,
            categories: self.categories,
            watchers: self.watchers,
            abroad: dialect::enhanced::Abroad {
                federated: self.federated_users.clone(),
                public: self.public_users.clone(),
            },
            ..dialect::enhanced::Settings::default()
        };
        match self.contact_store {
            Some(_) => settings.with_contact_store(),
            None => settings,
        }
    }
}

/// A user of the settings, by canonical address.
fn identities(linked: &config::LinkedUser) -> (String, Arc<shard::document::legacy::Linked>) {
    let user = linked.user.trim_start_matches("sip:");
    let (user, host) = user.rsplit_once('@').unwrap_or((user, ""));
    let mut address = String::new();
    shard::slot::write_sip(user, host, &mut address);
    let identities = shard::document::legacy::Linked {
        primary: linked.primary.as_str().into(),
        secondary: linked
            .secondary
            .iter()
            .map(|id| id.as_str().into())
            .collect(),
        cid: linked.cid.as_str().into(),
    };
    (address, Arc::new(identities))
}

/// NTLM is of a time when nobody listened: whoever overhears its handshake can guess the password at home.
fn warn_of_plain_ntlm(config: &Config) {
    let plain = config.listen.iter().find(|listener| {
        listener.protocol == config::Protocol::Tcp && !listener.address.ip().is_loopback()
    });
    if let (true, Some(listener)) = (config.auth.schemes().contains(&config::Scheme::Ntlm), plain) {
        tracing::warn!(%listener, "NTLM belongs inside TLS, and this listener is in clear text");
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
                config::Protocol::Ws => Transport::Ws,
                config::Protocol::Wss => Transport::Wss,
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
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                drop(std::net::TcpListener::bind(wanted.address).map_err(refused)?)
            }
        }
    }
    let mut workers = Vec::new();
    let mut posts = Vec::new();
    for number in 0..worker_count() {
        let user = Arc::clone(shared);
        let websockets = config.websockets.clone();
        let (worker, mailbox) =
            Worker::start(number, &listen, tls.clone(), websockets, move |_| {
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

/// What a scrape asks of the directory.
fn observe_directory(metrics: &Arc<Metrics>, directory: &Arc<Directory>) {
    let directory = Arc::clone(directory);
    metrics.add_source(Box::new(move |samples| {
        let of = directory.samples();
        samples.extend(of.map(|(name, help, value, grows)| Sample {
            name,
            help,
            label: None,
            value,
            grows,
        }));
    }));
}

/// What a scrape asks of the replicas that do not follow.
fn observe_replicas(metrics: &Arc<Metrics>, hosting: &Arc<Hosting>) {
    let hosting = Arc::downgrade(hosting);
    metrics.add_source(Box::new(move |samples| {
        let Some(hosting) = hosting.upgrade() else {
            return;
        };
        let set_aside = hosting.damage.all().len() as u64;
        for (name, help, value, grows) in [
            (
                "replicas_set_aside",
                "Replicas that are damaged and wait until their group has let them go.",
                set_aside,
                false,
            ),
            (
                "replicas_set_aside_since_start",
                "Replicas that were found damaged, or unlike their leader's, since the node started.",
                hosting.damage.count(),
                true,
            ),
        ] {
            samples.push(Sample {
                name,
                help,
                label: None,
                value,
                grows,
            });
        }
        for (shard, group) in hosting.hosted.all() {
            let status = group.status();
            for (name, help, value) in [
                (
                    "replica_lag_entries",
                    "Entries that are committed and not applied by the replica here.",
                    status.lag_entries,
                ),
                (
                    "replica_behind_milliseconds",
                    "How long the replica here has been behind its leader.",
                    status.behind_ms,
                ),
                (
                    "replica_stopped",
                    "Whether the replica here has stopped itself.",
                    u64::from(status.stopped.is_some()),
                ),
            ] {
                samples.push(Sample {
                    name,
                    help,
                    label: Some(("shard", shard.to_string())),
                    value,
                    grows: false,
                });
            }
        }
    }));
}

/// What a scrape asks of those who count for themselves.
fn observe_sources(metrics: &Arc<Metrics>, workers: &[Worker], hosted: &Hosted, log: &Log) {
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
    let hosted = hosted.clone();
    metrics.add_source(Box::new(move |samples| {
        for (number, counts) in inspect::counts(&hosted) {
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
            let Some(group) = hosted.get(number) else {
                continue;
            };
            let counters = group.proposer.counters();
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
