//! Typed headers, one file each, and the table of names with their long and compact forms.

mod address;
mod event;
mod media;
mod params;
mod via;

pub use address::NameAddr;
pub use event::Event;
pub use media::MediaType;
pub use params::Params;
pub use via::Via;

/// A header name we know; all others are kept and found by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is the header of that name
pub enum Name {
    Accept,
    Allow,
    AllowEvents,
    Authorization,
    CallId,
    Contact,
    ContentEncoding,
    ContentLength,
    ContentType,
    CSeq,
    Date,
    Event,
    Expires,
    From,
    MaxForwards,
    MinExpires,
    Path,
    ProxyAuthorization,
    ProxyRequire,
    RecordRoute,
    Require,
    RetryAfter,
    Route,
    Server,
    SipETag,
    SipIfMatch,
    SubscriptionState,
    Supported,
    To,
    Unsupported,
    UserAgent,
    Via,
    Warning,
    WwwAuthenticate,
}

impl Name {
    /// The name's usual spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        todo!()
    }

    /// The name of a header line, long or compact (RFC 3261 §7.3.3, RFC 6665 §8.2), in any letter
    /// case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Name> {
        let _ = text;
        todo!()
    }
}
