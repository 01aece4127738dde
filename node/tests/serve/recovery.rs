//! What a pool survives beyond the loss of a process: leaders that were stopped, damaged logs and snapshots,
//! replicas that went wrong, lost disks, a lost majority; and who is let in again afterwards.

use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use transport::sip::StatusCode;

use super::phone::{Phone, Publisher, Watch, document, told};
use super::pool::{Pool, lamplight};
use super::server::Server;

/// How long a pool may take to mend itself, on a machine that others use as well.
const MENDED: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + MENDED;
    while !done() {
        assert!(Instant::now() < until, "{what}: it does not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Publishes and expects 200.
fn publish(publisher: &mut Publisher, phone: &mut Phone, note: &str) {
    let body = document(&publisher.user, "open", note);
    let answer = publisher.publish(phone, Some(3_600), &body);
    assert_eq!(answer.status(), StatusCode::OK, "{} {note}", publisher.user);
}

/// Publishes, again where it is told to come back later: a leader that is silent is missed a little longer than a
/// request may wait.
fn publish_at_last(publisher: &mut Publisher, phone: &mut Phone, note: &str) {
    let until = Instant::now() + MENDED;
    let body = document(&publisher.user, "open", note);
    loop {
        let before = publisher.tag.clone();
        match publisher
            .publish(phone, Some(3_600), &body)
            .status()
            .number()
        {
            200 => return,
            503 => publisher.tag = before,
            // An earlier try was made after all.
            412 => publisher.tag = None,
            other => panic!("{other}"),
        }
        assert!(Instant::now() < until, "{note} is not taken");
    }
}

/// What a fetch shows.
fn fetch(user: &str, phone: &mut Phone) -> String {
    let mut watch = Watch::new(user);
    assert_eq!(watch.subscribe(phone, 0).status(), StatusCode::OK);
    told(&phone.notify(Some(&watch.call_id))).1
}

fn publishers(prefix: &str, count: usize) -> Vec<Publisher> {
    let name = |user| format!("{prefix}{user}");
    (0..count).map(|user| Publisher::new(&name(user))).collect()
}

fn is_ready(server: &Server) -> bool {
    server.get("/ready").0 == 200
}

fn order(server: &Server, arguments: &[&str]) -> String {
    let admin = server.admin.to_string();
    let (well, said) = lamplight(&[&["pool"], arguments, &["--admin", &admin]].concat());
    assert!(well, "{arguments:?}: {said}");
    said
}

//= RFC 6665 4.4.3
//= type=test
/// A leader is stopped for longer than an election, another one takes a publication, and the old leader finds
/// a fetch in its socket when it goes on: it must not answer from what it knew.
#[test]
fn a_leader_that_was_stopped_shows_nothing_old() {
    let pool = Pool::start(3, 1);
    let mut publisher = Publisher::new("alice");
    for round in 0..3 {
        let leader = pool.leader(0);
        let other = (leader + 1) % 3;
        let mut phone = Phone::udp(pool.node(other).udp);
        publish(&mut publisher, &mut phone, &format!("before {round}"));
        let before = fetch("alice", &mut Phone::udp(pool.node(leader).udp));
        assert!(before.contains(&format!("before {round}")), "{before}");

        pool.node(leader).signal("STOP");
        publish_at_last(&mut publisher, &mut phone, &format!("after {round}"));
        // What it must find when it wakes: questions of several phones, sent when the publication was done.
        let asked: Vec<_> = (0..4)
            .map(|_| {
                let udp = pool.node(leader).udp;
                std::thread::spawn(move || fetch("alice", &mut Phone::udp(udp)))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100));
        pool.node(leader).signal("CONT");
        for shown in asked {
            let shown = shown.join().expect("it is answered");
            assert!(
                shown.contains(&format!("after {round}")),
                "round {round}: {shown}"
            );
        }
    }
}

/// Where the log of a node has its entries.
fn first_segment(data: &Path) -> PathBuf {
    let mut segments: Vec<PathBuf> = std::fs::read_dir(data.join("log"))
        .expect("a log")
        .map(|file| file.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments.swap_remove(0)
}

/// Turns a byte of a file over.
fn damage(path: &Path, at: u64) {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("so long");
    file.write_all_at(&[!byte[0]], at).expect("written");
}

fn kept(data: &Path) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(data.join("set-aside")) else {
        return Vec::new();
    };
    let name = |file: std::io::Result<std::fs::DirEntry>| {
        let name = file.expect("an entry").file_name();
        name.to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = files.map(name).collect();
    names.sort();
    names
}

/// Nodes 2 and 3 alone must go on when node 1 is gone: then what was mended on one of them counts.
fn does_its_share(pool: &mut Pool, publishers: &mut [Publisher], dies: usize, asked: usize) {
    pool.kill(dies);
    let mut phone = Phone::udp(pool.node(asked).udp);
    for publisher in &mut *publishers {
        publish(publisher, &mut phone, "with two");
    }
    for publisher in publishers {
        let shown = fetch(&publisher.user, &mut phone);
        assert!(shown.contains("with two"), "{shown}");
    }
}

#[test]
fn a_node_whose_log_is_damaged_begins_anew_by_itself() {
    let mut pool = Pool::start(3, 2);
    let mut publishers = publishers("c", 10);
    let mut phone = Phone::udp(pool.node(0).udp);
    for note in ["one", "two"] {
        for publisher in &mut publishers {
            publish(publisher, &mut phone, note);
        }
    }
    pool.kill(2);
    let data = pool.data(2);
    damage(&first_segment(&data), 200);
    pool.run(2);
    // It says that it is ready only when every replica has everything again.
    assert_eq!(
        kept(&data),
        ["0001-log", "0001-snapshots"],
        "what is damaged is kept"
    );
    let seen = pool.seen_by(2);
    assert_eq!(seen["set_aside"], serde_json::json!([]));
    assert_eq!(seen["node"], 3, "it is the node that it was");
    wait_until("it votes again", || pool.is_whole(3));
    does_its_share(&mut pool, &mut publishers, 0, 2);
}

#[test]
fn damaged_snapshots_are_named_put_away_and_replaced_by_the_others() {
    let mut pool = Pool::start(3, 2);
    let mut publishers = publishers("s", 10);
    let mut phone = Phone::udp(pool.node(0).udp);
    for publisher in &mut publishers {
        publish(publisher, &mut phone, "one");
    }
    order(pool.node(1), &["snapshot"]);
    let snapshots = pool.data(1).join("snapshots");
    let names = || -> Vec<PathBuf> {
        let files = std::fs::read_dir(&snapshots).expect("a folder");
        let paths = files.map(|file| file.expect("an entry").path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "snap"))
            .collect()
    };
    wait_until("three snapshots", || names().len() == 3);
    pool.kill(1);
    let names = names();
    for path in &names {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if !name.starts_with("s01") {
            damage(path, std::fs::metadata(path).expect("there").len() - 20);
        }
    }
    pool.run(1);
    let kept = kept(&pool.data(1));
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().any(|name| name.contains("-s00-")), "{kept:?}");
    assert!(kept.iter().any(|name| name.contains("-pool-")), "{kept:?}");
    wait_until("it votes again", || pool.is_whole(3));
    does_its_share(&mut pool, &mut publishers, 2, 1);
}

/// Changes the history digest in a snapshot, with every checksum right: what a fault of memory or of the program
/// would have left.
fn plant_a_difference(path: &Path) {
    let mut bytes = std::fs::read(path).expect("there");
    let body = position(&bytes, b"LAMPLGHT").expect("the body of the snapshot");
    // Magic and version, then the first section: kind, length, checksum, and the machine's own numbers.
    let section = body + 10;
    let length = u32::from_le_bytes(bytes[section + 1..section + 5].try_into().expect("four"));
    let (begin, end) = (section + 9, section + 9 + length as usize);
    assert_eq!(
        (bytes[section], length),
        (1, 29),
        "now, applied, salt, history"
    );
    assert_eq!(
        bytes[section + 5..section + 9],
        checksum(bytes[section], &bytes[begin..end]).to_le_bytes(),
        "the checksum is understood"
    );
    bytes[end - 1] ^= 1;
    let sum = checksum(bytes[section], &bytes[begin..end]);
    bytes[section + 5..section + 9].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(path, bytes).expect("written");
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), body)
}

