//! What a request for a part or a segment should get.

use headwater_media::{MediaSequence, PartIndex};

use super::Window;

/// What is known of a part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartState {
    /// It is there: in the playlist, or not long enough out of it to be forgotten.
    Media,
    /// It will never have bytes: a gap, or its segment ended before it.
    Missing,
    /// It comes next: the preload hint names it. The request waits (H-33).
    Next,
    /// It is not the next one but near enough that a playlist request for it would wait: another edge may already list
    /// it.
    Ahead,
    /// Too far ahead to have been named by anybody.
    Future,
    /// It left the window.
    Gone,
}

/// What is known of a segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SegmentState {
    /// It is the concatenation of these parts.
    Complete(Vec<PartIndex>),
    /// It is complete and a gap.
    Gap,
    /// It is not complete (yet): 404 for a short time.
    Open,
    /// It left the window.
    Gone,
}

impl Window {
    /// What a request for a part should get.
    pub fn part(&self, msn: MediaSequence, index: PartIndex) -> PartState {
        let Some(next) = self.next_part() else {
            return self.known_part(msn, index).unwrap_or(PartState::Missing);
        };
        if (msn, index) == next {
            return PartState::Next;
        }
        self.known_part(msn, index)
            .unwrap_or_else(|| if self.waits_for(msn, index) { PartState::Ahead } else { PartState::Future })
    }

    /// What a request for a segment should get.
    pub fn segment(&self, msn: MediaSequence) -> SegmentState {
        let Some(place) = self.place(msn) else {
            let gone = self.entries.front().is_some_and(|front| msn < front.cut.msn);
            return if gone { SegmentState::Gone } else { SegmentState::Open };
        };
        let entry = &self.entries[place];
        match &entry.closed {
            None => SegmentState::Open,
            Some(closed) if closed.gap => SegmentState::Gap,
            Some(_) => {
                let media = entry.parts.iter().zip(0..).filter(|(part, _)| !part.gap);
                SegmentState::Complete(media.map(|(_, index)| PartIndex(index)).collect())
            }
        }
    }

    /// Number of the last complete segment that is listed, or the one before the list while there is none. `None` when
    /// nothing is listed.
    pub(crate) fn last_complete(&self) -> Option<MediaSequence> {
        let first = self.first?;
        let complete = self.listed().filter(|entry| entry.closed.is_some()).count();
        Some(MediaSequence((first.0 + complete as u64).saturating_sub(1)))
    }

    /// Whether a whole segment is listed. An ended playlist is as whole as it will be.
    pub(crate) fn has_whole_segment(&self) -> bool {
        self.ended || self.listed().next().is_some_and(|entry| entry.closed.is_some())
    }

    /// How many parts a segment has so far; `None` when it is not known.
    pub(crate) fn part_count(&self, msn: MediaSequence) -> Option<u32> {
        self.place(msn).map(|place| self.entries[place].next_index().0)
    }

    /// The part's state when it is in the past.
    fn known_part(&self, msn: MediaSequence, index: PartIndex) -> Option<PartState> {
        let Some(place) = self.place(msn) else {
            let gone = self.entries.front().is_some_and(|front| msn < front.cut.msn);
            return gone.then_some(PartState::Gone);
        };
        let entry = &self.entries[place];
        let part = usize::try_from(index.0).ok().and_then(|index| entry.parts.get(index));
        match part {
            Some(part) if part.gap => Some(PartState::Missing),
            Some(_) => Some(PartState::Media),
            None => entry.closed.map(|_| PartState::Missing),
        }
    }
}
