//! Methods: an open set. SERVICE, BENOTIFY and the unknown are ordinary members.

use std::fmt;

use bytes::Bytes;

/// A request method (case-sensitive, RFC 3261 §7.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 3261
    Invite,
    /// RFC 3261
    Ack,
    /// RFC 3261
    Bye,
    /// RFC 3261
    Cancel,
    /// RFC 3261
    Options,
    /// RFC 3261
    Register,
    /// RFC 3903
    Publish,
    /// RFC 6665
    Subscribe,
    /// RFC 6665
    Notify,
    /// MS-SIP
    Benotify,
    /// MS-SIP
    Service,
    /// RFC 3428
    Message,
    /// RFC 6086
    Info,
    /// RFC 3515
    Refer,
    /// RFC 3311
    Update,
    /// RFC 3262
    Prack,
    /// Any other token.
    Other(Bytes),
}

impl Method {
    /// The method of a token; `None` when `token` is not one (RFC 3261 §25.1).
    #[must_use]
    pub fn parse(token: &Bytes) -> Option<Method> {
        let _ = token;
        todo!()
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        todo!()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
