//! Posters: when they are made, and of what.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod stage;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_media::{AccessUnit, Clock};
use headwater_router::{Gear, Poster};
use headwater_segmenter::Profile;
use stage::Stage;
use stage::clip::Recipe;

fn stage() -> Stage {
    Stage::new(Profile::Low, vec![Gear::new(160, 90, 100, "ultrafast")])
}

/// Asks for the stream's poster, and waits for what comes of it.
async fn ask(stage: &Stage) -> Arc<Poster> {
    let mut newest = stage.log().poster();
    newest.borrow_and_update();
    stage.posters.want(stage.log());
    newest.changed().await.unwrap();
    newest.borrow().clone().unwrap()
}

/// Width and height from the frame header of a baseline JPEG.
fn size(jpeg: &[u8]) -> (u16, u16) {
    let at = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    let number = |at: usize| u16::from_be_bytes([jpeg[at], jpeg[at + 1]]);
    (number(at + 7), number(at + 5))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poster_is_the_newest_idr_made_small() {
    let clip = Recipe::new(960, 540, 70).make("poster");
    let mut stage = stage();
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish(&clip.units).await;
    let poster = ask(&stage).await;
    assert_eq!(poster.slot.map(|slot| slot.0), Some(60));
    assert_eq!(size(poster.jpeg.as_ref().unwrap()), (640, 360));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posters_are_made_only_when_they_are_asked_for_and_too_old() {
    let clip = Recipe::new(320, 180, 140).make("poster-due");
    let mut stage = stage();
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish(&clip.units[..50]).await;
    assert!(stage.posters.is_due(stage.log(), stage.clock.now()));
    assert_eq!(stage.metrics.posters.get(), 0);
    let first = ask(&stage).await;
    assert_eq!(stage.metrics.posters.get(), 1);
    stage.publish(&clip.units[50..110]).await;
    assert!(!stage.posters.is_due(stage.log(), stage.clock.now()), "it is two seconds old");
    stage.clock.advance(Duration::from_secs(4));
    assert!(stage.posters.is_due(stage.log(), stage.clock.now()));
    let second = ask(&stage).await;
    assert_ne!(first.jpeg, second.jpeg);
    // A publisher that sends no keyframe for so long: the picture stays what it was.
    stage.clock.advance(Duration::from_secs(5));
    let third = ask(&stage).await;
    assert_eq!((&third.jpeg, third.slot), (&second.jpeg, second.slot));
    assert!(third.looked > second.looked);
    assert_eq!(stage.metrics.posters.get(), 2);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_does_not_decode_is_passed_over() {
    let clip = Recipe::new(320, 180, 140).make("poster-damaged");
    let mut stage = stage();
    let worker = stage.worker();
    stage.begin(&clip);
    let broken = AccessUnit { data: Bytes::from_static(b"\0\0\0\x06\x65junk!"), ..clip.units[0].clone() };
    stage.publish(&[broken]).await;
    stage.publish(&clip.units[1..50]).await;
    let none = ask(&stage).await;
    assert_eq!((none.failures, &none.jpeg), (1, &None));
    // The same picture is not tried again.
    stage.clock.advance(Duration::from_secs(5));
    assert_eq!(ask(&stage).await.failures, 1);
    stage.publish(&clip.units[50..110]).await;
    stage.clock.advance(Duration::from_secs(5));
    let poster = ask(&stage).await;
    assert_eq!((poster.failures, poster.jpeg.is_some()), (1, true));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_many_ask_for_waits_in_one_place() {
    let clip = Recipe::new(320, 180, 50).make("poster-many");
    let mut stage = stage();
    stage.begin(&clip);
    stage.publish(&clip.units).await;
    (0..100).for_each(|_| stage.posters.want(stage.log()));
    let worker = stage.worker();
    let mut newest = stage.log().poster();
    newest.wait_for(Option::is_some).await.unwrap();
    worker.stop().await;
    assert_eq!(stage.metrics.posters.get(), 1);
}
