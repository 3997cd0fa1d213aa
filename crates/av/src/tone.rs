//! HDR pictures for SDR: PQ and HLG (ITU-R BT.2100) made into what HD has (BT.709). zimg does what is the same for all
//! pictures: size, matrix, chroma. What their light becomes is here.

use std::ffi::c_int;

use headwater_media::Colour;

use crate::zimg::{Alignment, COLOR_RGB, Graph, ImageBuffer, ImageFormat, PIXEL_FLOAT, RANGE_FULL};
use crate::{Error, Frame, Size};

/// What an HDR picture's samples mean: code points of ITU-T H.273.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Hdr {
    primaries: u8,
    transfer: u8,
    matrix: u8,
    full_range: bool,
}

impl Hdr {
    /// By what a frame says of its colour. Where it says nothing it is what all HDR has, BT.2020.
    pub(crate) fn of(colour: Colour) -> Self {
        let known = |point| if matches!(point, 0 | 2 | 3) { BT_2020 } else { point };
        let Colour { primaries, transfer, matrix, full_range } = colour;
        Self { primaries: known(primaries), transfer, matrix: known(matrix), full_range }
    }
}

/// Makes HDR pictures of one size and format SDR pictures of another size, in yuv420p with limited range.
///
/// What HDR calls white, 203 cd/m2 (ITU-R BT.2408), is SDR's white, but for the room that brighter light needs: up to
/// [`KNEE`] of it pictures stay as they are, from there on the Moebius transform that goes on with the same slope leaves out
/// ever more, up to [`PEAK`], which is SDR's white. It looks at the largest of red, green and blue, and changes all three
/// alike: so hues stay. Colours that BT.709 does not have become the nearest.
///
/// It counts in floating point: samples may differ by one between CPUs.
#[derive(Debug)]
pub(crate) struct ToneMapper {
    to_rgb: Graph,
    picture: Rgb,
    display: Display,
    to_samples: Graph,
}

impl ToneMapper {
    /// For pictures like `frame`, with rows at multiples of that alignment, to `target`, whose sides are even, with the
    /// matrix that is wanted.
    pub(crate) fn new(frame: &Frame, hdr: Hdr, target: Size, matrix: u8, alignment: Alignment) -> Result<Self, Error> {
        let source = ImageFormat::of(frame).ok_or(Error::OutOfRange { what: "pixel format of an HDR picture" })?;
        let source = ImageFormat {
            matrix_coefficients: hdr.matrix.into(),
            transfer_characteristics: hdr.transfer.into(),
            color_primaries: hdr.primaries.into(),
            pixel_range: if hdr.full_range { RANGE_FULL } else { source.pixel_range },
            ..source
        };
        let rgb = ImageFormat {
            pixel_type: PIXEL_FLOAT,
            depth: 32,
            color_family: COLOR_RGB,
            matrix_coefficients: RGB,
            pixel_range: RANGE_FULL,
            transfer_characteristics: source.transfer_characteristics,
            color_primaries: source.color_primaries,
            ..ImageFormat::new(target)
        };
        let light = ImageFormat { transfer_characteristics: LINEAR, color_primaries: BT_709, ..rgb };
        let samples = ImageFormat {
            matrix_coefficients: matrix.into(),
            transfer_characteristics: BT_709,
            color_primaries: BT_709,
            ..ImageFormat::yuv420p(target)
        };
        Ok(Self {
            to_rgb: Graph::new(&source, &rgb, alignment as c_int)?,
            picture: Rgb::new(target),
            display: Display::new(hdr),
            to_samples: Graph::new(&light, &samples, alignment as c_int)?,
        })
    }

    /// Writes `from` into `to`, a yuv420p picture of the target's size whose samples nobody else refers to. Both have the
    /// alignment that the mapper was made for.
    pub(crate) fn scale(&mut self, from: &Frame, to: &mut Frame) -> Result<(), Error> {
        let rgb = self.picture.buffer();
        // SAFETY: the frame is like the one that the graph was made for, and aligned (the caller has looked); `rgb` is of the
        // graph's format, aligned for every CPU, and ours alone.
        unsafe { self.to_rgb.process(&ImageBuffer::of(from), &rgb) }?;
        for block in self.picture.blocks() {
            let mut light = self.display.light(block.each_ref().map(|component| **component));
            bend(&mut light);
            block.into_iter().zip(light).for_each(|(to, component)| *to = component);
        }
        let light = self.picture.buffer();
        // SAFETY: as above; the caller has seen to `to`.
        unsafe { self.to_samples.process(&light, &ImageBuffer::of(to)) }
    }
}

/// Red, green and blue in floating point.
#[derive(Debug)]
struct Rgb {
    /// The planes one behind the other. `start` is where the first one is aligned.
    samples: Vec<f32>,
    start: usize,
    /// Samples of a row, what is between rows included, and of a plane.
    stride: usize,
    plane: usize,
}

