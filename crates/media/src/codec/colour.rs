//! How the numbers of a picture are meant as colours (ITU-T H.273).

use super::CodecError;
use super::bits::BitReader;

/// VUI colour description: code points of ITU-T H.273; 2 is "unspecified".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Colour {
    /// colour_primaries.
    pub primaries: u8,
    /// transfer_characteristics.
    pub transfer: u8,
    /// matrix_coefficients.
    pub matrix: u8,
    /// video_full_range_flag.
    pub full_range: bool,
}

impl Colour {
    /// That of HD: ITU-R BT.709, limited range.
    pub const HD: Self = Self { primaries: BT_709, transfer: BT_709, matrix: BT_709, full_range: false };

    /// Nothing is said but the range.
    pub fn unspecified(full_range: bool) -> Self {
        Self { primaries: 2, transfer: 2, matrix: 2, full_range }
    }

    /// video_format and what follows it, in the VUI of H.264 (E.1.1) as of H.265 (E.2.1).
    pub(super) fn read(bits: &mut BitReader<'_>) -> Result<Self, CodecError> {
        bits.bits(3, "video_format")?;
        let mut colour = Self::unspecified(bits.flag("video_full_range_flag")?);
        if bits.flag("colour_description_present_flag")? {
            colour.primaries = bits.byte("colour_primaries")?;
            colour.transfer = bits.byte("transfer_characteristics")?;
            colour.matrix = bits.byte("matrix_coefficients")?;
        }
        Ok(colour)
    }

    /// The colour with what `hint` says wherever it says nothing itself.
    #[must_use]
    pub fn or(self, hint: Self) -> Self {
        let known = |point, hint| if point == 2 { hint } else { point };
        Self {
            primaries: known(self.primaries, hint.primaries),
            transfer: known(self.transfer, hint.transfer),
            matrix: known(self.matrix, hint.matrix),
            full_range: self.full_range,
        }
    }

    /// What a picture of `height` pixels is taken for when nothing is said: BT.709 from 720 lines on, else SMPTE 170M.
    /// Players guess like this, each picture by its own height.
    pub fn assumed(height: u32) -> Self {
        let point = if height >= 720 { BT_709 } else { SMPTE_170M };
        Self { primaries: point, transfer: point, matrix: point, full_range: false }
    }

    /// The colour with what is [`assumed`](Self::assumed) wherever it says nothing that video can have.
    #[must_use]
    pub fn or_assumed(self, height: u32) -> Self {
        let assumed = Self::assumed(height);
        let known = |point, assumed| if matches!(point, 0 | 2 | 3) { assumed } else { point };
        Self {
            primaries: known(self.primaries, assumed.primaries),
            transfer: known(self.transfer, assumed.transfer),
            matrix: known(self.matrix, assumed.matrix),
            full_range: self.full_range,
        }
    }
}

/// Code point of BT.709 in the tables for primaries, transfer and matrix of ITU-T H.273.
const BT_709: u8 = 1;
/// Code point of SMPTE 170M, the colour of SD, in the same tables.
const SMPTE_170M: u8 = 6;
