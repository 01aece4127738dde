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

pub mod batch_subscribe;
pub mod blustar;
pub mod categories;
pub mod contacts;
pub mod containers;
pub mod delegates;
pub mod fault;
pub mod filter;
pub mod legacy;
pub mod lists;
pub mod partial;
pub mod patch;
mod path;
pub mod pidf;
pub mod provisioning;
pub mod publish;
pub mod rlmi;
pub mod roaming_self;
mod rpid;
pub mod search;
mod stored;
pub mod subscribers;

use crate::presence::contacts::bare;
use crate::xml::Element;

/// Why a body is not a document of its type (400 with a Warning that says where).
pub type DocumentError = crate::xml::XmlError;

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
