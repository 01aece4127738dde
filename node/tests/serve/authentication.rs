//! Who may speak, on the wire: office clients with NTLM, phones with Digest, both at one server.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use node::ingress::digest::Algorithm;
use node::ingress::ntlm::{Fields, Opaque};
use transport::sip::{Message, Name, Request, Response, StatusCode};

use super::enhanced::client::{SELF_LINES, diagnostic, note, publication, text};
use super::phone::{Phone, fresh};
use super::server::{PATIENCE, Server};

/// The office client of the scheme's own tests: it shares no code with the server.
#[path = "../../src/ingress/ntlm/tests/client.rs"]
mod office;

const REALM: &str = "SIP Communications Service";
const DOMAIN: &str = "contoso.com";
const TARGET: (&str, &str) = (REALM, DOMAIN);

/// Runs `lamplight user`; standard output, or standard error.
fn user(arguments: &[&str], users: &Path, password: &str) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lamplight"));
    command
        .arg("user")
        .args(arguments)
        .arg("--users")
        .arg(users);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut input = child.stdin.take().expect("piped");
    // A command that wants no password may be gone already.
    let _ = writeln!(input, "{password}");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .expect("text")
            .trim_end()
            .to_owned()
    };
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

const ADD: [&str; 4] = ["add", "--realm", DOMAIN, "--password-stdin"];

/// A server that asks, with alice and bob as users, made as an operator makes them.
fn server(data: &Path, auth: &str, more: &[&str]) -> Server {
    let users = data.join("users");
    for name in ["alice", "bob"] {
        user(&[&ADD[..], &[name]].concat(), &users, "wonder").expect("added");
    }
    let users = users.to_str().expect("a path").to_owned();
    let mut arguments = vec!["--domain", DOMAIN, "--auth", auth, "--users", &users];
    // The realm and the server's name are the first domain's, and tests have others before it.
    let settings = data.join("node.toml");
    std::fs::write(
        &settings,
        format!("[auth]\nrealm = \"{DOMAIN}\"\nserver_name = \"{DOMAIN}\"\n"),
    )
    .expect("written");
    let settings = settings.to_str().expect("a path").to_owned();
    arguments.extend(["--config", &settings]);
    arguments.extend(more);
    Server::start_with(&data.join("node"), &arguments)
}

/// An office client: one endpoint, its connection, and its association once it has one.
struct Office {
    phone: Phone,
    uri: String,
    epid: String,
    session: Option<(office::Session, Opaque)>,
    /// The count of the server's last signature.
    snum: u32,
}

impl Office {
    fn new(server: &Server, user: &str) -> Office {
        Office {
            phone: Phone::tcp(server.tcp),
            uri: format!("sip:{user}@{DOMAIN}"),
            epid: format!("{:010x}", fresh()),
            session: None,
            snum: 0,
        }
    }

