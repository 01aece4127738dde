//! What a dialog keeps, and the requests written from it.

use bytes::{Bytes, BytesMut};
use transport::dialog::{DialogRoute, Target, write_request};
use transport::flow::{Flow, Transport};
use transport::sip::{Message, Name, Request};

fn subscribe(via: &str, lines: &str) -> Request {
    let text = format!(
        "SUBSCRIBE sip:alice@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK1\r\nFrom: \"Bob\" <sip:bob@example.com>;tag=b\r\n\
         To: sip:alice@example.com\r\nCall-ID: c@h\r\nCSeq: 1 SUBSCRIBE\r\n{lines}\r\n"
    );
    match Message::parse(Bytes::from(text)) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn flow() -> Flow {
    Flow {
        worker: 1,
        transport: Transport::Udp,
        number: 2,
        peer: "192.0.2.9:40000".parse().expect("an address"),
    }
}

//= RFC 3261 12.1.1
//= type=test
//= RFC 3261 12.2.1.1
//= type=test
//= RFC 6665 8.2.1
//= type=test
/// COM-05, COM-07
#[test]
fn a_notify_goes_back_the_way_its_subscribe_came() {
    let lines = "Event: Presence;id=7\r\nRecord-Route: <sip:p2.example;lr>\r\nRecord-Route: <sip:p1.example;lr>\r\nContact: <sip:bob@192.0.2.1:5060>\r\n";
    let request = subscribe("h", lines);
    let (mut route, mut target) = (Vec::new(), Vec::new());
    DialogRoute::write_from(&request, "Ltag", &mut route);
    Target::write_from(&request, &flow(), 3, "sip:192.0.2.2:5060", &mut target).expect("a contact");
    let (route, target) = (
        DialogRoute::decode(&route).expect("read"),
        Target::decode(&target).expect("read"),
    );
    let mut out = BytesMut::new();
    write_request(
        "NOTIFY",
        "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKn",
        12,
        &route,
        &target,
        &mut out,
    );
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    let Ok(Message::Request(notify)) = Message::parse(out.freeze()) else {
        panic!("a request")
    };
    assert_eq!(notify.uri(), "sip:bob@192.0.2.1:5060");
    assert_eq!(target.node, 3);
    assert_eq!(
        notify.values(Name::Route).collect::<Vec<_>>(),
        ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]
    );
    assert_eq!(
        (notify.from().uri, notify.from_tag()),
        ("sip:alice@example.com", "Ltag")
    );
    assert_eq!(
        (notify.to().uri, notify.to_tag(), notify.cseq()),
        ("sip:bob@example.com", Some("b"), 12)
    );
    assert_eq!(route.event, "presence;id=7");
    for cut in 0..20 {
        assert_eq!(DialogRoute::decode(&[1, 5, 0][..cut.min(3)]), None);
    }
}

//= RFC 3261 12.2.1.1
//= type=test
#[test]
fn a_strict_router_takes_the_place_of_the_target() {
    let lines = "Event: presence\r\nRecord-Route: <sip:strict.example>\r\nRecord-Route: <sip:loose.example;lr>\r\nContact: <sip:bob@192.0.2.1>\r\n";
    let request = subscribe("h", lines);
    let (mut route, mut target) = (Vec::new(), Vec::new());
    DialogRoute::write_from(&request, "Ltag", &mut route);
    Target::write_from(&request, &flow(), 3, "sip:us", &mut target).expect("a contact");
    let mut out = BytesMut::new();
    let (route, target) = (
        DialogRoute::decode(&route).expect("read"),
        Target::decode(&target).expect("read"),
    );
    write_request(
        "NOTIFY",
        "SIP/2.0/UDP us;branch=z9hG4bKn",
        1,
        &route,
        &target,
        &mut out,
    );
    let text = String::from_utf8(out.to_vec()).expect("ASCII");
    assert!(
        text.starts_with("NOTIFY sip:strict.example SIP/2.0\r\n"),
        "{text}"
    );
    assert!(
        text.contains("Route: <sip:loose.example;lr>\r\nRoute: <sip:bob@192.0.2.1>\r\n"),
        "{text}"
    );
}

//= RFC 3261 8.1.1.8
//= type=test
#[test]
fn a_forged_contact_aims_at_nobody() {
    let peer = |via: &str, contact: &str| {
        let mut target = Vec::new();
        let request = subscribe(via, &format!("Event: presence\r\nContact: {contact}\r\n"));
        Target::write_from(&request, &flow(), 3, "sip:us", &mut target).ok()?;
        Some(Target::decode(&target).expect("read").flow.peer.to_string())
    };
    for (name, via, contact, expected) in [
        (
            "its own host, another port",
            "192.0.2.9",
            "<sip:bob@192.0.2.9:5062>",
            Some("192.0.2.9:5062"),
        ),
        (
            "its own host, no port",
            "192.0.2.9",
            "<sip:bob@192.0.2.9>",
            Some("192.0.2.9:5060"),
        ),
        (
            "it asked for its source port",
            "192.0.2.9;rport",
            "<sip:bob@192.0.2.9:5062>",
            Some("192.0.2.9:40000"),
        ),
        (
            "a private address behind a NAT",
            "10.0.0.1",
            "<sip:bob@10.0.0.1:5060>",
            Some("192.0.2.9:40000"),
        ),
        (
            "somebody else",
            "192.0.2.9",
            "<sip:victim@198.51.100.1:53>",
            Some("192.0.2.9:40000"),
        ),
        (
            "a name",
            "192.0.2.9",
            "<sip:bob@bob.example>",
            Some("192.0.2.9:40000"),
        ),
        (
            "through a proxy on its own host, which says so once",
            "192.0.2.9;branch=z9hG4bKp\r\nVia: SIP/2.0/UDP 192.0.2.9:5062",
            "<sip:bob@192.0.2.9:5062>",
            Some("192.0.2.9:40000"),
        ),
        ("none", "192.0.2.9", "", None),
        ("no URI", "192.0.2.9", "<mailto:bob@example.com>", None),
    ] {
        assert_eq!(peer(via, contact).as_deref(), expected, "{name}");
    }
}
