use super::*;
use crate::message::MediaKind;

/// Everything that comes out of `pieces`, read one after another.
fn read_pieces(pieces: &[&[u8]]) -> Result<Vec<Incoming>, ChunkError> {
    let (mut reader, mut all) = (ChunkReader::new(Limits::default()), Vec::new());
    for mut piece in pieces.iter().copied() {
        while let Some(incoming) = reader.read(&mut piece)? {
            all.push(incoming);
        }
        assert!(piece.is_empty());
    }
    Ok(all)
}

/// The messages in `bytes`: timestamp, type, payload length. They must be the same byte for byte.
fn messages(bytes: &[u8]) -> Result<Vec<(u32, u8, usize)>, ChunkError> {
    let whole = read_pieces(&[bytes])?;
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read_pieces(&single)?, whole);
    Ok(whole
        .into_iter()
        .filter_map(|incoming| match incoming {
            Incoming::Message(message) => Some((message.timestamp, message.kind.number(), message.payload.len())),
            Incoming::Start { .. } => None,
        })
        .collect())
}

fn payload(bytes: &[u8]) -> Vec<u8> {
    let incoming = read_pieces(&[bytes]).unwrap();
    match incoming.last() {
        Some(Incoming::Message(message)) => message.payload.to_vec(),
        other => panic!("expected a message, found {other:?}"),
    }
}

/// `bytes` with `n` bytes of payload behind it.
fn chunk(header: &[u8], n: usize) -> Vec<u8> {
    [header, &vec![0xEE; n]].concat()
}

/// what each type leaves out comes from the header before. R-22: a type 3 after a type 1 adds its delta again.
#[test]
fn each_header_type_leaves_out_more() {
    let bytes = [
        chunk(&[0x04, 0, 0, 100, 0, 0, 2, 9, 1, 0, 0, 0], 2),
        chunk(&[0x44, 0, 0, 40, 0, 0, 3, 8], 3),
        chunk(&[0x84, 0, 0, 20], 3),
        chunk(&[0xC4], 3),
    ]
    .concat();
    assert_eq!(messages(&bytes), Ok(vec![(100, 9, 2), (140, 8, 3), (160, 8, 3), (180, 8, 3)]));
}

/// after a type 0 header, a message with a type 3 header adds that header's timestamp.
#[test]
fn type_3_after_type_0_repeats_its_timestamp() {
    let bytes = [chunk(&[0x04, 0, 0, 100, 0, 0, 1, 9, 1, 0, 0, 0], 1), chunk(&[0xC4], 1)].concat();
    assert_eq!(messages(&bytes), Ok(vec![(100, 9, 1), (200, 9, 1)]));
}

/// the only little-endian field. R-18: chunk stream 64 + 5.
#[test]
fn the_message_stream_is_little_endian() {
    let bytes = chunk(&[0x00, 0x05, 0, 0, 0, 0, 0, 0, 9, 1, 2, 0, 0], 0);
    let incoming = read_pieces(&[&bytes]).unwrap();
    assert!(matches!(&incoming[1], Incoming::Message(message) if message.stream_id == 0x201));
}

const EXTENDED_0: [u8; 16] = [0x04, 0xFF, 0xFF, 0xFF, 0, 0, 130, 9, 1, 0, 0, 0, 1, 0, 0, 0];

/// the field is in every chunk, as the specification says and FFmpeg does.
#[test]
fn an_extended_timestamp_is_taken_from_continuations() {
    let bytes = [chunk(&EXTENDED_0, 128), chunk(&[0xC4, 1, 0, 0, 0], 2)].concat();
    assert_eq!(messages(&bytes), Ok(vec![(0x0100_0000, 9, 130)]));
    assert_eq!(payload(&bytes), [0xEE; 130]);
}

