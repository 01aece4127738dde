//! kill -9, torn tails, full disks: what was acknowledged is there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use transport::sip::{Name, StatusCode};

use super::phone::{Phone, Publisher, Watch, document, told};
use super::server::{PATIENCE, Server};

const USERS: usize = 12;

//= RFC 3903 4.1
//= type=test
/// COM-11. Publishers and watchers run, the process is killed in the middle, thrice: every acknowledged
/// publication has its tag, every dialog refreshes, numbers only grow, and watchers get the newest state.
#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(data.path());
    let (udp, tcp) = (server.udp, server.tcp);
    let mut watcher = Phone::udp(udp);
    let mut watches: Vec<Watch> = (0..USERS)
        .map(|user| Watch::new(&format!("u{user}")))
        .collect();
    let mut last_cseq: BTreeMap<String, u32> = BTreeMap::new();
    for watch in &mut watches {
        assert_eq!(
            watch.subscribe(&mut watcher, 3_600).status(),
            StatusCode::OK
        );
    }
    let mut publishers: Vec<(Publisher, u64)> = (0..USERS)
        .map(|user| (Publisher::new(&format!("u{user}")), 0))
        .collect();
    for round in 0..3 {
        // A thread publishes as fast as it can until the server is gone.
        let stop = Arc::new(AtomicBool::new(false));
        let running = {
            let stop = Arc::clone(&stop);
            let mut publishers = std::mem::take(&mut publishers);
            std::thread::spawn(move || {
                let mut phone = Phone::udp(udp);
                while !stop.load(Ordering::Relaxed) {
                    for (publisher, number) in &mut publishers {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        *number += 1;
                        let body = document(&publisher.user, "open", &format!("state {number}"));
                        let before = publisher.tag.clone();
                        let answered =
                            publisher.publish_within(&mut phone, &body, Duration::from_millis(500));
                        if answered != Some(StatusCode::OK) {
                            // Unknown: it may or may not have been logged. The tag in hand is the last
                            // acknowledged one.
                            publisher.tag = before;
                            *number -= 1;
                            return publishers;
                        }
                    }
                }
                publishers
            })
        };
        std::thread::sleep(Duration::from_millis(400 + 150 * round));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        publishers = running.join().expect("the publisher's thread");
        for notify in watcher.drain(Duration::from_millis(50)) {
            note(&mut last_cseq, &notify);
        }

        server = Server::restart(data.path(), udp, tcp);
        let ready = Instant::now();
        let mut newest: BTreeMap<String, String> = BTreeMap::new();
        let mut waiting = USERS;
        while waiting > 0 && ready.elapsed() < Duration::from_secs(2) {
            for notify in watcher.drain(Duration::from_millis(100)) {
                note(&mut last_cseq, &notify);
                let (_, body) = told(&notify);
                newest.insert(notify.call_id().to_owned(), body);
            }
            waiting = USERS - newest.len();
        }
        assert_eq!(
            waiting, 0,
            "every watcher was told again within two seconds of readiness"
        );

        let mut phone = Phone::udp(udp);
        for ((publisher, number), watch) in publishers.iter_mut().zip(&mut watches) {
            let (status, report) =
                server.get(&format!("/presentity/sip:{}@example.com", publisher.user));
            assert_eq!(status, 200);
            let body = &newest[&watch.call_id];
            let state = |number: u64| format!("<note>state {number}</note>");
            let shown =
                |text: &str| text.contains(&state(*number)) || text.contains(&state(*number + 1));
            if *number > 0 {
                assert!(
                    shown(&report) && shown(body),
                    "{} after {number}: {report}",
                    publisher.user
                );
            }
            // The acknowledged tag is the current one, or the unknown request was logged after it.
            let current = report
                .split("\"etag\":\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .map(str::to_owned);
            if !report.contains(&state(*number + 1)) {
                assert_eq!(current, publisher.tag, "{}", publisher.user);
            } else {
                *number += 1;
            }
            publisher.tag = current;
            assert_eq!(
                publisher.publish(&mut phone, Some(3_600), "").status(),
                StatusCode::OK
            );
            assert_eq!(
                watch.subscribe(&mut watcher, 3_600).status(),
                StatusCode::OK,
                "the dialog lives"
            );
            note(&mut last_cseq, &watcher.notify(Some(&watch.call_id)));
        }
    }
    assert!(server.terminate());
}

/// Notes a NOTIFY: its CSeq must be new, but for a retransmission of the last one.
fn note(last: &mut BTreeMap<String, u32>, notify: &transport::sip::Request) {
    let known = last.entry(notify.call_id().to_owned()).or_default();
    assert!(
        notify.cseq() >= *known,
        "the CSeq of {} goes back from {known} to {}",
        notify.call_id(),
        notify.cseq()
    );
    *known = notify.cseq();
}

/// The newest segment and the place behind its last whole batch. A batch says how long it is; it may
/// well end in zeros, as the unused rest of the file does.
fn log_end(data: &std::path::Path) -> (std::path::PathBuf, u64) {
    const MAGIC: u32 = 0x4c4c_4257;
    const HEAD: usize = 28;
    let mut segments: Vec<_> = fs::read_dir(data.join("log"))
        .expect("a log")
        .flatten()
        .map(|file| file.path())
        .collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    let newest = segments.pop().expect("a segment");
    let bytes = fs::read(&newest).expect("readable");
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 4).expect("within the file");
        u32::from_le_bytes(bytes.try_into().expect("four bytes"))
    };
    let mut end = bytes
        .windows(4)
        .position(|four| four == MAGIC.to_le_bytes())
        .expect("a batch");
    while bytes.len() > end + HEAD && word(end) == MAGIC {
        end += HEAD + usize::try_from(word(end + 20)).expect("a length");
    }
    (newest, end as u64)
}

