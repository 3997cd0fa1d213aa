//! While a publisher sends: frames are laid on the session's timeline, and clocks that jump are told from frames whose
//! times are wrong.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{
    AccessUnit, AudioFrame, Instant, SentTimes, StampedVideo, Timescale, VideoConfig, VideoSlot, WallTime,
};

use super::clock::{Period, Unwrap};
use super::cutter::Entry;
use super::jump::{Suspect, Suspects, jumped, near};
use super::{Event, Joining, Phase, Timeline, wall_after};

/// Sound alone on another clock for this long is on a clock of its own.
const OWN_CLOCK_WAIT: Duration = Duration::from_secs(2);
/// Frames of sound that are held meanwhile.
const SOUND_SUSPECTS_MAX: usize = 128;

/// Slots by which a picture may be shown before its place among the others.
const BEHIND_MAX: i64 = 3;

/// A publisher that sends.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) unwrap: Unwrap,
    wall: WallTime,
    began: Instant,
    pub(super) period: Period,
    last_video_millis: Option<i64>,
    last_audio_millis: Option<i64>,
    /// Slot in which the last picture is shown.
    last_shown: Option<i64>,
    /// It is shown a slot after its own, because that was taken.
    pushed: bool,
    /// What decodes the pictures since the last keyframe; `None` before the first.
    pub(super) config: Option<Arc<VideoConfig>>,
    /// Pictures on another clock, each with what decodes it if it is a keyframe.
    video_suspects: Suspects<(AccessUnit, Option<Arc<VideoConfig>>)>,
    audio_suspects: Suspects<AudioFrame>,
    /// The least that they were behind the newest picture when they came, in milliseconds of their clock and of the
    /// pictures'.
    sound_behind: Option<i64>,
    /// Pictures have gone over to another clock in mid-GOP: the next keyframe begins a new stretch.
    pub(super) clock_changed: bool,
    /// The stretch began with a recovery point: pictures that are shown before it refer to what is not there.
    began_open: bool,
    /// Sound has a clock of its own, and this is how many milliseconds it is behind that of the pictures.
    audio_clock: Option<(Unwrap, i64)>,
}

impl Running {
    pub(super) fn new(joining: &Joining, unwrap: Unwrap, period: Period, first: Entry) -> Self {
        Self {
            unwrap,
            wall: joining.wall,
            began: joining.began,
            period,
            last_video_millis: None,
            last_audio_millis: None,
            last_shown: None,
            pushed: false,
            config: None,
            video_suspects: Suspects::default(),
            audio_suspects: Suspects::default(),
            sound_behind: None,
            clock_changed: false,
            began_open: first == Entry::Recovery,
            audio_clock: None,
        }
    }

    pub(super) fn wall_at(&self, now: Instant) -> WallTime {
        wall_after(self.wall, now.saturating_since(self.began))
    }

    /// When sound of this time, as sent, is played, on the pictures' clock.
    fn audio_millis(&self, millis: u32) -> i64 {
        match &self.audio_clock {
            Some((clock, behind)) => clock.peek(millis) + behind,
            None => self.unwrap.peek(millis),
        }
    }

    /// Whether a picture of this time is on another clock than the one before it. One that comes after a long pause is
    /// not where sound has gone on meanwhile.
    fn video_jumped(&self, dts_millis: u32) -> bool {
        let millis = self.unwrap.peek(dts_millis);
        let sound = self.last_audio_millis.filter(|_| self.audio_clock.is_none());
        let Some(last) = self.last_video_millis else {
            // The first one, when sound has led the timeline so far.
            return sound.is_some_and(|sound| !near(sound, millis));
        };
        let with_sound = sound.is_some_and(|sound| sound > last && !jumped(Some(sound), millis));
        jumped(Some(last), millis) && !(with_sound && millis > last)
    }

    /// The first frames of sound were taken, up to this time.
    pub(super) fn heard(&mut self, millis: i64) {
        self.last_audio_millis = Some(millis);
    }

    /// Sound on another clock was held for as long as it may be.
    fn sound_has_waited(&self, now: Instant) -> bool {
        let since = self.audio_suspects.since();
        since.is_some_and(|since| now.saturating_since(since) > OWN_CLOCK_WAIT)
            || self.audio_suspects.len() >= SOUND_SUSPECTS_MAX
    }

