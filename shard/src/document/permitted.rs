//! What rules permit of published documents (RFC 5025 3.3): the elements of each, without those that a watcher
//! may not see.
//!
//! It works on stored forms, so that each format shows the same.

use std::sync::Arc;

use super::pidf::{self, AMBIENT, DATA_MODEL, PIDF};
use super::rpid::RPID;
use super::stored::{self, Item, Kind};
use crate::presence::publication::Content;
use crate::presence::rules::{ALL_ATTRIBUTES, ATTRIBUTES, Permissions, Selector, UserInput, Which};
use crate::subscription::view::{Seen, View};
use crate::xml::{Document, Element, escape};

/// The view that shows what is permitted; `None` where the view itself does.
#[must_use]
pub fn permitted(view: &View) -> Option<View> {
    let Seen::Permitted {
        contents,
        permissions,
    } = &view.seen
    else {
        return None;
    };
    let each = contents.iter().map(|content| {
        let stored = strip(&content.stored, permissions);
        let bearing = pidf::bearing(&stored);
        Arc::new(Content {
            stored: stored.into(),
            published_at: content.published_at,
            number: content.number,
            bearing: crate::presence::bearing::Bearing {
                forwards: content.bearing.forwards,
                ..bearing
            },
        })
    });
    Some(View {
        seen: Seen::Publications(each.collect()),
        ..view.clone()
    })
}

/// The stored form, with what is permitted.
fn strip(stored: &[u8], permissions: &Permissions) -> Vec<u8> {
    let mut out = stored::begin();
    for item in stored::items(stored) {
        let (which, begin) = match item.kind {
            Kind::Tuple => (&permissions.services, "<tuple id=\"x\">"),
            Kind::Person => (&permissions.persons, "<dm:person id=\"x\">"),
            Kind::Device => (&permissions.devices, "<dm:device id=\"x\">"),
            Kind::Note => {
                if permissions.has(bit("note")) {
                    keep(&item, &mut out);
                }
                continue;
            }
            // Elements of other namespaces, and the words of BluStar: known to no rule by name.
            _ => {
                if permissions.has(ALL_ATTRIBUTES) {
                    keep(&item, &mut out);
                }
                continue;
            }
        };
        let text = whole(begin, item.xml);
        // What was stored can be read; what cannot is not shown.
        let Ok(document) = Document::parse(&text) else {
            continue;
        };
        let Some(element) = document.root().children().next() else {
            continue;
        };
        if !chooses(which, &item, element) {
            continue;
        }
        stored::push(item.kind, item.id, item.key, &mut out, |out| {
            write(element, permissions, out);
            let end = match item.kind {
                Kind::Tuple => "</tuple>",
                Kind::Person => "</dm:person>",
                _ => "</dm:device>",
            };
            out.extend_from_slice(end.as_bytes());
        });
    }
    out
}

fn keep(item: &Item<'_>, out: &mut Vec<u8>) {
    stored::push(item.kind, item.id, item.key, out, |out| {
        out.extend_from_slice(item.xml.as_bytes());
    });
}

/// The element in a document of its own, with what a presence document declares.
fn whole(begin: &str, xml: &str) -> Vec<u8> {
    let mut text = b"<presence".to_vec();
    for (prefix, namespace) in AMBIENT {
        text.extend_from_slice(b" xmlns");
        if !prefix.is_empty() {
            text.push(b':');
            text.extend_from_slice(prefix.as_bytes());
        }
        text.extend_from_slice(format!("=\"{namespace}\"").as_bytes());
    }
    for part in [">", begin, xml, "</presence>"] {
        text.extend_from_slice(part.as_bytes());
    }
    text
}

/// Whether a tuple, a person or a device is shown at all.
//= RFC 5025 3.3.1
//# chosen by contact, scheme, id, class or deviceID, or all
fn chooses(which: &Which, item: &Item<'_>, element: Element<'_, '_>) -> bool {
    let selectors = match which {
        Which::All => return true,
        Which::Some(selectors) => selectors,
    };
    let text_of = |namespace: &str, local: &str| {
        let child = element.children().find(|child| child.is(namespace, local));
        child.map(|child| child.text().into_owned())
    };
    let contact = text_of(PIDF, "contact").unwrap_or_default();
    let class = text_of(RPID, "class");
    let device = text_of(DATA_MODEL, "deviceID");
    selectors.iter().any(|selector| match selector {
        Selector::Uri(uri) => **uri == *contact,
        Selector::Scheme(scheme) => {
            let own = contact.split_once(':').map(|(own, _)| own);
            own.is_some_and(|own| own.eq_ignore_ascii_case(scheme))
        }
        Selector::Occurrence(id) => **id == *item.id,
        Selector::Class(wanted) => class.as_deref() == Some(&**wanted),
        Selector::DeviceId(wanted) => device.as_deref() == Some(&**wanted),
    })
}

