//! One group's part of the log, as openraft's storage.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs::File;
use std::ops::{Bound, RangeBounds};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crossbeam::channel::Sender;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AnyError, LogId, LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote,
};
use tokio::sync::oneshot;

use super::record::{self, Entry, Record};
use super::writer::{Done, Order};
use super::{GroupId, Shared, lock, segment};
use crate::raft::types::{NodeNumber, TypeConfig};

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u64,
    pub(super) at: u64,
    pub(super) length: u32,
}

/// An entry of the log: in memory, on disk, or both.
#[derive(Debug)]
struct Place {
    log_id: LogId<NodeNumber>,
    entry: Option<Entry>,
    location: Option<Location>,
}

/// What is known of a group.
#[derive(Debug, Default)]
pub(super) struct GroupState {
    vote: Option<Vote<NodeNumber>>,
    purged: Option<LogId<NodeNumber>>,
    /// The entries that are there, without a hole.
    places: VecDeque<Place>,
    /// Entries before this one are not in memory; how far eviction has come.
    evicted: u64,
    /// What was found damaged when it was read back.
    damaged: Option<String>,
}

impl GroupState {
    pub(super) fn damaged(&self) -> Option<String> {
        self.damaged.clone()
    }

    fn first(&self) -> u64 {
        self.places.front().map_or(0, |place| place.log_id.index)
    }

    fn place(&self, index: u64) -> Option<usize> {
        let place = usize::try_from(index.checked_sub(self.first())?).ok()?;
        (place < self.places.len()).then_some(place)
    }

    pub(super) fn durable_vote(&self) -> Option<Vote<NodeNumber>> {
        self.vote
    }

    pub(super) fn durable_purge(&self) -> Option<LogId<NodeNumber>> {
        self.purged
    }

    /// What an earlier life wrote. Entries stay on disk until somebody asks.
    pub(super) fn recover(&mut self, record: Record, location: Location) {
        match record {
            Record::Entry(entry) => {
                let log_id = entry.log_id;
                // A truncation whose segment was given up together with what it cut.
                self.truncate(log_id.index);
                if self
                    .places
                    .back()
                    .is_some_and(|last| last.log_id.index + 1 != log_id.index)
                {
                    self.places.clear();
                }
                self.places.push_back(Place {
                    log_id,
                    entry: None,
                    location: Some(location),
                });
                self.evicted = log_id.index + 1;
            }
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Truncate(index) => {
                self.truncate(index);
            }
            Record::Purge(log_id) => {
                self.purge(log_id);
            }
            Record::Forget => {
                self.forget();
            }
        }
    }

    pub(super) fn locate(&mut self, index: u64, location: Location) {
        if let Some(place) = self.place(index) {
            self.places[place].location = Some(location);
        }
    }

    /// Drops entries from `index` on; returns the bytes that memory gets back.
    fn truncate(&mut self, index: u64) -> u64 {
        let keep = self
            .places
            .iter()
            .take_while(|place| place.log_id.index < index)
            .count();
        self.evicted = self.evicted.min(index);
        self.places
            .drain(keep..)
            .filter_map(|place| place.entry)
            .map(|entry| record::weight(&entry))
            .sum()
    }

    /// As if there had never been anything; returns the bytes that memory gets back.
    fn forget(&mut self) -> u64 {
        let freed = self.truncate(0);
        *self = GroupState::default();
        freed
    }

    fn purge(&mut self, log_id: LogId<NodeNumber>) -> u64 {
        self.purged = self.purged.max(Some(log_id));
        let drop = self
            .places
            .iter()
            .take_while(|place| place.log_id.index <= log_id.index)
            .count();
        self.places
            .drain(..drop)
            .filter_map(|place| place.entry)
            .map(|entry| record::weight(&entry))
            .sum()
    }
}

