//! Slots move between the shards of a running pool, and nobody who speaks to it notices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use shard::slot::{Aor, Slot};
use transport::sip::{Name, StatusCode};

use super::phone::{Phone, Publisher, Watch, document};
use super::pool::{Pool, Reader, lamplight};
use super::server::PATIENCE;

/// Phones that publish all the time; not one publication fails.
struct Publishing {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: JoinHandle<(Vec<Publisher>, Vec<Duration>)>,
}

impl Publishing {
    fn start(mut phone: Phone, users: &[String]) -> Publishing {
        let mut publishers: Vec<Publisher> =
            users.iter().map(|user| Publisher::new(user)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let round = counted.fetch_add(1, Ordering::Relaxed) + 1;
                for publisher in &mut publishers {
                    let begin = Instant::now();
                    let body = document(&publisher.user, "open", &format!("round {round}."));
                    let answer = publisher.publish(&mut phone, Some(600), &body);
                    assert_eq!(
                        answer.status(),
                        StatusCode::OK,
                        "{} in round {round}",
                        publisher.user
                    );
                    took.push(begin.elapsed());
                }
            }
            (publishers, took)
        });
        Publishing {
            stop,
            rounds,
            thread,
        }
    }

    fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    /// The rounds made, the median and the longest time that a publication took.
    fn stop(self) -> (usize, Duration, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let (_, mut took) = self.thread.join().expect("no publication failed");
        took.sort();
        (
            self.rounds.load(Ordering::Relaxed),
            took[took.len() / 2],
            took.last().copied().unwrap_or_default(),
        )
    }
}

fn users(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|user| format!("{prefix}{user}")).collect()
}

/// Watches these, and says so.
fn watch_all(phone: &mut Phone, users: &[String]) -> Vec<Watch> {
    let watch = |user: &String| {
        let mut watch = Watch::new(user);
        assert_eq!(
            watch.subscribe(phone, 900).status(),
            StatusCode::OK,
            "{user}"
        );
        watch
    };
    users.iter().map(watch).collect()
}

fn moves_left(pool: &Pool, node: usize) -> usize {
    pool.seen_by(node)["moves"].as_array().map_or(0, Vec::len)
}

