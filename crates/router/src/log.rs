//! A stream's log: its timeline, a few seconds of stamped source samples, and the parts of the window (architecture 5).
//!
//! The home appends, workers put parts, readers hold a cursor and are woken. All is bounded; a reader that falls off the
//! end is told so.

mod demand;
mod feed;
mod following;
mod going_on;
mod guard;
mod i_frames;
mod inner;
mod making;
mod poster;
mod reader;
mod replica;
mod ring;
mod room;
mod wake;
mod waking;
mod writer;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::captions::Channels;
use headwater_media::{
    Cut, Epoch, MediaSequence, Part, PartEnd, PartIndex, RenditionName, SessionId, StampedAudio, StampedVideo,
    StreamName, Timescale, Timestamp, Turn,
};
use tokio::sync::watch;

use crate::session::{Rendition, RenditionKind, Session, SessionState, State};
use crate::{AudioGear, BoxFuture, Job, JobId, Poster, PublisherInfo};
pub use demand::Demand;
use demand::Watched;
pub use feed::FeedItem;
pub use following::{Follower, Progress, SamplesFrom, Snapshot};
pub use going_on::{GoingOn, Standing};
pub use i_frames::IFrameRates;
use inner::Inner;
use making::{Making, Medium};
use reader::Start;
pub use reader::{PartReader, ReadError, SampleReader};
pub use replica::{Mirrored, Unannounced, Wished};
use ring::Ring;
use wake::wake;
pub use writer::{LocalWriter, NoWriter, Writer};

/// Where logs are found, and where parts are put. On one machine they are all here; in a cluster a log may be a replica
/// that follows its home.
pub trait Log: Send + Sync + 'static {
    /// Opens the log of a session at its home: what is here of it already, or a new one. Those of other sessions that the
    /// stream had before are kept until they are closed, but not more than a few: players still read their ends.
    fn open(&self, state: SessionState) -> Arc<StreamLog>;

    /// This node is the session's home no longer. A session that is over is forgotten; one that goes on can be read here, and
    /// follows its next home where there are other nodes.
    fn close(&self, log: &Arc<StreamLog>);

    /// The log of a stream's newest session.
    fn find<'a>(&'a self, stream: &'a StreamName) -> BoxFuture<'a, Option<Arc<StreamLog>>>;

    /// The log of one session of a stream, which may have ended and have a successor.
    fn find_session<'a>(&'a self, stream: &'a StreamName, id: SessionId) -> BoxFuture<'a, Option<Arc<StreamLog>>>;

    /// The logs of all streams' newest sessions, by stream name.
    fn list(&self) -> BoxFuture<'_, Vec<Arc<StreamLog>>>;

    /// Begins to write a job: gives it the turns of its renditions at the session's home. `id` is the job on the board.
    fn write<'a>(&'a self, id: JobId, job: &'a Job) -> BoxFuture<'a, Result<Arc<dyn Writer>, NoWriter>>;
}

/// Bounds of one stream's log.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Source samples are kept for this long at least, where a transcoder makes something of them...
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
    /// It is in the log, or will be when this node goes on with the session.
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

/// One session's log.
#[derive(Debug)]
pub struct StreamLog {
    session: Arc<Session>,
    limits: Limits,
    inner: Mutex<Inner>,
    state: watch::Sender<Arc<SessionState>>,
    samples: watch::Sender<()>,
    /// Something other than samples is new: for who follows the log from elsewhere.
    changed: watch::Sender<()>,
    /// In a replica: somebody began to read or to watch.
    wishes: watch::Sender<()>,
    watched: Watched,
    poster: watch::Sender<Option<Arc<Poster>>>,
    dropped_parts: AtomicU64,
    gap_parts: AtomicU64,
}

