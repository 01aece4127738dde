//! BluStar's clients: one user, one publication, and who is there.

use transport::sip::Name;

use super::{Client, QUIET, SIGNED_OUT, body, document, expected, printed, send, server, status};
use crate::phone::{Phone, Watch, fresh, told};

fn available(note: &str) -> String {
    expected(note, "<rpid:other>available</rpid:other>")
}

fn busy(note: &str) -> String {
    expected(note, "<rpid:busy/>")
}

//= BLUSTAR 2.2
//= type=test
//= BLUSTAR 4.1
//= type=test
//= BLUSTAR 4.4
//= type=test
/// The messages of sections 2.2, 2.8, 4.1 and 4.3 as they are printed, one after the other.
// proves: BLU-2.1-01 BLU-2.1-02 BLU-2.2-01 BLU-2.2-02 BLU-2.4-02 BLU-2.8-01 BLU-2.9-01 BLU-4.1-01 BLU-4.1-03
// proves: BLU-4.3-06 BLU-4.4-01
#[test]
fn the_printed_messages_are_answered_as_printed() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut phone = Phone::tcp(server.tcp);
    let Some(subscribe) = printed("blu-4.1-subscribe.request.sip", &[]) else {
        return;
    };
    let answer = send(&mut phone, &subscribe);
    assert_eq!(answer.status().number(), 200);
    assert_eq!(answer.header(Name::Expires), Some("300"));
    assert_eq!(answer.to_tag(), Some("70f4bd96"), "the tag it came with");
    assert!(
        answer
            .header(Name::Contact)
            .is_some_and(|c| c.contains("sip:127.0.0.1:"))
    );
    let call = Some("4b696543bb91478d");
    let first = phone.notify(call);
    assert_eq!(status(&body(&first)), expected("Signed out", SIGNED_OUT));
    for (name, value) in [
        (Name::Event, "presence"),
        (Name::ContentType, "application/pidf+xml"),
        (Name::Expires, "300"),
        (Name::SubscriptionState, "active;expires=300"),
    ] {
        assert_eq!(first.header(name), Some(value));
    }
    assert_eq!(first.from_tag(), "70f4bd96");
    assert!(body(&first).contains("entity=\"sip:tom.hanks@astra.com\""));

    // 18762 is a tag of another life: an initial publication (contradiction C-70).
    let publish = printed("blu-4.3-publish.request.sip", &[]).expect("beside the other");
    let answer = send(&mut phone, &publish);
    assert_eq!(
        (answer.status().number(), answer.header(Name::Expires)),
        (200, Some("3600"))
    );
    assert!(answer.header(Name::Contact).is_some());
    let tag = answer.header(Name::SipETag).expect("a tag").to_owned();
    let second = phone.notify(call);
    assert_eq!(status(&body(&second)), busy("HELLO"));
    assert!(
        body(&second)
            .contains("<aa:status>busy</aa:status><aa:note xml:lang=\"Eng\">HELLO</aa:note>")
    );
    assert!(body(&second).contains("<tuple id=\"message\"><status><basic>open</basic>"));

    let refresh = printed("blu-2.8-refresh.request.sip", &[("18762", &tag)]).expect("there");
    let answer = send(&mut phone, &refresh);
    assert_eq!(
        answer.header(Name::SipETag),
        Some(&*tag),
        "the tag that there is"
    );

    let again = subscribe
        .replace("CSeq: 18468", "CSeq: 18469")
        .replace("z9hG4bKae8", "z9hG4bKae9");
    assert_eq!(send(&mut phone, &again).status().number(), 200, "a refresh");
    assert_eq!(
        status(&body(&phone.notify(call))),
        busy("HELLO"),
        "and full state"
    );

    let unpublish = printed("blu-2.2-unpublish.request.sip", &[("18762", &tag)]).expect("there");
    assert_eq!(send(&mut phone, &unpublish).status().number(), 200);
    assert_eq!(
        status(&body(&phone.notify(call))),
        expected("Signed out", SIGNED_OUT)
    );

    let end = printed("blu-2.2-unsubscribe.request.sip", &[("18469", "18470")]).expect("there");
    let answer = send(&mut phone, &end);
    assert_eq!(
        (answer.status().number(), answer.header(Name::Expires)),
        (200, Some("0"))
    );
    let last = phone.notify(call);
    assert_eq!(
        last.header(Name::SubscriptionState),
        Some("terminated;reason=timeout")
    );
    let once_more = end
        .replace("18470", "18471")
        .replace("z9hG4bKae8", "z9hG4bKaea");
    assert_eq!(
        send(&mut phone, &once_more).status().number(),
        481,
        "it is gone"
    );
}

