//! A switchboard that is subscribed to: one on a socket of the test, which challenges, notifies, ends, forgets and
//! refuses as it is told to, and what watchers are shown of its lines.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use node::ingress::digest::Algorithm;
use transport::sip::header::{NameAddr, Params, elements};
use transport::sip::uri::Uri;
use transport::sip::write::Reply;
use transport::sip::{Message, Method, Name, Request, StatusCode};

use super::enhanced::client::{Client, categories, publication};
use super::phone::{Phone, Watch, fresh, told};
use super::pool::Pool;
use super::server::Server;

/// How long a change may take to be seen: subscriptions live for seconds, a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(40);

const REALM: &str = "pbx.test";
const PASSWORD: &str = "wonder";
const PHONE: &str = "<rpid:on-the-phone";

/// A subscription as the switchboard has it.
#[derive(Clone, Debug)]
struct Dialog {
    number: String,
    call_id: String,
    /// From of the subscriber, which is To of what is sent.
    subscriber: String,
    tag: String,
    target: String,
    peer: SocketAddr,
    cseq: u32,
    version: u32,
    /// SUBSCRIBE requests that it had.
    asked: u32,
    until: Instant,
    lives: bool,
}

#[derive(Default)]
struct State {
    /// What is going on on each line: id, direction, state.
    calls: BTreeMap<String, Vec<(String, &'static str, &'static str)>>,
    dialogs: Vec<Dialog>,
    /// What subscriptions to a line get in the place of 200.
    refusal: Option<(u16, &'static str)>,
    /// Which state a new subscription is told in its first notification, if not active.
    first: Option<&'static str>,
    challenged: u32,
    /// Of these, those that had credentials.
    wrong: u32,
    /// SUBSCRIBE requests with zero seconds.
    ended: u32,
    /// Answers to NOTIFY: Call-ID and status.
    answers: Vec<(String, u16)>,
}

/// The switchboard.
struct Pbx {
    socket: UdpSocket,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Pbx {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn document(number: &str, version: u32, calls: &[(String, &str, &str)], state: &str) -> String {
    let dialogs = calls.iter().map(|(id, direction, state)| {
        format!("<dialog id=\"{id}\" call-id=\"{id}\" direction=\"{direction}\"><state>{state}</state></dialog>")
    });
    let dialogs: String = dialogs.collect();
    format!(
        "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" \
         state=\"{state}\" entity=\"sip:{number}@{REALM}\">{dialogs}</dialog-info>"
    )
}

/// The password was known.
fn is_right(request: &Request) -> bool {
    let line = request.header(Name::Authorization).unwrap_or_default();
    let Some(fields) = line.strip_prefix("Digest ") else {
        return false;
    };
    let fields: Vec<(&str, &str)> = elements(fields)
        .flat_map(|field| Params(field).iter().collect::<Vec<_>>())
        .collect();
    let get = |name: &str| {
        fields
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| *value)
    };
    let hash = |parts: &[&str]| Algorithm::Md5.hash(parts);
    let secret = hash(&["lamplight", REALM, PASSWORD]);
    let second = hash(&["SUBSCRIBE", request.uri()]);
    let right = hash(&[&secret, "nonce", get("nc"), get("cnonce"), "auth", &second]);
    get("response") == right && get("uri") == request.uri()
}

impl State {
    /// NOTIFY in a dialog.
    fn notify(&mut self, socket: &UdpSocket, place: usize, state: &str, body: &str) {
        let dialog = &mut self.dialogs[place];
        dialog.cseq += 1;
        let here = socket.local_addr().expect("bound");
        let media = match body.is_empty() {
            true => "",
            false => "Content-Type: application/dialog-info+xml\r\n",
        };
        let text = format!(
            "NOTIFY {} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKn{}\r\nMax-Forwards: 70\r\n\
             From: <sip:{}@{REALM}>;tag={}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} NOTIFY\r\nContact: <sip:pbx@{here}>\r\n\
             Event: dialog\r\nSubscription-State: {state}\r\n{media}Content-Length: {}\r\n\r\n{body}",
            dialog.target,
            fresh(),
            dialog.number,
            dialog.tag,
            dialog.subscriber,
            dialog.call_id,
            dialog.cseq,
            body.len()
        );
        let _ = socket.send_to(text.as_bytes(), dialog.peer);
    }

