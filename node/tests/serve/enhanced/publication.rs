//! Publication (MS-PRES 2.2.2.2, 3.2): what is told, to whom, and how versions go on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shard::time::Timestamp;
use transport::sip::{Name, StatusCode};

use super::super::phone::{Phone, fresh};
use super::client::{Client, diagnostic, note, publication, shared, single, somebody, text};
use super::tree;
use super::vectors::instances;

const STATIC: &str = "expireType=\"static\"";
const REMOVE: &str = "expireType=\"static\" expires=\"0\"";
const ROAMING_SELF: &str = "application/vnd-microsoft-roaming-self+xml";

/// The time as a publishTime has it.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("late");
    let ms = u64::try_from(since.as_millis()).expect("soon enough");
    Timestamp(ms).to_string()[..23].to_owned()
}

/// The attributes of the instance in this container, from a document.
fn attribute(document: &str, category: &str, container: u16, name: &str) -> Option<String> {
    let parsed = roxmltree::Document::parse(document).expect("XML");
    let found = parsed.descendants().find(|node| {
        node.attribute("name") == Some(category)
            && node.attribute("container") == Some(&container.to_string())
    });
    found.and_then(|node| node.attribute(name).map(str::to_owned))
}

//= MS-PRES 3.2.5.1.2
//= type=test
//# version 0 creates; the answer holds the instance with version 1
//= MS-PRES 3.2.5.2
//= type=test
//# the publishing endpoint is told as well, with the same instances and all their attributes
// proves: PRES-2.2.2.1-02 PRES-2.2.2.1-03 PRES-2.2.2.1-06 PRES-2.2.2.1-13 PRES-2.2.2.2.2-01
// proves: PRES-3.2.5.1.2-11 PRES-3.2.5.1.2-12 PRES-3.2.5.1.2-21 PRES-3.2.5.1.2-22 PRES-3.2.5.1.2-23
// proves: PRES-3.2.5.1.2-24 PRES-3.2.5.1.2-25 PRES-3.2.5.1.2-26 PRES-3.2.5.2-01 PRES-3.2.5.2-03
// proves: PRES-3.2.5.2-05 PRES-3.2.5.2-07 PRES-1.3.1.1-06
#[test]
fn a_publication_is_created_and_told_to_oneself() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let (own, first) = bob.watch_self(&["categories"]);
    assert_eq!(first.status(), StatusCode::OK);
    let before = now();
    let mut last = String::new();
    for version in 0..3 {
        let words = note(&format!("until {version}"));
        let answer = bob.publish(&publication("note", 0, 400, version, STATIC, &words));
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.header(Name::ContentType), Some(ROAMING_SELF));
        let told = bob.told(&own);
        assert_eq!(told.method().as_str(), "BENOTIFY");
        assert_eq!(told.header(Name::ContentType), Some(ROAMING_SELF));
        let (answer, told) = (text(answer.body()), text(told.body()));
        assert_eq!(instances(&answer, &[]), instances(&told, &[]));
        assert_eq!(
            tree::attributes(&answer, "categories", "uri"),
            [bob.uri.clone()]
        );
        let of = |name| attribute(&answer, "note", 400, name).expect(name);
        assert_eq!(of("instance"), "0");
        assert_eq!(of("version"), (version + 1).to_string());
        assert_eq!(of("expireType"), "static");
        assert_eq!(attribute(&answer, "note", 400, "expires"), None);
        assert_eq!(attribute(&answer, "note", 400, "endpointId"), None);
        let published = of("publishTime");
        assert!(before <= published && published <= now(), "{published}");
        assert!(last < published || version == 0, "{last} {published}");
        last = published;
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(
            tree::elements(&answer, "note", &[]),
            [tree::canonical(&words, &[])]
        );
    }
}

//= MS-PRES 3.2.5.1.2
//= type=test
//# a version that is not the current one: 409, 2044, and nothing of the batch holds
#[test]
fn a_wrong_version_refuses_the_whole_batch() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let fresh = publication("note", 0, 300, 0, STATIC, &note("a"));
    let late = publication("note", 0, 400, 7, STATIC, &note("b"));
    let answer = bob.publish(&format!("{fresh}{late}"));
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(diagnostic(&answer), Some(2044));
    let (_, own) = bob.watch_self(&["categories"]);
    assert!(tree::elements(&text(own.body()), "note", &[]).is_empty());
}

