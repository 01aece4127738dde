//! A worker: one thread with its sockets, transactions and flows, and the transaction user on top.
//!
//! Everything a worker does happens in **turns**: a batch of datagrams, what a stream had to say, a
//! batch of mail, due timers. After each turn the user is told ([`TransactionUser::end_of_turn`]), so
//! that it can hand on as one batch what the turn brought; then everything written during the turn
//! leaves, datagrams with one system call.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::sync::{Notify, oneshot};
use tokio::task::{LocalSet, yield_now};

use super::mailbox::Mailbox;
use super::stream;
use super::tls::Certificates;
use super::udp::{self, Arena};
use super::websocket::WebSockets;
pub use super::wire::{Complete, Context, Wire};
use crate::flow::{Flow, Transport};
use crate::sip::write::Reply;
use crate::sip::{Message, ParseError, Request, Response, StatusCode};
use crate::transaction::Millis;
pub use crate::transaction::client::Branch;
use crate::transaction::client::Late;
use crate::transaction::key::ServerKey;
use crate::transaction::server::Arrival;

/// Names a server transaction within its worker.
pub type TransactionId = ServerKey;

/// Mail taken in one turn, so that mail and input take turns.
const MAIL_PER_TURN: usize = 256;

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
    Response(Box<Response>),
    /// Nothing within 64·T1 (a 408 to ourselves).
    Timeout,
    /// The stream is gone and could not be opened anew.
    Unreachable,
    /// It never left: a newer one took its place while the stream was behind.
    Replaced,
}

/// What stands on the transaction layer. All calls come from the worker's one thread.
pub trait TransactionUser: Sized + 'static {
    /// What other threads may post to this worker.
    type Mail: Send + 'static;

    /// A new request arrived.
    fn on_request(&mut self, incoming: Incoming, wire: &mut Wire);
    /// A request arrived that cannot be read; `None` leaves it unanswered.
    fn on_refused(&mut self, request: &Request, error: ParseError) -> Option<Bytes> {
        let tag = format!("r{:x}", request.call_id().len() + request.top_via().len());
        Some(Reply::with_reason(request, error.status, error.reason, Some(&tag)).finish())
    }
    /// A request that [`Wire::send_request`] began has ended.
    fn on_ended(&mut self, context: Context, ended: Ended, wire: &mut Wire);
    /// A final response has come that answers nothing this worker sent: the system gives a datagram to any of the
    /// workers of a socket, and the one that waits for it may be another. Returns whether somebody is told of it.
    fn on_stray(&mut self, response: Response) -> bool {
        drop(response);
        false
    }
    /// Somebody posted.
    fn on_mail(&mut self, mail: Self::Mail, wire: &mut Wire);
    /// A stream is gone.
    fn on_closed(&mut self, flow: Flow, wire: &mut Wire);
    /// The time that [`Wire::wake_at`] asked for has come.
    fn on_wake(&mut self, wire: &mut Wire);
    /// One of the above, or many, have been called; nothing more comes before the next turn.
    fn end_of_turn(&mut self, wire: &mut Wire);
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Which transport.
    pub transport: Transport,
    /// Which address.
    pub address: SocketAddr,
}

/// Declares [`Counters`] with the texts a scraper shows.
macro_rules! counters {
    ($($name:ident $help:literal),+ $(,)?) => {
        /// Counters of one worker, read at scrape time.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $help] pub $name: AtomicU64,)+
        }

        impl Counters {
            /// Name, meaning and value of each.
            pub fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
                [$((stringify!($name), $help, self.$name.load(Relaxed)),)+].into_iter()
            }
        }
    };
}

counters! {
    datagrams_in "Datagrams received.",
    datagrams_out "Datagrams sent.",
    stream_messages_in "Messages received over streams.",
    stream_messages_out "Messages sent over streams.",
    keepalives_in "CRLF keep-alives received.",
    unreadable_answered "Requests that cannot be read, and were answered so.",
    unreadable_dropped "Messages that cannot be read, and were dropped.",
    absorbed "Retransmitted requests absorbed or answered again.",
    retransmissions_sent "Our requests sent again.",
    request_timeouts "Our requests never answered.",
    responses_unmatched "Responses to nothing of ours.",
    answers_dropped "Answers to transactions that were gone.",
    datagrams_withheld "Datagrams not sent to sources that have never answered, which may be forged.",
    oversized_datagrams "Requests over 1300 bytes sent as datagrams for want of a stream.",
    coalesced "Notifications replaced by newer ones before they left.",
    send_failures "Messages that the kernel or a closed stream refused.",
    dropped_full "Messages dropped because a queue was full.",
    streams_closed_slow "Streams closed because the peer did not read.",
    handshakes_failed "TLS and WebSocket handshakes that failed, were refused or took too long.",
    streams_refused "Streams refused because there were too many.",
    streams "Streams open now.",
    server_transactions "Server transactions remembered now.",
    client_transactions "Client transactions open now.",
}

