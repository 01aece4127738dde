//! Streams: accepting, opening, reading, writing, and when to give one up.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{Domain, Protocol, TcpKeepalive, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::socket::Socket;
use super::tls::Certificates;
use super::websocket;
use super::worker::{Core, Shared, TransactionUser};
use crate::flow::{Flow, Transport};
use crate::sip::frame::{Frame, FrameError, Framer, MESSAGE_BYTES_MAX};

/// Streams of one worker. Each costs some 5 kB while idle: 330 MB.
const STREAMS_MAX: usize = 65_536;

/// How long opening may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How long a peer that reads nothing is waited for (house D12).
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// How long a message may take to arrive once it has begun: 64·T1.
pub(super) const HALF: Duration = Duration::from_secs(32);

/// How long a peer may take to shake hands.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a stream may be silent: the longest refresh of the documents is two hours, and some more.
pub(super) const SILENT: Duration = Duration::from_secs(7_500);

/// How long a stream may be open before the first message comes: who has nothing to say does not hold a place.
const MUTE: Duration = Duration::from_secs(32);

/// How long half a keep-alive may wait for its other half.
const PONG: Duration = Duration::from_millis(500);

/// Bytes read at once.
pub(super) const READ_BYTES: usize = 4_096;

/// Opens a listener that other workers may share.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 4_096;
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Only for workers of one process: the port was free before the first of them took it.
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Takes connections for as long as the worker listens.
pub(super) async fn accept<U: TransactionUser>(
    core: Shared<U>,
    listener: tokio::net::TcpListener,
    transport: Transport,
    tls: Option<Certificates>,
) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => adopt(&core, socket, peer, transport, tls.as_ref()),
            // Out of descriptors, or a peer that was gone already: others may do better in a moment.
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn adopt<U: TransactionUser>(
    core: &Shared<U>,
    socket: TcpStream,
    peer: SocketAddr,
    transport: Transport,
    tls: Option<&Certificates>,
) {
    let flow = {
        let wire = &mut core.borrow_mut().wire;
        if wire.streams.len() >= STREAMS_MAX || !wire.sources.may_connect(peer.ip()) {
            wire.counters.streams_refused.fetch_add(1, Relaxed);
            return;
        }
        let Ok(local) = socket.local_addr() else {
            return;
        };
        let flow = Flow {
            worker: wire.worker,
            transport,
            number: wire.next_stream_number(),
            peer,
        };
        prepare(&socket);
        let socket = match tls {
            None => Socket::Plain(socket),
            Some(tls) => match tls.session() {
                Some(session) => Socket::tls(socket, session),
                None => return,
            },
        };
        wire.add_stream(Some(Rc::new(socket)), flow, local);
        flow
    };
    live(core, flow);
}

/// Opens a stream for what waits in its queue, where its transport allows it.
pub(super) fn open<U: TransactionUser>(core: &Shared<U>, flow: Flow) {
    let core = Rc::clone(core);
    tokio::task::spawn_local(async move {
        if !flow.transport.can_be_opened() {
            return remove(&core, flow);
        }
        match timeout(CONNECT, TcpStream::connect(flow.peer)).await {
            Ok(Ok(socket)) => {
                prepare(&socket);
                let local = socket.local_addr().unwrap_or(flow.peer);
                let found = match core.borrow_mut().wire.streams.get_mut(&flow.number) {
                    Some(stream) => {
                        stream.socket = Some(Rc::new(Socket::Plain(socket)));
                        stream.local = local;
                        stream.bell.notify_one();
                        true
                    }
                    None => false,
                };
                if found {
                    live(&core, flow);
                }
            }
            _ => remove(&core, flow),
        }
    });
}

fn prepare(socket: &TcpStream) {
    // Both only help; a kernel that refuses them does no harm.
    let _ = socket.set_nodelay(true);
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(20));
    let _ = socket2::SockRef::from(socket).set_tcp_keepalive(&probes);
}

/// How a stream's writer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// Everything has left, and the stream is to close; or its peer reads nothing.
    Over,
    /// The peer takes nothing more. What it said before may still wait to be read.
    Broken,
}

/// Starts the two tasks of an open stream. The first to end takes it down, but what has come in is read
/// first: a client that signs off and leaves at once, without having read our answers to what it said
/// before, resets the connection, and its last word is in our buffer then.
fn live<U: TransactionUser>(core: &Shared<U>, flow: Flow) {
    let core = Rc::clone(core);
    tokio::task::spawn_local(async move {
        let written = async {
            if write(&core, flow).await == Written::Broken {
                // The reader comes to the end of a broken stream by itself; this is for one that does not.
                tokio::time::sleep(STUCK).await;
            }
        };
        tokio::select! {
            () = websocket::read(&core, flow), if flow.transport.is_websocket() => {}
            () = read(&core, flow), if !flow.transport.is_websocket() => {}
            () = written => {}
        }
        remove(&core, flow);
    });
}

fn remove<U: TransactionUser>(core: &Shared<U>, flow: Flow) {
    Core::turn(core, |core| {
        if let Some(flow) = core.wire.remove_stream(flow.number) {
            core.user.on_closed(flow, &mut core.wire);
        }
    });
}

