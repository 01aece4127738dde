//! The thread that writes: takes what waits, writes it as one batch, syncs, tells everybody.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use openraft::storage::LogFlushed;
use tokio::sync::oneshot;

use super::group::Location;
use super::record::{self, BATCH_HEAD, BatchHead, Record};
use super::{GroupId, Shared, lock, segment};
use crate::raft::threads::{Work, Workforce};
use crate::raft::types::TypeConfig;

/// Orders that wait. Each group has a few appends in flight; beyond this the raft tasks wait.
const ORDERS_MAX: usize = 65_536;

/// Bytes of one batch: more is written as the next.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// What the writer is asked to do.
pub(super) enum Order {
    /// Write records of a group, then say so.
    Write {
        group: GroupId,
        records: Vec<Record>,
        done: Done,
    },
    /// Say who holds the oldest segment while more than `segments` are in use.
    Pins {
        segments: usize,
        answer: Sender<Vec<GroupId>>,
    },
    /// Say when everything before is durable.
    Flush { done: Sender<()> },
}

/// Whom to tell that records are durable.
pub(super) enum Done {
    /// openraft's own callback.
    Appended(LogFlushed<TypeConfig>),
    /// Somebody who waits.
    Waiting(oneshot::Sender<()>),
    /// Nobody.
    Nobody,
}

/// What is known of a segment.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// The last entry of each group that stands in it.
    pub(super) last_index: BTreeMap<GroupId, u64>,
}

/// Where the writer goes on.
pub(super) struct Tail {
    pub(super) file: Arc<File>,
    pub(super) number: u64,
    pub(super) at: u64,
    pub(super) next_batch: u64,
    pub(super) segments: BTreeMap<u64, Segment>,
}

/// Starts the writer and the thread that keeps its next segment ready.
pub(super) fn start(
    shared: Arc<Shared>,
    tail: Tail,
    workforce: &dyn Workforce,
) -> io::Result<Sender<Order>> {
    let (orders, queue) = bounded(ORDERS_MAX);
    let preparer = Arc::clone(&shared);
    std::thread::Builder::new()
        .name("log-spare".to_owned())
        .spawn(move || {
            preparer
                .spares
                .keep_ready(&preparer.dir, preparer.options.segment_bytes)
        })?;
    let writer = Writer {
        shared,
        tail,
        buffer: Vec::new(),
        queue,
        failed: false,
    };
    workforce.employ("log".to_owned(), Box::new(writer))?;
    Ok(orders)
}

struct Writer {
    shared: Arc<Shared>,
    tail: Tail,
    buffer: Vec<u8>,
    queue: Receiver<Order>,
    /// Whether the disk has failed: then nothing more is written.
    failed: bool,
}

/// A record that was put into the batch: whose entry it is, and where in the batch.
struct Placed {
    group: GroupId,
    index: u64,
    offset: usize,
    length: usize,
}

impl Work for Writer {
    fn run(mut self: Box<Self>) {
        while !self.failed
            && let Ok(first) = self.queue.recv()
        {
            self.batch(first);
        }
    }

