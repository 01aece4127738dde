//! Blocked is as absent (MS-PRES 1.3.1.3.4): a watcher's whole conversation, byte for byte.
//!
//! Tags, branches, ports, times and the names of the two are masked; names have equal lengths, so that
//! Content-Length is compared as well.

use std::fmt::Write as _;
use std::time::Duration;

use transport::sip::{Request, Response, StatusCode};

use super::super::phone::fresh;
use super::super::server::Server;
use super::client::{BATCH_LINES, Client, Dialog, SINGLE_LINES, batch, note, publication, text};

/// How long a silence must last before we believe that nothing was told.
const SILENCE: Duration = Duration::from_millis(300);

/// A name of one length that no other test uses.
fn named(name: &str) -> String {
    format!("{name}{:06}", fresh())
}

/// What a watcher of one presentity is answered and told.
struct Conversation {
    watcher: Client,
    presentity: String,
    heard: String,
    /// Entity-tags in the order in which they came: which ones are the same, is seen.
    tags: Vec<String>,
}

impl Conversation {
    fn hear(&mut self, begin: &str, lines: Vec<(String, String)>, body: &[u8]) {
        let mut message = format!("{begin}\n");
        let mut boundary = None;
        for (name, value) in lines {
            boundary = boundary.or(value
                .split_once("boundary=")
                .map(|(_, value)| value.trim_matches('"').to_owned()));
            let value = match &*name {
                "SIP-ETag" => self.tag(value),
                _ => value,
            };
            let _ = writeln!(message, "{name}: {value}");
        }
        let _ = writeln!(message, "\n{}\n", text(body));
        let own = self.watcher.uri.trim_start_matches("sip:");
        let mut names = vec![
            (self.presentity.clone(), "presentity"),
            (own.to_owned(), "watcher"),
            (self.watcher.epid.clone(), "epid"),
        ];
        // The user part alone is the display name of somebody who never gave another.
        for of in [&self.presentity, own] {
            names.push((
                of.split('@').next().expect("a user part").to_owned(),
                "name",
            ));
        }
        names.extend(boundary.map(|boundary| (boundary, "boundary")));
        for (name, mask) in names {
            message = message.replace(&name, mask);
        }
        for (before, until) in [
            ("tag=", ";>\n"),
            ("branch=z9hG4bK", ";\n"),
            ("Call-ID: ", "\n"),
            ("127.0.0.1:", ";>, \n"),
            ("user:epid:", ";>\n"),
            ("received-cid=", ";>\n"),
            ("xpires: ", "\n"),
            ("expires=", ";\n"),
            ("publishTime=\"", "\""),
            ("lastActive=\"", "\""),
        ] {
            message = masked(&message, before, until);
        }
        self.heard += &message;
    }

    /// A tag is of the names in a document, too: here it is told by its place among the tags.
    fn tag(&mut self, tag: String) -> String {
        let known = self.tags.iter().position(|known| *known == tag);
        let place = known.unwrap_or(self.tags.len());
        if known.is_none() {
            self.tags.push(tag);
        }
        format!("the tag {place}")
    }

    fn answered(&mut self, response: &Response) {
        assert_eq!(response.status(), StatusCode::OK, "{}", self.heard);
        let lines = response
            .lines()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.hear("200", lines.collect(), response.body());
    }

    fn told(&mut self, request: &Request) {
        let lines = request
            .lines()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let begin = format!("{} {}", request.method().as_str(), request.uri());
        self.hear(&begin, lines.collect(), request.body());
    }

    /// SUBSCRIBE and its answer.
    fn ask(&mut self, dialog: &mut Dialog, expires: u32, lines: &str, media: &str, body: &str) {
        let answer = self
            .watcher
            .subscribe(dialog, Some(expires), lines, media, body);
        self.answered(&answer);
    }

    /// What was told meanwhile, until there is silence.
    fn rest(&mut self) {
        for request in self.watcher.phone.drain(SILENCE) {
            self.told(&request);
        }
    }
}

/// Hides what follows each `before`, up to one of `until`.
fn masked(text: &str, before: &str, until: &str) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c| until.contains(c)).unwrap_or(part.len());
        out += &format!("{before}*{}", &part[end..]);
    }
    out
}

