//! Registration as Microsoft's clients do it (MS-SIPREGE, MS-SIPRE, MS-CONMGMT).

use std::time::{Duration, Instant};

use transport::sip::{Name, Response, StatusCode};

use super::super::phone::{Phone, fresh};
use super::super::server::{PATIENCE, Server};
use super::client::{Client, diagnostic, note, publication, shared, somebody, text};

/// epid, the UUID that follows from it, and what the GRUU's `opaque` holds: of published messages.
const VECTORS: [(&str, &str, &str); 11] = [
    (
        "01010101",
        "4b1682a8-f968-5701-83fc-7c6741dc6697",
        "qIIWS2j5AVeD_HxnQdxmlwAA",
    ),
    (
        "c8ca638a15",
        "34d859db-6585-5f91-a3b4-de853c15347d",
        "21nYNIVlkV-jtN6FPBU0fQAA",
    ),
    (
        "a0ae9e6cb0",
        "c1589240-e660-594f-a8b3-4b55f358cbc1",
        "QJJYwWDmT1mos0tV81jLwQAA",
    ),
    (
        "84d3db8c23",
        "221ef77e-3a68-5570-86ed-6ea5bd4b7ff8",
        "fvceImg6cFWG7W6lvUt_-AAA",
    ),
    (
        "0199305c6d",
        "139b8613-5148-50e5-9dbe-119c03bb212d",
        "E4abE0hR5VCdvhGcA7shLQAA",
    ),
    (
        "2be779d608",
        "bd2807c7-8590-530e-b54c-93c749f2e470",
        "xwcovZCFDlO1TJPHSfLkcAAA",
    ),
    (
        "3b09add8bc",
        "b7d9fc43-19d7-5311-9e00-c6c5b1d81bfb",
        "Q_zZt9cZEVOeAMbFsdgb-wAA",
    ),
    (
        "ffad8b59dc",
        "a8f9a3a8-ee61-56d7-b306-c67b08fb28d8",
        "qKP5qGHu11azBsZ7CPso2AAA",
    ),
    (
        "5e434f57d3",
        "3e778162-2304-565c-8477-1a5f1257eeb7",
        "YoF3PgQjXFaEdxpfElfutwAA",
    ),
    (
        "0b85fd1bd6",
        "74e130b4-9f0c-5ab0-bfac-65ef9716522d",
        "tDDhdAyfsFq_rGXvlxZSLQAA",
    ),
    (
        "c05eb044ab",
        "c810d67d-1de7-5a67-adfd-80056c572aa3",
        "fdYQyOcdZ1qt_YAFbFcqowAA",
    ),
];

/// A REGISTER by hand: what stands in From behind the tag, and the line of Contact's parameters.
struct Asked<'a> {
    user: &'a str,
    epid: &'a str,
    instance: &'a str,
    lines: &'a str,
}

const OFFERS: &str = "Supported: gruu-10, adhoclist, msrtc-event-categories\r\n";

impl Asked<'_> {
    fn ask(&self, phone: &mut Phone) -> Response {
        let Asked { user, lines, .. } = *self;
        let epid = if self.epid.is_empty() {
            String::new()
        } else {
            format!(";epid={}", self.epid)
        };
        let instance = if self.instance.is_empty() {
            String::new()
        } else {
            format!(";+sip.instance=\"<urn:uuid:{}>\"", self.instance)
        };
        let (local, number) = (phone.local, fresh());
        // No branch, as these clients have it.
        let head = format!(
            "REGISTER sip:contoso.com SIP/2.0\r\nVia: SIP/2.0/TCP {local}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@contoso.com>;tag=r{number}{epid}\r\nTo: <sip:{user}@contoso.com>\r\n\
             Call-ID: hand-{number}\r\nCSeq: {number} REGISTER\r\n\
             Contact: <sip:192.0.2.6:12723;transport=tcp;ms-opaque=fad3dfab32>;proxy=replace{instance}\r\n"
        );
        phone.ask(head, lines, "")
    }
}

/// The one Contact of an answer, or that with this instance.
fn contact(answer: &Response, instance: &str) -> String {
    let mut contacts = answer.headers(Name::Contact);
    let found = contacts.find(|contact| contact.contains(instance));
    found
        .unwrap_or_else(|| panic!("no {instance} in the answer"))
        .to_owned()
}

//= MS-SIPRE 2.2.5
//= type=test
//# the UUID and the GRUU of an endpoint follow from its epid
//= MS-SIPREGE 4.1
//= type=test
//# the answer has instance in lower case and GRUU, however the endpoint named itself
#[test]
fn an_endpoint_is_given_its_instance_and_its_gruu() {
    for (epid, uuid, opaque) in VECTORS {
        let upper = uuid.to_uppercase();
        for (epid, instance) in [(epid, ""), (epid, &*upper), ("", &*upper)] {
            let user = somebody("bob");
            let asked = Asked {
                user: &user,
                epid,
                instance,
                lines: OFFERS,
            };
            let answer = asked.ask(&mut Phone::tcp(shared().tcp));
            assert_eq!(answer.status(), StatusCode::OK, "{epid} {instance}");
            let contact = contact(&answer, "");
            for part in [
                format!("+sip.instance=\"<urn:uuid:{uuid}>\""),
                format!("gruu=\"sip:{user}@contoso.com;opaque=user:epid:{opaque};gruu\""),
            ] {
                assert!(contact.contains(&part), "{part} in {contact}");
            }
        }
    }
}

