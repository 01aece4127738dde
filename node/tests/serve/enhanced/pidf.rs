//! Watchers and publishers of PIDF beside enhanced presence (MS-PRES 2.2.2.8, 3.7).

use std::path::Path;
use std::time::Duration;

use transport::sip::{Name, Response, StatusCode};

use super::super::phone::{Phone, fresh};
use super::super::server::Server;
use super::client::{Client, publication, server, shared, somebody, text};
use super::tree;
use super::viewer::{FEDERATED, PIDF, Viewer, activity, device, state};

const PIDF_TYPE: &str = "application/pidf+xml";
const OPEN: &str = "<basic>open</basic>";
const CLOSED: &str = "<basic>closed</basic>";

/// The instance of one's own state that tests set again and again.
const MANUAL: u32 = 0x2000_0000;

/// Signed in, with an active device, seen by everybody of the enterprise in container 200 and by other
/// deployments in 100.
pub fn present(server: &Server, user: &str) -> Client {
    let mut client = Client::sign_in(server, user);
    let device = device(3_500);
    let publish: String = [2, 3]
        .map(|container| publication("state", 7, container, 0, "expireType=\"endpoint\"", &device))
        .concat();
    assert_eq!(client.publish(&publish).status(), StatusCode::OK);
    let member = |id: u16, kind: &str| {
        format!(
            "<container id=\"{id}\" version=\"0\"><member action=\"add\" type=\"{kind}\"/></container>"
        )
    };
    let members = member(200, "sameEnterprise") + &member(100, "federated");
    assert_eq!(client.set_members(&members).status(), StatusCode::OK);
    client
}

/// Sets one's own state by hand; `version` is the one before.
pub fn set_state(client: &mut Client, version: u32, availability: u32, more: &str) {
    let state = state("userState", availability, more);
    let both: String = [2, 3]
        .map(|container| {
            let life = "expireType=\"static\"";
            publication("state", MANUAL, container, version, life, &state)
        })
        .concat();
    let answer = client.publish(&both);
    assert_eq!(answer.status(), StatusCode::OK, "{}", text(answer.body()));
}

/// PUBLISH of a PIDF document, as standard telephones do it.
fn publish_pidf(phone: &mut Phone, uri: &str, lines: &str, body: &str) -> Response {
    let call_id = format!("pub-{}", fresh());
    let head = phone.head("PUBLISH", uri, uri, &format!("<{uri}>"), &call_id, 1);
    let lines = format!("Event: presence\r\nContent-Type: application/pidf+xml\r\n{lines}");
    phone.ask(head, &lines, body)
}

fn document(uri: &str, basic: &str, person: &str) -> String {
    format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"{uri}\"><tuple id=\"t1\"><status><basic>{basic}</basic>\
         </status></tuple>{person}</presence>"
    )
}

/// The document that 2.2.2.8.1 prints, for this user and these two words; the activity may be missing.
fn printed(user: &str, basic: &str, activity: &str, more: &str) -> String {
    let activities = if activity.is_empty() {
        String::new()
    } else {
        format!("<ep:activities><ep:activity>{activity}</ep:activity></ep:activities>")
    };
    let document = format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:ep=\"urn:ietf:params:xml:ns:pidf:status:rpid-status\" \
         xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\" entity=\"sip:{user}@contoso.com\"><tuple id=\"0\"><status>\
         <basic>{basic}</basic>{activities}</status></tuple>{more}<ci:display-name>{user}</ci:display-name></presence>"
    );
    tree::canonical(&document, &[])
}

