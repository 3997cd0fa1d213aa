//! The words that all crates share: time, ids, tracks, samples, codec configuration, cuts and parts.
//!
//! [`Timestamp`], [`Instant`] and [`WallTime`] keep three kinds of time apart; [`StreamName`], [`StreamKey`],
//! [`MediaSequence`] and their like keep ids apart. [`AvcConfig`], [`Sps`], [`AacConfig`] and [`Mp3Config`] read what a
//! stream says about its coding, [`AccessUnit`] puts a picture's NAL units in order, [`captions`] finds CEA-608/708 in
//! them. [`Cut`], [`PartEnd`] and [`Part`] are what the timeline, the packagers and the playlists hand each other.
//!
//! Nothing here decodes a picture or a sound. Nothing opens a socket or a file, reads a clock, starts a thread or draws
//! a random number: time and chance are arguments.
//!
//! ```
//! use headwater_media::{AacConfig, StreamKey, Timescale, Timestamp};
//!
//! // Times of different clocks compare by what they mean, and are converted once.
//! let config = AacConfig::parse(vec![0x11, 0x90].into())?;
//! let timescale = Timescale::new(config.sample_rate).expect("no record has a rate of zero");
//! let sound = Timestamp::new(47 * i64::from(config.frame_samples), timescale);
//! assert!(sound > Timestamp::video(120_000), "47 frames are longer than a second");
//! assert_eq!(sound.rescale(Timescale::VIDEO).ticks, 120_320);
//! assert_eq!(config.codec_string(), "mp4a.40.2");
//!
//! // A secret does not show itself.
//! assert!(!format!("{:?}", StreamKey::new("sesame")).contains("sesame"));
//! # Ok::<(), headwater_media::CodecError>(())
//! ```

pub mod captions;
mod codec;
mod cut;
mod id;
mod part;
mod pieces;
mod sample;
mod time;

pub use codec::{
    AacConfig, Ac3Config, AdtsFrame, AudioConfig, Av1Config, Av1Sequence, AvcConfig, CodecConfig, CodecError, Colour,
    FlacConfig, HevcConfig, HevcSps, Mp3Config, NormalisedUnit, OpusConfig, OpusMapping, Sps, VideoCoding, VideoConfig,
    VideoInput, VideoTiming, Vp9Config, Vp9Record,
};
pub use cut::{Cut, CutKind, PartEnd, RenditionState};
pub use id::{
    Epoch, MediaSequence, NameError, PartIndex, RenditionName, SessionId, StreamKey, StreamName, Turn, VideoSlot,
};
pub use part::{ByteRange, Init, InitId, Part, PartPayload, VideoRange};
pub use pieces::Pieces;
pub use sample::{AccessUnit, AudioFrame, SentTimes, StampedAudio, StampedVideo, TrackKind};
pub use time::{Clock, FrameRate, Instant, Timescale, Timestamp, WallTime};