/// Takes the oldest entries out of memory while there are too many, group by group: only those that are
/// durable.
pub(super) fn evict(shared: &Shared) {
    let limit = shared.options.cache_bytes as u64;
    if shared.cached.load(Relaxed) <= limit {
        return;
    }
    let groups: Vec<_> = lock(&shared.groups).values().map(Arc::clone).collect();
    for state in groups {
        let mut state = lock(&state);
        let mut freed = 0;
        // Half of a group's entries: the older ones, which were applied long ago.
        let begin = state.place(state.evicted).unwrap_or(0);
        let end = begin + (state.places.len() - begin) / 2;
        for place in begin..end {
            let place = &mut state.places[place];
            if place.location.is_none() {
                break;
            }
            freed += place.entry.take().map_or(0, |entry| record::weight(&entry));
        }
        state.evicted = state.first() + end as u64;
        shared.cached.fetch_sub(freed, Relaxed);
    }
}

/// One group's part of the log.
#[derive(Clone)]
pub struct GroupLog {
    id: GroupId,
    /// The node whose replica begins with it.
    me: Option<NodeNumber>,
    state: Arc<Mutex<GroupState>>,
    shared: Arc<Shared>,
    orders: Sender<Order>,
}

/// openraft's own error, whose size is openraft's choice.
#[allow(clippy::result_large_err)]
type Result<T> = std::result::Result<T, StorageError<NodeNumber>>;

impl GroupLog {
    pub(super) fn new(
        id: GroupId,
        state: Arc<Mutex<GroupState>>,
        shared: Arc<Shared>,
        orders: Sender<Order>,
    ) -> GroupLog {
        GroupLog {
            id,
            me: None,
            state,
            shared,
            orders,
        }
    }

    /// The same for the replica of a node that begins a life: it does not lead on in the term that it led.
    ///
    /// openraft takes a node whose vote was accepted for the leader at once. But what that leader had sent need not
    /// have been in its own log yet when it died, and a second entry of the same term in the same place is taken
    /// for the first one wherever that is.
    #[must_use]
    pub fn begun_by(mut self, me: NodeNumber) -> GroupLog {
        self.me = Some(me);
        self
    }

    /// Orders a write. The queue is long; when it is full the log is stuck on its disk, and so is
    /// everybody who needs it.
    #[allow(clippy::result_large_err)] // openraft's own error
    fn order(&self, records: Vec<Record>, done: Done) -> Result<()> {
        let order = Order::Write {
            group: self.id,
            records,
            done,
        };
        self.orders.send(order).map_err(|_| {
            let error = std::io::Error::other("the log's writer has ended");
            StorageIOError::write_logs(AnyError::new(&error)).into()
        })
    }

    async fn write(&self, record: Record) -> Result<()> {
        let (done, written) = oneshot::channel();
        self.order(vec![record], Done::Waiting(done))?;
        written
            .await
            .map_err(|error| StorageIOError::write(AnyError::new(&error)).into())
    }

    /// Forgets everything of this group: a replica that was set aside begins anew, after its group has let
    /// it go (`raft::damage`). Durable when this returns. The group must not run.
    ///
    /// # Errors
    /// When the log's writer has ended.
    pub async fn forget(&self) -> std::io::Result<()> {
        let freed = lock(&self.state).forget();
        self.shared.cached.fetch_sub(freed, Relaxed);
        // A replica without entries and votes would take itself for a founder.
        let nobody = Vote::new(0, NodeNumber::MAX);
        lock(&self.state).vote = Some(nobody);
        let (done, written) = oneshot::channel();
        self.order(
            vec![Record::Forget, Record::Vote(nobody)],
            Done::Waiting(done),
        )
        .map_err(std::io::Error::other)?;
        written.await.map_err(std::io::Error::other)
    }

