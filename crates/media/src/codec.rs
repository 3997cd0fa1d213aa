//! Codec configuration: what a decoder must know before the first sample.

mod aac;
mod ac3;
mod access_unit;
mod adts;
mod audio;
mod av1;
mod avc;
pub(crate) mod bits;
mod colour;
mod flac;
mod hevc;
mod hevc_sps;
mod input;
mod mp3;
mod opus;
mod record;
pub(crate) mod sei;
mod sps;
mod video;
mod vp9;

pub use aac::AacConfig;
pub use ac3::Ac3Config;
pub use access_unit::NormalisedUnit;
pub use adts::AdtsFrame;
pub use audio::AudioConfig;
pub use av1::{Av1Config, Av1Sequence};
pub use avc::AvcConfig;
pub use colour::Colour;
pub use flac::FlacConfig;
pub use hevc::HevcConfig;
pub use hevc_sps::HevcSps;
pub use input::VideoInput;
pub use mp3::Mp3Config;
pub use opus::{OpusConfig, OpusMapping};
pub use sps::{Sps, VideoTiming};
pub use video::{VideoCoding, VideoConfig};
pub use vp9::{Vp9Config, Vp9Record};

use std::sync::Arc;

/// Configuration of a track.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CodecConfig {
    /// Any video.
    Video(Arc<VideoConfig>),
    /// Any sound.
    Audio(Arc<AudioConfig>),
}

/// Why a configuration record cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The record ends inside a field.
    #[error("{record} ends after {length} bytes, inside its {field}")]
    Truncated {
        /// Which record.
        record: &'static str,
        /// The field that it ends in.
        field: &'static str,
        /// Bytes that were there.
        length: usize,
    },
    /// A field has a value that the standard does not know or that we do not support.
    #[error("{record}: {field} is {found}, expected {expected}")]
    Unsupported {
        /// Which record.
        record: &'static str,
        /// Which field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What would do.
        expected: &'static str,
    },
}
