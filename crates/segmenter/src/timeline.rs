//! The timeline: stamps every sample with its segment and slot, decides cuts and part ends (architecture 4).
//!
//! It runs at ingest, before the log, and lives as long as the session: publishers come and go, numbers only rise.
//! It does not package anything and knows nothing of gears.
//!
//! ```text
//!            begin_publisher            first keyframe, rate and tracks known
//!   Away ----------------------> Joining ----------------------------------> Running
//!    ^                              ^    (another clock, or the first picture)  |
//!    |                              +-------------------------------------------+
//!    +------------------------- end_publisher ----------------------------------+
//! ```

mod audio;
mod clock;
mod cutter;
mod jump;
mod running;
mod settle;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{
    AccessUnit, AudioConfig, AudioFrame, Cut, FrameRate, Instant, MediaSequence, PartEnd, StampedAudio, StampedVideo,
    Timestamp, VideoConfig, WallTime,
};

use crate::{Grid, Profile};
use audio::AudioTrack;
use clock::{Period, Unwrap};
use cutter::{Change, Cutter, Entry};
use jump::jumped;
use running::Running;
use settle::{Pending, Settling};

/// A connection that sends video without a keyframe for this long is refused.
const KEYFRAME_WAIT: Duration = Duration::from_secs(10);
/// No encoder reorders pictures over a longer time; a composition time beyond it is damage, and counts as none.
const COMPOSITION_MILLIS_MAX: u32 = 5000;
/// Audio frames kept while the first keyframe is awaited: about 11 s.
const EARLY_AUDIO_MAX: usize = 512;
/// Bytes of them that are kept at most.
const EARLY_AUDIO_BYTES_MAX: usize = 1 << 20;

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
    /// The session has got a track that it did not have when it started. The segment that was cut last begins with it.
    Added(Added),
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

/// A session that another home began, as far as a timeline that goes on with it has to know.
#[derive(Clone, Debug)]
pub struct Known {
    /// The session's grid.
    pub grid: Grid,
    /// It has pictures.
    pub has_video: bool,
    /// What its sound was when it began, if it has any.
    pub audio: Option<Arc<AudioConfig>>,
}

/// A track that came when the session had already started without it (R-105).
#[derive(Clone, Debug)]
pub enum Added {
    /// Pictures.
    Video(Arc<VideoConfig>),
    /// Sound.
    Audio(Arc<AudioConfig>),
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
    /// Sound came in this segment, and the session has none yet: it begins with the next.
    sound_since: Option<MediaSequence>,
}

#[derive(Debug)]
enum Phase {
    Away,
    Joining(Joining),
    Running(Box<Running>),
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
    early_audio_bytes: usize,
    /// Inputs from the first keyframe on, held until rate and tracks are settled. Only before the session's start.
    settling: Settling,
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

    /// A timeline that goes on with a session of another home, at the cut that is announced: `first`.
    pub fn resume(config: Config, known: Known, first: &Cut) -> Self {
        let Known { grid, has_video, audio } = known;
        let cutter = Cutter::new(grid, config.source_may_be_off && has_video);
        let session = Session { grid, cutter, audio: audio.map(AudioTrack::new), has_video, sound_since: None };
        let mut timeline = Self { session: Some(session), ..Self::new(config) };
        timeline.go_on(first);
        timeline
    }

    /// The session has another home now, or this one holds it anew: it goes on with `first`, which is announced and not
    /// stamped. Its publisher is gone. With the first sample of the next one the cut is an event, with that sample's date.
    pub fn go_on(&mut self, first: &Cut) {
        self.phase = Phase::Away;
        self.events.clear();
        if let Some(session) = &mut self.session {
            session.cutter.go_on(first);
            if let Some(audio) = &mut session.audio {
                audio.begin(first.start);
            }
        }
    }

    /// Where the next sample begins at the earliest. `None` before the first one.
    pub fn end(&self) -> Option<Timestamp> {
        let session = self.session.as_ref()?;
        Some(session.grid.slot_start(session.cutter.next_slot()))
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

    /// A sequence header came. One that equals the current one changes nothing (R-95). Another one holds from the next
    /// keyframe on (R-96).
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
        if self.is_suspect(dts_millis) {
            return;
        }
        let (Phase::Running(running), Some(session)) = (&mut self.phase, &mut self.session) else { return };
        if running.config.is_none() || (keyframe && running.clock_changed) {
            return;
        }
        let slot = running.period.slot(running.unwrap.peek(dts_millis));
        let config = self.video_config.as_ref().filter(|_| keyframe);
        session.advance(slot, config, &mut self.events);
        session.change_audio(self.audio_config.as_ref(), &mut self.events);
    }

