//! The ingest service: takes publishers over RTMP, decides who may publish, and is the home of their streams.
//!
//! What is on the wire is the `rtmp` and `flv` crates' affair, numbering and packaging the `segmenter`'s. This crate
//! waits: for bytes, for time, for a claim.

mod access;
mod audio;
mod connection;
mod fallback;
mod home;
mod homes;
mod ladder;
mod metrics;
mod publisher;
mod rate;

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Clock, StreamKey, StreamName};
use headwater_router::{Ladder, Log, Queue, Registry};
use headwater_segmenter::Profile;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use homes::Homes;
pub use ladder::When;
pub use metrics::{LATENCY_BUCKETS, Metrics};

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Latency profile of new sessions.
    pub profile: Profile,
    /// Gears of new sessions.
    pub ladder: Ladder,
    /// When gears are made.
    pub when: When,
    /// Segments that playlists list.
    pub window_segments: u32,
    /// How long a session waits for a publisher whose connection was lost.
    pub reconnect_window: Duration,
    /// How long it waits after a publisher said that it ends.
    pub end_grace: Duration,
    /// Who may publish what. Empty: everyone everything, which is for loopback only.
    pub keys: Vec<(StreamName, StreamKey)>,
    /// Open RTMP connections at most; further ones are closed at once.
    pub connections_max: usize,
    /// What a publisher may make us hold, and what it must do in which time.
    pub rtmp: headwater_rtmp::ServerConfig,
}

/// What the service needs.
#[derive(Clone)]
pub struct Deps {
    /// The process's clock.
    pub clock: Arc<dyn Clock>,
    /// Claims.
    pub registry: Arc<dyn Registry>,
    /// Where streams' logs are.
    pub log: Arc<dyn Log>,
    /// Where transcoding jobs go.
    pub queue: Arc<dyn Queue>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Accepts publishers until `shutdown`; then tells them, ends all sessions and returns.
pub async fn run(listener: TcpListener, settings: Settings, deps: Deps, shutdown: impl Future<Output = ()>) {
    let settings = Arc::new(settings);
    let homes = Arc::new(Homes::new(settings.clone(), deps.clone()));
    let stop = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {
                deps.metrics.connections.dec();
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) if connections.len() < settings.connections_max => {
                    deps.metrics.connections.inc();
                    let connection = connection::Connection::new(
                        address,
                        settings.clone(),
                        deps.clone(),
                        homes.clone(),
                        stop.subscribe(),
                    );
                    connections.spawn(connection.run(socket));
                }
                Ok((_, address)) => {
                    deps.metrics.refuse("too_many_connections");
                    deps.metrics.over_limit("publishers");
                    warn!(%address, limit = settings.connections_max, "connection refused: too many");
                }
                Err(error) => {
                    warn!(%error, "accept failed");
                    // Out of file descriptors, most likely: without a pause this would be a busy loop.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
    homes.shut_down().await;
    info!("ingest stopped");
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
