//! The publish API over real HTTP: what a script says in one call is what phones and office clients are shown.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use transport::sip::StatusCode;

use super::enhanced::client::{Client, Dialog, categories, note, publication, text};
use super::enhanced::tree;
use super::phone::{Phone, Publisher, Watch, document, told};
use super::pool::Pool;
use super::server::{PATIENCE, Server};

const TOKEN: &str = "0123456789abcdef-of-the-switchboard";
const JSON: &str = "application/json";
const CATEGORIES: &str = "application/msrtc-category-publish+xml";

/// An answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(found.1.trim())
    }
}

/// One HTTP call with these header lines.
fn call(admin: SocketAddr, method: &str, path: &str, lines: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(admin).expect("the admin listener answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let lines: String = lines
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let message = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // Who is refused for what he has sent so far may not be read to the end.
    let _ = stream.write_all(message.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {answer}")),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// A call of who may.
fn say(server: &Server, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    let mut lines = vec![("Authorization", &*bearer)];
    if !more.iter().any(|(name, _)| *name == "Content-Type") && method == "PUT" {
        lines.push(("Content-Type", JSON));
    }
    lines.extend(more);
    call(server.admin, method, path, &lines, body)
}

/// The settings of a node that takes one token.
fn settings(folder: &Path, more: &str) -> PathBuf {
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, format!("# who may\npbx:{TOKEN}\n")).expect("written");
    let file = folder.join("node.toml");
    let text = format!("[publish]\ntokens = {tokens:?}\n{more}");
    std::fs::write(&file, text).expect("written");
    file
}

fn start(folder: &Path, more: &[&str]) -> Server {
    let file = settings(folder, "");
    let mut arguments = vec!["--shards", "2", "--config", file.to_str().expect("a path")];
    arguments.extend(more);
    Server::start_with(&folder.join("data"), &arguments)
}

const ALICE: &str = "/publish/sip:alice@example.com/pbx";

//= RFC 3903 4.2
//= type=test
//= RFC 3903 6
//= type=test
#[test]
fn a_call_is_a_publication_with_a_tag_that_watchers_are_told() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), &[]);
    let mut phone = Phone::udp(server.udp);
    let mut alice = Publisher::new("alice");
    alice.publish(
        &mut phone,
        Some(600),
        &document("alice", "open", "my phone"),
    );
    let mut watch = Watch::new("alice");
    assert_eq!(watch.subscribe(&mut phone, 600).status(), StatusCode::OK);
    phone.notify(Some(&watch.call_id));

    let busy = r#"{"status":"on-the-phone","note":"with <Bob> & Eve","expires":600}"#;
    let first = say(&server, "PUT", ALICE, &[], busy);
    assert_eq!(first.status, 200, "{}", first.body);
    let tag = first.header("etag").expect("a tag").to_owned();
    let said = first.json();
    assert_eq!(said["presentity"], "sip:alice@example.com");
    assert_eq!(
        (&said["source"], &said["expires"]),
        (&"pbx".into(), &600.into())
    );
    assert_eq!(
        tag,
        format!("\"{}\"", said["etag"].as_str().expect("a tag"))
    );
    let (_, shown) = told(&phone.notify(Some(&watch.call_id)));
    for part in [
        "<rpid:on-the-phone",
        "<note>with &lt;Bob&gt; &amp; Eve</note>",
        "<note>my phone</note>",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }

    // The same again makes a new tag and no notification; the old tag is worth nothing then.
    let second = say(&server, "PUT", ALICE, &[("If-Match", &tag)], busy);
    assert_eq!(second.status, 200);
    let newest = second.header("etag").expect("a tag").to_owned();
    assert_ne!(newest, tag);
    for (name, method, line, status) in [
        ("an old tag", "PUT", ("If-Match", &*tag), 412),
        ("an old tag", "DELETE", ("If-Match", &*tag), 412),
        ("what is there", "PUT", ("If-None-Match", "*"), 412),
        ("what is there", "PUT", ("If-Match", "*"), 200),
    ] {
        let answer = say(&server, method, ALICE, &[line], busy);
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
    }
    assert!(phone.drain(Duration::from_millis(300)).is_empty());

    // Another source stands beside it; each removes its own only.
    let other = "/publish/sip:alice@example.com/door";
    assert_eq!(
        say(&server, "PUT", other, &[], r#"{"status":"away"}"#).status,
        200
    );
    phone.notify(Some(&watch.call_id));
    let removed = say(&server, "DELETE", ALICE, &[], "");
    assert_eq!((removed.status, &*removed.body), (204, ""));
    let (_, shown) = told(&phone.notify(Some(&watch.call_id)));
    assert!(!shown.contains("on-the-phone"), "{shown}");
    assert!(
        shown.contains("<rpid:away") && shown.contains("my phone"),
        "{shown}"
    );
    assert_eq!(say(&server, "DELETE", ALICE, &[], "").status, 404);
    let line = ("If-None-Match", "*");
    assert_eq!(
        say(&server, "PUT", ALICE, &[line], busy).status,
        200,
        "it is absent again"
    );

    // What a script reads.
    let read = call(
        server.admin,
        "GET",
        "/presence/sip:alice@example.com",
        &[],
        "",
    );
    assert_eq!(read.status, 200, "{}", read.body);
    let read = read.json();
    assert_eq!(
        (&read["open"], &read["presentity"]),
        (&true.into(), &"sip:alice@example.com".into())
    );
    let notes: Vec<&Value> = read["tuples"]
        .as_array()
        .expect("tuples")
        .iter()
        .map(|tuple| &tuple["note"])
        .collect();
    assert!(notes.contains(&&Value::from("my phone")), "{read}");
    assert!(notes.contains(&&Value::from("with <Bob> & Eve")), "{read}");
    assert_eq!(read["activities"], serde_json::json!(["on-the-phone"]));
    for (path, status) in [
        ("sip:alice@elsewhere.example", 404),
        ("http:x", 400),
        ("alice", 400),
    ] {
        let path = format!("/presence/{path}");
        assert_eq!(
            call(server.admin, "GET", &path, &[], "").status,
            status,
            "{path}"
        );
    }

    // A power cut takes nothing, not even who it is of.
    let (udp, tcp) = (server.udp, server.tcp);
    server.kill();
    let file = settings(data.path(), "");
    let arguments = ["--shards", "2", "--config", file.to_str().expect("a path")];
    let again = Server::try_start(
        &data.path().join("data"),
        &format!("udp:{udp}"),
        &format!("tcp:{tcp}"),
        &arguments,
    );
    let again = again.expect("it starts again");
    assert_eq!(
        say(&again, "PUT", ALICE, &[("If-None-Match", "*")], busy).status,
        412
    );
    assert_eq!(say(&again, "DELETE", ALICE, &[], "").status, 204);
}

