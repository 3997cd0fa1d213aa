//! An hour of a stream in virtual time, everything but decoder and encoder: whatever the source's clock does, segments
//! and parts of source and gears begin and end at the same tick.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_cmaf::check::{Finding, Place, Problem, TrackCheck};
use headwater_media::{
    AccessUnit, AvcConfig, Cut, Instant, MediaSequence, PartEnd, PartIndex, PartPayload, SentTimes, StampedVideo,
    VideoConfig, VideoSlot, WallTime,
};
use headwater_segmenter::timeline::Config;
use headwater_segmenter::{Event, Grid, Profile, Timeline, VideoPackager};

use crate::slots::{Segment, Slot, Slots};

/// A record of x264; where it comes from is said in its folder.
const AVCC: &[u8] = include_bytes!("../../media/src/testdata/x264-1080p29.avcc");
/// Frames of a GOP: an IDR and groups of one P and two B pictures.
const GOP: u64 = 61;

/// One rendition's packager with what checks it.
struct Rendition {
    packager: VideoPackager,
    check: Option<TrackCheck>,
    /// Part ends that wait for their last picture, and the slot after that.
    ends: VecDeque<PartEnd>,
    filled_until: i64,
    parts: u64,
}

impl Rendition {
    fn new(grid: Grid) -> Self {
        let packager = VideoPackager::new(grid, None);
        Self { packager, check: None, ends: VecDeque::new(), filled_until: 0, parts: 0 }
    }

    fn push(&mut self, sample: StampedVideo) {
        self.filled_until = self.filled_until.max(sample.slot.0 + 1);
        self.packager.push(sample);
    }

    fn close_parts(&mut self, slot_ticks: i64) {
        while let Some(end) = self.ends.front().copied()
            && self.filled_until >= end.end.0
        {
            self.ends.pop_front();
            self.part(&end, slot_ticks);
        }
    }

    fn part(&mut self, end: &PartEnd, slot_ticks: i64) {
        let part = self.packager.end_part(end);
        assert_eq!((part.msn, part.index), (end.msn, end.index));
        assert_eq!((part.start.ticks, part.end.ticks), (end.start.0 * slot_ticks, end.end.0 * slot_ticks));
        let PartPayload::Media { data, init, .. } = &part.payload else {
            panic!("{:?} is a gap", (end.msn, end.index))
        };
        let check = self.check.get_or_insert_with(|| TrackCheck::new(&init.data).unwrap());
        check.chunk(if part.index == PartIndex(0) { Place::First } else { Place::Inside }, &data.to_bytes());
        assert_eq!(check.end(), Some(part.end.ticks.unsigned_abs()), "decode times meet");
        self.parts += 1;
    }
}

/// Source and gear of one session.
struct Session {
    grid: Option<Grid>,
    slots: Slots<()>,
    /// Pictures that a decoder would hold back, by the slot in which they are shown.
    decoder: BTreeSet<i64>,
    source: Option<Rendition>,
    gear: Option<Rendition>,
    cuts: Vec<Arc<Cut>>,
    next_slot: i64,
    idrs: BTreeSet<i64>,
}

impl Session {
    fn take(&mut self, timeline: &mut Timeline, config: &Arc<VideoConfig>) {
        while let Some(event) = timeline.poll_event() {
            match event {
                Event::Started(started) => {
                    self.slots = Slots::new();
                    self.grid = Some(started.grid);
                    self.source = Some(Rendition::new(started.grid));
                    self.gear = Some(Rendition::new(started.grid));
                }
                Event::Added(_) => {}
                Event::Cut(cut) => self.cut(&cut, config),
                Event::Video(sample) => {
                    self.decoder.insert(sample.slot.0 + i64::from(sample.composition_slots));
                    // One picture is held back for those that are shown before it.
                    while self.decoder.len() > 1 {
                        let first = self.decoder.pop_first().unwrap();
                        self.slots.picture(first, ());
                    }
                    self.slots.heard(sample.slot.0);
                    self.source.as_mut().unwrap().push(sample);
                    self.fill(config);
                }
                Event::PartEnd(end) => {
                    let grid = self.grid.unwrap();
                    self.source.as_mut().unwrap().part(&end, grid.slot_ticks);
                    self.slots.heard(end.end.0 - 1);
                    self.gear.as_mut().unwrap().ends.push_back(end);
                    self.fill(config);
                }
                Event::Audio(_) => {}
            }
        }
    }

    fn cut(&mut self, cut: &Arc<Cut>, config: &Arc<VideoConfig>) {
        let start = cut.start.ticks / self.grid.unwrap().slot_ticks;
        if self.cuts.last().is_some_and(|before| before.discontinuity != cut.discontinuity) {
            self.drain(start, config);
        }
        self.slots.cut(Segment { msn: cut.msn, start });
        self.cuts.push(cut.clone());
    }

    fn drain(&mut self, end: i64, config: &Arc<VideoConfig>) {
        while let Some(first) = self.decoder.pop_first() {
            self.slots.picture(first, ());
        }
        self.slots.finish(end);
        self.fill(config);
    }

    fn fill(&mut self, config: &Arc<VideoConfig>) {
        let gear = self.gear.as_mut().unwrap();
        while let Some(Slot { segment: Segment { msn, .. }, slot, idr, .. }) = self.slots.poll() {
            assert_eq!(slot, self.next_slot, "each slot once");
            self.next_slot += 1;
            if idr {
                self.idrs.insert(slot);
            }
            gear.push(sample(msn, slot, idr, config));
            gear.close_parts(self.grid.unwrap().slot_ticks);
        }
        gear.close_parts(self.grid.unwrap().slot_ticks);
    }
}

