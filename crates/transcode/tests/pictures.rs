//! Whatever the source's pictures do in mid-stream, a gear keeps its size, shape and colour, and misses no picture.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod stage;

use headwater_av::{Frame, Size};
use headwater_media::Colour;
use headwater_router::Gear;
use headwater_segmenter::Profile;
use stage::clip::{Clip, Recipe};
use stage::fields::{self, Delivery};
use stage::gears::{psnr_by_slot, source_frames};
use stage::{Stage, gears};

fn small() -> Vec<Gear> {
    vec![Gear::new(320, 180, 800, "superfast"), Gear::new(160, 90, 300, "superfast")]
}

/// One publisher sends these clips, one after another.
async fn play(clips: &[Clip]) -> Stage {
    let mut stage = Stage::new(Profile::Low, small());
    let worker = stage.worker();
    stage.begin(&clips[0]);
    stage.publish_whole(&clips[0].units).await;
    let mut frames = clips[0].units.len();
    for clip in &clips[1..] {
        stage.go_on(clip, u32::try_from(frames * 100 / 3).unwrap()).await;
        frames += clip.units.len();
    }
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    stage
}

/// Every slot has its picture, in one stretch with one init segment, and the pictures look like the source's.
fn check(stage: &Stage, count: i64, name: &str) {
    assert_eq!(stage.log().counters().0, 0, "a part was dropped");
    let source = source_frames(stage);
    for gear in gears::all(stage) {
        assert!(gear.gaps().is_empty());
        assert!(gear.pictures(4000).iter().map(|picture| picture.slot).eq(0..count), "slots of {}", gear.name);
        let frames: Vec<_> = gear.frames(4000).into_iter().step_by(4).collect();
        for (slot, db) in psnr_by_slot(&frames, &source, gear.size) {
            assert!(db >= 30.0, "slot {slot} of {}: {db} dB", gear.name);
        }
        assert_eq!(i64::try_from(gear.decode_with_ffmpeg(name)).unwrap(), count);
    }
}

const INTERLACED: Recipe = Recipe {
    filter: "setpts=N/60/TB,tinterlace=interleave_top",
    arguments: &["-flags", "+ilme+ildct", "-x264-params", "tff=1"],
    ..Recipe::new(640, 360, 45)
};