fn bit(name: &str) -> u32 {
    let known = ATTRIBUTES.iter().find(|(known, _)| *known == name);
    known.map_or(ALL_ATTRIBUTES, |(_, bit)| *bit)
}

/// Appends the children that are permitted.
//= RFC 5025 3.3.2
//# each attribute is shown by its own permission; status, contact and timestamp come with the element
fn write(element: Element<'_, '_>, permissions: &Permissions, out: &mut Vec<u8>) {
    for child in element.children() {
        let (namespace, local) = (child.namespace(), child.local());
        let unknown = || {
            let named = |(ns, name): &(Box<str>, Box<str>)| **ns == *namespace && **name == *local;
            permissions.has(ALL_ATTRIBUTES) || permissions.unknown.iter().any(named)
        };
        let shown = match (namespace, local) {
            (PIDF, "status") => {
                write_status(child, permissions, out);
                continue;
            }
            (PIDF, "contact" | "timestamp") | (DATA_MODEL, "timestamp") => true,
            (PIDF | DATA_MODEL, "note") => permissions.has(bit("note")),
            (DATA_MODEL, "deviceID") => {
                element.local() == "device" || permissions.has(bit("deviceID"))
            }
            (RPID, "user-input") => {
                write_user_input(child, permissions, out);
                continue;
            }
            (RPID, name) if ATTRIBUTES.iter().any(|(known, _)| *known == name) => {
                permissions.has(bit(name))
            }
            _ => unknown(),
        };
        if shown {
            child.write_standalone(&AMBIENT, out);
        }
    }
}

/// The status: whether open or closed, and what else is permitted.
fn write_status(status: Element<'_, '_>, permissions: &Permissions, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<status>");
    for child in status.children() {
        if child.is(PIDF, "basic") {
            child.write_standalone(&AMBIENT, out);
        }
    }
    let others = status.children().filter(|child| !child.is(PIDF, "basic"));
    for child in others {
        let named = |(ns, name): &(Box<str>, Box<str>)| {
            **ns == *child.namespace() && **name == *child.local()
        };
        if permissions.has(ALL_ATTRIBUTES) || permissions.unknown.iter().any(named) {
            child.write_standalone(&AMBIENT, out);
        }
    }
    out.extend_from_slice(b"</status>");
}

