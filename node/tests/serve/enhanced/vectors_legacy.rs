//! The messages that MS-PRES prints for watchers of standard formats: the request as printed, the answer
//! and the notification compared with the printed ones.
//!
//! The messages are not part of this repository: they are looked for in `../shared` beside it, or where
//! `LAMPLIGHT_SHARED` says, and without them there is nothing to compare.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use transport::sip::{Message, Name, Request, Response, StatusCode};

use super::super::phone::Phone;
use super::super::server::Server;
use super::client::{Client, server, text};
use super::pidf::{present, set_state};
use super::tree;
use super::viewer::FEDERATED;

/// The folder of the vectors.
fn folder() -> Option<PathBuf> {
    let beside = || {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        Some(workspace.parent()?.join("shared"))
    };
    let shared = std::env::var_os("LAMPLIGHT_SHARED").map(PathBuf::from);
    let folder = shared.or_else(beside)?.join("spec/vectors");
    if !folder.is_dir() {
        eprintln!(
            "skipped: no vectors in {}; LAMPLIGHT_SHARED names another place",
            folder.display()
        );
        return None;
    }
    Some(folder)
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    let path = folder.join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn response(folder: &Path, name: &str) -> Response {
    match Message::parse(Bytes::from(bytes(folder, name))) {
        Ok(Message::Response(response)) => response,
        other => panic!("{name}: {other:?}"),
    }
}

fn request(folder: &Path, name: &str) -> Request {
    match Message::parse(Bytes::from(bytes(folder, name))) {
        Ok(Message::Request(request)) => request,
        other => panic!("{name}: {other:?}"),
    }
}

/// Sends a printed request, through an edge that marks whence it comes; returns the answer.
fn send(phone: &mut Phone, folder: &Path, name: &str) -> Response {
    let message = String::from_utf8(bytes(folder, name)).expect("text");
    let at = message.find("Event:").expect("it names its event");
    phone.send(format!("{}{FEDERATED}{}", &message[..at], &message[at..]).as_bytes());
    phone.response()
}

/// An answer must have what the printed one has; tags, times and addresses vary.
fn compare_answers(name: &str, found: &Response, printed: &Response) {
    assert_eq!(found.status(), printed.status(), "{name}");
    assert_eq!(
        found.header(Name::CallId),
        printed.header(Name::CallId),
        "{name}"
    );
    assert_eq!(
        found.header(Name::From),
        printed.header(Name::From),
        "{name}"
    );
    assert_eq!(
        found.header(Name::CSeq),
        printed.header(Name::CSeq),
        "{name}"
    );
    assert_eq!(
        found.header(Name::Event),
        printed.header(Name::Event),
        "{name}"
    );
    assert_eq!(
        found.header(Name::ContentType),
        printed.header(Name::ContentType),
        "{name}"
    );
    let cseq = |response: &Response| {
        let found = response.other_headers("ms-piggyback-cseq").next();
        found.map(str::to_owned)
    };
    assert_eq!(cseq(found), cseq(printed), "{name}");
    compare_bodies(name, found.body(), printed.body());
}

/// The same of a notification.
fn compare_notifications(name: &str, found: &Request, printed: &Request) {
    assert_eq!(
        found.header(Name::CallId),
        printed.header(Name::CallId),
        "{name}"
    );
    // Display names may be left out of a dialog's addresses.
    assert_eq!(found.to().uri, printed.to().uri, "{name}");
    assert_eq!(found.to_tag(), printed.to_tag(), "{name}");
    let epid = |request: &Request| request.to().params.get("epid").map(str::to_owned);
    assert_eq!(epid(found), epid(printed), "{name}");
    assert_eq!(found.from().uri, printed.from().uri, "{name}");
    assert_eq!(found.cseq(), printed.cseq(), "{name}");
    assert_eq!(
        found.header(Name::Event),
        printed.header(Name::Event),
        "{name}"
    );
    assert_eq!(
        found.header(Name::ContentType),
        printed.header(Name::ContentType),
        "{name}"
    );
    compare_bodies(name, found.body(), printed.body());
}

/// Documents without what a directory would say: a mail address and a telephone number.
fn compare_bodies(name: &str, found: &[u8], printed: &[u8]) {
    if printed.is_empty() {
        assert!(found.is_empty(), "{name}: {}", text(found));
        return;
    }
    let masked = ["email@email", "phoneNumber@number"];
    assert_eq!(
        tree::canonical(&text(found), &masked),
        tree::canonical(&text(printed), &masked),
        "{name}"
    );
}

/// A server with bob as the vectors know him.
fn bob(data: &Path, name: &str, primary: &str) -> (Server, Client) {
    let settings = format!(
        "[[standard.linked]]\nuser = 'bob@contoso.com'\nprimary = '{primary}'\n\
         secondary = ['bob@skypeids.net', 'A1519ABC8FAC5FA71@skypecid.net']\ncid = 'A1519ABC8FAC5FA71'\n"
    );
    let file = data.join("node.toml");
    fs::write(&file, settings).expect("written");
    let file = file.to_str().expect("a path");
    let server = server(&data.join("data"), &["--config", file]);
    // His name is what his client says.
    let client = present(&server, "bob");
    let mut phone = Phone::tcp(server.tcp);
    let head = format!(
        "REGISTER sip:contoso.com SIP/2.0\r\nVia: SIP/2.0/TCP {local}\r\nMax-Forwards: 70\r\n\
         From: \"{name}\" <sip:bob@contoso.com>;tag=1;epid=01010101\r\nTo: <sip:bob@contoso.com>\r\nCall-ID: name\r\n\
         CSeq: 1 REGISTER\r\nContact: <sip:{local};transport=tcp>;proxy=replace\r\n",
        local = phone.local
    );
    let answer = phone.ask(head, "Supported: gruu-10, msrtc-event-categories\r\n", "");
    assert_eq!(answer.status(), StatusCode::OK);
    (server, client)
}

//= MS-PRES 2.2.2.8.1
//= type=test
//# the printed SUBSCRIBE, its 200 and its NOTIFY
// proves: PRES-2.2.2.8-01 PRES-2.2.2.8.1-04 PRES-2.2.2.8.1-05 PRES-2.2.2.8.1-06 PRES-2.2.2.8.2-01
// proves: PRES-3.7.5.4-01 PRES-3.7.5.4-02
#[test]
fn pidf_as_it_is_printed() {
    let Some(folder) = folder() else { return };
    for (name, answer, primary) in [
        ("2.2.2.8.1-pidf", "2.2.2.8.2-pidf", "bob@hotmail.com"),
        ("4.10-pidf", "4.10-pidf", "bob@contoso.com"),
    ] {
        let data = tempfile::tempdir().expect("a folder");
        let (server, mut bob) = bob(data.path(), "Bob at Contoso", primary);
        set_state(&mut bob, 0, 15_500, "");
        let mut phone = Phone::tcp(server.tcp);
        let found = send(
            &mut phone,
            &folder,
            &format!("{name}-subscribe.request.sip"),
        );
        let printed = response(&folder, &format!("{answer}-subscribe.200.sip"));
        compare_answers(name, &found, &printed);
        let told = phone.notify(None);
        let printed = request(&folder, &format!("{name}.notify.sip"));
        compare_notifications(name, &told, &printed);
    }
}

//= MS-PRES 2.2.2.9.2
//= type=test
//# the printed SUBSCRIBE, the 200 with its document, and the NOTIFY of a change
// proves: PRES-2.2.2.9.2-01 PRES-2.2.2.9.2-02 PRES-2.2.2.9.2-03 PRES-2.2.2.9.2-04 PRES-3.7.5.5-01
#[test]
fn msrtc_as_it_is_printed() {
    let Some(folder) = folder() else { return };
    let data = tempfile::tempdir().expect("a folder");
    let (server, mut bob) = bob(data.path(), "Bob", "x");
    let mut phone = Phone::tcp(server.tcp);
    let name = "2.2.2.9.1-msrtc-subscribe.request.sip";
    let found = send(&mut phone, &folder, name);
    let printed = response(&folder, "2.2.2.9.2-msrtc-subscribe.200.sip");
    compare_answers(name, &found, &printed);
    set_state(&mut bob, 0, 6_500, "");
    let name = "2.2.2.9.2-msrtc.notify.sip";
    compare_notifications(name, &phone.notify(None), &request(&folder, name));
}
