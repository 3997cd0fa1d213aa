//! A session around the transcoder: the real timeline, log and queue, fed by hand.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![allow(dead_code, reason = "each test file uses its part of it")]

pub(crate) mod clip;
pub(crate) mod fields;
pub(crate) mod gears;
pub(crate) mod sound;

use std::iter::Peekable;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clip::Clip;
use headwater_media::captions::Channels;
use headwater_media::{
    AccessUnit, AudioFrame, Clock, Cut, Epoch, Init, Instant, MediaSequence, Part, PartEnd, PartIndex, RenditionName,
    SessionId, StampedVideo, StreamName, Timestamp, WallTime,
};
use headwater_router::embedded::{EmbeddedLog, EmbeddedQueue};
use headwater_router::{
    AudioGear, BoxFuture, FeedItem, Gear, GoingOn, Item, Job, JobId, Limits, Log, NoWriter, Posters, PutOutcome, Queue,
    Rendition, RenditionKind, Session, SessionState, State, StreamLog, Writer,
};
use headwater_segmenter::timeline::{Config, Started};
use headwater_segmenter::{Event, Profile, Timeline};
use headwater_transcode::{Deps, Faults, Metrics, Settings};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub(crate) struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> WallTime {
        WallTime::default()
    }
}

impl HandClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::Relaxed);
    }
}

/// The embedded queue, which also tells what became of jobs.
#[derive(Debug, Default)]
pub(crate) struct Board {
    queue: EmbeddedQueue,
    done: Notify,
    history: Mutex<Vec<&'static str>>,
}

impl Board {
    fn note(&self, what: &'static str) {
        self.history.lock().unwrap().push(what);
        self.done.notify_one();
    }

    /// Waits until `what` has happened `count` times.
    pub(crate) async fn wait_for(&self, what: &str, count: usize) {
        while self.history.lock().unwrap().iter().filter(|happened| **happened == what).count() < count {
            self.done.notified().await;
        }
    }

    pub(crate) fn history(&self) -> Vec<&'static str> {
        self.history.lock().unwrap().clone()
    }
}

impl Queue for Board {
    fn post(&self, job: Job) -> BoxFuture<'_, JobId> {
        self.queue.post(job)
    }

    fn take(&self) -> BoxFuture<'_, (JobId, Job)> {
        Box::pin(async {
            let taken = self.queue.take().await;
            self.note("taken");
            taken
        })
    }

    fn release(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.queue.release(id).await;
            self.note("released");
        })
    }

    fn complete(&self, id: JobId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.queue.complete(id).await;
            self.note("completed");
        })
    }

    fn withdraw(&self, id: JobId) -> BoxFuture<'_, ()> {
        self.queue.withdraw(id)
    }

    fn waiting(&self) -> BoxFuture<'_, usize> {
        self.queue.waiting()
    }
}

/// The embedded log, as a worker sees it that has trouble with it.
#[derive(Debug)]
pub(crate) struct Troubled {
    log: Arc<EmbeddedLog>,
    /// Parts are taken only while it is open.
    pub(crate) gate: watch::Sender<bool>,
    /// The put with this number, counted from 0, panics.
    pub(crate) panic_at: Option<u64>,
    puts: Arc<AtomicU64>,
}

impl Log for Troubled {
    fn open(&self, state: SessionState) -> Arc<StreamLog> {
        self.log.open(state)
    }

    fn close(&self, log: &Arc<StreamLog>) {
        self.log.close(log);
    }

    fn find<'a>(&'a self, stream: &'a StreamName) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        self.log.find(stream)
    }

    fn find_session<'a>(&'a self, stream: &'a StreamName, id: SessionId) -> BoxFuture<'a, Option<Arc<StreamLog>>> {
        self.log.find_session(stream, id)
    }

    fn list(&self) -> BoxFuture<'_, Vec<Arc<StreamLog>>> {
        self.log.list()
    }

    fn write<'a>(&'a self, id: JobId, job: &'a Job) -> BoxFuture<'a, Result<Arc<dyn Writer>, NoWriter>> {
        Box::pin(async move {
            let writer = self.log.write(id, job).await?;
            let (gate, panic_at, puts) = (self.gate.subscribe(), self.panic_at, self.puts.clone());
            Ok(Arc::new(TroubledWriter { writer, gate, panic_at, puts }) as Arc<dyn Writer>)
        })
    }
}

