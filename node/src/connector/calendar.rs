//! The calendar connector: reads what is taken of each user's time, and publishes it.
//!
//! Each node looks after the users whose shards it leads. A user has a turn when it is time to read the calendar
//! again, when a meeting begins or ends, and when what was published wants to be kept alive. What is the same is
//! not published again. A server that does not answer leaves what was read in force for as long as the operator
//! lets it hold; then it ends by itself, in the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use shard::machine::outcome::Outcome;
use shard::runner::Job;
use shard::slot::Slot;
use xxhash_rust::xxh3::xxh3_64;

use super::busy::{Busy, Saying};
use super::caldav::{Access, CalendarError, Server};
use crate::config::Calendar as Settings;
use crate::contact_store::credentials::{Credentials, Spelling, filled};
use crate::contact_store::dav::Client;
use crate::dialect::Policy;
use crate::directory::{Directory, Snapshot};
use crate::ingress::clerk::{Clerk, NoOutcome};
use crate::ingress::route::{Leader, RouteTable};
use crate::observe::metrics::{Metrics, Sample};

/// Calendars read at once: each is a connection, and the server is shared with people. At 5 ms each these are
/// 800 a second, enough for 100,000 users every three minutes.
const THREADS: usize = 4;

/// How often the connector looks who leads what, and who is a user.
const TICK: Duration = Duration::from_millis(500);

/// Milliseconds that the first turns of a user each are spread over, so that a node that comes to lead does not
/// ask for everybody at once.
const SPREAD_MS: u64 = 5;

/// How long a shard thread is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

const DAY_S: i64 = 86_400;

/// A handle to the connector; its threads end with [`Calendars::stop`].
#[derive(Clone)]
pub struct Calendars(Arc<Inner>);

struct Inner {
    settings: Settings,
    server: Server,
    credentials: RwLock<Arc<Credentials>>,
    directory: Option<Arc<Directory>>,
    routes: Arc<RouteTable>,
    clerk: Arc<Clerk>,
    policy: Policy,
    counters: Counters,
    schedule: Mutex<Schedule>,
    due: Condvar,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Counters {
    reads: AtomicU64,
    failures: AtomicU64,
    published: AtomicU64,
}

/// Why a turn came to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    #[error("there is no login for this user")]
    NoLogin,
    #[error(transparent)]
    Shard(#[from] NoOutcome),
    #[error("the shard refuses it: {0}")]
    Refused(String),
    #[error("another node leads the shard")]
    NotLeading,
}

/// Who is looked after when.
#[derive(Default)]
struct Schedule {
    users: BTreeMap<String, User>,
    due: BTreeSet<(Instant, String)>,
}

/// A user of a shard that this node leads.
struct User {
    /// When the next turn is; none while one is under way.
    at: Option<Instant>,
    memory: Memory,
}

/// What is remembered of a user between turns. Who leads next begins without.
#[derive(Default)]
struct Memory {
    busy: Busy,
    /// When the calendar was last read, in seconds since 1970.
    read_at: Option<i64>,
    /// When it is to be read next.
    next_read: i64,
    failures: u32,
    said: Option<Said>,
}

/// What was published last.
struct Said {
    saying: Saying,
    /// Whether containers ruled what is seen.
    claimed: bool,
    /// When it is to be published again though nothing changed.
    again_at: i64,
}

impl Schedule {
    fn plan(&mut self, address: &str, at: Instant) {
        if let Some(user) = self.users.get_mut(address) {
            if let Some(known) = user.at.replace(at) {
                self.due.remove(&(known, address.to_owned()));
            }
            self.due.insert((at, address.to_owned()));
        }
    }

    /// Looks after these and nobody else.
    fn keep(&mut self, wanted: &BTreeSet<&str>, first: impl Fn(&str) -> Instant) {
        self.users.retain(|address, user| {
            let stays = wanted.contains(address.as_str());
            if let (false, Some(at)) = (stays, user.at) {
                self.due.remove(&(at, address.clone()));
            }
            stays
        });
        for address in wanted {
            if !self.users.contains_key(*address) {
                let user = User {
                    at: None,
                    memory: Memory::default(),
                };
                self.users.insert((*address).to_owned(), user);
                self.plan(address, first(address));
            }
        }
    }

