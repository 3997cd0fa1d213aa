//! AV1: the AV1CodecConfigurationRecord, the sequence header, and temporal units made into samples (AV1 Codec ISO
//! Media File Format Binding; AV1 bitstream specification, 5.3 to 5.9).

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::BitReader;
use super::record::RecordReader;
use super::{CodecError, Colour, NormalisedUnit};

/// What decodes an AV1 track.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Av1Config {
    /// The sequence header OBU, with its length.
    pub sequence_header: Bytes,
    /// What it says.
    pub parsed: Av1Sequence,
}

/// What a sequence header says that we need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Av1Sequence {
    /// seq_profile: 0 Main.
    pub profile: u8,
    /// seq_level_idx of the first operating point: 4 for level 3.0.
    pub level: u8,
    /// seq_tier of the first operating point.
    pub high_tier: bool,
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// There is no colour.
    pub monochrome: bool,
    /// Chroma has half the width, half the height.
    pub subsampling: (bool, bool),
    /// chroma_sample_position.
    pub chroma_position: u8,
    /// Greatest width in pixels.
    pub width: u32,
    /// Greatest height in pixels.
    pub height: u32,
    /// Colour, if it is described or the full range is used.
    pub colour: Option<Colour>,
    /// Pictures a second, if all are shown for the same time: so many in so many seconds. Not zero.
    pub fixed_rate: Option<(u32, u32)>,
    /// All headers are those of single pictures.
    reduced_headers: bool,
}

impl Av1Config {
    /// Reads a record. `None`: it has no sequence header; then that of the first keyframe counts.
    pub fn parse(record: &[u8]) -> Result<Option<Self>, CodecError> {
        let mut reader = RecordReader::new(RECORD, record);
        let version = reader.byte("version")?;
        if version != 0x81 {
            return Err(reader.unsupported("marker and version", version.into(), "129"));
        }
        // All of it is taken from the sequence header, which is what a decoder goes by.
        reader.take(3, "profile, level and format")?;
        let units = Bytes::copy_from_slice(reader.rest());
        let header = Obus::new(&units).flatten().find(|obu| obu.kind == OBU_SEQUENCE_HEADER);
        header.map(|obu| Self::from_sequence_header(&units, &obu)).transpose()
    }

    /// The configuration of the first sequence header in a temporal unit, if there is one.
    pub fn from_temporal_unit(payload: &Bytes) -> Result<Option<Self>, CodecError> {
        let header = Obus::new(payload).flatten().find(|obu| obu.kind == OBU_SEQUENCE_HEADER);
        header.map(|obu| Self::from_sequence_header(payload, &obu)).transpose()
    }

    fn from_sequence_header(data: &Bytes, obu: &Obu) -> Result<Self, CodecError> {
        let parsed = Av1Sequence::parse(&data[obu.payload.clone()])?;
        let mut header = BytesMut::new();
        obu.write(data, &mut header);
        if header.len() > SEQUENCE_HEADER_BYTES_MAX {
            let (field, found) = ("length of the sequence header", header.len() as u64);
            return Err(CodecError::Unsupported { record: RECORD, field, found, expected: "at most 1024" });
        }
        Ok(Self { sequence_header: header.freeze(), parsed })
    }

    /// The record that describes the track.
    pub fn record(&self) -> Bytes {
        let Av1Sequence { profile, level, high_tier, bit_depth, monochrome, subsampling, chroma_position, .. } =
            self.parsed;
        let mut out = BytesMut::with_capacity(4 + self.sequence_header.len());
        out.put_u8(0x81);
        out.put_u8(profile << 5 | level);
        out.put_u8(
            u8::from(high_tier) << 7
                | u8::from(bit_depth > 8) << 6
                | u8::from(bit_depth == 12) << 5
                | u8::from(monochrome) << 4
                | u8::from(subsampling.0) << 3
                | u8::from(subsampling.1) << 2
                | chroma_position,
        );
        out.put_u8(0); // no word on how many pictures to wait for
        out.put_slice(&self.sequence_header);
        out.freeze()
    }

