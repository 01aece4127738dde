//! From the times that are taken to what is published of them.
//!
//! Watchers of enhanced presence are shown the days ahead in quarters of an hour (calendarData), and the meeting
//! that runs (calendarState), which is aggregated with everything else they know. Watchers of standard formats
//! are shown that the person is in a meeting, and BluStar's the appointment. What runs ends with the meeting, in the machine: also when nobody
//! is there any more to say so.

use shard::category::Category;
use shard::category::calendar_data::{SLOT_MINUTES, Slot, write_free_busy};
use shard::time::Timestamp;
use shard::xml::escape;

use super::ical::Period;
use crate::dialect::feed::{self, CALENDAR, Feed, Instance, STATE_CONTAINERS};

/// Where free and busy times are shown: to oneself, colleagues, the workgroup and the personal contacts.
const FREE_BUSY_CONTAINERS: [u16; 4] = [1, 200, 300, 400];

const DAY_S: i64 = 86_400;
const SLOT_S: i64 = SLOT_MINUTES as i64 * 60;

/// The times that somebody's calendar takes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Busy(Vec<Period>);

/// What runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    from: i64,
    to: i64,
    kind: Slot,
}

/// What is said of a user at a time. Two that are equal need not be said twice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Saying {
    /// calendarData.
    free_busy: Vec<u8>,
    /// calendarState, until when.
    state: Option<(Vec<u8>, i64)>,
    /// The document, until when.
    document: Option<(Vec<u8>, i64)>,
}

impl Busy {
    pub(super) fn of(mut periods: Vec<Period>) -> Busy {
        periods.sort_by_key(|period| (period.from, period.to));
        Busy(periods)
    }

    /// The next time after `now` at which something begins or ends.
    pub(super) fn next_change(&self, now: i64) -> Option<i64> {
        let bounds = self.0.iter().flat_map(|period| [period.from, period.to]);
        bounds.filter(|bound| *bound > now).min()
    }

    /// So many slots from a time on; each is what takes any part of it most surely.
    fn slots(&self, start: i64, count: usize) -> Vec<Slot> {
        let mut slots = vec![Slot::Free; count];
        for period in &self.0 {
            let place = |at: i64| usize::try_from(at).unwrap_or(0).min(count);
            let begin = place((period.from - start).div_euclid(SLOT_S));
            let end = place((period.to - start + SLOT_S - 1).div_euclid(SLOT_S));
            for slot in &mut slots[begin..end.max(begin)] {
                if period.kind as u8 > *slot as u8 {
                    *slot = period.kind;
                }
            }
        }
        slots
    }

    /// What runs: a meeting, or else that the person is out. Meetings that follow one another are one.
    fn running(&self, now: i64) -> Option<Running> {
        let kinds = [Slot::Busy, Slot::OutOfOffice];
        kinds.into_iter().find_map(|kind| {
            let mut alike = self.0.iter().filter(|period| period.kind == kind);
            // In the order of their begin, so that each is joined to what it touches.
            let first = *alike.next()?;
            let mut whole = first;
            let runs = |period: &Period| (period.from..period.to).contains(&now);
            for period in alike {
                if period.from > whole.to {
                    if runs(&whole) {
                        break;
                    }
                    whole = *period;
                } else {
                    whole.to = whole.to.max(period.to);
                }
            }
            runs(&whole).then_some(Running {
                from: whole.from,
                to: whole.to,
                kind,
            })
        })
    }

    /// What is to be said of a user now, with the days ahead.
    pub(super) fn saying(&self, address: &str, now: i64, days: u32) -> Saying {
        let start = now.div_euclid(DAY_S) * DAY_S;
        let count = i64::from(days) * DAY_S / SLOT_S;
        let slots = self.slots(start, usize::try_from(count).unwrap_or(0));
        let mut free_busy = Vec::new();
        write_free_busy(address, timestamp(start), &slots, &mut free_busy);
        let running = self.running(now);
        let meeting = running.filter(|running| running.kind == Slot::Busy);
        let document = running.and_then(|running| {
            let activity = match running.kind {
                Slot::Busy => "meeting",
                _ => "away",
            };
            let until = timestamp(running.to).to_string();
            let appointment = appointment(&running);
            let document = feed::document(CALENDAR, None, activity, Some(&until), &appointment);
            Some((document.ok()?, running.to))
        });
        Saying {
            free_busy,
            state: meeting.map(|meeting| (state(address, meeting.from), meeting.to)),
            document,
        }
    }
}

fn timestamp(at: i64) -> Timestamp {
    Timestamp(u64::try_from(at).unwrap_or(0) * 1_000)
}

/// The running appointment in BluStar's words, which stand in the person; its subject and place are nobody's
/// business.
//= BLUSTAR 5.1
//# a calendar has id, state, subject, location, from and end, in this order
fn appointment(running: &Running) -> String {
    let state = match running.kind {
        Slot::Busy => "busy",
        _ => "out of office",
    };
    let second = |at: i64| {
        let text = timestamp(at).to_string();
        format!("{}Z", text.get(..19).unwrap_or_default())
    };
    let (from, end) = (second(running.from), second(running.to));
    format!(
        "<aa:presence xmlns:aa=\"http://www.aastra.com/presence/blustar/2011\"><aa:calendar><aa:id>{CALENDAR}</aa:id>\
         <aa:state>{state}</aa:state><aa:subject/><aa:location/><aa:from>{from}</aa:from><aa:end>{end}</aa:end>\
         </aa:calendar></aa:presence>"
    )
}