//= BLUSTAR 2.2
//= type=test
//= BLUSTAR 2.11
//= type=test
// proves: BLU-2.2-04 BLU-4.1-02 BLU-2.2-03
#[test]
fn with_the_last_client_its_user_is_signed_out() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut watcher = Client::new(&server, "bob", "bob");
    let watching = watcher.watch("alice");
    assert_eq!(watcher.sees(&watching), expected("Signed out", SIGNED_OUT));

    let mut desk = Client::new(&server, "alice", "desk");
    let of_desk = desk.watch("alice");
    desk.told(&of_desk);
    assert_eq!(desk.publish("available", "").status().number(), 200);
    assert_eq!(watcher.sees(&watching), available("Available"));
    desk.told(&of_desk);
    let mut mobile = Client::new(&server, "alice", "mobile");
    let of_mobile = mobile.watch("alice");
    mobile.told(&of_mobile);
    assert_eq!(mobile.publish("busy", "").status().number(), 200);
    assert_eq!(mobile.tag, desk.tag, "told what there is");
    assert!(
        watcher.phone.drain(QUIET).is_empty(),
        "and nothing was changed"
    );
    assert_eq!(mobile.publish("busy", "here").status().number(), 200);
    assert_eq!(watcher.sees(&watching), busy("here"));
    mobile.told(&of_mobile);
    desk.told(&of_desk);

    assert_eq!(desk.sign_off().status().number(), 200, "one of two");
    assert!(watcher.phone.drain(QUIET).is_empty(), "the other is there");
    assert_eq!(mobile.publish("available", "").status().number(), 200);
    assert_eq!(watcher.sees(&watching), available("Available"));
    mobile.told(&of_mobile);
    assert!(
        desk.phone.drain(QUIET).is_empty(),
        "whoever is gone is told nothing any more"
    );

    assert_eq!(mobile.sign_off().status().number(), 200);
    assert_eq!(watcher.sees(&watching), expected("Signed out", SIGNED_OUT));
    assert!(mobile.phone.drain(QUIET).is_empty());
}

//= BLUSTAR 2.3
//= type=test
// proves: BLU-2.3-01 BLU-2.3-02 BLU-2.2-03
#[test]
fn a_client_whose_connection_is_lost_is_gone_after_a_while() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut watcher = Client::new(&server, "bob", "bob");
    let watching = watcher.watch("alice");
    watcher.told(&watching);
    // The last SUBSCRIBE with Expires 0 signs out as well as a connection that is lost.
    for way in ["unsubscribe", "lost"] {
        let mut alice = Client::new(&server, "alice", "desk");
        let mut own = alice.watch("alice");
        alice.told(&own);
        assert_eq!(
            alice.publish("available", "").status().number(),
            200,
            "{way}"
        );
        assert_eq!(watcher.sees(&watching), available("Available"), "{way}");
        if way == "lost" {
            // A second dialog over another connection keeps the user signed in.
            let mut mobile = Client::new(&server, "alice", "mobile");
            let of_mobile = mobile.watch("alice");
            mobile.told(&of_mobile);
            drop(alice);
            std::thread::sleep(std::time::Duration::from_secs(7));
            assert!(watcher.phone.drain(QUIET).is_empty(), "the mobile is there");
            drop(mobile);
        } else {
            assert_eq!(alice.subscribe(&mut own, 0).status().number(), 200);
        }
        assert_eq!(
            watcher.sees(&watching),
            expected("Signed out", SIGNED_OUT),
            "{way}"
        );
    }
}

