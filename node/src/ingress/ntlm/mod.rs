//! NTLM as office clients speak it in SIP: an endpoint proves its password in two challenges, and from
//! then on every message is signed, both ways.
//!
//! Pure: the time and random numbers are given, the secrets are asked for, headers go in and out as
//! text. Whether a login may speak for an address is the caller's to say.
//!
//! The maintained crate with a server's side, `sspi`, begins at a NEGOTIATE message, counts its own
//! signatures, and asks the clock and the dice itself; this scheme has no connection, no such message,
//! and one fixed number in all signatures. So hashes and ciphers are RustCrypto's, the rest is ours.
//!
//! The cryptography is of its time: MD4, MD5, RC4. Nobody should be offered this outside of TLS.

mod association;
mod crypto;
mod header;
mod message;
mod signature;
mod window;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use transport::sip::header::NameAddr;

pub use association::Association;
pub use crypto::NtHash;
pub use header::{Credentials, Offer, Target, challenge_header};
pub use message::Login;
pub use signature::{Fields, Stamp, Version, signature_text};

use message::Authenticate;

/// How long an association is good: clients begin anew five minutes before.
const ASSOCIATION_LIFE_MS: u64 = 8 * 3_600_000;

/// How long a client may take to answer our CHALLENGE.
const HANDSHAKE_LIFE_MS: u64 = 60_000;

/// Associations held: the endpoints of one node. About 600 bytes each, 80 MB when full.
const ASSOCIATIONS_MAX: usize = 131_072;

/// Handshakes held: 270 new ones a second, unanswered. About 600 bytes each, 10 MB when full.
const HANDSHAKES_MAX: usize = 16_384;

/// Longest address and epid together: whoever only begins a handshake may not fill the memory with them.
const ENDPOINT_MAX: usize = 512;

/// The name of an association, or of the handshake before it: eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opaque(u32);

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}", self.0)
    }
}

impl Opaque {
    /// The name as headers have it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Opaque> {
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        number.map(Opaque)
    }
}

/// A user's device, by what From or To say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    user: String,
    epid: String,
}

impl Endpoint {
    /// From the From of what the endpoint sends, or the To of what is sent to it.
    //= MS-SIPAE 3.3.5.2
    //# the address and the epid say which endpoint it is
    #[must_use]
    pub fn of(address: &NameAddr<'_>) -> Endpoint {
        Endpoint {
            user: address.uri.to_ascii_lowercase(),
            epid: address
                .params
                .get("epid")
                .unwrap_or_default()
                .to_ascii_lowercase(),
        }
    }

    /// The address, in small letters.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The device; empty when it does not say.
    #[must_use]
    pub fn epid(&self) -> &str {
        &self.epid
    }
}

/// What a message with credentials comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The handshake goes on: 401 with this WWW-Authenticate.
    Challenge(String),
    /// Sent by the endpoint of this association, and unaltered. Its user, not the message's From, is
    /// who is proven.
    Authentic(Opaque),
}

/// Why a message cannot be taken for the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The header or the token is not as it must be.
    #[error("the NTLM credentials cannot be read")]
    Malformed,
    /// No such association or handshake, no more, or not this endpoint's.
    #[error("the NTLM association is not known")]
    Unknown,
    /// Meant for another realm or server.
    #[error("the NTLM credentials are for another realm or server")]
    WrongTarget,
    /// No such login, another password, or not a login for this address.
    #[error("the NTLM answer does not prove the password")]
    Rejected,
    /// A signature is missing.
    #[error("the message is not signed")]
    Unsigned,
    /// The message is not the one that was signed.
    #[error("the NTLM signature is wrong")]
    BadSignature,
    /// The message was here before.
    #[error("the message is a repeat")]
    Replayed,
}

/// A client that was sent our CHALLENGE.
struct Handshake {
    endpoint: Endpoint,
    challenge: Vec<u8>,
}

/// The associations of one node, and the handshakes that lead to them.
pub struct Associations {
    target: Arc<Target>,
    handshakes: Table<Handshake>,
    established: Table<Association>,
    /// The one association of each endpoint.
    endpoints: HashMap<Endpoint, Opaque>,
}

impl fmt::Debug for Associations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Associations")
            .field("target", &self.target)
            .field("handshakes", &self.handshakes.held.len())
            .field("established", &self.established.held.len())
            .finish_non_exhaustive()
    }
}

