//! Watchers in MSRTC format (MS-PRES 2.2.2.9, 3.7.5.5), and which format a watcher gets.

use std::time::Duration;

use transport::sip::{Name, Request, Response, StatusCode};

use super::super::phone::{Phone, fresh};
use super::client::{Client, Dialog, shared, somebody, text};
use super::pidf::{present, set_state};
use super::tree;
use super::viewer::{FEDERATED, MSRTC, OFFERS, Viewer, activity};

const MEDIA: &str = "text/xml+msrtc.pidf";

/// The document that 2.2.2.9.2 prints, with these figures.
fn printed(user: &str, avail: u32, availability: u32, activity: u32, token: &str) -> String {
    let document = format!(
        "<presentity uri=\"{user}@contoso.com\" xmlns=\"http://schemas.microsoft.com/2002/09/sip/presence\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><availability aggregate=\"{availability}\"/>\
         <activity aggregate=\"{activity}\"/><displayName displayName=\"{user}\"/><email email=\"\"/>\
         <phoneNumber number=\"\"/><aggregate><states><state avail=\"{avail}\" xsi:type=\"userState\">{token}</state>\
         </states></aggregate></presentity>"
    );
    tree::canonical(&document, &[])
}

fn shown(body: &[u8]) -> String {
    tree::canonical(&text(body), &[])
}

fn cseq_of(response: &Response) -> Option<u32> {
    let value = response.other_headers("ms-piggyback-cseq").next()?;
    value.parse().ok()
}

//= MS-PRES 2.2.2.9.2
//= type=test
//# the 200 holds the document, told with its CSeq; a change is told in the dialog
//= MS-PRES 3.7.5.5
//= type=test
//# with ms-piggyback-first-notify in Supported the document is in the 200
// proves: PRES-1.3.3-03 PRES-2.2.2.9.1-01 PRES-2.2.2.9.2-01 PRES-2.2.2.9.2-02 PRES-2.2.2.9.2-03
// proves: PRES-2.2.2.9.2-04 PRES-3.7.1-01 PRES-3.7.5.2-01 PRES-3.7.5.2-03 PRES-3.7.5.5-01 PRES-3.7.5.5-02
// proves: PRES-3.7.5.5-03 PRES-3.7.5.5-04 PRES-3.7.5.5-05 PRES-3.7.5.5-08
#[test]
fn the_document_rides_in_the_answer() {
    let user = somebody("bob");
    let mut bob = present(shared(), &user);
    let alice = "sip:alice@fabrikam.com";
    let lines = format!("{FEDERATED}{MSRTC}{OFFERS}");
    let mut viewer = Viewer::new(shared(), alice, &bob.uri, &lines);
    let answer = viewer.subscribe(600);
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.header(Name::ContentType), Some(MEDIA));
    assert_eq!(answer.header(Name::Event), Some("presence"));
    assert_eq!(
        answer.header(Name::SubscriptionState),
        Some("active;expires=600")
    );
    assert_eq!(cseq_of(&answer), Some(1));
    let supported: Vec<&str> = answer.headers(Name::Supported).collect();
    assert!(
        supported.join(",").contains("ms-piggyback-first-notify"),
        "{supported:?}"
    );
    assert_eq!(
        shown(answer.body()),
        printed(&user, 3_500, 300, 400, "online")
    );
    assert!(viewer.is_left_alone(), "it is not told twice");

    set_state(&mut bob, 0, 6_500, "");
    let told = viewer.told();
    assert_eq!(told.method().as_str(), "BENOTIFY", "both offered it");
    assert_eq!(told.cseq(), 2, "the one in the 200 was 1");
    assert_eq!(told.header(Name::ContentType), Some(MEDIA));
    assert_eq!((told.from().uri, told.to().uri), (&*bob.uri, alice));
    assert_eq!(shown(told.body()), printed(&user, 6_500, 300, 600, "busy"));

    // A refresh is answered the same way, with the next number.
    let again = viewer.subscribe(600);
    assert_eq!(cseq_of(&again), Some(3));
    assert_eq!(shown(again.body()), printed(&user, 6_500, 300, 600, "busy"));
    assert!(viewer.is_left_alone());

    let end = viewer.subscribe(0);
    assert_eq!(end.status(), StatusCode::OK);
    assert!(end.body().is_empty());
}

