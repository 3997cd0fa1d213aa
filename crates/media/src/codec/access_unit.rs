//! Access units of H.264 and HEVC as publishers send them, made into what a sample of our tracks holds (R-99 to R-101,
//! C-26).

use std::ops::{Range, RangeInclusive};

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::bits::{BitReader, unescape};
use super::{AvcConfig, CodecError, HevcConfig, sei};

/// One access unit, cleaned.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NormalisedUnit {
    /// What belongs into a sample: of H.264 and HEVC NAL units with 4-byte lengths; parameter sets, AUD, filler and ends
    /// of sequence removed. Of AV1 OBUs with their lengths, delimiters and padding removed. May be empty.
    pub data: Bytes,
    /// It is an IDR picture, whatever the container said: decoding can begin with it, and nothing that comes
    /// after it is shown before it or needs what came before. Of AV1 and VP9 a keyframe.
    pub idr: bool,
    /// Decoding can begin with it although it is no IDR picture, and pictures are right after so many more frames: 0 where
    /// only some that are shown before it may be missing (open GOPs; HEVC's CRA and BLA where pictures are reordered), more
    /// where the picture is refreshed bit by bit, as a recovery point SEI says.
    pub recovery: Option<u16>,
    /// It has a slice, or a frame, at all. Without one it is no picture and cannot be a sample.
    pub has_picture: bool,
    /// The payload ended inside a NAL unit or OBU; `data` holds what came before.
    pub damaged: bool,
    /// It came with start codes instead of lengths.
    pub annex_b: bool,
    /// Parameter sets found in the payload, NAL unit header included; the sequence header of AV1.
    pub parameter_sets: Vec<Bytes>,
}

impl AvcConfig {
    /// Cleans a payload whose NAL units have lengths of [`nal_length_bytes`](Self::nal_length_bytes).
    ///
    /// No byte is copied when lengths have 4 bytes and what is kept lies in one piece of at least half the payload, which is
    /// the rule. Start codes where lengths should be are understood. An error means that not one NAL unit could be found.
    pub fn access_unit(&self, payload: &Bytes) -> Result<NormalisedUnit, CodecError> {
        clean(payload, self.nal_length_bytes, classify_avc)
    }

    /// Cleans a payload with start codes, as encoders hand it out (H.264, annex B).
    pub fn access_unit_annex_b(payload: &Bytes) -> NormalisedUnit {
        clean_annex_b(payload, classify_avc)
    }

    /// A configuration of the parameter sets among NAL units with start codes, as encoders give them before the first
    /// picture.
    pub fn parse_annex_b(header: &Bytes) -> Result<Self, CodecError> {
        let (sps, pps) = by_type(Self::access_unit_annex_b(header).parameter_sets);
        Self::from_parameter_sets(sps, pps)
    }

    /// A configuration of the parameter sets in a payload with 4-byte lengths or start codes, for encoders that send no
    /// record. `None` when it does not have them.
    pub fn in_band(payload: &Bytes) -> Option<Self> {
        let (sps, pps) = by_type(clean(payload, 4, classify_avc).ok()?.parameter_sets);
        Self::from_parameter_sets(sps, pps).ok()
    }
}

/// H.264's SPS, and its PPS.
pub(super) fn by_type(sets: Vec<Bytes>) -> (Vec<Bytes>, Vec<Bytes>) {
    sets.into_iter().partition(|set| set[0] & 0x1F == NAL_SPS)
}

impl HevcConfig {
    /// Cleans a payload whose NAL units have lengths of [`nal_length_bytes`](Self::nal_length_bytes), as
    /// [`AvcConfig::access_unit`] does.
    pub fn access_unit(&self, payload: &Bytes) -> Result<NormalisedUnit, CodecError> {
        let unit = clean(payload, self.nal_length_bytes, classify_hevc)?;
        // Without reordering no picture can be shown before one that it follows.
        let idr = unit.idr
            || unit.recovery.is_some() && self.parsed.reorder_pictures == 0 && Self::is_random_access(&unit.data);
        Ok(NormalisedUnit { idr, recovery: unit.recovery.filter(|_| !idr), ..unit })
    }

