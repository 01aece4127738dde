//! The lines of switchboards: each node subscribes to those of the users whose shards it leads, and publishes what
//! it is told.
//!
//! One thread looks who is led here, one does what is due, and a few publish. NOTIFY requests and answers come from
//! the workers, which find their line by its Call-ID and never wait. What a line does is kept beside what was
//! published of it; whatever differs is published, one publication of a line at a time, so that the last state
//! wins. When a switchboard is silent its lines keep their state for as long as the operator lets it hold.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use shard::machine::outcome::Outcome;
use shard::slot::Slot;
use transport::io::worker::Ended;
use transport::sip::header::MediaType;
use transport::sip::{Name, Request, Response};
use xxhash_rust::xxh3::xxh3_64;

use super::dialog_info::DialogInfo;
use super::line::{Heard, Line, LineState, feed};
use super::numbers::{self, ByUser};
use super::subscription::{Ask, LONG_PAUSE_MS, Moment, Reply, Standing, Subscription, Wants};
use crate::config::Pbx;
use crate::dialect::{Answer, Policy, refusal};
use crate::directory::{Directory, Snapshot};
use crate::egress::outbox::{Asking, Mail, Workers};
use crate::ingress::chance::Chance;
use crate::ingress::clerk::Clerk;
use crate::ingress::route::{Leader, RouteTable};
use crate::ingress::subscriber::Subscriber;
use crate::observe::metrics::{Metrics, Sample};

/// The event package of RFC 4235.
const EVENT: &str = "dialog";
/// Its document.
const DIALOG_INFO: &str = "application/dialog-info+xml";

/// Publications at once: each waits for its log entry, some milliseconds.
const PUBLISHERS: usize = 2;

/// How often is looked who leads what, and who is a user.
const TICK: Duration = Duration::from_millis(500);

/// Milliseconds that the first subscriptions of a line each are spread over: 500 a second, so that a node that
/// comes to lead does not fall upon a switchboard.
const SPREAD_MS: u64 = 2;

/// How soon a publication that failed is tried again.
const AGAIN_MS: u64 = 1_000;

/// How long the host of a switchboard is not asked for again.
const NAME_S: u64 = 60;

/// How long a node that stops waits for the ends of its subscriptions.
const FAREWELL: Duration = Duration::from_secs(1);

/// A handle to the lines; its threads end with [`Lines::stop`] or [`Lines::take_leave`].
#[derive(Clone)]
pub struct Lines(Arc<Inner>);

struct Inner {
    switchboards: Vec<Switchboard>,
    directory: Option<Arc<Directory>>,
    routes: Arc<RouteTable>,
    clerk: Arc<Clerk>,
    workers: Workers,
    policy: Policy,
    began: Instant,
    counters: Counters,
    table: Mutex<Table>,
    /// Rung when a time has changed.
    due: Condvar,
    /// Rung when something is to be published.
    publish: Condvar,
    stopping: AtomicBool,
    /// Whether all subscriptions begin anew: those that were refused, too.
    renewed: AtomicBool,
}

struct Switchboard {
    settings: Pbx,
    /// Of the name that it asks for.
    password: RwLock<Option<String>>,
    /// Its users, where a file has them.
    users: RwLock<Option<Arc<ByUser>>>,
    /// Where its host is, once that is known.
    peer: OnceLock<SocketAddr>,
    found: RwLock<Option<SocketAddr>>,
    /// Until when the password is not shown any more, because it was refused: for one line, so for all.
    silent_until: AtomicU64,
}

#[derive(Debug, Default)]
struct Counters {
    subscribes: AtomicU64,
    notifies: AtomicU64,
    unknown: AtomicU64,
    bad_documents: AtomicU64,
    published: AtomicU64,
    failures: AtomicU64,
}

/// Whose line, at which switchboard, and its number.
type Key = (String, usize, String);

#[derive(Default)]
struct Table {
    watches: BTreeMap<u64, Watch>,
    by_key: BTreeMap<Key, u64>,
    by_call: HashMap<String, u64>,
    due: BTreeSet<(u64, u64)>,
    /// Whose state is to be published.
    queue: VecDeque<u64>,
    next: u64,
    chance: Chance,
}

