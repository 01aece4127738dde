//! How instances end (MS-PRES 3.2.5.5, 3.2.6.1): with their time, their endpoint, their user.

use std::time::{Duration, Instant};

use transport::sip::StatusCode;

use super::super::server::Server;
use super::client::{
    Client, Dialog, SELF_LINES, configured, note, publication, single, somebody, text, uuid,
};
use super::tree;

const BRIEF: &str = "[limits.registration]\nmin = 1\ndefault = 600\nmax = 600\n";

/// The notes in a document, by their words.
fn words(document: &str) -> Vec<String> {
    let parsed = roxmltree::Document::parse(document).expect("XML");
    let bodies = parsed
        .descendants()
        .filter(|node| node.tag_name().name() == "body");
    let mut found: Vec<String> = bodies
        .map(|node| node.text().unwrap_or_default().to_owned())
        .collect();
    found.sort();
    found
}

/// Two endpoints of Bob, and Alice, who watches his notes in container 300.
struct Scene {
    desk: Client,
    laptop: Client,
    at_laptop: Dialog,
    alice: Client,
    at_alice: Dialog,
}

impl Scene {
    fn on(server: &Server) -> Scene {
        let (name, friend) = (somebody("bob"), somebody("alice"));
        let mut desk = Client::sign_in(server, &name);
        let mut laptop = Client::sign_in(server, &name);
        let mut alice = Client::sign_in(server, &friend);
        let member = format!(
            "<container id=\"300\" version=\"0\"><member action=\"add\" type=\"user\" value=\"{}\"/></container>",
            alice.uri
        );
        assert_eq!(desk.set_members(&member).status(), StatusCode::OK);
        let of = |instance, lifetime: &str, words: &str| {
            let expire = format!("expireType=\"{lifetime}\"");
            publication("note", instance, 300, 0, &expire, &note(words))
        };
        let batch = of(1, "static", "static")
            + &of(2, "endpoint", "desk's")
            + &of(3, "user", "user's")
            + &of(4, "time\" expires=\"500", "timed");
        let answer = desk.publish(&batch);
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(
            laptop.publish(&of(5, "endpoint", "laptop's")).status(),
            StatusCode::OK
        );
        let (at_laptop, all) = laptop.watch_self(&["categories"]);
        let all = text(all.body());
        assert_eq!(
            words(&all),
            ["desk's", "laptop's", "static", "timed", "user's"]
        );
        check_lifetimes(&all, &desk, &laptop);
        let (at_alice, seen) = alice.watch(&[&desk.uri], &["note"]);
        assert!(text(seen.body()).contains("desk's"));
        Scene {
            desk,
            laptop,
            at_laptop,
            alice,
            at_alice,
        }
    }

    /// The next that is told to the laptop and to Alice.
    fn told(&mut self) -> [Vec<String>; 2] {
        let own = self.laptop.told(&self.at_laptop);
        let seen = self.alice.told(&self.at_alice);
        [words(&text(own.body())), words(&text(seen.body()))]
    }
}

/// What the attributes say of each lifetime.
fn check_lifetimes(document: &str, desk: &Client, laptop: &Client) {
    let parsed = roxmltree::Document::parse(document).expect("XML");
    let shown = |instance: &str, attribute: &str| {
        let found = parsed.descendants().find(|node| {
            node.attribute("container") == Some("300")
                && node.attribute("instance") == Some(instance)
        });
        found
            .expect(instance)
            .attribute(attribute)
            .map(str::to_owned)
    };
    for (instance, lifetime, endpoint) in [
        ("1", "static", None),
        ("2", "endpoint", Some(desk)),
        ("3", "user", None),
        ("4", "time", None),
        ("5", "endpoint", Some(laptop)),
    ] {
        assert_eq!(shown(instance, "expireType").as_deref(), Some(lifetime));
        assert_eq!(
            shown(instance, "endpointId").map(|id| id.to_lowercase()),
            endpoint.map(|client| uuid(client.instance)),
            "{lifetime}"
        );
        let expires = shown(instance, "expires");
        assert_eq!(expires.is_some(), lifetime == "time", "{lifetime}");
        if let Some(seconds) = expires {
            let seconds: u32 = seconds.parse().expect("seconds");
            assert!((490..=500).contains(&seconds), "{seconds}");
        }
    }
}

//= MS-PRES 2.2.2.1
//= type=test
//# the four lifetimes, and which attribute goes with which
//= MS-PRES 3.2.5.5
//= type=test
//# an endpoint that signs out takes what is bound to it, and everybody who sees it is told
//= MS-PRES 3.2.5.5.1
//= type=test
//# the last endpoint takes what is bound to the user
// proves: PRES-1.3.1.1-02 PRES-2.2.2.1-08 PRES-2.2.2.1-09 PRES-2.2.2.1-10 PRES-2.2.2.1-11 PRES-2.2.2.1-13
// proves: PRES-2.2.2.1-15 PRES-2.2.2.1-16 PRES-2.2.2.1-17 PRES-3.2.5.5-01 PRES-3.2.5.5-02 PRES-3.2.5.5-03
// proves: PRES-3.2.5.5.1-01 PRES-3.2.5.5.1-02 PRES-3.2.1-05 PRES-3.2.5.1.2-04
#[test]
fn an_endpoint_that_signs_out_takes_what_is_its_own() {
    let mut scene = Scene::on(single());
    assert_eq!(scene.desk.renew(0, "").status(), StatusCode::OK);
    let left = ["laptop's", "static", "timed", "user's"];
    assert_eq!(scene.told(), [left, left]);
    assert_eq!(scene.laptop.renew(0, "").status(), StatusCode::OK);
    let seen = scene.alice.told(&scene.at_alice);
    assert_eq!(words(&text(seen.body())), ["static", "timed"]);
    assert!(
        scene.laptop.rest(&scene.at_laptop).is_empty(),
        "nobody is there"
    );
    let name = scene.desk.uri["sip:".len()..]
        .split('@')
        .next()
        .expect("a name");
    let mut again = Client::sign_in(single(), name);
    let (_, own) = again.watch_self(&["categories"]);
    assert_eq!(words(&text(own.body())), ["static", "timed"]);
}

