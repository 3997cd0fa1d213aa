//! The publisher's clock: 32-bit milliseconds, unwrapped and laid on the session's timeline.

use headwater_media::{Timescale, Timestamp};

use crate::Grid;

/// Unwraps the 32-bit timestamps of one connection, and those of encoders that count in 31 or 24 bits.
/// Audio and video share it: they are never further apart than half a wrap.
#[derive(Clone, Debug, Default)]
pub(super) struct Unwrap {
    last: Option<i64>,
    /// The clock was seen to wrap after fewer than 32 bits.
    bits: Option<u32>,
}

/// How near to a whole wrap a step back must be to count as one of a shorter clock.
const WRAP_SLACK: i64 = 120_000;

impl Unwrap {
    /// What [`step`](Self::step) would return.
    pub(super) fn peek(&self, millis: u32) -> i64 {
        self.unwrapped(millis).0
    }

    /// The unwrapped time of a coded frame; later ones are measured from it.
    pub(super) fn step(&mut self, millis: u32) -> i64 {
        let (unwrapped, bits) = self.unwrapped(millis);
        (self.last, self.bits) = (Some(unwrapped), bits);
        unwrapped
    }

    /// The clock stands at `millis`, unwrapped.
    pub(super) fn step_to(&mut self, millis: i64) {
        self.last = Some(millis);
    }

    /// The unwrapped time, and after how many bits the clock wraps if it is fewer than 32.
    fn unwrapped(&self, millis: u32) -> (i64, Option<u32>) {
        let sent = i64::from(millis);
        let Some(last) = self.last else { return (sent, None) };
        if let Some(bits) = self.bits.filter(|bits| sent < 1 << bits) {
            return (last + step(last, sent, bits), self.bits);
        }
        let whole = step(last, sent, 32);
        for bits in [31, 24] {
            if sent < WRAP_SLACK && (whole + (1 << bits)).abs() < WRAP_SLACK {
                return (last + step(last, sent, bits), Some(bits));
            }
        }
        (last + whole, None)
    }
}

/// The shortest way from `last` to `sent` on a clock of so many bits.
fn step(last: i64, sent: i64, bits: u32) -> i64 {
    let (wrap, half) = (1 << bits, 1 << (bits - 1));
    (sent - last + half).rem_euclid(wrap) - half
}

/// How one stretch of a publisher's clock lies on the session's timeline.
#[derive(Clone, Debug)]
pub(super) struct Period {
    /// Presentation time of the first keyframe, in unwrapped milliseconds: it falls on `start_slot`.
    pub(super) base_millis: i64,
    /// Added to decode times so that the keyframe that opens a segment has PTS = DTS: its composition time.
    pub(super) shift_millis: i64,
    /// Where the period begins.
    pub(super) start_slot: i64,
    pub(super) grid: Grid,
}

const MILLIS: Timescale = Timescale::new(1000).expect("1000 is not zero");

impl Period {
    /// The slot nearest to a decode time.
    pub(super) fn slot(&self, dts_millis: i64) -> i64 {
        self.presentation_slot(dts_millis + self.shift_millis)
    }

    /// The slot nearest to a presentation time.
    pub(super) fn presentation_slot(&self, pts_millis: i64) -> i64 {
        let ticks = (pts_millis - self.base_millis) * 120;
        self.start_slot + (2 * ticks + self.grid.slot_ticks).div_euclid(2 * self.grid.slot_ticks)
    }

    /// A presentation time on the session's timeline.
    pub(super) fn presentation_time(&self, pts_millis: i64) -> Timestamp {
        let offset = Timestamp::new(pts_millis - self.base_millis, MILLIS).rescale(Timescale::VIDEO);
        Timestamp::video(self.grid.slot_start(self.start_slot).ticks + offset.ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_of_every_length_go_on_in_steps_of_a_minute() {
        for wrap in [1i64 << 32, 1 << 31, 1 << 24] {
            let mut unwrap = Unwrap::default();
            let first = wrap - 100;
            let mut expected = unwrap.step(u32::try_from(first).unwrap());
            // More than one whole wrap of the shortest.
            for step in 1..600 {
                let sent = u32::try_from((first + 60_000 * step) % wrap).unwrap();
                expected += 60_000;
                assert_eq!(unwrap.step(sent), expected, "wrap {wrap}");
            }
        }
    }

    #[test]
    fn a_step_back_stays_a_step_back() {
        let mut unwrap = Unwrap::default();
        unwrap.step(10_000);
        assert_eq!(unwrap.step(9_990), 9_990);
        assert_eq!(unwrap.peek(10_033), 10_033);
        // A clock that begins anew is no wrap, unless it was about to.
        assert_eq!(unwrap.peek(0), 0);
        unwrap.step(5_000_000);
        assert_eq!(unwrap.peek(0), 0);
    }
}
