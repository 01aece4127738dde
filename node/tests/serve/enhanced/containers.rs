//! Containers (MS-PRES 1.3.1.3, 2.2.2.5, 3.2.5.3, 3.5).

use transport::sip::{Name, StatusCode};

use super::client::{
    Client, Dialog, FEDERATED, PUBLIC_CLOUD, categories, diagnostic, note, publication, server,
    shared, somebody, text,
};
use super::tree;

const SET_MEMBERS: &str = "application/msrtc-setcontainermembers+xml";
const CONTAINERS: &str = "http://schemas.microsoft.com/2006/09/sip/containers";
const STATIC: &str = "expireType=\"static\"";

/// Containers and their members, as [`member`] has them.
type Memberships<'m> = &'m [(u32, &'m [&'m str])];

/// A `container` element with these members.
fn container(id: u32, version: u32, members: &str) -> String {
    format!("<container id=\"{id}\" version=\"{version}\">{members}</container>")
}

/// A `member` element; a member with a value is written `user=…` or `domain=…`.
fn member(kind: &str) -> String {
    match kind.split_once('=') {
        Some((kind, value)) => format!("<member type=\"{kind}\" value=\"{value}\"/>"),
        None => format!("<member type=\"{kind}\"/>"),
    }
}

/// Publishes a note, which must succeed.
fn put(publisher: &mut Client, container: u32, version: u32, words: &str) {
    let publication = publication("note", 0, container, version, STATIC, &note(words));
    let answer = publisher.publish(&publication);
    assert_eq!(answer.status(), StatusCode::OK, "{words} in {container}");
}

/// Removes a note, which must succeed.
fn remove(publisher: &mut Client, container: u32, version: u32) {
    let publication = publication(
        "note",
        0,
        container,
        version,
        "expireType=\"static\" expires=\"0\"",
        "",
    );
    let answer = publisher.publish(&publication);
    assert_eq!(answer.status(), StatusCode::OK, "{container}");
}

/// Changes members, which must succeed.
fn set(publisher: &mut Client, containers: &str) {
    let answer = publisher.set_members(containers);
    assert_eq!(answer.status(), StatusCode::OK, "{containers}");
    assert!(answer.body().is_empty(), "{containers}");
}

/// What a notification shows of notes.
fn told_notes(watcher: &mut Client, dialog: &Dialog) -> Vec<String> {
    tree::texts(&categories(watcher.told(dialog).body()), "body")
}

/// The containers that a user's own client is shown.
fn own(client: &mut Client) -> Vec<String> {
    let (_, answer) = client.watch_self(&["containers"]);
    tree::elements(&text(answer.body()), "container", &[])
}