//= MS-PRES 3.2.5.2
//= type=test
//# every endpoint with categories in its scope is told, no other, and none that is not registered
// proves: PRES-3.2.5.2-01 PRES-3.2.5.2-02 PRES-3.2.5.2-03 PRES-3.2.5.2-04
#[test]
fn every_endpoint_with_categories_in_scope_is_told() {
    let name = somebody("bob");
    let mut desk = Client::sign_in(shared(), &name);
    let mut laptop = Client::sign_in(shared(), &name);
    let mut tablet = Client::sign_in(shared(), &name);
    let mut gone = Client::sign_in(shared(), &name);
    let (at_desk, _) = desk.watch_self(&["categories", "containers"]);
    let (at_laptop, _) = laptop.watch_self(&["categories"]);
    let (at_tablet, _) = tablet.watch_self(&["containers", "subscribers"]);
    let (at_gone, _) = gone.watch_self(&["categories"]);
    assert_eq!(gone.renew(0, "").status(), StatusCode::OK);
    gone.rest(&at_gone);

    let answer = desk.publish(&publication("note", 0, 300, 0, STATIC, &note("a")));
    let answer = instances(&text(answer.body()), &[]);
    for (client, dialog) in [(&mut desk, &at_desk), (&mut laptop, &at_laptop)] {
        let told = client.rest(dialog);
        assert_eq!(told.len(), 1);
        assert_eq!(instances(&text(told[0].body()), &[]), answer);
    }
    assert!(tablet.rest(&at_tablet).is_empty());
    assert!(gone.rest(&at_gone).is_empty());
}

//= MS-PRES 3.2.5.1.2
//= type=test
//# told is the complete set of instances of what was modified, in the answer and to oneself
// proves: PRES-3.2.5.1.2-08 PRES-3.2.5.1.2-13 PRES-3.2.5.1.2-14 PRES-3.2.5.1.2-15 PRES-3.2.5.1.2-27
// proves: PRES-3.2.5.2-06 PRES-1.3.1.1-01 PRES-3.2.5.1-01 PRES-2.2.2.2.1-07
#[test]
fn the_whole_category_is_told_when_one_instance_changes() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let (own, _) = bob.watch_self(&["categories"]);
    let held = |document: &str| -> Vec<(u16, u32, String)> {
        let all = instances(document, &[]);
        let of_777 = all
            .into_iter()
            .filter(|((_, container, _), _)| *container == 777);
        of_777
            .map(|((_, container, instance), shown)| {
                let version = shown.split("version=\"").nth(1).expect("a version");
                let version = version.split('"').next().expect("a version");
                (container, instance, version.to_owned())
            })
            .collect()
    };
    let of = |instance, version, expire| publication("note", instance, 777, version, expire, "");
    let is = |instance, version: &str| (777, instance, version.to_owned());
    for (name, batch, expected) in [
        (
            "two are created in a new container",
            of(1, 0, STATIC) + &of(2, 0, STATIC),
            vec![is(1, "1"), is(2, "1")],
        ),
        (
            "one is updated",
            of(1, 1, STATIC),
            vec![is(1, "2"), is(2, "1")],
        ),
        (
            "one is added, one is updated, one is removed",
            of(3, 0, STATIC) + &of(1, 2, STATIC) + &of(2, 1, REMOVE),
            vec![is(1, "3"), is(3, "1")],
        ),
        (
            "what is not there is removed",
            of(9, 0, REMOVE),
            vec![is(1, "3"), is(3, "1")],
        ),
        (
            "the removed one is created again",
            of(2, 0, STATIC),
            vec![is(1, "3"), is(2, "1"), is(3, "1")],
        ),
        (
            "all are removed",
            of(1, 3, REMOVE) + &of(2, 1, REMOVE) + &of(3, 1, REMOVE),
            vec![],
        ),
    ] {
        let answer = bob.publish(&batch);
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
        assert_eq!(held(&text(answer.body())), expected, "{name}");
        let told = bob.rest(&own);
        if name == "what is not there is removed" {
            assert!(told.is_empty(), "{name}");
        } else {
            assert_eq!(told.len(), 1, "{name}");
            assert_eq!(held(&text(told[0].body())), expected, "{name}");
        }
    }
}

