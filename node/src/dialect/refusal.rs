//! What a refusal is on the wire: the one table of statuses.

use shard::machine::outcome::Refusal;
use transport::sip::{Method, StatusCode};

use super::answer::Row;
use super::enhanced::diagnostics::{self, Diagnosis};

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
/// 400: a call of the JSON dialect that makes no sense.
pub const BAD_CALL: Row = row(StatusCode::BAD_REQUEST, "Malformed Call");
/// 400: the body is not a message summary (RFC 3842 §5.2).
pub const BAD_SUMMARY: Row = row(StatusCode::BAD_REQUEST, "Malformed Message Summary");
/// 400: `Contact: *` goes alone and with Expires 0 (RFC 3261 §10.3).
pub const BAD_WILDCARD: Row = row(
    StatusCode::BAD_REQUEST,
    "Contact * Needs Expires 0 And No Other Contact",
);
/// 400: `expires` or `q` of a Contact cannot be read.
pub const BAD_CONTACT: Row = row(StatusCode::BAD_REQUEST, "Bad Contact Parameter");
/// 400: a request that needs a body has none.
pub const BODY_MISSING: Row = row(StatusCode::BAD_REQUEST, "Body Missing");
/// 400: a body that calls no method of ours.
pub const NO_SUCH_METHOD: Row = row(StatusCode::BAD_REQUEST, "No Such Method");
/// 400: publications of somebody else than To (MS-PRES 3.2.5.4).
pub const OTHER_PUBLISHER: Row = row(StatusCode::BAD_REQUEST, "Publications Of Another Address");
/// 400: somebody else's own data (MS-PRES 3.3.5.3).
pub const NOT_YOUR_DATA: Row = row(StatusCode::BAD_REQUEST, "From And To Differ");
/// 400: a single subscription has one action (MS-PRES 3.4.5.3).
pub const MANY_ACTIONS: Row = row(StatusCode::BAD_REQUEST, "More Than One Action");
/// 400: a single subscription only subscribes (MS-PRES 3.4.5.3).
pub const SINGLE_UNSUBSCRIBE: Row = row(
    StatusCode::BAD_REQUEST,
    "A Single Subscription Cannot Unsubscribe",
);
/// 400: a single subscription has one resource (MS-PRES 3.4.5.3).
pub const MANY_RESOURCES: Row = row(
    StatusCode::BAD_REQUEST,
    "A Single Subscription Has One Resource",
);
/// 400: a single subscription is to the resource of To (MS-PRES 3.4.5.3).
pub const OTHER_RESOURCE: Row = row(StatusCode::BAD_REQUEST, "To Is Not The Resource");
/// 400: nobody is a delegate of itself (MS-PRES 3.9.5.4).
pub const OWN_DELEGATE: Row = row(StatusCode::BAD_REQUEST, "The Delegate Is The Delegator");
/// 400: neither epid nor instance (MS-SIPREGE 3.1.2.5.1).
pub const NO_ENDPOINT: Row = row(StatusCode::BAD_REQUEST, "Missing Endpoint Identifier");
/// 400: nobody of this address is in the list (MS-PRES 3.6.5.3).
pub const NO_SUBSCRIBER: Row = row(StatusCode::BAD_REQUEST, "No Such Subscriber");
/// 400: a search that is none (MS-PRES 3.1.5.4).
pub const BAD_SEARCH: Row = row(StatusCode::BAD_REQUEST, "Bad Request");
/// 403: who searches is no user (MS-PRES 3.1.5.4).
pub const SEARCH_FORBIDDEN: Row = row(StatusCode::FORBIDDEN, "Search Not Authorized");
/// 500: there is nothing to search (MS-PRES 3.1.5.4).
pub const SEARCH_FAILED: Row = row(StatusCode::SERVER_ERROR, "No Directory To Search");
/// 403: From and To differ.
pub const NOT_YOURSELF: Row = row(StatusCode::FORBIDDEN, "From And To Differ");
/// 403: somebody outside, where such may not watch or be watched (MS-PRES 3.4.5.3).
pub const NOT_AUTHORIZED: Row = row(StatusCode::FORBIDDEN, "Not Allowed With Other Domains");
/// 403: a category that only the server writes there (MS-PRES 3.2.5.4).
pub const READ_ONLY: Row = row(StatusCode::FORBIDDEN, "Read-Only Category");
/// 403: a category that nobody registered (MS-PRES 3.2.5.4).
pub const UNREGISTERED_CATEGORY: Row = row(StatusCode::FORBIDDEN, "Unregistered Category");
/// 403: an endpoint that is not registered, where it cannot be challenged (contradiction C-66).
pub const NOT_REGISTERED: Row = row(StatusCode::FORBIDDEN, "Endpoint Not Registered");
/// 403: nobody of this address is a delegate (MS-PRES 3.9.5.4).
pub const NO_DELEGATE: Row = row(StatusCode::FORBIDDEN, "No Such Delegate");
/// 403: the contacts are kept elsewhere (MS-PRES 3.10.4).
pub const CONTACTS_LOCKED: Row = row(StatusCode::FORBIDDEN, "Contacts Are Read-Only");
/// 404: no user of this deployment.
pub const NO_SUCH_USER: Row = row(StatusCode::NOT_FOUND, "User Does Not Exist");
/// 404: no contact or group of that name.
pub const NO_CONTACT: Row = row(StatusCode::NOT_FOUND, "No Such Contact Or Group");
/// 409: the contact list is not the one that the request speaks of.
pub const STALE_CONTACTS: Row = row(StatusCode::CONFLICT, "Contact List Out Of Date");
/// 409: a group of that name exists, or is in use.
pub const GROUP_CONFLICT: Row = row(StatusCode::CONFLICT, "Group Exists Or Is In Use");
/// 421: an enhanced client must know of GRUUs (MS-SIPREGE 3.1.2.5.1).
pub const GRUU_REQUIRED: Row = row(StatusCode::EXTENSION_REQUIRED, "Extension Required");
/// 488: an endpoint-bound publication of an endpoint that is not registered (MS-PRES 3.2.5.4).
pub const NOT_BOUND: Row = row(StatusCode::NOT_ACCEPTABLE_HERE, "Endpoint Not Registered");
/// 488: the contacts are at a mail server's (MS-PRES 4.14).
pub const CONTACTS_MIGRATED: Row = row(StatusCode::NOT_ACCEPTABLE_HERE, "Not Acceptable Here");
/// 401
pub const UNAUTHORIZED: Row = row(StatusCode::UNAUTHORIZED, "Unauthorized");
/// 403: an authenticated user speaks for somebody else.
pub const NOT_YOURS: Row = row(StatusCode::FORBIDDEN, "Not Your Address");
/// 403: nobody can be asked over datagrams for a scheme that only streams carry.
pub const NO_SCHEME: Row = row(StatusCode::FORBIDDEN, "Sign In Over TCP Or TLS");
/// 403: a request that came again as it was before it was challenged (contradiction C-66).
pub const NOT_SIGNED_IN: Row = row(StatusCode::FORBIDDEN, "Sign In First");
/// 403: an address of another domain, where the operator wants it said.
pub const FOREIGN_FORBIDDEN: Row = row(StatusCode::FORBIDDEN, "Not A Domain Of This Pool");
/// 404: an address of another domain.
pub const FOREIGN_NOT_FOUND: Row = row(StatusCode::NOT_FOUND, "Not Found");
/// 405
pub const METHOD_NOT_ALLOWED: Row = row(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
/// 406: none of the documents we have is accepted.
pub const NOT_ACCEPTABLE: Row = row(StatusCode::NOT_ACCEPTABLE, "Not Acceptable");
/// 421: a list is told as RFC 4662 has it, and the client does not say that it reads that.
pub const EVENTLIST_REQUIRED: Row = row(StatusCode::EXTENSION_REQUIRED, "Extension Required");
/// 400: a subscription to a list without one.
pub const NO_LIST: Row = row(StatusCode::BAD_REQUEST, "No List");
/// 400: BluStar's PUBLISH says how long it lives.
pub const EXPIRES_MANDATORY: Row = row(StatusCode::BAD_REQUEST, "Expires Is Mandatory");
/// 400: BluStar's PUBLISH says which client it is.
pub const CONTACT_MANDATORY: Row = row(StatusCode::BAD_REQUEST, "Contact Is Mandatory");
/// 400: a compressed body that cannot be unpacked.
pub const BAD_ENCODING: Row = row(StatusCode::BAD_REQUEST, "Malformed Content Encoding");
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

/// The row of what the machine refused to a request of this method. No wildcard: a new refusal needs its
/// status to compile.
#[must_use]
pub fn of(refusal: Refusal, method: &Method) -> Row {
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
        //= MS-PRES 3.2.5.4
        //# 488 for an endpoint-bound publication of an endpoint that is not registered
        Refusal::EndpointNotRegistered if *method == Method::Service => NOT_BOUND,
        //= MS-PRES 3.4.5.3
        //# 401 for a subscription of an endpoint that is not registered; 403 where nobody is challenged
        Refusal::EndpointNotRegistered => NOT_REGISTERED,
        //= MS-PRES 3.2.5.4
        //# 413 when a quota is exceeded
        Refusal::TooManyInstances
        | Refusal::CategoryTooLarge
        | Refusal::TooManyMembers
        | Refusal::TooManySubscribers
        | Refusal::ContextTooLarge
        | Refusal::TooManyDelegates
        | Refusal::TooManyContacts
        | Refusal::TooManyGroups
        | Refusal::ExtensionTooLarge
        | Refusal::TooManySubscriptions => TOO_MUCH,
        //= MS-PRES 3.6.5.3
        //# 400 for a subscriber who is not in the list
        Refusal::UnknownSubscriber => NO_SUBSCRIBER,
        //= MS-PRES 3.9.5.4
        //# 403 for the removal of a delegate who is not in the list
        Refusal::UnknownDelegate => NO_DELEGATE,
        Refusal::StaleContacts => STALE_CONTACTS,
        //= MS-PRES 3.10.4
        //# changes of a list that is being moved are rejected
        Refusal::ContactsLocked => CONTACTS_LOCKED,
        //= MS-PRES 4.14.3.1
        //# 488 for a client that knows the way to the mail server
        Refusal::ContactsMigrated => CONTACTS_MIGRATED,
        Refusal::UnknownContact | Refusal::UnknownGroup => NO_CONTACT,
        Refusal::DuplicateGroup | Refusal::GroupInUse => GROUP_CONFLICT,
    }
}

