//! Records in a map, and perhaps in a file. A write is acknowledged when it is made, or when the file is synced.

mod writer;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use headwater_media::{Clock, StreamName, WallTime};
use tokio::sync::watch;

use super::state_file::{StateError, StateFile};
use crate::claim::{Lease, RegistryReply, RegistryRequest};
use crate::{BoxFuture, Found, NodeId, Record, RecordState, Registry, Unavailable};

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
        let (reply, version) = {
            let mut records = self.shared.records();
            let known = records.map.get(stream);
            match request {
                RegistryRequest::Read => {
                    let home_lives = known.is_some_and(|record| record.home == *node);
                    (RegistryReply::Record { record: known.cloned(), home_lives }, records.version)
                }
                RegistryRequest::Write { expected, record } => {
                    if known.map_or(0, |record| record.revision) != expected {
                        return RegistryReply::Conflict;
                    }
                    let revision = expected + 1;
                    let version = self.put(&mut records, stream, Record { revision, ..record });
                    (RegistryReply::Written { revision }, version)
                }
            }
        };
        // What is read counts as acknowledged, so it is in the file, too.
        self.acknowledged(version).await;
        reply
    }

    fn wall(&self) -> WallTime {
        self.clock.as_ref().map(|clock| clock.wall()).unwrap_or_default()
    }

    /// Changes a stream's record and has it written. Answers with the change's number, to wait for.
    fn put(&self, records: &mut Records, stream: &StreamName, record: Record) -> u64 {
        if record.state == RecordState::Ended {
            records.ended.push_back(stream.clone());
        }
        // How a session ended is known to the log of this process, and of no use to the next one.
        let outline = record.outline.clone().filter(|_| record.state != RecordState::Ended);
        records.map.insert(stream.clone(), Record { written: self.wall(), outline, ..record });
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

#[cfg(test)]
mod tests;
