//! The board as this node knows it: what etcd's watches have told so far. What is taken is decided by etcd alone.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use etcd_client::{Client, Event, EventType, KeyValue, WatchOptions};
use headwater_router::{Job, JobId, written};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use super::super::READ;
use super::super::connection::prefixed;
use super::super::failure::Failure;
use super::super::watching::{ASK_EVERY, SILENCE};
use super::{RETRY_PAUSE, RETRY_PAUSE_MAX, Shared};

/// Jobs remembered that this node has given back.
const GIVEN_BACK_MAX: usize = 64;

/// Jobs and who has them. As large as what etcd keeps.
#[derive(Debug, Default)]
pub(super) struct Board {
    jobs: HashMap<JobId, Posted>,
    taken: HashMap<JobId, Taken>,
    /// Jobs that nobody has, the oldest first.
    waiting: BTreeSet<(i64, JobId)>,
    /// Newest last.
    given_back: VecDeque<JobId>,
}

#[derive(Clone, Debug)]
struct Posted {
    job: Arc<Job>,
    /// The revision at which it came: its place in the queue.
    order: i64,
}

/// Whether a job was taken at `revision`. What is older changes nothing.
#[derive(Clone, Copy, Debug)]
struct Taken {
    revision: i64,
    is_taken: bool,
}

impl Board {
    /// The job that has waited for longest; one that this node has given back comes after all others.
    pub(super) fn oldest(&self) -> Option<JobId> {
        let others = self.waiting.iter().find(|(_, id)| !self.given_back.contains(id));
        others.or_else(|| self.waiting.first()).map(|(_, id)| *id)
    }

    pub(super) fn waits(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|posted| self.waiting.contains(&(posted.order, id)))
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn job(&self, id: JobId) -> Option<Arc<Job>> {
        self.jobs.get(&id).map(|posted| posted.job.clone())
    }

    /// This node has given the job back: others come first.
    pub(super) fn gave_back(&mut self, id: JobId) {
        if self.given_back.len() == GIVEN_BACK_MAX {
            self.given_back.pop_front();
        }
        self.given_back.push_back(id);
    }

    pub(super) fn was_given_back(&self, id: JobId) -> bool {
        self.given_back.contains(&id)
    }

    fn post(&mut self, id: JobId, posted: Posted) {
        self.jobs.insert(id, posted);
        self.settle(id);
    }

    pub(super) fn remove(&mut self, id: JobId) {
        if let Some(posted) = self.jobs.remove(&id) {
            self.waiting.remove(&(posted.order, id));
        }
        self.given_back.retain(|known| *known != id);
        if self.taken.get(&id).is_some_and(|taken| !taken.is_taken) {
            self.taken.remove(&id);
        }
    }

    /// An answer says whether a job that is known was taken at `revision`.
    pub(super) fn set_taken(&mut self, id: JobId, revision: i64, is_taken: bool) {
        if self.jobs.contains_key(&id) {
            self.hear_taken(id, revision, is_taken);
        }
    }

    fn hear_taken(&mut self, id: JobId, revision: i64, is_taken: bool) {
        if self.taken.get(&id).is_some_and(|known| known.revision >= revision) {
            return;
        }
        if is_taken || self.jobs.contains_key(&id) {
            self.taken.insert(id, Taken { revision, is_taken });
            self.settle(id);
        } else {
            self.taken.remove(&id);
        }
    }

    fn settle(&mut self, id: JobId) {
        let Some(posted) = self.jobs.get(&id) else { return };
        if self.taken.get(&id).is_some_and(|taken| taken.is_taken) {
            self.waiting.remove(&(posted.order, id));
        } else {
            self.waiting.insert((posted.order, id));
        }
    }

    /// All that there is at `revision`.
    fn replace(&mut self, revision: i64, jobs: Vec<(JobId, Posted)>, taken: Vec<(JobId, i64)>) {
        let newer = std::mem::take(&mut self.taken).into_iter().filter(|(_, known)| known.revision > revision);
        let newer: Vec<_> = newer.collect();
        self.waiting.clear();
        self.jobs.clear();
        for (id, posted) in jobs {
            self.post(id, posted);
        }
        for (id, revision) in taken {
            self.hear_taken(id, revision, true);
        }
        for (id, Taken { revision, is_taken }) in newer {
            self.set_taken(id, revision, is_taken);
        }
        self.given_back.retain(|id| self.jobs.contains_key(id));
    }
}

