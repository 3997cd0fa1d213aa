//! The logs of a node in a cluster: those of its homes, and replicas of homes elsewhere, made when somebody asks.

mod listing;
mod lookups;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::{Clock, SessionId, StreamName};
use headwater_router::claim::{RegistryReply, RegistryRequest};
use headwater_router::{
    BoxFuture, Job, JobId, Limits, LocalWriter, Log, NoWriter, NodeId, Record, RecordState, Registry, SessionState,
    State, StreamLog, Writer,
};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::warn;

use super::metrics::Metrics;
use super::nodes::{Nodes, address};
use super::records::Records;
use super::replica::{Ready, Replica};
use super::uplink::Uplink;
use listing::Listing;
use lookups::Lookups;

/// Sessions of a stream whose logs are here. Whoever publishes and ends faster than players read takes the oldest away.
const SESSIONS_MAX: usize = 3;
/// Streams with homes elsewhere that are followed at once.
const REPLICAS_MAX: usize = 10_000;
/// A stream whose home is not heard within this time is not found.
const FIND_WITHIN: Duration = Duration::from_secs(2);

/// What a node's logs need.
pub struct Parts {
    /// Bounds of each log.
    pub limits: Limits,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
    /// Who has a stream, when it is asked for.
    pub registry: Arc<dyn Registry>,
    /// The same of streams that are followed.
    pub records: Arc<dyn Records>,
    /// The way to other nodes.
    pub nodes: Arc<Nodes>,
    /// The way of what is made here to homes elsewhere.
    pub uplink: Uplink,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// A node's logs.
#[derive(Clone, Debug)]
pub struct ClusterLog {
    shared: Arc<Shared>,
}

/// What is shared with the replicas' tasks.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) node: NodeId,
    pub(super) records: Arc<dyn Records>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) metrics: Arc<Metrics>,
    /// Replicas run where the node's logs were made, whoever asks for them: publishers have runtimes of their own.
    pub(super) runtime: Handle,
    uplink: Uplink,
    registry: Arc<dyn Registry>,
    /// Of each stream its sessions, at most [`SESSIONS_MAX`]: in front those that were old when they were asked for, the
    /// newest last.
    streams: Mutex<HashMap<StreamName, Vec<Held>>>,
    lookups: Lookups,
    listing: Listing,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A session's log.
enum Held {
    /// This node is its home.
    Home(Arc<StreamLog>),
    /// Another one is.
    Replica(Replica),
    /// Another one is, or none: when it was asked for, the stream's session was another one already. Players ask for it that
    /// were away, and who makes names up.
    Old(Replica),
}

impl Held {
    fn session(&self) -> SessionId {
        match self {
            Self::Home(log) => log.session().id,
            Self::Replica(replica) | Self::Old(replica) => replica.session(),
        }
    }

    fn log(&self) -> Option<Arc<StreamLog>> {
        match self {
            Self::Home(log) => Some(log.clone()),
            Self::Replica(replica) | Self::Old(replica) => replica.log(),
        }
    }

    fn has_ended(&self) -> bool {
        self.log().is_some_and(|log| log.state().borrow().state == State::Ended)
    }

    fn found(&self, shared: &Shared) -> Found {
        match self {
            Self::Home(log) => Found::Log(log.clone()),
            Self::Replica(replica) | Self::Old(replica) => {
                replica.touch(shared.clock.now());
                Found::Coming(replica.ready())
            }
        }
    }
}

/// What was found here.
enum Found {
    Log(Arc<StreamLog>),
    /// The home has perhaps not been heard yet.
    Coming(tokio::sync::watch::Receiver<Ready>),
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, HashMap<StreamName, Vec<Held>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replica's task is over.
    pub(super) fn left(&self, stream: &StreamName, session: SessionId) {
        let mut streams = self.streams();
        let Some(held) = streams.get_mut(stream) else { return };
        held.retain(|held| matches!(held, Held::Home(_)) || held.session() != session);
        if held.is_empty() {
            streams.remove(stream);
        }
    }

    /// One session; or the newest, if it has not ended.
    fn here(&self, stream: &StreamName, session: Option<SessionId>) -> Option<Found> {
        let streams = self.streams();
        let held = streams.get(stream)?;
        let found = match session {
            Some(session) => held.iter().find(|held| held.session() == session),
            None => newest(held).filter(|held| !held.has_ended()),
        };
        found.map(|found| found.found(self))
    }

    /// The home that a replica follows.
    fn home_of(&self, stream: &StreamName, session: SessionId) -> Option<NodeId> {
        self.streams().get(stream)?.iter().find_map(|held| match held {
            Held::Replica(replica) | Held::Old(replica) if replica.session() == session => replica.home(),
            _ => None,
        })
    }

