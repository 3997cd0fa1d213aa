//! What both ends of a connection do below commands: chunks, acknowledgements, pings.

use std::fmt;

use bytes::{Bytes, BytesMut};
use headwater_media::Instant;

use crate::aggregate::Aggregate;
use crate::chunk::Incoming;
use crate::command::Command;
use crate::message::{FirstBytes, MessageStart};
use crate::{ChunkError, ChunkReader, ChunkStreamId, ChunkWriter, Limits, Message, MessageType};

/// Acknowledgement window that we announce, and that we assume until the peer announces one.
pub(crate) const WINDOW_BYTES: u32 = 2_500_000;

/// Counts of one connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Statistics {
    /// Bytes received, the handshake included.
    pub received_bytes: u64,
    /// Messages received, all kinds, those inside aggregates included.
    pub messages: u64,
    /// Messages that were skipped: unknown types, commands that could not be read, media outside of a publish.
    pub skipped: u64,
    /// Commands that we do not know.
    pub unknown_commands: u64,
    /// Timestamps of headers that can be read in two ways.
    pub guessed_timestamps: u64,
    /// The last Acknowledgement of the peer: how many bytes it says it has, modulo 2^32.
    pub acknowledged_by_peer: Option<u32>,
}

/// An aggregate whose messages are being handed out.
struct Opened {
    rest: Aggregate,
    /// The next message, whose start is out.
    waiting: Option<Message>,
    messages: usize,
}

/// Both directions of a connection after the handshake.
pub(crate) struct Link {
    reader: ChunkReader,
    writer: ChunkWriter,
    out: BytesMut,
    limits: Limits,
    aggregate: Option<Opened>,
    acknowledged: u64,
    /// The peer wants to hear from us after so many bytes.
    window: u32,
    /// The window that we announced last.
    window_sent: u32,
    last_input: Instant,
    pub(crate) statistics: Statistics,
}

impl fmt::Debug for Link {
    /// Without the bytes to send: a publisher's hold its stream key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("statistics", &self.statistics).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(now: Instant, limits: Limits) -> Self {
        Self {
            reader: ChunkReader::new(limits),
            writer: ChunkWriter::new(),
            out: BytesMut::new(),
            limits,
            aggregate: None,
            acknowledged: 0,
            window: WINDOW_BYTES,
            window_sent: 0,
            last_input: now,
            statistics: Statistics::default(),
        }
    }

    /// Where the handshake puts its bytes.
    pub(crate) fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }

    /// `length` bytes came in.
    pub(crate) fn count_input(&mut self, now: Instant, length: usize) {
        self.statistics.received_bytes += length as u64;
        self.last_input = now;
    }

    pub(crate) fn last_input(&self) -> Instant {
        self.last_input
    }

    /// The next thing that is not about the connection itself: control messages are obeyed here, aggregates taken
    /// apart. `None` when `input` is used up.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, ChunkError> {
        loop {
            if let Some(incoming) = self.next_of_aggregate()? {
                return Ok(Some(incoming));
            }
            let incoming = self.reader.read(input)?;
            self.statistics.guessed_timestamps = self.reader.guessed_timestamps();
            let Some(incoming) = incoming else { return Ok(None) };
            let Incoming::Message(message) = incoming else { return Ok(Some(incoming)) };
            self.statistics.messages += 1;
            match message.kind {
                MessageType::SetChunkSize | MessageType::Abort => {}
                MessageType::Acknowledgement => {
                    self.statistics.acknowledged_by_peer =
                        read_u32(&message.payload).or(self.statistics.acknowledged_by_peer);
                }
                MessageType::UserControl => self.handle_user_control(&message.payload),
                MessageType::WindowAckSize => {
                    self.window = read_u32(&message.payload).filter(|size| *size > 0).unwrap_or(self.window);
                }
                MessageType::SetPeerBandwidth => self.handle_peer_bandwidth(&message.payload),
                MessageType::Aggregate => {
                    self.aggregate = Some(Opened { rest: Aggregate::new(message), waiting: None, messages: 0 });
                }
                _ => return Ok(Some(Incoming::Message(message))),
            }
        }
    }

    fn next_of_aggregate(&mut self) -> Result<Option<Incoming>, ChunkError> {
        let Some(aggregate) = &mut self.aggregate else { return Ok(None) };
        if let Some(message) = aggregate.waiting.take() {
            return Ok(Some(Incoming::Message(message)));
        }
        // Only media may lie in an aggregate, so nothing in it changes how the connection works.
        let Some((kind, message)) = aggregate.rest.find_map(|message| Some((message.kind.media()?, message))) else {
            self.aggregate = None;
            return Ok(None);
        };
        let length = u32::try_from(message.payload.len()).expect("a message has at most 2^24 - 1 bytes");
        let limit = self.limits.length_max(message.kind);
        if length > limit {
            return Err(ChunkError::LongInAggregate { kind: message.kind, length, limit });
        }
        if aggregate.messages == self.limits.aggregate_messages_max {
            return Err(ChunkError::TooManyInAggregate { limit: self.limits.aggregate_messages_max });
        }
        aggregate.messages += 1;
        self.statistics.messages += 1;
        let start =
            MessageStart { kind, timestamp: message.timestamp, length, first: FirstBytes::of(&message.payload) };
        let stream_id = message.stream_id;
        aggregate.waiting = Some(message);
        Ok(Some(Incoming::Start { start, stream_id }))
    }

    ///
    fn handle_user_control(&mut self, payload: &[u8]) {
        if let [0, PING_REQUEST, time @ ..] = payload
            && let Some(time) = read_u32(time)
        {
            self.send_user_control(PING_RESPONSE, time);
        }
    }

    /// The peer wants us to let at most so many bytes go unacknowledged; it is told that we know.
    fn handle_peer_bandwidth(&mut self, payload: &[u8]) {
        if let Some(size) = read_u32(payload).filter(|size| *size != self.window_sent) {
            self.send_window(size);
        }
    }

    /// Tells how much has come in, if the peer's window is full. One message is enough for several windows.
    pub(crate) fn acknowledge(&mut self) {
        if self.statistics.received_bytes - self.acknowledged >= u64::from(self.window) {
            self.acknowledged = self.statistics.received_bytes;
            let [_, _, _, _, low @ ..] = self.acknowledged.to_be_bytes(); // it wraps
            self.send_control(MessageType::Acknowledgement, &low);
        }
    }

    pub(crate) fn send_window(&mut self, size: u32) {
        self.window_sent = size;
        self.send_control(MessageType::WindowAckSize, &size.to_be_bytes());
    }

    pub(crate) fn send_peer_bandwidth(&mut self, size: u32) {
        let [a, b, c, d] = size.to_be_bytes();
        self.send_control(MessageType::SetPeerBandwidth, &[a, b, c, d, 2]); // 2: dynamic
    }

    pub(crate) fn send_chunk_size(&mut self, size: u32) {
        self.writer.set_chunk_size(&mut self.out, size);
    }

    pub(crate) fn send_stream_begin(&mut self, stream_id: u32) {
        self.send_user_control(STREAM_BEGIN, stream_id);
    }

    pub(crate) fn send_ping(&mut self, millis: u32) {
        self.send_user_control(PING_REQUEST, millis);
    }

    fn send_user_control(&mut self, event: u8, data: u32) {
        let [a, b, c, d] = data.to_be_bytes();
        self.send_control(MessageType::UserControl, &[0, event, a, b, c, d]);
    }

    fn send_control(&mut self, kind: MessageType, payload: &[u8]) {
        self.send(ChunkStreamId::CONTROL, 0, kind, 0, payload);
    }

    pub(crate) fn send_command(&mut self, csid: ChunkStreamId, stream_id: u32, command: &Command) {
        self.send(csid, 0, MessageType::Command, stream_id, &command.to_payload());
    }

    pub(crate) fn send(
        &mut self,
        csid: ChunkStreamId,
        timestamp: u32,
        kind: MessageType,
        stream_id: u32,
        payload: &[u8],
    ) {
        self.writer.write_parts(&mut self.out, csid, timestamp, kind, stream_id, payload);
    }
}

