//! Init segments: `ftyp` and `moov`.

use std::sync::Arc;

use bytes::Bytes;
use headwater_media::{
    AacConfig, AudioConfig, Av1Config, AvcConfig, CodecConfig, Colour, HevcConfig, Timescale, VideoConfig, Vp9Config,
};

use super::boxes::{Fields, Mp4Box, boxes};
use super::{FILE, ReadError, audio_entry};
use crate::FourCc;

/// An init segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InitSegment {
    /// Major brand.
    pub major_brand: FourCc,
    /// Compatible brands.
    pub brands: Vec<FourCc>,
    /// Its tracks; ours have one.
    pub tracks: Vec<Track>,
}

/// One track of an init segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Track {
    /// track_ID.
    pub id: u32,
    /// Handler: `vide`, `soun` or another.
    pub handler: FourCc,
    /// Ticks per second.
    pub timescale: Timescale,
    /// The first sample entry's name, such as `avc1`.
    pub sample_entry: FourCc,
    /// Its decoder configuration, for the codecs that we write.
    pub config: Option<CodecConfig>,
    /// Size at which it is shown (`tkhd`), whole pixels; zeros for audio.
    pub display_size: (u32, u32),
    /// Width and height of a visual sample entry.
    pub coded_size: Option<(u32, u32)>,
    /// `colr` of type `nclx`.
    pub colour: Option<Colour>,
    /// `pasp`.
    pub pixel_aspect: Option<(u32, u32)>,
    /// It has an edit list (C-6 forbids one).
    pub has_edit_list: bool,
    /// What `trex` says, for runs that say nothing.
    pub defaults: SampleDefaults,
}

/// Defaults for the samples of a track.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SampleDefaults {
    /// Duration in ticks.
    pub duration: u32,
    /// Size in bytes.
    pub size: u32,
    /// Flags (C-24).
    pub flags: u32,
}

impl InitSegment {
    /// Reads the first `ftyp` and `moov` of `data`; other boxes are passed over, so a segment may follow.
    pub fn parse(data: &[u8]) -> Result<Self, ReadError> {
        let (mut major_brand, mut brands) = (None, Vec::new());
        for found in boxes(data) {
            let found = found?;
            match &found.kind.0 {
                b"ftyp" => {
                    let mut fields = found.fields();
                    major_brand = Some(fields.four_cc()?);
                    fields.take(4)?;
                    brands = fields.rest().as_chunks().0.iter().map(|brand| FourCc(*brand)).collect();
                }
                b"moov" => {
                    let missing = ReadError::Missing { parent: FILE, kind: FourCc(*b"ftyp") };
                    let major_brand = major_brand.ok_or(missing)?;
                    return Ok(Self { major_brand, brands, tracks: read_moov(&found)? });
                }
                _ => {}
            }
        }
        Err(ReadError::Missing { parent: FILE, kind: FourCc(*b"moov") })
    }
}

fn read_moov(moov: &Mp4Box<'_>) -> Result<Vec<Track>, ReadError> {
    let mut tracks = Vec::new();
    for found in moov.children(0) {
        let found = found?;
        if found.kind.0 == *b"trak" {
            tracks.push(read_trak(&found)?);
        }
    }
    if let Some(mvex) = moov.find(b"mvex", 0)? {
        for found in mvex.children(0) {
            let found = found?;
            if found.kind.0 == *b"trex" {
                let mut fields = found.fields();
                fields.version_and_flags()?;
                let id = fields.u32()?;
                fields.u32()?; // sample description
                let defaults = SampleDefaults { duration: fields.u32()?, size: fields.u32()?, flags: fields.u32()? };
                tracks.iter_mut().filter(|track| track.id == id).for_each(|track| track.defaults = defaults);
            }
        }
    }
    Ok(tracks)
}

fn read_trak(trak: &Mp4Box<'_>) -> Result<Track, ReadError> {
    let (id, display_size) = read_tkhd(&trak.child(b"tkhd")?)?;
    let mdia = trak.child(b"mdia")?;
    let timescale = read_mdhd(&mdia.child(b"mdhd")?)?;
    let mut hdlr = mdia.child(b"hdlr")?.fields();
    hdlr.take(8)?;
    let handler = hdlr.four_cc()?;
    let stsd = mdia.child(b"minf")?.child(b"stbl")?.child(b"stsd")?;
    let entry = stsd.children(8).next().transpose()?;
    let entry = entry.ok_or(ReadError::Missing { parent: stsd.kind, kind: FourCc(*b"avc1") })?;

    let mut track = Track {
        id,
        handler,
        timescale,
        sample_entry: entry.kind,
        config: None,
        display_size,
        coded_size: None,
        colour: None,
        pixel_aspect: None,
        has_edit_list: trak.find(b"edts", 0)?.is_some(),
        defaults: SampleDefaults::default(),
    };
    match &handler.0 {
        b"vide" => read_visual_entry(&entry, &mut track)?,
        b"soun" => read_audio_entry(&entry, &mut track)?,
        _ => {}
    }
    Ok(track)
}

