//! Codec configuration: what a decoder must know before the first sample.

mod aac;
mod access_unit;
mod audio;
mod avc;
mod bits;
mod mp3;
mod sps;

pub use aac::AacConfig;
pub use access_unit::NormalisedUnit;
pub use audio::AudioConfig;
pub use avc::AvcConfig;
pub use mp3::Mp3Config;
pub use sps::{Colour, Sps, VideoTiming};

use std::sync::Arc;

/// Configuration of a track.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CodecConfig {
    /// H.264.
    Avc(Arc<AvcConfig>),
    /// AAC.
    Aac(Arc<AacConfig>),
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
