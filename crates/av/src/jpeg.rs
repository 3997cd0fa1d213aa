//! JPEG pictures, with libavcodec's mjpeg encoder.

use std::ffi::c_int;
use std::ptr::NonNull;

use bytes::Bytes;
use ffmpeg_sys_next as ffi;

use crate::options::Options;
use crate::packet::Packet;
use crate::{Error, Frame, PixelFormat, Scaler, Size, log};

/// The frame as a JPEG of `size`, whose sides must be even. Its samples are square then, whatever they were: choose the
/// size accordingly ([`Size::fit_within`]).
pub fn jpeg(frame: &Frame, size: Size) -> Result<Bytes, Error> {
    log::silence();
    let picture = to_jfif(&Scaler::new(size).scale(frame)?)?;
    let context = Context::open(size)?;
    // SAFETY: the context is open; the frame has reference-counted buffers, which the encoder reads.
    let code = unsafe { ffi::avcodec_send_frame(context.0.as_ptr(), picture.as_ptr()) };
    Error::check(ENCODING, code)?;
    let mut packet = Packet::new()?;
    // SAFETY: the context is open; the call unreferences the packet and then fills it or leaves it blank.
    let code = unsafe { ffi::avcodec_receive_packet(context.0.as_ptr(), packet.as_mut_ptr()) };
    Error::check(ENCODING, code)?;
    Ok(Bytes::copy_from_slice(packet.data()))
}

/// JFIF knows one kind of colour only: BT.601 with full range. `frame` is yuv420p of limited range, as scalers leave it.
fn to_jfif(frame: &Frame) -> Result<Frame, Error> {
    let matrix = Matrix::from_code_point(frame.colour().matrix);
    let rows = |index: usize| -> Result<Vec<&[u8]>, Error> {
        let plane = frame.plane(index).ok_or(Error::OutOfRange { what: "component of a picture" })?;
        Ok(plane.rows().collect())
    };
    let (luma, blue, red) = (rows(0)?, rows(1)?, rows(2)?);
    let chroma = |x: usize, y: usize| (i32::from(blue[y][x]) - 128, i32::from(red[y][x]) - 128);
    let mut picture = Frame::blank(frame.size())?;
    picture.fill_plane(0, |x, y| matrix.luma(i32::from(luma[y][x]) - 16, chroma(x / 2, y / 2)))?;
    picture.fill_plane(1, |x, y| matrix.blue(chroma(x, y)))?;
    picture.fill_plane(2, |x, y| matrix.red(chroma(x, y)))?;
    // SAFETY: the frame is ours alone. yuvj420p has the planes of yuv420p; the name says that the range is full. The
    // encoder takes its quantiser from the frame's quality.
    unsafe {
        let raw = picture.as_mut_ptr();
        (*raw).format = ffi::AVPixelFormat::AV_PIX_FMT_YUVJ420P as c_int;
        (*raw).color_range = ffi::AVColorRange::AVCOL_RANGE_JPEG;
        (*raw).quality = QUALITY;
        (*raw).pts = 0;
    }
    debug_assert_eq!(picture.pixel_format(), PixelFormat::Yuvj420p);
    Ok(picture)
}

/// From a matrix with limited range to BT.601 with full range, in units of 1/65536. Chroma depends on chroma alone:
/// grey stays grey.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Matrix {
    luma: [i32; 3],
    blue: [i32; 2],
    red: [i32; 2],
}

impl Matrix {
    /// The same matrix: 255/219 and 255/224.
    const BT601: Self = Self { luma: [76_309, 0, 0], blue: [74_606, 0], red: [0, 74_606] };
    /// From BT.709 (Kr 0.2126, Kb 0.0722), which is also taken where nothing is said.
    const BT709: Self = Self { luma: [76_309, 7_578, 14_628], blue: [73_849, -8_255], red: [-5_405, 73_367] };
    /// From BT.2020 (Kr 0.2627, Kb 0.0593).
    const BT2020: Self = Self { luma: [76_309, 8_795, 7_872], blue: [74_248, -4_443], red: [-6_273, 72_854] };

