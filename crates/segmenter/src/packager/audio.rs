//! Audio frames in, parts out.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use headwater_cmaf::{Chunk, Sample, sequence_number};
use headwater_media::{
    AudioConfig, Init, MediaSequence, Part, PartEnd, PartIndex, PartPayload, StampedAudio, Timescale, Timestamp,
    TrackKind,
};

use crate::Grid;

/// Packages one audio rendition: a part holds the frames that start in its time (C-19). A part in whose time no frame
/// starts does not exist: its segment has one part fewer. One that would be longer than PART-TARGET, because its frames
/// are long, becomes several (H-25).
#[derive(Debug, Default)]
pub struct AudioPackager {
    /// The only sound that is packaged, if it is a source's own.
    own: Option<Arc<AudioConfig>>,
    open: VecDeque<StampedAudio>,
    ends: VecDeque<Ending>,
    ready: VecDeque<Part>,
    covered: Option<Timestamp>,
    finished: bool,
    at: Option<(MediaSequence, PartIndex)>,
    init: Option<(Arc<AudioConfig>, Arc<Init>)>,
}

/// A part that is over, in the timeline.
#[derive(Clone, Copy, Debug)]
struct Ending {
    end: PartEnd,
    time: Timestamp,
    target: Timestamp,
}

impl AudioPackager {
    /// A packager before the first frame, for frames that meet: sound that all players take as it is, and what encoders
    /// of ours make.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packager for a source's own sound, which is encoded again for most players. Its frames do not quite meet where
    /// the timeline follows the publisher's clock, and have no data in holes. Here they are made to meet: a frame lasts
    /// until the next one starts, so a part waits for the frame behind it. A hole lengthens the frame before it, or the
    /// one behind it when it begins with a part, and is a gap where it fills a part. Sound of another configuration than
    /// `config` is a hole: what is offered stays what it was.
    pub fn of_source(config: Arc<AudioConfig>) -> Self {
        Self { own: Some(config), ..Self::default() }
    }

    /// Takes the next frame.
    pub fn push(&mut self, frame: StampedAudio) {
        match self.own.clone() {
            Some(own) if !Arc::ptr_eq(&own, &frame.config) && own != frame.config => {
                // In holes no longer than its own frames: a segment is as much too long as its last frame at most (H-8).
                let whole = hole(&own, frame.start, frame.end(), &frame);
                let step = own.frame_samples().max(1);
                for offset in (0..whole.length_samples).step_by(step.try_into().unwrap_or(usize::MAX)) {
                    let start = Timestamp::new(whole.start.ticks + i64::from(offset), whole.start.timescale);
                    let length_samples = step.min(whole.length_samples - offset);
                    self.push_meeting(StampedAudio { start, length_samples, ..whole.clone() });
                }
            }
            Some(_) => self.push_meeting(frame),
            None => self.keep(frame),
        }
    }

    fn push_meeting(&mut self, frame: StampedAudio) {
        // No decode time is negative; and what the one before covers is over.
        if frame.start.ticks >= 0 && self.meet(&frame) {
            self.keep(frame);
        }
    }

    fn keep(&mut self, frame: StampedAudio) {
        self.covered = Some(frame.end());
        self.open.push_back(frame);
    }

    /// Makes the last frame end where `next` starts. `false` when that is before its own start.
    fn meet(&mut self, next: &StampedAudio) -> bool {
        let Some(last) = self.open.back_mut() else { return true };
        let rate = i64::from(next.start.timescale.units_per_second());
        let off = next.start.ticks - last.end().ticks;
        if off <= rate / STRETCH_PARTS {
            let length = u32::try_from(i64::from(last.length_samples) + off).unwrap_or(0);
            if length == 0 {
                return false;
            }
            last.length_samples = length;
        } else if off <= i64::from(next.config.frame_samples()) {
            let end = last.end();
            self.open.push_back(hole(&next.config, end, next.start, next));
        }
        true
    }

    /// A part ends; it is out when sound has passed its end.
    pub fn end_part(&mut self, end: PartEnd, grid: &Grid) {
        self.ends.push_back(Ending { end, time: grid.slot_start(end.end.0), target: grid.part_target });
    }

