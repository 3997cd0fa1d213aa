//! Ladders: which gears a source of a given size and rate gets.

use std::sync::Arc;

use headwater_media::RenditionName;

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
    /// Average rate in kbit/s.
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
        }
    }
}

impl Ladder {
    /// 1280x720 at 3000, 854x480 at 1400 and 640x360 at 730 kbit/s.
    pub fn hd() -> Self {
        let gears = [(1280, 720, 3000), (854, 480, 1400), (640, 360, 730)];
        Self { gears: gears.into_iter().map(|(w, h, rate)| Gear::new(w, h, rate, "superfast")).collect() }
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
    use super::*;

    fn planned(width: u32, height: u32, kbps: u32) -> Vec<(String, u32, u32)> {
        let source = Source { width, height, bitrate_kbps: Some(kbps) };
        Ladder::hd().plan(source).into_iter().map(|gear| (gear.name.to_string(), gear.width, gear.height)).collect()
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
    fn portrait_and_odd_sizes_keep_their_aspect() {
        assert_eq!(sizes(405, 720, 1500), [(360, 640)]);
        assert_eq!(sizes(1080, 1920, 6000), [(720, 1280), (480, 854), (360, 640)]);
        assert_eq!(sizes(853, 480, 1500), [(640, 360)]);
        assert_eq!(sizes(1919, 1079, 6000), [(1280, 720), (854, 480), (640, 360)]);
        assert_eq!(sizes(1440, 1080, 6000), [(960, 720), (640, 480), (480, 360)]);
    }
}
