//! The category `calendarData` (MS-PRES 2.2.2.7.8): working hours, which the server copies into
//! `workingHours`, and free/busy times, which it passes on and can read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::category::write_attribute;
use crate::time::Timestamp;
use crate::xml::Element;

/// The category's namespace.
pub(super) const CALENDAR: &str = "http://schemas.microsoft.com/2006/09/sip/calendarData";
/// The namespace of the working hours.
const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";

/// When a person works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingHours {
    /// Whose calendar; empty when it was not said.
    pub mailbox_id: Box<str>,
    /// The element WorkingHours as it was written, able to stand in a calendarData element.
    pub hours: Box<str>,
}

impl WorkingHours {
    /// The working hours of a calendarData element that has any.
    #[must_use]
    pub fn read(element: Element<'_, '_>) -> Option<WorkingHours> {
        if !element.is(CALENDAR, "calendarData") {
            return None;
        }
        let hours = element
            .children()
            .find(|child| child.is(TYPES, "WorkingHours"))?;
        let mut out = Vec::new();
        hours.write_standalone(&[("", CALENDAR)], &mut out);
        Some(WorkingHours {
            mailbox_id: element.attribute("mailboxID").unwrap_or_default().into(),
            hours: String::from_utf8(out).ok()?.into(),
        })
    }

    /// Appends the XML of `workingHours`, which has the form of calendarData (MS-PRES 2.2.2.7.9).
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in ["<calendarData xmlns=\"", CALENDAR, "\""] {
            out.extend_from_slice(part.as_bytes());
        }
        if !self.mailbox_id.is_empty() {
            write_attribute("mailboxID", &self.mailbox_id, out);
        }
        out.push(b'>');
        out.extend_from_slice(self.hours.as_bytes());
        out.extend_from_slice(b"</calendarData>");
    }
}

/// How a slot of time is taken. The numbers are those of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Slot {
    /// Nothing planned.
    Free = 0,
    /// Perhaps something.
    Tentative = 1,
    /// Taken.
    Busy = 2,
    /// Not in the office.
    OutOfOffice = 3,
    /// In another place; of the second encoding only.
    Elsewhere = 4,
}

/// Minutes of one slot, as every client has them.
pub const SLOT_MINUTES: u32 = 15;

