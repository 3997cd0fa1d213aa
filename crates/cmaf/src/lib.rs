//! CMAF: init segments and chunks, written and read, sans-IO.
//!
//! [`video_init`] and [`audio_init`] write the CMAF header of a track, [`Chunk::write`] one `moof` and `mdat`. A part of
//! a playlist is one chunk, and a segment is its chunks one after another, so nothing else is ever written (C-2, C-3).
//! [`read`] reads both back, from us or from others, and [`check`] holds a sequence of chunks against the rules of C-50:
//! both are for tests and tools, not for the media path.
//!
//! This crate does not decide where parts end, and does not convert time: ticks come in as they go out.

mod boxes;
pub mod check;
mod chunk;
mod init;
pub mod read;

pub use boxes::FourCc;
pub use chunk::{Chunk, ChunkError, Sample, sequence_number};
pub use init::{audio_init, video_init};
