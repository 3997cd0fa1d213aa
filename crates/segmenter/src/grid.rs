//! The constants of a session: its profile laid over its frame rate (architecture 4).

use std::str::FromStr;

use headwater_media::{AudioConfig, FrameRate, Timescale, Timestamp};

/// How low the latency is to be; each step down costs fewer requests.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Profile {
    /// Parts of 0.1 s: about half a second to the screen, on a good network.
    Ultra,
    /// Parts of 0.2 s: about 0.75 s.
    #[default]
    Low,
    /// Parts of 0.5 s: about 1.7 s.
    Relaxed,
    /// Parts of 1 s and segments of 6 s: Apple's recommended values.
    Standard,
}

impl Profile {
    /// All profiles, lowest latency first.
    pub const ALL: [Self; 4] = [Self::Ultra, Self::Low, Self::Relaxed, Self::Standard];

    /// The profile's name in configuration and API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ultra => "ultra",
            Self::Low => "low",
            Self::Relaxed => "relaxed",
            Self::Standard => "standard",
        }
    }

    /// (P in ms, S in ms, TARGETDURATION in s).
    const fn times(self) -> (i64, i64, u32) {
        match self {
            Self::Ultra => (100, 2000, 3),
            Self::Low => (200, 2000, 3),
            Self::Relaxed => (500, 4000, 5),
            Self::Standard => (1000, 6000, 6),
        }
    }
}

impl FromStr for Profile {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|profile| profile.name() == text).ok_or(())
    }
}

/// The session's grid of slots and what is cut from it. Constant for the life of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grid {
    /// The profile that it was made from.
    pub profile: Profile,
    /// Slots per second.
    pub frame_rate: FrameRate,
    /// Length of a slot in ticks of 1/120000 s.
    pub slot_ticks: i64,
    /// Slots in a part (n): the fewest that last P or longer, an even number above 30 frames per second, because such
    /// gears may be halved.
    pub part_slots: i64,
    /// Slots after which a segment is long enough (S, half a slot less allowed).
    pub segment_slots: i64,
    /// The most slots of a segment: TARGETDURATION + 0.5 s less one slot or audio frame, whichever is longer, because an
    /// audio segment may be longer than the video's by most of a frame (H-8).
    pub limit_slots: i64,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration: u32,
    /// PART-TARGET, exact: the longest of n slots and of the AAC-LC parts at 48 and 44.1 kHz (H-26).
    pub part_target: Timestamp,
}

/// A frame of AAC-LC at 44.1 kHz, and 4/3 ms by which one may be longer, rounded up, in ticks of 1/120000 s.
const AUDIO_FRAME_TICKS: i64 = 2947;
/// By how much a frame of a source's own sound may be longer than it says: a hundredth of a second.
const STRETCH_TICKS: i64 = 1200;

impl Grid {
    /// Lays `profile` over `frame_rate`.
    pub fn new(profile: Profile, frame_rate: FrameRate) -> Self {
        let (part_millis, segment_millis, target_duration) = profile.times();
        let slot_ticks = frame_rate.slot_ticks();
        let mut part_slots = (part_millis * 120 + slot_ticks - 1) / slot_ticks;
        if slot_ticks < 4000 {
            part_slots += part_slots % 2;
        }
        let video_part = Timestamp::video(part_slots * slot_ticks);
        let part_target =
            [44_100, 48_000].into_iter().map(|rate| audio_part(video_part, rate)).fold(video_part, Ord::max);
        Self {
            profile,
            frame_rate,
            slot_ticks,
            part_slots,
            segment_slots: (segment_millis * 120 - slot_ticks / 2 + slot_ticks - 1) / slot_ticks,
            limit_slots: limit_slots(target_duration, slot_ticks, AUDIO_FRAME_TICKS),
            target_duration,
            part_target,
        }
    }

