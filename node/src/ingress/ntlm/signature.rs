//! What of a message is signed, and how it is laid out.

use std::fmt::Write as _;

use transport::sip::Request;
use transport::sip::header::{Name, NameAddr};

/// A version of the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Signs neither the To URI nor an asserted identity.
    Two,
    /// Signs both.
    Three,
    /// Signs the request that completes the handshake as well, and says so in each header.
    Four,
}

impl Version {
    /// The version in use with a client that says this; `None` for one that never was.
    //= MS-SIPAE 3.2.5.2
    //# without the parameter it is version 2; above our own, ours
    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Version> {
        match text.map_or(Ok(2), str::parse::<u32>).ok()? {
            0 | 1 => None,
            2 => Some(Version::Two),
            3 => Some(Version::Three),
            _ => Some(Version::Four),
        }
    }
}

/// The fields of a message that are signed, as they stand in it; empty where they do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// Call-ID.
    pub call_id: &'a str,
    /// The number in CSeq.
    pub cseq: &'a str,
    /// The method in CSeq.
    pub method: &'a str,
    /// The URI of From, without brackets, parameters and display name.
    pub from: &'a str,
    /// From tag.
    pub from_tag: &'a str,
    /// The URI of To.
    pub to: &'a str,
    /// To tag.
    pub to_tag: &'a str,
    /// The SIP URI of P-Asserted-Identity, else of P-Preferred-Identity.
    pub identity_sip: &'a str,
    /// The TEL URI of the same.
    pub identity_tel: &'a str,
    /// The value of Expires.
    pub expires: &'a str,
    /// The status of a response; a request has none.
    pub status: Option<u16>,
}

impl<'a> Fields<'a> {
    /// Those of a request.
    #[must_use]
    pub fn of_request(request: &'a Request) -> Fields<'a> {
        let cseq = request.header(Name::CSeq).unwrap_or_default();
        let (number, method) = cseq.split_once(char::is_whitespace).unwrap_or((cseq, ""));
        let asserted = ["P-Asserted-Identity", "P-Preferred-Identity"]
            .into_iter()
            .find(|name| request.other_headers(name).next().is_some());
        let identity = |schemes: &[&str]| {
            let lines = asserted
                .into_iter()
                .flat_map(|name| request.other_headers(name));
            lines
                .flat_map(transport::sip::header::elements)
                .filter_map(|element| NameAddr::parse(element).ok())
                .map(|address| address.uri)
                .find(|uri| {
                    let scheme = uri.split(':').next().unwrap_or_default();
                    schemes
                        .iter()
                        .any(|known| known.eq_ignore_ascii_case(scheme))
                })
                .unwrap_or_default()
        };
        Fields {
            call_id: request.call_id(),
            cseq: number,
            method: method.trim_start(),
            from: request.from().uri,
            from_tag: request.from_tag(),
            to: request.to().uri,
            to_tag: request.to_tag().unwrap_or_default(),
            identity_sip: identity(&["sip", "sips"]),
            identity_tel: identity(&["tel"]),
            expires: request.header(Name::Expires).unwrap_or_default(),
            status: None,
        }
    }

    /// Those of our response to this request: with its own To tag and Expires, and no identity.
    #[must_use]
    pub fn response(self, status: u16, to_tag: &'a str, expires: &'a str) -> Fields<'a> {
        Fields {
            to_tag,
            expires,
            status: Some(status),
            identity_sip: "",
            identity_tel: "",
            ..self
        }
    }
}

/// What the signer adds to a message: the salt and count that make it unlike any other, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// crand or srand, as in the header.
    pub salt: &'a str,
    /// cnum or snum, as in the header.
    pub count: &'a str,
    /// Of the association.
    pub realm: &'a str,
    /// Of the association.
    pub targetname: &'a str,
}

