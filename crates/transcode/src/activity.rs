//! What the threads of a job say of themselves while they work, and how one that hangs is found.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use headwater_media::{Instant, RenditionName};
use headwater_router::{Gear, Job};

use crate::cpu;

/// How often a job is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// One thread's signs of life.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Rises when the thread enters a codec and when it leaves it: odd while it is inside.
    beat: AtomicU64,
    cpu_nanos: AtomicU64,
    /// The kernel's number of the thread; 0 before it was inside for the first time.
    thread: AtomicU32,
}

/// The thread is inside a codec until this is dropped.
pub(crate) struct InCodec<'a>(&'a Activity);

impl Activity {
    /// Says that the calling thread is about to enter a codec.
    pub(crate) fn enter(&self) -> InCodec<'_> {
        self.thread.store(cpu::thread(), Ordering::Relaxed);
        self.beat.fetch_add(1, Ordering::Relaxed);
        InCodec(self)
    }

    /// Processor time of the thread so far.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// How long it has waited for a processor in all.
    fn waited(&self) -> Duration {
        cpu::run_queue_wait(self.thread.load(Ordering::Relaxed))
    }

    fn beat(&self) -> u64 {
        self.beat.load(Ordering::Relaxed)
    }
}

impl Drop for InCodec<'_> {
    fn drop(&mut self) {
        let nanos = u64::try_from(cpu::now().as_nanos()).unwrap_or(u64::MAX);
        self.0.cpu_nanos.store(nanos, Ordering::Relaxed);
        self.0.beat.fetch_add(1, Ordering::Relaxed);
    }
}

/// A job as its supervisor sees it; shared with its threads.
#[derive(Debug)]
pub(crate) struct JobState {
    pub(crate) decoding: Activity,
    /// Items of the log that the job has read.
    read: AtomicU64,
    /// The gears, the one in the source's place first, then from large to small.
    pub(crate) gears: Vec<GearState>,
    /// Of the audio gears, in the job's order, whether the session has them.
    pub(crate) audio_known: Vec<bool>,
}

/// One gear of a job.
#[derive(Debug)]
pub(crate) struct GearState {
    pub(crate) gear: Gear,
    /// The session has such a rendition.
    pub(crate) known: bool,
    /// It is made from where the source rendition first goes off.
    pub(crate) standby: bool,
    pub(crate) activity: Activity,
    /// There is room for it.
    wanted: AtomicBool,
    running: AtomicBool,
    /// Its encoder does not work.
    failed: AtomicBool,
    /// From the last frame of its newest part to the part, in milliseconds.
    delay_millis: AtomicU64,
    /// Parts that it has put.
    parts: AtomicU64,
}

impl JobState {
    /// `known` tells whether the session has a rendition.
    pub(crate) fn new(job: &Job, known: impl Fn(&RenditionName) -> bool) -> Self {
        let all = job.standby.iter().map(|gear| (gear, true)).chain(job.gears.iter().map(|gear| (gear, false)));
        Self {
            decoding: Activity::default(),
            read: AtomicU64::new(0),
            gears: all.map(|(gear, standby)| GearState::new(gear, known(&gear.name), standby)).collect(),
            audio_known: job.audio.iter().map(|gear| known(&gear.name)).collect(),
        }
    }

    /// The job has read all items before `item`.
    pub(crate) fn set_read(&self, item: u64) {
        self.read.store(item, Ordering::Relaxed);
    }

    /// Whether no gear that the ladder asks for works.
    pub(crate) fn has_failed(&self) -> bool {
        self.gears.iter().all(|gear| gear.failed() || gear.standby)
            && self.gears.iter().any(|gear| gear.failed() && !gear.standby)
    }
}

impl GearState {
    fn new(gear: &Gear, known: bool, standby: bool) -> Self {
        Self {
            gear: gear.clone(),
            known,
            standby,
            activity: Activity::default(),
            wanted: AtomicBool::new(true),
            running: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            delay_millis: AtomicU64::new(0),
            parts: AtomicU64::new(0),
        }
    }

    pub(crate) fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    pub(crate) fn running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    pub(crate) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Relaxed);
        self.delay_millis.store(0, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// A part is in the log at `now` whose last frame came in at `received`.
    pub(crate) fn part(&self, now: Instant, received: Instant) {
        let millis = now.saturating_since(received).as_millis();
        self.delay_millis.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.parts.fetch_add(1, Ordering::Relaxed);
    }

    /// How many parts it has put.
    pub(crate) fn parts(&self) -> u64 {
        self.parts.load(Ordering::Relaxed)
    }

    /// How late its newest part was.
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_millis.load(Ordering::Relaxed))
    }
}

/// Finds a job that hangs: a thread that does not come out of its codec, or samples that nobody reads.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// How long nothing moves, less the time that it waits for a processor, before a job counts as lost.
    patience: Duration,
    threads: Vec<Still>,
    reading: Still,
}

