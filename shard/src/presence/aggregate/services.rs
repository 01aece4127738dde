//! `services` (MS-PRES 3.8.5.2): of all devices the best for each capability.

use std::collections::BTreeMap;

use super::{Input, Output};
use crate::category::device::{Capability, Device};
use crate::category::services::{Offer, Services};
use crate::category::state::{Kind, OFFLINE};
use crate::category::{Category, Computed, Meaning};
use crate::presence::instance::{Body, Lifetime};
use crate::time::Timestamp;

/// How active a device is: the lower availability, and of equals the later.
type Activeness = (std::cmp::Reverse<u32>, Timestamp);

/// A capability and the device that has it.
#[derive(Clone)]
struct Candidate<'a> {
    capability: &'a Capability,
    endpoint_id: &'a str,
    activeness: Activeness,
}

impl Candidate<'_> {
    /// Whether this one takes the place of `winner`.
    //= MS-PRES 3.8.5.2.2
    //# publishers win by version, others by activeness or when the winner can neither render nor capture
    fn beats(&self, winner: &Candidate<'_>) -> bool {
        let (mine, theirs) = (self.capability, winner.capability);
        if mine.publish {
            // Contradiction C-34: of equal versions the more active.
            let versions = (mine.version.unwrap_or(0), theirs.version.unwrap_or(0));
            versions.0 > versions.1
                || versions.0 == versions.1 && self.activeness > winner.activeness
        } else {
            (!theirs.render && !theirs.capture) || self.activeness > winner.activeness
        }
    }

    fn offer(&self) -> Offer {
        Offer {
            capability: self.capability.clone(),
            device_availability: self.activeness.0.0,
            preferred_endpoint_id: self.endpoint_id.into(),
        }
    }
}

/// The winner of each capability of each address. Both stand in order, so that what is the same is
/// written the same, however the devices named it.
//= MS-PRES 3.8.5.2.2
//# one service for each address; its capabilities are sorted by type
fn winners<'a>(input: Input<'a>) -> BTreeMap<&'a str, BTreeMap<&'a str, Candidate<'a>>> {
    let mut services: BTreeMap<&str, BTreeMap<&str, Candidate<'_>>> = BTreeMap::new();
    // Contradiction C-35: the devices are walked by ascending number.
    for instance in input.instances.at(&Category::Device, 2) {
        let Body::Published {
            meaning: Meaning::Device(device),
            ..
        } = &instance.body
        else {
            continue;
        };
        let activeness = activeness(input, device);
        for (uri, capability) in &device.capabilities {
            let candidate = Candidate {
                capability,
                endpoint_id: &device.endpoint_id,
                activeness,
            };
            let offers = services.entry(uri).or_default();
            match offers.get_mut(&*capability.name) {
                Some(winner) if candidate.beats(winner) => *winner = candidate,
                Some(_) => {}
                None => drop(offers.insert(&capability.name, candidate)),
            }
        }
    }
    services
}

/// That of the state which the device's endpoint published; a device without any counts as offline.
fn activeness(input: Input<'_>, device: &Device) -> Activeness {
    let states = input
        .instances
        .at(&Category::State, 2)
        .iter()
        .filter_map(|instance| {
            let (
                Body::Published {
                    meaning: Meaning::State(state),
                    ..
                },
                Lifetime::Endpoint(endpoint),
            ) = (&instance.body, instance.lifetime)
            else {
                return None;
            };
            let own = state.kind == Kind::Machine && endpoint.to_string() == *device.endpoint_id;
            own.then_some((std::cmp::Reverse(state.availability), instance.published_at))
        });
    states
        .max()
        .unwrap_or((std::cmp::Reverse(OFFLINE), Timestamp(0)))
}

pub(super) fn compute(input: Input<'_>, outputs: &mut Vec<Output>) {
    let winners = winners(input);
    let services = |for_others: bool| {
        let each = winners.iter().filter_map(|(uri, winners)| {
            let shown = winners
                .values()
                .filter(|winner| !for_others || !winner.capability.publish);
            let offers: Vec<Offer> = shown
                .map(|winner| {
                    let mut offer = winner.offer();
                    if for_others {
                        offer.preferred_endpoint_id = "".into();
                    }
                    offer
                })
                .collect();
            (!offers.is_empty()).then(|| ((*uri).into(), offers.into()))
        });
        Services(each.collect())
    };
    for (container, for_others) in [
        (2, false),
        (100, true),
        (200, true),
        (300, true),
        (400, true),
    ] {
        let computed = || (Lifetime::User, Computed::Services(services(for_others)));
        outputs.push(Output {
            place: (Category::Services, container),
            number: 0,
            instance: (!winners.is_empty()).then(computed),
        });
    }
}
