//! How a publisher's sound is coded.

use std::fmt;

use super::{AacConfig, Mp3Config};

/// Configuration of a publisher's sound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AudioConfig {
    /// AAC of any object type.
    Aac(AacConfig),
    /// MPEG layer III.
    Mp3(Mp3Config),
}

impl AudioConfig {
    /// The rate in which frames are counted, Hz. Decoded sound may have twice as much (SBR). Not zero.
    pub fn sample_rate(&self) -> u32 {
        match self {
            Self::Aac(aac) => aac.sample_rate,
            Self::Mp3(mp3) => mp3.sample_rate,
        }
    }

    /// Samples of a frame, at [`sample_rate`](Self::sample_rate). Not zero.
    pub fn frame_samples(&self) -> u32 {
        match self {
            Self::Aac(aac) => aac.frame_samples,
            Self::Mp3(mp3) => mp3.frame_samples,
        }
    }

    /// Whether players take it as it is: AAC-LC at 44.1 or 48 kHz, mono or stereo (architecture 8).
    pub fn passes_through(&self) -> bool {
        matches!(self, Self::Aac(aac) if aac.passes_through())
    }

    /// Whether there is a decoder for it.
    pub fn is_decodable(&self) -> bool {
        match self {
            Self::Aac(aac) => aac.is_decodable(),
            Self::Mp3(_) => true,
        }
    }

    /// Whether it is certain that decoded sound has one channel. AAC at a low rate may have parametric stereo that
    /// nothing announces.
    pub fn is_mono(&self) -> bool {
        match self {
            Self::Aac(aac) => {
                let hidden = aac.extension_sample_rate.is_none() && aac.sample_rate <= SBR_CORE_RATE_MAX;
                aac.channels == 1 && !aac.parametric_stereo && !hidden
            }
            Self::Mp3(mp3) => mp3.channels == 1,
        }
    }

    /// The rate at which it is encoded again where it must be: 44.1 kHz when its own rate is of that family, which
    /// makes the smaller error, else 48 kHz.
    pub fn output_rate(&self) -> u32 {
        if self.sample_rate().is_multiple_of(11_025) { 44_100 } else { 48_000 }
    }
}

impl fmt::Display for AudioConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aac(aac) => f.write_str(&aac.codec_string()),
            Self::Mp3(_) => f.write_str("mp3"),
        }
    }
}

/// The highest core rate that SBR doubles in practice.
const SBR_CORE_RATE_MAX: u32 = 24_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn lc(sample_rate: u32, channels: u8) -> AudioConfig {
        AudioConfig::Aac(AacConfig::lc(sample_rate, channels).unwrap())
    }

    #[test]
    fn the_output_rate_is_of_the_sources_family() {
        for (rate, output) in [(11_025, 44_100), (22_050, 44_100), (88_200, 44_100), (7350, 48_000), (32_000, 48_000)] {
            assert_eq!(lc(rate, 2).output_rate(), output, "{rate}");
        }
    }

    #[test]
    fn mono_is_certain_only_where_no_parametric_stereo_can_hide() {
        assert!(lc(44_100, 1).is_mono() && lc(32_000, 1).is_mono());
        assert!(!lc(22_050, 1).is_mono() && !lc(44_100, 2).is_mono());
    }
}
