#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers of a test"
)]

use bytes::Bytes;
use headwater_media::{AacConfig, AvcConfig, CutKind, PartIndex, RenditionName, RenditionState, VideoSlot};

use super::*;

mod clocks;
mod hostile;
mod tracks;

/// A publisher on paper: frame times in milliseconds as an encoder would write them.
struct Encoder {
    fps: f64,
    gop: i64,
    /// Composition times in frames, by position in the GOP; none is no B-frames.
    reorder: &'static [i64],
    base_millis: i64,
    audio: bool,
}

const PLAIN: Encoder = Encoder { fps: 30.0, gop: 60, reorder: &[], base_millis: 5000, audio: true };

fn avc(width: u32) -> Arc<VideoConfig> {
    let config = AvcConfig {
        nal_length_bytes: 4,
        sps: vec![Bytes::from(format!("sps{width}"))],
        pps: vec![Bytes::from_static(b"pps")],
        parsed: headwater_media::Sps {
            profile: 100,
            constraints: 0,
            level: 31,
            chroma_format: 1,
            bit_depth_luma: 8,
            bit_depth_chroma: 8,
            width,
            height: 360,
            sample_aspect: (1, 1),
            frame_mbs_only: true,
            timing: None,
            colour: None,
            reorder_frames: None,
        },
    };
    Arc::new(config.into())
}

fn timeline(profile: Profile) -> Timeline {
    let mut timeline = Timeline::new(Config { profile, source_may_be_off: true });
    timeline.begin_publisher(Instant::default(), WallTime { unix_millis: 1_000_000 });
    timeline.set_video_config(avc(640));
    timeline.set_audio_config(Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap())));
    timeline.hint_frame_rate(30.0);
    timeline
}

impl Encoder {
    fn frame(&self, index: i64) -> AccessUnit {
        let millis = |frame: i64| (frame as f64 * 1000.0 / self.fps).round() as i64 + self.base_millis;
        let in_gop = usize::try_from(index % self.gop).unwrap();
        let shift = self.reorder.get(in_gop % self.reorder.len().max(1)).copied().unwrap_or(0);
        AccessUnit {
            data: Bytes::from(index.to_string()),
            idr: index % self.gop == 0,
            recovery: None,
            dts_millis: millis(index) as u32,
            composition_millis: (millis(index + shift) - millis(index)) as i32,
        }
    }

    fn sound(&self, index: i64) -> AudioFrame {
        let millis = (index as f64 * 1024.0 / 48.0).round() as i64 + self.base_millis;
        AudioFrame { data: Bytes::from_static(b"a"), pts_millis: millis as u32 }
    }

    /// Publishes frames `from..to` in real time, audio interleaved.
    fn publish(&self, timeline: &mut Timeline, from: i64, to: i64) -> Vec<Event> {
        let mut events = Vec::new();
        let mut sound = (from as f64 / self.fps * 46.875).ceil() as i64;
        for index in from..to {
            let now = Instant::from_millis((index as f64 * 1000.0 / self.fps) as u64);
            while self.audio && sound as f64 / 46.875 <= index as f64 / self.fps {
                timeline.handle_audio(now, self.sound(sound));
                sound += 1;
            }
            let frame = self.frame(index);
            timeline.handle_video_start(frame.dts_millis, frame.idr);
            timeline.handle_video(now, frame).unwrap();
            events.extend(std::iter::from_fn(|| timeline.poll_event()));
        }
        events
    }
}

fn cuts(events: &[Event]) -> Vec<(u64, i64, u64, bool)> {
    let cut = |event: &Event| match event {
        Event::Cut(cut) => Some((cut.msn.0, cut.start.ticks, cut.discontinuity, !cut.renditions.is_empty())),
        _ => None,
    };
    events.iter().filter_map(cut).collect()
}

/// Why the source rendition is off, cut by cut.
fn off_reasons(events: &[Event]) -> Vec<Option<String>> {
    let cut = |event: &Event| match event {
        Event::Cut(cut) => {
            Some(cut.off_reason(&headwater_media::RenditionName::source()).map(|reason| reason.to_string()))
        }
        _ => None,
    };
    events.iter().filter_map(cut).collect()
}

