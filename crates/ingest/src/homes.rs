//! All homes of this node: who may publish, who has to wait, and what becomes of sessions.

mod claim;
mod drive;
mod endings;
mod fetch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::captions::Channels;
use headwater_media::{SessionId, StreamName};
use headwater_router::claim::{Base, Claimed, Denied, PeerReply, RegistryReply, RegistryRequest, Stop, Yield};
use headwater_router::{Outline, PublisherInfo, Record, Session, SessionState, State, StreamLog};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use self::claim::Claims;
use crate::home::{Asker, Home};
use crate::{Deps, Sessions, Settings, ladder};

/// An ended session stays readable for this long, so that every player sees EXT-X-ENDLIST.
const ENDED_KEPT: Duration = Duration::from_secs(60);
/// A stopping server waits no longer than this for the registry to have the ends of all sessions.
const END_WAIT: Duration = Duration::from_secs(2);
/// Nor longer than this for other nodes to take its sessions over, and what they want of them.
const HAND_OVER_WAIT: Duration = Duration::from_secs(5);

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
    #[error("{stream} has been taken over 3 times within a minute and stays with its publisher for now")]
    Damped {
        /// The stream.
        stream: StreamName,
    },
    /// The registry gave no answer, or the home did not.
    #[error("{stream} cannot be claimed now: {reason}")]
    Unavailable {
        /// The stream.
        stream: StreamName,
        /// What is wrong.
        reason: Denied,
    },
}

/// A publisher's hold on a stream; dropped without [`release`](Homes::release) it counts as silent.
#[derive(Debug)]
pub(crate) struct Hold {
    /// The home that takes the samples.
    pub(crate) home: Arc<Home>,
    /// The publisher's number there.
    pub(crate) seat: u64,
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
    deps: Arc<Deps>,
    homes: Mutex<HashMap<StreamName, Arc<Home>>>,
    claims: Claims,
    /// What is here of sessions that have no home here.
    standing: Mutex<HashMap<StreamName, Arc<StreamLog>>>,
    tasks: Mutex<JoinSet<()>>,
    /// What becomes of sessions, once the service is to stop.
    stopping: watch::Sender<Option<Sessions>>,
}

impl std::fmt::Debug for Homes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Homes").field("node", self.deps.registry.node()).finish_non_exhaustive()
    }
}

impl Homes {
    pub(crate) fn new(deps: Deps) -> Self {
        Self {
            deps: Arc::new(deps),
            homes: Mutex::default(),
            claims: Claims::default(),
            standing: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
            stopping: watch::Sender::new(None),
        }
    }

