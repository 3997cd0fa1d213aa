//! A small model of a home's log: cuts, parts of the source, parts of one gear that a worker makes, and what of them has
//! left for edges and workers. What is stamped, and when, is decided by the node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use headwater_media::{
    Cut, CutKind, Epoch, FrameRate, MediaSequence, PartIndex, RenditionName, SessionId, Timestamp, Turn, WallTime,
};
use headwater_router::claim::{Base, Claimed, Sealed, SealedRendition, takeover};
use headwater_router::{NodeId, Outline};
use headwater_segmenter::{Grid, Profile};

use crate::bug::Bug;
use crate::checks::{Checks, Place, Rendition};
use crate::context::Address;
use crate::rng::{Rng, mix};

/// A part lasts half a second.
pub(crate) const PART_TICKS: i64 = 60_000;
pub(crate) const WINDOW_SEGMENTS: u32 = 6;
pub(crate) const TARGET_DURATION: u32 = 3;
/// A gear's part that is so far behind is declared a gap.
const GAP_AFTER: i64 = 2 * TARGET_DURATION as i64 * 120_000;
const CUTS_MAX: usize = WINDOW_SEGMENTS as usize + 4;
const WORK_MAX: usize = 12;

/// A part, or the statement that there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// What stands for its bytes; `None` is a gap.
    pub(crate) bytes: Option<u64>,
    pub(crate) turn: Turn,
    pub(crate) writer: u64,
}

/// What an edge is told.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Cut(Arc<Cut>),
    Part(Rendition, Place, Piece),
    /// Segments below get no more parts and are not whole.
    Holes([u64; 2]),
    /// The session is over, and these are its last cuts.
    End(Vec<Arc<Cut>>),
}

#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) epoch: Epoch,
    pub(crate) session: SessionId,
    pub(crate) kind: FeedKind,
}

#[derive(Debug)]
pub(crate) enum FeedKind {
    Snapshot { version: usize, cuts: Vec<Arc<Cut>>, holes_below: [u64; 2], pieces: [Vec<(Place, Piece)>; 2] },
    Delta { from: usize, items: Vec<Item> },
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) epoch: Epoch,
    pub(crate) session: SessionId,
    pub(crate) cuts: Vec<Arc<Cut>>,
    /// The last cut has samples.
    pub(crate) stamped: bool,
    discontinuity_due: bool,
    next_part: u32,
    segment_parts: u32,
    end: i64,
    /// How many parts complete segments have.
    closed: BTreeMap<u64, u32>,
    pieces: [BTreeMap<Place, Piece>; 2],
    gear_next: Place,
    gaps: BTreeSet<Place>,
    pub(crate) turn: Turn,
    last_turn: Turn,
    pub(crate) worker: Option<Address>,
    /// Which process there writes the turn: one that is restarted has another connection, and gets another turn.
    writer: Option<u64>,
    /// Parts of this home wait until those before them are here, or are given up.
    pub(crate) fetching: bool,
    first: u64,
    pub(crate) holes_below: [u64; 2],
    pending: VecDeque<Item>,
    items: Vec<Item>,
    /// Source parts before this one have left.
    left: Place,
    left_cut: u64,
}

impl Log {
    pub(crate) fn new(claimed: &Claimed) -> Self {
        let record = &claimed.record;
        let cuts = record.outline.as_ref().map_or(Vec::new(), |outline| outline.cuts.clone());
        let first = claimed.first().0;
        let (mut gear_next, mut gaps) = ((first, 0), BTreeSet::new());
        let mut turn = Turn { epoch: record.epoch, counter: 0 };
        if let Base::Sealed(answer) = &claimed.base
            && let Some(gear) = answer.renditions.iter().find(|rendition| rendition.name.as_str() == "gear")
        {
            gear_next = (gear.missing.0.0, gear.missing.1.0);
            gaps = gear.gaps.iter().map(|(msn, part)| (msn.0, part.0)).collect();
            turn = turn.max(gear.turn);
        }
        Self {
            epoch: record.epoch,
            session: record.session,
            stamped: false,
            discontinuity_due: false,
            next_part: 0,
            segment_parts: 4,
            end: cuts.last().map_or(0, |cut| cut.start.ticks),
            closed: BTreeMap::new(),
            pieces: Default::default(),
            gear_next,
            gaps,
            last_turn: Turn::default(),
            turn,
            worker: None,
            writer: None,
            fetching: matches!(claimed.base, Base::Sealed(_)),
            first,
            holes_below: if matches!(claimed.base, Base::Sealed(_)) { [0; 2] } else { [first; 2] },
            pending: VecDeque::new(),
            items: Vec::new(),
            left: (first, 0),
            left_cut: cuts.last().map_or(0, |cut| cut.msn.0),
            cuts,
        }
    }