fn part_ends(events: &[Event]) -> Vec<PartEnd> {
    let end = |event: &Event| if let Event::PartEnd(end) = event { Some(*end) } else { None };
    events.iter().filter_map(end).collect()
}

fn pictures(events: &[Event]) -> Vec<StampedVideo> {
    let video = |event: &Event| if let Event::Video(video) = event { Some(video.clone()) } else { None };
    events.iter().filter_map(video).collect()
}

fn sounds(events: &[Event]) -> Vec<StampedAudio> {
    let audio = |event: &Event| if let Event::Audio(audio) = event { Some(audio.clone()) } else { None };
    events.iter().filter_map(audio).collect()
}

/// Part ends follow one another without a hole, and every segment's parts count from 0. Only a new stretch of the
/// publisher's clock may begin right after a part that did not end its segment.
fn check_parts(events: &[Event]) {
    let ends = part_ends(events);
    let breaks: Vec<u64> =
        cuts(events).windows(2).filter(|pair| pair[0].2 != pair[1].2).map(|pair| pair[1].0).collect();
    for pair in ends.windows(2) {
        assert_eq!(pair[0].end, pair[1].start, "{pair:?}");
        let broken = pair[1].msn != pair[0].msn && breaks.contains(&pair[1].msn.0);
        let next_segment = pair[0].last || broken;
        let expected = if next_segment { (pair[0].msn.next(), 0) } else { (pair[0].msn, pair[0].index.0 + 1) };
        assert_eq!((pair[1].msn, pair[1].index.0), expected, "{pair:?}");
    }
}

#[test]
fn a_regular_source_is_cut_at_each_keyframe_and_has_equal_parts() {
    let mut timeline = timeline(Profile::Low);
    let events = PLAIN.publish(&mut timeline, 0, 200);
    assert!(matches!(events[0], Event::Started(_)));
    assert_eq!(
        cuts(&events),
        [(1, 0, 0, false), (2, 240_000, 0, false), (3, 480_000, 0, false), (4, 720_000, 0, false)]
    );
    let ends = part_ends(&events);
    check_parts(&events);
    assert!(ends.iter().all(|end| end.end.0 - end.start.0 == 6));
    assert!(ends.iter().all(|end| end.last == (end.index == PartIndex(9))));
    assert!(pictures(&events).iter().enumerate().all(|(index, video)| video.slot.0 == index as i64));
}

#[test]
fn a_part_is_out_with_its_last_frame_but_for_the_one_before_a_possible_cut() {
    let mut timeline = timeline(Profile::Low);
    let events = PLAIN.publish(&mut timeline, 0, 6);
    assert_eq!(part_ends(&events).len(), 1);
    let events = PLAIN.publish(&mut timeline, 6, 60);
    assert_eq!(part_ends(&events).len(), 8, "the tenth waits: the next picture may be a keyframe");
    timeline.handle_video_start(PLAIN.frame(60).dts_millis, true);
    assert!(matches!(timeline.poll_event(), Some(Event::Cut(cut)) if cut.msn == MediaSequence(2)));
    assert!(matches!(timeline.poll_event(), Some(Event::PartEnd(end)) if end.last));
}

/// HEVC whose keyframes after the first are CRA pictures. The first cut at one is announced before it is known.
#[test]
fn keyframes_of_open_gops_are_cuts_and_switch_the_source_off() {
    let mut timeline = timeline(Profile::Low);
    let mut events = Vec::new();
    for index in 0..250 {
        let frame = PLAIN.frame(index);
        let open = frame.idr && index > 0;
        let unit = AccessUnit { idr: frame.idr && !open, recovery: open.then_some(0), ..frame };
        timeline.handle_video_start(unit.dts_millis, unit.idr || open);
        timeline.handle_video(Instant::from_millis(index as u64 * 1000 / 30), unit).unwrap();
        events.extend(std::iter::from_fn(|| timeline.poll_event()));
    }
    let expected =
        [(1, 0, 0, false), (2, 240_000, 0, false), (3, 480_000, 0, true), (4, 720_000, 0, true), (5, 960_000, 0, true)];
    assert_eq!(cuts(&events), expected);
    let entries = pictures(&events).into_iter().filter(StampedVideo::is_entry).map(|picture| picture.slot.0);
    assert_eq!(entries.collect::<Vec<_>>(), [0, 60, 120, 180, 240]);
}

