//! `AVCodecContext` for encoding: frames to H.264 access units, with libx264.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;
use ffmpeg_sys_next as ffi;
use headwater_media::{Colour, FrameRate, Timescale, VideoConfig};

use crate::nal;
use crate::options::Options;
use crate::packet::Packet;
use crate::{Error, Frame, PixelFormat, Size, error, log};

/// Settings of an encoder. They hold for its whole life: one set of parameter sets, one init segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VideoEncoderConfig {
    /// Size of the frames; both sides even.
    pub size: Size,
    /// Shape of a sample, width to height.
    pub sample_aspect: (u32, u32),
    /// Rate of the frames. Every frame counts as one of its slots, whatever its time says.
    pub frame_rate: FrameRate,
    /// Ticks in which presentation times are given and come back.
    pub timescale: Timescale,
    /// Mean rate in bits per second.
    pub bitrate_bps: u32,
    /// Rate at which the decoder's buffer fills, bits per second.
    pub bitrate_max_bps: u32,
    /// Size of the decoder's buffer in bits.
    pub buffer_bits: u32,
    /// x264's preset: `ultrafast` to `veryslow`.
    pub preset: String,
    /// x264's tune: `zerolatency`, `film`, `animation`, `grain`, or empty for none.
    pub tune: String,
    /// Highest H.264 profile: `baseline`, `main` or `high`.
    pub profile: String,
    /// Frames in a row that may be coded out of order. 0 wherever latency counts.
    pub b_frames: u32,
    /// Threads. With 1 to 3 the same frames always give the same bytes.
    pub threads: u32,
    /// Written into the parameter sets.
    pub colour: Colour,
}

impl VideoEncoderConfig {
    /// The settings of a live gear: constant rate with a buffer of one second, one picture in, one picture out.
    pub fn live(size: Size, frame_rate: FrameRate, bitrate_bps: u32) -> Self {
        Self {
            size,
            sample_aspect: (1, 1),
            frame_rate,
            timescale: Timescale::VIDEO,
            bitrate_bps,
            bitrate_max_bps: bitrate_bps,
            buffer_bits: bitrate_bps,
            preset: "superfast".to_owned(),
            tune: "zerolatency".to_owned(),
            profile: "high".to_owned(),
            b_frames: 0,
            threads: 1,
            colour: Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false },
        }
    }

    /// Whether x264 knows preset, tune and profile. It would say so itself, but on stderr.
    pub fn check(&self) -> Result<(), Error> {
        for (setting, value, known) in [
            ("preset", &self.preset, &PRESETS[..]),
            ("tune", &self.tune, &TUNES),
            ("profile", &self.profile, &PROFILES),
        ] {
            if !known.contains(&value.as_str()) {
                return Err(Error::UnknownSetting { setting, value: value.clone(), known: known.join(", ") });
            }
        }
        Ok(())
    }

    fn options(&self) -> Result<Options, Error> {
        self.check()?;
        let mut options = Options::new();
        options.set(c"preset", &self.preset)?;
        if !self.tune.is_empty() {
            options.set(c"tune", &self.tune)?;
        }
        options.set(c"profile", &self.profile)?;
        options.set(c"threads", &self.threads.to_string())?;
        options.set(c"b", &self.bitrate_bps.to_string())?;
        options.set(c"maxrate", &self.bitrate_max_bps.to_string())?;
        options.set(c"bufsize", &self.buffer_bits.to_string())?;
        options.set(c"bf", &self.b_frames.to_string())?;
        options.set(c"g", KEYFRAME_INTERVAL_INFINITE)?;
        options.set(c"forced-idr", "1")?;
        options.set(c"flags", "+global_header+cgop")?;
        options.set(c"color_primaries", &self.colour.primaries.to_string())?;
        options.set(c"color_trc", &self.colour.transfer.to_string())?;
        options.set(c"colorspace", &self.colour.matrix.to_string())?;
        options.set(c"color_range", if self.colour.full_range { "pc" } else { "tv" })?;
        // Captions that the decoder hangs on its frames would go with repeated and dropped ones; who encodes puts them in.
        options.set(c"a53cc", "0")?;
        options.set(c"x264-params", X264_PARAMS)?;
        Ok(options)
    }
}

