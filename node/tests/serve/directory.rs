//! The directory of a deployment: who is a user, what is published of them, and what changes while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use transport::sip::{Response, StatusCode};

use super::enhanced::client::{Client, Dialog, diagnostic, server, text};
use super::enhanced::tree;
use super::phone::{Phone, Publisher, Watch, document};
use super::server::{PATIENCE, Server};

pub mod slapd;

const USERS: &str = "\
[[user]]
address = 'alice@contoso.com'
display_name = 'Alice Liddell'
mail = 'alice@exchange.contoso.com'
fax = '+11234567891'
street = '1 Anywhere Street'
city = 'Somewhere'
state = 'SomeState'
country_code = 'US'
postal_code = '12345'
home_page = 'http://contoso.com'
lines = [{ uri = 'tel:+11234567890;ext=67890' }]

[[user]]
address = 'bob@contoso.com'
display_name = 'Bob Kelly'

[[user]]
address = 'carol@contoso.com'
disabled = true
";

/// A folder with a file of users, and the settings that name it.
pub fn folder(users: &str, settings: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.toml");
    fs::write(&path, users).expect("written");
    let config = folder.path().join("node.toml");
    let text = format!("[directory]\npath = {path:?}\n{settings}\n");
    fs::write(&config, text).expect("written");
    (folder, config)
}

/// A server with these settings.
pub fn start(folder: &Path, config: &Path) -> Server {
    let config = config.to_str().expect("a path");
    server(&folder.join("data"), &["--config", config])
}

fn metric(server: &Server, name: &str) -> u64 {
    let (_, text) = server.get("/metrics");
    let line = text.lines().find(|line| {
        line.split(['{', ' '])
            .next()
            .is_some_and(|of| of.trim_end_matches("_total").ends_with(name))
    });
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    let value = line.rsplit(' ').next().expect("a value");
    value.parse().unwrap_or_else(|_| panic!("{line}"))
}

