//! Many agents on one socket, in a closed loop: so many requests in flight, the next when one is
//! answered. Requests are repeated as RFC 3261 says; NOTIFYs are answered 200 and checked.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use transport::sip::write::Reply;
use transport::sip::{Message, Response, StatusCode};

use crate::check::{Faults, Watchers};
use crate::message::{Agent, Ask, Common, write};

/// When a request is given up, unless the scenario has less patience.
const GIVE_UP: Duration = Duration::from_secs(8);

struct InFlight {
    message: String,
    agent: Agent,
    sent: Instant,
    again: Instant,
    interval: Duration,
}

/// The socket of all agents.
pub struct Field {
    socket: UdpSocket,
    server: SocketAddr,
    pub common: Common,
    pub watchers: Watchers,
    pub faults: Faults,
    in_flight: HashMap<String, InFlight>,
    cseqs: HashMap<(char, Agent), u32>,
    pub latency_us: Histogram<u64>,
    pub unanswered: u64,
    /// When a request is given up.
    pub give_up: Duration,
}

impl Field {
    pub fn open(server: SocketAddr, domain: &str) -> io::Result<Field> {
        let any = if server.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let socket = UdpSocket::bind(any)?;
        // Bursts of notifications must find room; the kernel grants what it may.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20);
        let common = Common {
            domain: domain.to_owned(),
            local: socket.local_addr()?,
        };
        Ok(Field {
            socket,
            server,
            common,
            watchers: Watchers::default(),
            faults: Faults::default(),
            in_flight: HashMap::new(),
            cseqs: HashMap::new(),
            latency_us: Histogram::new(3).expect("three digits are allowed"),
            unanswered: 0,
            give_up: GIVE_UP,
        })
    }

    fn send(&mut self, agent: Agent, ask: &Ask) -> io::Result<()> {
        let kind = match ask {
            Ask::Register { .. } => 'r',
            Ask::Publish { .. } => 'p',
            Ask::Subscribe { .. } => 's',
        };
        let cseq = self.cseqs.entry((kind, agent)).or_default();
        *cseq += 1;
        let mut message = String::with_capacity(1_200);
        write(&self.common, agent, ask, *cseq, &mut message);
        let call_id = format!("{kind}-{}-{}", agent.number, agent.run);
        if kind == 's' {
            self.watchers.seen.entry(call_id.clone()).or_default();
        }
        self.socket.send_to(message.as_bytes(), self.server)?;
        let now = Instant::now();
        let interval = Duration::from_millis(500);
        self.in_flight.insert(
            call_id,
            InFlight {
                message,
                agent,
                sent: now,
                again: now + interval,
                interval,
            },
        );
        Ok(())
    }

    /// Sends every request with at most `window` in flight; `done` gets each answer, `None` for no
    /// answer. Returns when all are answered or given up.
    pub fn run(
        &mut self,
        window: usize,
        asks: impl IntoIterator<Item = (Agent, Ask)>,
        mut done: impl FnMut(Agent, Option<&Response>),
    ) -> io::Result<()> {
        let mut asks = asks.into_iter();
        let mut more = true;
        while more || !self.in_flight.is_empty() {
            while more && self.in_flight.len() < window {
                match asks.next() {
                    Some((agent, ask)) => self.send(agent, &ask)?,
                    None => more = false,
                }
            }
            self.receive(Duration::from_millis(20), &mut done)?;
            self.repeat(&mut done)?;
        }
        Ok(())
    }

    /// Takes what comes for a while.
    pub fn listen(&mut self, patience: Duration) -> io::Result<()> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            self.receive(Duration::from_millis(20), &mut |_, _| {})?;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        patience: Duration,
        done: &mut impl FnMut(Agent, Option<&Response>),
    ) -> io::Result<()> {
        let mut buffer = [0; 65_535];
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(patience))?;
        let mut first = true;
        loop {
            let length = match self.socket.recv(&mut buffer) {
                Ok(length) => length,
                // Nothing there, or an ICMP error of a server that is not there at the moment.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
                Err(error) => return Err(error),
            };
            if first {
                first = false;
                self.socket.set_nonblocking(true)?;
            }
            match Message::parse(Bytes::copy_from_slice(&buffer[..length])) {
                Ok(Message::Request(request)) => {
                    let reply = Reply::new(&request, StatusCode::OK, Some("agent")).finish();
                    self.socket.send_to(&reply, self.server)?;
                    self.watchers.take(&request, &mut self.faults);
                }
                Ok(Message::Response(response)) if response.status().is_final() => {
                    if let Some(known) = self.in_flight.remove(response.call_id()) {
                        let _ = self
                            .latency_us
                            .record(known.sent.elapsed().as_micros() as u64);
                        done(known.agent, Some(&response));
                    }
                }
                Ok(Message::Response(_)) => {}
                Err(refused) => self
                    .faults
                    .add("a message that cannot be read", refused.error.to_string()),
            }
        }
    }

    fn repeat(&mut self, done: &mut impl FnMut(Agent, Option<&Response>)) -> io::Result<()> {
        let now = Instant::now();
        let mut lost = Vec::new();
        for (call_id, waiting) in &mut self.in_flight {
            if now.duration_since(waiting.sent) > self.give_up {
                lost.push(call_id.clone());
            } else if now >= waiting.again {
                self.socket
                    .send_to(waiting.message.as_bytes(), self.server)?;
                waiting.interval = (waiting.interval * 2).min(Duration::from_secs(4));
                waiting.again = now + waiting.interval;
            }
        }
        for call_id in lost {
            if let Some(waiting) = self.in_flight.remove(&call_id) {
                self.unanswered += 1;
                done(waiting.agent, None);
            }
        }
        Ok(())
    }
}
