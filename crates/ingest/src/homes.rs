//! All homes of this node: who may publish, who has to wait, and when a session ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::{Clock, Epoch, SessionId, StreamName};
use headwater_router::{ClaimError, Claims, Log, NodeId, PublisherInfo, Queue, RecordState};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::home::{GIVES_WAY_MAX, Home};
use crate::metrics::Metrics;
use crate::{Deps, Sessions, Settings, ladder};

/// A holder that sends no media for this long after a newcomer asked is taken over (architecture 5).
const TAKEOVER_SILENCE: Duration = Duration::from_secs(2);
/// An ended session stays readable for this long, so that every player sees EXT-X-ENDLIST.
const ENDED_KEPT: Duration = Duration::from_secs(60);
/// A registry that takes longer to write an end does not keep the end from players.
const END_WAIT: Duration = Duration::from_secs(2);

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
    /// The same, and publishers of higher priority have taken it over too often.
    #[error("{stream} has been taken over {GIVES_WAY_MAX} times within a minute and stays with its publisher for now")]
    Damped {
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
    registry: Arc<dyn Claims>,
    log: Arc<dyn Log>,
    queue: Arc<dyn Queue>,
    metrics: Arc<Metrics>,
    node: NodeId,
    homes: Mutex<HashMap<StreamName, Arc<Home>>>,
    tasks: Mutex<JoinSet<()>>,
    /// The server stops and another one will go on: no session ends.
    keeping: AtomicBool,
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
        Self {
            clock,
            registry,
            log,
            queue,
            metrics,
            node,
            homes: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
            keeping: AtomicBool::new(false),
        }
    }

    fn homes(&self) -> MutexGuard<'_, HashMap<StreamName, Arc<Home>>> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Goes on with the sessions that the registry has kept from an earlier process: their playlists stand still until
    /// their publishers are back, or the reconnect window is over. One that has not been written for that long is over.
    pub(crate) async fn resume(self: &Arc<Self>, settings: &Arc<Settings>) {
        for (stream, record) in self.registry.sessions().await {
            let written = record.written.unix_millis;
            let age = u64::try_from(self.clock.wall().unix_millis.saturating_sub(written)).unwrap_or(0);
            let recent = Duration::from_millis(age) < settings.reconnect_window;
            let home = record.outline.as_deref().filter(|_| recent).and_then(|outline| {
                let (log, metrics) = (self.log.clone(), self.metrics.clone());
                Home::resume(stream.clone(), &record, outline, settings.clone(), log, metrics)
            });
            let Some(home) = home.map(Arc::new) else {
                let ended = timeout(END_WAIT, self.registry.set_state(&stream, record.epoch, RecordState::Ended)).await;
                info!(%stream, session = %record.session, written = ended.is_ok(), "session of an earlier server is over");
                continue;
            };
            info!(%stream, session = %record.session, next = record.reserved.0, "session waits for its publisher");
            self.homes().insert(stream, home.clone());
            self.follow(&home, settings);
            self.end_unless_claimed(home, record.epoch, settings.reconnect_window);
        }
    }

    /// What goes on beside a home as long as its session lasts.
    fn follow(self: &Arc<Self>, home: &Arc<Home>, settings: &Settings) {
        self.spawn(reserve(self.clone(), home.clone()));
        self.spawn(ladder::keep(
            settings.when,
            settings.gears_per_job,
            self.clock.clone(),
            self.queue.clone(),
            home.clone(),
        ));
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
        let takeover = match current {
            Some(home) => Some(self.outlast(&home, info.priority).await?),
            None => None,
        };
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
            self.follow(&home, &settings);
        }
        Ok(Hold { home, epoch, settings })
    }

    /// Waits until a newcomer may have the stream (architecture 5): its publisher has left, gives way to a higher
    /// priority, or has sent no media for 2 s. Media that comes after the newcomer has asked proves it alive. Answers with
    /// the epoch that is to be taken over.
    async fn outlast(&self, home: &Home, priority: i32) -> Result<Epoch, PublishError> {
        let (mut media, mut published) = (home.media(), home.published());
        media.mark_unchanged();
        let epoch = *home.epoch().borrow();
        let (stream, session) = (home.stream(), home.session());
        let Some(holder) = home.priority() else { return Ok(epoch) };
        let is_higher = priority > holder;
        if is_higher && home.gives_way(self.clock.now()) {
            info!(%stream, %session, priority, holder, "publisher gives way to one of higher priority");
            return Ok(epoch);
        }
        tokio::select! {
            biased;
            _ = media.changed() => {
                let stream = stream.clone();
                Err(if is_higher { PublishError::Damped { stream } } else { PublishError::Taken { stream } })
            }
            _ = published.wait_for(|published| !published) => Ok(epoch),
            () = sleep(TAKEOVER_SILENCE) => {
                info!(%stream, %session, "publisher silent for 2 s, taken over");
                Ok(epoch)
            }
        }
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
        let wait = match ending {
            Ending::Clean => hold.settings.end_grace,
            Ending::Lost => hold.settings.reconnect_window,
        };
        self.end_unless_claimed(hold.home.clone(), hold.epoch, wait);
    }

    /// Ends a session when nobody has claimed it after this time.
    fn end_unless_claimed(self: &Arc<Self>, home: Arc<Home>, epoch: Epoch, wait: Duration) {
        if self.keeping.load(Ordering::Relaxed) {
            return;
        }
        let homes = self.clone();
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
        match timeout(END_WAIT, self.registry.set_state(home.stream(), epoch, RecordState::Ended)).await {
            Ok(Ok(())) => {}
            Ok(Err(lost)) => {
                warn!(stream = %home.stream(), session = %home.session(), %lost, "session not ended here");
                return;
            }
            Err(_) => warn!(stream = %home.stream(), session = %home.session(), "end of the session is not recorded"),
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

    /// The server is about to stop. With [`Sessions::Keep`] no session ends from now on.
    pub(crate) fn stopping(&self, sessions: Sessions) {
        self.keeping.store(sessions == Sessions::Keep, Ordering::Relaxed);
    }

    /// The server stops: every session ends now, unless they are kept.
    pub(crate) async fn shut_down(&self) {
        if !self.keeping.load(Ordering::Relaxed) {
            let homes: Vec<Arc<Home>> = self.homes().values().cloned().collect();
            for home in homes {
                let epoch = *home.epoch().borrow();
                self.end(&home, epoch).await;
            }
        }
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// Keeps numbers reserved ahead of a home, one write in flight at a time, until its session is over.
async fn reserve(homes: Arc<Homes>, home: Arc<Home>) {
    let mut wanted = home.reserve();
    // Its publisher may have sent something already.
    wanted.mark_changed();
    let mut epochs = home.epoch();
    loop {
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            changed = epochs.changed() => if changed.is_err() { return },
        }
        let epoch = *epochs.borrow_and_update();
        wanted.borrow_and_update();
        let (progress, newest) = home.progress();
        match homes.registry.reserve(home.stream(), epoch, progress).await {
            Ok(reserved) => home.acknowledge(reserved, newest),
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

#[cfg(test)]
mod tests;
