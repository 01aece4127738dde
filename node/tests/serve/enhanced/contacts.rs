//! Contacts and groups on the wire (MS-SIP 3.7, MS-PRES 3.10), with the contact store disabled.

use transport::sip::StatusCode;

use super::client::{
    CONTACT_LINES, Client, Dialog, add_group, diagnostic, set_contact, shared, somebody, text,
};
use super::tree;

fn delete_contact(uri: &str, delta_num: u32) -> String {
    format!(
        "<m:deleteContact><m:URI>{uri}</m:URI><m:deltaNum>{delta_num}</m:deltaNum></m:deleteContact>"
    )
}

fn modify_group(id: u32, name: &str, delta_num: u32) -> String {
    format!(
        "<m:modifyGroup><m:groupID>{id}</m:groupID><m:name>{name}</m:name><m:externalURI/>\
         <m:deltaNum>{delta_num}</m:deltaNum></m:modifyGroup>"
    )
}

fn delete_group(id: u32, delta_num: u32) -> String {
    format!(
        "<m:deleteGroup><m:groupID>{id}</m:groupID><m:deltaNum>{delta_num}</m:deltaNum></m:deleteGroup>"
    )
}

/// The list as a new subscription of another endpoint of the user sees it.
fn list(user: &str) -> String {
    let mut other = Client::sign_in(shared(), user);
    let (_, answer) = other.watch_contacts("");
    assert_eq!(answer.status(), StatusCode::OK);
    text(answer.body())
}

/// What is told of a change, in the canonical spelling and without its numbers.
fn told(client: &mut Client, dialog: &Dialog, number: u32) -> String {
    let notice = client.told(dialog);
    assert_eq!(notice.method().as_str(), "BENOTIFY");
    let body = text(notice.body());
    assert_eq!(
        tree::attributes(&body, "contactDelta", "deltaNum"),
        [number.to_string()],
        "{body}"
    );
    assert_eq!(
        tree::attributes(&body, "contactDelta", "prevDeltaNum"),
        [(number - 1).to_string()]
    );
    let begin = body.find('>').expect("a delta") + 1;
    let end = body.rfind("</contactDelta>").expect("its end");
    body[begin..end].to_owned()
}

//= MS-SIP 3.7
//= type=test
//= MS-SIP 3.7.4.4
//= type=test
//= MS-SIP 9.1
//= type=test
//# every operation, outside the dialog and inside it, is told to all endpoints as one step
#[test]
fn each_change_is_one_step_told_to_every_endpoint() {
    for inside in [false, true] {
        let user = somebody("bob");
        let mut bob = Client::sign_in(shared(), &user);
        let mut desk = Client::sign_in(shared(), &user);
        let (mut own, first) = bob.watch_contacts("");
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(
            text(first.body()),
            "<contactList deltaNum=\"1\"><group id=\"1\" name=\"~\" externalURI=\"\"/></contactList>",
            "a list that nobody changed: no mode for who did not ask"
        );
        let (desks, _) = desk.watch_contacts("");
        let contact = |element: &str, name: &str, groups: &str| {
            format!(
                "<{element} uri=\"sip:carol@contoso.com\" name=\"{name}\" groups=\"{groups}\" subscribed=\"true\" externalURI=\"\"/>"
            )
        };
        for (number, (call, expected, group)) in (2..).zip([
            (
                set_contact("sip:carol@contoso.com", "", "", 1),
                contact("addedContact", "", "1"),
                None,
            ),
            (
                add_group("Team &amp; co", 2),
                "<addedGroup id=\"2\" name=\"Team &amp; co\" externalURI=\"\"/>".to_owned(),
                Some(2),
            ),
            (
                add_group("Other", 3),
                "<addedGroup id=\"3\" name=\"Other\" externalURI=\"\"/>".to_owned(),
                Some(3),
            ),
            (
                set_contact("sip:Carol@CONTOSO.com", "Carol", "3 2 ", 4),
                contact("modifiedContact", "Carol", "2 3")
                    .replace("carol@contoso.com", "Carol@CONTOSO.com"),
                None,
            ),
            (
                modify_group(2, "Crew", 5),
                "<modifiedGroup id=\"2\" name=\"Crew\" externalURI=\"\"/>".to_owned(),
                None,
            ),
            (
                delete_contact("carol@contoso.com", 6),
                "<deletedContact uri=\"sip:Carol@CONTOSO.com\"/>".to_owned(),
                None,
            ),
            (
                delete_group(2, 7),
                "<deletedGroup id=\"2\"/>".to_owned(),
                None,
            ),
            (
                add_group("Fresh", 8),
                "<addedGroup id=\"2\" name=\"Fresh\" externalURI=\"\"/>".to_owned(),
                Some(2),
            ),
        ]) {
            let answer = if inside {
                bob.change_contacts_in(&mut own, &call)
            } else {
                bob.change_contacts(&call)
            };
            assert_eq!(answer.status(), StatusCode::OK, "{call}");
            match group {
                Some(id) => assert!(
                    text(answer.body()).contains(&format!("<m:groupID>{id}</m:groupID>")),
                    "{}",
                    text(answer.body())
                ),
                None => assert!(answer.body().is_empty()),
            }
            assert_eq!(told(&mut bob, &own, number), expected);
            assert_eq!(told(&mut desk, &desks, number), expected);
        }
        let seen = list(&user);
        assert_eq!(tree::attributes(&seen, "contactList", "deltaNum"), ["9"]);
        assert_eq!(tree::attributes(&seen, "group", "id"), ["1", "2", "3"]);
        assert!(bob.rest(&own).is_empty() && desk.rest(&desks).is_empty());
        let refreshed = bob.subscribe(&mut own, Some(3_600), CONTACT_LINES, "", "");
        assert_eq!(
            refreshed.status(),
            StatusCode::OK,
            "the dialog goes on behind its requests"
        );
    }
}