//= MS-PRES 3.2.5.3
//= type=test
//# the six rules in their order, each with the highest number
//= MS-PRES 1.3.1.3.1
//= type=test
//= MS-PRES 1.3.1.3.7
//= type=test
// proves: PRES-1.3.1.3.1-01 PRES-1.3.1.3.2-01 PRES-1.3.1.3.3-01 PRES-1.3.1.3.5-01 PRES-1.3.1.3.6-01
// proves: PRES-1.3.1.3.6-02 PRES-1.3.1.3.7-01 PRES-2.2.2.5.1-03 PRES-3.2.5.3-02 PRES-3.2.5.3-03 PRES-3.2.5.3-04
// proves: PRES-3.2.5.3-05 PRES-3.2.5.3-06 PRES-3.2.5.3-07 PRES-3.2.5.3-08 PRES-3.2.5.3-09
#[test]
fn memberships_of_every_type_decide_what_is_seen() {
    let mut alice = Client::sign_in(shared(), &somebody("alice"));
    let mut partner = Client::visitor(shared(), "alice", "fabrikam.com");
    let mut cloud = Client::visitor(shared(), "friend", "cloud.example");
    let user = &format!("user={}", alice.uri);
    let both = &["federated", "publicCloud", user][..];
    // The memberships, and the containers that alice, the partner and the cloud's user see.
    let cases: &[(&str, Memberships<'_>, [u32; 3])] = &[
        ("nobody", &[], [0, 0, 0]),
        ("user twice", &[(100, &[user]), (300, &[user])], [300, 0, 0]),
        ("the greatest number", &[(32_767, &[user])], [32_767, 0, 0]),
        (
            "domain twice",
            &[
                (100, &["domain=contoso.com"]),
                (200, &["domain=CONTOSO.com"]),
            ],
            [200, 0, 0],
        ),
        (
            "another domain",
            &[(1, &["domain=fabrikam.com"])],
            [0, 1, 0],
        ),
        (
            "a suffix is no domain",
            &[(300, &["domain=com"])],
            [0, 0, 0],
        ),
        (
            "enterprise twice",
            &[(100, &["sameEnterprise"]), (200, &["sameEnterprise"])],
            [200, 0, 0],
        ),
        (
            "federated twice",
            &[(100, &["federated"]), (200, &["federated"])],
            [0, 200, 0],
        ),
        (
            "cloud twice",
            &[(1, &["publicCloud"]), (400, &["publicCloud"])],
            [0, 0, 400],
        ),
        (
            "everyone twice",
            &[(1, &["everyone"]), (100, &["everyone"])],
            [100, 100, 100],
        ),
        ("a union", &[(200, both)], [200, 200, 200]),
        (
            "user before domain",
            &[(1, &[user]), (300, &["domain=contoso.com"])],
            [1, 0, 0],
        ),
        (
            "domain before network",
            &[(1, &["domain=contoso.com"]), (300, &["sameEnterprise"])],
            [1, 0, 0],
        ),
        (
            "network before everyone",
            &[(1, &["sameEnterprise", "federated"]), (300, &["everyone"])],
            [1, 1, 300],
        ),
        (
            "without the category",
            &[(5, &[user]), (100, &["sameEnterprise"])],
            [100, 0, 0],
        ),
    ];
    for (name, memberships, expected) in cases {
        let mut bob = Client::sign_in(shared(), &somebody("bob"));
        for id in [0, 1, 100, 200, 300, 400, 32_767] {
            put(&mut bob, id, 0, &id.to_string());
        }
        for (id, members) in *memberships {
            let members: String = members.iter().map(|kind| member(kind)).collect();
            set(&mut bob, &container(*id, 0, &members));
        }
        let watchers = [
            (&mut alice, ""),
            (&mut partner, FEDERATED),
            (&mut cloud, PUBLIC_CLOUD),
        ];
        for ((watcher, lines), expected) in watchers.into_iter().zip(expected) {
            let answer = watcher.poll_one(&bob.uri, &["note"], lines);
            let seen = tree::texts(&categories(answer.body()), "body");
            assert_eq!(seen, [expected.to_string()], "{name}: {}", watcher.uri);
        }
    }
}

//= MS-PRES 1.3.1.3.4
//= type=test
//# a blocked watcher is shown an empty instance
//= MS-PRES 3.2.5.3
//= type=test
// proves: PRES-1.3.1.3.2-01 PRES-1.3.1.3.7-02 PRES-3.2.5.3-10 PRES-3.2.5.3-14
#[test]
fn who_resolves_to_nothing_sees_an_empty_category() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let mut alice = Client::sign_in(shared(), &somebody("alice"));
    put(&mut bob, 400, 0, "for friends");
    let empty = ["{http://schemas.microsoft.com/2006/09/sip/categories}category name=\"note\"\n"];
    let (dialog, answer) = alice.watch_one(&bob.uri, &["note"], "", "");
    assert_eq!(
        tree::elements(&categories(answer.body()), "category", &[]),
        empty
    );
    set(
        &mut bob,
        &container(400, 0, &member(&format!("user={}", alice.uri))),
    );
    assert_eq!(told_notes(&mut alice, &dialog), ["for friends"]);
    let take = format!(
        "<member action=\"remove\" type=\"user\" value=\"{}\"/>",
        alice.uri
    );
    set(&mut bob, &container(400, 1, &take));
    let told = alice.told(&dialog);
    assert_eq!(
        tree::elements(&categories(told.body()), "category", &[]),
        empty
    );
}