//= RFC 5025 3.3.2.14
//# bare says active or idle, thresholds adds after how long, full adds since when
fn write_user_input(element: Element<'_, '_>, permissions: &Permissions, out: &mut Vec<u8>) {
    let extent = if permissions.has(ALL_ATTRIBUTES) {
        UserInput::Full
    } else {
        permissions.user_input
    };
    if extent == UserInput::Nothing {
        return;
    }
    out.extend_from_slice(b"<rpid:user-input");
    let shown = [
        ("idle-threshold", UserInput::Thresholds),
        ("last-input", UserInput::Full),
    ];
    for (name, least) in shown {
        if let Some(value) = element.attribute(name).filter(|_| extent >= least) {
            crate::category::write_attribute(name, &value, out);
        }
    }
    out.push(b'>');
    escape(&element.text(), out);
    out.extend_from_slice(b"</rpid:user-input>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::bearing::Bearing;
    use crate::slot::Aor;
    use crate::subscription::dialog::Package;
    use crate::time::Timestamp;

    const BODY: &str = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
        xmlns:r=\"urn:ietf:params:xml:ns:pidf:rpid\" xmlns:c=\"urn:ietf:params:xml:ns:pidf:cipid\" entity=\"sip:alice@example.com\">\
        <tuple id=\"phone\"><status><basic>open</basic><x:in xmlns:x=\"urn:x\">1</x:in></status><dm:deviceID>urn:d</dm:deviceID><r:class>work</r:class>\
        <contact>sip:alice@192.0.2.1</contact><note>desk</note></tuple>\
        <tuple id=\"mail\"><status><basic>closed</basic></status><contact>mailto:alice@example.com</contact></tuple>\
        <note>out</note><dm:person id=\"p\"><r:activities><r:meeting/></r:activities><c:homepage>http://a</c:homepage><r:mood><r:happy/></r:mood>\
        <r:user-input idle-threshold=\"60\" last-input=\"2026-11-21T10:00:00Z\">idle</r:user-input></dm:person>\
        <dm:device id=\"d\"><dm:deviceID>urn:d</dm:deviceID></dm:device></presence>";

    fn shown(permissions: Permissions) -> String {
        let stored = pidf::parse(BODY.as_bytes()).expect("a document");
        let content = Arc::new(Content {
            stored: stored.into(),
            published_at: Timestamp(1),
            number: 1,
            bearing: Bearing::default(),
        });
        let view = View {
            seen: Seen::Permitted {
                contents: [content].into_iter().collect(),
                permissions: Arc::new(permissions),
            },
            ..View::of_nothing(
                Aor::sip("alice", "example.com"),
                Package::Presence,
                Timestamp(2),
            )
        };
        let mut out = Vec::new();
        pidf::compose(&permitted(&view).expect("limited"), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    //= RFC 5025 3.3
    //= type=test
    //= RFC 5025 3.3.1
    //= type=test
    //= RFC 5025 3.3.2
    //= type=test
    //= RFC 5025 3.3.2.14
    //= type=test
    #[test]
    fn each_permission_shows_its_own_and_nothing_else() {
        let some = |selector: Selector| Which::Some(vec![selector]);
        let services = |which: Which| Permissions {
            services: which,
            ..Permissions::default()
        };
        let person = |attributes: u32, user_input: UserInput| Permissions {
            persons: Which::All,
            attributes,
            user_input,
            ..Permissions::default()
        };
        for (name, permissions, there, away) in [
            (
                "nothing",
                Permissions::default(),
                vec![],
                vec!["phone", "mail", "meeting", "out", "urn:d", "homepage"],
            ),
            (
                "services",
                services(Which::All),
                vec![
                    "id=\"phone\"",
                    "id=\"mail\"",
                    "sip:alice@192.0.2.1",
                    "<basic>open",
                ],
                vec!["desk", "out", "urn:d", "work", "urn:x"],
            ),
            (
                "a scheme",
                services(some(Selector::Scheme("mailto".into()))),
                vec!["id=\"mail\""],
                vec!["id=\"phone\""],
            ),
            (
                "a class",
                services(some(Selector::Class("work".into()))),
                vec!["id=\"phone\""],
                vec!["id=\"mail\"", "work"],
            ),
            (
                "an id",
                services(some(Selector::Occurrence("phone".into()))),
                vec!["id=\"phone\""],
                vec!["id=\"mail\""],
            ),
            (
                "activities",
                person(1, UserInput::Nothing),
                vec!["meeting"],
                vec!["happy", "idle", "homepage", "phone"],
            ),
            (
                "mood, barely idle",
                person(8, UserInput::Bare),
                vec!["happy", ">idle<"],
                vec!["meeting", "threshold", "last-input"],
            ),
            (
                "thresholds",
                person(0, UserInput::Thresholds),
                vec!["idle-threshold=\"60\""],
                vec!["last-input"],
            ),
            (
                "all",
                Permissions {
                    devices: Which::All,
                    services: Which::All,
                    ..person(ALL_ATTRIBUTES, UserInput::Nothing)
                },
                vec![
                    "desk",
                    "out",
                    "urn:d",
                    "work",
                    "urn:x",
                    "meeting",
                    "happy",
                    "last-input",
                    "homepage",
                    "<dm:device",
                ],
                vec![],
            ),
            (
                "a device",
                Permissions {
                    devices: some(Selector::DeviceId("urn:d".into())),
                    ..Permissions::default()
                },
                vec!["<dm:device", "urn:d"],
                vec!["phone"],
            ),
            (
                "an unknown one",
                Permissions {
                    unknown: vec![(
                        "urn:ietf:params:xml:ns:pidf:cipid".into(),
                        "homepage".into(),
                    )],
                    ..person(0, UserInput::Nothing)
                },
                vec!["homepage"],
                vec!["meeting"],
            ),
        ] {
            let document = shown(permissions);
            for text in there {
                assert!(document.contains(text), "{name}: no {text} in {document}");
            }
            for text in away {
                assert!(!document.contains(text), "{name}: {text} in {document}");
            }
            let count = document.matches("<basic>").count();
            assert!(count <= 2, "{name}: {document}");
            assert!(
                Document::parse(document.as_bytes()).is_ok(),
                "{name}: {document}"
            );
        }
    }
}
