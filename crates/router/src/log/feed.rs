//! What the readers of one rendition get: its cuts and parts, in order, each with a number.

use std::collections::VecDeque;
use std::sync::Arc;

use headwater_media::{Cut, MediaSequence, Part, PartIndex, PartPayload};

use super::room;

/// One entry of a rendition's feed.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// A segment begins, in the timeline.
    Cut(Arc<Cut>),
    /// A part is there, or never will be.
    Part(Arc<Part>),
    /// Segments below this one get no more parts: those that are not whole are gaps.
    ClosedBelow(MediaSequence),
}

impl FeedItem {
    fn msn(&self) -> MediaSequence {
        match self {
            Self::Cut(cut) => cut.msn,
            Self::Part(part) => part.msn,
            Self::ClosedBelow(msn) => *msn,
        }
    }
}

/// The window of one rendition.
#[derive(Debug, Default)]
pub(super) struct Feed {
    items: VecDeque<FeedItem>,
    first: u64,
}

impl Feed {
    pub(super) fn push(&mut self, item: FeedItem) {
        room::for_one(&mut self.items);
        self.items.push_back(item);
    }

    pub(super) fn extend(&mut self, items: impl IntoIterator<Item = FeedItem>) {
        self.items.extend(items);
    }

    /// The parts that are gaps.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (MediaSequence, PartIndex)> {
        self.items.iter().filter_map(|item| match item {
            FeedItem::Part(part) if matches!(part.payload, PartPayload::Gap) => Some((part.msn, part.index)),
            _ => None,
        })
    }

    /// The first segment of which there is something.
    pub(super) fn begins(&self) -> Option<MediaSequence> {
        self.items.front().map(FeedItem::msn)
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the cut is news: later than all that are there, or another one of the same number.
    pub(super) fn lacks_cut(&self, cut: &Cut) -> bool {
        let known = self.items.iter().rev().find_map(|item| match item {
            FeedItem::Cut(known) if known.msn <= cut.msn => Some(known),
            _ => None,
        });
        let newest = self.items.iter().rev().find(|item| matches!(item, FeedItem::Cut(_))).map(FeedItem::msn);
        match known {
            Some(known) if known.msn == cut.msn => **known != *cut,
            _ => newest.is_none_or(|newest| newest < cut.msn),
        }
    }

    /// Below which segment no more parts come.
    pub(super) fn closed_below(&self) -> Option<MediaSequence> {
        self.items.iter().rev().find_map(|item| match item {
            FeedItem::ClosedBelow(msn) => Some(*msn),
            _ => None,
        })
    }

    /// Bytes of the parts.
    pub(super) fn bytes(&self) -> usize {
        let parts = self.items.iter().map(|item| match item {
            FeedItem::Part(part) => part.bytes(),
            FeedItem::Cut(_) | FeedItem::ClosedBelow(_) => 0,
        });
        parts.sum()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.first += self.items.len() as u64;
        self.items.clear();
    }

    /// Number of the cut of segment `msn`, or of the first later one; of the next item when there is none.
    pub(super) fn cut(&self, msn: MediaSequence) -> u64 {
        let found = self.items.iter().position(|item| matches!(item, FeedItem::Cut(cut) if cut.msn >= msn));
        self.first + found.unwrap_or(self.items.len()) as u64
    }

    /// The item with number `cursor`, or where to go on when it has been dropped.
    pub(super) fn item(&self, cursor: u64) -> Result<Option<&FeedItem>, u64> {
        let offset = cursor.checked_sub(self.first).ok_or(self.first)?;
        Ok(usize::try_from(offset).ok().and_then(|offset| self.items.get(offset)))
    }

    /// Drops whole segments before `oldest`; what is left begins with a cut.
    pub(super) fn drop_before(&mut self, oldest: MediaSequence) {
        // Late parts of an older segment stand behind the next cut, so only the cut of `oldest` itself ends the search.
        let keep = self.items.iter().position(|item| matches!(item, FeedItem::Cut(_)) && item.msn() >= oldest);
        let drop = keep.unwrap_or(0);
        self.items.drain(..drop);
        self.first += drop as u64;
    }
}
