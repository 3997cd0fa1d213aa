//! The registry: who may write which stream (architecture 8).
//!
//! A stream's record is changed by compare-and-set on its revision only. Leases are for liveness; safety comes from
//! the epoch and from reserved numbers: a home may stamp number `n` only when an acknowledged write has `reserved > n`.

use std::sync::Arc;

use headwater_media::{Epoch, MediaSequence, SessionId, StreamName, WallTime};
use tokio::sync::watch;

use crate::claim::{Lease, RegistryReply, RegistryRequest};
use crate::{BoxFuture, Outline};

/// One running process: a restarted one is another node. In a cluster it says where its homes are reached: `address~instance`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NodeId(pub String);

/// Where a stream's record stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordState {
    /// A home has it and media comes.
    Live,
    /// A home has it but no media has come for 2 s.
    Stale,
    /// A home gave it up; the session goes on with whoever claims it.
    Idle,
    /// The session is over; the next claim makes a new one.
    Ended,
}

/// A stream's record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Counts homes.
    pub epoch: Epoch,
    /// The session that the epoch belongs to.
    pub session: SessionId,
    /// Who has it.
    pub home: NodeId,
    /// Where it stands.
    pub state: RecordState,
    /// Numbers below this may have been stamped.
    pub reserved: MediaSequence,
    /// Rises with every write; what compare-and-set compares.
    pub revision: u64,
    /// When it was written last.
    pub written: WallTime,
    /// What another home needs to go on with the session; `None` before the session's first cut. After its end, how it ended,
    /// where others read that.
    pub outline: Option<Arc<Outline>>,
}

/// A session that is not over, as the registry knows it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its stream.
    pub stream: StreamName,
    /// The stream's record.
    pub record: Record,
    /// The node that it names is there and is the process that it names. Read after the record.
    pub home_lives: bool,
}

/// The registry gives no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the registry does not answer: {reason}")]
pub struct Unavailable {
    /// What it said.
    pub reason: String,
}

/// Where streams' records are, and which nodes are there. Carries what the machines of a [claim](crate::claim) ask.
pub trait Registry: Send + Sync + 'static {
    /// This process.
    fn node(&self) -> &NodeId;

    /// Until when this node may go on by itself, now and later.
    fn lease(&self) -> watch::Receiver<Lease>;

    /// Does what a machine of the claim on `stream` asks, in a second or so: an answer that takes longer is
    /// [`RegistryReply::Unknown`].
    fn request<'a>(&'a self, stream: &'a StreamName, request: RegistryRequest) -> BoxFuture<'a, RegistryReply>;

    /// All sessions that are not over.
    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Found>, Unavailable>>;
}
