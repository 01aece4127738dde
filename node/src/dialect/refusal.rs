//! What a refusal is on the wire: the one table of statuses.

use shard::machine::outcome::Refusal;
use transport::sip::StatusCode;

use super::answer::Row;

const fn row(status: StatusCode, reason: &'static str) -> Row {
    Row { status, reason }
}

/// 200
pub const OK: Row = row(StatusCode::OK, "OK");
/// 400: SIP-If-Match holds one tag (RFC 3903 §6).
pub const MANY_TAGS: Row = row(StatusCode::BAD_REQUEST, "More Than One SIP-If-Match");
/// 400: a first PUBLISH has a body (RFC 3903 §6).
pub const NO_BODY: Row = row(StatusCode::BAD_REQUEST, "Neither Body Nor SIP-If-Match");
/// 400: the body is not a presence document.
pub const BAD_DOCUMENT: Row = row(StatusCode::BAD_REQUEST, "Malformed Presence Document");
/// 400: `Contact: *` goes alone and with Expires 0 (RFC 3261 §10.3).
pub const BAD_WILDCARD: Row = row(
    StatusCode::BAD_REQUEST,
    "Contact * Needs Expires 0 And No Other Contact",
);
/// 400: `expires` or `q` of a Contact cannot be read.
pub const BAD_CONTACT: Row = row(StatusCode::BAD_REQUEST, "Bad Contact Parameter");
/// 401
pub const UNAUTHORIZED: Row = row(StatusCode::UNAUTHORIZED, "Unauthorized");
/// 403: an authenticated user speaks for somebody else.
pub const NOT_YOURS: Row = row(StatusCode::FORBIDDEN, "Not Your Address");
/// 403: an address of another domain, where the operator wants it said.
pub const FOREIGN_FORBIDDEN: Row = row(StatusCode::FORBIDDEN, "Not A Domain Of This Pool");
/// 404: an address of another domain.
pub const FOREIGN_NOT_FOUND: Row = row(StatusCode::NOT_FOUND, "Not Found");
/// 405
pub const METHOD_NOT_ALLOWED: Row = row(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
/// 406: none of the documents we have is accepted.
pub const NOT_ACCEPTABLE: Row = row(StatusCode::NOT_ACCEPTABLE, "Not Acceptable");
/// 415
pub const UNSUPPORTED_TYPE: Row = row(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type");
/// 420
pub const BAD_EXTENSION: Row = row(StatusCode::BAD_EXTENSION, "Bad Extension");
/// 423
pub const TOO_BRIEF: Row = row(StatusCode::INTERVAL_TOO_BRIEF, "Interval Too Brief");
/// 412
pub const NO_MATCH: Row = row(
    StatusCode::CONDITIONAL_REQUEST_FAILED,
    "Conditional Request Failed",
);
/// 481
pub const NO_DIALOG: Row = row(StatusCode::NO_TRANSACTION, "Subscription Does Not Exist");
/// 483
pub const TOO_MANY_HOPS: Row = row(StatusCode::TOO_MANY_HOPS, "Too Many Hops");
/// 489
pub const BAD_EVENT: Row = row(StatusCode::BAD_EVENT, "Bad Event");
/// 500: a CSeq that goes back (RFC 3261 §12.2.2, §10.3).
pub const OUT_OF_ORDER: Row = row(StatusCode::SERVER_ERROR, "CSeq Out Of Order");
/// 501
pub const NOT_IMPLEMENTED: Row = row(StatusCode::NOT_IMPLEMENTED, "Not Implemented");
/// 413: more than one presentity may hold.
pub const TOO_MUCH: Row = row(StatusCode::ENTITY_TOO_LARGE, "Request Entity Too Large");
/// 413: publications of one presentity.
pub const TOO_MANY_PUBLICATIONS: Row = row(StatusCode::ENTITY_TOO_LARGE, "Too Many Publications");
/// 413: contacts of one address.
pub const TOO_MANY_ENDPOINTS: Row = row(StatusCode::ENTITY_TOO_LARGE, "Too Many Contacts");
/// 503: watchers of one presentity.
pub const TOO_MANY_WATCHERS: Row = row(StatusCode::UNAVAILABLE, "Too Many Watchers");
/// 503: too much to do, or nobody leads.
pub const UNAVAILABLE: Row = row(StatusCode::UNAVAILABLE, "Service Unavailable");

/// The row of what the machine refused. No wildcard: a new refusal needs its status to compile.
#[must_use]
pub fn of(refusal: Refusal) -> Row {
    match refusal {
        //= RFC 3903 6
        //# an entity-tag that matches nothing gets 412
        Refusal::NoMatch => NO_MATCH,
        //= RFC 3261 12.2.2
        //# a request for a dialog that does not exist gets 481
        Refusal::UnknownDialog => NO_DIALOG,
        //= RFC 3261 12.2.2
        //# a CSeq lower than the last gets 500
        Refusal::OutOfOrder => OUT_OF_ORDER,
        Refusal::TooManyPublications => TOO_MANY_PUBLICATIONS,
        Refusal::TooManyEndpoints => TOO_MANY_ENDPOINTS,
        Refusal::TooManyWatchers => TOO_MANY_WATCHERS,
        Refusal::ContentTooLarge => TOO_MUCH,
    }
}