impl StreamLog {
    /// A log without samples, for a session that begins in `state`.
    pub fn new(state: SessionState, limits: Limits) -> Self {
        let session = state.session.clone();
        let slot_ticks = session.grid.slot_ticks;
        let changed = watch::Sender::new(());
        let making = |known| Making::new(known, &session.grid, &changed);
        let renditions = state.renditions.iter().map(making).collect();
        Self {
            session: session.clone(),
            limits,
            inner: Mutex::new(Inner {
                slot_ticks,
                epoch: state.epoch,
                ring: Ring::new(limits.ring_bytes_max),
                cuts: VecDeque::new(),
                part_ends: VecDeque::new(),
                renditions,
                begins: MediaSequence(0),
                ended: false,
                abandoned: false,
                goings: 0,
                first: MediaSequence(1),
                replica: false,
                samples_from: None,
                retired: false,
                sealed: false,
                late: None,
                guard: None,
            }),
            state: watch::Sender::new(Arc::new(state)),
            samples: watch::Sender::new(()),
            changed,
            wishes: watch::Sender::new(()),
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
        let is_timeline = matches!(item, Item::Cut(_) | Item::PartEnd(_));
        inner.keep(item, self.limits.ring);
        drop(inner);
        if is_timeline {
            wake(&self.changed);
        }
        wake(&self.samples);
        Ok(())
    }

    /// Puts one part of one rendition.
    pub fn put_part(&self, rendition: &RenditionName, turn: Turn, part: Part) -> PutOutcome {
        let mut inner = self.inner();
        let Some(part) = inner.keep_late(rendition, turn, part) else { return PutOutcome::Put };
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
        let inner = self.inner();
        let making = inner.renditions.iter().find(|making| making.name == *rendition)?;
        making.next.max(making.told.as_ref().and_then(|told| told.next))
    }

    /// Measured rates of the I-frames with which the rendition's segments begin. `None` before the first.
    pub fn i_frame_rates(&self, rendition: &RenditionName) -> Option<IFrameRates> {
        let inner = self.inner();
        let making = inner.renditions.iter().find(|making| making.name == *rendition)?;
        making.told.as_ref().map_or_else(|| making.i_frames.rates(), |told| told.i_frames)
    }

    /// Switches a rendition off at its next missing part, for a reason that an operator understands, or on again with
    /// the next cut. While it is off the playlist of a gear goes on with gaps (architecture 5), sound that is encoded stands
    /// still, and sound that the home packages has the parts that it puts, which are gaps.
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
        let inner = self.inner();
        let making = inner.renditions.iter().find(|making| making.name == *rendition)?;
        making.covered.max(making.told.as_ref().and_then(|told| told.covered))
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
        self.read_from(Start::From(msn), msn)
    }

    /// Source samples, from the newest cut on that begins with a keyframe.
    pub fn read_samples(self: &Arc<Self>) -> SampleReader {
        let newest = self.inner().cuts.back().map_or(MediaSequence(0), |cut| cut.msn);
        self.read_from(Start::Newest, newest)
    }

    /// Source samples for a writer whose first missing part is in segment `msn`: from the nearest cut up to there that
    /// begins with a keyframe. When that is 2 x TARGETDURATION back, its parts are as good as lost, and reading begins
    /// as in [`read_samples`](Self::read_samples).
    pub fn read_samples_for(self: &Arc<Self>, msn: MediaSequence) -> SampleReader {
        self.read_from(Start::For(msn, self.decodable_back()), msn)
    }

    /// How far back a writer begins at most.
    fn decodable_back(&self) -> Duration {
        Duration::from_secs(2 * u64::from(self.session.grid.target_duration))
    }

    /// A reader of samples that needs those of segment `msn`.
    fn read_from(self: &Arc<Self>, start: Start, msn: MediaSequence) -> SampleReader {
        let reader = SampleReader::starting(self.clone(), start, self.samples.subscribe());
        let mut inner = self.inner();
        // Another reader that begins at about the same time may need a little more.
        let from = MediaSequence(msn.0.saturating_sub(1));
        inner.samples_from =
            inner.samples_from.filter(|before| *before <= from).or(Some(from)).filter(|_| inner.replica);
        drop(inner);
        self.wishes.send_replace(());
        reader
    }

    /// A rendition's cuts and parts, from where windows [begin](Self::begins). `None` for an unknown rendition.
    pub fn read_parts(self: &Arc<Self>, rendition: &RenditionName) -> Option<PartReader> {
        let inner = self.inner();
        let (index, making) = inner.renditions.iter().enumerate().find(|(_, making)| making.name == *rendition)?;
        let stops = if inner.retired { making.stops.wrapping_sub(1) } else { making.stops };
        let cursor = making.feed.cut(inner.begins);
        let reader = PartReader::new(self.clone(), index, stops, cursor, making.wake.subscribe());
        drop(inner);
        self.wishes.send_replace(());
        Some(reader)
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
        inner.renditions.extend(renditions.iter().map(|added| Making::new(added, &self.session.grid, &self.changed)));
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

#[cfg(test)]
mod tests;