//= BLUSTAR 4.3
//= type=test
// proves: BLU-4.3-01 BLU-4.3-02 BLU-2.4-03
#[test]
fn what_a_publish_must_say() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut alice = Client::new(&server, "alice", "desk");
    let hello = document("busy", "HELLO", "");
    assert_eq!(
        alice.publish_with("", &hello).status().number(),
        400,
        "Expires"
    );
    let mut head = alice.head("PUBLISH", "<sip:alice@aastra.com>", "no-contact", 1);
    let from = head.find("Contact:").expect("a contact");
    let to = from + head[from..].find("\r\n").expect("its end") + 2;
    head.replace_range(from..to, "");
    let lines = "Event: presence\r\nExpires: 60\r\nContent-Type: application/pidf+xml\r\n";
    assert_eq!(
        alice.phone.ask(head, lines, &hello).status().number(),
        400,
        "Contact"
    );
    let lines = "Expires: 3600\r\n";
    let wrong = hello.replace(" xml:lang=\"Eng\"", "");
    assert_eq!(
        alice.publish_with(lines, &wrong).status().number(),
        400,
        "the note's language"
    );
    assert_eq!(
        alice
            .publish_with(lines, &document("asleep", "", ""))
            .status()
            .number(),
        400
    );
    assert_eq!(
        alice.publish_with(lines, "").status().number(),
        400,
        "neither tag nor body"
    );
    alice.tag = Some("18762".to_owned());
    assert_eq!(
        alice.publish_with(lines, "").status().number(),
        412,
        "a refresh of nothing"
    );

    let own = alice.watch("alice");
    alice.told(&own);
    assert_eq!(alice.publish_with(lines, &hello).status().number(), 200);
    let tag = alice.tag.clone();
    assert_eq!(alice.sees(&own), busy("HELLO"));
    assert_eq!(alice.publish("busy", "").status().number(), 200);
    assert_eq!(
        alice.sees(&own),
        busy("Busy"),
        "a note without text deletes the text"
    );
    assert_eq!(alice.tag, tag, "three requests, one tag");
    // A client that starts again has forgotten the tag, and must not spread what it starts with.
    alice.tag = None;
    assert_eq!(alice.publish("available", "").status().number(), 200);
    assert_eq!(alice.tag, tag);
    assert!(alice.phone.drain(QUIET).is_empty());
}

//= BLUSTAR 4.3
//= type=test
// proves: BLU-4.3-07
#[test]
fn calls_are_forwarded_by_the_special_publish() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut phone = Phone::tcp(server.tcp);
    let Some(forward) = printed("blu-4.3-lyncforwarding.request.sip", &[]) else {
        return;
    };
    let mut watcher = Client::new(&server, "bob", "bob");
    let mut watching = super::Subscription {
        call_id: format!("sub-{}", fresh()),
        to: "sip:tom.hanks@astra.com".to_owned(),
        to_tag: None,
        cseq: 0,
        list: None,
        lines: String::new(),
    };
    assert_eq!(watcher.subscribe(&mut watching, 300).status().number(), 200);
    watcher.told(&watching);
    let answer = send(&mut phone, &forward);
    assert_eq!(answer.status().number(), 200);
    assert_eq!(
        answer.header(Name::SipETag),
        Some("18762"),
        "one tag for everything"
    );
    let shown = body(&watcher.told(&watching));
    assert!(
        shown.contains("<aa:fwdDestination>sip:sean.connery@astra.com</aa:fwdDestination>"),
        "{shown}"
    );
    assert_eq!(
        status(&shown),
        expected("Signed out", SIGNED_OUT),
        "forwarding is no presence"
    );
    let elsewhere = forward
        .replace("sean.connery", "roger.moore")
        .replace("15729", "15730")
        .replace("z9hG4bK40", "z9hG4bK41");
    assert_eq!(send(&mut phone, &elsewhere).status().number(), 200);
    let shown = body(&watcher.told(&watching));
    assert!(
        shown.contains("roger.moore") && !shown.contains("sean.connery"),
        "{shown}"
    );
    let end = elsewhere
        .replace("Expires: 3600", "Expires: 0")
        .replace("15730", "15731")
        .replace("z9hG4bK41", "z9hG4bK42");
    assert_eq!(send(&mut phone, &end).status().number(), 200);
    assert!(!body(&watcher.told(&watching)).contains("externalUC"));
}