/// A publisher that begins in the middle of open GOPs is taken, and its source is off from the second segment on.
#[test]
fn a_stream_can_begin_with_a_recovery_point() {
    let mut timeline = timeline(Profile::Low);
    for index in 55..130 {
        let frame = PLAIN.frame(index);
        let unit = AccessUnit { idr: false, recovery: frame.idr.then_some(0), ..frame };
        timeline.handle_video(Instant::from_millis(index as u64 * 1000 / 30), unit).unwrap();
    }
    let events: Vec<Event> = std::iter::from_fn(|| timeline.poll_event()).collect();
    assert_eq!(cuts(&events), [(1, 0, 0, false), (2, 240_000, 0, true)]);
}

#[test]
fn ntsc_times_in_milliseconds_fill_every_slot_for_an_hour() {
    let mut timeline = timeline(Profile::Low);
    timeline.hint_frame_rate(30_000.0 / 1001.0);
    let encoder = Encoder { fps: 30_000.0 / 1001.0, ..PLAIN };
    let events = encoder.publish(&mut timeline, 0, 107_892);
    assert!(pictures(&events).iter().enumerate().all(|(index, video)| video.slot.0 == index as i64));
    assert!(cuts(&events).iter().all(|cut| !cut.3));
    check_parts(&events);
}

#[test]
fn audio_frames_meet_exactly_and_stay_in_time_with_video() {
    let mut timeline = timeline(Profile::Low);
    let events = PLAIN.publish(&mut timeline, 0, 9000);
    let sounds = sounds(&events);
    assert!(sounds.windows(2).all(|pair| pair[0].end().ticks == pair[1].start.ticks));
    let last = sounds.last().unwrap();
    assert_eq!(last.start.ticks, (sounds.len() as i64 - 1) * 1024);
    assert!(last.end() >= Timestamp::video(8990 * 4000));
}

#[test]
fn a_hole_in_the_audio_is_filled_with_silence() {
    let mut timeline = timeline(Profile::Low);
    let mut events = PLAIN.publish(&mut timeline, 0, 60);
    events.extend(Encoder { audio: false, ..PLAIN }.publish(&mut timeline, 60, 150));
    events.extend(PLAIN.publish(&mut timeline, 150, 210));
    let sounds = sounds(&events);
    assert!(sounds.windows(2).all(|pair| pair[0].end().ticks == pair[1].start.ticks));
    let silent = sounds.iter().filter(|sound| sound.data != "a").count();
    assert!((138..=143).contains(&silent), "{silent} silent frames for 3 s");
    let heard = sounds.iter().rev().take(40).all(|sound| sound.data == "a");
    assert!(heard);
}

/// Publishes frames `from..to` whose sound is coded as `config` says.
fn publish_coded(timeline: &mut Timeline, config: AudioConfig, from: i64, to: i64) -> Vec<Event> {
    timeline.set_audio_config(Arc::new(config));
    PLAIN.publish(timeline, from, to)
}

#[test]
fn sound_that_changes_in_mid_stream_is_silent_up_to_a_discontinuity_if_players_take_it_as_it_is() {
    let mut timeline = timeline(Profile::Low);
    let mut events = PLAIN.publish(&mut timeline, 0, 100);
    let mono = || AudioConfig::Aac(AacConfig::lc(48_000, 1).unwrap());
    events.extend(publish_coded(&mut timeline, mono(), 100, 300));
    let cuts = cuts(&events);
    let counts: Vec<(i64, u64)> = cuts.iter().map(|cut| (cut.1 / 4000, cut.2)).collect();
    assert_eq!(counts, [(0, 0), (60, 0), (120, 1), (180, 1), (240, 1)]);
    let sounds = sounds(&events);
    let change = Timestamp::video(120 * 4000);
    for sound in &sounds {
        assert_eq!(*sound.config == mono(), sound.start >= change, "{sound:?}");
        if sound.start < Timestamp::video(99 * 4000) || sound.start >= change {
            assert_eq!(sound.data, "a", "{sound:?}");
        } else if sound.start >= Timestamp::video(101 * 4000) {
            assert_ne!(sound.data, "a", "{sound:?}");
        }
    }
    let unmet: Vec<&StampedAudio> =
        sounds.windows(2).filter(|pair| pair[0].end() != pair[1].start).map(|pair| &pair[1]).collect();
    assert!(unmet.iter().all(|sound| sound.start >= change), "{unmet:?}");
    assert!(unmet.len() <= 1, "{unmet:?}");
}