//= MS-PRES 1.3.1.3.9
//= type=test
//= MS-PRES 1.3.1.3.10
//= type=test
//# each of the operations moves watchers to where they belong
//= MS-PRES 3.5.5.4
//= type=test
//= MS-PRES 3.2.5.3
//= type=test
// proves: PRES-1.3.1.3.9-01 PRES-1.3.1.3.9-02 PRES-1.3.1.3.10-01 PRES-3.5.5.4-01 PRES-3.2.5.3-11 PRES-3.2.5.3-12
// proves: PRES-3.2.5.3-13 PRES-3.2.5.3-16
#[test]
fn watchers_are_resolved_anew_after_each_operation_that_may_move_them() {
    let name = somebody("bob");
    let mut bob = Client::sign_in(shared(), &name);
    let mut alice = Client::sign_in(shared(), &somebody("alice"));
    let user = member(&format!("user={}", alice.uri));
    set(&mut bob, &container(300, 0, &user));
    let (dialog, answer) = alice.watch_one(&bob.uri, &["note"], "", "");
    assert_eq!(tree::texts(&categories(answer.body()), "body"), [""; 0]);

    put(&mut bob, 0, 0, "zero");
    assert_eq!(told_notes(&mut alice, &dialog), ["zero"], "a new category");
    put(&mut bob, 300, 0, "three");
    assert_eq!(
        told_notes(&mut alice, &dialog),
        ["three"],
        "first in a higher container"
    );
    put(&mut bob, 0, 1, "zero again");
    put(&mut bob, 200, 0, "two");
    assert!(alice.rest(&dialog).is_empty(), "neither concerns alice");
    put(&mut bob, 300, 1, "three again");
    assert_eq!(told_notes(&mut alice, &dialog), ["three again"], "modified");
    let second = publication("note", 7, 300, 0, STATIC, &note("seven"));
    assert_eq!(bob.publish(&second).status(), StatusCode::OK);
    assert_eq!(
        told_notes(&mut alice, &dialog),
        ["three again", "seven"],
        "the complete set"
    );
    let second = publication("note", 7, 300, 1, "expireType=\"static\" expires=\"0\"", "");
    assert_eq!(bob.publish(&second).status(), StatusCode::OK);
    assert_eq!(
        told_notes(&mut alice, &dialog),
        ["three again"],
        "one is deleted"
    );
    remove(&mut bob, 300, 2);
    assert_eq!(
        told_notes(&mut alice, &dialog),
        ["zero again"],
        "the last is deleted"
    );

    set(&mut bob, &container(200, 0, &user));
    assert_eq!(
        told_notes(&mut alice, &dialog),
        ["two"],
        "member of a higher container"
    );
    set(
        &mut bob,
        &container(200, 1, &user.replace("type", "action=\"delete\" type")),
    );
    assert_eq!(
        told_notes(&mut alice, &dialog),
        ["zero again"],
        "not a member any more"
    );

    let mut laptop = Client::sign_in(shared(), &name);
    let bound = publication(
        "note",
        1,
        300,
        0,
        "expireType=\"endpoint\"",
        &note("from the laptop"),
    );
    assert_eq!(laptop.publish(&bound).status(), StatusCode::OK);
    assert_eq!(
        told_notes(&mut alice, &dialog),
        ["from the laptop"],
        "bound to an endpoint"
    );
    assert_eq!(laptop.renew(0, "").status(), StatusCode::OK);
    assert_eq!(
        told_notes(&mut alice, &dialog),
        ["zero again"],
        "its endpoint signs out"
    );

    let brief = publication(
        "note",
        2,
        300,
        0,
        "expireType=\"time\" expires=\"1\"",
        &note("brief"),
    );
    assert_eq!(bob.publish(&brief).status(), StatusCode::OK);
    assert_eq!(told_notes(&mut alice, &dialog), ["brief"], "bound to time");
    assert_eq!(
        told_notes(&mut alice, &dialog),
        ["zero again"],
        "its time is over"
    );
    assert!(alice.rest(&dialog).is_empty());
}

