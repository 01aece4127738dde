//! The sockets of the agents: datagrams to one node each, datagrams to and from any node, and streams
//! that are opened again, to another node if need be. Nothing here blocks but `wait`.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{Domain, SockRef, Socket, Type};
use transport::sip::frame::{Frame, Framer};

/// Bytes that may wait for a stream whose other end does not read.
const UNSENT_MAX: usize = 1 << 20;

/// Datagrams taken from one socket before the others have their turn.
const TURN_MAX: usize = 256;

/// Bytes of the receive buffer that a socket asks for.
const RECEIVE_BYTES: usize = 8 << 20;

/// What came in.
pub struct Came {
    pub line: usize,
    pub from: SocketAddr,
    pub bytes: Bytes,
}

/// What happened to a line.
pub enum Event {
    Came(Came),
    /// The node of this line has no such port at the moment: the system said so.
    Refused(usize),
    /// The stream ended.
    Broken(usize),
}

struct Stream {
    socket: TcpStream,
    node: usize,
    address: SocketAddr,
    broken: bool,
    unsent: Vec<u8>,
    input: BytesMut,
    framer: Framer,
}

enum Line {
    /// Connected, so that the system says when nobody is there.
    To(UdpSocket),
    /// To and from anybody.
    Open(UdpSocket),
    Stream(Option<Stream>),
}

/// All lines: one to each node, then the open ones, then the streams.
pub struct Lines {
    nodes: Vec<SocketAddr>,
    opened: usize,
    lines: Vec<Line>,
    local: Vec<SocketAddr>,
}

