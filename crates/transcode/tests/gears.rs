//! What a transcoder makes of a source, from stamped samples to parts in the log.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod stage;

use headwater_media::PartIndex;
use headwater_router::{Gear, Ladder, Source};
use headwater_segmenter::Profile;
use stage::clip::Recipe;
use stage::gears::{psnr_by_slot, source_frames};
use stage::{Stage, gears};

fn hd(width: u32, height: u32) -> Vec<Gear> {
    Ladder::hd().plan(Source { width, height, bitrate_kbps: Some(20_000) })
}

/// Two small gears: most of what is to be shown does not depend on the size.
fn small() -> Vec<Gear> {
    vec![Gear::new(320, 180, 400, "superfast"), Gear::new(160, 90, 150, "superfast")]
}

/// Every slot has a picture, IDRs are at the cuts and nowhere else, and the pictures look like the source's.
fn check_whole(stage: &Stage, name: &str, frames: i64) {
    let slot_ticks = stage.log().session().grid.slot_ticks;
    let cuts: Vec<i64> = stage.cuts.iter().map(|cut| cut.start.ticks / slot_ticks).collect();
    let source = source_frames(stage);
    for gear in gears::all(stage) {
        assert_eq!(gear.gaps(), []);
        let pictures = gear.pictures(slot_ticks);
        assert!(pictures.iter().map(|picture| picture.slot).eq(0..frames), "slots of {}", gear.name);
        let idrs: Vec<i64> = pictures.iter().filter(|picture| picture.idr).map(|picture| picture.slot).collect();
        assert_eq!(idrs, cuts, "{}", gear.name);
        for (slot, db) in psnr_by_slot(&gear.frames(slot_ticks), &source, gear.size) {
            assert!(db >= 30.0, "slot {slot} of {}: {db} dB", gear.name);
        }
        assert_eq!(i64::try_from(gear.decode_with_ffmpeg(name)).unwrap(), frames);
    }
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
async fn a_source_with_b_frames_keeps_its_pictures_in_their_slots() {
    let clip = Recipe { b_frames: 3, ..Recipe::new(640, 360, 150) }.make("b-frames");
    assert!(clip.units.iter().any(|unit| unit.composition_millis != clip.units[0].composition_millis));
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(&clip).await;
    check_whole(&stage, "b-frames", 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_begin_at_zero_in_each_segment_and_open_with_an_idr() {
    let clip = Recipe::new(320, 180, 300).make("parts");
    let mut stage = Stage::new(Profile::Ultra, small());
    stage.play(&clip).await;
    for gear in gears::all(&stage) {
        assert_eq!(gear.parts[0].index, PartIndex(0));
        assert_eq!(gear.parts.iter().filter(|part| part.index == PartIndex(0)).count(), stage.cuts.len());
    }
}
