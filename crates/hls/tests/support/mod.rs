//! Cuts and parts for tests.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::sync::Arc;

use bytes::Bytes;
use headwater_hls::{Config, Decision, DirectiveError, Directives, Window};
use headwater_media::{
    ByteRange, Cut, CutKind, Init, Instant, MediaSequence, Part, PartIndex, PartPayload, RenditionName, Timescale,
    Timestamp, TrackKind, WallTime,
};

/// 2026-03-01T12:00:00.000Z.
pub(crate) const NOON: WallTime = WallTime { unix_millis: 1_772_366_400_000 };

pub(crate) fn audio_scale() -> Timescale {
    Timescale::new(48_000).expect("48000 is not zero")
}

pub(crate) fn name(text: &str) -> RenditionName {
    RenditionName::new(text).expect("tests use good names")
}

pub(crate) fn init(bytes: &'static str) -> Arc<Init> {
    Arc::new(Init::new(Bytes::from_static(bytes.as_bytes()), "avc1.64001f", Some((960, 540))))
}

/// The configuration of the checklist's worked example.
pub(crate) fn config(kind: TrackKind) -> Config {
    Config {
        kind,
        target_duration: 4,
        part_target: Timestamp::new(48 * 1024, audio_scale()),
        segments: 6,
        preload_hints: true,
        independent_segments: true,
    }
}

/// A cut `millis` after noon, by media time and by the wall clock.
pub(crate) fn cut(msn: u64, millis: i64) -> Cut {
    Cut {
        msn: MediaSequence(msn),
        start: Timestamp::video(millis * 120),
        discontinuity: 0,
        program_date_time: WallTime { unix_millis: NOON.unix_millis + millis },
        kind: CutKind::Media,
        renditions: Arc::new([]),
    }
}

/// A video part of media, times in milliseconds after noon.
pub(crate) fn part(msn: u64, index: u32, start: i64, end: i64, init: &Arc<Init>, independent: bool) -> Part {
    let payload = PartPayload::Media {
        data: Bytes::from_static(b"chunk").into(),
        independent,
        intra: independent.then_some(ByteRange { offset: if index == 0 { 36 } else { 0 }, length: 1000 + msn }),
        init: Arc::clone(init),
        received: Instant::default(),
    };
    Part { payload, ..gap_part(msn, index, start, end) }
}

/// A video part that is a gap.
pub(crate) fn gap_part(msn: u64, index: u32, start: i64, end: i64) -> Part {
    Part {
        msn: MediaSequence(msn),
        index: PartIndex(index),
        start: Timestamp::video(start * 120),
        end: Timestamp::video(end * 120),
        payload: PartPayload::Gap,
    }
}

/// A window of the worked example: segments of 4 parts of 1 s; each second part begins with an IDR. Cut `first` is at
/// `start` ms, and the parts up to `last` are there.
pub(crate) fn worked(first: u64, start: i64, last: (u64, u32)) -> Window {
    let init = init("one");
    let mut window = Window::new(config(TrackKind::Video), vec![name("v6"), name("a1")]);
    for (msn, at) in (first..=last.0).zip((start..).step_by(4000)) {
        window.push_cut(&cut(msn, at)).expect("cuts follow each other");
        for (index, at) in (0..4u32).zip((at..).step_by(1000)) {
            if (msn, index) <= last {
                let part = part(msn, index, at, at + 1000, &init, index % 2 == 0);
                window.push_part(&part).expect("parts follow each other");
            }
        }
    }
    window
}

/// What the window says to a query.
pub(crate) fn ask(window: &Window, query: &str) -> Decision {
    match window.directives(Some(query)) {
        Ok(directives) => window.decide(&directives),
        Err(error) => Decision::BadRequest(error),
    }
}

pub(crate) fn directives(query: &str) -> Result<Directives, DirectiveError> {
    Directives::parse(Some(query))
}
