//! Traffic savers over real sockets: conditions, pace, filters, patches, compression.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use shard::document::patch;
use transport::sip::{Name, Request, Response, StatusCode};

use super::phone::{Phone, Publisher, Watch, document, told};
use super::pool::Pool;
use super::server::Server;

const QUIET: Duration = Duration::from_millis(400);
const PLAIN: &str = "Event: presence\r\nAccept: application/pidf+xml\r\n";
const PARTIAL: &str =
    "Event: presence\r\nAccept: application/pidf+xml, application/pidf-diff+xml\r\n";

/// SUBSCRIBE with these lines and this body, inside the dialog once there is one.
fn subscribe(
    watch: &mut Watch,
    phone: &mut Phone,
    expires: u32,
    lines: &str,
    body: &str,
) -> Response {
    watch.cseq += 1;
    let uri = format!("sip:{}@example.com", watch.presentity);
    let to = match &watch.to_tag {
        Some(tag) => format!("<{uri}>;tag={tag}"),
        None => format!("<{uri}>"),
    };
    let watcher = "sip:watcher@example.com";
    let head = phone.head("SUBSCRIBE", &uri, watcher, &to, &watch.call_id, watch.cseq);
    let kind = match body {
        "" => "",
        _ => "Content-Type: application/simple-filter+xml\r\n",
    };
    let response = phone.ask(head, &format!("{lines}Expires: {expires}\r\n{kind}"), body);
    if response.status() == StatusCode::OK && watch.to_tag.is_none() {
        watch.to_tag = response.to_tag().map(str::to_owned);
    }
    response
}

fn unless(tag: &str) -> String {
    format!("{PLAIN}Suppress-If-Match: {tag}\r\n")
}

fn tag(notify: &Request) -> String {
    notify.header(Name::SipETag).expect("a tag").to_owned()
}

fn state(notify: &Request) -> &str {
    notify.header(Name::SubscriptionState).unwrap_or_default()
}

fn body(notify: &Request) -> String {
    told(notify).1
}

/// PUBLISH with this type and body, of the version that the publisher knows.
fn publish_as(publisher: &mut Publisher, phone: &mut Phone, lines: &str, body: &[u8]) -> Response {
    publisher.cseq += 1;
    let uri = format!("sip:{}@example.com", publisher.user);
    let (to, call_id) = (format!("<{uri}>"), publisher.call_id.clone());
    let head = phone.head("PUBLISH", &uri, &uri, &to, &call_id, publisher.cseq);
    let known = publisher
        .tag
        .as_ref()
        .map(|tag| format!("SIP-If-Match: {tag}\r\n"));
    let known = known.unwrap_or_default();
    let mut message = format!(
        "{head}Event: presence\r\nExpires: 600\r\n{known}{lines}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    message.extend_from_slice(body);
    phone.send(&message);
    let response = phone.response();
    if response.status() == StatusCode::OK {
        publisher.tag = response.header(Name::SipETag).map(str::to_owned);
    }
    response
}

fn phones(server: &Server) -> [Phone; 2] {
    [Phone::udp(server.udp), Phone::tcp(server.tcp)]
}

//= RFC 5839 6.1
//= type=test
//= RFC 5839 6.2
//= type=test
//= RFC 5839 6.3
//= type=test
//= RFC 5839 5.2
//= type=test
#[test]
fn who_knows_the_state_is_not_told_it_again() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    for mut phone in phones(&server) {
        let user = format!("cond-{}", phone.local.port());
        let mut watch = Watch::new(&user);
        watch.subscribe(&mut phone, 600);
        let nothing = tag(&phone.notify(None));
        let mut alice = Publisher::new(&user);
        alice.publish(&mut phone, Some(600), &document(&user, "open", "a"));
        let first = tag(&phone.notify(None));
        assert_ne!(first, nothing);

        let answer = subscribe(&mut watch, &mut phone, 300, &unless(&first), "");
        assert_eq!(answer.status(), StatusCode::NO_NOTIFICATION);
        assert_eq!(answer.header(Name::Expires), Some("300"));
        assert!(phone.drain(QUIET).is_empty(), "204 is all");
        for stale in [&nothing, "0123", "none-of-ours"] {
            let answer = subscribe(&mut watch, &mut phone, 300, &unless(stale), "");
            assert_eq!(answer.status(), StatusCode::OK, "{stale}");
            let notify = phone.notify(None);
            assert!(body(&notify).contains(">open<"), "{stale}");
            assert_eq!(tag(&notify), first);
        }
        let twice = format!("{}Suppress-If-Match: {first}\r\n", unless(&first));
        let answer = subscribe(&mut watch, &mut phone, 300, &twice, "");
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);

        // Another dialog of who was here before, and a fetch: told without a body.
        let mut again = Watch::new(&user);
        for (expires, expected) in [(600, "active"), (0, "terminated")] {
            let answer = subscribe(&mut again, &mut phone, expires, &unless(&first), "");
            let notify = (answer.status() == StatusCode::OK).then(|| phone.notify(None));
            match (expires, notify) {
                (600, Some(notify)) => {
                    assert!(state(&notify).starts_with(expected), "{}", state(&notify));
                    assert_eq!(
                        (body(&notify), tag(&notify)),
                        (String::new(), first.clone())
                    );
                    assert_eq!(notify.header(Name::ContentType), None);
                }
                (0, None) => assert_eq!(answer.status(), StatusCode::NO_NOTIFICATION),
                (_, notify) => panic!("{expires}: {notify:?}"),
            }
        }
        assert!(
            phone.drain(QUIET).is_empty(),
            "an end under a true condition is silent"
        );
        let mut fetch = Watch::new(&user);
        subscribe(&mut fetch, &mut phone, 0, &unless(&first), "");
        let notify = phone.notify(None);
        assert!(state(&notify).starts_with("terminated") && body(&notify).is_empty());
        // A change is told to who was suppressed.
        alice.publish(&mut phone, Some(600), &document(&user, "closed", "b"));
        let changed = phone.notify(None);
        assert!(body(&changed).contains(">closed<") && tag(&changed) != first);
    }
}