/// A line that is watched.
struct Watch {
    key: Key,
    source: String,
    subscription: Subscription,
    line: Line,
    /// What was published, and until when it lives.
    said: Option<(LineState, u64)>,
    /// Whether what this node has published, if anything, is not known to be what the line does.
    fresh: bool,
    /// Whether it is in the queue, or published just now.
    queued: bool,
    /// When it is published again, after a failure.
    again: Option<u64>,
    /// Its place in `due`, and its name in `by_call`.
    planned: Option<u64>,
    call: Option<String>,
    /// Whether this node does not look after it any more.
    left: bool,
    /// Whether the user has no such line any more: what was said of it is removed.
    removed: bool,
}

impl Watch {
    /// Takes a document; where some before it were missed, the whole is asked for.
    fn hear(&mut self, document: DialogInfo, moment: &Moment<'_>) {
        if self.line.hear(document, moment.now) == Heard::Gap {
            self.subscription.hurry(moment);
        }
    }

    /// What is to be said: nothing, or what it does and until when.
    fn statement(&self, hold_ms: u64, now: u64) -> Option<Option<(LineState, u64)>> {
        if self.removed || self.subscription.standing() == Standing::Refused {
            return Some(None);
        }
        if self.left || !self.line.is_known() && self.said.is_none() {
            return None;
        }
        let until = self.subscription.told_until().max(now) + hold_ms;
        Some(Some((self.line.state(), until)))
    }

    /// Whether that has to be published.
    fn differs(&self, hold_ms: u64, now: u64) -> bool {
        let Some(statement) = self.statement(hold_ms, now) else {
            return false;
        };
        // What a silent switchboard said last is not said again.
        let current = self.line.is_known() && self.subscription.told_until() > now;
        match (statement, self.said) {
            (Some((state, until)), Some((said, lives))) => {
                self.fresh && current || state != said || current && until > lives + hold_ms / 2
            }
            (Some(_), None) => current,
            (None, said) => said.is_some() || self.fresh,
        }
    }
}

impl Lines {
    /// Reads the files that the settings name; nothing begins before [`Lines::start`].
    ///
    /// # Errors
    /// What is wrong with them, in a sentence.
    pub fn new(
        settings: &[Pbx],
        directory: Option<Arc<Directory>>,
        routes: Arc<RouteTable>,
        clerk: Arc<Clerk>,
        workers: Workers,
        policy: Policy,
    ) -> Result<Lines, String> {
        let mut switchboards = Vec::new();
        for pbx in settings {
            if pbx.users.is_none() && directory.is_none() {
                let name = &pbx.name;
                return Err(format!(
                    "pbx {name:?} names no file of users, and there is no directory to know their numbers by"
                ));
            }
            switchboards.push(Switchboard {
                password: RwLock::new(pbx.password()?),
                users: RwLock::new(pbx.read_users()?.map(Arc::new)),
                peer: OnceLock::new(),
                found: RwLock::new(None),
                silent_until: AtomicU64::new(0),
                settings: pbx.clone(),
            });
        }
        Ok(Lines(Arc::new(Inner {
            switchboards,
            directory,
            routes,
            clerk,
            workers,
            policy,
            began: Instant::now(),
            counters: Counters::default(),
            table: Mutex::default(),
            due: Condvar::new(),
            publish: Condvar::new(),
            stopping: AtomicBool::new(false),
            renewed: AtomicBool::new(false),
        })))
    }

    /// Begins.
    ///
    /// # Errors
    /// When the system refuses a thread, in a sentence.
    pub fn start(&self) -> Result<(), String> {
        let run = |name: String, run: Box<dyn FnOnce(&Inner) + Send>| {
            let inner = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name(name);
            let thread = thread.spawn(move || run(&inner));
            thread
                .map(drop)
                .map_err(|why| format!("the system refuses a thread: {why}"))
        };
        for switchboard in &self.0.switchboards {
            if let Some(address) = switchboard.settings.literal() {
                let _ = switchboard.peer.set(address);
            }
        }
        if self
            .0
            .switchboards
            .iter()
            .any(|pbx| pbx.peer.get().is_none())
        {
            run("pbx-names".to_owned(), Box::new(Inner::find_hosts))?;
        }
        run("pbx-look".to_owned(), Box::new(Inner::look_around))?;
        run("pbx".to_owned(), Box::new(Inner::keep_time))?;
        for number in 0..PUBLISHERS {
            run(format!("pbx-{number}"), Box::new(Inner::publish_each))?;
        }
        Ok(())
    }

