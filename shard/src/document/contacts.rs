//! Roaming contacts: `application/vnd-microsoft-roaming-contacts+xml`, and their changes in
//! `application/SOAP+xml` (MS-SIP 2.2.4, 9).

use super::{DocumentError, truth};
use crate::category::write_attribute;
use crate::presence::contacts::{
    Contact, ContactChange, Custody, Delta, Done, EXTERNAL_URI_BYTES_MAX, Group, List,
    NAME_BYTES_MAX, URI_BYTES_MAX, bare,
};
use crate::subscription::view::{Seen, View};
use crate::xml::{Document, Element};

/// The namespace of the methods.
pub const METHODS: &str = "http://schemas.microsoft.com/winrtc/2002/11/sip";

/// How a list is kept, in the eyes of a client that knows of mail servers (MS-PRES 4.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UcsMode {
    /// Such a client did not ask.
    Unsaid,
    /// It stays here.
    Disabled,
    /// It may be moved.
    Allowed,
    /// It is being moved.
    Migrating,
    /// It was moved.
    Migrated,
}

impl UcsMode {
    /// The mode of a list, to a client that `asked`, where moving is `permitted`.
    #[must_use]
    //= MS-PRES 4.14.1
    //# allowed where the administrator lets the list be moved, disabled where not
    pub fn of(custody: Custody, asked: bool, permitted: bool) -> UcsMode {
        match custody {
            _ if !asked => UcsMode::Unsaid,
            Custody::Elsewhere | Custody::Returning => UcsMode::Migrated,
            Custody::Migrating => UcsMode::Migrating,
            Custody::Here | Custody::Queued if permitted => UcsMode::Allowed,
            Custody::Here | Custody::Queued | Custody::Kept => UcsMode::Disabled,
        }
    }

    fn as_str(self) -> Option<&'static str> {
        match self {
            UcsMode::Unsaid => None,
            UcsMode::Disabled => Some("disabled"),
            UcsMode::Allowed => Some("allowed"),
            UcsMode::Migrating => Some("migrating"),
            UcsMode::Migrated => Some("migrated"),
        }
    }
}

/// Appends the document that shows a list, or a step of it, where moving lists is `permitted` or not.
pub fn compose(view: &View, permitted: bool, out: &mut Vec<u8>) {
    match &view.seen {
        Seen::Contacts { list, ucs } => {
            write_list(list, UcsMode::of(list.custody, *ucs, permitted), out);
        }
        Seen::ContactStep {
            delta,
            custody,
            ucs,
        } => write_delta(delta, UcsMode::of(*custody, *ucs, permitted), out),
        _ => {}
    }
}

//= MS-SIP 3.7
//# groups first, then contacts; addresses without their scheme
fn write_list(list: &List, mode: UcsMode, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<contactList");
    write_attribute("deltaNum", &list.delta_num.to_string(), out);
    if let Some(mode) = mode.as_str() {
        write_attribute("ucsMode", mode, out);
    }
    out.push(b'>');
    for group in &list.groups {
        write_group("group", group, out);
    }
    for contact in &list.contacts {
        write_contact("contact", "", contact, out);
    }
    out.extend_from_slice(b"</contactList>");
}

//= MS-SIP 9.1
//# a delta holds exactly one change; here addresses have their scheme, as clients expect
fn write_delta(delta: &Delta, mode: UcsMode, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<contactDelta");
    write_attribute("deltaNum", &delta.to.to_string(), out);
    write_attribute("prevDeltaNum", &delta.from.to_string(), out);
    //= MS-PRES 10
    //# a step says the mode as a list does
    if let Some(mode) = mode.as_str() {
        write_attribute("ucsMode", mode, out);
    }
    out.push(b'>');
    match &delta.done {
        Done::AddedContact(contact) => write_contact("addedContact", "sip:", contact, out),
        Done::ModifiedContact(contact) => write_contact("modifiedContact", "sip:", contact, out),
        Done::DeletedContact(uri) => {
            out.extend_from_slice(b"<deletedContact");
            write_attribute("uri", &schemed("sip:", uri), out);
            out.extend_from_slice(b"/>");
        }
        Done::AddedGroup(group) => write_group("addedGroup", group, out),
        Done::ModifiedGroup(group) => write_group("modifiedGroup", group, out),
        Done::DeletedGroup(id) => {
            out.extend_from_slice(b"<deletedGroup");
            write_attribute("id", &id.to_string(), out);
            out.extend_from_slice(b"/>");
        }
    }
    out.extend_from_slice(b"</contactDelta>");
}

fn schemed(scheme: &str, uri: &str) -> String {
    if uri.starts_with("tel:") {
        uri.to_owned()
    } else {
        format!("{scheme}{uri}")
    }
}

fn write_group(name: &str, group: &Group, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    write_attribute("id", &group.id.to_string(), out);
    write_attribute("name", &group.name, out);
    write_attribute("externalURI", &group.external_uri, out);
    out.extend_from_slice(b"/>");
}

