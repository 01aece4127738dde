//! Subscription to one's own data (MS-PRES 2.2.2.3, 3.3).

use transport::sip::{Name, Request, Response};

use super::batch::{granted, together};
use super::client::{
    Client, Dialog, SELF_LINES, batch, note, publication, roaming_list, shared, somebody, text,
};
use super::{schema, tree};

const TYPE: &str = "application/vnd-microsoft-roaming-self+xml";
const PARTS: [&str; 4] = ["categories", "containers", "subscribers", "delegates"];
const DELEGATES: &str = "application/msrtc-setDelegate+xml";

fn signed_in(name: &str) -> Client {
    Client::sign_in(together(), &somebody(name))
}

/// The parts of a roaming-self document, in its order.
fn parts_of(document: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(document).expect("XML");
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "roamingData");
    let children = root.children().filter(|child| child.is_element());
    children
        .map(|child| child.tag_name().name().to_owned())
        .collect()
}

/// What is told next, as it must be: the document.
fn told(client: &mut Client, dialog: &Dialog) -> String {
    let told = client.told(dialog);
    let other = |name: &str| told.other_headers(name).next().map(str::to_owned);
    assert_eq!(told.method().as_str(), "BENOTIFY");
    assert_eq!(told.header(Name::ContentType), Some(TYPE));
    assert_eq!(told.header(Name::Event), Some("vnd-microsoft-roaming-self"));
    assert_eq!(told.header(Name::Require), Some("eventlist"));
    let state = told.header(Name::SubscriptionState).map(str::to_owned);
    let state = state.or_else(|| other("Subscription-State"));
    assert!(state.expect("a state").starts_with("active;expires="));
    let body = text(told.body());
    schema::assert_valid(std::slice::from_ref(&body));
    body
}

fn add_delegate(client: &mut Client, version: u32) -> Response {
    let body = format!(
        "<setDelegates xmlns=\"http://schemas.microsoft.com/2007/09/sip/delegate-management\" version=\"{version}\">\
         <delegate uri=\"sip:john@contoso.com\" action=\"add\"><publishOperation authorization=\"deny\"/>\
         <redelegateOperation authorization=\"deny\"/></delegate></setDelegates>"
    );
    client.service(DELEGATES, &body)
}

/// `watcher` watches `client` and wants it known.
fn introduce(watcher: &mut Client, client: &Client) -> (Dialog, Response) {
    let body = batch(&watcher.uri, "subscribe", &[&client.uri], &["note"]).replace(
        &format!("uri=\"{}\"/>", client.uri),
        &format!("uri=\"{}\"><context/></resource>", client.uri),
    );
    let mut dialog = Dialog::new("presence", &watcher.uri);
    let answer = watcher.change_batch(&mut dialog, &body);
    (dialog, granted(answer))
}

fn static_note(container: u16, version: u32, say: &str) -> String {
    publication(
        "note",
        0,
        container.into(),
        version,
        "expireType=\"static\"",
        &note(say),
    )
}

