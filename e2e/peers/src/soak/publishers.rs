//! The encoders that publish: small pictures and a tone, a keyframe every two seconds, or what a recording has.

use std::process::Command;

use crate::program::Program;
use crate::server::headwater;
use crate::testdata;

/// What publishes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// FFmpeg's command line.
    Ffmpeg,
    /// GStreamer's own RTMP.
    Rtmp2Sink,
    /// GStreamer with librtmp.
    RtmpSink,
    /// A recording, again and again; another one each time.
    Headwater,
}

/// Every codec, sound or pictures alone, keyframes that are none: a session goes from any of them to any other program's.
const RECORDINGS: [&str; 13] = [
    "hevc.flv",
    "bbb.flv",
    "enhanced-opus.flv",
    "av1.flv",
    "enhanced-ac3.flv",
    "he-aac-v2-implicit.flv",
    "vp9.flv",
    "enhanced-flac.flv",
    "hevc-open-gop.flv",
    "enhanced-eac3.flv",
    "multitrack.flv",
    "enhanced-mp3.flv",
    "sintel-captions.flv",
];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ffmpeg, Self::Rtmp2Sink, Self::RtmpSink, Self::Headwater];

    /// For the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ffmpeg => "FFmpeg",
            Self::Rtmp2Sink => "GStreamer rtmp2sink",
            Self::RtmpSink => "GStreamer rtmpsink",
            Self::Headwater => "headwater publish",
        }
    }

    /// Starts one that publishes to `url` until it is stopped. `round` picks what it sends, where there is a choice.
    pub(super) fn start(self, url: &str, round: usize) -> Program {
        match self {
            Self::Ffmpeg => {
                let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"];
                let tone = ["-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"];
                let video = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50"];
                Program::ffmpeg([&picture[..], &tone, &video, &["-c:a", "aac", "-f", "flv", url]].concat())
            }
            Self::Rtmp2Sink => gstreamer("rtmp2sink", url),
            Self::RtmpSink => gstreamer("rtmpsink", url),
            Self::Headwater => {
                let file = testdata(RECORDINGS[round % RECORDINGS.len()]);
                Program::start(headwater().args(["publish", file.to_str().unwrap(), url, "--loop"]))
            }
        }
    }
}

fn gstreamer(sink: &str, url: &str) -> Program {
    let pipeline = format!(
        "flvmux name=mux streamable=true ! {sink} location={url} \
         videotestsrc is-live=true ! video/x-raw,width=160,height=90,framerate=25/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 ! h264parse ! queue ! mux. \
         audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! queue ! mux."
    );
    Program::start(Command::new("gst-launch-1.0").arg("-q").args(pipeline.split_whitespace()))
}
