//! FLV files: a header, then tags.

use bytes::{Buf, Bytes, BytesMut};

/// What a file says it has. Nobody keeps to it: read on without it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FileHeader {
    /// There are audio tags.
    pub audio: bool,
    /// There are video tags.
    pub video: bool,
}

/// What is in a tag.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TagType {
    /// 8.
    Audio,
    /// 9.
    Video,
    /// 18, script data in AMF0.
    Script,
    /// 15, script data in AMF0 that may switch to AMF3, behind a byte that says so.
    ScriptAmf3,
    /// Anything else.
    Other(u8),
}

impl TagType {
    /// The number in the file.
    pub const fn number(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
            Self::ScriptAmf3 => 15,
            Self::Other(number) => number,
        }
    }
}

impl From<u8> for TagType {
    fn from(number: u8) -> Self {
        match number {
            8 => Self::Audio,
            9 => Self::Video,
            18 => Self::Script,
            15 => Self::ScriptAmf3,
            other => Self::Other(other),
        }
    }
}

/// One tag of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tag {
    /// What is in it.
    pub kind: TagType,
    /// Milliseconds, 32 bits, wrapping as in RTMP.
    pub timestamp: u32,
    /// The body, as it goes into an RTMP message.
    pub body: Bytes,
}

impl Tag {
    /// The AMF0 values of a script tag: what a data message of RTMP carries.
    pub fn script(&self) -> Option<Bytes> {
        match self.kind {
            TagType::Script => Some(self.body.clone()),
            TagType::ScriptAmf3 => Some(self.body.slice(usize::from(self.body.first() == Some(&0))..)),
            _ => None,
        }
    }
}

/// Why a file cannot be read on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It does not begin with `FLV` and version 1.
    #[error("a file that begins with {found:02x?}, expected 46 4c 56 01 (\"FLV\", version 1)")]
    NotFlv {
        /// Its first bytes.
        found: [u8; 4],
    },
    /// The header says that the first tag comes too early or absurdly late.
    #[error("an FLV header of {found} bytes, expected 9 to {HEADER_BYTES_MAX}")]
    HeaderLength {
        /// Its length by its own account.
        found: u32,
    },
    /// The filter bit of a tag is set.
    #[error("an encrypted FLV tag, which is not supported")]
    Encrypted,
}

/// Bytes of a file's header, of a tag's, and of the length behind each.
const HEADER_BYTES: usize = 9;
const TAG_HEADER_BYTES: usize = 11;
const LENGTH_BYTES: usize = 4;
/// Longer headers than 9 bytes are allowed for future versions, of which there has been none.
const HEADER_BYTES_MAX: usize = 1024;
const FILTER: u8 = 0x20;

/// Takes tags out of a file's bytes.
#[derive(Debug, Default)]
pub struct FileReader {
    buffer: BytesMut,
    header: Option<FileHeader>,
    /// The length behind the last tag is still to be skipped.
    length_due: bool,
}

impl FileReader {
    /// A reader at the front of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the file, cut anywhere. Drain [`poll_tag`](Self::poll_tag) in between, or they pile up.
    pub fn handle_input(&mut self, input: &[u8]) {
        self.buffer.extend_from_slice(input);
    }

    /// The next tag, once all of it is there. A file may end inside a tag; what is left then is lost.
    pub fn poll_tag(&mut self) -> Result<Option<Tag>, FileError> {
        if self.header.is_none() && !self.read_header()? {
            return Ok(None);
        }
        if self.length_due {
            if self.buffer.len() < LENGTH_BYTES {
                return Ok(None);
            }
            self.buffer.advance(LENGTH_BYTES);
            self.length_due = false;
        }
        let [kind, s0, s1, s2, t0, t1, t2, t3, ..] = *self.buffer else { return Ok(None) };
        let length = u32::from_be_bytes([0, s0, s1, s2]) as usize;
        if kind & FILTER != 0 {
            return Err(FileError::Encrypted);
        }
        // The length behind the tag is not waited for: the tag is complete without it.
        if self.buffer.len() < TAG_HEADER_BYTES + length {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(TAG_HEADER_BYTES + length).freeze();
        body.advance(TAG_HEADER_BYTES);
        self.length_due = true;
        Ok(Some(Tag { kind: (kind & 0x1F).into(), timestamp: u32::from_be_bytes([t3, t0, t1, t2]), body }))
    }

    /// The file's header, once it is there.
    pub fn header(&self) -> Option<FileHeader> {
        self.header
    }

    fn read_header(&mut self) -> Result<bool, FileError> {
        let Some(&[f, l, v, version, flags, o0, o1, o2, o3]) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(false);
        };
        let found = [f, l, v, version];
        if found != *b"FLV\x01" {
            return Err(FileError::NotFlv { found });
        }
        let found = u32::from_be_bytes([o0, o1, o2, o3]);
        let length = usize::try_from(found).unwrap_or(usize::MAX);
        if !(HEADER_BYTES..=HEADER_BYTES_MAX).contains(&length) {
            return Err(FileError::HeaderLength { found });
        }
        if self.buffer.len() < length + LENGTH_BYTES {
            return Ok(false);
        }
        self.buffer.advance(length + LENGTH_BYTES);
        self.header = Some(FileHeader { audio: flags & 4 != 0, video: flags & 1 != 0 });
        Ok(true)
    }
}

