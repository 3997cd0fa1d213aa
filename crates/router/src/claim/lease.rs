//! Until when a node may go on without hearing from the registry.

use std::time::Duration;

use headwater_media::Instant;

/// A node's lease as its holder sees it.
///
/// The registry lets it end 4 s ([`AT_REGISTRY`](Self::AT_REGISTRY)) after it *received* a keepalive; the holder counts 3 s
/// ([`AT_HOLDER`](Self::AT_HOLDER)) from when it *sent* the last one that succeeded. As long as the two clocks run equally
/// fast to within a quarter, the holder's ends first. Times are of a clock that goes on while the machine sleeps
/// (CLOCK_BOOTTIME): a stopped process runs no timers and must see how late it is when it wakes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease {
    until: Instant,
}

impl Lease {
    /// How long the registry keeps a node's key after a keepalive.
    pub const AT_REGISTRY: Duration = Duration::from_secs(4);
    /// How long the holder trusts a keepalive after it was sent.
    pub const AT_HOLDER: Duration = Duration::from_secs(3);

    /// One that never ends: the registry is in this process.
    pub fn for_ever() -> Self {
        Self { until: Instant::from_nanos(u64::MAX) }
    }

    /// A keepalive that was sent at `sent` has succeeded. Answers may come in any order.
    pub fn kept_alive(&mut self, sent: Instant) {
        self.until = self.until.max(sent + Self::AT_HOLDER);
    }

    /// When it ends.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether it holds at `now`.
    pub fn holds(&self, now: Instant) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_counted_from_when_the_keepalive_was_sent_and_late_answers_do_not_shorten_it() {
        let mut lease = Lease::default();
        assert!(!lease.holds(Instant::from_millis(0)));
        lease.kept_alive(Instant::from_millis(2000));
        lease.kept_alive(Instant::from_millis(1000));
        assert!(lease.holds(Instant::from_millis(4999)));
        assert!(!lease.holds(Instant::from_millis(5000)));
    }
}
