//! Presence documents: read as they are meant, composed as the schemas ask.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use shard::document::pidf::{compose, parse};
use shard::presence::package::Package;
use shard::presence::publication::Content;
use shard::slot::Aor;
use shard::subscription::view::{Seen, View};
use shard::time::Timestamp;

fn show(published: &[&str]) -> String {
    let contents = published.iter().enumerate().map(|(number, body)| {
        let stored = parse(body.as_bytes()).expect("a presence document").into();
        Arc::new(Content {
            stored,
            published_at: Timestamp(1_000 + number as u64),
            number: number as u32,
            bearing: Default::default(),
        })
    });
    let view = View {
        presentity: Aor::sip("john.doe", "sfb.example"),
        package: Package::Presence,
        revision: 1,
        taken_at: Timestamp(9_000),
        seen: Seen::Publications(contents.collect()),
    };
    let mut out = Vec::new();
    compose(&view, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

/// What stands between the root's start tag and its end.
fn inside(document: &str) -> &str {
    let begin = document
        .find("entity=")
        .and_then(|at| document[at..].find('>').map(|end| at + end + 1))
        .expect("a root");
    document[begin..]
        .strip_suffix("</presence>\n")
        .expect("an end")
}

fn presence(inner: &str) -> String {
    format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' \
         xmlns:r='urn:ietf:params:xml:ns:pidf:rpid' entity='pres:john.doe@sfb.example'>{inner}</presence>"
    )
}

const GATEWAY: &str = "<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:ep='urn:ietf:params:xml:ns:pidf:status:rpid-status' \
    xmlns:ci='urn:ietf:params:xml:ns:pidf:cipid' entity='sip:john.doe@sfb.example'><tuple id='0'><status><basic>open</basic>\
    <ep:activities><ep:activity>on-the-phone</ep:activity></ep:activities></status></tuple><ci:display-name>John Doe</ci:display-name></presence>";

/// ADC-02, ADC-07, BLOG-02, BLOG-03, COM-03, COM-09, COM-10
#[test]
fn a_document_is_read_as_it_is_meant() {
    for (name, body, expected) in [
        (
            "plain",
            presence("<tuple id='a'><status><basic>open</basic></status></tuple>"),
            "<tuple id=\"a\"><status><basic>open</basic></status></tuple>",
        ),
        (
            "capitals, a note inside the status",
            presence(
                "<tuple id='a'><status><basic>Open</basic><note>available</note></status></tuple>",
            ),
            "<tuple id=\"a\"><status><basic>open</basic></status><note>available</note></tuple>",
        ),
        (
            "in use",
            presence("<tuple id='a'><status><basic>inuse</basic></status></tuple>"),
            "<tuple id=\"a\"><status><basic>open</basic></status></tuple><dm:person id=\"p2\"><rpid:activities><rpid:busy/></rpid:activities></dm:person>",
        ),
        (
            "out of order, twice, a bad time",
            presence(
                "<tuple id='a'><timestamp>soon</timestamp><note xml:lang='en'>x &amp; y</note><contact priority='0.8'>sip:a@b</contact><status><basic>closed</basic></status></tuple>",
            ),
            "<tuple id=\"a\"><status><basic>closed</basic></status><contact priority=\"0.8\">sip:a@b</contact><note xml:lang=\"en\">x &amp; y</note></tuple>",
        ),
        (
            "foreign elements",
            presence(
                "<tuple id='a'><status><basic>open</basic><o:online xmlns:o='http://www.linphone.org/x'/></status><x:y xmlns:x='u' z='1'/></tuple>",
            ),
            "<tuple id=\"a\"><status><basic>open</basic><o:online xmlns:o='http://www.linphone.org/x'/></status><x:y xmlns:x='u' z='1'/></tuple>",
        ),
        (
            "other prefixes",
            presence(
                "<dm:person id='p'><dm:note>n</dm:note><r:activities><r:away/></r:activities></dm:person>",
            ),
            "<dm:person id=\"p\"><r:activities xmlns:r=\"urn:ietf:params:xml:ns:pidf:rpid\"><r:away/></r:activities><dm:note>n</dm:note></dm:person>",
        ),
        (
            "a device",
            presence(
                "<dm:device id='d'><dm:deviceID>mac:8asd7</dm:deviceID><r:user-input>idle</r:user-input></dm:device>",
            ),
            "<dm:device id=\"d\"><r:user-input xmlns:r=\"urn:ietf:params:xml:ns:pidf:rpid\">idle</r:user-input><dm:deviceID>mac:8asd7</dm:deviceID></dm:device>",
        ),
        (
            "ids that are none, or twice",
            presence(
                "<tuple id='1 a'><status/></tuple><tuple id='b'><status/></tuple><tuple id='b'><status/></tuple>",
            ),
            "<tuple id=\"t1_a\"><status></status></tuple><tuple id=\"b\"><status></status></tuple><tuple id=\"b-2\"><status></status></tuple>",
        ),
        (
            "a gateway",
            GATEWAY.to_owned(),
            "<tuple id=\"t0\"><status><basic>open</basic></status></tuple><dm:person id=\"p2\"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>\
          <ci:display-name xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\">John Doe</ci:display-name>",
        ),
        (
            "an activity nobody knows",
            presence(
                "<tuple id='a'><status xmlns:e='urn:ietf:params:xml:ns:pidf:rpid-status'><e:activities><e:activity>juggling</e:activity></e:activities></status></tuple>",
            ),
            "<tuple id=\"a\"><status></status></tuple><dm:person id=\"p2\"><rpid:activities><rpid:other>juggling</rpid:other></rpid:activities></dm:person>",
        ),
    ] {
        assert_eq!(inside(&show(&[&body])), expected, "{name}");
    }
}

//= RFC 3863 4.1
//= type=test
//= RFC 3856 6.7
//= type=test
/// ADC-06, BLOG-05
#[test]
fn publications_are_composed_newest_first() {
    let phone = presence(
        "<tuple id='t0'><status><basic>open</basic></status></tuple><note>phone</note><dm:person id='p'><r:activities><r:away/></r:activities></dm:person>",
    );
    assert_eq!(
        inside(&show(&[])),
        "<tuple id=\"none\"><status><basic>closed</basic></status></tuple>"
    );
    let both = show(&[&phone, GATEWAY]);
    let expected = "<tuple id=\"t0\"><status><basic>open</basic></status></tuple><tuple id=\"t0-0\"><status><basic>open</basic></status></tuple>\
        <note>phone</note><dm:person id=\"p2\"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>\
        <ci:display-name xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\">John Doe</ci:display-name>";
    assert_eq!(inside(&both), expected);
    assert!(
        show(&[GATEWAY, &phone]).contains("<r:away/>"),
        "the newest person is shown"
    );
    assert!(
        both.contains("entity=\"sip:john.doe@sfb.example\""),
        "whatever the publisher called it"
    );
}

#[test]
fn what_is_no_presence_document_is_refused() {
    for (name, body) in [
        ("another root", "<presence/>".to_owned()),
        (
            "another document",
            "<tuple xmlns='urn:ietf:params:xml:ns:pidf' id='a'/>".to_owned(),
        ),
        (
            "a status that is none",
            presence("<tuple id='a'><status><basic>maybe</basic></status></tuple>"),
        ),
        (
            "an entity bomb",
            "<!DOCTYPE p [<!ENTITY a 'b'>]><presence xmlns='urn:ietf:params:xml:ns:pidf'/>"
                .to_owned(),
        ),
        (
            "half of one",
            "<presence xmlns='urn:ietf:params:xml:ns:pidf'>".to_owned(),
        ),
    ] {
        assert!(parse(body.as_bytes()).is_err(), "{name}");
    }
    let error = parse(
        presence("\n<tuple id='a'><status>\n<basic>maybe</basic></status></tuple>").as_bytes(),
    )
    .expect_err("refused");
    assert_eq!((error.line, error.column), (3, 1));
}

/// Needs python3 with lxml and the schemas of `../shared`; what they find is what a strict phone finds.
#[test]
fn composed_documents_validate_against_the_schemas() {
    let validate = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/spec/validate.py");
    let available = Command::new("python3")
        .args(["-c", "import lxml, xmlschema"])
        .output()
        .is_ok_and(|output| output.status.success())
        || Command::new("python3")
            .args(["-c", "import lxml"])
            .output()
            .is_ok_and(|output| output.status.success())
        || Command::new("python3")
            .args(["-c", "import xmlschema"])
            .output()
            .is_ok_and(|output| output.status.success());
    if !validate.exists() || !available {
        println!(
            "skipped: needs ../shared/spec/validate.py and python3 with lxml or xmlschema (pip install lxml xmlschema)"
        );
        return;
    }
    let phone = presence(
        "<tuple id='t0'><status><basic>open</basic></status><contact priority='0.5'>sip:a@b</contact></tuple><dm:person id='p'><r:activities><r:away/></r:activities><dm:note>n</dm:note></dm:person>",
    );
    let device = presence(
        "<dm:device id='d'><dm:deviceID>mac:8</dm:deviceID><r:user-input>idle</r:user-input></dm:device><tuple id='1'><status><basic>closed</basic></status></tuple>",
    );
    for (number, document) in [
        show(&[]),
        show(&[GATEWAY]),
        show(&[&phone, GATEWAY]),
        show(&[&phone, &device, GATEWAY]),
    ]
    .iter()
    .enumerate()
    {
        let file = std::env::temp_dir().join(format!(
            "lamplight-pidf-{}-{number}.xml",
            std::process::id()
        ));
        std::fs::write(&file, document).expect("written");
        let output = Command::new("python3")
            .arg(&validate)
            .arg(&file)
            .output()
            .expect("python3 runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        std::fs::remove_file(&file).expect("removed");
        assert!(output.status.success(), "{said}\n{document}");
    }
}

proptest! {
    /// Whatever stands in it: never a panic, and what was shown once is shown alike again.
    #[test]
    fn composing_what_was_composed_changes_nothing(note in "[ -~]{0,40}", id in "[a-z0-9 :]{0,8}", basic in "open|Closed|inuse", extra in "<x:y xmlns:x='u'>[a-z&&[^<]]{0,5}</x:y>|") {
        let mut escaped = Vec::new();
        shard::xml::escape(&note, &mut escaped);
        let note = String::from_utf8(escaped).expect("ASCII");
        let mut body_id = Vec::new();
        shard::xml::escape(&id, &mut body_id);
        let id = String::from_utf8(body_id).expect("ASCII");
        let body = presence(&format!("<tuple id=\"{id}\"><status><basic>{basic}</basic></status>{extra}<note>{note}</note></tuple>"));
        let once = show(&[&body]);
        prop_assert_eq!(show(&[&once]), once);
    }

    #[test]
    fn no_bytes_are_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..600, with in any::<u8>()) {
        let _ = parse(&bytes);
        bytes = GATEWAY.as_bytes().to_vec();
        let place = at % bytes.len();
        bytes[place] = with;
        let _ = parse(&bytes);
    }
}