    /// Whether what is in a sample ([`NormalisedUnit::data`]) is an IRAP picture: IDR, BLA or CRA. Of the pictures with
    /// which decoding can begin these alone are sync samples (ISO/IEC 14496-15, 8.4.3): one that has but a recovery point
    /// refers to others.
    pub fn is_random_access(sample: &[u8]) -> bool {
        let units = walk_lengths(sample, 4).units;
        let mut types = units.into_iter().map(|unit| sample[unit.start] >> 1 & 0x3F);
        types.find(|nal_type| *nal_type < HEVC_VPS).is_some_and(|first| HEVC_IRAP.contains(&first))
    }

    /// A configuration of the parameter sets among NAL units with start codes.
    pub fn parse_annex_b(header: &Bytes) -> Result<Self, CodecError> {
        Self::from_parameter_sets(clean_annex_b(header, classify_hevc).parameter_sets)
    }

    /// A configuration of the parameter sets in a payload, as [`AvcConfig::in_band`] makes it.
    pub fn in_band(payload: &Bytes) -> Option<Self> {
        Self::from_parameter_sets(clean(payload, 4, classify_hevc).ok()?.parameter_sets).ok()
    }
}

/// What becomes of a NAL unit.
#[derive(Clone, Copy, Debug)]
enum Class {
    Slice {
        idr: bool,
        recovery_point: bool,
    },
    ParameterSet,
    Unwanted,
    /// Kept. It may have a recovery point.
    Sei(Recovery),
    /// Kept, such as HEVC's SEI behind slices. `small`: start codes may hide in it.
    Other {
        small: bool,
    },
}

/// Reads the recovery point of a SEI NAL unit, if it has one: how many more frames it takes until pictures are right.
type Recovery = fn(&[u8]) -> Option<u16>;

/// The class of a NAL unit, which has at least one byte.
type Classify = fn(&[u8]) -> Class;

fn classify_avc(unit: &[u8]) -> Class {
    match unit[0] & 0x1F {
        NAL_SPS | NAL_PPS => Class::ParameterSet,
        NAL_SPS_EXTENSION | NAL_AUD | NAL_END_OF_SEQUENCE | NAL_END_OF_STREAM | NAL_FILLER => Class::Unwanted,
        nal_type @ 1..=5 => Class::Slice { idr: nal_type == NAL_IDR, recovery_point: false },
        NAL_SEI => Class::Sei(avc_recovery_point),
        nal_type => Class::Other { small: nal_type == 0 },
    }
}

/// ITU-T H.265, table 7-1. Units of other layers than the base, of reserved and of unspecified types have no use.
fn classify_hevc(unit: &[u8]) -> Class {
    let [first, second, ..] = *unit else { return Class::Unwanted };
    if first & 1 != 0 || second >> 3 != 0 {
        return Class::Unwanted;
    }
    match first >> 1 & 0x3F {
        nal_type @ 0..=31 => Class::Slice {
            idr: matches!(nal_type, HEVC_IDR_W_RADL | HEVC_IDR_N_LP),
            recovery_point: matches!(nal_type, HEVC_BLA_W_LP..=HEVC_BLA_N_LP | HEVC_CRA),
        },
        HEVC_VPS | HEVC_SPS | HEVC_PPS => Class::ParameterSet,
        HEVC_PREFIX_SEI => Class::Sei(hevc_recovery_point),
        HEVC_SUFFIX_SEI => Class::Other { small: true },
        _ => Class::Unwanted,
    }
}

