//! What was recorded, for the person who looks for a fault: who sent what, and for how long.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use anyhow::{Context, Result};
use bytes::Bytes;
use headwater_amf0::Limits;
use headwater_flv::{AudioCodec, AudioContent, AudioTag, ScriptData, Tag, TagType, VideoCodec, VideoContent, VideoTag};
use headwater_media::{AacConfig, Ac3Config, AudioConfig, FlacConfig, Mp3Config, OpusConfig, VideoCoding, VideoInput};
use headwater_rtmp::ConnectRequest;

/// What came of a recording. There is no key in it.
#[derive(Debug)]
pub(crate) struct Report {
    encoder: String,
    /// Names of the properties of `connect`.
    connect: String,
    audio: Track,
    video: Track,
    /// Data tags by their names.
    data: BTreeMap<String, u64>,
    reason: String,
}

/// One kind of tags.
#[derive(Debug, Default)]
struct Track {
    tags: u64,
    bytes: u64,
    /// Names of what they are coded in, in the order of their first tags.
    codecs: Vec<String>,
    /// Unwrapped milliseconds of what is no configuration, which stands at 0 wherever the media is: first, lowest,
    /// highest, last.
    times: Option<[i64; 4]>,
    /// Timestamps that were below the one before.
    back: u64,
}

/// Characters that are shown of what a publisher says.
const TEXT_CHARS_MAX: usize = 128;
/// Codecs, and names of data, that are listed.
const NAMES_MAX: usize = 8;
/// A packet of 20 ms.
const OPUS_SILENCE: &[u8] = &[0xF8, 0xFF, 0xFE];

impl Report {
    /// Of a publisher that was just accepted.
    pub(super) fn new(connect: &ConnectRequest) -> Self {
        let names: Vec<String> = connect.properties().0.iter().map(|(name, _)| plain(name)).collect();
        Self {
            encoder: connect.flash_version().map_or_else(|| "says nothing".to_owned(), plain),
            connect: names.join(", "),
            audio: Track::default(),
            video: Track::default(),
            data: BTreeMap::new(),
            reason: String::new(),
        }
    }

    /// `flashVer` as the publisher sent it.
    pub(super) fn encoder(&self) -> &str {
        &self.encoder
    }

    pub(super) fn has_audio(&self) -> bool {
        self.audio.tags > 0
    }

    pub(super) fn has_video(&self) -> bool {
        self.video.tags > 0
    }

    /// Counts a tag.
    pub(super) fn add(&mut self, tag: &Tag) {
        match tag.kind {
            TagType::Audio => self.audio.add(tag, audio(&tag.body)),
            TagType::Video => self.video.add(tag, video(&tag.body)),
            _ => {
                let name = match ScriptData::read(&tag.body, Limits::default()) {
                    ScriptData::Metadata(_) => "onMetaData".to_owned(),
                    ScriptData::Clear => "@clearDataFrame".to_owned(),
                    ScriptData::Other { name: Some(name) } => plain(&name),
                    _ => "without a name".to_owned(),
                };
                if self.data.len() < NAMES_MAX || self.data.contains_key(&name) {
                    *self.data.entry(name).or_default() += 1;
                }
            }
        }
    }

    /// It is over.
    pub(super) fn ended(mut self, reason: String) -> Self {
        self.reason = reason;
        self
    }

    /// Prints it.
    pub(crate) fn print(&self, mut out: impl Write) -> Result<()> {
        write!(out, "{self}").context("writing to standard output")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "encoder   {}", self.encoder)?;
        writeln!(f, "connect   {}", self.connect)?;
        writeln!(f, "video     {}", self.video)?;
        writeln!(f, "audio     {}", self.audio)?;
        let data: Vec<String> = self.data.iter().map(|(name, count)| format!("{count} x {name}")).collect();
        writeln!(f, "data      {}", if data.is_empty() { "none".to_owned() } else { data.join(", ") })?;
        writeln!(f, "ended     {}", self.reason)
    }
}

impl Track {
    fn add(&mut self, tag: &Tag, content: Content) {
        self.tags += 1;
        self.bytes += tag.body.len() as u64;
        for codec in content.codecs {
            self.name(codec);
        }
        if !content.is_media {
            return;
        }
        let [first, lowest, highest, last] = self.times.unwrap_or([i64::from(tag.timestamp); 4]);
        // The nearest time that is written like this, before or after the last.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "RTMP's timestamps wrap")]
        let step = i64::from(tag.timestamp.wrapping_sub(last as u32).cast_signed());
        let time = last + step;
        self.back += u64::from(step < 0);
        self.times = Some([first, lowest.min(time), highest.max(time), time]);
    }

