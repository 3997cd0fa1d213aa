//! The ingest service: takes publishers over RTMP, decides who may publish, and is the home of their streams.
//!
//! What is on the wire is the `rtmp` and `flv` crates' affair, numbering and packaging the `segmenter`'s. This crate
//! waits: for bytes, for time, for a claim.

mod access;
mod addresses;
mod allowance;
mod audio;
mod connection;
mod fallback;
mod fetch;
mod home;
mod homes;
mod ladder;
mod lanes;
mod limits;
mod listen;
mod lockstep;
mod metrics;
mod proxy;
mod publisher;
mod rate;
mod renditions;
mod secret;
mod sound;
mod tls;
mod tracks;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Clock, StreamName};
use headwater_router::claim::{PeerReply, Waits, Yield};
use headwater_router::{BoxFuture, Holders, Ladder, Log, Peers, Queue, Registry};
use headwater_segmenter::Profile;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use access::Access;
pub use access::{
    AccessSettings, Claims, JwksSource, JwksSourceError, KeyHash, KeyHashError, KeyRule, StreamPattern, TokenSettings,
};
use addresses::Addresses;
use fetch::Client;
pub use fetch::{Endpoint, EndpointError};
use home::Asker;
use homes::Homes;
pub use ladder::When;
use lanes::Lanes;
pub use limits::PublishLimits;
pub use listen::Listeners;
use listen::{Newcomer, Unwelcome};
pub use metrics::{LATENCY_BUCKETS, Metrics};
pub use secret::Secret;
pub use tls::{Tls, TlsError};
use webhook::Webhook;
pub use webhook::{WebhookSettings, WhenDown};

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Latency profile of new sessions.
    pub profile: Profile,
    /// Gears of new sessions.
    pub ladder: Ladder,
    /// The ladders that the webhook can choose, by name.
    pub ladders: Vec<(String, Ladder)>,
    /// When gears are made.
    pub when: When,
    /// Gears of one job at most, so that several workers make those of one stream; 0: all of them.
    pub gears_per_job: usize,
    /// What becomes of a publisher's other video tracks.
    pub multitrack: Multitrack,
    /// Whether sound that only some players take is offered as it came, beside what is made of it for all.
    pub source_audio: bool,
    /// Segments that playlists list.
    pub window_segments: u32,
    /// How long a session waits for a publisher whose connection was lost.
    pub reconnect_window: Duration,
    /// How long it waits after a publisher said that it ends.
    pub end_grace: Duration,
    /// How long publishers have to go elsewhere when the service is to end.
    pub drain: Duration,
    /// Who may publish what.
    pub access: AccessSettings,
    /// What a publisher may send on average over ten seconds, in kbit/s; 0: any amount.
    pub kbps_max: u32,
    /// What each publisher and each address may do.
    pub limits: PublishLimits,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The certificate of RTMPS.
    pub tls: Option<Tls>,
    /// Open RTMP connections at most; further ones are told so and closed.
    pub connections_max: usize,
    /// What a publisher may make us hold, and what it must do in which time.
    pub rtmp: headwater_rtmp::ServerConfig,
}

/// What becomes of the tracks of a publisher that sends several videos.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Multitrack {
    /// The first is taken, the others are passed over.
    #[default]
    First,
    /// They are one picture in several sizes, and together the ladder: nothing is encoded.
    Ladder,
}

/// What the service needs.
#[derive(Clone)]
pub struct Deps {
    /// The process's clock.
    pub clock: Arc<dyn Clock>,
    /// Who holds which stream, and which node this is.
    pub registry: Arc<dyn Registry>,
    /// The way to homes on other nodes.
    pub peers: Arc<dyn Peers>,
    /// Where streams' logs are.
    pub log: Arc<dyn Log>,
    /// Where transcoding jobs go.
    pub queue: Arc<dyn Queue>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The service: what its connections share, and where the operator has a say while it runs.
pub struct Ingest {
    settings: watch::Sender<Arc<Settings>>,
    deps: Deps,
    homes: Arc<Homes>,
    access: Access,
    addresses: Arc<Addresses>,
    client: Arc<Client>,
    webhook: Webhook,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("homes", &self.homes).finish_non_exhaustive()
    }
}

/// Nobody publishes the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("nobody publishes it at this node")]
pub struct NoPublisher;

impl Ingest {
    /// Nothing is taken before [`run`].
    pub fn new(settings: Settings, deps: Deps) -> Self {
        let client = Arc::new(Client::default());
        Self {
            settings: watch::Sender::new(Arc::new(settings)),
            homes: Arc::new(Homes::new(deps.clone())),
            access: Access::default(),
            addresses: Arc::default(),
            webhook: Webhook::new(client.clone(), deps.metrics.clone()),
            client,
            deps,
        }
    }

