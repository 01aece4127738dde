//! A backup of a pool that runs, and a pool made of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use transport::sip::status::StatusCode;

use super::phone::{Phone, Publisher, Watch, document, told};
use super::pool::{Pool, lamplight};
use super::server::{PATIENCE, Server};

const USERS: usize = 120;

fn name(user: usize) -> String {
    format!("b{user}")
}

/// What is kept for every user, without what changes by itself.
fn seen(server: &Server) -> Vec<Value> {
    let one = |user: usize| {
        let path = format!("/presentity/sip:{}@example.com", name(user));
        let until = Instant::now() + PATIENCE;
        loop {
            let (status, text) = server.get(&path);
            if status == 200 {
                break serde_json::from_str::<Value>(&text).expect("JSON");
            }
            assert!(Instant::now() < until, "{path}: {status} {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    (0..USERS).map(one).collect()
}

#[test]
fn a_pool_is_made_of_a_backup() {
    let mut pool = Pool::start(3, 4);
    pool.wait_until_all_vote();
    let mut phone = Phone::udp(pool.node(0).udp);
    let mut publishers: Vec<Publisher> =
        (0..USERS).map(|user| Publisher::new(&name(user))).collect();
    for (user, publisher) in publishers.iter_mut().enumerate() {
        let body = document(&name(user), "open", &format!("note {user}"));
        let answer = publisher.publish(&mut phone, Some(3_600), &body);
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let mut watcher = Phone::udp(pool.node(0).udp);
    let mut watch = Watch::new(&name(7));
    watch.subscribe(&mut watcher, 3_600);
    let (number, _) = told(&watcher.notify(Some(&watch.call_id)));
    assert_eq!(number, 1);

    let to = pool.folder.path().join("backup");
    let to = to.to_str().expect("text").to_owned();
    let admin = pool.node(1).admin.to_string();
    let (well, said) = lamplight(&["backup", "--admin", &admin, "--to", &to]);
    assert!(well && said.starts_with("4 shards, "), "{said}");
    let (well, said) = lamplight(&["backup", "--admin", &admin, "--to", &to]);
    assert!(!well && said.contains("is not empty"), "{said}");
    let before = seen(pool.node(0));

    // The pool goes on: tags and numbers that the backup does not know are given.
    let mut given = BTreeSet::new();
    for step in 0..20 {
        let body = document(&name(7), "closed", &format!("later {step}"));
        publishers[7].publish(&mut phone, Some(3_600), &body);
        given.insert(publishers[7].tag.clone().expect("a tag"));
        let _ = told(&watcher.notify(Some(&watch.call_id)));
    }
    let old = Publisher {
        user: name(7),
        call_id: publishers[7].call_id.clone(),
        cseq: publishers[7].cseq,
        tag: publishers[7].tag.clone(),
    };
    for node in 0..3 {
        pool.kill(node);
    }

    // What is not whole is not taken, and leaves nothing behind.
    let data = pool.folder.path().join("restored");
    let text = data.to_str().expect("text").to_owned();
    let file = pool.folder.path().join("backup/shard-002");
    let whole = std::fs::read(&file).expect("there");
    for damage in [whole[..whole.len() - 9].to_vec(), {
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 4;
        bytes
    }] {
        std::fs::write(&file, damage).expect("written");
        let (well, said) = lamplight(&["restore", "--from", &to, "--data", &text]);
        assert!(!well && said.contains("shard-002"), "{said}");
        assert!(!data.join("node").exists(), "{said}");
    }
    std::fs::write(&file, &whole).expect("written");
    let (well, said) = lamplight(&["restore", "--from", &to, "--data", &text]);
    assert!(
        well && said.starts_with(&format!(
            "{USERS} addresses, {USERS} publications, 1 subscriptions in 4 shards"
        )),
        "{said}"
    );
    let (well, said) = lamplight(&["restore", "--from", &to, "--data", &text]);
    assert!(!well && said.contains("is not empty"), "{said}");

    let secret = pool.secret_file();
    let more: Vec<&str> = pool.more.iter().map(String::as_str).collect();
    let restored = Server::start_node(&data, pool.ports[0], &secret, &more);
    let mut after = seen(&restored);
    let mut before = before;
    for (report, leap) in after.iter_mut().zip(&mut before) {
        for report in [report, leap] {
            for watcher in report["watchers"].as_array_mut().into_iter().flatten() {
                watcher["cseq"] = Value::Null;
                // What was told lately is told again at the change of leader.
                watcher["notified_at"] = Value::Null;
            }
        }
    }
    assert_eq!(before, after);

    // A tag of the backup is good; one that was given after it is not; new ones were never given.
    let mut old = old;
    let body = document(&name(7), "open", "with a tag that is no more");
    let answer = old.publish(&mut phone, Some(3_600), &body);
    assert_eq!(answer.status().number(), 412);
    let mut three = Publisher {
        user: name(3),
        call_id: publishers[3].call_id.clone(),
        cseq: publishers[3].cseq,
        tag: publishers[3].tag.clone(),
    };
    let answer = three.publish(&mut phone, Some(3_600), &document(&name(3), "open", "on"));
    assert_eq!(answer.status(), StatusCode::OK);
    let mut anew = Publisher::new(&name(7));
    let answer = anew.publish(&mut phone, Some(3_600), &document(&name(7), "open", "anew"));
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!given.contains(anew.tag.as_ref().expect("a tag")));
    // The watcher's dialog goes on, with numbers that it has not seen.
    let until = Instant::now() + PATIENCE;
    loop {
        let (number, body) = told(&watcher.notify(Some(&watch.call_id)));
        if body.contains("anew") {
            assert!(number > 21, "{number}");
            break;
        }
        assert!(Instant::now() < until, "{body}");
    }

    // Nodes of before are refused, and new ones join.
    let seed = format!("127.0.0.1:{}", pool.ports[0][2]);
    let joiner = pool.folder.path().join("joiner");
    let mut more = more.clone();
    more.extend(["--join", &seed]);
    let second = Server::start_node(&joiner, super::pool::free_ports(), &secret, &more);
    assert_eq!(second.get("/ready").0, 200);
    assert!(restored.terminate());
    drop(second);
}

#[test]
fn publications_of_another_server_are_published() {
    const TOKEN: &str = "0123456789abcdefghij";
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let tokens = write("tokens", &format!("import:{TOKEN}\n"));
    let settings = write("node.toml", &format!("[publish]\ntokens = {tokens:?}\n"));
    let server = Server::start_with(&folder.path().join("data"), &["--config", &settings]);
    let body = |user: &str| document(user, "open", "from the old one").replace('"', "\"\"");
    let far = 4_000_000_000_u64;
    let mut rows = String::from("username,domain,event,etag,expires,body\n");
    for user in ["ann", "ben"] {
        rows += &format!(
            "{user},example.com,presence,tag-{user},{far},\"{}\"\n",
            body(user)
        );
    }
    rows += &format!(
        "ann,elsewhere.example,presence,tag-x,{far},\"{}\"\n",
        body("ann")
    );
    rows += &format!("cid,example.com,presence,tag-y,1,\"{}\"\n", body("cid"));
    let file = write("presentity.csv", &rows);
    let admin = server.admin.to_string();
    let run = |more: &[&str]| {
        let fixed = [
            "import",
            "--format",
            "kamailio-presentity",
            "--admin",
            &admin,
        ];
        lamplight(&[&fixed[..], more, &[&file]].concat())
    };
    let (well, said) = run(&[]);
    assert!(!well && said.contains("401"), "a token is needed: {said}");
    let (well, said) = run(&["--token-file", &tokens, "--dry-run"]);
    assert!(
        well && said.starts_with("3 of 4 rows would be published"),
        "{said}"
    );
    assert_eq!(server.get("/presentity/sip:ann@example.com").0, 404);
    // Twice is as good as once.
    for _ in 0..2 {
        let (well, said) = run(&["--token-file", &tokens]);
        assert!(
            well && said.starts_with("2 of 4 rows published\n"),
            "{said}"
        );
        assert!(
            said.contains("1 not: it has expired") && said.contains("404"),
            "{said}"
        );
    }
    let (status, report) = server.get("/presentity/sip:ben@example.com");
    assert_eq!(status, 200);
    assert!(report.contains("from the old one"), "{report}");
    assert_eq!(report.matches("\"etag\"").count(), 1, "{report}");
}
