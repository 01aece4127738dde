//! What other nodes bring: requests for shards that this one leads, and what belongs to its workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use shard::machine::command::Ticket;
use shard::machine::crossing;
use shard::machine::effect::Notice;
use shard::runner::Job;

use super::route::RouteTable;
use crate::egress::outbox::{Deed, Mail, Workers};
use crate::egress::traffic::{self, Frame, Traffic};
use crate::peer::NodeNumber;
use crate::peer::mesh::Receive;
use crate::raft::proposer::ProposeError;
use transport::dialog::Target;

/// Takes what comes over the traffic links.
pub struct Door {
    /// The shards.
    pub routes: Arc<RouteTable>,
    /// The workers' mailboxes.
    pub workers: Workers,
    /// The way back.
    pub traffic: Traffic,
}

impl Door {
    /// Says that this node does not lead, and who does.
    fn refuse(&self, from: NodeNumber, shard: u16, tickets: &[Ticket]) {
        let routes = self.routes.current();
        let leader = routes.told_leader(usize::from(shard));
        self.traffic.refuse(from, leader, tickets);
    }

    fn leading(&self, shard: u16) -> Option<super::route::Replica> {
        let routes = self.routes.current();
        let shard = usize::from(shard);
        if shard >= routes.count() {
            return None;
        }
        let replica = routes.reach(shard).replica.as_ref()?;
        replica.proposer.is_leading().then(|| replica.clone())
    }

    /// Sorts deeds by the worker that does them.
    fn deliver(&self, deeds: impl Iterator<Item = (usize, Deed)>) {
        let mut by_worker: BTreeMap<usize, Vec<Deed>> = BTreeMap::new();
        for (worker, deed) in deeds {
            by_worker.entry(worker).or_default().push(deed);
        }
        for (worker, deeds) in by_worker {
            self.workers.deliver(worker, Mail::Effects(deeds));
        }
    }
}

impl Door {
    /// Notifications to the watchers of a node may be lost with its link, and could not be handed to it
    /// while there was none.
    fn tell_again(&self) {
        let routes = self.routes.current();
        for shard in 0..routes.count() {
            if let Some(replica) = &routes.reach(shard).replica
                && replica.proposer.is_leading()
            {
                replica.proposer.tell_again();
            }
        }
    }
}

impl Receive for Door {
    fn linked(&self, _peer: NodeNumber) {
        self.tell_again();
    }

    fn broken(&self, _peer: NodeNumber) {
        self.tell_again();
    }

    fn frame(&self, from: NodeNumber, frame: Bytes) {
        let Some(frame) = traffic::decode(frame) else {
            tracing::warn!(node = from, "a frame of a peer cannot be read");
            return;
        };
        match frame {
            Frame::Requests { shard, batch } => match self.leading(shard) {
                Some(replica) => {
                    if let Err(batch) = replica.proposer.submit(batch) {
                        self.traffic.refuse(from, None, &batch.tickets);
                    }
                }
                None => self.refuse(from, shard, &batch.tickets),
            },
            Frame::Ask {
                shard,
                ticket,
                question,
            } => {
                let replica = self
                    .leading(shard)
                    .filter(|replica| replica.proposer.can_read());
                let Some(replica) = replica else {
                    return self.refuse(from, shard, &[ticket]);
                };
                let traffic = self.traffic.clone();
                let proposer = replica.proposer.clone();
                let job = Job::Read(Box::new(move |machine| {
                    let Some(question) = crossing::decode_question(&question) else {
                        return;
                    };
                    let answer = machine.look_up(&question);
                    // The process may have been stopped between the first look at the lease and this one.
                    if proposer.can_read() {
                        traffic.found(from, ticket, &answer);
                    } else {
                        traffic.refuse(from, None, &[ticket]);
                    }
                }));
                if replica.runner.submit(job).is_err() {
                    self.traffic.refuse(from, None, &[ticket]);
                }
            }
            Frame::Refused { leader, tickets } => {
                let error = ProposeError::NotLeader { leader };
                self.workers.failed(&tickets, &error);
            }
            Frame::Replies(replies) => {
                self.deliver(replies.into_iter().map(|(ticket, outcome, shown)| {
                    let deed = Deed::Reply {
                        ticket,
                        outcome,
                        shown,
                    };
                    (self.workers.home_of(ticket), deed)
                }));
            }
            Frame::Notify(rendering, notices) => {
                let mut by_worker: BTreeMap<usize, Vec<Notice>> = BTreeMap::new();
                for notice in notices {
                    let worker = Target::decode(&notice.target)
                        .map_or(0, |target| usize::from(target.flow.worker));
                    let worker = worker.min(self.workers.count() - 1);
                    by_worker.entry(worker).or_default().push(notice);
                }
                self.deliver(by_worker.into_iter().map(|(worker, notices)| {
                    let rendering = Arc::clone(&rendering);
                    (worker, Deed::Notify { rendering, notices })
                }));
            }
            Frame::Found(ticket, answer) => {
                self.workers
                    .deliver(self.workers.home_of(ticket), Mail::Found { ticket, answer });
            }
        }
    }
}