/// How a picture is coded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PictureKind {
    /// The encoder decides; it never makes an IDR by itself but for the first picture.
    Auto,
    /// An IDR: decoding can start here.
    Idr,
}

/// One picture as an encoder gives it out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CodedPicture {
    /// NAL units with 4-byte lengths, without parameter sets, delimiters and filler (C-26).
    pub data: Bytes,
    /// Presentation time, as it was given with the frame.
    pub pts: i64,
    /// Decode time in the same ticks; equal to `pts` without B-frames, before it with them.
    pub dts: i64,
    /// It is an IDR picture, by its NAL units.
    pub idr: bool,
}

/// Encodes H.264 with libx264.
///
/// IDRs are exactly where [`PictureKind::Idr`] asks for them, and at the first picture.
#[derive(Debug)]
pub struct VideoEncoder {
    context: Context,
    packet: Packet,
    size: Size,
    config: Arc<VideoConfig>,
}

impl VideoEncoder {
    /// Opens an encoder.
    pub fn new(config: &VideoEncoderConfig) -> Result<Self, Error> {
        let codec = find()?;
        let context = Context::new(codec)?;
        context.set_fields(config)?;

        let mut options = config.options()?;
        let settings = options.list();
        // SAFETY: context and codec belong together, the context is opened once, and the dictionary is ours.
        let code = unsafe { ffi::avcodec_open2(context.0.as_ptr(), codec, options.as_mut_ptr()) };
        if code == ffi::AVERROR(ffi::ENOMEM) {
            return Err(Error::OutOfMemory { action: OPENING });
        }
        if code < 0 {
            let settings = format!("size={}, {settings}", config.size);
            return Err(Error::Settings { codec: CODEC, settings, text: error::text(code) });
        }
        let left = options.list();
        if !left.is_empty() {
            return Err(Error::UnknownOptions { codec: CODEC, options: left });
        }
        let avc = Arc::new(nal::configuration(context.extradata())?.into());
        Ok(Self { context, packet: Packet::new()?, size: config.size, config: avc })
    }

    /// What decodes the pictures: the parameter sets are here and not in the access units.
    pub fn config(&self) -> &Arc<VideoConfig> {
        &self.config
    }

    /// Takes a frame in the configured size. Then call [`receive`](Self::receive) until it has no more pictures.
    ///
    /// `pts` is in ticks of the configured timescale and rises from frame to frame; the frame's own is ignored.
    pub fn send(&mut self, frame: &Frame, pts: i64, kind: PictureKind) -> Result<(), Error> {
        let (found, format) = (frame.size(), frame.pixel_format());
        if found != self.size || format != PixelFormat::Yuv420p {
            let found_format = format!("{format:?}");
            return Err(Error::WrongFrame { found, found_format, expected: self.size });
        }
        let mut ordered = frame.reference()?;
        ordered.order(pts, kind == PictureKind::Idr);
        // SAFETY: the context is open; the frame has reference-counted buffers, which the encoder refers to or copies.
        let code = unsafe { ffi::avcodec_send_frame(self.context.0.as_ptr(), ordered.as_ptr()) };
        Error::check(ENCODING, code).map(|_| ())
    }

    /// The next picture in decoding order; `None` when it needs another frame first, or after
    /// [`finish`](Self::finish) when all are out.
    pub fn receive(&mut self) -> Result<Option<CodedPicture>, Error> {
        // SAFETY: the context is open; the call unreferences the packet and then fills it or leaves it blank.
        let code = unsafe { ffi::avcodec_receive_packet(self.context.0.as_ptr(), self.packet.as_mut_ptr()) };
        if code == ffi::AVERROR(ffi::EAGAIN) || code == ffi::AVERROR_EOF {
            return Ok(None);
        }
        Error::check(ENCODING, code)?;
        let (pts, dts) = self.packet.times();
        let data = nal::without_x264_note(self.packet.data());
        self.packet.clear();
        let unit = self.config.access_unit(&data)?;
        Ok(Some(CodedPicture { data: unit.data, pts, dts, idr: unit.idr }))
    }

    /// No frame follows: lets out the pictures that were held back.
    pub fn finish(&mut self) -> Result<(), Error> {
        // SAFETY: the context is open; a null frame starts draining.
        let code = unsafe { ffi::avcodec_send_frame(self.context.0.as_ptr(), std::ptr::null()) };
        if code == ffi::AVERROR_EOF {
            return Ok(());
        }
        Error::check(ENCODING, code).map(|_| ())
    }
}

