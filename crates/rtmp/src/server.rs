//! The server's end of a connection.

mod commands;
mod request;

use std::collections::VecDeque;

use bytes::Bytes;
use headwater_amf0::{Object, Value};
use headwater_media::Instant;

pub use request::{ConnectRequest, PublishRequest, RequestId};

use crate::chunk::Incoming;
use crate::command::Command;
use crate::handshake::{Context, Handshake};
use crate::link::{Link, WINDOW_BYTES, wire_millis};
use crate::message::{MediaKind, MediaMessage, MessageStart};
use crate::{
    Activity, ChunkStreamId, Error, Extensions, Limits, Message, MessageType, Offers, Statistics, StatusCode, Timeouts,
    status,
};

/// How a server session behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerConfig {
    /// What the publisher may make us hold.
    pub limits: Limits,
    /// What it must do in which time.
    pub timeouts: Timeouts,
    /// Chunk size of what we send.
    pub chunk_size: u32,
    /// What is taken over Enhanced RTMP. Told to publishers that speak of it (R-80).
    pub offers: Offers,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { limits: Limits::default(), timeouts: Timeouts::default(), chunk_size: 4096, offers: Offers::default() }
    }
}

/// When [`ServerSession::handle_some_input`] stops. A tenth of it is what a publisher's bytes that come at once are.
pub const EVENTS_AT_ONCE: usize = 256;

/// What the application should know or decide.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Answer with [`ServerSession::accept_connect`] or [`ServerSession::reject_connect`].
    ConnectRequest(ConnectRequest),
    /// Answer with [`ServerSession::accept_publish`] or [`ServerSession::reject_publish`]. There is at most one per
    /// connection. Nothing comes before the answer; what the publisher sends in the meantime is kept until then.
    PublishRequest(PublishRequest),
    /// An audio, video or data message has begun.
    MessageStart(MessageStart),
    /// An FLV audio tag body.
    Audio(MediaMessage),
    /// An FLV video tag body.
    Video(MediaMessage),
    /// AMF0 values.
    Data(MediaMessage),
    /// The publisher has ended its stream, or is gone before its request was answered. Comes once, and not after a
    /// rejection.
    PublishEnded {
        /// It said so (R-51). `false`: the connection was lost or broken.
        clean: bool,
    },
    /// Close the connection now: what was to be said before has had its time.
    Close,
}

/// Server end of one RTMP connection. Does no I/O and never reads a clock.
///
/// Between two `handle_*` calls, drain [`poll_event`](Self::poll_event) and then
/// [`poll_transmit`](Self::poll_transmit). When the connection is lost, call
/// [`handle_disconnect`](Self::handle_disconnect) and drain the events once more. An error ends the session, too; the
/// events before it are still there.
///
/// ```text
/// Handshake --> Connecting --accept_connect--> Connected --publish--> Requested --accept_publish--> Publishing
///                                                                                                       | unpublish
///                                                                                                     Ended
/// any state but Handshake --reject_*, close_with_status--> Closing --time--> Closed
/// any state --handle_disconnect, error--> Closed
/// ```
#[derive(Debug)]
pub struct ServerSession {
    config: ServerConfig,
    seed: u64,
    link: Link,
    state: State,
    events: VecDeque<Event>,
    /// What came in while the application was to answer a request. It waits in line behind the answer (R-47), so that
    /// it does not matter how the input was cut.
    held: VecDeque<Incoming>,
    held_bytes: usize,
    /// Message streams created; their ids are 1 to this.
    streams: u32,
    /// FCPublish was sent: its answer is due when the publish is accepted (R-43).
    flash_publisher: bool,
    /// When a ping was sent, if nothing came in since.
    pinged: Option<Instant>,
    /// Extensions that the publisher knows.
    extensions: Extensions,
}

#[derive(Debug)]
enum State {
    Handshake {
        since: Instant,
        handshake: Handshake,
    },
    Connecting {
        since: Instant,
        /// The transaction and request that the application has not answered.
        request: Option<(f64, ConnectRequest)>,
    },
    Connected {
        since: Instant,
        connect: ConnectRequest,
    },
    Requested {
        request: RequestId,
        stream_id: u32,
    },
    Publishing {
        stream_id: u32,
        last_media: Instant,
    },
    Ended {
        /// The publisher should have closed by then.
        until: Instant,
    },
    Closing {
        at: Instant,
    },
    Closed,
}

