//! Files are read as written, however they are cut; any bytes are read without panic.

use bytes::Bytes;
use headwater_amf0::Limits;
use headwater_flv::{
    AudioTag, FileHeader, FileReader, ScriptData, Tag, VideoTag, opens_gop, write_file_header, write_tag,
};
use proptest::prelude::*;

fn tag() -> impl Strategy<Value = Tag> {
    (0u8..32, any::<u32>(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(kind, timestamp, body)| Tag {
        kind: kind.into(),
        timestamp,
        body: body.into(),
    })
}

proptest! {
    #[test]
    fn a_file_is_read_as_written(tags in prop::collection::vec(tag(), 0..12), step in 1usize..700) {
        let mut bytes = Vec::new();
        write_file_header(&mut bytes, FileHeader { audio: true, video: false });
        for tag in &tags {
            write_tag(&mut bytes, tag);
        }
        let (mut reader, mut read) = (FileReader::new(), Vec::new());
        for piece in bytes.chunks(step) {
            reader.handle_input(piece);
            while let Some(tag) = reader.poll_tag().unwrap() {
                read.push(tag);
            }
        }
        prop_assert_eq!(read, tags);
        prop_assert_eq!(reader.header(), Some(FileHeader { audio: true, video: false }));
    }

    #[test]
    fn any_bytes_are_read_without_panic(first in any::<u8>(), second in 0u8..10, rest in prop::collection::vec(any::<u8>(), 0..40)) {
        for bytes in [[vec![first, second], rest.clone()].concat(), rest] {
            let body = Bytes::from(bytes);
            let _ = VideoTag::read(&body);
            let _ = AudioTag::read(&body);
            let _ = ScriptData::read(&body, Limits::default());
            let _ = opens_gop(&body);
            let mut reader = FileReader::new();
            reader.handle_input(&body);
            let _ = reader.poll_tag();
            let mut reader = FileReader::new();
            reader.handle_input(b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
            reader.handle_input(&body);
            let _ = reader.poll_tag();
        }
    }

    /// What the first bytes say of a message is what the whole of it says.
    #[test]
    fn a_keyframe_is_told_from_its_first_bytes(first in any::<u8>(), second in 0u8..4, rest in prop::collection::vec(any::<u8>(), 4..40)) {
        use headwater_flv::{AvcPacket, FrameType};
        let body = Bytes::from([vec![first, second], rest].concat());
        let expected = match VideoTag::read(&body) {
            Ok(VideoTag::Avc { frame, packet: AvcPacket::NalUnits { .. } }) => Some(frame == FrameType::Key),
            _ => None,
        };
        prop_assert_eq!(opens_gop(&body[..5]), expected);
    }
}