    fn turn(&mut self) -> bool {
        match self.queue.try_recv() {
            Ok(first) if !self.failed => {
                self.batch(first);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.spares.close();
    }
}

impl Writer {
    /// Writes what waits, up to a batch.
    fn batch(&mut self, first: Order) {
        let mut batch = vec![first];
        let mut bytes = weight(&batch[0]);
        while bytes < BATCH_BYTES_MAX {
            let Ok(next) = self.queue.try_recv() else {
                break;
            };
            bytes += weight(&next);
            batch.push(next);
        }
        if let Err(error) = self.write(batch) {
            (self.shared.options.on_failure)(&format!("{}: {error}", self.shared.dir.display()));
            self.failed = true;
        }
    }

    fn write(&mut self, batch: Vec<Order>) -> io::Result<()> {
        let mut dones = Vec::new();
        let mut questions = Vec::new();
        let mut purged = false;
        let mut records = Vec::new();
        for order in batch {
            match order {
                Order::Write {
                    group,
                    records: written,
                    done,
                } => {
                    purged |= written
                        .iter()
                        .any(|record| matches!(record, Record::Purge(_)));
                    records.extend(written.into_iter().map(|record| (group, record)));
                    dones.push(done);
                }
                question => questions.push(question),
            }
        }
        if !records.is_empty() {
            self.write_records(&records)?;
        }
        for done in dones {
            match done {
                Done::Appended(callback) => callback.log_io_completed(Ok(())),
                Done::Waiting(waiting) => drop(waiting.send(())),
                Done::Nobody => {}
            }
        }
        for question in questions {
            match question {
                Order::Pins { segments, answer } => drop(answer.send(self.pins(segments))),
                Order::Flush { done } => drop(done.send(())),
                Order::Write { .. } => unreachable!("records were taken out above"),
            }
        }
        if purged { self.recycle() } else { Ok(()) }
    }

    fn write_records(&mut self, records: &[(GroupId, Record)]) -> io::Result<()> {
        let mut placed = self.fill(records);
        if self.tail.at + self.buffer.len() as u64 > self.shared.options.segment_bytes {
            self.next_segment()?;
            placed = self.fill(records);
        }
        let base = self.put_batch()?;
        for Placed {
            group,
            index,
            offset,
            length,
        } in placed
        {
            let location = Location {
                segment: self.tail.number,
                at: base + offset as u64,
                length: length as u32,
            };
            self.tail
                .segments
                .entry(self.tail.number)
                .or_default()
                .last_index
                .insert(group, index);
            let state = self.shared.group(group);
            lock(&state).locate(index, location);
        }
        self.shared
            .stats
            .records
            .fetch_add(records.len() as u64, Relaxed);
        super::group::evict(&self.shared);
        Ok(())
    }

    /// Puts the records of a batch into the buffer, for the segment that is open now.
    fn fill(&mut self, records: &[(GroupId, Record)]) -> Vec<Placed> {
        let mut placed = Vec::with_capacity(records.len());
        self.buffer.clear();
        self.buffer.resize(BATCH_HEAD, 0);
        for (group, record) in records {
            let offset = self.buffer.len();
            record::write(self.tail.number, *group, record, &mut self.buffer);
            if let Record::Entry(entry) = record {
                placed.push(Placed {
                    group: *group,
                    index: entry.log_id.index,
                    offset,
                    length: self.buffer.len() - offset,
                });
            }
        }
        placed
    }

    /// Writes and syncs what is in the buffer; returns where it stands.
    fn put_batch(&mut self) -> io::Result<u64> {
        let length = (self.buffer.len() - BATCH_HEAD) as u32;
        let head = BatchHead {
            segment: self.tail.number,
            number: self.tail.next_batch,
            length,
        };
        head.write(&mut self.buffer[..BATCH_HEAD]);
        let base = self.tail.at;
        self.tail.file.write_all_at(&self.buffer, base)?;
        let before = Instant::now();
        self.tail.file.sync_data()?;
        let stats = &self.shared.stats;
        let took = before.elapsed().as_micros() as u64;
        stats.sync_microseconds.fetch_add(took, Relaxed);
        stats.syncs.record(took);
        stats.batches.fetch_add(1, Relaxed);
        stats.bytes.fetch_add(self.buffer.len() as u64, Relaxed);
        self.tail.at += self.buffer.len() as u64;
        self.tail.next_batch += 1;
        Ok(base)
    }

    /// Goes on in the next segment. It begins with what is not in entries (votes, and up to where each
    /// group was purged), so that every earlier segment can be given up whole.
    fn next_segment(&mut self) -> io::Result<()> {
        let number = self.tail.number + 1;
        self.tail.file = self.shared.spares.take(&self.shared.dir, number)?.into();
        self.tail.number = number;
        self.tail.at = 0;
        self.tail.segments.insert(number, Segment::default());
        let groups: Vec<_> = lock(&self.shared.groups)
            .iter()
            .map(|(id, state)| (*id, Arc::clone(state)))
            .collect();
        let mut records = Vec::new();
        for (id, state) in groups {
            let state = lock(&state);
            records.extend(state.durable_vote().map(|vote| (id, Record::Vote(vote))));
            records.extend(
                state
                    .durable_purge()
                    .map(|log_id| (id, Record::Purge(log_id))),
            );
        }
        let kept = std::mem::take(&mut self.buffer);
        self.fill(&records);
        self.put_batch()?;
        self.buffer = kept;
        self.recycle()
    }

    /// Gives up the oldest segments that nobody needs.
    fn recycle(&mut self) -> io::Result<()> {
        while let Some((number, segment)) = self.tail.segments.first_key_value() {
            if *number == self.tail.number || !self.holders(segment).is_empty() {
                return Ok(());
            }
            let number = *number;
            if self.shared.spares.offer(&self.shared.dir, number)? {
                self.shared.stats.segments_recycled.fetch_add(1, Relaxed);
            } else {
                fs::remove_file(segment::path(&self.shared.dir, number))?;
            }
            segment::sync_dir(&self.shared.dir)?;
            self.tail.segments.remove(&number);
        }
        Ok(())
    }

    /// The groups that need what stands in a segment.
    fn holders(&self, segment: &Segment) -> Vec<GroupId> {
        let needs = |(group, last): (&GroupId, &u64)| {
            let purged = lock(&self.shared.group(*group))
                .durable_purge()
                .map(|log_id| log_id.index);
            purged.is_none_or(|purged| purged < *last).then_some(*group)
        };
        segment.last_index.iter().filter_map(needs).collect()
    }

    fn pins(&self, segments: usize) -> Vec<GroupId> {
        match self.tail.segments.first_key_value() {
            Some((_, oldest)) if self.tail.segments.len() > segments => self.holders(oldest),
            _ => Vec::new(),
        }
    }
}

fn weight(order: &Order) -> usize {
    match order {
        Order::Write { records, .. } => records
            .iter()
            .map(|record| match record {
                Record::Entry(entry) => record::weight(entry) as usize,
                _ => 64,
            })
            .sum(),
        _ => 0,
    }
}
