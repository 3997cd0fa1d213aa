//! Segments and parts: where they begin and end, and whether the source rendition conforms.

use std::collections::VecDeque;
use std::sync::Arc;

use headwater_media::{
    AccessUnit, Cut, CutKind, MediaSequence, PartEnd, PartIndex, RenditionName, RenditionState, Timestamp, VideoConfig,
    VideoSlot, WallTime,
};

use super::Event;
use crate::Grid;

/// Segments that must conform before a source that was off comes back.
const CONFORMING_SEGMENTS: u32 = 2;
/// Slots with two samples that a segment may have: clocks drift, and a nearest slot is taken twice now and then.
const SHARED_SLOTS_MAX: u32 = 2;

const FAR_APART: &str = "its keyframes are further apart than a segment may be long";
const NOT_IDR: &str = "its keyframes are no IDR pictures, so that players cannot begin with them";
const STOPPED: &str = "its video has stopped";

/// Pictures in a row that had to take the slot after their own, after which one shares a slot: so that those that follow
/// have their own again.
const PUSHED_MAX: u32 = 15;
/// Pictures in a row that share a slot, after which one gets a slot of its own: on a clock that stands still the timeline
/// goes on, if slowly, and parts come to an end.
const CROWD_MAX: u32 = 10;

/// What a picture is to those who would begin with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    /// It is an IDR: everybody can.
    Idr,
    /// It is a recovery point: a decoder can.
    Recovery,
    /// Nobody can.
    None,
}

/// What another configuration means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// It is the same.
    None,
    /// Decoders are told, viewers do not notice.
    Seamless,
    /// Size, format or rate are others.
    Break,
}

/// What a segment begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Opening {
    /// A keyframe; or there are no pictures to begin with.
    Keyframe,
    /// Whatever comes: the limit is reached.
    Limit,
    /// Sound: video is silent.
    Sound,
}

/// What the next sample does to the segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Decision {
    /// The segment goes on.
    GoOn,
    /// A segment begins at `slot`: with the keyframe that came, or without one because the limit is reached.
    Cut { slot: i64, keyframe: bool },
}

/// Decides cuts and part ends of one session.
#[derive(Debug)]
pub(super) struct Cutter {
    grid: Grid,
    segment: Option<Segment>,
    /// The segment is another home's announcement: its first sample makes it this one's.
    announced: bool,
    /// The first slot without a sample: where the timeline has got to.
    next_slot: i64,
    /// Pictures in a row that had to take the slot after their own.
    pushed: u32,
    /// Pictures in a row that shared a slot.
    crowd: u32,
    last_entry: Option<i64>,
    last_gop: Option<i64>,
    /// The last segment that began with a keyframe began with an IDR, and so will the next one.
    has_idrs: bool,
    discontinuity: u64,
    /// Wall time of slot 0 as the running period sees it.
    wall: WallTime,
    wall_slot: i64,
    config: Option<Arc<VideoConfig>>,
    source: Source,
    /// The next cut gets a discontinuity.
    discontinuity_due: bool,
}

#[derive(Debug)]
struct Segment {
    msn: MediaSequence,
    start: i64,
    part: u32,
    part_start: i64,
    /// Samples in the open part.
    part_samples: u32,
    samples: u32,
    shared_slots: u32,
    empty_parts: u32,
    discontinuity: bool,
}

/// Whether the source rendition conforms.
#[derive(Debug)]
struct Source {
    may_be_off: bool,
    off: Option<Arc<str>>,
    conforming: u32,
}

impl Cutter {
    pub(super) fn new(grid: Grid, source_may_be_off: bool) -> Self {
        Self {
            grid,
            segment: None,
            announced: false,
            next_slot: 0,
            pushed: 0,
            crowd: 0,
            last_entry: None,
            last_gop: None,
            has_idrs: true,
            discontinuity: 0,
            wall: WallTime::default(),
            wall_slot: 0,
            config: None,
            source: Source { may_be_off: source_may_be_off, off: None, conforming: 0 },
            discontinuity_due: false,
        }
    }

    /// Goes on with `first`, a segment that is announced and has nothing yet.
    pub(super) fn go_on(&mut self, first: &Cut) {
        let start = first.start.ticks / self.grid.slot_ticks;
        let off = first.off_reason(&RenditionName::source()).filter(|_| self.source.may_be_off).cloned();
        *self = Self {
            segment: Some(Segment { discontinuity: true, ..Segment::new(first.msn, start) }),
            announced: true,
            next_slot: start,
            discontinuity: first.discontinuity,
            wall: first.program_date_time,
            wall_slot: start,
            source: Source { may_be_off: self.source.may_be_off, off, conforming: 0 },
            ..Self::new(self.grid, false)
        };
    }