//= MS-PRES 2.2.2.3.2
//= type=test
//= MS-PRES 3.3.5.1
//= type=test
//= MS-PRES 1.3.1.5
//= type=test
//# the 200 has all of the four kinds, valid and in the schema's order, and the headers of a piggybacked one
// proves: PRES-2.2.2.3.2-01 PRES-2.2.2.3.2-02 PRES-2.2.2.3.2-03 PRES-3.3.5.1-07 PRES-1.3.1.5-01
// proves: PRES-1.3.1.5-02 PRES-1.3.1.5-06 PRES-1.3.1.2-02
#[test]
fn the_answer_holds_all_there_is() {
    let (mut bob, mut alice) = (signed_in("bob"), signed_in("alice"));
    let containers = [0, 100, 200, 300, 400, 32_000];
    let notes: String = containers
        .iter()
        // The server has made an empty one for the blocked.
        .map(|c| static_note(*c, u32::from(*c == 32_000), "here"))
        .collect();
    granted(bob.publish(&notes));
    granted(bob.set_members(
        "<container id=\"300\" version=\"0\"><member action=\"add\" type=\"user\" value=\"alice@contoso.com\"/></container>",
    ));
    granted(add_delegate(&mut bob, 0));
    let _watch = introduce(&mut alice, &bob);
    let (_, answer) = bob.watch_self(&PARTS);
    let answer = granted(answer);
    let other = |name: &str| answer.other_headers(name).next().map(str::to_owned);
    assert_eq!(answer.header(Name::ContentType), Some(TYPE));
    assert_eq!(
        answer.header(Name::Event),
        Some("vnd-microsoft-roaming-self")
    );
    assert_eq!(answer.header(Name::Expires), Some("3600"));
    assert_eq!(answer.header(Name::Require), Some("eventlist"));
    assert_eq!(other("ms-piggyback-cseq").as_deref(), Some("1"));
    let head = answer
        .lines()
        .map(|(name, value)| format!("{name}: {value}"));
    let head: Vec<String> = head.collect();
    assert!(
        head.iter()
            .any(|line| line == "subscription-state: active;expires=3600"),
        "{head:?}"
    );
    //= MS-SIP 3.6
    //= type=test
    //# auto-extension is declined by not being named
    assert!(
        head.iter()
            .any(|line| line == "Supported: ms-benotify, ms-piggyback-first-notify"),
        "{head:?}"
    );
    assert!(
        !head.iter().any(|line| line.contains("autoextend")),
        "{head:?}"
    );
    let body = text(answer.body());
    schema::assert_valid(std::slice::from_ref(&body));
    assert_eq!(parts_of(&body), PARTS);
    let notes = tree::elements(&body, "category", &["publishTime"]);
    let notes = notes.iter().filter(|one| one.contains("name=\"note\""));
    assert_eq!(notes.count(), containers.len());
    let ids = tree::attributes(&body, "container", "id");
    assert_eq!(
        ids,
        ["32000", "400", "300", "200", "100", "3", "2", "1", "0"]
    );
    assert!(!tree::elements(&body, "legacyInterop", &[]).is_empty());
    assert_eq!(tree::elements(&body, "subscriber", &[]).len(), 1);
    assert_eq!(
        tree::attributes(&body, "delegate", "uri"),
        ["john@contoso.com"]
    );
    assert_eq!(tree::attributes(&body, "delegates", "version"), ["1"]);
    // Nothing is told besides.
    let (dialog, _) = bob.watch_self(&["categories"]);
    assert_eq!(bob.rest(&dialog).len(), 0);
}

//= MS-PRES 3.3.5.1
//= type=test
//# each combination of kinds; a later SUBSCRIBE replaces the scope, and is answered with all of it
// proves: PRES-3.3.5.1-01 PRES-3.3.5.1-02 PRES-3.3.5.1-04 PRES-3.3.5.2-01
#[test]
fn a_later_request_replaces_the_scope() {
    let mut bob = signed_in("bob");
    granted(bob.publish(&static_note(400, 0, "first")));
    let mut dialog = Dialog::new("vnd-microsoft-roaming-self", &bob.uri);
    for wanted in 1..16_u8 {
        let kinds: Vec<&str> = (0..4)
            .filter(|bit| wanted >> bit & 1 == 1)
            .map(|bit| PARTS[bit])
            .collect();
        for time in ["new", "again"] {
            let body = text(granted(bob.scope(&mut dialog, &kinds)).body());
            assert_eq!(parts_of(&body), kinds, "{time}");
            assert_eq!(
                body.contains("first"),
                kinds.contains(&"categories"),
                "{time}"
            );
        }
    }
    granted(bob.scope(&mut dialog, &["categories"]));
    granted(bob.scope(&mut dialog, &["subscribers", "delegates"]));
    granted(bob.publish(&static_note(400, 1, "second")));
    granted(bob.set_members(
        "<container id=\"300\" version=\"0\"><member action=\"add\" type=\"everyone\"/></container>",
    ));
    granted(add_delegate(&mut bob, 0));
    assert_eq!(parts_of(&told(&mut bob, &dialog)), ["delegates"]);
    assert_eq!(bob.rest(&dialog).len(), 0, "nothing outside the scope");
}

