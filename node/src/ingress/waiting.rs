//! The requests of one worker that wait for an outcome, oldest first.
//!
//! Tickets are given in order and all have the same budget, so the oldest is always at the front:
//! a ring, no table and no timer per request.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use shard::machine::command::Ticket;
use shard::machine::crossing::Question;
use shard::presence::container::Network;
use shard::presence::publication::EntityTag;
use shard::subscription::dialog::{Format, LocalTag, Package};
use shard::subscription::savers::{Condition, Terms};
use transport::flow::Flow;
use transport::io::worker::TransactionId;
use transport::sip::Request;
use transport::transaction::Millis;

use super::errand::Errands;
use super::ntlm::Opaque;
use super::route::Routes;
use crate::dialect::{Answer, Aside, Fetch, Poll};
use crate::egress::outbox::{NUMBER_BITS, tickets_of};
use crate::peer::NodeNumber;

/// A request that waits.
#[derive(Debug)]
pub struct Waiting {
    /// Where to answer.
    pub transaction: TransactionId,
    /// What is answered.
    pub request: Request,
    /// What it came in by.
    pub flow: Flow,
    /// Which shard's permit it has; the one it waits for, at first.
    pub shard: usize,
    /// Which shard gave it a permit: another one, where its slot has moved since.
    pub admitted: usize,
    /// The version of the routes by which it was translated.
    pub routes: u64,
    /// When it came.
    pub since: Millis,
    /// When it is tried again, if nothing is heard before: other plans for it are forgotten.
    pub next: Millis,
    /// What it waits for.
    pub what: What,
    /// What was kept of it for the answer.
    pub aside: Aside,
    /// What the answer is signed with.
    pub association: Option<Opaque>,
}

impl Waiting {
    /// Which shard it waits for now: a poll goes from one to the next.
    #[must_use]
    pub fn asked_shard(&self, routes: &Routes) -> usize {
        match &self.what {
            What::Poll(poll) => routes.shard_of(poll.slot),
            What::Outcome { .. } | What::View(_) | What::Doubt { .. } | What::Base { .. } => {
                self.shard
            }
        }
    }
}

/// What a request waits for.
#[derive(Debug)]
pub enum What {
    /// An outcome of the log; kept as proposed, to be proposed again with the same key.
    Outcome {
        /// The encoded request; empty until the turn's batch is cut.
        encoded: Bytes,
    },
    /// A view of a presentity.
    View(Box<Look>),
    /// What an enhanced client asked to see once.
    Poll(Box<Poll>),
    /// Whether a publication lives: 412 if not, else this.
    Doubt {
        /// Whose publication.
        presentity: String,
        /// Of which package.
        package: Package,
        /// Which version.
        tag: EntityTag,
        /// What to say if it lives.
        otherwise: Answer,
    },
    /// What a patch is to be done to.
    Base {
        /// Whose publication.
        presentity: String,
        /// Of which package.
        package: Package,
        /// Which version.
        tag: EntityTag,
    },
}

impl What {
    /// What is to be looked up; `None` for what goes through the log.
    #[must_use]
    pub fn question(&self) -> Option<Question<'_>> {
        match self {
            What::Outcome { .. } => None,
            What::View(look) if look.package == Package::Presence => Some(Question::Sight {
                presentity: &look.presentity,
                watcher: &look.watcher,
                network: look.network,
            }),
            What::View(look) => Some(Question::View {
                presentity: &look.presentity,
                package: look.package,
            }),
            What::Poll(poll) => Some(poll.question()),
            What::Doubt {
                presentity,
                package,
                tag,
                ..
            } => Some(Question::Holds {
                presentity,
                package: *package,
                tag: *tag,
            }),
            What::Base {
                presentity,
                package,
                tag,
            } => Some(Question::Content {
                presentity,
                package: *package,
                tag: *tag,
            }),
        }
    }
}

