//! BluStar's documents: read in any spelling, consolidated as section 3.2 tabulates, written as clients read
//! them, and what watchers of the standard and of enhanced presence make of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use shard::document::blustar::{NAMESPACE, NAMESPACES, compose};
use shard::document::pidf;
use shard::presence::bearing::{Bearing, Device, Doing};
use shard::presence::package::Package;
use shard::presence::publication::Content;
use shard::slot::Aor;
use shard::subscription::view::{Seen, View};
use shard::time::Timestamp;

/// 2012-12-10T15:00:00Z, in the middle of the appointment of section 4.4.
const NOON: u64 = 1_355_151_600_000;

fn publication(stored: Vec<u8>, number: u32, at: u64) -> Arc<Content> {
    Arc::new(Content {
        bearing: pidf::bearing(&stored),
        stored: stored.into(),
        published_at: Timestamp(at),
        number,
    })
}

fn view_of(bodies: &[&str], now: u64) -> View {
    let contents = (0..).zip(bodies).map(|(number, body)| {
        let stored = pidf::parse(body.as_bytes()).expect("a presence document");
        publication(stored, number, NOON - 100_000 + u64::from(number))
    });
    View {
        presentity: Aor::sip("tom.hanks", "aastra.com"),
        package: Package::Presence,
        revision: 1,
        taken_at: Timestamp(now),
        seen: Seen::Publications(contents.collect()),
    }
}