    /// Remembers a name, unless it says less than one that is known, or the same.
    fn name(&mut self, codec: String) {
        let says_more = |more: &str, less: &str| more.strip_prefix(less).is_some_and(|rest| rest.starts_with(' '));
        if self.codecs.iter().any(|known| *known == codec || says_more(known, &codec)) {
            return;
        }
        if let Some(known) = self.codecs.iter_mut().find(|known| says_more(&codec, known)) {
            *known = codec;
        } else if self.codecs.len() < NAMES_MAX {
            self.codecs.push(codec);
        }
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tags == 0 {
            return f.write_str("none");
        }
        let codecs = if self.codecs.is_empty() { "unnamed".to_owned() } else { self.codecs.join(", then ") };
        let Some([first, lowest, highest, _]) = self.times else {
            return write!(f, "{codecs}; {} tags, all of them configuration", self.tags);
        };
        let millis = highest - lowest;
        write!(f, "{codecs}; {} tags from {first} ms on, {}.{:03} s", self.tags, millis / 1000, millis % 1000)?;
        if let Some(kbps) = self.bytes.saturating_mul(8).checked_div(millis.unsigned_abs()) {
            write!(f, ", {kbps} kbit/s")?;
        }
        if self.back > 0 {
            write!(f, ", timestamps below the one before: {}", self.back)?;
        }
        Ok(())
    }
}

/// What a tag has in it.
struct Content {
    /// A picture or sound, rather than a configuration or the end.
    is_media: bool,
    /// Names of what it is coded in.
    codecs: Vec<String>,
}

impl Content {
    fn unreadable(error: impl fmt::Display) -> Self {
        Self { is_media: false, codecs: vec![format!("unreadable ({error})")] }
    }
}

fn video(body: &Bytes) -> Content {
    let tag = match VideoTag::read(body.clone()) {
        Ok(tag) => tag,
        Err(error) => return Content::unreadable(error),
    };
    Content {
        is_media: tag.packets.iter().any(|packet| matches!(packet.content, VideoContent::Frame { .. })),
        codecs: tag.packets.iter().map(|packet| picture(packet.codec, &packet.content)).collect(),
    }
}

/// The codec, with what a configuration or a picture says of itself.
fn picture(codec: VideoCodec, content: &VideoContent) -> String {
    let coding = match codec {
        VideoCodec::Avc => VideoCoding::Avc,
        VideoCodec::Hevc => VideoCoding::Hevc,
        VideoCodec::Av1 => VideoCoding::Av1,
        VideoCodec::Vp9 => VideoCoding::Vp9,
        VideoCodec::Vp8 | VideoCodec::Vvc | VideoCodec::Legacy(_) | VideoCodec::Other(_) => return codec.to_string(),
    };
    let mut input = VideoInput::new(coding);
    let read = match content {
        VideoContent::Config(record) => input.set_record(record.clone()),
        VideoContent::Frame { data, .. } => input.access_unit(data).map(|_| ()),
        _ => Ok(()),
    };
    match (read, input.config()) {
        (_, Some(config)) => {
            let (width, height) = config.display_size();
            format!("{codec} {width}x{height} {}", config.codec_string())
        }
        (Err(error), None) if matches!(content, VideoContent::Config(_)) => format!("{codec} ({error})"),
        _ => codec.to_string(),
    }
}

fn audio(body: &Bytes) -> Content {
    let tag = match AudioTag::read(body.clone()) {
        Ok(tag) => tag,
        Err(error) => return Content::unreadable(error),
    };
    Content {
        is_media: tag.packets.iter().any(|packet| matches!(packet.content, AudioContent::Frame(_))),
        codecs: tag.packets.iter().map(|packet| sound(packet.codec, &packet.content)).collect(),
    }
}

