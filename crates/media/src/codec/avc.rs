//! H.264: the AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3; R-93).

use bytes::{BufMut, Bytes, BytesMut};

use super::access_unit::by_type;
use super::bits::BitReader;
use super::record::{RecordReader, check_sets};
use super::{CodecError, Sps};

/// A parsed AVCDecoderConfigurationRecord.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AvcConfig {
    /// Bytes of the length before each NAL unit: 1, 2, 3 or 4.
    pub nal_length_bytes: u8,
    /// Sequence parameter sets, NAL header included, in the record's order. At least one.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, NAL header included, in the record's order. At least one.
    pub pps: Vec<Bytes>,
    /// What the first SPS says.
    pub parsed: Sps,
}

impl AvcConfig {
    /// Reads a record. Trailing bytes, reserved bits and a missing High-profile tail are accepted.
    pub fn parse(record: &[u8]) -> Result<Self, CodecError> {
        let mut reader = RecordReader::new(RECORD, record);
        let version = reader.byte("version")?;
        if version != 1 {
            return Err(unsupported("version", u64::from(version), "1"));
        }
        // Profile, constraints and level are taken from the SPS, which is what a decoder goes by.
        reader.take(3, "profile and level")?;
        let nal_length_bytes = 1 + (reader.byte("length size")? & 3);
        let sps_count = reader.byte("number of SPS")? & 0x1F;
        let sps = reader.units(sps_count.into(), "SPS")?;
        let pps_count = reader.byte("number of PPS")?;
        let pps = reader.units(pps_count.into(), "PPS")?;
        Ok(Self { nal_length_bytes, ..Self::from_parameter_sets(sps, pps)? })
    }