/// Everything of one worker: its user and its wire, and the turn that brings them together.
pub(super) struct Core<U: TransactionUser> {
    pub(super) user: U,
    pub(super) wire: Wire,
    epoch: Instant,
    /// When the timer task will look next.
    armed: Option<Millis>,
    timer: Rc<Notify>,
}

pub(super) type Shared<U> = Rc<RefCell<Core<U>>>;

impl<U: TransactionUser> Core<U> {
    /// A worker's core, at the beginning of its time.
    pub(super) fn shared(user: U, wire: Wire) -> Shared<U> {
        Rc::new(RefCell::new(Core {
            user,
            wire,
            epoch: Instant::now(),
            armed: None,
            timer: Rc::new(Notify::new()),
        }))
    }

    /// How long until something is due.
    pub(super) fn patience(&self) -> Option<Duration> {
        let next = Duration::from_millis(self.next_deadline()?.0);
        Some(next.saturating_sub(self.epoch.elapsed()))
    }

    /// Whether something is due now.
    pub(super) fn is_due(&self) -> bool {
        self.patience().is_some_and(|left| left.is_zero())
    }

    /// Runs one turn.
    pub(super) fn turn(core: &Shared<U>, work: impl FnOnce(&mut Core<U>)) {
        let opening = {
            let this = &mut *core.borrow_mut();
            this.wire.now = Millis(this.epoch.elapsed().as_millis() as u64);
            this.wire.wall_ms = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis() as u64;
            work(this);
            this.finish();
            std::mem::take(&mut this.wire.opening)
        };
        for flow in opening {
            stream::open(core, flow);
        }
    }

    fn finish(&mut self) {
        // Telling of an end may bring further ends, but each one ends something that was begun.
        while !self.wire.ended.is_empty() {
            for (context, ended) in std::mem::take(&mut self.wire.ended) {
                self.user.on_ended(context, ended, &mut self.wire);
            }
        }
        self.user.end_of_turn(&mut self.wire);
        self.wire.flush();
        let counters = &self.wire.counters;
        counters
            .server_transactions
            .store(self.wire.server.count() as u64, Relaxed);
        counters
            .client_transactions
            .store(self.wire.client.count() as u64, Relaxed);
        let next = self.next_deadline();
        if next.is_some_and(|next| self.armed.is_none_or(|armed| next < armed)) {
            self.timer.notify_one();
        }
    }

    fn next_deadline(&self) -> Option<Millis> {
        let Wire {
            server,
            client,
            wake,
            ..
        } = &self.wire;
        [server.next_deadline(), client.next_deadline(), *wake]
            .into_iter()
            .flatten()
            .min()
    }

    /// A datagram arrived at a socket.
    pub(super) fn datagram(&mut self, bytes: Bytes, peer: SocketAddr, place: usize) {
        //= RFC 5626 3.5.1
        //# a few blank bytes keep a mapping alive and want no answer
        if bytes.len() <= 4 && bytes.iter().all(u8::is_ascii_whitespace) {
            self.wire.counters.keepalives_in.fetch_add(1, Relaxed);
            return;
        }
        let now = self.wire.now;
        self.wire.sources.heard(peer.ip(), bytes.len(), now);
        let flow = Flow {
            worker: self.wire.worker,
            transport: Transport::Udp,
            number: place as u64,
            peer,
        };
        self.arrive(bytes, flow);
    }

    /// A message arrived by `flow`. `false` when the stream it came by should close.
    pub(super) fn arrive(&mut self, bytes: Bytes, flow: Flow) -> bool {
        match Message::parse(bytes) {
            Ok(Message::Request(mut request)) => {
                request.set_source(flow.peer.ip(), flow.peer.port());
                self.request(request, flow);
                true
            }
            Ok(Message::Response(response)) => {
                self.response(response, &flow);
                true
            }
            Err(refused) => {
                let answer = refused.answerable.and_then(|mut request| {
                    request.set_source(flow.peer.ip(), flow.peer.port());
                    self.user.on_refused(&request, refused.error)
                });
                match answer {
                    Some(answer) => {
                        self.wire.counters.unreadable_answered.fetch_add(1, Relaxed);
                        self.wire.send(&flow, answer);
                    }
                    None => {
                        self.wire.counters.unreadable_dropped.fetch_add(1, Relaxed);
                    }
                }
                false
            }
        }
    }

