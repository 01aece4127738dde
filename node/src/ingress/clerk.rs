//! Requests of those who are no SIP client: the JSON API, the connectors. They come in on any node, go to the
//! leader of their shard as a phone's would, and are sent again under their key until there is an outcome.
//!
//! A clerk's ticket names a worker that no thread is; what comes back for it wakes the one who waits. The one
//! who waits blocks, so no thread that speaks SIP, and not openraft's, may ask here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use shard::machine::codec::encode_request;
use shard::machine::command::{Command, Request, Ticket};
use shard::machine::crossing::{Answer, Question, decode_question, encode_question};
use shard::machine::effect::Shown;
use shard::machine::outcome::{Outcome, RequestKey};
use shard::runner::Job;
use shard::slot::Slot;

use super::route::{Leader, RouteTable, Routes};
use crate::dialect::Grace;
use crate::egress::outbox::{CLERK, Deed, ERRAND, Inbox, Mail, NUMBER_BITS, tickets_of};
use crate::egress::traffic::Traffic;
use crate::raft::proposer::{Batch, ProposeError};

/// How long an outcome is waited for: several elections, as for a phone.
const BUDGET: Duration = Duration::from_secs(5);

/// How soon what another node has is sent again.
const ABROAD: Duration = Duration::from_millis(400);

/// How soon what found no leader is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Pieces of mail for one request: an outcome, and what came before it.
const MAIL_MAX: usize = 64;

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoOutcome {
    /// The shard has too much to do; nothing was done.
    #[error("the shard has too much to do")]
    Busy,
    /// Nobody answered in time. What was asked may have been done: asking again does no harm.
    #[error("the shard does not answer")]
    Silent,
}

/// What the machine said, and what it shows with it.
pub type Told = (Outcome, Option<Box<Shown>>);

/// What comes for one who waits.
enum News {
    Told(Told),
    Found(Answer),
    Failed(ProposeError),
}

/// Asks, and waits.
pub struct Clerk {
    routes: Arc<RouteTable>,
    traffic: Traffic,
    begin: u64,
    next: AtomicU64,
    waiting: Mutex<BTreeMap<Ticket, SyncSender<News>>>,
}

/// Somebody waits, and is forgotten when he does not any more.
struct Waits<'c> {
    clerk: &'c Clerk,
    ticket: Ticket,
    news: Receiver<News>,
    until: Instant,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.clerk.waiting().remove(&self.ticket);
    }
}

impl Clerk {
    /// The clerk of a node.
    #[must_use]
    pub fn new(routes: Arc<RouteTable>, traffic: Traffic) -> Clerk {
        // As the workers do: a reply to an earlier life of the node finds nobody.
        let first = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis() as u64;
        Clerk {
            begin: tickets_of(traffic.me(), CLERK),
            next: AtomicU64::new(first),
            routes,
            traffic,
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Ticket, SyncSender<News>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) -> Waits<'_> {
        let number = self.next.fetch_add(1, Relaxed) & (ERRAND - 1);
        debug_assert!(number < 1 << NUMBER_BITS);
        let ticket = Ticket(self.begin | number);
        let (give, news) = sync_channel(MAIL_MAX);
        self.waiting().insert(ticket, give);
        Waits {
            clerk: self,
            ticket,
            news,
            until: Instant::now() + BUDGET,
        }
    }