fn sample(msn: MediaSequence, slot: i64, idr: bool, config: &Arc<VideoConfig>) -> StampedVideo {
    StampedVideo {
        msn,
        slot: VideoSlot(slot),
        composition_slots: 0,
        idr,
        recovery: None,
        data: Bytes::from_static(if idr { &[0, 0, 0, 1, 0x65] } else { &[0, 0, 0, 1, 0x61] }),
        config: config.clone(),
        sent: SentTimes::default(),
        received: Instant::default(),
    }
}

/// An hour at `rate` frames in 1001 or 1000 ms, of two publishers half an hour each. Times are rounded to milliseconds
/// and off by up to 5, they wrap in the first half, and every 1000th frame is missing.
fn play(profile: Profile, rate: u64, per_millis: u64) {
    let mut config = AvcConfig::parse(AVCC).unwrap();
    config.parsed.timing = None;
    let config = Arc::new(VideoConfig::from(config));
    let mut timeline = Timeline::new(Config { profile, source_may_be_off: true });
    let mut session = Session {
        grid: None,
        slots: Slots::new(),
        decoder: BTreeSet::new(),
        source: None,
        gear: None,
        cuts: Vec::new(),
        next_slot: 0,
        idrs: BTreeSet::new(),
    };
    let frames = 30 * 60 * 1000 * rate / per_millis;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for publisher in 0..2 {
        let began = Duration::from_secs(10 + publisher * 2000);
        let origin = if publisher == 0 { u32::MAX - 600_000 } else { 0 };
        timeline.begin_publisher(Instant::from_millis(millis(began)), WallTime::default());
        timeline.set_video_config(config.clone());
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        timeline.hint_frame_rate(rate as f64 * 1000.0 / per_millis as f64);
        for frame in 0..frames {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let late = random % 6;
            let place = frame % GOP;
            // The last of a group: nothing refers to it.
            if frame % 1000 == 300 && place.is_multiple_of(3) && place > 0 {
                continue;
            }
            let idr = place == 0;
            let at = 10 + frame * per_millis / rate + if idr { 0 } else { late };
            let shown = [-1, 2, -1][usize::try_from(place % 3).unwrap()];
            let composition =
                if idr { 0 } else { shown * i64::try_from(per_millis).unwrap() / i64::try_from(rate).unwrap() };
            let unit = AccessUnit {
                data: Bytes::from_static(if idr { &[0, 0, 0, 1, 0x65] } else { &[0, 0, 0, 1, 0x61] }),
                idr,
                recovery: None,
                dts_millis: origin.wrapping_add(u32::try_from(at).unwrap()),
                composition_millis: i32::try_from(composition).unwrap(),
            };
            let now = Instant::from_millis(millis(began) + at);
            timeline.handle_video_start(unit.dts_millis, idr);
            timeline.handle_video(now, unit).unwrap();
            session.take(&mut timeline, &config);
        }
        timeline.end_publisher();
        session.take(&mut timeline, &config);
    }
    timeline.finish();
    session.take(&mut timeline, &config);
    let end = session.next_slot;
    session.drain(i64::MAX, &config);
    check(&session, i64::try_from(2 * frames).unwrap(), end);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

fn check(session: &Session, frames: i64, filled: i64) {
    let (source, gear) = (session.source.as_ref().unwrap(), session.gear.as_ref().unwrap());
    assert!(source.parts > 1000);
    assert_eq!(gear.parts + u64::try_from(gear.ends.len()).unwrap(), source.parts);
    assert!(gear.ends.len() <= 1, "{:?}", gear.ends);
    // Neither publisher's clock gained or lost a slot in half an hour; the last pictures are still held back.
    assert!((frames - 4..=frames).contains(&filled), "{filled} slots of {frames} frames");
    let slot_ticks = session.grid.unwrap().slot_ticks;
    assert_eq!(session.cuts.last().unwrap().discontinuity, 1);
    let cuts: BTreeSet<i64> = session.cuts.iter().map(|cut| cut.start.ticks / slot_ticks).collect();
    assert!(session.cuts.iter().all(|cut| cut.start.ticks % slot_ticks == 0));
    assert_eq!(session.idrs, cuts);
    for (rendition, may_have_idrs_inside) in [(source, true), (gear, false)] {
        let findings = rendition.check.as_ref().unwrap().findings();
        let inside = |finding: &&Finding| matches!(finding.problem, Problem::SyncInside { .. });
        assert_eq!(findings.iter().find(|finding| !may_have_idrs_inside || !inside(finding)), None);
    }
}

#[test]
fn an_hour_at_29_97_frames_a_second_is_exact_to_the_tick() {
    play(Profile::Low, 30, 1001);
}

#[test]
fn an_hour_at_25_frames_a_second_is_exact_to_the_tick() {
    play(Profile::Standard, 25, 1000);
}

#[test]
fn an_hour_at_59_94_frames_a_second_is_exact_to_the_tick() {
    play(Profile::Ultra, 60, 1001);
}

#[test]
fn an_hour_at_23_976_frames_a_second_is_exact_to_the_tick() {
    play(Profile::Relaxed, 24, 1001);
}