struct TroubledWriter {
    writer: Arc<dyn Writer>,
    gate: watch::Receiver<bool>,
    panic_at: Option<u64>,
    puts: Arc<AtomicU64>,
}

impl Writer for TroubledWriter {
    fn log(&self) -> &Arc<StreamLog> {
        self.writer.log()
    }

    fn has(&self, rendition: &RenditionName) -> bool {
        self.writer.has(rendition)
    }

    fn next_part(&self, rendition: &RenditionName) -> Option<(MediaSequence, PartIndex)> {
        self.writer.next_part(rendition)
    }

    fn covered(&self, rendition: &RenditionName) -> Option<Timestamp> {
        self.writer.covered(rendition)
    }

    fn begins(&self) -> MediaSequence {
        self.writer.begins()
    }

    fn put_part<'a>(&'a self, rendition: &'a RenditionName, part: Part) -> BoxFuture<'a, PutOutcome> {
        let number = self.puts.fetch_add(1, Ordering::Relaxed);
        assert!(self.panic_at != Some(number), "a panic that a test wants");
        Box::pin(async move {
            let _ = self.gate.clone().wait_for(|open| *open).await;
            self.writer.put_part(rendition, part).await
        })
    }

    fn switch(&self, rendition: &RenditionName, off: Option<Arc<str>>) {
        self.writer.switch(rendition, off);
    }

    fn opened(&self, rendition: &RenditionName, init: Arc<Init>) {
        self.writer.opened(rendition, init);
    }

    fn set_read(&self, items: u64) {
        self.writer.set_read(items);
    }

    fn lost(&self) -> watch::Receiver<bool> {
        self.writer.lost()
    }
}

/// A running transcoder.
pub(crate) struct Worker {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.await.unwrap();
    }
}

/// One stream with its home, on paper.
pub(crate) struct Stage {
    pub(crate) clock: Arc<HandClock>,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) board: Arc<Board>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) faults: Arc<Faults>,
    /// A transcoder's patience; without it, it waits for a test for ever.
    pub(crate) hang: Option<Duration>,
    pub(crate) posters: Arc<Posters>,
    pub(crate) gears: Vec<Gear>,
    /// Gears of one job at most; 0: all of them.
    pub(crate) gears_per_job: usize,
    /// Jobs of one transcoder at once.
    pub(crate) jobs_max: usize,
    /// The gear that takes the source's place.
    pub(crate) standby: Option<Gear>,
    /// Made of the sound, by a job of their own.
    pub(crate) audio: Vec<AudioGear>,
    pub(crate) timeline: Timeline,
    pub(crate) epoch: Epoch,
    pub(crate) open: Option<Arc<StreamLog>>,
    pub(crate) cuts: Vec<Arc<Cut>>,
    pub(crate) ends: Vec<PartEnd>,
    pub(crate) samples: Vec<StampedVideo>,
}

impl Stage {
    /// A session of `profile` with these gears, before its first publisher.
    pub(crate) fn new(profile: Profile, gears: Vec<Gear>) -> Self {
        // Tests publish faster than in real time and read at the end: everything is kept.
        Self::with_ring(profile, gears, Duration::from_secs(3600))
    }