fn write_contact(name: &str, scheme: &str, contact: &Contact, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    write_attribute("uri", &schemed(scheme, &contact.uri), out);
    write_attribute("name", &contact.name, out);
    let groups: Vec<String> = contact.groups.iter().map(u8::to_string).collect();
    write_attribute("groups", &groups.join(" "), out);
    write_attribute(
        "subscribed",
        if contact.subscribed { "true" } else { "false" },
        out,
    );
    write_attribute("externalURI", &contact.external_uri, out);
    if contact.extension.is_empty() {
        out.extend_from_slice(b"/>");
    } else {
        out.push(b'>');
        out.extend_from_slice(contact.extension.as_bytes());
        out.extend_from_slice(b"</");
        out.extend_from_slice(name.as_bytes());
        out.push(b'>');
    }
}

/// Appends the answer to addGroup: the number that the group got.
pub fn compose_group_id(id: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<SOAP-ENV:Envelope");
    write_attribute(
        "xmlns:SOAP-ENV",
        "http://schemas.xmlsoap.org/soap/envelope/",
        out,
    );
    write_attribute("xmlns:m", METHODS, out);
    let body = format!(
        "><SOAP-ENV:Body><m:addGroup><m:groupID>{id}</m:groupID></m:addGroup></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    );
    out.extend_from_slice(body.as_bytes());
}

/// The method that a SOAP body calls, by its local name; `None` when it calls none of ours.
#[must_use]
pub fn method(body: &[u8]) -> Option<String> {
    let document = Document::parse(body).ok()?;
    Some(call(&document)?.local().to_owned())
}

fn call<'d, 'a>(document: &'d Document<'a>) -> Option<Element<'d, 'a>> {
    let envelope = document.root();
    let body = envelope.children().find(|child| child.local() == "Body")?;
    body.children().find(|child| child.namespace() == METHODS)
}

/// A change of a list, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeContacts {
    /// The number that the client knows.
    pub delta_num: u32,
    /// What to do.
    pub change: ContactChange,
}

/// Reads a change of the contact list.
///
/// # Errors
/// [`DocumentError`] (400).
pub fn parse(body: &[u8]) -> Result<ChangeContacts, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    let call = call(&document).ok_or_else(|| document.error_at(root, "no method of ours"))?;
    read(call).map_err(|what| document.error_at(call, what))
}

fn read(call: Element<'_, '_>) -> Result<ChangeContacts, &'static str> {
    let part = |name: &str| {
        call.children()
            .find(|child| child.local().eq_ignore_ascii_case(name))
    };
    let text = |name: &str, max: usize| -> Result<Box<str>, &'static str> {
        let text: Box<str> = part(name).map_or("".into(), |part| part.text().as_ref().into());
        if text.len() > max {
            Err("a text that is too long")
        } else {
            Ok(text)
        }
    };
    let delta_num = part("deltaNum").map(|part| part.text());
    let delta_num = delta_num
        .and_then(|text| text.parse().ok())
        .ok_or("deltaNum is no number")?;
    let group_id = || -> Result<u8, &'static str> {
        let id = part("groupID").ok_or("no groupID")?.text();
        id.parse().map_err(|_| "groupID is no number")
    };
    let uri = || -> Result<Box<str>, &'static str> {
        let uri = text("URI", URI_BYTES_MAX + 4)?;
        let uri = bare(&uri);
        if uri.is_empty() {
            Err("no URI")
        } else {
            Ok(uri.into())
        }
    };
    let name = |field: &str| text(field, NAME_BYTES_MAX);
    let external = || text("externalURI", EXTERNAL_URI_BYTES_MAX);
    let change = match call.local() {
        "setContact" => ContactChange::SetContact(Contact {
            uri: uri()?,
            name: name("displayName")?,
            groups: groups(&text("groups", 1_024)?)?,
            subscribed: match part("subscribed") {
                Some(part) => truth(&part.text()).ok_or("subscribed is neither true nor false")?,
                None => true,
            },
            external_uri: external()?,
            extension: part("contactExtension").map_or("".into(), |part| {
                let mut out = Vec::new();
                // Written anew without the method's prefix: in a list it stands in no namespace.
                out.extend_from_slice(b"<contactExtension>");
                let begin = out.len();
                for child in part.children() {
                    child.write_standalone(&[], &mut out);
                }
                if out.len() == begin {
                    crate::xml::escape(&part.text(), &mut out);
                }
                let empty = out.len() == begin;
                out.extend_from_slice(b"</contactExtension>");
                if empty {
                    String::new()
                } else {
                    String::from_utf8(out).unwrap_or_default()
                }
                .into()
            }),
        }),
        "deleteContact" => ContactChange::DeleteContact(uri()?),
        "addGroup" => ContactChange::AddGroup {
            name: name("name")?,
            external_uri: external()?,
        },
        "modifyGroup" => ContactChange::ModifyGroup(Group {
            id: group_id()?,
            name: name("name")?,
            external_uri: external()?,
        }),
        "deleteGroup" => ContactChange::DeleteGroup(group_id()?),
        _ => return Err("a method that changes no contact"),
    };
    Ok(ChangeContacts { delta_num, change })
}