/// Cleans a payload whose NAL units have lengths before them.
fn clean(payload: &Bytes, nal_length_bytes: u8, classify: Classify) -> Result<NormalisedUnit, CodecError> {
    let length_bytes = usize::from(nal_length_bytes.clamp(1, 4));
    let walk = walk_lengths(payload, length_bytes);
    if !walk.complete && start_code_length(payload) > 0 {
        return Ok(clean_annex_b(payload, classify));
    }
    if walk.units.is_empty() && !walk.complete {
        return Err(CodecError::Truncated { record: "access unit", field: "NAL unit", length: payload.len() });
    }
    let may_hide = |unit: &Range<usize>| may_hide_start_codes(classify(&payload[unit.clone()]));
    if !walk.units.iter().any(may_hide) {
        return Ok(normalise(payload, &walk.units, length_bytes == 4, !walk.complete, classify));
    }
    let mut units = Units::new();
    for unit in walk.units {
        if may_hide(&unit) {
            units.extend(split_annex_b(payload, unit));
        } else {
            units.push(unit);
        }
    }
    Ok(normalise(payload, &units, length_bytes == 4, !walk.complete, classify))
}

fn clean_annex_b(payload: &Bytes, classify: Classify) -> NormalisedUnit {
    let units: Units = split_annex_b(payload, 0..payload.len()).collect();
    NormalisedUnit { annex_b: true, ..normalise(payload, &units, false, false, classify) }
}

/// Where the NAL units of a payload are. Most have no more than these.
type Units = SmallVec<[Range<usize>; UNITS]>;
const UNITS: usize = 8;

struct Walk {
    /// Where the NAL units are, without their lengths; none is empty.
    units: Units,
    /// The last one ends where the payload ends.
    complete: bool,
}

fn walk_lengths(payload: &[u8], length_bytes: usize) -> Walk {
    let (mut units, mut position) = (Units::new(), 0);
    while let Some(length) = payload[position..].get(..length_bytes) {
        let length = length.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        let start = position + length_bytes;
        if length > payload.len() - start {
            break;
        }
        if length > 0 {
            units.push(start..start + length);
        }
        position = start + length;
    }
    Walk { units, complete: position == payload.len() }
}

/// Keeps what belongs into a sample. `in_place`: each unit has 4 bytes of length right before it.
fn normalise(
    payload: &Bytes,
    units: &[Range<usize>],
    in_place: bool,
    damaged: bool,
    classify: Classify,
) -> NormalisedUnit {
    let mut result = NormalisedUnit { damaged, ..NormalisedUnit::default() };
    let mut kept: SmallVec<[&Range<usize>; UNITS]> = SmallVec::new();
    for unit in units {
        match classify(&payload[unit.clone()]) {
            Class::ParameterSet if result.parameter_sets.len() < SETS_MAX => {
                result.parameter_sets.push(payload.slice(unit.clone()));
            }
            Class::ParameterSet | Class::Unwanted => {}
            Class::Slice { idr, recovery_point } => {
                result.idr |= idr;
                result.has_picture = true;
                if recovery_point {
                    result.recovery = Some(0);
                }
                kept.push(unit);
            }
            Class::Sei(recovery_point) => {
                result.recovery = result.recovery.or_else(|| recovery_point(&payload[unit.clone()]));
                kept.push(unit);
            }
            Class::Other { .. } => kept.push(unit),
        }
    }
    result.recovery = result.recovery.filter(|_| result.has_picture && !result.idr);
    let (Some(first), Some(last)) = (kept.first(), kept.last()) else {
        return result;
    };
    let one_piece = in_place
        && first.start >= 4
        && length_before(payload, first)
        && kept.windows(2).all(|pair| pair[0].end + 4 == pair[1].start && length_before(payload, pair[1]));
    let within = first.start.saturating_sub(4)..last.end;
    result.data = if one_piece && 2 * within.len() >= payload.len() {
        payload.slice(within)
    } else if one_piece {
        // What was left out, filler most likely, would be kept with it.
        Bytes::copy_from_slice(&payload[within])
    } else {
        let mut data = BytesMut::with_capacity(kept.iter().map(|unit| 4 + unit.len()).sum());
        for unit in kept {
            data.put_u32(u32::try_from(unit.len()).expect("an RTMP message is shorter than 4 GiB"));
            data.extend_from_slice(&payload[unit.clone()]);
        }
        data.freeze()
    };
    result
}

