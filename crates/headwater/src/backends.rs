//! What the services share: in this process alone, or with the other nodes of a pool.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use headwater_cluster::etcd::{self, EtcdQueue, EtcdRegistry};
use headwater_cluster::log::{
    self as cluster_log, ClusterLog, LogServer, Nodes, Parts, Uplink, UplinkMetrics, Uplinks,
};
use headwater_cluster::{Tls, TlsFiles};
use headwater_media::{Clock, SessionId};
use headwater_router::embedded::{Alone, EmbeddedLog, EmbeddedQueue, EmbeddedRegistry};
use headwater_router::{Holders, Log, NodeId, Peers, Queue, Registry};
use prometheus_client::registry::Registry as Metrics;
use tokio::net::TcpListener;

use crate::config::{ClusterConfig, Config};
use crate::sockets::Sockets;

/// The router's traits, as the configuration wants them.
pub(crate) struct Backends {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) queue: Arc<dyn Queue>,
    /// `None` for a machine alone.
    pub(crate) pool: Option<Pool>,
}

/// This node's part in a pool.
pub(crate) struct Pool {
    listener: TcpListener,
    registry: Arc<EtcdRegistry>,
    tls: Option<Tls>,
    log: Arc<dyn Log>,
    uplinks: Uplinks,
    clock: Arc<dyn Clock>,
    metrics: Arc<cluster_log::Metrics>,
}

impl Backends {
    /// Opens the state folder, or registers this node with the others.
    pub(crate) async fn open(
        config: &Config,
        clock: &Arc<dyn Clock>,
        metrics: &mut Metrics,
        sockets: &mut Sockets,
    ) -> Result<Self> {
        match &config.cluster {
            Some(cluster) => Self::pool(config, cluster, clock, metrics, sockets).await,
            None => Self::alone(config, clock),
        }
    }

    fn alone(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self> {
        // Another one than every process before: what a record names is this process, or one that is gone.
        let node = NodeId(format!("here{}", SessionId::from_random(random())));
        let registry = match &config.state_dir {
            Some(folder) => EmbeddedRegistry::open(node, folder, clock.clone())?,
            None => EmbeddedRegistry::new(node),
        };
        Ok(Self {
            registry: Arc::new(registry),
            peers: Arc::new(Alone),
            log: Arc::new(EmbeddedLog::new(config.log_limits())),
            queue: Arc::new(EmbeddedQueue::default()),
            pool: None,
        })
    }

    async fn pool(
        config: &Config,
        cluster: &ClusterConfig,
        clock: &Arc<dyn Clock>,
        metrics: &mut Metrics,
        sockets: &mut Sockets,
    ) -> Result<Self> {
        let tls = cluster.tls.as_ref().map(|files| {
            let (ca, certificate, key) = (files.ca.clone(), files.certificate.clone(), files.key.clone());
            Tls::read(&TlsFiles { ca, certificate, key })
        });
        let tls = tls.transpose()?;
        let listener = sockets.listen("other nodes", cluster.listen)?;
        let address = advertised(cluster, listener.local_addr()?);
        let settings = etcd::Settings {
            endpoints: cluster.etcd.clone(),
            prefix: cluster.prefix.clone(),
            address,
            tls: tls.clone(),
        };
        let registry_metrics = Arc::new(etcd::Metrics::new(metrics));
        let registry = EtcdRegistry::connect(settings, random(), clock.clone(), registry_metrics).await;
        let registry = Arc::new(registry.context("cannot join the other nodes")?);
        tracing::info!(node = %registry.node().0, "one of several nodes");
        let log_metrics = Arc::new(cluster_log::Metrics::new(metrics));
        let uplink_metrics = UplinkMetrics::new(metrics);
        let nodes = Arc::new(Nodes::new(clock.clone(), log_metrics.clone(), tls.clone()));
        let log = ClusterLog::new(Parts {
            limits: config.log_limits(),
            clock: clock.clone(),
            registry: registry.clone(),
            records: registry.clone(),
            nodes: nodes.clone(),
            uplink: Uplink::new(clock.clone(), uplink_metrics.clone()),
            metrics: log_metrics.clone(),
        });
        let queue: Arc<dyn Queue> = Arc::new(EtcdQueue::new(&registry));
        let local = log.local();
        let pool = Pool {
            listener,
            tls,
            registry: registry.clone(),
            uplinks: Uplinks::new(local.clone(), queue.clone(), clock.clone(), uplink_metrics),
            log: local,
            clock: clock.clone(),
            metrics: log_metrics,
        };
        Ok(Self { registry, peers: nodes, log: Arc::new(log), queue, pool: Some(pool) })
    }
}

impl Pool {
    /// Serves the other nodes until `shutdown`, and then says to them that this one is gone.
    pub(crate) async fn serve(self, holders: Arc<dyn Holders>, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Self { listener, registry, tls, log, uplinks, clock, metrics } = self;
        let server = LogServer::new(cluster_log::Deps { log, holders, clock, metrics, uplinks: Some(uplinks), tls });
        let served = server.run(listener, shutdown).await;
        registry.leave().await;
        served.context("the service for other nodes failed")
    }
}

/// What other nodes are told.
fn advertised(cluster: &ClusterConfig, listening: SocketAddr) -> String {
    cluster.advertise.clone().unwrap_or_else(|| listening.to_string())
}

fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    if getrandom::fill(&mut bytes).is_err() {
        tracing::warn!("the system has no random numbers");
    }
    bytes
}