/// old librtmp leaves the field out of continuations.
#[test]
fn a_continuation_without_extended_timestamp_is_payload() {
    for tail in [[0xEE, 0xEE], [1, 0], [1, 1]] {
        let next = chunk(&[0x44, 0, 0, 1, 0, 0, 1, 9], 1);
        let bytes = [chunk(&EXTENDED_0, 128), vec![0xC4, tail[0], tail[1]], next].concat();
        assert_eq!(messages(&bytes), Ok(vec![(0x0100_0000, 9, 130), (0x0100_0001, 9, 1)]), "{tail:?}");
        let incoming = read_pieces(&[&bytes]).unwrap();
        assert!(matches!(&incoming[1], Incoming::Message(message) if message.payload[128..] == tail));
    }
}

/// in a type 1 header the field is a delta, and a type 3 header that opens a message has it again.
#[test]
fn an_extended_delta_is_added() {
    let bytes = [
        chunk(&[0x04, 0, 0, 5, 0, 0, 1, 9, 1, 0, 0, 0], 1),
        chunk(&[0x44, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 1, 0, 0, 0], 1),
        chunk(&[0xC4, 1, 0, 0, 0], 1),
    ]
    .concat();
    assert_eq!(messages(&bytes), Ok(vec![(5, 9, 1), (0x0100_0005, 9, 1), (0x0200_0005, 9, 1)]));
}

/// after an extended type 0 header, a type 3 header that opens a message holds a timestamp if it is near, else a
/// delta.
#[test]
fn type_3_after_an_extended_type_0_is_a_timestamp_or_a_delta() {
    let first = chunk(&[0x04, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 1, 0, 0, 0, 1, 0, 0, 0], 1);
    let near = [first.clone(), chunk(&[0xC4, 1, 0, 0, 33], 1)].concat();
    assert_eq!(messages(&near), Ok(vec![(0x0100_0000, 9, 1), (0x0100_0021, 9, 1)]));
    let far = [first, chunk(&[0xC4, 3, 0, 0, 0], 1)].concat();
    assert_eq!(messages(&far), Ok(vec![(0x0100_0000, 9, 1), (0x0400_0000, 9, 1)]));
}

/// 32 bits wrap.
#[test]
fn time_wraps() {
    let bytes = [
        chunk(&[0x04, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xF0], 1),
        chunk(&[0x84, 0, 0, 0x21], 1),
    ]
    .concat();
    assert_eq!(messages(&bytes), Ok(vec![(0xFFFF_FFF0, 9, 1), (0x11, 9, 1)]));
}

/// chunks of two streams alternate.
#[test]
fn chunk_streams_interleave() {
    let bytes = [
        chunk(&[0x04, 0, 0, 1, 0, 0, 130, 9, 1, 0, 0, 0], 128),
        chunk(&[0x05, 0, 0, 2, 0, 0, 200, 8, 1, 0, 0, 0], 128),
        chunk(&[0xC4], 2),
        chunk(&[0xC5], 72),
    ]
    .concat();
    assert_eq!(messages(&bytes), Ok(vec![(1, 9, 130), (2, 8, 200)]));
}

/// nothing follows the header of an empty message.
#[test]
fn an_empty_message_is_complete_with_its_header() {
    let bytes = [chunk(&[0x04, 0, 0, 1, 0, 0, 0, 8, 1, 0, 0, 0], 0), chunk(&[0x44, 0, 0, 1, 0, 0, 1, 8], 1)].concat();
    assert_eq!(messages(&bytes), Ok(vec![(1, 8, 0), (2, 8, 1)]));
}

/// librtmp answers a ping with a type 1 header on a fresh chunk stream.
#[test]
fn a_fresh_chunk_stream_may_begin_with_type_1_only() {
    assert_eq!(messages(&chunk(&[0x42, 0, 0, 7, 0, 0, 6, 4], 6)), Ok(vec![(7, 4, 6)]));
    let csid = ChunkStreamId::CONTROL;
    for header_type in [2, 3] {
        let error = ChunkError::NoPreviousHeader { csid, header_type };
        assert_eq!(messages(&[header_type << 6 | 2, 0, 0, 0]), Err(error));
    }
}

