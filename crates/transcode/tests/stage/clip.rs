//! Sources: what FFmpeg encodes, as a publisher would send it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use headwater_flv::{FileReader, TagType, VideoContent, VideoTag};
use headwater_media::{AccessUnit, AvcConfig, VideoConfig};

/// A publisher's video.
#[derive(Clone, Debug)]
pub(crate) struct Clip {
    pub(crate) config: Arc<VideoConfig>,
    pub(crate) units: Vec<AccessUnit>,
    /// Frames per second, as the metadata says.
    pub(crate) rate: f64,
}

/// How a clip is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) size: (u32, u32),
    pub(crate) frames: u32,
    /// Frames from keyframe to keyframe.
    pub(crate) gop: u32,
    pub(crate) b_frames: u32,
    /// `yuv444p` takes odd sizes too.
    pub(crate) pixel_format: &'static str,
    /// Frames per second.
    pub(crate) rate: (u32, u32),
    /// What is done to the test picture, and with the encoder.
    pub(crate) filter: &'static str,
    pub(crate) arguments: &'static [&'static str],
}

impl Recipe {
    pub(crate) const fn new(width: u32, height: u32, frames: u32) -> Self {
        Self {
            size: (width, height),
            frames,
            gop: 60,
            b_frames: 0,
            pixel_format: "yuv420p",
            rate: (30, 1),
            filter: "null",
            arguments: &[],
        }
    }

    /// FFmpeg's test picture.
    pub(crate) fn make(&self, name: &str) -> Clip {
        // Tests that want the same clip may run at the same time, in one process or several.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let file = format!("transcode-{name}-{}-{number}.flv", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        let (width, height) = self.size;
        let (frames, seconds) = self.rate;
        let mut command = Command::new("ffmpeg");
        command.args(["-y", "-v", "error", "-f", "lavfi", "-i"]);
        // The test picture itself has even sides.
        command.arg(format!(
            "testsrc2=size={}x{}:rate={frames}/{seconds},format={},crop={width}:{height}:exact=1,{}",
            width + width % 2,
            height + height % 2,
            self.pixel_format,
            self.filter
        ));
        command.args(["-frames:v", &self.frames.to_string(), "-pix_fmt", self.pixel_format]);
        command.args(["-c:v", "libx264", "-preset", "superfast", "-crf", "20", "-sc_threshold", "0"]);
        command.args(["-g", &self.gop.to_string(), "-bf", &self.b_frames.to_string()]);
        command.args(self.arguments);
        let output = command.arg(&path).output().expect("ffmpeg is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let clip = Clip::open(&path, f64::from(frames) / f64::from(seconds));
        std::fs::remove_file(&path).expect("the file was just written");
        assert_eq!(clip.units.len(), usize::try_from(self.frames).unwrap());
        clip
    }
}

impl Clip {
    /// Its configuration, which is H.264's.
    pub(crate) fn avc(&mut self) -> &mut AvcConfig {
        match Arc::make_mut(&mut self.config) {
            VideoConfig::Avc(avc) => avc,
            other => panic!("expected H.264, found {other:?}"),
        }
    }

    /// The video of an FLV file.
    pub(crate) fn open(path: &Path, rate: f64) -> Self {
        read(&std::fs::read(path).unwrap(), rate)
    }
}

fn read(flv: &[u8], rate: f64) -> Clip {
    let mut reader = FileReader::new();
    reader.handle_input(flv);
    let (mut config, mut units) = (None::<Arc<VideoConfig>>, Vec::new());
    while let Some(tag) = reader.poll_tag().unwrap() {
        if tag.kind != TagType::Video {
            continue;
        }
        for packet in VideoTag::read(tag.body.clone()).unwrap().packets {
            match packet.content {
                VideoContent::Config(record) => config = Some(Arc::new(AvcConfig::parse(&record).unwrap().into())),
                VideoContent::Frame { composition_millis, data } => {
                    let unit = config.as_ref().unwrap().access_unit(&data).unwrap();
                    units.push(AccessUnit {
                        data: unit.data,
                        idr: unit.idr,
                        recovery: unit.recovery,
                        dts_millis: tag.timestamp,
                        composition_millis,
                    });
                }
                _ => {}
            }
        }
    }
    Clip { config: config.unwrap(), units, rate }
}