/// The codec, with what a configuration or a frame says of itself.
fn sound(codec: AudioCodec, content: &AudioContent) -> String {
    let config = match (codec, content) {
        (AudioCodec::Aac, AudioContent::Config(record)) => AacConfig::parse(record.clone()).map(AudioConfig::Aac),
        // How long packets are is nothing to report.
        (AudioCodec::Opus, AudioContent::Config(head)) if !head.is_empty() => {
            OpusConfig::parse(head, OPUS_SILENCE).map(AudioConfig::Opus)
        }
        (AudioCodec::Flac, AudioContent::Config(header)) => FlacConfig::parse(header).map(AudioConfig::Flac),
        (AudioCodec::Mp3, AudioContent::Frame(frame)) => Mp3Config::parse(frame).map(AudioConfig::Mp3),
        (AudioCodec::Ac3 | AudioCodec::Eac3, AudioContent::Frame(unit)) => Ac3Config::parse(unit).map(AudioConfig::Ac3),
        _ => return codec.to_string(),
    };
    match config {
        Ok(config) => {
            let object_type = match &config {
                AudioConfig::Aac(aac) => format!(" {}", aac.codec_string()),
                _ => String::new(),
            };
            format!("{codec} {} Hz {} channels{object_type}", config.sample_rate(), config.channels())
        }
        Err(error) => format!("{codec} ({error})"),
    }
}

/// What a publisher says goes to a terminal: one line, nothing that controls it.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(timestamps: &[u32]) -> String {
        let mut track = Track::default();
        for timestamp in timestamps {
            let tag =
                Tag { kind: TagType::Video, timestamp: *timestamp, body: [&[0x27, 1][..], &[0; 998]].concat().into() };
            track.add(&tag, Content { is_media: true, codecs: Vec::new() });
        }
        track.to_string()
    }

    #[test]
    fn a_track_has_a_length_across_the_wrap_and_counts_steps_back() {
        let wrapped = track(&[u32::MAX - 499, 500]);
        assert_eq!(wrapped, "unnamed; 2 tags from 4294966796 ms on, 1.000 s, 16 kbit/s");
        let back = track(&[40, 0, 1000]);
        assert_eq!(back, "unnamed; 3 tags from 40 ms on, 1.000 s, 24 kbit/s, timestamps below the one before: 1");
        assert_eq!(Track::default().to_string(), "none");
    }

    #[test]
    fn codecs_are_named_with_what_their_configuration_says() {
        let video = |body: &'static [u8]| video(&Bytes::from_static(body)).codecs.join(", ");
        let audio = |body: &'static [u8]| audio(&Bytes::from_static(body)).codecs.join(", ");
        assert!(video(b"\x90hvc1\x01").starts_with("HEVC ("));
        assert_eq!(video(b"\x91hvc1\0\0\0\x01"), "HEVC");
        assert_eq!(video(b"\x97\x02\0\0\0\x01av01\x12"), "AV1");
        assert_eq!(video(b"\x12\0"), "Sorenson H.263");
        assert!(video(b"\x17\0\0\0\0\x01").starts_with("H.264 ("));
        assert!(video(b"\x97\x02\0").starts_with("unreadable ("));
        assert_eq!(video(b"\x27\x01\0\0\0\x09"), "H.264");
        assert_eq!(audio(b"\xAF\0\x11\x90"), "AAC 48000 Hz 2 channels mp4a.40.2");
        assert_eq!(audio(b"\xAF\x01\x21"), "AAC");
        assert!(audio(b"\x2F\xFF").starts_with("MP3 ("));
        assert_eq!(audio(b"\x2F\xFF\xFB\x90\x64"), "MP3 44100 Hz 2 channels");
        let opus = b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0";
        assert_eq!((audio(opus), audio(b"\x91Opus\xF8")), ("Opus 48000 Hz 2 channels".into(), "Opus".into()));
        assert_eq!((video(b""), audio(b"")), (String::new(), String::new()));
    }

    /// Pictures of VP9 say what their record leaves out, and the next ones say nothing.
    #[test]
    fn what_says_more_of_a_codec_takes_the_place_of_its_name() {
        let mut track = Track::default();
        for name in ["VP9", "VP9 64x64 vp09.00.10.08", "VP9", "VP90", "VP9 64x64 vp09.00.10.08", "VP9 32x32 vp09"] {
            track.name(name.to_owned());
        }
        assert_eq!(track.codecs, ["VP9 64x64 vp09.00.10.08", "VP90", "VP9 32x32 vp09"]);
    }

    #[test]
    fn what_a_publisher_says_cannot_control_a_terminal() {
        assert_eq!(plain("\x1B[31mred\nline"), " [31mred line");
        assert_eq!(plain(&"x".repeat(1000)).len(), TEXT_CHARS_MAX);
    }
}
