//! A decoded picture and its scaled versions, shared by the gears of a job.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use headwater_av::{Error, Frame, Scaler, Size};
use headwater_media::{Colour, Instant};

/// The distinct sizes of a job, each with its scaler. A picture is scaled once per size, by the first gear that wants it:
/// gears of different sizes scale side by side.
///
/// Gears keep the size, the shape and the colour that they were opened with for the whole session. A picture of another
/// shape is shown with black bars.
#[derive(Debug)]
pub(crate) struct Sizes {
    scalers: Vec<(Size, Mutex<Scaler>)>,
}

impl Sizes {
    pub(crate) fn new(sizes: impl IntoIterator<Item = Size>) -> Arc<Self> {
        let mut scalers: Vec<(Size, Mutex<Scaler>)> = Vec::new();
        for size in sizes {
            if scalers.iter().all(|(known, _)| *known != size) {
                scalers.push((size, Mutex::new(Scaler::new(size))));
            }
        }
        Arc::new(Self { scalers })
    }

    /// The colour that the gears' parameter sets say: pictures with another matrix are converted.
    pub(crate) fn set_colour(&self, colour: Colour) {
        for (_, scaler) in &self.scalers {
            scaler.lock().unwrap_or_else(PoisonError::into_inner).set_colour(colour);
        }
    }

    /// Which of the sizes `size` is.
    pub(crate) fn index(&self, size: Size) -> usize {
        self.scalers.iter().position(|(known, _)| *known == size).unwrap_or(0)
    }
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
            let mut scaler = self.sizes.scalers[size].1.lock().unwrap_or_else(PoisonError::into_inner);
            scaler.scale(&self.frame)
        });
        scaled.as_ref().map_err(Clone::clone)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture").field("frame", &self.frame).finish_non_exhaustive()
    }
}
