//! `application/pidf+xml;charset=utf-8`: Content-Type and the elements of Accept.

use super::Params;

/// A media type or media range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// Type and subtype as written, blanks removed at the ends.
    pub essence: &'a str,
    /// Parameters.
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// Reads one element.
    #[must_use]
    pub fn parse(text: &'a str) -> MediaType<'a> {
        let (essence, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        MediaType {
            essence: essence.trim(),
            params: Params(params),
        }
    }

    /// Whether it names `essence` (`type/subtype`), directly or by `type/*` or `*/*`; `q=0` excludes.
    //= RFC 3261 20.1
    //# Accept takes ranges, and q=0 means not at all
    #[must_use]
    pub fn accepts(self, essence: &str) -> bool {
        let refused = self.params.get("q").is_some_and(|q| {
            q.starts_with('0') && q[1..].bytes().all(|byte| matches!(byte, b'.' | b'0'))
        });
        let (kind, _) = essence.split_once('/').unwrap_or((essence, ""));
        let names = match self.essence.split_once('/') {
            Some(("*", "*")) => true,
            Some((mine, "*")) => mine.eq_ignore_ascii_case(kind),
            _ => self.essence.eq_ignore_ascii_case(essence),
        };
        names && !refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 3261 20.1
    //= type=test
    #[test]
    fn a_range_accepts_what_it_names() {
        for (range, accepted) in [
            ("application/pidf+xml", true),
            ("Application/PIDF+XML ; q=0.5", true),
            ("application/*", true),
            ("*/*", true),
            ("text/*", false),
            ("application/xpidf+xml", false),
            ("application/pidf+xml;q=0", false),
            ("application/pidf+xml;q=0.000", false),
            ("application/pidf+xml;q=0.001", true),
            ("", false),
        ] {
            assert_eq!(
                MediaType::parse(range).accepts("application/pidf+xml"),
                accepted,
                "{range}"
            );
        }
    }
}
