//! Categories and what is computed from them (MS-PRES 2.2.2.7, 3.8), and waiting voice mail (3.2.5.7).

use std::time::{Duration, Instant};

use shard::slot::Slot;
use transport::sip::{Response, StatusCode};

use super::super::phone::{Phone, fresh};
use super::super::server::{PATIENCE, Server};
use super::client::{Client, Dialog, note, publication, shared, somebody, text};
use super::tree;

const ENDPOINT: &str = "expireType=\"endpoint\"";
const STATIC: &str = "expireType=\"static\"";

fn state(kind: &str, availability: u32, more: &str) -> String {
    format!(
        "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:type=\"{kind}\" manual=\"{}\"><availability>{availability}</availability>{more}</state>",
        kind == "userState"
    )
}

/// A state for containers 2 and 3, never published before.
fn both(instance: u32, expire: &str, data: &str) -> String {
    [2, 3]
        .map(|container| publication("state", instance, container, 0, expire, data))
        .concat()
}

/// A name that no other test uses, of somebody in the same shard as this user: a batch sends its watcher
/// elsewhere for the others.
fn neighbour(name: &str, of: &str) -> String {
    // The shared server has two shards.
    let shard = |user: &str| Slot::of(&format!("{user}@contoso.com")).number() % 2;
    let mut names = std::iter::repeat_with(|| somebody(name));
    let found = names.find(|drawn| shard(drawn) == shard(of));
    found.expect("names do not end")
}

/// The instances of a category in a container that a document shows, in one line each.
fn shown(document: &str, category: &str, container: u16) -> Vec<String> {
    let all = tree::elements(document, "category", &["publishTime", "version"]);
    let (name, place) = (
        format!("name=\"{category}\""),
        format!("container=\"{container}\""),
    );
    all.into_iter()
        .filter(|element| element.contains(&name) && element.contains(&place))
        .collect()
}

/// The next notification that says all of this; others before it are passed over.
fn told_of(client: &mut Client, dialog: &Dialog, parts: &[&str]) -> String {
    let until = Instant::now() + PATIENCE;
    let mut last = String::new();
    while Instant::now() < until {
        last = text(client.told(dialog).body());
        if parts.iter().all(|part| last.contains(part)) {
            return last;
        }
    }
    panic!("{parts:?} was not told, at last: {last}");
}

fn member(container: u16, user: &str) -> String {
    let user = user.trim_start_matches("sip:");
    format!(
        "<container id=\"{container}\" version=\"0\"><member action=\"add\" type=\"user\" value=\"{user}\"/></container>"
    )
}

