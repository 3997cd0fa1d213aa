//! RTMPS: TLS under RTMP. A certificate and its key, and the handshake.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate chain and its private key, ready to serve.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

/// Why there is no TLS. Names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate cannot be read.
    #[error("cannot read a certificate from {}: {problem}", file.display())]
    Certificate {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The private key cannot be read.
    #[error("cannot read a private key from {}: {problem}", file.display())]
    Key {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// They cannot be used, most likely because the key is another certificate's.
    #[error("the certificate and its key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// Reads PEM files: the certificate, followed by what signed it, and its private key.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let bad = |problem: String| TlsError::Certificate { file: certificate.to_owned(), problem };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| bad(error.to_string()))?;
        if chain.is_empty() {
            return Err(bad("there is none in it".into()));
        }
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TlsError::Key { file: key.to_owned(), problem: error.to_string() })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.0.clone().into()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
