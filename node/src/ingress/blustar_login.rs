//! How BluStar's clients sign in: a key in a 401, the credentials of the directory encrypted with it, and the
//! directory's word on them.
//!
//! The server keeps, for each client, the key of its last 401, in memory; nothing of the credentials is kept,
//! and nothing of them is logged. The directory is asked on threads of its own, for a SIP worker must not
//! wait: the request is put aside until the answer comes as mail.
//!
//! The document does not name the cipher ("the same algorithm used for the configuration file encryption"),
//! so it is a value, [`Cipher`]. The one there is was chosen by us: AES-256-GCM, the key being the SHA-256 of
//! the 56 characters, the first twelve bytes the nonce; a wrong key is seen as such.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};
use transport::flow::Flow;
use transport::sip::{Method, Name, Request};
use xxhash_rust::xxh3::xxh3_64;

use super::chance::Chance;
use super::digest::Algorithm;
use super::users::Secrets;
use crate::config::directory::Ldap;
use crate::config::{Blustar, BlustarAuth, Dialect, version};
use crate::dialect::blustar::client_of;
use crate::dialect::profile::Profile;
use crate::directory::{self, Proof};
use crate::egress::outbox::{Mail, Workers};

/// Characters of a key.
pub const KEY_LENGTH: usize = 56;

/// Clients whose keys are kept; 100 bytes each. The oldest are asked anew.
const KEYS_MAX: usize = 100_000;

/// Requests that wait for the directory. More are told to come later.
const ASKED_MAX: usize = 1_024;

/// Threads that ask the directory: each waits for one answer at a time.
const THREADS: usize = 4;

/// Bytes of credentials, encrypted: a name and a password of 255 letters each, and room.
const SEALED_MAX: usize = 2_048;

/// How credentials are encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Cipher {
    /// Decrypts with a key of [`KEY_LENGTH`] characters; `None` for what was not encrypted with it.
    pub open: fn(key: &str, sealed: &[u8]) -> Option<Vec<u8>>,
}

/// The cipher that is used.
pub const CIPHER: Cipher = Cipher { open: open_gcm };

fn gcm(key: &str) -> Option<LessSafeKey> {
    let hashed = Sha256::digest(key.as_bytes());
    UnboundKey::new(&AES_256_GCM, &hashed)
        .ok()
        .map(LessSafeKey::new)
}

fn open_gcm(key: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut opened = sealed.to_vec();
    let text = gcm(key)?
        .open_in_place(nonce, Aad::empty(), &mut opened)
        .ok()?;
    Some(text.to_vec())
}

/// Who somebody says that it is. Not to be shown or kept.
struct Credentials {
    /// Of Windows; empty for an account of ours.
    domain: String,
    user: String,
    password: String,
}