    /// Sound and pictures have gone over to the same clock.
    fn suspects_agree(&self) -> bool {
        match (self.video_suspects.newest(), self.audio_suspects.newest_sent()) {
            (Some(video), Some(sent)) => near(video, self.video_suspects.peek(sent)),
            _ => false,
        }
    }
}

impl Timeline {
    /// Whether a picture of this time is on another clock than those before it, or comes when that is not known yet.
    pub(super) fn is_suspect(&self, dts_millis: u32) -> bool {
        let Phase::Running(running) = &self.phase else { return false };
        !running.video_suspects.is_empty() || running.video_jumped(dts_millis)
    }

    /// A picture came.
    pub(super) fn run_video(&mut self, now: Instant, unit: AccessUnit) {
        let Phase::Running(running) = &mut self.phase else { return };
        let config = self.video_config.clone().filter(|_| unit.is_entry());
        let has_video = self.session.as_ref().is_some_and(|session| session.has_video);
        if !has_video || (config.is_some() && running.clock_changed) {
            if let Some(config) = config {
                self.rejoin(now);
                self.push_joining(now, unit, config);
                self.try_start(now);
            }
            return;
        }
        if !running.video_jumped(unit.dts_millis) {
            self.retime_video();
            self.measure_lead(unit.dts_millis);
            return self.stamp_in_time(now, unit, config);
        }
        if !running.video_suspects.goes_on(unit.dts_millis) {
            self.retime_video();
        }
        let Phase::Running(running) = &mut self.phase else { return };
        running.video_suspects.push(now, unit.dts_millis, (unit, config));
        if running.video_suspects.are_confirmed() || running.suspects_agree() {
            self.change_clock(now);
        }
    }

    /// How far sound is ahead of a picture of this time, now that it comes.
    pub(super) fn measure_lead(&mut self, dts_millis: u32) {
        let (Phase::Running(running), Some(session)) = (&self.phase, &mut self.session) else { return };
        if let Some(audio) = &mut session.audio {
            let shown = running.unwrap.peek(dts_millis) + running.period.shift_millis;
            audio.heard_before(running.period.presentation_time(shown));
        }
    }

    /// Stamps a picture that is on the publisher's clock. `config` is there when it is a keyframe; a picture that none
    /// came before cannot be decoded.
    pub(super) fn stamp_in_time(&mut self, at: Instant, unit: AccessUnit, config: Option<Arc<VideoConfig>>) {
        let Phase::Running(running) = &mut self.phase else { return };
        let Some(config) = config.or_else(|| running.config.clone()) else { return };
        let dts = running.unwrap.step(unit.dts_millis);
        self.stamp_video(at, dts, unit, &config);
    }

    fn push_joining(&mut self, at: Instant, unit: AccessUnit, config: Arc<VideoConfig>) {
        if let Phase::Joining(joining) = &mut self.phase {
            joining.first_video.get_or_insert(at);
            joining.settling.push_video(at, unit, config);
        }
    }

    /// Pictures that nobody agrees with have wrong times: each comes a slot after the one before.
    fn retime_video(&mut self) {
        let Phase::Running(running) = &mut self.phase else { return };
        let (_, suspects) = running.video_suspects.take();
        self.retime(suspects);
    }

    fn retime(&mut self, suspects: Vec<Suspect<(AccessUnit, Option<Arc<VideoConfig>>)>>) {
        let Phase::Running(running) = &self.phase else { return };
        let slot_ticks = running.period.grid.slot_ticks;
        let Some(last) = running.last_video_millis else { return };
        for (count, Suspect { at, frame: (unit, config), .. }) in (1..).zip(suspects) {
            let Phase::Running(running) = &self.phase else { return };
            if let Some(config) = config.or_else(|| running.config.clone()) {
                self.stamp_video(at, last + count * slot_ticks / 120, unit, &config);
            }
        }
    }

