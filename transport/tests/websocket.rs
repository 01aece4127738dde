//! SIP over WebSocket against a real worker, over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use transport::flow::{Flow, Transport};
use transport::io::Mailbox;
use transport::io::websocket::{Origin, WebSockets};
use transport::io::worker::{
    Complete, Context, Ended, Incoming, Listen, TransactionUser, Wire, Worker,
};
use transport::sip::StatusCode;
use transport::sip::write::Reply;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Error, Message};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers everything with 200, and with as many bytes as the request says in its body. Remembers by what it was
/// asked; mail makes it ask in return.
struct Answering {
    last: Option<Flow>,
    told: Sender<String>,
}

impl TransactionUser for Answering {
    type Mail = ();

    fn on_request(&mut self, incoming: Incoming, wire: &mut Wire) {
        let Incoming {
            request,
            flow,
            transaction,
            ..
        } = incoming;
        self.last = Some(flow);
        let wanted = std::str::from_utf8(request.body()).ok();
        let bytes = wanted
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        let reply = Reply::new(&request, StatusCode::OK, Some("t"));
        wire.respond(
            transaction,
            200,
            reply.body("text/plain", &vec![b'x'; bytes]),
        );
    }

    fn on_ended(&mut self, _context: Context, ended: Ended, _wire: &mut Wire) {
        let _ = self.told.send(format!("{ended:?}"));
    }

    fn on_mail(&mut self, (): (), wire: &mut Wire) {
        let flow = self.last.expect("it was asked");
        let (branch, via) = wire.via(&flow);
        let message = format!(
            "NOTIFY sip:a@b.invalid;transport=ws SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:b@h>;tag=1\r\n\
             To: <sip:a@h>;tag=2\r\nCall-ID: n{}\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n",
            branch.0
        );
        wire.send_request(&flow, branch, message.into(), Context(1, 1), Complete::No);
    }

    fn on_closed(&mut self, _flow: Flow, _wire: &mut Wire) {
        let _ = self.told.send("closed".to_owned());
    }

    fn on_wake(&mut self, _wire: &mut Wire) {}

    fn end_of_turn(&mut self, _wire: &mut Wire) {}
}

/// A worker with one listener.
struct Served {
    worker: Option<Worker>,
    mailbox: Mailbox<()>,
    address: SocketAddr,
    told: Receiver<String>,
}

