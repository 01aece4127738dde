//! The subscriptions of the specification's examples, sent as they are printed (MS-PRES 2.2.2.3, 2.2.2.4, 4.4 to
//! 4.8). Skipped where the examples are not at hand.
//!
//! What a publisher publishes is compared element by element; what the server computes (state, services) only by
//! its presence, as its rules have tests of their own.

use std::path::Path;

use shard::document::rlmi::{self, Rejection};
use shard::slot::Slot;
use transport::sip::{Name, Request, Response};

use super::super::server::Server;
use super::batch::{granted, parts, rejected, served};
use super::client::{Client, Dialog, batch, publication, text};
use super::{schema, tree};

/// What differs from one run to the next.
const MASKED: [&str; 3] = ["publishTime", "poolFqdn", "displayName"];

/// One message of the examples.
struct Vector {
    /// Lines with CRLF, without the empty one.
    head: String,
    body: String,
}

/// Reads an example; `None` where there are none.
fn vector(name: &str) -> Option<Vector> {
    let folder = schema::shared_folder()?.join("spec/vectors");
    let message = std::fs::read_to_string(folder.join(name)).expect("an example");
    let message = message.replace("\r\n", "\n");
    let (head, body) = message.split_once("\n\n").unwrap_or((&message, ""));
    Some(Vector {
        head: head.replace('\n', "\r\n"),
        body: body.trim_end().to_owned(),
    })
}