//= MS-PRES 2.2.2.8.1
//= type=test
//# one tuple with basic and activity, and the display name; a NOTIFY in the dialog of the SUBSCRIBE
//= MS-PRES 3.7.5.4
//= type=test
//# a NOTIFY follows the subscription
// proves: PRES-2.2.2.8-01 PRES-2.2.2.8-03 PRES-2.2.2.8.1-02 PRES-2.2.2.8.1-04 PRES-2.2.2.8.1-05
// proves: PRES-2.2.2.8.2-01 PRES-3.7.1-01 PRES-3.7.5.1-01 PRES-3.7.5.4-01 PRES-3.7.5.4-02
// proves: PRES-3.7.5.4-11 PRES-1.3.3-02
#[test]
fn another_deployment_watches_in_pidf() {
    let user = somebody("bob");
    let mut bob = present(shared(), &user);
    set_state(&mut bob, 0, 15_500, "");
    let alice = "sip:alice@fabrikam.com";
    let mut viewer = Viewer::new(shared(), alice, &bob.uri, &format!("{FEDERATED}{PIDF}"));
    let answer = viewer.subscribe(600);
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.body().is_empty(), "the document is in the NOTIFY");
    assert_eq!(answer.header(Name::Expires), Some("600"));

    let told = viewer.told();
    assert_eq!(told.method().as_str(), "NOTIFY");
    assert_eq!(told.from().uri, bob.uri, "From is the publisher");
    assert_eq!(told.to().uri, alice, "To is the subscriber");
    assert_eq!(Some(told.from_tag()), viewer.to_tag.as_deref());
    assert_eq!(told.header(Name::Event), Some("presence"));
    assert_eq!(told.header(Name::ContentType), Some(PIDF_TYPE));
    let state = told.header(Name::SubscriptionState).unwrap_or_default();
    assert!(state.starts_with("active;expires="), "{state}");
    assert_eq!(
        told.header(Name::MsEdgeProxyMessageTrust),
        Some("ms-remote-fqdn=contoso.com")
    );
    assert_eq!(
        tree::canonical(&text(told.body()), &[]),
        printed(&user, "open", "away", "")
    );
}

//= MS-PRES 3.7.5.1
//= type=test
//# told whenever legacyInterop of its container changes; the document is made of it
//= MS-PRES 3.7.5.4
//= type=test
//# open or closed and the activity, by availability and token
// proves: PRES-3.7.1-02 PRES-3.7.5.1-03 PRES-3.7.5.1-04 PRES-3.7.5.4-04 PRES-3.7.5.4-06
// proves: PRES-3.7.5.4-08 PRES-3.7.5.4-09 PRES-3.7.5.4-10
#[test]
fn the_document_follows_what_is_published() {
    let user = somebody("bob");
    let mut bob = present(shared(), &user);
    let carol = format!("sip:{}@contoso.com", somebody("carol"));
    let lines = format!("{PIDF}User-Agent: LCC/1.3\r\n");
    let mut viewer = Viewer::watching(shared(), &carol, &bob.uri, &lines);
    let first = tree::canonical(&viewer.shown(), &[]);
    assert_eq!(first, printed(&user, "open", "", ""), "3500");

    for (version, (availability, token, basic, doing)) in (0..).zip([
        (6_500, "", "open", "busy"),
        (6_500, "on-the-phone", "open", "on-the-phone"),
        (9_500, "", "open", "busy"),
        (12_500, "", "open", "away"),
        (15_500, "", "open", "away"),
        (18_500, "", "closed", ""),
        (3_500, "", "open", ""),
    ]) {
        let more = if token.is_empty() {
            String::new()
        } else {
            activity(token)
        };
        set_state(&mut bob, version, availability, &more);
        assert_eq!(
            tree::canonical(&viewer.shown(), &[]),
            printed(&user, basic, doing, ""),
            "{availability} {token}"
        );
    }
    // What is not in legacyInterop is nobody's business here.
    let note = super::client::note("until five");
    let note = publication("note", 0, 200, 0, "expireType=\"static\"", &note);
    assert_eq!(bob.publish(&note).status(), StatusCode::OK);
    assert!(viewer.is_left_alone());

    // The last endpoint leaves, and its device with it.
    assert_eq!(bob.renew(0, "").status(), StatusCode::OK);
    assert_eq!(
        tree::canonical(&viewer.shown(), &[]),
        printed(&user, "closed", "", ""),
        "signed out"
    );
}