fn wait_until_moved(pool: &Pool, node: usize) {
    let until = Instant::now() + PATIENCE * 6;
    while moves_left(pool, node) > 0 {
        assert!(
            Instant::now() < until,
            "slots do not move: {}",
            pool.seen_by(node)["moves"]
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn slots_held(pool: &Pool, node: usize) -> Vec<u64> {
    let seen = pool.seen_by(node);
    let slots = seen["slots"].as_array().expect("slots").iter();
    slots.filter_map(Value::as_u64).collect()
}

/// Runs `lamplight pool …` against a node.
fn pool_order(pool: &Pool, node: usize, arguments: &[&str]) -> String {
    let admin = pool.node(node).admin.to_string();
    let (well, said) = lamplight(&[&["pool"], arguments, &["--admin", &admin]].concat());
    assert!(well, "{arguments:?}: {said}");
    said
}

#[test]
fn shards_are_added_under_load_and_nothing_is_lost() {
    let pool = Pool::start(3, 2);
    let users = users("g", 32);
    let (udp, tcp) = users.split_at(16);
    let mut near = Phone::udp(pool.node(0).udp);
    let mut far = Phone::tcp(pool.node(2).tcp);
    let (near_watches, far_watches) = (watch_all(&mut near, &users), watch_all(&mut far, &users));
    let readers = [Reader::start(near), Reader::start(far)];
    let publishing = [
        Publishing::start(Phone::udp(pool.node(1).udp), udp),
        Publishing::start(Phone::tcp(pool.node(0).tcp), tcp),
    ];
    // One who comes and goes, and one who only looks, all the while.
    let stop = Arc::new(AtomicBool::new(false));
    let visitor = {
        let (stop, at, users) = (Arc::clone(&stop), pool.node(1).tcp, users.clone());
        std::thread::spawn(move || {
            let (mut phone, mut visits) = (Phone::tcp(at), 0);
            while !stop.load(Ordering::Relaxed) {
                for user in &users {
                    let mut watch = Watch::new(user);
                    let answer = watch.subscribe(&mut phone, 60);
                    let retry = answer.header(Name::RetryAfter).unwrap_or_default();
                    assert_eq!(answer.status(), StatusCode::OK, "{user}: {retry}");
                    phone.notify(Some(&watch.call_id));
                    assert_eq!(watch.subscribe(&mut phone, 0).status(), StatusCode::OK);
                    let mut fetch = Watch::new(user);
                    assert_eq!(fetch.subscribe(&mut phone, 0).status(), StatusCode::OK);
                    phone.notify(Some(&fetch.call_id));
                    phone.drain(Duration::from_millis(1));
                    visits += 1;
                }
            }
            visits
        })
    };
    let begin = Instant::now();
    let said = pool_order(&pool, 1, &["add-shards", "--total", "4"]);
    let took = begin.elapsed();
    assert!(
        said.contains("4 shards hold 256 256 256 256 slots"),
        "{said}"
    );
    // Given again, it finds nothing to do.
    let said = pool_order(&pool, 0, &["add-shards", "--total", "4", "--json"]);
    assert!(said.contains("256 256 256 256"), "{said}");
    for node in 0..3 {
        wait_until_moved(&pool, node);
        assert_eq!(slots_held(&pool, node), [256; 4]);
    }
    let before = publishing.each_ref().map(Publishing::rounds);
    std::thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::Relaxed);
    let visits = visitor.join().expect("no subscription failed");
    let made = publishing.map(Publishing::stop);
    for ((rounds, median, worst), before) in made.iter().zip(before) {
        println!(
            "{rounds} rounds, {before} of them while 512 slots moved in {took:?}; a publication took {median:?}, at most {worst:?}"
        );
        assert!(before > 2, "{before} rounds were made meanwhile");
    }
    println!("{visits} subscriptions came and went");
    // Each watcher's numbers only rose (the reader has looked), and it knows what was published last.
    let told = readers.map(Reader::stop).map(|(_, told)| told);
    for (watches, told) in [near_watches, far_watches].iter().zip(&told) {
        for (place, watch) in watches.iter().enumerate() {
            let last = format!("round {}.", made[usize::from(place >= 16)].0);
            let seen = told.last(watch);
            assert!(seen.contains(&last), "{}: {seen}", watch.presentity);
        }
    }
    let metrics = (0..3).map(|node| pool.node(node).get("/metrics").1);
    let noted: f64 = metrics
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            let count = line.strip_prefix("lamplight_slot_freeze_seconds_count ")?;
            count.parse::<f64>().ok()
        })
        .sum();
    assert!(noted >= 500.0, "{noted} freezes were measured");
    for node in 0..3 {
        println!("node {}: {}", node + 1, pool.seen_by(node)["freezes"]);
    }
}

