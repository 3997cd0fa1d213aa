//! Ladders: which gears a source of a given size and rate gets.

use std::sync::Arc;

use headwater_media::{FrameRate, RenditionName};

use crate::AudioGroup;

/// One gear as configured: a box into which the picture is fitted, and how it is encoded.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Gear {
    /// `720p-3000`: height and kbit/s.
    pub name: RenditionName,
    /// Width of the box in pixels. In a planned gear: the encoded width.
    pub width: u32,
    /// Height of the box in pixels. In a planned gear: the encoded height.
    pub height: u32,
    /// Average rate in kbit/s, as long as [`maxrate_kbps`](Self::maxrate_kbps) is not lower.
    pub bitrate_kbps: u32,
    /// Rate in kbit/s at which a player's buffer fills: the highest that lasts.
    pub maxrate_kbps: u32,
    /// Size of that buffer in kbit.
    pub bufsize_kbit: u32,
    /// libx264's preset.
    pub preset: Arc<str>,
    /// libx264's tune; empty for none. With anything but `zerolatency` the encoder holds pictures back.
    pub tune: Arc<str>,
    /// Highest H.264 profile: `baseline`, `main` or `high`.
    pub profile: Arc<str>,
    /// The sound that goes with it.
    pub audio: AudioGroup,
    /// Of a source above 30 frames per second it takes every second picture: the even slots of each segment.
    pub halve: bool,
}

/// The gears that a stream may get.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ladder {
    /// Largest first.
    pub gears: Vec<Gear>,
}

/// What a ladder is planned for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Source {
    /// Display width in pixels.
    pub width: u32,
    /// Display height in pixels.
    pub height: u32,
    /// Video bitrate in kbit/s, if known.
    pub bitrate_kbps: Option<u32>,
}

/// A gear of the source's own size must be this much cheaper to be worth encoding, in percent of the source's rate.
const SAME_SIZE_PERCENT: u64 = 70;

impl Gear {
    /// A gear named by its height and rate, as all are that do not say otherwise: constant rate with a buffer of one
    /// second, tuned for latency, profile High.
    pub fn new(width: u32, height: u32, bitrate_kbps: u32, preset: &str) -> Self {
        let name = RenditionName::new(&format!("{height}p-{bitrate_kbps}"));
        Self {
            name: name.expect("digits, `p` and `-` make a rendition name"),
            width,
            height,
            bitrate_kbps,
            maxrate_kbps: bitrate_kbps,
            bufsize_kbit: bitrate_kbps,
            preset: preset.into(),
            tune: "zerolatency".into(),
            profile: "high".into(),
            audio: AudioGroup::Main,
            halve: false,
        }
    }

    /// The gear's rate in a session with `frame_rate` slots per second.
    pub fn frame_rate(&self, frame_rate: FrameRate) -> FrameRate {
        frame_rate.halved().filter(|_| self.halve).unwrap_or(frame_rate)
    }

    /// Average rate of its media in bit/s.
    pub fn average_bps(&self) -> u32 {
        self.bitrate_kbps.min(self.maxrate_kbps).saturating_mul(1000)
    }

    /// Highest rate over a segment in bit/s, in a session of that TARGETDURATION: what lasts, and the buffer once (H-76).
    pub fn peak_bps(&self, target_duration: u32) -> u32 {
        let burst_kbps = self.bufsize_kbit.div_ceil(target_duration.max(1));
        self.maxrate_kbps.saturating_add(burst_kbps).saturating_mul(1000)
    }
}

impl Ladder {
    /// Names of the ladders that are always there.
    pub const BUILT_IN: [&str; 4] = ["hd", "apple", "bipbop", "none"];

    /// The built-in ladder of that name.
    pub fn built_in(name: &str) -> Option<Self> {
        match name {
            "hd" => Some(Self::hd()),
            "apple" => Some(Self::apple()),
            "bipbop" => Some(Self::bipbop()),
            "none" => Some(Self::default()),
            _ => None,
        }
    }

    /// 1280x720 at 3000, 854x480 at 1400 and 640x360 at 730 kbit/s.
    pub fn hd() -> Self {
        let gears = [(1280, 720, 3000), (854, 480, 1400), (640, 360, 730)];
        Self { gears: gears.into_iter().map(|(w, h, rate)| Gear::new(w, h, rate, "superfast")).collect() }
    }

    /// The nine gears of Apple's authoring specification (H-81); the four smallest at 30 frames per second at most.
    pub fn apple() -> Self {
        Self::of_nine([
            (1920, 1080, 7800),
            (1920, 1080, 6000),
            (1280, 720, 4500),
            (1280, 720, 3000),
            (960, 540, 2000),
            (768, 432, 1100),
            (768, 432, 730),
            (640, 360, 365),
        ])
    }

