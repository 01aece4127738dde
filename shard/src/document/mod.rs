//! Wire documents: parse into what commands carry, compose from views.
//!
//! | content type | file |
//! | --- | --- |
//! | `application/pidf+xml` | `pidf.rs`, of enhanced presence `legacy.rs` |
//! | the same in the words of BluStar (the aa: namespace) | `blustar.rs` |
//! | `text/xml+msrtc.pidf` | `legacy.rs` |
//! | `application/msrtc-category-publish+xml` | `publish.rs` |
//! | `application/msrtc-event-categories+xml` | `categories.rs` |
//! | `application/vnd-microsoft-roaming-self+xml` | `roaming_self.rs` |
//! | `application/msrtc-adrl-categorylist+xml` | `batch_subscribe.rs` |
//! | `application/rlmi+xml` | of Microsoft `rlmi.rs`, of RFC 4662 `lists.rs` |
//! | `application/resource-lists+xml` | `lists.rs` |
//! | `application/msrtc-setcontainermembers+xml` | `containers.rs` |
//! | `application/msrtc-presence-setsubscriber+xml` | `subscribers.rs` |
//! | `application/msrtc-setDelegate+xml` | `delegates.rs` |
//! | `application/msrtc-fault+xml` | `fault.rs` |
//! | `application/simple-filter+xml` | `filter.rs` |
//! | `application/pidf-diff+xml` | written by `partial.rs`, read by `patch.rs` |
//! | `application/vnd-microsoft-roaming-contacts+xml`, contacts in `application/SOAP+xml` | `contacts.rs` |
//! | `application/vnd-microsoft-roaming-provisioning-v2+xml` | `provisioning.rs` |
//! | `application/dialog-info+xml` | `dialog_info.rs` |
//! | `application/reginfo+xml` | `reginfo.rs` |
//! | `application/simple-message-summary` | `message_summary.rs` |
//! | `application/auth-policy+xml` | `rules.rs`; what rules permit of a document `permitted.rs` |
//! | `application/watcherinfo+xml` | `watcherinfo.rs` |

pub mod batch_subscribe;
pub mod blustar;
pub mod categories;
pub mod contacts;
pub mod containers;
pub mod delegates;
pub mod dialog_info;
pub mod fault;
pub mod filter;
pub mod legacy;
pub mod lists;
pub mod message_summary;
pub mod partial;
pub mod patch;
mod path;
pub mod permitted;
pub mod pidf;
pub mod provisioning;
pub mod publish;
pub mod reginfo;
pub mod rlmi;
pub mod roaming_self;
mod rpid;
pub mod rules;
pub mod search;
mod stored;
pub mod subscribers;
pub mod watcherinfo;

use crate::presence::contacts::bare;
use crate::xml::Element;

/// Why a body is not a document of its type (400 with a Warning that says where).
pub type DocumentError = crate::xml::XmlError;

/// A document whose version is not known yet: what stands before it, and the rest. [`finish`] puts it between.
fn unfinished(begin: &str, end: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(begin.as_bytes());
    out.extend_from_slice(VERSION);
    out.extend_from_slice(end.as_bytes());
}

/// The attribute that a version is written into.
const VERSION: &[u8] = b" version=\"\"";

/// A document as one watcher is sent it: with its version, where it has one. A document is composed once for all
/// watchers, and each of them counts its own.
#[must_use]
pub fn finish(composed: &[u8], version: u32) -> Vec<u8> {
    let mut document = Vec::with_capacity(composed.len() + 10);
    let place = composed
        .windows(VERSION.len())
        .position(|text| text == VERSION);
    let at = place.map_or(0, |place| place + VERSION.len() - 1);
    document.extend_from_slice(&composed[..at]);
    if place.is_some() {
        document.extend_from_slice(version.to_string().as_bytes());
    }
    document.extend_from_slice(&composed[at..]);
    document
}

/// A number in an attribute that must be there.
fn number<T: std::str::FromStr>(element: Element<'_, '_>, name: &str) -> Option<T> {
    element.attribute(name)?.trim().parse().ok()
}

/// `true` or `false`, as XML schema writes them.
fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// The canonical form of an address that clients write with or without its scheme (contradiction C-21).
fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(number) = text.strip_prefix("tel:") {
        let mut out = String::new();
        crate::slot::write_tel(number.split(';').next()?, &mut out);
        return Some(out);
    }
    let address = bare(text).split([';', '?']).next()?;
    let (user, host) = address.rsplit_once('@')?;
    if user.is_empty() || host.is_empty() || address.contains(char::is_whitespace) {
        return None;
    }
    let mut out = String::new();
    crate::slot::write_sip(user, host, &mut out);
    Some(out)
}
