//! Before the first stamp: which tracks there are and which frame rate the session's grid gets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{AccessUnit, AudioConfig, FrameRate, Instant, VideoConfig};

/// How long a second track is waited for after the first sample of the other one. One that comes later is added.
const TRACK_WAIT: Duration = Duration::from_secs(1);
/// Frames that tell the rate when nothing else does.
const RATE_FRAMES: usize = 12;
/// The most that is held: beyond it the session starts with what is known.
const PENDING_BYTES_MAX: usize = 16 << 20;

/// What is held until rate and tracks are settled.
#[derive(Debug, Default)]
pub(super) struct Settling {
    video: VecDeque<Pending>,
    video_bytes: usize,
    first_audio: Option<Instant>,
}

/// A picture that is held.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) at: Instant,
    pub(super) unit: AccessUnit,
    /// What decodes it, if it is a keyframe.
    pub(super) config: Arc<VideoConfig>,
}

impl Settling {
    pub(super) fn has_video(&self) -> bool {
        !self.video.is_empty()
    }

    pub(super) fn push_video(&mut self, at: Instant, unit: AccessUnit, config: Arc<VideoConfig>) {
        self.video_bytes += unit.data.len();
        self.video.push_back(Pending { at, unit, config });
    }

    pub(super) fn saw_audio(&mut self, now: Instant) {
        self.first_audio.get_or_insert(now);
    }

    pub(super) fn take_video(&mut self) -> VecDeque<Pending> {
        self.video_bytes = 0;
        std::mem::take(&mut self.video)
    }

    /// When waiting for a second track ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first_video = self.video.front().map(|pending| pending.at);
        match (first_video, self.first_audio) {
            (Some(video), Some(audio)) => Some(video.max(audio) + TRACK_WAIT),
            (video, audio) => video.or(audio).map(|first| first + TRACK_WAIT),
        }
    }

    /// Whether a second track is waited for no longer.
    pub(super) fn has_waited(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| now >= deadline)
    }

    /// The session's rate, when there are pictures and everything is known, or waiting is over.
    pub(super) fn settled(
        &self,
        now: Instant,
        audio_config: Option<&AudioConfig>,
        hint: Option<f64>,
    ) -> Option<FrameRate> {
        let config = &self.video.front()?.config;
        let waited = self.has_waited(now);
        let full = self.video_bytes > PENDING_BYTES_MAX;
        if audio_config.is_none() && !waited && !full {
            return None;
        }
        let known = config.fixed_rate().or(hint).filter(|rate| (1.0..=240.0).contains(rate));
        match known {
            Some(rate) => FrameRate::snap(rate),
            None if self.video.len() >= RATE_FRAMES || waited || full => Some(self.measured()),
            None => None,
        }
    }

    /// The rate of the frames held: the median step between decode times, so that one lost frame does not matter.
    fn measured(&self) -> FrameRate {
        let times: Vec<i64> = self.video.iter().map(|pending| i64::from(pending.unit.dts_millis)).collect();
        let (Some(first), Some(last)) = (times.first(), times.last()) else { return FrameRate::FPS_30 };
        let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0).collect();
        steps.sort_unstable();
        let Some(median) = steps.get(steps.len() / 2) else { return FrameRate::FPS_30 };
        // Milliseconds are too coarse for one step: count how many median steps the whole stretch holds.
        let frames = ((last - first) + median / 2) / median;
        #[expect(clippy::cast_precision_loss, reason = "a second of milliseconds is exact in f64")]
        let rate = frames as f64 * 1000.0 / (last - first) as f64;
        FrameRate::snap(rate).unwrap_or(FrameRate::FPS_30)
    }
}
