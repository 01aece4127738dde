//! Lists in requests: BluStar's, one NOTIFY for each entry, and RFC 4662's.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use transport::sip::{Name, Request};

use super::{Client, QUIET, SIGNED_OUT, body, configured, expected, printed, send, server, status};
use crate::phone::{Phone, Publisher, document as pidf, fresh};

const UNKNOWN: &str = "<rpid:other>unknown</rpid:other>";

fn entity(document: &str) -> String {
    let begin = document.find("entity=\"").expect("an entity") + 8;
    document[begin..]
        .split('"')
        .next()
        .unwrap_or_default()
        .to_owned()
}

//= BLUSTAR 4.2
//= type=test
//= BLUSTAR 2.1
//= type=test
// proves: BLU-4.2-01 BLU-4.2-02 BLU-4.2-04 BLU-2.1-04
#[test]
fn the_printed_list_is_answered_with_one_notification_for_each_entry() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    for (vector, call_id, foreign) in [
        (
            "blu-4.2-subscribe-list.request.sip",
            "4b696543bb91478d",
            vec!["joe@example.org", "ted@example.net"],
        ),
        (
            "blu-2.10-subscribe-list.request.sip",
            "9112b4907352d044",
            vec!["joe@example.org", "ted@example.net"],
        ),
    ] {
        let mut phone = Phone::tcp(server.tcp);
        let Some(subscribe) = printed(vector, &[]) else {
            return;
        };
        let answer = send(&mut phone, &subscribe);
        assert_eq!(
            (answer.status().number(), answer.header(Name::Expires)),
            (200, Some("300")),
            "{vector}"
        );
        let mut told: Vec<(String, String)> = (0..3)
            .map(|_| phone.notify(Some(call_id)))
            .map(|notify| {
                assert_eq!(
                    notify.header(Name::ContentType),
                    Some("application/pidf+xml")
                );
                (entity(&body(&notify)), status(&body(&notify)))
            })
            .collect();
        assert!(
            told[0].0.starts_with("sip:bill@"),
            "the own address first: {told:?}"
        );
        assert_eq!(told[0].1, expected("Signed out", SIGNED_OUT), "{vector}");
        told.remove(0);
        let expected: Vec<(String, String)> = foreign
            .iter()
            .map(|address| (format!("sip:{address}"), expected("Unknown", UNKNOWN)))
            .collect();
        assert_eq!(told, expected, "{vector}");
        assert!(phone.drain(QUIET).is_empty(), "{vector}: and no more");
    }
}

//= BLUSTAR 2.9
//= type=test
// proves: BLU-2.9-02 BLU-2.11-02
#[test]
fn members_are_told_as_they_change_and_all_again_at_a_refresh() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &["--shards", "1"]);
    // A controller of mobile clients: one Contact for all of them.
    let mut mobile = Client::new(&server, "alice", "fmc");
    let mut other = Client::new(&server, "carol", "fmc");
    let (mut list, answer) = mobile.watch_list(
        &[
            "sip:alice@aastra.com:5060",
            "sip:bob@aastra.com",
            "sip:carol@aastra.com",
        ],
        "",
    );
    assert_eq!(answer.status().number(), 200);
    for _ in 0..3 {
        mobile.told(&list);
    }
    let mut bob = Client::new(&server, "bob", "desk");
    bob.publish("available", "");
    let shown = body(&mobile.told(&list));
    assert_eq!(entity(&shown), "sip:bob@aastra.com");
    assert_eq!(
        status(&shown),
        expected("Available", "<rpid:other>available</rpid:other>")
    );
    let own = other.watch("carol");
    other.told(&own);
    other.publish("busy", "");
    assert_eq!(entity(&body(&mobile.told(&list))), "sip:carol@aastra.com");
    mobile.publish("available", "");
    assert_eq!(entity(&body(&mobile.told(&list))), "sip:alice@aastra.com");
    // Clients behind one Contact are of different users: the end of one is not that of the other.
    assert_eq!(mobile.sign_off().status().number(), 200);
    assert!(mobile.phone.drain(QUIET).is_empty(), "its list is released");
    other.told(&own);
    assert_eq!(other.subscribe(&mut { own }, 300).status().number(), 200);

    let (again, _) = mobile.watch_list(&["sip:alice@aastra.com", "sip:bob@aastra.com"], "");
    list = again;
    let shown: Vec<String> = (0..2).map(|_| entity(&body(&mobile.told(&list)))).collect();
    assert_eq!(shown, ["sip:alice@aastra.com", "sip:bob@aastra.com"]);
    assert_eq!(
        mobile.subscribe(&mut list, 300).status().number(),
        200,
        "a refresh without a list"
    );
    let shown: Vec<String> = (0..2).map(|_| entity(&body(&mobile.told(&list)))).collect();
    assert_eq!(
        shown,
        ["sip:alice@aastra.com", "sip:bob@aastra.com"],
        "all are shown again"
    );
}

