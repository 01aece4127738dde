//! Telephones: they publish, watch and look, over datagrams, with the patience and the repeats of real ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use transport::sip::write::Reply;
use transport::sip::{Message, Name, Request, Response, StatusCode};

use crate::chance::Chance;

/// Between the first two copies of a request.
const T1_MS: u64 = 500;

/// How long a telephone asks one node before it asks the next.
const NODE_PATIENCE_MS: u64 = 4_000;

/// How long it asks at all: a copy that a node which stood still reads late comes within what a pool remembers
/// of a request, even if its clocks are apart.
const PATIENCE_MS: u64 = 15_000;

/// The pace of who says nothing more.
pub const NEVER_MS: u64 = 1_000_000_000_000;

/// A user of the pool.
pub fn user(number: usize) -> String {
    format!("sip:user{number}@example.com")
}

/// What a telephone sends.
pub type Sent = (SocketAddr, Bytes);

/// A request until it is answered.
#[derive(Debug)]
pub struct Asking {
    /// What stands before the branch, and behind it.
    text: (String, String),
    cseq: u32,
    begun_ms: u64,
    /// When this node was asked first.
    node_since_ms: u64,
    next_ms: u64,
    wait_ms: u64,
    node: usize,
    branch: u64,
}

impl Asking {
    pub fn new(text: (String, String), cseq: u32, node: usize, now_ms: u64) -> Asking {
        Asking {
            text,
            cseq,
            begun_ms: now_ms,
            node_since_ms: now_ms,
            next_ms: now_ms,
            wait_ms: T1_MS,
            node,
            branch: 0,
        }
    }

    /// Its number in the row.
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// Goes to the next node, after a moment.
    pub fn turn_away(&mut self, after_ms: u64, now_ms: u64) {
        self.node += 1;
        self.branch = 0;
        self.node_since_ms = now_ms + after_ms;
        self.next_ms = now_ms + after_ms;
        self.wait_ms = T1_MS;
    }

    /// The copy that is due, if one is; `None` inside when patience is at an end.
    pub fn due(
        &mut self,
        line: &mut Line,
        nodes: &[SocketAddr],
        now_ms: u64,
    ) -> Option<Option<Sent>> {
        if now_ms >= self.begun_ms + PATIENCE_MS {
            return Some(None);
        }
        if now_ms >= self.node_since_ms + NODE_PATIENCE_MS {
            self.turn_away(0, now_ms);
        }
        if now_ms < self.next_ms {
            return None;
        }
        if self.branch == 0 {
            self.branch = line.fresh();
        }
        self.next_ms = now_ms + self.wait_ms;
        self.wait_ms *= 2;
        let (before, behind) = &self.text;
        let message = format!("{before}{:x}{behind}", self.branch);
        Some(Some((nodes[self.node % nodes.len()], message.into())))
    }
}

/// What every telephone has.
#[derive(Debug)]
pub struct Line {
    pub address: SocketAddr,
    pub chance: Chance,
    branches: u64,
}

impl Line {
    pub fn new(number: usize, chance: Chance) -> Line {
        let address = format!("10.1.{}.{}:5060", number / 200, 1 + number % 200);
        Line {
            address: address.parse().expect("an address"),
            chance,
            branches: 0,
        }
    }

    fn fresh(&mut self) -> u64 {
        self.branches += 1;
        self.branches
    }

    /// A request up to its branch, and from there on.
    pub fn request(
        &self,
        method: &str,
        uri: &str,
        ids: &Ids,
        cseq: u32,
        lines: &str,
        body: &str,
    ) -> (String, String) {
        let Ids {
            call_id,
            from,
            to_tag,
            epid,
        } = ids;
        let to_tag = to_tag
            .as_ref()
            .map_or_else(String::new, |tag| format!(";tag={tag}"));
        let before = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bK{call_id}",
            self.address
        );
        let behind = format!(
            "\r\nMax-Forwards: 70\r\nFrom: <{from}>;tag=f{call_id}{epid}\r\nTo: <{uri}>{to_tag}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:phone@{}>\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        (before, behind)
    }
}

