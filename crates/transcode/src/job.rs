//! One job: reads the log, decodes once, and feeds the gears.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use headwater_av::Size;
use headwater_cmaf::read::InitSegment;
use headwater_media::{
    CodecConfig, Colour, Cut, MediaSequence, PartEnd, PartIndex, RenditionName, StampedVideo, Timescale, VideoConfig,
    VideoRange,
};
use headwater_router::{Gear, Item, Job, ReadError, RenditionKind, SampleReader, State, StreamLog, Writer};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::activity::{GearState, JobState};
use crate::cpu::StageTimer;
use crate::gear::{GearWriter, Work};
use crate::picture::{Picture, Sizes};
use crate::slots::{Segment, Slots};
use crate::source::Source;
use crate::{Faults, Metrics};

/// Work that a gear has in front of it at most. When it is full, decoding waits, and with it reading: a job that is too
/// slow for its source falls behind in the log, not in memory.
const WORK_MAX: usize = 6;

/// How a job ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The session is over and all parts are in the log.
    Ended,
    /// It was told to stop.
    Stopped,
    /// No gear works.
    Failed,
}

/// What a job needs.
#[derive(Clone)]
pub(crate) struct JobContext {
    pub(crate) job: Job,
    pub(crate) state: Arc<JobState>,
    pub(crate) log: Arc<StreamLog>,
    pub(crate) writer: Arc<dyn Writer>,
    pub(crate) encoder_threads: u32,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) handle: Handle,
}

impl JobContext {
    /// Does the job on this thread, which waits: for samples, for gears. All threads that it starts have ended when it
    /// returns.
    pub(crate) fn run(self, stop: watch::Receiver<bool>) -> Outcome {
        if !self.job.audio.is_empty() {
            return self.run_audio(stop);
        }
        let gears: Vec<Made> = (0..self.state.gears.len()).map(|index| self.made(index)).collect();
        // A gear that never began begins where the ladder was woken; one that did goes on where it stopped.
        let missing = gears.iter().filter_map(|made| self.writer.next_part(&self.gear(made.index).name));
        let first = missing.map(|(msn, _)| msn).min().unwrap_or_else(|| self.writer.begins());
        let reader = self.log.read_samples_for(first);
        let mut running = Running {
            sizes: Sizes::new(self.state.gears.iter().map(|made| size(&made.gear))),
            source: Source::new(self.log.clone(), self.metrics.clone()),
            slots: Slots::new(),
            first: None,
            newest_cut: None,
            discontinuity: None,
            colour: None,
            last_end: None,
            gears,
            began: false,
            context: self,
        };
        let outcome = running.run(reader, stop);
        running.join();
        outcome
    }

    fn gear(&self, index: usize) -> &Gear {
        &self.state.gears[index].gear
    }

    fn switch(&self, gear: &GearState, off: Option<Arc<str>>) {
        self.writer.switch(&gear.gear.name, off);
    }

    /// The job has read all items before `item`.
    pub(crate) fn set_read(&self, item: u64) {
        self.state.set_read(item);
        self.writer.set_read(item);
    }

    fn made(&self, index: usize) -> Made {
        let name = &self.gear(index).name;
        if !self.state.gears[index].known {
            warn!(
                stream = %self.job.stream, session = %self.job.session, rendition = %name,
                "gear left out: the session has no such rendition"
            );
        }
        Made { index, thread: None }
    }
}

fn size(gear: &Gear) -> Size {
    Size { width: gear.width, height: gear.height }
}

/// A gear of a job that runs.
struct Made {
    index: usize,
    thread: Option<(SyncSender<Work>, JoinHandle<()>)>,
}

/// A job while it runs.
struct Running {
    context: JobContext,
    sizes: Arc<Sizes>,
    source: Source,
    slots: Slots<Arc<Picture>>,
    /// The segment that the gears begin with; parts before it are not theirs.
    first: Option<Segment>,
    /// A cut at which gears may begin or end, until they have.
    newest_cut: Option<Arc<Cut>>,
    discontinuity: Option<u64>,
    /// Colour of all gears, by the first picture.
    colour: Option<Colour>,
    /// The slot after the last closed part.
    last_end: Option<i64>,
    gears: Vec<Made>,
    began: bool,
}

