//! `state` and `legacyInterop` (MS-PRES 3.8.5.1): one presence of many states.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::{Input, Output};
use crate::category::legacy_interop::LegacyInterop;
use crate::category::state::{Activity, Class, Kind, OFFLINE, State};
use crate::category::{Category, Computed, Meaning};
use crate::presence::instance::{Body, Lifetime};
use crate::presence::publication::Publications;
use crate::time::Timestamp;

/// The instance number of the aggregate of all devices.
const MACHINE_NUMBER: u32 = 0x1000_0000;

/// Where an input container's aggregate goes, and how much of it.
const FLAVOURS: [(u16, u16, Flavour); 6] = [
    (2, 2, Flavour::Whole),
    (2, 100, Flavour::Availability),
    (2, 200, Flavour::Activity),
    (2, 400, Flavour::Place),
    (3, 3, Flavour::Whole),
    (3, 300, Flavour::Whole),
];

/// How much of the aggregate a container shows.
//= MS-PRES 3.8.5.1.2.7
//# each output container has its set of attributes
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    Availability,
    /// Also what is being done, since when away, and the kind of device.
    Activity,
    /// Also where, and in which time zone.
    Place,
    /// Also the meeting.
    Whole,
}

/// One state that takes part, and when it was published.
struct Piece<'a> {
    state: Cow<'a, State>,
    published_at: Timestamp,
    /// The endpoint of a device's state, lower case.
    endpoint_id: String,
    /// Its instance number; what standard publications say stands behind all.
    number: u64,
}

impl Piece<'_> {
    /// Since when it holds.
    fn since(&self) -> Timestamp {
        self.state.start_time.unwrap_or(self.published_at)
    }
}

/// What one input container comes to.
struct Aggregate {
    /// The most active device, if there is any.
    machine: Option<State>,
    whole: State,
}

/// All states of a container, its devices apart.
fn pieces<'a>(container: u16, input: Input<'a>) -> (Vec<Piece<'a>>, Vec<Piece<'a>>) {
    let (mut machines, mut others) = (Vec::new(), Vec::new());
    for instance in input.instances.at(&Category::State, container) {
        let Body::Published {
            meaning: Meaning::State(state),
            ..
        } = &instance.body
        else {
            continue;
        };
        let mut piece = Piece {
            state: Cow::Borrowed(&**state),
            published_at: instance.published_at,
            endpoint_id: String::new(),
            number: u64::from(instance.number),
        };
        match (state.kind, instance.lifetime) {
            //= MS-PRES 3.8.5.1.2.1
            //# a machineState that does not end with its endpoint is ignored
            (Kind::Machine, Lifetime::Endpoint(endpoint)) => {
                piece.endpoint_id = endpoint.to_string();
                machines.push(piece);
            }
            (Kind::Machine | Kind::Aggregate | Kind::AggregateMachine, _) => {}
            _ => others.push(piece),
        }
    }
    add_standard(input.standard, &mut machines, &mut others);
    (machines, others)
}

/// Contradictions C-60 and C-61: an open publication is a device, its activity a telephone's state.
fn add_standard<'a>(
    publications: &Publications,
    machines: &mut Vec<Piece<'a>>,
    others: &mut Vec<Piece<'a>>,
) {
    let presence = publications
        .iter()
        .filter(|(package, _)| package.bears_on_presence());
    for (_, publication) in presence {
        let bearing = publication.content.bearing;
        let piece = |state| Piece {
            state: Cow::Owned(state),
            published_at: publication.content.published_at,
            endpoint_id: String::new(),
            number: 1 << 32 | u64::from(publication.content.number),
        };
        machines.extend(bearing.machine_state().map(piece));
        others.extend(bearing.phone_state(publication.first_at).map(piece));
    }
}

fn aggregate(container: u16, input: Input<'_>) -> Aggregate {
    let (machines, others) = pieces(container, input);
    let before = [0, 1].into_iter().find_map(|number| {
        match &input
            .instances
            .get(&Category::State, container, number)?
            .body
        {
            Body::Computed(Computed::State(state)) => Some(&**state),
            _ => None,
        }
    });
    combine(&machines, others, before, input.now)
}

