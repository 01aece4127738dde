//! The printed messages of MS-PRES 4.14, replayed. They stand beside the project; without them there is
//! nothing to replay.

use std::path::PathBuf;

use transport::sip::{Message, Name, Request, Response};

use super::client::{Client, diagnostic, shared, somebody, text};
use super::tree;

fn folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var_os("LAMPLIGHT_SHARED").unwrap_or_else(|| beside.into());
    let vectors = PathBuf::from(shared).join("spec/vectors");
    if vectors.is_dir() {
        return Some(vectors);
    }
    eprintln!("skipped: {} is not there; set LAMPLIGHT_SHARED", vectors.display());
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
pub fn replay(client: &mut Client, printed: &Request) -> Response {
    let mut lines = String::new();
    for tag in printed.values(Name::Supported) {
        lines += &format!("Supported: {tag}\r\n");
    }
    for tag in printed.values(Name::ProxyRequire) {
        lines += &format!("Proxy-Require: {tag}\r\n");
    }
    let mut dialog = super::client::Dialog::new(
        printed.header(Name::Event).expect("an event"),
        &client.uri.clone(),
    );
    let accept = printed.header(Name::Accept).expect("a format");
    lines += &format!("Accept: {accept}\r\n");
    client.subscribe(&mut dialog, None, &lines, "", "")
}

//= MS-PRES 4.14.1
//= type=test
#[test]
fn a_client_that_is_ready_is_told_disabled_as_printed() {
    let Some(folder) = folder() else { return };
    let mut user5 = Client::sign_in(shared(), &somebody("user5-"));
    let printed = request(&folder, "4.14.1-ucs-ready.request.sip");
    let expected = response(&folder, "4.14.1-ucs-disabled.200.sip");
    let answer = replay(&mut user5, &printed);
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
    let answer = replay(&mut user5, &printed);
    let seen = tree::attributes(&text(answer.body()), "contactList", "ucsMode");
    assert!(seen.is_empty(), "who does not ask is not told: {seen:?}");
}