    fn head(&self, method: &str, uri: &str, from: &str, to: &str) -> String {
        let (local, epid, number) = (self.phone.local, &self.epid, fresh());
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch=z9hG4bKt{number}\r\nMax-Forwards: 70\r\n\
             From: <{from}>;tag=f{number};epid={epid}\r\nTo: <{to}>\r\nCall-ID: call-{number}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:{local};transport=tcp>;proxy=replace\r\n"
        )
    }

    /// Sends a request with one more line; the response.
    fn send(&mut self, head: &str, lines: &str, body: &str) -> (Request, Response) {
        let whole = format!("{head}{lines}Content-Length: {}\r\n\r\n{body}", body.len());
        self.phone.send(whole.as_bytes());
        (read(&whole), self.phone.response())
    }

    /// The same, signed.
    fn ask(&mut self, head: &str, lines: &str, body: &str) -> (Request, Response) {
        let unsigned = read(&format!("{head}{lines}Content-Length: 0\r\n\r\n"));
        let (session, opaque) = self.session.as_mut().expect("signed in");
        let signature = session.sign(TARGET, &Fields::of_request(&unsigned), 4);
        let line = credentials(&format!("opaque=\"{opaque}\", {signature}"));
        self.send(head, &format!("{lines}{line}"), body)
    }

    /// The same, and the server's signature must be right.
    fn trust(&mut self, head: &str, lines: &str, body: &str) -> Response {
        let (request, response) = self.ask(head, lines, body);
        self.check_response(&request, &response);
        response
    }

    fn check_response(&mut self, request: &Request, response: &Response) {
        let fields = Fields::of_request(request).response(
            response.status().number(),
            response.to_tag().unwrap_or_default(),
            response.header(Name::Expires).unwrap_or_default(),
        );
        let info = response.other_headers("Authentication-Info").next();
        self.check(info.expect("a signed response"), &fields);
    }

    fn check(&mut self, info: &str, fields: &Fields<'_>) {
        let (session, _) = self.session.as_ref().expect("signed in");
        let count = session.check(info, TARGET, fields, 4);
        let count = count.unwrap_or_else(|| panic!("a right signature: {info} {fields:?}"));
        assert!(count > self.snum, "{count} after {}", self.snum);
        self.snum = count;
    }

    /// The handshake, on a request of this kind; what it comes to.
    fn handshake(
        &mut self,
        password: &'static str,
        make: impl Fn(&Office) -> (String, String),
    ) -> Response {
        let (head, lines) = make(self);
        let (_, offered) = self.send(&head, &lines, "");
        assert_eq!(offered.status(), StatusCode::UNAUTHORIZED);
        let offers: Vec<&str> = offered.headers(Name::WwwAuthenticate).collect();
        let own = format!("NTLM realm=\"{REALM}\", targetname=\"{DOMAIN}\", version=4");
        assert!(offers.contains(&&*own), "{offers:?}");
        let (head, lines) = make(self);
        let begin = credentials("gssapi-data=\"\", version=4");
        let (_, challenged) = self.send(&head, &format!("{lines}{begin}"), "");
        assert_eq!(challenged.status(), StatusCode::UNAUTHORIZED);
        let challenge = challenged
            .header(Name::WwwAuthenticate)
            .expect("a CHALLENGE");
        let (message, opaque) = office::challenge_of(challenge);
        let name: &'static str = match &*self.uri {
            uri if uri.contains("bob") => "bob",
            _ => "alice",
        };
        let (answer, mut session) =
            office::Client::new(name, "CONTOSO", password).authenticate(&message);
        let (head, lines) = make(self);
        let unsigned = read(&format!("{head}{lines}Content-Length: 0\r\n\r\n"));
        let signature = session.sign(TARGET, &Fields::of_request(&unsigned), 4);
        let token = STANDARD.encode(answer);
        let last = credentials(&format!(
            "opaque=\"{opaque}\", gssapi-data=\"{token}\", version=4, {signature}"
        ));
        self.session = Some((session, opaque));
        let (request, response) = self.send(&head, &format!("{lines}{last}"), "");
        if response
            .other_headers("Authentication-Info")
            .next()
            .is_some()
        {
            self.check_response(&request, &response);
        }
        response
    }

    fn register(&self, expires: u32) -> (String, String) {
        let (uri, domain) = (self.uri.clone(), format!("sip:{DOMAIN}"));
        let lines = format!(
            "Supported: gruu-10, adhoclist, msrtc-event-categories\r\nEvent: registration\r\nExpires: {expires}\r\n"
        );
        (self.head("REGISTER", &domain, &uri, &uri), lines)
    }

    fn sign_in(server: &Server, user: &str) -> Office {
        let mut office = Office::new(server, user);
        let response = office.handshake("wonder", |office| office.register(600));
        assert_eq!(response.status(), StatusCode::OK, "{user} signs in");
        assert!(office.snum > 0, "the answer was signed");
        office
    }

    fn own(&self, method: &str) -> String {
        self.head(method, &self.uri, &self.uri, &self.uri)
    }

    fn service(&mut self, media: &str, body: &str) -> Response {
        let head = self.own("SERVICE");
        self.trust(&head, &format!("Content-Type: {media}\r\n"), body)
    }

    fn publish(&mut self, publications: &str) -> Response {
        let uri = self.uri.clone();
        self.service(
            "application/msrtc-category-publish+xml",
            &format!(
                "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\">\
                 <publications uri=\"{uri}\">{publications}</publications></publish>"
            ),
        )
    }
}

