//! Reads boxes, init segments and chunks back, ours and other people's. For tests and tools.
//!
//! Boxes that are not known are passed over; 64-bit sizes, size 0 and `uuid` are understood (C-49). Nothing is copied
//! but numbers, and no length field is believed before the bytes are there.

mod audio_entry;
mod boxes;
mod chunk;
mod init;

pub use boxes::{Boxes, Mp4Box, boxes};
pub use chunk::{ReadChunk, ReadSample, Run, chunks};
pub use init::{InitSegment, SampleDefaults, Track};

use headwater_media::CodecError;

use crate::FourCc;

/// Why bytes cannot be read as ISO BMFF.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A box claims a size that is smaller than its header or greater than what holds it.
    #[error("box {kind} at byte {offset} claims {size} bytes, {available} are there")]
    BoxSize {
        /// The box.
        kind: FourCc,
        /// Where it begins, from the start of what was read.
        offset: usize,
        /// Size that it claims, header included.
        size: u64,
        /// Bytes from its start to the end of what holds it.
        available: usize,
    },
    /// Fewer bytes than a box's header has.
    #[error("{available} bytes at byte {offset}, a box header has 8 or 16")]
    Header {
        /// Where they are.
        offset: usize,
        /// How many.
        available: usize,
    },
    /// A box ends inside one of its fields.
    #[error("box {kind} ends after {length} bytes, inside its fields")]
    Truncated {
        /// The box.
        kind: FourCc,
        /// Bytes in it, header not counted.
        length: usize,
    },
    /// A box that must be there is not.
    #[error("{parent} has no {kind}")]
    Missing {
        /// What should hold it; `file` for the top level.
        parent: FourCc,
        /// The box.
        kind: FourCc,
    },
    /// A field has a value that cannot be.
    #[error("{field} is {found}, expected {expected}")]
    Value {
        /// The field, box first.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What would do.
        expected: &'static str,
    },
    /// A decoder configuration in a sample entry cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Stands for the top level in errors.
const FILE: FourCc = FourCc(*b"file");