    /// The suspects' clock is the publisher's from now on. Where a keyframe is among them, a new stretch begins with it.
    /// Else pictures go on without a hole, since those that follow refer to them, and it begins with the next keyframe.
    fn change_clock(&mut self, now: Instant) {
        let Phase::Running(running) = &mut self.phase else { return };
        let (clock, mut before) = running.video_suspects.take();
        let (_, sound) = running.audio_suspects.take();
        if let Some(entry) = before.iter().position(|suspect| suspect.frame.1.is_some()) {
            let from_entry = before.split_off(entry);
            self.retime(before);
            self.rejoin(now);
            for Suspect { at, frame: (unit, config), .. } in from_entry {
                if let Some(config) = config.or_else(|| self.video_config.clone()) {
                    self.push_joining(at, unit, config);
                }
            }
            if let Phase::Joining(joining) = &mut self.phase {
                sound.into_iter().for_each(|suspect| joining.push_audio(suspect.at, suspect.frame));
            }
            return self.try_start(now);
        }
        let (Phase::Running(running), Some(session), Some(first)) = (&mut self.phase, &self.session, before.first())
        else {
            return;
        };
        running.unwrap = clock;
        running.period.base_millis = first.millis + running.period.shift_millis;
        running.period.start_slot = session.cutter.next_slot();
        (running.last_video_millis, running.last_audio_millis) = (None, None);
        (running.clock_changed, running.audio_clock) = (true, None);
        for Suspect { at, millis, frame: (unit, _), .. } in before {
            let Phase::Running(running) = &self.phase else { return };
            if let Some(config) = running.config.clone() {
                self.stamp_video(at, millis, unit, &config);
            }
        }
        for Suspect { at, frame, .. } in sound {
            self.run_audio(at, frame);
        }
    }

    /// Stamps a picture whose decode time is `dts` on the publisher's unwrapped clock.
    fn stamp_video(&mut self, at: Instant, dts: i64, unit: AccessUnit, config: &Arc<VideoConfig>) {
        let (Phase::Running(running), Some(session)) = (&mut self.phase, &mut self.session) else { return };
        let last = running.last_video_millis.replace(dts);
        let composition = i64::from(unit.composition_millis);
        if running.config.replace(config.clone()).is_none() {
            running.period.shift_millis = composition;
        }
        let shown = running.period.presentation_slot(dts + composition);
        if running.began_open && shown < running.period.start_slot {
            return;
        }
        let want = running.period.slot(dts);
        session.advance(want, unit.is_entry().then_some(config), &mut self.events);
        session.change_audio(self.audio_config.as_ref(), &mut self.events);
        let (msn, slot, opens_segment) = session.cutter.place(want, Entry::of(&unit), config);
        let composition_slots = if opens_segment && unit.idr {
            running.period.shift_millis = composition;
            running.pushed = slot > want;
            0
        } else {
            let equal = last.is_some_and(|last| (0..running.period.grid.slot_ticks / 480).contains(&(dts - last)));
            // Of pictures with equal times one is shown after the other, and so is what follows.
            running.pushed = slot > want && running.last_shown == Some(shown) && (equal || running.pushed);
            // A picture that is far behind the others would be shown before them.
            let own = if slot > want + BEHIND_MAX { want } else { slot };
            shown + i64::from(running.pushed) - own
        };
        running.last_shown = Some(slot + composition_slots);
        self.events.push_back(Event::Video(StampedVideo {
            msn,
            slot: VideoSlot(slot),
            composition_slots: i32::try_from(composition_slots).unwrap_or(0),
            idr: unit.idr,
            recovery: unit.recovery,
            data: unit.data,
            config: config.clone(),
            sent: SentTimes { dts_millis: unit.dts_millis, composition_millis: unit.composition_millis },
            received: at,
        }));
        let change_due = self.video_config.as_ref().is_some_and(|next| !Arc::ptr_eq(next, config));
        session.cutter.filled(change_due, &mut self.events);
        session.drain_audio(&mut self.events);
    }

    /// A frame of sound came.
    pub(super) fn run_audio(&mut self, now: Instant, frame: AudioFrame) {
        let Phase::Running(running) = &mut self.phase else { return };
        let has_video = self.session.as_ref().is_some_and(|session| session.has_video);
        let millis = running.audio_millis(frame.pts_millis);
        // The first frame of sound is measured by the picture: it must not lead the timeline somewhere else.
        if !jumped(running.last_audio_millis.or(running.last_video_millis), millis) {
            self.retime_audio();
            return self.stamp_audio(now, millis, frame);
        }
        if !running.audio_suspects.goes_on(frame.pts_millis) {
            self.retime_audio();
        }
        let Phase::Running(running) = &mut self.phase else { return };
        if running.audio_suspects.is_empty() {
            running.sound_behind = None;
        }
        running.audio_suspects.push(now, frame.pts_millis, frame);
        let behind = running.last_video_millis.zip(running.audio_suspects.newest()).map(|(video, sound)| video - sound);
        running.sound_behind = running.sound_behind.max(behind);
        if has_video && running.suspects_agree() {
            return self.change_clock(now);
        }
        if !running.audio_suspects.are_confirmed() {
            return;
        }
        if !has_video || running.last_video_millis.is_none() {
            let (_, sound) = running.audio_suspects.take();
            self.rejoin(now);
            if let Phase::Joining(joining) = &mut self.phase {
                sound.into_iter().for_each(|suspect| joining.push_audio(suspect.at, suspect.frame));
            }
            return self.try_start(now);
        }
        // Pictures on a clock of yet another kind, of which no more come, do not hold sound up for ever.
        if running.sound_has_waited(now) {
            self.retime_video();
        }
        let Phase::Running(running) = &self.phase else { return };
        if running.video_suspects.is_empty() {
            self.change_audio_clock(now);
        }
    }

