//! What no publisher can do: make the codec readers panic, or get bytes past them that a sample may not have.

use bytes::Bytes;
use headwater_media::{
    AacConfig, Ac3Config, AdtsFrame, Av1Config, Av1Sequence, AvcConfig, FlacConfig, HevcConfig, HevcSps, OpusConfig,
    Sps, VideoCoding, VideoConfig, VideoInput,
};
use proptest::prelude::*;

const RECORD: &[u8] = include_bytes!("../src/testdata/x264-hrd-scaling-lists.avcc");

const RECORDS: [(VideoCoding, &[u8]); 3] = [
    (VideoCoding::Hevc, include_bytes!("../src/testdata/x265-main.hvcc")),
    (VideoCoding::Av1, include_bytes!("../src/testdata/svtav1-main.av1c")),
    (VideoCoding::Vp9, &[0, 10, 0x82, 1, 1, 1, 0, 0]),
];

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
        let _ = (Ac3Config::parse(&bytes), FlacConfig::parse(&bytes), FlacConfig::block_samples(&bytes));
        let _ = (OpusConfig::guess(&bytes), OpusConfig::parse(&bytes, &bytes), AdtsFrame::find(&bytes));
        let _ = AvcConfig::parse_annex_b(&bytes);
        let _ = config(length_bytes).access_unit(&bytes);
        let _ = (HevcSps::parse(&bytes), HevcConfig::parse(&bytes), HevcConfig::parse_annex_b(&bytes));
        let _ = (Av1Sequence::parse(&bytes), Av1Config::parse(&bytes), Av1Config::from_temporal_unit(&bytes));
        for (coding, record) in RECORDS {
            let mut input = VideoInput::new(coding);
            input.set_record(Bytes::from_static(record)).unwrap();
            let _ = input.access_unit(&bytes);
            let _ = input.set_record(bytes.clone());
            let _ = input.access_unit(&bytes);
        }
    }

    /// What comes out of a clean unit of its own is that unit.
    #[test]
    fn a_clean_unit_stays_as_it_is(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (coding, record) in RECORDS {
            let mut input = VideoInput::new(coding);
            input.set_record(Bytes::from_static(record)).unwrap();
            if let Ok(Some(unit)) = input.access_unit(&bytes.clone().into())
                && !unit.damaged
            {
                let again = input.config().unwrap().access_unit(&unit.data).unwrap();
                prop_assert_eq!((again.data, again.idr, again.has_picture), (unit.data, unit.idr, unit.has_picture));
            }
        }
    }

    #[test]
    fn a_damaged_record_of_hevc_or_av1_is_read_or_refused(which in 0..2usize, at in any::<prop::sample::Index>(), byte: u8, length in any::<prop::sample::Index>()) {
        let (coding, record) = RECORDS[which];
        let mut record = record.to_vec();
        let at = at.index(record.len());
        record[at] = byte;
        record.truncate(length.index(record.len() + 1));
        let mut input = VideoInput::new(coding);
        if input.set_record(record.into()).is_ok() && let Some(config) = input.config() {
            let canonical = config.record();
            let again = match coding {
                VideoCoding::Hevc => VideoConfig::Hevc(HevcConfig::parse(&canonical).unwrap()),
                _ => VideoConfig::Av1(Av1Config::parse(&canonical).unwrap().unwrap()),
            };
            prop_assert_eq!(again.record(), canonical);
            prop_assert!(config.size().0 > 0 && config.size().1 > 0);
            let _ = (config.display_size(), config.fixed_rate(), config.codec_string());
        }
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
            let _ = config.parsed.frame_rate();
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

    #[test]
    fn an_opus_header_comes_out_as_it_went_in(
        fields in any::<(u8, u16, u32, i16)>(),
        family in prop::sample::select(vec![0u8, 1, 255]),
        streams in 1u8..=255,
        table in prop::collection::vec(any::<u8>(), 255),
        toc: u8,
    ) {
        let (channels, pre_skip, input_rate, output_gain) = fields;
        let channels = if family == 0 { 1 + channels % 2 } else { channels.max(1) };
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend(pre_skip.to_le_bytes());
        head.extend(input_rate.to_le_bytes());
        head.extend(output_gain.to_le_bytes());
        head.push(family);
        if family != 0 {
            head.extend([streams, streams / 2]);
            head.extend_from_slice(&table[..usize::from(channels)]);
        }
        let config = OpusConfig::parse(&head, &[toc, 1]).unwrap();
        prop_assert_eq!(config.head(), head);
        prop_assert!((120..=5760).contains(&config.frame_samples));
    }
}
