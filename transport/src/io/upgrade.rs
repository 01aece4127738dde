//! How an HTTP connection becomes a WebSocket that speaks SIP: the request of a browser is read, and agreed to
//! or refused in words that its developer understands. Bytes in, bytes out; no socket.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// Bytes of the largest request head. Cookies of a page's host come along, and nothing else that is long.
const HEAD_BYTES_MAX: usize = 8_192;

/// Header lines of such a head; browsers send some 15.
const HEADERS_MAX: usize = 64;

/// The subprotocol of RFC 7118.
const SUBPROTOCOL: &str = "sip";

/// Pages that may speak to us. Who sends no Origin is no browser, and asks nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Every page of the world.
    Any,
    /// Pages of this host by any scheme and port; lower case.
    Host(String),
    /// Pages that say exactly this, such as `https://phone.example.com` or `null`; lower case.
    Exact(String),
}

impl Origin {
    /// Whether a page of this origin is meant.
    //= RFC 6455 10.2
    //# a server that is not for every page looks at the origin that the browser names
    fn admits(&self, origin: &str) -> bool {
        match self {
            Origin::Any => true,
            Origin::Host(host) => {
                host_of(origin).is_some_and(|named| named.eq_ignore_ascii_case(host))
            }
            Origin::Exact(exact) => origin.eq_ignore_ascii_case(exact),
        }
    }
}

/// The host of `scheme://host[:port]`.
fn host_of(origin: &str) -> Option<&str> {
    let (_, authority) = origin.split_once("://")?;
    if authority.starts_with('[') {
        let end = authority.find(']')?;
        return Some(&authority[..=end]);
    }
    authority.split(':').next()
}

/// What an HTTP request comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// It is not whole yet.
    More,
    /// WebSocket frames follow after this many bytes.
    Agreed {
        /// Bytes of the request.
        length: usize,
        /// The answer.
        answer: String,
    },
    /// An HTTP error and its answer; the connection ends with it.
    Refused(String),
}

/// Reads the request at the front of `bytes`.
//= RFC 7118 4.1
//# the client offers the subprotocol sip, and the server's answer names it; without it there is no connection
//= RFC 6455 4.2.2
//# the key of the request is proven read; another version than 13 is told which one we speak
pub(super) fn look(bytes: &[u8], origins: &[Origin]) -> Upgrade {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => return Upgrade::More,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return refuse(
                "431 Request Header Fields Too Large",
                "",
                "The request head is larger than 8192 bytes or 64 lines.",
            );
        }
        Err(httparse::Error::Version) => {
            return refuse("505 HTTP Version Not Supported", "", "Ask by HTTP/1.1.");
        }
        Err(_) => return refuse("400 Bad Request", "", "This is no HTTP request."),
    };
    match judge(&request, origins) {
        Ok(answer) => Upgrade::Agreed { length, answer },
        Err(refused) => refused,
    }
}

/// The answer to a request that is whole.
fn judge(request: &httparse::Request<'_, '_>, origins: &[Origin]) -> Result<String, Upgrade> {
    if request.method != Some("GET") {
        let why = "A WebSocket begins with GET.";
        return Err(refuse("405 Method Not Allowed", "Allow: GET\r\n", why));
    }
    if request.version != Some(1) {
        let why = "Ask by HTTP/1.1.";
        return Err(refuse("505 HTTP Version Not Supported", "", why));
    }
    if !tokens(request, "Upgrade").any(|token| token.eq_ignore_ascii_case("websocket"))
        || !tokens(request, "Connection").any(|token| token.eq_ignore_ascii_case("upgrade"))
    {
        return Err(refuse(
            "426 Upgrade Required",
            "Upgrade: websocket\r\n",
            "Here is SIP over WebSocket (RFC 7118), for softphones in browsers; no pages.",
        ));
    }
    if tokens(request, "Sec-WebSocket-Version").ne(["13"]) {
        return Err(refuse(
            "426 Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            "Version 13 of WebSocket is spoken here (RFC 6455).",
        ));
    }
    let mut keys = values(request, "Sec-WebSocket-Key");
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) if STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) => key,
        _ => {
            let why = "Sec-WebSocket-Key is missing, there twice, or not 16 bytes in base64.";
            return Err(refuse("400 Bad Request", "", why));
        }
    };
    if values(request, "Host").next().is_none() {
        return Err(refuse("400 Bad Request", "", "The Host header is missing."));
    }
    if !tokens(request, "Sec-WebSocket-Protocol").any(|token| token == SUBPROTOCOL) {
        return Err(refuse(
            "400 Bad Request",
            "",
            "Offer the subprotocol sip: new WebSocket(url, 'sip').",
        ));
    }
    let foreign = |origin: &str| !origins.iter().any(|known| known.admits(origin));
    if values(request, "Origin").any(foreign) {
        return Err(refuse(
            "403 Forbidden",
            "",
            "Pages of this origin may not connect; the operator names those that may (origins in [websocket]).",
        ));
    }
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n",
        accept(key)
    ))
}

fn values<'r>(
    request: &'r httparse::Request<'_, '_>,
    name: &'r str,
) -> impl Iterator<Item = &'r str> {
    request
        .headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        // What is no text matches nothing, but is there.
        .map(|header| std::str::from_utf8(header.value).unwrap_or("").trim())
}

/// The elements of a comma-separated header.
fn tokens<'r>(
    request: &'r httparse::Request<'_, '_>,
    name: &'r str,
) -> impl Iterator<Item = &'r str> {
    values(request, name).flat_map(|line| line.split(',').map(str::trim))
}