    /// Sound alone has gone over to another clock. Where that can be the pictures' own, it is taken for it; else the
    /// pictures are waited for, and then what comes together is taken for what belongs together.
    fn change_audio_clock(&mut self, now: Instant) {
        let Phase::Running(running) = &mut self.phase else { return };
        let (Some(video), Some(sent)) = (running.last_video_millis, running.audio_suspects.newest_sent()) else {
            return;
        };
        if near(video, running.unwrap.peek(sent)) {
            running.audio_clock = None;
        } else if running.sound_has_waited(now) {
            let mut clock = Unwrap::default();
            clock.step_to(running.audio_suspects.newest().unwrap_or_default());
            running.audio_clock = Some((clock, running.sound_behind.unwrap_or_default()));
        } else {
            return;
        }
        let (_, sound) = running.audio_suspects.take();
        running.last_audio_millis = None;
        for Suspect { at, frame, .. } in sound {
            let Phase::Running(running) = &self.phase else { return };
            let millis = running.audio_millis(frame.pts_millis);
            self.stamp_audio(at, millis, frame);
        }
    }

    /// Frames of sound that nobody agrees with have wrong times: each comes right after the one before.
    fn retime_audio(&mut self) {
        let Phase::Running(running) = &mut self.phase else { return };
        let (_, suspects) = running.audio_suspects.take();
        let (Some(last), Some(config)) = (running.last_audio_millis, self.audio_config.clone()) else { return };
        let frame_millis = i64::from(config.frame_samples()) * 1000 / i64::from(config.sample_rate().max(1));
        for (count, Suspect { at, frame, .. }) in (1..).zip(suspects) {
            let Phase::Running(running) = &mut self.phase else { return };
            let millis = last + count * frame_millis;
            running.last_audio_millis = Some(millis);
            self.queue_audio(at, millis, frame);
        }
    }

    fn stamp_audio(&mut self, now: Instant, millis: i64, frame: AudioFrame) {
        let (Phase::Running(running), Some(session)) = (&mut self.phase, &mut self.session) else { return };
        if session.audio.is_none() && session.sound_since.is_none() {
            session.sound_since = session.cutter.msn();
        }
        match &mut running.audio_clock {
            Some((clock, _)) => clock.step(frame.pts_millis),
            None => running.unwrap.step(frame.pts_millis),
        };
        running.last_audio_millis = Some(millis);
        self.queue_audio(now, millis, frame);
        if let Some(session) = &mut self.session {
            session.drain_audio(&mut self.events);
        }
        self.advance_by_audio();
    }

    pub(super) fn queue_audio(&mut self, now: Instant, millis: i64, frame: AudioFrame) {
        let (Phase::Running(running), Some(session)) = (&mut self.phase, &mut self.session) else { return };
        let video_end = session.has_video.then(|| session.grid.slot_start(session.cutter.next_slot()));
        if let (Some(audio), Some(config)) = (&mut session.audio, &self.audio_config) {
            audio.queue(now, running.period.presentation_time(millis), frame.data, config, video_end);
        }
    }

    /// Audio makes the cuts when there is no video, or when video is silent.
    fn advance_by_audio(&mut self) {
        let (Phase::Running(_), Some(session)) = (&self.phase, &mut self.session) else { return };
        let Some(audio) = &session.audio else { return };
        let Some(heard) = audio.newest_end() else { return };
        let allowance =
            if session.has_video { session.grid.part_slots.max(audio.video_wait_slots(&session.grid)) } else { 0 };
        let slot = heard.rescale(Timescale::VIDEO).ticks / session.grid.slot_ticks - allowance;
        session.cutter.advance_without_video(slot, session.has_video, &mut self.events);
        session.change_audio(self.audio_config.as_ref(), &mut self.events);
        session.drain_audio(&mut self.events);
    }
}