#[test]
fn a_replica_that_went_wrong_stops_itself_and_begins_anew() {
    let mut pool = Pool::start(3, 1);
    let mut publishers = publishers("d", 8);
    let mut phone = Phone::udp(pool.node(0).udp);
    for publisher in &mut publishers {
        publish(publisher, &mut phone, "one");
    }
    let replicas = pool.seen_by(0)["shards"][0]["replicas"].clone();
    let replicas: Vec<usize> = replicas
        .as_array()
        .expect("replicas")
        .iter()
        .map(|node| node.as_u64().expect("a number") as usize)
        .collect();
    let (next, wrong) = (replicas[1], replicas[2] - 1);
    order(pool.node(wrong), &["snapshot"]);
    let snapshots = pool.data(wrong).join("snapshots");
    let snapshot = || {
        let files = std::fs::read_dir(&snapshots).expect("a folder");
        let mut paths = files.map(|file| file.expect("an entry").path());
        paths.find(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            name.starts_with("s00-") && name.ends_with(".snap")
        })
    };
    wait_until("a snapshot", || snapshot().is_some());
    pool.kill(wrong);
    plant_a_difference(&snapshot().expect("it is there"));
    pool.run(wrong);
    assert_eq!(
        pool.seen_by(wrong)["set_aside"],
        serde_json::json!([]),
        "it does not know yet"
    );

    // Whoever begins a term attests what it has, and this replica compares.
    let shard = next.to_string();
    order(pool.node(0), &["transfer-leader", "0", &shard]);
    let mut said = String::new();
    wait_until("it stops itself", || {
        said = pool.seen_by(wrong)["set_aside"].to_string();
        said.contains("digests of slot") || said.contains("history are")
    });
    assert!(said.contains("s00"), "{said}");
    let (status, why) = pool.node(wrong).get("/ready");
    assert!(status == 503 && why.contains("set aside"), "{status} {why}");
    let (_, metrics) = pool.node(wrong).get("/metrics");
    for line in [
        "lamplight_replicas_set_aside{} 1",
        "lamplight_replicas_set_aside_since_start_total{} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let (status, _) = pool.node(next - 1).get("/ready");
    assert_eq!(status, 200, "the others go on");

    wait_until("it begins anew", || is_ready(pool.node(wrong)));
    assert_eq!(kept(&pool.data(wrong)).len(), 1, "the snapshot is kept");
    wait_until("it votes again", || pool.is_whole(3));
    // The next one that leads attests as well, and this time they are alike.
    order(
        pool.node(0),
        &["transfer-leader", "0", &replicas[0].to_string()],
    );
    std::thread::sleep(Duration::from_secs(2));
    assert!(
        is_ready(pool.node(wrong)),
        "{:?}",
        pool.node(wrong).get("/ready")
    );
    let mut phone = Phone::udp(pool.node(wrong).udp);
    for publisher in &mut publishers {
        publish(publisher, &mut phone, "two");
    }
}

