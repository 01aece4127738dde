//! The subscriber list (MS-PRES 2.2.2.6, 3.6, 3.7.5.3).

use std::time::Instant;

use transport::sip::{Name, StatusCode};

use super::super::server::PATIENCE;
use super::client::{
    Client, Dialog, FEDERATED, PUBLIC_CLOUD, batch, diagnostic, shared, somebody, text,
};
use super::tree;

const SET_SUBSCRIBER: &str = "application/msrtc-presence-setsubscriber+xml";
const SUBSCRIBERS: &str = "http://schemas.microsoft.com/2006/09/sip/presence-subscribers";
const RULES: &[(&str, &[&str], &[&str])] = &[
    ("subscribers", &[], &[]),
    (
        "subscriber",
        &["user", "displayName", "acknowledged"],
        &["type"],
    ),
    ("context", &[], &[]),
];

/// A context as clients write it.
const CONTEXT: &str = "<context><ctx:note xmlns:ctx=\"urn:ctx\">from the fair</ctx:note></context>";

fn document(inside: &str) -> String {
    format!("<setSubscribers xmlns=\"{SUBSCRIBERS}\">{inside}</setSubscribers>")
}

fn acknowledged(uri: &str) -> String {
    document(&format!(
        "<subscriber user=\"{uri}\" acknowledged=\"true\"/>"
    ))
}

/// The entries of a subscriber list in an answer or a notification, which conforms to the schema.
fn entries(body: &[u8]) -> Vec<String> {
    let body = text(body);
    tree::conforms(&body, SUBSCRIBERS, "subscribers", RULES);
    tree::elements(&body, "subscriber", &[])
}

/// An entry as [`entries`] has it.
fn entry(watcher: &Client, acknowledged: bool, network: &str, context: &str) -> String {
    let user = watcher.uri.trim_start_matches("sip:");
    let element = format!(
        "<subscriber xmlns=\"{SUBSCRIBERS}\" user=\"{user}\" displayName=\"{}\" acknowledged=\"{acknowledged}\" \
         type=\"{network}\">{context}</subscriber>",
        watcher.name
    );
    tree::canonical(&element, &[])
}

