//! `AVFrame`: one decoded picture.

use std::ffi::c_int;
use std::fmt;
use std::ptr::NonNull;

use ffmpeg_sys_next as ffi;
use headwater_media::Colour;

use crate::{Error, Size};

/// One decoded picture. Its samples are shared: a clone costs a few hundred bytes, whatever the size of the picture.
pub struct Frame {
    frame: NonNull<ffi::AVFrame>,
}

// SAFETY: a frame handle has one owner, and libav counts references to the shared samples atomically.
unsafe impl Send for Frame {}
// SAFETY: through `&Frame` the handle and the samples are only read (a clone counts atomically); the samples are
// written only through `&mut`, after av_frame_make_writable has made sure that nobody else refers to them.
unsafe impl Sync for Frame {}

/// How samples are laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PixelFormat {
    /// 4:2:0, 8 bits, three planes. What encoders get.
    Yuv420p,
    /// The same with full-range samples, as some decoders name it.
    Yuvj420p,
    /// Anything else: libav's number for it.
    Other(i32),
}

/// One component of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    frame: &'a Frame,
    index: usize,
    stride: usize,
    /// Samples in a row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
}

impl<'a> Plane<'a> {
    /// Its rows from top to bottom, each [`width`](Self::width) bytes long.
    pub fn rows(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Plane { frame, index, stride, width, height } = *self;
        (0..height).map(move |row| {
            // SAFETY: libav allocates every plane of 8-bit 4:2:0 with at least `height` rows, `stride` bytes apart, of
            // at least `width` samples, which its decoder or scaler or `fill_plane` has written. They live as long as
            // the frame and are written only through `&mut Frame`.
            unsafe { std::slice::from_raw_parts(frame.raw().data[index].add(row * stride), width) }
        })
    }
}

impl Frame {
    /// A frame without a picture, to be filled by libav.
    pub(crate) fn empty() -> Result<Self, Error> {
        // SAFETY: av_frame_alloc has no requirements; null means no memory.
        let frame = unsafe { ffi::av_frame_alloc() };
        let frame = NonNull::new(frame).ok_or(Error::OutOfMemory { action: "making a frame" })?;
        Ok(Self { frame })
    }

    /// A frame of one colour in yuv420p.
    pub fn solid(size: Size, luma: u8, chroma: [u8; 2]) -> Result<Self, Error> {
        let mut frame = Self::blank(size)?;
        for (index, value) in [luma, chroma[0], chroma[1]].into_iter().enumerate() {
            frame.fill_plane(index, |_, _| value)?;
        }
        Ok(frame)
    }

    /// A yuv420p frame whose samples are still to be written.
    pub(crate) fn blank(size: Size) -> Result<Self, Error> {
        let width = c_int::try_from(size.width).map_err(|_| Error::OutOfRange { what: "width of a frame" })?;
        let height = c_int::try_from(size.height).map_err(|_| Error::OutOfRange { what: "height of a frame" })?;
        let frame = Self::empty()?;
        // SAFETY: the frame is fresh; av_frame_get_buffer demands that width, height and format are set, checks them,
        // and allocates memory for all planes.
        let code = unsafe {
            let raw = frame.frame.as_ptr();
            (*raw).width = width;
            (*raw).height = height;
            (*raw).format = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as c_int;
            ffi::av_frame_get_buffer(raw, ALIGNMENT)
        };
        Error::check("making a frame", code)?;
        Ok(frame)
    }

    /// Presentation time in the ticks that the caller gave to the decoder, and the frame's tag: it is what came with
    /// the access unit. `None` when nothing was given.
    pub fn pts(&self) -> Option<i64> {
        Some(self.raw().pts).filter(|pts| *pts != ffi::AV_NOPTS_VALUE)
    }

    /// Width and height in samples, after cropping.
    pub fn size(&self) -> Size {
        let positive = |value: c_int| u32::try_from(value).unwrap_or(0);
        Size { width: positive(self.raw().width), height: positive(self.raw().height) }
    }

    /// Layout of the samples.
    pub fn pixel_format(&self) -> PixelFormat {
        const YUV420P: c_int = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as c_int;
        const YUVJ420P: c_int = ffi::AVPixelFormat::AV_PIX_FMT_YUVJ420P as c_int;
        match self.raw().format {
            YUV420P => PixelFormat::Yuv420p,
            YUVJ420P => PixelFormat::Yuvj420p,
            other => PixelFormat::Other(other),
        }
    }

    /// The decoder coded it as an I picture, so it depends on no other.
    pub fn is_intra(&self) -> bool {
        // SAFETY: the field is a C enum, read as the integer that it is: a newer libav may know more values than the
        // headers that we were compiled with.
        let kind = unsafe { (&raw const (*self.frame.as_ptr()).pict_type).cast::<u32>().read() };
        kind == ffi::AVPictureType::AV_PICTURE_TYPE_I as u32
    }

