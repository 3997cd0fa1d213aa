//! Opus: the identification header (RFC 7845, 5.1; R-77) and the length of a packet (RFC 6716, 3.1).

use bytes::Bytes;

use super::CodecError;

/// What the identification header says, and how long packets are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpusConfig {
    /// Channels of decoded sound: 1 or 2 without a [`mapping`](Self::mapping), else 1 to 255.
    pub channels: u8,
    /// Samples that a player of a file would drop at its beginning. A live stream has no beginning.
    pub pre_skip: u16,
    /// Sample rate of what was encoded, Hz; for people. Decoders give 48 kHz.
    pub input_rate: u32,
    /// Gain that decoders apply, in 1/256 dB.
    pub output_gain: i16,
    /// Which coded stream each channel comes from; `None` for one stream of one or two channels.
    pub mapping: Option<OpusMapping>,
    /// Samples of a packet at 48 kHz, at most. Not zero.
    pub frame_samples: u32,
}

/// The channel mapping table (RFC 7845, 5.1.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpusMapping {
    /// Channel mapping family: 1 for surround in the order of Vorbis.
    pub family: u8,
    /// Coded streams.
    pub streams: u8,
    /// How many of them have two channels.
    pub coupled: u8,
    /// For each channel of the output, the decoded channel that it is; 255 is silence.
    pub channels: Bytes,
}

impl OpusConfig {
    /// The rate in which Opus counts, whatever was encoded, Hz.
    pub const RATE: u32 = 48_000;

    /// Reads an identification header. `packet` is the first packet, which says how long packets are.
    pub fn parse(head: &[u8], packet: &[u8]) -> Result<Self, CodecError> {
        let rest = head.strip_prefix(MAGIC).ok_or_else(|| unsupported("magic", 0, "OpusHead"))?;
        let Some((&[version, channels, skip0, skip1, rate @ .., gain0, gain1, family], rest)) =
            rest.split_first_chunk::<11>()
        else {
            return Err(CodecError::Truncated { record: HEAD, field: "fixed fields", length: head.len() });
        };
        // The upper half of the version is for changes that nobody understands.
        if version & 0xF0 != 0 {
            return Err(unsupported("version", version.into(), "0 to 15"));
        }
        let mapping = match family {
            0 => None,
            family => Some(OpusMapping::parse(family, channels, rest, head.len())?),
        };
        if channels == 0 || (mapping.is_none() && channels > 2) {
            return Err(unsupported("channels", channels.into(), "1 or 2, or more with a mapping"));
        }
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([skip0, skip1]),
            input_rate: u32::from_le_bytes(rate),
            output_gain: i16::from_le_bytes([gain0, gain1]),
            mapping,
            frame_samples: Self::packet_samples(packet)?,
        })
    }

    /// What to assume of a publisher that sends no header: one stream, as many channels as its packets say.
    pub fn guess(packet: &[u8]) -> Result<Self, CodecError> {
        let frame_samples = Self::packet_samples(packet)?;
        let stereo = packet.first().is_some_and(|toc| toc & 4 != 0);
        let channels = if stereo { 2 } else { 1 };
        Ok(Self { channels, pre_skip: 0, input_rate: Self::RATE, output_gain: 0, mapping: None, frame_samples })
    }

    /// The identification header, as [`parse`](Self::parse) reads it.
    pub fn head(&self) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend([1, self.channels]);
        head.extend(self.pre_skip.to_le_bytes());
        head.extend(self.input_rate.to_le_bytes());
        head.extend(self.output_gain.to_le_bytes());
        match &self.mapping {
            None => head.push(0),
            Some(mapping) => {
                head.extend([mapping.family, mapping.streams, mapping.coupled]);
                head.extend_from_slice(&mapping.channels);
            }
        }
        head
    }

    /// Samples of a packet at 48 kHz: 120 to 5760.
    pub fn packet_samples(packet: &[u8]) -> Result<u32, CodecError> {
        let truncated = CodecError::Truncated { record: PACKET, field: "table of contents", length: packet.len() };
        let Some(&toc) = packet.first() else { return Err(truncated) };
        let frame = match toc >> 3 {
            config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)], // SILK
            config @ 12..=15 => [480, 960][usize::from(config & 1)],            // hybrid
            config => [120, 240, 480, 960][usize::from(config & 3)],            // CELT
        };
        let frames = match toc & 3 {
            0 => 1,
            1 | 2 => 2,
            _ => u32::from(*packet.get(1).ok_or(truncated)? & 0x3F),
        };
        match frame * frames {
            samples @ 1..=SAMPLES_MAX => Ok(samples),
            found => {
                let (field, expected) = ("length", "1 to 5760 samples");
                Err(CodecError::Unsupported { record: PACKET, field, found: found.into(), expected })
            }
        }
    }
}

