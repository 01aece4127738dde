//! The mover of contacts: to a mail server's address book, and its mirror here (MS-PRES 3.10).
//!
//! It runs beside the leader of a user's shard and reaches the machine through the same door as everyone:
//! it reads, and proposes. What is to be done stands in the machine, as who keeps each list; so whoever
//! leads finds it, after a restart or a change of leader. One thread looks for it, a few do it. They block
//! on the mail server; no thread that speaks SIP ever waits for them.

pub(crate) mod credentials;
pub(crate) mod dav;
mod difference;
mod mover;
mod vcard;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use shard::machine::apply::Keeping;
use shard::machine::command::Command;
use shard::presence::contacts::{Custody, List};
use shard::slot::{SLOTS, Slot};

use crate::config::{ContactStore as Settings, StoreMode};
use crate::observe::metrics::{Metrics, Sample};
use crate::observe::report::{ContactsReport, ContactsWish};
use credentials::Credentials;
use dav::Client;
use mover::{Counters, Seen, Trouble, Turn};

pub use mover::{Reach, Shards};

/// Users moved or refreshed at once: each has one connection, and a mail server is shared with people.
const THREADS: usize = 4;

/// How often the mover looks around.
const TICK: Duration = Duration::from_millis(250);

/// Slots looked at in a tick: all 1,024 in four seconds, some 6,000 of 100,000 addresses at a time.
const SLOTS_A_TICK: u16 = 64;

/// Hints that wait. One that finds no room is lost; the next look-around or refresh does without.
const HINTS_MAX: usize = 4_096;

/// The longest wait after failures.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// A handle to the mover; its threads end with [`ContactStore::stop`].
#[derive(Clone)]
pub struct ContactStore {
    inner: Arc<Inner>,
    hints: Sender<String>,
}

struct Inner {
    settings: Settings,
    client: Client,
    credentials: RwLock<Credentials>,
    shards: Shards,
    contacts_max: u32,
    counters: Counters,
    schedule: Mutex<Schedule>,
    due: Condvar,
    stopping: AtomicBool,
}

/// Who is looked after when.
#[derive(Default)]
struct Schedule {
    users: BTreeMap<String, User>,
    due: BTreeSet<(Instant, String)>,
}

/// A user who has a turn before him, or behind him.
#[derive(Default)]
struct User {
    at: Option<Instant>,
    busy: bool,
    /// Asked for while a turn was under way.
    again: bool,
    failures: u32,
    trouble: Option<String>,
    seen: Seen,
    /// When the last turn ended.
    turned: Option<Instant>,
}

impl Schedule {
    /// A turn at `at`, or earlier if there is one. Who has failed waits, unless `now` is said.
    fn plan(&mut self, address: &str, at: Instant, whatever: bool) {
        let user = self.users.entry(address.to_owned()).or_default();
        if user.busy {
            user.again = true;
            return;
        }
        let earlier = user.at.is_some_and(|known| known <= at);
        let waits = user.failures > 0 && user.at.is_some() && !whatever;
        if earlier || waits {
            return;
        }
        if let Some(known) = user.at.replace(at) {
            self.due.remove(&(known, address.to_owned()));
        }
        self.due.insert((at, address.to_owned()));
    }

    /// A turn for who is shown a list that is elsewhere: at once, where there was none for as long as
    /// `refresh`. The client may have come in on another node, whose hint is not heard here.
    fn look_after(&mut self, address: &str, now: Instant, refresh: Duration) {
        let turned = match self.users.get(address) {
            Some(user) => user.turned,
            // Who is not remembered for want of room would have a turn each time.
            None if self.users.len() >= SEEN_MAX => Some(now),
            None => None,
        };
        let at = turned.map_or(now, |turned| (turned + refresh).max(now));
        self.plan(address, at, false);
    }

    /// The next whose time has come.
    fn take(&mut self, now: Instant) -> Option<(String, Seen)> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, address) = self.due.pop_first()?;
        let user = self.users.get_mut(&address)?;
        user.at = None;
        user.busy = true;
        Some((address, std::mem::take(&mut user.seen)))
    }
}

/// What is done after a turn.
fn back_off(failures: u32) -> Duration {
    let wait = Duration::from_secs(1) * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    wait.min(BACK_OFF_MAX)
}

