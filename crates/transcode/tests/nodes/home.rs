//! Other nodes: each follows the stage's log and writes to it over gRPC, through a wire that can be cut or frozen.

use std::net::SocketAddr;
use std::sync::Arc;

use headwater_cluster::etcd::Watched;
use headwater_cluster::log::{
    ClusterLog, Deps, LogServer, Metrics, Nodes, Parts, Records, Uplink, UplinkMetrics, Uplinks,
};
use headwater_media::{MediaSequence, StreamName, WallTime};
use headwater_router::claim::{Lease, PeerReply, RegistryReply, RegistryRequest, Yield};
use headwater_router::{
    BoxFuture, Found, Holders, Job, JobId, Limits, NodeId, Queue, Record, RecordState, Registry, StreamLog, Unavailable,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::stage::{Board, HandClock, Stage};

/// The stage's node, as other nodes reach it.
pub(crate) struct Home {
    address: SocketAddr,
    clock: Arc<HandClock>,
    metrics: Arc<Metrics>,
    uplinks: UplinkMetrics,
    record: watch::Sender<Option<Watched>>,
}

impl Home {
    pub(crate) async fn start(stage: &Stage) -> Self {
        let metrics = Arc::new(Metrics::default());
        let uplinks = UplinkMetrics::new(&mut prometheus_client::registry::Registry::default());
        let clock = stage.clock.clone();
        let service = Uplinks::new(stage.log.clone(), stage.board.clone(), clock.clone(), uplinks.clone());
        let server = LogServer::new(Deps {
            log: stage.log.clone(),
            holders: Arc::new(NoHomes),
            clock: clock.clone(),
            metrics: metrics.clone(),
            uplinks: Some(service),
            tls: None,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server.run(listener, std::future::pending()));
        Self { address, clock, metrics, uplinks, record: watch::Sender::new(None) }
    }

    /// The session is in the registry: other nodes find it, if it is not over.
    pub(crate) fn record(&self, log: &StreamLog, state: RecordState) {
        let record = Record {
            epoch: log.state().borrow().epoch,
            session: log.session().id,
            home: NodeId("replaced by each node's way to it".to_owned()),
            state,
            reserved: MediaSequence(2),
            revision: 1,
            written: WallTime::default(),
            outline: None,
        };
        self.record.send_replace(Some(Watched { record: Some(record), home_lives: true }));
    }

    /// Another node.
    pub(crate) async fn node(&self) -> Node {
        let wire = Wire::lay(self.address).await;
        let view = Arc::new(View {
            node: NodeId(format!("{}~worker", wire.address)),
            home: NodeId(format!("{}~home", wire.address)),
            record: self.record.subscribe(),
        });
        let log = ClusterLog::new(Parts {
            limits: Limits::default(),
            clock: self.clock.clone(),
            registry: view.clone(),
            records: view,
            nodes: Arc::new(Nodes::new(self.clock.clone(), self.metrics.clone(), None)),
            uplink: Uplink::new(self.clock.clone(), self.uplinks.clone()),
            metrics: self.metrics.clone(),
        });
        Node { log: Arc::new(log), wire: wire.state }
    }
}

/// A node whose homes are elsewhere.
pub(crate) struct Node {
    pub(crate) log: Arc<ClusterLog>,
    pub(crate) wire: watch::Sender<Carries>,
}

/// The board as a node sees it whose process is stopped when its wire carries nothing.
pub(crate) struct Stoppable {
    pub(crate) board: Arc<Board>,
    pub(crate) carries: watch::Receiver<Carries>,
}

impl Stoppable {
    async fn goes_on(&self) {
        let _ = self.carries.clone().wait_for(|carries| *carries != Carries::Nothing).await;
    }
}

impl Queue for Stoppable {
    fn post(&self, job: Job) -> BoxFuture<'_, JobId> {
        self.board.post(job)
    }

    fn take(&self) -> BoxFuture<'_, (JobId, Job)> {
        Box::pin(async {
            self.goes_on().await;
            self.board.take().await
        })
    }

    fn release(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.goes_on().await;
            self.board.release(id).await;
        })
    }

    fn complete(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.goes_on().await;
            self.board.complete(id).await;
        })
    }

    fn withdraw(&self, id: JobId) -> BoxFuture<'_, ()> {
        self.board.withdraw(id)
    }

    fn waiting(&self) -> BoxFuture<'_, usize> {
        self.board.waiting()
    }
}

/// Nobody asks the stage to yield.
struct NoHomes;

impl Holders for NoHomes {
    fn asked<'a>(&'a self, _: &'a StreamName, _: Yield) -> BoxFuture<'a, Option<PeerReply>> {
        Box::pin(async { None })
    }
}

/// What a node sees of the registry.
struct View {
    node: NodeId,
    /// The stage's node, by this node's wire.
    home: NodeId,
    record: watch::Receiver<Option<Watched>>,
}

impl View {
    fn watched(&self) -> Watched {
        let watched = self.record.borrow().clone();
        let mut watched = watched.unwrap_or(Watched { record: None, home_lives: false });
        if let Some(record) = &mut watched.record {
            record.home = self.home.clone();
        }
        watched
    }
}

impl Records for View {
    fn watch(&self, _: &StreamName) -> watch::Receiver<Option<Watched>> {
        // Nobody else gets the stream while a test goes on.
        let (sender, receiver) = watch::channel(Some(self.watched()));
        tokio::spawn(async move { sender.closed().await });
        receiver
    }
}

impl Registry for View {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn lease(&self) -> watch::Receiver<Lease> {
        watch::Sender::new(Lease::for_ever()).subscribe()
    }

    fn request<'a>(&'a self, _: &'a StreamName, _: RegistryRequest) -> BoxFuture<'a, RegistryReply> {
        let Watched { record, home_lives } = self.watched();
        Box::pin(async move { RegistryReply::Record { record, home_lives } })
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Found>, Unavailable>> {
        Box::pin(async { Ok(Vec::new()) })
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
        // A wire stays where it is when nobody thinks of it any more.
        let (carries, kept) = (state.subscribe(), state.clone());
        tokio::spawn(async move {
            let _kept = kept;
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
