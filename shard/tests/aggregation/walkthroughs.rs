//! The cases of section 4.3 and 4.4.3, in our own words: who published what and when, and what must stand
//! computed then. `-` stands for a text that is not there.

use std::collections::BTreeMap;

use super::model::{self, Activity, Capability, State};
use super::reading::canonical_of;
use super::stage::{Item, Stage, at, endpoint};

const COMPUTER: u8 = 0x22;
const OTHER: u8 = 0xb7;

/// A state that says nothing but how available.
fn state(kind: &'static str, availability: u32) -> State {
    State {
        kind,
        manual: kind == "userState",
        start: None,
        availability,
        activities: Vec::new(),
        place: [""; 5],
        subject: "",
        room: "",
    }
}

fn token(token: &'static str, min: u32, max: u32) -> Vec<Activity> {
    vec![Activity {
        token,
        custom: "",
        min: Some(min),
        max: Some(max),
    }]
}

fn item(container: u16, instance: u32, life: &str, state: &State) -> Item {
    Item {
        category: "state",
        container,
        instance,
        life: format!("expireType=\"{life}\""),
        content: state.xml(),
    }
}

/// A state into containers 2 and 3.
fn both(instance: u32, life: &str, state: &State) -> [Item; 2] {
    [
        item(2, instance, life, state),
        item(3, instance, life, state),
    ]
}

fn device(instance: u32, of: u8, capabilities: &[Capability]) -> Item {
    Item {
        category: "device",
        container: 2,
        instance,
        life: "expireType=\"endpoint\"".to_owned(),
        content: model::device(of, capabilities),
    }
}

fn can(
    uri: &'static str,
    name: &'static str,
    [render, capture, publish]: [bool; 3],
    version: Option<u32>,
) -> Capability {
    Capability {
        uri,
        name,
        render,
        capture,
        publish,
        version,
    }
}

/// What stands in a place, in few words: availability, activity, and so on; see the cases.
fn brief(content: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for line in content.lines() {
        let line = line.trim();
        let (name, rest) = line.split_once([' ']).unwrap_or((line, ""));
        let name = name.rsplit('}').next().unwrap_or(name);
        let word = match name {
            "availability" => rest.trim_matches('"').to_owned(),
            "activity" | "custom" if !rest.is_empty() => rest.replace("LCID=\"1033\" ", ""),
            "activity" => continue,
            "state" | "services" => rest.to_owned(),
            "service" => format!("[{}]", rest.trim_start_matches("uri=")),
            _ => format!("{name} {rest}").trim().to_owned(),
        };
        words.push(word);
    }
    words.retain(|word| !word.is_empty());
    words.join("; ")
}

fn check(stage: &Stage, expected: &[(u16, &str, u32, &str, &str)]) {
    let held = stage.held();
    for (container, category, number, life, content) in expected {
        let key = (*container, (*category).to_owned(), *number);
        let found = held
            .get(&key)
            .unwrap_or_else(|| panic!("{key:?}: {held:#?}"));
        assert_eq!(&found.life, life, "{key:?}");
        assert_eq!(
            brief(&found.content),
            *content,
            "{key:?}\n{}",
            found.content
        );
    }
}

