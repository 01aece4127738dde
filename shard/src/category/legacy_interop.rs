//! The category `legacyInterop` (MS-PRES 2.2.2.7.6), and what it looks like to watchers of older formats.

use crate::category::state::Class;
use crate::category::write_attribute;

//= MS-PRES 2.2.2.7.6
//= type=exception
// excepts: PRES-2.2.2.7.6-04 optional: dndState says so itself, and no watcher of a standard format could see it
/// What standard watchers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyInterop {
    /// How available, see [`Class`].
    pub availability: u32,
    /// What is being done; empty when it has no token.
    pub token: Box<str>,
}

/// The token that has a mapping of its own.
const ON_THE_PHONE: &str = "on-the-phone";

/// An availability as PIDF and RPID have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsPidf {
    /// Open or closed.
    pub open: bool,
    /// The RPID activity.
    pub activity: Option<&'static str>,
}

/// An availability as the MSRTC format has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsMsrtc {
    /// `state/@avail`
    pub avail: u32,
    /// `availability/@aggregate`
    pub availability: u32,
    /// `activity/@aggregate`
    pub activity: u32,
    /// What to call it when there is no token (contradiction C-42).
    pub name: &'static str,
}

impl LegacyInterop {
    /// Appends the XML, in the namespace of the categories document around it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<legacyInterop");
        write_attribute("availability", &self.availability.to_string(), out);
        if !self.token.is_empty() {
            write_attribute("token", &self.token, out);
        }
        out.extend_from_slice(b"/>");
    }

    /// Leaves whether somebody is there, and not what it does.
    pub fn hide_activity(&mut self) {
        let open = self.as_pidf().open;
        self.availability = if open { 3_500 } else { 18_500 };
        self.token = Box::default();
    }

    /// As a PIDF watcher sees it.
    //= MS-PRES 3.7.5.4
    //# the table from availability and token to PIDF status and RPID activity
    #[must_use]
    pub fn as_pidf(&self) -> AsPidf {
        let (open, activity) = match Class::of(self.availability) {
            Class::Unknown | Class::Offline => (false, None),
            Class::Online => (true, None),
            Class::Busy if &*self.token == ON_THE_PHONE => (true, Some(ON_THE_PHONE)),
            Class::Busy | Class::DoNotDisturb => (true, Some("busy")),
            Class::Idle | Class::BusyIdle | Class::BeRightBack | Class::Away => {
                (true, Some("away"))
            }
        };
        AsPidf { open, activity }
    }

    /// As an MSRTC watcher sees it.
    //= MS-PRES 3.7.5.5
    //# the table from availability and token to the attributes of the MSRTC document
    #[must_use]
    pub fn as_msrtc(&self) -> AsMsrtc {
        let on_the_phone = &*self.token == ON_THE_PHONE;
        let (avail, availability, activity, name) = match Class::of(self.availability) {
            Class::Unknown | Class::Offline => (18_500, 0, 100, "offline"),
            Class::Online => (3_500, 300, 400, "online"),
            Class::Idle => (15_500, 300, 100, "away"),
            Class::Busy if on_the_phone => (6_500, 300, 500, "busy"),
            Class::Busy => (6_500, 300, 600, "busy"),
            Class::BusyIdle => (15_500, 300, 100, "away"),
            Class::DoNotDisturb => (9_500, 300, 600, "do-not-disturb"),
            Class::BeRightBack => (12_500, 300, 300, "be-right-back"),
            Class::Away => (15_500, 300, 100, "away"),
        };
        AsMsrtc {
            avail,
            availability,
            activity,
            name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legacy(availability: u32, token: &str) -> LegacyInterop {
        LegacyInterop {
            availability,
            token: token.into(),
        }
    }

    //= MS-PRES 3.7.5.4
    //= type=test
    // proves: PRES-3.7.5.4-03 PRES-3.7.5.4-04 PRES-3.7.5.4-05 PRES-3.7.5.4-06 PRES-3.7.5.4-07
    // proves: PRES-3.7.5.4-08 PRES-3.7.5.4-09 PRES-3.7.5.4-10
    #[test]
    fn the_table_of_pidf() {
        for (availability, token, open, activity) in [
            (0, "", false, None),
            (2_999, "", false, None),
            (3_000, "", true, None),
            (4_499, "on-the-phone", true, None),
            (4_500, "", true, Some("away")),
            (5_999, "", true, Some("away")),
            (6_000, "in-a-meeting", true, Some("busy")),
            (6_000, "on-the-phone", true, Some("on-the-phone")),
            (7_499, "on-the-phone", true, Some("on-the-phone")),
            (7_499, "", true, Some("busy")),
            (7_500, "on-the-phone", true, Some("away")),
            (8_999, "", true, Some("away")),
            (9_000, "", true, Some("busy")),
            (11_999, "", true, Some("busy")),
            (12_000, "", true, Some("away")),
            (14_999, "", true, Some("away")),
            (15_000, "", true, Some("away")),
            (17_999, "", true, Some("away")),
            (18_000, "", false, None),
            (18_500, "", false, None),
        ] {
            assert_eq!(
                legacy(availability, token).as_pidf(),
                AsPidf { open, activity },
                "{availability} {token}"
            );
        }
    }

    //= MS-PRES 3.7.5.5
    //= type=test
    // proves: PRES-3.7.5.5-09 PRES-3.7.5.5-10 PRES-3.7.5.5-11 PRES-3.7.5.5-12 PRES-3.7.5.5-13
    // proves: PRES-3.7.5.5-14 PRES-3.7.5.5-15 PRES-3.7.5.5-16 PRES-3.7.5.5-17
    #[test]
    fn the_table_of_msrtc() {
        for (availability, token, avail, aggregate, activity) in [
            (0, "", 18_500, 0, 100),
            (2_999, "", 18_500, 0, 100),
            (3_000, "", 3_500, 300, 400),
            (4_499, "", 3_500, 300, 400),
            (4_500, "", 15_500, 300, 100),
            (5_999, "", 15_500, 300, 100),
            (6_000, "", 6_500, 300, 600),
            (7_499, "busy", 6_500, 300, 600),
            (6_000, "on-the-phone", 6_500, 300, 500),
            (7_499, "on-the-phone", 6_500, 300, 500),
            (7_500, "on-the-phone", 15_500, 300, 100),
            (8_999, "", 15_500, 300, 100),
            (9_000, "", 9_500, 300, 600),
            (11_999, "", 9_500, 300, 600),
            (12_000, "", 12_500, 300, 300),
            (14_999, "", 12_500, 300, 300),
            (15_000, "", 15_500, 300, 100),
            (17_999, "", 15_500, 300, 100),
            (18_000, "", 18_500, 0, 100),
            (18_500, "", 18_500, 0, 100),
        ] {
            let seen = legacy(availability, token).as_msrtc();
            assert_eq!(
                (seen.avail, seen.availability, seen.activity),
                (avail, aggregate, activity),
                "{availability} {token}"
            );
        }
    }

    // proves: PRES-2.2.2.7.6-02
    #[test]
    fn a_token_is_optional() {
        for (token, expected) in [
            ("", "<legacyInterop availability=\"6500\"/>"),
            (
                "a\"b",
                "<legacyInterop availability=\"6500\" token=\"a&quot;b\"/>",
            ),
        ] {
            let mut out = Vec::new();
            legacy(6_500, token).write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
