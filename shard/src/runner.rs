//! The shard thread: a bounded queue in, effects out. One thread owns one machine; every change and
//! every question enters by this one door, in order.
//!
//! The thread takes what waits in one go and hands all effects over at once, so that a burst costs
//! one wake-up on the other side. Only the node whose own TermStart was applied last performs; the
//! others apply in silence (house D8).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use crate::machine::Machine;
use crate::machine::codec;
use crate::machine::command::{Act, Leader};
use crate::machine::effect::Effect;

/// Jobs waiting for one shard thread. 4,096 entries of 20 µs per request and up to 512 requests are
/// never reached in practice; the bound is there so that a stuck thread is felt, not hidden.
pub const QUEUE_MAX: usize = 4_096;

/// Jobs done before their effects are handed over: 64 full entries of some 0.5 ms each are 32 ms,
/// which is how long the first reply of a burst may wait for the others.
const BATCH_MAX: usize = 64;

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
    /// Replace the machine, after a snapshot was received. Whoever is sent a snapshot does not lead,
    /// so nothing is performed until its own TermStart.
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

/// What others may read without asking the thread; as of the last finished batch.
#[derive(Debug, Default)]
pub struct Gauges {
    /// [`Machine::next_deadline`] in milliseconds; `u64::MAX` when there is none.
    pub next_deadline_ms: AtomicU64,
    /// Log index of the last applied entry.
    pub applied: AtomicU64,
    /// Log index of the last TermStart of our own life, 0 while another one performs.
    pub performing_since: AtomicU64,
    /// Effects that were not performed because another one performs them.
    pub silent_effects: AtomicU64,
    /// What other shards have yet to be told.
    pub parcels: AtomicU64,
    /// What they will not be told, because too much waited.
    pub parcels_lost: AtomicU64,
}

impl Runner {
    /// Starts the thread `name` around `machine`; effects go to `sink` while `me` performs them.
    ///
    /// The thread panics, and with it the process in a release build, on an entry that it cannot read
    /// or whose attested digests are not its own: continuing would let replicas drift apart.
    ///
    /// # Panics
    /// When the system gives no further thread.
    #[must_use]
    pub fn spawn(name: &str, machine: Machine, me: Leader, sink: impl Sink) -> Runner {
        let (jobs, queue) = bounded(QUEUE_MAX);
        let gauges = Arc::new(Gauges::default());
        let mut shard = Shard {
            machine,
            me,
            sink,
            gauges: Arc::clone(&gauges),
            effects: Vec::new(),
            performing_since: 0,
            silent: 0,
        };
        shard.show();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || shard.run(&queue))
            .expect("a shard cannot do without its thread");
        Runner { jobs, gauges }
    }

    /// Queues a job.
    ///
    /// # Errors
    /// The job itself, when the queue is full; the caller waits a little and tries again. After the
    /// thread has panicked it is given back for ever.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        self.jobs.try_send(job).map_err(TrySendError::into_inner)
    }

    /// What can be read without asking.
    #[must_use]
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }
}

/// What the thread owns.
struct Shard<S> {
    machine: Machine,
    me: Leader,
    sink: S,
    gauges: Arc<Gauges>,
    /// Effects of the batch in progress that are ours to perform.
    effects: Vec<Effect>,
    performing_since: u64,
    silent: u64,
}