    /// The same for a session in which a source's own sound is offered, with frames that may be longer than AAC's.
    #[must_use]
    pub fn with_source_sound(self, config: &AudioConfig) -> Self {
        let (samples, rate) = (i64::from(config.frame_samples()), i64::from(config.sample_rate()));
        let frame_ticks = AUDIO_FRAME_TICKS.max((samples * 120_000 + rate - 1) / rate + STRETCH_TICKS);
        Self { limit_slots: limit_slots(self.target_duration, self.slot_ticks, frame_ticks), ..self }
    }

    /// The same for a session whose longest segment has so many slots, as it was told by another node or kept. `None` when
    /// it is longer than the profile's, or shorter than segments are.
    #[must_use]
    pub fn with_limit(self, limit_slots: i64) -> Option<Self> {
        (self.segment_slots..=self.limit_slots).contains(&limit_slots).then_some(Self { limit_slots, ..self })
    }

    /// When slot `slot` begins.
    pub const fn slot_start(&self, slot: i64) -> Timestamp {
        Timestamp::video(slot * self.slot_ticks)
    }
}

fn limit_slots(target_duration: u32, slot_ticks: i64, audio_frame_ticks: i64) -> i64 {
    (i64::from(target_duration) * 120_000 + 60_000 - slot_ticks.max(audio_frame_ticks)) / slot_ticks
}

/// The longest part of an AAC-LC track when video parts last `part`: the frames that start in it, rounded up.
fn audio_part(part: Timestamp, sample_rate: u32) -> Timestamp {
    let scale = Timescale::new(sample_rate).expect("the two rates asked for are not zero");
    let samples = i128::from(part.ticks) * i128::from(sample_rate);
    let per_frame = 1024 * i128::from(part.timescale.units_per_second());
    let frames = i64::try_from((samples + per_frame - 1) / per_frame).unwrap_or(i64::MAX / 1024);
    Timestamp::new(frames * 1024, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(profile: Profile, fps: f64) -> Grid {
        Grid::new(profile, FrameRate::snap(fps).unwrap())
    }

    /// PART-TARGET as printed: rounded up to five decimals.
    fn printed(grid: Grid) -> i64 {
        let scale = i128::from(grid.part_target.timescale.units_per_second());
        i64::try_from((i128::from(grid.part_target.ticks) * 100_000 + scale - 1) / scale).unwrap()
    }

    #[test]
    fn the_designs_own_check_values_hold() {
        for (fps, slots) in [(24.0, 3), (25.0, 3), (50.0, 6)] {
            assert_eq!((grid(Profile::Ultra, fps).part_slots, printed(grid(Profile::Ultra, fps))), (slots, 13_932));
        }
        for fps in [30.0, 60.0] {
            assert_eq!(printed(grid(Profile::Ultra, fps)), 11_610);
        }
        assert_eq!(printed(grid(Profile::Low, 30.0)), 21_334);
        for fps in [25.0, 50.0] {
            assert_eq!(printed(grid(Profile::Relaxed, fps)), 53_406);
        }
    }

    #[test]
    fn video_parts_are_within_85_percent_of_the_part_target() {
        for profile in Profile::ALL {
            for rate in FrameRate::ALL {
                let grid = Grid::new(profile, rate);
                let part = Timestamp::video(grid.part_slots * grid.slot_ticks);
                assert!(part.centi_millis() * 100 >= grid.part_target.centi_millis() * 85, "{profile:?} {rate:?}");
            }
        }
    }

    #[test]
    fn a_segment_at_the_limit_still_rounds_to_the_target_duration() {
        for profile in Profile::ALL {
            for rate in FrameRate::ALL {
                let grid = Grid::new(profile, rate);
                let longest = grid.slot_start(grid.limit_slots).centi_millis();
                assert!((longest + 50_000) / 100_000 <= i64::from(grid.target_duration), "{profile:?} {rate:?}");
                assert!(grid.segment_slots < grid.limit_slots);
            }
        }
    }

    #[test]
    fn a_2_second_segment_is_60_slots_at_30_and_at_29_97() {
        assert_eq!(grid(Profile::Low, 30.0).segment_slots, 60);
        assert_eq!(grid(Profile::Low, 29.97).segment_slots, 60);
        assert_eq!(grid(Profile::Low, 25.0).segment_slots, 50);
    }
}