#[tokio::test(flavor = "multi_thread")]
async fn size_shape_format_colour_and_interlacing_may_change_in_mid_stream() {
    let first = Recipe::new(640, 360, 45);
    let clips = [
        first.make("mid-1"),
        Recipe { pixel_format: "yuv422p10le", ..Recipe::new(480, 360, 45) }.make("mid-4-3"),
        Recipe { pixel_format: "yuv444p", ..Recipe::new(202, 360, 45) }.make("mid-portrait"),
        Recipe { filter: "setsar=4/3", pixel_format: "yuv420p10le", ..first }.make("mid-wide"),
        INTERLACED.make("mid-interlaced"),
        Recipe { pixel_format: "yuvj420p", ..first }.make("mid-full-range"),
        Recipe {
            filter: "scale=out_color_matrix=bt709",
            arguments: &["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"],
            ..first
        }
        .make("mid-bt709"),
        Recipe::new(1280, 720, 45).make("mid-large"),
        first.make("mid-last"),
    ];
    let stage = play(&clips).await;
    check(&stage, 45 * 9, "mid-stream");
    assert_eq!(stage.metrics.decode_errors.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frame_rate_may_change_in_mid_stream() {
    let at = |rate, frames, name| Recipe { rate: (rate, 1), frames, ..Recipe::new(320, 180, 0) }.make(name);
    let mut stage = Stage::new(Profile::Low, small());
    let worker = stage.worker();
    let clips = [at(30, 60, "rate-first"), at(25, 50, "rate-25"), at(60, 120, "rate-60"), at(30, 60, "rate-last")];
    stage.begin(&clips[0]);
    stage.publish_whole(&clips[0].units).await;
    for (clip, seconds) in clips[1..].iter().zip([2, 4, 6]) {
        stage.go_on(clip, seconds * 1000).await;
    }
    stage.end().await;
    stage.board.wait_for("completed", 1).await;
    worker.stop().await;
    for gear in gears::all(&stage) {
        assert!(gear.gaps().is_empty());
        let slots: Vec<i64> = gear.pictures(4000).iter().map(|picture| picture.slot).collect();
        assert!(slots.iter().copied().eq(0..i64::try_from(slots.len()).unwrap()), "{slots:?}");
        assert!((239..=242).contains(&slots.len()), "{} slots", slots.len());
        assert_eq!(gear.decode_with_ffmpeg("rate-change"), slots.len());
    }
    let (repeated, dropped) = (stage.metrics.pictures_repeated.get(), stage.metrics.pictures_dropped.get());
    // Of 25 pictures in 30 slots 5 a second are repeated, of 60 every other is dropped.
    assert!((8..=12).contains(&repeated) && (57..=63).contains(&dropped), "{repeated} repeated, {dropped} dropped");
    assert_eq!(stage.metrics.decode_errors.get(), 0);
}

/// Test pictures without what is brighter than 70 % of the signal, which HDR keeps as it is in SDR.
macro_rules! dimmed {
    () => {
        "format=yuv420p,lutyuv=y=16+(val-16)*7/10:u=128+(val-128)*7/10:v=128+(val-128)*7/10,\
         setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    };
}

/// The same in HDR with a transfer that FFmpeg calls so.
macro_rules! hdr {
    ($transfer:literal, $name:literal) => {
        Recipe {
            filter: concat!(
                dimmed!(),
                ",zscale=t=linear:npl=203:agamma=0,format=gbrpf32le,zscale=t=",
                $transfer,
                ":p=bt2020:m=bt2020nc:r=tv:npl=203:agamma=0"
            ),
            arguments: &["-color_primaries", "bt2020", "-color_trc", $transfer, "-colorspace", "bt2020nc"],
            pixel_format: "yuv420p10le",
            ..Recipe::new(640, 360, 45)
        }
        .make($name)
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn gears_are_sdr_and_look_like_it_whether_the_source_is_or_becomes_hdr() {
    let sdr = Recipe {
        filter: dimmed!(),
        arguments: &["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709"],
        ..Recipe::new(640, 360, 45)
    };
    let (pq, hlg) = (hdr!("smpte2084", "pq"), hdr!("arib-std-b67", "hlg"));
    for (clips, name) in [
        ([sdr.make("sdr-1"), pq.clone(), sdr.make("sdr-2"), hlg.clone()], "sdr-first"),
        ([pq, sdr.make("sdr-3"), hlg, sdr.make("sdr-4")], "hdr-first"),
    ] {
        let stage = play(&clips).await;
        check(&stage, 180, name);
        for gear in gears::all(&stage) {
            let frames = gear.frames(4000);
            assert!(frames.iter().all(|(_, frame)| frame.colour() == Colour::HD), "{}", gear.name);
            // All four clips show the same, each with the noise of its own encoders.
            let before: Vec<_> = frames.iter().map(|(slot, frame)| (slot + 45, frame.clone())).collect();
            for (slot, db) in psnr_by_slot(&frames[45..], &before, gear.size) {
                assert!(db >= 27.0, "{name}, slot {slot} of {}: {db} dB", gear.name);
            }
        }
    }
}

/// Greatest mean difference between a row of luma and the next.
fn combing(frame: &Frame) -> usize {
    let plane = frame.plane(0).unwrap();
    let rows: Vec<&[u8]> = plane.rows().collect();
    let difference = |pair: &[&[u8]]| -> usize {
        pair[0].iter().zip(pair[1]).map(|(a, b)| usize::from(a.abs_diff(*b))).sum::<usize>() / plane.width
    };
    rows.windows(2).map(difference).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn interlaced_sources_are_shown_without_combs_and_without_losing_a_picture() {
    for b_frames in [0, 2] {
        let name = format!("interlaced-{b_frames}");
        // A bar that moves sideways: all rows are alike in a whole picture.
        let bar = "geq=lum='if(lt(mod(X-N*6,80),40),235,16)':cb=128:cr=128,setpts=N/60/TB,tinterlace=interleave_top";
        let clip = Recipe { filter: bar, b_frames, size: (320, 180), frames: 75, ..INTERLACED }.make(&name);
        assert!(clip.config.may_have_fields());
        let stage = play(&[clip]).await;
        check(&stage, 75, &name);
        for (slot, frame) in gears::all(&stage)[0].frames(4000) {
            assert!(combing(&frame) < 12, "slot {slot}: {}", combing(&frame));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_publishers_picture_of_another_shape_is_not_distorted() {
    let white = |width, height| Recipe { filter: "geq=lum=235:cb=128:cr=128", ..Recipe::new(width, height, 45) };
    let stage = play(&[white(640, 360).make("white-wide"), white(480, 360).make("white-narrow")]).await;
    check(&stage, 90, "white");
    let gear = &gears::all(&stage)[0];
    assert_eq!(gear.size, Size { width: 320, height: 180 });
    let (_, frame) = gear.frames(4000).pop().unwrap();
    let plane = frame.plane(0).unwrap();
    let row = plane.rows().nth(90).unwrap();
    let bright: Vec<usize> = (0..320).filter(|x| row[*x] > 200).collect();
    assert!((38..=42).contains(&bright[0]) && (277..=281).contains(bright.last().unwrap()), "{bright:?}");
    assert!(row[..36].iter().chain(&row[284..]).all(|sample| *sample < 22));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_coded_one_by_one_become_whole_pictures() {
    // Fields that come singly are twice as many samples as slots; which of them a picture is laid on, rounding decides.
    for (delivery, off_max) in [(Delivery::Pairs, 0), (Delivery::Singly, 4)] {
        let clip = fields::clip(100, delivery);
        let mut stage = Stage::new(Profile::Low, vec![Gear::new(128, 64, 300, "superfast")]);
        stage.play(&clip).await;
        assert_eq!(stage.metrics.decode_errors.get(), 0, "{delivery:?}");
        let slot_ticks = stage.log().session().grid.slot_ticks;
        let gear = &gears::all(&stage)[0];
        let slots: Vec<i64> = gear.pictures(slot_ticks).iter().map(|picture| picture.slot).collect();
        assert!(slots.iter().copied().eq(0..i64::try_from(slots.len()).unwrap()), "{delivery:?}: {slots:?}");
        let (repeated, dropped) = (stage.metrics.pictures_repeated.get(), stage.metrics.pictures_dropped.get());
        assert!((100..=102).contains(&slots.len()), "{delivery:?}: {} slots", slots.len());
        assert!(repeated.max(dropped) <= off_max, "{delivery:?}: {repeated} repeated, {dropped} dropped");
        for (slot, frame) in gear.frames(slot_ticks) {
            assert!(combing(&frame) < 12, "slot {slot}: {}", combing(&frame));
        }
    }
}
