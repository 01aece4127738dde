//! The phones on the desk: BluStar, gateways, ComSIPL and Linphone, as their documents print them.
//!
//! The printed messages are not part of this repository: they are looked for in `../shared` beside it, or
//! where `LAMPLIGHT_SHARED` says, and without them there is nothing to replay.

mod blustar;
mod gateway;
mod lists;
mod sign_in;
mod simple;

use std::path::{Path, PathBuf};
use std::time::Duration;

use transport::sip::{Name, Request, Response};

use super::phone::{Phone, fresh};
use super::server::Server;

/// How long nothing is waited for.
const QUIET: Duration = Duration::from_millis(400);

/// A server for the domains of the printed messages.
fn server(data: &Path, more: &[&str]) -> Server {
    let mut arguments = vec!["--domain", "astra.com", "--domain", "aastra.com"];
    arguments.extend(more);
    Server::start_with(data, &arguments)
}

/// The same with settings in a file.
fn configured(data: &Path, settings: &str, more: &[&str]) -> Server {
    let file = data.join("node.toml");
    std::fs::write(&file, settings).expect("written");
    let file = file.to_str().expect("a path of text").to_owned();
    let mut arguments = vec!["--config", file.as_str()];
    arguments.extend(more);
    server(data, &arguments)
}

/// A printed message, with these texts in the place of others.
fn printed(name: &str, changes: &[(&str, &str)]) -> Option<String> {
    let beside = || {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        Some(workspace.parent()?.join("shared"))
    };
    let shared = std::env::var_os("LAMPLIGHT_SHARED").map(PathBuf::from);
    let path = shared.or_else(beside)?.join("spec/vectors").join(name);
    let Ok(mut text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    };
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has {from:?}");
        text = text.replace(from, to);
    }
    Some(text)
}

/// Sends a message and waits for its final response.
fn send(phone: &mut Phone, message: &str) -> Response {
    phone.send(message.as_bytes());
    phone.response()
}

fn body(request: &Request) -> String {
    String::from_utf8_lossy(request.body()).into_owned()
}

/// What the consolidated status says: the texts of note and activity.
fn status(document: &str) -> String {
    let activities = document.split("<rpid:activities>").nth(1);
    let activities = activities.and_then(|rest| rest.split("</rpid:activities>").next());
    activities.unwrap_or_default().to_owned()
}

fn expected(note: &str, activity: &str) -> String {
    format!("<rpid:note xml:lang=\"Eng\">{note}</rpid:note>{activity}")
}

const SIGNED_OUT: &str = "<rpid:other>signed out</rpid:other>";

/// A BluStar client of a user.
struct Client {
    phone: Phone,
    user: String,
    /// What its Contact is.
    contact: String,
    agent: String,
    cseq: u32,
    tag: Option<String>,
}

/// A dialog of a client.
struct Subscription {
    call_id: String,
    to: String,
    to_tag: Option<String>,
    cseq: u32,
    list: Option<String>,
    lines: String,
}

impl Client {
    fn new(server: &Server, user: &str, contact: &str) -> Client {
        Client {
            phone: Phone::tcp(server.tcp),
            user: format!("sip:{user}@aastra.com:5060"),
            contact: format!("sip:{contact}@192.0.2.7:5060"),
            agent: "Aastra BluStar Client/3.0.0.0".to_owned(),
            cseq: 0,
            tag: None,
        }
    }

    fn head(&mut self, method: &str, to: &str, call_id: &str, cseq: u32) -> String {
        let Client {
            user,
            contact,
            agent,
            ..
        } = self;
        format!(
            "{method} sip:10.103.230.130:5060 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.7;branch=z9hG4bKd{};alias\r\n\
             Route: <sip:2.2.2.2:5060;lr>\r\nMax-Forwards: 70\r\nFrom: <{user}>;tag=f{call_id}\r\nTo: {to}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <{contact}>\r\nUser-Agent: {agent}\r\n",
            fresh()
        )
    }