    /// The gears of Apple's "advanced bipbop" stream (H-82), and the smallest of [`apple`](Self::apple) below them.
    pub fn bipbop() -> Self {
        Self::of_nine([
            (1920, 1080, 7800),
            (1920, 1080, 6000),
            (1920, 1080, 4500),
            (1280, 720, 3000),
            (960, 540, 2000),
            (768, 432, 1100),
            (640, 360, 730),
            (480, 270, 365),
        ])
    }

    /// Eight gears and the smallest, which both ladders of Apple's have. Of the smaller half, every second picture is
    /// left out above 30 frames per second (H-84). Those up to 360 lines cost so little that they get a better preset.
    fn of_nine(eight: [(u32, u32, u32); 8]) -> Self {
        let preset = |height| if height <= 360 { "veryfast" } else { "superfast" };
        let gear =
            |(width, height, kbps)| Gear { halve: height < 540, ..Gear::new(width, height, kbps, preset(height)) };
        Self { gears: eight.into_iter().map(gear).chain([Self::smallest()]).collect() }
    }

    /// 416x234 at 145 kbit/s, held down to what leaves its BANDWIDTH at 192000 (H-83): with 40 kbit/s of audio and the box
    /// headers of the shortest parts (19.4 kbit/s with ten of each track in a second), 130 kbit/s are left for
    /// `maxrate + bufsize / 3`.
    fn smallest() -> Gear {
        Gear {
            halve: true,
            audio: AudioGroup::Low,
            maxrate_kbps: 112,
            bufsize_kbit: 54,
            ..Gear::new(416, 234, 145, "veryfast")
        }
    }

    /// The gears that `source` gets, with the sizes at which they are encoded: even, of the source's aspect, never
    /// larger than the source. One of the source's own size is kept only when its rate is below 0.7 of the source's.
    pub fn plan(&self, source: Source) -> Vec<Gear> {
        let mut planned: Vec<Gear> = Vec::new();
        for gear in &self.gears {
            let Some((width, height)) = fit(gear, source) else { continue };
            let same_size = width >= source.width & !1 && height >= source.height & !1;
            let cheaper = source
                .bitrate_kbps
                .is_some_and(|kbps| u64::from(gear.bitrate_kbps) * 100 < u64::from(kbps) * SAME_SIZE_PERCENT);
            if same_size && !cheaper {
                continue;
            }
            planned.push(Gear { width, height, ..gear.clone() });
        }
        planned
    }
}

/// Fits the source's picture into the gear's box. A portrait picture takes the box turned by 90 degrees. `None` when
/// the box is larger than the source.
fn fit(gear: &Gear, source: Source) -> Option<(u32, u32)> {
    if source.width < 2 || source.height < 2 {
        return None;
    }
    let portrait = source.height > source.width;
    let (box_width, box_height) = if portrait { (gear.height, gear.width) } else { (gear.width, gear.height) };
    let (width, height) = (u64::from(source.width), u64::from(source.height));
    // The side that limits: compare box_width / width with box_height / height without dividing.
    let by_width = u64::from(box_width) * height <= u64::from(box_height) * width;
    let (out_width, out_height) = if by_width {
        (u64::from(box_width), even(u64::from(box_width) * height, width))
    } else {
        (even(u64::from(box_height) * width, height), u64::from(box_height))
    };
    let (out_width, out_height) = (out_width.min(width) & !1, out_height & !1);
    if out_width > width || out_height > height || u64::from(box_width.min(box_height)) > width.min(height) + 1 {
        return None;
    }
    Some((u32::try_from(out_width).ok()?, u32::try_from(out_height).ok()?))
}

/// `numerator / denominator`, rounded to the nearest even number, at least 2.
fn even(numerator: u64, denominator: u64) -> u64 {
    ((numerator + denominator) / (2 * denominator) * 2).max(2)
}

#[cfg(test)]
mod tests {
    use headwater_hls::{Bandwidth, Overhead};
    use headwater_segmenter::{Grid, Profile};

    use super::*;

    fn planned(width: u32, height: u32, kbps: u32) -> Vec<(String, u32, u32)> {
        let source = Source { width, height, bitrate_kbps: Some(kbps) };
        Ladder::hd().plan(source).into_iter().map(|gear| (gear.name.to_string(), gear.width, gear.height)).collect()
    }

    fn names(ladder: &Ladder, width: u32, height: u32, kbps: u32) -> Vec<String> {
        let source = Source { width, height, bitrate_kbps: Some(kbps) };
        ladder.plan(source).into_iter().map(|gear| gear.name.to_string()).collect()
    }

    fn sizes(width: u32, height: u32, kbps: u32) -> Vec<(u32, u32)> {
        planned(width, height, kbps).into_iter().map(|(_, width, height)| (width, height)).collect()
    }

    #[test]
    fn a_full_hd_source_gets_every_gear() {
        assert_eq!(sizes(1920, 1080, 6000), [(1280, 720), (854, 480), (640, 360)]);
        assert_eq!(planned(1920, 1080, 6000)[0].0, "720p-3000");
    }

