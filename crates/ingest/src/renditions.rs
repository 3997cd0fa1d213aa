//! What is made of a session.

use std::sync::Arc;

use headwater_media::RenditionName;
use headwater_router::{Gear, Rendition, RenditionKind, Source};
use headwater_segmenter::timeline::Started;

/// What names of other tracks begin with.
const TRACK: &str = "track-";

/// The rendition of one of the publisher's other tracks.
fn track_name(track: u8) -> RenditionName {
    RenditionName::new(&format!("{TRACK}{track}")).expect("letters, a hyphen and digits")
}

/// The track that a rendition is, if it is one of the others.
pub(crate) fn track_number(name: &RenditionName) -> Option<u8> {
    name.as_str().strip_prefix(TRACK)?.parse().ok()
}

/// The source first, then other tracks, gears from large to small, then audio.
pub(crate) fn renditions(
    started: &Started,
    source: Option<Source>,
    tracks: &[u8],
    gears: &[Gear],
    fallback: Option<&Gear>,
    audio: Vec<Rendition>,
) -> Arc<[Rendition]> {
    let td = started.grid.target_duration;
    let rate = started.grid.frame_rate;
    let mut all = Vec::new();
    if started.video.is_some() {
        let average_bps = source.and_then(|source| source.bitrate_kbps).unwrap_or(0).saturating_mul(1000);
        let others = tracks.iter().map(|track| (track_name(*track), 0));
        all.extend([(RenditionName::source(), average_bps)].into_iter().chain(others).map(|(name, average_bps)| {
            Rendition {
                name,
                kind: RenditionKind::Source,
                init: None,
                begun: false,
                average_bps,
                peak_bps: average_bps,
                frame_rate: Some(rate),
                channels: None,
                standby: false,
                off: None,
            }
        }));
    }
    for gear in fallback.into_iter().chain(gears) {
        all.push(Rendition {
            name: gear.name.clone(),
            kind: RenditionKind::Gear(gear.clone()),
            init: None,
            begun: false,
            average_bps: gear.average_bps(),
            peak_bps: gear.peak_bps(td),
            frame_rate: Some(gear.frame_rate(rate)),
            channels: None,
            standby: fallback == Some(gear),
            off: None,
        });
    }
    all.extend(audio);
    all.into()
}

#[cfg(test)]
mod tests {
    use headwater_media::{AvcConfig, FrameRate};
    use headwater_router::Ladder;
    use headwater_segmenter::{Grid, Profile};

    use super::*;

    #[test]
    fn gears_say_their_own_frame_rate_and_what_their_buffer_adds_to_the_peak() {
        let sixty = FrameRate::snap(60.0).unwrap();
        let config = Started {
            grid: Grid::new(Profile::Low, sixty),
            video: Some(Arc::new(AvcConfig::parse(AVC_CONFIG).unwrap().into())),
            audio: None,
        };
        let source = Source { width: 1920, height: 1080, bitrate_kbps: Some(20_000) };
        let all = renditions(&config, Some(source), &[], &Ladder::bipbop().plan(source), None, Vec::new());
        let told = |name: &str| {
            let found = all.iter().find(|rendition| rendition.name.as_str() == name).unwrap();
            (found.frame_rate, found.average_bps, found.peak_bps)
        };
        assert_eq!(told("source").0, Some(sixty));
        assert_eq!(told("540p-2000"), (Some(sixty), 2_000_000, 2_667_000));
        assert_eq!(told("432p-1100"), (Some(FrameRate::FPS_30), 1_100_000, 1_467_000));
        assert_eq!(told("234p-145"), (Some(FrameRate::FPS_30), 112_000, 130_000));
    }

    /// x264's, 320x180.
    const AVC_CONFIG: &[u8] = &[
        1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 24, 0x67, 0x64, 0x00, 0x0D, 0xAC, 0xB4, 0x0A, 0x0C, 0xFC, 0xF8, 0x08, 0x80,
        0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x1E, 0x47, 0x8A, 0x15, 0x50, 1, 0, 4, 0x68, 0xEB, 0x8F, 0x20,
    ];
}
