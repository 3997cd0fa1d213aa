//! FLAC: the STREAMINFO block (RFC 9639, 8.2; R-77) and the length of a frame (9.1).

use bytes::Bytes;

use super::CodecError;
use super::bits::BitReader;

/// What a STREAMINFO block says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlacConfig {
    /// The block's 34 bytes without a header; decoders and `dfLa` get them.
    pub stream_info: Bytes,
    /// Sample rate in Hz, 8000 to 768000.
    pub sample_rate: u32,
    /// 1 to 8.
    pub channels: u8,
    /// Bits of a sample, 4 to 32.
    pub bits: u8,
    /// Samples of a frame, at most: 16 or more, and 1 ms to 1 s.
    pub frame_samples: u32,
}

impl FlacConfig {
    /// Reads `fLaC`, then metadata blocks of which the first is STREAMINFO; or such a block without the magic, or without
    /// its header. Other blocks are left out.
    pub fn parse(header: &Bytes) -> Result<Self, CodecError> {
        let blocks = if header.starts_with(MAGIC) { header.slice(MAGIC.len()..) } else { header.clone() };
        // The block's type is 0, with or without the flag of the last block, and its length 34.
        let bare = if blocks.len() > STREAM_INFO_BYTES && matches!(blocks[..4], [0 | 0x80, 0, 0, 34]) {
            blocks.slice(4..)
        } else {
            blocks
        };
        if bare.len() < STREAM_INFO_BYTES {
            return Err(CodecError::Truncated { record: RECORD, field: "STREAMINFO", length: header.len() });
        }
        let stream_info = bare.slice(..STREAM_INFO_BYTES);
        let mut bits = BitReader::new(RECORD, &stream_info);
        bits.skip(16, "smallest block")?;
        let frame_samples = bits.bits(16, "largest block")?;
        bits.skip(48, "frame sizes")?;
        let sample_rate = bits.bits(20, "sample rate")?;
        let channels = bits.bits(3, "channels")? + 1;
        let sample_bits = bits.bits(5, "bits of a sample")? + 1;
        // Shorter or longer blocks are nothing that an encoder makes of sound that somebody hears, and would be a great many
        // frames in a second, or seconds in a frame.
        for (field, found, allowed, expected) in [
            ("sample rate", sample_rate, 8000..=768_000, "8000 to 768000 Hz"),
            ("largest block", frame_samples, 16.max(sample_rate / 1000)..=sample_rate, "16 samples, 1 ms to 1 s"),
            ("bits of a sample", sample_bits, 4..=32, "at least 4"),
        ] {
            if !allowed.contains(&found) {
                return Err(bits.unsupported(field, found.into(), expected));
            }
        }
        let small = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
        Ok(Self { stream_info, sample_rate, channels: small(channels), bits: small(sample_bits), frame_samples })
    }

    /// Samples of the frame that begins with these bytes.
    pub fn block_samples(frame: &[u8]) -> Result<u32, CodecError> {
        let mut bits = BitReader::new(FRAME, frame);
        let sync = bits.bits(15, "sync code")?;
        if sync != SYNC {
            return Err(bits.unsupported("sync code", sync.into(), "32764"));
        }
        bits.skip(1, "blocking strategy")?;
        let code = bits.bits(4, "block size")?;
        bits.skip(12, "rate, channels and bits")?;
        // The frame's number: as many bytes as its first one has ones in front, like UTF-8.
        let first = bits.byte("number")?;
        let more = match first.leading_ones() {
            0 => 0,
            ones @ 2..=7 => ones as usize - 1,
            _ => return Err(bits.unsupported("number", first.into(), "the first byte of a number")),
        };
        bits.skip(8 * more, "number")?;
        match code {
            1 => Ok(192),
            2..=5 => Ok(144 << code),
            6 => Ok(bits.bits(8, "block size")? + 1),
            7 => Ok(bits.bits(16, "block size")? + 1),
            8.. => Ok(1 << code),
            0 => Err(bits.unsupported("block size", 0, "1 to 15")),
        }
    }
}

const RECORD: &str = "FLAC header";
const FRAME: &str = "FLAC frame";
const MAGIC: &[u8] = b"fLaC";
const STREAM_INFO_BYTES: usize = 34;
/// 14 bits, and a zero behind them.
const SYNC: u32 = 0b0111_1111_1111_1100;

#[cfg(test)]
mod tests {
    use super::*;

    /// 4608 samples a frame, 48 kHz, stereo, 16 bits.
    fn stream_info() -> Vec<u8> {
        let mut info = vec![0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x0B, 0xB8, 0x02, 0xF0];
        info.resize(34, 0);
        info
    }

    #[test]
    fn a_block_is_read_in_every_wrapping() {
        let bare = stream_info();
        let block = [&[0x80, 0, 0, 34][..], &bare].concat();
        let header = [b"fLaC", &[0, 0, 0, 34][..], &bare, &[0x84, 0, 0, 0]].concat();
        for wrapped in [bare.clone(), block, header] {
            let config = FlacConfig::parse(&wrapped.into()).unwrap();
            assert_eq!((config.sample_rate, config.channels, config.bits), (48_000, 2, 16));
            assert_eq!((config.frame_samples, &config.stream_info[..]), (4608, &bare[..]));
        }
    }

    #[test]
    fn what_makes_no_clock_is_refused() {
        let mut info = stream_info();
        (info[10], info[11], info[12]) = (0, 0, 0x02);
        assert!(FlacConfig::parse(&info.into()).is_err());
        for (block, rate) in [(0, 48_000_u32), (1, 1_048_575), (40, 48_000), (15, 8000), (4608, 2), (65_535, 48_000)] {
            let mut info = stream_info();
            info[2..4].copy_from_slice(&u16::to_be_bytes(block));
            info[10..13].copy_from_slice(&(rate << 4 | 2).to_be_bytes()[1..]);
            assert!(FlacConfig::parse(&info.into()).is_err(), "{block} at {rate} Hz");
        }
        assert!(FlacConfig::parse(&Bytes::from_static(b"fLaC")).is_err());
    }

    #[test]
    fn a_frame_says_its_length() {
        for (frame, samples) in [
            (&[0xFF, 0xF8, 0x19, 0x18, 0][..], 192),
            (&[0xFF, 0xF8, 0x59, 0x18, 0], 4608),
            (&[0xFF, 0xF8, 0xC9, 0x18, 0xC2, 0x80], 4096),
            (&[0xFF, 0xF9, 0x69, 0x18, 5, 99], 100),
            (&[0xFF, 0xF8, 0x79, 0x18, 0xE0, 0x80, 0x80, 0x03, 0xE7], 1000),
        ] {
            assert_eq!(FlacConfig::block_samples(frame), Ok(samples), "{frame:02x?}");
        }
        for frame in [&[][..], &[0xFF, 0xF8, 0x09, 0x18, 0], &[0xFF, 0xFB, 0x90, 0x64, 0], &[0xFF, 0xF8, 0x79, 0x18, 0]]
        {
            assert!(FlacConfig::block_samples(frame).is_err(), "{frame:02x?}");
        }
    }
}