/// types 1 and 2 continue a message of the same length.
#[test]
fn types_1_and_2_may_continue_a_message() {
    let first = chunk(&[0x04, 0, 0, 9, 0, 0, 130, 9, 1, 0, 0, 0], 128);
    for header in [&[0x44u8, 0, 0, 77, 0, 0, 130, 9] as &[u8], &[0x84, 0, 0, 77]] {
        let next = chunk(&[0x44, 0, 0, 1, 0, 0, 1, 9], 1);
        let bytes = [first.clone(), chunk(header, 2), next].concat();
        assert_eq!(messages(&bytes), Ok(vec![(9, 9, 130), (10, 9, 1)]));
    }
}

///
#[test]
fn no_message_starts_inside_another() {
    let first = chunk(&[0x04, 0, 0, 9, 0, 0, 130, 9, 1, 0, 0, 0], 128);
    let csid = ChunkStreamId::new(4).unwrap();
    let error = |header_type, announced| ChunkError::MessageNotComplete { csid, header_type, announced, missing: 2 };
    let bytes = [first.clone(), chunk(&[0x04, 0, 0, 9, 0, 0, 130, 9, 1, 0, 0, 0], 2)].concat();
    assert_eq!(messages(&bytes), Err(error(0, 130)));
    let bytes = [first, chunk(&[0x44, 0, 0, 9, 0, 0, 131, 9], 2)].concat();
    assert_eq!(messages(&bytes), Err(error(1, 131)));
}

/// 300 bytes at 128; after the first chunk the size becomes 4096, so the second has all 172 bytes left.
#[test]
fn a_new_chunk_size_holds_within_a_message() {
    let bytes = [
        chunk(&[0x04, 0, 0, 1, 0, 1, 44, 9, 1, 0, 0, 0], 128),
        vec![0x02, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0x10, 0],
        chunk(&[0xC4], 172),
    ]
    .concat();
    assert_eq!(messages(&bytes), Ok(vec![(0, 1, 4), (1, 9, 300)]));
}

/// R-30 and its table: 1 to 0x7FFFFFFF, on any chunk stream and message stream.
#[test]
fn a_chunk_size_out_of_range_is_an_error() {
    let set = |size: u32| chunk(&[&[0x07, 0, 0, 0, 0, 0, 4, 1, 9, 0, 0, 0], &size.to_be_bytes()[..]].concat(), 0);
    for size in [1, 128, 0x0100_0000, 0x7FFF_FFFF] {
        assert_eq!(messages(&set(size)), Ok(vec![(0, 1, 4)]));
    }
    for size in [0, 0x8000_0000, u32::MAX] {
        assert_eq!(messages(&set(size)), Err(ChunkError::ChunkSize { size: Some(size) }));
    }
    let short = [0x02, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 9];
    assert_eq!(messages(&short), Err(ChunkError::ChunkSize { size: None }));
}

/// the partial message is gone, its header still counts.
#[test]
fn abort_drops_the_message_and_keeps_the_header() {
    let bytes = [
        chunk(&[0x04, 0, 0, 10, 0, 0, 200, 9, 1, 0, 0, 0], 128),
        vec![0x02, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 0, 0, 4],
        chunk(&[0x44, 0, 0, 5, 0, 0, 1, 9], 1),
    ]
    .concat();
    assert_eq!(messages(&bytes), Ok(vec![(0, 2, 4), (15, 9, 1)]));
}

///
#[test]
fn lengths_have_limits_by_type() {
    let announce = |kind: u8, length: u32| {
        let [_, l0, l1, l2] = length.to_be_bytes();
        messages(&[0x04, 0, 0, 0, l0, l1, l2, kind, 0, 0, 0, 0])
    };
    for (kind, limit) in [(9, 8 << 20), (8, 1 << 20), (18, 256 << 10), (20, 256 << 10), (99, 256 << 10)] {
        assert_eq!(announce(kind, limit), Ok(vec![]));
        let csid = ChunkStreamId::new(4).unwrap();
        let error = ChunkError::MessageTooLong { csid, kind: kind.into(), announced: limit + 1, limit };
        assert_eq!(announce(kind, limit + 1), Err(error));
    }
}

