//! Sample entries of sound: the codecs' own boxes within ISO/IEC 14496-12, 12.2.3.

use headwater_media::{AacConfig, Ac3Config, AudioConfig, FlacConfig, OpusConfig};

use crate::boxes::{put_u16, put_u32, put_zeros, write_box, write_full_box};
use crate::init::write_sample_entry_head;

/// The sample entry; `None` for MP3.
pub(crate) fn write(config: &AudioConfig) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match config {
        AudioConfig::Aac(aac) => write_mp4a(&mut out, aac),
        AudioConfig::Opus(opus) => write_opus(&mut out, opus),
        AudioConfig::Flac(flac) => write_flac(&mut out, flac),
        AudioConfig::Ac3(ac3) => write_ac3(&mut out, ac3),
        AudioConfig::Mp3(_) => return None,
    }
    Some(out)
}

/// The rate of decoded sound, Hz.
pub(crate) fn output_rate(config: &AudioConfig) -> u32 {
    match config {
        AudioConfig::Aac(aac) => aac.extension_sample_rate.unwrap_or(aac.sample_rate),
        other => other.sample_rate(),
    }
}

/// AudioSampleEntry, then what `boxes` writes. `rate` is what fits into the 16 bits of the entry; 0 leaves it to the
/// boxes.
fn write_entry(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    (channels, bits, rate): (u8, u8, u16),
    boxes: impl FnOnce(&mut Vec<u8>),
) {
    write_box(out, kind, |out| {
        write_sample_entry_head(out);
        put_zeros(out, 8);
        put_u16(out, channels.into());
        put_u16(out, bits.into());
        put_zeros(out, 4);
        put_u32(out, u32::from(rate) << 16);
        boxes(out);
    });
}

/// `mp4a`: ISO/IEC 14496-14, 6.7.
fn write_mp4a(out: &mut Vec<u8>, aac: &AacConfig) {
    let channels = if aac.parametric_stereo || aac.channels == 0 { 2 } else { aac.channels };
    let rate = u16::try_from(aac.extension_sample_rate.unwrap_or(aac.sample_rate)).unwrap_or(0);
    write_entry(out, b"mp4a", (channels, 16, rate), |out| {
        write_full_box(out, b"esds", 0, 0, |out| write_es_descriptor(out, aac));
    });
}

/// ES_Descriptor: ISO/IEC 14496-1, 7.2.6.5; values as 14496-14 and C-11 want them.
fn write_es_descriptor(out: &mut Vec<u8>, aac: &AacConfig) {
    write_descriptor(out, 3, |out| {
        put_zeros(out, 3); // ES_ID and flags
        write_descriptor(out, 4, |out| {
            out.extend_from_slice(&[0x40, 0x15]); // MPEG-4 audio, audio stream
            put_zeros(out, 11); // buffer size, greatest and average rate: unknown
            write_descriptor(out, 5, |out| out.extend_from_slice(&aac.record));
        });
        write_descriptor(out, 6, |out| out.push(2));
    });
}

/// One descriptor; the length takes as many groups of 7 bits as it needs.
fn write_descriptor(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::new();
    body(&mut content);
    out.push(tag);
    let group = |shift: usize| (content.len() >> shift).to_le_bytes()[0] & 0x7F;
    for shift in [21, 14, 7] {
        if content.len() >> shift > 0 {
            out.push(0x80 | group(shift));
        }
    }
    out.push(group(0));
    out.extend_from_slice(&content);
}

/// `Opus` and `dOps`: "Encapsulation of Opus in ISO Base Media File Format", 4.3. The fields of the identification header,
/// with their bytes turned round, but for what a player would skip: there is no edit list that skips it (C-6), each
/// packet's time is that of its own first sample, and who joins a live stream has no beginning to leave out.
fn write_opus(out: &mut Vec<u8>, opus: &OpusConfig) {
    write_entry(out, b"Opus", (opus.channels, 16, 48_000), |out| {
        write_box(out, b"dOps", |out| {
            out.extend_from_slice(&[0, opus.channels]);
            put_u16(out, 0); // pre-skip
            put_u32(out, opus.input_rate);
            out.extend_from_slice(&opus.output_gain.to_be_bytes());
            match &opus.mapping {
                None => out.push(0),
                Some(mapping) => {
                    out.extend_from_slice(&[mapping.family, mapping.streams, mapping.coupled]);
                    out.extend_from_slice(&mapping.channels);
                }
            }
        });
    });
}

/// `fLaC` and `dfLa`: "Encapsulation of FLAC in ISO Base Media File Format", 3.3. A rate that does not fit into the entry
/// is halved until it does.
fn write_flac(out: &mut Vec<u8>, flac: &FlacConfig) {
    let mut rate = flac.sample_rate;
    while rate > u16::MAX.into() && rate.is_multiple_of(2) {
        rate /= 2;
    }
    let rate = u16::try_from(rate).unwrap_or(u16::MAX);
    write_entry(out, b"fLaC", (flac.channels, flac.bits, rate), |out| {
        write_full_box(out, b"dfLa", 0, 0, |out| {
            out.extend_from_slice(&[0x80, 0, 0, 34]); // the last block, STREAMINFO
            out.extend_from_slice(&flac.stream_info);
        });
    });
}

/// `ac-3` and `dac3`, or `ec-3` and `dec3` with one substream: ETSI TS 102 366, F.2 to F.6.
fn write_ac3(out: &mut Vec<u8>, ac3: &Ac3Config) {
    let rate = u16::try_from(ac3.sample_rate).unwrap_or(0);
    let kind = if ac3.enhanced { b"ec-3" } else { b"ac-3" };
    write_entry(out, kind, (ac3.channels(), 16, rate), |out| {
        let mut bits = Bits::default();
        if ac3.enhanced {
            bits.put(13, ac3.bitrate_kbps);
            bits.put(3, 0_u8); // one independent substream
        }
        bits.put(2, ac3.rate_code);
        bits.put(5, ac3.bitstream_id);
        if ac3.enhanced {
            bits.put(2, 0_u8); // reserved, and no associated service
        }
        bits.put(3, ac3.bitstream_mode);
        bits.put(3, ac3.audio_mode);
        bits.put(1, ac3.lfe);
        if ac3.enhanced {
            bits.put(8, 0_u8); // reserved, no dependent substream, reserved
        } else {
            bits.put(5, ac3.bitrate_code());
            bits.put(5, 0_u8);
        }
        write_box(out, if ac3.enhanced { b"dec3" } else { b"dac3" }, |out| {
            let bytes = bits.length.div_ceil(8);
            let value = bits.value << (bytes * 8 - bits.length);
            out.extend_from_slice(&value.to_be_bytes()[8 - bytes as usize..]);
        });
    });
}

/// Up to 64 bits, the first one the most significant.
#[derive(Default)]
struct Bits {
    value: u64,
    length: u32,
}

impl Bits {
    fn put(&mut self, count: u32, value: impl Into<u64>) {
        self.value = self.value << count | (value.into() & ((1 << count) - 1));
        self.length += count;
    }
}