/// Follows the board until it is aborted.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut pause = RETRY_PAUSE;
    loop {
        let member = shared.connection.member().await;
        let mut heard = false;
        match shared.follow(member.client.clone(), &mut heard).await {
            Ok(Stopped::Compacted) => info!("the board of jobs is read anew: etcd has forgotten older changes"),
            Ok(Stopped::Ended) => info!("the board of jobs is read anew: etcd ended the watch"),
            Err(failure) => {
                shared.complain("the board of jobs is not followed", &failure);
                shared.connection.leave_if_blamed(&member, &failure).await;
            }
        }
        pause = if heard { RETRY_PAUSE } else { (2 * pause).min(RETRY_PAUSE_MAX) };
        sleep(pause).await;
    }
}

/// Why a watch stopped.
enum Stopped {
    Compacted,
    Ended,
}

impl Shared {
    /// Reads the board whole and then what changes, as long as etcd tells it.
    async fn follow(&self, mut client: Client, heard: &mut bool) -> Result<Stopped, Failure> {
        let (mut jobs, mut taken) = (Vec::new(), Vec::new());
        let from = self.connection.range(self.jobs.clone().into(), |key| jobs.extend(self.posted(key))).await?;
        let mut read = |key: &KeyValue| taken.extend(self.id(key).map(|id| (id, key.mod_revision())));
        let taken_from = self.connection.range(self.taken.clone().into(), &mut read).await?;
        self.board().replace(taken_from, jobs, taken);
        self.changed.send_replace(());
        *heard = true;
        let options =
            |prefix: &str, from| Some(prefixed(WatchOptions::new().with_start_revision(from + 1), prefix.as_bytes()));
        let opened = timeout(READ, client.watch(self.jobs.clone(), options(&self.jobs, from))).await;
        let mut watch = opened.map_err(|_| Failure::late())??;
        watch.watch(self.taken.clone(), options(&self.taken, taken_from)).await?;
        let mut ask = interval(ASK_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            tokio::select! {
                message = watch.message() => {
                    last = Instant::now();
                    let Some(message) = message? else { return Ok(Stopped::Ended) };
                    if message.canceled() {
                        let compacted = message.compact_revision() > 0;
                        return Ok(if compacted { Stopped::Compacted } else { Stopped::Ended });
                    }
                    if !message.events().is_empty() {
                        self.hear(message.events());
                    }
                }
                _ = ask.tick() => {
                    if last.elapsed() > SILENCE {
                        return Err(Failure::late());
                    }
                    // The answer says that the member is there, and nothing else.
                    watch.request_progress().await?;
                }
            }
        }
    }

    fn hear(&self, events: &[Event]) {
        let mut board = self.board();
        events.iter().for_each(|event| self.apply(&mut board, event));
        drop(board);
        self.changed.send_replace(());
    }

    fn apply(&self, board: &mut Board, event: &Event) {
        let Some(key) = event.kv() else { return };
        let Some(id) = self.id(key) else { return };
        let is_there = event.event_type() == EventType::Put;
        if key.key().starts_with(self.taken.as_bytes()) {
            board.hear_taken(id, key.mod_revision(), is_there);
        } else if !is_there {
            board.remove(id);
        } else if let Some((id, posted)) = self.posted(key) {
            board.post(id, posted);
        }
    }

    /// The job that a key is about.
    fn id(&self, key: &KeyValue) -> Option<JobId> {
        let text = key.key_str().ok()?;
        let digits = text.strip_prefix(&self.jobs).or_else(|| text.strip_prefix(&self.taken))?;
        u64::from_str_radix(digits, 16).ok().map(JobId)
    }

    fn posted(&self, key: &KeyValue) -> Option<(JobId, Posted)> {
        let id = self.id(key)?;
        match written::job_from_json(key.value()) {
            Ok(job) => Some((id, Posted { job: Arc::new(job), order: key.create_revision() })),
            Err(error) => {
                warn!(job = format!("{:016x}", id.0), %error, "a job is left to others");
                None
            }
        }
    }
}
