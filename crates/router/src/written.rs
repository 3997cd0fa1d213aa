//! Records and jobs as JSON: what a registry stores, in a file or in etcd, and a board that machines share.

mod job;

use std::sync::Arc;

use bytes::Bytes;
use headwater_media::{
    AacConfig, Ac3Config, AudioConfig, Cut, CutKind, Epoch, FlacConfig, FrameRate, MediaSequence, Mp3Config,
    OpusConfig, RenditionName, StreamName, Timestamp, WallTime,
};
use headwater_segmenter::{Grid, Profile};
use serde::{Deserialize, Serialize};

pub use job::{job_from_json, job_to_json};

use crate::{AudioGear, AudioGroup, Gear, NodeId, Outline, OutlinedRendition, Record, RecordState, RenditionKind};

/// Why stored text is not a record of this version.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is not JSON of the form that this version writes.
    #[error("{problem}")]
    Form {
        /// What the reader of JSON says.
        problem: String,
    },
    /// It is, and a value in it cannot be.
    #[error("{what} makes no sense")]
    Value {
        /// Which.
        what: &'static str,
    },
}

/// A stream's record. Which renditions were off at its cuts is left out.
pub fn to_json(stream: &StreamName, record: &Record) -> String {
    serde_json::to_string(&Written::new(stream, record)).expect("these types have text keys only")
}

/// The record that [`to_json`] made text of. An outline on another grid than this version's is left out: its session cannot
/// go on.
pub fn from_json(text: &[u8]) -> Result<(StreamName, Record), Unreadable> {
    let written: Written =
        serde_json::from_slice(text).map_err(|error| Unreadable::Form { problem: error.to_string() })?;
    written.record().map_err(|what| Unreadable::Value { what })
}

