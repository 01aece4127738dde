//! What crosses shards, on the wire: a batch over several shards (`[pool] hints`), and the ends of endpoints.

use std::path::Path;
use std::time::{Duration, Instant};

use shard::slot::Slot;
use transport::sip::StatusCode;

use super::super::pool::Pool;
use super::super::server::{PATIENCE, Server};
use super::batch::{BATCH, granted, rejected, served, whose};
use super::client::{
    BATCH_LINES, Client, Dialog, batch, categories, note, publication, somebody, text,
};

const NO_HINTS: &str = "[pool]\nhints = \"none\"\n";
const HINTS: &str = "[limits.registration]\nmin = 1\ndefault = 600\nmax = 600\n";

/// One node with four shards, and these settings.
fn four_shards(data: &Path, settings: &str) -> Server {
    let file = data.join("node.toml");
    std::fs::write(&file, settings).expect("written");
    let file = file.to_str().expect("a path");
    let arguments = ["--domain", "contoso.com", "--shards", "4", "--config", file];
    Server::start_with(&data.join("data"), &arguments)
}

/// A name of which a new pool keeps the user in this shard.
fn living_in(shard: u16, shards: u16, name: &str) -> String {
    loop {
        let name = somebody(name);
        if Slot::of(&format!("{name}@contoso.com")).number() % shards == shard {
            return name;
        }
    }
}

/// Publishes a note in a container; the version before this one is `version`.
fn say(client: &mut Client, container: u32, version: u32, words: &str) {
    let all = "expireType=\"static\"";
    granted(client.publish(&publication(
        "note",
        0,
        container,
        version,
        all,
        &note(words),
    )));
}

fn block(client: &mut Client, whom: &Client) {
    granted(client.set_members(&format!(
        "<container id=\"32000\" version=\"0\"><member action=\"add\" type=\"user\" value=\"{}\"/></container>",
        whom.uri
    )));
}

/// The next that a dialog is told: of whom, and the document.
fn told(client: &mut Client, dialog: &Dialog) -> (String, String) {
    let document = categories(client.told(dialog).body());
    let whose = super::tree::attributes(&document, "categories", "uri").remove(0);
    (whose, document)
}

