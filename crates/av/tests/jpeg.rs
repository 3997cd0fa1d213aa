//! JPEGs of pictures, decoded by FFmpeg's command-line tool.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::io::Write;
use std::process::{Command, Stdio};

use headwater_av::*;
use headwater_media::{Colour, FrameRate, Timescale};

const SIZE: Size = Size { width: 64, height: 48 };

/// A picture of one colour through our encoder and decoder, so that it says which matrix it has.
fn coded(matrix: u8, samples: [u8; 3]) -> Frame {
    let colour = Colour { primaries: 1, transfer: 1, matrix, full_range: false };
    let config = VideoEncoderConfig { colour, ..VideoEncoderConfig::live(SIZE, FrameRate::FPS_30, 1_000_000) };
    let mut encoder = VideoEncoder::new(&config).unwrap();
    let frame = Frame::solid(SIZE, samples[0], [samples[1], samples[2]]).unwrap();
    encoder.send(&frame, 0, PictureKind::Idr).unwrap();
    encoder.finish().unwrap();
    let picture = encoder.receive().unwrap().unwrap();
    let mut decoder = VideoDecoder::new(encoder.config(), Timescale::VIDEO).unwrap();
    decoder.send(&picture.data, 0, 0).unwrap();
    decoder.finish().unwrap();
    decoder.receive().unwrap().unwrap()
}

/// Red, green and blue of each pixel.
fn decode(jpeg: &[u8]) -> Vec<[u8; 3]> {
    let mut child = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "jpeg_pipe", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(jpeg).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout.as_chunks().0.to_vec()
}

#[test]
fn colours_are_those_of_the_source_whatever_its_matrix() {
    const BT601: u8 = 6;
    const BT709: u8 = 1;
    const BT2020: u8 = 9;
    const UNKNOWN: u8 = 2;
    for (matrix, samples, wanted) in [
        (BT601, [81, 90, 240], [255, 0, 0]),
        (BT601, [145, 54, 34], [0, 255, 0]),
        (BT709, [63, 102, 240], [255, 0, 0]),
        (BT709, [173, 42, 26], [0, 255, 0]),
        (BT709, [32, 240, 118], [0, 0, 255]),
        (BT2020, [74, 97, 240], [255, 0, 0]),
        // A small picture that does not say is taken for BT.601, as it is everywhere else here.
        (UNKNOWN, [81, 90, 240], [255, 0, 0]),
        (BT709, [235, 128, 128], [255, 255, 255]),
        (BT709, [16, 128, 128], [0, 0, 0]),
    ] {
        let pixels = decode(&jpeg(&coded(matrix, samples), SIZE).unwrap());
        assert_eq!(pixels.len(), 64 * 48);
        let worst = pixels.iter().flatten().zip(wanted.iter().cycle()).map(|(found, wanted)| found.abs_diff(*wanted));
        assert!(worst.clone().max().unwrap() <= 6, "{matrix} {samples:?}: {:?}", pixels[0]);
    }
}

#[test]
fn a_jpeg_begins_with_a_jfif_header_and_has_the_size_that_was_asked_for() {
    let size = Size { width: 32, height: 18 };
    let picture = jpeg(&Frame::solid(SIZE, 100, [128, 128]).unwrap(), size).unwrap();
    assert_eq!((&picture[..4], &picture[6..11]), (&[0xFF, 0xD8, 0xFF, 0xE0][..], &b"JFIF\0"[..]));
    assert_eq!(&picture[picture.len() - 2..], [0xFF, 0xD9]);
    assert!(!picture.windows(4).any(|bytes| bytes == b"Lavc"), "it names the version of libavcodec");
    assert_eq!(decode(&picture).len(), 32 * 18);
}

#[test]
fn the_same_picture_gives_the_same_bytes() {
    let frame = coded(1, [63, 102, 240]);
    assert_eq!(jpeg(&frame, SIZE).unwrap(), jpeg(&frame, SIZE).unwrap());
}

#[test]
fn a_size_that_no_jpeg_can_have_is_an_error() {
    let frame = Frame::solid(SIZE, 100, [128, 128]).unwrap();
    assert!(jpeg(&frame, Size { width: 70_000, height: 2 }).is_err());
}
