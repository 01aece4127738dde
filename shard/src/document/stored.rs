//! The stored form of a presence document: its elements, canonical, ready to be put together.
//!
//! One version byte, then per element: a kind, three texts with their lengths before them. The form is
//! in logs and snapshots, so it is read for ever.

use crate::presence::call::{self, Line};

/// The version of the form.
const VERSION: u8 = 1;

/// What an element is. The numbers are stored, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A tuple: one service or device of the presentity.
    Tuple = 1,
    /// A note about the presentity.
    Note = 2,
    /// The person (RFC 4479).
    Person = 3,
    /// A device (RFC 4479); its key is the deviceID.
    Device = 4,
    /// An element of another namespace.
    Extension = 5,
    /// What a BluStar client says: the id is its status, the key its free text, the rest its time.
    Status = 6,
    /// An appointment: the id is its state; the key is begin, end and time; the rest its elements.
    Calendar = 7,
    /// Another presence system: the id is its status; the key is time and free text; the rest its elements.
    External = 8,
    /// A telephone line: the id is its number, the key its state, the rest where it is forwarded to.
    Line = 9,
    /// What a communication system says: its elements.
    A400 = 10,
    /// Where calls go: the id is the URI.
    Forward = 11,
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) kind: Kind,
    /// Its id; the composer writes it, so that it can make it unique.
    pub(super) id: &'a str,
    /// What makes two the same thing.
    pub(super) key: &'a str,
    /// What follows the id attribute's closing quote and `>`; the whole element where there is no id.
    pub(super) xml: &'a str,
}

/// Begins a stored form.
pub(super) fn begin() -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.push(VERSION);
    out
}

/// Appends one element, whose text `write` writes.
pub(super) fn push(
    kind: Kind,
    id: &str,
    key: &str,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    out.push(kind as u8);
    put(id, out);
    put(key, out);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - at - 4).expect("a body is at most 65,535 bytes");
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

fn put(text: &str, out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("a body is at most 65,535 bytes");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The elements of a stored form, in order. What is not one ends the row: nothing that another release
/// wrote can make a replica fall.
///
/// Calls that were published have items as well: a line, and an open telephone with a person on it while they
/// keep it busy. So they lie over what else is published as a gateway's document does.
pub(super) fn items(stored: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let of_calls = call::line(stored).into_iter().flat_map(|(line, state)| {
        let item = |kind, id, key, xml| Item { kind, id, key, xml };
        let busy = state == Line::Busy;
        let telephone = item(Kind::Tuple, "line", "", TELEPHONE);
        let person = item(Kind::Person, "line", "", ON_THE_PHONE);
        let over = [telephone, person].into_iter().filter(move |_| busy);
        over.chain([item(Kind::Line, line, line_state(state), "")])
    });
    let mut rest = match stored.split_first() {
        Some((&VERSION, rest)) => rest,
        _ => &[],
    };
    let written = std::iter::from_fn(move || {
        let (item, after) = item(rest)?;
        rest = after;
        Some(item)
    });
    of_calls.chain(written)
}

/// An open tuple, behind its id.
const TELEPHONE: &str = "<status><basic>open</basic></status></tuple>";

/// A person who is on the phone, behind its id.
const ON_THE_PHONE: &str = "<rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>";

/// The word of aa.xsd.
//= BLUSTAR 3.1
//# the state of a line is idle, ringing, busy or unknown
fn line_state(state: Line) -> &'static str {
    match state {
        Line::Idle => "idle",
        Line::Ringing => "ringing",
        Line::Busy => "busy",
    }
}

fn item(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (kind, bytes) = bytes.split_first()?;
    let kind = [
        Kind::Tuple,
        Kind::Note,
        Kind::Person,
        Kind::Device,
        Kind::Extension,
        Kind::Status,
        Kind::Calendar,
        Kind::External,
        Kind::Line,
        Kind::A400,
        Kind::Forward,
    ]
    .into_iter()
    .find(|known| *known as u8 == *kind)?;
    let (id, bytes) = short(bytes)?;
    let (key, bytes) = short(bytes)?;
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    let (xml, bytes) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((
        Item {
            kind,
            id,
            key,
            xml: std::str::from_utf8(xml).ok()?,
        },
        bytes,
    ))
}

fn short(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, bytes) = bytes.split_first_chunk::<2>()?;
    let (text, bytes) = bytes.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, bytes))
}
