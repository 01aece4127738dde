//! `"Alice" <sip:alice@example.com>;tag=…`: From, To, Contact, Route and their like.

use memchr::memchr;

use super::Params;
use super::params::past_quotes;
use crate::sip::ParseError;

/// A name-addr or addr-spec with its header parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, without its quotes (escapes are kept).
    pub display: &'a str,
    /// The URI as written, without angle brackets.
    pub uri: &'a str,
    /// What follows.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one element.
    ///
    /// A quoted display name is skipped as a whole, so that what stands in it is never taken for the
    /// address: `"<sip:boss@a>" <sip:me@b>` is `sip:me@b`.
    ///
    /// # Errors
    /// 400 when no URI can be found in it.
    pub fn parse(text: &'a str) -> Result<NameAddr<'a>, ParseError> {
        const NO_ADDRESS: ParseError = ParseError::bad_request("No Address In Header");
        let text = text.trim_ascii();
        let bytes = text.as_bytes();
        let display_end = if bytes.first() == Some(&b'"') {
            past_quotes(bytes, 0)
        } else {
            0
        };
        let Some(open) = memchr(b'<', &bytes[display_end..]).map(|at| display_end + at) else {
            //= RFC 3261 20
            //# without angle brackets, parameters belong to the header, not to the URI
            let (uri, params) = text.split_at(memchr(b';', bytes).unwrap_or(bytes.len()));
            let uri = uri.trim_ascii_end();
            return if display_end == 0 && is_one_word(uri) {
                Ok(NameAddr {
                    display: "",
                    uri,
                    params: Params(params),
                })
            } else {
                Err(NO_ADDRESS)
            };
        };
        let close = memchr(b'>', &bytes[open..])
            .map(|at| open + at)
            .ok_or(NO_ADDRESS)?;
        let display = text[..open].trim_ascii();
        let display = match display.strip_prefix('"') {
            Some(inner) => inner.strip_suffix('"').ok_or(NO_ADDRESS)?,
            None => display,
        };
        let uri = text[open + 1..close].trim_ascii();
        let params = text[close + 1..].trim_ascii_start();
        if !is_one_word(uri) || !(params.is_empty() || params.starts_with(';')) {
            return Err(NO_ADDRESS);
        }
        Ok(NameAddr {
            display,
            uri,
            params: Params(params),
        })
    }
}

fn is_one_word(uri: &str) -> bool {
    !uri.is_empty()
        && !uri
            .bytes()
            .any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'<' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_never_taken_from_the_display_name() {
        for (text, display, uri, tag) in [
            ("<sip:a@b>;tag=1", "", "sip:a@b", Some("1")),
            ("sip:a@b;tag=1", "", "sip:a@b", Some("1")),
            ("sip:51234@10.0.0.27", "", "sip:51234@10.0.0.27", None),
            (
                "\"a<b\" <sip:a@contoso.com>",
                "a<b",
                "sip:a@contoso.com",
                None,
            ),
            (
                "\"<sip:boss@a>\\\" <sip:boss@a>\"<sip:me@b>;tag=x",
                "<sip:boss@a>\\\" <sip:boss@a>",
                "sip:me@b",
                Some("x"),
            ),
            ("Alice Liddell <sip:a@b>", "Alice Liddell", "sip:a@b", None),
            (
                "\"Grüße, 世界\" <sips:a@b;user=phone>;tag=2;epid=01",
                "Grüße, 世界",
                "sips:a@b;user=phone",
                Some("2"),
            ),
            (
                "<tel:+1-555;phone-context=x>",
                "",
                "tel:+1-555;phone-context=x",
                None,
            ),
            (
                "<sip:bob@contoso.com;opaque=user:epid:xyz;gruu>;tag=3",
                "",
                "sip:bob@contoso.com;opaque=user:epid:xyz;gruu",
                Some("3"),
            ),
        ] {
            let parsed = NameAddr::parse(text).expect(text);
            assert_eq!(
                (parsed.display, parsed.uri, parsed.params.get("tag")),
                (display, uri, tag),
                "{text}"
            );
        }
    }

    #[test]
    fn what_has_no_address_is_refused() {
        for text in [
            "",
            "<>",
            "<sip:a@b",
            "\"x\"",
            "\"x\" sip:a@b",
            "\"x <sip:a@b>",
            "Alice sip:a@b",
            "<sip:a b@c>",
            "<sip:a@b> tag=1",
        ] {
            assert!(NameAddr::parse(text).is_err(), "{text}");
        }
    }
}