/// What makes a request one of a row.
#[derive(Clone, Debug)]
pub struct Ids {
    pub call_id: String,
    pub from: String,
    pub to_tag: Option<String>,
    /// What stands behind the tag of From.
    pub epid: String,
}

/// A presence document with a mark.
fn document(user: &str, mark: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         entity=\"{user}\"><tuple id=\"t\"><status><basic>open</basic></status><note>{mark}</note></tuple></presence>"
    )
}

/// The marks in a document.
pub fn marks(document: &str) -> Vec<String> {
    let mut marks: Vec<String> = document
        .match_indices("[m")
        .filter_map(|(at, _)| {
            let rest = &document[at..];
            Some(rest[..=rest.find(']')?].to_owned())
        })
        .collect();
    marks.sort();
    marks
}

/// What a device has been promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    pub mark: String,
    pub tag: String,
    /// Until when it lives at least, and at most.
    pub until_ms: (u64, u64),
    /// When it was promised.
    pub since_ms: u64,
}

/// What was asked of the pool.
#[derive(Clone, Debug)]
struct Wish {
    mark: String,
    expires_s: u64,
    /// What it refers to.
    of: Option<Promise>,
    /// Whether it is the last word.
    last: bool,
}

/// Something that a telephone has learned, for the judge.
#[derive(Clone, Debug)]
pub enum Learned {
    /// A tag was given, for the request of this number.
    Tag {
        presentity: usize,
        tag: String,
        /// Names the request.
        request: String,
    },
    /// A promise was broken.
    Broken(String),
    /// A fetch showed these marks; it was begun and ended then.
    Fetched {
        presentity: usize,
        marks: Vec<String>,
        begun_ms: u64,
    },
    Nothing,
}

/// A device that publishes.
#[derive(Debug)]
pub struct Publisher {
    pub line: Line,
    pub number: usize,
    pub presentity: usize,
    ids: Ids,
    cseq: u32,
    marks: u64,
    asking: Option<(Asking, Wish)>,
    pub promise: Option<Promise>,
    /// Marks that may be seen, and until when at most.
    pub perhaps: BTreeMap<String, u64>,
    /// Marks that may not be seen any more, and since when.
    pub gone: BTreeMap<String, u64>,
    next_ms: u64,
    /// How long a request lives, in seconds: from and to.
    lifetimes_s: (u64, u64),
    pub pace_ms: u64,
    /// What the clocks of the pool may be apart.
    skew_ms: u64,
    /// What it says when the faults are over.
    pub last_word: LastWord,
}

/// What somebody says once more, when the faults are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWord {
    /// They are not.
    NotYet,
    /// It is to be something new, so that all watchers are told.
    Wanted,
    /// It was taken.
    Said,
}

impl Publisher {
    pub fn new(
        number: usize,
        presentity: usize,
        mut chance: Chance,
        pace_ms: u64,
        skew_ms: u64,
    ) -> Publisher {
        let next_ms = chance.below(pace_ms);
        Publisher {
            line: Line::new(number, chance),
            number,
            presentity,
            ids: Ids {
                call_id: format!("p{number}"),
                from: user(presentity),
                to_tag: None,
                epid: String::new(),
            },
            cseq: 0,
            marks: 0,
            asking: None,
            promise: None,
            perhaps: BTreeMap::new(),
            gone: BTreeMap::new(),
            next_ms,
            lifetimes_s: (60 + skew_ms / 250, 240),
            pace_ms,
            skew_ms,
            last_word: LastWord::NotYet,
        }
    }

    /// Says nothing new.
    pub fn rest(&mut self) {
        self.pace_ms = NEVER_MS;
        if self.promise.is_some() {
            self.next_ms = NEVER_MS;
        }
    }

    /// Says something new as soon as it can, and then nothing more.
    pub fn conclude(&mut self, now_ms: u64) {
        self.last_word = LastWord::Wanted;
        self.next_ms = now_ms;
    }

