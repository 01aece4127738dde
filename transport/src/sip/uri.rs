//! `sip:`, `sips:`, `tel:` and `pres:` URIs as borrowed parts; GRUU parameters kept whole.

use std::borrow::Cow;

use super::ParseError;
use super::header::Params;

/// URI parameters of the longest URI we read.
const PARAMS_MAX: usize = 64;

/// The scheme, which decides what the rest means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `pres:` (RFC 3859)
    Pres,
    /// `tel:` (RFC 3966); the number is the user, the host is empty
    Tel,
}

/// A URI, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// Which kind.
    pub scheme: Scheme,
    /// User part as written, without password; empty when there is none.
    pub user: &'a str,
    /// Host as written, with brackets for IPv6; empty for `tel:`.
    pub host: &'a str,
    /// Port.
    pub port: Option<u16>,
    /// URI parameters (`transport`, `opaque`, `gruu`, `lr` …).
    pub params: Params<'a>,
    /// What follows `?`.
    pub headers: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a URI.
    ///
    /// # Errors
    /// 416 for a scheme we do not serve, 400 for what is not a URI.
    pub fn parse(text: &'a str) -> Result<Uri<'a>, ParseError> {
        const BAD: ParseError = ParseError::bad_request("Bad URI");
        let (scheme, rest) = text.split_once(':').ok_or(BAD)?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("sip") => Scheme::Sip,
            _ if scheme.eq_ignore_ascii_case("sips") => Scheme::Sips,
            _ if scheme.eq_ignore_ascii_case("pres") => Scheme::Pres,
            _ if scheme.eq_ignore_ascii_case("tel") => Scheme::Tel,
            //= RFC 3261 8.2.2.1
            //# a Request-URI of a scheme that we do not understand gets 416
            _ if is_scheme(scheme) => return Err(ParseError::unsupported_scheme()),
            _ => return Err(BAD),
        };
        let uri = if scheme == Scheme::Tel {
            telephone(rest)
        } else {
            sip(scheme, rest)
        };
        uri.filter(|uri| {
            legible(uri) && uri.params.iter().take(PARAMS_MAX + 1).count() <= PARAMS_MAX
        })
        .ok_or(BAD)
    }

    /// The user part with its escapes resolved.
    #[must_use]
    pub fn user_unescaped(&self) -> Cow<'a, str> {
        if !self.user.contains('%') {
            return Cow::Borrowed(self.user);
        }
        let bytes = self.user.as_bytes();
        let mut plain = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            match escape_at(bytes, at) {
                Some(byte) => {
                    plain.push(byte);
                    at += 3;
                }
                None => {
                    plain.push(bytes[at]);
                    at += 1;
                }
            }
        }
        // Escapes that are no UTF-8 stay escaped, so that two different users never become one.
        String::from_utf8(plain).map_or(Cow::Borrowed(self.user), Cow::Owned)
    }

    /// Whether it is a GRUU, of RFC 5627 (`gr`) or of Microsoft's kind (`gruu`).
    #[must_use]
    pub fn is_gruu(&self) -> bool {
        self.params.get("gr").is_some() || self.params.get("gruu").is_some()
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn telephone(rest: &str) -> Option<Uri<'_>> {
    let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    (!number.is_empty()).then_some(Uri {
        scheme: Scheme::Tel,
        user: number,
        host: "",
        port: None,
        params: Params(params),
        headers: "",
    })
}

