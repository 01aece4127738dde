//! What an operator sees, and how a node says no.

use super::phone::{Phone, Publisher, Watch, document};
use super::server::Server;

#[test]
fn an_operator_sees_the_pool_and_a_presentity() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_with(data.path(), &["--shards", "3"]);
    assert_eq!(server.get("/live").0, 200);
    assert_eq!(
        server.get("/ready"),
        (200, "{\"ready\":true,\"waiting_for\":[]}".to_owned())
    );
    let (_, pool) = server.get("/pool");
    for part in [
        "\"node\":1",
        "\"leader\":1",
        "\"term\":1",
        "\"last_log_index\":",
        "\"slots\":342",
        "\"slots\":341",
    ] {
        assert!(pool.contains(part), "{part} in {pool}");
    }
    let mut phone = Phone::udp(server.udp);
    let mut alice = Publisher::new("alice");
    alice.publish(&mut phone, Some(600), &document("alice", "open", "seen"));
    let mut watch = Watch::new("alice");
    watch.subscribe(&mut phone, 600);
    phone.notify(Some(&watch.call_id));
    let (status, report) = server.get("/presentity/sip:alice@example.com");
    assert_eq!(status, 200);
    let etag = format!("\"etag\":\"{}\"", alice.tag.as_deref().expect("a tag"));
    for part in [
        &*etag,
        "\"expires_at\":\"20",
        "\"endpoints\":[]",
        "\"dialog\":\"",
        "\"event\":\"presence\"",
        "\"cseq\":1",
        "<note>seen</note>",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert_eq!(server.get("/presentity/sip%3Aalice%40example.com").0, 200);
    assert_eq!(server.get("/presentity/alice@example.com").0, 200);
    assert_eq!(server.get("/presentity/sip:nobody@example.com").0, 404);
    assert_eq!(server.get("/presentity/http:x").0, 400);
    assert_eq!(server.get("/nowhere").0, 404);
    let (_, metrics) = server.get("/metrics");
    for part in [
        "lamplight_requests_total{method=\"PUBLISH\",status=\"200\"} 1",
        "lamplight_notify_lag_seconds_bucket",
        "lamplight_log_batches_total",
        "lamplight_dialogs{shard=",
        "lamplight_datagrams_in_total{worker=\"0\"}",
    ] {
        assert!(metrics.contains(part), "{part} in\n{metrics}");
    }
}

#[test]
fn signals_do_what_operators_expect() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    server.signal("HUP");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(server.get("/live").0, 200, "SIGHUP does not end the node");
    assert!(server.terminate(), "SIGTERM ends it well");
    let snapshots = std::fs::read_dir(data.path().join("snapshots"))
        .expect("a folder")
        .count();
    assert_eq!(
        snapshots, 3,
        "a last snapshot of the pool map and both shards"
    );
}

#[test]
fn a_node_that_cannot_start_says_why_in_one_line() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let line = |result: Result<Server, String>| -> String {
        let text = result.err().expect("it does not start");
        text.lines()
            .filter(|line| line.starts_with("lamplight: "))
            .collect::<Vec<_>>()
            .join("|")
    };
    let second = line(Server::try_start(
        data.path(),
        "udp:127.0.0.1:0",
        "tcp:127.0.0.1:0",
        &[],
    ));
    assert!(
        second.contains("in use by another lamplight") && !second.contains('|'),
        "{second}"
    );
    let other = tempfile::tempdir().expect("a folder");
    let taken = line(Server::try_start(
        other.path(),
        &format!("udp:{}", server.udp),
        "tcp:127.0.0.1:0",
        &[],
    ));
    assert!(
        taken.contains(&format!("cannot listen on udp:{}", server.udp)),
        "{taken}"
    );
    let open = line(Server::try_start(
        other.path(),
        "udp:0.0.0.0:0",
        "tcp:127.0.0.1:0",
        &[],
    ));
    assert!(open.contains("--auth open"), "{open}");
    let users = line(Server::try_start(
        other.path(),
        "udp:127.0.0.1:0",
        "tcp:127.0.0.1:0",
        &["--auth", "digest", "--users", "/nowhere"],
    ));
    assert!(users.contains("/nowhere"), "{users}");
}

//= RFC 3261 22.2
//= type=test
#[test]
fn digest_asks_who_it_is() {
    let data = tempfile::tempdir().expect("a folder");
    let users = data.path().join("users");
    let digits = "00112233445566778899aabbccddeeff";
    std::fs::write(
        &users,
        format!("alice:example.com:MD5:{digits}\nalice:example.com:SHA-256:{digits}{digits}\n"),
    )
    .expect("written");
    let server = Server::start_with(
        &data.path().join("node"),
        &[
            "--auth",
            "digest",
            "--users",
            users.to_str().expect("a path"),
        ],
    );
    let mut phone = Phone::udp(server.udp);
    let response =
        Publisher::new("alice").publish(&mut phone, None, &document("alice", "open", "x"));
    assert_eq!(response.status().number(), 401);
    let challenges: Vec<&str> = response
        .headers(transport::sip::Name::WwwAuthenticate)
        .collect();
    assert_eq!(challenges.len(), 2, "what everybody can answer");
    assert!(
        challenges[0].contains("algorithm=SHA-256") && challenges[1].contains("algorithm=MD5"),
        "{challenges:?}"
    );
}