//= MS-PRES 3.2.5.1.2
//= type=test
//# what the computing functions did not change is not in the answer
#[test]
fn what_is_not_affected_is_not_told() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let state = |availability: u32| {
        format!(
            "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" manual=\"true\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"userState\">\
             <availability>{availability}</availability></state>"
        )
    };
    let categories = |document: &str| {
        let mut names: Vec<String> = instances(document, &[])
            .into_keys()
            .map(|(name, _, _)| name)
            .collect();
        names.dedup();
        names
    };
    // Nobody's own: an instance of another container than those that are computed with.
    let answer = bob.publish(&publication("state", 7, 300, 0, STATIC, &state(3_500)));
    assert_eq!(categories(&text(answer.body())), ["state"]);
    let answer = bob.publish(&publication("note", 7, 300, 0, STATIC, &note("x")));
    assert_eq!(categories(&text(answer.body())), ["note"]);
    // Of a category that is told, everything is told: clients forget what they do not find (contradiction
    // C-67). So the empty note that blocks somebody is in the answer, modified or not.
    let places = instances(&text(answer.body()), &[]);
    let places: Vec<u16> = places.keys().map(|(_, container, _)| *container).collect();
    assert_eq!(places, [300, 32_000]);
}

//= MS-PRES 1.3.1.2
//= type=test
//# a private category may stand anywhere; its publisher sees it, others do not
//= MS-PRES 2.2.2.1
//= type=test
//# a watcher's document says nothing of containers and lifetimes
// proves: PRES-1.3.1.2-01 PRES-1.3.1.2-02 PRES-2.2.2.1-02 PRES-2.2.2.1-07 PRES-2.2.2.1-14 PRES-3.2.5.8-01
#[test]
fn a_private_category_is_for_its_publisher() {
    let (name, friend) = (somebody("bob"), somebody("alice"));
    let mut bob = Client::sign_in(single(), &name);
    let mut alice = Client::sign_in(single(), &friend);
    let member = format!(
        "<container id=\"400\" version=\"0\"><member action=\"add\" type=\"user\" value=\"{}\"/></container>",
        alice.uri
    );
    assert_eq!(bob.set_members(&member).status(), StatusCode::OK);
    let linked = "<LinkedPicContactList><LinkedPicContactEntry primary-Identity=\"bob@mail.example\">\
        <secondary-identities><secondary-identity>bob@chat.example</secondary-identity></secondary-identities>\
        </LinkedPicContactEntry></LinkedPicContactList>";
    let private = ["legacyInterop", "linkedPICContacts", "otherOptions"];
    let (_, mine) = bob.watch_self(&["categories"]);
    let mine = text(mine.body());
    assert!(mine.contains("legacyInterop"), "{mine}");
    let batch = publication("note", 0, 400, 0, "expireType=\"user\"", &note("seen"))
        + &publication("linkedPICContacts", 0, 400, 0, STATIC, linked)
        + &publication("otherOptions", 0, 400, 0, STATIC, "<o xmlns=\"urn:o\"/>");
    assert_eq!(bob.publish(&batch).status(), StatusCode::OK);
    let (_, mine) = bob.watch_self(&["categories"]);
    let mine = text(mine.body());
    for category in private {
        assert!(mine.contains(&format!("name=\"{category}\"")), "{mine}");
    }
    let mut categories = private.to_vec();
    categories.push("note");
    let (dialog, seen) = alice.watch(&[&bob.uri], &categories);
    assert_eq!(seen.status(), StatusCode::OK);
    let seen = text(seen.body());
    assert!(seen.contains("seen"), "{seen}");
    for hidden in [
        "<o ",
        "linkedPicContactList",
        "availability",
        " container=",
        " expireType=",
    ] {
        assert!(!seen.contains(hidden), "{hidden}: {seen}");
    }
    let answer = bob.publish(&publication(
        "note",
        0,
        400,
        1,
        "expireType=\"time\" expires=\"600\"",
        &note("b"),
    ));
    assert_eq!(answer.status(), StatusCode::OK);
    let told = text(alice.told(&dialog).body());
    assert_eq!(
        tree::attributes(&told, "categories", "uri"),
        [bob.uri.clone()]
    );
    for attribute in [
        "container",
        "version",
        "expireType",
        "endpointId",
        "expires",
    ] {
        assert!(
            tree::attributes(&told, "category", attribute).is_empty(),
            "{told}"
        );
    }
    assert_eq!(tree::attributes(&told, "category", "name"), ["note"]);
}

