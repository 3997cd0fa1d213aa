//! A home's log, as it is told to other nodes: all of it at once, then what is news (architecture 5).

use std::sync::Arc;

use headwater_media::{Cut, Epoch, MediaSequence, PartEnd, PartIndex, RenditionName, Timestamp, Turn};
use tokio::sync::watch;

use super::making::Making;
use super::{Demand, IFrameRates, Item, ReadError, SampleReader, Standing, StreamLog};
use crate::SessionState;

/// A log without its media.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where the session stands, with its constants.
    pub state: Arc<SessionState>,
    /// Its home's hold.
    pub epoch: Epoch,
    /// Whether gears are wanted.
    pub demand: Demand,
    /// The segment with which all windows begin since the ladder was last woken.
    pub begins: MediaSequence,
    /// The first number of the epoch.
    pub first: MediaSequence,
    /// The window's cuts, oldest first.
    pub cuts: Vec<Arc<Cut>>,
    /// Ends of the window's parts.
    pub part_ends: Vec<PartEnd>,
    /// How far each rendition is.
    pub renditions: Vec<Progress>,
}

/// How far a rendition is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Its name.
    pub name: RenditionName,
    /// Its turn.
    pub turn: Turn,
    /// The part that is missing next; `None` before the first.
    pub next: Option<(MediaSequence, PartIndex)>,
    /// Where its newest part ends.
    pub covered: Option<Timestamp>,
    /// The first segment that can still get parts.
    pub writable: MediaSequence,
    /// With what its playlist begins, as long as it has no whole segment.
    pub standing: Option<Standing>,
    /// Measured rates of its I-frames.
    pub i_frames: Option<IFrameRates>,
}

/// Where samples are read from for another node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SamplesFrom {
    /// The cut of this segment, or the nearest one before it with which decoding can begin. Those that are kept at least.
    Segment(MediaSequence),
    /// The item with this number.
    Position(u64),
}

/// Follows a log's timeline, without the samples.
#[derive(Debug)]
pub struct Follower {
    log: Arc<StreamLog>,
    cursor: u64,
    goings: u64,
    changed: watch::Receiver<()>,
}

impl StreamLog {
    /// What is there, and what follows it.
    pub fn follow(self: &Arc<Self>) -> (Snapshot, Follower) {
        let changed = self.changed.subscribe();
        // Whoever wakes the ladder holds the demand while it looks at the rest.
        let demand = *self.watched.subscribe().borrow();
        let inner = self.inner();
        let snapshot = Snapshot {
            state: self.state.borrow().clone(),
            epoch: inner.epoch,
            demand,
            begins: inner.begins,
            first: inner.first,
            cuts: inner.cuts.iter().cloned().collect(),
            part_ends: inner.part_ends.iter().copied().collect(),
            renditions: inner.renditions.iter().map(Making::progress).collect(),
        };
        let (cursor, goings) = (inner.ring.end(), inner.goings);
        drop(inner);
        (snapshot, Follower { log: self.clone(), cursor, goings, changed })
    }

    /// Source samples, for another node.
    pub fn follow_samples(self: &Arc<Self>, from: SamplesFrom) -> SampleReader {
        let back = self.decodable_back();
        let inner = self.inner();
        let cursor = match from {
            SamplesFrom::Position(position) if position <= inner.ring.end() => position,
            // Of a log that is not there any more.
            SamplesFrom::Position(_) => inner.ring.newest_keyframe_cut(),
            SamplesFrom::Segment(msn) => {
                let cut = inner.ring.cut(msn);
                inner.ring.keyframe_cut(msn, back).map_or(cut, |keyframe| keyframe.min(cut))
            }
        };
        drop(inner);
        SampleReader::new(self.clone(), cursor, self.samples.subscribe())
    }
}

impl Follower {
    /// The next cut or part end, without waiting. [`ReadError::Lagged`]: it fell behind, or the session went on in another
    /// way; take a new snapshot.
    pub fn try_next(&mut self) -> Result<Option<Item>, ReadError> {
        let inner = self.log.inner();
        if inner.goings != self.goings {
            return Err(ReadError::Lagged);
        }
        loop {
            match inner.ring.item(self.cursor) {
                Ok(Some(item)) => {
                    self.cursor += 1;
                    if let Item::Cut(_) | Item::PartEnd(_) = item {
                        return Ok(Some(item.clone()));
                    }
                }
                Ok(None) => return Ok(None),
                Err(()) => return Err(ReadError::Lagged),
            }
        }
    }

    /// How far each rendition is now.
    pub fn progress(&self) -> Vec<Progress> {
        self.log.inner().renditions.iter().map(Making::progress).collect()
    }

    /// The log's epoch, and the segment with which all windows begin.
    pub fn epoch_and_begins(&self) -> (Epoch, MediaSequence) {
        let inner = self.log.inner();
        (inner.epoch, inner.begins)
    }

    /// Waits until there is news: of the timeline, or of any rendition. Cancel safe.
    pub async fn changed(&mut self) {
        // The sender lives in the log, which this holds: waiting cannot fail.
        let _ = self.changed.changed().await;
    }
}