fn read(text: &str) -> Request {
    match Message::parse(Bytes::copy_from_slice(text.as_bytes())) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

fn credentials(rest: &str) -> String {
    format!(
        "Authorization: NTLM qop=\"auth\", realm=\"{REALM}\", targetname=\"{DOMAIN}\", {rest}\r\n"
    )
}

const ROAMING: &str = "<roamingList xmlns=\"http://schemas.microsoft.com/2006/09/sip/roaming-self\">\
    <roaming type=\"categories\"/></roamingList>";

/// The lines of a subscription to one's own data.
fn own_data() -> String {
    format!(
        "Event: vnd-microsoft-roaming-self\r\nExpires: 3600\r\n{SELF_LINES}\
         Content-Type: application/vnd-microsoft-roaming-self+xml\r\n"
    )
}

//= MS-SIPAE 3.3.4.1
//= type=test
#[test]
fn an_office_client_is_answered_and_told_with_signatures() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "ntlm", &[]);
    let mut alice = Office::sign_in(&server, "alice");
    let head = alice.own("SUBSCRIBE");
    let seen = alice.trust(&head, &own_data(), ROAMING);
    assert_eq!(seen.status(), StatusCode::OK);
    assert!(
        seen.header(Name::Expires).is_some(),
        "it is in the signed text"
    );

    let published = alice.publish(&publication(
        "note",
        0,
        400,
        0,
        "expireType=\"static\"",
        &note("signed"),
    ));
    assert_eq!(published.status(), StatusCode::OK);
    let told = alice.phone.notify(None);
    assert_eq!(told.method().as_str(), "BENOTIFY");
    let info = told.other_headers("Authentication-Info").next();
    alice.check(info.expect("a signed BENOTIFY"), &Fields::of_request(&told));

    // Refusals are signed as well: by the dialect, by the machine, and for what we do not do.
    let stale = alice.publish(&publication(
        "note",
        0,
        400,
        7,
        "expireType=\"static\"",
        &note("late"),
    ));
    assert_eq!(stale.status(), StatusCode::CONFLICT);
    let bad = alice.service("text/plain", "nothing");
    assert_eq!(bad.status().number(), 415);
    let head = alice.own("INVITE");
    assert_eq!(alice.trust(&head, "", "").status().number(), 405);

    // What was altered on its way is not hers, and neither is what comes twice.
    let head = alice.own("SUBSCRIBE");
    let altered = alice.head(
        "SUBSCRIBE",
        &alice.uri,
        &alice.uri,
        &format!("sip:bob@{DOMAIN}"),
    );
    let unsigned = read(&format!("{head}{}Content-Length: 0\r\n\r\n", own_data()));
    let (session, opaque) = alice.session.as_mut().expect("signed in");
    let signature = session.sign(TARGET, &Fields::of_request(&unsigned), 4);
    let line = credentials(&format!("opaque=\"{opaque}\", {signature}"));
    let lines = format!("{}{line}", own_data());
    for (head, status) in [(&altered, 401), (&head, 200), (&head, 401)] {
        // A branch of its own, so that it is no retransmission.
        let head = head.replace("z9hG4bKt", &format!("z9hG4bKt{}", fresh()));
        let (_, response) = alice.send(&head, &lines, ROAMING);
        assert_eq!(response.status().number(), status, "{head}");
    }

    // Signed off: the last answer is signed, and nothing that comes after is believed.
    let (head, lines) = alice.register(0);
    assert_eq!(alice.trust(&head, &lines, "").status(), StatusCode::OK);
    let (head, lines) = alice.register(600);
    let (_, after) = alice.ask(&head, &lines, "");
    assert_eq!(after.status(), StatusCode::UNAUTHORIZED);
    assert!(after.other_headers("Authentication-Info").next().is_none());
}

#[test]
fn a_proven_user_speaks_for_itself_only() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "ntlm", &[]);
    let mut alice = Office::sign_in(&server, "alice");
    let (own, bob) = (alice.uri.clone(), format!("sip:bob@{DOMAIN}"));
    for (method, uri, from, to) in [
        ("SUBSCRIBE", &*bob, &*bob, &*bob),
        ("SERVICE", &bob, &bob, &bob),
        ("PUBLISH", &bob, &own, &bob),
        ("REGISTER", "sip:contoso.com", &own, &bob),
        ("REGISTER", "sip:contoso.com", &bob, &bob),
    ] {
        let head = alice.head(method, uri, from, to);
        let response = alice.trust(&head, "Event: presence\r\n", "");
        assert_eq!(
            response.status(),
            StatusCode::FORBIDDEN,
            "{method} {from} {to}"
        );
        assert_eq!(diagnostic(&response), Some(4004), "{method} {from} {to}");
    }
    // A handshake with her own password does not make her somebody else.
    let mut mallory = Office::new(&server, "bob");
    mallory.session = None;
    let response = mallory.handshake("wander", |office| office.register(600));
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let own_login = |office: &Office| {
        let (head, lines) = office.register(600);
        (head.replace("From: <sip:alice@", "From: <sip:bob@"), lines)
    };
    let mut alice = Office::new(&server, "alice");
    let response = alice.handshake("wonder", own_login);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