//= MS-PRES 4.3.1
//= type=test
//# a manual state with a text of its own in container 2, with a token in container 3
// proves: PRES-2.2.2.7.1-06 PRES-3.8.5.1.1-02 PRES-3.8.5.1.2.3-02 PRES-3.8.5.1.2.6-01 PRES-3.8.5.1.2.7-05
#[test]
fn somebody_interviews_and_is_at_home() {
    let mut stage = Stage::start(at(17, 0, 0));
    stage.sign_in(at(17, 20, 0), endpoint(COMPUTER));
    let home = State {
        place: ["Home", "999", "Pacific Daylight", "PDT", "computer"],
        ..state("machineState", 3_500)
    };
    stage.publish(
        at(17, 25, 19_233),
        endpoint(COMPUTER),
        &both(77, "endpoint", &home),
    );
    let interviewing = State {
        activities: vec![Activity {
            token: "",
            custom: "Interviewing",
            min: Some(9_500),
            max: Some(11_999),
        }],
        ..state("userState", 9_500)
    };
    let urgent = State {
        activities: token("urgent-interruptions-only", 6_900, 8_999),
        ..state("userState", 6_900)
    };
    stage.publish(
        at(17, 28, 24_217),
        endpoint(COMPUTER),
        &[
            item(2, 5, "static", &interviewing),
            item(3, 5, "static", &urgent),
        ],
    );
    let own = "type=\"aggregateState\"; \"Interviewing\"; 9500; device \"computer\"; endpointLocation \"Home\"; \
               timeZoneAbbreviation \"PDT\"; timeZoneBias \"999\"; timeZoneName \"Pacific Daylight\"";
    let team = "type=\"aggregateState\"; token=\"urgent-interruptions-only\"; 6900; device \"computer\"; \
                endpointLocation \"Home\"; timeZoneAbbreviation \"PDT\"; timeZoneBias \"999\"; timeZoneName \"Pacific Daylight\"";
    check(
        &stage,
        &[
            (2, "state", 1, "user", own),
            (
                2,
                "state",
                0x1000_0000,
                "user",
                "endpointId=\"22222222-2222-2222-2222-222222222222\" type=\"aggregateMachineState\"; 3500",
            ),
            (3, "state", 1, "user", team),
            (100, "state", 1, "user", "type=\"aggregateState\"; 9500"),
            (
                200,
                "state",
                1,
                "user",
                "type=\"aggregateState\"; \"Interviewing\"; 9500; device \"computer\"",
            ),
            (300, "state", 1, "user", team),
            (400, "state", 1, "user", own),
            // Contradiction C-32: a text of one's own gives no token.
            (
                100,
                "legacyInterop",
                1,
                "user",
                "legacyInterop availability=\"9500\"",
            ),
            (
                200,
                "legacyInterop",
                1,
                "user",
                "legacyInterop availability=\"9500\"",
            ),
            (
                400,
                "legacyInterop",
                1,
                "user",
                "legacyInterop availability=\"9500\"",
            ),
            (
                300,
                "legacyInterop",
                1,
                "user",
                "legacyInterop availability=\"6900\" token=\"urgent-interruptions-only\"",
            ),
        ],
    );
}

//= MS-PRES 4.3.1.1
//= type=test
//# an idle device, a meeting, and a manual state for a while
// proves: PRES-3.8.5.1.2.2-04 PRES-3.8.5.1.2.3-01 PRES-3.8.5.1.2.3-04 PRES-3.8.5.1.2.4-01 PRES-3.8.5.1.2.5-01
#[test]
fn the_walkthrough_of_an_idle_device_and_a_meeting() {
    let mut stage = Stage::start(at(18, 0, 0));
    stage.sign_in(at(18, 0, 0), endpoint(COMPUTER));
    let busy = State {
        activities: token("urgent-interruptions-only", 6_900, 8_999),
        ..state("userState", 6_900)
    };
    let life = "time\" expires=\"3600";
    stage.publish(
        at(18, 26, 6_450),
        endpoint(COMPUTER),
        &[
            item(2, 6, life, &state("userState", 9_000)),
            item(3, 6, life, &busy),
        ],
    );
    let idle = State {
        place: ["Work", "999", "Pacific Daylight", "PDT", "computer"],
        ..state("machineState", 5_000)
    };
    stage.publish(
        at(19, 6, 3_920),
        endpoint(COMPUTER),
        &both(77, "endpoint", &idle),
    );
    let meeting = State {
        start: Some(at(19, 0, 0)),
        activities: token("in-a-meeting", 6_500, 8_999),
        subject: "Customer Meeting",
        room: "Room 100",
        ..state("calendarState", 6_500)
    };
    stage.publish(
        at(19, 6, 28_937),
        endpoint(COMPUTER),
        &both(88, "endpoint", &meeting),
    );
    let place = "device \"computer\"; endpointLocation \"Work\"";
    let meets = "meetingLocation \"Room 100\"; meetingSubject \"Customer Meeting\"";
    let zone =
        "timeZoneAbbreviation \"PDT\"; timeZoneBias \"999\"; timeZoneName \"Pacific Daylight\"";
    let disturbed = "type=\"aggregateState\"; 9000";
    let team = format!(
        "lastActive=\"2008-01-11T19:06:03\" type=\"aggregateState\"; token=\"urgent-interruptions-only\"; 8400; \
         {place}; {meets}; {zone}"
    );
    check(
        &stage,
        &[
            (
                2,
                "state",
                1,
                "user",
                &format!("{disturbed}; {place}; {meets}; {zone}"),
            ),
            (3, "state", 1, "user", &team),
            (300, "state", 1, "user", &team),
            (100, "state", 1, "user", disturbed),
            (
                200,
                "state",
                1,
                "user",
                &format!("{disturbed}; device \"computer\""),
            ),
            (
                400,
                "state",
                1,
                "user",
                &format!("{disturbed}; {place}; {zone}"),
            ),
        ],
    );
}

