//! Directory search (MS-PRES 2.2.1, 3.1, 4.1).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;
use transport::sip::{Name, Response, StatusCode};

use super::super::directory::{folder, start};
use super::super::phone::{Phone, fresh};
use super::super::server::Server;
use super::client::{Client, shared, somebody, text};
use super::tree;

const MEDIA: &str = "application/SOAP+xml";

/// The one of the specification's example, the one who searches, and some more.
const USERS: &str = "\
[[user]]
address = 'Alice@contoso.com'
display_name = 'Alice'
title = 'SR. LEAD'
office = '111'
phones.work = '+1 (555) 555555 X55555'
company = 'contoso'
mail = 'Alice@contoso.com'

[[user]]
address = 'bob@contoso.com'
display_name = 'Bob <b@d> & \"Co\"'
company = 'contoso'

[[user]]
address = 'user1@contoso.com'
display_name = 'User One'
company = 'fabrikam'

[[user]]
address = 'user2@contoso.com'
display_name = 'User Two'
company = 'contoso'

[[user]]
address = 'user3@contoso.com'
display_name = 'User Three'
company = 'contoso'

[[user]]
address = 'user4@contoso.com'
display_name = 'User Hidden'
company = 'contoso'
hidden = true

[[user]]
address = 'user5@contoso.com'
display_name = 'User Disabled'
company = 'contoso'
disabled = true
";

/// One server for the tests of this file; it answers with three rows at most.
fn searched() -> &'static Server {
    static SERVER: OnceLock<(Server, TempDir)> = OnceLock::new();
    let (server, _) = SERVER.get_or_init(|| {
        let (folder, config) = folder(USERS, "max_results = 3");
        (start(folder.path(), &config), folder)
    });
    server
}

fn body(filters: &[(&str, &str)], max: Option<u32>) -> String {
    let rows: String = filters
        .iter()
        .map(|(attribute, value)| format!("<m:row m:attrib=\"{attribute}\" m:value=\"{value}\"/>"))
        .collect();
    let max = max
        .map(|max| format!("<m:maxResults>{max}</m:maxResults>"))
        .unwrap_or_default();
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:m=\"http://schemas.microsoft.com/winrtc/2002/11/sip\"><s:Body>\
         <m:directorySearch><m:filter m:href=\"#f\"/>{max}</m:directorySearch>\
         <m:Array m:id=\"f\">{rows}</m:Array></s:Body></s:Envelope>"
    )
}

/// A SERVICE in SOAP to any address.
fn ask(client: &mut Client, to: &str, lines: &str, body: &str) -> Response {
    let head = client.head("SERVICE", to, None, &format!("search-{}", fresh()), 1);
    client
        .phone
        .ask(head, &format!("Content-Type: {MEDIA}\r\n{lines}"), body)
}

/// Searches contoso.com.
pub fn search(client: &mut Client, filters: &[(&str, &str)], max: Option<u32>) -> Response {
    ask(client, "sip:contoso.com", "", &body(filters, max))
}

/// The rows of an answer.
pub fn rows(answer: &Response) -> Vec<String> {
    let plain = text(answer.body()).replace("m:", "");
    let plain = plain.replace("xmlns:", "xmlns-").replace("SOAP-ENV:", "");
    plain
        .split("<row ")
        .skip(1)
        .map(|row| row.split("/>").next().unwrap_or_default().to_owned())
        .collect()
}

fn addresses(answer: &Response) -> Vec<String> {
    let address = |row: &String| row.split('"').nth(1).expect("uri first").to_owned();
    rows(answer).iter().map(address).collect()
}

fn more(answer: &Response) -> String {
    let body = text(answer.body());
    let said = body.split("moreAvailable>").nth(1).expect("said");
    said.split('<').next().expect("a word").to_owned()
}

fn is_fault(answer: &Response, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status().number(), status, "{what}");
    let body = text(answer.body());
    let faults = tree::elements(&body, "Faultcode", &[]);
    assert_eq!(faults.len(), 1, "{what}: {body}");
    assert!(faults[0].contains(&format!("{code:?}")), "{what}: {body}");
    assert_eq!(answer.header(Name::ContentType), Some(MEDIA), "{what}");
}

fn is_valid(document: &str, shared: &Path) {
    let validate = shared.join("spec/validate.py");
    let python = Command::new("python3").args(["-c", "import lxml"]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: validating needs python3 with lxml (pip install lxml)");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("body.xml");
    fs::write(&file, document).expect("written");
    let output = Command::new("python3")
        .arg(validate)
        .arg(&file)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}\n{document}");
}

