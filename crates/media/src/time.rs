//! Time as types: a bare number never says whether it is milliseconds or ticks.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Units per second of a track's clock; never zero, so dividing by it is always safe.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// 120000: the clock of every video track and of the timeline. A frame of each supported rate is a whole number
    /// of its ticks (checklist C-12).
    pub const VIDEO: Self = Self(NonZeroU32::new(120_000).expect("120000 is not zero"));

    /// `None` for zero.
    pub const fn new(units_per_second: u32) -> Option<Self> {
        match NonZeroU32::new(units_per_second) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// Units per second.
    pub const fn units_per_second(self) -> u32 {
        self.0.get()
    }
}

/// An instant on the session's media timeline, or the length between two of them: `ticks / timescale` seconds.
///
/// Instants of different timescales compare by the time that they mean. An instant is not a number, so there is no
/// `+`: mixing timescales is an error to handle.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    /// How many units.
    pub ticks: i64,
    /// How long a unit is.
    pub timescale: Timescale,
}

impl Timestamp {
    /// `ticks` units of `timescale`.
    pub const fn new(ticks: i64, timescale: Timescale) -> Self {
        Self { ticks, timescale }
    }

    /// `ticks` units of 1/120000 s, the timeline's own clock.
    pub const fn video(ticks: i64) -> Self {
        Self { ticks, timescale: Timescale::VIDEO }
    }

    /// The same instant in `timescale`, rounded down. Always convert the source instant: summing converted durations
    /// drifts. Saturates at the ends of `i64`, which are 2.4 million years away.
    pub fn rescale(self, timescale: Timescale) -> Self {
        if let Some(product) = self.ticks.checked_mul(i64::from(timescale.units_per_second())) {
            // Nearly always, and several times as fast.
            let ticks = product.div_euclid(i64::from(self.timescale.units_per_second()));
            return Self { ticks, timescale };
        }
        let from = i128::from(self.timescale.units_per_second());
        let scaled = (i128::from(self.ticks) * i128::from(timescale.units_per_second())).div_euclid(from);
        Self { ticks: saturate(scaled), timescale }
    }

    /// The same instant in `timescale`, rounded to the nearest unit, halves up.
    pub fn rescale_nearest(self, timescale: Timescale) -> Self {
        let from = i128::from(self.timescale.units_per_second());
        let scaled =
            (2 * i128::from(self.ticks) * i128::from(timescale.units_per_second()) + from).div_euclid(2 * from);
        Self { ticks: saturate(scaled), timescale }
    }

    /// Seconds x 10^5, rounded half up: the unit in which playlists print time (H-4).
    pub fn centi_millis(self) -> i64 {
        let from = i128::from(self.timescale.units_per_second());
        saturate((2 * i128::from(self.ticks) * 100_000 + from).div_euclid(2 * from))
    }

    /// Length as wall-clock duration, rounded down; zero when negative.
    pub fn to_duration(self) -> Duration {
        let nanos = i128::from(self.ticks) * 1_000_000_000 / i128::from(self.timescale.units_per_second());
        Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

fn saturate(wide: i128) -> i64 {
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Timestamp {}
impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = i128::from(self.ticks) * i128::from(other.timescale.units_per_second());
        let right = i128::from(other.ticks) * i128::from(self.timescale.units_per_second());
        left.cmp(&right)
    }
}

/// A monotonic instant, as handed in by a service's clock: nanoseconds since an origin of its choice.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Hash)]
pub struct Instant(u64);

impl Instant {
    /// `nanos` after the clock's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// `millis` after the clock's origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`, zero when `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where a service reads the time. Only the program implements it with a real clock; libraries get instants as
/// arguments.
pub trait Clock: Send + Sync {
    /// Monotonic time, the same for all services of a process.
    fn now(&self) -> Instant;

    /// Wall-clock time.
    fn wall(&self) -> WallTime;
}

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z. Displays as `YYYY-MM-DDThh:mm:ss.sssZ` (H-16).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Hash)]
pub struct WallTime {
    /// Milliseconds since the Unix epoch, UTC.
    pub unix_millis: i64,
}

impl WallTime {
    /// This time plus the length of `timestamp`, to the nearest millisecond.
    pub fn plus(self, timestamp: Timestamp) -> Self {
        let millis = timestamp.rescale_nearest(MILLIS).ticks;
        Self { unix_millis: self.unix_millis.saturating_add(millis) }
    }
}