#[derive(Clone, Copy, Debug, Default)]
struct Still {
    value: u64,
    /// Looks in a row at which it has not moved.
    ticks: u32,
    /// What the thread had waited for a processor at the first of them.
    waited: Duration,
}

/// What hangs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Hung {
    Decoder,
    Gear(RenditionName),
    Reader,
}

impl std::fmt::Display for Hung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decoder => f.write_str("its decoder hangs"),
            Self::Gear(name) => write!(f, "the encoder of {name} hangs"),
            Self::Reader => f.write_str("it reads no samples"),
        }
    }
}

impl Pulse {
    pub(crate) fn new(state: &JobState, hang: Duration) -> Self {
        Self { patience: hang, threads: vec![Still::default(); state.gears.len() + 1], reading: Still::default() }
    }

    /// One look, at a log that has `appended` items; without them, reading is not looked at.
    pub(crate) fn look(&mut self, state: &JobState, appended: Option<u64>) -> Option<Hung> {
        let activities = std::iter::once(&state.decoding).chain(state.gears.iter().map(|gear| &gear.activity));
        let mut first: Option<(usize, Duration)> = None;
        let mut beats = 0_u64;
        for (index, (still, activity)) in self.threads.iter_mut().zip(activities).enumerate() {
            let beat = activity.beat();
            beats = beats.wrapping_add(beat);
            let stood = still.look(beat, beat % 2 == 1, self.patience, activity);
            // One that waits for what another is making stands still, too, but not for as long.
            if stood >= self.patience && first.is_none_or(|(_, longest)| stood > longest) {
                first = Some((index, stood));
            }
        }
        let read = state.read.load(Ordering::Relaxed);
        let unread = appended.is_some_and(|appended| read < appended);
        // While a thread works, reading may have to wait for it.
        let moved = read.wrapping_add(beats);
        let reader_hangs = self.reading.look(moved, unread, self.patience, &state.decoding) >= self.patience;
        match first {
            Some((0, _)) => Some(Hung::Decoder),
            Some((index, _)) => Some(Hung::Gear(state.gears[index - 1].gear.name.clone())),
            None => reader_hangs.then_some(Hung::Reader),
        }
    }
}

impl Still {
    /// How long it has not moved, less the time that its thread has waited for a processor: a machine that is too slow is
    /// no codec that hangs. The kernel is asked at the first look and when the patience is over.
    fn look(&mut self, value: u64, should_move: bool, patience: Duration, activity: &Activity) -> Duration {
        if !should_move || value != self.value {
            *self = Self { value, ..Self::default() };
            return Duration::ZERO;
        }
        self.ticks += 1;
        let stood = TICK * self.ticks;
        if self.ticks == 1 {
            self.waited = activity.waited();
        } else if stood >= patience {
            return stood.saturating_sub(activity.waited().saturating_sub(self.waited));
        }
        stood
    }
}

#[cfg(test)]
mod tests {
    use headwater_media::{Epoch, SessionId};

    use super::*;

    fn state() -> JobState {
        let job = Job {
            stream: "live/show".parse().unwrap(),
            session: SessionId::from_random([1; 10]),
            epoch: Epoch(1),
            waking: 1,
            audio: [].into(),
            gears: [Gear::new(640, 360, 730, "superfast")].into(),
            standby: Some(Gear::new(1280, 720, 3000, "superfast")),
        };
        JobState::new(&job, |_| true)
    }

    #[test]
    fn a_thread_that_does_not_come_out_of_its_codec_is_found_after_eight_looks() {
        let state = state();
        let mut pulse = Pulse::new(&state, crate::HANG);
        let _inside = state.gears[1].activity.enter();
        let (looks, hung) = (0..1000).find_map(|look| Some((look, pulse.look(&state, Some(0))?))).unwrap();
        // Later where this very thread had to wait for a processor.
        assert!(looks >= 8, "after {looks}");
        assert_eq!(hung, Hung::Gear(state.gears[1].gear.name.clone()));
    }

    #[test]
    fn a_thread_that_works_or_waits_does_not_hang() {
        let state = state();
        let mut pulse = Pulse::new(&state, crate::HANG);
        for _ in 0..20 {
            drop(state.decoding.enter());
            let _inside = state.gears[0].activity.enter();
            assert_eq!(pulse.look(&state, Some(0)), None);
        }
    }

    #[test]
    fn a_job_that_reads_nothing_hangs_only_when_there_is_something_to_read() {
        let state = state();
        let mut pulse = Pulse::new(&state, crate::HANG);
        state.set_read(5);
        assert!((0..20).all(|_| pulse.look(&state, Some(5)).is_none()));
        assert_eq!((0..8).filter_map(|_| pulse.look(&state, Some(6))).next(), Some(Hung::Reader));
    }

    #[test]
    fn processor_time_is_that_of_the_thread_in_the_codec() {
        let activity = Activity::default();
        let inside = activity.enter();
        std::hint::black_box((0..1_000_000_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number)));
        drop(inside);
        assert!(activity.cpu() > Duration::ZERO);
    }
}