    /// The next whose time has come, with what is remembered.
    fn take(&mut self, now: Instant) -> Option<(String, Memory)> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, address) = self.due.pop_first()?;
        let user = self.users.get_mut(&address)?;
        user.at = None;
        Some((address, std::mem::take(&mut user.memory)))
    }

    /// A turn is over. Who is not looked after any more is forgotten.
    fn turned(&mut self, address: &str, memory: Memory, next: Instant) {
        if let Some(user) = self.users.get_mut(address)
            && user.at.is_none()
        {
            user.memory = memory;
            self.plan(address, next);
        }
    }
}

impl Memory {
    /// When the next turn is, if this one was at `now`.
    fn next_turn(&self, now: i64) -> i64 {
        let midnight = (now.div_euclid(DAY_S) + 1) * DAY_S;
        let again = self.said.as_ref().map(|said| said.again_at);
        let times = [Some(self.next_read), self.busy.next_change(now), again];
        let next = times.into_iter().flatten().min().unwrap_or(midnight);
        next.min(midnight).max(now + 1)
    }
}

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

impl Calendars {
    /// Starts the connector.
    ///
    /// # Errors
    /// What is wrong with the files that the settings name, in a sentence.
    pub fn start(
        settings: &Settings,
        directory: Option<Arc<Directory>>,
        routes: Arc<RouteTable>,
        clerk: Arc<Clerk>,
        policy: Policy,
    ) -> Result<Calendars, String> {
        let credentials = Credentials::read(&settings.credentials)?;
        if directory.is_none() && credentials.addresses().next().is_none() {
            return Err(format!(
                "{}: no user is named, and there is no directory to know them by",
                settings.credentials.display()
            ));
        }
        let authorities = match &settings.authorities {
            Some(path) => {
                Some(std::fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?)
            }
            None => None,
        };
        let zone = TimeZone::get(&settings.time_zone).map_err(|why| why.to_string())?;
        let inner = Arc::new(Inner {
            settings: settings.clone(),
            server: Server {
                client: Client::new(authorities.as_deref())?,
                report: settings.report,
                zone,
                expands: AtomicBool::new(false),
            },
            credentials: RwLock::new(Arc::new(credentials)),
            directory,
            routes,
            clerk,
            policy,
            counters: Counters::default(),
            schedule: Mutex::default(),
            due: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let looking = Arc::clone(&inner);
        thread("calendar".to_owned(), move || looking.look_around())?;
        for number in 0..THREADS {
            let working = Arc::clone(&inner);
            thread(format!("calendar-{number}"), move || working.work())?;
        }
        Ok(Calendars(inner))
    }

    /// Reads the logins again. What is bad stays as it was.
    pub fn reload(&self) {
        match Credentials::read(&self.0.settings.credentials) {
            Ok(read) => {
                let credentials = self.0.credentials.write();
                *credentials.unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
            }
            Err(error) => tracing::error!(%error, "the logins of calendars stay as they were"),
        }
    }

    /// Ends the threads when each has done what it is at.
    pub fn stop(&self) {
        self.0.stopping.store(true, Relaxed);
        self.0.due.notify_all();
    }

    /// Adds what is counted to what a scrape shows.
    pub fn observe(&self, metrics: &Metrics) {
        let inner = Arc::clone(&self.0);
        metrics.add_source(Box::new(move |samples| {
            let counters = &inner.counters;
            let (users, failing) = {
                let schedule = inner.schedule();
                let failing = schedule.users.values();
                let failing = failing.filter(|user| user.memory.failures > 0).count();
                (schedule.users.len() as u64, failing as u64)
            };
            let read = |counter: &AtomicU64| counter.load(Relaxed);
            for (name, help, value, grows) in [
                (
                    "calendar_reads",
                    "Calendars read.",
                    read(&counters.reads),
                    true,
                ),
                (
                    "calendar_read_failures",
                    "Turns of calendars that failed.",
                    read(&counters.failures),
                    true,
                ),
                (
                    "calendar_publications",
                    "Times that something of a calendar was published.",
                    read(&counters.published),
                    true,
                ),
                (
                    "calendar_users",
                    "Users whose calendars this node reads.",
                    users,
                    false,
                ),
                (
                    "calendar_failing",
                    "Users whose last turn failed.",
                    failing,
                    false,
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
        }));
    }
}

fn thread(name: String, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = std::thread::Builder::new().name(name).spawn(run);
    thread
        .map(drop)
        .map_err(|why| format!("the system refuses a thread: {why}"))
}

/// What decides who is looked after; compared to see whether it changed.
#[derive(Default)]
struct Seen {
    routes: u64,
    led: Vec<bool>,
    directory: Option<Arc<Snapshot>>,
    credentials: Arc<Credentials>,
}

impl Inner {
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(
            &self
                .credentials
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Follows who leads what, and who is a user.
    fn look_around(&self) {
        let mut before = Seen::default();
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
                credentials: self.credentials(),
            };
            let same_directory = match (&before.directory, &now.directory) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                _ => false,
            };
            let same = same_directory
                && before.routes == now.routes
                && before.led == now.led
                && Arc::ptr_eq(&before.credentials, &now.credentials);
            if !same {
                self.look_after(&now);
                before = now;
            }
            std::thread::sleep(TICK);
        }
    }

    /// Plans a turn for each user of the shards that are led here.
    fn look_after(&self, seen: &Seen) {
        let routes = self.routes.current();
        let ours = |address: &&str| {
            let shard = routes.shard_of(Slot::of(address));
            seen.led.get(shard).copied().unwrap_or(false)
        };
        // A directory knows who is a user; without one those are who have a login of their own.
        let opens = |address: &&str| seen.credentials.of(address).is_some();
        let wanted: BTreeSet<&str> = match &seen.directory {
            Some(directory) => directory.addresses().filter(ours).filter(opens).collect(),
            None => seen.credentials.addresses().filter(ours).collect(),
        };
        let now = Instant::now();
        let spread_ms = SPREAD_MS * wanted.len() as u64 + 1;
        let first =
            |address: &str| now + Duration::from_millis(xxh3_64(address.as_bytes()) % spread_ms);
        self.schedule().keep(&wanted, first);
        self.due.notify_all();
    }

    /// Gives one user after the other a turn.
    fn work(&self) {
        while !self.stopping.load(Relaxed) {
            let mut schedule = self.schedule();
            let Some((address, mut memory)) = schedule.take(Instant::now()) else {
                let waited = self.due.wait_timeout(schedule, TICK / 4);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                continue;
            };
            drop(schedule);
            let next = self.turn(&address, &mut memory);
            self.schedule()
                .turned(&address, memory, Instant::now() + next);
        }
    }

    /// One turn of a user; how long until the next.
    fn turn(&self, address: &str, memory: &mut Memory) -> Duration {
        let now = seconds_now();
        let read = if now >= memory.next_read {
            self.read(address, memory, now)
        } else {
            Ok(())
        };
        if let Err(trouble) = read.and_then(|()| self.publish(address, memory, now)) {
            // It is found anew when this node leads again.
            if matches!(trouble, Trouble::NotLeading) {
                return TICK;
            }
            self.counters.failures.fetch_add(1, Relaxed);
            memory.failures += 1;
            let refresh = i64::from(self.settings.refresh_s);
            let wait = 1_i64 << memory.failures.min(16);
            memory.next_read = now + wait.min(refresh.max(2));
            // Once for each user: a server that is away is away for all of them, again and again.
            if memory.failures == 1 {
                tracing::warn!(presentity = address, %trouble, "the calendar stays as it was last seen");
            }
            // What is known holds on: meetings begin and end though the server does not answer.
            if let Err(trouble) = self.publish(address, memory, now) {
                tracing::debug!(presentity = address, %trouble, "nothing is published");
            }
        }
        let next = memory.next_turn(now) - now;
        Duration::from_secs(u64::try_from(next).unwrap_or(1))
    }

    fn read(&self, address: &str, memory: &mut Memory, now: i64) -> Result<(), Trouble> {
        // Not asked for a user whom another node reads.
        self.is_claimed(address)?;
        // A name of dots would be a way up in a path.
        if address.trim_start_matches('.').starts_with('@') {
            return Err(Trouble::NoLogin);
        }
        let login = self.credentials().of(address);
        let (login, password) = login.ok_or(Trouble::NoLogin)?;
        let access = Access {
            url: filled(&self.settings.url, address, Spelling::Url),
            login,
            password,
        };
        let from = now.div_euclid(DAY_S) * DAY_S;
        // A day more, so that what is shown tomorrow is known today.
        let to = from + (i64::from(self.settings.horizon_days) + 1) * DAY_S;
        memory.busy = Busy::of(self.server.read(&access, from, to)?);
        self.counters.reads.fetch_add(1, Relaxed);
        memory.failures = 0;
        memory.read_at = Some(now);
        memory.next_read = now + i64::from(self.settings.refresh_s);
        Ok(())
    }

    /// Publishes what is to be said, where it is not said already.
    fn publish(&self, address: &str, memory: &mut Memory, now: i64) -> Result<(), Trouble> {
        let hold = i64::from(self.settings.hold_s);
        let Some(until) = memory
            .read_at
            .map(|at| at + hold)
            .filter(|until| *until > now)
        else {
            memory.said = None;
            return Ok(());
        };
        let claimed = self.is_claimed(address)?;
        let saying = memory.busy.saying(address, now, self.settings.horizon_days);
        let known = memory.said.as_ref().is_some_and(|said| {
            // Who has standard publications only is shown nothing of free time.
            let nothing = !claimed && saying.is_silent() && said.saying.is_silent();
            let same = said.saying == saying && now < said.again_at;
            said.claimed == claimed && (nothing || same)
        });
        if !known {
            let feed = saying.feed(address, now, until);
            let (slot, grace) = (feed.slot(), feed.grace());
            let told = feed.perform(&self.policy, |command| {
                self.clerk.perform(slot, grace, command)
            });
            match told?.0 {
                Outcome::Published { .. } => {}
                other => return Err(Trouble::Refused(format!("{other:?}"))),
            }
            self.counters.published.fetch_add(1, Relaxed);
        }
        if let (true, Some(said)) = (known, &mut memory.said) {
            // A new day, of which nobody is shown anything.
            if now >= said.again_at {
                said.again_at = now + hold / 2;
            }
            return Ok(());
        }
        memory.said = Some(Said {
            saying,
            claimed,
            again_at: now + (until - now) / 2,
        });
        Ok(())
    }

    /// Whether containers rule what is seen of a user, as the machine here says.
    fn is_claimed(&self, address: &str) -> Result<bool, Trouble> {
        let routes = self.routes.current();
        let shard = routes.shard_of(Slot::of(address));
        let Leader::Here(replica) = routes.leader(shard) else {
            return Err(Trouble::NotLeading);
        };
        let (give, take) = mpsc::sync_channel(1);
        let asked = address.to_owned();
        let job = Job::Read(Box::new(move |machine| {
            let _ = give.send(machine.profile(&asked).is_some());
        }));
        let silent = Trouble::Shard(NoOutcome::Silent);
        if replica.runner.submit(job).is_err() {
            return Err(silent);
        }
        take.recv_timeout(PATIENCE).map_err(|_| silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::ical::Period;
    use shard::category::calendar_data::Slot as Kind;

    #[test]
    fn users_come_and_go_with_the_shards_that_are_led() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.keep(&BTreeSet::from(["a@x", "b@x"]), |_| now);
        let (first, mut memory) = schedule.take(now).expect("due");
        assert_eq!(first, "a@x");
        memory.failures = 7;
        // b goes while a has its turn, and c comes.
        schedule.keep(&BTreeSet::from(["a@x", "c@x"]), |_| now);
        schedule.turned("a@x", memory, now + TICK);
        assert_eq!(
            schedule.take(now).map(|(address, _)| address).as_deref(),
            Some("c@x")
        );
        assert!(schedule.take(now).is_none());
        let (again, memory) = schedule.take(now + TICK).expect("due");
        assert_eq!((again.as_str(), memory.failures), ("a@x", 7));
        // It goes during its turn: nothing is left, and if it comes back it begins anew.
        schedule.keep(&BTreeSet::new(), |_| now);
        schedule.turned("a@x", memory, now);
        assert!(schedule.take(now + TICK).is_none() && schedule.users.is_empty());
        schedule.keep(&BTreeSet::from(["a@x"]), |_| now);
        assert_eq!(
            schedule.take(now).map(|(_, memory)| memory.failures),
            Some(0)
        );
    }

    #[test]
    fn the_next_turn_is_when_something_happens() {
        let meeting = Period {
            from: 5_000,
            to: 6_000,
            kind: Kind::Busy,
        };
        let memory = |next_read: i64, again_at: Option<i64>| Memory {
            busy: Busy::of(vec![meeting]),
            next_read,
            said: again_at.map(|again_at| Said {
                saying: Busy::default().saying("a@x", 0, 1),
                claimed: false,
                again_at,
            }),
            ..Memory::default()
        };
        for (name, memory, now, expected) in [
            ("the calendar is read", memory(1_300, None), 1_000, 1_300),
            ("a meeting begins", memory(9_000, None), 1_000, 5_000),
            ("it ends", memory(9_000, None), 5_000, 6_000),
            ("it is said again", memory(9_000, Some(5_500)), 5_000, 5_500),
            ("a day ends", memory(900_000, None), 7_000, 86_400),
            ("at once, nearly", memory(0, None), 7_000, 7_001),
        ] {
            assert_eq!(memory.next_turn(now), expected, "{name}");
        }
    }
}
