//! One message out of a stream: Content-Length, CRLF keep-alive, size limit.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::header::Name;

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
    /// A single CRLF: the answer to our own ping, or idle talk.
    Pong,
}

/// Why a stream cannot be read on: the flow closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More than [`MESSAGE_BYTES_MAX`] bytes.
    #[error("Message Larger Than 65535 Bytes")]
    TooLarge,
    /// A stream needs Content-Length (RFC 3261 §18.3).
    #[error("Missing Or Bad Content-Length On A Stream")]
    NoLength,
}

/// Cuts messages off a stream; remembers how far it has looked, so that a slow sender costs no more
/// than a fast one.
#[derive(Debug, Default)]
pub struct Framer {
    /// Bytes in which no end of head begins.
    searched: usize,
    /// Length of the message at the front, once its head is whole.
    length: Option<usize>,
}

impl Framer {
    /// The next frame of `buffer`, which loses it; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]; nothing can be read from this stream any more. What was read stays in `buffer`,
    /// so that the caller can try to answer it.
    //= RFC 3261 18.3
    //# on a stream, Content-Length says where a message ends
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if self.searched == 0 && self.length.is_none() {
            //= RFC 5626 4.4.1
            //# between messages a double CRLF asks for a single one
            match &buffer[..] {
                [b'\r', b'\n', b'\r', b'\n', ..] => {
                    buffer.advance(4);
                    return Ok(Some(Frame::Ping));
                }
                // Half of a ping, or a whole pong: only what follows can tell.
                [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] | [b'\r'] | [] => return Ok(None),
                [b'\r' | b'\n', ..] => {
                    let crlf = usize::from(buffer.starts_with(b"\r\n"));
                    buffer.advance(1 + crlf);
                    return Ok(Some(Frame::Pong));
                }
                _ => {}
            }
        }
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(length) = self.find_length(buffer)? else {
                    return Ok(None);
                };
                length
            }
        };
        if buffer.len() < length {
            self.length = Some(length);
            return Ok(None);
        }
        *self = Framer::default();
        Ok(Some(Frame::Message(buffer.split_to(length).freeze())))
    }

    /// A lone CRLF that nothing followed for a while is a pong: the caller may say so.
    pub fn idle(&self, buffer: &mut BytesMut) {
        if self.searched == 0 && self.length.is_none() && &buffer[..] == b"\r\n" {
            buffer.clear();
        }
    }

    fn find_length(&mut self, buffer: &BytesMut) -> Result<Option<usize>, FrameError> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(found) = memmem::find(&buffer[self.searched..], END) else {
            if buffer.len() > MESSAGE_BYTES_MAX {
                return Err(FrameError::TooLarge);
            }
            self.searched = buffer.len().saturating_sub(END.len() - 1);
            return Ok(None);
        };
        let head = self.searched + found + END.len();
        let body = content_length(&buffer[..head]).ok_or(FrameError::NoLength)?;
        match head.checked_add(body) {
            Some(length) if length <= MESSAGE_BYTES_MAX => Ok(Some(length)),
            _ => Err(FrameError::TooLarge),
        }
    }
}

/// The value of the first Content-Length line, in either form of its name.
fn content_length(head: &[u8]) -> Option<usize> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let name = std::str::from_utf8(&line[..colon]).ok()?.trim();
        if Name::parse(name) != Some(Name::ContentLength) {
            return None;
        }
        let digits = std::str::from_utf8(&line[colon + 1..]).ok()?.trim();
        // An unusable number must end the search, so that a second line cannot replace it.
        Some(
            digits
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| digits.parse().ok())
                .flatten(),
        )
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nl: 4\r\n\r\nbody";

    fn frames(pieces: &[&[u8]]) -> Vec<Result<Frame, FrameError>> {
        let mut buffer = BytesMut::new();
        let mut framer = Framer::default();
        let mut found = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match framer.next(&mut buffer) {
                    Ok(Some(frame)) => found.push(Ok(frame)),
                    Ok(None) => break,
                    Err(error) => {
                        found.push(Err(error));
                        return found;
                    }
                }
            }
        }
        found
    }

    //= RFC 3261 18.3
    //= type=test
    #[test]
    fn a_message_is_cut_wherever_the_segments_fall() {
        let whole = Ok(Frame::Message(Bytes::from_static(MESSAGE)));
        let twice = [MESSAGE, MESSAGE].concat();
        for cut in 0..twice.len() {
            let found = frames(&[&twice[..cut], &twice[cut..]]);
            assert_eq!(found, [whole.clone(), whole.clone()], "cut at {cut}");
        }
        let single: Vec<&[u8]> = MESSAGE.chunks(1).collect();
        assert_eq!(frames(&single), [whole]);
    }

    //= RFC 5626 4.4.1
    //= type=test
    #[test]
    fn a_double_crlf_is_a_ping_between_messages() {
        let message = Ok(Frame::Message(Bytes::from_static(MESSAGE)));
        let with = |prefix: &[u8]| [prefix, MESSAGE].concat();
        assert_eq!(frames(&[b"\r\n\r\n"]), [Ok(Frame::Ping)]);
        assert_eq!(frames(&[b"\r\n", b"\r\n"]), [Ok(Frame::Ping)]);
        assert_eq!(
            frames(&[&with(b"\r\n")]),
            [Ok(Frame::Pong), message.clone()]
        );
        assert_eq!(frames(&[&with(b"\r\n\r\n")]), [Ok(Frame::Ping), message]);
    }

    #[test]
    fn a_stream_without_a_usable_length_ends() {
        for (name, text, error) in [
            (
                "none",
                "OPTIONS sip:a SIP/2.0\r\n\r\n".to_owned(),
                FrameError::NoLength,
            ),
            (
                "negative",
                "X\r\nContent-Length: -1\r\n\r\n".to_owned(),
                FrameError::NoLength,
            ),
            (
                "then a good one",
                "X\r\nl: x\r\nl: 0\r\n\r\n".to_owned(),
                FrameError::NoLength,
            ),
            (
                "huge",
                "X\r\nl: 99999999999999999999\r\n\r\n".to_owned(),
                FrameError::NoLength,
            ),
            (
                "large",
                "X\r\nl: 65535\r\n\r\n".to_owned(),
                FrameError::TooLarge,
            ),
            (
                "endless head",
                "X".repeat(MESSAGE_BYTES_MAX + 1),
                FrameError::TooLarge,
            ),
        ] {
            assert_eq!(frames(&[text.as_bytes()]), [Err(error)], "{name}");
        }
    }

    #[test]
    fn an_idle_crlf_is_a_pong() {
        let mut buffer = BytesMut::from(&b"\r\n"[..]);
        let mut framer = Framer::default();
        assert_eq!(framer.next(&mut buffer), Ok(None));
        framer.idle(&mut buffer);
        assert!(buffer.is_empty());
    }
}
