//! `;name=value` parameters, in order, as written; and comma lists.

use memchr::{memchr, memchr3};

/// The parameters behind a value, with or without the first semicolon: `;tag=abc;lr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(pub &'a str);

impl<'a> Params<'a> {
    /// The value of a parameter (name in any letter case), without its quotes; empty for a flag.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Name and value of each, in order; values without their quotes.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        Pieces {
            rest: Some(self.0),
            separator: b';',
        }
        .filter(|piece| !piece.is_empty())
        .map(|piece| match memchr(b'=', piece.as_bytes()) {
            Some(at) => (
                piece[..at].trim_ascii_end(),
                unquoted(piece[at + 1..].trim_ascii_start()),
            ),
            None => (piece, ""),
        })
    }
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(value)
}

/// The elements of a comma list, trimmed, empty ones left out. Commas in quotes and in angle brackets
/// do not separate.
pub fn elements(list: &str) -> impl Iterator<Item = &str> {
    Pieces {
        rest: Some(list),
        separator: b',',
    }
    .filter(|piece| !piece.is_empty())
}

/// Pieces between separators that stand outside of quotes and angle brackets.
struct Pieces<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(found) = memchr3(self.separator, b'"', b'<', &bytes[at..]) {
            at += found;
            match bytes[at] {
                b'"' => at = past_quotes(bytes, at),
                b'<' => at = memchr(b'>', &bytes[at..]).map_or(bytes.len(), |end| at + end + 1),
                _ => {
                    self.rest = Some(&text[at + 1..]);
                    return Some(text[..at].trim_ascii());
                }
            }
        }
        self.rest = None;
        Some(text.trim_ascii())
    }
}

/// The place behind the quoted string that begins at `at`; the end when it never closes.
pub(super) fn past_quotes(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_whatever_their_quotes_hold() {
        let params = Params(
            ";tag=abc;+sip.instance=\"<urn:uuid:1;2>\"; lr ;Q = 0.5;odd=\"a\\\"b;c\";epid=01",
        );
        for (name, value) in [
            ("tag", Some("abc")),
            ("+sip.instance", Some("<urn:uuid:1;2>")),
            ("LR", Some("")),
            ("q", Some("0.5")),
            ("odd", Some("a\\\"b;c")),
            ("epid", Some("01")),
            ("urn", None),
        ] {
            assert_eq!(params.get(name), value, "{name}");
        }
        assert_eq!(params.iter().count(), 6);
    }

    #[test]
    fn a_list_is_cut_at_its_own_commas_only() {
        for (list, expected) in [
            ("a, b ,c", vec!["a", "b", "c"]),
            (
                "\"x,y\" <sip:a,b@c>, <sip:d>;p=\"1,2\"",
                vec!["\"x,y\" <sip:a,b@c>", "<sip:d>;p=\"1,2\""],
            ),
            ("", vec![]),
            (",,a,", vec!["a"]),
            ("\"never closed, a", vec!["\"never closed, a"]),
            ("<never closed, a", vec!["<never closed, a"]),
        ] {
            assert_eq!(elements(list).collect::<Vec<_>>(), expected, "{list}");
        }
    }
}