impl ServerSession {
    /// A connection that has just been accepted. `seed` fills the handshake; it guards nothing.
    pub fn new(now: Instant, config: ServerConfig, seed: u64) -> Self {
        Self {
            config,
            seed,
            link: Link::new(now, config.limits),
            state: State::Handshake { since: now, handshake: Handshake::server() },
            events: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            streams: 0,
            flash_publisher: false,
            pinged: None,
            extensions: Extensions::default(),
        }
    }

    /// Takes bytes as they came off the socket, split anywhere.
    pub fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<(), Error> {
        self.take_input(now, &mut { input }, usize::MAX).map(|_| ())
    }

    /// The same, but stops when [`EVENTS_AT_ONCE`] events or more wait, and gives `false`: the rest of `input`, and of the
    /// message that it is in, comes with the next call. A byte can be a message, so who is given bytes by strangers takes the
    /// events away before it goes on. `true` when all has been dealt with.
    pub fn handle_some_input(&mut self, now: Instant, input: &mut &[u8]) -> Result<bool, Error> {
        self.take_input(now, input, EVENTS_AT_ONCE)
    }

    /// `now` has passed [`poll_timeout`](Self::poll_timeout). Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if let State::Closing { at } | State::Ended { until: at } = self.state {
            if at <= now {
                self.state = State::Closed;
                self.events.push_back(Event::Close);
            }
            return Ok(());
        }
        if let Some((deadline, activity, after)) = self.deadline()
            && deadline <= now
        {
            self.handle_disconnect();
            return Err(Error::TimedOut { activity, after });
        }
        match self.ping_at() {
            Some(at) if at <= now && self.pinged.is_some() => {
                self.handle_disconnect();
                return Err(Error::TimedOut { activity: Activity::Input, after: 2 * self.config.timeouts.ping });
            }
            Some(at) if at <= now => {
                self.pinged = Some(now);
                self.link.send_ping(wire_millis(now));
            }
            _ => {}
        }
        Ok(())
    }

    /// The connection is lost or closed by the peer. Gives [`Event::PublishEnded`] if something was published.
    pub fn handle_disconnect(&mut self) {
        self.end_publish(State::Closed, false);
        self.state = State::Closed;
    }

    /// What the application should know or decide.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes to write to the socket, in order.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.link.poll_transmit()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if let State::Closing { at } | State::Ended { until: at } = self.state {
            return Some(at);
        }
        let deadline = self.deadline().map(|(deadline, ..)| deadline);
        deadline.into_iter().chain(self.ping_at()).min()
    }

    /// Counts of this connection.
    pub fn statistics(&self) -> Statistics {
        self.link.statistics
    }

    /// Lets the publisher go on to `publish` (R-40).
    pub fn accept_connect(&mut self, now: Instant) -> Result<(), Error> {
        let State::Connecting { request, .. } = &mut self.state else { return Err(Error::NoRequest) };
        let Some((transaction, connect)) = request.take() else { return Err(Error::NoRequest) };
        self.extensions = connect.extensions();
        let offers = if connect.is_enhanced() { self.config.offers } else { Offers::default() };
        self.state = State::Connected { since: now, connect };

        self.link.send_window(WINDOW_BYTES);
        self.link.send_peer_bandwidth(WINDOW_BYTES);
        self.link.send_chunk_size(self.config.chunk_size);
        self.link.send_stream_begin(0);
        let server = Object::default().with("fmsVer", "FMS/3,0,1,123").with("capabilities", 31u32);
        let info = Object::default()
            .with("level", "status")
            .with("code", status::CONNECT_SUCCESS)
            .with("description", "Connection succeeded.")
            .with("objectEncoding", 0u32);
        // "Within an object as one of the parameters", says the specification: clients look in either.
        let (server, info) = (offers.tell(server), offers.tell(info));
        let result = Command::new("_result", transaction, server, vec![info.into()]);
        self.link.send_command(ChunkStreamId::COMMAND, 0, &result);
        self.take_held(now)
    }

    /// Refuses `connect` (R-49) with [`StatusCode::ConnectInvalidApp`] or [`StatusCode::ConnectRejected`] and closes.
    pub fn reject_connect(&mut self, now: Instant, code: StatusCode, description: &str) -> Result<(), Error> {
        let State::Connecting { request: Some((transaction, _)), .. } = &self.state else {
            return Err(Error::NoRequest);
        };
        let error = Command::new("_error", *transaction, Value::Null, vec![error_info(code, description).into()]);
        self.link.send_command(ChunkStreamId::COMMAND, 0, &error);
        self.close_soon(now);
        Ok(())
    }

    /// Lets the publisher publish (R-46). Media that it sent too early comes out as events now.
    pub fn accept_publish(&mut self, now: Instant, answered: RequestId) -> Result<(), Error> {
        let stream_id = match self.state {
            State::Requested { request, stream_id } if request == answered => stream_id,
            _ => return Err(Error::NoRequest),
        };
        self.state = State::Publishing { stream_id, last_media: now };

        self.link.send_stream_begin(stream_id);
        if self.flash_publisher {
            let info = Object::default()
                .with("code", status::PUBLISH_START)
                .with("description", "The stream is being published.");
            let command = Command::new("onFCPublish", 0.0, Value::Null, vec![info.into()]);
            self.link.send_command(ChunkStreamId::COMMAND, 0, &command);
        }
        self.send_status(stream_id, status_info(status::PUBLISH_START, "The stream is being published."));
        self.take_held(now)
    }

    /// Refuses to let the publisher publish, says why, and closes shortly after (R-48).
    pub fn reject_publish(
        &mut self,
        now: Instant,
        answered: RequestId,
        code: StatusCode,
        description: &str,
    ) -> Result<(), Error> {
        match self.state {
            State::Requested { request, stream_id } if request == answered => {
                self.send_status(stream_id, error_info(code, description));
                self.close_soon(now);
                Ok(())
            }
            _ => Err(Error::NoRequest),
        }
    }

    /// Ends the connection for a reason that the publisher should read, at any time: an error status on its stream, then
    /// [`Event::Close`]. No further media and no [`Event::PublishEnded`] comes. Before the handshake is done, nothing
    /// can be said.
    pub fn close_with_status(&mut self, now: Instant, code: StatusCode, description: &str) {
        match &self.state {
            State::Closing { .. } | State::Closed => return,
            State::Handshake { .. } => {}
            State::Connecting { request: Some((transaction, _)), .. } => {
                let info = error_info(code, description).into();
                let error = Command::new("_error", *transaction, Value::Null, vec![info]);
                self.link.send_command(ChunkStreamId::COMMAND, 0, &error);
            }
            State::Requested { stream_id, .. } | State::Publishing { stream_id, .. } => {
                let stream_id = *stream_id;
                self.send_status(stream_id, error_info(code, description));
            }
            State::Connecting { .. } | State::Connected { .. } | State::Ended { .. } => {
                self.send_status(0, error_info(code, description));
            }
        }
        self.close_soon(now);
    }

    /// Asks the publisher to connect again, to `tc_url` or to where it is, and serves it on until it goes (R-82). `false`
    /// when it cannot be asked: it does not know how, or is not connected.
    pub fn request_reconnect(&mut self, tc_url: Option<&str>, description: &str) -> bool {
        let connected =
            matches!(self.state, State::Connected { .. } | State::Requested { .. } | State::Publishing { .. });
        if !connected || !self.extensions.has(Extensions::RECONNECT) {
            return false;
        }
        let info = status_info(status::RECONNECT_REQUEST, description);
        let info = tc_url.into_iter().fold(info, |info, tc_url| info.with("tcUrl", tc_url));
        self.send_status(0, info);
        true
    }

    /// What has waited in the queue is dropped with the rest: nothing comes after a rejection but the close.
    fn close_soon(&mut self, now: Instant) {
        self.events.clear();
        self.held.clear();
        self.state = State::Closing { at: now + self.config.timeouts.close };
    }

    fn take_input(&mut self, now: Instant, input: &mut &[u8], events_max: usize) -> Result<bool, Error> {
        let before = input.len();
        let result = self.read_input(now, input, events_max);
        self.link.count_input(now, before - input.len());
        self.pinged = None;
        match &result {
            Ok(_) => self.link.acknowledge(),
            Err(_) => self.handle_disconnect(),
        }
        result
    }

    /// Whether it took everything.
    fn read_input(&mut self, now: Instant, input: &mut &[u8], events_max: usize) -> Result<bool, Error> {
        if let State::Handshake { handshake, .. } = &mut self.state {
            let context = Context { millis: wire_millis(now), seed: self.seed };
            if !handshake.read(input, context, self.link.out())? {
                return Ok(true);
            }
            self.state = State::Connecting { since: now, request: None };
        }
        while self.events.len() < events_max {
            // A peer that is being sent away may go on sending until it reads why.
            if matches!(self.state, State::Closing { .. } | State::Closed) {
                *input = &[];
                return Ok(true);
            }
            match self.link.read(input)? {
                Some(incoming) if self.is_asking() => self.hold(incoming)?,
                Some(incoming) => self.handle_incoming(now, incoming)?,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Whether the application has a request to answer.
    fn is_asking(&self) -> bool {
        matches!(self.state, State::Connecting { request: Some(_), .. } | State::Requested { .. })
    }

    fn hold(&mut self, incoming: Incoming) -> Result<(), Error> {
        // An empty message costs memory, too.
        self.held_bytes += size_of::<Incoming>();
        if let Incoming::Message(message) = &incoming {
            self.held_bytes += message.payload.len();
        }
        if self.held_bytes > self.config.limits.held_bytes_max {
            return Err(Error::HeldTooMuch { limit: self.config.limits.held_bytes_max });
        }
        self.held.push_back(incoming);
        Ok(())
    }

    /// Goes on with what was held, up to the next request.
    fn take_held(&mut self, now: Instant) -> Result<(), Error> {
        while !self.is_asking() {
            let Some(incoming) = self.held.pop_front() else {
                self.held_bytes = 0;
                break;
            };
            if let Err(error) = self.handle_incoming(now, incoming) {
                self.handle_disconnect();
                return Err(error);
            }
        }
        Ok(())
    }

    fn handle_incoming(&mut self, now: Instant, incoming: Incoming) -> Result<(), Error> {
        match incoming {
            Incoming::Start { start, stream_id } => {
                if self.is_published(stream_id) {
                    self.events.push_back(Event::MessageStart(start));
                }
                Ok(())
            }
            Incoming::Message(message) => self.handle_message(now, message),
        }
    }

    fn handle_message(&mut self, now: Instant, message: Message) -> Result<(), Error> {
        match message.kind {
            MessageType::Command | MessageType::CommandAmf3 => self.handle_command(now, message),
            kind => match kind.media() {
                Some(kind) if self.is_published(message.stream_id) => {
                    self.handle_media(now, kind, message);
                    Ok(())
                }
                _ => {
                    self.link.statistics.skipped += 1;
                    Ok(())
                }
            },
        }
    }

    fn handle_media(&mut self, now: Instant, kind: MediaKind, message: Message) {
        let mut payload = message.payload;
        if message.kind == MessageType::DataAmf3 && payload.first() == Some(&0) {
            payload = payload.slice(1..); // R-38: the format byte
        }
        let message = MediaMessage { timestamp: message.timestamp, payload };
        if let State::Publishing { last_media, .. } = &mut self.state
            && kind != MediaKind::Data
        {
            *last_media = now;
        }
        self.events.push_back(match kind {
            MediaKind::Audio => Event::Audio(message),
            MediaKind::Video => Event::Video(message),
            MediaKind::Data => Event::Data(message),
        });
    }

    /// Whether media on this message stream belongs to the publish.
    fn is_published(&self, media_stream_id: u32) -> bool {
        match self.state {
            State::Publishing { stream_id, .. } => media_stream_id == stream_id || media_stream_id == 0,
            _ => false,
        }
    }

    /// The first sign of an end counts (R-50).
    fn end_publish(&mut self, next: State, clean: bool) {
        if matches!(self.state, State::Requested { .. } | State::Publishing { .. }) {
            self.events.push_back(Event::PublishEnded { clean });
            self.state = next;
        }
    }

    fn send_status(&mut self, stream_id: u32, info: Object) {
        let command = Command::new("onStatus", 0.0, Value::Null, vec![info.into()]);
        self.link.send_command(ChunkStreamId::STATUS, stream_id, &command);
    }

    /// When the session ends for want of what (R-3).
    fn deadline(&self) -> Option<(Instant, Activity, std::time::Duration)> {
        let timeouts = &self.config.timeouts;
        let (since, activity, after) = match &self.state {
            State::Handshake { since, .. } => (*since, Activity::Handshake, timeouts.handshake),
            State::Connecting { since, request: None, .. } | State::Connected { since, .. } => {
                (*since, Activity::Publish, timeouts.publish)
            }
            State::Publishing { last_media, .. } => (*last_media, Activity::Media, timeouts.media),
            _ => return None,
        };
        Some((since + after, activity, after))
    }

    /// When a ping is due, or has gone unanswered for too long (R-34).
    fn ping_at(&self) -> Option<Instant> {
        match self.state {
            State::Handshake { .. } | State::Ended { .. } | State::Closing { .. } | State::Closed => None,
            _ => Some(self.pinged.unwrap_or(self.link.last_input()) + self.config.timeouts.ping),
        }
    }
}

fn status_info(code: &str, description: &str) -> Object {
    Object::default().with("level", "status").with("code", code).with("description", description)
}

fn error_info(code: StatusCode, description: &str) -> Object {
    Object::default().with("level", "error").with("code", code.as_str()).with("description", description)
}
