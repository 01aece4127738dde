//! Lamps, waiting messages and registrations: the event packages beside presence.

use std::time::Duration;

use transport::sip::{Name, Request, Response};

use super::phone::{Phone, Watch, fresh, told};
use super::server::Server;

/// How long nothing is waited for.
const QUIET: Duration = Duration::from_millis(400);

const DIALOG_INFO: &str = "application/dialog-info+xml";

fn server(data: &std::path::Path, settings: &str) -> Server {
    let file = data.join("node.toml");
    std::fs::write(&file, settings).expect("written");
    let file = file.to_str().expect("a path of text");
    Server::start_with(data, &["--config", file])
}

/// A subscription to any package, by anybody.
struct Lamp {
    event: &'static str,
    presentity: String,
    watcher: String,
    lines: &'static str,
    call_id: String,
    cseq: u32,
    to_tag: Option<String>,
}

impl Lamp {
    fn new(event: &'static str, presentity: &str, watcher: &str) -> Lamp {
        let address = |user: &str| match user.contains('@') {
            true => format!("sip:{user}"),
            false => format!("sip:{user}@example.com"),
        };
        Lamp {
            event,
            presentity: address(presentity),
            watcher: address(watcher),
            lines: "",
            call_id: format!("lamp-{}", fresh()),
            cseq: 0,
            to_tag: None,
        }
    }

    fn subscribe(&mut self, phone: &mut Phone, expires: u32) -> Response {
        self.cseq += 1;
        let to = match &self.to_tag {
            Some(tag) => format!("<{}>;tag={tag}", self.presentity),
            None => format!("<{}>", self.presentity),
        };
        let (uri, from) = (&*self.presentity, &*self.watcher);
        let head = phone.head("SUBSCRIBE", uri, from, &to, &self.call_id, self.cseq);
        let lines = format!(
            "Event: {}\r\nExpires: {expires}\r\n{}",
            self.event, self.lines
        );
        let answer = phone.ask(head, &lines, "");
        if answer.status().number() == 200 && self.to_tag.is_none() {
            self.to_tag = answer.to_tag().map(str::to_owned);
        }
        answer
    }

    /// A subscription that is accepted.
    fn watch(&mut self, phone: &mut Phone) {
        let answer = self.subscribe(phone, 600);
        assert_eq!(
            answer.status().number(),
            200,
            "{} {}",
            self.event,
            self.presentity
        );
        assert_eq!(answer.header(Name::Expires), Some("600"));
    }

    fn notified(&self, phone: &mut Phone) -> Request {
        phone.notify(Some(&self.call_id))
    }

    /// The version and the document of the next notification.
    fn sees(&self, phone: &mut Phone) -> (u32, String) {
        let request = self.notified(phone);
        let document = told(&request).1;
        let version = document.split("version=\"").nth(2).unwrap_or_default();
        let version = version.split('"').next().and_then(|text| text.parse().ok());
        (
            version.unwrap_or_else(|| panic!("a version in {document}")),
            document,
        )
    }
}

/// A publisher of somebody's calls.
struct Switch {
    user: String,
    call_id: String,
    cseq: u32,
    tag: Option<String>,
}

impl Switch {
    fn new(user: &str) -> Switch {
        Switch {
            user: format!("sip:{user}@example.com"),
            call_id: format!("switch-{}", fresh()),
            cseq: 0,
            tag: None,
        }
    }

    fn publish(&mut self, phone: &mut Phone, expires: u32, body: &str) -> Response {
        self.cseq += 1;
        let uri = self.user.clone();
        let to = format!("<{uri}>");
        let head = phone.head("PUBLISH", &uri, &uri, &to, &self.call_id, self.cseq);
        let mut lines = format!("Event: dialog\r\nExpires: {expires}\r\n");
        if let Some(tag) = &self.tag {
            lines += &format!("SIP-If-Match: {tag}\r\n");
        }
        if !body.is_empty() {
            lines += &format!("Content-Type: {DIALOG_INFO}\r\n");
        }
        let answer = phone.ask(head, &lines, body);
        if answer.status().number() == 200 {
            self.tag = answer.header(Name::SipETag).map(str::to_owned);
        }
        answer
    }

