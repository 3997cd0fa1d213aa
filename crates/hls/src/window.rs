//! What one rendition's playlist knows: cuts of the timeline, parts of the rendition, and what of them is listed.

mod i_frames;
mod listing;
mod lookup;
mod segment;

use std::collections::VecDeque;

use headwater_media::{
    Cut, CutKind, InitId, MediaSequence, Part, PartIndex, PartPayload, RenditionName, Timestamp, TrackKind,
};

pub use self::lookup::{PartState, SegmentState};
use self::segment::{Closing, Entry, WindowPart};
use crate::Seconds;

/// Constants of a rendition's playlist: the same for the life of the session.
#[derive(Clone, Debug)]
pub struct Config {
    /// Video segments last from cut to cut, audio segments as long as their frames.
    pub kind: TrackKind,
    /// TARGETDURATION in seconds, at least 1 (H-8).
    pub target_duration: u32,
    /// The longest part of any rendition; printed rounded up (H-26).
    pub part_target: Timestamp,
    /// Complete segments to list, at least; more when they would be shorter than 3 x TARGETDURATION (H-12).
    pub segments: usize,
    /// Whether EXT-X-PRELOAD-HINT is written (H-32, H-69).
    pub preload_hints: bool,
    /// Every segment begins with an IDR, so one that does not is a gap. Not so for a source rendition without a ladder
    /// whose encoder sends keyframes too rarely (architecture 4).
    pub independent_segments: bool,
}

/// The playlist of one rendition of a session, as a state.
///
/// Cuts and parts go in by [`push_cut`](Self::push_cut) and [`push_part`](Self::push_part), each cut before the parts
/// that it rules. A segment is closed when the next cut is known and the parts reach it; what is closed never changes.
/// Nothing is listed before the rendition's first part with media. Two windows that were fed the same, in whatever
/// order between cuts and parts the rules allow, list the same.
#[derive(Clone, Debug)]
pub struct Window {
    config: Config,
    /// The other renditions of the session, for reports.
    others: Vec<RenditionName>,
    /// Consecutive numbers: no longer listed, listed, open, and at the end those that only have their cut.
    entries: VecDeque<Entry>,
    /// Number of the first listed segment; `None` before the first part with media.
    first: Option<MediaSequence>,
    /// Segments below this one get no more parts.
    writable_from: MediaSequence,
    ended: bool,
}

/// The newest thing in a playlist, as a rendition report names it (H-34).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// Number of the last segment, complete or open.
    pub msn: MediaSequence,
    /// Its last part; `None` when it has none.
    pub part: Option<PartIndex>,
}

/// Why a cut cannot follow what is there. The window is unchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CutRefused {
    /// The playlist has its ENDLIST.
    #[error("the playlist has ended")]
    Ended,
    /// Time would go back.
    #[error("cut {msn} starts before the one before it")]
    StartsEarlier {
        /// The refused cut.
        msn: MediaSequence,
    },
    /// The count of discontinuities fell, or rose by more than one.
    #[error("cut {msn} counts {found} discontinuities, the one before it {before}")]
    Discontinuity {
        /// The refused cut.
        msn: MediaSequence,
        /// Its count.
        found: u64,
        /// The count before.
        before: u64,
    },
}

/// Why a part was not taken. The window is unchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PartRefused {
    /// The playlist has its ENDLIST.
    #[error("the playlist has ended")]
    Ended,
    /// It is there already. Harmless.
    #[error("part {msn}.{index} is there already")]
    Duplicate {
        /// Segment of the refused part.
        msn: MediaSequence,
        /// Its index.
        index: PartIndex,
    },
    /// Its segment is closed, a gap, or has left the window.
    #[error("segment {msn} takes no more parts")]
    Closed {
        /// The segment.
        msn: MediaSequence,
    },
    /// Its cut has not come.
    #[error("the cut of segment {msn} is not known yet")]
    NoCut {
        /// The segment.
        msn: MediaSequence,
    },
    /// A part before it is missing.
    #[error("part {msn}.{index} came where part {expected} is next")]
    OutOfOrder {
        /// Segment of the refused part.
        msn: MediaSequence,
        /// Its index.
        index: PartIndex,
        /// The index that is next.
        expected: PartIndex,
    },
}

