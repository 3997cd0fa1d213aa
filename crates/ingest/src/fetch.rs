//! HTTP requests of our own: to the webhook, and for key sets.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tracing::warn;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// An `http` or `https` URL. Shows itself without its query and password.
#[derive(Clone, Eq, PartialEq)]
pub struct Endpoint(Uri);

/// A text is not an [`Endpoint`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a URL: https://HOST/PATH or http://HOST/PATH")]
pub struct EndpointError;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let uri: Uri = text.parse().map_err(|_| EndpointError)?;
        let host = uri.host().is_some_and(|host| !host.is_empty());
        if host && matches!(uri.scheme_str(), Some("http" | "https")) { Ok(Self(uri)) } else { Err(EndpointError) }
    }
}

impl Endpoint {
    /// Whether what is sent and answered cannot be read or changed on the way: `https`, or this machine.
    pub fn is_private(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        here || self.0.scheme_str() == Some("https")
    }

    pub(crate) fn uri(&self) -> Uri {
        self.0.clone()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (self.0.scheme_str().unwrap_or_default(), self.0.host().unwrap_or_default());
        write!(f, "{scheme}://{host}")?;
        if let Some(port) = self.0.port_u16() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Not connected, or the connection broke.
    #[error("{0}")]
    Failed(String),
    /// Nothing came in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// Keeps connections open between requests. Made when the first request is.
#[derive(Default)]
pub(crate) struct Client(OnceLock<Pool<HttpsConnector<HttpConnector>, Full<Bytes>>>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Sends the request and reads the whole answer.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let pool = self.0.get_or_init(pool);
        let exchange = async {
            let answer = pool.request(request).await.map_err(|error| FetchError::Failed(chain(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Ok((head.status, body.map_err(|error| FetchError::Failed(error.to_string()))?.to_bytes()))
        };
        timeout(limit, exchange).await.unwrap_or(Err(FetchError::Timeout(limit)))
    }
}

fn pool() -> Pool<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let provider = rustls::crypto::ring::default_provider();
    let connector = HttpsConnectorBuilder::new();
    let connector = match connector.with_provider_and_native_roots(provider.clone()) {
        Ok(connector) => connector,
        Err(error) => {
            warn!(%error, "no root certificates on this system: https:// cannot be reached");
            let nobody = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .expect("ring has what the default versions need")
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(nobody)
        }
    };
    Pool::builder(TokioExecutor::new()).build(connector.https_or_http().enable_http1().build())
}

/// hyper's own text is "client error (Connect)"; the reason is below it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_shows_neither_password_nor_query() {
        let endpoint: Endpoint = "https://user:hunter2@example.org:8443/hook?secret=hunter2".parse().unwrap();
        assert_eq!(format!("{endpoint} {endpoint:?}"), "https://example.org:8443/hook https://example.org:8443/hook");
        for bad in ["example.org/hook", "ftp://example.org/", "/hook", "http://", "https:///x"] {
            assert_eq!(bad.parse::<Endpoint>(), Err(EndpointError), "{bad}");
        }
    }

    #[test]
    fn only_tls_and_this_machine_are_private() {
        let private = |text: &str| text.parse::<Endpoint>().unwrap().is_private();
        assert!(private("https://example.org/") && private("http://127.0.0.1:1/") && private("http://[::1]/"));
        assert!(private("http://localhost/"));
        assert!(!private("http://example.org/") && !private("http://localhost.example.org/"));
    }
}
