//! What a stream's record keeps of its session, so that another home can go on with its numbers and names (architecture 8).

use std::sync::Arc;

use headwater_media::{AudioConfig, Cut, RenditionName, WallTime};
use headwater_segmenter::Grid;

use crate::{Rendition, RenditionKind, SessionState};

/// A session without its media: its constants and the cuts of its window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outline {
    /// Slots, parts, segments, TARGETDURATION, PART-TARGET.
    pub grid: Grid,
    /// Segments that a playlist lists.
    pub window_segments: u32,
    /// Wall time of the first sample.
    pub since: WallTime,
    /// What is made of it, in the order of [`SessionState::renditions`].
    pub renditions: Vec<OutlinedRendition>,
    /// What its sound was when it began; `None` without sound.
    pub audio: Option<Arc<AudioConfig>>,
    /// The newest cuts, oldest first. Not empty.
    pub cuts: Vec<Arc<Cut>>,
}

/// A rendition's constants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutlinedRendition {
    /// Its name in paths.
    pub name: RenditionName,
    /// Video as it came, a gear, or audio.
    pub kind: RenditionKind,
    /// Average bitrate that was declared, in bit/s.
    pub average_bps: u32,
    /// Highest bitrate that was declared, in bit/s.
    pub peak_bps: u32,
    /// Channels; `None` for video.
    pub channels: Option<u8>,
    /// It takes the source's place.
    pub standby: bool,
}

impl Outline {
    /// The outline of a session that stands where `state` says and was cut at `cuts`, of which there is one at least.
    pub fn new(state: &SessionState, audio: Option<Arc<AudioConfig>>, cuts: Vec<Arc<Cut>>) -> Self {
        let renditions = state.renditions.iter().map(|known| OutlinedRendition {
            name: known.name.clone(),
            kind: known.kind.clone(),
            average_bps: known.average_bps,
            peak_bps: known.peak_bps,
            channels: known.channels,
            standby: known.standby,
        });
        Self {
            grid: state.session.grid,
            window_segments: state.session.window_segments,
            since: state.session.since,
            renditions: renditions.collect(),
            audio,
            cuts,
        }
    }

    /// Its renditions, none of which has begun.
    pub fn renditions(&self) -> Arc<[Rendition]> {
        let rate = self.grid.frame_rate;
        let rendition = |known: &OutlinedRendition| Rendition {
            name: known.name.clone(),
            kind: known.kind.clone(),
            init: None,
            begun: false,
            average_bps: known.average_bps,
            peak_bps: known.peak_bps,
            frame_rate: match &known.kind {
                RenditionKind::Source => Some(rate),
                RenditionKind::Gear(gear) => Some(gear.frame_rate(rate)),
                RenditionKind::Audio | RenditionKind::AudioGear(_) => None,
            },
            channels: known.channels,
            standby: known.standby,
            off: None,
        };
        self.renditions.iter().map(rendition).collect()
    }
}