/// The libav object.
#[derive(Debug)]
struct Context(NonNull<ffi::AVCodecContext>);

// SAFETY: a codec context may move between threads as long as only one uses it at a time; `VideoEncoder` uses it in
// `&mut self` methods only.
unsafe impl Send for Context {}

impl Context {
    fn new(codec: *const ffi::AVCodec) -> Result<Self, Error> {
        // SAFETY: `codec` is one of libavcodec's static codecs.
        let context = unsafe { ffi::avcodec_alloc_context3(codec) };
        NonNull::new(context).map(Self).ok_or(Error::OutOfMemory { action: OPENING })
    }

    /// What is a field of the context and no option. The frame rate must be there: from it x264 takes level, rate
    /// control and the timing in the SPS.
    fn set_fields(&self, config: &VideoEncoderConfig) -> Result<(), Error> {
        let int = |value: u32, what| c_int::try_from(value).map_err(|_| Error::OutOfRange { what });
        let (rate, per) = config.frame_rate.fraction();
        let width = int(config.size.width, "width of an encoder")?;
        let height = int(config.size.height, "height of an encoder")?;
        let framerate = ffi::AVRational { num: int(rate, "frame rate")?, den: int(per, "frame rate")? };
        let time_base = ffi::AVRational { num: 1, den: int(config.timescale.units_per_second(), "timescale")? };
        let sample_aspect_ratio = ffi::AVRational {
            num: int(config.sample_aspect.0, "sample aspect ratio")?,
            den: int(config.sample_aspect.1, "sample aspect ratio")?,
        };
        // SAFETY: the context is not open yet, so its public fields may be set.
        unsafe {
            let context = self.0.as_ptr();
            (*context).width = width;
            (*context).height = height;
            (*context).framerate = framerate;
            (*context).time_base = time_base;
            (*context).sample_aspect_ratio = sample_aspect_ratio;
            (*context).pix_fmt = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P;
        }
        Ok(())
    }

    /// What an encoder writes before its first picture.
    fn extradata(&self) -> &[u8] {
        // SAFETY: reads two fields of a valid context.
        let (data, size) = unsafe { ((*self.0.as_ptr()).extradata, (*self.0.as_ptr()).extradata_size) };
        match usize::try_from(size) {
            // SAFETY: an open encoder's extradata has that size and stays as it is until the context is freed.
            Ok(size) if !data.is_null() => unsafe { std::slice::from_raw_parts(data, size) },
            _ => &[],
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

/// Whether this machine's FFmpeg can encode what we need. The error is a sentence for the operator.
pub fn probe() -> Result<(), Error> {
    find().map(|_| ())
}

fn find() -> Result<*const ffi::AVCodec, Error> {
    log::silence();
    // SAFETY: looks up a table by a zero-terminated name; null means that libavcodec was built without it.
    let codec = unsafe { ffi::avcodec_find_encoder_by_name(c"libx264".as_ptr()) };
    if codec.is_null() { Err(Error::MissingCodec { name: CODEC, kind: "encoder" }) } else { Ok(codec) }
}

const PRESETS: [&str; 9] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];
const TUNES: [&str; 5] = ["", "zerolatency", "film", "animation", "grain"];
const PROFILES: [&str; 3] = ["baseline", "main", "high"];
const CODEC: &str = "libx264";
const OPENING: &str = "opening the H.264 encoder";
const ENCODING: &str = "encoding H.264";
/// x264's X264_KEYINT_MAX_INFINITE: no keyframe by itself.
const KEYFRAME_INTERVAL_INFINITE: &str = "1073741824";
/// `annexb=0`: NAL units with lengths. `scenecut=0`: no I pictures by itself. `force-cfr=1`: every frame is one slot of
/// the frame rate, and the SPS says so; otherwise it would give the timescale as frame rate. `dct-decimate=0`: blocks
/// with little in them stay; to look for them takes 2 to 8 % of the time, for less than 0.1 dB with natural pictures
/// (docs/benchmarks.md).
const X264_PARAMS: &str = "annexb=0:scenecut=0:force-cfr=1:repeat-headers=0:aud=0:dct-decimate=0";