    /// A configuration of these NAL units (header byte included), for samples with 4-byte lengths.
    ///
    /// Empty units are left out. There must be at least one of each kind, at most 31 SPS and 255 PPS, none longer than
    /// 65535 bytes, all together not longer than 64 KiB, and the first SPS must be readable.
    pub fn from_parameter_sets(sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<Self, CodecError> {
        let (sps, pps) = (usable(sps, SPS_MAX, 7, "SPS")?, usable(pps, PPS_MAX, 8, "PPS")?);
        check_sets(RECORD, sps.iter().chain(&pps))?;
        let parsed = Sps::parse(&sps[0])?;
        Ok(Self { nal_length_bytes: 4, sps, pps, parsed })
    }

    /// This configuration with parameter sets that came with a picture: each takes the place of the one with its id
    /// . `None` when they say nothing new, or nothing that can be read.
    pub fn with_sets(&self, sets: &[Bytes]) -> Option<Self> {
        if sets.iter().all(|set| self.sps.contains(set) || self.pps.contains(set)) {
            return None;
        }
        let (sps, pps) = by_type(sets.to_vec());
        // What is new stands first: the first SPS is taken for the one that is used.
        let merged = |new: &[Bytes], known: &[Bytes], id: fn(&[u8]) -> u32, count_max: usize| -> Vec<Bytes> {
            let mut sets: Vec<Bytes> = Vec::new();
            for set in new.iter().rev().chain(known) {
                if sets.iter().all(|kept| id(kept) != id(set)) {
                    sets.push(set.clone());
                }
            }
            sets.truncate(count_max);
            sets
        };
        let sets = Self::from_parameter_sets(
            merged(&sps, &self.sps, sps_id, SPS_MAX),
            merged(&pps, &self.pps, pps_id, PPS_MAX),
        );
        Some(Self { nal_length_bytes: self.nal_length_bytes, ..sets.ok()? })
    }

    /// Whether pictures may go on with this configuration after those of another one without anybody noticing: size,
    /// shape, format and rate are the same.
    pub fn continues(&self, before: &Self) -> bool {
        let format = |config: &Self| {
            let Sps { profile, chroma_format, bit_depth_luma, bit_depth_chroma, .. } = config.parsed;
            (profile, chroma_format, bit_depth_luma, bit_depth_chroma)
        };
        let shape = |config: &Self| {
            let Sps { width, height, sample_aspect, .. } = config.parsed;
            (width, height, sample_aspect)
        };
        let rate = |config: &Self| config.parsed.timing.map(|timing| (timing.units_in_tick, timing.time_scale));
        format(self) == format(before) && shape(self) == shape(before) && rate(self) == rate(before)
    }

    /// The record that describes samples with 4-byte lengths, whatever lengths the publisher sends: the SPS that is used in
    /// front, other sets in the order of their ids, the tail written for profiles that have it (C-9).
    pub fn record(&self) -> Bytes {
        let lengths: usize = self.sps.iter().chain(&self.pps).map(|set| 2 + set.len()).sum();
        let mut out = BytesMut::with_capacity(7 + lengths + 4);
        out.extend_from_slice(&[1, self.parsed.profile, self.parsed.constraints, self.parsed.level, 0xFF]);
        out.put_u8(0xE0 | u8::try_from(self.sps.len()).unwrap_or(31).min(31));
        let (used, others) = self.sps.split_at(1.min(self.sps.len()));
        write_sets(&mut out, used, sps_id);
        write_sets(&mut out, others, sps_id);
        out.put_u8(u8::try_from(self.pps.len()).unwrap_or(255));
        write_sets(&mut out, &self.pps, pps_id);
        if matches!(self.parsed.profile, 100 | 110 | 122 | 144 | 244) {
            out.put_u8(0xFC | self.parsed.chroma_format);
            out.put_u8(0xF8 | (self.parsed.bit_depth_luma - 8));
            out.put_u8(0xF8 | (self.parsed.bit_depth_chroma - 8));
            out.put_u8(0);
        }
        out.freeze()
    }

    /// The CODECS string: `avc1.64001f` (C-37).
    pub fn codec_string(&self) -> String {
        format!("avc1.{:02x}{:02x}{:02x}", self.parsed.profile, self.parsed.constraints, self.parsed.level)
    }
}

/// The units that are there, if their number, types and lengths can stand in a record.
fn usable(units: Vec<Bytes>, count_max: usize, nal_type: u8, field: &'static str) -> Result<Vec<Bytes>, CodecError> {
    let units: Vec<Bytes> = units.into_iter().filter(|unit| !unit.is_empty()).collect();
    if units.is_empty() || units.len() > count_max {
        return Err(unsupported(field, units.len() as u64, "at least one and no more than a record can hold"));
    }
    for unit in &units {
        if unit[0] & 0x1F != nal_type {
            return Err(unsupported(field, u64::from(unit[0] & 0x1F), "NAL unit type 7 for SPS, 8 for PPS"));
        }
        if unit.len() > usize::from(u16::MAX) {
            return Err(unsupported(field, unit.len() as u64, "at most 65535 bytes"));
        }
    }
    Ok(units)
}

fn write_sets(out: &mut BytesMut, sets: &[Bytes], id: fn(&[u8]) -> u32) {
    let mut sets: Vec<&Bytes> = sets.iter().collect();
    sets.sort_by_key(|set| id(set));
    for set in sets {
        out.put_u16(u16::try_from(set.len()).expect("lengths are checked when the configuration is made"));
        out.extend_from_slice(set);
    }
}

/// seq_parameter_set_id; sets without a readable one sort last.
fn sps_id(set: &[u8]) -> u32 {
    BitReader::new("SPS", set.get(4..).unwrap_or_default()).unsigned("id").unwrap_or(u32::MAX)
}

/// pic_parameter_set_id; sets without a readable one sort last.
fn pps_id(set: &[u8]) -> u32 {
    BitReader::new("PPS", set.get(1..).unwrap_or_default()).unsigned("id").unwrap_or(u32::MAX)
}

fn unsupported(field: &'static str, found: u64, expected: &'static str) -> CodecError {
    CodecError::Unsupported { record: RECORD, field, found, expected }
}

const RECORD: &str = "AVCDecoderConfigurationRecord";
/// Sets that a record can hold.
const SPS_MAX: usize = 31;
const PPS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    const FULL_HD: &[u8] = include_bytes!("../testdata/x264-1080p29.avcc");
    const BASELINE: &[u8] = include_bytes!("../testdata/x264-baseline60.avcc");

