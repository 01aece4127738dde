//! Batching, deadlines, in-flight limits; one per shard.
//!
//! Requests that wait become one entry; while an entry is on its way the next ones gather, so batches
//! grow with the load and a lone request waits for nobody. The proposer also lets time pass: when the
//! machine's next deadline comes it proposes an entry, an empty one if need be (house D10).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use openraft::error::ClientWriteError;
use openraft::{LogId, RaftMetrics, ServerState};
use shard::machine::codec::{encode_batch, encode_entry};
use shard::machine::command::{Act, Leader, Ticket};
use shard::presence::limits::{ENTRY_BYTES_MAX, ENTRY_REQUESTS_MAX};
use shard::runner::{Job, Runner};
use shard::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::group::Raft;
use super::lease::Lease;
use super::types::{NodeNumber, Payload};
use crate::observe::metrics::Histogram;

/// Batches that wait: each is a worker's turn of up to 512 requests.
const QUEUE_MAX: usize = 1_024;

/// Entries on their way: one is being synced while the next is replicated and the third gathers.
const IN_FLIGHT_MAX: usize = 2;

/// How often the machine's next deadline is looked at. Lifetimes are minutes; half a second late is
/// within every peer's patience.
const LOOK: Duration = Duration::from_millis(500);

/// Entries between two attested digests (house D16).
const ATTEST_EVERY: u64 = 4_096;

/// What one worker's turn brought for one shard.
#[derive(Debug)]
pub struct Batch {
    /// Encoded by [`shard::machine::codec::encode_request`], one behind the other.
    pub requests: Bytes,
    /// One per request, in order.
    pub tickets: Vec<Ticket>,
}

/// Why requests were not logged. Handled by routing, never shown as 500.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads, or none.
    #[error("this node does not lead the shard")]
    NotLeader {
        /// Who does, if anybody knows.
        leader: Option<NodeNumber>,
    },
    /// Too much waits already.
    #[error("the shard has too much to do")]
    Overloaded,
    /// The group has stopped.
    #[error("the shard's group has stopped")]
    Unavailable,
}

/// Is told of requests that were not logged.
pub trait Failed: Send + Sync + 'static {
    /// These requests were not logged, or nobody knows whether they were.
    fn failed(&self, tickets: &[Ticket], error: ProposeError);
}

/// Hands requests to a shard's log, from any thread.
#[derive(Clone)]
pub struct Proposer {
    queue: mpsc::Sender<Queued>,
    standing: Arc<Standing>,
    runner: Runner,
}

/// What this node is to the group, as its metrics last said.
#[derive(Debug)]
struct Standing {
    leads: AtomicBool,
    /// Where the entry stands that began the term this node leads; `u64::MAX` before it is committed.
    begun_at: AtomicU64,
    lease: Lease,
    /// Who leads, as far as this replica knows; 0 for nobody.
    leader: AtomicU64,
    /// Whether leadership is being handed over: nothing is proposed meanwhile.
    handing_over: AtomicBool,
    /// Entries that were proposed and have not come back.
    in_flight: AtomicUsize,
    /// Whether TermStart is wanted once more.
    tell_again: AtomicBool,
    counters: Counters,
}

/// What proposing has done so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries proposed.
    pub entries: AtomicU64,
    /// Requests in them.
    pub requests: AtomicU64,
    /// Times this node became leader.
    pub terms: AtomicU64,
    /// How long what a turn brought waited until it was proposed, in microseconds.
    pub waits: Histogram,
    /// From an entry's proposal until a majority has it on disk and it is applied here, in microseconds.
    pub commits: Histogram,
}