//= MS-PRES 3.2.6.2
//= type=test
//# contactCard, legacyInterop of the blocked and userProperties are published by the server, once
// proves: PRES-3.2.6.2-01 PRES-3.2.6.2-02 PRES-3.2.6.2-03 PRES-3.2.6.2-05 PRES-3.2.6.2-07 PRES-3.2.6.2-08
#[test]
fn the_server_publishes_what_a_user_needs() {
    let name = somebody("bob");
    let mut bob = Client::sign_in(shared(), &name);
    let published = |bob: &mut Client| {
        let (_, own) = bob.watch_self(&["categories"]);
        let mut all = instances(&text(own.body()), &[]);
        all.retain(|(category, container, instance), _| {
            let fixed = category == "legacyInterop" && *container == 32_000;
            let card = category == "contactCard" || category == "userProperties";
            *instance == 0 && (fixed || card)
        });
        all
    };
    let first = published(&mut bob);
    let places: Vec<(&str, u16)> = first
        .keys()
        .map(|(category, container, _)| (category.as_str(), *container))
        .collect();
    let cards = [0, 100, 200, 300, 400, 32_000].map(|container| ("contactCard", container));
    let mut expected = cards.to_vec();
    expected.extend([("legacyInterop", 32_000), ("userProperties", 1)]);
    assert_eq!(places, expected);
    for ((category, _, _), shown) in &first {
        assert!(shown.contains("expireType=\"static\""), "{shown}");
        assert!(shown.contains("version=\"1\""), "{shown}");
        let content = match category.as_str() {
            "legacyInterop" => "availability=\"18500\"",
            "contactCard" => "displayName",
            _ => "userProperties",
        };
        assert!(shown.contains(content), "{shown}");
    }
    // Another sign-in, a state of one's own, a watcher of container 1: nothing of it changes.
    let _laptop = Client::sign_in(shared(), &name);
    let busy = "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" manual=\"false\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"machineState\">\
        <availability>3500</availability></state>";
    let states = [2, 3]
        .map(|container| publication("state", 9, container, 0, "expireType=\"endpoint\"", busy));
    assert_eq!(bob.publish(&states.concat()).status(), StatusCode::OK);
    let member = "<container id=\"1\" version=\"0\"><member action=\"add\" type=\"sameEnterprise\"/></container>";
    assert_eq!(bob.set_members(member).status(), StatusCode::OK);
    assert_eq!(published(&mut bob), first);
}

//= MS-PRES 3.2.5.7
//= type=test
//# what the voice mail system tells of becomes mwi, and is told to oneself when it changes
// proves: PRES-3.2.5.7-01
#[test]
fn waiting_voice_mail_is_published() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let (own, _) = bob.watch_self(&["categories"]);
    let mut mail = Phone::tcp(shared().tcp);
    let mut notify = |lines: &str, media: &str, body: &str| {
        let to = format!("<{}>", bob.uri);
        let call_id = format!("mail-{}", fresh());
        let head = mail.head("NOTIFY", &bob.uri, "sip:mail@contoso.com", &to, &call_id, 1);
        let lines = format!("{lines}Subscription-State: active\r\nContent-Type: {media}\r\n");
        mail.ask(head, &lines, body).status().number()
    };
    let (event, media) = (
        "Event: message-summary\r\n",
        "application/simple-message-summary",
    );
    let three = "Messages-Waiting: yes\r\nVoice-Message: 3/1 (0/0)\r\n";
    let none = "Messages-Waiting: no\r\nVoice-Message: 0/4 (0/0)\r\n";
    assert_eq!(notify(event, media, "Messages: many\r\n"), 400);
    assert_eq!(notify(event, "text/plain", three), 415);
    assert_eq!(notify("Event: presence\r\n", media, three), 481);
    for body in [three, three, none] {
        assert_eq!(notify(event, media, body), 200);
    }
    let told = bob.rest(&own);
    let told: Vec<(Vec<String>, Vec<String>)> = told
        .iter()
        .map(|told| {
            let document = text(told.body());
            let of = |name| tree::attributes(&document, "category", name);
            assert_eq!(of("name"), ["mwi"]);
            assert_eq!(of("container"), ["1"]);
            let waiting = tree::attributes(&document, "mwi", "messageWaiting");
            (of("version"), waiting)
        })
        .collect();
    let is = |version: &str, waiting: &str| (vec![version.to_owned()], vec![waiting.to_owned()]);
    assert_eq!(
        told,
        [is("1", "true"), is("2", "false")],
        "the same again is no news"
    );
}

