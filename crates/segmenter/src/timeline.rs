//! The timeline: stamps every sample with its segment and slot, decides cuts and part ends (architecture 3).
//!
//! It runs at ingest, before the log, and lives as long as the session: publishers come and go, numbers only rise.
//! It does not package anything and knows nothing of gears.
//!
//! ```text
//!            begin_publisher              first IDR, rate and tracks known
//!   Away ----------------------> Joining ----------------------------------> Running
//!    ^                              ^            (a jump in time)               |
//!    |                              +-------------------------------------------+
//!    +------------------------- end_publisher ----------------------------------+
//! ```

mod audio;
mod clock;
mod cutter;
mod settle;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{
    AccessUnit, AudioConfig, AudioFrame, Cut, CutKind, Instant, MediaSequence, PartEnd, StampedAudio, StampedVideo,
    Timestamp, VideoConfig, VideoSlot, WallTime,
};

use crate::{Grid, Profile};
use audio::AudioTrack;
use clock::{Period, Unwrap};
use cutter::{Cutter, Key};
use settle::Settling;

/// A connection that sends video without a keyframe for this long is refused.
const KEYFRAME_WAIT: Duration = Duration::from_secs(10);
/// A frame that is this far behind its track has jumped (R-90).
const JUMP_BACK_MILLIS: i64 = 1000;
/// A frame that is this far ahead of its track has jumped (R-90).
const JUMP_AHEAD_MILLIS: i64 = 10_000;
/// No encoder reorders pictures over a longer time; a composition time beyond it is damage, and counts as none.
const COMPOSITION_MILLIS_MAX: u32 = 5000;
/// Audio frames kept while the first keyframe is awaited: about 1.4 s.
const EARLY_AUDIO_MAX: usize = 64;

/// What the timeline was told before the first sample.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Latency profile of the session.
    pub profile: Profile,
    /// The source rendition may be switched off when it does not conform. False with ladder `none`, where it is all
    /// that there is.
    pub source_may_be_off: bool,
}

/// What the timeline hands on, in the order of the log.
#[derive(Clone, Debug)]
pub enum Event {
    /// Once per session, first: its constants are settled.
    Started(Started),
    /// A segment begins.
    Cut(Arc<Cut>),
    /// A picture, stamped.
    Video(StampedVideo),
    /// An audio frame, stamped.
    Audio(StampedAudio),
    /// A part ends.
    PartEnd(PartEnd),
}

/// The session's constants, known when its first sample is stamped.
#[derive(Clone, Debug)]
pub struct Started {
    /// Slots, parts and segments.
    pub grid: Grid,
    /// The source's video, if it has any.
    pub video: Option<Arc<VideoConfig>>,
    /// The source's audio, if it has any.
    pub audio: Option<Arc<AudioConfig>>,
}

/// What is known of a session whose home was lost (architecture 5, unsealed takeover).
#[derive(Clone, Debug)]
pub struct Lost {
    /// The session's grid.
    pub grid: Grid,
    /// It has pictures.
    pub has_video: bool,
    /// What its sound was when it began, if it has any.
    pub audio: Option<Arc<AudioConfig>>,
    /// The last cut that was recorded.
    pub last: Arc<Cut>,
    /// The first number that was never used.
    pub next: MediaSequence,
}

impl Lost {
    /// The last number that may have been used, closed as a gap. From the last recorded cut up to the first number that
    /// was never used every segment is one, each as long as the limit: none can have been longer.
    pub fn gap(&self) -> Cut {
        let msn = self.last.msn.max(MediaSequence(self.next.0.saturating_sub(1)));
        let limit = self.grid.slot_start(self.grid.limit_slots).ticks;
        let passed = Timestamp::video(i64::try_from(msn.0 - self.last.msn.0).unwrap_or(i64::MAX).saturating_mul(limit));
        Cut {
            msn,
            start: Timestamp::video(self.last.start.ticks.saturating_add(passed.ticks)),
            program_date_time: self.last.program_date_time.plus(passed),
            kind: CutKind::Gap,
            renditions: [].into(),
            ..Cut::clone(&self.last)
        }
    }

    /// Where that segment ends, and the session goes on.
    pub fn end(&self) -> Timestamp {
        let limit = self.grid.slot_start(self.grid.limit_slots).ticks;
        Timestamp::video(self.gap().start.ticks.saturating_add(limit))
    }
}

