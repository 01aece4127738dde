//! WebSocket frames of one connection: what a browser sends into messages, ours into frames.
//!
//! The library sees whole frames only, cut here: so a frame's length is judged before room is made for it, and
//! the reader knows whether it is in the middle of something. It unmasks, joins fragments, checks text, and
//! answers pings and closes.

use std::io::{self, Cursor, Read, Write};

use bytes::{Buf as _, Bytes, BytesMut};
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::sip::frame::MESSAGE_BYTES_MAX;

/// Bytes of a frame after which the library's buffers are thrown away: a quiet connection keeps no more.
const KEPT_BYTES: usize = 4_096;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A whole message, as text or not.
    Message(Bytes),
    /// A ping or a pong.
    Control,
    /// The end; it has been answered.
    Close,
}

/// The client's side of one connection.
pub(super) struct Frames {
    context: WebSocketContext,
    /// Whether fragments of a message have come, and not the last.
    fragmented: bool,
    /// Bytes of the largest frame that the context has seen.
    largest: usize,
}

/// The memory that the library reads from and writes to, as if it were a socket.
struct Memory<'m> {
    input: &'m [u8],
    output: &'m mut Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(into)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            context: context(),
            fragmented: false,
            largest: 0,
        }
    }
}

fn context() -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(0)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    WebSocketContext::new(Role::Server, Some(config))
}

impl Frames {
    /// Takes the next thing off the front of `buffer`, and appends what is to be answered at once to
    /// `answer`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// Why the connection must be closed: nothing of it can be read any more.
    //= RFC 7118 4.2
    //# a SIP message is one WebSocket message, text or binary, in one frame or several
    //= RFC 6455 5.5.2
    //# a ping is answered by a pong with the same bytes
    pub(super) fn next(
        &mut self,
        buffer: &mut BytesMut,
        answer: &mut Vec<u8>,
    ) -> Result<Option<Heard>, CloseCode> {
        loop {
            let Some(frame) = self.cut(buffer)? else {
                return Ok(None);
            };
            let memory = &mut Memory {
                input: &frame,
                output: answer,
            };
            let heard = match self.context.read(memory) {
                // A message of its own: a slice would keep the buffer of the context alive.
                Ok(Message::Text(text)) => Heard::Message(Bytes::copy_from_slice(text.as_bytes())),
                Ok(Message::Binary(bytes)) => Heard::Message(Bytes::copy_from_slice(&bytes)),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                    self.context.flush(memory).map_err(|why| code(&why))?;
                    Heard::Control
                }
                Ok(Message::Close(_)) => {
                    // It writes the answer and then says that the connection is closed, which we know.
                    let _ = self.context.flush(memory);
                    Heard::Close
                }
                // A fragment, of which there is more to come.
                Err(Error::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => continue,
                Err(why) => return Err(code(&why)),
            };
            if !self.fragmented && self.largest > KEPT_BYTES && heard != Heard::Close {
                self.context = context();
                self.largest = 0;
            }
            return Ok(Some(heard));
        }
    }

    /// Whether something has begun that is not whole.
    pub(super) fn is_half(&self, buffer: &BytesMut) -> bool {
        self.fragmented || !buffer.is_empty()
    }