//= MS-PRES 3.8.5.1.1
//= type=test
//# state and device of an endpoint become what oneself and each kind of watcher sees
// proves: PRES-3.8.5.1.1-01 PRES-3.8.5.1.1-02 PRES-3.8.5.2.1-01 PRES-3.8.5.2.1-03 PRES-2.2.2.7.6-05
#[test]
fn what_an_endpoint_publishes_is_aggregated_and_told() {
    let name = somebody("bob");
    let mut bob = Client::sign_in(shared(), &name);
    let mut alice = Client::sign_in(shared(), &neighbour("alice", &name));
    let mut carol = Client::sign_in(shared(), &neighbour("carol", &name));
    let members = member(300, &alice.uri) + &member(100, &carol.uri);
    assert_eq!(bob.set_members(&members).status(), StatusCode::OK);
    let (own, _) = bob.watch_self(&["categories"]);
    let categories = ["state", "services"];
    let (friend, _) = alice.watch(&[&bob.uri.clone()], &categories);
    let (stranger, _) = carol.watch(&[&bob.uri.clone()], &categories);
    let here = state(
        "machineState",
        3_500,
        "<endpointLocation>Work</endpointLocation><delimiter xmlns=\"http://schemas.microsoft.com/2006/09/sip/commontypes\"/>\
         <timeZoneBias>480</timeZoneBias><device>computer</device><end xmlns=\"http://schemas.microsoft.com/2006/09/sip/commontypes\"/>",
    );
    let call = state(
        "phoneState",
        6_500,
        "<activity token=\"on-the-phone\" minAvailability=\"6500\" maxAvailability=\"8999\"/>",
    );
    // The GRUU ends with the endpoint's identity; what a device says of it is compared as text.
    let device = "<device xmlns=\"http://schemas.microsoft.com/2006/09/sip/device\" endpointId=\"11111111-1111-1111-1111-111111111111\">\
         <capabilities uri=\"sip:x@contoso.com\"><text render=\"true\" capture=\"true\" publish=\"false\"/>\
         <calendar publish=\"true\" version=\"7\"/></capabilities><timezone>00:00:00-00:00</timezone><machineName>M</machineName></device>";
    let answer = bob.publish(
        &[
            both(90, ENDPOINT, &here),
            both(91, ENDPOINT, &call),
            publication("device", 92, 2, 0, ENDPOINT, device),
        ]
        .concat(),
    );
    assert_eq!(answer.status(), StatusCode::OK);
    let told = told_of(&mut bob, &own, &["aggregateState", "services"]);
    for body in [text(answer.body()), told] {
        for container in [2, 3, 100, 200, 300, 400] {
            let states = shown(&body, "state", container);
            let aggregate = states
                .iter()
                .find(|state| state.contains("=\"aggregateState\""));
            let aggregate = aggregate.unwrap_or_else(|| panic!("{container}: {body}"));
            assert!(
                aggregate.contains("instance=\"1\"") && aggregate.contains("expireType=\"user\""),
                "{aggregate}"
            );
            assert!(aggregate.contains("\"6500\""), "{aggregate}");
            assert_eq!(
                aggregate.contains("on-the-phone"),
                container != 100,
                "{aggregate}"
            );
            assert_eq!(
                aggregate.contains("\"Work\""),
                ![100, 200].contains(&container),
                "{aggregate}"
            );
        }
        for container in [100, 200, 300, 400] {
            let [legacy] = &shown(&body, "legacyInterop", container)[..] else {
                panic!("{container}: {body}")
            };
            assert!(legacy.contains("availability=\"6500\""), "{legacy}");
        }
        for container in [2, 100, 200, 300, 400] {
            let [services] = &shown(&body, "services", container)[..] else {
                panic!("{container}: {body}")
            };
            assert!(
                services.contains("sip:x@contoso.com") && services.contains("}text"),
                "{services}"
            );
            assert_eq!(services.contains("}calendar"), container == 2, "{services}");
        }
    }
    let seen = told_of(&mut alice, &friend, &["aggregateState", "text"]);
    assert!(
        seen.contains("on-the-phone") && seen.contains("Work"),
        "{seen}"
    );
    let seen = told_of(&mut carol, &stranger, &["aggregateState", "text"]);
    assert!(
        !seen.contains("on-the-phone") && !seen.contains("Work"),
        "{seen}"
    );
    assert!(
        !seen.contains("preferredEndpointId") && !seen.contains("calendar"),
        "{seen}"
    );
}

