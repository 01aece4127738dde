//! How to reach the other side of a dialog: what the shard keeps as opaque bytes.
//!
//! A dialog has a [`DialogRoute`], fixed when it is made (tags, addresses, route set), and a
//! [`Target`], replaced by each refresh (remote target, flow). Both are stored in the form they are
//! written from, so that a NOTIFY's head is a handful of copies. The first byte is the version.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::BytesMut;

use crate::flow::Flow;
use crate::sip::header::{Event, Name, NameAddr, Via, elements};
use crate::sip::uri::Uri;
use crate::sip::{ParseError, Request};

/// The version of both stored forms.
const VERSION: u8 = 1;

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
    /// The node that has the flow; 0 where an earlier release did not say.
    pub node: u64,
}

/// Appends a text with its length before it. Heads are shorter than 64 KiB, so two bytes are enough.
fn put(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    write(out);
    let length =
        u16::try_from(out.len() - at - 2).expect("parts of a head are shorter than 64 KiB");
    out[at..at + 2].copy_from_slice(&length.to_le_bytes());
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

impl<'a> DialogRoute<'a> {
    /// Appends the stored form of the dialog that `request` (a SUBSCRIBE outside a dialog) begins,
    /// with `local_tag` as our tag.
    pub fn write_from(request: &Request, local_tag: &str, out: &mut Vec<u8>) {
        out.push(VERSION);
        put(out, |out| {
            out.extend_from_slice(request.call_id().as_bytes())
        });
        put(out, |out| {
            let to = request.to();
            out.push(b'<');
            out.extend_from_slice(to.uri.as_bytes());
            out.extend_from_slice(b">;tag=");
            out.extend_from_slice(local_tag.as_bytes());
        });
        put(out, |out| {
            out.extend_from_slice(request.header(Name::From).unwrap_or_default().as_bytes())
        });
        put(out, |out| {
            let event = Event::parse(request.header(Name::Event).unwrap_or_default());
            out.extend(event.package.bytes().map(|byte| byte.to_ascii_lowercase()));
            //= RFC 6665 8.2.1
            //# a NOTIFY carries the id parameter of its SUBSCRIBE
            if let Some(id) = event.params.get("id") {
                out.extend_from_slice(b";id=");
                out.extend_from_slice(id.as_bytes());
            }
        });
        //= RFC 3261 12.1.1
        //# the route set of a UAS is the Record-Route of the request, in order
        put(out, |out| {
            for (place, route) in request.values(Name::RecordRoute).enumerate() {
                if place > 0 {
                    out.extend_from_slice(b", ");
                }
                out.extend_from_slice(route.as_bytes());
            }
        });
    }

    /// Reads the stored form; `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<DialogRoute<'a>> {
        let (&VERSION, mut bytes) = bytes.split_first()? else {
            return None;
        };
        let bytes = &mut bytes;
        Some(DialogRoute {
            call_id: take(bytes)?,
            local: take(bytes)?,
            remote: take(bytes)?,
            event: take(bytes)?,
            route_set: take(bytes)?,
        })
    }
}

impl<'a> Target<'a> {
    /// Appends the stored form of where `request` (a SUBSCRIBE or REGISTER) came from.
    ///
    /// Requests to the other side go to the address it spoke from, never to another host: that is what
    /// a NAT needs, and what keeps a forged Contact from aiming us at somebody else. The port is the
    /// Contact's when it names that very host, unless the client asked for its source port (`rport`)
    /// or a proxy stands between.
    ///
    /// # Errors
    /// 400 when there is no usable Contact.
    pub fn write_from(
        request: &Request,
        flow: &Flow,
        node: u64,
        contact: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        //= RFC 3261 8.1.1.8
        //# a request that makes a dialog has exactly one Contact with a SIP URI
        const NO_CONTACT: ParseError = ParseError::bad_request("Missing Or Bad Contact");
        let theirs = request.values(Name::Contact).next().ok_or(NO_CONTACT)?;
        let theirs = NameAddr::parse(theirs).map_err(|_| NO_CONTACT)?;
        let uri = Uri::parse(theirs.uri).map_err(|_| NO_CONTACT)?;
        let peer = match host_port(&uri) {
            Some(named)
                if named.ip() == flow.peer.ip()
                    && !speaks_for_itself(request)
                    && !flow.transport.is_websocket() =>
            {
                named
            }
            _ => flow.peer,
        };
        out.push(VERSION);
        put(out, |out| out.extend_from_slice(theirs.uri.as_bytes()));
        put(out, |out| out.extend_from_slice(contact.as_bytes()));
        Flow { peer, ..*flow }.encode(out);
        out.extend_from_slice(&node.to_le_bytes());
        Ok(())
    }