//= BLUSTAR 2.1
//= type=test
// proves: BLU-2.1-02 BLU-2.1-03 BLU-2.1-04 BLU-4.2-03
#[test]
fn entries_are_looked_up_by_address_and_by_number() {
    let data = tempfile::tempdir().expect("a folder");
    let users = data.path().join("users.toml");
    std::fs::write(
        &users,
        "[[user]]\naddress = \"alice@aastra.com\"\n[[user]]\naddress = \"peter.test@aastra.com\"\n\
         phones = { work = \"200\" }\n[[user]]\naddress = \"bob@aastra.com\"\ntel = [\"+49 30 300\"]\n",
    )
    .expect("written");
    let settings = format!("[directory]\npath = {users:?}\n");
    let server = configured(data.path(), &settings, &["--shards", "1"]);
    let mut alice = Client::new(&server, "alice", "desk");
    let uris = [
        "sip:alice@aastra.com",
        "tel:200;phone-context=x",
        "sip:peter.test@aastra.com:5060",
        "tel:+49-30-300",
        "tel:999",
        "sip:nobody@aastra.com",
    ];
    let (list, answer) = alice.watch_list(&uris, "");
    assert_eq!(answer.status().number(), 200);
    let told: Vec<(String, bool)> = (0..5)
        .map(|_| body(&alice.told(&list)))
        .map(|shown| (entity(&shown), status(&shown).contains("unknown")))
        .collect();
    let expected = [
        ("sip:alice@aastra.com", false),
        ("sip:peter.test@aastra.com", false),
        ("sip:bob@aastra.com", false),
        ("tel:999", true),
        ("sip:nobody@aastra.com", true),
    ];
    assert_eq!(
        told,
        expected.map(|(uri, unknown)| (uri.to_owned(), unknown))
    );
    assert!(
        alice.phone.drain(QUIET).is_empty(),
        "who stands twice is told once"
    );
    // One address whom nobody knows, and one's own by a number.
    let stranger = alice.watch("stranger");
    assert!(alice.sees(&stranger).contains("unknown"));
    let mut by_number = Client::new(&server, "200", "desk-200");
    let own = by_number.watch("peter.test");
    by_number.told(&own);
    let mut peter = Client::new(&server, "peter.test", "desk-200");
    peter.publish("available", "");
    by_number.told(&own);
    drop(by_number);
    std::thread::sleep(Duration::from_secs(6));
    let shown = alice.phone.notify(Some(&list.call_id));
    let mut seen = vec![status(&body(&shown))];
    seen.extend(
        alice
            .phone
            .drain(Duration::from_secs(2))
            .iter()
            .map(|told| status(&body(told))),
    );
    assert!(
        seen.last().is_some_and(|last| last.contains("signed out")),
        "its own dialog was its last: {seen:?}"
    );
}

