//! One rendition in the making: its turn, the part that is missing next, and what its readers get.

use std::collections::VecDeque;
use std::sync::Arc;

use headwater_media::{MediaSequence, Part, PartEnd, PartIndex, PartPayload, RenditionName, Timestamp, Turn};
use headwater_segmenter::Grid;
use tokio::sync::watch;

use super::feed::{Feed, FeedItem};
use super::i_frames::IFrameMeter;
use crate::session::{Rendition, RenditionKind};

/// A rendition in the making.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) name: RenditionName,
    pub(super) video: bool,
    pub(super) turn: Turn,
    /// Its writer runs only while somebody watches.
    pub(super) encoded: bool,
    /// The part that is missing next; `None` before the first.
    pub(super) next: Option<(MediaSequence, PartIndex)>,
    /// It was shed.
    pub(super) shed: Option<Shed>,
    pub(super) feed: Feed,
    pub(super) i_frames: IFrameMeter,
    /// Counts the times that it stopped because nobody watched; readers of an earlier time are at their end.
    pub(super) stops: u64,
    pub(super) wake: watch::Sender<()>,
}

/// A rendition that is off for want of something to make it with.
#[derive(Debug)]
pub(super) struct Shed {
    pub(super) reason: Arc<str>,
    /// It comes back with the next cut.
    pub(super) until_cut: bool,
}

impl Making {
    pub(super) fn new(rendition: &Rendition, grid: &Grid) -> Self {
        Self {
            name: rendition.name.clone(),
            video: rendition.kind != RenditionKind::Audio,
            encoded: rendition.kind.is_encoded(),
            turn: Turn::default(),
            next: None,
            shed: None,
            feed: Feed::default(),
            i_frames: IFrameMeter::new(grid),
            stops: 0,
            wake: watch::Sender::new(()),
        }
    }

    /// Nobody watches: what was made is forgotten, and its writer loses its turn.
    pub(super) fn stop(&mut self) {
        self.turn.counter += 1;
        self.next = None;
        self.shed = None;
        self.feed.clear();
        self.stops += 1;
        self.wake.send_replace(());
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
        for end in part_ends.iter().filter(|end| (end.msn, end.index) >= next && (end.msn, end.index) < until) {
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
