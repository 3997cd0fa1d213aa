//! AAC: the AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1; R-102).

use bytes::Bytes;

use super::CodecError;
use super::bits::BitReader;

/// A parsed AudioSpecificConfig.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AacConfig {
    /// The record as it came; decoders and `esds` get these bytes.
    pub record: Bytes,
    /// Audio object type of the core: 2 is AAC-LC.
    pub object_type: u8,
    /// Core sample rate in Hz. Not zero.
    pub sample_rate: u32,
    /// Channels; 0 when only the bitstream says it (a program config element).
    pub channels: u8,
    /// SBR (HE-AAC) is signalled: the output rate.
    pub extension_sample_rate: Option<u32>,
    /// Parametric stereo (HE-AAC v2) is signalled: a mono core gives stereo.
    pub parametric_stereo: bool,
    /// Samples of a frame at the core rate: 1024 or 960, with low delay 512 or 480.
    pub frame_samples: u32,
}

impl AacConfig {
    /// Reads a record. Trailing bytes are kept in [`record`](Self::record) and otherwise ignored; since the record goes
    /// into init segments, it may not have more than 1024 bytes.
    pub fn parse(record: Bytes) -> Result<Self, CodecError> {
        if record.len() > RECORD_BYTES_MAX {
            let (field, found) = ("length", record.len() as u64);
            return Err(CodecError::Unsupported { record: RECORD, field, found, expected: "at most 1024 bytes" });
        }
        let mut bits = BitReader::new(RECORD, &record);
        let mut object_type = read_object_type(&mut bits)?;
        let sample_rate = read_rate(&mut bits)?;
        let channel_configuration = bits.bits(4, "channel configuration")?;
        let channels = channels(channel_configuration).ok_or_else(|| {
            bits.unsupported("channel configuration", u64::from(channel_configuration), "a known one")
        })?;

        let (mut extension_sample_rate, mut parametric_stereo) = (None, false);
        let hierarchical = matches!(object_type, SBR | PS);
        if hierarchical {
            parametric_stereo = object_type == PS;
            extension_sample_rate = Some(read_rate(&mut bits)?);
            object_type = read_object_type(&mut bits)?;
        }
        let mut frame_samples = 1024;
        if GENERAL_AUDIO.contains(&object_type) {
            // A record that ends right after the channels is as good as one with three zero bits.
            if let Ok(short_frames) = read_general_audio(&mut bits, object_type, channel_configuration) {
                frame_samples = if short_frames { 960 } else { 1024 };
                if object_type == LOW_DELAY {
                    frame_samples /= 2;
                }
                if !hierarchical && let Some(found) = find_extension(&mut bits) {
                    extension_sample_rate = Some(found.sample_rate);
                    parametric_stereo = found.parametric_stereo;
                }
            }
        }
        if object_type == ENHANCED_LOW_DELAY {
            // ELDSpecificConfig (4.6.20) begins with frameLengthFlag.
            frame_samples = if bits.flag("frameLengthFlag") == Ok(true) { 480 } else { 512 };
        }
        // Only the 24-bit form can say zero, which would be no clock at all.
        if sample_rate == 0 || extension_sample_rate == Some(0) {
            return Err(bits.unsupported("sample rate", 0, "a rate above zero"));
        }
        Ok(Self { record, object_type, sample_rate, channels, extension_sample_rate, parametric_stereo, frame_samples })
    }

    /// AAC-LC of `sample_rate` Hz with 1 to 6 or 8 channels: what to assume of a publisher that sends no record,
    /// and what describes an AAC-LC encoder's output.
    pub fn lc(sample_rate: u32, channels: u8) -> Result<Self, CodecError> {
        let configuration = match channels {
            1..=6 => channels,
            8 => 7,
            _ => {
                let found = u64::from(channels);
                return Err(CodecError::Unsupported {
                    record: RECORD,
                    field: "channels",
                    found,
                    expected: "1 to 6, 8",
                });
            }
        };
        let (mut value, mut length) = (2u64, 5); // object type: AAC-LC
        let mut put = |count: u32, bits: u32| {
            value = value << count | u64::from(bits);
            length += count;
        };
        match RATES.iter().position(|rate| *rate == sample_rate) {
            Some(index) => put(4, u32::try_from(index).expect("there are 13 rates")),
            None if sample_rate > 0xFF_FFFF => {
                let (field, found) = ("sample rate", u64::from(sample_rate));
                return Err(CodecError::Unsupported { record: RECORD, field, found, expected: "at most 24 bits" });
            }
            None => {
                put(4, 15);
                put(24, sample_rate);
            }
        }
        put(4, u32::from(configuration));
        put(3, 0); // 1024 samples per frame, no core coder, no extension
        let bytes = length.div_ceil(8);
        value <<= bytes * 8 - length;
        Self::parse(Bytes::copy_from_slice(&value.to_be_bytes()[8 - bytes as usize..]))
    }

