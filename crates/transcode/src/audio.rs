//! A job of sound: reads the log, decodes the source's sound once, and makes each audio gear of it, all on one thread.
//!
//! ```text
//!   log --items--> decode --+--> line: resample, fill, trim --1024 samples--> encode --> package --> log
//!                           +--> ...
//! ```
//!
//! Frame k of a gear holds samples 1024 k to 1024 k + 1023 of the session's timeline, so every worker makes frames, and
//! therefore parts, with the same boundaries. What the source does not have is silence.

mod line;
mod source;
mod track;

use headwater_av::Error;
use headwater_media::{Cut, MediaSequence, PartEnd, StampedAudio};
use headwater_router::{Item, ReadError, State};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::job::{JobContext, Outcome};
use source::Source;
use track::Track;

impl JobContext {
    /// Does a job of sound on this thread.
    pub(crate) fn run_audio(self, mut stop: watch::Receiver<bool>) -> Outcome {
        let mut tracks = Vec::new();
        for (gear, known) in self.job.audio.iter().zip(&self.state.audio_known) {
            if *known {
                tracks.push(Track::new(&self, gear.clone()));
            } else {
                warn!(
                    stream = %self.job.stream, session = %self.job.session, rendition = %gear.name,
                    "audio gear left out: the session has no such rendition"
                );
            }
        }
        // What is left of a session that is over is soon done.
        let state = self.log.state();
        let live = |stop: &bool| *stop && state.borrow().state != State::Ended;
        let first = tracks.iter().filter_map(Track::first_segment).min();
        let mut reader = match first {
            // The segment before warms up decoders and encoders.
            Some(msn) => self.log.read_samples_from(MediaSequence(msn.0.saturating_sub(1))),
            None => self.log.read_samples(),
        };
        info!(stream = %self.job.stream, session = %self.job.session, gears = tracks.len(), "encoding of sound began");
        let source = Source::new(self.log.clone(), self.metrics.clone());
        let mut running = Running { context: &self, source, tracks, discontinuity: None };
        loop {
            running.context.set_read(reader.position());
            let item = running.context.handle.block_on(async {
                tokio::select! {
                    biased;
                    Ok(_) = stop.wait_for(live) => None,
                    item = reader.next() => Some(item),
                }
            });
            match item {
                None => return Outcome::Stopped,
                Some(Ok(Item::Cut(cut))) => running.cut(&cut),
                Some(Ok(Item::Audio(frame))) => running.sound(&frame),
                Some(Ok(Item::PartEnd(end))) => running.part_end(end),
                Some(Ok(Item::Video(_))) => {}
                Some(Err(ReadError::Lagged)) => running.restart(),
                // `ReadError` may get variants; whatever they say, there is nothing more to read.
                Some(Err(_)) => {
                    running.each(Track::finish);
                    return if running.tracks.is_empty() { Outcome::Failed } else { Outcome::Ended };
                }
            }
            if running.tracks.is_empty() {
                return Outcome::Failed;
            }
        }
    }
}

/// A job of sound while it runs.
struct Running<'a> {
    context: &'a JobContext,
    source: Source,
    tracks: Vec<Track>,
    discontinuity: Option<u64>,
}

impl Running<'_> {
    fn cut(&mut self, cut: &Cut) {
        if self.discontinuity.is_some_and(|before| before != cut.discontinuity) {
            // Another publisher, or another clock: nothing of what comes refers to what was.
            self.source.flush();
        }
        self.discontinuity = Some(cut.discontinuity);
        self.each(|track| track.cut(cut));
    }

    fn sound(&mut self, frame: &StampedAudio) {
        let _inside = self.context.state.decoding.enter();
        let decoded = self.source.decode(frame);
        self.each(|track| track.sound(frame, decoded.as_ref()));
    }

    fn part_end(&mut self, end: PartEnd) {
        self.each(|track| {
            track.part_end(end);
            Ok(())
        });
    }

    /// Samples were dropped before they were read: what is missing is silence.
    fn restart(&mut self) {
        self.context.metrics.lagged.inc();
        let session = self.context.log.session();
        warn!(stream = %session.stream, session = %session.id, "encoding of sound is too slow: samples were skipped");
        self.source.flush();
        self.discontinuity = None;
        self.each(|track| {
            track.restart();
            Ok(())
        });
    }

    /// Does `work` with each gear. One whose encoder does not work ends; it has said why.
    fn each(&mut self, mut work: impl FnMut(&mut Track) -> Result<(), Error>) {
        self.tracks.retain_mut(|track| match work(track) {
            Ok(()) => true,
            Err(error) => {
                track.failed(&error);
                false
            }
        });
    }
}
