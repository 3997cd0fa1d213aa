//! Putting messages together.

use std::fmt;

use bytes::Bytes;

use super::header::{BasicHeader, HEADER_BYTES_MAX, MessageHeader, read_u32};
use super::{CHUNK_SIZE_DEFAULT, CHUNK_SIZE_MAX, ChunkError, ChunkStreamId};
use crate::message::{FirstBytes, MessageStart};
use crate::{Limits, Message, MessageType};

/// Reads chunks, gives messages.
///
/// ```text
///            header complete                    chunk's payload complete
///   Header ------------------> Payload(chunk) --------------------------> Header
///     |  an empty message is complete here        a message may be complete here
/// ```
pub struct ChunkReader {
    limits: Limits,
    chunk_size: u32,
    /// One per csid; a publisher uses two to five, so a list is the quickest map.
    streams: Vec<ChunkStream>,
    /// The chunk whose payload comes next.
    current: Option<CurrentChunk>,
    /// Bytes of a header that is not complete. After a mistaken look for an extended timestamp (R-21) they can be
    /// payload.
    pending: Pending,
    /// Bytes in all partial messages.
    partial_bytes: usize,
    /// Timestamps that were told by how near they are (R-22).
    guessed_timestamps: u64,
}

/// What comes out of the reader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Incoming {
    /// An audio, video or data message has begun.
    Start {
        /// What is known of it.
        start: MessageStart,
        /// Its message stream.
        stream_id: u32,
    },
    /// A message is complete. Set Chunk Size and Abort have been obeyed already.
    Message(Message),
}

#[derive(Clone, Copy, Debug)]
struct CurrentChunk {
    stream: usize,
    left: usize,
}

/// State of one chunk stream (R-24).
struct ChunkStream {
    csid: ChunkStreamId,
    timestamp: u32,
    /// What a message with a type 3 header adds (R-22).
    delta: u32,
    length: u32,
    kind: MessageType,
    stream_id: u32,
    /// The `u32` that stood in for the time field of the last header (R-20).
    extended: Option<u32>,
    /// Whether the last header before a type 3 was of type 0.
    absolute: bool,
    /// The message being received.
    partial: Option<Partial>,
}

#[derive(Default)]
struct Partial {
    payload: Vec<u8>,
    started: bool,
}

#[derive(Default)]
struct Pending {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

/// Room made for a message when its first byte arrives. More is made as more arrives (R-5).
const PAYLOAD_RESERVED: usize = 64 << 10;

impl fmt::Debug for ChunkReader {
    /// Without the bytes that it holds: they may be part of a stream key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkReader")
            .field("chunk_size", &self.chunk_size)
            .field("chunk_streams", &self.streams.len())
            .field("partial_bytes", &self.partial_bytes)
            .finish_non_exhaustive()
    }
}

