//! Connections up to their publish: TLS with a certificate that changes, PROXY headers, deadlines, ends.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use headwater_ingest::{
    AccessSettings, Deps, Ingest, Listeners, Metrics, Multitrack, PublishLimits, Sessions, Settings, Tls, TlsError,
    When,
};
use headwater_media::{Clock, Instant, WallTime};
use headwater_router::embedded::{Alone, EmbeddedLog, EmbeddedQueue, EmbeddedRegistry};
use headwater_router::log::Limits;
use headwater_router::{Ladder, NodeId};
use headwater_segmenter::Profile;
use prometheus_client::registry::Registry;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// Never moves: these tests need no deadline of RTMP's.
struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::default()
    }

    fn wall(&self) -> WallTime {
        WallTime { unix_millis: 0 }
    }
}

fn settings() -> Settings {
    Settings {
        profile: Profile::Low,
        ladder: Ladder::default(),
        ladders: Vec::new(),
        when: When::Always,
        gears_per_job: 0,
        multitrack: Multitrack::First,
        window_segments: 8,
        source_audio: true,
        reconnect_window: Duration::ZERO,
        end_grace: Duration::ZERO,
        drain: Duration::ZERO,
        access: AccessSettings::default(),
        kbps_max: 0,
        limits: PublishLimits::default(),
        proxy_protocol: false,
        tls: None,
        connections_max: 10,
        rtmp: headwater_rtmp::ServerConfig::default(),
    }
}

/// A running ingest.
struct Server {
    ingest: Arc<Ingest>,
    rtmp: SocketAddr,
    rtmps: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
    metrics: Registry,
}

impl Server {
    async fn start(settings: Settings) -> Self {
        let clock = Arc::new(Still);
        let mut metrics = Registry::default();
        let deps = Deps {
            clock: clock.clone(),
            registry: Arc::new(EmbeddedRegistry::new(NodeId("test".into()))),
            peers: Arc::new(Alone),
            log: Arc::new(EmbeddedLog::new(Limits::default())),
            queue: Arc::new(EmbeddedQueue::default()),
            metrics: Arc::new(Metrics::new(&mut metrics, clock)),
        };
        let ingest = Arc::new(Ingest::new(settings, deps));
        let rtmp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rtmps = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [&rtmp, &rtmps].map(|listener| listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let listeners = Listeners { rtmp, rtmps: Some(rtmps) };
        let stopped = async {
            let _ = stopped.await;
            Sessions::End
        };
        let running = tokio::spawn(headwater_ingest::run(listeners, ingest.clone(), stopped, std::future::pending()));
        let [rtmp, rtmps] = addresses;
        Self { ingest, rtmp, rtmps, stop, running, metrics }
    }

    /// Answers with all that was counted, when all connections are over.
    async fn stop(self) -> String {
        let _ = self.stop.send(());
        self.running.await.unwrap();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).unwrap();
        text
    }
}

/// A certificate and its key.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pair =
            Self { certificate: folder.join(format!("{name}.cert.pem")), key: folder.join(format!("{name}.key.pem")) };
        std::fs::write(&pair.certificate, made.cert.pem()).unwrap();
        std::fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
        pair
    }

    fn tls(&self) -> Result<Tls, TlsError> {
        Tls::from_files(&self.certificate, &self.key)
    }

    /// Whether the server shows this certificate and answers RTMP's handshake behind it.
    async fn is_shown_by(&self, rtmps: SocketAddr) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(rtmps).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        match TlsConnector::from(Arc::new(config)).connect(name, socket).await {
            Ok(mut socket) => {
                expect_handshake(&mut socket).await;
                true
            }
            Err(_) => false,
        }
    }
}

/// C0 and C1 are answered with S0, S1 and S2.
async fn expect_handshake(socket: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    let mut client = [0; 1537];
    client[0] = 3;
    socket.write_all(&client).await.unwrap();
    socket.flush().await.unwrap();
    let mut server = [0; 3073];
    socket.read_exact(&mut server).await.unwrap();
    assert_eq!(server[0], 3);
}

#[track_caller]
fn expect_line(text: &str, expected: &str) {
    assert!(text.lines().any(|line| line == expected), "no {expected} in {text}");
}