    fn says(&mut self, phone: &mut Phone, calls: &str) {
        let body = document(&self.user, "full", calls);
        assert_eq!(self.publish(phone, 600, &body).status().number(), 200);
    }
}

/// What publishers write.
fn document(entity: &str, state: &str, calls: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"00000000000\" \
         state=\"{state}\" entity=\"{entity}\">{calls}</dialog-info>"
    )
}

/// A call to somebody, as Kamailio writes it.
fn call(id: &str, state: &str) -> String {
    format!(
        "<dialog id=\"{id}\" call-id=\"{id}\" local-tag=\"l{id}\" remote-tag=\"r{id}\" direction=\"recipient\">\
         <state>{state}</state><remote><identity display=\"Carol\">sip:carol@elsewhere.example</identity>\
         <target uri=\"sip:carol@192.0.2.9\"/></remote><local><identity>sip:200@example.com</identity>\
         <target uri=\"sip:200@192.0.2.7\"/></local></dialog>"
    )
}

/// The states in a document, in order.
fn states(document: &str) -> Vec<&str> {
    let each = document.split("<state>").skip(1);
    each.filter_map(|rest| rest.split('<').next()).collect()
}

const ON_THE_PHONE: &str = "<rpid:on-the-phone/>";

//= RFC 4235 3.9
//= type=test
//= RFC 4235 4.1
//= type=test
//= RFC 4235 6
//= type=test
//= RFC 6665 4.4.1
//= type=test
#[test]
fn a_lamp_follows_a_call_and_tells_no_more_than_a_lamp_does() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    for (name, mut phone) in [
        ("udp", Phone::udp(server.udp)),
        ("tcp", Phone::tcp(server.tcp)),
    ] {
        let user = format!("ann-{name}");
        let mut lamp = Lamp::new("dialog;sla;ma", &user, "boss");
        lamp.lines = "Accept: application/dialog-info+xml\r\n";
        lamp.watch(&mut phone);
        let first = lamp.notified(&mut phone);
        assert_eq!(first.header(Name::Event), Some("dialog"));
        assert_eq!(first.header(Name::ContentType), Some(DIALOG_INFO));
        let (_, empty) = told(&first);
        assert!(
            empty.contains(&format!(
                " version=\"0\" state=\"full\" entity=\"sip:{user}@example.com\"></dialog-info>"
            )),
            "{empty}"
        );
        let mut own = Lamp::new("dialog", &user, &user);
        own.watch(&mut phone);
        assert_eq!(own.sees(&mut phone).0, 0);
        let mut presence = Watch::new(&user);
        presence.subscribe(&mut phone, 600);
        let told_of =
            |phone: &mut Phone, watch: &Watch| told(&phone.notify(Some(&watch.call_id))).1;
        assert!(told_of(&mut phone, &presence).contains("<basic>closed</basic>"));

        let mut switch = Switch::new(&user);
        let mut version = 0;
        for state in ["Trying", "early", "confirmed"] {
            switch.says(&mut phone, &call("c1", state));
            let (of_lamp, shown) = lamp.sees(&mut phone);
            version += 1;
            assert_eq!(of_lamp, version, "{state}");
            let state = state.to_lowercase();
            assert_eq!(states(&shown), [&*state]);
            assert!(
                shown.contains(" direction=\"recipient\"><state>")
                    && shown.contains("<identity>sip:200@example.com</identity>"),
                "{shown}"
            );
            for secret in ["c1", "Carol", "carol", "<remote>", "-tag"] {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
            let (of_own, whole) = own.sees(&mut phone);
            assert_eq!(of_own, version);
            for part in [
                " call-id=\"c1\"",
                " local-tag=\"lc1\"",
                " remote-tag=\"rc1\"",
                "<identity display=\"Carol\">sip:carol@elsewhere.example</identity>",
            ] {
                assert!(whole.contains(part), "{part} in {whole}");
            }
        }
        let shown = told_of(&mut phone, &presence);
        assert!(!shown.contains(ON_THE_PHONE), "it rings: {shown}");
        let shown = told_of(&mut phone, &presence);
        assert!(
            shown.contains(ON_THE_PHONE) && shown.contains("<basic>open</basic>"),
            "{shown}"
        );

        // The same again, and a refresh, are told to nobody.
        switch.says(&mut phone, &call("c1", "confirmed"));
        assert_eq!(switch.publish(&mut phone, 600, "").status().number(), 200);
        assert!(phone.drain(QUIET).is_empty());
        let (_, report) = server.get(&format!("/presentity/sip:{user}@example.com"));
        assert!(
            report.contains("\"event\":\"dialog\"") && report.contains("\"calls\":\"<?xml"),
            "{report}"
        );

        assert_eq!(lamp.subscribe(&mut phone, 300).status().number(), 200);
        let (refreshed, shown) = lamp.sees(&mut phone);
        assert_eq!(
            (refreshed, states(&shown)),
            (version + 1, vec!["confirmed"])
        );
        // A fetch is one notification, and its own subscription.
        let mut fetch = Lamp::new("dialog", &user, "boss");
        assert_eq!(fetch.subscribe(&mut phone, 0).status().number(), 200);
        let only = fetch.notified(&mut phone);
        assert_eq!(
            only.header(Name::SubscriptionState),
            Some("terminated;reason=timeout")
        );
        assert!(told(&only).1.contains(" version=\"0\""));

        switch.says(&mut phone, &call("c1", "terminated"));
        assert_eq!(states(&lamp.sees(&mut phone).1), Vec::<&str>::new());
        assert!(told_of(&mut phone, &presence).contains("<basic>closed</basic>"));
        // A request of presence finds no subscription to dialogs.
        let event = std::mem::replace(&mut lamp.event, "presence");
        assert_eq!(lamp.subscribe(&mut phone, 600).status().number(), 481);
        lamp.event = event;
        assert_eq!(lamp.subscribe(&mut phone, 0).status().number(), 200);
        let last = lamp.notified(&mut phone);
        assert_eq!(
            last.header(Name::SubscriptionState),
            Some("terminated;reason=timeout")
        );
        assert_eq!(lamp.subscribe(&mut phone, 600).status().number(), 481);
    }
}

