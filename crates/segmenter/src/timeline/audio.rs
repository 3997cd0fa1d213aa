//! The audio track's clock: a count of samples, re-anchored to the publisher's milliseconds only when it is more than
//! half a frame off.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use headwater_media::{AacConfig, Instant, StampedAudio, Timescale, Timestamp};

use super::Event;
use crate::Grid;
use crate::silence::silent_frame;

/// Samples of an AAC-LC frame.
const FRAME: i64 = 1024;
/// How far the count may be off before a frame is put in or left out: more than half a frame by the jitter that
/// milliseconds bring.
const TOLERANCE: i64 = FRAME * 3 / 4;
/// Video does not wait longer than this for audio, nor audio for video (architecture 3), in ticks of 1/120000 s.
const WAIT_TICKS: i64 = 60_000;
/// The longest hole that is filled with silence; a longer one at the start means that the track came later.
const FILL_MAX_SECONDS: i64 = 10;
/// Frames held until video has passed their time.
const QUEUE_MAX: usize = 512;

/// The slots of half a second.
pub(super) fn wait_slots(grid: &Grid) -> i64 {
    WAIT_TICKS / grid.slot_ticks
}

/// One session's audio.
#[derive(Debug)]
pub(super) struct AudioTrack {
    config: Arc<AacConfig>,
    timescale: Timescale,
    /// Where the next frame starts, in samples.
    next: i64,
    queue: VecDeque<Queued>,
    newest_end: Option<Timestamp>,
    received: Instant,
}

#[derive(Debug)]
struct Queued {
    received: Instant,
    ideal: i64,
    data: Bytes,
}

impl AudioTrack {
    pub(super) fn new(config: Arc<AacConfig>) -> Self {
        let timescale = Timescale::new(config.sample_rate).unwrap_or(Timescale::VIDEO);
        Self { config, timescale, next: 0, queue: VecDeque::new(), newest_end: None, received: Instant::default() }
    }

    /// Takes the next publisher's configuration. Samples stamped so far keep theirs.
    pub(super) fn set_config(&mut self, config: Arc<AacConfig>) {
        if *config == *self.config {
            return;
        }
        let timescale = Timescale::new(config.sample_rate).unwrap_or(Timescale::VIDEO);
        self.next = Timestamp::new(self.next, self.timescale).rescale(timescale).ticks;
        self.config = config;
        self.timescale = timescale;
    }

    /// A period starts at `start`: the first frame that begins there or later is its first one.
    pub(super) fn begin(&mut self, start: Timestamp) {
        let first = start.rescale(self.timescale);
        let first = if first < start { first.ticks + 1 } else { first.ticks };
        self.next = self.next.max(first);
        self.queue.clear();
        self.newest_end = None;
    }

    /// A frame came whose publisher's clock says `at`.
    pub(super) fn queue(&mut self, received: Instant, at: Timestamp, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let ideal = at.rescale_nearest(self.timescale).ticks;
        if self.queue.len() == QUEUE_MAX {
            self.queue.pop_front();
        }
        self.newest_end = Some(Timestamp::new(ideal + FRAME, self.timescale));
        self.received = received;
        self.queue.push_back(Queued { received, ideal, data });
    }

    /// Where the newest frame ends by the publisher's clock.
    pub(super) fn newest_end(&self) -> Option<Timestamp> {
        self.newest_end
    }

    pub(super) fn forget_queue(&mut self) {
        self.queue.clear();
    }

    /// Puts silence up to `end`, so that the track covers it. Does nothing for layouts without a silent frame.
    pub(super) fn fill_until(&mut self, end: Timestamp) {
        let end = end.rescale(self.timescale).ticks;
        let received = self.received;
        if let Some(silence) = silent_frame(&self.config) {
            let covered = self.queue.back().map_or(self.next, |last| last.ideal + FRAME);
            let mut ideal = covered.max(self.next);
            while ideal < end && self.queue.len() < QUEUE_MAX {
                self.queue.push_back(Queued { received, ideal, data: silence.clone() });
                ideal += FRAME;
            }
        }
    }

    /// Stamps the frames that begin before `video_end`, all of them when there is no video. Where audio is missing for
    /// longer than video waits, silence takes its place.
    pub(super) fn stamp_until(&mut self, video_end: Option<Timestamp>, events: &mut VecDeque<Event>) {
        while let Some(front) = self.queue.front() {
            let start = Timestamp::new(self.next.max(front.ideal - TOLERANCE), self.timescale);
            let ahead = video_end.is_some_and(|end| start >= end);
            if ahead {
                break;
            }
            let Some(frame) = self.queue.pop_front() else { break };
            self.stamp(frame, events);
        }
        let Some(end) = video_end else { return };
        let late = Timestamp::video(end.ticks - WAIT_TICKS).rescale(self.timescale).ticks;
        let missing = self.queue.front().map_or(late, |front| late.min(front.ideal));
        if let Some(silence) = silent_frame(&self.config) {
            while self.next + FRAME <= missing {
                self.emit(silence.clone(), self.received, events);
            }
        }
    }

    fn stamp(&mut self, frame: Queued, events: &mut VecDeque<Event>) {
        let error = frame.ideal - self.next;
        if error < -TOLERANCE {
            // Before the period, or a frame too many: what is already stamped stays.
            return;
        }
        if error > TOLERANCE {
            let fill = (error + FRAME / 2) / FRAME;
            let too_long = fill * FRAME > FILL_MAX_SECONDS * i64::from(self.timescale.units_per_second());
            match silent_frame(&self.config) {
                Some(silence) if !too_long => {
                    for _ in 0..fill {
                        self.emit(silence.clone(), frame.received, events);
                    }
                }
                _ => self.next = frame.ideal,
            }
        }
        self.emit(frame.data, frame.received, events);
    }

    fn emit(&mut self, data: Bytes, received: Instant, events: &mut VecDeque<Event>) {
        events.push_back(Event::Audio(StampedAudio {
            start: Timestamp::new(self.next, self.timescale),
            length_samples: 1024,
            data,
            config: self.config.clone(),
            received,
        }));
        self.next += FRAME;
    }
}
