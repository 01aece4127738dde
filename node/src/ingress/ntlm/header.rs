//! The headers of the scheme: our challenges, and the credentials that answer them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use transport::sip::header::{Params, elements};

use super::Opaque;
use super::message::AUTHENTICATE_MAX;

/// Longest name of a domain or a computer before DNS.
const NETBIOS_MAX: usize = 15;

/// Longest name in a target; DNS allows no more.
const NAME_MAX: usize = 255;

/// What clients authenticate to: the realm and this server's name, with the names derived from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    realm: String,
    name: String,
    dns_domain: String,
    netbios_computer: String,
    netbios_domain: String,
}

impl Target {
    /// A realm, usually `SIP Communications Service`, and the fully qualified name of the server.
    ///
    /// Names are cut where DNS would, and quotes are left out: no value in these headers can be escaped.
    #[must_use]
    pub fn new(realm: &str, name: &str) -> Target {
        let plain = |text: &str| -> String {
            let kept = text.chars().filter(|c| *c != '"' && !c.is_control());
            kept.take(NAME_MAX).collect()
        };
        let name = plain(name);
        let (computer, domain) = name.split_once('.').unwrap_or((&name, &name));
        Target {
            realm: plain(realm),
            dns_domain: domain.to_owned(),
            netbios_computer: netbios(computer),
            netbios_domain: netbios(domain.split('.').next().unwrap_or_default()),
            name,
        }
    }

    /// The realm as it stands in headers.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The server's name as it stands in headers.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn dns_domain(&self) -> &str {
        &self.dns_domain
    }

    pub(super) fn netbios_computer(&self) -> &str {
        &self.netbios_computer
    }

    pub(super) fn netbios_domain(&self) -> &str {
        &self.netbios_domain
    }
}

fn netbios(label: &str) -> String {
    label
        .chars()
        .take(NETBIOS_MAX)
        .collect::<String>()
        .to_uppercase()
}

/// The two challenges of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer<'a> {
    /// That we speak the scheme.
    First,
    /// Our CHALLENGE message, for the handshake of that name.
    Second {
        /// The message.
        message: &'a [u8],
        /// The name.
        opaque: Opaque,
    },
}

/// The value of a WWW-Authenticate header.
//= MS-SIPAE 3.3.5.2
//# the second challenge carries the token and the name of the association to be
#[must_use]
pub fn challenge_header(target: &Target, offer: Offer<'_>) -> String {
    let (realm, name) = (target.realm(), target.name());
    match offer {
        Offer::First => format!("NTLM realm=\"{realm}\", targetname=\"{name}\", version=4"),
        Offer::Second { message, opaque } => format!(
            "NTLM opaque=\"{opaque}\", gssapi-data=\"{}\", targetname=\"{name}\", \
             realm=\"{realm}\", version=4",
            STANDARD.encode(message)
        ),
    }
}

/// What an Authorization or Proxy-Authorization header of this scheme says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Of the challenge that is answered.
    pub realm: &'a str,
    /// Of the challenge that is answered.
    pub targetname: &'a str,
    /// `auth`, or nothing.
    pub qop: Option<&'a str>,
    /// The highest version of the scheme that the client knows; without it, it knows version 2.
    pub version: Option<&'a str>,
    /// Which association or handshake this belongs to.
    pub opaque: Option<Opaque>,
    /// The token: empty when the client asks for our CHALLENGE, absent when it only signs.
    pub gssapi_data: Option<&'a str>,
    /// The client's salt, as written.
    pub crand: Option<&'a str>,
    /// The client's count, as written.
    pub cnum: Option<&'a str>,
    /// The signature, in hexadecimal.
    pub response: Option<&'a str>,
}

impl<'a> Credentials<'a> {
    /// Reads a header's value; `None` when it is of another scheme.
    ///
    /// Names and scheme in any letter case, values with quotes or without.
    #[must_use]
    pub fn parse(value: &'a str) -> Option<Credentials<'a>> {
        let (scheme, fields) = value.trim().split_once(char::is_whitespace)?;
        if !scheme.eq_ignore_ascii_case("NTLM") {
            return None;
        }
        let fields: Vec<(&str, &str)> = elements(fields)
            .filter_map(|field| Params(field).iter().next())
            .collect();
        let get = |name: &str| {
            let found = fields
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| *value)
        };
        Some(Credentials {
            realm: get("realm").unwrap_or_default(),
            targetname: get("targetname").unwrap_or_default(),
            qop: get("qop"),
            version: get("version"),
            opaque: get("opaque").and_then(Opaque::parse),
            gssapi_data: get("gssapi-data"),
            crand: get("crand"),
            cnum: get("cnum"),
            response: get("response"),
        })
    }