    /// A whole video message came.
    pub fn handle_video(&mut self, now: Instant, mut unit: AccessUnit) -> Result<(), Refusal> {
        if unit.composition_millis.unsigned_abs() > COMPOSITION_MILLIS_MAX {
            unit.composition_millis = 0;
        }
        match &mut self.phase {
            Phase::Away => {}
            Phase::Joining(joining) => {
                let first_video = *joining.first_video.get_or_insert(now);
                let waited = now.saturating_since(first_video);
                match &self.video_config {
                    Some(config) if unit.is_entry() || joining.settling.has_video() => {
                        joining.settling.push_video(now, unit, config.clone());
                        self.try_start(now);
                    }
                    Some(_) if waited > KEYFRAME_WAIT => {
                        return Err(Refusal::NoKeyframe { seconds: KEYFRAME_WAIT.as_secs() });
                    }
                    None if waited > KEYFRAME_WAIT => {
                        return Err(Refusal::NoVideoConfig { seconds: KEYFRAME_WAIT.as_secs() });
                    }
                    _ => {}
                }
            }
            Phase::Running(_) => self.run_video(now, unit),
        }
        Ok(())
    }

    /// A whole audio message came.
    pub fn handle_audio(&mut self, now: Instant, frame: AudioFrame) {
        match &mut self.phase {
            Phase::Away => {}
            Phase::Joining(joining) => {
                if self.audio_config.is_some() {
                    joining.push_audio(now, frame);
                    self.try_start(now);
                }
            }
            Phase::Running(_) => self.run_audio(now, frame),
        }
    }

    /// `now` has passed [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.try_start(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Joining(joining) => joining.settling.deadline().filter(|_| self.waits_for_a_track(joining)),
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

    /// Whether time alone starts it: nothing is missing but a track that may not come.
    fn waits_for_a_track(&self, joining: &Joining) -> bool {
        let pictures = self.session.is_none() && joining.settling.has_video();
        pictures || joining.has_sound_alone()
    }

