//! A recorded file, as a publisher would send it.

use std::path::Path;
use std::sync::Arc;

use headwater_amf0::Limits;
use headwater_flv::{FileReader, ScriptData, TagType, VideoCodec, VideoContent, VideoTag};
use headwater_media::{AccessUnit, FrameRate, VideoCoding, VideoConfig, VideoInput};
use headwater_router::Source;

use crate::BenchError;

/// The pictures of an FLV file.
#[derive(Clone, Debug)]
pub struct Clip {
    /// What decodes them.
    pub config: Arc<VideoConfig>,
    /// In decoding order.
    pub units: Vec<AccessUnit>,
    /// Pictures a second.
    pub frame_rate: FrameRate,
}

impl Clip {
    /// Reads a file to its end. Sound is left out.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let bytes = std::fs::read(path).map_err(|error| BenchError::File { path: path.into(), error })?;
        let mut reader = FileReader::new();
        reader.handle_input(&bytes);
        let mut input = VideoInput::new(VideoCoding::Avc);
        let (mut units, mut said) = (Vec::new(), None);
        while let Some(tag) = reader.poll_tag().map_err(|error| BenchError::NotFlv { path: path.into(), error })? {
            match tag.kind {
                TagType::Script => {
                    if let ScriptData::Metadata(metadata) = ScriptData::read(&tag.body, Limits::default()) {
                        said = said.or(metadata.frame_rate);
                    }
                }
                TagType::Video => {
                    let codec = |error| BenchError::Codec { path: path.into(), error };
                    let picture = |error| BenchError::Picture { path: path.into(), error };
                    let packets = VideoTag::read(tag.body.clone()).map_err(picture)?.packets;
                    for packet in packets.into_iter().filter(|packet| packet.codec == VideoCodec::Avc) {
                        match packet.content {
                            VideoContent::Config(record) => input.set_record(record).map_err(codec)?,
                            VideoContent::Frame { composition_millis, data } => {
                                let Some(unit) = input.access_unit(&data).map_err(codec)? else { continue };
                                units.push(AccessUnit {
                                    data: unit.data,
                                    idr: unit.idr,
                                    recovery: unit.recovery,
                                    dts_millis: tag.timestamp,
                                    composition_millis,
                                });
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        let config = input.config().cloned();
        let (Some(config), Some(frame_rate)) = (config, said.or_else(|| measured(&units)).and_then(FrameRate::snap))
        else {
            return Err(BenchError::NoPictures { path: path.into() });
        };
        Ok(Self { config, units, frame_rate })
    }

    /// How long it plays.
    pub fn seconds(&self) -> f64 {
        count(self.units.len()) / self.frame_rate.frames_per_second()
    }

    /// Size and rate, for planning a ladder.
    pub fn source(&self) -> Source {
        let (width, height) = self.config.display_size();
        let bytes: usize = self.units.iter().map(|unit| unit.data.len()).sum();
        let kbps = count(bytes) * 8.0 / 1000.0 / self.seconds();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of a file in memory")]
        let kbps = kbps as u32;
        Source { width, height, bitrate_kbps: Some(kbps) }
    }
}

/// Pictures a second by their times.
fn measured(units: &[AccessUnit]) -> Option<f64> {
    let (first, last) = (units.first()?, units.last()?);
    let millis = last.dts_millis.wrapping_sub(first.dts_millis);
    (millis > 0).then(|| count(units.len() - 1) * 1000.0 / f64::from(millis))
}

/// A number that is far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "files have fewer bytes")]
pub(crate) const fn count(number: usize) -> f64 {
    number as f64
}
