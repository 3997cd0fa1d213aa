//! Chunks and segments: `moof` and `mdat`.

use std::ops::Range;

use super::boxes::{Mp4Box, boxes};
use super::init::{SampleDefaults, Track};
use super::{FILE, ReadError};
use crate::FourCc;

/// One chunk: a `moof` and the `mdat` behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadChunk {
    /// Brands of the `styp` before it, major brand first; empty when there is none.
    pub segment_brands: Vec<FourCc>,
    /// `mfhd` sequence number.
    pub sequence_number: u32,
    /// Where the `moof` lies.
    pub moof: Range<usize>,
    /// Where the payload of the `mdat` lies.
    pub mdat: Range<usize>,
    /// One for each `traf`; ours have one.
    pub runs: Vec<Run>,
}

/// The samples of one `traf`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    /// track_ID.
    pub track_id: u32,
    /// Flags of the `tfhd`.
    pub tfhd_flags: u32,
    /// Version of the `tfdt`.
    pub tfdt_version: u8,
    /// Decode time of its first sample, in ticks of the track.
    pub base_decode_time: u64,
    /// Flags of each `trun`; ours have one.
    pub trun_flags: Vec<u32>,
    /// Data offset of the first `trun`, if it has one.
    pub data_offset: Option<i32>,
    /// Names of the boxes in the `traf`, in order (C-31).
    pub boxes: Vec<FourCc>,
    /// Samples in decode order.
    pub samples: Vec<ReadSample>,
}

/// One sample of a [`Run`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadSample {
    /// Where its bytes begin, as the chunk claims; may lie outside the data.
    pub offset: i64,
    /// How many they are.
    pub size: u32,
    /// Ticks until the next sample's decode time.
    pub duration: u32,
    /// Presentation minus decode time, in ticks.
    pub composition_offset: i64,
    /// Flags (C-24).
    pub flags: u32,
}

impl ReadSample {
    /// Decoding can start here: sample_is_non_sync_sample is 0.
    pub fn is_sync(&self) -> bool {
        self.flags & 0x0001_0000 == 0
    }

    /// Its bytes in the data that the chunk was read from; `None` when they are not all there.
    pub fn data<'a>(&self, data: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset).ok()?;
        data.get(start..start.checked_add(usize::try_from(self.size).ok()?)?)
    }
}

impl Run {
    /// Sum of the sample durations, in ticks.
    pub fn duration(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }
}

/// The chunks of `data`: one part, a segment, or a file with its init segment in front.
///
/// `tracks` gives the defaults of samples that say nothing themselves; without a track for a run they are zeros.
pub fn chunks(data: &[u8], tracks: &[Track]) -> Result<Vec<ReadChunk>, ReadError> {
    let (mut chunks, mut segment_brands) = (Vec::new(), Vec::new());
    let mut open: Option<ReadChunk> = None;
    // A run without fields per sample is a few bytes whatever its count, so counts cannot be believed. Samples have
    // bytes, and those are in `data`.
    let mut budget = data.len();
    for found in boxes(data) {
        let found = found?;
        match &found.kind.0 {
            b"styp" => {
                let mut fields = found.fields();
                let major_brand = fields.four_cc()?;
                fields.take(4)?;
                segment_brands = vec![major_brand];
                segment_brands.extend(fields.rest().as_chunks().0.iter().map(|brand| FourCc(*brand)));
            }
            b"moof" => {
                if open.is_some() {
                    return Err(ReadError::Missing { parent: FILE, kind: FourCc(*b"mdat") });
                }
                let (sequence_number, runs) = read_moof(&found, tracks, &mut budget)?;
                let segment_brands = std::mem::take(&mut segment_brands);
                open = Some(ReadChunk { segment_brands, sequence_number, moof: found.range(), mdat: 0..0, runs });
            }
            b"mdat" => {
                if let Some(chunk) = open.take() {
                    let range = found.range();
                    chunks.push(ReadChunk { mdat: range.start + found.header_bytes..range.end, ..chunk });
                }
            }
            _ => {}
        }
    }
    match open {
        Some(_) => Err(ReadError::Missing { parent: FILE, kind: FourCc(*b"mdat") }),
        None => Ok(chunks),
    }
}

