//! AC-3 and E-AC-3: the header of a sync frame (ETSI TS 102 366, 4.4 and E.1.2).

use super::CodecError;
use super::bits::BitReader;

/// What the sync frames of an AC-3 or E-AC-3 stream say. Fields that are only carried on have the standard's names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ac3Config {
    /// E-AC-3.
    pub enhanced: bool,
    /// Sample rate in Hz.
    pub sample_rate: u32,
    /// `fscod`: the rate's number; 3 for the half rates of E-AC-3.
    pub rate_code: u8,
    /// `bsid`.
    pub bitstream_id: u8,
    /// `bsmod`; 0 (complete main) for E-AC-3, where it stands far behind in the frame.
    pub bitstream_mode: u8,
    /// `acmod`: which channels there are.
    pub audio_mode: u8,
    /// `lfeon`.
    pub lfe: bool,
    /// kbit/s, by the first frame.
    pub bitrate_kbps: u16,
    /// Samples of an access unit: 1536, or with E-AC-3 256, 512, 768 as well.
    pub frame_samples: u32,
    /// Substreams depend on the first one (7.1 and more): they are not taken apart.
    pub dependent: bool,
}

impl Ac3Config {
    /// Reads the headers of the sync frames in one access unit.
    pub fn parse(unit: &[u8]) -> Result<Self, CodecError> {
        let (mut config, length) = read_frame(unit)?;
        let mut rest = unit.get(length..).unwrap_or_default();
        while let Ok((next, length)) = read_frame(rest) {
            if !next.dependent {
                // Frames of 256 samples, six of them in a unit, for example: a decoder would have to be fed one by one.
                let (field, expected) = ("sync frames", "one of each substream in a message");
                return Err(CodecError::Unsupported { record: RECORD, field, found: 2, expected });
            }
            config.dependent = true;
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(config)
    }

    /// Channels, without those of dependent substreams: 1 to 6.
    pub fn channels(&self) -> u8 {
        [2, 1, 2, 3, 3, 4, 4, 5][usize::from(self.audio_mode & 7)] + u8::from(self.lfe)
    }

    /// `frmsizecod` without its lowest bit, and halved: the number of the bitrate. For AC-3.
    pub fn bitrate_code(&self) -> u8 {
        let found = BITRATES_KBPS.iter().position(|kbps| *kbps == self.bitrate_kbps);
        u8::try_from(found.unwrap_or(0)).unwrap_or(0)
    }
}

/// The configuration by one sync frame, and the frame's bytes. A frame of a dependent substream says so.
fn read_frame(frame: &[u8]) -> Result<(Ac3Config, usize), CodecError> {
    let mut bits = BitReader::new(RECORD, frame);
    let sync = bits.bits(16, "sync word")?;
    if sync != SYNC {
        return Err(bits.unsupported("sync word", sync.into(), "2935 (0B77)"));
    }
    // Both forms have the bitstream id in the same place.
    let bitstream_id = frame.get(5).map_or(0, |byte| byte >> 3);
    match bitstream_id {
        0..=8 => read_plain(bits),
        11..=16 => read_enhanced(bits),
        found => Err(bits.unsupported("bsid", found.into(), "0 to 8, or 11 to 16")),
    }
}

/// syncinfo and bsi of AC-3 (4.3.1, 4.3.2).
fn read_plain(mut bits: BitReader<'_>) -> Result<(Ac3Config, usize), CodecError> {
    bits.skip(16, "crc1")?;
    let rate_code = small(bits.bits(2, "fscod")?);
    let size_code = bits.bits(6, "frmsizecod")?;
    let bitstream_id = small(bits.bits(5, "bsid")?);
    let bitstream_mode = small(bits.bits(3, "bsmod")?);
    let audio_mode = small(bits.bits(3, "acmod")?);
    let has_center_mix = audio_mode & 1 != 0 && audio_mode != 1;
    for levels in [has_center_mix, audio_mode & 4 != 0, audio_mode == 2] {
        bits.skip(if levels { 2 } else { 0 }, "mix levels")?;
    }
    let lfe = bits.flag("lfeon")?;
    let Some(&sample_rate) = RATES.get(usize::from(rate_code)) else {
        return Err(bits.unsupported("fscod", rate_code.into(), "0 to 2"));
    };
    let Some(&bitrate_kbps) = BITRATES_KBPS.get(size_code as usize / 2) else {
        return Err(bits.unsupported("frmsizecod", size_code.into(), "0 to 37"));
    };
    // Six blocks of 256 samples take bitrate x 1536 / rate bits; at 44.1 kHz every other frame has two bytes more.
    let words = u32::from(bitrate_kbps) * 96_000 / sample_rate + if rate_code == 1 { size_code & 1 } else { 0 };
    let config = Ac3Config {
        enhanced: false,
        sample_rate,
        rate_code,
        bitstream_id,
        bitstream_mode,
        audio_mode,
        lfe,
        bitrate_kbps,
        frame_samples: 1536,
        dependent: false,
    };
    Ok((config, words as usize * 2))
}

/// bsi of E-AC-3 (E.1.2.2).
fn read_enhanced(mut bits: BitReader<'_>) -> Result<(Ac3Config, usize), CodecError> {
    let kind = bits.bits(2, "strmtyp")?;
    let substream = bits.bits(3, "substreamid")?;
    let words = bits.bits(11, "frmsiz")? + 1;
    let rate_code = small(bits.bits(2, "fscod")?);
    let blocks_code = bits.bits(2, "numblkscod")?;
    let audio_mode = small(bits.bits(3, "acmod")?);
    let lfe = bits.flag("lfeon")?;
    let bitstream_id = small(bits.bits(5, "bsid")?);
    let (sample_rate, blocks) = match RATES.get(usize::from(rate_code)) {
        Some(&rate) => (rate, [1, 2, 3, 6][blocks_code as usize & 3]),
        // Then the two bits behind are the rate, halved, and there are six blocks.
        None => match RATES.get(blocks_code as usize) {
            Some(rate) => (rate / 2, 6),
            None => return Err(bits.unsupported("fscod2", blocks_code.into(), "0 to 2")),
        },
    };
    let frame_samples = blocks * 256;
    let bitrate = u64::from(words) * 16 * u64::from(sample_rate) / u64::from(frame_samples) / 1000;
    let config = Ac3Config {
        enhanced: true,
        sample_rate,
        rate_code,
        bitstream_id,
        bitstream_mode: 0,
        audio_mode,
        lfe,
        bitrate_kbps: u16::try_from(bitrate).unwrap_or(u16::MAX),
        frame_samples,
        // Further independent substreams are other programs, which are left aside in the same way.
        dependent: kind == 1 || substream > 0,
    };
    Ok((config, words as usize * 2))
}

fn small(bits: u32) -> u8 {
    u8::try_from(bits).unwrap_or(u8::MAX)
}

const RECORD: &str = "AC-3 frame";
const SYNC: u32 = 0x0B77;
/// By `fscod`.
const RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// By half of `frmsizecod`.
const BITRATES_KBPS: [u16; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with this head, as long as it says.
    fn frame(head: &[u8], length: usize) -> Vec<u8> {
        let mut frame = head.to_vec();
        frame.resize(length, 0);
        frame
    }

    /// 48 kHz, 192 kbit/s, stereo: the numbers of FFmpeg's encoder.
    fn plain() -> Vec<u8> {
        frame(&[0x0B, 0x77, 0, 0, 0x14, 0x40, 0x43], 768)
    }

    /// The same as E-AC-3 of 96 kbit/s, six blocks; `kind` is strmtyp and substreamid.
    fn enhanced(kind: u8, blocks_code: u8) -> Vec<u8> {
        let words = 191_u16.to_be_bytes();
        frame(&[0x0B, 0x77, kind << 3 | words[0], words[1], blocks_code << 4 | 0b0100, 0x80], 384)
    }

    #[test]
    fn a_frame_of_ac3_says_all_that_players_want_to_know() {
        let config = Ac3Config::parse(&plain()).unwrap();
        assert!(!config.enhanced);
        assert_eq!((config.sample_rate, config.channels(), config.frame_samples), (48_000, 2, 1536));
        assert_eq!((config.bitstream_id, config.bitrate_kbps, config.bitrate_code()), (8, 192, 10));
        // 3/2 with LFE: both mix levels stand before lfeon.
        let surround = frame(&[0x0B, 0x77, 0, 0, 0x1E, 0x40, 0b1110_0001], 1792);
        let config = Ac3Config::parse(&surround).unwrap();
        assert_eq!((config.channels(), config.lfe, config.bitrate_kbps), (6, true, 448));
    }

    #[test]
    fn enhanced_frames_may_have_fewer_blocks_and_half_the_rate() {
        let config = Ac3Config::parse(&enhanced(0, 3)).unwrap();
        assert!(config.enhanced && !config.dependent);
        assert_eq!((config.sample_rate, config.channels(), config.frame_samples), (48_000, 2, 1536));
        assert_eq!((config.bitstream_id, config.bitrate_kbps), (16, 96));
        assert_eq!(Ac3Config::parse(&enhanced(0, 0)).unwrap().frame_samples, 256);
        let half = Ac3Config::parse(&enhanced(0, 0b1101)).unwrap();
        assert_eq!((half.sample_rate, half.frame_samples), (22_050, 1536));
    }

    #[test]
    fn substreams_that_depend_are_seen_and_a_second_frame_is_refused() {
        let (first, second) = (enhanced(0, 3), enhanced(0b01_000, 3));
        assert!(Ac3Config::parse(&[first.clone(), second].concat()).unwrap().dependent);
        assert!(Ac3Config::parse(&[first.clone(), first].concat()).is_err());
        assert!(Ac3Config::parse(&[plain(), plain()].concat()).is_err());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for data in [&[][..], &[0x0B], &[0x0B, 0x77, 0, 0], &[0x77, 0x0B, 0, 0, 0x14, 0x40, 0x43]] {
            assert!(Ac3Config::parse(data).is_err(), "{data:02x?}");
        }
        for (at, byte) in [(4, 0xD4), (4, 0x3F), (5, 0x48), (5, 0xF8)] {
            let mut damaged = plain();
            damaged[at] = byte;
            assert!(Ac3Config::parse(&damaged).is_err(), "{at}: {byte:02x}");
        }
    }
}
