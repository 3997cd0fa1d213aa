//! A worker: takes jobs while there is room, watches what they cost, and gives back what it cannot do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwater_media::RenditionName;
use headwater_router::{Gear, Job, JobId, NoWriter, StreamLog, Writer};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::activity::{GearState, JobState};
use crate::balance::{Balance, GearLoad, JobLoad, LOOK, Order, decoding_estimate, gear_estimate};
use crate::job::JobContext;
use crate::supervise::{Ending, supervise};
use crate::{Deps, Settings};

/// Tries of a job after which its gears are off while the next one waits, so that players take what there is.
const TRIES_MAX: u32 = 4;
/// Pause before the third try of a job that fails; doubled with each further one. The second comes at once.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two tries.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A job that ran for this long before it failed is tried as if it were new.
const HEALTHY: Duration = Duration::from_secs(5);
/// A job younger than this may not have shown yet what it takes.
const YOUNG: Duration = Duration::from_secs(5);
/// A worker that had to leave this many hanging jobs behind takes no more.
const LEFT_BEHIND_MAX: usize = 16;

/// Cores that a job of sound takes, by experience.
const SOUND_CORES: f64 = 0.02;

/// Does jobs until `shutdown`; then stops at once, gives them back, and returns when all its threads have ended but those
/// that hang.
pub(crate) async fn run(settings: Settings, deps: Deps, shutdown: impl Future<Output = ()>) {
    let mut worker = Worker {
        balance: Balance::new(settings.cores),
        settings,
        deps,
        stop: watch::Sender::new(false),
        beginning: JoinSet::new(),
        running: JoinSet::new(),
        taken: HashMap::new(),
        failed: HashMap::new(),
        left_behind: Arc::default(),
    };
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let takes_more = worker.takes_more();
        tokio::select! {
            () = &mut shutdown => break,
            Some(Ok(done)) = worker.running.join_next() => worker.settle(done).await,
            (id, job) = worker.deps.queue.take(), if takes_more => worker.ask(id, job),
            Some(Ok(asked)) = worker.beginning.join_next() => worker.answered(asked).await,
            _ = looks.tick() => worker.look(),
        }
    }
    worker.stop.send_replace(true);
    while let Some(asked) = worker.beginning.join_next().await {
        if let Ok((id, ..)) = asked {
            worker.deps.queue.release(id).await;
        }
    }
    while let Some(done) = worker.running.join_next().await {
        if let Ok(done) = done {
            worker.settle(done).await;
        }
    }
    info!("transcoder stopped");
}

struct Worker {
    settings: Settings,
    deps: Deps,
    stop: watch::Sender<bool>,
    /// Jobs whose homes are asked for turns.
    beginning: JoinSet<Asked>,
    running: JoinSet<Done>,
    taken: HashMap<JobId, Taken>,
    /// Failed tries of jobs that may come back.
    failed: HashMap<JobId, u32>,
    balance: Balance,
    /// Jobs that hang in threads of ours, given up.
    left_behind: Arc<AtomicUsize>,
}

/// A job, and what its home says.
type Asked = (JobId, Job, Result<Arc<dyn Writer>, NoWriter>);

/// A job that is done here, one way or another.
struct Done {
    id: JobId,
    next: Next,
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// Off the board.
    Complete,
    /// Back on the board, after so many failed tries.
    Release { tries: u32 },
}

/// A job of ours.
struct Taken {
    writer: Arc<dyn Writer>,
    state: Arc<JobState>,
    /// Processor time at the last look, of decoding and of each gear.
    cpu: Vec<Duration>,
    began: Instant,
    looked: Instant,
    /// Items of the log at the last look.
    appended: u64,
    load: Option<JobLoad>,
}

impl Worker {
    fn takes_more(&self) -> bool {
        self.running.len() + self.beginning.len() < self.settings.jobs_max
            && self.left_behind.load(Ordering::Relaxed) < LEFT_BEHIND_MAX
    }

    /// Asks the job's home for its turns, which takes a while where that is another machine.
    fn ask(&mut self, id: JobId, job: Job) {
        let log = self.deps.log.clone();
        self.beginning.spawn(async move {
            let answer = log.write(id, &job).await;
            (id, job, answer)
        });
    }

    async fn answered(&mut self, (id, job, answer): Asked) {
        match answer {
            Ok(writer) => self.begin(id, job, writer),
            Err(NoWriter::Over) => {
                self.failed.remove(&id);
                self.deps.queue.complete(id).await;
            }
            Err(why) => {
                let (stream, session) = (&job.stream, job.session);
                info!(%stream, %session, %why, "a job is left to others");
                self.deps.queue.release(id).await;
            }
        }
    }

