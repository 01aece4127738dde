//! `application/pidf+xml`: RFC 3863 with the data model (RFC 4479), RPID (RFC 4480) and CIPID.
//!
//! [`parse`] turns a received body into its stored form; [`compose`] makes one document of all
//! publications of a view.
//!
//! # Reading
//!
//! Gateways and phones write documents that no schema accepts, and mean something by them
//! (contradictions C-05, C-06). What is read is what they mean; what is stored, and so shown, is what
//! the schemas ask for: elements in order, ids that are names, `basic` open or closed, draft activities
//! as those of RFC 4480. Elements of other namespaces are kept as they were written, with the
//! namespaces they use.
//!
//! # Composing
//!
//! One policy (`docs/composition.md`), newest publication first:
//!
//! 1. every **tuple** of every live publication; an id that stands already gets the publication's
//!    number behind it;
//! 2. the **notes** of the newest publication that has any;
//! 3. the **person** of the newest publication that says it is on the phone, as gateways do on behalf of a
//!    user; else of the newest that has one. When the gateway withdraws, the desk phone's shows again;
//! 4. each **device** once, as its newest publication has it;
//! 5. the **extensions** of the newest publication that has any.
//!
//! Nobody published: one tuple, closed.

use std::sync::Arc;

use smallvec::SmallVec;

use super::DocumentError;
use super::blustar;
use super::legacy;
use super::permitted::permitted;
use super::rpid::{self, RPID};
use super::stored::{self, Kind};
use crate::presence::bearing::{Bearing, Device, Doing};
use crate::presence::publication::Content;
use crate::subscription::view::{Seen, View};
use crate::xml::{Document, Element, escape, is_ncname};

pub(super) const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
pub(super) const DATA_MODEL: &str = "urn:ietf:params:xml:ns:pidf:data-model";
const CIPID: &str = "urn:ietf:params:xml:ns:pidf:cipid";

/// What the root of every document that we write declares.
pub(super) const AMBIENT: [(&str, &str); 4] =
    [("", PIDF), ("dm", DATA_MODEL), ("rpid", RPID), ("c", CIPID)];

const BEGIN: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
    xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
    xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
    xmlns:c=\"urn:ietf:params:xml:ns:pidf:cipid\" entity=\"";

/// What a body that [`parse`] has read means to enhanced watchers (contradictions C-04 and C-60).
#[must_use]
pub fn bearing(stored: &[u8]) -> Bearing {
    let (mut bearing, mut status) = (Bearing::default(), false);
    for item in stored::items(stored) {
        match item.kind {
            // As `Reading::tuple` wrote it.
            Kind::Tuple
                if bearing.device == Device::Absent
                    && item.xml.starts_with("<status><basic>open</basic>") =>
            {
                bearing.device = Device::Online;
            }
            Kind::Person => {
                let (mut away, mut idle, mut best) = (false, false, DOINGS.len());
                for name in names(item.xml) {
                    away |= name == "away";
                    idle |= name == "user-input";
                    if let Some(rank) = DOINGS.iter().position(|(doing, _)| *doing == name) {
                        best = best.min(rank);
                    }
                }
                if bearing.doing == Doing::Nothing
                    && let Some((_, doing)) = DOINGS.get(best)
                {
                    bearing.doing = *doing;
                }
                if bearing.device != Device::Absent && away {
                    bearing.device = Device::Away;
                } else if bearing.device == Device::Online && idle && item.xml.contains(">idle<") {
                    bearing.device = Device::Idle;
                }
            }
            Kind::Status | Kind::Line => status = true,
            _ => {}
        }
    }
    if status {
        blustar::bear(stored, &mut bearing);
    }
    bearing
}

/// What a person does, by the elements that say so, the weightiest first.
const DOINGS: [(&str, Doing); 5] = [
    ("on-the-phone", Doing::OnThePhone),
    ("presentation", Doing::Presentation),
    ("meeting", Doing::Meeting),
    ("appointment", Doing::Meeting),
    ("busy", Doing::Busy),
];

