//! The source's samples decoded, in the order in which they are shown.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_av::{Deinterlacer, Error, Frame, VideoDecoder};
use headwater_media::captions::{self, Triplet};
use headwater_media::{Instant, StampedVideo, Timescale, VideoConfig};
use headwater_router::StreamLog;
use tracing::warn;

use crate::Metrics;

/// Errors that are closer together than this are one burst, and one line in the log.
const BURST: Duration = Duration::from_secs(5);
/// Pictures that a decoder holds back at most beyond what the configuration says, before it is not believed any more.
const LATE_MAX: usize = 32;
/// Errors in a row after which a decoder has nothing to give out.
const ERRORS_MAX: u32 = 8;
/// Slots by which the timeline has pictures shown before their own slot, where that was taken.
const BEHIND_MAX: i64 = 3;
/// A second of the session's timeline.
const SECOND_TICKS: i64 = 120_000;

/// A decoder that follows the source's configuration. Interlaced pictures are made whole, one picture of each frame.
///
/// Every sample comes out again, in the order in which pictures are shown, with its picture or without one. Pictures
/// that the decoder marks as damaged are shown as it concealed them: most are nearly whole, pictures that depend on them
/// carry no mark and would have to be held back with them, and a picture that stands still until the next IDR, for
/// seconds, is the greater loss. Where there is no picture at all, the one before stays.
#[derive(Debug)]
pub(crate) struct Source {
    log: Arc<StreamLog>,
    metrics: Arc<Metrics>,
    decoder: Option<(Arc<VideoConfig>, VideoDecoder)>,
    deinterlacer: Deinterlacer,
    /// Nothing can be decoded before the next keyframe.
    needs_entry: bool,
    /// Decoding began without an IDR: what is shown before this slot refers to pictures that are not there (open GOP).
    first_shown: Option<i64>,
    /// Decoding began where the picture is refreshed bit by bit: samples before the one with this tag have none that is
    /// right.
    right_from: i64,
    /// The newest sample is shown before its slot.
    is_behind: bool,
    in_flight: VecDeque<InFlight>,
    ready: VecDeque<Decoded>,
    /// Samples that may be in the decoder: the oldest of more has no picture.
    depth: usize,
    next_tag: i64,
    last_error: Option<Instant>,
}

#[derive(Clone, Debug)]
struct InFlight {
    /// What the decoder gives back with the picture. Two samples may have the same time, but not the same tag.
    tag: i64,
    slot: i64,
    received: Instant,
    captions: Vec<Triplet>,
}

/// A sample and the slot in which it is to be shown.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Its picture; `None` when it has none, or none that can be decoded.
    pub(crate) frame: Option<Frame>,
    pub(crate) slot: i64,
    pub(crate) received: Instant,
    pub(crate) captions: Vec<Triplet>,
}

impl Source {
    pub(crate) fn new(log: Arc<StreamLog>, metrics: Arc<Metrics>) -> Self {
        Self {
            log,
            metrics,
            decoder: None,
            deinterlacer: Deinterlacer::new(),
            needs_entry: true,
            first_shown: None,
            right_from: 0,
            is_behind: false,
            in_flight: VecDeque::new(),
            ready: VecDeque::new(),
            depth: 0,
            next_tag: 0,
            last_error: None,
        }
    }

    /// Whether `sample` has the configuration of those before it. A keyframe that has not is where another decoder begins:
    /// [`finish`](Self::finish) comes first, so that no picture is lost.
    pub(crate) fn fits(&self, sample: &StampedVideo) -> bool {
        self.decoder.as_ref().is_some_and(|(config, _)| Arc::ptr_eq(config, &sample.config))
    }

    /// Decodes one sample, if it can be decoded now; [`poll`](Self::poll) has what comes out.
    pub(crate) fn push(&mut self, sample: &StampedVideo) {
        let tag = self.next_tag;
        self.next_tag += 1;
        let slot = sample.slot.0 + i64::from(sample.composition_slots);
        self.in_flight.push_back(InFlight {
            tag,
            slot,
            received: sample.received,
            captions: captions::read(sample.config.coding(), &sample.data),
        });
        self.is_behind = sample.composition_slots < 0;
        let begins = self.needs_entry || !self.fits(sample);
        if begins {
            if !sample.is_entry() {
                return;
            }
            self.first_shown = (!sample.idr).then_some(slot);
            self.right_from = i64::MAX;
        } else if self.first_shown.is_some_and(|first| slot < first) {
            return;
        }
        if sample.is_entry() {
            self.right_from = self.right_from.min(tag + i64::from(sample.recovery.unwrap_or(0)));
        }
        if let Err(error) = self.decode(sample, tag) {
            // Damage passes. A decoder that fails otherwise is replaced, with the next keyframe.
            if !matches!(error, Error::Damaged { .. }) {
                self.decoder = None;
                self.needs_entry = true;
            }
            self.failed(&error);
        }
    }

    fn decode(&mut self, sample: &StampedVideo, tag: i64) -> Result<(), Error> {
        if !self.fits(sample) {
            self.decoder = None;
            self.needs_entry = true;
            let decoder = VideoDecoder::new(&sample.config, Timescale::VIDEO)?;
            self.decoder = Some((sample.config.clone(), decoder));
            self.depth = depth(&sample.config);
        }
        self.needs_entry = false;
        match &mut self.decoder {
            Some((_, decoder)) => decoder.send(&sample.data, tag, tag),
            None => Ok(()),
        }
    }

