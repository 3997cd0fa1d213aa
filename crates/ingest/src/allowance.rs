//! How much a publisher may send.

use std::time::Duration;

use headwater_media::Instant;

/// A keyframe and a burst after a stall must fit in.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts what came over the last ten seconds.
#[derive(Debug)]
pub(crate) struct Allowance {
    kbps_max: u32,
    begin: Instant,
    bytes: u64,
}

impl Allowance {
    /// With 0 there is no limit.
    pub(crate) fn new(kbps_max: u32, now: Instant) -> Self {
        Self { kbps_max, begin: now, bytes: 0 }
    }

    /// More came; the limit in kbit/s when that was too much.
    pub(crate) fn take(&mut self, now: Instant, bytes: usize) -> Result<(), u32> {
        if self.kbps_max == 0 {
            return Ok(());
        }
        if now.saturating_since(self.begin) >= WINDOW {
            (self.begin, self.bytes) = (now, 0);
        }
        self.bytes += bytes as u64;
        if self.bytes > u64::from(self.kbps_max) * 125 * WINDOW.as_secs() { Err(self.kbps_max) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_over_ten_seconds_counts_and_not_a_burst() {
        let at = |millis: u64| Instant::from_millis(5000 + millis);
        let mut allowance = Allowance::new(8, at(0));
        assert_eq!(allowance.take(at(0), 10_000), Ok(()));
        assert_eq!(allowance.take(at(9_999), 1), Err(8));
        assert_eq!(allowance.take(at(10_000), 10_000), Ok(()));
        assert_eq!(Allowance::new(0, at(0)).take(at(0), usize::MAX), Ok(()));
    }
}