    /// The CODECS string: `mp4a.40.2` for AAC-LC, `.5` with SBR, `.29` with parametric stereo (C-40).
    pub fn codec_string(&self) -> String {
        let object_type = match (self.extension_sample_rate, self.parametric_stereo) {
            (Some(_), true) => PS,
            (Some(_), false) => SBR,
            (None, _) => self.object_type,
        };
        format!("mp4a.40.{object_type}")
    }

    /// Whether players take it as it is: AAC-LC at 44.1 or 48 kHz, mono or stereo (architecture 6).
    pub fn passes_through(&self) -> bool {
        self.object_type == 2
            && self.extension_sample_rate.is_none()
            && self.frame_samples == 1024
            && matches!(self.sample_rate, 44_100 | 48_000)
            && matches!(self.channels, 1 | 2)
    }

    /// Whether it is surround sound that many players take as it is: AAC-LC with more than two channels in one of the
    /// standard orders. HE-AAC on top of it is not, since it is counted in samples of its core.
    pub fn is_surround(&self) -> bool {
        let core_alone = self.extension_sample_rate.is_none();
        self.object_type == 2 && core_alone && self.frame_samples == 1024 && self.channels > 2
    }

    /// Whether libavcodec's decoder takes it, which knows neither scalable rates nor xHE-AAC.
    pub fn is_decodable(&self) -> bool {
        DECODABLE.contains(&self.object_type) && self.channels <= 8 && DECODABLE_RATES.contains(&self.sample_rate)
    }
}

/// GetAudioObjectType.
fn read_object_type(bits: &mut BitReader<'_>) -> Result<u8, CodecError> {
    let mut object_type = bits.bits(5, "object type")?;
    if object_type == 31 {
        object_type = 32 + bits.bits(6, "object type escape")?;
    }
    if object_type == 0 {
        return Err(bits.unsupported("object type", 0, "2 (AAC-LC) or another known type"));
    }
    Ok(u8::try_from(object_type).expect("at most 32 + 63"))
}

fn read_rate(bits: &mut BitReader<'_>) -> Result<u32, CodecError> {
    let index = bits.bits(4, "sample rate index")?;
    if index == 15 {
        return bits.bits(24, "sample rate");
    }
    RATES
        .get(index as usize)
        .copied()
        .ok_or_else(|| bits.unsupported("sample rate index", u64::from(index), "0 to 12, or 15"))
}

/// Channels of a channelConfiguration (ISO/IEC 23001-8, table 8).
fn channels(configuration: u32) -> Option<u8> {
    Some(match configuration {
        0..=6 => u8::try_from(configuration).ok()?,
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        _ => return None,
    })
}

/// GASpecificConfig (4.4.1): whether frames have 960 samples. Leaves the reader behind it.
fn read_general_audio(
    bits: &mut BitReader<'_>,
    object_type: u8,
    channel_configuration: u32,
) -> Result<bool, CodecError> {
    let short_frames = bits.flag("frameLengthFlag")?;
    if bits.flag("dependsOnCoreCoder")? {
        bits.skip(14, "coreCoderDelay")?;
    }
    let extension = bits.flag("extensionFlag")?;
    if channel_configuration == 0 {
        skip_program_config(bits)?;
    }
    if matches!(object_type, 6 | 20) {
        bits.skip(3, "layerNr")?;
    }
    if extension {
        match object_type {
            22 => bits.skip(16, "numOfSubFrame and layer_length")?,
            17 | 19 | 20 | 23 => bits.skip(3, "resilience flags")?,
            _ => {}
        }
        bits.skip(1, "extensionFlag3")?;
    }
    Ok(short_frames)
}

