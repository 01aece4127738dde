//! The torture messages of RFC 4475 and RFC 5118, each written from its description, with the outcome
//! that a presence server owes it.

use bytes::Bytes;
use transport::sip::uri::Uri;
use transport::sip::{Message, Method, Name, Request, StatusCode};

/// What a message comes to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Read.
    Read,
    /// Refused with this status.
    Refused(u16),
    /// Dropped: there is nothing to answer, or nobody.
    Dropped,
}
use Outcome::{Dropped, Read, Refused};

fn outcome(bytes: &[u8]) -> Outcome {
    match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(_) => Read,
        Err(refused) if refused.answerable.is_some() => Refused(refused.error.status.number()),
        Err(_) => Dropped,
    }
}

fn request(bytes: &[u8]) -> Request {
    match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// A request with the usual lines, its start line and further lines given.
fn with(start: &str, more: &str) -> Vec<u8> {
    let method = start.split(' ').next().unwrap_or_default();
    format!(
        "{start}\r\nVia: SIP/2.0/UDP host.example;branch=z9hG4bKtorture\r\nMax-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\n\
         To: <sip:b@example.com>\r\nCall-ID: torture@example.com\r\nCSeq: 1 {method}\r\n{more}\r\n"
    )
    .into_bytes()
}

fn replaced(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(with("OPTIONS sip:b@example.com SIP/2.0", "")).expect("ASCII");
    assert!(text.contains(from), "{from}");
    text.replace(from, to).into_bytes()
}

//= RFC 4475 3.1.1.1
//= type=test
#[test]
fn a_short_tortuous_invite_is_read() {
    let text = "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n\
        TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n\
        from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
        MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@192.0.2.1\r\nContent-Length   : 150\r\n\
        cseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n\
        s :\r\nNewFangledHeader:   newfangled value\r\n continued newfangled value\r\n\
        UnknownHeaderWithUnusualValue: ;;,,;;,;\r\nContent-Type: application/sdp\r\n\
        Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n\
        v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n\
        \x20SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n\
        m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\r\n";
    let body = "v=0\r\n".repeat(30);
    let read = request(format!("{text}{body}").as_bytes());
    assert_eq!(
        (
            read.from_tag(),
            read.to_tag(),
            read.cseq(),
            read.max_forwards()
        ),
        ("98asjd8", Some("1918181833n"), 9, 68)
    );
    assert_eq!(read.values(Name::Via).count(), 3);
    assert_eq!(read.body().len(), 150);
    assert_eq!(
        read.other_headers("newfangledheader")
            .next()
            .map(|value| value.contains("continued")),
        Some(true)
    );
}

//= RFC 4475 3.1.1
//= type=test
// proves: PRES-3.2.5-01
#[test]
fn unusual_and_right_messages_are_read() {
    let unusual = "!interesting-Method0123456789_*+`.%indeed'~";
    let ladder: String = (0..60)
        .map(|n| format!("Via: SIP/2.0/UDP h{n}.example;branch=z9hG4bK{n}\r\n"))
        .collect();
    for (name, bytes) in [
        ("3.1.1.2 a wide range of characters", with(
            &format!("{unusual} sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0"),
            "extensionHeader-!.%*+_`'~: \u{fefc}\u{5bd3}\r\n",
        )),
        ("3.1.1.3 escapes", with("INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", "")),
        ("3.1.1.4 escaped nulls", with("REGISTER sip:example.com SIP/2.0", "Contact: <sip:%00@host5.example.com>\r\nContact: <sip:%00%00@host5.example.com>\r\n")),
        ("3.1.1.5 a percent sign that is no escape, in a method", with("RE%47IST%45R sip:registrar.example.com SIP/2.0", "")),
        ("3.1.1.6 no blank before the bracket", replaced("From: <sip", "From: caller<sip")),
        ("3.1.1.7 long values", with("INVITE sip:user@example.com SIP/2.0", &format!("Unknown-{}: {}\r\n{ladder}", "Long".repeat(20), "long".repeat(500)))),
        ("3.1.1.10 many transports", with("OPTIONS sip:user@example.com SIP/2.0", "Via: SIP/2.0/TLS t2.example.com;branch=z9hG4bKa\r\nVia: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKb\r\n")),
        ("3.1.1.12 an unusual reason", b"SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 35 INVITE\r\n\r\n".to_vec()),
        ("3.1.1.13 no reason", b"SIP/2.0 100 \r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 35 INVITE\r\n\r\n".to_vec()),
        ("3.2.1 no branch", replaced(";branch=z9hG4bKtorture", "")),
        ("3.3.8 many values where one is usual", with("OPTIONS sip:user@example.com SIP/2.0", "Accept: a/b\r\nAccept: c/d, e/f\r\n")),
        ("3.4.1 no tags at all (RFC 2543)", replaced(";tag=1", "")),
    ] {
        assert_eq!(outcome(&bytes), Read, "{name}");
    }
    let surplus = with("REGISTER sip:example.com SIP/2.0", "Content-Length: 0\r\n");
    let read = request(&[&surplus[..], b"INVITE sip:joe@example.com SIP/2.0\r\n\r\n"].concat());
    assert!(
        read.body().is_empty(),
        "3.1.1.8 what stands behind the body of a datagram is dropped"
    );
    let spoof = replaced(
        "From: <sip:a@example.com>",
        "From: \"<sip:boss@example.com>\" <sip:a@example.com>",
    );
    assert_eq!(request(&spoof).from().uri, "sip:a@example.com");
    assert_eq!(
        *request(&with(&format!("{unusual} sip:b@example.com SIP/2.0"), "")).method(),
        Method::Other(Bytes::from(unusual))
    );
}

//= RFC 4475 3.1.2
//= type=test
#[test]
fn wrong_messages_are_refused_with_the_right_status() {
    let start = |line: &str| with(line, "");
    for (name, bytes, expected) in [
        ("3.1.2.1 extra separators in a Via", replaced("host.example;branch", "host.example;;,;,,;branch"), Read),
        ("3.1.2.2 a Content-Length larger than the message", with("INVITE sip:b@example.com SIP/2.0", "Content-Length: 9999\r\n"), Refused(400)),
        ("3.1.2.3 a negative Content-Length", with("INVITE sip:b@example.com SIP/2.0", "Content-Length: -999\r\n"), Refused(400)),
        ("3.1.2.4 a CSeq beyond 2^31", replaced("CSeq: 1 ", "CSeq: 36893488147419103232 "), Refused(400)),
        ("3.1.2.5 numbers too large in a response", b"SIP/2.0 503 x\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 9292394834772304023312 OPTIONS\r\n\r\n".to_vec(), Dropped),
        ("3.1.2.6 a quote that never closes", replaced("To: <sip:b@example.com>", "To: \"Mr. J. User <sip:j.user@example.com>"), Refused(400)),
        ("3.1.2.7 brackets around the Request-URI", start("INVITE <sip:user@example.com> SIP/2.0"), Refused(400)),
        ("3.1.2.8 a blank in the Request-URI", start("INVITE sip:user@example.com; lr SIP/2.0"), Refused(400)),
        ("3.1.2.9 more than one blank in the request line", start("INVITE  sip:user@example.com  SIP/2.0"), Refused(400)),
        ("3.1.2.10 a blank at its end", start("OPTIONS sip:b@example.com SIP/2.0 "), Refused(400)),
        ("3.1.2.12 a bad date is nobody's concern here", with("INVITE sip:b@example.com SIP/2.0", "Date: Fri, 01 Jan 2010 16:00:00 EST\r\n"), Read),
        ("3.1.2.13 a Contact without brackets", with("REGISTER sip:example.com SIP/2.0", "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\r\n"), Read),
        ("3.1.2.14 a display name with a blank and no quotes", replaced("To: <sip:b@example.com>", "To: Watson, Thomas sip:b@example.com"), Refused(400)),
        ("3.1.2.16 an unknown version", start("OPTIONS sip:b@example.com SIP/7.0"), Refused(505)),
        ("3.1.2.17 a CSeq of another method", replaced("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"), Refused(400)),
        ("3.1.2.18 an unknown method in CSeq only", replaced("CSeq: 1 OPTIONS", "CSeq: 1 NEWMETHOD"), Refused(400)),
        ("3.1.2.19 a status that is too large", b"SIP/2.0 4294967301 better not\r\nVia: SIP/2.0/UDP h\r\nTo: <sip:a@b>\r\nFrom: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n".to_vec(), Dropped),
        ("3.3.1 mandatory headers missing", b"INVITE sip:user@example.com SIP/2.0\r\nCSeq: 193942 INVITE\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\r\n".to_vec(), Dropped),
        ("3.3.9 two of what stands once", with("INVITE sip:b@example.com SIP/2.0", "CSeq: 2 INVITE\r\nCall-ID: other\r\n"), Refused(400)),
        ("3.3.10 two lengths", with("OPTIONS sip:b@example.com SIP/2.0", "Content-Length: 13\r\nContent-Length: 5\r\n\r\nThis is text."), Refused(400)),
        ("Max-Forwards beyond 255", replaced("Max-Forwards: 70", "Max-Forwards: 300"), Refused(400)),
        ("a control character before the colon", with("OPTIONS sip:b@example.com SIP/2.0", "Contact\u{1}: <sip:x@y>\r\n"), Refused(400)),
        ("an ACK is never answered", with("ACK sip:b@example.com SIP/2.0", "Content-Length: x\r\n"), Dropped),
    ] {
        assert_eq!(outcome(&bytes), expected, "{name}");
    }
    for (name, uri, status) in [
        (
            "3.3.2 an unknown scheme",
            "nobodyKnowsThisScheme:totallyopaquecontent",
            StatusCode::UNSUPPORTED_URI_SCHEME,
        ),
        (
            "3.3.3 a known scheme that is not SIP's",
            "soap.beep://192.0.2.103:3002",
            StatusCode::UNSUPPORTED_URI_SCHEME,
        ),
    ] {
        let read = request(&with(&format!("OPTIONS {uri} SIP/2.0"), ""));
        assert_eq!(
            Uri::parse(read.uri()).expect_err(name).status,
            status,
            "{name}"
        );
    }
}

//= RFC 5118 4
//= type=test
#[test]
fn ipv6_addresses_stand_where_they_may() {
    for (name, uri, good) in [
        ("4.1 a literal", "sip:[2001:db8::10]", true),
        ("4.2 without brackets", "sip:2001:db8::10", false),
        (
            "4.3 a port that looks like a part",
            "sip:[2001:db8::10:5070]",
            true,
        ),
        (
            "4.4 a port behind the bracket",
            "sip:[2001:db8::10]:5070",
            true,
        ),
        ("4.9 IPv4 in IPv6", "sip:user@[::ffff:192.0.2.10]", true),
        (
            "4.10 three colons",
            "sip:user@[2001:db8:::192.0.2.1]",
            false,
        ),
    ] {
        assert_eq!(Uri::parse(uri).is_ok(), good, "{name}");
    }
    let via = |value: &str| replaced("SIP/2.0/UDP host.example;branch=z9hG4bKtorture", value);
    for (name, bytes) in [
        (
            "4.5 received with brackets",
            via("SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3"),
        ),
        (
            "4.5 received without",
            via("SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3"),
        ),
        (
            "4.6 several addresses",
            via("SIP/2.0/UDP [2001:db8::9:1]:5060;branch=z9hG4bKas3, SIP/2.0/UDP 192.0.2.1"),
        ),
        (
            "4.8 both kinds in one message",
            replaced("To: <sip:b@example.com>", "To: <sip:b@[2001:db8::1]>"),
        ),
    ] {
        assert_eq!(outcome(&bytes), Read, "{name}");
    }
}
