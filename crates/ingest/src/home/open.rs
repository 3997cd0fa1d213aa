//! What a home packages of its session: the source rendition, other tracks that are the ladder, and sound as it comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_media::captions::{self, Channels};
use headwater_media::{AudioConfig, Init, Part, PartPayload, RenditionName, StampedVideo, Turn};
use headwater_router::{AudioGear, PutOutcome, RenditionKind, StreamLog};
use headwater_segmenter::{AudioPackager, Grid, VideoPackager};
use tracing::{info, warn};

use crate::audio;
use crate::lockstep::{Laid, Lockstep};
use crate::metrics::Metrics;
use crate::rate::RateMeter;
use crate::renditions::track_number;

/// Why sound as it came is off.
const OTHER_SOUND: &str = "the publisher's sound is no longer what this rendition began with";

/// What there is once the first sample is stamped.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) log: Arc<StreamLog>,
    pub(super) video: Option<Packaged<VideoPackager>>,
    /// The publisher's other tracks, where they are the ladder.
    pub(super) tracks: BTreeMap<u8, Packaged<VideoPackager>>,
    /// Audio as it comes, for all players or for those that take it.
    pub(super) audio: Option<Packaged<AudioPackager>>,
    /// What the session's audio was when it began.
    pub(super) audio_config: Option<Arc<AudioConfig>>,
    /// Sound comes otherwise than the rendition that has it as it came began with.
    other_sound: bool,
    /// Why the source rendition is off, if it is.
    pub(super) source_off: Option<Arc<str>>,
    /// Caption channels that have had data.
    pub(super) captions: Channels,
}

#[derive(Debug)]
pub(super) struct Packaged<P> {
    pub(super) name: RenditionName,
    pub(super) packager: P,
    pub(super) turn: Turn,
    pub(super) init: Option<Arc<Init>>,
    pub(super) rate: RateMeter,
}

impl Open {
    /// Packages what the session's renditions say that the home packages.
    pub(super) fn new(log: Arc<StreamLog>, grid: Grid, audio_config: Option<Arc<AudioConfig>>) -> Self {
        let (captions, tracks) = (Channels::default(), BTreeMap::new());
        let (other_sound, source_off) = (false, None);
        let mut open = Self { video: None, tracks, audio: None, audio_config, other_sound, source_off, captions, log };
        open.package(grid);
        open
    }

    /// Begins to package what is not packaged yet and should be.
    pub(super) fn package(&mut self, grid: Grid) {
        let state = self.log.state().borrow().clone();
        let names = |kind: RenditionKind| {
            let of = state.renditions.iter().filter(move |rendition| rendition.kind == kind);
            of.map(|rendition| rendition.name.clone())
        };
        let video = |name| Packaged::new(name, VideoPackager::new(grid, None));
        if self.video.is_none() {
            self.video = names(RenditionKind::Source).find(|name| *name == RenditionName::source()).map(video);
        }
        for name in names(RenditionKind::Source) {
            if let Some(number) = track_number(&name) {
                self.tracks.entry(number).or_insert_with(|| video(name));
            }
        }
        if self.audio.is_none() {
            let name = names(RenditionKind::Audio).next();
            self.audio = name.map(|name| Packaged::new(name.clone(), self.audio_packager(&name)));
        }
    }

    /// Another home's hold is over, or this one's: nothing of what it had begun is packaged any more.
    pub(super) fn begin_anew(&mut self) {
        let grid = self.log.session().grid;
        for video in self.video.iter_mut().chain(self.tracks.values_mut()) {
            video.packager = VideoPackager::new(grid, None);
        }
        let packager = self.audio.as_ref().map(|track| self.audio_packager(&track.name));
        if let Some((track, packager)) = self.audio.as_mut().zip(packager) {
            track.packager = packager;
        }
    }

    fn audio_packager(&self, name: &RenditionName) -> AudioPackager {
        match &self.audio_config {
            Some(config) if *name == RenditionName::audio_source() => AudioPackager::of_source(config.clone()),
            _ => AudioPackager::new(),
        }
    }

    pub(super) fn give_turns(&mut self) {
        for video in self.video.iter_mut().chain(self.tracks.values_mut()) {
            video.turn = self.log.give_turn(&video.name).unwrap_or_default();
        }
        if let Some(track) = &mut self.audio {
            track.turn = self.log.give_turn(&track.name).unwrap_or_default();
        }
    }

    /// Packages what other tracks have, as far as the first one has gone.
    pub(super) fn put_tracks(&mut self, lockstep: &mut Lockstep, metrics: &Metrics) {
        while let Some((number, laid)) = lockstep.poll() {
            let Some(track) = self.tracks.get_mut(&number) else { continue };
            match laid {
                Laid::Video(video) => track.packager.push(video),
                Laid::PartEnd(end) => {
                    let part = track.packager.end_part(&end);
                    track.put(&self.log, part, metrics);
                }
                Laid::Off(reason) => {
                    let session = self.log.session();
                    warn!(stream = %session.stream, session = %session.id, rendition = %track.name, "{reason}");
                    self.log.switch(&track.name, track.turn, Some(reason.into()));
                }
                Laid::On => self.log.switch(&track.name, track.turn, None),
            }
        }
    }

    /// Sound comes as `config` says. What is offered as it came stays what it was when it began, and has gaps while other
    /// sound comes: then nobody should begin to play it.
    pub(super) fn compare_sound(&mut self, config: &Arc<AudioConfig>) {
        let (Some(track), Some(own)) = (&self.audio, &self.audio_config) else { return };
        // Nearly always it is the same.
        let other = own != config && track.name == RenditionName::audio_source();
        if other == self.other_sound {
            return;
        }
        self.other_sound = other;
        if other {
            let session = self.log.session();
            warn!(stream = %session.stream, session = %session.id, rendition = %track.name, now = %config, "{OTHER_SOUND}");
        }
        self.log.switch(&track.name, track.turn, other.then(|| OTHER_SOUND.into()));
    }

    /// Puts the parts of audio that are complete.
    pub(super) fn put_audio(&mut self, metrics: &Metrics) {
        let Some(track) = &mut self.audio else { return };
        while let Some(part) = track.packager.poll_part() {
            track.put(&self.log, part, metrics);
        }
    }

    /// Channels of captions are announced when they have data for the first time.
    pub(super) fn notice_captions(&mut self, video: &StampedVideo) {
        let triplets = captions::read(video.config.coding(), &video.data);
        let channels = self.captions.union(Channels::of(&triplets));
        if channels != self.captions {
            self.captions = channels;
            self.log.announce_captions(channels);
        }
    }

    /// The audio was packaged as it came, and now comes as no player takes it: from here on, where the timeline has put
    /// a discontinuity, it is encoded, at the rate that it had. It stays so: players had to change once.
    pub(super) fn audio_to_encode(&mut self, config: &AudioConfig) -> Option<AudioGear> {
        let gear = audio::replacement(self.audio_config.as_deref()?, config)?;
        self.audio.take_if(|track| track.name == RenditionName::audio())?;
        self.log.give_audio_to_worker(gear.clone());
        let session = self.log.session();
        info!(stream = %session.stream, session = %session.id, source = %config, "audio is encoded from here on");
        Some(gear)
    }
}

impl<P> Packaged<P> {
    pub(super) fn new(name: RenditionName, packager: P) -> Self {
        Self { name, packager, turn: Turn::default(), init: None, rate: RateMeter::default() }
    }

    pub(super) fn put(&mut self, log: &StreamLog, part: Part, metrics: &Metrics) {
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
