//! The home of a session: its timeline, its log, and the packaging of the source rendition and of audio.
//!
//! A home outlives its publishers: within the reconnect window the next one goes on in the same session. Calls are
//! short and made straight from the connection, so a part is out with the last byte of its last frame.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::captions::{self, Channels};
use headwater_media::{
    AccessUnit, AudioConfig, AudioFrame, AvcConfig, Cut, Epoch, Init, Instant, MediaSequence, Part, PartPayload,
    RenditionName, SessionId, StreamName, Turn, WallTime,
};
use headwater_router::log::Item;
use headwater_router::{
    AudioGear, Gear, Log, PublisherInfo, PutOutcome, Rendition, RenditionKind, Session, SessionState, Source, State,
    StreamLog,
};
use headwater_segmenter::timeline::{Config, Started};
use headwater_segmenter::{AudioPackager, Event, Refusal, Timeline, VideoPackager};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::rate::RateMeter;
use crate::{Settings, audio, fallback};

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
    /// The gears, once the session's constants are known.
    wanted: watch::Sender<Option<Wanted>>,
    over: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    timeline: Timeline,
    /// Events that wait for their number to be reserved.
    held: VecDeque<Event>,
    reserved: MediaSequence,
    publisher: Option<PublisherInfo>,
    source: Option<Source>,
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

/// What there is once the first sample is stamped.
#[derive(Debug)]
struct Open {
    log: Arc<StreamLog>,
    video: Option<Packaged<VideoPackager>>,
    /// Audio that players take as it is.
    audio: Option<Packaged<AudioPackager>>,
    /// What the session's audio was when it began.
    audio_config: Option<Arc<AudioConfig>>,
    /// Why the source rendition is off, if it is.
    source_off: Option<Arc<str>>,
    /// Caption channels that have had data.
    captions: Channels,
}

