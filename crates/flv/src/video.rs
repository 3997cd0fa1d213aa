//! Video tag bodies.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use headwater_amf0::Limits;

use crate::colour::ColourInfo;
use crate::extended::{self, Fields, Head, Medium, Piece, TagError};
use crate::{Packets, VideoCodec};

/// A video tag body, taken apart: whatever its header looks like, it has this shape.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoTag {
    /// What the publisher calls the picture, in all tracks. The bitstream knows better.
    pub frame: FrameType,
    /// By how much presentation is later than milliseconds say: 0 to 999 999 ns.
    pub nanos: u32,
    /// One for each track that is in it, in their order. None when there is neither picture nor configuration: an empty
    /// body, a command (frame type 5), an empty record, metadata without meaning.
    pub packets: Packets<VideoPacket>,
}

/// What a tag has for one track.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoPacket {
    /// The track's number; 0 where the header has none.
    pub track: u8,
    /// What it is coded in.
    pub codec: VideoCodec,
    /// What it is.
    pub content: VideoContent,
}

/// Configuration, picture, or something between pictures.
#[derive(Clone, Debug, PartialEq)]
pub enum VideoContent {
    /// The codec's configuration record: avcC, hvcC, av1C, vpcC. Not empty.
    Config(Bytes),
    /// Configuration of AV1 as MPEG-2 TS has it: its video descriptor.
    TsConfig(Bytes),
    /// One whole picture. Not empty.
    Frame {
        /// Presentation minus decode time, milliseconds; may be negative.
        composition_millis: i32,
        /// H.264, HEVC, VVC: NAL units, each with its length before it. AV1: OBUs. VP8, VP9: a frame. Of a codec that
        /// has no FourCC: all but the first byte.
        data: Bytes,
    },
    /// No more pictures come.
    EndOfSequence,
    /// How colours are meant from here on.
    Colour(ColourInfo),
}

/// The frame type of a tag.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FrameType {
    /// 1, and 4 (made by a server).
    Key,
    /// 2.
    Inter,
    /// 3: may be dropped.
    Disposable,
    /// A number without meaning.
    Other(u8),
}

impl FrameType {
    const fn number(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::Inter => 2,
            Self::Disposable => 3,
            Self::Other(number) => number & 0x07,
        }
    }
}

impl From<u8> for FrameType {
    fn from(number: u8) -> Self {
        match number {
            1 | 4 => Self::Key,
            2 => Self::Inter,
            3 => Self::Disposable,
            other => Self::Other(other),
        }
    }
}

/// What the first bytes of a video message say of the picture in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VideoStart {
    /// The track that it is for.
    pub track: u8,
    /// It is a keyframe, by the publisher's word; the bitstream decides later.
    pub keyframe: bool,
}

/// Codec ids of the old header.
const AVC: u8 = 7;
const HEVC: u8 = 12;
/// The frame type that is no frame.
const COMMAND: u8 = 5;
/// The bit of the extended header.
const EXTENDED: u8 = 0x80;
/// Packet types; the old header has the first three.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const TS_SEQUENCE_START: u8 = 5;
const VIDEO: Medium = Medium { name: "video", multitrack: 6 };

impl VideoTag {
    /// Reads a tag body.
    pub fn read(mut body: Bytes) -> Result<Self, TagError> {
        let length = body.len();
        if length == 0 {
            return Ok(Self { frame: FrameType::Other(0), nanos: 0, packets: Packets::new() });
        }
        let first = body.get_u8();
        let fields = Fields::new(body, length);
        if first & EXTENDED == 0 { read_old(first, fields) } else { read_extended(first, fields) }
    }

    /// The tag's body, in the old form where that can say it.
    ///
    /// `None` for what no tag can hold: nothing at all, packets of different kinds, more than 16 MiB.
    pub fn write(&self) -> Option<Bytes> {
        if let ([VideoPacket { track: 0, codec, content }], 0) = (&self.packets[..], self.nanos)
            && let Some(body) = write_old(self.frame, *codec, content)
        {
            return Some(body);
        }
        let x = self.packets.iter().all(|packet| packet.composition_millis() == 0);
        let mut packet_type = None;
        let mut pieces = Vec::with_capacity(self.packets.len());
        for packet in &self.packets {
            let (kind, payload) = packet.payload(x);
            if *packet_type.get_or_insert(kind) != kind {
                return None;
            }
            pieces.push(Piece { track: packet.track, fourcc: packet.codec.fourcc()?, payload });
        }
        extended::write(VIDEO, EXTENDED | self.frame.number() << 4, packet_type?, self.nanos, &pieces)
    }
}

