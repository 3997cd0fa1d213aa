//! Chunks: one `moof` and one `mdat` (cmaf.md, section 4). A part is exactly one chunk.

use bytes::Bytes;
use headwater_media::{ByteRange, MediaSequence, PartIndex, Pieces, TrackKind};

use crate::boxes::{put_u32, put_u64, write_box, write_full_box};
use crate::init::TRACK_ID;

/// What goes into one chunk.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Audio samples are all sync samples without composition offsets, whatever [`Sample`] says.
    pub kind: TrackKind,
    /// Number for `mfhd`; see [`sequence_number`].
    pub sequence_number: u32,
    /// Decode time of the first sample, in ticks of the track.
    pub base_decode_time: u64,
    /// It is the first chunk of its segment and so begins with `styp` (C-3).
    pub opens_segment: bool,
    /// Samples in decode order, at least one.
    pub samples: &'a [Sample],
}

/// One sample of a chunk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sample {
    /// NAL units with 4-byte lengths, or one raw AAC frame (C-26). Not empty.
    pub data: Bytes,
    /// Ticks until the next sample's decode time.
    pub duration: u32,
    /// Presentation minus decode time, in ticks; may be negative (C-22).
    pub composition_offset: i32,
    /// It is an IDR picture.
    pub sync: bool,
}

/// Why no chunk can be made of these samples.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// A chunk has samples.
    #[error("a chunk of no samples, expected at least one")]
    NoSamples,
    /// Empty samples are illegal (C-26).
    #[error("sample {index} of the chunk has no bytes")]
    EmptySample {
        /// Which sample.
        index: usize,
    },
    /// Sizes and offsets have 32 bits; a part comes nowhere near.
    #[error("a chunk of {bytes} bytes, limit is {CHUNK_BYTES_MAX}")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
}

/// Number for `mfhd`: a function of the chunk's address, so that whoever makes the part writes the same bytes
/// (architecture 9). It rises within a session but not by one.
pub fn sequence_number(msn: MediaSequence, part: PartIndex) -> u32 {
    let number = msn.0.wrapping_mul(64).wrapping_add(u64::from(part.0)).wrapping_add(1);
    u32::try_from(number & u64::from(u32::MAX)).expect("masked to 32 bits")
}

impl Chunk<'_> {
    /// The chunk's bytes in one piece: [`write_pieces`](Self::write_pieces) and a copy of them all.
    pub fn write(&self) -> Result<Bytes, ChunkError> {
        self.write_pieces().map(|pieces| pieces.to_bytes())
    }

    /// The chunk's bytes: what is written here, and between it the samples as they are, but for small ones, which are
    /// copied.
    pub fn write_pieces(&self) -> Result<Pieces, ChunkError> {
        if self.samples.is_empty() {
            return Err(ChunkError::NoSamples);
        }
        if let Some(index) = self.samples.iter().position(|sample| sample.data.is_empty()) {
            return Err(ChunkError::EmptySample { index });
        }
        let fields = self.fields();
        let payload: usize = self.samples.iter().map(|sample| sample.data.len()).sum();
        let moof = MOOF_FIXED_BYTES + fields.trun_bytes(self.samples.len());
        let bytes = if self.opens_segment { STYP_BYTES } else { 0 } + moof + 8 + payload;
        if bytes > CHUNK_BYTES_MAX {
            return Err(ChunkError::TooLong { bytes });
        }

        let copied: usize = self.samples.iter().map(Sample::copied_bytes).sum();
        let mut out = Vec::with_capacity(bytes - payload + copied);
        if self.opens_segment {
            write_styp(&mut out);
        }
        write_box(&mut out, b"moof", |out| {
            write_mfhd(out, self.sequence_number);
            write_box(out, b"traf", |out| {
                self.write_tfhd(out);
                write_tfdt(out, self.base_decode_time);
                self.write_trun(out, fields, moof + 8);
            });
        });
        put_u32(&mut out, u32::try_from(8 + payload).expect("chunks are limited"));
        out.extend_from_slice(b"mdat");
        // Where the samples that are not copied stand in what is written here.
        let mut shared = Vec::new();
        for sample in self.samples {
            if sample.copied_bytes() > 0 {
                out.extend_from_slice(&sample.data);
            } else {
                shared.push((out.len(), &sample.data));
            }
        }
        debug_assert_eq!(out.len(), bytes - payload + copied, "the size was computed wrongly");
        Ok(interleave(out.into(), &shared))
    }

    /// Where the `moof` and the first sample lie in what [`write`](Self::write) makes, together one piece. When that
    /// sample is an IDR it can be decoded from there (H-74). `None` for a chunk of no samples.
    pub fn first_sample(&self) -> Option<ByteRange> {
        let first = self.samples.first()?;
        let offset = if self.opens_segment { STYP_BYTES } else { 0 };
        let moof = MOOF_FIXED_BYTES + self.fields().trun_bytes(self.samples.len());
        Some(ByteRange { offset: offset as u64, length: (moof + 8 + first.data.len()) as u64 })
    }

    /// Which fields differ from sample to sample and so are written (C-21).
    fn fields(&self) -> Fields {
        let duration = self.samples[0].duration;
        let durations = self.samples.iter().any(|sample| sample.duration != duration);
        let (first_flags, flags, composition_offsets) = match self.kind {
            TrackKind::Audio => (false, false, false),
            TrackKind::Video => {
                let flags = self.samples[1..].iter().any(|sample| sample.sync);
                let composition_offsets = self.samples.iter().any(|sample| sample.composition_offset != 0);
                (self.samples[0].sync && !flags, flags, composition_offsets)
            }
        };
        Fields { first_flags, durations, flags, composition_offsets }
    }

    /// `tfhd`: 8.8.7. Default base is `moof`; default duration and flags are here, so nothing relies on `trex`.
    fn write_tfhd(&self, out: &mut Vec<u8>) {
        write_full_box(out, b"tfhd", 0, 0x02_0028, |out| {
            put_u32(out, TRACK_ID);
            put_u32(out, self.samples[0].duration);
            put_u32(
                out,
                match self.kind {
                    TrackKind::Video => FLAGS_NON_SYNC,
                    TrackKind::Audio => FLAGS_SYNC,
                },
            );
        });
    }

    /// `trun`: 8.8.8.
    fn write_trun(&self, out: &mut Vec<u8>, fields: Fields, data_offset: usize) {
        let version = match self.kind {
            TrackKind::Video => 1, // composition offsets are signed
            TrackKind::Audio => 0,
        };
        write_full_box(out, b"trun", version, fields.trun_flags(), |out| {
            put_u32(out, u32::try_from(self.samples.len()).expect("no more samples than bytes"));
            put_u32(out, u32::try_from(data_offset).expect("chunks are limited"));
            if fields.first_flags {
                put_u32(out, FLAGS_SYNC);
            }
            for sample in self.samples {
                if fields.durations {
                    put_u32(out, sample.duration);
                }
                put_u32(out, u32::try_from(sample.data.len()).expect("chunks are limited"));
                if fields.flags {
                    put_u32(out, if sample.sync { FLAGS_SYNC } else { FLAGS_NON_SYNC });
                }
                if fields.composition_offsets {
                    out.extend_from_slice(&sample.composition_offset.to_be_bytes());
                }
            }
        });
    }
}