    /// The session has got a source rendition.
    pub(super) fn source_begins(&mut self, may_be_off: bool) {
        self.source.may_be_off = may_be_off;
    }

    /// The open segment.
    pub(super) fn msn(&self) -> Option<MediaSequence> {
        self.segment.as_ref().map(|segment| segment.msn)
    }

    /// Whether the next cut is to have a discontinuity, wherever it comes.
    pub(super) fn set_discontinuity_due(&mut self, due: bool) {
        self.discontinuity_due = due;
    }

    /// Whether that cut is still to come.
    pub(super) fn discontinuity_due(&self) -> bool {
        self.discontinuity_due
    }

    pub(super) fn next_slot(&self) -> i64 {
        self.next_slot
    }

    /// A new publisher, or a new clock of the same: closes what is open and begins a segment, with a discontinuity
    /// unless it is the session's first. Returns the slot where it begins.
    pub(super) fn begin_period(&mut self, wall: WallTime, events: &mut VecDeque<Event>) -> i64 {
        let first = self.segment.is_none();
        let announced = std::mem::take(&mut self.announced);
        // A segment of this home that was announced and got nothing keeps its number: it becomes a gap of one slot.
        if let Some(segment) = &self.segment
            && !announced
            && segment.samples == 0
            && segment.start == self.next_slot
        {
            self.next_slot += 1;
        }
        let start = self.next_slot;
        let own = self.wall_at(start);
        self.wall = if first { wall } else { wall.max(own) };
        self.wall_slot = start;
        self.last_entry = None;
        self.last_gop = None;
        self.config = None;
        match &self.segment {
            Some(segment) if announced => {
                let msn = segment.msn;
                self.announce(msn, start, Opening::Keyframe, events);
            }
            _ => self.cut(start, Opening::Keyframe, !first, events),
        }
        start
    }

    fn wall_at(&self, slot: i64) -> WallTime {
        self.wall.plus(Timestamp::video((slot - self.wall_slot) * self.grid.slot_ticks))
    }

    /// How this keyframe's configuration differs from that of the samples so far.
    pub(super) fn change(&self, config: &Arc<VideoConfig>) -> Change {
        match &self.config {
            Some(known) if !Arc::ptr_eq(known, config) && known != config => {
                if config.continues(known) {
                    Change::Seamless
                } else {
                    Change::Break
                }
            }
            _ => Change::None,
        }
    }

    /// What a picture at `slot` does. Changes nothing.
    fn decide(&self, slot: i64, keyframe: bool) -> Decision {
        let Some(segment) = &self.segment else { return Decision::GoOn };
        let length = slot.max(self.next_slot) - segment.start;
        if segment.samples == 0 && length < self.grid.limit_slots {
            return Decision::GoOn;
        }
        if keyframe && self.discontinuity_due {
            return Decision::Cut { slot: self.cut_slot(slot), keyframe: true };
        }
        // The GOP that a keyframe ends is the best guess for the one that it begins.
        let gop = self.last_entry.map_or(0, |last| slot - last);
        let fits_not = length + gop > self.grid.limit_slots;
        if keyframe && length <= self.grid.limit_slots && (length >= self.grid.segment_slots || fits_not) {
            return Decision::Cut { slot: self.cut_slot(slot), keyframe: true };
        }
        if length >= self.grid.limit_slots {
            let slot = segment.start + self.grid.limit_slots;
            return Decision::Cut { slot, keyframe: keyframe && length == self.grid.limit_slots };
        }
        Decision::GoOn
    }

    /// Where a cut for a keyframe at `slot` is made. A keyframe that comes a little after a full part opens the segment
    /// right there: the part before it is already complete, and one more would be an empty one.
    fn cut_slot(&self, slot: i64) -> i64 {
        let Some(segment) = &self.segment else { return slot };
        let full = segment.part_samples > 0 && self.next_slot == self.part_end();
        if full && slot - self.next_slot < self.grid.part_slots {
            return self.next_slot;
        }
        slot.max(self.next_slot)
    }

    fn part_end(&self) -> i64 {
        self.segment
            .as_ref()
            .map_or(0, |segment| (segment.part_start + self.grid.part_slots).min(segment.start + self.grid.limit_slots))
    }

    /// Makes room for a picture at `slot`: cuts and closes what must be cut and closed before it.
    pub(super) fn advance(&mut self, slot: i64, keyframe: bool, events: &mut VecDeque<Event>) {
        loop {
            match self.decide(slot, keyframe) {
                Decision::GoOn => return self.close_parts(self.free_slot(slot).unwrap_or(slot), events),
                Decision::Cut { slot, keyframe } => {
                    let opening = if keyframe { Opening::Keyframe } else { Opening::Limit };
                    self.cut(slot, opening, false, events);
                    if keyframe {
                        return;
                    }
                }
            }
        }
    }