#[test]
fn only_who_shows_a_token_is_heard() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), &[]);
    let body = r#"{"status":"busy"}"#;
    let media = ("Content-Type", JSON);
    for (name, lines, status) in [
        ("none", vec![media], 401),
        (
            "a wrong one",
            vec![media, ("Authorization", "Bearer 0123456789abcdef")],
            401,
        ),
        (
            "another scheme",
            vec![media, ("Authorization", "Basic cGJ4OjAxMjM=")],
            401,
        ),
    ] {
        for method in ["PUT", "DELETE"] {
            let answer = call(server.admin, method, ALICE, &lines, body);
            assert_eq!(answer.status, status, "{name}");
            assert!(
                answer
                    .header("www-authenticate")
                    .is_some_and(|line| line.starts_with("Bearer"))
            );
        }
    }
    assert_eq!(say(&server, "PUT", ALICE, &[], body).status, 200);
    // Tokens are read again on SIGHUP; a file that is no such leaves those that were.
    let tokens = data.path().join("tokens");
    std::fs::write(&tokens, "pbx:short\n").expect("written");
    server.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(say(&server, "PUT", ALICE, &[], body).status, 200);
    std::fs::write(&tokens, "pbx:another-token-of-the-switchboard\n").expect("written");
    server.signal("HUP");
    let until = Instant::now() + PATIENCE;
    while say(&server, "PUT", ALICE, &[], body).status != 401 {
        assert!(
            Instant::now() < until,
            "the old token is worth something still"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(server);

    // Without a file nobody may, unless the operator opens it to this machine; a wrong token is none then, too.
    for (text, lines, status) in [
        ("", vec![media], 403),
        ("[publish]\nloopback = \"token\"\n", vec![media], 403),
        ("[publish]\nloopback = \"open\"\n", vec![media], 200),
        (
            "[publish]\nloopback = \"open\"\n",
            vec![media, ("Authorization", "Bearer 0123456789abcdef")],
            403,
        ),
        (
            "[publish]\nloopback = \"open\"\n",
            vec![("Content-Type", "text/plain")],
            415,
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("node.toml");
        std::fs::write(&file, text).expect("written");
        let arguments = ["--config", file.to_str().expect("a path")];
        let server = Server::start_with(&folder.path().join("data"), &arguments);
        let answer = call(server.admin, "PUT", ALICE, &lines, body);
        assert_eq!(answer.status, status, "{text}: {}", answer.body);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "[publish]\ntokens = \"/nowhere/tokens\"\n").expect("written");
    let arguments = ["--config", file.to_str().expect("a path")];
    let refused = Server::try_start(
        &folder.path().join("data"),
        "udp:127.0.0.1:0",
        "tcp:127.0.0.1:0",
        &arguments,
    );
    let said = refused.err().expect("it does not start");
    assert!(said.contains("publish: /nowhere/tokens"), "{said}");
}

//= RFC 3903 6
//= type=test
#[test]
fn what_cannot_be_done_is_refused_as_sip_refuses_it() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), &[]);
    let busy = r#"{"status":"busy"}"#;
    let pidf = document("alice", "open", "by hand");
    for (name, path, media, body, status) in [
        (
            "another domain",
            "/publish/sip:a@x.example/pbx",
            JSON,
            busy,
            404,
        ),
        ("no address", "/publish/mailto:a/pbx", JSON, busy, 400),
        (
            "the connector's source",
            "/publish/sip:a@example.com/caldav",
            JSON,
            busy,
            403,
        ),
        (
            "too brief",
            ALICE,
            JSON,
            r#"{"status":"busy","expires":1}"#,
            423,
        ),
        ("no JSON", ALICE, JSON, "status=busy", 400),
        ("no type", ALICE, "text/html", busy, 415),
        ("no PIDF", ALICE, "application/pidf+xml", "<presence/>", 400),
        ("PIDF", ALICE, "application/pidf+xml", &pidf, 200),
        (
            "PIDF for a while",
            "/publish/sip:alice@example.com/pbx?expires=120",
            "application/pidf+xml",
            &pidf,
            200,
        ),
        (
            "PIDF, too brief",
            "/publish/sip:alice@example.com/pbx?expires=2",
            "application/pidf+xml",
            &pidf,
            423,
        ),
        (
            "a telephone number",
            "/publish/tel:+15551234/pbx",
            JSON,
            busy,
            200,
        ),
    ] {
        let answer = say(&server, "PUT", path, &[("Content-Type", media)], body);
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        if status != 200 {
            assert!(
                answer.json()["error"].is_string(),
                "{name}: {}",
                answer.body
            );
        }
        if status == 423 {
            assert_eq!(answer.header("min-expires"), Some("60"), "{name}");
        }
    }
    let long = format!(r#"{{"status":"busy","note":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(say(&server, "PUT", ALICE, &[], &long).status, 413);
    // As many sources as one has publications, and no more.
    for number in 0..64 {
        let path = format!("/publish/sip:many@example.com/s{number}");
        assert_eq!(
            say(&server, "PUT", &path, &[], busy).status,
            200,
            "{number}"
        );
    }
    let path = "/publish/sip:many@example.com/more";
    assert_eq!(say(&server, "PUT", path, &[], busy).status, 413);
    assert_eq!(
        say(
            &server,
            "PUT",
            "/publish/sip:many@example.com/s7",
            &[],
            busy
        )
        .status,
        200
    );

    // A directory says who is a user.
    let folder = tempfile::tempdir().expect("a folder");
    let users = folder.path().join("users.toml");
    std::fs::write(&users, "[[user]]\naddress = \"alice@example.com\"\n").expect("written");
    let file = settings(folder.path(), &format!("[directory]\npath = {users:?}\n"));
    let arguments = ["--config", file.to_str().expect("a path")];
    let server = Server::start_with(&folder.path().join("data"), &arguments);
    assert_eq!(say(&server, "PUT", ALICE, &[], busy).status, 200);
    let nobody = "/publish/sip:nobody@example.com/pbx";
    assert_eq!(say(&server, "PUT", nobody, &[], busy).status, 404);
}