const ALL_INK: [(&str, [bool; 3]); 3] = [
    ("text", [true, true, false]),
    ("gifInk", [true, false, false]),
    ("isfInk", [true, false, false]),
];

fn messaging(uri: &'static str) -> Vec<Capability> {
    ALL_INK
        .iter()
        .map(|(name, flags)| can(uri, name, *flags, None))
        .collect()
}

//= MS-PRES 4.3.2.1
//= type=test
//# two devices that are as active as each other: the later one; what publishes is for oneself only
// proves: PRES-3.8.5.2.1-02 PRES-3.8.5.2.1-03 PRES-3.8.5.2.2-01 PRES-3.8.5.2.2-02 PRES-3.8.5.2.2-03
// proves: PRES-3.8.5.2.2-06 PRES-3.8.5.2.2-07 PRES-2.2.2.7.3-01
#[test]
fn two_devices_and_what_they_can_do() {
    let mut stage = Stage::start(at(22, 0, 0));
    for of in [OTHER, COMPUTER] {
        stage.sign_in(at(22, 0, 0), endpoint(of));
    }
    let (bob, telephone, mailbox) = ("sip:bob@contoso.com", "tel:+1123", "bob@exchange");
    let mut first = messaging(bob);
    first.push(can(
        telephone,
        "remoteCallControl",
        [false, false, true],
        None,
    ));
    let online = state("machineState", 3_500);
    stage.publish(
        at(22, 14, 36_233),
        endpoint(OTHER),
        &[
            item(2, 94, "endpoint", &online),
            device(2_210_988_456, OTHER, &first),
        ],
    );
    let mut second = messaging(bob);
    second.push(can(
        mailbox,
        "calendar",
        [false, false, true],
        Some(655_616),
    ));
    stage.publish(
        at(22, 20, 22_313),
        endpoint(COMPUTER),
        &[
            item(2, 91, "endpoint", &online),
            device(1_827_441_964, COMPUTER, &second),
        ],
    );
    let offer = |name: &str, [render, capture, publish]: [bool; 3], version: &str, of: u8| {
        format!(
            "<{name} render=\"{render}\" capture=\"{capture}\" publish=\"{publish}\" {version} \
             preferredEndpointId=\"{}\" deviceAvailability=\"3500\"/>",
            model::uuid(of)
        )
    };
    let shown = |name: &str, [render, capture, _]: [bool; 3]| {
        format!("<{name} render=\"{render}\" capture=\"{capture}\" deviceAvailability=\"3500\"/>")
    };
    let service = |uri: &str, inside: &str| {
        format!("<service uri=\"{uri}\"><capabilities>{inside}</capabilities></service>")
    };
    let own: String = ALL_INK
        .iter()
        .map(|(name, flags)| offer(name, *flags, "", COMPUTER))
        .collect();
    let others: String = ALL_INK
        .iter()
        .map(|(name, flags)| shown(name, *flags))
        .collect();
    let alone = [false, false, true];
    let services = |inside: &str| {
        let namespace = "http://schemas.microsoft.com/2006/09/sip/service";
        canonical_of(&format!(
            "<services xmlns=\"{namespace}\">{inside}</services>"
        ))
    };
    let own = services(
        &[
            service(bob, &own),
            service(telephone, &offer("remoteCallControl", alone, "", OTHER)),
            service(
                mailbox,
                &offer("calendar", alone, "version=\"655616\"", COMPUTER),
            ),
        ]
        .concat(),
    );
    let others = services(&service(bob, &others));
    let expected: BTreeMap<u16, &String> = [
        (2, &own),
        (100, &others),
        (200, &others),
        (300, &others),
        (400, &others),
    ]
    .into();
    let held = stage.held();
    for (container, content) in expected {
        let found = &held[&(container, "services".to_owned(), 0)];
        assert_eq!(found.life, "user", "{container}");
        assert_eq!(&found.content, content, "{container}");
    }
}

