//! Names of codecs, as people know them.

use std::fmt;

/// Four letters that name a codec in an extended header.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FourCc(pub [u8; 4]);

impl FourCc {
    fn name(self) -> Option<&'static str> {
        Some(match &self.0 {
            b"avc1" => "H.264",
            b"hvc1" => "HEVC",
            b"vvc1" => "VVC",
            b"av01" => "AV1",
            b"vp08" => "VP8",
            b"vp09" => "VP9",
            b"mp4a" => "AAC",
            b"Opus" => "Opus",
            b"fLaC" => "FLAC",
            b"ac-3" => "AC-3",
            b"ec-3" => "E-AC-3",
            b".mp3" => "MP3",
            _ => return None,
        })
    }
}

impl fmt::Display for FourCc {
    /// The name if there is one, and the four letters: `HEVC (hvc1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0.escape_ascii()),
            None => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

/// What a video tag is coded in. Its `Display` is for people.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VideoCodec {
    /// A codec id of the old header.
    Legacy(u8),
    /// An extended header. `None`: the header ends before it names a codec, or names none.
    Extended(Option<FourCc>),
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy(2) => "Sorenson H.263",
            Self::Legacy(3) => "Screen video",
            Self::Legacy(4) => "VP6",
            Self::Legacy(5) => "VP6 with alpha",
            Self::Legacy(6) => "Screen video 2",
            Self::Legacy(7) => "H.264",
            Self::Legacy(12) => "HEVC (codec id 12)",
            Self::Legacy(13) => "AV1 (codec id 13)",
            Self::Legacy(id) => return write!(f, "video codec id {id}"),
            Self::Extended(Some(fourcc)) => return write!(f, "{fourcc} in Enhanced RTMP"),
            Self::Extended(None) => "unnamed video codec in Enhanced RTMP",
        })
    }
}

/// What an audio tag is coded in. Its `Display` is for people.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AudioCodec {
    /// A sound format of the old header.
    Legacy(u8),
    /// An extended header. `None`: the header ends before it names a codec, or names none.
    Extended(Option<FourCc>),
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy(0 | 3) => "PCM",
            Self::Legacy(1) => "ADPCM",
            Self::Legacy(2 | 14) => "MP3",
            Self::Legacy(4..=6) => "Nellymoser",
            Self::Legacy(7) => "G.711 A-law",
            Self::Legacy(8) => "G.711 mu-law",
            Self::Legacy(10) => "AAC",
            Self::Legacy(11) => "Speex",
            Self::Legacy(id) => return write!(f, "sound format {id}"),
            Self::Extended(Some(fourcc)) => return write!(f, "{fourcc} in Enhanced RTMP"),
            Self::Extended(None) => "unnamed audio codec in Enhanced RTMP",
        })
    }
}

/// Packet types of extended headers that matter for finding the FourCC.
const MULTITRACK_VIDEO: u8 = 6;
const MULTITRACK_AUDIO: u8 = 5;
const MOD_EX: u8 = 7;

/// Whose extended header it is: they differ in the number for multitrack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Medium {
    Video,
    Audio,
}

/// The FourCC of an extended header whose first packet type is `packet_type` and which goes on with `bytes` (R-73,
/// Of several tracks with codecs of their own it is that of the first.
pub(crate) fn extended_fourcc(medium: Medium, mut packet_type: u8, mut bytes: &[u8]) -> Option<FourCc> {
    while packet_type == MOD_EX {
        let (length, rest) = match bytes {
            [0xFF, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])) + 1, rest),
            [length, rest @ ..] => (usize::from(*length) + 1, rest),
            [] => return None,
        };
        let (next, rest) = rest.get(length..)?.split_first()?;
        packet_type = next & 0x0F;
        bytes = rest;
    }
    let multitrack = match medium {
        Medium::Video => MULTITRACK_VIDEO,
        Medium::Audio => MULTITRACK_AUDIO,
    };
    if packet_type == multitrack {
        bytes = bytes.get(1..)?; // multitrack type and the packet type within
    }
    bytes.first_chunk().copied().map(FourCc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_have_names_for_people() {
        assert_eq!(VideoCodec::Legacy(2).to_string(), "Sorenson H.263");
        assert_eq!(VideoCodec::Legacy(9).to_string(), "video codec id 9");
        assert_eq!(VideoCodec::Extended(Some(FourCc(*b"hvc1"))).to_string(), "HEVC (hvc1) in Enhanced RTMP");
        assert_eq!(AudioCodec::Extended(Some(FourCc(*b"\xFFabc"))).to_string(), "\\xffabc in Enhanced RTMP");
        assert_eq!(AudioCodec::Legacy(14).to_string(), "MP3");
    }

    /// one ModEx of 3 bytes, then one of 256 bytes whose length takes three.
    #[test]
    fn the_fourcc_stands_behind_all_modex() {
        let mut bytes = vec![2, 0, 0, 1, 0x07, 0xFF, 0x00, 0xFF];
        bytes.extend([0; 256]);
        bytes.extend(b"\x01av01");
        assert_eq!(extended_fourcc(Medium::Video, 7, &bytes), Some(FourCc(*b"av01")));
        for cut in 0..bytes.len() {
            assert_eq!(extended_fourcc(Medium::Video, 7, &bytes[..cut]), None);
        }
    }

    ///
    #[test]
    fn the_fourcc_of_the_first_track_counts() {
        assert_eq!(extended_fourcc(Medium::Video, 6, b"\x01hvc1\x00"), Some(FourCc(*b"hvc1")));
        assert_eq!(extended_fourcc(Medium::Audio, 5, b"\x21Opus\x00"), Some(FourCc(*b"Opus")));
    }
}
