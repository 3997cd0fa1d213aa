//! JPEG pictures, with libavcodec's mjpeg encoder.

use std::ffi::c_int;
use std::ptr::NonNull;

use bytes::Bytes;
use ffmpeg_sys_next as ffi;
use headwater_media::Colour;

use crate::options::Options;
use crate::packet::Packet;
use crate::{Error, Frame, Scaler, Size, log};

/// The frame as a JPEG of `size`, whose sides must be even. Its samples are square then, whatever they were: choose the
/// size accordingly ([`Size::fit_within`]).
pub fn jpeg(frame: &Frame, size: Size) -> Result<Bytes, Error> {
    log::silence();
    let mut scaler = Scaler::new(size);
    scaler.set_colour(JFIF);
    let picture = to_full_range(&scaler.scale(frame)?)?;
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

/// The picture with full range, as the encoder wants it. `frame` is yuv420p of limited range, as scalers leave it.
fn to_full_range(frame: &Frame) -> Result<Frame, Error> {
    let mut picture = Frame::blank(frame.size())?;
    for index in 0..3 {
        let plane = frame.plane(index).ok_or(Error::OutOfRange { what: "component of a picture" })?;
        let rows: Vec<&[u8]> = plane.rows().collect();
        let stretch = if index == 0 { luma } else { chroma };
        picture.fill_plane(index, |x, y| stretch(rows[y][x]))?;
    }
    // SAFETY: the frame is ours alone. yuvj420p has the planes of yuv420p; the name says that the range is full. The
    // encoder takes its quantiser from the frame's quality.
    unsafe {
        let raw = picture.as_mut_ptr();
        (*raw).format = ffi::AVPixelFormat::AV_PIX_FMT_YUVJ420P as c_int;
        (*raw).color_range = ffi::AVColorRange::AVCOL_RANGE_JPEG;
        (*raw).quality = QUALITY;
        (*raw).pts = 0;
    }
    Ok(picture)
}

/// 16 to 235 become 0 to 255.
fn luma(sample: u8) -> u8 {
    rounded((i32::from(sample) - 16) * 255, 219)
}

/// 16 to 240 become 0 to 255; 128 stays.
fn chroma(sample: u8) -> u8 {
    rounded((i32::from(sample) - 128) * 255 + 128 * 224, 224)
}

/// `numerator / denominator`, rounded to the nearest sample.
fn rounded(numerator: i32, denominator: i32) -> u8 {
    u8::try_from(((numerator + denominator / 2) / denominator).clamp(0, 255)).unwrap_or(u8::MAX)
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

/// JFIF knows one matrix only, that of BT.601 (ITU-T H.273: 6). Its full range comes after scaling.
const JFIF: Colour = Colour { primaries: 1, transfer: 1, matrix: 6, full_range: false };
const CODEC: &str = "mjpeg";
const OPENING: &str = "opening the JPEG encoder";
const ENCODING: &str = "encoding a JPEG";
/// The quantiser, 4 of 1 (best) to 31, in libav's unit FF_QP2LAMBDA: a picture of 640x360 has 20 to 60 KiB.
const QUALITY: c_int = 4 * ffi::FF_QP2LAMBDA as c_int;
