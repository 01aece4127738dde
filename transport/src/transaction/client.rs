//! The client side: retransmit over UDP, give up after 64·T1.

use std::collections::HashMap;

use bytes::Bytes;

use super::key::AsItIs;
use super::timer::Timers;
use super::{Millis, T1_MS, T2_MS, TIMEOUT_MS};
use crate::flow::Flow;

/// Our own requests that wait for an answer, of one worker: 262,144 of 1.5 kB are 400 MB, the most that
/// a flood of silent watchers may cost. What comes beyond is sent once and counts as timed out.
const OPEN_MAX: usize = 262_144;

/// Names a client transaction (RFC 3261 §17.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Branch(pub u64);

#[derive(Debug)]
struct Transaction<C> {
    flow: Flow,
    /// Empty over reliable transports, where nothing is sent twice.
    message: Bytes,
    interval_ms: u64,
    since: Millis,
    context: C,
}

/// The client transactions of one worker; `C` is what their user wants to know again.
#[derive(Debug)]
pub struct ClientTransactions<C> {
    table: HashMap<u64, Transaction<C>, AsItIs>,
    timers: Timers<Branch>,
}

impl<C> Default for ClientTransactions<C> {
    fn default() -> ClientTransactions<C> {
        ClientTransactions {
            table: HashMap::default(),
            timers: Timers::default(),
        }
    }
}

/// What a client timer says.
#[derive(Debug, PartialEq, Eq)]
pub enum Late<C> {
    /// Send it again.
    Again(Flow, Bytes),
    /// Nobody answered.
    GaveUp(Flow, C),
}

impl<C: Copy> ClientTransactions<C> {
    /// A request leaves. `false` when there is no room to wait for its answer.
    //= RFC 3261 17.1.2.2
    //# timer E starts at T1 over unreliable transports, timer F is 64·T1
    pub fn begin(
        &mut self,
        branch: Branch,
        flow: Flow,
        message: Bytes,
        context: C,
        now: Millis,
    ) -> bool {
        if self.table.len() >= OPEN_MAX {
            return false;
        }
        let reliable = flow.transport.is_reliable();
        let interval_ms = if reliable { TIMEOUT_MS } else { T1_MS };
        let message = if reliable { Bytes::new() } else { message };
        self.table.insert(
            branch.0,
            Transaction {
                flow,
                message,
                interval_ms,
                since: now,
                context,
            },
        );
        self.timers.set(now, interval_ms, branch);
        true
    }

    /// A response came: who began this, when it is final. A provisional one slows the repetition down.
    pub fn respond(&mut self, branch: Branch, is_final: bool) -> Option<C> {
        if is_final {
            return self
                .table
                .remove(&branch.0)
                .map(|transaction| transaction.context);
        }
        //= RFC 3261 17.1.2.2
        //# after a provisional response the interval is T2
        if let Some(transaction) = self.table.get_mut(&branch.0)
            && !transaction.flow.transport.is_reliable()
        {
            transaction.interval_ms = T2_MS;
        }
        None
    }

    /// Forgets a request that will not leave after all.
    pub fn abandon(&mut self, branch: Branch) -> Option<C> {
        self.table
            .remove(&branch.0)
            .map(|transaction| transaction.context)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    /// The next thing that is due; `None` when nothing is.
    //= RFC 3261 17.1.2.2
    //# the interval doubles up to T2; at 64·T1 the transaction times out
    pub fn expire(&mut self, now: Millis) -> Option<Late<C>> {
        loop {
            let branch = self.timers.take_due(now)?;
            let Some(transaction) = self.table.get_mut(&branch.0) else {
                continue;
            };
            if now.0 >= transaction.since.0 + TIMEOUT_MS {
                let transaction = self
                    .table
                    .remove(&branch.0)
                    .expect("it was there a line above");
                return Some(Late::GaveUp(transaction.flow, transaction.context));
            }
            transaction.interval_ms = (transaction.interval_ms * 2).min(T2_MS);
            // The last wait is cut so that it ends at 64·T1, not after it: intervals of 500, 1,000,
            // 2,000 and then 4,000 add up to 31,500, and one of 500 is left.
            let left_ms = transaction.since.0 + TIMEOUT_MS - now.0;
            let wait_ms = [transaction.interval_ms, 4 * T1_MS, 2 * T1_MS, T1_MS]
                .into_iter()
                .find(|wait| *wait <= left_ms);
            self.timers.set(now, wait_ms.unwrap_or(T1_MS), branch);
            return Some(Late::Again(transaction.flow, transaction.message.clone()));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.len()
    }
}
