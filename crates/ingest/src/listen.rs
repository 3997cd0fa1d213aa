//! From an accepted socket to an RTMP connection: PROXY header and TLS, within the time that a handshake may take.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustix::net::sockopt::set_socket_keepalive;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::addresses::Guest;
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

/// A connection that was just accepted.
pub(crate) struct Newcomer {
    /// Of no runtime yet.
    pub(crate) socket: std::net::TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) under: Under,
    pub(crate) welcome: Result<(), Unwelcome>,
}

/// Why a connection may not publish anything. The text is for whoever connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Unwelcome {
    #[error("the server has {limit} connections, which is its limit; try again later")]
    TooMany { limit: usize },
    #[error("{address} has {limit} connections to this server, which is the limit")]
    TooManyOfAddress { address: IpAddr, limit: usize },
}

impl Listeners {
    /// The next connection.
    pub(crate) async fn accept(&self) -> std::io::Result<(std::net::TcpStream, SocketAddr, Under)> {
        let rtmps = async {
            match &self.rtmps {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let ((socket, address), under) = tokio::select! {
            accepted = self.rtmp.accept() => (accepted?, Under::Tcp),
            accepted = rtmps => (accepted?, Under::Tls),
        };
        Ok((socket.into_std()?, address, under))
    }
}

/// A connection on which RTMP can begin.
struct Opened {
    socket: Socket,
    /// Who is at its other end.
    address: SocketAddr,
    /// Its place among the connections of its address.
    guest: Guest,
    welcome: Result<(), Unwelcome>,
}

/// Why a connection is closed before RTMP begins.
#[derive(Debug, thiserror::Error)]
enum NotOpened {
    /// It may not be here, which has been counted.
    #[error(transparent)]
    Unwelcome(#[from] Unwelcome),
    /// What it sends makes no sense. The text says what.
    #[error("{0}")]
    Broken(String),
}

enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Serves one connection to its end.
pub(crate) async fn serve(newcomer: Newcomer, ingest: Arc<Ingest>, mut stage: watch::Receiver<Stage>) {
    let limit = ingest.settings().rtmp.timeouts.handshake;
    let (address, accepted) = (newcomer.address, ingest.deps.clock.now());
    let opened = tokio::select! {
        opened = timeout(limit, open(newcomer, &ingest)) => opened,
        _ = stage.wait_for(|stage| *stage == Stage::Stopping) => return,
    };
    let metrics = ingest.deps.metrics.clone();
    let opened = opened.unwrap_or_else(|_| {
        metrics.over_limit("handshake");
        Err(NotOpened::Broken(format!("nothing that makes sense within {} s", limit.as_secs())))
    });
    match opened {
        Ok(Opened { socket, address, guest, welcome }) => {
            let connection = Connection::new(accepted, address, guest, welcome, ingest, stage);
            match socket {
                Socket::Tcp(socket) => connection.run(socket).await,
                // It is a rare and large thing: others must not make room for it.
                Socket::Tls(socket) => Box::pin(connection.run(*socket)).await,
            }
        }
        Err(error @ NotOpened::Broken(_)) => {
            metrics.refuse("protocol");
            info!(%address, %error, "connection closed");
        }
        // Counted, and said of the first ones: nobody shall fill the log by connecting.
        Err(error @ NotOpened::Unwelcome(_)) => debug!(%address, %error, "connection closed"),
    }
}

async fn open(newcomer: Newcomer, ingest: &Ingest) -> Result<Opened, NotOpened> {
    let broken = |error: std::io::Error| NotOpened::Broken(error.to_string());
    let Newcomer { socket, mut address, under, welcome } = newcomer;
    let mut socket = TcpStream::from_std(socket).map_err(broken)?;
    // Without this a publisher waits 40 ms for each of our replies.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY not set");
    }
    // Pings find a dead publisher sooner; this is for the moments in which none are sent.
    if let Err(error) = set_socket_keepalive(&socket, true) {
        debug!(%error, "SO_KEEPALIVE not set");
    }
    let settings = ingest.settings();
    if settings.proxy_protocol {
        let told = proxy::read_header(&mut socket).await.map_err(|error| NotOpened::Broken(error.to_string()))?;
        address = told.unwrap_or(address);
    }
    let (guest, count) = ingest.addresses.enter(address.ip());
    let welcome = welcome.and(within_address(address.ip(), count, settings.limits.connections_per_address));
    if let Err(unwelcome @ Unwelcome::TooManyOfAddress { limit, .. }) = welcome {
        ingest.deps.metrics.refuse("too_many_connections");
        ingest.deps.metrics.over_limit("connections_per_address");
        if count > limit + TOLD_MAX {
            return Err(unwelcome.into());
        }
        warn!(%address, limit, "connection refused: too many of its address");
    }
    let socket = match (under, &settings.tls) {
        (Under::Tcp, _) => Socket::Tcp(socket),
        (Under::Tls, None) => return Err(NotOpened::Broken("there is no certificate for RTMPS".into())),
        (Under::Tls, Some(tls)) => match tls.acceptor().accept(socket).await {
            Ok(socket) => Socket::Tls(Box::new(socket)),
            Err(error) => return Err(NotOpened::Broken(format!("TLS: {error}"))),
        },
    };
    Ok(Opened { socket, address, guest, welcome })
}

/// Whether an address may have `count` connections.
fn within_address(address: IpAddr, count: usize, limit: usize) -> Result<(), Unwelcome> {
    if limit > 0 && count > limit { Err(Unwelcome::TooManyOfAddress { address, limit }) } else { Ok(()) }
}

/// Connections of an address beyond its limit that are held until they were told why they are refused; more are closed
/// at once, so that one address cannot take the places of all.
const TOLD_MAX: usize = 4;