#[test]
fn sound_that_is_encoded_again_may_change_at_any_time() {
    let mut timeline = timeline(Profile::Low);
    let coded = |rate, channels| AudioConfig::Aac(AacConfig::lc(rate, channels).unwrap());
    let mut events = publish_coded(&mut timeline, coded(48_000, 6), 0, 100);
    events.extend(publish_coded(&mut timeline, coded(96_000, 2), 100, 130));
    events.extend(publish_coded(&mut timeline, coded(48_000, 2), 130, 230));
    assert!(cuts(&events).iter().all(|cut| cut.2 == 0));
    let sounds = sounds(&events);
    for (config, from, to) in [(coded(48_000, 6), 0, 99), (coded(96_000, 2), 101, 129), (coded(48_000, 2), 131, 229)] {
        let time = Timestamp::video(from * 4000)..Timestamp::video(to * 4000);
        let mut heard = sounds.iter().filter(|sound| sound.data == "a" && time.contains(&sound.start)).peekable();
        assert!(heard.peek().is_some());
        assert!(heard.all(|sound| *sound.config == config), "{config}");
    }
}

#[test]
fn b_frames_keep_their_order_and_an_opening_keyframe_has_no_offset() {
    let mut timeline = timeline(Profile::Low);
    // I P B B: presented 0 3 1 2, each two frames later than decoded at the earliest.
    let encoder = Encoder { reorder: &[2, 4, 1, 1], ..PLAIN };
    let events = encoder.publish(&mut timeline, 0, 130);
    let pictures = pictures(&events);
    let offsets: Vec<i32> = pictures.iter().take(4).map(|video| video.composition_slots).collect();
    assert_eq!(offsets, [0, 2, -1, -1]);
    assert_eq!(pictures[60].composition_slots, 0);
    assert_eq!(pictures[60].slot, VideoSlot(60));
}

#[test]
fn a_composition_time_that_cannot_be_moves_nothing() {
    let mut timeline = timeline(Profile::Low);
    let mut events = Vec::new();
    for index in 0..200 {
        let mut unit = PLAIN.frame(index);
        if [60, 75, 120].contains(&index) {
            unit.composition_millis = if index == 75 { -2_000_000 } else { 2_000_000 };
        }
        timeline.handle_video(Instant::from_millis(unit.dts_millis.into()), unit).unwrap();
        events.extend(std::iter::from_fn(|| timeline.poll_event()));
    }
    assert!(
        pictures(&events)
            .iter()
            .zip(0..)
            .all(|(video, slot)| { (video.slot, video.composition_slots) == (VideoSlot(slot), 0) })
    );
}

#[test]
fn a_long_gop_is_cut_at_the_limit_and_takes_the_source_off() {
    let mut timeline = timeline(Profile::Low);
    let encoder = Encoder { gop: 300, ..PLAIN };
    let mut events = encoder.publish(&mut timeline, 0, 300);
    events.extend(PLAIN.publish(&mut timeline, 300, 700));
    let cuts = cuts(&events);
    assert_eq!(&cuts[..3], [(1, 0, 0, false), (2, 104 * 4000, 0, true), (3, 208 * 4000, 0, true)]);
    let back = cuts.iter().skip(3).position(|cut| !cut.3).expect("the source comes back");
    assert_eq!(back, 2, "after two segments that conform");
    check_parts(&events);
}

