//! The edge: serves playlists, parts and segments over HTTP, and holds requests until what they ask for is there.
//!
//! What a playlist says and what a request should get is decided in `hls`; this crate subscribes, waits, and knows HTTP.
//! It only forwards bytes: a part is rendered into the playlist once, whatever the number of viewers (architecture 9).

mod body;
mod connection;
mod live;
mod master;
mod metrics;
mod poster;
mod range;
mod response;
mod routes;
mod trick_play;
mod version;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::{Clock, RenditionName, SessionId, StreamName};
use headwater_router::{Log, Posters, StreamLog};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use live::{Followed, Live};
pub use metrics::Metrics;

/// What the operator decides.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether playlists name the next part (EXT-X-PRELOAD-HINT).
    pub preload_hints: bool,
    /// Requests that may be held at once; further ones get 503.
    pub waiting_max: usize,
    /// Open connections; further ones are closed at once.
    pub connections_max: usize,
}

/// A file of the built-in pages.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its bytes.
    pub data: Cow<'static, [u8]>,
    /// Its media type.
    pub mime: String,
}

/// Finds a file of the built-in pages: `index.html`, `watch.html`, `assets/...`.
pub type Assets = fn(&str) -> Option<Asset>;

/// What the service needs.
#[derive(Clone)]
pub struct Deps {
    /// The process's clock.
    pub clock: Arc<dyn Clock>,
    /// Where streams' logs are.
    pub log: Arc<dyn Log>,
    /// Who makes posters hears of it here.
    pub posters: Arc<Posters>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The built-in pages.
    pub assets: Assets,
}

type Key = (StreamName, SessionId, RenditionName);

/// The edge's state: one subscription per rendition that is in use.
pub struct Edge {
    settings: Settings,
    deps: Deps,
    live: Mutex<HashMap<Key, Arc<Live>>>,
    followers: Mutex<JoinSet<()>>,
    waiting: AtomicUsize,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Edge {
    /// An edge without subscriptions.
    pub fn new(settings: Settings, deps: Deps) -> Self {
        Self {
            settings,
            deps,
            live: Mutex::default(),
            followers: Mutex::new(JoinSet::new()),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Players of a rendition: playlist requests that are held, of which a low-latency player always has one.
    pub fn readers(&self, stream: &StreamName, rendition: &RenditionName) -> usize {
        let live = self.live();
        live.iter().filter(|((of, _, name), _)| of == stream && name == rendition).map(|(_, live)| live.waiting()).sum()
    }

    fn live(&self) -> MutexGuard<'_, HashMap<Key, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subscription to a rendition of the session that `log` holds; made at its first use. `None` when the session
    /// has no such rendition.
    fn subscribe(self: &Arc<Self>, log: &Arc<StreamLog>, rendition: &RenditionName) -> Option<Arc<Live>> {
        let session = log.session();
        let key = (session.stream.clone(), session.id, rendition.clone());
        let mut all = self.live();
        if let Some(live) = all.get(&key).filter(|live| !live.is_retired() && live.is_of(log)) {
            return Some(live.clone());
        }
        let reader = log.read_parts(rendition)?;
        let live = Arc::new(Live::new(log, rendition, self.settings.preload_hints));
        all.insert(key.clone(), live.clone());
        drop(all);
        let (edge, following) = (self.clone(), live.clone());
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        while followers.try_join_next().is_some() {}
        followers.spawn(async move {
            if following.follow(reader, &edge.deps.metrics).await == Followed::ToTheEnd {
                // As long as the session's log is kept, the ended playlist can be asked for.
                tokio::time::sleep(ENDED_KEPT).await;
            }
            let mut all = edge.live();
            if all.get(&key).is_some_and(|current| Arc::ptr_eq(current, &following)) {
                all.remove(&key);
            }
        });
        Some(live)
    }

    /// Room for one more held request, if there is; given back when the guard is dropped.
    fn hold(self: &Arc<Self>) -> Option<Hold> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let hold = Hold(self.clone());
        self.deps.metrics.waiting.inc();
        (before < self.settings.waiting_max).then_some(hold)
    }
}

/// One held request.
struct Hold(Arc<Edge>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.deps.metrics.waiting.dec();
    }
}

/// An ended session's playlists are served for this long.
const ENDED_KEPT: Duration = Duration::from_secs(60);
/// After the end of all streams: time for players to fetch the last parts, which the last playlists have just listed.
const LINGER: Duration = Duration::from_millis(800);
/// Out of file descriptors, most likely: without a pause, accepting would be a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`; then lets players fetch what the last playlists list, and returns.
pub async fn run(listener: TcpListener, edge: Arc<Edge>, shutdown: impl Future<Output = ()>) {
    let stop = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    accept(&listener, &edge, &stop, &mut connections, shutdown).await;
    if !connections.is_empty() {
        accept(&listener, &edge, &stop, &mut connections, tokio::time::sleep(LINGER)).await;
    }
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
    edge.followers.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    info!("edge stopped");
}

/// Takes connections until `end`.
async fn accept(
    listener: &TcpListener,
    edge: &Arc<Edge>,
    stop: &watch::Sender<bool>,
    connections: &mut JoinSet<()>,
    end: impl Future<Output = ()>,
) {
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return,
            Some(_) = connections.join_next() => {
                edge.deps.metrics.connections.dec();
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) if connections.len() < edge.settings.connections_max => {
                    edge.deps.metrics.connections.inc();
                    connections.spawn(connection::serve(socket, edge.clone(), stop.subscribe()));
                }
                Ok((_, address)) => {
                    warn!(%address, limit = edge.settings.connections_max, "connection refused: too many");
                }
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}
