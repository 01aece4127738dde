//! ComSIPL and Linphone, as the page prints their messages, over UDP.

use std::time::Duration;

use transport::sip::Name;

use super::{configured, printed};
use crate::phone::{Phone, fresh, told};
use crate::server::Server;

/// A printed message with a Via that brings the answer back to a socket of ours.
fn send(phone: &mut Phone, message: &str) -> transport::sip::Response {
    phone.send(message.as_bytes());
    phone.response()
}

//= RFC 3856 6.7
//= type=test
// proves: COM-01 COM-02 COM-03 COM-04 COM-05 COM-06 COM-07 COM-08 COM-09 COM-10 COM-11
#[test]
fn the_printed_messages_are_answered_as_printed() {
    let data = tempfile::tempdir().expect("a folder");
    let Some(publish) = printed("com-publish.request.sip", &[]) else {
        return;
    };
    let subscribe = printed("com-subscribe.request.sip", &[]).expect("beside the other");
    let server = Server::start(data.path());
    let mut phone = Phone::udp(server.udp);
    let answer = send(&mut phone, &publish);
    assert_eq!(
        (answer.status().number(), answer.header(Name::Expires)),
        (200, Some("3600"))
    );
    assert!(answer.header(Name::SipETag).is_some());
    let answer = send(&mut phone, &subscribe);
    assert_eq!(
        (answer.status().number(), answer.header(Name::Expires)),
        (200, Some("600"))
    );
    let first = phone.notify(Some("uyyucrjijinwadl"));
    assert_eq!(first.to_tag(), Some("rnzgc"), "the tag of the SUBSCRIBE");
    assert_eq!(
        first.header(Name::Event),
        Some("presence"),
        "in small letters"
    );
    assert_eq!(
        first.header(Name::ContentType),
        Some("application/pidf+xml")
    );
    assert_eq!(
        first.header(Name::SubscriptionState),
        Some("active;expires=600")
    );
    let (_, shown) = told(&first);
    assert!(shown.contains("entity=\"sip:51234@10.0.0.27\""), "{shown}");
    assert!(
        shown.contains("pidfonline:online") && shown.contains("<basic>open</basic>"),
        "{shown}"
    );
    assert_eq!(
        shown.matches("<status>").count(),
        shown.matches("<tuple ").count(),
        "{shown}"
    );

    // A second later, another client's note: what is left of the subscription is told.
    std::thread::sleep(Duration::from_millis(1_100));
    let note = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"pres:51234@10.0.0.27\"><tuple id=\"bs35r9f\">\
        <status><basic>Open</basic><note>available</note></status></tuple></presence>";
    let uri = "pres:51234@10.0.0.27";
    let head = phone.head(
        "PUBLISH",
        uri,
        "sip:51234@10.0.0.27",
        "sip:51234@10.0.0.27",
        &format!("c-{}", fresh()),
        1,
    );
    let lines = "Event: Presence\r\nContent-Type: application/pidf+xml\r\n";
    assert_eq!(phone.ask(head, lines, note).status().number(), 200);
    let second = phone.notify(Some("uyyucrjijinwadl"));
    let left = second
        .header(Name::SubscriptionState)
        .expect("a state")
        .to_owned();
    let seconds: u32 = left
        .trim_start_matches("active;expires=")
        .parse()
        .expect(&left);
    assert!((500..600).contains(&seconds), "{left}");
    assert!(
        told(&second).1.contains("<note>available</note>"),
        "{}",
        told(&second).1
    );

    // Whoever asks for a pres: URI is told of one.
    let call_id = format!("pres-{}", fresh());
    let head = phone.head(
        "SUBSCRIBE",
        uri,
        "sip:51112@10.0.0.27",
        &format!("<{uri}>"),
        &call_id,
        1,
    );
    assert_eq!(
        phone
            .ask(head, "Event: PRESENCE\r\nExpires: 600\r\n", "")
            .status()
            .number(),
        200
    );
    let (_, shown) = told(&phone.notify(Some(&call_id)));
    assert!(shown.contains("entity=\"pres:51234@10.0.0.27\""), "{shown}");

    // Both are kept: another process goes on with them.
    let (udp, tcp) = (server.udp, server.tcp);
    server.kill();
    let _server = Server::restart(data.path(), udp, tcp);
    let head = phone.head(
        "PUBLISH",
        uri,
        "sip:51234@10.0.0.27",
        "sip:51234@10.0.0.27",
        &format!("c-{}", fresh()),
        1,
    );
    let later = note.replace("available", "back again");
    assert_eq!(phone.ask(head, lines, &later).status().number(), 200);
    let told_again = phone.notify(Some("uyyucrjijinwadl"));
    assert!(told_again.cseq() > second.cseq());
}

/// A profile says that documents are about pres: URIs, whatever was asked for.
// proves: COM-08
#[test]
fn comsipl_is_told_of_pres_uris() {
    let data = tempfile::tempdir().expect("a folder");
    let settings =
        "[[profile]]\nname = \"sipl\"\ndialect = \"comsipl\"\nuser_agents = [\"ComSIPL\"]\n";
    let server = configured(data.path(), settings, &[]);
    let mut phone = Phone::udp(server.udp);
    for (agent, entity) in [
        ("ComSIPL/1.x", "pres:a@example.com"),
        ("Other", "sip:a@example.com"),
    ] {
        let call_id = format!("agent-{}", fresh());
        let uri = "sip:a@example.com";
        let head = phone.head(
            "SUBSCRIBE",
            uri,
            "sip:w@example.com",
            &format!("<{uri}>"),
            &call_id,
            1,
        );
        let lines = format!("Event: Presence\r\nUser-Agent: {agent}\r\n");
        assert_eq!(phone.ask(head, &lines, "").status().number(), 200);
        let (_, shown) = told(&phone.notify(Some(&call_id)));
        assert!(shown.contains(&format!("entity=\"{entity}\"")), "{shown}");
    }
}