    fn request(&mut self, request: Request, flow: Flow) {
        let flow = answer_flow(&request, flow);
        let wire = &mut self.wire;
        if let Some(stream) = wire.streams.get_mut(&flow.number)
            && !stream.pongs
        {
            stream.pongs = asks_for_pongs(&request);
        }
        match wire.server.arrive(&request, &flow, wire.now) {
            Arrival::New(transaction) => {
                let local = wire.local_of(&flow);
                self.user.on_request(
                    Incoming {
                        request,
                        flow,
                        local,
                        transaction,
                    },
                    wire,
                );
            }
            Arrival::Repeat(answer) => {
                wire.counters.absorbed.fetch_add(1, Relaxed);
                wire.send(&flow, answer);
            }
            Arrival::Absorbed => {
                wire.counters.absorbed.fetch_add(1, Relaxed);
            }
            //= RFC 3261 9.2
            //# a CANCEL that matches nothing gets 481; all others get 200, whatever they achieve
            Arrival::Cancel { found } => {
                let status = if found {
                    StatusCode::OK
                } else {
                    StatusCode::NO_TRANSACTION
                };
                wire.send(&flow, Reply::new(&request, status, Some("c")).finish());
            }
            Arrival::Full => {
                wire.counters.dropped_full.fetch_add(1, Relaxed);
                let answer = Reply::new(&request, StatusCode::UNAVAILABLE, Some("f"))
                    .header("Retry-After", 10);
                wire.send(&flow, answer.finish());
            }
        }
    }

