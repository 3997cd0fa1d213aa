//! MP3: the header of a frame (ISO/IEC 11172-3, 2.4.1.3, and 13818-3).

use super::CodecError;

/// What the header of an MPEG layer III frame says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mp3Config {
    /// Sample rate in Hz.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Samples of a frame: 1152, or 576 at 24 kHz and below.
    pub frame_samples: u32,
}

impl Mp3Config {
    /// Reads the header at the start of `frame`.
    pub fn parse(frame: &[u8]) -> Result<Self, CodecError> {
        let Some(&[first, second, third, fourth]) = frame.first_chunk() else {
            return Err(CodecError::Truncated { record: RECORD, field: "header", length: frame.len() });
        };
        let unsupported = |field, found: u8, expected| {
            Err(CodecError::Unsupported { record: RECORD, field, found: u64::from(found), expected })
        };
        if first != 0xFF || second & 0xE0 != 0xE0 {
            return unsupported("sync byte", first, "255 and three more one bits");
        }
        if second >> 1 & 3 != LAYER_III {
            return unsupported("layer code", second >> 1 & 3, "1 (layer III)");
        }
        // MPEG-1 has the rates themselves, MPEG-2 half of them, MPEG-2.5 a quarter.
        let (divisor, frame_samples) = match second >> 3 & 3 {
            3 => (1, 1152),
            2 => (2, 576),
            0 => (4, 576),
            version => return unsupported("version code", version, "0, 2 or 3"),
        };
        let sample_rate = match third >> 2 & 3 {
            0 => 44_100,
            1 => 48_000,
            2 => 32_000,
            rate => return unsupported("sample rate index", rate, "0 to 2"),
        };
        let channels = if fourth >> 6 == 3 { 1 } else { 2 };
        Ok(Self { sample_rate: sample_rate / divisor, channels, frame_samples })
    }
}

const RECORD: &str = "MP3 frame";
const LAYER_III: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: [u8; 4]) -> (u32, u8, u32) {
        let config = Mp3Config::parse(&header).unwrap();
        (config.sample_rate, config.channels, config.frame_samples)
    }

    #[test]
    fn all_three_versions_are_read() {
        assert_eq!(parse([0xFF, 0xFB, 0x90, 0x64]), (44_100, 2, 1152));
        assert_eq!(parse([0xFF, 0xFB, 0x94, 0xC4]), (48_000, 1, 1152));
        assert_eq!(parse([0xFF, 0xF3, 0x80, 0x00]), (22_050, 2, 576));
        assert_eq!(parse([0xFF, 0xE3, 0x88, 0x00]), (8000, 2, 576));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for header in
            [&[0xFF, 0xFB, 0x90][..], &[0; 4], &[0xFF, 0xFD, 0x90, 0], &[0xFF, 0xEB, 0x90, 0], &[0xFF, 0xFB, 0x9C, 0]]
        {
            assert!(Mp3Config::parse(header).is_err(), "{header:02x?}");
        }
    }
}