/// A fetch, kept until the view is there.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whose state.
    pub presentity: String,
    /// Who looks.
    pub watcher: String,
    /// From where.
    pub network: Network,
    /// Of which package.
    pub package: Package,
    /// Which document.
    pub format: Format,
    /// Our tag of the dialog that lives for one NOTIFY.
    pub local_tag: LocalTag,
    /// Opaque route.
    pub route: Vec<u8>,
    /// Opaque target.
    pub target: Vec<u8>,
    /// What is agreed for its one NOTIFY, if anything.
    pub terms: Option<Arc<Terms>>,
    /// What it is told nothing under.
    pub condition: Option<Condition>,
}

impl Look {
    /// What must be kept of a fetch.
    #[must_use]
    pub fn of(fetch: &Fetch<'_>) -> Look {
        Look {
            presentity: fetch.presentity.to_owned(),
            watcher: fetch.watcher.to_owned(),
            network: fetch.network,
            package: fetch.package,
            format: fetch.format,
            local_tag: fetch.local_tag,
            route: fetch.route.to_vec(),
            target: fetch.target.to_vec(),
            terms: fetch
                .savers
                .as_deref()
                .map(|asked| Arc::new(asked.terms(None))),
            condition: fetch.savers.as_deref().and_then(|asked| asked.condition),
        }
    }
}

/// The part of a ticket that counts.
const NUMBERS: u64 = (1 << NUMBER_BITS) - 1;

/// All that wait.
#[derive(Debug)]
pub struct WaitingRoom {
    /// What every ticket of this room begins with.
    begin: u64,
    /// The number of the front's ticket.
    first: u64,
    ring: VecDeque<Option<Waiting>>,
}

impl WaitingRoom {
    /// Nobody waits. Tickets are counted from `first`.
    #[must_use]
    pub fn new(node: NodeNumber, worker: u8, first: u64) -> WaitingRoom {
        WaitingRoom {
            begin: tickets_of(node, worker),
            first: first & NUMBERS,
            ring: VecDeque::new(),
        }
    }

    /// The ticket that [`WaitingRoom::enter`] will give next.
    #[must_use]
    pub fn next_ticket(&self) -> Ticket {
        self.ticket(self.first + self.ring.len() as u64)
    }

    fn ticket(&self, number: u64) -> Ticket {
        Ticket(self.begin | (number & NUMBERS))
    }

    /// A request begins to wait.
    pub fn enter(&mut self, waiting: Waiting) -> Ticket {
        let ticket = self.next_ticket();
        self.ring.push_back(Some(waiting));
        ticket
    }

    /// A request that waits; `None` when it has left.
    pub fn look(&mut self, ticket: Ticket) -> Option<&mut Waiting> {
        let place = self.place(ticket)?;
        self.ring.get_mut(place)?.as_mut()
    }

    /// A request is to be tried again at this time, and at no other; `false` when it does not wait.
    ///
    /// A request that is refused and one that is not answered are both tried again. Without one plan for
    /// both, each try would begin another row of tries, and a shard without a leader a flood.
    pub fn plan(&mut self, ticket: Ticket, at: Millis) -> bool {
        if Errands::is_one(ticket) {
            return false;
        }
        let waiting = self.look(ticket);
        waiting.map(|waiting| waiting.next = at).is_some()
    }

    /// A request leaves; `None` when it has left before.
    pub fn leave(&mut self, ticket: Ticket) -> Option<Waiting> {
        let place = self.place(ticket)?;
        let waiting = self.ring.get_mut(place)?.take();
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.first += 1;
        }
        waiting
    }

    /// The ticket of the one that waits longest, and since when.
    #[must_use]
    pub fn oldest(&self) -> Option<(Ticket, Millis)> {
        // `leave` keeps the front taken.
        let front = self.ring.front()?.as_ref()?;
        Some((self.ticket(self.first), front.since))
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    fn place(&self, ticket: Ticket) -> Option<usize> {
        let number = (ticket.0 & NUMBERS).checked_sub(self.first & NUMBERS)?;
        usize::try_from(number).ok()
    }
}