#[test]
fn slots_go_on_moving_when_nodes_are_killed_in_the_middle() {
    let mut pool = Pool::start(3, 2);
    let users = users("m", 24);
    let survivor = 2;
    let mut watcher = Phone::udp(pool.node(survivor).udp);
    let watches = watch_all(&mut watcher, &users);
    let reader = Reader::start(watcher);
    let publishing = Publishing::start(Phone::udp(pool.node(survivor).udp), &users);
    pool_order(&pool, survivor, &["add-shards", "2", "--no-wait"]);
    // The founder, which begins with leading the map, and the other one: each leads a shard that slots leave.
    for victim in [0, 1] {
        let left = moves_left(&pool, survivor);
        let until = Instant::now() + PATIENCE * 3;
        while left > 16 && moves_left(&pool, survivor) + 16 > left {
            assert!(Instant::now() < until, "no slot moves");
            std::thread::sleep(Duration::from_millis(5));
        }
        println!(
            "node {} is killed while {} slots are on their way",
            victim + 1,
            moves_left(&pool, survivor)
        );
        pool.kill(victim);
        std::thread::sleep(Duration::from_millis(1_500));
        pool.run(victim);
        // An order that is given again adds nothing to the one that is being carried out.
        if moves_left(&pool, survivor) > 0 {
            pool_order(&pool, survivor, &["add-shards", "2", "--no-wait"]);
        }
    }
    wait_until_moved(&pool, survivor);
    assert_eq!(slots_held(&pool, survivor), [256; 4]);
    let rounds = publishing.rounds();
    let until = Instant::now() + PATIENCE;
    while publishing.rounds() < rounds + 3 {
        assert!(Instant::now() < until, "nothing is published any more");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (rounds, median, worst) = publishing.stop();
    println!("{rounds} rounds; a publication took {median:?}, at most {worst:?}");
    let (_, told) = reader.stop();
    for watch in &watches {
        let last = format!("round {rounds}.");
        let seen = told.last(watch);
        assert!(seen.contains(&last), "{}: {seen}", watch.presentity);
    }
    // Nothing of the moves is left in any shard: every slot is asked for once more, and moves once more.
    let said = pool_order(
        &pool,
        0,
        &["move-slots", "--from", "3", "--to", "0", "--count", "256"],
    );
    assert!(said.contains("4 shards hold 512 256 256 0 slots"), "{said}");
    let said = pool_order(&pool, 1, &["balance"]);
    assert!(
        said.contains("4 shards hold 256 256 256 256 slots"),
        "{said}"
    );
}

#[test]
fn an_operator_moves_what_is_named_and_is_told_what_makes_no_sense() {
    let pool = Pool::start(1, 2);
    let mut phone = Phone::udp(pool.node(0).udp);
    let slot = Aor::sip("alice", "example.com").slot().number();
    let mut alice = Publisher::new("alice");
    let mut watch = Watch::new("alice");
    let publish = |alice: &mut Publisher, phone: &mut Phone, text: &str| {
        let answer = alice.publish(phone, Some(600), &document("alice", "open", text));
        assert_eq!(answer.status(), StatusCode::OK);
    };
    publish(&mut alice, &mut phone, "before");
    assert_eq!(watch.subscribe(&mut phone, 600).status(), StatusCode::OK);
    let (first, _) = super::phone::told(&phone.notify(Some(&watch.call_id)));
    let to = (1 - slot % 2).to_string();
    let text = slot.to_string();
    for _ in 0..2 {
        pool_order(&pool, 0, &["move-slots", "--slots", &text, "--to", &to]);
    }
    let held = slots_held(&pool, 0);
    assert_eq!(held.iter().sum::<u64>(), 1_024);
    assert_eq!(held.iter().max(), Some(&513));
    // The tag of before is the one that is modified; the watcher's dialog goes on.
    publish(&mut alice, &mut phone, "after");
    let until = Instant::now() + PATIENCE;
    let mut last = first;
    loop {
        let (cseq, body) = super::phone::told(&phone.notify(Some(&watch.call_id)));
        assert!(cseq > last, "{cseq} after {last}");
        last = cseq;
        if body.contains("after") {
            break;
        }
        assert!(Instant::now() < until);
    }
    assert_eq!(watch.subscribe(&mut phone, 600).status(), StatusCode::OK);
    let lines = pool_order(&pool, 0, &["balance", "--json"]);
    assert!(
        lines.contains("\"done\"") && lines.contains("512 512"),
        "{lines}"
    );
    assert!(pool_order(&pool, 0, &["status"]).contains("frozen for"));
    let (status, report) = pool.node(0).get("/presentity/sip:alice@example.com");
    assert_eq!(status, 200, "{report}");
    for (arguments, told) in [
        (
            &["move-slots", "--slots", "1024", "--to", "0"][..],
            "no slot 1024",
        ),
        (&["move-slots", "--slots", "1", "--to", "9"], "no shard 9"),
        (
            &["move-slots", "--from", "0", "--to", "0", "--count", "1"],
            "there already",
        ),
        (
            &["move-slots", "--from", "7", "--to", "0", "--count", "1"],
            "no shard 7",
        ),
        (&["move-slots", "--to", "0"], "--from"),
        (&["add-shards", "--total", "1"], "2 shards already"),
        (&["add-shards", "--total", "2000"], "at most 1024"),
        (&["add-shards"], "<N>"),
        (&["move-shard", "0", "--to", "9"], "node 9 holds nothing"),
        (&["move-shard", "5", "--to", "1"], "no shard 5"),
    ] {
        let admin = pool.node(0).admin.to_string();
        let (well, said) = lamplight(&[&["pool"], arguments, &["--admin", &admin]].concat());
        assert!(!well && said.contains(told), "{arguments:?}: {said}");
    }
    pool_order(&pool, 0, &["stop-moves"]);
    pool_order(&pool, 0, &["move-shard", "0", "--to", "1"]);
    let help = lamplight(&["pool", "add-shards", "--help"]).1;
    assert!(help.contains("may be given again"), "{help}");
}

#[test]
fn a_node_is_added_by_hand() {
    let mut pool = Pool::start(1, 2);
    let admin = pool.node(0).admin.to_string();
    // Who starts the node reads here what to start it with.
    std::fs::copy(pool.secret_file(), pool.data(0).join("pool-secret")).expect("copied");
    let data = pool.data(0).to_str().expect("text").to_owned();
    let waits = std::thread::spawn(move || {
        lamplight(&["pool", "add-node", "--data", &data, "--admin", &admin])
    });
    std::thread::sleep(Duration::from_millis(300));
    pool.join();
    let (well, said) = waits.join().expect("it ends");
    assert!(well && said.contains("node 2 has joined"), "{said}");
    assert!(said.contains("--join 127.0.0.1:"), "{said}");
}

/// How long a slot is frozen. `LAMPLIGHT_FREEZE=1000` measures with as many presentities in each slot, every one
/// of them published and watched; a usual run has fewer.
#[test]
fn a_slot_is_frozen_for_milliseconds() {
    let wanted: usize = std::env::var("LAMPLIGHT_FREEZE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    const SLOTS: u16 = 8;
    let pool = Pool::start(3, 2);
    // A stream: hundreds are told at once, more than a socket for datagrams may hold.
    let mut phone = Phone::tcp(pool.node(0).tcp);
    let mut full = [0; SLOTS as usize];
    let mut slots = BTreeSet::new();
    let begin = Instant::now();
    for number in 0.. {
        let user = format!("z{number}");
        // Even slots, which the first shard has.
        let slot = Aor::sip(&user, "example.com").slot().number();
        let place = usize::from(slot / 2);
        if slot % 2 == 1 || place >= full.len() || full[place] >= wanted {
            if full.iter().all(|count| *count >= wanted) {
                break;
            }
            continue;
        }
        full[place] += 1;
        slots.insert(slot);
        let body = document(
            &user,
            "open",
            "a note that is as long as notes usually are, more or less",
        );
        let answer = Publisher::new(&user).publish(&mut phone, Some(3_600), &body);
        assert_eq!(answer.status(), StatusCode::OK);
        let answer = Watch::new(&user).subscribe(&mut phone, 3_600);
        assert_eq!(answer.status(), StatusCode::OK);
        if number % 64 == 0 {
            phone.drain(Duration::from_millis(1));
        }
    }
    println!(
        "{} presentities in {:?}",
        wanted * full.len(),
        begin.elapsed()
    );
    let reader = Reader::start(phone);
    let text: Vec<String> = slots.iter().map(u16::to_string).collect();
    let text = text.join(",");
    for to in ["1", "0", "1", "0"] {
        pool_order(&pool, 1, &["move-slots", "--slots", &text, "--to", to]);
    }
    reader.stop();
    for node in 0..3 {
        let freezes = pool.seen_by(node)["freezes"].clone();
        println!(
            "node {}, {wanted} presentities in a slot: {freezes}",
            node + 1
        );
        if let Some(worst) = freezes["worst_ms"].as_f64() {
            // The machine may be busy with other things; requests wait for five seconds.
            assert!(worst < 2_000.0, "{freezes}");
        }
    }
    let moved: u64 = (0..3)
        .filter_map(|node| pool.seen_by(node)["freezes"]["moved"].as_u64())
        .sum();
    assert_eq!(moved, 4 * u64::from(SLOTS));
    assert!(Slot::new(0).is_some_and(|slot| slots.contains(&slot.number())));
}