//= MS-PRES 3.2.5.5
//= type=test
//# an endpoint whose last word comes over a connection that it resets is gone at once, not after the grace
//# that one gets whose connection broke
#[test]
fn who_signs_out_and_leaves_at_once_is_signed_out() {
    // Whether the reset overtakes the reading is a matter of microseconds: often enough it does.
    for round in 0..5 {
        let Scene {
            desk,
            mut alice,
            at_alice,
            mut laptop,
            at_laptop,
        } = Scene::on(single());
        let begun = Instant::now();
        desk.vanish();
        let left = ["laptop's", "static", "timed", "user's"];
        assert_eq!(words(&text(alice.told(&at_alice).body())), left);
        assert_eq!(words(&text(laptop.told(&at_laptop).body())), left);
        let lasted = begun.elapsed();
        assert!(lasted < Duration::from_secs(4), "round {round}: {lasted:?}");
    }
}

//= MS-PRES 3.2.5.5
//= type=test
//# an endpoint that ends its subscriptions and whose connection ends then has left; another one gets the grace of
//# one whose connection broke
#[test]
fn who_ends_its_subscriptions_and_is_gone_has_left() {
    for leaves in [true, false] {
        let mut scene = Scene::on(single());
        let (mut at_desk, _) = scene.desk.watch_self(&["categories"]);
        let ended = scene
            .desk
            .subscribe(&mut at_desk, Some(0), SELF_LINES, "", "");
        assert_eq!(ended.status(), StatusCode::OK);
        if !leaves {
            // It goes on to speak.
            let _ = scene.desk.watch_self(&["categories"]);
        }
        let Scene {
            desk,
            mut alice,
            at_alice,
            laptop: _laptop,
            ..
        } = scene;
        let begun = Instant::now();
        drop(desk);
        let left = ["laptop's", "static", "timed", "user's"];
        assert_eq!(words(&text(alice.told(&at_alice).body())), left);
        let lasted = begun.elapsed();
        assert_eq!(lasted < Duration::from_secs(4), leaves, "{lasted:?}");
    }
}

//= MS-PRES 3.2.5.5
//= type=test
//# a registration that is not renewed ends as one that is withdrawn, and the endpoint's dialogs with it
// proves: PRES-2.2.2.1-10 PRES-2.2.2.1-11 PRES-3.2.5.5-01 PRES-3.2.5.5-03 PRES-3.2.5.5.1-01 PRES-3.2.5.2-04
#[test]
fn an_endpoint_that_is_not_heard_of_any_more_takes_what_is_its_own() {
    let data = tempfile::tempdir().expect("a folder");
    let server = configured(data.path(), BRIEF);
    let mut scene = Scene::on(&server);
    let (mut at_desk, _) = scene.desk.watch_self(&["categories"]);
    assert_eq!(scene.desk.renew(2, "").status(), StatusCode::OK);
    let begun = Instant::now();
    let left = ["laptop's", "static", "timed", "user's"];
    assert_eq!(scene.told(), [left, left]);
    let lasted = begun.elapsed();
    assert!(
        (Duration::from_millis(1_500)..Duration::from_secs(5)).contains(&lasted),
        "{lasted:?}"
    );
    let refreshed = scene.desk.scope(&mut at_desk, &["categories"]);
    assert_ne!(refreshed.status(), StatusCode::OK, "its dialog is gone");
    assert_eq!(scene.laptop.renew(1, "").status(), StatusCode::OK);
    let seen = scene.alice.told(&scene.at_alice);
    assert_eq!(words(&text(seen.body())), ["static", "timed"]);
}

//= MS-PRES 3.2.6.1
//= type=test
//# a time-bound instance is deleted when its time is past, and everybody who sees it is told
//= MS-PRES 3.2.2
//= type=test
//# what is past its time is cleaned up without being asked for
//= MS-PRES 1.3.1.1
//= type=test
//# an update begins its lifetime anew
// proves: PRES-1.3.1.1-03 PRES-1.3.1.1-04 PRES-2.2.2.1-12 PRES-2.2.2.2.1-09 PRES-3.2.2-01 PRES-3.2.6.1-01
// proves: PRES-3.2.6.1-02
#[test]
fn a_time_bound_instance_ends_with_its_time() {
    let mut scene = Scene::on(single());
    let brief = "expireType=\"time\" expires=\"2\"";
    let of = |version| publication("note", 6, 300, version, brief, &note("brief"));
    assert_eq!(scene.desk.publish(&of(0)).status(), StatusCode::OK);
    for told in scene.told() {
        assert!(told.contains(&"brief".to_owned()));
    }
    std::thread::sleep(Duration::from_millis(1_200));
    let begun = Instant::now();
    let answer = scene.desk.publish(&of(1));
    assert_eq!(answer.status(), StatusCode::OK);
    let left: Vec<String> = tree::attributes(&text(answer.body()), "category", "expires");
    assert!(left.contains(&"2".to_owned()), "{left:?}");
    for told in scene.told() {
        assert!(told.contains(&"brief".to_owned()));
    }
    let all = ["desk's", "laptop's", "static", "timed", "user's"];
    assert_eq!(scene.told(), [all, all]);
    let lasted = begun.elapsed();
    assert!(
        (Duration::from_millis(1_900)..Duration::from_secs(5)).contains(&lasted),
        "{lasted:?}"
    );
}
