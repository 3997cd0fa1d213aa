//! The logs of one process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_media::{SessionId, StreamName};

use crate::log::{Limits, LocalWriter, Log, NoWriter, StreamLog, Writer};
use crate::{BoxFuture, Job, JobId, SessionState, State};

/// Logs for one process.
#[derive(Debug)]
pub struct EmbeddedLog {
    limits: Limits,
    /// Of each stream its sessions, the newest last, at most [`SESSIONS_MAX`].
    logs: Mutex<HashMap<StreamName, Vec<Arc<StreamLog>>>>,
}

/// Sessions of a stream whose logs are kept. Whoever publishes and ends faster than players read takes the oldest end
/// away from them: memory has a limit.
const SESSIONS_MAX: usize = 3;

impl EmbeddedLog {
    /// No streams yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, logs: Mutex::default() }
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<StreamName, Vec<Arc<StreamLog>>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, stream: &StreamName, id: SessionId) -> Option<Arc<StreamLog>> {
        self.logs().get(stream)?.iter().find(|log| log.session().id == id).cloned()
    }
}

impl Log for EmbeddedLog {
    fn open(&self, state: SessionState) -> Arc<StreamLog> {
        let mut logs = self.logs();
        let sessions = logs.entry(state.session.stream.clone()).or_default();
        if let Some(known) = sessions.iter().find(|known| known.session().id == state.session.id) {
            return known.clone();
        }
        let log = Arc::new(StreamLog::new(state, self.limits));
        if sessions.len() == SESSIONS_MAX {
            sessions.remove(0);
        }
        sessions.push(log.clone());
        log
    }

    fn close(&self, log: &Arc<StreamLog>) {
        if log.state().borrow().state != State::Ended {
            return;
        }
        let mut logs = self.logs();
        if let Entry::Occupied(mut sessions) = logs.entry(log.session().stream.clone()) {
            if sessions.get().last().is_some_and(|newest| Arc::ptr_eq(newest, log)) {
                // The older ones have waited for longer.
                sessions.remove();
            } else {
                sessions.get_mut().retain(|kept| !Arc::ptr_eq(kept, log));
            }
        }
    }

    fn find<'a>(&'a self, stream: &'a StreamName) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        Box::pin(async move { self.logs().get(stream).and_then(|sessions| sessions.last()).cloned() })
    }

    fn find_session<'a>(&'a self, stream: &'a StreamName, id: SessionId) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        Box::pin(async move { self.session(stream, id) })
    }

    fn list(&self) -> BoxFuture<'_, Vec<Arc<StreamLog>>> {
        Box::pin(async move {
            let mut all: Vec<_> = self.logs().values().filter_map(|sessions| sessions.last()).cloned().collect();
            all.sort_by(|a, b| a.session().stream.cmp(&b.session().stream));
            all
        })
    }

    fn write<'a>(&'a self, _: JobId, job: &'a Job) -> BoxFuture<'a, Result<Arc<dyn Writer>, NoWriter>> {
        Box::pin(async move {
            let log = self.session(&job.stream, job.session);
            let log = log.filter(|log| log.demand().borrow().is_awake_for(job.waking)).ok_or(NoWriter::Over)?;
            Ok(Arc::new(LocalWriter::new(log, job.renditions())) as Arc<dyn Writer>)
        })
    }
}

#[cfg(test)]
mod tests {
    use headwater_media::captions::Channels;
    use headwater_media::{Epoch, FrameRate, WallTime};
    use headwater_segmenter::{Grid, Profile};

    use super::*;
    use crate::Session;

    fn session(number: u8) -> SessionState {
        let session = Session {
            stream: "live/show".parse().unwrap(),
            id: SessionId::from_random([number; 10]),
            grid: Grid::new(Profile::Low, FrameRate::FPS_30),
            window_segments: 8,
            since: WallTime::default(),
        };
        SessionState {
            session: Arc::new(session),
            epoch: Epoch(u64::from(number)),
            state: State::Live,
            publisher: None,
            renditions: Arc::new([]),
            captions: Channels::default(),
        }
    }

    /// Architecture's invariant 6: an ended playlist is advertised until its session is forgotten.
    #[test]
    fn an_ended_session_is_kept_beside_its_successor_until_it_is_closed() {
        let logs = EmbeddedLog::new(Limits::default());
        let name: StreamName = "live/show".parse().unwrap();
        let [first, second] = [1, 2].map(|number| logs.open(session(number)));
        assert!(logs.session(&name, first.session().id).is_some());
        assert!(Arc::ptr_eq(logs.logs()[&name].last().unwrap(), &second));
        assert!(Arc::ptr_eq(&logs.open(session(1)), &first), "its home is here again");
        logs.close(&first);
        assert!(logs.session(&name, first.session().id).is_some(), "it is not over");
        first.end();
        logs.close(&first);
        assert!(logs.session(&name, first.session().id).is_none());
        assert!(logs.session(&name, second.session().id).is_some());
        second.end();
        logs.close(&second);
        assert!(logs.logs().is_empty());
    }

    #[test]
    fn not_more_than_a_few_sessions_are_kept() {
        let logs = EmbeddedLog::new(Limits::default());
        let all = [1, 2, 3, 4, 5].map(|number| logs.open(session(number)));
        let kept = all.map(|log| logs.session(&log.session().stream, log.session().id).is_some());
        assert_eq!(kept, [false, false, true, true, true]);
    }
}
