//! Our reader beside rsip's: the same on common messages, and the known differences (house D3), so that
//! we notice when rsip changes its mind.

use bytes::Bytes;
use rsip::prelude::{HasHeaders as _, HeadersExt as _, UntypedHeader as _};
use transport::sip::{Message, Name, Request};

fn ours(text: &str) -> Option<Request> {
    match Message::parse(Bytes::copy_from_slice(text.as_bytes())) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

fn message(method: &str, uri: &str, from: &str, lines: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\nMax-Forwards: 70\r\nFrom: {from}\r\n\
         To: <sip:bob@example.com>\r\nCall-ID: call@192.0.2.1\r\nCSeq: 7 {method}\r\n{lines}Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn both_read_common_messages_alike() {
    for (method, uri, from, lines) in [
        (
            "REGISTER",
            "sip:example.com",
            "<sip:alice@example.com>;tag=1",
            "Expires: 60\r\n",
        ),
        (
            "SUBSCRIBE",
            "sip:bob@example.com",
            "\"Alice\" <sip:alice@example.com>;tag=2",
            "Event: presence\r\n",
        ),
        (
            "PUBLISH",
            "sip:bob@example.com:5070",
            "Alice <sip:alice@example.com>;tag=3",
            "Expires: 3600\r\n",
        ),
        (
            "OPTIONS",
            "sips:bob@example.com",
            "<sip:alice@example.com;user=phone>;tag=4",
            "",
        ),
    ] {
        let text = message(method, uri, from, lines);
        let mine = ours(&text).expect(method);
        let theirs = rsip::Request::try_from(text.as_bytes()).expect(method);
        assert_eq!(mine.method().as_str(), theirs.method.to_string());
        assert_eq!(mine.uri(), theirs.uri.to_string());
        assert_eq!(
            mine.call_id(),
            theirs.call_id_header().expect("a Call-ID").value()
        );
        assert_eq!(
            mine.header(Name::From),
            Some(theirs.from_header().expect("a From").value())
        );
        assert_eq!(
            mine.header(Name::To),
            Some(theirs.to_header().expect("a To").value())
        );
        assert_eq!(
            mine.header(Name::CSeq),
            Some(theirs.cseq_header().expect("a CSeq").value())
        );
        assert_eq!(mine.top_via(), theirs.via_header().expect("a Via").value());
        assert_eq!(mine.lines().count(), theirs.headers().iter().count());
    }
}

/// Each row is read by us and not, or wrongly, by rsip 0.4.0. A row that fails says that rsip has
/// improved: move it to the test above.
#[test]
fn the_known_differences_are_still_there() {
    let alice = "<sip:alice@example.com>;tag=1";
    let refused = |text: &str| rsip::Request::try_from(text.as_bytes()).is_err();
    for (name, text) in [
        (
            "SERVICE",
            message("SERVICE", "sip:bob@example.com", alice, ""),
        ),
        (
            "BENOTIFY",
            message("BENOTIFY", "sip:bob@example.com", alice, ""),
        ),
        (
            "an IPv6 host with a port",
            message("OPTIONS", "sip:bob@[2001:db8::1]:5060", alice, ""),
        ),
        (
            "a folded line",
            message(
                "OPTIONS",
                "sip:bob@example.com",
                alice,
                "Subject: one\r\n two\r\n",
            ),
        ),
    ] {
        assert!(ours(&text).is_some(), "{name}");
        assert!(refused(&text), "{name}: rsip reads it now");
    }
    let compact = message("OPTIONS", "sip:bob@example.com", alice, "").replace("From:", "f:");
    assert_eq!(ours(&compact).expect("compact").from_tag(), "1");
    let theirs = rsip::Request::try_from(compact.as_bytes()).expect("read");
    assert!(
        theirs.from_header().is_err(),
        "rsip knows compact names now"
    );
}
