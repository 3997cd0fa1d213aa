//! What comes out of an H.264 encoder: NAL units with a length before each, and the header with its parameter sets.

/// The NAL units of an access unit with 4-byte lengths (ISO/IEC 14496-15, 5.3.4.2). Ends at the first length that
/// passes the end of the data.
pub(crate) fn length_prefixed(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (unit, tail) = tail.split_at_checked(length)?;
        rest = tail;
        Some(unit)
    })
}

/// The NAL units of a byte stream with start codes (ITU-T H.264, annex B).
fn annex_b(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(data);
    std::iter::from_fn(move || {
        let data = rest?;
        let end = data.windows(3).position(|window| window == [0, 0, 1]).unwrap_or(data.len());
        rest = after_start_code(&data[end..]);
        let zeros = data[..end].iter().rev().take_while(|byte| **byte == 0).count();
        Some(&data[..end - zeros])
    })
    .filter(|unit| !unit.is_empty())
}

fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    let start = data.windows(3).position(|window| window == [0, 0, 1])?;
    Some(&data[start + 3..])
}

/// The parameter sets of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1.2), up to its last whole one.
fn record(data: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let mut rest = data.get(5..).unwrap_or_default();
    for count_mask in [0x1F, 0xFF] {
        let Some((count, tail)) = rest.split_first() else { break };
        rest = tail;
        for _ in 0..count & count_mask {
            let Some((length, tail)) = rest.split_first_chunk::<2>() else { return units };
            let Some((unit, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
                return units;
            };
            units.push(unit);
            rest = tail;
        }
    }
    units
}

/// The parameter sets in an encoder's extradata. With `annexb=0` libavcodec 59 and 60 write NAL units with lengths
/// there, 61 a whole configuration record; start codes are what it writes otherwise.
pub(crate) fn parameter_sets(extradata: &[u8]) -> (Vec<&[u8]>, Vec<&[u8]>) {
    let units: Vec<&[u8]> = match extradata {
        [1, ..] => record(extradata),
        [0, 0, 0, 1, ..] | [0, 0, 1, ..] => annex_b(extradata).collect(),
        _ => length_prefixed(extradata).collect(),
    };
    let of_type = |wanted: u8| units.iter().copied().filter(|unit| unit_type(unit) == wanted).collect();
    (of_type(SPS), of_type(PPS))
}

/// nal_unit_type (ITU-T H.264, table 7-1).
pub(crate) fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |header| header & 0x1F)
}

/// x264's note of its version and settings: an SEI of user data with x264's UUID. Nobody needs it in the media, and
/// it would make the first access unit of each encoder differ from machine to machine.
pub(crate) fn is_x264_note(unit: &[u8]) -> bool {
    unit_type(unit) == SEI
        && unit.get(1) == Some(&USER_DATA_UNREGISTERED)
        // One byte of size for every 255 bytes, then the rest.
        && unit[2..].iter().position(|byte| *byte != 0xFF).is_some_and(|last| unit[2 + last + 1..].starts_with(&X264_UUID))
}

/// nal_unit_type of an IDR picture's slice.
pub(crate) const IDR: u8 = 5;
const SEI: u8 = 6;
/// nal_unit_type of a sequence parameter set.
pub(crate) const SPS: u8 = 7;
/// nal_unit_type of a picture parameter set.
pub(crate) const PPS: u8 = 8;
/// nal_unit_type of an access unit delimiter.
pub(crate) const AUD: u8 = 9;
/// nal_unit_type of filler data.
pub(crate) const FILLER: u8 = 12;
/// payloadType of a SEI message (ITU-T H.264, D.1.1).
const USER_DATA_UNREGISTERED: u8 = 5;
const X264_UUID: [u8; 16] =
    [0xDC, 0x45, 0xE9, 0xBD, 0xE6, 0xD9, 0x48, 0xB7, 0x96, 0x2C, 0xD8, 0x20, 0xD9, 0x23, 0xEE, 0xEF];

#[cfg(test)]
mod tests {
    use super::*;

    const SPS_UNIT: &[u8] = &[0x67, 0x64, 0, 0x1F, 0xAC];
    const PPS_UNIT: &[u8] = &[0x68, 0xEB, 0x8F];

    #[test]
    fn parameter_sets_are_found_in_every_form_of_extradata() {
        let annex_b = [&[0, 0, 0, 1], SPS_UNIT, &[0, 0, 1], PPS_UNIT].concat();
        let lengths = [&[0, 0, 0, 5], SPS_UNIT, &[0, 0, 0, 3], PPS_UNIT].concat();
        let record = [&[1, 0x64, 0, 0x1F, 0xFF, 0xE1, 0, 5], SPS_UNIT, &[1, 0, 3], PPS_UNIT].concat();
        for extradata in [annex_b, lengths, record] {
            assert_eq!(parameter_sets(&extradata), (vec![SPS_UNIT], vec![PPS_UNIT]), "{extradata:?}");
        }
    }

    #[test]
    fn units_end_where_the_data_does() {
        assert_eq!(length_prefixed(&[0, 0, 0, 1, 9, 0, 0, 0, 2, 7]).collect::<Vec<_>>(), [[9]]);
        assert_eq!(parameter_sets(&[1, 0x64, 0, 0x1F, 0xFF, 0xE1, 0, 9, 0x67]), (vec![], vec![]));
        assert_eq!(parameter_sets(&[]), (vec![], vec![]));
    }

    #[test]
    fn only_the_note_of_x264_counts_as_one() {
        let note = [&[6, 5, 0xFF, 0xFF, 0x80][..], &X264_UUID, b"x264 - core 164"].concat();
        assert!(is_x264_note(&note));
        assert!(!is_x264_note(&note[..10]));
        assert!(!is_x264_note(&[6, 4, 3, 1, 2, 3]));
        assert!(!is_x264_note(&[6]));
    }
}
