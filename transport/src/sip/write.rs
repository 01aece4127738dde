//! Messages into bytes, no intermediate strings.

use bytes::{Bytes, BytesMut};

use super::{Request, StatusCode};

/// Writes a response to a request: status line, then Via, From, To, Call-ID and CSeq as RFC 3261
/// §8.2.6.2 copies them, then what the caller adds, then Content-Length and body.
#[derive(Debug)]
pub struct Reply {
    out: BytesMut,
}

impl Reply {
    /// Begins the response. `to_tag` is added when the request has none (RFC 3261 §8.2.6.2); `None`
    /// only for 100.
    #[must_use]
    pub fn new(request: &Request, status: StatusCode, to_tag: Option<&str>) -> Reply {
        Reply::with_reason(request, status, status.reason(), to_tag)
    }

    /// The same with a reason phrase that says more.
    #[must_use]
    pub fn with_reason(request: &Request, status: StatusCode, reason: &str, to_tag: Option<&str>) -> Reply {
        let _ = (request, status, reason, to_tag);
        todo!()
    }

    /// Adds a header line. `name` and `value` must not hold line ends (asserted).
    #[must_use]
    pub fn header(self, name: &str, value: impl std::fmt::Display) -> Reply {
        let _ = (name, &value);
        todo!()
    }

    /// Ends the head without a body.
    #[must_use]
    pub fn finish(self) -> Bytes {
        todo!()
    }

    /// Ends the head and adds the body with its type.
    #[must_use]
    pub fn body(self, content_type: &str, body: &[u8]) -> Bytes {
        let _ = (content_type, body, &self.out);
        todo!()
    }
}
