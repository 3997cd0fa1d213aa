//! Chunks: slices of messages on the wire (RTMP 1.0, 5.3).
//!
//! [`ChunkReader`] puts messages together, [`ChunkWriter`] cuts them up. Both handle Set Chunk Size of their own
//! direction, the reader Abort as well, because these are about chunks and not about what is in them.

mod header;
mod reader;
mod writer;

use std::fmt;

pub use reader::{ChunkReader, Incoming};
pub use writer::ChunkWriter;

use crate::MessageType;

/// A chunk stream: which header a chunk's abbreviated header refers to. Nothing is ever bound to its number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChunkStreamId(u32);

impl ChunkStreamId {
    /// 2: protocol control (RTMP 1.0, 5.4).
    pub const CONTROL: Self = Self(2);
    /// 3: commands of the connection.
    pub const COMMAND: Self = Self(3);
    /// 5: status of the stream.
    pub const STATUS: Self = Self(5);

    /// `None` unless it is in 2..=65599.
    pub const fn new(number: u32) -> Option<Self> {
        if 2 <= number && number <= 65_599 { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ChunkStreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a chunk stream cannot be read on. Every variant ends the connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// A type 2 or 3 header refers to a header that this chunk stream never sent.
    #[error("chunk stream {csid} starts with header type {header_type}, expected type 0")]
    NoPreviousHeader {
        /// The chunk stream.
        csid: ChunkStreamId,
        /// 2 or 3.
        header_type: u8,
    },
    /// A new message starts while one is not complete.
    #[error(
        "chunk stream {csid}: header type {header_type} starts a message of {announced} bytes while {missing} bytes of another are missing"
    )]
    MessageNotComplete {
        /// The chunk stream.
        csid: ChunkStreamId,
        /// 0 or 1.
        header_type: u8,
        /// Length in the new header.
        announced: u32,
        /// What the message before still lacks.
        missing: u32,
    },
    /// Set Chunk Size with 0 or with its top bit set, or too short to hold a size.
    #[error("Set Chunk Size {size:?}, expected 1 to 0x7fffffff")]
    ChunkSize {
        /// The size, if there was one.
        size: Option<u32>,
    },
    /// The peer announced more than [`Limits`](crate::Limits) allows for this kind.
    #[error("message of {announced} bytes and type {kind} on chunk stream {csid}, limit is {limit}")]
    MessageTooLong {
        /// The chunk stream.
        csid: ChunkStreamId,
        /// The message's type.
        kind: MessageType,
        /// Length in the header.
        announced: u32,
        /// The limit.
        limit: u32,
    },
    /// More chunk streams than [`Limits::chunk_streams_max`](crate::Limits::chunk_streams_max).
    #[error("chunk stream {csid} would be one more than {limit}")]
    TooManyChunkStreams {
        /// The one too many.
        csid: ChunkStreamId,
        /// The limit.
        limit: usize,
    },
    /// A message inside an aggregate is longer than [`Limits`](crate::Limits) allows for its kind.
    #[error("message of {length} bytes and type {kind} in an aggregate, limit is {limit}")]
    LongInAggregate {
        /// The message's type.
        kind: MessageType,
        /// Its length.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// More messages in an aggregate than
    /// [`Limits::aggregate_messages_max`](crate::Limits::aggregate_messages_max).
    #[error("an aggregate of more than {limit} messages")]
    TooManyInAggregate {
        /// The limit.
        limit: usize,
    },
    /// More bytes in incomplete messages than [`Limits::partial_bytes_max`](crate::Limits::partial_bytes_max).
    #[error("incomplete messages hold more than {limit} bytes")]
    TooMuchPartial {
        /// The limit.
        limit: usize,
    },
}

impl ChunkError {
    /// As [`Error::limit`](crate::Error::limit).
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::MessageTooLong { kind, .. } | Self::LongInAggregate { kind, .. } => Some(match kind {
                MessageType::Video | MessageType::Aggregate => "video",
                MessageType::Audio => "audio",
                _ => "other",
            }),
            Self::TooManyInAggregate { .. } => Some("aggregate_messages"),
            Self::TooManyChunkStreams { .. } => Some("chunk_streams"),
            Self::TooMuchPartial { .. } => Some("partial"),
            Self::NoPreviousHeader { .. } | Self::MessageNotComplete { .. } | Self::ChunkSize { .. } => None,
        }
    }
}

/// Chunk size until Set Chunk Size (R-30's table).
const CHUNK_SIZE_DEFAULT: u32 = 128;
/// No message is longer, so neither is a chunk.
const CHUNK_SIZE_MAX: u32 = 0x00FF_FFFF;
/// A timestamp field with this value says: a `u32` follows.
const EXTENDED: u32 = 0x00FF_FFFF;
