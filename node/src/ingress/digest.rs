//! SIP Digest (RFC 7616, RFC 8760): a password proven without showing it.
//!
//! Nonces need no memory: a nonce is a time and a keyed hash of it, so any answer shows whether it is
//! ours and how old it is. What is remembered is the nonce counts in use, so that an answer that was
//! overheard cannot be used again.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512_256};
use transport::sip::header::Params;

use super::users::Secrets;

/// How long a nonce may be used.
const NONCE_LIFE_MS: u64 = 300_000;

/// Nonces whose counts are remembered: each a client of the last five minutes. 100 bytes each.
const NONCES_MAX: usize = 262_144;

/// A digest algorithm, strongest first: the order of the challenges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RFC 8760
    Sha512_256,
    /// RFC 8760
    Sha256,
    /// RFC 2617; for phones that know no other
    Md5,
}

impl Algorithm {
    /// All, strongest first.
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5];

    /// As in a challenge.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha512_256 => "SHA-512-256",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Md5 => "MD5",
        }
    }

    /// Lower-case hexadecimal hash of the parts, joined by colons.
    #[must_use]
    pub fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        let bytes: Vec<u8> = match self {
            Algorithm::Sha512_256 => Sha512_256::digest(text).to_vec(),
            Algorithm::Sha256 => Sha256::digest(text).to_vec(),
            Algorithm::Md5 => Md5::digest(text).to_vec(),
        };
        hex(&bytes)
    }

    /// The algorithm of this name, in any letter case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Algorithm> {
        let is = |known: &Algorithm| known.as_str().eq_ignore_ascii_case(text);
        Algorithm::ALL.into_iter().find(is)
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The server's side of Digest on one node.
pub struct Digest {
    realm: String,
    key: [u8; 32],
    counts: Mutex<Counts>,
    nonces_max: usize,
}

/// The counts of nonces in use.
#[derive(Default)]
struct Counts {
    /// When each was made, and the highest count used.
    highest: HashMap<String, (u64, u32)>,
    /// Nonces made before are good for nothing any more.
    floor_ms: u64,
}

/// What credentials prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// This user sent the request, now.
    User(String),
    /// This user sent it, but with a nonce that is too old, was used, or is not ours.
    Stale,
    /// Nothing.
    None,
}

impl Digest {
    /// For one realm, with a key that nobody else has.
    #[must_use]
    pub fn new(realm: &str, key: [u8; 32]) -> Digest {
        Digest {
            realm: realm.to_owned(),
            key,
            counts: Mutex::default(),
            nonces_max: NONCES_MAX,
        }
    }

    /// The values of the WWW-Authenticate headers, strongest first; `stale` when the password was right.
    //= RFC 8760 2.4
    //# one challenge per algorithm, the most preferred first
    #[must_use]
    pub fn challenges(&self, algorithms: &[Algorithm], now_ms: u64, stale: bool) -> Vec<String> {
        let nonce = self.nonce(now_ms);
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &Algorithm| {
            let realm = self.realm.replace('"', "");
            format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\", algorithm={}{stale}",
                algorithm.as_str()
            )
        };
        algorithms.iter().map(challenge).collect()
    }

    fn nonce(&self, at_ms: u64) -> String {
        let mut chance = [0; 8];
        // Two challenges of one millisecond need not share a nonce; if chance fails they do.
        let _ = getrandom::fill(&mut chance);
        let open = format!("{at_ms:012x}{}", hex(&chance));
        let seal = self.seal(&open);
        open + &seal
    }

    fn seal(&self, open: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(open.as_bytes());
        hex(&mac.finalize().into_bytes()[..16])
    }

    /// When one of our nonces was made.
    fn made_ms(&self, nonce: &str) -> Option<u64> {
        let (open, seal) = nonce.split_at_checked(28)?;
        if !same(&self.seal(open), seal) {
            return None;
        }
        u64::from_str_radix(&open[..12], 16).ok()
    }

    /// What one Authorization line proves about a request of this method and Request-URI.
    //= RFC 7616 3.4.1
    //# the response proves the secret without showing it; the nonce count proves that it is fresh
    pub fn verify(
        &self,
        secrets: &Secrets,
        method: &str,
        uri: &str,
        line: &str,
        now_ms: u64,
    ) -> Proof {
        let Some((scheme, fields)) = line.trim().split_once(char::is_whitespace) else {
            return Proof::None;
        };
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Proof::None;
        }
        let fields = fields_of(fields);
        let get = |name: &str| {
            fields
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| *value)
        };
        let (Some(user), Some(nonce), Some(response), Some(signed)) =
            (get("username"), get("nonce"), get("response"), get("uri"))
        else {
            return Proof::None;
        };
        //= RFC 8760 2.6
        //# without the parameter the algorithm is MD5
        let Some(algorithm) = Algorithm::parse(get("algorithm").unwrap_or("MD5")) else {
            return Proof::None;
        };
        // A user that does not exist costs the same time as one that does.
        let secret = secrets.digest(user, algorithm).unwrap_or_default();
        let second = algorithm.hash(&[method, signed]);
        let (Some("auth"), Some(count), Some(client)) = (get("qop"), get("nc"), get("cnonce"))
        else {
            return Proof::None;
        };
        let expected = algorithm.hash(&[secret, nonce, count, client, "auth", &second]);
        let right = same(&expected, &response.to_ascii_lowercase()) & !secret.is_empty();
        if !right {
            return Proof::None;
        }
        //= RFC 7616 3.4.6
        //# the signed URI is that of the request
        if !signed.eq_ignore_ascii_case(uri) {
            return Proof::None;
        }
        //= RFC 7616 3.3
        //# stale says that the password was right and only the nonce is not: nobody needs to be asked again.
        //# So it is for a nonce of another node, or of our own life before
        let (Some(made_ms), Ok(count)) = (self.made_ms(nonce), u32::from_str_radix(count, 16))
        else {
            return Proof::Stale;
        };
        if now_ms.saturating_sub(made_ms) > NONCE_LIFE_MS
            || !self.use_count(nonce, made_ms, count, now_ms)
        {
            return Proof::Stale;
        }
        Proof::User(user.to_owned())
    }

    /// Whether this count of the nonce is new.
    //= RFC 7616 5.5
    //# a count that was seen is a replay
    fn use_count(&self, nonce: &str, made_ms: u64, count: u32, now_ms: u64) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if made_ms < counts.floor_ms {
            return false;
        }
        if let Some((_, highest)) = counts.highest.get_mut(nonce) {
            let new = count > *highest;
            *highest = count.max(*highest);
            return new;
        }
        if counts.highest.len() >= self.nonces_max {
            let alive = |made_ms: u64| now_ms.saturating_sub(made_ms) <= NONCE_LIFE_MS;
            counts.highest.retain(|_, (made_ms, _)| alive(*made_ms));
            if counts.highest.len() >= self.nonces_max {
                // Everybody is challenged once more; what was forgotten lets nobody in twice.
                counts.highest.clear();
                counts.floor_ms = now_ms + 1;
                return false;
            }
        }
        counts.highest.insert(nonce.to_owned(), (made_ms, count));
        true
    }
}