    /// The CODECS string: `av01.0.04M.08`, and the rest of it where it is not as in most video (C-39).
    pub fn codec_string(&self) -> String {
        let Av1Sequence { profile, level, high_tier, bit_depth, monochrome, subsampling, chroma_position, .. } =
            self.parsed;
        let tier = if high_tier { 'H' } else { 'M' };
        let short = format!("av01.{profile}.{level:02}{tier}.{bit_depth:02}");
        let Colour { primaries, transfer, matrix, full_range } =
            self.parsed.colour.unwrap_or(Colour::unspecified(false));
        let usual = |point| matches!(point, 1 | 2);
        let usual_format = !monochrome && subsampling == (true, true) && chroma_position == 0;
        if usual_format && !full_range && [primaries, transfer, matrix].into_iter().all(usual) {
            return short;
        }
        let (mono, x, y) = (u8::from(monochrome), u8::from(subsampling.0), u8::from(subsampling.1));
        let (full_range, position) = (u8::from(full_range), chroma_position);
        format!("{short}.{mono}.{x}{y}{position}.{primaries:02}.{transfer:02}.{matrix:02}.{full_range}")
    }

    /// Cleans a temporal unit: delimiters, padding, tile lists and repeated headers are removed, and every OBU gets its
    /// length. No byte is copied when what is kept lies in one piece and has lengths, which is the rule.
    ///
    /// An error means that not one OBU could be found.
    pub fn access_unit(&self, payload: &Bytes) -> Result<NormalisedUnit, CodecError> {
        let mut unit = NormalisedUnit::default();
        let mut kept: Vec<Obu> = Vec::new();
        let mut key = None;
        let mut reduced_headers = self.parsed.reduced_headers;
        for obu in Obus::new(payload) {
            let Some(obu) = obu else {
                unit.damaged = true;
                break;
            };
            match obu.kind {
                OBU_SEQUENCE_HEADER => {
                    let mut header = BytesMut::new();
                    obu.write(payload, &mut header);
                    if unit.parameter_sets.is_empty() {
                        unit.parameter_sets.push(header.freeze());
                    }
                    if let Ok(sequence) = Av1Sequence::parse(&payload[obu.payload.clone()]) {
                        reduced_headers = sequence.reduced_headers;
                    }
                }
                OBU_FRAME | OBU_FRAME_HEADER => {
                    let frame = &payload[obu.payload.clone()];
                    key.get_or_insert_with(|| is_shown_keyframe(frame, reduced_headers));
                    unit.has_picture = true;
                }
                OBU_TILE_GROUP | OBU_METADATA => {}
                _ => continue,
            }
            kept.push(obu);
        }
        if kept.is_empty() && unit.damaged {
            return Err(CodecError::Truncated { record: "temporal unit", field: "OBU", length: payload.len() });
        }
        unit.idr = key.unwrap_or(false);
        let one_piece =
            kept.iter().all(|obu| obu.has_length) && kept.windows(2).all(|pair| pair[0].payload.end == pair[1].start);
        unit.data = match (kept.first(), kept.last()) {
            (Some(first), Some(last)) if one_piece => payload.slice(first.start..last.payload.end),
            _ => {
                let mut data = BytesMut::with_capacity(payload.len() + 8);
                kept.iter().for_each(|obu| obu.write(payload, &mut data));
                data.freeze()
            }
        };
        Ok(unit)
    }
}

/// Whether a frame header (5.9.2) is that of a keyframe that is shown at once.
fn is_shown_keyframe(header: &[u8], reduced_headers: bool) -> bool {
    // show_existing_frame 0, frame_type 00, show_frame 1.
    reduced_headers || header.first().is_some_and(|first| first >> 4 == 0b0001)
}

/// Where an OBU lies.
#[derive(Clone, Debug)]
struct Obu {
    kind: u8,
    /// Of its header.
    start: usize,
    has_length: bool,
    /// Without header and length.
    payload: std::ops::Range<usize>,
}

impl Obu {
    /// Appends it with its length.
    fn write(&self, data: &[u8], out: &mut BytesMut) {
        if self.has_length {
            out.put_slice(&data[self.start..self.payload.end]);
            return;
        }
        out.put_u8(data[self.start] | HAS_SIZE);
        if data[self.start] & EXTENSION != 0 {
            out.put_u8(data[self.start + 1]);
        }
        let mut length = self.payload.len();
        while length > 0x7F {
            out.put_u8(0x80 | length.to_le_bytes()[0]);
            length >>= 7;
        }
        out.put_u8(length.to_le_bytes()[0]);
        out.put_slice(&data[self.payload.clone()]);
    }
}

