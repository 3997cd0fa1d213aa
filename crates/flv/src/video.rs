//! Video tag bodies.

use bytes::Bytes;

use crate::VideoCodec;
use crate::codec::{Medium, extended_fourcc};

/// A video tag body, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VideoTag {
    /// H.264.
    Avc {
        /// What the publisher calls the frame. NAL units know better.
        frame: FrameType,
        /// What is in it.
        packet: AvcPacket,
    },
    /// Another codec, which is not taken apart.
    Other(VideoCodec),
    /// No picture and no configuration: an empty body, a command (frame type 5), an empty record.
    Empty,
}

/// What an H.264 tag carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AvcPacket {
    /// An AVCDecoderConfigurationRecord.
    SequenceHeader(Bytes),
    /// One whole picture.
    NalUnits {
        /// Presentation minus decode time, milliseconds; may be negative.
        composition_millis: i32,
        /// NAL units, each with its length before it.
        data: Bytes,
    },
    /// No more pictures come.
    EndOfSequence,
}

/// First half of the first byte.
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

/// Why a video tag body cannot be read. The stream can go on with the next.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VideoTagError {
    /// It ends inside its header.
    #[error("an H.264 tag of {length} bytes, its header has 5")]
    Truncated {
        /// Its length.
        length: usize,
    },
    /// None of the three.
    #[error("H.264 packet type {found}, expected 0, 1 or 2")]
    PacketType {
        /// The number.
        found: u8,
    },
}

const AVC: u8 = 7;
const COMMAND: u8 = 5;
/// The extended header: its bit, and the one packet type that may go with a command's number.
const EXTENDED: u8 = 0x80;
const METADATA: u8 = 4;

impl VideoTag {
    /// Reads a tag body.
    pub fn read(body: &Bytes) -> Result<Self, VideoTagError> {
        let Some(&first) = body.first() else { return Ok(Self::Empty) };
        if first & EXTENDED != 0 {
            if first >> 4 & 0x07 == COMMAND && first & 0x0F != METADATA {
                return Ok(Self::Empty); // no codec is named here
            }
            return Ok(Self::Other(VideoCodec::Extended(extended_fourcc(Medium::Video, first & 0x0F, &body[1..]))));
        }
        let (frame, codec) = (first >> 4, first & 0x0F);
        if frame == COMMAND {
            return Ok(Self::Empty);
        }
        if codec != AVC {
            return Ok(Self::Other(VideoCodec::Legacy(codec)));
        }
        let [_, packet_type, c0, c1, c2, ..] = **body else {
            return Err(VideoTagError::Truncated { length: body.len() });
        };
        let data = body.slice(5..);
        let packet = match packet_type {
            // The composition time of a record and of an end means nothing, whatever is there.
            0 if data.is_empty() => return Ok(Self::Empty),
            0 => AvcPacket::SequenceHeader(data),
            1 if data.is_empty() => return Ok(Self::Empty),
            // 24 bits with a sign: shifted up so that the sign is the word's, and down again.
            1 => AvcPacket::NalUnits { composition_millis: i32::from_be_bytes([c0, c1, c2, 0]) >> 8, data },
            2 => AvcPacket::EndOfSequence,
            found => return Err(VideoTagError::PacketType { found }),
        };
        Ok(Self::Avc { frame: frame.into(), packet })
    }
}

/// Whether a video message that begins with `first` is a keyframe, before the rest of it is there.
///
/// `None`: it is no picture (configuration, end, command, empty), or a codec that is not taken apart. The publisher's
/// word is taken for it, the NAL units decide later.
pub fn opens_gop(first: &[u8]) -> Option<bool> {
    match first {
        [byte, 1, ..] if byte & (EXTENDED | 0x0F) == AVC && byte >> 4 != COMMAND => {
            Some(FrameType::from(byte >> 4) == FrameType::Key)
        }
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FourCc;

    fn read(bytes: &[u8]) -> Result<VideoTag, VideoTagError> {
        VideoTag::read(&Bytes::copy_from_slice(bytes))
    }

    fn picture(bytes: &[u8]) -> (FrameType, i32, Vec<u8>) {
        match read(bytes) {
            Ok(VideoTag::Avc { frame, packet: AvcPacket::NalUnits { composition_millis, data } }) => {
                (frame, composition_millis, data.to_vec())
            }
            other => panic!("expected a picture, found {other:?}"),
        }
    }

    /// composition times are signed.
    #[test]
    fn a_picture_has_a_signed_composition_time() {
        assert_eq!(picture(&[0x17, 1, 0, 0, 67, 0xAA]), (FrameType::Key, 67, vec![0xAA]));
        assert_eq!(picture(&[0x27, 1, 0xFF, 0xFF, 0xDF, 0xAA]), (FrameType::Inter, -33, vec![0xAA]));
        assert_eq!(picture(&[0x37, 1, 0x80, 0, 0, 0xAA]), (FrameType::Disposable, -(1 << 23), vec![0xAA]));
        assert_eq!(picture(&[0x47, 1, 0x7F, 0xFF, 0xFF, 0xAA]), (FrameType::Key, (1 << 23) - 1, vec![0xAA]));
    }

    ///
    #[test]
    fn configuration_and_end_are_told_from_pictures() {
        let packet = AvcPacket::SequenceHeader(Bytes::from_static(&[1, 0x64]));
        assert_eq!(read(&[0x17, 0, 9, 9, 9, 1, 0x64]), Ok(VideoTag::Avc { frame: FrameType::Key, packet }));
        let packet = AvcPacket::EndOfSequence;
        assert_eq!(read(&[0x17, 2, 0, 0, 0]), Ok(VideoTag::Avc { frame: FrameType::Key, packet }));
    }

    ///
    #[test]
    fn bodies_without_content_are_empty() {
        for bytes in [&[] as &[u8], &[0x17, 0, 0, 0, 0], &[0x27, 1, 0, 0, 0], &[0x57, 0], &[0x52, 1], &[0xD0, 1]] {
            assert_eq!(read(bytes), Ok(VideoTag::Empty), "{bytes:02x?}");
        }
    }

    ///
    #[test]
    fn other_codecs_are_named() {
        assert_eq!(read(&[0x1C, 0, 0, 0, 0, 1]), Ok(VideoTag::Other(VideoCodec::Legacy(12))));
        assert_eq!(read(&[0x12, 0]), Ok(VideoTag::Other(VideoCodec::Legacy(2))));
        let hevc = VideoCodec::Extended(Some(FourCc(*b"hvc1")));
        assert_eq!(read(b"\x90hvc1\x01"), Ok(VideoTag::Other(hevc)));
        assert_eq!(read(b"\x90hv"), Ok(VideoTag::Other(VideoCodec::Extended(None))));
    }

    #[test]
    fn a_broken_header_is_an_error() {
        assert_eq!(read(&[0x17, 1, 0, 0]), Err(VideoTagError::Truncated { length: 4 }));
        assert_eq!(read(&[0x17, 3, 0, 0, 0]), Err(VideoTagError::PacketType { found: 3 }));
    }

    #[test]
    fn the_first_bytes_tell_a_keyframe() {
        assert_eq!(opens_gop(&[0x17, 1, 0, 0, 0]), Some(true));
        assert_eq!(opens_gop(&[0x27, 1]), Some(false));
        for none in [&[] as &[u8], &[0x17], &[0x17, 0], &[0x17, 2], &[0x57, 1], &[0x12, 1], &[0x97, 1]] {
            assert_eq!(opens_gop(none), None, "{none:02x?}");
        }
    }
}
