//! Messages: the unit of meaning, above chunks.

use std::fmt;

use bytes::Bytes;

/// One message (RTMP 1.0, 6.1). Its `Debug` does not show the payload, which may hold a stream key.
#[derive(Clone, Eq, PartialEq)]
pub struct Message {
    /// Milliseconds, 32 bits, wrapping.
    pub timestamp: u32,
    /// What the payload is.
    pub kind: MessageType,
    /// Message stream: 0 is the connection, others come from `createStream`.
    pub stream_id: u32,
    /// The payload.
    pub payload: Bytes,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("timestamp", &self.timestamp)
            .field("kind", &self.kind)
            .field("stream_id", &self.stream_id)
            .field("length", &self.payload.len())
            .finish()
    }
}

/// What a message carries; the numbers are those of RTMP 1.0, 5.4 and 7.1.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MessageType {
    /// 1.
    SetChunkSize,
    /// 2.
    Abort,
    /// 3.
    Acknowledgement,
    /// 4.
    UserControl,
    /// 5.
    WindowAckSize,
    /// 6.
    SetPeerBandwidth,
    /// 8: an FLV audio tag body.
    Audio,
    /// 9: an FLV video tag body.
    Video,
    /// 15: data, one format byte before it.
    DataAmf3,
    /// 17: a command, one format byte before it.
    CommandAmf3,
    /// 18: data.
    Data,
    /// 20: a command.
    Command,
    /// 22: several messages in one.
    Aggregate,
    /// Anything else; skipped. 16 and 19, shared objects, are here too.
    Other(u8),
}

impl MessageType {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::SetChunkSize => 1,
            Self::Abort => 2,
            Self::Acknowledgement => 3,
            Self::UserControl => 4,
            Self::WindowAckSize => 5,
            Self::SetPeerBandwidth => 6,
            Self::Audio => 8,
            Self::Video => 9,
            Self::DataAmf3 => 15,
            Self::CommandAmf3 => 17,
            Self::Data => 18,
            Self::Command => 20,
            Self::Aggregate => 22,
            Self::Other(number) => number,
        }
    }

    /// Audio, video or data: what a publisher's stream is made of.
    pub(crate) const fn media(self) -> Option<MediaKind> {
        match self {
            Self::Audio => Some(MediaKind::Audio),
            Self::Video => Some(MediaKind::Video),
            Self::Data | Self::DataAmf3 => Some(MediaKind::Data),
            _ => None,
        }
    }
}

impl From<u8> for MessageType {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::SetChunkSize,
            2 => Self::Abort,
            3 => Self::Acknowledgement,
            4 => Self::UserControl,
            5 => Self::WindowAckSize,
            6 => Self::SetPeerBandwidth,
            8 => Self::Audio,
            9 => Self::Video,
            15 => Self::DataAmf3,
            17 => Self::CommandAmf3,
            18 => Self::Data,
            20 => Self::Command,
            22 => Self::Aggregate,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// Which of a publisher's three kinds of messages.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MediaKind {
    /// An FLV audio tag body.
    Audio,
    /// An FLV video tag body.
    Video,
    /// AMF0 values: metadata and other script data.
    Data,
}

impl MediaKind {
    pub(crate) const fn message_type(self) -> MessageType {
        match self {
            Self::Audio => MessageType::Audio,
            Self::Video => MessageType::Video,
            Self::Data => MessageType::Data,
        }
    }
}

/// An audio, video or data message of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaMessage {
    /// Milliseconds, 32 bits, wrapping.
    pub timestamp: u32,
    /// An FLV tag body; of a data message its AMF0 values.
    pub payload: Bytes,
}

/// The first bytes of a message have arrived; the rest has not.
///
/// There is exactly one before each audio, video and data message, also when a message comes whole. Enough of the
/// payload is in it to tell a keyframe. A message that the peer aborts has a start and no end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageStart {
    /// What the payload will be.
    pub kind: MediaKind,
    /// Milliseconds, 32 bits, wrapping.
    pub timestamp: u32,
    /// Payload bytes of the whole message.
    pub length: u32,
    /// The front of the payload.
    pub first: FirstBytes,
}

/// The first 16 bytes of a payload, fewer when the payload is shorter.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct FirstBytes {
    bytes: [u8; Self::LENGTH_MAX],
    length: usize,
}

impl FirstBytes {
    /// How many bytes it holds at most.
    pub const LENGTH_MAX: usize = 16;

    pub(crate) fn of(payload: &[u8]) -> Self {
        let length = payload.len().min(Self::LENGTH_MAX);
        let mut bytes = [0; Self::LENGTH_MAX];
        bytes[..length].copy_from_slice(&payload[..length]);
        Self { bytes, length }
    }
}

impl std::ops::Deref for FirstBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Debug for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", &**self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives() {
        for number in 0..=u8::MAX {
            assert_eq!(MessageType::from(number).number(), number);
        }
    }
}
