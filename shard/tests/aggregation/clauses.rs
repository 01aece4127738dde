//! Clauses of 3.8 and 2.2.2.7 that the walkthroughs do not show: ends, boundaries, and what is left alone.

use super::model::{self, State};
use super::stage::{BOB, Item, REMOVED, Stage, at, endpoint};
use shard::category::contact_card::Card;
use shard::category::user_properties::{Line, LineType, Properties};
use shard::machine::command::{Command, Waiting};
use shard::machine::outcome::Outcome;
use shard::presence::enhanced::Profile;

const FIRST: u8 = 0x11;
const SECOND: u8 = 0xa2;

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

fn item(container: u16, instance: u32, life: &str, state: &State) -> Item {
    Item {
        category: "state",
        container,
        instance,
        life: life.to_owned(),
        content: state.xml(),
    }
}

const STATIC: &str = "expireType=\"static\"";
const OWN: &str = "expireType=\"endpoint\"";

/// A publisher with these endpoints signed in at one o'clock.
fn stage(endpoints: &[u8]) -> Stage {
    let mut stage = Stage::start(at(1, 0, 0));
    for number in endpoints {
        stage.sign_in(at(1, 0, 0), endpoint(*number));
    }
    stage
}

fn availability(stage: &Stage, container: u16) -> u32 {
    let content = stage.content(container, "state", 1);
    let content = content
        .or_else(|| stage.content(container, "state", 0))
        .expect("an aggregate");
    let line = content.lines().find(|line| line.contains("}availability"));
    let digits = line
        .and_then(|line| line.split('"').nth(1))
        .expect("an availability");
    digits.parse().expect("a number")
}

//= MS-PRES 3.8.5.4
//= type=test
//= MS-PRES 2.2.2.7.10
//= type=test
//# from 9000 to 11999, of a userState or a presentingState, and of no other
// proves: PRES-3.8.5.4-05 PRES-3.8.5.4-06 PRES-3.8.5.4-07 PRES-2.2.2.7.10-01
#[test]
fn do_not_disturb_begins_and_ends_at_its_bounds() {
    let mut stage = stage(&[FIRST]);
    let mut minute = 1;
    for (kind, availability, on) in [
        ("userState", 8_999, false),
        ("userState", 9_000, true),
        ("userState", 11_999, true),
        ("userState", 12_000, false),
        ("presentingState", 8_999, false),
        ("presentingState", 9_000, true),
        ("presentingState", 11_999, true),
        ("presentingState", 12_000, false),
        ("calendarState", 9_500, false),
        ("phoneState", 9_500, false),
        ("machineState", 9_500, false),
    ] {
        for (input, outputs) in [(2, &[0, 2, 100, 200, 400][..]), (3, &[3, 300])] {
            let shows = |stage: &Stage, container: u16| {
                let content = stage.content(container, "dndState", 0).expect("there");
                (
                    content.contains("\"9500\""),
                    content.contains("availability"),
                )
            };
            let life = if kind == "machineState" { OWN } else { STATIC };
            let set = item(input, 50, life, &state(kind, availability));
            stage.publish(at(1, minute, 0), endpoint(FIRST), &[set]);
            for container in [0, 2, 100, 200, 400, 3, 300] {
                let expected = on && outputs.contains(&container);
                assert_eq!(
                    shows(&stage, container),
                    (expected, expected),
                    "{kind} {availability} in {input}: {container}"
                );
            }
            let gone = item(input, 50, REMOVED, &state(kind, availability));
            stage.publish(at(1, minute, 1), endpoint(FIRST), &[gone]);
            for container in outputs {
                assert_eq!(
                    shows(&stage, *container),
                    (false, false),
                    "{container}: none is left"
                );
            }
            minute += 1;
        }
    }
}

//= MS-PRES 3.8.5.1.2.1
//= type=test
//# a machineState that does not end with its endpoint is no device's
// proves: PRES-3.8.5.1.2.1-01 PRES-3.8.5.1.2.1-02
#[test]
fn only_what_ends_with_its_endpoint_is_a_device() {
    let mut stage = stage(&[FIRST]);
    for life in [
        STATIC,
        "expireType=\"user\"",
        "expireType=\"time\" expires=\"3600\"",
    ] {
        let items = [
            item(2, 50, life, &state("machineState", 3_500)),
            item(3, 50, life, &state("machineState", 3_500)),
        ];
        stage.publish(at(1, 1, 0), endpoint(FIRST), &items);
        for container in [2, 3, 100, 200, 300, 400] {
            assert_eq!(availability(&stage, container), 18_500, "{life}");
        }
    }
    stage.publish(
        at(1, 2, 0),
        endpoint(FIRST),
        &[item(2, 50, OWN, &state("machineState", 3_500))],
    );
    assert_eq!(availability(&stage, 2), 3_500);
    assert_eq!(
        availability(&stage, 3),
        18_500,
        "each input stands for itself"
    );
}