    fn begin(&mut self, now_ms: u64) {
        self.cseq += 1;
        let (least, most) = self.lifetimes_s;
        let expires_s = least + self.line.chance.below(most - least);
        let known = self.promise.take();
        let free = known.is_some() && self.last_word == LastWord::NotYet;
        let what = if free { self.line.chance.below(100) } else { 0 };
        let (wish, body) = match (&known, what) {
            // A refresh.
            (Some(known), 70..90) => (known.mark.clone(), String::new()),
            _ => {
                self.marks += 1;
                let mark = format!("[m{}-{}]", self.number, self.marks);
                let body = document(&user(self.presentity), &mark);
                (mark, body)
            }
        };
        // A removal.
        let (body, expires_s) = if known.is_some() && what >= 90 {
            (String::new(), 0)
        } else {
            (body, expires_s)
        };
        let mut lines = format!("Event: presence\r\nExpires: {expires_s}\r\n");
        if let Some(known) = &known {
            lines += &format!("SIP-If-Match: {}\r\n", known.tag);
            self.perhaps.insert(known.mark.clone(), known.until_ms.1);
        }
        if !body.is_empty() {
            lines += "Content-Type: application/pidf+xml\r\n";
        }
        if expires_s > 0 {
            let latest = now_ms + PATIENCE_MS + expires_s * 1_000 + self.skew_ms;
            let until = self.perhaps.entry(wish.clone()).or_default();
            *until = latest.max(*until);
        }
        let uri = user(self.presentity);
        let text = self
            .line
            .request("PUBLISH", &uri, &self.ids, self.cseq, &lines, &body);
        let node = self.line.chance.below(64) as usize;
        let wish = Wish {
            mark: wish,
            expires_s,
            of: known,
            last: self.last_word == LastWord::Wanted,
        };
        self.asking = Some((Asking::new(text, self.cseq, node, now_ms), wish));
    }

    /// What it sends now.
    pub fn tick(&mut self, nodes: &[SocketAddr], now_ms: u64) -> Option<Sent> {
        self.perhaps.retain(|_, until| *until > now_ms);
        if self.asking.is_none() && now_ms >= self.next_ms {
            self.next_ms = u64::MAX;
            self.begin(now_ms);
        }
        let (asking, _) = self.asking.as_mut()?;
        match asking.due(&mut self.line, nodes, now_ms)? {
            Some(sent) => Some(sent),
            None => {
                // Nobody knows: what was asked may be, or may not.
                self.asking = None;
                self.next_ms = now_ms + 1 + self.line.chance.below(1_000);
                None
            }
        }
    }

    fn anew(&mut self, now_ms: u64) {
        let pace_ms = match self.last_word {
            LastWord::NotYet => self.pace_ms,
            LastWord::Wanted => 10,
            LastWord::Said => NEVER_MS,
        };
        self.next_ms = now_ms + 1 + self.line.chance.below(pace_ms);
    }

    /// An answer.
    pub fn receive(&mut self, response: &Response, now_ms: u64) -> Learned {
        let status = response.status().number();
        let Some((asking, wish)) = &mut self.asking else {
            return Learned::Nothing;
        };
        if response.cseq().0 != asking.cseq || status < 200 {
            return Learned::Nothing;
        }
        let (wish, begun_ms) = (wish.clone(), asking.begun_ms);
        match status {
            200 => {
                self.asking = None;
                if wish.last {
                    self.last_word = LastWord::Said;
                }
                self.anew(now_ms);
                let tag = response
                    .header(Name::SipETag)
                    .unwrap_or_default()
                    .to_owned();
                self.perhaps.remove(&wish.mark);
                if let Some(before) = wish.of {
                    self.perhaps.remove(&before.mark);
                    if before.mark != wish.mark || wish.expires_s == 0 {
                        self.gone.insert(before.mark, now_ms);
                    }
                }
                if wish.expires_s > 0 {
                    self.promise = Some(Promise {
                        mark: wish.mark,
                        tag: tag.clone(),
                        until_ms: (
                            (begun_ms + wish.expires_s * 1_000).saturating_sub(self.skew_ms),
                            now_ms + wish.expires_s * 1_000 + self.skew_ms,
                        ),
                        since_ms: now_ms,
                    });
                }
                Learned::Tag {
                    presentity: self.presentity,
                    tag,
                    request: format!("{}-{}", self.number, self.cseq),
                }
            }
            412 => {
                self.asking = None;
                self.next_ms = now_ms + 1 + self.line.chance.below(1_000);
                match wish.of {
                    Some(before) if now_ms < before.until_ms.0 => Learned::Broken(format!(
                        "device {} was told 412 for {before:?}, at {now_ms}",
                        self.number
                    )),
                    None => {
                        Learned::Broken(format!("device {} was told 412 for nothing", self.number))
                    }
                    Some(_) => Learned::Nothing,
                }
            }
            503 => {
                asking.turn_away(500, now_ms);
                Learned::Nothing
            }
            other => Learned::Broken(format!("device {} was told {other}", self.number)),
        }
    }
}

