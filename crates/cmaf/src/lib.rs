//! CMAF: init segments and chunks, written and read, sans-IO.
//!
//! [`video_init`] and [`audio_init`] write the CMAF header of a track, [`Chunk::write`] one `moof` and `mdat`. A part of
//! a playlist is one chunk, and a segment is its chunks one after another, so nothing else is ever written (C-2, C-3).
//! [`read`] reads both back, from us or from others, and [`check`] holds a sequence of chunks against the rules of C-50:
//! both are for tests and tools, not for the media path.
//!
//! This crate does not decide where parts end, and does not convert time: ticks come in as they go out. It writes one
//! track per file, and nothing that is encrypted or has edit lists.
//!
//! ```
//! use headwater_cmaf::check::{Place, TrackCheck};
//! use headwater_cmaf::{Chunk, Sample, audio_init, sequence_number};
//! use headwater_media::{AacConfig, AudioConfig, MediaSequence, PartIndex, TrackKind};
//!
//! let init = audio_init(&AudioConfig::Aac(AacConfig::lc(48_000, 2)?)).ok_or("AAC has an init segment")?;
//! let frame = Sample { data: vec![0x21; 300].into(), duration: 1024, composition_offset: 0, sync: true };
//! let chunk = Chunk {
//!     kind: TrackKind::Audio,
//!     sequence_number: sequence_number(MediaSequence(1), PartIndex(0)),
//!     base_decode_time: 0,
//!     opens_segment: true,
//!     samples: &[frame.clone(), frame],
//! };
//! let part = chunk.write()?;
//!
//! let mut check = TrackCheck::new(&init.data)?;
//! check.chunk(Place::First, &part);
//! assert_eq!((check.findings(), check.end()), (&[][..], Some(2048)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod audio_entry;
mod boxes;
pub mod check;
mod chunk;
mod init;
pub mod read;

pub use boxes::FourCc;
pub use chunk::{Chunk, ChunkError, Sample, sequence_number};
pub use init::{audio_init, video_init};
