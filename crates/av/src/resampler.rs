//! `SwrContext`: decoded sound in another rate and layout.

use std::ffi::c_int;
use std::fmt;
use std::ptr::{self, NonNull};

use ffi::AVSampleFormat::*;
use ffmpeg_sys_next as ffi;

use crate::{DecodedAudio, Error, Pcm, log};

/// Converts one run of decoded sound. Its first sample out is of the time of the first sample in, and the number of
/// samples is exact in the long run.
pub struct Resampler {
    context: NonNull<ffi::SwrContext>,
    input: Format,
    sample_rate: u32,
    channels: usize,
}

// SAFETY: a resampler's context may move between threads as long as only one uses it at a time, which `&mut self`
// ensures.
unsafe impl Send for Resampler {}

/// How decoded sound is laid out.
struct Format {
    sample_rate: c_int,
    samples: ffi::AVSampleFormat,
    layout: ffi::AVChannelLayout,
}

impl Resampler {
    /// For sound like `first`, to `sample_rate` Hz and 1 or 2 channels.
    pub fn new(first: &DecodedAudio, sample_rate: u32, channels: u8) -> Result<Self, Error> {
        log::silence();
        let mut input = Format::of(first)?;
        let rate = c_int::try_from(sample_rate).map_err(|_| Error::OutOfRange { what: "sample rate" })?;
        let mut output = default_layout(c_int::from(channels));
        let mut context = ptr::null_mut();
        // SAFETY: allocates a context for a null pointer and copies both layouts, which are valid.
        let code = unsafe {
            ffi::swr_alloc_set_opts2(
                &raw mut context,
                &raw mut output,
                AV_SAMPLE_FMT_FLTP,
                rate,
                &raw mut input.layout,
                input.samples,
                input.sample_rate,
                0,
                ptr::null_mut(),
            )
        };
        Error::check(OPENING, code)?;
        let context = NonNull::new(context).ok_or(Error::OutOfMemory { action: OPENING })?;
        let resampler = Self { context, input, sample_rate, channels: usize::from(channels) };
        // SAFETY: the context has its options and is opened once.
        Error::check(OPENING, unsafe { ffi::swr_init(context.as_ptr()) })?;
        Ok(resampler)
    }

    /// Whether `sound` is like the first: if not, it needs a resampler of its own.
    pub fn fits(&self, sound: &DecodedAudio) -> bool {
        Format::of(sound).is_ok_and(|format| {
            // SAFETY: both layouts are valid; the call reads them.
            let layouts =
                unsafe { ffi::av_channel_layout_compare(&raw const format.layout, &raw const self.input.layout) };
            layouts == 0 && (format.sample_rate, format.samples) == (self.input.sample_rate, self.input.samples)
        })
    }

    /// Converts `sound` and adds what comes out; a few samples stay inside.
    pub fn push(&mut self, sound: &DecodedAudio, out: &mut Pcm) -> Result<(), Error> {
        if !self.fits(sound) {
            return Err(Error::OutOfRange { what: "format of sound in mid-stream" });
        }
        let raw = sound.raw();
        self.convert(raw.extended_data.cast(), raw.nb_samples, out)
    }

    /// Samples that are held back, at the rate of the output.
    pub fn delay(&self) -> i64 {
        // SAFETY: the context is open; the call reads it.
        unsafe { ffi::swr_get_delay(self.context.as_ptr(), i64::from(self.sample_rate)) }
    }

    /// Makes `more` samples more, or fewer when it is negative, of what will be the next `over` samples: a clock is
    /// followed without a click. What is left of an earlier call is forgotten.
    pub fn stretch(&mut self, more: i32, over: u32) -> Result<(), Error> {
        let over = c_int::try_from(over).map_err(|_| Error::OutOfRange { what: "length of a correction" })?;
        // SAFETY: the context is open. Where nothing was resampled, the call opens it anew, which loses nothing.
        let code = unsafe { ffi::swr_set_compensation(self.context.as_ptr(), more, over) };
        Error::check(CONVERTING, code).map(|_| ())
    }

    /// Nothing follows: adds the samples that were held back.
    pub fn finish(&mut self, out: &mut Pcm) -> Result<(), Error> {
        self.convert(ptr::null_mut(), 0, out)
    }

