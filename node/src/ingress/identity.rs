//! Who is asking: SIP Digest (RFC 7616, RFC 8760), or nobody asks.
//!
//! Nonces need no memory: a nonce is a time and a keyed hash of it, so any answer shows whether it is
//! ours and how old it is. What is remembered is the nonce counts in use, so that an answer that was
//! overheard cannot be used again.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512_256};
use transport::sip::header::Params;

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
    const ALL: [Algorithm; 3] = [Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5];

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
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What a request's credentials come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody is asked who they are.
    Open,
    /// This user, proven.
    User(String),
    /// Not proven: the values of the WWW-Authenticate headers, strongest first.
    Challenge(Vec<String>),
}

/// The users' secrets: HA1 by user and algorithm.
type Secrets = HashMap<(String, Algorithm), String>;

/// Who is asking.
pub struct Identity {
    digest: Option<Digest>,
}

struct Digest {
    realm: String,
    secrets: Secrets,
    key: [u8; 32],
    /// The highest count used of each nonce.
    counts: Mutex<HashMap<String, u32>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.digest.is_some() {
            "Identity(digest)"
        } else {
            "Identity(open)"
        })
    }
}

impl Identity {
    /// Nobody is asked.
    #[must_use]
    pub fn open() -> Identity {
        Identity { digest: None }
    }

    /// Whether nobody is asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.digest.is_none()
    }

    /// Digest with the users of a file: a line each, `user:realm:algorithm:ha1`, `#` begins a comment.
    /// HA1 is the hash of `user:realm:password` by that algorithm, in hexadecimal.
    ///
    /// # Errors
    /// One line that says which line of the file is wrong, and how it should be.
    pub fn digest(realm: &str, users: &Path) -> Result<Identity, String> {
        let text = std::fs::read_to_string(users).map_err(|error| {
            format!("the users file {} cannot be read: {error}", users.display())
        })?;
        let mut secrets = Secrets::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, algorithm, secret) = read_user(line, realm)
                .map_err(|what| format!("{} line {}: {what}", users.display(), number + 1))?;
            secrets.insert((user, algorithm), secret);
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|error| format!("the system has no random bytes: {error}"))?;
        Ok(Identity {
            digest: Some(Digest {
                realm: realm.to_owned(),
                secrets,
                key,
                counts: Mutex::default(),
            }),
        })
    }

    /// What the credentials of a request come to.
    pub fn check<'h>(
        &self,
        method: &str,
        uri: &str,
        credentials: impl Iterator<Item = &'h str>,
        now_ms: u64,
    ) -> Verdict {
        let Some(digest) = &self.digest else {
            return Verdict::Open;
        };
        let mut stale = false;
        for line in credentials {
            match digest.verify(method, uri, line, now_ms) {
                Proof::User(user) => return Verdict::User(user),
                Proof::Stale => stale = true,
                Proof::None => {}
            }
        }
        Verdict::Challenge(digest.challenges(now_ms, stale))
    }
}

fn read_user(line: &str, realm: &str) -> Result<(String, Algorithm, String), String> {
    let mut parts = line.split(':');
    let (Some(user), Some(of), Some(algorithm), Some(secret), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return Err("expected user:realm:algorithm:ha1".to_owned());
    };
    if of != realm {
        return Err(format!("realm {of:?} is not this node's {realm:?}"));
    }
    let known = Algorithm::ALL
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(algorithm));
    let algorithm = known.ok_or_else(|| {
        format!("unknown algorithm {algorithm:?}; expected MD5, SHA-256 or SHA-512-256")
    })?;
    let digits = if algorithm == Algorithm::Md5 { 32 } else { 64 };
    if secret.len() != digits || !secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!(
            "HA1 of {} has {digits} hexadecimal digits",
            algorithm.as_str()
        ));
    }
    Ok((user.to_owned(), algorithm, secret.to_ascii_lowercase()))
}

enum Proof {
    User(String),
    /// Right, but the nonce is too old or was used.
    Stale,
    None,
}

impl Digest {
    //= RFC 8760 2.4
    //# one challenge per algorithm, the most preferred first
    fn challenges(&self, now_ms: u64, stale: bool) -> Vec<String> {
        let nonce = self.nonce(now_ms);
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = |algorithm: Algorithm| {
            let realm = self.realm.replace('"', "");
            format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\", algorithm={}{stale}",
                algorithm.as_str()
            )
        };
        Algorithm::ALL.map(challenge).to_vec()
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
    fn age_ms(&self, nonce: &str, now_ms: u64) -> Option<u64> {
        let (open, seal) = nonce.split_at_checked(28)?;
        if !same(&self.seal(open), seal) {
            return None;
        }
        let made = u64::from_str_radix(&open[..12], 16).ok()?;
        Some(now_ms.saturating_sub(made))
    }