/// The list that a user's own client is shown.
fn own(client: &mut Client) -> Vec<String> {
    let (_, answer) = client.watch_self(&["subscribers"]);
    entries(answer.body())
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

//= MS-PRES 2.2.2.6.1
//= type=test
//# who watches with a context is listed: address, name, network, context, not acknowledged
//= MS-PRES 3.6.5.2
//= type=test
//# each self subscription with subscribers in its scope is told the whole list
//= MS-PRES 3.6.5.1
//= type=test
// proves: PRES-2.2.2.6.1-01 PRES-2.2.2.6.1-02 PRES-2.2.2.6.1-03 PRES-2.2.2.6.1-04 PRES-2.2.2.6.1-05 PRES-2.2.2.6.1-06
// proves: PRES-2.2.2.6.2-01 PRES-2.2.2.6.2-06 PRES-3.6.1-01 PRES-3.6.5.1-03 PRES-3.6.5.1-04 PRES-3.6.5.1-07
// proves: PRES-3.6.5.2-01 PRES-3.6.5.2-02 PRES-3.6.5.2-03
#[test]
fn who_watches_with_a_context_is_listed_until_acknowledged() {
    let name = somebody("bob");
    let mut desk = Client::sign_in(shared(), &name);
    let mut laptop = Client::sign_in(shared(), &name);
    let (at_desk, first) = desk.watch_self(&["subscribers", "containers"]);
    let (at_laptop, _) = laptop.watch_self(&["subscribers"]);
    assert_eq!(entries(first.body()), [""; 0]);

    let mut silent = Client::sign_in(shared(), &somebody("silent"));
    silent.watch_one(&desk.uri, &["state"], "", "");
    let mut alice = Client::sign_in(shared(), &somebody("alice"));
    alice.name = "Alice".to_owned();
    let mut partner = Client::visitor(shared(), &somebody("partner"), "fabrikam.com");
    let mut cloud = Client::visitor(shared(), &somebody("friend"), "cloud.example");
    cloud.name = "A friend".to_owned();

    let context = CONTEXT.replace(
        "<context>",
        "<context xmlns=\"http://schemas.microsoft.com/2006/09/sip/presence-subscribers\">",
    );
    let listed = [
        entry(&alice, false, "sameEnterprise", ""),
        entry(&partner, false, "federated", &context),
        entry(&cloud, false, "publicCloud", ""),
    ];
    let mut dialogs = Vec::new();
    for (count, (watcher, lines, said)) in (1..).zip([
        (&mut alice, "", "<context/>"),
        (&mut partner, FEDERATED, CONTEXT),
        (&mut cloud, PUBLIC_CLOUD, "<context></context>"),
    ]) {
        let (dialog, answer) = watcher.watch_one(&desk.uri, &["state"], lines, said);
        assert_eq!(answer.status(), StatusCode::OK);
        dialogs.push(dialog);
        for (endpoint, dialog) in [(&mut desk, &at_desk), (&mut laptop, &at_laptop)] {
            let told = endpoint.told(dialog);
            assert_eq!(
                entries(told.body()),
                sorted(listed[..count].to_vec()),
                "{}",
                watcher.uri
            );
        }
    }
    // Who is listed already is not told of again.
    alice.watch_one(&desk.uri, &["note"], "", CONTEXT);
    assert!(desk.rest(&at_desk).is_empty());
    assert_eq!(own(&mut laptop), sorted(listed.to_vec()));
    let (at_laptop, _) = laptop.watch_self(&["subscribers"]);

    for (media, watcher, left) in [
        (
            SET_SUBSCRIBER,
            &partner,
            vec![listed[0].clone(), listed[2].clone()],
        ),
        (
            "Application/msrtc-presence-setSubscriber+xml ",
            &alice,
            vec![listed[2].clone()],
        ),
        (SET_SUBSCRIBER, &cloud, vec![]),
    ] {
        // Without the scheme as in the examples, and with it.
        let answer = desk.service(media, &acknowledged(watcher.uri.trim_start_matches("sip:")));
        assert_eq!(answer.status(), StatusCode::OK, "{}", watcher.uri);
        assert!(answer.body().is_empty());
        for (endpoint, dialog) in [(&mut desk, &at_desk), (&mut laptop, &at_laptop)] {
            let told = endpoint.told(dialog);
            let media = told.header(Name::ContentType);
            assert_eq!(media, Some("application/vnd-microsoft-roaming-self+xml"));
            assert!(
                !text(told.body()).contains("<containers"),
                "only what changed"
            );
            assert_eq!(
                entries(told.body()),
                sorted(left.clone()),
                "{}",
                watcher.uri
            );
        }
    }
}

//= MS-PRES 3.7.5.3
//= type=test
//# watchers of PIDF and MSRTC are listed without saying so, and stay when they are acknowledged
//= MS-PRES 3.6.5.1
//= type=test
// proves: PRES-3.6.5.1-05 PRES-3.7.5.3-01 PRES-3.7.5.3-02 PRES-3.7.5.3-03
#[test]
fn watchers_of_older_formats_stay_acknowledged() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let (own_dialog, _) = bob.watch_self(&["subscribers"]);
    let uri = bob.uri.clone();
    for accept in ["application/pidf+xml", "text/xml+msrtc.pidf"] {
        let mut watcher = Client::visitor(shared(), &somebody("old"), "fabrikam.com");
        let lines = format!("Accept: {accept}\r\n{FEDERATED}");
        let subscribe = |watcher: &mut Client| {
            let mut dialog = Dialog::new("presence", &uri);
            let answer = watcher.subscribe(&mut dialog, Some(3_600), &lines, "", "");
            assert_eq!(answer.status(), StatusCode::OK, "{accept}");
        };
        let expected = |acknowledged| entry(&watcher, acknowledged, "federated", "");
        let (new, known) = (expected(false), expected(true));
        subscribe(&mut watcher);
        assert!(
            entries(bob.told(&own_dialog).body()).contains(&new),
            "{accept}"
        );
        for _ in 0..2 {
            let answer = bob.service(SET_SUBSCRIBER, &acknowledged(&watcher.uri));
            assert_eq!(answer.status(), StatusCode::OK, "{accept}");
            assert!(
                entries(bob.told(&own_dialog).body()).contains(&known),
                "{accept}"
            );
        }
        // It comes again, and bob is not asked again.
        subscribe(&mut watcher);
        assert!(bob.rest(&own_dialog).is_empty(), "{accept}");
    }
    assert_eq!(own(&mut bob).len(), 2);
}