//= MS-PRES 1.3.1.3.10
//= type=test
//# also when the server publishes for a user, and when it ends an endpoint
// proves: PRES-1.3.1.3.10-01
#[test]
fn watchers_are_resolved_anew_by_what_the_server_does_itself() {
    let data = tempfile::tempdir().expect("a folder");
    let config = data.path().join("node.toml");
    std::fs::write(&config, "[limits.registration]\nmin = 1\n").expect("written");
    let config = config.to_str().expect("a path is text").to_owned();
    let server = server(&data.path().join("data"), &["--config", &config]);
    let mut alice = Client::sign_in(&server, &somebody("alice"));
    let name = somebody("bob");
    let uri = format!("sip:{name}@contoso.com");
    let (dialog, answer) = alice.watch_one(&uri, &["contactCard", "note"], "", "");
    assert!(tree::elements(&categories(answer.body()), "contactCard", &[]).is_empty());
    let mut bob = Client::sign_in(&server, &name);
    let told = categories(alice.told(&dialog).body());
    assert_eq!(tree::elements(&told, "contactCard", &[]).len(), 1, "{told}");

    let bound = publication("note", 0, 0, 0, "expireType=\"endpoint\"", &note("here"));
    assert_eq!(bob.publish(&bound).status(), StatusCode::OK);
    assert_eq!(told_notes(&mut alice, &dialog), ["here"]);
    // The endpoint does not come back in time.
    assert_eq!(bob.renew(1, "").status(), StatusCode::OK);
    let told = categories(alice.told(&dialog).body());
    assert_eq!(
        tree::attributes(&told, "category", "name"),
        ["note"],
        "{told}"
    );
    assert_eq!(tree::texts(&told, "body"), [""; 0]);
}

//= MS-PRES 3.2.5.3
//= type=test
//# one notification for all categories; name, instance, time and the XML as it was published, no more
// proves: PRES-3.2.5.3-01 PRES-3.2.5.3-15 PRES-3.2.5.3-17 PRES-3.2.5.3-18 PRES-3.2.5.3-19 PRES-3.2.5.3-20
#[test]
fn a_notification_shows_what_a_watcher_may_know() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let mut alice = Client::sign_in(shared(), &somebody("alice"));
    let mut carol = Client::sign_in(shared(), &somebody("carol"));
    set(&mut bob, &container(300, 0, &member("sameEnterprise")));
    let wanted = ["note", "noteHistory", "calendarData"];
    let (dialog, _) = alice.watch_one(&bob.uri, &wanted, "", "");
    let (other, _) = carol.watch_one(&bob.uri, &["calendarData"], "", "");
    let body = "<x:memo xmlns:x=\"urn:x\" when=\"now\"><x:line>a &amp; b</x:line></x:memo>";
    let answer = bob.publish(
        &[
            publication("note", 3, 300, 0, "expireType=\"user\"", body),
            publication("noteHistory", 4, 300, 0, "expireType=\"endpoint\"", body),
        ]
        .concat(),
    );
    assert_eq!(answer.status(), StatusCode::OK);
    let told = alice.told(&dialog);
    assert_eq!(
        told.header(Name::ContentType),
        Some("application/msrtc-event-categories+xml")
    );
    let shown = categories(told.body());
    let memo = tree::canonical(body, &[])
        .replace("{urn:x}memo", "  {urn:x}memo")
        .replace("  {urn:x}line", "    {urn:x}line");
    let own = "{http://schemas.microsoft.com/2006/09/sip/categories}category";
    assert_eq!(
        tree::elements(&shown, "category", &["publishTime"]),
        [
            format!("{own} instance=\"3\" name=\"note\" publishTime=\"*\"\n{memo}"),
            format!("{own} instance=\"4\" name=\"noteHistory\" publishTime=\"*\"\n{memo}"),
        ]
    );
    assert!(alice.rest(&dialog).is_empty(), "one notification for both");
    assert!(carol.rest(&other).is_empty(), "nothing that carol watches");
}

