//! Contacts that move to a mail server (MS-PRES 3.10, 4.14), with a real one: Radicale.
//!
//! It is found in the folder RADICALE_VENV names, in `target/radicale`, or as `python3 -m radicale`. Where it
//! is not, these tests are skipped and say what to install.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use transport::sip::{Request, Response, StatusCode};

use super::super::server::Server;
use super::client::{
    CONTACT_LINES, Client, Dialog, add_group, diagnostic, set_contact, somebody, text,
};
use super::tree;

/// How long a list may take to move.
const MOVE: Duration = Duration::from_secs(60);

/// The Python that has Radicale.
fn python() -> Option<PathBuf> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/radicale");
    let folder = std::env::var_os("RADICALE_VENV").map_or(PathBuf::from(own), PathBuf::from);
    for python in [folder.join("bin/python"), PathBuf::from("python3")] {
        let version = Command::new(&python)
            .args(["-m", "radicale", "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if version.is_ok_and(|status| status.success()) {
            return Some(python);
        }
    }
    eprintln!(
        "skipped: there is no Radicale; python3 -m venv target/radicale && target/radicale/bin/pip install radicale"
    );
    None
}

/// A mail server, as far as contacts go.
pub struct Radicale {
    python: PathBuf,
    folder: tempfile::TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl Radicale {
    pub fn start() -> Option<Radicale> {
        let python = python()?;
        let folder = tempfile::tempdir().expect("a folder");
        // The port is free now, and nobody else of these tests is given it again.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let at = folder.path().display();
        std::fs::write(
            folder.path().join("config"),
            format!(
                "[server]\nhosts = {address}\n[auth]\ntype = htpasswd\nhtpasswd_filename = {at}/users\n\
                 htpasswd_encryption = plain\ndelay = 0\n[storage]\nfilesystem_folder = {at}/data\n"
            ),
        )
        .expect("written");
        // It does not start without the file.
        std::fs::write(folder.path().join("users"), "nobody:x\n").expect("written");
        let mut radicale = Radicale {
            python,
            folder,
            address,
            child: None,
        };
        radicale.run();
        Some(radicale)
    }

    /// Where it listens, and the folder that its settings are in.
    pub fn place(&self) -> (SocketAddr, &Path) {
        (self.address, self.folder.path())
    }

    /// Lets these users in.
    pub fn let_in(&self, users: &[&str]) {
        let lines: String = users
            .iter()
            .map(|user| format!("{user}:secret\n"))
            .collect();
        std::fs::write(self.folder.path().join("users"), lines).expect("written");
    }

    /// Lets a user in, and writes the settings of a node that moves its contacts here.
    pub fn settings(&self, user: &str, mode: &str) -> PathBuf {
        let folder = self.folder.path();
        self.let_in(&[user]);
        std::fs::write(folder.join("logins"), "*:{user}:secret\n").expect("written");
        let path = folder.join("node.toml");
        let text = format!(
            "[contact_store]\nmode = \"{mode}\"\nurl = \"http://{}/{{user}}/contacts/\"\n\
             credentials = \"{}/logins\"\nrefresh = 1\n",
            self.address,
            folder.display()
        );
        std::fs::write(&path, text).expect("written");
        path
    }

    pub fn run(&mut self) {
        let child = Command::new(&self.python)
            .args(["-m", "radicale", "--config"])
            .arg(self.folder.path().join("config"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("it runs"));
        let until = Instant::now() + MOVE;
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < until, "Radicale does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The cards that a user has there: name and text.
    fn cards(&self, user: &str) -> Vec<(String, String)> {
        let book = self.book(user);
        let files = std::fs::read_dir(book).map(|read| read.flatten().collect::<Vec<_>>());
        let mut cards: Vec<(String, String)> = files
            .unwrap_or_default()
            .iter()
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "vcf"))
            .map(|path| {
                let name = path
                    .file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned();
                (name, std::fs::read_to_string(path).expect("a card"))
            })
            .collect();
        cards.sort();
        cards
    }

    fn book(&self, user: &str) -> PathBuf {
        let root = self.folder.path().join("data/collection-root");
        root.join(user).join("contacts")
    }

    /// A request as a mail program makes it.
    fn ask(&self, user: &str, method: &str, name: &str, body: &str) {
        let path = format!("contacts/{name}");
        self.send(user, method, &path, "text/vcard; charset=utf-8", body);
    }

    /// The same about anything that a user has there.
    pub fn send(&self, user: &str, method: &str, path: &str, media: &str, body: &str) {
        use base64::Engine as _;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:secret"));
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(
            stream,
            "{method} /{user}/{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {login}\r\n\
             Content-Type: {media}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "{method} {path}: {answer}");
    }
}

impl Drop for Radicale {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A node with these settings.
pub fn start(data: &Path, settings: &Path) -> Server {
    let settings = settings.to_str().expect("a path");
    super::client::server(data, &["--config", settings])
}

/// Asks an operator's question, or gives an order.
fn operate(server: &Server, method: &str, user: &str, order: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.admin).expect("the admin listener answers");
    let path = format!("/presentity/sip:{user}@contoso.com/contacts{order}");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), answer)
}