//= MS-PRES 3.7.5.5
//= type=test
//# without ms-piggyback-first-notify a NOTIFY follows
// proves: PRES-3.7.5.5-01
#[test]
fn without_the_offer_a_notify_follows() {
    let user = somebody("bob");
    let bob = present(shared(), &user);
    let carol = format!("sip:{}@contoso.com", somebody("carol"));
    let told_by = |lines: &str| -> (Response, Request) {
        let mut viewer = Viewer::new(shared(), &carol, &bob.uri, &format!("{MSRTC}{lines}"));
        let answer = viewer.subscribe(600);
        let told = viewer.told();
        (answer, told)
    };
    for (lines, method, supported) in [
        ("", "NOTIFY", None),
        // What rides in the 200 and how changes are told are two things.
        (
            "Supported: ms-benotify\r\nProxy-Require: ms-benotify\r\n",
            "BENOTIFY",
            Some("ms-benotify"),
        ),
        ("Supported: ms-benotify\r\n", "NOTIFY", None),
    ] {
        let (answer, told) = told_by(lines);
        assert_eq!(answer.status(), StatusCode::OK, "{lines}");
        assert!(
            answer.body().is_empty() && cseq_of(&answer).is_none(),
            "{lines}"
        );
        assert_eq!(answer.header(Name::Supported), supported, "{lines}");
        assert_eq!(told.method().as_str(), method, "{lines}");
        assert_eq!(told.header(Name::ContentType), Some(MEDIA));
        assert_eq!(
            shown(told.body()),
            printed(&user, 3_500, 300, 400, "online")
        );
    }
}

//= MS-PRES 3.7.5.2
//= type=test
//# made of legacyInterop of the container that the watcher resolves to
//= MS-PRES 3.7.5.5
//= type=test
//# figures by availability, the text is the token
// proves: PRES-3.7.5.2-02 PRES-3.7.5.2-03 PRES-3.7.5.5-07 PRES-3.7.5.5-10 PRES-3.7.5.5-12
// proves: PRES-3.7.5.5-14 PRES-3.7.5.5-15 PRES-3.7.5.5-16 PRES-3.7.5.5-17
#[test]
fn each_watcher_is_told_the_figures_of_its_container() {
    let user = somebody("bob");
    let mut bob = present(shared(), &user);
    let public = format!("{}@contoso.com", somebody("carol"));
    let members = format!(
        "<container id=\"100\" version=\"1\"><member action=\"add\" type=\"user\" value=\"{public}\"/></container>"
    );
    assert_eq!(bob.set_members(&members).status(), StatusCode::OK);
    let lines = format!("{MSRTC}{OFFERS}");
    let public = format!("sip:{public}");
    let mut outside = Viewer::watching(shared(), &public, &bob.uri, &lines);
    let dave = format!("sip:{}@contoso.com", somebody("dave"));
    let mut inside = Viewer::watching(shared(), &dave, &bob.uri, &lines);
    for (version, (availability, token, figures, name)) in (0..).zip([
        (6_500, "on-the-phone", (6_500, 300, 500), "busy"),
        (6_500, "in-a-meeting", (6_500, 300, 600), "busy"),
        (
            9_500,
            "urgent-interruptions-only",
            (9_500, 300, 600),
            "do-not-disturb",
        ),
        (12_500, "be-right-back", (12_500, 300, 300), "be-right-back"),
        (15_500, "", (15_500, 300, 100), "away"),
        (18_500, "", (18_500, 0, 100), "offline"),
        (3_500, "", (3_500, 300, 400), "online"),
    ]) {
        let more = if token.is_empty() {
            String::new()
        } else {
            activity(token)
        };
        set_state(&mut bob, version, availability, &more);
        let (avail, aggregate, doing) = figures;
        let token = if token.is_empty() { name } else { token };
        assert_eq!(
            shown(inside.told().body()),
            printed(&user, avail, aggregate, doing, token),
            "{availability} {token}"
        );
        // Container 100 has no token, so nobody there is on the phone.
        let last = outside.phone.drain(Duration::from_millis(100));
        if let Some(told) = last.last() {
            let doing = if doing == 500 { 600 } else { doing };
            let expected = printed(&user, avail, aggregate, doing, name);
            assert_eq!(shown(told.body()), expected, "{availability} outside");
        } else {
            assert_eq!(
                (availability, token),
                (6_500, "in-a-meeting"),
                "nothing new there"
            );
        }
    }
}

//= MS-PRES 3.7.5.3
//= type=test
//# a watcher in MSRTC enters the subscriber list and stays
// proves: PRES-3.7.5.3-01 PRES-3.7.5.3-02 PRES-3.7.5.3-03
#[test]
fn a_watcher_in_msrtc_enters_the_subscriber_list_and_stays() {
    let mut bob = present(shared(), &somebody("bob"));
    let (own, _) = bob.watch_self(&["subscribers"]);
    let lines = format!("{FEDERATED}{MSRTC}{OFFERS}");
    let alice = format!("{}@fabrikam.com", somebody("alice"));
    let mut viewer = Viewer::new(shared(), &format!("sip:{alice}"), &bob.uri, &lines);
    viewer.display_name = "\"Alice\" ".to_owned();
    assert_eq!(viewer.subscribe(600).status(), StatusCode::OK);
    let entry = |body: &[u8]| {
        let of = |name: &str| tree::attributes(&text(body), "subscriber", name);
        [
            of("user"),
            of("displayName"),
            of("acknowledged"),
            of("type"),
        ]
        .concat()
    };
    let expected = |flag: &'static str| [alice.as_str(), "Alice", flag, "federated"];
    assert_eq!(entry(bob.told(&own).body()), expected("false"));
    let seen = bob.service(
        "application/msrtc-presence-setsubscriber+xml",
        &format!(
            "<setSubscribers xmlns=\"http://schemas.microsoft.com/2006/09/sip/presence-subscribers\">\
             <subscriber user=\"sip:{alice}\" acknowledged=\"true\"/></setSubscribers>"
        ),
    );
    assert_eq!(seen.status(), StatusCode::OK);
    assert_eq!(entry(bob.told(&own).body()), expected("true"));
    // It subscribes again, and nothing is asked again.
    assert_eq!(viewer.subscribe(600).status(), StatusCode::OK);
    assert!(bob.rest(&own).is_empty());
}

