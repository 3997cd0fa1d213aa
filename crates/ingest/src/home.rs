//! The home of a session: its timeline and its log.
//!
//! A home outlives its publishers: within the reconnect window the next one goes on in the same session. Calls are
//! short and made straight from the connection, so a part is out with the last byte of its last frame.

mod open;
mod record;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::captions::Channels;
use headwater_media::{
    AccessUnit, AudioConfig, AudioFrame, Cut, Epoch, Instant, MediaSequence, RenditionName, SessionId, StreamName,
    VideoConfig, WallTime,
};
use headwater_router::log::Item;
use headwater_router::{
    AudioGear, Gear, Log, PublisherInfo, RenditionKind, Session, SessionState, Source, State, StreamLog,
};
use headwater_segmenter::timeline::{Added, Config, Started};
use headwater_segmenter::{Event, Refusal, Timeline};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use self::open::Open;
use crate::lockstep::Lockstep;
use crate::metrics::Metrics;
use crate::renditions::renditions;
use crate::{Multitrack, Settings, audio, fallback};

/// How often a publisher of higher priority may take the stream over within [`GIVING_WAY`]: two encoders that are both
/// told to win would otherwise cut it to pieces.
pub(crate) const GIVES_WAY_MAX: usize = 3;
/// See [`GIVES_WAY_MAX`].
const GIVING_WAY: Duration = Duration::from_secs(60);
/// Media that waits for its numbers to be recorded: what comes on top of it ends the publisher.
const HELD_BYTES_MAX: usize = 32 << 20;
/// What an event without payload is counted as, so that nothing is free.
const EVENT_BYTES: usize = 128;
/// Gears are a fraction of a second behind; a worker that takes longer is lost.
const LAST_PARTS_WAIT: Duration = Duration::from_secs(2);

/// The hold is over: another publisher took the stream, or the session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("another publisher has taken the stream over")]
pub(crate) struct HoldLost;

/// Why a sample was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SampleError {
    /// The stream has another publisher now.
    #[error(transparent)]
    Lost(#[from] HoldLost),
    /// The publisher sends what cannot be served.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The registry does not acknowledge.
    #[error("numbers are not reserved")]
    Unrecorded,
}

/// One session on this node.
pub(crate) struct Home {
    stream: StreamName,
    session: SessionId,
    settings: Arc<Settings>,
    log: Arc<dyn Log>,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner>,
    /// Counts media messages: what a duplicate's wait listens to.
    media: watch::Sender<u64>,
    /// The epoch that holds the stream; an older connection closes when it changes.
    epoch: watch::Sender<Epoch>,
    /// The epoch whose publisher the operator sends away.
    kicked: watch::Sender<Epoch>,
    /// Number up to which reservation is wanted; the reserver follows it.
    reserve: watch::Sender<MediaSequence>,
    /// Whether a publisher is there.
    published: watch::Sender<bool>,
    /// The gears, once the session's constants are known.
    wanted: watch::Sender<Option<Wanted>>,
    over: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    timeline: Timeline,
    /// Events that wait for their number to be reserved, or for their cut to be recorded.
    held: VecDeque<Event>,
    held_bytes: usize,
    reserved: MediaSequence,
    /// The window's cuts, those that are held included: what is recorded.
    cuts: VecDeque<Arc<Cut>>,
    /// The newest cut that is recorded.
    recorded: MediaSequence,
    /// When publishers of higher priority took the stream over lately.
    gave_way: VecDeque<Instant>,
    publisher: Option<PublisherInfo>,
    source: Option<Source>,
    /// Pictures of other tracks, where they become the ladder.
    lockstep: Lockstep,
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
    pub(crate) fn new(
        stream: StreamName,
        session: SessionId,
        settings: Arc<Settings>,
        log: Arc<dyn Log>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let config = Config { profile: settings.profile, source_may_be_off: true };
        Self {
            stream,
            session,
            settings,
            log,
            metrics,
            inner: Mutex::new(Inner {
                timeline: Timeline::new(config),
                held: VecDeque::new(),
                held_bytes: 0,
                reserved: MediaSequence(0),
                cuts: VecDeque::new(),
                recorded: MediaSequence(0),
                gave_way: VecDeque::new(),
                publisher: None,
                source: None,
                lockstep: Lockstep::default(),
                open: None,
            }),
            media: watch::Sender::new(0),
            epoch: watch::Sender::new(Epoch(0)),
            kicked: watch::Sender::new(Epoch(0)),
            reserve: watch::Sender::new(MediaSequence(0)),
            published: watch::Sender::new(false),
            wanted: watch::Sender::new(None),
            over: watch::Sender::new(false),
        }
    }