impl Running {
    fn run(&mut self, mut reader: SampleReader, mut stop: watch::Receiver<bool>) -> Outcome {
        let handle = self.context.handle.clone();
        let state = self.context.log.state();
        // What is left of a session that is over is soon done.
        let live = |stop: &bool| *stop && state.borrow().state != State::Ended;
        loop {
            self.context.set_read(reader.position());
            let item = handle.block_on(async {
                tokio::select! {
                    biased;
                    Ok(_) = stop.wait_for(live) => None,
                    item = reader.next() => Some(item),
                }
            });
            self.context.faults.reader();
            match item {
                None => return Outcome::Stopped,
                Some(Ok(Item::Cut(cut))) => self.cut(cut),
                Some(Ok(Item::Video(sample))) => self.video(&sample),
                Some(Ok(Item::PartEnd(end))) => self.part_end(end),
                Some(Ok(Item::Audio(_))) => {}
                Some(Err(ReadError::Lagged)) => self.restart(),
                // `ReadError` may get variants; whatever they say, there is nothing more to read.
                Some(Err(_)) => {
                    self.finish();
                    return if self.context.state.has_failed() { Outcome::Failed } else { Outcome::Ended };
                }
            }
            self.stop_unwanted();
            if self.context.state.has_failed() {
                return Outcome::Failed;
            }
        }
    }

    fn cut(&mut self, cut: Arc<Cut>) {
        let grid = &self.context.log.session().grid;
        let segment = Segment { msn: cut.msn, start: cut.start.ticks / grid.slot_ticks };
        if self.discontinuity.is_some_and(|before| before != cut.discontinuity) {
            // Another publisher, or another clock: nothing of what comes refers to what was.
            self.drain(segment.start);
            self.source.restart();
        }
        self.discontinuity = Some(cut.discontinuity);
        self.first.get_or_insert(segment);
        self.slots.cut(segment);
        self.newest_cut = Some(cut);
    }

    fn video(&mut self, sample: &StampedVideo) {
        if !self.began {
            if !sample.is_entry() {
                return;
            }
        } else if sample.is_entry() && !self.source.fits(sample) {
            self.drain(sample.slot.0);
        }
        if let Some(cut) = self.newest_cut.take() {
            self.start_wanted(&cut, &sample.config);
        }
        let mut timer = StageTimer::start();
        let inside = self.context.state.decoding.enter();
        self.source.push(sample);
        drop(inside);
        self.take_decoded();
        timer.end(&self.context.metrics.cpu.decode);
        self.slots.heard(sample.slot.0);
        self.pass_on();
    }

