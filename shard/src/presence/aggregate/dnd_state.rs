//! `dndState` (MS-PRES 3.8.5.4): whether the person asked not to be disturbed.

use super::{Input, Output};
use crate::category::state::{Class, Kind};
use crate::category::{Category, Computed, Meaning};
use crate::presence::instance::{Body, Lifetime};

//= MS-PRES 2.2.2.7.10
//= type=exception
// excepts: PRES-2.2.2.7.10-03 a presence server routes no calls; what routes them can watch dndState
/// From which container to which.
const PLACES: [(u16, &[u16]); 2] = [(2, &[2, 0, 100, 200, 400]), (3, &[3, 300])];

//= MS-PRES 3.8.5.4
//# on when a userState or presentingState of the input container is do-not-disturb
pub(super) fn compute(input: Input<'_>, outputs: &mut Vec<Output>) {
    for (from, to) in PLACES {
        let on = input
            .instances
            .at(&Category::State, from)
            .iter()
            .any(|instance| {
                let Body::Published {
                    meaning: Meaning::State(state),
                    ..
                } = &instance.body
                else {
                    return false;
                };
                matches!(state.kind, Kind::User | Kind::Presenting)
                    && Class::of(state.availability) == Class::DoNotDisturb
            });
        outputs.extend(to.iter().map(|container| Output {
            place: (Category::DndState, *container),
            number: 0,
            instance: Some((Lifetime::Static, Computed::DndState(on))),
        }));
    }
}
