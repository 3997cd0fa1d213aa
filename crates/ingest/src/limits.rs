//! What publishers may do, beyond what the protocol's own limits say. Each limit is off where it is 0.

use std::time::Duration;

/// Bounds of each publisher and of each address. IPv6 addresses count by their /64.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PublishLimits {
    /// Connections that one address may have open.
    pub connections_per_address: usize,
    /// What the publishers of one address may send together on average over ten seconds, in kbit/s.
    pub address_kbps: u32,
    /// The longest time from keyframe to keyframe.
    pub gop: Duration,
    /// The largest picture, width times height.
    pub picture_pixels: u32,
}

/// Follows a publisher's keyframes by its own clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GopMeter {
    /// Times of the last keyframe and the last picture, in the publisher's milliseconds.
    last: Option<(u32, u32)>,
}

/// A step of the publisher's clock that is larger, or goes back, is a jump, after which a GOP's length means nothing.
const JUMP_MILLIS: i32 = 10_000;

impl GopMeter {
    /// A picture came. Whether the last keyframe is further back than `limit`.
    pub(crate) fn is_too_long(&mut self, dts_millis: u32, keyframe: bool, limit: Duration) -> bool {
        let step = |from: u32| dts_millis.wrapping_sub(from).cast_signed();
        let since = match self.last {
            Some((since, last)) if !keyframe && (0..JUMP_MILLIS).contains(&step(last)) => since,
            _ => dts_millis,
        };
        self.last = Some((since, dts_millis));
        !limit.is_zero() && step(since).unsigned_abs() > u32::try_from(limit.as_millis()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_long(meter: &mut GopMeter, pictures: &[(u32, bool)]) -> Vec<bool> {
        let limit = Duration::from_secs(4);
        pictures.iter().map(|(millis, keyframe)| meter.is_too_long(*millis, *keyframe, limit)).collect()
    }

    #[test]
    fn a_gop_may_be_as_long_as_the_limit_and_no_longer() {
        let mut meter = GopMeter::default();
        assert_eq!(too_long(&mut meter, &[(0, true), (3960, false), (4000, true)]), [false; 3]);
        assert_eq!(too_long(&mut meter, &[(8000, false), (8001, false)]), [false, true]);
        assert!(!GopMeter::default().is_too_long(90_000, false, Duration::ZERO));
    }

    #[test]
    fn a_jump_of_the_clock_begins_anew_and_its_wrap_does_not() {
        let mut meter = GopMeter::default();
        assert_eq!(too_long(&mut meter, &[(0, true), (20_000, false), (500, false), (4000, false)]), [false; 4]);
        let wrapped = [(u32::MAX - 2000, true), (1000, false), (2500, false)];
        assert_eq!(too_long(&mut meter, &wrapped), [false, false, true]);
    }
}
