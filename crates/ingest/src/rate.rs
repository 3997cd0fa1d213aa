//! Measures a rendition's bitrate from its parts, for BANDWIDTH and AVERAGE-BANDWIDTH (H-75).

use headwater_media::{MediaSequence, Timestamp};

/// Average and peak over whole segments.
#[derive(Debug, Default)]
pub(crate) struct RateMeter {
    segment: Option<MediaSequence>,
    bits: u64,
    micros: u64,
    total_bits: u64,
    total_micros: u64,
    peak_bps: u32,
}

impl RateMeter {
    /// Adds a part; `true` when it was the first, or the first of a new segment, and the figures may have changed.
    pub(crate) fn add(&mut self, msn: MediaSequence, bytes: usize, duration: Timestamp) -> bool {
        let begins = self.segment != Some(msn);
        if begins {
            if self.micros > 0 {
                self.peak_bps = self.peak_bps.max(rate(self.bits, self.micros));
            }
            (self.segment, self.bits, self.micros) = (Some(msn), 0, 0);
        }
        let micros = u64::try_from(duration.to_duration().as_micros()).unwrap_or(0);
        let bits = bytes as u64 * 8;
        self.bits += bits;
        self.micros += micros;
        self.total_bits += bits;
        self.total_micros += micros;
        begins
    }

    /// Average so far in bit/s.
    pub(crate) fn average_bps(&self) -> u32 {
        rate(self.total_bits, self.total_micros)
    }

    /// The highest rate of a whole segment in bit/s; the average before the first has ended.
    pub(crate) fn peak_bps(&self) -> u32 {
        if self.peak_bps == 0 { self.average_bps() } else { self.peak_bps }
    }
}

fn rate(bits: u64, micros: u64) -> u32 {
    u32::try_from(bits.saturating_mul(1_000_000) / micros.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_the_fattest_segment() {
        let mut meter = RateMeter::default();
        let second = Timestamp::video(120_000);
        for (msn, bytes) in [(1, 100), (1, 300), (2, 800), (2, 1000), (3, 0)] {
            meter.add(MediaSequence(msn), bytes, second);
        }
        assert_eq!(meter.peak_bps(), 900 * 8);
        assert_eq!(meter.average_bps(), 2200 * 8 / 5);
    }
}