    /// The slot for a picture that wants `slot`: that one, or the next when it is taken. `None` for a picture that is
    /// further behind, or after too many that were: it shares a slot, unless too many do.
    fn free_slot(&self, slot: i64) -> Option<i64> {
        let earliest = if self.pushed < PUSHED_MAX { self.next_slot - 1 } else { self.next_slot };
        (slot >= earliest || self.crowd >= CROWD_MAX).then(|| slot.max(self.next_slot))
    }

    /// A change of configuration is a cut, wherever it comes.
    pub(super) fn advance_to_change(&mut self, slot: i64, change: Change, events: &mut VecDeque<Event>) {
        while let Decision::Cut { slot, .. } = self.decide(slot - 1, false) {
            self.cut(slot, Opening::Limit, false, events);
        }
        let Some(segment) = &self.segment else { return };
        let discontinuity = change == Change::Break;
        if segment.samples > 0 {
            self.cut(self.cut_slot(slot), Opening::Keyframe, discontinuity, events);
        } else if discontinuity && !segment.discontinuity {
            // The segment was announced with the first bytes of its keyframe, before it was known what is in it. It keeps
            // its number and becomes a gap of one slot at least.
            // Parts of it that went by without a picture are out.
            let slot = slot.max(self.next_slot).max(segment.start + 1);
            self.cut(slot, Opening::Keyframe, true, events);
        }
    }