#[derive(Debug)]
struct Packaged<P> {
    name: RenditionName,
    packager: P,
    turn: Turn,
    init: Option<Arc<Init>>,
    rate: RateMeter,
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
                reserved: MediaSequence(0),
                publisher: None,
                source: None,
                open: None,
            }),
            media: watch::Sender::new(0),
            epoch: watch::Sender::new(Epoch(0)),
            kicked: watch::Sender::new(Epoch(0)),
            reserve: watch::Sender::new(MediaSequence(0)),
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

    /// Counts the media that came in.
    pub(crate) fn media(&self) -> watch::Receiver<u64> {
        self.media.subscribe()
    }

    /// Up to where numbers should be reserved, now and later.
    pub(crate) fn reserve(&self) -> watch::Receiver<MediaSequence> {
        self.reserve.subscribe()
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

    /// Whether a publisher is there.
    pub(crate) fn has_publisher(&self) -> bool {
        self.inner().publisher.is_some()
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
        inner.publisher = Some(info.clone());
        inner.source = None;
        if let Some(open) = &mut inner.open {
            open.log.raise_epoch(epoch);
            open.log.set_publisher(Some(info));
            open.give_turns();
        }
        drop(inner);
        self.epoch.send_replace(epoch);
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
        if let Some(open) = &inner.open {
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

    /// Numbers below `reserved` are acknowledged.
    pub(crate) fn acknowledge(&self, reserved: MediaSequence) {
        let mut inner = self.inner();
        inner.reserved = inner.reserved.max(reserved);
        let epoch = *self.epoch.borrow();
        self.flush(&mut inner, epoch);
    }

    pub(crate) fn video_config(
        &self,
        epoch: Epoch,
        config: Arc<AvcConfig>,
        bitrate_kbps: Option<u32>,
    ) -> Result<(), HoldLost> {
        let mut inner = self.hold(epoch)?;
        let (width, height) = config.parsed.display_size();
        let source = Source { width, height, bitrate_kbps };
        inner.source = Some(source);
        inner.timeline.set_source_may_be_off(!self.settings.ladder.gears.is_empty());
        inner.timeline.set_video_config(config);
        Ok(())
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
        drop(inner);
        self.media.send_modify(|count| *count += 1);
        Ok(())
    }

    pub(crate) fn audio(&self, epoch: Epoch, now: Instant, frame: AudioFrame) -> Result<(), HoldLost> {
        let mut inner = self.hold(epoch)?;
        inner.timeline.handle_audio(now, frame);
        self.flush(&mut inner, epoch);
        drop(inner);
        self.media.send_modify(|count| *count += 1);
        Ok(())
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

    /// Moves what the timeline decided into the log, as far as numbers are reserved.
    fn flush(&self, inner: &mut Inner, epoch: Epoch) {
        while let Some(event) = inner.timeline.poll_event() {
            inner.held.push_back(event);
        }
        while let Some(event) = inner.held.pop_front() {
            if let Event::Cut(cut) = &event
                && cut.msn >= inner.reserved
            {
                self.reserve.send_replace(MediaSequence(cut.msn.0 + 2));
                inner.held.push_front(event);
                return;
            }
            self.append(inner, epoch, event);
        }
    }

    fn append(&self, inner: &mut Inner, epoch: Epoch, event: Event) {
        if let Event::Started(started) = event {
            return self.open(inner, epoch, &started);
        }
        let Some(open) = &mut inner.open else { return };
        let item = match event {
            Event::Started(_) => return,
            Event::Cut(cut) => {
                self.reserve.send_replace(MediaSequence(cut.msn.0 + 2));
                self.log_source_state(open, &cut);
                Item::Cut(cut)
            }
            Event::Video(video) => {
                self.metrics.stamped(video.received);
                open.notice_captions(&video.data);
                if let Some(source) = &mut open.video {
                    source.packager.push(video.clone());
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
            if let Some(track) = &mut open.audio {
                track.packager.end_part(end, &open.log.session().grid);
            }
        }
        if let Some(track) = &mut open.audio {
            while let Some(part) = track.packager.poll_part() {
                track.put(&open.log, part, &self.metrics);
            }
        }
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

    /// The first sample is about to be stamped: the session's constants are known.
    fn open(&self, inner: &mut Inner, epoch: Epoch, started: &Started) {
        let gears = match (&started.video, inner.source) {
            (Some(_), Some(source)) => self.settings.ladder.plan(source),
            _ => Vec::new(),
        };
        let fallback = inner.source.filter(|_| started.video.is_some() && !self.settings.ladder.gears.is_empty());
        let fallback = fallback.and_then(|source| fallback::gear(source, &gears));
        let audio_gears = audio::gears(started.audio.as_deref(), gears.iter().chain(&fallback));
        let renditions = renditions(started, inner.source, &gears, fallback.as_ref(), &audio_gears);
        let packages_audio = started.audio.as_ref().is_some_and(|audio| audio.passes_through());
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
        let mut open = Open {
            video: started
                .video
                .is_some()
                .then(|| Packaged::new(RenditionName::source(), VideoPackager::new(started.grid, None))),
            audio: packages_audio.then(|| Packaged::new(RenditionName::audio(), AudioPackager::new())),
            audio_config: started.audio.clone(),
            source_off: None,
            captions: Channels::default(),
            log,
        };
        open.give_turns();
        self.wanted.send_replace(Some(Wanted {
            log: open.log.clone(),
            gears: gears.into(),
            standby: fallback,
            audio: audio_gears.into(),
        }));
        inner.open = Some(open);
    }
}

impl Open {
    fn give_turns(&mut self) {
        if let Some(source) = &mut self.video {
            source.turn = self.log.give_turn(&source.name).unwrap_or_default();
        }
        if let Some(track) = &mut self.audio {
            track.turn = self.log.give_turn(&track.name).unwrap_or_default();
        }
    }

    /// Channels of captions are announced when they have data for the first time.
    fn notice_captions(&mut self, access_unit: &[u8]) {
        let channels = self.captions.union(Channels::of(&captions::read(access_unit)));
        if channels != self.captions {
            self.captions = channels;
            self.log.announce_captions(channels);
        }
    }

    /// The audio was packaged as it came, and now comes as no player takes it: from here on, where the timeline has put
    /// a discontinuity, it is encoded, at the rate that it had. It stays so: players had to change once.
    fn audio_to_encode(&mut self, config: &AudioConfig) -> Option<AudioGear> {
        let gear = audio::replacement(self.audio_config.as_deref()?, config)?;
        self.audio.take()?;
        self.log.give_audio_to_worker(gear.clone());
        let session = self.log.session();
        info!(stream = %session.stream, session = %session.id, source = %config, "audio is encoded from here on");
        Some(gear)
    }
}

impl<P> Packaged<P> {
    fn new(name: RenditionName, packager: P) -> Self {
        Self { name, packager, turn: Turn::default(), init: None, rate: RateMeter::default() }
    }

    fn put(&mut self, log: &StreamLog, part: Part, metrics: &Metrics) {
        let duration = part.duration();
        let msn = part.msn;
        let PartPayload::Media { init, data, received, .. } = &part.payload else {
            log.put_part(&self.name, self.turn, part);
            return;
        };
        let (init, bytes, received) = (init.clone(), data.len(), *received);
        if log.put_part(&self.name, self.turn, part) == PutOutcome::Dropped {
            return;
        }
        metrics.part(&self.name, received);
        let changed = self.rate.add(msn, bytes, duration);
        if changed || self.init.as_ref() != Some(&init) {
            self.init = Some(init.clone());
            let (average, peak) = (self.rate.average_bps(), self.rate.peak_bps());
            log.describe(&self.name, |rendition| {
                rendition.init = Some(init);
                rendition.average_bps = rendition.average_bps.max(average);
                rendition.peak_bps = rendition.peak_bps.max(peak);
            });
        }
    }
}

/// The source first, then gears from large to small, then audio.
fn renditions(
    started: &Started,
    source: Option<Source>,
    gears: &[Gear],
    fallback: Option<&Gear>,
    audio_gears: &[AudioGear],
) -> Arc<[Rendition]> {
    let td = started.grid.target_duration;
    let rate = started.grid.frame_rate;
    let mut all = Vec::new();
    if started.video.is_some() {
        let average_bps = source.and_then(|source| source.bitrate_kbps).unwrap_or(0).saturating_mul(1000);
        all.push(Rendition {
            name: RenditionName::source(),
            kind: RenditionKind::Source,
            init: None,
            begun: false,
            average_bps,
            peak_bps: average_bps,
            frame_rate: Some(rate),
            channels: None,
            standby: false,
            off: None,
        });
    }
    for gear in fallback.into_iter().chain(gears) {
        all.push(Rendition {
            name: gear.name.clone(),
            kind: RenditionKind::Gear(gear.clone()),
            init: None,
            begun: false,
            average_bps: gear.average_bps(),
            peak_bps: gear.peak_bps(td),
            frame_rate: Some(gear.frame_rate(rate)),
            channels: None,
            standby: fallback == Some(gear),
            off: None,
        });
    }
    all.extend(audio::renditions(started.audio.as_deref(), audio_gears));
    all.into()
}

#[cfg(test)]
mod tests {
    use headwater_media::FrameRate;
    use headwater_router::Ladder;
    use headwater_segmenter::{Grid, Profile};

    use super::*;

    #[test]
    fn gears_say_their_own_frame_rate_and_what_their_buffer_adds_to_the_peak() {
        let sixty = FrameRate::snap(60.0).unwrap();
        let config = Started {
            grid: Grid::new(Profile::Low, sixty),
            video: Some(Arc::new(AvcConfig::parse(AVC_CONFIG).unwrap())),
            audio: None,
        };
        let source = Source { width: 1920, height: 1080, bitrate_kbps: Some(20_000) };
        let all = renditions(&config, Some(source), &Ladder::bipbop().plan(source), None, &[]);
        let told = |name: &str| {
            let found = all.iter().find(|rendition| rendition.name.as_str() == name).unwrap();
            (found.frame_rate, found.average_bps, found.peak_bps)
        };
        assert_eq!(told("source").0, Some(sixty));
        assert_eq!(told("540p-2000"), (Some(sixty), 2_000_000, 2_667_000));
        assert_eq!(told("432p-1100"), (Some(FrameRate::FPS_30), 1_100_000, 1_467_000));
        assert_eq!(told("234p-145"), (Some(FrameRate::FPS_30), 112_000, 130_000));
    }

    /// x264's, 320x180.
    const AVC_CONFIG: &[u8] = &[
        1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 24, 0x67, 0x64, 0x00, 0x0D, 0xAC, 0xB4, 0x0A, 0x0C, 0xFC, 0xF8, 0x08, 0x80,
        0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x1E, 0x47, 0x8A, 0x15, 0x50, 1, 0, 4, 0x68, 0xEB, 0x8F, 0x20,
    ];
}
