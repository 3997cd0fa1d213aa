//! One session whose home is elsewhere: the task that keeps its log here in step (architecture 5 and 8).
//!
//! ```text
//!  the stream's record --> home --> subscription --> snapshot, then news --> StreamLog, which edges and workers read
//!          ^                             |  lost: try again, later and later; the playlist stands still
//!          +---- another home, later epoch: there; ended: what the record says, when the home does not
//! ```

mod course;
mod following;
mod wishing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::{Instant, SessionId, StreamName};
use headwater_router::{NodeId, State, StreamLog};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;
use tracing::{debug, warn};

use super::cluster_log::Shared;
use super::nodes::address;
use course::{Course, Next};
use following::{Following, Stopped};

/// The pause before a lost home is tried again, and the longest.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How far a replica is.
#[derive(Clone, Debug)]
pub(super) enum Ready {
    /// Its home has not been heard yet.
    Pending,
    /// It has a log.
    There(Arc<StreamLog>),
    /// There is no such session, or nobody follows it any more.
    Gone,
}

/// What replica and task know of each other.
#[derive(Debug)]
struct Link {
    stream: StreamName,
    session: SessionId,
    ready: watch::Sender<Ready>,
    /// The home that was heard last.
    home: Mutex<Option<NodeId>>,
    /// When somebody looked for it last.
    used_nanos: AtomicU64,
}

impl Link {
    fn home(&self) -> MutexGuard<'_, Option<NodeId>> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> Option<Arc<StreamLog>> {
        match &*self.ready.borrow() {
            Ready::There(log) => Some(log.clone()),
            Ready::Pending | Ready::Gone => None,
        }
    }

    fn has_ended(&self) -> bool {
        self.log().is_some_and(|log| log.state().borrow().state == State::Ended)
    }
}

/// A replica, as its node knows it. Its task ends with it.
#[derive(Debug)]
pub(super) struct Replica {
    link: Arc<Link>,
    task: JoinHandle<()>,
}

impl Replica {
    /// Begins to follow `session`; `log` is what is here of it already.
    pub(super) fn start(
        shared: &Arc<Shared>,
        stream: StreamName,
        session: SessionId,
        log: Option<Arc<StreamLog>>,
    ) -> Self {
        let ready = watch::Sender::new(log.map_or(Ready::Pending, Ready::There));
        let used_nanos = AtomicU64::new(shared.clock.now().as_nanos());
        let link = Arc::new(Link { stream, session, ready, home: Mutex::default(), used_nanos });
        let task = shared.runtime.spawn(run(shared.clone(), link.clone()));
        Self { link, task }
    }

    pub(super) fn session(&self) -> SessionId {
        self.link.session
    }

    /// The home that was heard last.
    pub(super) fn home(&self) -> Option<NodeId> {
        self.link.home().clone()
    }

    pub(super) fn ready(&self) -> watch::Receiver<Ready> {
        self.link.ready.subscribe()
    }

    pub(super) fn log(&self) -> Option<Arc<StreamLog>> {
        self.link.log()
    }

    /// Somebody looks for it.
    pub(super) fn touch(&self, now: Instant) {
        self.link.used_nanos.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(shared: Arc<Shared>, link: Arc<Link>) {
    let _counted = Counted::new(shared.clone());
    let mut course = Course::new(shared.clone(), link.clone());
    let mut following = Following::new(shared.clone(), link.clone());
    let mut pause = RETRY;
    let why = loop {
        let (home, epoch) = match course.next() {
            Next::Leave(why) => break why,
            Next::Wait => {
                course.changed(&Next::Wait, None).await;
                continue;
            }
            Next::Follow(home, epoch) => (home, epoch),
        };
        let current = Next::Follow(home.clone(), epoch);
        let stopped = tokio::select! {
            stopped = following.follow(&home, epoch) => stopped,
            () = course.changed(&current, None) => {
                pause = RETRY;
                continue;
            }
        };
        let heard = following.was_heard();
        match stopped {
            Stopped::Taken => return debug!(stream = %link.stream, "this node is the session's home now"),
            Stopped::TooMuch => break "it is too large",
            Stopped::Unknown(_) if link.log().is_none() => break "its home does not have it",
            Stopped::Unknown(status) | Stopped::Lost(status) => {
                shared.metrics.reconnects.inc();
                lost(&link.stream, &home, &status, heard);
            }
        }
        course.lost();
        // A home that was heard is tried again at once.
        pause = if heard { RETRY } else { (pause * 2).min(RETRY_MAX) };
        course.changed(&current, Some(pause)).await;
    };
    debug!(stream = %link.stream, session = %link.session, why, "replica dropped");
    if let Some(log) = link.log().filter(|_| !link.has_ended()) {
        log.retire();
    }
    link.ready.send_replace(Ready::Gone);
    shared.left(&link.stream, link.session);
}

/// A home that stays away is nothing to warn of again and again.
fn lost(stream: &StreamName, home: &NodeId, status: &Status, heard: bool) {
    let (home, status) = (address(home), status.message());
    if heard {
        warn!(%stream, home, status, "the way to the session's home is lost");
    } else {
        debug!(%stream, home, status, "the session's home cannot be followed");
    }
}

/// Counts a task, also one that is aborted.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: Arc<Shared>) -> Self {
        shared.metrics.replicas.inc();
        Self(shared)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.replicas.dec();
    }
}