fn groups(text: &str) -> Result<Box<[u8]>, &'static str> {
    let ids = text.split_ascii_whitespace().map(str::parse::<u8>);
    ids.collect::<Result<_, _>>()
        .map_err(|_| "groups are no numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soap(call: &str) -> String {
        format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:m=\"{METHODS}\"><s:Body>{call}</s:Body></s:Envelope>"
        )
    }

    #[test]
    fn changes_are_read_from_their_methods() {
        let bob = Contact {
            uri: "bob@contoso.com".into(),
            name: "Bob".into(),
            groups: [1, 2].into(),
            subscribed: true,
            external_uri: "".into(),
            extension: "".into(),
        };
        for (name, call, expected) in [
            (
                "set",
                "<m:setContact><m:displayName>Bob</m:displayName><m:groups>1 2 </m:groups><m:subscribed>true</m:subscribed>\
                 <m:URI>sip:bob@contoso.com</m:URI><m:externalURI/><m:deltaNum>16</m:deltaNum></m:setContact>",
                Ok(ContactChange::SetContact(bob)),
            ),
            (
                "delete",
                "<m:deleteContact><m:URI>sip:bob@x</m:URI><m:deltaNum>16</m:deltaNum></m:deleteContact>",
                Ok(ContactChange::DeleteContact("bob@x".into())),
            ),
            (
                "add",
                "<m:addGroup><m:name>A &amp; B</m:name><m:deltaNum>16</m:deltaNum></m:addGroup>",
                Ok(ContactChange::AddGroup {
                    name: "A & B".into(),
                    external_uri: "".into(),
                }),
            ),
            (
                "remove",
                "<m:deleteGroup><m:groupID>2</m:groupID><m:deltaNum>16</m:deltaNum></m:deleteGroup>",
                Ok(ContactChange::DeleteGroup(2)),
            ),
            (
                "no number",
                "<m:deleteGroup><m:groupID>2</m:groupID></m:deleteGroup>",
                Err(()),
            ),
            (
                "no group",
                "<m:deleteGroup><m:deltaNum>16</m:deltaNum></m:deleteGroup>",
                Err(()),
            ),
            (
                "no address",
                "<m:deleteContact><m:deltaNum>16</m:deltaNum></m:deleteContact>",
                Err(()),
            ),
            (
                "another method",
                "<m:setPresence><m:deltaNum>16</m:deltaNum></m:setPresence>",
                Err(()),
            ),
            ("no method", "", Err(())),
        ] {
            let read = parse(soap(call).as_bytes()).map_err(drop);
            assert_eq!(
                read,
                expected.map(|change| ChangeContacts {
                    delta_num: 16,
                    change
                }),
                "{name}"
            );
        }
    }

    #[test]
    fn lists_have_bare_addresses_and_steps_have_schemes() {
        let contact = Contact {
            uri: "bob@x".into(),
            name: "B \"b\"".into(),
            groups: [1, 2].into(),
            subscribed: true,
            external_uri: "".into(),
            extension: "<contactExtension><a/></contactExtension>".into(),
        };
        let mut out = Vec::new();
        write_contact("contact", "", &contact, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<contact uri=\"bob@x\" name=\"B &quot;b&quot;\" groups=\"1 2\" subscribed=\"true\" externalURI=\"\">\
             <contactExtension><a/></contactExtension></contact>"
        );
        out.clear();
        write_delta(
            &Delta {
                from: 3,
                to: 4,
                done: Done::DeletedContact("bob@x".into()),
            },
            UcsMode::Unsaid,
            &mut out,
        );
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<contactDelta deltaNum=\"4\" prevDeltaNum=\"3\"><deletedContact uri=\"sip:bob@x\"/></contactDelta>"
        );
    }

    //= MS-PRES 10
    //= type=test
    //= MS-PRES 4.14.1
    //= type=test
    #[test]
    fn a_mode_is_said_to_who_asked() {
        use Custody::{Elsewhere, Here, Kept, Migrating, Queued, Returning};
        for (custody, permitted, expected) in [
            (Here, false, "disabled"),
            (Here, true, "allowed"),
            (Queued, true, "allowed"),
            (Queued, false, "disabled"),
            (Kept, true, "disabled"),
            (Migrating, true, "migrating"),
            (Elsewhere, true, "migrated"),
            (Elsewhere, false, "migrated"),
            (Returning, true, "migrated"),
        ] {
            let delta = Delta {
                from: 3,
                to: 4,
                done: Done::DeletedGroup(2),
            };
            for (asked, said) in [(true, Some(expected)), (false, None)] {
                let mode = UcsMode::of(custody, asked, permitted);
                assert_eq!(mode.as_str(), said, "{custody:?}");
                let mut out = Vec::new();
                write_delta(&delta, mode, &mut out);
                let said = said.map(|said| format!(" ucsMode=\"{said}\""));
                assert_eq!(
                    String::from_utf8_lossy(&out),
                    format!(
                        "<contactDelta deltaNum=\"4\" prevDeltaNum=\"3\"{}><deletedGroup id=\"2\"/></contactDelta>",
                        said.unwrap_or_default()
                    )
                );
            }
        }
    }
}
