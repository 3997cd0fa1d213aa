//! Frames of any size and pixel format to yuv420p of one size: by zimg what it is made for and HDR, by `SwsContext` all
//! else.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::ptr::NonNull;

use ffmpeg_sys_next as ffi;
use headwater_media::{Colour, VideoRange};

use crate::tone::{Hdr, ToneMapper};
use crate::zimg::{Alignment, Resizer};
use crate::{Error, Frame, PixelFormat, log};

/// Width and height of a picture.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Size {
    /// Samples in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// The size with square samples, even sides and the shape of this picture that fills `bounds` without leaving
    /// them. `sample_aspect` is the shape of this picture's samples. Each side is the even number nearest to the true
    /// one, so the shape is off by less than one sample.
    pub fn fit_within(self, sample_aspect: (u32, u32), bounds: Self) -> Self {
        // The picture as it is shown, in units that keep it whole: width x num by height x den.
        let shown_width = u64::from(self.width.max(1)) * u64::from(sample_aspect.0.max(1));
        let shown_height = u64::from(self.height.max(1)) * u64::from(sample_aspect.1.max(1));
        let (bound_width, bound_height) = (u64::from(bounds.width), u64::from(bounds.height));
        // Sides are limited far below 2^31, their products fit.
        if shown_width * bound_height >= shown_height * bound_width {
            let height = even(bound_width * shown_height, shown_width);
            Self { width: even(bound_width, 1), height: height.min(even(bound_height, 1)) }
        } else {
            let width = even(bound_height * shown_width, shown_height);
            Self { width: width.min(even(bound_width, 1)), height: even(bound_height, 1) }
        }
    }
}

/// The even number nearest to `numerator / denominator`, at least 2.
fn even(numerator: u64, denominator: u64) -> u32 {
    let halves = (numerator + denominator) / (2 * denominator);
    u32::try_from(halves.max(1) * 2).unwrap_or(u32::MAX - 1)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Scales frames to one size in yuv420p with limited range, with a bicubic filter.
///
/// The result is the same on every CPU, but for HDR that becomes SDR. A picture whose shape is not the target's keeps it,
/// between black bars. Its colour stays as it is, unless [`set_colour`](Self::set_colour) asks for another one.
#[derive(Debug)]
pub struct Scaler {
    target: Size,
    colour: Option<Colour>,
    /// For the kind of frame that came last.
    current: Option<(Source, Method)>,
    /// Frames given out; their memory is used again when nobody else holds them any more.
    pool: Vec<Frame>,
    /// What was placed between bars last; its memory is used again.
    inner: Option<Frame>,
    /// Size of the picture between the bars of the pool's frames.
    bars_of: Size,
}

/// What a context was made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Source {
    size: Size,
    sample_aspect: (u32, u32),
    format: c_int,
    matrix: u8,
    full_range: bool,
    /// It is brighter than what is wanted.
    hdr: Option<Hdr>,
    /// Where the rows of it, and of what it is scaled to, begin.
    alignment: Option<Alignment>,
}

/// How frames are scaled.
#[derive(Debug)]
enum Method {
    /// 8-bit 4:2:0 with limited range.
    Zimg(Resizer),
    /// HDR where SDR is wanted.
    Tone(Box<ToneMapper>),
    /// Everything else.
    Swscale(Context),
}

impl Method {
    fn new(frame: &Frame, source: Source, target: Size, matrix: u8) -> Result<Self, Error> {
        const YUV420P: c_int = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as c_int;
        let even = source.size.width.is_multiple_of(2) && source.size.height.is_multiple_of(2);
        let same_colour = !source.full_range && source.matrix == matrix;
        if let Some(alignment) = source.alignment
            && source.format == YUV420P
            && source.hdr.is_none()
            && same_colour
            && even
        {
            return Ok(Self::Zimg(Resizer::new(source.size, target, alignment)?));
        }
        // What zimg cannot read, such as planes of RGB, is pale but there.
        if let (Some(hdr), Some(alignment)) = (source.hdr, source.alignment)
            && let Ok(mapper) = ToneMapper::new(frame, hdr, target, matrix, alignment)
        {
            return Ok(Self::Tone(Box::new(mapper)));
        }
        Ok(Self::Swscale(Context::new(source, target, matrix)?))
    }
}