//= MS-PRES 3.5.5.3
//= type=test
//# each self subscription with containers in its scope is told the complete new memberships
//= MS-PRES 2.2.2.5.1
//= type=test
//= MS-PRES 2.2.2.5.2
//= type=test
// proves: PRES-2.2.2.5.1-01 PRES-2.2.2.5.1-02 PRES-2.2.2.5.2-02 PRES-2.2.2.5.2-05 PRES-2.2.2.5.2-06 PRES-3.5.5.1-01
// proves: PRES-3.5.5.2-04 PRES-3.5.5.2-07 PRES-3.5.5.2-13 PRES-3.5.5.2-17 PRES-3.5.5.3-01 PRES-3.5.5.3-02
// proves: PRES-3.5.5.3-03 PRES-3.5.5.3-04 PRES-3.5.5.3-05
#[test]
fn every_own_endpoint_is_told_the_whole_new_membership() {
    let name = somebody("bob");
    let mut desk = Client::sign_in(shared(), &name);
    let mut laptop = Client::sign_in(shared(), &name);
    let mut tablet = Client::sign_in(shared(), &name);
    let (at_desk, first) = desk.watch_self(&["containers", "subscribers"]);
    let (at_laptop, _) = laptop.watch_self(&["containers"]);
    let (at_tablet, _) = tablet.watch_self(&["categories", "subscribers"]);
    let before = text(first.body());
    let rules: &[(&str, &[&str], &[&str])] = &[
        ("containers", &[], &[]),
        ("container", &["id", "version"], &[]),
        ("member", &["type"], &["value"]),
    ];
    tree::conforms(&before, CONTAINERS, "containers", rules);
    let of = |id: u32, version: u32, members: &str| {
        let element = format!(
            "<container xmlns=\"{CONTAINERS}\" id=\"{id}\" version=\"{version}\">{members}</container>"
        );
        tree::canonical(&element, &[])
    };
    assert!(
        tree::elements(&before, "container", &[]).contains(&of(300, 0, "")),
        "{before}"
    );

    let alice = "<member type=\"user\" value=\"alice@contoso.com\"/>";
    let carol = "<member type=\"user\" value=\"carol@contoso.com\"/>";
    let domain = "<member type=\"domain\" value=\"fabrikam.com\"/>";
    // Each with what is told of it: containers by ascending text, members in the order of documents.
    let with =
        |action: &str, member: &str| member.replace("type", &format!("action=\"{action}\" type"));
    for (step, asked, told) in [
        (
            "a batch over two containers, one of them new",
            container(300, 0, &with("add", &alice.replace("alice", "sip:Alice")))
                + &container(7, 0, &member("federated")),
            vec![of(300, 1, alice), of(7, 1, "<member type=\"federated\"/>")],
        ),
        (
            "without an action it is added, with who is there already",
            container(300, 1, &format!("{carol}{domain}")),
            vec![of(300, 2, &format!("{alice}{carol}{domain}"))],
        ),
        (
            "adding who is there, and removing who is not",
            container(
                300,
                2,
                &format!("{carol}{}", with("delete", &member("everyone"))),
            ),
            vec![of(300, 3, &format!("{alice}{carol}{domain}"))],
        ),
        (
            "in order within a request",
            container(300, 3, &format!("{}{carol}", with("remove", carol))),
            vec![of(300, 4, &format!("{alice}{carol}{domain}"))],
        ),
        (
            "both words for removing, down to nobody",
            container(
                300,
                4,
                &(with("remove", carol) + &with("delete", alice) + &with("delete", domain)),
            ),
            vec![of(300, 5, "")],
        ),
    ] {
        set(&mut desk, &asked);
        for (endpoint, dialog) in [(&mut desk, &at_desk), (&mut laptop, &at_laptop)] {
            let notification = endpoint.told(dialog);
            let media = notification.header(Name::ContentType);
            assert_eq!(
                media,
                Some("application/vnd-microsoft-roaming-self+xml"),
                "{step}"
            );
            let body = text(notification.body());
            tree::conforms(&body, CONTAINERS, "containers", rules);
            assert_eq!(tree::elements(&body, "container", &[]), told, "{step}");
            assert!(!body.contains("<subscribers"), "{step}: only what changed");
        }
    }
    for (endpoint, dialog) in [
        (&mut desk, &at_desk),
        (&mut laptop, &at_laptop),
        (&mut tablet, &at_tablet),
    ] {
        assert!(endpoint.rest(dialog).is_empty(), "no more than that");
    }
}

