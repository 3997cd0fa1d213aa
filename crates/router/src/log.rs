//! A stream's log: its timeline, a few seconds of stamped source samples, and the parts of the window (architecture 4).
//!
//! The home appends, workers put parts, readers hold a cursor and are woken. All is bounded; a reader that falls off the
//! end is told so.

mod demand;
mod feed;
mod i_frames;
mod making;
mod poster;
mod reader;
mod ring;
mod waking;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::captions::Channels;
use headwater_media::{
    Cut, CutKind, Epoch, MediaSequence, Part, PartEnd, PartIndex, PartPayload, RenditionName, RenditionState,
    SessionId, StampedAudio, StampedVideo, StreamName, Timescale, Timestamp, Turn,
};
use tokio::sync::watch;

use crate::session::{Rendition, RenditionKind, Session, SessionState, State};
use crate::{AudioGear, BoxFuture, Poster, PublisherInfo};
pub use demand::Demand;
use demand::Watched;
pub use feed::FeedItem;
pub use i_frames::IFrameRates;
use making::{Making, Medium, Shed};
pub use reader::{PartReader, ReadError, SampleReader};
use ring::Ring;

/// Where logs are found, and where parts are put. On one machine they are all here; in a cluster a log may be a replica
/// that follows its home.
pub trait Log: Send + Sync + 'static {
    /// Opens the log of a session at its home. Those that the stream had before are kept until they are closed, but not
    /// more than a few: players still read their ends.
    fn open(&self, state: SessionState) -> Arc<StreamLog>;

    /// Forgets a session's log.
    fn close(&self, log: &Arc<StreamLog>);

    /// The log of a stream's newest session.
    fn find<'a>(&'a self, stream: &'a StreamName) -> BoxFuture<'a, Option<Arc<StreamLog>>>;

    /// The log of one session of a stream, which may have ended and have a successor.
    fn find_session<'a>(&'a self, stream: &'a StreamName, id: SessionId) -> BoxFuture<'a, Option<Arc<StreamLog>>>;

    /// The logs of all streams' newest sessions, by stream name.
    fn list(&self) -> BoxFuture<'_, Vec<Arc<StreamLog>>>;

    /// Puts one part of one rendition of a session, if `turn` is still its turn.
    fn put_part<'a>(
        &'a self,
        session: &'a Session,
        rendition: &'a RenditionName,
        turn: Turn,
        part: Part,
    ) -> BoxFuture<'a, PutOutcome>;
}

/// Bounds of one stream's log.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Source samples are kept for this long at least...
    pub ring: Duration,
    /// ...unless they are more than this many bytes.
    pub ring_bytes_max: usize,
    /// Segments kept beyond the window, for players that are behind (H-13).
    pub extra_segments: u32,
    /// A part that is this many TARGETDURATIONs behind is declared a gap.
    pub late_targets: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ring: Duration::from_secs(12), ring_bytes_max: 64 << 20, extra_segments: 4, late_targets: 2 }
    }
}

/// What the home appends, in order.
#[derive(Clone, Debug)]
pub enum Item {
    /// A segment begins.
    Cut(Arc<Cut>),
    /// A picture.
    Video(StampedVideo),
    /// An audio frame.
    Audio(StampedAudio),
    /// A part ends.
    PartEnd(PartEnd),
}

/// What became of a part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PutOutcome {
    /// It is in the log.
    Put,
    /// It was of an older turn, was there already, or its rendition is off: it is dropped and counted.
    Dropped,
}

/// The log refuses an append of an epoch that is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the log is at epoch {current:?}, the append was of epoch {found:?}")]
pub struct StaleEpoch {
    /// The log's epoch.
    pub current: Epoch,
    /// The append's.
    pub found: Epoch,
}

/// The last number that an earlier home may have used, closed as a gap: whatever its playlists listed, this one is later.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its cut, a gap.
    pub cut: Arc<Cut>,
    /// Where it ends.
    pub end: Timestamp,
}

