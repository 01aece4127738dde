//! A worker: one thread with its sockets, transactions and flows, and the transaction user on top.
//!
//! Everything a worker does happens in **turns**: a batch of datagrams, what a stream had to say, a
//! batch of mail, due timers. After each turn the user is told ([`TransactionUser::end_of_turn`]), so
//! that it can hand on as one batch what the turn brought; then everything written during the turn
//! leaves, datagrams with one system call.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::flow::{Flow, Transport};
use crate::sip::{Request, Response};
use crate::transaction::Millis;

/// Mail that waits for one worker. Beyond it the sender is told, and decides what to drop.
pub const MAIL_MAX: usize = 65_536;

/// Names a server transaction within its worker; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u64);

/// A new request: not a retransmission, not an ACK, not a CANCEL (those are answered below).
#[derive(Debug)]
pub struct Incoming {
    /// The request, with its source noted for the responses.
    pub request: Request,
    /// What it came in by.
    pub flow: Flow,
    /// Our address it came to.
    pub local: SocketAddr,
    /// Where to answer: exactly once, by [`Wire::respond`].
    pub transaction: TransactionId,
}

/// How one of our own requests ended.
#[derive(Debug)]
pub enum Ended {
    /// A final response.
    Response(Response),
    /// Nothing within 64·T1 (a 408 to ourselves).
    Timeout,
    /// The flow is gone and no other can be had.
    Unreachable,
}

/// What stands on the transaction layer. All calls come from the worker's one thread.
pub trait TransactionUser: Sized + 'static {
    /// What other threads may post to this worker.
    type Mail: Send + 'static;

    /// A new request arrived.
    fn on_request(&mut self, incoming: Incoming, wire: &mut Wire);
    /// A request that [`Wire::send_request`] began has ended.
    fn on_ended(&mut self, context: Context, ended: Ended, wire: &mut Wire);
    /// Somebody posted.
    fn on_mail(&mut self, mail: Self::Mail, wire: &mut Wire);
    /// A stream is gone.
    fn on_closed(&mut self, flow: Flow, wire: &mut Wire);
    /// The time that [`Wire::wake_at`] asked for has come.
    fn on_wake(&mut self, wire: &mut Wire);
    /// One of the above, or many, have been called; nothing more comes before the next turn.
    fn end_of_turn(&mut self, wire: &mut Wire);
}

/// What the user wants to know again when its request ends: its own numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context(pub u128, pub u64);

/// What a turn may send. Writes are gathered and leave at the turn's end.
#[derive(Debug)]
pub struct Wire {
    _private: (),
}

impl Wire {
    /// The worker's clock, read once per turn.
    #[must_use]
    pub fn now(&self) -> Millis {
        todo!()
    }

    /// The wall clock in milliseconds since 1970, read once per turn.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        todo!()
    }

    /// Answers a transaction: provisional responses as often as wanted, one final. The answer is kept
    /// and repeated to retransmissions. Does nothing when the transaction is gone.
    pub fn respond(&mut self, transaction: TransactionId, status: u16, response: Bytes) {
        let _ = (transaction, status, response);
        todo!()
    }

    /// A new branch and the Via value that carries it, for a request that will leave by `flow`.
    pub fn via(&mut self, flow: &Flow) -> (Branch, String) {
        let _ = flow;
        todo!()
    }

    /// Sends a request and sees to its retransmission; [`TransactionUser::on_ended`] tells its end.
    ///
    /// A stream flow that is closed is opened anew to the flow's peer when that can be done; a
    /// message over 1,300 bytes for a datagram flow goes over a stream to the same peer when one is
    /// open, else is sent as it is and counted (RFC 3261 §18.1.1).
    pub fn send_request(&mut self, flow: &Flow, branch: Branch, message: Bytes, context: Context) {
        let _ = (flow, branch, message, context);
        todo!()
    }

    /// Sends a message that nobody answers (BENOTIFY, a stateless response).
    pub fn send(&mut self, flow: &Flow, message: Bytes) {
        let _ = (flow, message);
        todo!()
    }

    /// Our own URI host and port on the socket that `flow` uses, for a Contact.
    #[must_use]
    pub fn local_of(&self, flow: &Flow) -> SocketAddr {
        let _ = flow;
        todo!()
    }

    /// Asks for one [`TransactionUser::on_wake`] at that time; the earliest wish counts.
    pub fn wake_at(&mut self, at: Millis) {
        let _ = at;
        todo!()
    }

    /// Closes a stream after what is queued for it has left.
    pub fn close(&mut self, flow: &Flow) {
        let _ = flow;
        todo!()
    }
}

/// Names a client transaction (RFC 3261 §17.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Branch(pub u64);

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Which transport.
    pub transport: Transport,
    /// Which address.
    pub address: SocketAddr,
}

/// Posts to one worker from any thread.
#[derive(Debug)]
pub struct Mailbox<M> {
    _private: std::marker::PhantomData<fn(M)>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        todo!()
    }
}

impl<M: Send + 'static> Mailbox<M> {
    /// Queues mail without waking the worker. Call [`Mailbox::wake`] after the last of a batch.
    ///
    /// # Errors
    /// The mail itself when [`MAIL_MAX`] are waiting or the worker has ended.
    pub fn post(&self, mail: M) -> Result<(), M> {
        let _ = &mail;
        todo!()
    }

    /// Wakes the worker if it sleeps.
    pub fn wake(&self) {
        todo!()
    }
}

/// Counters of one worker, read at scrape time. All only grow.
#[derive(Debug, Default)]
#[allow(missing_docs)] // each is what its name says
pub struct Counters {
    pub datagrams_in: std::sync::atomic::AtomicU64,
    pub datagrams_out: std::sync::atomic::AtomicU64,
    pub stream_messages_in: std::sync::atomic::AtomicU64,
    pub stream_messages_out: std::sync::atomic::AtomicU64,
    pub refused: std::sync::atomic::AtomicU64,
    pub unanswerable: std::sync::atomic::AtomicU64,
    pub retransmissions_absorbed: std::sync::atomic::AtomicU64,
    pub retransmissions_sent: std::sync::atomic::AtomicU64,
    pub request_timeouts: std::sync::atomic::AtomicU64,
    pub oversized_datagrams: std::sync::atomic::AtomicU64,
    pub send_failures: std::sync::atomic::AtomicU64,
    pub dropped_full: std::sync::atomic::AtomicU64,
    pub server_transactions: std::sync::atomic::AtomicU64,
    pub client_transactions: std::sync::atomic::AtomicU64,
    pub streams: std::sync::atomic::AtomicU64,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    _private: (),
}

impl Worker {
    /// Binds the listeners (with SO_REUSEPORT, so that several workers share them) and starts the
    /// thread. `make` builds the user on that thread.
    ///
    /// # Errors
    /// When an address cannot be bound; the message names it.
    pub fn start<U: TransactionUser>(
        number: u8,
        listen: &[Listen],
        make: impl FnOnce(Mailbox<U::Mail>) -> U + Send + 'static,
    ) -> std::io::Result<(Worker, Mailbox<U::Mail>)> {
        let _ = (number, listen, make);
        todo!()
    }

    /// The addresses bound, in the order of `listen`; a port of 0 shows what the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[Listen] {
        todo!()
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> std::sync::Arc<Counters> {
        todo!()
    }

    /// Stops taking requests, lets what is queued leave for at most `grace`, closes all flows and ends
    /// the thread.
    pub fn stop(self, grace: std::time::Duration) {
        let _ = grace;
        todo!()
    }
}