/// The OBUs of a temporal unit (5.3); `None` is the last, and one that does not fit.
struct Obus<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Obus<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    fn read(&mut self) -> Option<Obu> {
        let start = self.position;
        let header = *self.data.get(start)?;
        if header & 0x80 != 0 {
            return None; // the forbidden bit
        }
        let mut position = start + 1 + usize::from(header & EXTENSION != 0);
        let has_length = header & HAS_SIZE != 0;
        let end = if has_length {
            let (length, bytes) = read_length(self.data.get(position..)?)?;
            position += bytes;
            position.checked_add(length).filter(|end| *end <= self.data.len())?
        } else {
            self.data.len()
        };
        let payload = self.data.get(position..end).map(|_| position..end)?;
        Some(Obu { kind: header >> 3 & 0x0F, start, has_length, payload })
    }
}

impl Iterator for Obus<'_> {
    type Item = Option<Obu>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.data.len() {
            return None;
        }
        let obu = self.read();
        self.position = obu.as_ref().map_or(self.data.len(), |obu| obu.payload.end);
        Some(obu)
    }
}

/// leb128 (4.10.5) and the bytes that it took.
fn read_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0u64;
    for (index, byte) in bytes.iter().take(8).enumerate() {
        length |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(length).ok()?, index + 1));
        }
    }
    None
}

impl Av1Sequence {
    /// Reads the payload of a sequence header OBU (5.5).
    pub fn parse(payload: &[u8]) -> Result<Self, CodecError> {
        let mut bits = BitReader::new(SEQUENCE, payload);
        let bits = &mut bits;
        let profile = small(bits.bits(3, "seq_profile")?);
        if profile > 2 {
            return Err(bits.unsupported("seq_profile", profile.into(), "0, 1 or 2"));
        }
        bits.flag("still_picture")?;
        let reduced_headers = bits.flag("reduced_still_picture_header")?;
        let (mut level, mut high_tier, mut fixed_rate) = (0, false, None);
        if reduced_headers {
            level = small(bits.bits(5, "seq_level_idx")?);
        } else {
            let mut delay_bits = None;
            if bits.flag("timing_info_present_flag")? {
                fixed_rate = read_timing(bits)?;
                if bits.flag("decoder_model_info_present_flag")? {
                    delay_bits = Some(1 + bits.bits(5, "buffer_delay_length_minus_1")? as usize);
                    bits.skip(32 + 5 + 5, "decoder model")?;
                }
            }
            let display_delays = bits.flag("initial_display_delay_present_flag")?;
            for point in 0..=bits.bits(5, "operating_points_cnt_minus_1")? {
                bits.skip(12, "operating_point_idc")?;
                let own_level = small(bits.bits(5, "seq_level_idx")?);
                let own_tier = own_level > 7 && bits.flag("seq_tier")?;
                if point == 0 {
                    (level, high_tier) = (own_level, own_tier);
                }
                if let Some(delay_bits) = delay_bits
                    && bits.flag("decoder_model_present_for_this_op")?
                {
                    bits.skip(2 * delay_bits + 1, "operating parameters")?;
                }
                if display_delays && bits.flag("initial_display_delay_present_for_this_op")? {
                    bits.skip(4, "initial_display_delay_minus_1")?;
                }
            }
        }
        let width_bits = 1 + bits.bits(4, "frame_width_bits_minus_1")? as usize;
        let height_bits = 1 + bits.bits(4, "frame_height_bits_minus_1")? as usize;
        let width = 1 + bits.bits(width_bits, "max_frame_width_minus_1")?;
        let height = 1 + bits.bits(height_bits, "max_frame_height_minus_1")?;
        skip_tools(bits, reduced_headers)?;
        let mut sequence = Self {
            profile,
            level,
            high_tier,
            bit_depth: 8,
            monochrome: false,
            subsampling: (true, true),
            chroma_position: 0,
            width,
            height,
            colour: None,
            fixed_rate,
            reduced_headers,
        };
        sequence.read_colour(bits)?;
        Ok(sequence)
    }