#[test]
fn a_gop_of_just_under_the_segment_length_does_not_pile_up() {
    let mut timeline = timeline(Profile::Low);
    let encoder = Encoder { gop: 57, ..PLAIN };
    let events = encoder.publish(&mut timeline, 0, 400);
    let starts: Vec<i64> = cuts(&events).iter().map(|cut| cut.1 / 4000).collect();
    // The first GOP's length is only known at its end, so the first cut is right too.
    assert_eq!(&starts[..4], [0, 57, 114, 171]);
}

#[test]
fn a_new_publisher_goes_on_after_the_last_sample_with_one_discontinuity() {
    let mut timeline = timeline(Profile::Low);
    let mut events = PLAIN.publish(&mut timeline, 0, 75);
    timeline.end_publisher();
    timeline.begin_publisher(Instant::from_millis(60_000), WallTime { unix_millis: 1_060_000 });
    timeline.set_video_config(avc(640));
    timeline.set_audio_config(Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap())));
    let encoder = Encoder { base_millis: 700_000, ..PLAIN };
    for index in 0..130 {
        let frame = encoder.frame(index);
        timeline.handle_audio(Instant::from_millis(61_000), encoder.sound(index * 3 / 2));
        timeline.handle_video(Instant::from_millis(61_000), frame).unwrap();
    }
    events.extend(std::iter::from_fn(|| timeline.poll_event()));
    let cuts = cuts(&events);
    assert_eq!(&cuts[1..4], [(2, 60 * 4000, 0, false), (3, 75 * 4000, 1, false), (4, 135 * 4000, 1, false)]);
    check_parts(&events);
    let dates: Vec<i64> = events
        .iter()
        .filter_map(|event| if let Event::Cut(cut) = event { Some(cut.program_date_time.unix_millis) } else { None })
        .collect();
    assert_eq!(&dates[1..4], [1_002_000, 1_061_000, 1_063_000], "the date jumps by the outage");
}

#[test]
fn another_configuration_is_a_cut_with_a_discontinuity() {
    let mut timeline = timeline(Profile::Low);
    let mut events = Encoder { gop: 30, ..PLAIN }.publish(&mut timeline, 0, 90);
    timeline.set_video_config(avc(1280));
    events.extend(Encoder { gop: 30, ..PLAIN }.publish(&mut timeline, 90, 160));
    assert_eq!(cuts(&events)[2], (3, 90 * 4000, 1, false));
}

/// encoders repeat their headers, some with every keyframe.
#[test]
fn the_same_configuration_again_changes_nothing() {
    let encoder = Encoder { gop: 30, ..PLAIN };
    let mut quiet = timeline(Profile::Low);
    let expected = encoder.publish(&mut quiet, 0, 160);
    let mut repeated = timeline(Profile::Low);
    let mut events = encoder.publish(&mut repeated, 0, 90);
    repeated.set_video_config(avc(640));
    repeated.set_audio_config(Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap())));
    events.extend(encoder.publish(&mut repeated, 90, 160));
    assert_eq!(cuts(&events), cuts(&expected));
}

#[test]
fn a_frame_rate_that_nobody_names_is_measured() {
    let mut timeline = Timeline::new(Config { profile: Profile::Low, source_may_be_off: true });
    timeline.begin_publisher(Instant::default(), WallTime::default());
    timeline.set_video_config(avc(640));
    timeline.set_audio_config(Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap())));
    let encoder = Encoder { fps: 25.0, gop: 50, ..PLAIN };
    let events = encoder.publish(&mut timeline, 0, 20);
    assert_eq!(timeline.grid().unwrap().slot_ticks, 4800);
    assert_eq!(pictures(&events).len(), 20, "nothing that was held is lost");
}

