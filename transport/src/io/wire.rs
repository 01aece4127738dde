//! What a turn may send. Writes are gathered and leave at the turn's end.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::sync::Notify;

use super::frames;
use super::socket::Socket;
use super::sources::Sources;
use super::udp;
use super::websocket::WebSockets;
use super::worker::{Counters, Ended};
use crate::flow::{Flow, Transport};
use crate::sip::Response;
use crate::transaction::Millis;
use crate::transaction::client::{Branch, ClientTransactions};
use crate::transaction::key::{Keys, ServerKey};
use crate::transaction::server::ServerTransactions;

/// Datagrams that wait for the kernel; beyond it the oldest go, and their retransmission heals it.
const DATAGRAMS_MAX: usize = 65_536;

/// Bytes that wait for one stream. A reader this far behind for long is closed.
const STREAM_BYTES_MAX: usize = 4 << 20;

/// Messages above this size should not go as a datagram (RFC 3261 §18.1.1).
const DATAGRAM_BYTES_GOOD: usize = 1_300;

/// Addresses of our own that are remembered, one per peer network we were asked from.
const ADDRESSES_MAX: usize = 4_096;

/// What the user wants to know again when its request ends: its own numbers. The first also names what
/// a newer message replaces while both wait for a slow stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context(pub u128, pub u64);

/// Whether a request says all that those before it said, so that it may take their place unsent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    /// It does.
    Yes,
    /// It says a part of its own.
    No,
}

/// Sends datagrams.
pub(super) trait SendDatagrams {
    /// Sends the first of a batch, as many as there is room for.
    fn send(&self, batch: &[(SocketAddr, Bytes)]) -> std::io::Result<usize>;
}

impl SendDatagrams for tokio::net::UdpSocket {
    fn send(&self, batch: &[(SocketAddr, Bytes)]) -> std::io::Result<usize> {
        use std::os::fd::AsFd as _;
        self.try_io(tokio::io::Interest::WRITABLE, || {
            udp::send(self.as_fd(), batch)
        })
    }
}

/// One datagram socket.
pub(super) struct Datagrams {
    pub(super) socket: Rc<dyn SendDatagrams>,
    pub(super) local: SocketAddr,
    queue: VecDeque<(SocketAddr, Bytes)>,
    /// Rung when something is left that the kernel had no room for.
    pub(super) full: Rc<Notify>,
}

/// What waits for one stream.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    pub(super) queue: VecDeque<Outgoing>,
    /// Bytes in the queue.
    pub(super) bytes: usize,
    /// Bytes of the front that have left.
    pub(super) written: usize,
}

/// One message for a stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) message: Bytes,
    /// What a newer one replaces, and the transaction that then ends.
    replaceable: Option<(u128, Branch)>,
}

/// One stream, open or being opened.
pub(super) struct Stream {
    /// `None` while it is being opened.
    pub(super) socket: Option<Rc<Socket>>,
    pub(super) flow: Flow,
    pub(super) local: SocketAddr,
    pub(super) outbound: Rc<RefCell<Outbound>>,
    /// Rung when something is left to write, or the stream is to close.
    pub(super) bell: Rc<Notify>,
    pub(super) closing: bool,
    /// Whether its peer waits for an answer to its keep-alives.
    pub(super) pongs: bool,
    /// Whether it has become a WebSocket, whose messages go into frames.
    pub(super) framed: bool,
    /// Whether a message has come over it.
    pub(super) spoke: bool,
}

/// What a turn may send. Writes are gathered and leave at the turn's end.
pub struct Wire {
    pub(super) worker: u8,
    pub(super) now: Millis,
    pub(super) wall_ms: u64,
    pub(super) server: ServerTransactions,
    pub(super) client: ClientTransactions<Context>,
    pub(super) datagrams: Vec<Datagrams>,
    pub(super) streams: HashMap<u64, Stream>,
    pub(super) sources: Sources,
    by_peer: HashMap<SocketAddr, u64>,
    /// Streams with something to write.
    touched: Vec<u64>,
    /// Streams to be opened by the worker after the turn.
    pub(super) opening: Vec<Flow>,
    /// Ends that the user is told of at the end of the turn.
    pub(super) ended: Vec<(Context, Ended)>,
    pub(super) wake: Option<Millis>,
    pub(super) counters: Arc<Counters>,
    keys: Keys,
    branches: u64,
    stream_numbers: u64,
    vias: Vec<(Transport, SocketAddr, String)>,
    addresses: HashMap<IpAddr, IpAddr>,
    /// The listeners of streams, for a Contact while a stream is not open.
    pub(super) stream_locals: Vec<(Transport, SocketAddr)>,
    pub(super) websockets: Rc<WebSockets>,
}

