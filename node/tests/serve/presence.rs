//! Publishing, watching, registering, over UDP and TCP.

use transport::sip::{Name, StatusCode};

use super::phone::{Phone, Publisher, Watch, document, fresh, told};
use super::server::Server;

/// Name, Request-URI, header lines, body; the status, and a header of the answer.
type Case<'c> = (
    &'c str,
    &'c str,
    String,
    &'c str,
    u16,
    Option<(Name, &'c str)>,
);

fn phones(server: &Server) -> [(&'static str, Phone); 2] {
    [
        ("udp", Phone::udp(server.udp)),
        ("tcp", Phone::tcp(server.tcp)),
    ]
}

//= RFC 3903 6
//= type=test
//= RFC 6665 4.2.2
//= type=test
/// BLOG-01, COM-01, COM-04, COM-05, COM-08
#[test]
fn a_change_reaches_its_watchers() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    for (name, mut phone) in phones(&server) {
        let user = format!("alice-{name}");
        let mut watch = Watch::new(&user);
        let accepted = watch.subscribe(&mut phone, 600);
        assert_eq!(accepted.status(), StatusCode::OK);
        assert_eq!(accepted.header(Name::Expires), Some("600"));
        let first = phone.notify(Some(&watch.call_id));
        assert!(
            first
                .header(Name::SubscriptionState)
                .is_some_and(|state| state.starts_with("active;expires="))
        );
        assert!(
            told(&first).1.contains("<basic>closed</basic>"),
            "nobody published"
        );

        let mut alice = Publisher::new(&user);
        assert_eq!(
            alice
                .publish(&mut phone, Some(300), &document(&user, "open", "here"))
                .status(),
            StatusCode::OK
        );
        let second = phone.notify(Some(&watch.call_id));
        assert_eq!(second.header(Name::Event), Some("presence"));
        assert_eq!(second.to_tag(), Some(&*format!("f{}", watch.call_id)));
        assert_eq!(
            second.from_tag(),
            watch.to_tag.as_deref().expect("a dialog")
        );
        let (cseq, body) = told(&second);
        assert!(cseq > first.cseq());
        assert!(
            body.contains("<note>here</note>")
                && body.contains(&format!("entity=\"sip:{user}@example.com\"")),
            "{body}"
        );

        let before = alice.tag.clone();
        let refreshed = alice.publish(&mut phone, Some(300), "");
        assert_eq!(refreshed.status(), StatusCode::OK);
        assert_ne!(alice.tag, before, "each success has a tag of its own");
        assert_eq!(
            alice.publish(&mut phone, Some(0), "").status(),
            StatusCode::OK
        );
        assert!(
            told(&phone.notify(Some(&watch.call_id)))
                .1
                .contains("<basic>closed</basic>"),
            "a refresh is not told"
        );

        assert_eq!(watch.subscribe(&mut phone, 0).status(), StatusCode::OK);
        let last = phone.notify(Some(&watch.call_id));
        assert_eq!(
            last.header(Name::SubscriptionState),
            Some("terminated;reason=timeout")
        );
        assert_eq!(
            watch.subscribe(&mut phone, 600).status(),
            StatusCode::NO_TRANSACTION
        );
    }
}

//= RFC 6665 4.4.3
//= type=test
#[test]
fn a_fetch_is_one_notification() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    for (name, mut phone) in phones(&server) {
        let user = format!("bob-{name}");
        Publisher::new(&user).publish(&mut phone, None, &document(&user, "open", "once"));
        let mut fetch = Watch::new(&user);
        let accepted = fetch.subscribe(&mut phone, 0);
        assert_eq!(
            (accepted.status(), accepted.header(Name::Expires)),
            (StatusCode::OK, Some("0"))
        );
        let only = phone.notify(Some(&fetch.call_id));
        assert!(told(&only).1.contains("once"));
        assert_eq!(
            only.header(Name::SubscriptionState),
            Some("terminated;reason=timeout")
        );
        let (_, pool) = server.get(&format!("/presentity/sip:{user}@example.com"));
        assert!(pool.contains("\"watchers\":[]"), "{pool}");
    }
}

