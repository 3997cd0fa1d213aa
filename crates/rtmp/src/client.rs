//! A publisher's end of a connection.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use headwater_amf0::{Object, ReadError, Value};
use headwater_media::{Instant, StreamKey};

use crate::chunk::Incoming;
use crate::command::Command;
use crate::handshake::{Context, Handshake};
use crate::link::{Link, wire_millis};
use crate::{
    ChunkError, ChunkStreamId, HandshakeError, Limits, MediaKind, Message, MessageType, Offers, PublishUrl, status,
};

/// What a client publishes and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// `app` of the connect command.
    pub app: String,
    /// `tcUrl` of the connect command.
    pub tc_url: String,
    /// What `publish` names, its query included.
    pub name: StreamKey,
    /// `flashVer`: who we say we are.
    pub flash_version: String,
    /// Chunk size of what we send.
    pub chunk_size: u32,
    /// What the server may make us hold.
    pub limits: Limits,
    /// From the start until the publish is accepted or refused.
    pub timeout: Duration,
    /// What the server is told of Enhanced RTMP (R-80).
    pub offers: Offers,
}

impl ClientConfig {
    /// Publishes to `url` under the name of `flash_version`.
    pub fn new(url: &PublishUrl, flash_version: &str) -> Self {
        Self {
            app: url.app.clone(),
            tc_url: url.tc_url(),
            name: url.name.clone(),
            flash_version: flash_version.to_owned(),
            chunk_size: 4096,
            limits: Limits::default(),
            timeout: Duration::from_secs(15),
            offers: Offers::default(),
        }
    }
}

/// What a publisher should know.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Media may be sent.
    Accepted,
    /// The server refuses the connection or the stream, or ends it. Nothing more is sent: close the connection.
    Rejected {
        /// Such as `NetStream.Publish.BadName`.
        code: String,
        /// Why, in the server's words.
        description: String,
    },
    /// The server confirms the end of the stream.
    Unpublished,
    /// The server asks for another connection in place of this one, which it still serves (R-82). It asks only those that
    /// offer [`Extensions::RECONNECT`](crate::Extensions::RECONNECT).
    ReconnectRequested {
        /// Where to, absolute or relative; `None`: the same place.
        tc_url: Option<String>,
        /// Why, in the server's words.
        description: String,
    },
}

/// Why a client session cannot go on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server does not speak RTMP.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The server broke the chunk stream, or one of its limits.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command of the server goes over a limit.
    #[error(transparent)]
    Amf(#[from] ReadError),
    /// The answer to `createStream` has no usable number.
    #[error("the server answers createStream without the id of a stream")]
    NoStreamId,
    /// The publish was not accepted in time.
    #[error("the server did not accept the publish within {} s", after.as_secs())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// Media before [`ClientEvent::Accepted`], or after the end.
    #[error("media can be sent only while the stream is published")]
    NotPublishing,
    /// A payload that does not fit a message's length field.
    #[error("a message of {length} bytes is longer than RTMP allows, {limit}")]
    MessageTooLong {
        /// Length of the payload.
        length: usize,
        /// Longest payload.
        limit: usize,
    },
}

/// A publisher's end of one RTMP connection. Does no I/O and never reads a clock.
///
/// Between two calls, drain [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit).
///
/// ```text
/// Handshake --> Connecting --_result--> Creating --_result--> Requested --onStatus--> Publishing --unpublish--> Ended
/// any state --_error, onStatus "error"--> Ended
/// ```
#[derive(Debug)]
pub struct ClientSession {
    config: ClientConfig,
    deadline: Instant,
    seed: u64,
    link: Link,
    state: State,
    events: VecDeque<ClientEvent>,
}

#[derive(Debug)]
enum State {
    Handshake(Handshake),
    Connecting,
    Creating,
    Requested { stream_id: u32 },
    Publishing { stream_id: u32 },
    Ended,
}