#[derive(Deserialize, Serialize)]
struct Written {
    stream: String,
    epoch: u64,
    session: String,
    home: String,
    state: WrittenState,
    reserved: u64,
    revision: u64,
    written_unix_millis: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outline: Option<WrittenOutline>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenState {
    Live,
    Stale,
    Idle,
    Ended,
}

#[derive(Deserialize, Serialize)]
struct WrittenOutline {
    profile: String,
    frame_rate: (u32, u32),
    part_slots: i64,
    segment_slots: i64,
    limit_slots: i64,
    target_duration: u32,
    window_segments: u32,
    since_unix_millis: i64,
    renditions: Vec<WrittenRendition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audio: Option<WrittenAudio>,
    cuts: Vec<WrittenCut>,
}

#[derive(Deserialize, Serialize)]
struct WrittenRendition {
    name: String,
    kind: WrittenKind,
    average_bps: u32,
    peak_bps: u32,
    channels: Option<u8>,
    standby: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenKind {
    Source,
    Audio,
    Gear {
        width: u32,
        height: u32,
        bitrate_kbps: u32,
        maxrate_kbps: u32,
        bufsize_kbit: u32,
        preset: Arc<str>,
        tune: Arc<str>,
        profile: Arc<str>,
        low_audio: bool,
        halve: bool,
    },
    AudioGear {
        sample_rate: u32,
        channels: u8,
        bitrate_kbps: u32,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenAudio {
    /// The AudioSpecificConfig, in hex.
    Aac(String),
    Mp3 {
        sample_rate: u32,
        channels: u8,
        frame_samples: u32,
    },
    /// The identification header, and how long packets are.
    Opus {
        head: String,
        frame_samples: u32,
    },
    /// STREAMINFO.
    Flac(String),
    Ac3 {
        enhanced: bool,
        sample_rate: u32,
        rate_code: u8,
        bitstream_id: u8,
        bitstream_mode: u8,
        audio_mode: u8,
        lfe: bool,
        bitrate_kbps: u16,
        frame_samples: u32,
        dependent: bool,
    },
}

/// Which renditions were off is not kept: without their parts it says nothing.
#[derive(Deserialize, Serialize)]
struct WrittenCut {
    msn: u64,
    /// In 1/120000 s.
    start: i64,
    discontinuity: u64,
    date_unix_millis: i64,
    gap: bool,
}

impl Written {
    fn new(stream: &StreamName, record: &Record) -> Self {
        Self {
            stream: stream.to_string(),
            epoch: record.epoch.0,
            session: record.session.to_string(),
            home: record.home.0.clone(),
            state: match record.state {
                RecordState::Live => WrittenState::Live,
                RecordState::Stale => WrittenState::Stale,
                RecordState::Idle => WrittenState::Idle,
                RecordState::Ended => WrittenState::Ended,
            },
            reserved: record.reserved.0,
            revision: record.revision,
            written_unix_millis: record.written.unix_millis,
            outline: record.outline.as_deref().map(WrittenOutline::new),
        }
    }

    /// The record, or what of it makes no sense. An outline on another grid than this program's is left out: its session
    /// cannot go on.
    fn record(self) -> Result<(StreamName, Record), &'static str> {
        let stream = self.stream.parse().map_err(|_| "the stream's name")?;
        let record = Record {
            epoch: Epoch(self.epoch),
            session: self.session.parse().map_err(|()| "the session's id")?,
            home: NodeId(self.home),
            state: match self.state {
                WrittenState::Live => RecordState::Live,
                WrittenState::Stale => RecordState::Stale,
                WrittenState::Idle => RecordState::Idle,
                WrittenState::Ended => RecordState::Ended,
            },
            reserved: MediaSequence(self.reserved),
            revision: self.revision,
            written: WallTime { unix_millis: self.written_unix_millis },
            outline: self.outline.map(WrittenOutline::outline).transpose()?.flatten().map(Arc::new),
        };
        Ok((stream, record))
    }
}

impl WrittenOutline {
    fn new(outline: &Outline) -> Self {
        let Grid { part_slots, segment_slots, limit_slots, target_duration, .. } = outline.grid;
        Self {
            profile: outline.grid.profile.name().to_owned(),
            frame_rate: outline.grid.frame_rate.fraction(),
            part_slots,
            segment_slots,
            limit_slots,
            target_duration,
            window_segments: outline.window_segments,
            since_unix_millis: outline.since.unix_millis,
            renditions: outline.renditions.iter().map(WrittenRendition::new).collect(),
            audio: outline.audio.as_deref().map(WrittenAudio::new),
            cuts: outline.cuts.iter().map(|cut| WrittenCut::new(cut)).collect(),
        }
    }

    fn outline(self) -> Result<Option<Outline>, &'static str> {
        let profile: Profile = self.profile.parse().map_err(|()| "the profile")?;
        let rate = FrameRate::ALL.into_iter().find(|rate| rate.fraction() == self.frame_rate);
        // Sound with long frames makes the longest segment shorter.
        let grid = Grid::new(profile, rate.ok_or("the frame rate")?).with_limit(self.limit_slots);
        let same = |grid: &Grid| {
            (self.part_slots, self.segment_slots, self.target_duration)
                == (grid.part_slots, grid.segment_slots, grid.target_duration)
        };
        let Some(grid) = grid.filter(same) else { return Ok(None) };
        let renditions: Result<Vec<_>, _> = self.renditions.into_iter().map(WrittenRendition::rendition).collect();
        let outline = Outline {
            grid,
            window_segments: self.window_segments,
            since: WallTime { unix_millis: self.since_unix_millis },
            renditions: renditions?,
            audio: self.audio.map(WrittenAudio::config).transpose()?.map(Arc::new),
            cuts: self.cuts.iter().map(|cut| Arc::new(cut.cut())).collect(),
        };
        if outline.cuts.is_empty() { Err("a session without a cut") } else { Ok(Some(outline)) }
    }
}

impl WrittenRendition {
    fn new(rendition: &OutlinedRendition) -> Self {
        Self {
            name: rendition.name.to_string(),
            kind: WrittenKind::new(&rendition.kind),
            average_bps: rendition.average_bps,
            peak_bps: rendition.peak_bps,
            channels: rendition.channels,
            standby: rendition.standby,
        }
    }

    fn rendition(self) -> Result<OutlinedRendition, &'static str> {
        let name = RenditionName::new(&self.name).ok_or("a rendition's name")?;
        let kind = self.kind.kind(&name);
        let Self { average_bps, peak_bps, channels, standby, .. } = self;
        Ok(OutlinedRendition { name, kind, average_bps, peak_bps, channels, standby })
    }
}

impl WrittenKind {
    fn new(kind: &RenditionKind) -> Self {
        match kind {
            RenditionKind::Source => Self::Source,
            RenditionKind::Audio => Self::Audio,
            RenditionKind::Gear(gear) => Self::Gear {
                width: gear.width,
                height: gear.height,
                bitrate_kbps: gear.bitrate_kbps,
                maxrate_kbps: gear.maxrate_kbps,
                bufsize_kbit: gear.bufsize_kbit,
                preset: gear.preset.clone(),
                tune: gear.tune.clone(),
                profile: gear.profile.clone(),
                low_audio: gear.audio == AudioGroup::Low,
                halve: gear.halve,
            },
            RenditionKind::AudioGear(gear) => Self::AudioGear {
                sample_rate: gear.sample_rate,
                channels: gear.channels,
                bitrate_kbps: gear.bitrate_kbps,
            },
        }
    }

