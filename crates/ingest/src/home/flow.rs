//! From the timeline into the log: what may leave, and what is packaged on the way.

use std::sync::Arc;

use headwater_media::captions::Channels;
use headwater_media::{AudioConfig, Cut, Instant, RenditionName, Timestamp};
use headwater_router::log::Item;
use headwater_router::{Gear, Session, SessionState, Source, State};
use headwater_segmenter::Event;
use headwater_segmenter::timeline::{Added, Started};
use tracing::{info, warn};

use super::open::Open;
use super::{Home, Inner, Wanted};
use crate::renditions::renditions;
use crate::{audio, fallback};

/// What an event without payload is counted as, so that nothing is free.
const EVENT_BYTES: usize = 128;

impl Home {
    /// Moves what the timeline decided into the log, as far as numbers are reserved and discontinuities recorded, and what was
    /// before is there.
    pub(super) fn flush(&self, inner: &mut Inner, now: Instant) {
        while let Some(event) = inner.timeline.poll_event() {
            inner.held_bytes += size(&event);
            inner.held.push_back(event);
        }
        while inner.fetching.is_none()
            && let Some(event) = inner.held.pop_front()
        {
            if let Event::Cut(cut) = &event {
                self.announce(inner, cut, now);
                if !inner.may_leave(cut) {
                    inner.held.push_front(event);
                    return;
                }
            }
            inner.held_bytes -= size(&event);
            self.append(inner, now, event);
        }
    }

    /// Nothing more is taken in this epoch: what still belongs before the first thing that has to wait goes into the log, the
    /// rest is dropped, and what is packaged is put. Answers with where all ends.
    pub(super) fn close(&self, inner: &mut Inner, now: Instant) -> Timestamp {
        inner.timeline.finish();
        self.flush(inner, now);
        let waits =
            inner.held.iter().find_map(|event| if let Event::Cut(cut) = event { Some(cut.clone()) } else { None });
        let ends = inner.end(waits.as_deref());
        if let Some(cut) = waits {
            // The end of the part before it comes behind it.
            for event in std::mem::take(&mut inner.held) {
                let belongs = match &event {
                    Event::PartEnd(end) => end.msn < cut.msn,
                    Event::Audio(audio) => audio.start < cut.start,
                    Event::Started(_) | Event::Added(_) | Event::Cut(_) | Event::Video(_) => false,
                };
                if belongs {
                    self.append(inner, now, event);
                }
            }
            inner.cuts.retain(|known| known.msn < cut.msn);
        }
        inner.held.clear();
        inner.held_bytes = 0;
        if let Some(open) = &mut inner.open {
            if let Some(track) = &mut open.audio {
                track.packager.finish();
            }
            open.put_audio(&self.deps.metrics);
        }
        ends
    }

    fn append(&self, inner: &mut Inner, now: Instant, event: Event) {
        match event {
            Event::Started(started) => return self.open(inner, &started),
            Event::Added(added) => return self.add(inner, now, &added),
            _ => {}
        }
        let Some(epoch) = inner.epoch() else { return };
        let Inner { open, lockstep, blocks, stamped, .. } = inner;
        let Some(open) = open else { return };
        let item = match event {
            Event::Started(_) | Event::Added(_) => return,
            Event::Cut(cut) => {
                self.log_source_state(open, &cut);
                *stamped = false;
                Item::Cut(cut)
            }
            Event::Video(mut video) => {
                video.data = blocks.video.keep(&video.data);
                self.deps.metrics.stamped(video.received);
                *stamped = true;
                open.notice_captions(&video);
                if let Some(source) = &mut open.video {
                    source.packager.push(video.clone());
                }
                if !open.tracks.is_empty() {
                    lockstep.place(&video, open.log.session().grid.slot_ticks);
                }
                Item::Video(video)
            }
            Event::Audio(mut audio) => {
                audio.data = blocks.audio.keep(&audio.data);
                *stamped = true;
                if let Some(gear) = open.audio_to_encode(&audio.config) {
                    self.wanted.send_modify(|wanted| {
                        if let Some(wanted) = wanted {
                            wanted.audio = wanted.audio.iter().cloned().chain([gear]).collect();
                        }
                    });
                }
                open.compare_sound(&audio.config);
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
                source.put(&open.log, part, &self.deps.metrics);
            }
            lockstep.end_part(end);
            if let Some(track) = &mut open.audio {
                track.packager.end_part(end, &open.log.session().grid);
            }
        }
        open.put_tracks(lockstep, &self.deps.metrics);
        open.put_audio(&self.deps.metrics);
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
    fn add(&self, inner: &mut Inner, now: Instant, added: &Added) {
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
        self.record(inner, now);
    }

    /// The first sample is about to be stamped: the session's constants are known.
    fn open(&self, inner: &mut Inner, started: &Started) {
        let tracks: Vec<u8> = inner.lockstep.tracks().filter(|_| started.video.is_some()).collect();
        // Several tracks are the ladder themselves.
        let encodes = started.video.is_some() && tracks.is_empty();
        let (gears, fallback) = self.plan(inner.source.filter(|_| encodes));
        let audio_gears = audio::gears(started.audio.as_deref(), gears.iter().chain(&fallback));
        let packaged = started.audio.as_deref().and_then(|config| audio::packaged(config, self.settings.source_audio));
        let audio_renditions = audio::renditions(started.audio.as_deref(), packaged.as_ref(), &audio_gears);
        let renditions = renditions(started, inner.source, &tracks, &gears, fallback.as_ref(), audio_renditions);
        let since = inner.publisher.as_ref().map(|publisher| publisher.since).unwrap_or_default();
        let log = self.deps.log.open(SessionState {
            session: Arc::new(Session {
                stream: self.stream.clone(),
                id: self.session,
                grid: started.grid,
                window_segments: self.settings.window_segments,
                since,
            }),
            epoch: inner.epoch().unwrap_or_default(),
            state: State::Live,
            publisher: inner.publisher.clone().map(Arc::new),
            renditions,
            captions: Channels::default(),
        });
        log.hold_by(self.lease.clone(), self.deps.clock.clone());
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