//= MS-PRES 2.2.2.3.3
//= type=test
//= MS-PRES 3.3.5.2
//= type=test
//= MS-PRES 1.3.1.5
//= type=test
//# a change is told to the one who made it too, with the part of its kind and nothing else
// proves: PRES-2.2.2.3.3-01 PRES-2.2.2.3.3-02 PRES-2.2.2.3.3-03 PRES-2.2.2.3.3-04 PRES-2.2.2.3.3-05
// proves: PRES-2.2.2.3.3-06 PRES-1.3.1.5-03 PRES-1.3.1.5-04 PRES-1.3.1.5-05 PRES-1.3.1.5-07
#[test]
fn each_kind_of_change_is_told_by_its_part() {
    let (mut bob, mut alice) = (signed_in("bob"), signed_in("alice"));
    let (dialog, _) = bob.watch_self(&PARTS);
    let second = publication("note", 7, 400, 0, "expireType=\"static\"", &note("second"));
    granted(bob.publish(&static_note(400, 0, "first")));
    told(&mut bob, &dialog);
    granted(bob.publish(&second));
    let body = told(&mut bob, &dialog);
    assert_eq!(parts_of(&body), ["categories"]);
    assert!(body.contains("first") && body.contains("second"), "{body}");
    // The category is told whole (contradiction C-67): with the empty one of the blocked, which the server made.
    let mut places = tree::attributes(&body, "category", "container");
    places.sort();
    assert_eq!(places, ["32000", "400", "400"]);
    for gone in [0, 7] {
        let end = format!(
            "<publication categoryName=\"note\" instance=\"{gone}\" container=\"400\" version=\"1\" expireType=\"static\" expires=\"0\"/>"
        );
        granted(bob.publish(&end));
    }
    assert!(told(&mut bob, &dialog).contains("second"));
    let body = told(&mut bob, &dialog);
    let mut left = tree::elements(&body, "category", &["publishTime"]);
    left.retain(|category| !category.contains("container=\"32000\""));
    assert_eq!(left.len(), 1, "{body}");
    assert!(left[0].contains("container=\"400\"") && left[0].contains("name=\"note\""));
    assert!(tree::elements(&body, "note", &[]).is_empty());

    granted(bob.set_members(
        "<container id=\"100\" version=\"0\"><member action=\"add\" type=\"federated\"/></container>\
         <container id=\"200\" version=\"0\"><member action=\"add\" type=\"sameEnterprise\"/>\
         <member action=\"add\" type=\"publicCloud\"/></container>",
    ));
    let body = told(&mut bob, &dialog);
    assert_eq!(parts_of(&body), ["containers"]);
    assert_eq!(tree::attributes(&body, "container", "id"), ["200", "100"]);
    assert_eq!(tree::attributes(&body, "container", "version"), ["1", "1"]);
    assert_eq!(tree::elements(&body, "member", &[]).len(), 3);

    let _watch = introduce(&mut alice, &bob);
    let body = told(&mut bob, &dialog);
    assert_eq!(parts_of(&body), ["subscribers"]);
    let user = alice.uri.trim_start_matches("sip:");
    assert_eq!(tree::attributes(&body, "subscriber", "user"), [user]);
    let seen = format!(
        "<setSubscribers xmlns=\"http://schemas.microsoft.com/2006/09/sip/presence-subscribers\">\
         <subscriber user=\"{user}\" acknowledged=\"true\"/></setSubscribers>"
    );
    granted(bob.service("application/msrtc-presence-setsubscriber+xml", &seen));
    assert_eq!(parts_of(&told(&mut bob, &dialog)), ["subscribers"]);

    granted(add_delegate(&mut bob, 0));
    let body = told(&mut bob, &dialog);
    assert_eq!(parts_of(&body), ["delegates"]);
    assert_eq!(tree::attributes(&body, "delegates", "version"), ["1"]);
    assert_eq!(
        tree::attributes(&body, "delegate", "uri"),
        ["john@contoso.com"]
    );
    assert_eq!(bob.rest(&dialog).len(), 0);
}

//= MS-PRES 3.3.5.2
//= type=test
//# what the server does by itself is told as well
// proves: PRES-3.3.5.2-02
#[test]
fn an_expired_publication_is_told() {
    let mut bob = signed_in("bob");
    let (dialog, _) = bob.watch_self(&["categories"]);
    let brief = publication(
        "note",
        3,
        400,
        0,
        "expireType=\"time\" expires=\"1\"",
        &note("soon gone"),
    );
    granted(bob.publish(&brief));
    assert!(told(&mut bob, &dialog).contains("soon gone"));
    let body = told(&mut bob, &dialog);
    assert!(!body.contains("soon gone"), "{body}");
    let told = tree::attributes(&body, "category", "container");
    assert!(told.contains(&"400".to_owned()), "{body}");
}

/// How a notification says that its dialog is over.
fn is_end(told: &Request) -> bool {
    let state = told.lines().any(|(name, value)| {
        name.eq_ignore_ascii_case("subscription-state") && value == "terminated;expires=0"
    });
    state && told.header(Name::Expires) == Some("0") && told.body().is_empty()
}

//= MS-PRES 3.3.5.1
//= type=test
//# a second dialog of an endpoint is accepted, and the first is ended with Expires 0
// proves: PRES-3.3.5.1-03
#[test]
fn an_endpoint_has_one_dialog() {
    let user = somebody("bob");
    let (mut bob, mut laptop) = (
        Client::sign_in(together(), &user),
        Client::sign_in(together(), &user),
    );
    let (first, _) = bob.watch_self(&["categories"]);
    let (others, _) = laptop.watch_self(&["categories"]);
    let (second, answer) = bob.watch_self(&["categories"]);
    granted(answer);
    assert!(is_end(&bob.told(&first)));
    granted(bob.publish(&static_note(400, 0, "told once")));
    assert!(told(&mut bob, &second).contains("told once"));
    assert!(told(&mut laptop, &others).contains("told once"));
    assert_eq!(bob.rest(&first).len(), 0);
}