    /// Its lines are of two moments, every other line of each.
    pub fn is_interlaced(&self) -> bool {
        self.raw().interlaced_frame != 0
    }

    /// The decoder had to invent parts of the picture because data was missing or damaged.
    pub fn is_damaged(&self) -> bool {
        self.raw().decode_error_flags != 0 || self.raw().flags & ffi::AV_FRAME_FLAG_CORRUPT != 0
    }

    /// Shape of a sample, width to height; (1, 1) when the stream does not say.
    pub fn sample_aspect(&self) -> (u32, u32) {
        let aspect = self.raw().sample_aspect_ratio;
        match (u32::try_from(aspect.num), u32::try_from(aspect.den)) {
            (Ok(num @ 1..), Ok(den @ 1..)) => (num, den),
            _ => (1, 1),
        }
    }

    /// Colour as the stream tells it: code points of ITU-T H.273, 2 where it does not say.
    pub fn colour(&self) -> Colour {
        let raw = self.frame.as_ptr();
        // SAFETY: these fields are C enums, read as the integers that they are (see `is_intra`).
        let (primaries, transfer, matrix, range) = unsafe {
            (
                (&raw const (*raw).color_primaries).cast::<u32>().read(),
                (&raw const (*raw).color_trc).cast::<u32>().read(),
                (&raw const (*raw).colorspace).cast::<u32>().read(),
                (&raw const (*raw).color_range).cast::<u32>().read(),
            )
        };
        let point = |value: u32| u8::try_from(value).unwrap_or(UNSPECIFIED);
        Colour {
            primaries: point(primaries),
            transfer: point(transfer),
            matrix: point(matrix),
            full_range: range == ffi::AVColorRange::AVCOL_RANGE_JPEG as u32
                || self.pixel_format() == PixelFormat::Yuvj420p,
        }
    }

