//! `AVCodecContext` for decoding: access units to frames.

use std::ffi::c_int;
use std::ptr::NonNull;

use ffmpeg_sys_next as ffi;
use headwater_media::{AvcConfig, Timescale};

use crate::options::Options;
use crate::packet::Packet;
use crate::{Error, Frame, extradata, log};

/// Decodes H.264.
///
/// Works on the caller's thread. After an error it can be fed on: it shows pictures again from the next IDR at the
/// latest, and marks as [damaged](Frame::is_damaged) what it had to invent meanwhile.
#[derive(Debug)]
pub struct VideoDecoder {
    context: NonNull<ffi::AVCodecContext>,
    packet: Packet,
}

// SAFETY: a codec context may move between threads as long as only one uses it at a time, which `&mut self` ensures.
unsafe impl Send for VideoDecoder {}

impl VideoDecoder {
    /// Opens a decoder for H.264 with 4-byte lengths before the NAL units, whatever the publisher sends: that is what
    /// samples look like inside Headwater (C-26). Times are in ticks of `timescale`.
    ///
    /// When the configuration says that nothing is reordered, each frame comes out with the access unit that it is in.
    pub fn h264(config: &AvcConfig, timescale: Timescale) -> Result<Self, Error> {
        log::silence();
        // SAFETY: looks up a table; null means that libavcodec was built without it.
        let codec = unsafe { ffi::avcodec_find_decoder(ffi::AVCodecID::AV_CODEC_ID_H264) };
        if codec.is_null() {
            return Err(Error::MissingCodec { name: "h264", kind: "decoder" });
        }
        // SAFETY: `codec` is one of libavcodec's static codecs.
        let context = unsafe { ffi::avcodec_alloc_context3(codec) };
        let context = NonNull::new(context).ok_or(Error::OutOfMemory { action: OPENING })?;
        let decoder = Self { context, packet: Packet::new()? };
        // SAFETY: the context is fresh and ours alone.
        unsafe { extradata::set(context, &config.record(), OPENING) }?;
        let timescale = c_int::try_from(timescale.units_per_second())
            .map_err(|_| Error::OutOfRange { what: "timescale of a decoder" })?;
        // SAFETY: the context is not open yet, so its public fields may be set.
        unsafe { (*context.as_ptr()).pkt_timebase = ffi::AVRational { num: 1, den: timescale } };

        let mut options = Options::new();
        // More threads would hold back as many frames, or, by slices, help only with sources that have them.
        options.set(c"threads", "1")?;
        if config.parsed.reorder_frames == Some(0) || config.parsed.profile == BASELINE {
            options.set(c"flags", "+low_delay")?;
        }
        // SAFETY: context and codec belong together, the context is opened once, and the dictionary is ours.
        let code = unsafe { ffi::avcodec_open2(context.as_ptr(), codec, options.as_mut_ptr()) };
        Error::check(OPENING, code)?;
        match options.list() {
            left if left.is_empty() => Ok(decoder),
            options => Err(Error::UnknownOptions { codec: "h264 decoder", options }),
        }
    }

    /// Takes one access unit. Then call [`receive`](Self::receive) until it has no more frames.
    ///
    /// `pts` and `dts` are in ticks of the decoder's timescale; `pts` comes back with the frame.
    pub fn send(&mut self, data: &[u8], pts: i64, dts: i64) -> Result<(), Error> {
        // An empty packet would mean the end of the stream to libavcodec.
        if data.is_empty() {
            return Err(Error::Damaged { action: DECODING, text: "empty access unit".to_owned() });
        }
        self.packet.fill(data, pts, dts)?;
        // SAFETY: the context is open; the packet stays ours and is only read.
        let code = unsafe { ffi::avcodec_send_packet(self.context.as_ptr(), self.packet.as_ptr()) };
        self.packet.clear();
        Error::check(DECODING, code).map(|_| ())
    }

    /// The next frame in presentation order; `None` when it needs another access unit first, or after
    /// [`finish`](Self::finish) when all are out.
    pub fn receive(&mut self) -> Result<Option<Frame>, Error> {
        let mut frame = Frame::empty()?;
        // SAFETY: the context is open; the call unreferences the frame and then fills it or leaves it blank.
        let code = unsafe { ffi::avcodec_receive_frame(self.context.as_ptr(), frame.as_mut_ptr()) };
        if code == ffi::AVERROR(ffi::EAGAIN) || code == ffi::AVERROR_EOF {
            return Ok(None);
        }
        Error::check(DECODING, code)?;
        Ok(Some(frame))
    }

    /// No access unit follows: lets out the frames that were held back for reordering. Afterwards only
    /// [`flush`](Self::flush) makes it take data again.
    pub fn finish(&mut self) -> Result<(), Error> {
        // SAFETY: the context is open; a null packet starts draining.
        let code = unsafe { ffi::avcodec_send_packet(self.context.as_ptr(), std::ptr::null()) };
        if code == ffi::AVERROR_EOF {
            return Ok(());
        }
        Error::check(DECODING, code).map(|_| ())
    }

    /// Forgets all pictures, as after a seek. The next access unit should be an IDR.
    pub fn flush(&mut self) {
        // SAFETY: the context is open.
        unsafe { ffi::avcodec_flush_buffers(self.context.as_ptr()) }
    }
}

impl Drop for VideoDecoder {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: the context came from avcodec_alloc_context3 and is freed once, with its extradata.
        unsafe { ffi::avcodec_free_context(&raw mut context) }
    }
}

const OPENING: &str = "opening the H.264 decoder";
const DECODING: &str = "decoding H.264";
/// profile_idc of the profile without B pictures.
const BASELINE: u8 = 66;