/// The handshake's and the ping's clock: milliseconds, wrapping.
pub(crate) fn wire_millis(now: Instant) -> u32 {
    u32::try_from(now.as_nanos() / 1_000_000 % (1 << 32)).expect("reduced modulo 2^32")
}

const STREAM_BEGIN: u8 = 0;
const PING_REQUEST: u8 = 6;
const PING_RESPONSE: u8 = 7;

fn read_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(link: &mut Link) -> Vec<(u8, Vec<u8>)> {
        let mut reader = ChunkReader::new(Limits::default());
        let bytes = link.poll_transmit().unwrap_or_default();
        let (mut input, mut messages) = (&bytes[..], Vec::new());
        while let Some(incoming) = reader.read(&mut input).unwrap() {
            if let Incoming::Message(message) = incoming {
                messages.push((message.kind.number(), message.payload.to_vec()));
            }
        }
        messages
    }

    fn link() -> Link {
        Link::new(Instant::from_millis(0), Limits::default())
    }

    /// after 4 GiB the number starts again, and acknowledgements go on.
    #[test]
    fn acknowledgements_go_on_after_4_gib() {
        let mut link = link();
        link.statistics.received_bytes = (1 << 32) - 1000;
        link.acknowledged = link.statistics.received_bytes;
        link.count_input(Instant::from_millis(1), 2_500_000);
        link.acknowledge();
        assert_eq!(sent(&mut link), [(3, 2_499_000u32.to_be_bytes().to_vec())]);
        link.acknowledge();
        assert_eq!(sent(&mut link), []);
    }

    /// The table of R-30: the answer to Set Peer Bandwidth is a window, if it is another than the last.
    #[test]
    fn a_new_peer_bandwidth_is_confirmed_once() {
        let (mut writer, mut bytes) = (ChunkWriter::new(), BytesMut::new());
        for _ in 0..2 {
            let payload = [0, 0, 0x10, 0, 2];
            writer.write_parts(&mut bytes, ChunkStreamId::CONTROL, 0, MessageType::SetPeerBandwidth, 0, &payload);
        }
        let mut link = link();
        assert_eq!(link.read(&mut &bytes[..]), Ok(None));
        assert_eq!(sent(&mut link), [(5, vec![0, 0, 0x10, 0])]);
    }

    /// a window of nothing would ask for an answer to each byte.
    #[test]
    fn a_window_of_nothing_is_not_taken() {
        let (mut writer, mut bytes) = (ChunkWriter::new(), BytesMut::new());
        writer.write_parts(&mut bytes, ChunkStreamId::CONTROL, 0, MessageType::WindowAckSize, 0, &[0; 4]);
        let mut link = link();
        assert_eq!(link.read(&mut &bytes[..]), Ok(None));
        assert_eq!(link.window, WINDOW_BYTES);
    }
}
