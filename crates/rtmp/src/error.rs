//! Why a session ends.

use std::fmt;
use std::time::Duration;

use headwater_amf0::ReadError;

use crate::{ChunkError, HandshakeError};

/// Why a server session cannot go on. The connection is to be closed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer does not speak RTMP, or a form of it that we do not.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The peer broke the chunk stream, or one of its limits.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command or data message goes over a limit.
    #[error(transparent)]
    Amf(#[from] ReadError),
    /// `publish` without `connect` before it.
    #[error("the peer sent {command} before connect")]
    NotConnected {
        /// The command.
        command: &'static str,
    },
    /// What came before a request was answered is more than
    /// [`Limits::held_bytes_max`](crate::Limits::held_bytes_max).
    #[error("more than {limit} bytes came before the request was answered")]
    HeldTooMuch {
        /// The limit.
        limit: usize,
    },
    /// The peer did not do in time what was to be done.
    #[error("no {activity} within {} s", after.as_secs())]
    TimedOut {
        /// What was waited for.
        activity: Activity,
        /// How long.
        after: Duration,
    },
    /// The application answered a request that does not wait for an answer: it was answered before, or the connection is
    /// lost.
    #[error("there is no request that waits for this answer")]
    NoRequest,
}

impl Error {
    /// The limit or time that the peer went over, in the words of the program's configuration; `None` if it broke
    /// the protocol, or we did something wrong.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Chunk(error) => error.limit(),
            Self::Amf(ReadError::TooDeep { .. }) => Some("amf_depth"),
            Self::Amf(ReadError::TooManyValues { .. } | ReadError::TooMuchText { .. }) => Some("amf_values"),
            Self::HeldTooMuch { .. } => Some("held"),
            Self::TimedOut { activity, .. } => Some(match activity {
                Activity::Handshake => "handshake",
                Activity::Publish => "publish",
                Activity::Media => "media",
                Activity::Input => "ping",
            }),
            Self::Handshake(_) | Self::Amf(_) | Self::NotConnected { .. } | Self::NoRequest => None,
        }
    }
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Activity {
    /// The rest of the handshake.
    Handshake,
    /// The publish command, or the server's answer to it.
    Publish,
    /// Audio or video.
    Media,
    /// Anything, a ping having been sent.
    Input,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "complete handshake",
            Self::Publish => "publish",
            Self::Media => "audio or video",
            Self::Input => "sign of life",
        })
    }
}
