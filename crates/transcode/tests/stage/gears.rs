//! What came out: parts read back, checked and decoded.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use headwater_av::{Deinterlacer, Frame, Scaler, Size, VideoDecoder};
use headwater_cmaf::check::{Place, TrackCheck};
use headwater_cmaf::read::{InitSegment, chunks};
use headwater_media::{CodecConfig, Init, Part, PartIndex, PartPayload, RenditionName, Timescale, VideoConfig};
use headwater_router::{FeedItem, StreamLog};

use super::Stage;

/// One gear's window.
pub(crate) struct Gear {
    pub(crate) name: RenditionName,
    pub(crate) size: Size,
    pub(crate) parts: Vec<Arc<Part>>,
}

/// One coded picture of a gear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Coded {
    /// Slot in which it is shown.
    pub(crate) slot: i64,
    pub(crate) idr: bool,
    pub(crate) data: Bytes,
}

/// All gears of a session, with the rules that always hold checked.
pub(crate) fn all(stage: &Stage) -> Vec<Gear> {
    stage.gears.iter().map(|gear| of(stage, gear)).collect()
}

/// The same of one.
pub(crate) fn of(stage: &Stage, gear: &headwater_router::Gear) -> Gear {
    let made = Gear {
        name: gear.name.clone(),
        size: Size { width: gear.width, height: gear.height },
        parts: parts(stage.log(), &gear.name),
    };
    made.check(stage);
    made
}

fn parts(log: &Arc<StreamLog>, name: &RenditionName) -> Vec<Arc<Part>> {
    let mut reader = log.read_parts(name).unwrap();
    let mut parts = Vec::new();
    while let Ok(Some(item)) = reader.try_next() {
        if let FeedItem::Part(part) = item {
            parts.push(part);
        }
    }
    parts
}

impl Gear {
    /// Every part that the timeline closed, from the gear's first on, is there, where it said; chunks keep C-50; decode times meet.
    fn check(&self, stage: &Stage) {
        let slot_ticks = stage.log().session().grid.slot_ticks;
        let first = self.parts.first().map(|part| (part.msn, part.index));
        let ends: Vec<_> = stage.ends.iter().skip_while(|end| Some((end.msn, end.index)) != first).collect();
        assert_eq!(self.parts.len(), ends.len(), "parts of {}", self.name);
        let mut check = TrackCheck::new(&self.init().data).unwrap();
        for (part, end) in self.parts.iter().zip(ends) {
            assert_eq!((part.msn, part.index), (end.msn, end.index));
            let times = (end.start.0 * slot_ticks, end.end.0 * slot_ticks);
            assert_eq!((part.start.ticks, part.end.ticks), times, "{} {:?} {:?}", self.name, part.msn, part.index);
            let PartPayload::Media { data, independent, init, .. } = &part.payload else {
                check.discontinuity();
                continue;
            };
            assert_eq!(init, self.init());
            assert!(*independent || part.index != PartIndex(0), "{:?} of {} opens without an IDR", part.msn, self.name);
            check.chunk(if part.index == PartIndex(0) { Place::First } else { Place::Inside }, &data.to_bytes());
            assert_eq!(check.end(), Some(part.end.ticks.unsigned_abs()));
        }
        assert_eq!(check.findings(), [], "{}", self.name);
    }

    pub(crate) fn init(&self) -> &Arc<Init> {
        let init = self.parts.iter().find_map(|part| match &part.payload {
            PartPayload::Media { init, .. } => Some(init),
            PartPayload::Gap => None,
        });
        init.unwrap_or_else(|| panic!("{} has no media", self.name))
    }

    /// Indices of the parts that are gaps.
    pub(crate) fn gaps(&self) -> Vec<usize> {
        let gap = |(index, part): (usize, &Arc<Part>)| matches!(part.payload, PartPayload::Gap).then_some(index);
        self.parts.iter().enumerate().filter_map(gap).collect()
    }

    /// Its bytes, init segment first.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.init().data.to_vec();
        for part in &self.parts {
            if let PartPayload::Media { data, .. } = &part.payload {
                bytes.extend_from_slice(&data.to_bytes());
            }
        }
        bytes
    }

    /// Its pictures.
    pub(crate) fn pictures(&self, slot_ticks: i64) -> Vec<Coded> {
        let bytes = Bytes::from(self.bytes());
        let init = InitSegment::parse(&bytes).unwrap();
        let mut pictures = Vec::new();
        for chunk in chunks(&bytes, &init.tracks).unwrap() {
            let run = &chunk.runs[0];
            let mut time = i64::try_from(run.base_decode_time).unwrap();
            for sample in &run.samples {
                let shown = time + sample.composition_offset;
                assert_eq!(shown % slot_ticks, 0);
                pictures.push(Coded {
                    slot: shown / slot_ticks,
                    idr: sample.is_sync(),
                    data: bytes.slice_ref(sample.data(&bytes).unwrap()),
                });
                time += i64::from(sample.duration);
            }
        }
        pictures
    }

    /// What its init segment says of the codec.
    pub(crate) fn config(&self) -> Arc<VideoConfig> {
        let init = InitSegment::parse(&self.init().data).unwrap();
        let Some(CodecConfig::Video(config)) = &init.tracks[0].config else { panic!("no video") };
        config.clone()
    }

    /// Its pictures, decoded: (slot, picture).
    pub(crate) fn frames(&self, slot_ticks: i64) -> Vec<(i64, Frame)> {
        let mut decoder = VideoDecoder::new(&self.config(), Timescale::VIDEO).unwrap();
        let mut frames = Vec::new();
        for picture in self.pictures(slot_ticks) {
            decoder.send(&picture.data, picture.slot, picture.slot).unwrap();
            let frame = decoder.receive().unwrap().expect("one in, one out");
            assert!(!frame.is_damaged());
            assert_eq!(frame.size(), self.size);
            frames.push((frame.pts().unwrap(), frame));
        }
        frames
    }

    /// FFmpeg decodes it without a word. Returns how many pictures.
    pub(crate) fn decode_with_ffmpeg(&self, name: &str) -> usize {
        let path = self.write(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "warning", "-xerror", "-err_detect", "explode", "-i"]).arg(&path);
        command.args(["-fps_mode", "passthrough", "-f", "framemd5", "-"]);
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "FFmpeg about {}", path.display());
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.starts_with('#')).count()
    }

    fn write(&self, name: &str) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("transcode-{name}-{}.mp4", self.name));
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}