    /// All there is, to one subscriber.
    fn tell_all(&mut self, socket: &UdpSocket, place: usize, state: &str) {
        let dialog = &mut self.dialogs[place];
        dialog.version += 1;
        let (number, version) = (dialog.number.clone(), dialog.version);
        let none = Vec::new();
        let calls = self.calls.get(&number).unwrap_or(&none);
        let body = document(&number, version, calls, "full");
        self.notify(socket, place, state, &body);
    }

    fn subscribe(&mut self, socket: &UdpSocket, request: &Request, peer: SocketAddr) {
        let here = socket.local_addr().expect("bound");
        let answer = |status: u16, tag: &str| {
            Reply::new(
                request,
                StatusCode::new(status).expect("a status"),
                Some(tag),
            )
        };
        if !is_right(request) {
            self.challenged += 1;
            self.wrong += u32::from(request.header(Name::Authorization).is_some());
            let challenge =
                format!("Digest realm=\"{REALM}\", nonce=\"nonce\", qop=\"auth\", algorithm=MD5");
            let reply = answer(401, "x")
                .header("WWW-Authenticate", challenge)
                .finish();
            let _ = socket.send_to(&reply, peer);
            return;
        }
        let number =
            Uri::parse(request.uri()).map_or_else(|_| String::new(), |uri| uri.user.to_owned());
        let asked = request.expires().ok().flatten().unwrap_or_default();
        let known = |dialog: &Dialog| {
            dialog.lives
                && dialog.call_id == request.call_id()
                && Some(&*dialog.tag) == request.to_tag()
        };
        let place = self.dialogs.iter().position(known);
        let place = match (place, request.to_tag(), self.refusal) {
            (Some(place), ..) => place,
            (None, Some(_), _) => {
                let _ = socket.send_to(&answer(481, "x").finish(), peer);
                return;
            }
            (None, None, Some((status, retry))) => {
                let mut reply = answer(status, "x");
                if !retry.is_empty() {
                    reply = reply.header("Retry-After", retry);
                }
                let _ = socket.send_to(&reply.finish(), peer);
                return;
            }
            (None, None, None) => {
                let contact = request.values(Name::Contact).next().unwrap_or_default();
                self.dialogs.push(Dialog {
                    number,
                    call_id: request.call_id().to_owned(),
                    subscriber: request.header(Name::From).unwrap_or_default().to_owned(),
                    tag: format!("p{}", fresh()),
                    target: NameAddr::parse(contact)
                        .map_or("", |contact| contact.uri)
                        .to_owned(),
                    peer,
                    cseq: 0,
                    version: 0,
                    asked: 0,
                    until: Instant::now(),
                    lives: true,
                });
                self.dialogs.len() - 1
            }
        };
        let dialog = &mut self.dialogs[place];
        dialog.asked += 1;
        dialog.until = Instant::now() + Duration::from_secs(asked.into());
        let reply = answer(200, &dialog.tag)
            .header("Expires", asked)
            .header("Contact", format!("<sip:pbx@{here}>"))
            .finish();
        let _ = socket.send_to(&reply, peer);
        if asked == 0 {
            dialog.lives = false;
            self.ended += 1;
            return self.notify(socket, place, "terminated;reason=timeout", "");
        }
        match self.first {
            Some(state) => {
                self.dialogs[place].lives = !state.starts_with("terminated");
                self.notify(socket, place, state, "");
            }
            None => self.tell_all(socket, place, &format!("active;expires={asked}")),
        }
    }
}

impl Pbx {
    fn start() -> Pbx {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        let state = Arc::<Mutex<State>>::default();
        let stops = Arc::<AtomicBool>::default();
        let (own, kept, stop) = (
            socket.try_clone().expect("cloned"),
            Arc::clone(&state),
            Arc::clone(&stops),
        );
        own.set_read_timeout(Some(Duration::from_millis(50)))
            .expect("set");
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 65_535];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, peer)) = own.recv_from(&mut buffer) else {
                    continue;
                };
                let bytes = Bytes::copy_from_slice(&buffer[..length]);
                let mut state = kept.lock().expect("nobody panics with it");
                match Message::parse(bytes).expect("the server writes what can be read") {
                    Message::Request(request) if *request.method() == Method::Subscribe => {
                        state.subscribe(&own, &request, peer);
                    }
                    Message::Request(request) => {
                        panic!("a switchboard is not asked for {:?}", request.method())
                    }
                    Message::Response(response) => {
                        let answer = (response.call_id().to_owned(), response.status().number());
                        state.answers.push(answer);
                    }
                }
            }
        });
        Pbx {
            socket,
            address,
            state,
            stops,
            thread: Some(thread),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// A call on a line, in this state from now on; its subscribers are told the part.
    fn call(&self, number: &str, id: &str, direction: &'static str, call: &'static str) {
        let mut state = self.state();
        let calls = state.calls.entry(number.to_owned()).or_default();
        calls.retain(|(known, ..)| known != id);
        if call != "terminated" {
            calls.push((id.to_owned(), direction, call));
        }
        let part = [(id.to_owned(), direction, call)];
        for place in 0..state.dialogs.len() {
            let dialog = &mut state.dialogs[place];
            if dialog.number != number || !dialog.lives || dialog.until < Instant::now() {
                continue;
            }
            dialog.version += 1;
            let body = document(number, dialog.version, &part, "partial");
            state.notify(&self.socket, place, "active", &body);
        }
    }

    /// Ends all subscriptions with this reason.
    fn end_all(&self, reason: &str) {
        let mut state = self.state();
        for place in 0..state.dialogs.len() {
            if state.dialogs[place].lives {
                state.dialogs[place].lives = false;
                state.notify(&self.socket, place, &format!("terminated{reason}"), "");
            }
        }
    }

    /// Waits until this is so.
    fn until(&self, what: &str, so: impl Fn(&State) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !so(&self.state()) {
            let state = self.state();
            assert!(
                Instant::now() < until,
                "{what}: {:?} {:?}",
                state.dialogs,
                state.answers
            );
            drop(state);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The subscription to a line that lives, when there is one, and one only.
    fn only(&self, number: &str) -> Dialog {
        let of_line = |state: &State| -> Vec<Dialog> {
            let now = Instant::now();
            let lives =
                |dialog: &&Dialog| dialog.lives && dialog.number == number && dialog.until > now;
            state.dialogs.iter().filter(lives).cloned().collect()
        };
        self.until("one subscriber of the line", |state| {
            of_line(state).len() == 1
        });
        of_line(&self.state()).remove(0)
    }

    /// The settings of a node that watches these lines.
    fn settings(&self, folder: &Path, lines: &[(&str, &str)], more: &str) -> String {
        let lines: String = lines
            .iter()
            .map(|(address, number)| format!("{address}:{number}\n"))
            .collect();
        std::fs::write(folder.join("lines"), format!("# lines\n{lines}")).expect("written");
        std::fs::write(folder.join("password"), format!("{PASSWORD}\n")).expect("written");
        format!(
            "[[pbx]]\nname = \"main\"\naddress = \"udp:{}\"\nline = \"sip:{{tel}}@{REALM}\"\nusers = \"{at}/lines\"\n\
             login = \"lamplight\"\npassword = \"{at}/password\"\n{more}",
            self.address,
            at = folder.display()
        )
    }
}

fn written(folder: &Path, settings: &str) -> PathBuf {
    let file = folder.join("node.toml");
    std::fs::write(&file, settings).expect("written");
    file
}

/// A watcher of a user, plain or of BluStar's.
struct Watcher {
    phone: Phone,
    watch: Watch,
    last: String,
    /// Documents since the last look.
    seen: Vec<String>,
}

impl Watcher {
    fn of(server: &Server, user: &str) -> Watcher {
        let mut phone = Phone::udp(server.udp);
        let mut watch = Watch::new(user);
        assert_eq!(watch.subscribe(&mut phone, 3_600).status(), StatusCode::OK);
        let (_, last) = told(&phone.notify(Some(&watch.call_id)));
        Watcher {
            phone,
            watch,
            last,
            seen: Vec::new(),
        }
    }

    fn blustar(server: &Server, user: &str) -> Watcher {
        let mut phone = Phone::tcp(server.tcp);
        let watch = Watch::new(user);
        let uri = format!("sip:{user}@example.com");
        let head = phone.head(
            "SUBSCRIBE",
            &uri,
            "sip:desk@example.com",
            &format!("<{uri}>"),
            &watch.call_id,
            1,
        );
        let lines = "User-Agent: Aastra BluStar Client/3.0.0.0\r\nEvent: presence\r\nAccept: application/pidf+xml\r\nExpires: 3600\r\n";
        assert_eq!(phone.ask(head, lines, "").status(), StatusCode::OK);
        let (_, last) = told(&phone.notify(Some(&watch.call_id)));
        Watcher {
            phone,
            watch,
            last,
            seen: Vec::new(),
        }
    }

    fn look(&mut self) {
        for notify in self.phone.drain(Duration::from_millis(30)) {
            if notify.call_id() == self.watch.call_id {
                self.last = told(&notify).1;
                self.seen.push(self.last.clone());
            }
        }
    }

    /// Waits until what is shown has, or has not, a text.
    fn until(&mut self, what: &str, text: &str, shown: bool) {
        let until = Instant::now() + PATIENCE;
        while self.last.contains(text) != shown {
            assert!(Instant::now() < until, "{what}: {}", self.last);
            self.look();
        }
        self.seen.clear();
    }

    /// What was shown since always had this text.
    fn always(&mut self, what: &str, text: &str) {
        self.look();
        for document in self.seen.drain(..) {
            assert!(document.contains(text), "{what}: {document}");
        }
        assert!(self.last.contains(text), "{what}: {}", self.last);
    }
}

/// A number of the metrics.
fn counted(server: &Server, name: &str) -> u64 {
    let (_, metrics) = server.get("/metrics");
    let begins = [
        format!("lamplight_{name} "),
        format!("lamplight_{name}_total{{}} "),
    ];
    let named = |line: &&str| begins.iter().any(|begin| line.starts_with(begin));
    let line = metrics.lines().find(named);
    let line = line.unwrap_or_else(|| panic!("no {name} in {metrics}"));
    line.rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn line(state: &str) -> String {
    format!("<aa:DN>200</aa:DN><aa:state>{state}</aa:state>")
}

//= RFC 4235 3.7.1
//= type=test
//= BLUSTAR 2.5
//= type=test
/// A line from its first ringing to the end of the node, with every way in which a subscription ends in between.
// proves: BLU-2.5-01
#[test]
fn a_line_of_a_switchboard_is_shown_to_everybody_who_watches_its_user() {
    let pbx = Pbx::start();
    let data = tempfile::tempdir().expect("a folder");
    let settings = pbx.settings(
        data.path(),
        &[("carol@example.com", "200")],
        "expires = 4\nhold = 60\n",
    );
    let file = written(data.path(), &settings);
    let server = Server::start_with(data.path(), &["--config", file.to_str().expect("a path")]);
    let mut standard = Watcher::of(&server, "carol");
    let mut blustar = Watcher::blustar(&server, "carol");

    // Asked, challenged, answered: one challenge, one dialog; an idle line is a line.
    blustar.until("the line is known", &line("idle"), true);
    assert_eq!(pbx.state().challenged, 1);
    let first = pbx.only("200");
    assert!(!standard.last.contains(PHONE), "{}", standard.last);

    pbx.call("200", "one", "recipient", "early");
    blustar.until("it rings", &line("ringing"), true);
    pbx.call("200", "one", "recipient", "confirmed");
    blustar.until("it is answered", &line("busy"), true);
    assert!(blustar.last.contains("In a call"), "{}", blustar.last);
    standard.until("it is answered", PHONE, true);
    assert!(
        standard.last.contains("<basic>open</basic>"),
        "{}",
        standard.last
    );

    // Never early after confirmed, nor after terminated.
    pbx.call("200", "one", "recipient", "early");
    pbx.call("200", "two", "recipient", "early");
    pbx.call("200", "two", "recipient", "terminated");
    standard.always("a late word of the first call", PHONE);
    blustar.always("a late word of the first call", &line("busy"));
    pbx.call("200", "one", "recipient", "terminated");
    blustar.until("it is over", &line("idle"), true);
    standard.until("it is over", PHONE, false);
    pbx.call("200", "two", "recipient", "early");
    std::thread::sleep(Duration::from_millis(300));
    blustar.always("nothing rings after its end", &line("idle"));
    pbx.call("200", "two", "recipient", "terminated");

    // It is refreshed in its dialog, without being challenged again.
    pbx.until("a refresh", |state| {
        state
            .dialogs
            .iter()
            .any(|dialog| dialog.call_id == first.call_id && dialog.asked >= 3)
    });
    assert_eq!(pbx.state().challenged, 1);

    // The switchboard ends it, and another one begins; nobody is shown anything else.
    pbx.call("200", "three", "initiator", "early");
    standard.until("a call goes out", PHONE, true);
    pbx.end_all(";reason=deactivated");
    let second = pbx.only("200");
    assert_ne!(first.call_id, second.call_id);
    standard.always("the same line", PHONE);

    // It has forgotten everything: the refresh is told so, and it is asked anew. The call was over long ago.
    {
        let mut state = pbx.state();
        state
            .dialogs
            .iter_mut()
            .for_each(|dialog| dialog.lives = false);
        state.calls.clear();
    }
    let third = pbx.only("200");
    assert_ne!(second.call_id, third.call_id);
    standard.until("there is no call", PHONE, false);
    blustar.until("there is no call", &line("idle"), true);

    // A part is missed: the whole is asked for.
    {
        let mut state = pbx.state();
        let place = state.dialogs.len() - 1;
        state.calls.insert(
            "200".to_owned(),
            vec![("four".to_owned(), "recipient", "confirmed")],
        );
        state.dialogs[place].version += 1;
    }
    pbx.call("200", "five", "recipient", "early");
    standard.until("the call that was missed", PHONE, true);
    pbx.call("200", "five", "recipient", "terminated");

    // What is none of ours any more is told so, that it be ended there.
    let unknown = counted(&server, "pbx_unknown_dialogs");
    {
        let mut state = pbx.state();
        let place = state
            .dialogs
            .iter()
            .position(|dialog| dialog.call_id == first.call_id)
            .expect("kept");
        state.notify(&pbx.socket, place, "active", "");
    }
    let gone = (first.call_id.clone(), 481);
    pbx.until("the old dialog is unknown", |state| {
        state.answers.contains(&gone)
    });
    assert_eq!(counted(&server, "pbx_unknown_dialogs"), unknown + 1);
    assert_eq!(counted(&server, "pbx_subscriptions{state=\"active\"}"), 1);
    assert!(counted(&server, "pbx_notifies") >= 10);
    assert_eq!(counted(&server, "pbx_bad_documents"), 0);

    // The node stops, and says so.
    let before = pbx.state().ended;
    assert!(server.terminate());
    assert_eq!(pbx.state().ended, before + 1, "its subscription is ended");
}

//= RFC 6665 4.1.3
//= type=test
#[test]
fn a_switchboard_that_is_away_or_refuses_is_asked_again_as_it_says() {
    let pbx = Pbx::start();
    pbx.state().refusal = Some((503, "1"));
    pbx.state().calls.insert(
        "200".to_owned(),
        vec![("one".to_owned(), "recipient", "confirmed")],
    );
    let data = tempfile::tempdir().expect("a folder");
    let lines = [("carol@example.com", "200")];
    let settings = pbx.settings(data.path(), &lines, "expires = 3\nhold = 2\n");
    let file = written(data.path(), &settings);
    let server = Server::start_with(data.path(), &["--config", file.to_str().expect("a path")]);
    let mut watcher = Watcher::of(&server, "carol");
    let until = Instant::now() + PATIENCE;
    while counted(&server, "pbx_subscriptions{state=\"resting\"}") == 0 {
        assert!(Instant::now() < until, "it rests");
        std::thread::sleep(Duration::from_millis(20));
    }
    pbx.state().refusal = None;
    watcher.until("it is back", PHONE, true);

    // It goes without a word: what it said last holds for a while, and then no more.
    {
        let mut state = pbx.state();
        state.refusal = Some((500, ""));
        state
            .dialogs
            .iter_mut()
            .for_each(|dialog| dialog.lives = false);
    }
    watcher.until("nobody knows any more", PHONE, false);
    pbx.state().refusal = None;
    watcher.until("it is back again", PHONE, true);

    // There is no such line: what was said is removed at once, and it is left alone until the operator has looked.
    pbx.state().first = Some("terminated;reason=noresource");
    pbx.end_all(";reason=noresource");
    watcher.until("there is no such line", PHONE, false);
    assert_eq!(counted(&server, "pbx_subscriptions{state=\"refused\"}"), 1);
    let asked = counted(&server, "pbx_subscribes");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        counted(&server, "pbx_subscribes"),
        asked,
        "it is left alone"
    );
    pbx.state().first = None;
    server.signal("HUP");
    watcher.until("there is one again", PHONE, true);

    // The user has no line any more: it is ended, and what was said of it is removed.
    let before = pbx.state().ended;
    std::fs::write(data.path().join("lines"), "bob@example.com:300\n").expect("written");
    server.signal("HUP");
    watcher.until("the line is somebody else's", PHONE, false);
    pbx.until("it is ended", |state| state.ended > before);
    pbx.only("300");
}

#[test]
fn a_wrong_password_is_not_tried_for_every_line() {
    const LINES: usize = 500;
    let pbx = Pbx::start();
    let data = tempfile::tempdir().expect("a folder");
    let addresses: Vec<String> = (0..LINES)
        .map(|user| format!("u{user}@example.com"))
        .collect();
    let numbers: Vec<String> = (0..LINES)
        .map(|number| format!("{}", 1_000 + number))
        .collect();
    let lines = addresses
        .iter()
        .map(String::as_str)
        .zip(numbers.iter().map(String::as_str));
    let lines: Vec<(&str, &str)> = lines.collect();
    let settings = pbx.settings(data.path(), &lines, "");
    std::fs::write(data.path().join("password"), "wrong\n").expect("written");
    let file = written(data.path(), &settings);
    let server = Server::start_with(data.path(), &["--config", file.to_str().expect("a path")]);
    pbx.until("it is tried", |state| state.wrong >= 1);
    // They would take a second to be asked for, one after the other.
    std::thread::sleep(Duration::from_secs(4));
    let (challenged, wrong) = {
        let state = pbx.state();
        (state.challenged, state.wrong)
    };
    assert!(
        (wrong as usize) < LINES / 2,
        "{wrong} of {challenged} with the wrong one"
    );
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(pbx.state().wrong, wrong, "it is left alone");
    // The operator writes down the right one: all of them are there.
    std::fs::write(data.path().join("password"), PASSWORD).expect("written");
    server.signal("HUP");
    pbx.until("every line", |state| state.dialogs.len() == LINES);
    assert_eq!(pbx.state().wrong, wrong);
}

#[test]
fn office_clients_are_shown_a_telephone() {
    let pbx = Pbx::start();
    let data = tempfile::tempdir().expect("a folder");
    let settings = pbx.settings(data.path(), &[("bob@contoso.com", "200")], "");
    let file = written(data.path(), &settings);
    let server = super::enhanced::contact_store::start(data.path(), &file);
    let mut bob = Client::sign_in(&server, "bob");
    let mut eve = Client::sign_in(&server, "eve");
    let member = "<container id=\"300\" version=\"0\"><member action=\"add\" type=\"user\" value=\"eve@contoso.com\"/></container>";
    assert_eq!(bob.set_members(member).status(), StatusCode::OK);
    let device = "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" manual=\"false\" xsi:type=\"machineState\">\
        <availability>3500</availability></state>";
    let device = [2, 3]
        .map(|container| publication("state", 90, container, 0, "expireType=\"endpoint\"", device));
    assert_eq!(bob.publish(&device.concat()).status(), StatusCode::OK);
    let (dialog, answer) = eve.watch(&["sip:bob@contoso.com"], &["state"]);
    assert_eq!(answer.status(), StatusCode::OK);
    let mut shown = categories(answer.body());
    let mut until = |what: &str, token: bool| {
        let until = Instant::now() + PATIENCE;
        while shown.contains("on-the-phone") != token {
            assert!(Instant::now() < until, "{what}: {shown}");
            for notify in eve.rest(&dialog) {
                let said = categories(notify.body());
                if said.contains("<availability>") {
                    shown = said;
                }
            }
        }
        shown.clone()
    };
    pbx.only("200");
    pbx.call("200", "one", "recipient", "early");
    pbx.call("200", "one", "recipient", "confirmed");
    let busy = until("a call", true);
    assert!(busy.contains("<availability>6500</availability>"), "{busy}");
    pbx.call("200", "one", "recipient", "terminated");
    until("it is over", false);
}

#[test]
fn the_next_leader_subscribes_and_nobody_is_shown_anything_else() {
    let pbx = Pbx::start();
    let data = tempfile::tempdir().expect("a folder");
    let users = ["u0", "u1", "u2", "u3"];
    let numbers = ["300", "301", "302", "303"];
    let addresses = users.map(|user| format!("{user}@example.com"));
    let lines: Vec<(&str, &str)> = addresses.iter().map(String::as_str).zip(numbers).collect();
    for number in numbers {
        let call = (format!("call-{number}"), "initiator", "confirmed");
        pbx.state().calls.insert(number.to_owned(), vec![call]);
    }
    let settings = pbx.settings(data.path(), &lines, "expires = 600\n");
    let mut pool = Pool::start_with(3, 2, &settings);
    pool.wait_until_all_vote();
    let victim = pool.leaders(0)[0].expect("a leader") as usize - 1;
    let stays = (victim + 1) % 3;
    let mut watchers = users.map(|user| Watcher::of(pool.node(stays), user));
    for watcher in &mut watchers {
        watcher.until("a call", PHONE, true);
    }
    // Each line has one subscriber in the whole pool.
    let before = numbers.map(|number| pbx.only(number));
    let lost = pool.ports[victim][0];
    let was_there = |dialog: &Dialog| dialog.peer.port() == lost;
    assert!(
        before.iter().any(was_there),
        "the node that is killed has lines: {before:?}"
    );

    pool.kill(victim);
    for (number, old) in numbers
        .iter()
        .zip(&before)
        .filter(|(_, old)| was_there(old))
    {
        pbx.until("another node subscribes", |state| {
            let another = |dialog: &Dialog| dialog.number == *number && dialog.peer.port() != lost;
            state.dialogs.iter().any(another)
        });
        // The old subscription is nobody's any more; whichever node is asked says so.
        let mut state = pbx.state();
        let place = state
            .dialogs
            .iter()
            .position(|dialog| dialog.call_id == old.call_id)
            .expect("kept");
        state.dialogs[place].lives = false;
        let (own, peer) = (state.dialogs[place].peer, pool.node(stays).udp);
        state.dialogs[place].peer = peer;
        state.notify(&pbx.socket, place, "active", "");
        state.dialogs[place].peer = own;
        drop(state);
        let gone = (old.call_id.clone(), 481);
        pbx.until("the old dialog is unknown", |state| {
            state.answers.contains(&gone)
        });
    }
    std::thread::sleep(Duration::from_secs(2));
    for watcher in &mut watchers {
        watcher.always("the call goes on", PHONE);
    }
    // And changes are followed, by one subscriber each.
    for number in numbers {
        assert_ne!(pbx.only(number).peer.port(), lost);
        pbx.call(number, &format!("call-{number}"), "initiator", "terminated");
    }
    for watcher in &mut watchers {
        watcher.until("it is over", PHONE, false);
    }
    let published: u64 = (0..3)
        .filter(|node| *node != victim)
        .map(|node| counted(pool.node(node), "pbx_publication_failures"))
        .sum();
    assert_eq!(published, 0, "nothing failed");
}

/// The next message of a stream, which has no body.
fn next_of(stream: &mut std::net::TcpStream, read: &mut Vec<u8>) -> Message {
    use std::io::Read as _;
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let message: Vec<u8> = read.drain(..end + 4).collect();
            return Message::parse(Bytes::from(message))
                .expect("the server writes what can be read");
        }
        let mut chunk = [0; 4_096];
        let length = stream.read(&mut chunk).expect("something comes in time");
        assert!(length > 0, "the connection stays");
        read.extend_from_slice(&chunk[..length]);
    }
}