//= MS-PRES 3.8.5.1.1
//= type=test
//# what was not changed is not told again
// proves: PRES-3.8.5.1.1-04 PRES-3.8.5.2.1-04 PRES-3.8.5.4-04
#[test]
fn what_stays_the_same_is_not_told() {
    let name = somebody("bob");
    let mut bob = Client::sign_in(shared(), &name);
    let mut alice = Client::sign_in(shared(), &neighbour("alice", &name));
    assert_eq!(
        bob.set_members(&member(200, &alice.uri)).status(),
        StatusCode::OK
    );
    let here = state("machineState", 3_500, "");
    assert_eq!(
        bob.publish(&both(90, ENDPOINT, &here)).status(),
        StatusCode::OK
    );
    let (dialog, first) = alice.watch(&[&bob.uri.clone()], &["state"]);
    assert!(
        text(first.body()).contains("3500"),
        "{}",
        text(first.body())
    );
    alice.rest(&dialog);
    // A second device that is less active, in both containers: nothing that Alice sees depends on it.
    let idle = state("machineState", 5_000, "");
    assert_eq!(
        bob.publish(&both(91, ENDPOINT, &idle)).status(),
        StatusCode::OK
    );
    let rest = alice.rest(&dialog);
    assert!(
        rest.is_empty(),
        "{:?}",
        rest.iter()
            .map(|told| text(told.body()))
            .collect::<Vec<_>>()
    );
    let busy = state("userState", 6_500, "");
    assert_eq!(
        bob.publish(&both(92, STATIC, &busy)).status(),
        StatusCode::OK
    );
    told_of(&mut alice, &dialog, &["6500"]);
}

//= MS-PRES 3.7.5.4
//= type=test
//= MS-PRES 2.2.2.7.6
//= type=test
//# what watchers of older formats are told is made of legacyInterop
// proves: PRES-2.2.2.7.6-03 PRES-3.8.5.1.1-03
#[test]
fn older_formats_show_what_was_computed() {
    let name = somebody("bob");
    let mut bob = Client::sign_in(shared(), &name);
    let mut alice = Client::sign_in(shared(), &neighbour("alice", &name));
    assert_eq!(
        bob.set_members(&member(200, &alice.uri)).status(),
        StatusCode::OK
    );
    let mut dialogs = Vec::new();
    for format in ["application/pidf+xml", "text/xml+msrtc.pidf"] {
        let mut dialog = Dialog::new("presence", &bob.uri);
        let lines = format!("Accept: {format}\r\n");
        let answer = alice.subscribe(&mut dialog, Some(600), &lines, "", "");
        assert_eq!(answer.status(), StatusCode::OK, "{format}");
        let first = text(alice.told(&dialog).body());
        assert!(
            !first.contains("on-the-phone") && !first.contains("6500"),
            "{first}"
        );
        dialogs.push(dialog);
    }
    let call = state(
        "phoneState",
        6_500,
        "<activity token=\"on-the-phone\" minAvailability=\"6500\" maxAvailability=\"8999\"/>",
    );
    let here = state("machineState", 3_500, "");
    let answer = bob.publish(&(both(90, ENDPOINT, &here) + &both(91, ENDPOINT, &call)));
    assert_eq!(answer.status(), StatusCode::OK);
    let pidf = told_of(&mut alice, &dialogs[0], &["on-the-phone"]);
    assert!(pidf.contains(">open<"), "{pidf}");
    let msrtc = told_of(&mut alice, &dialogs[1], &["6500"]);
    assert!(msrtc.contains("aggregate=\"500\""), "{msrtc}");
}

//= MS-PRES 3.8
//= type=test
//# clients may put members where the computing functions read, and may not write what is the server's
// proves: PRES-3.8.5.1.1-05 PRES-3.8.5.1.1-06 PRES-3.8-04
#[test]
fn what_clients_may_do_to_the_servers_containers() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    for container in [2, 3] {
        let answer = bob.set_members(&member(container, "sip:dave@contoso.com"));
        assert_eq!(answer.status(), StatusCode::OK, "{container}");
    }
    let properties =
        "<userProperties xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\"/>";
    let (_, own) = bob.watch_self(&["categories"]);
    let before = shown(&text(own.body()), "userProperties", 1);
    assert_eq!(before.len(), 1);
    for (expire, data) in [
        (STATIC, properties),
        ("expireType=\"static\" expires=\"0\"", ""),
    ] {
        let answer = bob.publish(&publication("userProperties", 0, 1, 1, expire, data));
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{expire}");
    }
    let (_, own) = bob.watch_self(&["categories"]);
    assert_eq!(shown(&text(own.body()), "userProperties", 1), before);
}