//= MS-PRES 3.3.5.1
//= type=test
//# a poll sees everything and leaves nothing behind, and other dialogs as they are
// proves: PRES-3.3.5.1-06
#[test]
fn a_poll_leaves_no_dialog() {
    let mut bob = signed_in("bob");
    granted(bob.publish(&static_note(400, 0, "seen")));
    let (kept, _) = bob.watch_self(&["categories"]);
    let mut poll = Dialog::new("vnd-microsoft-roaming-self", &bob.uri);
    let body = roaming_list(&PARTS);
    let answer = granted(bob.subscribe(&mut poll, Some(0), SELF_LINES, TYPE, &body));
    assert_eq!(answer.header(Name::Expires), Some("0"));
    assert!(
        answer
            .lines()
            .any(|(name, value)| name == "subscription-state" && value == "terminated;expires=0")
    );
    assert!(answer.other_headers("ms-piggyback-cseq").next().is_some());
    let body = text(answer.body());
    assert_eq!(parts_of(&body), PARTS);
    assert!(body.contains("seen"));
    granted(bob.publish(&static_note(400, 1, "later")));
    assert!(told(&mut bob, &kept).contains("later"));
    assert_eq!(bob.rest(&poll).len(), 0);
    let again = bob.scope(&mut poll, &PARTS);
    assert_eq!(again.status().number(), 481, "there is no such dialog");
}

//= MS-PRES 3.3.5.1
//= type=test
//# Expires 0 in the dialog, without a body, ends it (4.4.4)
#[test]
fn a_dialog_is_ended_without_a_word() {
    let mut bob = signed_in("bob");
    let (mut dialog, _) = bob.watch_self(&["categories"]);
    let lines = format!("Accept: {TYPE}\r\n");
    let answer = granted(bob.subscribe(&mut dialog, Some(0), &lines, "", ""));
    assert_eq!(answer.header(Name::Expires), Some("0"));
    assert!(answer.body().is_empty());
    granted(bob.publish(&static_note(400, 0, "unheard")));
    assert_eq!(bob.rest(&dialog).len(), 0);
    let answer = bob.scope(&mut dialog, &["categories"]);
    assert_eq!(answer.status().number(), 481);
    let public = answer.other_headers("ms-diagnostics-public").next();
    assert!(public.is_some_and(|line| line.starts_with("2014;")));
}

//= MS-PRES 2.2.2.3.1
//= type=test
//# notifications go to the Contact of the SUBSCRIBE, and after a refresh to that of the refresh
// proves: PRES-2.2.2.3.1-04
#[test]
fn notifications_go_to_the_contact() {
    let mut bob = signed_in("bob");
    let (mut dialog, _) = bob.watch_self(&["categories"]);
    granted(bob.publish(&static_note(400, 0, "one")));
    let gruu = bob.gruu.clone();
    let uri = |told: Request| told.uri().to_owned();
    assert_eq!(uri(bob.told(&dialog)), gruu);
    let moved = gruu.replace(";gruu", ";gruu;x=moved");
    assert_ne!(moved, gruu);
    bob.gruu.clone_from(&moved);
    granted(bob.scope(&mut dialog, &["categories"]));
    granted(bob.publish(&static_note(400, 1, "two")));
    assert_eq!(uri(bob.told(&dialog)), moved);
}

//= MS-PRES 2.2.2.3.2
//= type=test
//# who names no interval gets one near the default, not the same for each dialog
#[test]
fn granted_intervals_are_spread() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let mut granted_s = Vec::new();
    for _ in 0..8 {
        let mut dialog = Dialog::new("vnd-microsoft-roaming-self", &bob.uri);
        let body = roaming_list(&["categories"]);
        let answer = granted(bob.subscribe(&mut dialog, None, SELF_LINES, TYPE, &body));
        let expires = answer.header(Name::Expires).expect("an interval");
        granted_s.push(expires.parse::<u32>().expect("seconds"));
    }
    assert!(
        granted_s.iter().all(|s| (2_700..=4_500).contains(s)),
        "{granted_s:?}"
    );
    granted_s.sort_unstable();
    granted_s.dedup();
    assert!(granted_s.len() > 1, "{granted_s:?}");
}

//= MS-PRES 3.3.5.1
//= type=exception
// excepts: PRES-3.3.5.1-05 the server does not know a survivable mode: a node that has no quorum answers 503 to all

//= MS-PRES 3.3.5.2
//= type=exception
// excepts: PRES-3.3.5.2-03 notifications go over the connection that the SUBSCRIBE came by, which is that of the registration