/// Why a publisher cannot be served. The text is for the publisher.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Pictures came, but none to begin with.
    #[error("no keyframe (IDR picture) in {seconds} s of video; set the encoder's keyframe interval to 2 s")]
    NoKeyframe {
        /// How long was waited.
        seconds: u64,
    },
    /// Pictures came, but nothing that says how to decode them.
    #[error("no sequence header in {seconds} s of video")]
    NoVideoConfig {
        /// How long was waited.
        seconds: u64,
    },
}

/// Stamps the samples of one session.
///
/// Between two calls drain [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Timeline {
    config: Config,
    phase: Phase,
    events: VecDeque<Event>,
    /// Present from the first stamp on; survives publishers.
    session: Option<Session>,
    video_config: Option<Arc<VideoConfig>>,
    audio_config: Option<Arc<AudioConfig>>,
    frame_rate_hint: Option<f64>,
}

/// What outlives a publisher.
#[derive(Debug)]
struct Session {
    grid: Grid,
    cutter: Cutter,
    audio: Option<AudioTrack>,
    has_video: bool,
}

#[derive(Debug)]
enum Phase {
    Away,
    Joining(Joining),
    Running(Running),
}

/// A publisher is there, but nothing can be stamped yet.
#[derive(Debug)]
struct Joining {
    unwrap: Unwrap,
    /// Wall time at `began`: the publisher's clock reference.
    wall: WallTime,
    began: Instant,
    first_video: Option<Instant>,
    early_audio: VecDeque<(Instant, i64, AudioFrame)>,
    /// Inputs from the first keyframe on, held until rate and tracks are settled. Only before the session's start.
    settling: Settling,
}

#[derive(Debug)]
struct Running {
    unwrap: Unwrap,
    wall: WallTime,
    began: Instant,
    period: Period,
    last_video_millis: Option<i64>,
    last_audio_millis: Option<i64>,
}

