//! Decoder, scaler and encoder together, on synthetic pictures.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::sync::{Arc, LazyLock};

use headwater_av::*;
use headwater_media::{AvcConfig, Colour, FrameRate, Timescale, VideoConfig, VideoTiming};
use proptest::prelude::*;

const SLOT: i64 = 4000;
const HD: Size = Size { width: 640, height: 360 };
const SMALL: Size = Size { width: 320, height: 180 };

/// A moving gradient with a bright square: something to predict and something to see.
fn picture(size: Size, number: i64) -> Frame {
    let number = usize::try_from(number).unwrap();
    let mut frame = Frame::solid(size, 16, [128, 128]).unwrap();
    let byte = |value: usize| u8::try_from(16 + value % 200).unwrap();
    frame
        .fill_plane(0, |x, y| {
            let square = (x + 1000 - number * 2 % 500) % 500 < 40 && y % 120 < 40;
            if square { 235 } else { byte((x + number) / 3 + y / 2) }
        })
        .unwrap();
    frame.fill_plane(1, |x, y| byte(x / 4 + y / 4 + number / 2)).unwrap();
    frame.fill_plane(2, |x, _| byte(x / 8 + number / 4)).unwrap();
    frame
}

fn pictures(encoder: &mut VideoEncoder) -> Vec<CodedPicture> {
    std::iter::from_fn(|| encoder.receive().unwrap()).collect()
}

/// Encodes `count` synthetic pictures, scaled from HD, with an IDR at every multiple of `gop`.
fn encode(config: &VideoEncoderConfig, count: i64, gop: i64) -> (VideoEncoder, Vec<CodedPicture>) {
    let mut encoder = VideoEncoder::new(config).unwrap();
    let mut scaler = Scaler::new(config.size);
    let mut out = Vec::new();
    for number in 0..count {
        let kind = if number % gop == 0 { PictureKind::Idr } else { PictureKind::Auto };
        let frame = scaler.scale(&picture(HD, number)).unwrap();
        encoder.send(&frame, number * SLOT, kind).unwrap();
        out.extend(pictures(&mut encoder));
    }
    encoder.finish().unwrap();
    out.extend(pictures(&mut encoder));
    (encoder, out)
}

fn decoder(encoder: &VideoEncoder) -> VideoDecoder {
    VideoDecoder::new(encoder.config(), Timescale::VIDEO).unwrap()
}

fn frames(decoder: &mut VideoDecoder) -> Vec<Frame> {
    std::iter::from_fn(|| decoder.receive().unwrap()).collect()
}

fn unit_types(mut data: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        types.push(rest[0] & 0x1F);
        data = &rest[length..];
    }
    types
}

/// Peak signal-to-noise ratio of the luma, dB.
fn psnr(a: &Frame, b: &Frame) -> f64 {
    let (a, b) = (a.plane(0).unwrap(), b.plane(0).unwrap());
    let squares: u64 =
        a.rows().zip(b.rows()).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    let samples = f64::from(u32::try_from(a.width * a.height).unwrap());
    let squares = f64::from(u32::try_from(squares.max(1)).unwrap());
    10.0 * (255.0 * 255.0 * samples / squares).log10()
}

fn live(size: Size) -> VideoEncoderConfig {
    VideoEncoderConfig::live(size, FrameRate::FPS_30, 1_000_000)
}

#[test]
fn idrs_are_exactly_where_they_are_forced_in_every_size() {
    for size in [HD, SMALL] {
        let (encoder, out) = encode(&live(size), 300, 60);
        assert_eq!(out.len(), 300);
        let idrs: Vec<i64> = out.iter().filter(|picture| picture.idr).map(|picture| picture.pts / SLOT).collect();
        assert_eq!(idrs, [0, 60, 120, 180, 240]);
        for (picture, number) in out.iter().zip(0..) {
            assert_eq!((picture.pts, picture.dts), (number * SLOT, number * SLOT));
            // Slices and nothing else: no parameter sets, SEI, delimiters or filler.
            let wanted = if picture.idr { 5 } else { 1 };
            assert!(unit_types(&picture.data).iter().all(|kind| *kind == wanted), "{:?}", unit_types(&picture.data));
        }
        let avc = avc(&encoder);
        assert_eq!((avc.sps.len(), avc.pps.len()), (1, 1));
    }
}

#[test]
fn the_same_frames_give_the_same_bytes() {
    let first = encode(&live(SMALL), 100, 60);
    let second = encode(&live(SMALL), 100, 60);
    assert!(first.1 == second.1);
    assert_eq!(first.0.config(), second.0.config());
}