impl ContactStore {
    /// Starts the mover.
    ///
    /// # Errors
    /// What is wrong with the files that the settings name, in a sentence.
    pub fn start(
        settings: &Settings,
        shards: Shards,
        contacts_max: u32,
    ) -> Result<ContactStore, String> {
        let credentials = Credentials::read(&settings.credentials)?;
        let authorities = match &settings.authorities {
            Some(path) => {
                Some(std::fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?)
            }
            None => None,
        };
        let client = Client::new(authorities.as_deref())?;
        let inner = Arc::new(Inner {
            settings: settings.clone(),
            client,
            credentials: RwLock::new(credentials),
            shards,
            contacts_max,
            counters: Counters::default(),
            schedule: Mutex::default(),
            due: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let (hints, hinted) = bounded(HINTS_MAX);
        let looking = Arc::clone(&inner);
        let thread = |name: String, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name).spawn(run);
            thread
                .map(drop)
                .map_err(|why| format!("the system refuses a thread: {why}"))
        };
        thread(
            "contacts".to_owned(),
            Box::new(move || looking.look_around(&hinted)),
        )?;
        for number in 0..THREADS {
            let working = Arc::clone(&inner);
            thread(
                format!("contacts-{number}"),
                Box::new(move || working.work()),
            )?;
        }
        Ok(ContactStore { inner, hints })
    }

    /// Somebody is shown this list now, or may have it moved. Never blocks.
    pub fn hint(&self, address: &str) {
        let _ = self.hints.try_send(address.to_owned());
    }

    /// Reads the logins again. What is bad stays as it was.
    pub fn reload(&self) {
        let path = &self.inner.settings.credentials;
        match Credentials::read(path) {
            Ok(read) => {
                let credentials = self.inner.credentials.write();
                *credentials.unwrap_or_else(PoisonError::into_inner) = read;
            }
            Err(error) => {
                tracing::error!(%error, "the logins of the contact store stay as they were")
            }
        }
    }

    /// Ends the threads when each has done what it is at.
    pub fn stop(&self) {
        self.inner.stopping.store(true, Relaxed);
        self.inner.due.notify_all();
    }

    /// What the operator wants with a user's list. Blocks.
    ///
    /// # Errors
    /// Why it cannot be, in a sentence.
    pub fn wish(&self, address: &str, wish: ContactsWish) -> Result<ContactsReport, String> {
        use Custody::{Elsewhere, Here, Kept, Migrating, Queued, Returning};
        let shards = &self.inner.shards;
        let told = |trouble: Trouble| trouble.to_string();
        let mut list = shards.list(address).map_err(told)?;
        loop {
            let next = match (wish, list.custody) {
                (ContactsWish::Migrate, Here | Kept) => Queued,
                (ContactsWish::Migrate, Returning) => Elsewhere,
                (ContactsWish::Return, Elsewhere) => Returning,
                (ContactsWish::Return | ContactsWish::ReturnCopy, Queued | Migrating) => Kept,
                (ContactsWish::ReturnCopy, Elsewhere) => Returning,
                (ContactsWish::ReturnCopy, Returning) => Kept,
                _ => break,
            };
            list = shards.hand_over(address, &list, next).map_err(told)?;
        }
        let mut schedule = self.inner.schedule();
        schedule.plan(address, Instant::now(), true);
        self.inner.due.notify_one();
        let trouble = schedule
            .users
            .get(address)
            .and_then(|user| user.trouble.clone());
        Ok(report(address, &list, trouble))
    }

    /// Adds what is counted to what a scrape shows.
    pub fn observe(&self, metrics: &Metrics) {
        let inner = Arc::clone(&self.inner);
        metrics.add_source(Box::new(move |samples| {
            let counters = &inner.counters;
            for (name, help, counter) in [
                (
                    "contact_lists_migrated",
                    "Contact lists that arrived at the mail server.",
                    &counters.migrated,
                ),
                (
                    "contact_lists_returned",
                    "Contact lists that came home.",
                    &counters.returned,
                ),
                (
                    "contact_cards_written",
                    "Cards written to the mail server.",
                    &counters.written,
                ),
                (
                    "contact_store_refreshes",
                    "Looks at address books.",
                    &counters.refreshes,
                ),
                (
                    "contact_store_changes",
                    "Changes of contacts seen at the mail server.",
                    &counters.changes,
                ),
                (
                    "contact_store_failures",
                    "Turns of the contact store that failed.",
                    &counters.failures,
                ),
            ] {
                samples.push(Sample {
                    name,
                    help,
                    label: None,
                    value: counter.load(Relaxed),
                    grows: true,
                });
            }
            let schedule = inner.schedule();
            let failing = schedule.users.values().filter(|user| user.failures > 0);
            for (name, help, value) in [
                (
                    "contact_store_users",
                    "Users that the contact store looks after.",
                    schedule.users.len(),
                ),
                (
                    "contact_store_failing",
                    "Users whose last turn failed.",
                    failing.count(),
                ),
            ] {
                samples.push(Sample {
                    name,
                    help,
                    label: None,
                    value: value as u64,
                    grows: false,
                });
            }
        }));
    }
}