impl Window {
    /// An empty playlist. `others` are the other renditions of the session.
    pub fn new(config: Config, others: Vec<RenditionName>) -> Self {
        Self { config, others, entries: VecDeque::new(), first: None, writable_from: MediaSequence(0), ended: false }
    }

    /// The playlist's constants.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Replaces the list of other renditions, for a gear that joined or was withdrawn.
    pub fn set_others(&mut self, others: Vec<RenditionName>) {
        self.others = others;
    }

    /// Begins with a segment that is a gap, from its `cut` to `end`, and that is listed although nothing of the rendition
    /// is there yet: the playlist that players have come back to after its server was lost. It is the last segment that
    /// that server may have begun, so what comes follows it, and nothing that it listed is said to be something else. It
    /// leaves the list when there is a whole segment. Only for a window that is empty.
    ///
    /// The gap is listed with its parts, which are gaps too. Without them hls.js would ask for the next whole segment instead
    /// of its first part, and would not load the parts of a segment before which no parts are listed (`shouldLoadParts` in
    /// its base-stream-controller).
    pub fn begin_with_gap(&mut self, cut: &Cut, end: Timestamp) {
        if self.entries.is_empty() && !self.ended {
            let cut = Cut { kind: CutKind::Gap, ..cut.clone() };
            self.first = Some(cut.msn);
            self.entries.push_back(Entry::lost(cut, end, self.config.part_target));
        }
    }

    /// Takes the next cut of the timeline.
    ///
    /// A cut that is known already is ignored, unless its segment is still open and the new one says otherwise (a new
    /// home closes what the old one had begun): then it replaces the old one and all after it, but what is already
    /// listed of the segment stays, and it is as long as the timeline says, wherever it begins here. When numbers are missing between the last cut and this one, the window starts
    /// anew (architecture 8: an edge whose open line has left the window).
    pub fn push_cut(&mut self, cut: &Cut) -> Result<(), CutRefused> {
        if self.ended {
            return Err(CutRefused::Ended);
        }
        if let Some(place) = self.place(cut.msn) {
            return self.replace_cut(place, cut);
        }
        let Some(last) = self.entries.back() else {
            self.entries.push_back(Entry::new(cut.clone(), false));
            return Ok(());
        };
        if cut.msn < last.cut.msn {
            return Ok(()); // below the first that we know
        }
        if cut.msn > last.cut.msn.next() {
            self.entries.clear();
            self.first = None;
            self.entries.push_back(Entry::new(cut.clone(), false));
            return Ok(());
        }
        let discontinuity = follows(&last.cut, cut)?;
        let entry = if discontinuity {
            Entry::new(cut.clone(), true)
        } else {
            Entry::shifted(cut.clone(), false, last.shift())
        };
        self.entries.push_back(entry);
        self.settle();
        Ok(())
    }

    /// Takes the next part of the rendition; its bytes are not looked at. A part that needs another init segment than
    /// the parts before it in its segment is listed as a gap, because no player could read it there (H-28).
    pub fn push_part(&mut self, part: &Part) -> Result<(), PartRefused> {
        let Part { msn, index, .. } = *part;
        if self.ended {
            return Err(PartRefused::Ended);
        }
        let Some(place) = self.place(msn) else {
            let below = self.entries.front().is_some_and(|front| msn < front.cut.msn);
            return Err(if below { PartRefused::Closed { msn } } else { PartRefused::NoCut { msn } });
        };
        let entry = &self.entries[place];
        let expected = entry.next_index();
        if index < expected {
            return Err(PartRefused::Duplicate { msn, index });
        }
        if entry.closed.is_some()
            || entry.cut.kind == CutKind::Gap
            || self.entries.range(place + 1..).any(Entry::has_parts)
        {
            return Err(PartRefused::Closed { msn });
        }
        if index > expected {
            return Err(PartRefused::OutOfOrder { msn, index, expected });
        }
        let init_before = self.init_before(place);
        let begins_window = self.first.is_none();
        let entry = &mut self.entries[place];
        let (independent, gap) = match &part.payload {
            PartPayload::Gap => (false, true),
            PartPayload::Media { independent, intra, init, .. } => {
                // Nothing of the segment is listed yet: its first media part says which init segment it needs.
                if begins_window || entry.parts.is_empty() {
                    entry.init = Some(init.id);
                }
                let readable = entry.init == Some(init.id);
                if entry.parts.is_empty() && readable {
                    entry.intra = *intra;
                }
                (*independent && readable, !readable)
            }
        };
        if entry.parts.is_empty() && entry.init.is_none() {
            entry.init = init_before;
        }
        entry.parts.push(WindowPart { start: part.start, end: part.end, independent, gap });
        if begins_window && !gap {
            self.first = Some(msn);
        }
        self.settle();
        Ok(())
    }

