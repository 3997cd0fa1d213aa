//! Certificates on both ends of gRPC between nodes.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::net::SocketAddr;
use std::path::PathBuf;

use headwater_cluster::{Tls, TlsError, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{ClientTlsConfig, Endpoint, Server};
use tonic::{Code, Request, Status};

/// An authority of a test.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder }
    }

    /// Files of a node whose certificate is for `host`.
    fn node(&self, host: &str) -> TlsFiles {
        let file = |name: &str| self.folder.join(format!("{host}.{name}"));
        let files = TlsFiles { ca: self.folder.join("ca.pem"), certificate: file("pem"), key: file("key") };
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(&files.ca, self.issuer.pem()).unwrap();
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

/// A server without a method.
async fn serve(tls: &Tls) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = Server::builder().tls_config(tls.server()).unwrap();
    tokio::spawn(server.add_routes(Routes::default()).serve_with_incoming(TcpIncoming::from(listener)));
    address
}

/// Calls a method that is not there; who may call at all is told so.
async fn call(server: SocketAddr, host: &str, tls: Option<ClientTlsConfig>) -> Result<(), Status> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{host}:{}", server.port())).unwrap();
    let endpoint = match tls {
        Some(tls) => endpoint.tls_config(tls).unwrap(),
        None => endpoint,
    };
    let channel = endpoint.connect().await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let reply = client.unary(Request::new(()), "/none.None/None".parse().unwrap(), codec).await;
    match reply {
        Err(status) if status.code() == Code::Unimplemented => Ok(()),
        Err(status) => Err(status),
        Ok(_) => panic!("there is no such method"),
    }
}

#[tokio::test]
async fn nodes_that_one_authority_has_signed_talk_and_nobody_else_does() {
    let (ours, foreign) = (Authority::new("tls-ours"), Authority::new("tls-foreign"));
    let node = Tls::read(&ours.node("127.0.0.1")).unwrap();
    let stranger = foreign.node("127.0.0.1");
    let server = serve(&node).await;
    call(server, "127.0.0.1", Some(node.client())).await.unwrap();
    // Who believes our authority but shows no certificate, or one that another authority has signed.
    let ca = || tonic::transport::Certificate::from_pem(ours.issuer.pem());
    call(server, "127.0.0.1", Some(ClientTlsConfig::new().ca_certificate(ca()))).await.unwrap_err();
    let mixed = TlsFiles { ca: ours.folder.join("ca.pem"), ..stranger.clone() };
    call(server, "127.0.0.1", Some(Tls::read(&mixed).unwrap().client())).await.unwrap_err();
    call(server, "127.0.0.1", None).await.unwrap_err();
    // A server that another authority has signed, and one that was signed for another host.
    let foreign = serve(&Tls::read(&stranger).unwrap()).await;
    call(foreign, "127.0.0.1", Some(node.client())).await.unwrap_err();
    let error = call(server, "localhost", Some(node.client())).await.unwrap_err();
    assert!(error.message().contains("NotValidForName"), "{error}");
    // It goes on for those who may.
    call(server, "127.0.0.1", Some(node.client())).await.unwrap();
}

#[test]
fn a_file_that_does_not_do_is_named() {
    let files = Authority::new("tls-files").node("127.0.0.1");
    let text = |files: TlsFiles| match Tls::read(&files).unwrap_err() {
        error @ (TlsError::Certificate { .. } | TlsError::Key { .. }) => error.to_string(),
        error => panic!("{error}"),
    };
    let missing = files.ca.with_file_name("missing.pem");
    let said = text(TlsFiles { ca: missing.clone(), ..files.clone() });
    assert!(said.contains("missing.pem") && said.contains("No such file"), "{said}");
    let said = text(TlsFiles { certificate: files.key.clone(), ..files.clone() });
    assert!(said.ends_with("127.0.0.1.key: there is none in it"), "{said}");
    let said = text(TlsFiles { key: files.certificate.clone(), ..files });
    assert!(said.starts_with("cannot read a private key from"), "{said}");
}
