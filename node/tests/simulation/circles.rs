//! Enhanced presence: somebody shows each circle of people something else. Who is in a container sees what is in
//! it, and never a byte of another one.

use std::net::SocketAddr;

use transport::sip::Response;

use crate::chance::Chance;
use crate::phones::{Asking, Ids, Learned, Line, NEVER_MS, Sent, user};

/// The containers, each with one watcher in it; another watcher is in none.
pub const CONTAINERS: [u32; 2] = [200, 400];

/// A mark in a container.
pub fn mark(container: u32, count: u64) -> String {
    format!("[mc{container}-{count}]")
}

/// Whether a mark is in a container, and in which.
pub fn container_of(mark: &str) -> Option<u32> {
    mark.strip_prefix("[mc")?.split('-').next()?.parse().ok()
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// Who is in which container.
    Members,
    /// New notes, with this count.
    Notes(u64),
}

/// Who publishes.
#[derive(Debug)]
pub struct Host {
    pub line: Line,
    pub presentity: usize,
    ids: Ids,
    cseq: u32,
    asking: Option<(Asking, Aim)>,
    /// The addresses of the members, by container.
    members: [String; 2],
    settled: bool,
    /// The version of both notes.
    version: u32,
    /// Whether nobody knows what became of the last request.
    doubt: bool,
    count: u64,
    /// The notes that were taken last.
    pub shown: Option<u64>,
    next_ms: u64,
    pub pace_ms: u64,
    pub answered_ms: u64,
}

impl Host {
    pub fn new(
        number: usize,
        presentity: usize,
        members: [String; 2],
        chance: Chance,
        pace_ms: u64,
    ) -> Host {
        Host {
            line: Line::new(number, chance),
            presentity,
            ids: Ids {
                call_id: format!("s{number}"),
                from: user(presentity),
                to_tag: None,
                epid: String::new(),
            },
            cseq: 0,
            asking: None,
            members,
            settled: false,
            version: 0,
            doubt: false,
            count: 0,
            shown: None,
            next_ms: 200,
            pace_ms,
            answered_ms: 0,
        }
    }

    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Says nothing new, unless nobody knows what became of the last.
    pub fn rest(&mut self) {
        self.pace_ms = NEVER_MS;
        if self.settled && !self.doubt {
            self.next_ms = NEVER_MS;
        }
    }

    pub fn hurry(&mut self, now_ms: u64) {
        self.next_ms = now_ms;
    }

    fn begin(&mut self, now_ms: u64) {
        self.cseq += 1;
        let uri = user(self.presentity);
        let (aim, media, body) = if self.settled {
            self.count += 1;
            let publications: String = CONTAINERS
                .iter()
                .map(|container| {
                    format!(
                        "<publication categoryName=\"note\" instance=\"0\" container=\"{container}\" version=\"{}\" \
                         expireType=\"static\"><note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\">\
                         <body type=\"personal\" uri=\"\">{}</body></note></publication>",
                        self.version,
                        mark(*container, self.count)
                    )
                })
                .collect();
            let body = format!(
                "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\">\
                 <publications uri=\"{uri}\">{publications}</publications></publish>"
            );
            (Aim::Notes(self.count), "category-publish", body)
        } else {
            let containers: String = CONTAINERS
                .iter()
                .zip(&self.members)
                .map(|(container, member)| {
                    format!(
                        "<container id=\"{container}\" version=\"0\"><member type=\"user\" value=\"{member}\"/></container>"
                    )
                })
                .collect();
            let body = format!(
                "<setContainerMembers xmlns=\"http://schemas.microsoft.com/2006/09/sip/container-management\">\
                 {containers}</setContainerMembers>"
            );
            (Aim::Members, "setcontainermembers", body)
        };
        let lines = format!("Content-Type: application/msrtc-{media}+xml\r\n");
        let text = self
            .line
            .request("SERVICE", &uri, &self.ids, self.cseq, &lines, &body);
        let node = self.line.chance.below(64) as usize;
        self.asking = Some((Asking::new(text, self.cseq, node, now_ms), aim));
    }

    /// What it sends now.
    pub fn tick(&mut self, nodes: &[SocketAddr], now_ms: u64) -> Option<Sent> {
        if self.asking.is_none() && now_ms >= self.next_ms {
            self.begin(now_ms);
        }
        let (asking, _) = self.asking.as_mut()?;
        match asking.due(&mut self.line, nodes, now_ms)? {
            Some(sent) => Some(sent),
            None => {
                self.asking = None;
                self.doubt = true;
                self.next_ms = now_ms + 1 + self.line.chance.below(1_000);
                None
            }
        }
    }

    /// An answer.
    //= MS-PRES 3.2.5.1.2
    //= type=test
    //# a version advances by one with each publication, whatever happens on the way
    pub fn receive(&mut self, response: &Response, now_ms: u64) -> Learned {
        let Some((asking, aim)) = &mut self.asking else {
            return Learned::Nothing;
        };
        let status = response.status().number();
        if response.cseq().0 != asking.cseq() || status < 200 {
            return Learned::Nothing;
        }
        let aim = *aim;
        if status == 503 {
            asking.turn_away(500, now_ms);
            return Learned::Nothing;
        }
        self.asking = None;
        let pace_ms = match aim {
            Aim::Members => 500,
            Aim::Notes(_) => self.pace_ms,
        };
        self.next_ms = now_ms + 1 + self.line.chance.below(pace_ms);
        match (status, aim) {
            (200, Aim::Members) => {
                self.settled = true;
                self.doubt = false;
            }
            // They were set by the request of which nobody knew.
            (409, Aim::Members) if self.doubt => {
                self.settled = true;
                self.doubt = false;
            }
            (200, Aim::Notes(count)) => {
                self.version += 1;
                self.doubt = false;
                self.shown = Some(count);
                self.answered_ms = now_ms;
            }
            (409, Aim::Notes(_)) if self.doubt => {
                self.version += 1;
                self.doubt = false;
                self.next_ms = now_ms + 1;
            }
            (other, aim) => {
                return Learned::Broken(format!(
                    "{} was told {other} to {aim:?} of version {}",
                    user(self.presentity),
                    self.version
                ));
            }
        }
        Learned::Nothing
    }
}
