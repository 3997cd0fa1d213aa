//! Cutting messages up.

use bytes::{BufMut, BytesMut};

use super::header::BasicHeader;
use super::{CHUNK_SIZE_DEFAULT, CHUNK_SIZE_MAX, ChunkStreamId, EXTENDED};
use crate::{Message, MessageType};

/// Writes messages as chunks: a full header first, then deltas; a full one again when the message stream
/// changes or time goes back. New messages never start with a type 3 header, which peers read in different ways.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_size: u32,
    streams: Vec<ChunkStream>,
}

#[derive(Debug)]
struct ChunkStream {
    csid: ChunkStreamId,
    timestamp: u32,
    length: u32,
    kind: MessageType,
    stream_id: u32,
}

impl ChunkWriter {
    /// A writer at the first byte after the handshake.
    pub fn new() -> Self {
        Self { chunk_size: CHUNK_SIZE_DEFAULT, streams: Vec::new() }
    }

    /// Tells the peer a new chunk size and uses it from then on. It is kept in 1..=0xFFFFFF.
    pub fn set_chunk_size(&mut self, out: &mut BytesMut, size: u32) {
        let size = size.clamp(1, CHUNK_SIZE_MAX);
        let payload = size.to_be_bytes();
        self.write_parts(out, ChunkStreamId::CONTROL, 0, MessageType::SetChunkSize, 0, &payload);
        self.chunk_size = size;
    }

    /// Appends `message` on chunk stream `csid`. Its payload is below 16 MiB.
    pub fn write(&mut self, out: &mut BytesMut, csid: ChunkStreamId, message: &Message) {
        self.write_parts(out, csid, message.timestamp, message.kind, message.stream_id, &message.payload);
    }

    /// As [`write`](Self::write), for a payload that is not `Bytes`.
    pub(crate) fn write_parts(
        &mut self,
        out: &mut BytesMut,
        csid: ChunkStreamId,
        timestamp: u32,
        kind: MessageType,
        stream_id: u32,
        payload: &[u8],
    ) {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        assert!(length <= CHUNK_SIZE_MAX, "a message of {length} bytes does not fit its length field");
        let index = self.streams.iter().position(|stream| stream.csid == csid);
        let (format, time) = match index.map(|index| &self.streams[index]) {
            Some(last)
                if last.stream_id == stream_id && (timestamp.wrapping_sub(last.timestamp)).cast_signed() >= 0 =>
            {
                let same = last.length == length && last.kind == kind;
                (if same { 2 } else { 1 }, timestamp.wrapping_sub(last.timestamp))
            }
            _ => (0, timestamp),
        };
        let stream = ChunkStream { csid, timestamp, length, kind, stream_id };
        match index {
            Some(index) => self.streams[index] = stream,
            None => self.streams.push(stream),
        }

        let extended = (time >= EXTENDED).then_some(time);
        BasicHeader::write(out, format, csid);
        put_u24(out, time.min(EXTENDED));
        if format < 2 {
            put_u24(out, length);
            out.put_u8(kind.number());
        }
        if format == 0 {
            out.put_u32_le(stream_id);
        }
        out.extend_from_slice(extended.map(u32::to_be_bytes).as_ref().map_or(&[], <[u8; 4]>::as_slice));
        for (index, chunk) in payload.chunks(self.chunk_size as usize).enumerate() {
            if index > 0 {
                BasicHeader::write(out, 3, csid);
                out.extend_from_slice(extended.map(u32::to_be_bytes).as_ref().map_or(&[], <[u8; 4]>::as_slice));
            }
            out.extend_from_slice(chunk);
        }
    }
}

impl Default for ChunkWriter {
    fn default() -> Self {
        Self::new()
    }
}

fn put_u24(out: &mut BytesMut, value: u32) {
    out.put_slice(&value.to_be_bytes()[1..]);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn written(messages: &[(u32, u32, usize)]) -> Vec<u8> {
        let (mut writer, mut out) = (ChunkWriter::new(), BytesMut::new());
        for (timestamp, stream_id, length) in messages {
            let payload = Bytes::from(vec![0xEE; *length]);
            let message = Message { timestamp: *timestamp, kind: MessageType::Video, stream_id: *stream_id, payload };
            writer.write(&mut out, ChunkStreamId::new(6).unwrap(), &message);
        }
        out.to_vec()
    }

    /// type 0 first, then deltas.
    #[test]
    fn headers_shrink_while_nothing_changes() {
        let first = [0x06, 0, 0, 10, 0, 0, 1, 9, 1, 0, 0, 0, 0xEE];
        assert_eq!(written(&[(10, 1, 1)]), first);
        assert_eq!(written(&[(10, 1, 1), (50, 1, 2)])[13..], [0x46, 0, 0, 40, 0, 0, 2, 9, 0xEE, 0xEE]);
        assert_eq!(written(&[(10, 1, 1), (50, 1, 1)])[13..], [0x86, 0, 0, 40, 0xEE]);
    }

    ///
    #[test]
    fn a_full_header_comes_when_time_goes_back_or_the_stream_changes() {
        assert_eq!(written(&[(10, 1, 1), (9, 1, 1)])[13..], [0x06, 0, 0, 9, 0, 0, 1, 9, 1, 0, 0, 0, 0xEE]);
        assert_eq!(written(&[(10, 1, 1), (11, 2, 1)])[13..], [0x06, 0, 0, 11, 0, 0, 1, 9, 2, 0, 0, 0, 0xEE]);
    }

    /// the extended time is repeated in each chunk of the message.
    #[test]
    fn an_extended_timestamp_stands_in_every_chunk() {
        let bytes = written(&[(0x0100_0000, 1, 130)]);
        assert_eq!(bytes[..16], [0x06, 0xFF, 0xFF, 0xFF, 0, 0, 130, 9, 1, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[16 + 128..], [0xC6, 1, 0, 0, 0, 0xEE, 0xEE]);
        assert_eq!(written(&[(0x00FF_FFFE, 1, 0)])[1..4], [0xFF, 0xFF, 0xFE]);
        assert_eq!(
            written(&[(0x00FF_FFFF, 1, 0)])[1..],
            [0xFF, 0xFF, 0xFF, 0, 0, 0, 9, 1, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF]
        );
    }
}