    fn homes(&self) -> MutexGuard<'_, HashMap<StreamName, Arc<Home>>> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn home(&self, stream: &StreamName) -> Option<Arc<Home>> {
        self.homes().get(stream).cloned()
    }

    fn standing(&self) -> MutexGuard<'_, HashMap<StreamName, Arc<StreamLog>>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Gets the stream for a publisher; `settings` are those of a new session. Waits as long as it takes to find out whether
    /// who seems to hold it is alive, 10 s at most.
    pub(crate) async fn publish(
        self: &Arc<Self>,
        stream: &StreamName,
        info: PublisherInfo,
        settings: Arc<Settings>,
    ) -> Result<Hold, PublishError> {
        let place = self.claims.enter(stream);
        let before = place.won();
        let _turn = place.turn().await;
        if let Some(home) = self.home(stream) {
            if self.is_held(&home).await.map_err(|denied| self.refusal(stream, info.priority, denied))?
                && let Some(seat) = home.join(info.clone())
            {
                place.win();
                return Ok(Hold { home, seat });
            }
            // Somebody else who had waited has it now, and is alive.
            if place.won() != before && home.priority().is_some_and(|priority| priority >= info.priority) {
                return Err(PublishError::Taken { stream: stream.clone() });
            }
        }
        let priority = info.priority;
        let won = place.claim(self, stream, priority).await;
        let (claimed, claim) = won.map_err(|denied| self.refusal(stream, priority, denied))?;
        let hold = self.take(stream, info, settings, &claimed);
        drop(claim);
        place.win();
        Ok(hold)
    }

    /// Whether a home without a publisher has the stream still. Another one may have taken it over without a word, when this
    /// node could not be reached.
    async fn is_held(&self, home: &Home) -> Result<bool, Denied> {
        let Some(epoch) = home.epoch().filter(|_| home.priority().is_none()) else { return Ok(true) };
        match self.deps.registry.request(home.stream(), RegistryRequest::Read).await {
            RegistryReply::Record { record, .. } => {
                let current = record.as_ref().map(|record| record.epoch).unwrap_or_default();
                let held = record.is_some_and(|record| record.home == *self.deps.registry.node()) && current == epoch;
                if !held {
                    home.forget(Stop::Overtaken { current });
                }
                Ok(held)
            }
            _ => Err(Denied::Unavailable),
        }
    }

    fn refusal(&self, stream: &StreamName, priority: i32, denied: Denied) -> PublishError {
        let stream = stream.clone();
        match denied {
            Denied::Held { .. } => {
                let held = self.home(&stream).and_then(|home| home.priority());
                match held {
                    Some(held) if priority > held => PublishError::Damped { stream },
                    _ => PublishError::Taken { stream },
                }
            }
            reason => PublishError::Unavailable { stream, reason },
        }
    }

    /// Makes this node the stream's home, as it was claimed.
    fn take(
        self: &Arc<Self>,
        stream: &StreamName,
        info: PublisherInfo,
        settings: Arc<Settings>,
        claimed: &Claimed,
    ) -> Hold {
        let record = &claimed.record;
        if record.outline.is_some() {
            let (epoch, first) = (record.epoch.0, claimed.first().0);
            let sealed = matches!(claimed.base, Base::Sealed(_));
            info!(%stream, session = %record.session, epoch, first, sealed, "session goes on with another publisher");
        }
        if let Some(home) = self.home(stream).filter(|home| home.session() == record.session)
            && let Some(seat) = home.begin(claimed, info.clone())
        {
            self.fetch(&home);
            return Hold { home, seat };
        }
        let home = Arc::new(match &record.outline {
            Some(outline) => Home::of(self.open(stream, record, outline), outline, settings.clone(), self.deps.clone()),
            None => Home::new(stream.clone(), record.session, settings.clone(), self.deps.clone()),
        });
        let seat = home.begin(claimed, info).unwrap_or_default();
        self.standing().remove(stream);
        // One of a session before, that gave the stream up.
        if let Some(before) = self.homes().insert(stream.clone(), home.clone()) {
            before.forget(Stop::Overtaken { current: record.epoch });
        }
        self.spawn(self.clone().live(home.clone()));
        let Deps { clock, queue, .. } = &*self.deps;
        let per_job = settings.gears_per_job;
        self.spawn(ladder::keep(settings.when, per_job, clock.clone(), queue.clone(), home.clone()));
        self.fetch(&home);
        Hold { home, seat }
    }

    /// Gets what the home before has that this one lacks, if there is such a thing.
    fn fetch(&self, home: &Arc<Home>) {
        if let Some(answer) = home.fetching() {
            self.spawn(fetch::fetch(self.deps.clone(), home.clone(), answer));
        }
    }

    /// The log of a session that another home began.
    fn open(&self, stream: &StreamName, record: &Record, outline: &Outline) -> Arc<StreamLog> {
        self.deps.log.open(SessionState {
            session: Arc::new(Session {
                stream: stream.clone(),
                id: record.session,
                grid: outline.grid,
                window_segments: outline.window_segments,
                since: outline.since,
            }),
            epoch: record.epoch,
            state: State::Waiting,
            publisher: None,
            renditions: outline.renditions(),
            captions: Channels::default(),
        })
    }

    /// Sees to a home as long as it holds its stream, and to what is left of it.
    async fn live(self: Arc<Self>, home: Arc<Home>) {
        let stop = drive::drive(&home, &self.deps, self.stopping.subscribe()).await;
        {
            let mut homes = self.homes();
            if homes.get(home.stream()).is_some_and(|current| Arc::ptr_eq(current, &home)) {
                homes.remove(home.stream());
            }
        }
        let Some(log) = home.log() else { return };
        if stop == Stop::Ended {
            home.complete().await;
            info!(stream = %home.stream(), session = %home.session(), "session ended");
            sleep(ENDED_KEPT).await;
        } else {
            self.standing().insert(home.stream().clone(), log.clone());
        }
        self.deps.log.close(&log);
    }

    /// Sends the stream's publisher away. `false` when there is none.
    pub(crate) fn kick(&self, stream: &StreamName) -> bool {
        self.home(stream).is_some_and(|home| home.kick())
    }

    /// The publisher of `hold` is gone.
    pub(crate) fn release(&self, hold: &Hold, ending: Ending) {
        if hold.home.leave(hold.seat, ending == Ending::Clean) && self.hands_over() {
            hold.home.hand_over();
        }
    }

    /// A newcomer asks for a stream. Waits until its home has decided; `None` when nothing is to be answered.
    pub(crate) async fn asked(&self, asker: Asker, stream: &StreamName, asked: Yield) -> Option<PeerReply> {
        // Before looking for the home, which may come meanwhile.
        let is_unsure = self.claims.may_have_won(stream, asked.epoch);
        let home = self.home(stream).filter(|home| home.epoch().is_some_and(|epoch| epoch >= asked.epoch));
        let Some(home) = home else { return (!is_unsure).then_some(PeerReply::NotHeld) };
        if self.hands_over() {
            home.hand_over();
        }
        match home.ask(asker, asked) {
            Some(answered) => answered.await.ok(),
            None => Some(PeerReply::NotHeld),
        }
    }

    fn hands_over(&self) -> bool {
        *self.stopping.borrow() == Some(Sessions::HandOver)
    }

    /// The server is about to stop. Only with [`Sessions::End`] does a session end from now on.
    pub(crate) fn stopping(&self, sessions: Sessions) {
        self.stopping.send_replace(Some(sessions));
    }

    /// The server stops: every session ends now, or is taken over by others, or stays as it is.
    pub(crate) async fn shut_down(&self) {
        let homes: Vec<Arc<Home>> = self.homes().values().cloned().collect();
        let sessions = self.stopping.borrow().unwrap_or(Sessions::End);
        let (act, wait): (fn(&Home), _) = match sessions {
            Sessions::End => (Home::finish, END_WAIT),
            Sessions::HandOver => (Home::hand_over, HAND_OVER_WAIT),
            Sessions::Keep => (|_| (), Duration::ZERO),
        };
        homes.iter().for_each(|home| act(home));
        let until = Instant::now() + wait;
        for home in homes.iter().filter(|_| sessions != Sessions::Keep) {
            let stopped = timeout_at(until, home.stopped()).await;
            match (sessions, stopped) {
                (Sessions::End, Ok(_)) => home.complete().await,
                (Sessions::End, Err(_)) => {
                    warn!(stream = %home.stream(), session = %home.session(), "end of the session is not recorded");
                }
                _ => {}
            }
        }
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

fn random_session() -> SessionId {
    let mut bytes = [0; 10];
    // Without the system's random source nothing else on this machine works either; a fixed id would still be served.
    if getrandom::fill(&mut bytes).is_err() {
        warn!("the system has no random numbers");
    }
    SessionId::from_random(bytes)
}

#[cfg(test)]
mod tests;