//= RFC 4235 3.7.1
//= type=test
//= RFC 4235 4.1.2
//= type=test
#[test]
fn several_publishers_make_one_state_and_none_goes_back() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::tcp(server.tcp);
    let mut lamp = Lamp::new("dialog", "ben", "boss");
    lamp.watch(&mut phone);
    lamp.notified(&mut phone);
    let next = |phone: &mut Phone| {
        let (_, shown) = lamp.sees(phone);
        states(&shown)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (mut desk, mut proxy) = (Switch::new("ben"), Switch::new("ben"));
    desk.says(&mut phone, &call("c1", "early"));
    assert_eq!(next(&mut phone), ["early"]);
    let of_proxy = |state: &str| call("c1", state).replace("id=\"c1\" call", "id=\"proxy\" call");
    proxy.says(&mut phone, &of_proxy("confirmed"));
    assert_eq!(next(&mut phone), ["confirmed"], "one call, one state");
    // A late word of the telephone: there is nothing to tell.
    desk.says(&mut phone, &call("c1", "early"));
    assert!(phone.drain(QUIET).is_empty());
    // Two calls, one after the other in a part of the document.
    let part = document(&desk.user, "partial", &call("c2", "early"));
    assert_eq!(desk.publish(&mut phone, 600, &part).status().number(), 200);
    assert_eq!(next(&mut phone), ["confirmed", "early"]);
    proxy.says(&mut phone, &of_proxy("terminated"));
    assert_eq!(next(&mut phone), ["early"], "it ended for both");
    assert_eq!(proxy.publish(&mut phone, 0, "").status().number(), 200);
    assert_eq!(next(&mut phone), ["early"]);
    // Whoever lost its tag begins anew; the call that ended does not ring again.
    let mut again = Switch::new("ben");
    again.says(&mut phone, &of_proxy("early"));
    assert_eq!(next(&mut phone), ["early"], "only the second call");
    // What a publisher had said ends with its publication.
    assert_eq!(desk.publish(&mut phone, 0, "").status().number(), 200);
    assert_eq!(next(&mut phone), Vec::<String>::new());
}

