//! zimg, the library behind FFmpeg's `zscale`: pictures to another size, and to another colour. It takes less time than
//! swscale for the same filter, and scales 8-bit 4:2:0 to the same samples on every CPU. Most other pixel formats are
//! swscale's.
//!
//! Only the seven functions that we need are declared here, as of zimg's API 2.0, and 2.2 for how a graph is built: what
//! `zimg.h` has added since stands behind these fields and is not looked at by the library when it is told that version.

use std::ffi::{c_char, c_double, c_int, c_uint, c_void};
use std::ptr::NonNull;

use ffmpeg_sys_next as ffi;

use crate::{Error, Frame, Size};

/// Scales pictures of one size to one other.
#[derive(Debug)]
pub(crate) struct Resizer(Graph);

impl Resizer {
    /// From `source`, whose sides must be even, to `target`, whose sides are, for pictures of that alignment.
    pub(crate) fn new(source: Size, target: Size, alignment: Alignment) -> Result<Self, Error> {
        Self::with_cpu(source, target, alignment as c_int)
    }

    /// `cpu_type`: 0 for none of the CPU's vector instructions, or the number of an [`Alignment`].
    fn with_cpu(source: Size, target: Size, cpu_type: c_int) -> Result<Self, Error> {
        Ok(Self(Graph::new(&ImageFormat::yuv420p(source), &ImageFormat::yuv420p(target), cpu_type)?))
    }

    /// Writes `from` into `to`. Both are 8-bit 4:2:0 of the sizes and the alignment that the resizer was made for, and
    /// nobody else refers to the samples of `to`.
    pub(crate) fn scale(&mut self, from: &Frame, to: &mut Frame) -> Result<(), Error> {
        // SAFETY: both are pictures of the sizes and the format of the graph, aligned as it was made for (the caller has
        // looked); those of `to` are ours alone.
        unsafe { self.0.process(&ImageBuffer::of(from), &ImageBuffer::of(to)) }
    }
}

/// What zimg does with pictures of one format to make them pictures of another one.
#[derive(Debug)]
pub(crate) struct Graph {
    graph: NonNull<FilterGraph>,
    /// Working memory of the graph; `memory_start` is its first aligned byte.
    memory: Vec<u8>,
    memory_start: usize,
}

// SAFETY: a graph is plain memory that is not changed after it was built; zimg ties it to no thread.
unsafe impl Send for Graph {}

impl Graph {
    /// `cpu_type`: 0 for none of the CPU's vector instructions, or the number of an [`Alignment`] that all pictures have.
    pub(crate) fn new(from: &ImageFormat, to: &ImageFormat, cpu_type: c_int) -> Result<Self, Error> {
        // SAFETY: the struct is plain numbers, for which zero is a value; the call fills in the fields of this version.
        let params = unsafe {
            let mut params: GraphBuilderParams = std::mem::zeroed();
            zimg_graph_builder_params_default(&raw mut params, PARAMS_VERSION);
            params
        };
        let params = GraphBuilderParams {
            resample_filter: RESIZE_BICUBIC,
            filter_param_a: BICUBIC.0,
            filter_param_b: BICUBIC.1,
            resample_filter_uv: RESIZE_BICUBIC,
            filter_param_a_uv: BICUBIC.0,
            filter_param_b_uv: BICUBIC.1,
            cpu_type,
            // From and to linear light by tables instead of powers: many times faster.
            allow_approximate_gamma: 1,
            ..params
        };
        // SAFETY: all three structs are of the version that they name; the graph keeps no reference to them.
        let graph = unsafe { zimg_filter_graph_build(from, to, &raw const params) };
        let graph = NonNull::new(graph).ok_or_else(last_error)?;
        let mut made = Self { graph, memory: Vec::new(), memory_start: 0 };
        let mut bytes = 0;
        // SAFETY: the graph is valid and `bytes` is a size_t.
        check(unsafe { zimg_filter_graph_get_tmp_size(graph.as_ptr(), &raw mut bytes) })?;
        made.memory = vec![0; bytes + Alignment::Bytes64.bytes()];
        made.memory_start = made.memory.as_ptr().align_offset(Alignment::Bytes64.bytes());
        Ok(made)
    }