//= RFC 6446 4.2
//= type=test
//= RFC 6446 5.2
//= type=test
#[test]
fn a_pace_is_kept_and_told() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::tcp(server.tcp);
    let mut watch = Watch::new("pace");
    let lines = "Event: presence;id=7;min-interval=3;max-interval=2\r\n";
    subscribe(&mut watch, &mut phone, 600, lines, "");
    let begun = Instant::now();
    let first = phone.notify(None);
    assert_eq!(first.header(Name::Event), Some("presence;id=7"));
    assert!(
        state(&first).ends_with(";min-interval=3;max-interval=10"),
        "{}",
        state(&first)
    );
    let mut alice = Publisher::new("pace");
    for note in ["a", "b", "c"] {
        alice.publish(&mut phone, Some(600), &document("pace", "open", note));
    }
    let second = phone.notify(None);
    assert!(
        begun.elapsed() >= Duration::from_millis(2_500),
        "{:?}",
        begun.elapsed()
    );
    assert!(body(&second).contains("<note>c</note>"));
    assert_eq!(
        second.cseq(),
        first.cseq() + 1,
        "what was replaced has no number"
    );
    let third = phone.notify(None);
    assert!(
        begun.elapsed() >= Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!((tag(&third), body(&third)), (tag(&second), body(&second)));
    let answer = subscribe(
        &mut watch,
        &mut phone,
        600,
        "Event: presence;min-interval=x\r\n",
        "",
    );
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

fn filters(filter: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><filter-set xmlns=\"urn:ietf:params:xml:ns:simple-filter\"><ns-bindings>\
         <ns-binding prefix=\"p\" urn=\"urn:ietf:params:xml:ns:pidf\"/></ns-bindings>{filter}</filter-set>"
    )
}

