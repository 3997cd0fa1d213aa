//! Records in a map, and perhaps in a file. A write is acknowledged when it is made, or when the file is synced.

mod writer;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use headwater_media::{Clock, Epoch, MediaSequence, SessionId, StreamName, WallTime};
use tokio::sync::watch;

use super::state_file::{StateError, StateFile};
use crate::claim::{Lease, RegistryReply, RegistryRequest};
use crate::{
    BoxFuture, Claim, ClaimError, Claims, Found, Lost, NodeId, Progress, Record, RecordState, Registry, Unavailable,
};

/// A registry for one process, and with a file for those that come after it.
pub struct EmbeddedRegistry {
    node: NodeId,
    /// Nobody else can take it away.
    lease: watch::Sender<Lease>,
    shared: Arc<Shared>,
    /// With a file, what tells when a record was written.
    clock: Option<Arc<dyn Clock>>,
    writer: Option<JoinHandle<()>>,
}

/// Numbers that a new home may use before its first own reservation is acknowledged.
const FIRST_RESERVATION: u64 = 2;
/// Records that are kept after their sessions' ends, so that epochs go on rising while old homes may still call.
const ENDED_MAX: usize = 1000;

/// What the registry and its writer share.
#[derive(Debug, Default)]
struct Shared {
    records: Mutex<Records>,
    /// There is something to write, or nothing will come any more.
    changed: Condvar,
    /// All changes up to this one are in the file.
    synced: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Records {
    map: HashMap<StreamName, Record>,
    /// Ended ones, oldest first; some have a new session since.
    ended: VecDeque<StreamName>,
    /// Changed and not yet written.
    dirty: HashSet<StreamName>,
    /// Counts changes.
    version: u64,
    closed: bool,
}

impl std::fmt::Debug for EmbeddedRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedRegistry").field("has_file", &self.writer.is_some()).finish_non_exhaustive()
    }
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EmbeddedRegistry {
    /// A registry of the process `node` without a file.
    pub fn new(node: NodeId) -> Self {
        Self { node, lease: watch::Sender::new(Lease::for_ever()), shared: Arc::default(), clock: None, writer: None }
    }

    /// Goes on with what an earlier process left in `folder`, and writes there. One process at a time can have a folder.
    pub fn open(node: NodeId, folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        let (file, map) = StateFile::open(folder)?;
        let shared =
            Arc::new(Shared { records: Mutex::new(Records { map, ..Records::default() }), ..Shared::default() });
        let writing = shared.clone();
        let writer = std::thread::Builder::new().name("state".into()).spawn(move || writer::run(&writing, file));
        let writer = writer.map_err(|error| StateError::Unusable { path: folder.to_owned(), error })?;
        let lease = watch::Sender::new(Lease::for_ever());
        Ok(Self { node, lease, shared, clock: Some(clock), writer: Some(writer) })
    }

    /// The record of `stream`.
    pub fn record(&self, stream: &StreamName) -> Option<Record> {
        self.shared.records().map.get(stream).cloned()
    }

    /// Answers a state machine of the [claim](crate::claim) in the process whose node is `node`. Any other node is gone:
    /// one process at a time can have a registry.
    pub async fn answer(&self, stream: &StreamName, node: &NodeId, request: RegistryRequest) -> RegistryReply {
        let (revision, version) = {
            let mut records = self.shared.records();
            let known = records.map.get(stream);
            match request {
                RegistryRequest::Read => {
                    let home_lives = known.is_some_and(|record| record.home == *node);
                    return RegistryReply::Record { record: known.cloned(), home_lives };
                }
                RegistryRequest::Write { expected, record } => {
                    if known.map_or(0, |record| record.revision) != expected {
                        return RegistryReply::Conflict;
                    }
                    let revision = expected + 1;
                    (revision, self.put(&mut records, stream, Record { revision, ..record }))
                }
            }
        };
        self.acknowledged(version).await;
        RegistryReply::Written { revision }
    }

    fn wall(&self) -> WallTime {
        self.clock.as_ref().map(|clock| clock.wall()).unwrap_or_default()
    }

    /// Changes a stream's record and has it written. Answers with the change's number, to wait for.
    fn put(&self, records: &mut Records, stream: &StreamName, record: Record) -> u64 {
        if record.state == RecordState::Ended {
            records.ended.push_back(stream.clone());
        }
        records.map.insert(stream.clone(), Record { written: self.wall(), ..record });
        while records.ended.len() > ENDED_MAX
            && let Some(oldest) = records.ended.pop_front()
        {
            if records.map.get(&oldest).is_some_and(|record| record.state == RecordState::Ended) {
                records.map.remove(&oldest);
            }
        }
        records.version += 1;
        if self.writer.is_some() {
            records.dirty.insert(stream.clone());
            self.shared.changed.notify_one();
        }
        records.version
    }

    /// Waits until a change is in the file.
    async fn acknowledged(&self, version: u64) {
        if self.writer.is_some() {
            // The sender lives in this registry: waiting cannot fail.
            let _ = self.shared.synced.subscribe().wait_for(|synced| *synced >= version).await;
        }
    }

    async fn change<T>(
        &self,
        stream: &StreamName,
        epoch: Epoch,
        change: impl FnOnce(&mut Record) -> T,
    ) -> Result<T, Lost> {
        let (answer, version) = {
            let mut records = self.shared.records();
            let known = records.map.get(stream);
            let Some(known) = known.filter(|record| record.epoch == epoch) else {
                return Err(Lost { current: known.map(|record| record.epoch).unwrap_or_default() });
            };
            let mut record = Record { revision: known.revision + 1, ..known.clone() };
            let answer = change(&mut record);
            (answer, self.put(&mut records, stream, record))
        };
        self.acknowledged(version).await;
        Ok(answer)
    }
}

