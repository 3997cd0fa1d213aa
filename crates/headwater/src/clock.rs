//! The one place where the process reads its clocks.

use std::time::{Instant as StdInstant, SystemTime, UNIX_EPOCH};

use headwater_media::{Clock, Instant, WallTime};

/// The system's clocks.
pub(crate) struct SystemClock {
    origin: StdInstant,
}

#[expect(clippy::disallowed_methods, reason = "this is where the clocks are read")]
impl SystemClock {
    /// Monotonic time counts from now.
    pub(crate) fn new() -> Self {
        Self { origin: StdInstant::now() }
    }

    fn unix_millis() -> i64 {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> WallTime {
        WallTime { unix_millis: Self::unix_millis() }
    }
}