//= MS-PRES 3.5.5.5
//= type=test
//# 400 without or with a wrong body, for container 0, for one container twice; 403 when From and To differ
//= MS-PRES 1.3.1.3.3
//= type=test
// proves: PRES-1.3.1.3.3-02 PRES-2.2.2.5.1-04 PRES-2.2.2.5.1-05 PRES-2.2.2.5.1-06 PRES-2.2.2.5.2-01 PRES-2.2.2.5.2-03
// proves: PRES-2.2.2.5.2-04 PRES-3.5.5.2-01 PRES-3.5.5.2-02 PRES-3.5.5.2-03 PRES-3.5.5.2-08 PRES-3.5.5.2-09
// proves: PRES-3.5.5.2-10 PRES-3.5.5.2-11 PRES-3.5.5.2-12 PRES-3.5.5.2-16 PRES-3.5.5.5-01 PRES-3.5.5.5-02
// proves: PRES-3.5.5.5-03 PRES-3.5.5.5-05
#[test]
fn what_is_wrong_changes_no_membership() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let other = format!("sip:{}@contoso.com", somebody("alice"));
    let good = container(100, 0, &member("federated"));
    set(&mut bob, &container(200, 0, &member("publicCloud")));
    let before = own(&mut bob);
    let document = |inside: &str| {
        format!(
            "<setContainerMembers xmlns=\"http://schemas.microsoft.com/2006/09/sip/container-management\">{inside}</setContainerMembers>"
        )
    };
    // Behind a good one, which must not be done either.
    let then = |bad: &str| document(&format!("{good}{bad}"));
    let one = |bad: &str| then(&container(300, 0, bad));
    for (name, body) in [
        ("no body", String::new()),
        ("no XML", "<setContainerMembers".to_owned()),
        ("another document", "<x xmlns=\"urn:x\"/>".to_owned()),
        ("no namespace", "<setContainerMembers/>".to_owned()),
        ("no container", document("")),
        ("container 0", then(&container(0, 0, &member("everyone")))),
        ("one twice", then(&container(100, 0, ""))),
        ("no id", then("<container version=\"0\"/>")),
        ("an id of 17 bits", then(&container(65_536, 0, ""))),
        ("no version", then("<container id=\"300\"/>")),
        (
            "a version that is none",
            then("<container id=\"300\" version=\"x\"/>"),
        ),
        ("no type", one("<member value=\"contoso.com\"/>")),
        ("another type", one(&member("friends"))),
        ("a domain without value", one(&member("domain"))),
        ("a domain that is none", one(&member("domain=not a domain"))),
        ("a user without value", one(&member("user"))),
        ("a user that is none", one(&member("user=x"))),
        (
            "enterprise with a value",
            one(&member("sameEnterprise=contoso.com")),
        ),
        (
            "federated with a value",
            one(&member("federated=contoso.com")),
        ),
        (
            "cloud with a value",
            one(&member("publicCloud=contoso.com")),
        ),
        (
            "everyone with a value",
            one(&member("everyone=contoso.com")),
        ),
        (
            "another action",
            one("<member action=\"toggle\" type=\"everyone\"/>"),
        ),
        ("two documents", document(&good) + &document(&good)),
    ] {
        let answer = bob.service(SET_MEMBERS, &body);
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}");
        if !body.is_empty() {
            assert_eq!(diagnostic(&answer), Some(4001), "{name}");
        }
        assert_eq!(own(&mut bob), before, "{name}");
    }
    let answer = bob.service_to(&other, SET_MEMBERS, &document(&good));
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(own(&mut bob), before);
}