/// A user whose own client says something is on the phone as long as a call lasts, for everybody in their words.
// proves: BLU-2.5-01
//= BLUSTAR 3.1
//= type=test
//= AUDIOCODES p. 321
//= type=test
#[test]
fn a_call_lies_over_presence_and_goes_with_its_publication() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::tcp(server.tcp);
    let mut presence = Watch::new("cleo");
    presence.subscribe(&mut phone, 600);
    phone.notify(Some(&presence.call_id));
    let mut client = super::phone::Publisher::new("cleo");
    client.publish(
        &mut phone,
        Some(600),
        &super::phone::document("cleo", "open", "here"),
    );
    phone.notify(Some(&presence.call_id));
    // BluStar's own telephone watches as well.
    let mut blustar = Phone::tcp(server.tcp);
    let mut line = Lamp::new("presence", "cleo", "dora");
    line.lines = "User-Agent: Aastra BluStar Client/3.0.0.0\r\n";
    assert_eq!(line.subscribe(&mut blustar, 300).status().number(), 200);
    line.notified(&mut blustar);

    let mut switch = Switch::new("cleo");
    for (state, of_line, consolidated) in [
        ("early", "ringing", "Available"),
        ("confirmed", "busy", "In a call"),
    ] {
        switch.says(&mut phone, &call("c1", state));
        let (_, shown) = told(&line.notified(&mut blustar));
        for part in [
            "<dm:device id=\"tel:200\"><aa:line><aa:DN>200</aa:DN>",
            &*format!("<aa:state>{of_line}</aa:state>"),
            &*format!("<rpid:note xml:lang=\"Eng\">{consolidated}</rpid:note>"),
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let (_, shown) = told(&phone.notify(Some(&presence.call_id)));
        assert_eq!(shown.contains(ON_THE_PHONE), of_line == "busy", "{shown}");
        assert!(shown.contains("<note>here</note>"), "{shown}");
    }
    // What its own client says meanwhile does not hide the call.
    client.publish(
        &mut phone,
        Some(600),
        &super::phone::document("cleo", "open", "there"),
    );
    let (_, shown) = told(&phone.notify(Some(&presence.call_id)));
    assert!(
        shown.contains(ON_THE_PHONE) && shown.contains("<note>there</note>"),
        "{shown}"
    );
    line.notified(&mut blustar);
    // The switch withdraws.
    assert_eq!(switch.publish(&mut phone, 0, "").status().number(), 200);
    let (_, shown) = told(&phone.notify(Some(&presence.call_id)));
    assert!(
        !shown.contains(ON_THE_PHONE) && shown.contains("<note>there</note>"),
        "{shown}"
    );
    let (_, shown) = told(&line.notified(&mut blustar));
    assert!(
        !shown.contains("aa:line") && shown.contains("Available"),
        "{shown}"
    );
}

//= RFC 3842 3.6
//= type=test
//= RFC 3842 3.5
//= type=test
#[test]
fn who_has_mail_is_told_and_nobody_else() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::udp(server.udp);
    let mut stranger = Lamp::new("message-summary", "eve", "boss");
    assert_eq!(stranger.subscribe(&mut phone, 600).status().number(), 403);
    let mut own = Lamp::new("message-summary", "eve", "eve");
    own.lines = "Accept: application/simple-message-summary\r\n";
    own.watch(&mut phone);
    let first = own.notified(&mut phone);
    assert_eq!(first.header(Name::Event), Some("message-summary"));
    assert_eq!(
        first.header(Name::ContentType),
        Some("application/simple-message-summary")
    );
    let account = "Message-Account: sip:eve@example.com\r\n";
    assert_eq!(told(&first).1, format!("Messages-Waiting: no\r\n{account}"));

    let path = "/presentity/sip:eve@example.com/waiting";
    let tell = |body: &str| server.admin("PUT", path, "application/json", body).0;
    let two = r#"{"waiting":true,"unread":2,"read":8}"#;
    assert!((200..300).contains(&tell(two)));
    assert_eq!(
        told(&own.notified(&mut phone)).1,
        format!("Messages-Waiting: yes\r\n{account}Voice-Message: 2/8\r\n")
    );
    assert!((200..300).contains(&tell(two)));
    assert!(phone.drain(QUIET).is_empty(), "the same is no news");
    assert_eq!(own.subscribe(&mut phone, 0).status().number(), 200);
    let last = own.notified(&mut phone);
    assert_eq!(
        last.header(Name::SubscriptionState),
        Some("terminated;reason=timeout")
    );
    assert!(told(&last).1.contains("Voice-Message: 2/8"));
}

