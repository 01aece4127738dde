//! Three nodes are one presence service: any of them takes any request, one may die, one may come back.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use transport::sip::{Request, StatusCode};

use super::phone::{Phone, Publisher, Watch, document, told};
use super::server::{PATIENCE, Server};

/// A pool of processes on loopback.
pub struct Pool {
    pub folder: tempfile::TempDir,
    pub ports: Vec<[u16; 3]>,
    pub nodes: Vec<Option<Server>>,
    pub more: Vec<String>,
}

/// Ports that nobody has now, for SIP over both transports, the operator and the peers.
pub fn free_ports() -> [u16; 3] {
    loop {
        let sip = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = sip.local_addr().expect("bound").port();
        let (admin, peers) = (
            TcpListener::bind("127.0.0.1:0").expect("a port"),
            TcpListener::bind("127.0.0.1:0").expect("a port"),
        );
        let number = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return [port, number(&admin), number(&peers)];
        }
    }
}

impl Pool {
    pub fn start(nodes: usize, shards: u16) -> Pool {
        Pool::start_with(nodes, shards, "")
    }

    /// The same with these settings on every node: the text of its node.toml.
    pub fn start_with(nodes: usize, shards: u16, settings: &str) -> Pool {
        let mut pool = Pool {
            folder: tempfile::tempdir().expect("a folder"),
            ports: (0..nodes).map(|_| free_ports()).collect(),
            nodes: (0..nodes).map(|_| None).collect(),
            more: [
                "--listen",
                "ws:127.0.0.1:0",
                "--shards",
                &shards.to_string(),
            ]
            .map(str::to_owned)
            .into(),
        };
        let file = pool.folder.path().join("node.toml");
        std::fs::write(&file, settings).expect("written");
        let file = file.to_str().expect("a path of text").to_owned();
        let domain = ["--domain", "contoso.com", "--config"].map(str::to_owned);
        pool.more.extend(domain);
        pool.more.push(file);
        for node in 0..nodes {
            pool.run(node);
        }
        pool.wait_until_spread(usize::from(shards));
        pool
    }