/// The user part may hold `?`, `;` and `/` (RFC 3261 §25.1), but never an `@`: so the first one ends it.
fn sip(scheme: Scheme, rest: &str) -> Option<Uri<'_>> {
    let (user, rest) = match rest.split_once('@') {
        Some((userinfo, rest)) => {
            let user = userinfo
                .split_once(':')
                .map_or(userinfo, |(user, _password)| user);
            if user.is_empty() {
                return None;
            }
            (user, rest)
        }
        None => ("", rest),
    };
    let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
    let (host_port, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    let host_end = if host_port.starts_with('[') {
        host_port.find(']')? + 1
    } else {
        host_port.find(':').unwrap_or(host_port.len())
    };
    let (host, port) = host_port.split_at(host_end);
    let port = match port {
        "" => None,
        port => Some(port.strip_prefix(':')?.parse().ok()?),
    };
    let is_host = match host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
    {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    is_host.then_some(Uri {
        scheme,
        user,
        host,
        port,
        params: Params(params),
        headers,
    })
}

/// No white space, quotes or brackets anywhere, and every escape whole.
fn legible(uri: &Uri<'_>) -> bool {
    let plain = |byte: u8| byte > b' ' && byte != 0x7f && !b"<>\"".contains(&byte);
    let user = uri.user.as_bytes();
    let whole = (0..user.len()).all(|at| user[at] != b'%' || escape_at(user, at).is_some());
    whole
        && user.iter().copied().all(plain)
        && uri.params.0.bytes().all(|byte| plain(byte) || byte == b'"')
        && uri.headers.bytes().all(plain)
}

fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    if bytes[at] != b'%' {
        return None;
    }
    Some((digit(at + 1)? * 16 + digit(at + 2)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::StatusCode;

    #[test]
    fn a_uri_falls_into_its_parts() {
        for (text, scheme, user, host, port) in [
            (
                "sip:alice@example.com",
                Scheme::Sip,
                "alice",
                "example.com",
                None,
            ),
            (
                "SIPS:a:secret@h:5061;transport=tcp?x=y",
                Scheme::Sips,
                "a",
                "h",
                Some(5061),
            ),
            ("sip:example.com", Scheme::Sip, "", "example.com", None),
            (
                "sip:john.doe@sfb.example",
                Scheme::Sip,
                "john.doe",
                "sfb.example",
                None,
            ),
            (
                "pres:51234@10.0.0.27",
                Scheme::Pres,
                "51234",
                "10.0.0.27",
                None,
            ),
            ("tel:200", Scheme::Tel, "200", "", None),
            (
                "tel:+1-555-1234;phone-context=x",
                Scheme::Tel,
                "+1-555-1234",
                "",
                None,
            ),
            (
                "sip:bob@[2001:db8::1]:5060",
                Scheme::Sip,
                "bob",
                "[2001:db8::1]",
                Some(5060),
            ),
            ("sip:a?b;c/d@h;lr", Scheme::Sip, "a?b;c/d", "h", None),
            (
                "sip:bob@contoso.com;opaque=user:epid:xyz;gruu",
                Scheme::Sip,
                "bob",
                "contoso.com",
                None,
            ),
        ] {
            let uri = Uri::parse(text).expect(text);
            assert_eq!(
                (uri.scheme, uri.user, uri.host, uri.port),
                (scheme, user, host, port),
                "{text}"
            );
        }
    }

    #[test]
    fn a_gruu_is_kept_whole() {
        let uri =
            Uri::parse("sip:pool@contoso.com;gruu;opaque=srvr:HomeServer:s07").expect("a GRUU");
        assert!(uri.is_gruu());
        assert_eq!(uri.params.get("opaque"), Some("srvr:HomeServer:s07"));
        assert!(!Uri::parse("sip:a@b;gruuu").expect("a URI").is_gruu());
    }

    #[test]
    fn escapes_mean_their_characters() {
        for (text, user) in [
            ("sip:%61lice@h", "alice"),
            ("sip:a%40b@h", "a@b"),
            ("sip:null-%00@h", "null-\0"),
            ("sip:gr%C3%BCn@h", "grün"),
            ("sip:no-utf8-%FF@h", "no-utf8-%FF"),
        ] {
            assert_eq!(
                Uri::parse(text).expect(text).user_unescaped(),
                user,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_uri_of_ours_is_refused() {
        for (text, status) in [
            ("http://example.com", StatusCode::UNSUPPORTED_URI_SCHEME),
            (
                "nobodyKnowsThisScheme:totallyopaquecontent",
                StatusCode::UNSUPPORTED_URI_SCHEME,
            ),
            ("", StatusCode::BAD_REQUEST),
            ("alice", StatusCode::BAD_REQUEST),
            ("sip:", StatusCode::BAD_REQUEST),
            ("sip:@h", StatusCode::BAD_REQUEST),
            ("sip:a@", StatusCode::BAD_REQUEST),
            ("sip:a@h:port", StatusCode::BAD_REQUEST),
            ("sip:a@[::1", StatusCode::BAD_REQUEST),
            ("sip:a@[nonsense]", StatusCode::BAD_REQUEST),
            ("sip:a%zz@h", StatusCode::BAD_REQUEST),
            ("sip:a b@h", StatusCode::BAD_REQUEST),
            ("sip:a@h\u{e9}", StatusCode::BAD_REQUEST),
            ("tel:", StatusCode::BAD_REQUEST),
            ("<sip:a@h>", StatusCode::BAD_REQUEST),
        ] {
            assert_eq!(Uri::parse(text).expect_err(text).status, status, "{text}");
        }
    }
}