/// A calendarState, as clients write it.
//= MS-PRES 2.2.2.7.1
//# the state of a meeting is a calendarState, with the mailbox in uri and its begin in startTime
fn state(address: &str, from: i64) -> Vec<u8> {
    let mut xml = b"<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" manual=\"false\" uri=\""
        .to_vec();
    escape(address, &mut xml);
    let start = timestamp(from).to_string();
    let second = start.get(..19).unwrap_or_default();
    for part in [
        "\" startTime=\"",
        second,
        "Z\" xsi:type=\"calendarState\"><availability>6500</availability>\
         <activity token=\"in-a-meeting\" minAvailability=\"6500\" maxAvailability=\"8999\"/>\
         <endpointLocation/></state>",
    ] {
        xml.extend_from_slice(part.as_bytes());
    }
    xml
}

impl Saying {
    /// Whether who has standard publications only is shown nothing of it.
    pub(super) fn is_silent(&self) -> bool {
        self.document.is_none()
    }

    /// What is published of it at `now`, to hold until `until` unless it ends before.
    pub(super) fn feed(&self, address: &str, now: i64, until: i64) -> Feed {
        let left = |end: i64| u32::try_from((end.min(until) - now).max(1)).unwrap_or(u32::MAX);
        let number = feed::number_of(CALENDAR);
        let mut instances = Vec::new();
        for container in FREE_BUSY_CONTAINERS {
            let (category, xml) = (Category::CalendarData, self.free_busy.clone());
            instances.push(Instance::set(category, container, number, left(until), xml));
        }
        for container in STATE_CONTAINERS {
            instances.push(match &self.state {
                Some((xml, end)) => {
                    Instance::set(Category::State, container, number, left(*end), xml.clone())
                }
                None => Instance::removed(Category::State, container, number),
            });
        }
        let (content, life_s) = match &self.document {
            Some((content, end)) => (Some(content.clone()), left(*end)),
            None => (None, left(until)),
        };
        Feed::of_connector(address, CALENDAR, content, life_s, instances)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(periods: &[(i64, i64, Slot)]) -> Busy {
        let periods = periods.iter();
        Busy::of(
            periods
                .map(|(from, to, kind)| Period {
                    from: *from,
                    to: *to,
                    kind: *kind,
                })
                .collect(),
        )
    }

    #[test]
    fn a_slot_is_what_takes_any_part_of_it() {
        let of = busy(&[
            (-5_000, 60, Slot::Tentative),
            (900, 1_800, Slot::Busy),
            (1_000, 1_100, Slot::Tentative),
            (2_699, 2_701, Slot::OutOfOffice),
            (4_500, 9_000_000, Slot::Busy),
        ]);
        let letters: String = of
            .slots(0, 7)
            .iter()
            .map(|slot| char::from(b"FTBOE"[*slot as usize]))
            .collect();
        assert_eq!(letters, "TBOOFBB");
        assert_eq!(busy(&[]).slots(0, 2), [Slot::Free; 2]);
        assert_eq!(busy(&[(-9, -5, Slot::Busy)]).slots(0, 1), [Slot::Free]);
    }

    #[test]
    fn meetings_that_touch_are_one_and_a_meeting_comes_before_being_out() {
        let of = busy(&[
            (100, 200, Slot::Busy),
            (200, 300, Slot::Busy),
            (250, 280, Slot::Busy),
            (400, 500, Slot::Busy),
            (0, 1_000, Slot::OutOfOffice),
            (450, 2_000, Slot::Tentative),
        ]);
        for (now, expected) in [
            (-1, None),
            (0, Some((0, 1_000, Slot::OutOfOffice))),
            (100, Some((100, 300, Slot::Busy))),
            (299, Some((100, 300, Slot::Busy))),
            (300, Some((0, 1_000, Slot::OutOfOffice))),
            (400, Some((400, 500, Slot::Busy))),
            (999, Some((0, 1_000, Slot::OutOfOffice))),
            (1_000, None),
        ] {
            let running = of.running(now);
            let running = running.map(|running| (running.from, running.to, running.kind));
            assert_eq!(running, expected, "{now}");
        }
        assert_eq!(of.next_change(0), Some(100));
        assert_eq!(of.next_change(500), Some(1_000));
        assert_eq!(of.next_change(2_000), None);
    }

    //= MS-PRES 2.2.2.7.1
    //= type=test
    //= BLUSTAR 5.1
    //= type=test
    #[test]
    fn what_is_said_changes_only_with_the_calendar() {
        let of = busy(&[(90_000, 93_600, Slot::Busy)]);
        let said = |now| of.saying("alice@x", now, 4);
        assert_eq!(said(86_400), said(89_999), "nothing runs");
        assert!(said(86_400).is_silent());
        assert_eq!(said(90_000), said(93_599), "one meeting");
        assert_ne!(said(89_999), said(90_000));
        assert_ne!(said(86_399), said(86_400), "another day");
        let meeting = said(90_000);
        let (state, until) = meeting.state.as_ref().expect("a meeting");
        let text = String::from_utf8_lossy(state);
        assert!(
            text.contains("startTime=\"1970-01-02T01:00:00Z\""),
            "{text}"
        );
        assert_eq!(*until, 93_600);
        let (document, _) = meeting.document.as_ref().expect("a meeting");
        let text = String::from_utf8_lossy(document);
        assert!(
            text.contains("until=\"1970-01-02T02:00:00.000Z\""),
            "{text}"
        );
        assert!(text.contains("<rpid:meeting/>"), "{text}");
        let appointment = "<aa:state>busy</aa:state><aa:subject/><aa:location/><aa:from>1970-01-02T01:00:00Z</aa:from>\
            <aa:end>1970-01-02T02:00:00Z</aa:end>";
        assert!(text.contains(appointment), "{text}");
    }
}