impl Rgb {
    fn new(size: Size) -> Self {
        let [width, height] = [size.width, size.height].map(|side| usize::try_from(side).unwrap_or(usize::MAX));
        let stride = width.next_multiple_of(ALIGNMENT);
        let plane = stride * height;
        let samples = vec![0.0; 3 * plane + ALIGNMENT];
        let start = samples.as_ptr().align_offset(ALIGNMENT * size_of::<f32>());
        Self { samples, start, stride, plane }
    }

    fn buffer(&mut self) -> ImageBuffer {
        let Self { ref mut samples, start, stride, plane } = *self;
        let first = samples[start..start + 3 * plane].as_mut_ptr();
        let stride = isize::try_from(stride * size_of::<f32>()).unwrap_or(isize::MAX);
        ImageBuffer::new(|index| (first.wrapping_add(index * plane).cast(), stride))
    }

    /// All of it, a few pixels at a time.
    fn blocks(&mut self) -> impl Iterator<Item = [&mut Block; 3]> {
        let (red, rest) = self.samples[self.start..].split_at_mut(self.plane);
        let (green, rest) = rest.split_at_mut(self.plane);
        let [red, green, blue] = [red, green, &mut rest[..self.plane]].map(|plane| plane.as_chunks_mut().0.iter_mut());
        red.zip(green).zip(blue).map(|((red, green), blue)| [red, green, blue])
    }
}

/// One component of pixels that lie side by side: as many as the compiler needs to see to count with several at once.
type Block = [f32; ALIGNMENT];

/// What light a display makes of an HDR signal.
#[derive(Debug)]
struct Display {
    /// Of each component of the signal: for PQ the display's light, for HLG that of the scene.
    transfer: Box<Table>,
    /// HLG's OOTF: what the scene's light is multiplied with, by the root of its luminance.
    system: Option<Box<Table>>,
    /// To the primaries of BT.709.
    primaries: [[f32; 3]; 3],
}

/// A function from 0 to 1, in steps finer than those of 10 bits.
type Table = [f32; 4096];

impl Display {
    fn new(hdr: Hdr) -> Self {
        let primaries = match hdr.primaries {
            1 => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            P3_D65 => [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]],
            // ITU-R BT.2087, annex 2.
            _ => [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
        };
        if hdr.transfer == HLG {
            let system = |root: f64| 1000.0 / WHITE_NITS * (root * root).powf(0.2);
            return Self { transfer: table(hlg), system: Some(table(system)), primaries };
        }
        Self { transfer: table(|signal| pq(signal) / WHITE_NITS), system: None, primaries }
    }

    /// In units of white.
    fn light(&self, rgb: [Block; 3]) -> [Block; 3] {
        let mut light = rgb.map(|signal| signal.map(|signal| look(&self.transfer, signal)));
        if let Some(system) = &self.system {
            let roots = dot([0.2627, 0.6780, 0.0593], &light).map(f32::sqrt);
            let factors = roots.map(|root| look(system, root));
            light = light.map(|component| product(component, factors));
        }
        self.primaries.map(|row| dot(row, &light))
    }
}

/// PQ's EOTF, in cd/m2 (BT.2100, table 4).
fn pq(signal: f64) -> f64 {
    let root = signal.powf(32.0 / 2523.0);
    10_000.0 * ((root - 0.8359375).max(0.0) / (18.8515625 - 18.6875 * root)).powf(8192.0 / 1305.0)
}