fn written(view: &View) -> String {
    let mut out = Vec::new();
    compose(view, NAMESPACE, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn presence(inner: &str) -> String {
    format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' \
         xmlns:r='urn:ietf:params:xml:ns:pidf:rpid' xmlns:aa='{NAMESPACE}' entity='sip:x@y'>{inner}</presence>"
    )
}

fn person(parts: &str) -> String {
    presence(&format!(
        "<tuple id='audio'><status><basic>open</basic></status></tuple>\
        <dm:person id='sip:x@y'><aa:presence>{parts}</aa:presence></dm:person>"
    ))
}

fn status(status: &str, note: &str) -> String {
    format!(
        "<aa:blustar><aa:status>{status}</aa:status><aa:note xml:lang='Eng'>{note}</aa:note></aa:blustar>"
    )
}

fn appointment(state: &str) -> String {
    format!(
        "<aa:calendar><aa:id>7</aa:id><aa:state>{state}</aa:state><aa:subject>test</aa:subject>\
         <aa:from>2012-12-10T14:00:00Z</aa:from><aa:end>2012-12-10T16:00:00Z</aa:end><aa:location/>\
         <aa:timestamp>2012-12-10T14:00:00Z</aa:timestamp></aa:calendar>"
    )
}

fn external(status: &str, text: &str, event: &str, second: u32) -> String {
    format!(
        "<aa:externalUC><aa:status>{status}</aa:status><aa:freeText>{text}</aa:freeText><aa:fwdDestination/>\
         <aa:telephoneEvent>{event}</aa:telephoneEvent><aa:timestamp>2012-12-10T13:00:{second:02}Z</aa:timestamp></aa:externalUC>"
    )
}

fn line(number: &str, state: &str, forward: &str) -> String {
    let forward = match forward {
        "" => String::new(),
        to => format!("<aa:forward type='immediate'>{to}</aa:forward>"),
    };
    presence(&format!(
        "<dm:device id='tel:{number}'><aa:line><aa:DN>{number}</aa:DN><aa:state>{state}</aa:state>{forward}</aa:line></dm:device>"
    ))
}

fn activities(document: &str) -> &str {
    let begin = document.find("<rpid:activities>").expect("activities");
    let end = document.find("</rpid:activities>").expect("their end");
    &document[begin + "<rpid:activities>".len()..end]
}

//= BLUSTAR 3.2
//= type=test
//= BLUSTAR 2.7
//= type=test
// proves: BLU-3.2-01 BLU-3.2-02 BLU-3.2-03 BLU-3.2-05 BLU-4.4-03 BLU-4.4-04 BLU-2.7-01 BLU-4.3-02
#[test]
fn one_status_is_made_of_all_sources() {
    let note = |text: &str| format!("<rpid:note xml:lang=\"Eng\">{text}</rpid:note>");
    let other = |text: &str, shown: &str| format!("{}<rpid:other>{shown}</rpid:other>", note(text));
    let busy = |text: &str| format!("{}<rpid:busy/>", note(text));
    let phone = |activity: &str| {
        presence(&format!(
            "<tuple id='a'><status><basic>open</basic></status></tuple>\
             <dm:person id='p'><r:activities>{activity}</r:activities></dm:person>"
        ))
    };
    let say = |own: &str, text: &str| person(&status(own, text));
    let with = |own: &str, text: &str, more: &str| person(&format!("{}{more}", status(own, text)));
    let meeting = appointment("busy");
    let (idle, ringing, talking) = (
        line("2719", "idle", ""),
        line("2719", "ringing", ""),
        line("2719", "busy", ""),
    );
    for (name, bodies, expected) in [
        // The table of section 3.2, and its default texts.
        (
            "available",
            vec![say("available", "")],
            other("Available", "available"),
        ),
        ("busy", vec![say("busy", "")], busy("Busy")),
        (
            "do not disturb",
            vec![say("do not disturb", "")],
            other("Unavailable", "unavailable"),
        ),
        (
            "signed out",
            vec![say("signed out", "")],
            other("Signed out", "signed out"),
        ),
        (
            "unknown",
            vec![say("unknown", "")],
            other("Unknown", "unknown"),
        ),
        // What aa.xsd has besides (contradiction C-14).
        (
            "away",
            vec![say("away", "")],
            format!("{}<rpid:away/>", note("Away")),
        ),
        (
            "be right back",
            vec![say("be right back", "")],
            format!("{}<rpid:away/>", note("Be right back")),
        ),
        (
            "inactive",
            vec![say("inactive", "")],
            format!("{}<rpid:away/>", note("Inactive")),
        ),
        ("other", vec![say("other", "")], other("Other", "other")),
        (
            "capitals",
            vec![say("Do Not Disturb", "")],
            other("Unavailable", "unavailable"),
        ),
        // The user's own text.
        ("a text", vec![say("busy", "HELLO")], busy("HELLO")),
        (
            "a text, then none",
            vec![say("busy", "HELLO"), say("busy", "")],
            busy("Busy"),
        ),
        // Appointments, while they are.
        (
            "a meeting",
            vec![with("available", "", &meeting)],
            busy("In a meeting"),
        ),
        (
            "a meeting and a text",
            vec![with("available", "soon back", &meeting)],
            busy("soon back"),
        ),
        (
            "a tentative one",
            vec![with("available", "", &appointment("tentative"))],
            other("Available", "available"),
        ),
        (
            "busy in a meeting",
            vec![with("busy", "", &meeting)],
            busy("In a meeting"),
        ),
        (
            "a meeting, not to be disturbed",
            vec![with("do not disturb", "", &meeting)],
            other("Unavailable", "unavailable"),
        ),
        (
            "a meeting of who is signed out",
            vec![with("signed out", "", &meeting)],
            other("Signed out", "signed out"),
        ),
        // Lines.
        (
            "a call",
            vec![say("available", ""), talking.clone()],
            busy("In a call"),
        ),
        (
            "the call is over",
            vec![say("available", ""), talking.clone(), idle.clone()],
            other("Available", "available"),
        ),
        (
            "it rings",
            vec![say("available", ""), ringing],
            other("Available", "available"),
        ),
        (
            "a call in a meeting",
            vec![with("available", "", &meeting), talking.clone()],
            busy("In a call"),
        ),
        (
            "a call, and a text",
            vec![say("available", "x"), talking.clone()],
            busy("x"),
        ),
        (
            "a call of who is signed out",
            vec![say("signed out", ""), talking.clone()],
            other("Signed out", "signed out"),
        ),
        (
            "nothing but a call",
            vec![talking.clone()],
            busy("In a call"),
        ),
        (
            "nothing but a line",
            vec![idle],
            other("Signed out", "signed out"),
        ),
        // Other systems.
        (
            "elsewhere only",
            vec![person(&external("away", "", "", 1))],
            format!("{}<rpid:away/>", note("Away")),
        ),
        (
            "elsewhere, with a text",
            vec![person(&external("available", "there", "", 1))],
            other("there", "available"),
        ),
        (
            "elsewhere while signed out here",
            vec![with("signed out", "", &external("busy", "", "", 1))],
            busy("Busy"),
        ),
        (
            "busy there, available here",
            vec![with("available", "", &external("busy", "", "", 1))],
            busy("Busy"),
        ),
        (
            "not to be disturbed there",
            vec![with(
                "available",
                "",
                &external("do not disturb", "", "", 1),
            )],
            other("Unavailable", "unavailable"),
        ),
        (
            "away there, available here",
            vec![with("available", "", &external("away", "", "", 1))],
            other("Available", "available"),
        ),
        (
            "on the phone there, in a meeting here",
            vec![with(
                "available",
                "",
                &format!("{meeting}{}", external("available", "", "on-the-phone", 1)),
            )],
            busy("In a meeting"),
        ),
        (
            "on the phone there",
            vec![with(
                "available",
                "",
                &external("available", "", "on-the-phone", 1),
            )],
            busy("In a call"),
        ),
        (
            "the newest of two",
            vec![
                person(&external("busy", "", "", 9)),
                with("available", "", &external("available", "", "", 3)),
            ],
            busy("Busy"),
        ),
        // Telephones that speak the standard.
        (
            "an open telephone",
            vec![phone("")],
            other("Available", "available"),
        ),
        (
            "a gateway",
            vec![say("available", ""), phone("<r:on-the-phone/>")],
            busy("In a call"),
        ),
        (
            "a calendar of the standard",
            vec![say("available", ""), phone("<r:meeting/>")],
            busy("In a meeting"),
        ),
        ("nobody", vec![], other("Signed out", "signed out")),
    ] {
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        let document = written(&view_of(&bodies, NOON));
        assert_eq!(activities(&document), expected, "{name}: {document}");
    }
}

//= BLUSTAR 3.2
//= type=test
// proves: BLU-2.6-01
#[test]
fn an_appointment_counts_while_it_is() {
    const HOURS: u64 = 3_600_000;
    let body = person(&format!(
        "{}{}",
        status("available", ""),
        appointment("busy")
    ));
    for (name, now, note) in [
        ("before", NOON - HOURS - 1, "Available"),
        ("it begins", NOON - HOURS, "In a meeting"),
        ("its last moment", NOON + HOURS - 1, "In a meeting"),
        ("over", NOON + HOURS, "Available"),
    ] {
        let document = written(&view_of(&[&body], now));
        let expected = format!("<rpid:note xml:lang=\"Eng\">{note}</rpid:note>");
        assert!(
            activities(&document).starts_with(&expected),
            "{name}: {document}"
        );
        assert!(
            document.contains("<aa:subject>test</aa:subject>"),
            "{name}: it is shown all the same"
        );
    }
}

//= BLUSTAR 3
//= type=test
//= BLUSTAR 3.1
//= type=test
//= BLUSTAR 5.1
//= type=test
//= BLUSTAR 4.3
//= type=test
// proves: BLU-3-01 BLU-3-02 BLU-3.1-01 BLU-3.2-04 BLU-5.1-01 BLU-2.5-01
#[test]
fn the_document_has_its_parts_in_order() {
    let own = person(&format!(
        "{}{}{}<aa:A400><r:activities><r:away/></r:activities></aa:A400>",
        appointment("busy"),
        external("available", "a &amp; b", "", 1),
        status("available", "")
    ));
    let document = written(&view_of(
        &[
            &own,
            &line("6894", "idle", ""),
            &line("7895", "busy", "6894"),
        ],
        NOON,
    ));
    let mut rest = document.as_str();
    for part in [
        "entity=\"sip:tom.hanks@aastra.com\"",
        "<tuple id=\"global service\"><status><basic>open</basic>",
        "<tuple id=\"audio\"><status><basic>open</basic>",
        "<tuple id=\"video\"><status><basic>closed</basic>",
        "<tuple id=\"message\"><status><basic>closed</basic>",
        "<dm:device id=\"tel:6894\"><aa:line><aa:DN>6894</aa:DN><aa:state>idle</aa:state></aa:line><dm:timestamp>",
        "<dm:device id=\"tel:7895\"><aa:line><aa:DN>7895</aa:DN><aa:state>busy</aa:state><aa:forward type=\"immediate\">6894</aa:forward></aa:line>",
        "<dm:person id=\"sip:tom.hanks@aastra.com\">",
        "<aa:presence><aa:blustar><aa:status>available</aa:status><aa:note xml:lang=\"Eng\"/><aa:timestamp>",
        "<aa:A400><r:activities xmlns:r=\"urn:ietf:params:xml:ns:pidf:rpid\"><r:away/></r:activities></aa:A400>",
        "<aa:externalUC><aa:status>available</aa:status><aa:freeText>a &amp; b</aa:freeText><aa:fwdDestination/>",
        "<aa:calendar><aa:id>7</aa:id><aa:state>busy</aa:state><aa:subject>test</aa:subject><aa:location/><aa:from>",
        "</aa:presence></dm:person></presence>",
    ] {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("{part} after what came before, in {document}"));
        rest = &rest[at + part.len()..];
    }
    assert!(rest.trim().is_empty());
}

