//! Source samples. A configuration is told once, before the samples that it decodes.

use std::sync::Arc;

use headwater_media::{
    AudioConfig, Cut, Instant, PartEnd, SentTimes, StampedAudio, StampedVideo, Timestamp, VideoConfig, VideoSlot,
};
use headwater_router::Item;

use super::codec::samples;
use super::media::{age, received};
use super::{Malformed, msn, required, slot, ticks, timescale, value, wire};
use wire::sample::Item as Wire;

/// Frames after which pictures are right.
const RECOVERY_MAX: &str = "at most 65535 pictures";
/// Slots between decoding and showing a picture, either way.
const COMPOSITION_SLOTS_MAX: i32 = 1 << 20;

/// One end of a series of samples, which remembers what it has told.
#[derive(Debug, Default)]
pub(in super::super) struct WriteSamples {
    video: Option<Arc<VideoConfig>>,
    audio: Option<Arc<AudioConfig>>,
}

impl WriteSamples {
    /// Appends `item` as it is told at `now`.
    pub(in super::super) fn write(&mut self, item: &Item, now: Instant, out: &mut Vec<wire::Sample>) {
        let item = match item {
            Item::Cut(cut) => Wire::Cut((&**cut).into()),
            Item::PartEnd(end) => Wire::PartEnd(end.into()),
            Item::Video(video) => {
                if self.video.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &video.config)) {
                    self.video = Some(video.config.clone());
                    out.push(Wire::VideoConfig((&*video.config).into()).into());
                }
                Wire::Video(wire::Video {
                    msn: video.msn.0,
                    slot: video.slot.0,
                    composition_slots: video.composition_slots,
                    idr: video.idr,
                    recovery: video.recovery.map(u32::from),
                    data: video.data.clone(),
                    sent_dts_millis: video.sent.dts_millis,
                    sent_composition_millis: video.sent.composition_millis,
                    age_micros: age(video.received, now),
                })
            }
            Item::Audio(audio) => {
                if self.audio.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &audio.config)) {
                    self.audio = Some(audio.config.clone());
                    out.push(Wire::AudioConfig((&*audio.config).into()).into());
                }
                Wire::Audio(wire::Audio {
                    start: audio.start.ticks,
                    timescale: audio.start.timescale.units_per_second(),
                    length_samples: audio.length_samples,
                    data: audio.data.clone(),
                    age_micros: age(audio.received, now),
                })
            }
        };
        out.push(item.into());
    }
}

impl From<Wire> for wire::Sample {
    fn from(item: Wire) -> Self {
        Self { item: Some(item) }
    }
}

/// What a [`wire::Sample`] says.
#[derive(Debug)]
pub(in super::super) enum Sampled {
    /// An item of the ring.
    Item(Item),
    /// The reader was moved on.
    MovedOn,
    /// It belongs to what follows.
    Nothing,
}

/// The other end.
#[derive(Debug, Default)]
pub(in super::super) struct ReadSamples {
    video: Option<Arc<VideoConfig>>,
    audio: Option<Arc<AudioConfig>>,
}

impl ReadSamples {
    /// What `sample` says, which came in at `now`.
    pub(in super::super) fn read(&mut self, sample: wire::Sample, now: Instant) -> Result<Sampled, Malformed> {
        Ok(Sampled::Item(match required(sample.item, "sample")? {
            Wire::Cut(cut) => Item::Cut(Arc::new(Cut::try_from(cut)?)),
            Wire::PartEnd(end) => Item::PartEnd(PartEnd::try_from(end)?),
            Wire::MovedOn(_) => return Ok(Sampled::MovedOn),
            Wire::VideoConfig(config) => {
                self.video = Some(Arc::new(config.try_into()?));
                return Ok(Sampled::Nothing);
            }
            Wire::AudioConfig(config) => {
                self.audio = Some(Arc::new(config.try_into()?));
                return Ok(Sampled::Nothing);
            }
            Wire::Video(video) => Item::Video(self.picture(video, now)?),
            Wire::Audio(audio) => Item::Audio(StampedAudio {
                start: Timestamp::new(ticks(audio.start, "start of a frame")?, timescale(audio.timescale)?),
                length_samples: samples(audio.length_samples)?,
                data: audio.data,
                config: required(self.audio.clone(), "configuration of sound")?,
                received: received(audio.age_micros, now),
            }),
        }))
    }

    fn picture(&self, video: wire::Video, now: Instant) -> Result<StampedVideo, Malformed> {
        let recovery = match video.recovery.map(u16::try_from).transpose() {
            Ok(recovery) => recovery,
            Err(_) => return value("recovery", video.recovery.unwrap_or_default(), RECOVERY_MAX),
        };
        if video.composition_slots.unsigned_abs() > COMPOSITION_SLOTS_MAX.unsigned_abs() {
            return value("composition offset", video.composition_slots, "at most 2^20 slots either way");
        }
        Ok(StampedVideo {
            msn: msn(video.msn)?,
            slot: VideoSlot(slot(video.slot, "slot")?),
            composition_slots: video.composition_slots,
            idr: video.idr,
            recovery,
            data: video.data,
            config: required(self.video.clone(), "configuration of pictures")?,
            sent: SentTimes { dts_millis: video.sent_dts_millis, composition_millis: video.sent_composition_millis },
            received: received(video.age_micros, now),
        })
    }
}
