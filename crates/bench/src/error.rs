//! Why a measurement came to nothing.

use std::path::PathBuf;

use headwater_flv::{FileError, TagError};
use headwater_media::CodecError;
use headwater_segmenter::Refusal;

/// Why a measurement came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no FLV file.
    #[error(
        "{path}: {error}; make one of it with: ffmpeg -i {path} -an -c:v libx264 -preset veryfast -bf 0 \
         -force_key_frames 'expr:gte(t,n_forced*2)' -b:v 12M clip.flv"
    )]
    NotFlv {
        /// Which.
        path: PathBuf,
        /// Why.
        error: FileError,
    },
    /// Its pictures cannot be read.
    #[error("{path}: {error}")]
    Picture {
        /// Which.
        path: PathBuf,
        /// Why.
        error: TagError,
    },
    /// Its H.264 cannot be read.
    #[error("{path}: {error}")]
    Codec {
        /// Which.
        path: PathBuf,
        /// Why.
        error: CodecError,
    },
    /// There is nothing to measure with.
    #[error("{path}: no H.264 pictures in it")]
    NoPictures {
        /// Which.
        path: PathBuf,
    },
    /// The timeline never began: it looks at the first half second or so before it does.
    #[error("the clip is too short or does not begin with a keyframe; take one of ten seconds or more")]
    NeverBegan,
    /// The timeline refuses the pictures.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ladder has no gear for such a source.
    #[error("the ladder {ladder} has no gear for a source of {width}x{height} at {kbps} kbit/s")]
    NoGears {
        /// Its name.
        ladder: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Rate.
        kbps: u32,
    },
    /// The transcoder stands still, or a gear's encoder broke.
    #[error("no part of {rendition} came for {seconds} s: its gear does not work")]
    Stuck {
        /// Which gear.
        rendition: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The tool is not there.
    #[error(
        "the FFmpeg command-line tool is needed to compare with, and {program} does not start ({error}); install it \
         (Debian: apt-get install ffmpeg)"
    )]
    NoFfmpeg {
        /// What was started.
        program: &'static str,
        /// Why it did not.
        error: std::io::Error,
    },
    /// A child process failed.
    #[error("{program} failed: {text}")]
    Child {
        /// Which program.
        program: String,
        /// The end of what it said.
        text: String,
    },
    /// A child process said something else than was expected.
    #[error("{program} did not print {what}")]
    Output {
        /// Which program.
        program: String,
        /// What was looked for.
        what: &'static str,
    },
    /// The operating system does not account for CPU time as Linux does.
    #[error("{path} does not say what was looked for; measuring works on Linux, and for processes of one's own user")]
    NoAccount {
        /// The file.
        path: String,
    },
    /// nginx with its module for RTMP is to be measured, too.
    #[error("{module} is not there; install it (Debian: apt-get install nginx libnginx-mod-rtmp)")]
    NoNginx {
        /// The file.
        module: &'static str,
    },
    /// Loopback has no port for a server.
    #[error("no free port on loopback: {error}")]
    NoPort {
        /// Why.
        error: std::io::Error,
    },
    /// A server cannot be published to like this.
    #[error("{url}: {error}")]
    Url {
        /// The URL.
        url: String,
        /// Why not.
        error: headwater_rtmp::UrlError,
    },
    /// The publishers' thread or a publisher's task panicked.
    #[error("a publisher panicked")]
    Publishers,
}