/// program_config_element (4.4.1.1).
fn skip_program_config(bits: &mut BitReader<'_>) -> Result<(), CodecError> {
    const FIELD: &str = "program config element";
    bits.skip(10, FIELD)?;
    let mut elements = 0;
    for (count_bits, element_bits) in [(4, 5), (4, 5), (4, 5), (2, 4), (3, 4), (4, 5)] {
        elements += bits.bits(count_bits, FIELD)? as usize * element_bits;
    }
    for mixdown_bits in [4, 4, 3] {
        if bits.flag(FIELD)? {
            bits.skip(mixdown_bits, FIELD)?;
        }
    }
    bits.skip(elements, FIELD)?;
    bits.align();
    let comment = bits.bits(8, FIELD)? as usize;
    bits.skip(comment * 8, FIELD)
}

struct Extension {
    sample_rate: u32,
    parametric_stereo: bool,
}

/// The backward-compatible signalling of SBR and PS behind the configuration. Encoders are known to put bits before the
/// sync word, so it is searched for.
fn find_extension(bits: &mut BitReader<'_>) -> Option<Extension> {
    let mut window = bits.bits(11, "sync").ok()?;
    for _ in 0..EXTENSION_SEARCH_BITS {
        if window == 0x2B7 {
            break;
        }
        window = (window << 1 | bits.bits(1, "sync").ok()?) & 0x7FF;
    }
    if window != 0x2B7 || read_object_type(bits).ok()? != SBR || !bits.flag("sbrPresentFlag").ok()? {
        return None;
    }
    let sample_rate = read_rate(bits).ok()?;
    let parametric_stereo = bits.bits(11, "sync") == Ok(0x548) && bits.flag("psPresentFlag") == Ok(true);
    Some(Extension { sample_rate, parametric_stereo })
}

