//! The home of a session: its timeline, its log and its hold on the stream.
//!
//! A home outlives its publishers: within the reconnect window the next one goes on in the same session, and so does one
//! that takes the stream over on this node. Calls are short and made straight from the connection, so a part is out with
//! the last byte of its last frame.

mod blocks;
mod flow;
mod hold;
mod open;
mod seat;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::{AccessUnit, AudioConfig, AudioFrame, Cut, Instant, SessionId, StreamName, VideoConfig};
use headwater_router::claim::{Claimed, Holder, Lease, Stop};
use headwater_router::log::GoingOn;
use headwater_router::{AudioGear, Gear, Outline, PublisherInfo, RenditionKind, Source, StreamLog};
use headwater_segmenter::timeline::{Config, Known};
use headwater_segmenter::{Event, Refusal, Timeline};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use self::blocks::TrackBlocks;
pub(crate) use self::hold::Asker;
use self::hold::{Fetching, Questions};
use self::open::Open;
pub(crate) use self::seat::{Gone, Seat};
use crate::lockstep::Lockstep;
use crate::{Deps, Multitrack, Settings};

/// Media that waits for its numbers to be recorded: what comes on top of it ends the publisher.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Gears are a fraction of a second behind; a worker that takes longer is lost.
const LAST_PARTS_WAIT: Duration = Duration::from_secs(2);

/// The publisher does not hold the stream any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HoldLost(pub(crate) Gone);

/// Why a sample was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SampleError {
    /// The stream is this publisher's no longer.
    #[error(transparent)]
    Lost(#[from] HoldLost),
    /// The publisher sends what cannot be served.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The registry does not acknowledge.
    #[error("numbers are not reserved")]
    Unrecorded,
}

/// One session on this node, as long as it has the stream.
pub(crate) struct Home {
    stream: StreamName,
    session: SessionId,
    settings: Arc<Settings>,
    deps: Arc<Deps>,
    lease: watch::Receiver<Lease>,
    inner: Mutex<Inner>,
    /// Who publishes: a publisher closes when it is another one, or has to go.
    seat: watch::Sender<Seat>,
    /// The gears, once the session's constants are known.
    wanted: watch::Sender<Option<Wanted>>,
    /// There is something to ask the registry, or an earlier time to wait for.
    wake: Notify,
    /// It holds the stream no longer.
    stopped: watch::Sender<Option<Stop>>,
}

#[derive(Debug)]
struct Inner {
    timeline: Timeline,
    /// This node's hold on the stream; `None` before and after it.
    holder: Option<Holder>,
    /// Events that wait for their number to be reserved, for their cut to be recorded, or for the parts of the home before.
    held: VecDeque<Event>,
    held_bytes: usize,
    /// The window's cuts, those that are held included: what is recorded.
    cuts: VecDeque<Arc<Cut>>,
    /// There are samples in the log after its newest cut.
    stamped: bool,
    /// The session is being ended.
    closed: bool,
    /// Parts of the home before are on their way.
    fetching: Option<Fetching>,
    questions: Questions,
    publisher: Option<PublisherInfo>,
    /// The number of its seat.
    seat: u64,
    source: Option<Source>,
    /// Pictures of other tracks, where they become the ladder.
    lockstep: Lockstep,
    /// Where the log's samples lie.
    blocks: TrackBlocks,
    open: Option<Open>,
}

/// What a transcoder is asked for, for the life of a session.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) log: Arc<StreamLog>,
    pub(crate) gears: Arc<[Gear]>,
    /// Takes the source's place while that is off.
    pub(crate) standby: Option<Gear>,
    /// Made of the sound. May get one more when the publisher's sound changes.
    pub(crate) audio: Arc<[AudioGear]>,
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home").field("stream", &self.stream).field("session", &self.session).finish_non_exhaustive()
    }
}

