//! Effects, in order, to the workers that perform them.
//!
//! The shard thread calls [`Outbox::perform`] once per batch of entries. A reply goes to the worker
//! whose ticket it bears, a notice to the worker that owns the watcher's flow; each worker gets one
//! piece of mail and one wake-up per batch. When a worker's mail is full the shard thread waits: that
//! is the back-pressure that keeps memory bounded, and it cannot lock up, because workers never wait
//! for shard threads.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shard::machine::command::Ticket;
use shard::machine::crossing::Answer;
use shard::machine::effect::{Effect, Notice, Shown};
use shard::machine::outcome::Outcome;
use shard::machine::parcel::Parcel;
use shard::runner::Sink;
use shard::slot::Slot;
use shard::subscription::view::View;
use transport::dialog::Target;
use transport::io::Mailbox;

use super::render::{RenderSettings, Rendering};
use super::traffic::{Replies, Traffic};
use crate::directory::Proof;
use crate::observe::metrics::Metrics;
use crate::peer::NodeNumber;
use crate::raft::proposer::{Failed, ProposeError};

/// A ticket that nobody waits for.
pub const NOBODY: Ticket = Ticket(u64::MAX);

/// What the other threads post to a worker.
#[derive(Debug)]
pub enum Mail {
    /// What a batch of entries asks of this worker, in order.
    Effects(Vec<Deed>),
    /// The answer to a question.
    Found {
        /// Who asked.
        ticket: Ticket,
        /// What was found.
        answer: Answer,
    },
    /// Proposals that no log took.
    Failed {
        /// Who waits.
        tickets: Vec<Ticket>,
        /// Why.
        error: ProposeError,
    },
    /// What the directory says of credentials.
    Proven {
        /// Of which request.
        number: u64,
        /// What.
        proof: Proof,
    },
    /// The node stops: nothing new is taken.
    Drain,
}

/// One thing a worker does.
#[derive(Debug)]
pub enum Deed {
    /// Answer.
    Reply {
        /// Who waits.
        ticket: Ticket,
        /// What to tell.
        outcome: Outcome,
        /// What to show with it.
        shown: Option<Box<Shown>>,
    },
    /// Notify some of a view's watchers.
    Notify {
        /// What they are shown.
        rendering: Arc<Rendering>,
        /// Which of them.
        notices: Vec<Notice>,
    },
    /// Bring a parcel into the logs of other shards.
    Send {
        /// The slot that keeps it.
        slot: Slot,
        /// Its number there.
        number: u64,
        /// What, and for whom.
        parcel: Arc<Parcel>,
    },
}

/// Tickets count in the low 41 bits, beginning at the milliseconds of the start, so that a reply to an
/// earlier life of the node finds nobody; what is left until 2039 is enough for as many requests. One
/// bit says that it is an errand of the node itself; then 8 bits of worker and 14 of node.
pub const NUMBER_BITS: u32 = 41;
/// Tells tickets of errands from those of requests.
pub const ERRAND: u64 = 1 << NUMBER_BITS;
const WORKER_SHIFT: u32 = NUMBER_BITS + 1;
const NODE_SHIFT: u32 = WORKER_SHIFT + 8;

/// The begin of all tickets of a worker.
#[must_use]
pub fn tickets_of(node: NodeNumber, worker: u8) -> u64 {
    (node << NODE_SHIFT) | (u64::from(worker) << WORKER_SHIFT)
}

/// The worker number of the node's clerk, who asks for those who are no SIP client. No `sip-N` has it: a
/// machine has fewer cores.
pub const CLERK: u8 = u8::MAX;

/// Where the clerk's mail goes: to whoever waits, at once. It never blocks.
pub trait Inbox: Send + Sync {
    /// Takes one piece.
    fn take(&self, mail: Mail);
}

/// The number of the worker that a ticket belongs to.
#[must_use]
pub fn worker_of(ticket: Ticket) -> usize {
    usize::from((ticket.0 >> WORKER_SHIFT) as u8)
}

/// The node that a ticket belongs to.
#[must_use]
pub fn node_of(ticket: Ticket) -> NodeNumber {
    ticket.0 >> NODE_SHIFT
}