/// The local names of the elements of a fragment.
fn names(xml: &str) -> impl Iterator<Item = &str> {
    memchr::memchr_iter(b'<', xml.as_bytes()).filter_map(|at| {
        let tag = &xml[at + 1..];
        let ends = |byte: &u8| matches!(byte, b' ' | b'/' | b'>' | b'\t' | b'\r' | b'\n');
        let name = &tag[..tag.as_bytes().iter().position(ends)?];
        let local = memchr::memchr(b':', name.as_bytes()).map_or(name, |colon| &name[colon + 1..]);
        (!local.is_empty()).then_some(local)
    })
}

/// Reads a published body into its stored form: the canonical, schema-valid elements that [`compose`]
/// puts together. The bytes are opaque to everybody else. They are at most as long as the body, plus
/// what its namespaces need in each fragment that uses them.
///
/// # Errors
/// [`DocumentError`] for anything that is not a well-formed presence document within the limits.
pub fn parse(body: &[u8]) -> Result<Vec<u8>, DocumentError> {
    read(body, Strictness::Lenient)
}

/// The same of a BluStar client, whose document says which status it has, and its notes in which language.
///
/// # Errors
/// [`DocumentError`].
//= BLUSTAR 4.3
//# a note names its language, and a document the status
pub fn parse_blustar(body: &[u8]) -> Result<Vec<u8>, DocumentError> {
    read(body, Strictness::Blustar)
}

/// What is demanded of a document besides being one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Nothing: what is not understood is left out.
    Lenient,
    /// What BluStar clients must say.
    Blustar,
}

fn read(body: &[u8], strictness: Strictness) -> Result<Vec<u8>, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(PIDF, "presence") {
        return Err(document.error_at(root, "not a presence document"));
    }
    let mut reading = Reading {
        document: &document,
        out: stored::begin(),
        ids: SmallVec::new(),
        activities: Vec::new(),
    };
    let mut has_person = false;
    for child in root.children() {
        match (child.namespace(), child.local()) {
            (PIDF, "tuple") => reading.tuple(child)?,
            (PIDF, "note") => stored::push(Kind::Note, "", "", &mut reading.out, |out| {
                write_note(child, "note", out)
            }),
            (DATA_MODEL, "person") => {
                has_person = true;
                blustar::read_person(&document, child, strictness, &mut reading.out)?;
                reading.person(child);
            }
            (DATA_MODEL, "device") => {
                blustar::read_device(child, &mut reading.out);
                reading.device(child);
            }
            //= RFC 3863 4.2.5
            //# elements of other namespaces are extensions; of its own there are no others
            (PIDF | DATA_MODEL | "", _) => {}
            _ => stored::push(Kind::Extension, "", "", &mut reading.out, |out| {
                child.write_standalone(&AMBIENT, out)
            }),
        }
    }
    let says = |kind| stored::items(&reading.out).any(|item| item.kind == kind);
    if strictness == Strictness::Blustar && !says(Kind::Status) {
        return Err(document.error_at(root, "a document that says no aa:status"));
    }
    if !has_person && !reading.activities.is_empty() {
        let id = reading.fresh_id(None, "p");
        let Reading {
            out, activities, ..
        } = &mut reading;
        stored::push(Kind::Person, &id, "", out, |out| {
            rpid::write_activities(activities, out);
            out.extend_from_slice(b"</dm:person>");
        });
    }
    Ok(reading.out)
}

struct Reading<'d, 'a> {
    document: &'d Document<'a>,
    out: Vec<u8>,
    ids: SmallVec<[String; 4]>,
    /// What drafts and `inuse` say the person does.
    activities: Vec<String>,
}

impl Reading<'_, '_> {
    /// An id that is a name and stands nowhere else in this document.
    fn fresh_id(&mut self, wanted: Option<&str>, letter: &str) -> String {
        let mut id = match wanted.map(str::trim) {
            Some(id) if is_ncname(id) => id.to_owned(),
            Some(id) if !id.is_empty() => {
                let legal = |c: char| {
                    if c.is_alphanumeric() || "-._".contains(c) {
                        c
                    } else {
                        '_'
                    }
                };
                let id: String = id.chars().map(legal).collect();
                if is_ncname(&id) {
                    id
                } else {
                    format!("{letter}{id}")
                }
            }
            _ => format!("{letter}{}", self.ids.len() + 1),
        };
        while self.ids.contains(&id) {
            id.push_str("-2");
        }
        self.ids.push(id.clone());
        id
    }

