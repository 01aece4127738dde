//! The category `state` (MS-PRES 2.2.2.7.1): what a person or a device is doing, and what the server makes
//! of all of them.

use crate::category::{COMMON_TYPES, write_attribute, write_text};
use crate::time::Timestamp;
use crate::xml::Element;

/// The category's namespace.
const STATE: &str = "http://schemas.microsoft.com/2006/09/sip/state";
/// The namespace of `xsi:type`.
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// What a state instance speaks of. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Set by the person.
    User = 1,
    /// Of one device.
    Machine = 2,
    /// Of the calendar.
    Calendar = 3,
    /// Of conversations.
    Phone = 4,
    /// Presenting.
    Presenting = 5,
    /// The person as a whole.
    Aggregate = 6,
    /// All devices together.
    AggregateMachine = 7,
}

impl Kind {
    const ALL: [(Kind, &'static str); 7] = [
        (Kind::User, "userState"),
        (Kind::Machine, "machineState"),
        (Kind::Calendar, "calendarState"),
        (Kind::Phone, "phoneState"),
        (Kind::Presenting, "presentingState"),
        (Kind::Aggregate, "aggregateState"),
        (Kind::AggregateMachine, "aggregateMachineState"),
    ];

    /// The kind that an `xsi:type` names.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        let found = Kind::ALL.iter().find(|(_, text)| *text == name)?;
        Some(found.0)
    }

    /// The kind with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Kind> {
        let found = Kind::ALL.iter().find(|(kind, _)| *kind as u8 == number)?;
        Some(found.0)
    }

    /// As in `xsi:type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = Kind::ALL.iter().find(|(kind, _)| *kind == self);
        found.expect("every kind is in the table").1
    }
}

/// The class that an availability falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 0 to 2999
    Unknown,
    /// 3000 to 4499
    Online,
    /// 4500 to 5999
    Idle,
    /// 6000 to 7499
    Busy,
    /// 7500 to 8999
    BusyIdle,
    /// 9000 to 11999
    DoNotDisturb,
    /// 12000 to 14999: away, and back soon
    BeRightBack,
    /// 15000 to 17999
    Away,
    /// 18000 and up
    Offline,
}

/// Nobody is there.
pub const OFFLINE: u32 = 18_500;

impl Class {
    /// The class of an availability.
    //= MS-PRES 2.2.2.7.1
    //# availability is a number whose range is its class
    #[must_use]
    pub fn of(availability: u32) -> Class {
        match availability {
            0..=2_999 => Class::Unknown,
            3_000..=4_499 => Class::Online,
            4_500..=5_999 => Class::Idle,
            6_000..=7_499 => Class::Busy,
            7_500..=8_999 => Class::BusyIdle,
            9_000..=11_999 => Class::DoNotDisturb,
            12_000..=14_999 => Class::BeRightBack,
            15_000..=17_999 => Class::Away,
            _ => Class::Offline,
        }
    }
}

/// Activities of one state: clients write one, sometimes two.
const ACTIVITIES_MAX: usize = 16;

/// An activity, and for which availabilities it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// A token that clients translate; empty when there is none.
    pub token: Box<str>,
    /// `custom` elements, as they were written; empty when there are none.
    pub custom: Box<str>,
    /// The lowest availability it is valid for.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

/// One instance of `state`. Texts that are not there are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What it speaks of.
    pub kind: Kind,
    /// Whether the person set it by hand.
    pub manual: bool,
    /// Since when it holds, if it says so.
    pub start_time: Option<Timestamp>,
    /// The endpoint of the most active device, lower case; of [`Kind::AggregateMachine`] only.
    pub endpoint_id: Box<str>,
    /// Since when the person is away, to the second; of [`Kind::Aggregate`] only.
    pub last_active: Option<Timestamp>,
    /// How available, see [`Class`]; one that a publisher left out counts as unknown, 0.
    pub availability: u32,
    /// What is being done; an aggregate has one at most.
    pub activities: Box<[Activity]>,
    /// Where the device is.
    pub endpoint_location: Box<str>,
    /// About what the meeting is.
    pub meeting_subject: Box<str>,
    /// Where the meeting is.
    pub meeting_location: Box<str>,
    /// Minutes between UTC and local time, as it was written.
    pub time_zone_bias: Box<str>,
    /// Name of the time zone.
    pub time_zone_name: Box<str>,
    /// Its abbreviation.
    pub time_zone_abbreviation: Box<str>,
    /// Kind of device: `computer`, `mobile` and so on.
    pub device: Box<str>,
}