/// Posts to all workers of this node. They start after the shards, so the list is filled in later; a
/// shard that has effects earlier waits for it.
#[derive(Clone)]
pub struct Workers {
    mailboxes: Arc<OnceLock<Vec<Mailbox<Mail>>>>,
    clerk: Arc<OnceLock<Arc<dyn Inbox>>>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workers({:?})", self.mailboxes.get().map(Vec::len))
    }
}

impl Workers {
    /// No worker yet.
    #[must_use]
    pub fn new() -> Workers {
        Workers {
            mailboxes: Arc::new(OnceLock::new()),
            clerk: Arc::new(OnceLock::new()),
        }
    }

    /// Fills the list in, once.
    ///
    /// # Panics
    /// When called twice.
    pub fn set(&self, mailboxes: Vec<Mailbox<Mail>>) {
        assert!(
            self.mailboxes.set(mailboxes).is_ok(),
            "the workers are set once"
        );
    }

    /// Says who the clerk is, once.
    ///
    /// # Panics
    /// When called twice.
    pub fn set_clerk(&self, clerk: Arc<dyn Inbox>) {
        assert!(self.clerk.set(clerk).is_ok(), "the clerk is set once");
    }

    /// Posts and wakes; waits while the worker's mail is full.
    pub fn deliver(&self, worker: usize, mail: Mail) {
        if worker == usize::from(CLERK) {
            // Before there is a clerk it has asked nothing: the mail is for an earlier life.
            if let Some(clerk) = self.clerk.get() {
                clerk.take(mail);
            }
            return;
        }
        let mailboxes = self.mailboxes.wait();
        let mailbox = mailboxes.get(worker).unwrap_or(&mailboxes[0]);
        let mut waiting = mail;
        while let Err(back) = mailbox.post(waiting) {
            if mailbox.is_closed() {
                return;
            }
            waiting = back;
            mailbox.wake();
            std::thread::sleep(Duration::from_millis(1));
        }
        mailbox.wake();
    }

    /// Whose mail what comes for a ticket is: one of an earlier life may name a worker that is not here.
    #[must_use]
    pub fn home_of(&self, ticket: Ticket) -> usize {
        match worker_of(ticket) {
            clerk if clerk == usize::from(CLERK) => clerk,
            worker => worker.min(self.count() - 1),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.mailboxes.wait().len()
    }
}

impl Default for Workers {
    fn default() -> Workers {
        Workers::new()
    }
}

/// The effects of one shard.
#[derive(Debug)]
pub struct Outbox {
    workers: Workers,
    traffic: Traffic,
    metrics: Arc<Metrics>,
    settings: RenderSettings,
    deeds: Vec<Vec<Deed>>,
    replies: BTreeMap<NodeNumber, Replies>,
}

impl Outbox {
    /// An outbox that delivers to `workers`, and over `traffic` to those of other nodes.
    #[must_use]
    pub fn new(
        workers: Workers,
        traffic: Traffic,
        metrics: Arc<Metrics>,
        settings: RenderSettings,
    ) -> Outbox {
        Outbox {
            workers,
            traffic,
            metrics,
            settings,
            deeds: Vec::new(),
            replies: BTreeMap::new(),
        }
    }

