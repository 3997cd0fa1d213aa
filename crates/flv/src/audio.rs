//! Audio tag bodies.

use bytes::Bytes;

use crate::AudioCodec;
use crate::codec::{Medium, extended_fourcc};

/// An audio tag body, taken apart. Rate, size and channels in the first byte mean nothing for AAC and are not read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AudioTag {
    /// An AudioSpecificConfig.
    AacSequenceHeader(Bytes),
    /// One AAC frame, raw by the book; some encoders put ADTS here.
    AacFrame(Bytes),
    /// One MP3 frame with its header.
    Mp3Frame(Bytes),
    /// Another codec, which is not taken apart.
    Other(AudioCodec),
    /// Nothing is in it: an empty body, or AAC without content.
    Empty,
}

/// Why an audio tag body cannot be read. The stream can go on with the next.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioTagError {
    /// Neither of the two.
    #[error("AAC packet type {found}, expected 0 or 1")]
    PacketType {
        /// The number.
        found: u8,
    },
}

const AAC: u8 = 10;
/// The second number is for 8 kHz, but frames say their rate themselves.
const MP3: [u8; 2] = [2, 14];
const EXTENDED: u8 = 9;

impl AudioTag {
    /// Reads a tag body.
    pub fn read(body: &Bytes) -> Result<Self, AudioTagError> {
        let Some(&first) = body.first() else { return Ok(Self::Empty) };
        match (first >> 4, body.get(1)) {
            (AAC, None | Some(0 | 1)) if body.len() <= 2 => Ok(Self::Empty),
            (AAC, Some(0)) => Ok(Self::AacSequenceHeader(body.slice(2..))),
            (AAC, Some(1)) => Ok(Self::AacFrame(body.slice(2..))),
            (AAC, found) => Err(AudioTagError::PacketType { found: found.copied().unwrap_or_default() }),
            (EXTENDED, _) => {
                Ok(Self::Other(AudioCodec::Extended(extended_fourcc(Medium::Audio, first & 0x0F, &body[1..]))))
            }
            (format, None) if MP3.contains(&format) => Ok(Self::Empty),
            (format, _) if MP3.contains(&format) => Ok(Self::Mp3Frame(body.slice(1..))),
            (format, _) => Ok(Self::Other(AudioCodec::Legacy(format))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FourCc;

    fn read(bytes: &[u8]) -> Result<AudioTag, AudioTagError> {
        AudioTag::read(&Bytes::copy_from_slice(bytes))
    }

    /// whatever the rate bits say.
    #[test]
    fn aac_is_configuration_or_frame() {
        assert_eq!(read(&[0xAF, 0, 0x11, 0x90]), Ok(AudioTag::AacSequenceHeader(Bytes::from_static(&[0x11, 0x90]))));
        assert_eq!(read(&[0xA0, 1, 0x21]), Ok(AudioTag::AacFrame(Bytes::from_static(&[0x21]))));
        assert_eq!(read(&[0xAF, 2, 0]), Err(AudioTagError::PacketType { found: 2 }));
    }

    #[test]
    fn mp3_has_two_numbers() {
        for first in [0x2F, 0xE2] {
            let frame = Bytes::from_static(&[0xFF, 0xFB, 0x90, 0x64]);
            assert_eq!(read(&[first, 0xFF, 0xFB, 0x90, 0x64]), Ok(AudioTag::Mp3Frame(frame)));
            assert_eq!(read(&[first]), Ok(AudioTag::Empty));
        }
    }

    ///
    #[test]
    fn bodies_without_content_are_empty() {
        for bytes in [&[] as &[u8], &[0xAF], &[0xAF, 0], &[0xAF, 1]] {
            assert_eq!(read(bytes), Ok(AudioTag::Empty), "{bytes:02x?}");
        }
    }

    ///
    #[test]
    fn other_codecs_are_named() {
        assert_eq!(read(&[0xB6, 1]), Ok(AudioTag::Other(AudioCodec::Legacy(11))));
        assert_eq!(read(b"\x90Opus"), Ok(AudioTag::Other(AudioCodec::Extended(Some(FourCc(*b"Opus"))))));
        assert_eq!(read(b"\x90"), Ok(AudioTag::Other(AudioCodec::Extended(None))));
    }
}
