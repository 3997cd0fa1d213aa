//! What a log holds, behind its lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{
    Cut, CutKind, Epoch, MediaSequence, Part, PartEnd, PartIndex, PartPayload, RenditionName, RenditionState,
    Timestamp, Turn,
};

use super::feed::FeedItem;
use super::guard::Guard;
use super::making::{Making, Medium, Shed};
use super::ring::Ring;
use super::{Item, PutOutcome, StaleEpoch};

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) slot_ticks: i64,
    pub(super) epoch: Epoch,
    pub(super) ring: Ring,
    pub(super) cuts: VecDeque<Arc<Cut>>,
    /// Ends of the window's parts, for the gaps of renditions that are off or late.
    pub(super) part_ends: VecDeque<PartEnd>,
    pub(super) renditions: Vec<Making>,
    /// All renditions' windows begin with this segment since the ladder was last woken.
    pub(super) begins: MediaSequence,
    /// No more samples come.
    pub(super) ended: bool,
    /// No more parts come either, whatever is missing.
    pub(super) abandoned: bool,
    /// How often the log went on in another way than by appending to it.
    pub(super) goings: u64,
    /// The first number of the epoch.
    pub(super) first: MediaSequence,
    /// The home is on another node, and says what comes.
    pub(super) replica: bool,
    /// In a replica: samples are read here, from this segment on.
    pub(super) samples_from: Option<MediaSequence>,
    /// A replica that follows nobody any more.
    pub(super) retired: bool,
    /// A home was asked to yield the stream, and did: nothing comes any more before the next epoch.
    pub(super) sealed: bool,
    /// Parts that come meanwhile, at most [`LATE_MAX`], where this node is about to go on.
    pub(super) late: Option<Vec<(RenditionName, Turn, Part)>>,
    /// The lease of this node, while it is the home.
    pub(super) guard: Option<Guard>,
}

/// Parts that are kept while a log is sealed: those of a few milliseconds until the next epoch, of many renditions.
const LATE_MAX: usize = 256;

/// How long samples are kept that no transcoder reads: posters need a keyframe, and followers the cuts and part ends.
const UNREAD: Duration = Duration::from_secs(2);

impl Inner {
    /// Whether a writer with this turn may still put parts of the rendition.
    pub(super) fn takes(&self, rendition: &RenditionName, turn: Turn) -> bool {
        let has_room = !self.sealed || self.late.as_ref().is_some_and(|late| late.len() < LATE_MAX);
        let is_turn = |making: &Making| making.name == *rendition && making.turn == turn;
        has_room && !self.replica && self.renditions.iter().any(is_turn)
    }

    /// Keeps a part that comes while the log is sealed and this node is about to go on. Gives it back otherwise.
    pub(super) fn keep_late(&mut self, rendition: &RenditionName, turn: Turn, part: Part) -> Option<Part> {
        if !self.sealed || !self.takes(rendition, turn) {
            return Some(part);
        }
        self.late.get_or_insert_default().push((rendition.clone(), turn, part));
        None
    }

    pub(super) fn wake_all(&self) {
        self.renditions.iter().for_each(|making| {
            making.wake.send_replace(());
        });
    }

    pub(super) fn all_complete(&self) -> bool {
        self.renditions.iter().all(|making| self.is_complete(making))
    }

    /// Whether no more parts of a rendition come: the session is over and its last part is there, or it never began.
    pub(super) fn is_complete(&self, making: &Making) -> bool {
        if self.replica {
            return making.finished || self.abandoned;
        }
        let has_last = match (making.next, self.part_ends.back()) {
            (Some(next), Some(last)) => match making.medium {
                Medium::Source | Medium::Gear => next > (last.msn, last.index),
                // The home puts audio before it ends the session.
                Medium::Audio => true,
                Medium::AudioGear => making.covered >= Some(Timestamp::video(last.end.0 * self.slot_ticks)),
            },
            _ => true,
        };
        self.ended && (has_last || self.abandoned)
    }

    pub(super) fn check(&self, epoch: Epoch) -> Result<(), StaleEpoch> {
        if epoch == self.epoch && !self.sealed && !self.replica {
            Ok(())
        } else {
            Err(StaleEpoch { current: self.epoch, found: epoch })
        }
    }

    pub(super) fn has_begun(&self, rendition: &RenditionName) -> bool {
        self.renditions.iter().any(|making| making.name == *rendition && making.next.is_some())
    }

    /// The cut with what is shed.
    fn with_shed(&mut self, cut: Arc<Cut>) -> Arc<Cut> {
        let mut off = Vec::new();
        for making in &mut self.renditions {
            if making.shed.take_if(|shed| shed.until_cut).is_some() {
                making.off_below = cut.msn;
            }
            let shed = making.shed.as_ref().filter(|_| cut.off_reason(&making.name).is_none());
            off.extend(shed.map(|shed| (making.name.clone(), RenditionState::Off(shed.reason.clone()))));
        }
        if off.is_empty() {
            return cut;
        }
        let renditions = cut.renditions.iter().cloned().chain(off).collect();
        Arc::new(Cut { renditions, ..Cut::clone(&cut) })
    }

