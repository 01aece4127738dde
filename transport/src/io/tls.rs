//! Certificates of TLS listeners, which can be replaced while they are in use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// Why a certificate and its key cannot be used: one line that says which file and what.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file.
    #[error("the certificate {} cannot be used: {why}", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The key file.
    #[error("the key {} cannot be used: {why}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// The certificate that new connections are shown.
#[derive(Clone)]
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads a chain and its key from PEM files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Certificates, TlsError> {
        let current = read(certificate, key)?;
        Ok(Certificates {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: Arc::new(RwLock::new(current)),
        })
    }

    /// Reads the same files again: new connections are shown what is in them now, open ones stay.
    ///
    /// # Errors
    /// [`TlsError`]; new connections are then shown what they were shown before.
    pub fn reload(&self) -> Result<(), TlsError> {
        let next = read(&self.certificate, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// The server's side of a new connection; `None` when the library will not begin one.
    pub(super) fn session(&self) -> Option<ServerConnection> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        ServerConnection::new(Arc::clone(&current)).ok()
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let bad_chain = |why: String| TlsError::Certificate {
        path: certificate.to_owned(),
        why,
    };
    let chain =
        CertificateDer::pem_file_iter(certificate).map_err(|why| bad_chain(why.to_string()))?;
    let chain: Vec<_> = chain
        .collect::<Result<_, _>>()
        .map_err(|why| bad_chain(why.to_string()))?;
    if chain.is_empty() {
        return Err(bad_chain("it holds no certificate".to_owned()));
    }
    let bad_key = |why: String| TlsError::Key {
        path: key.to_owned(),
        why,
    };
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| bad_key(why.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| bad_key(why.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|why| bad_key(why.to_string()))?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// Writes a self-signed pair for `example.com`; gives the certificate.
    fn write_pair(folder: &Path) -> CertificateDer<'static> {
        let made =
            rcgen::generate_simple_self_signed(["example.com".to_owned()]).expect("a certificate");
        fs::write(folder.join("chain.pem"), made.cert.pem()).expect("written");
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        made.cert.der().clone()
    }

    /// Shakes hands in memory; what stopped it, if something did.
    fn shake(certificates: &Certificates, trusted: &CertificateDer<'static>) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("example.com").expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut server = certificates.session().expect("a session");
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("in memory");
            }
            server.read_tls(&mut &bytes[..]).expect("in memory");
            server
                .process_new_packets()
                .map_err(|why| why.to_string())?;
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).expect("in memory");
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("in memory");
                client
                    .process_new_packets()
                    .map_err(|why| why.to_string())?;
            }
        }
        Ok(())
    }

    #[test]
    fn new_connections_see_a_certificate_that_was_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (chain, key) = (
            folder.path().join("chain.pem"),
            folder.path().join("key.pem"),
        );
        let first = write_pair(folder.path());
        let certificates = Certificates::load(&chain, &key).expect("a pair");
        shake(&certificates, &first).expect("the first is shown");
        let second = write_pair(folder.path());
        shake(&certificates, &first).expect("until it is told");
        certificates.reload().expect("a pair");
        shake(&certificates, &second).expect("the second is shown");
        shake(&certificates, &first).expect_err("and no other");
    }

    #[test]
    fn a_pair_that_cannot_be_used_leaves_the_old_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (chain, key) = (
            folder.path().join("chain.pem"),
            folder.path().join("key.pem"),
        );
        let first = write_pair(folder.path());
        let certificates = Certificates::load(&chain, &key).expect("a pair");
        let old_key = fs::read(&key).expect("a key");
        write_pair(folder.path());
        fs::write(&key, &old_key).expect("written");
        let error = certificates
            .reload()
            .expect_err("key of another")
            .to_string();
        assert!(error.contains("key.pem"), "{error}");
        fs::write(&chain, "no certificate").expect("written");
        let error = certificates.reload().expect_err("empty").to_string();
        assert!(
            error.contains("chain.pem") && error.contains("no certificate"),
            "{error}"
        );
        fs::remove_file(&key).expect("removed");
        Certificates::load(&chain, &key).expect_err("nothing to load");
        shake(&certificates, &first).expect("still the first");
    }
}
