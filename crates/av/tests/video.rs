//! Decoder, scaler and encoder together, on synthetic pictures.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use bytes::Bytes;
use headwater_av::*;
use headwater_media::{FrameRate, Timescale};

const FRAMES: i64 = 300;
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

/// Encodes synthetic pictures, scaled from HD, with an IDR at every multiple of `gop`.
fn encode(config: &VideoEncoderConfig, gop: i64) -> (VideoEncoder, Vec<CodedPicture>) {
    let mut encoder = VideoEncoder::new(config).unwrap();
    let mut scaler = Scaler::new(config.size);
    let mut out = Vec::new();
    for number in 0..FRAMES {
        let kind = if number % gop == 0 { PictureKind::Idr } else { PictureKind::Auto };
        let frame = scaler.scale(&picture(HD, number)).unwrap();
        encoder.send(&frame, number * SLOT, kind).unwrap();
        out.extend(pictures(&mut encoder));
    }
    encoder.finish().unwrap();
    out.extend(pictures(&mut encoder));
    (encoder, out)
}

fn record(encoder: &VideoEncoder) -> Vec<u8> {
    let (sps, pps) = (&encoder.sps()[0], &encoder.pps()[0]);
    let length = |unit: &Bytes| u16::try_from(unit.len()).unwrap().to_be_bytes();
    [&[1, sps[1], sps[2], sps[3], 0xFF, 0xE1][..], &length(sps), sps, &[1], &length(pps), pps].concat()
}

fn decoder(encoder: &VideoEncoder, in_order: bool) -> VideoDecoder {
    let record = record(encoder);
    VideoDecoder::h264(&VideoDecoderConfig { record: &record, timescale: Timescale::VIDEO, in_order }).unwrap()
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
        let (encoder, out) = encode(&live(size), 60);
        assert_eq!(out.len(), 300);
        let idrs: Vec<i64> = out.iter().filter(|picture| picture.idr).map(|picture| picture.pts / SLOT).collect();
        assert_eq!(idrs, [0, 60, 120, 180, 240]);
        for (picture, number) in out.iter().zip(0..) {
            assert_eq!((picture.pts, picture.dts), (number * SLOT, number * SLOT));
            // Slices and nothing else: no parameter sets, SEI, delimiters or filler.
            let wanted = if picture.idr { 5 } else { 1 };
            assert!(unit_types(&picture.data).iter().all(|kind| *kind == wanted), "{:?}", unit_types(&picture.data));
        }
        assert_eq!((encoder.sps().len(), encoder.pps().len()), (1, 1));
    }
}

#[test]
fn the_same_frames_give_the_same_bytes() {
    let first = encode(&live(SMALL), 60);
    let second = encode(&live(SMALL), 60);
    assert!(first.1 == second.1);
    assert_eq!(first.0.sps(), second.0.sps());
}

#[test]
fn each_picture_comes_back_at_once_with_its_time_and_looks_right() {
    for size in [HD, SMALL] {
        let (encoder, out) = encode(&live(size), 60);
        let mut decoder = decoder(&encoder, true);
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
