//! `application/pidf+xml`: RFC 3863 with the data model (RFC 4479), RPID (RFC 4480) and CIPID.
//!
//! [`parse`] turns a received body into its stored form; [`compose`] makes one document of all
//! publications of a view.

use crate::subscription::view::View;

/// Why a body is not a presence document (400 with a Warning that says where).
#[derive(Debug, thiserror::Error)]
#[error("{what} at line {line}, column {column}")]
pub struct DocumentError {
    /// What is wrong, for the Warning header.
    pub what: &'static str,
    /// Line of the body, from 1.
    pub line: u32,
    /// Column in that line, from 1, in bytes.
    pub column: u32,
}

/// Reads a published body into its stored form: the canonical, schema-valid elements that the
/// composer puts together. The bytes are opaque to everybody else and versioned by their first one.
///
/// # Errors
/// [`DocumentError`] for anything that is not a well-formed presence document within the limits.
pub fn parse(body: &[u8]) -> Result<Vec<u8>, DocumentError> {
    let _ = body;
    todo!()
}

/// Appends the document that shows `view` to `out`.
pub fn compose(view: &View, out: &mut Vec<u8>) {
    let _ = (view, out);
    todo!()
}