/// The text of a batch of publications.
fn batch(user: &str, publications: &str) -> String {
    format!(
        "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\">\
         <publications uri=\"sip:{user}@contoso.com\">{publications}</publications></publish>"
    )
}

/// The next notification that says something, as categories.
fn until_told(client: &mut Client, dialog: &Dialog, part: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = categories(client.told(dialog).body());
        if said.contains(part) {
            return said;
        }
        assert!(Instant::now() < until, "no {part}: {said}");
    }
}

//= MS-PRES 3.2.5.4
//= type=test
#[test]
fn office_clients_are_shown_state_and_note_and_versions_are_kept() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), &["--domain", "contoso.com"]);
    let (bob, eve) = ("bob", "eve");
    let mut own = Client::sign_in(&server, bob);
    let mut watcher = Client::sign_in(&server, eve);
    let member = "<container id=\"300\" version=\"0\"><member action=\"add\" type=\"user\" value=\"eve@contoso.com\"/></container>";
    assert_eq!(own.set_members(member).status(), StatusCode::OK);
    let publisher = "sip:bob@contoso.com";
    let (dialog, answer) = watcher.watch(&[publisher], &["state", "note"]);
    assert_eq!(answer.status(), StatusCode::OK);

    let path = "/publish/sip:bob@contoso.com/pbx";
    let busy = r#"{"status":"on-the-phone","note":"a call & more","expires":600}"#;
    assert_eq!(say(&server, "PUT", path, &[], busy).status, 200);
    let said = until_told(&mut watcher, &dialog, "on-the-phone");
    assert!(said.contains("a call &amp; more"), "{said}");
    assert!(
        tree::texts(&said, "availability").contains(&"6500".to_owned()),
        "{said}"
    );
    let dnd = r#"{"status":"do-not-disturb","expires":600}"#;
    assert_eq!(say(&server, "PUT", path, &[], dnd).status, 200);
    let said = until_told(&mut watcher, &dialog, "9500");
    assert!(!said.contains("a call"), "the note is gone: {said}");
    assert_eq!(say(&server, "DELETE", path, &[], "").status, 204);
    let said = until_told(&mut watcher, &dialog, "<availability>");
    let left = tree::texts(&said, "availability");
    assert!(
        left.iter()
            .all(|number| number != "9500" && number != "6500"),
        "{said}"
    );

    // Categories as they are, by their versions.
    let media = ("Content-Type", CATEGORIES);
    let body = |version| {
        let life = "expireType=\"static\"";
        batch(
            bob,
            &publication("note", 5, 300, version, life, &note("by a script")),
        )
    };
    let first = say(&server, "PUT", path, &[media], &body(0));
    assert_eq!(first.status, 200, "{}", first.body);
    let expected =
        serde_json::json!([{ "category": "note", "container": 300, "instance": 5, "version": 1 }]);
    assert_eq!(first.json()["published"], expected);
    until_told(&mut watcher, &dialog, "by a script");
    let stale = say(&server, "PUT", path, &[media], &body(0));
    assert_eq!(stale.status, 409);
    let expected = serde_json::json!([{ "index": 1, "version": 0, "current": 1 }]);
    assert_eq!(stale.json()["conflicts"], expected);
    assert_eq!(say(&server, "PUT", path, &[media], &body(1)).status, 200);
    let bound = batch(
        bob,
        &publication("note", 6, 300, 0, "expireType=\"endpoint\"", &note("x")),
    );
    assert_eq!(
        say(&server, "PUT", path, &[media], &bound).status,
        409,
        "a script is no endpoint"
    );
    let of_eve = batch(
        eve,
        &publication("note", 6, 300, 0, "expireType=\"static\"", &note("x")),
    );
    assert_eq!(say(&server, "PUT", path, &[media], &of_eve).status, 400);

    // Standard watchers see one who has an office client through it.
    assert_eq!(say(&server, "PUT", path, &[], busy).status, 200);
    let read = call(
        server.admin,
        "GET",
        "/presence/sip:bob@contoso.com?watcher=sip:eve@contoso.com",
        &[],
        "",
    );
    let document = read.json()["document"]
        .as_str()
        .expect("a document")
        .to_owned();
    assert!(
        document.contains("busy") || document.contains("on-the-phone"),
        "{document}"
    );
    let _ = text(document.as_bytes());
}