/// What proves that the key was read by somebody who knows what a WebSocket is.
fn accept(key: &str) -> String {
    const OF_RFC_6455: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(OF_RFC_6455);
    STANDARD.encode(hash.finalize())
}

fn refuse(status: &str, lines: &str, why: &str) -> Upgrade {
    let length = why.len() + 1;
    Upgrade::Refused(format!(
        "HTTP/1.1 {status}\r\n{lines}Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\n\r\n{why}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /any HTTP/1.1\r\nHost: sip.example.com:5443\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, sip\r\n\
        Origin: https://phone.example.com\r\n\r\n";

    fn origins() -> Vec<Origin> {
        vec![
            Origin::Exact("https://phone.example.com".to_owned()),
            Origin::Exact("null".to_owned()),
            Origin::Host("example.com".to_owned()),
            Origin::Host("[::1]".to_owned()),
        ]
    }

    //= RFC 7118 4.1
    //= type=test
    #[test]
    fn a_good_request_is_agreed_to() {
        let more = [GOOD.as_bytes(), b"\x81\x80"].concat();
        let Upgrade::Agreed { length, answer } = look(&more, &origins()) else {
            panic!("refused");
        };
        assert_eq!(length, GOOD.len());
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        // The key and its proof are those of RFC 6455's own example.
        assert!(
            answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("\r\nSec-WebSocket-Protocol: sip\r\n"),
            "{answer}"
        );
        for cut in 0..GOOD.len() {
            assert_eq!(
                look(&GOOD.as_bytes()[..cut], &origins()),
                Upgrade::More,
                "{cut}"
            );
        }
    }

    //= RFC 6455 4.2.2
    //= type=test
    //= RFC 7118 4.1
    //= type=test
    #[test]
    fn each_fault_has_its_answer() {
        for (name, from, to, status, says) in [
            ("a post", "GET", "POST", "405", "Allow: GET"),
            (
                "an old version",
                "HTTP/1.1",
                "HTTP/1.0",
                "505",
                "by HTTP/1.1",
            ),
            ("SIP", "HTTP/1.1", "SIP/2.0", "505", "by HTTP/1.1"),
            (
                "a page",
                "Upgrade: WebSocket\r\n",
                "",
                "426",
                "Upgrade: websocket",
            ),
            (
                "no connection",
                "keep-alive, Upgrade",
                "keep-alive",
                "426",
                "RFC 7118",
            ),
            (
                "an old draft",
                "Version: 13",
                "Version: 8",
                "426",
                "Sec-WebSocket-Version: 13",
            ),
            (
                "a short key",
                "dGhlIHNhbXBsZSBub25jZQ==",
                "c2hvcnQ=",
                "400",
                "Sec-WebSocket-Key",
            ),
            (
                "no key",
                "Sec-WebSocket-Key",
                "X",
                "400",
                "Sec-WebSocket-Key",
            ),
            ("no host", "Host", "X", "400", "Host"),
            ("another subprotocol", "chat, sip", "chat", "400", "'sip'"),
            (
                "no subprotocol",
                "Sec-WebSocket-Protocol",
                "X",
                "400",
                "'sip'",
            ),
            ("a foreign page", "phone.", "evil.", "403", "[websocket]"),
            (
                "a page of the same name by another scheme",
                "https://ph",
                "http://ph",
                "403",
                "origins",
            ),
            ("a broken line", "Host:", "Ho st", "400", "no HTTP"),
        ] {
            let Upgrade::Refused(answer) = look(GOOD.replace(from, to).as_bytes(), &origins())
            else {
                panic!("{name}: agreed");
            };
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{name}: {answer}"
            );
            assert!(answer.contains(says), "{name}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(
                head.contains(&format!("Content-Length: {}", body.len())),
                "{name}: {answer}"
            );
        }
    }

    //= RFC 6455 10.2
    //= type=test
    #[test]
    fn an_origin_is_admitted_by_its_host_or_as_a_whole() {
        for (origin, admitted) in [
            ("https://phone.example.com", true),
            ("HTTPS://Phone.Example.com", true),
            ("https://phone.example.com:8443", false),
            ("null", true),
            ("http://example.com", true),
            ("https://example.com:8443", true),
            ("https://example.com.evil.test", false),
            ("https://notexample.com", false),
            ("http://[::1]:8000", true),
            ("", false),
        ] {
            let asked = GOOD.replace("https://phone.example.com", origin);
            let agreed = matches!(look(asked.as_bytes(), &origins()), Upgrade::Agreed { .. });
            assert_eq!(agreed, admitted, "{origin}");
            assert!(matches!(
                look(asked.as_bytes(), &[Origin::Any]),
                Upgrade::Agreed { .. }
            ));
        }
        // Who is no browser names no origin, and is asked for none.
        let program = GOOD.replace("Origin: https://phone.example.com\r\n", "");
        assert!(matches!(
            look(program.as_bytes(), &[]),
            Upgrade::Agreed { .. }
        ));
    }

    #[test]
    fn a_head_has_its_bounds() {
        for padding in [
            format!("X: {}\r\n", "x".repeat(HEAD_BYTES_MAX)),
            "X: x\r\n".repeat(HEADERS_MAX),
        ] {
            let large = GOOD.replace("Host", &format!("{padding}Host"));
            let Upgrade::Refused(answer) = look(large.as_bytes(), &origins()) else {
                panic!("agreed");
            };
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
        let endless = format!("GET /{}", "x".repeat(HEAD_BYTES_MAX));
        assert!(matches!(
            look(endless.as_bytes(), &origins()),
            Upgrade::Refused(_)
        ));
    }
}
