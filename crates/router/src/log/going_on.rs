//! A log goes on in a later epoch: the stream has another home, or this node becomes it (architecture 8). The log stays the
//! same object, and its readers survive.

use std::sync::Arc;

use headwater_media::{
    Clock, Cut, CutKind, Epoch, MediaSequence, Part, PartIndex, PartPayload, RenditionName, Timestamp,
};
use tokio::sync::watch;

use super::feed::FeedItem;
use super::guard::Guard;
use super::inner::Inner;
use super::making::Making;
use super::{StaleEpoch, StreamLog};
use crate::claim::{Base, Claimed, Lease, SealedRendition};

/// How a session goes on under its next home.
#[derive(Clone, Debug)]
pub struct GoingOn {
    /// The next home's epoch.
    pub epoch: Epoch,
    /// The timeline as that home has it, oldest first. What is a gap in it was closed by the takeover. The last one is where
    /// the home's own segments begin. Empty before the session's first cut.
    pub cuts: Vec<Arc<Cut>>,
    /// Of each rendition the first segment that can still get parts. A rendition that is not named gets none before the
    /// last cut.
    pub writable: Vec<(RenditionName, MediaSequence)>,
}

impl From<&Claimed> for GoingOn {
    fn from(claimed: &Claimed) -> Self {
        let Claimed { record, base } = claimed;
        let writable = match base {
            // What it had, and what was missing, can still come: see `restore`.
            Base::Sealed(answer) => {
                answer.renditions.iter().map(|known| (known.name.clone(), MediaSequence(0))).collect()
            }
            Base::Fresh | Base::Unsealed => Vec::new(),
        };
        let cuts = record.outline.as_ref().map_or(Vec::new(), |outline| outline.cuts.clone());
        Self { epoch: record.epoch, cuts, writable }
    }
}

/// With what the playlist of a rendition begins of which nothing is here, because its home was lost: the last number that
/// this home may have used, closed as a gap. Whatever its playlists listed, this one is later.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Its cut, a gap.
    pub cut: Arc<Cut>,
    /// Where it ends.
    pub end: Timestamp,
}

impl StreamLog {
    /// The session goes on in a later epoch, or in the same one as its home says again. Epochs and what is closed never go
    /// back: a known cut may become a gap, cuts that are news reach all readers, and below the first segment that can still
    /// get parts [`FeedItem::ClosedBelow`] says so. Writers of this log keep their turns, unless what they are at is a gap
    /// now; then samples are read from the next cut on ([`ReadError::Lagged`](super::ReadError::Lagged)).
    ///
    /// The last cut is announced and not stamped: the home [appends](Self::append) it when its first sample comes, perhaps
    /// with a later date. A log of which nobody has read anything lists the gap before it: [`stands_still`](Self::stands_still).
    pub fn go_on(&self, on: &GoingOn) -> Result<(), StaleEpoch> {
        let mut inner = self.inner();
        if on.epoch < inner.epoch {
            return Err(StaleEpoch { current: inner.epoch, found: on.epoch });
        }
        inner.epoch = on.epoch;
        inner.sealed = false;
        inner.guard = None;
        inner.go_on(on, self.window());
        let late = inner.late.take().unwrap_or_default();
        drop(inner);
        for (rendition, turn, part) in late {
            self.put_part(&rendition, turn, part);
        }
        self.samples.send_replace(());
        self.change_state(|state| state.epoch = on.epoch);
        Ok(())
    }

    /// Puts what the home before this one had of a rendition: `parts` in order, of which `missing` is the first that it did
    /// not have either. Those that are here already are passed over. When some are missing below, nothing more comes before
    /// the last cut, and segments that are not whole are gaps. Before the home's own first part.
    pub fn restore(&self, rendition: &RenditionName, parts: &[Arc<Part>], missing: (MediaSequence, PartIndex)) {
        let mut inner = self.inner();
        let before = inner.has_begun(rendition);
        inner.restore(rendition, parts, missing);
        let begun = !before && inner.has_begun(rendition);
        drop(inner);
        if begun {
            let init = parts.iter().rev().find_map(|part| match &part.payload {
                PartPayload::Media { init, .. } => Some(init.clone()),
                PartPayload::Gap => None,
            });
            self.describe(rendition, |rendition| {
                rendition.begun = true;
                rendition.init = rendition.init.take().or(init);
            });
        }
    }

    /// This node is the home: parts are taken as long as its lease holds. Until the log goes on in a later epoch.
    pub fn hold_by(&self, lease: watch::Receiver<Lease>, clock: Arc<dyn Clock>) {
        self.inner().guard = Some(Guard::new(lease, clock));
    }

    /// Takes no sample and no part any more before it goes on in a later epoch. Answers with how far each rendition is.
    pub fn seal(&self) -> Vec<SealedRendition> {
        let mut inner = self.inner();
        inner.sealed = true;
        let Inner { renditions, cuts, begins, .. } = &*inner;
        let oldest = cuts.front().map_or(MediaSequence(1), |cut| cut.msn);
        let sealed = renditions.iter().map(|making| SealedRendition {
            name: making.name.clone(),
            turn: making.turn,
            // Of one that has not begun any segment can be the first.
            missing: making.next.unwrap_or((making.floor.max(*begins).max(oldest), PartIndex(0))),
            gaps: making.feed.gaps().collect(),
        });
        sealed.collect()
    }