//= MS-PRES 4.3.2
//= type=test
//# the more active device wins at equal versions, and a static manual state stands above both
// proves: PRES-3.8.5.1.2.1-03 PRES-3.8.5.1.2.2-03 PRES-3.8.5.2.2-02 PRES-3.8.5.2.2-04
#[test]
fn the_more_active_of_two_devices_wins() {
    let mut stage = Stage::start(at(19, 0, 0));
    for of in [OTHER, COMPUTER] {
        stage.sign_in(at(19, 0, 0), endpoint(of));
    }
    let breakthrough = [can(
        "sip:bob@contoso.com",
        "breakthrough",
        [false, false, true],
        None,
    )];
    stage.publish(
        at(19, 1, 35_903),
        endpoint(OTHER),
        &both(5, "static", &state("userState", 6_500)),
    );
    stage.publish(
        at(19, 44, 20_873),
        endpoint(OTHER),
        &[
            device(1, OTHER, &breakthrough),
            item(2, 96, "endpoint", &state("machineState", 5_000)),
            item(3, 96, "endpoint", &state("machineState", 5_000)),
        ],
    );
    let idle = "lastActive=\"2008-01-11T19:44:20\" type=\"aggregateState\"; 8000";
    check(
        &stage,
        &[
            (2, "state", 1, "user", idle),
            (300, "state", 1, "user", idle),
        ],
    );
    stage.publish(
        at(19, 45, 38_950),
        endpoint(COMPUTER),
        &[
            device(2, COMPUTER, &breakthrough),
            item(2, 97, "endpoint", &state("machineState", 3_500)),
            item(3, 97, "endpoint", &state("machineState", 3_500)),
        ],
    );
    let busy = "type=\"aggregateState\"; 6500";
    check(
        &stage,
        &[
            (2, "state", 1, "user", busy),
            (3, "state", 1, "user", busy),
            (400, "state", 1, "user", busy),
            (
                2,
                "services",
                0,
                "user",
                "[\"sip:bob@contoso.com\"]; capabilities; breakthrough capture=\"false\" deviceAvailability=\"3500\" \
                 preferredEndpointId=\"22222222-2222-2222-2222-222222222222\" publish=\"true\" render=\"false\"",
            ),
        ],
    );
}