/// Transactions, numbered as FFmpeg and librtmp do.
const CONNECT: u32 = 1;
const RELEASE_STREAM: u32 = 2;
const FC_PUBLISH: u32 = 3;
const CREATE_STREAM: u32 = 4;
const PUBLISH: u32 = 5;
const FC_UNPUBLISH: u32 = 6;
const DELETE_STREAM: u32 = 7;

/// Longest payload that a message's length field can say.
const PAYLOAD_BYTES_MAX: usize = 0x00FF_FFFF;

impl ClientSession {
    /// A connection that has just been made. `seed` fills the handshake; it guards nothing.
    pub fn new(now: Instant, config: ClientConfig, seed: u64) -> Self {
        let mut link = Link::new(now, config.limits);
        let handshake = Handshake::client(Context { millis: wire_millis(now), seed }, link.out());
        let deadline = now + config.timeout;
        Self { config, deadline, seed, link, state: State::Handshake(handshake), events: VecDeque::new() }
    }

    /// Takes bytes as they came off the socket, split anywhere.
    pub fn handle_input(&mut self, now: Instant, mut input: &[u8]) -> Result<(), ClientError> {
        self.link.count_input(now, input.len());
        if let State::Handshake(handshake) = &mut self.state {
            let context = Context { millis: wire_millis(now), seed: self.seed };
            if !handshake.read(&mut input, context, self.link.out())? {
                return Ok(());
            }
            self.connect();
        }
        while let Some(incoming) = self.link.read(&mut input)? {
            if let Incoming::Message(message) = incoming {
                self.handle_message(&message)?;
            }
        }
        self.link.acknowledge();
        Ok(())
    }