/// Everything that a watcher can do about one presentity, which does `happen` in the middle of it.
fn converse(
    watcher: Client,
    presentity: &str,
    wanted: &[&str],
    happen: &mut dyn FnMut(),
) -> String {
    const CATEGORIES: &str = "application/msrtc-adrl-categorylist+xml";
    let mut all = Conversation {
        watcher,
        presentity: presentity.to_owned(),
        heard: String::new(),
        tags: Vec::new(),
    };
    let uri = format!("sip:{presentity}");
    let own = all.watcher.uri.clone();
    let body = batch(&own, "subscribe", &[&uri], wanted);
    let known = body.replace("\"/></adhocList>", "\"><context/></resource></adhocList>");
    let documents = [
        "Accept: application/pidf+xml\r\n".to_owned(),
        "Accept: text/xml+msrtc.pidf\r\n".to_owned(),
        "Accept: application/pidf+xml\r\nUser-Agent: UCCAPI/4.0\r\n".to_owned(),
        format!(
            "Accept: text/xml+msrtc.pidf\r\n{}",
            BATCH_LINES
                .split_once("\r\n")
                .expect("lines")
                .1
                .replace("Require: adhoclist, categoryList\r\n", "")
        ),
    ];
    // Each way to ask: to whom, with which lines and body.
    let mut ways: Vec<(&str, String, &str, &str)> = vec![
        (&uri, SINGLE_LINES.to_owned(), CATEGORIES, &body),
        (&uri, SINGLE_LINES.to_owned(), CATEGORIES, &known),
        (&own, BATCH_LINES.to_owned(), CATEGORIES, &body),
        // Without piggybacking.
        (
            &own,
            BATCH_LINES.replace("Supported: ms-piggyback-first-notify\r\n", ""),
            CATEGORIES,
            &body,
        ),
    ];
    ways.extend(documents.iter().map(|lines| (&*uri, lines.clone(), "", "")));
    for (to, lines, media, body) in ways {
        let _ = writeln!(all.heard, "=== {lines}");
        let mut poll = Dialog::new("presence", to);
        all.ask(&mut poll, 0, &lines, media, body);
        let mut dialog = Dialog::new("presence", to);
        all.ask(&mut dialog, 3_600, &lines, media, body);
        all.rest();
        happen();
        all.rest();
        all.ask(&mut dialog, 3_600, &lines, media, body);
        all.ask(&mut dialog, 0, &lines, "", "");
        let mut poll = Dialog::new("presence", to);
        all.ask(&mut poll, 0, &lines, media, body);
        all.rest();
    }
    all.heard
}

/// Something that its friends see, and the watcher does not.
fn live(presentity: &mut Client, version: &mut u32) {
    let state = "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"userState\" manual=\"true\">\
        <availability>6500</availability></state>";
    let words = note(&format!("to friends, {version}"));
    let calendar = "<calendarData xmlns=\"http://schemas.microsoft.com/2006/09/sip/calendarData\" \
        mailboxID=\"bob@contoso.com\"><freeBusy startTime=\"2008-01-11T00:00:00Z\" granularity=\"PT15M\" \
        encodingVersion=\"1\">AAAVVf/w</freeBusy></calendarData>";
    let publications: String = [
        ("state", 2, state),
        ("state", 3, state),
        ("note", 300, &words),
        ("note", 400, &words),
        ("calendarData", 400, calendar),
    ]
    .map(|(category, container, data)| {
        publication(
            category,
            5,
            container,
            *version,
            "expireType=\"static\"",
            data,
        )
    })
    .concat();
    let answer = presentity.publish(&publications);
    assert_eq!(answer.status(), StatusCode::OK, "{}", text(answer.body()));
    *version += 1;
}

fn single_shard() -> (Server, tempfile::TempDir) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_with(data.path(), &["--domain", "contoso.com", "--shards", "1"]);
    (server, data)
}

fn compare(name: &str, blocked: &str, absent: &str) {
    let differ = blocked
        .lines()
        .zip(absent.lines())
        .position(|(one, other)| one != other);
    if let Some(at) = differ {
        let near = |text: &str| {
            text.lines()
                .skip(at.saturating_sub(14))
                .take(28)
                .collect::<Vec<_>>()
                .join("\n")
        };
        panic!(
            "{name}, line {at}\n--- blocked\n{}\n--- absent\n{}",
            near(blocked),
            near(absent)
        );
    }
    assert_eq!(blocked.len(), absent.len(), "{name}");
    // There was something to compare.
    assert!(
        blocked.matches("\n200\n").count() > 30 && blocked.contains("NOTIFY"),
        "{blocked}"
    );
}

