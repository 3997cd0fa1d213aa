//! A log that is written by following its home on another node (architecture 5 and 8). Nothing is decided here: what is a gap,
//! whose turn it is and what is begun, the home says. Readers notice no difference.
//!
//! Cuts, state and demand are always followed; parts and samples only while somebody here reads them: [`StreamLog::wished`].

use std::sync::Arc;

use headwater_media::{Cut, CutKind, Epoch, Instant, MediaSequence, Part, PartEnd, PartIndex, RenditionName};
use tokio::sync::watch;

use super::feed::FeedItem;
use super::following::Progress;
use super::inner::Inner;
use super::making::{Making, Medium};
use super::{GoingOn, Item, Limits, StaleEpoch, StreamLog};
use crate::{SessionState, State};

/// Renditions that a session has ever had. A home that names more is not believed.
const RENDITIONS_MAX: usize = 1024;
/// Cuts and parts of a rendition's window. Of a home that has more nothing is kept.
const FEED_ITEMS_MAX: usize = 1 << 20;

/// What is read here, and so has to come from the home.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wished {
    /// Renditions whose parts are read, each with the first part that is not here.
    pub renditions: Vec<(RenditionName, (MediaSequence, PartIndex))>,
    /// Samples are read, from this segment on.
    pub samples: Option<MediaSequence>,
}

/// One thing that the home says of a rendition.
#[derive(Clone, Debug)]
pub enum Mirrored {
    /// As its readers there get it.
    Item(FeedItem),
    /// It stopped because nobody watched.
    Cold,
    /// The session is over, and all of it was said.
    Ended,
}

/// The home says what makes no sense: a part of a segment that it has not announced, of a rendition that there is not.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{rendition} has no segment {msn}")]
pub struct Unannounced {
    /// The rendition.
    pub rendition: RenditionName,
    /// The part's segment.
    pub msn: MediaSequence,
}

impl StreamLog {
    /// A log that follows a home on another node, which says `state`.
    pub fn replica(state: SessionState, limits: Limits) -> Self {
        let log = Self::new(state, limits);
        log.inner().replica = true;
        log
    }

    /// Whether the log's home is on another node.
    pub fn is_replica(&self) -> bool {
        self.inner().replica
    }

    /// From now on the log follows another node's home, or is the home's again. What is here stays.
    pub fn set_replica(&self, replica: bool) {
        let mut inner = self.inner();
        inner.replica = replica;
        if replica {
            inner.late = None;
        }
        for making in &mut inner.renditions {
            making.told = None;
            making.finished = false;
        }
        drop(inner);
        self.changed.send_replace(());
    }

    /// Changes when something else may be [wished](Self::wished), or somebody began to watch a cold session.
    pub fn wishes(&self) -> watch::Receiver<()> {
        self.wishes.subscribe()
    }

    /// What is read here.
    pub fn wished(&self) -> Wished {
        let inner = self.inner();
        let read = inner.renditions.iter().filter(|making| making.wake.is_listened_to());
        Wished {
            renditions: read.map(|making| (making.name.clone(), making.next.unwrap_or_default())).collect(),
            samples: inner.samples_from.filter(|_| self.samples.receiver_count() > 0),
        }
    }

    /// Forgets a rendition's parts, or all samples (`None`): they are not followed any more.
    pub fn forget(&self, rendition: Option<&RenditionName>) {
        let mut inner = self.inner();
        match rendition {
            Some(rendition) => {
                inner.renditions.iter_mut().filter(|making| making.name == *rendition).for_each(Making::forget);
            }
            None => {
                inner.samples_from = None;
                inner.ring.forget();
            }
        }
        drop(inner);
        self.samples.send_replace(());
    }

    /// Nobody follows the home any more: readers are at their end, and those that come find themselves there.
    pub fn retire(&self) {
        let mut inner = self.inner();
        inner.retired = true;
        inner.renditions.iter_mut().for_each(Making::forget);
        inner.ring.forget();
        drop(inner);
        self.samples.send_replace(());
    }

