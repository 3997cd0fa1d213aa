//! A log without its media, how far renditions are, what comes of them, and what a follower wishes.

use std::sync::Arc;

use headwater_media::{Cut, Epoch, Instant, MediaSequence, PartEnd, RenditionName};
use headwater_router::{
    Demand, FeedItem, IFrameRates, Mirrored, RenditionProgress, SamplesFrom, Session, SessionState, Snapshot, Standing,
};

use super::media::{RENDITIONS_MAX, cuts};
use super::session::CUTS_MAX;
use super::{
    KnownInits, Malformed, Place, SentInits, at_most, count, epoch, msn, part, read_part, read_state, rendition_name,
    required, state, ticks, wire,
};
use headwater_media::Timestamp;

/// Part ends that are told at once: more than any window has.
const PART_ENDS_MAX: usize = 1 << 18;

/// A log without its media.
pub(in super::super) fn snapshot(snapshot: &Snapshot, inits: &mut SentInits) -> wire::Snapshot {
    let state = state(&snapshot.state, inits);
    wire::Snapshot {
        epoch: snapshot.epoch.0,
        session: Some((&*snapshot.state.session).into()),
        inits: inits.take(),
        state: Some(state),
        demand: Some(demand(snapshot.demand, snapshot.begins)),
        first: snapshot.first.0,
        cuts: snapshot.cuts.iter().map(|cut| (&**cut).into()).collect(),
        part_ends: snapshot.part_ends.iter().map(Into::into).collect(),
        renditions: snapshot.renditions.iter().map(Into::into).collect(),
    }
}

/// What a snapshot says.
#[derive(Debug)]
pub(in super::super) struct ReadSnapshot {
    pub(in super::super) state: SessionState,
    pub(in super::super) demand: ReadDemand,
    pub(in super::super) first: MediaSequence,
    pub(in super::super) cuts: Vec<Arc<Cut>>,
    pub(in super::super) part_ends: Vec<PartEnd>,
    pub(in super::super) renditions: Vec<RenditionProgress>,
}

/// Takes a snapshot.
pub(in super::super) fn read_snapshot(
    snapshot: wire::Snapshot,
    inits: &mut KnownInits,
) -> Result<ReadSnapshot, Malformed> {
    inits.take(snapshot.inits)?;
    let session: Session = required(snapshot.session, "session")?.try_into()?;
    let told = required(snapshot.state, "state")?;
    Ok(ReadSnapshot {
        state: read_state(told, Arc::new(session), epoch(snapshot.epoch)?, inits)?,
        demand: required(snapshot.demand, "demand")?.try_into()?,
        first: msn(snapshot.first)?,
        cuts: cuts(snapshot.cuts, CUTS_MAX)?,
        part_ends: part_ends(snapshot.part_ends)?,
        renditions: progress(snapshot.renditions)?,
    })
}

/// What a batch says, but for its samples.
#[derive(Debug)]
pub(in super::super) struct ReadBatch {
    pub(in super::super) state: Option<SessionState>,
    pub(in super::super) demand: Option<ReadDemand>,
    pub(in super::super) cuts: Vec<Arc<Cut>>,
    pub(in super::super) part_ends: Vec<PartEnd>,
    pub(in super::super) items: Vec<(RenditionName, Vec<Mirrored>)>,
    pub(in super::super) renditions: Vec<RenditionProgress>,
}

/// Takes a batch of a session in its epoch, which came in at `now`. Its samples are not looked at.
pub(in super::super) fn read_batch(
    batch: wire::Batch,
    session: &Arc<Session>,
    epoch: Epoch,
    inits: &mut KnownInits,
    now: Instant,
) -> Result<ReadBatch, Malformed> {
    inits.take(batch.inits)?;
    let items = at_most(batch.items, RENDITIONS_MAX, "renditions of a batch")?.into_iter().map(|of| {
        let items = of.items.into_iter().map(|item| read_feed_item(item, now, inits));
        Ok((rendition_name(&of.name)?, items.collect::<Result<_, _>>()?))
    });
    Ok(ReadBatch {
        items: items.collect::<Result<_, Malformed>>()?,
        state: batch.state.map(|state| read_state(state, session.clone(), epoch, inits)).transpose()?,
        demand: batch.demand.map(TryInto::try_into).transpose()?,
        cuts: cuts(batch.cuts, CUTS_MAX)?,
        part_ends: part_ends(batch.part_ends)?,
        renditions: progress(batch.renditions)?,
    })
}

fn part_ends(ends: Vec<wire::PartEnd>) -> Result<Vec<PartEnd>, Malformed> {
    at_most(ends, PART_ENDS_MAX, "part ends")?.into_iter().map(PartEnd::try_from).collect()
}

fn progress(renditions: Vec<wire::RenditionProgress>) -> Result<Vec<RenditionProgress>, Malformed> {
    at_most(renditions, RENDITIONS_MAX, "renditions")?.into_iter().map(RenditionProgress::try_from).collect()
}

/// Whether gears are wanted. When the ladder was woken is the home's own affair.
pub(in super::super) fn demand(demand: Demand, begins: MediaSequence) -> wire::Demand {
    wire::Demand { waking: demand.waking, awake: demand.since.is_some(), begins: begins.0 }
}

