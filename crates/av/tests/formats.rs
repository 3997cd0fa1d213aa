//! Sources in pixel formats and sizes that a gear cannot have. FFmpeg's command-line tool makes one red picture of each.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::process::Command;

use bytes::Bytes;
use headwater_av::{Frame, PixelFormat, Scaler, Size, VideoDecoder};
use headwater_media::{AvcConfig, Timescale};

/// One red picture through libx264 and our decoder. The command-line tool converts with BT.601, limited range unless
/// the pixel format says otherwise.
fn red(size: Size, pixel_format: &str) -> Frame {
    let source = format!("color=c=red:s={size}:r=30,format={pixel_format}");
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", &source, "-frames:v", "1", "-c:v", "libx264"])
        .args(["-crf", "5", "-f", "h264", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stream = Bytes::from(output.stdout);
    let config = AvcConfig::parse_annex_b(&stream).unwrap();
    let mut decoder = VideoDecoder::h264(&config, Timescale::VIDEO).unwrap();
    decoder.send(&AvcConfig::access_unit_annex_b(&stream).data, 7, 7).unwrap();
    decoder.finish().unwrap();
    decoder.receive().unwrap().unwrap()
}

/// All samples of the three planes are within 2 of these values.
fn assert_colour(frame: &Frame, colour: [u8; 3], what: &str) {
    for (index, wanted) in colour.into_iter().enumerate() {
        let plane = frame.plane(index).unwrap();
        let worst = plane.rows().flatten().map(|sample| sample.abs_diff(wanted)).max().unwrap();
        assert!(worst <= 2, "{what}: component {index} is off by {worst}");
    }
}

#[test]
fn every_pixel_format_becomes_limited_range_yuv420p_of_the_same_colour() {
    let (source, target) = (Size { width: 320, height: 180 }, Size { width: 214, height: 120 });
    for format in ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "yuv420p10le", "yuv444p10le"] {
        for size in [target, source] {
            let frame = red(source, format);
            let scaled = Scaler::new(size).scale(&frame).unwrap();
            assert_eq!((scaled.size(), scaled.pixel_format(), scaled.pts()), (size, PixelFormat::Yuv420p, Some(7)));
            assert!(!scaled.colour().full_range);
            assert_colour(&scaled, [81, 90, 240], format);
        }
    }
}

#[test]
fn a_grey_source_becomes_yuv420p_without_colour() {
    let size = Size { width: 320, height: 180 };
    let scaled = Scaler::new(Size { width: 160, height: 90 }).scale(&red(size, "gray")).unwrap();
    assert_colour(&scaled, [81, 128, 128], "gray");
}

#[test]
fn odd_sides_and_portrait_sources_are_scaled_with_their_shape() {
    for (width, height, bounds, wanted) in [
        (1919, 1079, (1280, 720), (1280, 720)),
        (853, 480, (640, 360), (640, 360)),
        (405, 720, (360, 640), (360, 640)),
        (405, 720, (1280, 360), (202, 360)),
    ] {
        let (size, bounds) = (Size { width, height }, Size { width: bounds.0, height: bounds.1 });
        let frame = red(size, "yuv444p");
        assert_eq!(frame.size(), size);
        let target = frame.size().fit_within(frame.sample_aspect(), bounds);
        assert_eq!((target.width, target.height), wanted);
        let scaled = Scaler::new(target).scale(&frame).unwrap();
        assert_eq!(scaled.size(), target);
        assert_colour(&scaled, [81, 90, 240], "yuv444p");
    }
}

#[test]
fn one_scaler_follows_a_source_that_changes() {
    let target = Size { width: 160, height: 90 };
    let mut scaler = Scaler::new(target);
    for (width, height, format) in [(320, 180, "yuv420p"), (640, 360, "yuv422p"), (160, 90, "yuv420p")] {
        let scaled = scaler.scale(&red(Size { width, height }, format)).unwrap();
        assert_eq!(scaled.size(), target);
        assert_colour(&scaled, [81, 90, 240], format);
    }
}