/// One session's log.
#[derive(Debug)]
pub struct StreamLog {
    session: Arc<Session>,
    limits: Limits,
    inner: Mutex<Inner>,
    state: watch::Sender<Arc<SessionState>>,
    samples: watch::Sender<()>,
    watched: Watched,
    poster: watch::Sender<Option<Arc<Poster>>>,
    dropped_parts: AtomicU64,
    gap_parts: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    slot_ticks: i64,
    epoch: Epoch,
    ring: Ring,
    cuts: VecDeque<Arc<Cut>>,
    /// Ends of the window's parts, for the gaps of renditions that are off or late.
    part_ends: VecDeque<PartEnd>,
    renditions: Vec<Making>,
    /// All renditions' windows begin with this segment since the ladder was last woken.
    begins: MediaSequence,
    /// No more samples come.
    ended: bool,
    /// No more parts come either, whatever is missing.
    abandoned: bool,
}

impl StreamLog {
    /// A log without samples, for a session that begins in `state`.
    pub fn new(state: SessionState, limits: Limits) -> Self {
        let session = state.session.clone();
        let slot_ticks = session.grid.slot_ticks;
        Self {
            session,
            limits,
            inner: Mutex::new(Inner {
                slot_ticks,
                epoch: state.epoch,
                ring: Ring::new(limits.ring, limits.ring_bytes_max),
                cuts: VecDeque::new(),
                part_ends: VecDeque::new(),
                renditions: state.renditions.iter().map(|known| Making::new(known, &state.session.grid)).collect(),
                begins: MediaSequence(0),
                ended: false,
                abandoned: false,
            }),
            state: watch::Sender::new(Arc::new(state)),
            samples: watch::Sender::new(()),
            watched: Watched::new(),
            poster: watch::Sender::new(None),
            dropped_parts: AtomicU64::new(0),
            gap_parts: AtomicU64::new(0),
        }
    }

    /// The session's constants.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Where the session stands, now and later.
    pub fn state(&self) -> watch::Receiver<Arc<SessionState>> {
        self.state.subscribe()
    }

    /// Parts that came too late or of an older turn, and parts that were declared gaps.
    pub fn counters(&self) -> (u64, u64) {
        (self.dropped_parts.load(Ordering::Relaxed), self.gap_parts.load(Ordering::Relaxed))
    }

    /// Appends what the home has stamped. Cuts and part ends reach every rendition's readers before its parts.
    pub fn append(&self, epoch: Epoch, item: Item) -> Result<(), StaleEpoch> {
        let mut inner = self.inner();
        inner.check(epoch)?;
        let item = match item {
            Item::Cut(cut) => {
                let cut = inner.cut(cut, self.window());
                self.publish_off_reasons(&cut);
                Item::Cut(cut)
            }
            Item::PartEnd(end) => {
                let gaps = inner.part_end(end, self.session.grid.slot_ticks, self.late_slots());
                self.gap_parts.fetch_add(gaps, Ordering::Relaxed);
                item
            }
            Item::Video(_) | Item::Audio(_) => item,
        };
        inner.ring.push(item);
        drop(inner);
        // Who begins to listen looks into the ring afterwards, and finds the item there.
        if self.samples.receiver_count() > 0 {
            self.samples.send_replace(());
        }
        Ok(())
    }

