//! Section 3.8.5 read naively: facts in, expected instances out. Nothing of the product is used here.
//!
//! Where the text leaves something open this model says what we chose: of two states that tie in everything
//! the higher instance number wins; from 12000 on place, time zone and device are left out (3.8.5.1.2.6 allows
//! both); since when somebody is away is contradiction C-31.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::reading::{Key, canonical_of};

/// How long a fact lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Static,
    Endpoint(u8),
    User,
    Until(u64),
}

#[derive(Clone, Debug, Default)]
pub struct Activity {
    pub token: &'static str,
    pub custom: &'static str,
    pub min: Option<u32>,
    pub max: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct State {
    /// As in xsi:type.
    pub kind: &'static str,
    pub manual: bool,
    pub start: Option<u64>,
    pub availability: u32,
    pub activities: Vec<Activity>,
    /// endpointLocation, timeZoneBias, timeZoneName, timeZoneAbbreviation, device.
    pub place: [&'static str; 5],
    pub subject: &'static str,
    pub room: &'static str,
}

#[derive(Clone, Debug)]
pub struct Capability {
    pub uri: &'static str,
    pub name: &'static str,
    pub render: bool,
    pub capture: bool,
    pub publish: bool,
    pub version: Option<u32>,
}

#[derive(Clone, Debug)]
pub enum What {
    State(State),
    /// The endpoint that the content names, and what it can do.
    Device(u8, Vec<Capability>),
    /// A mark in the working hours, if there are any.
    Calendar(Option<u32>),
}

#[derive(Clone, Debug)]
pub struct Fact {
    pub at: u64,
    pub life: Life,
    pub what: What,
}

/// What is published, and what the text makes of it.
#[derive(Default)]
pub struct Model {
    pub facts: BTreeMap<(u16, &'static str, u32), Fact>,
    pub signed_in: Vec<u8>,
    /// Since when an input container's person has been offline.
    offline_since: BTreeMap<u16, u64>,
}

/// What 3.8.5.1 makes of one input container.
struct Whole {
    availability: u32,
    activity: Option<Activity>,
    last_active: Option<u64>,
    place: [&'static str; 5],
    subject: &'static str,
    room: &'static str,
    machine: Option<(u8, State)>,
}

/// An expected instance: lifetime and content.
pub type Expected = BTreeMap<Key, (&'static str, String)>;

impl Model {
    /// Lets time pass up to and with `now`: what is bound to time ends.
    pub fn pass(&mut self, now: u64) {
        self.facts
            .retain(|_, fact| !matches!(fact.life, Life::Until(end) if end <= now));
    }

    pub fn sign_out(&mut self, endpoint: u8) {
        self.signed_in.retain(|known| *known != endpoint);
        let last = self.signed_in.is_empty();
        self.facts.retain(|_, fact| match fact.life {
            Life::Endpoint(of) => of != endpoint,
            Life::User => !last,
            Life::Static | Life::Until(_) => true,
        });
    }

    /// When the next fact ends.
    pub fn next_end(&self) -> Option<u64> {
        let ends = self.facts.values().filter_map(|fact| match fact.life {
            Life::Until(end) => Some(end),
            _ => None,
        });
        ends.min()
    }

    /// Everything that should stand computed at `now`.
    pub fn expected(&mut self, now: u64) -> Expected {
        let mut out = Expected::new();
        for input in [2, 3] {
            let whole = self.whole(input, now);
            states(input, &whole, &mut out);
        }
        self.services(&mut out);
        self.working_hours(&mut out);
        self.do_not_disturb(&mut out);
        out
    }

    fn states_of(&self, container: u16) -> Vec<(u32, &Fact, &State)> {
        let mut found = Vec::new();
        for ((at, category, number), fact) in &self.facts {
            if let What::State(state) = &fact.what
                && *at == container
                && *category == "state"
            {
                found.push((*number, fact, state));
            }
        }
        found
    }

    fn whole(&mut self, container: u16, now: u64) -> Whole {
        // 3.8.5.1.2.1
        let mut most_active: Option<(u32, &Fact, &State, u8)> = None;
        for (number, fact, state) in self.states_of(container) {
            let Life::Endpoint(endpoint) = fact.life else {
                continue;
            };
            if state.kind != "machineState" {
                continue;
            }
            let better = match most_active {
                None => true,
                Some((other_number, other, known, _)) => {
                    if state.availability != known.availability {
                        state.availability < known.availability
                    } else if fact.at != other.at {
                        fact.at > other.at
                    } else {
                        number > other_number
                    }
                }
            };
            if better {
                most_active = Some((number, fact, state, endpoint));
            }
        }
        let machine_availability =
            most_active.map_or(18_500, |(_, _, state, _)| state.availability);

        // 3.8.5.1.2.2
        let computed = ["machineState", "aggregateState", "aggregateMachineState"];
        let mut set: Vec<(u32, &Fact, &State)> = self
            .states_of(container)
            .into_iter()
            .filter(|(_, _, state)| !computed.contains(&state.kind))
            .collect();
        let meetings: Vec<&State> = set
            .iter()
            .map(|(_, _, state)| *state)
            .filter(|state| {
                state.kind == "calendarState"
                    && (!state.subject.is_empty() || !state.room.is_empty())
            })
            .collect();
        let age = |fact: &Fact, state: &State| state.start.unwrap_or(fact.at);
        for (_, manual_fact, manual) in set.clone() {
            if manual.manual {
                let since = age(manual_fact, manual);
                set.retain(|(_, fact, state)| age(fact, state) >= since);
            }
        }
        let mut availability = machine_availability;
        for (_, _, state) in &set {
            availability = availability.max(state.availability);
        }
        if (4_500..=5_999).contains(&machine_availability)
            && (6_000..=7_499).contains(&availability)
        {
            availability += 1_500;
        }

        // 3.8.5.1.2.3
        let mut members = set.clone();
        if let Some((number, fact, state, _)) = most_active {
            members.push((number, fact, state));
        }
        let mut chosen: Option<(u32, u64, u32, &Activity)> = None;
        for (number, fact, state) in members {
            for activity in &state.activities {
                let (min, max) = (activity.min.unwrap_or(0), activity.max.unwrap_or(u32::MAX));
                let says = !activity.token.is_empty() || !activity.custom.is_empty();
                if !says || availability < min || availability > max {
                    continue;
                }
                let rank = (min, age(fact, state), number);
                // The later of several in one state, if even their ranges are equal.
                if chosen.is_none_or(|(min, since, number, _)| rank >= (min, since, number)) {
                    chosen = Some((rank.0, rank.1, rank.2, activity));
                }
            }
        }

        // C-31
        let offline = availability >= 18_000;
        let away = (4_500..6_000).contains(&availability)
            || (7_500..9_000).contains(&availability)
            || (12_000..18_000).contains(&availability);
        let machine_at = most_active.map(|(_, fact, _, _)| fact.at);
        let activity = chosen.map(|(_, _, _, activity)| activity.clone());
        // 3.8.5.1.2.6
        let place = match most_active {
            Some((_, _, state, _)) if availability < 12_000 => state.place,
            _ => [""; 5],
        };
        // 3.8.5.1.2.5
        let (subject, room) = match meetings[..] {
            [only] => (only.subject, only.room),
            _ => ("", ""),
        };
        let machine = most_active.map(|(_, _, state, endpoint)| (endpoint, state.clone()));
        let last_active = if offline {
            Some(*self.offline_since.entry(container).or_insert(now))
        } else {
            self.offline_since.remove(&container);
            machine_at.filter(|_| away)
        };
        Whole {
            availability,
            activity,
            last_active,
            place,
            subject,
            room,
            machine,
        }
    }

    // 3.8.5.2.2
    fn services(&self, out: &mut Expected) {
        let mut devices = Vec::new();
        for ((container, category, _), fact) in &self.facts {
            if let What::Device(endpoint, capabilities) = &fact.what
                && (*container, *category) == (2, "device")
            {
                devices.push((*endpoint, capabilities));
            }
        }
        let mut addresses: Vec<&str> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for capability in devices.iter().flat_map(|(_, all)| all.iter()) {
            if !addresses.contains(&capability.uri) {
                addresses.push(capability.uri);
            }
            if !names.contains(&capability.name) {
                names.push(capability.name);
            }
        }
        if addresses.is_empty() {
            return;
        }
        let (mut own, mut others) = (String::new(), String::new());
        for uri in addresses {
            let (mut own_offers, mut other_offers) = (String::new(), String::new());
            for name in &names {
                let mut winner: Option<(&Capability, u8, (u32, u64))> = None;
                for (endpoint, capabilities) in &devices {
                    let activeness = self.machine_of(*endpoint);
                    for current in capabilities.iter() {
                        if current.uri != uri || current.name != *name {
                            continue;
                        }
                        let Some((known, _, known_activeness)) = winner else {
                            winner = Some((current, *endpoint, activeness));
                            continue;
                        };
                        let more_active = activeness.0 < known_activeness.0
                            || activeness.0 == known_activeness.0
                                && activeness.1 > known_activeness.1;
                        let (mine, theirs) =
                            (current.version.unwrap_or(0), known.version.unwrap_or(0));
                        let wins = if current.publish {
                            mine > theirs || mine == theirs && more_active
                        } else {
                            !known.render && !known.capture || more_active
                        };
                        if wins {
                            winner = Some((current, *endpoint, activeness));
                        }
                    }
                }
                let Some((won, endpoint, (availability, _))) = winner else {
                    continue;
                };
                let version = won
                    .version
                    .map_or_else(String::new, |version| format!(" version=\"{version}\""));
                let common = format!(
                    "<{name} render=\"{}\" capture=\"{}\" deviceAvailability=\"{availability}\"",
                    won.render, won.capture
                );
                let _ = write!(
                    own_offers,
                    "{common} publish=\"{}\"{version} preferredEndpointId=\"{}\"/>",
                    won.publish,
                    uuid(endpoint)
                );
                if !won.publish {
                    let _ = write!(other_offers, "{common}/>");
                }
            }
            for (offers, all) in [(own_offers, &mut own), (other_offers, &mut others)] {
                if !offers.is_empty() {
                    let _ = write!(
                        all,
                        "<service uri=\"{uri}\"><capabilities>{offers}</capabilities></service>"
                    );
                }
            }
        }
        for container in [2, 100, 200, 300, 400] {
            let inside = if container == 2 { &own } else { &others };
            let text = format!(
                "<services xmlns=\"http://schemas.microsoft.com/2006/09/sip/service\">{inside}</services>"
            );
            put(out, container, "services", 0, "user", &text);
        }
    }

    /// Availability and time of the machineState that an endpoint published.
    fn machine_of(&self, endpoint: u8) -> (u32, u64) {
        let mut best = None;
        for (_, fact, state) in self.states_of(2) {
            if state.kind != "machineState" || fact.life != Life::Endpoint(endpoint) {
                continue;
            }
            let better = |(availability, at): (u32, u64)| {
                state.availability < availability
                    || state.availability == availability && fact.at > at
            };
            if best.is_none_or(better) {
                best = Some((state.availability, fact.at));
            }
        }
        best.unwrap_or((18_500, 0))
    }

    // 3.8.5.3
    fn working_hours(&self, out: &mut Expected) {
        if let Some(Fact {
            what: What::Calendar(Some(mark)),
            ..
        }) = self.facts.get(&(1, "calendarData", 0))
        {
            put(out, 1, "workingHours", 0, "static", &calendar(Some(*mark)));
        }
    }

    // 3.8.5.4
    fn do_not_disturb(&self, out: &mut Expected) {
        for (input, outputs) in [(2, &[2, 0, 100, 200, 400][..]), (3, &[3, 300])] {
            let on = self.states_of(input).iter().any(|(_, _, state)| {
                ["userState", "presentingState"].contains(&state.kind)
                    && (9_000..=11_999).contains(&state.availability)
            });
            let inside = if on {
                "<availability>9500</availability>"
            } else {
                ""
            };
            for container in outputs {
                let text = element("userState", " manual=\"true\"", inside);
                put(out, *container, "dndState", 0, "static", &text);
            }
        }
    }
}

/// The table of 3.8.5.1.2.7: where the aggregate of an input goes.
fn states(input: u16, whole: &Whole, out: &mut Expected) {
    let (life, number) = match whole.machine {
        Some(_) => ("user", 1),
        None => ("static", 0),
    };
    let availability = format!("<availability>{}</availability>", whole.availability);
    let activity = whole
        .activity
        .as_ref()
        .map_or_else(String::new, |activity| {
            let shown = Activity {
                min: None,
                max: None,
                ..activity.clone()
            };
            shown.xml()
        });
    let last_active = whole.last_active.map_or_else(String::new, |at| {
        format!(" lastActive=\"{}\"", time(at / 1_000 * 1_000))
    });
    let texts = |names: &[(&str, &str)]| -> String {
        names
            .iter()
            .map(|(name, text)| format!("<{name}>{text}</{name}>"))
            .collect()
    };
    let [location, bias, zone, abbreviation, device] = whole.place;
    let device = texts(&[("device", device)]);
    let location = texts(&[("endpointLocation", location)]);
    let zone = texts(&[
        ("timeZoneBias", bias),
        ("timeZoneName", zone),
        ("timeZoneAbbreviation", abbreviation),
    ]);
    let meeting = texts(&[
        ("meetingSubject", whole.subject),
        ("meetingLocation", whole.room),
    ]);
    let all = format!("{availability}{activity}{location}{meeting}{zone}{device}");
    let table: &[(u16, &str, &str)] = match input {
        2 => &[
            (100, "", &availability),
            (
                200,
                &last_active,
                &format!("{availability}{activity}{device}"),
            ),
            (
                400,
                &last_active,
                &format!("{availability}{activity}{location}{zone}{device}"),
            ),
            (2, &last_active, &all),
        ],
        _ => &[(300, &last_active, &all), (3, &last_active, &all)],
    };
    for (container, attributes, inside) in table {
        let text = element("aggregateState", attributes, inside);
        put(out, *container, "state", number, life, &text);
        if *container < 100 {
            continue;
        }
        // C-32
        let token = whole
            .activity
            .as_ref()
            .map_or("", |activity| activity.token);
        let token = match (token, container) {
            ("", _) | (_, 100) => String::new(),
            (token, _) => format!(" token=\"{token}\""),
        };
        let text = format!(
            "<legacyInterop xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\" availability=\"{}\"{token}/>",
            whole.availability
        );
        put(out, *container, "legacyInterop", number, life, &text);
    }
    if let (2, Some((endpoint, state))) = (input, &whole.machine) {
        // A lower bound of 0 is none.
        let same = |activity: &Activity| Activity {
            min: activity.min.filter(|min| *min > 0),
            ..activity.clone()
        };
        let activities: String = state
            .activities
            .iter()
            .map(|activity| same(activity).xml())
            .collect();
        let text = element(
            "aggregateMachineState",
            &format!(" endpointId=\"{}\"", uuid(*endpoint)),
            &format!(
                "<availability>{}</availability>{activities}",
                state.availability
            ),
        );
        put(out, 2, "state", 0x1000_0000, "user", &text);
    }
}

fn put(
    out: &mut Expected,
    container: u16,
    category: &str,
    number: u32,
    life: &'static str,
    text: &str,
) {
    let key = (container, category.to_owned(), number);
    let twice = out.insert(key, (life, canonical_of(text)));
    assert!(twice.is_none(), "an instance expected twice");
}

impl Activity {
    pub fn xml(&self) -> String {
        let mut out = "<activity".to_owned();
        if !self.token.is_empty() {
            let _ = write!(out, " token=\"{}\"", self.token);
        }
        for (name, bound) in [("minAvailability", self.min), ("maxAvailability", self.max)] {
            if let Some(bound) = bound {
                let _ = write!(out, " {name}=\"{bound}\"");
            }
        }
        if self.custom.is_empty() {
            return out + "/>";
        }
        let _ = write!(
            out,
            "><custom LCID=\"1033\">{}</custom></activity>",
            self.custom
        );
        out
    }
}

impl State {
    /// As a client publishes it.
    pub fn xml(&self) -> String {
        let mut attributes = format!(" manual=\"{}\"", self.manual);
        if let Some(start) = self.start {
            let _ = write!(attributes, " startTime=\"{}Z\"", time(start));
        }
        let activities: String = self.activities.iter().map(Activity::xml).collect();
        let [location, bias, zone, abbreviation, device] = self.place;
        element(
            self.kind,
            &attributes,
            &format!(
                "<availability>{}</availability>{activities}<endpointLocation>{location}</endpointLocation>\
                 <meetingSubject>{}</meetingSubject><meetingLocation>{}</meetingLocation>\
                 <delimiter xmlns=\"http://schemas.microsoft.com/2006/09/sip/commontypes\"/>\
                 <timeZoneBias>{bias}</timeZoneBias><timeZoneName>{zone}</timeZoneName>\
                 <timeZoneAbbreviation>{abbreviation}</timeZoneAbbreviation><device>{device}</device>\
                 <end xmlns=\"http://schemas.microsoft.com/2006/09/sip/commontypes\"/>",
                self.availability, self.subject, self.room
            ),
        )
    }
}

/// A device as a client publishes it.
pub fn device(endpoint: u8, capabilities: &[Capability]) -> String {
    let each: String = capabilities
        .iter()
        .map(|capability| {
            let version = capability
                .version
                .map_or_else(String::new, |version| format!(" version=\"{version}\""));
            format!(
                "<capabilities preferred=\"false\" uri=\"{}\"><{} render=\"{}\" capture=\"{}\" publish=\"{}\"{version}> </{}></capabilities>",
                capability.uri,
                capability.name,
                capability.render,
                capability.capture,
                capability.publish,
                capability.name
            )
        })
        .collect();
    format!(
        "<device xmlns=\"http://schemas.microsoft.com/2006/09/sip/device\" endpointId=\"{}\">{each}\
         <timezone>00:00:00-08:00</timezone><machineName>BOB</machineName></device>",
        uuid(endpoint).to_ascii_uppercase()
    )
}

/// Calendar data, with working hours that begin at a mark or without any.
pub fn calendar(mark: Option<u32>) -> String {
    let hours = mark.map_or_else(String::new, |mark| {
        format!(
            "<WorkingHours xmlns=\"http://schemas.microsoft.com/exchange/services/2006/types\"><TimeZone><Bias>480</Bias></TimeZone>\
             <WorkingPeriodArray><WorkingPeriod><StartTimeInMinutes>{mark}</StartTimeInMinutes></WorkingPeriod></WorkingPeriodArray></WorkingHours>"
        )
    });
    format!(
        "<calendarData xmlns=\"http://schemas.microsoft.com/2006/09/sip/calendarData\" mailboxID=\"bob@contoso.com\">{hours}</calendarData>"
    )
}

fn element(kind: &str, attributes: &str, inside: &str) -> String {
    format!(
        "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\"{attributes}>{inside}</state>"
    )
}

/// The identity of an endpoint with this number.
pub fn uuid(endpoint: u8) -> String {
    let pair = format!("{endpoint:02x}");
    [4, 2, 2, 2, 6].map(|count| pair.repeat(count)).join("-")
}

/// A time of 2008-01-11, the day on which every case plays, with milliseconds where it has any.
fn time(at_ms: u64) -> String {
    let of_day = at_ms - 1_200_009_600_000;
    assert!(of_day < 86_400_000, "on one day");
    let (second, ms) = (of_day / 1_000, of_day % 1_000);
    let mut text = format!(
        "2008-01-11T{:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    );
    if ms > 0 {
        let _ = write!(text, ".{ms:03}");
    }
    text
}
