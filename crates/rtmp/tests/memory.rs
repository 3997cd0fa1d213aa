//! What a peer can make a server session hold, by the allocator's own account.
//!
//! One test, because everything in this program is counted together.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use bytes::{Bytes, BytesMut};
use headwater_amf0::{Object, Value, write};
use headwater_media::Instant;
use headwater_rtmp::{
    ChunkStreamId, ChunkWriter, Error, Event, Limits, Message, MessageType, ServerConfig, ServerSession,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
/// As the service reads them.
const READ_BYTES: usize = 64 << 10;

/// How far the application lets the peer come.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    /// It may publish at once.
    Publish,
    /// It waits for an answer to its publish request.
    Connect,
    /// It waits, and may publish when it has sent everything.
    PublishAtLast,
}

/// Bytes held at the worst moment, and how it ended.
fn peak(answers: Answers, attack: &[u8]) -> (usize, Result<(), Error>) {
    let now = Instant::from_millis(0);
    let opening = opening();
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let mut session = ServerSession::new(now, ServerConfig::default(), 1);
    let mut request = None;
    let mut result = Ok(());
    'reads: for mut input in opening.chunks(READ_BYTES).chain(attack.chunks(READ_BYTES)) {
        let mut is_all = false;
        while !is_all {
            let taken = session.handle_some_input(now, &mut input);
            is_all = taken.as_ref().is_ok_and(|is_all| *is_all);
            result = taken.map(|_| ());
            while let Some(event) = session.poll_event() {
                match event {
                    Event::ConnectRequest(_) => session.accept_connect(now).unwrap(),
                    Event::PublishRequest(asked) if answers == Answers::Publish => {
                        session.accept_publish(now, asked.id).unwrap();
                    }
                    Event::PublishRequest(asked) => request = Some(asked.id),
                    _ => {}
                }
            }
            if result.is_err() {
                break 'reads;
            }
        }
        while session.poll_transmit().is_some() {}
    }
    if let (Answers::PublishAtLast, Some(id)) = (answers, request) {
        result = session.accept_publish(now, id);
    }
    (MEMORY.peak_usage() - before, result)
}

fn message(writer: &mut ChunkWriter, out: &mut BytesMut, kind: MessageType, stream_id: u32, payload: &[u8]) {
    let message = Message { timestamp: 0, kind, stream_id, payload: Bytes::copy_from_slice(payload) };
    writer.write(out, ChunkStreamId::COMMAND, &message);
}

fn values(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| write(&mut out, value));
    out
}

/// Handshake, connect, createStream, publish; then the largest chunk size.
fn opening() -> Vec<u8> {
    let (mut writer, mut out) = (ChunkWriter::new(), BytesMut::new());
    out.extend_from_slice(&[3]);
    out.resize(1 + 2 * 1536, 0);
    let app = Object::default().with("app", "live");
    for (stream_id, command) in [
        (0, vec!["connect".into(), 1u32.into(), app.into()]),
        (0, vec!["createStream".into(), 2u32.into(), Value::Null]),
        (1, vec!["publish".into(), 3u32.into(), Value::Null, "KEY".into()]),
    ] {
        message(&mut writer, &mut out, MessageType::Command, stream_id, &values(&command));
    }
    writer.set_chunk_size(&mut out, 0x00FF_FFFF);
    out.to_vec()
}

/// A full header and `sent` bytes of a message of `length` bytes.
fn chunk(csid: u8, kind: u8, length: usize, sent: usize) -> Vec<u8> {
    let [.., l0, l1, l2] = length.to_be_bytes();
    [&[csid, 0, 0, 0, l0, l1, l2, kind, 1, 0, 0, 0][..], &vec![0; sent]].concat()
}

/// A message of type `kind`, and the same again by headers of one byte.
fn repeated(kind: u8, payload: &[u8], times: usize) -> Vec<u8> {
    let first = [&chunk(4, kind, payload.len(), 0)[..], payload].concat();
    [first, [&[0xC4], payload].concat().repeat(times)].concat()
}

#[test]
fn no_peer_makes_a_session_hold_more_than_its_limits() {
    let limits = Limits::default();
    let command = |name: &str| values(&[name.into(), 7u32.into(), Value::Null, "KEY".into()]);
    let inner = |length: u8| [&[8, 0, 0, length, 0, 0, 0, 0, 0, 0, 0][..], &vec![0; usize::from(length) + 4]].concat();
    let aggregate = [inner(1), vec![0; 4 * MIB]].concat();
    let properties = (0..4000).fold(Object::default(), |object, _| object.with("", Value::Null));

    let attacks: [(&str, Answers, Vec<u8>, usize, bool); 13] = [
        ("nothing", Answers::Publish, vec![], MIB / 4, true),
        (
            "a byte of a long message on every chunk stream",
            Answers::Publish,
            // The chunk size is small again, so that the bytes of many messages can stand one after another.
            [
                vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1],
                (4..33).flat_map(|csid| chunk(csid, 9, 8 * MIB, 1)).collect(),
            ]
            .concat(),
            3 * MIB,
            true,
        ),
        (
            "halves of messages",
            Answers::Publish,
            [
                vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0x10, 0, 0],
                (4..33).flat_map(|csid| chunk(csid, 9, 8 * MIB, MIB)).collect(),
            ]
            .concat(),
            2 * limits.partial_bytes_max + 2 * MIB,
            false,
        ),
        ("one long message after another", Answers::Publish, chunk(4, 9, 8 * MIB, 8 * MIB).repeat(4), 17 * MIB, true),
        ("commands", Answers::Publish, repeated(20, &command("whatIsThis"), 50_000), MIB, true),
        ("pings", Answers::Publish, repeated(4, &[0, 6, 0, 0, 0, 0], 200_000), MIB, true),
        ("empty messages", Answers::Publish, repeated(8, &[], MIB / 2), 3 * MIB, true),
        (
            "many properties",
            Answers::Publish,
            repeated(20, &values(&["x".into(), 1u32.into(), properties.into()]), 20),
            2 * MIB,
            true,
        ),
        ("long texts", Answers::Publish, repeated(20, &values(&["x".repeat(250_000).into()]), 20), 2 * MIB, true),
        ("aggregates", Answers::Publish, repeated(22, &aggregate, 8), 10 * MIB, true),
        ("empty messages before the answer", Answers::Connect, repeated(8, &[], MIB), 3 * limits.held_bytes_max, false),
        ("aggregates before the answer", Answers::Connect, repeated(22, &aggregate, 16), 10 * MIB, true),
        (
            "empty messages, and the answer when no more fit",
            Answers::PublishAtLast,
            repeated(8, &[], limits.held_bytes_max / 2 / size_of::<headwater_rtmp::Incoming>() - 20),
            6 * limits.held_bytes_max,
            true,
        ),
    ];
    for (name, answers, attack, limit, survives) in attacks {
        let (peak, result) = peak(answers, &attack);
        println!("{name}: {peak} bytes of {limit}, {result:?}");
        assert!(peak <= limit, "{name}: {peak} bytes, {limit} are allowed");
        assert_eq!(result.is_ok(), survives, "{name}: {result:?}");
        assert!(result.is_ok() || result.unwrap_err().limit().is_some(), "{name}");
    }
}