fn read_moof(moof: &Mp4Box<'_>, tracks: &[Track], budget: &mut usize) -> Result<(u32, Vec<Run>), ReadError> {
    let mut mfhd = moof.child(b"mfhd")?.fields();
    mfhd.version_and_flags()?;
    let sequence_number = mfhd.u32()?;
    let mut runs = Vec::new();
    for found in moof.children(0) {
        let found = found?;
        if found.kind.0 == *b"traf" {
            runs.push(read_traf(&found, moof.offset, tracks, budget)?);
        }
    }
    Ok((sequence_number, runs))
}

fn read_traf(traf: &Mp4Box<'_>, moof_offset: usize, tracks: &[Track], budget: &mut usize) -> Result<Run, ReadError> {
    let mut tfhd = traf.child(b"tfhd")?.fields();
    let (_, tfhd_flags) = tfhd.version_and_flags()?;
    let track_id = tfhd.u32()?;
    let mut defaults = tracks.iter().find(|track| track.id == track_id).map(|track| track.defaults).unwrap_or_default();
    let moof_offset = i64::try_from(moof_offset).unwrap_or(i64::MAX);
    let base_offset = if tfhd_flags & 1 != 0 { i64::try_from(tfhd.u64()?).unwrap_or(i64::MAX) } else { moof_offset };
    if tfhd_flags & 2 != 0 {
        tfhd.u32()?; // sample description
    }
    for (flag, field) in [(8, &mut defaults.duration), (0x10, &mut defaults.size), (0x20, &mut defaults.flags)] {
        if tfhd_flags & flag != 0 {
            *field = tfhd.u32()?;
        }
    }
    let mut tfdt = traf.child(b"tfdt")?.fields();
    let (tfdt_version, _) = tfdt.version_and_flags()?;
    let base_decode_time = if tfdt_version == 1 { tfdt.u64()? } else { tfdt.u32()?.into() };

    let mut run = Run {
        track_id,
        tfhd_flags,
        tfdt_version,
        base_decode_time,
        trun_flags: Vec::new(),
        data_offset: None,
        boxes: Vec::new(),
        samples: Vec::new(),
    };
    for found in traf.children(0) {
        let found = found?;
        run.boxes.push(found.kind);
        if found.kind.0 == *b"trun" {
            read_trun(&found, base_offset, defaults, &mut run, budget)?;
        }
    }
    Ok(run)
}

fn read_trun(
    trun: &Mp4Box<'_>,
    base: i64,
    defaults: SampleDefaults,
    run: &mut Run,
    budget: &mut usize,
) -> Result<(), ReadError> {
    let mut fields = trun.fields();
    let (version, flags) = fields.version_and_flags()?;
    let count = fields.u32()? as usize;
    *budget = budget.checked_sub(count).ok_or(ReadError::Value {
        field: "trun sample_count",
        found: count as u64,
        expected: "no more samples than bytes",
    })?;
    let mut position = run.samples.last().map_or(base, |last| last.offset.saturating_add(last.size.into()));
    if flags & 0x001 != 0 {
        let data_offset = fields.i32()?;
        position = base.saturating_add(data_offset.into());
        if run.trun_flags.is_empty() {
            run.data_offset = Some(data_offset);
        }
    }
    run.trun_flags.push(flags);
    let mut first_flags = if flags & 0x004 != 0 { Some(fields.u32()?) } else { None };
    for _ in 0..count {
        let duration = if flags & 0x100 != 0 { fields.u32()? } else { defaults.duration };
        let size = if flags & 0x200 != 0 { fields.u32()? } else { defaults.size };
        let own_flags = if flags & 0x400 != 0 { fields.u32()? } else { defaults.flags };
        let composition_offset = match (flags & 0x800 != 0, version) {
            (false, _) => 0,
            (true, 0) => fields.u32()?.into(),
            (true, _) => fields.i32()?.into(),
        };
        let flags = first_flags.take().unwrap_or(own_flags);
        run.samples.push(ReadSample { offset: position, size, duration, composition_offset, flags });
        position = position.saturating_add(size.into());
    }
    Ok(())
}