async fn expect_closed(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = socket.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn another_certificate_counts_from_the_next_connection_on() {
    let (first, second) = (Pair::new("first"), Pair::new("second"));
    let with = |pair: &Pair| Settings { tls: Some(pair.tls().unwrap()), ..settings() };
    let server = Server::start(with(&first)).await;
    assert!(first.is_shown_by(server.rtmps).await);
    assert!(!second.is_shown_by(server.rtmps).await);
    server.ingest.reconfigure(with(&second));
    assert!(second.is_shown_by(server.rtmps).await);
    assert!(!first.is_shown_by(server.rtmps).await);
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_or_key_that_cannot_be_used_is_named() {
    let (one, other) = (Pair::new("one"), Pair::new("other"));
    let mixed = Pair { certificate: one.certificate.clone(), key: other.key.clone() };
    assert!(matches!(mixed.tls(), Err(TlsError::Unusable(_))));
    let swapped = Pair { certificate: one.key.clone(), key: one.certificate.clone() };
    let text = swapped.tls().unwrap_err().to_string();
    assert!(text.starts_with("cannot read a certificate from ") && text.contains("one.key.pem"), "{text}");
    let missing = Pair { certificate: one.certificate.clone(), key: PathBuf::from("/nowhere") };
    assert!(missing.tls().unwrap_err().to_string().starts_with("cannot read a private key from /nowhere"));
}

#[tokio::test]
async fn who_begins_no_tls_and_no_proxy_header_in_time_is_closed() {
    let pair = Pair::new("silent");
    let mut settings = Settings { tls: Some(pair.tls().unwrap()), proxy_protocol: true, ..settings() };
    settings.rtmp.timeouts.handshake = Duration::from_millis(50);
    let server = Server::start(settings.clone()).await;
    expect_closed(&mut TcpStream::connect(server.rtmp).await.unwrap()).await;
    settings.proxy_protocol = false;
    server.ingest.reconfigure(settings);
    expect_closed(&mut TcpStream::connect(server.rtmps).await.unwrap()).await;
    let counted = server.stop().await;
    expect_line(&counted, "rtmp_over_limit_total{limit=\"handshake\"} 2");
    expect_line(&counted, "publishers_refused_total{reason=\"protocol\"} 2");
}

/// Those that are told why, and those that are closed at once because too many have been told.
#[tokio::test]
async fn connections_beyond_the_limit_of_their_address_are_counted_once() {
    let limits = PublishLimits { connections_per_address: 1, ..PublishLimits::default() };
    let server = Server::start(Settings { limits, connections_max: 100, ..settings() }).await;
    let mut first = TcpStream::connect(server.rtmp).await.unwrap();
    expect_handshake(&mut first).await;
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(TcpStream::connect(server.rtmp).await.unwrap());
        expect_handshake(told.last_mut().unwrap()).await;
    }
    for _ in 0..3 {
        expect_closed(&mut TcpStream::connect(server.rtmp).await.unwrap()).await;
    }
    drop((first, told));
    let counted = server.stop().await;
    expect_line(&counted, "publishers_refused_total{reason=\"too_many_connections\"} 7");
    expect_line(&counted, "rtmp_over_limit_total{limit=\"connections_per_address\"} 7");
    assert!(!counted.contains("reason=\"protocol\""), "{counted}");
}

#[tokio::test]
async fn a_proxy_header_comes_before_rtmp_and_nothing_else_may() {
    let server = Server::start(Settings { proxy_protocol: true, ..settings() }).await;
    for header in [&b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 1935\r\n"[..], b"PROXY UNKNOWN\r\n"] {
        let mut socket = TcpStream::connect(server.rtmp).await.unwrap();
        socket.write_all(header).await.unwrap();
        expect_handshake(&mut socket).await;
    }
    for bad in [&[3; 1537][..], b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 99999\r\n"] {
        let mut socket = TcpStream::connect(server.rtmp).await.unwrap();
        socket.write_all(bad).await.unwrap();
        expect_closed(&mut socket).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connection_in_its_tls_handshake_does_not_hold_up_the_end() {
    let pair = Pair::new("ending");
    let server = Server::start(Settings { tls: Some(pair.tls().unwrap()), ..settings() }).await;
    let mut silent = TcpStream::connect(server.rtmps).await.unwrap();
    // A connection that is accepted after it has been served is accepted before it is stopped.
    assert!(pair.is_shown_by(server.rtmps).await);
    server.stop().await;
    expect_closed(&mut silent).await;
}

/// it was held until `publish` was answered, and is no good.
#[tokio::test]
async fn what_is_no_good_behind_publish_ends_the_connection() {
    let server = Server::start(settings()).await;
    let mut socket = TcpStream::connect(server.rtmp).await.unwrap();
    let url = "rtmp://localhost/live/show".parse().unwrap();
    let config = headwater_rtmp::ClientConfig::new(&url, "test");
    let mut session = headwater_rtmp::ClientSession::new(Instant::default(), config, 1);
    // A command with arrays in arrays, deeper than is read.
    let mut deep = b"\x02\0\x01a\0\0\0\0\0\0\0\0\0".to_vec();
    deep.extend(b"\x0A\0\0\0\x01".repeat(40));
    let mut chunk = vec![3, 0, 0, 0, 0, 0, u8::try_from(deep.len()).unwrap(), 20, 1, 0, 0, 0];
    chunk.extend(deep);
    loop {
        while let Some(bytes) = session.poll_transmit() {
            let mut bytes = bytes.to_vec();
            if bytes.windows(7).any(|name| name == b"publish") {
                bytes.extend(&chunk);
            }
            socket.write_all(&bytes).await.unwrap();
        }
        let mut input = [0; 4096];
        match socket.read(&mut input).await {
            Ok(length @ 1..) => session.handle_input(Instant::default(), &input[..length]).unwrap(),
            // A reset is an end, too.
            _ => break,
        }
    }
    let counted = server.stop().await;
    expect_line(&counted, "publishers_refused_total{reason=\"protocol\"} 1");
    expect_line(&counted, "rtmp_over_limit_total{limit=\"amf_depth\"} 1");
    expect_line(&counted, "rtmp_connections 0");
}
