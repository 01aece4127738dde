//! The write-ahead log: one file set per node, shared by all groups (house D14).
//!
//! # How it is written
//!
//! One thread writes. It takes everything that waits, of all groups, as one **batch**: one write, one
//! fdatasync, then every group's callback. The next batch is not written before the one before is
//! synced; so a batch that follows proves that what precedes it was durable, and damage before it is
//! corruption, while damage at the very end is a torn tail that nobody was told of.
//!
//! Segments are filled with zeros before they are used, so that a sync writes data and no metadata, and
//! a full disk is met where nothing is lost: the writer waits for its next segment, says so
//! ([`Log::stalled`]), and goes on when there is room. A write or a sync that fails stops the process:
//! after it nobody knows what the disk holds, and trying again has lost data elsewhere.
//!
//! # How it is read
//!
//! Entries are kept in memory as long as they are recent ([`LogOptions::cache_bytes`]); older ones are
//! read back from their segment, checked.

mod group;
mod record;
mod recovery;
mod segment;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::Sender;

use super::threads::{Threads, Workforce};
use super::types::GroupId;
use crate::observe::metrics::Histogram;
pub use group::GroupLog;
use group::GroupState;
use segment::Spares;
use writer::Order;

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Size of a segment. 64 MiB are a minute of a busy pool; small logs are for tests.
    pub segment_bytes: u64,
    /// Bytes of recent entries in memory, of all groups.
    pub cache_bytes: usize,
    /// What happens when the disk fails; [`stop_the_process`] but in tests.
    pub on_failure: fn(&str),
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            on_failure: stop_the_process,
        }
    }
}

/// Stops at once: what the log holds is what is true.
pub fn stop_the_process(why: &str) {
    tracing::error!(
        why,
        "the log failed; the node stops so that nothing false is acknowledged"
    );
    eprintln!("lamplight: the log failed: {why}; stopping so that nothing false is acknowledged");
    std::process::abort();
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system refuses.
    #[error("the log in {} cannot be used: {why}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Data that was durable is damaged.
    #[error(
        "the log segment {} is damaged at byte {at}: {what}. What follows it was written later, so this is no torn \
         tail. A node of a pool whose others have a majority begins anew by itself; a node alone does not start: restore \
         the data folder from a backup, or remove it and begin with nothing",
        path.display()
    )]
    Corrupt {
        /// Which segment.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What was found.
        what: &'static str,
    },
    /// A segment is missing.
    #[error("the log in {} lacks what comes before batch {batch}; restore the data folder from a backup", path.display())]
    Gap {
        /// The segment behind the gap.
        path: PathBuf,
        /// The first batch in it.
        batch: u64,
    },
}

/// What was found when the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments read.
    pub segments: usize,
    /// Records read.
    pub records: u64,
    /// What was cut off, where the last write did not get through.
    pub torn: Option<TornTail>,
}

/// The end of a write that was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Which segment.
    pub path: PathBuf,
    /// Where it began.
    pub at: u64,
    /// How many bytes were cleared.
    pub bytes: u64,
}

/// Declares [`LogStats`] with the texts a scraper shows.
macro_rules! stats {
    ($($name:ident $help:literal),+ $(,)?) => {
        /// Counters of a log; they only grow.
        #[derive(Debug, Default)]
        pub struct LogStats {
            $(#[doc = $help] pub $name: AtomicU64,)+
            /// How long each fdatasync took, in microseconds.
            pub syncs: Histogram,
        }

        impl LogStats {
            /// Name, meaning and value of each.
            pub fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
                [$((stringify!($name), $help, self.$name.load(Relaxed)),)+].into_iter()
            }
        }
    };
}

stats! {
    records "Records written to the log.",
    bytes "Bytes written to the log.",
    batches "Batches written to the log, each with one sync.",
    sync_microseconds "Time spent in fdatasync, in microseconds.",
    reads_from_disk "Entries that were read back from a segment.",
    segments_recycled "Segments that were used again.",
}

/// The log of a node. Clones share it; the writer ends with the last of them and of its groups.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    orders: Sender<Order>,
}

/// What the writer, the groups and the handles share.
struct Shared {
    dir: PathBuf,
    options: LogOptions,
    groups: Mutex<BTreeMap<GroupId, Arc<Mutex<GroupState>>>>,
    spares: Spares,
    stats: LogStats,
    /// Bytes of entries in memory.
    cached: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere has stopped the process already, or is a test's.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn group(&self, id: GroupId) -> Arc<Mutex<GroupState>> {
        Arc::clone(lock(&self.groups).entry(id).or_default())
    }
}

impl Log {
    /// Opens the log in `dir`, or makes it. Reads everything there is.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(dir: &Path, options: LogOptions) -> Result<(Log, Recovery), LogError> {
        Log::open_with(dir, options, &Threads)
    }

    /// Opens the log as [`Log::open`] does; `workforce` does the writing.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open_with(
        dir: &Path,
        options: LogOptions,
        workforce: &dyn Workforce,
    ) -> Result<(Log, Recovery), LogError> {
        let (shared, tail, recovery) = recovery::recover(dir, options)?;
        let shared = Arc::new(shared);
        let started = writer::start(Arc::clone(&shared), tail, workforce);
        let orders = started.map_err(|why| LogError::Io {
            path: dir.to_owned(),
            why,
        })?;
        Ok((Log { shared, orders }, recovery))
    }

    /// A group's part of the log.
    #[must_use]
    pub fn group(&self, id: GroupId) -> GroupLog {
        GroupLog::new(
            id,
            self.shared.group(id),
            Arc::clone(&self.shared),
            self.orders.clone(),
        )
    }

    /// Why nothing gets on, while the disk is full.
    #[must_use]
    pub fn stalled(&self) -> Option<String> {
        self.shared.spares.stalled()
    }

    /// What was found damaged in a group's entries since the log was opened.
    #[must_use]
    pub fn damaged(&self, group: GroupId) -> Option<String> {
        lock(&self.shared.group(group)).damaged()
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> &LogStats {
        &self.shared.stats
    }

    /// The groups that hold the oldest segment while more than `segments` are in use: they are told to
    /// take a snapshot, so that it can be used again.
    #[must_use]
    pub fn pinned_by(&self, segments: usize) -> Vec<GroupId> {
        let (answer, answered) = crossbeam::channel::bounded(1);
        if self.orders.send(Order::Pins { segments, answer }).is_err() {
            return Vec::new();
        }
        answered
            .recv_timeout(std::time::Duration::from_secs(1))
            .unwrap_or_default()
    }

    /// Waits until everything that was ordered is durable.
    pub fn flush(&self) {
        let (done, wait) = crossbeam::channel::bounded(1);
        if self.orders.send(Order::Flush { done }).is_ok() {
            let _ = wait.recv();
        }
    }
}
