//! What an endpoint is told beside its subscriptions: that the server signed it out (MS-SIPREGE 3.2), and all its
//! contacts when it does not know the current list (MS-SIP 3.7).

use shard::presence::limits::ENDPOINTS_MAX;
use transport::sip::{Name, StatusCode};

use super::batch::{granted, together};
use super::client::{Client, Dialog, note, publication, somebody, text};

const CONTACTS: &str = "vnd-microsoft-roaming-contacts";

//= MS-SIPREGE 3.2
//= type=test
//# one endpoint too many: the oldest is told in the dialog of its REGISTER, and all it had is gone
#[test]
fn the_oldest_endpoint_makes_room_and_is_told() {
    let user = somebody("bob");
    let mut first = Client::sign_in(together(), &user);
    let answer = first.renew(300, "");
    let tag = answer.to_tag().expect("a tag").to_owned();
    let (mut dialog, _) = first.watch_self(&["categories"]);
    let bound = publication(
        "note",
        9,
        400,
        0,
        "expireType=\"endpoint\"",
        &note("of the first"),
    );
    granted(first.publish(&bound));
    first.told(&dialog);
    let mut others: Vec<Client> = (1..ENDPOINTS_MAX)
        .map(|_| Client::sign_in(together(), &user))
        .collect();
    assert_eq!(
        first
            .phone
            .drain(std::time::Duration::from_millis(100))
            .len(),
        0
    );
    let (own, seen) = others[0].watch_self(&["categories"]);
    assert!(text(seen.body()).contains("of the first"));
    let mut last = Client::sign_in(together(), &user);
    let told = first.phone.notify(Some(&format!("reg-{}", first.epid)));
    assert_eq!((told.method().as_str(), told.cseq()), ("NOTIFY", 1));
    assert_eq!(told.header(Name::Event), Some("registration-notify"));
    assert_eq!(
        told.header(Name::ContentType),
        Some("text/registration-event")
    );
    assert_eq!(text(told.body()), "deregistered;event=unregistered");
    assert_eq!(told.from_tag(), tag, "the tag of the 200 to its REGISTER");
    assert_eq!(told.to().params.get("epid"), Some(first.epid.as_str()));
    let state = told
        .lines()
        .find(|(name, _)| name.eq_ignore_ascii_case("subscription-state"));
    assert_eq!(state.map(|(_, value)| value), Some("terminated;expires=0"));
    let public = told.other_headers("ms-diagnostics-public").next();
    assert_eq!(public, Some("4140;reason=\"User logged out\""));
    assert!(!text(others[0].told(&own).body()).contains("of the first"));
    let again = first.scope(&mut dialog, &["categories"]);
    assert_eq!(again.status().number(), 481);
    // The others are as they were, and the last one is in.
    assert_eq!(
        others[1]
            .phone
            .drain(std::time::Duration::from_millis(50))
            .len(),
        0
    );
    granted(last.watch_self(&["categories"]).1);
    // It may come back, and then somebody else goes; who only refreshes takes nobody's place.
    assert_eq!(last.renew(600, "").status(), StatusCode::OK);
    for other in &mut others {
        assert_eq!(
            other.phone.drain(std::time::Duration::from_millis(1)).len(),
            0
        );
    }
}

/// A change of the contact list that knows this version of it.
fn set_contact(client: &mut Client, whom: &str, delta: u32) -> u16 {
    let body = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:m=\"http://schemas.microsoft.com/winrtc/2002/11/sip\">\
         <s:Body><m:setContact><m:displayName/><m:groups>1</m:groups><m:subscribed>true</m:subscribed>\
         <m:URI>{whom}</m:URI><m:externalURI/><m:deltaNum>{delta}</m:deltaNum></m:setContact></s:Body></s:Envelope>"
    );
    client
        .service("application/SOAP+xml", &body)
        .status()
        .number()
}

//= MS-SIP 3.7.1
//= type=test
//# a change that does not know the current list: 409, nothing changes, and who asked is told the whole list
#[test]
fn who_does_not_know_the_list_is_told_all_of_it() {
    let user = somebody("bob");
    let mut desk = Client::sign_in(together(), &user);
    let mut laptop = Client::sign_in(together(), &user);
    let lines = "Accept: application/vnd-microsoft-roaming-contacts+xml\r\nSupported: ms-benotify\r\n\
                 Proxy-Require: ms-benotify\r\nSupported: ms-piggyback-first-notify\r\n";
    let mut dialogs = Vec::new();
    for client in [&mut desk, &mut laptop] {
        let mut dialog = Dialog::new(CONTACTS, &client.uri);
        let answer = granted(client.subscribe(&mut dialog, Some(3_600), lines, "", ""));
        assert!(text(answer.body()).contains("deltaNum=\"1\""));
        dialogs.push(dialog);
    }
    assert_eq!(set_contact(&mut desk, "sip:alice@contoso.com", 1), 200);
    for (client, dialog) in [&mut desk, &mut laptop].into_iter().zip(&dialogs) {
        let step = text(client.told(dialog).body());
        assert!(step.contains("<contactDelta"), "{step}");
    }
    // Too old, and of a day that has not come.
    for (delta, cseq) in [(1, 3), (7, 4)] {
        assert_eq!(set_contact(&mut laptop, "sip:john@contoso.com", delta), 409);
        let told = laptop.told(&dialogs[1]);
        assert_eq!(told.cseq(), cseq);
        let list = text(told.body());
        assert!(
            list.contains("<contactList") && list.contains("deltaNum=\"2\""),
            "{list}"
        );
        assert!(
            list.contains("alice@contoso.com") && !list.contains("john@"),
            "{list}"
        );
    }
    assert_eq!(
        desk.rest(&dialogs[0]).len(),
        0,
        "the other endpoint knows the list"
    );
    assert_eq!(set_contact(&mut laptop, "sip:john@contoso.com", 2), 200);
    for (client, dialog) in [&mut desk, &mut laptop].into_iter().zip(&dialogs) {
        let step = text(client.told(dialog).body());
        assert!(
            step.contains("john@contoso.com") && step.contains("deltaNum=\"3\""),
            "{step}"
        );
    }
}