impl VideoPacket {
    fn composition_millis(&self) -> i32 {
        match &self.content {
            VideoContent::Frame { composition_millis, .. } if self.codec.has_composition_time() => *composition_millis,
            _ => 0,
        }
    }

    /// Packet type and payload in an extended tag; `x`: no picture has a composition time.
    fn payload(&self, x: bool) -> (u8, Bytes) {
        match &self.content {
            VideoContent::Config(record) => (SEQUENCE_START, record.clone()),
            VideoContent::TsConfig(descriptor) => (TS_SEQUENCE_START, descriptor.clone()),
            VideoContent::Frame { data, .. } if x => (CODED_FRAMES_X, data.clone()),
            VideoContent::Frame { data, .. } if !self.codec.has_composition_time() => (CODED_FRAMES, data.clone()),
            VideoContent::Frame { composition_millis, data } => {
                let mut payload = BytesMut::with_capacity(3 + data.len());
                payload.put_slice(&composition_millis.to_be_bytes()[1..]);
                payload.put_slice(data);
                (CODED_FRAMES, payload.freeze())
            }
            VideoContent::EndOfSequence => (SEQUENCE_END, Bytes::new()),
            VideoContent::Colour(info) => (METADATA, info.write().freeze()),
        }
    }
}

impl VideoStart {
    /// Reads the front of a message; twelve bytes are enough.
    ///
    /// `None`: it is no picture (configuration, end, command), has several tracks, is of a codec that has no FourCC, or
    /// the bytes do not say it.
    pub fn read(first: &[u8]) -> Option<Self> {
        let (&byte, rest) = first.split_first()?;
        let frame = byte >> 4 & 0x07;
        if frame == COMMAND {
            return None;
        }
        let keyframe = FrameType::from(frame) == FrameType::Key;
        if byte & EXTENDED == 0 {
            let is_picture = matches!(byte & 0x0F, AVC | HEVC) && rest.first() == Some(&CODED_FRAMES);
            return is_picture.then_some(Self { track: 0, keyframe });
        }
        let mut fields = Fields::new(rest, first.len());
        let head = fields.head(VIDEO, byte & 0x0F, |_| false).ok()?;
        let (track, fourcc) = fields.only_track(&head)?;
        let is_picture = matches!(head.packet_type, CODED_FRAMES | CODED_FRAMES_X)
            && !matches!(VideoCodec::from(fourcc), VideoCodec::Other(_));
        is_picture.then_some(Self { track, keyframe })
    }
}

/// The header before Enhanced RTMP.
fn read_old(first: u8, mut fields: Fields<Bytes>) -> Result<VideoTag, TagError> {
    let (frame, codec) = (first >> 4, first & 0x0F);
    let mut tag = VideoTag { frame: frame.into(), nanos: 0, packets: Packets::new() };
    if frame == COMMAND {
        return Ok(tag);
    }
    let codec = match codec {
        AVC => VideoCodec::Avc,
        HEVC => VideoCodec::Hevc,
        id => VideoCodec::Legacy(id),
    };
    let content = if let VideoCodec::Legacy(_) = codec {
        Some(VideoContent::Frame { composition_millis: 0, data: fields.rest() })
    } else {
        let packet_type = fields.u8("packet type")?;
        // The composition time of a record and of an end means nothing, whatever is there.
        let composition_millis = fields.i24("composition time")?;
        match packet_type {
            SEQUENCE_START => Some(VideoContent::Config(fields.rest())),
            CODED_FRAMES => Some(VideoContent::Frame { composition_millis, data: fields.rest() }),
            SEQUENCE_END => Some(VideoContent::EndOfSequence),
            found => return Err(TagError::PacketType { medium: VIDEO.name, found }),
        }
    };
    let packets = content.filter(VideoContent::is_something);
    tag.packets.extend(packets.map(|content| VideoPacket { track: 0, codec, content }));
    Ok(tag)
}

