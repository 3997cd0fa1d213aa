//! `AVCodecContext` for decoding sound: coded frames to samples.

use std::ptr::NonNull;

use bytes::Bytes;
use ffmpeg_sys_next as ffi;
use headwater_media::{AudioConfig, OpusConfig};

use crate::options::Options;
use crate::packet::Packet;
use crate::{Error, Frame, extradata, log};

/// Decodes sound, frame by frame: what goes in comes out at once.
#[derive(Debug)]
pub struct AudioDecoder {
    context: NonNull<ffi::AVCodecContext>,
    packet: Packet,
    /// Hz, as the configuration has it.
    sample_rate: u32,
}

// SAFETY: a codec context may move between threads as long as only one uses it at a time, which `&mut self` ensures.
unsafe impl Send for AudioDecoder {}

/// The samples of one coded frame, in the decoder's own format.
#[derive(Debug)]
pub struct DecodedAudio {
    frame: Frame,
}

impl AudioDecoder {
    /// Opens a decoder.
    pub fn new(config: &AudioConfig) -> Result<Self, Error> {
        log::silence();
        let (id, name, record) = match config {
            AudioConfig::Aac(aac) => (ffi::AVCodecID::AV_CODEC_ID_AAC, "aac", aac.record.clone()),
            AudioConfig::Mp3(_) => (ffi::AVCodecID::AV_CODEC_ID_MP3, "mp3", Bytes::new()),
            // What a player of a file skips is sound here like all else: packets say when it is heard.
            AudioConfig::Opus(opus) => {
                let head = OpusConfig { pre_skip: 0, ..opus.clone() }.head();
                (ffi::AVCodecID::AV_CODEC_ID_OPUS, "opus", head.into())
            }
            AudioConfig::Flac(flac) => (ffi::AVCodecID::AV_CODEC_ID_FLAC, "flac", flac.stream_info.clone()),
            AudioConfig::Ac3(ac3) if ac3.enhanced => (ffi::AVCodecID::AV_CODEC_ID_EAC3, "eac3", Bytes::new()),
            AudioConfig::Ac3(_) => (ffi::AVCodecID::AV_CODEC_ID_AC3, "ac3", Bytes::new()),
        };
        // SAFETY: looks up a table; null means that libavcodec was built without it.
        let codec = unsafe { ffi::avcodec_find_decoder(id) };
        if codec.is_null() {
            return Err(Error::MissingCodec { name, kind: "decoder" });
        }
        // SAFETY: `codec` is one of libavcodec's static codecs.
        let context = unsafe { ffi::avcodec_alloc_context3(codec) };
        let context = NonNull::new(context).ok_or(Error::OutOfMemory { action: OPENING })?;
        let decoder = Self { context, packet: Packet::new()?, sample_rate: config.sample_rate() };
        if !record.is_empty() {
            // SAFETY: the context is fresh and ours alone.
            unsafe { extradata::set(context, &record, OPENING) }?;
        }
        let mut options = Options::new();
        options.set(c"threads", "1")?;
        // SAFETY: context and codec belong together, the context is opened once, and the dictionary is ours.
        let code = unsafe { ffi::avcodec_open2(context.as_ptr(), codec, options.as_mut_ptr()) };
        Error::check(OPENING, code)?;
        match options.list() {
            left if left.is_empty() => Ok(decoder),
            options => Err(Error::UnknownOptions { codec: name, options }),
        }
    }

    /// Decodes one coded frame. `None` when it has no samples, as the first one of some encoders. After an error the
    /// decoder can be fed on.
    pub fn decode(&mut self, data: &[u8]) -> Result<Option<DecodedAudio>, Error> {
        // An empty packet would mean the end of the stream to libavcodec.
        if data.is_empty() {
            return Err(Error::Damaged { action: DECODING, text: "empty frame".to_owned() });
        }
        self.packet.fill(data, 0, 0)?;
        // SAFETY: the context is open; the packet stays ours and is only read.
        let code = unsafe { ffi::avcodec_send_packet(self.context.as_ptr(), self.packet.as_ptr()) };
        self.packet.clear();
        Error::check(DECODING, code)?;
        let decoded = self.receive()?;
        // The decoder takes the next packet only when it has nothing left; a second frame has no place in time.
        while self.receive()?.is_some() {}
        Ok(decoded)
    }

    fn receive(&mut self) -> Result<Option<DecodedAudio>, Error> {
        let mut frame = Frame::empty()?;
        // SAFETY: the context is open; the call unreferences the frame and then fills it or leaves it blank.
        let code = unsafe { ffi::avcodec_receive_frame(self.context.as_ptr(), frame.as_mut_ptr()) };
        if code == ffi::AVERROR(ffi::EAGAIN) || code == ffi::AVERROR_EOF {
            return Ok(None);
        }
        Error::check(DECODING, code)?;
        let decoded = DecodedAudio { frame };
        if decoded.len() == 0 || decoded.channels() == 0 {
            return Ok(None);
        }
        // Frames of FLAC have a rate of their own, with which a few samples could be minutes.
        let rate = decoded.sample_rate();
        if rate == self.sample_rate || rate == self.sample_rate.saturating_mul(2) {
            Ok(Some(decoded))
        } else {
            let text = format!("a frame of {rate} Hz in sound of {} Hz", self.sample_rate);
            Err(Error::Damaged { action: DECODING, text })
        }
    }

    /// Forgets what was decoded: the next frame is of another stretch.
    pub fn flush(&mut self) {
        // SAFETY: the context is open.
        unsafe { ffi::avcodec_flush_buffers(self.context.as_ptr()) }
    }
}

impl Drop for AudioDecoder {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: the context came from avcodec_alloc_context3 and is freed once, with its extradata.
        unsafe { ffi::avcodec_free_context(&raw mut context) }
    }
}

impl DecodedAudio {
    /// Samples in each channel.
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        usize::try_from(self.frame.raw().nb_samples).unwrap_or(0)
    }

    /// Samples per second, which may be twice what the configuration says (SBR).
    pub fn sample_rate(&self) -> u32 {
        u32::try_from(self.frame.raw().sample_rate).unwrap_or(0)
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        usize::try_from(self.frame.raw().ch_layout.nb_channels).unwrap_or(0)
    }

    pub(crate) fn raw(&self) -> &ffi::AVFrame {
        self.frame.raw()
    }
}

const OPENING: &str = "opening a sound decoder";
const DECODING: &str = "decoding sound";
