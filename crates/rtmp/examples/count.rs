//! Reads ten seconds of a stream of 6 Mbit/s, made up, so that callgrind can count what a megabyte costs the reader:
//! `count chunks|session CHUNK_SIZE`; `cargo xtask bench-reader` runs it. What is counted is in [`counted`].
#![expect(clippy::print_stdout, reason = "a tool for developers: it prints")]

use bytes::{Bytes, BytesMut};
use headwater_amf0::{Object, Value, write};
use headwater_media::Instant;
use headwater_rtmp::{
    ChunkReader, ChunkStreamId, ChunkWriter, Event, Incoming, Limits, Message, MessageType, ServerConfig, ServerSession,
};

/// What the service takes from the socket at once.
const READ_BYTES: usize = 64 << 10;
const NOW: Instant = Instant::from_millis(0);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(what), Some(chunk_size)) = (arguments.next(), arguments.next()) else {
        return Err("usage: count chunks|session CHUNK_SIZE".into());
    };
    let (opening, media) = stream(chunk_size.parse()?);
    let (messages, bytes) = match &*what {
        "chunks" => {
            let mut reader = ChunkReader::new(Limits::default());
            // The handshake is none of its affair.
            read_chunks(&mut reader, &opening[HANDSHAKE_BYTES..])?;
            counted_chunks(&mut reader, &media)?
        }
        _ => {
            let mut session = ServerSession::new(NOW, ServerConfig::default(), 1);
            read_session(&mut session, &opening)?;
            counted_session(&mut session, &media)?
        }
    };
    println!(
        "{what}, chunks of {chunk_size}: {} bytes on the wire, {messages} messages, {bytes} bytes in them",
        media.len()
    );
    Ok(())
}

/// What callgrind counts: the chunk reader alone.
#[inline(never)]
fn counted_chunks(reader: &mut ChunkReader, media: &[u8]) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    read_chunks(reader, media)
}

/// What callgrind counts: the whole session.
#[inline(never)]
fn counted_session(session: &mut ServerSession, media: &[u8]) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    read_session(session, media)
}

fn read_chunks(reader: &mut ChunkReader, media: &[u8]) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let (mut messages, mut bytes) = (0, 0);
    for mut input in media.chunks(READ_BYTES) {
        while let Some(incoming) = reader.read(&mut input)? {
            if let Incoming::Message(message) = incoming {
                messages += 1;
                bytes += message.payload.len();
            }
        }
    }
    Ok((messages, bytes))
}

fn read_session(session: &mut ServerSession, media: &[u8]) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let (mut messages, mut bytes) = (0, 0);
    for input in media.chunks(READ_BYTES) {
        session.handle_input(NOW, input)?;
        while let Some(event) = session.poll_event() {
            match event {
                Event::ConnectRequest(_) => session.accept_connect(NOW)?,
                Event::PublishRequest(request) => session.accept_publish(NOW, request.id)?,
                Event::Audio(message) | Event::Video(message) => {
                    messages += 1;
                    bytes += message.payload.len();
                }
                _ => {}
            }
        }
        while session.poll_transmit().is_some() {}
    }
    Ok((messages, bytes))
}

const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;

/// What a publisher sends until it may publish, and then 300 pictures with 469 frames of sound.
fn stream(chunk_size: u32) -> (BytesMut, BytesMut) {
    let (mut writer, mut opening, mut media) = (ChunkWriter::new(), BytesMut::new(), BytesMut::new());
    opening.extend_from_slice(&[3]);
    opening.resize(HANDSHAKE_BYTES, 0);
    let app = Object::default().with("app", "live");
    for (stream_id, command) in [
        (0, vec!["connect".into(), 1u32.into(), app.into()]),
        (0, vec!["createStream".into(), 2u32.into(), Value::Null]),
        (1, vec!["publish".into(), 3u32.into(), Value::Null, "name".into()]),
    ] {
        let mut payload = Vec::new();
        command.iter().for_each(|value| write(&mut payload, value));
        put(&mut writer, &mut opening, MessageType::Command, (stream_id, 0), payload);
    }
    writer.set_chunk_size(&mut opening, chunk_size);
    let mut sounds = (0..).map(|number: u32| number * 64 / 3).peekable();
    for number in 0..300_u32 {
        let now = number * 100 / 3;
        while let Some(sound) = sounds.next_if(|sound| *sound <= now) {
            put(&mut writer, &mut media, MessageType::Audio, (1, sound), vec![0xAF; 343]);
        }
        let length = if number % 60 == 0 { 135_000 } else { 22_600 };
        put(&mut writer, &mut media, MessageType::Video, (1, now), vec![0x27; length]);
    }
    (opening, media)
}

fn put(
    writer: &mut ChunkWriter,
    out: &mut BytesMut,
    kind: MessageType,
    (stream_id, timestamp): (u32, u32),
    bytes: Vec<u8>,
) {
    let csid = ChunkStreamId::new(if kind == MessageType::Video { 6 } else { 4 }).expect("both are chunk streams");
    writer.write(out, csid, &Message { timestamp, kind, stream_id, payload: Bytes::from(bytes) });
}
