//! What a rendition is made of once it is packaged.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{Colour, Instant, MediaSequence, PartIndex, Pieces, Timestamp};

/// 16 hex digits of an init segment's SHA-256: its name (architecture 9).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct InitId([u8; 8]);

impl InitId {
    /// The id of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let hash = Sha256::digest(bytes);
        Self(std::array::from_fn(|index| hash[index]))
    }
}

impl fmt::Display for InitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for InitId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(lower_hex) {
            return Err(());
        }
        u64::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| ())
    }
}

/// An init segment (CMAF header): `ftyp` and `moov`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Init {
    /// Its name.
    pub id: InitId,
    /// Its bytes.
    pub data: Bytes,
    /// CODECS string of the track that it describes, such as `avc1.64001f` (C-37, C-40).
    pub codecs: Arc<str>,
    /// Display size in pixels; `None` for audio.
    pub resolution: Option<(u32, u32)>,
    /// How bright pictures can be.
    pub range: VideoRange,
}

/// Dynamic range of pictures, as playlists have it (VIDEO-RANGE).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum VideoRange {
    /// Standard, and audio.
    #[default]
    Sdr,
    /// HDR with the transfer characteristics of SMPTE ST 2084.
    Pq,
    /// HDR with those of ARIB STD-B67.
    Hlg,
}

impl VideoRange {
    /// That of pictures of this colour.
    pub fn of(colour: Option<Colour>) -> Self {
        match colour.map(|colour| colour.transfer) {
            Some(16) => Self::Pq,
            Some(18) => Self::Hlg,
            _ => Self::Sdr,
        }
    }
}

impl fmt::Display for VideoRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sdr => "SDR",
            Self::Pq => "PQ",
            Self::Hlg => "HLG",
        })
    }
}

impl Init {
    /// Names `data` by its hash.
    pub fn new(data: Bytes, codecs: &str, resolution: Option<(u32, u32)>) -> Self {
        Self { id: InitId::of(&data), data, codecs: codecs.into(), resolution, range: VideoRange::default() }
    }

    /// The same, of pictures with this range.
    #[must_use]
    pub fn in_range(self, range: VideoRange) -> Self {
        Self { range, ..self }
    }
}

/// A piece of a part or a segment. Displays as EXT-X-BYTERANGE wants it: `length@offset`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ByteRange {
    /// Bytes before it.
    pub offset: u64,
    /// Bytes in it.
    pub length: u64,
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.length, self.offset)
    }
}

/// One part of one rendition: a CMAF chunk, or the statement that there is none.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its segment.
    pub msn: MediaSequence,
    /// Its place in the segment. Consecutive from 0 in every rendition.
    pub index: PartIndex,
    /// Decode time of its first sample, in ticks of its track.
    pub start: Timestamp,
    /// Decode time at which its last sample ends, in the same ticks: exactly where the next part starts.
    pub end: Timestamp,
    /// Media or gap.
    pub payload: PartPayload,
}

/// What is in a part.
#[derive(Clone, Debug)]
pub enum PartPayload {
    /// One `moof` and one `mdat`.
    Media {
        /// The chunk's bytes.
        data: Pieces,
        /// It begins with an IDR, or is audio: INDEPENDENT=YES (H-27).
        independent: bool,
        /// Where in `data` the IDR lies that it begins with, and the `moof` that describes it: what an I-frame playlist
        /// names (H-74). `None` when it begins with another picture, and for audio.
        intra: Option<ByteRange>,
        /// The init segment that it needs.
        init: Arc<Init>,
        /// When the last byte of its last source frame came in: the start of every latency figure.
        received: Instant,
    },
    /// GAP=YES, for ever.
    Gap,
}

impl Part {
    /// Its length, in ticks of its track.
    pub fn duration(&self) -> Timestamp {
        Timestamp::new(self.end.ticks - self.start.ticks, self.start.timescale)
    }

    /// Bytes of its media; 0 for a gap.
    pub fn bytes(&self) -> usize {
        match &self.payload {
            PartPayload::Media { data, .. } => data.len(),
            PartPayload::Gap => 0,
        }
    }
}
