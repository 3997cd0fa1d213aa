//! An accepted publisher: FLV tag bodies in, samples into the home of its stream.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use headwater_amf0::Limits;
use headwater_flv::{
    AudioContent, AudioPacket, AudioTag, ColourInfo, FrameType, ScriptData, VideoCodec, VideoContent, VideoPacket,
    VideoStart, VideoTag,
};
use headwater_media::{
    AccessUnit, AudioFrame, CodecError, Colour, Instant, SessionId, StreamName, VideoCoding, VideoConfig, VideoInput,
};
use headwater_rtmp::{Event, MediaKind, MediaMessage, MessageStart};
use headwater_segmenter::Refusal;
use tracing::warn;

use crate::home::{Gone, HoldLost, SampleError};
use crate::homes::Hold;
use crate::limits::GopMeter;
use crate::lockstep::TRACKS_MAX;
use crate::sound::{Heard, Sound, SoundError};
use crate::tracks::TrackChoice;

/// Damaged messages of a kind in a row after which the publisher is sent away.
const DAMAGED_MAX: u32 = 50;

/// Why a publisher cannot go on. The text is for the publisher.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("{}", Gone::TakenOver)]
    Lost,
    #[error("{}", Gone::Kicked)]
    Kicked,
    #[error("{}", Gone::LeaseOver)]
    Unconfirmed,
    #[error("more than {kbps_max} kbit/s over 10 s, which is the limit")]
    TooMuch { kbps_max: u32 },
    #[error("more than {kbps_max} kbit/s over 10 s from {address}, which is the limit")]
    AddressSendsTooMuch { address: IpAddr, kbps_max: u32 },
    #[error("the server cannot record how far the stream is; try again")]
    Unrecorded,
    #[error("{0}")]
    Media(MediaTrouble),
}

/// What is wrong with the media.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum MediaTrouble {
    #[error("{codec} is not supported; send {expected}")]
    Codec { codec: String, expected: &'static str },
    #[error(transparent)]
    Config(#[from] CodecError),
    #[error("audio of {sample_rate} Hz with {channels} channels ({codec}) is not supported; send AAC-LC")]
    Audio { codec: String, sample_rate: u32, channels: u8 },
    #[error("{DAMAGED_MAX} {kind} messages in a row could not be read, the last because: {error}")]
    Damaged { kind: &'static str, error: String },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("no keyframe in {} s, which is the limit; set the encoder's keyframe interval to 2 s", limit.as_secs())]
    LongGop { limit: Duration },
    #[error("pictures of {width}x{height} are too large: the limit is {pixels_max} pixels")]
    LargePicture { width: u32, height: u32, pixels_max: u32 },
}

impl Trouble {
    /// Label of the metric.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Lost => "taken_over",
            Self::Kicked => "kicked",
            Self::TooMuch { .. } | Self::AddressSendsTooMuch { .. } => "bitrate",
            Self::Unrecorded | Self::Unconfirmed => "registry",
            Self::Media(MediaTrouble::Codec { .. } | MediaTrouble::Audio { .. }) => "codec",
            Self::Media(MediaTrouble::Config(_) | MediaTrouble::Damaged { .. }) => "media",
            Self::Media(MediaTrouble::Refused(_) | MediaTrouble::LongGop { .. }) => "keyframe",
            Self::Media(MediaTrouble::LargePicture { .. }) => "picture",
        }
    }

    /// The limit that the publisher went over, as its key in the configuration is called without its unit.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::TooMuch { .. } => Some("publisher_kbps"),
            Self::AddressSendsTooMuch { .. } => Some("address_kbps"),
            Self::Media(MediaTrouble::LongGop { .. }) => Some("publisher_gop"),
            Self::Media(MediaTrouble::LargePicture { .. }) => Some("publisher_picture"),
            _ => None,
        }
    }
}

impl From<Gone> for Trouble {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::TakenOver => Self::Lost,
            Gone::Kicked => Self::Kicked,
            Gone::LeaseOver => Self::Unconfirmed,
        }
    }
}

impl From<HoldLost> for Trouble {
    fn from(HoldLost(gone): HoldLost) -> Self {
        gone.into()
    }
}

impl From<MediaTrouble> for Trouble {
    fn from(error: MediaTrouble) -> Self {
        Self::Media(error)
    }
}

impl From<CodecError> for Trouble {
    fn from(error: CodecError) -> Self {
        Self::Media(error.into())
    }
}

impl From<SampleError> for Trouble {
    fn from(error: SampleError) -> Self {
        match error {
            SampleError::Lost(lost) => lost.into(),
            SampleError::Unrecorded => Self::Unrecorded,
            SampleError::Refused(refusal) => Self::Media(refusal.into()),
        }
    }
}

