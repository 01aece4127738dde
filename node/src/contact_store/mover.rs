//! One user's list on its way: to the address book, from it, or home again.
//!
//! Each step asks the machine how things stand and does what is missing, so that it can end anywhere and be
//! begun again, here or on the next leader. Writing a card twice is the same as once; what is there already
//! is not written again. Only when every card was read back and says what it must, the machine is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use shard::machine::Machine;
use shard::machine::codec::encode_request;
use shard::machine::command::{Command, Request};
use shard::machine::outcome::RequestKey;
use shard::presence::contacts::{ContactChange, Custody, List};
use shard::runner::{Job, Runner};
use shard::slot::Slot;

use super::dav::{Book, DavError, Tags};
use super::difference;
use super::vcard::{self, Card, PREFIX};
use crate::egress::outbox::NOBODY;
use crate::raft::proposer::{Batch, Proposer};

/// How long a shard is waited for: some elections.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one user may keep a thread. What is left is done the next time.
const TURN: Duration = Duration::from_secs(300);

/// Changes in one command: a quarter of an entry at 1 KiB each.
const CHANGES_AT_ONCE: usize = 64;

/// Cards written between two looks at whether they are still wanted.
const LOOK_EVERY: usize = 16;

/// Why a list does not move now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The address book.
    #[error(transparent)]
    Dav(#[from] DavError),
    /// The book was there and is not any more: that is no empty list.
    #[error("there is no address book")]
    NoBook,
    /// Some cards do not say what was written.
    #[error("{0} cards are not as they were written")]
    Unverified(usize),
    /// The shard does not answer, or does not do what was proposed.
    #[error("the shard does not answer")]
    Shard,
    /// Another node leads the shard.
    #[error("another node leads the shard")]
    NotLeading,
    /// The turn is over.
    #[error("it takes too long; the rest is done later")]
    TurnOver,
    /// The node stops, or the operator wants something else.
    #[error("it is not wanted any more")]
    Unwanted,
    /// The operator gave no login for this user.
    #[error("there is no login for this user")]
    NoLogin,
}

/// Which shard holds what, and which this node leads: both change while it runs.
pub trait Reach: Send + Sync {
    /// How many shards there are.
    fn count(&self) -> usize;
    /// The shard that holds a slot.
    fn shard_of(&self, slot: Slot) -> usize;
    /// The log and the machine of a shard, where this node leads it now.
    fn led_here(&self, shard: usize) -> Option<(Proposer, Runner)>;
}

/// The shards, for who asks and proposes without a client.
pub struct Shards {
    reach: Arc<dyn Reach>,
}

impl Shards {
    /// The shards, as they are reached.
    #[must_use]
    pub fn new(reach: Arc<dyn Reach>) -> Shards {
        Shards { reach }
    }

    fn of(&self, address: &str) -> usize {
        self.reach.shard_of(Slot::of(address))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.reach.count()
    }

    /// Which shard holds a slot.
    pub(super) fn shard_of(&self, slot: Slot) -> usize {
        self.reach.shard_of(slot)
    }

    /// Whether this node leads a shard.
    pub(super) fn leads(&self, shard: usize) -> bool {
        self.reach.led_here(shard).is_some()
    }

    /// Asks a machine; blocks.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        shard: usize,
        look: impl FnOnce(&Machine) -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let (_, runner) = self.reach.led_here(shard).ok_or(Trouble::NotLeading)?;
        let (give, take) = mpsc::sync_channel(1);
        let job = Job::Read(Box::new(move |machine| {
            let _ = give.send(look(machine));
        }));
        runner.submit(job).map_err(|_| Trouble::Shard)?;
        take.recv_timeout(PATIENCE).map_err(|_| Trouble::Shard)
    }

    /// The list of an address; blocks.
    pub(super) fn list(&self, address: &str) -> Result<Arc<List>, Trouble> {
        let asked = address.to_owned();
        self.ask(self.of(address), move |machine| machine.contacts(&asked))
    }

    /// Proposes what nobody waits for: who proposed it sees it in the machine.
    pub(super) fn propose(&self, address: &str, command: Command<'_>) -> Result<(), Trouble> {
        let led = self.reach.led_here(self.of(address));
        let (proposer, _) = led.ok_or(Trouble::NotLeading)?;
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|_| Trouble::Shard)?;
        let request = Request {
            key: RequestKey(u128::from_le_bytes(key)),
            ticket: NOBODY,
            command,
        };
        let mut encoded = BytesMut::new();
        encode_request(&request, &mut encoded);
        let batch = Batch {
            requests: encoded.freeze(),
            tickets: vec![NOBODY],
        };
        proposer.submit(batch).map_err(|_| Trouble::Shard)
    }

    /// Proposes, and waits until the list is another one than `before`.
    pub(super) fn propose_and_see(
        &self,
        address: &str,
        before: &List,
        command: Command<'_>,
    ) -> Result<Arc<List>, Trouble> {
        self.propose(address, command)?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let list = self.list(address)?;
            if list.custody != before.custody || list.delta_num != before.delta_num {
                return Ok(list);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(Trouble::Shard)
    }

    /// Hands a list over and waits until that is done.
    pub(super) fn hand_over(
        &self,
        address: &str,
        before: &List,
        to: Custody,
    ) -> Result<Arc<List>, Trouble> {
        let command = Command::HandContactsOver {
            presentity: address,
            from: before.custody,
            to,
        };
        self.propose_and_see(address, before, command)
    }
}

