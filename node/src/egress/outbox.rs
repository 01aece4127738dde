//! Effects, in order, to the workers that perform them.
//!
//! The shard thread calls [`Outbox::perform`] once per batch of entries. A reply goes to the worker
//! whose ticket it bears, a notice to the worker that owns the watcher's flow; each worker gets one
//! piece of mail and one wake-up per batch. When a worker's mail is full the shard thread waits: that
//! is the back-pressure that keeps memory bounded, and it cannot lock up, because workers never wait
//! for shard threads.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shard::machine::command::Ticket;
use shard::machine::effect::{Effect, Notice, Shown};
use shard::machine::outcome::Outcome;
use shard::runner::Sink;
use shard::subscription::view::View;
use transport::dialog::Target;
use transport::io::Mailbox;

use super::render::Rendering;
use crate::observe::metrics::Metrics;
use crate::raft::proposer::{Failed, ProposeError};

/// A ticket that nobody waits for.
pub const NOBODY: Ticket = Ticket(u64::MAX);

/// What the other threads post to a worker.
#[derive(Debug)]
pub enum Mail {
    /// What a batch of entries asks of this worker, in order.
    Effects(Vec<Deed>),
    /// The answer to a fetch.
    Fetched {
        /// Who asked.
        ticket: Ticket,
        /// What was seen.
        view: Arc<View>,
    },
    /// What a poll saw.
    Polled {
        /// Who asked.
        ticket: Ticket,
        /// What there is.
        shown: Box<Shown>,
    },
    /// Whether a publication that was asked about lives.
    Matched {
        /// Who asked.
        ticket: Ticket,
        /// Whether its tag is the current one.
        lives: bool,
    },
    /// Proposals that no log took.
    Failed {
        /// Who waits.
        tickets: Vec<Ticket>,
        /// Why.
        error: ProposeError,
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
}

/// The number of the worker that a ticket belongs to: its top byte.
#[must_use]
pub fn worker_of(ticket: Ticket) -> usize {
    (ticket.0 >> 56) as usize
}

/// Posts to all workers of this node. They start after the shards, so the list is filled in later; a
/// shard that has effects earlier waits for it.
#[derive(Clone, Debug)]
pub struct Workers {
    mailboxes: Arc<OnceLock<Vec<Mailbox<Mail>>>>,
}

impl Workers {
    /// No worker yet.
    #[must_use]
    pub fn new() -> Workers {
        Workers {
            mailboxes: Arc::new(OnceLock::new()),
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

    /// Posts and wakes; waits while the worker's mail is full.
    pub fn deliver(&self, worker: usize, mail: Mail) {
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
    metrics: Arc<Metrics>,
    ucs: bool,
    deeds: Vec<Vec<Deed>>,
}

impl Outbox {
    /// An outbox that delivers to `workers`; `ucs` where contacts may be moved to a mail server.
    #[must_use]
    pub fn new(workers: Workers, metrics: Arc<Metrics>, ucs: bool) -> Outbox {
        Outbox {
            workers,
            metrics,
            ucs,
            deeds: Vec::new(),
        }
    }

    /// Sorts a view's notices by the worker that owns each watcher's flow.
    fn spread(&mut self, view: Arc<View>, notices: Vec<Notice>) {
        self.metrics.fan_out(notices.len());
        let rendering = Arc::new(Rendering::new(view, self.ucs));
        if self.deeds.len() == 1 {
            self.deeds[0].push(Deed::Notify { rendering, notices });
            return;
        }
        let mut by_worker: Vec<Vec<Notice>> = Vec::new();
        by_worker.resize_with(self.deeds.len(), Vec::new);
        for notice in notices {
            // A flow of an earlier life may name a worker that is not there any more.
            let owner =
                Target::decode(&notice.target).map_or(0, |target| usize::from(target.flow.worker));
            let owner = if owner < by_worker.len() { owner } else { 0 };
            by_worker[owner].push(notice);
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
        for effect in effects.drain(..) {
            match effect {
                Effect::Reply { ticket: NOBODY, .. } => {}
                Effect::Reply {
                    ticket,
                    outcome,
                    shown,
                } => {
                    let worker = worker_of(ticket).min(self.deeds.len() - 1);
                    self.deeds[worker].push(Deed::Reply {
                        ticket,
                        outcome,
                        shown,
                    });
                }
                Effect::Notify { view, notices } => self.spread(view, notices),
            }
        }
        for (worker, deeds) in self.deeds.iter_mut().enumerate() {
            if !deeds.is_empty() {
                self.workers
                    .deliver(worker, Mail::Effects(std::mem::take(deeds)));
            }
        }
    }
}

/// Tells the workers of proposals that failed.
impl Failed for Workers {
    fn failed(&self, tickets: &[Ticket], error: ProposeError) {
        let mut by_worker: Vec<Vec<Ticket>> = vec![Vec::new(); self.count()];
        for ticket in tickets.iter().filter(|ticket| **ticket != NOBODY) {
            let worker = worker_of(*ticket).min(by_worker.len() - 1);
            by_worker[worker].push(*ticket);
        }
        for (worker, tickets) in by_worker.into_iter().enumerate() {
            if !tickets.is_empty() {
                self.deliver(
                    worker,
                    Mail::Failed {
                        tickets,
                        error: error.clone(),
                    },
                );
            }
        }
    }
}
