//! Clips of sound, and what becomes of them.

use std::iter::Peekable;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use headwater_av::{AudioDecoder, Pcm, Resampler};
use headwater_cmaf::check::{Place, TrackCheck};
use headwater_cmaf::read::{InitSegment, chunks};
use headwater_flv::{AudioCodec, AudioContent, AudioTag, FileReader, TagType};
use headwater_media::{
    AacConfig, AudioConfig, AudioFrame, CodecConfig, MediaSequence, Mp3Config, OpusConfig, Part, PartIndex,
    PartPayload, RenditionName, Timescale, Timestamp,
};
use headwater_router::{AudioGear, FeedItem};

use super::Stage;

/// A publisher's sound.
#[derive(Clone, Debug)]
pub(crate) struct Sound {
    pub(crate) config: Arc<AudioConfig>,
    pub(crate) frames: Vec<AudioFrame>,
    /// Time of the first picture in the file, milliseconds.
    pub(crate) begins: u32,
}

/// A click every half second, the first at 0.25 s, and silence between them: FFmpeg encodes it with `options`.
pub(crate) fn clicks(name: &str, seconds: u32, options: &[&str]) -> Sound {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sound-{name}.flv"));
    encode_clicks(&path, seconds, &[&["-c:v", "flv"], options].concat());
    let mut reader = FileReader::new();
    reader.handle_input(&std::fs::read(&path).unwrap());
    let (mut config, mut frames, mut begins) = (None, Vec::new(), None);
    while let Some(tag) = reader.poll_tag().unwrap() {
        if tag.kind == TagType::Video {
            begins.get_or_insert(tag.timestamp);
        }
        if tag.kind != TagType::Audio {
            continue;
        }
        for packet in AudioTag::read(tag.body.clone()).unwrap().packets {
            match packet.content {
                AudioContent::Config(record) => config = Some(AudioConfig::Aac(AacConfig::parse(record).unwrap())),
                AudioContent::Frame(data) => {
                    if packet.codec == AudioCodec::Mp3 {
                        config.get_or_insert(AudioConfig::Mp3(Mp3Config::parse(&data).unwrap()));
                    }
                    frames.push(AudioFrame { data, pts_millis: tag.timestamp });
                }
                _ => {}
            }
        }
    }
    Sound { config: Arc::new(config.unwrap()), frames, begins: begins.unwrap() }
}

/// The same in a codec that FFmpeg 5.1 does not put into FLV: in MP4, which our own reader reads.
pub(crate) fn clicks_in_mp4(name: &str, seconds: u32, options: &[&str]) -> Sound {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sound-{name}.mp4"));
    // Without edit lists, so that decode times alone say when sound is heard.
    let flags = ["-use_editlist", "0", "-movflags", "frag_keyframe+delay_moov+default_base_moof"];
    let pictures = ["-c:v", "mpeg4", "-video_track_timescale", "48000", "-strict", "-2"];
    encode_clicks(&path, seconds, &[&pictures, options, &flags].concat());
    let file = std::fs::read(&path).unwrap();
    let tracks = InitSegment::parse(&file).unwrap().tracks;
    let sound = tracks.iter().find(|track| track.handler.0 == *b"soun").unwrap();
    let Some(CodecConfig::Audio(config)) = &sound.config else { panic!("{name}: {sound:?}") };
    let (mut frames, mut begins) = (Vec::new(), None);
    for run in chunks(&file, &tracks).unwrap().iter().flat_map(|chunk| &chunk.runs) {
        let mut at = i64::try_from(run.base_decode_time).unwrap();
        let timescale = tracks.iter().find(|track| track.id == run.track_id).unwrap().timescale;
        for sample in &run.samples {
            let pts_millis = Timestamp::new(at, timescale).rescale_nearest(Timescale::new(1000).unwrap()).ticks;
            let pts_millis = u32::try_from(pts_millis).unwrap();
            at += i64::from(sample.duration);
            if run.track_id == sound.id {
                frames.push(AudioFrame { data: Bytes::copy_from_slice(sample.data(&file).unwrap()), pts_millis });
            } else {
                begins.get_or_insert(pts_millis);
            }
        }
    }
    let config = match &**config {
        // The file does not say how long packets are.
        AudioConfig::Opus(opus) => {
            let frame_samples = OpusConfig::packet_samples(&frames[0].data).unwrap();
            Arc::new(AudioConfig::Opus(OpusConfig { frame_samples, ..opus.clone() }))
        }
        _ => config.clone(),
    };
    Sound { config, frames, begins: begins.unwrap() }
}

/// FFmpeg writes a file of clicks and dark pictures.
fn encode_clicks(path: &Path, seconds: u32, options: &[&str]) {
    let click = "0.7*sin(2*PI*1000*t)*lt(mod(t+0.25\\,0.5)\\,0.01)";
    let mut command = Command::new("ffmpeg");
    command.args(["-y", "-v", "error", "-f", "lavfi", "-i", &format!("aevalsrc={click}:s=96000:d={seconds}")]);
    command.args(["-f", "lavfi", "-i", &format!("color=size=16x16:rate=10:d={seconds}")]);
    let output = command.args(options).arg(path).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Sound {
    /// Its frames on a clock that shows `millis` at its first picture.
    pub(crate) fn at(&self, millis: u32) -> Peekable<impl Iterator<Item = AudioFrame> + '_> {
        let moved = move |pts: u32| pts.wrapping_sub(self.begins).wrapping_add(millis);
        self.frames
            .iter()
            .map(move |frame| AudioFrame { pts_millis: moved(frame.pts_millis), ..frame.clone() })
            .peekable()
    }
}

