//! One gear: pictures in slots are scaled, encoded, packaged and put into the log, on a thread of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use headwater_av::{Error, Frame, PictureKind, Size, VideoEncoder, VideoEncoderConfig};
use headwater_media::captions::{self, Triplet};
use headwater_media::{
    Colour, Instant, MediaSequence, PartEnd, PartIndex, PartPayload, SentTimes, StampedVideo, VideoSlot,
};
use headwater_router::{Gear, PutOutcome, StreamLog};
use headwater_segmenter::VideoPackager;
use tracing::{error, warn};

use crate::activity::GearState;
use crate::cpu::StageTimer;
use crate::job::JobContext;
use crate::metrics::{Cpu, GearMetrics};
use crate::picture::Picture;
use crate::slots::Slot;

/// What a gear is given to do, in order.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Encode this.
    Slot(Slot<Arc<Picture>>),
    /// A part ends, in the timeline.
    PartEnd(PartEnd),
    /// No picture comes any more for the slots before this one.
    SkipTo(i64),
    /// Samples are missing: parts that are open will not be finished.
    Restart,
    /// The session is over: everything goes out.
    Finish,
}

/// A gear before its thread runs.
pub(crate) struct GearWriter {
    /// Its place among the gears of the job.
    pub(crate) index: usize,
    /// The first part that is this writer's: the log takes none before it. Nothing before it is encoded.
    pub(crate) resume: (MediaSequence, PartIndex),
    /// Its size among those of the job.
    pub(crate) size: usize,
    pub(crate) metrics: GearMetrics,
    pub(crate) context: JobContext,
}

impl GearWriter {
    /// Works until there is nothing more to do. What goes wrong is said once, and ends this gear alone.
    pub(crate) fn run(self, colour: Colour, work: &Receiver<Work>) {
        if let Err(error) = self.work(colour, work) {
            self.metrics.error();
            self.state().fail();
            let session = self.log().session();
            let (stream, session, rendition) = (&session.stream, session.id, &self.gear().name);
            error!(%stream, %session, %rendition, %error, "gear stopped: its encoder does not work");
        }
    }

    fn work(&self, colour: Colour, work: &Receiver<Work>) -> Result<(), Error> {
        let encoder = VideoEncoder::new(&self.encoder_config(colour))?;
        let mut packager = self.packager();
        let init = packager.init(encoder.config());
        self.context.writer.opened(&self.gear().name, init);
        let mut making = Making {
            encoder,
            packager,
            captions: captions::Queue::default(),
            encoding: VecDeque::new(),
            ends: VecDeque::new(),
            encoded_until: None,
            idr_due: false,
            last: None,
            complained: false,
            writer: self,
        };
        while let Ok(work) = work.recv() {
            if !self.state().wanted() {
                // Nobody takes what is still queued.
                return Ok(());
            }
            match work {
                Work::Slot(slot) => making.slot(&slot)?,
                Work::PartEnd(end) => making.ends.push_back(end),
                Work::SkipTo(slot) => making.skip_to(slot),
                Work::Restart => making.restart(),
                Work::Finish => return making.finish(),
            }
            making.put_parts();
        }
        Ok(())
    }

    fn encoder_config(&self, colour: Colour) -> VideoEncoderConfig {
        let gear = self.gear();
        let frame_rate = gear.frame_rate(self.log().session().grid.frame_rate);
        let size = Size { width: gear.width, height: gear.height };
        VideoEncoderConfig {
            bitrate_max_bps: self.bitrate_max_bps(),
            buffer_bits: gear.bufsize_kbit.saturating_mul(1000),
            preset: gear.preset.to_string(),
            tune: gear.tune.to_string(),
            profile: gear.profile.to_string(),
            threads: self.context.encoder_threads,
            colour,
            ..VideoEncoderConfig::live(size, frame_rate, gear.average_bps())
        }
    }

    fn packager(&self) -> VideoPackager {
        VideoPackager::new(self.log().session().grid, Some(self.bitrate_max_bps()))
    }

    /// Whether it leaves out every second picture.
    fn halves(&self) -> bool {
        let frame_rate = self.log().session().grid.frame_rate;
        self.gear().frame_rate(frame_rate) != frame_rate
    }

    fn bitrate_max_bps(&self) -> u32 {
        self.gear().maxrate_kbps.saturating_mul(1000)
    }

    fn state(&self) -> &GearState {
        &self.context.state.gears[self.index]
    }

    fn gear(&self) -> &Gear {
        &self.state().gear
    }

    fn log(&self) -> &StreamLog {
        &self.context.log
    }
}

/// A gear at work.
struct Making<'a> {
    writer: &'a GearWriter,
    encoder: VideoEncoder,
    packager: VideoPackager,
    /// Captions that no picture has carried yet.
    captions: captions::Queue,
    /// Pictures in the encoder.
    encoding: VecDeque<Encoding>,
    /// Part ends that wait for their last picture.
    ends: VecDeque<PartEnd>,
    /// The slot after the last encoded picture.
    encoded_until: Option<i64>,
    /// A picture that had to be an IDR was left out.
    idr_due: bool,
    /// The last picture that could be scaled.
    last: Option<Frame>,
    /// One could not, and that has been said.
    complained: bool,
}

struct Encoding {
    msn: MediaSequence,
    slot: i64,
    /// The first slot that it does not stand for.
    until: i64,
    received: Instant,
    captions: Vec<Triplet>,
    /// Its part will not be finished.
    dropped: bool,
}

