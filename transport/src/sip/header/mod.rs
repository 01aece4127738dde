//! Typed headers, one file each, and the table of names with their long and compact forms.

mod address;
mod event;
mod media;
mod params;
mod via;

pub use address::NameAddr;
pub use event::Event;
pub use media::MediaType;
pub use params::{Params, elements};
pub use via::Via;

/// Declares [`Name`]: variant, usual spelling, and the compact form where there is one.
macro_rules! names {
    ($($variant:ident $text:literal $($compact:literal)?),+ $(,)?) => {
        /// A header name we know; all others are kept and found by their text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $variant,)+
        }

        impl Name {
            /// The name's usual spelling.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Name::$variant => $text,)+ }
            }

            /// Every name, with its compact form.
            const TABLE: &'static [(Name, &'static str, Option<u8>)] =
                &[$((Name::$variant, $text, names!(@compact $($compact)?)),)+];
        }
    };
    (@compact) => { None };
    (@compact $letter:literal) => { Some($letter) };
}

names! {
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    Allow "Allow",
    AllowEvents "Allow-Events" b'u',
    AuthenticationInfo "Authentication-Info",
    Authorization "Authorization",
    CallId "Call-ID" b'i',
    Contact "Contact" b'm',
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding" b'e',
    ContentLength "Content-Length" b'l',
    ContentType "Content-Type" b'c',
    CSeq "CSeq",
    Date "Date",
    Event "Event" b'o',
    Expires "Expires",
    From "From" b'f',
    MaxForwards "Max-Forwards",
    MinExpires "Min-Expires",
    MsEdgeProxyMessageTrust "ms-edge-proxy-message-trust",
    MsKeepAlive "ms-keep-alive",
    MsSourceNetwork "ms-source-network",
    PAssertedIdentity "P-Asserted-Identity",
    Path "Path",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    RecordRoute "Record-Route",
    ReferTo "Refer-To" b'r',
    Require "Require",
    RetryAfter "Retry-After",
    Route "Route",
    Server "Server",
    SipETag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Subject "Subject" b's',
    SubscriptionState "Subscription-State",
    Supported "Supported" b'k',
    To "To" b't',
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    Via "Via" b'v',
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

/// Names by their length and first letter: at most a handful stand in one place, so that looking one
/// up costs one or two comparisons.
static INDEX: std::sync::LazyLock<Vec<Vec<Name>>> = std::sync::LazyLock::new(|| {
    let mut index = vec![Vec::new(); 32 * 32];
    for (name, text, _) in Name::TABLE {
        index[place(text.as_bytes()).expect("names are short and begin with a letter")].push(*name);
    }
    index
});

fn place(text: &[u8]) -> Option<usize> {
    let letter = text.first()?.to_ascii_lowercase();
    (text.len() < 32 && letter.is_ascii_lowercase())
        .then(|| text.len() * 32 + usize::from(letter - b'a'))
}

impl Name {
    /// The name of a header line, long or compact (RFC 3261 §7.3.3, RFC 6665 §8.2), in any letter
    /// case; `None` for a name we do not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Name> {
        if let [letter] = text.as_bytes() {
            let letter = letter.to_ascii_lowercase();
            return Name::TABLE
                .iter()
                .find(|(_, _, compact)| *compact == Some(letter))
                .map(|(name, ..)| *name);
        }
        let candidates = &INDEX[place(text.as_bytes())?];
        candidates
            .iter()
            .copied()
            .find(|name| name.as_str().eq_ignore_ascii_case(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 3261 7.3.3
    //= type=test
    #[test]
    fn names_are_found_long_and_compact_in_any_case() {
        for (text, expected) in [
            ("Via", Some(Name::Via)),
            ("v", Some(Name::Via)),
            ("V", Some(Name::Via)),
            ("cALL-id", Some(Name::CallId)),
            ("i", Some(Name::CallId)),
            ("o", Some(Name::Event)),
            ("u", Some(Name::AllowEvents)),
            ("SIP-If-Match", Some(Name::SipIfMatch)),
            ("sip-etag", Some(Name::SipETag)),
            ("x", None),
            ("X-Lamp", None),
            ("", None),
            ("7", None),
            ("Subscription-State-That-Is-Far-Too-Long", None),
        ] {
            assert_eq!(Name::parse(text), expected, "{text}");
        }
        for (name, text, _) in Name::TABLE {
            assert_eq!(Name::parse(text), Some(*name));
        }
    }
}