    fn begin(&mut self, id: JobId, job: Job, writer: Arc<dyn Writer>) {
        let taken = Taken::new(writer.clone(), &job);
        let loads: Vec<JobLoad> = self.taken.values().map(Taken::expected_load).collect();
        let estimates: Vec<f64> = taken.state.gears.iter().map(|gear| taken.estimate(&gear.gear)).collect();
        let fits = self.balance.admit(&loads, taken.decoding_estimate(), &estimates);
        for ((gear, fits), cores) in taken.state.gears.iter().zip(fits).zip(estimates) {
            if !fits {
                self.deps.metrics.gears_shed.inc();
            }
            gear.want(fits);
            // What another try or an earlier waking left off comes on again.
            let off = (!fits).then(|| format!("no room for it: it would take {cores:.2} cores").into());
            taken.switch(gear, off);
        }
        let context = JobContext {
            job,
            state: taken.state.clone(),
            log: writer.log().clone(),
            writer,
            encoder_threads: self.settings.encoder_threads,
            metrics: self.deps.metrics.clone(),
            faults: self.deps.faults.clone(),
            handle: Handle::current(),
        };
        self.taken.insert(id, taken);
        let tries = self.failed.get(&id).copied().unwrap_or(0);
        let attempt = Attempt { id, tries, hang: self.settings.hang, left_behind: self.left_behind.clone() };
        self.running.spawn(attempt.run(context, self.deps.clone(), self.stop.subscribe()));
        self.deps.metrics.jobs.inc();
    }

    async fn settle(&mut self, done: Done) {
        self.deps.metrics.jobs.dec();
        self.taken.remove(&done.id);
        match done.next {
            Next::Complete => {
                self.failed.remove(&done.id);
                self.deps.queue.complete(done.id).await;
            }
            Next::Release { tries } => {
                if tries > 0 {
                    self.failed.insert(done.id, tries);
                } else {
                    self.failed.remove(&done.id);
                }
                self.deps.queue.release(done.id).await;
            }
        }
    }

    /// Measures the jobs and does what the balance orders.
    fn look(&mut self) {
        let loads: Vec<JobLoad> = self.taken.iter_mut().map(|(id, taken)| taken.measure(*id)).collect();
        for order in self.balance.look(self.deps.clock.now(), &loads) {
            match order {
                Order::Shed { id, gear, delay } => self.shed(id, gear, delay),
                Order::Restore { id, gear } => self.restore(id, gear),
            }
        }
    }

    fn shed(&self, id: JobId, gear: usize, delay: Duration) {
        let Some((taken, gear)) = self.gear(id, gear) else { return };
        let rendition = &gear.gear.name;
        self.deps.metrics.gears_shed.inc();
        gear.want(false);
        let session = taken.log().session();
        let delay = delay.as_secs_f64();
        warn!(stream = %session.stream, session = %session.id, %rendition, delay, "gear shed: transcoding is too slow");
        taken.switch(gear, Some(format!("shed: parts were {delay:.1} s late").into()));
    }

    fn restore(&self, id: JobId, gear: usize) {
        let Some((taken, gear)) = self.gear(id, gear) else { return };
        let rendition = &gear.gear.name;
        gear.want(true);
        let session = taken.log().session();
        info!(stream = %session.stream, session = %session.id, %rendition, "gear comes back: there is room again");
        taken.switch(gear, None);
    }

    fn gear(&self, id: JobId, gear: usize) -> Option<(&Taken, &GearState)> {
        let taken = self.taken.get(&id)?;
        Some((taken, taken.state.gears.get(gear)?))
    }
}

impl Taken {
    fn new(writer: Arc<dyn Writer>, job: &Job) -> Self {
        let state = Arc::new(JobState::new(job, |rendition| writer.has(rendition)));
        let cpu = vec![Duration::ZERO; state.gears.len() + 1];
        let now = Instant::now();
        Self { writer, state, cpu, began: now, looked: now, appended: 0, load: None }
    }

    fn log(&self) -> &StreamLog {
        self.writer.log()
    }

    fn switch(&self, gear: &GearState, off: Option<Arc<str>>) {
        self.writer.switch(&gear.gear.name, off);
    }

    /// What it takes as far as that is known: a job that has just begun takes what is expected of it.
    fn expected_load(&self) -> JobLoad {
        let gears = self.state.gears.iter().map(|gear| self.gear_load(gear, 0.0));
        let nothing = || JobLoad { id: JobId(0), decoding: 0.0, live: false, gears: gears.collect() };
        let mut load = self.load.clone().unwrap_or_else(nothing);
        if self.began.elapsed() < YOUNG {
            load.decoding = load.decoding.max(self.decoding_estimate());
            for gear in load.gears.iter_mut().filter(|gear| gear.wanted) {
                gear.cores = gear.cores.max(gear.estimate);
            }
        }
        load
    }

    fn frames_per_second(&self) -> f64 {
        self.log().session().grid.frame_rate.frames_per_second()
    }

