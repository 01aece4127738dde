//! Messages into bytes, no intermediate strings.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;

use super::header::Name;
use super::{Request, StatusCode};

/// Writes a response to a request: status line, then Via, From, To, Call-ID and CSeq as RFC 3261
/// §8.2.6.2 copies them, then what the caller adds, then Content-Length and body.
#[derive(Debug)]
pub struct Reply {
    out: Vec<u8>,
}

impl Reply {
    /// Begins the response. `to_tag` is added when the request has none (RFC 3261 §8.2.6.2); `None`
    /// only for 100.
    #[must_use]
    pub fn new(request: &Request, status: StatusCode, to_tag: Option<&str>) -> Reply {
        Reply::with_reason(request, status, status.reason(), to_tag)
    }

    /// The same with a reason phrase that says more.
    //= RFC 3261 8.2.6.2
    //# From, Call-ID, CSeq and all Vias are copied; To gets our tag if it has none
    #[must_use]
    pub fn with_reason(
        request: &Request,
        status: StatusCode,
        reason: &str,
        to_tag: Option<&str>,
    ) -> Reply {
        // A response without a body is some 400 bytes.
        let mut reply = Reply {
            out: Vec::with_capacity(640),
        };
        reply.text("SIP/2.0 ");
        reply.number(status.number().into());
        reply.text(" ");
        reply.text(reason);
        reply.text("\r\n");
        let mut vias = request.headers(Name::Via);
        if let Some(top) = vias.next() {
            reply.top_via(top, request);
        }
        for line in vias {
            reply = reply.line("Via", line);
        }
        reply = reply.line("From", request.header(Name::From).unwrap_or_default());
        reply.text("To: ");
        reply.text(request.header(Name::To).unwrap_or_default());
        if let (Some(tag), None) = (to_tag, request.to_tag()) {
            reply.text(";tag=");
            reply.text(tag);
        }
        reply.text("\r\n");
        reply = reply.line("Call-ID", request.call_id());
        reply.line("CSeq", request.header(Name::CSeq).unwrap_or_default())
    }

    /// Adds a header line. Line ends in the value are written as blanks: nothing a peer sent can add a
    /// header of its own.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl fmt::Display) -> Reply {
        self.text(name);
        self.text(": ");
        let begin = self.out.len();
        let _ = write!(Text(&mut self.out), "{value}");
        for byte in &mut self.out[begin..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.text("\r\n");
        self
    }

    /// Copies Record-Route, which makes the dialog's route set (RFC 3261 §12.1.1).
    #[must_use]
    pub fn record_route(self, request: &Request) -> Reply {
        request
            .headers(Name::RecordRoute)
            .fold(self, |reply, line| reply.line("Record-Route", line))
    }

    /// Ends the head without a body.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.text("Content-Length: 0\r\n\r\n");
        Bytes::from(self.out)
    }

    /// Ends the head and adds the body with its type.
    #[must_use]
    pub fn body(self, content_type: &str, body: &[u8]) -> Bytes {
        let mut reply = self.line("Content-Type", content_type);
        reply.text("Content-Length: ");
        reply.number(body.len() as u64);
        reply.text("\r\n\r\n");
        reply.out.extend_from_slice(body);
        Bytes::from(reply.out)
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A number without the machinery of formatting.
    fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    fn line(mut self, name: &str, value: &str) -> Reply {
        self.text(name);
        self.text(": ");
        self.text(value);
        self.text("\r\n");
        self
    }

    /// The line with the top Via, which learns where the request really came from.
    //= RFC 3261 18.2.1
    //# received is added when sent-by is not the source address
    //= RFC 3581 4
    //# an rport without a value gets the source port, and then received is always added
    fn top_via(&mut self, line: &str, request: &Request) {
        self.text("Via: ");
        let Some((address, port)) = request.source() else {
            self.text(line);
            self.text("\r\n");
            return;
        };
        let (top, via) = (request.top_via(), request.via());
        let is_source = is_address(via.host, address);
        let mut rport = false;
        self.text(top[..top.len() - via.params.0.len()].trim_ascii_end());
        for (name, value) in via.params.iter() {
            if name.eq_ignore_ascii_case("received") {
                continue;
            }
            self.text(";");
            self.text(name);
            if !value.is_empty() {
                self.text("=");
                self.text(value);
            } else if !rport && name.eq_ignore_ascii_case("rport") {
                rport = true;
                self.text("=");
                self.number(port.into());
            }
        }
        if rport || !is_source {
            self.text(";received=");
            self.address(address);
        }
        // What stands behind the top element on the same line.
        let rest = line.trim_ascii_start().strip_prefix(top);
        self.text(rest.unwrap_or_default());
        self.text("\r\n");
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let [first, others @ ..] = address.octets();
                self.number(first.into());
                for octet in others {
                    self.text(".");
                    self.number(octet.into());
                }
            }
            IpAddr::V6(address) => {
                let _ = write!(Text(&mut self.out), "{address}");
            }
        }
    }
}

