//! What comes out of an H.264 encoder: NAL units with a length before each, and the header with its parameter sets.

use bytes::{BufMut, Bytes, BytesMut};
use headwater_media::{AvcConfig, CodecError};

/// The NAL units of an access unit with 4-byte lengths (ISO/IEC 14496-15, 5.3.4.2). Ends at the first length that
/// passes the end of the data.
fn length_prefixed(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (unit, tail) = tail.split_at_checked(length)?;
        rest = tail;
        Some(unit)
    })
}

/// The configuration in an encoder's extradata. With `annexb=0` libavcodec 59 and 60 write NAL units with lengths
/// there, 61 a whole configuration record; start codes are what it writes otherwise.
pub(crate) fn configuration(extradata: &[u8]) -> Result<AvcConfig, CodecError> {
    match extradata {
        [1, ..] => AvcConfig::parse(extradata),
        [0, 0, 0, 1, ..] | [0, 0, 1, ..] => AvcConfig::parse_annex_b(&Bytes::copy_from_slice(extradata)),
        _ => {
            let of_type = |wanted: u8| {
                let units = length_prefixed(extradata).filter(|unit| unit_type(unit) == wanted);
                units.map(Bytes::copy_from_slice).collect()
            };
            AvcConfig::from_parameter_sets(of_type(SPS), of_type(PPS))
        }
    }
}

/// The access unit without x264's note. Most have none, and are left as they are.
pub(crate) fn without_x264_note(data: &[u8]) -> Bytes {
    if !length_prefixed(data).any(is_x264_note) {
        return Bytes::copy_from_slice(data);
    }
    let mut out = BytesMut::with_capacity(data.len());
    for unit in length_prefixed(data).filter(|unit| !is_x264_note(unit)) {
        let length = u32::try_from(unit.len()).expect("the unit had its length in 32 bits before it");
        out.put_u32(length);
        out.put_slice(unit);
    }
    out.freeze()
}

/// nal_unit_type (ITU-T H.264, table 7-1).
fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |header| header & 0x1F)
}

/// x264's note of its version and settings: an SEI of user data with x264's UUID. Nobody needs it in the media, and
/// it would make the first access unit of each encoder differ from machine to machine.
fn is_x264_note(unit: &[u8]) -> bool {
    unit_type(unit) == SEI
        && unit.get(1) == Some(&USER_DATA_UNREGISTERED)
        // One byte of size for every 255 bytes, then the rest.
        && unit[2..].iter().position(|byte| *byte != 0xFF).is_some_and(|last| unit[2 + last + 1..].starts_with(&X264_UUID))
}

/// nal_unit_type of supplemental enhancement information, sequence and picture parameter sets.
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
/// payloadType of a SEI message (ITU-T H.264, D.1.1).
const USER_DATA_UNREGISTERED: u8 = 5;
const X264_UUID: [u8; 16] =
    [0xDC, 0x45, 0xE9, 0xBD, 0xE6, 0xD9, 0x48, 0xB7, 0x96, 0x2C, 0xD8, 0x20, 0xD9, 0x23, 0xEE, 0xEF];

#[cfg(test)]
mod tests {
    use super::*;

    /// Of x264, 320x180 at 30 frames per second.
    const SPS_UNIT: &[u8] = &[
        0x67, 0x64, 0x00, 0x0D, 0xAC, 0xB4, 0x0A, 0x0C, 0xFC, 0xF8, 0x08, 0x80, 0x00, 0x00, 0x03, 0x00, 0x80, 0x00,
        0x00, 0x1E, 0x47, 0x8A, 0x15, 0x50,
    ];
    const PPS_UNIT: &[u8] = &[0x68, 0xEB, 0x8F, 0x20];

    #[test]
    fn the_configuration_is_found_in_every_form_of_extradata() {
        let length = u8::try_from(SPS_UNIT.len()).unwrap();
        let annex_b = [&[0, 0, 0, 1], SPS_UNIT, &[0, 0, 0, 1], PPS_UNIT].concat();
        let lengths = [&[0, 0, 0, length], SPS_UNIT, &[0, 0, 0, 4], PPS_UNIT].concat();
        let record = [&[1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, length], SPS_UNIT, &[1, 0, 4], PPS_UNIT].concat();
        for extradata in [annex_b, lengths, record] {
            let config = configuration(&extradata).unwrap();
            assert_eq!((config.sps, config.pps), (vec![SPS_UNIT.into()], vec![PPS_UNIT.into()]), "{extradata:?}");
        }
        assert!(configuration(&[]).is_err());
    }

    #[test]
    fn units_end_where_the_data_does() {
        assert_eq!(length_prefixed(&[0, 0, 0, 1, 9, 0, 0, 0, 2, 7]).collect::<Vec<_>>(), [[9]]);
    }

    #[test]
    fn the_note_is_taken_out_of_the_access_unit() {
        let note = [&[0, 0, 0, 21, 6, 5, 18][..], &X264_UUID, b"\x20\x80"].concat();
        let slice = [0, 0, 0, 2, 0x65, 0x88];
        assert_eq!(without_x264_note(&[&note[..], &slice].concat()), slice[..]);
        assert_eq!(without_x264_note(&slice), slice[..]);
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
