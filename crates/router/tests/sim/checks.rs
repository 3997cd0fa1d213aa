//! The invariants of architecture 10, checked on every step.

use std::collections::{HashMap, HashSet};

use headwater_hls::{MediaPlaylist, check};
use headwater_media::{Epoch, SessionId, Turn};
use headwater_router::{NodeId, Record, RecordState};

use crate::clock::SECOND;

/// 0 is the source, 1 the gear.
pub(crate) type Rendition = usize;
/// Segment and part.
pub(crate) type Place = (u64, u32);

#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// The first thing that went wrong.
    pub(crate) violation: Option<String>,
    /// Who stamped a number.
    numbers: HashMap<(SessionId, u64), Epoch>,
    homes: HashMap<Epoch, NodeId>,
    /// The newest epoch, and when it was won.
    newest: (Epoch, u64),
    /// Sessions of which some edge lists something.
    listed: HashSet<SessionId>,
    /// Sessions that another one took the place of before they had ended.
    dropped: HashSet<SessionId>,
    /// How many parts were stamped with a number.
    stamps: HashMap<(SessionId, u64), usize>,
    /// The bytes that a name stands for, wherever it was accepted.
    names: HashMap<(SessionId, Rendition, u64, u32), u64>,
    turns: HashMap<(SessionId, Turn), u64>,
    /// When a node's lease ends at the registry by itself; never for those that were taken away.
    lease_ends: HashMap<NodeId, u64>,
    /// Which discontinuity a segment belongs to, on whichever edge lists it.
    counts: HashMap<(SessionId, u64), u64>,
    /// Parts of complete segments that are not gaps.
    segments: HashMap<(SessionId, Rendition, u64), String>,
    pub(crate) stats: Stats,
}

/// How long a home may not know that it was overtaken: a segment until its next write, the time until that is answered, a
/// lease; and a stop in between.
const OVERTAKEN_MAX: u64 = 10 * SECOND;

/// What happened, so that a simulation in which nothing does cannot pass for a proof.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Stats {
    pub(crate) fresh: u64,
    pub(crate) unsealed: u64,
    pub(crate) sealed: u64,
    /// Sealed homes that nobody followed in time.
    pub(crate) idle: u64,
    pub(crate) read_back: u64,
    pub(crate) lease_over: u64,
    pub(crate) ended: u64,
    pub(crate) turns: u64,
    pub(crate) gaps: u64,
    pub(crate) fetch_failed: u64,
    pub(crate) edges_restarted: u64,
    pub(crate) waited_for_reserve: u64,
    pub(crate) denied: u64,
}

