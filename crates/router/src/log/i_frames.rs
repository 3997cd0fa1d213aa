//! Measures the I-frames with which a rendition's segments begin: the rates of its I-frame playlist (H-75).

use std::time::Duration;

use headwater_media::{Part, PartIndex, PartPayload, Timestamp};
use headwater_segmenter::Grid;

/// Rates of a rendition's I-frames alone, bits per second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IFrameRates {
    /// Since the rendition began.
    pub average_bps: u64,
    /// The highest of a segment, whose length counts as half a TARGETDURATION when it is shorter: rates are taken over
    /// no less.
    pub peak_bps: u64,
}

/// What is known of one rendition's I-frames.
#[derive(Debug)]
pub(super) struct IFrameMeter {
    /// The usual time of a segment: what the newest I-frame is taken to last.
    usual: Duration,
    /// The shortest time over which rates are taken.
    least: Duration,
    /// The longest time of a segment. What is longer is a time in which the rendition was not made.
    most: Duration,
    /// The newest one: when it starts, its bits. Its time ends with the next one.
    newest: Option<(Timestamp, u64)>,
    bits: u64,
    micros: u64,
    peak_bps: u64,
}

impl IFrameMeter {
    pub(super) fn new(grid: &Grid) -> Self {
        let usual = grid.slot_start(grid.segment_slots).to_duration();
        let most = grid.slot_start(grid.limit_slots).to_duration();
        let least = Duration::from_secs(grid.target_duration.into()) / 2;
        Self { usual, least, most, newest: None, bits: 0, micros: 0, peak_bps: 0 }
    }

    /// Takes the rendition's next part.
    pub(super) fn take(&mut self, part: &Part) {
        if let PartPayload::Media { intra: Some(range), .. } = &part.payload
            && part.index == PartIndex(0)
        {
            self.add(part.start, range.length);
        }
    }

    fn add(&mut self, start: Timestamp, bytes: u64) {
        if let Some((before, bits)) = self.newest.replace((start, bytes.saturating_mul(8))) {
            let length = Timestamp::new(start.ticks - before.ticks, start.timescale).to_duration();
            let length = if length > self.most { self.usual } else { length };
            self.bits += bits;
            self.micros += micros(length);
            self.peak_bps = self.peak_bps.max(rate(bits, micros(length.max(self.least))));
        }
    }

    /// The rates so far. `None` before the first I-frame.
    pub(super) fn rates(&self) -> Option<IFrameRates> {
        let (_, bits) = self.newest?;
        let average_bps = rate(self.bits + bits, self.micros + micros(self.usual));
        Some(IFrameRates { average_bps, peak_bps: self.peak_bps.max(rate(bits, micros(self.usual))) })
    }
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

fn rate(bits: u64, micros: u64) -> u64 {
    bits.saturating_mul(1_000_000) / micros.max(1)
}

#[cfg(test)]
mod tests {
    use headwater_media::FrameRate;
    use headwater_segmenter::Profile;

    use super::*;

    fn measured(i_frames: &[(i64, u64)]) -> Option<(u64, u64)> {
        // Segments of 2 s, TARGETDURATION 3.
        let mut meter = IFrameMeter::new(&Grid::new(Profile::Low, FrameRate::FPS_30));
        for (millis, bytes) in i_frames {
            meter.add(Timestamp::video(millis * 120), *bytes);
        }
        meter.rates().map(|rates| (rates.average_bps, rates.peak_bps))
    }

    #[test]
    fn rates_are_there_with_the_first_i_frame() {
        assert_eq!(measured(&[]), None);
        assert_eq!(measured(&[(0, 1000)]), Some((4000, 4000)));
    }

    #[test]
    fn an_i_frame_lasts_until_the_next_one() {
        assert_eq!(measured(&[(0, 1000), (3000, 1000)]), Some((16_000 / 5, 4000)));
        assert_eq!(measured(&[(0, 4000), (2000, 1000), (4000, 1000)]), Some((48_000 / 6, 16_000)));
    }

    #[test]
    fn time_in_which_the_rendition_was_not_made_does_not_count() {
        assert_eq!(measured(&[(0, 1000), (60_000, 2000)]), Some((24_000 / 4, 8000)));
    }

    #[test]
    fn a_segment_that_was_cut_short_is_no_peak_by_itself() {
        assert_eq!(measured(&[(0, 1500), (100, 1000), (2100, 1000)]), Some((28_000_000 / 4100, 8000)));
    }
}