/// The diagnosis that enhanced clients are given with it.
#[must_use]
pub fn diagnosis(refusal: Refusal) -> Option<Diagnosis> {
    Some(match refusal {
        Refusal::UnknownSubscriber => diagnostics::NO_SUBSCRIBER,
        Refusal::CategoryTooLarge | Refusal::TooManyInstances => diagnostics::CATEGORY_SIZE,
        Refusal::TooManyMembers => diagnostics::MEMBER_LIMIT,
        Refusal::TooManySubscribers | Refusal::ContextTooLarge | Refusal::TooManyDelegates => {
            diagnostics::TOO_LARGE
        }
        Refusal::UnknownContact => diagnostics::NO_CONTACT,
        Refusal::ContactsMigrated => diagnostics::CONTACTS_MIGRATED,
        Refusal::UnknownGroup => diagnostics::NO_GROUP,
        Refusal::TooManyContacts => diagnostics::CONTACT_LIMIT,
        Refusal::TooManyGroups => diagnostics::GROUP_LIMIT,
        Refusal::ExtensionTooLarge => diagnostics::EXTENSION_SIZE,
        Refusal::DuplicateGroup => diagnostics::DUPLICATE_GROUP,
        Refusal::TooManySubscriptions => diagnostics::SUBSCRIPTION_LIMIT,
        Refusal::EndpointNotRegistered => diagnostics::NO_ENDPOINT,
        Refusal::StaleContacts
        | Refusal::ContactsLocked
        | Refusal::GroupInUse
        | Refusal::UnknownDelegate => diagnostics::DEFAULT,
        Refusal::UnknownDialog => diagnostics::NO_DIALOG,
        Refusal::NoMatch
        | Refusal::OutOfOrder
        | Refusal::TooManyPublications
        | Refusal::TooManyEndpoints
        | Refusal::TooManyWatchers
        | Refusal::ContentTooLarge => return None,
    })
}
