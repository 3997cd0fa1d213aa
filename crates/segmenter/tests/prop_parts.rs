//! Whatever an encoder does to its timestamps, the parts that come out obey the rules of CMAF, and decode times meet.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::unwrap_used,
    reason = "small numbers of a test"
)]

use std::sync::Arc;

use bytes::Bytes;
use headwater_cmaf::check::{Finding, Place, Problem, TrackCheck};
use headwater_cmaf::read::chunks;
use headwater_media::{
    AacConfig, Ac3Config, AccessUnit, AudioConfig, AudioFrame, AvcConfig, FlacConfig, Instant, MediaSequence,
    OpusConfig, Part, PartIndex, PartPayload, WallTime,
};
use headwater_segmenter::timeline::Config;
use headwater_segmenter::{AudioPackager, Event, Grid, Profile, Timeline, VideoPackager};
use proptest::prelude::*;

/// A record of x264; where it comes from is said in its folder.
const AVCC: &[u8] = include_bytes!("../../media/src/testdata/x264-1080p29.avcc");

/// What one publisher sends: a frame rate, a GOP length, and what happens to each frame.
#[derive(Clone, Debug)]
struct Source {
    fps: f64,
    gop: usize,
    /// Milliseconds added to a frame's time; `None`: the frame is lost.
    frames: Vec<Option<i32>>,
    sound: Option<AudioConfig>,
}

/// AAC that is passed through, and sound of codecs that is offered as it came: frames of 20, 60 and 96 ms, and AC-3.
fn sounds() -> Vec<AudioConfig> {
    let aac = |rate| AudioConfig::Aac(AacConfig::lc(rate, 2).unwrap());
    let opus = |packet: &[u8]| AudioConfig::Opus(OpusConfig::guess(packet).unwrap());
    let mut stream_info = vec![0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x0B, 0xB8, 0x02, 0xF0];
    stream_info.resize(34, 0);
    let flac = AudioConfig::Flac(FlacConfig::parse(&stream_info.into()).unwrap());
    let ac3 = AudioConfig::Ac3(Ac3Config::parse(&[0x0B, 0x77, 0, 0, 0x14, 0x40, 0x43, 0]).unwrap());
    vec![aac(44_100), aac(48_000), opus(&[0xFC]), opus(&[0xFF, 3]), flac, ac3]
}

/// A coded frame, as far as anybody looks at it.
fn coded(config: &AudioConfig) -> &'static [u8] {
    match config {
        AudioConfig::Opus(opus) if opus.frame_samples == 960 => b"\xFC\xFF\xFE",
        AudioConfig::Opus(_) => b"\xFF\x03",
        AudioConfig::Flac(_) => b"\xFF\xF8\x59\x18\0\0",
        _ => b"\x21\x10",
    }
}

fn sources() -> impl Strategy<Value = Source> {
    let rates = prop::sample::select(vec![15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0]);
    let frame = prop_oneof![30 => Just(Some(0)), 5 => (-8..9).prop_map(Some), 1 => Just(None)];
    let frames = prop::collection::vec(frame, 30..400);
    (rates, 10..320usize, frames, prop::option::of(prop::sample::select(sounds())))
        .prop_map(|(fps, gop, frames, sound)| Source { fps, gop, frames, sound })
}

