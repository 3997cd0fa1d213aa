//! VP9: the VPCodecConfigurationRecord (VP Codec ISO Media File Format Binding) and the front of a keyframe (VP9
//! bitstream specification, 6.2).

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::BitReader;
use super::record::RecordReader;
use super::{CodecError, Colour, NormalisedUnit};

/// What describes a VP9 track. Decoders need nothing but the frames.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vp9Config {
    /// 0: 4:2:0 of 8 bits; 1: other formats of 8 bits; 2 and 3: the same of 10 and 12 bits.
    pub profile: u8,
    /// 31 for level 3.1.
    pub level: u8,
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// Chroma has half the width, half the height.
    pub subsampling: (bool, bool),
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Colour, if anything is said of it.
    pub colour: Option<Colour>,
}

/// What a record says. It lacks the size: that is in the first keyframe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Vp9Record {
    /// 31 for level 3.1; 0 when the encoder does not know.
    pub level: u8,
    /// Colour: more than frames can say.
    pub colour: Colour,
}

impl Vp9Record {
    /// Reads a record, with or without the version and flags of the box around it.
    pub fn parse(record: &[u8]) -> Result<Self, CodecError> {
        let record = record.strip_prefix(&[1, 0, 0, 0]).filter(|rest| rest.len() >= 8).unwrap_or(record);
        let mut reader = RecordReader::new(RECORD, record);
        reader.byte("profile")?;
        let level = reader.byte("level")?;
        let full_range = reader.byte("format")? & 1 != 0;
        let colour = Colour {
            primaries: reader.byte("colourPrimaries")?,
            transfer: reader.byte("transferCharacteristics")?,
            matrix: reader.byte("matrixCoefficients")?,
            full_range,
        };
        Ok(Self { level, colour })
    }
}

impl Vp9Config {
    /// The configuration of a frame, which must be a keyframe, with what a record says besides.
    pub fn from_keyframe(frame: &[u8], record: Option<Vp9Record>) -> Result<Self, CodecError> {
        let mut bits = BitReader::new(FRAME, frame);
        let head = Head::read(&mut bits)?;
        if !head.key {
            return Err(bits.unsupported("frame_type", 1, "0, a keyframe"));
        }
        let sync = bits.bits(24, "frame_sync_code")?;
        if sync != SYNC_CODE {
            return Err(bits.unsupported("frame_sync_code", sync.into(), "4817730"));
        }
        let bit_depth = match head.profile >= 2 {
            true if bits.flag("ten_or_twelve_bit")? => 12,
            true => 10,
            false => 8,
        };
        let space = bits.bits(3, "color_space")?;
        let odd_profile = head.profile & 1 == 1;
        let (full_range, subsampling) = if space == SPACE_RGB {
            if odd_profile {
                bits.flag("reserved_zero")?;
            }
            (true, (false, false))
        } else {
            let full_range = bits.flag("color_range")?;
            let subsampling = if odd_profile {
                let both = (bits.flag("subsampling_x")?, bits.flag("subsampling_y")?);
                bits.flag("reserved_zero")?;
                both
            } else {
                (true, true)
            };
            (full_range, subsampling)
        };
        let width = 1 + bits.bits(16, "frame_width_minus_1")?;
        let height = 1 + bits.bits(16, "frame_height_minus_1")?;
        let own = colour(space, full_range);
        let colour = match (own, record) {
            (Some(own), Some(record)) => Some(record.colour.or(own)),
            (None, Some(record)) => Some(record.colour),
            (own, None) => own,
        };
        Ok(Self {
            profile: head.profile,
            level: record.map(|record| record.level).filter(|level| *level > 0).unwrap_or_else(|| level(width, height)),
            bit_depth,
            subsampling,
            width,
            height,
            colour: colour.filter(|colour| *colour != Colour::unspecified(false)),
        })
    }

    /// The configuration that a sample entry has: a record, and the pictures' size.
    pub fn from_record(record: &[u8], (width, height): (u32, u32)) -> Result<Self, CodecError> {
        let Vp9Record { level, colour } = Vp9Record::parse(record)?;
        let mut reader = RecordReader::new(RECORD, record);
        let profile = reader.byte("profile")?;
        reader.byte("level")?;
        let format = reader.byte("format")?;
        let subsampling = match format >> 1 & 7 {
            0 | 1 => (true, true),
            2 => (true, false),
            _ => (false, false),
        };
        let colour = Some(colour).filter(|colour| *colour != Colour::unspecified(false));
        Ok(Self { profile, level, bit_depth: format >> 4, subsampling, width, height, colour })
    }

    /// The record that describes the track, without version and flags.
    pub fn record(&self) -> Bytes {
        let colour = self.colour.unwrap_or(Colour::unspecified(false));
        let chroma = self.chroma();
        let mut out = BytesMut::with_capacity(8);
        out.put_u8(self.profile);
        out.put_u8(self.level);
        out.put_u8(self.bit_depth << 4 | chroma << 1 | u8::from(colour.full_range));
        out.put_slice(&[colour.primaries, colour.transfer, colour.matrix]);
        out.put_u16(0); // no initialization data
        out.freeze()
    }

    /// The CODECS string: `vp09.00.31.08`, and the rest of it where it is not as in most video.
    pub fn codec_string(&self) -> String {
        let short = format!("vp09.{:02}.{:02}.{:02}", self.profile, self.level, self.bit_depth);
        let Colour { primaries, transfer, matrix, full_range } = self.colour.unwrap_or(Colour::unspecified(false));
        let usual = |point| matches!(point, 1 | 2);
        if self.subsampling == (true, true) && !full_range && [primaries, transfer, matrix].into_iter().all(usual) {
            return short;
        }
        let (chroma, range) = (self.chroma(), u8::from(full_range));
        format!("{short}.{chroma:02}.{primaries:02}.{transfer:02}.{matrix:02}.{range:02}")
    }

