//! The printed messages of containers, subscriber list and delegates (MS-PRES 2.2.2.5, 2.2.2.6, 2.2.2.10, 4.8.1,
//! 4.9.1, 4.12.1) replayed: the request as it is printed, the answer and the notification compared as XML.
//!
//! The vectors are kept beside the project; without them the test says so and passes. A request is sent byte
//! for byte; on each vector's own server, because all of them are bob's.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use transport::sip::{Message, Name, Response, StatusCode};

use super::super::server::Server;
use super::client::{Client, Dialog, server, text};
use super::tree;

/// The folder of vectors: `LAMPLIGHT_SHARED`, or `shared` beside the workspace.
fn folder() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let shared = match std::env::var_os("LAMPLIGHT_SHARED") {
        Some(shared) => PathBuf::from(shared),
        None => workspace.parent()?.join("shared"),
    };
    let vectors = shared.join("spec/vectors");
    if !vectors.is_dir() {
        eprintln!("skipped: no vectors in {}", vectors.display());
        return None;
    }
    Some(vectors)
}

/// A message as it is printed.
fn printed(folder: &Path, name: &str) -> Vec<u8> {
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Bob's endpoint, and one of its self subscriptions.
struct Bob {
    client: Client,
    own: Dialog,
}

impl Bob {
    /// Signs in; `john` and `alice` are known from the first request that names them.
    fn sign_in(server: &Server, roaming: &str) -> Bob {
        let mut client = Client::sign_in(server, "bob");
        let (own, answer) = client.watch_self(&[roaming]);
        assert_eq!(answer.status(), StatusCode::OK);
        Bob { client, own }
    }

    /// Sends a printed request as it is.
    fn say(&mut self, message: &[u8]) -> Response {
        self.client.phone.send(message);
        self.client.phone.response()
    }

    /// Raises the delegates' version to `version` by adding and removing.
    fn raise_delegates(&mut self, version: u32) {
        for step in 0..version {
            let action = if step % 2 == 0 { "add" } else { "remove" };
            let body = format!(
                "<setDelegates xmlns=\"http://schemas.microsoft.com/2007/09/sip/delegate-management\" version=\"{step}\">\
                 <delegate uri=\"sip:john@contoso.com\" action=\"{action}\"/></setDelegates>"
            );
            let answer = self
                .client
                .service("application/msrtc-setDelegate+xml", &body);
            assert_eq!(answer.status(), StatusCode::OK, "{step}");
            self.client.told(&self.own);
        }
    }

    /// Lets `user` watch with an empty context.
    fn is_watched(&mut self, server: &Server, user: &str) {
        let uri = self.client.uri.clone();
        let mut watcher = Client::sign_in(server, user);
        let (_, answer) = watcher.watch_one(&uri, &["state"], "", "<context/>");
        assert_eq!(answer.status(), StatusCode::OK);
        self.client.told(&self.own);
    }
}

/// What comes before a request, by the file's preconditions.
type Before = fn(&mut Bob, &Server);

/// Request, roaming data watched, what comes before it, the printed answer and notification.
type Case = (
    &'static str,
    &'static str,
    Before,
    Option<&'static str>,
    Option<&'static str>,
);

/// Compares a body with the printed one: nothing of these documents varies but what `index.tsv` names in heads.
fn same(name: &str, ours: &[u8], theirs: &[u8]) {
    match (ours.is_empty(), theirs.is_empty()) {
        (true, true) => {}
        (false, false) => {
            assert_eq!(
                tree::canonical(&text(ours), &[]),
                tree::canonical(&text(theirs), &[]),
                "{name}"
            );
        }
        _ => panic!(
            "{name}: {:?} where {:?} is printed",
            text(ours),
            text(theirs)
        ),
    }
}

//= MS-PRES 4.8.1
//= type=test
//= MS-PRES 4.9.1
//= type=test
//= MS-PRES 4.12.1
//= type=test
// proves: PRES-2.2.2.5.2-06 PRES-2.2.2.6.2-06 PRES-2.2.2.10.3-01 PRES-3.5.5.2-17 PRES-3.6.5.1-03 PRES-3.6.5.2-01
// proves: PRES-3.9.5.2-13 PRES-3.9.5.3-01
#[test]
fn the_printed_messages_are_answered_and_told_as_printed() {
    let Some(folder) = folder() else { return };
    let nothing: Before = |_, _| {};
    let cases: [Case; 6] = [
        (
            "2.2.2.5.2-set-container-member.request.sip",
            "containers",
            nothing,
            None,
            None,
        ),
        (
            "2.2.2.6.2-set-subscriber.request.sip",
            "subscribers",
            |bob, server| bob.is_watched(server, "john"),
            None,
            None,
        ),
        (
            "2.2.2.10.2-set-delegate.request.sip",
            "delegates",
            |bob, _| bob.raise_delegates(1),
            Some("2.2.2.10.3-set-delegate.200.sip"),
            None,
        ),
        (
            "4.8.1-set-subscriber.request.sip",
            "subscribers",
            |bob, server| bob.is_watched(server, "alice"),
            Some("4.8.1-set-subscriber.200.sip"),
            Some("4.8.1-set-subscriber.benotify.sip"),
        ),
        (
            "4.9.1-add-member.request.sip",
            "containers",
            nothing,
            Some("4.9.1-add-member.200.sip"),
            Some("4.9.1-add-member.benotify.sip"),
        ),
        (
            "4.12.1-add-delegate.request.sip",
            "delegates",
            |bob, _| bob.raise_delegates(3),
            Some("4.12.1-add-delegate.200.sip"),
            Some("4.12.1-add-delegate.benotify.sip"),
        ),
    ];
    for (request, roaming, before, answer, notification) in cases {
        let data = tempfile::tempdir().expect("a folder");
        let server = server(data.path(), &[]);
        let mut bob = Bob::sign_in(&server, roaming);
        before(&mut bob, &server);
        let message = printed(&folder, request);
        let response = bob.say(&message);
        assert_eq!(response.status(), StatusCode::OK, "{request}");
        let told = bob.client.told(&bob.own);
        assert_eq!(told.method().as_str(), "BENOTIFY", "{request}");
        if let Some(name) = answer {
            let Ok(Message::Response(theirs)) = Message::parse(Bytes::from(printed(&folder, name)))
            else {
                panic!("{name} is a response")
            };
            assert_eq!(response.status(), theirs.status(), "{name}");
            assert_eq!(response.call_id(), theirs.call_id(), "{name}");
            assert_eq!(response.cseq(), theirs.cseq(), "{name}");
            assert_eq!(
                response.header(Name::ContentType),
                theirs.header(Name::ContentType),
                "{name}"
            );
            same(name, response.body(), theirs.body());
        }
        if let Some(name) = notification {
            let Ok(Message::Request(theirs)) = Message::parse(Bytes::from(printed(&folder, name)))
            else {
                panic!("{name} is a request")
            };
            for header in [Name::ContentType, Name::Event, Name::Require] {
                assert_eq!(told.header(header), theirs.header(header), "{name}");
            }
            same(name, told.body(), theirs.body());
        }
    }
}

//= MS-PRES 2.2.2.5.1
//= type=test
//= MS-PRES 2.2.2.6.1
//= type=test
//= MS-PRES 2.2.2.10.1
//= type=test
// proves: PRES-2.2.2.5.1-02 PRES-2.2.2.6.1-02 PRES-2.2.2.10.1-01
#[test]
fn the_printed_documents_are_written_as_printed() {
    let Some(folder) = folder() else { return };
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), &[]);
    let mut john = Client::sign_in(&server, "john");
    let own = |client: &mut Client, roaming: &str| {
        let (_, answer) = client.watch_self(&[roaming]);
        text(answer.body())
    };
    let containers = "<container id=\"100\" version=\"0\"><member type=\"federated\"/></container>\
        <container id=\"200\" version=\"0\"><member type=\"sameEnterprise\"/></container>";
    assert_eq!(john.set_members(containers).status(), StatusCode::OK);
    let ours = own(&mut john, "containers");
    let theirs = text(&printed(&folder, "bodies/2.2.2.5.1-containers.xml"));
    for element in tree::elements(&theirs, "container", &[]) {
        assert!(
            tree::elements(&ours, "container", &[]).contains(&element),
            "{ours}"
        );
    }
    let mut bob = Client::sign_in(&server, "bob");
    bob.name = "Bob".to_owned();
    let uri = john.uri.clone();
    bob.watch_one(&uri, &["state"], "", "<context/>");
    let ours = own(&mut john, "subscribers");
    let theirs = text(&printed(&folder, "bodies/2.2.2.6.1-subscribers.xml"));
    assert_eq!(
        tree::elements(&ours, "subscribers", &[]),
        tree::elements(&theirs, "subscribers", &[])
    );
    let mut bob = Bob::sign_in(&server, "delegates");
    bob.raise_delegates(1);
    let modify = "<setDelegates xmlns=\"http://schemas.microsoft.com/2007/09/sip/delegate-management\" version=\"1\">\
        <delegate uri=\"sip:john@contoso.com\" action=\"modify\"/></setDelegates>";
    let answer = bob
        .client
        .service("application/msrtc-setDelegate+xml", modify);
    let theirs = text(&printed(&folder, "bodies/2.2.2.10.1-delegates.xml"));
    assert_eq!(
        tree::elements(&text(answer.body()), "delegates", &[]),
        tree::elements(&theirs, "delegates", &[])
    );
}