/// Waits until the publisher of `hold` may not go on.
fn lost(hold: &Hold) -> impl Future<Output = Trouble> + Send + use<> {
    let (own, mut seats) = (hold.seat, hold.home.seats());
    async move {
        // The sender lives in the home, which the publisher's hold keeps: waiting cannot fail.
        let seat = seats.wait_for(|seat| seat.gone_for(own).is_some()).await;
        seat.ok().and_then(|seat| seat.gone_for(own)).unwrap_or(Gone::TakenOver).into()
    }
}

/// An accepted publisher.
pub(crate) struct Publisher {
    hold: Hold,
    /// Ends when the publisher may not go on.
    lost: Pin<Box<dyn Future<Output = Trouble> + Send>>,
    gop_max: Duration,
    gop: GopMeter,
    picture_pixels_max: u32,
    video: Option<VideoInput>,
    /// Other tracks, where they are taken.
    inputs: BTreeMap<u8, VideoInput>,
    /// The configuration that the home has.
    video_config: Option<Arc<VideoConfig>>,
    /// A record came that does not say how large pictures are: only the next keyframe tells whether they are others.
    size_unknown: bool,
    sound: Sound,
    video_kbps: Option<u32>,
    video_tracks: TrackChoice,
    audio_tracks: TrackChoice,
    damaged: u32,
    damaged_sounds: u32,
    /// Packets of tracks that are not taken.
    other_tracks: u64,
    /// Pictures came that decoding can begin with and that were not called keyframes: so are those of an intra refresh by
    /// most encoders. What a message begins with does not say any more whether it has one.
    unannounced_entries: bool,
    /// Data messages that are of no use to us.
    ignored_data: u64,
}

impl Publisher {
    /// One that may have GOPs as long as `gop_max` and pictures of `picture_pixels_max`; 0: any.
    pub(crate) fn new(hold: Hold, gop_max: Duration, picture_pixels_max: u32) -> Self {
        Self {
            lost: Box::pin(lost(&hold)),
            hold,
            gop_max,
            gop: GopMeter::default(),
            picture_pixels_max,
            video: None,
            inputs: BTreeMap::new(),
            video_config: None,
            size_unknown: false,
            sound: Sound::default(),
            video_kbps: None,
            video_tracks: TrackChoice::default(),
            audio_tracks: TrackChoice::default(),
            damaged: 0,
            damaged_sounds: 0,
            other_tracks: 0,
            unannounced_entries: false,
            ignored_data: 0,
        }
    }

    pub(crate) fn hold(&self) -> &Hold {
        &self.hold
    }

    pub(crate) fn stream(&self) -> &StreamName {
        self.hold.home.stream()
    }

    pub(crate) fn session(&self) -> SessionId {
        self.hold.home.session()
    }

    /// What was passed over, and how often: labels of a metric.
    pub(crate) fn oddities(&self) -> [(&'static str, u64); 2] {
        [("ignored_data", self.ignored_data), ("other_track", self.other_tracks)]
    }

    /// Ready when the stream belongs to someone else, or the operator has had enough of this one; not to be asked again
    /// then.
    pub(crate) fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<Trouble> {
        self.lost.as_mut().poll(context)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.hold.home.poll_timeout()
    }

    pub(crate) fn timeout(&mut self, now: Instant) -> Result<(), Trouble> {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.hold.home.timeout(self.hold.seat, now)?;
        }
        Ok(())
    }

    /// Takes one of the session's media events.
    pub(crate) fn handle(&mut self, now: Instant, event: Event) -> Result<(), Trouble> {
        match event {
            Event::MessageStart(start) => self.start(now, &start),
            Event::Video(message) => self.video(now, message),
            Event::Audio(message) => self.audio(now, message),
            Event::Data(message) => self.data(&message),
            _ => Ok(()),
        }
    }

    fn start(&mut self, now: Instant, start: &MessageStart) -> Result<(), Trouble> {
        if start.kind == MediaKind::Video
            && let Some(VideoStart { track, keyframe }) = VideoStart::read(&start.first)
            && self.video_tracks.is(track)
            && !(keyframe && self.size_unknown)
            && (keyframe || !self.unannounced_entries)
        {
            self.hold.home.video_start(self.hold.seat, now, start.timestamp, keyframe)?;
        }
        Ok(())
    }

    fn video(&mut self, now: Instant, message: MediaMessage) -> Result<(), Trouble> {
        let tag = match VideoTag::read(message.payload) {
            Ok(tag) => tag,
            Err(error) => return self.damaged(&error),
        };
        let key = tag.frame == FrameType::Key;
        tag.packets.into_iter().try_for_each(|packet| self.video_packet(now, message.timestamp, key, packet))
    }

