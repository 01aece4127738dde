//! A phone: a socket that speaks SIP by hand and reads what comes back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rustls::pki_types::{CertificateDer, ServerName};
use transport::sip::frame::{Frame, Framer};
use transport::sip::write::Reply;
use transport::sip::{Message, Name, Request, Response, StatusCode};
use tungstenite::protocol::{Role, WebSocket};

use super::server::PATIENCE;

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A number that no other call of this process got.
pub fn fresh() -> u32 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

enum Wire {
    Udp(UdpSocket, SocketAddr),
    Tcp(TcpStream, BytesMut, Framer),
    /// The name of its transport, its socket, and what runs over it.
    Web(&'static str, TcpStream, Box<WebSocket<Box<dyn Channel>>>),
}

/// A TCP socket, or TLS over one.
trait Channel: Read + Write + Send {}

impl<C: Read + Write + Send> Channel for C {}

/// What a browser says of itself: it listens nowhere, and knows no address of its own.
pub const NOWHERE: &str = "df7jal23ls0d.invalid";

/// A phone with one socket. Requests that come while it waits for something else are kept; NOTIFYs are
/// answered 200 unless it is told otherwise.
pub struct Phone {
    wire: Wire,
    pub local: SocketAddr,
    kept: Vec<Request>,
    pub answers: StatusCode,
}

impl Phone {
    pub fn udp(server: SocketAddr) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let local = socket.local_addr().expect("bound");
        Phone {
            wire: Wire::Udp(socket, server),
            local,
            kept: Vec::new(),
            answers: StatusCode::OK,
        }
    }

    pub fn tcp(server: SocketAddr) -> Phone {
        let stream = TcpStream::connect(server).expect("a connection");
        let local = stream.local_addr().expect("bound");
        let wire = Wire::Tcp(stream, BytesMut::new(), Framer::default());
        Phone {
            wire,
            local,
            kept: Vec::new(),
            answers: StatusCode::OK,
        }
    }

    /// A browser: its connection is a WebSocket, and its host is invalid.
    pub fn ws(server: SocketAddr) -> Phone {
        Phone::web(server, None, "").expect("a WebSocket")
    }

    /// The same under TLS, with a server whose certificate is this.
    pub fn wss(server: SocketAddr, certificate: &CertificateDer<'static>) -> Phone {
        Phone::web(server, Some(certificate), "").expect("a WebSocket")
    }

