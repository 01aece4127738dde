//! Connectors: what other systems know of users, published as if they had said it themselves (house D18).
//!
//! A connector runs beside the leader of a user's shard and reaches the machine through the same commands as
//! everyone else. It has no state that matters: what it published stands in the machine under its name, ends by
//! itself, and is said again by whoever leads next.
//!
//! `calendar` reads calendars over CalDAV. Its threads block on HTTP; no thread that speaks SIP waits for them.

pub mod calendar;

mod busy;
mod caldav;
mod ical;