    /// Gives a picture its place: (segment, slot, it is the segment's first).
    pub(super) fn place(&mut self, want: i64, entry: Entry, config: &Arc<VideoConfig>) -> (MediaSequence, i64, bool) {
        let next_slot = self.next_slot;
        let part_slots = self.grid.part_slots;
        let free_slot = self.free_slot(want);
        let Some(segment) = &mut self.segment else { return (MediaSequence(0), want, false) };
        let opens = segment.samples == 0;
        let mut crowd = 0;
        let slot = if opens && want - segment.start < part_slots {
            segment.start
        } else if let Some(slot) = free_slot {
            slot
        } else {
            crowd = self.crowd + 1;
            segment.shared_slots += 1;
            (next_slot - 1).max(segment.part_start)
        };
        self.crowd = crowd;
        if opens {
            self.has_idrs = entry != Entry::Recovery;
            match entry {
                Entry::Idr => {}
                Entry::Recovery => self.source.does_not_conform(NOT_IDR),
                Entry::None => self.source.does_not_conform(FAR_APART),
            }
        }
        self.pushed = if slot > want { self.pushed + 1 } else { 0 };
        segment.samples += 1;
        segment.part_samples += 1;
        self.next_slot = self.next_slot.max(slot + 1);
        if entry != Entry::None {
            self.last_gop = self.last_entry.map(|last| slot - last).filter(|gop| *gop > 0).or(self.last_gop);
            self.last_entry = Some(slot);
        }
        if !self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, config)) {
            self.config = Some(config.clone());
        }
        (segment.msn, slot, opens)
    }

    /// A sample was placed: its part ends if it is full, unless a cut may follow: then the next picture tells, so that
    /// the preload hint is right. (A keyframe that nobody expects right after a part that is out makes it wrong; the
    /// hinted part then never exists.) `change_due`: the next keyframe has another configuration, and makes a cut.
    pub(super) fn filled(&mut self, change_due: bool, events: &mut VecDeque<Event>) {
        let end = self.part_end();
        let Some(segment) = &self.segment else { return };
        let length = self.next_slot - segment.start;
        let keyframe_due = match (self.last_gop, self.last_entry) {
            (Some(gop), Some(last)) => self.next_slot - last >= gop && length + gop > self.grid.limit_slots,
            _ => false,
        };
        let cut_possible =
            change_due || length >= self.grid.segment_slots || length >= self.grid.limit_slots || keyframe_due;
        if self.next_slot >= end && !cut_possible {
            self.close_parts(self.next_slot, events);
        }
    }

    /// Closes the parts that end at or before `slot`.
    fn close_parts(&mut self, slot: i64, events: &mut VecDeque<Event>) {
        while self.segment.is_some() && self.part_end() <= slot {
            let end = self.part_end();
            if self.segment.as_ref().is_some_and(|segment| end >= segment.start + self.grid.limit_slots) {
                return;
            }
            self.close_part(end, false, events);
        }
    }

    fn close_part(&mut self, end: i64, last: bool, events: &mut VecDeque<Event>) {
        let Some(segment) = &mut self.segment else { return };
        events.push_back(Event::PartEnd(PartEnd {
            msn: segment.msn,
            index: PartIndex(segment.part),
            start: VideoSlot(segment.part_start),
            end: VideoSlot(end),
            last,
        }));
        segment.empty_parts += u32::from(segment.part_samples == 0);
        segment.part += 1;
        segment.part_start = end;
        segment.part_samples = 0;
        self.next_slot = self.next_slot.max(end);
    }

    /// Ends the open segment at `slot` and begins the next.
    fn cut(&mut self, slot: i64, opening: Opening, discontinuity: bool, events: &mut VecDeque<Event>) {
        self.close_parts(slot - 1, events);
        let mut msn = MediaSequence(1);
        if let Some(segment) = &self.segment {
            msn = segment.msn.next();
            if segment.shared_slots > SHARED_SLOTS_MAX {
                self.source.does_not_conform("it sends more frames than its frame rate says");
            } else if segment.empty_parts > 0 {
                self.source.does_not_conform("it leaves whole parts without a frame");
            }
        }
        let discontinuity = std::mem::take(&mut self.discontinuity_due) || discontinuity;
        self.discontinuity += u64::from(discontinuity);
        self.announce(msn, slot, opening, events);
        if self.segment.as_ref().is_some_and(|segment| segment.part_start < slot) {
            self.close_part(slot, true, events);
        }
        self.next_slot = self.next_slot.max(slot);
        self.segment = Some(Segment { discontinuity, ..Segment::new(msn, slot) });
    }

    /// Segment `msn` begins at `slot`.
    fn announce(&mut self, msn: MediaSequence, slot: i64, opening: Opening, events: &mut VecDeque<Event>) {
        match opening {
            Opening::Keyframe if self.has_idrs => self.source.segment_begins(),
            Opening::Keyframe => self.source.does_not_conform(NOT_IDR),
            Opening::Limit => self.source.does_not_conform(FAR_APART),
            Opening::Sound => self.source.does_not_conform(STOPPED),
        }
        events.push_back(Event::Cut(Arc::new(Cut {
            msn,
            start: self.grid.slot_start(slot),
            discontinuity: self.discontinuity,
            program_date_time: self.wall_at(slot),
            kind: CutKind::Media,
            renditions: self.source.state(),
        })));
    }

    /// No picture has come, or none can: parts and segments go on by the sound alone, up to `slot`.
    pub(super) fn advance_without_video(&mut self, slot: i64, has_video: bool, events: &mut VecDeque<Event>) {
        while let Some(segment) = &self.segment {
            let cut = segment.start + self.grid.segment_slots;
            let end = self.part_end().min(cut.max(segment.part_start + 1));
            if end > slot {
                break;
            }
            let opening = if has_video { Opening::Sound } else { Opening::Keyframe };
            if has_video {
                self.source.does_not_conform(STOPPED);
            }
            if end >= cut { self.cut(end, opening, false, events) } else { self.close_part(end, false, events) }
        }
    }

    /// The session ends: the open part is closed, as the segment's last.
    pub(super) fn finish(&mut self, events: &mut VecDeque<Event>) {
        if self.segment.as_ref().is_some_and(|segment| segment.part_start < self.next_slot) {
            self.close_part(self.next_slot, true, events);
        }
    }
}

impl Segment {
    fn new(msn: MediaSequence, start: i64) -> Self {
        Self {
            msn,
            start,
            part: 0,
            part_start: start,
            part_samples: 0,
            samples: 0,
            shared_slots: 0,
            empty_parts: 0,
            discontinuity: false,
        }
    }
}

impl Entry {
    pub(super) fn of(unit: &AccessUnit) -> Self {
        match unit.recovery {
            _ if unit.idr => Self::Idr,
            Some(_) => Self::Recovery,
            None => Self::None,
        }
    }
}

impl Source {
    /// What the source did in the segment that ends, or does in the one that begins.
    fn does_not_conform(&mut self, reason: &str) {
        self.conforming = 0;
        if self.may_be_off && self.off.as_deref() != Some(reason) {
            self.off = Some(reason.into());
        }
    }

    fn segment_begins(&mut self) {
        if self.off.is_some() {
            self.conforming += 1;
            if self.conforming > CONFORMING_SEGMENTS {
                self.off = None;
                self.conforming = 0;
            }
        }
    }

    fn state(&self) -> Arc<[(RenditionName, RenditionState)]> {
        self.off.iter().map(|reason| (RenditionName::source(), RenditionState::Off(reason.clone()))).collect()
    }
}