/// The header of Enhanced RTMP.
fn read_extended(first: u8, mut fields: Fields<Bytes>) -> Result<VideoTag, TagError> {
    let frame = first >> 4 & 0x07;
    let is_command = |packet_type| frame == COMMAND && packet_type != METADATA;
    let head = fields.head(VIDEO, first & 0x0F, is_command)?;
    let mut tag = VideoTag { frame: frame.into(), nanos: head.nanos, packets: Packets::new() };
    if is_command(head.packet_type) {
        return Ok(tag);
    }
    for Piece { track, fourcc, payload } in fields.pieces(&head)? {
        let codec = VideoCodec::from(fourcc);
        if let Some(content) = read_content(&head, codec, payload)? {
            tag.packets.push(VideoPacket { track, codec, content });
        }
    }
    Ok(tag)
}

fn read_content(head: &Head, codec: VideoCodec, payload: Bytes) -> Result<Option<VideoContent>, TagError> {
    let content = match head.packet_type {
        SEQUENCE_START => VideoContent::Config(payload),
        TS_SEQUENCE_START => VideoContent::TsConfig(payload),
        CODED_FRAMES if codec.has_composition_time() && !payload.is_empty() => {
            let length = payload.len();
            let mut fields = Fields::new(payload, length);
            VideoContent::Frame { composition_millis: fields.i24("composition time")?, data: fields.rest() }
        }
        CODED_FRAMES | CODED_FRAMES_X => VideoContent::Frame { composition_millis: 0, data: payload },
        SEQUENCE_END => VideoContent::EndOfSequence,
        METADATA => return Ok(ColourInfo::read(&payload, Limits::default()).map(VideoContent::Colour)),
        found => return Err(TagError::PacketType { medium: VIDEO.name, found }),
    };
    Ok(Some(content).filter(VideoContent::is_something))
}

impl VideoContent {
    /// Empty records and pictures occur and mean nothing.
    fn is_something(&self) -> bool {
        match self {
            Self::Config(data) | Self::TsConfig(data) | Self::Frame { data, .. } => !data.is_empty(),
            Self::EndOfSequence | Self::Colour(_) => true,
        }
    }
}

/// H.264, and codecs that have no FourCC.
fn write_old(frame: FrameType, codec: VideoCodec, content: &VideoContent) -> Option<Bytes> {
    let id = match codec {
        VideoCodec::Avc => AVC,
        VideoCodec::Legacy(id) => id & 0x0F,
        _ => return None,
    };
    let (packet_type, composition_millis, data) = match content {
        VideoContent::Config(record) => (SEQUENCE_START, 0, record.clone()),
        VideoContent::Frame { composition_millis, data } => (CODED_FRAMES, *composition_millis, data.clone()),
        VideoContent::EndOfSequence => (SEQUENCE_END, 0, Bytes::new()),
        VideoContent::TsConfig(_) | VideoContent::Colour(_) => return None,
    };
    let mut out = BytesMut::with_capacity(5 + data.len());
    out.put_u8(frame.number() << 4 | id);
    if id == AVC {
        out.put_u8(packet_type);
        out.put_slice(&composition_millis.to_be_bytes()[1..]);
    }
    out.put_slice(&data);
    (out.len() <= 0x00FF_FFFF).then(|| out.freeze())
}

#[cfg(test)]
mod tests {
    use headwater_amf0::Object;

    use super::*;
    use crate::FourCc;

    fn read(bytes: &[u8]) -> Result<VideoTag, TagError> {
        VideoTag::read(Bytes::copy_from_slice(bytes))
    }

    /// The only packet of a tag.
    #[track_caller]
    fn only(bytes: &[u8]) -> (FrameType, VideoPacket) {
        let tag = read(bytes).unwrap();
        let [packet] = &tag.packets[..] else { panic!("expected one packet: {tag:?}") };
        (tag.frame, packet.clone())
    }

    #[track_caller]
    fn picture(bytes: &[u8]) -> (FrameType, VideoCodec, i32, Vec<u8>) {
        match only(bytes) {
            (frame, VideoPacket { codec, content: VideoContent::Frame { composition_millis, data }, .. }) => {
                (frame, codec, composition_millis, data.to_vec())
            }
            other => panic!("expected a picture, found {other:?}"),
        }
    }