    /// Who is told of what comes for these subscriptions.
    #[must_use]
    pub fn subscriber(&self) -> Arc<dyn Subscriber> {
        Arc::<Inner>::clone(&self.0)
    }

    /// Reads the files again, and tries what was refused. What is bad stays as it was.
    pub fn reload(&self) {
        for switchboard in &self.0.switchboards {
            let name = &switchboard.settings.name;
            match switchboard.settings.password() {
                Ok(read) => {
                    *write(&switchboard.password) = read;
                    switchboard.silent_until.store(0, Relaxed);
                }
                Err(error) => tracing::error!(%error, name, "the password stays as it was"),
            }
            match switchboard.settings.read_users() {
                Ok(read) => *write(&switchboard.users) = read.map(Arc::new),
                Err(error) => tracing::error!(%error, name, "the lines stay as they were"),
            }
        }
        self.0.renewed.store(true, Relaxed);
    }

    /// Ends the threads when each has done what it is at.
    pub fn stop(&self) {
        self.0.stopping.store(true, Relaxed);
        self.0.due.notify_all();
        self.0.publish.notify_all();
    }

    /// The same, and ends all subscriptions; waits a moment for the answers. What was published stays, for who leads
    /// next.
    pub fn take_leave(&self) {
        self.stop();
        {
            let mut table = self.0.table();
            let all: Vec<u64> = table.watches.keys().copied().collect();
            for id in all {
                self.0.leave(&mut table, id, false);
            }
        }
        let until = Instant::now() + FAREWELL;
        let waits = |table: &Table| {
            let mut watches = table.watches.values();
            watches.any(|watch| {
                watch.subscription.standing() == Standing::Over && watch.subscription.is_asking()
            })
        };
        while Instant::now() < until && waits(&self.0.table()) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Adds what is counted to what a scrape shows.
    pub fn observe(&self, metrics: &Metrics) {
        let inner = Arc::clone(&self.0);
        metrics.add_source(Box::new(move |samples| {
            let mut standing = [0_u64; 4];
            for watch in inner.table().watches.values() {
                let place = match watch.subscription.standing() {
                    Standing::Active => 0,
                    Standing::Asking => 1,
                    Standing::Resting => 2,
                    Standing::Refused => 3,
                    Standing::Over => continue,
                };
                standing[place] += 1;
            }
            for (state, value) in ["active", "asking", "resting", "refused"].into_iter().zip(standing) {
                samples.push(Sample {
                    name: "pbx_subscriptions",
                    help: "Subscriptions to lines of switchboards that this node holds, by how they are.",
                    label: Some(("state", state.to_owned())),
                    value,
                    grows: false,
                });
            }
            let counters = &inner.counters;
            for (name, help, counter) in [
                ("pbx_subscribes", "SUBSCRIBE requests sent to switchboards.", &counters.subscribes),
                ("pbx_notifies", "NOTIFY requests of switchboards that were taken.", &counters.notifies),
                ("pbx_unknown_dialogs", "NOTIFY requests in dialogs that are none of ours.", &counters.unknown),
                ("pbx_bad_documents", "Documents of switchboards that cannot be read.", &counters.bad_documents),
                ("pbx_publications", "Times that the state of a line was published.", &counters.published),
                ("pbx_publication_failures", "Publications of lines that failed.", &counters.failures),
            ] {
                samples.push(Sample {
                    name,
                    help,
                    label: None,
                    value: counter.load(Relaxed),
                    grows: true,
                });
            }
        }));
    }
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn read<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Pbx {
    fn password(&self) -> Result<Option<String>, String> {
        let Some((_, file)) = &self.login else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|why| format!("{}: {why}", file.display()))?;
        match text.lines().next() {
            Some(password) if !password.is_empty() => Ok(Some(password.to_owned())),
            _ => Err(format!(
                "{}: expected a password in its first line",
                file.display()
            )),
        }
    }

    fn read_users(&self) -> Result<Option<ByUser>, String> {
        self.users.as_deref().map(numbers::read).transpose()
    }

    /// Its address, where its host is one.
    fn literal(&self) -> Option<SocketAddr> {
        let host = self.host.parse().ok()?;
        Some(SocketAddr::new(host, self.port))
    }
}

/// What decides which lines are watched; compared to see whether it changed.
#[derive(Default)]
struct Seen {
    routes: u64,
    led: Vec<bool>,
    directory: Option<Arc<Snapshot>>,
    users: Vec<Option<Arc<ByUser>>>,
}

impl Seen {
    fn is_like(&self, other: &Seen) -> bool {
        fn same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
            match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                _ => false,
            }
        }
        let pairs = self.users.iter().zip(&other.users);
        same(&self.directory, &other.directory)
            && self.routes == other.routes
            && self.led == other.led
            && self.users.len() == other.users.len()
            && pairs.into_iter().all(|(one, other)| same(one, other))
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        // Never zero: that is before anything was told.
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
    }

    /// Finds where the hosts of switchboards are, again and again.
    fn find_hosts(&self) {
        while !self.stopping.load(Relaxed) {
            let mut wait_s = NAME_S;
            for switchboard in self
                .switchboards
                .iter()
                .filter(|pbx| pbx.peer.get().is_none())
            {
                let (host, port) = (&switchboard.settings.host, switchboard.settings.port);
                match (host.as_str(), port)
                    .to_socket_addrs()
                    .map(|mut found| found.next())
                {
                    Ok(Some(address)) => *write(&switchboard.found) = Some(address),
                    other => {
                        // Where it was found last it may still be.
                        tracing::warn!(host, ?other, "the host of a switchboard is not found");
                        wait_s = 5;
                    }
                }
            }
            for _ in 0..wait_s * 2 {
                if self.stopping.load(Relaxed) {
                    return;
                }
                std::thread::sleep(TICK);
            }
        }
    }

    /// Follows who leads what, and who has which lines.
    fn look_around(&self) {
        let mut before = None;
        while !self.stopping.load(Relaxed) {
            let routes = self.routes.current();
            let led = |shard: usize| matches!(routes.leader(shard), Leader::Here(_));
            let now = Seen {
                routes: self.routes.version(),
                led: (0..routes.count()).map(led).collect(),
                directory: self
                    .directory
                    .as_ref()
                    .map(|directory| directory.snapshot()),
                users: self
                    .switchboards
                    .iter()
                    .map(|pbx| read(&pbx.users))
                    .collect(),
            };
            if before.as_ref().is_none_or(|before| !now.is_like(before)) {
                self.look_after(&now);
                before = Some(now);
            }
            if self.renewed.swap(false, Relaxed) {
                self.begin_anew();
            }
            std::thread::sleep(TICK);
        }
    }

    /// Watches the lines of users whose shards are led here, and no others.
    fn look_after(&self, seen: &Seen) {
        let routes = self.routes.current();
        let is_led = |address: &str| {
            let shard = routes.shard_of(Slot::of(address));
            seen.led.get(shard).copied().unwrap_or(false)
        };
        let mut wanted: BTreeMap<Key, String> = BTreeMap::new();
        for (place, switchboard) in self.switchboards.iter().enumerate() {
            let file = seen.users.get(place).and_then(Option::as_deref);
            let lines =
                numbers::lines(&switchboard.settings, file, seen.directory.as_ref(), is_led);
            for (address, number, uri) in lines {
                wanted.insert((address, place, number), uri);
            }
        }
        let now = self.now();
        let spread_ms = SPREAD_MS * wanted.len() as u64 + 1;
        let mut table = self.table();
        if self.stopping.load(Relaxed) {
            return;
        }
        let gone: Vec<(u64, bool)> = table
            .by_key
            .iter()
            .filter(|(key, _)| !wanted.contains_key(key))
            .map(|(key, id)| (*id, is_led(&key.0)))
            .collect();
        for (id, led) in gone {
            self.leave(&mut table, id, led);
        }
        for (key, uri) in wanted {
            if table.by_key.contains_key(&key) {
                continue;
            }
            let pbx = &self.switchboards[key.1].settings;
            table.next += 1;
            let id = table.next;
            let hash = xxh3_64(format!("{} {}", pbx.name, key.2).as_bytes());
            let wants = Wants {
                uri,
                from: pbx.from.clone(),
                event: EVENT,
                accept: DIALOG_INFO,
                expires_s: pbx.expires_s,
            };
            let watch = Watch {
                source: format!("pbx.{}.{hash:016x}", pbx.name),
                subscription: Subscription::new(wants, now + hash % spread_ms),
                line: Line::default(),
                said: None,
                fresh: true,
                queued: false,
                again: None,
                planned: None,
                call: None,
                left: false,
                removed: false,
                key: key.clone(),
            };
            table.by_key.insert(key, id);
            table.watches.insert(id, watch);
            self.settle(&mut table, id);
        }
        drop(table);
        self.due.notify_all();
    }

    /// Tries what was refused once more.
    fn begin_anew(&self) {
        let now = self.now();
        let mut table = self.table();
        let refused: Vec<u64> = table
            .watches
            .iter_mut()
            .filter_map(|(id, watch)| {
                let at = now + id * SPREAD_MS % LONG_PAUSE_MS;
                watch.subscription.reconsider(at).then_some(*id)
            })
            .collect();
        for id in refused {
            self.settle(&mut table, id);
        }
        drop(table);
        self.due.notify_all();
    }

    /// Looks after a line no more: another node does, or nobody if it is `removed`.
    fn leave(&self, table: &mut Table, id: u64, removed: bool) {
        let Some(watch) = table.watches.get(&id) else {
            return;
        };
        let key = watch.key.clone();
        if table.by_key.get(&key) == Some(&id) {
            table.by_key.remove(&key);
        }
        self.with(table, id, |watch, moment| {
            watch.left = true;
            watch.removed = removed;
            watch.subscription.end(moment)
        });
    }

    /// Lets something happen to a line: sends what it then asks for, and plans what follows.
    fn with(
        &self,
        table: &mut Table,
        id: u64,
        act: impl FnOnce(&mut Watch, &mut Moment<'_>) -> Option<Ask>,
    ) {
        let chance = table.chance.draw();
        let Some(watch) = table.watches.get_mut(&id) else {
            return;
        };
        let switchboard = &self.switchboards[watch.key.1];
        let password = read(&switchboard.password);
        let name = switchboard
            .settings
            .login
            .as_ref()
            .map(|(name, _)| name.as_str());
        let now = self.now();
        let silent_until = switchboard.silent_until.load(Relaxed);
        if silent_until > now {
            watch
                .subscription
                .postpone(silent_until + id * SPREAD_MS % LONG_PAUSE_MS);
        }
        let mut moment = Moment {
            now,
            chance,
            login: name
                .zip(password.as_deref())
                .filter(|_| silent_until <= now),
        };
        let ask = act(watch, &mut moment);
        if watch.subscription.has_misfit() && silent_until <= now {
            let name = &switchboard.settings.name;
            tracing::error!(
                name,
                "the switchboard refuses our password; it is not shown again for ten minutes, or before a reload"
            );
            switchboard.silent_until.store(now + LONG_PAUSE_MS, Relaxed);
        }
        if let Some(ask) = ask {
            self.send(switchboard, id, ask, watch, &mut moment);
        }
        self.settle(table, id);
    }

    /// Hands a request to a worker.
    fn send(
        &self,
        switchboard: &Switchboard,
        id: u64,
        ask: Ask,
        watch: &mut Watch,
        moment: &mut Moment<'_>,
    ) {
        let peer = switchboard.peer.get().copied();
        let number = ask.number;
        let sent = peer
            .or_else(|| read(&switchboard.found))
            .is_some_and(|peer| {
                let asking = Asking {
                    whose: (id, ask.number),
                    transport: switchboard.settings.transport,
                    peer,
                    method: "SUBSCRIBE",
                    cseq: ask.cseq,
                    call_id: ask.call_id,
                    local: ask.local,
                    remote: ask.remote,
                    target: ask.target,
                    route_set: ask.route_set,
                    lines: ask.lines,
                };
                self.counters.subscribes.fetch_add(1, Relaxed);
                self.workers
                    .pass(self.worker_of(id), Mail::Ask(Box::new(asking)))
            });
        if !sent {
            // As if nobody had answered: it is tried again after a while.
            watch.subscription.answered(number, None, moment);
        }
    }

    fn worker_of(&self, id: u64) -> usize {
        (id % self.workers.count() as u64) as usize
    }

    /// Plans what is due next of a line, and has published what differs.
    fn settle(&self, table: &mut Table, id: u64) {
        let now = self.now();
        let Some(watch) = table.watches.get_mut(&id) else {
            return;
        };
        let hold_ms = 1_000 * u64::from(self.switchboards[watch.key.1].settings.hold_s);
        let call = watch.subscription.call_id();
        if call != watch.call.as_deref() {
            if let Some(old) = watch.call.take()
                && table.by_call.get(&old) == Some(&id)
            {
                table.by_call.remove(&old);
            }
            if let Some(call) = call {
                watch.call = Some(call.to_owned());
                table.by_call.insert(call.to_owned(), id);
            }
        }
        let resting = watch.again.is_some_and(|again| again > now);
        if !watch.queued && !resting && watch.differs(hold_ms, now) {
            watch.queued = true;
            watch.again = None;
            table.queue.push_back(id);
            self.publish.notify_one();
        }
        let next = [watch.subscription.next(), watch.again]
            .into_iter()
            .flatten()
            .min();
        if let Some(planned) = watch.planned.take() {
            table.due.remove(&(planned, id));
        }
        let done = watch.subscription.is_gone() && !watch.queued && watch.again.is_none();
        if watch.left && done {
            table.watches.remove(&id);
            return;
        }
        if let Some(next) = next {
            let first = table.due.first().map(|(at, _)| *at);
            watch.planned = Some(next);
            table.due.insert((next, id));
            if first.is_none_or(|first| next < first) {
                self.due.notify_all();
            }
        }
    }

    /// Does what is due, when it is.
    fn keep_time(&self) {
        let mut table = self.table();
        // The farewells are sent by then; nothing new is begun.
        while !self.stopping.load(Relaxed) {
            let now = self.now();
            match table.due.first().copied() {
                Some((at, id)) if at <= now => {
                    table.due.remove(&(at, id));
                    if let Some(watch) = table.watches.get_mut(&id) {
                        watch.planned = None;
                        if watch.again.is_some_and(|again| again <= now) {
                            watch.again = None;
                        }
                    }
                    self.with(&mut table, id, |watch, moment| {
                        watch.subscription.due(moment)
                    });
                }
                first => {
                    let wait = first.map_or(TICK, |(at, _)| Duration::from_millis(at - now));
                    let waited = self.due.wait_timeout(table, wait.min(TICK));
                    table = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Publishes what the queue has, one after the other.
    fn publish_each(&self) {
        let mut table = self.table();
        while !self.stopping.load(Relaxed) {
            let Some(id) = table.queue.pop_front() else {
                let waited = self.publish.wait_timeout(table, TICK);
                table = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            };
            let now = self.now();
            let Some(watch) = table.watches.get(&id) else {
                continue;
            };
            let (address, place, number) = watch.key.clone();
            let source = watch.source.clone();
            let hold_ms = 1_000 * u64::from(self.switchboards[place].settings.hold_s);
            let statement = watch.statement(hold_ms, now);
            drop(table);
            let done = statement.map(|said| self.say(&address, &source, &number, said, now));
            table = self.table();
            if let Some(watch) = table.watches.get_mut(&id) {
                watch.queued = false;
                match done {
                    Some(Ok(())) => {
                        watch.said = statement.flatten();
                        watch.fresh = false;
                    }
                    Some(Err(trouble)) => {
                        self.counters.failures.fetch_add(1, Relaxed);
                        tracing::debug!(presentity = address, trouble, "a line is not published");
                        // Who leads next says it.
                        let led = self.leads(&address);
                        watch.again = (!watch.left || led).then(|| self.now() + AGAIN_MS);
                    }
                    None => {}
                }
            }
            self.settle(&mut table, id);
        }
    }

    fn leads(&self, address: &str) -> bool {
        let routes = self.routes.current();
        let shard = routes.shard_of(Slot::of(address));
        matches!(routes.leader(shard), Leader::Here(_))
    }

    /// Publishes what a line does; blocks.
    fn say(
        &self,
        address: &str,
        source: &str,
        number: &str,
        said: Option<(LineState, u64)>,
        now: u64,
    ) -> Result<(), String> {
        if !self.leads(address) {
            return Err("another node leads the shard".to_owned());
        }
        let said = said.map(|(state, until)| {
            let left_s = until.saturating_sub(now).div_ceil(1_000).max(1);
            (state, u32::try_from(left_s).unwrap_or(u32::MAX))
        });
        let feed = feed(address, source, number, said);
        let (slot, grace) = (feed.slot(), feed.grace());
        let told = feed.perform(&self.policy, |command| {
            self.clerk.perform(slot, grace, command)
        });
        match told.map_err(|error| error.to_string())?.0 {
            Outcome::Published { .. } => {
                self.counters.published.fetch_add(1, Relaxed);
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    }
}

impl Subscriber for Inner {
    fn notified(&self, request: &Request) -> Option<Answer> {
        // What is read of the body is read before anybody waits for the table.
        let body = request.body();
        let media = request.header(Name::ContentType).map(MediaType::parse);
        let named = media.is_some_and(|media| media.essence.eq_ignore_ascii_case(DIALOG_INFO));
        {
            let table = self.table();
            if !table.by_call.contains_key(request.call_id()) {
                // A NOTIFY of somebody else's subscription, or of one that is over, is told so where all are.
                if request.to_tag().is_some() {
                    self.counters.unknown.fetch_add(1, Relaxed);
                }
                return None;
            }
        }
        if !body.is_empty() && !named {
            let answer = Answer::of(refusal::UNSUPPORTED_TYPE);
            return Some(answer.with("Accept", DIALOG_INFO));
        }
        let document = (!body.is_empty()).then(|| DialogInfo::read(body));
        let mut table = self.table();
        let id = table.by_call.get(request.call_id()).copied()?;
        let mut reply = Reply::NoDialog;
        self.with(&mut table, id, |watch, moment| {
            reply = watch.subscription.notified(request, moment);
            let Reply::Taken { begins, tells } = reply else {
                return None;
            };
            self.counters.notifies.fetch_add(1, Relaxed);
            if begins {
                watch.line.begin();
                watch.fresh = true;
            }
            match document {
                None if tells => watch.line.hear_nothing(moment.now),
                None => {}
                Some(Ok(document)) => watch.hear(document, moment),
                Some(Err(error)) => {
                    self.counters.bad_documents.fetch_add(1, Relaxed);
                    tracing::warn!(
                        presentity = watch.key.0,
                        error,
                        "a switchboard's document is left out"
                    );
                }
            }
            if watch.subscription.standing() == Standing::Refused {
                let (presentity, _, number) = &watch.key;
                tracing::warn!(
                    presentity,
                    number,
                    "the switchboard knows no such line; not asked again before a reload"
                );
            }
            None
        });
        //= RFC 6665 4.1.3
        //# a NOTIFY is answered at once: 200, or why it is of no use
        Some(match reply {
            Reply::Taken { .. } => Answer::of(refusal::OK),
            Reply::NoState => Answer::of(refusal::NO_SUBSCRIPTION_STATE),
            Reply::NoDialog => {
                self.counters.unknown.fetch_add(1, Relaxed);
                Answer::of(refusal::NO_DIALOG)
            }
            Reply::OtherEvent => Answer::of(refusal::BAD_EVENT).with("Allow-Events", EVENT),
            Reply::Late => Answer::of(refusal::OUT_OF_ORDER),
        })
    }

    fn ended(&self, (id, number): (u64, u32), ended: Ended) {
        let mut table = self.table();
        self.with(&mut table, id, |watch, moment| {
            let response = match &ended {
                Ended::Response(response) => Some(&**response),
                Ended::Timeout | Ended::Unreachable | Ended::Replaced => None,
            };
            let ask = watch.subscription.answered(number, response, moment);
            let status = response.map(|response| response.status().number());
            if !status.is_some_and(|status| (200..300).contains(&status)) && ask.is_none() {
                let (presentity, _, line) = &watch.key;
                tracing::info!(
                    presentity,
                    line,
                    ?status,
                    "a subscription to a line is tried again later"
                );
            }
            ask
        });
    }

    fn sender_of(&self, response: &Response) -> Option<usize> {
        let table = self.table();
        let id = table.by_call.get(response.call_id())?;
        Some(self.worker_of(*id))
    }
}
