//! SIP over WebSocket (RFC 7118): the reading side of one connection, from the HTTP request to the last frame.
//!
//! It is a stream like others: its queue, its writer and its end are theirs (`stream.rs`). What differs is that a
//! message is a WebSocket message, that the server pings, and that a client can be reached by this flow only.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use super::frames::{self, Frames, Heard};
use super::socket::Socket;
use super::stream::{HALF, HANDSHAKE, READ_BYTES, SILENT, STUCK, ring};
pub use super::upgrade::Origin;
use super::upgrade::{self, Upgrade};
use super::worker::{Core, Shared, TransactionUser};
use crate::flow::Flow;

/// How long the rest of what a client sends is read after its end was said: a socket closed upon unread bytes is
/// reset, and the client would not see why.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the operator decided about WebSocket listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSockets {
    /// Whose pages may connect.
    pub origins: Vec<Origin>,
    /// After how much silence a client is pinged; after twice as much it is gone.
    pub ping: Duration,
}

impl Default for WebSockets {
    /// Programs and no pages; a ping before the minute after which proxies usually end a silent connection. 65,536
    /// connections are 1,300 pings a second.
    fn default() -> WebSockets {
        WebSockets {
            origins: Vec::new(),
            ping: Duration::from_secs(50),
        }
    }
}

/// What waiting for bytes came to.
enum Came {
    Some,
    /// Nothing in time.
    Nothing,
    /// The stream ended or broke.
    End,
}

/// Reads until the client closes, breaks off, is silent for too long, or cannot be understood.
pub(super) async fn read<U: TransactionUser>(core: &Shared<U>, flow: Flow) {
    let (socket, settings) = {
        let core = core.borrow();
        let stream = core.wire.streams.get(&flow.number);
        let Some(socket) = stream.and_then(|stream| stream.socket.clone()) else {
            return;
        };
        (socket, Rc::clone(&core.wire.websockets))
    };
    let mut buffer = BytesMut::new();
    if !shake_hands(core, &flow, &socket, &settings, &mut buffer).await {
        return;
    }
    let mut frames = Frames::default();
    let mut spoken = Instant::now();
    let mut half_since = spoken;
    let mut pinged = false;
    loop {
        let mut taken = Taken::default();
        Core::turn(core, |core| {
            taken = take(core, &mut frames, &mut buffer, &flow);
        });
        if taken.spoken {
            spoken = Instant::now();
            // What is not whole now began after it.
            half_since = spoken;
        }
        match taken.end {
            None => {}
            // Its end is answered: the server closes first, and a browser waits for it.
            Some(End::Theirs) => {
                core.borrow_mut().wire.finish_stream(flow.number);
                tokio::time::sleep(STUCK).await;
                return;
            }
            Some(End::Ours) => return farewell(core, &flow, &socket).await,
        }
        let half = frames.is_half(&buffer);
        if !half {
            // A connection that is quiet again keeps no buffer.
            buffer = BytesMut::new();
        }
        tokio::task::yield_now().await;
        let until = if half {
            half_since + HALF
        } else {
            (Instant::now() + settings.ping).min(spoken + SILENT)
        };
        match fill(core, &flow, &socket, &mut buffer, until).await {
            Came::Some => {
                pinged = false;
                if !half {
                    half_since = Instant::now();
                }
            }
            Came::End => return,
            Came::Nothing if half || pinged || spoken.elapsed() >= SILENT => {
                tracing::debug!(peer = %flow.peer, "a WebSocket is silent, or does not get on");
                say(core, &flow, frames::goodbye());
                return farewell(core, &flow, &socket).await;
            }
            //= RFC 7118 6
            //# either side may send pings to keep the connection, and to see that it is there
            Came::Nothing => {
                pinged = true;
                say(core, &flow, frames::ping());
            }
        }
    }
}

/// Makes a WebSocket of a connection; `false` when it is none, and has been told so.
async fn shake_hands<U: TransactionUser>(
    core: &Shared<U>,
    flow: &Flow,
    socket: &Socket,
    settings: &WebSockets,
    buffer: &mut BytesMut,
) -> bool {
    let until = Instant::now() + HANDSHAKE;
    loop {
        match fill(core, flow, socket, buffer, until).await {
            Came::Some => {}
            Came::Nothing | Came::End => {
                count_failed(core);
                return false;
            }
        }
        match upgrade::look(buffer, &settings.origins) {
            Upgrade::More => {}
            Upgrade::Agreed { length, answer } => {
                let _ = buffer.split_to(length);
                Core::turn(core, |core| {
                    core.wire.queue_bytes(flow.number, answer.into());
                    if let Some(stream) = core.wire.streams.get_mut(&flow.number) {
                        stream.framed = true;
                    }
                });
                return true;
            }
            Upgrade::Refused(answer) => {
                tracing::debug!(peer = %flow.peer, answer = answer.lines().next(), "no WebSocket");
                count_failed(core);
                say(core, flow, answer.into());
                farewell(core, flow, socket).await;
                return false;
            }
        }
    }
}

