//! CPU time of a thread: what each stage of the work costs, whatever else the machine does.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rustix::time::{ClockId, clock_gettime};

/// Counts CPU seconds of what one thread does, stage by stage.
#[derive(Debug)]
pub(crate) struct StageTimer(Duration);

impl StageTimer {
    /// A stage begins on this thread.
    pub(crate) fn start() -> Self {
        Self(now())
    }

    /// The stage ends, and the next one begins.
    pub(crate) fn end(&mut self, stage: &Counter<f64>) {
        let now = now();
        stage.inc_by(now.saturating_sub(self.0).as_secs_f64());
        self.0 = now;
    }
}

/// How long a thread of this process has waited for a processor while it could have worked. Zero where the kernel does
/// not count it.
pub(crate) fn run_queue_wait(thread: u32) -> Duration {
    let path = format!("/proc/self/task/{thread}/schedstat");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let nanos = text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// The kernel's number of the calling thread.
pub(crate) fn thread() -> u32 {
    rustix::thread::gettid().as_raw_pid().unsigned_abs()
}

/// CPU time of the calling thread.
pub(crate) fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