    /// The same with these lines in its request; the answer where it is not taken.
    pub fn web(
        server: SocketAddr,
        certificate: Option<&CertificateDer<'static>>,
        lines: &str,
    ) -> Result<Phone, String> {
        let socket = TcpStream::connect(server).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        let local = socket.local_addr().expect("bound");
        let below = socket.try_clone().expect("a descriptor");
        let mut channel: Box<dyn Channel> = match certificate {
            None => Box::new(below),
            Some(certificate) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(certificate.clone()).expect("a root");
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let config = rustls::ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .expect("versions")
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let name = ServerName::try_from("localhost").expect("a name");
                let session = rustls::ClientConnection::new(Arc::new(config), name);
                Box::new(rustls::StreamOwned::new(session.expect("a session"), below))
            }
        };
        write!(
            channel,
            "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{lines}\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: sip\r\n\r\n"
        )
        .and_then(|()| channel.flush())
        .expect("sent");
        let (mut answer, mut byte) = (String::new(), [0]);
        while !answer.ends_with("\r\n\r\n") {
            channel.read_exact(&mut byte).expect("an answer");
            answer.push(char::from(byte[0]));
        }
        if !answer.starts_with("HTTP/1.1 101 ") {
            return Err(answer);
        }
        let name = if certificate.is_some() { "WSS" } else { "WS" };
        let web = WebSocket::from_raw_socket(channel, Role::Client, None);
        Ok(Phone {
            wire: Wire::Web(name, socket, Box::new(web)),
            local,
            kept: Vec::new(),
            answers: StatusCode::OK,
        })
    }

    fn transport(&self) -> &'static str {
        match self.wire {
            Wire::Web(name, ..) => name,
            Wire::Udp(..) => "UDP",
            Wire::Tcp(..) => "TCP",
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Udp(socket, server) => drop(socket.send_to(bytes, *server).expect("sent")),
            Wire::Tcp(stream, ..) => stream.write_all(bytes).expect("sent"),
            Wire::Web(_, _, web) => {
                let text = std::str::from_utf8(bytes).expect("text");
                web.send(tungstenite::Message::text(text)).expect("sent");
            }
        }
    }

    /// Says this and is gone, with something unread in its buffer: the connection is not closed but reset.
    pub fn leave(self, words: &str) {
        let Wire::Tcp(mut stream, ..) = self.wire else {
            panic!("a socket without a connection cannot leave it");
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let unread = stream.peek(&mut [0]);
        assert_eq!(unread.expect("an answer comes"), 1, "nobody has read it");
        stream.write_all(words.as_bytes()).expect("sent");
    }

    /// The next message, or `None` when nothing comes in time.
    pub fn receive(&mut self, patience: Duration) -> Option<Message> {
        let until = Instant::now() + patience;
        loop {
            let left = until
                .checked_duration_since(Instant::now())?
                .max(Duration::from_millis(1));
            let bytes = match &mut self.wire {
                Wire::Udp(socket, _) => {
                    let mut buffer = [0; 65_535];
                    socket.set_read_timeout(Some(left)).expect("set");
                    let length = socket.recv(&mut buffer).ok()?;
                    Bytes::copy_from_slice(&buffer[..length])
                }
                Wire::Web(_, socket, web) => {
                    socket.set_read_timeout(Some(left)).expect("set");
                    match web.read() {
                        Ok(tungstenite::Message::Text(text)) => {
                            Bytes::copy_from_slice(text.as_bytes())
                        }
                        Ok(tungstenite::Message::Binary(_)) => panic!("ours are text"),
                        Ok(tungstenite::Message::Close(_)) | Err(_) => return None,
                        Ok(_) => continue,
                    }
                }
                Wire::Tcp(stream, buffer, framer) => match framer.next(buffer).expect("framed") {
                    Some(Frame::Message(message)) => message,
                    Some(Frame::Ping | Frame::Pong) => continue,
                    None => {
                        let mut chunk = [0; 4_096];
                        stream.set_read_timeout(Some(left)).expect("set");
                        match stream.read(&mut chunk) {
                            Ok(0) | Err(_) => return None,
                            Ok(length) => buffer.extend_from_slice(&chunk[..length]),
                        }
                        continue;
                    }
                },
            };
            super::bodies::collect(&bytes);
            return Some(Message::parse(bytes).expect("the server writes what we can read"));
        }
    }

    /// Puts requests back that somebody else may wait for.
    pub fn keep(&mut self, requests: Vec<Request>) {
        self.kept.extend(requests);
    }

    fn answer(&mut self, request: &Request) {
        //= MS-SIP 3.5
        //= type=test
        //# a BENOTIFY is never answered
        if request.method().as_str() == "BENOTIFY" {
            return;
        }
        let reply = Reply::new(request, self.answers, Some("phone")).finish();
        self.send(&reply);
    }

    /// The next final response.
    pub fn response(&mut self) -> Response {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.receive(PATIENCE) {
                Some(Message::Response(response)) if response.status().is_final() => {
                    return response;
                }
                Some(Message::Response(_)) => {}
                Some(Message::Request(request)) => {
                    self.answer(&request);
                    self.kept.push(request);
                }
                None => break,
            }
        }
        panic!("no response in time");
    }

    /// The next NOTIFY of a dialog, or of any.
    pub fn notify(&mut self, call_id: Option<&str>) -> Request {
        let mine = |request: &Request| call_id.is_none_or(|call_id| request.call_id() == call_id);
        if let Some(place) = self.kept.iter().position(mine) {
            return self.kept.remove(place);
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.receive(PATIENCE) {
                Some(Message::Request(request)) => {
                    self.answer(&request);
                    if mine(&request) {
                        return request;
                    }
                    self.kept.push(request);
                }
                Some(Message::Response(_)) => {}
                None => break,
            }
        }
        panic!("no NOTIFY in time");
    }

    /// Everything that comes within a while.
    pub fn drain(&mut self, patience: Duration) -> Vec<Request> {
        let mut all = std::mem::take(&mut self.kept);
        while let Some(message) = self.receive(patience) {
            if let Message::Request(request) = message {
                self.answer(&request);
                all.push(request);
            }
        }
        all
    }

    /// The head of a request up to where its own lines begin.
    pub fn head(
        &self,
        method: &str,
        uri: &str,
        from: &str,
        to: &str,
        call_id: &str,
        cseq: u32,
    ) -> String {
        let local = self.local.to_string();
        let (host, way) = match self.wire {
            Wire::Web(..) => (NOWHERE, "ws".to_owned()),
            _ => (local.as_str(), self.transport().to_lowercase()),
        };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} {host};rport;branch=z9hG4bKt{}\r\nMax-Forwards: 70\r\n\
             From: <{from}>;tag=f{call_id}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:phone@{host};transport={way}>\r\n",
            self.transport(),
            fresh(),
        )
    }

    /// Sends a request with these lines and this body; returns the final response.
    pub fn ask(&mut self, head: String, lines: &str, body: &str) -> Response {
        let message = format!("{head}{lines}Content-Length: {}\r\n\r\n{body}", body.len());
        self.send(message.as_bytes());
        self.response()
    }
}