impl ChunkReader {
    /// A reader at the first byte after the handshake.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            chunk_size: CHUNK_SIZE_DEFAULT,
            streams: Vec::new(),
            current: None,
            pending: Pending::default(),
            partial_bytes: 0,
            guessed_timestamps: 0,
        }
    }

    /// How often a type 3 header could be read in two ways (R-22).
    pub(crate) fn guessed_timestamps(&self) -> u64 {
        self.guessed_timestamps
    }

    /// Takes bytes from the front of `input` until something is complete; `None` when `input` is used up.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, ChunkError> {
        loop {
            let incoming = match self.current {
                Some(chunk) => match self.read_payload(chunk, input)? {
                    Progress::NeedsInput => return Ok(None),
                    Progress::Continue => continue,
                    Progress::Incoming(incoming) => incoming,
                },
                None => match self.read_header(input)? {
                    true => continue,
                    false => return Ok(None),
                },
            };
            match &incoming {
                Incoming::Message(message) if message.kind == MessageType::SetChunkSize => {
                    self.chunk_size = chunk_size(&message.payload)?;
                }
                Incoming::Message(message) if message.kind == MessageType::Abort => self.abort(&message.payload),
                _ => {}
            }
            return Ok(Some(incoming));
        }
    }

    /// Reads a header if it is there, `false` if not.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<bool, ChunkError> {
        if self.pending.length == 0
            && let Some(length) = self.parse_header(input)?
        {
            *input = &input[length..];
            return Ok(true);
        }
        let before = self.pending.length;
        self.pending.fill(input);
        let pending = self.pending.bytes;
        match self.parse_header(&pending[..self.pending.length])? {
            Some(length) if length >= before => {
                *input = &input[length - before..];
                self.pending.length = 0;
                Ok(true)
            }
            Some(length) => {
                // The bytes that were kept hold more than the header: the rest of them is payload.
                self.pending.length = before;
                self.pending.consume(length);
                Ok(true)
            }
            None => {
                // Less than a header is there, so all of `input` is in `pending` now.
                *input = &[];
                Ok(false)
            }
        }
    }

    /// Reads a header from the front of `bytes` and starts or continues its message. The length of the header, or
    /// `None` when bytes are missing; then nothing has changed.
    fn parse_header(&mut self, bytes: &[u8]) -> Result<Option<usize>, ChunkError> {
        let Some(basic) = BasicHeader::read(bytes) else { return Ok(None) };
        let rest = &bytes[basic.length..];
        let Some(index) = self.streams.iter().position(|stream| stream.csid == basic.csid) else {
            return self.parse_first_header(basic, rest);
        };
        let stream = &mut self.streams[index];
        let length = if basic.format == 3 {
            let guessed = u64::from(stream.opens_with_either());
            match stream.apply_type_3(rest) {
                Some(length) => {
                    self.guessed_timestamps += guessed;
                    length
                }
                None => return Ok(None),
            }
        } else {
            let Some((header, length)) = MessageHeader::read(basic.format, rest) else { return Ok(None) };
            stream.apply(basic.format, header)?;
            length
        };
        self.begin_chunk(index)?;
        Ok(Some(basic.length + length))
    }

    /// The first chunk of a chunk stream (R-25).
    fn parse_first_header(&mut self, basic: BasicHeader, rest: &[u8]) -> Result<Option<usize>, ChunkError> {
        let BasicHeader { format, csid, length } = basic;
        if format >= 2 {
            return Err(ChunkError::NoPreviousHeader { csid, header_type: format });
        }
        if self.streams.len() == self.limits.chunk_streams_max {
            return Err(ChunkError::TooManyChunkStreams { csid, limit: self.limits.chunk_streams_max });
        }
        let Some((header, header_length)) = MessageHeader::read(format, rest) else { return Ok(None) };
        let mut stream = ChunkStream::new(csid);
        stream.apply(format, header)?;
        self.streams.push(stream);
        self.begin_chunk(self.streams.len() - 1)?;
        Ok(Some(length + header_length))
    }

    /// A header has been applied: sets up its payload.
    fn begin_chunk(&mut self, index: usize) -> Result<(), ChunkError> {
        let stream = &mut self.streams[index];
        let limit = self.limits.length_max(stream.kind);
        if stream.length > limit {
            return Err(ChunkError::MessageTooLong {
                csid: stream.csid,
                kind: stream.kind,
                announced: stream.length,
                limit,
            });
        }
        let partial = stream.partial.get_or_insert_default();
        let left = (stream.length as usize - partial.payload.len()).min(self.chunk_size as usize);
        self.current = Some(CurrentChunk { stream: index, left });
        Ok(())
    }

    fn read_payload(&mut self, chunk: CurrentChunk, input: &mut &[u8]) -> Result<Progress, ChunkError> {
        let stream = &mut self.streams[chunk.stream];
        let length = stream.length as usize;
        let partial = stream.partial.get_or_insert_default();
        let from_pending = chunk.left.min(self.pending.length);
        let taken = if from_pending > 0 {
            partial.extend(&self.pending.bytes[..from_pending], length);
            self.pending.consume(from_pending);
            from_pending
        } else {
            let taken = chunk.left.min(input.len());
            partial.extend(&input[..taken], length);
            *input = &input[taken..];
            taken
        };
        self.partial_bytes += taken;
        if self.partial_bytes > self.limits.partial_bytes_max {
            return Err(ChunkError::TooMuchPartial { limit: self.limits.partial_bytes_max });
        }
        let left = chunk.left - taken;
        self.current = Some(CurrentChunk { left, ..chunk });

        if !partial.started && partial.payload.len() >= length.min(FirstBytes::LENGTH_MAX) {
            partial.started = true;
            if let Some(kind) = stream.kind.media() {
                let first = FirstBytes::of(&partial.payload);
                let start = MessageStart { kind, timestamp: stream.timestamp, length: stream.length, first };
                let stream_id = stream.stream_id;
                return Ok(Progress::Incoming(Incoming::Start { start, stream_id }));
            }
        }
        if partial.payload.len() == length {
            self.current = None;
            let payload = Bytes::from(std::mem::take(&mut partial.payload));
            stream.partial = None;
            self.partial_bytes -= length;
            return Ok(Progress::Incoming(Incoming::Message(stream.message(payload))));
        }
        if left == 0 {
            self.current = None;
            return Ok(Progress::Continue);
        }
        Ok(if taken == 0 { Progress::NeedsInput } else { Progress::Continue })
    }

    /// Drops the partial message of a chunk stream; its header stays (R-28). Nonsense is ignored.
    fn abort(&mut self, payload: &[u8]) {
        let Some(number) = read_u32(payload) else { return };
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.csid.number() == number)
            && let Some(partial) = stream.partial.take()
        {
            self.partial_bytes -= partial.payload.len();
        }
    }
}

