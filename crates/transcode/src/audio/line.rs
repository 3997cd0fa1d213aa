//! Decoded sound laid on the session's timeline, to the sample, at a gear's rate.

use headwater_av::{DecodedAudio, Error, Pcm, Resampler};
use headwater_media::{StampedAudio, Timescale, Timestamp};

/// Samples without a hole, from [`start`](Self::start) to [`end`](Self::end), in numbers of the session's timeline.
#[derive(Debug)]
pub(crate) struct Line {
    timescale: Timescale,
    channels: u8,
    sound: Pcm,
    start: i64,
    /// So many samples of what comes next are before the end already.
    skip: usize,
    run: Option<Run>,
}

/// Frames that follow one another: they are one sound to the resampler.
#[derive(Debug)]
struct Run {
    resampler: Resampler,
    /// When the next frame of the run has to start; `None` when there can be none.
    next: Option<Timestamp>,
}

impl Line {
    pub(crate) fn new(timescale: Timescale, channels: u8, start: i64) -> Self {
        Self { timescale, channels, sound: Pcm::new(channels.into()), start, skip: 0, run: None }
    }

    /// Number of the first sample that is held.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// Number of the first sample that is missing.
    pub(crate) fn end(&self) -> i64 {
        self.start + i64::try_from(self.sound.len()).unwrap_or(i64::MAX)
    }

    /// The samples that are held.
    pub(crate) fn sound(&self) -> &Pcm {
        &self.sound
    }

    /// Number of the sample at `time`.
    pub(crate) fn number(&self, time: Timestamp) -> i64 {
        time.rescale_nearest(self.timescale).ticks
    }

    /// Drops the first `count` samples.
    pub(crate) fn take(&mut self, count: usize) {
        let count = count.min(self.sound.len());
        self.sound.drop_front(count);
        self.start += i64::try_from(count).unwrap_or(0);
    }

    /// Whether a frame goes on with the run of those before it. It may be a little off where the timeline has corrected
    /// its count of samples.
    pub(crate) fn continues(&self, frame: &StampedAudio, decoded: &DecodedAudio) -> bool {
        let off_max = i64::from(self.timescale.units_per_second()) / OFF_MAX_PARTS;
        let near = |next: Timestamp| (self.number(next) - self.number(frame.start)).abs() <= off_max;
        self.run.as_ref().is_some_and(|run| run.next.is_some_and(near) && run.resampler.fits(decoded))
    }

    /// The run is over: what the resampler held back comes out.
    pub(crate) fn end_run(&mut self) {
        if let Some(mut run) = self.run.take() {
            // When that fails, a few samples more are silent.
            let _ = run.resampler.finish(&mut self.sound);
        }
    }

    /// Silence of `count` samples. Only between runs.
    pub(crate) fn push_silence(&mut self, count: usize) {
        self.sound.push_silence(count);
    }

    /// A run begins with sample `at`, which is not behind the end; what is there already from `at` on goes.
    pub(crate) fn begin_run(&mut self, at: i64, first: &DecodedAudio) -> Result<(), Error> {
        let overlap = usize::try_from(self.end() - at).unwrap_or(0);
        let kept = self.sound.len().saturating_sub(overlap);
        self.skip = overlap - (self.sound.len() - kept);
        self.sound.truncate(kept);
        let resampler = Resampler::new(first, self.timescale.units_per_second(), self.channels)?;
        self.run = Some(Run { resampler, next: None });
        Ok(())
    }

    /// Adds a frame to the run.
    pub(crate) fn push(&mut self, frame: &StampedAudio, decoded: &DecodedAudio) -> Result<(), Error> {
        let (at, end) = (self.number(frame.start), self.end());
        let Some(run) = &mut self.run else { return Ok(()) };
        if run.next.is_some_and(|next| next != frame.start) {
            let next = end - i64::try_from(self.skip).unwrap_or(0) + run.resampler.delay();
            let over = self.timescale.units_per_second() * CORRECTION_SECONDS;
            run.resampler.stretch(i32::try_from(at - next).unwrap_or(0), over)?;
        }
        run.resampler.push(decoded, &mut self.sound)?;
        // A frame that is not as long as it says puts the next one elsewhere. What the timeline says is a little different
        // where it follows a clock.
        let length = i64::try_from(decoded.len()).ok().zip(Timescale::new(decoded.sample_rate()));
        let (told, timescale) = (i64::from(frame.config.samples_of(&frame.data)), frame.start.timescale);
        let honest =
            length.is_some_and(|(samples, own)| Timestamp::new(samples, own) == Timestamp::new(told, timescale));
        run.next = honest.then(|| Timestamp::new(frame.start.ticks + told, timescale));
        // Only when nothing is held is there more to skip.
        let skipped = self.skip.min(self.sound.len());
        self.sound.drop_front(skipped);
        self.skip -= skipped;
        Ok(())
    }
}

/// A frame that is off by more than this part of a second is not of the run.
const OFF_MAX_PARTS: i64 = 50;
/// How long a correction takes: 2 ms in that time are a change of pitch that nobody hears.
const CORRECTION_SECONDS: u32 = 2;
