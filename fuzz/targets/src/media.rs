//! Codec configuration and access units.

use bytes::Bytes;
use headwater_media::{
    AacConfig, Ac3Config, AdtsFrame, AudioConfig, Av1Sequence, AvcConfig, FlacConfig, HevcConfig, HevcSps, Mp3Config,
    NormalisedUnit, OpusConfig, Sps, VideoCoding, VideoInput, captions,
};

/// An AudioSpecificConfig, or what describes another codec of sound.
pub(crate) fn aac(data: &[u8]) {
    if let Ok(config) = AacConfig::parse(Bytes::copy_from_slice(data)) {
        let _ = config.codec_string();
        let config = AudioConfig::Aac(config);
        assert!(!config.passes_through() || config.is_decodable());
        let _ = (config.output_rate(), config.frame_samples(), config.to_string());
    }
    let others = [
        Mp3Config::parse(data).map(AudioConfig::Mp3),
        OpusConfig::guess(data).map(AudioConfig::Opus),
        OpusConfig::parse(data, &[0xFC]).map(AudioConfig::Opus),
        FlacConfig::parse(&Bytes::copy_from_slice(data)).map(AudioConfig::Flac),
        Ac3Config::parse(data).map(AudioConfig::Ac3),
    ];
    for config in others.into_iter().flatten() {
        assert!(config.sample_rate() > 0 && config.is_decodable());
        assert!((1..=config.frame_samples()).contains(&config.samples_of(data)), "{config:?}");
        let _ = (config.is_optional(), config.is_mono(), config.to_string());
    }
    if let Some(frame) = AdtsFrame::find(data) {
        assert!(frame.header_bytes < frame.frame_bytes && frame.frame_bytes <= data.len());
    }
}

/// A sequence parameter set of H.264 or HEVC, or a sequence header of AV1.
pub(crate) fn sps(data: &[u8]) {
    if let Ok(sps) = Sps::parse(data) {
        let _ = sps.frame_rate();
    }
    if let Ok(sps) = HevcSps::parse(data) {
        assert!(sps.width > 0 && sps.height > 0);
    }
    let _ = Av1Sequence::parse(data);
}

/// A byte that names the codec, a configuration record of as many bytes as the next two say, then a picture.
pub(crate) fn video(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<3>() else { return };
    let coding = VideoCoding::ALL[usize::from(head[0]) % VideoCoding::ALL.len()];
    let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let (record, unit) = rest.split_at(length.min(rest.len()));
    let unit = Bytes::copy_from_slice(unit);
    let _ = HevcConfig::parse_annex_b(&unit);
    let mut input = VideoInput::new(coding);
    let _ = input.set_record(Bytes::copy_from_slice(record));
    let Ok(Some(cleaned)) = input.access_unit(&unit) else { return };
    let Some(config) = input.config().cloned() else { return };
    let _ = (config.codec_string(), config.display_size(), config.fixed_rate(), config.reordered());
    // The record that is served says the same, and what was cleaned is clean by it.
    let mut served = VideoInput::new(coding);
    served.set_record(config.record()).expect("a record of ours is right");
    if coding != VideoCoding::Vp9 {
        assert_eq!(served.config().map(|config| config.record()), Some(config.record()));
    }
    if !cleaned.damaged {
        let again = served.config().unwrap_or(&config).access_unit(&cleaned.data).expect("it is clean");
        assert_eq!((again.data, again.idr), (cleaned.data, cleaned.idr));
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
    let triplets = captions::read(VideoCoding::Avc, data);
    let mut queue = captions::Queue::default();
    queue.push(&triplets);
    let first = queue.take();
    let _ = captions::Channels::of(&first).names().count();
    // A picture of nothing but the captions gives them back.
    assert_eq!(captions::read(VideoCoding::Avc, &captions::insert(&Bytes::new(), &first)), first);
    let _ = captions::insert(&Bytes::copy_from_slice(data), &first);
}