    pub fn data(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("n{}", node + 1))
    }

    /// Starts a node, or starts it again with what it had.
    pub fn run(&mut self, node: usize) {
        let seed = format!("127.0.0.1:{}", self.ports[0][2]);
        let mut more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        if node > 0 {
            more.extend(["--join", &seed]);
        }
        let secret = self.folder.path().join("secret");
        let server = Server::start_node(&self.data(node), self.ports[node], &secret, &more);
        self.nodes[node] = Some(server);
    }

    /// The file with the pool's secret.
    pub fn secret_file(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// One more node joins.
    pub fn join(&mut self) {
        self.ports.push(free_ports());
        self.nodes.push(None);
        self.run(self.nodes.len() - 1);
    }

    pub fn node(&self, node: usize) -> &Server {
        self.nodes[node].as_ref().expect("it runs")
    }

    pub fn kill(&mut self, node: usize) {
        self.nodes[node].take().expect("it runs").kill();
    }

    pub fn seen_by(&self, node: usize) -> Value {
        let (status, text) = self.node(node).get("/pool");
        assert_eq!(status, 200);
        serde_json::from_str(&text).expect("JSON")
    }

    /// Waits until every replica votes: before that a pool of three does not survive the loss of any node.
    pub fn wait_until_all_vote(&self) {
        let until = Instant::now() + PATIENCE;
        let votes = |node: usize| {
            let seen = self.seen_by(node);
            let mut shards = seen["shards"].as_array().into_iter().flatten();
            shards.all(|shard| shard["role"] == "leader" || shard["role"] == "follower")
        };
        while !(0..self.nodes.len()).all(votes) {
            assert!(Instant::now() < until, "not every replica votes");
            std::thread::sleep(Duration::from_millis(50));
        }
        // The last change of members is decided by the voters before it as well.
        std::thread::sleep(Duration::from_secs(2));
    }

    /// Who leads each shard, as a node sees it.
    pub fn leaders(&self, node: usize) -> Vec<Option<u64>> {
        let seen = self.seen_by(node);
        let shards = seen["shards"].as_array().expect("shards").clone();
        shards
            .iter()
            .map(|shard| shard["leader"].as_u64())
            .collect()
    }

    /// Where the leader of this shard (the first is 0) runs, as node 0 sees it: waited for, for elections happen.
    pub fn leader(&self, shard: usize) -> usize {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(number) = self.leaders(0)[shard] {
                return usize::try_from(number).expect("a small number") - 1;
            }
            assert!(Instant::now() < until, "nobody leads shard {shard}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether all replicas vote, as their leaders see it: before, the loss of one may be one too many.
    pub fn is_whole(&self, replicas: usize) -> bool {
        (0..self.nodes.len()).all(|node| {
            let seen = self.seen_by(node);
            let mut groups = seen["shards"].as_array().expect("shards").clone();
            groups.push(seen["map"].clone());
            let votes = |group: &Value| group["voters"].as_array().map_or(0, Vec::len) == replicas;
            groups.iter().all(votes)
        })
    }

    /// Waits until every node has every shard, all vote and are ready, and no node leads more than its share.
    pub fn wait_until_spread(&self, shards: usize) {
        let until = Instant::now() + PATIENCE;
        let nodes = self.nodes.len();
        loop {
            let spread = (0..nodes).all(|node| {
                let leaders = self.leaders(node);
                let led = |by: u64| leaders.iter().filter(|leader| **leader == Some(by)).count();
                leaders.len() == shards
                    && (1..=nodes as u64).all(|by| led(by) <= shards.div_ceil(nodes))
                    && self.node(node).get("/ready").0 == 200
            });
            if spread && self.is_whole(nodes.min(3)) {
                return;
            }
            assert!(
                Instant::now() < until,
                "the pool does not settle: {:?}",
                (0..nodes)
                    .map(|node| self.leaders(node))
                    .collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What each watcher was told, by CSeq. Its numbers only grow, but for what is retransmitted.
#[derive(Default)]
pub struct Told(BTreeMap<String, BTreeMap<u32, String>>);

impl Told {
    fn note(&mut self, notify: &Request) {
        let (cseq, body) = told(notify);
        let call_id = notify.call_id().to_owned();
        let dialog = self.0.entry(call_id.clone()).or_default();
        match dialog.get(&cseq) {
            Some(before) => assert_eq!(*before, body, "{call_id}: two of CSeq {cseq}"),
            None => {
                let newest = dialog.last_key_value().map_or(0, |(newest, _)| *newest);
                assert!(cseq > newest, "{call_id}: CSeq {cseq} after {newest}");
                dialog.insert(cseq, body);
            }
        }
    }

    pub fn last(&self, watch: &Watch) -> &str {
        let newest = self
            .0
            .get(&watch.call_id)
            .and_then(BTreeMap::last_key_value);
        newest.map_or("", |(_, body)| body)
    }
}

/// A watcher that reads all the time, as phones do: one that does not is told again and again, until its
/// socket is full and loses what is new.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Phone, Told)>,
}

impl Reader {
    pub fn start(phone: Phone) -> Reader {
        Reader::go_on(phone, Told::default())
    }

    fn go_on(mut phone: Phone, mut told: Told) -> Reader {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for notify in phone.drain(Duration::from_millis(20)) {
                    told.note(&notify);
                }
            }
            for notify in phone.drain(Duration::from_millis(500)) {
                told.note(&notify);
            }
            (phone, told)
        });
        Reader { stop, thread }
    }

    pub fn stop(self) -> (Phone, Told) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("what was told was in order")
    }
}

#[test]
fn any_node_takes_any_request_and_tells_watchers_of_any_node() {
    let pool = Pool::start(3, 4);
    // One of them is a browser, which can be told over its own connection only.
    let browser = Phone::ws(pool.node(2).ws.expect("a listener for browsers"));
    let mut watchers = [
        Phone::udp(pool.node(0).udp),
        Phone::udp(pool.node(1).udp),
        browser,
    ];
    let mut publishers: Vec<Phone> = (0..3).map(|node| Phone::tcp(pool.node(node).tcp)).collect();
    let mut told = Told::default();
    for user in 0..12 {
        let name = format!("p{user}");
        // Watched on one node, published on another, changed on the third.
        let watcher = &mut watchers[user % 3];
        let mut watch = Watch::new(&name);
        assert_eq!(watch.subscribe(watcher, 600).status(), StatusCode::OK);
        told.note(&watcher.notify(Some(&watch.call_id)));
        let mut publisher = Publisher::new(&name);
        for (step, node) in [(user + 1) % 3, (user + 2) % 3].into_iter().enumerate() {
            let body = document(&name, "open", &format!("step {step}"));
            let answer = publisher.publish(&mut publishers[node], Some(600), &body);
            assert_eq!(answer.status(), StatusCode::OK, "{name} step {step}");
            // What was told lately may be told again at a change of leader, before what is new.
            let until = Instant::now() + PATIENCE;
            while !told.last(&watch).contains(&format!("step {step}")) {
                assert!(Instant::now() < until, "{name}: {}", told.last(&watch));
                told.note(&watcher.notify(Some(&watch.call_id)));
            }
        }
        // A fetch sees it from every node.
        for (node, phone) in publishers.iter_mut().enumerate() {
            let mut fetch = Watch::new(&name);
            assert_eq!(fetch.subscribe(phone, 0).status(), StatusCode::OK);
            let (_, body) = super::phone::told(&phone.notify(Some(&fetch.call_id)));
            assert!(body.contains("step 1"), "{name} at node {node}: {body}");
        }
        assert_eq!(watch.subscribe(watcher, 0).status(), StatusCode::OK);
    }
}

#[test]
fn a_node_dies_and_nobody_who_speaks_to_the_others_notices() {
    let mut pool = Pool::start(3, 4);
    let victim = 2;
    let users: Vec<String> = (0..24).map(|user| format!("d{user}")).collect();
    let mut watcher = Phone::udp(pool.node(0).udp);
    let mut phone = Phone::udp(pool.node(1).udp);
    let mut watches = Vec::new();
    let mut publishers = Vec::new();
    for user in &users {
        let mut watch = Watch::new(user);
        assert_eq!(watch.subscribe(&mut watcher, 600).status(), StatusCode::OK);
        watches.push(watch);
        publishers.push(Publisher::new(user));
    }
    let publish = |publisher: &mut Publisher, phone: &mut Phone, number: usize| {
        let body = document(&publisher.user, "open", &format!("state {number}"));
        let answer = publisher.publish(phone, Some(600), &body);
        assert_eq!(
            answer.status(),
            StatusCode::OK,
            "{} {number}",
            publisher.user
        );
    };
    let mut reader = Reader::start(watcher);
    for publisher in &mut publishers {
        publish(publisher, &mut phone, 0);
    }
    pool.kill(victim);
    let dead = Instant::now();
    // Each answer may take an election, but no request fails: the node that has it tries again.
    for publisher in &mut publishers {
        publish(publisher, &mut phone, 1);
    }
    let first_round = dead.elapsed();
    for publisher in &mut publishers {
        publish(publisher, &mut phone, 2);
    }
    let (watcher, told) = reader.stop();
    for watch in &watches {
        assert!(
            told.last(watch).contains("state 2"),
            "{}: {}",
            watch.presentity,
            told.last(watch)
        );
    }
    println!(
        "a round of {} publications took {first_round:?} with the loss of a node",
        users.len()
    );

    // It comes back as what it was, and takes part again.
    pool.run(victim);
    let until = Instant::now() + PATIENCE;
    while pool.node(victim).get("/ready").0 != 200 {
        assert!(Instant::now() < until, "the node does not catch up");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut late = Phone::tcp(pool.node(victim).tcp);
    reader = Reader::go_on(watcher, told);
    for publisher in &mut publishers {
        publish(publisher, &mut late, 3);
    }
    let (mut watcher, told) = reader.stop();
    for watch in &mut watches {
        assert!(told.last(watch).contains("state 3"), "{}", watch.presentity);
        assert_eq!(watch.subscribe(&mut watcher, 0).status(), StatusCode::OK);
    }
}

#[test]
fn all_nodes_are_killed_and_everything_is_there_when_they_are_back() {
    let mut pool = Pool::start(3, 2);
    let mut phone = Phone::udp(pool.node(0).udp);
    let mut publishers: Vec<Publisher> = (0..8)
        .map(|user| Publisher::new(&format!("k{user}")))
        .collect();
    for publisher in &mut publishers {
        let body = document(&publisher.user, "open", "before");
        let answer = publisher.publish(&mut phone, Some(600), &body);
        assert_eq!(answer.status(), StatusCode::OK);
    }
    for node in 0..3 {
        pool.kill(node);
    }
    // A node alone has no majority and does not get ready: all are begun at once.
    let ports = pool.ports.clone();
    let starts: Vec<_> = (0..3)
        .map(|node| {
            let (data, secret) = (pool.data(node), pool.folder.path().join("secret"));
            let ports = ports[node];
            std::thread::spawn(move || Server::start_node(&data, ports, &secret, &[]))
        })
        .collect();
    for (node, start) in starts.into_iter().enumerate() {
        pool.nodes[node] = Some(start.join().expect("it starts"));
    }
    let mut phone = Phone::udp(pool.node(2).udp);
    for publisher in &mut publishers {
        // The entity-tag of before is the one that is modified.
        let body = document(&publisher.user, "open", "after");
        let answer = publisher.publish(&mut phone, Some(600), &body);
        assert_eq!(answer.status(), StatusCode::OK, "{}", publisher.user);
    }
}

/// Runs the binary with these arguments: whether it went well, and what it said.
pub fn lamplight(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lamplight"));
    let output = command.args(arguments).output().expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8(said).expect("it speaks text"),
    )
}

#[test]
fn an_operator_drains_a_node_and_takes_one_out_while_phones_publish() {
    let pool = Pool::start(3, 4);
    let admin = pool.node(1).admin.to_string();
    let run = |arguments: &[&str]| {
        let (well, said) = lamplight(&[&["pool"], arguments, &["--admin", &admin]].concat());
        assert!(well, "{arguments:?}: {said}");
        said
    };
    // A phone publishes all the time, on a node that stays; not one request fails.
    let stop = Arc::new(AtomicBool::new(false));
    let phone = {
        let (stop, udp) = (Arc::clone(&stop), pool.node(1).udp);
        std::thread::spawn(move || {
            let mut phone = Phone::udp(udp);
            let mut publishers: Vec<Publisher> = (0..8)
                .map(|user| Publisher::new(&format!("o{user}")))
                .collect();
            let (mut rounds, mut worst) = (0, Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                rounds += 1;
                for publisher in &mut publishers {
                    let begin = Instant::now();
                    let body = document(&publisher.user, "open", &format!("round {rounds}"));
                    let answer = publisher.publish(&mut phone, Some(600), &body);
                    assert_eq!(answer.status(), StatusCode::OK, "{}", publisher.user);
                    worst = worst.max(begin.elapsed());
                }
            }
            (rounds, worst)
        })
    };
    let led_by = |node: u64| {
        let leaders = pool.leaders(1);
        leaders
            .iter()
            .filter(|leader| **leader == Some(node))
            .count()
    };
    run(&["drain", "1"]);
    run(&["drain", "1"]);
    assert_eq!(led_by(1), 0);
    assert!(run(&["status"]).contains("draining"));
    run(&["resume", "1"]);
    run(&["transfer-leader", "0", "3"]);
    assert_eq!(pool.leaders(1)[0], Some(3));
    run(&["snapshot"]);
    run(&["remove-node", "3"]);
    let seen = pool.seen_by(1);
    assert_eq!(seen["nodes"][2]["standing"], "gone");
    for shard in seen["shards"].as_array().expect("shards") {
        let replicas = shard["replicas"].as_array().expect("replicas");
        assert!(replicas.iter().all(|node| *node != 3), "{shard}");
    }
    stop.store(true, Ordering::Relaxed);
    let (rounds, worst) = phone.join().expect("no publication failed");
    println!("{rounds} rounds of publications meanwhile, the slowest took {worst:?}");
    assert!(rounds > 10);

    for (arguments, told) in [
        (&["drain", "9"][..], "there is no node 9"),
        (&["resume", "3"], "gone for good"),
        (&["transfer-leader", "0", "3"], "has no replica of shard 0"),
        (&["transfer-leader", "7", "1"], "there is no shard 7"),
    ] {
        let (well, said) = lamplight(&[&["pool"], arguments, &["--admin", &admin]].concat());
        assert!(!well && said.contains(told), "{arguments:?}: {said}");
    }
    let (well, said) = lamplight(&["pool", "status", "--admin", "127.0.0.1:1"]);
    assert!(!well && said.contains("--admin IP:PORT"), "{said}");
}

#[test]
fn a_pool_to_try_things_out_runs_with_one_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("text");
    // Three ports for each of three nodes, ten apart: somewhere above those that the system gives away.
    let base = (0..50)
        .map(|try_| 20_000 + 100 * try_)
        .find(|base| {
            (0..3).all(|node| {
                (0..3).all(|port| {
                    let port = base + 10 * node + port;
                    TcpListener::bind(("127.0.0.1", port)).is_ok()
                        && UdpSocket::bind(("127.0.0.1", port)).is_ok()
                })
            })
        })
        .expect("nine ports");
    let mut pool = Command::new(env!("CARGO_BIN_EXE_lamplight"))
        .args([
            "dev-pool",
            "--nodes",
            "3",
            "--shards",
            "2",
            "--domain",
            "example.com",
        ])
        .args(["--dir", dir, "--base-port", &base.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut said = String::new();
    let mut out = BufReader::new(pool.stdout.take().expect("piped"));
    while !said.contains("lamplight pool ready") {
        let read = out.read_line(&mut said).expect("text");
        assert_ne!(read, 0, "it ended: {said}");
    }
    let text = std::fs::read_to_string(folder.path().join("pool.json")).expect("pool.json");
    let told: Value = serde_json::from_str(&text).expect("JSON");
    let nodes = told["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 3);
    for (node, told) in nodes.iter().enumerate() {
        let sip = told["sip"].as_str().expect("an address");
        assert_eq!(sip, format!("127.0.0.1:{}", usize::from(base) + 10 * node));
        let mut phone = Phone::udp(sip.parse().expect("an address"));
        let mut publisher = Publisher::new(&format!("t{node}"));
        let answer = publisher.publish(&mut phone, Some(600), &document("t", "open", "here"));
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let term = Command::new("kill")
        .arg("-TERM")
        .arg(pool.id().to_string())
        .status();
    assert!(term.expect("kill runs").success());
    assert!(pool.wait().expect("it ends").success());
    for told in nodes {
        let pid = told["pid"].as_u64().expect("a pid");
        assert!(
            !PathBuf::from(format!("/proc/{pid}")).exists(),
            "{pid} is left"
        );
    }
}

#[test]
fn a_stranger_does_not_get_in() {
    let pool = Pool::start(1, 1);
    let [sip, admin, peers] = free_ports().map(|port| format!("127.0.0.1:{port}"));
    let wrong = pool.folder.path().join("wrong");
    std::fs::write(&wrong, "ab".repeat(32)).expect("written");
    let seed = format!("127.0.0.1:{}", pool.ports[0][2]);
    let secret = wrong.to_str().expect("text");
    let arguments = [
        "--admin", &admin, "--peers", &peers, "--secret", secret, "--join", &seed,
    ];
    let said = Server::try_start(
        &pool.folder.path().join("stranger"),
        &format!("udp:{sip}"),
        &format!("tcp:{sip}"),
        &arguments,
    );
    let said = said.err().expect("it does not start");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("could not join the pool"), "{said}");
    assert!(last.contains("secret"), "it says what to look at: {said}");
    let nodes = pool.seen_by(0)["nodes"].as_array().map(Vec::len);
    assert_eq!(nodes, Some(1));
}