//= RFC 4662 4.2
//= type=test
//= RFC 4662 4.3
//= type=test
//= RFC 4662 5.2
//= type=test
#[test]
fn a_client_of_the_standard_is_told_in_multipart() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &["--shards", "1"]);
    let mut phone = Phone::tcp(server.tcp);
    let call_id = format!("rls-{}", fresh());
    let body_of = |uris: &[&str]| {
        let entries: String = uris
            .iter()
            .map(|uri| format!("<entry uri=\"{uri}\"/>"))
            .collect();
        format!(
            "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list></resource-lists>"
        )
    };
    let subscribe = |phone: &mut Phone, cseq: u32, tag: Option<&str>, lines: &str, body: &str| {
        let uri = "sip:friends@example.com";
        let to = tag.map_or(format!("<{uri}>"), |tag| format!("<{uri}>;tag={tag}"));
        let head = phone.head(
            "SUBSCRIBE",
            uri,
            "sip:linphone@example.com",
            &to,
            &call_id,
            cseq,
        );
        phone.ask(
            head,
            &format!("Event: presence\r\nSupported: eventlist\r\n{lines}"),
            body,
        )
    };
    let media = "Require: recipient-list-subscribe\r\nContent-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n";
    let uris = ["sip:alice@example.com", "sip:stranger@elsewhere.example"];
    let answer = subscribe(
        &mut phone,
        1,
        None,
        &format!("{media}Expires: 600\r\n"),
        &body_of(&uris),
    );
    assert_eq!(
        (answer.status().number(), answer.header(Name::Expires)),
        (200, Some("600"))
    );
    assert_eq!(answer.header(Name::Require), Some("eventlist"));
    let tag = answer.to_tag().expect("a tag").to_owned();
    let first = phone.notify(Some(&call_id));
    assert_eq!(first.header(Name::Require), Some("eventlist"));
    let media_type = first.header(Name::ContentType).expect("a type").to_owned();
    assert!(
        media_type.starts_with("multipart/related;type=\"application/rlmi+xml\";start=\"<"),
        "{media_type}"
    );
    let text = body(&first);
    for part in [
        "uri=\"sip:friends@example.com\" version=\"0\" fullState=\"true\"",
        "<resource uri=\"sip:alice@example.com\"><instance id=\"1\" state=\"active\" cid=\"",
        "<resource uri=\"sip:stranger@elsewhere.example\"><instance id=\"1\" state=\"terminated\" reason=\"noresource\"/>",
        "Content-Type: application/pidf+xml",
        "<basic>closed</basic>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let mut alice = Publisher::new("alice");
    alice.publish(
        &mut Phone::tcp(server.tcp),
        Some(300),
        &pidf("alice", "open", "here"),
    );
    let text = body(&phone.notify(Some(&call_id)));
    assert!(
        text.contains("version=\"1\" fullState=\"false\"><resource uri=\"sip:alice@example.com\">"),
        "{text}"
    );
    assert!(
        text.contains("<note>here</note>") && !text.contains("stranger"),
        "{text}"
    );

    assert_eq!(
        subscribe(&mut phone, 2, Some(&tag), "Expires: 600\r\n", "")
            .status()
            .number(),
        200
    );
    let text = body(&phone.notify(Some(&call_id)));
    assert!(
        text.contains("version=\"2\" fullState=\"true\"") && text.contains("stranger"),
        "{text}"
    );
    let other = body_of(&["sip:bob@example.com"]);
    let answer = subscribe(
        &mut phone,
        3,
        Some(&tag),
        &format!("{media}Expires: 600\r\n"),
        &other,
    );
    assert_eq!(answer.status().number(), 200);
    let text = body(&phone.notify(Some(&call_id)));
    assert!(
        text.contains("version=\"3\" fullState=\"true\"><resource uri=\"sip:bob@example.com\">"),
        "{text}"
    );
    alice.publish(&mut Phone::tcp(server.tcp), Some(0), "");
    assert!(
        phone.drain(QUIET).is_empty(),
        "Alice is not in the list any more"
    );
    assert_eq!(
        subscribe(&mut phone, 4, Some(&tag), "Expires: 0\r\n", "")
            .status()
            .number(),
        200
    );
    let last = phone.notify(Some(&call_id));
    assert_eq!(
        last.header(Name::SubscriptionState),
        Some("terminated;reason=timeout")
    );
}

/// Eight users live in both of two shards: all are told, in one dialog, however often they change, and after
/// the node was killed.
#[test]
fn members_of_other_shards_are_told_as_those_of_ones_own() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &["--shards", "2"]);
    let users: Vec<String> = (0..8).map(|number| format!("member-{number}")).collect();
    let uris: Vec<String> = users
        .iter()
        .map(|user| format!("sip:{user}@aastra.com"))
        .collect();
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    let mut publisher = Client::new(&server, "member-1", "before");
    publisher.publish("busy", "before");
    let mut watcher = Client::new(&server, "member-0", "desk");
    let (mut list, answer) = watcher.watch_list(&uris, "");
    assert_eq!(answer.status().number(), 200);
    let mut seen: Vec<String> = (0..8)
        .map(|_| body(&watcher.told(&list)))
        .map(|text| entity(&text))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, uris, "each once, from wherever it lives");
    for (number, user) in users.iter().enumerate().skip(2) {
        let mut client = Client::new(&server, user, "desk");
        client.publish("available", &format!("note {number}"));
        let shown = body(&watcher.told(&list));
        assert_eq!(entity(&shown), uris[number]);
        assert_eq!(
            status(&shown),
            expected(
                &format!("note {number}"),
                "<rpid:other>available</rpid:other>"
            )
        );
    }
    assert_eq!(watcher.subscribe(&mut list, 300).status().number(), 200);
    let mut shown: Vec<String> = (0..8).map(|_| body(&watcher.told(&list))).collect();
    shown.sort_by_key(|text| entity(text));
    assert!(status(&shown[1]).contains("before"), "{}", shown[1]);
    assert!(status(&shown[7]).contains("note 7"), "{}", shown[7]);
    assert!(
        watcher.phone.drain(QUIET).is_empty(),
        "what is asked anew and is the same is not told again"
    );
    // The same as one body.
    let mut standard = Client::new(&server, "member-0", "other");
    let (list, _) = standard.watch_list(&uris, "Supported: eventlist\r\n");
    let mut all = String::new();
    while (2..8).any(|number| !all.contains(&format!("note {number}"))) {
        all += &body(&standard.told(&list));
    }
}

