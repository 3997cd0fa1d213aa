//! One audio gear: encodes, packages and puts its parts into the log.

use std::collections::VecDeque;
use std::sync::Arc;

use headwater_av::{AAC_FRAME, AacEncoder, AacEncoderConfig, DecodedAudio, Error};
use headwater_media::{
    AudioConfig, Cut, Init, Instant, MediaSequence, Part, PartEnd, PartIndex, PartPayload, StampedAudio, Timescale,
    Timestamp,
};
use headwater_router::{AudioGear, PutOutcome, StreamLog, Writer};
use headwater_segmenter::AudioPackager;
use tokio::runtime::Handle;
use tracing::{error, warn};

use super::line::Line;
use crate::job::JobContext;
use crate::metrics::GearMetrics;

/// Samples of a frame.
const FRAME: i64 = 1024;
/// Frames that an encoder gets from before its first part: a decoder needs the one before for each.
const WARM_UP: i64 = 2;
/// Frames that an encoder holds back, and one more that may be begun.
const HELD_BACK: i64 = 3;
/// A worker that takes over makes silence of what it missed, up to this long. What is older nobody plays.
const MISSED_MAX_TICKS: i64 = 60 * 120_000;

/// An audio gear.
pub(crate) struct Track {
    gear: AudioGear,
    timescale: Timescale,
    log: Arc<StreamLog>,
    writer: Arc<dyn Writer>,
    handle: Handle,
    metrics: GearMetrics,
    init: Option<Arc<Init>>,
    /// The first part that is missing in the log.
    resume: Option<(MediaSequence, PartIndex)>,
    /// The segment that it begins with. `None` until the next cut tells.
    first: Option<(MediaSequence, Timestamp)>,
    making: Option<Making>,
    /// The last frame could not be converted, which was said.
    unheard: bool,
}

/// A gear at work.
struct Making {
    encoder: AacEncoder,
    config: Arc<AudioConfig>,
    line: Line,
    /// The first sample that belongs into a part.
    from: i64,
    packager: AudioPackager,
    last_end: Option<PartEnd>,
    /// When the sound of the frames in the encoder came in, by their first sample.
    encoding: VecDeque<(i64, Instant)>,
}

impl Track {
    /// A gear that goes on where the log has its last part, or begins where the ladder was woken.
    pub(crate) fn new(context: &JobContext, gear: AudioGear) -> Self {
        let mut track = Self {
            timescale: Timescale::new(gear.sample_rate).unwrap_or(Timescale::VIDEO),
            log: context.log.clone(),
            writer: context.writer.clone(),
            handle: context.handle.clone(),
            metrics: context.metrics.gear(&gear.name),
            init: None,
            resume: None,
            first: None,
            making: None,
            unheard: false,
            gear,
        };
        // What another try left off comes on again.
        track.writer.switch(&track.gear.name, None);
        track.restart();
        if track.resume.is_none() {
            let begins = track.writer.begins();
            track.first = track.log.segment_start(begins).map(|start| (begins, start));
        }
        track
    }

    /// The segment that it begins with, if it is not the next.
    pub(crate) fn first_segment(&self) -> Option<MediaSequence> {
        self.first.map(|(msn, _)| msn)
    }

    /// Samples were skipped: begins anew with the first part that is missing.
    pub(crate) fn restart(&mut self) {
        self.making = None;
        self.resume = self.writer.next_part(&self.gear.name);
        self.first = self.resume.and_then(|(msn, _)| self.missing_segment(msn));
    }

    /// The segment in which a part is missing, when `msn` has the last one that is there.
    fn missing_segment(&self, mut msn: MediaSequence) -> Option<(MediaSequence, Timestamp)> {
        let covered = self.writer.covered(&self.gear.name)?;
        let mut start = self.log.segment_start(msn)?;
        while let Some(next) = self.log.segment_start(msn.next())
            && next <= covered
        {
            (msn, start) = (msn.next(), next);
        }
        let newest = self.log.part_ends(msn).last().map_or(start, |end| self.log.session().grid.slot_start(end.end.0));
        (newest.ticks - start.ticks <= MISSED_MAX_TICKS).then_some((msn, start))
    }

    /// A segment begins.
    pub(crate) fn cut(&mut self, cut: &Cut) -> Result<(), Error> {
        self.first.get_or_insert((cut.msn, cut.start));
        self.begin()
    }

    /// Opens the encoder, once it is known where to begin.
    fn begin(&mut self) -> Result<(), Error> {
        let Some((msn, start)) = self.first.filter(|_| self.making.is_none()) else { return Ok(()) };
        let encoder = AacEncoder::new(AacEncoderConfig {
            sample_rate: self.gear.sample_rate,
            channels: self.gear.channels,
            bitrate_bps: self.gear.bitrate_kbps.saturating_mul(1000),
        })?;
        // A frame belongs to the segment that it starts in.
        let down = start.rescale(self.timescale);
        let first = if down < start { down.ticks + 1 } else { down.ticks };
        let from = (first + FRAME - 1).div_euclid(FRAME) * FRAME;
        self.making = Some(Making {
            config: Arc::new(AudioConfig::Aac((**encoder.config()).clone())),
            encoder,
            line: Line::new(self.timescale, self.gear.channels, from - WARM_UP * FRAME),
            from,
            packager: AudioPackager::new(),
            last_end: None,
            encoding: VecDeque::new(),
        });
        for end in self.log.part_ends(msn) {
            self.part_end(end);
        }
        Ok(())
    }

