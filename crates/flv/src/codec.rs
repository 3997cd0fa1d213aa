//! Names of codecs: as headers have them and as people know them.

use std::fmt;

/// Four letters that name a codec in an extended header.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// What a video track is coded in, whichever header says it. Its `Display` is for people.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VideoCodec {
    /// H.264: codec id 7 or `avc1`.
    Avc,
    /// H.265: codec id 12, which is no standard, or `hvc1`.
    Hevc,
    /// `av01`.
    Av1,
    /// `vp08`.
    Vp8,
    /// `vp09`.
    Vp9,
    /// H.266: `vvc1`.
    Vvc,
    /// Another codec id of the old header.
    Legacy(u8),
    /// Another FourCC.
    Other(FourCc),
}

impl VideoCodec {
    /// The FourCC, if it has one.
    pub const fn fourcc(self) -> Option<FourCc> {
        Some(FourCc(*match self {
            Self::Avc => b"avc1",
            Self::Hevc => b"hvc1",
            Self::Av1 => b"av01",
            Self::Vp8 => b"vp08",
            Self::Vp9 => b"vp09",
            Self::Vvc => b"vvc1",
            Self::Other(fourcc) => return Some(fourcc),
            Self::Legacy(_) => return None,
        }))
    }

    /// Whether coded frames have a composition time. The others show pictures in the order of coding.
    pub(crate) const fn has_composition_time(self) -> bool {
        matches!(self, Self::Avc | Self::Hevc | Self::Vvc)
    }
}

impl From<FourCc> for VideoCodec {
    fn from(fourcc: FourCc) -> Self {
        match &fourcc.0 {
            b"avc1" => Self::Avc,
            b"hvc1" => Self::Hevc,
            b"av01" => Self::Av1,
            b"vp08" => Self::Vp8,
            b"vp09" => Self::Vp9,
            b"vvc1" => Self::Vvc,
            _ => Self::Other(fourcc),
        }
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avc => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Vvc => "VVC",
            Self::Legacy(2) => "Sorenson H.263",
            Self::Legacy(3) => "Screen video",
            Self::Legacy(4) => "VP6",
            Self::Legacy(5) => "VP6 with alpha",
            Self::Legacy(6) => "Screen video 2",
            Self::Legacy(13) => "AV1 without Enhanced RTMP (codec id 13)",
            Self::Legacy(id) => return write!(f, "video codec id {id}"),
            Self::Other(fourcc) => return write!(f, "video codec {fourcc}"),
        })
    }
}

/// What an audio track is coded in, whichever header says it. Its `Display` is for people.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AudioCodec {
    /// Sound format 10 or `mp4a`.
    Aac,
    /// Sound formats 2 and 14 (8 kHz; frames say their rate themselves), or `.mp3`.
    Mp3,
    /// `Opus`.
    Opus,
    /// `fLaC`.
    Flac,
    /// `ac-3`.
    Ac3,
    /// `ec-3`.
    Eac3,
    /// Another sound format of the old header.
    Legacy(u8),
    /// Another FourCC.
    Other(FourCc),
}

impl AudioCodec {
    /// The FourCC, if it has one.
    pub const fn fourcc(self) -> Option<FourCc> {
        Some(FourCc(*match self {
            Self::Aac => b"mp4a",
            Self::Mp3 => b".mp3",
            Self::Opus => b"Opus",
            Self::Flac => b"fLaC",
            Self::Ac3 => b"ac-3",
            Self::Eac3 => b"ec-3",
            Self::Other(fourcc) => return Some(fourcc),
            Self::Legacy(_) => return None,
        }))
    }
}

impl From<FourCc> for AudioCodec {
    fn from(fourcc: FourCc) -> Self {
        match &fourcc.0 {
            b"mp4a" => Self::Aac,
            b".mp3" => Self::Mp3,
            b"Opus" => Self::Opus,
            b"fLaC" => Self::Flac,
            b"ac-3" => Self::Ac3,
            b"ec-3" => Self::Eac3,
            _ => Self::Other(fourcc),
        }
    }
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aac => "AAC",
            Self::Mp3 => "MP3",
            Self::Opus => "Opus",
            Self::Flac => "FLAC",
            Self::Ac3 => "AC-3",
            Self::Eac3 => "E-AC-3",
            Self::Legacy(0 | 3) => "PCM",
            Self::Legacy(1) => "ADPCM",
            Self::Legacy(4..=6) => "Nellymoser",
            Self::Legacy(7) => "G.711 A-law",
            Self::Legacy(8) => "G.711 mu-law",
            Self::Legacy(11) => "Speex",
            Self::Legacy(id) => return write!(f, "sound format {id}"),
            Self::Other(fourcc) => return write!(f, "audio codec {fourcc}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_have_names_for_people() {
        assert_eq!(VideoCodec::Legacy(2).to_string(), "Sorenson H.263");
        assert_eq!(VideoCodec::Legacy(9).to_string(), "video codec id 9");
        assert_eq!(VideoCodec::Hevc.to_string(), "HEVC");
        assert_eq!(AudioCodec::Other(FourCc(*b"\xFFabc")).to_string(), "audio codec \\xffabc");
        assert_eq!(AudioCodec::Mp3.to_string(), "MP3");
    }

    ///
    #[test]
    fn every_fourcc_of_the_specification_is_known_and_comes_back() {
        for name in [b"avc1", b"hvc1", b"av01", b"vp08", b"vp09", b"vvc1"] {
            let codec = VideoCodec::from(FourCc(*name));
            assert!(!matches!(codec, VideoCodec::Other(_)));
            assert_eq!(codec.fourcc(), Some(FourCc(*name)));
        }
        for name in [b"mp4a", b"Opus", b"fLaC", b"ac-3", b"ec-3", b".mp3"] {
            let codec = AudioCodec::from(FourCc(*name));
            assert!(!matches!(codec, AudioCodec::Other(_)));
            assert_eq!(codec.fourcc(), Some(FourCc(*name)));
        }
        assert_eq!(VideoCodec::from(FourCc(*b"hev1")), VideoCodec::Other(FourCc(*b"hev1")));
    }
}