impl Vector {
    fn line(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The documents of a multipart body, or the body.
    fn documents(&self) -> Vec<String> {
        let media = self.line("Content-Type").unwrap_or_default();
        let Some((_, boundary)) = media.split_once("boundary=") else {
            return vec![self.body.clone()];
        };
        let between = format!("--{boundary}");
        let pieces = self.body.split(&between).skip(1);
        pieces
            .filter_map(|piece| Some(piece.split_once("\n\n")?.1.trim().to_owned()))
            .collect()
    }

    /// Sends it as printed, but for its length and the tag of its dialog.
    fn send(&self, client: &mut Client, to_tag: Option<&str>) -> Response {
        let lines = self
            .head
            .split("\r\n")
            .filter(|line| !line.starts_with("Content-Length:"));
        let lines = lines.map(|line| match (line.strip_prefix("To: "), to_tag) {
            (Some(to), Some(tag)) => {
                let bare = to.split(";tag=").next().expect("an address");
                format!("To: {bare};tag={tag}\r\n")
            }
            _ => format!("{line}\r\n"),
        });
        client.phone.ask(lines.collect(), "", &self.body)
    }

    /// The answer has the header lines that this one prints, but for those that cannot be the same.
    fn is_head_of(&self, answer: &Response) {
        for name in ["Event", "Require"] {
            let mut got = answer.lines().filter(|(other, _)| *other == name);
            assert_eq!(
                got.next().map(|(_, value)| value),
                self.line(name),
                "{name}"
            );
        }
        let mut offered = answer.lines().filter(|(name, _)| *name == "Supported");
        let offered = offered.next().map_or("", |(_, value)| value);
        let printed = self.line("Supported").unwrap_or_default().split(", ");
        assert!(
            printed.into_iter().all(|tag| offered.contains(tag)),
            "{offered}"
        );
        let without = |line: Option<&str>, from: &str| {
            line.map(|line| line.split(from).next().expect("a part").to_owned())
        };
        let media = without(answer.header(Name::ContentType), "boundary=");
        assert_eq!(media, without(self.line("Content-Type"), "boundary="));
        let cseq = answer.other_headers("ms-piggyback-cseq").next();
        assert_eq!(cseq, self.line("ms-piggyback-cseq"));
        let mut state = answer
            .lines()
            .filter(|(name, _)| *name == "subscription-state");
        let state = state.next().map(|(_, value)| value);
        if self.line("Expires") == Some("0") {
            assert_eq!(answer.header(Name::Expires), Some("0"));
            assert_eq!(state, self.line("subscription-state"));
        } else {
            let expires = answer.header(Name::Expires).expect("an interval");
            assert_eq!(state, Some(format!("active;expires={expires}").as_str()));
        }
    }

    /// A notification has the method and the header lines that this one prints.
    fn is_head_of_told(&self, told: &Request) {
        assert_eq!(Some(told.method().as_str()), self.head.split(' ').next());
        assert_eq!(told.header(Name::Event), self.line("Event"));
        assert_eq!(told.header(Name::ContentType), self.line("Content-Type"));
        assert_eq!(told.header(Name::Require), self.line("Require"));
    }
}

/// The elements that count, those of categories, lists and entries, in one order.
fn elements(document: &str) -> Vec<String> {
    // Who registers without a name is called by its user part (contradiction C-64).
    let document = &document.replace(">Alice<", ">alice<");
    let mut found: Vec<String> = ["list", "instance", "container", "subscriber", "delegates"]
        .iter()
        .flat_map(|name| tree::elements(document, name, &MASKED))
        .collect();
    for category in tree::elements(document, "category", &MASKED) {
        let computed = ["state", "services"]
            .iter()
            .find(|name| category.contains(&format!("name=\"{name}\"")));
        found.push(computed.map_or(category, |name| format!("computed {name}")));
    }
    found.sort();
    found
}

/// A batch's answer is the one that is printed.
fn is_batch(expected: &Vector, answer: &Response) {
    expected.is_head_of(answer);
    let documents = expected.documents();
    assert_eq!(elements(&rejected(answer)), elements(&documents[0]));
    assert_eq!(parts(answer).len(), documents.len());
    for ((whose, got), printed) in served(answer).into_iter().zip(&documents[1..]) {
        assert_eq!([whose], &tree::attributes(printed, "categories", "uri")[..]);
        assert_eq!(elements(&got), elements(printed));
    }
}

/// Makes `client` publish to its colleagues what `document` shows of it.
fn publish(client: &mut Client, document: &str) {
    let colleagues = "<container id=\"200\" version=\"0\"><member action=\"add\" type=\"sameEnterprise\"/></container>";
    granted(client.set_members(colleagues));
    let parsed = roxmltree::Document::parse(document).expect("XML");
    let shown = parsed
        .descendants()
        .filter(|node| node.is_element() && node.tag_name().name() == "category");
    for category in shown {
        let name = category.attribute("name").expect("a name");
        let data = category.children().find(|child| child.is_element());
        let (Some(data), false) = (data, ["state", "services"].contains(&name)) else {
            continue;
        };
        let instance = category.attribute("instance").expect("a number");
        let instance = instance.parse().expect("a number");
        let data = &document[data.range()];
        let publish =
            |version| publication(name, instance, 200, version, "expireType=\"static\"", data);
        // The server's own card is there already.
        if client.publish(&publish(0)).status().number() == 409 {
            granted(client.publish(&publish(1)));
        }
    }
}

fn start(data: &Path, shards: u16) -> Server {
    let shards = shards.to_string();
    let arguments = [
        "--domain",
        "contoso.com",
        "--domain",
        "fabrikam.com",
        "--shards",
        &shards,
    ];
    Server::start_with(data, &arguments)
}

fn sign_in(server: &Server, user: &str, epid: &str) -> Client {
    let (client, answer) = Client::register_as(server, user, epid, "");
    granted(answer);
    client
}

/// Lets `watcher` be known to somebody.
fn introduce(watcher: &mut Client, whom: &str) {
    let body = batch(&watcher.uri, "subscribe", &[whom], &["note"]);
    let body = body.replace(
        &format!("uri=\"{whom}\"/>"),
        &format!("uri=\"{whom}\"><context/></resource>"),
    );
    let mut dialog = Dialog::new("presence", &watcher.uri);
    granted(watcher.change_batch(&mut dialog, &body));
}

fn told_in(client: &mut Client, call_id: &str) -> Request {
    client.phone.notify(Some(call_id))
}

//= MS-PRES 2.2.2.3.1
//= type=test
//= MS-PRES 2.2.2.3.3
//= type=test
//# 2.2.2.3.1, a publication of 2.2.2.2.1, its notification in 2.2.2.3.3, and the end of 4.4.4
#[test]
fn a_self_subscription_as_it_is_printed() {
    let Some(request) = vector("2.2.2.3.1-self-subscribe.request.sip") else {
        return;
    };
    let read = |name: &str| vector(name).expect("an example");
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), 1);
    let mut bob = sign_in(&server, "bob", "84d3db8c23");
    let answer = granted(request.send(&mut bob, None));
    read("2.2.2.3.2-self-subscribe.200.sip").is_head_of(&answer);
    let tag = answer.to_tag().expect("a tag").to_owned();
    granted(read("2.2.2.2.1-publish-note.request.sip").send(&mut bob, None));
    let told = told_in(&mut bob, request.line("Call-ID").expect("one"));
    let printed = read("2.2.2.3.3-self-categories.benotify.sip");
    printed.is_head_of_told(&told);
    // The category is told whole (contradiction C-67): with the empty note of the blocked.
    let mut got = elements(&text(told.body()));
    got.retain(|category| !category.contains("container=\"32000\""));
    assert_eq!(got, elements(&printed.body));
    let end = read("4.4.4-self-unsubscribe.request.sip").send(&mut bob, Some(&tag));
    let end = granted(end);
    assert_eq!(
        (end.header(Name::Expires), end.body().len()),
        (Some("0"), 0)
    );
    assert!(end.header(Name::ContentType).is_none());
}