    /// chromaSubsampling: 4:2:0 with samples where those of luma are is what encoders make.
    fn chroma(&self) -> u8 {
        match self.subsampling {
            (true, true) => 1,
            (true, false) => 2,
            _ => 3,
        }
    }

    /// A frame, or several in a superframe, as it is. A keyframe is one by its first frame.
    pub fn access_unit(&self, payload: &Bytes) -> Result<NormalisedUnit, CodecError> {
        let head = Head::read(&mut BitReader::new(FRAME, payload))?;
        Ok(NormalisedUnit { data: payload.clone(), idr: head.key, has_picture: true, ..NormalisedUnit::default() })
    }
}

/// The front of a frame's header, up to the sync code of a keyframe.
struct Head {
    profile: u8,
    /// A keyframe that is shown.
    key: bool,
}

impl Head {
    fn read(bits: &mut BitReader<'_>) -> Result<Self, CodecError> {
        let marker = bits.bits(2, "frame_marker")?;
        if marker != 2 {
            return Err(bits.unsupported("frame_marker", marker.into(), "2"));
        }
        let low = bits.bits(1, "profile_low_bit")?;
        let profile = bits.bits(1, "profile_high_bit")? << 1 | low;
        if profile == 3 {
            bits.flag("reserved_zero")?;
        }
        let profile = u8::try_from(profile).expect("two bits");
        if bits.flag("show_existing_frame")? {
            return Ok(Self { profile, key: false });
        }
        let inter = bits.flag("frame_type")?;
        let shown = bits.flag("show_frame")?;
        bits.flag("error_resilient_mode")?;
        Ok(Self { profile, key: !inter && shown })
    }
}

/// color_space (7.2.2) in the code points of ITU-T H.273.
fn colour(space: u32, full_range: bool) -> Option<Colour> {
    let (primaries, transfer, matrix) = match space {
        1 | 3 => (6, 6, 6),
        2 => (1, 1, 1),
        4 => (7, 7, 7),
        5 => (9, 14, 9),
        SPACE_RGB => (1, 13, 0),
        _ if full_range => (2, 2, 2),
        _ => return None,
    };
    Some(Colour { primaries, transfer, matrix, full_range })
}

/// The lowest level for pictures of this size, for up to 60 of the usual ones a second (annex A).
fn level(width: u32, height: u32) -> u8 {
    let size = width.saturating_mul(height);
    LEVELS.into_iter().find_map(|(level, size_max)| (size <= size_max).then_some(level)).unwrap_or(62)
}

const RECORD: &str = "VPCodecConfigurationRecord";
const FRAME: &str = "VP9 frame";
const SYNC_CODE: u32 = 0x0049_8342;
const SPACE_RGB: u32 = 7;
/// Levels and their largest pictures; from 1080p on the level for 60 pictures a second.
const LEVELS: [(u8, u32); 9] = [
    (10, 36_864),
    (11, 73_728),
    (20, 122_880),
    (21, 245_760),
    (30, 552_960),
    (31, 983_040),
    (41, 2_228_224),
    (51, 8_912_896),
    (61, 35_651_584),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The front of a keyframe of 322x182 by libvpx, which says that its colours are unknown.
    const KEYFRAME: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0x00, 0x14, 0x10, 0x0B, 0x50, 0x00];
    const RECORD: &[u8] = &[0, 10, 0x82, 1, 1, 1, 0, 0];

    #[test]
    fn a_keyframe_and_a_record_make_a_configuration() {
        let plain = Vp9Config::from_keyframe(KEYFRAME, None).unwrap();
        assert_eq!((plain.profile, plain.bit_depth, plain.subsampling), (0, 8, (true, true)));
        assert_eq!((plain.width, plain.height, plain.level, plain.colour), (322, 182, 11, None));
        assert_eq!(plain.record(), [0, 11, 0x82, 2, 2, 2, 0, 0][..]);
        for record in [RECORD.to_vec(), [&[1, 0, 0, 0], RECORD].concat()] {
            let record = Vp9Record::parse(&record).unwrap();
            let config = Vp9Config::from_keyframe(KEYFRAME, Some(record)).unwrap();
            assert_eq!(config.record(), RECORD);
            assert_eq!(Vp9Config::from_record(&config.record(), (322, 182)), Ok(config));
        }
    }

    #[test]
    fn codec_strings_are_short_where_video_is_as_usual() {
        let mut config = Vp9Config::from_keyframe(KEYFRAME, None).unwrap();
        assert_eq!(config.codec_string(), "vp09.00.11.08");
        config.level = 31;
        config.profile = 2;
        config.bit_depth = 10;
        config.colour = Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false });
        assert_eq!(config.codec_string(), "vp09.02.31.10.01.09.16.09.00");
    }

    #[test]
    fn keyframes_are_told_from_others() {
        let config = Vp9Config::from_keyframe(KEYFRAME, None).unwrap();
        let key = |first: u8| config.access_unit(&Bytes::from(vec![first, 0])).unwrap().idr;
        // Keyframe; inter; a keyframe that is not shown; an old picture shown again.
        assert_eq!([0x82, 0x86, 0x80, 0x88].map(key), [true, false, false, false]);
        let error = config.access_unit(&Bytes::from_static(&[0x42])).unwrap_err();
        assert_eq!(error.to_string(), "VP9 frame: frame_marker is 1, expected 2");
        assert!(config.access_unit(&Bytes::new()).is_err());
        assert!(Vp9Config::from_keyframe(&[0x86, 0], None).is_err());
    }
}