/// state for 32 chunk streams, and no more.
#[test]
fn chunk_streams_have_a_limit() {
    let bytes: Vec<u8> = (3..36).flat_map(|csid| [csid, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]).collect();
    assert_eq!(messages(&bytes[..32 * 12]).map(|messages| messages.len()), Ok(32));
    let csid = ChunkStreamId::new(35).unwrap();
    assert_eq!(messages(&bytes), Err(ChunkError::TooManyChunkStreams { csid, limit: 32 }));
}

/// the bytes of all partial messages together.
#[test]
fn partial_messages_have_a_limit() {
    let limits = Limits { partial_bytes_max: 250, ..Limits::default() };
    let mut reader = ChunkReader::new(limits);
    let part = |csid| chunk(&[csid, 0, 0, 0, 0, 0, 200, 8, 0, 0, 0, 0], 128);
    let read = |reader: &mut ChunkReader, bytes: &[u8]| {
        let mut input = bytes;
        while reader.read(&mut input)?.is_some() {}
        Ok(())
    };
    assert_eq!(read(&mut reader, &part(3)), Ok(()));
    assert_eq!(read(&mut reader, &chunk(&[0xC3], 72)), Ok(()));
    assert_eq!(read(&mut reader, &part(3)), Ok(()));
    assert_eq!(read(&mut reader, &part(4)), Err(ChunkError::TooMuchPartial { limit: 250 }));
}

/// sixteen headers that announce 8 MiB each cost no more than the first reservation.
#[test]
fn memory_follows_bytes_received() {
    let mut reader = ChunkReader::new(Limits::default());
    for csid in 3..19 {
        let header = [csid, 0, 0, 0, 0x80, 0, 0, 9, 0, 0, 0, 0];
        let mut input = &chunk(&header, 128)[..];
        while reader.read(&mut input).unwrap().is_some() {}
    }
    let held: usize = reader.streams.iter().filter_map(|s| Some(s.partial.as_ref()?.payload.capacity())).sum();
    assert!(held <= 16 * PAYLOAD_RESERVED, "{held} bytes are reserved");
}

/// A start comes as soon as 16 bytes are there, before the message, and tells what is known.
#[test]
fn a_message_has_a_start_before_it_is_complete() {
    let bytes = chunk(&[0x04, 0, 0, 7, 0, 0, 40, 9, 1, 0, 0, 0, 0x17, 1], 38);
    let mut reader = ChunkReader::new(Limits::default());
    let mut input = &bytes[..12 + 15];
    assert_eq!(reader.read(&mut input), Ok(None));
    let mut input = &bytes[12 + 15..12 + 16];
    let Ok(Some(Incoming::Start { start, stream_id: 1 })) = reader.read(&mut input) else { panic!("no start") };
    assert_eq!((start.kind, start.timestamp, start.length), (MediaKind::Video, 7, 40));
    assert_eq!(start.first[..3], [0x17, 1, 0xEE]);
    assert_eq!(start.first.len(), 16);
    let mut input = &bytes[12 + 16..];
    assert!(matches!(reader.read(&mut input), Ok(Some(Incoming::Message(_)))));

    let short = read_pieces(&[&chunk(&[0x04, 0, 0, 7, 0, 0, 1, 8, 1, 0, 0, 0], 1)]).unwrap();
    assert!(matches!(&short[0], Incoming::Start { start, .. } if start.first.len() == 1));
    let command = read_pieces(&[&chunk(&[0x04, 0, 0, 7, 0, 0, 1, 20, 1, 0, 0, 0], 1)]).unwrap();
    assert_eq!(command.len(), 1);
}