    /// Segments below `msn` get no more parts, as a new home's snapshot says: those whose end is known are closed as
    /// gaps with what they have.
    pub fn close_below(&mut self, msn: MediaSequence) {
        self.writable_from = self.writable_from.max(msn);
        self.settle();
    }

    /// Ends the playlist. A segment that has parts is closed as a short one first, one without is forgotten (H-19).
    pub fn end(&mut self) {
        while self.entries.back().is_some_and(|entry| entry.closed.is_none() && !entry.has_parts()) {
            self.entries.pop_back();
        }
        let closing = Closing { kind: self.config.kind, independent_segments: self.config.independent_segments };
        for place in 0..self.entries.len() {
            if self.entries[place].closed.is_none() {
                let next = self.next_start(place);
                let end = next.or(self.entries[place].parts_end()).unwrap_or(self.entries[place].cut.start);
                self.close(place, end, closing, false);
            }
        }
        self.ended = true;
        self.trim();
    }

    /// The playlist has its ENDLIST.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The rendition has no part with media yet: there is nothing to offer (architecture 6: a window that is all gaps is
    /// never offered).
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Number of the first segment in the playlist.
    pub fn first_listed(&self) -> Option<MediaSequence> {
        self.first
    }

    /// Bytes of segments below this number are no longer needed: they left the playlist long enough ago (H-13).
    pub fn retained_from(&self) -> Option<MediaSequence> {
        self.entries.front().map(|entry| entry.cut.msn)
    }

    fn replace_cut(&mut self, place: usize, cut: &Cut) -> Result<(), CutRefused> {
        let known = &self.entries[place];
        if known.closed.is_some() || known.says_the_same(cut) {
            return Ok(());
        }
        if known.has_parts() {
            if cut.kind == known.cut.kind {
                return Ok(());
            }
            self.entries[place].cut.kind = cut.kind;
            self.entries[place].told = (cut.start, cut.program_date_time);
        } else {
            let before = place.checked_sub(1).map(|before| &self.entries[before]);
            let discontinuity = before.map(|before| follows(&before.cut, cut)).transpose()?.unwrap_or(false);
            let shift = match before {
                // Its end is where the lost home had this cut, and cannot be changed any more.
                Some(before) if before.closed.is_some() => known.cut.start.ticks - cut.start.ticks,
                Some(before) => before.shift().ticks,
                None => 0,
            };
            let shift = Timestamp::video(if discontinuity { 0 } else { shift });
            self.entries[place] = Entry::shifted(cut.clone(), discontinuity, shift);
        }
        let later_parts = self.entries.range(place + 1..).rposition(Entry::has_parts).map_or(0, |last| last + 1);
        self.entries.truncate(place + 1 + later_parts);
        self.settle();
        Ok(())
    }

    /// Closes what can be closed, then takes away what is too old.
    fn settle(&mut self) {
        let closing = Closing { kind: self.config.kind, independent_segments: self.config.independent_segments };
        let from = self.entries.iter().position(|entry| entry.closed.is_none()).unwrap_or(self.entries.len());
        for place in from..self.entries.len() {
            let Some(next_start) = self.next_start(place) else { break };
            let entry = &self.entries[place];
            // An audio segment shorter than a frame may have no part: the frame before it covers it.
            let before = place.checked_sub(1).and_then(|before| self.entries[before].closed).map(|closed| closed.end);
            let covered = entry.parts_end().or(before).unwrap_or(entry.cut.start) >= next_start;
            let passed = self.entries.range(place + 1..).any(Entry::has_parts);
            // A home declares gaps long before this; it bounds memory against one that does not.
            let overdue = self.entries.len() - place > self.config.segments.max(1) * 2;
            let abandoned = overdue || entry.cut.msn < self.writable_from;
            if !(covered || passed || abandoned || entry.cut.kind == CutKind::Gap) {
                break;
            }
            self.close(place, next_start, closing, abandoned && !covered && !passed);
        }
        self.trim();
    }