fn count_failed<U: TransactionUser>(core: &Shared<U>) {
    let failed = &core.borrow().wire.counters.handshakes_failed;
    failed.fetch_add(1, Relaxed);
}

/// Waits until `until` for bytes, and reads what is there.
async fn fill<U: TransactionUser>(
    core: &Shared<U>,
    flow: &Flow,
    socket: &Socket,
    buffer: &mut BytesMut,
    until: Instant,
) -> Came {
    loop {
        match timeout_at(until, socket.readable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Came::End,
            Err(_) => return Came::Nothing,
        }
        let shaking = socket.is_handshaking();
        buffer.reserve(READ_BYTES);
        let read = socket.try_read(buffer);
        // What the session has to say, or what waited for the handshake, may leave now.
        if socket.holds_back() || shaking {
            ring(core, flow);
        }
        match read {
            Ok(0) => return Came::End,
            Ok(_) => return Came::Some,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::debug!(%error, peer = %flow.peer, "a WebSocket broke");
                return Came::End;
            }
        }
    }
}

/// What a turn of reading brought.
#[derive(Default)]
struct Taken {
    /// A SIP message or a keep-alive.
    spoken: bool,
    /// The end, and whose word it was.
    end: Option<End>,
}

/// Who ends a connection.
enum End {
    /// The client, and it has its answer.
    Theirs,
    /// The server, and the client has been told why.
    Ours,
}

/// Hands on what is whole, and answers what wants an answer at once.
fn take<U: TransactionUser>(
    core: &mut Core<U>,
    frames: &mut Frames,
    buffer: &mut BytesMut,
    flow: &Flow,
) -> Taken {
    let mut taken = Taken::default();
    loop {
        let mut answer = Vec::new();
        let heard = frames.next(buffer, &mut answer);
        if !answer.is_empty() {
            core.wire.queue_bytes(flow.number, answer.into());
        }
        match heard {
            Ok(None) => return taken,
            Ok(Some(Heard::Message(message))) => {
                taken.spoken = true;
                arrive(core, message, flow);
            }
            Ok(Some(Heard::Control)) => {}
            Ok(Some(Heard::Close)) => {
                taken.end = Some(End::Theirs);
                return taken;
            }
            Err(code) => {
                tracing::debug!(peer = %flow.peer, %code, "a WebSocket cannot be read on");
                core.wire.queue_bytes(flow.number, frames::close(code));
                taken.end = Some(End::Ours);
                return taken;
            }
        }
    }
}

/// One message: SIP, or a keep-alive.
//= RFC 7118 6
//# the keep-alive of RFC 5626 is spoken here as well
//= RFC 7118 4.2
//# a message ends where its WebSocket message does, so it needs no Content-Length
fn arrive<U: TransactionUser>(core: &mut Core<U>, message: Bytes, flow: &Flow) {
    if message.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        core.wire.counters.keepalives_in.fetch_add(1, Relaxed);
        let streams = &core.wire.streams;
        let pongs = streams.get(&flow.number).is_some_and(|stream| stream.pongs);
        if pongs && &message[..] == b"\r\n\r\n" {
            core.wire.send(flow, Bytes::from_static(b"\r\n"));
        }
        return;
    }
    core.wire.counters.stream_messages_in.fetch_add(1, Relaxed);
    // A message that cannot be read spoils none that follows: frames keep them apart.
    core.arrive(message, *flow);
}

/// Sends what is no SIP message.
fn say<U: TransactionUser>(core: &Shared<U>, flow: &Flow, bytes: Bytes) {
    Core::turn(core, |core| core.wire.queue_bytes(flow.number, bytes));
}

/// Lets the last words leave, and reads away what the client sends meanwhile.
async fn farewell<U: TransactionUser>(core: &Shared<U>, flow: &Flow, socket: &Socket) {
    let until = Instant::now() + FAREWELL;
    let mut rest = BytesMut::new();
    while let Came::Some = fill(core, flow, socket, &mut rest, until).await {
        rest.clear();
    }
    // A client that reads slowly may still wait for them; the writer ends the stream when they are out.
    core.borrow_mut().wire.finish_stream(flow.number);
    tokio::time::sleep(STUCK).await;
}
