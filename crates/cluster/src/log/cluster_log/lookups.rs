//! Requests for streams that are not here: few at once, and not again and again for what is nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::{Clock, Instant, SessionId, StreamName};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Questions to the registry at once.
const AT_ONCE: usize = 64;
/// What is nowhere is not looked up again within this time.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Names that are remembered to be nowhere. Beyond that all are forgotten: that costs questions, not memory.
const UNKNOWN_MAX: usize = 10_000;

type Wanted = (StreamName, Option<SessionId>);

/// What was looked for.
pub(super) struct Lookups {
    clock: Arc<dyn Clock>,
    permits: Semaphore,
    unknown: Mutex<HashMap<Wanted, Instant>>,
}

impl Lookups {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, permits: Semaphore::new(AT_ONCE), unknown: Mutex::default() }
    }

    /// Permission to ask the registry; `None` when it is known what it would say.
    pub(super) async fn begin(&self, stream: &StreamName, session: Option<SessionId>) -> Option<SemaphorePermit<'_>> {
        let wanted = (stream.clone(), session);
        if self.is_nowhere(&wanted) {
            return None;
        }
        let permit = self.permits.acquire().await.ok()?;
        // Somebody may have asked meanwhile.
        (!self.is_nowhere(&wanted)).then_some(permit)
    }

    /// It was looked for, and is nowhere.
    pub(super) fn is_unknown(&self, stream: &StreamName, session: Option<SessionId>) {
        let now = self.clock.now();
        let mut unknown = self.unknown();
        if unknown.len() >= UNKNOWN_MAX {
            unknown.retain(|_, since| now.saturating_since(*since) < UNKNOWN_FOR);
        }
        if unknown.len() >= UNKNOWN_MAX {
            unknown.clear();
        }
        unknown.insert((stream.clone(), session), now);
    }

    fn is_nowhere(&self, wanted: &Wanted) -> bool {
        let now = self.clock.now();
        self.unknown().get(wanted).is_some_and(|since| now.saturating_since(*since) < UNKNOWN_FOR)
    }

    fn unknown(&self) -> MutexGuard<'_, HashMap<Wanted, Instant>> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