impl Credentials {
    /// `domain\user:password`, or `user:password`.
    //= BLUSTAR 2.10
    //# the credentials are one text: domain, backslash, user, colon, password
    fn read(text: &[u8]) -> Option<Credentials> {
        let (name, password) = std::str::from_utf8(text).ok()?.split_once(':')?;
        let (domain, user) = name.split_once('\\').unwrap_or(("", name));
        if user.is_empty() || password.is_empty() {
            return None;
        }
        Some(Credentials {
            domain: domain.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It is asked for nothing in BluStar's way.
    NotAsked,
    /// 401 with this key.
    Challenge(String),
    /// The directory is asked; mail with this number tells what it says.
    Asked(u64),
    /// Too many are waiting for the directory.
    Busy,
}

struct Ask {
    number: u64,
    worker: usize,
    credentials: Credentials,
}

/// The keys of the last 401 to each client, the oldest first.
#[derive(Default)]
struct Keys {
    known: HashMap<u64, String>,
    order: VecDeque<u64>,
}

/// Where BluStar's clients sign in.
pub struct BlustarLogin {
    settings: Blustar,
    keys: Mutex<Keys>,
    queue: Sender<Ask>,
    cipher: Cipher,
}

impl std::fmt::Debug for BlustarLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the keys.
        f.debug_tuple("BlustarLogin").field(&self.settings).finish()
    }
}

/// Who is asked about credentials.
struct Asked {
    settings: Blustar,
    ldap: Ldap,
    realm: String,
}

impl BlustarLogin {
    /// Threads that ask this server, and answer to `workers`; `None` where nobody signs in so.
    ///
    /// # Errors
    /// One line that says what is wrong with the file of mobile controllers, or that there are no threads.
    pub fn start(
        settings: &Blustar,
        ldap: Option<&Ldap>,
        realm: &str,
        workers: &Workers,
    ) -> Result<Option<BlustarLogin>, String> {
        let (Some(ldap), true) = (ldap, settings.authentication != BlustarAuth::Off) else {
            return Ok(None);
        };
        if let Some(path) = &settings.mobile_controllers {
            Secrets::load(path, realm)?;
        }
        let (queue, asked) = bounded(ASKED_MAX);
        let who = Arc::new(Asked {
            settings: settings.clone(),
            ldap: ldap.clone(),
            realm: realm.to_owned(),
        });
        for number in 0..THREADS {
            let (asked, who, workers) = (asked.clone(), Arc::clone(&who), workers.clone());
            std::thread::Builder::new()
                .name(format!("directory-{number}"))
                .spawn(move || who.answer(&asked, &workers))
                .map_err(|why| format!("no thread to ask the directory: {why}"))?;
        }
        Ok(Some(BlustarLogin {
            settings: settings.clone(),
            keys: Mutex::default(),
            queue,
            cipher: CIPHER,
        }))
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of a request; `number` is what its mail will bear.
    //= BLUSTAR 2.10
    //# a client without credentials gets 401 with a key of its own, where it knows how to sign in or has to
    pub fn step(
        &self,
        request: &Request,
        profile: &Profile,
        flow: &Flow,
        worker: usize,
        chance: &mut Chance,
    ) -> Step {
        let concerned = matches!(request.method(), Method::Subscribe | Method::Publish);
        if !concerned || profile.dialect != Dialect::Blustar {
            return Step::NotAsked;
        }
        let sealed = request.other_headers("X-BSS-rauth").next();
        let required = self.settings.authentication == BlustarAuth::Required;
        if sealed.is_none() && !required && !self.knows_how(request) {
            return Step::NotAsked;
        }
        let client = which(request, flow);
        let credentials = sealed.and_then(|sealed| self.open(client, sealed));
        let Some(credentials) = credentials else {
            return Step::Challenge(self.new_key(client, chance));
        };
        let number = chance.draw();
        let ask = Ask {
            number,
            worker,
            credentials,
        };
        match self.queue.try_send(ask) {
            Ok(()) => Step::Asked(number),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Step::Busy,
        }
    }

    /// 401 once more, with another key: the credentials were wrong.
    //= BLUSTAR 2.10
    //# bad credentials get 401 again
    pub fn challenge(&self, request: &Request, flow: &Flow, chance: &mut Chance) -> String {
        self.new_key(which(request, flow), chance)
    }

    /// Whether the User-Agent is of a client that knows how to sign in.
    //= BLUSTAR 2.10
    //# whether a client knows how is read from its User-Agent
    fn knows_how(&self, request: &Request) -> bool {
        let agent = request.header(Name::UserAgent).unwrap_or_default();
        let numbers = agent.rsplit('/').next().unwrap_or_default();
        let numbers = numbers.split(' ').next().and_then(version);
        numbers.is_some_and(|numbers| numbers >= self.settings.authenticating_since)
    }

    fn open(&self, client: u64, sealed: &str) -> Option<Credentials> {
        if sealed.len() > SEALED_MAX {
            return None;
        }
        let key = self.keys().known.get(&client).cloned()?;
        let sealed = STANDARD.decode(sealed.trim()).ok()?;
        Credentials::read(&(self.cipher.open)(&key, &sealed)?)
    }

    /// A key that replaces the one before.
    //= BLUSTAR 2.10
    //# the key of the last 401 counts, and no other
    fn new_key(&self, client: u64, chance: &mut Chance) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut key = String::with_capacity(KEY_LENGTH);
        while key.len() < KEY_LENGTH {
            // Eight letters of six bits.
            for byte in chance.draw().to_le_bytes() {
                key.push(char::from(LETTERS[usize::from(byte & 63)]));
            }
        }
        let mut keys = self.keys();
        if keys.known.insert(client, key.clone()).is_none() {
            keys.order.push_back(client);
            if keys.order.len() > KEYS_MAX
                && let Some(oldest) = keys.order.pop_front()
            {
                keys.known.remove(&oldest);
            }
        }
        key
    }
}

/// Which client a request is of: its Contact, and where it comes from.
fn which(request: &Request, flow: &Flow) -> u64 {
    let contact = client_of(request).map_or(0, |client| client.0);
    let text = format!("{contact:x} {}", flow.peer.ip());
    xxh3_64(text.as_bytes())
}

impl Asked {
    fn answer(&self, asked: &Receiver<Ask>, workers: &Workers) {
        for Ask {
            number,
            worker,
            credentials,
        } in asked
        {
            let proof = self.prove(&credentials);
            workers.deliver(worker, Mail::Proven { number, proof });
        }
    }