    /// `key`: its tag calls it a keyframe.
    fn video_packet(&mut self, now: Instant, dts_millis: u32, key: bool, packet: VideoPacket) -> Result<(), Trouble> {
        let is_frame = matches!(packet.content, VideoContent::Frame { .. });
        if !self.video_tracks.takes(packet.track, is_frame) {
            if !self.other_track(now, dts_millis, packet)? {
                self.other_tracks += 1;
            }
            return Ok(());
        }
        let Some(coding) = coding(packet.codec) else {
            return Err(MediaTrouble::Codec { codec: packet.codec.to_string(), expected: VIDEO_EXPECTED }.into());
        };
        let input = match &mut self.video {
            Some(input) if input.coding() == coding => input,
            other => other.insert(VideoInput::new(coding)),
        };
        match packet.content {
            VideoContent::Config(record) => {
                input.set_record(record)?;
                self.size_unknown = coding == VideoCoding::Vp9;
                self.video_config()
            }
            VideoContent::Colour(info) => {
                input.hint_colour(colour(&info));
                self.video_config()
            }
            VideoContent::Frame { composition_millis, data } => {
                let unit = match input.access_unit(&data) {
                    Ok(Some(unit)) if unit.has_picture => AccessUnit {
                        data: unit.data,
                        idr: unit.idr,
                        recovery: unit.recovery,
                        dts_millis,
                        composition_millis,
                    },
                    Ok(Some(_)) => return Ok(()),
                    // Without a configuration nothing can be stamped; the timeline counts how long that goes on.
                    Ok(None) => AccessUnit { data, idr: false, recovery: None, dts_millis, composition_millis },
                    Err(error) => return self.damaged(&error),
                };
                self.damaged = 0;
                self.size_unknown &= !unit.is_entry();
                self.unannounced_entries |= unit.is_entry() && !key;
                if self.gop.is_too_long(dts_millis, unit.is_entry(), self.gop_max) {
                    return Err(MediaTrouble::LongGop { limit: self.gop_max }.into());
                }
                self.video_config()?;
                Ok(self.hold.home.video(self.hold.seat, now, unit)?)
            }
            // What MPEG-2 TS says of AV1 is in its keyframes, too.
            VideoContent::TsConfig(_) | VideoContent::EndOfSequence => Ok(()),
        }
    }

    /// A packet of another track than the first, if those are taken. Damage costs that track alone.
    fn other_track(&mut self, now: Instant, dts_millis: u32, packet: VideoPacket) -> Result<bool, Trouble> {
        let Some(coding) = coding(packet.codec).filter(|_| self.hold.home.takes_tracks()) else { return Ok(false) };
        if !self.inputs.contains_key(&packet.track) && self.inputs.len() == TRACKS_MAX {
            return Ok(false);
        }
        let input = self.inputs.entry(packet.track).or_insert_with(|| VideoInput::new(coding));
        match packet.content {
            VideoContent::Config(record) => {
                Ok(input.set_record(record).is_ok() && self.hold.home.expect_track(self.hold.seat, packet.track)?)
            }
            VideoContent::Frame { composition_millis, data } => {
                let unit = match input.access_unit(&data) {
                    Ok(Some(unit)) if unit.has_picture && input.coding() == coding => unit,
                    _ => return Ok(false),
                };
                let Some(config) = input.config().cloned() else { return Ok(false) };
                check_size(&config, self.picture_pixels_max)?;
                let unit = AccessUnit {
                    data: unit.data,
                    idr: unit.idr,
                    recovery: unit.recovery,
                    dts_millis,
                    composition_millis,
                };
                Ok(self.hold.home.track_video(self.hold.seat, now, packet.track, unit, config)?)
            }
            VideoContent::TsConfig(_) | VideoContent::EndOfSequence | VideoContent::Colour(_) => Ok(true),
        }
    }

    /// Tells the home of a configuration that it does not have.
    fn video_config(&mut self) -> Result<(), Trouble> {
        let Some(config) = self.video.as_ref().and_then(VideoInput::config) else { return Ok(()) };
        if self.video_config.as_ref().is_none_or(|known| !Arc::ptr_eq(known, config)) {
            check_size(config, self.picture_pixels_max)?;
            self.hold.home.video_config(self.hold.seat, config.clone(), self.video_kbps)?;
            self.video_config = Some(config.clone());
        }
        Ok(())
    }

    fn audio(&mut self, now: Instant, message: MediaMessage) -> Result<(), Trouble> {
        match AudioTag::read(message.payload) {
            Ok(tag) => tag.packets.into_iter().try_for_each(|packet| self.audio_packet(now, message.timestamp, packet)),
            Err(error) => self.damaged_sound(&error),
        }
    }

