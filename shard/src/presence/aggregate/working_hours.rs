//! `workingHours` (MS-PRES 3.8.5.3): taken out of the calendar data.

use super::{Input, Output};
use crate::category::{Category, Computed, Meaning};
use crate::presence::instance::{Body, Lifetime};

/// The container of what is for oneself.
const SELF: u16 = 1;

//= MS-PRES 3.8.5.3
//# instance 0 of calendarData in container 1 makes instance 0 of workingHours there; without, there is none
pub(super) fn compute(input: Input<'_>, outputs: &mut Vec<Output>) {
    let calendar = input.instances.get(&Category::CalendarData, SELF, 0);
    let hours = calendar.and_then(|instance| match &instance.body {
        Body::Published {
            meaning: Meaning::WorkingHours(hours),
            ..
        } => Some(hours.clone()),
        _ => None,
    });
    outputs.push(Output {
        place: (Category::WorkingHours, SELF),
        number: 0,
        instance: hours.map(|hours| (Lifetime::Static, Computed::WorkingHours(hours))),
    });
}
