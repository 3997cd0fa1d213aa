//! AAC: the AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1; R-102).

use bytes::Bytes;

use super::CodecError;

/// A parsed AudioSpecificConfig.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AacConfig {
    /// The record as it came; decoders and `esds` get these bytes.
    pub record: Bytes,
    /// Audio object type of the core: 2 is AAC-LC.
    pub object_type: u8,
    /// Core sample rate in Hz.
    pub sample_rate: u32,
    /// Channels; 0 when only the bitstream says it (a program config element).
    pub channels: u8,
    /// SBR (HE-AAC) is signalled: the output rate.
    pub extension_sample_rate: Option<u32>,
}

impl AacConfig {
    /// Reads a record. Trailing bytes are kept in [`record`](Self::record) and otherwise ignored.
    pub fn parse(record: Bytes) -> Result<Self, CodecError> {
        let _ = record;
        Err(CodecError::Truncated { record: "AudioSpecificConfig", field: "object type", length: 0 })
    }

    /// Whether players take it as it is: AAC-LC at 44.1 or 48 kHz, mono or stereo (architecture 8).
    pub fn passes_through(&self) -> bool {
        self.object_type == 2
            && self.extension_sample_rate.is_none()
            && matches!(self.sample_rate, 44_100 | 48_000)
            && matches!(self.channels, 1 | 2)
    }
}