impl Timeline {
    /// A timeline before its first publisher.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Away,
            events: VecDeque::new(),
            session: None,
            video_config: None,
            audio_config: None,
            frame_rate_hint: None,
        }
    }

    /// A timeline that goes on where another home was lost: `lost` says what is known of it.
    pub fn resume(config: Config, lost: &Lost) -> Self {
        let gap = lost.gap();
        let cutter = Cutter::resume(lost.grid, config.source_may_be_off && lost.has_video, &gap);
        let audio = lost.audio.clone().map(|config| {
            let mut audio = AudioTrack::new(config);
            audio.begin(lost.grid.slot_start(cutter.next_slot()));
            audio
        });
        let session = Session { grid: lost.grid, cutter, audio, has_video: lost.has_video };
        Self { session: Some(session), ..Self::new(config) }
    }

    /// A publisher was accepted. `wall` is the wall-clock time at `now`.
    pub fn begin_publisher(&mut self, now: Instant, wall: WallTime) {
        self.video_config = None;
        self.audio_config = None;
        self.frame_rate_hint = None;
        self.phase = Phase::Joining(Joining::new(now, wall, Unwrap::default()));
    }

    /// The publisher is gone. The open segment stays open: the playlist stands still until someone comes back.
    pub fn end_publisher(&mut self) {
        if let (Phase::Running(_), Some(session)) = (&self.phase, &mut self.session) {
            session.flush_audio(&mut self.events);
        }
        self.phase = Phase::Away;
    }

    /// The session is over: the open part and with it the segment is closed, as a short one.
    pub fn finish(&mut self) {
        self.end_publisher();
        if let Some(session) = &mut self.session {
            session.end_period(&mut self.events);
            session.cutter.finish(&mut self.events);
        }
    }

    /// Whether the source rendition may be switched off when it does not conform. Holds from the session's start on.
    pub fn set_source_may_be_off(&mut self, may_be_off: bool) {
        self.config.source_may_be_off = may_be_off;
    }

    /// A sequence header came. One that equals the current one changes nothing (R-95).
    pub fn set_video_config(&mut self, config: Arc<VideoConfig>) {
        if self.video_config.as_deref() != Some(&*config) {
            self.video_config = Some(config);
        }
    }

    /// A configuration of audio came. One that equals the current one changes nothing (R-95). Another one holds from the
    /// next frame on; where players take the sound as it is, from the next cut on, which gets a discontinuity, and until
    /// then the track is silent.
    pub fn set_audio_config(&mut self, config: Arc<AudioConfig>) {
        if self.audio_config.as_deref() == Some(&*config) {
            return;
        }
        self.audio_config = Some(config.clone());
        if let (Phase::Running(_), Some(session)) = (&self.phase, &mut self.session)
            && let Some(audio) = &mut session.audio
        {
            session.cutter.set_discontinuity_due(audio.change_config(config));
        }
    }

    /// `onMetaData` names a frame rate: a hint for when the SPS does not say (R-60).
    pub fn hint_frame_rate(&mut self, frames_per_second: f64) {
        self.frame_rate_hint = Some(frames_per_second);
    }

    /// The first bytes of a video message have come and say what it will be. Lets the last part of a segment out before
    /// the whole keyframe is there. May be left out.
    pub fn handle_video_start(&mut self, dts_millis: u32, keyframe: bool) {
        if self.jumps(dts_millis) {
            return;
        }
        let (Phase::Running(running), Some(session)) = (&mut self.phase, &mut self.session) else { return };
        let dts = running.unwrap.peek(dts_millis);
        let slot = running.period.slot(dts);
        session.cutter.advance(slot, keyframe, &mut self.events);
        session.change_audio(&mut self.events);
    }

    /// A whole video message came.
    pub fn handle_video(&mut self, now: Instant, mut unit: AccessUnit) -> Result<(), Refusal> {
        if unit.composition_millis.unsigned_abs() > COMPOSITION_MILLIS_MAX {
            unit.composition_millis = 0;
        }
        if self.jumps(unit.dts_millis) {
            self.rejoin(now);
        }
        match &mut self.phase {
            Phase::Away => Ok(()),
            Phase::Joining(joining) => {
                let first_video = *joining.first_video.get_or_insert(now);
                let waited = now.saturating_since(first_video);
                let begins = unit.idr || unit.recovery_point;
                if self.video_config.is_some() && (begins || joining.settling.has_video()) {
                    joining.settling.push_video(now, unit);
                    self.try_start(now);
                } else if waited > KEYFRAME_WAIT {
                    return Err(match self.video_config {
                        Some(_) => Refusal::NoKeyframe { seconds: KEYFRAME_WAIT.as_secs() },
                        None => Refusal::NoVideoConfig { seconds: KEYFRAME_WAIT.as_secs() },
                    });
                }
                Ok(())
            }
            Phase::Running(_) => {
                self.stamp_video(now, unit);
                Ok(())
            }
        }
    }

    /// A whole audio message came.
    pub fn handle_audio(&mut self, now: Instant, frame: AudioFrame) {
        match &mut self.phase {
            Phase::Away => {}
            Phase::Joining(joining) => {
                if self.audio_config.is_none() {
                    return;
                }
                let millis = joining.unwrap.step(frame.pts_millis);
                if joining.early_audio.len() == EARLY_AUDIO_MAX && joining.settling.has_video() {
                    // Frames after the keyframe are bounded by what settling holds.
                } else if joining.early_audio.len() == EARLY_AUDIO_MAX {
                    joining.early_audio.pop_front();
                }
                joining.settling.saw_audio(now);
                joining.early_audio.push_back((now, millis, frame));
                self.try_start(now);
            }
            Phase::Running(_) => self.stamp_audio(now, frame),
        }
    }

    /// `now` has passed [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.try_start(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Joining(joining) if self.session.is_none() => joining.settling.deadline(),
            _ => None,
        }
    }

    /// The next thing for the log.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The session's grid, once it is settled.
    pub fn grid(&self) -> Option<Grid> {
        self.session.as_ref().map(|session| session.grid)
    }

    /// The publisher's clock jumped: the same as a new publisher, without the wait.
    fn rejoin(&mut self, now: Instant) {
        if let Phase::Running(running) = &self.phase {
            let wall = running.wall_at(now);
            if let Some(session) = &mut self.session {
                session.flush_audio(&mut self.events);
            }
            self.phase = Phase::Joining(Joining::new(now, wall, Unwrap::default()));
        }
    }

    /// Leaves `Joining` when rate and tracks are known.
    fn try_start(&mut self, now: Instant) {
        let Phase::Joining(joining) = &mut self.phase else { return };
        let started = match &self.session {
            Some(session) if session.has_video => joining.settling.has_video().then_some(session.grid),
            Some(session) => (!joining.early_audio.is_empty()).then_some(session.grid),
            None => joining
                .settling
                .settled(now, self.video_config.as_deref(), self.audio_config.as_deref(), self.frame_rate_hint)
                .map(|rate| {
                    let grid = Grid::new(self.config.profile, rate);
                    let offered = self.audio_config.as_deref().filter(|config| config.is_optional());
                    offered.map_or(grid, |config| grid.with_source_sound(config))
                }),
        };
        let Some(grid) = started else { return };
        let Phase::Joining(mut joining) = std::mem::replace(&mut self.phase, Phase::Away) else { return };
        let pending = joining.settling.take_video();
        let first_video = pending.front().map(|(at, unit)| (*at, unit.dts_millis, unit.composition_millis));

        if self.session.is_none() {
            let has_video = first_video.is_some();
            let audio = self.audio_config.clone();
            self.events.push_back(Event::Started(Started {
                grid,
                video: has_video.then(|| self.video_config.clone()).flatten(),
                audio: audio.clone(),
            }));
            self.session = Some(Session {
                grid,
                cutter: Cutter::new(grid, self.config.source_may_be_off && has_video),
                audio: audio.map(AudioTrack::new),
                has_video,
            });
        }
        let Some(session) = &mut self.session else { return };

        let mut unwrap = joining.unwrap.clone();
        let (at, base_millis, shift_millis) = match (first_video, joining.early_audio.front()) {
            (Some((at, dts, composition)), _) => {
                let dts = unwrap.step(dts);
                (at, dts + i64::from(composition), i64::from(composition))
            }
            (None, Some((at, millis, _))) => (*at, *millis, 0),
            (None, None) => return,
        };
        let wall = joining.wall_at(at);
        session.end_period(&mut self.events);
        if let (Some(audio), Some(config)) = (&mut session.audio, &self.audio_config) {
            audio.set_config(config.clone());
        }
        let start_slot = session.cutter.begin_period(wall, &mut self.events);
        let period = Period { base_millis, shift_millis, start_slot, grid };
        if let Some(audio) = &mut session.audio {
            audio.begin(grid.slot_start(start_slot));
        }
        self.phase = Phase::Running(Running {
            unwrap,
            wall: joining.wall,
            began: joining.began,
            period,
            last_video_millis: None,
            last_audio_millis: None,
        });
        // What is far from where the period begins has no place in it. Frames that come later begin a new one.
        for (at, millis, frame) in std::mem::take(&mut joining.early_audio) {
            if !jumped(Some(base_millis), millis) {
                self.queue_audio(at, millis, frame);
            }
        }
        for (at, unit) in pending {
            if !self.jumps(unit.dts_millis) {
                self.stamp_video(at, unit);
            }
        }
        if let Some(session) = &mut self.session
            && !session.has_video
        {
            session.drain_audio(&mut self.events);
        }
    }

    /// Whether a picture of this time is on another clock than those before it.
    fn jumps(&self, dts_millis: u32) -> bool {
        let Phase::Running(running) = &self.phase else { return false };
        jumped(running.last_video_millis, running.unwrap.peek(dts_millis))
    }

    fn stamp_video(&mut self, now: Instant, unit: AccessUnit) {
        let (Phase::Running(running), Some(session)) = (&mut self.phase, &mut self.session) else { return };
        let Some(config) = self.video_config.clone() else { return };
        if !session.has_video {
            return;
        }
        let dts = running.unwrap.step(unit.dts_millis);
        running.last_video_millis = Some(dts);
        let composition = i64::from(unit.composition_millis);
        let want = running.period.slot(dts);
        let entry = unit.idr || unit.recovery_point;
        if entry && session.cutter.config_changed(&config) {
            session.cutter.advance_to_change(want, &mut self.events);
        } else {
            session.cutter.advance(want, entry, &mut self.events);
        }
        session.change_audio(&mut self.events);
        let key = Key::of(&unit);
        let (msn, slot, opens_segment) = session.cutter.place(want, key, &config);
        let composition_slots = if opens_segment && unit.idr {
            running.period.shift_millis = composition;
            0
        } else {
            running.period.presentation_slot(dts + composition) - slot
        };
        self.events.push_back(Event::Video(StampedVideo {
            msn,
            slot: VideoSlot(slot),
            composition_slots: i32::try_from(composition_slots).unwrap_or(0),
            idr: unit.idr,
            recovery_point: unit.recovery_point,
            data: unit.data,
            config,
            received: now,
        }));
        session.cutter.filled(&mut self.events);
        session.drain_audio(&mut self.events);
    }

    fn stamp_audio(&mut self, now: Instant, frame: AudioFrame) {
        let Phase::Running(running) = &mut self.phase else { return };
        let millis = running.unwrap.peek(frame.pts_millis);
        // The first frame of sound is measured by the picture: it must not lead the timeline somewhere else.
        if jumped(running.last_audio_millis.or(running.last_video_millis), millis) {
            // With video, its own jump is what starts a new period; audio on the new clock waits for it.
            if self.session.as_ref().is_some_and(|session| session.has_video) {
                return;
            }
            self.rejoin(now);
            return self.handle_audio(now, frame);
        }
        running.unwrap.step(frame.pts_millis);
        running.last_audio_millis = Some(millis);
        self.queue_audio(now, millis, frame);
        if let Some(session) = &mut self.session {
            session.drain_audio(&mut self.events);
        }
        self.advance_by_audio();
    }

    fn queue_audio(&mut self, now: Instant, millis: i64, frame: AudioFrame) {
        let (Phase::Running(running), Some(session)) = (&mut self.phase, &mut self.session) else { return };
        if let (Some(audio), Some(config)) = (&mut session.audio, &self.audio_config) {
            audio.queue(now, running.period.presentation_time(millis), frame.data, config);
        }
    }

    /// Audio makes the cuts when there is no video, or when video is silent.
    fn advance_by_audio(&mut self) {
        let (Phase::Running(_), Some(session)) = (&self.phase, &mut self.session) else { return };
        let Some(heard) = session.audio.as_ref().and_then(AudioTrack::newest_end) else { return };
        let allowance =
            if session.has_video { session.grid.part_slots.max(audio::wait_slots(&session.grid)) } else { 0 };
        let slot = heard.rescale(headwater_media::Timescale::VIDEO).ticks / session.grid.slot_ticks - allowance;
        session.cutter.advance_without_video(slot, session.has_video, &mut self.events);
        session.change_audio(&mut self.events);
        session.drain_audio(&mut self.events);
    }
}

