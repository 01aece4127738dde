//! The computing functions (MS-PRES 3.8): from what clients published to what watchers see.
//!
//! Each is a pure function of the presentity. [`outputs`] gives everything that should stand computed;
//! the caller sets what differs.

mod dnd_state;
mod services;
mod state;
mod working_hours;

use crate::category::{Category, Computed};
use crate::presence::instance::{Instances, Lifetime, Place};
use crate::presence::publication::Publications;
use crate::time::Timestamp;

pub use state::from_standard;

/// What the computing functions look at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What clients published, and what was computed before.
    pub instances: &'a Instances,
    /// Standard publications, which count as devices and telephones (contradiction C-60).
    pub standard: &'a Publications,
    /// Entry time.
    pub now: Timestamp,
}

/// One instance as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Category and container.
    pub place: Place,
    /// Its number.
    pub number: u32,
    /// What should stand there; nothing when `None`.
    pub instance: Option<(Lifetime, Computed)>,
}

/// Whether a change in this place is of interest to a computing function.
//= MS-PRES 3.8
//# a category is computed anew when one that it depends on changes
#[must_use]
pub fn depends_on((category, container): &Place) -> bool {
    match category {
        Category::State => matches!(container, 2 | 3),
        Category::Device => *container == 2,
        Category::CalendarData => *container == 1,
        _ => false,
    }
}

/// Everything that should stand computed.
#[must_use]
pub fn outputs(input: Input<'_>) -> Vec<Output> {
    let mut outputs = Vec::with_capacity(32);
    state::compute(input, &mut outputs);
    services::compute(input, &mut outputs);
    working_hours::compute(input, &mut outputs);
    dnd_state::compute(input, &mut outputs);
    outputs
}