//= RFC 3903 6
//= type=test
#[test]
fn publish_is_checked_in_the_order_of_the_standard() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::udp(server.udp);
    let mut alice = Publisher::new("alice");
    alice.publish(&mut phone, None, &document("alice", "open", "x"));
    let tag = alice.tag.clone().expect("a tag");
    let good = document("alice", "open", "x");
    let pidf = "Content-Type: application/pidf+xml\r\n";
    let cases: [Case<'_>; 13] = [
        (
            "not our domain, and all else wrong",
            "sip:alice@elsewhere.example",
            "Event: x\r\n".into(),
            "",
            404,
            None,
        ),
        (
            "no event",
            "sip:alice@example.com",
            String::new(),
            &good,
            489,
            Some((
                Name::AllowEvents,
                "presence,vnd-microsoft-roaming-contacts,vnd-microsoft-roaming-self,vnd-microsoft-provisioning-v2",
            )),
        ),
        (
            "unknown event, two tags",
            "sip:alice@example.com",
            "Event: dialog\r\nSIP-If-Match: a\r\nSIP-If-Match: b\r\n".into(),
            "",
            489,
            None,
        ),
        (
            "two tags, too brief",
            "sip:alice@example.com",
            "Event: presence\r\nSIP-If-Match: a\r\nSIP-If-Match: b\r\nExpires: 1\r\n".into(),
            "",
            400,
            None,
        ),
        (
            "a tag of nobody",
            "sip:alice@example.com",
            "Event: presence\r\nSIP-If-Match: nobodys\r\nExpires: 1\r\n".into(),
            "",
            412,
            None,
        ),
        (
            "a tag that could be ours, too brief",
            "sip:alice@example.com",
            "Event: presence\r\nSIP-If-Match: 00000000-1-0\r\nExpires: 1\r\n".into(),
            "",
            412,
            None,
        ),
        (
            "its tag, too brief",
            "sip:alice@example.com",
            format!("Event: presence\r\nSIP-If-Match: {tag}\r\nExpires: 1\r\n"),
            "",
            423,
            Some((Name::MinExpires, "60")),
        ),
        (
            "too brief, wrong type",
            "sip:alice@example.com",
            "Event: presence\r\nExpires: 1\r\nContent-Type: text/plain\r\n".into(),
            "x",
            423,
            None,
        ),
        (
            "wrong type",
            "sip:alice@example.com",
            "Event: presence\r\nContent-Type: application/xpidf+xml\r\n".into(),
            "x",
            415,
            Some((Name::Accept, "application/pidf+xml")),
        ),
        (
            "wrong coding",
            "sip:alice@example.com",
            format!("Event: presence\r\nContent-Encoding: br\r\n{pidf}"),
            "x",
            415,
            Some((Name::AcceptEncoding, "gzip, deflate, identity")),
        ),
        (
            "neither body nor tag",
            "sip:alice@example.com",
            "Event: presence\r\n".into(),
            "",
            400,
            None,
        ),
        (
            "a malformed body",
            "sip:alice@example.com",
            format!("Event: presence\r\n{pidf}"),
            "<presence>\n<",
            400,
            None,
        ),
        (
            "and well",
            "sip:alice@example.com",
            format!("Event: Presence\r\n{pidf}"),
            &good,
            200,
            None,
        ),
    ];
    for (name, uri, lines, body, status, header) in cases {
        let head = phone.head(
            "PUBLISH",
            uri,
            "sip:alice@example.com",
            "<sip:alice@example.com>",
            &format!("order-{}", fresh()),
            1,
        );
        let response = phone.ask(head, &lines, body);
        assert_eq!(response.status().number(), status, "{name}");
        if let Some((header, value)) = header {
            assert_eq!(response.header(header), Some(value), "{name}");
        }
        if name == "a malformed body" {
            assert!(
                response
                    .header(Name::Warning)
                    .is_some_and(|warning| warning.contains("line ")),
                "{name}"
            );
        }
    }
}

