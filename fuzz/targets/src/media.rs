//! Codec configuration and access units.

use bytes::Bytes;
use headwater_media::{AacConfig, AudioConfig, AvcConfig, Mp3Config, NormalisedUnit, Sps, captions};

/// An AudioSpecificConfig, or an MP3 frame.
pub(crate) fn aac(data: &[u8]) {
    if let Ok(config) = AacConfig::parse(Bytes::copy_from_slice(data)) {
        let _ = config.codec_string();
        let config = AudioConfig::Aac(config);
        assert!(!config.passes_through() || config.is_decodable());
        let _ = (config.output_rate(), config.frame_samples(), config.to_string());
    }
    if let Ok(config) = Mp3Config::parse(data) {
        let _ = AudioConfig::Mp3(config).to_string();
    }
}

/// A sequence parameter set.
pub(crate) fn sps(data: &[u8]) {
    if let Ok(sps) = Sps::parse(data) {
        let _ = (sps.frame_rate(), sps.display_size());
    }
}

/// An AVCDecoderConfigurationRecord of as many bytes as the first two say, then an access unit.
pub(crate) fn avc(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk() else { return };
    let (record, unit) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    let unit = Bytes::copy_from_slice(unit);
    assert_clean(&AvcConfig::access_unit_annex_b(&unit));
    let _ = AvcConfig::parse_annex_b(&unit);
    let Ok(config) = AvcConfig::parse(record) else { return };
    let _ = config.codec_string();
    let canonical = config.record();
    let again = AvcConfig::parse(&canonical).expect("a record of ours is right");
    assert_eq!(again.record(), canonical);
    if let Ok(unit) = config.access_unit(&unit) {
        assert_clean(&unit);
    }
}

/// What goes into a track: whole NAL units with 4-byte lengths, none of them of a type that has no place there.
fn assert_clean(unit: &NormalisedUnit) {
    let mut rest = &unit.data[..];
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).expect("64 bits");
        assert!(!matches!(tail[0] & 0x1F, 7..=12));
        rest = &tail[length..];
    }
    assert!(rest.is_empty());
}

/// The SEI messages of an access unit with 4-byte lengths.
pub(crate) fn captions(data: &[u8]) {
    let triplets = captions::read(data);
    let mut queue = captions::Queue::default();
    queue.push(&triplets);
    let first = queue.take();
    let _ = captions::Channels::of(&first).names().count();
    // A picture of nothing but the captions gives them back.
    assert_eq!(captions::read(&captions::insert(&Bytes::new(), &first)), first);
    let _ = captions::insert(&Bytes::copy_from_slice(data), &first);
}