#[test]
fn a_torn_tail_is_cut_and_damage_in_the_middle_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::udp(server.udp);
    let mut alice = Publisher::new("alice");
    alice.publish(&mut phone, None, &document("alice", "open", "kept"));
    let tag = alice.tag.clone().expect("a tag");
    server.kill();
    // Half a batch behind the last whole one: a write that was never acknowledged.
    let (segment, end) = log_end(data.path());
    let file = fs::File::options()
        .write(true)
        .open(&segment)
        .expect("writable");
    file.write_all_at(&[0x57, 0x42, 0x4c, 0x4c, 1, 2, 3, 4, 5, 6, 7], end)
        .expect("written");
    let server = Server::start(data.path());
    let (_, report) = server.get("/presentity/sip:alice@example.com");
    assert!(report.contains(&tag) && report.contains("kept"), "{report}");
    let mut phone = Phone::udp(server.udp);
    assert_eq!(
        alice
            .publish(&mut phone, None, &document("alice", "open", "on"))
            .status(),
        StatusCode::OK
    );
    server.kill();
    // A flipped bit in what was durable.
    let (segment, end) = log_end(data.path());
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&segment)
        .expect("writable");
    let mut byte = [0];
    file.read_exact_at(&mut byte, end / 2).expect("read");
    file.write_all_at(&[byte[0] ^ 1], end / 2).expect("written");
    let error = Server::try_start(data.path(), "udp:127.0.0.1:0", "tcp:127.0.0.1:0", &[])
        .err()
        .expect("it does not start");
    assert!(
        error.contains("is damaged at byte") && error.contains(".log"),
        "{error}"
    );
}

#[test]
fn a_snapshot_holds_everything() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let (udp, tcp) = (server.udp, server.tcp);
    let mut phone = Phone::udp(udp);
    let mut alice = Publisher::new("alice");
    alice.publish(
        &mut phone,
        None,
        &document("alice", "open", "in the snapshot"),
    );
    let mut watch = Watch::new("alice");
    watch.subscribe(&mut phone, 600);
    let first = phone.notify(Some(&watch.call_id)).cseq();
    assert!(server.terminate(), "a last snapshot is written");
    let server = Server::restart(data.path(), udp, tcp);
    let again = phone.notify(Some(&watch.call_id));
    assert!(again.cseq() > first && told(&again).1.contains("in the snapshot"));
    assert_eq!(
        alice.publish(&mut phone, None, "").status(),
        StatusCode::OK,
        "its tag lives"
    );
    drop(server);
}

/// Needs root, for a small file system of its own.
#[test]
fn a_full_disk_stops_nothing_for_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("made");
    let mount = |args: &[&str]| {
        Command::new("mount")
            .args(args)
            .arg(&disk)
            .status()
            .is_ok_and(|status| status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=40m", "tmpfs"]) {
        println!("skipped: mounting a tmpfs needs root");
        return;
    }
    let _unmount = Unmount(disk.clone());
    let config = folder.path().join("node.toml");
    fs::write(&config, "[limits]\nlog_segment_bytes = 8388608\n").expect("written");
    let server = Server::start_with(
        &disk.join("data"),
        &["--config", config.to_str().expect("a path")],
    );
    let mut phone = Phone::udp(server.udp);
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    // Another program takes the rest of the disk.
    let mut taken = 0;
    while fs::write(disk.join(format!("ballast{taken}")), vec![1; 1 << 20]).is_ok() {
        taken += 1;
        assert!(taken < 64, "the disk is small");
    }
    let note = "x".repeat(30_000);
    let mut refused = false;
    for number in 0..2_000 {
        let mut user = Publisher::new(&format!("full{number}"));
        let response = user.publish(&mut phone, None, &document(&user.user, "open", &note));
        match response.status().number() {
            200 => drop(acknowledged.insert(user.user.clone(), user.tag.expect("a tag"))),
            503 => {
                assert!(response.header(Name::RetryAfter).is_some());
                refused = true;
                break;
            }
            other => panic!("{other}"),
        }
    }
    assert!(refused, "the disk got full");
    let (status, why) = server.get("/ready");
    assert_eq!(status, 503);
    assert!(why.contains("no room for a log segment"), "{why}");
    for number in 0..taken {
        fs::remove_file(disk.join(format!("ballast{number}"))).expect("removed");
    }
    let until = Instant::now() + PATIENCE;
    while server.get("/ready").0 != 200 {
        assert!(
            Instant::now() < until,
            "it goes on when there is room: {:?}",
            server.get("/ready")
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut late = Publisher::new("late");
    assert_eq!(
        late.publish(&mut phone, None, &document("late", "open", "x"))
            .status(),
        StatusCode::OK
    );
    for (user, tag) in &acknowledged {
        let (_, report) = server.get(&format!("/presentity/sip:{user}@example.com"));
        assert!(report.contains(tag), "{user}");
    }
    server.kill();
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        // Lazily: the server may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
