//! Stamped samples and part ends in, parts out. The same code packages the source at ingest and gears in a transcoder.

use std::collections::VecDeque;
use std::sync::Arc;

use headwater_cmaf::{Chunk, Sample, sequence_number};
use headwater_media::{
    AudioConfig, Init, MediaSequence, Part, PartEnd, PartIndex, PartPayload, StampedAudio, StampedVideo, Timestamp,
    TrackKind, VideoConfig,
};

use crate::Grid;

/// Packages one video rendition.
///
/// Decode times of consecutive parts meet exactly (C-13): an empty slot lengthens the sample before it, and the first
/// sample of a part starts where the part starts, with what is missing in its composition offset.
#[derive(Debug)]
pub struct VideoPackager {
    grid: Grid,
    open: VecDeque<StampedVideo>,
    init: Option<(Arc<VideoConfig>, Arc<Init>)>,
    bitrate_max_bps: Option<u32>,
}

impl VideoPackager {
    /// A packager for a session's grid. `bitrate_max_bps` is what the encoder was told to keep to, if it is ours.
    pub fn new(grid: Grid, bitrate_max_bps: Option<u32>) -> Self {
        Self { grid, open: VecDeque::new(), init: None, bitrate_max_bps }
    }

    /// Takes the next sample in decode order.
    pub fn push(&mut self, sample: StampedVideo) {
        self.open.push_back(sample);
    }

    /// Closes a part: the samples before its end are in it; without any it is a gap.
    pub fn end_part(&mut self, end: &PartEnd) -> Part {
        let count = self.open.iter().take_while(|sample| sample.msn == end.msn && sample.slot < end.end).count();
        let samples: Vec<StampedVideo> = self.open.drain(..count).collect();
        let start = self.grid.slot_start(end.start.0);
        let part_end = self.grid.slot_start(end.end.0);
        let payload = match samples.first() {
            Some(first) => {
                let init = self.init(&first.config);
                self.write(end, &samples, init)
            }
            None => PartPayload::Gap,
        };
        Part { msn: end.msn, index: end.index, start, end: part_end, payload }
    }

    fn write(&self, end: &PartEnd, samples: &[StampedVideo], init: Arc<Init>) -> PartPayload {
        let times = self.decode_times(end, samples);
        let chunk_samples = samples.iter().zip(times.windows(2)).map(|(sample, time)| {
            let presentation = (sample.slot.0 + i64::from(sample.composition_slots)) * self.grid.slot_ticks;
            Sample {
                data: sample.data.clone(),
                duration: u32::try_from(time[1] - time[0]).unwrap_or(u32::MAX),
                composition_offset: i32::try_from(presentation - time[0]).unwrap_or(0),
                sync: sample.is_entry(),
            }
        });
        let chunk_samples: Vec<Sample> = chunk_samples.collect();
        let chunk = Chunk {
            kind: TrackKind::Video,
            sequence_number: sequence_number(end.msn, end.index),
            base_decode_time: times[0].unsigned_abs(),
            opens_segment: end.index == PartIndex(0),
            samples: &chunk_samples,
        };
        // Without samples, or with ones that no chunk can hold, there is nothing to serve.
        let Ok(data) = chunk.write() else { return PartPayload::Gap };
        let independent = samples[0].is_entry();
        PartPayload::Media {
            data,
            independent,
            intra: chunk.first_sample().filter(|_| independent),
            init,
            received: samples.iter().map(|sample| sample.received).max().unwrap_or_default(),
        }
    }

    /// Decode times of the samples, and the part's end behind them.
    fn decode_times(&self, end: &PartEnd, samples: &[StampedVideo]) -> Vec<i64> {
        let ticks = |slot: i64| slot * self.grid.slot_ticks;
        let mut times: Vec<i64> = Vec::with_capacity(samples.len() + 1);
        for sample in samples {
            let own = if times.is_empty() { ticks(end.start.0) } else { ticks(sample.slot.0) };
            // Two samples in one slot share its time.
            let time = match times.last() {
                Some(last) if own <= *last => *last + (ticks(sample.slot.0 + 1) - *last).max(2) / 2,
                _ => own,
            };
            times.push(time);
        }
        times.push(ticks(end.end.0));
        times
    }

