//! Audio tag bodies.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::extended::{self, Fields, Head, Medium, Piece, TagError};
use crate::{AudioCodec, Packets};

/// An audio tag body, taken apart: whatever its header looks like, it has this shape. Rate, size and channels in the
/// old header's first byte mean nothing for any codec that is taken, and are not read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AudioTag {
    /// By how much the sound is later than milliseconds say: 0 to 999 999 ns.
    pub nanos: u32,
    /// One for each track that is in it, in their order. None when nothing is in it, which stands for silence.
    pub packets: Packets<AudioPacket>,
}

/// What a tag has for one track.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AudioPacket {
    /// The track's number; 0 where the header has none.
    pub track: u8,
    /// What it is coded in.
    pub codec: AudioCodec,
    /// What it is.
    pub content: AudioContent,
}

/// Configuration, sound, or something between sounds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AudioContent {
    /// AAC: an AudioSpecificConfig. Opus: an `OpusHead`, or nothing. FLAC: `fLaC` and its STREAMINFO block.
    Config(Bytes),
    /// One coded frame, not empty: AAC raw by the book (some encoders put ADTS there, R-104), MP3, AC-3 and E-AC-3 with
    /// their headers, an Opus packet, a FLAC frame. Of a codec that has no FourCC: all but the first byte.
    Frame(Bytes),
    /// No more sound comes.
    EndOfSequence,
    /// Which channels there are.
    Channels(ChannelLayout),
}

/// MultichannelConfig: where the channels of a track belong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChannelLayout {
    /// How many.
    pub count: u8,
    /// In which order they come.
    pub order: ChannelOrder,
}

/// The order of channels.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChannelOrder {
    /// Nothing is said of it.
    Unspecified,
    /// The codec's own, of the channels whose bits are set: 0 front left, 1 front right, 2 front center, and so on.
    Native(u32),
    /// One number for each channel, by the same count.
    Custom(Bytes),
}

/// Sound formats of the old header.
const AAC: u8 = 10;
const MP3: u8 = 2;
const MP3_8_KHZ: u8 = 14;
const EXTENDED: u8 = 9;
/// Packet types; the old header of AAC has the first two.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const MULTICHANNEL_CONFIG: u8 = 4;
const AUDIO: Medium = Medium { name: "audio", multitrack: 5 };

impl AudioTag {
    /// Reads a tag body.
    pub fn read(mut body: Bytes) -> Result<Self, TagError> {
        let mut tag = Self { nanos: 0, packets: Packets::new() };
        let length = body.len();
        if length == 0 {
            return Ok(tag);
        }
        let first = body.get_u8();
        let mut fields = Fields::new(body, length);
        if first >> 4 == EXTENDED {
            let head = fields.head(AUDIO, first & 0x0F, |_| false)?;
            tag.nanos = head.nanos;
            for Piece { track, fourcc, payload } in fields.pieces(&head)? {
                let codec = AudioCodec::from(fourcc);
                let content = Some(read_content(&head, payload)?).filter(|content| content.is_something(codec));
                tag.packets.extend(content.map(|content| AudioPacket { track, codec, content }));
            }
            return Ok(tag);
        }
        let (codec, content) = match first >> 4 {
            AAC if length == 1 => return Ok(tag),
            AAC => {
                let content = match fields.u8("packet type")? {
                    SEQUENCE_START => AudioContent::Config(fields.rest()),
                    CODED_FRAMES => AudioContent::Frame(fields.rest()),
                    found => return Err(TagError::PacketType { medium: AUDIO.name, found }),
                };
                (AudioCodec::Aac, content)
            }
            MP3 | MP3_8_KHZ => (AudioCodec::Mp3, AudioContent::Frame(fields.rest())),
            format => (AudioCodec::Legacy(format), AudioContent::Frame(fields.rest())),
        };
        let content = Some(content).filter(|content| content.is_something(codec));
        tag.packets.extend(content.map(|content| AudioPacket { track: 0, codec, content }));
        Ok(tag)
    }

    /// The tag's body, in the old form where that can say it.
    ///
    /// `None` for what no tag can hold: nothing at all, packets of different kinds, more than 16 MiB.
    pub fn write(&self) -> Option<Bytes> {
        if let ([AudioPacket { track: 0, codec, content }], 0) = (&self.packets[..], self.nanos)
            && let Some(body) = write_old(*codec, content)
        {
            return Some(body);
        }
        let mut packet_type = None;
        let mut pieces = Vec::with_capacity(self.packets.len());
        for packet in &self.packets {
            let (kind, payload) = packet.payload();
            if *packet_type.get_or_insert(kind) != kind {
                return None;
            }
            pieces.push(Piece { track: packet.track, fourcc: packet.codec.fourcc()?, payload });
        }
        extended::write(AUDIO, EXTENDED << 4, packet_type?, self.nanos, &pieces)
    }
}