/// Formatted text at the end of bytes.
struct Text<'o>(&'o mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Whether the host of a Via is this address, written as itself.
fn is_address(host: &str, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => host.parse() == Ok::<Ipv4Addr, _>(address),
        IpAddr::V6(_) => host.trim_matches(['[', ']']).parse() == Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Message;

    fn request(via: &str, to: &str) -> Request {
        let text = format!(
            "OPTIONS sip:h SIP/2.0\r\nVia: {via}\r\nv: SIP/2.0/UDP second\r\nf: <sip:a@h>;tag=1\r\nt: {to}\r\n\
             i: c@h\r\nCSeq: 7 OPTIONS\r\nRecord-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\n\r\n"
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("not a request: {other:?}"),
        }
    }

    fn text(bytes: &Bytes) -> String {
        String::from_utf8(bytes.to_vec()).expect("ASCII")
    }

    //= RFC 3261 8.2.6.2
    //= type=test
    #[test]
    fn a_response_copies_what_it_must() {
        let reply = Reply::new(
            &request("SIP/2.0/UDP h;branch=z9hG4bK1", "<sip:b@h>"),
            StatusCode::OK,
            Some("ours"),
        )
        .header("Expires", 60)
        .body("text/plain", b"hi");
        assert_eq!(
            text(&reply),
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP second\r\n\
             From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=ours\r\nCall-ID: c@h\r\nCSeq: 7 OPTIONS\r\n\
             Expires: 60\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
        );
        let tagged = Reply::new(
            &request("SIP/2.0/UDP h", "<sip:b@h>;tag=theirs"),
            StatusCode::OK,
            Some("ours"),
        )
        .finish();
        assert!(text(&tagged).contains("To: <sip:b@h>;tag=theirs\r\n"));
    }

    //= RFC 3261 18.2.1
    //= type=test
    //= RFC 3581 4
    //= type=test
    #[test]
    fn the_top_via_learns_where_the_request_came_from() {
        for (via, expected) in [
            (
                "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1",
                "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1",
            ),
            (
                "SIP/2.0/UDP h.example;branch=z9hG4bK1",
                "SIP/2.0/UDP h.example;branch=z9hG4bK1;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK1",
                "SIP/2.0/UDP 192.0.2.9;rport=4711;branch=z9hG4bK1;received=192.0.2.9",
            ),
            (
                "SIP/2.0/UDP 10.0.0.1;received=6.6.6.6;branch=z9hG4bK1, SIP/2.0/UDP first",
                "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.9, SIP/2.0/UDP first",
            ),
        ] {
            let mut request = request(via, "<sip:b@h>");
            request.set_source("192.0.2.9".parse().expect("an address"), 4711);
            let reply = text(&Reply::new(&request, StatusCode::OK, Some("t")).finish());
            assert_eq!(
                reply.lines().nth(1),
                Some(&*format!("Via: {expected}")),
                "{via}"
            );
        }
    }

    #[test]
    fn nothing_can_add_a_header_of_its_own() {
        let reply = Reply::new(
            &request("SIP/2.0/UDP h", "<sip:b@h>"),
            StatusCode::OK,
            Some("t"),
        )
        .record_route(&request("SIP/2.0/UDP h", "<sip:b@h>"))
        .header("Warning", "399 x \"a\r\nEvil: yes\"")
        .finish();
        let reply = text(&reply);
        assert!(reply.contains("Record-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\n"));
        assert!(!reply.contains("\r\nEvil"), "{reply}");
    }
}