    /// Where the segment at `place` ends, once the next cut is known.
    fn next_start(&self, place: usize) -> Option<Timestamp> {
        let next = self.entries.get(place + 1)?;
        Some(Timestamp::video(next.told.0.ticks + self.entries[place].shift().ticks))
    }

    fn close(&mut self, place: usize, end: Timestamp, closing: Closing, abandoned: bool) {
        let previous_end = place.checked_sub(1).and_then(|before| self.entries[before].closed).map(|closed| closed.end);
        let init = self.init_before(place);
        let entry = &mut self.entries[place];
        entry.close(end, previous_end, closing, abandoned);
        entry.init = entry.init.or(init);
    }

    /// Moves the front of the list (H-9, H-12) and forgets what left it long ago (H-13).
    fn trim(&mut self) {
        let three_targets = Seconds::whole(self.config.target_duration).times(3);
        let Some(mut first) = self.first else {
            let is_closed = |entry: &Entry| entry.closed.is_some();
            while self.entries.len() > self.config.segments && self.entries.front().is_some_and(is_closed) {
                self.entries.pop_front();
            }
            return;
        };
        let closed = |window: &Self, from: MediaSequence| {
            let entries = window.entries.iter().filter(move |entry| entry.cut.msn >= from);
            entries
                .filter_map(|entry| entry.closed.as_ref())
                .fold((0, Seconds::default()), |(count, length), closed| (count + 1, length.plus(closed.duration())))
        };
        while self.is_past_the_lost(first) {
            first = first.next();
        }
        loop {
            let (count, length) = closed(self, first.next());
            if count < self.config.segments || length < three_targets {
                break;
            }
            first = first.next();
        }
        self.first = Some(first);
        // A removed segment stays downloadable for its own length and more, namely 3 x TARGETDURATION. One without an
        // init segment came before the rendition began, and nobody was ever told of it.
        while let Some(front) = self.entries.front()
            && front.cut.msn < first
        {
            let left = self.entries.iter().skip(1).take_while(|entry| entry.cut.msn < first);
            let length = left
                .filter_map(|entry| entry.closed.as_ref())
                .fold(Seconds::default(), |length, closed| length.plus(closed.duration()));
            if front.init.is_none() || length >= three_targets {
                self.entries.pop_front();
            } else {
                break;
            }
        }
    }

    /// Whether segment `first` is the gap that a lost server left, and a whole segment has come after it. Nobody has use for
    /// the gap then, and video.js, which does not know EXT-X-GAP, asks for it again and again and comes no further.
    fn is_past_the_lost(&self, first: MediaSequence) -> bool {
        let is_lost = |entry: &Entry| entry.init.is_none() && entry.closed.is_some_and(|closed| closed.gap);
        let is_whole = |entry: &Entry| entry.closed.is_some_and(|closed| !closed.gap);
        let mut listed = self.entries.iter().skip_while(|entry| entry.cut.msn < first);
        listed.next().is_some_and(is_lost) && listed.any(is_whole)
    }

    /// Init segment in force before the segment at `place`.
    fn init_before(&self, place: usize) -> Option<InitId> {
        self.entries.range(..place).rev().find_map(|entry| entry.init)
    }

    fn place(&self, msn: MediaSequence) -> Option<usize> {
        let front = self.entries.front()?.cut.msn;
        let place = usize::try_from(msn.0.checked_sub(front.0)?).ok()?;
        (place < self.entries.len()).then_some(place)
    }
}

/// Whether `cut`, the one after `before`, begins with a discontinuity.
fn follows(before: &Cut, cut: &Cut) -> Result<bool, CutRefused> {
    let msn = cut.msn;
    if cut.start < before.start {
        return Err(CutRefused::StartsEarlier { msn });
    }
    match cut.discontinuity.checked_sub(before.discontinuity) {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(CutRefused::Discontinuity { msn, found: cut.discontinuity, before: before.discontinuity }),
    }
}