//= RFC 4660 3.3
//= type=test
//= RFC 4660 5.3
//= type=test
//= RFC 4660 5.2
//= type=test
#[test]
fn a_watcher_sees_what_it_filters_and_when_a_trigger_fires() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    for mut phone in phones(&server) {
        let user = format!("filter-{}", phone.local.port());
        let mut watch = Watch::new(&user);
        let basic = filters(&format!(
            "<filter id=\"1\" uri=\"sip:{user}@example.com\"><what>\
             <include>//p:tuple/p:status/p:basic</include></what><trigger>\
             <changed>//p:basic</changed></trigger></filter>"
        ));
        let answer = subscribe(&mut watch, &mut phone, 600, PLAIN, &basic);
        assert_eq!(answer.status(), StatusCode::OK);
        phone.notify(None);
        let mut alice = Publisher::new(&user);
        alice.publish(&mut phone, Some(600), &document(&user, "open", "a"));
        let open = phone.notify(None);
        assert!(
            body(&open).contains(">open<") && !body(&open).contains("note"),
            "{}",
            body(&open)
        );
        alice.publish(&mut phone, Some(600), &document(&user, "open", "b"));
        assert!(phone.drain(QUIET).is_empty(), "a note fires nothing");
        alice.publish(&mut phone, Some(600), &document(&user, "closed", "b"));
        assert!(body(&phone.notify(None)).contains(">closed<"));
        // A refresh keeps the filter, and is told whatever fires; one that removes it ends it.
        subscribe(&mut watch, &mut phone, 600, PLAIN, "");
        assert!(!body(&phone.notify(None)).contains("note"));
        let none = filters("<filter id=\"1\" remove=\"true\"/>");
        subscribe(&mut watch, &mut phone, 600, PLAIN, &none);
        assert!(body(&phone.notify(None)).contains("<note>b</note>"));

        for (filter, status) in [
            (
                "<filter id=\"1\"><what><include>//p:tuple[last()]</include></what></filter>",
                488,
            ),
            (
                "<filter id=\"1\"><what><include>//x:tuple</include></what></filter>",
                400,
            ),
            ("<filter id=\"1\"", 400),
        ] {
            let mut refused = Watch::new(&user);
            let answer = subscribe(&mut refused, &mut phone, 600, PLAIN, &filters(filter));
            assert_eq!(answer.status().number(), status, "{filter}");
            assert!(
                answer.header(Name::Warning).is_some(),
                "it says what, and where"
            );
        }
    }
}

fn is_patch(notify: &Request) -> bool {
    assert_eq!(
        notify.header(Name::ContentType),
        Some("application/pidf-diff+xml")
    );
    let version = format!(" version=\"{}\"", notify.cseq());
    assert!(body(notify).contains(&version), "{}", body(notify));
    body(notify).contains("<p:pidf-diff ")
}

/// What a `pidf-full` document shows, as the plain document has it.
fn presence(full: &Request) -> String {
    let whole = patch::whole(full.body())
        .expect("well-formed")
        .expect("a whole");
    let text = String::from_utf8(whole).expect("text");
    let version = format!(
        " xmlns:p=\"urn:ietf:params:xml:ns:pidf-diff\" version=\"{}\"",
        full.cseq()
    );
    text.replacen(&version, "", 1)
}

//= RFC 5263 4.2
//= type=test
//= RFC 5263 4.4
//= type=test
//= RFC 5262 3.1
//= type=test
#[test]
fn a_patch_is_sent_of_what_was_confirmed() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    for (mut phone, mut other) in phones(&server).into_iter().zip(phones(&server)) {
        let user = format!("partial-{}", phone.local.port());
        let mut plain = Watch::new(&user);
        plain.subscribe(&mut other, 600);
        other.notify(None);
        let mut watch = Watch::new(&user);
        subscribe(&mut watch, &mut phone, 600, PARTIAL, "");
        assert!(!is_patch(&phone.notify(None)), "the first is whole");
        let mut alice = Publisher::new(&user);
        let long = "x".repeat(600);
        alice.publish(&mut other, Some(600), &document(&user, "open", &long));
        let full = phone.notify(None);
        let mut held = match is_patch(&full) {
            false => presence(&full),
            true => panic!("nothing of it was there"),
        };
        assert_eq!(held, body(&other.notify(None)));
        for basic in ["closed", "open", "closed"] {
            alice.publish(&mut other, Some(600), &document(&user, basic, &long));
            let patch = phone.notify(None);
            assert!(
                is_patch(&patch) && patch.body().len() < 500,
                "{}",
                body(&patch)
            );
            let made = patch::apply(patch.body(), held.as_bytes()).expect("it fits");
            held = String::from_utf8(made).expect("text");
            assert_eq!(held, body(&other.notify(None)));
        }
        // What was refused was not received: the whole follows.
        phone.answers = StatusCode::SERVER_ERROR;
        alice.publish(&mut other, Some(600), &document(&user, "open", &long));
        assert!(is_patch(&phone.notify(None)));
        other.notify(None);
        phone.answers = StatusCode::OK;
        alice.publish(&mut other, Some(600), &document(&user, "closed", &long));
        let full = phone.notify(None);
        assert!(!is_patch(&full));
        assert_eq!(presence(&full), body(&other.notify(None)));
        // So does it after a refresh.
        subscribe(&mut watch, &mut phone, 600, PARTIAL, "");
        assert!(!is_patch(&phone.notify(None)));
    }
}