/// Appends a calendarData element with free/busy slots of a quarter of an hour each, in the encoding of
/// instances whose number begins with the bits 00, which every client reads. It has no word for another
/// place: who works elsewhere is free there.
//= MS-PRES 2.2.2.7.8
//# two bits a slot, from a time in UTC, in base64
pub fn write_free_busy(mailbox_id: &str, start: Timestamp, slots: &[Slot], out: &mut Vec<u8>) {
    let bits = |slot: &Slot| match slot {
        Slot::Free | Slot::Elsewhere => 0,
        Slot::Tentative => 1,
        Slot::Busy => 2,
        Slot::OutOfOffice => 3,
    };
    let bytes = slots.chunks(4).map(|four| {
        let placed = four.iter().zip([6, 4, 2, 0]);
        placed.fold(0_u8, |byte, (slot, place)| byte | bits(slot) << place)
    });
    let bytes: Vec<u8> = bytes.collect();
    out.extend_from_slice(b"<calendarData xmlns=\"");
    out.extend_from_slice(CALENDAR.as_bytes());
    out.push(b'"');
    if !mailbox_id.is_empty() {
        write_attribute("mailboxID", mailbox_id, out);
    }
    let start = start.to_string();
    // To the second, as every example has it.
    let second = start.get(..19).unwrap_or_default();
    for part in [
        "><freeBusy startTime=\"",
        second,
        "Z\" granularity=\"PT15M\" encodingVersion=\"1\">",
        &base64::engine::general_purpose::STANDARD.encode(bytes),
        "</freeBusy></calendarData>",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Bytes of a freeBusy element that are read: 384 slots take 96, or 144 and a small map.
const FREE_BUSY_BYTES_MAX: usize = 4_096;

/// Reads the free/busy slots of a freeBusy element's text, base64. The two highest bits of the number of
/// the instance it stands in say how: 00 for two bits a slot, 01 for a number of kinds, a map for kinds
/// of a later time, and slots just wide enough. Bits that do not fill a slot are left out.
//= MS-PRES 2.2.2.7.8
//# the bits mean what the two highest bits of the instance's number say
#[must_use]
pub fn free_busy(text: &str, instance: u32) -> Option<Vec<Slot>> {
    let text: String = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && *c != '=')
        .collect();
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    if bytes.len() > FREE_BUSY_BYTES_MAX {
        return None;
    }
    match instance >> 30 {
        0b00 => slots(&bytes, 2).map(Slot::from_number).collect(),
        0b01 => {
            let (kinds, rest) = bytes.split_first()?;
            let later = usize::from(*kinds).saturating_sub(Slot::KNOWN);
            let (map, stream) = rest.split_at_checked(later)?;
            // As many bits as the greatest number needs, and one at least.
            let width = u8::BITS - kinds.checked_sub(1)?.leading_zeros();
            let known = |number: u8| Slot::fall_back(number, map).filter(|_| number < *kinds);
            slots(stream, width.max(1)).map(known).collect()
        }
        _ => None,
    }
}

/// The numbers of so many bits each that a stream of bits holds.
fn slots(bytes: &[u8], width: u32) -> impl Iterator<Item = u8> {
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let whole = bits.len() / width as usize;
    (0..whole).map(move |slot| {
        let begin = slot * width as usize;
        let own = &bits[begin..begin + width as usize];
        own.iter().fold(0, |number, bit| number << 1 | bit)
    })
}

impl Slot {
    /// How many kinds there are.
    const KNOWN: usize = 5;

    fn from_number(number: u8) -> Option<Slot> {
        [
            Slot::Free,
            Slot::Tentative,
            Slot::Busy,
            Slot::OutOfOffice,
            Slot::Elsewhere,
        ]
        .into_iter()
        .find(|known| *known as u8 == number)
    }

    /// The kind that a number stands for, or else the kind that the map puts in its place; the map leads
    /// to lower numbers only.
    fn fall_back(mut number: u8, map: &[u8]) -> Option<Slot> {
        while usize::from(number) >= Slot::KNOWN {
            let earlier = *map.get(usize::from(number) - Slot::KNOWN)?;
            if earlier >= number {
                return None;
            }
            number = earlier;
        }
        Slot::from_number(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Document;

    #[test]
    fn working_hours_are_taken_out() {
        let text = format!(
            "<calendarData xmlns=\"{CALENDAR}\" mailboxID=\"bob@contoso.com\"><WorkingHours xmlns=\"{TYPES}\">\
             <TimeZone><Bias>480</Bias></TimeZone></WorkingHours></calendarData>"
        );
        let document = Document::parse(text.as_bytes()).expect("well-formed");
        let hours = WorkingHours::read(document.root()).expect("hours");
        let mut out = Vec::new();
        hours.write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), text);
        let without = format!("<calendarData xmlns=\"{CALENDAR}\"><freeBusy/></calendarData>");
        let document = Document::parse(without.as_bytes()).expect("well-formed");
        assert_eq!(WorkingHours::read(document.root()), None);
    }

    //= MS-PRES 2.2.2.7.8
    //= type=test
    #[test]
    fn free_and_busy_is_read_as_it_was_written() {
        use Slot::{Busy, Elsewhere, Free, OutOfOffice, Tentative};
        let slots = [Free, Tentative, Busy, OutOfOffice, Elsewhere, Busy];
        let mut out = Vec::new();
        let start = Timestamp(1_266_134_400_000);
        write_free_busy("a&b@x", start, &slots, &mut out);
        let document = Document::parse(&out).expect("well-formed");
        let root = document.root();
        assert!(root.is(CALENDAR, "calendarData"));
        assert_eq!(root.attribute("mailboxID").as_deref(), Some("a&b@x"));
        let free_busy_element = root.children().next().expect("a child");
        let attribute = |name| free_busy_element.attribute(name);
        assert_eq!(
            attribute("startTime").as_deref(),
            Some("2010-02-14T08:00:00Z")
        );
        assert_eq!(attribute("granularity").as_deref(), Some("PT15M"));
        let read = free_busy(&free_busy_element.text(), 0x1234);
        assert_eq!(letters(read).as_deref(), Some("FTBOFBFF"));
    }

    /// Base64 of a stream of bits, filled up with zeros, behind a head of whole bytes.
    fn encoded(head: &[u8], bits: &str) -> String {
        let mut bytes = head.to_vec();
        let bits: Vec<u8> = bits.bytes().map(|bit| bit - b'0').collect();
        bytes.extend(bits.chunks(8).map(|chunk| {
            let byte = chunk.iter().fold(0, |byte, bit| byte << 1 | bit);
            byte << (8 - chunk.len())
        }));
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    /// F, T, B, O, E for the five kinds.
    fn letters(slots: Option<Vec<Slot>>) -> Option<String> {
        let letter = |slot: &Slot| char::from(b"FTBOE"[*slot as usize]);
        slots.map(|slots| slots.iter().map(letter).collect())
    }

    // proves: PRES-2.2.2.7.8-03
    //= MS-PRES 2.2.2.7.8
    //= type=test
    //# slots have two bits, or as many as the kinds need, behind a map for kinds of a later time
    #[test]
    fn both_encodings_of_free_and_busy_are_read() {
        let (first, second) = (0x0000_0000, 0x4000_0000);
        // The two bit streams that the section spells out. The first fills five bytes but for two bits,
        // which read as one more free slot.
        let plain = encoded(&[], "00000000001010101001010101111111110000");
        let wide = encoded(&[5], "000000010010001001011011100000");
        // Seven kinds: 5 falls back to 3, and 6 by way of 5.
        let later = encoded(&[7, 3, 5], "101110000");
        let few = encoded(&[3], "00011011");
        let hundred = encoded(&[5], &"010".repeat(100));
        for (name, text, instance, expected) in [
            (
                "the first example",
                &*plain,
                first,
                Some("FFFFFBBBBTTTTOOOOFFF".to_owned()),
            ),
            (
                "with an instance of its own",
                &*plain,
                0x3fff_ffff,
                Some("FFFFFBBBBTTTTOOOOFFF".to_owned()),
            ),
            (
                "the second example",
                &*wide,
                second,
                Some("FFBBTTOOEF".to_owned()),
            ),
            (
                "kinds of a later time",
                &*later,
                0x7fff_ffff,
                Some("OOFFF".to_owned()),
            ),
            ("a kind beyond the number of kinds", &*few, second, None),
            (
                "three kinds in two bits",
                &encoded(&[3], "000110"),
                second,
                Some("FTBF".to_owned()),
            ),
            (
                "a hundred slots",
                &*hundred,
                second,
                Some("B".repeat(100) + "F"),
            ),
            (
                "only the map",
                &encoded(&[6, 2], ""),
                second,
                Some(String::new()),
            ),
            ("a map cut off", &encoded(&[7, 3], ""), second, None),
            (
                "a map that leads nowhere",
                &encoded(&[6, 5], "101"),
                second,
                None,
            ),
            ("no kinds", &encoded(&[0], ""), second, None),
            ("nothing", "", second, None),
            ("nothing, the first way", " \n", first, Some(String::new())),
            ("a third way", &*plain, 0x8000_0000, None),
            ("a fourth", &*plain, 0xc000_0000, None),
            ("no base64", "A*", first, None),
        ] {
            assert_eq!(letters(free_busy(text, instance)), expected, "{name}");
        }
    }
}
