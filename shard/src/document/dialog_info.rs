//! `application/dialog-info+xml` (RFC 4235): the calls of a user, as publishers write them and lamps read them.
//!
//! [`parse`] turns a published body into an update ([`crate::presence::call`]); [`compose`] makes one document of
//! all publications of a view. What is kept is what somebody does something with: names, tags, direction, state,
//! duration, both parties with their targets. Session descriptions, route sets, Referred-By and what other
//! namespaces add are read over.
//!
//! # Composing
//!
//! Every call of every live publication, the oldest publication first; calls that ended are left out, since a full
//! document says so by not naming them. A call that several publications tell of stands once. An id that stands
//! already gets its publication's number behind it.
//!
//! How much is said is one of two [`Detail`]s. Who is spoken to, and what it takes to break into a call or to pick
//! it up, is the user's own unless the operator says otherwise.

use super::DocumentError;
use crate::category::{write_attribute, write_text};
use crate::presence::call::{CALLS_MAX, Call, CallState, Calls, Direction, Party, Scope};
use crate::subscription::view::{Seen, View};
use crate::xml::{Document, Element, escape};

/// The document's namespace.
const DIALOG_INFO: &str = "urn:ietf:params:xml:ns:dialog-info";

/// Bytes of one name: an id, a Call-ID, a tag, a display name.
const NAME_MAX: usize = 256;

/// Bytes of one URI.
const URI_MAX: usize = 512;

/// Parameters of one target.
const PARAMS_MAX: usize = 8;

/// How much of a call is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Everything that was published.
    Full,
    /// What a lamp needs: that there is a call, how far it is, who called whom, on which of the user's lines.
    Lamp,
}

/// Reads a published body into an update.
///
/// # Errors
/// [`DocumentError`] where the body is no such document, a dialog has no id or a state that there is not, or there
/// are more than [`CALLS_MAX`].
//= RFC 4235 4.1
//# dialog-info with its dialogs, each with an id and a state
pub fn parse(body: &[u8]) -> Result<Vec<u8>, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(DIALOG_INFO, "dialog-info") {
        return Err(document.error_at(root, "not a dialog-info document"));
    }
    let partial = root
        .attribute("state")
        .is_some_and(|state| state.trim().eq_ignore_ascii_case("partial"));
    let mut texts = Vec::new();
    for dialog in root
        .children()
        .filter(|child| child.is(DIALOG_INFO, "dialog"))
    {
        if texts.len() >= CALLS_MAX {
            return Err(document.error_at(dialog, "too many dialogs"));
        }
        let read = Read::of(dialog).map_err(|what| document.error_at(dialog, what))?;
        texts.push(read);
    }
    let number = texts.iter().find_map(|read| {
        let uris = [&read.local.identity, &read.local.target];
        uris.into_iter().find_map(|uri| number_of(uri))
    });
    let calls = Calls {
        scope: if partial { Scope::Partial } else { Scope::Full },
        line: number.unwrap_or_default(),
        each: texts.iter().map(Read::call).collect(),
    };
    Ok(calls.write())
}

/// A dialog as it was read: its texts are its own, because a reference in them was resolved.
#[derive(Debug)]
struct Read {
    names: [String; 4],
    direction: Option<Direction>,
    state: CallState,
    age: u64,
    local: ReadParty,
    remote: ReadParty,
}

#[derive(Debug, Default)]
struct ReadParty {
    display: String,
    identity: String,
    target: String,
    params: Vec<(String, String)>,
}

impl Read {
    fn of(dialog: Element<'_, '_>) -> Result<Read, &'static str> {
        let name = |name: &str| name_of(dialog.attribute(name).as_deref());
        let id = dialog.attribute("id").unwrap_or_default();
        if id.trim().is_empty() || id.len() > NAME_MAX {
            return Err("a dialog without an id, or with one that is too long");
        }
        let child = |name: &'static str| {
            let mut children = dialog.children();
            children.find(|child| child.is(DIALOG_INFO, name))
        };
        let state = child("state").ok_or("a dialog without a state")?;
        let state = CallState::parse(&state.text()).ok_or("a state that RFC 4235 does not have")?;
        let direction = dialog.attribute("direction");
        let direction = [Direction::Initiator, Direction::Recipient]
            .into_iter()
            .find(|known| {
                let told = direction.as_deref().map(str::trim);
                told.is_some_and(|told| told.eq_ignore_ascii_case(known.as_str()))
            });
        let seconds = child("duration").and_then(|age| age.text().trim().parse::<u32>().ok());
        Ok(Read {
            names: [
                clean(&id),
                name("call-id"),
                name("local-tag"),
                name("remote-tag"),
            ],
            direction,
            state,
            age: seconds.map_or(0, |seconds| u64::from(seconds) + 1),
            local: child("local").map_or_else(ReadParty::default, ReadParty::of),
            remote: child("remote").map_or_else(ReadParty::default, ReadParty::of),
        })
    }

    fn call(&self) -> Call<'_> {
        let [id, call_id, local_tag, remote_tag] = &self.names;
        Call {
            id,
            call_id,
            local_tag,
            remote_tag,
            direction: self.direction,
            state: self.state,
            clock: self.age,
            local: self.local.party(),
            remote: self.remote.party(),
        }
    }
}