//= MS-PRES 3.8
//= type=test
//# computed anew when an input is published, removed, expires, or goes with its endpoint
// proves: PRES-3.8-01 PRES-3.8-02 PRES-3.8.5.1.2.7-01
#[test]
fn each_end_of_an_input_is_a_change() {
    let mut stage = stage(&[FIRST, SECOND]);
    let both = |life: &str, state: State| [item(2, 50, life, &state), item(3, 50, life, &state)];
    stage.publish(
        at(1, 1, 0),
        endpoint(FIRST),
        &both(OWN, state("machineState", 3_500)),
    );
    let idle = [item(2, 51, OWN, &state("machineState", 5_000))];
    stage.publish(at(1, 2, 0), endpoint(SECOND), &idle);
    let call = item(2, 52, STATIC, &state("phoneState", 6_500));
    stage.publish(at(1, 3, 0), endpoint(FIRST), &[call]);
    assert_eq!(availability(&stage, 100), 6_500, "published");
    let hung_up = item(2, 52, REMOVED, &state("phoneState", 6_500));
    stage.publish(at(1, 4, 0), endpoint(FIRST), &[hung_up]);
    assert_eq!(availability(&stage, 100), 3_500, "removed");
    let lunch = item(
        2,
        53,
        "expireType=\"time\" expires=\"60\"",
        &state("userState", 12_500),
    );
    stage.publish(at(1, 5, 0), endpoint(FIRST), &[lunch]);
    stage.wait_until(at(1, 5, 59_999));
    assert_eq!(availability(&stage, 100), 12_500);
    stage.wait_until(at(1, 6, 0));
    assert_eq!(availability(&stage, 100), 3_500, "expired");
    stage.sign_out(at(1, 7, 0), endpoint(FIRST));
    assert_eq!(availability(&stage, 100), 5_000, "gone with its endpoint");
    stage.sign_out(at(1, 8, 0), endpoint(SECOND));
    assert_eq!(availability(&stage, 100), 18_500, "nobody is there");
    let held = stage.held();
    for container in [2, 3, 100, 200, 300, 400] {
        let state = |number| held.get(&(container, "state".to_owned(), number));
        assert_eq!(
            state(0).map(|held| held.life.as_str()),
            Some("static"),
            "{container}"
        );
        assert_eq!(state(1), None, "{container}");
    }
}

//= MS-PRES 3.8.5.1.2.4
//= type=test
//# who appeared offline does not show when the last device really left (contradiction C-31)
// proves: PRES-3.8.5.1.2.4-01
#[test]
fn signing_out_behind_an_offline_state_does_not_show() {
    let mut stage = stage(&[FIRST]);
    let items = [2, 3].map(|container| item(container, 50, OWN, &state("machineState", 3_500)));
    stage.publish(at(1, 1, 0), endpoint(FIRST), &items);
    let items = [2, 3].map(|container| item(container, 51, STATIC, &state("userState", 18_500)));
    stage.publish(at(1, 2, 5_400), endpoint(FIRST), &items);
    let shown = |stage: &Stage| {
        [200, 300, 400].map(|container| {
            let content = stage.content(container, "state", 1);
            content
                .or_else(|| stage.content(container, "state", 0))
                .expect("an aggregate")
        })
    };
    let before = shown(&stage);
    assert!(
        before[0].contains("lastActive=\"2008-01-11T01:02:05\""),
        "{}",
        before[0]
    );
    stage.sign_out(at(3, 0, 0), endpoint(FIRST));
    assert_eq!(shown(&stage), before);
    assert_eq!(
        stage.content(200, "state", 1),
        None,
        "although it is the static instance now"
    );
}

//= MS-PRES 3.8
//= type=test
//# nothing is computed in container 0, where a client may keep what holds when it is away
// proves: PRES-3.8-03
#[test]
fn a_default_in_container_0_is_left_alone() {
    let mut stage = stage(&[FIRST]);
    let aggregate = state("aggregateState", 15_500);
    stage.publish(
        at(1, 1, 0),
        endpoint(FIRST),
        &[item(0, 0, STATIC, &aggregate)],
    );
    let kept = stage.content(0, "state", 0);
    assert!(
        kept.as_deref()
            .is_some_and(|content| content.contains("\"15500\"")),
        "{kept:?}"
    );
    let online = item(2, 50, OWN, &state("machineState", 3_500));
    stage.publish(at(1, 2, 0), endpoint(FIRST), &[online]);
    stage.sign_out(at(1, 3, 0), endpoint(FIRST));
    assert_eq!(stage.content(0, "state", 0), kept);
    assert_eq!(stage.held()[&(0, "state".to_owned(), 0)].version, 1);
    let held = stage.held();
    let in_0 = held.keys().filter(|(container, ..)| *container == 0);
    let names: Vec<&str> = in_0.map(|(_, category, _)| category.as_str()).collect();
    assert_eq!(names, ["contactCard", "dndState", "state"]);
}