    /// Keeps what the home has stamped for `ring` at least, or where no transcoder reads it, for [`UNREAD`].
    pub(super) fn keep(&mut self, item: Item, ring: Duration) {
        let is_read = self.renditions.iter().any(Making::is_encoded);
        self.ring.push(item, if is_read { ring } else { UNREAD.min(ring) });
    }

    pub(super) fn cut(&mut self, cut: Arc<Cut>, window: u64) -> Arc<Cut> {
        let cut = self.with_shed(cut);
        // One that was announced when this home began, or by the home before it, and is stamped now.
        self.cuts.pop_back_if(|last| last.msn == cut.msn);
        self.cuts.push_back(cut.clone());
        self.drop_before(MediaSequence(cut.msn.0.saturating_sub(window)));
        for making in &mut self.renditions {
            if making.next.is_some() {
                making.feed.push(FeedItem::Cut(cut.clone()));
                making.wake.send_replace(());
            }
        }
        cut
    }

    /// Forgets what is older than this segment.
    pub(super) fn drop_before(&mut self, oldest: MediaSequence) {
        while self.cuts.front().is_some_and(|front| front.msn < oldest) {
            self.cuts.pop_front();
        }
        while self.part_ends.front().is_some_and(|front| front.msn < oldest) {
            self.part_ends.pop_front();
        }
        self.renditions.iter_mut().for_each(|making| making.feed.drop_before(oldest));
    }

    /// Remembers where the part ends. Makes it a gap in renditions that are off, and in those that are late what is
    /// `late_slots` back: it will not come any more.
    pub(super) fn part_end(&mut self, end: PartEnd, slot_ticks: i64, late_slots: i64) -> u64 {
        self.part_ends.push_back(end);
        let Some(cut) = self.cuts.iter().rev().find(|cut| cut.msn == end.msn).cloned() else { return 0 };
        let limit = end.end.0.saturating_sub(late_slots);
        let late = self.part_ends.iter().rev().find(|old| old.end.0 <= limit).map(after);
        let mut gaps = 0;
        for making in self.renditions.iter_mut().filter(|making| making.is_video() && making.next.is_some()) {
            let off = making.is_off_in(&cut);
            if let Some(until) = if off { Some(after(&end)) } else { late } {
                gaps += making.fill_gaps(&self.part_ends, until, slot_ticks);
            }
        }
        gaps
    }

    /// Number of parts that are gaps now; `None` when `turn` is over.
    pub(super) fn switch(
        &mut self,
        rendition: &RenditionName,
        turn: Turn,
        off: Option<Arc<str>>,
        slot_ticks: i64,
    ) -> Option<u64> {
        let making = self.renditions.iter_mut().find(|making| making.name == *rendition)?;
        if making.turn != turn {
            return None;
        }
        let Some(reason) = off else {
            making.shed.iter_mut().for_each(|shed| shed.until_cut = true);
            return Some(0);
        };
        making.shed = Some(Shed { reason, until_cut: false });
        let known = self.part_ends.back().filter(|_| making.is_video()).map(after);
        Some(known.map_or(0, |until| making.fill_gaps(&self.part_ends, until, slot_ticks)))
    }

    pub(super) fn put_part(
        &mut self,
        rendition: &RenditionName,
        turn: Turn,
        part: Part,
        slot_ticks: i64,
    ) -> (PutOutcome, u64) {
        let Some(making) = self.renditions.iter_mut().find(|making| making.name == *rendition) else {
            return (PutOutcome::Dropped, 0);
        };
        let at = (part.msn, part.index);
        let Some(cut) = self.cuts.iter().rev().find(|cut| cut.msn == part.msn) else {
            return (PutOutcome::Dropped, 0);
        };
        // Of a number that is a gap nothing is made. Sound that the home packages says itself where it has gaps.
        let off = (making.is_off_in(cut) && making.medium != Medium::Audio) || cut.kind == CutKind::Gap;
        let may_write = !self.replica && !self.sealed && self.guard.as_ref().is_none_or(Guard::allows);
        let closed = !may_write || part.msn < making.floor;
        if closed || turn != making.turn || making.next.is_some_and(|next| at < next) || off {
            return (PutOutcome::Dropped, 0);
        }
        let mut gaps = 0;
        if making.next.is_none() {
            // A rendition's window begins with a whole segment that has media.
            let early = making.is_encoded() && part.msn < self.begins;
            if early || part.index != PartIndex(0) || matches!(part.payload, PartPayload::Gap) {
                return (PutOutcome::Dropped, 0);
            }
            making.push_cuts(&self.cuts, part.msn..=MediaSequence(u64::MAX));
        } else if making.is_video() {
            gaps = making.fill_gaps(&self.part_ends, at, slot_ticks);
        }
        making.push_part(Arc::new(part));
        making.wake.send_replace(());
        (PutOutcome::Put, gaps)
    }
}

/// The part after one that ends.
fn after(end: &PartEnd) -> (MediaSequence, PartIndex) {
    (end.msn, PartIndex(end.index.0 + 1))
}
