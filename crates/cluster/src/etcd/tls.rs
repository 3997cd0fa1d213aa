//! TLS to etcd.

use etcd_client::{Certificate, Identity, TlsOptions};

/// Certificates, in PEM.
#[derive(Clone)]
pub struct Tls {
    /// Who signs etcd's certificates.
    pub ca: Vec<u8>,
    /// This node's own certificate and its key, for an etcd that asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("has_identity", &self.identity.is_some()).finish_non_exhaustive()
    }
}

impl Tls {
    pub(super) fn options(&self) -> TlsOptions {
        let options = TlsOptions::new().ca_certificate(Certificate::from_pem(&self.ca));
        match &self.identity {
            Some((certificate, key)) => options.identity(Identity::from_pem(certificate, key)),
            None => options,
        }
    }
}
