//! BluStar's words (the aa: namespace): read in any spelling, consolidated into one status, and written as
//! BluStar clients print them.
//!
//! What a publication says in them is taken apart when it is read (`stored.rs`), so that consolidating many
//! publications is choosing among values. The rules of the choice, in one place:
//!
//! 1. The status is the newest that a BluStar client published. Who has none, or is signed out there, has
//!    that of another presence system, or else that of an open telephone; else it is signed out.
//! 2. Do not disturb stands above all. Otherwise a call makes busy, "In a call"; an appointment that is now
//!    makes busy, "In a meeting"; so does a call or a busy user in another system.
//! 3. The user's own text, where there is one, stands in the place of ours.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::DocumentError;
use super::pidf::{AMBIENT, DATA_MODEL, PIDF, Strictness, newest_first};
use super::rpid::RPID;
use super::stored::{self, Kind};
use crate::category::state::Class;
use crate::category::{write_attribute, write_text};
use crate::presence::bearing::{Bearing, Device, Doing};
use crate::presence::publication::Content;
use crate::subscription::view::{Legacy, Seen, View};
use crate::time::Timestamp;
use crate::xml::{Document, Element, escape};

/// The namespace of aa:, in the spelling of section 3, which is the one that we print unless told otherwise.
pub const NAMESPACE: &str = "http://www.aastra.com/presence/blustar/2011";

/// All spellings that the document has (contradictions C-15 and C-71).
pub const NAMESPACES: [&str; 3] = [
    NAMESPACE,
    "http://www.aastracom/presence/blustar/2011",
    "http://www.astra.com/presence/blustar/2011",
];

/// The statuses of aa.xsd.
const STATUSES: [&str; 9] = [
    "available",
    "busy",
    "away",
    "do not disturb",
    "signed out",
    "inactive",
    "be right back",
    "other",
    "unknown",
];
const CALENDAR_STATES: [&str; 5] = ["free", "tentative", "busy", "out of office", "unknown"];
const LINE_STATES: [&str; 4] = ["idle", "ringing", "busy", "unknown"];

const SIGNED_OUT: &str = "signed out";

fn is_aa(element: Element<'_, '_>, name: &str) -> bool {
    element.local() == name && NAMESPACES.contains(&element.namespace())
}

fn child<'d, 'a>(element: Element<'d, 'a>, name: &str) -> Option<Element<'d, 'a>> {
    element.children().find(|child| is_aa(*child, name))
}

fn text_of<'a>(element: Element<'_, 'a>, name: &str) -> Cow<'a, str> {
    child(element, name).map_or(Cow::Borrowed(""), Element::text)
}

