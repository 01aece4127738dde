//! `Via: SIP/2.0/UDP host:port;branch=z9hG4bK…;rport`

use memchr::memchr;

use super::Params;
use crate::sip::ParseError;

/// One Via element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS`, as written.
    pub transport: &'a str,
    /// Host of sent-by, with brackets for IPv6.
    pub host: &'a str,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// Parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one element. White space may stand around every separator (RFC 3261 §25.1).
    ///
    /// # Errors
    /// 400 when it is not a Via.
    pub fn parse(text: &'a str) -> Result<Via<'a>, ParseError> {
        read(text).ok_or(ParseError::bad_request("Bad Via"))
    }

    /// The branch, where it is one of RFC 3261 and so names a transaction alone.
    //= RFC 3261 8.1.1.7
    //# a branch that is unique in space and time begins with z9hG4bK
    #[must_use]
    pub fn branch(&self) -> Option<&'a str> {
        const COOKIE: &str = "z9hG4bK";
        let branch = self.params.get("branch")?;
        let cookie = branch.get(..COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(COOKIE) && branch.len() > COOKIE.len()).then_some(branch)
    }
}

fn read(text: &str) -> Option<Via<'_>> {
    let (left, params) = text.split_at(memchr(b';', text.as_bytes()).unwrap_or(text.len()));
    let left = match left.strip_prefix("SIP/2.0/") {
        Some(left) => left,
        None => {
            let (name, left) = left.split_once('/')?;
            let (version, left) = left.split_once('/')?;
            if !name.trim_ascii().eq_ignore_ascii_case("SIP") || version.trim_ascii() != "2.0" {
                return None;
            }
            left
        }
    };
    let left = left.trim_ascii();
    let is_blank = |byte: &u8| byte.is_ascii_whitespace();
    let (transport, sent_by) = left.split_at(left.as_bytes().iter().position(is_blank)?);
    let sent_by = sent_by.trim_ascii();
    let bytes = sent_by.as_bytes();
    let host_end = if bytes.first() == Some(&b'[') {
        memchr(b']', bytes)? + 1
    } else {
        bytes
            .iter()
            .position(|byte| *byte == b':' || is_blank(byte))
            .unwrap_or(bytes.len())
    };
    let (host, port) = sent_by.split_at(host_end);
    let port = match port.trim_ascii() {
        "" => None,
        port => Some(port.strip_prefix(':')?.trim_ascii().parse().ok()?),
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let legible = !host.is_empty()
        && host
            .bytes()
            .all(|byte| is_word(byte) || matches!(byte, b'[' | b']' | b':' | b'%'))
        && transport.bytes().all(is_word);
    legible.then_some(Via {
        transport,
        host,
        port,
        params: Params(params),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_via_is_read_with_and_without_blanks() {
        for (text, transport, host, port, branch) in [
            (
                "SIP/2.0/UDP a.b:5060;branch=z9hG4bKx;rport",
                "UDP",
                "a.b",
                Some(5060),
                Some("z9hG4bKx"),
            ),
            (
                "SIP / 2.0 / TCP  192.0.2.1 : 5062 ; branch = z9hG4bK1",
                "TCP",
                "192.0.2.1",
                Some(5062),
                Some("z9hG4bK1"),
            ),
            (
                "SIP/2.0/TLS [2001:db8::1]:5061;branch=old",
                "TLS",
                "[2001:db8::1]",
                Some(5061),
                None,
            ),
            ("SIP/2.0/UDP h", "UDP", "h", None, None),
            ("SIP/2.0/UDP h;branch=z9hG4bK", "UDP", "h", None, None),
        ] {
            let via = Via::parse(text).expect(text);
            assert_eq!(
                (via.transport, via.host, via.port, via.branch()),
                (transport, host, port, branch),
                "{text}"
            );
        }
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/3.0/UDP h",
            "SIP/2.0/UDP :]",
            "SIP/2.0/UDP h:x",
            "SIP/2.0/UDP h:99999",
            "x",
        ] {
            assert!(Via::parse(text).is_err(), "{text}");
        }
    }
}