/// Publishes one source after another in one session; every event of the timeline.
fn stamp(profile: Profile, sources: &[Source], with_starts: bool) -> (Grid, Vec<Event>) {
    let mut timeline = Timeline::new(Config { profile, source_may_be_off: true });
    let mut events = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let origin = 100_000 * (index as u64 + 1);
        timeline.begin_publisher(Instant::from_millis(origin), WallTime { unix_millis: origin as i64 });
        timeline.set_video_config(Arc::new(AvcConfig::parse(AVCC).unwrap().into()));
        if let Some(config) = &source.sound {
            timeline.set_audio_config(Arc::new(config.clone()));
        }
        timeline.hint_frame_rate(source.fps);
        let mut sound = 0u32;
        for (index, frame) in source.frames.iter().enumerate() {
            let millis = index as f64 * 1000.0 / source.fps;
            let now = Instant::from_millis(origin + millis as u64);
            if let Some(config) = &source.sound {
                let frame_millis = f64::from(config.frame_samples()) * 1000.0 / f64::from(config.sample_rate());
                while f64::from(sound) * frame_millis <= millis {
                    let pts_millis = (f64::from(sound) * frame_millis).round() as u32 + 70;
                    timeline.handle_audio(now, AudioFrame { data: Bytes::from_static(coded(config)), pts_millis });
                    sound += 1;
                }
            }
            let Some(jitter) = frame else { continue };
            let unit = AccessUnit {
                data: Bytes::from_static(b"\0\0\0\x02\x41\x9a"),
                idr: index % source.gop == 0,
                recovery: None,
                dts_millis: (millis.round() as u32 + 70).wrapping_add_signed(*jitter),
                composition_millis: 0,
            };
            if with_starts {
                timeline.handle_video_start(unit.dts_millis, unit.idr);
            }
            if timeline.handle_video(now, unit).is_err() {
                // Its keyframe was lost and the next is too far away: it is sent away.
                break;
            }
            timeline.handle_timeout(now);
        }
        timeline.handle_timeout(Instant::from_millis(origin + 99_000));
        timeline.end_publisher();
        events.extend(std::iter::from_fn(|| timeline.poll_event()));
    }
    timeline.finish();
    events.extend(std::iter::from_fn(|| timeline.poll_event()));
    let grid = timeline.grid().unwrap_or(Grid::new(profile, headwater_media::FrameRate::FPS_30));
    (grid, events)
}

/// A rendition's parts, each with the discontinuity count of its segment.
type Parts = Vec<(u64, Part)>;

/// The source rendition's and the audio rendition's parts.
fn package(grid: Grid, events: &[Event]) -> (Parts, Parts) {
    let (mut video, mut audio) = (VideoPackager::new(grid, None), AudioPackager::new());
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    let mut discontinuity = std::collections::BTreeMap::new();
    let (mut is_aac, mut packaged) = (true, true);
    for event in events {
        match event {
            Event::Started(started) => {
                if let Some(config) = started.audio.as_ref().filter(|config| config.is_optional()) {
                    audio = AudioPackager::of_source(config.clone());
                    is_aac = false;
                }
            }
            Event::Added(_) => {}
            Event::Cut(cut) => {
                discontinuity.insert(cut.msn, cut.discontinuity);
            }
            Event::Video(sample) => video.push(sample.clone()),
            // What no longer passes through is encoded from there on, by others.
            Event::Audio(frame) if is_aac && !frame.config.passes_through() => packaged = false,
            Event::Audio(frame) if packaged => audio.push(frame.clone()),
            Event::Audio(_) => {}
            Event::PartEnd(end) => {
                let part = video.end_part(end);
                pictures.push((discontinuity[&part.msn], part));
                audio.end_part(*end, &grid);
            }
        }
        while let Some(part) = audio.poll_part() {
            sounds.push((discontinuity[&part.msn], part));
        }
    }
    audio.finish();
    while let Some(part) = audio.poll_part() {
        sounds.push((discontinuity[&part.msn], part));
    }
    (pictures, sounds)
}

