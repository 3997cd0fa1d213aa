//! The connection to a server: TCP, and TLS over it when the URL says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use headwater_rtmp::{PublishUrl, Scheme};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A connection on which RTMP can begin.
pub(super) type Socket = Box<dyn Stream>;

/// Bytes in both directions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A server that does not answer for this long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the URL's server. `ca` names certificates to trust in place of the system's.
pub(super) async fn open(url: &PublishUrl, ca: Option<&Path>) -> Result<Socket> {
    let tls = match url.scheme {
        Scheme::Rtmp => None,
        Scheme::Rtmps => Some(tls(ca)?),
    };
    let connecting = timeout(CONNECT_TIMEOUT, connect(url, tls)).await;
    connecting
        .unwrap_or_else(|_| Err(anyhow!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))
        .with_context(|| format!("cannot connect to {}:{}", url.host, url.port))
}

async fn connect(url: &PublishUrl, tls: Option<TlsConnector>) -> Result<Socket> {
    let socket = TcpStream::connect((url.host.as_str(), url.port)).await?;
    // Frames are small and each is awaited.
    socket.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let Some(tls) = tls else { return Ok(Box::new(socket)) };
    let name = ServerName::try_from(url.host.clone()).context("no certificate can be for this name")?;
    match tls.connect(name, socket).await {
        Ok(socket) => Ok(Box::new(socket)),
        Err(error) => {
            // What openssl signs for itself is of the second kind: it says that it is a CA.
            let untrusted = error.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(|inner| {
                use CertificateError::{Other, UnknownIssuer};
                matches!(inner, TlsError::InvalidCertificate(UnknownIssuer | Other(_)))
            });
            let hint = if untrusted { "; --tls-ca names certificates to trust" } else { "" };
            bail!("TLS: {error}{hint}")
        }
    }
}

fn tls(ca: Option<&Path>) -> Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = match ca {
        Some(file) => {
            let own = OwnCertificates::read(file, provider)
                .with_context(|| format!("cannot read certificates from {}", file.display()))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(own)).with_no_client_auth()
        }
        None => builder.with_root_certificates(system_roots()?).with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system_roots() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Some of what a system has may be of no use: what counts is what there is.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ensure!(!roots.is_empty(), "this system has no root certificates; --tls-ca names certificates to trust");
    Ok(roots)
}

/// Trusts what the certificates of a file have signed, and these certificates themselves: a self-signed one, as openssl
/// makes it, says that it is a CA, and as such it would not be taken for a server's own. The name must fit in any case.
#[derive(Debug)]
struct OwnCertificates {
    certificates: Vec<CertificateDer<'static>>,
    signed: Arc<WebPkiServerVerifier>,
}

impl OwnCertificates {
    fn read(file: &Path, provider: Arc<CryptoProvider>) -> Result<Self> {
        let certificates = CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>()?;
        ensure!(!certificates.is_empty(), "there is none in it");
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { certificates, signed })
    }
}

impl ServerCertVerifier for OwnCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.certificates.iter().any(|certificate| certificate == end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