#[test]
fn sound_alone_is_cut_at_the_segment_length() {
    let mut timeline = Timeline::new(Config { profile: Profile::Low, source_may_be_off: true });
    timeline.begin_publisher(Instant::default(), WallTime::default());
    timeline.set_audio_config(Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap())));
    let mut events = Vec::new();
    for index in 0..300u64 {
        timeline.handle_audio(Instant::from_millis(index * 64 / 3), PLAIN.sound(index.cast_signed()));
        events.extend(std::iter::from_fn(|| timeline.poll_event()));
    }
    let starts: Vec<i64> = cuts(&events).iter().map(|cut| cut.1).collect();
    assert_eq!(starts, [0, 240_000, 480_000, 720_000]);
    assert_eq!(sounds(&events).len(), 300);
    check_parts(&events);
}

#[test]
fn video_that_stops_leaves_the_cuts_to_the_sound() {
    let mut timeline = timeline(Profile::Low);
    let mut events = PLAIN.publish(&mut timeline, 0, 90);
    for index in 141..400 {
        timeline.handle_audio(Instant::from_millis(3000), PLAIN.sound(index));
    }
    events.extend(std::iter::from_fn(|| timeline.poll_event()));
    let cuts = cuts(&events);
    assert!(cuts.len() >= 4 && cuts.last().unwrap().3, "{cuts:?}");
    assert_eq!(off_reasons(&events).last().unwrap().as_deref(), Some("its video has stopped"));
    check_parts(&events);
}

#[test]
fn without_a_keyframe_the_publisher_is_told() {
    let mut timeline = timeline(Profile::Low);
    let mut unit = PLAIN.frame(1);
    assert_eq!(timeline.handle_video(Instant::from_millis(0), unit.clone()), Ok(()));
    unit.dts_millis += 11_000;
    let refused = timeline.handle_video(Instant::from_millis(11_000), unit).unwrap_err();
    assert_eq!(refused, Refusal::NoKeyframe { seconds: 10 });
}

#[test]
fn a_jittery_frame_takes_the_next_slot_and_none_is_lost() {
    let mut timeline = timeline(Profile::Low);
    let mut slots = Vec::new();
    for index in 0..120 {
        let mut frame = PLAIN.frame(index);
        frame.dts_millis = frame.dts_millis.wrapping_add_signed([0, 14, -12, 16, -16][(index % 5) as usize]);
        timeline.handle_video(Instant::from_millis(index as u64 * 33), frame).unwrap();
    }
    timeline.handle_timeout(Instant::from_millis(5000));
    while let Some(event) = timeline.poll_event() {
        if let Event::Video(video) = event {
            slots.push(video.slot.0);
        }
    }
    assert_eq!(slots, (0..120).collect::<Vec<i64>>());
}

#[test]
fn sound_or_held_frames_that_are_days_ahead_do_not_move_the_timeline() {
    let days = 2 * 86_400_000;
    let mut timeline = timeline(Profile::Low);
    let mut events = Encoder { audio: false, ..PLAIN }.publish(&mut timeline, 0, 40);
    for number in 0..10 {
        let frame = AudioFrame { data: Bytes::from_static(b"a"), pts_millis: 5000 + days + number * 21 };
        timeline.handle_audio(Instant::from_millis(1400), frame);
    }
    events.extend(std::iter::from_fn(|| timeline.poll_event()));
    assert!(events.len() < 200, "{} events", events.len());

    // The rate is measured over twelve frames, which are held meanwhile; the second is far away.
    let mut timeline = Timeline::new(Config { profile: Profile::Low, source_may_be_off: true });
    timeline.begin_publisher(Instant::default(), WallTime::default());
    timeline.set_video_config(avc(640));
    for index in 0..30 {
        let mut frame = PLAIN.frame(index);
        frame.dts_millis += if index == 1 { days } else { 0 };
        timeline.handle_video(Instant::from_millis(33 * index.unsigned_abs()), frame).unwrap();
    }
    timeline.handle_timeout(Instant::from_millis(3000));
    let events: Vec<Event> = std::iter::from_fn(|| timeline.poll_event()).collect();
    assert!((20..200).contains(&events.len()), "{} events", events.len());
}

/// Architecture 8: what a claim announced. Slot 568 is where the gaps of the lost home end.
fn announced() -> Cut {
    Cut {
        msn: MediaSequence(9),
        start: Timestamp::video(568 * 4000),
        discontinuity: 3,
        program_date_time: WallTime { unix_millis: 1_060_000 },
        kind: CutKind::Media,
        renditions: [].into(),
    }
}

