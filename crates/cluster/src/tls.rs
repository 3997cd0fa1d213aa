//! TLS between nodes and to etcd: both ends show a certificate that the cluster's own authority has signed.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// Where a node's certificates are: PEM files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// Whose signature is believed: the cluster's own authority, and no other.
    pub ca: PathBuf,
    /// The node's certificate, for both ends of a connection, followed by what lies between it and the authority. It names
    /// the host of the address at which other nodes reach this one.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// A node's certificates, ready for servers and clients.
#[derive(Clone)]
pub struct Tls {
    ca: Certificate,
    identity: Identity,
}

/// Why there is no TLS. Names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate can be read.
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
}

impl Tls {
    /// Reads the files. Whether key and certificate belong together shows when a server or a client takes them.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let key = read(&files.key)
            .and_then(|text| PrivateKeyDer::from_pem_slice(&text).map(|_| text).map_err(|error| error.to_string()))
            .map_err(|problem| TlsError::Key { file: files.key.clone(), problem })?;
        Ok(Self {
            ca: Certificate::from_pem(certificates(&files.ca)?),
            identity: Identity::from_pem(certificates(&files.certificate)?, key),
        })
    }

    /// For a server that takes only clients whose certificate the authority has signed.
    pub fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity.clone()).client_ca_root(self.ca.clone())
    }

    /// For a client that shows its certificate and takes only servers whose certificate the authority has signed for the
    /// host that it asks for. etcd's client takes the same.
    pub fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().identity(self.identity.clone()).ca_certificate(self.ca.clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| error.to_string())
}

/// A file in which there is a certificate, and nothing that should be one and is not.
fn certificates(file: &Path) -> Result<Vec<u8>, TlsError> {
    let checked = |text: Vec<u8>| {
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        match chain {
            Ok(chain) if chain.is_empty() => Err("there is none in it".to_owned()),
            Ok(_) => Ok(text),
            Err(error) => Err(error.to_string()),
        }
    };
    read(file).and_then(checked).map_err(|problem| TlsError::Certificate { file: file.to_owned(), problem })
}
