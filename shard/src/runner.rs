//! The shard thread: a bounded queue in, effects out. One thread owns one machine; every change and
//! every question enters by this one door, in order.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use crate::machine::Machine;
use crate::machine::command::Leader;
use crate::machine::effect::Effect;

/// Jobs waiting for one shard thread. 4,096 entries of 20 µs per request and up to 512 requests are
/// never reached in practice; the bound is there so that a stuck thread is felt, not hidden.
pub const QUEUE_MAX: usize = 4_096;

/// Takes the effects of applied entries, on the shard thread. Called once per drained batch and only
/// while this node leads.
pub trait Sink: Send + 'static {
    /// Performs the effects in order and leaves the list empty.
    fn perform(&mut self, effects: &mut Vec<Effect>);
}

/// What the shard thread is asked to do.
pub enum Job {
    /// Apply a committed entry.
    Apply {
        /// Its log position.
        index: u64,
        /// Its bytes ([`crate::machine::codec`]).
        entry: Bytes,
    },
    /// Replace the machine, after a snapshot was received.
    Install(Box<Machine>),
    /// Look at the machine: fetches, reports, snapshots.
    Read(Box<dyn FnOnce(&Machine) + Send>),
}

/// A handle to a shard thread. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Runner {
    jobs: crossbeam::channel::Sender<Job>,
    gauges: Arc<Gauges>,
}

/// What others may read without asking the thread.
#[derive(Debug, Default)]
pub struct Gauges {
    /// [`Machine::next_deadline`] in milliseconds; `u64::MAX` when there is none.
    pub next_deadline_ms: AtomicU64,
    /// Log index of the last applied entry.
    pub applied: AtomicU64,
    /// Log index of the last TermStart of our own life, 0 while another one performs.
    pub performing_since: AtomicU64,
}

impl Runner {
    /// Starts the thread `name` around `machine`; effects go to `sink` while `me` performs them.
    #[must_use]
    pub fn spawn(name: &str, machine: Machine, me: Leader, sink: impl Sink) -> Runner {
        let _ = (name, machine, me, sink);
        todo!()
    }

    /// Queues a job.
    ///
    /// # Errors
    /// The job itself, when the queue is full; the caller waits a little and tries again.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        self.jobs.try_send(job).map_err(crossbeam::channel::TrySendError::into_inner)
    }

    /// What can be read without asking.
    #[must_use]
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }
}
