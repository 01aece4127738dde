//! Who is asking: nobody asks, or SIP Digest, or NTLM, or whichever of both the client knows.
//!
//! The schemes are tried by the credentials that a request brings; a request without any is offered all of
//! them, in the order in which the operator named them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use transport::flow::Transport;
use transport::sip::header::NameAddr;
use transport::sip::uri::Uri;
use transport::sip::{Name, Request};

use super::chance::Chance;
use super::digest::{Digest, Proof};
use super::ntlm::{Credentials, Login, NtHash, Opaque};
use super::signing::{Signing, Step};
use super::users::Secrets;
use crate::config::Scheme;

/// What a request's credentials come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody is asked who they are.
    Open,
    /// The user of this name, proven.
    User(String),
    /// The user of this URI, proven; what it is answered is signed with this association.
    Endpoint {
        /// In small letters.
        user: String,
        /// Which.
        association: Opaque,
    },
    /// A handshake goes on with this WWW-Authenticate.
    Handshake(String),
    /// Not proven: the values of the WWW-Authenticate headers, as the operator prefers them. Empty where no
    /// scheme can be spoken.
    Unproven(Vec<String>),
}

/// Who is asking.
pub struct Identity {
    /// As the operator prefers them; empty when nobody is asked.
    schemes: Vec<Scheme>,
    digest: Digest,
    /// Only where NTLM is spoken.
    signing: Option<Signing>,
    secrets: RwLock<Arc<Secrets>>,
    file: PathBuf,
    realm: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the secrets.
        f.debug_tuple("Identity").field(&self.schemes).finish()
    }
}

impl Identity {
    /// Nobody is asked.
    #[must_use]
    pub fn open() -> Identity {
        Identity {
            schemes: Vec::new(),
            digest: Digest::new("", [0; 32]),
            signing: None,
            secrets: RwLock::default(),
            file: PathBuf::new(),
            realm: String::new(),
        }
    }