//= BLUSTAR 4.3
//= type=test
// proves: BLU-4.3-03 BLU-4.3-04 BLU-4.3-05
#[test]
fn a_client_says_which_status_and_in_which_language() {
    let parse =
        |body: &str| pidf::parse_blustar(body.as_bytes()).map_err(|error| error.to_string());
    for known in [
        "available",
        "busy",
        "do not disturb",
        "signed out",
        "away",
        "unknown",
    ] {
        assert!(parse(&person(&status(known, "x"))).is_ok(), "{known}");
    }
    let without = person(&status("busy", "x")).replace(" xml:lang='Eng'", "");
    for (name, body, why) in [
        ("no status", presence(""), "no aa:status"),
        (
            "another status",
            person(&status("asleep", "")),
            "aa.xsd does not have",
        ),
        ("no language", without.clone(), "without xml:lang"),
    ] {
        let error = parse(&body).expect_err(name);
        assert!(error.contains(why), "{name}: {error}");
        assert!(
            pidf::parse(body.as_bytes()).is_ok(),
            "{name}: others may say what they like"
        );
    }
    // A text that changes alone comes with the status it had.
    let document = written(&view_of(
        &[
            &person(&status("busy", "one")),
            &person(&status("busy", "two")),
        ],
        NOON,
    ));
    assert_eq!(
        activities(&document),
        "<rpid:note xml:lang=\"Eng\">two</rpid:note><rpid:busy/>"
    );
}

