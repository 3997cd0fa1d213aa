//! The way to other nodes: one connection each, shared by all that need it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use headwater_media::{Clock, Part, RenditionName, SessionId, StreamName};
use headwater_router::claim::{PeerReply, Yield};
use headwater_router::{BoxFuture, NodeId, Peers};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;
use tracing::{debug, warn};

use crate::Tls;

use super::convert::{KnownInits, Malformed, read_part, rendition_name};
use super::metrics::Metrics;
use super::transport::{self, MESSAGE_BYTES_MAX};
use super::wire;
use super::wire::log_service_client::LogServiceClient;

/// An answer to the question whether a process is there at all.
const PROBE: Duration = Duration::from_secs(1);

/// Connections to other nodes. One is kept as long as somebody uses it.
pub struct Nodes {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    tls: Option<Tls>,
    connections: Mutex<HashMap<String, Weak<Connection>>>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").finish_non_exhaustive()
    }
}

/// A connection to a node; closed with its last user.
#[derive(Debug)]
pub(super) struct Connection {
    tls: Option<Tls>,
    channel: OnceCell<Channel>,
}

impl Nodes {
    /// No connections yet. Without `tls` they are plain.
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>, tls: Option<Tls>) -> Self {
        Self { clock, metrics, tls, connections: Mutex::default() }
    }

    /// The connection to a node. It is made when it is first [used](Connection::client).
    pub(super) fn connection(&self, address: &str) -> Arc<Connection> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = connections.get(address).and_then(Weak::upgrade) {
            return known;
        }
        connections.retain(|_, connection| connection.strong_count() > 0);
        let connection = Arc::new(Connection { tls: self.tls.clone(), channel: OnceCell::new() });
        connections.insert(address.to_owned(), Arc::downgrade(&connection));
        connection
    }

    /// Nodes to which there is a connection.
    pub fn connected(&self) -> usize {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.values().filter(|connection| connection.strong_count() > 0).count()
    }

    async fn try_ask(&self, address: &str, request: wire::YieldRequest) -> Result<wire::YieldReply, Status> {
        let connection = self.connection(address);
        Ok(connection.client(address).await?.r#yield(request).await?.into_inner())
    }

    async fn try_fetch(
        &self,
        address: &str,
        request: wire::FetchRequest,
        into: mpsc::Sender<(RenditionName, Arc<Part>)>,
    ) -> Result<(), Status> {
        let connection = self.connection(address);
        let mut replies = connection.client(address).await?.fetch(request).await?.into_inner();
        let mut inits = KnownInits::default();
        while let Some(reply) = replies.message().await? {
            for part in self.fetched(reply, &mut inits).map_err(|malformed| self.refuse(&malformed))? {
                if into.send(part).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn fetched(
        &self,
        reply: wire::FetchReply,
        inits: &mut KnownInits,
    ) -> Result<Vec<(RenditionName, Arc<Part>)>, Malformed> {
        inits.take(reply.inits)?;
        let name = rendition_name(&reply.rendition)?;
        let parts = reply.parts.into_iter().map(|part| {
            let part = Arc::new(read_part(part, self.clock.now(), inits)?);
            self.metrics.received_bytes.inc_by(part.bytes() as u64);
            Ok((name.clone(), part))
        });
        parts.collect()
    }

    pub(super) fn refuse(&self, malformed: &Malformed) -> Status {
        self.metrics.malformed.inc();
        Status::internal(malformed.to_string())
    }
}

impl Connection {
    /// A client, once there is a connection.
    pub(super) async fn client(&self, address: &str) -> Result<LogServiceClient<Channel>, Status> {
        Ok(LogServiceClient::new(self.channel(address).await?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// The connection itself.
    pub(super) async fn channel(&self, address: &str) -> Result<Channel, Status> {
        let connect = || async {
            let endpoint = transport::endpoint(address, self.tls.as_ref())
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))
        };
        self.channel.get_or_try_init(connect).await.cloned()
    }
}

/// `host:port` of a node's log service.
pub(super) fn address(node: &NodeId) -> &str {
    node.0.split_once('~').map_or(&*node.0, |(address, _)| address)
}

/// Whether a connection is refused: no process is there any more.
async fn refuses(address: &str) -> bool {
    let connected = timeout(PROBE, TcpStream::connect(address)).await;
    matches!(connected, Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}

impl Peers for Nodes {
    fn ask<'a>(&'a self, home: &'a NodeId, stream: &'a StreamName, asked: Yield) -> BoxFuture<'a, Option<PeerReply>> {
        Box::pin(async move {
            let request =
                wire::YieldRequest { stream: stream.to_string(), epoch: asked.epoch.0, priority: asked.priority };
            match self.try_ask(address(home), request).await {
                Ok(reply) => Option::<PeerReply>::try_from(reply).unwrap_or_else(|malformed| {
                    self.metrics.malformed.inc();
                    warn!(%stream, home = %home.0, %malformed, "a home's answer makes no sense");
                    None
                }),
                Err(_) if refuses(address(home)).await => Some(PeerReply::Unreachable),
                Err(status) => {
                    debug!(%stream, home = %home.0, %status, "a home did not answer");
                    None
                }
            }
        })
    }

    fn fetch<'a>(
        &'a self,
        home: &'a NodeId,
        stream: &'a StreamName,
        session: SessionId,
        into: mpsc::Sender<(RenditionName, Arc<Part>)>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let request = wire::FetchRequest { stream: stream.to_string(), session: session.to_string() };
            if let Err(status) = self.try_fetch(address(home), request, into).await {
                warn!(%stream, %session, home = %home.0, %status, "the window of the home before was not fetched whole");
            }
        })
    }
}