//= MS-PRES 2.2.2.3.2
//= type=test
//# 2.2.2.3.2: cards, containers, subscribers and delegates of a new user
#[test]
fn ones_own_data_as_they_are_printed() {
    let Some(printed) = vector("2.2.2.3.2-self-subscribe.200.sip") else {
        return;
    };
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), 1);
    let mut john = sign_in(&server, "john", "c05eb044ab");
    let mut bob = sign_in(&server, "bob", "84d3db8c23");
    introduce(&mut bob, &john.uri);
    for version in [0, 1] {
        let body = format!(
            "<setDelegates xmlns=\"http://schemas.microsoft.com/2007/09/sip/delegate-management\" version=\"{version}\">\
             <delegate uri=\"sip:bob@contoso.com\" action=\"add\"><publishOperation authorization=\"deny\"/>\
             <redelegateOperation authorization=\"deny\"/></delegate></setDelegates>"
        );
        granted(john.service("application/msrtc-setDelegate+xml", &body));
    }
    let (_, answer) = john.watch_self(&["categories", "containers", "subscribers", "delegates"]);
    let answer = granted(answer);
    printed.is_head_of(&answer);
    let got = elements(&text(answer.body()));
    // The server shows more: what it computes, and the card in further containers.
    for element in elements(&printed.body) {
        assert!(got.contains(&element), "{element} is not in {got:#?}");
    }
}

//= MS-PRES 2.2.2.4.2
//= type=test
//# 2.2.2.4.1 and 2.2.2.4.2: one who is served, and one of another server
#[test]
fn a_batch_with_a_rejected_resource_as_it_is_printed() {
    let Some(request) = vector("2.2.2.4.1-batch-subscribe-context.request.sip") else {
        return;
    };
    let printed = vector("2.2.2.4.2-batch-subscribe-rejected.200.sip").expect("an example");
    let shard = |user: &str, of: u16| Slot::of(&format!("{user}@contoso.com")).number() % of;
    let apart = (2..64).find(|of| {
        let shard = |user| shard(user, *of);
        shard("bob") == shard("alice") && shard("bob") != shard("john")
    });
    let Some(shards) = apart else {
        panic!("no number of shards puts john elsewhere than bob and alice")
    };
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), shards);
    let mut alice = sign_in(&server, "alice", "5e434f57d3");
    publish(&mut alice, &printed.documents()[1]);
    assert_eq!(alice.renew(0, "").status().number(), 200);
    let mut bob = sign_in(&server, "bob", "84d3db8c23");
    let answer = granted(request.send(&mut bob, None));
    is_batch(&printed, &answer);
    let state = &tree::elements(&served(&answer)[0].1, "availability", &[])[0];
    assert!(state.contains("18500"), "contradiction C-30: {state}");
}

