//! The records that claims write: what a new home goes on with.

use std::sync::Arc;

use headwater_media::{Cut, CutKind, Epoch, MediaSequence, SessionId, Timestamp, WallTime};

use super::Sealed;
use crate::{NodeId, Outline, Record, RecordState};

/// Numbers that a new home may use before a write of its own is acknowledged: the first one and the next.
pub const RESERVED_AHEAD: u64 = 2;
/// Cuts that are recorded beyond those that a playlist lists.
const EXTRA_CUTS: usize = 4;

/// A claim that was won.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The record, with the revision under which it is stored.
    pub record: Record,
    /// What the new home knows of the one before.
    pub base: Base,
}

/// What a claim goes on from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Base {
    /// A new session.
    Fresh,
    /// Only what the record says: nothing below its last cut is made any more, by anyone.
    Unsealed,
    /// A sealed home's answer. Its parts can be fetched, and late ones of its segments still be made.
    Sealed(Arc<Sealed>),
}

impl Claimed {
    /// The first number of this home: that of the record's last cut, which is announced and not stamped. A new session
    /// begins at 1.
    pub fn first(&self) -> MediaSequence {
        self.record.outline.as_ref().and_then(|outline| outline.cuts.last()).map_or(MediaSequence(1), |cut| cut.msn)
    }
}

/// Who claims.
#[derive(Clone, Copy, Debug)]
pub struct Claiming<'a> {
    /// The node.
    pub node: &'a NodeId,
    /// The session's name, if a new one begins.
    pub fresh: SessionId,
    /// The node's wall clock.
    pub wall: WallTime,
}

/// The record that begins a new session, after `before` if there is one.
pub fn fresh(before: Option<&Record>, by: Claiming<'_>) -> Record {
    Record {
        epoch: Epoch(before.map_or(0, |record| record.epoch.0) + 1),
        session: by.fresh,
        home: by.node.clone(),
        state: RecordState::Live,
        reserved: MediaSequence(1 + RESERVED_AHEAD),
        revision: 0,
        written: WallTime::default(),
        outline: None,
    }
}

/// The record that takes `before` over when nothing is known but itself. `None` when it has no outline: then nobody was
/// ever told of the session, and a new one begins.
///
/// The first number F is `reserved`: the first one that was certainly never used. Every number from the last recorded cut
/// that is not a gap already up to F is closed as a gap, as long as a segment can be; F begins with a discontinuity.
pub fn unsealed(before: &Record, by: Claiming<'_>) -> Option<Record> {
    let outline = before.outline.as_ref()?;
    let last = outline.cuts.last()?;
    let first = before.reserved.max(last.msn.next());
    let grid = outline.grid;
    let limit = grid.slot_start(grid.limit_slots).ticks;
    let after_last = |msn: MediaSequence| {
        let segments = i64::try_from(msn.0 - last.msn.0).unwrap_or(i64::MAX);
        Timestamp::video(segments.saturating_mul(limit))
    };
    let mut cuts = outline.cuts.clone();
    if last.kind == CutKind::Media {
        cuts.pop();
        cuts.push(Arc::new(Cut { kind: CutKind::Gap, ..Cut::clone(last) }));
    }
    let following = |msn: MediaSequence| Cut {
        msn,
        start: Timestamp::video(last.start.ticks.saturating_add(after_last(msn).ticks)),
        program_date_time: last.program_date_time.plus(after_last(msn)),
        kind: CutKind::Gap,
        ..Cut::clone(last)
    };
    // Never many: a home reserves two numbers ahead. A window's worth of gaps is as good as more.
    let from = last.msn.next().0.max(first.0.saturating_sub(window(outline) as u64));
    cuts.extend((from..first.0).map(|msn| Arc::new(following(MediaSequence(msn)))));
    let cut = following(first);
    cuts.push(Arc::new(Cut {
        discontinuity: last.discontinuity + 1,
        program_date_time: cut.program_date_time.max(by.wall),
        kind: CutKind::Media,
        ..cut
    }));
    Some(goes_on(before, by, outline, cuts))
}

/// The record that takes `before` over from a home that sealed itself in that epoch. `None` when that home never had a
/// cut: a new session begins.
///
/// The new home goes on directly after the end, with the next number and a discontinuity. A cut that was announced but
/// never stamped keeps its number and count.
pub fn sealed(before: &Record, sealed: &Sealed, by: Claiming<'_>) -> Option<Record> {
    let outline = sealed.outline.as_ref()?;
    let last = outline.cuts.last()?;
    let mut cuts = outline.cuts.clone();
    let passed = Timestamp::video(sealed.end.ticks.saturating_sub(last.start.ticks).max(0));
    let date = last.program_date_time.plus(passed).max(by.wall);
    let next = if sealed.stamped {
        Cut {
            msn: last.msn.next(),
            start: sealed.end.max(last.start),
            discontinuity: last.discontinuity + 1,
            program_date_time: date,
            kind: CutKind::Media,
            renditions: last.renditions.clone(),
        }
    } else {
        cuts.pop();
        Cut { program_date_time: date, ..Cut::clone(last) }
    };
    cuts.push(Arc::new(next));
    Some(goes_on(before, by, outline, cuts))
}

/// The cut at which a session ends: never stamped, a gap, and not listed. It closes the last segment. `last` is the cut
/// before it and `end` where the media ends; a `last` that is not `stamped` becomes the end itself.
pub fn end(last: &Cut, stamped: bool, end: Timestamp) -> Cut {
    let passed = Timestamp::video(end.ticks.saturating_sub(last.start.ticks).max(0));
    match stamped {
        false => Cut { kind: CutKind::Gap, ..last.clone() },
        true => Cut {
            msn: last.msn.next(),
            start: end.max(last.start),
            program_date_time: last.program_date_time.plus(passed),
            kind: CutKind::Gap,
            ..last.clone()
        },
    }
}

/// The record that ends a session whose home is lost. Nobody knows how far its last segment came, and edges have more or
/// less of it: it is a gap.
pub fn ended(before: &Record) -> Record {
    let closed = before.outline.as_ref().and_then(|outline| {
        let last = outline.cuts.last()?;
        let limit = outline.grid.slot_start(outline.grid.limit_slots);
        let end = end(last, true, Timestamp::video(last.start.ticks.saturating_add(limit.ticks)));
        let mut cuts = outline.cuts.clone();
        cuts.pop();
        cuts.push(Arc::new(Cut { kind: CutKind::Gap, ..Cut::clone(last) }));
        cuts.push(Arc::new(end));
        Some(Arc::new(Outline { cuts, ..Outline::clone(outline) }))
    });
    Record { state: RecordState::Ended, outline: closed, ..before.clone() }
}

/// The session of `before` under its next home, whose first number is that of the last of `cuts`.
fn goes_on(before: &Record, by: Claiming<'_>, outline: &Outline, mut cuts: Vec<Arc<Cut>>) -> Record {
    let first = cuts.last().map_or(before.reserved, |cut| cut.msn);
    let too_many = cuts.len().saturating_sub(window(outline));
    cuts.drain(..too_many);
    Record {
        reserved: before.reserved.max(MediaSequence(first.0 + RESERVED_AHEAD)),
        session: before.session,
        outline: Some(Arc::new(Outline { cuts, ..outline.clone() })),
        ..fresh(Some(before), by)
    }
}

/// How many cuts are recorded.
fn window(outline: &Outline) -> usize {
    usize::try_from(outline.window_segments).unwrap_or(usize::MAX).saturating_add(EXTRA_CUTS)
}

#[cfg(test)]
pub(super) mod tests;