/// What a watcher was told of a dialog.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub cseq: u32,
    pub document: String,
}

/// A watcher: one dialog after the other.
#[derive(Debug)]
pub struct Watcher {
    pub line: Line,
    pub number: usize,
    pub presentity: usize,
    ids: Ids,
    dialogs: u64,
    cseq: u32,
    asking: Option<(Asking, u64)>,
    /// Whether the pool has accepted the dialog.
    pub accepted: bool,
    /// Until when it lives at least.
    pub until_ms: u64,
    pub told: Option<Told>,
    next_ms: u64,
    /// It hears and says nothing up to then.
    pub off_until_ms: u64,
    /// How it begins: dialogs that it left without a word.
    pub left: Vec<String>,
    skew_ms: u64,
    pub pace_ms: u64,
    /// What it watches: documents, or categories.
    pub sees: Sees,
}

/// What a watcher is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// Presence documents.
    Documents,
    /// Categories, from the container that it is in, if any.
    Categories(Option<u32>),
}

/// What is said to see the note of somebody.
pub fn categories(watcher: &str, presentity: usize) -> (&'static str, String) {
    let body = format!(
        "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" uri=\"{watcher}\" name=\"\">\
         <action name=\"subscribe\" id=\"1\"><adhocList><resource uri=\"{}\"/></adhocList>\
         <categoryList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\"><category name=\"note\"/>\
         </categoryList></action></batchSub>",
        user(presentity)
    );
    let lines = "Accept: application/msrtc-event-categories+xml, application/rlmi+xml, multipart/related, \
                 text/xml+msrtc.pidf, application/pidf+xml\r\n\
                 Content-Type: application/msrtc-adrl-categorylist+xml\r\n";
    (lines, body)
}

/// The address of a watcher.
pub fn watcher(number: usize) -> String {
    format!("sip:watcher{number}@example.com")
}

impl Watcher {
    pub fn new(
        number: usize,
        presentity: usize,
        mut chance: Chance,
        pace_ms: u64,
        skew_ms: u64,
    ) -> Watcher {
        let next_ms = chance.below(2_000);
        Watcher {
            line: Line::new(number, chance),
            number,
            presentity,
            ids: Ids {
                call_id: format!("w{number}-0"),
                from: watcher(number),
                to_tag: None,
                epid: String::new(),
            },
            dialogs: 0,
            cseq: 0,
            asking: None,
            accepted: false,
            until_ms: 0,
            told: None,
            next_ms,
            off_until_ms: 0,
            left: Vec::new(),
            skew_ms,
            pace_ms,
            sees: Sees::Documents,
        }
    }

    /// What it says of what it wants to see.
    fn wish(&self) -> (&'static str, String) {
        match self.sees {
            Sees::Documents => ("Accept: application/pidf+xml\r\n", String::new()),
            Sees::Categories(_) => categories(&self.ids.from, self.presentity),
        }
    }

    pub fn call_id(&self) -> &str {
        &self.ids.call_id
    }

    /// It goes, without a word, for so long.
    pub fn leave(&mut self, until_ms: u64) {
        self.left.push(self.ids.call_id.clone());
        self.off_until_ms = until_ms;
        self.begin_anew(until_ms);
    }

