//! A user's calendar over CalDAV (RFC 4791): which times of it are taken.
//!
//! The server is asked for free and busy times, which it computes with all its recurrences, exceptions and time
//! zones. Where it has no such report it is asked for the events of the time, expanded.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use jiff::tz::TimeZone;

use super::ical::{self, IcalError, Period};
use crate::config::CalendarReport;
use crate::contact_store::dav::{self, Client, DavError};

const CALDAV: &str = "urn:ietf:params:xml:ns:caldav";

/// Why a calendar cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CalendarError {
    /// The server.
    #[error(transparent)]
    Dav(#[from] DavError),
    /// It does not want to.
    #[error("the report was answered {0}")]
    Refused(u16),
    /// There is no such calendar.
    #[error("there is no calendar")]
    NoCalendar,
    /// What it says.
    #[error(transparent)]
    Ical(#[from] IcalError),
}

/// The server.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) report: CalendarReport,
    pub(super) zone: TimeZone,
    /// Whether it was seen to have no free-busy-query.
    pub(super) expands: AtomicBool,
}

/// Who opens which calendar.
pub(super) struct Access {
    pub(super) url: String,
    pub(super) login: String,
    pub(super) password: String,
}

impl Server {
    /// The times that are taken from one time to another, in seconds since 1970; blocks.
    pub(super) fn read(
        &self,
        access: &Access,
        from: i64,
        to: i64,
    ) -> Result<Vec<Period>, CalendarError> {
        let free_busy = match self.report {
            CalendarReport::FreeBusy => true,
            CalendarReport::Expand => false,
            CalendarReport::Auto => !self.expands.load(Relaxed),
        };
        if !free_busy {
            return self.events(access, from, to);
        }
        match self.free_busy(access, from, to) {
            Err(CalendarError::Refused(status))
                if self.report == CalendarReport::Auto && is_unknown(status) =>
            {
                let periods = self.events(access, from, to)?;
                if !self.expands.swap(true, Relaxed) {
                    tracing::info!(
                        status,
                        "the server has no free-busy-query; it expands events"
                    );
                }
                Ok(periods)
            }
            read => read,
        }
    }

    fn ask(&self, access: &Access, body: String) -> Result<(u16, String), CalendarError> {
        let Access {
            url,
            login,
            password,
        } = access;
        let (status, text) = self.client.report(url, login, password, body)?;
        match status {
            404 | 410 => Err(CalendarError::NoCalendar),
            _ => Ok((status, text)),
        }
    }

    //= RFC 4791 7.10
    //# free-busy-query is answered with one VFREEBUSY, not with a multistatus
    fn free_busy(&self, access: &Access, from: i64, to: i64) -> Result<Vec<Period>, CalendarError> {
        let body = format!(
            "<c:free-busy-query xmlns:c=\"{CALDAV}\"><c:time-range {}/></c:free-busy-query>",
            range(from, to)
        );
        match self.ask(access, body)? {
            (200, text) => Ok(ical::free_busy(&text)?),
            (status, _) => Err(CalendarError::Refused(status)),
        }
    }

    //= RFC 4791 9.6.5
    //# with expand the server returns each recurrence of the time as an event of its own
    fn events(&self, access: &Access, from: i64, to: i64) -> Result<Vec<Period>, CalendarError> {
        let range = range(from, to);
        let body = format!(
            "<c:calendar-query xmlns=\"DAV:\" xmlns:c=\"{CALDAV}\"><prop><c:calendar-data><c:expand {range}/></c:calendar-data></prop>\
             <c:filter><c:comp-filter name=\"VCALENDAR\"><c:comp-filter name=\"VEVENT\"><c:time-range {range}/></c:comp-filter>\
             </c:comp-filter></c:filter></c:calendar-query>"
        );
        let (status, text) = self.ask(access, body)?;
        if status != 207 {
            return Err(CalendarError::Refused(status));
        }
        let document = dav::parse("REPORT", &text)?;
        let mut periods = Vec::new();
        for (_, property) in dav::good_properties(&document) {
            if let Some(text) = dav::text_of(property, CALDAV, "calendar-data") {
                periods.append(&mut ical::events(&text, &self.zone)?);
            }
        }
        Ok(periods)
    }
}

/// Statuses of a server that does not know a report.
fn is_unknown(status: u16) -> bool {
    matches!(status, 400 | 403 | 405 | 409 | 415 | 422 | 501)
}

/// A time range, as attributes.
fn range(from: i64, to: i64) -> String {
    let text = |at: i64| {
        let at = jiff::Timestamp::from_second(at).unwrap_or_default();
        at.strftime("%Y%m%dT%H%M%SZ").to_string()
    };
    format!("start=\"{}\" end=\"{}\"", text(from), text(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_in_utc() {
        assert_eq!(
            range(1_763_856_000, 1_763_859_600),
            "start=\"20251123T000000Z\" end=\"20251123T010000Z\""
        );
    }
}