    /// color_config (5.5.2).
    fn read_colour(&mut self, bits: &mut BitReader<'_>) -> Result<(), CodecError> {
        let high = bits.flag("high_bitdepth")?;
        let twelve = self.profile == 2 && high && bits.flag("twelve_bit")?;
        self.bit_depth = match (high, twelve) {
            (_, true) => 12,
            (true, false) => 10,
            (false, false) => 8,
        };
        self.monochrome = self.profile != 1 && bits.flag("mono_chrome")?;
        let mut colour = Colour::unspecified(false);
        let described = bits.flag("color_description_present_flag")?;
        if described {
            colour.primaries = bits.byte("color_primaries")?;
            colour.transfer = bits.byte("transfer_characteristics")?;
            colour.matrix = bits.byte("matrix_coefficients")?;
        }
        if (colour.primaries, colour.transfer, colour.matrix) == SRGB && !self.monochrome {
            colour.full_range = true;
            self.subsampling = (false, false);
        } else {
            colour.full_range = bits.flag("color_range")?;
            self.subsampling = match (self.monochrome, self.profile, self.bit_depth) {
                (true, ..) | (_, 0, _) => (true, true),
                (_, 1, _) => (false, false),
                (.., 12) => {
                    let x = bits.flag("subsampling_x")?;
                    (x, x && bits.flag("subsampling_y")?)
                }
                _ => (true, false),
            };
            if self.subsampling == (true, true) && !self.monochrome {
                self.chroma_position = small(bits.bits(2, "chroma_sample_position")?);
            }
        }
        self.colour = (described || colour.full_range).then_some(colour);
        Ok(())
    }
}

/// timing_info (5.5.3): pictures in seconds, if all are shown for the same time.
fn read_timing(bits: &mut BitReader<'_>) -> Result<Option<(u32, u32)>, CodecError> {
    let units = bits.bits(32, "num_units_in_display_tick")?;
    let scale = bits.bits(32, "time_scale")?;
    let mut ticks = None;
    if bits.flag("equal_picture_interval")? {
        ticks = bits.unsigned("num_ticks_per_picture_minus_1")?.checked_add(1);
    }
    let per = ticks.and_then(|ticks| ticks.checked_mul(units)).filter(|per| *per > 0 && scale > 0);
    Ok(per.map(|per| (scale, per)))
}

/// From frame_id_numbers_present_flag to enable_restoration.
fn skip_tools(bits: &mut BitReader<'_>, reduced_headers: bool) -> Result<(), CodecError> {
    if !reduced_headers && bits.flag("frame_id_numbers_present_flag")? {
        bits.skip(7, "lengths of frame ids")?;
    }
    bits.skip(3, "superblock and intra flags")?;
    if !reduced_headers {
        bits.skip(4, "inter flags")?;
        let order_hint = bits.flag("enable_order_hint")?;
        if order_hint {
            bits.skip(2, "order hint flags")?;
        }
        let screen_content =
            bits.flag("seq_choose_screen_content_tools")? || bits.flag("seq_force_screen_content_tools")?;
        if screen_content && !bits.flag("seq_choose_integer_mv")? {
            bits.flag("seq_force_integer_mv")?;
        }
        if order_hint {
            bits.skip(3, "order_hint_bits_minus_1")?;
        }
    }
    bits.skip(3, "superres, cdef and restoration flags")
}

fn small(value: u32) -> u8 {
    u8::try_from(value).expect("a few bits")
}