const MILLIS: Timescale = Timescale(NonZeroU32::new(1000).expect("1000 is not zero"));

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.unix_millis.div_euclid(86_400_000);
        let in_day = self.unix_millis.rem_euclid(86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second, milli) =
            (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60, in_day % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Days since 1970-01-01 to year, month, day of the proleptic Gregorian calendar (Howard Hinnant's algorithm: years
/// begin in March, so that the leap day is the last one).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Frames per second of a session's grid. Only rates whose frame is a whole number of 1/120000 s exist (C-12).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct FrameRate {
    numerator: u32,
    denominator: u32,
}

impl FrameRate {
    /// 30 frames per second.
    pub const FPS_30: Self = Self { numerator: 30, denominator: 1 };

    /// All rates of a grid, lowest first: 23.976, 24, 25, 29.97, 30, 50, 59.94, 60.
    pub const ALL: [Self; 8] = [
        Self { numerator: 24_000, denominator: 1001 },
        Self { numerator: 24, denominator: 1 },
        Self { numerator: 25, denominator: 1 },
        Self { numerator: 30_000, denominator: 1001 },
        Self::FPS_30,
        Self { numerator: 50, denominator: 1 },
        Self { numerator: 60_000, denominator: 1001 },
        Self { numerator: 60, denominator: 1 },
    ];

    /// The grid for a source of `frames_per_second`: the nearest rate of [`ALL`](Self::ALL). A slow source gets the
    /// grid of its smallest multiple that is one (15 gets 30), so that its frames still fall on slots.
    /// `None` when it is not a positive number.
    pub fn snap(frames_per_second: f64) -> Option<Self> {
        if !frames_per_second.is_finite() || frames_per_second <= 0.0 {
            return None;
        }
        let error = |multiple: f64, rate: Self| (frames_per_second * multiple / rate.frames_per_second() - 1.0).abs();
        let nearest = |multiple: f64| {
            Self::ALL
                .into_iter()
                .min_by(|a, b| error(multiple, *a).total_cmp(&error(multiple, *b)))
                .map(|r| (multiple, r))
        };
        (1..=12u32)
            .filter_map(|multiple| nearest(f64::from(multiple)))
            .find(|(multiple, rate)| error(*multiple, *rate) < 0.005)
            .or_else(|| nearest(1.0))
            .map(|(_, rate)| rate)
    }

    /// Frames per second as a number, for reports and attributes.
    pub fn frames_per_second(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// Half of a rate above 30 frames per second, which is a rate of the grid too; `None` for the others.
    pub fn halved(self) -> Option<Self> {
        let above_30 = self.numerator > 30 * self.denominator;
        above_30.then_some(Self { numerator: self.numerator / 2, ..self })
    }

    /// `(numerator, denominator)`: 30000/1001 for 29.97.
    pub const fn fraction(self) -> (u32, u32) {
        (self.numerator, self.denominator)
    }

    /// Length of one slot in ticks of [`Timescale::VIDEO`].
    pub const fn slot_ticks(self) -> i64 {
        120_000 * self.denominator as i64 / self.numerator as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rate_has_a_whole_slot() {
        let ticks: Vec<i64> = FrameRate::ALL.iter().map(|rate| rate.slot_ticks()).collect();
        assert_eq!(ticks, [5005, 5000, 4800, 4004, 4000, 2400, 2002, 2000]);
    }

    #[test]
    fn half_of_a_rate_above_30_is_a_rate_of_the_grid() {
        let halves: Vec<_> = FrameRate::ALL.iter().filter_map(|rate| rate.halved()).collect();
        assert_eq!(halves, [FrameRate::ALL[2], FrameRate::ALL[3], FrameRate::ALL[4]]);
    }

    #[test]
    fn rates_snap_to_the_nearest_or_to_a_multiple() {
        let snapped = |fps: f64| FrameRate::snap(fps).unwrap().fraction();
        assert_eq!(snapped(29.97), (30_000, 1001));
        assert_eq!(snapped(29.999), (30, 1));
        assert_eq!(snapped(23.98), (24_000, 1001));
        assert_eq!(snapped(15.0), (30, 1));
        assert_eq!(snapped(12.5), (25, 1));
        assert_eq!(snapped(20.0), (60, 1));
        assert_eq!(snapped(120.0), (60, 1));
        assert_eq!(FrameRate::snap(0.0), None);
        assert_eq!(FrameRate::snap(f64::NAN), None);
    }

    #[test]
    fn instants_of_different_timescales_compare_by_time() {
        let audio = Timestamp::new(48_000, Timescale::new(48_000).unwrap());
        assert_eq!(audio, Timestamp::video(120_000));
        assert!(audio < Timestamp::video(120_001));
    }

    #[test]
    fn rescaling_rounds_down_below_zero_too() {
        let scale = Timescale::new(48_000).unwrap();
        assert_eq!(Timestamp::video(-1).rescale(scale).ticks, -1);
        assert_eq!(Timestamp::video(4004).rescale(scale).ticks, 1601);
        assert_eq!(Timestamp::video(4004).rescale_nearest(scale).ticks, 1602);
    }

    #[test]
    fn wall_time_prints_as_playlists_want_it() {
        assert_eq!(WallTime { unix_millis: 0 }.to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(WallTime { unix_millis: 1_772_366_412_007 }.to_string(), "2026-03-01T12:00:12.007Z");
        assert_eq!(WallTime { unix_millis: 951_782_400_000 }.to_string(), "2000-02-29T00:00:00.000Z");
    }
}