    /// The sealed log is about to go on here, in some milliseconds: parts that come meanwhile are seen by nobody and wait for it.
    pub fn keep_parts(&self) {
        self.inner().late = Some(Vec::new());
    }

    /// With what the playlist of a rendition begins whose home was lost, as long as it has no whole segment: players need
    /// one to begin with.
    pub fn stands_still(&self, rendition: &RenditionName) -> Option<Standing> {
        let inner = self.inner();
        inner.renditions.iter().find(|making| making.name == *rendition)?.stands_still()
    }
}

impl Inner {
    pub(super) fn go_on(&mut self, on: &GoingOn, window: u64) {
        let Some(first) = on.cuts.last() else { return };
        self.first = first.msn;
        self.goings += 1;
        let is_empty = self.cuts.is_empty();
        let mut news = Vec::new();
        for cut in &on.cuts {
            if let Some(known) = self.cuts.iter_mut().find(|known| known.msn == cut.msn) {
                let closes = known.kind == CutKind::Media && cut.kind == CutKind::Gap;
                if closes || cut.msn == first.msn {
                    *known = cut.clone();
                }
                if closes {
                    news.push(cut.clone());
                }
            } else if self.cuts.back().is_none_or(|last| last.msn < cut.msn) {
                self.cuts.push_back(cut.clone());
                news.push(cut.clone());
            }
        }
        if !is_empty && news.iter().any(|cut| cut.kind == CutKind::Gap) {
            self.ring.forget();
        }
        let before = on.cuts.iter().rev().nth(1).filter(|before| before.kind == CutKind::Gap);
        let standing = before.map(|gap| Standing { cut: gap.clone(), end: first.start });
        for making in &mut self.renditions {
            let named = on.writable.iter().find(|(name, _)| *name == making.name);
            let floor = named.map_or(first.msn, |(_, msn)| (*msn).min(first.msn));
            making.go_on(&news, floor, standing.as_ref(), is_empty);
        }
        let floor = self.renditions.iter().map(|making| making.floor).min().unwrap_or(first.msn);
        self.part_ends.retain(|end| end.msn >= floor);
        self.drop_before(MediaSequence(first.msn.0.saturating_sub(window)));
    }

    fn restore(&mut self, rendition: &RenditionName, parts: &[Arc<Part>], missing: (MediaSequence, PartIndex)) {
        let Some(first) = self.cuts.back().map(|cut| cut.msn) else { return };
        let Some(making) = self.renditions.iter_mut().find(|making| making.name == *rendition) else { return };
        let begins = making.next.is_none();
        // Where players have been given a gap, what was before it is of no use to them.
        let gap = making.standing.as_ref().map(|standing| standing.cut.msn);
        let parts = parts.iter().filter(|part| gap.is_none_or(|gap| part.msn > gap) && part.msn < first);
        let opens = |part: &Part| part.index == PartIndex(0) && matches!(part.payload, PartPayload::Media { .. });
        let mut with_cuts_from = None;
        for part in parts.skip_while(|part| begins && !opens(part)) {
            let is_media = self.cuts.iter().any(|cut| cut.msn == part.msn && cut.kind == CutKind::Media);
            if !is_media || making.next.is_some_and(|next| (part.msn, part.index) < next) {
                continue;
            }
            if begins {
                making.push_cuts(&self.cuts, with_cuts_from.unwrap_or(part.msn)..=part.msn);
                with_cuts_from = Some(part.msn.next());
            }
            making.push_part(part.clone());
        }
        if let Some(from) = with_cuts_from {
            making.push_cuts(&self.cuts, from..=first);
        }
        if making.next.is_none_or(|next| next < missing) {
            making.close_below(first);
        }
        making.wake.send_replace(());
    }
}

impl Making {
    /// With what its playlist begins, as long as it has no whole segment.
    pub(super) fn stands_still(&self) -> Option<Standing> {
        let is_past = |gap: MediaSequence| self.next.is_some_and(|(msn, _)| msn > gap.next());
        self.standing.clone().filter(|standing| !is_past(standing.cut.msn))
    }

    /// The timeline is another: `news` is what is new in it, and below `floor` come no more parts. `standing` is the gap
    /// with which it begins where nothing is known.
    fn go_on(&mut self, news: &[Arc<Cut>], floor: MediaSequence, standing: Option<&Standing>, is_empty: bool) {
        let stands = self.next.is_none() && (is_empty || self.standing.is_some());
        // What players were given is never followed by something earlier.
        let is_news = |new: &&Standing| self.standing.as_ref().is_none_or(|old| old.cut.msn < new.cut.msn);
        if let Some(standing) = standing.filter(|_| stands).filter(is_news) {
            self.standing = Some(standing.clone());
        }
        let news = news.iter().filter(|cut| match &self.standing {
            Some(standing) if is_empty => cut.msn >= standing.cut.msn,
            _ => true,
        });
        if self.next.is_some() || self.standing.is_some() {
            let news: Vec<_> = news.cloned().collect();
            self.feed.extend(news.into_iter().map(FeedItem::Cut));
        }
        self.close_below(floor);
        self.wake.send_replace(());
    }
}

#[cfg(test)]
mod tests;
