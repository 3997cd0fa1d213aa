//! Tags are read as they were written; any bytes are read without panic; the first bytes tell the truth.

use bytes::Bytes;
use headwater_amf0::{Limits, Object};
use headwater_flv::{
    AudioCodec, AudioContent, AudioPacket, AudioTag, ChannelLayout, ChannelOrder, ColourInfo, FourCc, FrameType,
    ScriptData, VideoCodec, VideoContent, VideoPacket, VideoStart, VideoTag,
};
use proptest::prelude::*;

fn data() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 1..40).prop_map(Bytes::from)
}

fn video_codec() -> impl Strategy<Value = VideoCodec> {
    use VideoCodec::{Av1, Avc, Hevc, Vp8, Vp9, Vvc};
    prop::sample::select(vec![Avc, Hevc, Av1, Vp8, Vp9, Vvc, VideoCodec::Other(FourCc(*b"abcd"))])
}

fn audio_codec() -> impl Strategy<Value = AudioCodec> {
    use AudioCodec::{Aac, Ac3, Eac3, Flac, Mp3, Opus};
    prop::sample::select(vec![Aac, Ac3, Eac3, Flac, Mp3, Opus, AudioCodec::Other(FourCc(*b"abcd"))])
}

fn has_composition_time(codec: VideoCodec) -> bool {
    matches!(codec, VideoCodec::Avc | VideoCodec::Hevc | VideoCodec::Vvc)
}

/// Packets of one kind, as many as a tag has tracks.
fn video_packets() -> impl Strategy<Value = Vec<VideoPacket>> {
    let tracks = || prop::collection::vec((any::<u8>(), video_codec(), data(), -(1 << 23)..1 << 23), 1..5);
    (0..5u8, tracks()).prop_map(|(kind, tracks)| {
        let packet = |(track, codec, data, time): (u8, VideoCodec, Bytes, i32)| {
            let composition_millis = if has_composition_time(codec) { time } else { 0 };
            let content = match kind {
                0 => VideoContent::Config(data),
                1 => VideoContent::TsConfig(data),
                2 => VideoContent::Frame { composition_millis, data },
                3 => VideoContent::EndOfSequence,
                _ => VideoContent::Colour(ColourInfo::new(Object::default().with("hdrCll", u32::from(track)))),
            };
            VideoPacket { track, codec, content }
        };
        tracks.into_iter().map(packet).collect()
    })
}

fn audio_packets() -> impl Strategy<Value = Vec<AudioPacket>> {
    let tracks = || prop::collection::vec((any::<u8>(), audio_codec(), data(), any::<u32>()), 1..5);
    (0..6u8, tracks()).prop_map(|(kind, tracks)| {
        let packet = |(track, codec, data, flags): (u8, AudioCodec, Bytes, u32)| {
            let count = u8::try_from(data.len()).expect("short");
            let channels = |order| AudioContent::Channels(ChannelLayout { count, order });
            let content = match kind {
                0 => AudioContent::Config(data),
                1 => AudioContent::Frame(data),
                2 => AudioContent::EndOfSequence,
                3 => channels(ChannelOrder::Unspecified),
                4 => channels(ChannelOrder::Native(flags)),
                _ => channels(ChannelOrder::Custom(data)),
            };
            AudioPacket { track, codec, content }
        };
        tracks.into_iter().map(packet).collect()
    })
}

fn frame_type() -> impl Strategy<Value = FrameType> {
    prop::sample::select(vec![FrameType::Key, FrameType::Inter, FrameType::Disposable, FrameType::Other(6)])
}

proptest! {
    ///
    #[test]
    fn a_video_tag_is_read_as_written(frame in frame_type(), nanos in 0..1_000_000u32, packets in video_packets()) {
        let tag = VideoTag { frame, nanos, packets: packets.into() };
        let body = tag.write().expect("it fits");
        prop_assert_eq!(VideoTag::read(body.clone()), Ok(tag.clone()));
        for cut in 0..body.len() {
            let _ = VideoTag::read(body.slice(..cut));
        }
        if let [VideoPacket { track, codec, content: VideoContent::Frame { .. } }] = tag.packets[..]
            && !matches!(codec, VideoCodec::Other(_))
        {
            let start = VideoStart { track, keyframe: frame == FrameType::Key };
            prop_assert_eq!(VideoStart::read(&body[..body.len().min(16)]), Some(start));
        }
    }

    ///
    #[test]
    fn an_audio_tag_is_read_as_written(nanos in 0..1_000_000u32, packets in audio_packets()) {
        let tag = AudioTag { nanos, packets: packets.into() };
        let body = tag.write().expect("it fits");
        prop_assert_eq!(AudioTag::read(body.clone()), Ok(tag));
        for cut in 0..body.len() {
            let _ = AudioTag::read(body.slice(..cut));
        }
    }

    /// Also: what was read and can be written is then read as the same.
    #[test]
    fn any_bytes_are_read_without_panic(first in any::<u8>(), second in 0u8..10, rest in prop::collection::vec(any::<u8>(), 0..40)) {
        for bytes in [[vec![first, second], rest.clone()].concat(), rest] {
            let body = Bytes::from(bytes);
            let _ = ScriptData::read(&body, Limits::default());
            if let Ok(tag) = VideoTag::read(body.clone())
                && let Some(written) = tag.write()
            {
                prop_assert_eq!(VideoTag::read(written.clone()), Ok(tag));
            }
            if let Ok(tag) = AudioTag::read(body.clone())
                && let Some(written) = tag.write()
            {
                prop_assert_eq!(AudioTag::read(written.clone()), Ok(tag));
            }
        }
    }

    /// What the first bytes say of a message is what the whole of it says.
    #[test]
    fn a_keyframe_is_told_from_its_first_bytes(first in any::<u8>(), second in 0u8..4, rest in prop::collection::vec(any::<u8>(), 4..40)) {
        let body = Bytes::from([vec![first, second], rest].concat());
        if let (Some(start), Ok(tag)) = (VideoStart::read(&body[..body.len().min(16)]), VideoTag::read(body.clone()))
            && let [packet] = &tag.packets[..]
        {
            let is_frame = matches!(packet.content, VideoContent::Frame { .. });
            prop_assert!(is_frame);
            prop_assert_eq!((packet.track, tag.frame == FrameType::Key), (start.track, start.keyframe));
        }
    }
}