/// One of these words, in any letter case.
fn word(text: &str, words: &[&'static str]) -> Option<&'static str> {
    let text = text.trim();
    let mut known = words.iter().copied();
    known.find(|known| known.eq_ignore_ascii_case(text))
}

/// A time as it was written, if it is one, and its milliseconds.
fn time(text: &str) -> Option<(String, u64)> {
    let time: jiff::Timestamp = text.trim().parse().ok()?;
    let ms = u64::try_from(time.as_millisecond()).ok()?;
    Some((text.trim().to_owned(), ms))
}

/// Takes apart what a person's aa:presence says.
pub(super) fn read_person(
    document: &Document<'_>,
    person: Element<'_, '_>,
    strictness: Strictness,
    out: &mut Vec<u8>,
) -> Result<(), DocumentError> {
    for presence in person.children().filter(|child| is_aa(*child, "presence")) {
        for part in presence.children() {
            if is_aa(part, "blustar") {
                read_status(part, strictness, out).map_err(|what| document.error_at(part, what))?;
            } else if is_aa(part, "calendar") {
                read_calendar(part, out);
            } else if is_aa(part, "externalUC") {
                read_external(part, out);
            } else if is_aa(part, "A400") {
                stored::push(Kind::A400, "", "", out, |out| {
                    for inside in part.children() {
                        inside.write_standalone(&AMBIENT, out);
                    }
                });
            }
        }
    }
    Ok(())
}

//= BLUSTAR 4.3
//# status is one of those of aa.xsd, and a note names its language
fn read_status(
    part: Element<'_, '_>,
    strictness: Strictness,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let strict = strictness == Strictness::Blustar;
    let Some(status) = word(&text_of(part, "status"), &STATUSES) else {
        return match strict {
            true => Err("an aa:status that aa.xsd does not have"),
            false => Ok(()),
        };
    };
    let note = child(part, "note");
    if strict && note.is_some_and(|note| note.language().is_none()) {
        return Err("an aa:note without xml:lang");
    }
    let note = note.map_or(Cow::Borrowed(""), Element::text);
    let stamp = time(&text_of(part, "timestamp")).map_or(String::new(), |(stamp, _)| stamp);
    stored::push(Kind::Status, status, &note, out, |out| {
        out.extend_from_slice(stamp.as_bytes());
    });
    Ok(())
}

/// An appointment; without a state, a begin and an end it is none.
fn read_calendar(part: Element<'_, '_>, out: &mut Vec<u8>) {
    let times = ["from", "end"].map(|name| time(&text_of(part, name)));
    let state = word(&text_of(part, "state"), &CALENDAR_STATES);
    let (Some(state), [Some((from, from_ms)), Some((end, end_ms))]) = (state, times) else {
        return;
    };
    let stamp = time(&text_of(part, "timestamp"));
    let stamp_ms = stamp.as_ref().map_or(0, |(_, ms)| *ms);
    let key = format!("{from_ms} {end_ms} {stamp_ms}");
    //= BLUSTAR 5.1
    //# the elements stand in the order of aa.xsd, wherever the publisher had them (contradiction C-16)
    stored::push(Kind::Calendar, state, &key, out, |out| {
        write_element("aa:id", &text_of(part, "id"), out);
        write_element("aa:state", state, out);
        for (name, shown) in [("subject", "aa:subject"), ("location", "aa:location")] {
            write_element(shown, &text_of(part, name), out);
        }
        write_element("aa:from", &from, out);
        write_element("aa:end", &end, out);
        for (name, shown) in [("allday", "aa:allday"), ("private", "aa:private")] {
            if child(part, name).is_some() {
                write_element(shown, "", out);
            }
        }
        let offset = text_of(part, "reminder-offset");
        if offset.parse::<i32>().is_ok() {
            write_element("aa:reminder-offset", &offset, out);
        }
        if let Some((stamp, _)) = &stamp {
            write_element("aa:timestamp", stamp, out);
        }
    });
}

fn read_external(part: Element<'_, '_>, out: &mut Vec<u8>) {
    let Some(status) = word(&text_of(part, "status"), &STATUSES).filter(|known| *known != "other")
    else {
        return;
    };
    let [text, forward, event] =
        ["freeText", "fwdDestination", "telephoneEvent"].map(|name| text_of(part, name));
    let stamp = time(&text_of(part, "timestamp"));
    let stamp_ms = stamp.as_ref().map_or(0, |(_, ms)| *ms);
    let call = u8::from(event.eq_ignore_ascii_case("on-the-phone"));
    let key = format!("{stamp_ms} {call} {text}");
    stored::push(Kind::External, status, &key, out, |out| {
        write_external(status, [&text, &forward, &event], out);
        if let Some((stamp, _)) = &stamp {
            write_element("aa:timestamp", stamp, out);
        }
    });
}

fn write_external(status: &str, [text, forward, event]: [&str; 3], out: &mut Vec<u8>) {
    write_element("aa:status", status, out);
    write_element("aa:freeText", text, out);
    write_element("aa:fwdDestination", forward, out);
    write_element("aa:telephoneEvent", event, out);
}

/// Takes a device's aa:line apart.
pub(super) fn read_device(device: Element<'_, '_>, out: &mut Vec<u8>) {
    for line in device.children().filter(|child| is_aa(*child, "line")) {
        let number = text_of(line, "DN");
        let state = word(&text_of(line, "state"), &LINE_STATES).unwrap_or("unknown");
        if number.is_empty() {
            continue;
        }
        stored::push(Kind::Line, &number, state, out, |out| {
            let forward = child(line, "forward").map(Element::text);
            if let Some(forward) = forward.filter(|forward| !forward.is_empty()) {
                out.extend_from_slice(b"<aa:forward type=\"immediate\">");
                escape(&forward, out);
                out.extend_from_slice(b"</aa:forward>");
            }
        });
    }
}

/// The publication that says where a user's calls go, in stored form.
//= BLUSTAR 4.3
//# the special PUBLISH forwards the calls of From to To
#[must_use]
pub fn forwarding(to: &str) -> (Vec<u8>, Bearing) {
    let mut out = stored::begin();
    stored::push(Kind::Forward, to, "", &mut out, |_| {});
    let bearing = Bearing {
        forwards: true,
        ..Bearing::default()
    };
    (out, bearing)
}

/// What a publication means to enhanced watchers, beside its tuples (contradictions C-04 and C-60).
pub(super) fn bear(stored: &[u8], bearing: &mut Bearing) {
    for item in stored::items(stored) {
        bearing.shared |= item.kind == Kind::Status;
        match (item.kind, item.id, item.key) {
            (Kind::Status, SIGNED_OUT, _) => {
                *bearing = Bearing {
                    shared: true,
                    ..Bearing::default()
                };
                return;
            }
            (Kind::Status, "busy" | "do not disturb", _) if bearing.doing == Doing::Nothing => {
                bearing.doing = Doing::Busy;
            }
            (Kind::Status, "away" | "be right back" | "inactive", _)
                if bearing.device != Device::Absent =>
            {
                bearing.device = Device::Away;
            }
            (Kind::Line, _, "busy") => {
                bearing.doing = Doing::OnThePhone;
                // A line that is spoken over is a device, whatever services were named.
                if bearing.device == Device::Absent {
                    bearing.device = Device::Online;
                }
            }
            _ => {}
        }
    }
}

/// A telephone line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line<'a> {
    number: &'a str,
    state: &'a str,
    /// XML.
    forward: &'a str,
    at: Timestamp,
}

/// What a BluStar client said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own<'a> {
    status: &'a str,
    note: &'a str,
    /// As it was written; empty for none.
    stamp: &'a str,
    at: Timestamp,
}

