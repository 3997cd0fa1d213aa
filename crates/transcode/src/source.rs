//! The source's samples decoded, in the order in which they are shown.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_av::{Error, Frame, VideoDecoder};
use headwater_media::{AvcConfig, Instant, StampedVideo, Timescale};
use headwater_router::StreamLog;
use tracing::warn;

use crate::Metrics;

/// Samples in the decoder at most; H.264 holds back 16 pictures.
const IN_FLIGHT_MAX: usize = 32;
/// Errors that are closer together than this are one burst, and one line in the log.
const BURST: Duration = Duration::from_secs(5);

/// A decoder that follows the source's configuration.
#[derive(Debug)]
pub(crate) struct Source {
    log: Arc<StreamLog>,
    metrics: Arc<Metrics>,
    decoder: Option<(Arc<AvcConfig>, VideoDecoder)>,
    /// Nothing can be decoded before the next IDR.
    needs_idr: bool,
    in_flight: VecDeque<InFlight>,
    next_tag: i64,
    last_error: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    /// What the decoder gives back with the picture. Two samples may have the same time, but not the same tag.
    tag: i64,
    slot: i64,
    received: Instant,
}

/// A picture and the slot in which it is to be shown.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) frame: Frame,
    pub(crate) slot: i64,
    pub(crate) received: Instant,
}

impl Source {
    pub(crate) fn new(log: Arc<StreamLog>, metrics: Arc<Metrics>) -> Self {
        Self { log, metrics, decoder: None, needs_idr: true, in_flight: VecDeque::new(), next_tag: 0, last_error: None }
    }

    /// Whether `sample` can be decoded, now that it comes.
    pub(crate) fn takes(&self, sample: &StampedVideo) -> bool {
        sample.idr || (!self.needs_idr && self.fits(sample))
    }

    /// Whether `sample` has the configuration of those before it. If not, [`finish`](Self::finish) comes first, so that
    /// no picture is lost.
    pub(crate) fn fits(&self, sample: &StampedVideo) -> bool {
        self.decoder.as_ref().is_some_and(|(config, _)| Arc::ptr_eq(config, &sample.config))
    }

    /// Decodes one sample; [`poll`](Self::poll) has the pictures.
    pub(crate) fn push(&mut self, sample: &StampedVideo) {
        if !self.fits(sample) {
            self.decoder = match VideoDecoder::h264(&sample.config, Timescale::VIDEO) {
                Ok(decoder) => Some((sample.config.clone(), decoder)),
                Err(error) => return self.failed(&error),
            };
        }
        let Some((_, decoder)) = &mut self.decoder else { return };
        self.needs_idr = false;
        let tag = self.next_tag;
        self.next_tag += 1;
        let slot = sample.slot.0 + i64::from(sample.composition_slots);
        self.in_flight.push_back(InFlight { tag, slot, received: sample.received });
        if self.in_flight.len() > IN_FLIGHT_MAX {
            self.in_flight.pop_front();
        }
        if let Err(error) = decoder.send(&sample.data, tag, tag) {
            self.failed(&error);
        }
    }

    /// The next picture.
    pub(crate) fn poll(&mut self) -> Option<Decoded> {
        loop {
            let frame = match self.decoder.as_mut()?.1.receive() {
                Ok(frame) => frame?,
                Err(error) => {
                    self.failed(&error);
                    return None;
                }
            };
            if frame.is_damaged() {
                self.failed(&Error::Damaged { action: "decoding H.264", text: "parts of a picture".to_owned() });
            }
            let index = self.in_flight.iter().position(|sample| Some(sample.tag) == frame.pts());
            let Some(InFlight { slot, received, .. }) = index.and_then(|index| self.in_flight.remove(index)) else {
                continue;
            };
            self.metrics.decoded(received);
            return Some(Decoded { frame, slot, received });
        }
    }

    /// Lets out the pictures that the decoder holds back: the next sample is of another stretch.
    pub(crate) fn finish(&mut self) {
        if let Some((_, decoder)) = &mut self.decoder
            && let Err(error) = decoder.finish()
        {
            self.failed(&error);
        }
    }

    /// Begins anew, with the next IDR.
    pub(crate) fn restart(&mut self) {
        if let Some((_, decoder)) = &mut self.decoder {
            decoder.flush();
        }
        self.in_flight.clear();
        self.needs_idr = true;
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