/// A presence document with a note.
pub fn document(user: &str, basic: &str, note: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         entity=\"sip:{user}@example.com\"><tuple id=\"t1\"><status><basic>{basic}</basic></status><note>{note}</note></tuple></presence>"
    )
}

/// A publisher: one address, its tag, its CSeq.
pub struct Publisher {
    pub user: String,
    pub call_id: String,
    pub cseq: u32,
    pub tag: Option<String>,
}

impl Publisher {
    pub fn new(user: &str) -> Publisher {
        Publisher {
            user: user.to_owned(),
            call_id: format!("pub-{user}-{}", fresh()),
            cseq: 0,
            tag: None,
        }
    }

    /// PUBLISH that may find nobody: the status, or `None` when no answer comes in time.
    pub fn publish_within(
        &mut self,
        phone: &mut Phone,
        body: &str,
        patience: Duration,
    ) -> Option<StatusCode> {
        self.cseq += 1;
        let uri = format!("sip:{}@example.com", self.user);
        let head = phone.head(
            "PUBLISH",
            &uri,
            &uri,
            &format!("<{uri}>"),
            &self.call_id,
            self.cseq,
        );
        let tag = self
            .tag
            .as_ref()
            .map(|tag| format!("SIP-If-Match: {tag}\r\n"))
            .unwrap_or_default();
        let message = format!(
            "{head}Event: presence\r\n{tag}Content-Type: application/pidf+xml\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        phone.send(message.as_bytes());
        match phone.receive(patience)? {
            Message::Response(response) => {
                if response.status() == StatusCode::OK {
                    self.tag = response.header(Name::SipETag).map(str::to_owned);
                }
                Some(response.status())
            }
            Message::Request(_) => None,
        }
    }

    /// PUBLISH with these lines; keeps the tag of a success.
    pub fn publish(&mut self, phone: &mut Phone, expires: Option<u32>, body: &str) -> Response {
        self.cseq += 1;
        let uri = format!("sip:{}@example.com", self.user);
        let head = phone.head(
            "PUBLISH",
            &uri,
            &uri,
            &format!("<{uri}>"),
            &self.call_id,
            self.cseq,
        );
        let mut lines = String::from("Event: presence\r\n");
        if let Some(expires) = expires {
            lines += &format!("Expires: {expires}\r\n");
        }
        if let Some(tag) = &self.tag {
            lines += &format!("SIP-If-Match: {tag}\r\n");
        }
        if !body.is_empty() {
            lines += "Content-Type: application/pidf+xml\r\n";
        }
        let response = phone.ask(head, &lines, body);
        if response.status() == StatusCode::OK {
            self.tag = response.header(Name::SipETag).map(str::to_owned);
        }
        response
    }
}

/// A subscription: its dialog as the watcher has it.
pub struct Watch {
    pub presentity: String,
    pub call_id: String,
    pub cseq: u32,
    pub to_tag: Option<String>,
}

impl Watch {
    pub fn new(presentity: &str) -> Watch {
        Watch {
            presentity: presentity.to_owned(),
            call_id: format!("sub-{presentity}-{}", fresh()),
            cseq: 0,
            to_tag: None,
        }
    }

    /// SUBSCRIBE, inside the dialog once there is one.
    pub fn subscribe(&mut self, phone: &mut Phone, expires: u32) -> Response {
        self.cseq += 1;
        let uri = format!("sip:{}@example.com", self.presentity);
        let to = match &self.to_tag {
            Some(tag) => format!("<{uri}>;tag={tag}"),
            None => format!("<{uri}>"),
        };
        let head = phone.head(
            "SUBSCRIBE",
            &uri,
            "sip:watcher@example.com",
            &to,
            &self.call_id,
            self.cseq,
        );
        let lines =
            format!("Event: presence\r\nAccept: application/pidf+xml\r\nExpires: {expires}\r\n");
        let response = phone.ask(head, &lines, "");
        if response.status() == StatusCode::OK && self.to_tag.is_none() {
            self.to_tag = response.to_tag().map(str::to_owned);
        }
        response
    }
}

/// The CSeq number of a request, and what its body says.
pub fn told(notify: &Request) -> (u32, String) {
    (
        notify.cseq(),
        String::from_utf8_lossy(notify.body()).into_owned(),
    )
}