#[test]
fn a_switchboard_may_be_spoken_to_over_a_stream() {
    use std::io::Write as _;
    let pbx = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let here = pbx.local_addr().expect("bound");
    let data = tempfile::tempdir().expect("a folder");
    std::fs::write(data.path().join("lines"), "carol@example.com:200\n").expect("written");
    let settings = format!(
        "[[pbx]]\nname = \"stream\"\naddress = \"tcp:localhost:{}\"\nusers = \"{}/lines\"\nexpires = 2\n",
        here.port(),
        data.path().display()
    );
    let file = written(data.path(), &settings);
    let server = Server::start_with(data.path(), &["--config", file.to_str().expect("a path")]);
    let mut watcher = Watcher::of(&server, "carol");
    let (mut stream, _) = pbx.accept().expect("it is connected to");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut read = Vec::new();
    // The first request, and its refresh over the same connection.
    for (cseq, state) in [(1, "confirmed"), (2, "terminated")] {
        let Message::Request(request) = next_of(&mut stream, &mut read) else {
            panic!("a SUBSCRIBE is first");
        };
        assert_eq!(
            (request.method(), request.cseq()),
            (&Method::Subscribe, cseq)
        );
        assert!(
            request.uri().contains("200@localhost") || cseq > 1,
            "{}",
            request.uri()
        );
        let reply = Reply::new(&request, StatusCode::OK, Some("p1"))
            .header("Expires", 2)
            .header("Contact", format!("<sip:pbx@{here};transport=tcp>"))
            .finish();
        stream.write_all(&reply).expect("sent");
        let contact = request.values(Name::Contact).next().unwrap_or_default();
        assert!(contact.contains(";transport=tcp"), "{contact}");
        let body = document(
            "200",
            cseq,
            &[("one".to_owned(), "recipient", state)],
            "full",
        );
        let notify = format!(
            "NOTIFY {} SIP/2.0\r\nVia: SIP/2.0/TCP {here};branch=z9hG4bKs{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:200@{REALM}>;tag=p1\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\n\
             Contact: <sip:pbx@{here};transport=tcp>\r\nEvent: dialog\r\nSubscription-State: active;expires=2\r\n\
             Content-Type: application/dialog-info+xml\r\nContent-Length: {}\r\n\r\n{body}",
            NameAddr::parse(contact).expect("an address").uri,
            request.header(Name::From).unwrap_or_default(),
            request.call_id(),
            body.len()
        );
        stream.write_all(notify.as_bytes()).expect("sent");
        let Message::Response(answer) = next_of(&mut stream, &mut read) else {
            panic!("the NOTIFY is answered");
        };
        assert_eq!(answer.status(), StatusCode::OK);
        watcher.until(state, PHONE, state == "confirmed");
    }
}