impl Wire {
    pub(super) fn new(worker: u8, counters: Arc<Counters>, websockets: WebSockets) -> Wire {
        // Numbers of streams begin where no earlier process of this machine can have come.
        let since_1970 = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Wire {
            worker,
            now: Millis::default(),
            wall_ms: 0,
            server: ServerTransactions::default(),
            client: ClientTransactions::default(),
            datagrams: Vec::new(),
            streams: HashMap::new(),
            sources: Sources::default(),
            by_peer: HashMap::new(),
            touched: Vec::new(),
            opening: Vec::new(),
            ended: Vec::new(),
            wake: None,
            counters,
            keys: Keys::default(),
            branches: 0,
            stream_numbers: since_1970.as_nanos() as u64,
            vias: Vec::new(),
            addresses: HashMap::new(),
            stream_locals: Vec::new(),
            websockets: Rc::new(websockets),
        }
    }

    /// The worker's clock, read once per turn.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The wall clock in milliseconds since 1970, read once per turn.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        self.wall_ms
    }

    /// Answers a transaction: provisional responses as often as wanted, one final. The answer is kept
    /// and repeated to retransmissions. Does nothing when the transaction is gone.
    pub fn respond(&mut self, transaction: ServerKey, status: u16, response: Bytes) {
        let flow = if status < 200 {
            self.server.flow(transaction)
        } else {
            self.server.answer(transaction, response.clone(), self.now)
        };
        match flow {
            Some(flow) => self.send(&flow, response),
            None => {
                self.counters.answers_dropped.fetch_add(1, Relaxed);
            }
        }
    }

    /// Leaves a request without an answer, for ever.
    pub fn ignore(&mut self, transaction: ServerKey) {
        self.server.ignore(transaction);
    }

    /// The flow that a request of about `bytes` for `flow` should leave by: a stream to the same peer
    /// when it is too large for a datagram and one is open.
    //= RFC 3261 18.1.1
    //# a request within 200 bytes of the path MTU, or over 1300 bytes, goes over a stream
    #[must_use]
    pub fn flow_for(&self, flow: &Flow, bytes: usize) -> Flow {
        if flow.transport.is_reliable() || bytes <= DATAGRAM_BYTES_GOOD {
            return *flow;
        }
        let open = self
            .by_peer
            .get(&flow.peer)
            .and_then(|number| self.streams.get(number));
        match open {
            Some(stream) if stream.socket.is_some() => stream.flow,
            _ => {
                self.counters.oversized_datagrams.fetch_add(1, Relaxed);
                *flow
            }
        }
    }

    /// The flow for a request of our own to a peer: over the stream to it, if there is one, and else over one that
    /// is opened; or from the first datagram socket of its family.
    #[must_use]
    pub fn flow_to(&self, transport: Transport, peer: SocketAddr) -> Flow {
        let number = if transport.is_reliable() {
            let open = self.by_peer.get(&peer).copied();
            open.filter(|number| {
                let stream = self.streams.get(number);
                stream.is_some_and(|stream| stream.flow.transport == transport)
            })
        } else {
            let fits = |datagrams: &Datagrams| datagrams.local.is_ipv4() == peer.is_ipv4();
            self.datagrams
                .iter()
                .position(fits)
                .map(|place| place as u64)
        };
        Flow {
            worker: self.worker,
            transport,
            number: number.unwrap_or_default(),
            peer,
        }
    }

    /// What was kept for a request of ours that this answers, if it waits for an answer; a final one ends it.
    pub fn claim(&mut self, response: &Response) -> Option<Context> {
        let branch = response.branch()?.get(7..)?;
        let branch = Branch(u64::from_str_radix(branch, 16).ok()?);
        self.client.respond(branch, response.status().is_final())
    }

    /// A new branch, and the Via value that carries it, for a request that will leave by `flow`.
    //= RFC 3261 8.1.1.7
    //# a branch is unique in space and time
    pub fn via(&mut self, flow: &Flow) -> (Branch, String) {
        self.branches += 1;
        let branch = Branch(self.keys.scramble(self.branches));
        let local = self.local_of(flow);
        let place = self
            .vias
            .iter()
            .position(|(transport, address, _)| (*transport, *address) == (flow.transport, local));
        let place = place.unwrap_or_else(|| {
            if self.vias.len() >= 64 {
                self.vias.clear();
            }
            let begin = format!(
                "SIP/2.0/{} {local};rport;branch=z9hG4bK",
                flow.transport.as_str()
            );
            self.vias.push((flow.transport, local, begin));
            self.vias.len() - 1
        });
        let begin = &self.vias[place].2;
        let mut via = String::with_capacity(begin.len() + 16);
        via.push_str(begin);
        for shift in (0..16).rev() {
            via.push(char::from(
                b"0123456789abcdef"[(branch.0 >> (4 * shift)) as usize & 15],
            ));
        }
        (branch, via)
    }

    /// Sends a request and sees to its retransmission; `on_ended` tells its end.
    ///
    /// A stream that is closed is opened anew to the flow's peer. While a stream is behind, a newer
    /// request that is `complete` in itself takes the place of an unsent one with the same first number
    /// in its context.
    pub fn send_request(
        &mut self,
        flow: &Flow,
        branch: Branch,
        message: Bytes,
        context: Context,
        complete: Complete,
    ) {
        if !self
            .client
            .begin(branch, *flow, message.clone(), context, self.now)
        {
            self.counters.dropped_full.fetch_add(1, Relaxed);
            self.ended.push((context, Ended::Timeout));
        }
        if flow.transport.is_reliable() {
            let replaceable = (complete == Complete::Yes).then_some((context.0, branch));
            self.queue_for_stream(flow, message, replaceable, true);
        } else {
            self.queue_datagram(flow, message);
        }
    }

    /// Sends a message that nobody answers (BENOTIFY, a response).
    pub fn send(&mut self, flow: &Flow, message: Bytes) {
        if flow.transport.is_reliable() {
            self.queue_for_stream(flow, message, None, false);
        } else {
            self.queue_datagram(flow, message);
        }
    }

    /// Our own address on the socket that `flow` uses, for a Contact or a Via.
    #[must_use]
    pub fn local_of(&mut self, flow: &Flow) -> SocketAddr {
        let bound = if flow.transport.is_reliable() {
            match self.streams.get(&flow.number) {
                Some(stream) => return stream.local,
                None => self.listener_of(flow),
            }
        } else {
            match usize::try_from(flow.number)
                .ok()
                .and_then(|number| self.datagrams.get(number))
            {
                Some(datagrams) => datagrams.local,
                None => self
                    .datagrams
                    .first()
                    .map_or(flow.peer, |datagrams| datagrams.local),
            }
        };
        if bound.ip().is_unspecified() {
            SocketAddr::new(self.address_towards(flow.peer.ip()), bound.port())
        } else {
            bound
        }
    }

    /// The listener that a closed stream came by, or would have.
    fn listener_of(&self, flow: &Flow) -> SocketAddr {
        let same = |of: &&(Transport, SocketAddr)| of.0 == flow.transport;
        let found = self.stream_locals.iter().find(same);
        found
            .or(self.stream_locals.first())
            .map_or(flow.peer, |(_, address)| *address)
    }

    /// Which of our addresses the kernel uses towards a peer; asked once per peer.
    fn address_towards(&mut self, peer: IpAddr) -> IpAddr {
        if let Some(known) = self.addresses.get(&peer) {
            return *known;
        }
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.clear();
        }
        let any: SocketAddr = if peer.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0; 16], 0).into()
        };
        // Connecting a datagram socket sends nothing; it only asks the routing table.
        let ours = UdpSocket::bind(any)
            .and_then(|probe| probe.connect((peer, 9)).and_then(|()| probe.local_addr()))
            .map_or(any.ip(), |local| local.ip());
        self.addresses.insert(peer, ours);
        ours
    }

    /// Asks for one `on_wake` at that time; the earliest wish counts.
    pub fn wake_at(&mut self, at: Millis) {
        self.wake = Some(self.wake.map_or(at, |earlier| earlier.min(at)));
    }

    /// Closes a stream after what is queued for it has left.
    pub fn close(&mut self, flow: &Flow) {
        let Some(stream) = self.streams.get(&flow.number) else {
            return;
        };
        if stream.framed && !stream.closing {
            self.queue_bytes(flow.number, frames::goodbye());
        }
        self.finish_stream(flow.number);
    }

    /// Ends a stream whose last words are in its queue.
    pub(super) fn finish_stream(&mut self, number: u64) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.closing = true;
            stream.bell.notify_one();
        }
    }

    /// Queues bytes for an open stream as they are: a handshake, a control frame.
    pub(super) fn queue_bytes(&mut self, number: u64, bytes: Bytes) {
        let Some(stream) = self.streams.get(&number) else {
            return;
        };
        let mut outbound = stream.outbound.borrow_mut();
        if outbound.bytes + bytes.len() > STREAM_BYTES_MAX {
            self.counters.dropped_full.fetch_add(1, Relaxed);
            return;
        }
        outbound.bytes += bytes.len();
        outbound.queue.push_back(Outgoing {
            message: bytes,
            replaceable: None,
        });
        drop(outbound);
        self.touched.push(number);
    }

    /// Tells the clients of WebSockets that the server goes; they begin anew at once instead of missing it.
    //= RFC 6455 7.4.1
    //# 1001 says that a server goes away
    pub(super) fn say_goodbye(&mut self) {
        let of = |stream: &Stream| stream.framed.then_some(stream.flow);
        let flows: Vec<Flow> = self.streams.values().filter_map(of).collect();
        for flow in &flows {
            self.close(flow);
        }
        self.flush();
    }

    fn queue_datagram(&mut self, flow: &Flow, message: Bytes) {
        if !self.sources.may_send(flow.peer.ip(), &message, self.now) {
            self.counters.datagrams_withheld.fetch_add(1, Relaxed);
            return;
        }
        // A socket of an earlier life, or of another family, may not be there any more.
        let fits = |datagrams: &Datagrams| datagrams.local.is_ipv4() == flow.peer.is_ipv4();
        let number = usize::try_from(flow.number).unwrap_or(usize::MAX);
        let place = match self.datagrams.get(number) {
            Some(datagrams) if fits(datagrams) => Some(number),
            _ => self.datagrams.iter().position(fits),
        };
        let Some(datagrams) = place.map(|place| &mut self.datagrams[place]) else {
            self.counters.send_failures.fetch_add(1, Relaxed);
            return;
        };
        if datagrams.queue.len() >= DATAGRAMS_MAX {
            datagrams.queue.pop_front();
            self.counters.dropped_full.fetch_add(1, Relaxed);
        }
        datagrams.queue.push_back((flow.peer, message));
    }

    fn queue_for_stream(
        &mut self,
        flow: &Flow,
        message: Bytes,
        replaceable: Option<(u128, Branch)>,
        open: bool,
    ) {
        let known = match self.streams.get(&flow.number) {
            Some(_) => Some(flow.number),
            None if flow.transport.is_websocket() => None,
            None => self.by_peer.get(&flow.peer).copied(),
        };
        let number = match known {
            Some(number) => number,
            None if open => {
                let number = self.next_stream_number();
                let flow = Flow {
                    number,
                    worker: self.worker,
                    ..*flow
                };
                let local = self.listener_of(&flow);
                self.add_stream(None, flow, local);
                self.opening.push(flow);
                number
            }
            None => {
                self.counters.send_failures.fetch_add(1, Relaxed);
                return;
            }
        };
        let stream = &self.streams[&number];
        let message = if stream.framed {
            frames::message(message)
        } else {
            message
        };
        let mut outbound = stream.outbound.borrow_mut();
        let unsent = usize::from(outbound.written > 0);
        let older = replaceable.and_then(|(key, _)| {
            outbound
                .queue
                .iter()
                .skip(unsent)
                .position(|out| out.replaceable.is_some_and(|(other, _)| other == key))
        });
        if let (Some(place), Some(newer)) = (older, replaceable) {
            // House §4 step 10: an unsent notification is replaced by its successor.
            let old = &mut outbound.queue[unsent + place];
            let (_, branch) = old
                .replaceable
                .replace(newer)
                .expect("it was found by this");
            let grown = message.len();
            let shrunk = std::mem::replace(&mut old.message, message).len();
            outbound.bytes = outbound.bytes + grown - shrunk;
            self.counters.coalesced.fetch_add(1, Relaxed);
            if let Some(context) = self.client.abandon(branch) {
                self.ended.push((context, Ended::Replaced));
            }
            return;
        }
        if outbound.bytes + message.len() > STREAM_BYTES_MAX {
            self.counters.dropped_full.fetch_add(1, Relaxed);
            return;
        }
        outbound.bytes += message.len();
        outbound.queue.push_back(Outgoing {
            message,
            replaceable,
        });
        drop(outbound);
        self.touched.push(number);
    }

    pub(super) fn next_stream_number(&mut self) -> u64 {
        self.stream_numbers += 1;
        self.stream_numbers
    }

    pub(super) fn add_stream(&mut self, socket: Option<Rc<Socket>>, flow: Flow, local: SocketAddr) {
        // Whoever cannot be opened is reached by its own flow only; another one from its address is somebody else.
        if !flow.transport.is_websocket() {
            self.by_peer.insert(flow.peer, flow.number);
        }
        let stream = Stream {
            socket,
            flow,
            local,
            outbound: Rc::default(),
            bell: Rc::default(),
            closing: false,
            pongs: false,
            framed: false,
            spoke: false,
        };
        self.sources.connected(flow.peer.ip());
        self.streams.insert(flow.number, stream);
        self.counters
            .streams
            .store(self.streams.len() as u64, Relaxed);
    }

    /// Takes a stream out of the tables; what waited for it ends.
    pub(super) fn remove_stream(&mut self, number: u64) -> Option<Flow> {
        let stream = self.streams.remove(&number)?;
        self.sources.disconnected(stream.flow.peer.ip());
        self.counters
            .streams
            .store(self.streams.len() as u64, Relaxed);
        if self.by_peer.get(&stream.flow.peer) == Some(&number) {
            self.by_peer.remove(&stream.flow.peer);
        }
        for out in stream.outbound.borrow_mut().queue.drain(..) {
            if let Some(context) = out
                .replaceable
                .and_then(|(_, branch)| self.client.abandon(branch))
            {
                self.ended.push((context, Ended::Unreachable));
            }
        }
        Some(stream.flow)
    }

    pub(super) fn add_datagrams(&mut self, socket: Rc<dyn SendDatagrams>, local: SocketAddr) {
        self.datagrams.push(Datagrams {
            socket,
            local,
            queue: VecDeque::new(),
            full: Rc::default(),
        });
    }

    /// Lets everything leave that the kernel has room for.
    pub(super) fn flush(&mut self) {
        for place in 0..self.datagrams.len() {
            self.flush_datagrams(place);
        }
        for number in std::mem::take(&mut self.touched) {
            let Some(stream) = self.streams.get(&number) else {
                continue;
            };
            let Some(socket) = &stream.socket else {
                continue;
            };
            // An error shows up again in the stream's own tasks, which close it.
            let _ = stream
                .outbound
                .borrow_mut()
                .write_to(socket, &self.counters);
            if stream.outbound.borrow().bytes > 0 || socket.holds_back() {
                stream.bell.notify_one();
            }
        }
    }

    pub(super) fn flush_datagrams(&mut self, place: usize) {
        let Datagrams {
            socket,
            queue,
            full,
            ..
        } = &mut self.datagrams[place];
        while !queue.is_empty() {
            let batch = queue.make_contiguous();
            match socket.send(batch) {
                Ok(sent) => {
                    self.counters.datagrams_out.fetch_add(sent as u64, Relaxed);
                    queue.drain(..sent);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    full.notify_one();
                    return;
                }
                // The kernel refuses the first one (no route, a port that was closed): it is lost, as
                // datagrams are.
                Err(_) => {
                    self.counters.send_failures.fetch_add(1, Relaxed);
                    queue.pop_front();
                }
            }
        }
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.datagrams
            .iter()
            .all(|datagrams| datagrams.queue.is_empty())
            && self
                .streams
                .values()
                .all(|stream| stream.outbound.borrow().bytes == 0)
    }
}

impl Outbound {
    /// Writes what the kernel has room for.
    ///
    /// # Errors
    /// What the kernel says; never `WouldBlock`.
    pub(super) fn write_to(&mut self, socket: &Socket, counters: &Counters) -> std::io::Result<()> {
        const SLICES: usize = 32;
        while !self.queue.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (place, out) in self.queue.iter().take(SLICES).enumerate() {
                let begin = if place == 0 { self.written } else { 0 };
                slices[place] = std::io::IoSlice::new(&out.message[begin..]);
                count += 1;
            }
            match socket.try_write(&slices[..count]) {
                Ok(sent) => self.advance(sent, counters),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut sent: usize, counters: &Counters) {
        self.bytes -= sent;
        while let Some(front) = self.queue.front() {
            let left = front.message.len() - self.written;
            if sent < left {
                self.written += sent;
                return;
            }
            sent -= left;
            self.written = 0;
            self.queue.pop_front();
            counters.stream_messages_out.fetch_add(1, Relaxed);
        }
    }
}
