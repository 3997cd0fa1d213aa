//! What the extended headers of video and audio have in common: ModEx, FourCC, tracks.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{FourCc, Packets};

/// Why the body of a video or audio tag cannot be read. The stream can go on with the next.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// It ends inside a field.
    #[error("a tag of {length} bytes ends inside its {field}")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Length of the whole body.
        length: usize,
    },
    /// A packet type that its codec or header does not have.
    #[error("packet type {found} in the header of a tag of {medium}")]
    PacketType {
        /// "video" or "audio".
        medium: &'static str,
        /// The number.
        found: u8,
    },
    /// None of the three ways to put tracks together.
    #[error("multitrack type {found}, expected 0, 1 or 2")]
    MultitrackType {
        /// The number.
        found: u8,
    },
    /// More tracks than there are numbers for.
    #[error("a tag with more than {TRACKS_MAX} tracks")]
    TooManyTracks,
}

/// Packets that a tag may have: track ids are bytes.
const TRACKS_MAX: usize = 256;
/// Packet type of both media: another one follows, after something else.
const MOD_EX: u8 = 7;
/// ModEx type: nanoseconds.
const TIMESTAMP_OFFSET_NANO: u8 = 0;
/// The largest offset that a ModEx may say.
pub(crate) const NANOS_MAX: u32 = 999_999;
/// Largest number of 24 bits, such as the length of a track.
const U24_MAX: usize = 0x00FF_FFFF;

/// How the tracks of a tag lie in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Multitrack {
    /// One track, without a number.
    None,
    One,
    Many,
    ManyCodecs,
}

/// The front of an extended header: what is said before the first track.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) packet_type: u8,
    pub(crate) nanos: u32,
    multitrack: Multitrack,
    /// `None` where each track says it, and for a command.
    fourcc: Option<FourCc>,
}

/// Which of the two media a header is of, and what is different there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Medium {
    pub(crate) name: &'static str,
    /// The packet type that stands for several tracks.
    pub(crate) multitrack: u8,
}

/// One track's piece of a tag.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    pub(crate) track: u8,
    pub(crate) fourcc: FourCc,
    pub(crate) payload: Bytes,
}

/// Bytes that may end too early.
pub(crate) struct Fields<B> {
    bytes: B,
    length: usize,
}

impl<B: Buf> Fields<B> {
    /// `length` is that of the whole body, for errors.
    pub(crate) fn new(bytes: B, length: usize) -> Self {
        Self { bytes, length }
    }