/// What is done, for the operator.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Lists that arrived at the mail server.
    pub(super) migrated: AtomicU64,
    /// Lists that came home.
    pub(super) returned: AtomicU64,
    /// Cards written.
    pub(super) written: AtomicU64,
    /// Looks at address books.
    pub(super) refreshes: AtomicU64,
    /// Changes seen there.
    pub(super) changes: AtomicU64,
    /// Turns that failed.
    pub(super) failures: AtomicU64,
}

/// What was seen of an address book: cards that have not changed are not fetched again.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What changes with the book, and the number of our copy at that time.
    version: Option<(String, u32)>,
    cards: BTreeMap<String, (String, Option<Card>)>,
}

/// One user's turn.
pub(super) struct Turn<'t> {
    pub(super) address: &'t str,
    pub(super) book: Book<'t>,
    pub(super) shards: &'t Shards,
    pub(super) counters: &'t Counters,
    pub(super) stopping: &'t AtomicBool,
    pub(super) contacts_max: u32,
    pub(super) begun: Instant,
}

impl Turn<'_> {
    /// Does all that is to be done for the user; says who keeps the list then.
    pub(super) fn run(&self, seen: &mut Seen) -> Result<Custody, Trouble> {
        loop {
            self.go_on()?;
            let list = self.shards.list(self.address)?;
            match list.custody {
                Custody::Here | Custody::Kept => return Ok(list.custody),
                Custody::Queued => {
                    self.shards
                        .hand_over(self.address, &list, Custody::Migrating)?;
                }
                Custody::Migrating => self.migrate(&list)?,
                Custody::Elsewhere => {
                    self.refresh(&list, seen)?;
                    return Ok(list.custody);
                }
                Custody::Returning => self.bring_home(list, seen)?,
            }
        }
    }

    fn go_on(&self) -> Result<(), Trouble> {
        if self.stopping.load(Relaxed) {
            return Err(Trouble::Unwanted);
        }
        if self.begun.elapsed() > TURN {
            return Err(Trouble::TurnOver);
        }
        Ok(())
    }

    /// Writes every contact, reads every card back, and says that all have arrived.
    //= MS-PRES 1.3.5
    //# contacts are moved while the list is read-only, and the end is told when they are there
    fn migrate(&self, list: &List) -> Result<(), Trouble> {
        let there = match self.book.tags()? {
            Some(tags) => tags,
            None => {
                self.book.make()?;
                Tags::new()
            }
        };
        let ours: Vec<&str> = there
            .keys()
            .map(String::as_str)
            .filter(|name| name.starts_with(PREFIX))
            .collect();
        let found = self.book.cards(&ours)?;
        let wanted: BTreeMap<String, String> = list
            .contacts
            .iter()
            .map(|contact| {
                let name = vcard::resource(&contact.uri);
                (name, vcard::write(contact, &list.groups))
            })
            .collect();
        let missing = |found: &BTreeMap<String, (String, String)>| -> Vec<String> {
            let differs = |(name, card): &(&String, &String)| {
                let there = found.get(*name).and_then(|(_, text)| vcard::read(text));
                there.is_none() || there != vcard::read(card)
            };
            let missing = wanted.iter().filter(differs);
            missing.map(|(name, _)| name.clone()).collect()
        };
        for (number, name) in missing(&found).into_iter().enumerate() {
            if number % LOOK_EVERY == 0 {
                self.still_wanted(list)?;
            }
            if let Some(card) = wanted.get(&name) {
                self.book.put(&name, card.clone())?;
                self.counters.written.fetch_add(1, Relaxed);
            }
        }
        // Left by an earlier move: the user has removed them since.
        for name in ours.iter().filter(|name| !wanted.contains_key(**name)) {
            self.go_on()?;
            self.book.delete(name)?;
        }
        let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
        let unverified = missing(&self.book.cards(&names)?).len();
        if unverified > 0 {
            return Err(Trouble::Unverified(unverified));
        }
        self.still_wanted(list)?;
        let command = Command::ContactsArrived {
            presentity: self.address,
            delta_num: list.delta_num,
        };
        let after = self.shards.propose_and_see(self.address, list, command)?;
        if after.custody == Custody::Elsewhere {
            self.counters.migrated.fetch_add(1, Relaxed);
            tracing::info!(
                presentity = self.address,
                contacts = list.contacts.len(),
                "contacts have moved to the mail server"
            );
        }
        Ok(())
    }

    fn still_wanted(&self, list: &List) -> Result<(), Trouble> {
        self.go_on()?;
        let now = self.shards.list(self.address)?;
        if now.custody != list.custody || now.delta_num != list.delta_num {
            return Err(Trouble::Unwanted);
        }
        Ok(())
    }

    /// Looks whether the book changed, and changes our copy.
    fn refresh(&self, list: &Arc<List>, seen: &mut Seen) -> Result<(), Trouble> {
        self.counters.refreshes.fetch_add(1, Relaxed);
        let version = self.book.version()?.ok_or(Trouble::NoBook)?;
        let known = seen.version.as_ref();
        let same = |version: &String| {
            known.is_some_and(|(known, number)| known == version && *number == list.delta_num)
        };
        if version.as_ref().is_some_and(same) {
            return Ok(());
        }
        let changes = self.look(list, seen)?;
        let after = self.mirror(Arc::clone(list), &changes, false)?;
        // Asked for before the cards: what changes meanwhile is seen the next time.
        seen.version = version.map(|version| (version, after.delta_num));
        Ok(())
    }

    /// Fetches the list for the last time.
    fn bring_home(&self, list: Arc<List>, seen: &mut Seen) -> Result<(), Trouble> {
        let changes = self.look(&list, seen)?;
        let after = self.mirror(list, &changes, true)?;
        if after.custody == Custody::Kept {
            self.counters.returned.fetch_add(1, Relaxed);
            tracing::info!(
                presentity = self.address,
                contacts = after.contacts.len(),
                "contacts have come home"
            );
        }
        *seen = Seen::default();
        Ok(())
    }

    /// What our copy must change to be what the book says.
    fn look(&self, list: &List, seen: &mut Seen) -> Result<Vec<ContactChange>, Trouble> {
        let tags = self.book.tags()?.ok_or(Trouble::NoBook)?;
        let fresh = |(name, tag): &(&String, &String)| {
            seen.cards.get(*name).is_none_or(|(known, _)| known != *tag)
        };
        let names: Vec<&str> = tags
            .iter()
            .filter(fresh)
            .map(|(name, _)| name.as_str())
            .collect();
        let fetched = self.book.cards(&names)?;
        // A card that is listed and not given is one that was removed meanwhile, or one that the server
        // keeps back. It does not count as removed until it is not listed.
        if let Some(kept_back) = names.iter().find(|name| !fetched.contains_key(**name)) {
            let still = self.book.tags()?.ok_or(Trouble::NoBook)?;
            if still.contains_key(*kept_back) {
                return Err(Trouble::Unverified(1));
            }
        }
        seen.cards.retain(|name, _| tags.contains_key(name));
        for (name, (tag, text)) in fetched {
            seen.cards.insert(name, (tag, vcard::read(&text)));
        }
        let cards = seen.cards.iter();
        let mut cards: Vec<(&String, &Card)> = cards
            .filter_map(|(name, (_, card))| Some((name, card.as_ref()?)))
            .collect();
        // Where the user has a card of the same person as well, ours counts: it has the groups.
        cards.sort_by_key(|(name, _)| (!name.starts_with(PREFIX), *name));
        let cards: Vec<&Card> = cards.into_iter().map(|(_, card)| card).collect();
        Ok(difference::between(
            list,
            &cards,
            self.contacts_max as usize,
        ))
    }

    /// Has our copy changed, in as many commands as it takes.
    fn mirror(
        &self,
        mut list: Arc<List>,
        changes: &[ContactChange],
        home: bool,
    ) -> Result<Arc<List>, Trouble> {
        let mut left = changes;
        while !left.is_empty() || home && list.custody == Custody::Returning {
            let (now, later) = left.split_at(left.len().min(CHANGES_AT_ONCE));
            let command = Command::MirrorContacts {
                presentity: self.address,
                delta_num: list.delta_num,
                changes: now.to_vec(),
                home: home && later.is_empty(),
                contacts_max: self.contacts_max,
            };
            let expected = list.delta_num.wrapping_add(now.len() as u32);
            list = self.shards.propose_and_see(self.address, &list, command)?;
            if list.delta_num != expected {
                // What is left was made for another list.
                return Err(Trouble::Unwanted);
            }
            self.counters.changes.fetch_add(now.len() as u64, Relaxed);
            left = later;
        }
        Ok(list)
    }
}
