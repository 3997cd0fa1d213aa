//! Init segments: the CMAF header of one track (cmaf.md, section 2). All times and durations in it are zero, so that
//! equal configurations give equal bytes and thus equal names.

use headwater_media::{AudioConfig, AvcConfig, Colour, Init, Timescale, VideoConfig, VideoRange};

use crate::audio_entry;
use crate::boxes::{put_u16, put_u32, put_zeros, write_box, write_full_box};

/// The init segment of a video track: `avc1`, `hvc1`, `av01` or `vp09`, timescale 120000 (C-7, C-9, C-12).
///
/// `bitrate_max_bps` is what an encoder was told to keep to; without it there is no `btrt`.
pub fn video_init(config: &VideoConfig, bitrate_max_bps: Option<u32>) -> Init {
    let display_size = config.display_size();
    let track = Track {
        brands: if let VideoConfig::Avc(avc) = config { avc_brands(avc) } else { Vec::new() },
        timescale: Timescale::VIDEO.units_per_second(),
        volume: 0,
        display_size,
        handler: b"vide",
        handler_name: b"VideoHandler\0",
    };
    let data = write_init(&track, write_vmhd, |out| write_visual_entry(out, config, bitrate_max_bps));
    Init::new(data.into(), &config.codec_string(), Some(display_size)).in_range(VideoRange::of(config.colour()))
}

/// The init segment of an audio track: `mp4a`, `Opus`, `fLaC`, `ac-3` or `ec-3`, the sample rate as timescale (C-11,
/// C-12). `None` for MP3, which no player expects in CMAF.
pub fn audio_init(config: &AudioConfig) -> Option<Init> {
    let entry = audio_entry::write(config)?;
    let track = Track {
        brands: if matches!(config, AudioConfig::Aac(_)) { vec![*b"caac"] } else { Vec::new() },
        timescale: audio_entry::output_rate(config),
        volume: 0x0100,
        display_size: (0, 0),
        handler: b"soun",
        handler_name: b"SoundHandler\0",
    };
    let data = write_init(&track, write_smhd, |out| out.extend_from_slice(&entry));
    Some(Init::new(data.into(), &config.to_string(), None))
}

/// What differs between the tracks' headers.
struct Track {
    /// Media profile brands (C-8).
    brands: Vec<[u8; 4]>,
    timescale: u32,
    volume: u16,
    display_size: (u32, u32),
    handler: &'static [u8; 4],
    handler_name: &'static [u8],
}

/// The media profiles that a track of H.264 keeps to (C-8); all are for progressive 4:2:0 of 8 bits in High profile.
fn avc_brands(config: &AvcConfig) -> Vec<[u8; 4]> {
    let sps = &config.parsed;
    let high = sps.profile == 100 && sps.frame_mbs_only && sps.chroma_format == 1 && sps.bit_depth_luma == 8;
    let within = |width, height, level| high && sps.width <= width && sps.height <= height && sps.level <= level;
    let bt709 = sps.colour.is_some_and(|colour| (colour.primaries, colour.transfer, colour.matrix) == (1, 1, 1));
    let mut brands = Vec::new();
    if within(864, 576, 31) {
        brands.push(*b"cfsd");
    }
    if within(1920, 1080, 40) && bt709 {
        brands.push(*b"cfhd");
    }
    if within(1920, 1080, 42) {
        brands.push(*b"chdf");
    }
    brands
}

fn write_init(track: &Track, media_header: fn(&mut Vec<u8>), sample_entry: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write_ftyp(&mut out, &track.brands);
    write_box(&mut out, b"moov", |out| {
        write_mvhd(out, track.timescale);
        write_box(out, b"trak", |out| {
            write_tkhd(out, track);
            write_box(out, b"mdia", |out| {
                write_mdhd(out, track.timescale);
                write_hdlr(out, track);
                write_box(out, b"minf", |out| {
                    media_header(out);
                    write_dinf(out);
                    write_stbl(out, sample_entry);
                });
            });
        });
        write_box(out, b"mvex", write_trex);
    });
    out
}