fn known() -> Known {
    Known {
        grid: Grid::new(Profile::Low, headwater_media::FrameRate::FPS_30),
        has_video: true,
        audio: Some(Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap()))),
    }
}

fn goes_on(timeline: &mut Timeline, wall: i64) -> Vec<Event> {
    assert!(timeline.poll_event().is_none());
    timeline.begin_publisher(Instant::default(), WallTime { unix_millis: wall });
    timeline.set_video_config(avc(640));
    timeline.set_audio_config(Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap())));
    PLAIN.publish(timeline, 0, 150)
}

fn resumed(wall: i64) -> Vec<Event> {
    let config = Config { profile: Profile::Ultra, source_may_be_off: true };
    goes_on(&mut Timeline::resume(config, known(), &announced()), wall)
}

fn first_date(events: &[Event]) -> Option<i64> {
    events
        .iter()
        .find_map(|event| if let Event::Cut(cut) = event { Some(cut.program_date_time.unix_millis) } else { None })
}

#[test]
fn a_session_of_another_home_goes_on_with_the_cut_that_was_announced() {
    let events = resumed(1_060_000);
    assert!(!events.iter().any(|event| matches!(event, Event::Started(_))), "the session has its constants");
    assert_eq!(cuts(&events)[..2], [(9, 568 * 4000, 3, false), (10, (568 + 60) * 4000, 3, false)]);
    assert_eq!(part_ends(&events)[0].start, VideoSlot(568));
    assert_eq!(part_ends(&events)[0].msn, MediaSequence(9));
    check_parts(&events);
    assert_eq!(pictures(&events)[0].slot, VideoSlot(568));
    let (sound, start) = (sounds(&events)[0].start, announced().start);
    assert!(sound >= start && sound.to_duration() - start.to_duration() < Duration::from_millis(22));
}

#[test]
fn the_date_of_an_announced_cut_becomes_that_of_its_first_sample_and_never_goes_back() {
    assert_eq!(first_date(&resumed(1_060_700)), Some(1_060_700));
    assert_eq!(first_date(&resumed(1_050_000)), Some(1_060_000), "that of the announcement");
}

#[test]
fn a_source_that_was_off_is_off_in_the_cut_that_was_announced() {
    let off = (RenditionName::source(), RenditionState::Off("it was".into()));
    let first = Cut { renditions: [off].into(), ..announced() };
    let config = Config { profile: Profile::Ultra, source_may_be_off: true };
    let events = goes_on(&mut Timeline::resume(config, known(), &first), 1_060_000);
    let is_off: Vec<bool> = cuts(&events).iter().map(|cut| cut.3).collect();
    assert_eq!(is_off, [true, true, false], "it conforms");
}

/// A newcomer on the same node takes the stream over: the clock of the sound goes on.
#[test]
fn a_timeline_goes_on_with_what_was_announced_in_its_own_place() {
    let mut timeline = timeline(Profile::Low);
    let mut before = PLAIN.publish(&mut timeline, 0, 40);
    timeline.finish();
    before.extend(std::iter::from_fn(|| timeline.poll_event()));
    let end = timeline.end().unwrap();
    assert_eq!(end, Timestamp::video(40 * 4000));
    timeline.go_on(&Cut { msn: MediaSequence(2), start: end, discontinuity: 1, ..announced() });
    let after = goes_on(&mut timeline, 1_070_000);
    assert_eq!(cuts(&after)[0], (2, 40 * 4000, 1, false));
    let (last, next) = (sounds(&before).last().unwrap().end(), sounds(&after)[0].start);
    assert!((0..1024).contains(&(next.ticks - last.ticks)), "no frame lies over another: {last:?} {next:?}");
}

#[test]
fn a_session_of_another_home_ends_without_another_sample() {
    let config = Config { profile: Profile::Low, source_may_be_off: true };
    let mut timeline = Timeline::resume(config, known(), &announced());
    timeline.finish();
    assert!(timeline.poll_event().is_none());
    assert_eq!(timeline.end(), Some(announced().start));
}
