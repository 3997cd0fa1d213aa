//! Chunks: what is written is read, however it is cut; any bytes are read without panic.

use bytes::{Bytes, BytesMut};
use headwater_rtmp::{ChunkReader, ChunkStreamId, ChunkWriter, Incoming, Limits, Message, MessageType};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Write(u32, Message),
    ChunkSize(u32),
}

fn timestamp() -> impl Strategy<Value = u32> {
    prop_oneof![0..5000u32, 0x00FF_FF00..0x0100_0100u32, any::<u32>()]
}

fn step() -> impl Strategy<Value = Step> {
    // Payloads of zeros and ones look like extended timestamps, the worst case for a reader.
    let payload = prop::collection::vec(0u8..2, 0..600);
    let kind = prop::sample::select(vec![
        MessageType::Audio,
        MessageType::Video,
        MessageType::Data,
        MessageType::Command,
        MessageType::Other(99),
    ]);
    let message = (timestamp(), kind, 0u32..3, payload).prop_map(|(timestamp, kind, stream_id, payload)| Message {
        timestamp,
        kind,
        stream_id,
        payload: Bytes::from(payload),
    });
    let csid = prop::sample::select(vec![2u32, 3, 4, 63, 64, 319, 320, 65_599]);
    prop_oneof![
        8 => (csid, message).prop_map(|(csid, message)| Step::Write(csid, message)),
        1 => (1u32..700).prop_map(Step::ChunkSize),
    ]
}

fn read(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<Incoming> {
    let (mut reader, mut all) = (ChunkReader::new(Limits::default()), Vec::new());
    for piece in pieces {
        let mut input = piece.as_ref();
        while let Some(incoming) = reader.read(&mut input).expect("what we write is right") {
            all.push(incoming);
        }
    }
    all
}

proptest! {
    ///
    #[test]
    fn messages_are_read_as_written(steps in prop::collection::vec(step(), 0..20), cut in 1usize..400) {
        let (mut writer, mut out) = (ChunkWriter::new(), BytesMut::new());
        let mut expected = Vec::new();
        for step in steps {
            match step {
                Step::Write(csid, message) => {
                    writer.write(&mut out, ChunkStreamId::new(csid).unwrap(), &message);
                    expected.push(message);
                }
                Step::ChunkSize(size) => writer.set_chunk_size(&mut out, size),
            }
        }
        let whole = read(std::iter::once(&out));
        let messages: Vec<Message> = whole
            .iter()
            .filter_map(|incoming| match incoming {
                Incoming::Message(message) if message.kind != MessageType::SetChunkSize => Some(message.clone()),
                _ => None,
            })
            .collect();
        prop_assert_eq!(messages, expected);
        prop_assert_eq!(read(out.chunks(cut)), whole);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), cut in 1usize..50) {
        let mut reader = ChunkReader::new(Limits::default());
        'pieces: for mut piece in bytes.chunks(cut) {
            loop {
                match reader.read(&mut piece) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'pieces,
                }
            }
        }
    }
}