/// Waits until the operator is told that the list is kept so.
fn wait_until(server: &Server, user: &str, custody: &str) {
    let until = Instant::now() + MOVE;
    loop {
        let (_, answer) = operate(server, "GET", user, "");
        if answer.contains(&format!("\"custody\":\"{custody}\"")) {
            return;
        }
        assert!(Instant::now() < until, "not {custody} in time: {answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A list of so many contacts in ten groups of their own; half are in a second one.
pub fn fill(client: &mut Client, contacts: u32) {
    for number in 1..=10 {
        let answer =
            client.change_contacts(&add_group(&format!("Gruppe {number}, täglich"), number));
        assert_eq!(answer.status(), StatusCode::OK);
    }
    for number in 0..contacts {
        let first = 2 + number % 10;
        let groups = match number % 2 {
            0 => format!("{first}"),
            _ => format!("1 {first} {}", 2 + (number + 3) % 10),
        };
        let name = format!("Freund; {number}");
        let call = set_contact(
            &format!("friend{number}@contoso.com"),
            &name,
            &groups,
            11 + number,
        );
        let call = if number % 7 == 0 {
            let more = format!(
                "<m:contactExtension><contactSettings contactId=\"{number}\">é, ;</contactSettings></m:contactExtension></m:setContact>"
            );
            call.replace("</m:setContact>", &more)
        } else {
            call
        };
        assert_eq!(
            client.change_contacts(&call).status(),
            StatusCode::OK,
            "{number}"
        );
    }
}

/// A list without its number and mode, its contacts in one order.
fn content(document: &str) -> (Vec<String>, Vec<String>) {
    (
        tree::elements(document, "group", &[]),
        tree::elements(document, "contact", &[]),
    )
}

fn shown(answer: &Response) -> (Vec<String>, Vec<String>) {
    assert_eq!(answer.status(), StatusCode::OK);
    content(&text(answer.body()))
}

/// The header of a notification that every endpoint reads first.
fn state(notice: &Request) -> String {
    let line = notice.header(transport::sip::Name::SubscriptionState);
    line.unwrap_or_default().to_owned()
}

//= MS-PRES 4.14.2
//= type=test
//= MS-PRES 4.14.3.1
//= type=test
//= MS-PRES 1.3.5
//= type=test
//= MS-PRES 3.10.4
//= type=test
//= RFC 6352 6.3.1
//= type=test
//= RFC 6352 8.7
//= type=test
// proves: PRES-3.10.4-01 PRES-3.10.4-02 PRES-3.10.4-03 PRES-3.10.4-04 PRES-3.10.4-05 PRES-3.10.4-06
// proves: PRES-3.10.4-07 PRES-1.3.5-01 PRES-1.3.5-02
#[test]
fn a_list_moves_when_its_client_is_ready() {
    let Some(mut radicale) = Radicale::start() else {
        return;
    };
    let user = somebody("bob");
    let settings = radicale.settings(&user, "allowed");
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), &settings);
    let mut bob = Client::sign_in(&server, &user);
    fill(&mut bob, 20);
    let mut desk = Client::sign_in(&server, &user);
    let (desks, plain) = desk.watch_contacts("");
    let before = shown(&plain);
    // Nobody can move it as long as the mail server is away, so that what is between can be seen.
    radicale.kill();
    let (own, ready) = bob.watch_contacts("Supported: ms-ucs\r\nSupported: ms-ucs-ready\r\n");
    assert_eq!(shown(&ready), before);
    let mode = |answer: &[u8]| tree::attributes(&text(answer), "contactList", "ucsMode");
    assert_eq!(mode(ready.body()), ["allowed"]);
    wait_until(&server, &user, "migrating");
    let mut third = Client::sign_in(&server, &user);
    let (thirds, between) = third.watch_contacts("Supported: ms-ucs\r\n");
    assert_eq!(mode(between.body()), ["migrating"]);
    for call in [
        set_contact("late@contoso.com", "", "1", 31),
        add_group("Late", 31),
        set_contact("friend0@contoso.com", "", "1", 1),
    ] {
        let answer = bob.change_contacts(&call);
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(diagnostic(&answer), Some(4000));
    }
    radicale.run();
    wait_until(&server, &user, "migrated");
    for (client, dialog) in [(&mut bob, &own), (&mut desk, &desks), (&mut third, &thirds)] {
        let end = client.told(dialog);
        assert_eq!(end.method().as_str(), "BENOTIFY");
        assert_eq!(state(&end), "terminated;expires=0");
        assert_eq!(end.header(transport::sip::Name::Expires), Some("0"));
        assert_eq!(
            end.other_headers("ms-diagnostics-public")
                .collect::<Vec<_>>(),
            [
                "2186;reason=\"Contact subscription has been terminated as the user migrated to ucs mode.\""
            ]
        );
        assert_eq!(mode(end.body()), ["migrated"]);
        assert_eq!(content(&text(end.body())), before);
        assert!(client.rest(dialog).is_empty(), "and nothing more");
    }
    assert_eq!(radicale.cards(&user).len(), 20);
    for expires in [3_600, 0] {
        let mut dialog = Dialog::new("vnd-microsoft-roaming-contacts", &bob.uri);
        let lines = format!("{CONTACT_LINES}Supported: ms-ucs\r\n");
        let refused = bob.subscribe(&mut dialog, Some(expires), &lines, "", "");
        assert_eq!(refused.status().number(), 488, "for {expires} s");
        assert_eq!(diagnostic(&refused), Some(2165));
        let line = refused
            .other_headers("ms-diagnostics")
            .next()
            .expect("there");
        assert!(line.contains("reason=\"Contact subscription is not allowed as the user's contact list has migrated to Exchange.\""), "{line}");
        assert!(refused.body().is_empty());
    }
    let (_, proxied) = desk.watch_contacts("");
    assert_eq!(
        shown(&proxied),
        before,
        "who does not know the way is shown the list"
    );
    assert!(mode(proxied.body()).is_empty());
    let answer = desk.change_contacts(&add_group("Late", 31));
    assert_eq!(
        answer.status(),
        StatusCode::FORBIDDEN,
        "and cannot change it"
    );
}

//= RFC 6352 6.3
//= type=test
//= MS-PRES 3.10.4
//= type=test
#[test]
fn what_changes_at_the_mail_server_is_shown_here() {
    let Some(radicale) = Radicale::start() else {
        return;
    };
    let user = somebody("bob");
    let settings = radicale.settings(&user, "allowed");
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), &settings);
    let mut bob = Client::sign_in(&server, &user);
    fill(&mut bob, 20);
    assert_eq!(operate(&server, "POST", &user, "/migrate").0, 200);
    wait_until(&server, &user, "migrated");
    let (own, first) = bob.watch_contacts("");
    let before = shown(&first);

    let cards = radicale.cards(&user);
    let (name, card) = cards
        .iter()
        .find(|(_, card)| card.contains("sip:friend4@contoso.com"))
        .expect("the card of friend4");
    let edited = card.replace("FN:Freund\\; 4", "FN:Der vierte");
    assert_ne!(&edited, card);
    radicale.ask(&user, "PUT", name, &edited);
    let step = text(bob.told(&own).body());
    assert_eq!(
        tree::attributes(&step, "modifiedContact", "name"),
        ["Der vierte"]
    );
    assert_eq!(
        tree::attributes(&step, "modifiedContact", "uri"),
        ["sip:friend4@contoso.com"]
    );
    assert_eq!(tree::attributes(&step, "modifiedContact", "groups"), ["6"]);

    let fresh = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:carol\r\nFN:Carol\r\nN:Carol;;;;\r\nIMPP:sip:carol@contoso.com\r\nCATEGORIES:Neu\r\nEND:VCARD\r\n";
    radicale.ask(&user, "PUT", "carol.vcf", fresh);
    let group = text(bob.told(&own).body());
    assert_eq!(tree::attributes(&group, "addedGroup", "name"), ["Neu"]);
    let id = tree::attributes(&group, "addedGroup", "id");
    let added = text(bob.told(&own).body());
    assert_eq!(
        tree::attributes(&added, "addedContact", "uri"),
        ["sip:carol@contoso.com"]
    );
    assert_eq!(tree::attributes(&added, "addedContact", "groups"), id);
    radicale.ask(&user, "DELETE", "carol.vcf", "");
    let gone = text(bob.told(&own).body());
    assert_eq!(
        tree::attributes(&gone, "deletedContact", "uri"),
        ["sip:carol@contoso.com"]
    );
    let gone = text(bob.told(&own).body());
    assert_eq!(tree::attributes(&gone, "deletedGroup", "id"), id);

    // Many at once are told as the list.
    for (name, card) in &cards[..12] {
        let edited = card.replace("FN:Freund", "FN:Freundin");
        radicale.ask(&user, "PUT", name, &edited);
    }
    let until = Instant::now() + MOVE;
    let mut named = 0;
    while named < 12 {
        assert!(Instant::now() < until);
        bob.told(&own);
        let mut other = Client::sign_in(&server, &user);
        let (_, list) = other.watch_contacts("");
        named = text(list.body()).matches("name=\"Freundin").count();
    }

    // Home: as it is at the mail server, for good.
    assert_eq!(operate(&server, "POST", &user, "/return").0, 200);
    wait_until(&server, &user, "kept");
    let mut desk = Client::sign_in(&server, &user);
    let (_, home) = desk.watch_contacts("Supported: ms-ucs\r\nSupported: ms-ucs-ready\r\n");
    let body = text(home.body());
    assert_eq!(
        tree::attributes(&body, "contactList", "ucsMode"),
        ["disabled"],
        "the operator blocked it"
    );
    let after = content(&body);
    assert_eq!(after.0, before.0, "the groups are as they were");
    let number: u32 = tree::attributes(&body, "contactList", "deltaNum")[0]
        .parse()
        .expect("a number");
    assert_eq!(
        desk.change_contacts(&add_group("Late", number)).status(),
        StatusCode::OK
    );
    std::thread::sleep(Duration::from_millis(1_000));
    assert!(
        operate(&server, "GET", &user, "")
            .1
            .contains("\"custody\":\"kept\"")
    );

    // And there again: what was removed meanwhile is removed there, too.
    let call = format!(
        "<m:deleteContact><m:URI>friend4@contoso.com</m:URI><m:deltaNum>{}</m:deltaNum></m:deleteContact>",
        number + 1
    );
    assert_eq!(desk.change_contacts(&call).status(), StatusCode::OK);
    assert_eq!(operate(&server, "POST", &user, "/migrate").0, 200);
    wait_until(&server, &user, "migrated");
    let cards = radicale.cards(&user);
    assert_eq!(cards.len(), 19);
    assert!(!cards.iter().any(|(_, card)| card.contains("friend4@")));
}

