//! The transcoding service: takes jobs off the queue, decodes each stream once, and makes its gears.
//!
//! ```text
//!   log --items--> job's thread: decode, one picture per slot --+--> gear's thread: scale, encode, package --> log
//!                                                               +--> gear's thread: ...
//! ```
//!
//! Sound that is encoded is a job of its own, on one thread (`audio`).
//!
//! Numbers, cuts and part ends come from the log; nothing here decides them. Everything that a gear makes is a function
//! of stamped samples, timeline and settings, so that a job can be taken over by another worker. A job that hangs is left
//! behind and taken anew; what it still makes is dropped, because its turns are over.

mod activity;
mod audio;
mod balance;
mod cpu;
mod faults;
mod gear;
#[cfg(test)]
mod hour;
mod job;
mod metrics;
mod picture;
mod poster;
mod slots;
mod source;
mod supervise;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use headwater_media::Clock;
use headwater_router::{Log, Posters, Queue};
use tokio::sync::watch;
use tracing::error;

pub use faults::{Fault, Faults};
pub use metrics::{LATENCY_BUCKETS, Metrics};

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Jobs that are done at once at most; others wait in the queue. One job is the gears of one stream, or its sound.
    pub jobs_max: usize,
    /// Threads of one gear's encoder. More than 1 cut pictures into slices, which costs quality. Everything else about
    /// a gear is the ladder's.
    pub encoder_threads: u32,
    /// Processor cores that decoders and encoders may take together. Without bound, no gear is ever shed: for work that
    /// is not in real time.
    pub cores: Option<f64>,
    /// A codec that takes longer than this for a picture hangs, and so does a job that reads nothing for as long although
    /// there is something to read. Without it, nothing ever hangs: for work that waits for others.
    pub hang: Option<Duration>,
}

/// After this long a thread that says nothing hangs (architecture 6).
pub const HANG: Duration = Duration::from_millis(400);

/// What the service needs.
#[derive(Clone)]
pub struct Deps {
    /// The process's clock.
    pub clock: Arc<dyn Clock>,
    /// Where streams' logs are.
    pub log: Arc<dyn Log>,
    /// Where jobs come from.
    pub queue: Arc<dyn Queue>,
    /// Whose posters are wanted.
    pub posters: Arc<Posters>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Trouble on demand.
    pub faults: Arc<Faults>,
}

/// Does jobs until `shutdown`; then stops at once, gives them back, and returns when all its threads have ended but those
/// that hang.
pub async fn run(settings: Settings, deps: Deps, shutdown: impl Future<Output = ()>) {
    let stop = watch::Sender::new(false);
    let posters = tokio::spawn(poster::run(deps.clone(), stop.subscribe()));
    worker::run(settings, deps, shutdown).await;
    stop.send_replace(true);
    if let Err(error) = posters.await {
        error!(%error, "posters failed");
    }
}