//= MS-PRES 2.2.2.7.3
//= type=test
//# of endpoints that publish for the person the one with the higher version, whichever is more active
// proves: PRES-2.2.2.7.3-03 PRES-2.2.2.7.3-04 PRES-2.2.2.7.3-05 PRES-2.2.2.7.3-06 PRES-2.2.2.7.3-07
#[test]
fn the_higher_version_publishes() {
    let names = [
        "calendar",
        "remoteCallControl",
        "ucs",
        "containerIntegrity",
        "breakthrough",
    ];
    let media = [
        "text",
        "voice",
        "video",
        "CCCP",
        "gifInk",
        "isfInk",
        "applicationSharing",
        "contentWhiteboard",
        "contentPowerPoint",
        "contentNativeFile",
        "contentPoll",
        "contentSharedNotes",
    ];
    let device = |of: u8, version: u32| {
        let publishing = names.map(|name| model::Capability {
            uri: "sip:bob@contoso.com",
            name,
            render: false,
            capture: false,
            publish: true,
            version: Some(version),
        });
        let talking = media.map(|name| model::Capability {
            uri: "sip:bob@contoso.com",
            name,
            render: true,
            capture: true,
            publish: false,
            version: None,
        });
        Item {
            category: "device",
            container: 2,
            instance: u32::from(of),
            life: OWN.to_owned(),
            content: model::device(of, &[&publishing[..], &talking].concat()),
        }
    };
    // Both orders of publication, and the higher version on the idle device.
    for [one, other] in [[FIRST, SECOND], [SECOND, FIRST]] {
        let mut stage = stage(&[FIRST, SECOND]);
        for (minute, of) in [(1, one), (2, other)] {
            let (availability, version) = if of == FIRST { (3_500, 1) } else { (5_000, 2) };
            let machine = item(
                2,
                1_000 + u32::from(of),
                OWN,
                &state("machineState", availability),
            );
            stage.publish(
                at(1, minute, 0),
                endpoint(of),
                &[device(of, version), machine],
            );
        }
        let own = stage.content(2, "services", 0).expect("there");
        let line = |name: &str| {
            let found = own
                .lines()
                .find(|line| line.contains(&format!("}}{name} ")));
            found.unwrap_or_else(|| panic!("{name}: {own}")).to_owned()
        };
        for name in names {
            let line = line(name);
            assert!(
                line.contains(&model::uuid(SECOND)) && line.contains("version=\"2\""),
                "{line}"
            );
            assert!(line.contains("deviceAvailability=\"5000\""), "{line}");
        }
        for name in media {
            assert!(
                line(name).contains(&model::uuid(FIRST)),
                "the more active: {}",
                line(name)
            );
        }
        let others = stage.content(200, "services", 0).expect("there");
        for name in media {
            assert!(others.contains(&format!("}}{name} ")), "{name}: {others}");
        }
        for name in names {
            assert!(!others.contains(&format!("}}{name} ")), "{name}: {others}");
        }
    }
}

//= MS-PRES 2.2.2.7.2
//= type=test
//# a device is checked and its timezone is not; an address may stand at each capability, or nowhere
// proves: PRES-2.2.2.7.2-01 PRES-2.2.2.7.2-02
#[test]
fn a_device_is_read_as_its_schema_allows() {
    let mut stage = stage(&[FIRST]);
    let mut publish = |attributes: &str, inside: &str| {
        let item = Item {
            category: "device",
            container: 2,
            instance: 1,
            life: OWN.to_owned(),
            content: format!(
                "<device xmlns=\"http://schemas.microsoft.com/2006/09/sip/device\" {attributes}>{inside}</device>"
            ),
        };
        let done = stage.try_publish(at(1, 1, 0), endpoint(FIRST), &[item]);
        done.map(|outcome| {
            assert!(
                matches!(outcome, Outcome::InstancesPublished(_)),
                "{outcome:?}"
            );
            stage.content(100, "services", 0)
        })
    };
    let id = format!("endpointId=\"{}\"", model::uuid(FIRST));
    assert!(publish("", "").is_err(), "no endpointId");
    assert!(publish("endpointId=\"\"", "").is_err(), "an empty one");
    let bad = "<capabilities uri=\"a\"><text render=\"often\"/></capabilities>";
    assert!(publish(&id, bad).is_err(), "a flag that is none");
    let text = "<text render=\"1\" uri=\"sip:b@x\"/>";
    for (name, inside, found) in [
        (
            "any zone",
            "<capabilities uri=\"sip:a@x\"><text/></capabilities><timezone>00:00:00-08:00:00</timezone>",
            Some("sip:a@x"),
        ),
        (
            "no zone",
            "<capabilities uri=\"sip:a@x\"><text/></capabilities><timezone>noon</timezone>",
            Some("sip:a@x"),
        ),
        ("no address", "<capabilities><text/></capabilities>", None),
        (
            "an address of its own",
            &format!("<capabilities>{text}</capabilities>"),
            Some("sip:b@x"),
        ),
        (
            "both",
            &format!("<capabilities uri=\"sip:a@x\">{text}</capabilities>"),
            Some("sip:b@x"),
        ),
    ] {
        let services = publish(&id, inside).unwrap_or_else(|error| panic!("{name}: {error}"));
        let uri = services
            .as_deref()
            .and_then(|text| text.split("uri=\"").nth(1));
        assert_eq!(uri.and_then(|text| text.split('"').next()), found, "{name}");
    }
}