fn read_tkhd(tkhd: &Mp4Box<'_>) -> Result<(u32, (u32, u32)), ReadError> {
    let mut fields = tkhd.fields();
    let (version, _) = fields.version_and_flags()?;
    fields.take(if version == 1 { 16 } else { 8 })?;
    let id = fields.u32()?;
    fields.take(if version == 1 { 12 } else { 8 } + 16 + 36)?;
    Ok((id, (fields.u32()? >> 16, fields.u32()? >> 16)))
}

fn read_mdhd(mdhd: &Mp4Box<'_>) -> Result<Timescale, ReadError> {
    let mut fields = mdhd.fields();
    let (version, _) = fields.version_and_flags()?;
    fields.take(if version == 1 { 16 } else { 8 })?;
    let expected = "at least 1";
    Timescale::new(fields.u32()?).ok_or(ReadError::Value { field: "mdhd timescale", found: 0, expected })
}

/// VisualSampleEntry: 78 bytes, then boxes (C-7).
fn read_visual_entry(entry: &Mp4Box<'_>, track: &mut Track) -> Result<(), ReadError> {
    let mut fields = entry.fields();
    fields.take(24)?;
    track.coded_size = Some((fields.u16()?.into(), fields.u16()?.into()));
    let mut video = None;
    for found in entry.children(78) {
        let found = found?;
        let mut fields = found.fields();
        match &found.kind.0 {
            b"avcC" => video = Some(AvcConfig::parse(found.payload)?.into()),
            b"hvcC" => video = Some(VideoConfig::Hevc(HevcConfig::parse(found.payload)?)),
            b"av1C" => video = Av1Config::parse(found.payload)?.map(VideoConfig::Av1),
            b"vpcC" => {
                fields.version_and_flags()?;
                let size = track.coded_size.unwrap_or_default();
                video = Some(VideoConfig::Vp9(Vp9Config::from_record(fields.rest(), size)?));
            }
            b"pasp" => track.pixel_aspect = Some((fields.u32()?, fields.u32()?)),
            b"colr" if fields.four_cc()?.0 == *b"nclx" => {
                let mut point = || fields.u16().map(|code| u8::try_from(code).unwrap_or(u8::MAX));
                let (primaries, transfer, matrix) = (point()?, point()?, point()?);
                track.colour = Some(Colour { primaries, transfer, matrix, full_range: fields.u8()? & 0x80 != 0 });
            }
            _ => {}
        }
    }
    track.config = video.map(|config| CodecConfig::Video(Arc::new(config)));
    Ok(())
}

/// AudioSampleEntry: 28 bytes, then boxes (C-11).
fn read_audio_entry(entry: &Mp4Box<'_>, track: &mut Track) -> Result<(), ReadError> {
    let (kind, read): (_, ReadConfig) = match &entry.kind.0 {
        b"mp4a" => (b"esds", read_esds),
        b"Opus" => (b"dOps", audio_entry::read_dops),
        b"fLaC" => (b"dfLa", audio_entry::read_dfla),
        b"ac-3" => (b"dac3", audio_entry::read_dac3),
        b"ec-3" => (b"dec3", audio_entry::read_dec3),
        _ => return Ok(()),
    };
    if let Some(found) = entry.find(kind, 28)? {
        track.config = read(&found)?.map(|config| CodecConfig::Audio(Arc::new(config)));
    }
    Ok(())
}

/// Reads the box with the decoder configuration.
type ReadConfig = fn(&Mp4Box<'_>) -> Result<Option<AudioConfig>, ReadError>;

/// `esds`: `None` when it is of another codec than MPEG-4 audio.
fn read_esds(esds: &Mp4Box<'_>) -> Result<Option<AudioConfig>, ReadError> {
    let mut fields = esds.fields();
    fields.version_and_flags()?;
    let mut stream = descriptor(&mut fields, 3)?;
    stream.u16()?; // ES_ID
    let flags = stream.u8()?;
    if flags & 0x80 != 0 {
        stream.u16()?;
    }
    if flags & 0x40 != 0 {
        let url = stream.u8()?;
        stream.take(url.into())?;
    }
    if flags & 0x20 != 0 {
        stream.u16()?;
    }
    let mut decoder = descriptor(&mut stream, 4)?;
    if decoder.u8()? != 0x40 {
        return Ok(None);
    }
    decoder.take(12)?;
    let config = descriptor(&mut decoder, 5)?;
    Ok(Some(AudioConfig::Aac(AacConfig::parse(Bytes::copy_from_slice(config.rest()))?)))
}

/// The next descriptor, which must have this tag (ISO/IEC 14496-1, 8.3.3).
fn descriptor<'a>(fields: &mut Fields<'a>, tag: u8) -> Result<Fields<'a>, ReadError> {
    let found = fields.u8()?;
    if found != tag {
        let (field, expected) = ("esds descriptor tag", "3, then 4, then 5");
        return Err(ReadError::Value { field, found: found.into(), expected });
    }
    let mut length = 0;
    for _ in 0..4 {
        let byte = fields.u8()?;
        length = length << 7 | usize::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let payload = fields.take(length)?;
    Ok(Mp4Box { kind: FourCc(*b"esds"), offset: 0, header_bytes: 8, payload }.fields())
}
