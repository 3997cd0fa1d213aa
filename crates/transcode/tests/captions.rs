//! Captions of the source in its gears: each of them once, in order, bit by bit (C-34, R-106).
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod stage;

use std::path::Path;

use headwater_media::VideoCoding;
use headwater_media::captions::{self, Channels, Triplet};
use headwater_router::Gear;
use headwater_segmenter::Profile;
use stage::clip::{Clip, Recipe};
use stage::{Stage, gears};

fn small() -> Vec<Gear> {
    vec![Gear::new(320, 180, 400, "superfast"), Gear::new(160, 90, 150, "superfast")]
}

/// The source's captions as they were sent.
fn of_source(stage: &Stage) -> Vec<Triplet> {
    stage.samples.iter().flat_map(|sample| captions::read(VideoCoding::Avc, &sample.data)).collect()
}

fn of_gear(gear: &gears::Gear, stage: &Stage) -> Vec<Triplet> {
    let pictures = gear.pictures(stage.log().session().grid.slot_ticks);
    pictures.iter().flat_map(|picture| captions::read(VideoCoding::Avc, &picture.data)).collect()
}

/// A clip whose pictures carry `count` numbered triplets each, in the order in which they are shown.
fn with_captions(recipe: Recipe, name: &str, count: usize) -> Clip {
    let mut clip = recipe.make(name);
    let shown =
        |index: usize| i64::from(clip.units[index].dts_millis) + i64::from(clip.units[index].composition_millis);
    let mut order: Vec<usize> = (0..clip.units.len()).collect();
    order.sort_by_key(|index| shown(*index));
    for (place, index) in order.into_iter().enumerate() {
        let number = |index: usize| u16::try_from(place * count + index).unwrap().to_be_bytes();
        let triplets: Vec<Triplet> =
            (0..count).map(|index| Triplet([0xFC, number(index)[0], number(index)[1]])).collect();
        clip.units[index].data = captions::insert(&clip.units[index].data, &triplets);
    }
    clip
}

/// Plays it; every gear has all captions but at most the last `left_over`, for which no picture came any more.
async fn check(clip: &Clip, left_over: usize) -> Stage {
    let mut stage = Stage::new(Profile::Low, small());
    stage.play(clip).await;
    let mut sent = of_source(&stage);
    if clip.units.iter().any(|unit| unit.composition_millis != clip.units[0].composition_millis) {
        // Numbered in the order in which they are shown.
        sent.sort_by_key(|triplet| triplet.0);
    }
    assert!(sent.len() > 100);
    for gear in gears::all(&stage) {
        let got = of_gear(&gear, &stage);
        assert!(got.len() + left_over >= sent.len(), "{} of {} in {}", got.len(), sent.len(), gear.name);
        let differs = got.iter().zip(&sent).position(|(got, sent)| got != sent);
        assert_eq!(differs, None, "{}", gear.name);
    }
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_of_a_real_programme_are_in_every_gear_with_their_pictures() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/testdata/sintel-captions.flv");
    let stage = check(&Clip::open(&path, 24.0), 0).await;
    assert_eq!(Channels::of(&of_source(&stage)).names().collect::<Vec<_>>(), ["CC1"]);
    for gear in gears::all(&stage) {
        let pictures = gear.pictures(stage.log().session().grid.slot_ticks);
        assert_eq!(pictures.len(), stage.samples.len());
        for (picture, sample) in pictures.iter().zip(&stage.samples) {
            assert_eq!(captions::read(VideoCoding::Avc, &picture.data), captions::read(VideoCoding::Avc, &sample.data));
        }
        assert_eq!(gear.decode_with_ffmpeg("captions"), pictures.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_of_b_frames_are_in_the_order_in_which_they_are_shown() {
    let recipe = Recipe { b_frames: 3, ..Recipe::new(320, 180, 150) };
    check(&with_captions(recipe, "captions-b-frames", 20), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_of_dropped_pictures_go_with_the_next() {
    let mut clip = with_captions(Recipe::new(320, 180, 240), "captions-60fps", 12);
    for (unit, number) in clip.units.iter_mut().zip(0..) {
        unit.dts_millis = number * 50 / 3;
    }
    clip.avc().parsed.timing = None;
    // The last slot has two more pictures.
    let stage = check(&clip, 24).await;
    assert!(stage.metrics.pictures_dropped.get() > 110);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_pictures_repeat_no_captions() {
    let mut clip = with_captions(Recipe::new(320, 180, 180), "captions-hole", 20);
    clip.units.drain(115..120);
    let stage = check(&clip, 0).await;
    assert_eq!(stage.metrics.pictures_repeated.get(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_of_pictures_that_cannot_be_decoded_are_carried_all_the_same() {
    let mut clip = with_captions(Recipe::new(320, 180, 180), "captions-damage", 20);
    for unit in &mut clip.units[70..95] {
        let mut bytes = unit.data.to_vec();
        // All but the captions.
        bytes[110..].fill(0xFF);
        unit.data = bytes.into();
    }
    let stage = check(&clip, 0).await;
    assert!(stage.metrics.decode_errors.get() >= 25);
    assert!(gears::all(&stage)[0].gaps().is_empty());
}
