//! Aggregate messages: several in one (R-64; RTMP 1.0, 7.1.6).

use bytes::Bytes;

use crate::Message;

/// Bytes before and after the payload of each message inside.
const HEADER_BYTES: usize = 11;
const BACK_POINTER_BYTES: usize = 4;

/// The messages inside an aggregate. A message that is not whole ends them.
///
/// They are copies: a slice of a few bytes would keep the whole aggregate.
#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    rest: Bytes,
    timestamp: u32,
    stream_id: u32,
    /// Timestamp of the first message inside: all are shifted so that it becomes that of the aggregate.
    first: Option<u32>,
}

impl Aggregate {
    pub(crate) fn new(message: Message) -> Self {
        Self { rest: message.payload, timestamp: message.timestamp, stream_id: message.stream_id, first: None }
    }
}

impl Iterator for Aggregate {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let [kind, s0, s1, s2, t0, t1, t2, t3, ..] = *self.rest else { return None };
        let length = u32::from_be_bytes([0, s0, s1, s2]) as usize;
        let time = u32::from_be_bytes([t3, t0, t1, t2]);
        if self.rest.len() < HEADER_BYTES + length {
            return None;
        }
        let payload = Bytes::copy_from_slice(&self.rest[HEADER_BYTES..HEADER_BYTES + length]);
        // The last back pointer may be missing.
        let end = (HEADER_BYTES + length + BACK_POINTER_BYTES).min(self.rest.len());
        self.rest = self.rest.slice(end..);
        let first = *self.first.get_or_insert(time);
        let timestamp = self.timestamp.wrapping_add(time.wrapping_sub(first));
        Some(Message { timestamp, kind: kind.into(), stream_id: self.stream_id, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageType;

    fn inner(kind: u8, time: u32, payload: &[u8]) -> Vec<u8> {
        let [t3, t0, t1, t2] = time.to_be_bytes();
        let mut bytes = vec![kind, 0, 0, u8::try_from(payload.len()).unwrap(), t0, t1, t2, t3, 0, 0, 0];
        bytes.extend(payload);
        bytes.extend((payload.len() as u64 + 11).to_be_bytes()[4..].iter());
        bytes
    }

    fn split(payload: &[u8]) -> Vec<(u32, MessageType, u32, Vec<u8>)> {
        let message = Message {
            timestamp: 1000,
            kind: MessageType::Aggregate,
            stream_id: 1,
            payload: Bytes::copy_from_slice(payload),
        };
        Aggregate::new(message).map(|m| (m.timestamp, m.kind, m.stream_id, m.payload.to_vec())).collect()
    }

    /// times move with the aggregate, the upper byte comes last, the message stream is the aggregate's.
    #[test]
    fn messages_inside_take_the_time_of_the_aggregate() {
        let bytes = [inner(8, 0x0100_0000, b"a"), inner(9, 0x0100_0017, b"vv")].concat();
        let audio = (1000, MessageType::Audio, 1, b"a".to_vec());
        let video = (1023, MessageType::Video, 1, b"vv".to_vec());
        assert_eq!(split(&bytes), [audio, video]);
    }

    ///
    #[test]
    fn a_truncated_tail_is_dropped() {
        let bytes = [inner(8, 5, b"a"), inner(9, 6, b"vv")].concat();
        assert_eq!(split(&bytes[..bytes.len() - 4]).len(), 2);
        for cut in 16..bytes.len() - 4 {
            assert_eq!(split(&bytes[..cut]).len(), 1, "cut at {cut}");
        }
        assert_eq!(split(&[]), []);
    }
}
