//! What is printed as a path is read back as the same.

use headwater_hls::path::{File, Target};
use headwater_media::{InitId, MediaSequence, PartIndex, RenditionName, SessionId, StreamName};
use proptest::prelude::*;

fn stream() -> impl Strategy<Value = StreamName> {
    prop::collection::vec("[A-Za-z0-9._-]{1,12}", 2..=4).prop_filter_map("a name", |parts| parts.join("/").parse().ok())
}

fn file() -> impl Strategy<Value = File> {
    prop_oneof![
        Just(File::Playlist),
        Just(File::IFrames),
        any::<[u8; 4]>().prop_map(|bytes| File::Init(InitId::of(&bytes))),
        any::<u64>().prop_map(|msn| File::Segment(MediaSequence(msn))),
        any::<(u64, u32)>().prop_map(|(msn, index)| File::Part(MediaSequence(msn), PartIndex(index))),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    let session = any::<[u8; 10]>().prop_map(SessionId::from_random);
    let rendition = "[a-z0-9-]{1,32}".prop_filter_map("a name", |text| RenditionName::new(&text));
    prop_oneof![
        stream().prop_map(Target::Multivariant),
        stream().prop_map(Target::Poster),
        (stream(), session, rendition, file()).prop_map(|(stream, session, rendition, file)| Target::Rendition {
            stream,
            session,
            rendition,
            file
        }),
    ]
}

proptest! {
    #[test]
    fn printed_paths_are_read_back(target in target()) {
        prop_assert_eq!(Target::parse(&target.to_string()), Some(target));
    }

    /// Each object has one path.
    #[test]
    fn what_is_read_is_printed_as_it_was(path in "(/[a-z0-9.~-]{1,18}){1,6}") {
        if let Some(target) = Target::parse(&path) {
            prop_assert_eq!(target.to_string(), path);
        }
    }
}
