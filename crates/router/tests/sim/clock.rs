//! Clocks that differ. The simulation's own time is in microseconds; nobody in it reads that.

use headwater_media::{Instant, WallTime};

use crate::rng::Rng;

pub(crate) const MILLI: u64 = 1000;
pub(crate) const SECOND: u64 = 1000 * MILLI;

/// A node's clocks: a monotonic one with an origin and a rate of its own, and a wall clock that is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin_nanos: u64,
    rate: u64,
    wall_millis: i64,
}

impl Clock {
    /// Rates are within a tenth, wall clocks within five seconds.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        Self {
            origin_nanos: rng.range(0, 1 << 50),
            rate: rng.range(900, 1101),
            wall_millis: 1_700_000_000_000 + i64::try_from(rng.range(0, 10_000)).expect("it is small"),
        }
    }

    pub(crate) fn now(&self, micros: u64) -> Instant {
        Instant::from_nanos(self.origin_nanos + micros * self.rate)
    }

    /// The first microsecond at which the clock shows `instant` or more.
    pub(crate) fn when(&self, instant: Instant) -> u64 {
        instant.as_nanos().saturating_sub(self.origin_nanos).div_ceil(self.rate)
    }

    pub(crate) fn wall(&self, micros: u64) -> WallTime {
        WallTime { unix_millis: self.wall_millis + i64::try_from(micros / MILLI).expect("a run is short") }
    }
}