impl ReadParty {
    fn of(party: Element<'_, '_>) -> ReadParty {
        let child = |name: &'static str| {
            let mut children = party.children();
            children.find(|child| child.is(DIALOG_INFO, name))
        };
        let (identity, target) = (child("identity"), child("target"));
        let display = identity.and_then(|identity| identity.attribute("display"));
        let params = target.into_iter().flat_map(Element::children);
        let params = params
            .filter(|param| param.is(DIALOG_INFO, "param"))
            .filter_map(|param| {
                let [name, value] =
                    ["pname", "pval"].map(|of| name_of(param.attribute(of).as_deref()));
                (!name.is_empty()).then_some((name, value))
            });
        ReadParty {
            display: short(&clean(&display.unwrap_or_default())).to_owned(),
            identity: identity.map_or_else(String::new, |identity| uri_of(&identity.text())),
            target: target.map_or_else(String::new, |target| {
                uri_of(&target.attribute("uri").unwrap_or_default())
            }),
            params: params.take(PARAMS_MAX).collect(),
        }
    }

    fn party(&self) -> Party<'_> {
        let params = self.params.iter();
        Party {
            display: &self.display,
            identity: &self.identity,
            target: &self.target,
            params: params.map(|(name, value)| (&**name, &**value)).collect(),
        }
    }
}

/// A text without what cannot be seen.
fn clean(text: &str) -> String {
    let seen = text.trim().chars().filter(|c| !c.is_control());
    seen.collect()
}

/// As much of a text as a display may have.
fn short(text: &str) -> &str {
    let mut end = text.len().min(NAME_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A name as it was written; one that is too long is none, because a part of it names something else.
fn name_of(text: Option<&str>) -> String {
    let name = clean(text.unwrap_or_default());
    if name.len() > NAME_MAX {
        return String::new();
    }
    name
}

/// A URI; what cannot be one is none.
fn uri_of(text: &str) -> String {
    let text = text.trim();
    let unseen = |c: char| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c);
    if text.len() > URI_MAX || text.contains(unseen) || !text.contains(':') {
        return String::new();
    }
    text.to_owned()
}

/// The telephone number that a URI names, if it does.
fn number_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let user = match scheme.eq_ignore_ascii_case("tel") {
        true => rest,
        false => rest.split_once('@')?.0,
    };
    let user = user.split([';', ':']).next()?;
    let digits = user.strip_prefix('+').unwrap_or(user);
    let number = !digits.is_empty()
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'*' || b == b'#');
    number.then_some(user)
}