impl OpusMapping {
    fn parse(family: u8, channels: u8, table: &[u8], length: usize) -> Result<Self, CodecError> {
        let truncated = CodecError::Truncated { record: HEAD, field: "channel mapping", length };
        let Some((&[streams, coupled], table)) = table.split_first_chunk::<2>() else { return Err(truncated) };
        let Some(channels) = table.get(..usize::from(channels)) else { return Err(truncated) };
        if streams == 0 || coupled > streams {
            return Err(unsupported("streams", streams.into(), "at least 1, and no more coupled ones"));
        }
        Ok(Self { family, streams, coupled, channels: Bytes::copy_from_slice(channels) })
    }
}

fn unsupported(field: &'static str, found: u64, expected: &'static str) -> CodecError {
    CodecError::Unsupported { record: HEAD, field, found, expected }
}

const HEAD: &str = "Opus header";
const PACKET: &str = "Opus packet";
const MAGIC: &[u8] = b"OpusHead";
/// 120 ms.
const SAMPLES_MAX: u32 = 5760;

#[cfg(test)]
mod tests {
    use super::*;

    /// What libopus writes in FFmpeg: version 1, stereo, 312 samples to skip, 48 kHz.
    const STEREO: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0";
    /// CELT, 20 ms, stereo, one frame: silence.
    const SILENCE: &[u8] = &[0xFC, 0xFF, 0xFE];

    #[test]
    fn a_header_of_stereo_is_read_and_comes_out_as_it_went_in() {
        let config = OpusConfig::parse(STEREO, SILENCE).unwrap();
        assert_eq!((config.channels, config.pre_skip, config.input_rate), (2, 312, 48_000));
        assert_eq!((config.mapping.as_ref(), config.frame_samples), (None, 960));
        assert_eq!(config.head(), STEREO);
    }

    #[test]
    fn surround_has_a_mapping() {
        let head = b"OpusHead\x01\x06\0\0\x80\xBB\0\0\0\0\x01\x04\x02\x00\x04\x01\x02\x03\x05";
        let config = OpusConfig::parse(head, SILENCE).unwrap();
        let mapping = config.mapping.clone().unwrap();
        assert_eq!((mapping.family, mapping.streams, mapping.coupled, config.channels), (1, 4, 2, 6));
        assert_eq!(config.head(), head);
        assert!(OpusConfig::parse(&head[..head.len() - 1], SILENCE).is_err());
    }

    #[test]
    fn without_a_header_packets_say_how_many_channels_there_are() {
        assert_eq!(OpusConfig::guess(SILENCE).unwrap().channels, 2);
        assert_eq!(OpusConfig::guess(&[0xF8, 0xFF, 0xFE]).unwrap().channels, 1);
    }

    #[test]
    fn every_kind_of_packet_has_its_length() {
        for (packet, samples) in [
            (&[0x00][..], 480),       // SILK, 10 ms
            (&[0x18], 2880),          // SILK, 60 ms
            (&[0x68], 960),           // hybrid, 20 ms
            (&[0x80], 120),           // CELT, 2.5 ms
            (&[0xF9], 1920),          // two frames
            (&[0xFB, 6], 5760),       // six frames
            (&[0x1B, 0x82, 0], 5760), // two of 60 ms, with padding of other lengths
        ] {
            assert_eq!(OpusConfig::packet_samples(packet), Ok(samples), "{packet:02x?}");
        }
        for packet in [&[][..], &[0xFB], &[0xFB, 0], &[0xFB, 7]] {
            assert!(OpusConfig::packet_samples(packet).is_err(), "{packet:02x?}");
        }
    }

    #[test]
    fn errors_say_what_was_found() {
        let text = |head: &[u8]| OpusConfig::parse(head, SILENCE).unwrap_err().to_string();
        assert_eq!(text(b""), "Opus header: magic is 0, expected OpusHead");
        assert_eq!(text(b"OpusHead\x01\x02"), "Opus header ends after 10 bytes, inside its fixed fields");
        let mut three = STEREO.to_vec();
        three[9] = 3;
        assert_eq!(text(&three), "Opus header: channels is 3, expected 1 or 2, or more with a mapping");
        three[8] = 0x10;
        assert_eq!(text(&three), "Opus header: version is 16, expected 0 to 15");
    }
}