    fn content(bytes: &[u8]) -> (VideoCodec, VideoContent) {
        let (_, packet) = only(bytes);
        (packet.codec, packet.content)
    }

    /// composition times are signed.
    #[test]
    fn a_picture_has_a_signed_composition_time() {
        use FrameType::{Disposable, Inter, Key};
        use VideoCodec::Avc;
        assert_eq!(picture(&[0x17, 1, 0, 0, 67, 0xAA]), (Key, Avc, 67, vec![0xAA]));
        assert_eq!(picture(&[0x27, 1, 0xFF, 0xFF, 0xDF, 0xAA]), (Inter, Avc, -33, vec![0xAA]));
        assert_eq!(picture(&[0x37, 1, 0x80, 0, 0, 0xAA]), (Disposable, Avc, -(1 << 23), vec![0xAA]));
        assert_eq!(picture(&[0x47, 1, 0x7F, 0xFF, 0xFF, 0xAA]), (Key, Avc, (1 << 23) - 1, vec![0xAA]));
        assert_eq!(picture(b"\x91hvc1\xFF\xFF\xDF\xAA"), (Key, VideoCodec::Hevc, -33, vec![0xAA]));
    }

    /// the first bytes of each form, and who has a composition time.
    #[test]
    fn extended_headers_have_these_first_bytes() {
        use FrameType::{Inter, Key};
        use VideoCodec::{Av1, Hevc, Vp9};
        let record = |bytes| VideoContent::Config(Bytes::from_static(bytes));
        assert_eq!(content(b"\x90hvc1\x01\x02"), (Hevc, record(b"\x01\x02")));
        assert_eq!(picture(b"\xA1hvc1\x00\x00\x21abc"), (Inter, Hevc, 33, b"abc".to_vec()));
        assert_eq!(picture(b"\x93hvc1abc"), (Key, Hevc, 0, b"abc".to_vec()));
        assert_eq!(picture(b"\xA3hvc1abc"), (Inter, Hevc, 0, b"abc".to_vec()));
        assert_eq!(picture(b"\x91av01abcd"), (Key, Av1, 0, b"abcd".to_vec()));
        assert_eq!(picture(b"\xA1vp09abcd"), (Inter, Vp9, 0, b"abcd".to_vec()));
        assert_eq!(content(b"\x95av01\x80\x04"), (Av1, VideoContent::TsConfig(Bytes::from_static(b"\x80\x04"))));
        assert_eq!(content(b"\x92hvc1"), (Hevc, VideoContent::EndOfSequence));
        // VVC is HEVC's successor in this, too.
        assert_eq!(picture(b"\x91vvc1\x00\x00\x01a"), (Key, VideoCodec::Vvc, 1, b"a".to_vec()));
    }

    /// codec 12 is laid out like H.264.
    #[test]
    fn configuration_and_end_are_told_from_pictures() {
        let record = VideoContent::Config(Bytes::from_static(&[1, 0x64]));
        assert_eq!(content(&[0x17, 0, 9, 9, 9, 1, 0x64]), (VideoCodec::Avc, record.clone()));
        assert_eq!(content(&[0x17, 2, 0, 0, 0]), (VideoCodec::Avc, VideoContent::EndOfSequence));
        assert_eq!(content(&[0x1C, 0, 0, 0, 0, 1, 0x64]), (VideoCodec::Hevc, record));
        assert_eq!(picture(&[0x2C, 1, 0, 0, 40, 7]), (FrameType::Inter, VideoCodec::Hevc, 40, vec![7]));
    }

    ///
    #[test]
    fn bodies_without_content_are_empty() {
        let bodies = [
            &[] as &[u8],
            &[0x17, 0, 0, 0, 0],
            &[0x27, 1, 0, 0, 0],
            &[0x57, 0],
            &[0x52, 1],
            &[0xD0, 1],
            b"\x90hvc1",
            b"\x91hvc1",
            b"\x93av01",
            b"\x94hvc1",
        ];
        for bytes in bodies {
            assert_eq!(read(bytes).unwrap().packets[..], [], "{bytes:02x?}");
        }
    }