/// A list as an operator sees it.
#[must_use]
fn report(address: &str, list: &List, trouble: Option<String>) -> ContactsReport {
    ContactsReport {
        presentity: address.to_owned(),
        custody: match list.custody {
            Custody::Here => "here",
            Custody::Queued => "queued",
            Custody::Migrating => "migrating",
            Custody::Elsewhere => "migrated",
            Custody::Returning => "returning",
            Custody::Kept => "kept",
        },
        delta_num: list.delta_num,
        contacts: list.contacts.len(),
        groups: list.groups.len(),
        trouble,
    }
}

impl Inner {
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds what is to be done, slot by slot, and at once where somebody says so.
    fn look_around(&self, hinted: &Receiver<String>) {
        let mut first = 0;
        while !self.stopping.load(Relaxed) {
            if let Ok(address) = hinted.recv_timeout(TICK) {
                let mut schedule = self.schedule();
                for address in std::iter::once(address).chain(hinted.try_iter()) {
                    // What was proposed with it is in the machine by then.
                    schedule.plan(&address, Instant::now() + TICK / 4, false);
                }
                drop(schedule);
                self.due.notify_all();
                continue;
            }
            let slots = (first..first + SLOTS_A_TICK).filter_map(|slot| Slot::new(slot % SLOTS));
            let slots: Vec<Slot> = slots.collect();
            first = (first + SLOTS_A_TICK) % SLOTS;
            for shard in 0..self.shards.count() {
                let own = slots.iter().copied();
                let own: Vec<Slot> = own
                    .filter(|slot| self.shards.shard_of(*slot) == shard)
                    .collect();
                if own.is_empty() || !self.shards.leads(shard) {
                    continue;
                }
                let look = move |machine: &shard::machine::Machine| {
                    own.iter()
                        .flat_map(|slot| machine.lists(*slot))
                        .collect::<Vec<Keeping>>()
                };
                if let Ok(found) = self.shards.ask(shard, look) {
                    self.found(&found);
                }
            }
        }
    }

    fn found(&self, lists: &[Keeping]) {
        let now = Instant::now();
        let refresh = Duration::from_secs(u64::from(self.settings.refresh_s));
        for Keeping {
            address,
            custody,
            shown,
        } in lists
        {
            match custody {
                Custody::Queued | Custody::Migrating | Custody::Returning => {
                    self.schedule().plan(address.as_str(), now, false);
                }
                // Whom nobody looks at is not looked after: a subscription gives a hint.
                Custody::Elsewhere if *shown => {
                    self.schedule().look_after(address.as_str(), now, refresh);
                }
                Custody::Elsewhere => {}
                Custody::Here if self.settings.mode == StoreMode::Migrate => {
                    let command = Command::HandContactsOver {
                        presentity: address.as_str(),
                        from: Custody::Here,
                        to: Custody::Queued,
                    };
                    // Found again the next time round.
                    let _ = self.shards.propose(address.as_str(), command);
                }
                Custody::Here | Custody::Kept => {}
            }
        }
        self.due.notify_all();
    }

    /// Gives one user after the other a turn.
    fn work(&self) {
        while !self.stopping.load(Relaxed) {
            let mut schedule = self.schedule();
            let Some((address, mut seen)) = schedule.take(Instant::now()) else {
                let waited = self.due.wait_timeout(schedule, TICK);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                continue;
            };
            drop(schedule);
            let done = self.turn(&address, &mut seen);
            self.turned(&address, seen, done);
        }
    }

