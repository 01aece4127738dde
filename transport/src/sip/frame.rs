//! One message out of a stream: Content-Length, CRLF keep-alive, size limit.

use bytes::{Bytes, BytesMut};

/// Bytes of the largest message we read: a datagram cannot be larger, and no presence document needs
/// more.
pub const MESSAGE_BYTES_MAX: usize = 65_535;

/// What stands at the front of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole message, head and body.
    Message(Bytes),
    /// A double CRLF: answer a single one (RFC 5626 §4.4.1).
    Ping,
    /// A single CRLF: the answer to our own, or nothing at all.
    Pong,
}

/// Why a stream cannot be read on: the flow closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More than [`MESSAGE_BYTES_MAX`] bytes.
    #[error("message larger than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// A stream needs Content-Length (RFC 3261 §18.3).
    #[error("no usable Content-Length on a stream transport")]
    NoLength,
}

/// Cuts messages off a stream; remembers how far it has looked, so that a slow sender costs no more
/// than a fast one.
#[derive(Debug, Default)]
pub struct Framer {
    searched: usize,
}

impl Framer {
    /// The next frame of `buffer`, which loses it; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]; nothing can be read from this stream any more. The head read so far stays in
    /// `buffer`, so that the caller can answer it.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let _ = (buffer, self.searched);
        todo!()
    }
}