    /// The kind of the rendition `name`.
    fn kind(self, name: &RenditionName) -> RenditionKind {
        match self {
            Self::Source => RenditionKind::Source,
            Self::Audio => RenditionKind::Audio,
            Self::Gear {
                width,
                height,
                bitrate_kbps,
                maxrate_kbps,
                bufsize_kbit,
                preset,
                tune,
                profile,
                low_audio,
                halve,
            } => RenditionKind::Gear(Gear {
                name: name.clone(),
                width,
                height,
                bitrate_kbps,
                maxrate_kbps,
                bufsize_kbit,
                preset,
                tune,
                profile,
                audio: if low_audio { AudioGroup::Low } else { AudioGroup::Main },
                halve,
            }),
            Self::AudioGear { sample_rate, channels, bitrate_kbps } => {
                RenditionKind::AudioGear(AudioGear { name: name.clone(), sample_rate, channels, bitrate_kbps })
            }
        }
    }
}

const WRONG: &str = "the configuration of the sound";
/// An Opus packet of 20 ms of silence: any packet will do where the length is known.
const SILENCE: &[u8] = &[0xFC, 0xFF, 0xFE];

impl WrittenAudio {
    fn new(config: &AudioConfig) -> Self {
        match config {
            AudioConfig::Aac(aac) => Self::Aac(hex(&aac.record)),
            AudioConfig::Mp3(Mp3Config { sample_rate, channels, frame_samples }) => {
                Self::Mp3 { sample_rate: *sample_rate, channels: *channels, frame_samples: *frame_samples }
            }
            AudioConfig::Opus(opus) => Self::Opus { head: hex(&opus.head()), frame_samples: opus.frame_samples },
            AudioConfig::Flac(flac) => Self::Flac(hex(&flac.stream_info)),
            AudioConfig::Ac3(ac3) => Self::Ac3 {
                enhanced: ac3.enhanced,
                sample_rate: ac3.sample_rate,
                rate_code: ac3.rate_code,
                bitstream_id: ac3.bitstream_id,
                bitstream_mode: ac3.bitstream_mode,
                audio_mode: ac3.audio_mode,
                lfe: ac3.lfe,
                bitrate_kbps: ac3.bitrate_kbps,
                frame_samples: ac3.frame_samples,
                dependent: ac3.dependent,
            },
        }
    }

    fn config(self) -> Result<AudioConfig, &'static str> {
        match self {
            Self::Aac(record) => {
                let record = unhex(&record).map(Bytes::from).and_then(|record| AacConfig::parse(record).ok());
                record.map(AudioConfig::Aac).ok_or(WRONG)
            }
            Self::Mp3 { sample_rate, channels, frame_samples } => {
                Ok(AudioConfig::Mp3(Mp3Config { sample_rate, channels, frame_samples }))
            }
            Self::Opus { head, frame_samples } => {
                let config = unhex(&head).and_then(|head| OpusConfig::parse(&head, SILENCE).ok());
                let config = config.map(|config| AudioConfig::Opus(OpusConfig { frame_samples, ..config }));
                config.filter(|_| frame_samples > 0).ok_or(WRONG)
            }
            Self::Flac(stream_info) => {
                let config = unhex(&stream_info).and_then(|block| FlacConfig::parse(&block.into()).ok());
                config.map(AudioConfig::Flac).ok_or(WRONG)
            }
            Self::Ac3 {
                enhanced,
                sample_rate,
                rate_code,
                bitstream_id,
                bitstream_mode,
                audio_mode,
                lfe,
                bitrate_kbps,
                frame_samples,
                dependent,
            } => Ok(AudioConfig::Ac3(Ac3Config {
                enhanced,
                sample_rate,
                rate_code,
                bitstream_id,
                bitstream_mode,
                audio_mode,
                lfe,
                bitrate_kbps,
                frame_samples,
                dependent,
            })),
        }
    }
}

impl WrittenCut {
    fn new(cut: &Cut) -> Self {
        Self {
            msn: cut.msn.0,
            start: cut.start.ticks,
            discontinuity: cut.discontinuity,
            date_unix_millis: cut.program_date_time.unix_millis,
            gap: cut.kind == CutKind::Gap,
        }
    }