//= MS-PRES 3.4.5.1.3
//= type=test
//# 4.5: a batch, and in its dialog one more
#[test]
fn a_growing_batch_as_it_is_printed() {
    let Some(first) = vector("4.5-batch-subscribe.request.sip") else {
        return;
    };
    let read = |name: &str| vector(name).expect("an example");
    let (one, two) = (
        read("4.5-batch-subscribe.200.sip"),
        read("4.5-batch-add.200.sip"),
    );
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), 1);
    let mut john = sign_in(&server, "john", "c05eb044ab");
    publish(&mut john, &one.documents()[1]);
    let mut bob = sign_in(&server, "bob", "84d3db8c23");
    publish(&mut bob, &two.documents()[1]);
    let mut alice = sign_in(&server, "alice", "5e434f57d3");
    let answer = granted(first.send(&mut alice, None));
    is_batch(&one, &answer);
    let tag = answer.to_tag().expect("a tag").to_owned();
    let answer = granted(read("4.5-batch-add.request.sip").send(&mut alice, Some(&tag)));
    is_batch(&two, &answer);
}

//= MS-PRES 3.4.5.1.3.1
//= type=test
//# 4.6: a batch for another deployment keeps no dialog; a single subscription is served there
#[test]
fn a_single_subscription_as_it_is_printed() {
    let Some(foreign) = vector("4.6-batch-foreign.request.sip") else {
        return;
    };
    let read = |name: &str| vector(name).expect("an example");
    let data = tempfile::tempdir().expect("a folder");
    let ours = Server::start_with(data.path(), &["--domain", "contoso.com"]);
    let mut bob = sign_in(&ours, "bob", "0b85fd1bd6");
    let answer = granted(foreign.send(&mut bob, None));
    is_batch(&read("4.6-batch-foreign.200.sip"), &answer);
    // There, with nothing published: the same frame, and no more than the names.
    let data = tempfile::tempdir().expect("a folder");
    let theirs = start(data.path(), 1);
    let mut bob = sign_in(&theirs, "bob", "0b85fd1bd6");
    let answer = granted(read("4.6-single-subscribe.request.sip").send(&mut bob, None));
    let printed = read("4.6-single-subscribe.200.sip");
    printed.is_head_of(&answer);
    let (whose, document) = served(&answer).remove(0);
    assert_eq!(whose, "sip:john@fabrikam.com");
    let names = |document: &str| {
        let mut names = tree::attributes(document, "category", "name");
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(names(&document), names(&printed.documents()[1]));
}

//= MS-PRES 3.4.5.1.2
//= type=test
//# 4.7: a poll
#[test]
fn a_poll_as_it_is_printed() {
    let Some(request) = vector("4.7-polling-subscribe.request.sip") else {
        return;
    };
    let printed = vector("4.7-polling-subscribe.200.sip").expect("an example");
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), 1);
    let mut bob = sign_in(&server, "bob", "84d3db8c23");
    publish(&mut bob, &printed.documents()[1]);
    let mut john = sign_in(&server, "john", "c05eb044ab");
    let answer = granted(request.send(&mut john, None));
    is_batch(&printed, &answer);
}

//= MS-PRES 3.4.5.1.3
//= type=test
//= MS-PRES 3.6.5.1
//= type=test
//# 4.8 and 4.8.1: a new subscriber, told and acknowledged; 4.4.3 prints the same empty list
#[test]
fn a_new_subscriber_as_it_is_printed() {
    let Some(request) = vector("4.8-subscribe-context.request.sip") else {
        return;
    };
    let read = |name: &str| vector(name).expect("an example");
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), 1);
    let mut bob = sign_in(&server, "bob", "5e434f57d3");
    let printed = read("4.8-subscribe-context.200.sip");
    publish(&mut bob, &printed.documents()[1]);
    let (own, _) = bob.watch_self(&["subscribers"]);
    let mut alice = sign_in(&server, "alice", "5e434f57d3");
    is_batch(&printed, &granted(request.send(&mut alice, None)));
    let told = bob.told(&own);
    let new = read("4.8-new-subscriber.benotify.sip");
    new.is_head_of_told(&told);
    assert_eq!(elements(&text(told.body())), elements(&new.body));
    let seen = granted(read("4.8.1-set-subscriber.request.sip").send(&mut bob, None));
    assert!(seen.body().is_empty());
    let told = text(bob.told(&own).body());
    for name in [
        "4.8.1-set-subscriber.benotify.sip",
        "4.4.3-self-setsubscriber.benotify.sip",
    ] {
        let printed = read(name);
        assert_eq!(elements(&told), elements(&printed.body), "{name}");
        assert_eq!(
            tree::elements(&told, "subscribers", &[]),
            tree::elements(&printed.body, "subscribers", &[])
        );
    }
}

