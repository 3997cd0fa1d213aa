//! CEA-608 and CEA-708 captions in H.264 and HEVC: `cc_data` in SEI messages (ATSC A/53 part 4, 6.2.3; C-34, R-106).
//!
//! Captions are carried and not understood, but for one thing: which channels have any (H-72).

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::VideoCoding;
use crate::codec::bits::unescape;
use crate::codec::sei;

/// One `cc_data` construct as it was sent: five marker bits, `cc_valid` and `cc_type`, then two bytes of data.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Triplet(pub [u8; 3]);

impl Triplet {
    /// `cc_valid`: there is data in it. What is not valid pads the stream to its constant rate.
    pub fn is_valid(self) -> bool {
        self.0[0] & 4 != 0
    }

    /// The channel that it shows to be in use, if it does.
    ///
    /// No CEA-608 caption comes without control codes, which say to which of a field's two channels they belong; the
    /// second field also has programme data (XDS), which has other codes. A CEA-708 packet starts with its header and
    /// that of its first service block, which is empty in padding.
    fn channel(self) -> Option<u16> {
        let [head, first, second] = self.0;
        if !self.is_valid() {
            return None;
        }
        match head & 3 {
            // The highest bit is parity.
            field @ (0 | 1) => {
                let code = first & 0x7F;
                (0x10..0x20).contains(&code).then(|| 1 << (2 * u16::from(field) + u16::from(code >> 3 & 1)))
            }
            3 => {
                let (service, length) = (second >> 5, second & 0x1F);
                ((1..=SERVICES).contains(&service) && length > 0).then(|| 1 << (3 + service))
            }
            _ => None,
        }
    }
}

/// Caption channels of which data was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Channels(u16);

impl Channels {
    /// Those that `triplets` show to be in use.
    pub fn of(triplets: &[Triplet]) -> Self {
        Self(triplets.iter().filter_map(|triplet| triplet.channel()).fold(0, |all, channel| all | channel))
    }

    /// Those of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// There is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Bit n stands for the nth name of all.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// What [`bits`](Self::bits) gave; bits that stand for nothing are left out.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits & ((1 << NAMES.len()) - 1))
    }

    /// Their names as playlists have them (INSTREAM-ID): `CC1` to `CC4`, then `SERVICE1` and so on.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter_map(move |(bit, name)| (self.0 >> bit & 1 == 1).then_some(name))
    }
}

/// The triplets of one access unit, which has 4-byte lengths before its NAL units, in their order. Only SEI is looked at;
/// what is damaged or says that it is not to be processed is left out. AV1 and VP9 have none.
pub fn read(coding: VideoCoding, access_unit: &[u8]) -> Vec<Triplet> {
    let mut triplets = Vec::new();
    if let VideoCoding::Av1 | VideoCoding::Vp9 = coding {
        return triplets;
    }
    for unit in units(access_unit) {
        let messages = match coding {
            VideoCoding::Hevc => unit.get(2..).filter(|_| unit[0] >> 1 & 0x3F == HEVC_PREFIX_SEI),
            _ => unit.get(1..).filter(|_| unit[0] & 0x1F == NAL_SEI),
        };
        // No byte of the identifier is ever escaped: units without it are done with here.
        if let Some(messages) =
            messages.filter(|bytes| bytes.windows(IDENTIFIER.len()).any(|bytes| bytes == IDENTIFIER))
        {
            read_messages(&unescape(messages), &mut triplets);
        }
    }
    triplets
}

/// The access unit of H.264 with the first [`PICTURE_MAX`] of `triplets` in a SEI message before its slices.
pub fn insert(access_unit: &Bytes, triplets: &[Triplet]) -> Bytes {
    let triplets = &triplets[..triplets.len().min(PICTURE_MAX)];
    if triplets.is_empty() {
        return access_unit.clone();
    }
    let message = sei_unit(triplets);
    let before: usize =
        units(access_unit).take_while(|unit| !(1..=5).contains(&(unit[0] & 0x1F))).map(|unit| 4 + unit.len()).sum();
    let mut out = BytesMut::with_capacity(access_unit.len() + 4 + message.len());
    out.put_slice(&access_unit[..before]);
    out.put_u32(u32::try_from(message.len()).expect("a message of 31 triplets is short"));
    out.put_slice(&message);
    out.put_slice(&access_unit[before..]);
    out.freeze()
}

/// Triplets that wait for their picture: what is more than a picture can carry goes with the next ones.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Triplet>,
}

