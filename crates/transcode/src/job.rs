//! One job: reads the log, decodes once, and feeds the gears.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use headwater_av::Size;
use headwater_media::{AvcConfig, Colour, Cut, PartEnd, StampedVideo, Timescale, Turn};
use headwater_router::{Gear, Item, Job, Log, ReadError, SampleReader, State, StreamLog};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::Metrics;
use crate::gear::{GearWriter, Work};
use crate::picture::{Picture, Sizes};
use crate::slots::{Segment, Slots};
use crate::source::Source;

/// Work that a gear has in front of it at most. When it is full, decoding waits, and with it reading: a job that is too
/// slow for its source falls behind in the log, not in memory.
const WORK_MAX: usize = 6;

/// How a job ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The session is over and all parts are in the log.
    Ended,
    /// The service stops.
    Stopped,
    /// No gear works.
    Failed,
}

/// What a job needs.
pub(crate) struct JobContext {
    pub(crate) job: Job,
    pub(crate) log: Arc<StreamLog>,
    pub(crate) parts: Arc<dyn Log>,
    pub(crate) encoder_threads: u32,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handle: Handle,
    pub(crate) stop: watch::Receiver<bool>,
}

impl JobContext {
    /// Does the job on this thread, which waits: for samples, for gears. All threads that it starts have ended when it
    /// returns.
    pub(crate) fn run(mut self) -> Outcome {
        let sizes = Sizes::new(self.job.gears.iter().map(size));
        let turns = self.take_turns();
        // A gear that never began begins with the newest segment; one that did goes on where it stopped.
        let missing = turns.iter().filter_map(|(gear, _)| self.log.next_part(&gear.name));
        let reader = match missing.map(|(msn, _)| msn).min() {
            Some(msn) => self.log.read_samples_for(msn),
            None => self.log.read_samples(),
        };
        let stop = self.stop.clone();
        std::thread::scope(|scope| {
            let mut running = Running {
                source: Source::new(self.log.clone(), self.metrics.clone()),
                slots: Slots::new(self.log.session().grid.part_slots),
                first: None,
                newest: None,
                discontinuity: None,
                last_end: None,
                gears: Vec::new(),
                started: false,
                scope,
                sizes,
                turns,
                context: &self,
            };
            let outcome = running.run(reader, stop);
            running.join();
            outcome
        })
    }

    /// One turn per gear. A gear that the session does not have is left out.
    fn take_turns(&mut self) -> Vec<(Gear, Turn)> {
        let mut turns = Vec::new();
        for gear in self.job.gears.iter() {
            match self.log.give_turn(&gear.name) {
                Some(turn) => turns.push((gear.clone(), turn)),
                None => warn!(
                    stream = %self.job.stream, session = %self.job.session, rendition = %gear.name,
                    "gear left out: the session has no such rendition"
                ),
            }
        }
        turns
    }
}

fn size(gear: &Gear) -> Size {
    Size { width: gear.width, height: gear.height }
}

/// A job while it runs.
struct Running<'scope, 'env> {
    context: &'env JobContext,
    scope: &'scope Scope<'scope, 'env>,
    sizes: Arc<Sizes>,
    turns: Vec<(Gear, Turn)>,
    source: Source,
    slots: Slots<Arc<Picture>>,
    /// The segment that the gears begin with; parts before it are not theirs.
    first: Option<Segment>,
    newest: Option<Segment>,
    discontinuity: Option<u64>,
    /// The slot after the last closed part.
    last_end: Option<i64>,
    started: bool,
    gears: Vec<(SyncSender<Work>, ScopedJoinHandle<'scope, ()>)>,
}

impl Running<'_, '_> {
    fn run(&mut self, mut reader: SampleReader, mut stop: watch::Receiver<bool>) -> Outcome {
        let handle = self.context.handle.clone();
        let state = self.context.log.state();
        // What is left of a session that is over is soon done.
        let live = |stop: &bool| *stop && state.borrow().state != State::Ended;
        loop {
            let item = handle.block_on(async {
                tokio::select! {
                    biased;
                    Ok(_) = stop.wait_for(live) => None,
                    item = reader.next() => Some(item),
                }
            });
            match item {
                None => return Outcome::Stopped,
                Some(Ok(Item::Cut(cut))) => self.cut(&cut),
                Some(Ok(Item::Video(sample))) => self.video(&sample),
                Some(Ok(Item::PartEnd(end))) => self.part_end(end),
                Some(Ok(Item::Audio(_))) => {}
                Some(Err(ReadError::Lagged)) => self.restart(),
                // `ReadError` may get variants; whatever they say, there is nothing more to read.
                Some(Err(_)) => {
                    self.finish();
                    return if self.started && self.gears.is_empty() { Outcome::Failed } else { Outcome::Ended };
                }
            }
            if self.started && self.gears.is_empty() {
                return Outcome::Failed;
            }
        }
    }

    fn cut(&mut self, cut: &Cut) {
        let grid = &self.context.log.session().grid;
        let segment = Segment { msn: cut.msn, start: cut.start.ticks / grid.slot_ticks };
        if self.discontinuity.is_some_and(|before| before != cut.discontinuity) {
            // Another publisher, or another clock: nothing of what comes refers to what was.
            self.drain(segment.start);
            self.source.restart();
        }
        self.discontinuity = Some(cut.discontinuity);
        self.first.get_or_insert(segment);
        self.newest = Some(segment);
        self.slots.cut(segment);
    }

