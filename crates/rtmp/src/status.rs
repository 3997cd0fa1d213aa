//! Why a publisher is refused or sent away, in words that encoders know.

use std::fmt;

/// Code of an error status. What each encoder makes of it: R-48.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StatusCode {
    /// The stream has a publisher already.
    PublishBadName,
    /// The stream key is not known or not allowed. OBS does not retry.
    PublishDenied,
    /// What is published cannot be taken, such as an unknown codec. OBS does not retry.
    PublishRejected,
    /// Something failed on our side. OBS does not retry.
    StreamFailed,
    /// The server is stopping; a later try may succeed.
    AppShutdown,
    /// The application does not exist.
    ConnectInvalidApp,
    /// The connection is not wanted.
    ConnectRejected,
}

impl StatusCode {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PublishBadName => "NetStream.Publish.BadName",
            Self::PublishDenied => "NetStream.Publish.Denied",
            Self::PublishRejected => "NetStream.Publish.Rejected",
            Self::StreamFailed => "NetStream.Failed",
            Self::AppShutdown => "NetConnection.Connect.AppShutdown",
            Self::ConnectInvalidApp => "NetConnection.Connect.InvalidApp",
            Self::ConnectRejected => "NetConnection.Connect.Rejected",
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(crate) const CONNECT_SUCCESS: &str = "NetConnection.Connect.Success";
pub(crate) const RECONNECT_REQUEST: &str = "NetConnection.Connect.ReconnectRequest";
pub(crate) const PUBLISH_START: &str = "NetStream.Publish.Start";
pub(crate) const UNPUBLISH_SUCCESS: &str = "NetStream.Unpublish.Success";
pub(crate) const PLAY_STREAM_NOT_FOUND: &str = "NetStream.Play.StreamNotFound";