impl Sample {
    /// Bytes that are copied into a chunk: none of a sample that is worth sharing.
    fn copied_bytes(&self) -> usize {
        if self.data.len() < SHARED_BYTES_MIN { self.data.len() } else { 0 }
    }
}

/// `own` with each of `shared` put in at its place.
fn interleave(own: Bytes, shared: &[(usize, &Bytes)]) -> Pieces {
    let mut pieces = Vec::with_capacity(2 * shared.len() + 1);
    let mut done = 0;
    for (at, sample) in shared {
        if *at > done {
            pieces.push(own.slice(done..*at));
            done = *at;
        }
        pieces.push((*sample).clone());
    }
    if own.len() > done {
        pieces.push(own.slice(done..));
    }
    pieces.into_iter().collect()
}

/// Optional fields of a `trun`; data offset and sizes are always there.
#[derive(Clone, Copy)]
struct Fields {
    first_flags: bool,
    durations: bool,
    flags: bool,
    composition_offsets: bool,
}

impl Fields {
    fn trun_flags(self) -> u32 {
        let when = |there: bool, flag: u32| if there { flag } else { 0 };
        0x201
            | when(self.first_flags, 0x004)
            | when(self.durations, 0x100)
            | when(self.flags, 0x400)
            | when(self.composition_offsets, 0x800)
    }

    fn trun_bytes(self, samples: usize) -> usize {
        let per_sample = 1 + [self.durations, self.flags, self.composition_offsets].iter().filter(|it| **it).count();
        20 + if self.first_flags { 4 } else { 0 } + 4 * per_sample * samples
    }
}

/// `styp`: 8.16.2, brands as in cmaf.md, section 4.
fn write_styp(out: &mut Vec<u8>) {
    write_box(out, b"styp", |out| {
        out.extend_from_slice(b"cmfs\0\0\0\0cmfscmffcmflcmfciso6");
    });
}

/// `mfhd`: 8.8.5.
fn write_mfhd(out: &mut Vec<u8>, sequence_number: u32) {
    write_full_box(out, b"mfhd", 0, 0, |out| put_u32(out, sequence_number));
}

/// `tfdt`: decode time of the chunk's first sample, in ticks of the track. 8.8.12.
fn write_tfdt(out: &mut Vec<u8>, base_decode_time: u64) {
    write_full_box(out, b"tfdt", 1, 0, |out| put_u64(out, base_decode_time));
}

/// Sample flags (C-24): depends on no other sample.
const FLAGS_SYNC: u32 = 0x0200_0000;
/// Sample flags (C-24): depends on others, is no sync sample.
const FLAGS_NON_SYNC: u32 = 0x0101_0000;
/// `moof`, `mfhd`, `traf`, `tfhd` and `tfdt` without the `trun`.
const MOOF_FIXED_BYTES: usize = 8 + 16 + 8 + 24 + 20;
const STYP_BYTES: usize = 16 + 4 * 5;
/// A smaller sample is copied: a piece of its own costs about as much when it is made and each time it is sent.
const SHARED_BYTES_MIN: usize = 1024;
/// A second of 4K at the highest level's bitrate is a tenth of this.
const CHUNK_BYTES_MAX: usize = 1 << 30;