impl Home {
    /// The home of a new session.
    pub(crate) fn new(stream: StreamName, session: SessionId, settings: Arc<Settings>, deps: Arc<Deps>) -> Self {
        let config = Config { profile: settings.profile, source_may_be_off: true };
        let lease = deps.registry.lease();
        Self {
            stream,
            session,
            settings,
            deps,
            lease,
            inner: Mutex::new(Inner {
                timeline: Timeline::new(config),
                holder: None,
                held: VecDeque::new(),
                held_bytes: 0,
                cuts: VecDeque::new(),
                stamped: false,
                closed: false,
                fetching: None,
                questions: Questions::default(),
                publisher: None,
                seat: 0,
                source: None,
                lockstep: Lockstep::default(),
                blocks: TrackBlocks::default(),
                open: None,
            }),
            seat: watch::Sender::new(Seat::default()),
            wanted: watch::Sender::new(None),
            wake: Notify::new(),
            stopped: watch::Sender::new(None),
        }
    }

    /// The home of a session that another one began, on this node or elsewhere; `log` is what is here of it. It goes on with
    /// the last cut of `outline`.
    pub(crate) fn of(log: Arc<StreamLog>, outline: &Outline, settings: Arc<Settings>, deps: Arc<Deps>) -> Self {
        let session = log.session().clone();
        let home = Self::new(session.stream.clone(), session.id, settings, deps);
        {
            let mut inner = home.inner();
            if let Some(first) = outline.cuts.last() {
                let has = |kind: fn(&RenditionKind) -> bool| outline.renditions.iter().any(|known| kind(&known.kind));
                let has_video = has(|kind| *kind == RenditionKind::Source);
                let has_gears = has(|kind| matches!(kind, RenditionKind::Gear(_)));
                let config = Config { profile: outline.grid.profile, source_may_be_off: has_gears };
                let known = Known { grid: outline.grid, has_video, audio: outline.audio.clone() };
                inner.timeline = Timeline::resume(config, known, first);
            }
            let open = Open::new(log, outline.grid, outline.audio.clone());
            inner.lockstep = Lockstep::of(open.tracks.keys().copied());
            inner.open = Some(open);
        }
        home
    }

    /// The stream.
    pub(crate) fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The session.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// What a transcoder is asked for, now and later; `None` until it is known.
    pub(crate) fn wanted(&self) -> watch::Receiver<Option<Wanted>> {
        self.wanted.subscribe()
    }

    /// Waits until this node holds the stream no longer. Answers why.
    pub(crate) async fn stopped(&self) -> Stop {
        // The sender lives in this home: waiting cannot fail.
        let stopped = self.stopped.subscribe().wait_for(Option::is_some).await.map(|stop| *stop);
        stopped.ok().flatten().unwrap_or(Stop::Ended)
    }

    /// The stream was claimed for a publisher. Answers with its seat; `None` when this home has stopped.
    pub(crate) fn begin(&self, claimed: &Claimed, info: PublisherInfo) -> Option<u64> {
        let mut inner = self.inner();
        if self.stopped.borrow().is_some() {
            return None;
        }
        let now = self.deps.clock.now();
        let lease = *self.lease.borrow();
        let waits = self.settings.waits();
        inner.questions.forget();
        inner.holder = Some(Holder::new(now, claimed, lease, info.priority, waits));
        if let Some(first) = claimed.record.outline.as_ref().and_then(|outline| outline.cuts.last()) {
            self.go_on(&mut inner, claimed, first);
        }
        Some(self.seat(&mut inner, info, now))
    }

    /// The session goes on at `first`, whatever became of what this home had before.
    fn go_on(&self, inner: &mut Inner, claimed: &Claimed, first: &Cut) {
        inner.timeline.go_on(first);
        inner.held.clear();
        inner.held_bytes = 0;
        inner.cuts = claimed.record.outline.iter().flat_map(|outline| outline.cuts.iter().cloned()).collect();
        inner.stamped = false;
        inner.fetching = Fetching::of(claimed, self.deps.registry.node());
        if let Some(open) = &mut inner.open {
            // What followed another node's home is written here now. The epoch is above all that were: it was claimed.
            open.log.set_replica(false);
            let _ = open.log.go_on(&GoingOn::from(claimed));
            open.log.hold_by(self.lease.clone(), self.deps.clock.clone());
            open.begin_anew();
        }
    }

