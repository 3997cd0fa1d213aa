//! The audio track's clock: a count of samples, laid anew on the publisher's milliseconds only when it is half a frame
//! off.
//!
//! Sound that players take as it is can be moved by whole frames only: one of silence is put in, or one is left out. So
//! that it is never half a frame off, although milliseconds tell no better than to half of one, this is done a little
//! early, and the frame is said to be a little shorter or longer than it is. When the error is small again, another
//! frame gives that back: players that count samples and players that follow timestamps stay together.
//!
//! Sound that will be decoded may begin anywhere; who decodes it fills and trims to the sample.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use headwater_media::{AudioConfig, Instant, StampedAudio, Timescale, Timestamp};

use super::Event;
use crate::Grid;
use crate::silence::silent_frame;

/// Video does not wait longer than this for audio, nor audio for video (architecture 4), in ticks of 1/120000 s: unless
/// a publisher has shown that it sends one of them later than the other...
const WAIT_TICKS: i64 = 60_000;
/// ...which may be by 10 s.
const WAIT_TICKS_MAX: i64 = 20 * WAIT_TICKS;
/// What comes less than this before the wait is over may be over it the next time.
const WAIT_MARGIN_TICKS: i64 = WAIT_TICKS / 2;
/// The longest hole that is filled with silence; a longer one at the start means that the track came later.
const FILL_MAX_SECONDS: i64 = 10;
/// Frames held until video has passed their time.
const QUEUE_MAX: usize = 512;
/// Frames over which the publisher's jitter is averaged: milliseconds alone bring half of one.
const SMOOTHING: i64 = 16;

/// One session's audio.
#[derive(Debug)]
pub(super) struct AudioTrack {
    coding: Coding,
    /// Where the next frame starts, in samples.
    next: i64,
    /// Where the period starts.
    begun: Timestamp,
    /// Nothing of the period is stamped yet.
    opening: bool,
    /// How far the publisher's clock is ahead of the count, smoothed, in 1/[`SMOOTHING`] samples.
    drift: i64,
    /// The count was corrected, and the drift has not come back to the middle since.
    corrected: bool,
    /// By how many samples more the last corrections should have moved the count.
    owed: i64,
    /// The next frame goes: the count was corrected by it.
    leave_out: bool,
    queue: VecDeque<Queued>,
    newest_end: Option<Timestamp>,
    received: Instant,
    /// How long video waits for this publisher's audio before silence takes its place, in ticks of 1/120000 s.
    wait_ticks: i64,
    /// How long audio waits for this publisher's video before it counts as silent.
    video_wait_ticks: i64,
    /// What comes at the next cut; until then the track is silent.
    pending: Option<Arc<AudioConfig>>,
}

/// A configuration and what follows from it.
#[derive(Clone, Debug)]
struct Coding {
    config: Arc<AudioConfig>,
    timescale: Timescale,
    /// Samples of a frame; some may have fewer.
    frame: i64,
    passes_through: bool,
}

#[derive(Debug)]
struct Queued {
    received: Instant,
    at: Timestamp,
    /// Samples.
    length: i64,
    data: Bytes,
    config: Arc<AudioConfig>,
}

impl Queued {
    fn end(&self) -> Timestamp {
        Timestamp::new(self.at.ticks + self.length, self.at.timescale)
    }
}

impl Coding {
    fn new(config: Arc<AudioConfig>) -> Self {
        Self {
            timescale: Timescale::new(config.sample_rate()).unwrap_or(Timescale::VIDEO),
            frame: i64::from(config.frame_samples()),
            passes_through: config.passes_through(),
            config,
        }
    }

    /// How far a frame may be off before it is more than jitter: a hole, or a frame too many.
    fn tolerance(&self) -> i64 {
        self.frame * 3 / 4
    }

    /// How far the count may drift: nearly half a frame, and 2 ms where it can be corrected by less than a frame.
    fn drift_max(&self) -> i64 {
        let half = self.frame / 2;
        if self.passes_through { half - self.margin() } else { half.min(self.rate() / 500) }
    }

