//! The two NTLM messages a server meets without a connection: its CHALLENGE and the AUTHENTICATE.
//!
//! A NEGOTIATE message does not exist here: the server says what it can, the client takes it or leaves.

use super::crypto::{NtHash, SessionKey, utf16};
use super::header::Target;

/// The bits of the messages' flags that matter here (MS-NLMP 2.2.2.5).
mod flag {
    pub const UNICODE: u32 = 0x0000_0001;
    pub const REQUEST_TARGET: u32 = 0x0000_0004;
    pub const SIGN: u32 = 0x0000_0010;
    pub const DATAGRAM: u32 = 0x0000_0040;
    pub const NTLM: u32 = 0x0000_0200;
    pub const ALWAYS_SIGN: u32 = 0x0000_8000;
    pub const TARGET_TYPE_DOMAIN: u32 = 0x0001_0000;
    pub const EXTENDED_SESSION_SECURITY: u32 = 0x0008_0000;
    pub const IDENTIFY: u32 = 0x0010_0000;
    pub const TARGET_INFO: u32 = 0x0080_0000;
    pub const VERSION: u32 = 0x0200_0000;
    pub const KEY_128: u32 = 0x2000_0000;
    pub const KEY_EXCHANGE: u32 = 0x4000_0000;
    pub const KEY_56: u32 = 0x8000_0000;
}

/// What a client has to accept: without one of these it could not make the signatures we check.
const REQUIRED: u32 = flag::UNICODE
    | flag::SIGN
    | flag::DATAGRAM
    | flag::NTLM
    | flag::EXTENDED_SESSION_SECURITY
    | flag::KEY_128
    | flag::KEY_EXCHANGE;

/// What we offer; clients of this scheme refuse to answer when less is offered.
const OFFERED: u32 = REQUIRED
    | flag::REQUEST_TARGET
    | flag::ALWAYS_SIGN
    | flag::TARGET_TYPE_DOMAIN
    | flag::IDENTIFY
    | flag::TARGET_INFO
    | flag::VERSION
    | flag::KEY_56;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

/// The fixed part of a CHALLENGE.
const CHALLENGE_HEAD: usize = 56;

/// The fixed part of an AUTHENTICATE: up to its flags. A version and a code may follow.
const AUTHENTICATE_HEAD: usize = 64;

/// Where the code over the handshake stands, if there is one.
const CODE: std::ops::Range<usize> = 72..88;

/// The longest AUTHENTICATE read: three names of 256 letters and our own names sent back are 3 KiB.
pub(super) const AUTHENTICATE_MAX: usize = 8_192;

/// The system version we show (MS-NLMP 2.2.2.10): that of a server these clients have met.
const VERSION: [u8; 8] = [6, 1, 0xb0, 0x1d, 0, 0, 0, 15];

/// Ids of what stands in the target information (MS-NLMP 2.2.2.1).
mod info {
    pub const END: u16 = 0;
    pub const NETBIOS_COMPUTER: u16 = 1;
    pub const NETBIOS_DOMAIN: u16 = 2;
    pub const DNS_COMPUTER: u16 = 3;
    pub const DNS_DOMAIN: u16 = 4;
    pub const FLAGS: u16 = 6;
    pub const TIME: u16 = 7;
}

/// In the client's flags within the target information: a code over the handshake is in the message.
const HAS_CODE: u32 = 0x0000_0002;

/// 1601, where Windows begins to count, to 1970, in tenths of microseconds.
const EPOCH: u64 = 116_444_736_000_000_000;

/// The CHALLENGE message with eight random bytes.
//= MS-NLMP 2.2.1.2
//# flags, challenge, the name of the domain, and the names of domain and server with the time
pub(super) fn challenge(target: &Target, challenge: &[u8; 8], now_ms: u64) -> Vec<u8> {
    let domain = utf16(target.netbios_domain());
    let time = now_ms.saturating_mul(10_000).saturating_add(EPOCH);
    let mut names = Vec::new();
    for (id, value) in [
        (info::NETBIOS_DOMAIN, domain.clone()),
        (info::NETBIOS_COMPUTER, utf16(target.netbios_computer())),
        (info::DNS_DOMAIN, utf16(target.dns_domain())),
        (info::DNS_COMPUTER, utf16(target.name())),
        (info::TIME, time.to_le_bytes().to_vec()),
        (info::END, Vec::new()),
    ] {
        names.extend(id.to_le_bytes());
        names.extend(length(&value).to_le_bytes());
        names.extend(value);
    }

    let mut message = Vec::with_capacity(CHALLENGE_HEAD + domain.len() + names.len());
    message.extend(SIGNATURE);
    message.extend(2_u32.to_le_bytes());
    message.extend(place(&domain, CHALLENGE_HEAD));
    message.extend(OFFERED.to_le_bytes());
    message.extend(challenge);
    message.extend([0; 8]);
    message.extend(place(&names, CHALLENGE_HEAD + domain.len()));
    message.extend(VERSION);
    assert_eq!(message.len(), CHALLENGE_HEAD);
    message.extend(domain);
    message.extend(names);
    message
}

