//! `Event: presence;id=1` (RFC 6665 §8.2.1).

use super::Params;

/// An event package with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The package as written. Linphone's family writes `Presence`: compare without regard to case.
    pub package: &'a str,
    /// Parameters; `id` is part of a subscription's identity.
    pub params: Params<'a>,
}

impl<'a> Event<'a> {
    /// Reads the header's value.
    #[must_use]
    pub fn parse(text: &'a str) -> Event<'a> {
        let _ = text;
        todo!()
    }
}