/// The folder of the specification's vectors, or a word about what is missing.
fn specification() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared"));
    let folder = std::env::var_os("LAMPLIGHT_SHARED").map_or_else(beside, PathBuf::from);
    if folder.join("spec/vectors").is_dir() {
        return Some(folder);
    }
    eprintln!(
        "skipped: needs the vectors in {} (or LAMPLIGHT_SHARED)",
        folder.display()
    );
    None
}

//= MS-PRES 4.1
//= type=test
//# the example's request is answered as the example's response; one that cannot be read as its fault
//= MS-PRES 2.2.1
//= type=test
//# requests and answers are bodies of SERVICE
// proves: PRES-2.2.1-01 PRES-2.2.1-02 PRES-3.1.5.1-04 PRES-3.1.5.3-01 PRES-3.1.5.4-01
#[test]
fn the_examples_are_answered_as_printed() {
    let Some(shared) = specification() else {
        return;
    };
    let vector =
        |name: &str| fs::read_to_string(shared.join("spec/vectors").join(name)).expect(name);
    let printed = |name: &str| {
        let text = vector(name);
        let (_, body) = text.split_once("\r\n\r\n").expect("a body");
        let masked = ["xmlns", "uri"];
        tree::canonical(body, &masked)
    };
    let mut phone = Phone::tcp(searched().tcp);
    for name in [
        "2.2.1-directory-search.request.sip",
        "4.1-directory-search.request.sip",
    ] {
        let request = vector(name).replace("CSeq: 1 ", &format!("CSeq: {} ", fresh()));
        phone.send(request.as_bytes());
        let answer = phone.response();
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
        assert_eq!(answer.header(Name::ContentType), Some(MEDIA));
        let body = text(answer.body());
        assert_eq!(
            tree::canonical(&body, &["uri"]),
            printed("4.1-directory-search.200.sip"),
            "{name}"
        );
        assert_eq!(addresses(&answer), ["sip:alice@contoso.com"]);
        is_valid(&body, &shared);

        let broken = request.replace("</m:directorySearch>", "</m:directorysearch>");
        phone.send(broken.replace("Call-ID: ", "Call-ID: broken").as_bytes());
        let answer = phone.response();
        is_fault(&answer, 400, "Client.BadCall", name);
        assert_eq!(
            tree::canonical(&text(answer.body()), &[]),
            printed("4.1-directory-search.400.sip")
        );
        is_valid(&text(answer.body()), &shared);
    }
}

//= MS-PRES 3.1.5.2
//= type=test
//# all filters hold; the lower of the two limits counts; moreAvailable when there is more
// proves: PRES-3.1.5.2-01 PRES-3.1.5.2-02 PRES-3.1.5.2-03 PRES-3.1.5.3-02 PRES-1.3.2-01
#[test]
fn a_search_is_limited_and_says_so() {
    let mut bob = Client::sign_in(searched(), "bob");
    for (filters, max, expected, said) in [
        (
            &[("givenName", "user")][..],
            None,
            &["user1", "user3", "user2"][..],
            "false",
        ),
        (
            &[("givenName", "user"), ("company", "contoso")],
            None,
            &["user3", "user2"],
            "false",
        ),
        (
            &[("company", "contoso"), ("sn", "tw"), ("givenName", "U")],
            Some(9),
            &["user2"],
            "false",
        ),
        (
            &[("givenName", "user"), ("company", "contoso")],
            Some(1),
            &["user3"],
            "true",
        ),
        (
            &[("givenName", "user"), ("company", "contoso")],
            Some(0),
            &[],
            "true",
        ),
        (&[("givenName", "zoe")], None, &[], "false"),
        (&[("displayName", "User Hidden")], None, &[], "false"),
        (&[("displayName", "User Disabled")], None, &[], "false"),
        // The administrator's three, of four that there are.
        (
            &[("company", "contoso")],
            Some(100),
            &["alice", "bob", "user3"],
            "true",
        ),
    ] {
        let answer = search(&mut bob, filters, max);
        assert_eq!(answer.status(), StatusCode::OK, "{filters:?}");
        let expected: Vec<String> = expected
            .iter()
            .map(|user| format!("sip:{user}@contoso.com"))
            .collect();
        assert_eq!(addresses(&answer), expected, "{filters:?} {max:?}");
        assert_eq!(more(&answer), said, "{filters:?} {max:?}");
        let returned = tree::elements(&text(answer.body()), "returned", &[]);
        assert!(
            returned[0].ends_with(&format!("\"{}\"\n", expected.len())),
            "{returned:?}"
        );
    }
    // Whatever stands in the directory is XML in the answer.
    let answer = search(&mut bob, &[("displayName", "bob &lt;B@")], None);
    assert!(
        rows(&answer)[0].contains("Bob &lt;b@d&gt; &amp; &quot;Co&quot;"),
        "{}",
        text(answer.body())
    );
    if let Some(shared) = specification() {
        is_valid(&text(answer.body()), &shared);
    }
}