    /// The last publisher is back, or the next one is there, while the session waits for it here. Answers with its seat;
    /// `None` when the stream has to be claimed.
    pub(crate) fn join(&self, info: PublisherInfo) -> Option<u64> {
        let mut inner = self.inner();
        let now = self.deps.clock.now();
        let may = inner.holder.as_mut().is_some_and(|holder| !holder.has_publisher() && holder.may_append(now).is_ok());
        if let Some(holder) = inner.holder.as_mut().filter(|_| may) {
            holder.handle_publisher(now, info.priority);
        }
        let seat = may.then(|| self.seat(&mut inner, info, now));
        self.settle(&mut inner, now);
        seat
    }

    fn seat(&self, inner: &mut Inner, info: PublisherInfo, now: Instant) -> u64 {
        inner.timeline.begin_publisher(now, self.deps.clock.wall());
        inner.lockstep.restart();
        inner.publisher = Some(info.clone());
        inner.source = None;
        let may_write = inner.fetching.is_none();
        if let Some(open) = &mut inner.open {
            open.log.set_publisher(Some(info));
            if may_write {
                open.give_turns();
                self.wanted.send_if_modified(|wanted| {
                    let is_new = wanted.is_none();
                    wanted.get_or_insert_with(|| Wanted::of(&open.log));
                    is_new
                });
            }
        }
        self.wake.notify_one();
        inner.seat += 1;
        self.seat.send_replace(Seat { number: inner.seat, gone: None });
        inner.seat
    }

    /// The publisher of `seat` is gone; `clean` says whether it said so. `false` when it had lost the stream before.
    pub(crate) fn leave(&self, seat: u64, clean: bool) -> bool {
        let mut inner = self.inner();
        if self.hold(&inner, seat).is_err() {
            return false;
        }
        let now = self.deps.clock.now();
        inner.timeline.end_publisher();
        inner.publisher = None;
        self.flush(&mut inner, now);
        if let Some(open) = &inner.open {
            open.log.set_publisher(None);
        }
        if let Some(holder) = &mut inner.holder {
            holder.handle_publisher_gone(now, clean);
        }
        self.settle(&mut inner, now);
        self.wake.notify_one();
        true
    }

    /// After the end: waits for the gears' last parts, but not for ever.
    pub(crate) async fn complete(&self) {
        let log = self.inner().open.as_ref().map(|open| open.log.clone());
        if let Some(log) = log
            && timeout(LAST_PARTS_WAIT, log.complete()).await.is_err()
        {
            log.abandon();
        }
    }

    /// What is here of the session.
    pub(crate) fn log(&self) -> Option<Arc<StreamLog>> {
        self.inner().open.as_ref().map(|open| open.log.clone())
    }

    pub(crate) fn video_config(
        &self,
        seat: u64,
        config: Arc<VideoConfig>,
        bitrate_kbps: Option<u32>,
    ) -> Result<(), HoldLost> {
        let mut inner = self.inner();
        self.hold(&inner, seat)?;
        let (width, height) = config.display_size();
        let source = Source { width, height, bitrate_kbps };
        inner.source = Some(source);
        let has_others = !self.settings.ladder.gears.is_empty() && inner.lockstep.is_empty();
        inner.timeline.set_source_may_be_off(has_others);
        inner.timeline.set_video_config(config);
        Ok(())
    }

    /// Whether a publisher's other tracks are taken.
    pub(crate) fn takes_tracks(&self) -> bool {
        self.settings.multitrack == Multitrack::Ladder
    }

    /// Another track than the first has said how it is coded, which publishers do before they send pictures: the session
    /// that begins with the first track's picture is to know of it. `false` when there is no place for the track.
    pub(crate) fn expect_track(&self, seat: u64, track: u8) -> Result<bool, HoldLost> {
        let mut inner = self.inner();
        self.hold(&inner, seat)?;
        if !inner.has_place_for(track) {
            return Ok(false);
        }
        let taken = inner.lockstep.expect(track);
        // Without gears nothing could stand in for the source.
        inner.timeline.set_source_may_be_off(false);
        Ok(taken)
    }