//= MS-PRES 3.7.5.1
//= type=test
//# resolved to a container as for legacyInterop
// proves: PRES-3.7.5.1-02
#[test]
fn each_watcher_sees_its_container() {
    let mut bob = present(shared(), &somebody("bob"));
    set_state(&mut bob, 0, 6_500, &activity("on-the-phone"));
    let person = |name: &str| format!("{}@contoso.com", somebody(name));
    let (public, team, blocked) = (person("carol"), person("dave"), person("mallory"));
    let member = |id: u16, version: u32, address: &str| {
        format!(
            "<container id=\"{id}\" version=\"{version}\"><member action=\"add\" type=\"user\" value=\"{address}\"/></container>"
        )
    };
    let members = member(100, 1, &public) + &member(300, 0, &team) + &member(32_000, 0, &blocked);
    assert_eq!(bob.set_members(&members).status(), StatusCode::OK);
    let see = |address: &str| {
        let own = format!("sip:{address}");
        Viewer::watching(shared(), &own, &bob.uri, PIDF)
    };
    let mut viewers = [see(&public), see(&team), see(&blocked)];
    for (viewer, (basic, doing)) in viewers.iter_mut().zip([
        // Container 100 has the availability only.
        (OPEN, Some("<rpid:busy/>")),
        (OPEN, Some("<rpid:on-the-phone/>")),
        (CLOSED, None),
    ]) {
        let shown = viewer.shown();
        assert!(shown.contains(basic), "{shown}");
        match doing {
            Some(doing) => assert!(shown.contains(doing), "{shown}"),
            None => assert!(!shown.contains("activities"), "{shown}"),
        }
    }
    // Who is moved to another container is told what is seen there.
    let [_, mut moved, mut blocked] = viewers;
    let team = team.as_str();
    let out = format!(
        "<container id=\"300\" version=\"1\"><member action=\"remove\" type=\"user\" value=\"{team}\"/></container>"
    );
    let members = out + &member(32_000, 1, team);
    assert_eq!(bob.set_members(&members).status(), StatusCode::OK);
    assert!(moved.shown().contains(CLOSED));
    assert!(blocked.is_left_alone());
}

//= MS-PRES 2.2.2.8.1
//= type=test
//# Event presence, Accept with PIDF, no Require
// proves: PRES-2.2.2.8.1-01 PRES-2.2.2.8.1-03
#[test]
fn what_is_no_subscription_in_pidf_is_refused() {
    let bob = present(shared(), &somebody("bob"));
    let carol = format!("sip:{}@contoso.com", somebody("carol"));
    for (lines, status, header) in [
        (
            "Accept: text/plain\r\n",
            406,
            Some((Name::Accept, PIDF_TYPE)),
        ),
        (
            "Accept: application/pidf+xml\r\nRequire: x-mind-reading\r\n",
            420,
            Some((Name::Unsupported, "x-mind-reading")),
        ),
        ("Accept: application/pidf+xml\r\n", 200, None),
    ] {
        let mut viewer = Viewer::new(shared(), &carol, &bob.uri, lines);
        let answer = viewer.subscribe(600);
        assert_eq!(answer.status().number(), status, "{lines}");
        if let Some((name, value)) = header {
            assert_eq!(answer.header(name), Some(value), "{lines}");
            assert!(viewer.is_left_alone(), "{lines}");
        }
    }
    let mut phone = Phone::tcp(shared().tcp);
    let head = phone.head(
        "SUBSCRIBE",
        &bob.uri,
        &carol,
        &format!("<{}>", bob.uri),
        "x-event",
        1,
    );
    let answer = phone.ask(
        head,
        "Event: weather\r\nAccept: application/pidf+xml\r\n",
        "",
    );
    assert_eq!(answer.status().number(), 489);
    assert!(answer.header(Name::AllowEvents).is_some());
}