//= MS-PRES 1.3.1.2
//= type=test
//# a private category that stands where everybody sees is told to oneself and to nobody else
// proves: PRES-2.2.2.7-01 PRES-2.2.2.7.6-01 PRES-2.2.2.7.7-01 PRES-2.2.2.7.9-02 PRES-2.2.2.7.10-02
// proves: PRES-2.2.2.7.12-01
#[test]
fn private_categories_stay_private() {
    let name = somebody("bob");
    let mut bob = Client::sign_in(shared(), &name);
    let mut alice = Client::sign_in(shared(), &neighbour("alice", &name));
    let (own, _) = bob.watch_self(&["categories"]);
    let private = [
        "routing",
        "legacyInterop",
        "workingHours",
        "dndState",
        "linkedPICContacts",
    ];
    let all = [&private[..], &["note"]].concat();
    let (dialog, _) = alice.watch(&[&bob.uri.clone()], &all);
    alice.rest(&dialog);
    for category in private {
        let data = match category {
            "linkedPICContacts" => {
                "<LinkedPicContactList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\"/>"
            }
            _ => "<secret xmlns=\"urn:secret\">hidden</secret>",
        };
        let answer = bob.publish(&publication(category, 77, 0, 0, STATIC, data));
        assert_eq!(answer.status(), StatusCode::OK, "{category}");
        told_of(&mut bob, &own, &["instance=\"77\"", category]);
    }
    assert!(alice.rest(&dialog).is_empty(), "nothing of it is told");
    let answer = bob.publish(&publication("note", 77, 0, 0, STATIC, &note("open")));
    assert_eq!(answer.status(), StatusCode::OK);
    let seen = text(alice.told(&dialog).body());
    assert!(seen.contains("open") && !seen.contains("hidden"), "{seen}");
    let (_, again) = alice.watch(&[&bob.uri.clone()], &all);
    let seen = text(again.body());
    assert!(seen.contains("open") && !seen.contains("hidden"), "{seen}");
}

//= MS-PRES 2.2.2.7
//= type=test
//# content of a registered category comes back as it was; content of a known schema that is wrong gets 400
// proves: PRES-2.2.2.7-02 PRES-2.2.2.7.1-01 PRES-2.2.2.7.1-02 PRES-2.2.2.7.2-01 PRES-2.2.2.7.8-02
#[test]
fn content_comes_back_as_it_was() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let (own, _) = bob.watch_self(&["categories"]);
    let calendar = |version: u32, slots: &str| {
        format!(
            "<calendarData xmlns=\"http://schemas.microsoft.com/2006/09/sip/calendarData\" mailboxID=\"bob@contoso.com\">\
             <freeBusy startTime=\"2008-01-11T00:00:00Z\" granularity=\"PT15M\" encodingVersion=\"{version}\">{slots}</freeBusy></calendarData>"
        )
    };
    for (category, instance, data) in [
        ("calendarData", 7, calendar(1, "AAAVVf/w")),
        ("calendarData", 0x4000_0007, calendar(2, "BQEiW4A=")),
        (
            "routing",
            7,
            "<r:routing xmlns:r=\"urn:r\" xmlns:o=\"urn:other\" o:kept=\"a&amp;b\"><o:deep>&lt; <r:er/> tail</o:deep></r:routing>".to_owned(),
        ),
    ] {
        let answer = bob.publish(&publication(category, instance, 1, 0, STATIC, &data));
        assert_eq!(answer.status(), StatusCode::OK, "{category}");
        let told = told_of(&mut bob, &own, &[&format!("instance=\"{instance}\"")]);
        let wanted = tree::canonical(&data, &[]);
        let root = data[1..].split([' ', ':', '>']).next().expect("a name");
        let local = if root == "r" { "routing" } else { root };
        let found = tree::elements(&told, local, &[]);
        assert!(found.contains(&wanted), "{wanted}\nis not in\n{found:?}");
    }
    for (category, data) in [
        (
            "state",
            "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\"/>".to_owned(),
        ),
        ("state", state("moodState", 1, "")),
        (
            "device",
            "<device xmlns=\"http://schemas.microsoft.com/2006/09/sip/device\"/>".to_owned(),
        ),
        (
            "roomSetting",
            "<propertyList xmlns=\"http://schemas.microsoft.com/2010/12/sip/propertyList\"/>"
                .to_owned(),
        ),
    ] {
        let answer = bob.publish(&publication(category, 7, 2, 0, STATIC, &data));
        assert_eq!(
            answer.status(),
            StatusCode::BAD_REQUEST,
            "{category}: {data}"
        );
    }
    let unknown = publication("contoso.mood", 7, 2, 0, STATIC, "<mood xmlns=\"urn:m\"/>");
    assert_eq!(
        bob.publish(&unknown).status(),
        StatusCode::FORBIDDEN,
        "nobody registered it"
    );
}