//= MS-SIP 3.7
//= type=test
//# a request with another number changes nothing, and its sender is told the list anew
#[test]
fn a_stale_number_is_refused_and_the_list_told_anew() {
    let user = somebody("bob");
    let mut bob = Client::sign_in(shared(), &user);
    let (own, _) = bob.watch_contacts("");
    assert_eq!(
        bob.change_contacts(&add_group("Team", 1)).status(),
        StatusCode::OK
    );
    told(&mut bob, &own, 2);
    let before = list(&user);
    for (name, call) in [
        ("too low", set_contact("carol@contoso.com", "", "1", 1)),
        ("too high", set_contact("carol@contoso.com", "", "1", 3)),
        ("never one", add_group("X", 0)),
        ("of nothing", delete_contact("nobody@contoso.com", 1)),
    ] {
        let answer = bob.change_contacts(&call);
        assert_eq!(answer.status(), StatusCode::CONFLICT, "{name}");
        assert_eq!(diagnostic(&answer), Some(4000), "{name}");
        assert_eq!(text(bob.told(&own).body()), before, "{name}");
    }
    assert_eq!(list(&user), before);
    let answer = bob.change_contacts(&set_contact("carol@contoso.com", "", "2", 2));
    assert_eq!(
        answer.status(),
        StatusCode::OK,
        "and it goes on from the true number"
    );
}