//= RFC 5264 4.1
//= type=test
//= RFC 5264 4.2
//= type=test
#[test]
fn a_patch_changes_a_publication_or_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    for mut phone in phones(&server) {
        let user = format!("patch-{}", phone.local.port());
        let mut watch = Watch::new(&user);
        watch.subscribe(&mut phone, 600);
        phone.notify(None);
        let mut alice = Publisher::new(&user);
        let kind = "Content-Type: application/pidf-diff+xml\r\n";
        let diff = |name: &str, content: &str| {
            format!(
                "<p:{name} xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:p=\"urn:ietf:params:xml:ns:pidf-diff\" \
                 entity=\"sip:{user}@example.com\">{content}</p:{name}>"
            )
        };
        let first = diff("pidf-diff", "<p:remove sel=\"*/note\"/>");
        let answer = publish_as(&mut alice, &mut phone, kind, first.as_bytes());
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "of nothing");
        let whole = diff(
            "pidf-full",
            "<tuple id=\"t\"><status><basic>open</basic></status><note>one</note></tuple>",
        );
        assert_eq!(
            publish_as(&mut alice, &mut phone, kind, whole.as_bytes()).status(),
            StatusCode::OK
        );
        assert!(body(&phone.notify(None)).contains("<note>one</note>"));
        let patch = diff(
            "pidf-diff",
            "<p:replace sel=\"*/tuple[@id='t']/status/basic/text()\">closed</p:replace>\
             <p:add sel=\"*/tuple[@id='t']\"><note>two</note></p:add>",
        );
        let before = alice.tag.clone();
        assert_eq!(
            publish_as(&mut alice, &mut phone, kind, patch.as_bytes()).status(),
            StatusCode::OK
        );
        assert_ne!(alice.tag, before);
        let shown = body(&phone.notify(None));
        assert!(
            shown.contains("<basic>closed</basic>")
                && shown.contains("<note>one</note><note>two</note>"),
            "{shown}"
        );
        // The first operation could be done, the second not: neither is.
        let half = diff(
            "pidf-diff",
            "<p:remove sel=\"*/tuple/note[1]\"/><p:remove sel=\"*/tuple/note[7]\"/>",
        );
        let answer = publish_as(&mut alice, &mut phone, kind, half.as_bytes());
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let warning = answer.header(Name::Warning).unwrap_or_default();
        assert!(warning.contains("leads nowhere"), "{warning}");
        alice.tag = before;
        let answer = publish_as(&mut alice, &mut phone, kind, patch.as_bytes());
        assert_eq!(answer.status(), StatusCode::CONDITIONAL_REQUEST_FAILED);
        assert!(phone.drain(QUIET).is_empty(), "nothing changed");
    }
}