impl Drop for EmbeddedRegistry {
    fn drop(&mut self) {
        self.shared.records().closed = true;
        self.shared.changed.notify_one();
        if let Some(writer) = self.writer.take() {
            // It writes what there is to write. That it failed was said when it did.
            let _ = writer.join();
        }
    }
}

impl Registry for EmbeddedRegistry {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn lease(&self) -> watch::Receiver<Lease> {
        self.lease.subscribe()
    }

    fn request<'a>(&'a self, stream: &'a StreamName, request: RegistryRequest) -> BoxFuture<'a, RegistryReply> {
        Box::pin(self.answer(stream, &self.node, request))
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Found>, Unavailable>> {
        Box::pin(async move {
            let records = self.shared.records();
            let open = records.map.iter().filter(|(_, record)| record.state != RecordState::Ended);
            let found = open.map(|(stream, record)| Found {
                stream: stream.clone(),
                record: record.clone(),
                home_lives: record.home == self.node,
            });
            Ok(found.collect())
        })
    }
}

impl Claims for EmbeddedRegistry {
    fn claim<'a>(
        &'a self,
        stream: &'a StreamName,
        node: &'a NodeId,
        fresh: SessionId,
        takeover: Option<Epoch>,
    ) -> BoxFuture<'a, Result<Claim, ClaimError>> {
        Box::pin(async move {
            let (claim, version) = {
                let mut records = self.shared.records();
                let before = records.map.get(stream);
                if let Some(record) = before
                    && matches!(record.state, RecordState::Live | RecordState::Stale)
                    && takeover != Some(record.epoch)
                {
                    return Err(ClaimError::Held { home: record.home.clone(), epoch: record.epoch });
                }
                let resumed = before.filter(|record| record.state != RecordState::Ended);
                let reserved = resumed.map_or(0, |record| record.reserved.0).max(FIRST_RESERVATION);
                let record = Record {
                    epoch: Epoch(before.map_or(0, |record| record.epoch.0) + 1),
                    session: resumed.map_or(fresh, |record| record.session),
                    home: node.clone(),
                    state: RecordState::Live,
                    reserved: MediaSequence(reserved),
                    revision: before.map_or(0, |record| record.revision) + 1,
                    written: WallTime::default(),
                    outline: resumed.and_then(|record| record.outline.clone()),
                };
                let resumed = resumed.is_some();
                let version = self.put(&mut records, stream, record.clone());
                (Claim { stream: stream.clone(), record, resumed }, version)
            };
            self.acknowledged(version).await;
            Ok(claim)
        })
    }

    fn reserve<'a>(
        &'a self,
        stream: &'a StreamName,
        epoch: Epoch,
        progress: Progress,
    ) -> BoxFuture<'a, Result<MediaSequence, Lost>> {
        Box::pin(self.change(stream, epoch, move |record| {
            record.reserved = record.reserved.max(progress.below);
            record.outline = progress.outline.or(record.outline.take());
            record.reserved
        }))
    }

    fn set_state<'a>(
        &'a self,
        stream: &'a StreamName,
        epoch: Epoch,
        state: RecordState,
    ) -> BoxFuture<'a, Result<(), Lost>> {
        Box::pin(self.change(stream, epoch, move |record| {
            record.state = state;
            record.outline.take_if(|_| state == RecordState::Ended);
        }))
    }

    fn sessions(&self) -> BoxFuture<'_, Vec<(StreamName, Record)>> {
        Box::pin(async move {
            let records = self.shared.records();
            let open = records.map.iter().filter(|(_, record)| record.state != RecordState::Ended);
            open.map(|(stream, record)| (stream.clone(), record.clone())).collect()
        })
    }
}

#[cfg(test)]
mod tests;
