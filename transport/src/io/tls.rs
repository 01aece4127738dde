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
