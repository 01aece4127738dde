//! How to reach the other side of a dialog: what the shard keeps as opaque bytes.
//!
//! A dialog has a [`DialogRoute`], fixed when it is made (tags, addresses, route set), and a
//! [`Target`], replaced by each refresh (remote target, flow). Both are stored in the form they are
//! written from, so that a NOTIFY's head is a handful of copies.

use bytes::BytesMut;

use crate::flow::Flow;
use crate::sip::{ParseError, Request};

/// The fixed part, written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogRoute<'a> {
    /// Call-ID.
    pub call_id: &'a str,
    /// Our address with our tag, as the From of what we send: `<sip:alice@example.com>;tag=L…`.
    pub local: &'a str,
    /// The watcher's address with its tag, as the To of what we send.
    pub remote: &'a str,
    /// The Event header's value to echo: `presence`, `presence;id=7`.
    pub event: &'a str,
    /// Route header value, comma separated, in the order to send; empty when there is none.
    pub route_set: &'a str,
}

/// The part that each refresh replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The watcher's Contact URI: the Request-URI of what we send.
    pub uri: &'a str,
    /// Our Contact's URI, naming the socket the watcher spoke to.
    pub contact: &'a str,
    /// Where the request came from, and where ours goes while it is open.
    pub flow: Flow,
}

impl<'a> DialogRoute<'a> {
    /// Appends the stored form of the dialog that `request` (a SUBSCRIBE outside a dialog) begins,
    /// with `local_tag` as our tag.
    pub fn write_from(request: &Request, local_tag: &str, out: &mut Vec<u8>) {
        let _ = (request, local_tag, out);
        todo!()
    }

    /// Reads the stored form; `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<DialogRoute<'a>> {
        let _ = bytes;
        todo!()
    }
}

impl<'a> Target<'a> {
    /// Appends the stored form of where `request` (a SUBSCRIBE or REGISTER) came from.
    ///
    /// The flow's peer is where requests will be sent: for datagrams the source address when the
    /// client asked for it (`rport`) or is behind a NAT (RFC 3261 §18.2.1 gave it a `received`) or
    /// there is a route set, else the Contact's host and port when they are an IP literal.
    ///
    /// # Errors
    /// 400 when there is no usable Contact.
    pub fn write_from(request: &Request, flow: &Flow, contact: &str, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let _ = (request, flow, contact, out);
        todo!()
    }

    /// Reads the stored form; `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Target<'a>> {
        let _ = bytes;
        todo!()
    }
}

/// Appends the head of a request inside the dialog, up to and including CSeq, Route, Contact and
/// Max-Forwards: start line, Via (`via` is its value), From, To, Call-ID … The caller adds its own
/// header lines, Content-Length and body.
pub fn write_request(
    method: &str,
    via: &str,
    cseq: u32,
    route: &DialogRoute<'_>,
    target: &Target<'_>,
    out: &mut BytesMut,
) {
    let _ = (method, via, cseq, route, target, out);
    todo!()
}
