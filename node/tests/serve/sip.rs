//! What RFC 3261 asks of any user agent server, seen from outside.

use transport::sip::{Name, StatusCode};

use super::phone::{Phone, Publisher, document, fresh};
use super::server::Server;

//= RFC 3261 8.2.1
//= type=test
//= RFC 3261 8.2.2.3
//= type=test
//= RFC 3261 12.2.2
//= type=test
//= RFC 3261 16.3
//= type=test
#[test]
fn every_method_gets_its_answer() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let alice = "<sip:alice@example.com>";
    let tagged = "<sip:alice@example.com>;tag=nobodys";
    for (method, to, lines, status, header) in [
        ("OPTIONS", alice, "", 200, Some(Name::Allow)),
        ("OPTIONS", tagged, "", 481, None),
        ("INVITE", alice, "", 405, Some(Name::Allow)),
        ("INVITE", tagged, "", 481, None),
        ("MESSAGE", alice, "", 405, Some(Name::Allow)),
        ("BYE", alice, "", 481, None),
        ("CANCEL", alice, "", 481, None),
        (
            "NOTIFY",
            alice,
            "Event: presence\r\nSubscription-State: active\r\n",
            481,
            None,
        ),
        ("UPDATE", tagged, "", 481, None),
        ("DANCE", alice, "", 501, Some(Name::Allow)),
        (
            "SUBSCRIBE",
            alice,
            "Event: presence\r\nRequire: sec-agree, path\r\n",
            420,
            Some(Name::Unsupported),
        ),
        (
            "REGISTER",
            alice,
            "Proxy-Require: sec-agree\r\n",
            420,
            Some(Name::Unsupported),
        ),
        (
            "SUBSCRIBE",
            alice,
            "Event: winfo\r\n",
            489,
            Some(Name::AllowEvents),
        ),
        (
            "SUBSCRIBE",
            alice,
            "Event: presence\r\nAccept: text/plain\r\n",
            406,
            Some(Name::Accept),
        ),
        (
            "SUBSCRIBE",
            alice,
            "Event: presence\r\nExpires: 5\r\n",
            423,
            Some(Name::MinExpires),
        ),
        (
            "SUBSCRIBE",
            alice,
            "Event: presence\r\nExpires: soon\r\n",
            400,
            None,
        ),
        ("SUBSCRIBE", tagged, "Event: presence\r\n", 481, None),
        ("PUBLISH", alice, "Max-Forwards: 70\r\n", 400, None),
        (
            "PUBLISH",
            alice,
            "To: <sip:second@example.com>\r\n",
            400,
            None,
        ),
    ] {
        for mut phone in [Phone::udp(server.udp), Phone::tcp(server.tcp)] {
            let call_id = format!("sip-{}", fresh());
            let head = phone.head(
                method,
                "sip:alice@example.com",
                "sip:bob@example.com",
                to,
                &call_id,
                1,
            );
            let response = phone.ask(head, lines, "");
            assert_eq!(response.status().number(), status, "{method} {to} {lines}");
            if let Some(header) = header {
                assert!(
                    response.header(header).is_some(),
                    "{method} {lines}: {header:?}"
                );
            }
        }
    }
    let mut phone = Phone::udp(server.udp);
    let head = phone.head(
        "SUBSCRIBE",
        "sip:alice@example.com",
        "sip:bob@example.com",
        alice,
        "hops",
        1,
    );
    let response = phone.ask(
        head.replace("Max-Forwards: 70", "Max-Forwards: 0"),
        "Event: presence\r\n",
        "",
    );
    assert_eq!(response.status(), StatusCode::TOO_MANY_HOPS);
    let head = phone.head(
        "PUBLISH",
        "http://example.com",
        "sip:bob@example.com",
        alice,
        "scheme",
        1,
    );
    assert_eq!(
        phone.ask(head, "Event: presence\r\n", "").status(),
        StatusCode::UNSUPPORTED_URI_SCHEME
    );
}