enum Progress {
    NeedsInput,
    Continue,
    Incoming(Incoming),
}

impl ChunkStream {
    fn new(csid: ChunkStreamId) -> Self {
        Self {
            csid,
            timestamp: 0,
            delta: 0,
            length: 0,
            kind: MessageType::Other(0),
            stream_id: 0,
            extended: None,
            absolute: false,
            partial: None,
        }
    }

    /// A header of type 0, 1 or 2.
    fn apply(&mut self, format: u8, header: MessageHeader) -> Result<(), ChunkError> {
        self.extended = header.extended.then_some(header.time);
        if let Some(partial) = &self.partial {
            // R-26: types 1 and 2 may continue a message, their time is ignored.
            let announced = header.message.map_or(self.length, |(length, _)| length);
            if format == 0 || announced != self.length {
                let missing = self.length - length_u32(partial.payload.len());
                return Err(ChunkError::MessageNotComplete {
                    csid: self.csid,
                    header_type: format,
                    announced,
                    missing,
                });
            }
            return Ok(());
        }
        if let Some((length, kind)) = header.message {
            self.length = length;
            self.kind = kind.into();
        }
        if let Some(stream_id) = header.stream_id {
            self.stream_id = stream_id;
        }
        self.absolute = format == 0;
        self.timestamp = if self.absolute { header.time } else { self.timestamp.wrapping_add(header.time) };
        self.delta = header.time;
        Ok(())
    }

    /// Whether a type 3 header would open a message with a field that is a timestamp or a delta (R-22).
    fn opens_with_either(&self) -> bool {
        self.partial.is_none() && self.absolute && self.extended.is_some()
    }

    /// A header of type 3: continues a message or opens one like the last. The length of its extended timestamp;
    /// `None` when bytes are missing.
    fn apply_type_3(&mut self, rest: &[u8]) -> Option<usize> {
        let Some(last) = self.extended else {
            if self.partial.is_none() {
                self.timestamp = self.timestamp.wrapping_add(self.delta);
            }
            return Some(0);
        };
        if self.partial.is_some() {
            // R-21: some publishers leave the field out. Where the bytes differ from it they are payload; that shows
            // with the first byte that differs, so four bytes are waited for only while they are the same.
            let expected = last.to_be_bytes();
            let compared = rest.len().min(4);
            if rest[..compared] != expected[..compared] {
                return Some(0);
            }
            return (compared == 4).then_some(4);
        }
        let field = read_u32(rest)?;
        // R-22: after a type 0 header the field should be a timestamp, but is a delta from some publishers.
        let jump = field.wrapping_sub(self.timestamp).cast_signed();
        self.timestamp = if self.absolute && jump.unsigned_abs() <= ABSOLUTE_WITHIN_MILLIS {
            field
        } else {
            self.timestamp.wrapping_add(field)
        };
        self.extended = Some(field);
        self.delta = field;
        Some(4)
    }

    fn message(&self, payload: Bytes) -> Message {
        Message { timestamp: self.timestamp, kind: self.kind, stream_id: self.stream_id, payload }
    }
}

impl Partial {
    /// Appends bytes of a message of `length` bytes. Room is made as they arrive, four times as much each time, so that
    /// a keyframe is moved once, but never more than the whole message needs: it will be kept for seconds.
    fn extend(&mut self, bytes: &[u8], length: usize) {
        let needed = self.payload.len() + bytes.len();
        if needed > self.payload.capacity() {
            let room = (4 * self.payload.capacity()).max(PAYLOAD_RESERVED).max(needed).min(length);
            self.payload.reserve_exact(room - self.payload.len());
        }
        self.payload.extend_from_slice(bytes);
    }
}

impl Pending {
    /// Copies as much of `input` as there is room for, without taking it away.
    fn fill(&mut self, input: &[u8]) {
        let taken = input.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + taken].copy_from_slice(&input[..taken]);
        self.length += taken;
    }

    fn consume(&mut self, length: usize) {
        self.bytes.copy_within(length..self.length, 0);
        self.length -= length;
    }
}

/// How near an extended field of a type 3 header is to the last timestamp if it is one (R-22).
const ABSOLUTE_WITHIN_MILLIS: u32 = 10_000;

fn chunk_size(payload: &[u8]) -> Result<u32, ChunkError> {
    match read_u32(payload) {
        Some(size @ 1..=0x7FFF_FFFF) => Ok(size.min(CHUNK_SIZE_MAX)),
        size => Err(ChunkError::ChunkSize { size }),
    }
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a message has at most 2^24 - 1 bytes")
}

#[cfg(test)]
mod tests;
