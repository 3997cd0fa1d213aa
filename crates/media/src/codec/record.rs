//! A reader of a configuration record's bytes.

use bytes::Bytes;

use super::CodecError;

/// Reads a record from its front. Past the end every read is an error that names the field.
pub(super) struct RecordReader<'a> {
    name: &'static str,
    record: &'a [u8],
    position: usize,
}

impl<'a> RecordReader<'a> {
    /// Reads `record`; `name` is its name in errors.
    pub(super) fn new(name: &'static str, record: &'a [u8]) -> Self {
        Self { name, record, position: 0 }
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], CodecError> {
        let bytes = self.record[self.position..].get(..count).ok_or(CodecError::Truncated {
            record: self.name,
            field,
            length: self.record.len(),
        })?;
        self.position += count;
        Ok(bytes)
    }

    /// The next byte.
    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, CodecError> {
        self.take(1, field).map(|bytes| bytes[0])
    }

    /// The next two bytes.
    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, CodecError> {
        self.take(2, field).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// `count` NAL units, each with a length of two bytes before it.
    pub(super) fn units(&mut self, count: u16, field: &'static str) -> Result<Vec<Bytes>, CodecError> {
        let mut units = Vec::new();
        for _ in 0..count {
            let length = usize::from(self.u16(field)?);
            units.push(Bytes::copy_from_slice(self.take(length, field)?));
        }
        Ok(units)
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.record[self.position..]
    }

    /// An error about a field of this record.
    pub(super) fn unsupported(&self, field: &'static str, found: u64, expected: &'static str) -> CodecError {
        CodecError::Unsupported { record: self.name, field, found, expected }
    }
}

/// Parameter sets go into every init segment, which is made anew when one of them changes.
const SETS_BYTES_MAX: usize = 64 << 10;

/// Whether all the parameter sets of a configuration together are of a length that somebody needs.
pub(super) fn check_sets<'a>(record: &'static str, sets: impl Iterator<Item = &'a Bytes>) -> Result<(), CodecError> {
    let bytes: usize = sets.map(Bytes::len).sum();
    if bytes > SETS_BYTES_MAX {
        let (found, expected) = (bytes as u64, "at most 65536 bytes");
        return Err(CodecError::Unsupported { record, field: "parameter sets", found, expected });
    }
    Ok(())
}