/// NOTIFY outside a dialog, as a voice mail server sends it.
fn summary(phone: &mut Phone, user: &str, event: &str, media: &str, body: &str) -> Response {
    let head = phone.head(
        "NOTIFY",
        user,
        "sip:mail@voice.contoso.com",
        &format!("<{user}>"),
        &format!("mail-{}", fresh()),
        1,
    );
    let lines =
        format!("Event: {event}\r\nSubscription-State: active\r\nContent-Type: {media}\r\n");
    phone.ask(head, &lines, body)
}

const SUMMARY: &str = "application/simple-message-summary";

//= MS-PRES 3.2.5.7
//= type=test
//# what the voice mail server notifies is published as mwi (contradiction C-72)
//= RFC 6665 4.1.3
//= type=test
// proves: PRES-3.2.5.7-01 PRES-2.2.2.7.11-02
#[test]
fn a_voice_mail_server_says_that_messages_wait() {
    let server = shared();
    let mut bob = Client::sign_in(server, &somebody("bob"));
    let (own, _) = bob.watch_self(&["categories"]);
    let mut mail = Phone::udp(server.udp);
    let uri = bob.uri.clone();
    let two =
        "Messages-Waiting: yes\r\nMessage-Account: sip:bob@voice\r\nVoice-Message: 2/8 (0/2)\r\n";
    let answer = summary(&mut mail, &uri, "message-summary", SUMMARY, two);
    assert_eq!(answer.status(), StatusCode::OK);
    let told = told_of(&mut bob, &own, &["<mwi"]);
    let [mwi] = &shown(&told, "mwi", 1)[..] else {
        panic!("{told}")
    };
    for part in [
        "instance=\"0\"",
        "expireType=\"static\"",
        "messageWaiting=\"true\"",
        "unreadVoiceMailCount=\"2\"",
        "readVoiceMailCount=\"8\"",
    ] {
        assert!(mwi.contains(part), "{part}: {mwi}");
    }
    // Twelve hours later it says so again.
    let answer = summary(&mut mail, &uri, "message-summary", SUMMARY, two);
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(bob.rest(&own).is_empty(), "nothing changed");
    let none = "Messages-Waiting: no\r\n";
    for (name, user, event, media, body, status) in [
        ("another event", &*uri, "presence", SUMMARY, two, 481),
        (
            "another body",
            &uri,
            "message-summary",
            "text/plain",
            two,
            415,
        ),
        ("no summary", &uri, "message-summary", SUMMARY, "two", 400),
        (
            "a stranger",
            "sip:bob@elsewhere.example",
            "message-summary",
            SUMMARY,
            two,
            404,
        ),
        ("nothing waits", &uri, "message-summary", SUMMARY, none, 200),
    ] {
        let answer = summary(&mut mail, user, event, media, body);
        assert_eq!(answer.status().number(), status, "{name}");
    }
    told_of(&mut bob, &own, &["messageWaiting=\"false\""]);
}

