//! Time as a playlist prints it.

use std::fmt;
use std::str::FromStr;

use headwater_media::Timestamp;

/// A length in units of 10^-5 s, which is how playlists print it: five decimals, whatever the locale (H-4).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Seconds {
    /// Hundred-thousandths of a second.
    pub centi_millis: i64,
}

/// Units of [`Seconds`] in one second.
const UNITS: i64 = 100_000;

impl Seconds {
    /// `seconds` whole seconds.
    pub const fn whole(seconds: u32) -> Self {
        Self { centi_millis: seconds as i64 * UNITS }
    }

    /// From `start` to `end`, each rounded on the media timeline. A run of lengths therefore never drifts from the
    /// media, and the parts of a segment add up to it (H-4). Zero when `end` is before `start`.
    pub fn between(start: Timestamp, end: Timestamp) -> Self {
        Self { centi_millis: end.centi_millis().saturating_sub(start.centi_millis()).max(0) }
    }

    /// `length` rounded up, for limits (H-26).
    pub fn round_up(length: Timestamp) -> Self {
        let (ticks, scale) = (i128::from(length.ticks), i128::from(length.timescale.units_per_second()));
        let units = -(-ticks * i128::from(UNITS)).div_euclid(scale);
        Self { centi_millis: i64::try_from(units).unwrap_or(i64::MAX) }
    }

    /// `factor` times as long.
    #[must_use]
    pub const fn times(self, factor: i64) -> Self {
        Self { centi_millis: self.centi_millis.saturating_mul(factor) }
    }

    /// Both lengths together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { centi_millis: self.centi_millis.saturating_add(other.centi_millis) }
    }

    /// Whole seconds, halves up: what TARGETDURATION limits (H-8).
    pub const fn nearest_second(self) -> i64 {
        (self.centi_millis.saturating_add(UNITS / 2)).div_euclid(UNITS)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.centi_millis.max(0);
        write!(f, "{}.{:05}", units / UNITS, units % UNITS)
    }
}

impl FromStr for Seconds {
    type Err = ();

    /// Reads an unsigned decimal number with any count of decimals, rounded half up to five (H-3).
    fn from_str(text: &str) -> Result<Self, ()> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(());
        }
        let whole: i64 = whole.parse().map_err(|_| ())?;
        let digit = |place: usize| fraction.as_bytes().get(place).map_or(0, |byte| i64::from(byte - b'0'));
        let kept = (0..5).fold(0, |sum, place| sum * 10 + digit(place));
        let rounded = kept + i64::from(digit(5) >= 5);
        let centi_millis = whole.checked_mul(UNITS).and_then(|units| units.checked_add(rounded)).ok_or(())?;
        Ok(Self { centi_millis })
    }
}

#[cfg(test)]
mod tests {
    use headwater_media::Timescale;

    use super::*;

    fn audio(ticks: i64) -> Timestamp {
        Timestamp::new(ticks, Timescale::new(48_000).unwrap())
    }

    #[test]
    fn part_target_is_rounded_up() {
        assert_eq!(Seconds::round_up(audio(10 * 1024)).to_string(), "0.21334");
        assert_eq!(Seconds::round_up(Timestamp::video(24_000)).to_string(), "0.20000");
    }

    #[test]
    fn consecutive_lengths_add_up_to_the_whole() {
        let ends: Vec<Timestamp> = (0..=47).map(|frame| audio(frame * 1024)).collect();
        let sum: i64 = ends.windows(2).map(|pair| Seconds::between(pair[0], pair[1]).centi_millis).sum();
        assert_eq!(sum, Seconds::between(audio(0), audio(47 * 1024)).centi_millis);
    }

    #[test]
    fn decimals_are_read_however_many_there_are() {
        let units = |text: &str| text.parse::<Seconds>().map(|seconds| seconds.centi_millis);
        assert_eq!(units("4"), Ok(400_000));
        assert_eq!(units("3.072"), Ok(307_200));
        assert_eq!(units("1.0026666"), Ok(100_267));
        for wrong in ["", ".", "1.", "-1", "1.2.3", "1e3", "99999999999999999999"] {
            assert_eq!(units(wrong), Err(()), "{wrong}");
        }
    }
}
