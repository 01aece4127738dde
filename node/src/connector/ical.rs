//! iCalendar (RFC 5545), as far as it says which times are taken.
//!
//! Recurrences are the server's business: it is asked for free and busy times, or for events that it has
//! expanded. A rule that is left in an answer is an error, because without it events would be missed.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use shard::category::calendar_data::Slot;

/// Periods of one answer: a month of a busy person has some hundreds.
const PERIODS_MAX: usize = 10_000;

/// A time that is taken, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) from: i64,
    /// Not included, and later than `from`.
    pub(super) to: i64,
    pub(super) kind: Slot,
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IcalError {
    /// A value that is none.
    #[error("{0:?} is no time")]
    Time(String),
    /// A zone that nobody here knows.
    #[error("the time zone {0:?} is not known here")]
    Zone(String),
    /// The server did not expand a recurring event.
    #[error("the server leaves recurring events to us")]
    Unexpanded,
    /// More than anybody has.
    #[error("more than {PERIODS_MAX} times are taken")]
    TooMany,
    /// No calendar at all.
    #[error("it is no iCalendar object")]
    NoCalendar,
}

type Read<T> = Result<T, IcalError>;

/// One property.
struct Line<'t> {
    name: &'t str,
    parameters: &'t str,
    value: &'t str,
}

