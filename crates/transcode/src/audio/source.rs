//! The source's sound decoded, frame by frame.

use std::sync::Arc;
use std::time::Duration;

use headwater_av::{AudioDecoder, DecodedAudio, Error};
use headwater_media::{AudioConfig, Instant, StampedAudio};
use headwater_router::StreamLog;
use tracing::warn;

use crate::Metrics;

/// Errors that are closer together than this are one burst, and one line in the log.
const BURST: Duration = Duration::from_secs(5);

/// A decoder that follows the source's configuration.
#[derive(Debug)]
pub(crate) struct Source {
    log: Arc<StreamLog>,
    metrics: Arc<Metrics>,
    /// `None` beside a configuration that no decoder takes.
    decoder: Option<(Arc<AudioConfig>, Option<AudioDecoder>)>,
    last_error: Option<Instant>,
}

impl Source {
    pub(crate) fn new(log: Arc<StreamLog>, metrics: Arc<Metrics>) -> Self {
        Self { log, metrics, decoder: None, last_error: None }
    }

    /// Decodes a frame. `None` where there is silence: in a hole, and in place of what does not decode.
    pub(crate) fn decode(&mut self, frame: &StampedAudio) -> Option<DecodedAudio> {
        if frame.data.is_empty() {
            return None;
        }
        if self.decoder.as_ref().is_none_or(|(config, _)| !Arc::ptr_eq(config, &frame.config)) {
            let decoder = match AudioDecoder::new(&frame.config) {
                Ok(decoder) => Some(decoder),
                Err(error) => {
                    self.failed(&error);
                    None
                }
            };
            self.decoder = Some((frame.config.clone(), decoder));
        }
        let (_, decoder) = self.decoder.as_mut()?;
        match decoder.as_mut()?.decode(&frame.data) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// The next frame is of another stretch.
    pub(crate) fn flush(&mut self) {
        if let Some((_, Some(decoder))) = &mut self.decoder {
            decoder.flush();
        }
    }

    /// Counts an error and says so once per burst.
    fn failed(&mut self, error: &Error) {
        self.metrics.audio_decode_errors.inc();
        let now = self.metrics.now();
        let quiet = self.last_error.is_none_or(|last| now.saturating_since(last) > BURST);
        self.last_error = Some(now);
        if quiet {
            let session = self.log.session();
            warn!(stream = %session.stream, session = %session.id, %error, "the source's sound does not decode cleanly");
        }
    }
}
