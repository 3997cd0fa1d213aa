//! AMF0 and FLV.

use bytes::Bytes;
use headwater_amf0::{Limits, read_all, write};
use headwater_flv::{
    AudioTag, FileReader, FrameType, Metadata, ScriptData, Tag, TagError, VideoContent, VideoStart, VideoTag,
    write_file_header, write_tag,
};

/// A message's values. What was read can be written, and is then read in the same way.
pub(crate) fn amf0(data: &[u8]) {
    let decoded = read_all(data, Limits::default());
    let mut written = Vec::new();
    for value in &decoded.values {
        write(&mut written, value);
    }
    let again = read_all(&written, Limits::default());
    assert_eq!(again.stopped, None);
    // As text, in which one NaN is like another.
    assert_eq!(format!("{:?}", again.values), format!("{:?}", decoded.values));
}

fn read_file<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (FileReader, Vec<Tag>) {
    let (mut reader, mut tags) = (FileReader::new(), Vec::new());
    for piece in pieces {
        reader.handle_input(piece);
        while let Ok(Some(tag)) = reader.poll_tag() {
            tags.push(tag);
        }
    }
    (reader, tags)
}

/// A file, cut anywhere; written again, it has the same tags.
pub(crate) fn flv_file(data: &[u8]) {
    let (reader, tags) = read_file(std::iter::once(data));
    assert_eq!(read_file(data.chunks(7)).1, tags);
    let mut written = Vec::new();
    write_file_header(&mut written, reader.header().unwrap_or_default());
    for tag in &tags {
        write_tag(&mut written, tag);
    }
    assert_eq!(read_file(std::iter::once(&written[..])).1, tags);
}

/// The body of a tag, read as each of the three kinds. What was read and can be written is then read as the same.
pub(crate) fn flv_tags(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    if let ScriptData::Metadata(metadata) = ScriptData::read(data, Limits::default()) {
        let _: [Metadata; 2] = [metadata.of_video_track(1), metadata.of_audio_track(1)];
    }
    if let Ok(tag) = AudioTag::read(body.clone())
        && let Some(written) = tag.write()
    {
        assert_eq!(AudioTag::read(written.clone()), Ok(tag));
    }
    let Ok(tag) = VideoTag::read(body.clone()) else { return };
    // A picture is told from its first bytes.
    if let (Some(start), [packet]) = (VideoStart::read(&data[..data.len().min(16)]), &tag.packets[..]) {
        assert!(matches!(packet.content, VideoContent::Frame { .. }));
        assert_eq!((packet.track, tag.frame == FrameType::Key), (start.track, start.keyframe));
    }
    // As text, in which one NaN is like another.
    if let Some(written) = tag.write() {
        assert_eq!(format!("{:?}", VideoTag::read(written.clone())), format!("{:?}", Ok::<_, TagError>(tag)));
    }
}