const RECORD: &str = "AV1CodecConfigurationRecord";
const SEQUENCE: &str = "AV1 sequence header";
/// It goes into init segments, and no encoder writes more than some dozen bytes.
const SEQUENCE_HEADER_BYTES_MAX: usize = 1024;
/// Bits of an OBU's header.
const EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
/// Types of OBUs (6.2.2).
const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_FRAME_HEADER: u8 = 3;
const OBU_TILE_GROUP: u8 = 4;
const OBU_METADATA: u8 = 5;
const OBU_FRAME: u8 = 6;
/// Primaries, transfer and matrix that stand for RGB.
const SRGB: (u8, u8, u8) = (1, 13, 0);

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &[u8] = include_bytes!("../testdata/svtav1-main.av1c");

    fn config() -> Av1Config {
        Av1Config::parse(MAIN).unwrap().unwrap()
    }

    /// An OBU with its length.
    fn obu(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&[kind << 3 | HAS_SIZE, u8::try_from(payload.len()).unwrap()], payload].concat()
    }

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        let config = config();
        assert_eq!(config.record(), MAIN);
        let Av1Sequence { width, height, bit_depth, monochrome, subsampling, .. } = config.parsed;
        assert_eq!((width, height, bit_depth, monochrome, subsampling), (322, 182, 8, false, (true, true)));
        assert_eq!(Av1Config::parse(&MAIN[..4]), Ok(None), "without a sequence header");
        let error = Av1Config::parse(&[0x80]).unwrap_err().to_string();
        assert_eq!(error, "AV1CodecConfigurationRecord: marker and version is 128, expected 129");
    }

    /// C-39.
    #[test]
    fn codec_strings_are_short_where_video_is_as_usual() {
        let mut config = config();
        assert_eq!(config.codec_string(), "av01.0.00M.08");
        config.parsed.level = 4;
        config.parsed.bit_depth = 10;
        config.parsed.colour = Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false });
        config.parsed.chroma_position = 2;
        assert_eq!(config.codec_string(), "av01.0.04M.10.0.112.09.16.09.0");
        config.parsed.high_tier = true;
        config.parsed.colour = Some(Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false });
        config.parsed.chroma_position = 0;
        assert_eq!(config.codec_string(), "av01.0.04H.10");
    }

    #[test]
    fn a_clean_unit_is_passed_on_without_a_copy() {
        let header = &config().sequence_header[..];
        let frame = obu(OBU_FRAME, &[0x10, 1, 2]);
        let payload = Bytes::from([&obu(2, &[])[..], header, &frame].concat());
        let unit = config().access_unit(&payload).unwrap();
        assert_eq!(unit.data, payload.slice(2..));
        assert_eq!(unit.data.as_ptr_range().end, payload.as_ptr_range().end);
        assert_eq!(unit.parameter_sets, [header]);
        assert!(unit.idr && unit.has_picture && !unit.damaged);
        assert_eq!(Av1Config::from_temporal_unit(&payload), Ok(Some(config())));
    }

    #[test]
    fn every_obu_gets_its_length_and_what_has_no_place_is_removed() {
        // A delimiter, padding between two tile groups, and a last one without a length.
        let (frame, tiles) = (obu(OBU_FRAME_HEADER, &[0x30]), obu(OBU_TILE_GROUP, &[7; 3]));
        let open = [OBU_TILE_GROUP << 3, 9, 9];
        let payload = Bytes::from([&obu(2, &[])[..], &frame, &tiles, &obu(15, &[0; 4]), &open].concat());
        let unit = config().access_unit(&payload).unwrap();
        assert_eq!(unit.data, [&frame[..], &tiles, &obu(OBU_TILE_GROUP, &[9, 9])].concat());
        assert!(!unit.idr && unit.has_picture);
    }

    #[test]
    fn only_a_shown_keyframe_is_one() {
        for (header, idr) in [(0x10, true), (0x00, false), (0x30, false), (0x50, false), (0x90, false)] {
            let unit = config().access_unit(&obu(OBU_FRAME, &[header]).into()).unwrap();
            assert_eq!(unit.idr, idr, "{header:02x}");
        }
        // A picture that is not shown, with one behind it that is: not a place to begin.
        let payload = [obu(OBU_FRAME, &[0x20]), obu(OBU_FRAME, &[0x10])].concat();
        assert!(!config().access_unit(&payload.into()).unwrap().idr);
    }

    #[test]
    fn damage_is_told() {
        let payload = [&obu(OBU_FRAME, &[0x30, 1])[..], &[OBU_TILE_GROUP << 3 | HAS_SIZE, 200, 1]].concat();
        let unit = config().access_unit(&payload.into()).unwrap();
        assert!(unit.damaged && unit.data.len() == 4);
        let error = config().access_unit(&Bytes::from_static(&[0xFF, 0xFF])).unwrap_err();
        assert_eq!(error.to_string(), "temporal unit ends after 2 bytes, inside its OBU");
        assert!(!config().access_unit(&Bytes::new()).unwrap().has_picture);
    }
}