/// Whether the 4 bytes before a unit are its length: not so for a unit found behind a start code.
fn length_before(payload: &[u8], unit: &Range<usize>) -> bool {
    payload[unit.start - 4..unit.start].iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte))
        == unit.len()
}

/// `recovery_frame_cnt` (ITU-T H.264, D.1.8).
fn avc_recovery_point(unit: &[u8]) -> Option<u16> {
    read_recovery_point(unit.get(1..)?, |bits| bits.unsigned("recovery_frame_cnt"))
}

/// `recovery_poc_cnt` (ITU-T H.265, D.2.8), which counts pictures in the order in which they are shown. Where it is below
/// 0, pictures are right from one on that is shown before this one.
fn hevc_recovery_point(unit: &[u8]) -> Option<u16> {
    read_recovery_point(unit.get(2..)?, |bits| Ok(bits.signed("recovery_poc_cnt")?.max(0).unsigned_abs()))
}

/// The number in the recovery point among a SEI NAL unit's messages; `escaped` is what comes after the header.
fn read_recovery_point(
    escaped: &[u8],
    frames: impl FnOnce(&mut BitReader<'_>) -> Result<u32, CodecError>,
) -> Option<u16> {
    let payload = unescape(escaped);
    let message = sei::messages(&payload).find_map(|(kind, message)| (kind == RECOVERY_POINT).then_some(message))?;
    u16::try_from(frames(&mut BitReader::new("SEI", message)).ok()?).ok()
}

/// The NAL units between start codes in `within`, without the zeros around them. What comes before the first start code
/// is a unit too.
fn split_annex_b(payload: &[u8], within: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<'_> {
    let (mut position, end) = (within.start, within.end);
    std::iter::from_fn(move || {
        while position < end {
            let code = payload[position..end].windows(3).position(|bytes| bytes == [0, 0, 1]);
            let (unit_end, next) = code.map_or((end, end), |code| (position + code, position + code + 3));
            let (start, mut stop) = (position, unit_end);
            position = next;
            // Zeros before a start code belong to it, and a NAL unit never ends with one (B.1.1, 7.4.1).
            while stop > start && payload[stop - 1] == 0 {
                stop -= 1;
            }
            if stop > start {
                return Some(start..stop);
            }
        }
        None
    })
}

/// Some encoders put several NAL units with start codes behind one length, small ones first. A NAL unit cannot
/// contain a start code, so splitting is safe; slices are not searched, to save the time.
fn may_hide_start_codes(class: Class) -> bool {
    matches!(class, Class::ParameterSet | Class::Unwanted | Class::Sei(_) | Class::Other { small: true })
}

fn start_code_length(payload: &[u8]) -> usize {
    match payload {
        [0, 0, 0, 1, ..] => 4,
        [0, 0, 1, ..] => 3,
        _ => 0,
    }
}

/// Parameter sets that one access unit may bring; more are dropped.
const SETS_MAX: usize = 64;
const NAL_IDR: u8 = 5;
const NAL_SEI: u8 = 6;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_AUD: u8 = 9;
const NAL_END_OF_SEQUENCE: u8 = 10;
const NAL_END_OF_STREAM: u8 = 11;
const NAL_FILLER: u8 = 12;
const NAL_SPS_EXTENSION: u8 = 13;
/// HEVC's types.
const HEVC_BLA_W_LP: u8 = 16;
const HEVC_BLA_N_LP: u8 = 18;
const HEVC_IDR_W_RADL: u8 = 19;
const HEVC_IDR_N_LP: u8 = 20;
const HEVC_CRA: u8 = 21;
/// Those of intra random access point pictures, reserved ones among them.
const HEVC_IRAP: RangeInclusive<u8> = 16..=23;
pub(super) const HEVC_VPS: u8 = 32;
pub(super) const HEVC_SPS: u8 = 33;
pub(super) const HEVC_PPS: u8 = 34;
const HEVC_PREFIX_SEI: u8 = 39;
const HEVC_SUFFIX_SEI: u8 = 40;
/// payloadType of a recovery point.
const RECOVERY_POINT: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(nal_length_bytes: u8) -> AvcConfig {
        let config = AvcConfig::parse(include_bytes!("../testdata/x264-1080p29.avcc")).unwrap();
        AvcConfig { nal_length_bytes, ..config }
    }

    fn prefixed(length_bytes: usize, units: &[&[u8]]) -> Bytes {
        let mut out = Vec::new();
        for unit in units {
            out.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes()[4 - length_bytes..]);
            out.extend_from_slice(unit);
        }
        out.into()
    }

    const SEI: &[u8] = &[6, 5, 1, 0xAA, 0x80];
    const SPS: &[u8] = &[0x67, 100, 0, 40];
    const PPS: &[u8] = &[0x68, 0xEB];
    const AUD: &[u8] = &[9, 0xF0];
    const FILLER: &[u8] = &[12, 0xFF, 0x80];
    const IDR: &[u8] = &[0x65, 0x88, 0x84];
    const SLICE: &[u8] = &[0x41, 0x9A, 0x01];

    #[test]
    fn a_clean_unit_is_passed_on_without_a_copy() {
        let payload = prefixed(4, &[SEI, IDR, IDR]);
        let unit = config(4).access_unit(&payload).unwrap();
        assert_eq!(unit.data.as_ptr(), payload.as_ptr());
        assert_eq!(unit.data, payload);
        assert!(unit.idr && unit.has_picture && !unit.damaged && !unit.annex_b);
    }

    #[test]
    fn parameter_sets_in_front_are_cut_off_without_a_copy_and_reported() {
        let slice = [IDR, &[0x55; 20]].concat();
        let payload = prefixed(4, &[AUD, SPS, PPS, SEI, &slice]);
        let unit = config(4).access_unit(&payload).unwrap();
        assert_eq!(unit.data, prefixed(4, &[SEI, &slice]));
        assert_eq!(unit.data.as_ptr_range().end, payload.as_ptr_range().end);
        assert_eq!(unit.parameter_sets, [Bytes::from_static(SPS), Bytes::from_static(PPS)]);
    }

    /// An encoder with a constant rate, or somebody who wants to fill our memory with what no bound counts.
    #[test]
    fn filler_does_not_stay_in_memory_with_the_picture() {
        let payload = prefixed(4, &[IDR, &[12; 1000]]);
        let unit = config(4).access_unit(&payload).unwrap();
        assert_eq!(unit.data, prefixed(4, &[IDR]));
        assert_ne!(unit.data.as_ptr(), payload.as_ptr());
    }

    #[test]
    fn filler_and_empty_units_between_slices_are_removed() {
        let payload = prefixed(4, &[SLICE, &[], FILLER, SLICE, &[11]]);
        let unit = config(4).access_unit(&payload).unwrap();
        assert_eq!(unit.data, prefixed(4, &[SLICE, SLICE]));
        assert!(!unit.idr);
    }

    /// of an open GOP, and of a refresh over 60 more frames.
    #[test]
    fn a_recovery_point_is_where_decoding_can_begin_without_an_idr() {
        const AT_ONCE: &[u8] = &[6, 6, 1, 0xC4, 0x80];
        const LATER: &[u8] = &[6, 6, 2, 0x07, 0xB1, 0x80];
        let recovery = |units: &[&[u8]]| config(4).access_unit(&prefixed(4, units)).unwrap().recovery;
        assert_eq!(recovery(&[AT_ONCE, SLICE]), Some(0));
        assert_eq!(recovery(&[SEI, LATER, SLICE]), Some(60));
        assert_eq!(recovery(&[SEI, SLICE]), None);
        assert_eq!(recovery(&[AT_ONCE, IDR]), None, "an IDR is more than that");
        assert_eq!(recovery(&[AT_ONCE]), None, "there is no picture");
        assert_eq!(recovery(&[&[6, 6, 1], SLICE]), None, "cut off");
    }

    /// with lengths or start codes.
    #[test]
    fn parameter_sets_of_a_keyframe_are_a_configuration() {
        let config = config(4);
        let sets: [&[u8]; 3] = [&config.sps[0], &config.pps[0], IDR];
        assert_eq!(AvcConfig::in_band(&prefixed(4, &sets)).as_ref(), Some(&config));
        let codes: Vec<u8> = sets.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect();
        assert_eq!(AvcConfig::in_band(&codes.into()), Some(config));
        assert_eq!(AvcConfig::in_band(&prefixed(4, &[IDR])), None);
        assert_eq!(AvcConfig::in_band(&Bytes::from_static(b"GARBAGE")), None);
    }

    #[test]
    fn every_length_size_becomes_four_bytes() {
        for length_bytes in 1..=4 {
            let payload = prefixed(length_bytes, &[SEI, IDR]);
            let unit = config(u8::try_from(length_bytes).unwrap()).access_unit(&payload).unwrap();
            assert_eq!(unit.data, prefixed(4, &[SEI, IDR]));
        }
    }

    #[test]
    fn a_unit_that_is_cut_off_is_dropped_and_flagged() {
        let payload = prefixed(4, &[SEI, SLICE, IDR]);
        let unit = config(4).access_unit(&payload.slice(..payload.len() - 1)).unwrap();
        assert_eq!(unit.data, prefixed(4, &[SEI, SLICE]));
        assert!(unit.damaged && !unit.idr);
    }

    #[test]
    fn parameter_sets_alone_are_no_picture() {
        let unit = config(4).access_unit(&prefixed(4, &[SPS, PPS, SEI])).unwrap();
        assert!(!unit.has_picture);
        assert!(!config(4).access_unit(&Bytes::new()).unwrap().has_picture);
    }

    #[test]
    fn garbage_is_an_error_that_says_how_much_there_was() {
        let error = config(4).access_unit(&Bytes::from_static(b"GARBAGE")).unwrap_err();
        assert_eq!(error.to_string(), "access unit ends after 7 bytes, inside its NAL unit");
    }

    #[test]
    fn start_codes_instead_of_lengths_are_understood() {
        let payload: Vec<u8> =
            [&[0, 0, 0, 1], AUD, &[0, 0, 0, 1], SPS, &[0, 0, 1], PPS, &[0, 0, 1], IDR, &[0, 0]].concat();
        let unit = config(4).access_unit(&payload.into()).unwrap();
        assert_eq!(unit.data, prefixed(4, &[IDR]));
        assert!(unit.annex_b && unit.idr && unit.parameter_sets.len() == 2);
    }

    #[test]
    fn start_codes_behind_a_length_are_split() {
        let hidden: Vec<u8> = [SEI, &[0, 0, 0, 1], IDR].concat();
        let led: Vec<u8> = [&[0, 0, 0, 1], SLICE].concat();
        let unit = config(4).access_unit(&prefixed(4, &[&hidden, &led])).unwrap();
        assert_eq!(unit.data, prefixed(4, &[SEI, IDR, SLICE]));
    }

    /// an IDR is one by its type; a CRA is as good where nothing is reordered.
    #[test]
    fn hevc_is_cleaned_by_its_own_types() {
        let reordering = HevcConfig::parse(include_bytes!("../testdata/x265-main.hvcc")).unwrap();
        let mut straight = reordering.clone();
        straight.parsed.reorder_pictures = 0;
        assert!(reordering.parsed.reorder_pictures > 0);
        let unit = |nal_type: u8| [nal_type << 1, 1, 0xAF];
        let (idr, cra, rasl, sei) = (unit(20), unit(21), unit(9), unit(39));
        let other_layer = [1 << 1, 9, 0xAF];
        let payload = prefixed(4, &[&unit(35), &unit(32), &unit(33), &unit(34), &sei, &idr, &other_layer, &unit(38)]);
        let clean = reordering.access_unit(&payload).unwrap();
        assert_eq!(clean.data, prefixed(4, &[&sei, &idr]));
        assert_eq!(clean.parameter_sets, [unit(32), unit(33), unit(34)].map(|set| Bytes::copy_from_slice(&set)));
        assert!(clean.idr && clean.has_picture && clean.recovery.is_none());
        let kind = |config: &HevcConfig, slice: &[u8]| {
            let unit = config.access_unit(&prefixed(4, &[slice])).unwrap();
            (unit.idr, unit.recovery)
        };
        assert_eq!(kind(&reordering, &cra), (false, Some(0)));
        assert_eq!(kind(&straight, &cra), (true, None));
        assert_eq!(kind(&reordering, &rasl), (false, None));
    }

    /// of an HEVC stream that is refreshed bit by bit, and of a picture that refers to none before it in spite of
    /// its type. Neither is one that players may begin with, whether pictures are reordered or not.
    #[test]
    fn a_recovery_point_of_hevc_is_where_decoding_can_begin_and_no_idr() {
        const LATER: &[u8] = &[39 << 1, 1, 6, 2, 0x07, 0x44, 0x80]; // recovery_poc_cnt 29
        const AT_ONCE: &[u8] = &[39 << 1, 1, 6, 1, 0xD0, 0x80]; // 0, exact
        const BEFORE: &[u8] = &[39 << 1, 1, 6, 1, 0x62, 0x80]; // -1
        // The last message of three, behind user data of 0 0 1 and of 0 0, which emulation prevention makes longer.
        const ESCAPED: &[u8] = &[39 << 1, 1, 5, 3, 0, 0, 3, 1, 4, 2, 0, 0, 3, 6, 2, 0x07, 0x44, 0x80];
        const SUFFIX: &[u8] = &[40 << 1, 1, 6, 2, 0x07, 0x44, 0x80];
        let reordering = HevcConfig::parse(include_bytes!("../testdata/x265-main.hvcc")).unwrap();
        let mut straight = reordering.clone();
        straight.parsed.reorder_pictures = 0;
        let unit = |nal_type: u8| [nal_type << 1, 1, 0xAF];
        let (trail, cra, idr) = (&unit(1)[..], &unit(21)[..], &unit(19)[..]);
        for config in [&reordering, &straight] {
            let kind = |units: &[&[u8]]| {
                let unit = config.access_unit(&prefixed(4, units)).unwrap();
                (unit.idr, unit.recovery, HevcConfig::is_random_access(&unit.data))
            };
            assert_eq!(kind(&[LATER, trail]), (false, Some(29), false));
            assert_eq!(kind(&[ESCAPED, trail]), (false, Some(29), false));
            assert_eq!(kind(&[AT_ONCE, trail]), (false, Some(0), false));
            assert_eq!(kind(&[BEFORE, trail]), (false, Some(0), false));
            assert_eq!(kind(&[trail]), (false, None, false));
            assert_eq!(kind(&[trail, SUFFIX]), (false, None, false), "it says nothing of the picture before it");
            assert_eq!(kind(&[&LATER[..4], trail]), (false, None, false), "cut off");
            assert_eq!(kind(&[LATER, idr]), (true, None, true), "an IDR is more than that");
        }
        let kind = |config: &HevcConfig| {
            let unit = config.access_unit(&prefixed(4, &[AT_ONCE, cra])).unwrap();
            (unit.idr, unit.recovery, HevcConfig::is_random_access(&unit.data))
        };
        assert_eq!((kind(&reordering), kind(&straight)), ((false, Some(0), true), (true, None, true)));
        assert!(!HevcConfig::is_random_access(&[]));
    }

    #[test]
    fn an_encoder_header_with_start_codes_becomes_a_configuration() {
        let config = config(4);
        let header: Vec<u8> =
            [&[0, 0, 0, 1], &config.sps[0][..], &[0, 0, 0, 1], &config.pps[0], &[0, 0, 1], SEI].concat();
        assert_eq!(AvcConfig::parse_annex_b(&header.into()), Ok(config));
    }
}