impl Frame {
    /// Whether a [`Scaler`] to `target` shows the picture without bars.
    pub fn fills(&self, target: Size) -> bool {
        self.fit_within(target) == target
    }

    /// What the picture becomes in `target`: all of it, unless a side would be more than the rounding of even sizes off.
    fn fit_within(&self, target: Size) -> Size {
        let fitted = self.size().fit_within(self.sample_aspect(), target);
        let fills = target.width - fitted.width <= 2 && target.height - fitted.height <= 2;
        if fills { target } else { fitted }
    }
}

impl Scaler {
    /// A scaler to `target`, whose sides must be even.
    pub fn new(target: Size) -> Self {
        log::silence();
        Self { target, colour: None, current: None, pool: Vec::new(), inner: None, bars_of: target }
    }

    /// Size of the frames that come out.
    pub fn target(&self) -> Size {
        self.target
    }

    /// Frames come out in this colour from now on: their matrix is converted to its. Primaries and transfer are only
    /// said to be its; between those of SD and HD the difference is hardly visible. HDR, by a frame's transfer, is made SDR
    /// where this colour is.
    pub fn set_colour(&mut self, colour: Colour) {
        self.colour = Some(colour);
        self.current = None;
    }

    /// The frame in the target's size, with the same presentation time. A frame that has it already is only shared.
    pub fn scale(&mut self, frame: &Frame) -> Result<Frame, Error> {
        let colour = frame.colour();
        let hdr = self.colour.filter(|wanted| is_hdr(colour) && !is_hdr(*wanted)).map(|_| Hdr::of(colour));
        let source = Source {
            size: frame.size(),
            sample_aspect: frame.sample_aspect(),
            format: frame.raw().format,
            matrix: matrix_of(colour.matrix, frame.size()),
            full_range: colour.full_range,
            hdr,
            alignment: Alignment::of(frame),
        };
        let fitted = frame.fit_within(self.target);
        let matrix = self.colour.map_or(source.matrix, |colour| matrix_of(colour.matrix, frame.size()));
        let as_wanted = source.size == fitted
            && frame.pixel_format() == PixelFormat::Yuv420p
            && !source.full_range
            && source.hdr.is_none()
            && source.matrix == matrix;
        if as_wanted && fitted == self.target {
            return frame.reference();
        }
        if self.bars_of != fitted {
            // Bars are in other places.
            self.bars_of = fitted;
            self.pool.clear();
            self.inner = None;
        }
        let scaled = match (fitted == self.target, as_wanted) {
            (true, _) => {
                let spare = self.spare().map_or_else(|| Frame::blank(self.target), Ok)?;
                self.scale_into(frame, spare, source, matrix)?
            }
            (false, true) => self.place(frame)?,
            (false, false) => {
                let inner = self.inner.take().map_or_else(|| Frame::blank(fitted), Ok)?;
                let inner = self.scale_into(frame, inner, source, matrix)?;
                let placed = self.place(&inner)?;
                self.inner = Some(inner);
                placed
            }
        };
        self.give_out(scaled, frame)
    }

    /// A frame whose memory nobody uses any more.
    fn spare(&mut self) -> Option<Frame> {
        let index = self.pool.iter().position(Frame::is_unshared)?;
        Some(self.pool.swap_remove(index))
    }

    /// Fills `scaled` with the picture.
    fn scale_into(&mut self, frame: &Frame, mut scaled: Frame, source: Source, matrix: u8) -> Result<Frame, Error> {
        // Rows of both must begin where the chosen instructions take them.
        let source = Source { alignment: source.alignment.min(Alignment::of(&scaled)), ..source };
        let method = match &mut self.current {
            Some((made_for, method)) if *made_for == source => method,
            current => &mut current.insert((source, Method::new(frame, source, scaled.size(), matrix)?)).1,
        };
        match method {
            Method::Zimg(resizer) => resizer.scale(frame, &mut scaled)?,
            Method::Tone(mapper) => mapper.scale(frame, &mut scaled)?,
            Method::Swscale(context) => context.scale(frame, &mut scaled)?,
        }
        Ok(scaled)
    }