/// `ftyp`: 4.3 and C-8. Structural brand `cmf2`, because composition offsets are signed (C-6).
fn write_ftyp(out: &mut Vec<u8>, brands: &[[u8; 4]]) {
    write_box(out, b"ftyp", |out| {
        out.extend_from_slice(b"cmf2");
        put_u32(out, 0);
        out.extend_from_slice(b"iso6cmfccmf2");
        brands.iter().for_each(|brand| out.extend_from_slice(brand));
    });
}

/// `mvhd`: 8.2.2.
fn write_mvhd(out: &mut Vec<u8>, timescale: u32) {
    write_full_box(out, b"mvhd", 0, 0, |out| {
        put_zeros(out, 8); // creation and modification time
        put_u32(out, timescale);
        put_u32(out, 0); // duration
        put_u32(out, 0x0001_0000); // rate
        put_u16(out, 0x0100); // volume
        put_zeros(out, 10);
        write_unity_matrix(out);
        put_zeros(out, 24);
        put_u32(out, TRACK_ID + 1); // next track
    });
}

/// `tkhd`: 8.3.2. Flags: enabled, in the movie.
fn write_tkhd(out: &mut Vec<u8>, track: &Track) {
    write_full_box(out, b"tkhd", 0, 3, |out| {
        put_zeros(out, 8); // creation and modification time
        put_u32(out, TRACK_ID);
        put_zeros(out, 4);
        put_u32(out, 0); // duration
        put_zeros(out, 8);
        put_zeros(out, 4); // layer, alternate group
        put_u16(out, track.volume);
        put_zeros(out, 2);
        write_unity_matrix(out);
        put_u32(out, u32::from(pixels(track.display_size.0)) << 16);
        put_u32(out, u32::from(pixels(track.display_size.1)) << 16);
    });
}

fn write_unity_matrix(out: &mut Vec<u8>) {
    for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        put_u32(out, value);
    }
}

/// `mdhd`: 8.4.2.
fn write_mdhd(out: &mut Vec<u8>, timescale: u32) {
    write_full_box(out, b"mdhd", 0, 0, |out| {
        put_zeros(out, 8); // creation and modification time
        put_u32(out, timescale);
        put_u32(out, 0); // duration
        put_u16(out, 0x55C4); // language: und
        put_zeros(out, 2);
    });
}

/// `hdlr`: 8.4.3.
fn write_hdlr(out: &mut Vec<u8>, track: &Track) {
    write_full_box(out, b"hdlr", 0, 0, |out| {
        put_zeros(out, 4);
        out.extend_from_slice(track.handler);
        put_zeros(out, 12);
        out.extend_from_slice(track.handler_name);
    });
}

/// `vmhd`: 12.1.2. Its flags are 1 by definition.
fn write_vmhd(out: &mut Vec<u8>) {
    write_full_box(out, b"vmhd", 0, 1, |out| put_zeros(out, 8));
}

/// `smhd`: 12.2.2.
fn write_smhd(out: &mut Vec<u8>) {
    write_full_box(out, b"smhd", 0, 0, |out| put_zeros(out, 4));
}

/// `dinf` with a `dref` that says "in this file": 8.7.
fn write_dinf(out: &mut Vec<u8>) {
    write_box(out, b"dinf", |out| {
        write_full_box(out, b"dref", 0, 0, |out| {
            put_u32(out, 1);
            write_full_box(out, b"url ", 0, 1, |_| {});
        });
    });
}