//= MS-PRES 1.3.1.3.4
//= type=test
//# who is in no container that publishes the category cannot tell it from one that was never published
// proves: PRES-1.3.1.3.4-01 PRES-3.2.5.3-14 PRES-3.2.5.3-16
#[test]
fn who_is_in_no_container_cannot_tell_it_from_absence() {
    let (server, _data) = single_shard();
    let friend = named("frd");
    let wanted = ["state", "note", "calendarData", "services"];
    let watch = |presentity: &str, happen: &mut dyn FnMut()| {
        let watcher = Client::sign_in(&server, &named("wat"));
        converse(
            watcher,
            &format!("{presentity}@contoso.com"),
            &wanted,
            happen,
        )
    };
    let name = named("bob");
    let mut bob = Client::sign_in(&server, &name);
    let only = format!("<member type=\"user\" value=\"sip:{friend}@contoso.com\"/>");
    let members: String = [300, 400]
        .map(|id| format!("<container id=\"{id}\" version=\"0\">{only}</container>"))
        .concat();
    assert_eq!(bob.set_members(&members).status(), StatusCode::OK);
    let mut version = 0;
    live(&mut bob, &mut version);
    let [ghost, idle, late] = ["gho", "idl", "lat"].map(named);
    let _idle = Client::sign_in(&server, &idle);
    let mut signed_in = None;
    let (blocked, [never_there, signed_in_only, signs_in]) = std::thread::scope(|scope| {
        let blocked = scope.spawn(|| watch(&name, &mut || live(&mut bob, &mut version)));
        let never_there = scope.spawn(|| watch(&ghost, &mut || {}));
        let signed_in_only = scope.spawn(|| watch(&idle, &mut || {}));
        // It signs in for the first time while it is watched.
        let signs_in = scope.spawn(|| {
            watch(&late, &mut || {
                signed_in.get_or_insert_with(|| Client::sign_in(&server, &late));
            })
        });
        let absent = [never_there, signed_in_only, signs_in];
        let heard = |watch: std::thread::ScopedJoinHandle<'_, String>| {
            watch.join().expect("it is answered")
        };
        (heard(blocked), absent.map(heard))
    });
    assert!(version > 4, "it lived while it was watched");
    compare("never there", &blocked, &never_there);
    compare("signed in only", &blocked, &signed_in_only);
    compare("signs in", &blocked, &signs_in);
}

//= MS-PRES 1.3.1.3.4
//= type=test
//# who is kept in the container of the blocked sees what others see of somebody who is offline
// proves: PRES-1.3.1.3.4-01
#[test]
fn who_is_in_the_container_of_the_blocked_cannot_tell_it_from_being_offline() {
    let (server, _data) = single_shard();
    let wanted = ["state", "note", "calendarData", "services", "contactCard"];
    let watch = |presentity: &str, happen: &mut dyn FnMut(), before: &mut dyn FnMut(&str)| {
        let watcher = Client::sign_in(&server, &named("wat"));
        before(&watcher.uri);
        converse(
            watcher,
            &format!("{presentity}@contoso.com"),
            &wanted,
            happen,
        )
    };
    let name = named("bob");
    let mut bob = Client::sign_in(&server, &name);
    let mut version = 0;
    live(&mut bob, &mut version);
    let mut members = String::new();
    let mut own = Client::sign_in(&server, &name);
    let blocked = watch(
        &name,
        &mut || live(&mut bob, &mut version),
        &mut |watcher| {
            members = format!(
                "<container id=\"300\" version=\"0\"><member type=\"sameEnterprise\"/></container>\
             <container id=\"32000\" version=\"0\"><member type=\"user\" value=\"{watcher}\"/></container>"
            );
            assert_eq!(own.set_members(&members).status(), StatusCode::OK);
        },
    );

    let idle = named("idl");
    let mut away = Client::sign_in(&server, &idle);
    let ordinary =
        "<container id=\"100\" version=\"0\"><member type=\"sameEnterprise\"/></container>";
    assert_eq!(away.set_members(ordinary).status(), StatusCode::OK);
    assert_eq!(away.renew(0, "").status(), StatusCode::OK);
    let absent = watch(&idle, &mut || {}, &mut |_| {});
    compare("offline", &blocked, &absent);
}