    /// How much earlier than at half a frame the count is corrected: 2/3 ms, because milliseconds tell where a frame is
    /// to 1/2 ms only.
    fn margin(&self) -> i64 {
        self.rate() / 1500
    }

    fn rate(&self) -> i64 {
        self.timescale.units_per_second().into()
    }
}

impl AudioTrack {
    pub(super) fn new(config: Arc<AudioConfig>) -> Self {
        Self {
            coding: Coding::new(config),
            next: 0,
            begun: Timestamp::video(0),
            opening: true,
            drift: 0,
            corrected: false,
            owed: 0,
            leave_out: false,
            queue: VecDeque::new(),
            newest_end: None,
            received: Instant::default(),
            wait_ticks: WAIT_TICKS,
            video_wait_ticks: WAIT_TICKS,
            pending: None,
        }
    }

    /// Takes the next publisher's configuration. Samples stamped so far keep theirs.
    pub(super) fn set_config(&mut self, config: Arc<AudioConfig>) {
        self.pending = None;
        if *config == *self.coding.config {
            return;
        }
        let next = Timestamp::new(self.next, self.coding.timescale);
        self.coding = Coding::new(config);
        self.next = at_or_after(next, self.coding.timescale);
        self.forget_drift(0);
    }

    /// The count is laid anew, with this error.
    fn forget_drift(&mut self, error: i64) {
        (self.drift, self.corrected) = (error * SMOOTHING, false);
        (self.owed, self.leave_out) = (0, false);
    }

    /// The publisher changes its configuration while it sends. Where players take the sound as it is, that needs a cut
    /// with a discontinuity, for which the track waits in silence: `true`.
    pub(super) fn change_config(&mut self, config: Arc<AudioConfig>) -> bool {
        if *config == *self.coding.config {
            self.pending = None;
        } else if self.coding.passes_through {
            self.pending = Some(config);
        }
        self.pending.is_some()
    }

    /// What the track changes to at the next cut.
    pub(super) fn pending(&self) -> Option<Arc<AudioConfig>> {
        self.pending.clone()
    }

    /// A period starts at `start`: the first frame that begins there or later is its first one.
    pub(super) fn begin(&mut self, start: Timestamp) {
        self.next = self.next.max(at_or_after(start, self.coding.timescale));
        self.begun = start;
        self.opening = true;
        self.forget_drift(0);
        (self.wait_ticks, self.video_wait_ticks) = (WAIT_TICKS, WAIT_TICKS);
        self.queue.clear();
        self.newest_end = None;
    }

    /// A frame came whose publisher's clock says `at`, when video had got to `video_end`.
    pub(super) fn queue(
        &mut self,
        received: Instant,
        at: Timestamp,
        data: Bytes,
        config: &Arc<AudioConfig>,
        video_end: Option<Timestamp>,
    ) {
        if data.is_empty() {
            return;
        }
        if let Some(end) = video_end {
            let late = end.ticks - at.rescale(Timescale::VIDEO).ticks;
            self.wait_ticks = self.wait_ticks.max((late + WAIT_MARGIN_TICKS).min(WAIT_TICKS_MAX));
        }
        let timescale = Coding::new(config.clone()).timescale;
        let (at, length) = (at.rescale_nearest(timescale), config.samples_of(&data).into());
        let queued = Queued { received, at, length, data, config: config.clone() };
        self.newest_end = Some(queued.end());
        self.received = received;
        if self.pending.is_some() {
            return;
        }
        if self.queue.len() == QUEUE_MAX {
            self.queue.pop_front();
        }
        self.queue.push_back(queued);
    }

    /// A picture came that begins at `time`: audio was ahead of it by so much.
    pub(super) fn heard_before(&mut self, time: Timestamp) {
        let Some(heard) = self.newest_end else { return };
        let lead = heard.rescale(Timescale::VIDEO).ticks - time.ticks;
        self.video_wait_ticks = self.video_wait_ticks.max((lead + WAIT_MARGIN_TICKS).min(WAIT_TICKS_MAX));
    }

