//! How much a publisher, or an address, may send.

use std::time::Duration;

use headwater_media::Instant;

/// A keyframe and a burst after a stall must fit in.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts what came over the last ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    begin: Option<Instant>,
    bytes: u64,
}

impl Allowance {
    /// More came. Whether that was too much for `kbps_max`; 0 is no limit.
    pub(crate) fn take(&mut self, now: Instant, bytes: usize, kbps_max: u32) -> bool {
        if kbps_max == 0 {
            return false;
        }
        let begin = *self.begin.get_or_insert(now);
        if now.saturating_since(begin) >= WINDOW {
            (self.begin, self.bytes) = (Some(now), 0);
        }
        self.bytes += bytes as u64;
        self.bytes > u64::from(kbps_max) * 125 * WINDOW.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_over_ten_seconds_counts_and_not_a_burst() {
        let at = |millis: u64| Instant::from_millis(5000 + millis);
        let mut allowance = Allowance::default();
        assert!(!allowance.take(at(0), 10_000, 8));
        assert!(allowance.take(at(9_999), 1, 8));
        assert!(!allowance.take(at(10_000), 10_000, 8));
        assert!(!Allowance::default().take(at(0), usize::MAX, 0));
    }
}