    fn need(&self, count: usize, field: &'static str) -> Result<(), TagError> {
        let there = self.bytes.remaining() >= count;
        if there { Ok(()) } else { Err(TagError::Truncated { field, length: self.length }) }
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, TagError> {
        self.need(1, field)?;
        Ok(self.bytes.get_u8())
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, TagError> {
        self.need(2, field)?;
        Ok(self.bytes.get_u16())
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, TagError> {
        self.need(4, field)?;
        Ok(self.bytes.get_u32())
    }

    fn u24(&mut self, field: &'static str) -> Result<u32, TagError> {
        self.need(3, field)?;
        Ok(self.bytes.get_uint(3).try_into().expect("24 bits fit"))
    }

    /// 24 bits with a sign.
    pub(crate) fn i24(&mut self, field: &'static str) -> Result<i32, TagError> {
        self.need(3, field)?;
        Ok(self.bytes.get_int(3).try_into().expect("24 bits fit"))
    }

    fn fourcc(&mut self) -> Result<FourCc, TagError> {
        self.u32("FourCC").map(|letters| FourCc(letters.to_be_bytes()))
    }

    fn is_empty(&self) -> bool {
        !self.bytes.has_remaining()
    }

    pub(crate) fn take(&mut self, count: usize, field: &'static str) -> Result<Bytes, TagError> {
        self.need(count, field)?;
        Ok(self.bytes.copy_to_bytes(count))
    }

    pub(crate) fn rest(mut self) -> Bytes {
        let count = self.bytes.remaining();
        self.bytes.copy_to_bytes(count)
    }

    /// The front, whose first packet type is `packet_type`. `command`: whether the frame type says that no picture
    /// follows, which ends the header before the FourCC unless `metadata` is the packet type.
    pub(crate) fn head(
        &mut self,
        medium: Medium,
        mut packet_type: u8,
        is_command: impl FnOnce(u8) -> bool,
    ) -> Result<Head, TagError> {
        let mut nanos = 0;
        while packet_type == MOD_EX {
            let mut length = usize::from(self.u8("ModEx length")?) + 1;
            if length == 256 {
                length = usize::from(self.u16("ModEx length")?) + 1;
            }
            let mut data = Fields::new(self.take(length, "ModEx data")?, self.length);
            let next = self.u8("packet type after ModEx")?;
            if next >> 4 == TIMESTAMP_OFFSET_NANO
                && let Ok(offset) = data.u24("nanoseconds")
            {
                nanos = offset.min(NANOS_MAX);
            }
            packet_type = next & 0x0F;
        }
        let mut head = Head { packet_type, nanos, multitrack: Multitrack::None, fourcc: None };
        if is_command(packet_type) {
            return Ok(head);
        }
        if packet_type == medium.multitrack {
            let byte = self.u8("multitrack type")?;
            head.multitrack = match byte >> 4 {
                0 => Multitrack::One,
                1 => Multitrack::Many,
                2 => Multitrack::ManyCodecs,
                found => return Err(TagError::MultitrackType { found }),
            };
            head.packet_type = byte & 0x0F;
            if head.packet_type == medium.multitrack || head.packet_type == MOD_EX {
                return Err(TagError::PacketType { medium: medium.name, found: head.packet_type });
            }
        }
        if head.multitrack != Multitrack::ManyCodecs {
            head.fourcc = Some(self.fourcc()?);
        }
        Ok(head)
    }

    /// The number of the only track, if there is but one.
    pub(crate) fn only_track(&mut self, head: &Head) -> Option<(u8, FourCc)> {
        let track = match head.multitrack {
            Multitrack::None => 0,
            Multitrack::One => self.u8("track id").ok()?,
            Multitrack::Many | Multitrack::ManyCodecs => return None,
        };
        Some((track, head.fourcc?))
    }

    /// The tracks' pieces, to the end of the tag.
    pub(crate) fn pieces(mut self, head: &Head) -> Result<Packets<Piece>, TagError> {
        if let Some((track, fourcc)) = match head.multitrack {
            Multitrack::None => head.fourcc.map(|fourcc| (0, fourcc)),
            Multitrack::One => {
                let track = self.u8("track id")?;
                head.fourcc.map(|fourcc| (track, fourcc))
            }
            Multitrack::Many | Multitrack::ManyCodecs => None,
        } {
            return Ok(Packets::from_iter([Piece { track, fourcc, payload: self.rest() }]));
        }
        let mut pieces = Packets::new();
        while !self.is_empty() {
            if pieces.len() == TRACKS_MAX {
                return Err(TagError::TooManyTracks);
            }
            let fourcc = match head.fourcc {
                Some(fourcc) => fourcc,
                None => self.fourcc()?,
            };
            let track = self.u8("track id")?;
            let length = usize::try_from(self.u24("track length")?).expect("24 bits fit");
            pieces.push(Piece { track, fourcc, payload: self.take(length, "track")? });
        }
        Ok(pieces)
    }
}

/// Writes a header that begins with `first` (all but the packet type) and the pieces behind it, in the shortest form.
/// `None` when there is nothing to write, or when it does not fit.
pub(crate) fn write(medium: Medium, first: u8, packet_type: u8, nanos: u32, pieces: &[Piece]) -> Option<Bytes> {
    let (head, fourcc) = (pieces.first()?, pieces.first()?.fourcc);
    let multitrack = match pieces {
        [Piece { track: 0, .. }] => Multitrack::None,
        [_] => Multitrack::One,
        _ if pieces.iter().all(|piece| piece.fourcc == fourcc) => Multitrack::Many,
        _ => Multitrack::ManyCodecs,
    };
    if pieces.len() > TRACKS_MAX || pieces.iter().any(|piece| piece.payload.len() > U24_MAX) {
        return None;
    }
    let outer = if multitrack == Multitrack::None { packet_type } else { medium.multitrack };
    let mut out = BytesMut::new();
    if nanos > 0 {
        out.put_u8(first | MOD_EX);
        out.put_u8(2);
        out.put_uint(nanos.min(NANOS_MAX).into(), 3);
        out.put_u8(TIMESTAMP_OFFSET_NANO << 4 | outer);
    } else {
        out.put_u8(first | outer);
    }
    match multitrack {
        Multitrack::None => out.put_slice(&fourcc.0),
        Multitrack::One => {
            out.put_u8(packet_type);
            out.put_slice(&fourcc.0);
            out.put_u8(head.track);
        }
        Multitrack::Many => {
            out.put_u8(1 << 4 | packet_type);
            out.put_slice(&fourcc.0);
        }
        Multitrack::ManyCodecs => out.put_u8(2 << 4 | packet_type),
    }
    for piece in pieces {
        if multitrack == Multitrack::ManyCodecs {
            out.put_slice(&piece.fourcc.0);
        }
        if let Multitrack::Many | Multitrack::ManyCodecs = multitrack {
            out.put_u8(piece.track);
            out.put_uint(piece.payload.len() as u64, 3);
        }
        out.put_slice(&piece.payload);
    }
    (out.len() <= U24_MAX).then(|| out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: Medium = Medium { name: "video", multitrack: 6 };

    fn read(packet_type: u8, bytes: &[u8]) -> Result<(Head, Vec<Piece>), TagError> {
        let mut fields = Fields::new(Bytes::copy_from_slice(bytes), bytes.len() + 1);
        let head = fields.head(VIDEO, packet_type, |_| false)?;
        Ok((head, fields.pieces(&head)?.into_vec()))
    }

    fn piece(track: u8, fourcc: [u8; 4], payload: &'static [u8]) -> Piece {
        Piece { track, fourcc: FourCc(fourcc), payload: Bytes::from_static(payload) }
    }

    /// nanoseconds in 3 bytes, then something unknown of 256 bytes whose length takes three.
    #[test]
    fn modex_may_come_several_times_and_unknown_ones_are_passed_over() {
        let mut bytes = vec![2, 0, 0x12, 0x34, 0x07, 0xFF, 0x00, 0xFF];
        bytes.extend([9; 256]);
        bytes.extend(b"\x31av01payload");
        let (head, pieces) = read(7, &bytes).unwrap();
        assert_eq!((head.packet_type, head.nanos), (1, 0x1234));
        assert_eq!(pieces, [piece(0, *b"av01", b"payload")]);
        for cut in 0..bytes.len() - 7 {
            assert!(matches!(read(7, &bytes[..cut]), Err(TagError::Truncated { .. })), "{cut}");
        }
    }

    /// at most 999 999, and not from fewer than three bytes.
    #[test]
    fn nanoseconds_that_cannot_be_are_none() {
        let nanos = |bytes: &[u8]| read(7, bytes).unwrap().0.nanos;
        assert_eq!(nanos(b"\x02\xFF\xFF\xFF\x01avc1"), 999_999);
        assert_eq!(nanos(b"\x01\x12\x34\x01avc1"), 0);
        assert_eq!(nanos(b"\x03\x00\x00\x05\xFF\x01avc1"), 5);
    }

    ///
    #[test]
    fn tracks_come_in_three_forms() {
        let (head, pieces) = read(6, b"\x01hvc1\x05abc").unwrap();
        assert_eq!((head.packet_type, pieces), (1, vec![piece(5, *b"hvc1", b"abc")]));
        let (_, pieces) = read(6, b"\x11hvc1\x00\x00\x00\x02ab\x01\x00\x00\x00").unwrap();
        assert_eq!(pieces, [piece(0, *b"hvc1", b"ab"), piece(1, *b"hvc1", b"")]);
        let (_, pieces) = read(6, b"\x20hvc1\x02\x00\x00\x01aav01\x00\x00\x00\x01b").unwrap();
        assert_eq!(pieces, [piece(2, *b"hvc1", b"a"), piece(0, *b"av01", b"b")]);
    }

    #[test]
    fn what_no_header_has_is_an_error() {
        assert_eq!(read(6, b"\x06hvc1\x05abc"), Err(TagError::PacketType { medium: "video", found: 6 }));
        assert_eq!(read(6, b"\x17hvc1\x05abc"), Err(TagError::PacketType { medium: "video", found: 7 }));
        assert_eq!(read(6, b"\x31hvc1\x05abc"), Err(TagError::MultitrackType { found: 3 }));
        assert_eq!(read(6, b"\x11hvc1\x05\0\0\x09abc"), Err(TagError::Truncated { field: "track", length: 13 }));
        let many = [&b"\x11hvc1"[..], &[0; 4 * 257]].concat();
        assert_eq!(read(6, &many), Err(TagError::TooManyTracks));
        assert_eq!(read(6, &many[..many.len() - 4]).unwrap().1.len(), 256);
    }
}