/// Every slot has a picture, IDRs are at the cuts and nowhere else, and the pictures look like the source's: every 7th is
/// compared, and every one when they are few.
pub(crate) fn check_whole(stage: &Stage, name: &str, count: i64) {
    let slot_ticks = stage.log().session().grid.slot_ticks;
    let source = source_frames(stage);
    let step = if count > 100 { 7 } else { 1 };
    for gear in all(stage) {
        assert!(gear.gaps().is_empty());
        let pictures = gear.pictures(slot_ticks);
        assert!(pictures.iter().map(|picture| picture.slot).eq(0..count), "slots of {}", gear.name);
        let idrs: Vec<i64> = pictures.iter().filter(|picture| picture.idr).map(|picture| picture.slot).collect();
        assert_eq!(idrs, stage.cut_slots(), "{}", gear.name);
        let frames: Vec<_> = gear.frames(slot_ticks).into_iter().step_by(step).collect();
        for (slot, db) in psnr_by_slot(&frames, &source, gear.size) {
            assert!(db >= 30.0, "slot {slot} of {}: {db} dB", gear.name);
        }
        assert_eq!(i64::try_from(gear.decode_with_ffmpeg(name)).unwrap(), count);
    }
}

/// The source's own pictures by slot, of all publishers; interlaced ones made whole.
pub(crate) fn source_frames(stage: &Stage) -> Vec<(i64, Frame)> {
    source_frames_until(stage, i64::MAX)
}

/// Those whose samples stand before slot `end`.
pub(crate) fn source_frames_until(stage: &Stage, end: i64) -> Vec<(i64, Frame)> {
    let mut frames: Vec<(i64, Frame)> = Vec::new();
    let mut decoder: Option<VideoDecoder> = None;
    let mut deinterlacer = Deinterlacer::new();
    let mut config = None;
    let mut drain = |decoder: &mut VideoDecoder| {
        while let Some(frame) = decoder.receive().unwrap() {
            deinterlacer.push(frame).unwrap();
            while let Some(frame) = deinterlacer.poll() {
                frames.push((frame.pts().unwrap(), frame));
            }
        }
    };
    for sample in stage.samples.iter().filter(|sample| sample.slot.0 < end) {
        if config.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &sample.config)) {
            if let Some(before) = &mut decoder {
                before.finish().unwrap();
                drain(before);
            }
            config = Some(sample.config.clone());
            decoder = Some(VideoDecoder::new(&sample.config, Timescale::VIDEO).unwrap());
        }
        let decoder = decoder.as_mut().unwrap();
        let slot = sample.slot.0 + i64::from(sample.composition_slots);
        decoder.send(&sample.data, slot, sample.slot.0).unwrap();
        drain(decoder);
    }
    let mut last = decoder.unwrap();
    last.finish().unwrap();
    drain(&mut last);
    deinterlacer.finish();
    while let Some(frame) = deinterlacer.poll() {
        frames.push((frame.pts().unwrap(), frame));
    }
    frames
}

/// Luma PSNR of each of the gear's pictures against the source's picture that is shown in its slot, in the gear's size
/// and colour.
pub(crate) fn psnr_by_slot(gear: &[(i64, Frame)], source: &[(i64, Frame)], size: Size) -> Vec<(i64, f64)> {
    let mut scaler = Scaler::new(size);
    let compare = |(slot, frame): &(i64, Frame)| {
        scaler.set_colour(frame.colour());
        let shown = source.iter().rev().find(|(shown, _)| shown <= slot)?;
        Some((*slot, psnr(&scaler.scale(&shown.1).unwrap(), frame)))
    };
    gear.iter().filter_map(compare).collect()
}

fn psnr(a: &Frame, b: &Frame) -> f64 {
    let (a, b) = (a.plane(0).unwrap(), b.plane(0).unwrap());
    assert_eq!((a.width, a.height), (b.width, b.height));
    let squares: u64 =
        a.rows().zip(b.rows()).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    let samples = f64::from(u32::try_from(a.width * a.height).unwrap());
    10.0 * (255.0 * 255.0 * samples / f64::from(u32::try_from(squares.max(1)).unwrap())).log10()
}
