//! Stamped samples and part ends in, parts out. The same code packages the source at ingest and gears in a transcoder.

mod audio;

use std::collections::VecDeque;
use std::sync::Arc;

pub use audio::AudioPackager;
use headwater_cmaf::{Chunk, Sample, sequence_number};
use headwater_media::{Init, Part, PartEnd, PartIndex, PartPayload, StampedVideo, TrackKind, VideoConfig};

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
                sync: sample.is_sync(),
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
        let Ok(data) = chunk.write_pieces() else { return PartPayload::Gap };
        let independent = samples[0].is_sync();
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
        // However many share the last slot, none begins when the part is over.
        let latest = (0..).map(|before| ticks(end.end.0) - before);
        times.iter_mut().rev().zip(latest).for_each(|(time, latest)| *time = (*time).min(latest));
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