    /// Has a command done by the leader of its slot; blocks.
    ///
    /// # Errors
    /// [`NoOutcome`].
    pub fn perform(
        &self,
        slot: Slot,
        grace: Grace,
        command: Command<'_>,
    ) -> Result<Told, NoOutcome> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|_| NoOutcome::Busy)?;
        let mut waits = self.wait();
        let mut encoded = BytesMut::new();
        let request = Request {
            key: RequestKey(u128::from_le_bytes(key)),
            ticket: waits.ticket,
            command,
        };
        encode_request(&request, &mut encoded);
        let encoded = encoded.freeze();
        self.admitted(slot, grace, |shard| {
            waits.insist(shard, |routes, ticket| {
                self.propose(routes, shard, ticket, encoded.clone())
            })
        })
        .and_then(|news| match news {
            News::Told(told) => Ok(told),
            News::Found(_) | News::Failed(_) => Err(NoOutcome::Silent),
        })
    }

    /// Has a question answered by the leader of its slot, without a log entry; blocks.
    ///
    /// # Errors
    /// [`NoOutcome`].
    pub fn ask(&self, slot: Slot, question: &Question<'_>) -> Result<Answer, NoOutcome> {
        let mut encoded = BytesMut::new();
        encode_question(question, &mut encoded);
        let encoded = encoded.freeze();
        let mut waits = self.wait();
        self.admitted(slot, Grace::New, |shard| {
            waits.insist(shard, |routes, ticket| {
                self.inquire(routes, shard, ticket, &encoded)
            })
        })
        .and_then(|news| match news {
            News::Found(answer) => Ok(answer),
            News::Told(_) | News::Failed(_) => Err(NoOutcome::Silent),
        })
    }

    /// Does something with a permit of the slot's shard.
    fn admitted<T>(
        &self,
        slot: Slot,
        grace: Grace,
        act: impl FnOnce(usize) -> Result<T, NoOutcome>,
    ) -> Result<T, NoOutcome> {
        let routes = self.routes.current();
        let shard = routes.shard_of(slot);
        let permits = Arc::clone(&routes.reach(shard).permits);
        if !permits.take(grace, 0) {
            return Err(NoOutcome::Busy);
        }
        let done = act(shard);
        permits.give_back();
        done
    }

    /// Sends a request towards the leader; how long to wait until it is sent again.
    fn propose(
        &self,
        routes: &Routes,
        shard: usize,
        ticket: Ticket,
        requests: Bytes,
    ) -> Result<Duration, NoOutcome> {
        let batch = Batch {
            requests,
            tickets: vec![ticket],
        };
        match routes.leader(shard) {
            Leader::Here(replica) => {
                let taken = replica.proposer.submit(batch);
                taken.map(|()| BUDGET).map_err(|_| NoOutcome::Busy)
            }
            Leader::There(node) => match self.traffic.requests(node, shard as u16, &batch) {
                Ok(()) => Ok(ABROAD),
                Err(_) => Ok(nobody(routes, shard)),
            },
            Leader::Nowhere => Ok(nobody(routes, shard)),
        }
    }

    /// The same for a question.
    fn inquire(
        &self,
        routes: &Routes,
        shard: usize,
        ticket: Ticket,
        question: &Bytes,
    ) -> Result<Duration, NoOutcome> {
        match routes.leader(shard) {
            Leader::Here(replica) if replica.proposer.can_read() => {
                let give = self.waiting().get(&ticket).cloned();
                let question = question.clone();
                let job = Job::Read(Box::new(move |machine| {
                    if let (Some(give), Some(question)) = (give, decode_question(&question)) {
                        let _ = give.try_send(News::Found(machine.look_up(&question)));
                    }
                }));
                let taken = replica.runner.submit(job);
                taken.map(|()| ABROAD).map_err(|_| NoOutcome::Busy)
            }
            Leader::Here(_) => Ok(RETRY),
            Leader::There(node) => match self.traffic.ask(node, shard as u16, ticket, question) {
                Ok(()) => Ok(ABROAD),
                Err(_) => Ok(nobody(routes, shard)),
            },
            Leader::Nowhere => Ok(nobody(routes, shard)),
        }
    }
}

/// Nobody is known to lead a shard, or whoever did cannot be reached: the next holder is asked.
fn nobody(routes: &Routes, shard: usize) -> Duration {
    routes.hear(shard, None);
    RETRY
}

impl Waits<'_> {
    /// Sends again and again, until there is an outcome or the time is up.
    fn insist(
        &mut self,
        shard: usize,
        send: impl Fn(&Routes, Ticket) -> Result<Duration, NoOutcome>,
    ) -> Result<News, NoOutcome> {
        loop {
            let routes = self.clerk.routes.current();
            let wait = send(&routes, self.ticket)?;
            let again = (Instant::now() + wait).min(self.until);
            match self
                .news
                .recv_timeout(again.saturating_duration_since(Instant::now()))
            {
                Ok(News::Failed(ProposeError::Overloaded)) => return Err(NoOutcome::Busy),
                Ok(News::Failed(error)) => {
                    if let ProposeError::NotLeader { leader } = error {
                        routes.hear(shard, leader);
                    }
                    std::thread::sleep(RETRY);
                }
                Ok(news) => return Ok(news),
                Err(_) => {}
            }
            if Instant::now() >= self.until {
                return Err(NoOutcome::Silent);
            }
        }
    }
}

impl Inbox for Clerk {
    fn take(&self, mail: Mail) {
        let tell = |ticket: Ticket, news: News| {
            if let Some(give) = self.waiting().get(&ticket) {
                // Whoever has news enough does not read more.
                let _ = give.try_send(news);
            }
        };
        match mail {
            Mail::Effects(deeds) => {
                for deed in deeds {
                    if let Deed::Reply {
                        ticket,
                        outcome,
                        shown,
                    } = deed
                    {
                        // A slot on its way is asked again, wherever it is then.
                        tell(
                            ticket,
                            match outcome {
                                Outcome::Moving => News::Failed(ProposeError::Unavailable),
                                _ => News::Told((outcome, shown)),
                            },
                        );
                    }
                }
            }
            Mail::Found { ticket, answer } => tell(ticket, News::Found(answer)),
            Mail::Failed { tickets, error } => {
                for ticket in tickets {
                    tell(ticket, News::Failed(error.clone()));
                }
            }
            Mail::Proven { .. } | Mail::Drain => {}
        }
    }
}