    fn video(&mut self, sample: &StampedVideo) {
        if !self.source.takes(sample) {
            return;
        }
        if !self.started {
            self.start(&sample.config);
        } else if !self.source.fits(sample) {
            self.drain(sample.slot.0);
        }
        self.source.push(sample);
        self.slots.heard(sample.slot.0);
        self.pass_on();
    }

    fn part_end(&mut self, end: PartEnd) {
        if self.first.is_some_and(|first| end.msn >= first.msn) {
            self.last_end = Some(end.end.0);
            // A part that ends at a cut comes after the cut.
            self.slots.heard(end.end.0 - 1);
            self.pass_on();
            self.send(&Work::PartEnd(end));
            // Video is silent and sound goes on. Parts so late are gaps for everyone (architecture 4).
            let grid = &self.context.log.session().grid;
            let late = 2 * i64::from(grid.target_duration * Timescale::VIDEO.units_per_second()) / grid.slot_ticks;
            if self.slots.skip_to(end.end.0 - late) {
                self.send(&Work::SkipTo(end.end.0 - late));
            }
        }
    }

    /// Samples were dropped before they were read: go on at the cut that the reader now stands at.
    fn restart(&mut self) {
        self.context.metrics.lagged.inc();
        let session = self.context.log.session();
        warn!(stream = %session.stream, session = %session.id, "transcoding is too slow: samples were skipped");
        self.source.restart();
        self.slots.restart();
        self.first = None;
        self.newest = None;
        self.discontinuity = None;
        self.last_end = None;
        self.send(&Work::Restart);
    }

    fn finish(&mut self) {
        if let Some(end) = self.last_end {
            self.drain(end);
        }
        self.send(&Work::Finish);
    }

    /// Lets out the pictures that are held back and have a place below `end`.
    fn drain(&mut self, end: i64) {
        self.source.finish();
        self.take_decoded();
        self.slots.finish(end);
        self.pass_on();
    }

    fn take_decoded(&mut self) {
        while let Some(decoded) = self.source.poll() {
            let picture = Picture::new(decoded.frame, self.sizes.clone(), decoded.received);
            self.slots.picture(decoded.slot, picture);
        }
    }

    /// Decoded pictures go to the gears as soon as they have their slots.
    fn pass_on(&mut self) {
        self.take_decoded();
        while let Some(slot) = self.slots.poll() {
            self.send(&Work::Slot(slot));
        }
        let counts = self.slots.take_counts();
        self.context.metrics.pictures_repeated.inc_by(counts.repeated);
        self.context.metrics.pictures_dropped.inc_by(counts.dropped);
    }

    /// Gears that are gone have said why.
    fn send(&mut self, work: &Work) {
        for index in (0..self.gears.len()).rev() {
            if self.gears[index].0.send(work.clone()).is_err() {
                let (_, thread) = self.gears.remove(index);
                join(thread);
            }
        }
    }

    /// Opens the gears: the first picture tells the source's colour.
    fn start(&mut self, config: &AvcConfig) {
        self.started = true;
        let colour = colour(config);
        let JobContext { job, log, parts, encoder_threads, metrics, handle, .. } = self.context;
        for (gear, turn) in std::mem::take(&mut self.turns) {
            let name = gear.name.clone();
            let writer = GearWriter {
                turn,
                resume: log.next_part(&gear.name),
                size: self.sizes.index(size(&gear)),
                encoder_threads: *encoder_threads,
                parts: parts.clone(),
                log: log.clone(),
                handle: handle.clone(),
                metrics: metrics.gear(&gear.name),
                gear,
            };
            let (sender, receiver) = sync_channel(WORK_MAX);
            let thread = Builder::new().name(name.to_string());
            match thread.spawn_scoped(self.scope, move || writer.run(colour, &receiver)) {
                Ok(thread) => self.gears.push((sender, thread)),
                Err(error) => {
                    metrics.encoder_errors.inc();
                    warn!(stream = %job.stream, session = %job.session, rendition = %name, %error, "no thread for a gear");
                }
            }
        }
        let gears = self.gears.len();
        info!(stream = %job.stream, session = %job.session, gears, "transcoding began");
    }

    /// Ends the gears' threads: each finishes what it was sent.
    fn join(mut self) {
        for (sender, thread) in self.gears.drain(..) {
            drop(sender);
            join(thread);
        }
    }
}

/// A panic in a gear's thread is one of the job.
fn join(thread: ScopedJoinHandle<'_, ()>) {
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Colour for the gears' parameter sets. Where the source does not say, players guess by the height of the picture, and
/// would guess differently for a small gear: so the guess is made once, for the source.
fn colour(config: &AvcConfig) -> Colour {
    const UNSPECIFIED: u8 = 2;
    let said = config.parsed.colour;
    let guess = if config.parsed.height >= 720 { BT_709 } else { SMPTE_170M };
    let known = |value: Option<u8>| value.filter(|value| *value != UNSPECIFIED && *value != 0).unwrap_or(guess);
    Colour {
        primaries: known(said.map(|colour| colour.primaries)),
        transfer: known(said.map(|colour| colour.transfer)),
        matrix: known(said.map(|colour| colour.matrix)),
        // The scaler makes it so.
        full_range: false,
    }
}

/// Code point of BT.709 in all three tables of ITU-T H.273.
const BT_709: u8 = 1;
/// Code point of SMPTE 170M, the colour of SD, in all three tables.
const SMPTE_170M: u8 = 6;
