//! Why a request changes nothing: facts of the protocol, without a status.

/// Why nothing was changed. The status is chosen once, in `node::dialect::refusal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// SIP-If-Match names no live publication of this presentity and package.
    NoMatch,
    /// No dialog with these identifiers.
    UnknownDialog,
    /// A CSeq that is not higher than the one before, within one dialog or registration.
    OutOfOrder,
    /// More publications than a presentity may have.
    TooManyPublications,
    /// More endpoints than an address may have.
    TooManyEndpoints,
    /// More watchers than a presentity may have.
    TooManyWatchers,
    /// The content is larger than a publication may be.
    ContentTooLarge,
}