    fn turn(&self, address: &str, seen: &mut Seen) -> Result<Custody, Trouble> {
        let custody = self.shards.list(address)?.custody;
        if matches!(custody, Custody::Here | Custody::Kept) {
            return Ok(custody);
        }
        // A name of dots would be a way up in a path.
        if address.trim_start_matches('.').starts_with('@') {
            return Err(Trouble::NoLogin);
        }
        let (login, password) = {
            let credentials = self
                .credentials
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            credentials.of(address).ok_or(Trouble::NoLogin)?
        };
        let url = credentials::filled(&self.settings.url, address, credentials::Spelling::Url);
        let turn = Turn {
            address,
            book: self.client.book(&url, &login, &password),
            shards: &self.shards,
            counters: &self.counters,
            stopping: &self.stopping,
            contacts_max: self.contacts_max,
            begun: Instant::now(),
        };
        turn.run(seen)
    }

    /// What a turn leaves behind.
    fn turned(&self, address: &str, seen: Seen, done: Result<Custody, Trouble>) {
        let mut schedule = self.schedule();
        let Some(user) = schedule.users.get_mut(address) else {
            return;
        };
        user.busy = false;
        let again = std::mem::take(&mut user.again);
        let now = Instant::now();
        user.turned = Some(now);
        match done {
            Ok(custody) => {
                user.failures = 0;
                user.trouble = None;
                user.seen = seen;
                if again {
                    schedule.plan(address, now, false);
                } else if custody != Custody::Elsewhere || schedule.users.len() > SEEN_MAX {
                    schedule.users.remove(address);
                }
            }
            // Somebody else does it, or it is to be done in another way: what is to be done is found anew.
            Err(Trouble::NotLeading | Trouble::Unwanted) => {
                schedule.users.remove(address);
                if again {
                    schedule.plan(address, now, false);
                }
            }
            Err(trouble) => {
                self.counters.failures.fetch_add(1, Relaxed);
                user.failures += 1;
                let wait = back_off(user.failures);
                tracing::warn!(presentity = address, %trouble, again_in_s = wait.as_secs(), "contacts do not move now");
                user.trouble = Some(trouble.to_string());
                schedule.plan(address, now + wait, true);
            }
        }
    }
}

/// Users of whom is remembered what was seen of their address books: some 100 KiB each.
const SEEN_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_waits_longer_each_time() {
        let waits = [1, 2, 3, 9, 10, 60].map(|failures| back_off(failures).as_secs());
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn a_turn_is_planned_once_and_the_earliest_counts() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        schedule.plan("a@x", later, false);
        assert!(schedule.take(now).is_none());
        schedule.plan("a@x", now, false);
        schedule.plan("a@x", later, false);
        let (address, _) = schedule.take(now).expect("due");
        assert_eq!(address, "a@x");
        assert!(schedule.take(later).is_none(), "one turn, not two");
        schedule.plan("a@x", now, false);
        assert!(schedule.take(later).is_none(), "and none beside another");
        let user = schedule.users.get_mut("a@x").expect("known");
        assert!(user.again);
        (user.busy, user.again, user.failures) = (false, false, 1);
        schedule.plan("a@x", later, true);
        schedule.plan("a@x", now, false);
        assert!(schedule.take(now).is_none(), "who failed waits");
        schedule.plan("a@x", now, true);
        assert!(schedule.take(now).is_some(), "unless the operator wants it");
    }

    #[test]
    fn who_is_shown_a_list_is_looked_after_in_time() {
        let mut schedule = Schedule::default();
        let (now, refresh) = (Instant::now(), Duration::from_secs(300));
        schedule.look_after("a@x", now, refresh);
        assert!(schedule.take(now).is_some(), "the first time at once");
        let user = schedule.users.get_mut("a@x").expect("known");
        (user.busy, user.turned) = (false, Some(now));
        schedule.look_after("a@x", now + refresh / 2, refresh);
        assert!(schedule.take(now + refresh / 2).is_none(), "not too often");
        assert!(schedule.take(now + refresh).is_some());
        let user = schedule.users.get_mut("a@x").expect("known");
        (user.busy, user.turned) = (false, Some(now));
        let late = now + refresh * 9;
        schedule.look_after("a@x", late, refresh);
        assert!(schedule.take(late).is_some(), "who was away for long");
        for number in 1..SEEN_MAX {
            schedule
                .users
                .insert(format!("{number}@x"), User::default());
        }
        schedule.look_after("b@x", now, refresh);
        assert!(schedule.take(now).is_none(), "who is not remembered waits");
        assert!(schedule.take(now + refresh).is_some());
    }
}