    //= RFC 7616 3.4.1
    //# the response proves the secret without showing it; the nonce count proves that it is fresh
    fn verify(&self, method: &str, uri: &str, line: &str, now_ms: u64) -> Proof {
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
        let algorithm = get("algorithm").unwrap_or("MD5");
        let Some(algorithm) = Algorithm::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(algorithm))
        else {
            return Proof::None;
        };
        // A user that does not exist costs the same time as one that does.
        let nobody = String::new();
        let secret = self
            .secrets
            .get(&(user.to_owned(), algorithm))
            .unwrap_or(&nobody);
        let second = algorithm.hash(&[method, signed]);
        let (Some("auth"), Some(count), Some(client)) = (get("qop"), get("nc"), get("cnonce"))
        else {
            return Proof::None;
        };
        let expected = algorithm.hash(&[secret, nonce, count, client, "auth", &second]);
        let right = same(&expected, &response.to_ascii_lowercase()) & !secret.is_empty();
        let (Some(age_ms), true) = (self.age_ms(nonce, now_ms), right) else {
            return Proof::None;
        };
        //= RFC 7616 3.4
        //# the signed URI is that of the request
        if !signed.eq_ignore_ascii_case(uri) {
            return Proof::None;
        }
        let Ok(count) = u32::from_str_radix(count, 16) else {
            return Proof::None;
        };
        if age_ms > NONCE_LIFE_MS || !self.use_count(nonce, count) {
            return Proof::Stale;
        }
        Proof::User(user.to_owned())
    }

    /// Whether this count of the nonce is new.
    fn use_count(&self, nonce: &str, count: u32) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= NONCES_MAX {
            // Everybody is challenged once more; nobody is let in twice.
            counts.clear();
        }
        match counts.get_mut(nonce) {
            Some(last) if count <= *last => false,
            Some(last) => {
                *last = count;
                true
            }
            None => {
                counts.insert(nonce.to_owned(), count);
                true
            }
        }
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

    fn identity() -> (tempfile::TempDir, Identity) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        let line = |algorithm: Algorithm| {
            let secret = algorithm.hash(&["alice", "example.com", "wonder"]);
            format!("alice:example.com:{}:{secret}", algorithm.as_str())
        };
        let text = format!(
            "# users\n{}\n{}\n",
            line(Algorithm::Md5),
            line(Algorithm::Sha256)
        );
        std::fs::write(&file, text).expect("written");
        let identity = Identity::digest("example.com", &file).expect("users");
        (folder, identity)
    }

    fn nonce_of(verdict: &Verdict) -> String {
        let Verdict::Challenge(challenges) = verdict else {
            panic!("a challenge, not {verdict:?}")
        };
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
        let first = algorithm.hash(&["alice", "example.com", password]);
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

    //= RFC 7616 3.4
    //= type=test
    #[test]
    fn only_the_right_answer_lets_in_and_only_once() {
        let (_folder, identity) = identity();
        let uri = "sip:example.com";
        let nonce = nonce_of(&identity.check("REGISTER", uri, [].into_iter(), 1_000));
        let check =
            |line: &str, method: &str, at: u64| identity.check(method, uri, [line].into_iter(), at);
        let good =
            |count: &str| answer(Algorithm::Sha256, "wonder", "REGISTER", uri, &nonce, count);
        let alice = Verdict::User("alice".to_owned());
        assert_eq!(check(&good("00000001"), "REGISTER", 2_000), alice);
        for (name, line, method, at, stale) in [
            (
                "the same answer again",
                good("00000001"),
                "REGISTER",
                2_000,
                true,
            ),
            ("another method", good("00000002"), "PUBLISH", 2_000, false),
            (
                "an old nonce",
                good("00000003"),
                "REGISTER",
                1_001 + NONCE_LIFE_MS,
                true,
            ),
            (
                "a wrong password",
                answer(Algorithm::Sha256, "x", "REGISTER", uri, &nonce, "00000004"),
                "REGISTER",
                2_000,
                false,
            ),
            (
                "another URI",
                answer(
                    Algorithm::Sha256,
                    "wonder",
                    "REGISTER",
                    "sip:other",
                    &nonce,
                    "00000005",
                ),
                "REGISTER",
                2_000,
                false,
            ),
            (
                "a nonce that is not ours",
                answer(
                    Algorithm::Sha256,
                    "wonder",
                    "REGISTER",
                    uri,
                    &"0".repeat(60),
                    "00000006",
                ),
                "REGISTER",
                2_000,
                false,
            ),
            (
                "an unknown user",
                good("00000007").replace("alice", "mallory"),
                "REGISTER",
                2_000,
                false,
            ),
            (
                "no digest",
                "Basic YWxpY2U6d29uZGVy".to_owned(),
                "REGISTER",
                2_000,
                false,
            ),
            ("nothing", String::new(), "REGISTER", 2_000, false),
        ] {
            match check(&line, method, at) {
                Verdict::Challenge(challenges) => {
                    assert_eq!(challenges[0].contains("stale=true"), stale, "{name}")
                }
                verdict => panic!("{name}: {verdict:?}"),
            }
        }
        assert_eq!(
            check(
                &answer(
                    Algorithm::Md5,
                    "wonder",
                    "REGISTER",
                    uri,
                    &nonce,
                    "00000008"
                ),
                "REGISTER",
                2_000
            ),
            alice
        );
    }

    #[test]
    fn a_users_file_says_where_it_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        for (line, what) in [
            ("alice", "expected user:realm:algorithm:ha1"),
            (
                "alice:elsewhere:MD5:00",
                "realm \"elsewhere\" is not this node's \"example.com\"",
            ),
            ("alice:example.com:SHA-1:00", "unknown algorithm"),
            ("alice:example.com:MD5:xyz", "32 hexadecimal digits"),
        ] {
            std::fs::write(&file, format!("\n{line}\n")).expect("written");
            let error = Identity::digest("example.com", &file).expect_err(line);
            assert!(error.contains("line 2") && error.contains(what), "{error}");
        }
        assert!(Identity::digest("example.com", &folder.path().join("none")).is_err());
    }

    #[test]
    fn open_asks_nobody() {
        assert_eq!(
            Identity::open().check("PUBLISH", "sip:a@b", [].into_iter(), 0),
            Verdict::Open
        );
    }
}
