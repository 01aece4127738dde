//! Lists of resources: read as RFC 4826 and RFC 5367 have them, told as RFC 4662 has it.
//!
//! A notification of a list is composed in two steps. What all its watchers see is composed once
//! ([`compose`]): the resources and their documents. What each has for itself, the list's name and the
//! version of its notification, is put around it when it is sent ([`finish`]).

use std::fmt::Write as _;

use super::{DocumentError, pidf};
use crate::category::write_attribute;
use crate::subscription::view::{Seen, View};
use crate::xml::{Document, Element};

const RESOURCE_LISTS: &str = "urn:ietf:params:xml:ns:resource-lists";
const RLMI: &str = "urn:ietf:params:xml:ns:rlmi";

/// The Content-ID of the list itself.
const ROOT: &str = "list@lamplight";

/// Reads a list: the URIs of its entries, and of the lists inside it, in order, each once.
///
/// # Errors
/// [`DocumentError`] (400) for anything else, or an entry without a URI.
//= RFC 5367 4
//# the body of the SUBSCRIBE holds the URIs that make up the list
pub fn parse(body: &[u8]) -> Result<Vec<String>, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(RESOURCE_LISTS, "resource-lists") {
        return Err(document.error_at(root, "not a resource-lists document"));
    }
    let mut uris = Vec::new();
    gather(&document, root, &mut uris)?;
    if uris.is_empty() {
        return Err(document.error_at(root, "a list without entries"));
    }
    Ok(uris)
}

fn gather(
    document: &Document<'_>,
    list: Element<'_, '_>,
    uris: &mut Vec<String>,
) -> Result<(), DocumentError> {
    for child in list.children() {
        if child.is(RESOURCE_LISTS, "list") {
            // No deeper than any document may be nested.
            gather(document, child, uris)?;
        } else if child.is(RESOURCE_LISTS, "entry") {
            let uri = child.attribute("uri");
            let uri = uri.ok_or_else(|| document.error_at(child, "an entry without uri"))?;
            let uri = uri.trim();
            //= RFC 5367 4
            //# a URI that stands twice is one resource
            if !uris.iter().any(|known| known == uri) {
                uris.push(uri.to_owned());
            }
        }
    }
    Ok(())
}

