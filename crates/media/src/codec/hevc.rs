//! HEVC: the HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3; R-94).

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use super::access_unit::{HEVC_PPS, HEVC_SPS, HEVC_VPS};
use super::bits::BitReader;
use super::record::{RecordReader, check_sets};
use super::{CodecError, HevcSps};

/// A parsed HEVCDecoderConfigurationRecord.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HevcConfig {
    /// Bytes of the length before each NAL unit: 1, 2, 3 or 4.
    pub nal_length_bytes: u8,
    /// Video parameter sets, NAL header included. May be empty: few decoders look at them.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets, NAL header included. At least one.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, NAL header included. At least one.
    pub pps: Vec<Bytes>,
    /// What the first SPS says.
    pub parsed: HevcSps,
}

impl HevcConfig {
    /// Reads a record. Trailing bytes, reserved bits and arrays of other NAL units are accepted.
    pub fn parse(record: &[u8]) -> Result<Self, CodecError> {
        let mut reader = RecordReader::new(RECORD, record);
        let version = reader.byte("version")?;
        // Encoders before the standard was done wrote 0.
        if version > 1 {
            return Err(reader.unsupported("version", u64::from(version), "1"));
        }
        // All but the size of lengths is taken from the SPS, which is what a decoder goes by.
        reader.take(20, "profile, level and format")?;
        let nal_length_bytes = 1 + (reader.byte("length size")? & 3);
        let arrays = reader.byte("number of arrays")?;
        let mut sets = Vec::new();
        for _ in 0..arrays {
            let nal_type = reader.byte("array type")? & 0x3F;
            let count = reader.u16("number of NAL units")?;
            let units = reader.units(count, "NAL unit")?;
            if matches!(nal_type, HEVC_VPS | HEVC_SPS | HEVC_PPS) {
                sets.extend(units);
            }
        }
        Ok(Self { nal_length_bytes, ..Self::from_parameter_sets(sets)? })
    }

    /// A configuration of these NAL units (header included) in any order, for samples with 4-byte lengths.
    ///
    /// Units that are none of the three kinds are left out. There must be an SPS and a PPS, at most 64 of a kind, none
    /// longer than 65535 bytes, and the first SPS must be readable.
    pub fn from_parameter_sets(sets: Vec<Bytes>) -> Result<Self, CodecError> {
        let mut by_type: [Vec<Bytes>; 3] = Default::default();
        for set in sets {
            if let Some(kind) = set.first().and_then(|first| (first >> 1 & 0x3F).checked_sub(HEVC_VPS))
                && let Some(of_type) = by_type.get_mut(usize::from(kind))
            {
                of_type.push(set);
            }
        }
        let [vps, sps, pps] = by_type;
        for (units, field, count_min) in [(&vps, "VPS", 0), (&sps, "SPS", 1), (&pps, "PPS", 1)] {
            if !(count_min..=SETS_MAX).contains(&units.len()) {
                let expected = "at least one SPS and PPS, and no more than 64 of a kind";
                return Err(CodecError::Unsupported { record: RECORD, field, found: units.len() as u64, expected });
            }
            if let Some(long) = units.iter().find(|unit| unit.len() > usize::from(u16::MAX)) {
                let (found, expected) = (long.len() as u64, "at most 65535 bytes");
                return Err(CodecError::Unsupported { record: RECORD, field, found, expected });
            }
        }
        check_sets(RECORD, vps.iter().chain(&sps).chain(&pps))?;
        let parsed = HevcSps::parse(&sps[0])?;
        Ok(Self { nal_length_bytes: 4, vps, sps, pps, parsed })
    }

    /// This configuration with parameter sets that came with a picture, as [`AvcConfig::with_sets`](super::AvcConfig::with_sets)
    /// makes it. An SPS takes the place of all: who sends more than one sends them together.
    pub fn with_sets(&self, sets: &[Bytes]) -> Option<Self> {
        let known = |set: &Bytes| [&self.vps, &self.sps, &self.pps].iter().any(|sets| sets.contains(set));
        if sets.iter().all(known) {
            return None;
        }
        let kind = |set: &Bytes| set.first().map_or(0, |first| first >> 1 & 0x3F);
        // VPS: 4 bits behind the header. PPS: an Exp-Golomb code.
        let id = |set: &Bytes| match kind(set) {
            HEVC_VPS => set.get(2).map(|byte| u32::from(byte >> 4)),
            HEVC_PPS => BitReader::new("PPS", set.get(2..).unwrap_or_default()).unsigned("id").ok(),
            _ => None,
        };
        let stays = |old: &&Bytes| sets.iter().all(|new| (kind(new), id(new)) != (kind(old), id(old)));
        let old = self.vps.iter().chain(&self.sps).chain(&self.pps).filter(stays);
        let merged = Self::from_parameter_sets(sets.iter().chain(old).cloned().collect()).ok()?;
        Some(Self { nal_length_bytes: self.nal_length_bytes, ..merged })
    }