    /// A response goes to the transaction whose branch it bears.
    //= RFC 3261 17.1.3
    //# the branch of the top Via and the method of CSeq match a response to its transaction
    fn response(&mut self, response: Response, flow: &Flow) {
        let claimed = self.wire.claim(&response);
        if claimed.is_some() && !flow.transport.is_reliable() {
            self.wire.sources.answered(flow.peer.ip(), self.wire.now);
        }
        match claimed {
            Some(context) => {
                self.user
                    .on_ended(context, Ended::Response(Box::new(response)), &mut self.wire)
            }
            None if !response.status().is_final() => {}
            None => {
                if !self.user.on_stray(response) {
                    self.wire.counters.responses_unmatched.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// What somebody posted, and what else waits.
    pub(super) fn mail(&mut self, first: U::Mail, mailbox: &Mailbox<U::Mail>) {
        self.user.on_mail(first, &mut self.wire);
        for _ in 1..MAIL_PER_TURN {
            let Some(next) = mailbox.take() else { break };
            self.user.on_mail(next, &mut self.wire);
        }
    }

    /// Does what is due.
    pub(super) fn expire(&mut self) {
        let now = self.wire.now;
        let mut again = Vec::new();
        self.wire
            .server
            .expire(now, |flow, answer| again.push((*flow, answer)));
        for (flow, answer) in again {
            self.wire.send(&flow, answer);
        }
        while let Some(late) = self.wire.client.expire(now) {
            match late {
                Late::Again(flow, message) => {
                    self.wire
                        .counters
                        .retransmissions_sent
                        .fetch_add(1, Relaxed);
                    self.wire.send(&flow, message);
                }
                Late::GaveUp(flow, context) => {
                    self.wire.counters.request_timeouts.fetch_add(1, Relaxed);
                    // A peer whose stream was lost is not a peer that does not answer.
                    let lost = flow.transport.is_reliable()
                        && !self.wire.streams.contains_key(&flow.number);
                    let ended = if lost {
                        Ended::Unreachable
                    } else {
                        Ended::Timeout
                    };
                    self.user.on_ended(context, ended, &mut self.wire);
                }
            }
        }
        if self.wire.wake.is_some_and(|wake| wake <= now) {
            self.wire.wake = None;
            self.user.on_wake(&mut self.wire);
        }
    }
}

/// Whether a client waits for answers to its keep-alives: others take them for garbage.
//= RFC 6223 4.1
//# keep in the client's Via asks for it
//= RFC 5626 4.2.1
//# as does outbound in Supported, or ob in the Contact's URI
fn asks_for_pongs(request: &Request) -> bool {
    use crate::sip::header::{Name, NameAddr};
    use crate::sip::uri::Uri;
    let keep = || request.via().params.get("keep").is_some();
    let outbound = || {
        let mut offered = request.values(Name::Supported);
        offered.any(|tag| tag.eq_ignore_ascii_case("outbound"))
    };
    let ob = |contact: &str| {
        let uri = NameAddr::parse(contact).map(|contact| contact.uri);
        uri.is_ok_and(|uri| Uri::parse(uri).is_ok_and(|uri| uri.params.get("ob").is_some()))
    };
    keep() || outbound() || request.values(Name::Contact).any(ob)
}

/// Where the answer to a datagram goes.
//= RFC 3261 18.2.2
//# to the source address, at the port of sent-by
//= RFC 3581 4
//# or at the source port when the client asked for it
fn answer_flow(request: &Request, flow: Flow) -> Flow {
    if flow.transport.is_reliable() {
        return flow;
    }
    let via = request.via();
    if via.params.get("rport").is_some() {
        return flow;
    }
    let peer = SocketAddr::new(flow.peer.ip(), via.port.unwrap_or(5060));
    Flow { peer, ..flow }
}

/// A running worker and its mailbox, or the listener that could not be opened and why.
pub type Started<M> = Result<(Worker, Mailbox<M>), (Listen, io::Error)>;

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    addresses: Vec<Listen>,
    counters: Arc<Counters>,
    stop: Option<oneshot::Sender<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Binds the listeners (with SO_REUSEPORT, so that several workers share them) and starts the
    /// thread. `make` builds the user on that thread; `tls` is what TLS listeners show, `websockets` what was
    /// decided about those of WebSockets.
    ///
    /// # Errors
    /// When an address cannot be bound, or a TLS listener has nothing to show, with the listener it was.
    pub fn start<U: TransactionUser>(
        number: u8,
        listen: &[Listen],
        tls: Option<Certificates>,
        websockets: WebSockets,
        make: impl FnOnce(Mailbox<U::Mail>) -> U + Send + 'static,
    ) -> Started<U::Mail> {
        let mut sockets = Vec::new();
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for wanted in listen {
            let failed = |error| (*wanted, error);
            let address = match wanted.transport {
                Transport::Udp => {
                    let socket = udp::bind(wanted.address).map_err(failed)?;
                    let address = socket.local_addr().map_err(failed)?;
                    sockets.push(socket);
                    address
                }
                Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                    let listener = stream::bind(wanted.address).map_err(failed)?;
                    let address = listener.local_addr().map_err(failed)?;
                    let shown = if wanted.transport.is_secure() {
                        Some(tls.clone().ok_or_else(|| {
                            let why = "a TLS listener without a certificate";
                            failed(io::Error::new(io::ErrorKind::InvalidInput, why))
                        })?)
                    } else {
                        None
                    };
                    listeners.push((listener, wanted.transport, shown));
                    address
                }
            };
            addresses.push(Listen { address, ..*wanted });
        }
        let counters = Arc::new(Counters::default());
        let mailbox = Mailbox::new();
        let (stop, stopped) = oneshot::channel();
        let thread = {
            let (mailbox, counters) = (mailbox.clone(), Arc::clone(&counters));
            let run = move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .build()
                    .expect("the kernel gives a worker its event queue");
                let wire = Wire::new(number, counters, websockets);
                let user = make(mailbox.clone());
                let tasks = LocalSet::new();
                tasks.block_on(
                    &runtime,
                    run(user, wire, mailbox, sockets, listeners, stopped),
                );
            };
            std::thread::Builder::new()
                .name(format!("sip-{number}"))
                .spawn(run)
                .map_err(|error| (listen[0], error))?
        };
        Ok((
            Worker {
                addresses,
                counters,
                stop: Some(stop),
                thread: Some(thread),
            },
            mailbox,
        ))
    }

    /// The addresses bound, in the order of `listen`; a port of 0 shows what the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Stops listening, lets what is queued leave for at most `grace`, closes all flows and ends the
    /// thread.
    pub fn stop(mut self, grace: Duration) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(grace);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The life of a worker, on its thread.
async fn run<U: TransactionUser>(
    user: U,
    mut wire: Wire,
    mailbox: Mailbox<U::Mail>,
    sockets: Vec<UdpSocket>,
    listeners: Vec<(TcpListener, Transport, Option<Certificates>)>,
    stopped: oneshot::Receiver<Duration>,
) {
    let mut datagrams = Vec::new();
    for socket in sockets {
        let local = socket.local_addr().expect("a bound socket has an address");
        let socket = tokio::net::UdpSocket::from_std(socket)
            .expect("the runtime takes a non-blocking socket");
        let socket = Rc::new(socket);
        wire.add_datagrams(Rc::<tokio::net::UdpSocket>::clone(&socket), local);
        datagrams.push(socket);
    }
    wire.stream_locals = listeners
        .iter()
        .filter_map(|(listener, transport, _)| Some((*transport, listener.local_addr().ok()?)))
        .collect();
    let core = Core::shared(user, wire);
    let timer = Rc::clone(&core.borrow().timer);

    let mut intake = Vec::new();
    for (place, socket) in datagrams.into_iter().enumerate() {
        let (receiving, draining) = (Rc::clone(&core), Rc::clone(&core));
        intake.push(tokio::task::spawn_local(receive(
            receiving,
            Rc::clone(&socket),
            place,
        )));
        tokio::task::spawn_local(drain(draining, socket, place));
    }
    for (listener, transport, tls) in listeners {
        let listener = tokio::net::TcpListener::from_std(listener)
            .expect("the runtime takes a non-blocking socket");
        intake.push(tokio::task::spawn_local(stream::accept(
            Rc::clone(&core),
            listener,
            transport,
            tls,
        )));
    }
    tokio::task::spawn_local(mail(Rc::clone(&core), mailbox.clone()));
    tokio::task::spawn_local(tick(Rc::clone(&core), timer));

    let grace = stopped.await.unwrap_or_default();
    for task in intake {
        task.abort();
    }
    let until = Instant::now() + grace;
    while Instant::now() < until && !core.borrow().wire.is_flushed() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    core.borrow_mut().wire.say_goodbye();
    mailbox.close();
}

/// Datagrams in, a batch a turn.
async fn receive<U: TransactionUser>(
    core: Shared<U>,
    socket: Rc<tokio::net::UdpSocket>,
    place: usize,
) {
    let mut arena = Arena::new();
    let mut batch = Vec::with_capacity(udp::BATCH);
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        let received = socket.try_io(Interest::READABLE, || {
            arena.receive(socket.as_fd(), |bytes, peer| batch.push((bytes, peer)))
        });
        match received {
            Ok(_) => Core::turn(&core, |core| {
                core.wire
                    .counters
                    .datagrams_in
                    .fetch_add(batch.len() as u64, Relaxed);
                for (bytes, peer) in batch.drain(..) {
                    core.datagram(bytes, peer, place);
                }
            }),
            // An ICMP error of something we sent: there is nothing to read.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                core.borrow()
                    .wire
                    .counters
                    .send_failures
                    .fetch_add(1, Relaxed);
            }
            Err(_) => {}
        }
        yield_now().await;
    }
}