/// Whether gears are wanted at the home.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) struct ReadDemand {
    pub(in super::super) waking: u64,
    pub(in super::super) awake: bool,
    pub(in super::super) begins: MediaSequence,
}

impl TryFrom<wire::Demand> for ReadDemand {
    type Error = Malformed;

    fn try_from(demand: wire::Demand) -> Result<Self, Malformed> {
        Ok(Self { waking: count(demand.waking, "waking")?, awake: demand.awake, begins: msn(demand.begins)? })
    }
}

impl From<&RenditionProgress> for wire::RenditionProgress {
    fn from(told: &RenditionProgress) -> Self {
        Self {
            name: told.name.to_string(),
            turn: Some(told.turn.into()),
            next: told.next.map(Into::into),
            covered: told.covered.map(Into::into),
            writable: told.writable.0,
            standing: told
                .standing
                .as_ref()
                .map(|standing| wire::StandingGap { cut: Some((&*standing.cut).into()), end: standing.end.ticks }),
            i_frames: told
                .i_frames
                .map(|IFrameRates { average_bps, peak_bps }| wire::IFrameRates { average_bps, peak_bps }),
        }
    }
}

impl TryFrom<wire::RenditionProgress> for RenditionProgress {
    type Error = Malformed;

    fn try_from(told: wire::RenditionProgress) -> Result<Self, Malformed> {
        let standing = |standing: wire::StandingGap| {
            Ok(Standing {
                cut: Arc::new(required(standing.cut, "cut of a gap")?.try_into()?),
                end: Timestamp::video(ticks(standing.end, "end of a gap")?),
            })
        };
        Ok(Self {
            name: rendition_name(&told.name)?,
            turn: required(told.turn, "turn")?.try_into()?,
            next: told.next.map(TryInto::try_into).transpose()?,
            covered: told.covered.map(TryInto::try_into).transpose()?,
            writable: msn(told.writable)?,
            standing: told.standing.map(standing).transpose()?,
            i_frames: told
                .i_frames
                .map(|wire::IFrameRates { average_bps, peak_bps }| IFrameRates { average_bps, peak_bps }),
        })
    }
}

/// What comes of a rendition, as it is told at `now`.
pub(in super::super) fn feed_item(item: &FeedItem, now: Instant, inits: &mut SentInits) -> wire::FeedItem {
    use wire::feed_item::Item;
    let item = match item {
        FeedItem::Cut(cut) => Item::Cut((&**cut).into()),
        FeedItem::Part(known) => Item::Part(part(known, now, inits)),
        FeedItem::ClosedBelow(msn) => Item::ClosedBelow(msn.0),
    };
    wire::FeedItem { item: Some(item) }
}

fn read_feed_item(item: wire::FeedItem, now: Instant, inits: &KnownInits) -> Result<Mirrored, Malformed> {
    use wire::feed_item::Item;
    Ok(Mirrored::Item(match required(item.item, "item of a rendition")? {
        Item::Cut(cut) => FeedItem::Cut(Arc::new(cut.try_into()?)),
        Item::Part(part) => FeedItem::Part(Arc::new(read_part(part, now, inits)?)),
        Item::ClosedBelow(below) => FeedItem::ClosedBelow(msn(below)?),
        Item::Cold(_) => return Ok(Mirrored::Cold),
        Item::Ended(_) => return Ok(Mirrored::Ended),
    }))
}

/// What a follower wants beside the timeline.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in super::super) struct Wishes {
    /// Each with the first part that it does not have.
    pub(in super::super) renditions: Vec<(RenditionName, Place)>,
    pub(in super::super) samples: Option<SamplesFrom>,
}

impl From<&Wishes> for wire::Wishes {
    fn from(wishes: &Wishes) -> Self {
        use wire::samples_wish::Start;
        let rendition = |(name, from): &(RenditionName, Place)| wire::RenditionWish {
            name: name.to_string(),
            from: Some((*from).into()),
        };
        let start = |from| match from {
            SamplesFrom::Segment(msn) => Start::Msn(msn.0),
            SamplesFrom::Position(position) => Start::Position(position),
        };
        Self {
            renditions: wishes.renditions.iter().map(rendition).collect(),
            samples: wishes.samples.map(|from| wire::SamplesWish { start: Some(start(from)) }),
        }
    }
}

impl TryFrom<wire::Wishes> for Wishes {
    type Error = Malformed;

    fn try_from(wishes: wire::Wishes) -> Result<Self, Malformed> {
        use wire::samples_wish::Start;
        let rendition = |wish: wire::RenditionWish| {
            Ok((rendition_name(&wish.name)?, wish.from.map(TryInto::try_into).transpose()?.unwrap_or_default()))
        };
        let samples = |wish: wire::SamplesWish| match required(wish.start, "where samples begin")? {
            Start::Msn(number) => Ok(SamplesFrom::Segment(msn(number)?)),
            Start::Position(position) => Ok(SamplesFrom::Position(position)),
        };
        let renditions = at_most(wishes.renditions, RENDITIONS_MAX, "wished renditions")?;
        Ok(Self {
            renditions: renditions.into_iter().map(rendition).collect::<Result<_, _>>()?,
            samples: wishes.samples.map(samples).transpose()?,
        })
    }
}