    fn needs_cut(&self) -> bool {
        self.cuts.is_empty() || (self.stamped && (self.discontinuity_due || self.next_part >= self.segment_parts))
    }

    /// The number that the next sample gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.cuts.last().map_or(1, |cut| cut.msn.0 + u64::from(self.needs_cut()))
    }

    /// A new publisher goes on.
    pub(crate) fn join(&mut self) {
        self.discontinuity_due = self.stamped;
    }

    /// Stamps half a second of media; `true` when it began a segment.
    pub(crate) fn stamp(&mut self, rng: &mut Rng, wall: WallTime) -> bool {
        let cuts = self.needs_cut();
        if cuts {
            self.cut(wall);
        }
        if self.next_part == 0 {
            self.segment_parts = u32::try_from(rng.range(3, 6)).expect("it is small");
        }
        let place = (self.cuts[self.cuts.len() - 1].msn.0, self.next_part);
        let writer = mix(self.epoch.0);
        let bytes = Some(mix(rng.next()));
        let turn = Turn { epoch: self.epoch, counter: 0 };
        let piece = Piece { start: self.end, end: self.end + PART_TICKS, bytes, turn, writer };
        self.pieces[0].insert(place, piece);
        self.pending.push_back(Item::Part(0, place, piece));
        self.end = piece.end;
        self.next_part += 1;
        self.stamped = true;
        cuts
    }

    fn cut(&mut self, wall: WallTime) {
        let cut = match self.cuts.last() {
            None => Cut {
                msn: MediaSequence(1),
                start: Timestamp::video(0),
                discontinuity: 0,
                program_date_time: wall,
                kind: CutKind::Media,
                renditions: [].into(),
            },
            Some(last) => {
                self.closed.insert(last.msn.0, self.next_part);
                let date = last.program_date_time.plus(Timestamp::video(self.end - last.start.ticks));
                Cut {
                    msn: last.msn.next(),
                    start: Timestamp::video(self.end),
                    discontinuity: last.discontinuity + u64::from(self.discontinuity_due),
                    program_date_time: if self.discontinuity_due { date.max(wall) } else { date },
                    kind: CutKind::Media,
                    renditions: [].into(),
                }
            }
        };
        self.discontinuity_due = false;
        self.next_part = 0;
        let cut = Arc::new(cut);
        self.cuts.push(cut.clone());
        self.pending.push_back(Item::Cut(cut));
        let too_many = self.cuts.len().saturating_sub(CUTS_MAX);
        self.cuts.drain(..too_many);
        let oldest = self.cuts[0].msn.0;
        for pieces in &mut self.pieces {
            pieces.retain(|place, _| place.0 >= oldest);
        }
    }

    pub(crate) fn outline(&self) -> Option<Arc<Outline>> {
        (!self.cuts.is_empty()).then(|| {
            Arc::new(Outline {
                grid: Grid::new(Profile::Low, FrameRate::FPS_30),
                window_segments: WINDOW_SEGMENTS,
                since: WallTime::default(),
                renditions: Vec::new(),
                audio: None,
                cuts: self.cuts.clone(),
            })
        })
    }

    /// Lets out what may leave.
    pub(crate) fn flush(&mut self, may_leave: impl Fn(Option<&Cut>, &Cut) -> bool) {
        while let Some(front) = self.pending.front() {
            match front {
                Item::Cut(cut) => {
                    let before = self.cuts.iter().find(|before| before.msn.next() == cut.msn);
                    if !may_leave(before.map(Arc::as_ref), cut) {
                        break;
                    }
                    self.left_cut = cut.msn.0;
                }
                Item::Part(_, place, _) if !self.fetching => self.left = (place.0, place.1 + 1),
                Item::Part(..) => break,
                Item::Holes(_) | Item::End(_) => {}
            }
            self.items.extend(self.pending.pop_front());
        }
    }

    /// The gear's first missing part.
    pub(crate) fn gear_missing(&mut self) -> Place {
        while self.closed.get(&self.gear_next.0) == Some(&self.gear_next.1) {
            self.gear_next = (self.gear_next.0 + 1, 0);
        }
        self.gear_next
    }

    /// Gives the gear to a worker.
    pub(crate) fn give_turn(&mut self, worker: Address) {
        self.worker = Some(worker);
        self.writer = None;
        self.turn.counter += 1;
    }

    /// What a worker should make.
    pub(crate) fn work(&mut self) -> Vec<(Place, Piece)> {
        let from = self.gear_missing();
        if self.fetching || from >= self.left {
            return Vec::new();
        }
        self.pieces[0].range(from..self.left).take(WORK_MAX).map(|(place, piece)| (*place, *piece)).collect()
    }

    /// A worker's part. Dropped when it is of an older turn, not the next one, or there already.
    pub(crate) fn put(&mut self, checks: &mut Checks, bug: Bug, place: Place, piece: Piece) -> bool {
        let fills_gap = bug == Bug::GapFilled && self.gaps.contains(&place);
        let old = piece.turn != self.turn && bug != Bug::TurnNotChecked;
        let Some(bytes) = piece.bytes.filter(|_| !old && (fills_gap || place == self.gear_missing())) else {
            return false;
        };
        if piece.turn == self.turn && *self.writer.get_or_insert(piece.writer) != piece.writer {
            self.worker = None;
            return false;
        }
        if self.gaps.contains(&place) {
            checks.violate(format!("5: part {}.{} was a gap and is filled", place.0, place.1));
        }
        checks.part(self.session, 1, place, bytes, Some((piece.turn, self.last_turn, piece.writer)));
        self.last_turn = piece.turn;
        self.append_gear(place, piece);
        true
    }

    fn append_gear(&mut self, place: Place, piece: Piece) {
        self.pieces[1].insert(place, piece);
        self.gear_next = (place.0, place.1 + 1);
        self.items.push(Item::Part(1, place, piece));
    }

    /// Declares gaps where the gear is too far behind. Answers with their number.
    pub(crate) fn declare_gaps(&mut self) -> u64 {
        let mut declared = 0;
        loop {
            let place = self.gear_missing();
            let Some(source) = self.pieces[0].get(&place).filter(|_| !self.fetching && place < self.left) else {
                break;
            };
            if source.end + GAP_AFTER >= self.end {
                break;
            }
            let gap = Piece { bytes: None, turn: self.turn, writer: 0, ..*source };
            self.gaps.insert(place);
            self.append_gear(place, gap);
            declared += 1;
        }
        declared
    }

    /// Closes it for good.
    pub(crate) fn close(&mut self) {
        let Some(last) = self.cuts.last() else { return };
        let end = takeover::end(last, self.stamped, Timestamp::video(self.end));
        if !self.stamped {
            self.cuts.pop();
        }
        self.cuts.push(Arc::new(end));
    }

    /// The end is recorded: edges are told after everything else.
    pub(crate) fn announce_end(&mut self) {
        self.items.push(Item::End(self.cuts.clone()));
    }

    pub(crate) fn seal(&mut self, home: &NodeId) -> Sealed {
        if self.fetching {
            self.give_up_fetching();
        }
        let missing = self.gear_missing();
        let gaps = self.gaps.iter().map(|(msn, part)| (MediaSequence(*msn), PartIndex(*part)));
        let gear = SealedRendition {
            name: RenditionName::new("gear").expect("that is a name"),
            turn: self.turn,
            missing: (MediaSequence(missing.0), PartIndex(missing.1)),
            gaps: gaps.collect(),
        };
        Sealed {
            epoch: self.epoch,
            home: home.clone(),
            outline: self.outline(),
            stamped: self.stamped,
            end: Timestamp::video(self.end),
            renditions: vec![gear],
            by_priority: Vec::new(),
        }
    }

    /// Everything, for the next home: what has not left goes with the rest.
    pub(crate) fn all_pieces(&self) -> [BTreeMap<Place, Piece>; 2] {
        self.pieces.clone()
    }

    pub(crate) fn fetched(&mut self, whole_from: [u64; 2], pieces: [BTreeMap<Place, Piece>; 2]) {
        self.fetching = false;
        self.holes_below = whole_from;
        self.items.push(Item::Holes(whole_from));
        for place in pieces[0].keys() {
            let parts = self.closed.entry(place.0).or_default();
            *parts = (*parts).max(place.1 + 1);
        }
        for (rendition, pieces) in pieces.into_iter().enumerate() {
            for (place, piece) in pieces {
                self.items.push(Item::Part(rendition, place, piece));
                self.pieces[rendition].entry(place).or_insert(piece);
            }
        }
    }

    /// What could not be fetched is gaps, whole segments at a time.
    pub(crate) fn give_up_fetching(&mut self) {
        self.fetching = false;
        self.gear_next = self.gear_next.max((self.first, 0));
        self.holes_below = [self.first; 2];
        self.items.push(Item::Holes(self.holes_below));
    }

    pub(crate) fn feed(&self, epoch: Epoch, version: usize) -> Feed {
        let kind = if epoch == self.epoch && version <= self.items.len() {
            FeedKind::Delta { from: version, items: self.items[version..].to_vec() }
        } else {
            let left = |(place, piece): (&Place, &Piece)| (*place, *piece);
            FeedKind::Snapshot {
                version: self.items.len(),
                cuts: self.cuts.iter().filter(|cut| cut.msn.0 <= self.left_cut).cloned().collect(),
                holes_below: self.holes_below,
                pieces: [
                    self.pieces[0].range(..self.left).map(left).collect(),
                    self.pieces[1].iter().map(left).collect(),
                ],
            }
        };
        Feed { epoch: self.epoch, session: self.session, kind }
    }
}
