//! The shard thread: a bounded queue in, effects out. One thread owns one machine; every change and
//! every question enters by this one door, in order.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use crate::machine::Machine;
use crate::machine::codec::decode_entry;
use crate::machine::command::{Act, Leader};
use crate::machine::effect::Effect;

/// Jobs waiting for one shard thread. It keeps up with the log by a wide margin; the bound is there so
/// that a stuck thread is felt, not hidden.
pub const QUEUE_MAX: usize = 4_096;

/// Jobs done before their effects leave: a batch of the log's, not a lifetime.
const DRAINED_MAX: usize = 64;

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
    jobs: Sender<Job>,
    gauges: Arc<Gauges>,
}

/// What others may read without asking the thread.
#[derive(Debug)]
pub struct Gauges {
    /// [`Machine::next_deadline`] in milliseconds; `u64::MAX` when there is none.
    pub next_deadline_ms: AtomicU64,
    /// Log index of the last applied entry.
    pub applied: AtomicU64,
    /// Log index of the last TermStart of our own life, 0 while another one performs.
    pub performing_since: AtomicU64,
    /// Index of the machine's last audit, 0 before the first.
    pub audited: AtomicU64,
}

impl Runner {
    /// Starts the thread `name` around `machine`; effects go to `sink` while `me` performs them.
    ///
    /// # Panics
    /// When the system refuses the thread.
    #[must_use]
    pub fn spawn(name: &str, machine: Machine, me: Leader, sink: impl Sink) -> Runner {
        let (jobs, queue) = bounded(QUEUE_MAX);
        let gauges = Arc::new(Gauges {
            next_deadline_ms: AtomicU64::new(u64::MAX),
            applied: AtomicU64::new(0),
            performing_since: AtomicU64::new(0),
            audited: AtomicU64::new(0),
        });
        let thread = Thread { machine, me, sink, performs: false, effects: Vec::new(), gauges: Arc::clone(&gauges) };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || thread.run(&queue))
            .expect("the system gives a shard its thread");
        Runner { jobs, gauges }
    }

    /// Queues a job.
    ///
    /// # Errors
    /// The job itself, when the queue is full; the caller waits a little and tries again.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        self.jobs.try_send(job).map_err(TrySendError::into_inner)
    }

    /// What can be read without asking.
    #[must_use]
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }
}

struct Thread<S: Sink> {
    machine: Machine,
    me: Leader,
    sink: S,
    /// Whether the last leader whose term was started is this life of this node: then its effects are
    /// ours to perform. The log's order decides, so that exactly one replica performs each entry.
    performs: bool,
    effects: Vec<Effect>,
    gauges: Arc<Gauges>,
}

impl<S: Sink> Thread<S> {
    fn run(mut self, queue: &Receiver<Job>) {
        self.publish();
        while let Ok(first) = queue.recv() {
            self.perform(first);
            for _ in 1..DRAINED_MAX {
                let Ok(next) = queue.try_recv() else { break };
                self.perform(next);
            }
            self.publish();
            if !self.effects.is_empty() {
                self.sink.perform(&mut self.effects);
                self.effects.clear();
            }
        }
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Apply { index, entry } => self.apply(index, &entry),
            Job::Install(machine) => {
                self.machine = *machine;
                self.performs = false;
                self.gauges.performing_since.store(0, Release);
            }
            Job::Read(look) => {
                // What is shown must not be older than what was answered: effects leave first.
                if !self.effects.is_empty() {
                    self.sink.perform(&mut self.effects);
                    self.effects.clear();
                }
                look(&self.machine);
            }
        }
    }

    fn apply(&mut self, index: u64, bytes: &[u8]) {
        // Going on without an entry that others apply would make this replica a different one.
        let entry = decode_entry(bytes).unwrap_or_else(|error| panic!("log entry {index} {error}"));
        if let Act::TermStart { leader, .. } = &entry.act {
            self.performs = *leader == self.me;
            self.gauges.performing_since.store(if self.performs { index } else { 0 }, Release);
        }
        let before = self.effects.len();
        self.machine.apply(index, &entry, &mut self.effects);
        if !self.performs {
            self.effects.truncate(before);
        }
        self.gauges.applied.store(index, Release);
    }

    fn publish(&self) {
        let next = self.machine.next_deadline().map_or(u64::MAX, |deadline| deadline.0);
        self.gauges.next_deadline_ms.store(next, Release);
        self.gauges.audited.store(self.machine.audit().map_or(0, |audit| audit.index), Relaxed);
    }
}
