//! A file made by FFmpeg, read and written again.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use headwater_amf0::Limits;
use headwater_flv::{
    AudioTag, AvcPacket, FileHeader, FileReader, FrameType, ScriptData, Tag, TagType, VideoTag, write_file_header,
    write_tag,
};

/// FFmpeg 5.1, one second; command in `src/testdata/README.md`.
const FILE: &[u8] = include_bytes!("../src/testdata/ffmpeg-5.1.flv");

fn tags() -> Vec<Tag> {
    let mut reader = FileReader::new();
    reader.handle_input(FILE);
    std::iter::from_fn(|| reader.poll_tag().unwrap()).collect()
}

/// not a byte is lost or changed.
#[test]
fn a_file_written_again_is_the_same() {
    let mut bytes = Vec::new();
    write_file_header(&mut bytes, FileHeader { audio: true, video: true });
    for tag in tags() {
        write_tag(&mut bytes, &tag);
    }
    assert!(bytes == FILE);
}

/// with two B-frames the first picture is shown 67 ms after its decode time.
#[test]
fn pictures_have_their_times() {
    let mut pictures = Vec::new();
    for tag in tags().iter().filter(|tag| tag.kind == TagType::Video) {
        if let VideoTag::Avc { frame, packet: AvcPacket::NalUnits { composition_millis, .. } } =
            VideoTag::read(&tag.body).unwrap()
        {
            pictures.push((tag.timestamp, frame, composition_millis));
        }
    }
    assert_eq!(pictures.len(), 30);
    assert_eq!(pictures[0], (0, FrameType::Key, 67));
    assert!(pictures[1..].iter().all(|(_, frame, _)| *frame != FrameType::Key));
    let mut shown: Vec<i64> =
        pictures.iter().map(|(dts, _, composition)| i64::from(*dts) + i64::from(*composition)).collect();
    shown.sort_unstable();
    assert!(shown.windows(2).all(|pair| (33..=34).contains(&(pair[1] - pair[0]))), "{shown:?}");
}

///
#[test]
fn metadata_and_sound_are_read() {
    let tags = tags();
    let ScriptData::Metadata(metadata) = ScriptData::read(&tags[0].body, Limits::default()) else {
        panic!("the first tag is metadata");
    };
    assert_eq!((metadata.width, metadata.height), (Some(160.0), Some(120.0)));
    assert_eq!(metadata.properties.number("videocodecid"), Some(7.0));
    let audio: Vec<AudioTag> =
        tags.iter().filter(|tag| tag.kind == TagType::Audio).map(|tag| AudioTag::read(&tag.body).unwrap()).collect();
    assert!(matches!(&audio[0], AudioTag::AacSequenceHeader(config) if config[..2] == [0x11, 0x88]));
    assert_eq!(audio[1..].iter().filter(|tag| matches!(tag, AudioTag::AacFrame(_))).count(), 48);
}