/// Parts count from 0 in rising segments; within a discontinuity domain each starts where the one before ended; what
/// they hold passes the checks of the box reader.
fn check(parts: &[(u64, Part)]) -> Result<(), TestCaseError> {
    let mut last: Option<&(u64, Part)> = None;
    let mut tracked = None;
    let mut boxes: Option<TrackCheck> = None;
    let mut findings: Vec<TrackCheck> = Vec::new();
    for entry in parts {
        let (discontinuity, part) = entry;
        prop_assert!(part.end > part.start, "{part:?}");
        let mut meets = true;
        if let Some((before, previous)) = last {
            let follows = if part.msn == previous.msn {
                part.index.0 == previous.index.0 + 1
            } else {
                part.msn > previous.msn && part.index == PartIndex(0)
            };
            prop_assert!(follows, "{:?}.{:?} after {:?}.{:?}", part.msn, part.index, previous.msn, previous.index);
            meets = before == discontinuity;
            if meets {
                prop_assert_eq!(part.start.ticks, previous.end.ticks, "{:?}.{:?}", part.msn, part.index);
            }
        }
        if let PartPayload::Media { data, init, intra, independent, .. } = &part.payload {
            let (data, is_video) = (&data.to_bytes(), init.resolution.is_some());
            prop_assert_eq!(intra.is_some(), *independent && is_video);
            let gap_before = last.is_some_and(|(_, previous)| matches!(previous.payload, PartPayload::Gap));
            if tracked.as_ref().is_none_or(|known| known != init) {
                prop_assert!(last.is_none() || !meets, "another init segment without a discontinuity");
                findings.extend(boxes.replace(TrackCheck::new(&init.data).unwrap()));
                tracked = Some(init.clone());
            }
            let Some(check) = &mut boxes else { continue };
            if !meets || gap_before {
                check.discontinuity();
            }
            let place = if part.index == PartIndex(0) { Place::First } else { Place::Inside };
            check.chunk(place, data);
            if let Some(intra) = intra {
                let chunk = &chunks(data, &[]).unwrap()[0];
                let first = chunk.runs[0].samples[0];
                let end = usize::try_from(intra.offset + intra.length).unwrap();
                prop_assert_eq!(usize::try_from(intra.offset).unwrap(), chunk.moof.start);
                prop_assert!(
                    first.is_sync() && first.data(&data[..end]).is_some() && first.data(&data[..end - 1]).is_none()
                );
            }
            prop_assert_eq!(check.end(), Some(part.end.ticks.unsigned_abs()));
        }
        last = Some(entry);
    }
    // The source's own keyframes may come in mid-part, and a hard cut begins a segment without one.
    let keyframe_rule = |problem: &Problem| {
        matches!(
            problem,
            Problem::SyncInside { .. }
                | Problem::NotSync { .. }
                | Problem::SyncFlag { .. }
                | Problem::IdrCompositionOffset { .. }
        )
    };
    let serious = |finding: &&Finding| !keyframe_rule(&finding.problem);
    for check in findings.iter().chain(&boxes) {
        let findings: Vec<_> = check.findings().iter().filter(serious).collect();
        prop_assert!(findings.is_empty(), "{findings:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parts_of_any_source_meet_and_obey_the_rules(
        sources in prop::collection::vec(sources(), 1..4),
        with_starts in any::<bool>(),
        profile in prop::sample::select(Profile::ALL.to_vec()),
    ) {
        let (grid, events) = stamp(profile, &sources, with_starts);
        let (pictures, sounds) = package(grid, &events);
        check(&pictures)?;
        check(&sounds)?;
        for (_, part) in pictures.iter().chain(&sounds) {
            prop_assert!(part.duration() <= grid.part_target, "{:?} is longer than PART-TARGET", part.duration());
        }
    }

    #[test]
    fn segments_are_never_longer_than_the_target_duration_rounds_to(
        sources in prop::collection::vec(sources(), 1..3),
        profile in prop::sample::select(Profile::ALL.to_vec()),
    ) {
        let (grid, events) = stamp(profile, &sources, true);
        let (pictures, sounds) = package(grid, &events);
        for parts in [pictures, sounds] {
            let mut lengths = std::collections::BTreeMap::<MediaSequence, i64>::new();
            for (_, part) in &parts {
                *lengths.entry(part.msn).or_default() += part.duration().centi_millis();
            }
            for (msn, length) in lengths {
                prop_assert!((length + 50_000) / 100_000 <= i64::from(grid.target_duration), "{msn}: {length}");
            }
        }
    }

    #[test]
    fn the_same_samples_give_the_same_bytes(sources in prop::collection::vec(sources(), 1..3)) {
        let bytes = || {
            let (grid, events) = stamp(Profile::Low, &sources, true);
            let (pictures, sounds) = package(grid, &events);
            let all = pictures.into_iter().chain(sounds);
            all.map(|(_, part)| match part.payload {
                PartPayload::Media { data, .. } => (part.msn, part.index, data.to_bytes()),
                PartPayload::Gap => (part.msn, part.index, Bytes::new()),
            }).collect::<Vec<_>>()
        };
        prop_assert_eq!(bytes(), bytes());
    }
}