    /// The picture between bars that are as wide on either side as even sizes allow.
    fn place(&mut self, picture: &Frame) -> Result<Frame, Error> {
        let mut placed = self.spare().map_or_else(|| Frame::solid(self.target, BLACK, [NEUTRAL; 2]), Ok)?;
        let size = picture.size();
        placed.place(picture, (self.target.width - size.width) / 4 * 2, (self.target.height - size.height) / 4 * 2)?;
        Ok(placed)
    }

    fn give_out(&mut self, mut scaled: Frame, frame: &Frame) -> Result<Frame, Error> {
        scaled.describe_like(frame);
        if let Some(colour) = self.colour {
            scaled.set_colour(colour);
        }
        let result = scaled.reference()?;
        if self.pool.len() < POOL_MAX {
            self.pool.push(scaled);
        }
        Ok(result)
    }
}

/// The libav object.
#[derive(Debug)]
struct Context {
    context: NonNull<ffi::SwsContext>,
}

// SAFETY: a scaling context is plain memory that may move between threads; `&mut self` keeps it to one at a time. It
// runs without threads of its own.
unsafe impl Send for Context {}

impl Context {
    fn new(source: Source, target: Size, matrix: u8) -> Result<Self, Error> {
        // SAFETY: sws_alloc_context has no requirements; null means no memory.
        let context = unsafe { ffi::sws_alloc_context() };
        let context = NonNull::new(context).ok_or(Error::OutOfMemory { action: OPENING })?;
        let made = Self { context };
        made.set(c"srcw", i64::from(source.size.width))?;
        made.set(c"srch", i64::from(source.size.height))?;
        made.set(c"src_format", i64::from(source.format))?;
        made.set(c"dstw", i64::from(target.width))?;
        made.set(c"dsth", i64::from(target.height))?;
        made.set(c"dst_format", i64::from(ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as c_int))?;
        // bitexact and accurate_rnd: the same result on every CPU.
        // SAFETY: the context is an object with options; name and value are zero-terminated and copied.
        let code = unsafe {
            let flags = c"bicubic+accurate_rnd+bitexact".as_ptr();
            ffi::av_opt_set(context.as_ptr().cast(), c"sws_flags".as_ptr(), flags, 0)
        };
        Error::check(OPENING, code)?;
        // SAFETY: all sizes and formats are set; the filters may be null. Unknown formats and sizes give an error.
        let code = unsafe { ffi::sws_init_context(context.as_ptr(), std::ptr::null_mut(), std::ptr::null_mut()) };
        Error::check(OPENING, code)?;
        made.set_colours(source, matrix);
        Ok(made)
    }

    /// Limited range goes out, whatever comes in, with the matrix that is wanted. swscale answers with an error where this
    /// does not apply (grey pictures); then there is nothing to convert.
    fn set_colours(&self, source: Source, matrix: u8) {
        // SAFETY: sws_getCoefficients returns a static table for every number, a default one for unknown numbers.
        // The context is initialised, and copies what it needs from the tables.
        unsafe {
            let from = ffi::sws_getCoefficients(c_int::from(source.matrix));
            let to = ffi::sws_getCoefficients(c_int::from(matrix));
            let one = 1 << 16;
            let full = c_int::from(source.full_range);
            ffi::sws_setColorspaceDetails(self.context.as_ptr(), from, full, to, 0, 0, one, one);
        }
    }

    fn set(&self, name: &'static CStr, value: i64) -> Result<(), Error> {
        // SAFETY: the context is an object with options, not initialised yet; the name is zero-terminated.
        let code = unsafe { ffi::av_opt_set_int(self.context.as_ptr().cast(), name.as_ptr(), value, 0) };
        Error::check(OPENING, code).map(|_| ())
    }

    fn scale(&mut self, from: &Frame, to: &mut Frame) -> Result<(), Error> {
        // SAFETY: both frames have reference-counted buffers of the sizes and formats that the context was made for;
        // nobody else refers to the samples of `to`. The call drops its references to both before it returns.
        let code = unsafe { ffi::sws_scale_frame(self.context.as_ptr(), to.as_mut_ptr(), from.as_ptr()) };
        Error::check("scaling", code).map(|_| ())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context came from sws_alloc_context and is freed once.
        unsafe { ffi::sws_freeContext(self.context.as_ptr()) }
    }
}