/// Appends a file's header and the length 0 behind it.
pub fn write_file_header(out: &mut Vec<u8>, header: FileHeader) {
    let flags = u8::from(header.audio) << 2 | u8::from(header.video);
    out.extend_from_slice(&[b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]);
}

/// Appends a tag and its length. The body is below 16 MiB, as that of every RTMP message is.
pub fn write_tag(out: &mut Vec<u8>, tag: &Tag) {
    let length = u32::try_from(tag.body.len()).unwrap_or(u32::MAX);
    assert!(length < 1 << 24, "a tag of {length} bytes does not fit its length field");
    let [_, s0, s1, s2] = length.to_be_bytes();
    let [t3, t0, t1, t2] = tag.timestamp.to_be_bytes();
    out.extend_from_slice(&[tag.kind.number(), s0, s1, s2, t0, t1, t2, t3, 0, 0, 0]);
    out.extend_from_slice(&tag.body);
    out.extend_from_slice(&(length + 11).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_and(rest: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_file_header(&mut bytes, FileHeader { audio: true, video: true });
        bytes.extend(rest);
        bytes
    }

    fn poll(bytes: &[u8]) -> Result<Option<Tag>, FileError> {
        let mut reader = FileReader::new();
        reader.handle_input(bytes);
        reader.poll_tag()
    }

    ///
    #[test]
    fn a_header_and_a_tag_have_these_bytes() {
        let mut bytes = header_and(&[]);
        assert_eq!(bytes, b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
        let tag = Tag { kind: TagType::Video, timestamp: 0x0102_0304, body: Bytes::from_static(b"ab") };
        bytes.clear();
        write_tag(&mut bytes, &tag);
        assert_eq!(bytes, [9, 0, 0, 2, 2, 3, 4, 1, 0, 0, 0, b'a', b'b', 0, 0, 0, 13]);
        assert_eq!(poll(&header_and(&bytes)), Ok(Some(tag)));
    }

    #[test]
    fn a_tag_is_given_before_the_length_behind_it() {
        let tag = poll(&header_and(&[8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'a'])).unwrap();
        assert_eq!(tag.map(|tag| tag.kind), Some(TagType::Audio));
    }

    #[test]
    fn a_longer_header_is_skipped() {
        let mut bytes = b"FLV\x01\x01\0\0\0\x0b??\0\0\0\0".to_vec();
        bytes.extend([18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(poll(&bytes).unwrap().map(|tag| tag.kind), Some(TagType::Script));
    }

    ///
    #[test]
    fn script_tags_have_two_numbers() {
        let script = |kind: u8, body: &'static [u8]| {
            Tag { kind: kind.into(), timestamp: 0, body: Bytes::from_static(body) }.script()
        };
        assert_eq!(script(18, b"\x02\0\x01a"), Some(Bytes::from_static(b"\x02\0\x01a")));
        assert_eq!(script(15, b"\0\x02\0\x01a"), Some(Bytes::from_static(b"\x02\0\x01a")));
        assert_eq!(script(15, b"\x02\0\x01a"), Some(Bytes::from_static(b"\x02\0\x01a")));
        assert_eq!(script(15, b""), Some(Bytes::new()));
        assert_eq!(script(9, b"\x17"), None);
    }

    #[test]
    fn what_is_not_a_plain_flv_file_is_refused() {
        assert_eq!(poll(b"RIFF....."), Err(FileError::NotFlv { found: *b"RIFF" }));
        assert_eq!(poll(b"FLV\x01\x05\0\0\0\x08"), Err(FileError::HeaderLength { found: 8 }));
        assert_eq!(poll(b"FLV\x01\x05\xFF\0\0\0"), Err(FileError::HeaderLength { found: 0xFF00_0000 }));
        assert_eq!(poll(&header_and(&[0x29, 0, 0, 0, 0, 0, 0, 0])), Err(FileError::Encrypted));
    }
}