/// Appends the document that shows `view`, to be finished ([`super::finish`]) with its version.
//= RFC 4235 3.9
//# the dialogs of all publishers, each with one state
//= RFC 4235 4.1
//# version, state and entity; full state names every dialog that there is
pub fn compose(view: &View, detail: Detail, out: &mut Vec<u8>) {
    let contents = match &view.seen {
        Seen::Publications(contents) => &contents[..],
        _ => &[],
    };
    let begin = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\"";
    super::unfinished(begin, " state=\"full\"", out);
    write_attribute("entity", &view.presentity.to_string(), out);
    out.push(b'>');
    let rows: Vec<(u32, Calls<'_>)> = contents
        .iter()
        .filter_map(|content| Some((content.number, Calls::read(&content.stored)?)))
        .filter(|(_, calls)| calls.scope == Scope::Kept)
        .collect();
    let mut shown: Vec<(u32, &Call<'_>)> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    let living = rows
        .iter()
        .flat_map(|(number, calls)| calls.each.iter().map(|call| (*number, call)));
    for (number, call) in living.filter(|(_, call)| call.lives()) {
        let known = |(of, known): &(u32, &Call<'_>)| *of != number && known.is_across(call);
        if shown.len() >= CALLS_MAX || shown.iter().any(known) {
            continue;
        }
        shown.push((number, call));
        let mut id = match detail {
            Detail::Full => call.id.to_owned(),
            Detail::Lamp => lamp_id(number, call.id),
        };
        if ids.contains(&id) {
            id = format!("{id}-{number}");
        }
        while ids.contains(&id) {
            id.push('x');
        }
        write_call(call, &id, detail, view.taken_at.0, out);
        ids.push(id);
    }
    out.extend_from_slice(b"</dialog-info>\n");
}

/// A name for a call that says nothing of it: publishers like to take the Call-ID for it.
fn lamp_id(number: u32, id: &str) -> String {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(id.as_bytes(), number.into());
    format!("d{hash:016x}")
}

//= RFC 4235 6
//# who is no more than a lamp is not told who speaks to whom, nor what it takes to take part
fn write_call(call: &Call<'_>, id: &str, detail: Detail, now_ms: u64, out: &mut Vec<u8>) {
    let full = detail == Detail::Full;
    out.extend_from_slice(b"<dialog");
    write_attribute("id", id, out);
    for (name, value) in [
        ("call-id", call.call_id),
        ("local-tag", call.local_tag),
        ("remote-tag", call.remote_tag),
    ] {
        if full && !value.is_empty() {
            write_attribute(name, value, out);
        }
    }
    if let Some(direction) = call.direction {
        write_attribute("direction", direction.as_str(), out);
    }
    out.push(b'>');
    write_text("state", call.state.as_str(), out);
    if full && call.clock > 0 {
        let seconds = now_ms.saturating_sub(call.clock) / 1_000;
        write_text("duration", &seconds.to_string(), out);
    }
    write_party("local", &call.local, out);
    if full {
        write_party("remote", &call.remote, out);
    }
    out.extend_from_slice(b"</dialog>");
}

fn write_party(name: &str, party: &Party<'_>, out: &mut Vec<u8>) {
    if party.identity.is_empty() && party.target.is_empty() {
        return;
    }
    let tag = |begin: &str, out: &mut Vec<u8>| {
        for part in [begin, name, ">"] {
            out.extend_from_slice(part.as_bytes());
        }
    };
    tag("<", out);
    if !party.identity.is_empty() {
        out.extend_from_slice(b"<identity");
        if !party.display.is_empty() {
            write_attribute("display", party.display, out);
        }
        out.push(b'>');
        escape(party.identity, out);
        out.extend_from_slice(b"</identity>");
    }
    if !party.target.is_empty() {
        out.extend_from_slice(b"<target");
        write_attribute("uri", party.target, out);
        out.push(b'>');
        for (name, value) in &party.params {
            out.extend_from_slice(b"<param");
            write_attribute("pname", name, out);
            write_attribute("pval", value, out);
            out.extend_from_slice(b"/>");
        }
        out.extend_from_slice(b"</target>");
    }
    tag("</", out);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::presence::bearing::Bearing;
    use crate::presence::call;
    use crate::presence::publication::Content;
    use crate::slot::Aor;
    use crate::subscription::dialog::Package;
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// What Kamailio writes of a call that comes in, with its capital letter.
    const RINGING: &str = "<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
        version=\"00000000000\" state=\"full\" entity=\"sip:200@example.com\"><dialog id=\"call-1\" call-id=\"call-1\" \
        local-tag=\"lt\" remote-tag=\"rt\" direction=\"recipient\"><state>Early</state><remote>\
        <identity display=\"Bob &lt;b&gt;\">sip:bob@example.com</identity><target uri=\"sip:bob@192.0.2.1\"/></remote>\
        <local><identity>sip:200@example.com</identity><target uri=\"sip:200@192.0.2.7\">\
        <param pname=\"+sip.rendering\" pval=\"yes\"/></target></local></dialog></dialog-info>";

    fn kept(body: &str) -> Vec<u8> {
        let update = parse(body.as_bytes()).expect("a document");
        call::follow(&update, None, std::iter::empty(), "200@example.com", NOW).expect("kept")
    }

    fn document(publications: &[(u32, Vec<u8>)], detail: Detail) -> String {
        let contents = publications.iter().map(|(number, stored)| {
            Arc::new(Content {
                stored: stored.as_slice().into(),
                published_at: NOW,
                number: *number,
                bearing: Bearing::default(),
            })
        });
        let view = View {
            presentity: Aor::sip("200", "example.com"),
            package: Package::Dialog,
            revision: 1,
            taken_at: NOW,
            seen: Seen::Publications(contents.collect()),
        };
        let mut out = Vec::new();
        compose(&view, detail, &mut out);
        String::from_utf8(super::super::finish(&out, 7)).expect("text")
    }

    //= RFC 4235 4.1
    //= type=test
    //= RFC 4235 6
    //= type=test
    #[test]
    fn a_call_is_shown_whole_or_as_a_lamp() {
        let published = [(3, kept(RINGING))];
        assert_eq!(
            document(&published, Detail::Full),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
             version=\"7\" state=\"full\" entity=\"sip:200@example.com\"><dialog id=\"call-1\" call-id=\"call-1\" \
             local-tag=\"lt\" remote-tag=\"rt\" direction=\"recipient\"><state>early</state><local>\
             <identity>sip:200@example.com</identity><target uri=\"sip:200@192.0.2.7\">\
             <param pname=\"+sip.rendering\" pval=\"yes\"/></target></local><remote>\
             <identity display=\"Bob &lt;b&gt;\">sip:bob@example.com</identity>\
             <target uri=\"sip:bob@192.0.2.1\"></target></remote></dialog></dialog-info>\n"
        );
        let lamp = document(&published, Detail::Lamp);
        assert!(
            lamp.contains(" direction=\"recipient\"><state>early</state><local>"),
            "{lamp}"
        );
        for secret in ["call-1", "lt", "rt", "bob", "Bob", "remote"] {
            assert!(
                !lamp.contains(&format!("\"{secret}\"")),
                "{secret} in {lamp}"
            );
            assert!(
                secret.len() < 3 || !lamp.contains(secret),
                "{secret} in {lamp}"
            );
        }
    }

    //= RFC 4235 3.9
    //= type=test
    #[test]
    fn many_publishers_make_one_document() {
        let of_phone = RINGING.replace("id=\"call-1\" call", "id=\"p\" call");
        let other = RINGING
            .replace("call-id=\"call-1\"", "call-id=\"call-2\"")
            .replace("Early", "confirmed");
        let over = RINGING.replace("Early", "terminated");
        let nothing = "<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" state=\"full\" entity=\"x\"/>";
        for (name, bodies, expected) in [
            ("nobody", vec![], vec![]),
            ("idle", vec![nothing], vec![]),
            ("over", vec![&*over], vec![]),
            ("one", vec![RINGING], vec![("call-1", "early")]),
            (
                "one call by two",
                vec![RINGING, &of_phone],
                vec![("call-1", "early")],
            ),
            (
                "two calls of one id",
                vec![RINGING, &other],
                vec![("call-1", "early"), ("call-1-1", "confirmed")],
            ),
        ] {
            let published: Vec<(u32, Vec<u8>)> = (0..).zip(bodies.into_iter().map(kept)).collect();
            let document = document(&published, Detail::Full);
            let shown: Vec<String> = document
                .split("<dialog id=\"")
                .skip(1)
                .map(str::to_owned)
                .collect();
            assert_eq!(shown.len(), expected.len(), "{name}: {document}");
            for (shown, (id, state)) in shown.iter().zip(expected) {
                assert!(shown.starts_with(&format!("{id}\"")), "{name}: {shown}");
                assert!(
                    shown.contains(&format!("<state>{state}</state>")),
                    "{name}: {shown}"
                );
            }
        }
    }

    //= RFC 4235 4.1
    //= type=test
    #[test]
    fn what_is_no_document_is_refused_with_its_place() {
        let dialogs = |inside: &str| {
            format!(
                "<dialog-info xmlns=\"{DIALOG_INFO}\" version=\"0\" state=\"full\" entity=\"x\">{inside}</dialog-info>"
            )
        };
        let many = "<dialog id=\"a\"><state>early</state></dialog>".repeat(CALLS_MAX + 1);
        for (body, what) in [
            ("<presence/>".to_owned(), "not a dialog-info document"),
            (
                dialogs("<dialog><state>early</state></dialog>"),
                "without an id",
            ),
            (
                dialogs("<dialog id=\" \"><state>early</state></dialog>"),
                "without an id",
            ),
            (dialogs("<dialog id=\"a\"/>"), "without a state"),
            (
                dialogs("<dialog id=\"a\"><state>busy</state></dialog>"),
                "a state that",
            ),
            (dialogs(&many), "too many"),
        ] {
            let error = parse(body.as_bytes()).expect_err(what).to_string();
            assert!(error.contains(what) && error.contains("line 1"), "{error}");
        }
        // What is too long or no URI is left out, and the rest stands.
        let long = "x".repeat(600);
        let body = dialogs(&format!(
            "<dialog id=\"a\" call-id=\"{long}\"><state>early</state><local><identity display=\"{long}\">nobody</identity>\
             <target uri=\"sip:{long}@x\"/></local><remote><identity display=\"\u{1F4DE}{long}\">tel:+1</identity></remote></dialog>"
        ));
        let shown = document(&[(0, kept(&body))], Detail::Full);
        assert!(
            shown.contains("<dialog id=\"a\"><state>early</state><remote>"),
            "{shown}"
        );
        assert!(
            shown.contains(&format!("display=\"\u{1F4DE}{}\"", "x".repeat(252))),
            "{shown}"
        );
    }

    #[test]
    fn the_line_is_the_number_that_the_user_is_reached_by() {
        for (uri, expected) in [
            ("sip:200@example.com", Some("200")),
            ("sips:+4930200;ext=1@example.com", Some("+4930200")),
            ("tel:*21#", Some("*21#")),
            ("sip:200:secret@example.com", Some("200")),
            ("sip:alice@example.com", None),
            ("sip:example.com", None),
            ("200", None),
        ] {
            assert_eq!(number_of(uri), expected, "{uri}");
        }
    }
}