//= MS-SIPREGE 4.1
//= type=test
//# Expires, presence-state, Allow-Events without blanks, one option tag to a line
//= MS-SIP 3.1.5.3
//= type=test
//# the contact's address is replaced by the real one; what the client added stays
//= MS-CONMGMT 2.2.1
//= type=test
//# who offers keep-alive is told how long it may be silent
#[test]
fn the_answer_has_what_these_clients_look_for() {
    let user = somebody("bob");
    let mut phone = Phone::tcp(shared().tcp);
    let lines = format!(
        "{OFFERS}ms-keep-alive: UAC;hop-hop=yes\r\nEvent: registration\r\nExpires: 700\r\n"
    );
    let asked = Asked {
        user: &user,
        epid: "c8ca638a15",
        instance: "",
        lines: &lines,
    };
    let answer = asked.ask(&mut phone);
    assert_eq!(answer.status(), StatusCode::OK);
    let contact = contact(&answer, "");
    let begin = format!(
        "<sip:{};transport=tcp;ms-opaque=fad3dfab32;ms-received-cid=",
        phone.local
    );
    assert!(contact.starts_with(&begin), "{contact}");
    assert!(contact.contains(";expires=700"), "{contact}");
    assert_eq!(answer.header(Name::Expires), Some("700"));
    let lines: Vec<&str> = answer.headers(Name::Supported).collect();
    assert_eq!(
        lines,
        ["adhoclist", "msrtc-event-categories"],
        "a tag to a line"
    );
    let one = |name: &str| answer.other_headers(name).next().map(str::to_owned);
    assert_eq!(
        one("presence-state").as_deref(),
        Some("register-action=\"added\"")
    );
    let keep_alive = answer.header(Name::MsKeepAlive).map(str::to_owned);
    assert_eq!(
        keep_alive.as_deref(),
        Some("UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300")
    );
    let events = answer.header(Name::AllowEvents).unwrap_or_default();
    assert!(!events.contains(' '), "{events}");
    for event in [
        "presence",
        "vnd-microsoft-roaming-self",
        "vnd-microsoft-roaming-contacts",
        "vnd-microsoft-provisioning-v2",
    ] {
        assert!(events.split(',').any(|known| known == event), "{event}");
    }
    // CRLF CRLF keeps the connection; nothing answers it (contradiction C-68).
    phone.send(b"\r\n\r\n");
    assert!(phone.receive(Duration::from_millis(200)).is_none());
    // Who does not offer it is not told.
    let plain = Asked {
        lines: OFFERS,
        ..asked
    };
    let answer = plain.ask(&mut Phone::tcp(shared().tcp));
    assert!(answer.header(Name::MsKeepAlive).is_none());
}

//= MS-SIPREGE 3.1.1.5.1
//= type=test
//# added, refreshed, and added again when it had ended
#[test]
fn the_answer_says_what_became_of_the_registration() {
    let (mut bob, first) = Client::register(shared(), &somebody("bob"), "");
    let action = |answer: &Response| {
        assert_eq!(answer.status(), StatusCode::OK);
        answer
            .other_headers("presence-state")
            .next()
            .map(str::to_owned)
    };
    let said = |what: &str| Some(format!("register-action=\"{what}\""));
    assert_eq!(action(&first), said("added"));
    assert_eq!(action(&bob.renew(600, "")), said("refreshed"));
    let over = bob.renew(0, "");
    assert_eq!(action(&over), None, "an end is no registration");
    assert_eq!(over.headers(Name::Contact).count(), 0);
    assert_eq!(action(&bob.renew(600, "")), said("added"));
}

