//! The examples of publication (MS-PRES 2.2.2.2, 4.2.1, 4.3), replayed.

use transport::sip::{Name, StatusCode};

use super::client::{Client, note, publication, server, text};
use super::tree;
use super::vectors::{VARYING, read};

const STATIC: &str = "expireType=\"static\"";

/// Takes away what the server publishes for the blocked at first (the examples' user has no note there).
fn without_note_for_the_blocked(bob: &mut Client) {
    let expires = "expireType=\"static\" expires=\"0\"";
    let removed = bob.publish(&publication("note", 0, 32_000, 1, expires, ""));
    assert_eq!(removed.status(), StatusCode::OK);
}

//= MS-PRES 4.2.1
//= type=test
//= MS-PRES 2.2.2.2.1
//= type=test
//= MS-PRES 2.2.2.2.2
//= type=test
//= MS-PRES 2.2.2.3.3
//= type=test
//# a note for three containers: the answer and the self notification as they are printed
// proves: PRES-2.2.2.2.1-01 PRES-2.2.2.2.2-01 PRES-3.2.5.1.2-21 PRES-3.2.5.1.2-23 PRES-3.2.5.1.2-24
// proves: PRES-3.2.5.1.2-26 PRES-3.2.5.2-05 PRES-3.2.5.2-07
#[test]
fn a_note_is_published_as_printed() {
    for (request, answer, told) in [
        (
            "2.2.2.2.1-publish-note.request",
            "4.2.1-publish-note.200",
            "2.2.2.3.3-self-categories.benotify",
        ),
        (
            "4.2.1-publish-note.request",
            "4.2.1-publish-note.200",
            "4.2.1-publish-note.benotify",
        ),
    ] {
        let (Some(request), Some(answer), Some(told)) = (read(request), read(answer), read(told))
        else {
            return;
        };
        let data = tempfile::tempdir().expect("a folder");
        let server = server(data.path(), &[]);
        let mut bob = request.sign_in(&server);
        without_note_for_the_blocked(&mut bob);
        let (own, _) = bob.watch_self(&["categories"]);
        let ours = request.ask(&mut bob);
        answer.check_head(&ours);
        answer.check_instances(&text(ours.body()), &["publishTime"], &[]);
        let notification = bob.told(&own);
        let media = notification.header(Name::ContentType);
        assert_eq!(media, told.header("Content-Type"));
        told.check_instances(&text(notification.body()), &["publishTime"], &[]);
    }
}

//= MS-PRES 2.2.2.2.3
//= type=test
//# 409 with ms-diagnostics, a fault, and the current data of every conflict in the order of the request
// proves: PRES-2.2.2.2.3-01 PRES-2.2.2.2.3-02 PRES-2.2.2.2.3-03 PRES-2.2.2.2.3-04 PRES-2.2.2.2.3-06
#[test]
fn a_stale_version_is_refused_as_printed() {
    let name = "4.2.1-publish-note";
    let (Some(request), Some(stale), Some(refusal)) = (
        read(&format!("{name}.request")),
        read(&format!("{name}-v1.request")),
        read(&format!("{name}.409")),
    ) else {
        return;
    };
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut bob = request.sign_in(&server);
    assert_eq!(request.ask(&mut bob).status(), StatusCode::OK);
    let own_words = note("Working until 5pm today");
    let again: String = [300, 400, 200]
        .map(|container| publication("note", 0, container, 1, STATIC, &own_words))
        .concat();
    assert_eq!(bob.publish(&again).status(), StatusCode::OK);
    let ours = stale.ask(&mut bob);
    refusal.check_head(&ours);
    let ours = text(ours.body());
    // Contradiction C-20: the printed Faultcode is an editor's.
    let corrected = refusal.body.replace("Protocol client.", "Client.");
    assert_eq!(
        tree::canonical(&ours, &[]),
        tree::canonical(&corrected, &[])
    );
}

//= MS-PRES 4.3.1
//= type=test
//# a manual state: the aggregates of all containers are in the answer
// proves: PRES-3.2.5.1-01 PRES-3.2.5.1.2-14 PRES-3.2.5.6-01
#[test]
fn a_manual_state_is_aggregated_as_printed() {
    replay(
        "4.3.1-publish-userstate",
        // The example's product had no dndState yet; the rest is not modified (C-67).
        &[
            ("dndState", 0),
            ("dndState", 2),
            ("dndState", 3),
            ("dndState", 100),
            ("dndState", 200),
            ("dndState", 300),
            ("dndState", 400),
            ("state", 32_000),
            ("legacyInterop", 32_000),
        ],
    );
}

//= MS-PRES 4.3.2
//= type=test
//# a second endpoint's device: the services of all containers are in the answer
// proves: PRES-2.2.2.1-16
#[test]
fn a_device_is_aggregated_as_printed() {
    replay(
        "4.3.2-publish-device",
        &[
            ("state", 32_000),
            ("legacyInterop", 32_000),
            ("services", 32_000),
        ],
    );
}

//= MS-PRES 4.3.3
//= type=test
//# calendar data in six containers: the working hours in the answer
#[test]
fn working_hours_are_made_as_printed() {
    replay("4.3.3-publish-calendardata", &[]);
}

//= MS-PRES 4.3.4
//= type=test
//# do not disturb for a day: dndState in the answer
#[test]
fn do_not_disturb_is_made_as_printed() {
    replay(
        "4.3.4-publish-userstate-dnd",
        // Not modified (C-67).
        &[
            ("dndState", 3),
            ("dndState", 300),
            ("state", 32_000),
            ("legacyInterop", 32_000),
        ],
    );
}

/// Makes the precondition, replays the request and compares the answer.
fn replay(name: &str, beside: &[(&str, u16)]) {
    let (Some(request), Some(expected)) = (
        read(&format!("{name}.request")),
        read(&format!("{name}.200")),
    ) else {
        return;
    };
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut own = request.sign_in(&server);
    let _others = expected.make_precondition(&request, &server, &mut own);
    // What the request says is there at version 1.
    let earlier = request.earlier_versions(&[("calendarData", 32_000)]);
    // The working hours were others, or nothing would be told of them.
    let earlier = earlier.replace(">540<", ">480<");
    if !earlier.is_empty() {
        assert_eq!(own.publish(&earlier).status(), StatusCode::OK);
    }
    let answer = request.ask(&mut own);
    expected.check_head(&answer);
    expected.check_instances(&text(answer.body()), &VARYING, beside);
}