    /// `matrix_coefficients` of ITU-T H.273.
    fn from_code_point(code_point: u8) -> Self {
        match code_point {
            4..=6 => Self::BT601,
            9 | 10 => Self::BT2020,
            _ => Self::BT709,
        }
    }

    fn luma(self, luma: i32, (blue, red): (i32, i32)) -> u8 {
        rounded(self.luma[0] * luma + self.luma[1] * blue + self.luma[2] * red)
    }

    fn blue(self, (blue, red): (i32, i32)) -> u8 {
        rounded((128 << 16) + self.blue[0] * blue + self.blue[1] * red)
    }

    fn red(self, (blue, red): (i32, i32)) -> u8 {
        rounded((128 << 16) + self.red[0] * blue + self.red[1] * red)
    }
}

fn rounded(value: i32) -> u8 {
    u8::try_from(((value + (1 << 15)) >> 16).clamp(0, 255)).unwrap_or(u8::MAX)
}

/// The libav object.
#[derive(Debug)]
struct Context(NonNull<ffi::AVCodecContext>);

impl Context {
    fn open(size: Size) -> Result<Self, Error> {
        let int = |value: u32| c_int::try_from(value).map_err(|_| Error::OutOfRange { what: "size of a JPEG" });
        let (width, height) = (int(size.width)?, int(size.height)?);
        // SAFETY: looks up a table; null means that libavcodec was built without it.
        let codec = unsafe { ffi::avcodec_find_encoder(ffi::AVCodecID::AV_CODEC_ID_MJPEG) };
        if codec.is_null() {
            return Err(Error::MissingCodec { name: CODEC, kind: "encoder" });
        }
        // SAFETY: `codec` is one of libavcodec's static codecs.
        let context = unsafe { ffi::avcodec_alloc_context3(codec) };
        let context = NonNull::new(context).map(Self).ok_or(Error::OutOfMemory { action: OPENING })?;
        // SAFETY: the context is not open yet, so its public fields may be set. A sample aspect ratio makes the encoder
        // write a JFIF header; the time base is demanded and means nothing here.
        unsafe {
            let raw = context.0.as_ptr();
            (*raw).width = width;
            (*raw).height = height;
            (*raw).pix_fmt = ffi::AVPixelFormat::AV_PIX_FMT_YUVJ420P;
            (*raw).color_range = ffi::AVColorRange::AVCOL_RANGE_JPEG;
            (*raw).sample_aspect_ratio = ffi::AVRational { num: 1, den: 1 };
            (*raw).time_base = ffi::AVRational { num: 1, den: 1 };
        }
        let mut options = Options::new();
        options.set(c"threads", "1")?;
        // bitexact leaves out the comment that names libavcodec's version.
        options.set(c"flags", "+qscale+bitexact")?;
        options.set(c"global_quality", &QUALITY.to_string())?;
        // SAFETY: context and codec belong together, the context is opened once, and the dictionary is ours.
        let code = unsafe { ffi::avcodec_open2(context.0.as_ptr(), codec, options.as_mut_ptr()) };
        Error::check(OPENING, code)?;
        match options.list() {
            left if left.is_empty() => Ok(context),
            options => Err(Error::UnknownOptions { codec: CODEC, options }),
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let mut context = self.0.as_ptr();
        // SAFETY: the context came from avcodec_alloc_context3 and is freed once; this closes the encoder.
        unsafe { ffi::avcodec_free_context(&raw mut context) }
    }
}

const CODEC: &str = "mjpeg";
const OPENING: &str = "opening the JPEG encoder";
const ENCODING: &str = "encoding a JPEG";
/// The quantiser, 4 of 1 (best) to 31, in libav's unit FF_QP2LAMBDA: a picture of 640x360 has 20 to 60 KiB.
const QUALITY: c_int = 4 * ffi::FF_QP2LAMBDA as c_int;