    /// Whether pictures may go on with this configuration after those of another one without anybody noticing, as
    /// [`AvcConfig::continues`](super::AvcConfig::continues) says it.
    pub fn continues(&self, before: &Self) -> bool {
        let format = |config: &Self| {
            let HevcSps { profile, chroma_format, bit_depth_luma, bit_depth_chroma, .. } = config.parsed;
            (profile, chroma_format, bit_depth_luma, bit_depth_chroma)
        };
        let shape = |config: &Self| {
            let HevcSps { width, height, sample_aspect, .. } = config.parsed;
            (width, height, sample_aspect)
        };
        format(self) == format(before) && shape(self) == shape(before)
    }

    /// The record that describes samples with 4-byte lengths and without parameter sets in them, as `hvc1` has it.
    pub fn record(&self) -> Bytes {
        let sps = &self.parsed;
        let mut out = BytesMut::with_capacity(256);
        out.put_u8(1);
        out.put_u8(sps.profile_space << 6 | u8::from(sps.high_tier) << 5 | sps.profile);
        out.put_u32(sps.compatibility);
        out.put_slice(&sps.constraints);
        out.put_u8(sps.level);
        out.put_u16(0xF000); // segments of a picture: unknown
        out.put_u8(0xFC); // parallelism: unknown
        out.put_u8(0xFC | sps.chroma_format);
        out.put_u8(0xF8 | (sps.bit_depth_luma - 8));
        out.put_u8(0xF8 | (sps.bit_depth_chroma - 8));
        out.put_u16(0); // average frame rate: unknown
        out.put_u8(sps.temporal_layers << 3 | u8::from(sps.temporal_id_nesting) << 2 | 3);
        let arrays = [(HEVC_VPS, &self.vps), (HEVC_SPS, &self.sps), (HEVC_PPS, &self.pps)];
        let arrays = arrays.into_iter().filter(|(_, sets)| !sets.is_empty());
        out.put_u8(if self.vps.is_empty() { 2 } else { 3 });
        for (nal_type, sets) in arrays {
            out.put_u8(0x80 | nal_type); // the array is complete
            out.put_u16(u16::try_from(sets.len()).expect("at most 64"));
            for set in sets {
                out.put_u16(u16::try_from(set.len()).expect("lengths are checked when the configuration is made"));
                out.put_slice(set);
            }
        }
        out.freeze()
    }

    /// The CODECS string: `hvc1.1.6.L93.B0` (C-38).
    pub fn codec_string(&self) -> String {
        let sps = &self.parsed;
        let space = ["", "A", "B", "C"][usize::from(sps.profile_space & 3)];
        let tier = if sps.high_tier { 'H' } else { 'L' };
        let mut text =
            format!("hvc1.{space}{}.{:X}.{tier}{}", sps.profile, sps.compatibility.reverse_bits(), sps.level);
        let used = sps.constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for byte in &sps.constraints[..used] {
            write!(text, ".{byte:X}").expect("text can be written into a string");
        }
        text
    }
}

