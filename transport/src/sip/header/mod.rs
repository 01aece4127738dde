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

/// Names that may stand in one place of the [`INDEX`].
const TWINS_MAX: usize = 4;

/// Names by their length and first letter, as places in the table, counted from 1; 0 is nobody. So that
/// looking one up costs one or two comparisons.
static INDEX: [[u8; TWINS_MAX]; 32 * 32] = {
    let mut index = [[0; TWINS_MAX]; 32 * 32];
    let mut row = 0;
    while row < Name::TABLE.len() {
        let place = match place(Name::TABLE[row].1.as_bytes()) {
            Some(place) => place,
            None => panic!("names are short and begin with a letter"),
        };
        let mut twin = 0;
        while index[place][twin] != 0 {
            twin += 1;
        }
        row += 1;
        index[place][twin] = row as u8;
    }
    index
};

/// Names by their compact form.
static COMPACT: [Option<Name>; 26] = {
    let mut compact = [None; 26];
    let mut row = 0;
    while row < Name::TABLE.len() {
        if let Some(letter) = Name::TABLE[row].2 {
            compact[(letter - b'a') as usize] = Some(Name::TABLE[row].0);
        }
        row += 1;
    }
    compact
};

/// Whether two names of one length are one but for their case. Names have letters and hyphens only, which
/// the case's bit leaves alone.
fn is_name(known: &[u8], text: &[u8]) -> bool {
    known.iter().zip(text).fold(0, |differs, (known, byte)| {
        differs | (known | 0x20) ^ (byte | 0x20)
    }) == 0
}

const fn place(text: &[u8]) -> Option<usize> {
    if text.is_empty() || text.len() >= 32 {
        return None;
    }
    let letter = text[0].to_ascii_lowercase();
    if letter.is_ascii_lowercase() {
        Some(text.len() * 32 + (letter - b'a') as usize)
    } else {
        None
    }
}

impl Name {
    /// The name of a header line, long or compact (RFC 3261 §7.3.3, RFC 6665 §8.2), in any letter
    /// case; `None` for a name we do not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Name> {
        Name::of(text.as_bytes())
    }

    pub(super) fn of(text: &[u8]) -> Option<Name> {
        let place = place(text)?;
        if let [letter] = text {
            return COMPACT[usize::from(letter.to_ascii_lowercase() - b'a')];
        }
        INDEX[place]
            .iter()
            .take_while(|row| **row != 0)
            .map(|row| &Name::TABLE[usize::from(*row) - 1])
            .find(|(_, known, _)| is_name(known.as_bytes(), text))
            .map(|(name, ..)| *name)
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