    /// Does not refresh before `until_ms`, if its dialog lives longer; begins one soon, if it has none.
    pub fn rest(&mut self, now_ms: u64, until_ms: u64) {
        if !self.accepted {
            self.next_ms = self.next_ms.min(now_ms + 1_000);
        }
        let idle = self.accepted && self.asking.is_none() && self.next_ms > now_ms;
        if idle && self.until_ms > until_ms + PATIENCE_MS {
            self.next_ms = self.next_ms.max(until_ms);
        }
    }

    /// Refreshes soon.
    pub fn wake(&mut self, now_ms: u64) {
        self.next_ms = self.next_ms.min(now_ms + 1 + self.line.chance.below(5_000));
    }

    fn begin_anew(&mut self, at_ms: u64) {
        self.dialogs += 1;
        self.ids.call_id = format!("w{}-{}", self.number, self.dialogs);
        self.ids.to_tag = None;
        self.cseq = 0;
        self.asking = None;
        self.accepted = false;
        self.told = None;
        self.next_ms = at_ms + self.line.chance.below(500);
    }

    pub fn tick(&mut self, nodes: &[SocketAddr], now_ms: u64) -> Option<Sent> {
        if now_ms < self.off_until_ms {
            return None;
        }
        if self.asking.is_none() && now_ms >= self.next_ms {
            self.cseq += 1;
            let expires_s = 60 + self.skew_ms / 250 + self.line.chance.below(120);
            let (accepts, body) = self.wish();
            let lines = format!("Event: presence\r\n{accepts}Expires: {expires_s}\r\n");
            let uri = user(self.presentity);
            let text = self
                .line
                .request("SUBSCRIBE", &uri, &self.ids, self.cseq, &lines, &body);
            let node = self.line.chance.below(64) as usize;
            self.asking = Some((Asking::new(text, self.cseq, node, now_ms), expires_s));
        }
        let (asking, _) = self.asking.as_mut()?;
        match asking.due(&mut self.line, nodes, now_ms)? {
            Some(sent) => Some(sent),
            None => {
                self.left.push(self.ids.call_id.clone());
                self.begin_anew(now_ms);
                None
            }
        }
    }

    pub fn respond(&mut self, response: &Response, now_ms: u64) -> Learned {
        if now_ms < self.off_until_ms || response.call_id() != self.ids.call_id {
            return Learned::Nothing;
        }
        let Some((asking, expires_s)) = &mut self.asking else {
            return Learned::Nothing;
        };
        let status = response.status().number();
        if response.cseq().0 != asking.cseq || status < 200 {
            return Learned::Nothing;
        }
        match status {
            200 => {
                self.until_ms = (asking.begun_ms + *expires_s * 1_000).saturating_sub(self.skew_ms);
                let refresh_ms = (self.until_ms - now_ms).min(self.pace_ms) / 2;
                self.asking = None;
                self.accepted = true;
                if self.ids.to_tag.is_none() {
                    self.ids.to_tag = response.to_tag().map(str::to_owned);
                }
                self.next_ms = now_ms + refresh_ms + self.line.chance.below(refresh_ms / 2 + 1);
                Learned::Nothing
            }
            503 => {
                asking.turn_away(500, now_ms);
                Learned::Nothing
            }
            481 if self.accepted => {
                let lost = now_ms < self.until_ms;
                let call_id = self.ids.call_id.clone();
                self.begin_anew(now_ms);
                match lost {
                    true => Learned::Broken(format!("the dialog {call_id} was lost")),
                    false => Learned::Nothing,
                }
            }
            other => Learned::Broken(format!("watcher {} was told {other}", self.number)),
        }
    }

    /// A NOTIFY; gives the answer.
    pub fn notify(&mut self, request: &Request, now_ms: u64) -> Option<Bytes> {
        if now_ms < self.off_until_ms {
            return None;
        }
        let answer = |status| Some(Reply::new(request, status, None).finish());
        if request.call_id() != self.ids.call_id {
            return answer(StatusCode::NO_TRANSACTION);
        }
        let told = self.told.get_or_insert_default();
        if request.cseq() < told.cseq {
            return answer(StatusCode::SERVER_ERROR);
        }
        if request.cseq() > told.cseq {
            told.cseq = request.cseq();
            let document = String::from_utf8_lossy(request.body());
            // Of categories only those are told that have changed.
            if self.sees == Sees::Documents || document.contains("\"note\"") {
                told.document = document.into_owned();
            }
            let state = request.header(Name::SubscriptionState).unwrap_or_default();
            if state.starts_with("terminated") {
                self.begin_anew(now_ms);
            }
        }
        answer(StatusCode::OK)
    }
}

