//! Start line and header lines as ranges into the received bytes.

use std::net::IpAddr;

use bytes::Bytes;

use super::header::{Name, NameAddr};
use super::{Method, StatusCode};

/// Header lines of the largest head we read.
pub const HEADERS_MAX: usize = 128;

/// A request or a response.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// Why a message is refused. The text is the reason phrase of the 400 (or other status) that says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ParseError {
    /// 400 in most cases; 413, 416, 420, 483, 505 where RFC 3261 says so.
    pub status: StatusCode,
    /// What is wrong, short and for humans: `Missing To header`.
    pub reason: &'static str,
}

/// A request as received.
#[derive(Clone, Debug)]
pub struct Request {
    // Buffer, ranges and the small fields decoded once.
    _private: (),
}

/// A response as received.
#[derive(Clone, Debug)]
pub struct Response {
    _private: (),
}

/// What could be read of a message that is refused.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: ParseError,
    /// The request, when enough of it is legible to be answered (Via, From, To, Call-ID, CSeq); never
    /// an ACK.
    pub answerable: Option<Request>,
}

impl Message {
    /// Reads one message. For a datagram the body ends where Content-Length says, and surplus bytes
    /// are dropped; a body shorter than Content-Length is a 400 (RFC 3261 §18.3).
    ///
    /// Every rule that RFC 3261 puts on the head of any request is checked here: mandatory headers
    /// once each, CSeq and its method, Max-Forwards a number, URIs and tags legible.
    ///
    /// # Errors
    /// [`Refused`], with the request if it can be answered.
    pub fn parse(bytes: Bytes) -> Result<Message, Box<Refused>> {
        let _ = bytes;
        todo!()
    }
}

impl Request {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        todo!()
    }
    /// The Request-URI as written.
    #[must_use]
    pub fn uri(&self) -> &str {
        todo!()
    }
    /// The body, as long as Content-Length says.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        todo!()
    }
    /// The first header of that name, unfolded and trimmed.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&str> {
        let _ = name;
        todo!()
    }
    /// All header lines of that name, top first.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &str> {
        let _ = name;
        std::iter::empty()
    }
    /// All header lines of a name that has no [`Name`], in any letter case.
    pub fn other_headers<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        let _ = name;
        std::iter::empty()
    }
    /// The elements of a header that is a comma list, over all its lines; commas in quotes and angle
    /// brackets do not separate.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        let _ = name;
        std::iter::empty()
    }
    /// Every header line with its name as written, in order.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        std::iter::empty()
    }
    /// From (mandatory, checked by [`Message::parse`]).
    #[must_use]
    pub fn from(&self) -> NameAddr<'_> {
        todo!()
    }
    /// To (mandatory, checked by [`Message::parse`]).
    #[must_use]
    pub fn to(&self) -> NameAddr<'_> {
        todo!()
    }
    /// From tag; empty for RFC 2543 clients.
    #[must_use]
    pub fn from_tag(&self) -> &str {
        todo!()
    }
    /// To tag; `None` outside a dialog.
    #[must_use]
    pub fn to_tag(&self) -> Option<&str> {
        todo!()
    }
    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        todo!()
    }
    /// CSeq number.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        todo!()
    }
    /// The top Via's value as written.
    #[must_use]
    pub fn top_via(&self) -> &str {
        todo!()
    }
    /// Max-Forwards; 70 when absent.
    #[must_use]
    pub fn max_forwards(&self) -> u8 {
        todo!()
    }
    /// Expires in seconds, saturated at `u32::MAX`.
    ///
    /// # Errors
    /// 400 when it is there and not a number.
    pub fn expires(&self) -> Result<Option<u32>, ParseError> {
        todo!()
    }
    /// Writes `received` and `rport` of the top Via down for the responses (RFC 3261 §18.2.1,
    /// RFC 3581 §4). Called once, by the worker, before anybody answers.
    pub fn set_source(&mut self, address: IpAddr, port: u16) {
        let _ = (address, port);
        todo!()
    }
}

impl Response {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        todo!()
    }
    /// The first header of that name, unfolded and trimmed.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&str> {
        let _ = name;
        todo!()
    }
    /// All header lines of that name, top first.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &str> {
        let _ = name;
        std::iter::empty()
    }
    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        todo!()
    }
    /// To tag.
    #[must_use]
    pub fn to_tag(&self) -> Option<&str> {
        todo!()
    }
    /// Branch of the top Via; it names our client transaction.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        todo!()
    }
    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        todo!()
    }
    /// CSeq number and method.
    #[must_use]
    pub fn cseq(&self) -> (u32, &Method) {
        todo!()
    }
}