impl State {
    /// A state that says nothing but how available.
    #[must_use]
    pub fn new(kind: Kind, availability: u32) -> State {
        State {
            kind,
            manual: false,
            start_time: None,
            endpoint_id: "".into(),
            last_active: None,
            availability,
            activities: Box::default(),
            endpoint_location: "".into(),
            meeting_subject: "".into(),
            meeting_location: "".into(),
            time_zone_bias: "".into(),
            time_zone_name: "".into(),
            time_zone_abbreviation: "".into(),
            device: "".into(),
        }
    }

    /// Reads a publisher's state.
    ///
    /// # Errors
    /// What is wrong with it.
    //= MS-PRES 2.2.2.7.1
    //# xsi:type is one of seven; availability is a number
    pub fn read(element: Element<'_, '_>) -> Result<State, &'static str> {
        if !element.is(STATE, "state") {
            return Err("a state is an element state of its namespace");
        }
        let kind = element.attribute_of(XSI, "type");
        // The type may be written with a prefix, as every QName.
        let kind = kind.as_deref().map(str::trim);
        let kind = kind.and_then(|name| Kind::named(name.rsplit(':').next().unwrap_or(name)));
        let mut state = State::new(kind.ok_or("xsi:type names no kind of state")?, 0);
        state.manual = flag(element.attribute("manual").as_deref())?;
        if let Some(text) = element.attribute("startTime") {
            state.start_time = Some(instant(&text).ok_or("startTime is no time")?);
        }
        if state.kind == Kind::AggregateMachine
            && let Some(endpoint) = element.attribute("endpointId")
        {
            state.endpoint_id = endpoint.trim().to_ascii_lowercase().into();
        }
        let mut activities = Vec::new();
        for child in element.children() {
            let text = || -> Box<str> { child.text().as_ref().into() };
            match (child.namespace(), child.local()) {
                (STATE, "availability") => {
                    let number = child.text();
                    state.availability = number.parse().map_err(|_| "availability is no number")?;
                }
                (STATE, "activity") if activities.len() >= ACTIVITIES_MAX => {
                    return Err("too many activities");
                }
                (STATE, "activity") => activities.push(Activity::read(child)?),
                (STATE, "endpointLocation") => state.endpoint_location = text(),
                (STATE, "meetingSubject") => state.meeting_subject = text(),
                (STATE, "meetingLocation") => state.meeting_location = text(),
                (STATE, "timeZoneBias") => state.time_zone_bias = text(),
                (STATE, "timeZoneName") => state.time_zone_name = text(),
                (STATE, "timeZoneAbbreviation") => state.time_zone_abbreviation = text(),
                (STATE, "device") => state.device = text(),
                _ => {}
            }
        }
        state.activities = activities.into();
        Ok(state)
    }

    /// Appends the XML of an aggregate.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<state xmlns=\"");
        out.extend_from_slice(STATE.as_bytes());
        out.extend_from_slice(b"\" xmlns:xsi=\"");
        out.extend_from_slice(XSI.as_bytes());
        out.extend_from_slice(b"\" xsi:type=\"");
        out.extend_from_slice(self.kind.as_str().as_bytes());
        out.push(b'"');
        if self.manual {
            out.extend_from_slice(b" manual=\"true\"");
        }
        if !self.endpoint_id.is_empty() {
            write_attribute("endpointId", &self.endpoint_id, out);
        }
        if let Some(at) = self.last_active {
            let text = at.to_string();
            // To the second and without a zone, as every example has it.
            write_attribute("lastActive", &text[..text.len().min(19)], out);
        }
        out.push(b'>');
        write_text("availability", &self.availability.to_string(), out);
        for activity in &self.activities {
            activity.write(out);
        }
        write_text("endpointLocation", &self.endpoint_location, out);
        write_text("meetingSubject", &self.meeting_subject, out);
        write_text("meetingLocation", &self.meeting_location, out);
        let extended = [
            ("timeZoneBias", &self.time_zone_bias),
            ("timeZoneName", &self.time_zone_name),
            ("timeZoneAbbreviation", &self.time_zone_abbreviation),
            ("device", &self.device),
        ];
        if extended.iter().any(|(_, text)| !text.is_empty()) {
            write_mark("delimiter", out);
            for (name, text) in extended {
                write_text(name, text, out);
            }
            write_mark("end", out);
        }
        out.extend_from_slice(b"</state>");
    }
}