/// Who looks once, again and again.
#[derive(Debug)]
pub struct Fetcher {
    pub line: Line,
    pub number: usize,
    /// Of how many it looks at one; nothing when always at the same.
    presentities: Option<u64>,
    pub presentity: usize,
    ids: Ids,
    fetches: u64,
    /// How often it saw something.
    pub seen: u64,
    asking: Option<Asking>,
    begun_ms: u64,
    next_ms: u64,
    pub pace_ms: u64,
}

impl Fetcher {
    pub fn new(number: usize, presentities: u64, chance: Chance, pace_ms: u64) -> Fetcher {
        Fetcher {
            line: Line::new(number, chance),
            number,
            presentities: Some(presentities),
            presentity: 0,
            ids: Ids {
                call_id: format!("f{number}-0"),
                from: format!("sip:guest{number}@example.com"),
                to_tag: None,
                epid: String::new(),
            },
            fetches: 0,
            seen: 0,
            asking: None,
            begun_ms: 0,
            next_ms: 500,
            pace_ms,
        }
    }

    /// One that looks at the same presentity, from now on.
    pub fn of(number: usize, presentity: usize, chance: Chance, now_ms: u64) -> Fetcher {
        Fetcher {
            presentities: None,
            presentity,
            next_ms: now_ms,
            ..Fetcher::new(number, 1, chance, 1_000_000)
        }
    }

    pub fn tick(&mut self, nodes: &[SocketAddr], now_ms: u64) -> Option<Sent> {
        if self.asking.is_none() && now_ms >= self.next_ms {
            self.fetches += 1;
            self.ids.call_id = format!("f{}-{}", self.number, self.fetches);
            if let Some(presentities) = self.presentities {
                self.presentity = self.line.chance.below(presentities) as usize;
            }
            let lines = "Event: presence\r\nAccept: application/pidf+xml\r\nExpires: 0\r\n";
            let uri = user(self.presentity);
            let text = self
                .line
                .request("SUBSCRIBE", &uri, &self.ids, 1, lines, "");
            let node = self.line.chance.below(64) as usize;
            self.begun_ms = now_ms;
            self.asking = Some(Asking::new(text, 1, node, now_ms));
        }
        let asking = self.asking.as_mut()?;
        match asking.due(&mut self.line, nodes, now_ms)? {
            Some(sent) => Some(sent),
            None => {
                self.asking = None;
                self.next_ms = now_ms;
                None
            }
        }
    }

    fn over(&mut self, now_ms: u64) {
        self.asking = None;
        self.next_ms = now_ms + self.line.chance.below(self.pace_ms);
    }

    pub fn respond(&mut self, response: &Response, now_ms: u64) -> Learned {
        if response.call_id() != self.ids.call_id {
            return Learned::Nothing;
        }
        let Some(asking) = &mut self.asking else {
            return Learned::Nothing;
        };
        match response.status().number() {
            ..=200 => Learned::Nothing,
            503 => {
                asking.turn_away(500, now_ms);
                Learned::Nothing
            }
            other => Learned::Broken(format!("a fetch was told {other}")),
        }
    }

    pub fn notify(&mut self, request: &Request, now_ms: u64) -> (Bytes, Learned) {
        let answer = Reply::new(request, StatusCode::OK, None).finish();
        if request.call_id() != self.ids.call_id || self.asking.is_none() {
            return (answer, Learned::Nothing);
        }
        let learned = Learned::Fetched {
            presentity: self.presentity,
            marks: marks(&String::from_utf8_lossy(request.body())),
            begun_ms: self.begun_ms,
        };
        self.seen += 1;
        self.over(now_ms);
        (answer, learned)
    }
}

/// What came, read.
pub fn read(bytes: Bytes) -> Option<Message> {
    Message::parse(bytes).ok()
}