impl Making<'_> {
    fn slot(&mut self, slot: &Slot<Arc<Picture>>) -> Result<(), Error> {
        let grid = &self.writer.log().session().grid;
        let part = PartIndex(u32::try_from((slot.slot - slot.segment.start) / grid.part_slots).unwrap_or(0));
        if (slot.segment.msn, part) < self.writer.resume {
            self.encoded_until = self.encoded_until.max(Some(slot.slot + 1));
            return Ok(());
        }
        // Captions of a picture that is left out go with the next.
        self.captions.push(&slot.captions);
        let idr = slot.idr || self.idr_due;
        self.idr_due = idr && self.leaves_out(slot);
        if self.leaves_out(slot) {
            self.stand_for(slot.slot);
            return Ok(());
        }
        let _inside = self.writer.state().activity.enter();
        self.writer.context.faults.gear();
        // What stands before an encoder's first picture came from another one: it is an IDR by itself.
        let kind = if idr { PictureKind::Idr } else { PictureKind::Auto };
        let Cpu { scale, encode, .. } = self.writer.metrics.cpu();
        let mut timer = StageTimer::start();
        let frame = match slot.picture.scaled(self.writer.size) {
            Ok(frame) => self.last.insert(frame.clone()),
            Err(error) => {
                // What a publisher sends must not end the gear: the picture before stands in its place.
                self.not_scaled(&error);
                let Some(last) = &self.last else { return Ok(()) };
                last
            }
        };
        timer.end(scale);
        self.encoder.send(frame, slot.slot * grid.slot_ticks, kind)?;
        self.encoding.push_back(Encoding {
            msn: slot.segment.msn,
            slot: slot.slot,
            until: slot.slot + 1,
            // A picture that stands is not late.
            received: if slot.repeated { self.writer.context.metrics.now() } else { slot.picture.received },
            captions: self.captions.take(),
            dropped: false,
        });
        self.receive()?;
        timer.end(encode);
        Ok(())
    }

    /// A halved gear has the even slots of each segment, so its segments begin where all others do. Parts begin at even
    /// slots too.
    fn leaves_out(&self, slot: &Slot<Arc<Picture>>) -> bool {
        self.writer.halves() && (slot.slot - slot.segment.start) % 2 != 0
    }

    /// The slot has no picture of its own: the one before it lasts.
    fn stand_for(&mut self, slot: i64) {
        match self.encoding.back_mut() {
            Some(picture) => picture.until = slot + 1,
            None => self.encoded_until = self.encoded_until.max(Some(slot + 1)),
        }
    }

    fn not_scaled(&mut self, error: &Error) {
        self.writer.context.metrics.decode_errors.inc();
        if !std::mem::replace(&mut self.complained, true) {
            let session = self.writer.log().session();
            let (stream, session, rendition) = (&session.stream, session.id, &self.writer.gear().name);
            warn!(%stream, %session, %rendition, %error, "pictures of the source cannot be scaled");
        }
    }

    /// Pictures come out in the order in which they went in: gears have no B-frames.
    fn receive(&mut self) -> Result<(), Error> {
        while let Some(coded) = self.encoder.receive()? {
            let Some(Encoding { msn, slot, until, received, captions, dropped }) = self.encoding.pop_front() else {
                return Ok(());
            };
            self.encoded_until = self.encoded_until.max(Some(until));
            if dropped {
                continue;
            }
            self.writer.metrics.encoded(received);
            self.packager.push(StampedVideo {
                msn,
                slot: VideoSlot(slot),
                composition_slots: 0,
                idr: coded.idr,
                recovery: None,
                data: captions::insert(&coded.data, &captions),
                config: self.encoder.config().clone(),
                sent: SentTimes::default(),
                received,
            });
        }
        Ok(())
    }

    fn skip_to(&mut self, slot: i64) {
        self.encoded_until = self.encoded_until.max(Some(slot));
        self.drop_encoding();
    }

    /// What is in the encoder will not be shown; its captions go with what follows.
    fn drop_encoding(&mut self) {
        for picture in self.encoding.iter_mut().rev() {
            picture.dropped = true;
            self.captions.put_back(&std::mem::take(&mut picture.captions));
        }
    }

    fn restart(&mut self) {
        self.packager = self.writer.packager();
        self.ends.clear();
        self.drop_encoding();
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.encoder.finish()?;
        self.receive()?;
        while let Some(end) = self.ends.pop_front() {
            self.put(&end);
        }
        Ok(())
    }

    /// A part is done when the timeline has closed it and its last slot, or a later one, is encoded.
    fn put_parts(&mut self) {
        while let Some(end) = self.ends.front().copied()
            && self.encoded_until.is_some_and(|until| until >= end.end.0)
        {
            self.ends.pop_front();
            self.put(&end);
        }
    }

    fn put(&mut self, end: &PartEnd) {
        let mut timer = StageTimer::start();
        self.package(end);
        timer.end(&self.writer.metrics.cpu().package);
    }

    fn package(&mut self, end: &PartEnd) {
        let part = self.packager.end_part(end);
        let received = match &part.payload {
            PartPayload::Media { received, .. } => Some(*received),
            PartPayload::Gap => None,
        };
        let GearWriter { metrics, context, .. } = self.writer;
        let put = context.writer.put_part(&self.writer.gear().name, part);
        if context.handle.block_on(put) == PutOutcome::Put
            && let Some(received) = received
        {
            metrics.part(received);
            self.writer.state().part(context.metrics.now(), received);
        }
    }
}