    /// Makes the picture in `to` of the one in `from`.
    ///
    /// # Safety
    ///
    /// Both must be whole pictures of the sizes and formats that the graph was made for, with rows at multiples of the bytes
    /// that its CPU type demands, and nobody else may refer to the samples of `to`.
    pub(crate) unsafe fn process(&mut self, from: &ImageBuffer, to: &ImageBuffer) -> Result<(), Error> {
        // SAFETY: both buffers are what zimg demands, as the caller has promised; the working memory is as long as the
        // graph wants it, and aligned; there are no callbacks.
        let code = unsafe {
            let memory = self.memory.as_mut_ptr().add(self.memory_start).cast();
            let none = std::ptr::null_mut();
            zimg_filter_graph_process(self.graph.as_ptr(), from, to, memory, None, none, None, none)
        };
        check(code)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: the graph came from zimg_filter_graph_build and is freed once.
        unsafe { zimg_filter_graph_free(self.graph.as_ptr()) }
    }
}

/// Where the rows of a picture begin: at multiples of so many bytes. Cropped pictures may be without. The number is
/// zimg's for what it may use of the CPU: everything but 64-byte instructions, or them too.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Alignment {
    Bytes32 = 1,
    Bytes64 = 2,
}

impl Alignment {
    /// The largest that `frame` has; `None` when zimg can neither read nor write it.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let raw = frame.raw();
        let has = |alignment: &Self| {
            (0..3).all(|index| {
                raw.data[index].align_offset(alignment.bytes()) == 0
                    && usize::try_from(raw.linesize[index]).is_ok_and(|stride| stride.is_multiple_of(alignment.bytes()))
            })
        };
        [Self::Bytes64, Self::Bytes32].into_iter().find(has)
    }

    const fn bytes(self) -> usize {
        match self {
            Self::Bytes32 => 32,
            Self::Bytes64 => 64,
        }
    }
}

impl ImageFormat {
    /// Of 8 bits, of what there is one way to be: all else is still to be said.
    pub(crate) fn new(size: Size) -> Self {
        // SAFETY: the struct is plain numbers, for which zero is a value; the call fills in the fields of this version.
        let format = unsafe {
            let mut format: Self = std::mem::zeroed();
            zimg_image_format_default(&raw mut format, API_VERSION);
            format
        };
        Self {
            width: size.width,
            height: size.height,
            pixel_type: PIXEL_BYTE,
            depth: 8,
            pixel_range: RANGE_LIMITED,
            ..format
        }
    }

    /// That of a frame's planes: what the samples are, how large and how many, and where chroma is. `None` where they are not
    /// three of luma and chroma, each in the lowest bits of whole bytes.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let raw = frame.raw();
        // SAFETY: looks up a table, which has no requirements: the number is passed on as the integer that it is, null means
        // that there is no such format. The table is static.
        let description = unsafe { av_pix_fmt_desc_get(raw.format).as_ref() }?;
        let [luma, blue, red, _] = description.comp;
        let planar = u64::from(ffi::AV_PIX_FMT_FLAG_PLANAR.unsigned_abs());
        let other = ffi::AV_PIX_FMT_FLAG_RGB
            | ffi::AV_PIX_FMT_FLAG_BE
            | ffi::AV_PIX_FMT_FLAG_HWACCEL
            | ffi::AV_PIX_FMT_FLAG_FLOAT;
        let flags = description.flags & (planar | u64::from(other.unsigned_abs()));
        let bytes = if luma.depth > 8 { 2 } else { 1 };
        let fits = |index: c_int, component: &ffi::AVComponentDescriptor| {
            (component.plane, component.step, component.offset, component.shift, component.depth)
                == (index, bytes, 0, 0, luma.depth)
        };
        if flags != planar || description.nb_components < 3 || !(fits(0, &luma) && fits(1, &blue) && fits(2, &red)) {
            return None;
        }
        // SAFETY: the field is a C enum, read as the integer that it is: a newer libav may know more values.
        let chroma_location = unsafe { (&raw const raw.chroma_location).cast::<c_int>().read() };
        let (subsample_w, subsample_h) = (description.log2_chroma_w.into(), description.log2_chroma_h.into());
        let Size { width, height } = frame.size();
        // The last row or column of an odd picture is left out where chroma has only half of it.
        let size = Size { width: width >> subsample_w << subsample_w, height: height >> subsample_h << subsample_h };
        Some(Self {
            pixel_type: if bytes == 2 { PIXEL_WORD } else { PIXEL_BYTE },
            depth: luma.depth.try_into().ok()?,
            color_family: COLOR_YUV,
            subsample_w,
            subsample_h,
            // libav's numbers are these and one more, 0 is not said: left.
            chroma_location: if (1..=6).contains(&chroma_location) { chroma_location - 1 } else { 0 },
            ..Self::new(size)
        })
    }

    /// 4:2:0 of 8 bits and limited range. Of the colour nothing is said and so nothing is changed.
    pub(crate) fn yuv420p(size: Size) -> Self {
        Self { subsample_w: 1, subsample_h: 1, color_family: COLOR_YUV, ..Self::new(size) }
    }
}

