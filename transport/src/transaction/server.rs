//! The server side: absorb retransmissions, replay the stored answer.
//!
//! A transaction that was answered is remembered for 64·T1, but only so many are: the machine remembers
//! outcomes as well (house D9), so forgetting one early costs a second look, never a second effect.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::key::{AsItIs, Keys, ServerKey};
use super::timer::Timers;
use super::{Millis, T1_MS, T2_MS, TIMEOUT_MS};
use crate::flow::Flow;
use crate::sip::{Method, Request};

/// Answered transactions that one worker remembers: 65,536 answers of 700 bytes are 46 MB.
const ANSWERED_MAX: usize = 65_536;

/// Unanswered transactions of one worker; what comes beyond is answered 503 without one.
const OPEN_MAX: usize = 65_536;

/// What becomes of a request that arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Never seen: the user gets it.
    New(ServerKey),
    /// Seen and answered: the answer goes out again.
    Repeat(Bytes),
    /// Seen and not answered yet, or an ACK: nothing to do.
    Absorbed,
    /// A CANCEL whose INVITE is there (200) or not (481).
    Cancel {
        /// Whether there is something to cancel.
        found: bool,
    },
    /// No room for another transaction.
    Full,
}

#[derive(Debug)]
struct Transaction {
    flow: Flow,
    answer: Option<Bytes>,
    /// An INVITE's answer is repeated until its ACK comes; this is the interval it waits next.
    unacknowledged_ms: Option<u64>,
    since: Millis,
}

/// What a server timer is about.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// Timer J: forget.
    Forget(ServerKey),
    /// Timer G: the INVITE's answer again.
    Again(ServerKey),
}

/// The server transactions of one worker.
#[derive(Debug, Default)]
pub struct ServerTransactions {
    keys: Keys,
    table: HashMap<u64, Transaction, AsItIs>,
    answered: VecDeque<ServerKey>,
    timers: Timers<Due>,
}

impl ServerTransactions {
    /// A request came in.
    pub fn arrive(&mut self, request: &Request, flow: &Flow, now: Millis) -> Arrival {
        if *request.method() == Method::Cancel {
            let found = self.table.contains_key(&self.keys.of_cancelled(request).0);
            return Arrival::Cancel { found };
        }
        let key = self.keys.of(request);
        let known = self.table.get_mut(&key.0);
        //= RFC 3261 17.2.1
        //# an ACK ends the repetition of the answer; it is never answered itself
        if *request.method() == Method::Ack {
            if let Some(transaction) = known {
                transaction.unacknowledged_ms = None;
            }
            return Arrival::Absorbed;
        }
        //= RFC 3261 17.2.2
        //# a retransmission gets the answer again, or nothing while there is none
        if let Some(transaction) = known {
            return transaction
                .answer
                .clone()
                .map_or(Arrival::Absorbed, Arrival::Repeat);
        }
        if self.table.len() - self.answered.len() >= OPEN_MAX {
            return Arrival::Full;
        }
        let invite = *request.method() == Method::Invite && !flow.transport.is_reliable();
        let transaction = Transaction {
            flow: *flow,
            answer: None,
            unacknowledged_ms: invite.then_some(T1_MS),
            since: now,
        };
        self.table.insert(key.0, transaction);
        Arrival::New(key)
    }

    /// The user's final answer: where it goes. `None` when the transaction is gone or was answered.
    //= RFC 3261 17.2.2
    //# timer J is 64·T1 over UDP and zero over a reliable transport
    pub fn answer(&mut self, key: ServerKey, answer: Bytes, now: Millis) -> Option<Flow> {
        let transaction = self.table.get_mut(&key.0)?;
        if transaction.answer.is_some() {
            return None;
        }
        let flow = transaction.flow;
        if flow.transport.is_reliable() {
            self.table.remove(&key.0);
            return Some(flow);
        }
        transaction.answer = Some(answer);
        transaction.since = now;
        if transaction.unacknowledged_ms.is_some() {
            self.timers.set(now, T1_MS, Due::Again(key));
        }
        self.timers.set(now, TIMEOUT_MS, Due::Forget(key));
        self.answered.push_back(key);
        if self.answered.len() > ANSWERED_MAX
            && let Some(oldest) = self.answered.pop_front()
        {
            self.table.remove(&oldest.0);
        }
        Some(flow)
    }

    /// The user will never answer: nothing is remembered, and a repeat is a request like the first.
    pub fn ignore(&mut self, key: ServerKey) {
        let open = |transaction: &Transaction| transaction.answer.is_none();
        if self.table.get(&key.0).is_some_and(open) {
            self.table.remove(&key.0);
        }
    }

    /// Where a provisional answer goes.
    #[must_use]
    pub fn flow(&self, key: ServerKey) -> Option<Flow> {
        self.table
            .get(&key.0)
            .filter(|transaction| transaction.answer.is_none())
            .map(|transaction| transaction.flow)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    /// Does what is due; returns answers to send again.
    pub fn expire(&mut self, now: Millis, mut again: impl FnMut(&Flow, Bytes)) {
        while let Some(due) = self.timers.take_due(now) {
            match due {
                Due::Forget(key) => {
                    // Answers are given in the order in which they are forgotten.
                    if self.answered.front() == Some(&key) {
                        self.answered.pop_front();
                        self.table.remove(&key.0);
                    }
                }
                //= RFC 3261 17.2.1
                //# over UDP the answer to an INVITE is repeated at T1, doubling to T2, until the ACK
                Due::Again(key) => {
                    let Some(transaction) = self.table.get_mut(&key.0) else {
                        continue;
                    };
                    let (Some(interval), Some(answer)) =
                        (transaction.unacknowledged_ms, &transaction.answer)
                    else {
                        continue;
                    };
                    again(&transaction.flow, answer.clone());
                    let next = (interval * 2).min(T2_MS);
                    transaction.unacknowledged_ms = Some(next);
                    self.timers.set(now, next, Due::Again(key));
                }
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.len()
    }
}