/// Appends what all watchers of a list see of `view`: whether it is everything, the length of the resources'
/// XML, that XML, the parts of the multipart body between their boundary, which stands first.
pub fn compose(view: &View, out: &mut Vec<u8>) {
    let Seen::List { full, members } = &view.seen else {
        return;
    };
    let (mut resources, mut documents) = (Vec::new(), Vec::new());
    for (number, (uri, member)) in (1..).zip(members) {
        resources.extend_from_slice(b"<resource");
        write_attribute("uri", uri, &mut resources);
        resources.push(b'>');
        resources.extend_from_slice(b"<instance id=\"1\"");
        match &member.seen {
            //= RFC 4662 5.2
            //# a resource that cannot be had is terminated, and says why
            Seen::Unknown => {
                write_attribute("state", "terminated", &mut resources);
                write_attribute("reason", "noresource", &mut resources);
            }
            //= RFC 4662 5.2
            //# of one that is not known yet nothing is shown
            Seen::Nothing => write_attribute("state", "pending", &mut resources),
            //= RFC 4662 5.2
            //# an active one names the part that shows it
            _ => {
                write_attribute("state", "active", &mut resources);
                let cid = format!("{number}@lamplight");
                write_attribute("cid", &cid, &mut resources);
                let mut document = Vec::with_capacity(1_024);
                pidf::compose(member, &mut document);
                documents.push((cid, document));
            }
        }
        resources.extend_from_slice(b"/></resource>");
    }
    // A boundary that stands in no part.
    let mut boundary = String::from("lamplight-list");
    let mut number = 0;
    while documents
        .iter()
        .any(|(_, document)| holds(document, boundary.as_bytes()))
    {
        number += 1;
        boundary = format!("lamplight-list-{number}");
    }
    out.push(u8::from(*full));
    let length = u32::try_from(resources.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&resources);
    out.push(u8::try_from(boundary.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(boundary.as_bytes());
    for (cid, document) in documents {
        let head = format!(
            "--{boundary}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{cid}>\r\n\
             Content-Type: application/pidf+xml;charset=\"UTF-8\"\r\n\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&document);
        out.extend_from_slice(b"\r\n");
    }
}

fn holds(document: &[u8], text: &[u8]) -> bool {
    document.windows(text.len()).any(|window| window == text)
}

/// The body and the Content-Type of one notification, made of what [`compose`] wrote: of the list named
/// `uri`, with this `version`. Nothing for what is none.
//= RFC 4662 5.2
//# the version is 0 first and grows by one with each notification; fullState says whether all is shown
//= RFC 4662 5.3
//# multipart/related, the list first, its parts named by cid
#[must_use]
pub fn finish(composed: &[u8], uri: &str, version: u32) -> Option<(String, Vec<u8>)> {
    let (&full, rest) = composed.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (resources, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (&length, rest) = rest.split_first()?;
    let (boundary, parts) = rest.split_at_checked(usize::from(length))?;
    let boundary = std::str::from_utf8(boundary).ok()?;

    let mut body = Vec::with_capacity(composed.len() + 512);
    let mut head = String::new();
    let _ = write!(
        head,
        "--{boundary}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{ROOT}>\r\n\
         Content-Type: application/rlmi+xml;charset=\"UTF-8\"\r\n\r\n\
         <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<list"
    );
    body.extend_from_slice(head.as_bytes());
    write_attribute("xmlns", RLMI, &mut body);
    write_attribute("uri", uri, &mut body);
    write_attribute("version", &version.to_string(), &mut body);
    let full = if full == 1 { "true" } else { "false" };
    write_attribute("fullState", full, &mut body);
    body.push(b'>');
    body.extend_from_slice(resources);
    body.extend_from_slice(b"</list>\r\n");
    body.extend_from_slice(parts);
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    // The boundary is a token, and written as one: Linphone's library takes quotes for part of it.
    let content_type = format!(
        "multipart/related;type=\"application/rlmi+xml\";start=\"<{ROOT}>\";boundary={boundary}"
    );
    Some((content_type, body))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::slot::Aor;
    use crate::subscription::dialog::Package;
    use crate::time::Timestamp;

    //= RFC 5367 4
    //= type=test
    // proves: BLU-4.2-01 BLU-4.2-03
    #[test]
    fn a_list_is_its_entries() {
        let list = |inside: &str| {
            let text =
                format!("<resource-lists xmlns=\"{RESOURCE_LISTS}\">{inside}</resource-lists>");
            parse(text.as_bytes()).map_err(|error| error.to_string())
        };
        let entries = list(
            "<list><entry uri=\"sip:bill@example.com\"/><entry uri=\" tel:200;x=y \"><display-name>J</display-name></entry>\
             <list><entry uri=\"sip:ted@example.net\"/><entry uri=\"sip:bill@example.com\"/></list></list>",
        );
        assert_eq!(
            entries,
            Ok(vec![
                "sip:bill@example.com".to_owned(),
                "tel:200;x=y".to_owned(),
                "sip:ted@example.net".to_owned()
            ])
        );
        for (name, inside) in [
            ("nothing", ""),
            ("an empty list", "<list/>"),
            ("no uri", "<list><entry/></list>"),
        ] {
            assert!(list(inside).is_err(), "{name}");
        }
        assert!(parse(b"<resource-lists/>").is_err(), "of no namespace");
        assert!(parse(b"<resource-lists").is_err(), "cut");
    }

    fn member(user: &str, seen: Seen) -> (Box<str>, Arc<View>) {
        let presentity = Aor::sip(user, "example.com");
        let uri = presentity.to_string().into();
        let view = View {
            presentity,
            package: Package::Presence,
            revision: 1,
            taken_at: Timestamp(0),
            seen,
        };
        (uri, Arc::new(view))
    }

    //= RFC 4662 5.2
    //= type=test
    //= RFC 4662 5.3
    //= type=test
    #[test]
    fn a_list_is_told_with_its_parts() {
        let published = Seen::Publications(Default::default());
        let hostile = Seen::Rendered(b"<presence>--lamplight-list--</presence>"[..].into());
        let view = View {
            presentity: Aor::sip("w", "example.com"),
            package: Package::List,
            revision: 1,
            taken_at: Timestamp(0),
            seen: Seen::List {
                full: true,
                members: vec![
                    member("a", published),
                    member("b", Seen::Unknown),
                    member("c", hostile),
                    member("d", Seen::Nothing),
                ],
            },
        };
        let mut composed = Vec::new();
        compose(&view, &mut composed);
        let (content_type, body) = finish(&composed, "sip:\"l\"@example.com", 7).expect("a list");
        assert_eq!(
            content_type,
            "multipart/related;type=\"application/rlmi+xml\";start=\"<list@lamplight>\";boundary=lamplight-list-1"
        );
        let text = String::from_utf8(body).expect("text");
        let parts: Vec<&str> = text.split("--lamplight-list-1").collect();
        assert_eq!(
            parts.len(),
            5,
            "before, the list, two documents, the end: {text}"
        );
        assert!(
            parts[1].contains(
                "uri=\"sip:&quot;l&quot;@example.com\" version=\"7\" fullState=\"true\">\
                 <resource uri=\"sip:a@example.com\"><instance id=\"1\" state=\"active\" cid=\"1@lamplight\"/></resource>\
                 <resource uri=\"sip:b@example.com\"><instance id=\"1\" state=\"terminated\" reason=\"noresource\"/></resource>\
                 <resource uri=\"sip:c@example.com\"><instance id=\"1\" state=\"active\" cid=\"3@lamplight\"/></resource>\
                 <resource uri=\"sip:d@example.com\"><instance id=\"1\" state=\"pending\"/></resource></list>"
            ),
            "{}",
            parts[1]
        );
        assert!(
            parts[2].contains("Content-ID: <1@lamplight>") && parts[2].contains("entity=\"sip:a@")
        );
        assert!(parts[3].contains("Content-ID: <3@lamplight>"));
        assert_eq!(parts[4], "--\r\n");
        for length in 0..composed.len().min(200) {
            let _ = finish(&composed[..length], "sip:l", 0);
        }
    }
}
