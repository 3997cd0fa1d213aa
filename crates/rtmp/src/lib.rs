//! RTMP 1.0, sans-IO: the server's end of a connection and a publisher's.
//!
//! [`ServerSession`] takes a publisher's bytes and gives its audio, video and data messages; [`ClientSession`] is the
//! publisher. Both are driven by `handle_*` and `poll_*` calls. Below them lie the chunk stream ([`ChunkReader`],
//! [`ChunkWriter`]) and messages ([`Message`]). What is inside an audio or video message is the `flv` crate's affair.
//!
//! Not here: sockets, clocks, `play`, RTMPE and RTMPT. Numbers such as R-31 are those of the checklist in `docs/spec/rtmp.md`.
//!
//! A publisher and a server, with two buffers where sockets would be:
//!
//! ```
//! use headwater_media::Instant;
//! use headwater_rtmp::{ClientConfig, ClientEvent, ClientSession, Event, MediaKind, ServerConfig, ServerSession};
//!
//! let now = Instant::from_millis(0);
//! let url = "rtmp://localhost/live/show".parse()?;
//! let mut publisher = ClientSession::new(now, ClientConfig::new(&url, "example"), 1);
//! let mut server = ServerSession::new(now, ServerConfig::default(), 2);
//!
//! let mut received = Vec::new();
//! while received.is_empty() {
//!     while let Some(bytes) = publisher.poll_transmit() {
//!         server.handle_input(now, &bytes)?;
//!     }
//!     while let Some(event) = server.poll_event() {
//!         match event {
//!             Event::ConnectRequest(_) => server.accept_connect(now)?,
//!             Event::PublishRequest(request) => server.accept_publish(now, request.id)?,
//!             Event::Video(message) => received = message.payload.to_vec(),
//!             _ => {}
//!         }
//!     }
//!     while let Some(bytes) = server.poll_transmit() {
//!         publisher.handle_input(now, &bytes)?;
//!     }
//!     if let Some(ClientEvent::Accepted) = publisher.poll_event() {
//!         publisher.send(MediaKind::Video, 0, b"an FLV tag body")?;
//!     }
//! }
//! assert_eq!(received, b"an FLV tag body");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
mod chunk;
mod client;
mod command;
mod enhanced;
mod error;
mod handshake;
mod limits;
mod link;
mod message;
mod name;
mod server;
mod status;

pub use chunk::{ChunkError, ChunkReader, ChunkStreamId, ChunkWriter, Incoming};
pub use client::{ClientConfig, ClientError, ClientEvent, ClientSession};
pub use enhanced::{CodecUse, Extensions, Offers};
pub use error::{Activity, Error};
pub use handshake::HandshakeError;
pub use limits::{Limits, Timeouts};
pub use link::Statistics;
pub use message::{FirstBytes, MediaKind, MediaMessage, Message, MessageStart, MessageType};
pub use name::{Parameters, PublishUrl, Scheme, UrlError};
pub use server::{ConnectRequest, EVENTS_AT_ONCE, Event, PublishRequest, RequestId, ServerConfig, ServerSession};
pub use status::StatusCode;