    /// No more frames come: what there is makes the last parts.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next part that is complete.
    pub fn poll_part(&mut self) -> Option<Part> {
        while self.ready.is_empty() {
            let Ending { end, time, target } = *self.ends.front()?;
            if !self.has_passed(time) {
                return None;
            }
            self.ends.pop_front();
            let count = self.open.iter().take_while(|frame| frame.start < time).count();
            let frames: Vec<StampedAudio> = self.open.drain(..count).collect();
            let mut rest = &frames[..];
            while let Some(first) = rest.first() {
                let length = |frame: &StampedAudio| frame.end().ticks - first.start.ticks;
                let fits = |frame: &&StampedAudio| Timestamp::new(length(frame), frame.start.timescale) <= target;
                let (part, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
                let part = self.write(end.msn, part);
                self.ready.push_back(part);
                rest = later;
            }
        }
        self.ready.pop_front()
    }

    /// Whether all frames that start before `time` are there, with their lengths.
    fn has_passed(&self, time: Timestamp) -> bool {
        if self.own.is_some() && !self.finished {
            self.open.back().is_some_and(|last| last.start >= time)
        } else {
            self.covered.is_some_and(|covered| covered >= time)
        }
    }

    fn write(&mut self, msn: MediaSequence, frames: &[StampedAudio]) -> Part {
        let index = match self.at {
            Some((known, last)) if known == msn => PartIndex(last.0 + 1),
            _ => PartIndex(0),
        };
        self.at = Some((msn, index));
        let (first, last) = (&frames[0], &frames[frames.len() - 1]);
        let samples = samples(frames);
        let chunk = Chunk {
            kind: TrackKind::Audio,
            sequence_number: sequence_number(msn, index),
            base_decode_time: first.start.ticks.unsigned_abs(),
            opens_segment: index == PartIndex(0),
            samples: &samples,
        };
        let payload = match (chunk.write_pieces(), self.init(&first.config)) {
            (Ok(data), Some(init)) => {
                PartPayload::Media { data, independent: true, intra: None, init, received: last.received }
            }
            _ => PartPayload::Gap,
        };
        Part { msn, index, start: first.start, end: last.end(), payload }
    }

    /// `None` for what has no place in CMAF: it is encoded again before it comes here.
    fn init(&mut self, config: &Arc<AudioConfig>) -> Option<Arc<Init>> {
        match &self.init {
            Some((known, init)) if Arc::ptr_eq(known, config) || known == config => Some(init.clone()),
            _ => {
                let init = Arc::new(headwater_cmaf::audio_init(config)?);
                self.init = Some((config.clone(), init.clone()));
                Some(init)
            }
        }
    }
}

/// A frame without data, from `start` to `end`.
fn hole(config: &Arc<AudioConfig>, start: Timestamp, end: Timestamp, like: &StampedAudio) -> StampedAudio {
    let timescale = Timescale::new(config.sample_rate()).unwrap_or(start.timescale);
    let (start, end) = (start.rescale_nearest(timescale), end.rescale_nearest(timescale));
    let length_samples = u32::try_from(end.ticks - start.ticks).unwrap_or(0);
    StampedAudio { start, length_samples, data: Bytes::new(), config: config.clone(), received: like.received }
}

/// The coded frames with the holes between them; none when there is nothing but holes.
fn samples(frames: &[StampedAudio]) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::with_capacity(frames.len());
    let mut before = 0;
    for frame in frames {
        match samples.last_mut() {
            Some(last) if frame.data.is_empty() => last.duration += frame.length_samples,
            None if frame.data.is_empty() => before += frame.length_samples,
            _ => samples.push(Sample {
                data: frame.data.clone(),
                duration: std::mem::take(&mut before) + frame.length_samples,
                composition_offset: 0,
                sync: true,
            }),
        }
    }
    samples
}

/// A frame that is off by at most this part of a second is where the clock was followed; by more, there is a hole.
const STRETCH_PARTS: i64 = 100;

#[cfg(test)]
mod tests {
    use headwater_cmaf::read::chunks;
    use headwater_media::{FlacConfig, FrameRate, Instant, OpusConfig, VideoSlot};

    use super::*;
    use crate::Profile;

    fn grid() -> Grid {
        Grid::new(Profile::Low, FrameRate::FPS_30)
    }

    fn opus() -> Arc<AudioConfig> {
        Arc::new(AudioConfig::Opus(OpusConfig::guess(&[0xFC]).unwrap()))
    }

    fn frame(config: &Arc<AudioConfig>, start: i64, data: &'static [u8]) -> StampedAudio {
        StampedAudio {
            start: Timestamp::new(start, Timescale::new(config.sample_rate()).unwrap()),
            length_samples: config.frame_samples(),
            data: Bytes::from_static(data),
            config: config.clone(),
            received: Instant::default(),
        }
    }

