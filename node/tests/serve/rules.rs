//! Who may see what: rules in files and over XCAP, the operator's explanation, who watches, and lists that the
//! server keeps.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use transport::sip::{Name, Request, Response};

use super::phone::{Phone, Publisher, document, fresh, told};
use super::pool::Pool;
use super::server::{PATIENCE, Server};

/// Within which nothing comes.
const QUIET: Duration = Duration::from_millis(300);

const ALL: &str = "<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/>\
    </pr:provide-persons><pr:provide-all-attributes/>";
const SERVICES: &str = "<pr:provide-services><pr:all-services/></pr:provide-services>";

/// A rules document: whom each rule is about, what it says, what it shows.
fn ruleset(rules: &[(&str, &str, &str)]) -> String {
    let each = rules.iter().map(|(user, handling, shows)| {
        format!(
            "<rule id=\"{user}\"><conditions><identity><one id=\"sip:{user}@example.com\"/></identity></conditions>\
             <actions><pr:sub-handling>{handling}</pr:sub-handling></actions><transformations>{shows}</transformations></rule>"
        )
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\" \
         xmlns:pr=\"urn:ietf:params:xml:ns:pres-rules\">{}</ruleset>",
        each.collect::<String>()
    )
}

/// A server with these settings.
fn server(data: &Path, settings: &str) -> Server {
    let config = data.join("node.toml");
    fs::write(&config, settings).expect("written");
    let config = config.to_str().expect("text").to_owned();
    Server::start_with(&data.join("data"), &["--config", &config])
}

/// A watcher of somebody, or of something.
struct Eye {
    from: String,
    to: String,
    lines: &'static str,
    call_id: String,
    cseq: u32,
    tag: Option<String>,
}

const PRESENCE: &str = "Event: presence\r\nAccept: application/pidf+xml\r\n";

impl Eye {
    fn new(from: &str, to: &str) -> Eye {
        Eye::of(from, to, PRESENCE)
    }

    fn of(from: &str, to: &str, lines: &'static str) -> Eye {
        Eye {
            from: format!("sip:{from}@example.com"),
            to: format!("sip:{to}@example.com"),
            lines,
            call_id: format!("eye-{from}-{to}-{}", fresh()),
            cseq: 0,
            tag: None,
        }
    }

    fn ask(&mut self, phone: &mut Phone, expires: u32) -> Response {
        self.cseq += 1;
        let to = match &self.tag {
            Some(tag) => format!("<{}>;tag={tag}", self.to),
            None => format!("<{}>", self.to),
        };
        let head = phone.head(
            "SUBSCRIBE",
            &self.to,
            &self.from,
            &to,
            &self.call_id,
            self.cseq,
        );
        let response = phone.ask(head, &format!("{}Expires: {expires}\r\n", self.lines), "");
        if response.status().number() == 200 && self.tag.is_none() {
            self.tag = response.to_tag().map(str::to_owned);
        }
        response
    }

    /// Subscribes; the status.
    fn open(&mut self, phone: &mut Phone) -> u16 {
        self.ask(phone, 600).status().number()
    }

    /// The state and the body of the next NOTIFY.
    fn told(&self, phone: &mut Phone) -> (String, String) {
        let notify = phone.notify(Some(&self.call_id));
        (state(&notify), told(&notify).1)
    }
}

/// The Subscription-State, without its seconds.
fn state(notify: &Request) -> String {
    let state = notify.header(Name::SubscriptionState).unwrap_or_default();
    state
        .split(";expires")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// What an operator is told, once it holds this text.
fn explained(server: &Server, watcher: &str, presentity: &str, holds: &str) -> String {
    let path = format!(
        "/explain?watcher=sip:{watcher}@example.com&presentity=sip:{presentity}@example.com"
    );
    let until = Instant::now() + PATIENCE;
    loop {
        let (status, text) = server.get(&path);
        assert_eq!(status, 200, "{text}");
        if text.contains(holds) {
            return text;
        }
        assert!(Instant::now() < until, "no {holds} in {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One HTTP request: status, head in small letters, body.
fn http(
    to: SocketAddr,
    method: &str,
    path: &str,
    lines: &str,
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (
        status.expect("a status"),
        head.to_lowercase(),
        body.to_owned(),
    )
}

fn line<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines();
    lines.find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

//= RFC 5025 3.2.1
//= type=test
//= RFC 5025 3.3
//= type=test
#[test]
fn rules_of_a_folder_decide_who_sees_what_and_change_at_a_signal() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("rules");
    fs::create_dir(&folder).expect("made");
    let write = |rules: &[(&str, &str, &str)]| {
        fs::write(folder.join("alice@example.com.xml"), ruleset(rules)).expect("written");
    };
    write(&[
        ("bob", "allow", ALL),
        ("carol", "allow", SERVICES),
        ("dave", "polite-block", ""),
        ("erin", "confirm", ""),
    ]);
    fs::write(folder.join("broken@example.com.xml"), "<ruleset").expect("written");
    let settings = format!(
        "[rules]\ndirectory = {:?}\n",
        folder.to_str().expect("text")
    );
    let server = server(data.path(), &settings);
    explained(&server, "bob", "alice", "\"kept_by\":\"operator\"");
    let mut phone = Phone::tcp(server.tcp);
    let mut alice = Publisher::new("alice");
    alice.publish(&mut phone, Some(600), &document("alice", "open", "secret"));

    let mut eyes: Vec<Eye> = ["bob", "carol", "dave", "erin"]
        .map(|name| Eye::new(name, "alice"))
        .into();
    for (eye, (subscription, open, note)) in eyes.iter_mut().zip([
        ("active", true, true),
        ("active", true, false),
        ("active", false, false),
        ("pending", false, false),
    ]) {
        assert_eq!(eye.open(&mut phone), 200, "{}", eye.from);
        let (state, body) = eye.told(&mut phone);
        assert_eq!(state, subscription, "{}", eye.from);
        assert_eq!(
            body.contains("<basic>open</basic>"),
            open,
            "{}: {body}",
            eye.from
        );
        assert_eq!(body.contains("secret"), note, "{}: {body}", eye.from);
        assert_eq!(body.is_empty(), subscription == "pending", "{}", eye.from);
    }
    // Nobody says anything of Frank, and one who only looks is refused alike.
    assert_eq!(Eye::new("frank", "alice").open(&mut phone), 403);
    assert_eq!(
        Eye::new("frank", "alice")
            .ask(&mut phone, 0)
            .status()
            .number(),
        403
    );
    let mut own = Eye::new("alice", "alice");
    assert_eq!(own.open(&mut phone), 200);
    assert!(own.told(&mut phone).1.contains("secret"));

    // A change is told to those who may see it.
    alice.publish(
        &mut phone,
        Some(600),
        &document("alice", "closed", "secret"),
    );
    let mut heard: Vec<String> = phone
        .drain(QUIET)
        .iter()
        .map(|n| n.call_id().to_owned())
        .collect();
    heard.sort_unstable();
    let mut expected = vec![
        eyes[0].call_id.clone(),
        eyes[1].call_id.clone(),
        own.call_id.clone(),
    ];
    expected.sort_unstable();
    assert_eq!(heard, expected);

    write(&[("bob", "block", ""), ("erin", "allow", ALL)]);
    server.signal("HUP");
    assert_eq!(eyes[0].told(&mut phone).0, "terminated;reason=rejected");
    assert_eq!(
        eyes[1].told(&mut phone).0,
        "terminated;reason=rejected",
        "no rule is left"
    );
    let (state, body) = eyes[3].told(&mut phone);
    assert_eq!(state, "active");
    assert!(body.contains("secret"), "{body}");
    fs::remove_file(folder.join("alice@example.com.xml")).expect("removed");
    server.signal("HUP");
    explained(&server, "frank", "alice", "has no rules");
    assert_eq!(Eye::new("frank", "alice").open(&mut phone), 200);
}

#[test]
fn an_operator_is_told_why() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "[xcap]\nlisten = \"127.0.0.1:0\"\n");
    let mut phone = Phone::udp(server.udp);
    Publisher::new("alice").publish(&mut phone, None, &document("alice", "open", "here"));
    explained(
        &server,
        "bob",
        "alice",
        "has no rules, so everybody may watch",
    );
    let rules = ruleset(&[("bob", "allow", SERVICES), ("carol", "confirm", "")]);
    let path = "/xcap-root/pres-rules/users/sip:alice@example.com/index";
    let media = "Content-Type: application/auth-policy+xml\r\n";
    let xcap = server.xcap.expect("it listens");
    assert_eq!(http(xcap, "PUT", path, media, &rules).0, 201);
    for (watcher, parts) in [
        (
            "bob",
            vec![
                "\"subscription\":\"allow\"",
                "of the rules that are about this watcher, bob, the greatest says allow",
                "{\"document\":\"index\",\"kept_by\":\"user\",\"rule\":\"carol\",\"says\":\"confirm\",\"applies\":false,\
                 \"because\":\"its identity is not the watcher's\"}",
                "\"services\":[\"all\"],\"persons\":[]",
                "<basic>open</basic>",
            ],
        ),
        (
            "carol",
            vec!["\"subscription\":\"confirm\"", "\"document\":\"\"}"],
        ),
        (
            "dave",
            vec![
                "\"subscription\":\"block\"",
                "none of them is about this watcher, so it is blocked",
            ],
        ),
        (
            "alice",
            vec!["everybody sees all of its own", "<note>here</note>"],
        ),
    ] {
        let text = explained(&server, watcher, "alice", "\"subscription\"");
        for part in parts {
            assert!(text.contains(part), "{watcher}: no {part} in {text}");
        }
    }
    assert_eq!(server.get("/explain?watcher=x&presentity=http:y").0, 400);
    assert_eq!(server.get("/explain?watcher=sip:a@b").0, 400);
}

//= RFC 4825 7.10
//= type=test
//= RFC 4825 8
//= type=test
//= RFC 4825 12
//= type=test
//= RFC 5025 9
//= type=test
#[test]
fn documents_are_kept_over_http_and_survive_a_crash() {
    let data = tempfile::tempdir().expect("a folder");
    let settings = "[xcap]\nlisten = \"127.0.0.1:0\"\n";
    let begun = server(data.path(), settings);
    let xcap = begun.xcap.expect("it listens");
    let rules = "/xcap-root/pres-rules/users/sip:alice@example.com/index";
    let lists = "/xcap-root/resource-lists/users/sip:alice@example.com/index";
    let of_rules = "Content-Type: application/auth-policy+xml\r\n";
    let of_lists = "Content-Type: application/resource-lists+xml\r\n";
    let of_element = "Content-Type: application/xcap-el+xml\r\n";
    let text = ruleset(&[("bob", "allow", ALL)]);

    assert_eq!(http(xcap, "GET", rules, "", "").0, 404);
    let (status, head, _) = http(xcap, "PUT", rules, of_rules, &text);
    assert_eq!(status, 201);
    let tag = line(&head, "etag").expect("a tag").to_owned();
    let (status, head, body) = http(xcap, "GET", rules, "", "");
    assert_eq!((status, &body), (200, &text), "it is given back as it came");
    assert_eq!(
        line(&head, "content-type"),
        Some("application/auth-policy+xml")
    );
    assert_eq!(line(&head, "etag"), Some(&*tag));
    let alias =
        "/xcap-root/org.openmobilealliance.pres-rules/users/sip%3aalice%40example.com/index";
    assert_eq!(
        http(xcap, "GET", alias, "", "").0,
        200,
        "another name of the same"
    );
    // Conditions.
    for (name, method, lines, expected) in [
        ("not newer", "GET", format!("If-None-Match: {tag}\r\n"), 304),
        ("another", "GET", "If-None-Match: \"x\"\r\n".to_owned(), 200),
        (
            "stale",
            "PUT",
            format!("{of_rules}If-Match: \"00000abc-1-0\"\r\n"),
            412,
        ),
        (
            "there already",
            "PUT",
            format!("{of_rules}If-None-Match: *\r\n"),
            412,
        ),
        (
            "current",
            "PUT",
            format!("{of_rules}If-Match: \"x\", {tag}\r\n"),
            200,
        ),
        (
            "overtaken",
            "PUT",
            format!("{of_rules}If-Match: {tag}\r\n"),
            412,
        ),
        ("of another type", "PUT", of_lists.to_owned(), 415),
        ("what is not done", "POST", String::new(), 405),
        (
            "a stale removal",
            "DELETE",
            format!("If-Match: {tag}\r\n"),
            412,
        ),
    ] {
        assert_eq!(
            http(xcap, method, rules, &lines, &text).0,
            expected,
            "{name}"
        );
    }
    // What cannot be kept.
    for (body, expected) in [
        ("<ruleset", "<not-well-formed "),
        ("<a/>", "<schema-validation-error "),
        (
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<not-well-formed ",
        ),
        (
            "<ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\"><rule id=\"a\"><conditions><sphere value=\"work\"/></conditions></rule></ruleset>",
            "<constraint-failure phrase=\"a sphere, which is not supported",
        ),
    ] {
        let (status, head, told) = http(xcap, "PUT", rules, of_rules, body);
        assert_eq!(status, 409, "{body}");
        assert_eq!(
            line(&head, "content-type"),
            Some("application/xcap-error+xml")
        );
        assert!(told.contains(expected), "{told}");
    }
    let large = ruleset(&[("bob", "allow", &" ".repeat(70_000))]);
    assert_eq!(http(xcap, "PUT", rules, of_rules, &large).0, 413);
    // Somebody who is nobody, and something that is nothing.
    assert_eq!(
        http(
            xcap,
            "GET",
            &rules.replace("example.com", "elsewhere.org"),
            "",
            ""
        )
        .0,
        403
    );
    assert_eq!(
        http(
            xcap,
            "GET",
            "/xcap-root/other/users/sip:alice@example.com/index",
            "",
            ""
        )
        .0,
        404
    );
    assert_eq!(
        http(xcap, "GET", rules, "Origin: http://page.example\r\n", "").0,
        403,
        "no page in a browser"
    );
    // Elements and attributes.
    let friends = "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list name=\"friends\"/></resource-lists>";
    assert_eq!(http(xcap, "PUT", lists, of_lists, friends).0, 201);
    let entry = format!(
        "{lists}/~~/resource-lists/list%5b@name=%22friends%22%5d/entry%5b@uri=%22sip:bob@example.com%22%5d"
    );
    assert_eq!(http(xcap, "GET", &entry, "", "").0, 404);
    let bob = "<entry uri=\"sip:bob@example.com\"/>";
    assert_eq!(http(xcap, "PUT", &entry, of_element, bob).0, 201);
    assert_eq!(http(xcap, "PUT", &entry, of_element, bob).0, 200);
    let (status, head, body) = http(xcap, "GET", &entry, "", "");
    assert_eq!((status, &*body), (200, bob));
    assert_eq!(line(&head, "content-type"), Some("application/xcap-el+xml"));
    assert_eq!(
        http(xcap, "GET", &format!("{entry}/@uri"), "", "").2,
        "sip:bob@example.com"
    );
    assert_eq!(
        http(xcap, "PUT", &entry, of_element, "<entry uri=\"sip:x\"/>").0,
        409
    );
    let (_, _, whole) = http(xcap, "GET", lists, "", "");
    assert_eq!(
        whole,
        friends.replace("\"friends\"/>", &format!("\"friends\">{bob}</list>"))
    );
    assert_eq!(http(xcap, "DELETE", &entry, "", "").0, 200);
    assert_eq!(http(xcap, "DELETE", &entry, "", "").0, 404);
    let (_, _, capabilities) = http(xcap, "GET", "/xcap-root/xcap-caps/global/index", "", "");
    assert!(
        capabilities.contains("<auid>pres-rules</auid>"),
        "{capabilities}"
    );

    begun.kill();
    let again = server(data.path(), settings);
    let xcap = again.xcap.expect("it listens");
    assert_eq!(http(xcap, "GET", rules, "", "").2, text);
    let mut phone = Phone::udp(again.udp);
    assert_eq!(Eye::new("bob", "alice").open(&mut phone), 200);
    assert_eq!(Eye::new("carol", "alice").open(&mut phone), 403);
    assert_eq!(http(xcap, "DELETE", rules, "", "").0, 200);
    assert_eq!(http(xcap, "GET", rules, "", "").0, 404);
    assert_eq!(Eye::new("carol", "alice").open(&mut phone), 200);
}

//= RFC 4825 14
//= type=test
#[test]
fn a_document_is_its_owners_alone() {
    let data = tempfile::tempdir().expect("a folder");
    let users = data.path().join("users");
    let hash = |user: &str| {
        use node::ingress::digest::Algorithm;
        let secret = Algorithm::Sha256.hash(&[user, "example.com", "wonder"]);
        format!("{user}:example.com:SHA-256:{secret}\n")
    };
    fs::write(&users, hash("alice") + &hash("bob")).expect("written");
    let settings = format!(
        "domains = [\"example.com\"]\n[auth]\nmode = \"digest\"\nusers = {:?}\nrealm = \"example.com\"\n[xcap]\nlisten = \"127.0.0.1:0\"\n",
        users.to_str().expect("text")
    );
    let server = server(data.path(), &settings);
    let xcap = server.xcap.expect("it listens");
    let path = "/xcap-root/pres-rules/users/sip:alice@example.com/index";
    let ask = |user: &str, password: &str, method: &str, body: &str| {
        let (status, head, _) = http(xcap, method, path, "", "");
        assert_eq!(status, 401);
        let challenge = line(&head, "www-authenticate").expect("a challenge");
        let nonce = challenge
            .split("nonce=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let nonce = nonce.expect("a nonce");
        use node::ingress::digest::Algorithm;
        let hash = |parts: &[&str]| Algorithm::Sha256.hash(parts);
        let first = hash(&[user, "example.com", password]);
        let second = hash(&[method, path]);
        let response = hash(&[&first, nonce, "00000001", "c", "auth", &second]);
        let lines = format!(
            "Content-Type: application/auth-policy+xml\r\nAuthorization: Digest username=\"{user}\", realm=\"example.com\", \
             nonce=\"{nonce}\", uri=\"{path}\", response=\"{response}\", algorithm=SHA-256, qop=auth, nc=00000001, cnonce=\"c\"\r\n"
        );
        let first = http(xcap, method, path, &lines, body).0;
        if first < 300 {
            assert_eq!(http(xcap, method, path, &lines, body).0, 401, "a replay");
        }
        first
    };
    let text = ruleset(&[]);
    for (user, password, method, expected) in [
        ("alice", "wrong", "PUT", 401),
        ("bob", "wonder", "PUT", 403),
        ("alice", "wonder", "PUT", 201),
        ("bob", "wonder", "GET", 403),
        ("alice", "wonder", "GET", 200),
    ] {
        assert_eq!(
            ask(user, password, method, &text),
            expected,
            "{user} {password} {method}"
        );
    }
}

const WINFO: &str = "Event: presence.winfo\r\nAccept: application/watcherinfo+xml\r\n";

//= RFC 3857 4.6
//= type=test
//= RFC 3857 4.4
//= type=test
//= RFC 3858 4.1
//= type=test
//= RFC 6665 4.1.3
//= type=test
#[test]
fn a_presentity_is_told_who_watches_and_lets_them_in() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "[xcap]\nlisten = \"127.0.0.1:0\"\n");
    let xcap = server.xcap.expect("it listens");
    let path = "/xcap-root/pres-rules/users/sip:alice@example.com/index";
    let media = "Content-Type: application/auth-policy+xml\r\n";
    let rules = |handling| ruleset(&[("bob", handling, ALL)]);
    assert_eq!(http(xcap, "PUT", path, media, &rules("confirm")).0, 201);
    let mut phone = Phone::tcp(server.tcp);
    assert_eq!(
        Eye::of("bob", "alice", WINFO).open(&mut phone),
        403,
        "nobody else's business"
    );
    let mut own = Eye::of("alice", "alice", WINFO);
    assert_eq!(own.open(&mut phone), 200);
    let first = phone.notify(Some(&own.call_id));
    assert_eq!(
        first.header(Name::ContentType),
        Some("application/watcherinfo+xml")
    );
    assert_eq!(first.header(Name::Event), Some("presence.winfo"));
    let (_, body) = told(&first);
    assert!(
        body.contains("version=\"0\" state=\"full\"") && !body.contains("<watcher "),
        "{body}"
    );
    let mut bob = Eye::new("bob", "alice");
    assert_eq!(bob.open(&mut phone), 200);
    assert_eq!(bob.told(&mut phone), ("pending".to_owned(), String::new()));
    let says = |phone: &mut Phone, parts: &[&str]| {
        let (_, body) = own.told(phone);
        for part in parts {
            assert!(body.contains(part), "no {part} in {body}");
        }
    };
    says(
        &mut phone,
        &[
            "version=\"1\" state=\"partial\"",
            "status=\"pending\" event=\"subscribe\"",
            ">sip:bob@example.com</watcher>",
        ],
    );
    assert_eq!(http(xcap, "PUT", path, media, &rules("allow")).0, 200);
    assert_eq!(bob.told(&mut phone).0, "active");
    says(
        &mut phone,
        &["version=\"2\"", "status=\"active\" event=\"approved\""],
    );
    assert_eq!(bob.ask(&mut phone, 0).status().number(), 200);
    says(
        &mut phone,
        &["version=\"3\"", "status=\"terminated\" event=\"timeout\""],
    );
    let mut look = Eye::of("alice", "alice", WINFO);
    assert_eq!(look.ask(&mut phone, 0).status().number(), 200);
    let (state, body) = look.told(&mut phone);
    assert!(
        state.starts_with("terminated") && body.contains("state=\"full\""),
        "{state} {body}"
    );
    let wrong = Eye::of(
        "alice",
        "alice",
        "Event: presence.winfo\r\nAccept: text/plain\r\n",
    )
    .open(&mut phone);
    assert_eq!(wrong, 406);
}

const LIST: &str = "Event: presence\r\nSupported: eventlist\r\nAccept: application/pidf+xml, application/rlmi+xml, multipart/related\r\n";

//= RFC 4662 4.2
//= type=test
//= RFC 4662 7.1
//= type=test
#[test]
fn a_list_of_the_server_is_its_members_as_each_lets_itself_be_seen() {
    let data = tempfile::tempdir().expect("a folder");
    let file = data.path().join("sales.xml");
    let members = |users: &[&str]| {
        let each = users
            .iter()
            .map(|user| format!("<entry uri=\"sip:{user}@example.com\"/>"));
        let each: String = each.collect();
        format!(
            "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{each}</list></resource-lists>"
        )
    };
    fs::write(&file, members(&["bob"])).expect("written");
    let settings = format!(
        "shards = 1\n[xcap]\nlisten = \"127.0.0.1:0\"\n\
         [[list]]\nuri = \"sip:all@example.com\"\nmembers = [\"sip:alice@example.com\", \"sip:sales@example.com\"]\n\
         [[list]]\nuri = \"sip:sales@example.com\"\nfile = {:?}\nwatchers = [\"sip:carol@example.com\"]\n",
        file.to_str().expect("text")
    );
    let server = server(data.path(), &settings);
    let mut phone = Phone::tcp(server.tcp);
    Publisher::new("alice").publish(&mut phone, None, &document("alice", "open", "desk"));
    Publisher::new("bob").publish(&mut phone, None, &document("bob", "open", "secret"));
    let rules = "/xcap-root/pres-rules/users/sip:bob@example.com/index";
    let media = "Content-Type: application/auth-policy+xml\r\n";
    let polite = ruleset(&[("erin", "polite-block", "")]);
    assert_eq!(
        http(
            server.xcap.expect("it listens"),
            "PUT",
            rules,
            media,
            &polite
        )
        .0,
        201
    );

    let refused = Eye::new("erin", "all").ask(&mut phone, 600);
    assert_eq!(
        (refused.status().number(), refused.header(Name::Require)),
        (421, Some("eventlist"))
    );
    assert_eq!(
        Eye::of("erin", "sales", LIST).open(&mut phone),
        403,
        "for Carol alone"
    );
    let mut erin = Eye::of("erin", "all", LIST);
    let answer = erin.ask(&mut phone, 600);
    assert_eq!(
        (answer.status().number(), answer.header(Name::Require)),
        (200, Some("eventlist"))
    );
    let (_, body) = erin.told(&mut phone);
    for part in [
        "uri=\"sip:all@example.com\" version=\"0\" fullState=\"true\"",
        "<resource uri=\"sip:alice@example.com\"><instance id=\"1\" state=\"active\"",
        "<resource uri=\"sip:bob@example.com\">",
        "<note>desk</note>",
        "<basic>closed</basic>",
    ] {
        assert!(body.contains(part), "no {part} in {body}");
    }
    assert!(!body.contains("secret"), "{body}");
    // Who is in it is looked up again with the next SUBSCRIBE.
    fs::write(&file, members(&["bob", "dave"])).expect("written");
    server.signal("HUP");
    let until = Instant::now() + PATIENCE;
    loop {
        assert_eq!(erin.ask(&mut phone, 600).status().number(), 200);
        let (_, body) = erin.told(&mut phone);
        assert!(body.contains("fullState=\"true\""), "{body}");
        if body.contains("sip:dave@example.com") {
            break;
        }
        assert!(Instant::now() < until, "{body}");
    }
}

/// The version of a document about watchers.
fn version(body: &str) -> u32 {
    let version = body.split("version=\"").nth(2);
    let version = version.and_then(|rest| rest.split('"').next());
    version.and_then(|digits| digits.parse().ok()).expect(body)
}

//= RFC 3858 4.1
//= type=test
#[test]
fn any_node_keeps_documents_and_versions_outlive_a_leader() {
    let mut pool = Pool::start_with(3, 2, "[xcap]\nlisten = \"127.0.0.1:0\"\n");
    let path = "/xcap-root/pres-rules/users/sip:alice@example.com/index";
    let media = "Content-Type: application/auth-policy+xml\r\n";
    let rules = |handling| ruleset(&[("bob", handling, ALL)]);
    let xcap = |pool: &Pool, node: usize| pool.node(node).xcap.expect("it listens");
    let (status, head, _) = http(xcap(&pool, 0), "PUT", path, media, &rules("confirm"));
    assert_eq!(status, 201);
    let tag = line(&head, "etag").expect("a tag").to_owned();
    for node in 0..3 {
        let (status, head, body) = http(xcap(&pool, node), "GET", path, "", "");
        assert_eq!(
            (status, line(&head, "etag")),
            (200, Some(&*tag)),
            "node {node}"
        );
        assert_eq!(body, rules("confirm"));
    }
    pool.wait_until_all_vote();
    let (_, report) = pool.node(0).get("/presentity/sip:alice@example.com");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let shard = report["shard"].as_u64().expect("a number") as usize;
    let leader = pool.leader(shard);
    let other = (leader + 1) % 3;
    let mut phone = Phone::tcp(pool.node(other).tcp);
    let mut own = Eye::of("alice", "alice", WINFO);
    assert_eq!(own.open(&mut phone), 200);
    assert_eq!(version(&own.told(&mut phone).1), 0);
    let mut bob = Eye::new("bob", "alice");
    assert_eq!(bob.open(&mut phone), 200);
    assert_eq!(bob.told(&mut phone).0, "pending");
    assert_eq!(version(&own.told(&mut phone).1), 1);
    pool.kill(leader);
    let until = Instant::now() + PATIENCE;
    while http(xcap(&pool, other), "PUT", path, media, &rules("allow")).0 != 200 {
        assert!(Instant::now() < until, "nobody takes the rules");
    }
    // The new leader tells once more what the old one may not have told; then what is new.
    let mut last = 1;
    loop {
        let (_, body) = own.told(&mut phone);
        assert_eq!(version(&body), last + 1, "{body}");
        last += 1;
        if body.contains("status=\"active\"") {
            break;
        }
    }
    while bob.told(&mut phone).0 != "active" {}
}