fn wait_for(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_unknown(response: &Response, what: &str) {
    assert_eq!(response.status(), StatusCode::NOT_FOUND, "{what}");
    assert_eq!(diagnostic(response), Some(4005), "{what}");
}

/// The instances of a category in one container, from one's own data.
fn own(body: &str, category: &str, container: u32) -> Vec<String> {
    let found = tree::elements(body, "category", &["publishTime"]);
    let (name, container) = (
        format!("name={category:?}"),
        format!("container=\"{container}\""),
    );
    found
        .into_iter()
        .filter(|element| element.contains(&name) && element.contains(&container))
        .collect()
}

//= MS-PRES 3.2.5.4
//= type=test
//# 404 for who is no user; the directory says who is
#[test]
fn only_users_of_the_directory_are_known() {
    let ann = "[[user]]\naddress = 'ann@example.com'\n";
    let (folder, config) = folder(&format!("{USERS}{ann}"), "");
    let server = start(folder.path(), &config);
    assert_eq!(metric(&server, "directory_users"), 3);
    assert_eq!(metric(&server, "directory_disabled"), 1);
    for stranger in ["eve", "carol"] {
        let (mut client, refused) = Client::register(&server, stranger, "");
        is_unknown(&refused, "REGISTER");
        is_unknown(&client.publish(""), "publish");
        let (_, refused) = client.watch_self(&["categories"]);
        is_unknown(&refused, "self");
    }
    let mut bob = Client::sign_in(&server, "bob");
    // A batch tells of a stranger as of somebody whose home nobody knows.
    let uris = [
        "sip:alice@contoso.com",
        "sip:eve@contoso.com",
        "sip:carol@contoso.com",
    ];
    let (_, answer) = bob.watch(&uris, &["state"]);
    assert_eq!(answer.status(), StatusCode::OK);
    let body = text(answer.body());
    for stranger in &uris[1..] {
        let place = body.find(&format!("uri=\"{stranger}\"")).expect("listed");
        let end = body[place..].find("</resource>").expect("an end");
        let resource = &body[place..place + end];
        assert!(resource.contains("resubscribe"), "{resource}");
        assert!(!resource.contains("poolFqdn"), "{resource}");
    }
    // Standard presence, too; its phones are of example.com.
    let mut phone = Phone::udp(server.udp);
    let body = document("n", "open", "n");
    let refused = Publisher::new("eve").publish(&mut phone, Some(600), &body);
    is_unknown(&refused, "PUBLISH");
    is_unknown(&Watch::new("eve").subscribe(&mut phone, 600), "SUBSCRIBE");
    let body = document("ann", "open", "n");
    let taken = Publisher::new("ann").publish(&mut phone, Some(600), &body);
    assert_eq!(taken.status(), StatusCode::OK);
    let known = Watch::new("ann").subscribe(&mut phone, 600);
    assert_eq!(known.status(), StatusCode::OK);
}

//= MS-PRES 3.2.6.2
//= type=test
//# contactCard in six containers, legacyInterop 18500 in 32000, userProperties in container 1, all static
//= MS-PRES 2.2.2.7.4
//= type=test
//# what the directory says of a user is in userProperties
// proves: PRES-3.2.6.2-01 PRES-3.2.6.2-02 PRES-3.2.6.2-03 PRES-3.2.6.2-04 PRES-2.2.2.7.4-06
#[test]
fn the_server_publishes_what_the_directory_says() {
    let (folder, config) = folder(USERS, "");
    let server = start(folder.path(), &config);
    let mut alice = Client::sign_in(&server, "alice");
    let (_, answer) = alice.watch_self(&["categories"]);
    let body = text(answer.body());
    for container in [0, 100, 200, 300, 400, 32_000] {
        let cards = own(&body, "contactCard", container);
        assert_eq!(cards.len(), 1, "container {container}: {body}");
        for part in [
            "instance=\"0\"",
            "expireType=\"static\"",
            "\"Alice Liddell\"",
            "\"alice@exchange.contoso.com\"",
        ] {
            assert!(cards[0].contains(part), "{part}: {}", cards[0]);
        }
    }
    let blocked = own(&body, "legacyInterop", 32_000);
    assert!(
        blocked[0].contains("availability=\"18500\""),
        "{}",
        blocked[0]
    );
    assert!(
        blocked[0].contains("expireType=\"static\""),
        "{}",
        blocked[0]
    );
    let properties = own(&body, "userProperties", 1);
    assert_eq!(properties.len(), 1);
    for part in [
        "instance=\"0\"",
        "expireType=\"static\"",
        "lineType=\"Uc\" \"tel:+11234567890;ext=67890\"",
        "telephonyMode \"Uc\"",
        "facsimileTelephoneNumber \"+11234567891\"",
        "streetAddress \"1 Anywhere Street\"",
        "l \"Somewhere\"",
        "st \"SomeState\"",
        "countryCode \"US\"",
        "postalCode \"12345\"",
        "wWWHomePage \"http://contoso.com\"",
    ] {
        assert!(properties[0].contains(part), "{part}: {}", properties[0]);
    }
}

/// The versions of contactCard and userProperties as one's own data shows them.
fn versions(client: &mut Client) -> Vec<String> {
    let (_, answer) = client.watch_self(&["categories"]);
    let body = text(answer.body());
    let mut found = own(&body, "contactCard", 400);
    found.extend(own(&body, "userProperties", 1));
    assert_eq!(found.len(), 2, "{body}");
    found
}

//= MS-PRES 3.2.6.2
//= type=test
//# nothing is published that is there already, however often the timer fires; what changed is
// proves: PRES-3.2.6.2-04 PRES-3.2.6.2-07
#[test]
fn a_changed_file_is_published_anew_and_nothing_else() {
    let (folder, config) = folder(USERS, "refresh_s = 1");
    let server = start(folder.path(), &config);
    let mut alice = Client::sign_in(&server, "alice");
    let mut bob = Client::sign_in(&server, "bob");
    let (before_alice, before_bob) = (versions(&mut alice), versions(&mut bob));
    let (watching, _): (Dialog, _) = bob.watch(&["sip:alice@contoso.com"], &["contactCard"]);
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(
        versions(&mut alice),
        before_alice,
        "two periods changed nothing"
    );

    let users = folder.path().join("users.toml");
    let renamed = USERS
        .replace("Alice Liddell", "Alice Hargreaves")
        .replace("12345", "54321");
    fs::write(&users, &renamed).expect("written");
    server.signal("HUP");
    let told = text(bob.told(&watching).body());
    assert!(told.contains("Alice Hargreaves"), "{told}");
    let after = versions(&mut alice);
    assert!(
        after[0].contains("Alice Hargreaves") && after[0].contains("version=\"2\""),
        "{}",
        after[0]
    );
    assert!(
        after[1].contains("54321") && after[1].contains("version=\"2\""),
        "{}",
        after[1]
    );
    assert_eq!(versions(&mut bob), before_bob, "nothing changed of bob");
    assert_eq!(metric(&server, "directory_profiles_published"), 1);

    // What is bad changes nothing, and is counted.
    fs::write(&users, "[[user]]\naddress = 'zoe@elsewhere.example'\n").expect("written");
    server.signal("HUP");
    wait_for("a failure is counted", || {
        metric(&server, "directory_refresh_failures") == 1
    });
    assert_eq!(alice.renew(600, "").status(), StatusCode::OK);

    // Who is gone is no user any more.
    let without = renamed.replace(
        "address = 'alice@contoso.com'",
        "address = 'alison@contoso.com'",
    );
    fs::write(&users, without).expect("written");
    server.signal("HUP");
    wait_for("the file is read", || {
        metric(&server, "directory_refreshes") == 2 + 1
    });
    is_unknown(&alice.renew(600, ""), "REGISTER of who is gone");
    assert_eq!(bob.renew(600, "").status(), StatusCode::OK);
    assert_eq!(
        Client::register(&server, "alison", "").1.status(),
        StatusCode::OK
    );
}

#[test]
fn a_change_made_while_the_node_was_down_is_published_at_start() {
    let (folder, config) = folder(USERS, "");
    let first = start(folder.path(), &config);
    let mut alice = Client::sign_in(&first, "alice");
    assert!(versions(&mut alice)[0].contains("Alice Liddell"));
    assert!(first.terminate());
    fs::write(
        folder.path().join("users.toml"),
        USERS.replace("Liddell", "Hargreaves"),
    )
    .expect("written");
    let second = start(folder.path(), &config);
    // Nobody registers: the node itself looks over what it publishes.
    wait_for("published", || {
        metric(&second, "directory_profiles_published") == 1
    });
}

#[test]
fn an_operator_looks_into_the_directory() {
    let (folder, config) = folder(USERS, "max_results = 1");
    let server = start(folder.path(), &config);
    let (status, said) = server.get("/directory?search=kel");
    assert_eq!(status, 200);
    assert_eq!(
        said,
        "{\"users\":[{\"presentity\":\"sip:bob@contoso.com\",\"display_name\":\"Bob Kelly\",\
         \"mail\":\"\",\"phone\":\"\"}],\"more_available\":false}"
    );
    assert!(
        server
            .get("/directory")
            .1
            .contains("\"more_available\":true")
    );
    let (status, said) = super::enhanced::client::shared().get("/directory?search=a");
    assert_eq!(status, 404);
    assert!(said.contains("[directory] in node.toml"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start() {
    for (users, expected) in [
        ("[[user]]\naddress = 'bob'\ncolour = 'red'\n", "line 3"),
        (
            "[[user]]\naddress = 'bob@elsewhere.example'\n",
            "line 1: address = \"bob@elsewhere.example\"; expected an address of this deployment",
        ),
        ("", "holds no user"),
    ] {
        let (folder, config) = folder(users, "");
        let config = config.to_str().expect("a path");
        let data = folder.path().join("data");
        let more = ["--config", config, "--domain", "contoso.com"];
        let said = Server::try_start(&data, "udp:127.0.0.1:0", "tcp:127.0.0.1:0", &more);
        let said = said.err().expect("it does not start");
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("users.toml"), "{said}");
    }
}

// What a real LDAP server says: needs slapd and ldap-utils.

fn ldap_config(folder: &Path, slapd: &slapd::Slapd, more: &str) -> PathBuf {
    let secret = folder.join("secret");
    fs::write(&secret, "reader\n").expect("written");
    let config = folder.join("node.toml");
    let text = format!(
        "[directory]\nurl = \"{}\"\nbase = \"ou=people,dc=contoso,dc=com\"\n\
         bind_dn = \"cn=reader,dc=contoso,dc=com\"\nbind_password_file = {secret:?}\npage_size = 3\n{more}\n\
         [directory.attributes]\naddress = \"mail\"\ncompany = \"o\"\nenabled = \"employeeType\"\nsearched = [\"employeeNumber\"]\n",
        slapd.url(),
    );
    fs::write(&config, text).expect("written");
    config
}

/// The only user in the answer to a search, as a row shows it.
fn search_one(client: &mut Client, filter: (&str, &str)) -> String {
    let answer = super::enhanced::search::search(client, &[filter], None);
    assert_eq!(answer.status(), StatusCode::OK);
    let rows = super::enhanced::search::rows(&answer);
    assert_eq!(rows.len(), 1, "{filter:?}: {rows:?}");
    rows[0].clone()
}

//= MS-PRES 3.1.1
//= type=test
//# users are looked up in a directory that speaks LDAP
//= MS-PRES 3.1.3
//= type=test
//# the directory is connected when the server starts: the first search has its answer
// proves: PRES-3.1.1-01 PRES-3.1.3-01 PRES-3.2.6.2-04
#[test]
fn an_ldap_server_says_who_is_a_user() {
    let Some(slapd) = slapd::start(slapd::PEOPLE) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let config = ldap_config(folder.path(), &slapd, "refresh_s = 1");
    let server = start(folder.path(), &config);
    assert_eq!(metric(&server, "directory_users"), 8, "in pages of three");
    assert_eq!(metric(&server, "directory_disabled"), 1);
    let mut alice = Client::sign_in(&server, "alice");
    let row = search_one(&mut alice, ("sn", "åström"));
    for part in [
        "uri=\"sip:erik@contoso.com\"",
        "displayName=\"Erik Åström\"",
        "title=\"Engineer\"",
        "office=\"112\"",
        "phone=\"+1 555 0104\"",
        "company=\"Contoso\"",
        "city=\"Somewhere\"",
        "email=\"erik@contoso.com\"",
    ] {
        assert!(row.contains(part), "{part}: {row}");
    }
    assert!(search_one(&mut alice, ("employeeNumber", "77")).contains("alice"));
    for stranger in ["frank", "nobody", "mallory"] {
        let (_, refused) = Client::register(&server, stranger, "");
        is_unknown(&refused, stranger);
    }
    let properties = &versions(&mut alice)[1];
    for part in [
        "facsimileTelephoneNumber \"+1 555 0199\"",
        "l \"Somewhere\"",
        "countryCode \"US\"",
    ] {
        assert!(properties.contains(part), "{part}: {properties}");
    }

    // What changes there is published anew, without a word of ours.
    let mut bob = Client::sign_in(&server, "bob");
    let (watching, _) = bob.watch(&["sip:alice@contoso.com"], &["contactCard"]);
    slapd.modify("dn: uid=alice,ou=people,dc=contoso,dc=com\nchangetype: modify\nreplace: displayName\ndisplayName: Alice Hargreaves\n");
    let told = text(bob.told(&watching).body());
    assert!(told.contains("Alice Hargreaves"), "{told}");
    slapd.modify("dn: uid=erik,ou=people,dc=contoso,dc=com\nchangetype: delete\n");
    wait_for("erik is gone", || metric(&server, "directory_users") == 7);
    is_unknown(&Client::register(&server, "erik", "").1, "who was deleted");

    // A server that is lost leaves what it said in force.
    drop(slapd);
    wait_for("failures are counted", || {
        metric(&server, "directory_refresh_failures") >= 2
    });
    assert_eq!(metric(&server, "directory_users"), 7);
    assert_eq!(
        Client::register(&server, "bob", "").1.status(),
        StatusCode::OK
    );
    assert!(search_one(&mut bob, ("givenName", "alice")).contains("Alice Hargreaves"));

    // With the copy a node starts without it.
    assert!(server.terminate());
    let again = start(folder.path(), &config);
    assert_eq!(metric(&again, "directory_users"), 7);
    assert_eq!(
        Client::register(&again, "bob", "").1.status(),
        StatusCode::OK
    );
}

#[test]
fn a_first_start_needs_the_ldap_server() {
    let Some(slapd) = slapd::start(slapd::PEOPLE) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let try_start = |config: &Path| {
        let data = folder.path().join("data");
        let more = [
            "--config",
            config.to_str().expect("a path"),
            "--domain",
            "contoso.com",
        ];
        Server::try_start(&data, "udp:127.0.0.1:0", "tcp:127.0.0.1:0", &more)
            .err()
            .expect("it does not start")
    };
    let last = |said: &str| said.lines().last().unwrap_or_default().to_owned();
    let config = ldap_config(folder.path(), &slapd, "filter = \"(uid=zoe)\"");
    assert!(
        last(&try_start(&config)).contains("holds no user of the domains"),
        "nobody"
    );
    let config = ldap_config(folder.path(), &slapd, "filter = \"(uid=zoe\"");
    assert!(
        last(&try_start(&config)).contains("filter parse error"),
        "filter"
    );
    let config = ldap_config(folder.path(), &slapd, "");
    fs::write(folder.path().join("secret"), "wrong\n").expect("written");
    let said = last(&try_start(&config));
    assert!(
        said.contains("refuses \"cn=reader,dc=contoso,dc=com\"")
            && said.contains("bind_password_file"),
        "{said}"
    );
    let config = ldap_config(folder.path(), &slapd, "");
    drop(slapd);
    let said = last(&try_start(&config));
    assert!(
        said.starts_with("lamplight: the LDAP server ldap://127.0.0.1:")
            && said.contains("cannot be reached"),
        "{said}"
    );
}

#[test]
fn an_ldap_server_is_spoken_to_under_tls() {
    let Some(slapd) = slapd::start(slapd::PEOPLE) else {
        return;
    };
    let other =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    for (name, url, start_tls) in [
        ("ldaps", slapd.tls_url(), false),
        (
            "StartTLS",
            slapd.url().replace("127.0.0.1", "localhost"),
            true,
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = slapd.certificate();
        let config = ldap_config(
            folder.path(),
            &slapd,
            &format!("ca = {ca:?}\nstart_tls = {start_tls}"),
        );
        let text = fs::read_to_string(&config).expect("there");
        fs::write(&config, text.replace(&slapd.url(), &url)).expect("written");
        let server = start(folder.path(), &config);
        assert_eq!(metric(&server, "directory_users"), 8, "{name}");
        drop(server);
        // Whom we have no reason to believe, we do not.
        let foreign = folder.path().join("other.pem");
        fs::write(&foreign, other.cert.pem()).expect("written");
        let text = fs::read_to_string(&config).expect("there");
        fs::write(
            &config,
            text.replace(
                ca.to_str().expect("a path"),
                foreign.to_str().expect("a path"),
            ),
        )
        .expect("written");
        let more = [
            "--config",
            config.to_str().expect("a path"),
            "--domain",
            "contoso.com",
        ];
        let fresh = folder.path().join("fresh");
        let said = Server::try_start(&fresh, "udp:127.0.0.1:0", "tcp:127.0.0.1:0", &more);
        let said = said.err().expect("it does not start");
        assert!(said.contains("cannot be reached"), "{name}: {said}");
    }
}
