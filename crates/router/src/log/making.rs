//! One rendition in the making: its turn, the part that is missing next, and what its readers get.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use headwater_media::{
    Cut, CutKind, MediaSequence, Part, PartEnd, PartIndex, PartPayload, RenditionName, Timestamp, Turn,
};
use headwater_segmenter::Grid;
use tokio::sync::watch;

use super::feed::{Feed, FeedItem};
use super::following::Progress;
use super::going_on::Standing;
use super::i_frames::IFrameMeter;
use super::wake::Wake;
use crate::session::{Rendition, RenditionKind};

/// A rendition in the making.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) name: RenditionName,
    pub(super) medium: Medium,
    pub(super) turn: Turn,
    /// The part that is missing next; `None` before the first.
    pub(super) next: Option<(MediaSequence, PartIndex)>,
    /// Segments below this one get no more parts, from anyone: their home was lost.
    pub(super) floor: MediaSequence,
    /// Of a session that another home began: what is listed until there is a whole segment.
    pub(super) standing: Option<Standing>,
    /// Where the newest part ends.
    pub(super) covered: Option<Timestamp>,
    /// It was shed.
    pub(super) shed: Option<Shed>,
    /// Segments below this one have no more parts: it was off in them.
    pub(super) off_below: MediaSequence,
    pub(super) feed: Feed,
    pub(super) i_frames: IFrameMeter,
    /// Counts the times that it stopped because nobody watched; readers of an earlier time are at their end.
    pub(super) stops: u64,
    /// The first segment of which nothing was made before it stopped: what was made keeps its names (invariant 2).
    pub(super) unmade: MediaSequence,
    pub(super) wake: Wake,
    /// In a replica: what the home said last of it.
    pub(super) told: Option<Progress>,
    /// In a replica: the home said that no more parts come.
    pub(super) finished: bool,
}

/// Which parts a rendition has, and who makes them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Medium {
    /// One for each that the timeline ends. The home makes them.
    Source,
    /// The same. A worker makes them, while somebody watches.
    Gear,
    /// Perhaps fewer. The home makes them.
    Audio,
    /// Perhaps fewer. A worker makes them, while somebody watches.
    AudioGear,
}

impl Medium {
    pub(super) fn of(kind: &RenditionKind) -> Self {
        match kind {
            RenditionKind::Source => Self::Source,
            RenditionKind::Gear(_) => Self::Gear,
            RenditionKind::Audio => Self::Audio,
            RenditionKind::AudioGear(_) => Self::AudioGear,
        }
    }
}

/// A rendition that is off for want of something to make it with.
#[derive(Debug)]
pub(super) struct Shed {
    pub(super) reason: Arc<str>,
    /// It comes back with the next cut.
    pub(super) until_cut: bool,
}

impl Making {
    pub(super) fn new(rendition: &Rendition, grid: &Grid, followers: &watch::Sender<()>) -> Self {
        Self {
            name: rendition.name.clone(),
            medium: Medium::of(&rendition.kind),
            turn: Turn::default(),
            next: None,
            floor: MediaSequence(0),
            standing: None,
            covered: None,
            shed: None,
            off_below: MediaSequence(0),
            feed: Feed::default(),
            i_frames: IFrameMeter::new(grid),
            stops: 0,
            unmade: MediaSequence(0),
            wake: Wake::new(followers),
            told: None,
            finished: false,
        }
    }

    /// It has a part for each that the timeline ends.
    pub(super) fn is_video(&self) -> bool {
        matches!(self.medium, Medium::Source | Medium::Gear)
    }

    /// A worker makes it, while somebody watches.
    pub(super) fn is_encoded(&self) -> bool {
        matches!(self.medium, Medium::Gear | Medium::AudioGear)
    }

    /// Whether it is off in the rest of the segment that `cut` begins.
    pub(super) fn is_off_in(&self, cut: &Cut) -> bool {
        self.shed.is_some() || cut.msn < self.off_below || cut.off_reason(&self.name).is_some()
    }

    /// Nobody watches: what was made is forgotten, and its writer loses its turn.
    pub(super) fn stop(&mut self) {
        self.turn.counter += 1;
        if let Some((msn, index)) = self.next.take() {
            self.unmade = if index == PartIndex(0) { msn } else { msn.next() };
        }
        self.covered = None;
        self.shed = None;
        self.feed.clear();
        self.end_readers();
    }

    /// Readers are at their end. Who reads then begins where the ladder was woken.
    pub(super) fn end_readers(&mut self) {
        self.stops += 1;
        self.wake.send_replace(());
    }

    /// Puts one part behind all that is there.
    pub(super) fn push_part(&mut self, part: Arc<Part>) {
        self.next = Some((part.msn, PartIndex(part.index.0 + 1)));
        self.i_frames.take(&part);
        self.covered = Some(part.end);
        self.feed.push(FeedItem::Part(part));
    }

    /// Puts the cuts of these segments. What is before a gap in the timeline was closed with it.
    pub(super) fn push_cuts(&mut self, cuts: &VecDeque<Arc<Cut>>, of: RangeInclusive<MediaSequence>) {
        for cut in cuts.iter().filter(|cut| of.contains(&cut.msn)) {
            self.feed.push(FeedItem::Cut(cut.clone()));
            if cut.kind == CutKind::Gap {
                self.feed.push(FeedItem::ClosedBelow(cut.msn.next()));
            }
        }
    }

    /// Nothing more comes below this segment.
    pub(super) fn close_below(&mut self, msn: MediaSequence) {
        self.floor = self.floor.max(msn);
        if self.next.is_some_and(|next| next < (msn, PartIndex(0))) {
            self.next = Some((msn, PartIndex(0)));
            self.feed.push(FeedItem::ClosedBelow(msn));
        }
    }

    /// Declares every part between the next missing one and `until` a gap: they are final.
    pub(super) fn fill_gaps(
        &mut self,
        part_ends: &VecDeque<PartEnd>,
        until: (MediaSequence, PartIndex),
        slot_ticks: i64,
    ) -> u64 {
        let Some(next) = self.next else { return 0 };
        let mut gaps = 0;
        let from = part_ends.partition_point(|end| (end.msn, end.index) < next);
        for end in part_ends.range(from..).take_while(|end| (end.msn, end.index) < until) {
            self.feed.push(FeedItem::Part(Arc::new(Part {
                msn: end.msn,
                index: end.index,
                start: Timestamp::video(end.start.0 * slot_ticks),
                end: Timestamp::video(end.end.0 * slot_ticks),
                payload: PartPayload::Gap,
            })));
            self.next = Some((end.msn, PartIndex(end.index.0 + 1)));
            gaps += 1;
        }
        if gaps > 0 {
            self.wake.send_replace(());
        }
        gaps
    }
}
