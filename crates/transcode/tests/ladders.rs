//! Whole built-in ladders: frame by frame what the source is.

mod stage;

use headwater_router::{Gear, Ladder, Source};
use headwater_segmenter::Profile;
use stage::clip::Recipe;
use stage::gears::{psnr_by_slot, source_frames};
use stage::{Stage, gears};

/// Least luma PSNR of a picture in dB. The test picture is hard to code: at 145 kbit/s little of it is left.
fn floor(gear: &Gear) -> f64 {
    if gear.bitrate_kbps < 300 { 20.0 } else { 26.0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_gears_have_every_picture_of_a_full_hd_source_in_its_slot() {
    let clip = Recipe { gop: 30, ..Recipe::new(1920, 1080, 75) }.make("nine");
    let nine = Ladder::bipbop().plan(Source { width: 1920, height: 1080, bitrate_kbps: Some(20_000) });
    let mut stage = Stage::new(Profile::Low, nine.clone());
    stage.play(&clip).await;
    let slot_ticks = stage.log().session().grid.slot_ticks;
    let cuts: Vec<i64> = stage.cuts.iter().map(|cut| cut.start.ticks / slot_ticks).collect();
    let source = source_frames(&stage);
    // Parts, their times and the meeting of decode times are checked on the way.
    let made = gears::all(&stage);
    assert_eq!(made.len(), 9);
    for (gear, ordered) in made.iter().zip(&nine) {
        assert!(gear.gaps().is_empty());
        let pictures = gear.pictures(slot_ticks);
        assert!(pictures.iter().map(|picture| picture.slot).eq(0..75), "slots of {}", gear.name);
        let idrs: Vec<i64> = pictures.iter().filter(|picture| picture.idr).map(|picture| picture.slot).collect();
        assert_eq!(idrs, cuts, "{}", gear.name);
        let frames: Vec<_> = gear.frames(slot_ticks).into_iter().step_by(12).collect();
        for (slot, db) in psnr_by_slot(&frames, &source, gear.size) {
            assert!(db >= floor(ordered), "slot {slot} of {}: {db} dB", gear.name);
        }
    }
    assert!(stage.metrics.cpu_seconds().iter().all(|seconds| *seconds > 0.0), "{:?}", stage.metrics.cpu_seconds());
}