    /// RFC 3863 §4.1.2: status, extensions, contact, notes, timestamp, in this order.
    fn tuple(&mut self, tuple: Element<'_, '_>) -> Result<(), DocumentError> {
        let id = self.fresh_id(tuple.attribute("id").as_deref(), "t");
        let status = tuple.children().find(|child| child.is(PIDF, "status"));
        let mut basic = "";
        let mut extended: SmallVec<[Element<'_, '_>; 4]> = SmallVec::new();
        let mut notes: SmallVec<[Element<'_, '_>; 2]> = SmallVec::new();
        for child in status.into_iter().flat_map(Element::children) {
            match (child.namespace(), child.local()) {
                (PIDF, "basic") => basic = self.basic(child)?,
                // A note belongs to the tuple, but some put it into the status (C-06).
                (PIDF, "note") => notes.push(child),
                (PIDF | "", _) => {}
                _ if rpid::take_draft(child, &mut self.activities) => {}
                _ => extended.push(child),
            }
        }
        stored::push(Kind::Tuple, &id, "", &mut self.out, |out| {
            out.extend_from_slice(b"<status>");
            if !basic.is_empty() {
                out.extend_from_slice(b"<basic>");
                out.extend_from_slice(basic.as_bytes());
                out.extend_from_slice(b"</basic>");
            }
            for element in extended {
                element.write_standalone(&AMBIENT, out);
            }
            out.extend_from_slice(b"</status>");
            let own =
                |name: &'static str| tuple.children().filter(move |child| child.is(PIDF, name));
            for child in tuple
                .children()
                .filter(|child| !matches!(child.namespace(), PIDF | ""))
            {
                child.write_standalone(&AMBIENT, out);
            }
            if let Some(contact) = own("contact").next() {
                write_contact(contact, out);
            }
            for note in notes.into_iter().chain(own("note")) {
                write_note(note, "note", out);
            }
            if let Some(timestamp) = own("timestamp").next() {
                write_timestamp(timestamp, "timestamp", out);
            }
            out.extend_from_slice(b"</tuple>");
        });
        Ok(())
    }

    /// `open` or `closed`, however it is written; `inuse` is open and busy (C-06, BLOG-02).
    fn basic(&mut self, basic: Element<'_, '_>) -> Result<&'static str, DocumentError> {
        let text = basic.text();
        let is = |names: &[&str]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
        if is(&["open", "opened"]) {
            Ok("open")
        } else if is(&["closed", "close"]) {
            Ok("closed")
        } else if is(&["inuse", "in-use"]) {
            self.activities.push("busy".to_owned());
            Ok("open")
        } else {
            Err(self
                .document
                .error_at(basic, "a basic status that is neither open nor closed"))
        }
    }

    /// RFC 4479 §4: extensions, notes, timestamp, in this order.
    fn person(&mut self, person: Element<'_, '_>) {
        let id = self.fresh_id(person.attribute("id").as_deref(), "p");
        stored::push(Kind::Person, &id, "", &mut self.out, |out| {
            write_extensions(person, out);
            write_model_end(person, "</dm:person>", out);
        });
    }

    /// The same with a deviceID, without which a device is nothing.
    fn device(&mut self, device: Element<'_, '_>) {
        let named = device
            .children()
            .find(|child| child.is(DATA_MODEL, "deviceID"))
            .map(Element::text);
        // BluStar has the telephone's URI in the id instead (contradiction C-06).
        let by_line = || device.attribute("id").filter(|id| id.starts_with("tel:"));
        let Some(device_id) = named.or_else(by_line) else {
            return;
        };
        let id = self.fresh_id(device.attribute("id").as_deref(), "d");
        stored::push(Kind::Device, &id, &device_id, &mut self.out, |out| {
            write_extensions(device, out);
            out.extend_from_slice(b"<dm:deviceID>");
            escape(&device_id, out);
            out.extend_from_slice(b"</dm:deviceID>");
            write_model_end(device, "</dm:device>", out);
        });
    }
}

