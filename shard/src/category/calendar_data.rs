//! The category `calendarData` (MS-PRES 2.2.2.7.8): working hours, which the server copies into
//! `workingHours`, and free/busy times, which it passes on and can read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::category::write_attribute;
use crate::xml::Element;

/// The category's namespace.
const CALENDAR: &str = "http://schemas.microsoft.com/2006/09/sip/calendarData";
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

/// Reads the free/busy slots of a freeBusy element's text: base64 of two bits each (encoding version 1) or
/// of three bits each (version 2). Bits that do not fill a slot are left out.
#[must_use]
pub fn free_busy(text: &str, encoding_version: u32) -> Option<Vec<Slot>> {
    let bits_per_slot = match encoding_version {
        1 => 2,
        2 => 3,
        _ => return None,
    };
    let text: String = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && *c != '=')
        .collect();
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    let mut slots = Vec::with_capacity(bytes.len() * 8 / bits_per_slot);
    let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    for slot in 0..bytes.len() * 8 / bits_per_slot {
        let number =
            (0..bits_per_slot).fold(0, |number, at| number << 1 | bit(slot * bits_per_slot + at));
        slots.push(match number {
            0 => Slot::Free,
            1 => Slot::Tentative,
            2 => Slot::Busy,
            3 => Slot::OutOfOffice,
            4 => Slot::Elsewhere,
            _ => return None,
        });
    }
    Some(slots)
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
    //# free/busy times come in slots of two bits, or of three where working elsewhere is known
    #[test]
    fn both_encodings_of_free_and_busy_are_read() {
        use Slot::{Busy, Elsewhere, Free, OutOfOffice, Tentative};
        // 00 00 10 10 01 01 11 11: free, busy, tentative, out of office, twice each.
        assert_eq!(
            free_busy("Cl8=", 1),
            Some(vec![
                Free,
                Free,
                Busy,
                Busy,
                Tentative,
                Tentative,
                OutOfOffice,
                OutOfOffice
            ])
        );
        // The document's own bit stream: 000 000 010 010 001 001 011 011 100 000, and two bits of filling.
        assert_eq!(
            free_busy("ASJbgA==", 2),
            Some(vec![
                Free,
                Free,
                Busy,
                Busy,
                Tentative,
                Tentative,
                OutOfOffice,
                OutOfOffice,
                Elsewhere,
                Free
            ])
        );
        assert_eq!(free_busy("////", 2), None, "five has no meaning");
        assert_eq!(free_busy("AAAA", 3), None, "a third encoding is not known");
        assert_eq!(free_busy("A*", 1), None, "no base64");
    }
}