impl ImageBuffer {
    /// The planes of a frame.
    pub(crate) fn of(frame: &Frame) -> Self {
        let raw = frame.raw();
        Self::new(|index| (raw.data[index].cast(), isize::try_from(raw.linesize[index]).unwrap_or(0)))
    }

    /// Three planes: where each one begins, and the bytes from one row to the next.
    pub(crate) fn new(plane: impl Fn(usize) -> (*mut c_void, isize)) -> Self {
        let none = Plane { data: std::ptr::null_mut(), stride: 0, mask: 0 };
        let mut buffer = Self { version: API_VERSION, plane: [none; 4] };
        for (index, place) in buffer.plane.iter_mut().enumerate().take(3) {
            let (data, stride) = plane(index);
            *place = Plane { data, stride, mask: BUFFER_MAX };
        }
        buffer
    }
}

fn check(code: c_int) -> Result<(), Error> {
    if code == 0 { Ok(()) } else { Err(last_error()) }
}

/// What zimg says went wrong last on this thread.
fn last_error() -> Error {
    let mut text = [0_u8; 256];
    // SAFETY: the buffer has the length given; zimg ends what it writes with a zero byte.
    let code = unsafe { zimg_get_last_error(text.as_mut_ptr().cast(), text.len()) };
    if code == OUT_OF_MEMORY {
        return Error::OutOfMemory { action: SCALING };
    }
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    Error::Library { action: SCALING, text: String::from_utf8_lossy(&text[..end]).into_owned() }
}

/// `zimg_filter_graph`.
#[repr(C)]
struct FilterGraph {
    _opaque: [u8; 0],
}

/// `zimg_image_format`, API 2.0. Colours are code points of ITU-T H.273.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageFormat {
    pub(crate) version: c_uint,
    pub(crate) width: c_uint,
    pub(crate) height: c_uint,
    pub(crate) pixel_type: c_int,
    /// How many times a chroma sample is as wide and high as one of luma, as powers of two.
    pub(crate) subsample_w: c_uint,
    pub(crate) subsample_h: c_uint,
    pub(crate) color_family: c_int,
    pub(crate) matrix_coefficients: c_int,
    pub(crate) transfer_characteristics: c_int,
    pub(crate) color_primaries: c_int,
    pub(crate) depth: c_uint,
    pub(crate) pixel_range: c_int,
    pub(crate) field_parity: c_int,
    pub(crate) chroma_location: c_int,
}

/// `zimg_graph_builder_params`, API 2.2.
#[repr(C)]
#[derive(Clone, Copy)]
struct GraphBuilderParams {
    version: c_uint,
    resample_filter: c_int,
    filter_param_a: c_double,
    filter_param_b: c_double,
    resample_filter_uv: c_int,
    filter_param_a_uv: c_double,
    filter_param_b_uv: c_double,
    dither_type: c_int,
    cpu_type: c_int,
    nominal_peak_luminance: c_double,
    allow_approximate_gamma: c_char,
}

/// One plane of an [`ImageBuffer`].
#[repr(C)]
#[derive(Clone, Copy)]
struct Plane {
    data: *mut c_void,
    stride: isize,
    mask: c_uint,
}

