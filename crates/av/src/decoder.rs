//! `AVCodecContext` for decoding: access units to frames.

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use ffmpeg_sys_next as ffi;
use headwater_media::{Colour, Timescale, VideoCoding, VideoConfig};

use crate::options::Options;
use crate::packet::Packet;
use crate::{Error, Frame, extradata, log};

/// Decodes H.264, HEVC, AV1 and VP9.
///
/// Works on the caller's thread. After an error it can be fed on: it shows pictures again from the next IDR at the
/// latest, and marks as [damaged](Frame::is_damaged) what it had to invent meanwhile.
#[derive(Debug)]
pub struct VideoDecoder {
    context: NonNull<ffi::AVCodecContext>,
    packet: Packet,
    names: Names,
    /// What is known of the colour. Pictures of VP9, for one, do not say their transfer.
    colour: Option<Colour>,
}

/// What a codec is called.
#[derive(Clone, Copy, Debug)]
struct Names {
    /// By libavcodec.
    decoder: &'static str,
    /// In errors.
    opening: &'static str,
    decoding: &'static str,
}

// SAFETY: a codec context may move between threads as long as only one uses it at a time, which `&mut self` ensures.
unsafe impl Send for VideoDecoder {}

impl VideoDecoder {
    /// Opens a decoder for what samples look like inside Headwater, whatever the publisher sends (C-26): 4-byte lengths
    /// before NAL units, OBUs with their lengths. Times are in ticks of `timescale`.
    ///
    /// When the configuration says that nothing is reordered, each frame comes out with the access unit that it is in.
    pub fn new(config: &VideoConfig, timescale: Timescale) -> Result<Self, Error> {
        let (codec, names) = find(config.coding())?;
        // SAFETY: `codec` is one of libavcodec's static codecs.
        let context = unsafe { ffi::avcodec_alloc_context3(codec) };
        let context = NonNull::new(context).ok_or(Error::OutOfMemory { action: names.opening })?;
        let decoder = Self { context, packet: Packet::new()?, names, colour: config.colour() };
        // Frames of VP9 say all themselves.
        if config.coding() != VideoCoding::Vp9 {
            // SAFETY: the context is fresh and ours alone.
            unsafe { extradata::set(context, &config.record(), names.opening) }?;
        }
        let timescale = c_int::try_from(timescale.units_per_second())
            .map_err(|_| Error::OutOfRange { what: "timescale of a decoder" })?;
        // SAFETY: the context is not open yet, so its public fields may be set.
        unsafe { (*context.as_ptr()).pkt_timebase = ffi::AVRational { num: 1, den: timescale } };

        let mut options = Options::new();
        // More threads would hold back as many frames, or, by slices, help only with sources that have them.
        options.set(c"threads", "1")?;
        options.set(c"max_pixels", &pixels_max(config).to_string())?;
        if config.reordered() == Some(0) {
            options.set(c"flags", "+low_delay")?;
        }
        // SAFETY: context and codec belong together, the context is opened once, and the dictionary is ours.
        let code = unsafe { ffi::avcodec_open2(context.as_ptr(), codec, options.as_mut_ptr()) };
        Error::check(names.opening, code)?;
        match options.list() {
            left if left.is_empty() => Ok(decoder),
            options => Err(Error::UnknownOptions { codec: names.decoder, options }),
        }
    }

    /// Takes one access unit. Then call [`receive`](Self::receive) until it has no more frames.
    ///
    /// `pts` and `dts` are in ticks of the decoder's timescale; `pts` comes back with the frame.
    pub fn send(&mut self, data: &[u8], pts: i64, dts: i64) -> Result<(), Error> {
        // An empty packet would mean the end of the stream to libavcodec.
        if data.is_empty() {
            return Err(Error::Damaged { action: self.names.decoding, text: "empty access unit".to_owned() });
        }
        self.packet.fill(data, pts, dts)?;
        // SAFETY: the context is open; the packet stays ours and is only read.
        let code = unsafe { ffi::avcodec_send_packet(self.context.as_ptr(), self.packet.as_ptr()) };
        self.packet.clear();
        Error::check(self.names.decoding, code).map(|_| ())
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
        Error::check(self.names.decoding, code)?;
        if let Some(colour) = self.colour {
            frame.hint_colour(colour);
        }
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
        Error::check(self.names.decoding, code).map(|_| ())
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

/// Whether this machine's FFmpeg can decode it. The error is a sentence for the operator.
pub fn probe_decoder(coding: VideoCoding) -> Result<(), Error> {
    find(coding).map(|_| ())
}

/// What a picture may have at most, in pixels: the largest size that the configuration has, in the blocks in which decoders
/// count. A slice that refers to other parameter sets, or makes VP9 change its size, is damaged.
fn pixels_max(config: &VideoConfig) -> u64 {
    let (width, height) = config.size_max();
    let blocks = |pixels: u32| u64::from(pixels).next_multiple_of(BLOCK) + BLOCK;
    // An encoder of VP9 that had made its pictures smaller makes them as large as they were again, without a keyframe.
    let times = if config.coding() == VideoCoding::Vp9 { 4 } else { 1 };
    blocks(width) * blocks(height) * times
}

/// The largest block of any codec, but for AV1's of 128, which are not counted.
const BLOCK: u64 = 64;

fn find(coding: VideoCoding) -> Result<(*const ffi::AVCodec, Names), Error> {
    log::silence();
    // libavcodec's own decoder of AV1 needs hardware.
    let (name, names): (&CStr, Names) = match coding {
        VideoCoding::Avc => {
            (c"h264", Names { decoder: "h264", opening: "opening the H.264 decoder", decoding: "decoding H.264" })
        }
        VideoCoding::Hevc => {
            (c"hevc", Names { decoder: "hevc", opening: "opening the HEVC decoder", decoding: "decoding HEVC" })
        }
        VideoCoding::Av1 => {
            (c"libdav1d", Names { decoder: "libdav1d", opening: "opening the AV1 decoder", decoding: "decoding AV1" })
        }
        VideoCoding::Vp9 => {
            (c"vp9", Names { decoder: "vp9", opening: "opening the VP9 decoder", decoding: "decoding VP9" })
        }
    };
    // SAFETY: looks up a table by a zero-terminated name; null means that libavcodec was built without it.
    let codec = unsafe { ffi::avcodec_find_decoder_by_name(name.as_ptr()) };
    if codec.is_null() {
        return Err(Error::MissingCodec { name: names.decoder, kind: "decoder" });
    }
    Ok((codec, names))
}