    /// Ends part `index` of segment 1; parts have six slots, 0.2 s, which are 9600 samples.
    fn end_part(packager: &mut AudioPackager, index: u32) {
        let start = VideoSlot(6 * i64::from(index));
        let end = VideoSlot(start.0 + 6);
        packager.end_part(PartEnd { msn: MediaSequence(1), index: PartIndex(index), start, end, last: false }, &grid());
    }

    /// Index, start and end of all complete parts, and how long each sample of them lasts; none in a gap.
    fn parts(packager: &mut AudioPackager) -> Vec<(u32, i64, i64, Vec<u32>)> {
        let durations = |part: &Part| match &part.payload {
            PartPayload::Media { data, .. } => {
                let read = chunks(&data.to_bytes(), &[]).unwrap();
                read[0].runs[0].samples.iter().map(|sample| sample.duration).collect()
            }
            PartPayload::Gap => Vec::new(),
        };
        let found = std::iter::from_fn(|| packager.poll_part());
        found.map(|part| (part.index.0, part.start.ticks, part.end.ticks, durations(&part))).collect()
    }

    /// H-8: long frames that are not offered make no segment longer.
    #[test]
    fn sound_of_another_configuration_is_a_gap_that_ends_as_its_own_frames_do() {
        let mut stream_info = vec![0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x0B, 0xB8, 0x02, 0xF0];
        stream_info.resize(34, 0);
        let flac = Arc::new(AudioConfig::Flac(FlacConfig::parse(&stream_info.into()).unwrap()));
        let mut packager = AudioPackager::of_source(opus());
        for number in 0..3 {
            packager.push(frame(&flac, 4608 * number, b"flac"));
        }
        end_part(&mut packager, 0);
        assert_eq!(parts(&mut packager), [(0, 0, 9216 + 960, vec![])], "not 13824: the part's time ends at 9600");
    }

    /// H-25.
    #[test]
    fn a_part_of_long_frames_becomes_several() {
        let mut stream_info = vec![0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x0B, 0xB8, 0x02, 0xF0];
        stream_info.resize(34, 0);
        let flac = Arc::new(AudioConfig::Flac(FlacConfig::parse(&stream_info.into()).unwrap()));
        let mut packager = AudioPackager::of_source(flac.clone());
        for number in 0..5 {
            packager.push(frame(&flac, 4608 * number, b"flac"));
        }
        end_part(&mut packager, 0);
        assert_eq!(parts(&mut packager), [(0, 0, 9216, vec![4608, 4608]), (1, 9216, 13_824, vec![4608])]);
    }

    #[test]
    fn frames_that_do_not_quite_meet_are_made_to() {
        let mut packager = AudioPackager::of_source(opus());
        end_part(&mut packager, 0);
        for number in 0..10 {
            // Two milliseconds of drift are followed in the middle.
            packager.push(frame(&opus(), 960 * number + if number > 4 { 96 } else { 0 }, b"opus"));
        }
        assert_eq!(parts(&mut packager), [], "the last frame's length is not known yet");
        packager.push(frame(&opus(), 9600, b"opus"));
        let mut lengths = vec![960; 10];
        (lengths[4], lengths[9]) = (1056, 864);
        assert_eq!(parts(&mut packager), [(0, 0, 9600, lengths)]);
    }

    #[test]
    fn a_hole_lengthens_the_frame_before_it_or_is_a_gap() {
        let mut packager = AudioPackager::of_source(opus());
        (0..3).for_each(|index| end_part(&mut packager, index));
        for number in 0..31 {
            let silent = (5..25).contains(&number);
            packager.push(frame(&opus(), 960 * number, if silent { b"" } else { b"opus" }));
        }
        let mut first = vec![960; 4];
        first.push(6 * 960);
        let mut last = vec![6 * 960];
        last.extend([960; 4]);
        let expected = [(0, 0, 9600, first), (1, 9600, 19_200, vec![]), (2, 19_200, 28_800, last)];
        assert_eq!(parts(&mut packager), expected);
    }

    #[test]
    fn other_sound_is_a_hole() {
        let mut packager = AudioPackager::of_source(opus());
        (0..2).for_each(|index| end_part(&mut packager, index));
        (0..10).for_each(|number| packager.push(frame(&opus(), 960 * number, b"opus")));
        let other = Arc::new(AudioConfig::Aac(headwater_media::AacConfig::lc(32_000, 2).unwrap()));
        (0..8).for_each(|number| packager.push(frame(&other, 6400 + 1024 * number, b"aac")));
        packager.finish();
        let found = parts(&mut packager);
        assert_eq!(found[0], (0, 0, 9600, vec![960; 10]));
        assert_eq!(found[1].3, [] as [u32; 0]);
    }
}