    /// From now on these hold: for who may publish at once, for all else from the next connection or session on. Live
    /// streams go on as they are.
    pub fn reconfigure(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    /// Goes on with the sessions that an earlier process of this node has left, and from now on ends those that have no home
    /// any more. Before anybody publishes or plays.
    pub async fn resume(&self) {
        self.homes.resume(&self.settings()).await;
    }

    /// Sends the stream's publisher away. It is told why, and its session ends as if it had ended it.
    pub fn kick(&self, stream: &StreamName) -> Result<(), NoPublisher> {
        if self.homes.kick(stream) { Ok(()) } else { Err(NoPublisher) }
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }
}

impl Holders for Ingest {
    fn asked<'a>(&'a self, stream: &'a StreamName, asked: Yield) -> BoxFuture<'a, Option<PeerReply>> {
        Box::pin(self.homes.asked(Asker::Elsewhere, stream, asked))
    }
}

impl Settings {
    /// How long a session goes on without a publisher.
    fn waits(&self) -> Waits {
        Waits { reconnect: self.reconnect_window, clean_end: self.end_grace }
    }
}

/// What becomes of sessions when the server stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sessions {
    /// They end: players get EXT-X-ENDLIST.
    End,
    /// The next process here goes on with them, from what the registry has kept.
    Keep,
    /// Other nodes go on with them: their publishers are sent there, and this one tells all that it has.
    HandOver,
}

/// How far the service is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Stage {
    /// Publishers are taken.
    Serving,
    /// No more are taken; those that can are asked to connect again, elsewhere.
    Draining,
    /// All are sent away.
    Stopping,
}

/// Accepts publishers until `shutdown`, which says what becomes of sessions; then asks publishers to go elsewhere and waits
/// for that, for [`Settings::drain`] or until `at_once`; then tells those that are left and returns.
pub async fn run(
    listeners: Listeners,
    ingest: Arc<Ingest>,
    shutdown: impl Future<Output = Sessions>,
    at_once: impl Future<Output = ()>,
) {
    let metrics = ingest.deps.metrics.clone();
    let stage = watch::Sender::new(Stage::Serving);
    let lanes = Lanes::start();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut keys = std::pin::pin!(ingest.access.follow(ingest.settings.subscribe(), &ingest.client));
    let sessions = loop {
        tokio::select! {
            sessions = &mut shutdown => break sessions,
            // Ends only with the service.
            () = &mut keys => break Sessions::End,
            Some(_) = connections.join_next() => {
                metrics.connections.dec();
            }
            accepted = listeners.accept() => match accepted {
                Ok((socket, address, under)) => {
                    let limit = ingest.settings().connections_max;
                    let room = connections.len() < limit;
                    if !room {
                        metrics.refuse("too_many_connections");
                        metrics.over_limit("publishers");
                        warn!(%address, limit, "connection refused: too many");
                    }
                    if connections.len() >= limit.saturating_add(TOLD_MAX) {
                        continue;
                    }
                    metrics.connections.inc();
                    let welcome = if room { Ok(()) } else { Err(Unwelcome::TooMany { limit }) };
                    let newcomer = Newcomer { socket, address, under, welcome };
                    connections.spawn_on(listen::serve(newcomer, ingest.clone(), stage.subscribe()), &lanes.next());
                }
                Err(error) => {
                    warn!(%error, "accept failed");
                    // Out of file descriptors, most likely: without a pause this would be a busy loop.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    };
    ingest.homes.stopping(sessions);
    // Whoever comes now is refused, and looks for another server.
    drop(listeners);
    let drain = ingest.settings().drain;
    if !drain.is_zero() && !connections.is_empty() {
        info!(connections = connections.len(), seconds = drain.as_secs(), "draining");
        stage.send_replace(Stage::Draining);
        tokio::select! {
            () = all_gone(&mut connections, &metrics) => {}
            () = tokio::time::sleep(drain) => {}
            () = at_once => {}
        }
    }
    stage.send_replace(Stage::Stopping);
    all_gone(&mut connections, &metrics).await;
    tokio::join!(ingest.homes.shut_down(), ingest.webhook.finish());
    lanes.finish();
    info!("ingest stopped");
}

/// Ends with the last connection.
async fn all_gone(connections: &mut JoinSet<()>, metrics: &Metrics) {
    while connections.join_next().await.is_some() {
        metrics.connections.dec();
    }
}

/// Connections beyond the limit that are held until they were told why they are refused; more are closed at once.
const TOLD_MAX: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