#[test]
fn each_picture_comes_back_at_once_with_its_time_and_looks_right() {
    for size in [HD, SMALL] {
        let (encoder, out) = encode(&live(size), 100, 60);
        let mut decoder = decoder(&encoder);
        let mut scaler = Scaler::new(size);
        for (picture_in, number) in out.iter().zip(0..) {
            decoder.send(&picture_in.data, picture_in.pts, picture_in.dts).unwrap();
            let frames = frames(&mut decoder);
            assert_eq!(frames.len(), 1);
            assert_eq!(frames[0].pts(), Some(number * SLOT));
            assert_eq!(frames[0].is_intra(), picture_in.idr);
            assert!(!frames[0].is_damaged());
            let source = scaler.scale(&picture(HD, number)).unwrap();
            let psnr = psnr(&source, &frames[0]);
            assert!(psnr >= 30.0, "frame {number} of {size}: {psnr} dB");
        }
    }
}

#[test]
fn the_configuration_tells_size_level_timing_colour_and_that_nothing_is_reordered() {
    for (width, height, rate, level) in [
        (1280, 720, FrameRate::FPS_30, 31),
        (1280, 720, FrameRate::snap(60.0).unwrap(), 32),
        (640, 360, FrameRate::FPS_30, 30),
        (406, 720, FrameRate::snap(29.97).unwrap(), 30),
    ] {
        let size = Size { width, height };
        let encoder = VideoEncoder::new(&VideoEncoderConfig::live(size, rate, 730_000)).unwrap();
        let avc = avc(&encoder);
        let sps = &avc.parsed;
        assert_eq!((sps.width, sps.height, sps.profile, sps.level), (width, height, 100, level));
        assert_eq!((sps.reorder_frames, sps.sample_aspect), (Some(0), (1, 1)));
        let colour = Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false };
        assert_eq!(sps.colour, Some(colour));
        let (frames, seconds) = rate.fraction();
        assert_eq!(sps.timing, Some(VideoTiming { units_in_tick: seconds, time_scale: 2 * frames, fixed: true }));
        assert_eq!(AvcConfig::parse(&encoder.config().record()).unwrap(), avc);
    }
}

#[test]
fn bad_settings_are_an_error_that_names_them() {
    let preset = VideoEncoderConfig { preset: "fastest".to_owned(), ..live(SMALL) };
    let error = VideoEncoder::new(&preset).unwrap_err();
    assert!(matches!(&error, Error::UnknownSetting { setting: "preset", .. }), "{error}");
    let odd = live(Size { width: 853, height: 480 });
    let error = VideoEncoder::new(&odd).unwrap_err();
    assert!(matches!(&error, Error::Settings { .. }) && error.to_string().contains("853x480"), "{error}");
}

#[test]
fn a_frame_of_another_size_is_refused() {
    let mut encoder = VideoEncoder::new(&live(SMALL)).unwrap();
    let error = encoder.send(&picture(HD, 0), 0, PictureKind::Auto).unwrap_err();
    assert!(matches!(error, Error::WrongFrame { found: HD, expected: SMALL, .. }), "{error}");
}

#[test]
fn this_machine_has_libx264() {
    assert_eq!(probe(), Ok(()));
}

#[test]
fn damaged_data_is_an_error_and_the_next_idr_is_whole_again() {
    let (encoder, out) = encode(&live(SMALL), 90, 30);
    let mut decoder = decoder(&encoder);
    let mut errors = 0;
    let mut shown = Vec::new();
    for (picture, number) in out.iter().zip(0i64..) {
        let mut data = picture.data.to_vec();
        // Of the second GOP nothing arrives whole: not even the lengths of the NAL units are right.
        if (30..60).contains(&number) {
            for (position, byte) in data.iter_mut().enumerate() {
                *byte ^= u8::try_from((position * 7 + 3) % 251).unwrap();
            }
        }
        errors += usize::from(decoder.send(&data, picture.pts, picture.dts).is_err());
        while let Some(frame) = decoder.receive().unwrap_or_default() {
            shown.push((frame.pts().unwrap() / SLOT, frame.is_damaged()));
        }
    }
    assert!(errors > 0);
    assert!((0..30).all(|number| shown.contains(&(number, false))));
    assert!((60..90).all(|number| shown.contains(&(number, false))));
    assert!(decoder.send(&[], 0, 0).is_err());
}