//= MS-PRES 3.7.5.3
//= type=test
//# watchers in PIDF enter the subscriber list; acknowledged they stay, as acknowledged
// proves: PRES-3.7.5.3-01 PRES-3.7.5.3-02 PRES-3.7.5.3-03
#[test]
fn a_watcher_in_pidf_enters_the_subscriber_list_and_stays() {
    let mut bob = present(shared(), &somebody("bob"));
    let (own, first) = bob.watch_self(&["subscribers"]);
    let nobody = tree::elements(&text(first.body()), "subscriber", &[]);
    assert!(nobody.is_empty(), "{nobody:?}");

    let carol = format!("{}@contoso.com", somebody("carol"));
    let mut viewer = Viewer::new(shared(), &format!("sip:{carol}"), &bob.uri, PIDF);
    viewer.display_name = "\"Carol\" ".to_owned();
    assert_eq!(viewer.subscribe(600).status(), StatusCode::OK);
    let expected = |acknowledged: bool, name: &str| {
        let line = |body: &str| tree::attributes(body, "subscriber", "user");
        let flag = acknowledged.to_string();
        let (carol, name) = (carol.clone(), name.to_owned());
        move |body: &str| {
            assert_eq!(line(body), [carol.as_str()], "{body}");
            let flags = tree::attributes(body, "subscriber", "acknowledged");
            assert_eq!(flags, [flag.as_str()], "{body}");
            let names = tree::attributes(body, "subscriber", "displayName");
            assert_eq!(names, [name.as_str()], "{body}");
        }
    };
    expected(false, "Carol")(&text(bob.told(&own).body()));
    // It was known already: nothing is told.
    assert_eq!(viewer.subscribe(600).status(), StatusCode::OK);
    assert!(bob.rest(&own).is_empty());

    let seen = bob.service(
        "application/msrtc-presence-setsubscriber+xml",
        &format!(
            "<setSubscribers xmlns=\"http://schemas.microsoft.com/2006/09/sip/presence-subscribers\">\
             <subscriber user=\"{carol}\" acknowledged=\"true\"/></setSubscribers>"
        ),
    );
    assert_eq!(seen.status(), StatusCode::OK);
    expected(true, "Carol")(&text(bob.told(&own).body()));
    let (_, again) = bob.watch_self(&["subscribers"]);
    expected(true, "Carol")(&text(again.body()));
}

/// A telephone that was watched before its user's enhanced client came.
#[test]
fn who_watched_before_the_first_sign_in_is_listed_by_a_refresh() {
    let user = somebody("bob");
    let carol = format!("{}@contoso.com", somebody("carol"));
    let to = format!("sip:{user}@contoso.com");
    let mut viewer = Viewer::watching(shared(), &format!("sip:{carol}"), &to, PIDF);
    assert!(viewer.shown().contains(CLOSED));
    let mut bob = present(shared(), &user);
    assert_eq!(viewer.subscribe(600).status(), StatusCode::OK);
    let (_, own) = bob.watch_self(&["subscribers"]);
    assert_eq!(
        tree::attributes(&text(own.body()), "subscriber", "user"),
        [carol]
    );
}

/// A server with settings of its own.
fn server_with(data: &Path, settings: &str) -> Server {
    let file = data.join("node.toml");
    std::fs::write(&file, settings).expect("written");
    server(
        &data.join("data"),
        &["--config", file.to_str().expect("a path")],
    )
}

//= MS-PRES 2.2.2.8.1
//= type=test
//# linked-identities with primary-id and secondary-identity, and cid
// proves: PRES-2.2.2.8.1-06
#[test]
fn linked_identities_are_told_to_other_deployments() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server_with(
        data.path(),
        "[[standard.linked]]\nuser = 'sip:Bob@Contoso.com'\nprimary = 'bob@hotmail.com'\n\
         secondary = ['bob@skypeids.net', 'A1519ABC8FAC5FA71@skypecid.net']\ncid = 'A1519ABC8FAC5FA71'\n\
         [[standard.linked]]\nuser = 'kim@contoso.com'\ncid = 'B<2'\n",
    );
    for (user, more) in [
        (
            "bob",
            "<linked-identities primary-id=\"bob@hotmail.com\"><secondary-identities>\
             <secondary-identity>bob@skypeids.net</secondary-identity>\
             <secondary-identity>A1519ABC8FAC5FA71@skypecid.net</secondary-identity>\
             </secondary-identities></linked-identities><cid>A1519ABC8FAC5FA71</cid>",
        ),
        ("kim", "<cid>B&lt;2</cid>"),
        ("joe", ""),
    ] {
        let client = present(&server, user);
        let lines = format!("{FEDERATED}{PIDF}");
        let alice = "sip:alice@fabrikam.com";
        let mut viewer = Viewer::watching(&server, alice, &client.uri, &lines);
        assert_eq!(
            tree::canonical(&viewer.shown(), &[]),
            printed(user, "open", "", more),
            "{user}"
        );
        // Standard watchers get what the standards' schemas know.
        let mut viewer = Viewer::watching(&server, "sip:carol@contoso.com", &client.uri, PIDF);
        let shown = viewer.shown();
        assert!(
            !shown.contains("linked") && !shown.contains("cid>"),
            "{shown}"
        );
    }
    // Who sees nothing is told nothing of it.
    let mut bob = Client::sign_in(&server, "bob");
    let block = "<container id=\"32000\" version=\"0\"><member action=\"add\" type=\"user\" value=\"eve@fabrikam.com\"/></container>\
                 <container id=\"100\" version=\"1\"><member action=\"remove\" type=\"federated\"/></container>";
    assert_eq!(bob.set_members(block).status(), StatusCode::OK);
    let lines = format!("{FEDERATED}{PIDF}");
    let mut viewer = Viewer::watching(&server, "sip:joe@fabrikam.com", &bob.uri, &lines);
    let shown = viewer.shown();
    assert!(
        shown.contains(CLOSED) && !shown.contains("linked"),
        "{shown}"
    );
}