//= MS-PRES 4.3.3
//= type=test
//# the working hours of instance 0 in container 1, of no other instance and no other container
// proves: PRES-3.8.5.3-01 PRES-3.8.5.3-02 PRES-3.8.5.3-03 PRES-3.8.5.3-04 PRES-2.2.2.7.9-01 PRES-2.2.2.7.9-03
#[test]
fn working_hours_are_those_of_container_1() {
    let mut stage = Stage::start(at(12, 0, 0));
    stage.sign_in(at(12, 0, 0), endpoint(COMPUTER));
    let calendar = |container, instance, life: &str, mark| Item {
        category: "calendarData",
        container,
        instance,
        life: life.to_owned(),
        content: model::calendar(mark),
    };
    let hours = |stage: &Stage| {
        let held = stage.held();
        let found: Vec<_> = held
            .iter()
            .filter(|((_, category, _), _)| category == "workingHours")
            .map(|((container, _, number), held)| {
                let content = held.content.clone();
                (
                    *container,
                    *number,
                    held.version,
                    held.life.clone(),
                    content,
                )
            })
            .collect();
        found
    };
    let fixed = "expireType=\"static\"";
    let own = |mark, version| {
        let content = canonical_of(&model::calendar(Some(mark)));
        vec![(1, 0, version, "static".to_owned(), content)]
    };
    let mut minute = 1;
    let mut publish = |stage: &mut Stage, items: &[Item]| {
        stage.publish(at(12, minute, 0), endpoint(COMPUTER), items);
        minute += 1;
    };
    publish(
        &mut stage,
        &[
            calendar(1, 44, "expireType=\"endpoint\"", Some(1)),
            calendar(200, 0, fixed, Some(2)),
            calendar(100, 0, fixed, None),
        ],
    );
    assert_eq!(
        hours(&stage),
        [],
        "none of these is instance 0 of container 1"
    );
    publish(&mut stage, &[calendar(1, 0, fixed, Some(480))]);
    assert_eq!(hours(&stage), own(480, 1));
    publish(&mut stage, &[calendar(1, 0, fixed, Some(480))]);
    assert_eq!(
        hours(&stage),
        own(480, 1),
        "the same hours are not published again"
    );
    publish(&mut stage, &[calendar(1, 0, fixed, Some(540))]);
    assert_eq!(hours(&stage), own(540, 2));
    publish(&mut stage, &[calendar(1, 0, fixed, None)]);
    assert_eq!(hours(&stage), [], "the element is gone");
    publish(&mut stage, &[calendar(1, 0, fixed, Some(1))]);
    assert_eq!(hours(&stage).len(), 1);
    publish(&mut stage, &[calendar(1, 0, super::stage::REMOVED, None)]);
    assert_eq!(hours(&stage), [], "the publication is gone");
    publish(
        &mut stage,
        &[calendar(
            1,
            0,
            "expireType=\"time\" expires=\"90\"",
            Some(1),
        )],
    );
    assert_eq!(hours(&stage).len(), 1);
    stage.wait_until(at(12, 59, 0));
    assert_eq!(hours(&stage), [], "the publication has expired");
    publish(
        &mut stage,
        &[calendar(1, 0, "expireType=\"endpoint\"", Some(1))],
    );
    stage.sign_out(at(13, 0, 0), endpoint(COMPUTER));
    assert_eq!(hours(&stage), [], "the publisher has gone");
}