    /// The bytes of the token; `None` when there is none, or it is not base64, or too long.
    pub(super) fn token(&self) -> Option<Vec<u8>> {
        let text = self.gssapi_data?;
        if text.len() > AUTHENTICATE_MAX.div_ceil(3) * 4 {
            return None;
        }
        STANDARD.decode(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-SIPAE 3.3.5.2
    //= type=test
    #[test]
    fn challenges_are_written_as_clients_know_them() {
        let target = Target::new("SIP \"Communications\" Service", "pool.example.com");
        let opaque = Opaque(0xC828_81F7);
        for (offer, expected) in [
            (
                Offer::First,
                "NTLM realm=\"SIP Communications Service\", targetname=\"pool.example.com\", version=4",
            ),
            (
                Offer::Second {
                    message: b"NTLMSSP\0\x02",
                    opaque,
                },
                "NTLM opaque=\"C82881F7\", gssapi-data=\"TlRMTVNTUAAC\", \
                 targetname=\"pool.example.com\", realm=\"SIP Communications Service\", version=4",
            ),
        ] {
            assert_eq!(challenge_header(&target, offer), expected);
        }
    }

    #[test]
    fn names_are_those_of_the_server_and_short_enough() {
        for (name, computer, netbios, dns) in [
            ("pool.example.com", "POOL", "EXAMPLE", "example.com"),
            ("localhost", "LOCALHOST", "LOCALHOST", "localhost"),
            (
                "a-long-name-of-a-pool.a-long-name-of-a-domain.test",
                "A-LONG-NAME-OF-",
                "A-LONG-NAME-OF-",
                "a-long-name-of-a-domain.test",
            ),
            ("", "", "", ""),
        ] {
            let target = Target::new("r", name);
            assert_eq!(target.netbios_computer(), computer);
            assert_eq!(target.netbios_domain(), netbios);
            assert_eq!(target.dns_domain(), dns);
        }
        assert_eq!(Target::new("r", &"x.".repeat(400)).name().len(), NAME_MAX);
    }

    #[test]
    fn credentials_are_read_in_any_order_case_and_quoting() {
        let full = Credentials {
            realm: "SIP Communications Service",
            targetname: "pool.example.com",
            qop: Some("auth"),
            version: Some("4"),
            opaque: Some(Opaque(0xC828_81F7)),
            gssapi_data: Some("TlRMTVNTUAAC=="),
            crand: Some("edff5bfc"),
            cnum: Some("1"),
            response: Some("0100"),
        };
        let nothing = Credentials {
            realm: "",
            targetname: "",
            qop: None,
            version: None,
            opaque: None,
            gssapi_data: None,
            crand: None,
            cnum: None,
            response: None,
        };
        for (line, expected) in [
            (
                "NTLM qop=\"auth\", opaque=\"C82881F7\", realm=\"SIP Communications Service\", \
                 targetname=\"pool.example.com\", gssapi-data=\"TlRMTVNTUAAC==\", version=4, \
                 crand=\"edff5bfc\", cnum=\"1\", response=\"0100\"",
                Some(full),
            ),
            (
                " ntlm RESPONSE=0100,CNUM=1,Crand=edff5bfc , Version=\"4\",GSSAPI-Data=TlRMTVNTUAAC==,\
                 TargetName=pool.example.com,realm=SIP Communications Service,Opaque=c82881f7,QOP=auth",
                Some(full),
            ),
            (
                "NTLM gssapi-data=\"\", opaque=\"nonsense\", strange",
                Some(Credentials {
                    gssapi_data: Some(""),
                    ..nothing
                }),
            ),
            ("NTLM ,", Some(nothing)),
            ("NTLM", None),
            ("Digest realm=\"x\"", None),
            ("", None),
        ] {
            assert_eq!(Credentials::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn a_token_is_strict_base64_of_some_length() {
        let long = "A".repeat(4 * AUTHENTICATE_MAX);
        for (text, expected) in [
            (Some("TlRMTVNTUAAC"), Some(b"NTLMSSP\0\x02".to_vec())),
            (Some("AA=="), Some(vec![0])),
            (Some(""), Some(Vec::new())),
            (Some("A"), None),
            (Some("A A="), None),
            (Some(&long), None),
            (None, None),
        ] {
            let mut credentials = Credentials::parse("NTLM ,").expect("NTLM");
            credentials.gssapi_data = text;
            assert_eq!(credentials.token(), expected, "{text:?}");
        }
    }
}