/// The matrix of a picture whose stream says `said`. Where it says nothing, players take that of HD from 720 lines on and
/// that of SD below; the two of BT.601 are one.
fn matrix_of(said: u8, size: Size) -> u8 {
    match said {
        0 | 2 | 3 if size.height >= 720 => BT_709,
        0 | 2 | 3 | 5 => BT_601,
        other => other,
    }
}

fn is_hdr(colour: Colour) -> bool {
    VideoRange::of(Some(colour)) != VideoRange::Sdr
}

/// Code points of matrix_coefficients (ITU-T H.273).
const BT_709: u8 = 1;
const BT_601: u8 = 6;
/// Frames whose memory is kept: as many as a gear may have before it, and those in hands.
const POOL_MAX: usize = 10;
const OPENING: &str = "setting up the scaler";
/// Luma of black in limited range, and chroma without colour.
const BLACK: u8 = 16;
const NEUTRAL: u8 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(width: u32, height: u32, bounds: (u32, u32)) -> (u32, u32) {
        let bounds = Size { width: bounds.0, height: bounds.1 };
        let size = Size { width, height }.fit_within((1, 1), bounds);
        (size.width, size.height)
    }

    #[test]
    fn shapes_are_kept_and_sides_are_even() {
        assert_eq!(fitted(1920, 1080, (1280, 720)), (1280, 720));
        assert_eq!(fitted(1920, 1080, (854, 480)), (854, 480));
        assert_eq!(fitted(1919, 1079, (1280, 720)), (1280, 720));
        assert_eq!(fitted(853, 480, (640, 360)), (640, 360));
        assert_eq!(fitted(405, 720, (360, 640)), (360, 640));
        assert_eq!(fitted(1080, 1920, (1280, 720)), (406, 720));
        assert_eq!(fitted(1440, 1080, (1280, 720)), (960, 720));
        assert_eq!(fitted(2560, 1080, (1280, 720)), (1280, 540));
        assert_eq!(fitted(10_000, 1, (1280, 720)), (1280, 2));
    }

    #[test]
    fn the_usual_pictures_are_scaled_by_zimg_and_odd_ones_by_swscale() {
        for (width, height, by_zimg) in [(1920, 1080, true), (1919, 1080, false)] {
            let mut scaler = Scaler::new(Size { width: 1280, height: 720 });
            let scaled = scaler.scale(&Frame::solid(Size { width, height }, 100, [90, 160]).unwrap()).unwrap();
            assert_eq!(matches!(scaler.current, Some((_, Method::Zimg(_)))), by_zimg, "{width}x{height}");
            for (index, wanted) in [100, 90, 160].into_iter().enumerate() {
                assert!(scaled.plane(index).unwrap().rows().flatten().all(|sample| sample.abs_diff(wanted) <= 1));
            }
        }
    }

    #[test]
    fn memory_of_pictures_that_nobody_holds_is_used_again() {
        let mut scaler = Scaler::new(Size { width: 64, height: 36 });
        let source = Frame::solid(Size { width: 128, height: 72 }, 100, [90, 160]).unwrap();
        let held: Vec<Frame> = (0..3).map(|_| scaler.scale(&source).unwrap()).collect();
        let memory = |frame: &Frame| frame.raw().data[0] as usize;
        let first: Vec<usize> = held.iter().map(memory).collect();
        assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
        drop(held);
        assert!(first.contains(&memory(&scaler.scale(&source).unwrap())));
    }

    #[test]
    fn a_picture_that_does_not_say_its_matrix_is_taken_for_what_players_take_it_for() {
        const HD: Colour = Colour { primaries: 1, transfer: 1, matrix: BT_709, full_range: false };
        let luma = |width, height| {
            let frame = Frame::solid(Size { width, height }, 120, [90, 200]).unwrap();
            let mut scaler = Scaler::new(Size { width: 320, height: 180 });
            scaler.set_colour(HD);
            let scaled = scaler.scale(&frame).unwrap();
            scaled.plane(0).unwrap().rows().next().unwrap()[0]
        };
        assert_eq!(luma(1280, 720), 120, "it is HD's already");
        assert_ne!(luma(640, 360), 120, "SD's is converted");
    }

    #[test]
    fn samples_that_are_not_square_become_square() {
        let size = Size { width: 720, height: 576 }.fit_within((16, 15), Size { width: 640, height: 360 });
        assert_eq!(size, Size { width: 480, height: 360 });
    }
}
