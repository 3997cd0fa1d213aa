//! The box structure (ISO/IEC 14496-12, 4.2).

use std::ops::Range;

use super::{FILE, ReadError};
use crate::FourCc;

/// One box of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mp4Box<'a> {
    /// Its name; `uuid` boxes keep that name and their id in the payload.
    pub kind: FourCc,
    /// Where it begins in the bytes that were given to [`boxes`] at the top.
    pub offset: usize,
    /// Bytes before its payload: 8 or 16.
    pub header_bytes: usize,
    /// What is in it.
    pub payload: &'a [u8],
}

impl<'a> Mp4Box<'a> {
    /// Where it lies in the bytes given at the top.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.header_bytes + self.payload.len()
    }

    /// The boxes in its payload after `skip` bytes.
    pub fn children(&self, skip: usize) -> Boxes<'a> {
        let rest = self.payload.get(skip..).unwrap_or_default();
        Boxes { rest, offset: self.offset + self.header_bytes + skip }
    }

    /// The first child called `kind`.
    pub(super) fn child(&self, kind: &[u8; 4]) -> Result<Self, ReadError> {
        self.find(kind, 0)?.ok_or(ReadError::Missing { parent: self.kind, kind: FourCc(*kind) })
    }

    /// The first child called `kind` after `skip` bytes, if there is one.
    pub(super) fn find(&self, kind: &[u8; 4], skip: usize) -> Result<Option<Self>, ReadError> {
        self.children(skip).find(|child| !matches!(child, Ok(child) if child.kind.0 != *kind)).transpose()
    }

    /// A reader of its fields.
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields { kind: self.kind, length: self.payload.len(), rest: self.payload }
    }
}

/// The boxes of `data`, in order. After an error there are no more.
pub fn boxes(data: &[u8]) -> Boxes<'_> {
    Boxes { rest: data, offset: 0 }
}

/// Iterator of [`boxes`].
#[derive(Clone, Debug)]
pub struct Boxes<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<Mp4Box<'a>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let result = split_box(self.rest, self.offset);
        match &result {
            Ok(found) => {
                let bytes = found.header_bytes + found.payload.len();
                self.rest = &self.rest[bytes..];
                self.offset += bytes;
            }
            Err(_) => self.rest = &[],
        }
        Some(result)
    }
}

fn split_box(data: &[u8], offset: usize) -> Result<Mp4Box<'_>, ReadError> {
    let header = ReadError::Header { offset, available: data.len() };
    let mut fields = Fields { kind: FILE, length: data.len(), rest: data };
    let short_size = fields.u32().map_err(|_| header.clone())?;
    let kind = fields.four_cc().map_err(|_| header.clone())?;
    let (size, header_bytes) = match short_size {
        0 => (data.len() as u64, 8), // to the end
        1 => (fields.u64().map_err(|_| header)?, 16),
        size => (u64::from(size), 8),
    };
    let wrong = ReadError::BoxSize { kind, offset, size, available: data.len() };
    let end = usize::try_from(size).map_err(|_| wrong.clone())?;
    let payload = data.get(header_bytes..end).ok_or(wrong)?;
    Ok(Mp4Box { kind, offset, header_bytes, payload })
}

/// Reads fields of a box one after another.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    kind: FourCc,
    length: usize,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let truncated = ReadError::Truncated { kind: self.kind, length: self.length };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        self.take(N).map(|bytes| bytes.try_into().expect("as many bytes were taken"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, ReadError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ReadError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ReadError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, ReadError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn four_cc(&mut self) -> Result<FourCc, ReadError> {
        self.array().map(FourCc)
    }

    /// Version and flags of a full box.
    pub(super) fn version_and_flags(&mut self) -> Result<(u8, u32), ReadError> {
        let word = self.u32()?;
        Ok((word.to_be_bytes()[0], word & 0xFF_FFFF))
    }

    /// Bytes that are left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sizes_and_boxes_to_the_end_are_read() {
        let data = b"\0\0\0\x01free\0\0\0\0\0\0\0\x12ab\0\0\0\0uuid0123456789abcdefrest";
        let found: Vec<_> = boxes(data).map(Result::unwrap).collect();
        assert_eq!((found[0].kind, found[0].header_bytes, found[0].payload), (FourCc(*b"free"), 16, &b"ab"[..]));
        assert_eq!((found[1].kind, found[1].range()), (FourCc(*b"uuid"), 18..data.len()));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_size_that_cannot_be_ends_the_walk_with_what_was_found() {
        let mut walk = boxes(b"\0\0\0\x08free\0\0\0\x20moofabcd");
        assert!(walk.next().unwrap().is_ok());
        assert_eq!(walk.next().unwrap().unwrap_err().to_string(), "box moof at byte 8 claims 32 bytes, 12 are there");
        assert!(walk.next().is_none());
        assert!(boxes(b"\0\0\0\x07free").next().unwrap().is_err());
        assert!(boxes(b"\0\0\0\x01free\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF").next().unwrap().is_err());
        assert_eq!(boxes(b"\0\0\0").next().unwrap(), Err(ReadError::Header { offset: 0, available: 3 }));
    }
}
