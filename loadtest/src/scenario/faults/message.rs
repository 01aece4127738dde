//! What publishers, watchers and fetchers write. The Call-ID says whose it is, so that whatever comes
//! back finds its way without a table.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::message::document;

/// Who asks. A fetch lives for one request; publishers are the users themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Publisher(usize),
    Watcher(usize),
    Fetch(usize),
}

impl Who {
    fn letter(self) -> char {
        match self {
            Who::Publisher(_) => 'p',
            Who::Watcher(_) => 's',
            Who::Fetch(_) => 'f',
        }
    }

    fn number(self) -> usize {
        match self {
            Who::Publisher(number) | Who::Watcher(number) | Who::Fetch(number) => number,
        }
    }

    /// The Call-ID of all that it says; `run` tells the runs of the generator apart.
    pub fn call_id(self, run: u32) -> String {
        format!("{}-{}-{run}", self.letter(), self.number())
    }

    /// Whose Call-ID this is; `None` for that of another run.
    pub fn of(call_id: &str, run: u32) -> Option<Who> {
        let mut parts = call_id.split('-');
        let (letter, number, of) = (parts.next()?, parts.next()?, parts.next()?);
        let number = number.parse().ok()?;
        if of.parse() != Ok(run) || parts.next().is_some() {
            return None;
        }
        match letter {
            "p" => Some(Who::Publisher(number)),
            "s" => Some(Who::Watcher(number)),
            "f" => Some(Who::Fetch(number)),
            _ => None,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A new state, in place of the one with this tag.
    Publish { tag: Option<String>, state: u64 },
    /// The same state for longer: only the tag must live.
    Refresh { tag: String },
    /// To be told, or only once when `expires` is 0.
    Subscribe {
        to_tag: Option<String>,
        expires: u32,
    },
}

/// A request without its Via: that depends on the line it leaves by, and on the attempt.
#[derive(Clone, Debug)]
pub struct Request {
    pub who: Who,
    /// The user that it is about.
    pub user: usize,
    pub cseq: u32,
    pub ask: Ask,
}

/// What all requests have in common.
#[derive(Clone, Debug)]
pub struct Common {
    pub domain: String,
    pub run: u32,
}

/// Writes a request. A repetition on the same way has the same attempt, one on another way the next:
/// the branch differs, and nothing else (RFC 3263 4.3).
pub fn write(
    common: &Common,
    request: &Request,
    (transport, local): (&str, SocketAddr),
    attempt: u32,
) -> String {
    let (domain, run) = (&common.domain, common.run);
    let Request {
        who, user, cseq, ..
    } = request;
    let (letter, number) = (who.letter(), who.number());
    let method = match request.ask {
        Ask::Publish { .. } | Ask::Refresh { .. } => "PUBLISH",
        Ask::Subscribe { .. } => "SUBSCRIBE",
    };
    let to_tag = match &request.ask {
        Ask::Subscribe {
            to_tag: Some(tag), ..
        } => format!(";tag={tag}"),
        _ => String::new(),
    };
    let mut out = String::with_capacity(1_200);
    let _ = write!(
        out,
        "{method} sip:u{user}@{domain} SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {local};rport;branch=z9hG4bK{letter}{number}-{run}-{cseq}-{attempt}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{letter}{number}@{domain}>;tag=t{letter}{number}\r\n\
         To: <sip:u{user}@{domain}>{to_tag}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:{letter}{number}@{local};transport={}>\r\nEvent: presence\r\n",
        who.call_id(run),
        transport.to_lowercase(),
    );
    let mut body = String::new();
    match &request.ask {
        Ask::Publish { tag, state } => {
            out.push_str("Expires: 3600\r\nContent-Type: application/pidf+xml\r\n");
            if let Some(tag) = tag {
                let _ = write!(out, "SIP-If-Match: {tag}\r\n");
            }
            body = document(domain, *user as u32, *state);
        }
        Ask::Refresh { tag } => {
            let _ = write!(out, "Expires: 3600\r\nSIP-If-Match: {tag}\r\n");
        }
        Ask::Subscribe { expires, .. } => {
            let _ = write!(
                out,
                "Accept: application/pidf+xml\r\nExpires: {expires}\r\n"
            );
        }
    }
    let _ = write!(out, "Content-Length: {}\r\n\r\n{body}", body.len());
    out
}

/// Every state number that a document shows, lowest first.
pub fn states_of(body: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let mut states: Vec<u64> = text
        .split("state=")
        .skip(1)
        .filter_map(|rest| rest.split(';').next()?.parse().ok())
        .collect();
    states.sort_unstable();
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_says_whose_it_is() {
        for who in [Who::Publisher(7), Who::Watcher(0), Who::Fetch(123_456)] {
            assert_eq!(Who::of(&who.call_id(42), 42), Some(who));
            assert_eq!(Who::of(&who.call_id(41), 42), None);
        }
        assert_eq!(Who::of("x-1-42", 42), None);
        assert_eq!(Who::of("p-1-42-9", 42), None);
    }

    #[test]
    fn every_state_of_a_document_is_found() {
        let both = format!(
            "{}{}",
            document("a.example", 1, 9),
            document("a.example", 1, 4)
        );
        assert_eq!(states_of(both.as_bytes()), [4, 9]);
        assert_eq!(states_of(b"<presence/>"), [] as [u64; 0]);
    }
}