//= MS-PRES 4.3.4
//= type=test
//# two devices, and a manual state for a while that asks not to be disturbed in container 2 only
// proves: PRES-3.8.5.4-01 PRES-3.8.5.4-02 PRES-3.8.5.4-03 PRES-3.8.5.4-04 PRES-3.8.5.4-07 PRES-2.2.2.7.10-01
// proves: PRES-2.2.2.7.10-04
#[test]
fn who_must_not_be_disturbed_says_so() {
    let mut stage = Stage::start(at(8, 0, 0));
    for of in [OTHER, COMPUTER] {
        stage.sign_in(at(8, 0, 0), endpoint(of));
    }
    let desk = State {
        place: ["", "480", "Pacific Standard", "", "deskphone"],
        ..state("machineState", 15_500)
    };
    let here = State {
        place: ["", "", "", "", "computer"],
        ..state("machineState", 3_500)
    };
    stage.publish(
        at(8, 4, 3_067),
        endpoint(OTHER),
        &both(81, "endpoint", &desk),
    );
    stage.publish(
        at(8, 40, 58_693),
        endpoint(COMPUTER),
        &both(10, "endpoint", &here),
    );
    let on = "manual=\"true\" type=\"userState\"; 9500";
    let off = "manual=\"true\" type=\"userState\"";
    let places = [0, 2, 100, 200, 400, 3, 300];
    check(
        &stage,
        &places.map(|container| (container, "dndState", 0, "static", off)),
    );
    let busy = State {
        activities: token("urgent-interruptions-only", 6_900, 8_999),
        ..state("userState", 6_900)
    };
    let life = "time\" expires=\"600";
    stage.publish(
        at(9, 1, 58_740),
        endpoint(COMPUTER),
        &[
            item(2, 60, life, &state("userState", 9_000)),
            item(3, 60, life, &busy),
        ],
    );
    check(
        &stage,
        &places.map(|container| {
            let content = if [3, 300].contains(&container) {
                off
            } else {
                on
            };
            (container, "dndState", 0, "static", content)
        }),
    );
    check(
        &stage,
        &[
            (
                2,
                "state",
                1,
                "user",
                "type=\"aggregateState\"; 9000; device \"computer\"",
            ),
            (
                3,
                "state",
                1,
                "user",
                "type=\"aggregateState\"; token=\"urgent-interruptions-only\"; 6900; device \"computer\"",
            ),
            (100, "state", 1, "user", "type=\"aggregateState\"; 9000"),
        ],
    );
    let version = |stage: &Stage, container: u16| {
        stage.held()[&(container, "dndState".to_owned(), 0)].version
    };
    assert_eq!(
        (version(&stage, 2), version(&stage, 300)),
        (2, 1),
        "what stayed was not published"
    );
    stage.wait_until(at(9, 30, 0));
    check(
        &stage,
        &places.map(|container| (container, "dndState", 0, "static", off)),
    );
    assert_eq!((version(&stage, 2), version(&stage, 300)), (3, 1));
}

//= MS-PRES 4.4.3
//= type=test
//# the first endpoint after signing in
// proves: PRES-3.8.5.1.2.7-01 PRES-3.8.5.2.2-05
#[test]
fn the_first_endpoint_makes_somebody_available() {
    let mut stage = Stage::start(at(23, 0, 0));
    stage.sign_in(at(23, 41, 0), endpoint(COMPUTER));
    let gone = "lastActive=\"2008-01-11T23:41:00\" type=\"aggregateState\"; 18500";
    check(
        &stage,
        &[
            (2, "state", 0, "static", gone),
            (300, "state", 0, "static", gone),
            (100, "state", 0, "static", "type=\"aggregateState\"; 18500"),
        ],
    );
    assert_eq!(
        stage.content(2, "state", 0x1000_0000),
        None,
        "contradiction C-33"
    );
    let mut items = both(83, "endpoint", &state("machineState", 3_500)).to_vec();
    items.push(device(41, COMPUTER, &messaging("sip:bob@contoso.com")));
    stage.publish(at(23, 41, 5_450), endpoint(COMPUTER), &items);
    let online = "type=\"aggregateState\"; 3500";
    check(
        &stage,
        &[2, 3, 100, 200, 300, 400].map(|container| (container, "state", 1, "user", online)),
    );
    for container in [2, 3, 100, 200, 300, 400] {
        assert_eq!(
            stage.content(container, "state", 0),
            None,
            "{container}: the static one is gone"
        );
    }
    assert_eq!(stage.content(3, "services", 0), None);
    let held = stage.held();
    for container in [2, 100, 200, 300, 400] {
        assert_eq!(held[&(container, "services".to_owned(), 0)].life, "user");
    }
    stage.sign_out(at(23, 50, 7_800), endpoint(COMPUTER));
    let left = "lastActive=\"2008-01-11T23:50:07\" type=\"aggregateState\"; 18500";
    check(
        &stage,
        &[
            (2, "state", 0, "static", left),
            (300, "state", 0, "static", left),
        ],
    );
    for container in [2, 3, 100, 200, 300, 400] {
        assert_eq!(stage.content(container, "state", 1), None, "{container}");
        assert_eq!(stage.content(container, "services", 0), None, "{container}");
    }
}