fn length(value: &[u8]) -> u16 {
    u16::try_from(value.len()).expect("a target's names are short")
}

fn place(value: &[u8], at: usize) -> [u8; 8] {
    let [low, high] = length(value).to_le_bytes();
    let at = u32::try_from(at).expect("a challenge is short");
    let [a, b, c, d] = at.to_le_bytes();
    [low, high, low, high, a, b, c, d]
}

/// Who signs in, as the client's system knows them: not an address, and not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// `user`, or `user@domain`.
    pub user: String,
    /// The domain before the backslash; often empty.
    pub domain: String,
}

/// An AUTHENTICATE message, read but not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authenticate<'a> {
    pub(super) login: Login,
    message: &'a [u8],
    proof: [u8; 16],
    /// What the proof covers beside our challenge.
    rest: &'a [u8],
    session_key: [u8; 16],
    has_code: bool,
}

impl<'a> Authenticate<'a> {
    /// Reads a message; `None` when it is none, or speaks an older NTLM than version 2.
    //= MS-NLMP 2.2.1.3
    //# every field says its length and where it begins, and lies within the message
    pub(super) fn parse(message: &'a [u8]) -> Option<Authenticate<'a>> {
        if message.len() > AUTHENTICATE_MAX
            || !message.starts_with(SIGNATURE)
            || u32_at(message, 8)? != 3
            || u32_at(message, 60)? & REQUIRED != REQUIRED
        {
            return None;
        }
        // The LAN Manager answer and the workstation have no use, but a message whole in all its fields.
        field(message, 12)?;
        field(message, 44)?;
        let (proof, rest) = field(message, 20)?.split_first_chunk()?;
        Some(Authenticate {
            login: Login {
                domain: text(field(message, 28)?)?,
                user: text(field(message, 36)?)?,
            },
            message,
            proof: *proof,
            rest,
            session_key: field(message, 52)?.try_into().ok()?,
            has_code: has_code(rest)?,
        })
    }

    /// The session key, if this answers the CHALLENGE with the password behind the hash.
    //= MS-NLMP 3.2.5.1.2
    //# a code over the handshake, when the client says that there is one, must be right as well
    pub(super) fn verify(&self, secret: &NtHash, challenge: &[u8]) -> Option<SessionKey> {
        let random = challenge.get(24..)?.first_chunk()?;
        let login = (&*self.login.user, &*self.login.domain);
        let key = secret.session_key(login, random, &self.proof, self.rest, self.session_key)?;
        if self.has_code {
            let (before, after) = (&self.message[..CODE.start], self.message.get(CODE.end..)?);
            let parts = [challenge, before, &[0; CODE.end - CODE.start], after];
            if !key.verify(&parts, &self.message[CODE]) {
                return None;
            }
        }
        Some(key)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The value whose length and place stand at `at`.
fn field(message: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16_at(message, at)?);
    let begin = usize::try_from(u32_at(message, at + 4)?).ok()?;
    if length == 0 {
        return Some(&[]);
    }
    if begin < AUTHENTICATE_HEAD {
        return None;
    }
    message.get(begin..begin.checked_add(length)?)
}

fn text(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

/// Whether the client's answer of version 2 says that a code is in the message; `None` when it is no
/// such answer.
//= MS-NLMP 2.2.2.7
//# two versions of 1, the time, the client's challenge, and the target information it answers to
fn has_code(rest: &[u8]) -> Option<bool> {
    if !rest.starts_with(&[1, 1]) {
        return None;
    }
    let mut infos = rest.get(28..)?;
    loop {
        let (id, length) = (u16_at(infos, 0)?, usize::from(u16_at(infos, 2)?));
        let value = infos.get(4..4 + length)?;
        match id {
            info::END => return Some(false),
            info::FLAGS if u32_at(value, 0)? & HAS_CODE != 0 => return Some(true),
            _ => infos = &infos[4 + length..],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingress::ntlm::tests::client::Client;

    fn target() -> Target {
        Target::new("SIP Communications Service", "pool.example.com")
    }

    const RANDOM: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    fn client() -> Client {
        Client::new("alice", "EXAMPLE", "wonder")
    }

    //= MS-NLMP 2.2.1.2
    //= type=test
    #[test]
    fn a_challenge_says_who_and_when() {
        // 2024-01-01T00:00:00Z
        let message = challenge(&target(), &RANDOM, 1_704_067_200_000);
        assert_eq!(&message[..12], b"NTLMSSP\0\x02\0\0\0");
        assert_eq!(u32_at(&message, 20), Some(0xe299_8255));
        assert_eq!(message[24..32], RANDOM);
        assert_eq!(u32_at(&message, 16), Some(56));
        assert_eq!(message[56..70], utf16("EXAMPLE"));
        let begin = u32_at(&message, 44).expect("in there") as usize;
        let length = u16_at(&message, 40).expect("in there");
        assert_eq!(begin + usize::from(length), message.len());
        let mut expected = Vec::new();
        for (id, name) in [
            (2, "EXAMPLE"),
            (1, "POOL"),
            (4, "example.com"),
            (3, "pool.example.com"),
        ] {
            expected.extend([id, 0, 2 * name.len() as u8, 0]);
            expected.extend(utf16(name));
        }
        expected.extend([7, 0, 8, 0]);
        expected.extend(133_485_408_000_000_000_u64.to_le_bytes());
        expected.extend([0; 4]);
        assert_eq!(message[begin..], expected);
    }

    //= MS-NLMP 2.2.1.3
    //= type=test
    //= MS-NLMP 2.2.2.7
    //= type=test
    #[test]
    fn a_message_that_is_not_whole_is_refused() {
        let challenge = challenge(&target(), &RANDOM, 0);
        let (good, _) = client().authenticate(&challenge);
        let login = Authenticate::parse(&good).expect("good").login;
        assert_eq!((&*login.user, &*login.domain), ("alice", "EXAMPLE"));
        for end in 0..good.len() {
            assert_eq!(Authenticate::parse(&good[..end]), None, "cut at {end}");
        }
        let with = |at: usize, bytes: &[u8]| {
            let mut message = good.clone();
            message[at..at + bytes.len()].copy_from_slice(bytes);
            message
        };
        let answer = u32_at(&good, 24).expect("in there") as usize;
        let user = u32_at(&good, 40).expect("in there") as usize;
        for (name, message) in [
            ("another type", with(8, &[2])),
            ("another package", with(0, b"n")),
            ("a name beyond the end", with(40, &[0xff, 0xff, 0xff, 0xff])),
            ("a name in the head", with(40, &[0, 0, 0, 0])),
            ("a name of an odd length", with(36, &[3])),
            ("half a character", with(user, &[0, 0xd8])),
            ("a short session key", with(52, &[15])),
            ("an answer of version 1", with(20, &[24])),
            ("an answer of nothing", with(20, &[0])),
            ("another answer", with(answer + 16, &[2])),
            (
                "infos beyond the end",
                with(answer + 16 + 28 + 2, &[0xff, 0xff]),
            ),
            ("no key exchange", with(63, &[0xa2])),
            ("short keys", with(63, &[0xc2])),
            ("a connection", with(60, &[0x15])),
            (
                "too long",
                [good.clone(), vec![0; AUTHENTICATE_MAX]].concat(),
            ),
        ] {
            assert_eq!(Authenticate::parse(&message), None, "{name}");
        }
    }

    //= MS-NLMP 3.2.5.1.2
    //= type=test
    #[test]
    fn a_code_over_the_handshake_is_checked() {
        let challenge = challenge(&target(), &RANDOM, 0);
        let secret = NtHash::of_password("wonder");
        for code in [false, true] {
            let client = Client { code, ..client() };
            let (good, _) = client.authenticate(&challenge);
            let verify = |message: &[u8], challenge: &[u8]| {
                Authenticate::parse(message)
                    .and_then(|read| read.verify(&secret, challenge))
                    .is_some()
            };
            assert!(verify(&good, &challenge));
            let mut altered = challenge.clone();
            altered[20] ^= 1;
            assert_eq!(verify(&good, &altered), !code, "flags of the challenge");
            let mut altered = good.clone();
            altered[60] ^= 4;
            assert_eq!(verify(&altered, &challenge), !code, "flags of the answer");
            assert!(!verify(&good, &[]), "no challenge");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(read) = Authenticate::parse(&bytes) {
                let _ = read.verify(&NtHash::NOBODY, &bytes);
            }
        }

        #[test]
        fn no_bytes_within_a_message_make_it_panic(
            at in 0_usize..400,
            bytes in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let challenge = challenge(&target(), &RANDOM, 0);
            let (mut message, _) = Client { code: true, ..client() }.authenticate(&challenge);
            for (byte, new) in message.iter_mut().skip(at).zip(&bytes) {
                *byte = *new;
            }
            if let Some(read) = Authenticate::parse(&message) {
                let _ = read.verify(&NtHash::of_password("wonder"), &challenge);
            }
        }
    }
}