    /// `input` is null, or has a pointer to `count` samples for each plane of the input's format.
    fn convert(&mut self, input: *mut *const u8, count: c_int, out: &mut Pcm) -> Result<(), Error> {
        // SAFETY: the context is open.
        let room = unsafe { ffi::swr_get_out_samples(self.context.as_ptr(), count) };
        let room = Error::check(CONVERTING, room)?;
        let size = usize::try_from(room).unwrap_or(0);
        let mut planes = vec![vec![0.0_f32; size]; self.channels];
        let mut pointers: Vec<*mut u8> = planes.iter_mut().map(|plane| plane.as_mut_ptr().cast()).collect();
        // SAFETY: there are as many output pointers as channels, each to `room` floats, which is the planar format that
        // the context was made for; the caller vouches for the input.
        let code = unsafe { ffi::swr_convert(self.context.as_ptr(), pointers.as_mut_ptr(), room, input, count) };
        let made = usize::try_from(Error::check(CONVERTING, code)?).unwrap_or(0);
        // Of damaged frames anything can come, and no encoder takes what is no number.
        planes.iter_mut().flat_map(|plane| plane.iter_mut().take(made)).for_each(|sample| *sample = sane(*sample));
        out.extend(|channel| planes.get(channel).map_or(&[], |plane| &plane[..made.min(size)]));
        Ok(())
    }
}

/// The same, within what is loud.
fn sane(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-LOUD, LOUD) }
}

/// Full scale is 1; what is louder is cut off by the player.
const LOUD: f32 = 4.0;

impl Drop for Resampler {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: the context came from swr_alloc_set_opts2 and is freed once.
        unsafe { ffi::swr_free(&raw mut context) }
    }
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resampler").field("channels", &self.channels).finish_non_exhaustive()
    }
}

impl Format {
    fn of(sound: &DecodedAudio) -> Result<Self, Error> {
        let raw = sound.raw();
        let known = FORMATS.into_iter().find(|format| *format as c_int == raw.format);
        let samples = known.ok_or(Error::OutOfRange { what: "sample format" })?;
        // SAFETY: the layout is valid, and so is the blank one that the check writes nothing to.
        let named = unsafe { ffi::av_channel_layout_check(&raw const raw.ch_layout) } == 1
            && raw.ch_layout.order != ffi::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC;
        let mut layout = default_layout(raw.ch_layout.nb_channels);
        if named {
            // SAFETY: both layouts are valid; the old content of the copy is freed by the call.
            let code = unsafe { ffi::av_channel_layout_copy(&raw mut layout, &raw const raw.ch_layout) };
            Error::check(OPENING, code)?;
        }
        Ok(Self { sample_rate: raw.sample_rate, samples, layout })
    }
}

impl Drop for Format {
    fn drop(&mut self) {
        // SAFETY: the layout is valid and not used afterwards.
        unsafe { ffi::av_channel_layout_uninit(&raw mut self.layout) }
    }
}

/// The usual layout of so many channels. It owns no memory.
pub(crate) fn default_layout(channels: c_int) -> ffi::AVChannelLayout {
    // SAFETY: a layout of zeros is a valid, empty one; it has no references and its enum has a zero.
    let mut layout: ffi::AVChannelLayout = unsafe { std::mem::zeroed() };
    // SAFETY: overwrites the layout, which owned nothing.
    unsafe { ffi::av_channel_layout_default(&raw mut layout, channels) };
    layout
}

/// What decoders give out.
const FORMATS: [ffi::AVSampleFormat; 10] = [
    AV_SAMPLE_FMT_FLTP,
    AV_SAMPLE_FMT_FLT,
    AV_SAMPLE_FMT_S16P,
    AV_SAMPLE_FMT_S16,
    AV_SAMPLE_FMT_S32P,
    AV_SAMPLE_FMT_S32,
    AV_SAMPLE_FMT_U8,
    AV_SAMPLE_FMT_U8P,
    AV_SAMPLE_FMT_DBL,
    AV_SAMPLE_FMT_DBLP,
];
const OPENING: &str = "opening a resampler";
const CONVERTING: &str = "resampling sound";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_encoder_takes_becomes_something_that_it_does() {
        let sounds = [0.5, -1.0, 1e9, f32::NEG_INFINITY, f32::INFINITY];
        assert_eq!(sounds.map(sane), [0.5, -1.0, LOUD, -LOUD, LOUD]);
        assert_eq!(sane(f32::NAN).to_bits(), 0.0_f32.to_bits());
    }
}