//= RFC 3261 22.2
//= type=test
#[test]
fn a_client_that_does_not_understand_a_challenge_is_not_answered_for_ever() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "ntlm", &[]);
    let mut client = Office::new(&server, "alice");
    let head = client.own("SUBSCRIBE");
    let (_, first) = client.send(&head, &own_data(), ROAMING);
    assert_eq!(first.status(), StatusCode::UNAUTHORIZED);
    assert!(first.header(Name::WwwAuthenticate).is_some());
    let (_, second) = client.send(&head, &own_data(), ROAMING);
    assert_eq!(second.status(), StatusCode::FORBIDDEN);
    assert!(
        client.phone.receive(PATIENCE).is_none(),
        "the connection ends"
    );
    // A REGISTER is challenged as often as it comes: that is how handshakes begin.
    let mut client = Office::new(&server, "alice");
    let (head, lines) = client.register(600);
    for _ in 0..3 {
        let (_, response) = client.send(&head, &lines, "");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

//= MS-PRES 3.4.5.3
//= type=test
#[test]
fn an_endpoint_that_is_not_registered_is_challenged_anew() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "ntlm,digest", &[]);
    let mut alice = Office::new(&server, "alice");
    let subscribe = |office: &Office| {
        // One line, so that a handshake can be made of it without a body: a refresh needs none either.
        (
            office.own("SUBSCRIBE"),
            "Event: vnd-microsoft-roaming-contacts\r\n".to_owned(),
        )
    };
    let response = alice.handshake("wonder", subscribe);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(diagnostic(&response), Some(4010));
    let offers: Vec<&str> = response.headers(Name::WwwAuthenticate).collect();
    assert_eq!(offers.len(), 4, "{offers:?}");
    assert!(
        offers[0].starts_with("NTLM ") && offers[1].starts_with("Digest "),
        "{offers:?}"
    );
}

