//! `sip:`, `sips:`, `tel:` and `pres:` URIs as borrowed parts; GRUU parameters kept whole.

use std::borrow::Cow;

use super::ParseError;
use super::header::Params;

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
        let _ = text;
        todo!()
    }

    /// The user part with its escapes resolved.
    #[must_use]
    pub fn user_unescaped(&self) -> Cow<'a, str> {
        todo!()
    }

    /// Whether it is a GRUU of Microsoft's kind or of RFC 5627 (`gr` or `gruu` parameter).
    #[must_use]
    pub fn is_gruu(&self) -> bool {
        todo!()
    }
}