/// `zimg_image_buffer`, and `zimg_image_buffer_const`, which differs in the constness of the data alone.
#[repr(C)]
pub(crate) struct ImageBuffer {
    version: c_uint,
    plane: [Plane; 4],
}

type Callback = Option<unsafe extern "C" fn(*mut c_void, c_uint, c_uint, c_uint) -> c_int>;

// libav's declaration takes an enum, which must not have a value that was not there when we were compiled.
unsafe extern "C" {
    fn av_pix_fmt_desc_get(format: c_int) -> *const ffi::AVPixFmtDescriptor;
}

#[link(name = "zimg")]
unsafe extern "C" {
    fn zimg_get_last_error(text: *mut c_char, length: usize) -> c_int;
    fn zimg_image_format_default(format: *mut ImageFormat, version: c_uint);
    fn zimg_graph_builder_params_default(params: *mut GraphBuilderParams, version: c_uint);
    fn zimg_filter_graph_build(
        from: *const ImageFormat,
        to: *const ImageFormat,
        params: *const GraphBuilderParams,
    ) -> *mut FilterGraph;
    fn zimg_filter_graph_free(graph: *mut FilterGraph);
    fn zimg_filter_graph_get_tmp_size(graph: *const FilterGraph, bytes: *mut usize) -> c_int;
    fn zimg_filter_graph_process(
        graph: *const FilterGraph,
        from: *const ImageBuffer,
        to: *const ImageBuffer,
        memory: *mut c_void,
        unpack: Callback,
        unpack_user: *mut c_void,
        pack: Callback,
        pack_user: *mut c_void,
    ) -> c_int;
}

const SCALING: &str = "scaling";
/// 2.0: major in the high byte.
const API_VERSION: c_uint = 0x200;
const PARAMS_VERSION: c_uint = 0x202;
/// The whole plane is there, not a ring of rows.
const BUFFER_MAX: c_uint = c_uint::MAX;
const OUT_OF_MEMORY: c_int = 1;
/// Sample types: 8 and 16 bits, and floating point of 32.
const PIXEL_BYTE: c_int = 0;
const PIXEL_WORD: c_int = 1;
pub(crate) const PIXEL_FLOAT: c_int = 3;
const RANGE_LIMITED: c_int = 0;
pub(crate) const RANGE_FULL: c_int = 1;
pub(crate) const COLOR_RGB: c_int = 1;
pub(crate) const COLOR_YUV: c_int = 2;
const RESIZE_BICUBIC: c_int = 2;
/// b and c of the bicubic filter. FFmpeg's is (0, 0.6); this one is a little sharper, which is nearer to Lanczos and makes
/// up for scaling twice (measured: docs/benchmarks.md).
const BICUBIC: (f64, f64) = (0.0, 0.75);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_the_same_whatever_the_cpu_can_do() {
        let (source, target) = (Size { width: 1280, height: 720 }, Size { width: 854, height: 480 });
        let mut picture = Frame::blank(source).unwrap();
        for index in 0..3 {
            // Steep edges and slopes, with values beyond the limited range.
            let value = |x: usize, y: usize| u8::try_from((x * x / 7 + y * (3 + index) + (x ^ y)) % 256).unwrap();
            picture.fill_plane(index, value).unwrap();
        }
        let scaled = [0, Alignment::Bytes32 as c_int, Alignment::Bytes64 as c_int].map(|cpu_type| {
            let mut scaled = Frame::blank(target).unwrap();
            Resizer::with_cpu(source, target, cpu_type).unwrap().scale(&picture, &mut scaled).unwrap();
            scaled
        });
        for index in 0..3 {
            let rows = |frame: &Frame| frame.plane(index).unwrap().rows().collect::<Vec<_>>().concat();
            assert!(rows(&scaled[0]) == rows(&scaled[1]), "plane {index}, none and 32 bytes");
            assert!(rows(&scaled[1]) == rows(&scaled[2]), "plane {index}, 32 and 64 bytes");
        }
    }

    #[test]
    fn what_zimg_refuses_is_an_error_in_its_words() {
        let size = Size { width: 64, height: 36 };
        let refused = Resizer::new(Size { width: 63, height: 35 }, size, Alignment::Bytes32);
        assert!(matches!(refused, Err(Error::Library { action: "scaling", text }) if !text.is_empty()));
    }
}
