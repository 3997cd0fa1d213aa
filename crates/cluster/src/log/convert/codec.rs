//! What decoders must know.

use headwater_media::{
    AacConfig, Ac3Config, AudioConfig, Av1Config, AvcConfig, CodecError, Colour, FlacConfig, HevcConfig, Mp3Config,
    OpusConfig, VideoCoding, VideoConfig, Vp9Config,
};

use super::media::size;
use super::{Malformed, byte, required, value, wire};

/// An Opus packet of 20 ms of silence: any packet will do where the length is known.
const SILENCE: &[u8] = &[0xFC, 0xFF, 0xFE];
/// Samples per second, and samples of a frame.
const SAMPLES_MAX: u32 = 1 << 20;

impl From<&VideoConfig> for wire::VideoConfig {
    fn from(config: &VideoConfig) -> Self {
        let coding = match config.coding() {
            VideoCoding::Avc => wire::VideoCoding::Avc,
            VideoCoding::Hevc => wire::VideoCoding::Hevc,
            VideoCoding::Av1 => wire::VideoCoding::Av1,
            VideoCoding::Vp9 => wire::VideoCoding::Vp9,
        };
        let (width, height) = config.size();
        let colour = config.colour().map(|Colour { primaries, transfer, matrix, full_range }| wire::Colour {
            primaries: primaries.into(),
            transfer: transfer.into(),
            matrix: matrix.into(),
            full_range,
        });
        Self { coding: coding.into(), record: config.record(), size: Some(wire::Size { width, height }), colour }
    }
}

impl TryFrom<wire::VideoConfig> for VideoConfig {
    type Error = Malformed;

    fn try_from(config: wire::VideoConfig) -> Result<Self, Malformed> {
        let (record, size) = (&config.record, size(required(config.size, "size of pictures")?)?);
        let read = match wire::VideoCoding::try_from(config.coding) {
            Ok(wire::VideoCoding::Avc) => AvcConfig::parse(record).map(Self::Avc),
            Ok(wire::VideoCoding::Hevc) => HevcConfig::parse(record).map(Self::Hevc),
            Ok(wire::VideoCoding::Av1) => match Av1Config::parse(record) {
                Ok(None) => return value("record of AV1", "empty", "a sequence header"),
                Ok(Some(config)) => Ok(Self::Av1(config)),
                Err(error) => Err(error),
            },
            Ok(wire::VideoCoding::Vp9) => Vp9Config::from_record(record, size).map(Self::Vp9),
            Err(unknown) => return value("coding of pictures", unknown, "H.264, HEVC, AV1 or VP9"),
        };
        let mut read = read.or_else(record_of_pictures)?;
        if let Some(colour) = config.colour {
            // What the publisher said beside the record is in it, too.
            read.hint_colour(Colour {
                primaries: byte(colour.primaries, "colour primaries")?,
                transfer: byte(colour.transfer, "transfer characteristics")?,
                matrix: byte(colour.matrix, "matrix coefficients")?,
                full_range: colour.full_range,
            });
        }
        Ok(read)
    }
}

fn record_of_pictures<T>(error: CodecError) -> Result<T, Malformed> {
    value("record of pictures", error, "a configuration record")
}

fn record_of_sound(error: CodecError) -> Malformed {
    let found = error.to_string().chars().take(80).collect();
    Malformed::Value { field: "record of sound", found, expected: "a configuration record" }
}

impl From<&AudioConfig> for wire::AudioConfig {
    fn from(config: &AudioConfig) -> Self {
        use wire::audio_config::Config;
        let config = match config {
            AudioConfig::Aac(aac) => Config::Aac(aac.record.clone()),
            AudioConfig::Mp3(Mp3Config { sample_rate, channels, frame_samples }) => Config::Mp3(wire::Mp3 {
                sample_rate: *sample_rate,
                channels: (*channels).into(),
                frame_samples: *frame_samples,
            }),
            AudioConfig::Opus(opus) => {
                Config::Opus(wire::Opus { head: opus.head().into(), frame_samples: opus.frame_samples })
            }
            AudioConfig::Flac(flac) => Config::Flac(flac.stream_info.clone()),
            AudioConfig::Ac3(ac3) => Config::Ac3(wire::Ac3 {
                enhanced: ac3.enhanced,
                sample_rate: ac3.sample_rate,
                rate_code: ac3.rate_code.into(),
                bitstream_id: ac3.bitstream_id.into(),
                bitstream_mode: ac3.bitstream_mode.into(),
                audio_mode: ac3.audio_mode.into(),
                lfe: ac3.lfe,
                bitrate_kbps: ac3.bitrate_kbps.into(),
                frame_samples: ac3.frame_samples,
                dependent: ac3.dependent,
            }),
        };
        Self { config: Some(config) }
    }
}

impl TryFrom<wire::AudioConfig> for AudioConfig {
    type Error = Malformed;

    fn try_from(config: wire::AudioConfig) -> Result<Self, Malformed> {
        use wire::audio_config::Config;
        Ok(match required(config.config, "configuration of sound")? {
            Config::Aac(record) => Self::Aac(AacConfig::parse(record).map_err(record_of_sound)?),
            Config::Mp3(mp3) => Self::Mp3(Mp3Config {
                sample_rate: samples(mp3.sample_rate)?,
                channels: byte(mp3.channels, "channels")?,
                frame_samples: samples(mp3.frame_samples)?,
            }),
            Config::Opus(opus) => {
                let config = OpusConfig::parse(&opus.head, SILENCE).map_err(record_of_sound)?;
                Self::Opus(OpusConfig { frame_samples: samples(opus.frame_samples)?, ..config })
            }
            Config::Flac(stream_info) => Self::Flac(FlacConfig::parse(&stream_info).map_err(record_of_sound)?),
            Config::Ac3(ac3) => Self::Ac3(Ac3Config {
                enhanced: ac3.enhanced,
                sample_rate: samples(ac3.sample_rate)?,
                rate_code: at_most(ac3.rate_code, 3, "rate code")?,
                bitstream_id: at_most(ac3.bitstream_id, 31, "bitstream id")?,
                bitstream_mode: at_most(ac3.bitstream_mode, 7, "bitstream mode")?,
                audio_mode: at_most(ac3.audio_mode, 7, "audio mode")?,
                lfe: ac3.lfe,
                bitrate_kbps: u16::try_from(ac3.bitrate_kbps)
                    .or_else(|_| value("bitrate", ac3.bitrate_kbps, "at most 65535 kbit/s"))?,
                frame_samples: samples(ac3.frame_samples)?,
                dependent: ac3.dependent,
            }),
        })
    }
}

/// A rate, or the length of a frame.
pub(super) fn samples(found: u32) -> Result<u32, Malformed> {
    if (1..=SAMPLES_MAX).contains(&found) { Ok(found) } else { value("samples", found, "1 to 2^20") }
}

fn at_most(found: u32, most: u8, field: &'static str) -> Result<u8, Malformed> {
    let found = byte(found, field)?;
    if found > most { value(field, found, "a code that fits its field") } else { Ok(found) }
}
