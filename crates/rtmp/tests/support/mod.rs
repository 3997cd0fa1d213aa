//! A peer that does exactly what a test says.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses some of it; helpers of tests, too")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater_amf0::{Object, Value, read_all, write};
use headwater_media::Instant;
use headwater_rtmp::{
    ChunkReader, ChunkStreamId, ChunkWriter, Error, Event, Incoming, Limits, Message, MessageType, PublishRequest,
    ServerConfig, ServerSession,
};

/// A peer after its handshake, and the session that it talks to.
pub(crate) struct Peer {
    pub(crate) now: Instant,
    pub(crate) session: ServerSession,
    writer: ChunkWriter,
    reader: ChunkReader,
}

/// A message of the server, as a test wants to compare it: a command's values, or type and payload.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Command(u32, Vec<Value>),
    Control(u8, Vec<u8>),
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self::with(ServerConfig::default())
    }

    pub(crate) fn with(config: ServerConfig) -> Self {
        let now = Instant::from_millis(1000);
        let mut session = ServerSession::new(now, config, 1);
        let mut hello = vec![3];
        hello.resize(1 + 2 * 1536, 0);
        session.handle_input(now, &hello).unwrap();
        while session.poll_transmit().is_some() {}
        Self { now, session, writer: ChunkWriter::new(), reader: ChunkReader::new(Limits::default()) }
    }

    /// A peer whose connect was accepted and that has stream 1.
    pub(crate) fn connected() -> Self {
        Self::connected_with(ServerConfig::default())
    }

    pub(crate) fn connected_with(config: ServerConfig) -> Self {
        let mut peer = Self::with(config);
        peer.connect();
        peer.command(0, "createStream", 4, &[]);
        peer.replies();
        peer
    }

    /// A peer that publishes on stream 1.
    pub(crate) fn publishing() -> Self {
        Self::publishing_with(ServerConfig::default())
    }

    pub(crate) fn publishing_with(config: ServerConfig) -> Self {
        let mut peer = Self::connected_with(config);
        let request = peer.publish(1);
        peer.session.accept_publish(peer.now, request.id).unwrap();
        peer.replies();
        peer
    }

    pub(crate) fn connect(&mut self) {
        self.send(0, MessageType::Command, &values(&["connect".into(), 1u32.into(), connect_object().into()])).unwrap();
        assert!(matches!(self.session.poll_event(), Some(Event::ConnectRequest(_))));
        self.session.accept_connect(self.now).unwrap();
    }

    pub(crate) fn publish(&mut self, stream_id: u32) -> PublishRequest {
        self.command(stream_id, "publish", 0, &["KEY".into(), "live".into()]);
        match self.session.poll_event() {
            Some(Event::PublishRequest(request)) => request,
            other => panic!("expected a publish request, found {other:?}"),
        }
    }

    pub(crate) fn send(&mut self, stream_id: u32, kind: MessageType, payload: &[u8]) -> Result<(), Error> {
        let mut out = BytesMut::new();
        let payload = Bytes::copy_from_slice(payload);
        let message = Message { timestamp: 0, kind, stream_id, payload };
        self.writer.write(&mut out, ChunkStreamId::COMMAND, &message);
        self.session.handle_input(self.now, &out)
    }

    pub(crate) fn command(&mut self, stream_id: u32, name: &str, transaction: u32, arguments: &[Value]) {
        let head = [name.into(), transaction.into(), Value::Null];
        self.send(stream_id, MessageType::Command, &values(&[&head, arguments].concat())).unwrap();
    }

    pub(crate) fn replies(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(bytes) = self.session.poll_transmit() {
            let mut input = &bytes[..];
            while let Some(incoming) = self.reader.read(&mut input).unwrap() {
                let Incoming::Message(message) = incoming else { continue };
                replies.push(match message.kind {
                    MessageType::Command => {
                        Reply::Command(message.stream_id, read_all(&message.payload, Default::default()).values)
                    }
                    kind => Reply::Control(kind.number(), message.payload.to_vec()),
                });
            }
        }
        replies
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// Lets time pass, step by step as the session wants it.
    pub(crate) fn wait(&mut self, time: Duration) -> Result<(), Error> {
        let end = self.now + time;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.session.handle_timeout(at)?;
        }
        self.now = end;
        Ok(())
    }
}

pub(crate) fn connect_object() -> Object {
    Object::default().with("app", "live").with("tcUrl", "rtmp://h/live")
}

pub(crate) fn values(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        write(&mut out, value);
    }
    out
}

pub(crate) fn result(transaction: u32, object: Value, value: Value) -> Reply {
    Reply::Command(0, vec!["_result".into(), transaction.into(), object, value])
}

pub(crate) fn status(stream_id: u32, level: &str, code: &str, description: &str) -> Reply {
    let info = Object::default().with("level", level).with("code", code).with("description", description);
    Reply::Command(stream_id, vec!["onStatus".into(), 0u32.into(), Value::Null, info.into()])
}

pub(crate) fn stream_begin(stream_id: u8) -> Reply {
    Reply::Control(4, vec![0, 0, 0, 0, 0, stream_id])
}

pub(crate) fn code_of(reply: &Reply) -> (Option<&str>, Option<&str>) {
    match reply {
        Reply::Command(_, values) => {
            let info = values.last().and_then(Value::as_object);
            (info.and_then(|info| info.text("level")), info.and_then(|info| info.text("code")))
        }
        Reply::Control(..) => (None, None),
    }
}