    /// The init segment for samples of this configuration.
    pub fn init(&mut self, config: &Arc<VideoConfig>) -> Arc<Init> {
        match &self.init {
            Some((known, init)) if Arc::ptr_eq(known, config) || known == config => init.clone(),
            _ => {
                let init = Arc::new(headwater_cmaf::video_init(config, self.bitrate_max_bps));
                self.init = Some((config.clone(), init.clone()));
                init
            }
        }
    }
}

/// Packages one audio rendition of AAC: a part holds the frames that start in its time (C-19). A part in whose time no frame
/// starts does not exist: its segment has one part fewer.
#[derive(Debug, Default)]
pub struct AudioPackager {
    open: VecDeque<StampedAudio>,
    ends: VecDeque<(PartEnd, Timestamp)>,
    covered: Option<Timestamp>,
    at: Option<(MediaSequence, PartIndex)>,
    init: Option<(Arc<AudioConfig>, Arc<Init>)>,
}

impl AudioPackager {
    /// A packager before the first frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame.
    pub fn push(&mut self, frame: StampedAudio) {
        self.covered = Some(frame.end());
        self.open.push_back(frame);
    }

    /// A part ends; it is out when sound has passed its end.
    pub fn end_part(&mut self, end: PartEnd, grid: &Grid) {
        self.ends.push_back((end, grid.slot_start(end.end.0)));
    }

    /// The next part that is complete.
    pub fn poll_part(&mut self) -> Option<Part> {
        loop {
            let (end, time) = *self.ends.front()?;
            if self.covered? < time {
                return None;
            }
            self.ends.pop_front();
            let count = self.open.iter().take_while(|frame| frame.start < time).count();
            if count == 0 {
                continue;
            }
            let frames: Vec<StampedAudio> = self.open.drain(..count).collect();
            return Some(self.write(&end, &frames));
        }
    }

    fn write(&mut self, end: &PartEnd, frames: &[StampedAudio]) -> Part {
        let index = match self.at {
            Some((msn, last)) if msn == end.msn => PartIndex(last.0 + 1),
            _ => PartIndex(0),
        };
        self.at = Some((end.msn, index));
        let (first, last) = (&frames[0], &frames[frames.len() - 1]);
        let samples = frames.iter().map(|frame| Sample {
            data: frame.data.clone(),
            duration: frame.length_samples,
            composition_offset: 0,
            sync: true,
        });
        let samples: Vec<Sample> = samples.collect();
        let chunk = Chunk {
            kind: TrackKind::Audio,
            sequence_number: sequence_number(end.msn, index),
            base_decode_time: first.start.ticks.unsigned_abs(),
            opens_segment: index == PartIndex(0),
            samples: &samples,
        };
        let payload = match (chunk.write(), self.init(&first.config)) {
            (Ok(data), Some(init)) => {
                PartPayload::Media { data, independent: true, intra: None, init, received: last.received }
            }
            _ => PartPayload::Gap,
        };
        Part { msn: end.msn, index, start: first.start, end: last.end(), payload }
    }

    /// `None` for what is not AAC: it is encoded again before it comes here.
    fn init(&mut self, config: &Arc<AudioConfig>) -> Option<Arc<Init>> {
        match (&self.init, &**config) {
            (Some((known, init)), _) if Arc::ptr_eq(known, config) || known == config => Some(init.clone()),
            (_, AudioConfig::Aac(aac)) => {
                let init = Arc::new(headwater_cmaf::audio_init(aac));
                self.init = Some((config.clone(), init.clone()));
                Some(init)
            }
            _ => None,
        }
    }
}
