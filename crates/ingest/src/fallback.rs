//! The gear that takes the source's place while the source rendition is off (architecture 4).

use headwater_router::{Gear, Source};

/// A gear of the source's size at about the source's rate; `None` when the ladder has one of that size.
pub(crate) fn gear(source: Source, planned: &[Gear]) -> Option<Gear> {
    let (width, height) = (source.width & !1, source.height & !1);
    if width < 2 || height < 2 || planned.iter().any(|gear| gear.width >= width && gear.height >= height) {
        return None;
    }
    // As the usual ladders have it: 1080p gets 6.6 Mbit/s, 720p 2.9, 360p 0.74.
    let by_size = u64::from(width) * u64::from(height) * 320 / 100_000;
    let by_size = u32::try_from(by_size.max(200)).unwrap_or(u32::MAX);
    let kbps = source.bitrate_kbps.filter(|kbps| *kbps >= 100).map_or(by_size, |kbps| kbps.min(2 * by_size));
    Some(Gear::new(width, height, kbps, "superfast"))
}

#[cfg(test)]
mod tests {
    use headwater_router::Ladder;

    use super::*;

    #[test]
    fn it_has_the_sources_size_unless_the_ladder_does() {
        let source = Source { width: 1280, height: 720, bitrate_kbps: Some(2500) };
        let gear = gear(source, &Ladder::hd().plan(source)).unwrap();
        assert_eq!((gear.width, gear.height, gear.bitrate_kbps), (1280, 720, 2500));
        let fat = Source { bitrate_kbps: Some(8000), ..source };
        assert_eq!(super::gear(fat, &Ladder::hd().plan(fat)), None);
    }
}