    /// These schemes with the users of a file; `server` is what NTLM calls this server.
    ///
    /// # Errors
    /// One line that says which line of the file is wrong, and how it should be.
    pub fn of(
        schemes: &[Scheme],
        realm: &str,
        users: &Path,
        server: &str,
    ) -> Result<Identity, String> {
        let secrets = Secrets::load(users, realm)?;
        tracing::info!(users = secrets.len(), "the users are known");
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|error| format!("the system has no random bytes: {error}"))?;
        Ok(Identity {
            schemes: schemes.to_vec(),
            digest: Digest::new(realm, key),
            signing: schemes
                .contains(&Scheme::Ntlm)
                .then(|| Signing::new(server)),
            secrets: RwLock::new(Arc::new(secrets)),
            file: users.to_owned(),
            realm: realm.to_owned(),
        })
    }

    /// Whether nobody is asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.schemes.is_empty()
    }

    /// Reads the users again. Who is not one any more, or has another password, must sign in again.
    ///
    /// # Errors
    /// One line that says what is wrong with the file; then the users stay as they were.
    pub fn reload(&self) -> Result<(), String> {
        if self.is_open() {
            return Ok(());
        }
        let new = Arc::new(Secrets::load(&self.file, &self.realm)?);
        tracing::info!(users = new.len(), "the users are as the file has them now");
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *secrets, Arc::clone(&new));
        drop(secrets);
        if let Some(signing) = &self.signing {
            signing.retain(|user| nt_hash(&new, user) == nt_hash(&before, user));
        }
        Ok(())
    }

    fn secrets(&self) -> Arc<Secrets> {
        let secrets = self.secrets.read();
        Arc::clone(&secrets.unwrap_or_else(PoisonError::into_inner))
    }

    /// What the credentials of a request come to, over a transport that keeps order or one that does not.
    //= RFC 3261 22.2
    //# the credentials of the scheme that the client chose are checked, wherever it put them
    pub fn check(
        &self,
        request: &Request,
        transport: Transport,
        chance: &mut Chance,
        now_ms: u64,
    ) -> Verdict {
        if self.is_open() {
            return Verdict::Open;
        }
        let lines = || {
            // Some clients answer a 401 in the header that belongs to 407 (companions 7.1).
            let own = request.headers(Name::Authorization);
            own.chain(request.headers(Name::ProxyAuthorization))
        };
        if let (Some(signing), true) = (&self.signing, signs(transport))
            && let Some(credentials) = lines().find_map(Credentials::parse)
        {
            let secrets = self.secrets();
            let from = request.from().uri;
            let secret = |login: &Login| may_speak(&secrets, login, from);
            let draw = || chance.draw();
            return match signing.receive(&credentials, request, secret, draw, now_ms) {
                Ok(Step::Proven { user, association }) => Verdict::Endpoint { user, association },
                Ok(Step::Challenge(challenge)) => Verdict::Handshake(challenge),
                Err(refusal) => {
                    tracing::debug!(%refusal, "NTLM");
                    Verdict::Unproven(self.challenges(transport, now_ms, false))
                }
            };
        }
        let mut stale = false;
        if self.schemes.contains(&Scheme::Digest) {
            let secrets = self.secrets();
            let (method, uri) = (request.method().as_str(), request.uri());
            for line in lines() {
                match self.digest.verify(&secrets, method, uri, line, now_ms) {
                    Proof::User(user) => return Verdict::User(user),
                    Proof::Stale => stale = true,
                    Proof::None => {}
                }
            }
        }
        Verdict::Unproven(self.challenges(transport, now_ms, stale))
    }

    /// What the credentials of an HTTP request come to: Digest, with the users of SIP.
    //= RFC 4825 14
    //# clients prove who they are by Digest
    #[must_use]
    pub fn check_http(&self, method: &str, uri: &str, line: Option<&str>, now_ms: u64) -> Verdict {
        if self.is_open() {
            return Verdict::Open;
        }
        let secrets = self.secrets();
        let proof = line.map_or(Proof::None, |line| {
            self.digest.verify(&secrets, method, uri, line, now_ms)
        });
        match proof {
            Proof::User(user) => Verdict::User(user),
            Proof::Stale | Proof::None => {
                let stale = proof == Proof::Stale;
                let algorithms = secrets.algorithms();
                Verdict::Unproven(self.digest.challenges(algorithms, now_ms, stale))
            }
        }
    }

    /// The values of the WWW-Authenticate headers, as the operator prefers them.
    //= RFC 7118 7
    //# over WebSocket a client proves who it is by Digest, as over other transports
    #[must_use]
    pub fn challenges(&self, transport: Transport, now_ms: u64, stale: bool) -> Vec<String> {
        let mut challenges = Vec::new();
        for scheme in &self.schemes {
            match (scheme, &self.signing) {
                (Scheme::Digest, _) => {
                    let secrets = self.secrets();
                    let of = self.digest.challenges(secrets.algorithms(), now_ms, stale);
                    challenges.extend(of);
                }
                //= MS-SIPAE 3.3.5.2
                //# the scheme signs what streams carry; over datagrams it is not spoken
                (Scheme::Ntlm, Some(signing)) if signs(transport) => {
                    challenges.push(signing.offer().to_owned());
                }
                (Scheme::Ntlm, _) => {}
            }
        }
        challenges
    }

    /// The response as the one who asked expects it.
    #[must_use]
    pub fn sign_response(
        &self,
        association: Option<Opaque>,
        request: &Request,
        response: Bytes,
        chance: &mut Chance,
        now_ms: u64,
    ) -> Bytes {
        match (&self.signing, association) {
            (Some(signing), Some(association)) => {
                let srand = chance.draw() as u32;
                signing.sign_response(association, request, response, srand, now_ms)
            }
            _ => response,
        }
    }

    /// The request as the endpoint in its To (`remote`) expects it.
    #[must_use]
    pub fn sign_request(
        &self,
        remote: &str,
        message: Bytes,
        chance: &mut Chance,
        now_ms: u64,
    ) -> Bytes {
        match &self.signing {
            Some(signing) => signing.sign_request(remote, message, chance.draw() as u32, now_ms),
            None => message,
        }
    }

    /// Forgets what was agreed on with an endpoint that signed off.
    pub fn signed_off(&self, from: &NameAddr<'_>) {
        if let Some(signing) = &self.signing {
            signing.end(from);
        }
    }
}

/// The secret of whoever this address is: a user of the whole address, or of the part before the @.
fn nt_hash(secrets: &Secrets, address: &str) -> Option<NtHash> {
    let uri = Uri::parse(address).ok()?;
    let user = uri.user_unescaped();
    let whole = secrets.ntlm(&format!("{user}@{}", uri.host));
    whole.or_else(|| secrets.ntlm(&user))
}

/// The secret of a login, if that may speak for the address: by the same name, and by the same domain where
/// it names one. The domain before a backslash is one of Windows', and says nothing about addresses.
fn may_speak(secrets: &Secrets, login: &Login, address: &str) -> Option<NtHash> {
    let uri = Uri::parse(address).ok()?;
    let (name, domain) = match login.user.rsplit_once('@') {
        Some((name, domain)) => (name, domain),
        None => (&*login.user, uri.host),
    };
    let own =
        name.eq_ignore_ascii_case(&uri.user_unescaped()) && domain.eq_ignore_ascii_case(uri.host);
    own.then(|| nt_hash(secrets, address)).flatten()
}

