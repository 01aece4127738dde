//! A stream's socket, plain or under TLS. Both do what they can at once and never wait; waiting is done on
//! the TCP socket below.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read as _, Write as _};

use bytes::BytesMut;
use rustls::ServerConnection;
use tokio::net::TcpStream;

/// Bytes that a TLS session holds back for a socket that is full: as many as a few large documents.
const SESSION_BYTES_MAX: usize = 256 * 1024;

/// A stream's socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<Session>),
}

/// A TLS session and the socket that it lives on.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    session: RefCell<ServerConnection>,
}

/// A TCP socket as `std` reads and writes: what would wait says so.
struct AtOnce<'s>(&'s TcpStream);

impl io::Read for AtOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket {
    /// A socket under TLS whose peer has yet to shake hands.
    pub(super) fn tls(stream: TcpStream, mut session: ServerConnection) -> Socket {
        session.set_buffer_limit(Some(SESSION_BYTES_MAX));
        let session = RefCell::new(session);
        Socket::Tls(Box::new(Session { stream, session }))
    }

    fn stream(&self) -> &TcpStream {
        match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(tls) => &tls.stream,
        }
    }

    /// Waits until there is something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.stream().readable().await
    }

    /// Waits until there is room to write.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.stream().writable().await
    }

    /// Whether the hands are not shaken yet.
    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Socket::Plain(_) => false,
            Socket::Tls(tls) => tls.session.borrow().is_handshaking(),
        }
    }

    /// Whether the session itself has something to send.
    pub(super) fn holds_back(&self) -> bool {
        match self {
            Socket::Plain(_) => false,
            Socket::Tls(tls) => tls.session.borrow().wants_write(),
        }
    }

    /// Reads what is there; 0 at the end. Of a TLS socket everything that one reading brought.
    pub(super) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.try_read_buf(buffer),
            Socket::Tls(tls) => tls.try_read(buffer),
        }
    }

    /// Writes what there is room for.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.try_write_vectored(slices),
            Socket::Tls(tls) => tls.try_write(slices),
        }
    }

    /// Lets leave what the session holds back; never `WouldBlock`.
    pub(super) fn try_flush(&self) -> io::Result<()> {
        match self {
            Socket::Plain(_) => Ok(()),
            Socket::Tls(tls) => tls.try_flush(&mut tls.session.borrow_mut()),
        }
    }
}

impl Session {
    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let session = &mut *self.session.borrow_mut();
        let mut read = 0;
        loop {
            let came = match session.read_tls(&mut AtOnce(&self.stream)) {
                Ok(came) => came,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if read > 0 { Ok(read) } else { Err(error) };
                }
                Err(error) => return Err(error),
            };
            let state = session.process_new_packets();
            // What the session has to say, an alert too, may find nobody any more. That shows when it is
            // written next; what the peer said before it left is read all the same.
            let _ = self.try_flush(session);
            let state = state.map_err(io::Error::other)?;
            let plain = state.plaintext_bytes_to_read();
            if plain > 0 {
                let begin = buffer.len();
                buffer.resize(begin + plain, 0);
                session.reader().read_exact(&mut buffer[begin..])?;
                read += plain;
            }
            if came == 0 || state.peer_has_closed() {
                return Ok(read);
            }
            if read > 0 {
                return Ok(read);
            }
        }
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let session = &mut *self.session.borrow_mut();
        if session.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.try_flush(session)?;
        let written = session.writer().write_vectored(slices)?;
        self.try_flush(session)?;
        if written == 0 {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(written)
        }
    }

    fn try_flush(&self, session: &mut ServerConnection) -> io::Result<()> {
        while session.wants_write() {
            match session.write_tls(&mut AtOnce(&self.stream)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
