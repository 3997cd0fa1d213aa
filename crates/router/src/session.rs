//! What a session is, as everyone who subscribes to it is told.

use std::sync::Arc;

use headwater_media::captions::Channels;
use headwater_media::{Epoch, FrameRate, Init, RenditionName, SessionId, StreamName, WallTime};
use headwater_segmenter::Grid;

use crate::{AudioGear, Gear};

/// A session's constants: they hold from its first sample to its end.
#[derive(Clone, Debug)]
pub struct Session {
    /// The stream.
    pub stream: StreamName,
    /// The session of it.
    pub id: SessionId,
    /// Slots, parts, segments, TARGETDURATION, PART-TARGET.
    pub grid: Grid,
    /// Segments that a playlist lists.
    pub window_segments: u32,
    /// Wall time of the first sample.
    pub since: WallTime,
}

/// Where a session stands; a new value reaches every subscriber.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Its constants.
    pub session: Arc<Session>,
    /// The running or last home's hold.
    pub epoch: Epoch,
    /// Live, waiting or over.
    pub state: State,
    /// Who publishes, while someone does.
    pub publisher: Option<Arc<PublisherInfo>>,
    /// What is made of it: the source first, then gears from large to small, then audio.
    pub renditions: Arc<[Rendition]>,
    /// Caption channels in its video that have had data; none goes again (H-72).
    pub captions: Channels,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// A publisher is there.
    Live,
    /// The publisher is gone; the playlist stands still until it is back or the session ends.
    Waiting,
    /// EXT-X-ENDLIST.
    Ended,
}

/// The publisher, as the operator sees it.
#[derive(Clone, Debug)]
pub struct PublisherInfo {
    /// Its address and port.
    pub address: String,
    /// What it calls itself (`flashVer` or the metadata's encoder).
    pub encoder: Option<String>,
    /// When it was accepted.
    pub since: WallTime,
    /// A newcomer with a higher one takes the stream over at once.
    pub priority: i32,
}

/// One way in which the stream can be had.
#[derive(Clone, Debug)]
pub struct Rendition {
    /// Its name in paths.
    pub name: RenditionName,
    /// Video as it came, a gear, or audio.
    pub kind: RenditionKind,
    /// Its init segment; `None` until its maker has opened its encoder.
    pub init: Option<Arc<Init>>,
    /// It has its first part. Before that it is not listed; a gear that stops because nobody watches begins anew.
    pub begun: bool,
    /// Average bitrate of the media in bit/s, without packaging; 0 when unknown.
    pub average_bps: u32,
    /// Highest bitrate over a TARGETDURATION in bit/s, without packaging; 0 when unknown.
    pub peak_bps: u32,
    /// Output frame rate; `None` for audio.
    pub frame_rate: Option<FrameRate>,
    /// Channels; `None` for video.
    pub channels: Option<u8>,
    /// It takes the source's place from where that first goes off: nobody waits for it.
    pub standby: bool,
    /// Why it is off, in words for the operator; `None` while it is on.
    pub off: Option<Arc<str>>,
}

impl Rendition {
    /// Whether a multivariant playlist names it: there is something to play, and more to come.
    pub fn is_listed(&self) -> bool {
        self.begun && self.init.is_some() && self.off.is_none()
    }
}

/// What a rendition is made from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RenditionKind {
    /// The publisher's video, packaged as it is.
    Source,
    /// Video that a transcoder makes.
    Gear(Gear),
    /// The publisher's audio, packaged as it is.
    Audio,
    /// Audio that a transcoder makes.
    AudioGear(AudioGear),
}

impl RenditionKind {
    /// Whether it is sound.
    pub fn is_audio(&self) -> bool {
        matches!(self, Self::Audio | Self::AudioGear(_))
    }

    /// Whether a transcoder makes it, and so only while somebody watches.
    pub fn is_encoded(&self) -> bool {
        matches!(self, Self::Gear(_) | Self::AudioGear(_))
    }
}
