//! Files are read as written, however they are cut; any bytes are read without panic.

use headwater_flv::{FileHeader, FileReader, Tag, write_file_header, write_tag};
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
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        for header in [&b""[..], b"FLV\x01\x05\0\0\0\x09\0\0\0\0"] {
            let mut reader = FileReader::new();
            reader.handle_input(header);
            reader.handle_input(&bytes);
            let _ = reader.poll_tag();
        }
    }
}
