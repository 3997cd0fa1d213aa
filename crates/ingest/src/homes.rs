//! All homes of this node: who may publish, who has to wait, and when a session ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::{Clock, Epoch, SessionId, StreamName};
use headwater_router::{ClaimError, Log, NodeId, PublisherInfo, Queue, RecordState, Registry};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::home::Home;
use crate::metrics::Metrics;
use crate::{Deps, Settings, ladder};

/// A holder that sends no media for this long after a newcomer asked is taken over (architecture 5).
const TAKEOVER_SILENCE: Duration = Duration::from_secs(2);
/// An ended session stays readable for this long, so that every player sees EXT-X-ENDLIST.
const ENDED_KEPT: Duration = Duration::from_secs(60);

/// Why a publisher is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PublishError {
    /// Someone else publishes the stream and sends media.
    #[error("{stream} already has a publisher")]
    Taken {
        /// The stream.
        stream: StreamName,
    },
    /// The registry gave no answer.
    #[error("{stream} cannot be claimed now: {reason}")]
    Unavailable {
        /// The stream.
        stream: StreamName,
        /// What the registry said.
        reason: String,
    },
}

/// A publisher's hold on a stream; dropped without [`release`](Homes::release) it counts as lost.
#[derive(Debug)]
pub(crate) struct Hold {
    /// The home that takes the samples.
    pub(crate) home: Arc<Home>,
    /// The epoch of the hold.
    pub(crate) epoch: Epoch,
    /// What held when it was taken.
    settings: Arc<Settings>,
}

/// How a publisher left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// It said so (`FCUnpublish`, `deleteStream`): the session ends after a short grace.
    Clean,
    /// The connection was lost: the session waits for it to come back.
    Lost,
}

/// The homes of a node.
pub(crate) struct Homes {
    clock: Arc<dyn Clock>,
    registry: Arc<dyn Registry>,
    log: Arc<dyn Log>,
    queue: Arc<dyn Queue>,
    metrics: Arc<Metrics>,
    node: NodeId,
    homes: Mutex<HashMap<StreamName, Arc<Home>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Homes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Homes").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Homes {
    pub(crate) fn new(deps: Deps) -> Self {
        let Deps { clock, registry, log, queue, metrics } = deps;
        let node = NodeId(SessionId::from_random(random()).to_string());
        Self { clock, registry, log, queue, metrics, node, homes: Mutex::default(), tasks: Mutex::new(JoinSet::new()) }
    }

    fn homes(&self) -> MutexGuard<'_, HashMap<StreamName, Arc<Home>>> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Claims the stream for a publisher; `settings` are those of a new session. Waits up to 2 s when someone else seems
    /// to hold it.
    pub(crate) async fn publish(
        self: &Arc<Self>,
        stream: &StreamName,
        info: PublisherInfo,
        settings: Arc<Settings>,
    ) -> Result<Hold, PublishError> {
        let current = self.homes().get(stream).cloned();
        let mut takeover = None;
        if let Some(home) = current {
            let epoch = *home.epoch().borrow();
            if home.has_publisher() {
                let mut media = home.media();
                media.mark_unchanged();
                if timeout(TAKEOVER_SILENCE, media.changed()).await.is_ok() {
                    return Err(PublishError::Taken { stream: stream.clone() });
                }
                info!(%stream, session = %home.session(), "publisher silent for 2 s, taken over");
            }
            takeover = Some(epoch);
        }
        let fresh = SessionId::from_random(random());
        let claim = self.registry.claim(stream, &self.node, fresh, takeover).await.map_err(|error| match error {
            ClaimError::Held { .. } => PublishError::Taken { stream: stream.clone() },
            other => PublishError::Unavailable { stream: stream.clone(), reason: other.to_string() },
        })?;
        let epoch = claim.record.epoch;
        let (home, new) = {
            let mut homes = self.homes();
            match homes.get(stream).filter(|home| home.session() == claim.record.session) {
                Some(home) => (home.clone(), false),
                None => {
                    let home = Arc::new(Home::new(
                        stream.clone(),
                        claim.record.session,
                        settings.clone(),
                        self.log.clone(),
                        self.metrics.clone(),
                    ));
                    homes.insert(stream.clone(), home.clone());
                    (home, true)
                }
            }
        };
        home.begin(epoch, claim.record.reserved, info, self.clock.now(), self.clock.wall());
        if new {
            self.spawn(reserve(self.clone(), home.clone()));
            self.spawn(ladder::keep(settings.when, self.clock.clone(), self.queue.clone(), home.clone()));
        }
        Ok(Hold { home, epoch, settings })
    }

    /// Sends the stream's publisher away. `false` when there is none.
    pub(crate) fn kick(&self, stream: &StreamName) -> bool {
        self.homes().get(stream).is_some_and(|home| home.kick())
    }

    /// The publisher of `hold` is gone.
    pub(crate) fn release(self: &Arc<Self>, hold: &Hold, ending: Ending) {
        if !hold.home.end(hold.epoch) {
            return;
        }
        let (homes, home, epoch) = (self.clone(), hold.home.clone(), hold.epoch);
        let wait = match ending {
            Ending::Clean => hold.settings.end_grace,
            Ending::Lost => hold.settings.reconnect_window,
        };
        self.spawn(async move {
            let mut epochs = home.epoch();
            epochs.mark_unchanged();
            if *epochs.borrow() == epoch && timeout(wait, epochs.changed()).await.is_err() {
                homes.end(&home, epoch).await;
                sleep(ENDED_KEPT).await;
                home.close();
            }
        });
    }

    /// Ends a session whose publisher did not come back.
    async fn end(&self, home: &Arc<Home>, epoch: Epoch) {
        if let Err(lost) = self.registry.set_state(home.stream(), epoch, RecordState::Ended).await {
            warn!(stream = %home.stream(), session = %home.session(), %lost, "session not ended here");
            return;
        }
        {
            let mut homes = self.homes();
            if homes.get(home.stream()).is_some_and(|current| Arc::ptr_eq(current, home)) {
                homes.remove(home.stream());
            }
        }
        home.finish();
        home.complete().await;
        info!(stream = %home.stream(), session = %home.session(), "session ended");
    }

    /// The server stops: every session ends now.
    pub(crate) async fn shut_down(&self) {
        let homes: Vec<Arc<Home>> = self.homes().values().cloned().collect();
        for home in homes {
            let epoch = *home.epoch().borrow();
            self.end(&home, epoch).await;
        }
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// Keeps numbers reserved ahead of a home, one write in flight at a time, until its session is over.
async fn reserve(homes: Arc<Homes>, home: Arc<Home>) {
    let mut wanted = home.reserve();
    let mut epochs = home.epoch();
    loop {
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            changed = epochs.changed() => if changed.is_err() { return },
        }
        let (epoch, below) = (*epochs.borrow_and_update(), *wanted.borrow_and_update());
        match homes.registry.reserve(home.stream(), epoch, below).await {
            Ok(reserved) => home.acknowledge(reserved),
            Err(_) if homes.homes().get(home.stream()).is_some_and(|current| Arc::ptr_eq(current, &home)) => {}
            Err(_) => return,
        }
    }
}

fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    // Without the system's random source nothing else on this machine works either; a fixed id would still be served.
    if getrandom::fill(&mut bytes).is_err() {
        warn!("the system has no random numbers");
    }
    bytes
}
