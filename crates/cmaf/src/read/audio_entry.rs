//! Decoder configurations of sound other than AAC. They do not say how long frames are: that is what is usual.

use bytes::Bytes;
use headwater_media::{Ac3Config, AudioConfig, FlacConfig, OpusConfig, OpusMapping};

use super::ReadError;
use super::boxes::Mp4Box;

/// `dOps`.
pub(super) fn read_dops(dops: &Mp4Box<'_>) -> Result<Option<AudioConfig>, ReadError> {
    let mut fields = dops.fields();
    let version = fields.u8()?;
    if version != 0 {
        return Err(ReadError::Value { field: "dOps version", found: version.into(), expected: "0" });
    }
    let channels = fields.u8()?;
    let (pre_skip, input_rate) = (fields.u16()?, fields.u32()?);
    let output_gain = fields.u16()?.cast_signed();
    let mapping = match fields.u8()? {
        0 => None,
        family => {
            let (streams, coupled) = (fields.u8()?, fields.u8()?);
            let table = Bytes::copy_from_slice(fields.take(channels.into())?);
            Some(OpusMapping { family, streams, coupled, channels: table })
        }
    };
    let frame_samples = 960;
    Ok(Some(AudioConfig::Opus(OpusConfig { channels, pre_skip, input_rate, output_gain, mapping, frame_samples })))
}

/// `dfLa`.
pub(super) fn read_dfla(dfla: &Mp4Box<'_>) -> Result<Option<AudioConfig>, ReadError> {
    let mut fields = dfla.fields();
    fields.version_and_flags()?;
    Ok(Some(AudioConfig::Flac(FlacConfig::parse(&Bytes::copy_from_slice(fields.rest()))?)))
}

/// `dac3`.
pub(super) fn read_dac3(dac3: &Mp4Box<'_>) -> Result<Option<AudioConfig>, ReadError> {
    let mut fields = dac3.fields();
    let word = u32::from(fields.u16()?) << 8 | u32::from(fields.u8()?);
    let bits = |from: u32, count: u32| byte(word >> (24 - from - count), count);
    let kbps = BITRATES_KBPS.get(usize::from(bits(14, 5))).copied();
    let field = "dac3 bit_rate_code";
    let bitrate_kbps = kbps.ok_or(ReadError::Value { field, found: bits(14, 5).into(), expected: "0 to 18" })?;
    Ok(Some(AudioConfig::Ac3(Ac3Config {
        enhanced: false,
        sample_rate: rate(bits(0, 2))?,
        rate_code: bits(0, 2),
        bitstream_id: bits(2, 5),
        bitstream_mode: bits(7, 3),
        audio_mode: bits(10, 3),
        lfe: bits(13, 1) == 1,
        bitrate_kbps,
        frame_samples: 1536,
        dependent: false,
    })))
}

/// `dec3`: its first independent substream.
pub(super) fn read_dec3(dec3: &Mp4Box<'_>) -> Result<Option<AudioConfig>, ReadError> {
    let mut fields = dec3.fields();
    let head = fields.u16()?;
    let word = u32::from(fields.u16()?) << 8 | u32::from(fields.u8()?);
    let bits = |from: u32, count: u32| byte(word >> (24 - from - count), count);
    Ok(Some(AudioConfig::Ac3(Ac3Config {
        enhanced: true,
        sample_rate: rate(bits(0, 2))?,
        rate_code: bits(0, 2),
        bitstream_id: bits(2, 5),
        bitstream_mode: bits(9, 3),
        audio_mode: bits(12, 3),
        lfe: bits(15, 1) == 1,
        bitrate_kbps: head >> 3,
        frame_samples: 1536,
        dependent: bits(19, 4) > 0,
    })))
}

/// The last `count` bits, at most 8.
fn byte(word: u32, count: u32) -> u8 {
    word.to_le_bytes()[0] & u8::MAX >> (8 - count)
}

fn rate(code: u8) -> Result<u32, ReadError> {
    let rates = [48_000, 44_100, 32_000];
    let wrong = ReadError::Value { field: "fscod", found: code.into(), expected: "0 to 2" };
    rates.get(usize::from(code)).copied().ok_or(wrong)
}

/// By bit_rate_code.
const BITRATES_KBPS: [u16; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