//= MS-PRES 3.1.5.1
//= type=test
//# From is a user, To the domain, no Require, a body; what is not so has its fault
//= MS-PRES 3.1.5.4
//= type=test
//# 400 for what cannot be read, 403 for who may not search
//= MS-PRES 3.1.5.3
//= type=test
//# a failure has a body as well
// proves: PRES-3.1.5.1-01 PRES-3.1.5.1-02 PRES-3.1.5.1-03 PRES-3.1.5.3-03 PRES-3.1.5.4-01 PRES-3.1.5.4-03
#[test]
fn a_search_that_is_none_is_told_why() {
    let mut bob = Client::sign_in(searched(), "bob");
    let good = body(&[("givenName", "a")], None);
    let domain = "sip:contoso.com";
    for to in ["sip:bob@contoso.com", "sip:alice@contoso.com"] {
        is_fault(&ask(&mut bob, to, "", &good), 400, "Client.BadCall", to);
    }
    let elsewhere = ask(&mut bob, "sip:elsewhere.example", "", &good);
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    for tag in ["eventlist", "unheard-of"] {
        let answer = ask(&mut bob, domain, &format!("Require: {tag}\r\n"), &good);
        assert_eq!(answer.status(), StatusCode::BAD_EXTENSION);
        assert_eq!(
            answer.other_headers("Unsupported").collect::<Vec<_>>(),
            [tag]
        );
    }
    let empty = ask(&mut bob, domain, "", "");
    is_fault(&empty, 400, "Client.BadCall", "no body");
    for (what, bad) in [
        ("not XML", "<"),
        ("no envelope", "<a/>"),
        ("no such array", &good.replace("#f", "#g")),
        ("no number", &body(&[], Some(1)).replace(">1<", ">one<")),
        (
            "another method",
            &good.replace("directorySearch", "directoryErase"),
        ),
    ] {
        let answer = ask(&mut bob, domain, "", bad);
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{what}");
        if what != "another method" {
            is_fault(&answer, 400, "Client.BadCall", what);
        }
    }
    for stranger in ["eve", "user5"] {
        let (mut eve, _) = Client::register(searched(), stranger, "");
        let answer = ask(&mut eve, domain, "", &good);
        is_fault(&answer, 403, "Client.NotAuthorized.UserSearch", stranger);
        eve.uri = "sip:bob@elsewhere.example".to_owned();
        let answer = ask(&mut eve, domain, "", &good);
        is_fault(
            &answer,
            403,
            "Client.NotAuthorized.UserSearch",
            "of another domain",
        );
    }
}

//= MS-PRES 3.1.5.4
//= type=test
//# anything else that keeps a search from its answer: 500
// proves: PRES-3.1.5.4-04
#[test]
fn without_a_directory_a_search_fails() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let answer = search(&mut bob, &[("givenName", "Alice")], None);
    is_fault(&answer, 500, "Server.UnknownError", "no directory");
}

#[test]
fn over_udp_an_answer_fits_a_datagram() {
    let many: String = (0..90)
        .map(|number| {
            let long = "x".repeat(100);
            format!("[[user]]\naddress='user{number}@contoso.com'\ndisplay_name='U{number} {long}'\ntitle='{long}'\ncompany='{long}'\n")
        })
        .collect();
    let (folder, config) = folder(&many, "max_results = 90");
    let server = start(folder.path(), &config);
    let mut over_tcp = Client::sign_in(&server, "user1");
    assert_eq!(rows(&search(&mut over_tcp, &[], None)).len(), 90);
    let mut over_udp = Client::sign_in(&server, "user2");
    over_udp.phone = Phone::udp(server.udp);
    let head = over_udp
        .head("SERVICE", "sip:contoso.com", None, "udp-search", 1)
        .replace("SIP/2.0/TCP", "SIP/2.0/UDP");
    let answer = over_udp.phone.ask(
        head,
        &format!("Content-Type: {MEDIA}\r\n"),
        &body(&[], None),
    );
    assert_eq!((rows(&answer).len(), more(&answer).as_str()), (50, "true"));
}