    /// Follows a session; `is_old`: it is not the stream's.
    fn follow(self: &Arc<Self>, stream: &StreamName, session: SessionId, is_old: bool) -> Option<Found> {
        let mut streams = self.streams();
        if streams.len() >= REPLICAS_MAX && !streams.contains_key(stream) {
            warn!(%stream, limit = REPLICAS_MAX, "stream not followed: too many");
            return None;
        }
        let held = streams.entry(stream.clone()).or_default();
        if let Some(known) = held.iter().find(|held| held.session() == session) {
            return Some(known.found(self));
        }
        let replica = Replica::start(self, stream.clone(), session, None);
        let replica = if is_old { Held::Old(replica) } else { Held::Replica(replica) };
        let found = replica.found(self);
        push(held, replica);
        Some(found)
    }
}

/// The stream's session, as far as it is known here.
fn newest(held: &[Held]) -> Option<&Held> {
    held.last().filter(|held| !matches!(held, Held::Old(_)))
}

/// Puts it in its place. Where there are too many, an old one goes; one that is the stream's only when there is no other.
fn push(held: &mut Vec<Held>, new: Held) {
    if held.len() >= SESSIONS_MAX {
        let goes = held.remove(0);
        // Who reads it looks for it again.
        if let Some(log) = goes.log().filter(|log| log.is_replica() && log.state().borrow().state != State::Ended) {
            log.retire();
        }
    }
    match new {
        Held::Old(_) => held.insert(0, new),
        Held::Home(_) | Held::Replica(_) => held.push(new),
    }
}

impl ClusterLog {
    /// No logs yet. In a runtime, which will run the replicas.
    pub fn new(parts: Parts) -> Self {
        let Parts { limits, clock, registry, records, nodes, uplink, metrics } = parts;
        let node = registry.node().clone();
        let (lookups, listing) = (Lookups::new(clock.clone()), Listing::new(clock.clone()));
        let (streams, runtime) = (Mutex::default(), Handle::current());
        let shared = Shared {
            limits,
            clock,
            node,
            records,
            nodes,
            metrics,
            runtime,
            uplink,
            registry,
            streams,
            lookups,
            listing,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The logs that are here, without looking elsewhere: for the node's log service.
    pub fn local(&self) -> Arc<dyn Log> {
        Arc::new(Local(self.clone()))
    }

    async fn look(&self, stream: &StreamName, session: Option<SessionId>) -> Option<Arc<StreamLog>> {
        let shared = &self.shared;
        if let Some(here) = shared.here(stream, session) {
            return self.when_ready(stream, session, here).await;
        }
        let elsewhere = match self.elsewhere(stream, session).await {
            Some(found) => self.when_ready(stream, session, found).await,
            None => None,
        };
        // An ended session is found as long as there is no other one.
        elsewhere.or_else(|| newest(shared.streams().get(stream)?).filter(|_| session.is_none())?.log())
    }

    async fn when_ready(
        &self,
        stream: &StreamName,
        session: Option<SessionId>,
        found: Found,
    ) -> Option<Arc<StreamLog>> {
        let mut ready = match found {
            Found::Log(log) => return Some(log),
            Found::Coming(ready) => ready,
        };
        let ready = timeout(FIND_WITHIN, ready.wait_for(|ready| !matches!(ready, Ready::Pending))).await;
        if let Ok(Ok(ready)) = ready
            && let Ready::There(log) = &*ready
        {
            return Some(log.clone());
        }
        // What its home does not have is not asked for again at once.
        self.shared.lookups.is_unknown(stream, session);
        None
    }

    /// Looks the stream's record up, and follows its home.
    async fn elsewhere(&self, stream: &StreamName, session: Option<SessionId>) -> Option<Found> {
        let shared = &self.shared;
        let _permit = shared.lookups.begin(stream, session).await?;
        if let Some(here) = shared.here(stream, session) {
            return Some(here);
        }
        let (record, home_lives) = match shared.registry.request(stream, RegistryRequest::Read).await {
            RegistryReply::Record { record, home_lives } => (record, home_lives),
            // Nothing is known, not even that there is nothing.
            _ => return None,
        };
        let found = record.filter(|record| record.home != shared.node).and_then(|record| {
            let wanted = session.unwrap_or(record.session);
            let is_old = record.session != wanted;
            let is_over = is_old || record.state == RecordState::Ended;
            // What is over is only to be had of who had it.
            (!is_over || home_lives).then(|| shared.follow(stream, wanted, is_old)).flatten()
        });
        if found.is_none() {
            shared.metrics.unknown.inc();
            shared.lookups.is_unknown(stream, session);
        }
        found
    }
}

impl ClusterLog {
    /// The turns of a job, here or at the home elsewhere of which there is a replica then.
    async fn writer(&self, id: JobId, job: &Job) -> Result<Arc<dyn Writer>, NoWriter> {
        let not_now = |reason: &str| NoWriter::NotNow { reason: reason.to_owned() };
        let Some(log) = self.look(&job.stream, Some(job.session)).await else {
            // A job whose session is over would be taken again and again.
            let record = match self.shared.registry.request(&job.stream, RegistryRequest::Read).await {
                RegistryReply::Record { record, .. } => record,
                _ => return Err(not_now("the registry does not answer")),
            };
            let goes_on = |record: Record| record.session == job.session && record.state != RecordState::Ended;
            return Err(if record.is_some_and(goes_on) { not_now("its home was not heard") } else { NoWriter::Over });
        };
        // The home that posted the job may be news here.
        let mut state = log.state();
        let known = timeout(FIND_WITHIN, state.wait_for(|state| state.epoch >= job.epoch)).await;
        known.is_ok_and(|known| known.is_ok()).then_some(()).ok_or_else(|| not_now("its home is not known yet"))?;
        if !log.is_replica() {
            let awake = log.demand().borrow().is_awake_for(job.waking);
            let writer = || Arc::new(LocalWriter::new(log.clone(), job.renditions()));
            return awake.then(writer).map(|writer| writer as Arc<dyn Writer>).ok_or(NoWriter::Over);
        }
        let home = self.shared.home_of(&job.stream, job.session).ok_or_else(|| not_now("its home is not known"))?;
        let connection = self.shared.nodes.connection(address(&home));
        let channel = connection.channel(address(&home)).await.map_err(|status| not_now(status.message()))?;
        self.shared.uplink.write(channel, log, id, job).await
    }
}

impl Log for ClusterLog {
    fn open(&self, state: SessionState) -> Arc<StreamLog> {
        let (stream, id) = (state.session.stream.clone(), state.session.id);
        let mut streams = self.shared.streams();
        let held = streams.entry(stream).or_default();
        let before = held.iter().position(|held| held.session() == id).map(|place| held.remove(place));
        let log =
            before.and_then(|held| held.log()).unwrap_or_else(|| Arc::new(StreamLog::new(state, self.shared.limits)));
        log.set_replica(false);
        push(held, Held::Home(log.clone()));
        log
    }

    /// This node is not the session's home any more. A session that goes on is followed from here on, as long as somebody
    /// uses it.
    fn close(&self, log: &Arc<StreamLog>) {
        let mut streams = self.shared.streams();
        let stream = log.session().stream.clone();
        let Some(held) = streams.get_mut(&stream) else { return };
        let is_it = |held: &Held| matches!(held, Held::Home(home) if Arc::ptr_eq(home, log));
        let Some(place) = held.iter().position(is_it) else { return };
        if log.state().borrow().state == State::Ended {
            held.remove(place);
            if held.is_empty() {
                streams.remove(&stream);
            }
        } else {
            log.set_replica(true);
            held[place] = Held::Replica(Replica::start(&self.shared, stream, log.session().id, Some(log.clone())));
        }
    }

    fn find<'a>(&'a self, stream: &'a StreamName) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        Box::pin(self.look(stream, None))
    }

    fn find_session<'a>(&'a self, stream: &'a StreamName, id: SessionId) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        Box::pin(self.look(stream, Some(id)))
    }

