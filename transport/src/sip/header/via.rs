//! `Via: SIP/2.0/UDP host:port;branch=z9hG4bK…;rport`

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
    /// Reads one element.
    ///
    /// # Errors
    /// 400 when it is not a Via.
    pub fn parse(text: &'a str) -> Result<Via<'a>, ParseError> {
        let _ = text;
        todo!()
    }
}
