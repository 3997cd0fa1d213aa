//! From an accepted socket to an RTMP connection: PROXY header, TLS, both with a deadline.

use std::net::SocketAddr;
use std::sync::Arc;

use rustix::net::sockopt::set_socket_keepalive;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info};

use crate::connection::Connection;
use crate::{Ingest, Stage, proxy};

/// Where encoders connect.
#[derive(Debug)]
pub struct Listeners {
    /// RTMP.
    pub rtmp: TcpListener,
    /// RTMP in TLS; needs [`Settings::tls`](crate::Settings::tls).
    pub rtmps: Option<TcpListener>,
}

/// What is under RTMP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Under {
    Tcp,
    Tls,
}

impl Listeners {
    /// The next connection.
    pub(crate) async fn accept(&self) -> std::io::Result<(TcpStream, SocketAddr, Under)> {
        let rtmps = async {
            match &self.rtmps {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.rtmp.accept() => accepted.map(|(socket, address)| (socket, address, Under::Tcp)),
            accepted = rtmps => accepted.map(|(socket, address)| (socket, address, Under::Tls)),
        }
    }
}

/// A connection on which RTMP can begin, and who is at its other end.
enum Opened {
    Tcp(TcpStream, SocketAddr),
    Tls(Box<TlsStream<TcpStream>>, SocketAddr),
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    socket: TcpStream,
    address: SocketAddr,
    under: Under,
    ingest: Arc<Ingest>,
    mut stage: watch::Receiver<Stage>,
) {
    let limit = ingest.settings().rtmp.timeouts.handshake;
    let opened = tokio::select! {
        opened = timeout(limit, open(socket, address, under, &ingest)) => opened,
        _ = stage.wait_for(|stage| *stage == Stage::Stopping) => return,
    };
    match opened.unwrap_or_else(|_| Err(format!("nothing that makes sense within {} s", limit.as_secs()))) {
        Ok(Opened::Tcp(socket, address)) => Connection::new(address, ingest, stage).run(socket).await,
        Ok(Opened::Tls(socket, address)) => Connection::new(address, ingest, stage).run(*socket).await,
        Err(error) => {
            ingest.deps.metrics.refuse("protocol");
            info!(%address, error, "connection closed");
        }
    }
}

async fn open(mut socket: TcpStream, address: SocketAddr, under: Under, ingest: &Ingest) -> Result<Opened, String> {
    // Without this a publisher waits 40 ms for each of our replies.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY not set");
    }
    // Pings find a dead publisher sooner; this is for the moments in which none are sent.
    if let Err(error) = set_socket_keepalive(&socket, true) {
        debug!(%error, "SO_KEEPALIVE not set");
    }
    let settings = ingest.settings();
    let mut real = address;
    if settings.proxy_protocol {
        let told = proxy::read_header(&mut socket).await.map_err(|error| error.to_string())?;
        real = told.unwrap_or(address);
    }
    match (under, &settings.tls) {
        (Under::Tcp, _) => Ok(Opened::Tcp(socket, real)),
        (Under::Tls, None) => Err("there is no certificate for RTMPS".into()),
        (Under::Tls, Some(tls)) => match tls.acceptor().accept(socket).await {
            Ok(socket) => Ok(Opened::Tls(Box::new(socket), real)),
            Err(error) => Err(format!("TLS: {error}")),
        },
    }
}