//= MS-PRES 2.2.2.8
//= type=test
//# a publication in PIDF gets no response, where the operator wants it so
//= MS-PRES 2.2.2.9
//= type=test
//# neither does one in MSRTC format
// proves: PRES-2.2.2.8-02 PRES-2.2.2.9-01
#[test]
fn a_strict_server_ignores_publications_of_other_formats() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server_with(data.path(), "[standard]\npidf_publish = 'ignore'\n");
    let bob = present(&server, "bob");
    let mut viewer = Viewer::watching(&server, "sip:carol@contoso.com", &bob.uri, PIDF);
    assert!(viewer.shown().contains(OPEN));
    for mut phone in [Phone::udp(server.udp), Phone::tcp(server.tcp)] {
        for media in ["application/pidf+xml", "text/xml+msrtc.pidf"] {
            let body = document(&bob.uri, "closed", "");
            let head = phone.head(
                "PUBLISH",
                &bob.uri,
                &bob.uri,
                &format!("<{}>", bob.uri),
                &format!("ignored-{}", fresh()),
                1,
            );
            let message = format!(
                "{head}Event: presence\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            // Said twice, as over UDP it would be.
            phone.send(message.as_bytes());
            phone.send(message.as_bytes());
            let answer = phone.receive(Duration::from_millis(200));
            assert!(answer.is_none(), "{media}: {answer:?}");
        }
        // It answers everything else.
        let options = phone.head(
            "OPTIONS",
            &bob.uri,
            &bob.uri,
            &format!("<{}>", bob.uri),
            "o",
            1,
        );
        assert_eq!(phone.ask(options, "", "").status(), StatusCode::OK);
    }
    assert!(viewer.is_left_alone(), "nothing was published");
    let (_, presentity) = server.get(&format!("/presentity/{}", bob.uri));
    assert!(presentity.contains("\"publications\":[]"), "{presentity}");
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("ignored"), "{metrics}");
}

/// Contradictions C-04, C-60, C-61 and C-62: a telephone's publication takes part in the state of an
/// enhanced publisher, and watchers of every format see what comes of it.
// proves: ADC-07
#[test]
fn a_telephone_takes_part_in_enhanced_presence() {
    let mut bob = present(shared(), &somebody("bob"));
    let carol = format!("sip:{}@contoso.com", somebody("carol"));
    let mut viewer = Viewer::watching(shared(), &carol, &bob.uri, PIDF);
    assert!(viewer.shown().contains(OPEN));
    let mut dave = Client::sign_in(shared(), &somebody("dave"));
    let uri = bob.uri.clone();
    let (batch, first) = dave.watch(&[&uri], &["state"]);
    // Who lives in the other shard is watched there; this is about what is seen.
    let (batch, first) = follow(&mut dave, batch, first, &uri, &["state"]);
    let availability = |body: &str| {
        let found = tree::elements(body, "availability", &[]);
        found.last().cloned().unwrap_or_default()
    };
    assert!(availability(&categories(&first)).contains("3500"));

    let mut phone = Phone::tcp(shared().tcp);
    let person =
        "<dm:person id=\"p\"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>";
    let answer = publish_pidf(
        &mut phone,
        &uri,
        "Expires: 300\r\n",
        &document(&uri, "open", person),
    );
    assert_eq!(answer.status(), StatusCode::OK);
    let tag = answer
        .header(Name::SipETag)
        .expect("an entity-tag")
        .to_owned();
    let told = text(dave.told(&batch).body());
    assert!(availability(&told).contains("6500"), "{told}");
    assert!(told.contains("on-the-phone"), "{told}");
    assert!(viewer.shown().contains("<rpid:on-the-phone/>"));

    // It hangs up: what was before shows again.
    let call_id = format!("end-{}", fresh());
    let head = phone.head("PUBLISH", &uri, &uri, &format!("<{uri}>"), &call_id, 1);
    let lines = format!("Event: presence\r\nExpires: 0\r\nSIP-If-Match: {tag}\r\n");
    assert_eq!(phone.ask(head, &lines, "").status(), StatusCode::OK);
    assert!(availability(&text(dave.told(&batch).body())).contains("3500"));
    let shown = viewer.shown();
    assert!(
        shown.contains(OPEN) && !shown.contains("on-the-phone"),
        "{shown}"
    );

    // A telephone that is closed takes nobody offline.
    let answer = publish_pidf(&mut phone, &uri, "", &document(&uri, "closed", ""));
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(viewer.is_left_alone());
    assert!(
        bob.publish(&publication(
            "note",
            0,
            200,
            0,
            "expireType=\"static\"",
            &super::client::note("x")
        ))
        .status()
            == StatusCode::OK
    );
}