    /// `now` has passed [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ClientError> {
        match self.poll_timeout() {
            Some(deadline) if deadline <= now => Err(ClientError::TimedOut { after: self.config.timeout }),
            _ => Ok(()),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!matches!(self.state, State::Publishing { .. } | State::Ended)).then_some(self.deadline)
    }

    /// What the publisher should know.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Bytes to write to the socket, in order.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.link.poll_transmit()
    }

    /// Sends an audio, video or data message: an FLV tag body, or AMF0 values. `timestamp` is in milliseconds, wrapping.
    pub fn send(&mut self, kind: MediaKind, timestamp: u32, payload: &[u8]) -> Result<(), ClientError> {
        let State::Publishing { stream_id } = self.state else { return Err(ClientError::NotPublishing) };
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(ClientError::MessageTooLong { length: payload.len(), limit: PAYLOAD_BYTES_MAX });
        }
        let csid = match kind {
            MediaKind::Audio => AUDIO,
            MediaKind::Video => VIDEO,
            MediaKind::Data => DATA,
        };
        self.link.send(csid, timestamp, kind.message_type(), stream_id, payload);
        Ok(())
    }

    /// Ends the stream cleanly. Write what [`poll_transmit`](Self::poll_transmit) gives, then close the connection.
    pub fn unpublish(&mut self) {
        if let State::Publishing { stream_id } | State::Requested { stream_id } = self.state {
            let name = self.config.name.secret().into();
            self.send_command(FC_UNPUBLISH, "FCUnpublish", Value::Null, vec![name]);
            self.send_command(DELETE_STREAM, "deleteStream", Value::Null, vec![stream_id.into()]);
        }
        self.state = State::Ended;
    }

    fn connect(&mut self) {
        let config = &self.config;
        let properties = Object::default()
            .with("app", config.app.as_str())
            .with("type", "nonprivate")
            .with("flashVer", config.flash_version.as_str())
            .with("tcUrl", config.tc_url.as_str());
        let properties = config.offers.tell(properties);
        self.state = State::Connecting;
        self.send_command(CONNECT, "connect", properties.into(), vec![]);
    }

    fn handle_message(&mut self, message: &Message) -> Result<(), ClientError> {
        if !matches!(message.kind, MessageType::Command | MessageType::CommandAmf3) {
            return Ok(());
        }
        let Some(command) = Command::read(message, self.config.limits.amf0)? else { return Ok(()) };
        match command.name.as_str() {
            "_result" => self.handle_result(&command)?,
            // Only the refusal of these two ends the publish; servers answer the other commands with what they like.
            "_error" if is_answer(&command, CONNECT) || is_answer(&command, CREATE_STREAM) => self.reject(&command),
            "onStatus" => self.handle_status(&command),
            "close" => self.reject(&command),
            _ => {}
        }
        Ok(())
    }

    fn handle_result(&mut self, result: &Command) -> Result<(), ClientError> {
        match self.state {
            State::Connecting if is_answer(result, CONNECT) => {
                self.state = State::Creating;
                self.link.send_chunk_size(self.config.chunk_size);
                let name: Value = self.config.name.secret().into();
                self.send_command(RELEASE_STREAM, "releaseStream", Value::Null, vec![name.clone()]);
                self.send_command(FC_PUBLISH, "FCPublish", Value::Null, vec![name]);
                self.send_command(CREATE_STREAM, "createStream", Value::Null, vec![]);
            }
            State::Creating if is_answer(result, CREATE_STREAM) => {
                let number = result.arguments.first().and_then(Value::as_number);
                let stream_id = number.and_then(stream_id).ok_or(ClientError::NoStreamId)?;
                self.state = State::Requested { stream_id };
                let arguments = vec![self.config.name.secret().into(), "live".into()];
                let publish = Command::new("publish", f64::from(PUBLISH), Value::Null, arguments);
                self.link.send_command(PUBLISH_CSID, stream_id, &publish);
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_status(&mut self, status: &Command) {
        let info = status.info(0);
        let text = |name| info.and_then(|info| info.text(name)).unwrap_or_default();
        match (text("level"), text("code")) {
            ("error", _) => self.reject(status),
            (_, status::PUBLISH_START) => {
                if let State::Requested { stream_id } = self.state {
                    self.state = State::Publishing { stream_id };
                    self.events.push_back(ClientEvent::Accepted);
                }
            }
            (_, status::RECONNECT_REQUEST) => self.events.push_back(ClientEvent::ReconnectRequested {
                tc_url: info.and_then(|info| info.text("tcUrl")).map(str::to_owned),
                description: text("description").to_owned(),
            }),
            (_, status::UNPUBLISH_SUCCESS) => self.events.push_back(ClientEvent::Unpublished),
            _ => {}
        }
    }

    fn reject(&mut self, reason: &Command) {
        if matches!(self.state, State::Ended) {
            return;
        }
        let info = reason.info(0);
        let text = |name| info.and_then(|info| info.text(name)).unwrap_or_default().to_owned();
        self.events.push_back(ClientEvent::Rejected { code: text("code"), description: text("description") });
        self.state = State::Ended;
    }

    fn send_command(&mut self, transaction: u32, name: &str, object: Value, arguments: Vec<Value>) {
        let command = Command::new(name, f64::from(transaction), object, arguments);
        self.link.send_command(ChunkStreamId::COMMAND, 0, &command);
    }
}

fn is_answer(command: &Command, transaction: u32) -> bool {
    (command.transaction - f64::from(transaction)).abs() < 0.5
}

/// A number that names a message stream; 0 is the connection itself.
fn stream_id(number: f64) -> Option<u32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (1.0..=f64::from(u32::MAX)).contains(&number).then_some(number as u32)
}

const PUBLISH_CSID: ChunkStreamId = ChunkStreamId::new(8).expect("8 is a chunk stream");
const AUDIO: ChunkStreamId = ChunkStreamId::new(4).expect("4 is a chunk stream");
const DATA: ChunkStreamId = ChunkStreamId::new(5).expect("5 is a chunk stream");
const VIDEO: ChunkStreamId = ChunkStreamId::new(6).expect("6 is a chunk stream");