//= RFC 3261 10.3
//= type=test
//= RFC 3327 5.3
//= type=test
#[test]
fn contacts_are_bound_and_unbound() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    for (name, mut phone) in phones(&server) {
        let uri = format!("sip:reg-{name}@example.com");
        let call_id = format!("reg-{name}");
        let mut cseq = 0;
        let mut register = |phone: &mut Phone, lines: &str| {
            cseq += 1;
            let head = phone.head(
                "REGISTER",
                "sip:example.com",
                &uri,
                &format!("<{uri}>"),
                &call_id,
                cseq,
            );
            let from = head.find("Contact:").expect("a contact");
            phone.ask(head[..from].to_owned(), lines, "")
        };
        let contacts = |response: &transport::sip::Response| -> Vec<String> {
            response.headers(Name::Contact).map(str::to_owned).collect()
        };
        let one = "Contact: <sip:a@127.0.0.1:9>;q=0.5\r\nExpires: 300\r\nPath: <sip:proxy;lr>\r\nSupported: path\r\n";
        let bound = register(&mut phone, one);
        assert_eq!(
            (bound.status().number(), contacts(&bound)),
            (
                200,
                vec!["<sip:a@127.0.0.1:9>;expires=300;q=0.500".to_owned()]
            )
        );
        assert_eq!(bound.header(Name::Path), Some("<sip:proxy;lr>"));
        let second = "Contact: <sip:b@127.0.0.1:9>;+sip.instance=\"<urn:uuid:1>\";expires=120\r\n";
        assert_eq!(contacts(&register(&mut phone, second)).len(), 2);
        assert_eq!(
            contacts(&register(&mut phone, "")).len(),
            2,
            "a query changes nothing"
        );
        let brief = register(&mut phone, "Contact: <sip:c@127.0.0.1:9>;expires=5\r\n");
        assert_eq!(
            (brief.status().number(), brief.header(Name::MinExpires)),
            (423, Some("60"))
        );
        assert_eq!(
            contacts(&register(
                &mut phone,
                "Contact: <sip:a@127.0.0.1:9>;expires=0\r\n"
            ))
            .len(),
            1
        );
        assert_eq!(
            register(&mut phone, "Contact: *\r\nExpires: 60\r\n")
                .status()
                .number(),
            400
        );
        let none = register(&mut phone, "Contact: *\r\nExpires: 0\r\n");
        assert_eq!((none.status().number(), contacts(&none).len()), (200, 0));
    }
}

/// ADC-01, ADC-03, ADC-04, ADC-05, ADC-06, COM-02, COM-03, COM-07: the documents' own messages.
#[test]
fn gateways_and_soft_phones_get_what_their_documents_say() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::tcp(server.tcp);
    let message = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(name);
        std::fs::read_to_string(path).expect("a fixture")
    };
    phone.send(message("audiocodes-publish.sip").as_bytes());
    let first = phone.response();
    assert_eq!(
        (first.status().number(), first.header(Name::Expires)),
        (200, Some("600"))
    );
    let tag = first.header(Name::SipETag).expect("a tag").to_owned();
    let refresh = message("audiocodes-refresh.sip").replace("2545777538-1-1", &tag);
    phone.send(refresh.as_bytes());
    let second = phone.response();
    let newer = second.header(Name::SipETag).expect("a tag").to_owned();
    assert_eq!(
        (second.status().number(), second.header(Name::Expires)),
        (200, Some("600"))
    );
    assert_ne!(newer, tag, "a new tag at each refresh");
    let (_, seen) = server.get("/presentity/sip:john.doe@sfb.example");
    assert!(seen.contains("<rpid:on-the-phone/>"), "{seen}");
    phone.send(
        refresh
            .replace("CSeq: 2", "CSeq: 3")
            .replace("z9hG4bKac2", "z9hG4bKac3")
            .as_bytes(),
    );
    assert_eq!(
        phone.response().status().number(),
        412,
        "the old tag names nothing any more"
    );
    let remove = refresh
        .replace(&tag, &newer)
        .replace("Expires: 600", "Expires: 0")
        .replace("CSeq: 2", "CSeq: 4")
        .replace("z9hG4bKac2", "z9hG4bKac4");
    phone.send(remove.as_bytes());
    assert_eq!(phone.response().status().number(), 200);
    assert_eq!(
        server.get("/presentity/sip:john.doe@sfb.example").0,
        404,
        "nothing is kept"
    );

    phone.send(message("linphone-publish.sip").as_bytes());
    assert_eq!(phone.response().status().number(), 200);
    phone.send(message("linphone-subscribe.sip").as_bytes());
    assert_eq!(
        phone.response().status().number(),
        200,
        "Event: Presence, in capitals"
    );
    let (_, body) = told(&phone.notify(Some("uyyucrjijinwadl")));
    assert!(
        body.contains("pidfonline:online") && body.contains("sip:51234@10.0.0.27"),
        "{body}"
    );
}