impl Associations {
    /// None yet.
    #[must_use]
    pub fn new(target: Target) -> Associations {
        Associations::bounded(target, HANDSHAKES_MAX, ASSOCIATIONS_MAX)
    }

    fn bounded(target: Target, handshakes: usize, established: usize) -> Associations {
        Associations {
            target: Arc::new(target),
            handshakes: Table::new(HANDSHAKE_LIFE_MS, handshakes),
            established: Table::new(ASSOCIATION_LIFE_MS, established),
            endpoints: HashMap::new(),
        }
    }

    /// The WWW-Authenticate for whoever sends no credentials, or refused ones.
    #[must_use]
    pub fn offer(&self) -> String {
        challenge_header(&self.target, Offer::First)
    }

    /// Takes the credentials of a message: one step of the handshake, or a signature.
    ///
    /// `secret` is asked once, when an endpoint signs in: the hash of that login's password, if the
    /// login may speak for the sender's address. `chance` gives random numbers.
    ///
    /// # Errors
    /// Why the message is not to be believed; the client may begin again with [`Associations::offer`].
    //= MS-SIPAE 3.3.5.2
    //# an empty token asks for the CHALLENGE, any other answers it; without a token it is a signature
    pub fn receive(
        &mut self,
        credentials: &Credentials<'_>,
        fields: &Fields<'_>,
        sender: &Endpoint,
        secret: impl FnOnce(&Login) -> Option<NtHash>,
        chance: impl FnMut() -> u64,
        now_ms: u64,
    ) -> Result<Received, Refusal> {
        self.expire_until(now_ms);
        let qop = credentials.qop.unwrap_or("auth");
        if !qop.eq_ignore_ascii_case("auth") || sender.user.len() + sender.epid.len() > ENDPOINT_MAX
        {
            return Err(Refusal::Malformed);
        }
        if credentials.realm != self.target.realm() || credentials.targetname != self.target.name()
        {
            return Err(Refusal::WrongTarget);
        }
        match credentials.gssapi_data {
            Some("") => Ok(Received::Challenge(self.begin(sender, chance, now_ms))),
            Some(_) => {
                let association = self.complete(credentials, fields, sender, secret)?;
                let opaque = association.opaque();
                self.establish(association, now_ms);
                Ok(Received::Authentic(opaque))
            }
            None => {
                let opaque = credentials.opaque.ok_or(Refusal::Malformed)?;
                let association = self.established.get_mut(opaque).ok_or(Refusal::Unknown)?;
                association.verify(credentials, fields)?;
                Ok(Received::Authentic(opaque))
            }
        }
    }

    /// The association of that name.
    pub fn get_mut(&mut self, opaque: Opaque, now_ms: u64) -> Option<&mut Association> {
        self.expire_until(now_ms);
        self.established.get_mut(opaque)
    }

    /// The association of an endpoint: what is sent to it is signed with this one.
    pub fn of_endpoint(&mut self, endpoint: &Endpoint, now_ms: u64) -> Option<&mut Association> {
        let opaque = *self.endpoints.get(endpoint)?;
        self.get_mut(opaque, now_ms)
    }

    /// Forgets the association of an endpoint that signed off.
    pub fn end(&mut self, endpoint: &Endpoint) {
        if let Some(opaque) = self.endpoints.remove(endpoint) {
            self.established.remove(opaque);
        }
    }

    /// Forgets the associations of endpoints that may not go on.
    pub fn retain(&mut self, may_go_on: impl Fn(&Endpoint) -> bool) {
        let ended = |endpoint: &&Endpoint| !may_go_on(endpoint);
        let ended: Vec<Endpoint> = self.endpoints.keys().filter(ended).cloned().collect();
        for endpoint in &ended {
            self.end(endpoint);
        }
    }

    fn expire_until(&mut self, now_ms: u64) {
        while self.handshakes.pop_ended(now_ms).is_some() {}
        while let Some(ended) = self.established.pop_ended(now_ms) {
            self.endpoints.remove(ended.endpoint());
        }
    }

