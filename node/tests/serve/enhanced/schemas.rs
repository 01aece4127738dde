//! What the server writes, against the schemas of the specification (MS-PRES 6), with the validator that
//! lies beside them. Where it, or Python, is absent a test says so and proves nothing.

use std::process::Command;

use transport::sip::{Name, StatusCode};

use super::client::{Client, note, publication, single, somebody};
use super::vectors;

/// The verdict of the validator on a body of this type; `None` where there is no validator.
pub fn verdict(media: &str, body: &[u8]) -> Option<Result<(), String>> {
    let script = vectors::folder()?.join("validate.py");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("body.sip");
    let mut message = format!(
        "SIP/2.0 200 OK\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    message.extend_from_slice(body);
    std::fs::write(&file, message).expect("written");
    let said = Command::new("python3").arg(script).arg(&file).output();
    let said = said
        .inspect_err(|error| eprintln!("skipped: no python3: {error}"))
        .ok()?;
    let text =
        String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    // 2: the validator cannot do its work here.
    match said.status.code() {
        Some(0) => Some(Ok(())),
        Some(1) => Some(Err(text)),
        other => panic!("{other:?}: {text}"),
    }
}

//= MS-PRES 2.2.2.1
//= type=test
//# categories documents conform to the schema of 6.2
//= MS-PRES 2.2.2.2.2
//= type=test
//# the answer to a publication conforms to the schema of 6.7
// proves: PRES-2.2.2.1-01 PRES-2.2.2.2.2-02 PRES-2.2.2.1-03
#[test]
fn what_is_told_conforms_to_the_schemas() {
    let nameless = b"<categories xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\" uri=\"sip:b@x\"><category/></categories>";
    match verdict("application/msrtc-event-categories+xml", nameless) {
        None => return,
        Some(verdict) => assert!(verdict.is_err(), "the validator tells good from bad"),
    }
    let (name, friend) = (somebody("bob"), somebody("alice"));
    let mut bob = Client::sign_in(single(), &name);
    let mut alice = Client::sign_in(single(), &friend);
    let member = format!(
        "<container id=\"300\" version=\"0\"><member action=\"add\" type=\"user\" value=\"{}\"/></container>",
        alice.uri
    );
    assert_eq!(bob.set_members(&member).status(), StatusCode::OK);
    let mut bodies: Vec<(&str, String, Vec<u8>)> = Vec::new();
    let mut keep = |name, media: Option<&str>, body: &[u8]| {
        bodies.push((name, media.expect("a type").to_owned(), body.to_vec()));
    };
    let (own, first) = bob.watch_self(&["categories", "containers", "subscribers"]);
    keep(
        "all of oneself",
        first.header(Name::ContentType),
        first.body(),
    );
    let (watched, seen) = alice.watch(&[&bob.uri], &["note", "state", "services", "contactCard"]);
    keep("a batch", seen.header(Name::ContentType), seen.body());
    let machine = "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" manual=\"false\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"machineState\">\
        <availability>3500</availability></state>";
    let batches = [
        publication(
            "note",
            1,
            300,
            0,
            "expireType=\"time\" expires=\"600\"",
            &note("a"),
        ),
        publication("state", 9, 2, 0, "expireType=\"endpoint\"", machine)
            + &publication("state", 9, 3, 0, "expireType=\"endpoint\"", machine)
            + &publication("note", 2, 300, 0, "expireType=\"user\"", ""),
        publication("note", 1, 300, 1, "expireType=\"static\" expires=\"0\"", ""),
        publication("note", 2, 300, 1, "expireType=\"static\" expires=\"0\"", ""),
    ];
    for batch in &batches {
        let answer = bob.publish(batch);
        assert_eq!(answer.status(), StatusCode::OK);
        keep("a 200", answer.header(Name::ContentType), answer.body());
        let told = bob.told(&own);
        keep("one's own", told.header(Name::ContentType), told.body());
        let told = alice.told(&watched);
        keep("a watcher's", told.header(Name::ContentType), told.body());
    }
    let conflict = bob.publish(&batches[3]);
    assert_eq!(conflict.status(), StatusCode::CONFLICT);
    keep("a 409", conflict.header(Name::ContentType), conflict.body());
    for (name, media, body) in bodies {
        if let Some(Err(why)) = verdict(&media, &body) {
            panic!("{name}: {why}\n{}", String::from_utf8_lossy(&body));
        }
    }
}