    ///
    #[test]
    fn other_codecs_are_named() {
        assert_eq!(picture(&[0x12, 0]).1, VideoCodec::Legacy(2));
        assert_eq!(picture(b"\x91hev1\0\0\0").1, VideoCodec::Other(FourCc(*b"hev1")));
    }

    #[test]
    fn a_broken_header_is_an_error() {
        assert_eq!(read(&[0x17, 1, 0, 0]), Err(TagError::Truncated { field: "composition time", length: 4 }));
        assert_eq!(read(&[0x17, 3, 0, 0, 0]), Err(TagError::PacketType { medium: "video", found: 3 }));
        assert_eq!(read(b"\x90hv"), Err(TagError::Truncated { field: "FourCC", length: 3 }));
        assert_eq!(read(b"\x98hvc1abc"), Err(TagError::PacketType { medium: "video", found: 8 }));
    }

    /// metadata may come with the frame type of a command.
    #[test]
    fn colour_comes_as_metadata() {
        let config = Object::default().with("colorPrimaries", 9u32);
        let info = ColourInfo::new(Object::default().with("colorConfig", config));
        let packet = VideoPacket { track: 0, codec: VideoCodec::Hevc, content: VideoContent::Colour(info) };
        for frame in [FrameType::Key, FrameType::Other(5)] {
            let tag = VideoTag { frame, nanos: 0, packets: Packets::from_iter([packet.clone()]) };
            assert_eq!(VideoTag::read(tag.write().unwrap()), Ok(tag));
        }
    }

    ///
    #[test]
    fn tracks_and_nanoseconds_are_read() {
        let body = b"\x97\x02\x00\x00\x07\x06\x21avc1\x00\x00\x00\x04\x00\x00\x21aav01\x03\x00\x00\x01b";
        let tag = read(body).unwrap();
        let frame = |composition_millis, data| VideoContent::Frame { composition_millis, data };
        let packets = [
            VideoPacket { track: 0, codec: VideoCodec::Avc, content: frame(33, Bytes::from_static(b"a")) },
            VideoPacket { track: 3, codec: VideoCodec::Av1, content: frame(0, Bytes::from_static(b"b")) },
        ];
        assert_eq!((tag.frame, tag.nanos, &tag.packets[..]), (FrameType::Key, 7, &packets[..]));
        assert_eq!(tag.write().unwrap(), body[..]);
    }

    #[test]
    fn what_no_tag_can_hold_is_not_written() {
        let packet = |content| VideoPacket { track: 0, codec: VideoCodec::Hevc, content };
        let mut tag = VideoTag { frame: FrameType::Key, nanos: 0, packets: Packets::new() };
        assert_eq!(tag.write(), None);
        tag.packets = Packets::from_vec(vec![
            packet(VideoContent::EndOfSequence),
            packet(VideoContent::Config(Bytes::from_static(b"a"))),
        ]);
        assert_eq!(tag.write(), None);
        tag.packets = Packets::from_iter([packet(VideoContent::Config(vec![0; 1 << 24].into()))]);
        assert_eq!(tag.write(), None);
    }

    #[test]
    fn the_first_bytes_tell_a_keyframe() {
        let start = |track, keyframe| Some(VideoStart { track, keyframe });
        assert_eq!(VideoStart::read(&[0x17, 1, 0, 0, 0]), start(0, true));
        assert_eq!(VideoStart::read(&[0x27, 1]), start(0, false));
        assert_eq!(VideoStart::read(&[0x1C, 1]), start(0, true));
        assert_eq!(VideoStart::read(b"\x91hvc1"), start(0, true));
        assert_eq!(VideoStart::read(b"\xA3av01"), start(0, false));
        assert_eq!(VideoStart::read(b"\x97\x02\0\0\0\x06\x03vp09\x04"), start(4, true));
        for none in [
            &[] as &[u8],
            &[0x17],
            &[0x17, 0],
            &[0x17, 2],
            &[0x57, 1],
            &[0x12, 1],
            b"\x90hvc1",
            b"\x91hvc",
            b"\xD1hvc1",
            b"\x91hev1",
            b"\x96\x11hvc1\0",
        ] {
            assert_eq!(VideoStart::read(none), None, "{none:02x?}");
        }
    }
}