/// Parameter sets of a kind that a record may have: as many as there are ids for PPS.
const SETS_MAX: usize = 64;
const RECORD: &str = "HEVCDecoderConfigurationRecord";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Colour;

    const MAIN: &[u8] = include_bytes!("../testdata/x265-main.hvcc");
    const MAIN_10: &[u8] = include_bytes!("../testdata/x265-main10-pq.hvcc");

    /// What FFmpeg writes that we do not know or repeat: segmentation, parallelism, frame rate, and its own SEI.
    #[test]
    fn a_record_of_ours_says_the_same() {
        for record in [MAIN, MAIN_10] {
            let config = HevcConfig::parse(record).unwrap();
            let ours = config.record();
            assert_eq!(ours[..13], record[..13], "profile, tier, flags and level");
            assert_eq!(ours[16..19], record[16..19], "format");
            assert_eq!(ours[21], record[21], "temporal layers and lengths");
            assert_eq!(HevcConfig::parse(&ours), Ok(config.clone()));
            assert_eq!(HevcConfig::parse(&[&ours[..], &[9, 9]].concat()), Ok(config));
        }
    }

    /// C-38.
    #[test]
    fn codec_strings_are_those_of_the_standard() {
        let main = HevcConfig::parse(MAIN).unwrap();
        assert_eq!(main.codec_string(), "hvc1.1.6.L60.90");
        let mut config = main;
        config.parsed.constraints = [0xB0, 0, 0, 0, 0, 0];
        config.parsed.level = 93;
        assert_eq!(config.codec_string(), "hvc1.1.6.L93.B0");
        config.parsed = HevcSps { profile: 2, compatibility: 0x2000_0000, level: 153, ..config.parsed };
        assert_eq!(config.codec_string(), "hvc1.2.4.L153.B0");
        config.parsed = HevcSps { profile_space: 1, high_tier: true, constraints: [0; 6], ..config.parsed };
        assert_eq!(config.codec_string(), "hvc1.A2.4.H153");
    }

    #[test]
    fn size_format_and_colour_come_from_the_sps() {
        let main = HevcConfig::parse(MAIN).unwrap();
        assert_eq!((main.nal_length_bytes, main.vps.len(), main.sps.len(), main.pps.len()), (4, 1, 1, 1));
        let sps = &main.parsed;
        assert_eq!((sps.width, sps.height, sps.sample_aspect), (322, 182, (1, 1)));
        assert_eq!((sps.bit_depth_luma, sps.chroma_format, sps.reorder_pictures), (8, 1, 2));
        let sps = HevcConfig::parse(MAIN_10).unwrap().parsed;
        assert_eq!((sps.width, sps.height, sps.sample_aspect), (320, 180, (4, 3)));
        assert_eq!((sps.bit_depth_luma, sps.bit_depth_chroma, sps.reorder_pictures), (10, 10, 0));
        let pq = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
        assert_eq!(sps.colour, Some(pq));
    }

    ///
    #[test]
    fn sets_that_come_with_a_picture_take_the_place_of_those_with_their_ids() {
        let (main, other) = (HevcConfig::parse(MAIN).unwrap(), HevcConfig::parse(MAIN_10).unwrap());
        let sets = |config: &HevcConfig| [config.vps.clone(), config.sps.clone(), config.pps.clone()].concat();
        assert_eq!(main.with_sets(&[]), None);
        assert_eq!(main.with_sets(&sets(&main)), None);
        assert_eq!(main.with_sets(&sets(&other)), Some(other.clone()));
        assert!(!other.continues(&main));
        // A PPS with another id, 1, is one more.
        let second = Bytes::from_static(&[0x44, 1, 0x40, 0x80]);
        let more = main.with_sets(std::slice::from_ref(&second)).unwrap();
        assert_eq!((more.pps.len(), &more.pps[0]), (main.pps.len() + 1, &second));
        assert!(more.continues(&main) && main.continues(&more), "R-96: nobody notices");
        assert_eq!(main.with_sets(&[Bytes::from_static(&[0x42, 1, 1])]), None, "it cannot be read");
    }

    #[test]
    fn parameter_sets_with_start_codes_become_a_configuration() {
        let config = HevcConfig::parse(MAIN).unwrap();
        let sets = [&config.pps[0], &config.sps[0], &config.vps[0]];
        let header: Vec<u8> = sets.into_iter().flat_map(|set| [&[0, 0, 0, 1], &set[..]].concat()).collect();
        assert_eq!(HevcConfig::parse_annex_b(&header.into()), Ok(config));
    }

    #[test]
    fn errors_say_what_was_found() {
        let text = |record: &[u8]| HevcConfig::parse(record).unwrap_err().to_string();
        assert_eq!(text(&[]), "HEVCDecoderConfigurationRecord ends after 0 bytes, inside its version");
        assert_eq!(text(&[2]), "HEVCDecoderConfigurationRecord: version is 2, expected 1");
        assert_eq!(text(&MAIN[..30]), "HEVCDecoderConfigurationRecord ends after 30 bytes, inside its NAL unit");
        let none = [&MAIN[..22], &[0]].concat();
        assert_eq!(
            text(&none),
            "HEVCDecoderConfigurationRecord: SPS is 0, expected at least one SPS and PPS, and no more than 64 of a kind"
        );
    }
}