    /// What comes next in the home's ring does not follow what is here: readers of samples are told.
    pub fn move_samples_on(&self) {
        self.inner().ring.forget();
        self.samples.send_replace(());
    }

    /// The session has another home, or the same one says again how it goes on: see [`go_on`](Self::go_on).
    pub fn mirror_going_on(&self, on: &GoingOn) -> Result<(), StaleEpoch> {
        let mut inner = self.inner();
        if on.epoch < inner.epoch || !inner.replica {
            return Err(StaleEpoch { current: inner.epoch, found: on.epoch });
        }
        inner.epoch = on.epoch;
        inner.go_on(on, self.window());
        drop(inner);
        self.samples.send_replace(());
        Ok(())
    }

    /// Where the session stands, as its home says.
    pub fn mirror_state(&self, state: SessionState) {
        let mut inner = self.inner();
        if !inner.replica {
            return;
        }
        for known in state.renditions.iter() {
            let medium = Medium::of(&known.kind);
            let is_full = inner.renditions.len() >= RENDITIONS_MAX;
            match inner.renditions.iter_mut().find(|making| making.name == known.name) {
                Some(making) => making.medium = medium,
                None if is_full => {}
                None => {
                    let making = Making::new(known, &self.session.grid, &self.changed);
                    inner.renditions.push(making);
                }
            }
        }
        inner.ended |= state.state == State::Ended;
        drop(inner);
        self.state.send_replace(Arc::new(state));
        self.samples.send_replace(());
    }

    /// Whether gears are wanted, as the home says at `now`.
    pub fn mirror_demand(&self, waking: u64, awake: bool, begins: MediaSequence, now: Instant) {
        let mut inner = self.inner();
        if !inner.replica {
            return;
        }
        inner.begins = begins;
        drop(inner);
        self.watched.mirror(waking, awake, now);
    }

    /// The next cut of the home's timeline. One that is known is passed over.
    pub fn mirror_cut(&self, epoch: Epoch, cut: Arc<Cut>) -> Result<(), StaleEpoch> {
        let mut inner = self.inner();
        inner.check_mirrored(epoch)?;
        if inner.cuts.back().is_none_or(|last| last.msn <= cut.msn) {
            inner.cuts.pop_back_if(|last| last.msn == cut.msn);
            inner.drop_before(MediaSequence(cut.msn.0.saturating_sub(self.window())));
            inner.cuts.push_back(cut);
        }
        Ok(())
    }

    /// The next end of a part.
    pub fn mirror_part_end(&self, epoch: Epoch, end: PartEnd) -> Result<(), StaleEpoch> {
        let mut inner = self.inner();
        inner.check_mirrored(epoch)?;
        let known = inner.cuts.iter().any(|cut| cut.msn == end.msn);
        let newer = |last: &PartEnd| (last.msn, last.index) < (end.msn, end.index);
        if known && inner.part_ends.back().is_none_or(newer) {
            inner.part_ends.push_back(end);
        }
        Ok(())
    }

    /// What comes next in the home's ring.
    pub fn mirror_samples(&self, items: Vec<Item>) {
        let mut inner = self.inner();
        if !inner.replica {
            return;
        }
        items.into_iter().for_each(|item| inner.keep(item, self.limits.ring));
        drop(inner);
        self.samples.send_replace(());
    }