fn combine(
    machines: &[Piece<'_>],
    mut others: Vec<Piece<'_>>,
    before: Option<&State>,
    now: Timestamp,
) -> Aggregate {
    //= MS-PRES 3.8.5.1.2.1
    //# the lowest availability is the most active; of equals the latest
    let active = machines.iter().max_by_key(|piece| {
        (
            Reverse(piece.state.availability),
            piece.published_at,
            piece.number,
        )
    });
    let machine_availability = active.map_or(OFFLINE, |piece| piece.state.availability);

    let meeting = meeting(&others);
    //= MS-PRES 3.8.5.1.2.2
    //# a manual state removes all that are older; devices are exempt
    if let Some(newest) = others
        .iter()
        .filter(|p| p.state.manual)
        .map(Piece::since)
        .max()
    {
        others.retain(|piece| piece.since() >= newest);
    }
    let greatest = others.iter().map(|piece| piece.state.availability).max();
    let mut availability = greatest.unwrap_or(0).max(machine_availability);
    //= MS-PRES 3.8.5.1.2.2
    //# idle devices make a busy person busy and idle
    if Class::of(machine_availability) == Class::Idle && Class::of(availability) == Class::Busy {
        availability += 1_500;
    }

    let mut whole = State::new(Kind::Aggregate, availability);
    let activity = activity(active.into_iter().chain(&others), availability);
    whole.activities = activity.into_iter().collect();
    whole.last_active = last_active(availability, active, before, now);
    (whole.meeting_subject, whole.meeting_location) = meeting;
    //= MS-PRES 3.8.5.1.2.6
    //# below 12000 place, time zone and device are those of the most active device
    if let Some(piece) = active.filter(|_| availability < 12_000) {
        let state = &piece.state;
        whole.endpoint_location = state.endpoint_location.clone();
        whole.time_zone_bias = state.time_zone_bias.clone();
        whole.time_zone_name = state.time_zone_name.clone();
        whole.time_zone_abbreviation = state.time_zone_abbreviation.clone();
        whole.device = state.device.clone();
    }
    //= MS-PRES 3.8.5.1.2.7
    //# the aggregate of the devices has the availability, activity and endpoint of the most active one
    let machine = active.map(|piece| State {
        endpoint_id: piece.endpoint_id.as_str().into(),
        activities: piece.state.activities.clone(),
        ..State::new(Kind::AggregateMachine, piece.state.availability)
    });
    Aggregate { machine, whole }
}

/// An activity without the range it was valid for.
fn shown(activity: &Activity) -> Activity {
    Activity {
        min: 0,
        max: u32::MAX,
        ..activity.clone()
    }
}

//= MS-PRES 3.8.5.1.2.3
//# the activity with the highest minAvailability; of equals the latest
fn activity<'p, 'a: 'p>(
    pieces: impl Iterator<Item = &'p Piece<'a>>,
    availability: u32,
) -> Option<Activity> {
    let candidates = pieces.flat_map(|piece| {
        let valid = piece.state.activities.iter();
        let valid = valid.filter(|activity| activity.holds_at(availability));
        valid.map(|activity| ((activity.min, piece.since(), piece.number), activity))
    });
    candidates
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, activity)| shown(activity))
}

//= MS-PRES 3.8.5.1.2.5
//# subject and place of the one meeting there is; of several, none
fn meeting(others: &[Piece<'_>]) -> (Box<str>, Box<str>) {
    let mut meetings = others.iter().map(|piece| &*piece.state).filter(|state| {
        let said = !state.meeting_subject.is_empty() || !state.meeting_location.is_empty();
        state.kind == Kind::Calendar && said
    });
    match (meetings.next(), meetings.next()) {
        (Some(only), None) => (only.meeting_subject.clone(), only.meeting_location.clone()),
        _ => Default::default(),
    }
}

/// Since when the person is away, to the second (contradiction C-31).
//= MS-PRES 3.8.5.1.2.4
//# given for idle, busy and idle, away and offline
fn last_active(
    availability: u32,
    active: Option<&Piece<'_>>,
    before: Option<&State>,
    now: Timestamp,
) -> Option<Timestamp> {
    let at = match Class::of(availability) {
        Class::Idle | Class::BusyIdle | Class::BeRightBack | Class::Away => active?.published_at,
        Class::Offline => before
            .filter(|before| Class::of(before.availability) == Class::Offline)
            .and_then(|before| before.last_active)
            .unwrap_or(now),
        _ => return None,
    };
    Some(Timestamp(at.second() * 1_000))
}

fn flavoured(whole: &State, flavour: Flavour) -> State {
    let mut state = whole.clone();
    if flavour != Flavour::Whole {
        (state.meeting_subject, state.meeting_location) = Default::default();
    }
    if matches!(flavour, Flavour::Availability | Flavour::Activity) {
        state.endpoint_location = "".into();
        state.time_zone_bias = "".into();
        state.time_zone_name = "".into();
        state.time_zone_abbreviation = "".into();
    }
    if flavour == Flavour::Availability {
        (state.activities, state.last_active, state.device) = (Box::default(), None, "".into());
    }
    state
}

pub(super) fn compute(input: Input<'_>, outputs: &mut Vec<Output>) {
    for container in [2, 3] {
        let aggregate = aggregate(container, input);
        //= MS-PRES 3.8.5.1.2.7
        //# user-bound with number 1 where a device publishes, else static with number 0
        let (lifetime, number, other) = match aggregate.machine {
            Some(_) => (Lifetime::User, 1, 0),
            None => (Lifetime::Static, 0, 1),
        };
        let mut put = |category: Category, container, computed| {
            outputs.push(Output {
                place: (category.clone(), container),
                number: other,
                instance: None,
            });
            outputs.push(Output {
                place: (category, container),
                number,
                instance: Some((lifetime, computed)),
            });
        };
        for (_, to, flavour) in FLAVOURS.into_iter().filter(|(from, ..)| *from == container) {
            let state = flavoured(&aggregate.whole, flavour);
            if to >= 100 {
                let token = state
                    .activities
                    .first()
                    .map(|activity| activity.token.clone());
                let legacy = LegacyInterop {
                    availability: state.availability,
                    token: token.unwrap_or_default(),
                };
                put(Category::LegacyInterop, to, Computed::LegacyInterop(legacy));
            }
            put(Category::State, to, Computed::State(Box::new(state)));
        }
        if container == 2 {
            let machine = aggregate
                .machine
                .map(|machine| Computed::State(Box::new(machine)));
            outputs.push(Output {
                place: (Category::State, 2),
                number: MACHINE_NUMBER,
                instance: machine.map(|machine| (Lifetime::User, machine)),
            });
        }
    }
}

/// The state that enhanced watchers see of somebody who has standard publications only, and no containers
/// to say otherwise: what container 200 would show.
#[must_use]
pub fn from_standard(publications: &Publications, now: Timestamp) -> State {
    let (mut machines, mut others) = (Vec::new(), Vec::new());
    add_standard(publications, &mut machines, &mut others);
    let mut whole = combine(&machines, others, None, now).whole;
    if machines.is_empty() {
        whole.last_active = None;
    }
    flavoured(&whole, Flavour::Activity)
}