    fn estimate(&self, gear: &Gear) -> f64 {
        gear_estimate(gear, gear.frame_rate(self.log().session().grid.frame_rate).frames_per_second())
    }

    fn gear_load(&self, gear: &GearState, cores: f64) -> GearLoad {
        GearLoad {
            // A gear that waits for its cut or does not work is not shed.
            wanted: gear.wanted() || gear.failed(),
            running: gear.running(),
            cores,
            delay: gear.delay(),
            parts: gear.parts(),
            estimate: self.estimate(&gear.gear),
        }
    }

    fn decoding_estimate(&self) -> f64 {
        if self.state.gears.is_empty() {
            return SOUND_CORES;
        }
        let state = self.log().state().borrow().clone();
        let source = state.renditions.iter().find(|known| known.name == RenditionName::source());
        let size = source.and_then(|source| source.init.as_ref()?.resolution);
        let largest = self.state.gears.iter().map(|gear| (gear.gear.width, gear.gear.height)).max();
        let (width, height) = size.or(largest).unwrap_or_default();
        decoding_estimate(width, height, self.frames_per_second())
    }

    /// What it took since the last look.
    fn measure(&mut self, id: JobId) -> JobLoad {
        let now = Instant::now();
        let seconds = (now - self.looked).as_secs_f64().max(0.001);
        self.looked = now;
        let activities =
            std::iter::once(&self.state.decoding).chain(self.state.gears.iter().map(|gear| &gear.activity));
        let mut cores = Vec::with_capacity(self.cpu.len());
        for (before, activity) in self.cpu.iter_mut().zip(activities) {
            let cpu = activity.cpu();
            cores.push(cpu.saturating_sub(*before).as_secs_f64() / seconds);
            *before = cpu;
        }
        let appended = self.log().appended();
        let live = std::mem::replace(&mut self.appended, appended) != appended;
        let gears = self.state.gears.iter().zip(&cores[1..]).map(|(gear, cores)| self.gear_load(gear, *cores));
        let load = JobLoad { id, decoding: cores[0], live, gears: gears.collect() };
        self.load = Some(load.clone());
        load
    }
}

/// One try of a job.
struct Attempt {
    id: JobId,
    /// Tries that failed before it.
    tries: u32,
    hang: Option<Duration>,
    left_behind: Arc<AtomicUsize>,
}

impl Attempt {
    async fn run(self, context: JobContext, deps: Deps, mut stop: watch::Receiver<bool>) -> Done {
        let Self { id, tries, hang, left_behind } = self;
        let (log, state, began) = (context.log.clone(), context.state.clone(), deps.clock.now());
        let writer = context.writer.clone();
        let (waking, audio) = (context.job.waking, context.job.audio.clone());
        let (stream, session) = (&log.session().stream, log.session().id);
        let (why, hangs) = match supervise(context, hang, stop.clone(), left_behind).await {
            Ending::Ended => {
                info!(%stream, %session, "transcoding ended");
                return Done { id, next: Next::Complete };
            }
            Ending::Cold => {
                info!(%stream, %session, "transcoding stopped: nobody watches");
                return Done { id, next: Next::Complete };
            }
            Ending::Stopped => return Done { id, next: Next::Release { tries } },
            Ending::Lost => {
                info!(%stream, %session, "transcoding stopped: its home takes no more parts from here");
                return Done { id, next: Next::Release { tries: 0 } };
            }
            Ending::Failed => ("no encoder works".to_owned(), false),
            Ending::Panicked => ("it panicked".to_owned(), false),
            Ending::Hung(hung) => (hung.to_string(), true),
        };
        deps.metrics.jobs_failed.inc();
        let healthy = deps.clock.now().saturating_since(began) >= HEALTHY;
        let tries = if healthy { 1 } else { tries + 1 };
        if tries >= TRIES_MAX {
            let reason: Arc<str> = format!("failed {tries} times: {why}").into();
            let pictures = state.gears.iter().map(|gear| &gear.gear.name);
            for name in pictures.chain(audio.iter().map(|gear| &gear.name)) {
                writer.switch(name, Some(reason.clone()));
            }
            // Each further try would leave threads behind. Another waking is another job.
            if hangs {
                error!(%stream, %session, tries, why, "transcoding failed, given up until the ladder is woken again");
                return Done { id, next: Next::Complete };
            }
        }
        error!(%stream, %session, tries, why, "transcoding failed, to be tried again");
        if tries > 1 {
            let pause = RETRY_PAUSE.saturating_mul(2_u32.saturating_pow(tries - 2)).min(RETRY_PAUSE_MAX);
            let mut demand = log.demand();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => {}
                _ = demand.wait_for(|demand| !demand.is_awake_for(waking)) => {
                    return Done { id, next: Next::Complete };
                }
            }
        }
        Done { id, next: Next::Release { tries } }
    }
}