/// Whether NTLM is spoken: by the programs of an office, over streams. The libraries of browser softphones (JsSIP 3.13,
/// SIP.js 0.21) look at the last challenge only and know Digest with MD5 only, which stands there without NTLM.
fn signs(transport: Transport) -> bool {
    transport.is_reliable() && !transport.is_websocket()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use transport::sip::Message;

    use super::*;
    use crate::ingress::users::UsersFile;

    const DIGEST: Scheme = Scheme::Digest;
    const NTLM: Scheme = Scheme::Ntlm;

    fn identity(schemes: &[Scheme]) -> (tempfile::TempDir, Identity) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let mut file = UsersFile::open(&path).expect("new");
        for user in ["alice", "bob@b.example"] {
            file.set(user, "example.com", "wonder").expect("taken");
        }
        file.save().expect("written");
        let identity = Identity::of(schemes, "example.com", &path, "sip.example.com");
        (folder, identity.expect("users"))
    }

    fn request(lines: &str) -> Request {
        let text = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@example.com>;tag=1;epid=0102\r\nTo: <sip:alice@example.com>\r\nCall-ID: c\r\n\
             CSeq: 1 REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("not a request: {other:?}"),
        }
    }

    fn schemes_of(verdict: &Verdict) -> Vec<&str> {
        let Verdict::Unproven(challenges) = verdict else {
            panic!("challenges, not {verdict:?}")
        };
        let scheme = |challenge| str::split(challenge, ' ').next();
        challenges.iter().filter_map(|of| scheme(of)).collect()
    }

    #[test]
    fn open_asks_nobody() {
        let verdict = Identity::open().check(&request(""), Transport::Tcp, &mut Chance::new(), 0);
        assert_eq!(verdict, Verdict::Open);
    }

    //= RFC 3261 22.2
    //= type=test
    #[test]
    fn all_schemes_are_offered_as_the_operator_prefers_them() {
        let (d, n) = ("Digest", "NTLM");
        for (schemes, transport, expected) in [
            (&[DIGEST][..], Transport::Tcp, &[d, d, d][..]),
            (&[NTLM], Transport::Tcp, &[n]),
            (&[NTLM, DIGEST], Transport::Tls, &[n, d, d, d]),
            (&[DIGEST, NTLM], Transport::Tcp, &[d, d, d, n]),
            (&[NTLM, DIGEST], Transport::Udp, &[d, d, d]),
            (&[NTLM, DIGEST], Transport::Wss, &[d, d, d]),
            (&[NTLM], Transport::Udp, &[]),
            (&[NTLM], Transport::Ws, &[]),
        ] {
            let (_folder, identity) = identity(schemes);
            for lines in [
                "",
                "Authorization: NTLM qop=\"auth\", realm=\"another\"\r\n",
            ] {
                let verdict = identity.check(&request(lines), transport, &mut Chance::new(), 0);
                assert_eq!(schemes_of(&verdict), expected, "{schemes:?} {transport:?}");
            }
        }
    }

    //= RFC 7118 7
    //= type=test
    #[test]
    fn a_browser_is_offered_last_what_it_can_answer() {
        let (_folder, identity) = identity(&[DIGEST, NTLM]);
        for transport in [Transport::Ws, Transport::Wss] {
            let challenges = identity.challenges(transport, 0, false);
            let last = challenges.last().expect("some");
            assert!(
                last.starts_with("Digest ") && last.ends_with("algorithm=MD5"),
                "{challenges:?}"
            );
            assert_eq!(challenges.len(), 3);
        }
    }

    #[test]
    fn a_handshake_begins_in_either_header() {
        let (_folder, identity) = identity(&[NTLM]);
        for header in ["Authorization", "Proxy-Authorization"] {
            let lines = format!(
                "{header}: NTLM qop=\"auth\", realm=\"SIP Communications Service\", \
                 targetname=\"sip.example.com\", gssapi-data=\"\"\r\n"
            );
            let verdict = identity.check(&request(&lines), Transport::Tls, &mut Chance::new(), 0);
            assert!(
                matches!(&verdict, Verdict::Handshake(text) if text.contains("gssapi-data=\"TlRM")),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn a_login_speaks_for_its_own_address_only() {
        let (_folder, identity) = identity(&[NTLM]);
        let secrets = identity.secrets();
        for (user, domain, address, may) in [
            ("alice", "", "sip:alice@example.com", true),
            ("ALICE", "CONTOSO", "sip:Alice@example.com", true),
            ("alice@example.com", "", "sip:alice@example.com", true),
            ("alice@example.com", "", "sip:alice@other.example", false),
            ("alice", "", "sip:bob@b.example", false),
            ("bob", "", "sip:alice@example.com", false),
            ("bob", "", "sip:bob@b.example", true),
            ("bob@b.example", "", "sip:bob@b.example", true),
            ("bob", "", "sip:bob@example.com", false),
            ("carol", "", "sip:carol@example.com", false),
            ("", "", "sip:example.com", false),
            ("alice", "", "not an address", false),
        ] {
            let login = Login {
                user: user.to_owned(),
                domain: domain.to_owned(),
            };
            let found = may_speak(&secrets, &login, address);
            assert_eq!(found.is_some(), may, "{user} for {address}");
        }
    }

    #[test]
    fn a_bad_file_changes_nothing_when_it_is_read_again() {
        let (folder, identity) = identity(&[NTLM]);
        let path = folder.path().join("users");
        let before = identity.secrets();
        std::fs::write(&path, "alice\n").expect("written");
        let error = identity.reload().expect_err("a bad line");
        assert!(error.contains("line 1"), "{error}");
        assert_eq!(*identity.secrets(), *before);
        std::fs::write(&path, "").expect("written");
        identity.reload().expect("nobody is sound");
        assert!(identity.secrets().is_empty());
    }
}