    /// The same publisher begins anew, on another clock or with another track: like a new publisher, without the wait.
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
        let sound_alone = joining.has_sound_alone() && joining.settling.has_waited(now);
        let grid = match &self.session {
            Some(session) => {
                let sound = !session.has_video && !joining.early_audio.is_empty();
                (joining.settling.has_video() || sound || sound_alone).then_some(session.grid)
            }
            None => {
                let audio = self.audio_config.as_deref();
                let rate = if sound_alone {
                    Some(FrameRate::FPS_30)
                } else {
                    joining.settling.settled(now, audio, self.frame_rate_hint)
                };
                rate.map(|rate| {
                    let grid = Grid::new(self.config.profile, rate);
                    let offered = audio.filter(|config| config.is_optional());
                    offered.map_or(grid, |config| grid.with_source_sound(config))
                })
            }
        };
        let Some(grid) = grid else { return };
        let Phase::Joining(mut joining) = std::mem::replace(&mut self.phase, Phase::Away) else { return };
        let pending = joining.settling.take_video();
        let newest = pending.back().map(|newest| newest.unit.dts_millis);
        let first = pending.front().map_or(Entry::None, |first| Entry::of(&first.unit));
        let mut unwrap = joining.unwrap.clone();
        let (at, base_millis, shift_millis) = match (pending.front(), joining.early_audio.front()) {
            (Some(first), _) => {
                let composition = i64::from(first.unit.composition_millis);
                (first.at, unwrap.step(first.unit.dts_millis) + composition, composition)
            }
            (None, Some((at, millis, _))) => (*at, *millis, 0),
            (None, None) => return,
        };
        let wall = joining.wall_at(at);
        let start_slot = self.begin_period(grid, pending.front().map(|first| &first.config), wall);
        let period = Period { base_millis, shift_millis, start_slot, grid };
        self.phase = Phase::Running(Box::new(Running::new(&joining, unwrap, period, first)));
        // What is far from where the period begins has no place in it. Frames that come later begin a new one.
        for (at, millis, frame) in std::mem::take(&mut joining.early_audio) {
            if !jumped(Some(base_millis), millis) {
                if let Phase::Running(running) = &mut self.phase {
                    running.heard(millis);
                }
                self.queue_audio(at, millis, frame);
            }
        }
        for Pending { at, unit, config } in pending {
            if !self.is_suspect(unit.dts_millis) {
                let config = unit.is_entry().then_some(config);
                self.stamp_in_time(at, unit, config);
            }
        }
        if let Some(newest) = newest {
            self.measure_lead(newest);
        }
        if let Some(session) = &mut self.session
            && !session.has_video
        {
            session.drain_audio(&mut self.events);
        }
    }

    /// Begins a stretch of a publisher's clock, and with the first one the session. `video` is there when the publisher
    /// has pictures. Returns the slot where it begins.
    fn begin_period(&mut self, grid: Grid, video: Option<&Arc<VideoConfig>>, wall: WallTime) -> i64 {
        let Self { session, events, audio_config, config, .. } = self;
        let session = session.get_or_insert_with(|| {
            events.push_back(Event::Started(Started { grid, video: video.cloned(), audio: audio_config.clone() }));
            let audio = audio_config.clone().map(AudioTrack::new);
            let has_video = video.is_some();
            let cutter = Cutter::new(grid, config.source_may_be_off && has_video);
            Session { grid, cutter, audio, has_video, sound_since: None }
        });
        session.end_period(events);
        if let (Some(audio), Some(config)) = (&mut session.audio, &audio_config) {
            audio.set_config(config.clone());
        }
        if video.is_some() && !session.has_video {
            session.cutter.source_begins(config.source_may_be_off);
        }
        let start_slot = session.cutter.begin_period(wall, events);
        if let Some(config) = video.filter(|_| !session.has_video) {
            session.has_video = true;
            events.push_back(Event::Added(Added::Video(config.clone())));
        }
        match (&mut session.audio, &audio_config) {
            (Some(audio), _) => audio.begin(grid.slot_start(start_slot)),
            (None, Some(config)) => session.add_audio(config.clone(), events),
            (None, None) => {}
        }
        start_slot
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
            early_audio_bytes: 0,
            settling: Settling::default(),
        }
    }

    fn push_audio(&mut self, now: Instant, frame: AudioFrame) {
        let millis = self.unwrap.step(frame.pts_millis);
        self.early_audio_bytes += frame.data.len();
        self.early_audio.push_back((now, millis, frame));
        while self.early_audio.len() > EARLY_AUDIO_MAX || self.early_audio_bytes > EARLY_AUDIO_BYTES_MAX {
            let Some((.., dropped)) = self.early_audio.pop_front() else { break };
            self.early_audio_bytes -= dropped.data.len();
        }
        self.settling.saw_audio(now);
    }

    /// There is sound, and no picture has come, not even one that cannot be decoded.
    fn has_sound_alone(&self) -> bool {
        self.first_video.is_none() && !self.early_audio.is_empty()
    }

    fn wall_at(&self, now: Instant) -> WallTime {
        wall_after(self.wall, now.saturating_since(self.began))
    }
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

    /// Makes room for a picture at `slot`. `keyframe` is the configuration with which one begins there, if it is one.
    fn advance(&mut self, slot: i64, keyframe: Option<&Arc<VideoConfig>>, events: &mut VecDeque<Event>) {
        match keyframe.map_or(Change::None, |config| self.cutter.change(config)) {
            Change::None => self.cutter.advance(slot, keyframe.is_some(), events),
            change => self.cutter.advance_to_change(slot, change, events),
        }
    }

    /// The timeline may have been cut: what waited for that begins.
    fn change_audio(&mut self, config: Option<&Arc<AudioConfig>>, events: &mut VecDeque<Event>) {
        if self.sound_since.is_some()
            && self.sound_since < self.cutter.msn()
            && let Some(config) = config
        {
            self.add_audio(config.clone(), events);
        }
        // A new configuration of the sound waits for a discontinuity.
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

    /// The session gets sound, from where it has got to on.
    fn add_audio(&mut self, config: Arc<AudioConfig>, events: &mut VecDeque<Event>) {
        self.sound_since = None;
        events.push_back(Event::Added(Added::Audio(config.clone())));
        let audio = self.audio.insert(AudioTrack::new(config));
        audio.begin(self.grid.slot_start(self.cutter.next_slot()));
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
