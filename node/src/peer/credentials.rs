//! Who a peer is: mutual TLS under an authority that the pool's secret gives.
//!
//! Whoever has the secret can make the authority's key out of it, and with it a certificate for its own
//! number; nobody else can. So the secret is the one thing to be kept and handed over: it is the token
//! that a node joins with. A node's certificate is made anew at each start and never stored.
//!
//! Or certificates of the operator's own authority, for who has one: then a certificate is of a host, as
//! everywhere else, and a node is who the pool's map says is reached at that host.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sha2::Sha256;

use super::link::LinkError;
use crate::config::OwnCertificate;

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// An Ed25519 private key in PKCS#8 is this and the key's 32 bytes (RFC 8410 7).
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The name that every node of every pool has: who joins does not know a number yet.
const ANY_NODE: &str = "node.lamplight.internal";

/// Why a secret or a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read or written.
    #[error("the pool's secret {path}: {why}")]
    File {
        /// Which one.
        path: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// Not a secret.
    #[error(
        "the pool's secret has 64 hexadecimal digits; `lamplight pool token` prints the one of a running pool"
    )]
    NotASecret,
    /// A certificate of the operator's own cannot be used.
    #[error("pool.certificate: {0}")]
    Own(String),
    /// The cryptographic library refuses.
    #[error("the certificate of this node cannot be made: {0}")]
    Certificate(String),
}

/// What the nodes of a pool share and nobody else has.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET_BYTES]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`] when the system has no random bytes.
    pub fn draw() -> Result<Secret, CredentialsError> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| CredentialsError::Certificate(error.to_string()))?;
        Ok(Secret(bytes))
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`CredentialsError::NotASecret`].
    pub fn parse(text: &str) -> Result<Secret, CredentialsError> {
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * SECRET_BYTES || !digits.is_ascii() {
            return Err(CredentialsError::NotASecret);
        }
        let mut bytes = [0; SECRET_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| CredentialsError::NotASecret)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| CredentialsError::NotASecret)?;
        }
        Ok(Secret(bytes))
    }

    /// As [`Secret::parse`] reads it.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads the secret in a file; draws one into it when there is none and `make` says so.
    ///
    /// # Errors
    /// [`CredentialsError`], with the file's name.
    pub fn of_file(path: &Path, make: bool) -> Result<Secret, CredentialsError> {
        let failed = |why| CredentialsError::File {
            path: path.display().to_string(),
            why,
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Secret::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && make => {
                let secret = Secret::draw()?;
                secret.keep(path).map_err(failed)?;
                Ok(secret)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes the secret to a file that only its owner reads.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(&self, path: &Path) -> std::io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{}", self.text())?;
        file.sync_all()
    }

    /// The authority's key, the same on every node.
    fn authority(&self) -> Result<KeyPair, rcgen::Error> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(b"lamplight pool authority");
        let mut pkcs8 = PKCS8_HEAD.to_vec();
        pkcs8.extend_from_slice(&mac.finalize().into_bytes());
        let der = PrivatePkcs8KeyDer::from(pkcs8);
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)
    }
}

/// What a certificate says about who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Its number in the pool: certificates that the secret gives.
    Number,
    /// The host that it is reached at: the operator's own.
    Host,
}

/// The certificate that the other end showed; TLS has found it to be of the authority.
#[derive(Clone, Debug, Default)]
pub struct Proof(Option<CertificateDer<'static>>);

impl Proof {
    /// What was shown on this connection.
    #[must_use]
    pub fn of(connection: &rustls::ServerConnection) -> Proof {
        let chain = connection.peer_certificates();
        let own = chain.and_then(|chain| chain.first());
        Proof(own.map(|own| own.clone().into_owned()))
    }

    fn is_of(&self, name: &ServerName<'_>) -> bool {
        self.0.as_ref().is_some_and(|own| {
            webpki::EndEntityCert::try_from(own)
                .is_ok_and(|own| own.verify_is_valid_for_subject_name(name).is_ok())
        })
    }

    /// Whether it is of the host of `address`.
    #[must_use]
    pub fn is_of_host(&self, address: &str) -> bool {
        host_name(address).is_some_and(|name| self.is_of(&name))
    }
}

/// The host of `HOST:PORT`, as a certificate names it.
fn host_name(address: &str) -> Option<ServerName<'static>> {
    let host = address.rsplit_once(':')?.0;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

/// What a node proves itself with, and what it asks of others.
#[derive(Clone)]
pub struct Credentials {
    names: Names,
    /// For links that others open.
    pub server: Arc<ServerConfig>,
    /// For links that this node opens.
    pub client: Arc<ClientConfig>,
}

/// The name in the certificate of node `number`.
fn name_of(number: u64) -> String {
    format!("n{number}.{ANY_NODE}")
}

/// Whom a link is opened to: a known node, or any (0) while joining.
fn server_name(number: u64) -> ServerName<'static> {
    let name = if number == 0 {
        ANY_NODE.to_owned()
    } else {
        name_of(number)
    };
    ServerName::try_from(name).expect("a name of letters, digits and dots")
}

