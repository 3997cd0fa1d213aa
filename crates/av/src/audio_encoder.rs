//! `AVCodecContext` for encoding sound: samples to AAC-LC frames.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;
use ffmpeg_sys_next as ffi;
use headwater_media::AacConfig;

use crate::options::Options;
use crate::packet::Packet;
use crate::resampler::default_layout;
use crate::{Error, Frame, Pcm, error, log};

/// Samples of an AAC-LC frame.
pub const AAC_FRAME: usize = 1024;

/// Settings of an encoder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AacEncoderConfig {
    /// Samples per second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Mean rate in bits per second.
    pub bitrate_bps: u32,
}

/// One coded frame as an encoder gives it out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CodedAudio {
    /// A raw AAC frame.
    pub data: Bytes,
    /// The sample that the decoded frame begins with, by the numbers that [`AacEncoder::send`] was given. The first
    /// frame out begins [`AAC_FRAME`] before the first one in: a decoder needs it, or the one before, for the next.
    pub start: i64,
}

/// Encodes AAC-LC with libavcodec's own encoder. A frame comes out two frames after it went in.
#[derive(Debug)]
pub struct AacEncoder {
    context: Context,
    packet: Packet,
    settings: AacEncoderConfig,
    config: Arc<AacConfig>,
}

impl AacEncoder {
    /// Opens an encoder.
    pub fn new(settings: AacEncoderConfig) -> Result<Self, Error> {
        log::silence();
        // SAFETY: looks up a table by a zero-terminated name; null means that libavcodec was built without it.
        let codec = unsafe { ffi::avcodec_find_encoder_by_name(c"aac".as_ptr()) };
        if codec.is_null() {
            return Err(Error::MissingCodec { name: CODEC, kind: "encoder" });
        }
        // SAFETY: `codec` is one of libavcodec's static codecs.
        let context = unsafe { ffi::avcodec_alloc_context3(codec) };
        let context = Context(NonNull::new(context).ok_or(Error::OutOfMemory { action: OPENING })?);
        let rate = c_int::try_from(settings.sample_rate).map_err(|_| Error::OutOfRange { what: "sample rate" })?;
        // SAFETY: the context is not open yet, so its public fields may be set; the layout owns no memory.
        unsafe {
            let context = context.0.as_ptr();
            (*context).sample_rate = rate;
            (*context).time_base = ffi::AVRational { num: 1, den: rate };
            (*context).sample_fmt = ffi::AVSampleFormat::AV_SAMPLE_FMT_FLTP;
            (*context).ch_layout = default_layout(c_int::from(settings.channels));
        }
        let mut options = Options::new();
        options.set(c"b", &settings.bitrate_bps.to_string())?;
        options.set(c"flags", "+global_header")?;
        options.set(c"threads", "1")?;
        let given = options.list();
        // SAFETY: context and codec belong together, the context is opened once, and the dictionary is ours.
        let code = unsafe { ffi::avcodec_open2(context.0.as_ptr(), codec, options.as_mut_ptr()) };
        if code < 0 {
            let settings = format!("sample_rate={rate}, channels={}, {given}", settings.channels);
            return Err(Error::Settings { codec: CODEC, settings, text: error::text(code) });
        }
        match options.list() {
            left if left.is_empty() => {}
            options => return Err(Error::UnknownOptions { codec: CODEC, options }),
        }
        let config = Arc::new(AacConfig::parse(Bytes::copy_from_slice(context.extradata()))?);
        Ok(Self { context, packet: Packet::new()?, settings, config })
    }

    /// What decodes the frames.
    pub fn config(&self) -> &Arc<AacConfig> {
        &self.config
    }

    /// Takes the next frame: the first [`AAC_FRAME`] samples of `sound`, which begin at sample number `start`. Then call
    /// [`receive`](Self::receive) until it has no more.
    pub fn send(&mut self, sound: &Pcm, start: i64) -> Result<(), Error> {
        let channels = usize::from(self.settings.channels);
        if sound.len() < AAC_FRAME || sound.channels().len() != channels {
            return Err(Error::OutOfRange { what: "length or channels of a frame of sound" });
        }
        let mut frame = Frame::empty()?;
        let raw = frame.as_mut_ptr();
        // SAFETY: the frame is fresh; av_frame_get_buffer demands that format, layout and number of samples are set, and
        // allocates memory for all planes.
        let code = unsafe {
            (*raw).format = ffi::AVSampleFormat::AV_SAMPLE_FMT_FLTP as c_int;
            (*raw).ch_layout = default_layout(c_int::from(self.settings.channels));
            (*raw).sample_rate = (*self.context.0.as_ptr()).sample_rate;
            (*raw).nb_samples = FRAME_SAMPLES;
            (*raw).pts = start;
            ffi::av_frame_get_buffer(raw, 0)
        };
        Error::check(ENCODING, code)?;
        for (index, samples) in sound.channels().iter().enumerate() {
            // SAFETY: planar floats have one plane a channel, of at least AAC_FRAME floats, fresh memory that overlaps
            // nothing; with 1 or 2 channels all planes are in `data`.
            unsafe {
                let plane = (*raw).data[index].cast::<f32>();
                std::ptr::copy_nonoverlapping(samples.as_ptr(), plane, AAC_FRAME);
            }
        }
        // SAFETY: the context is open; the frame has reference-counted buffers, which the encoder refers to or copies.
        let code = unsafe { ffi::avcodec_send_frame(self.context.0.as_ptr(), frame.as_ptr()) };
        Error::check(ENCODING, code).map(|_| ())
    }

    /// The next coded frame; `None` when it needs more sound first.
    pub fn receive(&mut self) -> Result<Option<CodedAudio>, Error> {
        // SAFETY: the context is open; the call unreferences the packet and then fills it or leaves it blank.
        let code = unsafe { ffi::avcodec_receive_packet(self.context.0.as_ptr(), self.packet.as_mut_ptr()) };
        if code == ffi::AVERROR(ffi::EAGAIN) || code == ffi::AVERROR_EOF {
            return Ok(None);
        }
        Error::check(ENCODING, code)?;
        let coded = CodedAudio { data: Bytes::copy_from_slice(self.packet.data()), start: self.packet.times().0 };
        self.packet.clear();
        Ok(Some(coded))
    }
}

/// The libav object.
#[derive(Debug)]
struct Context(NonNull<ffi::AVCodecContext>);

// SAFETY: a codec context may move between threads as long as only one uses it at a time; `AacEncoder` uses it in
// `&mut self` methods only.
unsafe impl Send for Context {}

impl Context {
    /// The AudioSpecificConfig.
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

const CODEC: &str = "aac";
const OPENING: &str = "opening the AAC encoder";
const ENCODING: &str = "encoding AAC";
/// [`AAC_FRAME`] as libav counts.
const FRAME_SAMPLES: c_int = 1024;