impl AudioPacket {
    fn payload(&self) -> (u8, Bytes) {
        match &self.content {
            AudioContent::Config(record) => (SEQUENCE_START, record.clone()),
            AudioContent::Frame(data) => (CODED_FRAMES, data.clone()),
            AudioContent::EndOfSequence => (SEQUENCE_END, Bytes::new()),
            AudioContent::Channels(layout) => (MULTICHANNEL_CONFIG, layout.write()),
        }
    }
}

impl AudioContent {
    /// Empty records and frames occur and mean nothing; Opus alone needs no record.
    fn is_something(&self, codec: AudioCodec) -> bool {
        match self {
            Self::Config(record) => !record.is_empty() || codec == AudioCodec::Opus,
            Self::Frame(data) => !data.is_empty(),
            Self::EndOfSequence | Self::Channels(_) => true,
        }
    }
}

impl ChannelLayout {
    fn read(payload: Bytes) -> Result<Self, TagError> {
        let length = payload.len();
        let mut fields = Fields::new(payload, length);
        let (order, count) = (fields.u8("channel order")?, fields.u8("channel count")?);
        let order = match order {
            1 => ChannelOrder::Native(fields.u32("channel flags")?),
            2 => ChannelOrder::Custom(fields.take(count.into(), "channel mapping")?),
            // 0, and whatever may come.
            _ => ChannelOrder::Unspecified,
        };
        Ok(Self { count, order })
    }

    fn write(&self) -> Bytes {
        let mut out = BytesMut::new();
        match &self.order {
            ChannelOrder::Unspecified => out.put_slice(&[0, self.count]),
            ChannelOrder::Native(flags) => {
                out.put_slice(&[1, self.count]);
                out.put_u32(*flags);
            }
            ChannelOrder::Custom(mapping) => {
                out.put_slice(&[2, self.count]);
                out.put_slice(mapping);
            }
        }
        out.freeze()
    }
}

fn read_content(head: &Head, payload: Bytes) -> Result<AudioContent, TagError> {
    Ok(match head.packet_type {
        SEQUENCE_START => AudioContent::Config(payload),
        CODED_FRAMES => AudioContent::Frame(payload),
        SEQUENCE_END => AudioContent::EndOfSequence,
        MULTICHANNEL_CONFIG => AudioContent::Channels(ChannelLayout::read(payload)?),
        found => return Err(TagError::PacketType { medium: AUDIO.name, found }),
    })
}