    /// Sorts a view's notices by the node, and there by the worker, that owns each watcher's flow.
    fn spread(&mut self, view: Arc<View>, notices: Vec<Notice>) {
        self.metrics.fan_out(notices.len());
        let rendering = Arc::new(Rendering::new(view, &self.settings));
        if self.deeds.len() == 1 && self.traffic.is_alone() {
            self.deeds[0].push(Deed::Notify { rendering, notices });
            return;
        }
        let me = self.traffic.me();
        let mut by_worker: Vec<Vec<Notice>> = Vec::new();
        by_worker.resize_with(self.deeds.len(), Vec::new);
        let mut elsewhere: BTreeMap<NodeNumber, Vec<Notice>> = BTreeMap::new();
        for notice in notices {
            let (node, worker) = Target::decode(&notice.target)
                .map_or((0, 0), |target| (target.node, target.flow.worker));
            if node != me && node != 0 && self.traffic.reaches(node) {
                elsewhere.entry(node).or_default().push(notice);
                continue;
            }
            // A flow of an earlier life, or of a node that is gone, may name a worker that is not here.
            let owner = usize::from(worker);
            let owner = if owner < by_worker.len() { owner } else { 0 };
            by_worker[owner].push(notice);
        }
        for (node, notices) in elsewhere {
            if self.traffic.notify(node, &rendering, &notices).is_err() {
                // Its link has just gone: from here, then.
                by_worker[0].extend(notices);
            }
        }
        for (worker, notices) in by_worker.into_iter().enumerate() {
            if !notices.is_empty() {
                self.deeds[worker].push(Deed::Notify {
                    rendering: Arc::clone(&rendering),
                    notices,
                });
            }
        }
    }
}

impl Sink for Outbox {
    fn perform(&mut self, effects: &mut Vec<Effect>) {
        if self.deeds.is_empty() {
            self.deeds.resize_with(self.workers.count(), Vec::new);
        }
        let me = self.traffic.me();
        for effect in effects.drain(..) {
            match effect {
                Effect::Reply { ticket: NOBODY, .. } => {}
                Effect::Reply {
                    ticket,
                    outcome,
                    shown,
                } if node_of(ticket) == me && worker_of(ticket) == usize::from(CLERK) => {
                    let deed = Deed::Reply {
                        ticket,
                        outcome,
                        shown,
                    };
                    let mail = Mail::Effects(vec![deed]);
                    self.workers.deliver(usize::from(CLERK), mail);
                }
                Effect::Reply {
                    ticket,
                    outcome,
                    shown,
                } if node_of(ticket) == me => {
                    let worker = worker_of(ticket).min(self.deeds.len() - 1);
                    self.deeds[worker].push(Deed::Reply {
                        ticket,
                        outcome,
                        shown,
                    });
                }
                Effect::Reply {
                    ticket,
                    outcome,
                    shown,
                } => self.replies.entry(node_of(ticket)).or_default().add(
                    ticket,
                    &outcome,
                    shown.as_deref(),
                ),
                Effect::Notify { view, notices } => {
                    // An answer leaves before what its request set off, here as on other nodes.
                    self.send_replies();
                    self.spread(view, notices);
                }
                Effect::Send {
                    slot,
                    number,
                    parcel,
                } => {
                    // Parcels of one slot by one worker, so that each is carried once.
                    let worker = usize::from(slot.number()) % self.deeds.len();
                    self.deeds[worker].push(Deed::Send {
                        slot,
                        number,
                        parcel,
                    });
                }
            }
        }
        self.send_replies();
        for (worker, deeds) in self.deeds.iter_mut().enumerate() {
            if !deeds.is_empty() {
                self.workers
                    .deliver(worker, Mail::Effects(std::mem::take(deeds)));
            }
        }
    }
}

impl Outbox {
    fn send_replies(&mut self) {
        while let Some((node, replies)) = self.replies.pop_first() {
            replies.send(&self.traffic, node);
        }
    }
}

/// Tells whoever waits, here or on other nodes, of proposals that failed.
#[derive(Clone, Debug)]
pub struct Failures {
    /// The workers of this node.
    pub workers: Workers,
    /// The other nodes.
    pub traffic: Traffic,
}

impl Failed for Failures {
    fn failed(&self, tickets: &[Ticket], error: ProposeError) {
        let me = self.traffic.me();
        let mut elsewhere: BTreeMap<NodeNumber, Vec<Ticket>> = BTreeMap::new();
        let mut here = Vec::new();
        for ticket in tickets.iter().filter(|ticket| **ticket != NOBODY) {
            if node_of(*ticket) == me {
                here.push(*ticket);
            } else {
                elsewhere.entry(node_of(*ticket)).or_default().push(*ticket);
            }
        }
        let leader = match error {
            ProposeError::NotLeader { leader } => leader,
            ProposeError::Overloaded | ProposeError::Unavailable => None,
        };
        for (node, tickets) in elsewhere {
            self.traffic.refuse(node, leader, &tickets);
        }
        self.workers.failed(&here, &error);
    }
}

impl Workers {
    /// Tells the workers of proposals that failed.
    pub fn failed(&self, tickets: &[Ticket], error: &ProposeError) {
        let mut by_worker: BTreeMap<usize, Vec<Ticket>> = BTreeMap::new();
        for ticket in tickets {
            by_worker
                .entry(self.home_of(*ticket))
                .or_default()
                .push(*ticket);
        }
        for (worker, tickets) in by_worker {
            let error = error.clone();
            self.deliver(worker, Mail::Failed { tickets, error });
        }
    }
}