//= MS-PRES 3.3.5.1
//= type=test
//# 4.4.1 and 4.4.2: containers, subscribers and the cards of one who is offline
#[test]
fn one_who_is_offline_as_it_is_printed() {
    let Some(request) = vector("4.4.1-self-subscribe.request.sip") else {
        return;
    };
    let printed = vector("4.4.2-self-subscribe.200.sip").expect("an example");
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), 1);
    let mut alice = sign_in(&server, "alice", "ffad8b59dc");
    let document = roxmltree::Document::parse(&printed.body).expect("XML");
    for container in document.descendants().filter(|node| {
        node.has_tag_name((
            "http://schemas.microsoft.com/2006/09/sip/containers",
            "container",
        ))
    }) {
        let id = container.attribute("id").expect("a number");
        let version: u32 = container
            .attribute("version")
            .and_then(|v| v.parse().ok())
            .expect("a number");
        if id == "0" {
            continue;
        }
        let kinds = container
            .children()
            .filter_map(|member| member.attribute("type"));
        let members: String = kinds
            .map(|kind| format!("<member action=\"add\" type=\"{kind}\"/>"))
            .collect();
        for now in 0..version {
            let change = format!("<container id=\"{id}\" version=\"{now}\">{members}</container>");
            granted(alice.set_members(&change));
        }
    }
    let mut bob = sign_in(&server, "bob", "84d3db8c23");
    introduce(&mut bob, &alice.uri);
    let answer = granted(request.send(&mut alice, None));
    printed.is_head_of(&answer);
    let body = text(answer.body());
    for name in ["container", "subscriber", "delegate"] {
        let printed = tree::elements(&printed.body, name, &MASKED);
        assert_eq!(tree::elements(&body, name, &MASKED), printed, "{name}");
    }
    let cards = |document: &str| {
        let mut cards =
            tree::elements(&document.replace(">Alice<", ">alice<"), "category", &MASKED);
        cards
            .retain(|card| card.contains("\"contactCard\"") || card.contains("\"userProperties\""));
        cards
    };
    let got = cards(&body);
    for card in cards(&printed.body) {
        assert!(got.contains(&card), "{card} is not in {got:#?}");
    }
}

//= MS-PRES 3.4.5.1.3.1
//= type=test
//# each way of being rejected, as it is printed
#[test]
fn rejections_as_they_are_printed() {
    let pool =
        "sip:server.contoso.com@contoso.com;gruu;opaque=srvr:HomeServer:dL8cwxBrTuG8eC4-Q_GNGAAA";
    for (name, rejection) in [
        ("quota", Rejection::OverQuota),
        ("resubscribe", Rejection::Resubscribe(None)),
        (
            "resubscribe-pool",
            Rejection::Resubscribe(Some(pool.to_owned())),
        ),
    ] {
        let Some(folder) = schema::shared_folder() else {
            return;
        };
        let file = format!("spec/vectors/bodies/3.4.5.1.3.1-instance-{name}.xml");
        let printed = std::fs::read_to_string(folder.join(file)).expect("an example");
        let mut out = Vec::new();
        let rejected = [("sip:alice@contoso.com".to_owned(), rejection)];
        rlmi::compose("sip:bob@contoso.com", &rejected, &mut out);
        assert_eq!(
            tree::canonical(&text(&out), &[]),
            tree::canonical(&printed, &[]),
            "{name}"
        );
    }
}
