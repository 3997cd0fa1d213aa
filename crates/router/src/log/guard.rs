//! The lease of the node that writes a log as its home.

use std::sync::Arc;

use headwater_media::Clock;
use tokio::sync::watch;

use crate::claim::Lease;

/// Tells whether a home may still take parts. Asked for each one, because a process that was stopped runs no timers and has
/// to see how late it is when it wakes (architecture 8).
pub(super) struct Guard {
    lease: watch::Receiver<Lease>,
    clock: Arc<dyn Clock>,
}

impl Guard {
    pub(super) fn new(lease: watch::Receiver<Lease>, clock: Arc<dyn Clock>) -> Self {
        Self { lease, clock }
    }

    pub(super) fn allows(&self) -> bool {
        self.lease.borrow().holds(self.clock.now())
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("lease", &*self.lease.borrow()).finish_non_exhaustive()
    }
}