    fn begin(&mut self, sender: &Endpoint, mut chance: impl FnMut() -> u64, now_ms: u64) -> String {
        let message = message::challenge(&self.target, &chance().to_le_bytes(), now_ms);
        let opaque = loop {
            // The tables fill a thirty-thousandth of the names: a second draw is already rare.
            let drawn = Opaque((chance() >> 32) as u32);
            if !self.handshakes.has(drawn) && !self.established.has(drawn) {
                break drawn;
            }
        };
        let offer = Offer::Second {
            message: &message,
            opaque,
        };
        let header = challenge_header(&self.target, offer);
        let handshake = Handshake {
            endpoint: sender.clone(),
            challenge: message,
        };
        // The oldest gives way: it is the likeliest to be abandoned.
        self.handshakes.insert(opaque, handshake, now_ms);
        header
    }

    fn complete(
        &mut self,
        credentials: &Credentials<'_>,
        fields: &Fields<'_>,
        sender: &Endpoint,
        secret: impl FnOnce(&Login) -> Option<NtHash>,
    ) -> Result<Association, Refusal> {
        let opaque = credentials.opaque.ok_or(Refusal::Malformed)?;
        let version = Version::parse(credentials.version).ok_or(Refusal::Malformed)?;
        // Somebody else's stays for the one it belongs to; one's own has one answer, right or wrong.
        let own = |begun: &mut Handshake| begun.endpoint == *sender;
        let found = self.handshakes.get_mut(opaque).is_some_and(own);
        let taken = found.then(|| self.handshakes.remove(opaque)).flatten();
        let handshake = taken.ok_or(Refusal::Unknown)?;
        let token = credentials.token().ok_or(Refusal::Malformed)?;
        let answer = Authenticate::parse(&token).ok_or(Refusal::Malformed)?;
        let known = secret(&answer.login);
        let proven = answer.verify(&known.unwrap_or(NtHash::NOBODY), &handshake.challenge);
        let (Some(_), Some(key)) = (known, proven) else {
            return Err(Refusal::Rejected);
        };
        let target = Arc::clone(&self.target);
        let mut association = Association::new(target, opaque, handshake.endpoint, version, &key);
        //= MS-SIPAE 3.2.5.2
        //# from version 4 on, the request that completes the handshake is signed already
        if version >= Version::Four || credentials.response.is_some() {
            association.verify(credentials, fields)?;
        }
        Ok(association)
    }

    fn establish(&mut self, association: Association, now_ms: u64) {
        let (opaque, endpoint) = (association.opaque(), association.endpoint().clone());
        if let Some(before) = self.endpoints.insert(endpoint, opaque) {
            self.established.remove(before);
        }
        if let Some(oldest) = self.established.insert(opaque, association, now_ms) {
            self.endpoints.remove(oldest.endpoint());
        }
        assert_eq!(self.endpoints.len(), self.established.held.len());
    }
}

/// Values that end: each a fixed time after it came, or earlier, when there are too many.
struct Table<V> {
    held: HashMap<Opaque, (u64, V)>,
    ends: BTreeSet<(u64, Opaque)>,
    life_ms: u64,
    max: usize,
}

impl<V> Table<V> {
    fn new(life_ms: u64, max: usize) -> Table<V> {
        assert!(max > 0);
        Table {
            held: HashMap::new(),
            ends: BTreeSet::new(),
            life_ms,
            max,
        }
    }

    fn has(&self, opaque: Opaque) -> bool {
        self.held.contains_key(&opaque)
    }

    fn get_mut(&mut self, opaque: Opaque) -> Option<&mut V> {
        self.held.get_mut(&opaque).map(|(_, value)| value)
    }

    /// Adds under a name that is free; the oldest, if it had to make room.
    fn insert(&mut self, opaque: Opaque, value: V, now_ms: u64) -> Option<V> {
        let oldest = (self.held.len() >= self.max).then(|| self.pop_ended(u64::MAX));
        let ends_ms = now_ms.saturating_add(self.life_ms);
        let before = self.held.insert(opaque, (ends_ms, value));
        assert!(before.is_none(), "a name is drawn until it is free");
        self.ends.insert((ends_ms, opaque));
        oldest.flatten()
    }

    fn remove(&mut self, opaque: Opaque) -> Option<V> {
        let (ends_ms, value) = self.held.remove(&opaque)?;
        self.ends.remove(&(ends_ms, opaque));
        Some(value)
    }

    /// Takes out what ends first, if it has ended by now.
    fn pop_ended(&mut self, now_ms: u64) -> Option<V> {
        let (ends_ms, opaque) = *self.ends.first()?;
        if ends_ms > now_ms {
            return None;
        }
        self.remove(opaque)
    }
}
