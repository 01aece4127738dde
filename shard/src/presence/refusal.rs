//! Why a request changes nothing.

/// Why nothing was changed. The status is chosen once, in `node::dialect::refusal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// SIP-If-Match names no live publication of this presentity and package.
    NoMatch = 1,
    /// No dialog with these identifiers.
    UnknownDialog = 2,
    /// A CSeq that is not higher than the one before, within one dialog or registration.
    OutOfOrder = 3,
    /// More publications than a presentity may have.
    TooManyPublications = 4,
    /// More endpoints than an address may have.
    TooManyEndpoints = 5,
    /// More watchers than a presentity may have.
    TooManyWatchers = 6,
    /// The content is larger than a publication may be.
    ContentTooLarge = 7,
}

impl Refusal {
    /// The refusal with this number in a snapshot.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Refusal> {
        [
            Refusal::NoMatch,
            Refusal::UnknownDialog,
            Refusal::OutOfOrder,
            Refusal::TooManyPublications,
            Refusal::TooManyEndpoints,
            Refusal::TooManyWatchers,
            Refusal::ContentTooLarge,
        ]
        .into_iter()
        .find(|refusal| *refusal as u8 == number)
    }
}