//= BLUSTAR 2.5
//= type=test
//= BLUSTAR 2.6
//= type=test
/// A PBX, a calendar and another system publish what they know beside the user's own clients.
// proves: BLU-2.1-05 BLU-2.5-01 BLU-2.6-01 BLU-2.7-01
#[test]
fn lines_appointments_and_other_systems_are_told_as_they_come_in() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut alice = Client::new(&server, "alice", "desk");
    let own = alice.watch("alice");
    alice.told(&own);
    alice.publish("available", "");
    assert_eq!(alice.sees(&own), available("Available"));
    let publish = |phone: &mut Phone, source: &str, inner: &str| {
        let body = format!(
            "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:aa=\"http://www.aastra.com/presence/blustar/2011\" \
             xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" entity=\"sip:alice@aastra.com\">{inner}</presence>"
        );
        let uri = "sip:alice@aastra.com";
        let head = phone.head("PUBLISH", uri, uri, &format!("<{uri}>"), source, fresh());
        let lines = "Event: presence\r\nExpires: 600\r\nContent-Type: application/pidf+xml\r\n";
        let answer = phone.ask(head, lines, &body);
        assert_eq!(answer.status().number(), 200, "{source}");
    };
    let mut source = Phone::tcp(server.tcp);
    let line = |state: &str| {
        format!(
            "<dm:device id=\"tel:2719\"><aa:line><aa:DN>2719</aa:DN><aa:state>{state}</aa:state></aa:line></dm:device>"
        )
    };
    publish(&mut source, "pbx", &line("busy"));
    let shown = body(&alice.told(&own));
    assert_eq!(status(&shown), busy("In a call"));
    assert!(
        shown.contains("<dm:device id=\"tel:2719\"><aa:line><aa:DN>2719</aa:DN><aa:state>busy"),
        "{shown}"
    );
    publish(&mut source, "pbx-2", &line("idle"));
    assert_eq!(alice.sees(&own), available("Available"));
    let parts =
        |parts: &str| format!("<dm:person id=\"p\"><aa:presence>{parts}</aa:presence></dm:person>");
    let meeting = "<aa:calendar><aa:id>1</aa:id><aa:state>busy</aa:state><aa:subject>s</aa:subject><aa:location/>\
        <aa:from>2020-01-01T00:00:00Z</aa:from><aa:end>2099-01-01T00:00:00Z</aa:end></aa:calendar>";
    publish(&mut source, "calendar", &parts(meeting));
    assert_eq!(alice.sees(&own), busy("In a meeting"));
    let lync = "<aa:externalUC><aa:status>do not disturb</aa:status><aa:freeText/><aa:fwdDestination/><aa:telephoneEvent/></aa:externalUC>";
    publish(&mut source, "lync", &parts(lync));
    let shown = body(&alice.told(&own));
    assert!(
        shown.contains("<aa:externalUC><aa:status>do not disturb</aa:status>"),
        "{shown}"
    );
    assert!(shown.contains("<aa:calendar><aa:id>1</aa:id>"), "{shown}");
}

/// Clients of the standard see BluStar's users, and the other way round.
#[test]
fn blustar_and_the_standard_see_each_other() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut alice = Client::new(&server, "alice", "desk");
    alice.publish("busy", "HELLO");
    let mut phone = Phone::tcp(server.tcp);
    let call_id = format!("std-{}", fresh());
    let uri = "sip:alice@aastra.com";
    let head = phone.head(
        "SUBSCRIBE",
        uri,
        "sip:carol@aastra.com",
        &format!("<{uri}>"),
        &call_id,
        1,
    );
    let answer = phone.ask(head, "Event: presence\r\nExpires: 300\r\n", "");
    assert_eq!(answer.status().number(), 200);
    let (_, shown) = told(&phone.notify(Some(&call_id)));
    assert!(
        shown.contains("<rpid:note xml:lang=\"en\">HELLO</rpid:note><rpid:busy/>"),
        "{shown}"
    );
    let _ = Watch::new("nobody");
}
