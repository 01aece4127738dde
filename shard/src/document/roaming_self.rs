//! `application/vnd-microsoft-roaming-self+xml` (MS-PRES 2.2.2.3): one's own data.

use super::{DocumentError, categories};
use crate::category::{CATEGORIES, write_attribute};
use crate::presence::container::Member;
use crate::presence::delegate::Delegates;
use crate::presence::subscriber::Subscribers;
use crate::subscription::view::{Own, Seen, View};
use crate::subscription::watch::Scope;
use crate::xml::Document;

/// The document's namespace.
const ROAMING_SELF: &str = "http://schemas.microsoft.com/2006/09/sip/roaming-self";
/// The namespace of what was added later.
const ROAMING_SELF_EX: &str = "http://schemas.microsoft.com/2007/09/sip/roaming-self-ex";
const CONTAINERS: &str = "http://schemas.microsoft.com/2006/09/sip/containers";
const SUBSCRIBERS: &str = "http://schemas.microsoft.com/2006/09/sip/presence-subscribers";
const DELEGATES: &str = "http://schemas.microsoft.com/2007/09/sip/delegates";

/// Reads what a self subscription is about.
///
/// # Errors
/// [`DocumentError`] (400).
//= MS-PRES 3.3.5.1
//# any combination of the four roaming types
pub fn parse(body: &[u8]) -> Result<Scope, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(ROAMING_SELF, "roamingList") {
        return Err(document.error_at(root, "not a roamingList document"));
    }
    let mut scope = Scope::default();
    for child in root.children() {
        let wanted = child.attribute("type");
        let wanted = wanted.as_deref().map(str::trim);
        let part = match (child.namespace(), child.local(), wanted) {
            (ROAMING_SELF, "roaming", Some("categories")) => Scope::CATEGORIES,
            (ROAMING_SELF, "roaming", Some("containers")) => Scope::CONTAINERS,
            (ROAMING_SELF, "roaming", Some("subscribers")) => Scope::SUBSCRIBERS,
            (ROAMING_SELF_EX, "roamingEx", Some("delegates")) => Scope::DELEGATES,
            (ROAMING_SELF, _, _) => return Err(document.error_at(child, "an unknown roaming type")),
            // What is added later still is not ours to refuse.
            _ => continue,
        };
        scope = scope.with(part);
    }
    if scope == Scope::default() {
        return Err(document.error_at(root, "no roaming type"));
    }
    Ok(scope)
}

/// Appends the document that shows one's own data.
//= MS-PRES 2.2.2.3.2
//# categories, containers, subscribers and delegates, in this order, as far as they are asked for
pub fn compose(view: &View, out: &mut Vec<u8>) {
    let Seen::Own(own) = &view.seen else { return };
    out.extend_from_slice(b"<roamingData");
    write_attribute("xmlns", ROAMING_SELF, out);
    write_attribute("xmlns:cat", CATEGORIES, out);
    write_attribute("xmlns:con", CONTAINERS, out);
    write_attribute("xmlns:sub", SUBSCRIBERS, out);
    write_attribute("xmlns:del", DELEGATES, out);
    out.push(b'>');
    categories::write_own(view, own, out);
    write_containers(own, out);
    if let Some(subscribers) = &own.subscribers {
        write_subscribers(subscribers, out);
    }
    if let Some(delegates) = &own.delegates {
        write_delegates(delegates, out);
    }
    out.extend_from_slice(b"</roamingData>");
}

fn open(name: &str, namespace: &str, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    write_attribute("xmlns", namespace, out);
}

//= MS-PRES 3.5.5.3
//# the container, its version, and its complete membership; nothing inside when nobody belongs to it
fn write_containers(own: &Own, out: &mut Vec<u8>) {
    let Some(containers) = &own.containers else {
        return;
    };
    open("containers", CONTAINERS, out);
    out.push(b'>');
    for (id, version, members) in containers {
        out.extend_from_slice(b"<container");
        write_attribute("id", &id.to_string(), out);
        write_attribute("version", &version.to_string(), out);
        if members.is_empty() {
            out.extend_from_slice(b"/>");
            continue;
        }
        out.push(b'>');
        for member in members {
            write_member(member, out);
        }
        out.extend_from_slice(b"</container>");
    }
    out.extend_from_slice(b"</containers>");
}