    /// A picture of another track than the first. `false` when there is no place for the track: there are too many, or
    /// the session has begun without it.
    pub(crate) fn track_video(
        &self,
        seat: u64,
        now: Instant,
        track: u8,
        unit: AccessUnit,
        config: Arc<VideoConfig>,
    ) -> Result<bool, HoldLost> {
        let mut inner = self.inner();
        self.hold(&inner, seat)?;
        if !inner.has_place_for(track) {
            return Ok(false);
        }
        let taken = inner.lockstep.push(track, unit, config, now);
        // Without gears nothing could stand in for the source.
        inner.timeline.set_source_may_be_off(false);
        let Inner { open, lockstep, .. } = &mut *inner;
        if let Some(open) = open {
            open.put_tracks(lockstep, &self.deps.metrics);
        }
        Ok(taken)
    }

    pub(crate) fn audio_config(&self, seat: u64, config: Arc<AudioConfig>) -> Result<(), HoldLost> {
        let mut inner = self.inner();
        self.hold(&inner, seat)?;
        inner.timeline.set_audio_config(config);
        Ok(())
    }

    pub(crate) fn hint_frame_rate(&self, seat: u64, rate: f64) -> Result<(), HoldLost> {
        let mut inner = self.inner();
        self.hold(&inner, seat)?;
        inner.timeline.hint_frame_rate(rate);
        Ok(())
    }

    pub(crate) fn video_start(&self, seat: u64, now: Instant, dts_millis: u32, keyframe: bool) -> Result<(), HoldLost> {
        let mut inner = self.inner();
        self.may_append(&mut inner, seat, now)?;
        inner.timeline.handle_video_start(dts_millis, keyframe);
        self.flush(&mut inner, now);
        self.settle(&mut inner, now);
        Ok(())
    }

    pub(crate) fn video(&self, seat: u64, now: Instant, unit: AccessUnit) -> Result<(), SampleError> {
        let mut inner = self.inner();
        self.handle_media(&mut inner, seat, now)?;
        inner.timeline.handle_video(now, unit)?;
        self.stamp(&mut inner, now)
    }

    pub(crate) fn audio(&self, seat: u64, now: Instant, frame: AudioFrame) -> Result<(), SampleError> {
        let mut inner = self.inner();
        self.handle_media(&mut inner, seat, now)?;
        inner.timeline.handle_audio(now, frame);
        self.stamp(&mut inner, now)
    }

    fn stamp(&self, inner: &mut Inner, now: Instant) -> Result<(), SampleError> {
        self.flush(inner, now);
        self.settle(inner, now);
        if inner.held_bytes > HELD_BYTES_MAX { Err(SampleError::Unrecorded) } else { Ok(()) }
    }

    pub(crate) fn timeout(&self, seat: u64, now: Instant) -> Result<(), HoldLost> {
        let mut inner = self.inner();
        self.may_append(&mut inner, seat, now)?;
        inner.timeline.handle_timeout(now);
        self.flush(&mut inner, now);
        self.settle(&mut inner, now);
        Ok(())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.inner().timeline.poll_timeout()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    /// What a session's renditions ask for.
    fn of(log: &Arc<StreamLog>) -> Self {
        let state = log.state().borrow().clone();
        let gears = |standby: bool| {
            let of = state.renditions.iter().filter(move |rendition| rendition.standby == standby);
            of.filter_map(|rendition| match &rendition.kind {
                RenditionKind::Gear(gear) => Some(gear.clone()),
                _ => None,
            })
        };
        let audio = state.renditions.iter().filter_map(|rendition| match &rendition.kind {
            RenditionKind::AudioGear(gear) => Some(gear.clone()),
            _ => None,
        });
        Self { log: log.clone(), gears: gears(false).collect(), standby: gears(true).next(), audio: audio.collect() }
    }
}
