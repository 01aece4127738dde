//! The messages that agents send. Every body bears a state number, so that what comes back can be told
//! from what came before.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// What an agent asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Bind a contact for so many seconds; 0 unbinds.
    Register { expires: u32 },
    /// Create with a body, or refresh, modify, remove with a tag.
    Publish {
        tag: Option<String>,
        state: Option<u64>,
        expires: u32,
    },
    /// Subscribe; inside the dialog with its tag.
    Subscribe {
        to_tag: Option<String>,
        expires: u32,
    },
}

/// Who asks: names the address and the Call-IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Agent {
    pub number: u32,
    /// Tells the runs of one generator apart.
    pub run: u32,
}

/// What the agents of a run have in common.
#[derive(Clone, Debug)]
pub struct Common {
    pub domain: String,
    pub local: SocketAddr,
}

/// Writes a request. The Call-ID names kind and agent; the branch is the Call-ID with the CSeq.
pub fn write(common: &Common, agent: Agent, ask: &Ask, cseq: u32, out: &mut String) {
    let Agent { number, run } = agent;
    let Common { domain, local } = common;
    let (method, kind) = match ask {
        Ask::Register { .. } => ("REGISTER", 'r'),
        Ask::Publish { .. } => ("PUBLISH", 'p'),
        Ask::Subscribe { .. } => ("SUBSCRIBE", 's'),
    };
    out.clear();
    let target = if kind == 'r' {
        format!("sip:{domain}")
    } else {
        format!("sip:u{number}@{domain}")
    };
    let to_tag = match ask {
        Ask::Subscribe {
            to_tag: Some(tag), ..
        } => format!(";tag={tag}"),
        _ => String::new(),
    };
    let _ = write!(
        out,
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{kind}{number}-{run}-{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{kind}{number}@{domain}>;tag=t{kind}{number}\r\nTo: <sip:u{number}@{domain}>{to_tag}\r\n\
         Call-ID: {kind}-{number}-{run}\r\nCSeq: {cseq} {method}\r\nContact: <sip:u{number}@{local}>\r\n"
    );
    let mut body = String::new();
    match ask {
        Ask::Register { expires } => {
            let _ = write!(out, "Expires: {expires}\r\n");
        }
        Ask::Publish {
            tag,
            state,
            expires,
        } => {
            let _ = write!(out, "Event: presence\r\nExpires: {expires}\r\n");
            if let Some(tag) = tag {
                let _ = write!(out, "SIP-If-Match: {tag}\r\n");
            }
            if let Some(state) = state {
                out.push_str("Content-Type: application/pidf+xml\r\n");
                body = document(domain, number, *state);
            }
        }
        Ask::Subscribe { expires, .. } => {
            let _ = write!(
                out,
                "Event: presence\r\nAccept: application/pidf+xml\r\nExpires: {expires}\r\n"
            );
        }
    }
    let _ = write!(out, "Content-Length: {}\r\n\r\n{body}", body.len());
}

/// A document of some 490 bytes, as phones write them.
pub fn document(domain: &str, number: u32, state: u64) -> String {
    let basic = if state.is_multiple_of(2) {
        "open"
    } else {
        "closed"
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
         entity=\"sip:u{number}@{domain}\"><tuple id=\"t1\"><status><basic>{basic}</basic></status>\
         <contact priority=\"0.8\">sip:u{number}@{domain}</contact><note>state={state};</note></tuple>\
         <dm:person id=\"p1\"><rpid:activities><rpid:away/></rpid:activities><dm:note>Working until five</dm:note></dm:person></presence>"
    )
}

/// The state number that a document shows; `None` when nobody published.
pub fn state_of(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    text.split("state=").nth(1)?.split(';').next()?.parse().ok()
}