    /// The next sample that has come out.
    pub(crate) fn poll(&mut self) -> Option<Decoded> {
        while self.ready.is_empty() {
            let Some(frame) = self.receive() else {
                let overdue = self.in_flight.len().saturating_sub(self.depth + self.deinterlacer.held());
                self.give_up(overdue);
                break;
            };
            self.decoded(frame);
        }
        self.ready.pop_front()
    }

    /// The next whole picture.
    fn receive(&mut self) -> Option<Frame> {
        // What the decoder holds must be out before it takes more, whatever goes wrong with some of it.
        let mut errors = 0;
        while errors < ERRORS_MAX {
            if let Some(frame) = self.deinterlacer.poll() {
                return Some(frame);
            }
            let (_, decoder) = self.decoder.as_mut()?;
            let frame = decoder.receive();
            match frame.and_then(|frame| frame.map(|frame| self.deinterlacer.push(frame)).transpose()) {
                Ok(Some(())) => {}
                Ok(None) => return None,
                Err(error) => {
                    errors += 1;
                    self.failed(&error);
                }
            }
        }
        None
    }

    fn decoded(&mut self, frame: Frame) {
        if frame.is_damaged() {
            self.failed(&Error::Damaged { action: "decoding", text: "parts of a picture".to_owned() });
        }
        let index = self.in_flight.iter().position(|sample| Some(sample.tag) == frame.pts());
        let Some(sample) = index.and_then(|index| self.in_flight.remove(index)) else {
            // It was given up too early.
            self.depth = (self.depth + 1).min(LATE_MAX);
            return;
        };
        self.metrics.decoded(sample.received);
        // Pictures come out in the order in which they are shown: what should be shown before this one has none.
        let passed = self.in_flight.iter().filter(|other| other.slot < sample.slot).count();
        self.give_up(passed);
        // libavcodec leaves pictures out of H.264 that are not right yet; of HEVC it shows them.
        let frame = Some(frame).filter(|_| sample.tag >= self.right_from);
        self.ready.push_back(sample.with(frame));
    }

    /// The first `count` samples, in the order in which they should be shown, have no picture.
    fn give_up(&mut self, count: usize) {
        for _ in 0..count {
            let first = self.in_flight.iter().enumerate().min_by_key(|(_, sample)| (sample.slot, sample.tag));
            let Some(sample) = first.map(|(index, _)| index).and_then(|index| self.in_flight.remove(index)) else {
                return;
            };
            self.ready.push_back(sample.with(None));
        }
    }

    /// The slot before which no picture is to be shown any more but those that are out, where the timeline has got to
    /// `end`.
    pub(crate) fn shown_until(&self, end: i64) -> i64 {
        let held = self.in_flight.iter().map(|sample| sample.slot).min().unwrap_or(i64::MAX);
        // Pictures that come out of order are shown before some that came earlier, but not by more than a second.
        let reordered = match self.depth {
            0 if self.is_behind => BEHIND_MAX,
            0 => 0,
            _ => SECOND_TICKS / self.log.session().grid.slot_ticks,
        };
        held.min(end - reordered)
    }

    /// Lets out the pictures that the decoder holds back: the next sample is of another stretch.
    pub(crate) fn finish(&mut self) {
        if let Some((_, decoder)) = &mut self.decoder
            && let Err(error) = decoder.finish()
        {
            self.failed(&error);
        }
        while let Some(frame) = self.receive() {
            self.decoded(frame);
        }
        self.deinterlacer.finish();
        while let Some(frame) = self.deinterlacer.poll() {
            self.decoded(frame);
        }
        self.give_up(self.in_flight.len());
    }

    /// Begins anew, with the next keyframe.
    pub(crate) fn restart(&mut self) {
        if let Some((_, decoder)) = &mut self.decoder {
            decoder.flush();
        }
        self.deinterlacer.flush();
        self.in_flight.clear();
        self.ready.clear();
        self.needs_entry = true;
    }

    /// Counts an error and says so once per burst.
    fn failed(&mut self, error: &Error) {
        self.metrics.decode_errors.inc();
        let now = self.metrics.now();
        let quiet = self.last_error.is_none_or(|last| now.saturating_since(last) > BURST);
        self.last_error = Some(now);
        if quiet {
            let session = self.log.session();
            warn!(stream = %session.stream, session = %session.id, %error, "the source does not decode cleanly");
        }
    }
}

impl InFlight {
    fn with(self, frame: Option<Frame>) -> Decoded {
        let Self { slot, received, captions, .. } = self;
        Decoded { frame, slot, received, captions }
    }
}

/// Samples that a decoder may hold back for reordering.
fn depth(config: &VideoConfig) -> usize {
    /// H.264 holds back 16 pictures at most (C.4.5.3), HEVC no more.
    const REORDERED_MAX: u32 = 16;
    let reordered = config.reordered().unwrap_or(REORDERED_MAX).min(REORDERED_MAX);
    let reordered = usize::try_from(reordered).unwrap_or(LATE_MAX);
    if config.may_have_fields() { 2 * reordered + 2 } else { reordered }
}

#[cfg(test)]
mod tests;