/// Datagrams that the kernel had no room for, when it has room again.
async fn drain<U: TransactionUser>(
    core: Shared<U>,
    socket: Rc<tokio::net::UdpSocket>,
    place: usize,
) {
    let full = Rc::clone(&core.borrow().wire.datagrams[place].full);
    loop {
        full.notified().await;
        if socket.writable().await.is_err() {
            return;
        }
        core.borrow_mut().wire.flush_datagrams(place);
    }
}

/// Mail, a batch a turn.
async fn mail<U: TransactionUser>(core: Shared<U>, mailbox: Mailbox<U::Mail>) {
    loop {
        mailbox.woken().await;
        while let Some(first) = mailbox.take() {
            Core::turn(&core, |core| core.mail(first, &mailbox));
            yield_now().await;
        }
    }
}

/// Timers: sleeps until the next deadline, or until an earlier one is set.
async fn tick<U: TransactionUser>(core: Shared<U>, timer: Rc<Notify>) {
    loop {
        let (due, epoch) = {
            let mut core = core.borrow_mut();
            core.armed = core.next_deadline();
            (core.armed, core.epoch)
        };
        match due {
            None => timer.notified().await,
            Some(due) => {
                let at = tokio::time::Instant::from_std(epoch + Duration::from_millis(due.0));
                tokio::select! {
                    () = tokio::time::sleep_until(at) => Core::turn(&core, Core::expire),
                    () = timer.notified() => {}
                }
            }
        }
    }
}