/// An appointment or another system's state: what it says, and its XML.
#[derive(Clone, Debug, PartialEq, Eq)]
struct External<'a> {
    status: &'a str,
    text: &'a str,
    call: bool,
    xml: Cow<'a, [u8]>,
}

/// Everything that the consolidated status depends on.
#[derive(Clone, Debug, Default)]
struct Sources<'a> {
    own: Option<Own<'a>>,
    external: Option<External<'a>>,
    /// Of the publication that knows them best: XML, and whether it is now and busy.
    calendar: Vec<(&'a str, bool)>,
    a400: Option<&'a str>,
    forward: Option<&'a str>,
    lines: Vec<Line<'a>>,
    /// What other publications say.
    device: Device,
    doing: Doing,
}

/// The consolidated status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Available,
    Busy,
    Unavailable,
    SignedOut,
    Away,
    Other,
    Unknown,
}

/// The consolidated status, why, and the user's text or ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Consolidated<'a> {
    status: Status,
    call: bool,
    meeting: bool,
    note: &'a str,
}

impl<'a> Sources<'a> {
    fn of(newest: &[&'a Content], now: Timestamp) -> Sources<'a> {
        let mut sources = Sources::default();
        let (mut external_at, mut calendar_at) = (0_u64, 0_u64);
        for content in newest {
            let blustar = content.bearing.shared;
            let mut calendar: Vec<(&str, bool)> = Vec::new();
            let (mut stamp, mut lines) = (0, false);
            for item in stored::items(&content.stored) {
                match item.kind {
                    Kind::Status => {
                        sources.own = sources.own.or(Some(Own {
                            status: item.id,
                            note: item.key,
                            stamp: item.xml,
                            at: content.published_at,
                        }));
                    }
                    Kind::Calendar => {
                        let mut times = item.key.split(' ').map(|ms| ms.parse().unwrap_or(0));
                        let mut next = || times.next().unwrap_or(0_u64);
                        let (from, end, at) = (next(), next(), next());
                        //= BLUSTAR 3.2
                        //# an appointment counts while it is
                        let running = from <= now.0 && now.0 < end && item.id == "busy";
                        calendar.push((item.xml, running));
                        stamp = stamp.max(at);
                    }
                    //= BLUSTAR 2.7
                    //# of other systems the newest counts (contradiction C-73)
                    Kind::External => {
                        let mut parts = item.key.splitn(3, ' ');
                        let at = parts.next().and_then(|ms| ms.parse().ok()).unwrap_or(0);
                        let call = parts.next() == Some("1");
                        if sources.external.is_none() || at > external_at {
                            external_at = at;
                            sources.external = Some(External {
                                status: item.id,
                                text: parts.next().unwrap_or_default(),
                                call,
                                xml: Cow::Borrowed(item.xml.as_bytes()),
                            });
                        }
                    }
                    Kind::Forward => sources.forward = sources.forward.or(Some(item.id)),
                    Kind::A400 => sources.a400 = sources.a400.or(Some(item.xml)),
                    // Of a line the newest counts, and what a publication says by its lines counts as such.
                    Kind::Line => {
                        lines = true;
                        if !sources.lines.iter().any(|line| line.number == item.id) {
                            sources.lines.push(Line {
                                number: item.id,
                                state: item.key,
                                forward: item.xml,
                                at: content.published_at,
                            });
                        }
                    }
                    _ => {}
                }
            }
            if !calendar.is_empty() && (sources.calendar.is_empty() || stamp > calendar_at) {
                (sources.calendar, calendar_at) = (calendar, stamp);
            }
            if !blustar {
                let Bearing { device, doing, .. } = content.bearing;
                let rank = |device| match device {
                    Device::Absent => 0,
                    Device::Away => 1,
                    Device::Idle => 2,
                    Device::Online => 3,
                };
                if rank(device) > rank(sources.device) && !lines {
                    sources.device = device;
                }
                let counts = sources.doing == Doing::Nothing || doing == Doing::OnThePhone;
                if counts && !lines {
                    sources.doing = doing;
                }
            }
        }
        sources.lines.sort_by_key(|line| line.number);
        sources
    }

    /// Enhanced presence, as another presence system.
    fn of_legacy(legacy: &'a Legacy) -> Sources<'a> {
        let Some(interop) = &legacy.interop else {
            return Sources::default();
        };
        let status = match Class::of(interop.availability) {
            Class::Unknown => "unknown",
            Class::Offline => SIGNED_OUT,
            Class::Online => "available",
            Class::Busy => "busy",
            Class::DoNotDisturb => "do not disturb",
            Class::Idle | Class::BusyIdle => "inactive",
            Class::BeRightBack => "be right back",
            Class::Away => "away",
        };
        let call = &*interop.token == "on-the-phone";
        let mut xml = Vec::new();
        write_external(status, ["", "", &interop.token], &mut xml);
        Sources {
            external: Some(External {
                status,
                text: "",
                call,
                xml: Cow::Owned(xml),
            }),
            ..Sources::default()
        }
    }

    /// One status of all that is known.
    //= BLUSTAR 3.2
    //# the consolidated status of BluStar status, appointments, other systems and lines, and its text
    fn consolidate(&self) -> Consolidated<'_> {
        let external = self.external.as_ref();
        let line = self.lines.iter().any(|line| line.state == "busy");
        let call = line || self.doing == Doing::OnThePhone;
        let elsewhere = external.is_some_and(|external| external.call);
        let meeting = self.calendar.iter().any(|(_, running)| *running)
            || matches!(self.doing, Doing::Meeting | Doing::Presentation);
        let own = self.own.map(|own| own.status);
        let present = |status: &str| status != SIGNED_OUT && status != "unknown";
        let theirs = external.map(|external| external.status);
        let base = match (own, theirs.filter(|status| present(status))) {
            (Some(own), _) if own != SIGNED_OUT => own,
            (_, Some(theirs)) => theirs,
            (Some(own), None) => own,
            (None, None) => match self.device {
                Device::Online => "available",
                Device::Idle => "inactive",
                Device::Away => "away",
                // Somebody speaks there.
                Device::Absent if line => "available",
                Device::Absent => theirs.unwrap_or(SIGNED_OUT),
            },
        };
        let other = theirs.filter(|_| own.is_some_and(|own| own != SIGNED_OUT));
        let (status, text) = match base {
            "do not disturb" => (Status::Unavailable, "Unavailable"),
            SIGNED_OUT => (Status::SignedOut, "Signed out"),
            "unknown" => (Status::Unknown, "Unknown"),
            _ if call => (Status::Busy, "In a call"),
            _ if meeting => (Status::Busy, "In a meeting"),
            // Section 3 shows a call in another system behind a meeting.
            _ if elsewhere => (Status::Busy, "In a call"),
            "busy" => (Status::Busy, "Busy"),
            _ if other == Some("do not disturb") => (Status::Unavailable, "Unavailable"),
            _ if other == Some("busy") || self.doing == Doing::Busy => (Status::Busy, "Busy"),
            "available" => (Status::Available, "Available"),
            // Contradiction C-14: what aa.xsd has beside the five statuses.
            "away" => (Status::Away, "Away"),
            "inactive" => (Status::Away, "Inactive"),
            "be right back" => (Status::Away, "Be right back"),
            _ => (Status::Other, "Other"),
        };
        let free = match (&self.own, external) {
            (Some(own), _) => own.note,
            (None, Some(external)) => external.text,
            (None, None) => "",
        };
        Consolidated {
            status,
            call: call || elsewhere && !meeting,
            meeting,
            note: if free.is_empty() { text } else { free },
        }
    }
}

impl Consolidated<'_> {
    /// The element of rpid:activities.
    //= BLUSTAR 3.2
    //# available, unavailable, signed out and unknown are texts of rpid:other; busy is rpid:busy
    fn element(&self) -> (&'static str, &'static str) {
        match self.status {
            Status::Available => ("rpid:other", "available"),
            Status::Busy => ("rpid:busy", ""),
            Status::Unavailable => ("rpid:other", "unavailable"),
            Status::SignedOut => ("rpid:other", SIGNED_OUT),
            Status::Away => ("rpid:away", ""),
            Status::Other => ("rpid:other", "other"),
            Status::Unknown => ("rpid:other", "unknown"),
        }
    }
}

/// Appends, for watchers of the standard, what a user who is on BluStar does.
pub(super) fn write_activities(newest: &[&Content], now: Timestamp, out: &mut Vec<u8>) {
    let sources = Sources::of(newest, now);
    let consolidated = sources.consolidate();
    let activity = match consolidated.status {
        Status::Busy if consolidated.call => "rpid:on-the-phone",
        Status::Busy if consolidated.meeting => "rpid:meeting",
        Status::Busy | Status::Unavailable => "rpid:busy",
        Status::Away => "rpid:away",
        Status::Unknown => "rpid:unknown",
        Status::Available | Status::SignedOut | Status::Other => "",
    };
    out.extend_from_slice(b"<rpid:activities>");
    write_text_of("rpid:note", " xml:lang=\"en\"", consolidated.note, out);
    match activity {
        "" => write_element("rpid:other", consolidated.element().1, out),
        activity => write_element(activity, "", out),
    }
    out.extend_from_slice(b"</rpid:activities>");
}

fn write_element(name: &str, text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        for part in ["<", name, "/>"] {
            out.extend_from_slice(part.as_bytes());
        }
    } else {
        write_text(name, text, out);
    }
}