//= MS-PRES 3.2.5.1.1
//= type=test
//# a client that says msrtc-event-categories when it registers is one of enhanced presence
// proves: PRES-3.2.5.1.1-01
#[test]
fn a_registration_says_whether_it_is_enhanced() {
    let (name, other) = (somebody("bob"), somebody("carol"));
    let mut bob = Client::new(single(), &name);
    let enhanced = bob.renew(600, "");
    let mut plain = Phone::tcp(single().tcp);
    let uri = format!("sip:{other}@contoso.com");
    let head = plain.head(
        "REGISTER",
        "sip:contoso.com",
        &uri,
        &format!("<{uri}>"),
        "plain",
        1,
    );
    let simple = plain.ask(head, "Expires: 600\r\n", "");
    for (answer, is) in [(&enhanced, true), (&simple, false)] {
        assert_eq!(answer.status(), StatusCode::OK);
        let supported: Vec<&str> = answer.headers(Name::Supported).collect();
        assert_eq!(supported.contains(&"msrtc-event-categories"), is);
        let state = answer.other_headers("presence-state").next();
        assert_eq!(state.is_some(), is);
    }
    // What the server publishes for a user of enhanced presence, it does not for the other.
    let mut alice = Client::sign_in(single(), &somebody("alice"));
    for (address, is) in [(&bob.uri, true), (&uri, false)] {
        let (_, seen) = alice.watch(&[address], &["contactCard"]);
        assert_eq!(text(seen.body()).contains("displayName"), is, "{address}");
    }
}

//= MS-PRES 3.2.1
//= type=test
//# members are kept by container, type and value; each category subscription by the container it sees
// proves: PRES-3.2.1-02 PRES-3.2.1-03
#[test]
fn a_watcher_is_moved_and_blocked_category_by_category() {
    let (name, friend) = (somebody("bob"), somebody("alice"));
    let mut bob = Client::sign_in(single(), &name);
    let mut alice = Client::sign_in(single(), &friend);
    let batch = [(200, "far"), (300, "near")]
        .map(|(container, words)| publication("note", 0, container, 0, STATIC, &note(words)));
    assert_eq!(bob.publish(&batch.concat()).status(), StatusCode::OK);
    let place = |id: u32, version: u32, action: &str| {
        format!(
            "<container id=\"{id}\" version=\"{version}\"><member action=\"{action}\" type=\"user\" value=\"{}\"/></container>",
            alice.uri
        )
    };
    let (first, blocked, back) = (
        place(200, 0, "add") + &place(300, 0, "add"),
        place(32_000, 0, "add"),
        place(32_000, 1, "remove") + &place(300, 1, "remove"),
    );
    assert_eq!(bob.set_members(&first).status(), StatusCode::OK);
    let (_, own) = bob.watch_self(&["containers"]);
    let members = tree::attributes(&text(own.body()), "member", "value");
    assert_eq!(members.len(), 2, "one in each container: {members:?}");
    let (dialog, seen) = alice.watch(&[&bob.uri], &["note", "otherOptions"]);
    assert!(text(seen.body()).contains("near"));
    assert_eq!(bob.set_members(&blocked).status(), StatusCode::OK);
    let told = text(alice.told(&dialog).body());
    assert!(tree::elements(&told, "note", &[]).is_empty(), "{told}");
    assert_eq!(tree::attributes(&told, "category", "name"), ["note"]);
    assert_eq!(bob.set_members(&back).status(), StatusCode::OK);
    let told = text(alice.told(&dialog).body());
    assert!(told.contains("far") && !told.contains("near"), "{told}");
}