impl Joining {
    fn new(now: Instant, wall: WallTime, unwrap: Unwrap) -> Self {
        Self {
            unwrap,
            wall,
            began: now,
            first_video: None,
            early_audio: VecDeque::new(),
            settling: Settling::default(),
        }
    }

    fn wall_at(&self, now: Instant) -> WallTime {
        wall_after(self.wall, now.saturating_since(self.began))
    }
}

impl Running {
    fn wall_at(&self, now: Instant) -> WallTime {
        wall_after(self.wall, now.saturating_since(self.began))
    }
}

fn jumped(last: Option<i64>, millis: i64) -> bool {
    last.is_some_and(|last| millis - last < -JUMP_BACK_MILLIS || millis - last > JUMP_AHEAD_MILLIS)
}

fn wall_after(wall: WallTime, elapsed: Duration) -> WallTime {
    WallTime { unix_millis: wall.unix_millis.saturating_add(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)) }
}

impl Session {
    /// Audio of the period that is over is filled up to where its video ended, so that its decode times meet.
    fn end_period(&mut self, events: &mut VecDeque<Event>) {
        self.fill_audio_to_video();
        self.drain_audio(events);
    }

    /// A cut came with the discontinuity that a new configuration of the sound waits for.
    fn change_audio(&mut self, events: &mut VecDeque<Event>) {
        if self.cutter.discontinuity_due() {
            return;
        }
        let Some(config) = self.audio.as_ref().and_then(AudioTrack::pending) else { return };
        self.end_period(events);
        let start = self.grid.slot_start(self.cutter.next_slot());
        if let Some(audio) = &mut self.audio {
            audio.set_config(config);
            audio.begin(start);
        }
    }

    fn fill_audio_to_video(&mut self) {
        let end = self.grid.slot_start(self.cutter.next_slot());
        if let Some(audio) = &mut self.audio {
            audio.fill_until(end);
        }
    }

    /// Stamps the audio whose time video has passed.
    fn drain_audio(&mut self, events: &mut VecDeque<Event>) {
        let Some(audio) = &mut self.audio else { return };
        let video_end = self.has_video.then(|| self.grid.slot_start(self.cutter.next_slot()));
        audio.stamp_until(video_end, events);
    }

    fn flush_audio(&mut self, events: &mut VecDeque<Event>) {
        self.drain_audio(events);
        if let Some(audio) = &mut self.audio {
            audio.forget_queue();
        }
    }
}

#[cfg(test)]
mod tests;