//= MS-SIP 3.7
//= type=test
//# several requests sent one behind the other, each counting on, are done in order
#[test]
fn requests_in_a_row_count_on() {
    let user = somebody("bob");
    let mut bob = Client::sign_in(shared(), &user);
    let mut sent = String::new();
    for number in 1..=20 {
        let body = super::client::soap(&set_contact(
            &format!("friend{number}@contoso.com"),
            "",
            "1",
            number,
        ));
        let head = bob.head("SERVICE", &bob.uri, None, &somebody("row"), 1);
        sent += &format!(
            "{head}Content-Type: application/SOAP+xml\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }
    bob.phone.send(sent.as_bytes());
    for number in 1..=20 {
        assert_eq!(bob.phone.response().status(), StatusCode::OK, "{number}");
    }
    let seen = list(&user);
    assert_eq!(tree::attributes(&seen, "contactList", "deltaNum"), ["21"]);
    assert_eq!(tree::elements(&seen, "contact", &[]).len(), 20);
}

//= MS-PRES 3.10.4.1
//= type=test
//= MS-SIP 9.1
//= type=test
//# what is refused says why, and changes nothing
// proves: PRES-3.10.4.1-01
#[test]
fn what_is_refused_says_why_and_changes_nothing() {
    let user = somebody("bob");
    let mut bob = Client::sign_in(shared(), &user);
    let (own, _) = bob.watch_contacts("");
    let mut number = 1;
    for call in [
        add_group("Team", 1),
        set_contact("carol@contoso.com", "", "2", 2),
    ] {
        assert_eq!(bob.change_contacts(&call).status(), StatusCode::OK);
        number += 1;
        told(&mut bob, &own, number);
    }
    let before = list(&user);
    let long = |count: usize| "x".repeat(count);
    let extension = format!(
        "<m:setContact><m:URI>dave@contoso.com</m:URI><m:deltaNum>3</m:deltaNum>\
         <m:contactExtension><a>{}</a></m:contactExtension></m:setContact>",
        long(1_100)
    );
    for (name, call, status, id) in [
        (
            "no such group",
            set_contact("dave@contoso.com", "", "9", 3),
            404,
            Some(2002),
        ),
        (
            "no such contact",
            delete_contact("nobody@contoso.com", 3),
            404,
            Some(2001),
        ),
        (
            "rename of nothing",
            modify_group(9, "X", 3),
            404,
            Some(2002),
        ),
        ("removal of nothing", delete_group(9, 3), 404, Some(2002)),
        ("the same name", add_group("TEAM", 3), 409, Some(2015)),
        (
            "the name of the default",
            add_group("~", 3),
            409,
            Some(2015),
        ),
        (
            "into the same name",
            modify_group(1, "team", 3),
            409,
            Some(2015),
        ),
        ("a group in use", delete_group(2, 3), 409, Some(4000)),
        ("the default group", delete_group(1, 3), 409, Some(4000)),
        ("a large extension", extension, 413, Some(2009)),
        (
            "a long name",
            set_contact("d@contoso.com", &long(257), "", 3),
            400,
            Some(4001),
        ),
        (
            "a long address",
            set_contact(&long(460), "", "", 3),
            400,
            Some(4001),
        ),
        (
            "a long group name",
            add_group(&long(257), 3),
            400,
            Some(4001),
        ),
        (
            "no number",
            "<m:deleteGroup><m:groupID>2</m:groupID></m:deleteGroup>".to_owned(),
            400,
            Some(4001),
        ),
        (
            "no address",
            "<m:deleteContact><m:deltaNum>3</m:deltaNum></m:deleteContact>".to_owned(),
            400,
            Some(4001),
        ),
        ("no document", "<m:deleteGroup>".to_owned(), 400, Some(4001)),
        (
            "no method of ours",
            "<m:setWings><m:deltaNum>3</m:deltaNum></m:setWings>".to_owned(),
            400,
            Some(4000),
        ),
    ] {
        let answer = bob.change_contacts(&call);
        assert_eq!(answer.status().number(), status, "{name}");
        assert_eq!(diagnostic(&answer), id, "{name}");
        assert!(bob.rest(&own).is_empty(), "{name}: nobody is told");
    }
    assert_eq!(list(&user), before);
    let mut eve = Client::sign_in(shared(), &somebody("eve"));
    let head = eve.head("SERVICE", &bob.uri, None, &somebody("theft"), 1);
    let theft = super::client::soap(&add_group("Mine", 3));
    let answer = eve
        .phone
        .ask(head, "Content-Type: application/SOAP+xml\r\n", &theft);
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "another's list");
    assert_eq!(list(&user), before);
}

//= MS-SIP 9.1
//= type=test
//# a list has at most 64 groups
#[test]
fn a_list_has_sixty_four_groups() {
    let user = somebody("bob");
    let mut bob = Client::sign_in(shared(), &user);
    for number in 1..64 {
        let answer = bob.change_contacts(&add_group(&format!("G{number}"), number));
        assert_eq!(answer.status(), StatusCode::OK, "{number}");
    }
    let before = list(&user);
    assert_eq!(tree::elements(&before, "group", &[]).len(), 64);
    let answer = bob.change_contacts(&add_group("one more", 64));
    assert_eq!(answer.status().number(), 413);
    assert_eq!(diagnostic(&answer), Some(2008));
    assert_eq!(list(&user), before);
}

//= MS-PRES 4.14.1
//= type=test
//# a client that says ms-ucs is told the mode in every document; here it is disabled
// proves: PRES-3.10.4-06
#[test]
fn a_client_that_knows_of_mail_servers_is_told_the_mode() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let (own, first) = bob.watch_contacts("Supported: ms-ucs\r\nSupported: ms-ucs-ready\r\n");
    assert_eq!(
        tree::attributes(&text(first.body()), "contactList", "ucsMode"),
        ["disabled"]
    );
    assert_eq!(
        bob.change_contacts(&add_group("Team", 1)).status(),
        StatusCode::OK
    );
    let told = text(bob.told(&own).body());
    assert_eq!(
        tree::attributes(&told, "contactDelta", "ucsMode"),
        ["disabled"]
    );
    let stale = bob.change_contacts(&add_group("Late", 1));
    assert_eq!(stale.status(), StatusCode::CONFLICT);
    let told = text(bob.told(&own).body());
    assert_eq!(
        tree::attributes(&told, "contactList", "ucsMode"),
        ["disabled"]
    );
}
