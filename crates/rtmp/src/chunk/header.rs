//! The bytes in front of a chunk's payload.

use bytes::{BufMut, BytesMut};

use super::{ChunkStreamId, EXTENDED};

/// Longest header: 3 bytes basic, 11 bytes message, 4 bytes extended timestamp.
pub(super) const HEADER_BYTES_MAX: usize = 18;

/// Format and chunk stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BasicHeader {
    /// 0 to 3.
    pub(super) format: u8,
    pub(super) csid: ChunkStreamId,
    /// Bytes that it took.
    pub(super) length: usize,
}

impl BasicHeader {
    /// `None` when bytes are missing.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        let (number, length) = match (first & 0x3F, rest) {
            (0, [low, ..]) => (64 + u32::from(*low), 2),
            (1, [low, high, ..]) => (64 + u32::from(*low) + 256 * u32::from(*high), 3),
            (0 | 1, _) => return None,
            (number, _) => (u32::from(number), 1),
        };
        Some(Self { format: first >> 6, csid: ChunkStreamId(number), length })
    }

    /// Appends the shortest form.
    pub(super) fn write(out: &mut BytesMut, format: u8, csid: ChunkStreamId) {
        let format = format << 6;
        let byte = |number: u32| u8::try_from(number & 0xFF).expect("masked to a byte");
        match csid.number() {
            number @ 0..64 => out.put_u8(format | byte(number)),
            number @ 64..320 => out.put_slice(&[format, byte(number - 64)]),
            number => out.put_slice(&[format | 1, byte(number - 64), byte((number - 64) >> 8)]),
        }
    }
}

/// What stands between basic header and extended timestamp, as far as the format has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct MessageHeader {
    /// Timestamp or delta, already replaced by the extended one.
    pub(super) time: u32,
    /// Whether it was extended.
    pub(super) extended: bool,
    /// Length and type: formats 0 and 1.
    pub(super) message: Option<(u32, u8)>,
    /// Message stream: format 0.
    pub(super) stream_id: Option<u32>,
}

impl MessageHeader {
    /// Reads the header of a format 0, 1 or 2 and its extended timestamp; also how long they are. `None` when bytes
    /// are missing.
    pub(super) fn read(format: u8, bytes: &[u8]) -> Option<(Self, usize)> {
        let mut length = [11, 7, 3][usize::from(format)];
        let fields = bytes.get(..length)?;
        let mut time = u24(fields);
        let extended = time == EXTENDED;
        if extended {
            time = read_u32(&bytes[length..])?;
            length += 4;
        }
        let message = (format < 2).then(|| (u24(&fields[3..]), fields[6]));
        // The only little-endian field of the protocol.
        let stream_id = (format == 0).then(|| u32::from_le_bytes([fields[7], fields[8], fields[9], fields[10]]));
        Some((Self { time, extended, message, stream_id }, length))
    }
}

/// A big-endian `u32` at the front; `None` when bytes are missing.
pub(super) fn read_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The first three bytes, which the caller knows to be there.
fn u24(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// the vectors of the checklist, shortest form.
    #[test]
    fn basic_headers_have_one_to_three_bytes() {
        let vectors: [(u32, &[u8]); 7] = [
            (3, &[0x03]),
            (63, &[0x3F]),
            (64, &[0x00, 0x00]),
            (319, &[0x00, 0xFF]),
            (320, &[0x01, 0x00, 0x01]),
            (365, &[0x01, 0x2D, 0x01]),
            (65_599, &[0x01, 0xFF, 0xFF]),
        ];
        for (number, bytes) in vectors {
            let csid = ChunkStreamId::new(number).unwrap();
            let mut out = BytesMut::new();
            BasicHeader::write(&mut out, 0, csid);
            assert_eq!(out, bytes);
            assert_eq!(BasicHeader::read(bytes), Some(BasicHeader { format: 0, csid, length: bytes.len() }));
            for cut in 0..bytes.len() {
                assert_eq!(BasicHeader::read(&bytes[..cut]), None);
            }
        }
    }

    /// 64 to 319 may come in the longest form.
    #[test]
    fn both_long_forms_are_read() {
        let read = BasicHeader::read(&[0xC1, 0x05, 0x00]);
        assert_eq!(read, Some(BasicHeader { format: 3, csid: ChunkStreamId(69), length: 3 }));
    }
}
