//! A client of the scheme, written from its rules alone: shares no code with the server's side.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md4::Md4;
use md5::{Digest, Md5};
use rc4::{Rc4, StreamCipher};

use crate::ingress::ntlm::{Fields, Opaque};

/// Who signs in, and how.
#[derive(Clone)]
pub struct Client {
    pub user: &'static str,
    pub domain: &'static str,
    pub password: &'static str,
    /// Whether it puts a code over the handshake into its answer.
    pub code: bool,
}

/// The session key that every client here draws.
const SESSION_KEY: [u8; 16] = *b"sixteen, chancy!";

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut hmac = Hmac::<Md5>::new_from_slice(key).expect("any key");
    hmac.update(data);
    hmac.finalize().into_bytes().to_vec()
}

fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    let mut rc4 = Rc4::new_from_slice(key).expect("a key");
    rc4.apply_keystream(&mut data);
    data
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

impl Client {
    pub fn new(user: &'static str, domain: &'static str, password: &'static str) -> Client {
        Client {
            user,
            domain,
            password,
            code: false,
        }
    }

    /// The AUTHENTICATE message that answers a CHALLENGE, and what this client signs with from then on.
    pub fn authenticate(&self, challenge: &[u8]) -> (Vec<u8>, Session) {
        assert_eq!(&challenge[..12], b"NTLMSSP\0\x02\0\0\0");
        let infos_at = u32::from_le_bytes(challenge[44..48].try_into().expect("four")) as usize;
        let (infos, end) = challenge[infos_at..].split_at(challenge.len() - infos_at - 4);
        assert_eq!(end, [0; 4]);

        let mut rest = vec![1, 1, 0, 0, 0, 0, 0, 0];
        // The time of the server, as the last of its infos.
        rest.extend(&infos[infos.len() - 8..]);
        rest.extend(*b"8 chance");
        rest.extend([0; 4]);
        rest.extend(infos);
        if self.code {
            rest.extend([6, 0, 4, 0, 2, 0, 0, 0]);
        }
        rest.extend([0; 8]);

        let hash = Md4::digest(wide(self.password));
        let name = wide(&(self.user.to_uppercase() + self.domain));
        let key = hmac(&hash, &name);
        let proof = hmac(&key, &[&challenge[24..32], &rest].concat());
        let exchange = rc4(&hmac(&key, &proof), &SESSION_KEY);
        let answer = [proof, rest].concat();

        let head = if self.code { 88 } else { 72 };
        let mut fields = Vec::new();
        let mut payload = Vec::new();
        for value in [
            vec![0; 24],
            answer,
            wide(self.domain),
            wide(self.user),
            wide("PC"),
            exchange,
        ] {
            let length = u16::try_from(value.len()).expect("short").to_le_bytes();
            fields.extend(length);
            fields.extend(length);
            let at = u32::try_from(head + payload.len()).expect("short");
            fields.extend(at.to_le_bytes());
            payload.extend(value);
        }
        let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
        message.extend(fields);
        // What the server offers is what this client takes.
        message.extend(&challenge[20..24]);
        message.extend([5, 1, 0x28, 0x0a, 0, 0, 0, 15]);
        message.resize(head, 0);
        message.extend(payload);
        if self.code {
            let code = hmac(&SESSION_KEY, &[challenge, &message].concat());
            message[72..88].copy_from_slice(&code);
        }
        (message, Session { cnum: 0 })
    }
}

/// A client that has its keys.
pub struct Session {
    cnum: u32,
}

impl Session {
    /// The signature parameters of the next message.
    pub fn sign(&mut self, target: (&str, &str), fields: &Fields<'_>, version: u32) -> String {
        self.cnum += 1;
        let salt = format!("{:08x}", 0xedff_5bfc_u32.wrapping_mul(self.cnum));
        let cnum = self.cnum.to_string();
        let text = text(&salt, &cnum, target, fields, version);
        let response = signature("client-to-server", &text);
        format!("crand=\"{salt}\", cnum=\"{cnum}\", response=\"{response}\"")
    }

    /// Whether an Authentication-Info is the server's over this message; its count.
    pub fn check(
        &self,
        header: &str,
        target: (&str, &str),
        fields: &Fields<'_>,
        version: u32,
    ) -> Option<u32> {
        let text = text(
            value(header, "srand"),
            value(header, "snum"),
            target,
            fields,
            version,
        );
        let right = value(header, "rspauth") == signature("server-to-client", &text);
        right.then(|| value(header, "snum").parse().expect("a count"))
    }
}

/// The value of a quoted parameter.
pub fn value<'h>(header: &'h str, name: &str) -> &'h str {
    let (_, behind) = header.split_once(&format!("{name}=\"")).expect(name);
    behind.split('"').next().expect("a closing quote")
}

/// The CHALLENGE message in a second challenge, and the name beside it.
pub fn challenge_of(header: &str) -> (Vec<u8>, Opaque) {
    let message = STANDARD
        .decode(value(header, "gssapi-data"))
        .expect("base64");
    (
        message,
        Opaque::parse(value(header, "opaque")).expect("a name"),
    )
}

fn text(
    salt: &str,
    count: &str,
    target: (&str, &str),
    fields: &Fields<'_>,
    version: u32,
) -> String {
    let Fields {
        call_id,
        cseq,
        method,
        from,
        from_tag,
        to,
        to_tag,
        identity_sip,
        identity_tel,
        expires,
        status,
    } = fields;
    let (realm, name) = target;
    let status = status.map_or(String::new(), |status| format!("<{status}>"));
    let head = format!(
        "<NTLM><{salt}><{count}><{realm}><{name}><{call_id}><{cseq}><{method}><{from}><{from_tag}>"
    );
    if version < 3 {
        format!("{head}<{to_tag}><{expires}>{status}")
    } else {
        format!("{head}<{to}><{to_tag}><{identity_sip}><{identity_tel}><{expires}>{status}")
    }
}

fn signature(direction: &str, text: &str) -> String {
    let key = |purpose: &str| {
        let phrase = format!("session key to {direction} {purpose} key magic constant\0");
        Md5::digest([&SESSION_KEY, phrase.as_bytes()].concat())
    };
    let number = [100, 0, 0, 0];
    let hash = hmac(&key("signing"), &[&number, text.as_bytes()].concat());
    let sealing = Md5::digest([&key("sealing")[..], &number].concat());
    let code = rc4(&sealing, &hash[..8]);
    let hex: String = code.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("01000000{hex}64000000")
}