//= RFC 3261 20.2
//= type=test
#[test]
fn large_bodies_are_compressed_where_that_was_agreed() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let pack = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("finished")
    };
    for mut phone in phones(&server) {
        let user = format!("gzip-{}", phone.local.port());
        let mut watch = Watch::new(&user);
        let lines = format!("{PLAIN}Accept-Encoding: gzip, identity\r\n");
        subscribe(&mut watch, &mut phone, 600, &lines, "");
        assert_eq!(
            phone.notify(None).header(Name::ContentEncoding),
            None,
            "a small one"
        );
        let mut alice = Publisher::new(&user);
        let long = document(&user, "open", &"lorem ipsum ".repeat(400));
        let lines = "Content-Type: application/pidf+xml\r\nContent-Encoding: gzip\r\n";
        let answer = publish_as(&mut alice, &mut phone, lines, &pack(long.as_bytes()));
        assert_eq!(answer.status(), StatusCode::OK);
        let notify = phone.notify(None);
        assert_eq!(notify.header(Name::ContentEncoding), Some("gzip"));
        assert!(notify.body().len() < 1_000, "{}", notify.body().len());
        let mut shown = String::new();
        std::io::Read::read_to_string(&mut GzDecoder::new(&notify.body()[..]), &mut shown)
            .expect("gzip");
        assert!(shown.contains("lorem ipsum lorem"));
        for (name, body, status) in [
            (
                "a bomb",
                pack(&vec![b' '; 40 << 20]),
                StatusCode::ENTITY_TOO_LARGE,
            ),
            ("no gzip", long.as_bytes().to_vec(), StatusCode::BAD_REQUEST),
        ] {
            let answer = publish_as(&mut alice, &mut phone, lines, &body);
            assert_eq!(answer.status(), status, "{name}");
        }
        let lines = "Content-Type: application/pidf+xml\r\nContent-Encoding: br\r\n";
        let answer = publish_as(&mut alice, &mut phone, lines, b"x");
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(
            answer.header(Name::AcceptEncoding),
            Some("gzip, deflate, identity")
        );
    }
}

/// How many documents the server has composed.
fn composed(server: &Server) -> u64 {
    let (_, metrics) = server.get("/metrics");
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("lamplight_documents_composed"));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no such metric in {metrics}"))
}

/// One body for all who see the same, whatever they save.
#[test]
fn a_hundred_watchers_of_equal_rights_cost_one_rendering() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::tcp(server.tcp);
    let mut alice = Publisher::new("shared");
    alice.publish(&mut phone, Some(600), &document("shared", "open", "a"));
    for number in 0..100 {
        let mut watch = Watch::new("shared");
        let lines = match number % 3 {
            0 => PLAIN.to_owned(),
            1 => PARTIAL.to_owned(),
            _ => format!("{PLAIN}Accept-Encoding: gzip\r\n"),
        };
        subscribe(&mut watch, &mut phone, 600, &lines, "");
        phone.notify(Some(&watch.call_id));
    }
    let before = composed(&server);
    alice.publish(&mut phone, Some(600), &document("shared", "closed", "a"));
    let patches = (0..100).map(|_| phone.notify(None)).filter(|notify| {
        assert!(body(notify).contains("closed"));
        body(notify).contains("<p:pidf-diff ")
    });
    assert_eq!(patches.count(), 33);
    assert_eq!(composed(&server) - before, 1);
}

//= RFC 5839 6.1
//= type=test
/// Tags and pace are the same on every node, and for whoever leads next.
#[test]
fn what_was_agreed_outlives_a_leader() {
    let mut pool = Pool::start(3, 1);
    pool.wait_until_spread(1);
    let leader = pool.leaders(0)[0].expect("a leader") as usize - 1;
    let (near, far) = ((leader + 1) % 3, (leader + 2) % 3);
    let mut phone = Phone::tcp(pool.node(near).tcp);
    let mut publisher = Phone::tcp(pool.node(far).tcp);
    let mut watch = Watch::new("pool");
    let lines = "Event: presence;min-interval=4\r\nAccept: application/pidf-diff+xml\r\n";
    subscribe(&mut watch, &mut phone, 600, lines, "");
    let first = phone.notify(None);
    assert!(
        state(&first).contains(";min-interval=4"),
        "{}",
        state(&first)
    );
    assert!(!is_patch(&first));
    let mut alice = Publisher::new("pool");
    alice.publish(&mut publisher, Some(600), &document("pool", "open", "a"));
    // It waits, and the one that knows it is gone.
    pool.kill(leader);
    let second = phone.notify(None);
    let shown = body(&second);
    assert!(shown.contains("open"), "{shown}");
    assert_ne!(tag(&first), tag(&second));
    let lines = format!("Event: presence\r\nSuppress-If-Match: {}\r\n", tag(&second));
    let answer = subscribe(&mut watch, &mut phone, 600, &lines, "");
    assert_eq!(answer.status(), StatusCode::NO_NOTIFICATION);
}
