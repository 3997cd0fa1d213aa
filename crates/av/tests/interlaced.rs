//! Interlaced frames through decoder and deinterlacer. FFmpeg's command-line tool makes a bar that moves sideways: in a
//! whole picture all rows are alike, and between fields they are not.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::process::Command;

use bytes::Bytes;
use headwater_av::{Deinterlacer, Frame, Size, VideoDecoder};
use headwater_media::{AvcConfig, Timescale};

/// Pictures of two moments each, or whole ones. Their presentation times count from `first`.
fn bar(interlaced: bool, size: Size, format: &str, count: u32, first: i64) -> Vec<Frame> {
    let source = format!(
        "color=black:s={size}:r=50,format={format},\
         geq=lum='if(lt(mod(X-N*6,80),40),(16+219)*pow(2,bitdepth-8),16*pow(2,bitdepth-8))':cb='p(X,Y)':cr='p(X,Y)'"
    );
    let source = source.replace("bitdepth", if format.ends_with("10le") { "10" } else { "8" });
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", &source]);
    if interlaced {
        command.args(["-vf", "tinterlace=interleave_top", "-flags", "+ilme+ildct", "-x264-params", "tff=1:bframes=0"]);
    } else {
        command.args(["-x264-params", "bframes=0"]);
    }
    command.args(["-frames:v", &count.to_string(), "-c:v", "libx264", "-preset", "ultrafast", "-crf", "5"]);
    // One slice per picture, so that a picture begins where a slice does.
    let output = command.args(["-threads", "1", "-f", "h264", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    decode(&Bytes::from(output.stdout), first)
}

fn decode(stream: &Bytes, first: i64) -> Vec<Frame> {
    let config = AvcConfig::parse_annex_b(stream).unwrap().into();
    let mut decoder = VideoDecoder::new(&config, Timescale::VIDEO).unwrap();
    let all = AvcConfig::access_unit_annex_b(stream).data;
    let (mut frames, mut number, mut rest) = (Vec::new(), first, &all[..]);
    while !rest.is_empty() {
        let length = 4 + usize::try_from(u32::from_be_bytes(rest[..4].try_into().unwrap())).unwrap();
        let (unit, tail) = rest.split_at(length);
        rest = tail;
        if matches!(unit[4] & 0x1F, 1 | 5) {
            decoder.send(unit, number, number).unwrap();
            number += 1;
            frames.extend(decoder.receive().unwrap());
        }
    }
    decoder.finish().unwrap();
    frames.extend(std::iter::from_fn(|| decoder.receive().unwrap()));
    frames
}

/// Greatest mean difference between a row of luma and the next, out of 8 bits.
fn combing(frame: &Frame) -> usize {
    let plane = frame.plane(0).unwrap();
    let rows: Vec<&[u8]> = plane.rows().collect();
    let difference = |pair: &[&[u8]]| -> usize {
        pair[0].iter().zip(pair[1]).map(|(a, b)| usize::from(a.abs_diff(*b))).sum::<usize>() / plane.width
    };
    rows.windows(2).map(difference).max().unwrap()
}

fn all(deinterlacer: &mut Deinterlacer, frames: Vec<Frame>) -> Vec<Frame> {
    let mut out = Vec::new();
    for frame in frames {
        deinterlacer.push(frame).unwrap();
        out.extend(std::iter::from_fn(|| deinterlacer.poll()));
    }
    out
}

fn times(frames: &[Frame]) -> Vec<i64> {
    frames.iter().map(|frame| frame.pts().unwrap()).collect()
}

const SIZE: Size = Size { width: 320, height: 192 };

#[test]
fn interlaced_frames_become_whole_pictures_one_by_one() {
    let frames = bar(true, SIZE, "yuv420p", 20, 100);
    assert!(frames.iter().all(|frame| frame.is_interlaced() && combing(frame) > 10));
    let mut deinterlacer = Deinterlacer::new();
    let mut out = all(&mut deinterlacer, frames);
    assert_eq!((out.len(), deinterlacer.held()), (19, 1), "one is held back for its neighbour");
    deinterlacer.finish();
    out.extend(deinterlacer.poll());
    assert_eq!(times(&out), (100..120).collect::<Vec<_>>());
    for frame in &out {
        assert!(combing(frame) <= 2, "{:?}: {}", frame.pts(), combing(frame));
        assert!(!frame.is_interlaced());
    }
}

#[test]
fn whole_pictures_pass_at_once_and_untouched() {
    let frames = bar(false, SIZE, "yuv420p", 5, 0);
    let mut deinterlacer = Deinterlacer::new();
    let out = all(&mut deinterlacer, frames.clone());
    assert_eq!((times(&out), deinterlacer.held()), (times(&frames), 0));
    let rows = |frame: &Frame| frame.plane(0).unwrap().rows().map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert!(out.iter().zip(&frames).all(|(a, b)| rows(a) == rows(b)));
}

#[test]
fn a_source_may_change_between_both_kinds_and_between_sizes_and_formats() {
    let mut deinterlacer = Deinterlacer::new();
    let small = Size { width: 160, height: 96 };
    let mut frames = bar(false, SIZE, "yuv420p", 3, 0);
    frames.extend(bar(true, SIZE, "yuv420p", 5, 3));
    frames.extend(bar(true, small, "yuv420p", 4, 8));
    frames.extend(bar(true, small, "yuv422p10le", 4, 12));
    frames.extend(bar(true, small, "yuv444p", 4, 16));
    frames.extend(bar(false, SIZE, "yuv420p", 80, 20));
    let kinds: Vec<_> = frames.iter().map(|frame| (frame.size(), frame.pixel_format())).collect();
    let out = all(&mut deinterlacer, frames);
    assert_eq!(times(&out), (0..100).collect::<Vec<_>>(), "none is held back any more");
    assert_eq!(out.iter().map(|frame| (frame.size(), frame.pixel_format())).collect::<Vec<_>>(), kinds);
    assert_eq!(deinterlacer.held(), 0);
}

#[test]
fn after_a_flush_nothing_of_before_comes_out() {
    let mut deinterlacer = Deinterlacer::new();
    all(&mut deinterlacer, bar(true, SIZE, "yuv420p", 3, 0));
    deinterlacer.flush();
    let out = all(&mut deinterlacer, bar(true, SIZE, "yuv420p", 3, 50));
    assert_eq!(times(&out), [50, 51]);
}

#[test]
fn pictures_too_small_for_the_filter_go_on_as_they_are() {
    let mut deinterlacer = Deinterlacer::new();
    let mut shown = 0;
    for frame in bar(true, Size { width: 16, height: 4 }, "yuv420p", 3, 0) {
        let _ = deinterlacer.push(frame);
        shown += std::iter::from_fn(|| deinterlacer.poll()).count();
    }
    deinterlacer.finish();
    assert_eq!(shown + std::iter::from_fn(|| deinterlacer.poll()).count(), 3);
}