//= MS-PRES 3.4.5.1.2
//= type=test
//# a poll is answered in the 200 and leaves nothing behind
#[test]
fn a_poll_is_answered_at_once() {
    let user = somebody("bob");
    let mut bob = present(shared(), &user);
    let carol = format!("sip:{}@contoso.com", somebody("carol"));
    let mut viewer = Viewer::new(shared(), &carol, &bob.uri, &format!("{MSRTC}{OFFERS}"));
    let answer = viewer.subscribe(0);
    assert_eq!(answer.header(Name::Expires), Some("0"));
    assert_eq!(
        answer.header(Name::SubscriptionState),
        Some("terminated;expires=0")
    );
    assert_eq!(
        shown(answer.body()),
        printed(&user, 3_500, 300, 400, "online")
    );
    set_state(&mut bob, 0, 6_500, "");
    assert!(viewer.is_left_alone());
}

//= MS-PRES 1.3.3
//= type=test
//# enhanced presence before MSRTC before PIDF, in whatever order Accept has them
// proves: PRES-1.3.3-01
#[test]
fn the_format_is_the_best_that_accept_holds() {
    const ENHANCED: &str = "application/msrtc-event-categories+xml";
    const PIDF: &str = "application/pidf+xml";
    let bob = present(shared(), &somebody("bob"));
    let mut carol = Client::sign_in(shared(), &somebody("carol"));
    let batch = super::client::batch(&carol.uri, "subscribe", &[&bob.uri], &["state"]);
    let mut asks = |accept: &[&str], body: &str| {
        let lines = format!(
            "Accept: {}, application/rlmi+xml, multipart/related\r\n",
            accept.join(", ")
        );
        let mut dialog = Dialog::new("presence", &bob.uri);
        let media = "application/msrtc-adrl-categorylist+xml";
        let answer = carol.subscribe(&mut dialog, Some(600), &lines, media, body);
        assert_eq!(answer.status(), StatusCode::OK, "{accept:?}");
        let told = carol.told(&dialog);
        told.header(Name::ContentType)
            .unwrap_or_default()
            .to_owned()
    };
    for accept in [
        [ENHANCED, MEDIA, PIDF],
        [ENHANCED, PIDF, MEDIA],
        [MEDIA, ENHANCED, PIDF],
        [MEDIA, PIDF, ENHANCED],
        [PIDF, ENHANCED, MEDIA],
        [PIDF, MEDIA, ENHANCED],
    ] {
        assert_eq!(asks(&accept, &batch), ENHANCED, "{accept:?}");
        let older: Vec<&str> = accept
            .into_iter()
            .filter(|media| *media != ENHANCED)
            .collect();
        assert_eq!(asks(&older, ""), MEDIA, "{older:?}");
    }
    assert_eq!(asks(&[PIDF], ""), PIDF);
}

//= MS-PRES 2.2.2.9
//= type=test
//# publication in MSRTC is not supported; who should know gets no response (contradiction C-01)
// proves: PRES-2.2.2.9-01
#[test]
fn a_publication_in_msrtc_is_never_taken() {
    let bob = present(shared(), &somebody("bob"));
    let body = "<presentity uri=\"bob@contoso.com\" xmlns=\"http://schemas.microsoft.com/2002/09/sip/presence\"/>";
    let mut phone = Phone::tcp(shared().tcp);
    let to = format!("<{}>", bob.uri);
    let lines = format!("Event: presence\r\nContent-Type: {MEDIA}\r\n");
    let head = phone.head(
        "PUBLISH",
        &bob.uri,
        &bob.uri,
        &to,
        &format!("m{}", fresh()),
        1,
    );
    let answer = phone.ask(head, &lines, body);
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let head = phone.head(
        "PUBLISH",
        &bob.uri,
        &bob.uri,
        &to,
        &format!("m{}", fresh()),
        1,
    );
    let length = body.len();
    let message =
        format!("{head}User-Agent: LCC/1.3\r\n{lines}Content-Length: {length}\r\n\r\n{body}");
    phone.send(message.as_bytes());
    assert!(phone.receive(Duration::from_millis(300)).is_none());
    let (_, presentity) = shared().get(&format!("/presentity/{}", bob.uri));
    assert!(presentity.contains("\"publications\":[]"), "{presentity}");
}
