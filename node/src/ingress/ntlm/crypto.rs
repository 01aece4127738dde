//! The arithmetic of NTLMv2: from a password's hash to a session key, and from that to signatures.
//!
//! MD4, MD5 and RC4 are what the clients of this scheme know, nothing else is. So it belongs inside TLS.

use hmac::{Hmac, KeyInit, Mac};
use md4::Md4;
use md5::{Digest as _, Md5};
use rc4::{Rc4, StreamCipher};

/// The sequence number in every signature.
//= MS-SIPAE 3.3.4.1
//# for NTLM the number is fixed at 100; what makes messages differ are the salts and counts in the text
const SEQUENCE: [u8; 4] = 100_u32.to_le_bytes();

/// The version in every signature.
const SIGNATURE_VERSION: [u8; 4] = 1_u32.to_le_bytes();

/// A password as NTLM keeps it. Whoever has it can sign in: it is as secret as the password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NtHash([u8; 16]);

impl std::fmt::Debug for NtHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NtHash(secret)")
    }
}

impl NtHash {
    /// Of nobody: stands in for the secret of a login that is not known, so that both take as long.
    pub(super) const NOBODY: NtHash = NtHash([0; 16]);

    /// The hash of a password.
    //= MS-NLMP 3.3.1
    //# MD4 of the password in UTF-16LE
    #[must_use]
    pub fn of_password(password: &str) -> NtHash {
        NtHash(Md4::digest(utf16(password)).into())
    }

    /// The hash from its 32 hexadecimal digits, as files of users keep it.
    #[must_use]
    pub fn parse(digits: &str) -> Option<NtHash> {
        unhex(digits).map(NtHash)
    }