    /// Puts one part of one rendition.
    pub fn put_part(&self, rendition: &RenditionName, turn: Turn, part: Part) -> PutOutcome {
        let mut inner = self.inner();
        let slot_ticks = self.session.grid.slot_ticks;
        let begun = inner.has_begun(rendition);
        let (outcome, gaps) = inner.put_part(rendition, turn, part, slot_ticks);
        if !begun && outcome == PutOutcome::Put {
            // Before anybody can stop it again.
            self.describe(rendition, |rendition| rendition.begun = true);
        }
        let ended = inner.ended;
        drop(inner);
        if ended {
            self.samples.send_replace(());
        }
        self.gap_parts.fetch_add(gaps, Ordering::Relaxed);
        if outcome == PutOutcome::Dropped {
            self.dropped_parts.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Gives the rendition to a new writer: raises its turn. `None` for an unknown rendition.
    pub fn give_turn(&self, rendition: &RenditionName) -> Option<Turn> {
        let mut inner = self.inner();
        let epoch = inner.epoch;
        let making = inner.renditions.iter_mut().find(|making| making.name == *rendition)?;
        let counter = if making.turn.epoch == epoch { making.turn.counter + 1 } else { 1 };
        making.turn = Turn { epoch, counter };
        Some(making.turn)
    }

    /// The part of the rendition that is missing next: where a new writer's parts begin to be taken. `None` before the
    /// first part of all, and for an unknown rendition.
    pub fn next_part(&self, rendition: &RenditionName) -> Option<(MediaSequence, PartIndex)> {
        self.inner().renditions.iter().find(|making| making.name == *rendition)?.next
    }

    /// Measured rates of the I-frames with which the rendition's segments begin. `None` before the first.
    pub fn i_frame_rates(&self, rendition: &RenditionName) -> Option<IFrameRates> {
        self.inner().renditions.iter().find(|making| making.name == *rendition)?.i_frames.rates()
    }

    /// Switches a rendition off at its next missing part, for a reason that an operator understands, or on again with
    /// the next cut. While it is off the playlist of a gear goes on with gaps (architecture 4), and sound stands still.
    /// Does nothing when `turn` is not the rendition's turn any more.
    pub fn switch(&self, rendition: &RenditionName, turn: Turn, off: Option<Arc<str>>) {
        let mut inner = self.inner();
        let Some(gaps) = inner.switch(rendition, turn, off.clone(), self.session.grid.slot_ticks) else { return };
        let ended = inner.ended;
        drop(inner);
        if ended {
            self.samples.send_replace(());
        }
        self.gap_parts.fetch_add(gaps, Ordering::Relaxed);
        if off.is_some() {
            self.describe(rendition, |rendition| rendition.off = off);
        }
    }

    /// Bytes of media that are kept: samples as the ring's bound counts them, and the parts of all renditions. Pictures
    /// that the source's parts share with the ring count once.
    pub fn media_bytes(&self) -> usize {
        let inner = self.inner();
        let source = inner.renditions.iter().find(|making| making.medium == Medium::Source);
        let shared = source.and_then(|making| Some((making.feed.begins()?, making.next?)));
        let ring = inner.ring.bytes_but(|video| {
            // The open part's are not in a part yet, and it is short.
            shared.is_some_and(|(first, (last, _))| first <= video.msn && video.msn <= last)
        });
        ring + inner.renditions.iter().map(|making| making.feed.bytes()).sum::<usize>()
    }

    /// How many items were appended, in the whole session.
    pub fn appended(&self) -> u64 {
        self.inner().ring.end()
    }

    /// Where the rendition's newest part ends. `None` before the first.
    pub fn covered(&self, rendition: &RenditionName) -> Option<Timestamp> {
        self.inner().renditions.iter().find(|making| making.name == *rendition)?.covered
    }

    /// When segment `msn` begins, if it is in the window.
    pub fn segment_start(&self, msn: MediaSequence) -> Option<Timestamp> {
        self.inner().cuts.iter().rev().find(|cut| cut.msn == msn).map(|cut| cut.start)
    }

    /// The window's part ends, those of segment `msn` and later.
    pub fn part_ends(&self, msn: MediaSequence) -> Vec<PartEnd> {
        self.inner().part_ends.iter().filter(|end| end.msn >= msn).copied().collect()
    }

    /// Audio that the home has packaged is a transcoder's from its next part on. While nobody watches it is not made, and
    /// begins anew when somebody does.
    pub fn give_audio_to_worker(&self, gear: AudioGear) {
        self.watched.while_nothing_changes(|cold| {
            let mut inner = self.inner();
            if let Some(making) = inner.renditions.iter_mut().find(|making| making.name == gear.name) {
                making.medium = Medium::AudioGear;
                if cold {
                    making.stop();
                }
            }
            drop(inner);
            self.describe(&gear.name.clone(), |rendition| {
                rendition.begun &= !cold;
                rendition.kind = RenditionKind::AudioGear(gear);
            });
        });
    }

    /// Source samples, from the cut of segment `msn` on, or from the oldest later one that is kept. For sound, which can
    /// be decoded from anywhere.
    pub fn read_samples_from(self: &Arc<Self>, msn: MediaSequence) -> SampleReader {
        let cursor = self.inner().ring.cut(msn);
        SampleReader::new(self.clone(), cursor, self.samples.subscribe())
    }

    /// Source samples, from the newest cut on that begins with a keyframe.
    pub fn read_samples(self: &Arc<Self>) -> SampleReader {
        let cursor = self.inner().ring.newest_keyframe_cut();
        SampleReader::new(self.clone(), cursor, self.samples.subscribe())
    }

    /// Source samples for a writer whose first missing part is in segment `msn`: from the nearest cut up to there that
    /// begins with a keyframe. When that is 2 x TARGETDURATION back, its parts are as good as lost, and reading begins
    /// as in [`read_samples`](Self::read_samples).
    pub fn read_samples_for(self: &Arc<Self>, msn: MediaSequence) -> SampleReader {
        let back = Duration::from_secs(2 * u64::from(self.session.grid.target_duration));
        let inner = self.inner();
        let cursor = inner.ring.keyframe_cut(msn, back).unwrap_or_else(|| inner.ring.newest_keyframe_cut());
        drop(inner);
        SampleReader::new(self.clone(), cursor, self.samples.subscribe())
    }

    /// A rendition's cuts and parts, from where windows [begin](Self::begins). `None` for an unknown rendition.
    pub fn read_parts(self: &Arc<Self>, rendition: &RenditionName) -> Option<PartReader> {
        let inner = self.inner();
        let (index, making) = inner.renditions.iter().enumerate().find(|(_, making)| making.name == *rendition)?;
        Some(PartReader::new(self.clone(), index, making.stops, making.feed.cut(inner.begins), making.wake.subscribe()))
    }

    /// The session goes on in a new log, of which nothing is there yet: `standing` is the segment before the next one.
    /// Before anybody reads it.
    pub fn stand_still(&self, standing: Standing) {
        let mut inner = self.inner();
        inner.cuts.push_back(standing.cut.clone());
        for making in &mut inner.renditions {
            making.feed.push(FeedItem::Cut(standing.cut.clone()));
            making.standing = Some(standing.clone());
        }
    }

    /// With what the playlist of a rendition of a resumed session begins, as long as it has no part.
    pub fn stands_still(&self, rendition: &RenditionName) -> Option<Standing> {
        let inner = self.inner();
        let making = inner.renditions.iter().find(|making| making.name == *rendition)?;
        making.standing.clone().filter(|_| making.next.is_none())
    }

    /// The next publisher: appends of older epochs are refused from now on. Workers keep their turns, since they go on
    /// reading this log.
    pub fn raise_epoch(&self, epoch: Epoch) {
        let mut inner = self.inner();
        inner.epoch = inner.epoch.max(epoch);
        let epoch = inner.epoch;
        self.change_state(|state| state.epoch = epoch);
    }

    /// Someone publishes, or nobody does.
    pub fn set_publisher(&self, publisher: Option<PublisherInfo>) {
        self.change_state(|state| {
            state.state = if publisher.is_some() { State::Live } else { State::Waiting };
            state.publisher = publisher.map(Arc::new);
        });
    }

    /// The session gets more renditions, whose windows begin with the segments that they are in. Their names are new.
    pub fn add(&self, renditions: Vec<Rendition>) {
        let mut inner = self.inner();
        // Readers know renditions by their place.
        inner.renditions.extend(renditions.iter().map(|added| Making::new(added, &self.session.grid)));
        drop(inner);
        self.change_state(|state| {
            let mut all = state.renditions.to_vec();
            all.extend(renditions);
            all.sort_by_key(|rendition| match rendition.kind {
                RenditionKind::Source => 0,
                RenditionKind::Gear(_) => 1,
                RenditionKind::Audio | RenditionKind::AudioGear(_) => 2,
            });
            state.renditions = all.into();
        });
    }

    /// Changes what is known of one rendition: its init segment, its rates.
    pub fn describe(&self, rendition: &RenditionName, change: impl FnOnce(&mut Rendition)) {
        self.change_state(|state| {
            let mut renditions = state.renditions.to_vec();
            if let Some(found) = renditions.iter_mut().find(|known| known.name == *rendition) {
                change(found);
            }
            state.renditions = renditions.into();
        });
    }

    /// These caption channels have had data.
    pub fn announce_captions(&self, channels: Channels) {
        self.change_state(|state| state.captions = state.captions.union(channels));
    }

    /// The session is over: no more samples come. Readers of a rendition get the end after its last part, which its
    /// maker may still be at.
    pub fn end(&self) {
        let mut inner = self.inner();
        inner.ended = true;
        inner.wake_all();
        drop(inner);
        self.samples.send_replace(());
        self.change_state(|state| {
            state.state = State::Ended;
            state.publisher = None;
        });
    }

    /// Waits until every rendition has its last part. Only after [`end`](Self::end).
    pub async fn complete(&self) {
        let mut wake = self.samples.subscribe();
        loop {
            wake.borrow_and_update();
            // The sender lives in this log: waiting cannot fail.
            if self.inner().all_complete() || wake.changed().await.is_err() {
                return;
            }
        }
    }

    /// No more parts are waited for: readers get the end now.
    pub fn abandon(&self) {
        let mut inner = self.inner();
        inner.abandoned = true;
        inner.wake_all();
        drop(inner);
        self.samples.send_replace(());
    }

    /// The stream.
    pub fn stream(&self) -> &StreamName {
        &self.session.stream
    }

    /// Slots after which a missing part is a gap.
    fn late_slots(&self) -> i64 {
        let seconds = u64::from(self.session.grid.target_duration) * u64::from(self.limits.late_targets);
        let ticks = i64::try_from(seconds * u64::from(Timescale::VIDEO.units_per_second())).unwrap_or(i64::MAX);
        ticks / self.session.grid.slot_ticks
    }

    fn window(&self) -> u64 {
        u64::from(self.session.window_segments + self.limits.extra_segments)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_state(&self, change: impl FnOnce(&mut SessionState)) {
        self.state.send_modify(|state| {
            let mut next = SessionState::clone(state);
            change(&mut next);
            *state = Arc::new(next);
        });
    }

    fn publish_off_reasons(&self, cut: &Cut) {
        let changed = |known: &Rendition| known.off.as_ref() != cut.off_reason(&known.name);
        if self.state.borrow().renditions.iter().any(changed) {
            self.change_state(|state| {
                let mut renditions = state.renditions.to_vec();
                for known in &mut renditions {
                    known.off = cut.off_reason(&known.name).cloned();
                }
                state.renditions = renditions.into();
            });
        }
    }
}

impl Inner {
    fn wake_all(&self) {
        self.renditions.iter().for_each(|making| {
            making.wake.send_replace(());
        });
    }

    fn all_complete(&self) -> bool {
        self.renditions.iter().all(|making| self.is_complete(making))
    }

    /// Whether no more parts of a rendition come: the session is over and its last part is there, or it never began.
    fn is_complete(&self, making: &Making) -> bool {
        let has_last = match (making.next, self.part_ends.back()) {
            (Some(next), Some(last)) => match making.medium {
                Medium::Source | Medium::Gear => next > (last.msn, last.index),
                // The home puts audio before it ends the session.
                Medium::Audio => true,
                Medium::AudioGear => making.covered >= Some(Timestamp::video(last.end.0 * self.slot_ticks)),
            },
            _ => true,
        };
        self.ended && (has_last || self.abandoned)
    }

    fn check(&self, epoch: Epoch) -> Result<(), StaleEpoch> {
        if epoch == self.epoch { Ok(()) } else { Err(StaleEpoch { current: self.epoch, found: epoch }) }
    }

    fn has_begun(&self, rendition: &RenditionName) -> bool {
        self.renditions.iter().any(|making| making.name == *rendition && making.next.is_some())
    }

    /// The cut with what is shed.
    fn with_shed(&mut self, cut: Arc<Cut>) -> Arc<Cut> {
        let mut off = Vec::new();
        for making in &mut self.renditions {
            if making.shed.take_if(|shed| shed.until_cut).is_some() {
                making.off_below = cut.msn;
            }
            let shed = making.shed.as_ref().filter(|_| cut.off_reason(&making.name).is_none());
            off.extend(shed.map(|shed| (making.name.clone(), RenditionState::Off(shed.reason.clone()))));
        }
        if off.is_empty() {
            return cut;
        }
        let renditions = cut.renditions.iter().cloned().chain(off).collect();
        Arc::new(Cut { renditions, ..Cut::clone(&cut) })
    }

    fn cut(&mut self, cut: Arc<Cut>, window: u64) -> Arc<Cut> {
        let cut = self.with_shed(cut);
        self.cuts.push_back(cut.clone());
        let oldest = MediaSequence(cut.msn.0.saturating_sub(window));
        while self.cuts.front().is_some_and(|front| front.msn < oldest) {
            self.cuts.pop_front();
        }
        while self.part_ends.front().is_some_and(|front| front.msn < oldest) {
            self.part_ends.pop_front();
        }
        for making in &mut self.renditions {
            making.feed.drop_before(oldest);
            if making.next.is_some() {
                making.feed.push(FeedItem::Cut(cut.clone()));
                making.wake.send_replace(());
            }
        }
        cut
    }

    /// Remembers where the part ends. Makes it a gap in renditions that are off, and in those that are late what is
    /// `late_slots` back: it will not come any more.
    fn part_end(&mut self, end: PartEnd, slot_ticks: i64, late_slots: i64) -> u64 {
        self.part_ends.push_back(end);
        let Some(cut) = self.cuts.iter().rev().find(|cut| cut.msn == end.msn).cloned() else { return 0 };
        let limit = end.end.0.saturating_sub(late_slots);
        let late = self.part_ends.iter().rev().find(|old| old.end.0 <= limit).map(after);
        let mut gaps = 0;
        for making in self.renditions.iter_mut().filter(|making| making.is_video() && making.next.is_some()) {
            let off = making.is_off_in(&cut);
            if let Some(until) = if off { Some(after(&end)) } else { late } {
                gaps += making.fill_gaps(&self.part_ends, until, slot_ticks);
            }
        }
        gaps
    }

    /// Number of parts that are gaps now; `None` when `turn` is over.
    fn switch(&mut self, rendition: &RenditionName, turn: Turn, off: Option<Arc<str>>, slot_ticks: i64) -> Option<u64> {
        let making = self.renditions.iter_mut().find(|making| making.name == *rendition)?;
        if making.turn != turn {
            return None;
        }
        let Some(reason) = off else {
            making.shed.iter_mut().for_each(|shed| shed.until_cut = true);
            return Some(0);
        };
        making.shed = Some(Shed { reason, until_cut: false });
        let known = self.part_ends.back().filter(|_| making.is_video()).map(after);
        Some(known.map_or(0, |until| making.fill_gaps(&self.part_ends, until, slot_ticks)))
    }

    fn put_part(&mut self, rendition: &RenditionName, turn: Turn, part: Part, slot_ticks: i64) -> (PutOutcome, u64) {
        let Some(making) = self.renditions.iter_mut().find(|making| making.name == *rendition) else {
            return (PutOutcome::Dropped, 0);
        };
        let at = (part.msn, part.index);
        let Some(cut) = self.cuts.iter().rev().find(|cut| cut.msn == part.msn) else {
            return (PutOutcome::Dropped, 0);
        };
        // Of a number that is a gap nothing is made.
        let off = making.is_off_in(cut) || cut.kind == CutKind::Gap;
        if turn != making.turn || making.next.is_some_and(|next| at < next) || off {
            return (PutOutcome::Dropped, 0);
        }
        let mut gaps = 0;
        if making.next.is_none() {
            // A rendition's window begins with a whole segment that has media.
            let early = making.is_encoded() && part.msn < self.begins;
            if early || part.index != PartIndex(0) || matches!(part.payload, PartPayload::Gap) {
                return (PutOutcome::Dropped, 0);
            }
            for cut in self.cuts.iter().filter(|cut| cut.msn >= part.msn) {
                making.feed.push(FeedItem::Cut(cut.clone()));
            }
        } else if making.is_video() {
            gaps = making.fill_gaps(&self.part_ends, at, slot_ticks);
        }
        making.next = Some((part.msn, PartIndex(part.index.0 + 1)));
        making.i_frames.take(&part);
        making.covered = Some(part.end);
        making.feed.push(FeedItem::Part(Arc::new(part)));
        making.wake.send_replace(());
        (PutOutcome::Put, gaps)
    }
}

/// The part after one that ends.
fn after(end: &PartEnd) -> (MediaSequence, PartIndex) {
    (end.msn, PartIndex(end.index.0 + 1))
}

#[cfg(test)]
mod tests;