impl Proposer {
    /// Starts the task that proposes for one group, on the runtime this is called from.
    pub(super) fn start(
        raft: Raft,
        me: Leader,
        runner: Runner,
        lease: Lease,
        failed: Arc<dyn Failed>,
    ) -> Proposer {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let standing = Arc::new(Standing {
            leads: AtomicBool::new(false),
            begun_at: AtomicU64::new(u64::MAX),
            lease,
            leader: AtomicU64::new(0),
            handing_over: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            tell_again: AtomicBool::new(false),
            counters: Counters::default(),
        });
        let task = Task {
            metrics: raft.metrics(),
            raft,
            me,
            runner: runner.clone(),
            standing: Arc::clone(&standing),
            failed,
            waiting,
            set_aside: None,
            in_flight: VecDeque::new(),
            started: None,
            proposed: 0,
            last_at: Timestamp(0),
            members_at: None,
        };
        tokio::spawn(task.run());
        Proposer {
            queue,
            standing,
            runner,
        }
    }

    /// Hands over what a turn brought. Never blocks.
    ///
    /// # Errors
    /// The batch itself when too many are waiting.
    pub fn submit(&self, batch: Batch) -> Result<(), Batch> {
        let queued = Queued {
            batch,
            since: Instant::now(),
        };
        self.queue.try_send(queued).map_err(|error| match error {
            mpsc::error::TrySendError::Full(queued) | mpsc::error::TrySendError::Closed(queued) => {
                queued.batch
            }
        })
    }

    /// Whether this node leads, and its first entry is applied: then what it proposes is answered here.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.standing.leads.load(Acquire)
            && !self.standing.handing_over.load(Acquire)
            && self.runner.gauges().performing_since.load(Acquire)
                >= self.standing.begun_at.load(Acquire)
    }

    /// Who leads, as far as this replica knows; 0 for nobody.
    #[must_use]
    pub fn leader(&self) -> NodeNumber {
        self.standing.leader.load(Acquire)
    }

    /// Tells again what was told lately: notifications may be lost with a link to another node. The
    /// machine does so at the start of a term, so this begins one more within the same.
    pub fn tell_again(&self) {
        self.standing.tell_again.store(true, Release);
    }

    /// Stops proposing, so that another replica can have all there is and lead; or goes on.
    pub fn hand_over(&self, begins: bool) {
        self.standing.handing_over.store(begins, Release);
    }

    /// Whether everything that was proposed has come back: then the log ends where it seems to. Of use to
    /// tasks of the same runtime while nothing is proposed, during a hand-over.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.standing.in_flight.load(Acquire) == 0
    }

    /// Whether what the machine shows is the newest: this node leads, everything of earlier terms is
    /// applied, and nobody else can lead yet ([`Lease`]). Asked of the clock at each call, so a process
    /// that was stopped in between finds out by itself.
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.is_leading() && self.standing.lease.holds()
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.standing.counters
    }
}

/// A batch that waits.
struct Queued {
    batch: Batch,
    since: Instant,
}

/// An entry on its way.
struct InFlight {
    since: Instant,
    tickets: Vec<Ticket>,
    /// Whether it begins the term.
    begins: bool,
    done: oneshot::Receiver<openraft::raft::ClientWriteResult<super::types::TypeConfig>>,
}

struct Task {
    raft: Raft,
    metrics: watch::Receiver<RaftMetrics<NodeNumber, openraft::BasicNode>>,
    me: Leader,
    runner: Runner,
    standing: Arc<Standing>,
    failed: Arc<dyn Failed>,
    waiting: mpsc::Receiver<Queued>,
    /// A batch that did not fit into the last entry.
    set_aside: Option<Queued>,
    in_flight: VecDeque<InFlight>,
    /// The term for which TermStart was proposed.
    started: Option<u64>,
    /// Entries proposed since the digests were last attested.
    proposed: u64,
    /// The time of the last entry: it never goes back.
    last_at: Timestamp,
    /// The entry of the voters that the lease was told of, and the term.
    members_at: Option<(Option<LogId<NodeNumber>>, u64)>,
}