//= MS-PRES 3.6.5.3
//= type=test
//# 400 for a wrong body or somebody who is not listed; 403 when From and To differ; nothing changes
//= MS-PRES 3.6.5.1
//= type=test
// proves: PRES-2.2.2.6.2-02 PRES-2.2.2.6.2-03 PRES-2.2.2.6.2-04 PRES-2.2.2.6.2-05 PRES-3.6.5.1-01 PRES-3.6.5.1-02
// proves: PRES-3.6.5.1-09 PRES-3.6.5.3-01 PRES-3.6.5.3-02 PRES-3.6.5.3-03
#[test]
fn what_is_wrong_acknowledges_nobody() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let mut alice = Client::sign_in(shared(), &somebody("alice"));
    alice.watch_one(&bob.uri, &["state"], "", "<context/>");
    let before = own(&mut bob);
    assert_eq!(before.len(), 1);
    let one = format!("<subscriber user=\"{}\" acknowledged=\"true\"/>", alice.uri);
    for (name, body, code) in [
        ("no body", String::new(), Some(4001)),
        ("no XML", "<setSubscribers".to_owned(), Some(4001)),
        (
            "another document",
            "<x xmlns=\"urn:x\"/>".to_owned(),
            Some(4001),
        ),
        ("nobody", document(""), Some(4001)),
        (
            "two",
            document(&format!("{one}{}", one.replace("alice", "carol"))),
            Some(4001),
        ),
        (
            "no user",
            document("<subscriber acknowledged=\"true\"/>"),
            Some(4001),
        ),
        (
            "a user that is none",
            document("<subscriber user=\"x\" acknowledged=\"true\"/>"),
            Some(4001),
        ),
        (
            "no flag",
            document(&one.replace(" acknowledged=\"true\"", "")),
            Some(4001),
        ),
        (
            "not acknowledged",
            document(&one.replace("true", "false")),
            Some(4001),
        ),
        (
            "not listed",
            acknowledged("sip:nobody@contoso.com"),
            Some(2000),
        ),
    ] {
        let answer = bob.service(SET_SUBSCRIBER, &body);
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(diagnostic(&answer), code, "{name}");
        assert_eq!(own(&mut bob), before, "{name}");
    }
    // Somebody else's list, and the own one by a request that goes to somebody else.
    let answer = alice.service_to(&bob.uri, SET_SUBSCRIBER, &document(&one));
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "another From");
    let own_uri = bob.uri.clone();
    let head = bob.head("SERVICE", &own_uri, None, "elsewhere", 1);
    let head = head.replacen(&own_uri, &alice.uri, 1);
    let media = format!("Content-Type: {SET_SUBSCRIBER}\r\n");
    let answer = bob.phone.ask(head, &media, &document(&one));
    assert_eq!(
        answer.status(),
        StatusCode::FORBIDDEN,
        "another Request-URI"
    );
    assert_eq!(own(&mut bob), before);
}

//= MS-PRES 3.6.5.1
//= type=test
//# also of those whose batch is served elsewhere: a client says only once that it watches
// proves: PRES-3.6.5.1-07 PRES-2.2.2.6.1-06
#[test]
fn a_batch_is_listed_by_all_whom_it_names() {
    let mut alice = Client::sign_in(shared(), &somebody("alice"));
    // Enough of them that both shards hold some.
    let names: Vec<String> = (0..8).map(|_| somebody("bob")).collect();
    let mut bobs: Vec<Client> = names
        .iter()
        .map(|name| Client::sign_in(shared(), name))
        .collect();
    let uris: Vec<String> = bobs.iter().map(|bob| bob.uri.clone()).collect();
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    let (mut dialog, answer) = alice.watch(&uris, &["state"]);
    assert!(
        text(answer.body()).contains("state=\"resubscribe\""),
        "some are elsewhere"
    );
    for bob in &mut bobs {
        assert_eq!(own(bob), [""; 0], "nothing was said");
    }
    let body = batch(&alice.uri, "subscribe", &uris, &["state"]);
    let body = body.replace(
        "\"/><resource",
        &format!("\">{CONTEXT}</resource><resource"),
    );
    let body = body.replace(
        "\"/></adhocList>",
        &format!("\">{CONTEXT}</resource></adhocList>"),
    );
    assert_eq!(
        alice.change_batch(&mut dialog, &body).status(),
        StatusCode::OK
    );
    let context = CONTEXT.replace("<context>", &format!("<context xmlns=\"{SUBSCRIBERS}\">"));
    let listed = entry(&alice, false, "sameEnterprise", &context);
    for bob in &mut bobs {
        // Another shard is told on the side.
        let until = Instant::now() + PATIENCE;
        while own(bob).is_empty() && Instant::now() < until {}
        assert_eq!(own(bob), std::slice::from_ref(&listed), "{}", bob.uri);
    }
}