const RECORD: &str = "AudioSpecificConfig";
/// Twice what the longest program config element needs.
const RECORD_BYTES_MAX: usize = 1024;
const SBR: u8 = 5;
const PS: u8 = 29;
/// Object types whose configuration is a GASpecificConfig.
const GENERAL_AUDIO: [u8; 12] = [1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23];
const LOW_DELAY: u8 = 23;
const ENHANCED_LOW_DELAY: u8 = 39;
/// Main, LC, LTP, error resilient LC, and low delay in both forms.
const DECODABLE: [u8; 6] = [1, 2, 4, 17, LOW_DELAY, ENHANCED_LOW_DELAY];
/// The table's rates, and those between them.
const DECODABLE_RATES: std::ops::RangeInclusive<u32> = 7350..=96_000;
const EXTENSION_SEARCH_BITS: usize = 64;
/// Rates by index.
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(record: &[u8]) -> AacConfig {
        AacConfig::parse(Bytes::copy_from_slice(record)).unwrap()
    }

    #[test]
    fn two_bytes_say_lc_48_khz_stereo() {
        let config = parse(&[0x11, 0x90]);
        assert_eq!((config.object_type, config.sample_rate, config.channels), (2, 48_000, 2));
        assert_eq!((config.codec_string().as_str(), config.frame_samples), ("mp4a.40.2", 1024));
        assert!(config.passes_through());
    }

    /// FFmpeg 5.1.9's own encoder writes the sync word and "no SBR" behind every configuration.
    #[test]
    fn ffmpegs_sync_word_without_sbr_is_plain_lc() {
        for (record, rate, channels) in [
            ([0x12, 0x08, 0x56, 0xE5, 0x00], 44_100, 1),
            ([0x11, 0xB0, 0x56, 0xE5, 0x00], 48_000, 6),
            ([0x13, 0x90, 0x56, 0xE5, 0x00], 22_050, 2),
        ] {
            let config = parse(&record);
            assert_eq!((config.sample_rate, config.channels), (rate, channels));
            assert_eq!(config.extension_sample_rate, None);
            assert_eq!(config.record, &record[..]);
        }
    }

    #[test]
    fn sbr_signalled_first_is_he_aac() {
        // type 5, 24 kHz, stereo, extension 48 kHz, type 2, three zero bits.
        let config = parse(&[0b0010_1011, 0b0001_0001, 0b1000_1000, 0]);
        assert_eq!((config.object_type, config.sample_rate, config.channels), (2, 24_000, 2));
        assert_eq!(config.extension_sample_rate, Some(48_000));
        assert_eq!(config.codec_string(), "mp4a.40.5");
        assert!(!config.passes_through());
    }

    #[test]
    fn parametric_stereo_signalled_first_is_he_aac_v2() {
        let config = parse(&[0b1110_1011, 0b0000_1001, 0b1000_1000, 0]);
        assert_eq!((config.channels, config.parametric_stereo), (1, true));
        assert_eq!(config.codec_string(), "mp4a.40.29");
    }

    #[test]
    fn sbr_and_ps_signalled_behind_are_found() {
        // type 2, 24 kHz, mono, 0x2B7, type 5, flag, 48 kHz, 0x548, flag.
        let config = parse(&[0x13, 0x08, 0x56, 0xE5, 0x9D, 0x48, 0x80]);
        assert_eq!((config.object_type, config.extension_sample_rate), (2, Some(48_000)));
        assert!(config.parametric_stereo);
        assert_eq!(config.codec_string(), "mp4a.40.29");
    }

    #[test]
    fn low_delay_frames_are_half_as_long() {
        // type 23, 48 kHz, stereo, and 31 + 7 = 39, each with frameLengthFlag 0 and 1.
        let ld = |flag: u8| parse(&[0b1011_1001, 0b1001_0000 | flag << 2, 0]);
        assert_eq!([ld(0).frame_samples, ld(1).frame_samples], [512, 480]);
        let eld = |flag: u8| parse(&[0b1111_1000, 0b1110_0110, 0b0100_0000 | flag << 4, 0]);
        assert_eq!((eld(0).object_type, eld(0).sample_rate, eld(0).channels), (39, 48_000, 2));
        assert_eq!([eld(0).frame_samples, eld(1).frame_samples], [512, 480]);
        assert!(ld(0).is_decodable() && eld(0).is_decodable());
    }

    #[test]
    fn escapes_are_read() {
        // type 31 + 10 = 42 (xHE-AAC), rate by number 12345, stereo.
        let mut value: u64 = 31;
        for (count, bits) in [(6, 10), (4, 15), (24, 12_345), (4, 2)] {
            value = value << count | bits;
        }
        let config = parse(&(value << 21).to_be_bytes());
        assert_eq!((config.object_type, config.sample_rate, config.channels), (42, 12_345, 2));
        assert_eq!(config.codec_string(), "mp4a.40.42");
        assert!(!config.is_decodable());
    }

    #[test]
    fn a_program_config_element_leaves_the_channels_open() {
        // Channel configuration 0, one pair of channels in front, an empty comment.
        let mut bits = vec![(5, 2), (4, 3), (4, 0), (3, 0)];
        bits.extend([(4, 0), (2, 1), (4, 3), (4, 1), (4, 0), (4, 0), (2, 0), (3, 0), (4, 0), (3, 0), (5, 16)]);
        let length: u32 = bits.iter().map(|(count, _)| count).sum();
        let value = bits.iter().fold(0u128, |value, (count, bits)| value << count | bits) << (128 - length);
        let config = parse(&value.to_be_bytes());
        assert_eq!((config.channels, config.passes_through()), (0, false));
    }

    #[test]
    fn defaults_are_what_encoders_write() {
        assert_eq!(AacConfig::lc(48_000, 2).unwrap().record, &[0x11, 0x90][..]);
        assert_eq!(AacConfig::lc(44_100, 1).unwrap().record, &[0x12, 0x08][..]);
        let odd = AacConfig::lc(50_000, 8).unwrap();
        assert_eq!((odd.sample_rate, odd.channels), (50_000, 8));
        assert!(AacConfig::lc(48_000, 7).is_err() && AacConfig::lc(0, 2).is_err());
        assert!(AacConfig::lc(1 << 24, 2).is_err());
    }

    #[test]
    fn errors_say_what_was_found() {
        let text = |record: &'static [u8]| AacConfig::parse(Bytes::from_static(record)).unwrap_err().to_string();
        assert_eq!(text(&[]), "AudioSpecificConfig ends after 0 bytes, inside its object type");
        assert_eq!(text(&[0x11]), "AudioSpecificConfig ends after 1 bytes, inside its sample rate index");
        assert_eq!(text(&[0x16, 0x90]), "AudioSpecificConfig: sample rate index is 13, expected 0 to 12, or 15");
        assert!(AacConfig::parse(vec![0x11; 1025].into()).is_err());
    }
}