impl Task {
    async fn run(mut self) {
        loop {
            self.look_around().await;
            // When it is time to attest, what is on its way is waited for first.
            let room = self.in_flight.len() < IN_FLIGHT_MAX
                && self.proposed < ATTEST_EVERY
                && !self.standing.handing_over.load(Acquire);
            if room && let Some(batch) = self.set_aside.take() {
                self.gather(batch).await;
                continue;
            }
            tokio::select! {
                biased;
                changed = self.metrics.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                done = first_done(&mut self.in_flight) => self.finished(done),
                batch = self.waiting.recv(), if room => match batch {
                    // A hand-over may have begun while this waited: an entry now would be one that the
                    // heir lacks, and nobody would vote for it.
                    Some(batch) if self.standing.handing_over.load(Acquire) => {
                        self.set_aside = Some(batch);
                    }
                    Some(batch) => self.gather(batch).await,
                    None => return,
                },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Follows leadership, deadlines and audits.
    async fn look_around(&mut self) {
        self.standing.in_flight.store(self.in_flight.len(), Release);
        let (leads, term) = {
            let metrics = self.metrics.borrow_and_update();
            let leads = metrics.state == ServerState::Leader && metrics.running_state.is_ok();
            let members = &metrics.membership_config;
            let known = leads.then_some((*members.log_id(), metrics.current_term));
            if self.members_at != known {
                self.members_at = known;
                match known {
                    None => self.standing.lease.end(),
                    Some((_, term)) => {
                        let voters = members.membership().get_joint_config();
                        self.standing.lease.lead(self.me.node, term, voters);
                    }
                }
            }
            let leader = metrics.current_leader.unwrap_or(0);
            self.standing.leader.store(leader, Release);
            (leads, metrics.current_term)
        };
        self.standing.leads.store(leads, Release);
        if !leads {
            self.started = None;
            self.standing.begun_at.store(u64::MAX, Release);
            return;
        }
        if self.standing.handing_over.load(Acquire) {
            return;
        }
        let again = self.standing.tell_again.swap(false, Acquire);
        if self.started != Some(term) || again {
            let begins = self.started != Some(term);
            if begins {
                // What was proposed in an earlier term is decided by now, and openraft need not say how: an entry that
                // came back within a snapshot is applied by nobody here. Whoever waits asks again, under its key.
                for earlier in std::mem::take(&mut self.in_flight) {
                    if !earlier.tickets.is_empty() {
                        let error = ProposeError::NotLeader { leader: None };
                        self.failed.failed(&earlier.tickets, error);
                    }
                }
                self.standing.counters.terms.fetch_add(1, Relaxed);
                self.standing.begun_at.store(u64::MAX, Release);
                // A replica that went wrong is found when somebody new leads, not hours later.
                self.proposed = ATTEST_EVERY;
            }
            self.started = Some(term);
            let mut salt = [0; 4];
            getrandom::fill(&mut salt).expect("the operating system gives random bytes");
            let act = Act::TermStart {
                leader: self.me,
                salt: u32::from_le_bytes(salt),
            };
            let entry = self.encoded(&act);
            self.propose(entry, Vec::new(), begins).await;
        }
        let deadline = Timestamp(self.runner.gauges().next_deadline_ms.load(Acquire));
        if deadline <= wall_clock() && self.last_at < deadline {
            self.propose_act(&Act::Requests(Vec::new())).await;
        }
        if self.proposed >= ATTEST_EVERY && self.in_flight.is_empty() {
            self.proposed = 0;
            self.attest().await;
        }
    }

    /// Proposes the machine's digests for every replica to compare (house D16). They must be those just
    /// before the entry, so this is done when nothing else is on its way, and nothing is proposed until
    /// the machine has answered.
    async fn attest(&mut self) {
        let index = self.runner.gauges().applied.load(Acquire);
        let (give, take) = oneshot::channel();
        let job = Job::Read(Box::new(move |machine| {
            let _ = give.send(machine.attest(index));
        }));
        if self.runner.submit(job).is_err() {
            return;
        }
        if let Ok(act) = take.await {
            self.propose_act(&act).await;
        }
    }

    fn stamp(&mut self) -> Timestamp {
        self.last_at = self.last_at.max(wall_clock());
        self.last_at
    }

    fn encoded(&mut self, act: &Act<'_>) -> Bytes {
        let mut entry = BytesMut::with_capacity(64);
        encode_entry(self.stamp(), act, &mut entry);
        entry.freeze()
    }

    async fn propose_act(&mut self, act: &Act<'_>) {
        let entry = self.encoded(act);
        self.propose(entry, Vec::new(), false).await;
    }

    /// Makes one entry of what waits.
    async fn gather(&mut self, first: Queued) {
        let mut batches = vec![first.batch];
        let mut requests = batches[0].tickets.len();
        let mut bytes = batches[0].requests.len();
        let waits = &self.standing.counters.waits;
        waits.record_since(first.since);
        while let Ok(next) = self.waiting.try_recv() {
            requests += next.batch.tickets.len();
            bytes += next.batch.requests.len();
            if requests > ENTRY_REQUESTS_MAX || bytes > ENTRY_BYTES_MAX {
                self.set_aside = Some(next);
                break;
            }
            waits.record_since(next.since);
            batches.push(next.batch);
        }
        let count = batches
            .iter()
            .map(|batch| batch.tickets.len())
            .sum::<usize>();
        let length = batches
            .iter()
            .map(|batch| batch.requests.len())
            .sum::<usize>();
        let mut entry = BytesMut::with_capacity(16 + length);
        let at = self.stamp();
        let count = u16::try_from(count).expect("a worker hands over at most 512 requests at once");
        let parts: Vec<&[u8]> = batches.iter().map(|batch| &*batch.requests).collect();
        encode_batch(at, count, &parts, &mut entry);
        let mut tickets = Vec::with_capacity(usize::from(count));
        for batch in batches {
            tickets.extend(batch.tickets);
        }
        self.standing
            .counters
            .requests
            .fetch_add(u64::from(count), Relaxed);
        self.propose(entry.freeze(), tickets, false).await;
    }

    async fn propose(&mut self, entry: Bytes, tickets: Vec<Ticket>, begins: bool) {
        self.standing.counters.entries.fetch_add(1, Relaxed);
        self.proposed += 1;
        let since = Instant::now();
        match self.raft.client_write_ff(Payload(entry)).await {
            Ok(done) => self.in_flight.push_back(InFlight {
                since,
                tickets,
                begins,
                done,
            }),
            Err(_) => self.failed.failed(&tickets, ProposeError::Unavailable),
        }
    }

    fn finished(
        &mut self,
        done: Option<openraft::raft::ClientWriteResult<super::types::TypeConfig>>,
    ) {
        let Some(InFlight {
            since,
            tickets,
            begins,
            ..
        }) = self.in_flight.pop_front()
        else {
            return;
        };
        let error = match done {
            // The outcome travels as an effect of the machine.
            Some(Ok(written)) => {
                self.standing.counters.commits.record_since(since);
                // What earlier terms left is applied before this entry, and only then this node knows all.
                let log_id = written.log_id;
                if begins && self.started == Some(log_id.leader_id.term) {
                    self.standing.begun_at.store(log_id.index, Release);
                }
                return;
            }
            Some(Err(ClientWriteError::ForwardToLeader(elsewhere))) => ProposeError::NotLeader {
                leader: elsewhere.leader_id,
            },
            Some(Err(ClientWriteError::ChangeMembershipError(_))) | None => {
                ProposeError::Unavailable
            }
        };
        if !tickets.is_empty() {
            self.failed.failed(&tickets, error);
        }
    }
}

/// Waits for the oldest entry on its way; for ever when there is none.
async fn first_done(
    in_flight: &mut VecDeque<InFlight>,
) -> Option<openraft::raft::ClientWriteResult<super::types::TypeConfig>> {
    match in_flight.front_mut() {
        Some(first) => (&mut first.done).await.ok(),
        None => std::future::pending().await,
    }
}

fn wall_clock() -> Timestamp {
    Timestamp(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis() as u64,
    )
}