//= RFC 3261 20.12
//= type=test
//= RFC 3261 20.2
//= type=test
/// Linphone compresses the list that it asks for, and asks for an answer of that kind.
#[test]
fn a_client_that_compresses_its_list_is_told_so() {
    fn inflated(notify: &Request) -> String {
        assert_eq!(notify.header(Name::ContentEncoding), Some("deflate"));
        let mut text = String::new();
        let read = ZlibDecoder::new(&notify.body()[..]).read_to_string(&mut text);
        read.expect("what the coding says");
        text
    }
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &["--shards", "2"]);
    let mut phone = Phone::tcp(server.tcp);
    let call_id = format!("rls-{}", fresh());
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed
        .write_all(
            b"<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>\
              <entry uri=\"sip:alice@example.com\"/></list></resource-lists>",
        )
        .expect("memory");
    let packed = packed.finish().expect("memory");
    let uri = "sip:friends@example.com";
    let head = phone.head(
        "SUBSCRIBE",
        uri,
        "sip:linphone@example.com",
        &format!("<{uri}>"),
        &call_id,
        1,
    );
    let mut request = format!(
        "{head}Event: presence\r\nSupported: eventlist\r\nRequire: recipient-list-subscribe\r\nExpires: 600\r\n\
         Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\
         Content-Encoding: deflate\r\nAccept-Encoding: deflate\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    request.extend_from_slice(&packed);
    phone.send(&request);
    assert_eq!(phone.response().status().number(), 200);
    let first = phone.notify(Some(&call_id));
    let media = first.header(Name::ContentType).expect("a type");
    assert!(
        media.ends_with(";boundary=lamplight-list"),
        "no quotes: {media}"
    );
    assert!(inflated(&first).contains("version=\"0\" fullState=\"true\""));
    let mut alice = Publisher::new("alice");
    alice.publish(
        &mut Phone::tcp(server.tcp),
        Some(300),
        &pidf("alice", "open", "here"),
    );
    while !inflated(&phone.notify(Some(&call_id))).contains("<note>here</note>") {}
}

/// What is wrong with a list is said, and nothing is kept.
#[test]
fn a_list_that_is_none_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let settings =
        "[[profile]]\nname = \"strict\"\ndialect = \"rfc\"\nuser_agents = [\"Strict\"]\n";
    let server = configured(data.path(), settings, &[]);
    let mut phone = Phone::tcp(server.tcp);
    let list = "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list><entry uri=\"sip:a@example.com\"/></list></resource-lists>";
    let media = "Content-Type: application/resource-lists+xml\r\n";
    for (name, lines, body, status) in [
        ("no eventlist, by a profile of the RFCs", format!("User-Agent: Strict\r\n{media}"), list, 421),
        ("no list", "Supported: eventlist\r\nRequire: recipient-list-subscribe\r\n".to_owned(), "", 400),
        ("no list, BluStar", "User-Agent: Aastra BluStar Client/3\r\nRequire: recipient-list-subscribe\r\n".to_owned(), "", 400),
        ("another type", "Supported: eventlist\r\nRequire: recipient-list-subscribe\r\nContent-Type: text/plain\r\n".to_owned(), "x", 415),
        ("malformed", format!("Supported: eventlist\r\n{media}"), "<resource-lists", 400),
        ("too brief", format!("Supported: eventlist\r\nExpires: 1\r\n{media}"), list, 423),
        ("and well", format!("Supported: eventlist\r\n{media}"), list, 200),
    ] {
        let call_id = format!("bad-{}", fresh());
        let head = phone.head("SUBSCRIBE", "sip:l@example.com", "sip:w@example.com", "<sip:l@example.com>", &call_id, 1);
        let answer = phone.ask(head, &format!("Event: presence\r\n{lines}"), body);
        assert_eq!(answer.status().number(), status, "{name}");
        if status == 421 {
            assert_eq!(answer.header(Name::Require), Some("eventlist"));
        }
    }
}