    #[test]
    fn a_gear_of_the_sources_size_must_cost_less_than_70_percent() {
        assert_eq!(sizes(1280, 720, 4300), [(1280, 720), (854, 480), (640, 360)]);
        assert_eq!(sizes(1280, 720, 4200), [(854, 480), (640, 360)]);
        assert_eq!(sizes(640, 360, 1000), []);
        assert_eq!(sizes(640, 360, 1100), [(640, 360)]);
    }

    #[test]
    fn nothing_is_enlarged() {
        assert_eq!(sizes(854, 480, 2500), [(854, 480), (640, 360)]);
        assert_eq!(sizes(426, 240, 9000), []);
    }

    #[test]
    fn a_full_hd_source_gets_the_nine_gears_of_apple_and_of_bipbop() {
        let apple = [
            "1080p-7800",
            "1080p-6000",
            "720p-4500",
            "720p-3000",
            "540p-2000",
            "432p-1100",
            "432p-730",
            "360p-365",
            "234p-145",
        ];
        assert_eq!(names(&Ladder::apple(), 1920, 1080, 12_000), apple);
        let bipbop = [
            "1080p-7800",
            "1080p-6000",
            "1080p-4500",
            "720p-3000",
            "540p-2000",
            "432p-1100",
            "360p-730",
            "270p-365",
            "234p-145",
        ];
        assert_eq!(names(&Ladder::bipbop(), 1920, 1080, 12_000), bipbop);
    }

    #[test]
    fn gears_of_the_sources_own_size_stay_below_its_rate() {
        assert_eq!(names(&Ladder::bipbop(), 1920, 1080, 10_000)[..2], ["1080p-6000", "1080p-4500"]);
        assert_eq!(names(&Ladder::bipbop(), 1920, 1080, 7000)[..2], ["1080p-4500", "720p-3000"]);
        assert_eq!(names(&Ladder::bipbop(), 1920, 1080, 6000)[0], "720p-3000");
        assert_eq!(names(&Ladder::apple(), 1280, 720, 5000)[..2], ["720p-3000", "540p-2000"]);
    }

    #[test]
    fn gears_of_a_built_in_ladder_stand_largest_first_and_have_names_of_their_own() {
        for name in Ladder::BUILT_IN {
            let gears = Ladder::built_in(name).unwrap().gears;
            let cost = |gear: &Gear| (gear.height, gear.bitrate_kbps);
            assert!(gears.windows(2).all(|pair| cost(&pair[0]) > cost(&pair[1])), "{name}");
        }
    }

    #[test]
    fn small_gears_of_apple_and_bipbop_have_30_frames_at_most() {
        let rate = |fps| FrameRate::snap(fps).unwrap();
        for ladder in [Ladder::apple(), Ladder::bipbop()] {
            for gear in &ladder.gears {
                for (source, halved) in [(60.0, 30.0), (59.94, 29.97), (50.0, 25.0)] {
                    let expected = if gear.height < 540 { halved } else { source };
                    assert_eq!(gear.frame_rate(rate(source)), rate(expected), "{}", gear.name);
                }
                assert_eq!(gear.frame_rate(FrameRate::FPS_30), FrameRate::FPS_30);
            }
        }
    }

    #[test]
    fn the_smallest_gear_leaves_its_variant_at_192_kbps_whatever_the_latency() {
        for ladder in [Ladder::apple(), Ladder::bipbop()] {
            let gear = ladder.gears.last().unwrap();
            for (profile, rate) in Profile::ALL.into_iter().flat_map(|p| FrameRate::ALL.map(|rate| (p, rate))) {
                let grid = Grid::new(profile, rate);
                let part = grid.slot_start(grid.part_slots);
                let pictures = if gear.frame_rate(rate) == rate { grid.part_slots } else { grid.part_slots / 2 };
                let frames = (grid.part_target.centi_millis().unsigned_abs() * 48_000).div_ceil(1024 * 100_000);
                let overheads =
                    [Overhead::video(pictures.unsigned_abs(), part), Overhead::audio(frames, grid.part_target)];
                let (average, peak) = (gear.average_bps().into(), gear.peak_bps(grid.target_duration).into());
                let bandwidth = Bandwidth::of_video(average, peak, 0, grid.target_duration, 40_000, &overheads);
                assert!(bandwidth.peak_bps <= 192_000, "{profile:?} {rate:?}: {}", bandwidth.peak_bps);
            }
        }
    }

    #[test]
    fn portrait_and_odd_sizes_keep_their_aspect() {
        assert_eq!(sizes(405, 720, 1500), [(360, 640)]);
        assert_eq!(sizes(1080, 1920, 6000), [(720, 1280), (480, 854), (360, 640)]);
        assert_eq!(sizes(853, 480, 1500), [(640, 360)]);
        assert_eq!(sizes(1919, 1079, 6000), [(1280, 720), (854, 480), (640, 360)]);
        assert_eq!(sizes(1440, 1080, 6000), [(960, 720), (640, 480), (480, 360)]);
    }
}
