//! libav* behind safe types: decoders, deinterlacer, scaler, resampler, encoders. The only unsafe code.
//!
//! Each file owns one kind of libav object (one of zimg's in `zimg`) and frees it in `Drop`. Everything here is synchronous and works on whole
//! access units and frames: no containers, no files, no threads of its own. What it does not do: decide which
//! pictures to encode, pace anything, or hold media back longer than the codecs must.
//!
//! libav's own log is switched off: what went wrong is in the [`Error`].

mod audio_decoder;
mod audio_encoder;
mod decoder;
mod deinterlacer;
mod encoder;
mod error;
mod extradata;
mod frame;
mod jpeg;
mod log;
mod nal;
mod options;
mod packet;
mod pcm;
mod resampler;
mod scaler;
mod tone;
mod zimg;

pub use audio_decoder::{AudioDecoder, DecodedAudio};
pub use audio_encoder::{AAC_FRAME, AacEncoder, AacEncoderConfig, CodedAudio};
pub use decoder::{VideoDecoder, probe_decoder};
pub use deinterlacer::Deinterlacer;
pub use encoder::{CodedPicture, PictureKind, VideoEncoder, VideoEncoderConfig, probe};
pub use error::Error;
pub use frame::{Frame, PixelFormat, Plane};
pub use jpeg::jpeg;
pub use pcm::Pcm;
pub use resampler::Resampler;
pub use scaler::{Scaler, Size};
