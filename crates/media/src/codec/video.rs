//! How a track's pictures are coded.

use std::fmt;

use bytes::Bytes;

use super::{Av1Config, AvcConfig, CodecError, Colour, HevcConfig, HevcSps, NormalisedUnit, Sps, Vp9Config};

/// A video codec that is taken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VideoCoding {
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
}

impl VideoCoding {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Avc, Self::Hevc, Self::Av1, Self::Vp9];
}

impl fmt::Display for VideoCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avc => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp9 => "VP9",
        })
    }
}

/// Configuration of a video track: what a decoder must know before the first picture.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VideoConfig {
    /// H.264.
    Avc(AvcConfig),
    /// H.265.
    Hevc(HevcConfig),
    /// AV1.
    Av1(Av1Config),
    /// VP9.
    Vp9(Vp9Config),
}

impl From<AvcConfig> for VideoConfig {
    fn from(config: AvcConfig) -> Self {
        Self::Avc(config)
    }
}

impl VideoConfig {
    /// The codec.
    pub fn coding(&self) -> VideoCoding {
        match self {
            Self::Avc(_) => VideoCoding::Avc,
            Self::Hevc(_) => VideoCoding::Hevc,
            Self::Av1(_) => VideoCoding::Av1,
            Self::Vp9(_) => VideoCoding::Vp9,
        }
    }

    /// Width and height of a picture in pixels, after cropping.
    pub fn size(&self) -> (u32, u32) {
        match self {
            Self::Avc(avc) => (avc.parsed.width, avc.parsed.height),
            Self::Hevc(hevc) => (hevc.parsed.width, hevc.parsed.height),
            Self::Av1(av1) => (av1.parsed.width, av1.parsed.height),
            Self::Vp9(vp9) => (vp9.width, vp9.height),
        }
    }

    /// The largest of the sizes that its parameter sets have: pictures may go over to another set without a word.
    pub fn size_max(&self) -> (u32, u32) {
        let sizes: Vec<(u32, u32)> = match self {
            Self::Avc(avc) => {
                let readable = avc.sps.iter().filter_map(|set| Sps::parse(set).ok());
                readable.map(|sps| (sps.width, sps.height)).collect()
            }
            Self::Hevc(hevc) => {
                let readable = hevc.sps.iter().filter_map(|set| HevcSps::parse(set).ok());
                readable.map(|sps| (sps.width, sps.height)).collect()
            }
            Self::Av1(_) | Self::Vp9(_) => Vec::new(),
        };
        let pixels = |size: &(u32, u32)| u64::from(size.0) * u64::from(size.1);
        sizes.into_iter().chain([self.size()]).max_by_key(pixels).unwrap_or_default()
    }

    /// Shape of a pixel, width to height; (1, 1) when nothing is said.
    pub fn sample_aspect(&self) -> (u32, u32) {
        match self {
            Self::Avc(avc) => avc.parsed.sample_aspect,
            Self::Hevc(hevc) => hevc.parsed.sample_aspect,
            Self::Av1(_) | Self::Vp9(_) => (1, 1),
        }
    }

    /// Width and height at which the picture is shown when its pixels are square: the width is stretched by
    /// [`sample_aspect`](Self::sample_aspect), to the nearest pixel.
    pub fn display_size(&self) -> (u32, u32) {
        let ((width, height), (horizontal, vertical)) = (self.size(), self.sample_aspect());
        let (wide, vertical) = (u64::from(width) * u64::from(horizontal), u64::from(vertical.max(1)));
        let width = (2 * wide + vertical) / (2 * vertical);
        (u32::try_from(width.max(1)).unwrap_or(u32::MAX), height)
    }

    /// Colour, as far as anything is said of it.
    pub fn colour(&self) -> Option<Colour> {
        match self {
            Self::Avc(avc) => avc.parsed.colour,
            Self::Hevc(hevc) => hevc.parsed.colour,
            Self::Av1(av1) => av1.parsed.colour,
            Self::Vp9(vp9) => vp9.colour,
        }
    }

    /// Takes `hint` for what nothing is said of in the colour.
    pub fn hint_colour(&mut self, hint: Colour) {
        let colour = match self {
            Self::Avc(avc) => &mut avc.parsed.colour,
            Self::Hevc(hevc) => &mut hevc.parsed.colour,
            Self::Av1(av1) => &mut av1.parsed.colour,
            Self::Vp9(vp9) => &mut vp9.colour,
        };
        let known = colour.map_or(hint, |own| own.or(hint));
        *colour = Some(known).filter(|known| *known != Colour::unspecified(false));
    }

