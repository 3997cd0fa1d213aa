//! How jobs are taken, given back and taken over.

mod stage;

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{RenditionName, SessionId, Turn};
use headwater_router::{Gear, Job, Queue, ReadError};
use headwater_segmenter::Profile;
use headwater_transcode::Fault;
use stage::clip::{Clip, Recipe};
use stage::{Stage, gears};

fn gear() -> Gear {
    Gear::new(320, 180, 400, "superfast")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_goes_on_where_the_first_stopped_with_an_idr() {
    let clip = Recipe::new(320, 180, 240).make("takeover");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    let first = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units[..170]).await;
    // Two segments of 10 parts and 6 parts of the third.
    stage.wait_for_parts(26).await;
    first.stop().await;
    assert_eq!(stage.board.history(), ["taken", "released"]);
    let second = stage.worker();
    stage.publish(&clip.units[170..]).await;
    stage.wait_for_parts(30).await;
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    second.stop().await;
    let gear = &gears::all(&stage)[0];
    assert!(gear.gaps().is_empty());
    assert_eq!(gear.decode_with_ffmpeg("takeover"), 240);
    let idrs: Vec<i64> = gear.pictures(4000).iter().filter(|picture| picture.idr).map(|picture| picture.slot).collect();
    let resumed = idrs.iter().find(|slot| **slot % 60 != 0).expect("an IDR where the second worker begins");
    assert_eq!(resumed % 6, 0, "it begins a part");
    assert!(*resumed >= 26 * 6);
    assert_eq!(idrs.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_takes_over_opens_its_encoders_as_the_first_one_did() {
    let clip = Recipe::new(320, 180, 120).make("takeover-colour-1");
    let bt709 = &["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"];
    let other = Recipe { arguments: bt709, ..Recipe::new(320, 180, 120) }.make("takeover-colour-2");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    let first = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units).await;
    // The next segment begins with the other colour; the first worker makes one part of it, the second one the rest.
    let (head, tail) = other.units.split_at(9);
    stage.go_on(&Clip { units: head.to_vec(), ..other.clone() }, 4000).await;
    stage.wait_for_parts(21).await;
    first.stop().await;
    stage.go_on(&Clip { units: tail.to_vec(), ..other.clone() }, 4000).await;
    let second = stage.worker();
    stage.wait_for_parts(30).await;
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    second.stop().await;
    // Among what is checked of all gears: all parts have one init segment.
    let gear = &gears::all(&stage)[0];
    assert!(gear.gaps().is_empty());
    assert_eq!(gear.config().colour().unwrap().matrix, 6);
    assert_eq!(stage.samples.last().unwrap().config.colour().unwrap().matrix, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gear_without_an_encoder_does_not_stop_the_others() {
    let clip = Recipe::new(320, 180, 90).make("bad-gear");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    let worker = stage.worker();
    let odd = Gear::new(160, 90, 100, "no-such-preset");
    stage.gears.insert(0, odd);
    stage.begin(&clip);
    stage.publish(&clip.units).await;
    stage.pass(Duration::from_secs(2)).await;
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    stage.gears.remove(0);
    assert_eq!(stage.metrics.encoder_errors.get(), 1);
    assert_eq!(stage.board.history(), ["taken", "completed"]);
    assert!(stage.log().state().borrow().renditions[0].init.is_none(), "it is not listed");
    assert!(stage.log().state().borrow().renditions[1].init.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_without_any_encoder_is_off_and_tried_again_until_nobody_watches() {
    let clip = Recipe::new(320, 180, 90).make("no-encoder");
    let bad = Gear { profile: "no-such-profile".into(), ..gear() };
    let mut stage = Stage::new(Profile::Low, vec![bad]);
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish(&clip.units).await;
    stage.board.wait_for("released", 4).await;
    assert!(stage.log().state().borrow().renditions[0].off.is_some());
    assert!(stage.log().cool(stage.log().last_watched()));
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    assert!(stage.metrics.jobs_failed.get() >= 4);
    assert_eq!(stage.metrics.jobs.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_session_that_is_not_there_is_taken_off_the_board() {
    let clip = Recipe::new(320, 180, 60).make("stale-job");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    stage.begin(&clip);
    stage.publish(&clip.units).await;
    let stream = stage.log().stream().clone();
    // The session's own job is in front of it.
    let (own, _) = stage.board.take().await;
    stage.board.complete(own).await;
    for (stream, session) in
        [(stream, SessionId::from_random([9; 10])), ("live/other".parse().unwrap(), stage.log().session().id)]
    {
        let (gears, audio) = ([gear()].into(), [].into());
        stage.board.post(Job { stream, session, epoch: stage.epoch, waking: 1, gears, standby: None, audio }).await;
    }
    let worker = stage.worker();
    stage.board.wait_for("completed", 3).await;
    worker.stop().await;
    assert_eq!(stage.board.waiting().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_does_not_put_half_a_part() {
    let clip = Recipe::new(320, 180, 100).make("half-part");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units).await;
    stage.wait_for_parts(16).await;
    worker.stop().await;
    let mut reader = stage.log().read_parts(&gear().name).unwrap();
    let mut parts = 0;
    while let Ok(Some(item)) = reader.try_next() {
        parts += usize::from(matches!(item, headwater_router::FeedItem::Part(_)));
    }
    assert_eq!(parts, 16, "100 frames are 16 parts and a piece of one");
    assert_eq!(stage.board.waiting().await, 1, "the job waits for another worker");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_panicked_is_done_again_from_its_first_missing_part() {
    let clip = Recipe::new(320, 180, 240).make("panic");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    let mut log = stage.troubled();
    log.panic_at = Some(15);
    let worker = stage.worker_with(Arc::new(log));
    stage.begin(&clip);
    stage.publish_whole(&clip.units[..150]).await;
    stage.board.wait_for("released", 1).await;
    stage.wait_for_parts(24).await;
    stage.publish(&clip.units[150..]).await;
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    assert_eq!(stage.board.history(), ["taken", "released", "taken", "completed"]);
    assert_eq!(stage.metrics.jobs_failed.get(), 1);
    let gear = &gears::all(&stage)[0];
    assert!(gear.gaps().is_empty());
    assert_eq!(gear.decode_with_ffmpeg("panic"), 240);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_too_slow_goes_on_at_a_later_segment() {
    let clip = Recipe::new(320, 180, 480).make("lag");
    let mut stage = Stage::with_ring(Profile::Low, vec![gear()], Duration::from_secs(1));
    let log = Arc::new(stage.troubled());
    let worker = stage.worker_with(log.clone());
    stage.begin(&clip);
    stage.publish_whole(&clip.units[..60]).await;
    log.gate.send_replace(false);
    stage.publish(&clip.units[60..390]).await;
    log.gate.send_replace(true);
    stage.board.wait_for("taken", 1).await;
    // It has caught up when the first parts of the segment at slot 360 are there: gaps count as parts.
    stage.wait_for_parts(63).await;
    for (units, parts) in [(390..420, 69), (420..450, 74), (450..480, 79)] {
        stage.publish(&clip.units[units]).await;
        stage.wait_for_parts(parts).await;
    }
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    // On a busy machine it may have been too slow before the log did not take its parts.
    let lagged = stage.metrics.lagged.get();
    assert!(lagged >= 1);
    let gear = &gears::all(&stage)[0];
    let gaps = gear.gaps();
    assert!(gaps.len() > 20, "{gaps:?}");
    assert!(lagged > 1 || gaps.windows(2).all(|pair| pair[1] == pair[0] + 1), "{gaps:?}");
    // The last gap ends its segment: what follows begins with an IDR.
    assert!(stage.ends[gaps[gaps.len() - 1]].last);
    let shown = gear.decode_with_ffmpeg("lag");
    assert_eq!(shown, gear.pictures(4000).len());
}

/// Plays 8 s of which the job is lost to a fault when 3 s have been published; what the gear looks like then.
async fn lost_to(fault: Fault, name: &str) {
    let clip = Recipe::new(320, 180, 240).make(name);
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    stage.hang = Some(headwater_transcode::HANG);
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units[..90]).await;
    stage.wait_for_parts(14).await;
    stage.faults.inject(fault);
    stage.publish(&clip.units[90..100]).await;
    stage.board.wait_for("released", 1).await;
    stage.publish(&clip.units[100..]).await;
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    assert_eq!(stage.board.history(), ["taken", "released", "taken", "completed"]);
    assert_eq!(stage.metrics.jobs_failed.get(), 1);
    let gear = &gears::all(&stage)[0];
    assert!(gear.gaps().is_empty());
    assert_eq!(gear.decode_with_ffmpeg(name), 240);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gear_that_panics_loses_the_job_and_nothing_is_missing() {
    lost_to(Fault::Panic, "fault-panic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_hangs_loses_the_job_and_nothing_is_missing() {
    lost_to(Fault::Hang, "fault-hang").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_reads_no_more_loses_the_job_and_nothing_is_missing() {
    lost_to(Fault::Stop, "fault-stop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_watches_any_more_is_over_and_its_gears_begin_anew() {
    let clip = Recipe::new(320, 180, 240).make("cold");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units[..90]).await;
    stage.wait_for_parts(14).await;
    let mut old = stage.log().read_parts(&gear().name).unwrap();
    assert!(stage.log().cool(stage.log().last_watched()));
    stage.board.wait_for("completed", 1).await;
    assert_eq!(old.next().await.unwrap_err(), ReadError::Cold);
    assert!(!stage.log().state().borrow().renditions[0].begun);
    stage.publish(&clip.units[90..150]).await;
    stage.post().await;
    // From the newest cut in the log on: slot 120.
    stage.wait_for_parts(4).await;
    assert!(stage.log().state().borrow().renditions[0].begun);
    stage.publish(&clip.units[150..]).await;
    stage.end().await;
    stage.board.wait_for("completed", 2).await;
    worker.stop().await;
    let gear = &gears::all(&stage)[0];
    assert!(gear.gaps().is_empty());
    let pictures = gear.pictures(4000);
    assert_eq!((pictures[0].slot, pictures.len()), (120, 120));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gear_that_is_off_leaves_gaps_and_comes_back_with_a_segment() {
    let clip = Recipe::new(320, 180, 300).make("switch");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units[..80]).await;
    stage.wait_for_parts(13).await;
    let turn = Turn { epoch: stage.epoch, counter: 1 };
    stage.log().switch(&gear().name, turn, Some("a test wants it".into()));
    stage.publish(&clip.units[80..150]).await;
    assert!(stage.log().state().borrow().renditions[0].off.is_some());
    stage.log().switch(&gear().name, turn, None);
    stage.publish(&clip.units[150..]).await;
    assert!(stage.log().state().borrow().renditions[0].off.is_none());
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    let gear = &gears::all(&stage)[0];
    // The parts of slots 78 to 179.
    assert_eq!(gear.gaps(), (13..30).collect::<Vec<_>>());
    let back = gear.pictures(4000).into_iter().find(|picture| picture.slot >= 78).unwrap();
    assert_eq!((back.slot, back.idr), (180, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gear_in_the_sources_place_begins_where_the_source_goes_off() {
    // One keyframe in 10 s: the source goes off at the first hard cut. Its pictures come out of the decoder late.
    let clip = Recipe { gop: 1000, b_frames: 2, ..Recipe::new(320, 180, 300) }.make("standby");
    let standby = Gear::new(320, 180, 500, "superfast");
    let small = Gear::new(160, 90, 150, "superfast");
    let mut stage = Stage::new(Profile::Low, vec![small]);
    stage.standby = Some(standby.clone());
    stage.play(&clip).await;
    let off = stage.cuts.iter().find(|cut| cut.off_reason(&RenditionName::source()).is_some()).unwrap();
    let made = gears::of(&stage, &standby);
    assert_eq!(made.pictures(4000)[0].slot, off.start.ticks / 4000);
    assert_eq!(stage.board.history(), ["taken", "completed"], "one job, one decode");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gear_that_was_off_when_its_job_was_lost_comes_back_with_the_next_try() {
    let clip = Recipe::new(320, 180, 300).make("lost-off");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    stage.hang = Some(headwater_transcode::HANG);
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units[..80]).await;
    stage.wait_for_parts(13).await;
    stage.log().switch(&gear().name, Turn { epoch: stage.epoch, counter: 1 }, Some("a test wants it".into()));
    stage.faults.inject(Fault::Stop);
    stage.publish(&clip.units[80..90]).await;
    stage.board.wait_for("taken", 2).await;
    stage.wait_until_a_job_runs().await;
    stage.publish(&clip.units[90..]).await;
    assert!(stage.log().state().borrow().renditions[0].off.is_none());
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    let back = gears::all(&stage)[0].pictures(4000).into_iter().find(|picture| picture.slot >= 78).unwrap();
    assert!(back.idr && back.slot <= 180, "{}", back.slot);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_again_and_again_is_off_and_comes_back_when_it_works() {
    let clip = Recipe::new(320, 180, 300).make("fails-again");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units[..90]).await;
    stage.wait_for_parts(14).await;
    for lost in 1..=5 {
        let from = 84 + 6 * lost;
        stage.faults.inject(Fault::Panic);
        stage.publish(&clip.units[from..from + 6]).await;
        stage.board.wait_for("released", lost).await;
    }
    assert!(stage.log().state().borrow().renditions[0].off.is_some());
    stage.board.wait_for("taken", 6).await;
    stage.wait_until_a_job_runs().await;
    stage.publish(&clip.units[120..]).await;
    assert!(stage.log().state().borrow().renditions[0].off.is_none());
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    assert_eq!(stage.metrics.jobs_failed.get(), 5);
    let back = gears::all(&stage)[0].pictures(4000).into_iter().find(|picture| picture.slot >= 90).unwrap();
    assert!(back.idr && back.slot % 60 == 0, "{}", back.slot);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gear_that_is_woken_within_the_segment_in_which_it_stopped_begins_with_the_next() {
    let clip = Recipe::new(320, 180, 240).make("same-segment");
    let mut stage = Stage::new(Profile::Low, vec![gear()]);
    let worker = stage.worker();
    stage.begin(&clip);
    stage.publish_whole(&clip.units[..90]).await;
    stage.wait_for_parts(14).await;
    assert!(stage.log().cool(stage.log().last_watched()));
    stage.board.wait_for("completed", 1).await;
    stage.post().await;
    stage.wait_until_a_job_runs().await;
    stage.publish(&clip.units[90..]).await;
    stage.end().await;
    stage.board.wait_for("completed", 2).await;
    worker.stop().await;
    // Slots 60 to 119 were served from another encoder, under the same names.
    assert!(gears::all(&stage)[0].pictures(4000)[0].slot >= 120);
}