impl<S: Sink> Shard<S> {
    fn run(&mut self, queue: &Receiver<Job>) {
        tracing::info!(
            applied = self.machine.applied(),
            "the shard thread has started"
        );
        while let Ok(first) = queue.recv() {
            self.work(first);
            for job in queue.try_iter().take(BATCH_MAX - 1) {
                self.work(job);
            }
            if !self.effects.is_empty() {
                self.sink.perform(&mut self.effects);
                self.effects.clear();
            }
            self.show();
        }
        tracing::info!(
            applied = self.machine.applied(),
            "the shard thread has ended"
        );
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Apply { index, entry } => self.apply(index, &entry),
            Job::Install(machine) => {
                self.machine = *machine;
                self.performing_since = 0;
            }
            Job::Read(look) => look(&self.machine),
        }
    }

    fn apply(&mut self, index: u64, entry: &[u8]) {
        let entry = codec::decode_entry(entry)
            .unwrap_or_else(|error| panic!("entry {index} stops this replica: {error}"));
        if let Act::TermStart { leader, .. } = entry.act {
            self.performing_since = if leader == self.me { index } else { 0 };
        }
        let ours = self.effects.len();
        self.machine.apply(index, &entry, &mut self.effects);
        if self.performing_since == 0 {
            self.silent += (self.effects.len() - ours) as u64;
            self.effects.truncate(ours);
        }
    }

    fn show(&self) {
        let deadline_ms = self
            .machine
            .next_deadline()
            .map_or(u64::MAX, |deadline| deadline.0);
        self.gauges
            .next_deadline_ms
            .store(deadline_ms, Ordering::Release);
        let counts = self.machine.counts();
        let (parcels, lost) = (&self.gauges.parcels, &self.gauges.parcels_lost);
        parcels.store(counts.parcels, Ordering::Release);
        lost.store(counts.parcels_lost, Ordering::Release);
        self.gauges
            .silent_effects
            .store(self.silent, Ordering::Release);
        self.gauges
            .performing_since
            .store(self.performing_since, Ordering::Release);
        self.gauges
            .applied
            .store(self.machine.applied(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bytes::BytesMut;
    use crossbeam::channel::unbounded;

    use super::*;
    use crate::machine::command::{Command, Publish, Request, Ticket};
    use crate::machine::outcome::RequestKey;
    use crate::presence::publication::TagPolicy;
    use crate::subscription::dialog::Package;
    use crate::time::Timestamp;

    const ME: Leader = Leader { node: 1, life: 7 };
    const EARLIER_LIFE: Leader = Leader { node: 1, life: 6 };

    /// Tells the tickets that were answered, batch by batch; ends with its thread.
    struct Told(Sender<Vec<u64>>);

    impl Sink for Told {
        fn perform(&mut self, effects: &mut Vec<Effect>) {
            let ticket = |effect: Effect| match effect {
                Effect::Reply { ticket, .. } => Some(ticket.0),
                Effect::Notify { .. } | Effect::Send { .. } => None,
            };
            let told = effects.drain(..).filter_map(ticket).collect();
            self.0.send(told).expect("the test listens");
        }
    }

    fn start(machine: Machine) -> (Runner, Receiver<Vec<u64>>) {
        let (sender, told) = unbounded();
        (Runner::spawn("shard-test", machine, ME, Told(sender)), told)
    }

    fn entry(act: &Act<'_>) -> Bytes {
        let mut bytes = BytesMut::new();
        codec::encode_entry(Timestamp(1_000_000), act, &mut bytes);
        bytes.freeze()
    }

    fn leads(leader: Leader) -> Bytes {
        entry(&Act::TermStart { leader, salt: 1 })
    }

    fn asks(ticket: u64) -> Bytes {
        let command = Command::Publish(Publish {
            presentity: "alice@example.com",
            package: Package::Presence,
            if_match: None,
            content: Some(b"content"),
            expires_s: 60,
            tag_policy: TagPolicy::Renew,
            bearing: Default::default(),
        });
        let (key, ticket) = (RequestKey(u128::from(ticket)), Ticket(ticket));
        entry(&Act::Requests(vec![Request {
            key,
            ticket,
            command,
        }]))
    }

    fn apply_all(runner: &Runner, first: u64, entries: impl IntoIterator<Item = Bytes>) {
        for (index, entry) in (first..).zip(entries) {
            assert!(runner.submit(Job::Apply { index, entry }).is_ok());
        }
    }

    /// Waits until the thread has done all jobs so far.
    fn settle(runner: &Runner, applied: u64) {
        let patience = Instant::now() + Duration::from_secs(10);
        while runner.gauges().applied.load(Ordering::Acquire) != applied {
            assert!(Instant::now() < patience, "entry {applied} was not applied");
            std::thread::yield_now();
        }
    }

    #[test]
    fn only_the_one_who_leads_performs() {
        let (runner, told) = start(Machine::default());
        let entries = [
            asks(1),
            leads(ME),
            asks(2),
            asks(3),
            leads(EARLIER_LIFE),
            asks(4),
        ];
        apply_all(&runner, 1, entries);
        settle(&runner, 6);
        let gauge = |gauge: &AtomicU64| gauge.load(Ordering::Acquire);
        let gauges = runner.gauges();
        assert_eq!(gauge(&gauges.performing_since), 0);
        assert_eq!(gauge(&gauges.silent_effects), 2);
        assert_eq!(gauge(&gauges.next_deadline_ms), 1_060_000);

        apply_all(&runner, 7, [leads(ME), asks(5)]);
        settle(&runner, 8);
        assert_eq!(gauge(&gauges.performing_since), 7);
        assert_eq!(told.try_iter().flatten().collect::<Vec<_>>(), [2, 3, 5]);
    }

    #[test]
    fn a_machine_from_a_snapshot_performs_nothing_yet() {
        let (runner, told) = start(Machine::default());
        apply_all(&runner, 1, [leads(ME), asks(1)]);
        let mut machine = Machine::default();
        let bytes = asks(2);
        let read = codec::decode_entry(&bytes).expect("it was just encoded");
        machine.apply(9, &read, &mut Vec::new());
        assert!(runner.submit(Job::Install(Box::new(machine))).is_ok());
        apply_all(&runner, 10, [asks(3)]);
        let (sender, looked) = unbounded();
        let look = move |machine: &Machine| {
            sender
                .send(machine.counts().publications)
                .expect("the test listens");
        };
        assert!(runner.submit(Job::Read(Box::new(look))).is_ok());
        assert_eq!(looked.recv(), Ok(2), "what the snapshot held, and entry 10");
        settle(&runner, 10);
        assert_eq!(told.try_iter().flatten().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn the_thread_ends_with_its_last_handle() {
        let (runner, told) = start(Machine::default());
        let other = runner.clone();
        apply_all(&runner, 1, [leads(ME), asks(1)]);
        drop(runner);
        apply_all(&other, 3, [asks(2)]);
        drop(other);
        assert_eq!(
            told.iter().flatten().collect::<Vec<_>>(),
            [1, 2],
            "all that was queued is done"
        );
    }

    #[test]
    fn a_bad_entry_stops_the_thread() {
        let mut attest = Machine::default().attest(1);
        if let Act::Attest { history_digest, .. } = &mut attest {
            *history_digest ^= 1;
        }
        for (name, bad) in [
            ("unreadable", Bytes::from_static(b"?")),
            ("wrong digest", entry(&attest)),
        ] {
            let (runner, told) = start(Machine::default());
            apply_all(&runner, 1, [bad]);
            assert!(told.recv().is_err(), "{name}: the thread is gone");
            let patience = Instant::now() + Duration::from_secs(10);
            let asks = |ticket| Job::Apply {
                index: 2,
                entry: asks(ticket),
            };
            while runner.submit(asks(1)).is_ok() {
                assert!(Instant::now() < patience, "{name}: jobs are still taken");
                std::thread::yield_now();
            }
        }
    }
}
