//! Publication (MS-PRES 2.2.2.2, 3.2).

use transport::sip::StatusCode;

use super::client::{Client, diagnostic, note, publication, shared, somebody, text};
use super::tree;

//= MS-PRES 3.2.5.1.2
//= type=test
//# version 0 creates; the answer holds the instance with version 1
// proves: PRES-2.2.2.2-01
#[test]
fn a_publication_is_created_and_told_to_oneself() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let (own, first) = bob.watch_self(&["categories"]);
    assert_eq!(first.status(), StatusCode::OK);
    let answer = bob.publish(&publication(
        "note",
        0,
        400,
        0,
        "expireType=\"static\"",
        &note("until five"),
    ));
    assert_eq!(answer.status(), StatusCode::OK);
    let told = bob.told(&own);
    assert_eq!(told.method().as_str(), "BENOTIFY");
    for body in [text(answer.body()), text(told.body())] {
        let notes = tree::elements(&body, "category", &["publishTime"]);
        let own = notes.iter().find(|note| note.contains("container=\"400\""));
        let own = own.unwrap_or_else(|| panic!("{body}"));
        assert!(own.contains("until five"), "{body}");
        assert!(own.contains("version=\"1\""), "{body}");
    }
}

//= MS-PRES 3.2.5.1.2
//= type=test
//# a version that is not the current one: 409, 2044, and nothing of the batch holds
#[test]
fn a_wrong_version_refuses_the_whole_batch() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let fresh = publication("note", 0, 300, 0, "expireType=\"static\"", &note("a"));
    let late = publication("note", 0, 400, 7, "expireType=\"static\"", &note("b"));
    let answer = bob.publish(&format!("{fresh}{late}"));
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(diagnostic(&answer), Some(2044));
    let (_, own) = bob.watch_self(&["categories"]);
    assert!(!text(own.body()).contains("until"), "nothing was stored");
    assert!(tree::elements(&text(own.body()), "note", &[]).is_empty());
}