    #[allow(clippy::result_large_err)] // openraft's own error
    fn read_back(&self, location: Location) -> Result<Entry> {
        self.shared.stats.reads_from_disk.fetch_add(1, Relaxed);
        let path = segment::path(&self.shared.dir, location.segment);
        let read = File::open(&path).and_then(|file| {
            let mut bytes = vec![0; location.length as usize];
            file.read_exact_at(&mut bytes, location.at)?;
            Ok(Bytes::from(bytes))
        });
        let bytes = read.map_err(|error| StorageIOError::read_logs(AnyError::new(&error)))?;
        match record::read(location.segment, &bytes) {
            Some((group, Record::Entry(entry), _)) if group == self.id => Ok(entry),
            _ => {
                let what = format!("{} is damaged at byte {}", path.display(), location.at);
                lock(&self.state).damaged = Some(what.clone());
                let error = std::io::Error::other(what);
                Err(StorageIOError::read_logs(AnyError::new(&error)).into())
            }
        }
    }

    #[allow(clippy::result_large_err)] // openraft's own error
    fn entries(&self, from: u64, until: u64) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut on_disk = Vec::new();
        {
            let state = lock(&self.state);
            let begin = from.max(state.first());
            for index in begin..until {
                let Some(place) = state.place(index) else {
                    break;
                };
                let place = &state.places[place];
                match (&place.entry, place.location) {
                    (Some(entry), _) => entries.push(entry.clone()),
                    (None, Some(location)) => {
                        on_disk.push((entries.len(), location));
                        entries.push(Entry {
                            log_id: place.log_id,
                            payload: openraft::EntryPayload::Blank,
                        });
                    }
                    (None, None) => unreachable!("an entry is in memory until it is durable"),
                }
            }
        }
        for (place, location) in on_disk {
            entries[place] = self.read_back(location)?;
        }
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for GroupLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let until = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(until) => *until,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(from, until)
    }
}

impl RaftLogStorage<TypeConfig> for GroupLog {
    type LogReader = GroupLog;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>> {
        let state = lock(&self.state);
        let last = state
            .places
            .back()
            .map(|place| place.log_id)
            .or(state.purged);
        Ok(LogState {
            last_purged_log_id: state.purged,
            last_log_id: last,
        })
    }

    async fn get_log_reader(&mut self) -> GroupLog {
        self.clone()
    }

    /// A vote is durable before this returns: one that was forgotten could elect two leaders.
    async fn save_vote(&mut self, vote: &Vote<NodeNumber>) -> Result<()> {
        lock(&self.state).vote = Some(*vote);
        self.write(Record::Vote(*vote)).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<NodeNumber>>> {
        let vote = lock(&self.state).vote;
        Ok(vote.map(|vote| match self.me {
            Some(me) if vote.leader_id.node_id == me => Vote {
                committed: false,
                ..vote
            },
            _ => vote,
        }))
    }

    /// Readable when this returns, durable when the callback is called; never with a hole.
    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        {
            let mut state = lock(&self.state);
            for entry in entries {
                let log_id = entry.log_id;
                let expected = state.places.back().map(|last| last.log_id.index + 1);
                assert!(
                    expected.is_none_or(|expected| expected == log_id.index),
                    "a log has no holes"
                );
                self.shared
                    .cached
                    .fetch_add(record::weight(&entry), Relaxed);
                state.places.push_back(Place {
                    log_id,
                    entry: Some(entry.clone()),
                    location: None,
                });
                records.push(Record::Entry(entry));
            }
        }
        self.order(records, Done::Appended(callback))
    }

    async fn truncate(&mut self, log_id: LogId<NodeNumber>) -> Result<()> {
        let freed = lock(&self.state).truncate(log_id.index);
        self.shared.cached.fetch_sub(freed, Relaxed);
        self.write(Record::Truncate(log_id.index)).await
    }

    async fn purge(&mut self, log_id: LogId<NodeNumber>) -> Result<()> {
        let freed = lock(&self.state).purge(log_id);
        self.shared.cached.fetch_sub(freed, Relaxed);
        self.order(vec![Record::Purge(log_id)], Done::Nobody)
    }
}