impl Credentials {
    /// Those of node `number`; 0 for one that has no number yet.
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`].
    pub fn of(secret: &Secret, number: u64) -> Result<Credentials, CredentialsError> {
        let refused = |error: &dyn fmt::Display| CredentialsError::Certificate(error.to_string());
        let authority_key = secret.authority().map_err(|error| refused(&error))?;
        let mut authority = CertificateParams::default();
        authority
            .distinguished_name
            .push(DnType::CommonName, "Lamplight pool");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let anchor = authority
            .self_signed(&authority_key)
            .map_err(|error| refused(&error))?;
        let issuer = Issuer::new(authority, authority_key);

        let mut names = vec![ANY_NODE.to_owned()];
        if number != 0 {
            names.push(name_of(number));
        }
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(|error| refused(&error))?;
        let own = CertificateParams::new(names)
            .and_then(|params| params.signed_by(&key, &issuer))
            .map_err(|error| refused(&error))?;
        let chain = vec![own.der().clone()];
        let key = || PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));

        let mut roots = RootCertStore::empty();
        roots
            .add(anchor.der().clone())
            .map_err(|error| refused(&error))?;
        Credentials::made_of(Names::Number, roots, &chain, key)
            .map_err(CredentialsError::Certificate)
    }

    /// The operator's own, for a node that is reached at `advertised` (`HOST:PORT`).
    ///
    /// # Errors
    /// [`CredentialsError::Own`], which says what is wrong with which file.
    pub fn of_files(
        files: &OwnCertificate,
        advertised: &str,
    ) -> Result<Credentials, CredentialsError> {
        let read = |path: &Path| {
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
            match certificates {
                Ok(certificates) if !certificates.is_empty() => Ok(certificates),
                Ok(_) => Err(CredentialsError::Own(format!(
                    "{} holds no certificate in PEM",
                    path.display()
                ))),
                Err(error) => Err(CredentialsError::Own(format!(
                    "{}: {error}",
                    path.display()
                ))),
            }
        };
        let (chain, authorities) = (read(&files.certificate)?, read(&files.authority)?);
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| CredentialsError::Own(format!("{}: {error}", files.key.display())))?;
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|error| {
                CredentialsError::Own(format!("{}: {error}", files.authority.display()))
            })?;
        }
        // What others would refuse is said here, where it can be mended.
        let own =
            |why: String| CredentialsError::Own(format!("{}: {why}", files.certificate.display()));
        let (first, between) = chain.split_first().expect("one was read");
        let end = webpki::EndEntityCert::try_from(first).map_err(|error| own(error.to_string()))?;
        for usage in [
            webpki::KeyUsage::server_auth(),
            webpki::KeyUsage::client_auth(),
        ] {
            end.verify_for_usage(
                rustls::crypto::ring::default_provider()
                    .signature_verification_algorithms
                    .all,
                &roots.roots,
                between,
                UnixTime::now(),
                usage,
                None,
                None,
            )
            .map_err(|error| {
                own(format!(
                    "it would be refused by the other nodes: {error}. It must be of the authority in {}, be valid \
                     now, and be for both servers and clients",
                    files.authority.display()
                ))
            })?;
        }
        let proof = Proof(Some(first.clone()));
        if !proof.is_of_host(advertised) {
            return Err(own(format!(
                "it is not of the host in {advertised}, where the other nodes find this one; put that host into its \
                 subject alternative names, or say another one in pool.advertise"
            )));
        }
        Credentials::made_of(Names::Host, roots, &chain, || key.clone_key())
            .map_err(CredentialsError::Own)
    }

    /// What a certificate says about who has it.
    #[must_use]
    pub fn names(&self) -> Names {
        self.names
    }

    /// The name that a certificate must bear of who is reached at `address`, and is node `target` (0: any).
    pub(super) fn name_of(
        &self,
        address: &str,
        target: u64,
    ) -> Result<ServerName<'static>, LinkError> {
        match self.names {
            Names::Number => Ok(server_name(target)),
            Names::Host => host_name(address).ok_or_else(|| {
                LinkError::Certificate(format!("{address} has no host that a certificate can name"))
            }),
        }
    }

    /// Whether who says that it is node `number` (0: none yet) has shown that it is; `address` is where the map
    /// says that node is.
    pub(super) fn prove(
        &self,
        proof: &Proof,
        number: u64,
        address: Option<&str>,
    ) -> Result<(), LinkError> {
        let proven = match (self.names, number, address) {
            (_, 0, _) => proof.0.is_some(),
            (Names::Number, number, _) => proof.is_of(&server_name(number)),
            (Names::Host, _, Some(address)) => proof.is_of_host(address),
            (Names::Host, _, None) => false,
        };
        if proven {
            return Ok(());
        }
        Err(LinkError::Stranger(match (self.names, address) {
            (Names::Number, _) => {
                format!("it says that it is node {number}, its certificate does not")
            }
            (Names::Host, Some(address)) => format!(
                "it says that it is node {number}, which is at {address}, and its certificate is not of that host"
            ),
            (Names::Host, None) => {
                format!("it says that it is node {number}, which this node does not know yet")
            }
        }))
    }

    /// What an operator can do about an error of TLS.
    pub(super) fn explain(&self, who: &str, error: std::io::Error) -> LinkError {
        let text = error.to_string();
        let any = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
        let what_to_do = if any(&["Expired", "NotValidYet"]) {
            "a certificate is not valid now; renew it (SIGHUP reads it again), and look at the clocks"
        } else if any(&["NotValidForName", "BadCertificate: NotValid"]) {
            "its certificate is of another host; put the host of its pool.advertise into its subject alternative names"
        } else if any(&["UnknownIssuer", "UnknownCA", "DecryptError", "BadSignature"]) {
            match self.names {
                Names::Number => {
                    "the two do not have the same secret; `lamplight pool token` prints the pool's"
                }
                Names::Host => {
                    "the two certificates are not of the same authority; look at pool.authority of both"
                }
            }
        } else if any(&[
            "CertificateRequired",
            "AccessDenied",
            "BadCertificate",
            "certificate",
        ]) {
            "it does not accept the certificate of this node; the log of the other end says why"
        } else {
            return LinkError::Io(error);
        };
        LinkError::Certificate(format!("{who}: {text}; {what_to_do}"))
    }

    fn made_of(
        names: Names,
        roots: RootCertStore,
        chain: &[CertificateDer<'static>],
        key: impl Fn() -> PrivateKeyDer<'static>,
    ) -> Result<Credentials, String> {
        let refused = |error: &dyn fmt::Display| error.to_string();
        let chain = chain.to_vec();
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .map_err(|error| refused(&error))?;
        let only = &[&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(only)
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(chain.clone(), key())
            })
            .map_err(|error| refused(&error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(only)
            .and_then(|builder| {
                builder
                    .with_root_certificates(roots)
                    .with_client_auth_cert(chain, key())
            })
            .map_err(|error| refused(&error))?;
        Ok(Credentials {
            names,
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        assert!(matches!(
            Secret::of_file(&path, false),
            Err(CredentialsError::File { .. })
        ));
        let made = Secret::of_file(&path, true).expect("made");
        assert_eq!(Secret::of_file(&path, true).expect("read"), made);
        for bad in ["", "12", &"g".repeat(64), &"ä".repeat(32)] {
            assert!(matches!(
                Secret::parse(bad),
                Err(CredentialsError::NotASecret)
            ));
        }
        assert_eq!(format!("{made:?}"), "Secret(…)");
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