fn write_extensions(element: Element<'_, '_>, out: &mut Vec<u8>) {
    for child in element
        .children()
        .filter(|child| !matches!(child.namespace(), DATA_MODEL | ""))
    {
        child.write_standalone(&AMBIENT, out);
    }
}

fn write_model_end(element: Element<'_, '_>, end: &str, out: &mut Vec<u8>) {
    let own = |name: &'static str| {
        element
            .children()
            .filter(move |child| child.is(DATA_MODEL, name))
    };
    for note in own("note") {
        write_note(note, "dm:note", out);
    }
    if let Some(timestamp) = own("timestamp").next() {
        write_timestamp(timestamp, "dm:timestamp", out);
    }
    out.extend_from_slice(end.as_bytes());
}

fn write_contact(contact: Element<'_, '_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<contact");
    if let Some(priority) = contact
        .attribute("priority")
        .filter(|priority| is_qvalue(priority))
    {
        out.extend_from_slice(b" priority=\"");
        out.extend_from_slice(priority.as_bytes());
        out.push(b'"');
    }
    out.push(b'>');
    escape(&contact.text(), out);
    out.extend_from_slice(b"</contact>");
}

/// A number from 0 to 1 with up to three decimals (RFC 3863 §4.1.4).
fn is_qvalue(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    digits && (whole == "0" || whole == "1" && fraction.bytes().all(|byte| byte == b'0'))
}