/// A user who has a standard telephone only is a `state` to enhanced watchers.
#[test]
fn a_standard_publisher_is_seen_by_enhanced_watchers() {
    let uri = format!("sip:{}@contoso.com", somebody("desk"));
    let mut dave = Client::sign_in(shared(), &somebody("dave"));
    let (batch, first) = dave.watch(&[&uri], &["state", "note"]);
    let (batch, first) = follow(&mut dave, batch, first, &uri, &["state", "note"]);
    let first = categories(&first);
    assert!(!first.contains("availability"), "{first}");

    let mut phone = Phone::tcp(shared().tcp);
    for (basic, person, expected) in [
        ("open", "", "3500"),
        (
            "open",
            "<dm:person id=\"p\"><rpid:activities><rpid:away/></rpid:activities></dm:person>",
            "15500",
        ),
        (
            "open",
            "<dm:person id=\"p\"><rpid:activities><rpid:meeting/></rpid:activities></dm:person>",
            "6500",
        ),
        ("closed", "", "18500"),
    ] {
        let answer = publish_pidf(
            &mut phone,
            &uri,
            "Expires: 300\r\n",
            &document(&uri, basic, person),
        );
        assert_eq!(answer.status(), StatusCode::OK);
        let tag = answer
            .header(Name::SipETag)
            .expect("an entity-tag")
            .to_owned();
        let told = text(dave.told(&batch).body());
        let found = tree::elements(&told, "availability", &[]);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{basic} {person}: {told}"
        );
        // One at a time.
        let call_id = format!("end-{}", fresh());
        let head = phone.head("PUBLISH", &uri, &uri, &format!("<{uri}>"), &call_id, 1);
        let lines = format!("Event: presence\r\nExpires: 0\r\nSIP-If-Match: {tag}\r\n");
        assert_eq!(phone.ask(head, &lines, "").status(), StatusCode::OK);
        let gone = text(dave.told(&batch).body());
        assert!(!gone.contains("availability"), "{gone}");
    }
}

/// The categories document of a batch's answer, whatever else is in it.
fn categories(answer: &Response) -> String {
    let body = text(answer.body());
    let begin = body.find("<categories").unwrap_or_else(|| panic!("{body}"));
    let end = body
        .find("</categories>")
        .unwrap_or_else(|| panic!("{body}"));
    body[begin..end].to_owned() + "</categories>"
}

/// The batch that shows `uri`: the first, or one at the shard that the first answer names for it.
fn follow(
    client: &mut Client,
    dialog: super::client::Dialog,
    answer: Response,
    uri: &str,
    names: &[&str],
) -> (super::client::Dialog, Response) {
    let body = text(answer.body());
    let Some(at) = body.find("poolFqdn=\"") else {
        return (dialog, answer);
    };
    let hint = body[at + 10..].split('"').next().expect("a value");
    let mut dialog = super::client::Dialog::new("presence", hint);
    let body = super::client::batch(&client.uri, "subscribe", &[uri], names);
    let answer = client.change_batch(&mut dialog, &body);
    assert_eq!(answer.status(), StatusCode::OK);
    (dialog, answer)
}
