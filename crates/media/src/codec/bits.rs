//! A reader of bits, most significant first, with the Exp-Golomb codes of H.264.

use super::CodecError;

/// Reads bits of one record. Past the end every read is an error that names the field.
pub(super) struct BitReader<'a> {
    record: &'static str,
    data: &'a [u8],
    /// Bits read so far.
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Reads `data`; `record` is its name in errors.
    pub(super) fn new(record: &'static str, data: &'a [u8]) -> Self {
        Self { record, data, position: 0 }
    }

    /// Bits not yet read.
    pub(super) fn bits_left(&self) -> usize {
        self.data.len() * 8 - self.position
    }

    /// The next `count` bits, at most 32.
    pub(super) fn bits(&mut self, count: usize, field: &'static str) -> Result<u32, CodecError> {
        debug_assert!(count <= 32);
        if count > self.bits_left() {
            return Err(CodecError::Truncated { record: self.record, field, length: self.data.len() });
        }
        let mut value = 0;
        for _ in 0..count {
            let bit = self.data[self.position / 8] >> (7 - self.position % 8) & 1;
            value = value << 1 | u32::from(bit);
            self.position += 1;
        }
        Ok(value)
    }

    /// The next 8 bits.
    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, CodecError> {
        self.bits(8, field).map(|value| u8::try_from(value).expect("8 bits fit into a byte"))
    }

    /// The next bit.
    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, CodecError> {
        self.bits(1, field).map(|bit| bit == 1)
    }

    /// `ue(v)`, ITU-T H.264, 9.1; at most 32 leading zeros, as the standard has it.
    pub(super) fn unsigned(&mut self, field: &'static str) -> Result<u32, CodecError> {
        let mut zeros = 0;
        while !self.flag(field)? {
            zeros += 1;
            if zeros > 31 {
                // 2^32 - 1 alone has 32 zeros, and no field that we read may have that value.
                return Err(self.unsupported(field, u64::from(u32::MAX), "an Exp-Golomb code below 2^32 - 1"));
            }
        }
        let suffix = self.bits(zeros, field)?;
        Ok(((1u64 << zeros) - 1 + u64::from(suffix)).try_into().expect("31 zeros give at most 2^32 - 2"))
    }

    /// `ue(v)` that may not exceed `max`.
    pub(super) fn unsigned_up_to(
        &mut self,
        max: u32,
        field: &'static str,
        expected: &'static str,
    ) -> Result<u32, CodecError> {
        let value = self.unsigned(field)?;
        if value > max { Err(self.unsupported(field, u64::from(value), expected)) } else { Ok(value) }
    }

    /// `se(v)`, ITU-T H.264, 9.1.1.
    pub(super) fn signed(&mut self, field: &'static str) -> Result<i32, CodecError> {
        let code = self.unsigned(field)?;
        let magnitude = i32::try_from(code.div_ceil(2)).expect("half of a 32-bit code fits");
        Ok(if code % 2 == 1 { magnitude } else { -magnitude })
    }

    /// Passes over `count` bits.
    pub(super) fn skip(&mut self, count: usize, field: &'static str) -> Result<(), CodecError> {
        if count > self.bits_left() {
            return Err(CodecError::Truncated { record: self.record, field, length: self.data.len() });
        }
        self.position += count;
        Ok(())
    }

    /// Goes on to the next whole byte.
    pub(super) fn align(&mut self) {
        self.position = self.position.next_multiple_of(8);
    }

    /// An error about a field of this record.
    pub(super) fn unsupported(&self, field: &'static str, found: u64, expected: &'static str) -> CodecError {
        CodecError::Unsupported { record: self.record, field, found, expected }
    }
}

/// The payload of a NAL unit without its emulation prevention bytes (H.264, 7.4.1; H.265 has the same).
pub(crate) fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(escaped.len());
    let mut zeros = 0;
    for &byte in escaped {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        payload.push(byte);
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_read_as_the_standard_lists_them() {
        // 1 010 011 00100 00101: 0 1 2 3 4.
        let data = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut reader = BitReader::new("test", &data);
        let values: Vec<u32> = (0..5).map(|_| reader.unsigned("code").unwrap()).collect();
        assert_eq!(values, [0, 1, 2, 3, 4]);
        let mut reader = BitReader::new("test", &data);
        let values: Vec<i32> = (0..5).map(|_| reader.signed("code").unwrap()).collect();
        assert_eq!(values, [0, 1, -1, 2, -2]);
    }

    #[test]
    fn a_code_of_zeros_only_is_an_error() {
        assert!(BitReader::new("test", &[0; 64]).unsigned("code").is_err());
        assert!(BitReader::new("test", &[0; 3]).unsigned("code").is_err());
        assert!(BitReader::new("test", &[]).flag("flag").is_err());
    }

    #[test]
    fn the_longest_code_reads() {
        let mut data = vec![0, 0, 0, 1];
        data.extend([0xFF; 4]);
        assert_eq!(BitReader::new("test", &data).unsigned("code"), Ok(u32::MAX - 1));
        assert_eq!(BitReader::new("test", &data).signed("code"), Ok(-i32::MAX));
    }
}