//= RFC 3680 4.6
//= type=test
//= RFC 3680 4.4
//= type=test
#[test]
fn a_registration_is_followed_by_its_user_and_by_who_may() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "[reg]\nwatchers = [\"console@example.com\"]\n");
    let mut phone = Phone::tcp(server.tcp);
    let mut stranger = Lamp::new("reg", "fay", "boss");
    assert_eq!(stranger.subscribe(&mut phone, 600).status().number(), 403);
    let mut own = Lamp::new("reg", "fay", "fay");
    own.watch(&mut phone);
    let first = own.notified(&mut phone);
    assert_eq!(
        first.header(Name::ContentType),
        Some("application/reginfo+xml")
    );
    assert!(told(&first).1.contains("version=\"0\" state=\"full\""));
    assert!(told(&first).1.contains("state=\"init\"></registration>"));
    let mut console = Lamp::new("reg", "fay", "console");
    console.watch(&mut phone);
    assert_eq!(console.sees(&mut phone).0, 0);

    let uri = "sip:fay@example.com";
    let register = |phone: &mut Phone, cseq: u32, contact: &str, expires: u32| {
        let head = phone.head(
            "REGISTER",
            "sip:example.com",
            uri,
            &format!("<{uri}>"),
            "reg",
            cseq,
        );
        let begin = head.split("Contact:").next().expect("a head");
        let lines = format!("Contact: <sip:{contact}>;q=0.7\r\nExpires: {expires}\r\n");
        let answer = phone.ask(begin.to_owned(), &lines, "");
        assert_eq!(answer.status().number(), 200);
    };
    for (version, cseq, contact, expires, parts) in [
        (
            1,
            1,
            "fay@192.0.2.1",
            600,
            vec![
                "state=\"active\" event=\"registered\"",
                " q=\"0.700\"><uri>sip:fay@192.0.2.1</uri>",
            ],
        ),
        (2, 2, "fay@192.0.2.2", 600, vec!["192.0.2.1", "192.0.2.2"]),
        (
            3,
            3,
            "fay@192.0.2.1",
            0,
            vec![
                "state=\"terminated\" event=\"unregistered\"",
                "state=\"active\" event=\"registered\"",
            ],
        ),
        (
            4,
            4,
            "fay@192.0.2.2",
            0,
            vec!["state=\"terminated\"><contact"],
        ),
    ] {
        register(&mut phone, cseq, contact, expires);
        for lamp in [&own, &console] {
            let (told, document) = lamp.sees(&mut phone);
            assert_eq!(told, version);
            for part in &parts {
                assert!(document.contains(part), "{part} in {document}");
            }
        }
    }
    register(&mut phone, 5, "fay@192.0.2.3", 600);
    for lamp in [&own, &console] {
        assert_eq!(lamp.sees(&mut phone).0, 5);
    }
    register(&mut phone, 6, "fay@192.0.2.3", 600);
    assert!(phone.drain(QUIET).is_empty(), "a refresh is no news");
}

