//! What no publisher can do: make the codec readers panic, or get bytes past them that a sample may not have.

use bytes::Bytes;
use headwater_media::{AacConfig, AvcConfig, Sps};
use proptest::prelude::*;

const RECORD: &[u8] = include_bytes!("../src/testdata/x264-hrd-scaling-lists.avcc");

fn config(nal_length_bytes: u8) -> AvcConfig {
    AvcConfig { nal_length_bytes, ..AvcConfig::parse(RECORD).expect("golden") }
}

/// NAL units as an encoder may make them: no start code inside, no zero at the end.
fn nal_units() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let body = prop::collection::vec(1u8..=255, 1..40);
    let unit = (0u8..32, body).prop_map(|(nal_type, mut body)| {
        body.insert(0, 0x60 | nal_type);
        body
    });
    prop::collection::vec(unit, 1..8)
}

fn units_of(data: &[u8]) -> Vec<Vec<u8>> {
    let (mut units, mut rest) = (Vec::new(), data);
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (unit, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        units.push(unit.to_vec());
        rest = tail;
    }
    assert!(rest.is_empty());
    units
}

proptest! {
    #[test]
    fn readers_survive_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), length_bytes in 0u8..=6) {
        let _ = Sps::parse(&bytes);
        let _ = AvcConfig::parse(&bytes);
        let bytes = Bytes::from(bytes);
        let _ = AacConfig::parse(bytes.clone());
        let _ = AvcConfig::parse_annex_b(&bytes);
        let _ = config(length_bytes).access_unit(&bytes);
    }

    #[test]
    fn a_damaged_record_is_read_or_refused(at in 0..RECORD.len(), byte: u8, length in 0..=RECORD.len()) {
        let mut record = RECORD.to_vec();
        record[at] = byte;
        if let Ok(config) = AvcConfig::parse(&record[..length]) {
            let canonical = config.record();
            let again = AvcConfig::parse(&canonical).unwrap();
            prop_assert_eq!(again.record(), canonical);
            prop_assert!(config.parsed.width > 0 && config.parsed.height > 0);
            let _ = (config.parsed.display_size(), config.parsed.frame_rate());
        }
    }

    /// Lengths of any size and start codes carry the same units, and only those that belong into a sample are left.
    #[test]
    fn every_framing_gives_the_same_sample(units in nal_units(), length_bytes in 1usize..=4) {
        let kept: Vec<_> = units.iter().filter(|unit| !matches!(unit[0] & 0x1F, 7..=13)).cloned().collect();
        let mut prefixed = Vec::new();
        let mut annex_b = Vec::new();
        for unit in &units {
            prefixed.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes()[4 - length_bytes..]);
            prefixed.extend_from_slice(unit);
            annex_b.extend_from_slice(&[0, 0, 0, 1]);
            annex_b.extend_from_slice(unit);
        }
        let config = config(u8::try_from(length_bytes).unwrap());
        let from_lengths = config.access_unit(&prefixed.into()).unwrap();
        let from_start_codes = AvcConfig::access_unit_annex_b(&annex_b.into());
        prop_assert_eq!(units_of(&from_lengths.data), kept);
        prop_assert_eq!(&from_lengths.data, &from_start_codes.data);
        prop_assert_eq!(from_lengths.idr, units.iter().any(|unit| unit[0] & 0x1F == 5));
        prop_assert!(!from_lengths.damaged);
    }

    #[test]
    fn a_default_configuration_says_what_was_asked(rate in 1u32..1 << 24, channels in 1u8..=6) {
        let config = AacConfig::lc(rate, channels).unwrap();
        prop_assert_eq!((config.sample_rate, config.channels, config.object_type), (rate, channels, 2));
    }
}