/// `stbl`: one sample entry, and tables without entries, because samples are in chunks only. 8.5, C-7.
fn write_stbl(out: &mut Vec<u8>, sample_entry: impl FnOnce(&mut Vec<u8>)) {
    write_box(out, b"stbl", |out| {
        write_full_box(out, b"stsd", 0, 0, |out| {
            put_u32(out, 1);
            sample_entry(out);
        });
        write_full_box(out, b"stts", 0, 0, |out| put_u32(out, 0));
        write_full_box(out, b"stsc", 0, 0, |out| put_u32(out, 0));
        write_full_box(out, b"stsz", 0, 0, |out| put_zeros(out, 8));
        write_full_box(out, b"stco", 0, 0, |out| put_u32(out, 0));
    });
}

/// `trex`: 8.8.3. No chunk relies on these defaults.
fn write_trex(out: &mut Vec<u8>) {
    write_full_box(out, b"trex", 0, 0, |out| {
        put_u32(out, TRACK_ID);
        put_u32(out, 1); // sample description
        put_zeros(out, 12);
    });
}

/// A visual sample entry (ISO/IEC 14496-12, 12.1.3): `avc1` and `hvc1` (14496-15, 5.4.2 and 8.4.1), `av01` and `vp09`
/// (the codecs' bindings to the file format). Parameter sets are in it and not in samples.
fn write_visual_entry(out: &mut Vec<u8>, config: &VideoConfig, bitrate_max_bps: Option<u32>) {
    let entry = match config {
        VideoConfig::Avc(_) => b"avc1",
        VideoConfig::Hevc(_) => b"hvc1",
        VideoConfig::Av1(_) => b"av01",
        VideoConfig::Vp9(_) => b"vp09",
    };
    let (width, height) = config.size();
    write_box(out, entry, |out| {
        write_sample_entry_head(out);
        put_zeros(out, 16);
        put_u16(out, pixels(width));
        put_u16(out, pixels(height));
        put_u32(out, 0x0048_0000); // 72 dpi
        put_u32(out, 0x0048_0000);
        put_u32(out, 0);
        put_u16(out, 1); // frame count
        put_zeros(out, 32); // compressor name
        put_u16(out, 0x0018);
        put_u16(out, 0xFFFF);
        let record = |out: &mut Vec<u8>| out.extend_from_slice(&config.record());
        match config {
            VideoConfig::Avc(_) => write_box(out, b"avcC", record),
            VideoConfig::Hevc(_) => write_box(out, b"hvcC", record),
            VideoConfig::Av1(_) => write_box(out, b"av1C", record),
            VideoConfig::Vp9(_) => write_full_box(out, b"vpcC", 1, 0, record),
        }
        if let Some(colour) = config.colour() {
            write_colr(out, colour);
        }
        let (horizontal, vertical) = config.sample_aspect();
        if horizontal != vertical {
            write_box(out, b"pasp", |out| {
                put_u32(out, horizontal);
                put_u32(out, vertical);
            });
        }
        if let Some(bitrate) = bitrate_max_bps {
            write_box(out, b"btrt", |out| {
                put_u32(out, 0); // decoding buffer: unknown
                put_u32(out, bitrate);
                put_u32(out, bitrate);
            });
        }
    });
}

/// `colr`: 12.1.5, C-36.
fn write_colr(out: &mut Vec<u8>, colour: Colour) {
    write_box(out, b"colr", |out| {
        out.extend_from_slice(b"nclx");
        put_u16(out, colour.primaries.into());
        put_u16(out, colour.transfer.into());
        put_u16(out, colour.matrix.into());
        out.push(if colour.full_range { 0x80 } else { 0 });
    });
}

/// A width or height; an absurd aspect ratio can make one that has no room.
fn pixels(size: u32) -> u16 {
    u16::try_from(size).unwrap_or(u16::MAX)
}

/// 6 reserved bytes and data_reference_index 1.
pub(crate) fn write_sample_entry_head(out: &mut Vec<u8>) {
    put_zeros(out, 6);
    put_u16(out, 1);
}

/// Every file has one track (C-1).
pub(crate) const TRACK_ID: u32 = 1;
