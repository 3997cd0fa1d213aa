//! Samples, before and after the timeline has stamped them.

use std::sync::Arc;

use bytes::Bytes;

use crate::{AudioConfig, HevcConfig, Instant, MediaSequence, Timestamp, VideoCoding, VideoConfig, VideoSlot};

/// What a track carries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One picture as the publisher sent it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessUnit {
    /// The whole picture, [cleaned](crate::NormalisedUnit::data).
    pub data: Bytes,
    /// It is an IDR picture, or a keyframe of AV1 or VP9, by its bitstream.
    pub idr: bool,
    /// Decoding can begin with it although it is no IDR, and pictures are right after so many more frames: 0 where
    /// only some that are shown before it may be missing (open GOPs).
    pub recovery: Option<u16>,
    /// Decode time in milliseconds as sent, 32 bits, wrapping.
    pub dts_millis: u32,
    /// Presentation minus decode time, milliseconds; may be negative.
    pub composition_millis: i32,
}

impl AccessUnit {
    /// Whether decoding can begin here.
    pub fn is_entry(&self) -> bool {
        self.idr || self.recovery.is_some()
    }
}

/// One audio frame as the publisher sent it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AudioFrame {
    /// One coded frame: raw AAC without ADTS, an Opus packet, or a frame of another codec with its header.
    pub data: Bytes,
    /// Time in milliseconds as sent, 32 bits, wrapping.
    pub pts_millis: u32,
}

/// When a picture is decoded and shown, in the publisher's words.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SentTimes {
    /// Decode time in milliseconds, 32 bits, wrapping.
    pub dts_millis: u32,
    /// Presentation minus decode time, milliseconds.
    pub composition_millis: i32,
}

/// A picture with its place in the session.
#[derive(Clone, Debug)]
pub struct StampedVideo {
    /// Segment to which it belongs.
    pub msn: MediaSequence,
    /// Slot of its decode time. Rises from sample to sample, but for a source that needs two samples in a slot.
    pub slot: VideoSlot,
    /// Presentation minus decode time, whole slots. Zero for an IDR that opens a segment.
    pub composition_slots: i32,
    /// It is an IDR picture, or a keyframe of AV1 or VP9.
    pub idr: bool,
    /// Decoding can begin with it although it is no IDR: pictures are right after so many more frames.
    pub recovery: Option<u16>,
    /// What a sample holds: of H.264 and HEVC 4-byte length-prefixed NAL units of one access unit, parameter sets, AUD
    /// and filler removed (C-26).
    pub data: Bytes,
    /// Configuration that decodes it; the same `Arc` as long as it does not change.
    pub config: Arc<VideoConfig>,
    /// Its times as the publisher sent them: what pictures of its other tracks have in common with it. Zeros for a
    /// picture that was encoded here.
    pub sent: SentTimes,
    /// When its last byte came in.
    pub received: Instant,
}

impl StampedVideo {
    /// Whether decoding can begin here.
    pub fn is_entry(&self) -> bool {
        self.idr || self.recovery.is_some()
    }

    /// Whether players may begin here: with an IDR, and of HEVC with a CRA or BLA too. A recovery point alone is for
    /// decoders that are told of it.
    pub fn is_sync(&self) -> bool {
        let may_be_open = self.recovery.is_some() && self.config.coding() == VideoCoding::Hevc;
        self.idr || may_be_open && HevcConfig::is_random_access(&self.data)
    }
}

/// An audio frame with its place in the session.
#[derive(Clone, Debug)]
pub struct StampedAudio {
    /// When it starts, in ticks of its sample rate on the session's timeline. Frames of a track meet exactly.
    pub start: Timestamp,
    /// Its length in the same ticks: 1024 for AAC-LC, but for a few frames by which a drifting clock is followed.
    pub length_samples: u32,
    /// One coded frame. Empty for a hole in sound that must be decoded: it is as long as a frame, and silent. Where
    /// players take the sound as it is, holes are coded frames too.
    pub data: Bytes,
    /// Configuration that decodes it; the same `Arc` as long as it does not change.
    pub config: Arc<AudioConfig>,
    /// When its last byte came in.
    pub received: Instant,
}

impl StampedAudio {
    /// When it ends, which is when the next frame starts.
    pub fn end(&self) -> Timestamp {
        Timestamp::new(self.start.ticks + i64::from(self.length_samples), self.start.timescale)
    }
}