    #[test]
    fn records_of_x264_come_out_as_they_went_in() {
        for record in [
            FULL_HD,
            BASELINE,
            include_bytes!("../testdata/x264-576i25-anamorphic.avcc"),
            include_bytes!("../testdata/x264-portrait-444.avcc"),
            include_bytes!("../testdata/x264-high10.avcc"),
            include_bytes!("../testdata/x264-hrd-scaling-lists.avcc"),
        ] {
            assert_eq!(AvcConfig::parse(record).unwrap().record(), record);
        }
    }

    /// an encoder that changes its size says so in its keyframes alone.
    #[test]
    fn sets_that_come_with_a_picture_take_the_place_of_those_with_their_ids() {
        let (large, small) = (AvcConfig::parse(FULL_HD).unwrap(), AvcConfig::parse(BASELINE).unwrap());
        let sets = |config: &AvcConfig| [config.sps.clone(), config.pps.clone()].concat();
        assert_eq!(large.with_sets(&[]), None);
        assert_eq!(large.with_sets(&sets(&large)), None);
        let changed = large.with_sets(&sets(&small)).unwrap();
        assert_eq!((&changed.sps, &changed.pps, &changed.parsed), (&small.sps, &small.pps, &small.parsed));
        assert!(!changed.continues(&large));
        // A PPS with another id is one more.
        let second = Bytes::from_static(&[0x68, 0x5B, 0x8F, 0x20]);
        let more = large.with_sets(std::slice::from_ref(&second)).unwrap();
        assert_eq!((more.pps.len(), &more.pps[0]), (large.pps.len() + 1, &second));
        assert!(more.continues(&large) && large.continues(&more), "R-96: nobody notices");
        assert_eq!(large.with_sets(&[Bytes::from_static(&[0x67, 1])]), None, "it cannot be read");
    }

    #[test]
    fn codec_strings_are_lower_case_hex() {
        assert_eq!(AvcConfig::parse(FULL_HD).unwrap().codec_string(), "avc1.640028");
        assert_eq!(AvcConfig::parse(BASELINE).unwrap().codec_string(), "avc1.42c015");
    }

    #[test]
    fn a_missing_tail_trailing_bytes_and_other_lengths_are_accepted() {
        let without_tail = &FULL_HD[..FULL_HD.len() - 4];
        assert_eq!(AvcConfig::parse(without_tail).unwrap().record(), FULL_HD);
        let mut longer = FULL_HD.to_vec();
        longer.extend([9, 9, 9]);
        assert_eq!(AvcConfig::parse(&longer).unwrap().record(), FULL_HD);
        for length_bytes in 1..=4 {
            let mut record = FULL_HD.to_vec();
            record[4] = length_bytes - 1; // and no reserved bits
            record[5] &= 0x1F;
            let config = AvcConfig::parse(&record).unwrap();
            assert_eq!(config.nal_length_bytes, length_bytes);
            assert_eq!(config.record(), FULL_HD, "written with 4-byte lengths always");
        }
    }

    #[test]
    fn several_sets_are_kept_in_order_and_written_by_id() {
        let first = AvcConfig::parse(FULL_HD).unwrap();
        // PPS ids: 1 is coded 010, 0 is coded 1.
        let (second, main) = (Bytes::from_static(&[0x68, 0x4B, 0xE3]), first.pps[0].clone());
        let config = AvcConfig::from_parameter_sets(first.sps.clone(), vec![second.clone(), main.clone()]).unwrap();
        let read = AvcConfig::parse(&config.record()).unwrap();
        assert_eq!(config.pps, [second.clone(), main.clone()]);
        assert_eq!(read.pps, [main, second]);
    }

    #[test]
    fn errors_say_what_was_found() {
        let text = |record: &[u8]| AvcConfig::parse(record).unwrap_err().to_string();
        assert_eq!(text(&[]), "AVCDecoderConfigurationRecord ends after 0 bytes, inside its version");
        assert_eq!(text(&[0, 0, 0, 1, 0x67]), "AVCDecoderConfigurationRecord: version is 0, expected 1");
        assert_eq!(text(&FULL_HD[..12]), "AVCDecoderConfigurationRecord ends after 12 bytes, inside its SPS");
        assert_eq!(
            text(&[1, 100, 0, 40, 0xFF, 0xE0, 0]),
            "AVCDecoderConfigurationRecord: SPS is 0, expected at least one and no more than a record can hold"
        );
    }
}