//= RFC 3261 17.2.2
//= type=test
#[test]
fn a_retransmission_has_one_effect_and_one_answer() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::udp(server.udp);
    let uri = "sip:again@example.com";
    let head = phone.head("PUBLISH", uri, uri, &format!("<{uri}>"), "again", 1);
    let body = document("again", "open", "once");
    let message = format!(
        "{head}Event: presence\r\nContent-Type: application/pidf+xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut tags = Vec::new();
    for _ in 0..3 {
        phone.send(message.as_bytes());
        tags.push(
            phone
                .response()
                .header(Name::SipETag)
                .expect("a tag")
                .to_owned(),
        );
    }
    // Another node's view of the same request: a proxy tried again, with a branch of its own.
    phone.send(
        message
            .replace("branch=z9hG4bK", "branch=z9hG4bKother")
            .as_bytes(),
    );
    tags.push(
        phone
            .response()
            .header(Name::SipETag)
            .expect("a tag")
            .to_owned(),
    );
    assert!(tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
    let (_, report) = server.get(&format!("/presentity/{uri}"));
    assert_eq!(report.matches("\"etag\"").count(), 1, "{report}");
}

#[test]
fn garbage_harms_nobody() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::udp(server.udp);
    for garbage in [
        &b"\r\n\r\n"[..],
        b"",
        b"\0\0\0\0",
        b"SIP/2.0",
        b"INVITE",
        b"PUBLISH sip:a SIP/2.0\r\n\r\n",
        &[0xff; 2_000],
    ] {
        phone.send(garbage);
    }
    let mut stream = Phone::tcp(server.tcp);
    stream.send(b"NOT A SIP MESSAGE AT ALL\r\n\r\n");
    assert!(
        stream.receive(super::server::PATIENCE).is_none(),
        "the stream closes"
    );
    let mut alice = Publisher::new("alice");
    assert_eq!(
        alice
            .publish(&mut phone, None, &document("alice", "open", "fine"))
            .status(),
        StatusCode::OK
    );
}

//= RFC 5626 4.4.1
//= type=test
#[test]
fn a_ping_gets_a_pong_where_it_was_asked_for_and_large_messages_pass() {
    use std::io::{Read as _, Write as _};
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    // Contradiction C-68: others, the clients of ms-keep-alive among them, expect silence.
    for (via, contact, supported, asked) in [
        ("", "", "", false),
        (
            "",
            "",
            "Supported: gruu-10\r\nms-keep-alive: UAC;hop-hop=yes\r\n",
            false,
        ),
        (";keep", "", "", true),
        ("", ";ob", "", true),
        ("", "", "Supported: path, outbound\r\n", true),
    ] {
        let mut stream = std::net::TcpStream::connect(server.tcp).expect("a connection");
        stream
            .set_read_timeout(Some(super::server::PATIENCE))
            .expect("set");
        let options = |branch: u32| {
            format!(
                "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKp{branch}{via}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=p\r\nTo: <sip:example.com>\r\nCall-ID: p{branch}\r\n\
                 CSeq: 1 OPTIONS\r\nContact: <sip:a@127.0.0.1:9{contact}>\r\n{supported}Content-Length: 0\r\n\r\n"
            )
        };
        // What comes between the answers is the pong.
        stream.write_all(options(fresh()).as_bytes()).expect("sent");
        stream.write_all(b"\r\n\r\n").expect("sent");
        stream.write_all(options(fresh()).as_bytes()).expect("sent");
        let (mut text, mut chunk) = (String::new(), [0; 4_096]);
        while text.matches("SIP/2.0 200").count() < 2 || !text.ends_with("\r\n\r\n") {
            let length = stream.read(&mut chunk).expect("two answers");
            text += std::str::from_utf8(&chunk[..length]).expect("text");
        }
        let ponged = text.contains("\r\n\r\n\r\nSIP/2.0 200");
        assert_eq!(ponged, asked, "{via}{contact}{supported}: {text:?}");
    }
    let note = "x".repeat(50_000);
    for mut phone in [Phone::udp(server.udp), Phone::tcp(server.tcp)] {
        let mut alice = Publisher::new("large");
        assert_eq!(
            alice
                .publish(&mut phone, None, &document("large", "open", &note))
                .status(),
            StatusCode::OK
        );
    }
}
