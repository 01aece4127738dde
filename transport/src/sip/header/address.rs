//! `"Alice" <sip:alice@example.com>;tag=…`: From, To, Contact, Route and their like.

use super::Params;
use crate::sip::ParseError;

/// A name-addr or addr-spec with its header parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, without its quotes (escapes are kept).
    pub display: &'a str,
    /// The URI as written, without angle brackets.
    pub uri: &'a str,
    /// What follows. Without angle brackets, parameters belong to the header (RFC 3261 §20).
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one element.
    ///
    /// # Errors
    /// 400 when no URI can be found in it.
    pub fn parse(text: &'a str) -> Result<NameAddr<'a>, ParseError> {
        let _ = text;
        todo!()
    }
}