    /// The stream.
    pub(crate) fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The session.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// The epoch that holds the stream, now and later.
    pub(crate) fn epoch(&self) -> watch::Receiver<Epoch> {
        self.epoch.subscribe()
    }

    /// The epoch whose publisher is to go, now and later.
    pub(crate) fn kicked(&self) -> watch::Receiver<Epoch> {
        self.kicked.subscribe()
    }

    /// Has the publisher sent away. `false` when there is none.
    pub(crate) fn kick(&self) -> bool {
        let inner = self.inner();
        if inner.publisher.is_some() {
            self.kicked.send_replace(*self.epoch.borrow());
        }
        inner.publisher.is_some()
    }

    /// Counts the media that comes in from now on.
    pub(crate) fn media(&self) -> watch::Receiver<u64> {
        self.media.subscribe()
    }

    /// What a transcoder is asked for, now and later; `None` until it is known.
    pub(crate) fn wanted(&self) -> watch::Receiver<Option<Wanted>> {
        self.wanted.subscribe()
    }

    /// Waits until the session is over.
    pub(crate) async fn over(&self) {
        // The sender lives in this home: waiting cannot fail.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Whether a publisher is there, now and later.
    pub(crate) fn published(&self) -> watch::Receiver<bool> {
        self.published.subscribe()
    }

    /// The publisher's priority; `None` while there is none.
    pub(crate) fn priority(&self) -> Option<i32> {
        self.inner().publisher.as_ref().map(|publisher| publisher.priority)
    }

    /// Whether a publisher of higher priority may take the stream over at once; counts it.
    pub(crate) fn gives_way(&self, now: Instant) -> bool {
        let gave_way = &mut self.inner().gave_way;
        gave_way.retain(|at| now.saturating_since(*at) < GIVING_WAY);
        let may = gave_way.len() < GIVES_WAY_MAX;
        if may {
            gave_way.push_back(now);
        }
        may
    }

    /// A publisher was accepted in `epoch`; numbers below `reserved` may be used.
    pub(crate) fn begin(
        &self,
        epoch: Epoch,
        reserved: MediaSequence,
        info: PublisherInfo,
        now: Instant,
        wall: WallTime,
    ) {
        let mut inner = self.inner();
        inner.reserved = inner.reserved.max(reserved);
        inner.timeline.begin_publisher(now, wall);
        inner.lockstep.restart();
        inner.publisher = Some(info.clone());
        inner.source = None;
        if let Some(open) = &mut inner.open {
            open.log.raise_epoch(epoch);
            open.log.set_publisher(Some(info));
            open.give_turns();
        }
        drop(inner);
        self.epoch.send_replace(epoch);
        self.published.send_replace(true);
    }

    /// The publisher of `epoch` is gone. `false` when it had lost the stream before.
    pub(crate) fn end(&self, epoch: Epoch) -> bool {
        let mut inner = self.inner();
        if *self.epoch.borrow() != epoch || inner.publisher.is_none() {
            return false;
        }
        inner.timeline.end_publisher();
        inner.publisher = None;
        self.flush(&mut inner, epoch);
        if let Some(open) = &inner.open {
            open.log.set_publisher(None);
        }
        self.published.send_replace(false);
        true
    }

    /// The session is over.
    pub(crate) fn finish(&self) {
        let mut inner = self.inner();
        let epoch = *self.epoch.borrow();
        inner.timeline.finish();
        inner.publisher = None;
        self.flush(&mut inner, epoch);
        self.epoch.send_replace(Epoch(epoch.0 + 1));
        self.published.send_replace(false);
        if let Some(open) = &mut inner.open {
            if let Some(track) = &mut open.audio {
                track.packager.finish();
            }
            open.put_audio(&self.metrics);
            open.log.end();
        }
        self.over.send_replace(true);
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

    /// Forgets the ended session's log.
    pub(crate) fn close(&self) {
        if let Some(open) = &self.inner().open {
            self.log.close(&open.log);
        }
    }

    pub(crate) fn video_config(
        &self,
        epoch: Epoch,
        config: Arc<VideoConfig>,
        bitrate_kbps: Option<u32>,
    ) -> Result<(), HoldLost> {
        let mut inner = self.hold(epoch)?;
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

    /// A picture of another track than the first. `false` when there is no place for the track: there are too many, or
    /// the session has begun without it.
    pub(crate) fn track_video(
        &self,
        epoch: Epoch,
        now: Instant,
        track: u8,
        unit: AccessUnit,
        config: Arc<VideoConfig>,
    ) -> Result<bool, HoldLost> {
        let mut inner = self.hold(epoch)?;
        if inner.open.as_ref().is_some_and(|open| !open.tracks.contains_key(&track)) {
            return Ok(false);
        }
        let taken = inner.lockstep.push(track, unit, config, now);
        // Without gears nothing could stand in for the source.
        inner.timeline.set_source_may_be_off(false);
        let Inner { open, lockstep, .. } = &mut *inner;
        if let Some(open) = open {
            open.put_tracks(lockstep, &self.metrics);
        }
        Ok(taken)
    }

    pub(crate) fn audio_config(&self, epoch: Epoch, config: Arc<AudioConfig>) -> Result<(), HoldLost> {
        self.hold(epoch)?.timeline.set_audio_config(config);
        Ok(())
    }

    pub(crate) fn hint_frame_rate(&self, epoch: Epoch, rate: f64) -> Result<(), HoldLost> {
        self.hold(epoch)?.timeline.hint_frame_rate(rate);
        Ok(())
    }

    pub(crate) fn video_start(&self, epoch: Epoch, dts_millis: u32, keyframe: bool) -> Result<(), HoldLost> {
        let mut inner = self.hold(epoch)?;
        inner.timeline.handle_video_start(dts_millis, keyframe);
        self.flush(&mut inner, epoch);
        Ok(())
    }

    pub(crate) fn video(&self, epoch: Epoch, now: Instant, unit: AccessUnit) -> Result<(), SampleError> {
        let mut inner = self.hold(epoch)?;
        inner.timeline.handle_video(now, unit)?;
        self.flush(&mut inner, epoch);
        if inner.held_bytes > HELD_BYTES_MAX {
            return Err(SampleError::Unrecorded);
        }
        drop(inner);
        self.count_media();
        Ok(())
    }

    pub(crate) fn audio(&self, epoch: Epoch, now: Instant, frame: AudioFrame) -> Result<(), SampleError> {
        let mut inner = self.hold(epoch)?;
        inner.timeline.handle_audio(now, frame);
        self.flush(&mut inner, epoch);
        if inner.held_bytes > HELD_BYTES_MAX {
            return Err(SampleError::Unrecorded);
        }
        drop(inner);
        self.count_media();
        Ok(())
    }

    /// Media came. Counted while somebody waits to see whether some does.
    fn count_media(&self) {
        if self.media.receiver_count() > 0 {
            self.media.send_modify(|count| *count += 1);
        }
    }

    pub(crate) fn timeout(&self, epoch: Epoch, now: Instant) -> Result<(), HoldLost> {
        let mut inner = self.hold(epoch)?;
        inner.timeline.handle_timeout(now);
        self.flush(&mut inner, epoch);
        Ok(())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.inner().timeline.poll_timeout()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fence: nothing of a publisher that lost the stream gets in.
    fn hold(&self, epoch: Epoch) -> Result<MutexGuard<'_, Inner>, HoldLost> {
        let inner = self.inner();
        if *self.epoch.borrow() == epoch && inner.publisher.is_some() { Ok(inner) } else { Err(HoldLost) }
    }

    /// Moves what the timeline decided into the log, as far as numbers are reserved and discontinuities recorded.
    fn flush(&self, inner: &mut Inner, epoch: Epoch) {
        while let Some(event) = inner.timeline.poll_event() {
            inner.held_bytes += size(&event);
            inner.held.push_back(event);
        }
        while let Some(event) = inner.held.pop_front() {
            if let Event::Cut(cut) = &event {
                self.announce(inner, cut);
                if !inner.may_leave(cut) {
                    inner.held.push_front(event);
                    return;
                }
            }
            inner.held_bytes -= size(&event);
            self.append(inner, epoch, event);
        }
    }

    fn append(&self, inner: &mut Inner, epoch: Epoch, event: Event) {
        match event {
            Event::Started(started) => return self.open(inner, epoch, &started),
            Event::Added(added) => return self.add(inner, &added),
            _ => {}
        }
        let Inner { open, lockstep, .. } = inner;
        let Some(open) = open else { return };
        let item = match event {
            Event::Started(_) | Event::Added(_) => return,
            Event::Cut(cut) => {
                self.log_source_state(open, &cut);
                Item::Cut(cut)
            }
            Event::Video(video) => {
                self.metrics.stamped(video.received);
                open.notice_captions(&video);
                if let Some(source) = &mut open.video {
                    source.packager.push(video.clone());
                }
                if !open.tracks.is_empty() {
                    lockstep.place(&video, open.log.session().grid.slot_ticks);
                }
                Item::Video(video)
            }
            Event::Audio(audio) => {
                if let Some(gear) = open.audio_to_encode(&audio.config) {
                    self.wanted.send_modify(|wanted| {
                        if let Some(wanted) = wanted {
                            wanted.audio = wanted.audio.iter().cloned().chain([gear]).collect();
                        }
                    });
                }
                if let Some(track) = &mut open.audio {
                    track.packager.push(audio.clone());
                }
                Item::Audio(audio)
            }
            Event::PartEnd(end) => Item::PartEnd(end),
        };
        let end = if let Item::PartEnd(end) = &item { Some(*end) } else { None };
        if open.log.append(epoch, item).is_err() {
            return;
        }
        if let Some(end) = end {
            if let Some(source) = &mut open.video {
                let part = source.packager.end_part(&end);
                source.put(&open.log, part, &self.metrics);
            }
            lockstep.end_part(end);
            if let Some(track) = &mut open.audio {
                track.packager.end_part(end, &open.log.session().grid);
            }
        }
        open.put_tracks(lockstep, &self.metrics);
        open.put_audio(&self.metrics);
    }

    /// One line when the source rendition goes off or comes back.
    fn log_source_state(&self, open: &mut Open, cut: &Cut) {
        let reason = cut.off_reason(&RenditionName::source());
        if open.source_off.as_ref() == reason {
            return;
        }
        match reason {
            Some(reason) => {
                warn!(stream = %self.stream, session = %self.session, msn = cut.msn.0, %reason, "source rendition off");
            }
            None => info!(stream = %self.stream, session = %self.session, msn = cut.msn.0, "source rendition on again"),
        }
        open.source_off = reason.cloned();
    }

    /// The gears of this source, and what takes its place.
    fn plan(&self, source: Option<Source>) -> (Vec<Gear>, Option<Gear>) {
        let Some(source) = source.filter(|_| !self.settings.ladder.gears.is_empty()) else { return (Vec::new(), None) };
        let gears = self.settings.ladder.plan(source);
        let fallback = fallback::gear(source, &gears);
        (gears, fallback)
    }

    /// A track came to a session that had started without it: the session gets the renditions that it would have had.
    /// Players that begin from now on find them; those that have the multivariant playlist go on with what it lists.
    fn add(&self, inner: &mut Inner, added: &Added) {
        let Some(open) = &mut inner.open else { return };
        let (stream, session, grid) = (&self.stream, self.session, open.log.session().grid);
        let Wanted { gears, standby, .. } = Wanted::of(&open.log);
        let (mut gears, mut standby) = (gears.to_vec(), standby);
        let mut all = Vec::new();
        match added {
            Added::Video(video) => {
                info!(%stream, %session, "pictures came after the session had started: video is added");
                (gears, standby) = self.plan(inner.source);
                let started = Started { grid, video: Some(video.clone()), audio: None };
                let video = renditions(&started, inner.source, &[], &gears, standby.as_ref(), Vec::new());
                all.extend(video.iter().cloned());
            }
            Added::Audio(config) => {
                info!(%stream, %session, source = %config, "sound came after the session had started: it is added");
                open.audio_config = Some(config.clone());
            }
        }
        let source = open.audio_config.as_deref();
        let audio_gears = audio::gears(source, gears.iter().chain(&standby));
        // Segments are no shorter than they have been: frames that are longer than AAC's do not fit.
        let offer = |config: &AudioConfig| self.settings.source_audio && grid.with_source_sound(config) == grid;
        let packaged = source.and_then(|config| audio::packaged(config, offer(config)));
        all.extend(audio::renditions(source, packaged.as_ref(), &audio_gears));
        let known = open.log.state().borrow().renditions.clone();
        all.retain(|new| known.iter().all(|known| known.name != new.name));
        open.log.add(all);
        open.package(grid);
        open.give_turns();
        self.wanted.send_replace(Some(Wanted::of(&open.log)));
        // Another home is to know of it.
        self.reserve.send_modify(|_| {});
    }

    /// The first sample is about to be stamped: the session's constants are known.
    fn open(&self, inner: &mut Inner, epoch: Epoch, started: &Started) {
        let tracks: Vec<u8> = inner.lockstep.tracks().filter(|_| started.video.is_some()).collect();
        // Several tracks are the ladder themselves.
        let encodes = started.video.is_some() && tracks.is_empty();
        let (gears, fallback) = self.plan(inner.source.filter(|_| encodes));
        let audio_gears = audio::gears(started.audio.as_deref(), gears.iter().chain(&fallback));
        let packaged = started.audio.as_deref().and_then(|config| audio::packaged(config, self.settings.source_audio));
        let audio_renditions = audio::renditions(started.audio.as_deref(), packaged.as_ref(), &audio_gears);
        let renditions = renditions(started, inner.source, &tracks, &gears, fallback.as_ref(), audio_renditions);
        let since = inner.publisher.as_ref().map(|publisher| publisher.since).unwrap_or_default();
        let log = self.log.open(SessionState {
            session: Arc::new(Session {
                stream: self.stream.clone(),
                id: self.session,
                grid: started.grid,
                window_segments: self.settings.window_segments,
                since,
            }),
            epoch,
            state: State::Live,
            publisher: inner.publisher.clone().map(Arc::new),
            renditions,
            captions: Channels::default(),
        });
        let mut open = Open::new(log, started.grid, started.audio.clone());
        open.give_turns();
        self.wanted.send_replace(Some(Wanted::of(&open.log)));
        inner.open = Some(open);
    }
}

/// What an event holds in memory while it waits.
fn size(event: &Event) -> usize {
    EVENT_BYTES
        + match event {
            Event::Video(video) => video.data.len(),
            Event::Audio(audio) => audio.data.len(),
            Event::Started(_) | Event::Added(_) | Event::Cut(_) | Event::PartEnd(_) => 0,
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
