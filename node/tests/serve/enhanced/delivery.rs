//! How subscriptions are told: NOTIFY or BENOTIFY, the first one in the 200 or after it (MS-PRES 1.3, companions
//! 2.2 and 2.3), and in which format (MS-PRES 1.3.3).

use transport::sip::{Name, Response, StatusCode};

use super::super::phone::Phone;
use super::batch::{BATCH, granted, together};
use super::client::{Client, Dialog, batch, note, publication, roaming_list, somebody, text};

const SELF: &str = "application/vnd-microsoft-roaming-self+xml";
const CATEGORIES: &str = "application/msrtc-event-categories+xml";

fn say(client: &mut Client, version: u32) {
    let note = note(&format!("version {version}"));
    let all = "expireType=\"static\"";
    granted(client.publish(&publication("note", 0, 0, version, all, &note)));
}

fn cseq_of(answer: &Response) -> Option<u32> {
    let line = answer.other_headers("ms-piggyback-cseq").next()?;
    line.parse().ok()
}

//= MS-PRES 1.3
//= type=test
//= MS-SIP 3.4
//= type=test
//= MS-SIP 3.5
//= type=test
//# the first notification is in the 200 for who offers that, else it follows at once; BENOTIFY where
//# Supported and Proxy-Require both name it over a reliable transport, else NOTIFY
// proves: PRES-1.3-01
#[test]
fn a_client_is_told_as_it_offers() {
    let piggyback = "Supported: ms-piggyback-first-notify\r\n";
    let (offers, demands) = (
        "Supported: ms-benotify\r\n",
        "Proxy-Require: ms-benotify\r\n",
    );
    for (reliable, piggyback, offers, demands, method) in [
        (true, piggyback, offers, demands, "BENOTIFY"),
        (true, "", offers, demands, "BENOTIFY"),
        (true, piggyback, offers, "", "NOTIFY"),
        (true, piggyback, "", demands, "NOTIFY"),
        (true, "", "", "", "NOTIFY"),
        (false, piggyback, offers, demands, "NOTIFY"),
        (false, "", "", "", "NOTIFY"),
    ] {
        let name = format!("{reliable} {piggyback}{offers}{demands}");
        let mut bob = Client::sign_in(together(), &somebody("bob"));
        let connection = std::mem::replace(&mut bob.phone, Phone::udp(together().udp));
        if reliable {
            bob.phone = connection;
        } else {
            assert_eq!(bob.renew(600, "").status(), StatusCode::OK);
        }
        say(&mut bob, 0);
        let own = bob.uri.clone();
        let packages = [
            (
                "vnd-microsoft-roaming-self",
                "",
                SELF,
                SELF.to_owned(),
                roaming_list(&["categories"]),
            ),
            (
                "presence",
                "Require: adhoclist, categoryList\r\n",
                BATCH,
                format!("{CATEGORIES}, application/rlmi+xml, multipart/related"),
                batch(&own, "subscribe", &[&own], &["note"]),
            ),
        ];
        for (version, (event, more, media, accept, body)) in (1..).zip(packages) {
            let mut dialog = Dialog::new(event, &own);
            let lines = format!("Accept: {accept}\r\n{piggyback}{offers}{demands}{more}");
            for time in 1..=2 {
                let answer = granted(bob.subscribe(&mut dialog, Some(3_600), &lines, media, &body));
                if piggyback.is_empty() {
                    assert!(answer.body().is_empty(), "{name}");
                    assert_eq!(cseq_of(&answer), None, "{name}");
                    let told = bob.told(&dialog);
                    assert_eq!(
                        (told.method().as_str(), told.cseq()),
                        (method, time),
                        "{name}"
                    );
                    assert!(text(told.body()).contains("version"), "{name}");
                } else {
                    assert!(text(answer.body()).contains("version"), "{name}");
                    assert_eq!(cseq_of(&answer), Some(time), "{name}");
                    assert_eq!(bob.rest(&dialog).len(), 0, "{name}: told once");
                }
            }
            say(&mut bob, version);
            let told = bob.told(&dialog);
            assert_eq!((told.method().as_str(), told.cseq()), (method, 3), "{name}");
            assert!(
                text(told.body()).contains(&format!("version {version}")),
                "{name}"
            );
        }
    }
}

//= MS-PRES 1.3.3
//= type=test
//# of the formats in Accept, in whatever order, categories come before MSRTC, and MSRTC before PIDF
// proves: PRES-1.3.3-01 PRES-1.3.3-03 PRES-2.2.2.4.1-02 PRES-3.4.5.1.1-03
#[test]
fn the_best_format_that_is_accepted_is_told() {
    let mut bob = Client::sign_in(together(), &somebody("bob"));
    let own = bob.uri.clone();
    let whole = batch(&own, "subscribe", &[&own], &["note"]);
    let (msrtc, pidf) = ("text/xml+msrtc.pidf", "application/pidf+xml");
    let list = format!("{CATEGORIES}, application/rlmi+xml, multipart/related");
    for (accept, body, expected) in [
        (
            format!("{list}, {msrtc}, {pidf}"),
            whole.as_str(),
            "multipart/related",
        ),
        (
            format!("{pidf}, {msrtc}, {list}"),
            &whole,
            "multipart/related",
        ),
        (
            format!("{pidf}, {list}, text/plain, {msrtc}"),
            &whole,
            "multipart/related",
        ),
        // Without a body there are no categories to tell of.
        (format!("{list}, {pidf}, {msrtc}"), "", msrtc),
        (format!("{pidf}, {msrtc}"), "", msrtc),
        (format!("{msrtc}, {pidf}"), "", msrtc),
        (format!("{pidf}, application/xpidf+xml"), "", pidf),
    ] {
        let mut dialog = Dialog::new("presence", &own);
        let lines = format!("Accept: {accept}\r\nSupported: ms-piggyback-first-notify\r\n");
        let answer = granted(bob.subscribe(&mut dialog, Some(600), &lines, BATCH, body));
        let told = match answer.header(Name::ContentType) {
            Some(media) => media.to_owned(),
            None => bob
                .told(&dialog)
                .header(Name::ContentType)
                .expect("a type")
                .to_owned(),
        };
        assert!(told.starts_with(expected), "{accept}: {told}");
    }
    // Only categories are accepted, and nobody says which.
    let mut dialog = Dialog::new("presence", &own);
    let answer = bob.subscribe(
        &mut dialog,
        Some(600),
        &format!("Accept: {list}\r\n"),
        "",
        "",
    );
    assert_eq!(answer.status().number(), 400);
}