    /// A frame of the source, decoded; silence when it is not.
    pub(crate) fn sound(&mut self, frame: &StampedAudio, decoded: Option<&DecodedAudio>) -> Result<(), Error> {
        self.begin()?;
        let Some(making) = &mut self.making else { return Ok(()) };
        let laid = decoded.map(|decoded| making.lay(frame, decoded, &self.metrics));
        if let Some(Err(error)) = &laid {
            self.metrics.audio_error();
            if !self.unheard {
                let session = self.log.session();
                let (stream, session, rendition) = (&session.stream, session.id, &self.gear.name);
                warn!(%stream, %session, %rendition, %error, "the source's sound cannot be converted");
            }
        }
        self.unheard = matches!(laid, Some(Err(_)));
        if !matches!(laid, Some(Ok(()))) {
            making.line.end_run();
            let end = making.line.number(frame.end());
            making.fill_until(end, frame.received, &self.metrics)?;
        }
        making.encode(frame.received, &self.metrics)?;
        self.put_parts();
        Ok(())
    }

    /// A part ends, in the timeline.
    pub(crate) fn part_end(&mut self, end: PartEnd) {
        let (Some((first, _)), Some(making)) = (self.first, &mut self.making) else { return };
        let known = making.last_end.is_some_and(|last| (end.msn, end.index) <= (last.msn, last.index));
        if end.msn < first || known {
            return;
        }
        making.last_end = Some(end);
        making.packager.end_part(end, &self.log.session().grid);
        self.put_parts();
    }

    /// The session is over: its last part is filled with silence, as far as sound is missing.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        let Some(making) = &mut self.making else { return Ok(()) };
        if let Some(end) = making.last_end {
            making.line.end_run();
            let end = making.line.number(self.log.session().grid.slot_start(end.end.0));
            making.fill_until(end + HELD_BACK * FRAME, Instant::default(), &self.metrics)?;
        }
        self.put_parts();
        Ok(())
    }

    /// The encoder does not work: the gear ends.
    pub(crate) fn failed(&self, error: &Error) {
        self.metrics.error();
        let session = self.log.session();
        let (stream, session, rendition) = (&session.stream, session.id, &self.gear.name);
        error!(%stream, %session, %rendition, %error, "audio gear stopped: its encoder does not work");
        self.writer.switch(rendition, Some("its encoder does not work".into()));
    }

    fn put_parts(&mut self) {
        while let Some(part) = self.making.as_mut().and_then(|making| making.packager.poll_part()) {
            if self.resume.is_none_or(|resume| (part.msn, part.index) >= resume) {
                self.put(part);
            }
        }
    }

    fn put(&mut self, part: Part) {
        let media = match &part.payload {
            PartPayload::Media { init, received, .. } => Some((init.clone(), *received)),
            PartPayload::Gap => None,
        };
        let put = self.writer.put_part(&self.gear.name, part);
        if self.handle.block_on(put) == PutOutcome::Dropped {
            return;
        }
        let Some((init, received)) = media else { return };
        self.metrics.part(received);
        if self.init.as_ref() != Some(&init) {
            self.init = Some(init.clone());
            self.writer.opened(&self.gear.name, init);
        }
    }
}

impl Making {
    /// Puts decoded sound in its place.
    fn lay(&mut self, frame: &StampedAudio, decoded: &DecodedAudio, metrics: &GearMetrics) -> Result<(), Error> {
        if !self.line.continues(frame, decoded) {
            self.line.end_run();
            let at = self.line.number(frame.start);
            self.fill_until(at, frame.received, metrics)?;
            self.line.begin_run(at, decoded)?;
        }
        self.line.push(frame, decoded)
    }

    /// Silence up to sample `end`, a frame at a time.
    fn fill_until(&mut self, end: i64, received: Instant, metrics: &GearMetrics) -> Result<(), Error> {
        while let Ok(missing @ 1..) = usize::try_from(end - self.line.end()) {
            self.line.push_silence(missing.min(AAC_FRAME));
            self.encode(received, metrics)?;
        }
        Ok(())
    }

    /// Encodes the frames that are complete.
    fn encode(&mut self, received: Instant, metrics: &GearMetrics) -> Result<(), Error> {
        while self.line.sound().len() >= AAC_FRAME {
            let start = self.line.start();
            self.encoder.send(self.line.sound(), start)?;
            self.line.take(AAC_FRAME);
            self.encoding.push_back((start, received));
            while let Some(coded) = self.encoder.receive()? {
                let received = match self.encoding.front() {
                    Some((start, received)) if *start == coded.start => *received,
                    // The frame that stands before the first one.
                    _ => continue,
                };
                self.encoding.pop_front();
                if coded.start < self.from {
                    continue;
                }
                metrics.encoded(received);
                self.packager.push(StampedAudio {
                    start: Timestamp::new(coded.start, self.config_timescale()),
                    length_samples: self.config.frame_samples(),
                    data: coded.data,
                    config: self.config.clone(),
                    received,
                });
            }
        }
        Ok(())
    }

    fn config_timescale(&self) -> Timescale {
        Timescale::new(self.config.sample_rate()).unwrap_or(Timescale::VIDEO)
    }
}