    /// Its hexadecimal digits, for a file of users.
    #[must_use]
    pub fn digits(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// The key that a login's answers are made with.
    //= MS-NLMP 3.3.2
    //# keyed with the NT hash: the user in capitals, then the domain as it is
    fn answer_key(&self, user: &str, domain: &str) -> [u8; 16] {
        let mut name = utf16_of(user.chars().map(capital));
        name.extend(utf16(domain));
        hmac(&self.0, &[&name])
    }

    /// The session key that the client chose, if its proof is right.
    //= MS-NLMP 3.3.2
    //# the proof is keyed with the login's key, over the server's challenge and the rest of the answer
    pub(super) fn session_key(
        &self,
        login: (&str, &str),
        challenge: &[u8; 8],
        proof: &[u8; 16],
        rest: &[u8],
        encrypted: [u8; 16],
    ) -> Option<SessionKey> {
        let key = self.answer_key(login.0, login.1);
        let mut expected = keyed(&key);
        expected.update(challenge);
        expected.update(rest);
        expected.verify_slice(proof).ok()?;
        let mut session_key = encrypted;
        rc4(&hmac(&key, &[proof])).apply_keystream(&mut session_key);
        Some(SessionKey(session_key))
    }
}

/// Windows turns each character into at most one other; `ß` stays as it is.
fn capital(character: char) -> char {
    let mut capitals = character.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

/// The secret of one association, from which its keys are made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionKey(pub(super) [u8; 16]);

impl SessionKey {
    /// Whether a code over the parts of a handshake is right.
    pub(super) fn verify(&self, parts: &[&[u8]], code: &[u8]) -> bool {
        let mut expected = keyed(&self.0);
        for part in parts {
            expected.update(part);
        }
        expected.verify_slice(code).is_ok()
    }

    /// What the client signs with.
    pub(super) fn client(&self) -> Signer {
        self.signer("client-to-server")
    }

    /// What the server signs with.
    pub(super) fn server(&self) -> Signer {
        self.signer("server-to-client")
    }

    //= MS-NLMP 3.4.5.2
    //# with extended session security: MD5 of the session key and a phrase for direction and purpose
    fn key(&self, direction: &str, purpose: &str) -> [u8; 16] {
        Md5::new()
            .chain_update(self.0)
            .chain_update(format!(
                "session key to {direction} {purpose} key magic constant\0"
            ))
            .finalize()
            .into()
    }

    //= MS-NLMP 3.4.4.2
    //# without a connection RC4 begins anew for each message, keyed with the sealing key and the number
    fn signer(&self, direction: &str) -> Signer {
        let sealing = Md5::new()
            .chain_update(self.key(direction, "sealing"))
            .chain_update(SEQUENCE)
            .finalize();
        // The number never changes, so neither do the eight bytes that RC4 begins with.
        let mut pad = [0; 8];
        rc4(&sealing.into()).apply_keystream(&mut pad);
        Signer {
            signing: self.key(direction, "signing"),
            pad,
        }
    }
}

/// Signs in one direction.
pub(super) struct Signer {
    signing: [u8; 16],
    pad: [u8; 8],
}

impl Signer {
    /// The signature of a text.
    //= MS-NLMP 3.4.4.2
    //# the version, the first half of the keyed hash of number and text, encrypted, and the number
    pub(super) fn sign(&self, text: &str) -> [u8; 16] {
        let hash = hmac(&self.signing, &[&SEQUENCE, text.as_bytes()]);
        let mut signature = [0; 16];
        signature[..4].copy_from_slice(&SIGNATURE_VERSION);
        signature[4..12].copy_from_slice(&self.encrypt(&hash[..8]));
        signature[12..].copy_from_slice(&SEQUENCE);
        signature
    }

    /// Whether a signature is that of the text; takes the same time wherever it is not.
    pub(super) fn verify(&self, text: &str, signature: &[u8; 16]) -> bool {
        let mut expected = keyed(&self.signing);
        expected.update(&SEQUENCE);
        expected.update(text.as_bytes());
        signature[..4] == SIGNATURE_VERSION
            && signature[12..] == SEQUENCE
            && expected
                .verify_truncated_left(&self.encrypt(&signature[4..12]))
                .is_ok()
    }

    fn encrypt(&self, bytes: &[u8]) -> [u8; 8] {
        std::array::from_fn(|at| bytes[at] ^ self.pad[at])
    }
}

/// A text in UTF-16, least significant byte first.
pub(super) fn utf16(text: &str) -> Vec<u8> {
    utf16_of(text.chars())
}

fn utf16_of(characters: impl Iterator<Item = char>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for character in characters {
        for unit in character.encode_utf16(&mut [0; 2]) {
            bytes.extend(unit.to_le_bytes());
        }
    }
    bytes
}

/// Sixteen bytes from their hexadecimal digits, in any letter case.
pub(super) fn unhex(digits: &str) -> Option<[u8; 16]> {
    let digits = digits.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

fn keyed(key: &[u8; 16]) -> Hmac<Md5> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hmac(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut code = keyed(key);
    for part in parts {
        code.update(part);
    }
    code.finalize().into_bytes().into()
}

fn rc4(key: &[u8; 16]) -> Rc4 {
    Rc4::new_from_slice(key).expect("RC4 takes keys of 1 to 256 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of MS-NLMP 4.2: user, domain and password are these very words.
    const CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The answer behind the proof: no time, a challenge of `aa`, and the names of domain and server.
    fn rest() -> Vec<u8> {
        let mut rest = vec![1, 1, 0, 0, 0, 0, 0, 0];
        rest.extend([0; 8]);
        rest.extend([0xaa; 8]);
        rest.extend([0; 4]);
        for (id, name) in [(2_u8, "Domain"), (1, "Server")] {
            rest.extend([id, 0, 12, 0]);
            rest.extend(utf16(name));
        }
        rest.extend([0; 8]);
        rest
    }

    //= MS-NLMP 3.3.1
    //= type=test
    #[test]
    fn the_nt_hash_is_the_published_one() {
        let digits = "a4f49c406510bdcab6824ee7c30fd852";
        let hash = NtHash::of_password("Password");
        assert_eq!(hex(&hash.0), digits);
        assert_eq!(NtHash::parse(&digits.to_uppercase()), Some(hash));
        for wrong in ["", "a4f4", &digits[1..], &digits.replace('b', "g"), "é"] {
            assert_eq!(NtHash::parse(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{hash:?}"), "NtHash(secret)");
    }

    //= MS-NLMP 3.3.2
    //= type=test
    #[test]
    fn the_answer_and_the_session_key_are_the_published_ones() {
        let hash = NtHash::of_password("Password");
        let key = hash.answer_key("User", "Domain");
        assert_eq!(hex(&key), "0c868a403bfd7a93a3001ef22ef02e3f");
        let proof = unhex("68cd0ab851e51c96aabc927bebef6a1c").expect("hex");
        assert_eq!(hmac(&key, &[&CHALLENGE, &rest()]), proof);
        assert_eq!(
            hex(&hmac(&key, &[&proof])),
            "8de40ccadbc14a82f15cb0ad0de95ca3"
        );
        let encrypted = unhex("c5dad2544fc9799094ce1ce90bc9d03e").expect("hex");
        let login = ("User", "Domain");
        let session_key = hash.session_key(login, &CHALLENGE, &proof, &rest(), encrypted);
        assert_eq!(session_key.map(|key| key.0), Some([0x55; 16]));

        let other = NtHash::of_password("password");
        for (name, hash, login, challenge) in [
            ("another password", other, login, CHALLENGE),
            ("another user", hash, ("Users", "Domain"), CHALLENGE),
            ("another domain", hash, ("User", "DOMAIN"), CHALLENGE),
            ("another challenge", hash, login, [0; 8]),
        ] {
            let key = hash.session_key(login, &challenge, &proof, &rest(), encrypted);
            assert!(key.is_none(), "{name}");
        }
    }

    //= MS-NLMP 3.4.5.2
    //= type=test
    #[test]
    fn the_keys_are_the_published_ones() {
        let key = SessionKey([0x55; 16]);
        for (purpose, expected) in [
            ("signing", "4788dc861b4782f35d43fd98fe1a2d39"),
            ("sealing", "59f600973cc4960a25480a7c196e4c58"),
        ] {
            assert_eq!(hex(&key.key("client-to-server", purpose)), expected);
        }
    }

    #[test]
    fn a_user_is_capitalised_a_character_at_a_time() {
        for (name, expected) in [('a', 'A'), ('É', 'É'), ('ü', 'Ü'), ('ß', 'ß'), ('я', 'Я')]
        {
            assert_eq!(capital(name), expected);
        }
    }

    /// Recorded between an office client and its server; the proof and the texts are in the companions.
    //= MS-SIPAE 3.3.4.1
    //= type=test
    //= MS-NLMP 3.4.4.2
    //= type=test
    #[test]
    fn both_signatures_are_the_recorded_ones() {
        let key = NtHash::of_password("Pa$$word").answer_key("User", "COSMO");
        let proof = unhex("8dc0c800ae76eca606d2b9fbebd04731").expect("hex");
        let mut session_key = unhex("31CB739E1CA80A498591E8AE797115E4").expect("hex");
        rc4(&hmac(&key, &[&proof])).apply_keystream(&mut session_key);
        assert_eq!(hex(&session_key), "6742fbe37bb1946b49d86a525bd29a9b");
        let session_key = SessionKey(session_key);

        let dialog = "<SIP Communications Service><cosmo-ocs-r2.cosmo.local>\
            <4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52>\
            <sip:user@cosmo.local>";
        let request = format!("<NTLM><13317733><1>{dialog}<><><><>");
        let answer =
            format!("<NTLM><9616454F><1>{dialog}<5E61CCD925D17E043D9A74835A88F664><><><7200><200>");
        for (signer, text, expected) in [
            (
                session_key.client(),
                request,
                "0100000029618e9651b65a7764000000",
            ),
            (
                session_key.server(),
                answer,
                "01000000e615438a917661be64000000",
            ),
        ] {
            let signature = signer.sign(&text);
            assert_eq!(hex(&signature), expected);
            assert!(signer.verify(&text, &signature));
            assert!(!signer.verify(&text[1..], &signature));
            for at in 0..16 {
                let mut altered = signature;
                altered[at] ^= 1;
                assert!(!signer.verify(&text, &altered), "byte {at}");
            }
        }
    }
}