/// One audio gear's window.
pub(crate) struct Made {
    pub(crate) gear: AudioGear,
    pub(crate) parts: Vec<Arc<Part>>,
    /// Coded frames, by the sample that each begins with.
    pub(crate) frames: Vec<(i64, Bytes)>,
}

/// What an audio gear has made, with the rules that always hold checked.
pub(crate) fn made(stage: &Stage, name: &RenditionName) -> Made {
    let gear = stage.audio.iter().find(|gear| gear.name == *name).unwrap().clone();
    let mut reader = stage.log().read_parts(name).unwrap();
    let mut parts = Vec::new();
    while let Ok(Some(item)) = reader.try_next() {
        if let FeedItem::Part(part) = item {
            parts.push(part);
        }
    }
    let mut made = Made { gear, parts, frames: Vec::new() };
    made.check(stage);
    made
}

impl Made {
    /// Each part has the frames of the session's grid that start in its time, and nothing is missing.
    fn check(&mut self, stage: &Stage) {
        let grid = stage.log().session().grid;
        let timescale = Timescale::new(self.gear.sample_rate).unwrap();
        let first_frame = |slot: i64| {
            let at = grid.slot_start(slot);
            let frame = at.rescale(timescale).ticks.div_euclid(1024);
            if Timestamp::new(frame * 1024, timescale) < at { frame + 1 } else { frame }
        };
        let init = self.init();
        let mut check = TrackCheck::new(&init.data).unwrap();
        let tracks = InitSegment::parse(&init.data).unwrap().tracks;
        let mut expected: Vec<(MediaSequence, u32, i64, i64)> = Vec::new();
        for end in &stage.ends {
            let (start, end_frame) = (first_frame(end.start.0), first_frame(end.end.0));
            let index = expected.iter().filter(|part| part.0 == end.msn).count();
            if end_frame > start {
                expected.push((end.msn, u32::try_from(index).unwrap(), start * 1024, end_frame * 1024));
            }
        }
        let found = self.parts.iter().map(|part| (part.msn, part.index.0, part.start.ticks, part.end.ticks));
        assert_eq!(found.collect::<Vec<_>>(), expected);
        for part in &self.parts {
            let PartPayload::Media { data, independent, init: own, .. } = &part.payload else { panic!("{part:?}") };
            assert!(*independent);
            let data = &data.to_bytes();
            assert_eq!(own, &init);
            check.chunk(if part.index == PartIndex(0) { Place::First } else { Place::Inside }, data);
            let mut start = part.start.ticks;
            for chunk in chunks(data, &tracks).unwrap() {
                for sample in chunk.runs.iter().flat_map(|run| &run.samples) {
                    self.frames.push((start, Bytes::copy_from_slice(sample.data(data).unwrap())));
                    start += i64::from(sample.duration);
                }
            }
            assert_eq!(start, part.end.ticks);
        }
        assert_eq!(check.findings(), []);
    }

    pub(crate) fn init(&self) -> Arc<headwater_media::Init> {
        let PartPayload::Media { init, .. } = &self.parts[0].payload else { panic!("a gap") };
        init.clone()
    }

    /// Decoded samples of the first channel, from the session's beginning.
    pub(crate) fn decode(&self) -> Vec<f32> {
        let config = AacConfig::lc(self.gear.sample_rate, self.gear.channels).unwrap();
        let mut decoder = AudioDecoder::new(&AudioConfig::Aac(config)).unwrap();
        let mut resampler: Option<Resampler> = None;
        let mut sound = Pcm::new(1);
        sound.push_silence(usize::try_from(self.frames[0].0).unwrap());
        for (_, data) in &self.frames {
            let decoded = decoder.decode(data).unwrap().unwrap();
            assert_eq!(decoded.channels(), usize::from(self.gear.channels));
            let resampler =
                resampler.get_or_insert_with(|| Resampler::new(&decoded, self.gear.sample_rate, 1).unwrap());
            resampler.push(&decoded, &mut sound).unwrap();
        }
        sound.channels()[0].clone()
    }

    /// Times of clicks in seconds.
    pub(crate) fn clicks(&self) -> Vec<f64> {
        let samples = self.decode();
        let loud = samples.iter().copied().map(f32::abs).fold(0.0, f32::max) / 3.0;
        let rate = f64::from(self.gear.sample_rate);
        let mut found: Vec<f64> = Vec::new();
        let mut last = f64::MIN;
        for (index, _) in samples.iter().enumerate().filter(|(_, sample)| sample.abs() >= loud) {
            let time = f64::from(u32::try_from(index).unwrap()) / rate;
            if time - last > 0.1 {
                found.push(time);
            }
            last = time;
        }
        found
    }

    /// Decodes all of it with FFmpeg, which must not complain.
    pub(crate) fn decode_with_ffmpeg(&self, name: &str) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sound-{name}-{}.mp4", self.gear.name));
        let mut file = self.init().data.to_vec();
        for part in &self.parts {
            let PartPayload::Media { data, .. } = &part.payload else { continue };
            file.extend_from_slice(&data.to_bytes());
        }
        std::fs::write(&path, file).unwrap();
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-xerror", "-err_detect", "explode", "-i"]).arg(&path);
        let output = command.args(["-f", "null", "-"]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