//= MS-PRES 2.2.2.5.3
//= type=test
//# 409 with each conflict, where it stands, what was named and what there is; done again with that it succeeds
//= MS-PRES 3.5.5.5
//= type=test
// proves: PRES-2.2.2.5.3-01 PRES-2.2.2.5.3-02 PRES-2.2.2.5.3-03 PRES-3.5.5.2-05 PRES-3.5.5.2-06 PRES-3.5.5.2-16
// proves: PRES-3.5.5.5-04
#[test]
fn a_wrong_version_refuses_all_and_says_which_is_right() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    set(&mut bob, &container(200, 0, &member("federated")));
    let before = own(&mut bob);
    let asked = |versions: [u32; 3]| {
        let of = |(id, version)| container(id, version, &member("everyone"));
        [100, 200, 300]
            .into_iter()
            .zip(versions)
            .map(of)
            .collect::<String>()
    };
    let operation = |index: u32, version: u32, current: u32| {
        format!("{{}}operation curVersion=\"{current}\" index=\"{index}\" version=\"{version}\"\n")
    };
    for (name, versions, conflicts) in [
        ("the second", [0, 0, 0], vec![operation(2, 0, 1)]),
        (
            "a new one has version 0",
            [1, 1, 0],
            vec![operation(1, 1, 0)],
        ),
        (
            "two of three",
            [0, 7, 9],
            vec![operation(2, 7, 1), operation(3, 9, 0)],
        ),
    ] {
        let answer = bob.set_members(&asked(versions));
        assert_eq!(answer.status(), StatusCode::CONFLICT, "{name}");
        assert_eq!(
            answer.header(Name::ContentType),
            Some("application/msrtc-fault+xml"),
            "{name}"
        );
        let body = text(answer.body());
        assert_eq!(
            tree::texts(&body, "Faultcode"),
            ["Client.BadCall.WrongDelta"],
            "{name}"
        );
        let told: Vec<String> = tree::elements(&body, "operation", &[]);
        let mut conflicts = conflicts;
        conflicts.sort();
        assert_eq!(told, conflicts, "{name}");
        assert_eq!(own(&mut bob), before, "{name}");
    }
    set(&mut bob, &asked([0, 1, 0]));
}

//= MS-PRES 3.5.5.2
//= type=test
//# the members over all containers are limited, as the operator says
//= MS-PRES 3.5.5.5
//= type=test
// proves: PRES-3.5.5.2-14 PRES-3.5.5.2-15 PRES-3.5.5.5-06
#[test]
fn more_members_than_the_operator_allows_are_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let config = data.path().join("node.toml");
    std::fs::write(&config, "[enhanced]\nmembers = 3\n").expect("written");
    let config = config.to_str().expect("a path is text").to_owned();
    let server = server(&data.path().join("data"), &["--config", &config]);
    let mut bob = Client::sign_in(&server, &somebody("bob"));
    set(
        &mut bob,
        &(container(100, 0, &member("federated")) + &container(200, 0, &member("publicCloud"))),
    );
    let before = own(&mut bob);
    let two = member("everyone") + &member("sameEnterprise");
    let answer = bob.set_members(&container(300, 0, &two));
    assert_eq!(answer.status(), StatusCode::ENTITY_TOO_LARGE);
    assert_eq!(diagnostic(&answer), Some(2006));
    assert_eq!(own(&mut bob), before);
    set(&mut bob, &container(300, 0, &member("everyone")));
    // Who makes room in the same request may use it.
    let swap = container(100, 1, "<member action=\"delete\" type=\"federated\"/>")
        + &container(300, 1, &member("federated"));
    set(&mut bob, &swap);
}
