//! A decoded picture and its scaled versions, shared by the gears of a job.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use headwater_av::{Error, Frame, Scaler, Size};
use headwater_media::{Colour, Instant};

/// The distinct sizes of a job, each with its scaler. A picture is scaled once per size, by the first gear that wants it:
/// gears of different sizes scale side by side.
///
/// Sizes are a pyramid: each is made from the smallest one that is still clearly larger, which has fewer samples to read
/// than the source. Two that are close would add up their losses, so between them there is no step.
///
/// Gears keep the size, the shape and the colour that they were opened with for the whole session. A picture of another
/// shape is shown with black bars.
#[derive(Debug)]
pub(crate) struct Sizes {
    scalers: Vec<SizeScaler>,
}

#[derive(Debug)]
struct SizeScaler {
    size: Size,
    /// The size that it is made from; the source if there is none.
    from: Option<usize>,
    scaler: Mutex<Scaler>,
}

/// A step of the pyramid is at least this large, in percent: 720 to 480 lines and 1280 to 854 columns are one.
const STEP_PERCENT: u32 = 140;

impl Sizes {
    pub(crate) fn new(sizes: impl IntoIterator<Item = Size>) -> Arc<Self> {
        let mut distinct: Vec<Size> = Vec::new();
        for size in sizes {
            if !distinct.contains(&size) {
                distinct.push(size);
            }
        }
        let scaler = |size: &Size| SizeScaler {
            size: *size,
            from: step(*size, &distinct),
            scaler: Mutex::new(Scaler::new(*size)),
        };
        Arc::new(Self { scalers: distinct.iter().map(scaler).collect() })
    }

    /// The colour that the gears' parameter sets say: pictures with another matrix are converted.
    pub(crate) fn set_colour(&self, colour: Colour) {
        for SizeScaler { scaler, .. } in &self.scalers {
            scaler.lock().unwrap_or_else(PoisonError::into_inner).set_colour(colour);
        }
    }

    /// Which of the sizes `size` is.
    pub(crate) fn index(&self, size: Size) -> usize {
        self.scalers.iter().position(|known| known.size == size).unwrap_or(0)
    }
}

/// Which of `sizes` the size `to` is made from.
fn step(to: Size, sizes: &[Size]) -> Option<usize> {
    let enough = |from: u32, to: u32| u64::from(from) * 100 >= u64::from(to) * u64::from(STEP_PERCENT);
    let larger = |from: &Size| enough(from.width, to.width) && enough(from.height, to.height);
    let candidates = sizes.iter().enumerate().filter(|(_, from)| larger(from));
    candidates.min_by_key(|(_, from)| u64::from(from.width) * u64::from(from.height)).map(|(index, _)| index)
}

/// One picture of the source.
pub(crate) struct Picture {
    frame: Frame,
    sizes: Arc<Sizes>,
    scaled: Box<[OnceLock<Result<Frame, Error>>]>,
    /// When the last byte of its access unit came in.
    pub(crate) received: Instant,
}

impl Picture {
    pub(crate) fn new(frame: Frame, sizes: Arc<Sizes>, received: Instant) -> Arc<Self> {
        let scaled = sizes.scalers.iter().map(|_| OnceLock::new()).collect();
        Arc::new(Self { frame, sizes, scaled, received })
    }

    /// The picture in one of the sizes. Waits when another gear is scaling it.
    pub(crate) fn scaled(&self, size: usize) -> Result<&Frame, Error> {
        let scaled = self.scaled[size].get_or_init(|| {
            let SizeScaler { from, scaler, .. } = &self.sizes.scalers[size];
            // Bars of an even width lie elsewhere in a smaller picture.
            let from = from.filter(|from| self.frame.fills(self.sizes.scalers[*from].size));
            let larger = from.map_or(Ok(&self.frame), |from| self.scaled(from))?;
            scaler.lock().unwrap_or_else(PoisonError::into_inner).scale(larger)
        });
        scaled.as_ref().map_err(Clone::clone)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture").field("frame", &self.frame).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each height of a 16:9 ladder the one that it is made from.
    fn steps(heights: &[u32]) -> Vec<Option<u32>> {
        let width = |height: u32| (height * 16).div_ceil(9).next_multiple_of(2);
        let sizes = Sizes::new(heights.iter().map(|height| Size { width: width(*height), height: *height }));
        sizes.scalers.iter().map(|scaler| scaler.from.map(|from| sizes.scalers[from].size.height)).collect()
    }

    #[test]
    fn a_size_is_made_from_the_smallest_that_is_clearly_larger() {
        assert_eq!(steps(&[720, 480, 360]), [None, Some(720), Some(720)]);
        assert_eq!(
            steps(&[1080, 1080, 720, 540, 432, 360, 270, 234]),
            [None, Some(1080), Some(1080), Some(720), Some(540), Some(432), Some(360)]
        );
    }

    #[test]
    fn sizes_of_another_shape_come_from_the_source() {
        let size = |width, height| Size { width, height };
        let sizes = Sizes::new([size(1280, 720), size(720, 640)]);
        assert_eq!(sizes.scalers[1].from, None);
    }
}