/// HLG's inverse OETF (BT.2100, table 5).
fn hlg(signal: f64) -> f64 {
    if signal <= 0.5 {
        return signal * signal / 3.0;
    }
    (((signal - 0.559_910_73) / 0.178_832_77).exp() + 0.284_668_92) / 12.0
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest 32-bit number is what is wanted")]
fn table(function: impl Fn(f64) -> f64) -> Box<Table> {
    let mut table = Box::new([0.0; 4096]);
    for (step, value) in (0_u16..).zip(table.iter_mut()) {
        *value = function(f64::from(step) / 4095.0) as f32;
    }
    table
}

fn look(table: &Table, value: f32) -> f32 {
    /// The number from which on 32 bits have no fraction: what is added to it is rounded, and stands in the lowest bits. A
    /// cast takes longer.
    const WHOLE: f32 = 8_388_608.0;
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < 1.0 { value } else { 1.0 };
    table[(value * 4095.0 + WHOLE).to_bits() as usize & 4095]
}

fn dot(weights: [f32; 3], rgb: &[Block; 3]) -> Block {
    std::array::from_fn(|pixel| weights[0] * rgb[0][pixel] + weights[1] * rgb[1][pixel] + weights[2] * rgb[2][pixel])
}

fn product(a: Block, b: Block) -> Block {
    std::array::from_fn(|pixel| a[pixel] * b[pixel])
}

/// Leaves out what SDR has no room for: light that is too bright, and less than none, which is of colours that it does not
/// have.
fn bend(light: &mut [Block; 3]) {
    // Without a case for what is no number, which `f32::max` has, it is one instruction.
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let factors: Block = std::array::from_fn(|pixel| {
        let brightest = larger(larger(light[0][pixel], light[1][pixel]), light[2][pixel]);
        let bent = larger(brightest, KNEE);
        let limited = if bent < PEAK { bent } else { PEAK };
        let factor = SCALE * (limited + A) / ((limited + B) * bent);
        if brightest > KNEE { factor } else { 1.0 }
    });
    for component in light {
        *component = product(component.map(|light| larger(light, 0.0)), factors);
    }
}

/// Reference white of HDR: ITU-R BT.2408, table 1.
const WHITE_NITS: f64 = 203.0;
/// The brightest light that keeps a difference, in units of white: 1000 cd/m2, which is what HLG's reference display has
/// (BT.2100) and what most PQ is made for.
const PEAK: f32 = 1000.0 / 203.0;
/// Up to here nothing changes, in the same units: 0.6 are 81 % of the signal, more than skin has.
const KNEE: f32 = 0.6;
/// SCALE (x + A) / (x + B) is KNEE with a slope of 1 there, and 1 at PEAK.
const A: f32 = -KNEE * KNEE * (PEAK - 1.0) / (KNEE * KNEE - 2.0 * KNEE + PEAK);
const B: f32 = (KNEE * KNEE - 2.0 * KNEE * PEAK + PEAK) / (PEAK - 1.0);
const SCALE: f32 = (B + KNEE) * (B + KNEE) / (B - A);
/// Samples at multiples of which rows begin: 64 bytes, the most that any CPU's instructions want.
const ALIGNMENT: usize = 16;
/// Code points of ITU-T H.273: no matrix at all, and transfers.
const RGB: c_int = 0;
const LINEAR: c_int = 8;
const HLG: u8 = 18;
/// Primaries of P3 with the white of video.
const P3_D65: u8 = 12;
/// BT.2020 in the tables of primaries and of matrices, where light is not weighed before it is coded.
const BT_2020: u8 = 9;
/// The same number for primaries, transfer and matrix.
const BT_709: c_int = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn bent(light: [f32; 3]) -> [f32; 3] {
        let mut blocks = light.map(|component| [component; ALIGNMENT]);
        bend(&mut blocks);
        blocks.map(|block| block[ALIGNMENT - 1])
    }

    fn grey(light: f32) -> f32 {
        bent([light; 3])[0]
    }

    #[test]
    fn the_curve_is_straight_to_the_knee_then_bends_and_ends_in_white() {
        for light in [0.0, 0.1, 0.3, KNEE] {
            assert_eq!(grey(light), light);
        }
        assert_eq!(bent([0.2, 0.1, -0.1]), [0.2, 0.1, 0.0]);
        for step in 1..4000_u16 {
            let (before, after) = (grey(f32::from(step - 1) / 1000.0 + KNEE), grey(f32::from(step) / 1000.0 + KNEE));
            assert!(after > before && after - before < 0.001_002, "{step}");
        }
        assert!((grey(1.0) - 0.81).abs() < 0.005, "HDR's white: {}", grey(1.0));
        for light in [PEAK, 2.0 * PEAK, 10_000.0 / 203.0] {
            assert!((grey(light) - 1.0).abs() < 1e-5, "{light}");
        }
        let [red, green, blue] = bent([2.0, 1.0, 0.5]);
        assert!((red / green - 2.0).abs() < 1e-5 && (green / blue - 2.0).abs() < 1e-5, "hues stay");
    }

    /// White is at 58 % of PQ and at 75 % of HLG (BT.2408, table 1), black at 0, and primaries change no grey.
    #[test]
    fn white_is_where_the_standard_has_it() {
        for (transfer, signal, peak) in [(16, 0.580_69, 10_000.0 / 203.0), (HLG, 0.75, PEAK)] {
            for primaries in [1, BT_2020, P3_D65] {
                let display = Display::new(Hdr { primaries, transfer, matrix: BT_2020, full_range: false });
                for (signal, wanted) in [(0.0, 0.0), (signal, 1.0), (1.0, peak), (1.1, peak)] {
                    let off = display.light([[signal; ALIGNMENT]; 3]).map(|light| (light[0] - wanted).abs());
                    assert!(off.iter().all(|off| *off <= 0.01 * wanted), "{transfer} {primaries} {signal}: {off:?}");
                }
            }
        }
    }
}