impl Checks {
    pub(crate) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(what());
        }
    }

    /// Invariant 1: at most one accepted home per epoch.
    pub(crate) fn home(&mut self, now: u64, epoch: Epoch, node: &NodeId) {
        if epoch > self.newest.0 {
            self.newest = (epoch, now);
        }
        let known = self.homes.entry(epoch).or_insert_with(|| node.clone()).clone();
        self.expect(known == *node, || format!("1: {epoch:?} has two homes, {known:?} and {node:?}"));
    }

    /// Invariant 2: no number is used by two homes.
    pub(crate) fn stamped(&mut self, session: SessionId, msn: u64, epoch: Epoch) {
        let known = *self.numbers.entry((session, msn)).or_insert(epoch);
        self.expect(known == epoch, || format!("2: number {msn} was stamped by {known:?} and by {epoch:?}"));
        *self.stamps.entry((session, msn)).or_default() += 1;
    }

    /// No append after the lease ended at the registry, and none long after another home was accepted.
    pub(crate) fn appended(&mut self, now: u64, epoch: Epoch, node: &NodeId) {
        let (newest, since) = self.newest;
        let overtaken = epoch < newest && now > since + OVERTAKEN_MAX;
        self.expect(!overtaken, || format!("1: {epoch:?} still appends, {newest:?} was accepted long ago"));
        let ended = self.lease_ends.get(node).is_some_and(|end| *end <= now);
        self.expect(!ended, || format!("lease: {node:?} appends after its lease ended at the registry"));
    }

    pub(crate) fn lease(&mut self, node: &NodeId, ends: u64) {
        self.lease_ends.insert(node.clone(), ends);
    }

    /// Invariants 1 and 2: one writer per turn, turns rise along the log, a name is one sequence of bytes.
    pub(crate) fn part(
        &mut self,
        session: SessionId,
        rendition: Rendition,
        place: Place,
        bytes: u64,
        turn: Option<(Turn, Turn, u64)>,
    ) {
        self.named(session, rendition, place, bytes, "taken by a home");
        if let Some((turn, before, writer)) = turn {
            self.expect(turn >= before, || format!("1: a part of {turn:?} follows one of {before:?} in the log"));
            let known = *self.turns.entry((session, turn)).or_insert(writer);
            self.expect(known == writer, || format!("1: {turn:?} has two writers"));
        }
    }

    /// A session that an edge lists goes on or ends; no other takes its place.
    fn keep_listed(&mut self, session: SessionId) {
        let lost = self.listed.contains(&session) && self.dropped.contains(&session);
        self.expect(!lost, || format!("3: session {session} was listed, and another one took its place"));
    }

    /// Invariant 2, for what an edge lists.
    pub(crate) fn listed(&mut self, session: SessionId, rendition: Rendition, place: Place, bytes: u64) {
        if self.listed.insert(session) {
            self.keep_listed(session);
        }
        self.named(session, rendition, place, bytes, "listed by an edge");
    }

    fn named(&mut self, session: SessionId, rendition: Rendition, place: Place, bytes: u64, by: &str) {
        let known = *self.names.entry((session, rendition, place.0, place.1)).or_insert(bytes);
        self.expect(known == bytes, || {
            format!("2: part {}.{} of rendition {rendition} has other bytes, {by}", place.0, place.1)
        });
    }

    /// Invariant 1 in the registry: epochs rise, and `reserved` never falls within a session.
    pub(crate) fn written(&mut self, before: Option<&Record>, after: &Record) {
        self.stats.idle += u64::from(after.state == RecordState::Idle);
        let Some(before) = before else { return };
        let epochs = (before.epoch, after.epoch);
        self.expect(epochs.1 >= epochs.0, || format!("1: the record's epoch fell: {epochs:?}"));
        let same_home = epochs.0 != epochs.1 || before.home == after.home;
        self.expect(same_home, || format!("1: {:?} went from {:?} to {:?}", epochs.0, before.home, after.home));
        if before.session != after.session && before.state != RecordState::Ended {
            self.dropped.insert(before.session);
            self.keep_listed(before.session);
        }
        let reserved = (before.reserved, after.reserved);
        let rises = before.session != after.session || reserved.1 >= reserved.0;
        self.expect(rises, || format!("2: reserved fell: {reserved:?}"));
    }

    /// An edge's epoch never falls.
    pub(crate) fn edge_epoch(&mut self, edge: usize, before: Epoch, after: Epoch) {
        self.expect(after >= before, || format!("3: edge {edge} went from {before:?} to {after:?}"));
    }

    /// Invariant 3 across the restart of an edge, as far as it holds there: what it lists is never older than before.
    pub(crate) fn restarted(&mut self, edge: usize, before: &MediaPlaylist, after: &MediaPlaylist) {
        let end = |playlist: &MediaPlaylist| {
            (playlist.media_sequence + playlist.segments.len() as u64, playlist.open.parts.len())
        };
        let fell = after.media_sequence < before.media_sequence
            || after.discontinuity_sequence < before.discontinuity_sequence
            || end(after) < end(before);
        self.expect(!fell, || {
            format!("3: edge {edge} fell back when it was restarted\nbefore:\n{before}\nafter:\n{after}")
        });
    }

    /// Invariants 3, 4 and 5 as a player sees them: what is wrong with a playlist, with its change, and beside those of
    /// other edges.
    pub(crate) fn playlist(
        &mut self,
        edge: usize,
        session: SessionId,
        rendition: Rendition,
        before: &MediaPlaylist,
        after: &MediaPlaylist,
    ) {
        let changed = (before.target_duration > 0).then(|| check::successor(before, after));
        let wrong = changed.into_iter().flatten().chain(check::playlist(after)).next();
        if let Some(wrong) = wrong {
            self.violate(format!("3: edge {edge}, rendition {rendition}: {wrong}\nbefore:\n{before}\nafter:\n{after}"));
        }
        let mut count = after.discontinuity_sequence;
        for (msn, segment) in (after.media_sequence..).zip(&after.segments) {
            count += u64::from(segment.lead.discontinuity);
            let known = *self.counts.entry((session, msn)).or_insert(count);
            self.expect(known == count, || {
                format!("3: segment {msn} has discontinuity number {known} on one edge, {count} on edge {edge}")
            });
            // Old segments lose their part lines.
            let whole = !segment.gap && !segment.lead.parts.is_empty();
            if whole {
                // Invariant 5: what a home took is there.
                let stamped = self.stamps.get(&(session, msn)).copied().unwrap_or_default();
                let found = segment.lead.parts.len();
                self.expect(found == stamped, || {
                    format!("5: segment {msn} has {found} parts on edge {edge}, {stamped} were stamped")
                });
                let parts: String = segment.lead.parts.iter().map(|part| format!("{} ", part.uri)).collect();
                let known = self.segments.entry((session, rendition, msn)).or_insert_with(|| parts.clone()).clone();
                self.expect(known == parts, || {
                    format!("2: segment {msn} is {known}on one edge, {parts}on edge {edge}")
                });
            }
        }
    }
}

impl Stats {
    pub(crate) fn add(&mut self, mut other: Self) {
        for (sum, other) in self.all_mut().into_iter().zip(other.all_mut()) {
            *sum += *other;
        }
    }

    /// Everything that a proof has to go through has happened.
    pub(crate) fn expect_everything(mut self) {
        let all = self;
        assert!(self.all_mut().into_iter().all(|times| *times > 0), "something never happened: {all:?}");
    }

    fn all_mut(&mut self) -> [&mut u64; 13] {
        let Self {
            fresh,
            unsealed,
            sealed,
            idle,
            read_back,
            lease_over,
            ended,
            turns,
            gaps,
            fetch_failed,
            waited_for_reserve,
            denied,
            edges_restarted,
        } = self;
        [
            fresh,
            unsealed,
            sealed,
            idle,
            read_back,
            lease_over,
            ended,
            turns,
            gaps,
            fetch_failed,
            waited_for_reserve,
            denied,
            edges_restarted,
        ]
    }
}