    /// The slots that audio waits for video.
    pub(super) fn video_wait_slots(&self, grid: &Grid) -> i64 {
        self.video_wait_ticks / grid.slot_ticks
    }

    /// Where the newest frame ends by the publisher's clock.
    pub(super) fn newest_end(&self) -> Option<Timestamp> {
        self.newest_end
    }

    pub(super) fn forget_queue(&mut self) {
        self.queue.clear();
    }

    /// Puts silence up to `end`, so that the track covers it.
    pub(super) fn fill_until(&mut self, end: Timestamp) {
        let Coding { config, timescale, frame, .. } = self.coding.clone();
        let end = end.rescale(timescale).ticks;
        let last = self.queue.back().map(|last| last.end().rescale_nearest(timescale).ticks);
        let mut at = last.map_or(self.next, |last| last.max(self.next));
        while at < end && self.queue.len() < QUEUE_MAX {
            self.queue.push_back(Queued {
                received: self.received,
                at: Timestamp::new(at, timescale),
                length: frame,
                data: silent_frame(&config),
                config: config.clone(),
            });
            at += frame;
        }
    }

    /// Stamps the frames that begin before `video_end`, all of them when there is no video. Where audio is missing for
    /// longer than video waits, silence takes its place.
    pub(super) fn stamp_until(&mut self, video_end: Option<Timestamp>, events: &mut VecDeque<Event>) {
        while let Some(front) = self.queue.front() {
            if !Arc::ptr_eq(&front.config, &self.coding.config) {
                self.set_config(front.config.clone());
            }
            let Some(front) = self.queue.front() else { break };
            let start = self.next.max(front.at.ticks - self.coding.tolerance());
            let ahead = video_end.is_some_and(|end| Timestamp::new(start, self.coding.timescale) >= end);
            if ahead {
                break;
            }
            let Some(frame) = self.queue.pop_front() else { break };
            self.stamp(frame, events);
        }
        let Some(end) = video_end else { return };
        let late = Timestamp::video(end.ticks - self.wait_ticks).rescale(self.coding.timescale).ticks;
        let missing = self.queue.front().map_or(late, |front| late.min(front.at.ticks));
        while self.next + self.coding.frame <= missing {
            self.emit_silence(self.coding.frame, self.received, events);
        }
    }

    fn stamp(&mut self, queued: Queued, events: &mut VecDeque<Event>) {
        let (frame, error) = (self.coding.frame, queued.at.ticks - self.next);
        let mut length = queued.length;
        if self.opening {
            // A period may begin with a hole: nothing has to meet there. But the sound before it may reach into it, and
            // with both together a segment of sound still begins less than a frame after its cut (H-92).
            let too_early = if self.coding.passes_through { -self.coding.drift_max() } else { 1 - frame };
            if error < too_early {
                return;
            }
            let begun = at_or_after(self.begun, self.coding.timescale);
            if error > 0 && !self.is_too_long(error) {
                let hole = error % frame;
                let fits = hole.min((frame - 1 - (self.next - begun)).max(0));
                // Otherwise a frame of silence, which is a little too long, leaves less of an error.
                self.next += if hole - fits <= frame - hole { fits } else { 0 };
            } else if error < 0 && !self.coding.passes_through {
                self.next = queued.at.ticks;
            }
        } else if error < -self.coding.tolerance() {
            // A frame too many: what is already stamped stays.
            return;
        }
        let error = queued.at.ticks - self.next;
        let hole_min = if self.opening { frame / 2 } else { self.coding.tolerance() };
        if error > hole_min {
            if !self.is_too_long(error) {
                // The nearest number of frames; where any length will do, no more than fit.
                let spare = if self.coding.passes_through { frame / 2 } else { 0 };
                for _ in 0..(error + spare) / frame {
                    self.emit_silence(frame, queued.received, events);
                }
            }
            if self.is_too_long(error) || !self.coding.passes_through {
                self.next = queued.at.ticks;
            }
            self.forget_drift(queued.at.ticks - self.next);
        } else if self.opening {
            self.forget_drift(error);
        } else {
            let Some(more) = self.correct_drift(error, queued.received, events) else { return };
            length += more;
        }
        self.emit(queued.data, length, queued.received, events);
    }