#[test]
fn a_node_that_lost_its_disk_joins_as_a_new_one() {
    let mut pool = Pool::start(3, 2);
    let mut publishers = publishers("l", 10);
    let mut phone = Phone::udp(pool.node(0).udp);
    for publisher in &mut publishers {
        publish(publisher, &mut phone, "one");
    }
    pool.kill(2);
    std::fs::remove_dir_all(pool.data(2)).expect("removed");
    pool.run(2);
    assert_eq!(pool.seen_by(2)["node"], 4, "a number is never given again");
    order(pool.node(0), &["remove-node", "3"]);
    wait_until("the new one votes in the place of the old one", || {
        let now = serde_json::json!([1, 2, 4]);
        (0..3).all(|node| {
            let seen = pool.seen_by(node);
            let shards = seen["shards"].as_array().expect("shards");
            seen["map"]["voters"] == now
                && shards.len() == 2
                && shards.iter().all(|shard| shard["voters"] == now)
                && is_ready(pool.node(node))
        })
    });
    does_its_share(&mut pool, &mut publishers, 1, 2);
}

/// Starts a node that is not expected to get ready, for so long; what it says meanwhile.
fn hear(data: &Path, ports: [u16; 3], more: &[&str], time: Duration) -> String {
    let [sip, admin, peers] = ports.map(|port| format!("127.0.0.1:{port}"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_lamplight"))
        .args(["serve", "--data"])
        .arg(data)
        .args([
            "--admin",
            &admin,
            "--peers",
            &peers,
            "--domain",
            "example.com",
        ])
        .args([
            "--listen",
            &format!("udp:{sip}"),
            "--listen",
            &format!("tcp:{sip}"),
        ])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let until = Instant::now() + time;
    while Instant::now() < until && child.try_wait().expect("asked").is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let mut said = String::new();
    let mut errors = child.stderr.take().expect("piped");
    errors.read_to_string(&mut said).expect("text");
    child.wait().expect("it ends");
    said
}

#[test]
fn one_node_becomes_the_pool_when_the_others_are_gone_and_they_cannot_come_back() {
    let mut pool = Pool::start(3, 2);
    let mut publishers = publishers("r", 10);
    let mut phone = Phone::udp(pool.node(1).udp);
    for publisher in &mut publishers {
        publish(publisher, &mut phone, "before");
    }
    for node in 0..3 {
        pool.kill(node);
    }
    let data = pool.data(1);
    let text = data.to_str().expect("text").to_owned();
    let recover =
        |more: &[&str]| lamplight(&[&["pool", "recover", "--data", &text], more].concat());
    let (well, said) = recover(&[]);
    assert!(well, "{said}");
    for part in [
        "node 2",
        "[1, 3]",
        "pool",
        "s00",
        "s01",
        "nothing was changed",
        "--i-accept-losing",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let before = std::fs::read(data.join("node")).expect("there");
    assert_eq!(recover(&[]), (true, said), "it changes nothing");
    assert_eq!(std::fs::read(data.join("node")).expect("there"), before);

    let accept = "--i-accept-losing-what-only-the-others-had";
    let (well, said) = recover(&[accept]);
    assert!(
        well && said.contains("node 2 is the whole pool now"),
        "{said}"
    );
    let (well, said) = recover(&[accept]);
    assert!(
        well && said.contains("there is nothing to recover"),
        "{said}"
    );

    // As before, and alone: no seed is asked.
    pool.run(1);
    let mut phone = Phone::udp(pool.node(1).udp);
    for publisher in &mut publishers {
        let shown = fetch(&publisher.user, &mut phone);
        assert!(shown.contains("before"), "{shown}");
        publish(publisher, &mut phone, "alone");
    }
    let (well, said) = recover(&[]);
    assert!(
        !well && said.contains("in use by another lamplight"),
        "{said}"
    );

    // The two of before come back: they have a majority among themselves, and disturb nobody.
    let secret = pool.folder.path().join("secret");
    let secret = secret.to_str().expect("text");
    let said = hear(
        &pool.data(0),
        pool.ports[0],
        &["--secret", secret],
        Duration::from_secs(4),
    );
    assert!(said.contains("was recovered, or founded anew"), "{said}");
    assert!(said.contains("--join"), "it says what to do: {said}");
    assert!(is_ready(pool.node(1)), "{:?}", pool.node(1).get("/ready"));

    // Emptied, they join anew.
    for node in [0, 2] {
        std::fs::remove_dir_all(pool.data(node)).expect("removed");
        let seed = format!("127.0.0.1:{}", pool.ports[1][2]);
        let (data, ports) = (pool.data(node), pool.ports[node]);
        let secret = pool.folder.path().join("secret");
        let server = Server::start_node(&data, ports, &secret, &["--join", &seed]);
        pool.nodes[node] = Some(server);
    }
    wait_until("three replicas", || {
        let seen = pool.seen_by(1);
        let shards = seen["shards"].as_array().expect("shards").clone();
        let full = |shard: &Value| {
            let followers = shard["replicas_seen"].as_array().expect("replicas").len();
            shard["leader"] != 2 || followers == 3
        };
        shards.iter().all(|shard| {
            shard["replicas"]
                .as_array()
                .is_some_and(|all| all.len() == 3)
                && full(shard)
        }) && (0..3).all(|node| is_ready(pool.node(node)))
    });
    let mut phone = Phone::udp(pool.node(2).udp);
    for publisher in &mut publishers {
        publish(publisher, &mut phone, "together");
    }
}

/// The founder lost its disk and is started as it was at first: it founds another pool of the same name and secret,
/// and is node 1 of it. It must not speak for the one that there is.
#[test]
fn a_founder_that_lost_its_disk_does_not_speak_for_the_pool() {
    let mut pool = Pool::start(3, 2);
    let mut publishers = publishers("f", 6);
    let mut phone = Phone::udp(pool.node(1).udp);
    for publisher in &mut publishers {
        publish(publisher, &mut phone, "before");
    }
    pool.kill(0);
    std::fs::remove_dir_all(pool.data(0)).expect("removed");
    pool.run(0);
    assert_eq!(pool.seen_by(0)["node"], 1);
    std::thread::sleep(Duration::from_secs(3));
    for node in [1, 2] {
        let seen = pool.seen_by(node);
        assert_eq!(seen["nodes"][0]["linked"], false, "{seen}");
        assert_eq!(seen["nodes"][3 - node]["linked"], true, "{seen}");
    }
    for publisher in &mut publishers {
        let shown = fetch(&publisher.user, &mut phone);
        assert!(shown.contains("before"), "{shown}");
        publish_at_last(publisher, &mut phone, "after");
    }
    let alone = pool.seen_by(0);
    assert_eq!(alone["nodes"].as_array().map(Vec::len), Some(1), "{alone}");
}

/// Of two nodes neither is a majority: nobody can say that the damaged one's promises are not needed.
#[test]
fn one_of_two_nodes_whose_log_is_damaged_waits_and_says_for_what() {
    let mut pool = Pool::start(2, 1);
    publish(
        &mut Publisher::new("two"),
        &mut Phone::udp(pool.node(0).udp),
        "one",
    );
    pool.kill(1);
    damage(&first_segment(&pool.data(1)), 200);
    let secret = pool.folder.path().join("secret");
    let secret = ["--secret", secret.to_str().expect("text")];
    for start in 1..=2 {
        let said = hear(
            &pool.data(1),
            pool.ports[1],
            &secret,
            Duration::from_secs(4),
        );
        assert!(
            said.contains("need a majority of their own"),
            "start {start}: {said}"
        );
        assert_eq!(
            kept(&pool.data(1)),
            ["0001-log", "0001-snapshots"],
            "start {start}"
        );
    }
}

#[test]
fn a_node_is_ready_only_when_its_replicas_have_everything() {
    let mut pool = Pool::start(3, 1);
    let mut publishers = publishers("y", 20);
    let mut phone = Phone::udp(pool.node(0).udp);
    pool.kill(2);
    for round in 0..15 {
        for publisher in &mut publishers {
            publish(publisher, &mut phone, &format!("round {round}"));
        }
    }
    let leader = pool.leader(0);
    let applied = |node: usize| pool.seen_by(node)["shards"][0]["applied"].as_u64();
    let there = applied(leader).expect("a number");
    assert!(there > 300);
    pool.run(2);
    // The line that says ready has just been read.
    let has = pool.seen_by(2)["shards"][0]["applied"]
        .as_u64()
        .expect("a number");
    assert!(has >= there, "ready with {has} of {there} entries");

    // Nobody knows what is committed while nobody else is heard.
    for node in [0, 1] {
        pool.node(node).signal("STOP");
    }
    let mut said = String::new();
    wait_until("it is not ready", || {
        let (status, text) = pool.node(2).get("/ready");
        said = text;
        // Each is missed in its own time.
        status == 503 && said.contains("shard 0: ") && said.contains("the pool map: ")
    });
    for node in [0, 1] {
        pool.node(node).signal("CONT");
    }
    wait_until("it is ready again", || is_ready(pool.node(2)));

    let pool_says = pool.seen_by(2);
    for part in ["set_aside", "moves", "disk", "waiting_for"] {
        assert!(pool_says.get(part).is_some(), "{part}");
    }
    assert!(
        pool_says["disk"]["total_bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0)
    );
    let linked = |node: usize| pool_says["nodes"][node]["linked_ms"].as_u64();
    assert!(linked(0).is_some() && linked(1).is_some(), "{pool_says}");

    order(pool.node(0), &["drain", "3"]);
    wait_until("who drains is not ready", || {
        let (status, text) = pool.node(2).get("/ready");
        status == 503 && text.contains("draining")
    });
    order(pool.node(0), &["resume", "3"]);
    wait_until("who serves is", || is_ready(pool.node(2)));
    let table = order(pool.node(leader), &["status"]);
    assert!(table.contains("behind"), "{table}");
}
