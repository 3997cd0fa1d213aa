//! What was recorded, for the person who looks for a fault: who sent what, and for how long.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use anyhow::{Context, Result};
use headwater_amf0::Limits;
use headwater_flv::{AudioCodec, FourCc, ScriptData, Tag, TagType, VideoCodec};
use headwater_media::{AacConfig, AvcConfig};
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
            TagType::Audio => self.audio.add(tag, audio_codec(&tag.body)),
            TagType::Video => self.video.add(tag, video_codec(&tag.body)),
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
    fn add(&mut self, tag: &Tag, codec: Option<String>) {
        self.tags += 1;
        self.bytes += tag.body.len() as u64;
        if let Some(codec) = codec
            && self.codecs.len() < NAMES_MAX
            && !self.codecs.contains(&codec)
        {
            self.codecs.push(codec);
        }
        if !is_media(tag) {
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

/// Whether there is a picture or sound in it, rather than a configuration or the end.
fn is_media(tag: &Tag) -> bool {
    match (tag.kind, &tag.body[..]) {
        (TagType::Video, [first, ..]) if first & EXTENDED_VIDEO != 0 => !matches!(first & 0x0F, 0 | 2),
        (TagType::Audio, [first, ..]) if first >> 4 == EXTENDED_AUDIO => !matches!(first & 0x0F, 0 | 2),
        (TagType::Video, [first, packet, ..]) if first & 0x0F == AVC => *packet == 1,
        (TagType::Audio, [first, packet, ..]) if first >> 4 == AAC => *packet == 1,
        (_, body) => !body.is_empty(),
    }
}

/// What a video tag is coded in, with more from a configuration of H.264. `None`: it does not say.
fn video_codec(body: &[u8]) -> Option<String> {
    match body {
        [first, ..] if first & EXTENDED_VIDEO != 0 => {
            Some(VideoCodec::Extended(fourcc(&[MOD_EX, VIDEO_MULTITRACK], body)?).to_string())
        }
        [first, 0, _, _, _, record @ ..] if first & 0x0F == AVC => match AvcConfig::parse(record) {
            Ok(config) => {
                let (width, height) = config.parsed.display_size();
                Some(format!("H.264 {width}x{height} {}", config.codec_string()))
            }
            Err(error) => Some(format!("H.264 ({error})")),
        },
        // A picture after its configuration says nothing new.
        [first, ..] if first & 0x0F == AVC => None,
        [first, ..] => Some(VideoCodec::Legacy(first & 0x0F).to_string()),
        [] => None,
    }
}

/// What an audio tag is coded in, with more from a configuration of AAC. `None`: it does not say.
fn audio_codec(body: &[u8]) -> Option<String> {
    match body {
        [first, ..] if first >> 4 == EXTENDED_AUDIO => {
            Some(AudioCodec::Extended(fourcc(&[MOD_EX, AUDIO_MULTITRACK], body)?).to_string())
        }
        [first, 0, record @ ..] if first >> 4 == AAC => match AacConfig::parse(record.to_vec().into()) {
            Ok(config) => {
                Some(format!("AAC {} Hz {} channels {}", config.sample_rate, config.channels, config.codec_string()))
            }
            Err(error) => Some(format!("AAC ({error})")),
        },
        [first, ..] if first >> 4 == AAC => None,
        [first, ..] => Some(AudioCodec::Legacy(first >> 4).to_string()),
        [] => None,
    }
}

/// Codecs of the old headers, and the marks of the extended ones.
const AVC: u8 = 7;
const AAC: u8 = 10;
const EXTENDED_VIDEO: u8 = 0x80;
const EXTENDED_AUDIO: u8 = 9;
/// Packet types of extended headers that do not have the codec's name next.
const MOD_EX: u8 = 7;
const VIDEO_MULTITRACK: u8 = 6;
const AUDIO_MULTITRACK: u8 = 5;

/// The codec's name in an extended header; `None`: it stands further behind, and other tags will have it in front.
fn fourcc(others: &[u8], body: &[u8]) -> Option<Option<FourCc>> {
    (!others.contains(&(body[0] & 0x0F))).then(|| body.get(1..5).and_then(|name| name.try_into().ok()).map(FourCc))
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
            track.add(&tag, None);
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
        assert_eq!(video_codec(b"\x90hvc1\x01").as_deref(), Some("HEVC (hvc1) in Enhanced RTMP"));
        assert_eq!(video_codec(b"\x97\x02\0\0\0\x01av01"), None);
        assert_eq!(video_codec(b"\x12\0").as_deref(), Some("Sorenson H.263"));
        assert!(video_codec(b"\x17\0\0\0\0\x01").unwrap().starts_with("H.264 ("));
        assert_eq!(video_codec(b"\x27\x01\0\0\0"), None);
        assert_eq!(audio_codec(b"\xAF\0\x11\x90").as_deref(), Some("AAC 48000 Hz 2 channels mp4a.40.2"));
        assert_eq!(audio_codec(b"\xAF\x01\x21"), None);
        assert_eq!(audio_codec(b"\x2F\xFF").as_deref(), Some("MP3"));
        assert_eq!((video_codec(b""), audio_codec(b"")), (None, None));
    }

    #[test]
    fn what_a_publisher_says_cannot_control_a_terminal() {
        assert_eq!(plain("\x1B[31mred\nline"), " [31mred line");
        assert_eq!(plain(&"x".repeat(1000)).len(), TEXT_CHARS_MAX);
    }
}