#[test]
fn any_node_of_a_pool_takes_a_call_and_a_lost_leader_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = settings(folder.path(), "");
    let mut pool = Pool::start_with(3, 2, &std::fs::read_to_string(&file).expect("readable"));
    let mut tags = Vec::new();
    for user in 0..12 {
        let path = format!("/publish/sip:u{user}@example.com/pbx");
        let node = pool.node(user % 3);
        let answer = say(
            node,
            "PUT",
            &path,
            &[],
            r#"{"status":"busy","note":"first"}"#,
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
        tags.push(answer.header("etag").expect("a tag").to_owned());
        // Another node replaces it by its tag, and a third one reads it.
        let line = ("If-Match", &*tags[user]);
        let answer = say(
            pool.node((user + 1) % 3),
            "PUT",
            &path,
            &[line],
            r#"{"status":"away","note":"second"}"#,
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
        let read = call(
            pool.node((user + 2) % 3).admin,
            "GET",
            &format!("/presence/sip:u{user}@example.com"),
            &[],
            "",
        );
        assert_eq!(read.status, 200, "{}", read.body);
        assert_eq!(read.json()["tuples"][0]["note"], "second");
        assert_eq!(
            read.json()["tuples"].as_array().map(Vec::len),
            Some(1),
            "one publication"
        );
    }
    pool.wait_until_all_vote();
    // A leader dies: what is under way is sent again until there is another. Who is told to come back does.
    let victim = pool.leaders(0)[0].expect("a leader") as usize - 1;
    let others: Vec<usize> = (0..3).filter(|node| *node != victim).collect();
    pool.kill(victim);
    let dead = Instant::now();
    let mut sent_back = 0;
    for user in 0..12 {
        let path = format!("/publish/sip:u{user}@example.com/pbx");
        let node = pool.node(others[user % 2]);
        loop {
            let answer = say(
                node,
                "PUT",
                &path,
                &[],
                r#"{"status":"busy","note":"third"}"#,
            );
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 503, "u{user}: {}", answer.body);
            assert_eq!(answer.header("retry-after"), Some("2"));
            assert!(dead.elapsed() < 2 * PATIENCE, "u{user}: {}", answer.body);
            sent_back += 1;
        }
    }
    println!(
        "12 calls took {:?} with the loss of a leader, {sent_back} were sent back",
        dead.elapsed()
    );
    for user in 0..12 {
        let path = format!("/presence/sip:u{user}@example.com");
        let read = call(
            pool.node(others[(user + 1) % 2]).admin,
            "GET",
            &path,
            &[],
            "",
        )
        .json();
        assert_eq!(read["tuples"][0]["note"], "third", "{read}");
    }
}

