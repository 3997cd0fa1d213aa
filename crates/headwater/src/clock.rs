//! The one place where the process reads its clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_media::{Clock, Instant, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// The system's clocks.
pub(crate) struct SystemClock {
    origin: Duration,
}

impl SystemClock {
    /// Monotonic time counts from now.
    pub(crate) fn new() -> Self {
        Self { origin: since_boot() }
    }

    #[expect(clippy::disallowed_methods, reason = "this is where the clocks are read")]
    fn unix_millis() -> i64 {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    }
}

/// CLOCK_BOOTTIME goes on while the machine sleeps. A node's lease at the registry does so, too
/// (`headwater_router::claim::Lease`).
fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::default() + since_boot().saturating_sub(self.origin)
    }

    fn wall(&self) -> WallTime {
        WallTime { unix_millis: Self::unix_millis() }
    }
}
