//! What libav refuses, and why.

use std::ffi::{CStr, c_char, c_int};

use ffmpeg_sys_next as ffi;
use headwater_media::CodecError;

use crate::Size;

/// Why libav did not do as it was told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The FFmpeg libraries on this machine were built without a codec that we need.
    #[error("FFmpeg's libavcodec on this machine has no {name} {kind}; install a build that has it")]
    MissingCodec {
        /// libavcodec's name of the codec.
        name: &'static str,
        /// "encoder" or "decoder".
        kind: &'static str,
    },
    /// libavcodec opened a codec but did not know some of its options.
    #[error("libavcodec's {codec} does not know the options: {options}")]
    UnknownOptions {
        /// libavcodec's name of the codec.
        codec: &'static str,
        /// The options that were left over, `name=value`, separated by commas.
        options: String,
    },
    /// A setting of the encoder has a value that it does not know.
    #[error("{setting} of the encoder is {value:?}, expected one of: {known}")]
    UnknownSetting {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        known: String,
    },
    /// The encoder cannot work with its settings.
    #[error("libavcodec's {codec} does not accept its settings ({settings}): {text}")]
    Settings {
        /// libavcodec's name of the codec.
        codec: &'static str,
        /// The settings, `name=value`, separated by commas.
        settings: String,
        /// libav's words for it.
        text: String,
    },
    /// The coded data is damaged or not what the configuration announced. The codec can be fed on.
    #[error("{action}: damaged data ({text})")]
    Damaged {
        /// What was being done.
        action: &'static str,
        /// libav's words for it.
        text: String,
    },
    /// A frame has another size or pixel format than the encoder was made for.
    #[error("frame is {found} in {found_format}, the encoder takes {expected} in yuv420p")]
    WrongFrame {
        /// Size of the frame.
        found: Size,
        /// Its pixel format.
        found_format: String,
        /// Size that the encoder was made for.
        expected: Size,
    },
    /// Memory ran out, or a size is beyond what libav takes.
    #[error("{action}: libav could not allocate memory")]
    OutOfMemory {
        /// What was being done.
        action: &'static str,
    },
    /// The scaling library does not do what it is asked for.
    #[error("{action}: {text}")]
    Library {
        /// What was being done.
        action: &'static str,
        /// The library's words for it.
        text: String,
    },
    /// A number does not fit into libav's type for it.
    #[error("{what} is out of libav's range")]
    OutOfRange {
        /// Which number.
        what: &'static str,
    },
    /// What the encoder made is not what we take for H.264 or AAC.
    #[error("the encoder made something unexpected: {0}")]
    Unexpected(#[from] CodecError),
    /// Anything else that libav reports.
    #[error("{action}: {text} (libav error {code})")]
    Libav {
        /// What was being done.
        action: &'static str,
        /// libav's error code.
        code: i32,
        /// libav's words for it.
        text: String,
    },
}

impl Error {
    /// The error for the negative return value `code`.
    pub(crate) fn new(action: &'static str, code: c_int) -> Self {
        match code {
            ffi::AVERROR_INVALIDDATA => Self::Damaged { action, text: text(code) },
            _ if code == ffi::AVERROR(ffi::ENOMEM) => Self::OutOfMemory { action },
            _ => Self::Libav { action, code, text: text(code) },
        }
    }

    /// `Err` when `code` is negative, which is how libav reports errors.
    pub(crate) fn check(action: &'static str, code: c_int) -> Result<c_int, Self> {
        if code < 0 { Err(Self::new(action, code)) } else { Ok(code) }
    }
}

/// libav's words for an error code.
pub(crate) fn text(code: c_int) -> String {
    let mut buffer: [c_char; 128] = [0; 128];
    // SAFETY: av_strerror writes at most the given size, zero-terminated, into the buffer, also for unknown codes.
    unsafe { ffi::av_strerror(code, buffer.as_mut_ptr(), buffer.len()) };
    // SAFETY: the buffer was zeroed and av_strerror terminates what it writes, so there is a zero byte in it.
    unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned()
}
