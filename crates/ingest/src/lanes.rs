//! The threads that serve publishers.
//!
//! A connection lives on one thread, with everything that its messages touch: threads that take work from each other
//! wake one another for every picture. One thread serves many publishers, so there are few: what they have to do at the
//! same time is done with one waking.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tracing::warn;

/// There is one thread for so many cores; the others are for players and gears.
const CORES_PER_LANE: usize = 4;

/// Threads with a runtime each.
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    next: AtomicUsize,
}

struct Lane {
    runtime: Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Lanes {
    /// Starts them. Without any, the runtime of the caller does the work.
    pub(crate) fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let lanes = (0..cores.div_ceil(CORES_PER_LANE)).map_while(|_| {
            Lane::start().inspect_err(|error| warn!(%error, "a thread for publishers could not be started")).ok()
        });
        Self { lanes: lanes.collect(), next: AtomicUsize::new(0) }
    }

    /// Where the next connection is served.
    pub(crate) fn next(&self) -> Handle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let lane = number.checked_rem(self.lanes.len()).and_then(|index| self.lanes.get(index));
        lane.map_or_else(Handle::current, |lane| lane.runtime.clone())
    }

    /// Ends them, and what is still being done on them.
    pub(crate) fn finish(self) {
        for Lane { stop, thread, .. } in self.lanes {
            drop(stop);
            if thread.join().is_err() {
                warn!("a thread for publishers has panicked");
            }
        }
    }
}

impl Lane {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("publishers".into()).spawn(move || {
            // The sender is dropped, never used.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, stop, thread })
    }
}