impl Queue {
    /// Adds the triplets of a picture behind those that wait. If they are more than pictures will carry in two seconds,
    /// padding is left out, and then the oldest.
    pub fn push(&mut self, triplets: &[Triplet]) {
        self.waiting.extend(triplets);
        if self.waiting.len() > WAITING_MAX {
            self.waiting.retain(|triplet| triplet.is_valid());
            self.waiting.drain(..self.waiting.len().saturating_sub(WAITING_MAX));
        }
    }

    /// Puts back, in front of those that wait, what a picture had that is not shown.
    pub fn put_back(&mut self, triplets: &[Triplet]) {
        triplets.iter().rev().for_each(|triplet| self.waiting.push_front(*triplet));
        self.push(&[]);
    }

    /// As many as go with the next picture.
    pub fn take(&mut self) -> Vec<Triplet> {
        self.waiting.drain(..self.waiting.len().min(PICTURE_MAX)).collect()
    }
}

/// The NAL units of an access unit, none of them empty, up to where lengths leave the data.
fn units(access_unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = access_unit;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (unit, tail) = tail.split_at_checked(length)?;
        rest = tail;
        Some(unit)
    })
    .take_while(|unit| !unit.is_empty())
}

/// The triplets of SEI messages with `cc_data` in them.
fn read_messages(payload: &[u8], triplets: &mut Vec<Triplet>) {
    for (_, message) in sei::messages(payload).filter(|(kind, _)| *kind == USER_DATA_REGISTERED) {
        if let Some(data) = message.strip_prefix(PREFIX)
            && let Some(([flags, _em_data], data)) = data.split_first_chunk::<2>()
            && flags & PROCESS_CC_DATA != 0
        {
            let count = usize::from(flags & COUNT);
            triplets.extend(data.as_chunks::<3>().0.iter().take(count).map(|bytes| Triplet(*bytes)));
        }
    }
}

/// A SEI NAL unit with these triplets, at most 31.
fn sei_unit(triplets: &[Triplet]) -> Vec<u8> {
    let count = u8::try_from(triplets.len()).expect("at most 31");
    let length = PREFIX.len() + 2 + 3 * triplets.len() + 1;
    let mut payload = vec![4, u8::try_from(length).expect("at most 104")];
    payload.extend_from_slice(PREFIX);
    payload.extend_from_slice(&[RESERVED | PROCESS_CC_DATA | count, 0xFF]);
    payload.extend(triplets.iter().flat_map(|triplet| triplet.0));
    payload.push(0xFF);
    // The stop bit of the whole unit.
    payload.push(0x80);
    let mut unit = vec![NAL_SEI];
    escape(&payload, &mut unit);
    unit
}

