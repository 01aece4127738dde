//! Clients that sign in, watch somebody, and sign out: with the endpoint its dialogs end, wherever they live.

use std::net::SocketAddr;

use bytes::Bytes;
use transport::sip::write::Reply;
use transport::sip::{Request, Response, StatusCode};

use crate::chance::Chance;
use crate::phones::{Asking, Ids, Learned, Line, NEVER_MS, Sent, categories, user};

/// A dialog that is younger than this when its endpoint ends may be of its next life: five seconds for clocks
/// that are apart, and some for the way.
const YOUNG_MS: u64 = 8_000;

/// How long a registration and a dialog are to live, in seconds: longer than a run.
const LASTS_S: u64 = 600;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    SignIn,
    Watch,
    SignOut,
}

/// A client.
#[derive(Debug)]
pub struct Roamer {
    pub line: Line,
    number: usize,
    presentity: usize,
    /// Its registration's row of requests, and that of its dialog.
    registering: Ids,
    watching: Ids,
    cseq: u32,
    dialogs: u64,
    asking: Option<(Asking, Aim)>,
    next: Aim,
    next_ms: u64,
    skew_ms: u64,
    /// The dialog that the pool has accepted.
    dialog: Option<String>,
    /// Dialogs that its endpoint's end has ended.
    pub over: Vec<String>,
}

impl Roamer {
    pub fn new(number: usize, presentity: usize, mut chance: Chance, skew_ms: u64) -> Roamer {
        let ids = |call_id: String| Ids {
            call_id,
            from: format!("sip:roamer{number}@example.com"),
            to_tag: None,
            epid: format!(";epid=e{number}"),
        };
        Roamer {
            next_ms: chance.below(2_000),
            line: Line::new(number, chance),
            number,
            presentity,
            registering: ids(format!("r{number}")),
            watching: ids(format!("e{number}-0")),
            cseq: 0,
            dialogs: 0,
            asking: None,
            next: Aim::SignIn,
            skew_ms,
            dialog: None,
            over: Vec::new(),
        }
    }

    /// Signs out when it is time, and does not sign in again.
    pub fn conclude(&mut self) {
        if self.asking.is_none() && self.next == Aim::SignIn {
            self.next_ms = NEVER_MS;
        }
    }

    /// Whether it has signed out for good.
    pub fn is_gone(&self) -> bool {
        self.asking.is_none() && self.next == Aim::SignIn && self.next_ms == NEVER_MS
    }

    fn begin(&mut self, now_ms: u64) {
        self.cseq += 1;
        let (aim, lasts_s) = match self.next {
            Aim::SignOut => (Aim::SignOut, 0),
            other => (other, LASTS_S),
        };
        let text = if aim == Aim::Watch {
            let (accepts, body) = categories(&self.watching.from, self.presentity);
            let lines = format!("Event: presence\r\n{accepts}Expires: {lasts_s}\r\n");
            let uri = user(self.presentity);
            let ids = &self.watching;
            self.line
                .request("SUBSCRIBE", &uri, ids, self.cseq, &lines, &body)
        } else {
            let uri = self.registering.from.clone();
            let lines = format!("Expires: {lasts_s}\r\n");
            let ids = &self.registering;
            self.line
                .request("REGISTER", &uri, ids, self.cseq, &lines, "")
        };
        let node = self.line.chance.below(64) as usize;
        self.asking = Some((Asking::new(text, self.cseq, node, now_ms), aim));
    }

    /// What it sends now.
    pub fn tick(&mut self, nodes: &[SocketAddr], now_ms: u64) -> Option<Sent> {
        if self.asking.is_none() && now_ms >= self.next_ms {
            self.begin(now_ms);
        }
        let (asking, aim) = self.asking.as_mut()?;
        let aim = *aim;
        match asking.due(&mut self.line, nodes, now_ms)? {
            Some(sent) => Some(sent),
            None => {
                self.asking = None;
                self.next_ms = now_ms + 1 + self.line.chance.below(1_000);
                if aim == Aim::Watch {
                    // Nobody knows whether there is a dialog, or since when: another one is begun.
                    self.begin_anew();
                }
                None
            }
        }
    }

    fn begin_anew(&mut self) {
        self.dialogs += 1;
        self.watching.call_id = format!("e{}-{}", self.number, self.dialogs);
    }

    /// An answer.
    //= MS-SIPREGE 3.2.5.1
    //= type=test
    //# whatever happens to the nodes, who has signed out is told nothing more
    pub fn respond(&mut self, response: &Response, now_ms: u64) -> Learned {
        let Some((asking, aim)) = &mut self.asking else {
            return Learned::Nothing;
        };
        let status = response.status().number();
        if response.cseq().0 != asking.cseq() || status < 200 {
            return Learned::Nothing;
        }
        let aim = *aim;
        match status {
            200 => self.asking = None,
            503 => {
                asking.turn_away(500, now_ms);
                return Learned::Nothing;
            }
            other => {
                let why = format!("roamer {} was told {other} to {aim:?}", self.number);
                return Learned::Broken(why);
            }
        }
        let pause_ms = match aim {
            Aim::SignIn => 1,
            Aim::Watch => YOUNG_MS + self.skew_ms,
            Aim::SignOut => 500,
        };
        self.next_ms = now_ms + pause_ms + self.line.chance.below(1_000);
        self.next = match aim {
            Aim::SignIn => Aim::Watch,
            Aim::Watch => {
                self.dialog = Some(self.watching.call_id.clone());
                Aim::SignOut
            }
            Aim::SignOut => {
                self.over.extend(self.dialog.take());
                self.begin_anew();
                Aim::SignIn
            }
        };
        Learned::Nothing
    }

    /// A NOTIFY: all is well with it, so that nothing but its endpoint's end ends a dialog.
    pub fn notify(&self, request: &Request) -> Bytes {
        Reply::new(request, StatusCode::OK, None).finish()
    }
}
