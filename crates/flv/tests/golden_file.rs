//! A file made by FFmpeg, read and written again.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use headwater_amf0::Limits;
use headwater_flv::{
    AudioContent, AudioPacket, AudioTag, FileHeader, FileReader, FrameType, ScriptData, Tag, TagType, VideoContent,
    VideoTag, write_file_header, write_tag,
};

/// FFmpeg 5.1, one second; command in `src/testdata/README.md`.
const FILE: &[u8] = include_bytes!("../src/testdata/ffmpeg-5.1.flv");

fn tags() -> Vec<Tag> {
    let mut reader = FileReader::new();
    reader.handle_input(FILE);
    std::iter::from_fn(|| reader.poll_tag().unwrap()).collect()
}

/// What is taken apart is put together again as FFmpeg wrote it, but for an empty tag at the end.
#[test]
fn a_tag_written_again_is_the_same() {
    for tag in tags() {
        let written = match tag.kind {
            TagType::Video => VideoTag::read(tag.body.clone()).unwrap().write(),
            TagType::Audio => AudioTag::read(tag.body.clone()).unwrap().write(),
            _ => continue,
        };
        assert_eq!(written, Some(tag.body));
    }
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
        let body = VideoTag::read(tag.body.clone()).unwrap();
        for packet in body.packets {
            if let VideoContent::Frame { composition_millis, .. } = packet.content {
                pictures.push((tag.timestamp, body.frame, composition_millis));
            }
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
    let audio = tags.iter().filter(|tag| tag.kind == TagType::Audio);
    let audio: Vec<AudioPacket> = audio.flat_map(|tag| AudioTag::read(tag.body.clone()).unwrap().packets).collect();
    assert!(matches!(&audio[0].content, AudioContent::Config(config) if config[..2] == [0x11, 0x88]));
    assert_eq!(audio[1..].iter().filter(|packet| matches!(packet.content, AudioContent::Frame(_))).count(), 48);
}