//= MS-PRES 2.2.2.7.4
//= type=test
//# what the directory says of a user is published for that user, in the shape of its schema
// proves: PRES-2.2.2.7.4-01 PRES-2.2.2.7.5-01
#[test]
fn what_the_directory_knows_is_published() {
    let mut stage = stage(&[FIRST]);
    let line = |uri: &str, line_type, server: &str| Line {
        uri: uri.into(),
        line_type,
        server: server.into(),
    };
    let profile = Profile {
        card: Card {
            display_name: "Bob <B>".into(),
            email: "bob@contoso.com".into(),
        },
        phone: "tel:+1123".into(),
        properties: Properties {
            lines: Box::new([
                line("tel:+1123", LineType::Rcc, "sip:line@contoso.com"),
                line("+1124", LineType::Uc, ""),
            ]),
            fax: "+1125".into(),
            street: "1 Anywhere".into(),
            city: "Somewhere".into(),
            state: "Some".into(),
            country_code: "US".into(),
            postal_code: "12345".into(),
            home_page: "http://contoso.com".into(),
        },
    };
    let command = Command::SetProfile {
        presentity: BOB,
        profile,
    };
    assert!(matches!(stage.ask(at(1, 1, 0), command), Outcome::Done));
    super::shape::check(&stage.own()).expect("of its schema");
    let properties = stage.content(1, "userProperties", 0).expect("there");
    for part in [
        "}line lineServer=\"sip:line@contoso.com\" lineType=\"Rcc\" \"tel:+1123\"",
        "}telephonyMode \"Rcc\"",
        "}facsimileTelephoneNumber \"+1125\"",
        "}streetAddress \"1 Anywhere\"",
        "}l \"Somewhere\"",
        "}st \"Some\"",
        "}countryCode \"US\"",
        "}postalCode \"12345\"",
        "}wWWHomePage \"http://contoso.com\"",
    ] {
        assert!(properties.contains(part), "{part}: {properties}");
    }
    assert!(
        !properties.contains("1124"),
        "a line that is no tel URI: {properties}"
    );
    let card = stage.content(200, "contactCard", 0).expect("there");
    assert!(
        card.contains("}displayName \"Bob <B>\"") && card.contains("}email \"bob@contoso.com\""),
        "{card}"
    );
}

//= MS-PRES 3.2.5.7
//= type=test
//# voice mail is published for its user: instance 0 of container 1, static, and only when it changed
// proves: PRES-3.2.5.7-01 PRES-2.2.2.7.11-02 PRES-2.2.2.7.11-03
#[test]
fn voice_mail_is_published_for_its_user() {
    let mut stage = Stage::start(at(1, 0, 0));
    let set = |waiting, unread| Command::SetWaiting {
        presentity: BOB,
        waiting: Waiting {
            waiting,
            unread,
            read: Some(13),
        },
    };
    for (minute, waiting, unread, version) in [
        (1, true, Some(30), 1),
        (2, true, Some(30), 1),
        (3, true, Some(31), 2),
        (4, false, None, 3),
        (5, false, None, 3),
    ] {
        let outcome = stage.ask(at(1, minute, 0), set(waiting, unread));
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        let held = stage.held();
        let mwi = &held[&(1, "mwi".to_owned(), 0)];
        assert_eq!(
            (mwi.life.as_str(), mwi.version),
            ("static", version),
            "{minute}"
        );
        let unread = unread.map_or_else(String::new, |unread| {
            format!(" unreadVoiceMailCount=\"{unread}\"")
        });
        let expected = format!(
            "{{http://schemas.microsoft.com/2006/09/sip/mwi}}mwi messageWaiting=\"{waiting}\" readVoiceMailCount=\"13\"{unread}"
        );
        assert_eq!(mwi.content, expected);
        super::shape::check(&stage.own()).expect("of its schema");
    }
}