/// Waits until some cards are there, and not all.
fn wait_for_the_middle(radicale: &Radicale, user: &str, at_least: usize) {
    let until = Instant::now() + MOVE;
    while radicale.cards(user).len() < at_least {
        assert!(Instant::now() < until, "nothing moves");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn either_side_may_die_in_the_middle() {
    let Some(mut radicale) = Radicale::start() else {
        return;
    };
    let user = somebody("bob");
    let settings = radicale.settings(&user, "migrate");
    let data = tempfile::tempdir().expect("a folder");
    let quiet = data.path().join("node.toml");
    std::fs::write(&quiet, "").expect("written");
    let server = start(&data.path().join("node"), &quiet);
    let mut bob = Client::sign_in(&server, &user);
    fill(&mut bob, 200);
    let (_, first) = bob.watch_contacts("");
    let before = shown(&first);
    assert_eq!((before.0.len(), before.1.len()), (11, 200));
    assert_eq!(
        operate(&server, "POST", &user, "/migrate").0,
        409,
        "there is no store yet"
    );
    server.kill();

    // Everybody's list moves; the first that dies is the mail server.
    let server = start(&data.path().join("node"), &settings);
    wait_for_the_middle(&radicale, &user, 20);
    radicale.kill();
    let some = radicale.cards(&user).len();
    assert!(
        (20..200).contains(&some),
        "{some} cards: it was in the middle"
    );
    assert!(
        operate(&server, "GET", &user, "")
            .1
            .contains("\"custody\":\"migrating\"")
    );
    let mut bob = Client::sign_in(&server, &user);
    let answer = bob.change_contacts(&set_contact("late@contoso.com", "", "1", 211));
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    radicale.run();
    wait_for_the_middle(&radicale, &user, some + 20);
    // The second is the node.
    server.kill();
    let some = radicale.cards(&user).len();
    assert!(some < 200, "{some} cards: it was in the middle");
    let server = start(&data.path().join("node"), &settings);
    wait_until(&server, &user, "migrated");
    let cards = radicale.cards(&user);
    assert_eq!(cards.len(), 200, "nothing lost, nothing doubled");
    for number in 0..200 {
        let address = format!("IMPP:sip:friend{number}@contoso.com");
        let of = cards
            .iter()
            .filter(|(_, card)| card.lines().any(|line| line == address));
        assert_eq!(of.count(), 1, "{address}");
    }
    let mut bob = Client::sign_in(&server, &user);
    let (_, proxied) = bob.watch_contacts("");
    assert_eq!(shown(&proxied), before);
    let (_, metrics) = server.get("/metrics");
    assert!(
        metrics.contains("lamplight_contact_lists_migrated_total{} 1"),
        "{metrics}"
    );

    // Home again with the mail server dead: as we last saw it.
    radicale.kill();
    assert_eq!(operate(&server, "POST", &user, "/return").0, 200);
    std::thread::sleep(Duration::from_millis(1_000));
    let (_, answer) = operate(&server, "GET", &user, "");
    assert!(
        answer.contains("\"custody\":\"returning\"") && answer.contains("cannot be reached"),
        "{answer}"
    );
    assert_eq!(operate(&server, "POST", &user, "/return?from=copy").0, 200);
    wait_until(&server, &user, "kept");
    let mut desk = Client::sign_in(&server, &user);
    let (_, home) = desk.watch_contacts("");
    assert_eq!(shown(&home), before);
    assert_eq!(
        desk.change_contacts(&add_group("Late", 211)).status(),
        StatusCode::OK
    );
}