    /// The same with a log that keeps samples for `ring`.
    pub(crate) fn with_ring(profile: Profile, gears: Vec<Gear>, ring: Duration) -> Self {
        let limits = Limits { ring, ring_bytes_max: 1 << 30, extra_segments: 1000, late_targets: 1000 };
        let clock = Arc::new(HandClock::default());
        let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default(), clock.clone());
        Self {
            log: Arc::new(EmbeddedLog::new(limits)),
            board: Arc::default(),
            metrics: Arc::new(metrics),
            faults: Arc::default(),
            hang: None,
            posters: Arc::new(Posters::new(Some(Duration::from_secs(5)))),
            clock,
            gears,
            gears_per_job: 0,
            jobs_max: 2,
            standby: None,
            audio: Vec::new(),
            timeline: Timeline::new(Config { profile, source_may_be_off: true }),
            epoch: Epoch(0),
            open: None,
            cuts: Vec::new(),
            ends: Vec::new(),
            samples: Vec::new(),
        }
    }

    pub(crate) fn clock_now(&self) -> Instant {
        self.clock.now()
    }

    /// Starts a transcoder.
    pub(crate) fn worker(&self) -> Worker {
        self.worker_with(self.log.clone())
    }

    /// A log for [`worker_with`](Self::worker_with).
    pub(crate) fn troubled(&self) -> Troubled {
        Troubled { log: self.log.clone(), gate: watch::Sender::new(true), panic_at: None, puts: Arc::default() }
    }

    /// Starts a transcoder that has its own view of the log.
    pub(crate) fn worker_with(&self, log: Arc<dyn Log>) -> Worker {
        self.worker_on(log, self.board.clone())
    }

    /// Starts one that has its own view of the board, too.
    pub(crate) fn worker_on(&self, log: Arc<dyn Log>, queue: Arc<dyn Queue>) -> Worker {
        let settings = Settings { jobs_max: self.jobs_max, encoder_threads: 1, cores: None, hang: self.hang };
        let deps = Deps {
            clock: self.clock.clone(),
            log,
            queue,
            posters: self.posters.clone(),
            metrics: self.metrics.clone(),
            faults: self.faults.clone(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        Worker { stop, thread: tokio::spawn(headwater_transcode::run(settings, deps, shutdown)) }
    }

    /// A publisher comes, or the next one.
    pub(crate) fn begin(&mut self, clip: &Clip) {
        self.epoch = Epoch(self.epoch.0 + 1);
        if let Some(log) = &self.open {
            log.go_on(&GoingOn { epoch: self.epoch, cuts: Vec::new(), writable: Vec::new() }).unwrap();
        }
        self.timeline.begin_publisher(self.clock.now(), self.clock.wall());
        self.timeline.set_video_config(clip.config.clone());
        self.timeline.hint_frame_rate(clip.rate);
    }

    /// The publisher goes on with pictures of another kind: `clip` from `at_millis` on.
    pub(crate) async fn go_on(&mut self, clip: &Clip, at_millis: u32) {
        self.timeline.set_video_config(clip.config.clone());
        let later = |unit: &AccessUnit| AccessUnit { dts_millis: unit.dts_millis + at_millis, ..unit.clone() };
        let units: Vec<AccessUnit> = clip.units.iter().map(later).collect();
        self.publish(&units).await;
    }

    /// It sends pictures, 30 a second by the clock.
    pub(crate) async fn publish(&mut self, units: &[AccessUnit]) {
        for unit in units {
            self.clock.advance(Duration::from_millis(33));
            self.timeline.handle_video_start(unit.dts_millis, unit.idr);
            self.timeline.handle_video(self.clock.now(), unit.clone()).unwrap();
            self.flush().await;
        }
    }

    /// It sends pictures, in front of a transcoder that is to make all of them: one that begins late begins at the newest
    /// cut, so the rest waits until the first parts are there.
    pub(crate) async fn publish_whole(&mut self, units: &[AccessUnit]) {
        let mut sent = 0;
        while self.ends.is_empty() {
            self.publish(&units[sent..=sent]).await;
            sent += 1;
        }
        self.wait_for_parts(1).await;
        self.publish(&units[sent..]).await;
    }

    /// Waits until the transcoder has begun with a job.
    pub(crate) async fn wait_until_a_job_runs(&self) {
        while self.metrics.jobs.get() == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until each gear has `count` parts.
    pub(crate) async fn wait_for_parts(&self, count: usize) {
        for gear in &self.gears {
            let mut reader = self.log().read_parts(&gear.name).unwrap();
            let mut parts = 0;
            while parts < count {
                parts += usize::from(matches!(reader.next().await.unwrap(), FeedItem::Part(_)));
            }
        }
    }

    /// It sends sound: AAC frames of 48 kHz by number, 46.875 a second.
    pub(crate) async fn publish_sound(&mut self, frames: std::ops::Range<u32>) {
        for number in frames {
            let frame = AudioFrame { data: Bytes::from_static(b"sound"), pts_millis: number * 64 / 3 };
            self.timeline.handle_audio(self.clock.now(), frame);
            self.flush().await;
        }
    }

    /// It sends pictures with the sound that belongs before them.
    pub(crate) async fn publish_with(
        &mut self,
        units: &[AccessUnit],
        sound: &mut Peekable<impl Iterator<Item = AudioFrame>>,
    ) {
        for unit in units {
            while let Some(frame) = sound.next_if(|frame| frame.pts_millis <= unit.dts_millis) {
                self.timeline.handle_audio(self.clock.now(), frame);
                self.flush().await;
            }
            self.publish(std::slice::from_ref(unit)).await;
        }
    }

    /// Time passes without anything being sent.
    pub(crate) async fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.timeline.handle_timeout(self.clock.now());
        self.flush().await;
    }

    /// The session ends.
    pub(crate) async fn end(&mut self) {
        self.timeline.finish();
        self.flush().await;
        self.log().end();
    }

    /// A whole session: one publisher, one transcoder.
    pub(crate) async fn play(&mut self, clip: &Clip) {
        let worker = self.worker();
        self.begin(clip);
        self.publish_whole(&clip.units).await;
        self.pass(Duration::from_secs(2)).await;
        self.end().await;
        self.board.wait_for("completed", 1).await;
        worker.stop().await;
    }

    pub(crate) fn log(&self) -> &Arc<StreamLog> {
        self.open.as_ref().expect("samples were stamped")
    }

    /// The slots where segments begin.
    pub(crate) fn cut_slots(&self) -> Vec<i64> {
        let slot_ticks = self.log().session().grid.slot_ticks;
        self.cuts.iter().map(|cut| cut.start.ticks / slot_ticks).collect()
    }

    async fn flush(&mut self) {
        while let Some(event) = self.timeline.poll_event() {
            let item = match event {
                Event::Started(started) => {
                    self.start(&started).await;
                    continue;
                }
                Event::Added(_) => continue,
                Event::Cut(cut) => {
                    self.cuts.push(cut.clone());
                    Item::Cut(cut)
                }
                Event::Video(video) => {
                    self.samples.push(video.clone());
                    Item::Video(video)
                }
                Event::Audio(audio) => Item::Audio(audio),
                Event::PartEnd(end) => {
                    self.ends.push(end);
                    Item::PartEnd(end)
                }
            };
            self.log().append(self.epoch, item).unwrap();
        }
    }

    async fn start(&mut self, started: &Started) {
        let stream: StreamName = "live/show".parse().unwrap();
        let id = SessionId::from_random([7; 10]);
        let session = Session {
            stream: stream.clone(),
            id,
            grid: started.grid,
            window_segments: 1000,
            since: WallTime::default(),
        };
        let video = self.standby.iter().chain(&self.gears).map(|gear| (&gear.name, RenditionKind::Gear(gear.clone())));
        let audio = self.audio.iter().map(|gear| (&gear.name, RenditionKind::AudioGear(gear.clone())));
        let renditions = video.chain(audio).map(|(name, kind)| Rendition {
            standby: self.standby.as_ref().is_some_and(|standby| standby.name == *name),
            frame_rate: match &kind {
                RenditionKind::Gear(gear) => Some(gear.frame_rate(started.grid.frame_rate)),
                _ => None,
            },
            name: name.clone(),
            kind,
            init: None,
            begun: false,
            average_bps: 0,
            peak_bps: 0,
            channels: None,
            off: None,
        });
        self.open = Some(self.log.open(SessionState {
            session: Arc::new(session),
            epoch: self.epoch,
            state: State::Live,
            publisher: None,
            renditions: renditions.collect(),
            captions: Channels::default(),
        }));
        self.post().await;
    }

    /// Puts the job on the board.
    pub(crate) async fn post(&self) {
        let session = self.log().session();
        let (stream, session) = (session.stream.clone(), session.id);
        self.log().watched(self.clock.now());
        let waking = self.log().demand().borrow().waking;
        let mut standby = self.standby.clone();
        let job = Job { stream, session, epoch: self.epoch, waking, gears: [].into(), standby: None, audio: [].into() };
        let most = if self.gears_per_job == 0 { usize::MAX } else { self.gears_per_job };
        for gears in self.gears.chunks(most) {
            self.board.post(Job { gears: gears.into(), standby: standby.take(), ..job.clone() }).await;
        }
        if !self.audio.is_empty() {
            let audio = self.audio.clone().into();
            self.board.post(Job { audio, ..job }).await;
        }
    }
}
