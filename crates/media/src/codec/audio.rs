//! How a publisher's sound is coded.

use std::fmt;

use super::{AacConfig, Ac3Config, FlacConfig, Mp3Config, OpusConfig};

/// Configuration of a publisher's sound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AudioConfig {
    /// AAC of any object type.
    Aac(AacConfig),
    /// MPEG layer III.
    Mp3(Mp3Config),
    /// Opus.
    Opus(OpusConfig),
    /// FLAC.
    Flac(FlacConfig),
    /// AC-3 and E-AC-3.
    Ac3(Ac3Config),
}

impl AudioConfig {
    /// The rate in which frames are counted, Hz. Decoded sound may have twice as much (SBR). Not zero.
    pub fn sample_rate(&self) -> u32 {
        match self {
            Self::Aac(aac) => aac.sample_rate,
            Self::Mp3(mp3) => mp3.sample_rate,
            Self::Opus(_) => OpusConfig::RATE,
            Self::Flac(flac) => flac.sample_rate,
            Self::Ac3(ac3) => ac3.sample_rate,
        }
    }

    /// Samples of a frame, at [`sample_rate`](Self::sample_rate); some may have [fewer](Self::samples_of). Not zero.
    pub fn frame_samples(&self) -> u32 {
        match self {
            Self::Aac(aac) => aac.frame_samples,
            Self::Mp3(mp3) => mp3.frame_samples,
            Self::Opus(opus) => opus.frame_samples,
            Self::Flac(flac) => flac.frame_samples,
            Self::Ac3(ac3) => ac3.frame_samples,
        }
    }

    /// Samples of this coded frame: at least 1, and at most [`frame_samples`](Self::frame_samples). Where it cannot be
    /// read, as many as there may be.
    pub fn samples_of(&self, frame: &[u8]) -> u32 {
        let found = match self {
            Self::Aac(_) | Self::Mp3(_) | Self::Ac3(_) => None,
            Self::Opus(_) => OpusConfig::packet_samples(frame).ok(),
            Self::Flac(_) => FlacConfig::block_samples(frame).ok(),
        };
        found.map_or(self.frame_samples(), |found| found.clamp(1, self.frame_samples()))
    }

    /// Channels; 0 when only the bitstream says it. Decoded sound may have more (parametric stereo).
    pub fn channels(&self) -> u8 {
        match self {
            Self::Aac(aac) => aac.channels,
            Self::Mp3(mp3) => mp3.channels,
            Self::Opus(opus) => opus.channels,
            Self::Flac(flac) => flac.channels,
            Self::Ac3(ac3) => ac3.channels(),
        }
    }

    /// Whether all players take it as it is: AAC-LC at 44.1 or 48 kHz, mono or stereo (architecture 6).
    pub fn passes_through(&self) -> bool {
        matches!(self, Self::Aac(aac) if aac.passes_through())
    }

    /// Whether it can be offered as it is beside what is encoded again, for those players that take it: one of the
    /// codecs with a binding to CMAF, whose frames fit into the shortest parts. Mono and stereo AAC is not, since what it
    /// is encoded to again has the same CODECS and CHANNELS, and players could not tell them apart.
    pub fn is_optional(&self) -> bool {
        let fits = u64::from(self.frame_samples()) * 100 <= u64::from(self.sample_rate()) * FRAME_CENTISECONDS_MAX;
        let bound = match self {
            Self::Aac(aac) => aac.is_surround(),
            Self::Mp3(_) => false,
            // Families 2 and 3 are for Ambisonics, 255 is for nobody.
            Self::Opus(opus) => opus.mapping.as_ref().is_none_or(|mapping| mapping.family == 1),
            Self::Flac(flac) => flac.bits <= 24,
            // Samples of a track have six blocks each (ETSI TS 102 366, annex F), and half rates cannot be described.
            Self::Ac3(ac3) => !ac3.dependent && ac3.frame_samples == 1536 && ac3.rate_code < 3,
        };
        bound && fits
    }

    /// Whether there is a decoder for it.
    pub fn is_decodable(&self) -> bool {
        match self {
            Self::Aac(aac) => aac.is_decodable(),
            Self::Mp3(_) | Self::Opus(_) | Self::Flac(_) | Self::Ac3(_) => true,
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
            _ => self.channels() == 1,
        }
    }

    /// The rate at which it is encoded again where it must be: 44.1 kHz when its own rate is of that family, which
    /// makes the smaller error, else 48 kHz.
    pub fn output_rate(&self) -> u32 {
        if self.sample_rate().is_multiple_of(11_025) { 44_100 } else { 48_000 }
    }
}

impl fmt::Display for AudioConfig {
    /// The CODECS string (C-40), as players know it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aac(aac) => f.write_str(&aac.codec_string()),
            Self::Mp3(_) => f.write_str("mp3"),
            Self::Opus(_) => f.write_str("opus"),
            Self::Flac(_) => f.write_str("fLaC"),
            Self::Ac3(ac3) => f.write_str(if ac3.enhanced { "ec-3" } else { "ac-3" }),
        }
    }
}

/// The highest core rate that SBR doubles in practice.
const SBR_CORE_RATE_MAX: u32 = 24_000;
/// The smallest PART-TARGET is 0.116 s, and no part may be longer.
const FRAME_CENTISECONDS_MAX: u64 = 11;

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

    #[test]
    fn a_frame_may_be_shorter_than_the_configuration_says_but_not_longer() {
        let opus = AudioConfig::Opus(OpusConfig::guess(&[0xFC, 0xFF, 0xFE]).unwrap());
        assert_eq!((opus.frame_samples(), opus.sample_rate()), (960, 48_000));
        for (packet, samples) in [(&[0xF4][..], 480), (&[0xFC], 960), (&[0xFD], 960), (&[], 960)] {
            assert_eq!(opus.samples_of(packet), samples, "{packet:02x?}");
        }
        assert_eq!(lc(48_000, 2).samples_of(&[]), 1024);
    }

    #[test]
    fn what_is_offered_as_it_is_has_a_binding_and_short_frames() {
        let opus = |packet: &[u8]| AudioConfig::Opus(OpusConfig::guess(packet).unwrap());
        assert!(opus(&[0xFC]).is_optional(), "20 ms");
        assert!(opus(&[0xFF, 5]).is_optional(), "100 ms");
        assert!(!opus(&[0xFF, 6]).is_optional(), "120 ms");
        assert!(lc(48_000, 6).is_optional() && lc(32_000, 8).is_optional());
        assert!(!lc(48_000, 2).is_optional() && !lc(32_000, 2).is_optional());
    }
}