/// An element with these attributes and this text.
fn write_text_of(name: &str, attributes: &str, text: &str, out: &mut Vec<u8>) {
    for part in ["<", name, attributes] {
        out.extend_from_slice(part.as_bytes());
    }
    if text.is_empty() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    escape(text, out);
    for part in ["</", name, ">"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// A tuple of a service.
fn write_service(id: &str, open: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<tuple");
    write_attribute("id", id, out);
    out.extend_from_slice(b"><status>");
    write_text("basic", if open { "open" } else { "closed" }, out);
    out.extend_from_slice(b"</status></tuple>");
}

/// Appends the document that shows `view` as BluStar clients read it, aa: being `namespace`.
//= BLUSTAR 3
//# four services, a device for each line, one person with the consolidated status and its sources
pub fn compose(view: &View, namespace: &str, out: &mut Vec<u8>) {
    if let Some(permitted) = super::permitted::permitted(view) {
        return compose(&permitted, namespace, out);
    }
    let nothing: &[Arc<Content>] = &[];
    let (contents, sources) = match &view.seen {
        Seen::Publications(contents) => (&contents[..], None),
        Seen::Legacy(legacy) => (nothing, Some(Sources::of_legacy(legacy))),
        Seen::Unknown => (nothing, Some(unknown())),
        Seen::Rendered(document) => return out.extend_from_slice(document),
        _ => return,
    };
    let newest: SmallVec<[&Content; 4]> = newest_first(contents);
    let sources = sources.unwrap_or_else(|| Sources::of(&newest, view.taken_at));
    let consolidated = sources.consolidate();
    let away = matches!(consolidated.status, Status::SignedOut | Status::Unknown);

    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<presence");
    write_attribute("xmlns", PIDF, out);
    write_attribute("xmlns:dm", DATA_MODEL, out);
    write_attribute("xmlns:rpid", RPID, out);
    write_attribute("xmlns:aa", namespace, out);
    let entity = view.presentity.to_string();
    write_attribute("entity", &entity, out);
    out.push(b'>');
    //= BLUSTAR 3
    //# global service, audio, video and message, each open or closed
    write_service("global service", !away, out);
    let any_open = sources.device != Device::Absent || sources.external.is_some();
    for (service, otherwise) in [("audio", any_open), ("video", false), ("message", false)] {
        let open = service_of(&newest, service).unwrap_or(otherwise);
        write_service(service, open && !away, out);
    }
    for line in &sources.lines {
        //= BLUSTAR 3.1
        //# a device for each supervised line: its number, its state, where it is forwarded to
        out.extend_from_slice(b"<dm:device");
        write_attribute("id", &format!("tel:{}", line.number), out);
        out.extend_from_slice(b"><aa:line>");
        write_text("aa:DN", line.number, out);
        write_text("aa:state", line.state, out);
        out.extend_from_slice(line.forward.as_bytes());
        out.extend_from_slice(b"</aa:line>");
        write_text("dm:timestamp", &stamp(line.at), out);
        out.extend_from_slice(b"</dm:device>");
    }
    out.extend_from_slice(b"<dm:person");
    write_attribute("id", &entity, out);
    out.extend_from_slice(b"><rpid:activities>");
    write_text_of("rpid:note", " xml:lang=\"Eng\"", consolidated.note, out);
    let (element, text) = consolidated.element();
    write_element(element, text, out);
    out.extend_from_slice(b"</rpid:activities>");
    write_sources(&sources, &consolidated, out);
    out.extend_from_slice(b"</dm:person></presence>\n");
}

/// Somebody whom the directory does not know.
//= BLUSTAR 2.1
//# whoever is not found is shown as unknown
fn unknown() -> Sources<'static> {
    Sources {
        own: Some(Own {
            status: "unknown",
            note: "",
            stamp: "",
            at: Timestamp(0),
        }),
        ..Sources::default()
    }
}

/// What the newest BluStar publication that names a service says of it.
fn service_of(newest: &[&Content], service: &str) -> Option<bool> {
    newest.iter().find_map(|content| {
        let mut tuples = stored::items(&content.stored).filter(|item| item.kind == Kind::Tuple);
        let tuple = tuples.find(|tuple| tuple.id == service)?;
        Some(tuple.xml.contains("<basic>open</basic>"))
    })
}

/// The parts that the consolidated status was made of.
//= BLUSTAR 5.1
//# blustar, A400, externalUC, calendar, in this order
fn write_sources(sources: &Sources<'_>, consolidated: &Consolidated<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<aa:presence>");
    out.extend_from_slice(b"<aa:blustar>");
    match &sources.own {
        Some(own) => {
            write_text("aa:status", own.status, out);
            //= BLUSTAR 4.3
            //# a note without text is an empty element, in the language that is always named
            write_text_of("aa:note", " xml:lang=\"Eng\"", own.note, out);
            if own.at.0 > 0 {
                let at = stamp(own.at);
                let text = if own.stamp.is_empty() { &at } else { own.stamp };
                write_text("aa:timestamp", text, out);
            }
        }
        None => {
            let status = match consolidated.status {
                Status::Unknown => "unknown",
                _ => SIGNED_OUT,
            };
            write_text("aa:status", status, out);
            write_text_of("aa:note", " xml:lang=\"Eng\"", "", out);
        }
    }
    out.extend_from_slice(b"</aa:blustar>");
    if let Some(a400) = sources.a400 {
        for part in ["<aa:A400>", a400, "</aa:A400>"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    write_external_uc(sources, out);
    for (calendar, _) in &sources.calendar {
        for part in ["<aa:calendar>", calendar, "</aa:calendar>"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"</aa:presence>");
}

/// Another system's state, with where calls are forwarded to by BluStar's own wish.
fn write_external_uc(sources: &Sources<'_>, out: &mut Vec<u8>) {
    const NOWHERE: &[u8] = b"<aa:fwdDestination/>";
    let mut forward = Vec::new();
    if let Some(to) = sources.forward {
        write_text("aa:fwdDestination", to, &mut forward);
    }
    let nothing = || {
        let mut xml = Vec::new();
        write_external("unknown", ["", "", ""], &mut xml);
        Cow::Owned(xml)
    };
    let xml = match (&sources.external, sources.forward) {
        (Some(external), _) => Cow::Borrowed(&*external.xml),
        (None, Some(_)) => nothing(),
        (None, None) => return,
    };
    out.extend_from_slice(b"<aa:externalUC>");
    let place = xml.windows(NOWHERE.len()).position(|text| text == NOWHERE);
    match place.filter(|_| !forward.is_empty()) {
        Some(place) => {
            out.extend_from_slice(&xml[..place]);
            out.extend_from_slice(&forward);
            out.extend_from_slice(&xml[place + NOWHERE.len()..]);
        }
        None => out.extend_from_slice(&xml),
    }
    out.extend_from_slice(b"</aa:externalUC>");
}

/// A time to the second, as BluStar prints it.
fn stamp(at: Timestamp) -> String {
    let seconds = i64::try_from(at.0 / 1_000).unwrap_or_default();
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |at| at.to_string())
}
