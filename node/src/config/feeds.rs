//! Sources of presence that are no phones: the publish API, and a server's calendars.

use std::path::PathBuf;

use serde::Deserialize;

/// What callers from this very machine must show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loopback {
    /// A token, like everybody.
    #[default]
    Token,
    /// Nothing.
    Open,
}

/// Who may publish over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublishApi {
    /// The file with the tokens.
    pub tokens: Option<PathBuf>,
    /// What callers from this very machine must show.
    pub loopback: Loopback,
}

/// How a server is asked for the times that are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalendarReport {
    /// By free-busy-query; where the server has none, by calendar-query.
    #[default]
    Auto,
    /// By free-busy-query.
    FreeBusy,
    /// By calendar-query, whose events the server expands.
    Expand,
}

/// A server whose calendars are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// The calendar of a user, with `{user}` and `{mail}`.
    pub url: String,
    /// The logins.
    pub credentials: PathBuf,
    /// The authorities that vouch for it, where they are not those of browsers.
    pub authorities: Option<PathBuf>,
    /// Seconds between two looks at a calendar.
    pub refresh_s: u32,
    /// Seconds that what was seen holds when the server does not answer.
    pub hold_s: u32,
    /// Days that are looked ahead.
    pub horizon_days: u32,
    /// How the server is asked.
    pub report: CalendarReport,
    /// Where days begin for events that name no zone; an IANA name.
    pub time_zone: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CalendarSection {
    url: Option<String>,
    credentials: Option<PathBuf>,
    authorities: Option<PathBuf>,
    refresh: Option<u32>,
    hold: Option<u32>,
    horizon: Option<u32>,
    report: CalendarReport,
    time_zone: Option<String>,
}

impl CalendarSection {
    pub(super) fn check(self) -> Result<Option<Calendar>, String> {
        let Some(url) = self.url else {
            return match self.credentials {
                None => Ok(None),
                Some(_) => Err("calendar needs a url".to_owned()),
            };
        };
        let Some(credentials) = self.credentials else {
            return Err("calendar needs credentials, a file".to_owned());
        };
        let known = url.starts_with("http://") || url.starts_with("https://");
        if !known || !(url.contains("{user}") || url.contains("{mail}")) {
            return Err(format!(
                "calendar.url = {url:?}; expected such as https://mail.example.com/dav/{{user}}/calendar/"
            ));
        }
        let refresh_s = self.refresh.unwrap_or(300);
        if !(1..=86_400).contains(&refresh_s) {
            return Err(format!(
                "calendar.refresh = {refresh_s}; expected 1 to 86400 seconds"
            ));
        }
        let hold_s = self.hold.unwrap_or((3 * refresh_s).max(3_600));
        if hold_s <= refresh_s || hold_s > 7 * 86_400 {
            return Err(format!(
                "calendar.hold = {hold_s}; expected more than refresh, {refresh_s}, and a week at most"
            ));
        }
        let horizon_days = self.horizon.unwrap_or(4);
        if !(1..=31).contains(&horizon_days) {
            return Err(format!(
                "calendar.horizon = {horizon_days}; expected 1 to 31 days"
            ));
        }
        let time_zone = self.time_zone.unwrap_or_else(|| "UTC".to_owned());
        if let Err(why) = jiff::tz::TimeZone::get(&time_zone) {
            return Err(format!(
                "calendar.time_zone = {time_zone:?}; expected a name such as Europe/Berlin: {why}"
            ));
        }
        Ok(Some(Calendar {
            url,
            credentials,
            authorities: self.authorities,
            refresh_s,
            hold_s,
            horizon_days,
            report: self.report,
            time_zone,
        }))
    }
}