/// The fields of a Digest line: names and values, quotes removed.
fn fields_of(text: &str) -> Vec<(&str, &str)> {
    transport::sip::header::elements(text)
        .flat_map(|field| Params(field).iter().collect::<Vec<_>>())
        .collect()
}

/// Equality that takes the same time wherever the texts differ.
fn same(one: &str, other: &str) -> bool {
    let differences = one
        .bytes()
        .zip(other.bytes())
        .fold(0, |differences, (a, b)| differences | (a ^ b));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const REALM: &str = "example.com";

    fn digest() -> (Digest, Secrets) {
        let line = |algorithm: Algorithm| {
            let secret = algorithm.hash(&["alice", REALM, "wonder"]);
            format!("alice:{REALM}:{}:{secret}\n", algorithm.as_str())
        };
        let text = line(Algorithm::Md5) + &line(Algorithm::Sha256);
        let secrets = Secrets::parse(&text, REALM).expect("two lines");
        (Digest::new(REALM, [7; 32]), secrets)
    }

    fn nonce_of(digest: &Digest, now_ms: u64) -> String {
        let challenges = digest.challenges(&Algorithm::ALL, now_ms, false);
        assert!(
            challenges[0].contains("SHA-512-256") && challenges[2].ends_with("algorithm=MD5"),
            "{challenges:?}"
        );
        challenges[0].split('"').nth(3).expect("a nonce").to_owned()
    }

    fn answer(
        algorithm: Algorithm,
        password: &str,
        method: &str,
        uri: &str,
        nonce: &str,
        count: &str,
    ) -> String {
        let first = algorithm.hash(&["alice", REALM, password]);
        let second = algorithm.hash(&[method, uri]);
        let response = algorithm.hash(&[&first, nonce, count, "0a4f113b", "auth", &second]);
        format!(
            "Digest username=\"alice\", realm=\"example.com\", nonce=\"{nonce}\", uri=\"{uri}\", qop=auth, nc={count}, \
             cnonce=\"0a4f113b\", response=\"{response}\", algorithm={}",
            algorithm.as_str()
        )
    }

    //= RFC 7616 3.9.1
    //= type=test
    #[test]
    fn the_hashes_are_those_of_the_standard() {
        let realm = "http-auth@example.org";
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let client = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                Algorithm::Sha256,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let first = algorithm.hash(&["Mufasa", realm, "Circle of Life"]);
            let second = algorithm.hash(&["GET", "/dir/index.html"]);
            assert_eq!(
                algorithm.hash(&[&first, nonce, "00000001", client, "auth", &second]),
                expected
            );
        }
    }

    //= RFC 7616 3.4.1
    //= type=test
    //= RFC 7616 3.4.6
    //= type=test
    //= RFC 7616 3.3
    //= type=test
    //= RFC 7616 5.5
    //= type=test
    #[test]
    fn only_the_right_answer_lets_in_and_only_once() {
        let (digest, secrets) = digest();
        let (uri, register) = ("sip:example.com", "REGISTER");
        let nonce = nonce_of(&digest, 1_000);
        let sha = |password: &str, uri: &str, count: &str| {
            answer(Algorithm::Sha256, password, register, uri, &nonce, count)
        };
        let good = |count: &str| sha("wonder", uri, count);
        let other = "0".repeat(60);
        let foreign = |password: &str| {
            answer(
                Algorithm::Sha256,
                password,
                register,
                uri,
                &other,
                "00000001",
            )
        };
        let check =
            |line: &str, method: &str, at: u64| digest.verify(&secrets, method, uri, line, at);
        let alice = Proof::User("alice".to_owned());
        assert_eq!(check(&good("00000001"), register, 2_000), alice);
        let late = 1_001 + NONCE_LIFE_MS;
        for (name, line, method, at, expected) in [
            (
                "the same answer again",
                good("00000001"),
                register,
                2_000,
                Proof::Stale,
            ),
            (
                "another method",
                good("00000002"),
                "PUBLISH",
                2_000,
                Proof::None,
            ),
            (
                "an old nonce",
                good("00000003"),
                register,
                late,
                Proof::Stale,
            ),
            (
                "a wrong password",
                sha("x", uri, "00000004"),
                register,
                2_000,
                Proof::None,
            ),
            (
                "another URI",
                sha("wonder", "sip:other", "00000005"),
                register,
                2_000,
                Proof::None,
            ),
            (
                "a nonce that is not ours",
                foreign("wonder"),
                register,
                2_000,
                Proof::Stale,
            ),
            (
                "neither nonce nor password",
                foreign("x"),
                register,
                2_000,
                Proof::None,
            ),
            ("no count", good("soon"), register, 2_000, Proof::Stale),
            (
                "an unknown user",
                good("00000007").replace("alice", "mallory"),
                register,
                2_000,
                Proof::None,
            ),
            (
                "no digest",
                "Basic YWxpY2U6d29uZGVy".to_owned(),
                register,
                2_000,
                Proof::None,
            ),
            ("nothing", String::new(), register, 2_000, Proof::None),
        ] {
            assert_eq!(check(&line, method, at), expected, "{name}");
        }
        let md5 = answer(Algorithm::Md5, "wonder", register, uri, &nonce, "00000008");
        assert_eq!(check(&md5, register, 2_000), alice);
    }

    //= RFC 8760 2.6
    //= type=test
    #[test]
    fn an_answer_that_names_no_algorithm_is_md5() {
        let (digest, secrets) = digest();
        let nonce = nonce_of(&digest, 1_000);
        for (algorithm, expected) in [
            (Algorithm::Md5, Proof::User("alice".to_owned())),
            (Algorithm::Sha256, Proof::None),
        ] {
            let line = answer(
                algorithm, "wonder", "PUBLISH", "sip:a@b", &nonce, "00000001",
            );
            let (line, _) = line.split_once(", algorithm=").expect("it names one");
            assert_eq!(
                digest.verify(&secrets, "PUBLISH", "sip:a@b", line, 1_000),
                expected
            );
        }
    }

    #[test]
    fn what_is_forgotten_lets_nobody_in_twice() {
        let (mut digest, secrets) = digest();
        digest.nonces_max = 2;
        let use_once = |nonce: &str, at: u64| {
            let line = answer(
                Algorithm::Md5,
                "wonder",
                "PUBLISH",
                "sip:a@b",
                nonce,
                "00000001",
            );
            digest.verify(&secrets, "PUBLISH", "sip:a@b", &line, at)
        };
        let alice = Proof::User("alice".to_owned());
        let nonces: Vec<String> = (0..4).map(|at| nonce_of(&digest, 1_000 + at)).collect();
        assert_eq!(use_once(&nonces[0], 1_010), alice);
        assert_eq!(use_once(&nonces[1], 1_010), alice);
        assert_eq!(
            use_once(&nonces[2], 1_010),
            Proof::Stale,
            "there is no room"
        );
        for nonce in &nonces {
            assert_eq!(
                use_once(nonce, 1_020),
                Proof::Stale,
                "as old as what was forgotten"
            );
        }
        let later = nonce_of(&digest, 1_030);
        assert_eq!(use_once(&later, 1_030), alice);
        assert_eq!(use_once(&later, 1_031), Proof::Stale);
        // Room is made by what has ended.
        let much_later = 2_000 + 2 * NONCE_LIFE_MS;
        for _ in 0..2 {
            assert_eq!(use_once(&nonce_of(&digest, much_later), much_later), alice);
        }
    }
}
