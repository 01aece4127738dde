//! What a service manager hears of a node, and what SIGHUP changes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::server::PATIENCE;

/// A node under a manager that listens at `socket`, and the lines of its log.
fn start(data: &Path, settings: &Path, socket: &Path) -> (Child, Receiver<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lamplight"))
        .args(["serve", "--config"])
        .arg(settings)
        .arg("--data")
        .arg(data)
        .args(["--admin", "127.0.0.1:0", "--listen", "udp:127.0.0.1:0"])
        .env("NOTIFY_SOCKET", socket)
        .env("WATCHDOG_USEC", "400000")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let log = BufReader::new(child.stderr.take().expect("piped"));
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    (child, lines)
}

/// The next datagram that begins with `what`; signs of life in between are passed over.
fn hear(manager: &UnixDatagram, what: &str) -> String {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).expect("something is said");
        let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if said.starts_with(what) {
            return said;
        }
        assert!(
            said.starts_with("WATCHDOG=1"),
            "{said} where {what} was due"
        );
    }
    panic!("{what} was not said");
}

fn wait_for(lines: &Receiver<String>, part: &str) -> String {
    let until = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if line.contains(part) {
            return line;
        }
        seen.push(line);
    }
    panic!("{part} is not in {seen:#?}");
}

fn write(settings: &Path, text: &str) {
    let mut file = std::fs::File::create(settings).expect("made");
    file.write_all(text.as_bytes()).expect("written");
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn a_service_manager_hears_everything_and_a_reload_changes_what_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let settings = folder.path().join("node.toml");
    write(&settings, "[log]\nformat = 'json'\nfilter = 'warn'\n");
    let data = folder.path().join("data");
    let (mut child, lines) = start(&data, &settings, &socket);
    assert!(hear(&manager, "READY=1").contains("STATUS=serving"));
    hear(&manager, "WATCHDOG=1");
    hear(&manager, "WATCHDOG=1");

    // What is not sound changes nothing.
    write(&settings, "[log]\nfilter = 'warn'\ncolour = 'red'\n");
    signal(&child, "-HUP");
    assert!(hear(&manager, "RELOADING=1").contains("MONOTONIC_USEC="));
    hear(&manager, "READY=1");
    let line = wait_for(&lines, "the settings stay as they were");
    assert!(
        line.starts_with('{') && line.contains("unknown field `colour`"),
        "{line}"
    );

    // The filter counts at once; the rest is named.
    write(
        &settings,
        "domains = ['other.example']\n[limits]\nwatchers = 9\n[log]\nfilter = 'info'\nformat = 'json'\n",
    );
    signal(&child, "-HUP");
    hear(&manager, "RELOADING=1");
    hear(&manager, "READY=1");
    wait_for(&lines, "\"filter\":\"info\"");
    let line = wait_for(&lines, "count from the next start on");
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
    let named = line["fields"]["settings"].as_str().expect("named");
    assert_eq!(
        named,
        "domains, websocket, auth.realm, auth.server_name, limits.watchers"
    );
    assert_eq!(line["level"], "WARN");

    signal(&child, "-TERM");
    hear(&manager, "STOPPING=1");
    let until = Instant::now() + PATIENCE;
    while child.try_wait().expect("it can be waited for").is_none() {
        assert!(Instant::now() < until, "it ends");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(child.wait().expect("waited for").success());
}

/// A node that stands still gives no sign of life, and one that goes on does again.
#[test]
fn a_node_that_stands_still_gives_no_sign_of_life() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let settings = folder.path().join("node.toml");
    write(&settings, "");
    let (mut child, _lines) = start(&folder.path().join("data"), &settings, &socket);
    hear(&manager, "READY=1");
    hear(&manager, "WATCHDOG=1");
    signal(&child, "-STOP");
    // What was on its way.
    let short = Some(Duration::from_millis(1_500));
    manager.set_read_timeout(short).expect("a timeout");
    let mut bytes = [0; 256];
    let mut late = 0;
    while manager.recv(&mut bytes).is_ok() {
        late += 1;
        assert!(late < 3, "it goes on giving signs of life");
    }
    signal(&child, "-CONT");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    hear(&manager, "WATCHDOG=1");
    signal(&child, "-KILL");
    child.wait().expect("it ends");
}