//= MS-PRES 3.2.5.7
//= type=test
//# from who is not trusted it is a NOTIFY like any other (contradiction C-72)
#[test]
fn a_voice_mail_server_that_is_not_trusted_is_not_believed() {
    let data = tempfile::tempdir().expect("a folder");
    let users = data.path().join("users");
    std::fs::write(
        &users,
        "alice:example.com:MD5:00112233445566778899aabbccddeeff\n",
    )
    .expect("written");
    let users = users.to_str().expect("a path").to_owned();
    let server = Server::start_with(
        &data.path().join("node"),
        &["--auth", "digest", "--users", &users],
    );
    let mut mail = Phone::udp(server.udp);
    let two = "Messages-Waiting: yes\r\n";
    let answer = summary(
        &mut mail,
        "sip:alice@example.com",
        "message-summary",
        SUMMARY,
        two,
    );
    assert_eq!(answer.status().number(), 481);
    // The operator is, on the admin listener.
    let json = ("application/json", "{\"waiting\":true}");
    let (status, _) = server.admin(
        "PUT",
        "/presentity/alice@example.com/waiting",
        json.0,
        json.1,
    );
    assert_eq!(status, 202);
}

//= MS-PRES 3.2.5.7
//= type=test
//# the same from a program beside the server, over HTTP
// proves: PRES-3.2.5.7-01
#[test]
fn the_operators_programs_say_that_messages_wait() {
    let server = shared();
    let mut bob = Client::sign_in(server, &somebody("bob"));
    let (own, _) = bob.watch_self(&["categories"]);
    let path = format!("/presentity/{}/waiting", bob.uri);
    let json = "application/json";
    let body = "{\"waiting\": true, \"unread\": 33, \"read\": 24}";
    assert_eq!(server.admin("PUT", &path, json, body).0, 202);
    let told = told_of(&mut bob, &own, &["<mwi"]);
    assert_eq!(tree::attributes(&told, "mwi", "messageWaiting"), ["true"]);
    let [mwi] = &shown(&told, "mwi", 1)[..] else {
        panic!("{told}")
    };
    for part in [
        "messageWaiting=\"true\"",
        "unreadVoiceMailCount=\"33\"",
        "readVoiceMailCount=\"24\"",
    ] {
        assert!(mwi.contains(part), "{part}: {mwi}");
    }
    assert_eq!(server.admin("PUT", &path, json, body).0, 202);
    std::thread::sleep(Duration::from_millis(100));
    assert!(bob.rest(&own).is_empty(), "nothing changed");
    let stranger = "/presentity/sip:bob@elsewhere.example/waiting";
    for (name, method, path, media, body, status) in [
        ("a stranger", "PUT", stranger, json, body, 404),
        (
            "no address",
            "PUT",
            "/presentity/http:x/waiting",
            json,
            body,
            400,
        ),
        (
            "another number",
            "PUT",
            &*path,
            json,
            "{\"waiting\": true, \"unread\": -1}",
            422,
        ),
        (
            "another word",
            "PUT",
            &path,
            json,
            "{\"waiting\": true, \"new\": 1}",
            422,
        ),
        ("nothing", "PUT", &path, json, "", 400),
        (
            "what a page in a browser could send",
            "POST",
            &path,
            "text/plain",
            body,
            405,
        ),
        (
            "what is not said to be JSON",
            "PUT",
            &path,
            "text/plain",
            body,
            415,
        ),
    ] {
        assert_eq!(server.admin(method, path, media, body).0, status, "{name}");
    }
    assert_eq!(
        server.admin("PUT", &path, json, "{\"waiting\": false}").0,
        202
    );
    told_of(&mut bob, &own, &["messageWaiting=\"false\""]);
}