    /// Pictures a second, if the codec's headers promise a fixed rate: encoders are known to promise wrongly.
    pub fn fixed_rate(&self) -> Option<f64> {
        match self {
            Self::Avc(avc) => {
                let timing = avc.parsed.timing.filter(|timing| timing.fixed)?;
                Some(f64::from(timing.time_scale) / (2.0 * f64::from(timing.units_in_tick)))
            }
            Self::Av1(av1) => av1.parsed.fixed_rate.map(|(pictures, seconds)| f64::from(pictures) / f64::from(seconds)),
            Self::Hevc(_) | Self::Vp9(_) => None,
        }
    }

    /// Pictures that precede one in decoding order and follow it in output order, at most. `None`: nothing is said.
    pub fn reordered(&self) -> Option<u32> {
        match self {
            Self::Avc(avc) if avc.parsed.profile == BASELINE => Some(0),
            Self::Avc(avc) => avc.parsed.reorder_frames,
            Self::Hevc(hevc) => Some(hevc.parsed.reorder_pictures),
            Self::Av1(_) | Self::Vp9(_) => Some(0),
        }
    }

    /// Whether fields may come one by one, two to a picture.
    pub fn may_have_fields(&self) -> bool {
        matches!(self, Self::Avc(avc) if !avc.parsed.frame_mbs_only)
    }

    /// The codec's configuration record, as sample entries have it and decoders take it.
    pub fn record(&self) -> Bytes {
        match self {
            Self::Avc(avc) => avc.record(),
            Self::Hevc(hevc) => hevc.record(),
            Self::Av1(av1) => av1.record(),
            Self::Vp9(vp9) => vp9.record(),
        }
    }

    /// The CODECS string (C-37 to C-39).
    pub fn codec_string(&self) -> String {
        match self {
            Self::Avc(avc) => avc.codec_string(),
            Self::Hevc(hevc) => hevc.codec_string(),
            Self::Av1(av1) => av1.codec_string(),
            Self::Vp9(vp9) => vp9.codec_string(),
        }
    }

    /// A configuration of what is in a picture, for encoders of H.264 and HEVC that send no record.
    pub(super) fn in_band(coding: VideoCoding, payload: &Bytes) -> Option<Self> {
        match coding {
            VideoCoding::Avc => AvcConfig::in_band(payload).map(Self::Avc),
            VideoCoding::Hevc => HevcConfig::in_band(payload).map(Self::Hevc),
            VideoCoding::Av1 | VideoCoding::Vp9 => None,
        }
    }

    /// This configuration of H.264 or HEVC with parameter sets that came with a picture. `None` when they change
    /// nothing.
    pub(super) fn with_sets(&self, sets: &[Bytes]) -> Option<Self> {
        match self {
            Self::Avc(avc) => avc.with_sets(sets).map(Self::Avc),
            Self::Hevc(hevc) => hevc.with_sets(sets).map(Self::Hevc),
            Self::Av1(_) | Self::Vp9(_) => None,
        }
    }

    /// Whether pictures may go on with this configuration after those of another one without anybody noticing: size,
    /// shape, format and rate are the same.
    pub fn continues(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Avc(avc), Self::Avc(before)) => avc.continues(before),
            (Self::Hevc(hevc), Self::Hevc(before)) => hevc.continues(before),
            _ => false,
        }
    }

    /// Makes what a publisher sends as one picture into what a sample holds.
    pub fn access_unit(&self, payload: &Bytes) -> Result<NormalisedUnit, CodecError> {
        match self {
            Self::Avc(avc) => avc.access_unit(payload),
            Self::Hevc(hevc) => hevc.access_unit(payload),
            Self::Av1(av1) => av1.access_unit(payload),
            Self::Vp9(vp9) => vp9.access_unit(payload),
        }
    }
}

/// profile_idc of H.264's profile without B pictures.
const BASELINE: u8 = 66;

#[cfg(test)]
mod tests {
    use super::*;

    fn anamorphic() -> VideoConfig {
        AvcConfig::parse(include_bytes!("../testdata/x264-576i25-anamorphic.avcc")).unwrap().into()
    }

    #[test]
    fn pixels_that_are_not_square_are_stretched() {
        assert_eq!((anamorphic().size(), anamorphic().display_size()), ((720, 576), (1024, 576)));
        assert!(anamorphic().may_have_fields());
    }

    ///
    #[test]
    fn a_hint_fills_in_what_the_bitstream_does_not_say() {
        let mut config = anamorphic();
        assert_eq!(config.colour(), None);
        config.hint_colour(Colour::unspecified(false));
        assert_eq!(config.colour(), None);
        config.hint_colour(Colour { primaries: 9, ..Colour::unspecified(false) });
        let first = Colour { primaries: 9, transfer: 2, matrix: 2, full_range: false };
        assert_eq!(config.colour(), Some(first));
        config.hint_colour(Colour { primaries: 1, transfer: 16, matrix: 9, full_range: true });
        assert_eq!(config.colour(), Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false }));
    }
}