//= RFC 4235 3.3
//= type=test
//= RFC 4235 3.6
//= type=test
//= RFC 3903 6
//= type=test
#[test]
fn what_does_not_fit_gets_its_answer() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::udp(server.udp);
    for (event, watcher, lines, status) in [
        ("dialog", "boss", "Accept: application/pidf+xml\r\n", 406),
        ("dialog", "boss", "Accept: text/plain, */*\r\n", 200),
        ("dialog", "boss@elsewhere.example", "", 403),
        (
            "dialog",
            "boss",
            "Require: recipient-list-subscribe\r\n",
            420,
        ),
        (
            "message-summary",
            "gus",
            "Accept: application/pidf+xml\r\n",
            406,
        ),
        ("reg", "gus", "Accept: application/reginfo+xml\r\n", 200),
        ("reg", "gus@elsewhere.example", "", 403),
        ("dialog.winfo", "gus", "", 489),
    ] {
        let mut lamp = Lamp::new(event, "gus", watcher);
        lamp.lines = lines;
        let answer = lamp.subscribe(&mut phone, 600);
        assert_eq!(
            answer.status().number(),
            status,
            "{event} {watcher} {lines}"
        );
    }
    let uri = "sip:gus@example.com";
    let good = document(uri, "full", &call("c1", "early"));
    for (name, lines, body, status) in [
        (
            "not published",
            "Event: reg\r\nContent-Type: application/reginfo+xml\r\n",
            "x",
            489,
        ),
        ("not published", "Event: message-summary\r\n", "x", 489),
        (
            "another type",
            "Event: dialog\r\nContent-Type: application/pidf+xml\r\n",
            &*good,
            415,
        ),
        (
            "another document",
            "Event: presence\r\nContent-Type: application/pidf+xml\r\n",
            &good,
            400,
        ),
        (
            "no document",
            "Event: dialog\r\nContent-Type: application/dialog-info+xml\r\n",
            "<dialog-info",
            400,
        ),
        ("no body", "Event: dialog\r\n", "", 400),
        (
            "nobody's tag",
            "Event: dialog\r\nSIP-If-Match: 00000000-0-0\r\n",
            "",
            412,
        ),
        (
            "good",
            "Event: Dialog\r\nContent-Type: application/dialog-info+xml\r\n",
            &good,
            200,
        ),
    ] {
        let call_id = format!("pub-{}", fresh());
        let head = phone.head("PUBLISH", uri, uri, &format!("<{uri}>"), &call_id, 1);
        let answer = phone.ask(head, lines, body);
        assert_eq!(answer.status().number(), status, "{name}");
        if status == 415 {
            assert_eq!(answer.header(Name::Accept), Some(DIALOG_INFO));
        }
    }
}

/// The operator lets everybody see whole calls, so that one may pick them up.
#[test]
fn who_may_pick_up_is_told_what_it_takes() {
    let data = tempfile::tempdir().expect("a folder");
    let server = server(data.path(), "[dialog]\ndetail = \"full\"\n");
    let mut phone = Phone::udp(server.udp);
    let mut lamp = Lamp::new("dialog", "hal", "boss");
    lamp.watch(&mut phone);
    lamp.notified(&mut phone);
    Switch::new("hal").says(&mut phone, &call("c1", "early"));
    let (_, shown) = lamp.sees(&mut phone);
    assert!(
        shown.contains("call-id=\"c1\" local-tag=\"lc1\" remote-tag=\"rc1\"")
            && shown.contains("<remote><identity display=\"Carol\">"),
        "{shown}"
    );
}

/// Versions are counted in the log: whoever goes on does not begin anew.
#[test]
fn a_version_goes_on_after_a_crash() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::udp(server.udp);
    let (udp, tcp) = (server.udp, server.tcp);
    let mut lamp = Lamp::new("dialog", "ida", "boss");
    lamp.watch(&mut phone);
    assert_eq!(lamp.sees(&mut phone).0, 0);
    let mut switch = Switch::new("ida");
    switch.says(&mut phone, &call("c1", "early"));
    let (version, _) = lamp.sees(&mut phone);
    assert_eq!(version, 1);
    server.kill();
    let _server = Server::restart(data.path(), udp, tcp);
    // What the dead one may not have told is told again, and counts.
    let (repeated, shown) = lamp.sees(&mut phone);
    assert_eq!((repeated, states(&shown)), (2, vec!["early"]));
    switch.says(&mut phone, &call("c1", "confirmed"));
    let (version, shown) = lamp.sees(&mut phone);
    assert_eq!((version, states(&shown)), (3, vec!["confirmed"]));
    // The call ended while the node was down for its publisher: a late word does not bring it back.
    switch.says(&mut phone, &call("c1", "terminated"));
    assert_eq!(states(&lamp.sees(&mut phone).1), Vec::<&str>::new());
    switch.says(&mut phone, &call("c1", "early"));
    assert!(phone.drain(QUIET).is_empty());
}