    /// The logs that are here, and of other streams what their records say: such a log is not followed.
    fn list(&self) -> BoxFuture<'_, Vec<Arc<StreamLog>>> {
        Box::pin(async move {
            let mut all = self.shared.listing.elsewhere(&*self.shared.registry, self.shared.limits).await;
            let streams = self.shared.streams();
            let here: Vec<_> = streams.values().filter_map(|held| newest(held)?.log()).collect();
            drop(streams);
            all.retain(|log| !here.iter().any(|here| here.session().stream == log.session().stream));
            all.extend(here);
            all.sort_by(|a, b| a.session().stream.cmp(&b.session().stream));
            all
        })
    }

    fn write<'a>(&'a self, id: JobId, job: &'a Job) -> BoxFuture<'a, Result<Arc<dyn Writer>, NoWriter>> {
        Box::pin(self.writer(id, job))
    }
}

/// The logs that are here.
struct Local(ClusterLog);

impl Local {
    fn held(&self, stream: &StreamName, is_it: impl Fn(&Held) -> bool) -> Option<Arc<StreamLog>> {
        self.0.shared.streams().get(stream)?.iter().rev().find(|held| is_it(held))?.log()
    }
}

impl Log for Local {
    fn open(&self, state: SessionState) -> Arc<StreamLog> {
        self.0.open(state)
    }

    fn close(&self, log: &Arc<StreamLog>) {
        self.0.close(log);
    }

    fn find<'a>(&'a self, stream: &'a StreamName) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        Box::pin(async move { self.held(stream, |_| true) })
    }

    fn find_session<'a>(&'a self, stream: &'a StreamName, id: SessionId) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        Box::pin(async move { self.held(stream, |held| held.session() == id) })
    }

    fn list(&self) -> BoxFuture<'_, Vec<Arc<StreamLog>>> {
        Box::pin(async move {
            let streams = self.0.shared.streams();
            streams.values().filter_map(|held| newest(held)?.log()).collect()
        })
    }

    fn write<'a>(&'a self, id: JobId, job: &'a Job) -> BoxFuture<'a, Result<Arc<dyn Writer>, NoWriter>> {
        self.0.write(id, job)
    }
}
