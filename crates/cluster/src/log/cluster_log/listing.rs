//! All streams of the cluster, for lists of them.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::captions::Channels;
use headwater_media::{Clock, Instant};
use headwater_router::{Found, Limits, RecordState, Registry, Session, SessionState, State, StreamLog};
use tokio::sync::Mutex;

/// A list is so old at most.
const KEPT: Duration = Duration::from_secs(2);

/// What the registry said last.
pub(super) struct Listing {
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(Instant, Vec<Arc<StreamLog>>)>>,
}

impl Listing {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: Mutex::const_new(None) }
    }

    /// A log of each session that is not over, which has nothing but what the record says. The last answer stays while the
    /// registry gives none.
    pub(super) async fn elsewhere(&self, registry: &dyn Registry, limits: Limits) -> Vec<Arc<StreamLog>> {
        // Who comes while it is asked waits for the answer, too.
        let mut last = self.last.lock().await;
        let now = self.clock.now();
        if let Some((at, known)) = &*last
            && now.saturating_since(*at) < KEPT
        {
            return known.clone();
        }
        if let Ok(found) = registry.unfinished().await {
            let logs = found.into_iter().filter_map(|found| Some(Arc::new(StreamLog::replica(state(found)?, limits))));
            *last = Some((now, logs.collect()));
        }
        last.as_ref().map_or(Vec::new(), |(_, known)| known.clone())
    }
}

/// The session as its record has it; `None` before its first cut.
fn state(found: Found) -> Option<SessionState> {
    let outline = found.record.outline?;
    let is_live = found.record.state == RecordState::Live && found.home_lives;
    let session = Session {
        stream: found.stream,
        id: found.record.session,
        grid: outline.grid,
        window_segments: outline.window_segments,
        since: outline.since,
    };
    Some(SessionState {
        session: Arc::new(session),
        epoch: found.record.epoch,
        state: if is_live { State::Live } else { State::Waiting },
        publisher: None,
        renditions: outline.renditions(),
        captions: Channels::default(),
    })
}
