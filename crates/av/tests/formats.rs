//! Sources in pixel formats and sizes that a gear cannot have. FFmpeg's command-line tool makes one red picture of each.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::process::Command;

use bytes::Bytes;
use headwater_av::{Frame, PixelFormat, Scaler, Size, VideoDecoder};
use headwater_media::{AvcConfig, Colour, Timescale};

/// One red picture through libx264 and our decoder. The command-line tool converts with BT.601, limited range unless
/// the pixel format says otherwise.
fn red(size: Size, pixel_format: &str) -> Frame {
    red_with(size, pixel_format, "null")
}

fn red_with(size: Size, pixel_format: &str, filter: &str) -> Frame {
    let source = format!("color=c=red:s={size}:r=30,format={pixel_format},{filter}");
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", &source, "-frames:v", "1", "-c:v", "libx264"])
        .args(["-crf", "5", "-f", "h264", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stream = Bytes::from(output.stdout);
    let config = AvcConfig::parse_annex_b(&stream).unwrap().into();
    let mut decoder = VideoDecoder::new(&config, Timescale::VIDEO).unwrap();
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
    for format in ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "yuv420p10le", "yuv422p10le", "yuv444p10le"] {
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

const BT_709: Colour = Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false };
const HD: Size = Size { width: 320, height: 180 };

#[test]
fn pictures_of_another_matrix_are_converted() {
    for format in ["yuv420p", "yuvj420p", "yuv422p10le", "yuv444p"] {
        for size in [HD, Size { width: 640, height: 360 }] {
            let mut scaler = Scaler::new(HD);
            scaler.set_colour(BT_709);
            let scaled = scaler.scale(&red(size, format)).unwrap();
            assert_eq!(scaled.colour(), BT_709);
            assert_colour(&scaled, [63, 102, 240], format);
            // One that has it already stays as it is.
            assert_colour(&scaler.scale(&scaled).unwrap(), [63, 102, 240], format);
        }
    }
}

/// Left and upper side of the red picture, then its width and height; all around it is black.
fn inside_bars(frame: &Frame) -> [usize; 4] {
    let mut corners = Vec::new();
    for (index, black, red) in [(0, 16, 81), (1, 128, 90), (2, 128, 240)] {
        let plane = frame.plane(index).unwrap();
        let near = |sample: u8, wanted: u8| sample.abs_diff(wanted) <= 2;
        let rows: Vec<&[u8]> = plane.rows().collect();
        let top = rows.iter().position(|row| row.iter().any(|sample| near(*sample, red))).unwrap();
        let left = rows[top].iter().position(|sample| near(*sample, red)).unwrap();
        let width = rows[top].iter().filter(|sample| near(**sample, red)).count();
        let height = rows.iter().filter(|row| near(row[left], red)).count();
        for (y, row) in rows.iter().enumerate() {
            for (x, sample) in row.iter().enumerate() {
                let inside = (left..left + width).contains(&x) && (top..top + height).contains(&y);
                assert!(near(*sample, if inside { red } else { black }), "component {index} at {x}, {y}: {sample}");
            }
        }
        let scale = if index == 0 { 1 } else { 2 };
        corners.push([left, top, width, height].map(|side| side * scale));
    }
    assert!(corners.iter().all(|corner| *corner == corners[0]), "{corners:?}");
    corners[0]
}

#[test]
fn a_picture_of_another_shape_is_shown_whole_between_black_bars() {
    let mut scaler = Scaler::new(HD);
    for (width, height, format, filter, place) in [
        (320, 240, "yuv420p", "null", [40, 0, 240, 180]),
        (90, 160, "yuv444p", "null", [108, 0, 102, 180]),
        (320, 80, "yuv420p", "null", [0, 50, 320, 80]),
        (320, 180, "yuv420p", "setsar=4/3", [0, 22, 320, 136]),
        (240, 180, "yuvj420p", "null", [40, 0, 240, 180]),
        (240, 180, "yuv420p", "setsar=4/3", [0, 0, 320, 180]),
        (320, 180, "yuv422p10le", "null", [0, 0, 320, 180]),
    ] {
        let what = format!("{width}x{height} {format} {filter}");
        for _ in 0..2 {
            let scaled = scaler.scale(&red_with(Size { width, height }, format, filter)).unwrap();
            assert_eq!((scaled.size(), scaled.sample_aspect()), (HD, (1, 1)));
            assert_eq!(inside_bars(&scaled), place, "{what}");
        }
    }
}

#[test]
fn a_frame_that_was_given_out_is_not_written_again() {
    let mut scaler = Scaler::new(HD);
    let first = scaler.scale(&red(Size { width: 320, height: 240 }, "yuv420p")).unwrap();
    let _second = scaler.scale(&red(Size { width: 90, height: 160 }, "yuv420p")).unwrap();
    assert_eq!(inside_bars(&first), [40, 0, 240, 180]);
}

#[test]
fn no_shape_is_too_strange() {
    let mut scaler = Scaler::new(HD);
    scaler.set_colour(BT_709);
    for (width, height) in [(16, 4096), (8192, 16), (2, 2), (16, 16), (16384, 16), (1, 1), (3, 5), (4096, 2304)] {
        let frame = Frame::solid(Size { width, height }, 81, [90, 240]).unwrap();
        assert_eq!(scaler.scale(&frame).unwrap().size(), HD, "{width}x{height}");
    }
}