/// Contradictions C-15 and C-71: whichever spelling came in, the configured one goes out.
#[test]
fn every_spelling_of_the_namespace_is_read_and_one_is_written() {
    for spelling in NAMESPACES {
        let body = person(&status("busy", "x")).replace(NAMESPACE, spelling);
        let view = view_of(&[&body], NOON);
        for wanted in NAMESPACES {
            let mut out = Vec::new();
            compose(&view, wanted, &mut out);
            let text = String::from_utf8(out).expect("UTF-8");
            assert!(text.contains(&format!("xmlns:aa=\"{wanted}\"")), "{text}");
            assert!(
                text.contains("<aa:status>busy</aa:status>"),
                "{spelling}: {text}"
            );
        }
    }
}

/// Somebody who is known as BluStar's user to clients of other kinds.
#[test]
fn watchers_of_other_kinds_see_the_same_status() {
    for (name, body, activity, device, doing) in [
        (
            "available",
            person(&status("available", "")),
            "<rpid:other>available</rpid:other>",
            Device::Online,
            Doing::Nothing,
        ),
        (
            "busy",
            person(&status("busy", "x")),
            "<rpid:busy/>",
            Device::Online,
            Doing::Busy,
        ),
        (
            "dnd",
            person(&status("do not disturb", "")),
            "<rpid:busy/>",
            Device::Online,
            Doing::Busy,
        ),
        (
            "away",
            person(&status("away", "")),
            "<rpid:away/>",
            Device::Away,
            Doing::Nothing,
        ),
        (
            "signed out",
            person(&status("signed out", "")),
            "<rpid:other>signed out</rpid:other>",
            Device::Absent,
            Doing::Nothing,
        ),
    ] {
        let view = view_of(&[&body], NOON);
        let mut out = Vec::new();
        pidf::compose(&view, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(activities(&text).ends_with(activity), "{name}: {text}");
        let stored = pidf::parse(body.as_bytes()).expect("a document");
        let expected = Bearing {
            device,
            doing,
            shared: true,
            forwards: false,
        };
        assert_eq!(pidf::bearing(&stored), expected, "{name}");
    }
    let stored = pidf::parse(line("1", "busy", "").as_bytes()).expect("a document");
    assert_eq!(pidf::bearing(&stored).doing, Doing::OnThePhone);
}

//= AUDIOCODES p. 321
//= type=test
// proves: ADC-07
#[test]
fn a_call_of_a_gateway_shows_whatever_the_users_own_clients_say_meanwhile() {
    let gateway = presence(
        "<tuple id='0'><status><basic>open</basic></status></tuple><dm:person id='g'><r:activities><r:on-the-phone/></r:activities></dm:person>",
    );
    let client = presence(
        "<tuple id='c'><status><basic>open</basic></status></tuple><dm:person id='c'><r:activities><r:away/></r:activities></dm:person>",
    );
    for bodies in [[&*gateway, &*client], [&*client, &*gateway]] {
        let mut out = Vec::new();
        pidf::compose(&view_of(&bodies, NOON), &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(
            text.contains("on-the-phone/>") && !text.contains("away/>"),
            "{text}"
        );
    }
}

fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LAMPLIGHT_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let path = root.join("spec").join(path);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// The documents that the interface's description prints come out with the meaning they went in with, and
/// the schema of section 5.1 accepts what is written.
// proves: BLU-4.4-02
#[test]
fn the_printed_documents_are_read_and_written_again() {
    for (file, note, activity) in [
        (
            "vectors/bodies/blu-3-presence-document.xml",
            "In a meeting",
            "<rpid:busy/>",
        ),
        (
            "vectors/blu-4.4-calendar.notify.sip",
            "In a meeting",
            "<rpid:busy/>",
        ),
        ("vectors/blu-4.4-status.notify.sip", "HELLO", "<rpid:busy/>"),
        (
            "vectors/blu-4.3-publish.request.sip",
            "HELLO",
            "<rpid:busy/>",
        ),
    ] {
        let Some(path) = shared(file) else { return };
        let text = fs::read_to_string(path).expect("a vector");
        let body = text.split_once("\r\n\r\n").map_or(&*text, |(_, body)| body);
        let now = if file.contains("presence-document") {
            1_301_911_200_000
        } else {
            NOON
        };
        let document = written(&view_of(&[body], now));
        let expected = format!("<rpid:note xml:lang=\"Eng\">{note}</rpid:note>{activity}");
        assert_eq!(activities(&document), expected, "{file}: {document}");
        // Written and read again it says the same: what we print, a client may publish.
        let again = written(&view_of(&[&document], now));
        let sources = |text: &str| text[text.find("<aa:presence>").expect("sources")..].to_owned();
        assert_eq!(sources(&again), sources(&document), "{file}");

        let Some(validator) = shared("validate.py") else {
            return;
        };
        let name = format!("lamplight-blustar-{}.xml", std::process::id());
        let shown = std::env::temp_dir().join(name);
        fs::write(&shown, &document).expect("written");
        let run = Command::new("python3")
            .arg(validator)
            .args(["--profile", "lenient"])
            .arg(&shown)
            .output()
            .expect("python3 runs");
        fs::remove_file(&shown).expect("removed");
        let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
        if said.contains("No module named") || said.contains("pip install") {
            eprintln!("skipped: {said}");
            continue;
        }
        assert!(run.status.success(), "{file}: {said}\n{document}");
    }
}
