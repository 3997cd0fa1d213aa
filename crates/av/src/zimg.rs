//! zimg, the library behind FFmpeg's `zscale`: 8-bit 4:2:0 pictures to another size. It takes less time than
//! swscale for the same filter and gives the same samples on every CPU. Other pixel formats are swscale's.
//!
//! Only the seven functions that we need are declared here, as of zimg's API 2.0: what `zimg.h` has added since stands
//! behind these fields and is not looked at by the library when it is told that version.

use std::ffi::{c_char, c_double, c_int, c_uint, c_void};
use std::ptr::NonNull;

use crate::{Error, Frame, Size};

/// Scales pictures of one size to one other.
#[derive(Debug)]
pub(crate) struct Resizer {
    graph: NonNull<FilterGraph>,
    /// Working memory of the graph; `memory_start` is its first aligned byte.
    memory: Vec<u8>,
    memory_start: usize,
}

// SAFETY: a graph is plain memory that is not changed after it was built; zimg ties it to no thread.
unsafe impl Send for Resizer {}

impl Resizer {
    /// From `source`, whose sides must be even, to `target`, whose sides are, for pictures of that alignment.
    pub(crate) fn new(source: Size, target: Size, alignment: Alignment) -> Result<Self, Error> {
        Self::with_cpu(source, target, alignment as c_int)
    }

    /// `cpu_type`: 0 for none of the CPU's vector instructions, or the number of an [`Alignment`].
    fn with_cpu(source: Size, target: Size, cpu_type: c_int) -> Result<Self, Error> {
        // SAFETY: the struct is plain numbers, for which zero is a value; the call fills in the fields of this version.
        let params = unsafe {
            let mut params: GraphBuilderParams = std::mem::zeroed();
            zimg_graph_builder_params_default(&raw mut params, API_VERSION);
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
            ..params
        };
        let (from, to) = (format(source), format(target));
        // SAFETY: all three structs are of the version that they name; the graph keeps no reference to them.
        let graph = unsafe { zimg_filter_graph_build(&raw const from, &raw const to, &raw const params) };
        let graph = NonNull::new(graph).ok_or_else(last_error)?;
        let mut resizer = Self { graph, memory: Vec::new(), memory_start: 0 };
        let mut bytes = 0;
        // SAFETY: the graph is valid and `bytes` is a size_t.
        check(unsafe { zimg_filter_graph_get_tmp_size(graph.as_ptr(), &raw mut bytes) })?;
        resizer.memory = vec![0; bytes + Alignment::Bytes64.bytes()];
        resizer.memory_start = resizer.memory.as_ptr().align_offset(Alignment::Bytes64.bytes());
        Ok(resizer)
    }

    /// Writes `from` into `to`. Both are 8-bit 4:2:0 of the sizes and the alignment that the resizer was made for, and
    /// nobody else refers to the samples of `to`.
    pub(crate) fn scale(&mut self, from: &Frame, to: &mut Frame) -> Result<(), Error> {
        let (source, target) = (planes(from), planes(to));
        // SAFETY: both buffers are whole planes of the sizes and the format of the graph, aligned as zimg demands (the
        // caller has looked); the working memory is as long as the graph wants it, and aligned; there are no callbacks.
        let code = unsafe {
            let memory = self.memory.as_mut_ptr().add(self.memory_start).cast();
            let none = std::ptr::null_mut();
            let graph = self.graph.as_ptr();
            zimg_filter_graph_process(graph, &raw const source, &raw const target, memory, None, none, None, none)
        };
        check(code)
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

impl Drop for Resizer {
    fn drop(&mut self) {
        // SAFETY: the graph came from zimg_filter_graph_build and is freed once.
        unsafe { zimg_filter_graph_free(self.graph.as_ptr()) }
    }
}

/// 4:2:0 of 8 bits and limited range. Of the colour nothing is said and so nothing is changed.
fn format(size: Size) -> ImageFormat {
    // SAFETY: the struct is plain numbers, for which zero is a value; the call fills in the fields of this version.
    let format = unsafe {
        let mut format: ImageFormat = std::mem::zeroed();
        zimg_image_format_default(&raw mut format, API_VERSION);
        format
    };
    ImageFormat {
        width: size.width,
        height: size.height,
        pixel_type: PIXEL_BYTE,
        subsample_w: 1,
        subsample_h: 1,
        color_family: COLOR_YUV,
        depth: 8,
        pixel_range: RANGE_LIMITED,
        ..format
    }
}

fn planes(frame: &Frame) -> ImageBuffer {
    let raw = frame.raw();
    let mut buffer =
        ImageBuffer { version: API_VERSION, plane: [Plane { data: std::ptr::null_mut(), stride: 0, mask: 0 }; 4] };
    for (index, plane) in buffer.plane.iter_mut().enumerate().take(3) {
        let stride = isize::try_from(raw.linesize[index]).unwrap_or(0);
        *plane = Plane { data: raw.data[index].cast(), stride, mask: BUFFER_MAX };
    }
    buffer
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

/// `zimg_image_format`, API 2.0.
#[repr(C)]
#[derive(Clone, Copy)]
struct ImageFormat {
    version: c_uint,
    width: c_uint,
    height: c_uint,
    pixel_type: c_int,
    subsample_w: c_uint,
    subsample_h: c_uint,
    color_family: c_int,
    matrix_coefficients: c_int,
    transfer_characteristics: c_int,
    color_primaries: c_int,
    depth: c_uint,
    pixel_range: c_int,
    field_parity: c_int,
    chroma_location: c_int,
}

/// `zimg_graph_builder_params`, API 2.0.
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
struct ImageBuffer {
    version: c_uint,
    plane: [Plane; 4],
}

type Callback = Option<unsafe extern "C" fn(*mut c_void, c_uint, c_uint, c_uint) -> c_int>;

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
/// The whole plane is there, not a ring of rows.
const BUFFER_MAX: c_uint = c_uint::MAX;
const OUT_OF_MEMORY: c_int = 1;
const PIXEL_BYTE: c_int = 0;
const RANGE_LIMITED: c_int = 0;
const COLOR_YUV: c_int = 2;
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