    fn prove(&self, credentials: &Credentials) -> Proof {
        let Credentials {
            domain,
            user,
            password,
        } = credentials;
        //= BLUSTAR 2.11
        //# a controller of mobile clients has an account of ours, and no domain
        if let (true, Some(path)) = (domain.is_empty(), &self.settings.mobile_controllers) {
            return self.prove_controller(path, user, password);
        }
        let escaped = |text: &str| {
            // A name that is a path in the directory must not be led elsewhere by a user's.
            if self.settings.bind_as.contains('=') {
                ldap3::dn_escape(text).into_owned()
            } else {
                text.to_owned()
            }
        };
        let name = self
            .settings
            .bind_as
            .replace("{domain}", &escaped(domain))
            .replace("{user}", &escaped(user));
        match directory::proves(&self.ldap, &name, password) {
            Ok(true) => Proof::User(user.clone()),
            Ok(false) => Proof::Wrong,
            Err(why) => {
                tracing::warn!(%why, "the directory does not say whether credentials are good");
                Proof::Unknown
            }
        }
    }

    fn prove_controller(&self, path: &Path, user: &str, password: &str) -> Proof {
        let secrets = match Secrets::load(path, &self.realm) {
            Ok(secrets) => secrets,
            Err(why) => {
                tracing::warn!(%why, "the accounts of mobile controllers");
                return Proof::Unknown;
            }
        };
        let right = Algorithm::ALL.into_iter().any(|algorithm| {
            let secret = secrets.digest(user, algorithm);
            secret.is_some_and(|secret| secret == algorithm.hash(&[user, &self.realm, password]))
        });
        if right {
            Proof::Controller
        } else {
            Proof::Wrong
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= BLUSTAR 2.10
    //= type=test
    #[test]
    fn credentials_are_one_text() {
        for (text, expected) in [
            (
                "de\\ptest:h51%3k5$k3h",
                Some(("de", "ptest", "h51%3k5$k3h")),
            ),
            ("amcc:a:b", Some(("", "amcc", "a:b"))),
            ("de\\:x", None),
            ("de\\ptest:", None),
            ("de\\ptest", None),
            ("", None),
        ] {
            let read = Credentials::read(text.as_bytes());
            let parts = read
                .as_ref()
                .map(|read| (&*read.domain, &*read.user, &*read.password));
            assert_eq!(parts, expected, "{text}");
        }
        assert!(Credentials::read(&[0xff, b':', b'x']).is_none());
    }

    #[test]
    fn what_another_key_has_sealed_is_not_opened() {
        let seal = |key: &str, text: &[u8]| {
            let nonce = [7; NONCE_LEN];
            let mut sealed = text.to_vec();
            let cipher = gcm(key).expect("a key");
            let nonce_of = Nonce::assume_unique_for_key(nonce);
            cipher
                .seal_in_place_append_tag(nonce_of, Aad::empty(), &mut sealed)
                .expect("sealed");
            [nonce.as_slice(), &sealed].concat()
        };
        let (one, other) = ("a".repeat(KEY_LENGTH), "b".repeat(KEY_LENGTH));
        let sealed = seal(&one, b"de\\ptest:secret");
        assert_eq!(
            (CIPHER.open)(&one, &sealed).as_deref(),
            Some(&b"de\\ptest:secret"[..])
        );
        assert_eq!((CIPHER.open)(&other, &sealed), None);
        for length in 0..sealed.len() {
            assert_eq!(
                (CIPHER.open)(&one, &sealed[..length]),
                None,
                "cut to {length}"
            );
        }
    }
}
