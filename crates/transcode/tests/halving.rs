//! Gears that take every second picture of a fast source.

mod stage;

use std::time::Duration;

use headwater_router::Gear;
use headwater_segmenter::Profile;
use stage::clip::{Clip, Recipe};
use stage::gears::{psnr_by_slot, source_frames};
use stage::{Stage, gears};

/// One gear with all pictures, one with half of them.
fn two() -> Vec<Gear> {
    vec![Gear::new(320, 180, 900, "superfast"), Gear { halve: true, ..Gear::new(320, 180, 400, "superfast") }]
}

/// Slots where segments begin.
fn cuts(stage: &Stage) -> Vec<i64> {
    let slot_ticks = stage.log().session().grid.slot_ticks;
    stage.cuts.iter().map(|cut| cut.start.ticks / slot_ticks).collect()
}

fn fast(name: &str, frames: u32) -> Clip {
    Recipe { rate: (60, 1), gop: 120, ..Recipe::new(320, 180, frames) }.make(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_60_pictures_a_second_a_halved_gear_has_the_even_ones_and_ends_parts_where_the_others_do() {
    let clip = fast("halved", 300);
    let mut stage = Stage::new(Profile::Low, two());
    stage.play(&clip).await;
    let grid = stage.log().session().grid;
    assert_eq!((grid.frame_rate.frames_per_second(), grid.part_slots), (60.0, 12));
    let source = source_frames(&stage);
    // Parts, their times and the meeting of decode times are checked for both.
    let made = gears::all(&stage);
    for (gear, step) in made.iter().zip([1, 2]) {
        assert!(gear.gaps().is_empty());
        let pictures = gear.pictures(grid.slot_ticks);
        assert!(pictures.iter().map(|picture| picture.slot).eq((0..300).step_by(step)), "{}", gear.name);
        let idrs: Vec<i64> = pictures.iter().filter(|picture| picture.idr).map(|picture| picture.slot).collect();
        assert_eq!(idrs, cuts(&stage));
        let frames: Vec<_> = gear.frames(grid.slot_ticks).into_iter().step_by(7).collect();
        for (slot, db) in psnr_by_slot(&frames, &source, gear.size) {
            assert!(db >= 28.0, "slot {slot} of {}: {db} dB", gear.name);
        }
        assert_eq!(gear.decode_with_ffmpeg("halved"), 300 / step);
        let timing = gear.config().fixed_rate();
        assert_eq!(timing, Some(if step == 1 { 60.0 } else { 30.0 }));
    }
    let ends = |gear: &gears::Gear| gear.parts.iter().map(|part| (part.start, part.end)).collect::<Vec<_>>();
    assert_eq!(ends(&made[0]), ends(&made[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halved_gear_of_a_slow_source_has_every_picture() {
    let clip = Recipe::new(320, 180, 90).make("not-halved");
    let mut stage = Stage::new(Profile::Low, two());
    stage.play(&clip).await;
    for gear in gears::all(&stage) {
        assert_eq!(gear.pictures(4000).len(), 90);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_odd_length_begin_at_a_picture_in_a_halved_gear_too() {
    // The publisher leaves after 97 pictures, and the next one begins in the odd slot after them.
    let clip = fast("odd", 97);
    let mut stage = Stage::new(Profile::Low, two());
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units).await;
    stage.timeline.end_publisher();
    stage.pass(Duration::from_secs(3)).await;
    stage.begin(&clip);
    stage.publish(&clip.units).await;
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    assert_eq!(cuts(&stage), [0, 97]);
    for gear in gears::all(&stage).iter().skip(1) {
        assert!(gear.gaps().is_empty());
        let shown: Vec<i64> = gear.pictures(2000).iter().map(|picture| picture.slot).collect();
        assert!(shown.iter().copied().eq((0..97).step_by(2).chain((97..194).step_by(2))), "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_that_ends_in_an_odd_slot_is_filled_in_a_halved_gear_too() {
    let mut clip = Recipe { rate: (60, 1), gop: 25, ..Recipe::new(320, 180, 150) }.make("odd-hole");
    clip.units.drain(49..75);
    let mut stage = Stage::new(Profile::Low, two());
    stage.play(&clip).await;
    let made = gears::all(&stage);
    let starts = cuts(&stage);
    for (gear, step) in made.iter().zip([1, 2]) {
        assert!(gear.gaps().is_empty(), "{:?}", gear.gaps());
        let slots = gear.pictures(2000).into_iter().map(|picture| picture.slot);
        let ends = starts.iter().copied().skip(1).chain([150]);
        assert!(
            slots.eq(starts.iter().zip(ends).flat_map(|(start, end)| (*start..end).step_by(step))),
            "{}",
            gear.name
        );
    }
}
