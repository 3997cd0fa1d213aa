//! One segment of a window, from its cut to its close.

use headwater_media::{ByteRange, Cut, CutKind, InitId, PartIndex, Timestamp, TrackKind, WallTime};

use crate::Seconds;

/// Parts that are listed of a gap that a lost server left: more than any segment has.
const LOST_PARTS_MAX: i64 = 128;

/// A segment: its cut, its parts so far, and once it is complete its end.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// As it is listed.
    pub(super) cut: Cut,
    /// Start and date as the timeline says them. They differ from those of `cut` only in segments that a takeover closes
    /// and that this playlist had begun, or begun after, as the lost home said.
    pub(super) told: (Timestamp, WallTime),
    /// EXT-X-DISCONTINUITY comes before it.
    pub(super) discontinuity: bool,
    /// Init segment in force in it. Fixed as soon as it has a part.
    pub(super) init: Option<InitId>,
    pub(super) parts: Vec<WindowPart>,
    /// Where in the segment the IDR lies with which it begins.
    pub(super) intra: Option<ByteRange>,
    pub(super) closed: Option<Closed>,
}

/// What is kept of a part.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowPart {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) independent: bool,
    pub(super) gap: bool,
}

/// What is known of a segment once it is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) gap: bool,
}

/// The rules of a rendition by which a segment is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub(super) kind: TrackKind,
    pub(super) independent_segments: bool,
}

impl Closed {
    pub(super) fn duration(&self) -> Seconds {
        Seconds::between(self.start, self.end)
    }
}

impl Entry {
    pub(super) fn new(cut: Cut, discontinuity: bool) -> Self {
        let told = (cut.start, cut.program_date_time);
        Self { cut, told, discontinuity, init: None, parts: Vec::new(), intra: None, closed: None }
    }

    /// Follows what is listed already, `shift` away from where the timeline has it.
    pub(super) fn shifted(cut: Cut, discontinuity: bool, shift: Timestamp) -> Self {
        let told = (cut.start, cut.program_date_time);
        let start = Timestamp::video(cut.start.ticks + shift.ticks);
        let program_date_time = cut.program_date_time.plus(shift);
        Self { told, ..Self::new(Cut { start, program_date_time, ..cut }, discontinuity) }
    }

    /// How far it is from where the timeline has it.
    pub(super) fn shift(&self) -> Timestamp {
        Timestamp::video(self.cut.start.ticks - self.told.0.ticks)
    }

    /// A gap, complete from the beginning, and so are its parts of `part_target`.
    pub(super) fn lost(cut: Cut, end: Timestamp, part_target: Timestamp) -> Self {
        let (start, end) = (cut.start, end.max(cut.start));
        let length = part_target.rescale(start.timescale).ticks.max(1);
        let parts = (0..LOST_PARTS_MAX).map(|index| start.ticks + index * length).take_while(|from| *from < end.ticks);
        let part = |from: i64| {
            let to = Timestamp::new(from + length, start.timescale).min(end);
            WindowPart { start: Timestamp::new(from, start.timescale), end: to, independent: false, gap: true }
        };
        let parts = parts.map(part).collect();
        Self { closed: Some(Closed { start, end, gap: true }), parts, ..Self::new(cut, false) }
    }

    pub(super) fn has_parts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Index of the part that comes next.
    pub(super) fn next_index(&self) -> PartIndex {
        PartIndex(u32::try_from(self.parts.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn parts_end(&self) -> Option<Timestamp> {
        self.parts.last().map(|part| part.end)
    }

    /// Whether `cut` would list the segment as it is. Which renditions are on shows in their parts.
    pub(super) fn says_the_same(&self, cut: &Cut) -> bool {
        let told = (self.told.0, self.told.1, self.cut.discontinuity, self.cut.kind);
        told == (cut.start, cut.program_date_time, cut.discontinuity, cut.kind)
    }

    /// Wall-clock time of its start. Audio segments start with their first frame, up to a frame after the cut; the
    /// mapping from media time is the timeline's (H-16).
    pub(super) fn program_date_time(&self, kind: TrackKind) -> WallTime {
        let start = self.parts.first().map(|part| part.start).or(self.closed.map(|closed| closed.start));
        match (kind, start) {
            (TrackKind::Audio, Some(start)) => {
                let scale = start.timescale;
                let since_cut = start.ticks - self.cut.start.rescale_nearest(scale).ticks;
                self.cut.program_date_time.plus(Timestamp::new(since_cut, scale))
            }
            _ => self.cut.program_date_time,
        }
    }

    /// Completes it. `end` is the next cut, or where its parts end; `previous_end` where the segment before it ended.
    /// An abandoned one is a gap: its end is known, its parts will never reach it.
    pub(super) fn close(&mut self, end: Timestamp, previous_end: Option<Timestamp>, rules: Closing, abandoned: bool) {
        let (start, end) = match rules.kind {
            TrackKind::Video => (self.cut.start, end),
            TrackKind::Audio => {
                let joins = previous_end.filter(|_| !self.discontinuity);
                let start = self.parts.first().map(|part| part.start).or(joins).unwrap_or(self.cut.start);
                (start, self.parts_end().map_or(end, |parts_end| parts_end.max(end)))
            }
        };
        let first_media = self.parts.iter().find(|part| !part.gap);
        let decodable = first_media.is_some_and(|part| part.independent || !rules.independent_segments);
        let gap = self.cut.kind == CutKind::Gap || abandoned || !decodable;
        self.closed = Some(Closed { start, end: end.max(start), gap });
    }
}