    fn publish_with(&mut self, lines: &str, body: &str) -> Response {
        self.cseq += 1;
        let to = format!("<{}>", self.user);
        let call_id = format!("pub-{}", fresh());
        let head = self.head("PUBLISH", &to, &call_id, self.cseq);
        let tag = self.tag.as_ref();
        let tag = tag.map_or(String::new(), |tag| format!("SIP-If-Match: {tag}\r\n"));
        let media = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/pidf+xml\r\n"
        };
        let response = self.phone.ask(
            head,
            &format!("Event: presence\r\n{tag}{media}{lines}"),
            body,
        );
        if response.status().number() == 200 {
            self.tag = response.header(Name::SipETag).map(str::to_owned);
        }
        response
    }

    fn publish(&mut self, status: &str, note: &str) -> Response {
        self.publish_with("Expires: 3600\r\n", &document(status, note, ""))
    }

    fn sign_off(&mut self) -> Response {
        self.publish_with("Expires: 0\r\n", "")
    }

    fn watch(&mut self, user: &str) -> Subscription {
        let mut subscription = Subscription {
            call_id: format!("sub-{}", fresh()),
            to: format!("sip:{user}@aastra.com:5060"),
            to_tag: None,
            cseq: 0,
            list: None,
            lines: String::new(),
        };
        let answer = self.subscribe(&mut subscription, 300);
        assert_eq!(answer.status().number(), 200, "{user}");
        subscription
    }

    fn watch_list(&mut self, uris: &[&str], lines: &str) -> (Subscription, Response) {
        let entries: String = uris
            .iter()
            .map(|uri| format!("<entry uri=\"{uri}\"/>"))
            .collect();
        let mut subscription = Subscription {
            call_id: format!("list-{}", fresh()),
            to: "sip:rls@aastra.com:5060".to_owned(),
            to_tag: None,
            cseq: 0,
            list: Some(format!(
                "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list></resource-lists>"
            )),
            lines: lines.to_owned(),
        };
        let answer = self.subscribe(&mut subscription, 7_200);
        (subscription, answer)
    }

    fn subscribe(&mut self, of: &mut Subscription, expires: u32) -> Response {
        of.cseq += 1;
        let to = match &of.to_tag {
            Some(tag) => format!("<{}>;tag={tag}", of.to),
            None => format!("<{}>", of.to),
        };
        let head = self.head("SUBSCRIBE", &to, &of.call_id, of.cseq);
        let mut lines = format!("Event: presence\r\nExpires: {expires}\r\n{}", of.lines);
        let list = of.list.take();
        if list.is_some() {
            lines += "Require: recipient-list-subscribe\r\nContent-Type: application/resource-lists+xml\r\n";
        }
        let answer = self.phone.ask(head, &lines, list.as_deref().unwrap_or(""));
        if of.to_tag.is_none() {
            of.to_tag = answer.to_tag().map(str::to_owned);
        }
        answer
    }

    fn told(&mut self, of: &Subscription) -> Request {
        self.phone.notify(Some(&of.call_id))
    }

    /// The consolidated status of the next notification.
    fn sees(&mut self, of: &Subscription) -> String {
        status(&body(&self.told(of)))
    }
}

/// What a BluStar client publishes.
fn document(status: &str, note: &str, more: &str) -> String {
    let note = match note {
        "" => "<aa:note xml:lang=\"Eng\"/>".to_owned(),
        note => format!("<aa:note xml:lang=\"Eng\">{note}</aa:note>"),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:aa=\"http://www.aastra.com/presence/blustar/2011\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
         entity=\"sip:x@y\"><tuple id=\"audio\"><status><basic>open</basic></status></tuple>\
         <dm:person id=\"sip:x@y\"><aa:presence><aa:blustar><aa:status>{status}</aa:status>{note}\
         <aa:timestamp>2026-01-01T00:00:00Z</aa:timestamp></aa:blustar>{more}</aa:presence></dm:person></presence>"
    )
}