impl<'t> Line<'t> {
    fn parse(text: &'t str) -> Option<Line<'t>> {
        let mut quoted = false;
        let colon = text.char_indices().find_map(|(at, c)| {
            quoted ^= c == '"';
            (c == ':' && !quoted).then_some(at)
        })?;
        let (head, value) = (&text[..colon], text[colon + 1..].trim());
        let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
        Some(Line {
            name,
            parameters,
            value,
        })
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value of a parameter.
    fn parameter(&self, name: &str) -> Option<&'t str> {
        let mut quoted = false;
        let parts = self.parameters.split(move |c| {
            quoted ^= c == '"';
            c == ';' && !quoted
        });
        let mut pairs = parts.filter_map(|part| part.split_once('='));
        let found = pairs.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(found.1.trim_matches('"'))
    }
}

/// The lines of a text, put together again where they were folded.
//= RFC 5545 3.1
//# a line that begins with a blank goes on from the one before
fn unfolded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some(last)) => last.push_str(rest),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// Calls `each` with the properties of every component of this name, without those of components inside it.
fn components(text: &str, wanted: &str, mut each: impl FnMut(&[Line<'_>]) -> Read<()>) -> Read<()> {
    let lines = unfolded(text);
    let mut open: Vec<&str> = Vec::new();
    let mut own: Vec<Line<'_>> = Vec::new();
    let mut is_calendar = false;
    for line in lines.iter().filter_map(|line| Line::parse(line)) {
        if line.is("BEGIN") {
            is_calendar |= line.value.eq_ignore_ascii_case("VCALENDAR");
            if line.value.eq_ignore_ascii_case(wanted) {
                own.clear();
            }
            open.push(line.value);
        } else if line.is("END") {
            if open
                .pop()
                .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
            {
                each(&own)?;
            }
        } else if open
            .last()
            .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
        {
            own.push(line);
        }
    }
    is_calendar.then_some(()).ok_or(IcalError::NoCalendar)
}

fn add(periods: &mut Vec<Period>, period: Period) -> Read<()> {
    if period.to <= period.from || period.kind == Slot::Free {
        return Ok(());
    }
    if periods.len() >= PERIODS_MAX {
        return Err(IcalError::TooMany);
    }
    periods.push(period);
    Ok(())
}

/// The times that a VFREEBUSY says are taken.
//= RFC 5545 3.8.2.6
//# periods with the kind in FBTYPE, BUSY where there is none, and what is unknown as BUSY
pub(super) fn free_busy(text: &str) -> Read<Vec<Period>> {
    let mut periods = Vec::new();
    components(text, "VFREEBUSY", |lines| {
        for line in lines.iter().filter(|line| line.is("FREEBUSY")) {
            let kind = match line.parameter("FBTYPE") {
                Some(kind) if kind.eq_ignore_ascii_case("FREE") => Slot::Free,
                Some(kind) if kind.eq_ignore_ascii_case("BUSY-TENTATIVE") => Slot::Tentative,
                Some(kind) if kind.eq_ignore_ascii_case("BUSY-UNAVAILABLE") => Slot::OutOfOffice,
                _ => Slot::Busy,
            };
            for period in line.value.split(',') {
                let wrong = || IcalError::Time(period.to_owned());
                let (from, to) = period.split_once('/').ok_or_else(wrong)?;
                let from = instant(from, None, &TimeZone::UTC)?;
                let to = match duration(to) {
                    Some(seconds) => from.saturating_add(seconds),
                    None => instant(to, None, &TimeZone::UTC)?,
                };
                add(&mut periods, Period { from, to, kind })?;
            }
        }
        Ok(())
    })?;
    Ok(periods)
}

/// The times that the events of a calendar take, which the server has expanded. `zone` is where days begin.
//= RFC 4791 7.10
//# what is transparent or cancelled takes no time; what is tentative takes it perhaps
pub(super) fn events(text: &str, zone: &TimeZone) -> Read<Vec<Period>> {
    let mut periods = Vec::new();
    components(text, "VEVENT", |lines| {
        let find = |name: &str| lines.iter().find(|line| line.is(name));
        let says = |name: &str, value: &str| {
            find(name).is_some_and(|line| line.value.eq_ignore_ascii_case(value))
        };
        if find("RRULE").is_some() || find("RDATE").is_some() {
            return Err(IcalError::Unexpanded);
        }
        let Some(start) = find("DTSTART") else {
            return Ok(());
        };
        let at = |line: &Line<'_>| instant(line.value, line.parameter("TZID"), zone);
        let from = at(start)?;
        let to = match (find("DTEND"), find("DURATION")) {
            (Some(end), _) => at(end)?,
            (None, Some(line)) => {
                let seconds = duration(line.value);
                let seconds = seconds.ok_or_else(|| IcalError::Time(line.value.to_owned()))?;
                from.saturating_add(seconds)
            }
            // A day without an end is one day; a moment without an end takes no time.
            (None, None) if start.value.len() == 8 => at(&Line {
                value: &day_after(start.value)?,
                ..*start
            })?,
            (None, None) => from,
        };
        let kind = if says("TRANSP", "TRANSPARENT") || says("STATUS", "CANCELLED") {
            Slot::Free
        } else if says("STATUS", "TENTATIVE") || says("X-MICROSOFT-CDO-BUSYSTATUS", "TENTATIVE") {
            Slot::Tentative
        } else if says("X-MICROSOFT-CDO-BUSYSTATUS", "OOF") {
            Slot::OutOfOffice
        } else {
            Slot::Busy
        };
        add(&mut periods, Period { from, to, kind })
    })?;
    Ok(periods)
}

fn civil(text: &str) -> Option<DateTime> {
    let number = |range: std::ops::Range<usize>| -> Option<i16> {
        let digits = text.get(range)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let small = |range| i8::try_from(number(range)?).ok();
    let (hour, minute, second) = match text.len() {
        8 => (0, 0, 0),
        15 if text.as_bytes()[8] == b'T' => (small(9..11)?, small(11..13)?, small(13..15)?),
        _ => return None,
    };
    // A leap second is the one before it.
    let second = second.min(59);
    DateTime::new(
        number(0..4)?,
        small(4..6)?,
        small(6..8)?,
        hour,
        minute,
        second,
        0,
    )
    .ok()
}

fn day_after(date: &str) -> Read<String> {
    let next = civil(date).and_then(|day| day.date().tomorrow().ok());
    let next = next.ok_or_else(|| IcalError::Time(date.to_owned()))?;
    Ok(format!(
        "{:04}{:02}{:02}",
        next.year(),
        next.month(),
        next.day()
    ))
}

/// A time or a day: in UTC, in the zone that it names, or in `zone`.
//= RFC 5545 3.3.5
//# Z is UTC, TZID names a zone, and neither is the time of whoever looks
fn instant(text: &str, named: Option<&str>, zone: &TimeZone) -> Read<i64> {
    let wrong = || IcalError::Time(text.to_owned());
    let text = text.trim();
    let (digits, named) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, Some("UTC")),
        None => (text, named),
    };
    let at = civil(digits).ok_or_else(wrong)?;
    let zone = match named {
        None => zone.clone(),
        Some("UTC") => TimeZone::UTC,
        // Some write the name behind a prefix of their own: /freeassociation.sourceforge.net/Europe/Berlin.
        Some(name) => zone_named(name).ok_or_else(|| IcalError::Zone(name.to_owned()))?,
    };
    let zoned = at.to_zoned(zone).map_err(|_| wrong())?;
    Ok(zoned.timestamp().as_second())
}

fn zone_named(name: &str) -> Option<TimeZone> {
    let mut rest = name.trim_start_matches('/');
    loop {
        if let Ok(zone) = TimeZone::get(rest) {
            return Some(zone);
        }
        rest = rest.split_once('/')?.1;
    }
}

/// Seconds of a duration such as P1DT2H30M.
//= RFC 5545 3.3.6
//# weeks, or days and a time, each a number and its letter
fn duration(text: &str) -> Option<i64> {
    let text = text.trim();
    let rest = text.strip_prefix('+').unwrap_or(text).strip_prefix('P')?;
    let (mut seconds, mut number, mut digits) = (0_i64, 0_i64, 0);
    for byte in rest.bytes() {
        let unit = match byte {
            b'0'..=b'9' => {
                number = number
                    .checked_mul(10)?
                    .checked_add(i64::from(byte - b'0'))?;
                digits += 1;
                continue;
            }
            b'T' if digits == 0 => continue,
            b'W' => 604_800,
            b'D' => 86_400,
            b'H' => 3_600,
            b'M' => 60,
            b'S' => 1,
            _ => return None,
        };
        if digits == 0 {
            return None;
        }
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        (number, digits) = (0, 0);
    }
    (digits == 0 && rest.len() > 1).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().expect("a time").as_second()
    }

    fn told(periods: Read<Vec<Period>>) -> Vec<(String, String, char)> {
        let text = |at: i64| {
            jiff::Timestamp::from_second(at)
                .expect("a time")
                .to_string()
        };
        let periods = periods.expect("sound");
        periods
            .iter()
            .map(|period| {
                let letter = char::from(b"FTBOE"[period.kind as usize]);
                (text(period.from), text(period.to), letter)
            })
            .collect()
    }

    fn pair(from: &str, to: &str, kind: char) -> (String, String, char) {
        (
            format!("2026-11-{from}:00Z"),
            format!("2026-11-{to}:00Z"),
            kind,
        )
    }

    //= RFC 5545 3.1
    //= type=test
    //= RFC 5545 3.3.6
    //= type=test
    //= RFC 5545 3.8.2.6
    //= type=test
    #[test]
    fn free_and_busy_periods_are_read() {
        let text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VFREEBUSY\r\nDTSTART:20261123T000000Z\r\n\
            FREEBUSY:20261123T090000Z/20261123T100000Z,20261123T1100\r\n 00Z/PT30M\r\n\
            freebusy;fbtype=BUSY-TENTATIVE:20261124T090000Z/P1DT2H\r\n\
            FREEBUSY;FBTYPE=\"BUSY-UNAVAILABLE\":20261126T000000Z/P1W\r\n\
            FREEBUSY;FBTYPE=FREE:20261127T000000Z/PT1H\r\n\
            FREEBUSY;FBTYPE=X-ODD:20261128T000000Z/20261128T000000Z\r\n\
            END:VFREEBUSY\r\nEND:VCALENDAR\r\n";
        assert_eq!(
            told(free_busy(text)),
            [
                pair("23T09:00", "23T10:00", 'B'),
                pair("23T11:00", "23T11:30", 'B'),
                pair("24T09:00", "25T11:00", 'T'),
                (
                    "2026-11-26T00:00:00Z".into(),
                    "2026-12-03T00:00:00Z".into(),
                    'O'
                ),
            ]
        );
        for (name, text, expected) in [
            ("no calendar", "hello", IcalError::NoCalendar),
            (
                "no period",
                "BEGIN:VCALENDAR\nBEGIN:VFREEBUSY\nFREEBUSY:now\nEND:VFREEBUSY\nEND:VCALENDAR",
                IcalError::Time("now".to_owned()),
            ),
            (
                "no day",
                "BEGIN:VCALENDAR\nBEGIN:VFREEBUSY\nFREEBUSY:20261341T000000Z/PT1H\nEND:VFREEBUSY\nEND:VCALENDAR",
                IcalError::Time("20261341T000000Z".to_owned()),
            ),
        ] {
            assert_eq!(free_busy(text), Err(expected), "{name}");
        }
        for (text, expected) in [
            ("PT1H30M", Some(5_400)),
            ("P2W", Some(1_209_600)),
            ("+P1D", Some(86_400)),
            ("-PT1H", None),
            ("P", None),
            ("PT", None),
            ("PT0S", Some(0)),
            ("PT5", None),
            ("PTM", None),
            ("P99999999999999999999D", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    //= RFC 5545 3.3.5
    //= type=test
    //= RFC 4791 7.10
    //= type=test
    #[test]
    fn events_take_their_time_in_their_zone() {
        let berlin = TimeZone::get("Europe/Berlin").expect("this machine knows zones");
        let event = |lines: &str| {
            format!(
                "BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\n\
                 RRULE:FREQ=YEARLY\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\n{lines}\r\n\
                 BEGIN:VALARM\r\nDURATION:PT9H\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR"
            )
        };
        let busy = |from, to| vec![pair(from, to, 'B')];
        for (name, lines, expected) in [
            (
                "in UTC",
                "DTSTART:20261123T090000Z\nDTEND:20261123T100000Z",
                busy("23T09:00", "23T10:00"),
            ),
            (
                "in a zone",
                "DTSTART;TZID=America/New_York:20261123T090000\nDURATION:PT30M",
                busy("23T14:00", "23T14:30"),
            ),
            (
                "in a zone behind a prefix",
                "DTSTART;TZID=\"/x.example/Europe/Berlin\":20261123T090000\nDURATION:PT30M",
                busy("23T08:00", "23T08:30"),
            ),
            (
                "wherever one is",
                "DTSTART:20261123T090000\nDTEND:20261123T100000",
                busy("23T08:00", "23T09:00"),
            ),
            (
                "a day",
                "DTSTART;VALUE=DATE:20261123",
                busy("22T23:00", "23T23:00"),
            ),
            (
                "two days",
                "DTSTART;VALUE=DATE:20261123\nDTEND;VALUE=DATE:20261125",
                busy("22T23:00", "24T23:00"),
            ),
            ("a moment", "DTSTART:20261123T090000Z", vec![]),
            ("nothing", "SUMMARY:x", vec![]),
            (
                "transparent",
                "DTSTART:20261123T090000Z\nDURATION:PT1H\nTRANSP:TRANSPARENT",
                vec![],
            ),
            (
                "cancelled",
                "DTSTART:20261123T090000Z\nDURATION:PT1H\nSTATUS:CANCELLED",
                vec![],
            ),
            (
                "tentative",
                "DTSTART:20261123T090000Z\nDURATION:PT1H\nSTATUS:TENTATIVE",
                vec![pair("23T09:00", "23T10:00", 'T')],
            ),
            (
                "out of office",
                "DTSTART:20261123T090000Z\nDURATION:PT1H\nX-MICROSOFT-CDO-BUSYSTATUS:OOF",
                vec![pair("23T09:00", "23T10:00", 'O')],
            ),
        ] {
            assert_eq!(told(events(&event(lines), &berlin)), expected, "{name}");
        }
        let summer = event("DTSTART;TZID=Europe/Berlin:20260701T090000\nDURATION:PT1H");
        assert_eq!(
            events(&summer, &berlin).expect("sound")[0].from,
            seconds("2026-07-01T07:00:00Z")
        );
        for (lines, expected) in [
            (
                "DTSTART;TZID=Middle-earth/Shire:20261123T090000\nDURATION:PT1H",
                IcalError::Zone("Middle-earth/Shire".to_owned()),
            ),
            (
                "DTSTART:20261123T090000Z\nRRULE:FREQ=DAILY",
                IcalError::Unexpanded,
            ),
        ] {
            assert_eq!(events(&event(lines), &berlin), Err(expected), "{lines}");
        }
    }
}