#[test]
fn users_change_while_the_server_runs() {
    let data = tempfile::tempdir().expect("a folder");
    let users = data.path().join("users");
    let server = server(data.path(), "ntlm", &[]);
    let mut alice = Office::sign_in(&server, "alice");
    let mut bob = Office::sign_in(&server, "bob");
    let registers = |office: &mut Office| {
        let (head, lines) = office.register(600);
        office.ask(&head, &lines, "").1.status().number()
    };
    // A bad file: nothing changes. SIGHUP is only a word, so there is nothing to wait for but time.
    let good = std::fs::read_to_string(&users).expect("there");
    std::fs::write(&users, "alice\n").expect("written");
    server.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((registers(&mut alice), registers(&mut bob)), (200, 200));

    std::fs::write(&users, good).expect("written");
    let gone = user(&["remove", "--realm", DOMAIN, "bob"], &users, "");
    assert!(gone.expect("removed").contains("SIGHUP"));
    server.signal("HUP");
    let until = Instant::now() + PATIENCE;
    while registers(&mut bob) == 200 {
        assert!(Instant::now() < until, "bob is no user any more");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(registers(&mut alice), 200, "she stays signed in");
    let mut again = Office::new(&server, "bob");
    let response = again.handshake("wonder", |office| office.register(600));
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[test]
fn the_command_says_what_it_did_and_what_to_do() {
    let data = tempfile::tempdir().expect("a folder");
    let users = data.path().join("users");
    let with = |verb: &'static str, name: &'static str, password: &str| {
        user(
            &[verb, "--realm", "example.com", "--password-stdin", name],
            &users,
            password,
        )
    };
    let error = user(&["list"], &users, "").expect_err("no file");
    assert!(error.contains("user add makes it"), "{error}");
    assert!(
        with("passwd", "alice", "x")
            .expect_err("nobody")
            .contains("lamplight user add")
    );
    let added = with("add", "alice", "wonder").expect("added");
    assert!(added.contains("MD5, SHA-256, SHA-512-256, NTLM"), "{added}");
    let before = std::fs::read_to_string(&users).expect("there");
    let error = with("add", "Alice", "x").expect_err("twice");
    assert!(error.contains("user passwd"), "{error}");
    assert!(
        with("passwd", "alice", "")
            .expect_err("no password")
            .contains("empty")
    );
    let error = user(&["add", "--realm", "example.com", "carol"], &users, "x");
    assert!(error.expect_err("no terminal").contains("--password-stdin"));
    assert_eq!(std::fs::read_to_string(&users).expect("there"), before);
    with("passwd", "alice", "another").expect("changed");
    assert_ne!(std::fs::read_to_string(&users).expect("there"), before);
    let list = user(&["list"], &users, "").expect("a list");
    assert_eq!(
        list,
        "USER   REALM        SCHEMES\nalice  example.com  MD5, SHA-256, SHA-512-256, NTLM"
    );
    let removed = user(&["remove", "--realm", "example.com", "alice"], &users, "");
    assert!(removed.expect("removed").contains("no user any more"));
    assert_eq!(std::fs::read_to_string(&users).expect("there"), "");
}

/// What a phone answers a challenge with.
fn digest(challenge: &str, method: &str, uri: &str, password: &str, count: u32) -> String {
    let algorithm = challenge.split("algorithm=").nth(1).expect("it names one");
    let algorithm = algorithm
        .split(',')
        .next()
        .and_then(Algorithm::parse)
        .expect("known");
    let nonce = office::value(challenge, "nonce");
    let count = format!("{count:08x}");
    let first = algorithm.hash(&["alice", DOMAIN, password]);
    let second = algorithm.hash(&[method, uri]);
    let response = algorithm.hash(&[&first, nonce, &count, "ours", "auth", &second]);
    format!(
        "Authorization: Digest username=\"alice\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", qop=auth, \
         nc={count}, cnonce=\"ours\", response=\"{response}\", algorithm={}\r\n",
        algorithm.as_str()
    )
}

/// As the libraries of browser softphones do: they look at the last challenge, and know MD5.
//= RFC 7118 7
//= type=test
#[test]
fn a_browser_signs_in_by_the_last_challenge() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "digest,ntlm", &["--listen", "ws:127.0.0.1:0"]);
    let mut browser = Phone::ws(server.ws.expect("a listener"));
    let (uri, alice) = ("sip:contoso.com", format!("sip:alice@{DOMAIN}"));
    let mut ask = |cseq: u32, lines: &str| {
        let to = format!("<{alice}>");
        let head = browser.head("REGISTER", uri, &alice, &to, "browser", cseq);
        browser.ask(head, lines, "")
    };
    let offered = ask(1, "");
    assert_eq!(offered.status(), StatusCode::UNAUTHORIZED);
    let challenges = offered.headers(Name::WwwAuthenticate);
    let last = challenges.last().expect("a challenge");
    assert!(
        last.starts_with("Digest ") && last.ends_with("algorithm=MD5"),
        "{last}"
    );
    let wrong = ask(2, &digest(last, "REGISTER", uri, "wander", 1));
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let right = ask(3, &digest(last, "REGISTER", uri, "wonder", 2));
    assert_eq!(right.status(), StatusCode::OK);
}

//= RFC 8760 2.4
//= type=test
#[test]
fn a_phone_signs_in_by_digest_beside_office_clients() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "ntlm,digest", &[]);
    Office::sign_in(&server, "alice");
    for (mut phone, first) in [(Phone::udp(server.udp), 0), (Phone::tcp(server.tcp), 1)] {
        let (uri, call) = ("sip:contoso.com", format!("phone-{}", fresh()));
        let alice = format!("sip:alice@{DOMAIN}");
        let mut ask = |cseq: u32, lines: &str| {
            let head = phone.head("REGISTER", uri, &alice, &format!("<{alice}>"), &call, cseq);
            phone.ask(head, lines, "")
        };
        let offered = ask(1, "");
        let offers: Vec<&str> = offered.headers(Name::WwwAuthenticate).collect();
        let digests = &offers[first..];
        let algorithms: Vec<&str> = digests
            .iter()
            .map(|offer| offer.split("algorithm=").nth(1).expect("it names one"))
            .collect();
        assert_eq!(algorithms, ["SHA-512-256", "SHA-256", "MD5"], "{offers:?}");
        for (cseq, challenge) in (2..).zip(digests) {
            let wrong = digest(challenge, "REGISTER", uri, "wander", cseq);
            let right = digest(challenge, "REGISTER", uri, "wonder", cseq);
            let wrong = ask(10 * cseq, &wrong);
            assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
            assert!(
                !wrong
                    .headers(Name::WwwAuthenticate)
                    .any(|of| of.contains("stale"))
            );
            assert_eq!(
                ask(10 * cseq + 1, &right).status(),
                StatusCode::OK,
                "{challenge}"
            );
            let again = ask(10 * cseq + 2, &right);
            assert_eq!(again.status(), StatusCode::UNAUTHORIZED, "a replay");
            let stale = |of: &str| of.starts_with("NTLM ") || of.ends_with(", stale=true");
            assert!(again.headers(Name::WwwAuthenticate).all(stale));
        }
        let response = ask(99, &digest(digests[0], "REGISTER", uri, "wonder", 99));
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[test]
fn over_datagrams_nobody_is_asked_for_what_only_streams_carry() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "ntlm", &[]);
    let mut phone = Phone::udp(server.udp);
    let alice = format!("sip:alice@{DOMAIN}");
    let head = phone.head(
        "REGISTER",
        "sip:contoso.com",
        &alice,
        &format!("<{alice}>"),
        "udp",
        1,
    );
    let response = phone.ask(head, "", "");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(response.header(Name::WwwAuthenticate).is_none());
}

