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
        let _ = text;
        todo!()
    }

    /// Whether it names `essence` (lower case, `type/subtype`), directly or by `type/*` or `*/*`;
    /// `q=0` excludes.
    #[must_use]
    pub fn accepts(self, essence: &str) -> bool {
        let _ = essence;
        todo!()
    }
}