    /// Takes a whole frame off the front.
    fn cut(&mut self, buffer: &mut BytesMut) -> Result<Option<BytesMut>, CloseCode> {
        let mut cursor = Cursor::new(&buffer[..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|why| code(&why))?;
        let Some((header, length)) = parsed else {
            return Ok(None);
        };
        let head = usize::try_from(cursor.position()).map_err(|_| CloseCode::Size)?;
        let length = usize::try_from(length).map_err(|_| CloseCode::Size)?;
        if length > MESSAGE_BYTES_MAX {
            return Err(CloseCode::Size);
        }
        if buffer.remaining() < head + length {
            return Ok(None);
        }
        if matches!(header.opcode, OpCode::Data(_)) {
            self.fragmented = !header.is_final;
        }
        self.largest = self.largest.max(length);
        Ok(Some(buffer.split_to(head + length)))
    }
}

/// What a client is told when it cannot be read any further.
//= RFC 6455 7.4.1
//# 1009 for what is too large, 1007 for text that is none, 1002 for what is no WebSocket
fn code(why: &Error) -> CloseCode {
    match why {
        Error::Capacity(_) => CloseCode::Size,
        Error::Utf8(_) => CloseCode::Invalid,
        _ => CloseCode::Protocol,
    }
}

fn write(frame: Frame) -> Bytes {
    let mut out = Vec::with_capacity(frame.len());
    frame
        .format(&mut out)
        .expect("memory takes what is written to it");
    out.into()
}

/// One message in one frame: as text, which browsers read without ado, unless it is none.
pub(super) fn message(message: Bytes) -> Bytes {
    let kind = match std::str::from_utf8(&message) {
        Ok(_) => Data::Text,
        Err(_) => Data::Binary,
    };
    write(Frame::message(message, OpCode::Data(kind), true))
}

/// A ping.
pub(super) fn ping() -> Bytes {
    write(Frame::ping(Bytes::new()))
}

/// The end of a connection, and why.
pub(super) fn close(code: CloseCode) -> Bytes {
    write(Frame::close(Some(CloseFrame {
        code,
        reason: "".into(),
    })))
}

/// The end of a connection that somebody here wanted.
pub(super) fn goodbye() -> Bytes {
    close(CloseCode::Away)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::protocol::frame::coding::Control;

    use super::*;

    /// A frame as a client writes it.
    fn client(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader {
            is_final,
            opcode,
            mask: Some([1, 2, 3, 4]),
            ..FrameHeader::default()
        };
        let mut out = Vec::new();
        header
            .format(payload.len() as u64, &mut out)
            .expect("in memory");
        let masked = payload.iter().zip([1, 2, 3, 4].iter().cycle());
        out.extend(masked.map(|(byte, mask)| byte ^ mask));
        out
    }

    fn text(is_final: bool, payload: &[u8]) -> Vec<u8> {
        client(OpCode::Data(Data::Text), is_final, payload)
    }

    fn rest(is_final: bool, payload: &[u8]) -> Vec<u8> {
        client(OpCode::Data(Data::Continue), is_final, payload)
    }

    fn hear(pieces: &[&[u8]]) -> (Vec<Result<Heard, CloseCode>>, Vec<u8>, bool) {
        let (mut frames, mut buffer) = (Frames::default(), BytesMut::new());
        let (mut all, mut answer) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match frames.next(&mut buffer, &mut answer) {
                    Ok(Some(heard)) => all.push(Ok(heard)),
                    Ok(None) => break,
                    Err(code) => {
                        all.push(Err(code));
                        return (all, answer, false);
                    }
                }
            }
        }
        (all, answer, frames.is_half(&buffer))
    }

    fn said(text: &'static [u8]) -> Result<Heard, CloseCode> {
        Ok(Heard::Message(Bytes::from_static(text)))
    }

    //= RFC 7118 4.2
    //= type=test
    #[test]
    fn a_message_is_joined_wherever_it_was_cut() {
        let fragments = [
            text(false, b"OPT"),
            client(OpCode::Control(Control::Ping), true, b"between"),
            rest(false, b""),
            rest(true, b"IONS"),
            client(OpCode::Data(Data::Binary), true, b"\xff\xfe"),
        ]
        .concat();
        let expected = [said(b"OPTIONS"), said(b"\xff\xfe")];
        for cut in 0..fragments.len() {
            let (all, answer, half) = hear(&[&fragments[..cut], &fragments[cut..]]);
            let messages: Vec<_> = all
                .into_iter()
                .filter(|heard| *heard != Ok(Heard::Control))
                .collect();
            assert_eq!(messages, expected, "cut at {cut}");
            //= RFC 6455 5.5.2
            //= type=test
            assert_eq!(answer, b"\x8a\x07between", "cut at {cut}");
            assert!(!half, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_whole_is_known_to_be() {
        let whole = text(true, b"OPTIONS");
        for cut in 1..whole.len() {
            assert_eq!(hear(&[&whole[..cut]]), (vec![], vec![], true), "{cut}");
        }
        let (all, _, half) = hear(&[&text(false, b"OPT")]);
        assert!(all.is_empty() && half);
    }

    //= RFC 6455 7.4.1
    //= type=test
    #[test]
    fn each_fault_has_its_code() {
        let large = vec![b'x'; MESSAGE_BYTES_MAX];
        let mut unmasked = Vec::new();
        Frame::message("x", OpCode::Data(Data::Text), true)
            .format(&mut unmasked)
            .expect("in memory");
        let mut compressed = text(true, b"x");
        compressed[0] |= 0x40;
        for (name, bytes, expected) in [
            ("as large as can be", text(true, &large), None),
            (
                "too large, as its head says",
                text(true, &[&large[..], b"x"].concat())[..14].to_vec(),
                Some(CloseCode::Size),
            ),
            (
                "too large in sum",
                [text(false, &large), rest(true, b"x")].concat(),
                Some(CloseCode::Size),
            ),
            ("no text", text(true, b"\xff"), Some(CloseCode::Invalid)),
            ("not masked", unmasked, Some(CloseCode::Protocol)),
            ("compressed", compressed, Some(CloseCode::Protocol)),
            (
                "a rest of nothing",
                rest(true, b"x"),
                Some(CloseCode::Protocol),
            ),
            (
                "an unknown kind",
                b"\x83\x80\x01\x02\x03\x04".to_vec(),
                Some(CloseCode::Protocol),
            ),
            (
                "a large ping",
                client(OpCode::Control(Control::Ping), true, &[0; 126]),
                Some(CloseCode::Protocol),
            ),
        ] {
            let (all, ..) = hear(&[&bytes]);
            let last = all.into_iter().next_back().expect(name);
            assert_eq!(last.err(), expected, "{name}");
        }
    }

    #[test]
    fn an_end_is_answered_by_the_same_end() {
        let bye = client(OpCode::Control(Control::Close), true, b"\x03\xe8bye");
        let (all, answer, _) = hear(&[&bye]);
        assert_eq!(all, [Ok(Heard::Close)]);
        assert_eq!(answer, b"\x88\x05\x03\xe8bye");
    }

    #[test]
    fn ours_are_text_where_they_can_be() {
        assert_eq!(&message(Bytes::from_static(b"SIP"))[..], b"\x81\x03SIP");
        assert_eq!(&message(Bytes::from_static(b"\xff"))[..], b"\x82\x01\xff");
        assert_eq!(&ping()[..], b"\x89\x00");
        assert_eq!(&goodbye()[..], b"\x88\x02\x03\xe9");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes_is_heard_alike_in_any_pieces(
            sent in prop::collection::vec((0u8..16, any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 1..6),
            noise in prop::collection::vec(any::<u8>(), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            for (opcode, is_final, payload) in sent {
                bytes.extend(client(OpCode::from(opcode), is_final, &payload));
            }
            bytes.extend(noise);
            let cut = cut.index(bytes.len());
            prop_assert_eq!(hear(&[&bytes]), hear(&[&bytes[..cut], &bytes[cut..]]));
        }
    }
}