    /// Component 0 (luma), 1 or 2 (chroma) of a 4:2:0 picture. `None` for other pixel formats and components.
    pub fn plane(&self, index: usize) -> Option<Plane<'_>> {
        let (width, height, stride) = self.plane_layout(index)?;
        Some(Plane { frame: self, index, stride, width, height })
    }

    /// Sets each sample of a component to `value(x, y)`. Copies the samples first when others share them.
    pub fn fill_plane(&mut self, index: usize, value: impl Fn(usize, usize) -> u8) -> Result<(), Error> {
        // SAFETY: the frame has reference-counted buffers or none; in both cases the call makes them ours alone or
        // fails without changing the frame.
        let code = unsafe { ffi::av_frame_make_writable(self.frame.as_ptr()) };
        Error::check("making a frame writable", code)?;
        let Some((width, height, stride)) = self.plane_layout(index) else {
            return Err(Error::OutOfRange { what: "component of a picture" });
        };
        let samples = self.raw().data[index];
        for y in 0..height {
            for x in 0..width {
                // SAFETY: inside the plane (see `Plane::rows`); av_frame_make_writable has made sure that this handle
                // is the only one to it.
                unsafe { samples.add(y * stride + x).write(value(x, y)) }
            }
        }
        Ok(())
    }

    /// Copies the samples of `picture` to where its left upper corner is at `x`, `y`: even numbers, and it must fit. Both
    /// are 4:2:0. Copies this frame's own samples first when others share them.
    pub(crate) fn place(&mut self, picture: &Self, x: u32, y: u32) -> Result<(), Error> {
        const MISFIT: Error = Error::OutOfRange { what: "place of a picture in another" };
        let offset = |by: u32| usize::try_from(by).map_err(|_| MISFIT);
        let (x, y) = (offset(x)?, offset(y)?);
        // SAFETY: as in `fill_plane`.
        let code = unsafe { ffi::av_frame_make_writable(self.frame.as_ptr()) };
        Error::check("making a frame writable", code)?;
        for index in 0..3 {
            let (x, y) = if index == 0 { (x, y) } else { (x / 2, y / 2) };
            let Some((width, height, stride)) = self.plane_layout(index) else { return Err(MISFIT) };
            let plane = picture.plane(index).filter(|plane| x + plane.width <= width && y + plane.height <= height);
            let samples = self.raw().data[index];
            for (number, row) in plane.ok_or(MISFIT)?.rows().enumerate() {
                // SAFETY: the row lies inside the plane (checked above), whose memory is this handle's alone and so does
                // not overlap with the other picture's.
                unsafe {
                    std::ptr::copy_nonoverlapping(row.as_ptr(), samples.add((y + number) * stride + x), row.len())
                }
            }
        }
        Ok(())
    }

    /// Width, height and stride of a component, when there is one of that number with rows from top to bottom.
    fn plane_layout(&self, index: usize) -> Option<(usize, usize, usize)> {
        if !matches!(self.pixel_format(), PixelFormat::Yuv420p | PixelFormat::Yuvj420p) || index > 2 {
            return None;
        }
        if self.raw().data[index].is_null() {
            return None;
        }
        let shift = u32::from(index > 0);
        let part = |length: u32| usize::try_from(length.div_ceil(1 << shift)).ok().filter(|length| *length > 0);
        let stride = usize::try_from(self.raw().linesize[index]).ok()?;
        Some((part(self.size().width)?, part(self.size().height)?, stride))
    }

    /// Takes over presentation time and colour of `source`; samples become square and of limited range, as a scaler
    /// leaves them.
    pub(crate) fn describe_like(&mut self, source: &Self) {
        let (to, from) = (self.frame.as_ptr(), source.frame.as_ptr());
        // SAFETY: both frames are valid and different (one is borrowed mutably). The colour fields are C enums, copied
        // untyped because a newer libav may know more values than our headers.
        unsafe {
            (*to).pts = (*from).pts;
            (*to).sample_aspect_ratio = ffi::AVRational { num: 1, den: 1 };
            (*to).color_range = ffi::AVColorRange::AVCOL_RANGE_MPEG;
            (&raw mut (*to).color_primaries).copy_from(&raw const (*from).color_primaries, 1);
            (&raw mut (*to).color_trc).copy_from(&raw const (*from).color_trc, 1);
            (&raw mut (*to).colorspace).copy_from(&raw const (*from).colorspace, 1);
        }
    }

    pub(crate) fn set_pts(&mut self, pts: i64) {
        // SAFETY: the frame is valid and borrowed mutably; the field belongs to the handle.
        unsafe { (*self.frame.as_ptr()).pts = pts }
    }

    /// Takes `hint` for what the bitstream leaves open of the colour: its container may have said it.
    pub(crate) fn hint_colour(&mut self, hint: Colour) {
        self.set_colour(self.colour().or(hint));
    }

    /// Says which colour its samples have.
    pub(crate) fn set_colour(&mut self, colour: Colour) {
        let raw = self.frame.as_ptr();
        // SAFETY: the frame is valid and borrowed mutably; the fields are C enums, written as the integers that they are.
        unsafe {
            (&raw mut (*raw).color_primaries).cast::<u32>().write(colour.primaries.into());
            (&raw mut (*raw).color_trc).cast::<u32>().write(colour.transfer.into());
            (&raw mut (*raw).colorspace).cast::<u32>().write(colour.matrix.into());
        }
    }

    /// Sets what the encoder reads from a frame besides its samples. The decoder's picture type goes: the encoder
    /// would repeat it.
    pub(crate) fn order(&mut self, pts: i64, idr: bool) {
        use ffi::AVPictureType::{AV_PICTURE_TYPE_I, AV_PICTURE_TYPE_NONE};
        // SAFETY: the frame is valid and borrowed mutably; these fields belong to the handle, not to shared samples.
        unsafe {
            (*self.frame.as_ptr()).pts = pts;
            (*self.frame.as_ptr()).pict_type = if idr { AV_PICTURE_TYPE_I } else { AV_PICTURE_TYPE_NONE };
        }
    }

    /// A handle to the same samples. Fails when there is no memory for the handle.
    pub(crate) fn reference(&self) -> Result<Self, Error> {
        // SAFETY: av_frame_clone reads the frame and adds a reference to each of its buffers; null means no memory.
        let frame = unsafe { ffi::av_frame_clone(self.frame.as_ptr()) };
        let frame = NonNull::new(frame).ok_or(Error::OutOfMemory { action: "sharing a frame" })?;
        Ok(Self { frame })
    }

    /// Whether this handle is the only one to its samples.
    pub(crate) fn is_unshared(&self) -> bool {
        // SAFETY: reads reference counts of a valid frame.
        unsafe { ffi::av_frame_is_writable(self.frame.as_ptr()) > 0 }
    }

    pub(crate) fn raw(&self) -> &ffi::AVFrame {
        // SAFETY: the frame is valid as long as self and changes only through `&mut self`.
        unsafe { self.frame.as_ref() }
    }

    pub(crate) fn as_ptr(&self) -> *const ffi::AVFrame {
        self.frame.as_ptr()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut ffi::AVFrame {
        self.frame.as_ptr()
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        self.reference().expect("a few hundred bytes for a frame's handle")
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut frame = self.frame.as_ptr();
        // SAFETY: the frame came from av_frame_alloc or av_frame_clone and is freed once; this drops its references.
        unsafe { ffi::av_frame_free(&raw mut frame) }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("pts", &self.pts())
            .field("size", &self.size())
            .field("pixel_format", &self.pixel_format())
            .finish_non_exhaustive()
    }
}

/// Bytes at multiples of which rows begin: the most that any CPU's instructions want.
const ALIGNMENT: c_int = 64;
/// "Unspecified" in all of H.273's tables.
const UNSPECIFIED: u8 = 2;