fn write_note(note: Element<'_, '_>, name: &str, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    if let Some(language) = note.language().filter(|language| is_language(language)) {
        out.extend_from_slice(b" xml:lang=\"");
        out.extend_from_slice(language.as_bytes());
        out.push(b'"');
    }
    out.push(b'>');
    escape(&note.text(), out);
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

fn is_language(text: &str) -> bool {
    text.split('-').all(|part| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }) && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .split('-')
            .next()
            .is_some_and(|first| first.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// A time that is none is left out.
fn write_timestamp(timestamp: Element<'_, '_>, name: &str, out: &mut Vec<u8>) {
    let text = timestamp.text();
    if text.parse::<jiff::Timestamp>().is_err() {
        return;
    }
    for part in ["<", name, ">", &text, "</", name, ">"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends the document that shows `view` to `out`.
//= RFC 3863 4.1
//# a presence document names its presentity and holds tuples, notes, then extensions
pub fn compose(view: &View, out: &mut Vec<u8>) {
    if let Some(permitted) = permitted(view) {
        return compose(&permitted, out);
    }
    let contents: &[Arc<Content>] = match &view.seen {
        // Who waits for the presentity's word is shown nothing at all.
        Seen::Nothing => return,
        Seen::Publications(contents) => contents,
        Seen::Legacy(legacy) => return legacy::compose_pidf(&view.presentity, legacy, out),
        Seen::Rendered(document) => return out.extend_from_slice(document),
        _ => &[],
    };
    let mut newest = newest_first(contents);
    newest.retain(|content| !content.bearing.forwards && !content.is_silent());
    out.extend_from_slice(BEGIN);
    if !view.presentity.as_str().starts_with("tel:") {
        out.extend_from_slice(b"sip:");
    }
    escape(view.presentity.as_str(), out);
    out.extend_from_slice(b"\">");
    if newest.is_empty() {
        //= RFC 3856 6.7
        //# a presentity of whom nothing is known is shown as closed
        out.extend_from_slice(b"<tuple id=\"none\"><status><basic>closed</basic></status></tuple>");
    }
    let mut ids = Ids::default();
    for content in &newest {
        for item in stored::items(&content.stored).filter(|item| item.kind == Kind::Tuple) {
            write_with_id("<tuple id=\"", item, content.number, &mut ids, out);
        }
    }
    of_newest(&newest, Kind::Note, out);
    //= AUDIOCODES p. 321
    //# what a gateway or a call says of a call shows as long as it lives, whatever the user's own clients said
    let on_the_phone = newest
        .iter()
        .filter(|content| content.bearing.doing == Doing::OnThePhone);
    let person = on_the_phone.chain(&newest).find_map(|content| {
        let person = stored::items(&content.stored).find(|item| item.kind == Kind::Person)?;
        Some((person, *content))
    });
    if let Some((person, content)) = person {
        if let Some(id) = write_begin("<dm:person id=\"", person.id, content.number, &mut ids, out)
        {
            ids.plain.push(id);
        }
        if content.says(Kind::Status) {
            blustar::write_activities(&newest, view.taken_at, out);
        }
        out.extend_from_slice(person.xml.as_bytes());
    }
    let mut devices: SmallVec<[&str; 4]> = SmallVec::new();
    for content in &newest {
        for item in stored::items(&content.stored).filter(|item| item.kind == Kind::Device) {
            if !devices.contains(&item.key) {
                devices.push(item.key);
                write_with_id("<dm:device id=\"", item, content.number, &mut ids, out);
            }
        }
    }
    of_newest(&newest, Kind::Extension, out);
    out.extend_from_slice(b"</presence>\n");
}

/// The same for watchers who asked for a `pres:` URI, and are told of one.
//= RFC 3856 6.7
//# the document is about the presentity that was asked for
pub fn compose_pres(view: &View, out: &mut Vec<u8>) {
    const SIP: &[u8] = b" entity=\"sip:";
    let begin = out.len();
    compose(view, out);
    let found = out[begin..].windows(SIP.len()).position(|text| text == SIP);
    if let Some(place) = found {
        let scheme = begin + place + SIP.len() - 4;
        out.splice(scheme..scheme + 4, *b"pres:");
    }
}

/// Publications, newest first.
pub(super) fn newest_first(contents: &[Arc<Content>]) -> SmallVec<[&Content; 4]> {
    let mut newest: SmallVec<[&Content; 4]> = contents.iter().map(|content| &**content).collect();
    newest.sort_by_key(|content| std::cmp::Reverse((content.published_at, content.number)));
    newest
}

impl Content {
    /// Whether it has anything of this kind.
    fn says(&self, kind: Kind) -> bool {
        stored::items(&self.stored).any(|item| item.kind == kind)
    }
}

/// The elements of a kind that the newest publication with any has.
fn of_newest(newest: &[&Content], kind: Kind, out: &mut Vec<u8>) {
    if let Some(content) = newest.iter().find(|content| content.says(kind)) {
        for item in stored::items(&content.stored).filter(|item| item.kind == kind) {
            out.extend_from_slice(item.xml.as_bytes());
        }
    }
}

/// The ids written so far. A document has a handful; each is looked for among them.
#[derive(Default)]
struct Ids<'a> {
    plain: SmallVec<[&'a str; 8]>,
    made: Vec<String>,
}

fn write_with_id<'a>(
    begin: &str,
    item: stored::Item<'a>,
    number: u32,
    ids: &mut Ids<'a>,
    out: &mut Vec<u8>,
) {
    if let Some(id) = write_begin(begin, item.id, number, ids, out) {
        ids.plain.push(id);
    }
    out.extend_from_slice(item.xml.as_bytes());
}

/// Writes an element up to the end of its start tag, with an id that stands nowhere else; gives the id back
/// if it could stay as it is.
fn write_begin<'a>(
    begin: &str,
    id: &'a str,
    number: u32,
    ids: &mut Ids<'_>,
    out: &mut Vec<u8>,
) -> Option<&'a str> {
    out.extend_from_slice(begin.as_bytes());
    let taken =
        |ids: &Ids<'_>, id: &str| ids.plain.contains(&id) || ids.made.iter().any(|made| made == id);
    let free = !taken(ids, id);
    if free {
        out.extend_from_slice(id.as_bytes());
    } else {
        let mut made = format!("{id}-{number}");
        while taken(ids, &made) {
            made.push('x');
        }
        out.extend_from_slice(made.as_bytes());
        ids.made.push(made);
    }
    out.extend_from_slice(b"\">");
    free.then_some(id)
}
