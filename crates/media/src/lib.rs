//! The words that all crates share: time, ids, tracks, samples, codec configuration, cuts and parts.
//!
//! Nothing here opens a socket or a file, reads a clock, starts a thread or draws a random number.

pub mod captions;
mod codec;
mod cut;
mod id;
mod part;
mod sample;
mod time;

pub use codec::{
    AacConfig, AudioConfig, AvcConfig, CodecConfig, CodecError, Colour, Mp3Config, NormalisedUnit, Sps, VideoTiming,
};
pub use cut::{Cut, CutKind, PartEnd, RenditionState};
pub use id::{
    Epoch, MediaSequence, NameError, PartIndex, RenditionName, SessionId, StreamKey, StreamName, Turn, VideoSlot,
};
pub use part::{ByteRange, Init, InitId, Part, PartPayload};
pub use sample::{AccessUnit, AudioFrame, StampedAudio, StampedVideo, TrackKind};
pub use time::{Clock, FrameRate, Instant, Timescale, Timestamp, WallTime};