    fn audio_packet(&mut self, now: Instant, pts_millis: u32, packet: AudioPacket) -> Result<(), Trouble> {
        let is_frame = matches!(packet.content, AudioContent::Frame(_));
        if !self.audio_tracks.takes(packet.track, is_frame) {
            self.other_tracks += 1;
            return Ok(());
        }
        let heard = match self.sound.take(packet.codec, packet.content) {
            Ok(heard) => heard,
            Err(SoundError::Damaged(error)) => return self.damaged_sound(&error),
            Err(SoundError::Trouble(trouble)) => return Err(trouble.into()),
        };
        for heard in heard {
            match heard {
                Heard::Config(config) => self.hold.home.audio_config(self.hold.seat, config)?,
                Heard::Guess(config) => {
                    let (rate, channels) = (config.sample_rate(), config.channels());
                    warn!(
                        stream = %self.stream(), session = %self.session(), rate, channels,
                        "AAC without a configuration: taken for AAC-LC"
                    );
                    self.hold.home.audio_config(self.hold.seat, config)?;
                }
                Heard::Frame { data, after_millis } => {
                    self.damaged_sounds = 0;
                    let pts_millis = pts_millis.wrapping_add(after_millis);
                    self.hold.home.audio(self.hold.seat, now, AudioFrame { data, pts_millis })?;
                }
            }
        }
        Ok(())
    }

    /// Metadata is a hint: what cannot be read is left out.
    fn data(&mut self, message: &MediaMessage) -> Result<(), Trouble> {
        let metadata = match ScriptData::read(&message.payload, Limits::default()) {
            ScriptData::Metadata(metadata) => metadata,
            ScriptData::Clear => return Ok(()),
            ScriptData::Other { .. } => {
                self.ignored_data += 1;
                return Ok(());
            }
        };
        self.sound.hint(metadata.audio_sample_rate, metadata.stereo);
        if let Some(rate) = metadata.frame_rate {
            self.hold.home.hint_frame_rate(self.hold.seat, rate)?;
        }
        let kbps = metadata.video_data_rate.filter(|kbps| (1.0..1_000_000.0).contains(kbps));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        if let Some(kbps) = kbps {
            self.video_kbps = Some(kbps as u32);
        }
        Ok(())
    }

    /// A message that cannot be read costs itself and no more, unless they all are like that.
    fn damaged(&mut self, error: &dyn std::fmt::Display) -> Result<(), Trouble> {
        self.damaged += 1;
        self.too_damaged(self.damaged, "video", error)
    }

    fn damaged_sound(&mut self, error: &dyn std::fmt::Display) -> Result<(), Trouble> {
        self.damaged_sounds += 1;
        self.too_damaged(self.damaged_sounds, "audio", error)
    }

    fn too_damaged(&self, count: u32, kind: &'static str, error: &dyn std::fmt::Display) -> Result<(), Trouble> {
        if count == 1 {
            warn!(stream = %self.stream(), session = %self.session(), %error, "damaged media message left out");
        }
        if count >= DAMAGED_MAX {
            return Err(MediaTrouble::Damaged { kind, error: error.to_string() }.into());
        }
        Ok(())
    }
}

/// Whether pictures are within the limit; 0: any are.
fn check_size(config: &VideoConfig, pixels_max: u32) -> Result<(), MediaTrouble> {
    let (width, height) = config.size_max();
    if pixels_max > 0 && u64::from(width) * u64::from(height) > u64::from(pixels_max) {
        return Err(MediaTrouble::LargePicture { width, height, pixels_max });
    }
    Ok(())
}

/// The codecs that are taken.
fn coding(codec: VideoCodec) -> Option<VideoCoding> {
    match codec {
        VideoCodec::Avc => Some(VideoCoding::Avc),
        VideoCodec::Hevc => Some(VideoCoding::Hevc),
        VideoCodec::Av1 => Some(VideoCoding::Av1),
        VideoCodec::Vp9 => Some(VideoCoding::Vp9),
        VideoCodec::Vp8 | VideoCodec::Vvc | VideoCodec::Legacy(_) | VideoCodec::Other(_) => None,
    }
}

/// What metadata says of colours; `None` when it takes back what it said.
fn colour(info: &ColourInfo) -> Option<Colour> {
    let unspecified = Colour::unspecified(false);
    let said = Colour {
        primaries: info.primaries.unwrap_or(unspecified.primaries),
        transfer: info.transfer.unwrap_or(unspecified.transfer),
        matrix: info.matrix.unwrap_or(unspecified.matrix),
        ..unspecified
    };
    Some(said).filter(|said| *said != unspecified)
}

/// What to send instead.
const VIDEO_EXPECTED: &str = "H.264, HEVC, AV1 or VP9";
