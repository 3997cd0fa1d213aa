//! Workers on other nodes: they read the stage's log, and what they make comes over gRPC, through a wire that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;

use headwater_cluster::log::{Uplink, UplinkMetrics, Uplinks};
use headwater_media::{SessionId, StreamName};
use headwater_router::embedded::EmbeddedLog;
use headwater_router::{BoxFuture, Job, JobId, Log, NoWriter, SessionState, StreamLog, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

use crate::stage::{HandClock, Stage};

/// The stage's node, as other nodes reach it.
pub(crate) struct Home {
    address: SocketAddr,
    log: Arc<EmbeddedLog>,
    clock: Arc<HandClock>,
    pub(crate) metrics: UplinkMetrics,
}

impl Home {
    pub(crate) async fn start(stage: &Stage) -> Self {
        let metrics = UplinkMetrics::new(&mut prometheus_client::registry::Registry::default());
        let uplinks = Uplinks::new(stage.log.clone(), stage.board.clone(), stage.clock.clone(), metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(uplinks.service());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, log: stage.log.clone(), clock: stage.clock.clone(), metrics }
    }

    /// Another node: its view of the logs, for one worker.
    pub(crate) async fn node(&self) -> Node {
        let wire = Wire::lay(self.address).await;
        let endpoint = Endpoint::from_shared(format!("http://{}", wire.address)).unwrap();
        let uplink = Uplink::new(self.clock.clone(), self.metrics.clone());
        Node { log: self.log.clone(), uplink, channel: endpoint.connect_lazy(), wire: wire.state }
    }
}

/// What a wire does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Carries {
    All,
    /// Bytes stay where they are, as with a process that is stopped.
    Nothing,
    /// Connections are closed, new ones too.
    Cut,
}

/// A node whose logs are elsewhere.
pub(crate) struct Node {
    log: Arc<EmbeddedLog>,
    uplink: Uplink,
    channel: Channel,
    pub(crate) wire: watch::Sender<Carries>,
}

impl Log for Node {
    fn open(&self, _: SessionState) -> Arc<StreamLog> {
        unreachable!("it has no homes")
    }

    fn close(&self, _: &Arc<StreamLog>) {}

    fn find<'a>(&'a self, stream: &'a StreamName) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        self.log.find(stream)
    }

    fn find_session<'a>(&'a self, stream: &'a StreamName, id: SessionId) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        self.log.find_session(stream, id)
    }

    fn list(&self) -> BoxFuture<'_, Vec<Arc<StreamLog>>> {
        self.log.list()
    }

    fn write<'a>(&'a self, id: JobId, job: &'a Job) -> BoxFuture<'a, Result<Arc<dyn Writer>, NoWriter>> {
        Box::pin(async move {
            let log = self.find_session(&job.stream, job.session).await.ok_or(NoWriter::Over)?;
            self.uplink.write(self.channel.clone(), log, id, job).await
        })
    }
}

/// Carries connections to the home.
struct Wire {
    address: SocketAddr,
    state: watch::Sender<Carries>,
}

impl Wire {
    async fn lay(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(Carries::All);
        let carries = state.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *carries.borrow() == Carries::Cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(to).await else { continue };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near_in, far_out, carries.clone()));
                tokio::spawn(carry(far_in, near_out, carries.clone()));
            }
        });
        Self { address, state }
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut carries: watch::Receiver<Carries>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let state = *carries.borrow_and_update();
        tokio::select! {
            changed = carries.changed() => if changed.is_err() { return },
            read = from.read(&mut buffer), if state == Carries::All => match read {
                Ok(read @ 1..) => if to.write_all(&buffer[..read]).await.is_err() { return },
                _ => return,
            },
        }
        if *carries.borrow() == Carries::Cut {
            return;
        }
    }
}
