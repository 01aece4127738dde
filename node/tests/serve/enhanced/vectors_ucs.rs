//! The printed messages of MS-PRES 4.14, replayed. They stand beside the project; without them there is
//! nothing to replay.

use std::path::PathBuf;

use transport::sip::{Message, Name, Request, Response};

use super::client::{Client, Dialog, diagnostic, shared, somebody, text};
use super::contact_store::{Radicale, fill, start};
use super::tree;

fn folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var_os("LAMPLIGHT_SHARED").unwrap_or_else(|| beside.into());
    let vectors = PathBuf::from(shared).join("spec/vectors");
    if vectors.is_dir() {
        return Some(vectors);
    }
    eprintln!(
        "skipped: {} is not there; set LAMPLIGHT_SHARED",
        vectors.display()
    );
    None
}

fn message(folder: &std::path::Path, name: &str) -> Message {
    let bytes = std::fs::read(folder.join(name)).expect(name);
    Message::parse(bytes.into()).expect(name)
}

fn request(folder: &std::path::Path, name: &str) -> Request {
    match message(folder, name) {
        Message::Request(request) => request,
        Message::Response(_) => panic!("{name} is a request"),
    }
}

fn response(folder: &std::path::Path, name: &str) -> Response {
    match message(folder, name) {
        Message::Response(response) => response,
        Message::Request(_) => panic!("{name} is a response"),
    }
}

/// Sends the lines of a printed request that say what it wants, from a signed-in endpoint of ours.
fn replay(client: &mut Client, printed: &Request) -> (Dialog, Response) {
    let mut lines = String::new();
    for tag in printed.values(Name::Supported) {
        lines += &format!("Supported: {tag}\r\n");
    }
    for tag in printed.values(Name::ProxyRequire) {
        lines += &format!("Proxy-Require: {tag}\r\n");
    }
    let mut dialog = Dialog::new(
        printed.header(Name::Event).expect("an event"),
        &client.uri.clone(),
    );
    let accept = printed.header(Name::Accept).expect("a format");
    lines += &format!("Accept: {accept}\r\n");
    let answer = client.subscribe(&mut dialog, None, &lines, "", "");
    (dialog, answer)
}

//= MS-PRES 4.14.1
//= type=test
#[test]
fn a_client_that_is_ready_is_told_disabled_as_printed() {
    let Some(folder) = folder() else { return };
    let mut user5 = Client::sign_in(shared(), &somebody("user5-"));
    let printed = request(&folder, "4.14.1-ucs-ready.request.sip");
    let expected = response(&folder, "4.14.1-ucs-disabled.200.sip");
    let (_, answer) = replay(&mut user5, &printed);
    assert_eq!(answer.status(), expected.status());
    for name in [Name::ContentType, Name::Event] {
        assert_eq!(answer.header(name), expected.header(name));
    }
    let (ours, theirs) = (text(answer.body()), text(expected.body()));
    assert_eq!(
        tree::attributes(&ours, "contactList", "ucsMode"),
        tree::attributes(&theirs, "contactList", "ucsMode")
    );
    let default = &tree::elements(&theirs, "group", &[])[0];
    assert_eq!(&tree::elements(&ours, "group", &[])[0], default);
    assert!(diagnostic(&answer).is_none());
    let printed = request(&folder, "4.14.3.2-no-ucs-subscribe.request.sip");
    let (_, answer) = replay(&mut user5, &printed);
    let seen = tree::attributes(&text(answer.body()), "contactList", "ucsMode");
    assert!(seen.is_empty(), "who does not ask is not told: {seen:?}");
}

//= MS-PRES 4.14.1
//= type=test
//= MS-PRES 4.14.2
//= type=test
//= MS-PRES 4.14.3.1
//= type=test
#[test]
fn a_list_moves_as_printed() {
    let Some(folder) = folder() else { return };
    let Some(radicale) = Radicale::start() else {
        return;
    };
    let user = somebody("user5-");
    let settings = radicale.settings(&user, "allowed");
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), &settings);
    let mut user5 = Client::sign_in(&server, &user);
    fill(&mut user5, 3);
    let mode = |body: &[u8]| tree::attributes(&text(body), "contactList", "ucsMode");

    let (dialog, answer) = replay(
        &mut user5,
        &request(&folder, "4.14.1-ucs-ready.request.sip"),
    );
    let printed = response(&folder, "4.14.1-ucs-allowed.200.sip");
    assert_eq!(answer.status(), printed.status());
    assert_eq!(mode(answer.body()), mode(printed.body()));

    let told = user5.told(&dialog);
    let printed = request(&folder, "4.14.2-ucs-migrated.benotify.sip");
    assert_eq!(told.method(), printed.method());
    for name in [
        Name::SubscriptionState,
        Name::Expires,
        Name::Event,
        Name::ContentType,
    ] {
        assert_eq!(told.header(name), printed.header(name));
    }
    let public = |request: &Request| {
        let mut lines = request.other_headers("ms-diagnostics-public");
        lines.next().map(str::to_owned)
    };
    assert_eq!(public(&told), public(&printed));
    assert!(public(&told).is_some());
    assert_eq!(mode(told.body()), mode(printed.body()));

    let printed = request(&folder, "4.14.3.1-ucs-subscribe.request.sip");
    let (_, answer) = replay(&mut user5, &printed);
    let printed = response(&folder, "4.14.3.1-ucs-subscribe.488.sip");
    assert_eq!(answer.status(), printed.status());
    let reason = |response: &Response| {
        let line = response.other_headers("ms-diagnostics").next();
        let line = line.unwrap_or_default();
        line.split(";source=").next().unwrap_or_default().to_owned()
    };
    assert_eq!(reason(&answer), reason(&printed));
    assert_eq!(answer.body(), printed.body());

    let printed = request(&folder, "4.14.3.2-no-ucs-subscribe.request.sip");
    let (_, answer) = replay(&mut user5, &printed);
    assert_eq!(answer.status().number(), 200);
    assert_eq!(
        tree::elements(&text(answer.body()), "contact", &[]).len(),
        3
    );
}