/// Waits until so many dialogs of `watcher` watch somebody.
fn wait_for_watchers(server: &Server, uri: &str, watcher: &str, expected: usize) {
    let watcher = watcher.trim_start_matches("sip:");
    let until = Instant::now() + PATIENCE;
    loop {
        let (status, text) = server.get(&format!("/presentity/{uri}"));
        if status == 200 {
            let seen: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let watchers = seen["watchers"].as_array().expect("watchers");
            let his = watchers.iter().filter(|watching| {
                let who = watching["watcher"].as_str();
                who.is_some_and(|who| who.contains(watcher))
            });
            if his.count() == expected {
                return;
            }
        }
        assert!(Instant::now() < until, "not {expected}: {status} {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

//= MS-PRES 3.4.5.1.3
//= type=test
//# a batch is served as a whole: whoever lives elsewhere is shown a little later, and told of like the others
//= MS-PRES 1.3.1.3.4
//= type=test
//# who may see something is decided where it is published
#[test]
fn without_hints_a_pool_looks_like_one_server() {
    let data = tempfile::tempdir().expect("a folder");
    let server = four_shards(data.path(), NO_HINTS);
    let mut bob = Client::sign_in(&server, &living_in(0, 4, "bob"));
    let mut friends: Vec<Client> = (0..4)
        .map(|shard| Client::sign_in(&server, &living_in(shard, 4, "friend")))
        .collect();
    for (number, friend) in friends.iter_mut().enumerate() {
        say(friend, 0, 0, &format!("first-{number}"));
    }
    let uris: Vec<String> = friends.iter().map(|friend| friend.uri.clone()).collect();
    let names: Vec<&str> = uris.iter().map(String::as_str).collect();
    let (mut dialog, answer) = bob.watch(&names, &["note", "state"]);
    let answer = granted(answer);
    assert!(!rejected(&answer).contains("<resource"), "{answer:?}");
    assert_eq!(whose(&answer), uris[..1]);
    let mut seen = vec![(uris[0].clone(), served(&answer).remove(0).1)];
    seen.extend((1..4).map(|_| told(&mut bob, &dialog)));
    seen.sort();
    for (number, uri) in uris.iter().enumerate() {
        let document = seen.iter().find(|(whose, _)| whose == uri).expect("all");
        let words = format!("first-{number}");
        assert!(
            document.1.contains(&words) && document.1.contains("\"state\""),
            "{document:?}"
        );
    }

    // Each change is told once, of the category that changed.
    for (number, friend) in friends.iter_mut().enumerate() {
        say(friend, 0, 1, &format!("second-{number}"));
        let (whose, document) = told(&mut bob, &dialog);
        assert_eq!(whose, friend.uri);
        assert!(document.contains(&format!("second-{number}")), "{document}");
        assert!(!document.contains("\"state\""), "{document}");
    }
    assert!(bob.rest(&dialog).is_empty());

    // Blocked is as absent, and nothing of what the blocked may not see comes later.
    block(&mut friends[2], &bob);
    let (whose_is, document) = told(&mut bob, &dialog);
    assert_eq!(whose_is, uris[2]);
    assert!(document.contains("<category name=\"note\"/>"), "{document}");
    assert!(!document.contains("second-2"), "{document}");
    say(&mut friends[2], 0, 2, "secret");
    assert!(bob.rest(&dialog).is_empty());

    // A refresh shows all that is known; a poll asks every shard.
    let all = batch(&bob.uri, "subscribe", &names, &["note", "state"]);
    let answer = granted(bob.change_batch(&mut dialog, &all));
    let mut shown = whose(&answer);
    let (mut sorted, body) = (uris.clone(), text(answer.body()));
    sorted.sort();
    shown.sort();
    assert_eq!(shown, sorted);
    assert!(
        body.contains("second-3") && !body.contains("secret"),
        "{body}"
    );
    let mut poll = Dialog::new("presence", &bob.uri);
    let answer = granted(bob.subscribe(&mut poll, Some(0), BATCH_LINES, BATCH, &all));
    let (mut shown, body) = (whose(&answer), text(answer.body()));
    shown.sort();
    assert_eq!(shown, sorted);
    assert!(
        body.contains("second-3") && !body.contains("secret"),
        "{body}"
    );
    assert!(!rejected(&answer).contains("<resource"));
    assert!(
        bob.rest(&dialog).is_empty(),
        "it was known, and is as it was"
    );

    // Who is not watched any more is not told of, and its shard keeps nothing of it.
    let less = batch(&bob.uri, "unsubscribe", &[names[1]], &["note", "state"]);
    granted(bob.change_batch(&mut dialog, &less));
    wait_for_watchers(&server, &uris[1], &bob.uri, 0);
    wait_for_watchers(&server, &uris[3], &bob.uri, 1);
    say(&mut friends[1], 0, 2, "unheard");
    say(&mut friends[3], 0, 2, "heard");
    assert_eq!(told(&mut bob, &dialog).0, uris[3]);
    assert_eq!(bob.renew(0, "").status(), StatusCode::OK);
    wait_for_watchers(&server, &uris[3], &bob.uri, 0);
    say(&mut friends[3], 0, 3, "unheard");
    assert!(bob.rest(&dialog).is_empty());
}

//= MS-SIPREGE 3.2.2.5
//= type=test
//# what ends an endpoint ends its dialogs in every shard, and those of no other one
#[test]
fn an_endpoint_that_ends_is_told_nothing_from_any_shard() {
    let data = tempfile::tempdir().expect("a folder");
    let server = four_shards(data.path(), HINTS);
    let name = living_in(0, 4, "bob");
    let mut laptop = Client::sign_in(&server, &name);
    for (round, expires) in [(0, 0), (1, 1)] {
        let mut alice = Client::sign_in(&server, &living_in(1, 4, "alice"));
        say(&mut alice, 0, 0, "first");
        let mut desk = Client::sign_in(&server, &name);
        let mut watching = Vec::new();
        for client in [&mut desk, &mut laptop] {
            let (dialog, answer) = client.watch_one(&alice.uri, &["note"], "", "");
            granted(answer);
            watching.push(dialog);
        }
        assert_eq!(desk.renew(expires, "").status(), StatusCode::OK);
        wait_for_watchers(&server, &alice.uri, &name, 1);
        say(&mut alice, 0, 1, "second");
        assert!(told(&mut laptop, &watching[1]).1.contains("second"));
        assert!(desk.rest(&watching[0]).is_empty(), "round {round}");
        // It comes back under the same name, and what it opens then is its own.
        let (mut again, answer) = Client::register_as(&server, &name, &desk.epid, "");
        assert_eq!(answer.status(), StatusCode::OK);
        let (dialog, answer) = again.watch_one(&alice.uri, &["note"], "", "");
        granted(answer);
        say(&mut alice, 0, 2, "third");
        assert!(told(&mut again, &dialog).1.contains("third"));
    }
}

/// A pool of three in which Bob's shard, Alice's shard and the node that both speak to are on three nodes.
struct Spread {
    pool: Pool,
    bobs: usize,
    alices: usize,
    bob: Client,
    alice: Client,
}

impl Spread {
    fn start(settings: &str) -> Spread {
        let pool = Pool::start_with(3, 3, settings);
        let leader = |shard| pool.leader(shard);
        let here = leader(2);
        let bob = Client::sign_in(pool.node(here), &living_in(0, 3, "bob"));
        let alice = Client::sign_in(pool.node(here), &living_in(1, 3, "alice"));
        Spread {
            bobs: leader(0),
            alices: leader(1),
            pool,
            bob,
            alice,
        }
    }

    /// What is told, until it says this.
    fn hears(&mut self, dialog: &Dialog, words: &str) {
        let until = Instant::now() + PATIENCE;
        while !told(&mut self.bob, dialog).1.contains(words) {
            assert!(Instant::now() < until, "{words} was not told");
        }
    }
}

/// A relay survives both sides: the sink's leader dies, and before there is another one the source's, with
/// something that it could bring to nobody; later the sink's leader dies once more.
#[test]
fn a_relay_survives_the_leaders_of_both_shards() {
    let mut spread = Spread::start(NO_HINTS);
    say(&mut spread.alice, 0, 0, "first");
    let alice = spread.alice.uri.clone();
    let (dialog, answer) = spread.bob.watch(&[&alice], &["note"]);
    assert!(!rejected(&granted(answer)).contains("<resource"));
    spread.hears(&dialog, "first");

    let (sink, source) = (spread.bobs, spread.alices);
    spread.pool.kill(sink);
    say(&mut spread.alice, 0, 1, "second");
    spread.pool.kill(source);
    spread.pool.run(sink);
    spread.hears(&dialog, "second");

    spread.pool.run(source);
    spread.pool.wait_until_spread(3);
    let leaders = spread.pool.leaders(source);
    let sink = leaders[0].expect("a leader") as usize - 1;
    if sink == spread.bobs {
        spread.pool.kill(sink);
    }
    say(&mut spread.alice, 0, 2, "third");
    spread.hears(&dialog, "third");
}

/// The end of an endpoint survives the death of the leader that knew of it, while the shard that it is to be
/// told to has no leader.
#[test]
fn the_end_of_an_endpoint_survives_the_leader_that_knew_it() {
    let mut spread = Spread::start("");
    say(&mut spread.alice, 0, 0, "first");
    let alice = spread.alice.uri.clone();
    let (dialog, answer) = spread.bob.watch_one(&alice, &["note"], "", "");
    granted(answer);
    let bob = spread.bob.uri.clone();
    wait_for_watchers(spread.pool.node(spread.alices), &alice, &bob, 1);
    let (sink, source) = (spread.alices, spread.bobs);
    spread.pool.kill(sink);
    assert_eq!(spread.bob.renew(0, "").status(), StatusCode::OK);
    spread.pool.kill(source);
    spread.pool.run(sink);
    wait_for_watchers(spread.pool.node(sink), &alice, &bob, 0);
    // A new leader may have told him again what was told before it knew.
    spread.bob.rest(&dialog);
    say(&mut spread.alice, 0, 1, "second");
    assert!(spread.bob.rest(&dialog).is_empty());
}