    /// Reads the stored form; `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Target<'a>> {
        Target::split(bytes).map(|(target, _)| target)
    }

    /// Reads the stored form and what stands behind it: with a registration, the dialog that it is.
    #[must_use]
    pub fn split(bytes: &'a [u8]) -> Option<(Target<'a>, &'a [u8])> {
        let (&VERSION, mut bytes) = bytes.split_first()? else {
            return None;
        };
        let uri = take(&mut bytes)?;
        let contact = take(&mut bytes)?;
        let (flow, rest) = Flow::decode(bytes)?;
        let (node, behind) = match rest.split_first_chunk() {
            Some((node, behind)) => (u64::from_le_bytes(*node), behind),
            None => (0, rest),
        };
        let target = Target {
            uri,
            contact,
            flow,
            node,
        };
        Some((target, behind))
    }
}

/// The address a URI names by number.
fn host_port(uri: &Uri<'_>) -> Option<SocketAddr> {
    let host = uri.host.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(host, uri.port.unwrap_or(5060)))
}

/// Whether the source address is where the sender listens: it said so, or it is a proxy. A proxy has added a Via;
/// its Record-Route is in the first request of a dialog only.
fn speaks_for_itself(request: &Request) -> bool {
    let rport = Via::parse(request.top_via()).is_ok_and(|via| via.params.get("rport").is_some());
    rport
        || request.header(Name::RecordRoute).is_some()
        || request.values(Name::Via).nth(1).is_some()
}

/// Appends the head of a request inside the dialog: start line, Via (`via` is its value), Route,
/// Max-Forwards, From, To, Call-ID, CSeq, Contact. The caller adds its own header lines,
/// Content-Length, the empty line and the body.
//= RFC 3261 12.2.1.1
//# the remote target is the Request-URI; a strict router (no lr) takes its place and it goes last
pub fn write_request(
    method: &str,
    via: &str,
    cseq: u32,
    route: &DialogRoute<'_>,
    target: &Target<'_>,
    out: &mut BytesMut,
) {
    let strict = strict_router(route.route_set);
    for part in [
        method,
        " ",
        strict.unwrap_or(target.uri),
        " SIP/2.0\r\nVia: ",
        via,
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    if strict.is_some() {
        for (place, hop) in elements(route.route_set).skip(1).enumerate() {
            out.extend_from_slice(if place == 0 { b"\r\nRoute: " } else { b", " });
            out.extend_from_slice(hop.as_bytes());
        }
        let _ = write!(out, "\r\nRoute: <{}>", target.uri);
    } else if !route.route_set.is_empty() {
        out.extend_from_slice(b"\r\nRoute: ");
        out.extend_from_slice(route.route_set.as_bytes());
    }
    for part in [
        "\r\nMax-Forwards: 70\r\nFrom: ",
        route.local,
        "\r\nTo: ",
        route.remote,
        "\r\nCall-ID: ",
        route.call_id,
        "\r\nCSeq: ",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    let _ = write!(out, "{cseq} ");
    for part in [method, "\r\nContact: <", target.contact, ">\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The first hop's URI, when it is a strict router.
fn strict_router(route_set: &str) -> Option<&str> {
    let first = NameAddr::parse(elements(route_set).next()?).ok()?;
    let uri = Uri::parse(first.uri).ok()?;
    uri.params.get("lr").is_none().then_some(first.uri)
}