    fn is_too_long(&self, error: i64) -> bool {
        error > FILL_MAX_SECONDS * self.coding.rate()
    }

    /// The publisher's clock is `error` samples ahead of the count. When that is so on average, the count is corrected.
    /// By how many samples the frame that came is to be lengthened for it; `None` when it has to go.
    fn correct_drift(&mut self, error: i64, received: Instant, events: &mut VecDeque<Event>) -> Option<i64> {
        if std::mem::take(&mut self.leave_out) && error < 0 {
            return None;
        }
        self.drift += error - self.drift / SMOOTHING;
        let (mean, max) = (self.drift / SMOOTHING, self.coding.drift_max());
        if !self.coding.passes_through {
            if mean.abs() > max {
                self.next += mean;
                self.drift = 0;
            }
            return Some(0);
        }
        // A whole frame more or less makes the error as large on the other side: it must not be undone at once.
        self.corrected &= mean.abs() > max / 2;
        let mut more = 0;
        if mean.abs() > max && !self.corrected {
            self.corrected = true;
            // From one side to the other, and no further.
            let step = self.coding.frame - 2 * self.coding.margin();
            self.drift -= mean.signum() * step * SMOOTHING;
            let short = self.coding.frame - step;
            self.owed += mean.signum() * short;
            if mean > 0 {
                self.emit_silence(step, received, events);
            } else {
                self.leave_out = true;
                more = short;
            }
        } else if mean.abs() < max / 2 && self.owed != 0 {
            more = std::mem::take(&mut self.owed);
            self.drift -= more * SMOOTHING;
        }
        Some(more)
    }

    fn emit_silence(&mut self, length: i64, received: Instant, events: &mut VecDeque<Event>) {
        self.emit(silent_frame(&self.coding.config), length, received, events);
    }

    fn emit(&mut self, data: Bytes, length: i64, received: Instant, events: &mut VecDeque<Event>) {
        let Coding { config, timescale, frame, .. } = &self.coding;
        events.push_back(Event::Audio(StampedAudio {
            start: Timestamp::new(self.next, *timescale),
            // Never more than a frame and what is owed.
            length_samples: u32::try_from(length).unwrap_or(u32::try_from(*frame).unwrap_or(0)),
            data,
            config: config.clone(),
            received,
        }));
        self.next += length;
        self.opening = false;
    }
}

/// The first tick of `timescale` that is not before `at`.
fn at_or_after(at: Timestamp, timescale: Timescale) -> i64 {
    let down = at.rescale(timescale);
    if down < at { down.ticks + 1 } else { down.ticks }
}

#[cfg(test)]
mod tests {
    use headwater_media::AacConfig;

    use super::*;

    /// H-92: found by soaking, where a publisher's first sound came a little after its first picture, and the sound of the
    /// one before it reached beyond the cut.
    #[test]
    fn a_period_begins_less_than_a_frame_after_its_start_whatever_came_before() {
        let config = Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).expect("48 kHz stereo exists")));
        let scale = Timescale::new(48_000).expect("48000 is not zero");
        for hole in (0..3000).step_by(100) {
            let mut track = AudioTrack::new(config.clone());
            let mut events = VecDeque::new();
            for (start, at) in [(0, 0), (24, 1024 + hole)] {
                track.begin(Timestamp::new(start, scale));
                events.clear();
                track.queue(Instant::default(), Timestamp::new(at, scale), Bytes::from_static(b"frame"), &config, None);
                track.stamp_until(None, &mut events);
            }
            let starts: Vec<i64> = events
                .iter()
                .filter_map(|event| match event {
                    Event::Audio(frame) => Some(frame.start.ticks),
                    _ => None,
                })
                .collect();
            assert!((1024..24 + 1024).contains(&starts[0]), "a hole of {hole}: {starts:?}");
            assert!((starts[starts.len() - 1] - (1024 + hole)).abs() <= 512, "a hole of {hole}: {starts:?}");
        }
    }
}
