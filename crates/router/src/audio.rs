//! Renditions of sound that a transcoder makes.

use headwater_media::{AudioConfig, RenditionName};

/// Which sound goes with a gear's picture (H-71).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum AudioGroup {
    /// The publisher's own, or 128 kbit/s stereo.
    #[default]
    Main,
    /// 40 kbit/s, so that the smallest variant stays within 192 kbit/s (H-83).
    Low,
}

/// How sound is encoded: always AAC-LC.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AudioGear {
    /// `audio` or `audio-low`.
    pub name: RenditionName,
    /// Samples per second: 44100 or 48000.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Mean rate in kbit/s.
    pub bitrate_kbps: u32,
}

impl AudioGear {
    /// What is made of `source` where players do not take it as it is.
    pub fn main(source: &AudioConfig) -> Self {
        Self { name: RenditionName::audio(), sample_rate: source.output_rate(), channels: 2, bitrate_kbps: 128 }
    }

    /// The low-rate group: stereo or mono, as `source` is.
    pub fn low(source: &AudioConfig) -> Self {
        let channels = if source.is_mono() { 1 } else { 2 };
        Self { name: RenditionName::audio_low(), channels, bitrate_kbps: 40, ..Self::main(source) }
    }
}