#[test]
fn after_a_flush_decoding_starts_at_the_next_idr() {
    let (encoder, out) = encode(&live(SMALL), 31, 30);
    let mut decoder = decoder(&encoder);
    for picture in &out[..20] {
        decoder.send(&picture.data, picture.pts, picture.dts).unwrap();
        assert_eq!(frames(&mut decoder).len(), 1);
    }
    decoder.finish().unwrap();
    decoder.flush();
    decoder.send(&out[30].data, out[30].pts, out[30].dts).unwrap();
    assert_eq!(frames(&mut decoder)[0].pts(), Some(30 * SLOT));
}

#[test]
fn frames_of_a_source_with_b_frames_come_out_in_order_with_their_own_times() {
    let config = VideoEncoderConfig { b_frames: 2, tune: String::new(), ..live(SMALL) };
    let (encoder, out) = encode(&config, 100, 60);
    assert!(out.windows(2).any(|two| two[1].pts < two[0].pts), "nothing is reordered");
    assert!(out.windows(2).all(|two| two[0].dts < two[1].dts));
    assert!(out.iter().all(|picture| picture.dts <= picture.pts));
    let mut decoder = decoder(&encoder);
    let mut shown = Vec::new();
    for picture in &out {
        decoder.send(&picture.data, picture.pts, picture.dts).unwrap();
        shown.extend(frames(&mut decoder));
    }
    let held = out.len() - shown.len();
    assert!(held <= 2, "{held} frames held back");
    decoder.finish().unwrap();
    shown.extend(frames(&mut decoder));
    let times: Vec<i64> = shown.iter().map(|frame| frame.pts().unwrap() / SLOT).collect();
    assert_eq!(times, (0..100).collect::<Vec<_>>());
}

#[test]
fn nothing_is_written_to_stderr() {
    // This program again, for the tests that make libav complain. Threads would print their own names.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["damaged_data", "bad_settings", "random_damage", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 passed"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

fn avc(encoder: &VideoEncoder) -> AvcConfig {
    match &**encoder.config() {
        VideoConfig::Avc(avc) => avc.clone(),
        other => panic!("libx264 makes H.264: {other:?}"),
    }
}

/// A short stream, encoded once for all cases.
static STREAM: LazyLock<(Arc<VideoConfig>, Vec<CodedPicture>)> = LazyLock::new(|| {
    let (encoder, out) = encode(&live(SMALL), 12, 4);
    (Arc::clone(encoder.config()), out)
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is damaged, cut off or left out: a whole IDR afterwards decodes.
    #[test]
    fn random_damage_never_outlasts_the_next_idr(
        damage in proptest::collection::vec((0usize..11, 0usize..4000, any::<u8>(), 0usize..4000), 0..40),
    ) {
        let (config, pictures) = &*STREAM;
        let mut pictures = pictures.clone();
        let idr = pictures.iter().find(|picture| picture.idr).unwrap().data.clone();
        for (index, position, value, length) in damage {
            let mut data = pictures[index].data.to_vec();
            if let Some(byte) = data.get_mut(position) {
                *byte = value;
            }
            data.truncate(length.max(100));
            pictures[index].data = data.into();
        }
        let mut decoder = VideoDecoder::new(config, Timescale::VIDEO).unwrap();
        for picture in &pictures {
            let _ = decoder.send(&picture.data, picture.pts, picture.dts);
            while decoder.receive().unwrap_or_default().is_some() {}
        }
        decoder.send(&idr, 1_000_000, 1_000_000).unwrap();
        let last = frames(&mut decoder).pop().unwrap();
        prop_assert_eq!((last.pts(), last.is_damaged()), (Some(1_000_000), false));
    }
}

/// A record with the parameter sets of small pictures and, behind them, those of large ones: the first ones count.
#[test]
fn pictures_larger_than_the_configuration_says_are_not_decoded() {
    let (small, _) = encode(&live(Size { width: 64, height: 36 }), 1, 60);
    let (large, out) = encode(&live(HD), 1, 60);
    let with_sets = |config: &VideoConfig| {
        let large = avc(&large);
        let sets = large.sps.iter().chain(&large.pps);
        let sets = sets.flat_map(|set| [&u32::try_from(set.len()).unwrap().to_be_bytes()[..], set].concat());
        let unit: Vec<u8> = sets.chain(out[0].data.iter().copied()).collect();
        let mut decoder = VideoDecoder::new(config, Timescale::VIDEO).unwrap();
        let sent = decoder.send(&unit, 0, 0);
        (sent.is_err(), std::iter::from_fn(|| decoder.receive().ok().flatten()).count())
    };
    assert_eq!(with_sets(large.config()), (false, 1));
    assert_eq!(with_sets(small.config()), (true, 0));
}