    /// What comes next of a rendition. What is known is passed over, and so is all when this node is the home by now.
    pub fn mirror(&self, rendition: &RenditionName, mirrored: Mirrored) -> Result<(), Unannounced> {
        let mut inner = self.inner();
        if !inner.replica {
            return Ok(());
        }
        let Inner { renditions, cuts, .. } = &mut *inner;
        let unknown = |msn| Unannounced { rendition: rendition.clone(), msn };
        let Some(making) = renditions.iter_mut().find(|making| making.name == *rendition) else {
            return Err(unknown(MediaSequence(0)));
        };
        match mirrored {
            Mirrored::Item(FeedItem::Cut(cut)) => making.mirror_cut(cut),
            Mirrored::Item(FeedItem::ClosedBelow(msn)) => making.mirror_closed_below(msn),
            Mirrored::Item(FeedItem::Part(part)) => {
                // A part whose cut is not known would be kept for ever.
                if !cuts.iter().any(|cut| cut.msn == part.msn) && cuts.back().is_none_or(|last| last.msn < part.msn) {
                    return Err(unknown(part.msn));
                }
                making.mirror_part(part);
            }
            Mirrored::Cold => making.forget(),
            Mirrored::Ended => making.finished = true,
        }
        if making.feed.len() > FEED_ITEMS_MAX {
            making.forget();
        }
        making.wake.send_replace(());
        Ok(())
    }

    /// How far renditions are at the home.
    pub fn mirror_progress(&self, told: Vec<Progress>) {
        let mut inner = self.inner();
        if !inner.replica {
            return;
        }
        for told in told {
            if let Some(making) = inner.renditions.iter_mut().find(|making| making.name == told.name) {
                making.turn = told.turn;
                making.standing = told.standing.clone();
                making.told = Some(told);
            }
        }
    }

    /// The session is over, and nobody tells more of it than its record: the last of `cuts` is its end. Without cuts nobody
    /// knows that either, and the open segment is a gap: another edge may have more of it.
    pub fn end_as_recorded(&self, cuts: &[Arc<Cut>]) {
        let mut inner = self.inner();
        if !inner.replica {
            return;
        }
        let cuts = match inner.cuts.back() {
            Some(open) if cuts.is_empty() => vec![Arc::new(Cut { kind: CutKind::Gap, ..Cut::clone(open) })],
            _ => cuts.to_vec(),
        };
        let on = GoingOn { epoch: inner.epoch, cuts, writable: Vec::new() };
        inner.go_on(&on, self.window());
        inner.ended = true;
        inner.abandoned = true;
        inner.wake_all();
        drop(inner);
        self.samples.send_replace(());
        self.change_state(|state| {
            state.state = State::Ended;
            state.publisher = None;
        });
    }
}

impl Inner {
    fn check_mirrored(&self, epoch: Epoch) -> Result<(), StaleEpoch> {
        let current = self.epoch;
        if epoch == current && self.replica { Ok(()) } else { Err(StaleEpoch { current, found: epoch }) }
    }
}

impl Making {
    pub(super) fn progress(&self) -> Progress {
        Progress {
            name: self.name.clone(),
            turn: self.turn,
            next: self.next,
            covered: self.covered,
            writable: self.floor,
            standing: self.stands_still(),
            i_frames: self.i_frames.rates(),
        }
    }

    /// Nothing is followed any more: what is here is forgotten, and who reads then begins anew.
    fn forget(&mut self) {
        self.next = None;
        self.covered = None;
        self.feed.clear();
        self.finished = false;
        self.end_readers();
        self.wake.renew();
    }

    fn mirror_cut(&mut self, cut: Arc<Cut>) {
        if self.feed.lacks_cut(&cut) {
            self.feed.push(FeedItem::Cut(cut));
        }
    }

    fn mirror_closed_below(&mut self, msn: MediaSequence) {
        if self.feed.closed_below().is_none_or(|below| below < msn) {
            self.floor = self.floor.max(msn);
            self.next = self.next.map(|next| next.max((msn, PartIndex(0))));
            self.feed.push(FeedItem::ClosedBelow(msn));
        }
    }

    fn mirror_part(&mut self, part: Arc<Part>) {
        if self.next.is_none_or(|next| next <= (part.msn, part.index)) {
            self.push_part(part);
        }
    }
}

#[cfg(test)]
mod tests;
