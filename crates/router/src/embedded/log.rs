//! The logs of one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_media::{Part, RenditionName, StreamName, Turn};

use crate::log::{Limits, Log, PutOutcome, StreamLog};
use crate::{BoxFuture, SessionState};

/// Logs for one process.
#[derive(Debug)]
pub struct EmbeddedLog {
    limits: Limits,
    logs: Mutex<HashMap<StreamName, Arc<StreamLog>>>,
}

impl EmbeddedLog {
    /// No streams yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, logs: Mutex::default() }
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<StreamName, Arc<StreamLog>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for EmbeddedLog {
    fn open(&self, state: SessionState) -> Arc<StreamLog> {
        let stream = state.session.stream.clone();
        let log = Arc::new(StreamLog::new(state, self.limits));
        self.logs().insert(stream, log.clone());
        log
    }

    fn close(&self, log: &Arc<StreamLog>) {
        let stream = log.session().stream.clone();
        let mut logs = self.logs();
        if logs.get(&stream).is_some_and(|current| Arc::ptr_eq(current, log)) {
            logs.remove(&stream);
        }
    }

    fn find<'a>(&'a self, stream: &'a StreamName) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        Box::pin(async move { self.logs().get(stream).cloned() })
    }

    fn list(&self) -> BoxFuture<'_, Vec<Arc<StreamLog>>> {
        Box::pin(async move {
            let mut all: Vec<_> = self.logs().values().cloned().collect();
            all.sort_by(|a, b| a.session().stream.cmp(&b.session().stream));
            all
        })
    }

    fn put_part<'a>(
        &'a self,
        stream: &'a StreamName,
        rendition: &'a RenditionName,
        turn: Turn,
        part: Part,
    ) -> BoxFuture<'a, PutOutcome> {
        Box::pin(async move {
            match self.logs().get(stream).cloned() {
                Some(log) => log.put_part(rendition, turn, part),
                None => PutOutcome::Dropped,
            }
        })
    }
}