/// AAC, MP3, and codecs that have no FourCC. The first byte says 44.1 kHz, 16 bits and stereo, which is what it has to
/// say for AAC.
fn write_old(codec: AudioCodec, content: &AudioContent) -> Option<Bytes> {
    let mut out = BytesMut::new();
    match (codec, content) {
        (AudioCodec::Aac, AudioContent::Config(record)) => {
            out.put_slice(&[AAC << 4 | 0x0F, SEQUENCE_START]);
            out.put_slice(record);
        }
        (AudioCodec::Aac, AudioContent::Frame(data)) => {
            out.put_slice(&[AAC << 4 | 0x0F, CODED_FRAMES]);
            out.put_slice(data);
        }
        (AudioCodec::Mp3, AudioContent::Frame(data)) => {
            out.put_u8(MP3 << 4 | 0x0F);
            out.put_slice(data);
        }
        (AudioCodec::Legacy(format), AudioContent::Frame(data)) => {
            out.put_u8(format << 4 | 0x0F);
            out.put_slice(data);
        }
        _ => return None,
    }
    (out.len() <= 0x00FF_FFFF).then(|| out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FourCc;

    fn read(bytes: &[u8]) -> Result<AudioTag, TagError> {
        AudioTag::read(Bytes::copy_from_slice(bytes))
    }

    #[track_caller]
    fn only(bytes: &[u8]) -> (AudioCodec, AudioContent) {
        let tag = read(bytes).unwrap();
        let [AudioPacket { track: 0, codec, content }] = &tag.packets[..] else { panic!("{tag:?}") };
        (*codec, content.clone())
    }

    const fn config(bytes: &'static [u8]) -> AudioContent {
        AudioContent::Config(Bytes::from_static(bytes))
    }

    const fn frame(bytes: &'static [u8]) -> AudioContent {
        AudioContent::Frame(Bytes::from_static(bytes))
    }

    /// whatever the rate bits say.
    #[test]
    fn aac_is_configuration_or_frame() {
        assert_eq!(only(&[0xAF, 0, 0x11, 0x90]), (AudioCodec::Aac, config(&[0x11, 0x90])));
        assert_eq!(only(&[0xA0, 1, 0x21]), (AudioCodec::Aac, frame(&[0x21])));
        assert_eq!(read(&[0xAF, 2, 0]), Err(TagError::PacketType { medium: "audio", found: 2 }));
    }

    #[test]
    fn mp3_has_two_numbers() {
        for first in [0x2F, 0xE2] {
            assert_eq!(only(&[first, 0xFF, 0xFB, 0x90, 0x64]), (AudioCodec::Mp3, frame(&[0xFF, 0xFB, 0x90, 0x64])));
        }
    }

    ///
    #[test]
    fn bodies_without_content_are_empty() {
        let bodies: [&[u8]; 8] =
            [&[], &[0xAF], &[0xAF, 0], &[0xAF, 1], &[0x2F], b"\x90mp4a", b"\x91Opus", b"\x95\x11Opus"];
        for bytes in bodies {
            assert_eq!(read(bytes).unwrap().packets[..], [], "{bytes:02x?}");
        }
    }

    ///
    #[test]
    fn every_codec_has_its_letters() {
        for (letters, codec) in [
            (b"mp4a", AudioCodec::Aac),
            (b"Opus", AudioCodec::Opus),
            (b"fLaC", AudioCodec::Flac),
            (b"ac-3", AudioCodec::Ac3),
            (b"ec-3", AudioCodec::Eac3),
            (b".mp3", AudioCodec::Mp3),
        ] {
            assert_eq!(only(&[b"\x90", &letters[..], b"ab"].concat()), (codec, config(b"ab")));
            assert_eq!(only(&[b"\x91", &letters[..], b"ab"].concat()), (codec, frame(b"ab")));
            assert_eq!(only(&[b"\x92", &letters[..]].concat()), (codec, AudioContent::EndOfSequence));
        }
        assert_eq!(only(b"\x90Opus"), (AudioCodec::Opus, config(b"")), "Opus needs no record");
    }

    ///
    #[test]
    fn channels_are_told_in_three_ways() {
        let layout = |count, order| AudioContent::Channels(ChannelLayout { count, order });
        assert_eq!(only(b"\x94Opus\0\x06").1, layout(6, ChannelOrder::Unspecified));
        assert_eq!(only(b"\x94Opus\x01\x06\0\0\x06\x0F").1, layout(6, ChannelOrder::Native(0x060F)));
        let custom = ChannelOrder::Custom(Bytes::from_static(&[2, 0, 1]));
        assert_eq!(only(b"\x94ec-3\x02\x03\x02\x00\x01").1, layout(3, custom));
        let error = TagError::Truncated { field: "channel mapping", length: 4 };
        assert_eq!(read(b"\x94ec-3\x02\x03\x02\x00"), Err(error));
    }

    ///
    #[test]
    fn tracks_and_nanoseconds_are_read() {
        let body = b"\x97\x02\x0F\x42\x3F\x05\x11Opus\x00\x00\x00\x01a\x07\x00\x00\x02bc";
        let tag = read(body).unwrap();
        let packet = |track, content| AudioPacket { track, codec: AudioCodec::Opus, content };
        let packets = Packets::from_iter([packet(0, frame(b"a")), packet(7, frame(b"bc"))]);
        assert_eq!(tag, AudioTag { nanos: 999_999, packets });
        assert_eq!(tag.write().unwrap(), body[..]);
    }

    ///
    #[test]
    fn other_codecs_are_named() {
        assert_eq!(only(&[0xB6, 1]).0, AudioCodec::Legacy(11));
        assert_eq!(only(b"\x91tone\x01").0, AudioCodec::Other(FourCc(*b"tone")));
        assert_eq!(read(b"\x90"), Err(TagError::Truncated { field: "FourCC", length: 1 }));
        assert_eq!(read(b"\x93Opus\0"), Err(TagError::PacketType { medium: "audio", found: 3 }));
    }
}