/// The text that is signed.
//= MS-SIPAE 3.2.5.2
//# the fields in this order, each in angle brackets; an absent one leaves them empty, but a request has
//# no place for a status
#[must_use]
pub fn signature_text(stamp: &Stamp<'_>, fields: &Fields<'_>, version: Version) -> String {
    let mut text = String::with_capacity(512);
    let mut put = |field: &str| {
        text.push('<');
        text.push_str(field);
        text.push('>');
    };
    for field in [
        "NTLM",
        stamp.salt,
        stamp.count,
        stamp.realm,
        stamp.targetname,
        fields.call_id,
        fields.cseq,
        fields.method,
        fields.from,
        fields.from_tag,
    ] {
        put(field);
    }
    if version >= Version::Three {
        put(fields.to);
    }
    put(fields.to_tag);
    if version >= Version::Three {
        put(fields.identity_sip);
        put(fields.identity_tel);
    }
    put(fields.expires);
    if let Some(status) = fields.status {
        let _ = write!(text, "<{status}>");
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use transport::sip::Message;

    use super::*;

    const STAMP: Stamp<'_> = Stamp {
        salt: "9616454F",
        count: "12",
        realm: "SIP Communications Service",
        targetname: "pool.example.com",
    };

    fn request(lines: &str) -> Request {
        let text = format!(
            "SUBSCRIBE sip:bob@example.com SIP/2.0\r\n\
             Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n\
             f: \"Alice <x>\" <sip:Alice@example.com>;tag=a1;epid=01\r\n\
             To: <sip:bob@example.com;user=phone>;tag=b2\r\n\
             i: 4037df92\r\n\
             CSeq: 03  SUBSCRIBE\r\n\
             {lines}Content-Length: 0\r\n\r\n"
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("a request, not {other:?}"),
        }
    }

    //= MS-SIPAE 3.2.5.2
    //= type=test
    #[test]
    fn the_text_is_that_of_the_table() {
        let asserted =
            "P-Asserted-Identity: \"A\" <sip:a@x.test>\r\nP-Asserted-Identity: <tel:+1>\r\n";
        let both = "P-Preferred-Identity: <sip:p@x.test>, <TEL:+2>\r\nExpires: 7200\r\n";
        let head = "<NTLM><9616454F><12><SIP Communications Service><pool.example.com><4037df92>\
            <03><SUBSCRIBE><sip:Alice@example.com><a1>";
        let to = "<sip:bob@example.com;user=phone>";
        for (lines, version, expected) in [
            ("", Version::Two, "<b2><>".to_owned()),
            ("", Version::Three, format!("{to}<b2><><><>")),
            (asserted, Version::Two, "<b2><>".to_owned()),
            (
                asserted,
                Version::Four,
                format!("{to}<b2><sip:a@x.test><tel:+1><>"),
            ),
            (
                both,
                Version::Four,
                format!("{to}<b2><sip:p@x.test><TEL:+2><7200>"),
            ),
            (
                &[asserted, both].concat(),
                Version::Four,
                format!("{to}<b2><sip:a@x.test><tel:+1><7200>"),
            ),
        ] {
            let request = request(lines);
            let fields = Fields::of_request(&request);
            assert_eq!(
                signature_text(&STAMP, &fields, version),
                format!("{head}{expected}")
            );
        }
        let request = request(asserted);
        let response = Fields::of_request(&request).response(200, "c3", "600");
        assert_eq!(
            signature_text(&STAMP, &response, Version::Four),
            format!("{head}{to}<c3><><><600><200>")
        );
    }

    #[test]
    fn a_version_is_ours_at_most() {
        for (text, expected) in [
            (None, Some(Version::Two)),
            (Some("2"), Some(Version::Two)),
            (Some("3"), Some(Version::Three)),
            (Some("4"), Some(Version::Four)),
            (Some("5"), Some(Version::Four)),
            (Some("1"), None),
            (Some("x"), None),
            (Some(""), None),
        ] {
            assert_eq!(Version::parse(text), expected, "{text:?}");
        }
    }
}
