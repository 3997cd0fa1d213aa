//! Exact to the frame at every rate: which slots have a picture, which of them are IDRs, and whose picture it is.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod stage;

use headwater_router::Gear;
use headwater_segmenter::Profile;
use stage::Stage;
use stage::clip::{Clip, Recipe};
use stage::gears::check_whole;

/// Two seconds and a bit.
const FRAMES_MAX: u32 = 140;

fn small() -> Vec<Gear> {
    vec![Gear::new(320, 180, 800, "superfast"), Gear::new(160, 90, 300, "superfast")]
}

fn recipe(rate: (u32, u32)) -> Recipe {
    let per_second = rate.0.div_ceil(rate.1);
    Recipe { rate, gop: per_second, frames: (per_second * 9 / 4).min(FRAMES_MAX), ..Recipe::new(320, 180, 0) }
}

async fn played(clip: &Clip) -> Stage {
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(clip).await;
    stage
}

/// Plays it, and every picture of it is in its slot.
async fn check(clip: &Clip, rate: (u32, u32), name: &str) {
    let stage = played(clip).await;
    let count = i64::try_from(clip.units.len()).unwrap();
    let grid = stage.log().session().grid;
    let ticks = 120_000 * i64::from(rate.1) / i64::from(rate.0);
    assert_eq!(grid.slot_ticks, ticks, "{name}");
    // The first IDR from two seconds on.
    assert_eq!(stage.cut_slots(), [0, 2 * i64::from(rate.0.div_ceil(rate.1))], "{name}");
    check_whole(&stage, name, count);
    let metrics = &stage.metrics;
    assert_eq!((metrics.pictures_repeated.get(), metrics.pictures_dropped.get()), (0, 0), "{name}");
    assert_eq!(metrics.decode_errors.get(), 0, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rate_has_its_pictures_one_by_one() {
    for rate in [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (50, 1), (60_000, 1001), (60, 1)] {
        let name = format!("rate-{}-{}", rate.0, rate.1);
        check(&recipe(rate).make(&name), rate, &name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b_frames_are_shown_in_their_slots_at_every_rate() {
    for rate in [(24_000, 1001), (25, 1), (30_000, 1001), (60, 1)] {
        let name = format!("b-rate-{}-{}", rate.0, rate.1);
        let clip = Recipe { b_frames: 3, ..recipe(rate) }.make(&name);
        check(&clip, rate, &name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn composition_times_may_be_negative() {
    for rate in [(25, 1), (30_000, 1001)] {
        let name = format!("negative-{}", rate.0);
        let mut clip = Recipe { b_frames: 3, ..recipe(rate) }.make(&name);
        let shift = clip.units[0].composition_millis;
        clip.units.iter_mut().for_each(|unit| unit.composition_millis -= shift);
        assert!(clip.units.iter().any(|unit| unit.composition_millis < 0));
        check(&clip, rate, &name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_variable_rate_a_picture_stays_until_the_next_one_comes() {
    let mut clip = Recipe { gop: 40, ..Recipe::new(320, 180, 60) }.make("variable");
    // One slot, two, four, three; within a slot here and there.
    let (mut slot, mut slots) = (0u32, Vec::new());
    for (unit, number) in clip.units.iter_mut().zip(0usize..) {
        unit.dts_millis = slot * 100 / 3 + [0, 9, 4][number % 3];
        slots.push(i64::from(slot));
        slot += [1, 2, 4, 3][number % 4];
    }
    let stage = played(&clip).await;
    let stamped: Vec<i64> = stage.samples.iter().map(|sample| sample.slot.0).collect();
    assert_eq!(stamped, slots);
    check_whole(&stage, "variable", *slots.last().unwrap() + 1);
    let repeated = u64::try_from(*slots.last().unwrap() + 1).unwrap() - 60;
    assert_eq!(stage.metrics.pictures_repeated.get(), repeated);
}