/// Puts emulation prevention bytes in (H.264, 7.4.1).
fn escape(payload: &[u8], out: &mut Vec<u8>) {
    let mut zeros = 0;
    for &byte in payload {
        if zeros == 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
}

/// Triplets that one picture can carry: `cc_count` has five bits.
pub const PICTURE_MAX: usize = 31;
/// Two seconds of the rate that captions have: 600 triplets a second, whatever the frame rate.
const WAITING_MAX: usize = 1200;
const NAL_SEI: u8 = 6;
const HEVC_PREFIX_SEI: u8 = 39;
/// payloadType of `user_data_registered_itu_t_t35`.
const USER_DATA_REGISTERED: usize = 4;
/// `user_identifier` of A/53.
const IDENTIFIER: &[u8] = b"GA94";
/// United States, ATSC, the identifier, and the type of `cc_data`.
const PREFIX: &[u8] = b"\xB5\x00\x31GA94\x03";
const RESERVED: u8 = 0x80;
const PROCESS_CC_DATA: u8 = 0x40;
const COUNT: u8 = 0x1F;
/// CEA-708 services that a service block can name in its first byte.
const SERVICES: u8 = 6;
const NAMES: [&str; 10] =
    ["CC1", "CC2", "CC3", "CC4", "SERVICE1", "SERVICE2", "SERVICE3", "SERVICE4", "SERVICE5", "SERVICE6"];

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: &[u8] = &[0, 0, 0, 3, 0x65, 0x88, 0x84];

    fn triplets(bytes: &[[u8; 3]]) -> Vec<Triplet> {
        bytes.iter().copied().map(Triplet).collect()
    }

    fn names(bytes: &[[u8; 3]]) -> Vec<&'static str> {
        Channels::of(&triplets(bytes)).names().collect()
    }

    #[test]
    fn the_message_is_as_the_checklist_has_it_and_stands_before_the_slices() {
        let out = insert(&Bytes::from_static(SLICE), &triplets(&[[0xFC, 0x94, 0x2C], [0xFA, 0, 0]]));
        let message = b"\x06\x04\x11\xB5\x00\x31GA94\x03\xC2\xFF\xFC\x94\x2C\xFA\x00\x00\xFF\x80";
        assert_eq!(out, [&[0, 0, 0, 21], &message[..], SLICE].concat());
    }

    #[test]
    fn zeros_are_escaped_and_come_back() {
        let sent = triplets(&[[0xFA, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 3]]);
        let out = insert(&Bytes::from_static(SLICE), &sent);
        let sei = &out[4..out.len() - SLICE.len()];
        assert!(sei.windows(3).all(|bytes| bytes[..2] != [0, 0] || bytes[2] >= 3), "{sei:?}");
        assert_eq!(read(VideoCoding::Avc, &out), sent);
    }

    #[test]
    fn a_picture_takes_31_and_the_next_ones_the_rest_in_order() {
        let sent: Vec<Triplet> = (0..70).map(|number| Triplet([0xFC, number, 0])).collect();
        let mut queue = Queue::default();
        queue.push(&sent);
        let mut got = Vec::new();
        for count in [31, 31, 8, 0] {
            let taken = queue.take();
            assert_eq!(taken.len(), count);
            got.extend(read(VideoCoding::Avc, &insert(&Bytes::from_static(SLICE), &taken)));
        }
        assert_eq!(got, sent);
        queue.push(&sent[..2]);
        let first = queue.take();
        queue.push(&sent[2..4]);
        queue.put_back(&first);
        assert_eq!(queue.take(), sent[..4]);
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_padding_goes_first() {
        let mut queue = Queue::default();
        for number in 0..40_000u16 {
            let [high, low] = number.to_be_bytes();
            queue.push(&triplets(&[[0xFC, high, low], [0xF8, 0, 0]]));
        }
        assert!(queue.waiting.len() <= WAITING_MAX);
        assert!(queue.waiting.contains(&Triplet([0xFC, (39_500u16 >> 8) as u8, (39_500u16 & 0xFF) as u8])));
    }

    /// the same messages behind another header.
    #[test]
    fn hevc_has_them_in_its_prefix_sei() {
        let sei = b"\x4E\x01\x04\x0E\xB5\x00\x31GA94\x03\x41\xFF\xFC\x94\x20\xFF\x80";
        let unit = [&[0, 0, 0, u8::try_from(sei.len()).unwrap()], &sei[..]].concat();
        assert_eq!(read(VideoCoding::Hevc, &unit), triplets(&[[0xFC, 0x94, 0x20]]));
        assert_eq!(read(VideoCoding::Avc, &unit), []);
        assert_eq!(read(VideoCoding::Av1, &unit), []);
    }

    #[test]
    fn messages_of_other_kinds_and_broken_ones_are_passed_over() {
        // Picture timing, someone else's user data, then captions of which the last triplet is cut off.
        let sei = b"\x06\x01\x01\x20\x05\x01\x00\x04\x0E\xB5\x00\x31GA94\x03\x42\xFF\xFC\x94\x20\xFC";
        let unit = [&[0, 0, 0, u8::try_from(sei.len()).unwrap()], &sei[..], SLICE].concat();
        assert_eq!(read(VideoCoding::Avc, &unit), triplets(&[[0xFC, 0x94, 0x20]]));
        // Not to be processed.
        let off = unit.iter().map(|byte| if *byte == 0x42 { 2 } else { *byte }).collect::<Vec<u8>>();
        assert_eq!(read(VideoCoding::Avc, &off), []);
        for length in 0..unit.len() {
            let _ = read(VideoCoding::Avc, &unit[..length]);
        }
    }

    #[test]
    fn channels_are_those_with_data() {
        assert_eq!(names(&[[0xFC, 0x80, 0x80], [0xFD, 0x80, 0x80], [0xFA, 0, 0], [0xF8, 0x94, 0x2C]]), [""; 0]);
        assert_eq!(names(&[[0xFC, 0x94, 0x2C]]), ["CC1"]);
        assert_eq!(names(&[[0xFC, 0x1C, 0x2C], [0xFD, 0x15, 0x2C], [0xFD, 0x9D, 0x2C]]), ["CC2", "CC3", "CC4"]);
        // Programme data in the second field: class, type, text, checksum.
        assert_eq!(names(&[[0xFD, 0x01, 0x03], [0xFD, 0x4E, 0x65], [0xFD, 0x8F, 0x1D]]), [""; 0]);
        // A packet with a block of service 1, one with a null block, and one of service 3.
        assert_eq!(names(&[[0xFF, 0x02, 0x21], [0xFE, 0x41, 0x00]]), ["SERVICE1"]);
        assert_eq!(names(&[[0xFF, 0x41, 0x00]]), [""; 0]);
        assert_eq!(names(&[[0xFF, 0x02, 0x62]]), ["SERVICE3"]);
    }
}
