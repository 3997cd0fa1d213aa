//! What the machines of a claim say to the registry and to each other, as data.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Epoch, MediaSequence, PartIndex, RenditionName, Timestamp, Turn};

use crate::{NodeId, Outline, Record};

/// Which request an answer belongs to. Counts up in each machine; an answer to an older one is ignored.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(pub u64);

/// Which question a home answers; named by who carries it there.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct YieldId(pub u64);

/// What the registry is asked about the machine's stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RegistryRequest {
    /// The stream's record, and then whether the node that it names is there.
    Read,
    /// Writes `record` if the stored one has revision `expected`; 0 stands for none at all. The registry gives the new
    /// record its revision and its time.
    Write {
        /// The revision to be there.
        expected: u64,
        /// What to write.
        record: Record,
    },
}

/// What became of a request to the registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RegistryReply {
    /// What was read.
    Record {
        /// The stream's record.
        record: Option<Record>,
        /// The key of the node that it names is there and carries the instance that it names. Read after the record.
        home_lives: bool,
    },
    /// It was written and has this revision now.
    Written {
        /// The record's new revision.
        revision: u64,
    },
    /// It was not written: another revision is there.
    Conflict,
    /// It was not written and will not be: the registry takes no writes (it is full, or read-only).
    Refused,
    /// Whether it was written, or will yet be, cannot be said.
    Unknown,
}

/// Asks a home to yield.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Yield {
    /// The epoch to yield.
    pub epoch: Epoch,
    /// The newcomer's priority. A strictly higher one than the publisher's takes the stream over at once.
    pub priority: i32,
}

/// What a claimant hears after it asked a home to yield.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PeerReply {
    /// The publisher is alive: media came after the question.
    Refused,
    /// The home has sealed itself: it takes no sample and no part any more, and never will in this epoch.
    Sealed(Arc<Sealed>),
    /// The node does not hold that epoch: it stopped, restarted or was overtaken. A node whose own claim of that epoch or
    /// a later one is on its way says nothing instead.
    NotHeld,
    /// The connection was refused: no such process is there any more.
    Unreachable,
}

/// How a sealed home leaves its stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// The epoch that ended so.
    pub epoch: Epoch,
    /// Its home, which has the parts.
    pub home: NodeId,
    /// The session with all its cuts, recorded or not; `None` when there never was one.
    pub outline: Option<Arc<Outline>>,
    /// There are samples after the last cut. Without, its number was announced and never stamped, and is the next home's.
    pub stamped: bool,
    /// Where the media ends on the session's timeline.
    pub end: Timestamp,
    /// How far each rendition is.
    pub renditions: Vec<SealedRendition>,
    /// How long ago the stream was taken over by priority, for those times of the last minute; newest last.
    pub by_priority: Vec<Duration>,
}

/// A rendition of a sealed home.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedRendition {
    /// Its name.
    pub name: RenditionName,
    /// Its last turn.
    pub turn: Turn,
    /// The first part that is missing.
    pub missing: (MediaSequence, PartIndex),
    /// Parts before it that were declared gaps.
    pub gaps: Vec<(MediaSequence, PartIndex)>,
}
