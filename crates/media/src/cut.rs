//! The timeline of a stream as others see it: a list of cuts, and where parts end.

use std::sync::Arc;

use crate::{MediaSequence, PartIndex, RenditionName, Timestamp, VideoSlot, WallTime};

/// Where a segment begins, for all renditions at once (architecture 4). MEDIA-SEQUENCE, EXTINF, DISCONTINUITY,
/// PROGRAM-DATE-TIME and GAP lines come from here alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cut {
    /// The segment's number.
    pub msn: MediaSequence,
    /// When it begins, in ticks of 1/120000 s on the session's timeline.
    pub start: Timestamp,
    /// How many discontinuities the session had up to and with this cut. One more than that of the cut before means:
    /// EXT-X-DISCONTINUITY before this segment.
    pub discontinuity: u64,
    /// Wall-clock time of `start`.
    pub program_date_time: WallTime,
    /// Whether there will be media at all.
    pub kind: CutKind,
    /// Which renditions are off from here on; those not named are on.
    pub renditions: Arc<[(RenditionName, RenditionState)]>,
}

/// Whether a segment has media.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CutKind {
    /// Parts will come.
    Media,
    /// Nothing will ever come: EXT-X-GAP in all renditions.
    Gap,
}

/// Whether a rendition is being made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RenditionState {
    /// Parts come.
    On,
    /// Its playlist goes on in step with gaps, for the reason given in words an operator understands.
    Off(Arc<str>),
}

impl Cut {
    /// Whether `rendition` is on from this cut; `Some(reason)` when it is off.
    pub fn off_reason(&self, rendition: &RenditionName) -> Option<&Arc<str>> {
        self.renditions.iter().find_map(|(name, state)| match state {
            RenditionState::Off(reason) if name == rendition => Some(reason),
            _ => None,
        })
    }
}

/// The timeline's decision that a part ends here, in every rendition. It is in the log before any rendition's part that
/// it closes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartEnd {
    /// Segment of the part.
    pub msn: MediaSequence,
    /// The part's number among the video parts of its segment. (An audio rendition may have fewer: a part in whose
    /// time no frame starts does not exist there.)
    pub index: PartIndex,
    /// Its first slot.
    pub start: VideoSlot,
    /// The slot after its last one.
    pub end: VideoSlot,
    /// The segment ends with it.
    pub last: bool,
}