    fn cut(&self) -> Cut {
        Cut {
            msn: MediaSequence(self.msn),
            start: Timestamp::video(self.start),
            discontinuity: self.discontinuity,
            program_date_time: WallTime { unix_millis: self.date_unix_millis },
            kind: if self.gap { CutKind::Gap } else { CutKind::Media },
            renditions: [].into(),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use headwater_media::SessionId;

    use super::*;
    use crate::Ladder;

    fn rendition(name: &RenditionName, kind: RenditionKind) -> OutlinedRendition {
        OutlinedRendition {
            name: name.clone(),
            kind,
            average_bps: 1_000_000,
            peak_bps: 2_000_000,
            channels: Some(2),
            standby: true,
        }
    }

    pub(crate) fn full(audio: AudioConfig) -> Record {
        let grid = Grid::new(Profile::Ultra, FrameRate::ALL[6]);
        let grid = if audio.is_optional() { grid.with_source_sound(&audio) } else { grid };
        let gear = Gear { halve: true, audio: AudioGroup::Low, ..Ladder::hd().gears.remove(1) };
        let low = AudioGear::low(&audio);
        let cut =
            WrittenCut { msn: 7, start: 1_440_000, discontinuity: 3, date_unix_millis: 1_700_000_000_123, gap: false };
        Record {
            epoch: Epoch(4),
            session: SessionId::from_random([9; 10]),
            home: NodeId("~node".into()),
            state: RecordState::Live,
            reserved: MediaSequence(9),
            revision: 12,
            written: WallTime { unix_millis: 1_700_000_001_000 },
            outline: Some(Arc::new(Outline {
                grid,
                window_segments: 8,
                since: WallTime { unix_millis: 1_699_999_999_000 },
                renditions: vec![
                    rendition(&RenditionName::source(), RenditionKind::Source),
                    rendition(&gear.name.clone(), RenditionKind::Gear(gear)),
                    rendition(&RenditionName::audio(), RenditionKind::Audio),
                    rendition(&low.name.clone(), RenditionKind::AudioGear(low)),
                ],
                audio: Some(Arc::new(audio)),
                cuts: vec![Arc::new(cut.cut()), Arc::new(WrittenCut { msn: 8, gap: true, ..cut }.cut())],
            })),
        }
    }

    pub(crate) fn stream(name: &str) -> StreamName {
        name.parse().unwrap()
    }

    pub(crate) fn aac() -> AudioConfig {
        AudioConfig::Aac(AacConfig::lc(44_100, 1).unwrap())
    }

    #[test]
    fn sound_of_every_codec_is_read_as_it_was_written() {
        let surround = b"OpusHead\x01\x06\x38\x01\x80\xBB\0\0\xFF\xFE\x01\x04\x02\x00\x04\x01\x02\x03\x05";
        let opus = OpusConfig { frame_samples: 480, ..OpusConfig::parse(surround, SILENCE).unwrap() };
        let mut block = [0; 34];
        block[..14].copy_from_slice(&[0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x17, 0x70, 0x03, 0x70]);
        let flac = FlacConfig::parse(&Bytes::copy_from_slice(&block)).unwrap();
        let ac3 = Ac3Config::parse(&[0x0B, 0x77, 0, 191, 0x34, 0x80, 0, 0]).unwrap();
        let mp3 = AudioConfig::Mp3(Mp3Config { sample_rate: 22_050, channels: 1, frame_samples: 576 });
        for audio in [AudioConfig::Opus(opus), AudioConfig::Flac(flac), AudioConfig::Ac3(ac3), mp3, aac()] {
            let record = full(audio);
            let text = to_json(&stream("a/b/c/show"), &record);
            assert_eq!(from_json(text.as_bytes()), Ok((stream("a/b/c/show"), record)));
        }
    }

    #[test]
    fn what_cannot_be_a_record_is_not_misread() {
        assert!(matches!(from_json(b"\"something\""), Err(Unreadable::Form { .. })));
        let text = to_json(&stream("live/show"), &full(aac()));
        let other = text.replace("live/show", "live//show");
        assert_eq!(from_json(other.as_bytes()), Err(Unreadable::Value { what: "the stream's name" }));
    }

    #[test]
    fn an_outline_on_another_grid_is_left_out() {
        let mut written = Written::new(&stream("live/show"), &full(aac()));
        written.outline.as_mut().unwrap().part_slots += 1;
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(from_json(text.as_bytes()).unwrap().1.outline, None);
    }
}