fn write_member(member: &Member, out: &mut Vec<u8>) {
    let (kind, value) = member.parts();
    out.extend_from_slice(b"<member");
    write_attribute("type", kind, out);
    if let Some(value) = value {
        write_attribute("value", value, out);
    }
    out.extend_from_slice(b"/>");
}

//= MS-PRES 3.6.5.2
//# all entries, not just what changed
fn write_subscribers(subscribers: &Subscribers, out: &mut Vec<u8>) {
    open("subscribers", SUBSCRIBERS, out);
    if subscribers.is_empty() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    for subscriber in subscribers.iter() {
        out.extend_from_slice(b"<subscriber");
        write_attribute("user", subscriber.address.as_str(), out);
        write_attribute("displayName", &subscriber.display_name, out);
        let acknowledged = if subscriber.acknowledged {
            "true"
        } else {
            "false"
        };
        write_attribute("acknowledged", acknowledged, out);
        write_attribute("type", subscriber.network.as_str(), out);
        //= MS-PRES 3.6.5.1
        //# the content of a context that has any is shown, otherwise no context
        if subscriber.context.is_empty() {
            out.extend_from_slice(b"/>");
        } else {
            out.extend_from_slice(b"><context>");
            out.extend_from_slice(&subscriber.context);
            out.extend_from_slice(b"</context></subscriber>");
        }
    }
    out.extend_from_slice(b"</subscribers>");
}

//= MS-PRES 3.9.5.3
//# the complete list and its version
fn write_delegates(delegates: &Delegates, out: &mut Vec<u8>) {
    open("delegates", DELEGATES, out);
    write_attribute("version", &delegates.version.to_string(), out);
    if delegates.iter().len() == 0 {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    for delegate in delegates.iter() {
        let flag = |set: bool| if set { "true" } else { "false" };
        out.extend_from_slice(b"<delegate");
        write_attribute("uri", &delegate.address, out);
        write_attribute("publish", flag(delegate.publish), out);
        write_attribute("redelegate", flag(delegate.redelegate), out);
        out.extend_from_slice(b"/>");
    }
    out.extend_from_slice(b"</delegates>");
}

/// The namespace that a context stands in.
pub(super) const CONTEXT_AMBIENT: &str = SUBSCRIBERS;

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 3.3.5.1
    //= type=test
    // proves: PRES-3.3.5.1-01 PRES-3.3.5.3-01 PRES-2.2.2.3.1-06 PRES-2.2.2.3.1-07
    #[test]
    fn any_combination_of_roaming_types_is_a_scope() {
        let parts = [
            "<roaming type=\"categories\"/>".to_owned(),
            "<roaming type=\"containers\"/>".to_owned(),
            "<roaming type=\"subscribers\"/>".to_owned(),
            format!("<roamingEx xmlns=\"{ROAMING_SELF_EX}\" type=\"delegates\"/>"),
        ];
        for wanted in 0..16u8 {
            let inside: String = (0..4)
                .filter(|bit| wanted >> bit & 1 == 1)
                .map(|bit| &*parts[bit])
                .collect();
            let text = format!("<roamingList xmlns=\"{ROAMING_SELF}\">{inside}</roamingList>");
            let read = parse(text.as_bytes());
            match wanted {
                0 => assert!(read.is_err()),
                _ => assert_eq!(read, Ok(Scope(wanted))),
            }
        }
        for bad in [
            format!(
                "<roamingList xmlns=\"{ROAMING_SELF}\"><roaming type=\"moods\"/></roamingList>"
            ),
            format!("<roamingList xmlns=\"{ROAMING_SELF}\"><roaming/></roamingList>"),
            "<roamingList><roaming type=\"categories\"/></roamingList>".to_owned(),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
