//! The publisher's clock: 32-bit milliseconds, unwrapped and laid on the session's timeline.

use headwater_media::{Timescale, Timestamp};

use crate::Grid;

/// Unwraps the 32-bit timestamps of one connection and the 31-bit ones of some encoders. Audio and video
/// share it: they are never further apart than half a wrap.
#[derive(Clone, Debug, Default)]
pub(super) struct Unwrap {
    last: Option<i64>,
}

/// How near to -2^31 a step must be to count as the wrap of a 31-bit clock.
const WRAP_31_SLACK: i64 = 120_000;

impl Unwrap {
    /// What [`step`](Self::step) would return.
    pub(super) fn peek(&self, millis: u32) -> i64 {
        let Some(last) = self.last else { return i64::from(millis) };
        let last_sent = u32::try_from(last.rem_euclid(1 << 32)).expect("a remainder of 2^32 fits 32 bits");
        let mut step = i64::from(millis.wrapping_sub(last_sent).cast_signed());
        if step < -(1 << 31) + WRAP_31_SLACK && i64::from(millis) < WRAP_31_SLACK {
            step += 1 << 31;
        }
        last + step
    }

    /// The unwrapped time of a coded frame; later ones are measured from it.
    pub(super) fn step(&mut self, millis: u32) -> i64 {
        let unwrapped = self.peek(millis);
        self.last = Some(unwrapped);
        unwrapped
    }
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
    fn both_wraps_go_on_in_33_ms_steps() {
        for wrap in [1i64 << 32, 1 << 31] {
            let mut unwrap = Unwrap::default();
            let first = wrap - 100;
            let mut expected = unwrap.step(u32::try_from(first).unwrap());
            for step in 1..10 {
                let sent = u32::try_from((first + 33 * step) % wrap).unwrap();
                expected += 33;
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
    }
}