    fn part_end(&mut self, end: PartEnd) {
        if self.first.is_some_and(|first| end.msn >= first.msn) {
            self.last_end = Some(end.end.0);
            // A part that ends at a cut comes after the cut.
            self.slots.heard(end.end.0 - 1);
            self.take_decoded();
            self.slots.silent(self.source.shown_until(end.end.0));
            self.pass_on();
            self.send(&Work::PartEnd(end));
            // There is nothing to show. Parts so late are gaps for everyone (architecture 6).
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
        self.newest_cut = None;
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
        let inside = self.context.state.decoding.enter();
        self.source.finish();
        drop(inside);
        self.take_decoded();
        self.slots.finish(end);
        self.slots.silent(end);
        self.pass_on();
    }

    fn take_decoded(&mut self) {
        let _inside = self.context.state.decoding.enter();
        while let Some(decoded) = self.source.poll() {
            self.slots.captions(decoded.slot, &decoded.captions);
            match decoded.frame {
                Some(frame) => {
                    let picture = Picture::new(frame, self.sizes.clone(), decoded.received);
                    self.slots.picture(decoded.slot, picture);
                }
                None => self.slots.lost(decoded.slot),
            }
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

    fn send(&mut self, work: &Work) {
        for made in &mut self.gears {
            if let Some((sender, _)) = &made.thread
                && sender.send(work.clone()).is_err()
            {
                made.end(&self.context);
            }
        }
    }

    /// Begins the gears that are to be made from `cut` on. The session's first picture tells their colour.
    fn start_wanted(&mut self, cut: &Cut, config: &VideoConfig) {
        let colour = self.colour.or_else(|| self.opened_colour()).unwrap_or_else(|| colour(config));
        self.colour = Some(colour);
        self.sizes.set_colour(colour);
        let source_off = cut.off_reason(&RenditionName::source()).is_some();
        for index in 0..self.gears.len() {
            let state = &self.context.state.gears[index];
            let on = state.known && state.wanted() && !state.failed() && cut.off_reason(&state.gear.name).is_none();
            if on && (source_off || !state.standby) && self.gears[index].thread.is_none() {
                self.start(index, cut.msn, colour);
            }
        }
        if !self.began {
            self.began = true;
            let JobContext { job, state, .. } = &self.context;
            let gears = state.gears.iter().filter(|gear| gear.running()).count();
            info!(stream = %job.stream, session = %job.session, gears, "transcoding began");
        }
    }

    fn start(&mut self, index: usize, segment: MediaSequence, colour: Colour) {
        let context = self.context.clone();
        let gear = context.gear(index);
        let writer = GearWriter {
            index,
            // Pictures of the segment before it may still be in the decoder, and those that nothing but decoding needs are
            // before where windows begin.
            resume: (context.writer.next_part(&gear.name).unwrap_or_default())
                .max((segment, PartIndex(0)))
                .max((context.writer.begins(), PartIndex(0))),
            size: self.sizes.index(size(gear)),
            metrics: context.metrics.gear(&gear.name),
            context: context.clone(),
        };
        let (sender, receiver) = sync_channel(WORK_MAX);
        let thread = Builder::new().name(gear.name.to_string());
        match thread.spawn(move || writer.run(colour, &receiver)) {
            Ok(thread) => {
                context.state.gears[index].set_running(true);
                self.gears[index].thread = Some((sender, thread));
            }
            Err(error) => {
                context.metrics.encoder_errors.inc();
                context.state.gears[index].fail();
                let (stream, session) = (&context.job.stream, context.job.session);
                warn!(%stream, %session, rendition = %gear.name, %error, "no thread for a gear");
            }
        }
    }

    /// Ends gears for which there is no room any more.
    fn stop_unwanted(&mut self) {
        for made in &mut self.gears {
            if made.thread.is_some() && !self.context.state.gears[made.index].wanted() {
                made.end(&self.context);
            }
        }
    }

    /// The colour that the session's gears have, if a worker has opened one before.
    fn opened_colour(&self) -> Option<Colour> {
        let state = self.context.log.state();
        let state = state.borrow();
        let gears = state.renditions.iter().filter(|rendition| matches!(rendition.kind, RenditionKind::Gear(_)));
        let init = gears.filter_map(|gear| gear.init.as_ref()).next()?;
        let track = InitSegment::parse(&init.data).ok()?.tracks.into_iter().next()?;
        match track.config {
            Some(CodecConfig::Video(config)) => config.colour(),
            _ => None,
        }
    }

    /// Ends the gears' threads: each finishes what it was sent.
    fn join(&mut self) {
        self.gears.iter_mut().for_each(|made| made.end(&self.context));
    }
}

impl Made {
    /// Ends the thread, which has said why if it ended by itself. A panic in a gear's thread is one of the job.
    fn end(&mut self, context: &JobContext) {
        let Some((sender, thread)) = self.thread.take() else { return };
        drop(sender);
        let joined = thread.join();
        let state = &context.state.gears[self.index];
        state.set_running(false);
        if let Err(panic) = joined {
            std::panic::resume_unwind(panic);
        }
        // Where no gear works, the whole job is tried again.
        if state.failed() && !context.state.has_failed() {
            context.switch(state, Some("its encoder does not work".into()));
        }
    }
}

/// Colour for the gears' parameter sets. Where the source does not say, players guess by the height of the picture, and
/// would guess differently for a small gear: so the guess is made once, for the source. Of HDR gears are SDR: 8 bits are too
/// few for more, and who can show it has the source.
fn colour(config: &VideoConfig) -> Colour {
    let (_, height) = config.size();
    let colour = config.colour().map_or(Colour::assumed(height), |colour| colour.or_assumed(height));
    if VideoRange::of(Some(colour)) != VideoRange::Sdr {
        return Colour::HD;
    }
    // The scaler makes the range so.
    Colour { full_range: false, ..colour }
}