//= MS-PRES 3.4.5.1.3
//= type=test
#[test]
fn only_an_edge_of_ours_says_from_where_somebody_asks() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "ntlm", &["--trusted-edge", "127.0.0.0/8"]);
    let mut alice = Office::sign_in(&server, "alice");
    let members = "<setContainerMembers xmlns=\"http://schemas.microsoft.com/2006/09/sip/container-management\">\
        <container id=\"100\" version=\"0\"><member action=\"add\" type=\"federated\"/></container>\
        <container id=\"200\" version=\"0\"><member action=\"add\" type=\"sameEnterprise\"/></container>\
        <container id=\"300\" version=\"0\"><member action=\"add\" type=\"publicCloud\"/></container>\
        </setContainerMembers>";
    let set = alice.service("application/msrtc-setcontainermembers+xml", members);
    assert_eq!(set.status(), StatusCode::OK);
    let notes: String = [
        (100, "federated"),
        (200, "sameEnterprise"),
        (300, "publicCloud"),
    ]
    .map(|(container, class)| {
        publication(
            "note",
            0,
            container,
            0,
            "expireType=\"static\"",
            &note(&format!("for {class}")),
        )
    })
    .concat();
    assert_eq!(alice.publish(&notes).status(), StatusCode::OK);

    let mark = |network: &str| {
        format!(
            "ms-edge-proxy-message-trust: ms-source-type=AutoFederation;ms-ep-fqdn=edge.contoso.com;\
             ms-source-network={network};ms-source-verified-user=verified\r\n"
        )
    };
    let watch = |marks: &str| {
        let mut edge = Phone::tcp(server.tcp);
        let head = edge.head(
            "SUBSCRIBE",
            &alice.uri,
            "sip:carol@partner.example",
            &format!("<{}>", alice.uri),
            &format!("edge-{}", fresh()),
            1,
        );
        let body = format!(
            "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" uri=\"sip:carol@partner.example\" name=\"\">\
             <action name=\"subscribe\" id=\"1\"><adhocList><resource uri=\"{}\"/></adhocList>\
             <categoryList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\"><category name=\"note\"/></categoryList>\
             </action></batchSub>",
            alice.uri
        );
        let lines = format!(
            "Event: presence\r\nExpires: 0\r\nRequire: categoryList\r\nAccept: application/msrtc-event-categories+xml, application/rlmi+xml, multipart/related\r\n\
             Supported: ms-piggyback-first-notify\r\n{marks}Content-Type: application/msrtc-adrl-categorylist+xml\r\n"
        );
        let response = edge.ask(head, &lines, &body);
        assert_eq!(response.status(), StatusCode::OK, "{marks}");
        text(response.body())
    };
    for class in ["federated", "publicCloud"] {
        let seen = watch(&mark(class));
        assert!(seen.contains(&format!("for {class}")), "{class}: {seen}");
        assert_eq!(seen.matches("for ").count(), 1, "{seen}");
    }
    drop(server);

    // Without such an edge, nobody of another domain is believed anything.
    let data = tempfile::tempdir().expect("a folder");
    let server = self::server(data.path(), "ntlm", &["--trusted-edge", "192.0.2.0/24"]);
    let mut stranger = Phone::tcp(server.tcp);
    let uri = format!("sip:alice@{DOMAIN}");
    let head = stranger.head(
        "SUBSCRIBE",
        &uri,
        "sip:carol@partner.example",
        &format!("<{uri}>"),
        "no",
        1,
    );
    let response = stranger.ask(
        head,
        &format!("Event: presence\r\n{}", mark("federated")),
        "",
    );
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
