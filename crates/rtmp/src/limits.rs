//! What a peer may make a connection hold.

use std::time::Duration;

use crate::MessageType;

/// Limits of one connection. Over any of them the connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Longest video message, and longest aggregate.
    pub video_bytes_max: u32,
    /// Longest audio message.
    pub audio_bytes_max: u32,
    /// Longest command, data or other message.
    pub message_bytes_max: u32,
    /// Messages in one aggregate.
    pub aggregate_messages_max: usize,
    /// Chunk streams with state.
    pub chunk_streams_max: usize,
    /// Bytes in messages that are not complete yet, all together.
    pub partial_bytes_max: usize,
    /// What comes while the application has a request to answer, and is kept until it has.
    pub held_bytes_max: usize,
    /// Depth and count of AMF0 values in a message.
    pub amf0: headwater_amf0::Limits,
}

impl Limits {
    pub(crate) fn length_max(&self, kind: MessageType) -> u32 {
        match kind {
            MessageType::Video | MessageType::Aggregate => self.video_bytes_max,
            MessageType::Audio => self.audio_bytes_max,
            _ => self.message_bytes_max,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            video_bytes_max: 8 << 20,
            audio_bytes_max: 1 << 20,
            message_bytes_max: 256 << 10,
            aggregate_messages_max: 1024,
            chunk_streams_max: 32,
            partial_bytes_max: 16 << 20,
            held_bytes_max: 8 << 20,
            amf0: headwater_amf0::Limits::default(),
        }
    }
}

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// From the start to the end of the handshake.
    pub handshake: Duration,
    /// From the handshake to `publish`. How long the answer takes is the application's affair.
    pub publish: Duration,
    /// Without audio or video while publishing.
    pub media: Duration,
    /// Without any input before a ping is sent, and again from there to the end.
    pub ping: Duration,
    /// From a rejection to the close, so that the publisher can read why. FFmpeg 5.1 looks for messages every
    /// ten packets only, which is a third of a second for video alone.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            publish: Duration::from_secs(15),
            media: Duration::from_secs(30),
            ping: Duration::from_secs(20),
            close: Duration::from_millis(450),
        }
    }
}