impl Served {
    fn start(ping: Duration) -> Served {
        let listen = Listen {
            transport: Transport::Ws,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let settings = WebSockets {
            origins: vec![Origin::Host("example.com".to_owned())],
            ping,
        };
        let (told, heard) = channel();
        let make = move |_| Answering { last: None, told };
        let (worker, mailbox) =
            Worker::start(0, &[listen], None, settings, make).expect("it starts");
        Served {
            address: worker.addresses()[0].address,
            worker: Some(worker),
            mailbox,
            told: heard,
        }
    }

    fn worker(&self) -> &Worker {
        self.worker.as_ref().expect("not stopped")
    }

    fn streams(&self) -> u64 {
        self.worker().counters().streams.load(Relaxed)
    }

    /// Waits for the last stream to go.
    fn wait_until_nobody(&self) {
        let begin = Instant::now();
        while self.streams() > 0 {
            assert!(begin.elapsed() < PATIENCE, "a stream stays");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    /// A client whose hands are shaken.
    fn client(&self) -> WebSocket<TcpStream> {
        let mut stream = self.raw();
        let answer = ask(&mut stream, "Sec-WebSocket-Protocol: sip\r\n");
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        WebSocket::from_raw_socket(stream, Role::Client, None)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.stop(Duration::ZERO);
        }
    }
}

/// Asks for an upgrade with these lines; the head of the answer.
fn ask(stream: &mut TcpStream, lines: &str) -> String {
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
    .expect("sent");
    head(stream)
}

/// Reads up to the empty line, and no further.
fn head(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8(text).expect("text")
}

/// OPTIONS of a browser, without Content-Length.
fn options(number: u32, contact: &str, body: &str) -> String {
    format!(
        "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@h>;tag=f\r\nTo: <sip:h>\r\nCall-ID: c{number}\r\nCSeq: 1 OPTIONS\r\n\
         Contact: <sip:a@df7jal23ls0d.invalid;transport=ws{contact}>\r\n\r\n{body}"
    )
}

fn text(client: &mut WebSocket<TcpStream>) -> String {
    loop {
        match client.read().expect("a message") {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn ends(client: &mut WebSocket<TcpStream>) -> Option<CloseCode> {
    loop {
        match client.read() {
            Ok(Message::Close(end)) => return end.map(|end| end.code),
            Ok(_) => {}
            Err(error) => panic!("no end but {error}"),
        }
    }
}

//= RFC 7118 4.2
//= type=test
//= RFC 7118 5.1
//= type=test
#[test]
fn a_message_comes_as_text_or_not_in_one_piece_or_more() {
    let served = Served::start(PATIENCE);
    let mut client = served.client();
    client
        .send(Message::text(options(1, "", "")))
        .expect("sent");
    let answer = text(&mut client);
    assert!(answer.starts_with("SIP/2.0 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains(
            "\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK1;received=127.0.0.1"
        ),
        "{answer}"
    );
    client
        .send(Message::binary(options(2, "", "")))
        .expect("sent");
    assert!(text(&mut client).contains("Call-ID: c2\r\n"));

    let whole = options(3, "", "");
    let piece = |from: usize, to: usize, opcode: Data| {
        let part = Bytes::copy_from_slice(&whole.as_bytes()[from..to]);
        Message::Frame(Frame::message(
            part,
            OpCode::Data(opcode),
            to == whole.len(),
        ))
    };
    client.send(piece(0, 50, Data::Text)).expect("sent");
    client.send(Message::Ping("between".into())).expect("sent");
    assert_eq!(
        client.read().expect("a pong"),
        Message::Pong("between".into())
    );
    client.send(piece(50, 51, Data::Continue)).expect("sent");
    client
        .send(piece(51, whole.len(), Data::Continue))
        .expect("sent");
    assert!(text(&mut client).contains("Call-ID: c3\r\n"));

    // What cannot be read spoils nothing: the next message has a frame of its own.
    client.send(Message::text("no SIP")).expect("sent");
    client
        .send(Message::text(options(4, "", "")))
        .expect("sent");
    assert!(text(&mut client).contains("Call-ID: c4\r\n"));
    let counters = served.worker().counters();
    assert_eq!(counters.unreadable_dropped.load(Relaxed), 1);
    assert_eq!(counters.stream_messages_in.load(Relaxed), 5);
}

//= RFC 7118 4.1
//= type=test
#[test]
fn a_handshake_that_is_none_is_told_so() {
    let served = Served::start(PATIENCE);
    for (lines, status) in [
        ("", "400"),
        ("Sec-WebSocket-Protocol: chat\r\n", "400"),
        (
            "Sec-WebSocket-Protocol: sip\r\nOrigin: https://evil.test\r\n",
            "403",
        ),
        (
            "Sec-WebSocket-Protocol: sip\r\nOrigin: https://example.com:8443\r\n",
            "101",
        ),
    ] {
        let mut stream = served.raw();
        let answer = ask(&mut stream, lines);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{lines}: {answer}"
        );
        if status != "101" {
            let mut reason = String::new();
            stream
                .read_to_string(&mut reason)
                .expect("the reason, and the end");
            assert!(!reason.is_empty());
        }
    }
    let mut browser = served.raw();
    browser
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("sent");
    assert!(head(&mut browser).starts_with("HTTP/1.1 426 "));
    let mut phone = served.raw();
    let message = options(1, "", "");
    phone.write_all(message.as_bytes()).expect("sent");
    assert!(head(&mut phone).starts_with("HTTP/1.1 505 "));
    // Who says nothing is not waited for.
    let (mut silent, begin) = (served.raw(), Instant::now());
    assert_eq!(silent.read(&mut [0]).expect("the end"), 0);
    assert!(begin.elapsed() > Duration::from_secs(4));
    served.wait_until_nobody();
    assert_eq!(
        served.worker().counters().handshakes_failed.load(Relaxed),
        6
    );
}

#[test]
fn a_message_may_be_large_but_not_too_large() {
    let served = Served::start(PATIENCE);
    let mut client = served.client();
    for number in [1, 2] {
        let body = format!("60000{}", " ".repeat(60_000));
        client
            .send(Message::text(options(number, "", &body)))
            .expect("sent");
        assert!(text(&mut client).len() > 60_000);
    }
    let body = "x".repeat(70_000);
    // The server has seen enough when it has seen the length; the rest may find a closed door.
    let _ = client.send(Message::text(options(3, "", &body)));
    assert_eq!(ends(&mut client), Some(CloseCode::Size));
    served.wait_until_nobody();
}

#[test]
fn an_end_is_answered_and_an_end_of_the_server_is_said() {
    let mut served = Served::start(PATIENCE);
    let mut client = served.client();
    let bye = CloseFrame {
        code: CloseCode::Normal,
        reason: "bye".into(),
    };
    let begin = Instant::now();
    client.close(Some(bye)).expect("sent");
    assert_eq!(ends(&mut client), Some(CloseCode::Normal));
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    assert!(begin.elapsed() < PATIENCE);
    assert_eq!(served.told.recv_timeout(PATIENCE).as_deref(), Ok("closed"));
    //= RFC 6455 7.4.1
    //= type=test
    let mut client = served.client();
    client
        .send(Message::text(options(1, "", "")))
        .expect("sent");
    text(&mut client);
    let worker = served.worker.take().expect("running");
    worker.stop(Duration::from_secs(1));
    assert_eq!(ends(&mut client), Some(CloseCode::Away));
}

//= RFC 7118 6
//= type=test
#[test]
fn silence_is_filled_with_pings_and_who_does_not_answer_is_gone() {
    let served = Served::start(Duration::from_millis(300));
    let mut client = served.client();
    let mut dead = served.client();
    for _ in 0..5 {
        // Reading answers.
        assert_eq!(client.read().expect("a ping"), Message::Ping(Bytes::new()));
        client.flush().expect("the pong leaves");
    }
    let begin = Instant::now();
    while served.streams() > 1 {
        assert!(begin.elapsed() < PATIENCE, "the dead one stays");
        client.read().expect("another ping");
        client.flush().expect("the pong leaves");
    }
    assert_eq!(dead.read().expect("what came"), Message::Ping(Bytes::new()));
    assert_eq!(ends(&mut dead), Some(CloseCode::Away));
    // The keep-alive of SIP is answered for who asks for it.
    for (contact, expected) in [("", None), (";ob", Some("\r\n"))] {
        client
            .send(Message::text(options(1, contact, "")))
            .expect("sent");
        text(&mut client);
        client.send(Message::text("\r\n\r\n")).expect("sent");
        client
            .send(Message::text(options(2, contact, "")))
            .expect("sent");
        let next = text(&mut client);
        match expected {
            Some(pong) => {
                assert_eq!(next, pong);
                assert!(text(&mut client).starts_with("SIP/2.0 200"));
            }
            None => assert!(next.starts_with("SIP/2.0 200"), "{next}"),
        }
    }
}

#[test]
fn who_does_not_read_is_closed_and_holds_no_more_than_its_share() {
    let served = Served::start(PATIENCE);
    let mut client = served.client();
    let begin = Instant::now();
    for number in 0..400 {
        let request = options(number, "", "60000");
        client.send(Message::text(request)).expect("sent");
    }
    while served.streams() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "it stays");
        std::thread::sleep(Duration::from_millis(50));
    }
    let counters = served.worker().counters();
    assert_eq!(counters.streams_closed_slow.load(Relaxed), 1);
    // 24 MB were asked for; what exceeds the queue is dropped in whole messages.
    assert!(counters.dropped_full.load(Relaxed) > 100);
}

//= RFC 7118 5.1
//= type=test
#[test]
fn a_browser_is_told_over_its_own_connection_or_not_at_all() {
    let served = Served::start(PATIENCE);
    let mut client = served.client();
    client
        .send(Message::text(options(1, "", "")))
        .expect("sent");
    text(&mut client);
    served.mailbox.post(()).expect("room");
    served.mailbox.wake();
    let notify = text(&mut client);
    let line = format!(
        "\r\nVia: SIP/2.0/WS {};rport;branch=z9hG4bK",
        served.address
    );
    assert!(notify.contains(&line), "{notify}");
    let via = notify
        .lines()
        .find(|line| line.starts_with("Via"))
        .expect("a Via");
    let answer = format!(
        "SIP/2.0 200 OK\r\n{via}\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>;tag=2\r\nCall-ID: n\r\nCSeq: 1 NOTIFY\r\n\r\n"
    );
    client.send(Message::text(answer)).expect("sent");
    let ended = served.told.recv_timeout(PATIENCE).expect("an end");
    assert!(ended.starts_with("Response"), "{ended}");

    let address = client.get_ref().local_addr().expect("bound");
    client.close(None).expect("sent");
    assert_eq!(served.told.recv_timeout(PATIENCE).as_deref(), Ok("closed"));
    while client.read().is_ok() {}
    drop(client);
    // Somebody else listens where the browser was.
    let stranger = TcpListener::bind(address).expect("the port is free");
    stranger.set_nonblocking(true).expect("set");
    served.mailbox.post(()).expect("room");
    served.mailbox.wake();
    let ended = served.told.recv_timeout(Duration::from_secs(60));
    assert!(
        ended
            .as_deref()
            .is_ok_and(|ended| ended == "closed" || ended == "Unreachable"),
        "{ended:?}"
    );
    assert!(stranger.accept().is_err(), "nobody calls the stranger");
}