fn datagrams(node: SocketAddr) -> io::Result<UdpSocket> {
    // The address that packets to the pool leave from; nothing is sent.
    let probe = UdpSocket::bind(if node.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    })?;
    probe.connect(node)?;
    let socket = UdpSocket::bind((probe.local_addr()?.ip(), 0))?;
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BYTES);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Lines {
    /// Opens `opened` open lines; the `streams` streams are opened by [`Lines::connect`].
    pub fn open(nodes: &[SocketAddr], opened: usize, streams: usize) -> io::Result<Lines> {
        let mut lines = Vec::new();
        let mut local = Vec::new();
        for node in nodes {
            let socket = datagrams(*node)?;
            socket.connect(node)?;
            local.push(socket.local_addr()?);
            lines.push(Line::To(socket));
        }
        for _ in 0..opened {
            let socket = datagrams(nodes[0])?;
            local.push(socket.local_addr()?);
            lines.push(Line::Open(socket));
        }
        for _ in 0..streams {
            lines.push(Line::Stream(None));
            local.push(local[0]);
        }
        Ok(Lines {
            nodes: nodes.to_vec(),
            opened,
            lines,
            local,
        })
    }

    pub fn open_line(&self, number: usize) -> usize {
        self.nodes.len() + number % self.opened
    }

    pub fn stream_line(&self, number: usize) -> usize {
        self.nodes.len() + self.opened + number
    }

    pub fn is_stream(&self, line: usize) -> bool {
        matches!(self.lines[line], Line::Stream(_))
    }

    /// What a Via of this line says.
    pub fn via(&self, line: usize) -> (&'static str, SocketAddr) {
        let transport = if self.is_stream(line) { "TCP" } else { "UDP" };
        (transport, self.local[line])
    }

    /// The node that a stream goes to; `None` while it is not open.
    pub fn stream_node(&self, line: usize) -> Option<usize> {
        match &self.lines[line] {
            Line::Stream(stream) => stream.as_ref().map(|stream| stream.node),
            Line::To(_) | Line::Open(_) => None,
        }
    }

    /// Opens a stream to a node, in place of the one there was.
    pub fn connect(&mut self, line: usize, node: usize) -> io::Result<()> {
        self.close(line);
        let address = self.nodes[node];
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let socket: TcpStream = socket.into();
        self.local[line] = socket.local_addr()?;
        self.lines[line] = Line::Stream(Some(Stream {
            socket,
            node,
            address,
            broken: false,
            unsent: Vec::new(),
            input: BytesMut::new(),
            framer: Framer::default(),
        }));
        Ok(())
    }

    pub fn close(&mut self, line: usize) {
        if let Line::Stream(stream) = &mut self.lines[line] {
            *stream = None;
        }
    }

    /// Sends a message to a node, or to whoever is at the other end of a stream. What the system does not
    /// take is lost, as on any way; a refusal shows when the line is read.
    pub fn send(&mut self, line: usize, node: usize, bytes: &[u8]) {
        let address = self.nodes[node];
        self.send_to(line, address, bytes);
    }

    /// The same to an address.
    pub fn send_to(&mut self, line: usize, address: SocketAddr, bytes: &[u8]) {
        match &mut self.lines[line] {
            Line::To(socket) => {
                // The first call may only bring an old error.
                if socket.send(bytes).is_err() {
                    let _ = socket.send(bytes);
                }
            }
            Line::Open(socket) => {
                let _ = socket.send_to(bytes, address);
            }
            Line::Stream(Some(stream)) if stream.unsent.len() < UNSENT_MAX => {
                stream.unsent.extend_from_slice(bytes);
                stream.flush();
            }
            Line::Stream(_) => {}
        }
    }

    /// Waits until something can be read, but not longer than `patience`, and takes it.
    pub fn wait(&mut self, patience: Duration, events: &mut Vec<Event>) {
        let mut polled: Vec<libc::pollfd> = Vec::with_capacity(self.lines.len());
        let mut numbers = Vec::with_capacity(self.lines.len());
        for (number, line) in self.lines.iter().enumerate() {
            let (fd, more): (RawFd, bool) = match line {
                Line::To(socket) | Line::Open(socket) => (socket.as_raw_fd(), false),
                Line::Stream(Some(stream)) => {
                    (stream.socket.as_raw_fd(), !stream.unsent.is_empty())
                }
                Line::Stream(None) => continue,
            };
            let events = libc::POLLIN | if more { libc::POLLOUT } else { 0 };
            polled.push(libc::pollfd {
                fd,
                events,
                revents: 0,
            });
            numbers.push(number);
        }
        let patience_ms = patience.as_millis().clamp(0, 1_000) as libc::c_int;
        // SAFETY: the array lives through the call and its length is given.
        let ready = unsafe {
            libc::poll(
                polled.as_mut_ptr(),
                polled.len() as libc::nfds_t,
                patience_ms,
            )
        };
        if ready <= 0 {
            return;
        }
        for (number, polled) in numbers.into_iter().zip(&polled) {
            if polled.revents != 0 {
                self.read(number, events);
            }
        }
    }

    fn read(&mut self, number: usize, events: &mut Vec<Event>) {
        match &mut self.lines[number] {
            Line::To(socket) | Line::Open(socket) => {
                let mut buffer = [0; 65_535];
                for _ in 0..TURN_MAX {
                    match socket.recv_from(&mut buffer) {
                        Ok((length, from)) => events.push(Event::Came(Came {
                            line: number,
                            from,
                            bytes: Bytes::copy_from_slice(&buffer[..length]),
                        })),
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                            events.push(Event::Refused(number));
                        }
                        Err(_) => return,
                    }
                }
            }
            Line::Stream(stream) => {
                let Some(open) = stream else { return };
                open.flush();
                if open.read(number, events).is_err() {
                    *stream = None;
                    events.push(Event::Broken(number));
                }
            }
        }
    }
}

impl Stream {
    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(written) if written > 0 => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Said once by the system, and met at the next reading.
                _ => {
                    self.broken = true;
                    self.unsent.clear();
                }
            }
        }
    }

    fn read(&mut self, number: usize, events: &mut Vec<Event>) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut buffer = [0; 16 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        while let Some(frame) = self
            .framer
            .next(&mut self.input)
            .map_err(io::Error::other)?
        {
            if let Frame::Message(bytes) = frame {
                events.push(Event::Came(Came {
                    line: number,
                    from: self.address,
                    bytes,
                }));
            }
        }
        Ok(())
    }
}
