//! RTMP 1.0, sans-IO: the server's end of a connection and a publisher's.
//!
//! [`ServerSession`] takes a publisher's bytes and gives its audio, video and data messages; [`ClientSession`] is the
//! publisher. Both are driven by `handle_*` and `poll_*` calls. Below them lie the chunk stream ([`ChunkReader`],
//! [`ChunkWriter`]) and messages ([`Message`]). What is inside an audio or video message is the `flv` crate's affair.
//!
//! Not here: sockets, clocks, `play`, RTMPE and RTMPT. Numbers such as R-31 are those of the checklist in `docs/spec/rtmp.md`.

mod aggregate;
mod chunk;
mod client;
mod command;
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
pub use error::{Activity, Error};
pub use handshake::HandshakeError;
pub use limits::{Limits, Timeouts};
pub use link::Statistics;
pub use message::{FirstBytes, MediaKind, MediaMessage, Message, MessageStart, MessageType};
pub use name::{Parameters, PublishUrl, UrlError};
pub use server::{ConnectRequest, Event, PublishRequest, RequestId, ServerConfig, ServerSession};
pub use status::StatusCode;