/// What stands before and behind elements that older clients do not know.
fn write_mark(name: &str, out: &mut Vec<u8>) {
    for part in ["<", name, " xmlns=\"", COMMON_TYPES, "\"/>"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends the XML of `dndState`, which has the form of a state (MS-PRES 2.2.2.7.10).
pub(super) fn write_dnd(on: bool, out: &mut Vec<u8>) {
    for part in [
        "<state xmlns=\"",
        STATE,
        "\" xmlns:xsi=\"",
        XSI,
        "\" xsi:type=\"userState\" manual=\"true\">",
        if on {
            "<availability>9500</availability>"
        } else {
            ""
        },
        "</state>",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

impl Activity {
    fn read(element: Element<'_, '_>) -> Result<Activity, &'static str> {
        //= MS-PRES 2.2.2.7.1
        //# a bound of an activity is a number, or the word for none
        let bound = |name: &str, otherwise: u32| match element.attribute(name) {
            Some(text) if text.trim() == "unbounded" => Ok(u32::MAX),
            Some(text) => text
                .trim()
                .parse()
                .map_err(|_| "a bound of the activity is no number"),
            None => Ok(otherwise),
        };
        let mut custom = Vec::new();
        for child in element.children().filter(|child| child.is(STATE, "custom")) {
            child.write_standalone(&[("", STATE)], &mut custom);
        }
        Ok(Activity {
            token: element.attribute("token").unwrap_or_default().trim().into(),
            custom: String::from_utf8(custom).map_err(|_| "not UTF-8")?.into(),
            min: bound("minAvailability", 0)?,
            max: bound("maxAvailability", u32::MAX)?,
        })
    }

    /// Whether it says anything, and holds at this availability.
    //= MS-PRES 3.8.5.1.2.3
    //# an activity without token and text, or out of its range, does not count
    #[must_use]
    pub fn holds_at(&self, availability: u32) -> bool {
        (!self.token.is_empty() || !self.custom.is_empty())
            && (self.min..=self.max).contains(&availability)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<activity");
        if !self.token.is_empty() {
            write_attribute("token", &self.token, out);
        }
        for (name, bound, none) in [
            ("minAvailability", self.min, 0),
            ("maxAvailability", self.max, u32::MAX),
        ] {
            if bound != none {
                write_attribute(name, &bound.to_string(), out);
            }
        }
        if self.custom.is_empty() {
            out.extend_from_slice(b"/>");
        } else {
            out.push(b'>');
            out.extend_from_slice(self.custom.as_bytes());
            out.extend_from_slice(b"</activity>");
        }
    }
}

fn flag(text: Option<&str>) -> Result<bool, &'static str> {
    match text.map(str::trim) {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err("manual is neither true nor false"),
    }
}

/// A time as xs:dateTime has it; one without a zone is UTC.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let at = text
        .parse::<jiff::Timestamp>()
        .or_else(|_| format!("{text}Z").parse());
    let ms = at.ok()?.as_millisecond();
    u64::try_from(ms).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Document;

    fn read(text: &str) -> Result<State, &'static str> {
        let document = Document::parse(text.as_bytes()).expect("well-formed");
        State::read(document.root())
    }

    fn element(attributes: &str, inside: &str) -> String {
        format!("<state xmlns=\"{STATE}\" xmlns:xsi=\"{XSI}\" {attributes}>{inside}</state>")
    }

    //= MS-PRES 2.2.2.7.1
    //= type=test
    // proves: PRES-2.2.2.7.1-02 PRES-2.2.2.7.1-04 PRES-2.2.2.7.1-06
    #[test]
    fn a_state_is_read_by_its_schema() {
        let good = element(
            "xsi:type=\"calendarState\" manual=\"false\" startTime=\"2008-01-11T19:00:00Z\"",
            "<availability>6500</availability><activity token=\"in-a-meeting\" minAvailability=\"6500\" \
             maxAvailability=\"8999\"/><endpointLocation>\n</endpointLocation>\
             <meetingSubject>A &amp; B</meetingSubject><device>fridge</device>",
        );
        let state = read(&good).expect("a state");
        assert_eq!(state.kind, Kind::Calendar);
        assert_eq!(state.availability, 6_500);
        assert_eq!(state.start_time, Some(Timestamp(1_200_078_000_000)));
        assert_eq!(&*state.meeting_subject, "A & B");
        assert_eq!((&*state.endpoint_location, &*state.device), ("", "fridge"));
        let [activity] = &*state.activities else {
            panic!("one activity")
        };
        assert!(activity.holds_at(6_500) && activity.holds_at(8_999) && !activity.holds_at(9_000));

        let custom = element(
            "xsi:type=\"userState\" manual=\"true\"",
            "<availability>9500</availability><activity><custom LCID=\"1033\">Interviewing</custom></activity>",
        );
        let state = read(&custom).expect("a state");
        assert_eq!(
            &*state.activities[0].custom,
            "<custom LCID=\"1033\">Interviewing</custom>"
        );

        let several = element(
            "xsi:type=\"phoneState\"",
            "<availability>6500</availability><activity token=\"on-the-phone\" maxAvailability=\"unbounded\"/>\
             <activity token=\"in-a-conference\" minAvailability=\"7000\"/>",
        );
        let state = read(&several).expect("a state");
        let read_of = |a: &Activity| (a.token.to_string(), a.min, a.max);
        assert_eq!(
            state.activities.iter().map(read_of).collect::<Vec<_>>(),
            [
                ("on-the-phone".to_owned(), 0, u32::MAX),
                ("in-a-conference".to_owned(), 7_000, u32::MAX)
            ]
        );

        for (name, bad) in [
            (
                "no type",
                element("manual=\"true\"", "<availability>1</availability>"),
            ),
            (
                "another type",
                element("xsi:type=\"moodState\"", "<availability>1</availability>"),
            ),
            (
                "no number",
                element(
                    "xsi:type=\"userState\"",
                    "<availability>busy</availability>",
                ),
            ),
            (
                "no flag",
                element("xsi:type=\"userState\" manual=\"maybe\"", ""),
            ),
            (
                "no time",
                element("xsi:type=\"userState\" startTime=\"noon\"", ""),
            ),
            ("another element", "<note/>".to_owned()),
            (
                "no bound",
                element(
                    "xsi:type=\"userState\"",
                    "<activity token=\"a\" minAvailability=\"low\"/>",
                ),
            ),
            (
                "many activities",
                element(
                    "xsi:type=\"userState\"",
                    &"<activity token=\"a\"/>".repeat(17),
                ),
            ),
        ] {
            assert!(read(&bad).is_err(), "{name}");
        }
    }

    // proves: PRES-2.2.2.7.1-03
    //= MS-PRES 2.2.2.7.1
    //= type=test
    #[test]
    fn an_availability_has_a_class() {
        for (availability, class) in [
            (0, Class::Unknown),
            (2_999, Class::Unknown),
            (3_000, Class::Online),
            (4_499, Class::Online),
            (4_500, Class::Idle),
            (5_999, Class::Idle),
            (6_000, Class::Busy),
            (7_499, Class::Busy),
            (7_500, Class::BusyIdle),
            (8_999, Class::BusyIdle),
            (9_000, Class::DoNotDisturb),
            (11_999, Class::DoNotDisturb),
            (12_000, Class::BeRightBack),
            (14_999, Class::BeRightBack),
            (15_000, Class::Away),
            (17_999, Class::Away),
            (18_000, Class::Offline),
            (u32::MAX, Class::Offline),
        ] {
            assert_eq!(Class::of(availability), class, "{availability}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut state = State::new(Kind::Aggregate, 8_400);
        state.activities = Box::new([
            Activity {
                token: "urgent-interruptions-only".into(),
                max: u32::MAX,
                ..Activity::default()
            },
            Activity {
                token: "in-a-meeting".into(),
                min: 6_500,
                max: 8_999,
                ..Activity::default()
            },
        ]);
        state.meeting_subject = "<a> & \"b\"".into();
        state.time_zone_name = "Pacific".into();
        let mut out = Vec::new();
        state.write(&mut out);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(read(&text).as_ref(), Ok(&state), "{text}");
    }

    #[test]
    fn times_without_a_zone_are_utc() {
        for (text, expected) in [
            ("2008-01-11T19:00:00Z", Some(1_200_078_000_000)),
            ("2008-01-11T19:00:00", Some(1_200_078_000_000)),
            ("2008-01-11T20:00:00+01:00", Some(1_200_078_000_000)),
            ("1969-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(instant(text), expected.map(Timestamp), "{text}");
        }
    }
}
