//! What a transcoder makes of a source, from stamped samples to parts in the log.

mod stage;

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{AacConfig, AccessUnit, AudioConfig, Colour, PartIndex};
use headwater_router::{Gear, Ladder, Source};
use headwater_segmenter::Profile;
use stage::clip::{Clip, Recipe};
use stage::gears::{check_whole, psnr_by_slot, source_frames_until};
use stage::{Stage, gears};

fn hd(width: u32, height: u32) -> Vec<Gear> {
    Ladder::hd().plan(Source { width, height, bitrate_kbps: Some(20_000) })
}

/// Two small gears: most of what is to be shown does not depend on the size.
fn small() -> Vec<Gear> {
    vec![Gear::new(320, 180, 400, "superfast"), Gear::new(160, 90, 150, "superfast")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_720p_source_gets_its_gears_picture_by_picture() {
    let clip = Recipe::new(1280, 720, 150).make("720p");
    let mut stage = Stage::new(Profile::Low, hd(1280, 720));
    stage.play(&clip).await;
    assert_eq!(stage.gears.len(), 3);
    assert_eq!(stage.cuts.len(), 3);
    check_whole(&stage, "720p", 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn portrait_and_odd_sources_keep_their_shape() {
    for (width, height, sizes) in [
        (405, 720, vec![(360, 640)]),
        (853, 480, vec![(852, 480), (640, 360)]),
        (1919, 1079, vec![(1280, 720), (854, 480), (640, 360)]),
    ] {
        let name = format!("{width}x{height}");
        let clip = Recipe { pixel_format: "yuv444p", ..Recipe::new(width, height, 45) }.make(&name);
        assert_eq!(clip.config.size(), (width, height));
        let mut stage = Stage::new(Profile::Low, hd(width, height));
        let planned: Vec<(u32, u32)> = stage.gears.iter().map(|gear| (gear.width, gear.height)).collect();
        assert_eq!(planned, sizes);
        stage.play(&clip).await;
        check_whole(&stage, &name, 45);
        for gear in gears::all(&stage) {
            assert_eq!(gear.init().resolution, Some((gear.size.width, gear.size.height)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_b_frames_keeps_its_pictures_in_their_slots() {
    let clip = Recipe { b_frames: 3, ..Recipe::new(640, 360, 150) }.make("b-frames");
    assert!(clip.units.iter().any(|unit| unit.composition_millis != clip.units[0].composition_millis));
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(&clip).await;
    check_whole(&stage, "b-frames", 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_keyframes_gets_gears_that_have_them() {
    let clip = Recipe { gop: 1000, ..Recipe::new(320, 180, 300) }.make("no-keyframes");
    assert_eq!(clip.units.iter().filter(|unit| unit.idr).count(), 1);
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(&clip).await;
    assert!(stage.cuts.len() > 2);
    check_whole(&stage, "no-keyframes", 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_begin_at_zero_in_each_segment() {
    let clip = Recipe::new(320, 180, 300).make("parts");
    let mut stage = Stage::new(Profile::Ultra, small());
    stage.play(&clip).await;
    for gear in gears::all(&stage) {
        assert_eq!(gear.parts[0].index, PartIndex(0));
        assert_eq!(gear.parts.iter().filter(|part| part.index == PartIndex(0)).count(), stage.cuts.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_samples_give_the_same_bytes() {
    let clip = Recipe { b_frames: 2, ..Recipe::new(640, 360, 100) }.make("twice");
    let mut made = Vec::new();
    for _ in 0..2 {
        let mut stage = Stage::new(Profile::Low, small());
        stage.play(&clip).await;
        made.push(gears::all(&stage).iter().map(|gear| (gear.init().id, gear.bytes())).collect::<Vec<_>>());
    }
    assert!(made[0] == made[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_the_source_leaves_out_are_repeated() {
    let mut clip = Recipe::new(320, 180, 180).make("short-hole");
    // Pictures that nothing refers to: the last ones of a GOP.
    clip.units.drain(115..120);
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(&clip).await;
    check_whole(&stage, "short-hole", 180);
    assert_eq!(stage.metrics.pictures_repeated.get(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_of_several_parts_repeats_the_picture_before_it() {
    let mut clip = Recipe::new(320, 180, 240).make("long-hole");
    clip.units.drain(100..120);
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(&clip).await;
    check_whole(&stage, "long-hole", 240);
    assert_eq!(stage.metrics.pictures_repeated.get(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_twice_as_often_as_the_grid_says_are_dropped() {
    let mut clip = Recipe::new(320, 180, 240).make("60fps");
    for (unit, number) in clip.units.iter_mut().zip(0..) {
        unit.dts_millis = number * 50 / 3;
    }
    // The sequence header gives no rate, the metadata a wrong one.
    clip.avc().parsed.timing = None;
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(&clip).await;
    for gear in gears::all(&stage) {
        let shown: Vec<i64> = gear.pictures(4000).iter().map(|picture| picture.slot).collect();
        assert!(shown.iter().copied().eq(0..i64::try_from(shown.len()).unwrap()), "{shown:?}");
        assert!((118..=122).contains(&shown.len()));
    }
    assert!(stage.metrics.pictures_dropped.get() > 110);
}

/// The second publisher's pictures are as far from its start as the first one's.
async fn play_both(stage: &mut Stage, first: &Clip, second: &Clip) {
    let worker = stage.worker();
    stage.begin(first);
    stage.publish_whole(&first.units).await;
    stage.timeline.end_publisher();
    stage.pass(Duration::from_secs(3)).await;
    stage.begin(second);
    stage.publish(&second.units).await;
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_publisher_may_have_another_size_and_no_picture_is_lost() {
    let first = Recipe { b_frames: 3, ..Recipe::new(640, 360, 100) }.make("publisher-1");
    let second = Recipe::new(854, 480, 80).make("publisher-2");
    let mut stage = Stage::new(Profile::Low, small());
    play_both(&mut stage, &first, &second).await;
    assert_eq!(stage.cuts.last().unwrap().discontinuity, 1);
    check_whole(&stage, "publishers", 180);
    assert_eq!(stage.metrics.decode_errors.get(), 0);
    assert_eq!(stage.log().counters().0, 0, "a part was dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_pictures_are_counted_and_the_gears_go_on() {
    let mut clip = Recipe::new(320, 180, 180).make("damaged");
    for unit in &mut clip.units[70..73] {
        let length = unit.data.len();
        let mut bytes = unit.data.to_vec();
        bytes[length / 2..].fill(0x55);
        unit.data = bytes.into();
    }
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(&clip).await;
    for gear in gears::all(&stage) {
        assert!(gear.gaps().is_empty());
        assert_eq!(gear.pictures(4000).len(), 180);
    }
    assert!(stage.metrics.decode_errors.get() > 0);
    assert_eq!(stage.metrics.pictures_repeated.get(), 0, "what is there of them is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_cannot_be_decoded_for_long_repeat_the_last_one_and_leave_no_gap() {
    let mut clip = Recipe::new(320, 180, 180).make("undecodable");
    for unit in &mut clip.units[65..110] {
        let mut bytes = unit.data.to_vec();
        bytes[5..].fill(0xFF);
        unit.data = bytes.into();
    }
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(&clip).await;
    // After a loss of more than half of the range of its picture order count the decoder takes a few pictures for late.
    assert!((45..=48).contains(&stage.metrics.pictures_repeated.get()), "{}", stage.metrics.pictures_repeated.get());
    for gear in gears::all(&stage) {
        assert!(gear.gaps().is_empty());
        assert!(gear.pictures(4000).iter().map(|picture| picture.slot).eq(0..180));
        let frames = gear.frames(4000);
        let source = source_frames_until(&stage, 65);
        let shown: Vec<_> = frames.into_iter().filter(|(slot, _)| *slot < 110).collect();
        for (slot, db) in psnr_by_slot(&shown, &source, gear.size) {
            assert!(db >= 30.0, "slot {slot} of {}: {db} dB", gear.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gears_say_their_colour_even_if_the_source_does_not() {
    let clip = Recipe::new(1280, 720, 40).make("colour");
    assert_eq!(clip.config.colour(), None);
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(&clip).await;
    let bt_709 = Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false };
    for gear in gears::all(&stage) {
        let config = gear.config();
        assert_eq!(config.colour(), Some(bt_709));
        assert_eq!(config.codec_string(), gear.init().codecs.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_video_stops_and_sound_goes_on_the_last_picture_stays() {
    let clip = Recipe::new(320, 180, 90).make("silent-video");
    let mut stage = Stage::new(Profile::Low, small());
    let worker = stage.worker();
    stage.begin(&clip);
    stage.timeline.set_audio_config(Arc::new(AudioConfig::Aac(AacConfig::lc(48_000, 2).unwrap())));
    stage.publish_sound(0..10).await;
    stage.publish_whole(&clip.units[..60]).await;
    // 20 s of sound, about a second at a time.
    for second in 0..20 {
        stage.publish_sound(100 + 42 * second..142 + 42 * second).await;
        stage.wait_for_parts(stage.ends.len()).await;
    }
    let (first, rest) = clip.units[60..].split_at(1);
    let at = 20_000;
    let later = |unit: &AccessUnit| AccessUnit { dts_millis: unit.dts_millis + at - 2000, ..unit.clone() };
    assert!(first[0].idr);
    let later: Vec<AccessUnit> = first.iter().chain(rest).map(later).collect();
    stage.publish(&later).await;
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    for gear in gears::all(&stage) {
        assert!(gear.gaps().is_empty(), "{:?}", gear.gaps());
        assert_eq!(gear.decode_with_ffmpeg("silent-video"), 630);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn composition_times_that_cannot_be_cost_their_own_pictures_at_most() {
    for (composition_millis, lost) in [(3000, 1), (-3000, 1), (2_000_000, 0)] {
        let mut clip = Recipe::new(320, 180, 180).make("composition");
        clip.units[75].composition_millis = composition_millis;
        let mut stage = Stage::new(Profile::Low, small());
        stage.play(&clip).await;
        let metrics = &stage.metrics;
        let counts = (metrics.pictures_repeated.get(), metrics.pictures_dropped.get());
        assert_eq!(counts, (lost, lost), "{composition_millis}");
        for gear in gears::all(&stage) {
            assert!(gear.pictures(4000).iter().map(|picture| picture.slot).eq(0..180));
        }
    }
}
