//! The transcoding service: takes jobs off the queue, decodes each stream once, and makes its gears.
//!
//! ```text
//!   log --items--> job's thread: decode, one picture per slot --+--> gear's thread: scale, encode, package --> log
//!                                                               +--> gear's thread: ...
//! ```
//!
//! Numbers, cuts and part ends come from the log; nothing here decides them. Everything that a gear makes is a function
//! of stamped samples, timeline and settings, so that a job can be taken over by another worker.

mod gear;
mod job;
mod metrics;
mod picture;
mod slots;
mod source;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::Clock;
use headwater_router::{Job, JobId, Log, Queue};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

use job::{JobContext, Outcome};
pub use metrics::{LATENCY_BUCKETS, Metrics};

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Jobs that are done at once at most; others wait in the queue. One job is all gears of one stream.
    pub jobs_max: usize,
    /// Threads of one gear's encoder. More than 1 cut pictures into slices, which costs quality. Everything else about
    /// a gear is the ladder's.
    pub encoder_threads: u32,
}

/// What the service needs.
#[derive(Clone)]
pub struct Deps {
    /// The process's clock.
    pub clock: Arc<dyn Clock>,
    /// Where streams' logs are.
    pub log: Arc<dyn Log>,
    /// Where jobs come from.
    pub queue: Arc<dyn Queue>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Tries of a job before it is given up.
const TRIES_MAX: u32 = 4;
/// Pause before a job that failed is given back; doubled with each further try.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// A job that ran for this long before it failed is tried as if it were new.
const HEALTHY: Duration = Duration::from_secs(60);

/// Does jobs until `shutdown`; then stops at once, gives them back, and returns when all its threads have ended.
pub async fn run(settings: Settings, deps: Deps, shutdown: impl Future<Output = ()>) {
    let stop = watch::Sender::new(false);
    let mut running = JoinSet::new();
    // Failed tries of jobs that may come back.
    let mut failed: HashMap<JobId, u32> = HashMap::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(Ok((id, next))) = running.join_next() => settle(&deps, &mut failed, id, next).await,
            (id, job) = deps.queue.take(), if running.len() < settings.jobs_max => {
                let tries = failed.get(&id).copied().unwrap_or(0);
                running.spawn(do_job(id, job, tries, settings.encoder_threads, deps.clone(), stop.subscribe()));
            }
        }
    }
    stop.send_replace(true);
    while let Some(done) = running.join_next().await {
        if let Ok((id, next)) = done {
            settle(&deps, &mut failed, id, next).await;
        }
    }
    info!("transcoder stopped");
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// Off the board.
    Complete,
    /// Back on the board, after so many failed tries.
    Release { tries: u32 },
}

async fn settle(deps: &Deps, failed: &mut HashMap<JobId, u32>, id: JobId, next: Next) {
    match next {
        Next::Complete => {
            failed.remove(&id);
            deps.queue.complete(id).await;
        }
        Next::Release { tries } => {
            failed.insert(id, tries);
            deps.queue.release(id).await;
        }
    }
}

async fn do_job(
    id: JobId,
    job: Job,
    tries: u32,
    encoder_threads: u32,
    deps: Deps,
    mut stop: watch::Receiver<bool>,
) -> (JobId, Next) {
    let (stream, session, began) = (job.stream.clone(), job.session, deps.clock.now());
    let log = deps.log.find(&stream).await.filter(|log| log.session().id == session);
    let Some(log) = log else { return (id, Next::Complete) };
    let context = JobContext {
        job,
        log,
        parts: deps.log.clone(),
        encoder_threads,
        metrics: deps.metrics.clone(),
        handle: Handle::current(),
        stop: stop.clone(),
    };
    deps.metrics.jobs.inc();
    let outcome = tokio::task::spawn_blocking(move || context.run()).await;
    deps.metrics.jobs.dec();
    match outcome {
        Ok(Outcome::Ended) => {
            info!(%stream, %session, "transcoding ended");
            (id, Next::Complete)
        }
        Ok(Outcome::Stopped) => (id, Next::Release { tries }),
        Ok(Outcome::Failed) | Err(_) => {
            deps.metrics.jobs_failed.inc();
            let healthy = deps.clock.now().saturating_since(began) >= HEALTHY;
            let tries = if healthy { 1 } else { tries + 1 };
            if tries >= TRIES_MAX {
                error!(%stream, %session, tries, "transcoding failed, given up");
                return (id, Next::Complete);
            }
            error!(%stream, %session, tries, "transcoding failed, to be tried again");
            let pause = tokio::time::sleep(RETRY_PAUSE * 2_u32.pow(tries - 1));
            tokio::select! {
                () = pause => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            (id, Next::Release { tries })
        }
    }
}