/// Reads until the stream ends, breaks, or cannot be understood.
async fn read<U: TransactionUser>(core: &Shared<U>, flow: Flow) {
    let Some(socket) = core
        .borrow()
        .wire
        .streams
        .get(&flow.number)
        .and_then(|stream| stream.socket.clone())
    else {
        return;
    };
    let mut buffer = BytesMut::new();
    let mut framer = Framer::default();
    let mut half_since = tokio::time::Instant::now();
    let (begun, mut spoke) = (half_since, false);
    loop {
        let patience = match &buffer[..] {
            [] if socket.is_handshaking() => HANDSHAKE.saturating_sub(half_since.elapsed()),
            [] if !spoke => MUTE.saturating_sub(begun.elapsed()),
            [] => SILENT,
            b"\r\n" => PONG,
            _ => HALF.saturating_sub(half_since.elapsed()),
        };
        match timeout(patience, socket.readable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) if &buffer[..] == b"\r\n" => {
                framer.idle(&mut buffer);
                continue;
            }
            // Silent for hours, or a message or a handshake that does not get on.
            Err(_) => {
                count_handshake(core, &socket);
                return;
            }
        }
        let shaking = socket.is_handshaking();
        if buffer.is_empty() && !shaking {
            half_since = tokio::time::Instant::now();
        }
        buffer.reserve(READ_BYTES);
        match socket.try_read(&mut buffer) {
            Ok(0) => {
                count_handshake(core, &socket);
                return;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // What the session has to say, or what waited for the handshake, may leave now.
                if socket.holds_back() || shaking && !socket.is_handshaking() {
                    ring(core, &flow);
                }
                continue;
            }
            Err(error) => {
                tracing::debug!(%error, peer = %flow.peer, "a stream broke");
                count_handshake(core, &socket);
                return;
            }
        }
        if socket.holds_back() || shaking {
            ring(core, &flow);
        }
        let mut goes_on = true;
        Core::turn(core, |core| {
            goes_on = take_frames(core, &mut framer, &mut buffer, flow);
            let stream = core.wire.streams.get(&flow.number);
            spoke = stream.is_some_and(|stream| stream.spoke);
        });
        if !goes_on {
            // Let the answer leave before the connection closes.
            core.borrow_mut().wire.close(&flow);
            tokio::time::sleep(STUCK).await;
            return;
        }
        // A stream that was quiet again keeps no buffer.
        if buffer.is_empty() {
            buffer = BytesMut::new();
            half_since = tokio::time::Instant::now();
        }
        tokio::task::yield_now().await;
    }
}

/// Notes a stream that ends before the hands were shaken.
fn count_handshake<U: TransactionUser>(core: &Shared<U>, socket: &Socket) {
    if socket.is_handshaking() {
        core.borrow()
            .wire
            .counters
            .handshakes_failed
            .fetch_add(1, Relaxed);
    }
}

/// Wakes a stream's writer.
pub(super) fn ring<U: TransactionUser>(core: &Shared<U>, flow: &Flow) {
    if let Some(stream) = core.borrow().wire.streams.get(&flow.number) {
        stream.bell.notify_one();
    }
}

/// Hands on what is whole; `false` when the stream should close.
fn take_frames<U: TransactionUser>(
    core: &mut Core<U>,
    framer: &mut Framer,
    buffer: &mut BytesMut,
    flow: Flow,
) -> bool {
    loop {
        match framer.next(buffer) {
            Ok(None) => return true,
            Ok(Some(Frame::Message(message))) => {
                core.wire.counters.stream_messages_in.fetch_add(1, Relaxed);
                if let Some(stream) = core.wire.streams.get_mut(&flow.number) {
                    stream.spoke = true;
                }
                if !core.arrive(own_buffer(message), flow) {
                    return false;
                }
            }
            Ok(Some(Frame::Ping)) => {
                core.wire.counters.keepalives_in.fetch_add(1, Relaxed);
                //= RFC 5626 4.4.1
                //# a ping gets a pong, on a flow whose client asked for one (contradiction C-68)
                let streams = &core.wire.streams;
                if streams.get(&flow.number).is_some_and(|stream| stream.pongs) {
                    core.wire.send(&flow, Bytes::from_static(b"\r\n"));
                }
            }
            Ok(Some(Frame::Pong)) => {}
            //= RFC 3261 18.3
            //# what cannot be framed is answered if it can be read, and the connection closes
            Err(FrameError::NoLength | FrameError::TooLarge) => {
                let length = buffer.len().min(MESSAGE_BYTES_MAX);
                core.arrive(buffer.split_to(length).freeze(), flow);
                return false;
            }
        }
    }
}

/// A message of its own: a slice would keep the stream's whole buffer alive for as long as the
/// transaction lives.
fn own_buffer(message: Bytes) -> Bytes {
    Bytes::copy_from_slice(&message)
}

/// Writes what a turn could not, until the stream is to close or does not get on.
async fn write<U: TransactionUser>(core: &Shared<U>, flow: Flow) -> Written {
    let (bell, outbound, socket, counters) = {
        let core = core.borrow();
        let Some(stream) = core.wire.streams.get(&flow.number) else {
            return Written::Over;
        };
        let Some(socket) = stream.socket.clone() else {
            return Written::Over;
        };
        (
            Rc::clone(&stream.bell),
            Rc::clone(&stream.outbound),
            socket,
            core.wire.counters.clone(),
        )
    };
    loop {
        // Before the hands are shaken nothing of ours can leave but what the session has to say.
        let nothing = outbound.borrow().bytes == 0 || socket.is_handshaking();
        if nothing && !socket.holds_back() {
            if core
                .borrow()
                .wire
                .streams
                .get(&flow.number)
                .is_none_or(|stream| stream.closing)
            {
                return Written::Over;
            }
            bell.notified().await;
            continue;
        }
        match timeout(STUCK, socket.writable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Written::Broken,
            Err(_) => {
                counters.streams_closed_slow.fetch_add(1, Relaxed);
                return Written::Over;
            }
        }
        let written = socket
            .try_flush()
            .and_then(|()| outbound.borrow_mut().write_to(&socket, &counters));
        if let Err(error) = written {
            tracing::debug!(%error, peer = %flow.peer, "a stream takes nothing more");
            return Written::Broken;
        }
    }
}