#[test]
fn the_command_says_what_a_user_does() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), &[]);
    let admin = server.admin.to_string();
    let tokens = data.path().join("token");
    std::fs::write(&tokens, format!("{TOKEN}\n")).expect("written");
    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lamplight"))
            .args(["publish", "sip:alice@example.com", "--admin", &admin])
            .args(more)
            .output();
        let output = output.expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), text(&said))
    };
    let token = tokens.to_str().expect("a path");
    let (good, said) = run(&[
        "--status",
        "busy",
        "--note",
        "at the gate",
        "--token-file",
        token,
    ]);
    assert!(good && said.contains("\"source\":\"cli\""), "{said}");
    let read = call(
        server.admin,
        "GET",
        "/presence/sip:alice@example.com",
        &[],
        "",
    )
    .json();
    assert_eq!(read["tuples"][0]["note"], "at the gate");
    let (good, said) = run(&["--remove", "--token-file", token]);
    assert!(good, "{said}");
    for (more, part) in [
        (vec!["--remove", "--token-file", token], "published nothing"),
        (vec!["--status", "asleep", "--token-file", token], "asleep"),
        (vec!["--status", "busy"], "bearer token"),
        (
            vec!["--status", "busy", "--token-file", "/nowhere"],
            "/nowhere",
        ),
    ] {
        let (good, said) = run(&more);
        assert!(!good && said.contains(part), "{more:?}: {said}");
    }
}