//= MS-SIPREGE 3.1.2.5.1
//= type=test
//# 400 without an endpoint, 489 for another event, 421 without gruu-10
#[test]
fn what_is_no_registration_is_refused_with_its_diagnosis() {
    let user = somebody("bob");
    let no_gruu = "Supported: adhoclist, msrtc-event-categories\r\n";
    let event = format!("{OFFERS}Event: presence\r\n");
    for (name, epid, lines, status, code, header) in [
        ("no endpoint", "", OFFERS, 400, 4_010, None),
        (
            "another event",
            "01010101",
            &*event,
            489,
            4_055,
            Some((Name::AllowEvents, "registration")),
        ),
        (
            "no GRUU",
            "01010101",
            no_gruu,
            421,
            2_057,
            Some((Name::Require, "gruu-10")),
        ),
    ] {
        let asked = Asked {
            user: &user,
            epid,
            instance: "",
            lines,
        };
        let answer = asked.ask(&mut Phone::tcp(shared().tcp));
        assert_eq!(answer.status().number(), status, "{name}");
        assert_eq!(diagnostic(&answer), Some(code), "{name}");
        if let Some((header, value)) = header {
            assert_eq!(answer.header(header), Some(value), "{name}");
        }
    }
    let mut phone = Phone::tcp(shared().tcp);
    let head = phone.head(
        "REGISTER",
        "sip:fabrikam.com",
        "sip:x@fabrikam.com",
        "<sip:x@fabrikam.com>",
        &format!("r{}", fresh()),
        1,
    );
    let answer = phone.ask(head, OFFERS, "");
    assert_eq!(answer.status().number(), 404, "another domain");
    // A plain telephone needs none of it, and gets none of it.
    let uri = format!("sip:{user}@contoso.com");
    let head = phone.head(
        "REGISTER",
        "sip:contoso.com",
        &uri,
        &format!("<{uri}>"),
        &format!("r{}", fresh()),
        1,
    );
    let answer = phone.ask(head, "Expires: 600\r\n", "");
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.other_headers("presence-state").next().is_none());
    assert!(!contact(&answer, "").contains("gruu"));
}

//= MS-SIPREGE 3.1.2.5.1
//= type=test
//# endpoints of one user stand side by side, each with its GRUU; the same pair updates its binding
#[test]
fn a_user_has_several_endpoints() {
    let user = somebody("bob");
    let mut phones = [Phone::tcp(shared().tcp), Phone::tcp(shared().tcp)];
    let ask = |phone: &mut Phone, place: usize| {
        let (epid, _, _) = VECTORS[place];
        let asked = Asked {
            user: &user,
            epid,
            instance: "",
            lines: OFFERS,
        };
        asked.ask(phone)
    };
    ask(&mut phones[0], 0);
    let both = ask(&mut phones[1], 1);
    assert_eq!(both.headers(Name::Contact).count(), 2);
    for (phone, (_, uuid, opaque)) in phones.iter().zip(VECTORS) {
        let contact = contact(&both, uuid);
        assert!(contact.contains(&phone.local.to_string()), "{contact}");
        assert!(contact.contains(opaque), "{contact}");
    }
    // The first endpoint comes back by another connection: its binding moves.
    let mut other = Phone::tcp(shared().tcp);
    let moved = ask(&mut other, 0);
    assert_eq!(moved.headers(Name::Contact).count(), 2);
    let contact = contact(&moved, VECTORS[0].1);
    assert!(contact.contains(&other.local.to_string()), "{contact}");
    assert_eq!(
        moved.other_headers("presence-state").next(),
        Some("register-action=\"refreshed\"")
    );
}

//= MS-PRES 3.2.5.5
//= type=test
//# with the registration end the endpoint's dialogs and what was bound to it; others keep theirs
#[test]
fn an_endpoint_leaves_alone() {
    let user = somebody("bob");
    let mut desk = Client::sign_in(shared(), &user);
    let mut mobile = Client::sign_in(shared(), &user);
    for (client, text, number) in [
        (&mut desk, "at the desk", 1),
        (&mut mobile, "on the way", 2),
    ] {
        let note = publication(
            "note",
            number,
            400,
            0,
            "expireType=\"endpoint\"",
            &note(text),
        );
        assert_eq!(client.publish(&note).status(), StatusCode::OK);
    }
    let (own, _) = desk.watch_self(&["categories"]);
    let (theirs, first) = mobile.watch_self(&["categories"]);
    assert!(text(first.body()).contains("at the desk"));
    assert_eq!(desk.renew(0, "").status(), StatusCode::OK);
    let told = text(mobile.told(&theirs).body());
    assert!(
        told.contains("on the way") && !told.contains("at the desk"),
        "{told}"
    );
    // The dialog of the one that left is gone with it.
    let mut own = own;
    let answer = desk.scope(&mut own, &["categories"]);
    assert_eq!(answer.status().number(), 481);
    let publish = publication("note", 1, 400, 0, "expireType=\"endpoint\"", &note("back"));
    assert_eq!(
        desk.publish(&publish).status().number(),
        488,
        "not registered"
    );
    assert_eq!(mobile.publish(&publish).status(), StatusCode::OK);
}

//= MS-SIPREGE 3.2.2.5
//= type=test
//# a connection that is gone ends its endpoint after a while, as if it had expired
#[test]
fn an_endpoint_ends_with_its_connection() {
    let user = somebody("bob");
    let desk = Client::sign_in(shared(), &user);
    let mut mobile = Client::sign_in(shared(), &user);
    let (desk_uuid, uri) = (desk.epid.clone(), desk.uri.clone());
    let holds = |server: &Server| {
        let (_, presentity) = server.get(&format!("/presentity/{uri}"));
        presentity.matches("ms-received-cid").count()
    };
    assert_eq!(holds(shared()), 2, "{desk_uuid} and another");
    drop(desk);
    let until = Instant::now() + PATIENCE;
    while holds(shared()) > 1 {
        assert!(Instant::now() < until, "the endpoint stays");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(mobile.renew(600, "").headers(Name::Contact).count(), 1);
}
