//! What was refused lately, for an operator who is asked "why does my phone not …": who, what, and the reason given.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError, TryLockError};

use serde::Serialize;
use shard::time::Timestamp;
use transport::sip::Request;

/// How many are kept; the oldest give way.
const KEPT: usize = 200;
/// Of each text, at most: these come from strangers.
const TEXT_CHARS_MAX: usize = 160;

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// When, in RFC 3339.
    pub at: String,
    /// Where it came from.
    pub peer: String,
    /// Who asked, as the request says.
    pub from: String,
    /// The method.
    pub method: String,
    /// For what: the Request-URI.
    pub uri: String,
    /// The status that it was answered with.
    pub status: u16,
    /// The reason phrase, and the warning or diagnosis where there was one.
    pub reason: String,
}

/// The last refusals of this node.
#[derive(Debug, Default)]
pub struct Refusals {
    last: Mutex<VecDeque<Refusal>>,
}

impl Refusals {
    /// Notes a refusal. Challenges are none: the client is to ask again with its password. Nobody waits for this: two
    /// workers at once, and one of them leaves its line out.
    pub fn note(&self, request: &Request, status: u16, response: &[u8], wall_ms: u64) {
        if status < 400 || matches!(status, 401 | 407) {
            return;
        }
        let mut last = match self.last.try_lock() {
            Ok(last) => last,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        last.truncate(KEPT - 1);
        let peer = request
            .source()
            .map_or_else(String::new, |(address, port)| match address {
                IpAddr::V4(address) => format!("{address}:{port}"),
                IpAddr::V6(address) => format!("[{address}]:{port}"),
            });
        last.push_front(Refusal {
            at: Timestamp(wall_ms).to_string(),
            peer,
            from: bounded(request.from().uri),
            method: bounded(request.method().as_str()),
            uri: bounded(request.uri()),
            status,
            reason: bounded(&reason_of(response)),
        });
    }

    /// All that are kept, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Refusal> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().cloned().collect()
    }
}

fn bounded(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// The reason phrase of a response, and what a Warning or a diagnosis adds to it.
fn reason_of(response: &[u8]) -> String {
    let head = response.split(|byte| *byte == b'\r').take(40);
    let mut lines = head
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(str::trim);
    let phrase = lines
        .next()
        .and_then(|line| line.splitn(3, ' ').nth(2))
        .unwrap_or_default();
    let more = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let tells = ["Warning", "ms-diagnostics", "ms-diagnostics-public"];
        tells
            .iter()
            .any(|known| name.trim().eq_ignore_ascii_case(known))
            .then(|| value.trim())
    });
    match more {
        Some(more) => format!("{phrase} ({more})"),
        None => phrase.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use transport::sip::Message;

    use super::*;

    fn request(number: usize) -> Request {
        let text = format!(
            "PUBLISH sip:a{number}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@example.com>;tag=1\r\n\
             To: <sip:a@example.com>\r\nCall-ID: 1\r\nCSeq: 1 PUBLISH\r\nContent-Length: 0\r\n\r\n"
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(mut request)) => {
                request.set_source("2001:db8::7".parse().expect("an address"), 5060);
                request
            }
            other => panic!("no request: {other:?}"),
        }
    }

    const BAD: &[u8] = b"SIP/2.0 400 Malformed Presence Document\r\nVia: x\r\nWarning: 399 lamplight \"line 2\"\r\n\r\nWarning: no";

    #[test]
    fn a_refusal_is_kept_with_its_reason() {
        let refusals = Refusals::default();
        refusals.note(&request(7), 400, BAD, 1_000);
        refusals.note(
            &request(8),
            423,
            b"SIP/2.0 423 Interval Too Brief\r\n\r\n",
            2_000,
        );
        for status in [200, 202, 401, 407] {
            refusals.note(&request(9), status, b"SIP/2.0 200 OK\r\n\r\n", 3_000);
        }
        let list = refusals.list();
        assert_eq!(list.len(), 2);
        assert_eq!(
            (list[0].status, &*list[0].reason),
            (423, "Interval Too Brief")
        );
        assert_eq!(
            list[1],
            Refusal {
                at: "1970-01-01T00:00:01.000Z".into(),
                peer: "[2001:db8::7]:5060".into(),
                from: "sip:a@example.com".into(),
                method: "PUBLISH".into(),
                uri: "sip:a7@example.com".into(),
                status: 400,
                reason: "Malformed Presence Document (399 lamplight \"line 2\")".into(),
            }
        );
    }

    #[test]
    fn the_oldest_give_way() {
        let refusals = Refusals::default();
        for number in 0..KEPT + 5 {
            refusals.note(&request(number), 400, BAD, number as u64);
        }
        let list = refusals.list();
        assert_eq!(list.len(), KEPT);
        assert_eq!(list[0].uri, format!("sip:a{}@example.com", KEPT + 4));
        assert_eq!(list[KEPT - 1].uri, "sip:a5@example.com");
    }
}
